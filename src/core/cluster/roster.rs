//! The four nodes and what is believed of each.
//!
//! Real traffic and the attendants' probes feed the same belief: whoever finds a node silent tells
//! everyone, and nobody else waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::cluster::node::Node;
use crate::core::cluster::standing::Standing;
use crate::core::error::{Error, NodeFailure, Reached, Result, Troubles};
use crate::core::health::{Health, Heard};
use crate::core::types::{CONFIRM_QUORUM, NodeId, NodeSet};

/// The nodes, in order.
pub struct Roster {
    nodes: [Arc<dyn Node>; 4],
    health: Mutex<[Health; 4]>,
    start: Instant,
    standing: Standing,
}

impl Roster {
    /// Nothing is believed of any node yet.
    pub fn new(nodes: [Arc<dyn Node>; 4]) -> Roster {
        let health = std::array::from_fn(|_| Health::unknown(Duration::ZERO));
        Roster {
            nodes,
            health: Mutex::new(health),
            start: Instant::now(),
            standing: Standing::default(),
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

    /// The nodes that requests may be sent to; none once another server has taken over.
    pub fn up(&self) -> NodeSet {
        if self.standing.check().is_err() {
            return NodeSet::EMPTY;
        }
        let health = self.health.lock();
        NodeId::ALL.into_iter().filter(|id| health[id.index()].is_up()).collect()
    }

    /// What is believed of a node.
    pub fn health(&self, id: NodeId) -> Health {
        self.health.lock()[id.index()].clone()
    }

    /// Why each of these nodes that is not up is not.
    pub fn troubles(&self, among: NodeSet) -> Troubles {
        let health = self.health.lock();
        let mut troubles = Troubles::default();
        for id in among.iter().filter(|id| !health[id.index()].is_up()) {
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
        let changed = self.health.lock()[id.index()].hear(heard, self.start.elapsed());
        if changed && !is_up {
            self.nodes[id.index()].forget_connections();
            let why = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
            tracing::warn!("lost data server {id}: {why}");
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
