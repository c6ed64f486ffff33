//! A stripe to its parity, and any two nodes' units back to the stripe.
//!
//! Every function makes one pass over its memory, in runs of `RUN_BYTES` or a few times that of
//! each unit: all that a run needs is read from memory once and stays in the first-level cache while
//! each result is made in a loop of its own. One loop over all eight units reads no more, but writes
//! to four places at once, and that is what processors are bad at: on a full stripe it was measured
//! at two thirds of a plain copy's speed, while runs reach nine tenths (`benches/kernel.rs`).
//!
//! The loops are left to the compiler to vectorise, with what every processor of the target has.
//! Wider registers, chosen at run time, were tried and gave nothing on full stripes: memory is the
//! limit there.
//!
//! Invariant: the slices of one call are cut from units of one length, checked on entry, so that no
//! loop can end early and leave old bytes standing.

use crate::core::types::NodeId;

/// How many bytes of each unit are worked on before moving on: eight such runs fit the first-level
/// cache with room to spare, and are long enough that a loop's beginning and end do not count.
const RUN_BYTES: usize = 1024;

/// A cache line: a store across two of them costs double.
const LINE_BYTES: usize = 64;

/// Makes the parity O1 O2 O3 O4 of a stripe A1 A2 B1 B2, with four XORs for each byte position.
///
/// Both slices hold four equal units, contiguous, and are of one length.
///
/// # Panics
/// If the lengths differ or are no multiple of four.
pub fn encode(data: &[u8], parity: &mut [u8]) {
    assert_eq!(data.len(), parity.len(), "a stripe and its parity are of one length");
    let [a1, a2, b1, b2] = units(data);
    let [o1, o2, o3, o4] = units_mut(parity);
    for (from, to) in runs(o1) {
        xor_run(&mut o1[from..to], &a1[from..to], &b1[from..to]);
        xor_run(&mut o3[from..to], &a2[from..to], &b1[from..to]);
        xor_run(&mut o2[from..to], &a2[from..to], &b2[from..to]);
        xor_run(&mut o4[from..to], &a1[from..to], &o2[from..to]);
    }
}

/// Makes the stripe A1 A2 B1 B2 from the units of any two nodes, given in either order.
///
/// `units[i]` are the two units of node `pair[i]`, in the order of [`NodeId::blocks`]; `data` is as
/// long as the four together. XORs for each byte position: none for nodes 1 and 2, two where one of
/// them meets node 3, three where one of them meets node 4, four for nodes 3 and 4.
///
/// # Panics
/// If the pair names one node twice, or the lengths do not fit each other.
pub fn decode(pair: [NodeId; 2], units: [[&[u8]; 2]; 2], data: &mut [u8]) {
    if pair[0] > pair[1] {
        return decode([pair[1], pair[0]], [units[1], units[0]], data);
    }
    let [low, high] = units;
    let unit_bytes = low[0].len();
    assert!(low.iter().chain(&high).all(|unit| unit.len() == unit_bytes), "units differ in length");
    assert_eq!(data.len(), 4 * unit_bytes, "a stripe is four units");
    let out = units_mut(data);
    match pair.map(NodeId::number) {
        [1, 2] => decode_1_2(low, high, out),
        [1, 3] => decode_1_3(low, high, out),
        [1, 4] => decode_1_4(low, high, out),
        [2, 3] => decode_2_3(low, high, out),
        [2, 4] => decode_2_4(low, high, out),
        [3, 4] => decode_3_4(low, high, out),
        _ => panic!("a stripe needs the units of two different nodes, not {} twice", pair[0]),
    }
}

/// `out = a ^ b`, which is also what a node answers that is asked for both its units XORed.
///
/// # Panics
/// If the lengths differ.
pub fn xor(out: &mut [u8], a: &[u8], b: &[u8]) {
    assert!(a.len() == out.len() && b.len() == out.len(), "units differ in length");
    xor_run(out, a, b);
}

/// Cuts a stripe into A1 A2 B1 B2, or its parity into O1 O2 O3 O4.
///
/// # Panics
/// If the length is no multiple of four.
pub fn units(stripe: &[u8]) -> [&[u8]; 4] {
    assert!(stripe.len().is_multiple_of(4), "a stripe is four units");
    let (first, second) = stripe.split_at(stripe.len() / 2);
    let (one, two) = first.split_at(first.len() / 2);
    let (three, four) = second.split_at(second.len() / 2);
    [one, two, three, four]
}

