//! One thread for each node that rebuilds the pieces which it lacks.
//!
//! ```text
//!   the catalog's rows of pieces that the node lacks, a page at a time ─────────────┐
//!     ^                                                                            v
//!     │                                                          rebuild and stage the next one
//!     │ at the end: from the beginning, at once if               │ cannot be done now: passed over,
//!     │ anything was rebuilt, else after a pause                 │ with a backoff of its own
//!     └──────────────────────────────────────────────────────────┴─> 64 of them, or a second's worth:
//!                                                                    the journal says that they are there
//! ```
//!
//! A crash costs the work on what the journal does not say yet. What cannot be rebuilt now (its other
//! pieces are away, the disk has no room for it) never holds up the rest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::catalog::Surveyed;
use crate::core::cluster::Cluster;
use crate::core::cluster::backoff::Backoff;
use crate::core::cluster::pace::Throttle;
use crate::core::cluster::rebuild::Lacking;
use crate::core::cluster::retry::Tried;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, READ_QUORUM, VersionId};
use crate::core::wire::node::PieceMeta;

/// How often a worker looks whether there is something to do, unless it is notified.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Rows that are taken from the catalog at a time.
const PAGE: usize = 64;

/// Pieces that are rebuilt before the journal says that they are there.
const BATCH_PIECES_MAX: usize = 64;

/// The longest that a rebuilt piece waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// Pieces whose backoff is remembered; others are tried in every pass.
const BACKOFFS_MAX: usize = 10_000;

/// After this many refusals in a row that are about the node and not about one piece, the node itself
/// gets a backoff.
const REFUSALS_MAX: u32 = 3;

/// How long a node's worker rests where all that is missing is of removed folders.
const DOOMED_PAUSE: Duration = Duration::from_secs(5);

/// The shortest pause after a pass in which nothing was rebuilt.
const PASS_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The pause is this many times as long as the pass was, so that looking through a long list of pieces
/// that cannot be rebuilt takes little of the server's time.
const PASS_PAUSE_FACTOR: u32 = 10;

/// How often a failure is mentioned in the log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What has been rebuilt since the server was started.
#[derive(Default, Debug)]
pub struct Healing {
    pieces: AtomicU64,
    bytes_read: AtomicU64,
}

impl Healing {
    /// Pieces that were rebuilt.
    pub fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    /// Bytes that were read from other nodes for it, also for what failed half-way.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

/// Starts the four workers. They run until the process ends.
///
/// # Errors
/// If the system has no threads left.
pub fn start(cluster: &Cluster, throttle: &Throttle) -> Result<Arc<Healing>> {
    let healing: Arc<Healing> = Arc::default();
    for id in NodeId::ALL {
        let mut worker = RepairWorker::new(id, cluster, throttle.clone(), healing.clone());
        let name = format!("repair of node {id}");
        cluster.notifier.run_rounds(&name, LOOK_EVERY, move |now| worker.round(now))?;
    }
    Ok(healing)
}

/// Rebuilds what one node lacks.
pub struct RepairWorker {
    id: NodeId,
    cluster: Cluster,
    throttle: Throttle,
    healing: Arc<Healing>,
    /// How often the node had come up, and the last request to try all at once that was heard.
    seen: (u64, u64),
    pass: Pass,
    /// Rebuilt and staged, and not in the journal yet.
    staged: Vec<VersionId>,
    /// When the first of them was, and what was read for them.
    staged_at: Duration,
    staged_read: u64,
    backoffs: HashMap<VersionId, Backoff>,
    last_failure: String,
    /// Refusals of the node in a row.
    refusals: u32,
    node_backoff: Backoff,
    /// No pass begins before.
    rests_until: Duration,
    complained_at: Option<Duration>,
}

/// One look through all that the node lacks.
#[derive(Default)]
struct Pass {
    /// Some piece is missing that is not about to be dropped.
    found_some: bool,
    /// Nothing until the pause before it is over.
    began: Option<Duration>,
    after: Option<VersionId>,
    rows: VecDeque<Surveyed>,
    rebuilt: u64,
    /// Why something could not be rebuilt.
    why: Option<String>,
}

impl RepairWorker {
    /// The worker of this node.
    pub fn new(
        id: NodeId,
        cluster: &Cluster,
        throttle: Throttle,
        healing: Arc<Healing>,
    ) -> RepairWorker {
        RepairWorker {
            id,
            cluster: cluster.clone(),
            throttle,
            healing,
            seen: (0, 0),
            pass: Pass::default(),
            staged: Vec::new(),
            staged_at: Duration::ZERO,
            staged_read: 0,
            backoffs: HashMap::new(),
            last_failure: String::new(),
            refusals: 0,
            node_backoff: Backoff::default(),
            rests_until: Duration::ZERO,
            complained_at: None,
        }
    }

