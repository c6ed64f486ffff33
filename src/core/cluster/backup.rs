//! The sender of the catalog's backup: one look at a node at a time.
//!
//! ```text
//!   node is up ─ asked how far it is
//!     ├─ its last entry is in our journal ── append what follows, at most once a second, but at
//!     │     │                                once what somebody waits for
//!     │     └─ the journal behind its snapshot has grown long, or a day old ── new snapshot
//!     ├─ it is behind what our journal still has, or has nothing ── snapshot, then append
//!     └─ it has a history that is not ours ── ours branches, so that it outranks that one; snapshot
//! ```
//!
//! Nothing here holds up a store: entries are read in small parts, the snapshot is a copy that
//! readers make, and both are sent with no lock of the catalog held.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::core::catalog::Catalog;
use crate::core::cluster::attendant::Bell;
use crate::core::cluster::roster::Roster;
use crate::core::code::checksum;
use crate::core::error::{Error, NodeFailure, Reached, Result, Troubles};
use crate::core::io::clock;
use crate::core::io::disk::{Disk, ReadFile, RealDisk};
use crate::core::io::random::Random;
use crate::core::types::{NodeId, NodeSet};
use crate::core::wire::backup::{Answer, Ask, CHUNK_BYTES, SnapshotHead, SnapshotId, State};
use crate::core::wire::journal::Point;

/// How often a node is sent what is new, while there is something new all the time.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// How long a thread rests when there is nothing to do and nobody wakes it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a node is left alone that has failed to take something.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How long after a call that was lost on its way.
const LOST_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long a change waits for its record to be on the nodes.
const CONFIRM: Duration = Duration::from_secs(5);

/// A journal of so many entries gives way to a new snapshot.
const ENTRIES_BEHIND_MAX: u64 = 10_000;

/// A journal of so many bytes does, too.
const JOURNAL_BYTES_MAX: u64 = 8 << 20;

/// And one that has been added to for so long.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far one node's backup is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// How many entries of the journal it lacks; nothing if it has not been asked yet.
    pub behind: Option<u64>,
    /// Its newest snapshot.
    pub snapshot: Option<SnapshotId>,
    /// When it last took something, in milliseconds since 1970.
    pub written_ms: Option<i64>,
    /// Why it took nothing the last time, if it did not.
    pub trouble: Option<String>,
}

/// The backups on all nodes.
pub struct Backups {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    random: Arc<Random>,
    /// Where the newest snapshot is kept on this machine while it is sent.
    copy: PathBuf,
    /// What is in that file.
    snapshot: Mutex<Option<SnapshotHead>>,
    senders: [Mutex<Sender>; 4],
    progress: Mutex<[Progress; 4]>,
    start: Instant,
    /// Somebody waits until the nodes have this entry.
    wanted: AtomicU64,
    /// Wakes the threads; none where rounds are called by hand.
    wake: OnceLock<Bell>,
    /// When the last round was called.
    called: Mutex<Duration>,
    /// Notified when a node has taken something.
    taken: (Mutex<()>, Condvar),
}

/// What is known of one node.
#[derive(Default)]
struct Sender {
    /// Nothing until it has been asked.
    state: Option<Option<State>>,
    /// Since when its snapshot is known.
    snapshot_at: Option<Duration>,
    sent_at: Option<Duration>,
    rests_until: Option<Duration>,
}