/// [`units`], to write to.
///
/// # Panics
/// If the length is no multiple of four.
pub fn units_mut(stripe: &mut [u8]) -> [&mut [u8]; 4] {
    assert!(stripe.len().is_multiple_of(4), "a stripe is four units");
    let (first, second) = stripe.split_at_mut(stripe.len() / 2);
    let (one, two) = first.split_at_mut(first.len() / 2);
    let (three, four) = second.split_at_mut(second.len() / 2);
    [one, two, three, four]
}

/// The two units that a node keeps of a stripe, in the order of [`NodeId::blocks`].
///
/// # Panics
/// If either length is no multiple of four.
pub fn node_units<'a>(id: NodeId, data: &'a [u8], parity: &'a [u8]) -> [&'a [u8]; 2] {
    let [one, two, three, four] = units(if id.number() <= 2 { data } else { parity });
    if id.number() % 2 == 1 { [one, two] } else { [three, four] }
}

/// The bounds of each run in units as long as `out`, in order, none longer than [`RUN_BYTES`]. The
/// first is shorter by what makes all others begin on a cache line of `out`.
pub(super) fn runs(out: &[u8]) -> impl Iterator<Item = (usize, usize)> + use<> {
    runs_of(RUN_BYTES, out)
}

/// Longer runs, for decoding where part of the data is only copied: copying likes them best.
fn long_runs(out: &[u8]) -> impl Iterator<Item = (usize, usize)> + use<> {
    runs_of(4 * RUN_BYTES, out)
}

fn runs_of(run_bytes: usize, out: &[u8]) -> impl Iterator<Item = (usize, usize)> + use<> {
    let unit_bytes = out.len();
    let first_bytes =
        run_bytes - LINE_BYTES + out.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
    let (mut from, mut to) = (0, first_bytes.min(unit_bytes));
    std::iter::from_fn(move || {
        let run = (from < to).then_some((from, to));
        (from, to) = (to, unit_bytes.min(to + run_bytes));
        run
    })
}

/// `out = a ^ b` over slices of one length.
pub(super) fn xor_run(out: &mut [u8], a: &[u8], b: &[u8]) {
    debug_assert!(a.len() == out.len() && b.len() == out.len(), "a run would end early");
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a ^ b;
    }
}

