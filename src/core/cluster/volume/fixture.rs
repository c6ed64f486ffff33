//! Four nodes in memory and a cluster over them that already leads, for unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::{Catalog, NewFile, UserId};
use crate::core::cluster::node::{Node, PendingAppend, PieceSink, PieceSource, Query};
use crate::core::cluster::pace::{Pace, Rest, Throttle};
use crate::core::cluster::repair::RepairWorker;
use crate::core::cluster::supervisor::NodeSupervisor;
use crate::core::cluster::volume::Volume;
use crate::core::cluster::{Cluster, Fanout, Wanted, Writing, Written};
use crate::core::code::layout::Layout;
use crate::core::code::repair::Select;
use crate::core::code::{checksum, kernel};
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::random::Random;
use crate::core::path::{FilePath, UserName};
use crate::core::types::{
    Claim, ClusterId, Digest, NODE_COUNT, NodeId, NodeSet, Precondition, Seq, ServerId, VersionId,
};
use crate::core::wire::journal::{Change, Entry, JournalState, Point};
use crate::core::wire::node::{
    Alive, Append, DiskTrouble, PieceMeta, Place, Room, Serves, ViewReport,
};
use crate::core::wire::snapshot::{SnapshotReply, SnapshotRequest};

const CLUSTER: ClusterId = ClusterId([1; 16]);

/// A piece: two units for each stripe.
type Piece = Vec<[Vec<u8>; 2]>;

/// What a node in memory is.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) pieces: BTreeMap<VersionId, Piece>,
    pub(crate) damaged: BTreeSet<VersionId>,
    /// Only one of the two blocks is there.
    pub(crate) halved: BTreeSet<VersionId>,
    /// It does not answer.
    pub(crate) is_off: bool,
    /// It does not answer in time.
    pub(crate) is_late: bool,
    /// It cannot write to its disk.
    pub(crate) cannot_write: bool,
    /// How long it takes to make a piece durable.
    pub(crate) finishes_after: Duration,
    /// How long it takes to take a stripe.
    pub(crate) takes_after: Duration,
    /// The room on its disk, if it says so.
    pub(crate) room: Option<Room>,
    pub(crate) gap: Option<u64>,
    /// The cluster that it says it belongs to.
    pub(crate) serves: Option<ClusterId>,
    /// What is wrong with its disk.
    pub(crate) trouble: Option<DiskTrouble>,
    /// Bytes of small files' pieces that it has still to write out.
    pub(crate) backlog_bytes: u64,
    /// It takes entries and does not say so.
    pub(crate) holds_answers_back: bool,
    /// It says that it sends units and does not.
    pub(crate) sends_nothing: bool,
    /// How often it was asked for units.
    pub(crate) reads: usize,
    journal: Vec<Entry>,
    decided: u64,
    /// The last entry that the server has matched since the node was started.
    matched: u64,
}

impl State {
    fn end(&self) -> Point {
        self.journal.last().map_or(Point::start(CLUSTER), Entry::point)
    }

    fn journal_state(&self) -> JournalState {
        JournalState {
            end: self.end(),
            decided: self.decided,
            snapshot: 0,
            backlog_bytes: self.backlog_bytes,
            gap: self.gap,
        }
    }

    fn point_at(&self, id: u64) -> Option<Point> {
        match usize::try_from(id).ok()?.checked_sub(1) {
            None => Some(Point::start(CLUSTER)),
            Some(at) => self.journal.get(at).map(Entry::point),
        }
    }

    /// Notes what a restart is to a node.
    pub(crate) fn restart(&mut self) {
        (self.decided, self.matched) = (0, 0);
    }

    /// How far it knows that all is decided.
    pub(crate) fn decided(&self) -> u64 {
        self.decided
    }

    /// The server says that all up to there is decided.
    fn decide(&mut self, told: u64) {
        self.decided = self.decided.max(told.min(self.matched));
    }

    /// Notes what a restart with an empty folder is to a node.
    pub(crate) fn empty(&mut self) {
        (self.pieces, self.journal) = (BTreeMap::new(), Vec::new());
        self.restart();
        self.gap = Some(self.gap.unwrap_or(0) + 100);
    }
}

