//! The journal on its way to the nodes: the rules are Raft's, with this server as the leader and nodes
//! that only vote and keep.
//!
//! ```text
//!   committer ── offer ──> recent entries ──┬─ sender of node 1 ── append ──> journal of node 1
//!        ^                 (with their      ├─ sender of node 2
//!        │                  pieces)         ├─ sender of node 3
//!        └── three nodes have them ─────────┴─ sender of node 4
//! ```
//!
//! A node that has all but the newest group is served by the committer's own thread, which sends to all
//! such nodes and then waits for their answers: nobody has to be woken. The senders' threads serve those
//! that lag behind, and take over one that is slower than it is worth.
//!
//! A sender knows the last entry that its node's journal shares with this one, and sends what follows:
//! recent entries from memory, with the small files' pieces; older ones from the catalog, without. A
//! node that lacks more than the catalog's journal still has gets a snapshot first. What a node has in
//! its journal is on its disk, so it counts also when the node goes away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::core::catalog::{Catalog, Pending};
use crate::core::cluster::node::PendingAppend;
use crate::core::cluster::roster::Roster;
use crate::core::code::coded::CodedStripe;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, NodeSet, WRITE_QUORUM};
use crate::core::wire::journal::{Entry, JournalState, Point};
use crate::core::wire::node::{Append, BODY_BYTES_MAX, ENTRIES_MAX, ENTRY_BYTES_MAX, InlinePiece};

/// Recent entries are kept in memory up to this many bytes, so that a node that was away for a moment
/// still gets the pieces that travel with them.
const RECENT_BYTES_MAX: usize = 64 << 20;

/// How long three nodes are waited for before those who wait for a change are told that it is in doubt.
pub(super) const DECIDED_WITHIN: Duration = Duration::from_secs(6);

/// A node that has not confirmed when three others have gets at least as long again.
const GRACE_MIN: Duration = Duration::from_millis(100);

/// How long one node is waited for before it is looked whether others have answered.
const ANSWER_STEP: Duration = Duration::from_millis(20);

/// The committer's thread sends no more than this to a node: as much as the system's buffers take at once,
/// also for a node that has stopped reading.
const SERVED_BYTES_MAX: usize = 64 << 10;

/// A node that has more than this of small files' pieces still to write out does not keep up.
const BACKLOG_BYTES_HIGH: u64 = 128 << 20;

/// How long a node that is down, or has failed, is left alone by its sender.
const SENDER_PAUSE: Duration = Duration::from_millis(200);

/// How long a sender rests that has sent everything.
const SENDER_IDLE: Duration = Duration::from_millis(500);

/// The journal as this server sends it.
pub struct Replication {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    state: Mutex<State>,
    /// Notified when there is something to send.
    offered: Condvar,
    /// Notified when a node has confirmed something.
    confirmed: Condvar,
    senders: [Mutex<Sender>; 4],
}

struct State {
    /// Without gaps; the last one is the journal's last.
    recent: VecDeque<Pending>,
    recent_bytes: usize,
    end: Point,
    decided: u64,
    /// What every node certainly has of this journal.
    confirmed: [Option<u64>; 4],
    /// The nodes to which entries that are not decided have been sent.
    tried: NodeSet,
    /// The nodes that need a snapshot before they can go on.
    wants_snapshot: NodeSet,
    /// The nodes that were restarted before anybody noticed: where they are has to be found again.
    set_back: NodeSet,
}

/// What is known of one node.
#[derive(Default)]
struct Sender {
    /// What it was sent and has not answered yet, and the last entry of it.
    unanswered: Option<(Box<dyn PendingAppend>, Point)>,
    /// The last entry that its journal shares with this one; `None` if that has to be found.
    position: Option<Point>,
    /// Whether a failure was told in the log.
    complained: bool,
    /// How often the node had moved to another address when it was last looked at.
    moves: u64,
}

