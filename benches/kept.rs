//! What is kept for undo never outgrows a quota: files are stored, overwritten and deleted in a loop, and
//! the bytes of block files on a node are drawn over time, beside what the quota allows for.
//!
//!     cargo bench --bench kept -- [CHANGES]          default 100,000; writes target/kept.svg
//!
//! Then a million names are made, and a snapshot before and after is timed.
//!
//!     cargo bench --bench kept -- snapshot [FILES]   default 1,000,000

mod cluster;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Cluster, PASSWORD, USER, start_cluster};
use palk::core::path::{FilePath, FolderPath};
use palk::core::remote::{Remote, ToStore};
use palk::core::types::{FileAttributes, Precondition};

const FILE_BYTES: usize = 4096;
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

fn signed_in(cluster: &Cluster) -> Remote {
    let mut remote = Remote::connect(&cluster.address).expect("a connection");
    remote.sign_in(USER, PASSWORD).expect("the sign-in");
    remote
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

fn path(number: usize) -> FilePath {
    FilePath::parse_rooted(&format!("{:02}/{number}", number % 40)).expect("a path")
}

fn store(remote: &mut Remote, number: usize, seed: usize) {
    let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(FILE_BYTES).collect();
    let wanted = ToStore {
        path: &path(number),
        bytes: FILE_BYTES as u64,
        precondition: Precondition::Any,
        attributes: FileAttributes::default(),
        keep: None,
    };
    remote.store(&wanted, &mut &bytes[..], &mut |_| {}).expect("a store under the quota");
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
                let mut remote = signed_in(&cluster);
                let next = &next;
                scope.spawn(move || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= changes {
                            return;
                        }
                        let name = at * 7919 % NAMES;
                        store(&mut remote, name, at);
                        if at % 10 == 9 {
                            // Another client may have been quicker.
                            let _ = remote.delete(&path(name));
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
    let most = points.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    println!("{changes} changes in {seconds:.0} s, quota {QUOTA_MB} MB");
    println!("block files of node 1: at most {:.1} MB", most as f64 / 1e6);
    let half = &points[points.len() / 2..];
    let least = half.iter().map(|(_, bytes)| *bytes).min().unwrap_or(0);
    println!("in the second half at least {:.1} MB", least as f64 / 1e6);
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../kept.svg");
    std::fs::write(&at, svg(&points, changes)).expect("the picture is written");
    println!("drawn to {}", at.display());
}

/// Bytes over time, with lines for the quota and for what a node keeps of it at least.
fn svg(points: &[(f64, u64)], changes: usize) -> String {
    let (width, height, left, top) = (960.0, 420.0, 70.0, 60.0);
    let last = points.last().map_or(1.0, |(seconds, _)| seconds.max(1.0));
    let most = points.iter().map(|(_, bytes)| *bytes).max().unwrap_or(1) as f64 * 1.2;
    let x = |seconds: f64| left + seconds / last * (width - left - 30.0);
    let y = |bytes: f64| height - 50.0 - bytes / most * (height - top - 50.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"14\" fill=\"#212529\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{left}\" y=\"32\" \
         font-size=\"20\" font-weight=\"bold\">Block files of one node: {changes} changes of 4 KiB \
         under a quota of {QUOTA_MB} MB</text>\n"
    );
    for step in 0..=4 {
        let bytes = most * f64::from(step) / 4.0;
        let _ = writeln!(
            out,
            "<path d=\"M{left} {0:.1}H{1}\" stroke=\"#e2e6ea\"/><text x=\"10\" y=\"{2:.1}\">{3:.0} MB</text>",
            y(bytes),
            width - 30.0,
            y(bytes) + 5.0,
            bytes / 1e6
        );
        let seconds = last * f64::from(step) / 4.0;
        let (x, text) = (x(seconds), height - 25.0);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{text}\" text-anchor=\"middle\">{seconds:.0} s</text>"
        );
    }
    let line: Vec<String> = points
        .iter()
        .map(|(seconds, bytes)| format!("{:.1},{:.1}", x(*seconds), y(*bytes as f64)))
        .collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#005293\" stroke-width=\"2\"/>\n</svg>",
        line.join(" ")
    );
    out
}

fn snapshot(files: usize) {
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster = start_cluster(work.path(), &[]);
    let mut remote = signed_in(&cluster);
    let timed = |name: &str| {
        let begun = Instant::now();
        admin(&cluster, &["snapshot", "create", name]);
        begun.elapsed().as_secs_f64() * 1000.0
    };
    let none: Vec<f64> = (0..ROUNDS).map(|round| timed(&format!("none{round}"))).collect();
    // A thousand files, copied until there are as many as are wanted.
    let (folder, mut count) = (|name: &str| FolderPath::parse(name).expect("a folder"), 1000);
    let file = |name: &str| FilePath::parse_rooted(name).expect("a path");
    for number in 0..1000 {
        let bytes = [7; 16];
        let path = file(&format!("a/{number}"));
        let wanted = ToStore {
            path: &path,
            bytes: 16,
            precondition: Precondition::Any,
            attributes: FileAttributes::default(),
            keep: None,
        };
        remote.store(&wanted, &mut &bytes[..], &mut |_| {}).expect("a store");
    }
    let mut round = 0;
    while count < files {
        let copy = format!("b{round}");
        remote.copy(&file("a"), &folder(&copy), [true, false]).expect("a copy");
        let inside = folder(&format!("a/c{round}"));
        remote.move_to(&file(&copy), &inside, false).expect("a move");
        count *= 2;
        round += 1;
    }
    // What so many changes have left to do in the background is done before.
    admin(&cluster, &["backup"]);
    let many: Vec<f64> = (0..ROUNDS).map(|round| timed(&format!("many{round}"))).collect();
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (none, many) = (median(none), median(many));
    println!(
        "a snapshot, by `palk admin snapshot create`: {none:.1} ms with no file, {many:.1} ms with {count}"
    );
}