/// `out = a ^ b ^ c` over slices of one length.
fn xor3_run(out: &mut [u8], a: &[u8], b: &[u8], c: &[u8]) {
    debug_assert!(
        a.len() == out.len() && b.len() == out.len() && c.len() == out.len(),
        "a run would end early"
    );
    for (((out, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
        *out = a ^ b ^ c;
    }
}

fn decode_1_2([a1, a2]: [&[u8]; 2], [b1, b2]: [&[u8]; 2], out: [&mut [u8]; 4]) {
    for (out, unit) in out.into_iter().zip([a1, a2, b1, b2]) {
        out.copy_from_slice(unit);
    }
}

fn decode_1_3([a1, a2]: [&[u8]; 2], [o1, o2]: [&[u8]; 2], out: [&mut [u8]; 4]) {
    let [out_a1, out_a2, out_b1, out_b2] = out;
    for (from, to) in long_runs(out_a1) {
        xor_run(&mut out_b1[from..to], &a1[from..to], &o1[from..to]);
        out_a1[from..to].copy_from_slice(&a1[from..to]);
        xor_run(&mut out_b2[from..to], &a2[from..to], &o2[from..to]);
        out_a2[from..to].copy_from_slice(&a2[from..to]);
    }
}

fn decode_1_4([a1, a2]: [&[u8]; 2], [o3, o4]: [&[u8]; 2], out: [&mut [u8]; 4]) {
    let [out_a1, out_a2, out_b1, out_b2] = out;
    for (from, to) in long_runs(out_a1) {
        xor_run(&mut out_b1[from..to], &a2[from..to], &o3[from..to]);
        xor3_run(&mut out_b2[from..to], &a1[from..to], &a2[from..to], &o4[from..to]);
        out_a1[from..to].copy_from_slice(&a1[from..to]);
        out_a2[from..to].copy_from_slice(&a2[from..to]);
    }
}

fn decode_2_3([b1, b2]: [&[u8]; 2], [o1, o2]: [&[u8]; 2], out: [&mut [u8]; 4]) {
    let [out_a1, out_a2, out_b1, out_b2] = out;
    for (from, to) in long_runs(out_b1) {
        xor_run(&mut out_a1[from..to], &b1[from..to], &o1[from..to]);
        out_b1[from..to].copy_from_slice(&b1[from..to]);
        xor_run(&mut out_a2[from..to], &b2[from..to], &o2[from..to]);
        out_b2[from..to].copy_from_slice(&b2[from..to]);
    }
}

fn decode_2_4([b1, b2]: [&[u8]; 2], [o3, o4]: [&[u8]; 2], out: [&mut [u8]; 4]) {
    let [out_a1, out_a2, out_b1, out_b2] = out;
    for (from, to) in long_runs(out_b1) {
        xor_run(&mut out_a2[from..to], &b1[from..to], &o3[from..to]);
        xor3_run(&mut out_a1[from..to], &out_a2[from..to], &b2[from..to], &o4[from..to]);
        out_b1[from..to].copy_from_slice(&b1[from..to]);
        out_b2[from..to].copy_from_slice(&b2[from..to]);
    }
}

/// Nothing of the file is at hand; O2 ^ O4 is A1, and the rest follows from there, one XOR each.
fn decode_3_4([o1, o2]: [&[u8]; 2], [o3, o4]: [&[u8]; 2], out: [&mut [u8]; 4]) {
    let [a1, a2, b1, b2] = out;
    for (from, to) in runs(a1) {
        xor_run(&mut a1[from..to], &o2[from..to], &o4[from..to]);
        xor_run(&mut b1[from..to], &a1[from..to], &o1[from..to]);
        xor_run(&mut a2[from..to], &b1[from..to], &o3[from..to]);
        xor_run(&mut b2[from..to], &a2[from..to], &o2[from..to]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit for each unit of the file: a parity unit then shows what it is the XOR of.
    const BASIS: [u8; 4] = [0b0001, 0b0010, 0b0100, 0b1000];

    fn basis(unit_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let data: Vec<u8> = BASIS.into_iter().flat_map(|bit| vec![bit; unit_bytes]).collect();
        let mut parity = vec![0xff; data.len()];
        encode(&data, &mut parity);
        (data, parity)
    }

    #[test]
    fn parity_is_the_xor_that_the_code_says() {
        for unit_bytes in [1, 3, RUN_BYTES - 1, RUN_BYTES, RUN_BYTES + 1, 5 * RUN_BYTES + 7] {
            let (_, parity) = basis(unit_bytes);
            let expected = [0b0101, 0b1010, 0b0110, 0b1011];
            for (unit, value) in units(&parity).into_iter().zip(expected) {
                assert!(unit.iter().all(|byte| *byte == value), "{unit_bytes} bytes a unit");
            }
        }
    }

    #[test]
    fn any_two_nodes_in_either_order_give_the_stripe_back() {
        for unit_bytes in [0, 1, 17, RUN_BYTES, 2 * RUN_BYTES + 1] {
            let (data, parity) = basis(unit_bytes);
            for one in NodeId::ALL {
                for other in NodeId::ALL.into_iter().filter(|other| *other != one) {
                    let mut out = vec![0xff; data.len()];
                    let of = |id| node_units(id, &data, &parity);
                    decode([one, other], [of(one), of(other)], &mut out);
                    assert_eq!(out, data, "nodes {one} and {other}");
                }
            }
        }
    }

    #[test]
    fn a_node_keeps_the_units_of_its_own_blocks() {
        let (data, parity) = ([1, 2, 3, 4], [5, 6, 7, 8]);
        let kept = NodeId::ALL.map(|id| node_units(id, &data, &parity).concat());
        assert_eq!(kept, [[1, 2], [3, 4], [5, 6], [7, 8]]);
    }

    #[test]
    #[should_panic(expected = "two different nodes")]
    fn one_node_twice_is_a_bug_of_the_caller() {
        let id = NodeId::ALL[2];
        decode([id, id], [[&[0], &[0]]; 2], &mut [0; 4]);
    }

    #[test]
    #[should_panic(expected = "units differ in length")]
    fn units_of_different_lengths_are_a_bug_of_the_caller() {
        decode([NodeId::ALL[0], NodeId::ALL[1]], [[&[0], &[0]], [&[0], &[]]], &mut [0; 4]);
    }
}
