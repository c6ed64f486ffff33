//! One thread for each node that looks after it: is it there, has it been given all it is owed?
//!
//! ```text
//!        ┌──────────── twice a second, or when woken ──────────┐
//!        v                                                    │
//!   probe ──silent──────────────────────────────────────────> │
//!     │ answers                                               │
//!     ├─ just came up: drop what it has staged in vain        │
//!     └─ deliver orders, oldest first ────────────────────────┘
//!          many at once ─ until a move ─ the move alone ─ many at once ─ ...
//! ```
//!
//! Missing pieces are another thread's matter (`heal.rs`): no order waits behind a long rebuilding.
//! Orders about one path are delivered in the order in which they were recorded; each can be
//! repeated without harm, so a crash anywhere costs only a repetition. A move changes what lies under
//! a name whatever its number, so nothing may be repeated beyond one: it is sent alone, when all that
//! was recorded before is done and struck out for good, and nothing behind it until it is, too. So a
//! reader who holds back an order holds back all behind the next move; what waits is served from
//! staging, or where it was before, meanwhile.

use std::collections::{HashMap, HashSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::core::catalog::{Catalog, Owed, Task};
use crate::core::cluster::again::{Tried, Work};
use crate::core::cluster::readers::Readers;
use crate::core::cluster::volume::Volume;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, NodeSet};
use crate::core::wire::node::{ORDERS_MAX, Order, Outcome, Place};

/// How often a node is probed that nothing else is said to.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How often a node that cannot be reached is mentioned in the log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// How long after it came up it is looked through again: a node that had hung may at first still
/// have been busy with what was sent to it before.
const SWEEP_AGAIN: Duration = Duration::from_secs(10);

/// How long an order rests that the node's disk has refused: doubled each time, up to the second.
const ORDER_RESTS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(300)];

/// So many refused orders are remembered; the others come again without a rest.
const RESTING_MAX: usize = 10_000;

/// How often a node's staging is looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Wakes those who look after the nodes when there is something to deliver or to rebuild.
#[derive(Clone)]
pub struct Bell {
    wake: Vec<Sender<()>>,
}

impl Bell {
    /// A bell that nobody hears, where the attendants' rounds are called by hand.
    pub fn mute() -> Bell {
        Bell { wake: Vec::new() }
    }

