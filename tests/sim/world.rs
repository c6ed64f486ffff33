//! The simulated world: four nodes, a server that can go down between any two calls, a user whose
//! doings overlap, and a memory of what was answered.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use palk::core::catalog::Catalog;
use palk::core::catalog::accounts::HashGate;
use palk::core::cluster::Fanout;
use palk::core::cluster::attendant::{Attendant, Bell};
use palk::core::cluster::node::Node;
use palk::core::cluster::readers::Readers;
use palk::core::cluster::roster::Roster;
use palk::core::cluster::volume::Volume;
use palk::core::error::Error;
use palk::core::fence::{self, Decision, Look, Own};
use palk::core::io::random::Random;
use palk::core::path::{FilePath, UserName};
use palk::core::serve::files::{Files, User};
use palk::core::types::{Claim, ClusterId, Digest, NodeId};
use palk::core::wire::extended::Entry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::node::{Links, Process, ServerCrash, SimLink, SimNode};

const USER: &str = "demo";
const PASSWORD: &str = "pw";

/// Few paths, so that doings meet; one folder deep, so that folders are made.
const PATHS: [&str; 4] = ["a", "b", "x/a", "x/y/c.txt"];

/// What a path is, or may be: a content or nothing.
type Content = Option<Arc<Vec<u8>>>;

/// What is known of a path.
#[derive(Default)]
struct Known {
    /// The answered change with the highest number.
    last: (u64, Content),
    /// Changes whose answer never came, because the server went down.
    open: Vec<(u64, Content)>,
}

impl Known {
    fn possible(&self) -> Vec<Content> {
        let newer = self.open.iter().filter(|(order, _)| *order > self.last.0);
        std::iter::once(self.last.1.clone()).chain(newer.map(|(_, c)| c.clone())).collect()
    }

    fn answered(&mut self, order: u64, content: Content) {
        if order > self.last.0 {
            self.last = (order, content);
        }
    }
}

/// The server's process.
struct Server {
    /// How many were started before it.
    number: u64,
    files: Arc<Files>,
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    attendants: Vec<Attendant>,
    user: User,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) node_crashes: bool,
    pub(crate) server_crashes: bool,
    pub(crate) loss: bool,
    pub(crate) disk_errors: bool,
    pub(crate) full_disks: bool,
    /// One node's blocks rot.
    pub(crate) rot: bool,
    /// Nodes hang, and servers are taken over by others that begin with a copy of their catalog.
    pub(crate) take_overs: bool,
    /// Canary: disks lie about syncing.
    pub(crate) lies: bool,
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Arc<SimNode>>,
    pub(crate) links: Arc<Mutex<Links>>,
    folder: tempfile::TempDir,
    /// The folder of the newest server's catalog.
    database: PathBuf,
    server: Option<Server>,
    /// One that was taken over, or takes over, beside `server`: it is not told and goes on.
    other: Option<Server>,
    pub(crate) taken_over: u64,
    known: BTreeMap<&'static str, Known>,
    /// Changes that have begun and are not answered yet.
    in_flight: Vec<(&'static str, u64, Content)>,
    order: u64,
    now: Duration,
    random: StdRng,
    seed: u64,
    starts: u64,
    faults: Faults,
    rotten: Option<usize>,
    pub(crate) answered: u64,
}

/// A catalog with the user's account, made once: hashing a password for every seed would take most
/// of the time.
fn template() -> &'static [u8] {
    static TEMPLATE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("palk.db");
        let catalog = Catalog::open(&path, ClusterId([7; 16])).unwrap();
        let name = UserName::parse(USER).unwrap();
        catalog.create_user(&HashGate::default(), &name, PASSWORD, 0).unwrap();
        drop(catalog);
        std::fs::read(path).unwrap()
    })
}

