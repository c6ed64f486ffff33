//! A house to damage: a server's parts over four real block stores in one folder, without threads,
//! sockets or a wall clock. It is made once, and each house after that is a copy of the files,
//! hard links included.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use palk::core::catalog::{Catalog, Phase};
use palk::core::cluster::node::Node;
use palk::core::cluster::pace::{Pace, Rest, Throttle};
use palk::core::cluster::reaper::Reaper;
use palk::core::cluster::recover::{self, Nodes, Report};
use palk::core::cluster::repair::RepairWorker;
use palk::core::cluster::scrub::{Options, Progress, Scrubber};
use palk::core::cluster::supervisor::NodeSupervisor;
use palk::core::cluster::{Cluster, Fanout, Wanted};
use palk::core::error::{Error, Result};
use palk::core::io::disk::RealDisk;
use palk::core::io::random::Random;
use palk::core::node::rescue::{Folders, Outcome, Rescuer, Selected};
use palk::core::node::store::BlockStore;
use palk::core::path::{FilePath, UserName};
use palk::core::serve::files::{Files, User};
use palk::core::serve::store::Stored;
use palk::core::types::{Claim, ClusterId, Digest, NodeId, NodeSet, Precondition, ServerId};
use palk::core::wire::extended;
use palk::core::wire::node::Place;

use crate::local::LocalNode;

pub(crate) const CLUSTER: ClusterId = ClusterId([9; 16]);
/// Of the server that furnished the house.
pub(crate) const CLAIM: Claim = Claim { epoch: 12, server: ServerId([0xa5; 16]) };
/// Of the one that opens it again.
const NEXT_CLAIM: Claim = Claim { epoch: 13, server: ServerId([0xa6; 16]) };
pub(crate) const USER: &str = "demo";

/// The file whose blocks are damaged; both snapshots know it.
pub(crate) const FILE: &str = "test/yeet.txt";
/// Stored after the last snapshot: the journals know it.
pub(crate) const LATER: &str = "later";
/// Deleted after the last snapshot. It must not come back.
pub(crate) const GONE: &str = "gone";

/// The content of a file, told apart from others by its tag.
pub(crate) fn content(tag: u8) -> Vec<u8> {
    (0..353_u32).map(|i| (i % 251) as u8 ^ tag).collect()
}

pub(crate) fn file(path: &str) -> FilePath {
    FilePath::parse_rooted(path).unwrap()
}

/// Every set of so many nodes with this one in it.
pub(crate) fn sets_with(node: NodeId, size: usize) -> impl Iterator<Item = NodeSet> {
    let all = (0..16).map(NodeSet::from_bits);
    all.filter(move |set| set.len() == size && set.contains(node))
}

fn temporary() -> tempfile::TempDir {
    // Memory where there is some: what the machine's disk does with a sync is not the matter here.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) nodes: Vec<Arc<LocalNode>>,
    pub(crate) cluster: Cluster,
    pub(crate) files: Files,
    pub(crate) user: User,
    supervisors: Vec<NodeSupervisor>,
    repairs: Vec<RepairWorker>,
    reaper: Reaper,
    scrubber: Scrubber,
    now: Duration,
}

/// A file of the template: its bytes, or the other name that it has.
enum Furniture {
    Bytes(Vec<u8>),
    LinkTo(PathBuf),
}

/// The files of the house that all others are copies of.
fn template() -> &'static BTreeMap<PathBuf, Furniture> {
    static TEMPLATE: OnceLock<BTreeMap<PathBuf, Furniture>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let mut house = House::open_with(temporary(), CLAIM, |cluster| {
            let name = UserName::parse(USER).unwrap();
            let made =
                cluster.committer.submit(move |draft| draft.create_user(&name, "no hash", 0));
            made.unwrap();
        });
        house.store("kept", &content(2)).unwrap();
        house.snapshot();
        house.store(FILE, &content(1)).unwrap();
        house.store(GONE, &content(3)).unwrap();
        house.snapshot();
        house.store(LATER, &content(4)).unwrap();
        house.files.delete(&house.user, &file(GONE)).unwrap();
        house.attend();
        let folder = house.close();
        let mut files = BTreeMap::new();
        read_folder(folder.path(), Path::new(""), &mut files);
        let mut names: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
        let of = |(path, bytes): (PathBuf, Vec<u8>)| {
            let meta = fs::metadata(folder.path().join(&path)).unwrap();
            match names.entry((meta.dev(), meta.ino())) {
                Entry::Occupied(first) => (path, Furniture::LinkTo(first.get().clone())),
                Entry::Vacant(none) => {
                    none.insert(path.clone());
                    (path, Furniture::Bytes(bytes))
                }
            }
        };
        files.into_iter().map(of).collect()
    })
}

fn read_folder(root: &Path, at: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(root.join(at)).unwrap() {
        let entry = entry.unwrap();
        let inner = at.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            read_folder(root, &inner, files);
        } else {
            files.insert(inner, fs::read(entry.path()).unwrap());
        }
    }
}