impl Replication {
    /// Begins where the catalog ends.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn new(catalog: Arc<Catalog>, roster: Arc<Roster>) -> Result<Replication> {
        let end = catalog.end()?;
        let state = State {
            recent: VecDeque::new(),
            recent_bytes: 0,
            end,
            decided: 0,
            confirmed: [None; 4],
            tried: NodeSet::EMPTY,
            wants_snapshot: NodeSet::EMPTY,
            set_back: NodeSet::EMPTY,
        };
        Ok(Replication {
            catalog,
            roster,
            state: Mutex::new(state),
            offered: Condvar::new(),
            confirmed: Condvar::new(),
            senders: Default::default(),
        })
    }

    /// The catalog has taken up other journals: the history goes on from its end.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub(super) fn restart(&self) -> Result<()> {
        let end = self.catalog.end()?;
        // What a node is just confirming is of the former history.
        let mut senders = self.senders.each_ref().map(Mutex::lock);
        let mut state = self.state.lock();
        state.recent.clear();
        (state.recent_bytes, state.end, state.confirmed) = (0, end, [None; 4]);
        senders.iter_mut().for_each(|sender| sender.forget());
        Ok(())
    }

    /// Up to this entry all is decided; 0 before this server leads.
    pub fn decided(&self) -> u64 {
        self.state.lock().decided
    }

    /// The journal's last entry, decided or not.
    pub fn end(&self) -> Point {
        self.state.lock().end
    }

    /// How many entries a node lacks; `None` if it is not known.
    pub fn behind(&self, id: NodeId) -> Option<u64> {
        let state = self.state.lock();
        state.confirmed[id.index()].map(|confirmed| state.end.id.saturating_sub(confirmed))
    }

    /// The nodes that are up and have all that is decided: those that the pieces of a small file are
    /// placed on.
    pub fn in_step(&self) -> NodeSet {
        let up = self.roster.up();
        let state = self.state.lock();
        let has = |id: &NodeId| state.confirmed[id.index()].is_some_and(|at| at >= state.decided);
        up.iter().filter(has).collect()
    }

    /// Those of these nodes that are in step. Where these are too few for a file's pieces but enough nodes
    /// are up, waits for them as long as for a change: one that has just come back is a moment behind.
    pub fn await_in_step(&self, targets: NodeSet) -> NodeSet {
        let deadline = Instant::now() + DECIDED_WITHIN;
        loop {
            let in_step = self.in_step().and(targets);
            let is_enough = in_step.len() >= WRITE_QUORUM;
            let is_possible = self.roster.up().and(targets).len() >= WRITE_QUORUM
                && self.roster.leadership().check().is_ok();
            if is_enough || !is_possible || Instant::now() >= deadline {
                return in_step;
            }
            self.offered.notify_all();
            self.confirmed.wait_for(&mut self.state.lock(), ANSWER_STEP);
        }
    }

    /// The last entry that a node certainly has, as far as it has said.
    pub(super) fn confirmed(&self, id: NodeId) -> Option<u64> {
        self.state.lock().confirmed[id.index()]
    }

    /// A node has answered a probe; before that it had confirmed all up to entry `had`, and the probe
    /// told it that all up to entry `told` is decided.
    ///
    /// One that has less now came back with an older copy of its folder, and what it had confirmed
    /// counts no more. One that does not take this server's word was restarted before anybody noticed:
    /// it follows its journal no further until it is found again how much of it is this server's.
    pub(super) fn probed(&self, id: NodeId, had: Option<u64>, told: u64, journal: &JournalState) {
        let Some(had) = had else { return };
        let has_less = journal.end.id < had;
        if !has_less && journal.decided >= told.min(had) {
            return;
        }
        let mut state = self.state.lock();
        state.set_back.insert(id);
        if has_less {
            state.confirmed[id.index()] = None;
            tracing::warn!(
                "data server {id} has less than it had confirmed: its journal ends with entry {}",
                journal.end.id
            );
        }
        drop(state);
        self.offered.notify_all();
    }

    /// The nodes that need a snapshot before they can go on.
    pub(super) fn wants_snapshot(&self) -> NodeSet {
        self.state.lock().wants_snapshot
    }

    /// A node has taken a snapshot.
    pub(super) fn snapshot_taken(&self, id: NodeId) {
        self.senders[id.index()].lock().forget();
        self.state.lock().wants_snapshot.remove(id);
        self.offered.notify_all();
    }

    /// Adds a group's entries, which follow the journal's last one.
    pub(super) fn offer(&self, group: &[Pending]) {
        let mut state = self.state.lock();
        for pending in group {
            debug_assert!(pending.entry.follows(state.end));
            state.end = pending.entry.point();
            state.recent_bytes += memory_bytes(pending);
            state.recent.push_back(pending.clone());
        }
        state.tried = NodeSet::EMPTY;
        let decided = state.decided;
        while state.recent_bytes > RECENT_BYTES_MAX
            && state.recent.front().is_some_and(|oldest| oldest.entry.id <= decided)
        {
            if let Some(oldest) = state.recent.pop_front() {
                state.recent_bytes -= memory_bytes(&oldest);
            }
        }
    }

    /// Takes back a group that was sent to no node; false if it was sent to any.
    pub(super) fn withdraw(&self, group: &[Pending], before: Point) -> bool {
        let mut state = self.state.lock();
        if !state.tried.is_empty() {
            return false;
        }
        for _ in group {
            if let Some(pending) = state.recent.pop_back() {
                state.recent_bytes -= memory_bytes(&pending);
            }
        }
        state.end = before;
        true
    }

    /// Do enough nodes keep up with writing small files' pieces out of their journals? If not, no more of
    /// them are to be put there.
    pub fn keeps_up(&self) -> bool {
        let keeps_up = |id: &NodeId| {
            let journal = self.roster.seen(*id).journal;
            journal.is_none_or(|journal| journal.backlog_bytes < BACKLOG_BYTES_HIGH)
        };
        self.roster.up().iter().filter(keeps_up).count() >= WRITE_QUORUM
    }

    /// All up to this entry is decided.
    pub(super) fn decide(&self, id: u64) {
        let mut state = self.state.lock();
        state.decided = state.decided.max(id);
    }

    /// The nodes that have this entry.
    pub fn who_has(&self, id: u64) -> NodeSet {
        self.state.lock().who_has(id)
    }

    /// Sends what was offered behind `before` up to entry `id`, and waits until three nodes have it, and a
    /// moment longer for the others that are in step. Gives the nodes that have it when it gives up.
    pub(super) fn replicate(&self, before: u64, id: u64, longest: Duration) -> NodeSet {
        let begun = Instant::now();
        let served = self.serve(before, id, begun + longest);
        if served == self.roster.up() {
            return self.who_has(id);
        }
        self.offered.notify_all();
        self.await_quorum(id, begun, longest)
    }

    /// Serves the nodes that have all up to entry `before` in the caller's thread. Gives those that have
    /// answered, or were not worth more waiting once three nodes have entry `id`.
    fn serve(&self, before: u64, id: u64, mut deadline: Instant) -> NodeSet {
        let begun = Instant::now();
        let mut served = NodeSet::EMPTY;
        if self.state.lock().bytes_behind(before) > SERVED_BYTES_MAX {
            return served;
        }
        let mut waiting: Vec<(NodeId, MutexGuard<'_, Sender>)> = Vec::new();
        for node in self.roster.up().iter() {
            let Some(mut sender) = self.senders[node.index()].try_lock() else { continue };
            if self.look(node, &mut sender)
                && sender.unanswered.is_none()
                && sender.position.is_some_and(|position| position.id == before)
            {
                match self.begin(node, &mut sender, false) {
                    Ok(true) => waiting.push((node, sender)),
                    Ok(false) => {}
                    Err(error) => self.failed(node, &mut sender, &error),
                }
            }
        }
        let mut is_won = false;
        while !waiting.is_empty() && Instant::now() < deadline {
            waiting.retain_mut(|(node, sender)| match self.finish(*node, sender, ANSWER_STEP) {
                Ok(None) => true,
                Ok(Some(_)) => {
                    served.insert(*node);
                    false
                }
                Err(error) => {
                    self.failed(*node, sender, &error);
                    false
                }
            });
            if !is_won && self.who_has(id).len() >= WRITE_QUORUM {
                is_won = true;
                deadline = Instant::now() + begun.elapsed().max(GRACE_MIN);
            }
            if self.roster.leadership().check().is_err() {
                break;
            }
        }
        if is_won {
            served = waiting.iter().map(|(node, _)| *node).chain(served.iter()).collect();
        }
        if !waiting.is_empty() {
            // Their own threads go on waiting for them.
            drop(waiting);
            self.offered.notify_all();
        }
        served
    }

    /// Waits until three nodes have an entry, and a moment longer for the others that are in step.
    fn await_quorum(&self, id: u64, begun: Instant, longest: Duration) -> NodeSet {
        let mut deadline = begun + longest;
        let mut is_won = false;
        let mut state = self.state.lock();
        loop {
            let have = state.who_has(id);
            if have.len() >= WRITE_QUORUM && !is_won {
                is_won = true;
                deadline = Instant::now() + begun.elapsed().max(GRACE_MIN);
            }
            // One that is not in step gets it later, and is not waited for.
            let others = have.complement().iter().filter(|id| state.is_close(*id, self));
            if is_won && others.count() == 0 {
                return have;
            }
            if self.roster.leadership().check().is_err() {
                return have;
            }
            if self.confirmed.wait_until(&mut state, deadline).timed_out() {
                return state.who_has(id);
            }
        }
    }

    /// One look at a node: sends what it lacks; true if there is more to send. Errors are taken in by
    /// the roster.
    pub fn round(&self, id: NodeId) -> bool {
        let mut sender = self.senders[id.index()].lock();
        if !self.look(id, &mut sender) {
            return false;
        }
        match self.send(id, &mut sender) {
            Ok(more) => more,
            Err(error) => {
                self.failed(id, &mut sender, &error);
                false
            }
        }
    }

    /// Looks whether what is known of a node still holds; false if it is not up.
    fn look(&self, id: NodeId, sender: &mut Sender) -> bool {
        let moves = self.roster.moves()[id.index()];
        if std::mem::replace(&mut sender.moves, moves) != moves {
            // Another node has taken its place: what the former one had is gone.
            sender.forget();
            self.state.lock().confirmed[id.index()] = None;
        }
        if self.state.lock().is_set_back(id) {
            sender.forget();
        }
        if !self.roster.up().contains(id) {
            // When it is back it may have lost what it had.
            sender.forget();
            return false;
        }
        // It was restarted on an older copy of its folder, faster than anybody noticed.
        let journal = self.roster.seen(id).journal;
        if sender.position.is_some_and(|at| journal.is_some_and(|own| own.end.id < at.id)) {
            sender.forget();
        }
        true
    }

    fn failed(&self, id: NodeId, sender: &mut Sender, error: &Error) {
        sender.forget();
        if !std::mem::replace(&mut sender.complained, true) {
            tracing::warn!("data server {id} does not take the journal: {error}");
        }
        // Whoever waits for it looks whether that makes sense any more. Under the lock, so that one who
        // has just looked is waiting by then.
        let _looked = self.state.lock();
        self.confirmed.notify_all();
    }

    /// A step of a sender's thread: sends what there is to send, or waits for more.
    pub(super) fn run_sender(&self, id: NodeId) {
        let seen = self.end();
        if self.round(id) {
            return;
        }
        let mut state = self.state.lock();
        // What was offered meanwhile is sent at once.
        if state.end != seen {
            return;
        }
        let is_done = state.confirmed[id.index()] == Some(state.end.id);
        self.offered.wait_for(&mut state, if is_done { SENDER_IDLE } else { SENDER_PAUSE });
    }

    /// Sends what a node lacks, or goes on waiting for its answer; true if there is more to send.
    fn send(&self, id: NodeId, sender: &mut Sender) -> Result<bool> {
        if sender.unanswered.is_none() && !self.begin(id, sender, true)? {
            return Ok(false);
        }
        loop {
            if let Some(more) = self.finish(id, sender, SENDER_PAUSE)? {
                return Ok(more);
            }
        }
    }

    /// Sends what a node lacks, as much as fits into a message; false if there is nothing to send now, or
    /// no connection for it.
    fn begin(&self, id: NodeId, sender: &mut Sender, may_connect: bool) -> Result<bool> {
        let position = match sender.position {
            Some(position) => position,
            None => match self.find(id)? {
                Some(position) => *sender.position.insert(position),
                None => return Ok(false),
            },
        };
        let Some((append, pieces)) = self.next(id, position)? else {
            return Ok(false);
        };
        let Some(last) = append.entries.last().map(Entry::point) else {
            return Ok(false);
        };
        self.note_tried(id, last.id);
        let body: Vec<&[u8]> = pieces.iter().map(|pieces| pieces.for_node(id).0).collect();
        let begun = self.roster.node(id).begin_append(append, &body, may_connect);
        sender.unanswered = self.roster.used(id, begun)?.map(|answer| (answer, last));
        Ok(sender.unanswered.is_some())
    }

    /// Takes the answer to what was sent, if it comes within this time; true if there is more to send.
    fn finish(&self, id: NodeId, sender: &mut Sender, longest: Duration) -> Result<Option<bool>> {
        let Some((mut answer, last)) = sender.unanswered.take() else {
            return Ok(Some(false));
        };
        let Some(journal) = self.roster.used(id, answer.wait(longest))? else {
            sender.unanswered = Some((answer, last));
            return Ok(None);
        };
        self.roster.note_journal(id, journal);
        if journal.end != last && !self.has(id, last)? {
            // It lost something meanwhile: where it is has to be found again.
            sender.position = None;
            return Ok(Some(true));
        }
        sender.position = Some(last);
        sender.complained = false;
        self.note_confirmed(id, last.id);
        Ok(Some(last.id < self.end().id))
    }

    fn has(&self, id: NodeId, point: Point) -> Result<bool> {
        let answer = self.roster.node(id).point_at(point.id);
        Ok(self.roster.used(id, answer)? == Some(point))
    }

    fn note_tried(&self, id: NodeId, last: u64) {
        let mut state = self.state.lock();
        if last > state.decided {
            state.tried.insert(id);
        }
    }

    fn note_confirmed(&self, id: NodeId, last: u64) {
        let mut state = self.state.lock();
        state.confirmed[id.index()] = Some(last);
        state.wants_snapshot.remove(id);
        drop(state);
        self.confirmed.notify_all();
    }

    /// The last entry that a node's journal shares with this one; `None` if it needs a snapshot.
    fn find(&self, id: NodeId) -> Result<Option<Point>> {
        let (end, decided) = {
            let mut state = self.state.lock();
            state.confirmed[id.index()] = None;
            (state.end, state.decided)
        };
        let nothing = Append { prev: end, decided, entries: Vec::new(), pieces: Vec::new() };
        let answer = self.roster.node(id).append(&nothing, &[]);
        let journal = self.roster.used(id, answer)?;
        self.roster.note_journal(id, journal);
        let (mut at, mut step) = (journal.end.id.min(end.id), 1);
        loop {
            let theirs = if at == journal.end.id {
                Some(journal.end)
            } else {
                let answer = self.roster.node(id).point_at(at);
                self.roster.used(id, answer)?
            };
            let own = self.point_at(at)?;
            match (theirs, own) {
                (Some(theirs), Some(own)) if theirs == own => {
                    self.note_confirmed(id, own.id);
                    return Ok(Some(own));
                }
                // What is decided is the same everywhere, so a node that has another entry there has
                // had another history; and one that is pruned on either side cannot be compared.
                (_, None) | (None, _) => {
                    self.state.lock().wants_snapshot.insert(id);
                    return Ok(None);
                }
                _ if at == 0 => {
                    let why = "its journal is that of another cluster".into();
                    return Err(Error::node(id, NodeFailure::Refused(why)));
                }
                _ => {
                    at = at.saturating_sub(step);
                    step *= 2;
                }
            }
        }
    }

    fn point_at(&self, id: u64) -> Result<Option<Point>> {
        let state = self.state.lock();
        if id == state.end.id {
            return Ok(Some(state.end));
        }
        if let Some(first) = state.recent.front().map(|first| first.entry.id)
            && let Some(at) = id.checked_sub(first).and_then(|at| usize::try_from(at).ok())
            && let Some(pending) = state.recent.get(at)
        {
            return Ok(Some(pending.entry.point()));
        }
        drop(state);
        self.catalog.point_at(id)
    }

    /// What to send behind a point; `None` if the node needs a snapshot.
    fn next(&self, id: NodeId, after: Point) -> Result<Option<(Append, Vec<Arc<CodedStripe>>)>> {
        let (recent, decided, end) = {
            let state = self.state.lock();
            (state.recent_after(after.id, id), state.decided, state.end)
        };
        let pending = match recent {
            Some(recent) => recent,
            None if after.id == end.id => Vec::new(),
            None => match self.catalog.entries_after(after.id)? {
                Some(entries) => {
                    entries.into_iter().map(|entry| Pending { entry, pieces: None }).collect()
                }
                None => {
                    self.state.lock().wants_snapshot.insert(id);
                    return Ok(None);
                }
            },
        };
        let mut append = Append { prev: after, decided, entries: Vec::new(), pieces: Vec::new() };
        let mut stripes = Vec::new();
        for (at, Pending { entry, pieces }) in pending.into_iter().enumerate() {
            // A node that the version is not placed on may have no room for it.
            if let Some(stripe) = pieces.filter(|_| is_placed(&entry, id)) {
                append.pieces.push(InlinePiece {
                    entry: u16::try_from(at).unwrap_or(u16::MAX),
                    unit_bytes: u32::try_from(stripe.unit_bytes()).unwrap_or(u32::MAX),
                    checksums: stripe.for_node(id).1,
                });
                stripes.push(stripe);
            }
            append.entries.push(entry);
        }
        Ok(Some((append, stripes)))
    }
}

