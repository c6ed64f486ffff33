//! A node in the simulation: the real block store on a simulated disk, behind a link that can fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palk::core::cluster::node::{Node, PieceSink, PieceSource, Query};
use palk::core::error::{Error, NodeFailure, Result};
use palk::core::node::stage::Stage;
use palk::core::node::store::BlockStore;
use palk::core::types::{ClusterId, Digest, NodeId, VersionId};
use palk::core::wire::backup::{Answer, Ask, Finding, Serves};
use palk::core::wire::node::{Order, Outcome, PieceMeta};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::SimDisk;

/// The cluster that all nodes belong to.
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
        let machine = Machine { disk, process: Process::Down, store: None, run: 0, ends: 0 };
        let node = Arc::new(SimNode { id, machine: Mutex::new(machine), links });
        node.start();
        node
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
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
        let disk = Arc::new(machine.disk.clone());
        let opened = BlockStore::open(disk, root, self.id)
            .and_then(|store| store.join_cluster(CLUSTER).map(|()| store));
        if let Ok(store) = opened {
            machine.store = Some(Arc::new(store));
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

/// The server's end of the link.
pub(crate) struct SimLink(pub(crate) Arc<SimNode>);

impl Node for SimLink {
    fn id(&self) -> NodeId {
        self.0.id
    }

    fn ping(&self) -> Result<()> {
        let (_, _, fate) = self.0.arrive()?;
        self.0.depart(fate, Ok(()))
    }

    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>> {
        let (store, run, fate) = self.0.arrive()?;
        let stage = store.stage(meta.clone());
        let node = self.0.clone();
        let stage = self.0.depart(fate, stage)?;
        Ok(Box::new(SimSink { node, run, stage: Some(stage), staged: None }))
    }

    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>> {
        let (_, run, fate) = self.0.arrive()?;
        let source = SimSource { node: self.0.clone(), run, query: query.clone() };
        self.0.depart(fate, Ok(Box::new(source) as Box<dyn PieceSource>))
    }

    fn carry(&self, orders: &[Order]) -> Result<Vec<Outcome>> {
        let (store, _, fate) = self.0.arrive()?;
        let mut outcomes = store.carry(orders);
        if fate == Fate::Repeated {
            outcomes = store.carry(orders);
        }
        self.0.depart(fate, Ok(outcomes))
    }

    fn staged(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        let (store, _, fate) = self.0.arrive()?;
        // Small pages, so that turning them is tested too.
        let staged = store.staged(after, 2);
        self.0.depart(fate, staged)
    }

    fn forget_connections(&self) {}

    fn backup(&self, ask: &Ask, body: &[u8]) -> Result<(Answer, Vec<u8>)> {
        let (store, _, fate) = self.0.arrive()?;
        let mut sent = body.to_vec();
        if fate == Fate::Garbled && !sent.is_empty() {
            sent[0] ^= 1;
        }
        let (cluster, mut out) = (store.cluster(), Vec::new());
        let mut answer = store.backup().ask(cluster, ask, &sent, &mut out);
        if fate == Fate::Repeated {
            answer = store.backup().ask(cluster, ask, &sent, &mut out);
        }
        self.0.depart(fate, answer.map(|answer| (answer, out)))
    }

    fn evidence(&self, take: &mut dyn FnMut(Vec<Finding>) -> Result<()>) -> Result<()> {
        let (store, _, fate) = self.0.arrive()?;
        let told = store.evidence(take);
        self.0.depart(fate, told)
    }

    fn who_serves(&self) -> Result<Serves> {
        let (store, _, fate) = self.0.arrive()?;
        let (cluster, node) = (store.cluster(), self.0.id);
        self.0.depart(fate, Ok(Serves { cluster, node, heard_ms_ago: None, folder: String::new() }))
    }
}

struct SimSink {
    node: Arc<SimNode>,
    run: u64,
    stage: Option<Stage>,
    staged: Option<Result<()>>,
}

impl SimSink {
    /// The connection is gone if the process that it led to is.
    fn arrive(&self) -> Result<Fate> {
        let (_, run, fate) = self.node.arrive()?;
        if run == self.run { Ok(fate) } else { Err(self.node.unreachable()) }
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
        let result = stage.units([&sent[0], &sent[1]], checksums);
        if let Err(error) = result {
            self.stage = None;
            self.staged = Some(Err(error));
        }
        self.node.depart(fate, Ok(()))
    }

    fn keep_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn ask_finish(&mut self, blake3: Digest) -> Result<()> {
        let fate = self.arrive()?;
        if let Some(stage) = self.stage.take() {
            self.staged = Some(stage.finish(blake3));
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
        let mut piece = store.open_piece(self.query.version, &self.query.place);
        let checksums = piece.units(self.query.first_stripe, self.query.select, body);
        self.query.first_stripe += 1;
        if fate == Fate::Garbled && !body.is_empty() {
            let last = body.len() - 1;
            body[last] ^= 0x80;
        }
        self.node.depart(fate, checksums)
    }
}