impl Backups {
    /// Nothing is known of any node yet. `copy` is a file in the server's own folder.
    pub fn new(
        catalog: Arc<Catalog>,
        roster: Arc<Roster>,
        random: Arc<Random>,
        copy: PathBuf,
    ) -> Backups {
        Backups {
            catalog,
            roster,
            random,
            copy,
            snapshot: Mutex::new(None),
            senders: Default::default(),
            progress: Mutex::default(),
            start: Instant::now(),
            wanted: AtomicU64::new(0),
            wake: OnceLock::new(),
            called: Mutex::default(),
            taken: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Starts a thread for each node. They run until the process ends.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn start(self: &Arc<Backups>) -> Result<()> {
        let mut bell = Bell::mute();
        for id in NodeId::ALL {
            let (backups, rung) = (self.clone(), bell.listen());
            thread::Builder::new()
                .name(format!("backup on node {id}"))
                .spawn(move || {
                    loop {
                        let round = AssertUnwindSafe(|| backups.round(id, backups.now()));
                        if !panic::catch_unwind(round).unwrap_or(false) {
                            let _ = rung.recv_timeout(LOOK_EVERY);
                        }
                    }
                })
                .map_err(Error::io("cannot start a thread"))?;
        }
        // They are started once.
        let _ = self.wake.set(bell);
        Ok(())
    }

    /// Has the nodes given the journal up to this entry at once, and waits until so many have it that
    /// a recovery from any two knows it.
    ///
    /// # Errors
    /// [`Error::UnconfirmedMove`] if too few have it in time; they get it later.
    pub fn confirm(&self, entry: u64) -> Result<()> {
        self.wanted.fetch_max(entry, Ordering::SeqCst);
        match self.wake.get() {
            Some(bell) => {
                bell.ring();
                let deadline = Instant::now() + CONFIRM;
                let mut taken = self.taken.0.lock();
                while !self.roster.is_recorded(entry) {
                    if self.taken.1.wait_until(&mut taken, deadline).timed_out() {
                        break;
                    }
                }
            }
            None => {
                let now = *self.called.lock();
                let up = self.roster.up();
                for id in up.iter() {
                    while self.roster.up().contains(id) && self.round(id, now) {}
                }
            }
        }
        match self.roster.is_recorded(entry) {
            true => Ok(()),
            false => Err(Error::UnconfirmedMove(Reached(self.roster.backed_up(entry)))),
        }
    }

    /// How long these threads have been running: what [`Backups::round`] is given there.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// How far the backup on each node is, nodes 1 to 4.
    pub fn progress(&self) -> [Progress; 4] {
        self.progress.lock().clone()
    }

    /// One look at a node: sends what there is to send. True if there is more. `now` counts from any
    /// fixed point.
    pub fn round(&self, id: NodeId, now: Duration) -> bool {
        *self.called.lock() = now;
        let mut sender = self.senders[id.index()].lock();
        if !self.roster.up().contains(id) {
            // When it is back it may have lost what it had.
            sender.state = None;
            return false;
        }
        if sender.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        let sent = self.send(id, &mut sender, now);
        self.note(id, &mut sender, sent.as_ref().err(), now);
        drop(self.taken.0.lock());
        self.taken.1.notify_all();
        sent.unwrap_or(false)
    }

    /// Makes a snapshot of what the catalog is now and gives it to every node that is up, at once.
    /// Says which nodes have it, and why the others have not.
    ///
    /// # Errors
    /// If no snapshot can be made.
    pub fn backup_now(&self, now: Duration) -> Result<(NodeSet, Troubles)> {
        let wanted = self.catalog.journal_end()?;
        let mut troubles = self.roster.troubles(NodeSet::ALL);
        let mut have = NodeSet::EMPTY;
        for id in self.roster.up().iter() {
            let mut sender = self.senders[id.index()].lock();
            let sent = self.send_snapshot(id, &mut sender, now, wanted.id);
            self.note(id, &mut sender, sent.as_ref().err(), now);
            match sent {
                Ok(()) => have.insert(id),
                Err(Error::Node { why, .. }) => troubles.note(id, why.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok((have, troubles))
    }

    /// Takes in how it went.
    fn note(&self, id: NodeId, sender: &mut Sender, failed: Option<&Error>, now: Duration) {
        let state = sender.state.flatten();
        let end = self.catalog.journal_end().map_or(0, |end| end.id);
        let mut progress = self.progress.lock();
        let own = &mut progress[id.index()];
        own.snapshot = state.map(|state| state.snapshot.id());
        own.behind = sender
            .state
            .map(|known| end.saturating_sub(known.map_or(0, |state| state.last.id.min(end))));
        if sender.sent_at == Some(now) {
            own.written_ms = Some(clock::now_ms());
        }
        let trouble = failed.map(ToString::to_string);
        match &trouble {
            Some(why) if own.trouble != trouble => {
                tracing::warn!("the backup of the catalog is behind, it is tried again: {why}");
            }
            None if own.trouble.is_some() => {
                tracing::info!("the backup of the catalog on data server {id} goes on");
            }
            _ => {}
        }
        own.trouble = trouble;
        if let Some(error) = failed {
            // What it has done of it is asked anew.
            sender.state = None;
            let rest = match error {
                Error::Node { why: NodeFailure::Unreachable(_) | NodeFailure::Late(_), .. } => {
                    LOST_AGAIN_AFTER
                }
                _ => AGAIN_AFTER,
            };
            sender.rests_until = Some(now + rest);
        } else {
            sender.rests_until = None;
        }
    }

    fn send(&self, id: NodeId, sender: &mut Sender, now: Duration) -> Result<bool> {
        let state = self.state(id, sender, now)?;
        let end = self.catalog.journal_end()?;
        let Some(state) = state.filter(|state| self.is_ours(state).unwrap_or(false)) else {
            self.send_snapshot(id, sender, now, 0)?;
            return Ok(true);
        };
        if state.last == end {
            return Ok(false);
        }
        let age = now.saturating_sub(sender.snapshot_at.unwrap_or(now));
        if end.id - state.snapshot.at.id > ENTRIES_BEHIND_MAX
            || state.journal_bytes > JOURNAL_BYTES_MAX
            || age >= SNAPSHOT_EVERY
        {
            self.send_snapshot(id, sender, now, state.snapshot.at.id + 1)?;
            return Ok(true);
        }
        let is_wanted = self.wanted.load(Ordering::SeqCst) > state.last.id;
        if !is_wanted && sender.sent_at.is_some_and(|at| now < at + SEND_EVERY) {
            return Ok(false);
        }
        self.append(id, sender, state, end, now)?;
        Ok(false)
    }

    fn state(&self, id: NodeId, sender: &mut Sender, now: Duration) -> Result<Option<State>> {
        if let Some(known) = sender.state {
            return Ok(known);
        }
        let state = self.ask_state(id, &Ask::State, &[])?;
        sender.state = Some(state);
        self.note_recorded(id, state.as_ref());
        sender.snapshot_at.get_or_insert(now);
        Ok(state)
    }

    /// Tells everybody how much of this catalog's journal a node has, if what it has is of it.
    fn note_recorded(&self, id: NodeId, state: Option<&State>) {
        let ours = state.filter(|state| self.is_ours(state).unwrap_or(false));
        self.roster.note_backup(id, ours.map_or(0, |state| state.last.id));
    }

    /// Does what a node has belong to this catalog's history, so that it can be added to?
    fn is_ours(&self, state: &State) -> Result<bool> {
        Ok(state.snapshot.generation == self.catalog.generation()?
            && self.catalog.journal_at(state.last.id)? == Some(state.last))
    }

    /// Appends entries up to this one.
    fn append(
        &self,
        id: NodeId,
        sender: &mut Sender,
        mut state: State,
        up_to: Point,
        now: Duration,
    ) -> Result<()> {
        while state.last.id < up_to.id {
            let mut entries = self.catalog.journal_after(state.last.id)?;
            entries.retain(|entry| entry.id <= up_to.id);
            let snapshot = state.snapshot.id();
            let answer = self.ask_state(id, &Ask::Append { snapshot, entries }, &[])?;
            let Some(next) = answer.filter(|next| next.last.id > state.last.id) else {
                return Err(self.out_of_turn(id));
            };
            state = next;
            sender.state = Some(Some(state));
            self.note_recorded(id, Some(&state));
            sender.sent_at = Some(now);
        }
        Ok(())
    }

    /// Gives a node a snapshot that reaches at least up to this entry, unless it has one.
    fn send_snapshot(
        &self,
        id: NodeId,
        sender: &mut Sender,
        now: Duration,
        at_least: u64,
    ) -> Result<()> {
        let state = self.state(id, sender, now)?;
        let ours = state.filter(|state| self.is_ours(state).unwrap_or(false));
        if let Some(state) = ours
            && at_least > 0
            && state.snapshot.at.id >= at_least
        {
            return Ok(());
        }
        let (head, file) = self.snapshot(id, state.as_ref(), at_least)?;
        // The snapshot that it has must reach up to the new one, should that one be damaged.
        if let Some(state) = ours.filter(|state| self.is_ours(state).unwrap_or(false)) {
            self.append(id, sender, state, head.at, now)?;
        }
        self.done(id, &Ask::Begin(head), &[])?;
        let (mut offset, mut chunk) = (0, Vec::new());
        while offset < head.bytes {
            let left = usize::try_from(head.bytes - offset).unwrap_or(usize::MAX);
            chunk.resize(left.min(CHUNK_BYTES), 0);
            file.read_exact_at(&mut chunk, offset)
                .map_err(Error::io(format!("cannot read {}", self.copy.display())))?;
            self.done(id, &Ask::Chunk { offset, checksum: checksum::unit(&chunk) }, &chunk)?;
            offset += chunk.len() as u64;
        }
        let state = self.ask_state(id, &Ask::End, &[])?;
        sender.state = Some(state);
        self.note_recorded(id, state.as_ref());
        (sender.snapshot_at, sender.sent_at) = (Some(now), Some(now));
        self.prune(id, head.id())
    }

    /// A snapshot that a node in this state can be given: the one at hand, or a new one.
    fn snapshot(
        &self,
        id: NodeId,
        node: Option<&State>,
        at_least: u64,
    ) -> Result<(SnapshotHead, Box<dyn ReadFile>)> {
        let mut kept = self.snapshot.lock();
        if let Some(node) = node {
            self.outrank(id, node)?;
        }
        let end = self.catalog.journal_end()?;
        let generation = self.catalog.generation()?;
        let is_fit = |head: &SnapshotHead| -> Result<bool> {
            Ok(head.generation == generation
                && head.at.id >= at_least
                && end.id - head.at.id <= ENTRIES_BEHIND_MAX / 2
                && node.is_none_or(|node| node.snapshot.id() < head.id())
                && self.catalog.journal_at(head.at.id)? == Some(head.at))
        };
        let head = match *kept {
            Some(head) if is_fit(&head)? => head,
            _ => {
                *kept = None;
                *kept.insert(self.catalog.snapshot(&self.copy)?)
            }
        };
        // Open, it stays what it is, even if a newer one is made meanwhile.
        let file = RealDisk
            .open(&self.copy)
            .map_err(Error::io(format!("cannot open {}", self.copy.display())))?;
        Ok((head, file))
    }

    /// Lets this catalog's history branch if a node has another one that would outrank it.
    fn outrank(&self, id: NodeId, node: &State) -> Result<()> {
        let own = self.catalog.generation()?;
        let theirs = node.snapshot.generation;
        let at = self.catalog.journal_at(node.last.id)?;
        let parted = node.last.id > self.catalog.journal_end()?.id
            || at.is_some_and(|point| point != node.last);
        if theirs > own || (theirs == own && parted) {
            tracing::warn!(
                "data server {id} has the backup of a catalog that went another way; this one's \
                 takes its place"
            );
            self.catalog.branch(theirs, self.random.version())?;
        }
        Ok(())
    }

    /// Drops the entries of the journal that are in the newest snapshot of every node that is up.
    fn prune(&self, id: NodeId, snapshot: SnapshotId) -> Result<()> {
        let mut progress = self.progress.lock();
        progress[id.index()].snapshot = Some(snapshot);
        let all = self.roster.up().iter().map(|id| progress[id.index()].snapshot);
        let oldest = all.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min());
        drop(progress);
        match oldest {
            Some(oldest) if oldest.generation == snapshot.generation => {
                self.catalog.prune_journal(oldest.entry)
            }
            _ => Ok(()),
        }
    }

    fn ask(&self, id: NodeId, ask: &Ask, body: &[u8]) -> Result<Answer> {
        let answer = self.roster.node(id).backup(ask, body);
        self.roster.used(id, answer).map(|(answer, _)| answer)
    }

    fn ask_state(&self, id: NodeId, ask: &Ask, body: &[u8]) -> Result<Option<State>> {
        match self.ask(id, ask, body)? {
            Answer::State(state) => Ok(state),
            _ => Err(self.out_of_turn(id)),
        }
    }

    fn done(&self, id: NodeId, ask: &Ask, body: &[u8]) -> Result<()> {
        match self.ask(id, ask, body)? {
            Answer::Done => Ok(()),
            _ => Err(self.out_of_turn(id)),
        }
    }

    fn out_of_turn(&self, id: NodeId) -> Error {
        Error::node(id, NodeFailure::Refused("it answered something else".into()))
    }
}
