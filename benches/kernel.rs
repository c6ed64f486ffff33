//! How fast the code is, against a plain copy of as many bytes in the same run.
//!
//! Encoding reads and writes as many bytes as copying a stripe does, and so does decoding, so the
//! copy is the speed of light here. Copy and candidates take turns, round after round, so that
//! whatever else the machine does meets them all alike; medians are compared. Buffers are reused.
//!
//! `cargo bench --bench kernel`

mod tools;

use std::hint::black_box;
use std::time::Instant;

use palk::core::code::kernel::{decode, encode, node_units};
use palk::core::code::layout::UNIT_BYTES_MAX;
use palk::core::types::NodeId;
use tools::report::{Report, bytes_label, median};

const ROUNDS: usize = 31;

/// What one candidate moves in one turn: enough to time, short enough to take many turns.
const TURN_BYTES: usize = 64 << 20;

const PAIRS: [[u8; 2]; 6] = [[1, 2], [1, 3], [2, 3], [1, 4], [2, 4], [3, 4]];

/// A stripe, its parity, and a third buffer of that size to write to.
struct Buffers {
    data: Vec<u8>,
    parity: Vec<u8>,
    out: Vec<u8>,
}

type Candidate = (String, Box<dyn Fn(&mut Buffers)>);

fn candidates() -> Vec<Candidate> {
    let mut all: Vec<Candidate> = vec![
        ("copy".into(), Box::new(|b| b.out.copy_from_slice(black_box(&b.data)))),
        ("encode".into(), Box::new(|b| encode(black_box(&b.data), &mut b.parity))),
    ];
    for pair in PAIRS {
        let pair = pair.map(|number| NodeId::ALL[usize::from(number) - 1]);
        let run = move |b: &mut Buffers| {
            let units = pair.map(|id| node_units(id, &b.data, &b.parity));
            decode(pair, black_box(units), &mut b.out);
        };
        all.push((format!("decode {}+{}", pair[0], pair[1]), Box::new(run)));
    }
    all
}

/// The median seconds that each candidate takes for one stripe.
fn medians(stripe_bytes: usize) -> Vec<(String, f64)> {
    let data = (0u32..).take(stripe_bytes).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    let data: Vec<u8> = data.collect();
    let mut buffers =
        Buffers { parity: vec![1; stripe_bytes], out: vec![1; stripe_bytes], data: data.clone() };
    let mut timed: Vec<(Candidate, Vec<f64>)> =
        candidates().into_iter().map(|candidate| (candidate, Vec::new())).collect();
    let calls = TURN_BYTES / stripe_bytes;
    for _ in 0..ROUNDS {
        for ((_, run), seconds) in &mut timed {
            let start = Instant::now();
            for _ in 0..calls {
                run(black_box(&mut buffers));
            }
            seconds.push(start.elapsed().as_secs_f64() / f64::from(u32::try_from(calls).unwrap()));
        }
    }
    assert_eq!(buffers.out, data, "the last candidate decodes");
    timed.into_iter().map(|((name, _), seconds)| (name, median(seconds))).collect()
}

fn main() {
    let mut report = Report::new("kernel");
    for unit_bytes in [1024, 4096, 16 * 1024, 64 * 1024, UNIT_BYTES_MAX] {
        let stripe_bytes = 4 * unit_bytes;
        let medians = medians(stripe_bytes);
        let speed = |seconds: f64| stripe_bytes as f64 / seconds / 1e6;
        let copy = speed(medians[0].1);
        for (name, seconds) in &medians[1..] {
            let what = format!("{name}, units of {}", bytes_label(unit_bytes as f64));
            report.rate(&what, "MB/s", speed(*seconds), Some(copy));
        }
    }
    report.finish();
}
