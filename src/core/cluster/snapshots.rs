//! Snapshots of the catalog on the nodes: taken when the journal has grown, or when a node lacks more than
//! the journal still has.
//!
//! A snapshot is made once, into a file of the server's, from one moment of the catalog that readers
//! see; making and sending it holds up nobody. Their cost stays in proportion to what has changed, as
//! the next one is made when the journal has grown to half of the catalog's size.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::catalog::Catalog;
use crate::core::cluster::leadership::LeadershipPhase;
use crate::core::cluster::recover;
use crate::core::cluster::replication::Replication;
use crate::core::cluster::roster::Roster;
use crate::core::code::checksum;
use crate::core::error::{Code, Error, NodeFailure, Result, Troubles};
use crate::core::io::clock;
use crate::core::io::disk::{Disk, ReadFile, RealDisk};
use crate::core::types::{NodeId, NodeSet};
use crate::core::wire::journal::{Entry, Point, RECORD_BYTES_MAX};
use crate::core::wire::node::Append;
use crate::core::wire::snapshot::{
    CHUNK_BYTES, FRAME_HEAD_BYTES, SnapshotHead, SnapshotReply, SnapshotRequest, read_frame,
};

/// A journal that is shorter than this gives way to no snapshot.
const JOURNAL_BYTES_MIN: u64 = 8 << 20;

/// A journal of fewer entries cannot be that long.
const ENTRIES_MIN: u64 = JOURNAL_BYTES_MIN / RECORD_BYTES_MAX as u64;

/// How long a node is left alone that did not take a snapshot.
const PAUSE: Duration = Duration::from_secs(10);

/// How far one node is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SnapshotProgress {
    /// When it last took a snapshot from this server, in milliseconds since 1970.
    pub written_ms: Option<i64>,
    /// Why it did not take one the last time, if it did not.
    pub trouble: Option<String>,
}

/// Makes snapshots and gives them to nodes.
pub struct Snapshots {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    replication: Arc<Replication>,
    /// Where the newest one is kept on this machine.
    file: PathBuf,
    /// What is in that file.
    head: Mutex<Option<SnapshotHead>>,
    progress: Mutex<[SnapshotProgress; 4]>,
    pauses: Mutex<[Option<Duration>; 4]>,
    start: Instant,
}

