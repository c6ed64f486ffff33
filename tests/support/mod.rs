//! A whole cluster of real processes for tests: four nodes and a server on ports that the system
//! chooses, in a temporary folder, gone when the value is dropped.
//!
//! Nothing here waits for a time: every wait is for a condition, up to a limit that only a hang
//! reaches.

#![allow(dead_code)] // each test binary uses its own part

pub(crate) mod proxy;
pub(crate) mod raw;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Only a hang takes this long.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// The two blocks on each node.
const BLOCKS: [[&str; 2]; 4] = [["A1", "A2"], ["B1", "B2"], ["O1", "O2"], ["O3", "O4"]];

pub(crate) const USER: &str = "demo";
pub(crate) const PASSWORD: &str = "correct horse";

/// The program under test.
pub(crate) fn palk() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palk"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PALK_")) {
        command.env_remove(name);
    }
    // Nobody's home: there is nothing in it, and nothing can be kept in it.
    command.env("XDG_CONFIG_HOME", "/dev/null");
    command
}

/// Says that a test is left out, as this machine lacks something. In CI, which installs everything that
/// tests need, nothing may be left out: what is missing there is to be added to `.ci/run`.
pub(crate) fn skip(what_is_missing: &str) {
    let is_allowed = std::env::var_os("PALK_SKIP_NO_TESTS").is_none();
    assert!(is_allowed, "a test cannot be run here, and none may be skipped: {what_is_missing}");
    eprintln!("SKIPPED: {what_is_missing}");
}

/// Waits until the condition holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < HANG, "it never came true that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that no two lengths or seeds share.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ length as u64 | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// A running process of ours. Killed when dropped; ends by itself if the test process dies.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Process {
        let mut child = command
            .arg("--exit-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Process { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How often the log has this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until the log has this text.
    pub(crate) fn says(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < HANG, "never said {text:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The address that it listens on.
    pub(crate) fn address(&self) -> String {
        self.says("listening on ");
        let log = self.log();
        let at = log.find("listening on ").unwrap() + "listening on ".len();
        // In a log of JSON a quote follows.
        log[at..].split([' ', '\n', '"']).next().unwrap().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end and gives the exit status.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < HANG, "it never ended:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("---- log of process {}\n{}", self.pid(), self.log());
        }
    }
}

/// A loopback address that no other cluster has now. A node that is away leaves its port to whoever
/// comes next; on a shared address that could be a node of another test, which would be taken for it.
fn own_address() -> Ipv4Addr {
    static CLUSTERS: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed) % 254 + 1;
    Ipv4Addr::new(127, cluster, high, low)
}

/// Four nodes and a server.
pub(crate) struct Cluster {
    pub(crate) folder: tempfile::TempDir,
    nodes: [Option<Process>; 4],
    addresses: [String; 4],
    /// Where the server finds them, if that is not where they listen.
    detours: [Option<String>; 4],
    server: Option<Process>,
    server_address: String,
    options: Vec<String>,
    /// More options for each node.
    pub(crate) node_options: [Vec<String>; 4],
    /// What a shell does before it becomes the node.
    node_preludes: [String; 4],
}

impl Cluster {
    /// Starts all five, and waits until the server has all its nodes and user `demo` exists.
    pub(crate) fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// The same, with more options for the server.
    pub(crate) fn start_with(options: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(options);
        for node in 1..=4 {
            cluster.start_node(node);
        }
        cluster.start_server_and_user();
        cluster
    }

    /// A cluster whose server reaches one node through a proxy.
    pub(crate) fn start_with_proxy(node: usize) -> (Cluster, proxy::Proxy) {
        let mut cluster = Cluster::prepare(&[]);
        for node in 1..=4 {
            cluster.start_node(node);
        }
        let proxy = proxy::Proxy::start(cluster.node_address(node));
        cluster.detours[node - 1] = Some(proxy.address());
        cluster.start_server_and_user();
        (cluster, proxy)
    }