impl House {
    /// A house of its own, as good as any other; something is done to its folder before it is
    /// opened.
    pub(crate) fn new(before: impl FnOnce(&Path)) -> House {
        House::open(House::furnished(before))
    }

    /// The folder of a house that nobody has opened yet.
    pub(crate) fn furnished(before: impl FnOnce(&Path)) -> tempfile::TempDir {
        let folder = temporary();
        for (path, furniture) in template() {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match furniture {
                Furniture::Bytes(bytes) => fs::write(path, bytes).unwrap(),
                Furniture::LinkTo(first) => {
                    fs::hard_link(folder.path().join(first), path).unwrap();
                }
            }
        }
        before(folder.path());
        folder
    }

    pub(crate) fn open(folder: tempfile::TempDir) -> House {
        House::open_with(folder, NEXT_CLAIM, |_| {})
    }

    fn open_with(folder: tempfile::TempDir, claim: Claim, first: impl FnOnce(&Cluster)) -> House {
        let nodes = NodeId::ALL.map(|id| {
            let store = House::start(folder.path(), id).unwrap();
            store.register(CLUSTER, claim, Duration::ZERO).unwrap();
            Arc::new(LocalNode::new(store))
        });
        // No version has the id of one that is in the house already.
        static SEED: AtomicU64 = AtomicU64::new(1);
        let random = Arc::new(Random::seeded(SEED.fetch_add(1, Ordering::SeqCst)));
        let catalog = Arc::new(Catalog::open(&folder.path().join("palk.db"), CLUSTER).unwrap());
        let links = nodes.clone().map(|node| node as Arc<dyn Node>);
        let (start, copy) = (Instant::now(), folder.path().join("snapshot"));
        let clock = Box::new(move || start.elapsed());
        let cluster =
            Cluster::new(catalog, links, claim, &random, Fanout::Inline, Some(clock), copy)
                .unwrap();
        let throttle =
            Throttle::new(Arc::new(Pace::new(None)), cluster.volume.traffic().clone(), Rest::Never);
        for node in &nodes {
            let alive = node.ping(0);
            cluster.roster.note_alive(node.id(), alive.as_ref().unwrap());
            let _ = cluster.roster.heard(node.id(), alive);
        }
        cluster.take_up.round();
        assert!(cluster.roster.leadership().is_established());
        first(&cluster);
        let files = Files::new(cluster.clone(), random, 1 << 30);
        let user = files.trusted_user(&UserName::parse(USER).unwrap()).unwrap();
        let mut house = House {
            folder,
            nodes: nodes.into(),
            files,
            user,
            supervisors: NodeId::ALL.map(|id| NodeSupervisor::new(id, &cluster)).into(),
            repairs: NodeId::ALL
                .map(|id| RepairWorker::new(id, &cluster, throttle.clone(), Arc::default()))
                .into(),
            reaper: Reaper::new(&cluster),
            scrubber: Scrubber::new(&cluster, throttle, None, 0).unwrap(),
            cluster,
            now: Duration::ZERO,
        };
        house.attend();
        house
    }

    /// Everything ends in an orderly way; the files stay.
    fn close(self) -> tempfile::TempDir {
        self.folder
    }

    /// A node on its folder, as `palk storage` starts it.
    pub(crate) fn start(folder: &Path, id: NodeId) -> Result<BlockStore> {
        BlockStore::open(Arc::new(RealDisk), &House::root_in(folder, id), id)
    }

    /// A node is started again on what lies in its folder now, and says hello.
    pub(crate) fn restart(&self, id: NodeId) {
        let store = House::start(self.folder.path(), id).unwrap();
        store.register(CLUSTER, NEXT_CLAIM, Duration::ZERO).unwrap();
        self.nodes[id.index()].restarted(store);
    }

    fn root_in(folder: &Path, id: NodeId) -> PathBuf {
        folder.join(format!("files_{id}"))
    }

    pub(crate) fn root(&self, id: NodeId) -> PathBuf {
        House::root_in(self.folder.path(), id)
    }

    /// Exactly these nodes are on, and the server knows it.
    pub(crate) fn switch(&self, on: NodeSet) {
        let decided = self.cluster.replication.decided();
        for node in &self.nodes {
            node.off.store(!on.contains(node.id()), Ordering::SeqCst);
            let _ = self.cluster.roster.heard(node.id(), node.ping(decided));
        }
    }

    /// Everyone who looks after the nodes makes rounds, after a pause that is long enough for
    /// whatever rests.
    pub(crate) fn attend(&mut self) {
        self.now += Duration::from_secs(700);
        for _ in 0..3 {
            self.now += Duration::from_secs(10);
            for (at, id) in NodeId::ALL.into_iter().enumerate() {
                while self.cluster.replication.round(id) {}
                while self.supervisors[at].round(self.now) {}
                while self.repairs[at].round(self.now) {}
            }
            while self.reaper.round(self.now) {}
            self.cluster.snapshots.round(self.now);
            let on = self.nodes.iter().filter(|node| !node.off.load(Ordering::SeqCst));
            on.for_each(|node| node.work_off());
        }
    }