    /// Rebuilds one piece; true if there may be more to rebuild now. `now` counts from any fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        let roster = &self.cluster.roster;
        if !roster.leadership().is_established() || !roster.up().contains(self.id) {
            return false;
        }
        let seen = (roster.times_up(self.id), roster.retry().asked());
        if seen != self.seen {
            self.seen = seen;
            self.pass = Pass::default();
            self.backoffs.clear();
            (self.refusals, self.node_backoff) = (0, Backoff::default());
            (self.rests_until, self.complained_at) = (now, None);
        }
        self.step(now).unwrap_or_else(|error| {
            self.complain(now, &format!("its pieces are rebuilt later: {error}"));
            self.pass.why = Some(error.to_string());
            self.rests_until = now + PASS_PAUSE_MIN;
            false
        })
    }

    fn step(&mut self, now: Duration) -> Result<bool> {
        let is_full = self.staged.len() >= BATCH_PIECES_MAX;
        if is_full || (!self.staged.is_empty() && now >= self.staged_at + BATCH_WAIT) {
            self.record_staged()?;
        }
        if now < self.rests_until {
            return Ok(false);
        }
        self.pass.began.get_or_insert(now);
        if self.pass.rows.is_empty() {
            let rows = self.cluster.catalog.missing(self.id, self.pass.after, PAGE)?;
            self.pass.found_some |= !rows.is_empty();
            self.pass.after = rows.last().map(|row| row.record.version);
            self.pass.rows = rows.into();
        }
        let Some(row) = self.pass.rows.pop_front() else {
            let found_nothing = !self.pass.found_some;
            let ended = self.end_pass(now)?;
            if found_nothing && self.cluster.catalog.missing_count(self.id)? > 0 {
                // All of it is about to be dropped. There may be much, which is looked through each time.
                self.rests_until = now + DOOMED_PAUSE;
            }
            return Ok(ended);
        };
        let version = row.record.version;
        let waits = self.backoffs.get(&version).is_some_and(|backoff| now < backoff.until);
        if waits {
            self.pass.why.get_or_insert_with(|| self.last_failure.clone());
        }
        if waits || self.staged.contains(&version) {
            return Ok(true);
        }
        let mut others = self.cluster.roster.up();
        others.remove(self.id);
        if others.len() < READ_QUORUM {
            self.pass.why = Some("fewer than two other nodes are up to rebuild from".to_owned());
            self.pass.rows.clear();
            return self.end_pass(now);
        }
        self.rebuild(&row, now)?;
        Ok(now >= self.rests_until)
    }

    fn rebuild(&mut self, row: &Surveyed, now: Duration) -> Result<()> {
        let version = row.record.version;
        // Placed, replaced or deleted since the page was read?
        let Some(Surveyed { place, record, .. }) = self.cluster.catalog.version(version)? else {
            return Ok(());
        };
        if record.placed.contains(self.id) {
            return Ok(());
        }
        let lacking = Lacking {
            meta: PieceMeta {
                version,
                place,
                file_bytes: record.bytes,
                stored_ms: record.stored_ms,
                repair: true,
                part: self.cluster.catalog.part_of(version)?,
            },
            seq: record.seq,
            blake3: record.blake3,
            placed: record.placed,
        };
        let (healing, throttle) = (self.healing.clone(), &mut self.throttle);
        throttle.begin();
        let rebuilt = self.cluster.volume.rebuild(self.id, &lacking, &mut |bytes| {
            healing.bytes_read.fetch_add(bytes, Ordering::Relaxed);
            throttle.moved(bytes);
        });
        match rebuilt.outcome {
            Ok(bytes_read) => {
                if self.staged.is_empty() {
                    (self.staged_at, self.staged_read) = (now, 0);
                }
                self.staged.push(version);
                self.staged_read += bytes_read;
                self.pass.rebuilt += 1;
                self.backoffs.remove(&version);
                (self.refusals, self.node_backoff) = (0, Backoff::default());
            }
            Err(error) => self.failed(&lacking, &error, now),
        }
        self.cluster.record_lost(version, rebuilt.unsound)
    }

