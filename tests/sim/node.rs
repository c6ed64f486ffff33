//! A node in the simulation: the real block store on a simulated disk, behind a link that can fail.

use std::collections::BTreeMap;
use std::panic;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palk::core::cluster::node::{Node, PieceSink, PieceSource, Query};
use palk::core::error::{Error, NodeFailure, Result};
use palk::core::node::reserve::Reserve;
use palk::core::node::stage::Stage;
use palk::core::node::store::BlockStore;
use palk::core::types::{Claim, ClusterId, Digest, NodeId, Seq, VersionId};
use palk::core::wire::journal::{Entry, JournalState, Point};
use palk::core::wire::node::{Alive, Append, PieceMeta, Serves, ViewReport};
use palk::core::wire::snapshot::{SnapshotReply, SnapshotRequest};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::{ROOT, SimDisk};

/// What new files leave free on a disk that has an end.
const RESERVE_BYTES: u64 = 4_000;

/// The only cluster there is.
pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

/// Thrown where the server's machine goes down.
pub(crate) struct ServerCrash;

/// How the servers' calls are disturbed; shared by all links.
pub(crate) struct Links {
    random: StdRng,
    /// The simulated time, in milliseconds.
    clock: Arc<AtomicU64>,
    /// How likely a call is lost, in per mille.
    pub(crate) loss: u32,
    /// What happens at the n-th call from now, before it or after it.
    pub(crate) next: Option<Ordered>,
    pub(crate) calls: u64,
}

/// Something that happens at a call.
pub(crate) struct Ordered {
    pub(crate) in_calls: u64,
    pub(crate) what: Event,
}

pub(crate) enum Event {
    /// The server that calls goes down, and the call is not made.
    CrashBefore,
    /// The call is made, and the server goes down.
    CrashAfter,
    /// The call is made, and its answer is lost.
    AnswerLost,
    /// Something else is done before the call is made.
    Meanwhile(Box<dyn FnOnce() + Send>),
}

impl Links {
    pub(crate) fn new(seed: u64, clock: Arc<AtomicU64>) -> Arc<Mutex<Links>> {
        let random = StdRng::seed_from_u64(seed);
        Arc::new(Mutex::new(Links { random, clock, loss: 0, next: None, calls: 0 }))
    }

