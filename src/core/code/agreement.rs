//! Do the checksums that nodes give for a stripe belong to one stripe?
//!
//! Checksums are linear over XOR (see [`checksum`]), so those of a stripe's eight
//! units satisfy the same relations as the units: any two nodes' determine the other two nodes'. A
//! node whose bytes are wrong is found by this even where its own checksums fit its bytes, and no
//! byte has to travel. Two nodes always agree; which of three is wrong cannot be told from sums.

use super::checksum;
use crate::core::types::{NODE_COUNT, NodeId};

/// Do these agree? `sums[i]` are the checksums of the two units of node `i + 1`, in the order of
/// [`NodeId::blocks`], for units of this length in bytes.
pub fn agree(sums: [Option<[u64; 2]>; NODE_COUNT], unit_bytes: usize) -> bool {
    let known: Vec<NodeId> =
        NodeId::ALL.into_iter().filter(|id| sums[id.index()].is_some()).collect();
    let [first, second, rest @ ..] = known.as_slice() else {
        return true;
    };
    let of = |id: &NodeId| sums[id.index()].unwrap_or_default();
    let data = data_sums([*first, *second], [of(first), of(second)], unit_bytes);
    let parity = checksum::of_parity(data, unit_bytes);
    let all = |index: usize| if index < 4 { data[index] } else { parity[index - 4] };
    rest.iter().all(|id| of(id) == id.blocks().map(|block| all(block.index())))
}

/// The checksums of A1 A2 B1 B2 from those of two nodes, lower number first.
fn data_sums(pair: [NodeId; 2], sums: [[u64; 2]; 2], unit_bytes: usize) -> [u64; 4] {
    let xor = |a, b| checksum::of_xor(a, b, unit_bytes);
    let [[p, q], [r, s]] = sums;
    match pair.map(NodeId::number) {
        [1, 2] => [p, q, r, s],
        // O1 = A1^B1, O2 = A2^B2
        [1, 3] => [p, q, xor(r, p), xor(s, q)],
        // O3 = A2^B1, O4 = A1^A2^B2
        [1, _] => [p, q, xor(r, q), xor(xor(s, p), q)],
        [2, 3] => [xor(r, p), xor(s, q), p, q],
        [2, _] => {
            let a2 = xor(r, p);
            [xor(xor(s, a2), q), a2, p, q]
        }
        // A1 = O4^O2
        _ => {
            let a1 = xor(s, q);
            let b1 = xor(p, a1);
            let a2 = xor(r, b1);
            [a1, a2, b1, xor(q, a2)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{encode, node_units};
    use super::*;

    fn sums(unit_bytes: usize) -> [Option<[u64; 2]>; NODE_COUNT] {
        let data: Vec<u8> = (0u32..)
            .take(4 * unit_bytes)
            .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let mut parity = vec![0; data.len()];
        encode(&data, &mut parity);
        NodeId::ALL.map(|id| Some(node_units(id, &data, &parity).map(checksum::unit)))
    }

    #[test]
    fn the_checksums_of_one_stripe_agree_whoever_is_missing() {
        for unit_bytes in [1, 89, 4096, 262_144] {
            let all = sums(unit_bytes);
            for present in 0..16 {
                let mut some = all;
                (0..4).filter(|i| present & (1 << i) == 0).for_each(|i| some[i] = None);
                assert!(agree(some, unit_bytes), "{present:04b}, {unit_bytes} bytes");
            }
        }
    }

    #[test]
    fn one_wrong_checksum_among_three_or_four_is_noticed() {
        let all = sums(89);
        for missing in [None, Some(0), Some(1), Some(2), Some(3)] {
            for (wrong, which) in (0..4).flat_map(|node| [(node, 0), (node, 1)]) {
                if missing == Some(wrong) {
                    continue;
                }
                let mut some = all;
                some[wrong].as_mut().unwrap()[which] ^= 1 << 17;
                if let Some(missing) = missing {
                    some[missing] = None;
                }
                assert!(!agree(some, 89), "node {} without {missing:?}", wrong + 1);
            }
        }
    }
}
