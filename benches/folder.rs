//! A folder of many small files there and back by `palk client store -r` and `rtv -r`, whole commands, beside
//! what as many connections of the plain session reach that store the same files one after the other.
//!
//!     cargo bench --bench folder -- [FILES]          default 100,000, of 4 KiB, in 100 folders
//!
//! Half of the plain session's files go before the command and half after it, since a machine does not stay as
//! fast as it was. The most memory that a command had is printed for a tenth of the files and for all.

mod cluster;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Cluster, PASSWORD, USER, start_cluster};

const FILE_BYTES: usize = 4096;
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
        assert!(fs::read(back.join(name(number))).expect("a file") == content(number), "{number}");
    }
}

fn name(number: usize) -> String {
    format!("{:02}/{number}", number % FOLDERS)
}

fn content(number: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(FILE_BYTES).collect()
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
    let (status, mut most) = (format!("/proc/{}/status", child.id()), 0);
    let ended = loop {
        most = peak_kb(&fs::read_to_string(&status).unwrap_or_default()).unwrap_or(most);
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

fn peak_kb(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
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
                    session.store(number);
                }
            });
        }
    });
    begun.elapsed()
}

/// A connection of the plain session.
struct Plain(BufReader<TcpStream>);

impl Plain {
    fn begin(address: &str) -> Plain {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let mut session = Plain(BufReader::new(stream));
        session.ask(b"HI\r\n\r\n", "S");
        session.ask(format!("{USER}\r\n{PASSWORD}\r\n\r\n").as_bytes(), "Welcome");
        session
    }

    fn store(&mut self, number: usize) {
        let at = format!("{:02}", number % FOLDERS);
        let mut request =
            format!("STR\r\n{number}\r\nplain/{at}\r\n{FILE_BYTES}\r\n\r\n").into_bytes();
        request.extend(content(number));
        self.ask(&request, "successfully created");
    }

    /// Sends a message and reads the answer up to its empty line.
    fn ask(&mut self, message: &[u8], wanted: &str) {
        self.0.get_mut().write_all(message).expect("it is sent");
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut answer).expect("an answer") > 0, "{answer}");
        }
        assert!(answer.contains(wanted), "{answer}");
    }
}
