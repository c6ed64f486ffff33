//! The simulated world: four nodes, a server that can go down between any two calls, a user whose
//! doings overlap, and a memory of what was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use palk::core::catalog::accounts::HashGate;
use palk::core::catalog::{Catalog, Phase, Report};
use palk::core::cluster::Fanout;
use palk::core::cluster::attendant::{Attendant, Bell};
use palk::core::cluster::backup::Backups;
use palk::core::cluster::heal::Healer;
use palk::core::cluster::node::Node;
use palk::core::cluster::pace::{Manners, Pace, Rest};
use palk::core::cluster::readers::Readers;
use palk::core::cluster::recover::{self, Nodes};
use palk::core::cluster::replace::{Begun, Replacer};
use palk::core::cluster::roster::Roster;
use palk::core::cluster::scrub::{Options, Progress, Scrubber};
use palk::core::cluster::volume::Volume;
use palk::core::error::{Code, Error};
use palk::core::fence::{self, Decision, Look, Own};
use palk::core::io::random::Random;
use palk::core::path::{FilePath, UserName};
use palk::core::serve::files::{Files, User};
use palk::core::types::{Claim, Digest, NodeId, NodeSet, Precondition};
use palk::core::wire::extended::Entry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::deadlocks;
use super::node::{CLUSTER, Links, Process, ServerCrash, SimLink, SimNode, Yard};

pub(crate) const USER: &str = "demo";
const PASSWORD: &str = "pw";

/// Few paths, so that doings meet; one folder deep, so that folders are made.
pub(crate) const PATHS: [&str; 6] = ["a", "b", "x/a", "x/y/c.txt", "z/a", "z/y/c.txt"];

/// Where the node is that replaces another.
pub(crate) const SPARE: &str = "spare:1";

/// A file that no Palk has put there; it stays.
pub(crate) const FOREIGN: &str = "/files/demo/notes";

/// What a path is, or may be: a content or nothing.
pub(super) type Content = Option<Arc<Vec<u8>>>;

/// What is known of a path.
#[derive(Default)]
pub(super) struct Known {
    /// The answered change with the highest number.
    pub(super) last: (u64, Content),
    /// Was that a move away from here? It is answered only when no recovery forgets it.
    pub(super) is_moved: bool,
    /// Changes whose answer never came, because the server went down.
    pub(super) open: Vec<(u64, Content)>,
    /// Stores that failed. What they left on nodes is dropped, unless the server's disk is lost first:
    /// nobody can then tell them from one that was answered in the last moment.
    failed: Vec<(u64, Content)>,
    /// All stores, whatever became of them.
    pub(super) stores: Vec<(u64, Content)>,
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
        if content.is_none() && !self.is_moved && *last > covered {
            let back = self.stores.iter().filter(|(order, _)| order < last);
            self.open.extend(back.map(|(_, content)| (last + 1, content.clone())));
        }
    }

    pub(super) fn answered(&mut self, order: u64, content: Content) {
        if order > self.last.0 {
            self.last = (order, content);
            self.is_moved = false;
        }
    }
}

