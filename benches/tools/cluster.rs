//! A cluster of real processes for benches: four nodes and a server that end with the bench.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use palk::core::remote::Remote;

pub(crate) const USER: &str = "bench";
pub(crate) const PASSWORD: &str = "a bench password";

/// A process that ends with this one.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process and waits for a line of its log; gives what follows `wanted` there.
pub(crate) fn start(mut command: Command, wanted: &'static str) -> (Process, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (tell, told) = std::sync::mpsc::channel();
    let outputs: [Box<dyn std::io::Read + Send>; 2] =
        [Box::new(child.stderr.take().unwrap()), Box::new(child.stdout.take().unwrap())];
    for output in outputs {
        let tell = tell.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once(wanted) {
                    let _ = tell.send(rest.trim().to_owned());
                }
            }
        });
    }
    let rest = told.recv_timeout(Duration::from_secs(30)).expect("it says that it is ready");
    (Process(child), rest)
}

pub(crate) struct Cluster {
    pub(crate) address: String,
    pub(crate) folder: PathBuf,
    /// Nodes 1 to 4 and the server.
    pub(crate) processes: Vec<Process>,
}

impl Cluster {
    /// How long the nodes together, and the server, have had a core so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> [u64; 2] {
        let of = |processes: &[Process]| processes.iter().map(|own| cpu_us(own.0.id())).sum();
        [of(&self.processes[..4]), of(&self.processes[4..])]
    }
}

/// How long a process has had a core, by Linux's count in hundredths of a second; 0 where it is not told.
fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| -> u64 {
        behind.split_whitespace().nth(at).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    (ticks(11) + ticks(12)) * 10_000
}

/// The most memory that a process has had, in KiB; `None` where it is not told or the process is over.
pub(crate) fn peak_kb(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}

pub(crate) fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

pub(crate) fn start_cluster(folder: &Path, options: &[&str]) -> Cluster {
    let program = std::env::var_os("PALK").unwrap_or_else(|| env!("CARGO_BIN_EXE_palk").into());
    let palk = || {
        let mut command = Command::new(&program);
        command.env("NO_COLOR", "1");
        command
    };
    let mut processes = Vec::new();
    let mut server = palk();
    server.args(["server", "--listen", "127.0.0.1:0", "--exit-with-stdin"]);
    server.args(options).arg("--dir").arg(folder.join("user_database"));
    for id in 1..=4 {
        let mut node = palk();
        node.args(["storage", "--listen", "127.0.0.1:0", "--exit-with-stdin"]);
        node.args(["--id", &id.to_string(), "--dir"]).arg(folder.join(format!("files_{id}")));
        let (process, address) = start(node, "listening on ");
        server.args(["--node", &first_word(&address)]);
        processes.push(process);
    }
    let (process, address) = start(server, "listening on ");
    processes.push(process);
    let address = first_word(&address);
    let begun = Instant::now();
    while Remote::connect(&address).and_then(|mut it| it.sign_up(USER, PASSWORD)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "an account can be made");
        thread::sleep(Duration::from_millis(100));
    }
    Cluster { address, folder: folder.to_path_buf(), processes }
}
