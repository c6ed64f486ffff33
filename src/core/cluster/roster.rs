//! The four nodes and what is believed of each.
//!
//! Real traffic and the attendants' probes feed the same belief: whoever finds a node silent tells
//! everyone, and nobody else waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::core::cluster::again::Again;
use crate::core::cluster::node::Node;
use crate::core::cluster::standing::Standing;
use crate::core::error::{Error, NodeFailure, Reached, Result, Troubles};
use crate::core::health::{Health, Heard};
use crate::core::types::{CONFIRM_QUORUM, NodeId, NodeSet, WRITE_QUORUM};
use crate::core::wire::node::{PieceMeta, Room};

/// The nodes, in order.
pub struct Roster {
    nodes: [Arc<dyn Node>; 4],
    health: Mutex<[Health; 4]>,
    seen: Mutex<[Seen; 4]>,
    clock: Clock,
    standing: Standing,
    /// Called with a node that has just been lost.
    when_lost: OnceLock<Box<dyn Fn(NodeId) + Send + Sync>>,
    /// How often each has been lost.
    times_lost: [AtomicU64; 4],
    /// How often each has come up.
    times_up: [AtomicU64; 4],
    /// How often each has moved.
    moves: [AtomicU64; 4],
    /// Up to which entry of the journal each has certainly a copy of the catalog's backup.
    backed_up: [AtomicU64; 4],
    /// Held while names change on a node, or while somebody acts on what lay under one.
    names: [Mutex<()>; 4],
    again: Again,
}

/// Tells how long ago some fixed moment was.
pub type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// What else was last heard of a node.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    /// When it last answered a probe, by the roster's clock.
    pub answered: Option<Duration>,
    /// The room on its disk by its last answer, if it could tell.
    pub room: Option<Room>,
    /// Why its disk did not carry out some order in the last delivery, if it did not.
    pub refused_order: Option<String>,
}

impl Roster {
    /// Nothing is believed of any node yet.
    pub fn new(nodes: [Arc<dyn Node>; 4]) -> Roster {
        let start = Instant::now();
        Roster::with_clock(nodes, Box::new(move || start.elapsed()))
    }

    /// The same with a clock of the caller's, for simulations.
    pub fn with_clock(nodes: [Arc<dyn Node>; 4], clock: Clock) -> Roster {
        let health = std::array::from_fn(|_| Health::unknown(clock()));
        Roster {
            nodes,
            health: Mutex::new(health),
            seen: Mutex::default(),
            clock,
            standing: Standing::default(),
            when_lost: OnceLock::new(),
            times_lost: Default::default(),
            times_up: Default::default(),
            moves: Default::default(),
            backed_up: Default::default(),
            names: Default::default(),
            again: Again::default(),
        }
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Arc<dyn Node> {
        &self.nodes[id.index()]
    }

    /// Whether this server is still the cluster's.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Requests to try at once what is owed.
    pub fn again(&self) -> &Again {
        &self.again
    }

    /// The nodes that requests may be sent to: those that are up, and where they are too few for a
    /// store also those on probation. None once another server has taken over.
    pub fn up(&self) -> NodeSet {
        if self.standing.check().is_err() {
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

    /// Notes that a node has answered a probe, and the room on its disk.
    pub fn note_answer(&self, id: NodeId, room: Option<Room>) {
        let now = self.now();
        let seen = &mut self.seen.lock()[id.index()];
        (seen.answered, seen.room) = (Some(now), room);
    }

    /// Notes how the last delivery of orders to a node went: why one was not carried out, if so.
    pub fn note_delivery(&self, id: NodeId, refused_order: Option<String>) {
        self.seen.lock()[id.index()].refused_order = refused_order;
    }

    /// Refuses a piece that a node has no room for by its last answer, before anything is sent.
    ///
    /// # Errors
    /// [`NodeFailure::NoSpace`] of this node.
    pub fn check_room(&self, id: NodeId, meta: &PieceMeta) -> Result<()> {
        let Some(room) = self.seen.lock()[id.index()].room else {
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
        self.note_backup(id, 0);
        let why = NodeFailure::Unreachable("it is being replaced".into());
        // What is believed is all that matters here.
        let _ = self.heard::<()>(id, Err(Error::Node { node: id, why }));
    }

    /// Notes up to which entry of the journal a node has the catalog's backup.
    pub fn note_backup(&self, id: NodeId, entry: u64) {
        self.backed_up[id.index()].store(entry, Ordering::SeqCst);
    }

    /// The nodes that have the catalog's backup up to this entry of the journal. That is on their
    /// disks, so one that has gone away since counts.
    pub fn backed_up(&self, entry: u64) -> NodeSet {
        let has = |id: &NodeId| self.backed_up[id.index()].load(Ordering::SeqCst) >= entry;
        NodeId::ALL.into_iter().filter(has).collect()
    }

    /// Is this entry of the journal on so many nodes that a recovery from any two knows it?
    pub fn is_recorded(&self, entry: u64) -> bool {
        entry == 0 || self.backed_up(entry).len() >= WRITE_QUORUM
    }

    /// Keeps names on a node from being changed by a move, until what this gives is dropped.
    pub fn keep_names(&self, id: NodeId) -> MutexGuard<'_, ()> {
        self.names[id.index()].lock()
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
                self.standing.taken_over(id, *epoch);
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

    fn believe<T>(&self, id: NodeId, result: Result<T>, heard: Heard) -> (Result<T>, bool) {
        let is_up = heard == Heard::Answer;
        if is_up {
            self.standing.registered(id);
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

    /// May this server change anything now? Asks nobody; for what can be refused before it begins.
    ///
    /// # Errors
    /// [`Error::TakenOver`], [`Error::NotRegistered`], [`Error::TooFewToChange`].
    pub fn may_change(&self) -> Result<()> {
        self.standing.check()?;
        let up = self.up();
        if up.len() < CONFIRM_QUORUM {
            let troubles = self.troubles(NodeSet::ALL);
            return Err(Error::TooFewToChange { reached: Reached(up), troubles });
        }
        if !self.standing.is_established() {
            let missing = self.standing.who_registered().complement();
            return Err(Error::NotRegistered(self.troubles(missing)));
        }
        Ok(())
    }

    /// Has two nodes confirm that they serve this server. Asked between a change and its answer: no
    /// other server can have changed anything before that change then, see [`Standing`].
    ///
    /// # Errors
    /// [`Error::TakenOver`], [`Error::Unconfirmed`]: the change must not be answered as done.
    pub fn confirm(&self) -> Result<()> {
        let mut confirmed = NodeSet::EMPTY;
        for id in self.up().iter() {
            if self.used(id, self.node(id).ping()).is_ok() {
                confirmed.insert(id);
            }
            self.standing.check()?;
            if confirmed.len() == CONFIRM_QUORUM {
                return Ok(());
            }
        }
        self.standing.check()?;
        let troubles = self.troubles(confirmed.complement());
        Err(Error::Unconfirmed { reached: Reached(confirmed), troubles })
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