    fn failed(&mut self, lacking: &Lacking, error: &Error, now: Duration) {
        let version = lacking.meta.version;
        let backoff = self.backoffs.get(&version).copied().unwrap_or_default().next(now);
        if self.backoffs.len() < BACKOFFS_MAX || self.backoffs.contains_key(&version) {
            self.backoffs.insert(version, backoff);
        }
        self.complain(now, &format!("{} is rebuilt later: {error}", lacking.meta.place));
        self.last_failure = error.to_string();
        self.pass.why = Some(self.last_failure.clone());
        match error {
            Error::Node { node, why: NodeFailure::Refused(_) | NodeFailure::DiskFailed(_) }
                if *node == self.id =>
            {
                self.refusals += 1;
                if self.refusals >= REFUSALS_MAX {
                    self.node_backoff = self.node_backoff.next(now);
                    self.rests_until = self.node_backoff.until;
                    self.note_tried();
                }
            }
            _ => self.refusals = 0,
        }
    }

    /// Has the journal say that the node holds what was rebuilt.
    fn record_staged(&mut self) -> Result<()> {
        let (id, versions) = (self.id, self.staged.clone());
        let count = versions.len();
        self.cluster.committer.submit(move |draft| draft.pieces_placed(id, &versions))?;
        self.staged.clear();
        self.healing.pieces.fetch_add(count as u64, Ordering::Relaxed);
        let pieces = if count == 1 { "piece" } else { "pieces" };
        tracing::info!(
            "data server {id}: {count} {pieces} rebuilt ({} bytes read from the others)",
            self.staged_read
        );
        Ok(())
    }

    /// All has been tried once.
    fn end_pass(&mut self, now: Duration) -> Result<bool> {
        if !self.staged.is_empty() {
            self.record_staged()?;
        }
        // As long as it is not known all that the node lacks, this was not all.
        if !self.cluster.roster.seen(self.id).has_gap() {
            self.note_tried();
        }
        let pass = std::mem::take(&mut self.pass);
        if pass.rebuilt > 0 {
            return Ok(true);
        }
        if pass.why.is_some() {
            let took = pass.began.map_or(Duration::ZERO, |began| now.saturating_sub(began));
            self.rests_until = now + (took * PASS_PAUSE_FACTOR).max(PASS_PAUSE_MIN);
        }
        Ok(false)
    }

    fn note_tried(&self) {
        let tried = Tried { asked: self.seen.1, why: self.pass.why.clone() };
        self.cluster.roster.retry().note(self.id, tried);
    }

