//! The simulated world: four nodes, a server that can go down between any two calls, a user whose
//! doings overlap, and a memory of what was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use palk::core::catalog::accounts::HashGate;
use palk::core::catalog::{Catalog, Report};
use palk::core::cluster::Fanout;
use palk::core::cluster::attendant::{Attendant, Bell};
use palk::core::cluster::backup::Backups;
use palk::core::cluster::node::Node;
use palk::core::cluster::readers::Readers;
use palk::core::cluster::recover::{self, Nodes};
use palk::core::cluster::roster::Roster;
use palk::core::cluster::volume::Volume;
use palk::core::io::random::Random;
use palk::core::path::{FilePath, UserName};
use palk::core::serve::files::{Files, User};
use palk::core::types::{Digest, NodeId, NodeSet};
use palk::core::wire::extended::Entry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::node::{CLUSTER, Links, Process, ServerCrash, SimLink, SimNode};

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
    /// Stores that failed. What they left on nodes is dropped, unless the server's disk is lost first:
    /// nobody can then tell them from one that was answered in the last moment.
    failed: Vec<(u64, Content)>,
    /// All stores, whatever became of them.
    stores: Vec<(u64, Content)>,
}

impl Known {
    fn possible(&self) -> Vec<Content> {
        let newer = self.open.iter().filter(|(order, _)| *order > self.last.0);
        std::iter::once(self.last.1.clone()).chain(newer.map(|(_, c)| c.clone())).collect()
    }

    /// The server's disk is lost. Deletions up to `covered` are in a backup that is at hand; one that
    /// is not may be forgotten.
    fn disk_lost(&mut self, covered: u64) {
        let failed = std::mem::take(&mut self.failed);
        self.open.extend(failed);
        let (last, content) = &self.last;
        if content.is_none() && *last > covered {
            let back = self.stores.iter().filter(|(order, _)| order < last);
            self.open.extend(back.map(|(_, content)| (last + 1, content.clone())));
        }
    }

    fn answered(&mut self, order: u64, content: Content) {
        if order > self.last.0 {
            self.last = (order, content);
        }
    }
}

/// The server's process.
struct Server {
    files: Arc<Files>,
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    attendants: Vec<Attendant>,
    backups: Backups,
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
    /// The server's disk is lost, and the catalog recovered from the nodes.
    pub(crate) disk_loss: bool,
    /// Canary: disks lie about syncing.
    pub(crate) lies: bool,
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Arc<SimNode>>,
    pub(crate) links: Arc<Mutex<Links>>,
    folder: tempfile::TempDir,
    server: Option<Server>,
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
    /// Up to which change each node's backup is certainly complete; nothing before its first one.
    backed_up: [Option<u64>; 4],
    /// The server's disk is gone; it is to be recovered from these nodes.
    lost: Option<NodeSet>,
    /// Files that a recovery has said cannot be read: their deletion was forgotten half-way.
    broken: BTreeSet<&'static str>,
    /// Deletions that a recovery may have forgotten: a node that was away may still have blocks of
    /// the file, until its inventory is compared with the catalog.
    forgotten: BTreeSet<&'static str>,
    pub(crate) answered: u64,
    pub(crate) recoveries: u64,
}

