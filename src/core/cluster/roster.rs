//! The four nodes and what is believed of each.
//!
//! Real traffic and the supervisors' probes feed the same belief: whoever finds a node silent tells
//! everyone, and nobody else waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::cluster::leadership::{Leadership, LeadershipPhase};
use crate::core::cluster::node::Node;
use crate::core::cluster::retry::Retry;
use crate::core::error::{Code, Error, NodeFailure, Reached, Result, Troubles};
use crate::core::health::{Health, Heard};
use crate::core::types::{Claim, NodeId, NodeSet, WRITE_QUORUM};
use crate::core::wire::journal::JournalState;
use crate::core::wire::node::{Alive, DiskTrouble, PieceMeta, Room};

/// How long a change waits for the server to take up the nodes' journals, where enough nodes are up.
const LEADING_SOON: Duration = Duration::from_secs(3);

/// The nodes, in order.
pub struct Roster {
    nodes: [Arc<dyn Node>; 4],
    health: Mutex<[Health; 4]>,
    seen: Mutex<[Seen; 4]>,
    clock: Clock,
    leadership: Leadership,
    /// Those that kept a reader waiting, until they answer a probe.
    slow: Mutex<NodeSet>,
    /// May anybody wait for what others do meanwhile, such as a change until the server leads? Not in
    /// simulations, where all is done in one thread.
    may_wait: bool,
    /// Called with a node that has just been lost.
    when_lost: OnceLock<Box<dyn Fn(NodeId) + Send + Sync>>,
    /// How often each has been lost.
    times_lost: [AtomicU64; 4],
    /// How often each has come up.
    times_up: [AtomicU64; 4],
    /// How often each has moved.
    moves: [AtomicU64; 4],
    retry: Retry,
}

/// Tells how long ago some fixed moment was.
pub type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// What else was last heard of a node.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    /// When it last answered a probe, by the roster's clock.
    pub answered: Option<Duration>,
    /// The room on its disk by its last answer, if it was in it.
    pub room: Option<Room>,
    /// What is wrong with its disk by its last answer.
    pub trouble: Option<DiskTrouble>,
    /// How far its journal was by its last answer.
    pub journal: Option<JournalState>,
}

impl Seen {
    /// May the node lack pieces that the catalog places on it?
    pub fn has_gap(&self) -> bool {
        self.journal.is_some_and(|journal| journal.gap.is_some())
    }
}

impl Roster {
    /// Nothing is believed of any node yet.
    pub fn new(nodes: [Arc<dyn Node>; 4]) -> Roster {
        let start = Instant::now();
        let may_wait = true;
        Roster { may_wait, ..Roster::with_clock(nodes, Box::new(move || start.elapsed())) }
    }