/// A node in memory.
pub(crate) struct MemoryNode {
    id: NodeId,
    pub(crate) state: Arc<Mutex<State>>,
}

impl MemoryNode {
    fn up(&self) -> Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.is_off {
            let why = NodeFailure::Unreachable("connection refused".into());
            return Err(Error::node(self.id, why));
        }
        if state.is_late {
            return Err(Error::node(self.id, NodeFailure::Late("no answer within 3 s".into())));
        }
        Ok(state)
    }

    fn fail<T>(&self, why: NodeFailure) -> Result<T> {
        Err(Error::node(self.id, why))
    }

    fn piece(&self, version: VersionId) -> Result<Piece> {
        let state = self.up()?;
        if state.damaged.contains(&version) {
            return self.fail(NodeFailure::Damaged("a unit".into()));
        }
        let piece = state.pieces.get(&version).cloned();
        piece.map_or_else(|| self.fail(NodeFailure::NotHeld(version)), Ok)
    }
}

impl Node for MemoryNode {
    fn id(&self) -> NodeId {
        self.id
    }

    fn ping(&self, decided: u64) -> Result<Alive> {
        let mut state = self.up()?;
        state.decide(decided);
        let (room, journal) = (state.room, state.journal_state());
        Ok(Alive { room, journal, trouble: state.trouble.clone() })
    }

    fn prove_disk(&self) -> Result<()> {
        match self.up()?.cannot_write {
            true => self.fail(NodeFailure::DiskFailed("input/output error".into())),
            false => Ok(()),
        }
    }

    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>> {
        drop(self.up()?);
        let (id, state, version) = (self.id, self.state.clone(), meta.version);
        Ok(Box::new(Sink { id, state, version, piece: Vec::new() }))
    }

    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>> {
        let piece = self.piece(query.version)?;
        let first = usize::try_from(query.first_stripe).unwrap();
        let stripes = piece.into_iter().skip(first).map(|[a, b]| match query.select {
            Select::Both => (vec![a, b], 2),
            Select::First => (vec![a], 1),
            Select::Second => (vec![b], 1),
            Select::Xor => (vec![a.iter().zip(&b).map(|(a, b)| a ^ b).collect()], 1),
        });
        let stripes: Vec<Vec<Vec<u8>>> = stripes.map(|(units, _)| units).collect();
        self.state.lock().reads += 1;
        Ok(Box::new(Units { left: stripes.into_iter(), state: self.state.clone() }))
    }

    fn verify(&self, version: VersionId, first: u64, stripes: u64) -> Result<Vec<[u64; 2]>> {
        let piece = self.piece(version)?;
        let [first, stripes] = [first, stripes].map(|number| usize::try_from(number).unwrap());
        let sums = |units: &[Vec<u8>; 2]| [checksum::unit(&units[0]), checksum::unit(&units[1])];
        Ok(piece[first..first + stripes].iter().map(sums).collect())
    }

    fn append(&self, append: &Append, body: &[&[u8]]) -> Result<JournalState> {
        let mut state = self.up()?;
        if state.point_at(append.prev.id) == Some(append.prev) {
            if !append.entries.is_empty() {
                state.journal.truncate(usize::try_from(append.prev.id).unwrap());
                state.journal.extend(append.entries.iter().cloned());
            }
            state.matched = state.matched.max(append.prev.id + append.entries.len() as u64);
            state.decide(append.decided);
        }
        for (piece, units) in append.pieces.iter().zip(body) {
            let Ok(Change::Stored { version, .. }) =
                append.entries[usize::from(piece.entry)].change()
            else {
                panic!("a piece of no version");
            };
            let (a, b) = units.split_at(units.len() / 2);
            state.pieces.insert(version, vec![[a.to_vec(), b.to_vec()]]);
        }
        let id = self.id;
        for entry in &append.entries {
            match entry.change()? {
                Change::Stored { version, placed, .. }
                    if placed.contains(id) && !state.pieces.contains_key(&version) =>
                {
                    state.gap = Some(state.gap.unwrap_or(0) + 1);
                }
                Change::Dropped { versions } => {
                    versions.iter().for_each(|version| drop(state.pieces.remove(version)));
                }
                _ => {}
            }
        }
        Ok(state.journal_state())
    }