    /// One more who hears it, and its clones that are made from now on.
    pub fn listen(&mut self) -> Receiver<()> {
        let (ring, rung) = bounded(1);
        self.wake.push(ring);
        rung
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
    let mut bell = Bell::mute();
    for id in NodeId::ALL {
        let rung = bell.listen();
        let mut attendant = Attendant::new(id, catalog.clone(), volume.clone(), readers.clone());
        thread::Builder::new()
            .name(format!("attendant of node {id}"))
            .spawn(move || attendant.run(&rung))
            .map_err(Error::io("cannot start a thread"))?;
    }
    let attendants = bell.clone();
    volume.roster().when_lost(Box::new(move |_| attendants.ring()));
    Ok(bell)
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
    /// Why an order last failed.
    refusal: String,
    /// The last request to try all at once that was heard.
    asked: u64,
    /// Rows that its disk has refused, until when they rest, and how long that is.
    resting: HashMap<i64, (Duration, Duration)>,
    /// It has said that it is empty, and the catalog does not know yet.
    is_fresh: bool,
    /// A move is done and not struck out for good: nothing more is sent until it is.
    is_unstruck: bool,
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
            refusal: String::new(),
            asked: 0,
            resting: HashMap::new(),
            is_fresh: false,
            is_unstruck: false,
        }
    }

    fn run(&mut self, rung: &Receiver<()>) {
        let start = Instant::now();
        let mut times_lost = 0;
        loop {
            // Without its attendant a node would never be given what it is owed.
            let round = AssertUnwindSafe(|| self.round(start.elapsed()));
            if panic::catch_unwind(round).unwrap_or(false) {
                continue;
            }
            let rung = rung.recv_timeout(PROBE_EVERY).is_ok();
            let roster = self.volume.roster();
            let lost_before = std::mem::replace(&mut times_lost, roster.times_lost(self.id));
            // Rung or not, there may be something to do. While a node is down, nothing is; but one
            // that was lost just now may only have lost its connections.
            if rung && times_lost == lost_before && !roster.up().contains(self.id) {
                thread::sleep(PROBE_EVERY);
            }
            if !rung && let Err(error) = self.catalog.strike_settled() {
                tracing::warn!("{error}");
            }
        }
    }

    /// One look at the node: probes it and does what there is to do. True if something was delivered,
    /// since more may have come meanwhile. `now` counts from any fixed point.
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
        let roster = self.volume.roster().clone();
        let answer = roster.node(self.id).ping();
        if let Ok(room) = &answer {
            // Before it counts as up: nobody then stores on it without knowing its room.
            roster.note_answer(self.id, *room);
        }
        // Before anybody sends it anything: what it gets from then on is there.
        if answer.is_ok()
            && let Err(error) = self.notice_empty()
        {
            tracing::warn!("data server {}: {error}", self.id);
            return false;
        }
        let (answer, came_up) = roster.probed(self.id, answer.map(drop));
        if came_up {
            tracing::info!("connected to data server {}", self.id);
            if roster.up() == NodeSet::ALL {
                tracing::info!("Connected to all data servers.");
            }
            self.complained = None;
            self.sweep_at = None;
            self.resting.clear();
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
        let asked = self.volume.roster().again().asked();
        if asked != self.asked {
            self.asked = asked;
            self.resting.clear();
        }
        self.deliver_orders(now)
    }

    /// A node that has just joined the cluster has nothing. If it should have something, its folder
    /// was lost or another one was started in its place: all of it is owed to it.
    fn notice_empty(&mut self) -> Result<()> {
        self.is_fresh |= self.volume.roster().node(self.id).was_fresh();
        if self.is_fresh {
            let lost = self.catalog.node_is_empty(self.id)?;
            self.is_fresh = false;
            if lost > 0 {
                tracing::error!(
                    "data server {} HAS LOST ALL ITS PIECES: it was started with an empty folder, \
                     and {lost} pieces should be there. They are being rebuilt from the other \
                     nodes. If that was not meant to be, stop it and start it with its own folder",
                    self.id
                );
            }
        }
        Ok(())
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

    /// True if any was delivered.
    fn deliver_orders(&mut self, now: Duration) -> Result<bool> {
        if self.is_unstruck {
            self.catalog.strike_settled()?;
            self.is_unstruck = false;
        }
        let mut after = 0;
        let mut delivered = false;
        let mut held_back: HashSet<Place> = HashSet::new();
        loop {
            let batch = self.catalog.owed(self.id, false, after, ORDERS_MAX)?;
            let Some(last) = batch.last() else {
                self.note_tried((!self.resting.is_empty()).then(|| self.refusal.clone()));
                return Ok(delivered);
            };
            after = last.id;
            let barrier = batch.iter().position(|owed| {
                owed.task.is_move() || (owed.task.is_first() && self.rests(owed, now))
            });
            let ready: Vec<&Owed> = batch[..barrier.unwrap_or(batch.len())]
                .iter()
                .filter(|owed| self.is_ready(owed, &mut held_back, now))
                .collect();
            if !ready.is_empty() {
                delivered |= self.deliver(&ready, &mut held_back, now)?;
            }
            if ready.iter().any(|owed| owed.task.is_first() && self.rests(owed, now)) {
                self.note_tried(Some(self.refusal.clone()));
                return Ok(delivered);
            }
            if let Some(barrier) = barrier.map(|at| &batch[at]) {
                if let Some(why) = self.move_names(barrier, now)? {
                    self.note_tried(Some(why));
                    return Ok(delivered);
                }
                (after, delivered) = (barrier.id, true);
            }
        }
    }

    /// Has the node make a move, if everything before it is done. Gives why not, if it has not.
    fn move_names(&mut self, owed: &Owed, now: Duration) -> Result<Option<String>> {
        let Task::Order(order) = &owed.task else { return Ok(None) };
        if self.rests(owed, now) {
            return Ok(Some(self.refusal.clone()));
        }
        self.catalog.strike_settled()?;
        if self.catalog.is_owed_before(self.id, owed.id)? {
            return Ok(Some("a move waits for what was ordered before it".into()));
        }
        let roster = self.volume.roster().clone();
        if !roster.is_recorded(owed.entry) {
            return Ok(Some("a move waits until its record is on enough nodes".into()));
        }
        if let Order::MoveFile { user, to, .. } = order
            && self.readers.holds_back(&Place { user: user.clone(), path: to.clone() }, owed.seq)
        {
            return Ok(Some("a move waits for a reader of what it replaces".into()));
        }
        let names = roster.keep_names(self.id);
        let carried = roster.node(self.id).carry(std::slice::from_ref(order));
        drop(names);
        match roster.used(self.id, carried)?.pop() {
            Some(Outcome::Done) => {
                self.resting.remove(&owed.id);
                self.is_unstruck = true;
                self.catalog.settle(&[owed.id]);
                self.catalog.strike_settled()?;
                self.is_unstruck = false;
                Ok(None)
            }
            Some(Outcome::Failed(why)) => {
                tracing::warn!("data server {}: a move comes again later: {why}", self.id);
                self.rest(owed.id, now);
                self.refusal.clone_from(&why);
                Ok(Some(why))
            }
            Some(Outcome::NotHeld) | None => {
                let why = NodeFailure::Refused("it answered something else".into());
                Err(Error::node(self.id, why))
            }
        }
    }

    /// Was it refused, and is not to be tried again yet?
    fn rests(&self, owed: &Owed, now: Duration) -> bool {
        self.resting.get(&owed.id).is_some_and(|(until, _)| now < *until)
    }

    /// All has been tried once; why something could not be done, if so.
    fn note_tried(&self, why: Option<String>) {
        let roster = self.volume.roster();
        roster.again().note(self.id, Work::Orders, Tried { asked: self.asked, why });
        // What only waits is no refusal of the node's disk.
        let refused = (!self.resting.is_empty()).then(|| self.refusal.clone());
        roster.note_delivery(self.id, refused);
    }

    /// What waits for a reader, or rests, holds back all later orders about the same path, and no
    /// others.
    fn is_ready(&self, owed: &Owed, held_back: &mut HashSet<Place>, now: Duration) -> bool {
        let rests = self.rests(owed, now);
        let Some((place, seq)) = owed.task.place_and_seq() else {
            return !rests;
        };
        if held_back.contains(place) {
            return false;
        }
        if rests || self.readers.holds_back(place, seq) {
            held_back.insert(place.clone());
            return false;
        }
        true
    }

    /// Has the node carry out orders and settles those that are done. One that failed comes again,
    /// and with it all later ones about its path: they must not overtake it. True if any was done.
    fn deliver(
        &mut self,
        ready: &[&Owed],
        held_back: &mut HashSet<Place>,
        now: Duration,
    ) -> Result<bool> {
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
                    self.resting.remove(&owed.id);
                }
                (Outcome::Done | Outcome::NotHeld, _) => done.push(owed.id),
                (Outcome::Failed(why), _) => {
                    tracing::warn!("data server {}: an order comes again later: {why}", self.id);
                    held_back.extend(place.cloned());
                    self.rest(owed.id, now);
                    self.refusal = why;
                }
            }
        }
        self.resting.retain(|id, _| !done.contains(id));
        self.catalog.settle(&done);
        Ok(!done.is_empty())
    }

    /// An order that the disk refuses for good is not tried twice a second for ever.
    fn rest(&mut self, id: i64, now: Duration) {
        let [shortest, longest] = ORDER_RESTS;
        let pause = self.resting.get(&id).map_or(shortest, |(_, last)| (2 * *last).min(longest));
        if self.resting.len() < RESTING_MAX || self.resting.contains_key(&id) {
            self.resting.insert(id, (now + pause, pause));
        }
    }
}
