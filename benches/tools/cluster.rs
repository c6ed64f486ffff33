//! A cluster of real processes for benches: four nodes and a server that end with the bench.

use std::env;
use std::ffi::OsString;
use std::fs;
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
    program: OsString,
    nodes: [String; 4],
    options: Vec<String>,
}

impl Cluster {
    /// How long the nodes together, and the server, have had a core so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> [u64; 2] {
        let of = |processes: &[Process]| processes.iter().map(|own| cpu_us(own.0.id())).sum();
        [of(&self.processes[..4]), of(&self.processes[4..])]
    }

    /// Waits until its processes have next to nothing left to do.
    pub(crate) fn await_rest(&self) {
        let begun = Instant::now();
        loop {
            let before: u64 = self.cpu_us().iter().sum();
            thread::sleep(Duration::from_secs(1));
            // Probes take some of a core.
            if self.cpu_us().iter().sum::<u64>() - before < 60_000 {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(900), "the cluster comes to rest");
        }
    }

    /// From now on the most memory of each process counts.
    pub(crate) fn reset_peaks(&self) {
        for process in &self.processes {
            let _ = fs::write(format!("/proc/{}/clear_refs", process.0.id()), "5");
        }
    }

    /// Kills the server and starts it again; gives how long it takes until it has an account for whoever
    /// signs in.
    pub(crate) fn restart_server(&mut self) -> Duration {
        drop(self.processes.pop());
        let begun = Instant::now();
        let (process, address) = start(self.server(), "listening on ");
        self.processes.push(process);
        self.address = first_word(&address);
        while Remote::connect(&self.address).and_then(|mut it| it.sign_in(USER, PASSWORD)).is_err()
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server is there again");
            thread::sleep(Duration::from_millis(5));
        }
        begun.elapsed()
    }

    /// Kills this node and starts it again in an empty folder.
    pub(crate) fn empty_node(&mut self, node: usize) {
        let folder = self.folder.join(format!("files_{node}"));
        let own = &mut self.processes[node - 1].0;
        own.kill().and_then(|()| own.wait()).expect("it ends");
        fs::rename(&folder, self.folder.join(format!("former_{node}"))).expect("another name");
        let address = self.nodes[node - 1].clone();
        self.processes[node - 1] = start(self.node(node, &address), "listening on ").0;
    }

    fn command(&self, what: &str, listen: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("NO_COLOR", "1").args([what, "--listen", listen, "--exit-with-stdin"]);
        command
    }

    fn node(&self, id: usize, listen: &str) -> Command {
        let mut command = self.command("storage", listen);
        command.args(["--id", &id.to_string(), "--dir"]);
        command.arg(self.folder.join(format!("files_{id}")));
        command
    }

    fn server(&self) -> Command {
        let mut command = self.command("server", "127.0.0.1:0");
        command.args(&self.options).arg("--dir").arg(self.folder.join("user_database"));
        command.args(self.nodes.iter().flat_map(|node| ["--node", node]));
        command
    }
}

/// How long a process has had a core, by Linux's count in hundredths of a second; 0 where it is not told.
fn cpu_us(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| -> u64 {
        behind.split_whitespace().nth(at).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    (ticks(11) + ticks(12)) * 10_000
}

/// The most memory that a process has had, in KiB; `None` where it is not told or the process is over.
pub(crate) fn peak_kb(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}

pub(crate) fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

pub(crate) fn start_cluster(folder: &Path, options: &[&str]) -> Cluster {
    let mut cluster = Cluster {
        address: String::new(),
        folder: folder.to_path_buf(),
        processes: Vec::new(),
        program: env::var_os("PALK").unwrap_or_else(|| env!("CARGO_BIN_EXE_palk").into()),
        nodes: Default::default(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    for id in 1..=4 {
        let (process, address) = start(cluster.node(id, "127.0.0.1:0"), "listening on ");
        cluster.processes.push(process);
        cluster.nodes[id - 1] = first_word(&address);
    }
    let (process, address) = start(cluster.server(), "listening on ");
    cluster.processes.push(process);
    cluster.address = first_word(&address);
    let begun = Instant::now();
    let signed_up =
        || Remote::connect(&cluster.address).and_then(|mut it| it.sign_up(USER, PASSWORD));
    while signed_up().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "an account can be made");
        thread::sleep(Duration::from_millis(100));
    }
    cluster
}