impl Snapshots {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        roster: Arc<Roster>,
        replication: Arc<Replication>,
        file: PathBuf,
    ) -> Snapshots {
        Snapshots {
            catalog,
            roster,
            replication,
            file,
            head: Mutex::new(None),
            progress: Mutex::default(),
            pauses: Mutex::default(),
            start: Instant::now(),
        }
    }

    /// How long this has been running: what [`Snapshots::round`] is given outside of simulations.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// How far the nodes are.
    pub fn progress(&self) -> [SnapshotProgress; 4] {
        self.progress.lock().clone()
    }

    /// Gives snapshots to the nodes that are due for one. `now` counts from any fixed point.
    pub fn round(&self, now: Duration) {
        let leads = self.roster.leadership().is_established();
        for id in self.roster.up().iter() {
            if self.pauses.lock()[id.index()].is_some_and(|until| now < until) {
                continue;
            }
            if !leads {
                let has_read = self.roster.leadership().phase() >= LeadershipPhase::Reading;
                if has_read && self.replication.wants_snapshot().contains(id) {
                    self.note(id, &self.relay(id), now);
                }
                continue;
            }
            match self.is_due(id) {
                Ok(Some(at_least)) => {
                    let sent = self.send(id, at_least);
                    self.note(id, &sent, now);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    /// Makes a snapshot of what the catalog is now and gives it to every node that is up. Says which
    /// nodes have it, and why the others have not.
    ///
    /// # Errors
    /// [`Code::Temporary`] before this server leads: its catalog may have entries that are not decided,
    /// and what is in a snapshot is. Or no snapshot can be made.
    pub fn snapshot_now(&self, now: Duration) -> Result<(NodeSet, Troubles)> {
        self.roster.leadership().check()?;
        if !self.roster.leadership().is_established() {
            let text = "the server does not lead the cluster yet, try again in a moment";
            return Err(Error::other(Code::Temporary, text));
        }
        let wanted = self.catalog.end()?.id;
        let mut troubles = self.roster.troubles(NodeSet::ALL);
        let mut have = NodeSet::EMPTY;
        for id in self.roster.up().iter() {
            let sent = self.send(id, wanted);
            self.note(id, &sent, now);
            match sent {
                Ok(()) => have.insert(id),
                Err(Error::Node { why, .. }) => troubles.note(id, why.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok((have, troubles))
    }

    /// From which entry on a node needs a snapshot; `None` if it needs none.
    fn is_due(&self, id: NodeId) -> Result<Option<u64>> {
        let Some(journal) = self.roster.seen(id).journal else { return Ok(None) };
        if self.replication.wants_snapshot().contains(id) {
            return Ok(Some(journal.end.id.min(self.catalog.end()?.id)));
        }
        // Fewer entries than this are never so long.
        if self.replication.end().id.saturating_sub(journal.snapshot) < ENTRIES_MIN {
            return Ok(None);
        }
        let grown = self.catalog.journal_bytes_since(journal.snapshot)?;
        let limit = JOURNAL_BYTES_MIN.max(self.catalog.size_bytes()? / 2);
        Ok((grown > limit).then_some(journal.snapshot + 1))
    }

    fn note(&self, id: NodeId, sent: &Result<()>, now: Duration) {
        let mut progress = self.progress.lock();
        let own = &mut progress[id.index()];
        let trouble = sent.as_ref().err().map(ToString::to_string);
        if let Some(why) = trouble.as_ref().filter(|_| own.trouble != trouble) {
            tracing::warn!("a snapshot of the catalog is tried again: {why}");
        }
        if sent.is_ok() {
            own.written_ms = Some(clock::now_ms());
        }
        own.trouble = trouble;
        self.pauses.lock()[id.index()] = sent.is_err().then(|| now + PAUSE);
    }

    /// Gives a node a snapshot that reaches at least up to this entry.
    fn send(&self, id: NodeId, at_least: u64) -> Result<()> {
        let (head, file) = self.snapshot(at_least)?;
        self.done(id, &SnapshotRequest::Begin(head), &[])?;
        let mut chunks = Chunks { file: &*file, at: 0 };
        for index in 0..head.chunks {
            let failed = Error::io(format!("cannot read {}", self.file.display()));
            let chunk = chunks.next().map_err(failed)?;
            let checksum = checksum::unit(&chunk);
            self.done(id, &SnapshotRequest::Chunk { index, checksum }, &chunk)?;
        }
        self.done(id, &SnapshotRequest::End, &[])?;
        self.replication.snapshot_taken(id);
        let alive = self.roster.node(id).ping(self.replication.decided());
        self.roster.note_alive(id, &self.roster.used(id, alive)?);
        self.prune()
    }

    /// Gives a node another node's snapshot. A server that does not lead yet can make none: its catalog may
    /// hold what is not decided. But it may need this node to lead.
    fn relay(&self, id: NodeId) -> Result<()> {
        let mut others = self.roster.up();
        others.remove(id);
        let heads = recover::list_snapshots(others, &|id| Some(self.roster.node(id).as_ref()))?;
        let end = self.roster.seen(id).journal.map(|journal| journal.end);
        for (head, from) in heads {
            let is_ahead = end.is_some_and(|end| end.rank() < head.at.rank());
            if !is_ahead || self.catalog.point_at(head.at.id)? != Some(head.at) {
                continue;
            }
            self.done(id, &SnapshotRequest::Begin(head), &[])?;
            for index in 0..head.chunks {
                let read = SnapshotRequest::Read { at: head.at, index };
                let answer = self.roster.node(from).snapshot(&read, &[]);
                let (_, chunk) = self.roster.used(from, answer)?;
                let checksum = checksum::unit(&chunk);
                self.done(id, &SnapshotRequest::Chunk { index, checksum }, &chunk)?;
            }
            self.done(id, &SnapshotRequest::End, &[])?;
            self.replication.snapshot_taken(id);
            return Ok(());
        }
        for from in others.iter() {
            if let Some(end) = end
                && self.relay_entries(from, id, end)?
            {
                self.replication.snapshot_taken(id);
                return Ok(());
            }
        }
        let why = "no other node has a snapshot or a journal that it could begin with".into();
        Err(Error::node(id, NodeFailure::Refused(why)))
    }

    /// Gives a node what another node's journal has behind the end of its own. That one may reach further
    /// back than the server's. False if it does not reach back to there.
    fn relay_entries(&self, from: NodeId, id: NodeId, end: Point) -> Result<bool> {
        let mut at = end;
        let mut sent = Ok(());
        let read = self.roster.node(from).entries(end, &mut |entries| {
            let last = entries.last().map_or(at, Entry::point);
            let append = Append { prev: at, decided: 0, entries, pieces: Vec::new() };
            let answer = self.roster.node(id).append(&append, &[]);
            match self.roster.used(id, answer) {
                Ok(journal) => self.roster.note_journal(id, journal),
                Err(error) => sent = Err(error),
            }
            at = last;
            sent.as_ref().map(drop).map_err(|_| Error::Damaged("it is not taken".into()))
        });
        sent?;
        Ok(read.is_ok() && at != end)
    }

    /// The snapshot at hand, or a new one.
    fn snapshot(&self, at_least: u64) -> Result<(SnapshotHead, Box<dyn ReadFile>)> {
        let mut kept = self.head.lock();
        let head = match *kept {
            Some(head)
                if head.at.id >= at_least
                    && self.catalog.point_at(head.at.id)? == Some(head.at) =>
            {
                head
            }
            _ => {
                *kept = None;
                *kept.insert(self.catalog.snapshot(&self.file)?)
            }
        };
        // Open, it stays what it is, even if a newer one is made meanwhile.
        let file = RealDisk
            .open(&self.file)
            .map_err(Error::io(format!("cannot open {}", self.file.display())))?;
        Ok((head, file))
    }

    /// Drops the entries of the catalog's journal that are in the newest snapshot of every node that is
    /// up.
    fn prune(&self) -> Result<()> {
        let snapshots = self.roster.up();
        let snapshots = snapshots.iter().map(|id| self.roster.seen(id).journal);
        let oldest = snapshots.map(|journal| journal.map_or(0, |journal| journal.snapshot)).min();
        match oldest {
            Some(oldest) if oldest > 0 => self.catalog.prune_journal(oldest),
            _ => Ok(()),
        }
    }

    fn done(&self, id: NodeId, request: &SnapshotRequest, body: &[u8]) -> Result<()> {
        let answer = self.roster.node(id).snapshot(request, body);
        match self.roster.used(id, answer)? {
            (SnapshotReply::Done, _) => Ok(()),
            _ => {
                let why = NodeFailure::Refused("it answered something else".into());
                Err(Error::node(id, why))
            }
        }
    }
}

/// The chunks of a snapshot's file, one behind the other.
struct Chunks<'a> {
    file: &'a dyn ReadFile,
    at: u64,
}

impl Chunks<'_> {
    fn next(&mut self) -> std::io::Result<Vec<u8>> {
        let left = self.file.length()?.saturating_sub(self.at);
        let bytes = left.min((FRAME_HEAD_BYTES + CHUNK_BYTES) as u64);
        let mut frame = vec![0; usize::try_from(bytes).unwrap_or_default()];
        self.file.read_exact_at(&mut frame, self.at)?;
        match read_frame(&frame) {
            Ok(Some((content, length))) => {
                self.at += length as u64;
                Ok(content.to_vec())
            }
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }
}
