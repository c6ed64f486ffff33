//! One thread for each node that looks after it: is it there, has it been given all it is owed?
//!
//! ```text
//!        ┌──────────── twice a second, or when woken ──────────┐
//!        v                                                    │
//!   probe ──silent──────────────────────────────────────────> │
//!     │ answers                                               │
//!     ├─ just came up: drop what it has staged in vain        │
//!     └─ deliver orders, oldest first ── rebuild one piece ───┘
//! ```
//!
//! Orders about one path are delivered in the order in which they were recorded; each can be
//! repeated without harm, so a crash anywhere costs only a repetition.

use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::core::catalog::{Catalog, Owed, Task};
use crate::core::cluster::readers::Readers;
use crate::core::cluster::rebuild::Lacking;
use crate::core::cluster::volume::Volume;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, NodeSet, READ_QUORUM, VersionId};
use crate::core::wire::node::{ORDERS_MAX, Order, Outcome, PieceMeta, Place};

/// How often a node is probed that nothing else is said to.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How often a node that cannot be reached is mentioned in the log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// How long after it came up it is looked through again: a node that had hung may at first still
/// have been busy with what was sent to it before.
const SWEEP_AGAIN: Duration = Duration::from_secs(10);

/// How long repairs rest after a round in which some failed.
const REBUILD_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How often a node's staging is looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Wakes the attendants of all nodes when there is something to deliver.
#[derive(Clone)]
pub struct Bell {
    wake: Vec<Sender<()>>,
}

impl Bell {
    /// A bell that nobody hears, where the attendants' rounds are called by hand.
    pub fn mute() -> Bell {
        Bell { wake: Vec::new() }
    }

    /// Wakes them; those that are at work look again afterwards.
    pub fn ring(&self) {
        for wake in &self.wake {
            // A full channel means that it has been rung already.
            let _ = wake.try_send(());
        }
    }
}

/// Starts the four attendants. They run until the process ends.
///
/// # Errors
/// If the system has no threads left.
pub fn start(catalog: &Arc<Catalog>, volume: &Arc<Volume>, readers: &Arc<Readers>) -> Result<Bell> {
    let mut wake = Vec::new();
    for id in NodeId::ALL {
        let (ring, rung) = bounded(1);
        let mut attendant = Attendant::new(id, catalog.clone(), volume.clone(), readers.clone());
        thread::Builder::new()
            .name(format!("attendant of node {id}"))
            .spawn(move || attendant.run(&rung))
            .map_err(Error::io("cannot start a thread"))?;
        wake.push(ring);
    }
    Ok(Bell { wake })
}

/// Looks after one node.
pub struct Attendant {
    id: NodeId,
    catalog: Arc<Catalog>,
    volume: Arc<Volume>,
    readers: Arc<Readers>,
    complained: Option<Duration>,
    /// When to look through its staging next; nothing if it has just come up.
    sweep_at: Option<Duration>,
    /// Repairs up to this row have been tried in this round and have failed.
    rebuild_after: i64,
    /// When the next round of repairs begins, if some failed in the last one.
    rebuild_pause: Option<Duration>,
}

impl Attendant {
    /// The attendant of this node.
    pub fn new(
        id: NodeId,
        catalog: Arc<Catalog>,
        volume: Arc<Volume>,
        readers: Arc<Readers>,
    ) -> Attendant {
        Attendant {
            id,
            catalog,
            volume,
            readers,
            complained: None,
            sweep_at: None,
            rebuild_after: 0,
            rebuild_pause: None,
        }
    }

    fn run(&mut self, rung: &Receiver<()>) {
        let start = Instant::now();
        loop {
            // Without its attendant a node would never be given what it is owed.
            let round = AssertUnwindSafe(|| self.round(start.elapsed()));
            if panic::catch_unwind(round).unwrap_or(false) {
                continue;
            }
            // Rung or not, there may be something to do; while a node is down, nothing is.
            let rung = rung.recv_timeout(PROBE_EVERY).is_ok();
            if rung && !self.volume.roster().up().contains(self.id) {
                thread::sleep(PROBE_EVERY);
            }
            if !rung && let Err(error) = self.catalog.strike_settled() {
                tracing::warn!("{error}");
            }
        }
    }

