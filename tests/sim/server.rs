//! A server in the simulation: all of its workers in one thread, and the folder of its catalog.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use palk::core::catalog::{Catalog, NamedMoment};
use palk::core::cluster::node::Node;
use palk::core::cluster::retention::Keep;
use palk::core::cluster::{Cluster, Fanout};
use palk::core::fence::{self, Decision, Look, Own};
use palk::core::io::random::Random;
use palk::core::path::UserName;
use palk::core::serve::files::Files;
use palk::core::types::{Claim, NodeId};
use palk::core::wire::extended::Entry;

use super::clock::{Clock, wrong_of};
use super::contents::Contents;
use super::node::{CLUSTER, Cut, SimLink, Yard};
use super::past::tree_at;
use super::slow::SlowReader;
use super::state::{Item, Snapshot, State, Tree, Trees};
use super::upload::uploads_of;
use super::workers::Workers;

/// The file of the catalog, and what SQLite keeps beside it.
pub(crate) const CATALOG: [&str; 2] = ["palk.db", "palk.db-wal"];

/// How long a file of one extent is at most, and the extents of a longer one.
pub(crate) const EXTENT_BYTES: [u64; 2] = [2 << 20, 1 << 20];

/// Who has files here. All but the first have a quota.
pub(crate) const USERS: [&str; 3] = ["demo", "ann", "bob"];

/// What all servers have in common.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) yard: Yard,
    /// In milliseconds, for what servers believe of their nodes.
    pub(crate) passed: Arc<AtomicU64>,
    /// A clock that is right.
    pub(crate) clock: Clock,
    /// Are those of some servers wrong?
    pub(crate) has_wrong_clocks: bool,
    pub(crate) seed: u64,
    /// For how long servers keep what was replaced or deleted.
    pub(crate) keep: Keep,
    /// Canary: they keep nothing.
    pub(crate) is_forgetful: bool,
    pub(crate) folder: PathBuf,
    pub(crate) contents: Contents,
    /// How many servers have been started, and folders made.
    pub(crate) count: Arc<AtomicU64>,
}

/// A server's process.
pub(crate) struct Server {
    /// How many were started before it.
    pub(crate) number: u64,
    /// The folder of its catalog.
    pub(crate) database: PathBuf,
    pub(crate) cut: Cut,
    pub(crate) clock: Clock,
    pub(crate) cluster: Cluster,
    pub(crate) files: Arc<Files>,
    pub(crate) workers: Workers,
    pub(crate) readers: Vec<SlowReader>,
    contents: Contents,
}

impl Site {
    pub(crate) fn now(&self) -> Duration {
        Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }

    /// The catalog in this folder, with this clock.
    pub(crate) fn open(&self, database: &Path, clock: &Clock) -> Catalog {
        let clock = clock.clone();
        let catalog = Catalog::open(&database.join(CATALOG[0]), CLUSTER).unwrap();
        catalog.with_clock(Box::new(move || clock.tell()))
    }

    pub(crate) fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.passed.fetch_add(ms, Ordering::SeqCst);
    }

    /// A number that nothing else has.
    pub(crate) fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A new empty folder.
    pub(crate) fn new_folder(&self) -> PathBuf {
        let folder = self.folder.join(self.next().to_string());
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    /// A copy of a catalog, in a folder of its own.
    pub(crate) fn copy_of(&self, database: &Path) -> PathBuf {
        let copy = self.new_folder();
        for name in CATALOG {
            if database.join(name).exists() {
                std::fs::copy(database.join(name), copy.join(name)).unwrap();
            }
        }
        copy
    }

    /// Starts a server on this catalog. It has reached no node yet.
    pub(crate) fn start(&self, database: &Path, cut: [bool; 4]) -> Server {
        let number = self.next();
        let random = Arc::new(Random::seeded(self.seed ^ (number << 32)));
        let wrong_us = if self.has_wrong_clocks { wrong_of(self.seed, number) } else { 0 };
        let clock = self.clock.another(wrong_us);
        let catalog = Arc::new(self.open(database, &clock));
        let claim = self.claim(&catalog, &random, cut);
        let addresses = catalog.node_addresses().unwrap();
        let addresses = addresses.unwrap_or_else(|| NodeId::ALL.map(|id| format!("node:{id}")));
        let cut = Cut::new(cut.into());
        let links = NodeId::ALL.map(|id| -> Arc<dyn Node> {
            let address = &addresses[id.index()];
            Arc::new(SimLink::new(id, &self.yard, &cut, address, Some(claim)))
        });
        let passed = self.passed.clone();
        let passed = Box::new(move || Duration::from_millis(passed.load(Ordering::SeqCst)));
        let cluster = Cluster::new(
            catalog,
            links,
            claim,
            &random,
            Fanout::Inline,
            Some(passed),
            database.join("snapshot"),
        )
        .unwrap();
        cluster.retention.keep(if self.is_forgetful { Keep::Nothing } else { self.keep });
        let files = Files::new(cluster.clone(), random, 1 << 30).with_extents(EXTENT_BYTES);
        let (files, workers) = (Arc::new(files), Workers::new(&cluster));
        let (database, readers) = (database.to_path_buf(), Vec::new());
        let contents = self.contents.clone();
        Server { number, database, cut, clock, cluster, files, workers, readers, contents }
    }

    /// What a server registers with, as the real one finds it, and remembers in its catalog.
    fn claim(&self, catalog: &Catalog, random: &Random, cut: [bool; 4]) -> Claim {
        let last = catalog.last_claim().unwrap();
        let own = Own { cluster: catalog.cluster(), is_empty: false, last };
        let answers: Vec<_> = {
            let yard = self.yard.lock().unwrap();
            let addresses = catalog.node_addresses().unwrap();
            NodeId::ALL
                .into_iter()
                .filter(|id| !cut[id.index()])
                .filter_map(|id| match &addresses {
                    Some(addresses) => yard.get(&addresses[id.index()])?.serves(),
                    None => yard.get(&format!("node:{id}"))?.serves(),
                })
                .collect()
        };
        let Decision::Start { epoch, .. } = fence::decide(own, &answers, Look::First, true) else {
            panic!("it is told to start");
        };
        let claim = Claim { epoch, server: random.server(last.map(|last| last.server)) };
        catalog.remember_claim(claim).unwrap();
        claim
    }
}