/// A catalog with the user's account, made once: hashing a password for every seed would take most
/// of the time.
fn template() -> &'static [u8] {
    static TEMPLATE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("palk.db");
        let catalog = Catalog::open(&path, CLUSTER).unwrap();
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
            folder,
            server: None,
            known: BTreeMap::new(),
            in_flight: Vec::new(),
            order: 0,
            now: Duration::ZERO,
            random: StdRng::seed_from_u64(seed),
            seed,
            starts: 0,
            faults,
            rotten: None,
            backed_up: [None; 4],
            lost: None,
            broken: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            answered: 0,
            recoveries: 0,
        };
        world.start_server();
        world
    }

    // ---- the server ----

    pub(crate) fn start_server(&mut self) {
        self.starts += 1;
        let random = Arc::new(Random::seeded(self.seed ^ (self.starts << 32)));
        let path = self.folder.path().join("palk.db");
        let catalog = Arc::new(Catalog::open(&path, random.cluster()).unwrap());
        let links: Vec<Arc<dyn Node>> = self
            .nodes
            .iter()
            .map(|node| Arc::new(SimLink(node.clone())) as Arc<dyn Node>)
            .collect();
        let roster = Arc::new(Roster::new(links.try_into().unwrap_or_else(|_| unreachable!())));
        let volume = Arc::new(Volume::new(roster.clone(), random.clone(), Fanout::Inline));
        let copy = self.folder.path().join("snapshot");
        let backups = Backups::new(catalog.clone(), roster.clone(), random.clone(), copy);
        let readers: Arc<Readers> = Arc::default();
        let attendants = NodeId::ALL
            .map(|id| Attendant::new(id, catalog.clone(), volume.clone(), readers.clone()))
            .into();
        let files = Files::new(catalog.clone(), volume, readers, Bell::mute(), random, 1 << 30);
        // Signing in costs a password's hash; the account is known by what the catalog says.
        let user = files.trusted_user(&UserName::parse(USER).unwrap()).unwrap();
        self.server =
            Some(Server { files: Arc::new(files), catalog, roster, attendants, backups, user });
        self.guarded(World::attend);
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
        self.back_up();
    }

    /// The backup's senders make their rounds.
    fn back_up(&mut self) {
        let flying = self.in_flight.iter().map(|(_, order, _)| order - 1).min();
        let complete = flying.unwrap_or(self.order);
        for id in NodeId::ALL {
            let now = self.now;
            for _ in 0..5 {
                if !self.server().backups.round(id, now) {
                    break;
                }
            }
            let progress = &self.server().backups.progress()[id.index()];
            if progress.behind == Some(0) && progress.trouble.is_none() {
                self.backed_up[id.index()] = Some(complete);
            }
        }
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
        if content.is_some() {
            self.known.entry(path).or_default().stores.push((self.order, content.clone()));
        }
        self.in_flight.push((path, self.order, content));
        self.order
    }

    fn end(&mut self, order: u64, answered: bool) {
        let at = self.in_flight.iter().position(|(_, own, _)| *own == order).unwrap();
        let (path, order, content) = self.in_flight.remove(at);
        let known = self.known.entry(path).or_default();
        if answered {
            self.answered += 1;
            known.answered(order, content);
        } else if content.is_some() {
            known.failed.push((order, content));
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
        self.end(order, stored.is_ok());
    }

    pub(crate) fn delete(&mut self, path: &'static str) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let order = self.begin(path, None);
        let deleted = files.delete(&user, &file(path));
        self.end(order, deleted.is_ok());
    }

    /// Reads a file; whatever comes is whole and is one of what it may be.
    fn read(&mut self, path: &'static str, depth: u32) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
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
            Ok::<(), palk::core::error::Error>(())
        })();
        match read {
            Ok(()) => assert!(
                possible.iter().flatten().any(|content| **content == bytes),
                "{path}: {} bytes that nobody stored there",
                bytes.len()
            ),
            Err(error) if is_missing(&error) => {
                assert!(possible.contains(&None), "{path} is gone: {error}");
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
        match self.random.random_range(0..10) {
            0 if faults.node_crashes => {
                let calls = self.random.random_range(1..30);
                node.machine().disk.crash_in(calls);
            }
            1 if faults.node_crashes => node.end(self.random.random_bool(0.5)),
            2 if faults.node_crashes => {
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
            9 if faults.disk_loss => self.lose_disk(),
            _ => {}
        }
    }

    /// The server's disk is lost, where the promises cover it: nodes are at hand that hold two good
    /// pieces of every file, and one of them has a backup.
    fn lose_disk(&mut self) {
        let mut at_hand: NodeSet = NodeId::ALL
            .into_iter()
            .filter(|id| self.nodes[id.index()].machine().process == Process::Running)
            .collect();
        // Some of them may be lost together with it.
        while at_hand.len() > 2 && self.random.random_bool(0.4) {
            at_hand.remove(NodeId::ALL[self.random.random_range(0..4)]);
        }
        let mut sound = at_hand;
        if let Some(rotten) = self.rotten {
            sound.remove(NodeId::ALL[rotten]);
        }
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let listed = files.list(&user).unwrap();
        let is_covered = at_hand.len() >= 2
            && sound.iter().any(|id| self.backed_up[id.index()].is_some())
            && listed.iter().all(|entry| match entry {
                Entry::File(file) => file.placed.and(sound).len() >= 2,
                Entry::Folder(_) => true,
            });
        if is_covered {
            self.lost = Some(at_hand);
            panic::panic_any(ServerCrash);
        }
    }

    /// Recovers the catalog from the nodes that are at hand, from all of them if one fails meanwhile.
    fn recover(&mut self, at_hand: NodeSet) {
        let mut asked = at_hand;
        loop {
            let mut report = None;
            self.guarded(|world| report = world.try_recover(asked).ok());
            if let Some(report) = report {
                self.recovered(asked, &report);
                return;
            }
            (0..4).for_each(|which| self.mend(which));
            self.links().loss = 0;
            asked = NodeSet::ALL;
        }
    }

    fn try_recover(&mut self, asked: NodeSet) -> palk::core::error::Result<Report> {
        self.starts += 1;
        let random = Random::seeded(self.seed ^ (self.starts << 32));
        let nodes: Nodes = NodeId::ALL.map(|id| {
            let link = SimLink(self.nodes[id.index()].clone());
            asked.contains(id).then(|| Arc::new(link) as Arc<dyn Node>)
        });
        let survey = recover::survey(&nodes)?;
        if survey.asked != asked {
            return Err(palk::core::error::Error::NotSignedIn); // any: tried again with all
        }
        let path = |name: &str| self.folder.path().join(name);
        for name in ["palk.db", "palk.db-wal", "palk.db-shm", "snapshot"] {
            let _ = std::fs::remove_file(path(name));
        }
        let beside = path("palk.db.recovering");
        let report = recover::recover(&nodes, &survey, &beside, &random, &[const { None }; 4])?;
        std::fs::rename(beside, path("palk.db")).unwrap();
        Ok(report)
    }

    fn recovered(&mut self, asked: NodeSet, report: &Report) {
        self.recoveries += 1;
        let rotten = self.rotten.map(|rotten| NodeId::ALL[rotten]);
        let sound = asked.iter().filter(|id| Some(*id) != rotten);
        let covered = sound.filter_map(|id| self.backed_up[id.index()]).max().unwrap_or(0);
        for (path, known) in &mut self.known {
            if known.last.1.is_none() && known.last.0 > covered {
                self.forgotten.insert(path);
            }
            known.disk_lost(covered);
        }
        // What follows is a history of its own; nothing is known to be in it yet.
        self.backed_up = [None; 4];
        for item in &report.unrecovered {
            let path = PATHS.into_iter().find(|path| item.what == format!("/{USER}/{path}"));
            let path = path.unwrap_or_else(|| panic!("{item:?}"));
            let possible = self.known.entry(path).or_default().possible();
            assert!(possible.contains(&None), "{path} is lost: {}", item.why);
            self.broken.insert(path);
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
            if let Some(at_hand) = self.lost.take() {
                self.recover(at_hand);
            }
            self.start_server();
        }
    }

    // ---- the end: faults stop, and the cluster must become whole ----

    pub(crate) fn make_whole(&mut self) {
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
        self.delete_broken();
        for _ in 0..10 {
            // Long enough for pauses to end and for staging to be looked through.
            self.now += Duration::from_secs(700);
            assert!(self.guarded(World::attend));
        }
        assert!(self.guarded(World::check_whole));
    }

    /// What a recovery has said cannot be read is deleted, as its user would.
    fn delete_broken(&mut self) {
        for path in std::mem::take(&mut self.broken) {
            let (files, user) = (self.server().files.clone(), self.server().user.clone());
            self.attend();
            if files.retrieve(&user, &file(path)).is_err_and(|error| !is_missing(&error)) {
                self.delete(path);
            }
        }
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
                .filter(|path| !path.starts_with("/files/backup/"))
                .filter(|path| expected.contains(path) || !self.is_of_forgotten(id, path))
                .collect();
            assert_eq!(found, expected, "what lies on node {id}");
        }
    }
}

impl World {
    /// Is this block of a file whose deletion a recovery may have forgotten?
    fn is_of_forgotten(&self, id: NodeId, found: &str) -> bool {
        self.forgotten.iter().any(|path| {
            let path = file(path);
            let names = id.blocks().map(|b| palk::core::path::block_file_name(path.name(), b));
            let folder = format!("/files/{USER}/{}", path.folder().as_str());
            let folder = folder.trim_end_matches('/');
            names.iter().any(|name| found == format!("{folder}/{name}"))
        })
    }
}

pub(crate) fn file(path: &str) -> FilePath {
    FilePath::parse_rooted(path).unwrap()
}

fn is_missing(error: &palk::core::error::Error) -> bool {
    use palk::core::error::Code;
    matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder)
}
