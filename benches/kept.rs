//! What is kept for undo never outgrows a quota: files are stored, overwritten and deleted in a loop, and
//! the bytes of block files on a node are drawn over time, beside what the quota allows for.
//!
//!     cargo bench --bench kept -- [CHANGES]          default 100,000; draws target/bench/kept.svg
//!
//! Then a million names are made, and a snapshot before and after is timed.
//!
//!     cargo bench --bench kept -- snapshot [FILES]   default 1,000,000

mod tools;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use palk::core::path::{FilePath, FolderPath};
use tools::cluster::{Cluster, USER, start_cluster};
use tools::report::{Picture, Report, count_label, median};
use tools::secure::{path, signed_in, store};

const FILE_BYTES: u64 = 4096;
const NAMES: usize = 2000;
const CLIENTS: usize = 8;
const QUOTA_MB: u64 = 30;
/// So many snapshots are made with no file, and with all of them.
const ROUNDS: usize = 15;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let number = arguments.iter().filter_map(|own| own.parse().ok()).next_back();
    match arguments.iter().any(|own| own == "snapshot") {
        true => snapshot(number.unwrap_or(1_000_000)),
        false => quota(number.unwrap_or(100_000)),
    }
}

fn admin(cluster: &Cluster, arguments: &[&str]) {
    let done = Command::new(env!("CARGO_BIN_EXE_palk"))
        .arg("admin")
        .args(arguments)
        .arg("--dir")
        .arg(cluster.folder.join("user_database"))
        .output()
        .expect("the program starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn at(number: usize) -> FilePath {
    path(&format!("{:02}/{number}", number % 40))
}

/// The bytes of a node's block files.
fn block_bytes(node: &Path) -> u64 {
    let folders = std::fs::read_dir(node.join(".palk/pieces")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten());
    // One that is removed meanwhile is none.
    files.flatten().filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}

fn quota(changes: usize) {
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster = start_cluster(work.path(), &["--keep-versions", "forever"]);
    admin(&cluster, &["user", "quota", USER, &format!("{QUOTA_MB}MB")]);
    let (next, is_over, begun) = (AtomicUsize::new(0), AtomicBool::new(false), Instant::now());
    let node = cluster.folder.join("files_1");
    let points = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut remote = signed_in(&cluster.address);
                let next = &next;
                scope.spawn(move || {
                    loop {
                        let change = next.fetch_add(1, Ordering::Relaxed);
                        if change >= changes {
                            return;
                        }
                        let name = change * 7919 % NAMES;
                        store(&mut remote, &at(name), FILE_BYTES);
                        if change % 10 == 9 {
                            // Another client may have been quicker.
                            let _ = remote.delete(&at(name));
                        }
                    }
                })
            })
            .collect();
        let sampler = scope.spawn(|| {
            let mut points = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                points.push((begun.elapsed().as_secs_f64(), block_bytes(&node)));
                thread::sleep(Duration::from_millis(500));
            }
            points
        });
        for client in clients {
            client.join().expect("no store fails");
        }
        is_over.store(true, Ordering::Relaxed);
        sampler.join().expect("the samples")
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut report = Report::new("kept");
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let most = points.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let half = &points[points.len() / 2..];
    let least = half.iter().map(|(_, bytes)| *bytes).min().unwrap_or(0);
    report.figure(&format!("{changes} changes under {QUOTA_MB} MB"), "s", seconds);
    report.figure("block files of node 1, at most", "MB", megabytes(most));
    report.figure("in the second half at least", "MB", megabytes(least));
    let line = points.iter().map(|(seconds, bytes)| (*seconds, megabytes(*bytes))).collect();
    report.picture(
        "kept",
        &Picture {
            title: &format!("{changes} changes of 4 KiB under a quota of {QUOTA_MB} MB"),
            x: "seconds",
            y: "MB of block files on one node",
            x_label: count_label,
            y_label: count_label,
            x_powers: false,
            y_powers: false,
            lines: vec![("node 1".to_owned(), line)],
        },
    );
    report.finish();
}

fn snapshot(files: usize) {
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster = start_cluster(work.path(), &[]);
    let mut remote = signed_in(&cluster.address);
    let timed = |name: &str| {
        let begun = Instant::now();
        admin(&cluster, &["snapshot", "create", name]);
        begun.elapsed().as_secs_f64() * 1000.0
    };
    let none: Vec<f64> = (0..ROUNDS).map(|round| timed(&format!("none{round}"))).collect();
    // A thousand files, copied until there are as many as are wanted.
    let (folder, mut count) = (|name: &str| FolderPath::parse(name).expect("a folder"), 1000);
    for number in 0..1000 {
        store(&mut remote, &path(&format!("a/{number}")), 16);
    }
    let mut round = 0;
    while count < files {
        let copy = format!("b{round}");
        remote.copy(&path("a"), &folder(&copy), [true, false]).expect("a copy");
        let inside = folder(&format!("a/c{round}"));
        remote.move_to(&path(&copy), &inside, false).expect("a move");
        count *= 2;
        round += 1;
    }
    // What so many changes have left to do in the background is done before.
    admin(&cluster, &["backup"]);
    let many: Vec<f64> = (0..ROUNDS).map(|round| timed(&format!("many{round}"))).collect();
    let mut report = Report::new("snapshot");
    report.figure("snapshot create with no file", "ms", median(none));
    report.figure(&format!("snapshot create with {count} files"), "ms", median(many));
    report.finish();
}