/// The server's process.
pub(crate) struct Server {
    /// How many were started before it.
    number: u64,
    pub(super) files: Arc<Files>,
    pub(crate) catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    attendants: Vec<Attendant>,
    healers: Vec<Healer>,
    scrubber: Scrubber,
    replacer: Replacer,
    backups: Arc<Backups>,
    pub(super) user: User,
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
    /// Scrubs run meanwhile; at the end somebody tampers with the nodes, and a scrub must mend it.
    pub(crate) scrubs: bool,
    /// Nodes hang, and servers are taken over by others that begin with a copy of their catalog.
    pub(crate) take_overs: bool,
    /// The server's disk is lost, and the catalog recovered from the nodes.
    pub(crate) disk_loss: bool,
    /// Canary: disks lie about syncing.
    pub(crate) lies: bool,
    /// Canary: two nodes say that they have staged a new file's piece, and have not. So a store is
    /// answered that only two nodes have.
    pub(crate) hollow: bool,
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Arc<SimNode>>,
    pub(crate) links: Arc<Mutex<Links>>,
    yard: Yard,
    folder: tempfile::TempDir,
    /// The folder of the newest server's catalog.
    database: PathBuf,
    pub(super) server: Option<Server>,
    /// One that was taken over, or takes over, beside `server`: it is not told and goes on.
    other: Option<Server>,
    pub(crate) taken_over: u64,
    pub(super) known: BTreeMap<&'static str, Known>,
    /// Changes that have begun and are not answered yet.
    pub(super) in_flight: Vec<(&'static str, u64, Content)>,
    pub(super) order: u64,
    now: Duration,
    /// The same in milliseconds, for what the server believes of its nodes.
    clock: Arc<AtomicU64>,
    pub(crate) random: StdRng,
    seed: u64,
    starts: u64,
    faults: Faults,
    rotten: Option<usize>,
    /// Up to which change each node's backup is certainly complete; nothing before its first one.
    backed_up: [Option<u64>; 4],
    /// The server's disk is gone; it is to be recovered from these nodes.
    pub(super) lost: Option<NodeSet>,
    /// Files that a recovery has said cannot be read: their deletion was forgotten half-way.
    pub(super) broken: BTreeSet<&'static str>,
    /// Deletions that a recovery may have forgotten: a node that was away may still have blocks of
    /// the file, until its inventory is compared with the catalog.
    forgotten: BTreeSet<&'static str>,
    /// Every content that was ever stored, by its digest.
    pub(super) contents: BTreeMap<Digest, Arc<Vec<u8>>>,
    pub(crate) answered: u64,
    /// Answered moves.
    pub(crate) moved: u64,
    /// Stores that were refused for want of room.
    pub(crate) no_room: u64,
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
        catalog.remember_node_addresses(&NodeId::ALL.map(|id| format!("node:{id}"))).unwrap();
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
        deadlocks::watch();
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
        if faults.hollow {
            nodes[2..].iter().for_each(|node| node.machine().is_hollow = true);
        }
        let yard =
            NodeId::ALL.iter().zip(&nodes).map(|(id, node)| (format!("node:{id}"), node.clone()));
        let mut world = World {
            yard: Arc::new(Mutex::new(yard.collect())),
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
            clock: Arc::default(),
            random: StdRng::seed_from_u64(seed),
            seed,
            starts: 0,
            faults,
            rotten: None,
            backed_up: [None; 4],
            lost: None,
            broken: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            contents: BTreeMap::new(),
            answered: 0,
            moved: 0,
            no_room: 0,
            recoveries: 0,
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
        let addresses = catalog.node_addresses().unwrap().unwrap();
        let links = NodeId::ALL.map(|id| -> Arc<dyn Node> {
            Arc::new(SimLink::new(id, &self.yard, &addresses[id.index()], Some(claim)))
        });
        let clock = self.clock.clone();
        let roster = Arc::new(Roster::with_clock(
            links,
            Box::new(move || Duration::from_millis(clock.load(Ordering::SeqCst))),
        ));
        let volume = Volume::new(roster.clone(), random.clone(), Fanout::Inline);
        let volume = Arc::new(volume.following(catalog.clone()));
        let copy = self.folder.path().join("snapshot");
        let backups = Backups::new(catalog.clone(), roster.clone(), random.clone(), copy);
        let backups = Arc::new(backups);
        let readers: Arc<Readers> = Arc::default();
        let attendants = NodeId::ALL
            .map(|id| Attendant::new(id, catalog.clone(), volume.clone(), readers.clone()))
            .into();
        let pace = Arc::new(Pace::new(None));
        let manners = Manners::new(pace, volume.traffic().clone(), Rest::Never);
        let healers = NodeId::ALL
            .map(|id| {
                let (catalog, volume, manners) = (catalog.clone(), volume.clone(), manners.clone());
                Healer::new(id, catalog, volume, Bell::mute(), manners, Arc::default())
            })
            .into();
        let scrubber = Scrubber::new(
            catalog.clone(),
            volume.clone(),
            readers.clone(),
            Bell::mute(),
            manners.clone(),
            None,
            0,
        )
        .unwrap();
        let replacer = Replacer::new(catalog.clone(), roster.clone(), Bell::mute(), manners, 0);
        let files = Files::new(catalog.clone(), volume, readers, Bell::mute(), random, 1 << 30);
        let files = files.recording(backups.clone());
        // Signing in costs a password's hash; the account is known by what the catalog says.
        let user = files.trusted_user(&UserName::parse(USER).unwrap()).unwrap();
        let (number, files) = (self.starts, Arc::new(files));
        self.server = Some(Server {
            number,
            files,
            catalog,
            roster,
            attendants,
            healers,
            scrubber,
            replacer,
            backups,
            user,
        });
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

    pub(crate) fn server(&mut self) -> &mut Server {
        self.server.as_mut().unwrap_or_else(|| panic::panic_any(ServerCrash))
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now_ms = u64::try_from(self.now.as_millis()).unwrap();
        self.clock.store(now_ms, Ordering::SeqCst);
    }

    /// Everyone who looks after the nodes makes rounds until there is nothing more to do, or for a
    /// while.
    pub(crate) fn attend(&mut self) {
        self.pass(Duration::from_secs(1));
        let now = self.now;
        for _ in 0..2 {
            for i in 0..4 {
                self.server().attendants[i].round(now);
            }
            for i in 0..4 {
                (0..50).take_while(|_| self.server().healers[i].round(now)).count();
            }
        }
        (0..20).take_while(|_| self.server().scrubber.round(now)).count();
        (0..20).take_while(|_| self.server().replacer.round(now)).count();
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

    /// Scrubs everything; what is not as it should be is mended when this returns.
    pub(crate) fn scrub(&mut self) -> Progress {
        let scrubs = self.server().scrubber.scrubs();
        scrubs.stop();
        self.attend();
        let witness = self.random.random_bool(0.5);
        scrubs.start(Options { witness, grace: Duration::ZERO }).unwrap();
        for _ in 0..100 {
            self.now += Duration::from_secs(700);
            self.attend();
            let progress = scrubs.progress().unwrap();
            if progress.scrub.as_ref().is_some_and(|scrub| scrub.phase == Phase::Done) {
                assert!(progress.is_clean(), "{progress:?}");
                return progress;
            }
        }
        panic!("a scrub does not end: {:?}", scrubs.progress());
    }

    // ---- replacing a node ----

    /// An empty node with the number of node 1 is started at another address.
    pub(crate) fn start_spare(&mut self) -> Arc<SimNode> {
        let spare = SimNode::new(NodeId::ALL[0], self.seed ^ 0xff, self.links.clone());
        self.yard.lock().unwrap().insert(SPARE.to_owned(), spare.clone());
        spare
    }

    /// Node 1 is replaced by the spare one; false if that cannot begin now.
    pub(crate) fn replace(&mut self) -> bool {
        self.replace_by(SPARE)
    }

    /// Node 1 is replaced by the one at this address; false if that cannot begin now.
    pub(crate) fn replace_by(&mut self, address: &str) -> bool {
        let replacements = self.server().replacer.replacements();
        let begun = replacements.replace(NodeId::ALL[0], address, false, 0);
        matches!(begun, Ok(Begun::Started { .. } | Begun::Resumed))
    }

    /// The files that keep node 1 from being replaced.
    pub(crate) fn files_at_risk(&mut self) -> Vec<String> {
        let replacements = self.server().replacer.replacements();
        match replacements.replace(NodeId::ALL[0], SPARE, false, 0) {
            Ok(Begun::WouldLose { count, first }) => {
                assert_eq!(count, first.len() as u64);
                first.iter().map(ToString::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// The catalog is told that these nodes have lost their pieces of a file.
    pub(crate) fn lose(&mut self, path: &str, nodes: &[usize]) {
        let server = self.server();
        let version = server.files.retrieve(&server.user, &file(path)).unwrap().version;
        for node in nodes {
            server.catalog.piece_lost(NodeId::ALL[*node], version, None).unwrap();
        }
    }

    /// Is it proved that the new node is whole?
    pub(crate) fn is_replaced(&mut self) -> bool {
        let progress = self.server().replacer.replacements().progress().unwrap();
        progress.iter().any(|own| own.replacement.proved_ms.is_some())
    }

    /// Goes on with the replacement, or begins it, until the new node is proved to be whole.
    pub(crate) fn finish_replacing(&mut self) {
        for _ in 0..20 {
            self.start_server_somehow();
            let yard: Vec<_> = self.yard.lock().unwrap().values().cloned().collect();
            for node in yard {
                node.notice_crash();
                node.machine().disk.behave();
                let process = node.machine().process;
                if process == Process::Down {
                    node.start();
                }
            }
            self.now += Duration::from_secs(100);
            let went_on = self.guarded(|world| {
                world.attend();
                if !world.is_replaced() {
                    assert!(world.replace(), "it can be begun, or goes on");
                    world.attend();
                }
            });
            if went_on && self.is_replaced() {
                return;
            }
        }
        panic!("a node is never replaced: {:?}", self.server().replacer.replacements().progress());
    }

    /// The nodes that the server means, which may have been replaced.
    fn follow_addresses(&mut self) {
        let addresses = self.server().catalog.node_addresses().unwrap().unwrap();
        let yard = self.yard.lock().unwrap();
        self.nodes = addresses.iter().map(|address| yard[address].clone()).collect();
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
            Err(_) if content.is_some() => known.failed.push((order, content)),
            Err(_) => {}
        }
    }

    pub(crate) fn store(&mut self, path: &'static str, content: &[u8], depth: u32) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let shared = Arc::new(content.to_vec());
        self.contents.insert(Digest(*blake3::hash(content).as_bytes()), shared.clone());
        let order = self.begin(path, Some(shared));
        let stored = (|| {
            let bytes = content.len() as u64;
            let mut store = files.store(&user, &file(path), bytes, Precondition::Any)?;
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
        let is_full = |error: &Error| error.code() == Code::NoSpace;
        self.no_room += u64::from(stored.as_ref().is_err_and(is_full));
        self.end(order, &stored);
    }

    pub(crate) fn delete(&mut self, path: &'static str) {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        let order = self.begin(path, None);
        let deleted = files.delete(&user, &file(path));
        self.end(order, &deleted);
    }

    /// Reads a file; whatever comes is whole and is one of what it may be.
    pub(crate) fn read(&mut self, path: &'static str, depth: u32) {
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
            0..=29 => {
                let content = self.content();
                self.store(path, &content, depth);
            }
            30..=37 => self.delete(path),
            38..=52 => self.change_names(path),
            53..=64 => self.read(path, depth),
            65..=77 => self.attend(),
            78..=79 if self.faults.scrubs => {
                let scrubs = self.server().scrubber.scrubs();
                // Refused while one is running.
                let _ = scrubs.start(Options { witness: false, grace: Duration::ZERO });
                self.attend();
            }
            78..=79 => self.attend(),
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
                // Less than its reserve, a little more, or room without an end again.
                let free = match self.random.random_range(0..4) {
                    0 => Some(0),
                    1 => Some(self.random.random_range(0..20_000)),
                    _ => None,
                };
                node.machine().disk.leave_free(free);
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
            let link = SimLink::new(id, &self.yard, &format!("node:{id}"), None);
            asked.contains(id).then(|| Arc::new(link) as Arc<dyn Node>)
        });
        let survey = recover::survey(&nodes)?;
        if survey.asked != asked {
            return Err(palk::core::error::Error::NotSignedIn); // any: tried again with all
        }
        let path = |name: &str| self.database.join(name);
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
    pub(crate) fn mend(&mut self, which: usize) {
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
            self.nodes[which].machine().is_hollow = false;
            self.mend(which);
            assert_eq!(self.nodes[which].machine().process, Process::Running, "a node starts");
        }
        self.start_server_somehow();
        self.follow_addresses();
        self.delete_broken();
        for _ in 0..10 {
            // Long enough for pauses to end and for staging to be looked through.
            self.pass(Duration::from_secs(700));
            assert!(self.guarded(World::attend));
        }
        if self.rotten.is_some() {
            assert!(self.guarded(|world| drop(world.scrub())));
        }
        assert!(self.guarded(World::check_whole));
        if self.faults.scrubs {
            assert!(self.guarded(World::tamper_and_scrub));
            assert!(self.guarded(World::check_whole));
        }
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
        assert!(listed.keys().all(|path| PATHS.contains(&path.as_str())), "{listed:?}");
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
            // Long enough for every probation to end.
            self.pass(Duration::from_secs(700));
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
                .filter(|path| path != "/files/.palk/node.toml" && path != FOREIGN)
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

fn is_missing(error: &Error) -> bool {
    matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder)
}
