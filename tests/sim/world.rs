//! The simulated world: four nodes, servers that go down between any two calls and take over from each
//! other, users whose doings overlap, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use palk::core::catalog::{Catalog, Quota};
use palk::core::cluster::leadership::LeadershipPhase;
use palk::core::cluster::node::Node;
use palk::core::cluster::recover::{self, Nodes};
use palk::core::error::{Error, Result};
use palk::core::path::UserName;
use palk::core::serve::files::User;
use palk::core::types::{Moment, NodeId, NodeSet, VersionId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clock::Clock;
use super::contents::Contents;
use super::deadlocks;
use super::disk::{Copy, ROOT};
use super::faults::Faults;
use super::model::Model;
use super::node::{CLUSTER, Event, Links, Process, ServerCrash, SimLink, SimNode, Yard};
use super::server::{CATALOG, Server, Site, USERS, state_of};
use super::set_back::WasSetBack;
use super::state::Trees;
use super::tally::Tally;
use super::upload::Label;
use super::users::QUOTAS;

pub(crate) struct World {
    pub(crate) nodes: Vec<Arc<SimNode>>,
    pub(crate) links: Arc<Mutex<Links>>,
    pub(crate) site: Site,
    /// One, or several that do not all know that they have been taken over.
    pub(crate) servers: Vec<Server>,
    /// The one that users talk to just now.
    pub(crate) at: usize,
    pub(crate) model: Model,
    /// What settled servers have shown after which entry.
    pub(crate) shown: BTreeMap<Moment, Trees>,
    /// Up to where the journal goes that a settled server had.
    pub(crate) last_end: (u64, Moment),
    pub(crate) was_set_back: Vec<WasSetBack>,
    /// Users who have brought something back, and may have more than their quota.
    pub(crate) has_brought_back: BTreeSet<&'static str>,
    pub(crate) has_had_snapshots: bool,
    /// What uploads by bytes are to be.
    pub(crate) intended: BTreeMap<Label, Arc<Vec<u8>>>,
    /// Uploads that somebody has tried to complete or to drop.
    pub(crate) given_up: BTreeSet<Label>,
    pub(crate) random: StdRng,
    pub(crate) tally: Tally,
    pub(crate) faults: Faults,
    /// The node whose blocks rot.
    pub(crate) rotten: Option<usize>,
    /// The nodes that have lost something which they have not got again yet.
    pub(crate) damaged: [bool; 4],
    pub(crate) node_copies: [Option<Copy>; 4],
    /// What a scrub has to put right has happened.
    pub(crate) needs_scrub: bool,
    /// Where a server starts if none runs.
    pub(crate) database: PathBuf,
    pub(crate) catalog_copies: Vec<PathBuf>,
    /// The server's disk is gone; it is to be recovered from these nodes.
    pub(crate) lost: Option<NodeSet>,
    /// The server's disk is to be put back to an older copy.
    pub(crate) is_rolled_back: bool,
    /// A server that has begun in the middle of what another one does.
    begun: Arc<Mutex<Option<Server>>>,
    /// Where everything of the servers is, removed at the end.
    _folder: tempfile::TempDir,
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
    /// Four nodes and a server that leads, with the users' accounts.
    pub(crate) fn new(seed: u64, faults: Faults) -> World {
        deadlocks::watch();
        quiet_panics();
        // Memory where there is some: the catalog's syncs are not what is simulated.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let passed: Arc<AtomicU64> = Arc::default();
        let links = Links::new(seed ^ 1, passed.clone());
        let nodes = NodeId::ALL.map(|id| {
            let own = seed.wrapping_mul(8) + u64::from(id.number());
            SimNode::new(id, own, links.clone(), !faults.no_links)
        });
        if faults.lies {
            nodes.iter().for_each(|node| node.disk().lie());
        }
        let yard =
            NodeId::ALL.iter().zip(&nodes).map(|(id, node)| (format!("node:{id}"), node.clone()));
        let yard: Yard = Arc::new(Mutex::new(yard.collect()));
        let site = Site {
            yard,
            clock: Clock::new(passed.clone()),
            passed,
            has_wrong_clocks: faults.clocks,
            seed,
            keep: faults.keep,
            is_forgetful: faults.forgetful,
            contents: Contents::default(),
            folder: folder.path().to_path_buf(),
            count: Arc::new(AtomicU64::new(0)),
        };
        let database = site.new_folder();
        let mut world = World {
            nodes: nodes.into(),
            links,
            site,
            servers: Vec::new(),
            at: 0,
            model: Model::new(&USERS),
            shown: BTreeMap::new(),
            last_end: Default::default(),
            was_set_back: Vec::new(),
            has_brought_back: BTreeSet::new(),
            has_had_snapshots: false,
            intended: BTreeMap::new(),
            given_up: BTreeSet::new(),
            random: StdRng::seed_from_u64(seed),
            tally: Tally::default(),
            faults,
            rotten: None,
            damaged: [false; 4],
            node_copies: [const { None }; 4],
            needs_scrub: false,
            database,
            catalog_copies: Vec::new(),
            lost: None,
            is_rolled_back: false,
            begun: Arc::default(),
            _folder: folder,
        };
        world.start_server();
        assert!(world.guarded(World::attend));
        world.make_users();
        if faults.hollow {
            world.nodes[2..].iter().for_each(|node| node.machine().is_hollow = true);
        }
        world
    }

    fn make_users(&mut self) {
        let committer = self.server().cluster.committer.clone();
        let addresses = NodeId::ALL.map(|id| format!("node:{id}"));
        committer.submit(move |draft| draft.set_nodes(&addresses)).unwrap();
        for (user, quota) in USERS.into_iter().zip(QUOTAS) {
            let name = UserName::parse(user).unwrap();
            let made = committer.submit(move |draft| {
                // Nobody signs in here, so nobody needs a real hash.
                draft.create_user(&name, "no password", 0)?;
                draft.set_quota(&name, quota.map_or(Quota::Unlimited, Quota::Bytes))
            });
            made.unwrap();
        }
    }

    // ---- servers ----

    /// Starts a server where the last one was, and has it talk to the nodes once.
    pub(crate) fn start_server(&mut self) {
        let server = self.site.start(&self.database.clone(), [false; 4]);
        self.servers.push(server);
        self.at = self.servers.len() - 1;
        self.guarded(World::attend);
    }

    /// The server of the moment.
    pub(crate) fn server(&mut self) -> &mut Server {
        let at = self.at;
        self.servers.get_mut(at).unwrap_or_else(|| panic::panic_any(ServerCrash))
    }

    /// One more server begins with a copy of a catalog, the newest or an older one, and takes over from
    /// the others as far as it reaches the nodes.
    pub(crate) fn take_over(&mut self) {
        let copy = match self.catalog_copies.len() {
            count if count > 0 && self.random.random_ratio(1, 3) && self.may_lose_votes() => {
                self.catalog_copies[self.random.random_range(0..count)].clone()
            }
            _ => {
                let newest = self.servers.iter().max_by_key(|server| server.number);
                newest.map_or_else(|| self.database.clone(), |server| server.database.clone())
            }
        };
        let database = self.site.copy_of(&copy);
        let cut = std::array::from_fn(|_| self.random.random_ratio(1, 6));
        if self.servers.len() == 3 {
            let oldest = (0..3).min_by_key(|at| self.servers[*at].number);
            self.servers.remove(oldest.unwrap());
        }
        self.database.clone_from(&database);
        let server = self.site.start(&database, cut);
        self.servers.push(server);
        self.at = self.servers.len() - 1;
        self.tally.taken_over += 1;
        self.attend();
    }

    /// A second server takes over before the n-th call from now of the one of the moment.
    pub(crate) fn order_take_over(&mut self, in_calls: u64) {
        let database = self.server().database.clone();
        let (site, begun) = (self.site.clone(), self.begun.clone());
        let doing = move || {
            let mut server = site.start(&site.copy_of(&database), [false; 4]);
            (0..3).for_each(|_| server.round(site.now()));
            *begun.lock().unwrap() = Some(server);
        };
        self.links().order(in_calls, Event::Meanwhile(Box::new(doing)));
    }

    /// From now on users talk to the server that has begun meanwhile; false if none has.
    pub(crate) fn admit_begun(&mut self) -> bool {
        let begun = self.begun.lock().unwrap().take();
        let has_begun = begun.is_some();
        self.servers.extend(begun);
        self.at = self.servers.len().saturating_sub(1);
        has_begun
    }

    /// The disks of all servers are lost, whether they are running or not; these nodes are at hand.
    pub(crate) fn lose_servers(&mut self, at_hand: [usize; 2]) {
        self.servers.clear();
        self.end_faults();
        self.lost = Some(at_hand.into_iter().map(|which| NodeId::ALL[which]).collect());
    }

    /// Runs something that the server of the moment does. If it goes down in that, what was not answered
    /// is open, and false is returned.
    pub(crate) fn guarded(&mut self, doing: impl FnOnce(&mut World)) -> bool {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| doing(self)));
        match ended {
            Ok(()) => true,
            Err(payload) if payload.downcast_ref::<ServerCrash>().is_some() => {
                self.model.leave_open();
                self.end_server();
                false
            }
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    pub(crate) fn end_server(&mut self) {
        if self.at < self.servers.len() {
            let server = self.servers.remove(self.at);
            if self.servers.is_empty() {
                self.database.clone_from(&server.database);
            }
        }
        self.at = self.servers.len().saturating_sub(1);
    }

    /// How many nodes obey this server.
    fn obedient(&self, at: usize) -> usize {
        let claim = Some(self.servers[at].claim());
        self.nodes.iter().filter(|node| node.obeys() == claim).count()
    }

    /// Is what this server shows decided, and all that is?
    pub(crate) fn is_settled(&self, at: usize) -> bool {
        let Some(server) = self.servers.get(at) else { return false };
        server.leads()
            && !server.cluster.committer.is_in_doubt()
            && server.cluster.catalog.uncertain().unwrap().is_empty()
            && self.obedient(at) >= 3
    }

    /// Has the server of the moment taken up files that may be taken back?
    pub(crate) fn is_uncertain(&self) -> bool {
        let uncertain = |server: &Server| server.cluster.catalog.uncertain().unwrap();
        self.servers.get(self.at).is_some_and(|server| !uncertain(server).is_empty())
    }

    /// Has this server certainly heard of everything that was answered?
    pub(crate) fn is_informed(&self, at: usize) -> bool {
        let Some(server) = self.servers.get(at) else { return false };
        let phase = server.cluster.roster.leadership().phase();
        phase >= LeadershipPhase::Reading
            && !server.is_taken_over()
            && self.obedient(at) >= 2
            && self.damaged == [false; 4]
    }

    pub(crate) fn user(&self, name: &str) -> Result<User> {
        match self.servers.get(self.at) {
            Some(server) => server.files.trusted_user(&UserName::parse(name).unwrap()),
            None => panic::panic_any(ServerCrash),
        }
    }

    pub(crate) fn version(&mut self) -> VersionId {
        VersionId(self.random.random())
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.site.pass(time);
    }

    /// All that runs in the background has a turn: the nodes' own work, and that of the server of the
    /// moment.
    pub(crate) fn attend(&mut self) {
        self.pass(Duration::from_secs(1));
        let now = self.site.now();
        for _ in 0..2 {
            self.server().round(now);
            self.nodes.iter().for_each(|node| {
                node.work(20);
            });
        }
    }

    /// What must be so at any time.
    pub(crate) fn look(&mut self) {
        if self.model.is_under_way() {
            return;
        }
        let latest_us = self.site.clock.latest_us();
        for at in 0..self.servers.len() {
            let whose = format!("server {}", self.servers[at].number);
            if self.is_settled(at) {
                let state = self.servers[at].state();
                self.model.settle(&state, latest_us, &whose);
                self.note_shown(at, state.trees);
                self.check_some_past(at);
            } else if self.is_informed(at) {
                self.model.check(&self.servers[at].state(), latest_us, &whose);
            }
        }
        self.check_quotas();
        self.note_mended();
    }

    /// A node that had lost something has got it all again, as far as the server knows; and it has.
    fn note_mended(&mut self) {
        let Some(at) = (0..self.servers.len()).find(|at| self.is_settled(*at)) else { return };
        for id in NodeId::ALL {
            let which = id.index();
            if !self.damaged[which] {
                continue;
            }
            let cluster = self.servers[at].cluster.clone();
            let Some(store) = self.nodes[which].store() else { continue };
            let Ok(journal) = store.journal_state() else { continue };
            let is_whole = cluster.roster.health(id).is_up()
                && !self.nodes[which].disk().is_away()
                && journal.gap.is_none()
                && journal.end == cluster.replication.end()
                && cluster.catalog.missing_count(id).unwrap() == 0;
            if is_whole {
                let placed: Vec<VersionId> = cluster
                    .catalog
                    .versions_after(None, usize::MAX)
                    .unwrap()
                    .into_iter()
                    .filter(|held| held.placed.contains(id))
                    .map(|held| held.version)
                    .collect();
                // Its disk may fail just now.
                if let Ok(lacks) = store.lacks(&placed) {
                    assert!(lacks.is_empty(), "node {id} should hold {lacks:?} and does not");
                    self.damaged[which] = false;
                }
                self.nodes[which].notice_crash();
            }
        }
    }

    pub(crate) fn links(&self) -> std::sync::MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a node back.
    pub(crate) fn mend(&mut self, which: usize) {
        let node = &self.nodes[which];
        node.notice_crash();
        let disk = node.disk();
        // A process whose folder was taken away is started again when it is there again.
        let was_emptied =
            !disk.names().contains_key(Path::new(ROOT)) && node.machine().process != Process::Down;
        disk.reappear();
        if was_emptied {
            node.end(false);
        }
        let process = node.machine().process;
        match process {
            Process::Down => node.start(),
            Process::Hung => node.machine().process = Process::Running,
            Process::Running => {}
        }
    }

    // ---- recovery ----

    /// Recovers the catalog from the nodes that are at hand, from all of them if one fails meanwhile.
    pub(crate) fn recover(&mut self, at_hand: NodeSet) {
        let mut asked = at_hand;
        loop {
            let mut done = None;
            self.database = self.site.new_folder();
            self.guarded(|world| done = world.try_recover(asked, &world.database.clone()).ok());
            if done.is_some() {
                self.tally.recoveries += 1;
                return;
            }
            (0..4).for_each(|which| self.mend(which));
            self.links().loss = 0;
            asked = NodeSet::ALL;
        }
    }

    /// Makes a catalog in this folder of what these nodes have.
    pub(crate) fn try_recover(&self, asked: NodeSet, folder: &Path) -> Result<()> {
        let nodes: Nodes = NodeId::ALL.map(|id| {
            let link = SimLink::asking(id, &self.site.yard);
            asked.contains(id).then(|| Arc::new(link) as Arc<dyn Node>)
        });
        let survey = recover::survey(&nodes)?;
        if survey.asked != asked {
            return Err(Error::NotSignedIn); // any: tried again with all
        }
        let path = folder.join(CATALOG[0]);
        recover::recover(&nodes, &survey, &path, &[const { None }; 4]).map(drop)
    }

    /// All that is in a catalog can be recovered from this pair of nodes.
    pub(crate) fn check_recoverable(&mut self, pair: [usize; 2], own: &BTreeSet<String>) {
        let folder = self.site.new_folder();
        let asked = pair.into_iter().map(|which| NodeId::ALL[which]).collect();
        match self.try_recover(asked, &folder) {
            Ok(()) => {
                let catalog = Catalog::open(&folder.join(CATALOG[0]), CLUSTER).unwrap();
                let whose = format!("a recovery from nodes {} and {}", pair[0] + 1, pair[1] + 1);
                let latest_us = self.site.clock.latest_us();
                self.model.check(&state_of(&catalog, &self.site.contents), latest_us, &whose);
                let other = self.dump(&catalog);
                let differences: Vec<&String> = own.symmetric_difference(&other).collect();
                assert!(differences.is_empty(), "{whose} differs: {differences:#?}");
            }
            Err(error) => panic!("nodes {} and {}: {error}", pair[0] + 1, pair[1] + 1),
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