impl Server {
    /// Does it lead, as far as it knows?
    pub(crate) fn leads(&self) -> bool {
        self.cluster.roster.leadership().is_established()
    }

    /// What it registers with.
    pub(crate) fn claim(&self) -> Claim {
        self.cluster.roster.leadership().claim().unwrap()
    }

    /// Has it learned that another one leads?
    pub(crate) fn is_taken_over(&self) -> bool {
        self.cluster.roster.leadership().is_taken_over()
    }

    /// What it shows to its users.
    pub(crate) fn shows(&self) -> Trees {
        shown(&self.cluster.catalog)
    }

    /// The same, what its snapshots have, and what has come of uploads.
    pub(crate) fn state(&self) -> State {
        state_of(&self.cluster.catalog, &self.contents)
    }

    /// Everyone who works in the background has a turn.
    pub(crate) fn round(&mut self, now: Duration) {
        self.probe(now);
        self.take_up();
        self.workers.round(now);
        self.cluster.snapshots.round(now);
    }

    /// Nodes are probed, journals taken up, and the nodes given what they lack of the journal.
    pub(crate) fn probe(&mut self, now: Duration) {
        self.workers.probe(now);
    }

    pub(crate) fn take_up(&self) {
        self.cluster.take_up.round();
        self.cluster.committer.settle();
        self.replicate();
        self.cluster.settler.round();
    }

    pub(crate) fn replicate(&self) {
        for id in NodeId::ALL {
            (0..100).take_while(|_| self.cluster.replication.round(id)).count();
        }
    }
}

/// What a catalog shows to users now, has at its snapshots, and has of uploads.
pub(crate) fn state_of(catalog: &Catalog, contents: &Contents) -> State {
    let snapshot = |own: NamedMoment| {
        let trees = USERS.map(|user| (user, tree_at(catalog, user, own.of)));
        let snapshot = Snapshot { trees: trees.into(), until_ms: own.until_ms };
        (own.name.to_string(), snapshot)
    };
    let snapshots = catalog.snapshots().unwrap().into_iter().map(snapshot).collect();
    State { trees: shown(catalog), snapshots, uploads: uploads_of(catalog, contents) }
}

/// What a catalog shows to users.
pub(crate) fn shown(catalog: &Catalog) -> Trees {
    let tree = |name: &str| -> Tree {
        let Ok(account) = catalog.account(&UserName::parse(name).unwrap()) else {
            return Tree::new();
        };
        tree_of(catalog.list(account.id).unwrap())
    };
    USERS.into_iter().map(|name| (name, tree(name))).collect()
}

/// What was listed, as a tree.
pub(crate) fn tree_of(listed: Vec<Entry>) -> Tree {
    let item = |entry| match entry {
        Entry::File(file) => {
            let item = Item::File { blake3: file.blake3, bytes: file.bytes };
            (file.path.as_str().to_owned(), item)
        }
        Entry::Folder(folder) => (folder.as_str().to_owned(), Item::Folder),
    };
    listed.into_iter().map(item).collect()
}
