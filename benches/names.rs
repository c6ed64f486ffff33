//! Does anything take longer the more names there are? One account with a thousand files, then ten times as many, and
//! so on: storing and reading one more file, listing one folder, listing everything, and starting the server.
//!
//!     cargo bench --bench names -- [MOST]          default 1,000,000
//!
//! Names are made by copying folders on the server, so the nodes hold a thousand files and the catalog has all names.
//! There is no floor here: each figure is compared with the one of a thousand names.

mod tools;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use palk::core::path::FolderPath;
use palk::core::remote::Remote;
use palk::core::wire::extended::Extent;
use tools::cluster::{Cluster, PASSWORD, USER, peak_kb, start_cluster};
use tools::report::{Picture, Report, count_label, median};
use tools::secure::{path, retrieve, signed_in, store};

const FILE_BYTES: u64 = 4096;
const FEWEST: usize = 1000;
const ROUNDS: usize = 25;

/// What is timed in milliseconds, in the order of the figures.
const TIMED: [&str; 5] = [
    "store 4 KiB",
    "retrieve 4 KiB",
    "list a folder of 1000",
    "first name of all",
    "start the server",
];

fn main() {
    tools::floor::serve_if_asked();
    let most = std::env::args().filter_map(|own| own.parse().ok()).next_back();
    let most: usize = most.unwrap_or(1_000_000);
    let work = tempfile::tempdir().expect("a temporary folder");
    let mut cluster = start_cluster(work.path(), &[]);
    let mut remote = signed_in(&cluster.address);
    for number in 0..FEWEST {
        store(&mut remote, &path(&format!("all/a/{number}")), FILE_BYTES);
    }
    let mut report = Report::new("names");
    let mut lines: Vec<(String, Vec<(f64, f64)>)> =
        TIMED.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
    let mut first = None;
    let mut count = FEWEST;
    loop {
        let started = cluster.restart_server();
        let mut remote = signed_in(&cluster.address);
        let stored = median_ms(|round| {
            store(&mut remote, &path(&format!("one/{count}/{round}")), FILE_BYTES)
        });
        let retrieved = median_ms(|round| {
            retrieve(&mut remote, &path(&format!("one/{count}/{round}")), FILE_BYTES)
        });
        let folder = path("all/a");
        let listed = median_ms(|_| assert_eq!(names_in(&mut remote, &folder), FEWEST));
        let (plain, first_ms) = list_all(&cluster, &["inf"], count);
        let (json, _) = list_all(&cluster, &["inf", "-r", "/", "--json"], count);
        let times = [stored, retrieved, listed, first_ms, started.as_secs_f64() * 1000.0];
        let few: [f64; 5] = *first.get_or_insert(times);
        for (((name, time), few), line) in TIMED.iter().zip(times).zip(few).zip(&mut lines) {
            let what = format!("{name}, {} names", count_label(count as f64));
            report.time(&what, time / 1000.0, Some(few / 1000.0));
            line.1.push((count as f64, time));
        }
        for (what, rate) in [("inf", plain), ("inf -r / --json", json)] {
            let what = format!("{what}, {} names", count_label(count as f64));
            report.rate(&what, "names/s", rate, None);
        }
        let server = peak_kb(cluster.processes[4].0.id()).unwrap_or(0) as f64 / 1024.0;
        report.figure(&format!("server, {} names", count_label(count as f64)), "MiB", server);
        if count * 10 > most {
            break;
        }
        grow(&mut signed_in(&cluster.address), count);
        count *= 10;
        // The nodes show all the names in their folders, too.
        cluster.await_rest();
    }
    report.picture(
        "names",
        &Picture {
            title: "Time against the number of names",
            x: "names",
            y: "milliseconds",
            x_label: count_label,
            y_label: count_label,
            x_powers: true,
            y_powers: true,
            lines,
        },
    );
    report.finish();
}

fn median_ms(mut what: impl FnMut(usize)) -> f64 {
    let times = (0..ROUNDS).map(|round| {
        let begun = Instant::now();
        what(round);
        begun.elapsed().as_secs_f64() * 1000.0
    });
    median(times.collect())
}

/// Makes ten times as many names: nine copies of all, beside what was there.
fn grow(remote: &mut Remote, count: usize) {
    let folder = |name: &str| FolderPath::parse(name).expect("a folder");
    for copy in 0..9 {
        remote.copy(&path("all"), &folder(&format!("copy{copy}")), [true, false]).expect("a copy");
    }
    for copy in 0..9 {
        let inside = folder(&format!("all/{count}_{copy}"));
        remote.move_to(&path(&format!("copy{copy}")), &inside, false).expect("a move");
    }
}

fn names_in(remote: &mut Remote, folder: &palk::core::path::FilePath) -> usize {
    let folder = FolderPath::parse(&folder.to_string()).expect("a folder");
    let mut names = 0;
    let mut each = |_| {
        names += 1;
        Ok(())
    };
    remote.list_below(&folder, Extent::Children, &mut each).expect("a listing");
    names
}

/// Lists everything by the command; gives names a second, and the milliseconds until the first line.
fn list_all(cluster: &Cluster, arguments: &[&str], least: usize) -> (f64, f64) {
    let password = cluster.folder.join("password");
    std::fs::write(&password, PASSWORD).expect("a file");
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_palk"))
        .args(["client", "--server", &cluster.address, "--user", USER, "--password-file"])
        .arg(&password)
        .args(arguments)
        .env("PALK_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::with_capacity(1 << 20, child.stdout.take().expect("a pipe"));
    let (mut names, mut first, mut line) = (0, Duration::ZERO, Vec::new());
    while lines.read_until(b'\n', &mut line).expect("a line") > 0 {
        line.clear();
        if names == 0 {
            first = begun.elapsed();
        }
        names += 1;
    }
    assert!(child.wait().expect("its status").success() && names >= least, "{names}");
    (names as f64 / begun.elapsed().as_secs_f64(), first.as_secs_f64() * 1000.0)
}
