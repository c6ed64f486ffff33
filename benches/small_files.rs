//! Small files through the real client protocol: stores and retrieves of 4 KiB files a second, with 1
//! and 16 clients, on a cluster of real processes, and a longer run with the time until all nodes have
//! written their pieces out as block files.
//!
//!     cargo bench --bench small_files -- [SUSTAINED_FILES]
//!     FLOOR=path/to/floor cargo bench --bench small_files
//!     PALK=path/to/another/palk cargo bench --bench small_files      to compare two builds
//!
//! How long a core was busy for each file is printed for the nodes together and for the server; on a
//! machine that does other things too it is the steadier figure. Wait a minute between two runs: some file
//! systems make files slowly while many were just removed.
//!
//! With FLOOR the same number of files goes through a program that only moves the bytes between as many
//! processes and appends them to one log a node, in the same run; then ratios are printed. It has to
//! understand `up DIR --port P --store log` and `many-put|many-get ADDR COUNT SIZE CLIENTS FIRST_ID`.

mod cluster;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{PASSWORD, USER, first_word, start, start_cluster};
use palk::core::path::FilePath;
use palk::core::remote::{Remote, ToStore};
use palk::core::types::{FileAttributes, Precondition};

const FILE_BYTES: usize = 4096;

/// Files stored in one measurement, for 1 and for 16 clients.
const ROUNDS: [(usize, usize); 2] = [(1, 1000), (16, 6000)];

/// Has clients do `count` things, each on a connection of its own; gives how many a second.
fn rate(
    address: &str,
    clients: usize,
    count: usize,
    what: impl Fn(&mut Remote, usize) + Sync,
) -> f64 {
    let remotes: Vec<Remote> = (0..clients)
        .map(|_| {
            let mut remote = Remote::connect(address).expect("a connection");
            remote.sign_in(USER, PASSWORD).expect("the sign-in");
            remote
        })
        .collect();
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for mut remote in remotes {
            let (next, what) = (&next, &what);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    what(&mut remote, number);
                }
            });
        }
    });
    count as f64 / begun.elapsed().as_secs_f64()
}

fn path(round: &str, number: usize) -> FilePath {
    FilePath::parse_rooted(&format!("{round}/{:03}/{number}", number % 100)).expect("a path")
}

fn store(remote: &mut Remote, round: &str, number: usize) {
    let bytes: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(FILE_BYTES).collect();
    let wanted = ToStore {
        path: &path(round, number),
        bytes: FILE_BYTES as u64,
        precondition: Precondition::Any,
        attributes: FileAttributes::default(),
        keep: None,
    };
    remote.store(&wanted, &mut &bytes[..], &mut |_| {}).expect("a store");
}

fn retrieve(remote: &mut Remote, round: &str, number: usize) {
    let mut out = Vec::with_capacity(FILE_BYTES);
    remote
        .retrieve(&path(round, number), &Default::default(), &mut out, &mut |_| {})
        .expect("a retrieve");
    assert_eq!(out.len(), FILE_BYTES);
}

/// Files a second, as the floor program prints it.
fn floor_rate(
    floor: &Path,
    verb: &str,
    relay: &str,
    clients: usize,
    count: usize,
    first: usize,
) -> f64 {
    let out = Command::new(floor)
        .args([verb, relay, &count.to_string(), &FILE_BYTES.to_string()])
        .args([clients.to_string(), first.to_string()])
        .output()
        .expect("the floor program runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (rate, _) = text.split_once(" files/s").unwrap_or_else(|| panic!("{text}"));
    rate.split_whitespace().next_back().and_then(|word| word.parse().ok()).expect("a rate")
}

/// Block files under a node's pieces.
fn blocks(node: &Path) -> usize {
    let folders = std::fs::read_dir(node.join(".palk/pieces")).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}

fn main() {
    let sustained =
        std::env::args().filter_map(|arg| arg.parse().ok()).next_back().unwrap_or(50_000usize);
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster = start_cluster(work.path(), &[]);
    let floor = std::env::var_os("FLOOR").map(PathBuf::from);
    let floor = floor.map(|program| {
        let mut command = Command::new(&program);
        command
            .arg("up")
            .arg(work.path().join("floor"))
            .args(["--port", "21300", "--store", "log"]);
        let (process, relay) = start(command, "relay ");
        (program, first_word(&relay), process)
    });
    println!("4 KiB files           palk/s  node, server CPU us    floor/s   floor/palk");
    let mut first = 1;
    for (clients, count) in ROUNDS {
        for (verb, is_store) in [("many-put", true), ("many-get", false)] {
            let round = format!("r{clients}");
            let before = cluster.cpu_us();
            let own = rate(&cluster.address, clients, count, |remote, number| {
                if is_store {
                    store(remote, &round, number)
                } else {
                    retrieve(remote, &round, number)
                }
            });
            let word = if is_store { "store" } else { "retrieve" };
            let after = cluster.cpu_us();
            let [nodes, server] = [0, 1].map(|at| (after[at] - before[at]) / count as u64);
            let own_text = format!("{word:9} {clients:2} clients {own:9.0}   {nodes:8} {server:8}");
            match &floor {
                Some((program, relay, _)) => {
                    let other = floor_rate(program, verb, relay, clients, count, first);
                    let ratio = other / own;
                    println!("{own_text}   {other:9.0}   {ratio:9.2}");
                }
                None => println!("{own_text}"),
            }
        }
        first += count;
    }
    let before: Vec<usize> =
        (1..=4).map(|id| blocks(&cluster.folder.join(format!("files_{id}")))).collect();
    let cpu = cluster.cpu_us();
    let own =
        rate(&cluster.address, 16, sustained, |remote, number| store(remote, "sustained", number));
    let stored = Instant::now();
    println!("sustained: {sustained} files, 16 clients: {own:.0} a second");
    let wanted = 2 * (ROUNDS.iter().map(|(_, count)| count).sum::<usize>() + sustained);
    let lag = || (1..=4).any(|id| blocks(&cluster.folder.join(format!("files_{id}"))) < wanted);
    while lag() {
        assert!(
            stored.elapsed() < Duration::from_secs(600),
            "all is written out; before: {before:?}"
        );
        thread::sleep(Duration::from_millis(100));
    }
    let lag = stored.elapsed().as_secs_f64();
    println!("all pieces are block files {lag:.1} s after the last answer");
    let after = cluster.cpu_us();
    let [nodes, server] = [0, 1].map(|at| (after[at] - cpu[at]) / sustained.max(1) as u64);
    println!("CPU with all of that: nodes {nodes} us, server {server} us for each file");
}