/// Simulated crashes are no news.
fn quiet_panics() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<ServerCrash>().is_none() {
                usual(info);
            }
        }));
    });
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> World {
        quiet_panics();
        // Memory where there is some: the catalog's syncs are not what is simulated.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        std::fs::write(folder.path().join("palk.db"), template()).unwrap();
        let links = Links::new(seed ^ 1);
        let nodes: Vec<Arc<SimNode>> = NodeId::ALL
            .into_iter()
            .map(|id| {
                SimNode::new(id, seed.wrapping_mul(8) + u64::from(id.number()), links.clone())
            })
            .collect();
        if faults.lies {
            nodes.iter().for_each(|node| node.machine().disk.lie());
        }
        let mut world = World {
            nodes,
            links,
            database: folder.path().to_path_buf(),
            folder,
            server: None,
            other: None,
            taken_over: 0,
            known: BTreeMap::new(),
            in_flight: Vec::new(),
            order: 0,
            now: Duration::ZERO,
            random: StdRng::seed_from_u64(seed),
            seed,
            starts: 0,
            faults,
            rotten: None,
            answered: 0,
        };
        world.start_server();
        world
    }

    // ---- the server ----

    pub(crate) fn start_server(&mut self) {
        self.starts += 1;
        let random = Arc::new(Random::seeded(self.seed ^ (self.starts << 32)));
        let path = self.database.join("palk.db");
        let catalog = Arc::new(Catalog::open(&path, random.cluster()).unwrap());
        let claim = self.claim(&catalog, &random);
        let links: Vec<Arc<dyn Node>> = self
            .nodes
            .iter()
            .map(|node| {
                let (node, cluster) = (node.clone(), catalog.cluster());
                Arc::new(SimLink { node, cluster, claim }) as Arc<dyn Node>
            })
            .collect();
        let roster = Arc::new(Roster::new(links.try_into().unwrap_or_else(|_| unreachable!())));
        let volume = Arc::new(Volume::new(roster.clone(), random.clone(), Fanout::Inline));
        let readers: Arc<Readers> = Arc::default();
        let attendants = NodeId::ALL
            .map(|id| Attendant::new(id, catalog.clone(), volume.clone(), readers.clone()))
            .into();
        let files = Files::new(catalog.clone(), volume, readers, Bell::mute(), random, 1 << 30);
        // Signing in costs a password's hash; the account is known by what the catalog says.
        let user = files.trusted_user(&UserName::parse(USER).unwrap()).unwrap();
        let (number, files) = (self.starts, Arc::new(files));
        self.server = Some(Server { number, files, catalog, roster, attendants, user });
        self.guarded(World::attend);
    }

    /// What the server registers with, as the real one finds it, and remembers in its catalog.
    fn claim(&self, catalog: &Catalog, random: &Random) -> Claim {
        let last = catalog.last_claim().unwrap();
        let own = Own { cluster: catalog.cluster(), is_empty: false, last };
        let answers: Vec<_> = self.nodes.iter().filter_map(|node| node.serves()).collect();
        let Decision::Start { epoch, .. } = fence::decide(own, &answers, Look::First, true) else {
            panic!("it is told to start");
        };
        let claim = Claim { epoch, server: random.server() };
        catalog.remember_claim(claim).unwrap();
        claim
    }

    /// A second server begins where the newest one is just now, and takes over from it.
    fn take_over(&mut self) {
        let running = |node: &&Arc<SimNode>| node.machine().process == Process::Running;
        if self.nodes.iter().filter(running).count() < 3 {
            return; // with fewer it would take over nothing
        }
        self.use_newest();
        self.other = self.server.take();
        let copy = self.folder.path().join(self.starts.to_string());
        std::fs::create_dir(&copy).unwrap();
        for name in ["palk.db", "palk.db-wal"] {
            std::fs::copy(self.database.join(name), copy.join(name)).unwrap();
        }
        self.database = copy;
        self.start_server();
        assert!(self.server().roster.standing().is_established());
        self.taken_over += 1;
    }

    fn use_newest(&mut self) {
        let number = |server: &Option<Server>| server.as_ref().map_or(0, |server| server.number);
        if number(&self.other) > number(&self.server) {
            std::mem::swap(&mut self.server, &mut self.other);
        }
    }

    /// Has the server of the moment been taken over?
    fn is_old(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.number < self.starts)
    }

    /// Runs something that the server does. If the server goes down in it, what was not answered is
    /// open, and false is returned.
    pub(crate) fn guarded(&mut self, doing: impl FnOnce(&mut World)) -> bool {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| doing(self)));
        match ended {
            Ok(()) => true,
            Err(payload) if payload.downcast_ref::<ServerCrash>().is_some() => {
                for (path, order, content) in std::mem::take(&mut self.in_flight) {
                    self.known.entry(path).or_default().open.push((order, content));
                }
                self.server = None;
                false
            }
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    fn server(&mut self) -> &mut Server {
        self.server.as_mut().unwrap_or_else(|| panic::panic_any(ServerCrash))
    }

    /// Every attendant makes its rounds until it has nothing more to do.
    pub(crate) fn attend(&mut self) {
        self.now += Duration::from_secs(1);
        for i in 0..4 {
            for _ in 0..50 {
                let now = self.now;
                if !self.server().attendants[i].round(now) {
                    break;
                }
            }
        }
        self.server().catalog.strike_settled().unwrap();
    }

    // ---- the user ----

    fn content(&mut self) -> Vec<u8> {
        let length = match self.random.random_range(0..20) {
            0 => self.random.random_range(1_000_000..1_200_000),
            1 => 0,
            2..=9 => self.random.random_range(0..10),
            _ => self.random.random_range(0..5_000),
        };
        let tag: u64 = self.random.random();
        tag.to_le_bytes().into_iter().cycle().take(length).collect()
    }

    fn begin(&mut self, path: &'static str, content: Content) -> u64 {
        self.order += 1;
        self.in_flight.push((path, self.order, content));
        self.order
    }

    fn end<T>(&mut self, order: u64, outcome: &Result<T, Error>) {
        let at = self.in_flight.iter().position(|(_, own, _)| *own == order).unwrap();
        let (path, order, content) = self.in_flight.remove(at);
        let known = self.known.entry(path).or_default();
        match outcome {
            Ok(_) => {
                self.answered += 1;
                known.answered(order, content);
            }
            Err(Error::Unconfirmed { .. }) => known.open.push((order, content)),
            Err(_) => {}
        }
    }

    pub(crate) fn store(&mut self, path: &'static str, content: &[u8], depth: u32) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let order = self.begin(path, Some(Arc::new(content.to_vec())));
        let stored = (|| {
            let bytes = content.len() as u64;
            let mut store = files.store(&user, &file(path), bytes, true)?;
            let mut rest = content;
            while !rest.is_empty() {
                let room = store.room()?;
                let (now, later) = rest.split_at(room.len());
                room.copy_from_slice(now);
                rest = later;
                store.push()?;
                self.meanwhile(depth);
            }
            store.finish(Digest(*blake3::hash(content).as_bytes()))
        })();
        self.end(order, &stored);
    }

    pub(crate) fn delete(&mut self, path: &'static str) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let order = self.begin(path, None);
        let deleted = files.delete(&user, &file(path));
        self.end(order, &deleted);
    }

    /// Reads a file; whatever comes is whole and is one of what it may be.
    fn read(&mut self, path: &'static str, depth: u32) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        // One that has been taken over may not know yet what is there. Bytes it can give to nobody.
        let is_old = self.is_old();
        // Any change that is in flight may have been committed already.
        let mut possible = self.known.entry(path).or_default().possible();
        let flying = self.in_flight.iter().filter(|(own, ..)| *own == path);
        possible.extend(flying.map(|(_, _, content)| content.clone()));
        let mut bytes = Vec::new();
        let read = (|| {
            let mut retrieve = files.retrieve(&user, &file(path))?;
            while let Some(parts) = retrieve.next_part()? {
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
                self.meanwhile(depth);
            }
            assert_eq!(retrieve.blake3.0, *blake3::hash(&bytes).as_bytes(), "{path}: digest");
            Ok::<(), Error>(())
        })();
        match read {
            Ok(()) => assert!(
                possible.iter().flatten().any(|content| **content == bytes),
                "{path}: {} bytes that nobody stored there",
                bytes.len()
            ),
            Err(error) if is_missing(&error) => {
                assert!(is_old || possible.contains(&None), "{path} is gone: {error}");
            }
            // Too few nodes just now.
            Err(_) => {}
        }
    }

    /// What happens while something else is under way.
    fn meanwhile(&mut self, depth: u32) {
        if depth < 3 && self.random.random_ratio(1, 3) {
            self.step(depth + 1);
        }
    }

    // ---- the run ----

    /// One random event.
    pub(crate) fn step(&mut self, depth: u32) {
        if self.faults.take_overs {
            if self.random.random_ratio(1, 12) {
                self.take_over();
            }
            if self.other.is_some() && self.random.random_bool(0.5) {
                std::mem::swap(&mut self.server, &mut self.other);
            }
        }
        let path = PATHS[self.random.random_range(0..PATHS.len())];
        match self.random.random_range(0..100) {
            0..=34 => {
                let content = self.content();
                self.store(path, &content, depth);
            }
            35..=44 => self.delete(path),
            45..=64 => self.read(path, depth),
            65..=79 => self.attend(),
            _ => self.fault(),
        }
    }

    fn fault(&mut self) {
        let faults = self.faults;
        let which = self.random.random_range(0..4);
        let node = self.nodes[which].clone();
        match self.random.random_range(0..9) {
            0 if faults.node_crashes => {
                let calls = self.random.random_range(1..30);
                node.machine().disk.crash_in(calls);
            }
            1 if faults.node_crashes => node.end(self.random.random_bool(0.5)),
            2 if faults.node_crashes || faults.take_overs => {
                let mut machine = node.machine();
                if machine.process == Process::Running {
                    machine.process = Process::Hung;
                }
            }
            3 | 4 => self.mend(which),
            5 if faults.server_crashes => {
                let calls = self.random.random_range(1..20);
                self.links().crash_in = Some(calls);
            }
            6 if faults.disk_errors => {
                let calls = self.random.random_range(1..30);
                node.machine().disk.fail_in(calls);
            }
            7 if faults.full_disks => {
                let full = self.random.random_bool(0.5);
                node.machine().disk.set_full(full);
            }
            8 if faults.rot => {
                let rotten = *self.rotten.get_or_insert(which);
                self.nodes[rotten].machine().disk.rot();
            }
            _ => {}
        }
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a node back.
    fn mend(&mut self, which: usize) {
        let node = &self.nodes[which];
        node.notice_crash();
        let process = node.machine().process;
        match process {
            Process::Down => node.start(),
            Process::Hung => node.machine().process = Process::Running,
            Process::Running => {}
        }
    }

    pub(crate) fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            if self.server.is_none() {
                self.start_server_somehow();
            }
            let loss = if self.faults.loss { 30 } else { 0 };
            self.links().loss = loss;
            self.guarded(|world| world.step(0));
        }
    }

    /// Starting may be interrupted by another crash.
    fn start_server_somehow(&mut self) {
        while self.server.is_none() {
            self.start_server();
        }
    }

    // ---- the end: faults stop, and the cluster must become whole ----

    pub(crate) fn make_whole(&mut self) {
        self.use_newest();
        self.other = None;
        {
            let mut links = self.links();
            links.loss = 0;
            links.crash_in = None;
        }
        for which in 0..4 {
            self.nodes[which].notice_crash();
            self.nodes[which].machine().disk.behave();
            self.mend(which);
            assert_eq!(self.nodes[which].machine().process, Process::Running, "a node starts");
        }
        self.start_server_somehow();
        for _ in 0..10 {
            // Long enough for pauses to end and for staging to be looked through.
            self.now += Duration::from_secs(700);
            assert!(self.guarded(World::attend));
        }
        assert!(self.guarded(World::check_whole));
    }

    fn check_whole(&mut self) {
        let all = palk::core::types::NodeSet::ALL;
        assert_eq!(self.server().roster.up(), all, "every node is up");
        for id in NodeId::ALL {
            for repairs in [false, true] {
                let owed = self.server().catalog.owed(id, repairs, 0, 10).unwrap();
                assert!(owed.is_empty(), "node {id} is owed {owed:?}");
            }
        }
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let listed: BTreeMap<String, palk::core::types::NodeSet> = files
            .list(&user)
            .unwrap()
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::File(file) => Some((file.path.as_str().to_owned(), file.placed)),
                Entry::Folder(_) => None,
            })
            .collect();
        for path in PATHS {
            let possible = self.known.entry(path).or_default().possible();
            if !listed.contains_key(path) {
                assert!(possible.contains(&None), "{path} is lost");
                continue;
            }
            assert!(possible.iter().any(Option::is_some), "{path} has come back");
            assert_eq!(listed[path], all, "{path} is on every node");
            self.check_pairs(path, &possible);
        }
        self.check_disks(&listed);
    }

    /// The same content, one of what it may be, from every pair of nodes that the promises cover.
    fn check_pairs(&mut self, path: &'static str, possible: &[Content]) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let mut found: Option<Vec<u8>> = None;
        for (first, second) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            if self.rotten.is_some_and(|rotten| rotten == first || rotten == second) {
                continue; // found by a scrub, not by this
            }
            for which in (0..4).filter(|which| *which != first && *which != second) {
                self.nodes[which].machine().process = Process::Hung;
            }
            let mut bytes = Vec::new();
            // The first try finds the others hung; after that they are known to be.
            let mut retrieve = files.retrieve(&user, &file(path)).unwrap();
            while let Some(parts) = retrieve.next_part().unwrap() {
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
            }
            drop(retrieve);
            (0..4).for_each(|which| self.nodes[which].machine().process = Process::Running);
            self.attend();
            let known = possible.iter().flatten().any(|content| **content == bytes);
            assert!(known, "{path} from nodes {} and {}: wrong bytes", first + 1, second + 1);
            let same = found.get_or_insert_with(|| bytes.clone());
            assert!(*same == bytes, "{path} differs from pair to pair");
        }
    }

    /// Exactly the blocks of what is listed lie on every node, and nothing is left in staging.
    fn check_disks(&self, listed: &BTreeMap<String, palk::core::types::NodeSet>) {
        for (node, id) in self.nodes.iter().zip(NodeId::ALL) {
            let mut expected: Vec<String> = listed
                .keys()
                .flat_map(|path| {
                    let path = file(path);
                    id.blocks().map(|block| {
                        let name = palk::core::path::block_file_name(path.name(), block);
                        let folder = path.folder();
                        let slash = if folder.is_top() { "" } else { "/" };
                        format!("/files/{USER}/{}{slash}{name}", folder.as_str())
                    })
                })
                .collect();
            expected.sort();
            let found: Vec<String> = node
                .machine()
                .disk
                .files()
                .into_keys()
                .map(|path| path.display().to_string())
                .filter(|path| path != "/files/.palk/node.toml")
                .collect();
            assert_eq!(found, expected, "what lies on node {id}");
        }
    }
}

pub(crate) fn file(path: &str) -> FilePath {
    FilePath::parse_rooted(path).unwrap()
}

fn is_missing(error: &Error) -> bool {
    use palk::core::error::Code;
    matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder)
}
