//! Small files through a cluster of real processes: stores and retrieves of 4 KiB files a second with 1 to 64
//! clients, as `palk client` makes them, beside a floor that appends the same bytes to one synced log a node; and a
//! longer run with the time until all nodes have written their pieces out as block files.
//!
//!     cargo bench --bench small_files -- [SUSTAINED_FILES]          default 50,000
//!     PALK=path/to/another/palk cargo bench --bench small_files     to compare two builds
//!
//! How long a core was busy for each file is told for the nodes together and for the server; on a machine that does
//! other things too it is the steadier figure. Wait a minute between two runs: some file systems make files slowly
//! while many were just removed.

mod tools;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use palk::core::path::FilePath;
use palk::core::remote::Remote;
use tools::cluster::{Cluster, start_cluster};
use tools::floor::{Client, Floor, Keep};
use tools::report::{Picture, Report, count_label};
use tools::secure::{path, retrieve, signed_in, store};

const FILE_BYTES: u64 = 4096;

const CLIENTS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Files in one measurement, for each client and at most.
const FILES_EACH: usize = 1000;
const FILES_MAX: usize = 6000;

/// Has clients do `count` things, each on a connection of its own; gives how many a second.
fn rate<T: Send>(clients: Vec<T>, count: usize, what: impl Fn(&mut T, usize) + Sync) -> f64 {
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for mut client in clients {
            let (next, what) = (&next, &what);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    what(&mut client, number);
                }
            });
        }
    });
    count as f64 / begun.elapsed().as_secs_f64()
}

fn at(round: &str, number: usize) -> FilePath {
    path(&format!("{round}/{:03}/{number}", number % 100))
}

fn main() {
    tools::floor::serve_if_asked();
    let sustained = std::env::args().filter_map(|arg| arg.parse().ok()).next_back();
    let sustained = sustained.unwrap_or(50_000usize);
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster = start_cluster(work.path(), &[]);
    let floor = Floor::start(work.path(), Keep::Log);
    let mut report = Report::new("small_files");
    let mut lines: Vec<(String, Vec<(f64, f64)>)> =
        ["store", "retrieve", "floor store", "floor retrieve"]
            .map(|name| (name.to_owned(), Vec::new()))
            .into();
    let mut stored = 0;
    for clients in CLIENTS {
        let count = FILES_MAX.min(FILES_EACH * clients);
        let round = format!("r{clients}");
        let remotes = || (0..clients).map(|_| signed_in(&cluster.address)).collect::<Vec<Remote>>();
        let bare = || (0..clients).map(|_| floor.client()).collect::<Vec<Client>>();
        for is_store in [true, false] {
            let before = cluster.cpu_us();
            let own = rate(remotes(), count, |remote, number| match is_store {
                true => store(remote, &at(&round, number), FILE_BYTES),
                false => retrieve(remote, &at(&round, number), FILE_BYTES),
            });
            let after = cluster.cpu_us();
            let other = rate(bare(), count, |client, number| match is_store {
                true => client.store((stored + number) as u64, FILE_BYTES),
                false => client.retrieve((stored + number) as u64, FILE_BYTES),
            });
            let word = if is_store { "store" } else { "retrieve" };
            let what = format!("{word}, {clients} clients");
            report.rate(&what, "files/s", own, Some(other));
            for (process, at) in [("nodes", 0), ("server", 1)] {
                let cpu = (after[at] - before[at]) as f64 / count as f64;
                report.figure(&format!("{what}, CPU of the {process}"), "us/file", cpu);
            }
            let index = usize::from(!is_store);
            lines[index].1.push((clients as f64, own));
            lines[index + 2].1.push((clients as f64, other));
        }
        stored += count;
    }
    report.picture(
        "small_files",
        &Picture {
            title: "4 KiB files a second against clients",
            x: "clients",
            y: "files/s",
            x_label: count_label,
            y_label: count_label,
            x_powers: true,
            y_powers: false,
            lines,
        },
    );
    run_on(&cluster, stored, sustained, &mut report);
    report.finish();
}

/// Many files by 16 clients, and how far writing them out lags behind.
fn run_on(cluster: &Cluster, before: usize, count: usize, report: &mut Report) {
    let remotes: Vec<Remote> = (0..16).map(|_| signed_in(&cluster.address)).collect();
    let cpu = cluster.cpu_us();
    let own = rate(remotes, count, |remote, number| {
        store(remote, &at("sustained", number), FILE_BYTES);
    });
    let stored = Instant::now();
    report.rate(&format!("store {count}, 16 clients"), "files/s", own, None);
    let wanted = 2 * (before + count);
    let lags = || (1..=4).any(|id| blocks(&cluster.folder.join(format!("files_{id}"))) < wanted);
    while lags() {
        assert!(stored.elapsed() < Duration::from_secs(600), "all is written out");
        thread::sleep(Duration::from_millis(100));
    }
    report.figure("written out after the last answer", "s", stored.elapsed().as_secs_f64());
    let after = cluster.cpu_us();
    for (process, at) in [("nodes", 0), ("server", 1)] {
        let cpu = (after[at] - cpu[at]) as f64 / count.max(1) as f64;
        report.figure(&format!("with all of that, CPU of the {process}"), "us/file", cpu);
    }
}

/// Block files under a node's pieces.
fn blocks(node: &Path) -> usize {
    let folders = std::fs::read_dir(node.join(".palk/pieces")).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}