    fn begin_append(
        &self,
        append: Append,
        body: &[&[u8]],
        _: bool,
    ) -> Result<Option<Box<dyn PendingAppend>>> {
        let (journal, state) = (self.append(&append, body)?, self.state.clone());
        Ok(Some(Box::new(Answer { journal, state })))
    }

    fn point_at(&self, id: u64) -> Result<Option<Point>> {
        Ok(self.up()?.point_at(id))
    }

    fn entries(&self, after: Point, take: &mut dyn FnMut(Vec<Entry>) -> Result<()>) -> Result<()> {
        let rest = self.up()?.journal[usize::try_from(after.id).unwrap()..].to_vec();
        take(rest)
    }

    fn snapshot(&self, _: &SnapshotRequest, _: &[u8]) -> Result<(SnapshotReply, Vec<u8>)> {
        self.fail(NodeFailure::Refused("it keeps no snapshots".into()))
    }

    fn pieces(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        let state = self.up()?;
        let above = state.pieces.keys().filter(|version| after.is_none_or(|at| **version > at));
        Ok(above.copied().take(3).collect())
    }

    fn lacks(&self, versions: &[VersionId]) -> Result<Vec<VersionId>> {
        let state = self.up()?;
        let is_held = |version: &VersionId| {
            state.pieces.contains_key(version) && !state.halved.contains(version)
        };
        Ok(versions.iter().copied().filter(|version| !is_held(version)).collect())
    }

    fn discard(&self, versions: &[VersionId]) -> Result<()> {
        let mut state = self.up()?;
        versions.iter().for_each(|version| drop(state.pieces.remove(version)));
        Ok(())
    }

    fn close_gap(&self, gap: u64) -> Result<()> {
        let mut state = self.up()?;
        state.gap = state.gap.filter(|own| *own != gap);
        Ok(())
    }

    fn check_view(&self) -> Result<ViewReport> {
        drop(self.up()?);
        Ok(ViewReport::default())
    }

    fn greeted(&self) -> Option<JournalState> {
        Some(self.state.lock().journal_state())
    }

    fn register_as(&self, _: Claim) {}

    fn forget_connections(&self) {}

    fn who_serves(&self) -> Result<Serves> {
        drop(self.up()?);
        self.who_serves_at("")
    }

    fn who_serves_at(&self, _: &str) -> Result<Serves> {
        let (cluster, node, folder) = (self.state.lock().serves, self.id, String::new());
        Ok(Serves { cluster, node, epoch: 0, server: None, heard_ms_ago: None, folder })
    }

    fn move_to(&self, _: &str) {}

    fn bye(&self) -> Result<()> {
        Ok(())
    }
}

struct Answer {
    journal: JournalState,
    state: Arc<Mutex<State>>,
}

impl PendingAppend for Answer {
    fn wait(&mut self, longest: Duration) -> Result<Option<JournalState>> {
        if self.state.lock().holds_answers_back {
            thread::sleep(longest);
            return Ok(None);
        }
        Ok(Some(self.journal))
    }
}

struct Sink {
    id: NodeId,
    state: Arc<Mutex<State>>,
    version: VersionId,
    piece: Piece,
}

impl PieceSink for Sink {
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()> {
        assert_eq!(units.map(checksum::unit), checksums);
        let delay = self.state.lock().takes_after;
        thread::sleep(delay);
        self.piece.push(units.map(<[u8]>::to_vec));
        Ok(())
    }

    fn shorten(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn keep_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn ask_finish(&mut self, _: Seq, _: Digest) -> Result<()> {
        Ok(())
    }

    fn await_staged(&mut self) -> Result<()> {
        let delay = self.state.lock().finishes_after;
        thread::sleep(delay);
        let mut state = self.state.lock();
        if state.is_off {
            let why = NodeFailure::Unreachable("connection reset".into());
            return Err(Error::node(self.id, why));
        }
        state.damaged.remove(&self.version);
        state.halved.remove(&self.version);
        state.pieces.insert(self.version, std::mem::take(&mut self.piece));
        Ok(())
    }
}

struct Units {
    left: std::vec::IntoIter<Vec<Vec<u8>>>,
    state: Arc<Mutex<State>>,
}

impl PieceSource for Units {
    fn units(&mut self, body: &mut Vec<u8>) -> Result<[u64; 2]> {
        let units = self.left.next().expect("no more stripes than there are");
        body.clear();
        let mut sums = [0; 2];
        for (unit, sum) in units.iter().zip(&mut sums) {
            body.extend_from_slice(unit);
            *sum = checksum::unit(unit);
        }
        Ok(sums)
    }

