//! People at work: each stores, overwrites, moves, deletes and reads files of their own with real client
//! processes, and remembers what was answered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crate::support::raw::{describing, seed_of};
use crate::support::{Cluster, PASSWORD, USER, palk};

/// Paths of each worker.
const PATHS: u64 = 4;

/// What is known of a path: what it was at the last answer, and what unanswered changes since then
/// may have made of it. A content is known by its seed.
#[derive(Default, Clone, Debug)]
pub(crate) struct Known {
    last: Option<u64>,
    open: Vec<Option<u64>>,
}

impl Known {
    /// May the path have this content, or none?
    pub(crate) fn allows(&self, content: Option<u64>) -> bool {
        self.last == content || self.open.contains(&content)
    }

    /// What may have been moved away from here, if anything was.
    fn contents(&self) -> Vec<Option<u64>> {
        let possible = std::iter::once(self.last).chain(self.open.iter().copied());
        possible.filter(Option::is_some).collect()
    }
}

/// What a worker has to say at its end.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) known: BTreeMap<String, Known>,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
}

/// Workers that go on until they are told to end.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    workers: Vec<JoinHandle<Report>>,
}

/// Runs client commands of user `demo`, wherever the server is.
#[derive(Clone)]
pub(crate) struct Client {
    folder: PathBuf,
    server: String,
}

impl Client {
    pub(crate) fn of(cluster: &Cluster) -> Client {
        let folder = cluster.folder.path().to_path_buf();
        std::fs::write(folder.join("password"), PASSWORD).unwrap();
        Client { folder, server: cluster.address().to_owned() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = palk();
        command.args(["client", "-q", "--server", &self.server, "--user", USER]);
        command.arg("--password-file").arg(self.folder.join("password")).args(arguments);
        command.current_dir(&self.folder).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a path has now: a whole content, or nothing. An error if it cannot be told.
    pub(crate) fn content(&self, path: &str) -> Result<Option<u64>, Output> {
        let read = self.run(&["rtv", path, "--to", "-"]);
        match read.status.code() {
            Some(0) => Ok(Some(seed_of(&read.stdout))),
            Some(4) => Ok(None),
            _ => Err(read),
        }
    }
}

impl Load {
    /// Starts so many workers.
    pub(crate) fn start(cluster: &Cluster, workers: u64) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let workers = (0..workers)
            .map(|own| {
                let (client, stop, answered) =
                    (Client::of(cluster), stop.clone(), answered.clone());
                thread::spawn(move || work(own, &client, &stop, &answered))
            })
            .collect();
        Load { stop, answered, workers }
    }

    /// How many changes were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends the workers, each after what it is about.
    pub(crate) fn end(self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Report::default();
        for worker in self.workers {
            let report = worker.join().unwrap();
            all.known.extend(report.known);
            all.answered += report.answered;
            all.refused += report.refused;
        }
        all
    }
}

/// Notes what came of a move, over what was there. True if it was answered.
fn moved(report: &mut Report, [from, to]: [&str; 2], done: &Output) -> bool {
    let source = report.known.entry(from.to_owned()).or_default();
    let contents = source.contents();
    match done.status.code() {
        Some(0) => {
            *source = Known::default();
            let target = Known { last: contents[0], open: contents[1..].to_vec() };
            report.known.insert(to.to_owned(), target);
            report.answered += 1;
            true
        }
        // Moved or deleted by an earlier try, which was not answered.
        Some(4) => {
            assert!(source.allows(None), "{from} is lost");
            false
        }
        _ => {
            source.open.push(None);
            report.known.entry(to.to_owned()).or_default().open.extend(contents);
            report.refused += 1;
            false
        }
    }
}

fn work(own: u64, client: &Client, stop: &AtomicBool, answered: &AtomicU64) -> Report {
    let mut report = Report::default();
    let local = client.folder.join(format!("local{own}"));
    let from = local.to_str().unwrap();
    for round in 1.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let seed = own * 1_000_000 + round;
        let (folder, name) = (format!("w{own}"), format!("f{}", round % PATHS));
        let path = format!("{folder}/{name}");
        let known = report.known.entry(path.clone()).or_default();
        let what = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        if what >= 14 && known.last.is_some() {
            let to = format!("{folder}/f{}", (round + 1) % PATHS);
            let done = client.run(&["mv", "--replace", &path, &to]);
            if moved(&mut report, [&path, &to], &done) {
                answered.fetch_add(1, Ordering::SeqCst);
            }
            continue;
        }
        let (change, done) = match what {
            0..=2 => {
                // What cannot be read now is not wrong.
                if let Ok(content) = client.content(&path) {
                    assert!(known.allows(content), "{path}: {content:?} is none of {known:?}");
                }
                continue;
            }
            3..=5 if known.last.is_some() => (None, client.run(&["del", &path])),
            size => {
                let bytes = describing(seed, usize::try_from(10_000 << (size / 2)).unwrap());
                std::fs::write(&local, bytes).unwrap();
                let arguments = ["store", from, "--to", &folder, "--as", &name];
                (Some(seed), client.run(&arguments))
            }
        };
        match done.status.code() {
            Some(0) => {
                *known = Known { last: change, open: Vec::new() };
                report.answered += 1;
                answered.fetch_add(1, Ordering::SeqCst);
            }
            // Deleted by the try before this one, which was not answered.
            Some(4) if change.is_none() => assert!(known.allows(None), "{path} is lost"),
            // Not answered, or refused: it may have happened all the same.
            _ => {
                known.open.push(change);
                report.refused += 1;
            }
        }
    }
    report
}
