//! The memory of the server and of a node: at rest, with 64 transfers at once of small and of large files, and with a
//! thousand clients that have signed in and do nothing.
//!
//!     cargo bench --bench memory -- [CONNECTIONS]          default 1,000
//!
//! Figures are the most that the process had in memory (Linux's VmHWM, which begins anew for each), and what it
//! comes to for each transfer or connection beyond what it had at rest.

mod tools;

use std::thread;
use std::time::Duration;

use palk::core::remote::Remote;
use tools::cluster::{Cluster, peak_kb, start_cluster};
use tools::report::{Report, bytes_label};
use tools::secure::{path, retrieve, signed_in, store};

const TRANSFERS: usize = 64;
const SIZES: [u64; 3] = [1 << 20, 16 << 20, 64 << 20];

fn main() {
    let connections = std::env::args().filter_map(|own| own.parse().ok()).next_back();
    let connections: usize = connections.unwrap_or(1000);
    let work = tempfile::tempdir().expect("a temporary folder");
    let cluster = start_cluster(work.path(), &["--keep-versions", "none"]);
    let mut report = Report::new("memory");
    // What the first sign-in took is given back.
    thread::sleep(Duration::from_secs(2));
    cluster.reset_peaks();
    let rest = Most::of(&cluster);
    rest.tell(&mut report, "at rest", None);
    for bytes in SIZES {
        for is_store in [true, false] {
            cluster.reset_peaks();
            let before = Most::of(&cluster);
            all_at_once(&cluster, bytes, is_store);
            let word = if is_store { "stores" } else { "retrieves" };
            let what = format!("{TRANSFERS} {word} of {} at once", bytes_label(bytes as f64));
            Most::of(&cluster).tell(&mut report, &what, Some((before, TRANSFERS)));
        }
    }
    thread::sleep(Duration::from_secs(2));
    cluster.reset_peaks();
    Most::of(&cluster).tell(&mut report, "at rest again", None);
    let mut clients: Vec<Remote> = Vec::new();
    for _ in 0..connections {
        clients.push(signed_in(&cluster.address));
    }
    thread::sleep(Duration::from_secs(2));
    cluster.reset_peaks();
    let idle = Most::of(&cluster);
    idle.tell(
        &mut report,
        &format!("{connections} clients that do nothing"),
        Some((rest, connections)),
    );
    report.finish();
}

/// MiB of the server and of node 1.
#[derive(Clone, Copy)]
struct Most([f64; 2]);

impl Most {
    fn of(cluster: &Cluster) -> Most {
        let mib = |at: usize| peak_kb(cluster.processes[at].0.id()).unwrap_or(0) as f64 / 1024.0;
        Most([mib(4), mib(0)])
    }

    fn tell(self, report: &mut Report, what: &str, each_of: Option<(Most, usize)>) {
        for (at, process) in ["server", "node 1"].into_iter().enumerate() {
            report.figure(&format!("{process}, {what}"), "MiB", self.0[at]);
            if let Some((before, count)) = each_of {
                let each = (self.0[at] - before.0[at]) / count as f64;
                report.figure("  for each", "MiB", each);
            }
        }
    }
}

fn all_at_once(cluster: &Cluster, bytes: u64, is_store: bool) {
    let clients: Vec<Remote> = (0..TRANSFERS).map(|_| signed_in(&cluster.address)).collect();
    // Hashing passwords is another matter.
    cluster.reset_peaks();
    thread::scope(|scope| {
        for (number, mut remote) in clients.into_iter().enumerate() {
            scope.spawn(move || match is_store {
                true => store(&mut remote, &path(&format!("own/{number}")), bytes),
                false => retrieve(&mut remote, &path(&format!("own/{number}")), bytes),
            });
        }
    });
}