    /// Says why something is not rebuilt now, though not every time.
    fn complain(&mut self, now: Duration, text: &str) {
        if self.complained_at.is_none_or(|at| now >= at + COMPLAIN_EVERY) {
            self.complained_at = Some(now);
            tracing::info!("data server {}: {text}", self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::volume::fixture::{Fixture, bytes, fixture, version};
    use crate::core::code::layout::Layout;
    use crate::core::types::NodeSet;
    use crate::core::wire::node::{DiskTrouble, Room};

    fn worker(f: &Fixture, number: usize) -> RepairWorker {
        RepairWorker::new(NodeId::ALL[number - 1], &f.cluster, f.throttle(), Arc::default())
    }

    #[test]
    fn a_node_that_lost_pieces_gets_them_back_in_few_entries() {
        let mut f = fixture();
        let contents: Vec<Vec<u8>> = (2..=10).map(|n| bytes(n * 150_000)).collect();
        (1..)
            .zip(&contents)
            .for_each(|(byte, content)| assert!(!f.store(byte, content).is_empty()));
        f.node(3).empty();
        f.switch(NodeSet::from_bits(0b1011));
        f.switch(NodeSet::ALL);
        f.look();
        let before = f.cluster.catalog.end().unwrap().id;
        let mut worker = worker(&f, 3);
        while worker.round(f.now()) {}
        assert_eq!(f.cluster.catalog.end().unwrap().id, before + 1);
        for (byte, content) in (1..).zip(&contents) {
            assert_eq!(f.placed(byte), NodeSet::ALL);
            assert!(f.holds(3, byte, content), "{byte}");
        }
        let read: u64 = contents
            .iter()
            .map(|content| Layout::new(content.len() as u64))
            .map(|layout| layout.block_bytes() * 3)
            .sum();
        assert_eq!((worker.healing.pieces(), worker.healing.bytes_read()), (9, read));
        assert_eq!(f.cluster.roster.retry().tried(NodeId::ALL[2]).why, None);
    }

    #[test]
    fn a_piece_that_does_not_fit_holds_up_no_other_and_is_tried_again() {
        let mut f = fixture();
        f.store(1, &bytes(3_000_000));
        f.store(2, &bytes(300_000));
        for byte in [1, 2] {
            f.node(4).pieces.remove(&version(byte));
            f.cluster.record_lost(version(byte), NodeSet::from_bits(0b1000)).unwrap();
        }
        let room = |free_bytes| Some(Room { free_bytes, total_bytes: 1 << 30, spare_bytes: 0 });
        f.node(4).room = room(1_000_000);
        f.look();
        let mut worker = worker(&f, 4);
        let mut rounds = |f: &Fixture| (0..100).take_while(|_| worker.round(f.now())).count();
        assert!(rounds(&f) < 10);
        assert_eq!((f.placed(1), f.placed(2)), (NodeSet::from_bits(0b0111), NodeSet::ALL));
        assert_eq!(rounds(&f), 0, "it rests");
        let why = f.cluster.roster.retry().tried(NodeId::ALL[3]).why.unwrap();
        assert!(why.contains("no space left"), "{why}");
        f.node(4).room = room(1 << 29);
        f.pass(Duration::from_secs(6));
        f.look();
        assert!(rounds(&f) > 0);
        assert_eq!(f.placed(1), NodeSet::ALL);
    }

    #[test]
    fn each_piece_that_cannot_be_rebuilt_is_tried_less_and_less_often_by_itself() {
        let mut f = fixture();
        let lose = |f: &Fixture, byte| {
            f.node(4).pieces.remove(&version(byte));
            f.cluster.record_lost(version(byte), NodeSet::from_bits(0b1000)).unwrap();
        };
        for byte in [1, 2] {
            f.store(byte, &bytes(3_000_000));
        }
        f.store(3, &bytes(300_000));
        f.node(4).room = Some(Room { free_bytes: 1_000_000, total_bytes: 1 << 30, spare_bytes: 0 });
        f.look();
        let mut worker = worker(&f, 4);
        let mut tries = [const { Vec::new() }; 2];
        let begun = f.now();
        for half in 0..2800 {
            match half {
                0 => lose(&f, 1),
                200 => lose(&f, 2),
                1000 => lose(&f, 3),
                _ => {}
            }
            let until = |worker: &RepairWorker, byte| {
                worker.backoffs.get(&version(byte)).map(|backoff| backoff.until)
            };
            let before = [1, 2].map(|byte| until(&worker, byte));
            while worker.round(f.now()) {}
            for (byte, tries) in (1..).zip(&mut tries) {
                if until(&worker, byte) != before[usize::from(byte) - 1] {
                    tries.push((f.now() - begun).as_secs());
                }
            }
            f.pass(Duration::from_millis(500));
        }
        assert_eq!(f.placed(3), NodeSet::ALL, "and none of them holds up another");
        for (tries, first) in tries.iter().zip([0, 100]) {
            let pauses: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!((first..=first + 2).contains(&tries[0]), "{tries:?}");
            assert_eq!(pauses.len(), 8, "{tries:?}");
            for (pause, expected) in pauses.iter().zip([5, 10, 20, 40, 80, 160, 320, 600]) {
                assert!((expected..=expected + 2).contains(pause), "{pauses:?}");
            }
        }
    }

    #[test]
    fn nothing_is_read_for_a_node_that_may_not_write() {
        let mut f = fixture();
        f.store(1, &bytes(900_000));
        f.node(4).pieces.clear();
        f.cluster.record_lost(version(1), NodeSet::from_bits(0b1000)).unwrap();
        let why = "/files_4 (permission denied)".to_owned();
        f.node(4).trouble = Some(DiskTrouble::NotWritable(why));
        f.look();
        let mut worker = worker(&f, 4);
        while worker.round(f.now()) {}
        assert_eq!(worker.healing.bytes_read(), 0);
        let why = f.cluster.roster.retry().tried(NodeId::ALL[3]).why.unwrap();
        assert_eq!(
            why,
            "node 4: its disk failed: it may not write to /files_4 (permission denied)"
        );
        f.node(4).trouble = None;
        f.look();
        f.pass(Duration::from_secs(6));
        while worker.round(f.now()) {}
        assert_eq!(f.placed(1), NodeSet::ALL);
    }

    #[test]
    fn who_turns_out_unsound_while_another_is_rebuilt_is_rebuilt_too() {
        let f = fixture();
        let content = bytes(900_000);
        f.store(1, &content);
        f.node(4).pieces.clear();
        f.cluster.record_lost(version(1), NodeSet::from_bits(0b1000)).unwrap();
        f.node(2).damaged.insert(version(1));
        let mut workers = [worker(&f, 4), worker(&f, 2)];
        for worker in &mut workers {
            while worker.round(f.now()) {}
        }
        assert_eq!(f.placed(1), NodeSet::ALL);
        assert!(f.holds(4, 1, &content) && f.holds(2, 1, &content));
    }
}