    pub(crate) fn order(&mut self, in_calls: u64, what: Event) {
        self.next = Some(Ordered { in_calls, what });
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
    /// A bit of the bytes that it takes or brings is wrong; without any, its answer is lost.
    Garbled,
    /// It is carried out, and the server that has called goes down.
    CrashAfter,
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
    /// How many pieces it has been sent outside of the journal.
    pub(crate) staged: u64,
    /// Which server it obeys, as far as that is known outside.
    obeys: Option<Claim>,
    /// Canary: it says that it has appended entries, and has not.
    pub(crate) is_hollow: bool,
}

/// One node, as the servers see it and as the simulation steers it.
pub(crate) struct SimNode {
    id: NodeId,
    machine: Mutex<Machine>,
    links: Arc<Mutex<Links>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimNode {
    pub(crate) fn new(
        id: NodeId,
        seed: u64,
        links: Arc<Mutex<Links>>,
        has_hard_links: bool,
    ) -> Arc<SimNode> {
        let disk = SimDisk::new(seed);
        if !has_hard_links {
            disk.without_links();
        }
        let machine = Machine {
            disk,
            process: Process::Down,
            store: None,
            run: 0,
            ends: 0,
            staged: 0,
            obeys: None,
            is_hollow: false,
        };
        let node = Arc::new(SimNode { id, machine: Mutex::new(machine), links });
        node.start();
        node
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    pub(crate) fn disk(&self) -> SimDisk {
        self.machine().disk.clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.machine().process == Process::Running
    }

    /// The store of a process that runs.
    pub(crate) fn store(&self) -> Option<Arc<BlockStore>> {
        let machine = self.machine();
        machine.store.clone().filter(|_| machine.process == Process::Running)
    }

    /// What it would say if it were asked whom it serves.
    pub(crate) fn serves(&self) -> Option<Serves> {
        let store = self.store()?;
        let (cluster, claim) = store.registration().current();
        let heard = store.registration().heard_ago(self.now());
        Some(Serves {
            node: self.id,
            cluster,
            epoch: claim.map_or(0, |claim| claim.epoch),
            server: claim.map(|claim| claim.server),
            heard_ms_ago: heard.map(|ago| u64::try_from(ago.as_millis()).unwrap()),
            folder: String::new(),
        })
    }

    fn now(&self) -> Duration {
        Duration::from_millis(lock(&self.links).clock.load(Ordering::SeqCst))
    }

    /// Which server it obeys, as far as that is known.
    pub(crate) fn obeys(&self) -> Option<Claim> {
        self.machine().obeys
    }

    /// Its disk is another one now: nobody can say whom it obeys before it is asked again.
    pub(crate) fn forget_obedience(&self) {
        self.machine().obeys = None;
    }

    /// How often its process has ended, or is about to.
    pub(crate) fn ends(&self) -> u64 {
        self.notice_crash();
        self.machine().ends
    }

    /// Starts the process on what the disk has. A disk error lets it end at once.
    pub(crate) fn start(&self) {
        let mut machine = self.machine();
        let disk = Arc::new(machine.disk.clone());
        if let Ok(store) = BlockStore::open(disk, Path::new(ROOT), self.id) {
            let (_, claim) = store.registration().current();
            machine.store = Some(Arc::new(store.keeping(Reserve::Bytes(RESERVE_BYTES))));
            machine.process = Process::Running;
            machine.obeys = claim;
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

    /// What the node does on its own: it follows its journal and writes pieces out, up to so many steps.
    /// True if there is more to do.
    pub(crate) fn work(&self, steps: u32) -> bool {
        self.notice_crash();
        let Some(store) = self.store() else { return false };
        let is_busy = |done: Result<bool>| done.unwrap_or(false);
        let more = (0..steps).all(|_| {
            let follows = is_busy(store.follow());
            is_busy(store.write_out()) || follows
        });
        self.notice_crash();
        more
    }

    /// The same for a while in which there is nothing else to do.
    pub(crate) fn work_on(&self, rounds: u32) {
        for _ in 0..rounds {
            self.work(1);
        }
    }

    fn failure(&self, why: NodeFailure) -> Error {
        Error::Node { node: self.id, why }
    }

    fn unreachable(&self) -> Error {
        self.failure(NodeFailure::Unreachable("connection refused".into()))
    }

    fn late(&self) -> Error {
        self.failure(NodeFailure::Late("no answer within 5 s".into()))
    }

    /// The store, if the call arrives; and which run of the process it reached.
    fn arrive(&self) -> Result<(Arc<BlockStore>, u64, Fate)> {
        let fate = self.fate();
        self.notice_crash();
        let machine = self.machine();
        match (machine.process, &machine.store) {
            (Process::Running, Some(store)) if fate != Fate::Lost => {
                Ok((store.clone(), machine.run, fate))
            }
            (Process::Hung, _) => {
                drop(machine);
                Err(self.crash_if(fate).err().unwrap_or_else(|| self.late()))
            }
            _ => {
                drop(machine);
                Err(self.crash_if(fate).err().unwrap_or_else(|| self.unreachable()))
            }
        }
    }

    fn fate(&self) -> Fate {
        let mut links = lock(&self.links);
        links.calls += 1;
        if let Some(ordered) = &mut links.next {
            ordered.in_calls = ordered.in_calls.saturating_sub(1);
            if ordered.in_calls == 0
                && let Some(Ordered { what, .. }) = links.next.take()
            {
                match what {
                    Event::CrashBefore => {
                        drop(links);
                        panic::panic_any(ServerCrash);
                    }
                    Event::CrashAfter => return Fate::CrashAfter,
                    Event::AnswerLost => return Fate::Unanswered,
                    Event::Meanwhile(doing) => {
                        drop(links);
                        doing();
                        return Fate::Fine;
                    }
                }
            }
        }
        let Links { random, loss, .. } = &mut *links;
        if *loss == 0 || !random.random_ratio(*loss, 1000) {
            return Fate::Fine;
        }
        match random.random_range(0..4) {
            0 => Fate::Lost,
            1 => Fate::Unanswered,
            2 => Fate::Repeated,
            _ => Fate::Garbled,
        }
    }

    fn crash_if(&self, fate: Fate) -> Result<()> {
        if fate == Fate::CrashAfter {
            panic::panic_any(ServerCrash);
        }
        Ok(())
    }

    /// The end of a call: a node that crashed in it has not answered.
    fn depart<T>(&self, fate: Fate, result: Result<T>) -> Result<T> {
        self.notice_crash_in_call()?;
        self.crash_if(fate)?;
        if matches!(fate, Fate::Unanswered | Fate::Garbled) {
            return Err(self.late());
        }
        result.map_err(|error| match error {
            Error::Node { .. } => error,
            other => self.failure(NodeFailure::Refused(other.to_string())),
        })
    }

    fn notice_crash_in_call(&self) -> Result<()> {
        if self.machine().disk.has_crashed() {
            self.end(true);
            return Err(self.unreachable());
        }
        Ok(())
    }
}

/// Which node is at which address.
pub(crate) type Yard = Arc<Mutex<BTreeMap<String, Arc<SimNode>>>>;

/// The nodes that a server cannot reach, though others can.
pub(crate) type Cut = Arc<Mutex<[bool; 4]>>;

/// One server's way to a node.
pub(crate) struct SimLink {
    id: NodeId,
    yard: Yard,
    cut: Cut,
    address: Mutex<String>,
    /// What its server registers with; nothing for somebody who only asks.
    claim: Mutex<Option<Claim>>,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    /// To which run of which process it leads.
    leads_to: Option<(String, u64)>,
    greeted: Option<JournalState>,
}

impl SimLink {
    pub(crate) fn new(
        id: NodeId,
        yard: &Yard,
        cut: &Cut,
        address: &str,
        claim: Option<Claim>,
    ) -> SimLink {
        let (yard, cut, address) = (yard.clone(), cut.clone(), Mutex::new(address.to_owned()));
        let claim = Mutex::new(claim);
        SimLink { id, yard, cut, address, claim, connection: Mutex::default() }
    }

    /// Somebody who only asks, and reaches every node.
    pub(crate) fn asking(id: NodeId, yard: &Yard) -> SimLink {
        SimLink::new(id, yard, &Cut::default(), &format!("node:{id}"), None)
    }

    fn node(&self) -> Arc<SimNode> {
        lock(&self.yard)[&*lock(&self.address)].clone()
    }

    /// A call arrives at the node. On a new connection the server registers first; on one that is open
    /// it is only looked whether the node still serves it.
    fn arrive(&self) -> Result<Call> {
        let node = self.node();
        if lock(&self.cut)[self.id.index()] {
            return Err(node.unreachable());
        }
        let arrived = node.arrive();
        let (store, run, fate) = arrived.inspect_err(|_| self.forget_connections())?;
        let call = Call { node, store, run, fate };
        let Some(claim) = *lock(&self.claim) else { return Ok(call) };
        let here = (lock(&self.address).clone(), run);
        // A server has several connections, and makes a new one where all are in use.
        let is_new = lock(&self.connection).leads_to.as_ref() != Some(&here)
            || lock(&call.node.links).random.random_ratio(1, 8);
        if is_new {
            let registered = call.store.register(CLUSTER, claim, call.node.now());
            let welcomed = registered.and_then(|()| call.store.journal_state());
            let welcomed = call.node.depart(Fate::Fine, welcomed);
            let greeted = Some(welcomed.inspect_err(|_| self.forget_connections())?);
            call.node.machine().obeys = Some(claim);
            *lock(&self.connection) = Connection { leads_to: Some(here), greeted };
        }
        let admitted = call.store.admit(claim, call.node.now()).map(drop);
        call.node.depart(Fate::Fine, admitted)?;
        Ok(call)
    }

    /// Calls once, or twice where the call is repeated.
    fn ask<T>(&self, mut call: impl FnMut(&BlockStore) -> Result<T>) -> Result<T> {
        let arrived = self.arrive()?;
        let mut result = call(&arrived.store);
        if arrived.fate == Fate::Repeated {
            result = call(&arrived.store);
        }
        let result = arrived.depart(result);
        if matches!(
            result,
            Err(Error::Node { why: NodeFailure::Late(_) | NodeFailure::Unreachable(_), .. })
        ) {
            lock(&self.connection).leads_to = None;
        }
        result
    }
}

/// A call that has arrived.
struct Call {
    node: Arc<SimNode>,
    store: Arc<BlockStore>,
    run: u64,
    fate: Fate,
}

impl Call {
    fn depart<T>(&self, result: Result<T>) -> Result<T> {
        self.node.depart(self.fate, result)
    }
}

impl Node for SimLink {
    fn id(&self) -> NodeId {
        self.id
    }

    fn ping(&self, decided: u64) -> Result<Alive> {
        self.ask(|store| {
            store.decided(decided);
            store.alive()
        })
    }

    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>> {
        let call = self.arrive()?;
        call.node.machine().staged += 1;
        let stage = call.depart(call.store.stage(meta.clone()))?;
        let (node, run, claim) = (call.node.clone(), call.run, *lock(&self.claim));
        Ok(Box::new(SimSink { node, run, claim, stage: Some(stage), staged: None }))
    }

    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>> {
        let call = self.arrive()?;
        call.depart(Ok(()))?;
        let (node, run) = (call.node.clone(), call.run);
        Ok(Box::new(SimSource { node, run, query: query.clone() }))
    }

    fn verify(&self, version: VersionId, first_stripe: u64, stripes: u64) -> Result<Vec<[u64; 2]>> {
        self.ask(|store| store.open_piece(version).verify(first_stripe, stripes))
    }

    fn append(&self, append: &Append, body: &[&[u8]]) -> Result<JournalState> {
        let call = self.arrive()?;
        if call.node.machine().is_hollow && !append.entries.is_empty() {
            let mut state = call.store.journal_state()?;
            state.end = append.entries.last().map_or(state.end, Entry::point);
            return call.depart(Ok(state));
        }
        let mut sent = body.concat();
        if call.fate == Fate::Garbled && !sent.is_empty() {
            let at = sent.len() / 2;
            sent[at] ^= 1;
            let refused = call.store.append(append, &sent);
            assert!(refused.is_err(), "node {}: a piece was changed on its way", self.id);
            return call.depart(refused);
        }
        let mut result = call.store.append(append, &sent);
        if call.fate == Fate::Repeated {
            result = call.store.append(append, &sent);
        }
        call.depart(result)
    }

    fn point_at(&self, id: u64) -> Result<Option<Point>> {
        self.ask(|store| store.point_at(id))
    }

    fn entries(&self, after: Point, take: &mut dyn FnMut(Vec<Entry>) -> Result<()>) -> Result<()> {
        let call = self.arrive()?;
        // What is taken is taken in the server: its errors are not the node's.
        let mut taken = Ok(());
        let told = call.store.entries(after, &mut |entries| {
            if taken.is_ok() {
                taken = take(entries);
            }
            Ok(())
        });
        taken.and(call.depart(told))
    }

    fn snapshot(&self, request: &SnapshotRequest, body: &[u8]) -> Result<(SnapshotReply, Vec<u8>)> {
        let call = self.arrive()?;
        let mut sent = body.to_vec();
        if call.fate == Fate::Garbled && !sent.is_empty() {
            sent[0] ^= 1;
        }
        let ((cluster, _), mut out) = (call.store.registration().current(), Vec::new());
        let mut reply = call.store.snapshot(cluster, request, &sent, &mut out);
        if call.fate == Fate::Repeated {
            out.clear();
            reply = call.store.snapshot(cluster, request, &sent, &mut out);
        }
        call.depart(reply.map(|reply| (reply, out)))
    }

    fn pieces(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        // Small pages, so that turning them is tested too.
        self.ask(|store| store.pieces(after, 2))
    }

    fn lacks(&self, versions: &[VersionId]) -> Result<Vec<VersionId>> {
        self.ask(|store| store.lacks(versions))
    }

    fn discard(&self, versions: &[VersionId]) -> Result<()> {
        self.ask(|store| store.discard(versions))
    }

    fn close_gap(&self, gap: u64) -> Result<()> {
        self.ask(|store| store.close_gap(gap))
    }

    fn check_view(&self) -> Result<ViewReport> {
        self.ask(BlockStore::check_view)
    }

    fn greeted(&self) -> Option<JournalState> {
        lock(&self.connection).greeted
    }

    fn register_as(&self, claim: Claim) {
        *lock(&self.claim) = Some(claim);
        *lock(&self.connection) = Connection::default();
    }

    fn forget_connections(&self) {
        lock(&self.connection).leads_to = None;
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

    fn who_serves(&self) -> Result<Serves> {
        let node = self.node();
        if lock(&self.cut)[self.id.index()] {
            return Err(node.unreachable());
        }
        let (_, _, fate) = node.arrive()?;
        node.depart(fate, node.serves().ok_or_else(|| node.unreachable()))
    }

    fn move_to(&self, address: &str) {
        *lock(&self.address) = address.to_owned();
        *lock(&self.connection) = Connection::default();
    }

    fn bye(&self) -> Result<()> {
        let call = self.arrive()?;
        let claim = lock(&self.claim).ok_or_else(|| call.node.unreachable())?;
        call.depart(call.store.registration().bye(self.id, claim, call.node.now()))
    }
}

struct SimSink {
    node: Arc<SimNode>,
    run: u64,
    claim: Option<Claim>,
    stage: Option<Stage>,
    staged: Option<Result<()>>,
}

impl SimSink {
    /// The connection is gone if the process that it led to is.
    fn arrive(&self) -> Result<Fate> {
        let (store, run, fate) = self.node.arrive()?;
        if run != self.run {
            return Err(self.node.unreachable());
        }
        if let Some(claim) = self.claim {
            self.node.depart(Fate::Fine, store.admit(claim, self.node.now()).map(drop))?;
        }
        Ok(fate)
    }
}

impl PieceSink for SimSink {
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()> {
        let fate = self.arrive()?;
        let mut sent = units.map(<[u8]>::to_vec);
        if fate == Fate::Garbled && !sent[0].is_empty() {
            sent[0][0] ^= 1;
        }
        let stage = self.stage.as_mut().ok_or_else(|| self.node.unreachable())?;
        // What fails in between is told at the end, as the real service does.
        if let Err(error) = stage.units([&sent[0], &sent[1]], checksums) {
            self.stage = None;
            self.staged = Some(Err(error));
        }
        self.node.depart(if fate == Fate::Garbled { Fate::Fine } else { fate }, Ok(()))
    }

    fn shorten(&mut self, file_bytes: u64) -> Result<()> {
        let fate = self.arrive()?;
        let stage = self.stage.as_mut().ok_or_else(|| self.node.unreachable())?;
        if let Err(error) = stage.shorten(file_bytes) {
            self.stage = None;
            self.staged = Some(Err(error));
        }
        self.node.depart(fate, Ok(()))
    }

    fn keep_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn ask_finish(&mut self, seq: Seq, blake3: Digest) -> Result<()> {
        let fate = self.arrive()?;
        if let Some(stage) = self.stage.take() {
            self.staged = Some(stage.finish(seq, blake3));
        }
        self.node.depart(fate, Ok(()))
    }

    fn await_staged(&mut self) -> Result<()> {
        let fate = self.arrive()?;
        let staged = self.staged.take().unwrap_or_else(|| Err(self.node.unreachable()));
        self.node.depart(fate, staged)
    }
}

struct SimSource {
    node: Arc<SimNode>,
    run: u64,
    query: Query,
}

impl PieceSource for SimSource {
    fn units(&mut self, body: &mut Vec<u8>) -> Result<[u64; 2]> {
        let (store, run, fate) = self.node.arrive()?;
        if run != self.run {
            return Err(self.node.unreachable());
        }
        // A fresh look for every stripe is harder on the store than one open file.
        let mut piece = store.open_piece(self.query.version);
        let checksums = piece.units(self.query.first_stripe, self.query.select, body);
        self.query.first_stripe += 1;
        if fate == Fate::Garbled && !body.is_empty() {
            let last = body.len() - 1;
            body[last] ^= 0x80;
            return self.node.depart(Fate::Fine, checksums);
        }
        self.node.depart(fate, checksums)
    }
}
