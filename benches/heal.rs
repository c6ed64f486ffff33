//! A node comes back empty: how fast it is filled again, beside the same block files copied to the same disk with
//! one sync at the end, for a few large files and for many small ones; and what users have of the cluster
//! meanwhile.
//!
//!     cargo bench --bench heal -- [LARGE_MB] [SMALL_FILES]          default 1,000 and 20,000
//!
//! Repairs go at the default rate.

mod tools;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use palk::core::remote::Remote;
use palk::core::status::State;
use tools::cluster::{Cluster, start_cluster};
use tools::report::Report;
use tools::secure::{path, retrieve, signed_in, store};

const NODE: usize = 3;
const LARGE_MB: usize = 32;
const SMALL_BYTES: u64 = 4096;
const USERS: usize = 4;
const USER_BYTES: u64 = 1 << 20;
const HEALTHY: Duration = Duration::from_secs(15);

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|own| own.parse().ok()).collect();
    let large_mb = numbers.first().copied().unwrap_or(1000);
    let small = numbers.get(1).copied().unwrap_or(20_000);
    let large = large_mb.div_ceil(LARGE_MB);
    let mut report = Report::new("heal");
    for (count, bytes, word) in
        [(large, (LARGE_MB as u64) << 20, "large"), (small, SMALL_BYTES, "small")]
    {
        let work = tempfile::tempdir().expect("a temporary folder");
        let mut cluster = start_cluster(work.path(), &[]);
        fill(&cluster, count, bytes);
        let what = format!("{count} {word} files");
        let former = empty(&mut cluster);
        let seconds = await_filled(&cluster, blocks(&former).len());
        let floor = copy_all(&former, &work.path().join("floor"));
        report.time(&format!("fill a node, {what}"), seconds, Some(floor));
        let mb = total(&former) as f64 / 1e6;
        report.rate(&format!("fill a node, {what}"), "MB/s", mb / seconds, Some(mb / floor));
        fs::remove_dir_all(former).expect("it is removed");

        let begun = Instant::now();
        let healthy = use_while(&cluster, || begun.elapsed() < HEALTHY);
        let former = empty(&mut cluster);
        let is_over = AtomicBool::new(false);
        let (seconds, meanwhile) = thread::scope(|scope| {
            let users = scope.spawn(|| use_while(&cluster, || !is_over.load(Ordering::Relaxed)));
            let seconds = await_filled(&cluster, blocks(&former).len());
            is_over.store(true, Ordering::Relaxed);
            (seconds, users.join().expect("users"))
        });
        report.time(&format!("with {USERS} users, {what}"), seconds, Some(floor));
        report.rate(
            &format!("1 MiB there and back meanwhile, {word}"),
            "1/s",
            meanwhile,
            Some(healthy),
        );
    }
    report.finish();
}

fn fill(cluster: &Cluster, count: usize, bytes: u64) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for mut remote in (0..16).map(|_| signed_in(&cluster.address)).collect::<Vec<Remote>>() {
            let next = &next;
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    store(&mut remote, &path(&format!("{:02}/{number}", number % 100)), bytes);
                }
            });
        }
    });
    // What the journal has is written out as block files.
    let lags = |id| blocks(&cluster.folder.join(format!("files_{id}"))).len() < 2 * count;
    let begun = Instant::now();
    while (1..=4).any(lags) {
        assert!(begun.elapsed() < Duration::from_secs(600), "all is written out");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Has the node lose all that it has; gives the folder that it had.
fn empty(cluster: &mut Cluster) -> PathBuf {
    cluster.empty_node(NODE);
    cluster.folder.join(format!("former_{NODE}"))
}

/// Waits until the node has so many block files and nothing is missing; gives the seconds from the first of
/// them on.
fn await_filled(cluster: &Cluster, count: usize) -> f64 {
    let node = cluster.folder.join(format!("files_{NODE}"));
    let mut remote = signed_in(&cluster.address);
    let asked = Instant::now();
    let mut begun = asked;
    let mut has_begun = false;
    loop {
        let found = blocks(&node).len();
        if found == 0 && !has_begun {
            begun = Instant::now();
        }
        has_begun |= found > 0;
        if found >= count && remote.status().expect("the status").state == State::Healthy {
            return begun.elapsed().as_secs_f64();
        }
        assert!(
            asked.elapsed() < Duration::from_secs(1800),
            "the node is filled: {found} of {count}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Has users store and read files as long as this is true; gives how many there and back a second.
fn use_while(cluster: &Cluster, goes_on: impl Fn() -> bool + Sync) -> f64 {
    let (done, begun) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for user in 0..USERS {
            let (done, goes_on) = (&done, &goes_on);
            let mut remote = signed_in(&cluster.address);
            scope.spawn(move || {
                let own = path(&format!("user/{user}"));
                while goes_on() {
                    store(&mut remote, &own, USER_BYTES);
                    retrieve(&mut remote, &own, USER_BYTES);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// The block files under a node's pieces that have their names.
fn blocks(node: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(node.join(".palk/pieces")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten());
    let paths = files.flatten().map(|file| file.path());
    paths.filter(|path| path.extension().is_none()).collect()
}

fn total(node: &Path) -> u64 {
    let files = blocks(node).into_iter().filter_map(|path| path.metadata().ok());
    files.map(|found| found.len()).sum()
}

/// Copies all block files to one folder, and syncs the disk; gives the seconds.
fn copy_all(node: &Path, to: &Path) -> f64 {
    fs::create_dir_all(to).expect("a folder");
    let begun = Instant::now();
    for path in blocks(node) {
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
    rustix::fs::syncfs(File::open(to).expect("the folder")).expect("a sync");
    begun.elapsed().as_secs_f64()
}