    /// One look at the node: probes it and does what there is to do. True if there is more. `now`
    /// counts from any fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        let standing = self.volume.roster().standing();
        // A server that was taken over has nothing more to say; one that an older one may still be
        // beside must not yet drop or order anything.
        standing.check().is_ok()
            && self.probe(now)
            && self.volume.roster().standing().is_established()
            && self.work(now).unwrap_or_else(|error| {
                tracing::warn!("data server {}: {error}", self.id);
                false
            })
    }

    /// True if the node is up.
    fn probe(&mut self, now: Duration) -> bool {
        let roster = self.volume.roster();
        let (answer, came_up) = roster.probed(self.id, roster.node(self.id).ping());
        if came_up {
            tracing::info!("connected to data server {}", self.id);
            if roster.up() == NodeSet::ALL {
                tracing::info!("Connected to all data servers.");
            }
            self.complained = None;
            self.sweep_at = None;
            self.rebuild_pause = None;
        }
        match answer {
            Ok(()) => true,
            Err(error) => {
                let is_fenced =
                    matches!(error, Error::Node { why: NodeFailure::Fenced { .. }, .. });
                if !is_fenced && self.complained.is_none_or(|at| now >= at + COMPLAIN_EVERY) {
                    self.complained = Some(now);
                    tracing::info!("still trying to connect to data server {}: {error}", self.id);
                }
                false
            }
        }
    }

    /// Does what there is to do; true if there is more.
    fn work(&mut self, now: Duration) -> Result<bool> {
        if self.sweep_at.is_none_or(|at| now >= at) {
            self.sweep()?;
            let pause = if self.sweep_at.is_none() { SWEEP_AGAIN } else { SWEEP_EVERY };
            self.sweep_at = Some(now + pause);
        }
        let delivered = self.deliver_orders();
        // An order that its disk refuses is no reason to leave pieces missing.
        let more = self.rebuild_one(now)?;
        delivered.map(|()| more)
    }

    /// Drops what the node has staged and nobody will commit: what a crash left behind.
    fn sweep(&self) -> Result<()> {
        let roster = self.volume.roster();
        let node = roster.node(self.id);
        let mut after = None;
        loop {
            let staged = roster.used(self.id, node.staged(after))?;
            let Some(last) = staged.last() else {
                return Ok(());
            };
            after = Some(*last);
            let orders = self.catalog.strays(self.id, &staged)?;
            for orders in orders.chunks(ORDERS_MAX) {
                tracing::info!(
                    "data server {}: {} abandoned pieces dropped",
                    self.id,
                    orders.len()
                );
                roster.used(self.id, node.carry(orders))?;
            }
        }
    }

    fn deliver_orders(&self) -> Result<()> {
        let mut after = 0;
        let mut held_back: HashSet<Place> = HashSet::new();
        loop {
            let batch = self.catalog.owed(self.id, false, after, ORDERS_MAX)?;
            let Some(last) = batch.last() else {
                return Ok(());
            };
            after = last.id;
            let ready: Vec<&Owed> =
                batch.iter().filter(|owed| self.is_ready(owed, &mut held_back)).collect();
            if !ready.is_empty() {
                self.deliver(&ready, &mut held_back)?;
            }
        }
    }

    /// What waits for a reader holds back all later orders about the same path, and no others.
    fn is_ready(&self, owed: &Owed, held_back: &mut HashSet<Place>) -> bool {
        let Some((place, seq)) = owed.task.place_and_seq() else {
            return true;
        };
        if held_back.contains(place) {
            return false;
        }
        if self.readers.holds_back(place, seq) {
            held_back.insert(place.clone());
            return false;
        }
        true
    }

    /// Has the node carry out orders and settles those that are done. One that failed comes again,
    /// and with it all later ones about its path: they must not overtake it.
    fn deliver(&self, ready: &[&Owed], held_back: &mut HashSet<Place>) -> Result<()> {
        let roster = self.volume.roster();
        let orders: Vec<Order> = ready
            .iter()
            .filter_map(|owed| match &owed.task {
                Task::Order(order) => Some(order.clone()),
                Task::Repair { .. } => None,
            })
            .collect();
        let outcomes = roster.used(self.id, roster.node(self.id).carry(&orders))?;
        let mut done = Vec::new();
        for (owed, outcome) in ready.iter().zip(outcomes) {
            let place = owed.task.place_and_seq().map(|(place, _)| place);
            if place.is_some_and(|place| held_back.contains(place)) {
                continue;
            }
            match (outcome, &owed.task) {
                (Outcome::NotHeld, Task::Order(Order::Commit { version, place, .. })) => {
                    tracing::warn!("data server {} lost its piece of {place}", self.id);
                    self.catalog.piece_lost(self.id, *version, Some(owed.id))?;
                }
                (Outcome::Done | Outcome::NotHeld, _) => done.push(owed.id),
                (Outcome::Failed(why), _) => {
                    tracing::warn!("data server {}: an order comes again later: {why}", self.id);
                    held_back.extend(place.cloned());
                }
            }
        }
        self.catalog.settle(&done);
        Ok(())
    }

    /// Rebuilds one piece; true if there are more to rebuild.
    fn rebuild_one(&mut self, now: Duration) -> Result<bool> {
        if self.rebuild_pause.is_some_and(|until| now < until) {
            return Ok(false);
        }
        let mut others = self.volume.roster().up();
        others.remove(self.id);
        if others.len() < READ_QUORUM {
            return Ok(false);
        }
        let owed = self.catalog.owed(self.id, true, self.rebuild_after, 1)?;
        let Some(Owed { id, task: Task::Repair { version, place } }) = owed.first() else {
            let failed_some = std::mem::take(&mut self.rebuild_after) > 0;
            self.rebuild_pause = failed_some.then_some(now + REBUILD_AGAIN_AFTER);
            return Ok(false);
        };
        let Some(lacking) = self.lacking(*version, place)? else {
            // Replaced or removed meanwhile.
            self.catalog.settle(&[*id]);
            return Ok(true);
        };
        let rebuilt = self.volume.rebuild(self.id, &lacking);
        for node in rebuilt.unsound.iter().filter(|node| *node != self.id) {
            self.catalog.piece_lost(node, *version, None)?;
        }
        match rebuilt.outcome {
            Ok(bytes_read) => {
                if !self.catalog.piece_rebuilt(self.id, *version, *id)? {
                    self.volume.discard(*version, NodeSet::from_iter([self.id]));
                }
                tracing::info!(
                    "data server {}: its piece of {place} is rebuilt ({bytes_read} bytes read from \
                     the others)",
                    self.id
                );
                self.deliver_orders()?;
            }
            Err(error) => {
                if self.rebuild_pause.is_none() {
                    tracing::info!("data server {}: {place} is rebuilt later: {error}", self.id);
                }
                // One that cannot be rebuilt now does not hold up the others.
                self.rebuild_after = *id;
            }
        }
        Ok(true)
    }

    fn lacking(&self, version: VersionId, place: &Place) -> Result<Option<Lacking>> {
        Ok(self.catalog.version(version)?.map(|record| Lacking {
            meta: PieceMeta {
                version,
                seq: record.seq,
                place: place.clone(),
                file_bytes: record.bytes,
                stored_ms: record.stored_ms,
            },
            blake3: record.blake3,
            placed: record.placed,
        }))
    }
}
