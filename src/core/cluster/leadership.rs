//! Is this server the one that the nodes serve, and how far is it?
//!
//! ```text
//!   Starting ──two journals heard──> Reading ──its own entry on three nodes──> Leading
//!      │  ^            │                                              a node serves another
//!      └──│── refused ─┴── another server, or a copy at work ──────────────┴──> taken over
//!         └───── with a higher epoch, if it was its own former run
//! ```
//!
//! Before it has heard two nodes' journals a server does not know what was changed since its catalog was
//! last written. Before an entry of its own epoch is on three nodes it changes nothing. Once another
//! server has registered with three nodes, these refuse this one, so it decides nothing any more. That
//! it was taken over a server learns from any node, and it is final. One that has not led yet and is
//! refused first looks by whom (`takeup.rs`), and does nothing meanwhile.
//!
//! Its tests are in `tests/interleavings.rs`, which explores this file.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::core::error::{Code, Error, Result};
use crate::core::types::{Claim, NodeId, NodeSet};

/// How far a server is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum LeadershipPhase {
    /// It has not heard enough journals.
    #[default]
    Starting,
    /// Its catalog is what the nodes' journals say.
    Reading,
    /// An entry of its own epoch is decided.
    Leading,
}

/// What the nodes have made of this server.
#[derive(Default)]
pub struct Leadership {
    inner: Mutex<Inner>,
    changed: Condvar,
    taken_over: OnceLock<u64>,
}

#[derive(Default)]
struct Inner {
    /// What it registers with; `None` where nobody leads.
    claim: Option<Claim>,
    registered: NodeSet,
    phase: LeadershipPhase,
    /// The node that has refused it before it led, and the epoch there.
    refused: Option<(NodeId, u64)>,
}

impl Leadership {
    /// A node has welcomed this server.
    pub(super) fn registered(&self, node: NodeId) {
        self.inner.lock().registered.insert(node);
    }

    /// A node is another one now: what the former one had registered does not count.
    pub(super) fn forget(&self, node: NodeId) {
        self.inner.lock().registered.remove(node);
    }

    /// It registers with this, and begins from the beginning.
    pub(super) fn begin(&self, claim: Claim) {
        let mut inner = self.inner.lock();
        *inner = Inner { claim: Some(claim), ..Inner::default() };
        self.changed.notify_all();
    }

    /// What it registers with.
    pub fn claim(&self) -> Option<Claim> {
        self.inner.lock().claim
    }

    /// The epoch of what it does; 0 where nobody leads.
    pub(super) fn epoch(&self) -> u64 {
        self.claim().map_or(0, |claim| claim.epoch)
    }

    /// A node has refused this server, since it serves another with this epoch.
    pub(super) fn refused(&self, node: NodeId, epoch: u64) {
        let mut inner = self.inner.lock();
        if inner.phase < LeadershipPhase::Leading {
            inner.refused.get_or_insert((node, epoch));
            return;
        }
        drop(inner);
        self.taken_over(node, epoch);
    }

    /// Who has refused it, if that is open.
    pub(super) fn refusal(&self) -> Option<(NodeId, u64)> {
        self.inner.lock().refused.filter(|_| self.taken_over.get().is_none())
    }

    /// Nobody refuses it any more.
    pub(super) fn go_on(&self) {
        self.inner.lock().refused = None;
    }

    /// Another server leads, with this epoch; a node has said so.
    pub(super) fn taken_over(&self, node: NodeId, epoch: u64) {
        if self.taken_over.set(epoch).is_ok() {
            tracing::error!(
                "data server {node}: another server has taken over (epoch {epoch}); this one serves \
                 no longer"
            );
        }
        // Under the lock: whoever has just looked and found nothing is waiting by then, and is woken.
        let _looked = self.inner.lock();
        self.changed.notify_all();
    }

    pub(super) fn advance(&self, phase: LeadershipPhase) {
        let mut inner = self.inner.lock();
        inner.phase = inner.phase.max(phase);
        self.changed.notify_all();
        let refused = inner.refused.filter(|_| phase == LeadershipPhase::Leading);
        drop(inner);
        if let Some((node, epoch)) = refused {
            self.taken_over(node, epoch);
        }
    }

    /// How far it is.
    pub fn phase(&self) -> LeadershipPhase {
        self.inner.lock().phase
    }

    /// The nodes that have registered this server since it started.
    pub fn who_registered(&self) -> NodeSet {
        self.inner.lock().registered
    }

    /// Does it lead: may it change things?
    pub fn is_established(&self) -> bool {
        self.phase() == LeadershipPhase::Leading && self.check().is_ok()
    }

    /// Waits until it is this far, or for so long; true if it is.
    pub(super) fn wait(&self, phase: LeadershipPhase, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        let mut inner = self.inner.lock();
        while inner.phase < phase && self.taken_over.get().is_none() {
            if self.changed.wait_until(&mut inner, deadline).timed_out() {
                break;
            }
        }
        inner.phase >= phase
    }

    /// Is it still the cluster's server, as far as it knows?
    ///
    /// # Errors
    /// [`Error::TakenOver`]; [`Code::Temporary`] while it looks who has refused it.
    pub fn check(&self) -> Result<()> {
        if let Some(epoch) = self.taken_over.get() {
            return Err(Error::TakenOver { epoch: *epoch });
        }
        if self.inner.lock().refused.is_some() {
            let text = "a node serves another run of a server; looking whether that one is at work";
            return Err(Error::other(Code::Temporary, text));
        }
        Ok(())
    }

    /// Has another server taken over?
    pub fn is_taken_over(&self) -> bool {
        self.taken_over.get().is_some()
    }

    /// Waits until another server has taken over, and gives that one's epoch.
    pub fn wait_until_taken_over(&self) -> u64 {
        *self.taken_over.wait()
    }
}
