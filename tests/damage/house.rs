//! A house to damage: a server's parts over four real block stores in one folder, without threads,
//! sockets or a wall clock. It is made once, and each house after that is a copy of the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
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
use palk::core::cluster::roster::Roster;
use palk::core::cluster::scrub::{Options, Progress, Scrubber};
use palk::core::cluster::volume::Volume;
use palk::core::error::{Error, Result};
use palk::core::io::disk::RealDisk;
use palk::core::io::random::Random;
use palk::core::node::rescue::{Folders, Outcome, Rescuer};
use palk::core::node::store::BlockStore;
use palk::core::path::{FilePath, UserName};
use palk::core::serve::files::{Files, Stored, User};
use palk::core::types::{Claim, ClusterId, Digest, NodeId, NodeSet, Precondition, ServerId};
use palk::core::wire::extended::Entry;

use crate::local::LocalNode;

pub(crate) const CLUSTER: ClusterId = ClusterId([9; 16]);
pub(crate) const CLAIM: Claim = Claim { epoch: 12, server: ServerId([0xa5; 16]) };
pub(crate) const USER: &str = "demo";
pub(crate) const PASSWORD: &str = "pw";

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
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) volume: Arc<Volume>,
    pub(crate) backups: Backups,
    roster: Arc<Roster>,
    files: Files,
    user: User,
    attendants: Vec<Attendant>,
    healers: Vec<Healer>,
    scrubber: Scrubber,
    now: Duration,
}

/// The files of the house that all others are copies of.
fn template() -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static TEMPLATE: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = temporary();
        let catalog = Catalog::open(&folder.path().join("palk.db"), CLUSTER).unwrap();
        let name = UserName::parse(USER).unwrap();
        catalog.create_user(&HashGate::default(), &name, PASSWORD, 0).unwrap();
        drop(catalog);
        let mut house = House::open(folder);
        house.store("kept", &content(2)).unwrap();
        house.snapshot();
        house.store(FILE, &content(1)).unwrap();
        house.store(GONE, &content(3)).unwrap();
        house.snapshot();
        house.store(LATER, &content(4)).unwrap();
        house.files.delete(&house.user, &file(GONE)).unwrap();
        house.attend();
        house.back_up();
        let folder = house.close();
        let mut files = BTreeMap::new();
        read_folder(folder.path(), Path::new(""), &mut files);
        files
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
        for (path, bytes) in template() {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        before(folder.path());
        folder
    }

    pub(crate) fn open(folder: tempfile::TempDir) -> House {
        let nodes = NodeId::ALL.map(|id| {
            let store = House::start(folder.path(), id).unwrap();
            store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
            Arc::new(LocalNode::new(store))
        });
        // No version has the id of one that is in the house already.
        static SEED: AtomicU64 = AtomicU64::new(1);
        let random = Arc::new(Random::seeded(SEED.fetch_add(1, Ordering::SeqCst)));
        let catalog = Arc::new(Catalog::open(&folder.path().join("palk.db"), CLUSTER).unwrap());
        let roster = Arc::new(Roster::new(nodes.clone().map(|node| node as Arc<dyn Node>)));
        let volume = Volume::new(roster.clone(), random.clone(), Fanout::Inline);
        let volume = Arc::new(volume.following(catalog.clone()));
        let copy = folder.path().join("snapshot");
        let backups = Backups::new(catalog.clone(), roster.clone(), random.clone(), copy);
        let readers: Arc<Readers> = Arc::default();
        let attendants = NodeId::ALL
            .map(|id| Attendant::new(id, catalog.clone(), volume.clone(), readers.clone()));
        let pace = Arc::new(Pace::new(None));
        let manners = Manners::new(pace, volume.traffic().clone(), Rest::Never);
        let healers = NodeId::ALL.map(|id| {
            let (catalog, volume, manners) = (catalog.clone(), volume.clone(), manners.clone());
            Healer::new(id, catalog, volume, Bell::mute(), manners, Arc::default())
        });
        let (own, over, read) = (catalog.clone(), volume.clone(), readers.clone());
        let scrubber = Scrubber::new(own, over, read, Bell::mute(), manners, None, 0).unwrap();
        let files =
            Files::new(catalog.clone(), volume.clone(), readers, Bell::mute(), random, 1 << 30);
        let user = files.trusted_user(&UserName::parse(USER).unwrap()).unwrap();
        let mut house = House {
            folder,
            nodes: nodes.into(),
            catalog,
            volume,
            backups,
            roster,
            files,
            user,
            attendants: attendants.into(),
            healers: healers.into(),
            scrubber,
            now: Duration::ZERO,
        };
        house.switch(NodeSet::ALL);
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

    fn root_in(folder: &Path, id: NodeId) -> PathBuf {
        folder.join(format!("files_{id}"))
    }

    pub(crate) fn root(&self, id: NodeId) -> PathBuf {
        House::root_in(self.folder.path(), id)
    }

    /// Exactly these nodes are on, and the server knows it.
    pub(crate) fn switch(&self, on: NodeSet) {
        for node in &self.nodes {
            node.off.store(!on.contains(node.id()), Ordering::SeqCst);
            let _ = self.roster.heard(node.id(), node.ping());
        }
    }

    /// Everyone who looks after the nodes makes rounds, after a pause that is long enough for
    /// whatever rests.
    pub(crate) fn attend(&mut self) {
        self.now += Duration::from_secs(700);
        for _ in 0..2 {
            for node in 0..4 {
                self.attendants[node].round(self.now);
                while self.healers[node].round(self.now) {}
            }
        }
        self.catalog.strike_settled().unwrap();
    }

    /// The backup's senders make their rounds.
    pub(crate) fn back_up(&mut self) {
        self.now += Duration::from_secs(700);
        for id in NodeId::ALL {
            while self.backups.round(id, self.now) {}
        }
    }

    fn snapshot(&mut self) {
        self.now += Duration::from_secs(700);
        assert_eq!(self.backups.backup_now(self.now).unwrap().0, NodeSet::ALL);
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
        self.back_up();
        Ok(stored)
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut retrieve = self.files.retrieve(&self.user, &file(path))?;
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
        let place = palk::core::wire::node::Place { user: name, path: file(path) };
        let mut reading = self.volume.read(record.version, place, record.bytes, record.placed)?;
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
        let random = Random::seeded(2);
        let report = recover::recover(&nodes, &survey, &path, &random, &[const { None }; 4])?;
        Ok((Catalog::open(&path, ClusterId([0; 16])).unwrap(), report))
    }

    /// Rescues from these nodes' folders: what became of each file, and what was written.
    pub(crate) fn rescue(&self, from: NodeSet) -> (BTreeMap<String, Outcome>, Rescued) {
        let roots: Vec<PathBuf> = from.iter().map(|id| self.root(id)).collect();
        let folders = Folders::open(Arc::new(RealDisk), &roots).unwrap();
        let survey = folders.survey(None);
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
            Entry::File(file) => Some((file.path.as_str().to_owned(), (file.bytes, file.blake3))),
            Entry::Folder(_) => None,
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