    /// The same with a clock of the caller's, for simulations.
    pub fn with_clock(nodes: [Arc<dyn Node>; 4], clock: Clock) -> Roster {
        let health = std::array::from_fn(|_| Health::unknown(clock()));
        Roster {
            nodes,
            health: Mutex::new(health),
            seen: Mutex::default(),
            clock,
            leadership: Leadership::default(),
            slow: Mutex::new(NodeSet::EMPTY),
            may_wait: false,
            when_lost: OnceLock::new(),
            times_lost: Default::default(),
            times_up: Default::default(),
            moves: Default::default(),
            retry: Retry::default(),
        }
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Arc<dyn Node> {
        &self.nodes[id.index()]
    }

    /// Whether this server is the cluster's, and how far it is.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Registers this server anew, with a higher epoch. What was answered on older connections counts
    /// for nothing.
    pub(super) fn register_as(&self, claim: Claim) {
        self.nodes.iter().for_each(|node| node.register_as(claim));
        self.leadership.begin(claim);
    }

    /// Requests to try at once what was put off.
    pub fn retry(&self) -> &Retry {
        &self.retry
    }

    /// The nodes that requests may be sent to: those that are up, and where they are too few for a
    /// store also those on probation. None once another server has taken over.
    pub fn up(&self) -> NodeSet {
        if self.leadership.check().is_err() {
            return NodeSet::EMPTY;
        }
        let health = self.health.lock();
        let those = |belief: fn(&Health) -> bool| -> NodeSet {
            NodeId::ALL.into_iter().filter(|id| belief(&health[id.index()])).collect()
        };
        let up = those(Health::is_up);
        if up.len() >= WRITE_QUORUM {
            return up;
        }
        those(|health| health.is_up() || health.is_on_probation())
    }

    /// A node keeps somebody waiting for longer than it should.
    pub(super) fn note_slow(&self, id: NodeId) {
        self.slow.lock().insert(id);
    }

    /// The nodes that were slow, and have answered no probe since.
    pub(super) fn slow(&self) -> NodeSet {
        *self.slow.lock()
    }

    /// What is believed of a node.
    pub fn health(&self, id: NodeId) -> Health {
        self.health.lock()[id.index()].clone()
    }

    /// What else was last heard of a node.
    pub fn seen(&self, id: NodeId) -> Seen {
        self.seen.lock()[id.index()].clone()
    }

    /// What the clock of [`Health::since`] and [`Seen::answered`] says.
    pub fn now(&self) -> Duration {
        (self.clock)()
    }

    /// Notes what a node has answered to a probe.
    pub fn note_alive(&self, id: NodeId, alive: &Alive) {
        let now = self.now();
        let seen = &mut self.seen.lock()[id.index()];
        (seen.answered, seen.room, seen.journal) = (Some(now), alive.room, Some(alive.journal));
        seen.trouble = alive.trouble.clone();
    }

    /// Notes how far a node's journal is.
    pub fn note_journal(&self, id: NodeId, journal: JournalState) {
        self.seen.lock()[id.index()].journal = Some(journal);
    }

    /// Refuses a piece that a node cannot take by its last answer, before anything is sent.
    ///
    /// # Errors
    /// [`NodeFailure::NoSpace`] or [`NodeFailure::DiskFailed`] of this node.
    pub fn check_room(&self, id: NodeId, meta: &PieceMeta) -> Result<()> {
        let (room, trouble) = {
            let seen = &self.seen.lock()[id.index()];
            (seen.room, seen.trouble.clone())
        };
        match trouble {
            Some(DiskTrouble::NotWritable(why)) => {
                let why = NodeFailure::DiskFailed(format!("it may not write to {why}"));
                return Err(Error::node(id, why));
            }
            Some(DiskTrouble::Full(why)) => {
                return Err(Error::node(id, NodeFailure::NoSpace(why)));
            }
            Some(DiskTrouble::NoInodes | DiskTrouble::Failing(_)) | None => {}
        }
        let Some(room) = room else {
            return Ok(());
        };
        let piece_bytes = meta.piece_bytes();
        let (left, what) = if meta.repair {
            (room.free_bytes, "are free")
        } else {
            (room.spare_bytes, "are left above the reserve")
        };
        if piece_bytes <= left {
            return Ok(());
        }
        let figures = format!(": the piece needs {piece_bytes} bytes, {left} {what}");
        Err(Error::node(id, NodeFailure::NoSpace(figures)))
    }

    /// Has this called, once, with every node that is lost from now on.
    pub fn when_lost(&self, tell: Box<dyn Fn(NodeId) + Send + Sync>) {
        // There is one set of attendants; a second one would find the first called.
        let _ = self.when_lost.set(tell);
    }

    /// How often a node has been lost.
    pub fn times_lost(&self, id: NodeId) -> u64 {
        self.times_lost[id.index()].load(Ordering::SeqCst)
    }

    /// How often a node has come up: whoever remembers it notices that it has come up again.
    pub fn times_up(&self, id: NodeId) -> u64 {
        self.times_up[id.index()].load(Ordering::SeqCst)
    }

    /// How often each node has moved to another address, and so become another one.
    pub fn moves(&self) -> [u64; 4] {
        std::array::from_fn(|at| self.moves[at].load(Ordering::SeqCst))
    }

    /// Looks for a node at another address from now on; until it has answered there it is not up.
    pub fn move_node(&self, id: NodeId, address: &str) {
        self.nodes[id.index()].move_to(address);
        self.moves[id.index()].fetch_add(1, Ordering::SeqCst);
        self.leadership.forget(id);
        self.seen.lock()[id.index()] = Seen::default();
        let why = NodeFailure::Unreachable("it is being replaced".into());
        // What is believed is all that matters here.
        let _ = self.heard::<()>(id, Err(Error::Node { node: id, why }));
    }

    /// Why each of these nodes that is not up is not.
    pub fn troubles(&self, among: NodeSet) -> Troubles {
        let away = among.and(self.up().complement());
        let health = self.health.lock();
        let mut troubles = Troubles::default();
        for id in away.iter() {
            troubles.note(id, health[id.index()].why());
        }
        troubles
    }

    /// Takes in how a talk with a node went, and passes the result on. True in the second place if
    /// the node has just come up.
    pub fn heard<T>(&self, id: NodeId, result: Result<T>) -> (Result<T>, bool) {
        let heard = match &result {
            Ok(_) => Heard::Answer,
            Err(Error::Node { why: NodeFailure::Late(why), .. }) => Heard::Silence(why.clone()),
            Err(Error::Node { why: NodeFailure::Unreachable(why), .. }) => {
                Heard::Refusal(why.clone())
            }
            Err(Error::Node { why: NodeFailure::Fenced { epoch }, .. }) => {
                self.leadership.refused(id, *epoch);
                return (result, false);
            }
            // It is there, even if it could not help.
            Err(_) => return (result, false),
        };
        self.believe(id, result, heard)
    }

    /// As [`Roster::heard`], for a probe: a node that is there and refuses the server (it is another
    /// node, or of another cluster) is no use either, and says why.
    pub fn probed(&self, id: NodeId, result: Result<()>) -> (Result<()>, bool) {
        match result {
            Err(Error::Node { why: NodeFailure::Refused(why), node }) => {
                let refused = Err(Error::Node { why: NodeFailure::Refused(why.clone()), node });
                self.believe(id, refused, Heard::Refusal(why))
            }
            result => self.heard(id, result),
        }
    }

    /// As [`Roster::probed`], for a node on probation that was to write to its disk.
    pub fn proved(&self, id: NodeId, result: Result<()>) -> (Result<()>, bool) {
        match result {
            Ok(()) => self.believe(id, Ok(()), Heard::Proof),
            failed => self.heard(id, failed),
        }
    }

    fn believe<T>(&self, id: NodeId, result: Result<T>, heard: Heard) -> (Result<T>, bool) {
        let is_up = matches!(heard, Heard::Answer | Heard::Proof);
        if is_up {
            self.leadership.registered(id);
            self.slow.lock().remove(id);
        }
        let changed = self.health.lock()[id.index()].hear(heard, (self.clock)());
        if changed && !is_up {
            self.nodes[id.index()].forget_connections();
            let why = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
            tracing::warn!("lost data server {id}: {why}");
            self.times_lost[id.index()].fetch_add(1, Ordering::SeqCst);
            if let Some(tell) = self.when_lost.get() {
                tell(id);
            }
        }
        if changed && is_up {
            self.times_up[id.index()].fetch_add(1, Ordering::SeqCst);
        }
        (result, changed && is_up)
    }

    /// As [`Roster::heard`], for real traffic: a failure takes the node off the list at once, an
    /// answer puts none on it, since what came back must first be given what it is owed.
    ///
    /// # Errors
    /// Those of `result`.
    pub fn used<T>(&self, id: NodeId, result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => self.heard(id, Err(error)).0,
        }
    }

