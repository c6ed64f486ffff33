//! A stripe from whatever units of it are left, whichever blocks they belong to.
//!
//! Any two nodes give a stripe back, but so do many sets of units in which no node is whole: with
//! three nodes at hand and one unit lost on each of two, the rest often determines the stripe all
//! the same. A unit is the XOR of some of A1 A2 B1 B2, so a set of four bits says which; a unit of
//! the file is to be had if some of the units at hand have exactly its bit as their XOR. There are
//! only 256 sets of units: all of them are looked through, and nothing is computed that could be
//! wrong.

use super::kernel;
use crate::core::types::{Block, NodeId};

/// Which of A1 A2 B1 B2 each block is the XOR of, in the order of [`Block::ALL`].
const MADE_OF: [u8; 8] = [0b0001, 0b0010, 0b0100, 0b1000, 0b0101, 0b1010, 0b0110, 0b1011];

/// The units of one stripe that are at hand, in the order of [`Block::ALL`].
pub type Units<'a> = [Option<&'a [u8]>; 8];

/// Do these blocks determine the stripe? Bit `i` stands for block `i` of [`Block::ALL`].
pub fn is_enough(blocks: u8) -> bool {
    (0..4).all(|unit| recipe(blocks, unit).is_some())
}

/// Makes the stripe A1 A2 B1 B2 from the units at hand, all of one length. False, and nothing is
/// changed, if they do not determine it.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn decode(units: &Units, data: &mut [u8]) -> bool {
    if let Some((pair, units)) = whole_pair(units) {
        kernel::decode(pair, units, data);
        return true;
    }
    let at_hand = (0..8).filter(|i| units[*i].is_some()).fold(0, |set, i| set | 1 << i);
    let recipes: Vec<u8> = (0..4).map_while(|unit| recipe(at_hand, unit)).collect();
    if recipes.len() < 4 {
        return false;
    }
    for (out, recipe) in kernel::units_mut(data).into_iter().zip(recipes) {
        out.fill(0);
        for unit in (0..8).filter(|i| recipe & (1 << i) != 0).filter_map(|i| units[i]) {
            assert_eq!(unit.len(), out.len(), "units differ in length");
            out.iter_mut().zip(unit).for_each(|(out, byte)| *out ^= byte);
        }
    }
    true
}

/// The fewest of these blocks whose XOR is this unit of the file.
fn recipe(blocks: u8, unit: u8) -> Option<u8> {
    let made_of =
        |set: u8| (0..8).filter(|i| set & (1 << i) != 0).fold(0, |sum, i| sum ^ MADE_OF[i]);
    (1..=u8::MAX)
        .filter(|set| set & !blocks == 0 && made_of(*set) == 1 << unit)
        .min_by_key(|set| set.count_ones())
}

/// Two nodes and their units, as [`kernel::decode`] takes them.
type Pair<'a> = ([NodeId; 2], [[&'a [u8]; 2]; 2]);

/// The first two nodes that have both their units.
fn whole_pair<'a>(units: &Units<'a>) -> Option<Pair<'a>> {
    let unit = |block: Block| units[block.index()];
    let mut whole = NodeId::ALL.into_iter().filter_map(|id| {
        let [first, second] = id.blocks();
        Some((id, [unit(first)?, unit(second)?]))
    });
    let (one, other) = (whole.next()?, whole.next()?);
    Some(([one.0, other.0], [one.1, other.1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripe(unit_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let data: Vec<u8> = (0u32..)
            .take(4 * unit_bytes)
            .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let mut parity = vec![0; data.len()];
        kernel::encode(&data, &mut parity);
        (data, parity)
    }

    #[test]
    fn every_set_of_units_that_is_enough_gives_the_stripe() {
        let (data, parity) = stripe(37);
        let all: Vec<&[u8]> =
            kernel::units(&data).into_iter().chain(kernel::units(&parity)).collect();
        for blocks in 0..=u8::MAX {
            let units: Units = std::array::from_fn(|i| (blocks & (1 << i) != 0).then(|| all[i]));
            let mut out = vec![0xff; data.len()];
            assert_eq!(decode(&units, &mut out), is_enough(blocks), "{blocks:08b}");
            let expected = if is_enough(blocks) { data.clone() } else { vec![0xff; data.len()] };
            assert_eq!(out, expected, "{blocks:08b}");
        }
    }

    #[test]
    fn two_nodes_are_enough_and_three_units_never() {
        for blocks in 0..=u8::MAX {
            let pairs = (0..4).filter(|node| blocks >> (2 * node) & 3 == 3).count();
            assert!(pairs < 2 || is_enough(blocks), "{blocks:08b}");
            assert!(blocks.count_ones() > 3 || !is_enough(blocks), "{blocks:08b}");
        }
        // One unit lost on each of two nodes, a third node at hand: A2 B2 O1 O2 have no way to A1,
        // A1 B2 O1 O2 have one.
        assert!(!is_enough(0b0011_1010));
        assert!(is_enough(0b0011_1001));
    }
}