    fn units_within(&mut self, body: &mut Vec<u8>, longest: Duration) -> Result<Option<[u64; 2]>> {
        if self.state.lock().sends_nothing {
            thread::sleep(longest);
            return Ok(None);
        }
        self.units(body).map(Some)
    }
}

/// A cluster over four such nodes.
pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) nodes: [Arc<MemoryNode>; NODE_COUNT],
    user: Option<UserId>,
    clock: Arc<Mutex<Duration>>,
    supervisors: Vec<NodeSupervisor>,
}

/// The nodes are up and the cluster leads; everything is done in the caller's thread.
pub(crate) fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Arc::new(Catalog::open(&folder.path().join("palk.db"), CLUSTER).unwrap());
    catalog.remember_node_addresses(&["a:1", "b:1", "c:1", "d:1"].map(str::to_owned)).unwrap();
    let nodes =
        NodeId::ALL.map(|id| Arc::new(MemoryNode { id, state: Arc::new(Mutex::default()) }));
    let links = nodes.clone().map(|node| node as Arc<dyn Node>);
    let claim = Claim { epoch: 1, server: ServerId([2; 16]) };
    let random = Arc::new(Random::seeded(1));
    let clock = Arc::new(Mutex::new(Duration::ZERO));
    let told = clock.clone();
    let cluster = Cluster::new(
        catalog,
        links,
        claim,
        &random,
        Fanout::Inline,
        Some(Box::new(move || *told.lock())),
        folder.path().join("snapshot"),
    );
    let cluster = cluster.unwrap();
    let supervisors = NodeId::ALL.map(|id| NodeSupervisor::new(id, &cluster)).into();
    let mut fixture = Fixture { _folder: folder, cluster, nodes, user: None, clock, supervisors };
    fixture.look();
    assert!(fixture.cluster.take_up.round(), "it leads");
    let name = UserName::parse("demo").unwrap();
    let made = fixture.cluster.committer.submit(move |draft| draft.create_user(&name, "-", 0));
    fixture.user = Some(made.unwrap());
    fixture.look();
    fixture
}

pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from(i * 131 % 251).unwrap()).collect()
}

pub(crate) fn version(byte: u8) -> VersionId {
    VersionId([byte; 16])
}

