//! A lost node's two units from the nodes that are left.
//!
//! Three nodes left: one unit from each is enough, a quarter less to move than reading the stripe,
//! and no code for any two of four losses can do with less. Every row has one unit that both lost
//! units are made from:
//!
//! ```text
//!   lost   asked for                               then
//!   1      2: B1    3: O1         4: O3            A1 = B1^O1    A2 = B1^O3
//!   2      1: A2    3: O2         4: O3            B1 = A2^O3    B2 = A2^O2
//!   3      1: A1    2: B1         4: O4            O1 = A1^B1    O2 = A1^O4
//!   4      1: A1    2: B1^B2      3: O2            O3 = O2^(B1^B2)    O4 = O2^A1
//! ```
//!
//! Where two nodes are left, the stripe is decoded from them and coded again.

use serde::{Deserialize, Serialize};

use super::kernel::{runs, xor_run};
use crate::core::types::NodeId;

/// What a node is asked to send of its two units of a stripe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Select {
    /// The first unit, then the second.
    Both,
    /// The unit of the node's first block.
    First,
    /// The unit of the node's second block.
    Second,
    /// The two XORed, byte by byte: as long as one of them.
    Xor,
}

/// Which unit to ask each of the other three nodes for, lowest node first, to rebuild this one.
pub fn plan(lost: NodeId) -> [(NodeId, Select); 3] {
    let [one, two, three, four] = NodeId::ALL;
    match lost.number() {
        1 => [(two, Select::First), (three, Select::First), (four, Select::First)],
        2 => [(one, Select::Second), (three, Select::Second), (four, Select::First)],
        3 => [(one, Select::First), (two, Select::First), (four, Select::Second)],
        _ => [(one, Select::First), (two, Select::Xor), (three, Select::Second)],
    }
}

/// Makes the lost node's two units, in the order of [`NodeId::blocks`], from the three units that
/// [`plan`] asks for, in its order. All five slices are of one length.
///
/// # Panics
/// If the lengths differ.
pub fn rebuild(lost: NodeId, units: [&[u8]; 3], out: [&mut [u8]; 2]) {
    let [x, y, z] = units;
    let (shared, first, second) = match lost.number() {
        1 | 3 => (x, y, z),
        2 => (x, z, y),
        _ => (z, y, x),
    };
    let [out_first, out_second] = out;
    let unit_bytes = shared.len();
    let lengths = [first.len(), second.len(), out_first.len(), out_second.len()];
    assert!(lengths == [unit_bytes; 4], "units differ in length");
    for (from, to) in runs(out_first) {
        xor_run(&mut out_first[from..to], &shared[from..to], &first[from..to]);
        xor_run(&mut out_second[from..to], &shared[from..to], &second[from..to]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{encode, node_units, xor};
    use super::*;

    /// A stripe whose bytes all differ from their neighbours', and its parity.
    fn stripe(unit_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let data: Vec<u8> = (0u32..)
            .take(4 * unit_bytes)
            .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let mut parity = vec![0xff; data.len()];
        encode(&data, &mut parity);
        (data, parity)
    }

    fn selected([first, second]: [&[u8]; 2], select: Select) -> Vec<u8> {
        match select {
            Select::Both => [first, second].concat(),
            Select::First => first.to_vec(),
            Select::Second => second.to_vec(),
            Select::Xor => {
                let mut out = vec![0; first.len()];
                xor(&mut out, first, second);
                out
            }
        }
    }

    #[test]
    fn one_unit_from_each_of_three_nodes_rebuilds_the_fourth() {
        for unit_bytes in [1, 2, 1023, 1024, 1025, 3000] {
            let (data, parity) = stripe(unit_bytes);
            for lost in NodeId::ALL {
                let sent =
                    plan(lost).map(|(id, select)| selected(node_units(id, &data, &parity), select));
                let (mut first, mut second) = (vec![0; unit_bytes], vec![0; unit_bytes]);
                rebuild(lost, [&sent[0], &sent[1], &sent[2]], [&mut first, &mut second]);
                assert_eq!([&first[..], &second[..]], node_units(lost, &data, &parity), "{lost:?}");
            }
        }
    }

    #[test]
    fn a_plan_asks_every_other_node_for_one_unit() {
        for lost in NodeId::ALL {
            let asked = plan(lost).map(|(id, _)| id);
            assert!(asked.is_sorted() && !asked.contains(&lost), "{asked:?}");
            assert!(plan(lost).iter().all(|(_, select)| *select != Select::Both));
        }
    }
}
