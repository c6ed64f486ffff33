//! Which of four nodes is wrong, with the units of all four at hand and no checksum believed.
//!
//! Any three nodes hold more than is needed, so three that are right agree with each other. Were
//! two different threes to agree, they would share two nodes, hence give the same stripe, and all
//! four would agree: so at most one node can be named, and one wrong node always is. Two wrong nodes
//! are mostly [`Verdict::Unclear`]; two that were made to fit each other cannot be told from one.
//!
//! What must be zero if a unit of parity is right is its *syndrome*: `s1 = O1^A1^B1` and so on. A
//! wrong node leaves its mark in them, where `x` and `y` are how its two units differ:
//!
//! ```text
//!   wrong      s1   s2   s3   s4       so the other three agree if
//!   node 1     x    y    y    x^y      s3 = s2 and s4 = s1^s2
//!   node 2     x    y    x    y        s3 = s1 and s4 = s2
//!   node 3     x    y    0    0        s3 = s4 = 0
//!   node 4     0    0    x    y        s1 = s2 = 0
//! ```

use super::kernel::runs;
use crate::core::types::{NODE_COUNT, NodeId, NodeSet};

/// What the units of all four nodes say about each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// They are the units of one stripe.
    AllAgree,
    /// Three nodes agree, and this one does not.
    Wrong(NodeId),
    /// No three nodes agree: more than one is wrong, or the units are of different versions.
    Unclear,
}

/// Compares the units of one stripe: `units[i]` are the two of node `i + 1`, in the order of
/// [`NodeId::blocks`], all of one length. They are judged as a whole: one node wrong in one byte
/// and another in another byte is [`Verdict::Unclear`].
///
/// # Panics
/// If the lengths differ.
pub fn witness(units: [[&[u8]; 2]; NODE_COUNT]) -> Verdict {
    let unit_bytes = units[0][0].len();
    let same = units.iter().flatten().all(|unit| unit.len() == unit_bytes);
    assert!(same, "units differ in length");
    let mut quarrels = [0u8; NODE_COUNT];
    for (from, to) in runs(units[0][0]) {
        let found = quarrels_without(units.map(|node| node.map(|unit| &unit[from..to])));
        for (quarrel, found) in quarrels.iter_mut().zip(found) {
            *quarrel |= found;
        }
    }
    let dispensable: NodeSet =
        NodeId::ALL.into_iter().filter(|id| quarrels[id.index()] == 0).collect();
    match dispensable.iter().next() {
        _ if dispensable == NodeSet::ALL => Verdict::AllAgree,
        Some(id) => Verdict::Wrong(id),
        None => Verdict::Unclear,
    }
}

/// For each node, whether the other three disagree anywhere: zero if they never do.
fn quarrels_without(units: [[&[u8]; 2]; NODE_COUNT]) -> [u8; NODE_COUNT] {
    let length = units[0][0].len();
    // Cut to one length once, so that the loop needs no check at each byte.
    let [[a1, a2], [b1, b2], [o1, o2], [o3, o4]] = units.map(|node| node.map(|u| &u[..length]));
    let (mut one, mut two, mut three, mut four) = (0, 0, 0, 0);
    for i in 0..length {
        let s1 = o1[i] ^ a1[i] ^ b1[i];
        let s2 = o2[i] ^ a2[i] ^ b2[i];
        let s3 = o3[i] ^ a2[i] ^ b1[i];
        let s4 = o4[i] ^ a1[i] ^ a2[i] ^ b2[i];
        one |= (s3 ^ s2) | (s4 ^ s1 ^ s2);
        two |= (s3 ^ s1) | (s4 ^ s2);
        three |= s3 | s4;
        four |= s1 | s2;
    }
    [one, two, three, four]
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{encode, node_units};
    use super::*;

    const UNIT_BYTES: usize = 1300;

    fn all_units() -> [[Vec<u8>; 2]; NODE_COUNT] {
        let data: Vec<u8> = (0u32..)
            .take(4 * UNIT_BYTES)
            .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let mut parity = vec![0; data.len()];
        encode(&data, &mut parity);
        NodeId::ALL.map(|id| node_units(id, &data, &parity).map(<[u8]>::to_vec))
    }

    fn judge(units: &[[Vec<u8>; 2]; NODE_COUNT]) -> Verdict {
        witness(std::array::from_fn(|node| std::array::from_fn(|at| &units[node][at][..])))
    }

    #[test]
    fn nodes_that_hold_one_stripe_agree() {
        assert_eq!(judge(&all_units()), Verdict::AllAgree);
    }

    #[test]
    fn a_flipped_bit_anywhere_names_its_node() {
        let mut units = all_units();
        for id in NodeId::ALL {
            for (at, byte) in [0, 1].into_iter().flat_map(|at| [0, 700, 1299].map(|b| (at, b))) {
                for bit in 0..8 {
                    units[id.index()][at][byte] ^= 1 << bit;
                    assert_eq!(judge(&units), Verdict::Wrong(id), "unit {at}, byte {byte}");
                    units[id.index()][at][byte] ^= 1 << bit;
                }
            }
        }
    }

    #[test]
    fn a_node_that_holds_other_bytes_altogether_is_named() {
        for id in NodeId::ALL {
            let mut units = all_units();
            units[id.index()] = [vec![7; UNIT_BYTES], vec![0; UNIT_BYTES]];
            assert_eq!(judge(&units), Verdict::Wrong(id));
        }
    }

    #[test]
    fn one_byte_wrong_on_each_of_two_nodes_is_unclear() {
        for (one, other) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let mut units = all_units();
            units[one][0][3] ^= 0x10;
            units[other][1][900] ^= 0x01;
            assert_eq!(judge(&units), Verdict::Unclear, "nodes {} and {}", one + 1, other + 1);
        }
    }
}
