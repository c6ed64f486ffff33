//! One file at a time, of many sizes, through a cluster of real processes: plain and encrypted, with all nodes and
//! with each pair of them, beside a floor that moves and syncs the same bytes and does nothing else.
//!
//!     cargo bench --bench transfer -- [LARGEST_MB]     default 100; 2048 for the whole picture
//!
//! All candidates take turns, and medians are compared. Tables are printed, target/bench/transfer.json has them too,
//! and pictures are drawn beside it. Files come from memory and go nowhere, so the client's disk has no part in it.

mod tools;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use palk::core::health::State;
use palk::core::status::Status;
use tools::cluster::{Cluster, peak_kb, start_cluster};
use tools::floor::{Floor, Keep};
use tools::plain::Plain;
use tools::report::{Picture, Report, Turns, bytes_label, count_label};
use tools::secure::{path, retrieve, signed_in, store};

/// What the pictures show; 34.7 MB is where a file has whole stripes and a part of one.
const SIZES: [u64; 9] =
    [1 << 10, 4 << 10, 64 << 10, 1 << 20, 8 << 20, 34_700_000, 100_000_000, 512 << 20, 2 << 30];

const PAIRS: [[usize; 2]; 6] = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];

/// The file with which pairs of nodes are compared.
const PAIRS_BYTES: u64 = 34_700_000;

fn rounds(bytes: u64) -> usize {
    match bytes {
        0..=1_048_576 => 15,
        1_048_577..=150_000_000 => 5,
        _ => 3,
    }
}

fn main() {
    tools::floor::serve_if_asked();
    let largest_mb = std::env::args().filter_map(|own| own.parse().ok()).next_back();
    let largest = largest_mb.unwrap_or(100u64) * 1_048_576;
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster =
        start_cluster(work.path(), &["--max-file-size", "none", "--keep-versions", "none"]);
    let floor = Floor::start(work.path(), Keep::Files);
    let mut report = Report::new("transfer");
    let names = [
        "plain store",
        "plain retrieve",
        "TLS store",
        "TLS retrieve",
        "floor store",
        "floor retrieve",
    ];
    let mut lines: Vec<(String, Vec<(f64, f64)>)> =
        names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
    let mut memory: Vec<(String, Vec<(f64, f64)>)> =
        vec![("server".to_owned(), Vec::new()), ("node 1".to_owned(), Vec::new())];
    for bytes in SIZES.into_iter().filter(|bytes| *bytes <= largest) {
        cluster.reset_peaks();
        let medians = one_size(&cluster, &floor, bytes);
        let seconds =
            |name: &str| medians.iter().find(|(own, _)| *own == name).expect("a figure").1;
        for (name, points) in &mut lines {
            points.push((bytes as f64, bytes as f64 / seconds(name) / 1e6));
        }
        for verb in ["store", "retrieve"] {
            let floor = seconds(&format!("floor {verb}"));
            for kind in ["plain", "TLS"] {
                let what = format!("{kind} {verb} {}", bytes_label(bytes as f64));
                report.time(&what, seconds(&format!("{kind} {verb}")), Some(floor));
            }
        }
        for ((_, points), process) in memory.iter_mut().zip([4, 0]) {
            points.push((bytes as f64, peak_mb(&cluster, process)));
        }
    }
    degraded(&cluster, &mut report);
    report.picture(
        "throughput",
        &Picture {
            title: "One client: throughput against file size",
            x: "file size in bytes",
            y: "MB/s",
            x_label: bytes_label,
            y_label: count_label,
            x_powers: true,
            y_powers: true,
            lines,
        },
    );
    report.picture(
        "memory",
        &Picture {
            title: "One client: the most memory, against file size",
            x: "file size in bytes",
            y: "MiB",
            x_label: bytes_label,
            y_label: count_label,
            x_powers: true,
            y_powers: false,
            lines: memory,
        },
    );
    report.finish();
}

fn one_size(cluster: &Cluster, floor: &Floor, bytes: u64) -> Vec<(&'static str, f64)> {
    let mut plain = [Plain::begin(&cluster.address), Plain::begin(&cluster.address)];
    let mut tls = [signed_in(&cluster.address), signed_in(&cluster.address)];
    let mut bare = [floor.client(), floor.client()];
    let [plain_in, plain_out] = &mut plain;
    let [tls_in, tls_out] = &mut tls;
    let [bare_in, bare_out] = &mut bare;
    // Every round writes to names that are free: to replace a file is another thing.
    let (name, at) =
        (|round: usize| format!("file{round}"), |round: usize| path(&format!("tls/file{round}")));
    let medians = Turns::new(rounds(bytes))
        .add("floor store", |round| bare_in.store(round as u64, bytes))
        .add("plain store", |round| plain_in.store("plain", &name(round), bytes))
        .add("TLS store", |round| store(tls_in, &at(round), bytes))
        .add("floor retrieve", |round| bare_out.retrieve(round as u64, bytes))
        .add("plain retrieve", |round| plain_out.retrieve("plain", &name(round), bytes))
        .add("TLS retrieve", |round| retrieve(tls_out, &at(round), bytes))
        .medians();
    for round in 0..=rounds(bytes) {
        floor.remove(round as u64);
        tls_in.delete(&at(round)).expect("it is deleted");
        tls_in.delete(&path(&format!("plain/{}", name(round)))).expect("it is deleted");
    }
    medians
}

/// What a file takes that two nodes alone send, against all four being there.
fn degraded(cluster: &Cluster, report: &mut Report) {
    let mut plain = Plain::begin(&cluster.address);
    plain.store("plain", "degraded", PAIRS_BYTES);
    let mut timed = || {
        let turns = Turns::new(7).add("", |_| plain.retrieve("plain", "degraded", PAIRS_BYTES));
        turns.medians()[0].1
    };
    for pair in PAIRS {
        let healthy = timed();
        let away: Vec<usize> = (1..=4).filter(|node| !pair.contains(node)).collect();
        away.iter().for_each(|node| signal(cluster, *node, "-STOP"));
        await_up(cluster, 2);
        let seconds = timed();
        away.iter().for_each(|node| signal(cluster, *node, "-CONT"));
        await_up(cluster, 4);
        let what = format!(
            "retrieve {} from nodes {} and {} alone",
            bytes_label(PAIRS_BYTES as f64),
            pair[0],
            pair[1]
        );
        report.time(&what, seconds, Some(healthy));
    }
}

fn signal(cluster: &Cluster, node: usize, signal: &str) {
    let pid = cluster.processes[node - 1].0.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
    assert!(sent.success());
}

/// Waits until the server counts so many nodes as up.
fn await_up(cluster: &Cluster, count: usize) {
    let mut remote = signed_in(&cluster.address);
    let begun = Instant::now();
    let up = |status: Status| status.nodes.iter().filter(|node| node.state == State::Up).count();
    while up(remote.status().expect("the status")) != count {
        assert!(begun.elapsed() < Duration::from_secs(60), "{count} nodes are up");
        thread::sleep(Duration::from_millis(100));
    }
}

fn peak_mb(cluster: &Cluster, process: usize) -> f64 {
    peak_kb(cluster.processes[process].0.id()).unwrap_or(0) as f64 / 1024.0
}