    fn snapshot(&mut self) {
        self.now += Duration::from_secs(700);
        assert_eq!(self.cluster.snapshots.snapshot_now(self.now).unwrap().0, NodeSet::ALL);
    }

    pub(crate) fn store(&mut self, path: &str, content: &[u8]) -> Result<Stored> {
        let bytes = content.len() as u64;
        let mut store = self.files.store(&self.user, &file(path), bytes, Precondition::Any)?;
        let room = store.room()?;
        assert_eq!(room.len(), content.len(), "one stripe");
        room.copy_from_slice(content);
        store.push()?;
        let stored = store.finish(Digest(*blake3::hash(content).as_bytes()))?;
        self.attend();
        Ok(stored)
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut retrieve = self.files.retrieve(&self.user, &file(path), None)?;
        let mut content = Vec::new();
        while let Some(parts) = retrieve.next_part()? {
            parts.iter().for_each(|part| content.extend_from_slice(part));
        }
        Ok(content)
    }

    /// The same, as another catalog has it, and without telling it what is unsound.
    pub(crate) fn read_by(&self, catalog: &Catalog, path: &str) -> Result<Vec<u8>> {
        let name = UserName::parse(USER).unwrap();
        let record = catalog.file(catalog.user_id(&name)?, &file(path))?;
        let place = Place { user: name, path: file(path) };
        let begun = self.cluster.volume.read(Wanted::whole(
            record.version,
            &place,
            record.bytes,
            record.placed,
        ));
        let mut reading = begun.map_err(|(error, _)| error)?;
        let mut content = Vec::new();
        while let Some(parts) = reading.next_part()? {
            parts.iter().for_each(|part| content.extend_from_slice(part));
        }
        Ok(content)
    }

    /// Scrubs without a grace time until what it has found is mended.
    pub(crate) fn scrub(&mut self) -> Progress {
        let scrubs = self.scrubber.scrubs();
        scrubs.start(Options { witness: false, grace: Duration::ZERO }).unwrap();
        for _ in 0..10 {
            while self.scrubber.round(self.now) {}
            let progress = scrubs.progress().unwrap();
            if progress.scrub.as_ref().is_some_and(|scrub| scrub.phase == Phase::Done) {
                return progress;
            }
            self.attend();
        }
        panic!("a scrub does not end: {:?}", scrubs.progress());
    }

    /// A catalog that is made anew from these nodes.
    pub(crate) fn recover(&self, from: NodeSet) -> Result<(Catalog, Report)> {
        let nodes: Nodes = NodeId::ALL.map(|id| {
            let node = self.nodes[id.index()].clone();
            from.contains(id).then_some(node as Arc<dyn Node>)
        });
        let survey = recover::survey(&nodes)?;
        let path = self.folder.path().join("recovered.db");
        let report = recover::recover(&nodes, &survey, &path, &[const { None }; 4])?;
        Ok((Catalog::open(&path, ClusterId([0; 16])).unwrap(), report))
    }

    /// Rescues from these nodes' folders: what became of each file, and what was written.
    pub(crate) fn rescue(&self, from: NodeSet) -> (BTreeMap<String, Outcome>, Rescued) {
        let roots: Vec<PathBuf> = from.iter().map(|id| self.root(id)).collect();
        let folders = Folders::open(Arc::new(RealDisk), &roots).unwrap();
        let survey = folders.survey(&Selected::default()).unwrap();
        let out = temporary();
        let mut rescuer = Rescuer::new(Arc::new(RealDisk), out.path(), folders.nodes(), &survey);
        let mut outcomes = BTreeMap::new();
        for file in &survey.files {
            let outcome = rescuer.file(file, &mut |_| {}).unwrap();
            outcomes.insert(file.place.path.as_str().to_owned(), outcome);
        }
        let mut written = BTreeMap::new();
        read_folder(out.path(), Path::new(""), &mut written);
        (outcomes, written)
    }

    /// The files of the catalog with their versions, whoever keeps them.
    pub(crate) fn listed(catalog: &Catalog) -> BTreeMap<String, (u64, Digest)> {
        let Ok(user) = catalog.user_id(&UserName::parse(USER).unwrap()) else {
            return BTreeMap::new();
        };
        let file = |entry| match entry {
            extended::Entry::File(file) => {
                Some((file.path.as_str().to_owned(), (file.bytes, file.blake3)))
            }
            extended::Entry::Folder(_) => None,
        };
        catalog.list(user).unwrap().into_iter().filter_map(file).collect()
    }
}

/// What a rescue has written, by path.
pub(crate) type Rescued = BTreeMap<PathBuf, Vec<u8>>;

/// An error that says what is wrong in words, and names this node.
pub(crate) fn is_clear(error: &Error, node: NodeId) -> bool {
    error.to_string().contains(&format!("node {node}"))
}