    /// May this server read its catalog and its nodes now?
    ///
    /// # Errors
    /// [`Error::TakenOver`], [`Error::NotReady`].
    pub fn may_read(&self) -> Result<()> {
        self.await_phase(LeadershipPhase::Reading)?;
        if self.leadership.phase() >= LeadershipPhase::Reading {
            return Ok(());
        }
        let heard = Reached(self.leadership.who_registered());
        Err(Error::NotReady { heard, troubles: self.troubles(heard.0.complement()) })
    }

    /// May this server change anything now? For what can be refused before it begins.
    ///
    /// # Errors
    /// [`Error::TakenOver`], [`Error::NotReady`], [`Error::TooFewToChange`]; [`Code::Temporary`] while
    /// it takes up the nodes' journals.
    pub fn may_change(&self) -> Result<()> {
        self.leadership.check()?;
        let up = self.up();
        if up.len() < WRITE_QUORUM {
            let troubles = self.troubles(NodeSet::ALL);
            return Err(Error::TooFewToChange { reached: Reached(up), troubles });
        }
        self.await_phase(LeadershipPhase::Leading)?;
        if self.leadership.phase() < LeadershipPhase::Leading {
            self.may_read()?;
            let text = "the server is still taking up the nodes' journals, try again in a moment";
            return Err(Error::other(Code::Temporary, text));
        }
        Ok(())
    }

    /// Gives a server that has just started, or is just reaching its nodes, a moment.
    /// May anybody wait for what others do meanwhile?
    pub fn may_wait(&self) -> bool {
        self.may_wait
    }

    fn await_phase(&self, phase: LeadershipPhase) -> Result<()> {
        self.leadership.check()?;
        if self.may_wait && self.leadership.phase() < phase {
            self.leadership.wait(phase, LEADING_SOON);
        }
        self.leadership.check()
    }

    /// Says good-bye to every node that is up, as far as they take it.
    pub fn say_bye(&self) {
        for id in self.up().iter() {
            if let Err(error) = self.node(id).bye() {
                tracing::debug!("data server {id} did not take a good-bye: {error}");
            }
        }
    }
}