impl Sender {
    /// Where the node is has to be found again.
    fn forget(&mut self) {
        (self.position, self.unanswered) = (None, None);
    }
}

impl State {
    fn who_has(&self, id: u64) -> NodeSet {
        let has = |node: &NodeId| self.confirmed[node.index()].is_some_and(|at| at >= id);
        NodeId::ALL.into_iter().filter(has).collect()
    }

    /// About how many bytes of entries and pieces a node gets that has all up to this entry.
    fn bytes_behind(&self, id: u64) -> usize {
        let behind = self.recent.iter().rev().take_while(|pending| pending.entry.id > id);
        let units = |pending: &Pending| pending.pieces.as_ref().map_or(0, |p| 2 * p.unit_bytes());
        behind.map(|pending| pending.entry.record.len() + units(pending)).sum()
    }

    /// Is a node up and known to have all that was decided before?
    fn is_close(&self, id: NodeId, replication: &Replication) -> bool {
        self.confirmed[id.index()].is_some_and(|at| at >= self.decided)
            && replication.roster.health(id).is_up()
    }

    /// Was a node restarted before anybody noticed? Says so once.
    fn is_set_back(&mut self, id: NodeId) -> bool {
        let is_set_back = self.set_back.contains(id);
        self.set_back.remove(id);
        is_set_back
    }

