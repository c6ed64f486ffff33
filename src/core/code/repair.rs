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
//! Two nodes left: all four of their units.

use serde::{Deserialize, Serialize};

use super::kernel::{RUN_BYTES, decode, runs, units, xor_run, xor3_run};
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

/// Makes the lost node's two units, in the order of [`NodeId::blocks`], from all units of any two
/// other nodes: `units[i]` are those of node `pair[i]`. All six slices are of one length.
///
/// # Panics
/// If the pair names the lost node or one node twice, or the lengths differ.
pub fn rebuild_from_pair(
    lost: NodeId,
    pair: [NodeId; 2],
    units: [[&[u8]; 2]; 2],
    out: [&mut [u8]; 2],
) {
    assert!(!pair.contains(&lost), "node {lost} is lost and cannot help to rebuild itself");
    let unit_bytes = units[0][0].len();
    let same = units.iter().flatten().all(|unit| unit.len() == unit_bytes);
    assert!(same && out.iter().all(|unit| unit.len() == unit_bytes), "units differ in length");
    let [out_first, out_second] = out;
    // The stripe itself is wanted by nobody: it lives one run at a time, on the stack.
    let mut stripe = [0u8; 4 * RUN_BYTES];
    for (from, to) in runs(out_first) {
        let data = &mut stripe[..4 * (to - from)];
        decode(pair, units.map(|node| node.map(|unit| &unit[from..to])), data);
        node_from_stripe(lost, data, [&mut out_first[from..to], &mut out_second[from..to]]);
    }
}

fn node_from_stripe(id: NodeId, data: &[u8], [first, second]: [&mut [u8]; 2]) {
    let [a1, a2, b1, b2] = units(data);
    match id.number() {
        1 => {
            first.copy_from_slice(a1);
            second.copy_from_slice(a2);
        }
        2 => {
            first.copy_from_slice(b1);
            second.copy_from_slice(b2);
        }
        3 => {
            xor_run(first, a1, b1);
            xor_run(second, a2, b2);
        }
        _ => {
            xor_run(first, a2, b1);
            xor3_run(second, a1, a2, b2);
        }
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

    #[test]
    fn any_two_nodes_rebuild_each_of_the_others() {
        for unit_bytes in [1, 1023, 1024, 1025, 3000] {
            let (data, parity) = stripe(unit_bytes);
            let of = |id| node_units(id, &data, &parity);
            for lost in NodeId::ALL {
                let left = NodeId::ALL.into_iter().filter(|id| *id != lost);
                for (one, other) in left.clone().flat_map(|a| left.clone().map(move |b| (a, b))) {
                    if one == other {
                        continue;
                    }
                    let (mut first, mut second) = (vec![0; unit_bytes], vec![0; unit_bytes]);
                    let out = [&mut first[..], &mut second[..]];
                    rebuild_from_pair(lost, [one, other], [of(one), of(other)], out);
                    assert_eq!([&first[..], &second[..]], of(lost), "{lost:?} from {one}, {other}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "cannot help")]
    fn a_lost_node_does_not_help_to_rebuild_itself() {
        let [one, two, ..] = NodeId::ALL;
        rebuild_from_pair(one, [one, two], [[&[0], &[0]]; 2], [&mut [0], &mut [0]]);
    }
}
