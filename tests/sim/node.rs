//! A node in the simulation: the real block store on a simulated disk, behind a link that can fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palk::core::cluster::node::{InventoryPages, Node, PieceSink, PieceSource, Query};
use palk::core::error::{Error, NodeFailure, Result};
use palk::core::node::inventory::Inventory;
use palk::core::node::reserve::Reserve;
use palk::core::node::stage::Stage;
use palk::core::node::store::BlockStore;
use palk::core::types::{Claim, ClusterId, Digest, NodeId, VersionId};
use palk::core::wire::backup::{Answer, Ask, Finding};
use palk::core::wire::node::{
    Formerly, InventoryEntry, Order, Outcome, PieceMeta, Place, Room, Serves,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::SimDisk;

/// What new files leave free on a disk that has an end.
const RESERVE_BYTES: u64 = 4_000;

/// The only cluster there is.
pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

/// Thrown where the server's machine goes down.
pub(crate) struct ServerCrash;

/// How the server's calls are disturbed; shared by all links.
pub(crate) struct Links {
    random: StdRng,
    /// How likely a call is lost, in per mille.
    pub(crate) loss: u32,
    /// The server goes down at the n-th call from now.
    pub(crate) crash_in: Option<u64>,
    pub(crate) calls: u64,
}

impl Links {
    pub(crate) fn new(seed: u64) -> Arc<Mutex<Links>> {
        let random = StdRng::seed_from_u64(seed);
        Arc::new(Mutex::new(Links { random, loss: 0, crash_in: None, calls: 0 }))
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It never arrives.
    Lost,
    /// It is carried out, and the answer is lost.
    Unanswered,
    /// It is carried out twice.
    Repeated,
    /// A bit of what comes back is wrong.
    Garbled,
}

/// The state of a node's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Process {
    Running,
    /// Stopped: it answers nothing, and goes on later.
    Hung,
    Down,
}

pub(crate) struct Machine {
    pub(crate) disk: SimDisk,
    pub(crate) process: Process,
    store: Option<Arc<BlockStore>>,
    run: u64,
    /// How often the process has ended.
    ends: u64,
    /// Canary: it says that it has staged new pieces, and has not.
    pub(crate) is_hollow: bool,
}

/// One node, as the server sees it and as the simulation steers it.
pub(crate) struct SimNode {
    id: NodeId,
    machine: Mutex<Machine>,
    links: Arc<Mutex<Links>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimNode {
    pub(crate) fn new(id: NodeId, seed: u64, links: Arc<Mutex<Links>>) -> Arc<SimNode> {
        let disk = SimDisk::new(seed);
        let process = Process::Down;
        let machine = Machine { disk, process, store: None, run: 0, ends: 0, is_hollow: false };
        let node = Arc::new(SimNode { id, machine: Mutex::new(machine), links });
        node.start();
        node
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    /// What it would say if it were asked whom it serves.
    pub(crate) fn serves(&self) -> Option<Serves> {
        let machine = self.machine();
        let (cluster, claim) = machine.store.as_ref()?.registration().current();
        Some(Serves {
            node: self.id,
            cluster,
            epoch: claim.map_or(0, |claim| claim.epoch),
            server: claim.map(|claim| claim.server),
            heard_ms_ago: None,
            folder: String::new(),
        })
    }

    /// How often its process has ended, or is about to.
    pub(crate) fn ends(&self) -> u64 {
        self.notice_crash();
        self.machine().ends
    }

    /// Starts the process on what the disk has. A disk error lets it end at once.
    pub(crate) fn start(&self) {
        let mut machine = self.machine();
        let root = std::path::Path::new("/files");
        if let Ok(store) = BlockStore::open(Arc::new(machine.disk.clone()), root, self.id) {
            machine.store = Some(Arc::new(store.keeping(Reserve::Bytes(RESERVE_BYTES))));
            machine.process = Process::Running;
            machine.run += 1;
        }
    }

    /// The process ends; with the machine's power, or without.
    pub(crate) fn end(&self, power: bool) {
        let mut machine = self.machine();
        machine.disk = if power || machine.disk.has_crashed() {
            machine.disk.lose_power()
        } else {
            machine.disk.kill()
        };
        machine.store = None;
        machine.process = Process::Down;
        machine.ends += 1;
    }

    /// A node whose disk has crashed under it goes down with it.
    pub(crate) fn notice_crash(&self) {
        if self.machine().disk.has_crashed() {
            self.end(true);
        }
    }

    fn failure(&self, why: NodeFailure) -> Error {
        Error::Node { node: self.id, why }
    }

    fn unreachable(&self) -> Error {
        self.failure(NodeFailure::Unreachable("connection refused".into()))
    }

    /// The store, if the call arrives; and which run of the process it reached.
    fn arrive(&self) -> Result<(Arc<BlockStore>, u64, Fate)> {
        let fate = {
            let mut links = lock(&self.links);
            links.calls += 1;
            if let Some(left) = &mut links.crash_in {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    links.crash_in = None;
                    drop(links);
                    std::panic::panic_any(ServerCrash);
                }
            }
            let Links { random, loss, .. } = &mut *links;
            if *loss > 0 && random.random_ratio(*loss, 1000) {
                match random.random_range(0..4) {
                    0 => Fate::Lost,
                    1 => Fate::Unanswered,
                    2 => Fate::Repeated,
                    _ => Fate::Garbled,
                }
            } else {
                Fate::Fine
            }
        };
        self.notice_crash();
        let machine = self.machine();
        match (machine.process, &machine.store) {
            (Process::Running, Some(store)) if fate != Fate::Lost => {
                Ok((store.clone(), machine.run, fate))
            }
            (Process::Hung, _) => {
                Err(self.failure(NodeFailure::Late("no answer within 5 s".into())))
            }
            _ => Err(self.unreachable()),
        }
    }

    /// The end of a call: a node that crashed in it has not answered.
    fn depart<T>(&self, fate: Fate, result: Result<T>) -> Result<T> {
        if self.machine().disk.has_crashed() {
            self.end(true);
            return Err(self.unreachable());
        }
        if fate == Fate::Unanswered {
            return Err(self.failure(NodeFailure::Late("no answer within 5 s".into())));
        }
        result
    }
}

/// Nobody looks at when servers were heard of: the simulation starts them without asking.
const NOW: Duration = Duration::ZERO;

/// Which node is at which address.
pub(crate) type Yard = Arc<Mutex<BTreeMap<String, Arc<SimNode>>>>;

/// One server's way to a node.
pub(crate) struct SimLink {
    id: NodeId,
    yard: Yard,
    address: Mutex<String>,
    /// What its server registers with; nothing for somebody who only asks.
    claim: Option<Claim>,
    was_fresh: Arc<AtomicBool>,
}

impl SimLink {
    pub(crate) fn new(id: NodeId, yard: &Yard, address: &str, claim: Option<Claim>) -> SimLink {
        let (yard, address) = (yard.clone(), Mutex::new(address.to_owned()));
        SimLink { id, yard, address, claim, was_fresh: Arc::default() }
    }

    /// A new connection to where the node is looked for now.
    fn connect(&self) -> Line {
        let node = lock(&self.yard)[&*lock(&self.address)].clone();
        Line { node, claim: self.claim, was_fresh: self.was_fresh.clone() }
    }
}

/// A connection.
struct Line {
    node: Arc<SimNode>,
    claim: Option<Claim>,
    was_fresh: Arc<AtomicBool>,
}

impl Line {
    /// The server registers anew for every call, and then asks. What is asked is checked again, as
    /// on a connection that has been open for long.
    fn arrive(&self) -> Result<(Arc<BlockStore>, u64, Fate)> {
        let (store, run, fate) = self.node.arrive()?;
        let Some(claim) = self.claim else {
            return Ok((store, run, fate));
        };
        let registered = store.register(CLUSTER, claim, NOW).map_err(|error| match error {
            Error::Node { .. } => error,
            other => self.node.failure(NodeFailure::Refused(other.to_string())),
        });
        let is_fresh = self.depart(Fate::Fine, registered)?;
        if fate != Fate::Unanswered && is_fresh {
            self.was_fresh.store(true, Ordering::SeqCst);
        }
        self.depart(Fate::Fine, store.admit(claim, NOW).map(drop))?;
        Ok((store, run, fate))
    }

    fn depart<T>(&self, fate: Fate, result: Result<T>) -> Result<T> {
        self.node.depart(fate, result)
    }
}

impl Node for SimLink {
    fn id(&self) -> NodeId {
        self.id
    }

    fn ping(&self) -> Result<Option<Room>> {
        let line = self.connect();
        let (store, _, fate) = line.arrive()?;
        line.depart(fate, Ok(store.room().ok()))
    }

    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>> {
        let line = self.connect();
        let (store, run, fate) = line.arrive()?;
        let stage = line.depart(fate, store.stage(meta.clone()))?;
        let is_hollow = !meta.repair && line.node.machine().is_hollow;
        Ok(Box::new(SimSink { line, run, stage: Some(stage), staged: None, is_hollow }))
    }

    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>> {
        let line = self.connect();
        let (_, run, fate) = line.arrive()?;
        line.depart(fate, Ok(()))?;
        Ok(Box::new(SimSource { line, run, query: query.clone() }))
    }

    fn carry(&self, orders: &[Order]) -> Result<Vec<Outcome>> {
        let line = self.connect();
        let (store, _, fate) = line.arrive()?;
        let mut outcomes = store.carry(orders);
        if fate == Fate::Repeated {
            outcomes = store.carry(orders);
        }
        line.depart(fate, Ok(outcomes))
    }

    fn staged(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        let line = self.connect();
        let (store, _, fate) = line.arrive()?;
        // Small pages, so that turning them is tested too.
        let staged = store.staged(after, 2);
        line.depart(fate, staged)
    }

    fn forget_connections(&self) {}

    fn verify(
        &self,
        version: VersionId,
        place: &Place,
        formerly: &Formerly,
        first_stripe: u64,
        stripes: u64,
    ) -> Result<Vec<[u64; 2]>> {
        let line = self.connect();
        let (store, _, fate) = line.arrive()?;
        let mut sums = store.open_piece(version, place, formerly).verify(first_stripe, stripes);
        if let (Fate::Garbled, Ok(sums)) = (fate, &mut sums) {
            sums[0][0] ^= 1;
        }
        line.depart(fate, sums)
    }

    fn inventory(&self) -> Result<Box<dyn InventoryPages>> {
        let line = self.connect();
        let (store, run, fate) = line.arrive()?;
        line.depart(fate, Ok(()))?;
        Ok(Box::new(SimInventory { line, run, inventory: store.inventory() }))
    }

    fn was_fresh(&self) -> bool {
        self.was_fresh.swap(false, Ordering::SeqCst)
    }

    fn who_serves_at(&self, address: &str) -> Result<Serves> {
        let found = lock(&self.yard).get(address).cloned();
        let Some(node) = found else {
            let why = NodeFailure::Unreachable("connection refused".into());
            return Err(Error::Node { node: self.id, why });
        };
        let (_, _, fate) = node.arrive()?;
        node.depart(fate, node.serves().ok_or_else(|| node.unreachable()))
    }

    fn move_to(&self, address: &str) {
        *lock(&self.address) = address.to_owned();
    }

    fn bye(&self) -> Result<()> {
        let line = self.connect();
        let (store, _, fate) = line.arrive()?;
        let claim = self.claim.ok_or_else(|| line.node.unreachable())?;
        line.depart(fate, store.registration().bye(self.id, claim, NOW))
    }

    fn backup(&self, ask: &Ask, body: &[u8]) -> Result<(Answer, Vec<u8>)> {
        let line = self.connect();
        let (store, _, fate) = line.arrive()?;
        let mut sent = body.to_vec();
        if fate == Fate::Garbled && !sent.is_empty() {
            sent[0] ^= 1;
        }
        let ((cluster, _), mut out) = (store.registration().current(), Vec::new());
        let mut answer = store.backup().ask(cluster, ask, &sent, &mut out);
        if fate == Fate::Repeated {
            answer = store.backup().ask(cluster, ask, &sent, &mut out);
        }
        line.depart(fate, answer.map(|answer| (answer, out)))
    }

    fn evidence(&self, take: &mut dyn FnMut(Vec<Finding>) -> Result<()>) -> Result<()> {
        let line = self.connect();
        let (store, _, fate) = line.arrive()?;
        let told = store.evidence(take);
        line.depart(fate, told)
    }

    fn who_serves(&self) -> Result<Serves> {
        let node = self.connect().node;
        let (_, _, fate) = node.arrive()?;
        node.depart(fate, node.serves().ok_or_else(|| node.unreachable()))
    }
}

struct SimInventory {
    line: Line,
    run: u64,
    inventory: Inventory,
}

impl InventoryPages for SimInventory {
    fn page(&mut self) -> Result<Vec<InventoryEntry>> {
        let (_, run, fate) = self.line.arrive()?;
        if run != self.run {
            return Err(self.line.node.unreachable());
        }
        let page = self.inventory.page();
        self.line.depart(fate, page)
    }
}

struct SimSink {
    line: Line,
    run: u64,
    stage: Option<Stage>,
    staged: Option<Result<()>>,
    is_hollow: bool,
}

impl SimSink {
    /// The connection is gone if the process that it led to is.
    fn arrive(&self) -> Result<Fate> {
        let (_, run, fate) = self.line.arrive()?;
        if run == self.run { Ok(fate) } else { Err(self.line.node.unreachable()) }
    }
}

impl PieceSink for SimSink {
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()> {
        let fate = self.arrive()?;
        let mut sent = units.map(<[u8]>::to_vec);
        if fate == Fate::Garbled && !sent[0].is_empty() {
            sent[0][0] ^= 1;
        }
        let stage = self.stage.as_mut().ok_or_else(|| self.line.node.unreachable())?;
        // What fails in between is told at the end, as the real service does.
        let result = stage.units([&sent[0], &sent[1]], checksums);
        if let Err(error) = result {
            self.stage = None;
            self.staged = Some(Err(error));
        }
        self.line.depart(fate, Ok(()))
    }

    fn keep_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn ask_finish(&mut self, blake3: Digest) -> Result<()> {
        let fate = self.arrive()?;
        if let Some(stage) = self.stage.take() {
            // What is not finished is removed.
            self.staged = Some(if self.is_hollow { Ok(()) } else { stage.finish(blake3) });
        }
        self.line.depart(fate, Ok(()))
    }

    fn await_staged(&mut self) -> Result<()> {
        let fate = self.arrive()?;
        let staged = self.staged.take().unwrap_or_else(|| Err(self.line.node.unreachable()));
        self.line.depart(fate, staged)
    }
}

struct SimSource {
    line: Line,
    run: u64,
    query: Query,
}

impl PieceSource for SimSource {
    fn units(&mut self, body: &mut Vec<u8>) -> Result<[u64; 2]> {
        let (store, run, fate) = self.line.arrive()?;
        if run != self.run {
            return Err(self.line.node.unreachable());
        }
        // A fresh look for every stripe is harder on the store than one open file.
        let mut piece =
            store.open_piece(self.query.version, &self.query.place, &self.query.formerly);
        let checksums = piece.units(self.query.first_stripe, self.query.select, body);
        self.query.first_stripe += 1;
        if fate == Fate::Garbled && !body.is_empty() {
            let last = body.len() - 1;
            body[last] ^= 0x80;
        }
        self.line.depart(fate, checksums)
    }
}