    /// A cluster whose server reaches every node through a proxy.
    pub(crate) fn start_with_proxies() -> (Cluster, [proxy::Proxy; 4]) {
        let mut cluster = Cluster::prepare(&[]);
        let proxies = [1, 2, 3, 4].map(|node| {
            cluster.start_node(node);
            let proxy = proxy::Proxy::start(cluster.node_address(node));
            cluster.detours[node - 1] = Some(proxy.address());
            proxy
        });
        cluster.start_server_and_user();
        (cluster, proxies)
    }

    /// A cluster of which nothing runs yet.
    pub(crate) fn prepare(options: &[&str]) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        // All four are held until all are known, so that they differ.
        let own = own_address();
        let free: [_; 4] = std::array::from_fn(|_| TcpListener::bind((own, 0)).unwrap());
        let cluster = Cluster {
            nodes: [const { None }; 4],
            addresses: free.map(|listener| listener.local_addr().unwrap().to_string()),
            detours: [const { None }; 4],
            server: None,
            server_address: "127.0.0.1:0".into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            node_options: [const { Vec::new() }; 4],
            node_preludes: [const { String::new() }; 4],
            folder,
        };
        std::fs::write(cluster.path("password"), PASSWORD).unwrap();
        cluster
    }

    /// More options for the server, from its next start on.
    pub(crate) fn add_option(&mut self, option: &str, value: &Path) {
        self.options.extend([option.to_owned(), value.to_str().unwrap().to_owned()]);
    }

    /// All four nodes are at other addresses from their next start on, and so named to the server.
    pub(crate) fn move_nodes(&mut self) {
        let own = own_address();
        let free: [_; 4] = std::array::from_fn(|_| TcpListener::bind((own, 0)).unwrap());
        self.addresses = free.map(|listener| listener.local_addr().unwrap().to_string());
    }

    /// From now on the server is told that the node is at this address; without one where it is.
    pub(crate) fn name_node_at(&mut self, node: usize, address: Option<&str>) {
        self.detours[node - 1] = address.map(str::to_owned);
    }

    /// What the server is started with from its next start on.
    pub(crate) fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
    }

    /// From now on the server finds this node behind a proxy.
    pub(crate) fn put_proxy_before(&mut self, node: usize) -> proxy::Proxy {
        let proxy = proxy::Proxy::start(self.node_address(node));
        self.detours[node - 1] = Some(proxy.address());
        proxy
    }

    /// Starts the server on a cluster whose nodes run, and makes user `demo`.
    pub(crate) fn start_server_and_user(&mut self) {
        let cluster = self;
        cluster.start_server();
        cluster.server().says("Connected to all data servers.");
        let made = cluster.client(&["signup"]);
        assert!(made.status.success(), "{made:?}");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of node 1 to 4.
    pub(crate) fn node_folder(&self, node: usize) -> PathBuf {
        self.path(&format!("files_{node}"))
    }

    pub(crate) fn address(&self) -> &str {
        &self.server_address
    }

    pub(crate) fn node_address(&self, node: usize) -> &str {
        &self.addresses[node - 1]
    }

    pub(crate) fn server(&mut self) -> &mut Process {
        self.server.as_mut().unwrap()
    }

    /// Node 1 to 4.
    pub(crate) fn node(&mut self, node: usize) -> &mut Process {
        self.nodes[node - 1].as_mut().unwrap()
    }

    /// The server listens there from its first start on.
    pub(crate) fn listen_at(&mut self, address: &str) {
        address.clone_into(&mut self.server_address);
    }

    /// Starts the server, at the address that it had before if it had one.
    pub(crate) fn start_server(&mut self) {
        let mut server = Process::start(self.server_command(palk()));
        until("it listens", || {
            let log = server.log();
            // An outgoing connection may have been given its port meanwhile, which does not last.
            if log.contains("the address is in use") {
                server = Process::start(self.server_command(palk()));
            }
            log.contains("listening on ")
        });
        self.server_address = server.address();
        self.server = Some(server);
    }

    /// Starts the server where it was, with nobody reading what it logs.
    pub(crate) fn start_server_with_closed_log(&mut self) {
        let mut command = self.server_command(palk());
        command.arg("--exit-with-stdin").stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stderr.take());
        self.server = Some(Process { child, log: Arc::default() });
        let address = self.server_address.clone();
        until("it listens", || TcpStream::connect(&address).is_ok());
    }

    /// Starts the server as a process that may have so many files, and waits for its nodes.
    pub(crate) fn start_server_with_files_max(&mut self, files: usize) {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_palk")]);
        let server = Process::start(self.server_command(shell));
        server.says("Connected to all data servers.");
        self.server = Some(server);
    }

    pub(crate) fn server_command(&self, mut command: Command) -> Command {
        command.arg("server").args(["--listen", &self.server_address]).args(&self.options);
        // Most tests want to see that what was deleted goes.
        if !self.options.iter().any(|option| option == "--keep-versions") {
            command.args(["--keep-versions", "none"]);
        }
        command.arg("--dir").arg(self.path("user_database"));
        for (address, detour) in self.addresses.iter().zip(&self.detours) {
            command.args(["--node", detour.as_ref().unwrap_or(address)]);
        }
        command
    }

    /// Starts the server again and waits until it has all its nodes.
    pub(crate) fn restart_server(&mut self) {
        self.start_server();
        self.server().says("Connected to all data servers.");
    }

    /// Takes a server that was started elsewhere for this cluster's; gives the one before.
    pub(crate) fn use_server(&mut self, server: Process) -> Option<Process> {
        self.server_address = server.address();
        self.server.replace(server)
    }

    pub(crate) fn kill_server(&mut self) {
        self.server().kill();
        self.server = None;
    }

    /// Ends the server in an orderly way.
    pub(crate) fn stop_server(&mut self) {
        self.server().signal("-TERM");
        assert_eq!(self.server().wait(), Some(0));
        self.server = None;
    }

    /// Kills the server and then all nodes.
    pub(crate) fn kill_all(&mut self) {
        self.kill_server();
        self.nodes.iter_mut().filter_map(Option::take).for_each(|mut node| node.kill());
    }

    /// `palk admin recover --json` into a folder, from these nodes.
    pub(crate) fn recover(&self, folder: &str, from: &[usize]) -> Output {
        let mut command = palk();
        command.args(["admin", "recover", "--json", "--dir"]).arg(self.path(folder));
        for node in 1..=4 {
            let address = if from.contains(&node) { self.node_address(node) } else { "-" };
            command.args(["--node", address]);
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What a node is started with from its next start on.
    pub(crate) fn set_node_options(&mut self, node: usize, options: &[&str]) {
        let options = options.iter().map(|option| (*option).to_owned());
        self.node_options[node - 1] = options.collect();
    }

    /// What a shell does from a node's next start on before it becomes the node: `ulimit -n 64 && exec`.
    pub(crate) fn set_node_prelude(&mut self, node: usize, prelude: &str) {
        prelude.clone_into(&mut self.node_preludes[node - 1]);
    }

    /// The nodes run without the rights of the superuser over other files from their next start on, as
    /// the permissions of files say nothing to it. False where that cannot be had.
    pub(crate) fn obey_permissions(&mut self) -> bool {
        let file = self.path("unreadable");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o0)).unwrap();
        let reads = |prelude: &str| {
            let mut shell = Command::new("sh");
            let script = format!("{prelude} cat \"$0\"");
            shell.args(["-c", &script]).arg(&file).stderr(Stdio::null());
            shell.status().unwrap().code()
        };
        let none = "-dac_override,-dac_read_search";
        let without = format!("exec setpriv --bounding-set={none} --inh-caps={none}");
        let prelude = if reads("exec") == Some(1) { "exec".to_owned() } else { without };
        (1..=4).for_each(|node| self.set_node_prelude(node, &prelude));
        reads(&prelude) == Some(1)
    }

    /// Starts a node at the address that it had before.
    pub(crate) fn start_node(&mut self, node: usize) {
        // For a moment an outgoing connection of another test may have been given the port.
        let begun = Instant::now();
        let process = loop {
            let options = &self.node_options[node - 1];
            let (address, prelude) = (self.node_address(node), &self.node_preludes[node - 1]);
            let mut process = start_node(self.folder.path(), node, address, options, prelude);
            until("it listens or ends", || {
                // Why it has ended may come a moment after it has.
                let ended = !process.is_running();
                process.log().contains("listening on ")
                    || ended && process.log().contains("error: ")
            });
            if process.is_running() {
                break process;
            }
            let taken = process.log().contains("is in use") && begun.elapsed() < HANG;
            assert!(taken, "{}", process.log());
        };
        self.nodes[node - 1] = Some(process);
    }

    pub(crate) fn kill_node(&mut self, node: usize) {
        self.node(node).kill();
        self.nodes[node - 1] = None;
    }

    /// Kills a node and waits until the server knows it.
    pub(crate) fn lose_node(&mut self, node: usize) {
        let before = self.server().log().matches(&format!("lost data server {node}:")).count();
        self.kill_node(node);
        self.knows_lost(node, before);
    }

    /// Waits until the server has found a node lost once more often than `before`.
    pub(crate) fn knows_lost(&mut self, node: usize, before: usize) {
        let text = format!("lost data server {node}:");
        until(&text, || self.server().log().matches(&text).count() > before);
    }

    /// Starts a node again and waits until the server has it.
    pub(crate) fn return_node(&mut self, node: usize) {
        let text = format!("connected to data server {node}\n");
        let before = self.server().log().matches(&text).count();
        self.start_node(node);
        until(&text, || self.server().log().matches(&text).count() > before);
    }

    /// A one-shot client command, signed in as `demo`.
    pub(crate) fn client_command(&self, arguments: &[&str]) -> Command {
        let mut command = palk();
        command.current_dir(self.folder.path()).arg("client");
        command.args(["--server", &self.server_address, "--user", USER]);
        command.arg("--password-file").arg(self.path("password")).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn client(&self, arguments: &[&str]) -> Output {
        self.client_command(arguments).output().unwrap()
    }

    /// The exit status of `palk status`.
    pub(crate) fn status(&self) -> ExitStatus {
        self.run_status(&[]).status
    }

    /// What `palk status --json` says: its exit status and its fields.
    pub(crate) fn told_status(&self) -> (i32, serde_json::Value) {
        let output = self.run_status(&["--json"]);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = out.lines().last().unwrap_or_else(|| panic!("{output:?}"));
        (output.status.code().unwrap(), serde_json::from_str(last).unwrap())
    }

    /// What `palk status` says to people.
    pub(crate) fn status_text(&self) -> String {
        let output = self.run_status(&[]);
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
    }

    fn run_status(&self, options: &[&str]) -> Output {
        let mut command = palk();
        command.arg("status").arg("--dir").arg(self.path("user_database")).args(options);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Waits until nothing is wrong or missing, and every node has all that it should.
    pub(crate) fn await_healthy(&self) {
        until("nothing is wrong", || self.status().code() == Some(0));
    }

    /// Stores bytes under a path (`a/b.bin`) and says on how many nodes.
    pub(crate) fn store(&self, path: &str, bytes: &[u8]) -> Result<usize, Output> {
        let local = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        std::fs::write(local.path(), bytes).unwrap();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let from = local.path().to_str().unwrap();
        let output = self.client(&["store", from, "--to", folder, "--as", name]);
        if !output.status.success() {
            return Err(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let count = (1..=4).find(|n| said.contains(&format!("on {n} of 4 nodes")));
        Ok(count.unwrap_or_else(|| panic!("{said}")))
    }

    /// Reads a file back.
    pub(crate) fn retrieve(&self, path: &str) -> Result<Vec<u8>, Output> {
        let output = self.client(&["-q", "rtv", path, "--to", "-"]);
        if output.status.success() { Ok(output.stdout) } else { Err(output) }
    }

    /// The id of a path's current version, in hex, as the server lists it.
    pub(crate) fn version(&self, path: &str) -> String {
        let listed = self.client(&["--json", "inf", path]);
        let out = String::from_utf8_lossy(&listed.stdout).into_owned();
        let of_line = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["version"].as_str().map(str::to_owned)
        };
        out.lines().find_map(of_line).unwrap_or_else(|| panic!("no version of {path}: {listed:?}"))
    }

    /// The block files of a version that are on a node, whole or not.
    pub(crate) fn piece(&self, node: usize, version: &str) -> Vec<PathBuf> {
        let folder = self.node_folder(node).join(".palk/pieces").join(&version[..2]);
        let paths = BLOCKS[node - 1].map(|block| folder.join(format!("{version}_{block}")));
        paths.into_iter().filter(|path| path.exists()).collect()
    }

    /// The names in a node's view that stand for a path.
    pub(crate) fn blocks(&self, node: usize, path: &str) -> Vec<PathBuf> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (stem, rest) = name.split_at(name.find('.').unwrap_or(name.len()));
        let folder = self.node_folder(node).join(USER).join(folder);
        let paths = BLOCKS[node - 1].map(|block| folder.join(format!("{stem}_{block}{rest}")));
        paths.into_iter().filter(|path| path.exists()).collect()
    }

    /// Has a node both blocks of this version of a path, under the names in its view? The versions
    /// that are compared differ in length.
    pub(crate) fn has_version(&self, node: usize, path: &str, bytes: &[u8]) -> bool {
        let layout = palk::core::code::layout::Layout::new(bytes.len() as u64);
        let block_bytes = usize::try_from(layout.block_bytes()).unwrap();
        let blocks = self.blocks(node, path);
        let fits = |path: &PathBuf| {
            let block = std::fs::read(path).unwrap_or_default();
            // What follows the block is a trailer, which names the file's size.
            let trailer = block.get(block_bytes..).map(palk::core::wire::trailer::Trailer::decode);
            trailer.is_some_and(|trailer| {
                trailer.is_ok_and(|trailer| trailer.header.file_bytes == bytes.len() as u64)
            })
        };
        blocks.len() == 2 && blocks.iter().all(fits)
    }

    /// How many block files a node has, those that it is receiving left out.
    pub(crate) fn block_files(&self, node: usize) -> usize {
        self.piece_files(node).iter().filter(|name| !name.contains('.')).count()
    }

    /// Is a node receiving a piece, or has it left one that it has received in part?
    pub(crate) fn is_receiving(&self, node: usize) -> bool {
        self.piece_files(node).iter().any(|name| name.contains('.'))
    }

    fn piece_files(&self, node: usize) -> Vec<String> {
        let folders = std::fs::read_dir(self.node_folder(node).join(".palk/pieces"));
        let folders = folders.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let names = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten();
        folders.flat_map(names).filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
    }

    /// The block files under which the current version of a path lies on a node. Waits until it has
    /// written them out.
    pub(crate) fn piece_of(&self, node: usize, path: &str) -> Vec<PathBuf> {
        let version = self.version(path);
        until("its piece is written out", || self.piece(node, &version).len() == 2);
        self.piece(node, &version)
    }

    /// A raw connection to the server, for speaking the specified session.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.server_address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection on which `demo` has signed in by the specified conversation.
    pub(crate) fn signed_in(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(b"HI\r\n\r\n").unwrap();
        expect(&mut stream, b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n");
        write!(stream, "{USER}\r\n{PASSWORD}\r\n\r\n").unwrap();
        expect(&mut stream, b"S\r\nWelcome demo! You are a legend...\r\n\r\n");
        stream
    }
}

/// Reads exactly these bytes.
pub(crate) fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    if let Err(error) = stream.read_exact(&mut got) {
        panic!("{error} instead of {:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
}

fn start_node(
    folder: &Path,
    node: usize,
    address: &str,
    options: &[String],
    prelude: &str,
) -> Process {
    let mut command = palk();
    if !prelude.is_empty() {
        command = Command::new("sh");
        let script = format!("{prelude} \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_palk")]);
    }
    command.args(["storage", "--id", &node.to_string(), "--listen", address]);
    command.arg("--dir").arg(folder.join(format!("files_{node}"))).args(options);
    Process::start(command)
}

/// All pairs of nodes.
pub(crate) const PAIRS: [[usize; 2]; 6] = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];

/// Copies a folder as `cp -r` does: what had two names becomes two files.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let at = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_folder(&entry.path(), &at);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), at).unwrap();
        }
    }
}

/// How many threads and open files a process has.
pub(crate) fn threads_and_files(pid: u32) -> (usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    (count("task"), count("fd"))
}

/// The most memory that a process has had, in bytes.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    let mut status = String::new();
    File::open(format!("/proc/{pid}/status")).unwrap().read_to_string(&mut status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