    /// As many of the recent entries behind this one as fit into a message; `None` if the first of
    /// them is not there any more.
    fn recent_after(&self, after: u64, id: NodeId) -> Option<Vec<Pending>> {
        let first = self.recent.front()?.entry.id;
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let (mut records, mut body, mut taken) = (0, 0, Vec::new());
        for pending in self.recent.iter().skip(skip) {
            records += pending.entry.record.len();
            body += pending.pieces.as_ref().map_or(0, |pieces| pieces.for_node(id).0.len());
            let fits =
                taken.len() < ENTRIES_MAX && records <= ENTRY_BYTES_MAX && body <= BODY_BYTES_MAX;
            if !fits {
                break;
            }
            taken.push(pending.clone());
        }
        Some(taken)
    }
}

fn is_placed(entry: &Entry, id: NodeId) -> bool {
    entry.change().is_ok_and(|change| change.stores_on(id).is_some())
}

fn memory_bytes(pending: &Pending) -> usize {
    let pieces = pending.pieces.as_ref().map_or(0, |pieces| pieces.memory_bytes());
    128 + pending.entry.record.len() + pieces
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::core::cluster::volume::fixture::{Fixture, fixture};
    use crate::core::path::FolderPath;

    const LONG: Duration = Duration::from_secs(60);

    /// Offers an entry; gives the one before it, the entry, and the open group.
    fn offer(f: &Fixture, name: &str) -> (u64, u64, crate::core::catalog::Group) {
        let (user, folder) = (f.user(), FolderPath::parse(name).unwrap());
        let before = f.cluster.replication.end();
        let mut group = f.cluster.catalog.begin_group(1).unwrap();
        group.attempt(move |draft| draft.make_folder(user, &folder, false)).unwrap();
        f.cluster.replication.offer(group.entries());
        (before.id, before.id + 1, group)
    }

    #[test]
    fn a_node_that_is_silent_is_left_to_its_own_thread_once_three_have_answered() {
        let f = fixture();
        let replication = &f.cluster.replication;
        f.node(1).holds_answers_back = true;
        let (before, end, group) = offer(&f, "a");
        let have = replication.replicate(before, end, LONG);
        assert_eq!(have, NodeSet::from_bits(0b1110));
        replication.decide(end);
        group.commit().unwrap();
        // It is behind now, and the next one does not wait for it at all.
        assert_eq!(replication.in_step(), NodeSet::from_bits(0b1110));
        let (before, end, group) = offer(&f, "b");
        assert_eq!(replication.replicate(before, end, LONG), NodeSet::from_bits(0b1110));
        replication.decide(end);
        group.commit().unwrap();
        f.node(1).holds_answers_back = false;
        while replication.round(NodeId::ALL[0]) {}
        assert_eq!(replication.who_has(end), NodeSet::ALL);
    }

    #[test]
    fn a_small_file_waits_for_a_node_that_is_up_and_a_moment_behind() {
        let f = fixture();
        let replication = &f.cluster.replication;
        f.node(3).holds_answers_back = true;
        let (before, end, group) = offer(&f, "a");
        replication.replicate(before, end, LONG);
        replication.decide(end);
        group.commit().unwrap();
        let first = NodeId::ALL[0];
        let why = NodeFailure::Unreachable("connection refused".into());
        f.cluster.roster.probed(first, Err(Error::node(first, why))).0.unwrap_err();
        assert_eq!(replication.in_step(), NodeSet::from_bits(0b1010));
        let placed = thread::scope(|scope| {
            let waits = scope.spawn(|| replication.await_in_step(NodeSet::ALL));
            f.node(3).holds_answers_back = false;
            while replication.round(NodeId::ALL[2]) {}
            waits.join().unwrap()
        });
        assert_eq!(placed, NodeSet::from_bits(0b1110));
        // Two that are up are too few, and nobody waits for more.
        assert_eq!(replication.await_in_step(NodeSet::from_bits(0b1011)).len(), 2);
    }

    #[test]
    fn two_nodes_are_no_quorum_however_long_they_are_waited_for() {
        let f = fixture();
        for number in [2, 4] {
            f.node(number).holds_answers_back = true;
        }
        let (before, end, _group) = offer(&f, "a");
        let have = f.cluster.replication.replicate(before, end, Duration::from_millis(100));
        assert_eq!(have, NodeSet::from_bits(0b0101));
    }

    #[test]
    fn a_node_that_goes_away_is_not_waited_for() {
        let f = fixture();
        f.node(3).is_off = true;
        let (before, end, _group) = offer(&f, "a");
        assert_eq!(f.cluster.replication.replicate(before, end, LONG), NodeSet::from_bits(0b1011));
    }
}
