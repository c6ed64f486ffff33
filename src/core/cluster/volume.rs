//! The four nodes as one place for versions of files: put one, get one, rebuild a piece of one.
//!
//! It knows no users, and paths only for messages; which version is the current one is the catalog's
//! business.

#[cfg(test)]
pub(in crate::core::cluster) mod fixture;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::core::cluster::buffers::{Allowance, BufferPool};
use crate::core::cluster::compare::Strays;
use crate::core::cluster::reading::{Reading, Wanted};
use crate::core::cluster::rebuild::{self, Lacking, Rebuilt};
use crate::core::cluster::replication::Replication;
use crate::core::cluster::roster::Roster;
use crate::core::cluster::traffic::Traffic;
use crate::core::cluster::writing::{Fanout, Writing};
use crate::core::error::{Error, Result};
use crate::core::io::random::Random;
use crate::core::types::{NodeId, NodeSet, Seq, VersionId};
use crate::core::wire::node::PieceMeta;

/// The low bits of a sequence number count within an epoch.
const COUNTER_BITS: u32 = 40;

/// The highest epoch that has sequence numbers of its own: the catalog keeps them as `i64`. No server
/// starts that often.
const SEQ_EPOCH_MAX: u64 = (1 << (63 - COUNTER_BITS)) - 1;

/// Versions of files on four nodes.
pub struct Volume {
    roster: Arc<Roster>,
    /// Tells which nodes may still have to receive what they should hold; `None` in tests.
    replication: Option<Arc<Replication>>,
    random: Arc<Random>,
    buffers: Arc<BufferPool>,
    fanout: Fanout,
    traffic: Arc<Traffic>,
    sequence: Arc<Sequence>,
    running: Arc<Running>,
    strays: Strays,
}

impl Volume {
    /// A volume on these nodes.
    pub fn new(roster: Arc<Roster>, random: Arc<Random>, fanout: Fanout) -> Volume {
        Volume {
            roster,
            replication: None,
            random,
            buffers: Arc::default(),
            fanout,
            traffic: Arc::default(),
            sequence: Arc::default(),
            running: Arc::default(),
            strays: Strays::default(),
        }
    }

    /// The same where pieces also reach the nodes inside the journal: one that a node does not have
    /// yet is not taken for lost.
    #[must_use]
    pub fn following(mut self, replication: Arc<Replication>) -> Volume {
        self.replication = Some(replication);
        self
    }

    /// The nodes.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Begins to store a version. The pieces of a small file may travel inside the journal.
    ///
    /// # Errors
    /// [`TooFewToStore`](Error::TooFewToStore) if fewer than three nodes are up,
    /// [`NodesFull`](Error::NodesFull) if fewer than three have room for it.
    pub fn write(&self, meta: &PieceMeta) -> Result<Writing> {
        let allowance = Allowance::new(self.buffers.clone());
        let running = Running::enter(&self.running, meta.version);
        let (roster, sequence) = (self.roster.clone(), self.sequence.clone());
        let keeps_up =
            || self.replication.as_ref().is_none_or(|replication| replication.keeps_up());
        let may_be_inline = meta.part.is_none() && keeps_up();
        Writing::begin(roster, allowance, self.fanout, sequence, running, meta, may_be_inline)
    }

    /// Begins to read a version.
    ///
    /// # Errors
    /// [`TooFewToRead`](Error::TooFewToRead) if it cannot be read now, with the nodes that turned out
    /// not to hold their piece, or to hold it damaged.
    pub fn read(&self, wanted: Wanted<'_>) -> std::result::Result<Reading, (Error, NodeSet)> {
        Reading::begin(self.roster.clone(), self.random.clone(), wanted, self.in_step())
    }

    /// Rebuilds and stages the piece of a version that a node lacks. `moved` hears after every stripe
    /// how many bytes were read for it, and may take its time.
    pub fn rebuild(&self, lost: NodeId, lacking: &Lacking, moved: &mut dyn FnMut(u64)) -> Rebuilt {
        rebuild::rebuild(&self.roster, &self.random, self.in_step(), lost, lacking, moved)
    }

    /// A sequence number above all that this server, or any before it, has drawn.
    pub fn draw_seq(&self) -> Seq {
        self.sequence.draw(self.roster.leadership().epoch())
    }

    /// The transfers of users, to which background work gives way.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Is this version being stored just now?
    pub(super) fn is_running(&self, version: VersionId) -> bool {
        self.running.versions.lock().contains(&version)
    }

    /// Pieces that the catalog does not know.
    pub(super) fn strays(&self) -> &Strays {
        &self.strays
    }

    /// The nodes that hold what the catalog places on them, unless they have lost it.
    pub(super) fn in_step(&self) -> NodeSet {
        self.replication.as_ref().map_or(NodeSet::ALL, |replication| replication.in_step())
    }
}

/// Counts the sequence numbers of one server.
#[derive(Default)]
pub(super) struct Sequence {
    drawn: AtomicU64,
}

impl Sequence {
    pub(super) fn draw(&self, epoch: u64) -> Seq {
        let first = epoch.min(SEQ_EPOCH_MAX) << COUNTER_BITS;
        Seq(first + self.drawn.fetch_add(1, Ordering::SeqCst))
    }
}

/// The versions that are being stored: nodes may hold pieces of them that the catalog does not know.
#[derive(Default)]
pub(super) struct Running {
    versions: Mutex<HashSet<VersionId>>,
}

/// One of them, until this is dropped.
pub(super) struct RunningVersion {
    running: Arc<Running>,
    version: VersionId,
}

impl Running {
    fn enter(running: &Arc<Running>, version: VersionId) -> RunningVersion {
        running.versions.lock().insert(version);
        RunningVersion { running: running.clone(), version }
    }
}

impl Drop for RunningVersion {
    fn drop(&mut self) {
        self.running.versions.lock().remove(&self.version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_grow_with_every_draw_and_with_every_epoch() {
        let (older, newer) = (Sequence::default(), Sequence::default());
        let [first, second] = [older.draw(1), older.draw(1)];
        assert!(first < second && second < newer.draw(2));
        let last = Sequence::default().draw(u64::MAX);
        assert!(i64::try_from(last.0).is_ok(), "the catalog can keep it");
    }

    #[test]
    fn a_version_is_running_until_its_guard_is_dropped() {
        let running = Arc::new(Running::default());
        let version = VersionId([1; 16]);
        let guard = Running::enter(&running, version);
        assert!(running.versions.lock().contains(&version));
        drop(guard);
        assert!(running.versions.lock().is_empty());
    }
}
