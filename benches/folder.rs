//! A folder of many small files there and back by `palk client store -r` and `rtv -r`, whole commands, beside
//! what as many connections of the plain session reach that store the same files one after the other.
//!
//!     cargo bench --bench folder -- [FILES]          default 100,000, of 4 KiB, in 100 folders
//!
//! Half of the plain session's files go before the command and half after it, since a machine does not stay as
//! fast as it was. The most memory that a command had is printed for a tenth of the files and for all.

mod tools;

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tools::Bytes;
use tools::cluster::{Cluster, PASSWORD, USER, peak_kb, start_cluster};
use tools::plain::Plain;

const FILE_BYTES: u64 = 4096;
const FOLDERS: usize = 100;
/// What `palk client` has without `--transfers`.
const CONNECTIONS: usize = 4;

fn main() {
    let files = std::env::args().filter_map(|own| own.parse().ok()).next_back();
    let files: usize = files.unwrap_or(100_000);
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster = start_cluster(work.path(), &[]);
    let (few, all) = (work.path().join("few"), work.path().join("all"));
    make(&few, files / 10);
    make(&all, files);
    let (_, few_kb) = client(&cluster, &["store", "-r", few.to_str().unwrap()]);
    let first = plain(&cluster, 0..files / 2);
    let (stored, all_kb) = client(&cluster, &["store", "-r", all.to_str().unwrap()]);
    let second = plain(&cluster, files / 2..files);
    let plain = files as f64 / (first + second).as_secs_f64();
    let own = files as f64 / stored.as_secs_f64();
    println!("{files} files of {FILE_BYTES} bytes, {CONNECTIONS} connections");
    println!("plain session   {plain:7.0} files/s");
    println!("store -r        {own:7.0} files/s   {:3.0} % of that", 100.0 * own / plain);
    println!(
        "                {few_kb} KiB of memory for {} files, {all_kb} KiB for all",
        files / 10
    );
    let back = work.path().join("back");
    let (took, all_kb) = client(&cluster, &["rtv", "-r", "all", "--to", back.to_str().unwrap()]);
    let rate = files as f64 / took.as_secs_f64();
    println!("rtv -r          {rate:7.0} files/s   {all_kb} KiB of memory");
    for number in 0..files {
        assert!(
            fs::read(back.join("all").join(name(number))).expect("a file") == content(number),
            "{number}"
        );
    }
}

fn name(number: usize) -> String {
    format!("{:02}/{number}", number % FOLDERS)
}

/// Each file begins with its number.
fn content(number: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    Bytes::new(FILE_BYTES - bytes.len() as u64).read_to_end(&mut bytes).expect("bytes");
    bytes
}

fn make(folder: &Path, files: usize) {
    for at in 0..FOLDERS {
        fs::create_dir_all(folder.join(format!("{at:02}"))).expect("a folder");
    }
    for number in 0..files {
        fs::write(folder.join(name(number)), content(number)).expect("a file");
    }
}

/// Runs a command of the client; gives how long it took and the most memory it had, in KiB.
fn client(cluster: &Cluster, arguments: &[&str]) -> (Duration, u64) {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_palk"))
        .args(["client", "-q", "--server", &cluster.address, "--user", USER])
        .arg("--password-file")
        .arg(password_file(cluster))
        .args(arguments)
        .env("PALK_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut most = 0;
    let ended = loop {
        most = peak_kb(child.id()).unwrap_or(most);
        if let Some(ended) = child.try_wait().expect("its status") {
            break ended;
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "{arguments:?}: {ended}");
    (begun.elapsed(), most)
}

fn password_file(cluster: &Cluster) -> std::path::PathBuf {
    let at = cluster.folder.join("password");
    fs::write(&at, PASSWORD).expect("a file");
    at
}

/// Stores these files by the plain session on all connections at once.
fn plain(cluster: &Cluster, files: Range<usize>) -> Duration {
    let sessions: Vec<Plain> = (0..CONNECTIONS).map(|_| Plain::begin(&cluster.address)).collect();
    let next = AtomicUsize::new(files.start);
    let begun = Instant::now();
    thread::scope(|scope| {
        for mut session in sessions {
            let (next, end) = (&next, files.end);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    let folder = format!("plain/{:02}", number % FOLDERS);
                    session.store(&folder, &number.to_string(), FILE_BYTES);
                }
            });
        }
    });
    begun.elapsed()
}