pub(crate) fn place(path: &str) -> Place {
    let path = FilePath::parse_rooted(path).unwrap();
    Place { user: UserName::parse("demo").unwrap(), path }
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

impl Fixture {
    pub(crate) fn node(&self, number: usize) -> parking_lot::MutexGuard<'_, State> {
        self.nodes[number - 1].state.lock()
    }

    pub(crate) fn now(&self) -> Duration {
        *self.clock.lock()
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.clock.lock() += time;
    }

    pub(crate) fn throttle(&self) -> Throttle {
        let traffic = self.cluster.volume.traffic().clone();
        Throttle::new(Arc::new(Pace::new(None)), traffic, Rest::Never)
    }

    /// Has the supervisors do all that they have to do now.
    pub(crate) fn look(&mut self) {
        let now = self.now();
        for (id, supervisor) in NodeId::ALL.into_iter().zip(&mut self.supervisors) {
            self.cluster.replication.round(id);
            while supervisor.round(now) {}
        }
    }

    /// Has everything rebuilt that can be now.
    pub(crate) fn repair(&self) {
        for id in NodeId::ALL {
            let mut worker = RepairWorker::new(id, &self.cluster, self.throttle(), Arc::default());
            while worker.round(self.now()) {}
        }
    }

    /// Exactly these nodes are there, and the server knows it.
    pub(crate) fn switch(&mut self, on: NodeSet) {
        for node in &self.nodes {
            node.state.lock().is_off = !on.contains(node.id);
        }
        self.look();
    }

    pub(crate) fn user(&self) -> UserId {
        self.user.unwrap()
    }

    /// A volume over the same nodes that serves each by a thread.
    pub(crate) fn threaded_volume(&self) -> Volume {
        let random = Arc::new(Random::seeded(2));
        Volume::new(self.cluster.roster.clone(), random, Fanout::Threads)
    }

    pub(crate) fn meta(&self, byte: u8, content: &[u8]) -> PieceMeta {
        PieceMeta {
            version: version(byte),
            place: place(&format!("f{byte}")),
            file_bytes: content.len() as u64,
            stored_ms: 0,
            repair: false,
            part: None,
        }
    }

    pub(crate) fn begin(&self, byte: u8, content: &[u8]) -> Result<Writing> {
        self.cluster.volume.write(&self.meta(byte, content))
    }

    /// Stores a file; gives the nodes that it is placed on.
    pub(crate) fn store(&self, byte: u8, content: &[u8]) -> NodeSet {
        let mut writing = self.begin(byte, content).unwrap();
        push_all(&mut writing, content);
        let written = writing.finish(digest(content)).unwrap();
        let (seq, placed, pieces) = match written {
            Written::Inline { seq, stripe } => {
                (seq, self.cluster.replication.in_step().and(writing.targets()), Some(stripe))
            }
            Written::Staged { seq, nodes, .. } => (seq, nodes, None),
        };
        let new = NewFile {
            user: self.user(),
            path: place(&format!("f{byte}")).path,
            version: version(byte),
            seq,
            bytes: content.len() as u64,
            blake3: digest(content),
            stored_ms: 0,
            placed,
            inline: pieces.is_some(),
            precondition: Precondition::Any,
            stored_by: String::new(),
            attributes: Default::default(),
        };
        self.cluster.committer.submit(move |draft| draft.store(&new, pieces)).unwrap();
        placed
    }

    pub(crate) fn placed(&self, byte: u8) -> NodeSet {
        self.cluster.catalog.version(version(byte)).unwrap().unwrap().record.placed
    }

    pub(crate) fn read(
        &self,
        byte: u8,
        length: usize,
    ) -> std::result::Result<(Vec<u8>, NodeSet), (Error, NodeSet)> {
        let placed = self.placed(byte);
        let label = place(&format!("f{byte}"));
        let length = length as u64;
        self.read_wanted(Wanted::whole(version(byte), &label, length, placed))
    }

    /// Reads what is wanted; the nodes are those that turned out to be unsound.
    pub(crate) fn read_wanted(
        &self,
        wanted: Wanted<'_>,
    ) -> std::result::Result<(Vec<u8>, NodeSet), (Error, NodeSet)> {
        let mut reading = self.cluster.volume.read(wanted)?;
        let mut content = Vec::new();
        loop {
            match reading.next_part() {
                Ok(Some(parts)) => parts.iter().for_each(|part| content.extend_from_slice(part)),
                Ok(None) => return Ok((content, reading.unsound())),
                Err(error) => return Err((error, reading.unsound())),
            }
        }
    }

    /// Does a node hold exactly what it should of this content?
    pub(crate) fn holds(&self, number: usize, byte: u8, content: &[u8]) -> bool {
        let layout = Layout::new(content.len() as u64);
        let mut rest = content;
        let piece: Piece = (0..layout.stripe_count())
            .map(|stripe| {
                let mut data = vec![0; layout.stripe_bytes(stripe)];
                let mut parity = data.clone();
                let (now, later) = rest.split_at(layout.file_bytes_in(stripe));
                data[..now.len()].copy_from_slice(now);
                rest = later;
                layout.pad(stripe, &mut data);
                kernel::encode(&data, &mut parity);
                kernel::node_units(NodeId::ALL[number - 1], &data, &parity).map(<[u8]>::to_vec)
            })
            .collect();
        self.node(number).pieces.get(&version(byte)) == Some(&piece)
    }
}

pub(crate) fn push_all(writing: &mut Writing, content: &[u8]) {
    let mut rest = content;
    while !rest.is_empty() {
        let room = writing.room().unwrap();
        let (now, later) = rest.split_at(room.len());
        room.copy_from_slice(now);
        rest = later;
        writing.push().unwrap();
    }
}
