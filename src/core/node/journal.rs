//! The replication journal of one node: entries, and the pieces of small files that came with them.
//!
//! ```text
//!   backup/journal-1-0      head | entry 1 | entry 2 + piece | ... | entry 4711
//!   backup/journal-3-4711   head | entry 4712 | ...          <- the last one is appended to
//! ```
//!
//! The rules are Raft's for a follower. The node takes entries only behind the entry that they name. It
//! keeps those that it has already, and cuts a tail that contradicts them, but never an entry that is
//! decided. A server's `decided` counts only up to the last entry that this server has matched: what
//! follows may be another server's undecided tail.
//!
//! Invariants: what is in the index is on the disk, synced. An append is one write and one sync. It
//! overwrites zeros that were written ahead: a sync that does not make the file longer is quicker. Behind
//! the end of the last segment there is nothing else than zeros: it is cut when it is opened. After a
//! disk error the index says what is known to be good: the file is cut back to that and the folder is
//! scanned again before the next use. A segment's name is durable before an entry in it is acknowledged.
//! A piece is found in the journal until its block files are there.
//!
//! Locks: `writer` is held for a whole change, `index` only for moments, so that readers do not wait for
//! a sync. `generation` counts the changes that move entries to other offsets. Until it changes, the bytes
//! of a segment stay as they are up to the length that is in the index. A reader reads no further: what
//! was written ahead behind it is overwritten by the next append, or cut when the next segment begins.

mod index;
mod load;
mod tidy;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::core::code::checksum;
use crate::core::code::layout::Layout;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, WriteFile};
use crate::core::node::frames::{FrameReader, NextFrame};
use crate::core::node::gap::Gap;
use crate::core::node::pieces::Pieces;
use crate::core::node::snapshots::Snapshots;
use crate::core::node::stage::disk_error;
use crate::core::types::{ClusterId, Moment, NodeId, VersionId};
use crate::core::wire::journal::{Chain, Change, Entry, JournalState, Point, RECORD_BYTES_MAX};
use crate::core::wire::node::{
    Append, ENTRIES_MAX, ENTRY_BYTES_MAX, INLINE_FILE_BYTES_MAX, InlinePiece,
};
use crate::core::wire::snapshot::{
    FORMAT, Logged, SegmentHead, SnapshotHead, decode, frame_of, segment_name,
};
use index::{BACKLOG_PIECE_BYTES_MIN, Index, InlinePlace, NewPiece, Segment, Spot};
pub(super) use tidy::WaitingPiece;

/// A new segment begins once the last one is this long.
const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// As many zeros are written ahead as the segment has bytes, but no more than this.
const AHEAD_BYTES_MAX: u64 = 1 << 20;

/// Nothing is written ahead in a segment that is shorter.
const AHEAD_FROM_BYTES: u64 = 4 << 10;

/// On a disk with less room than this nothing is written ahead.
const AHEAD_FREE_BYTES_MIN: u64 = 64 << 20;

/// The most bytes of pieces that wait to be written out as block files.
const BACKLOG_BYTES_MAX: u64 = 256 << 20;

/// How often a read is retried that a compaction or truncation has got in the way of.
const LOOKS_MAX: usize = 5;

/// The journal in one node's folder.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Where the segments are.
    folder: PathBuf,
    id: NodeId,
    pieces: Arc<Pieces>,
    gap: Arc<Gap>,
    /// The last segment, if it is open.
    writer: Mutex<Option<Box<dyn WriteFile>>>,
    index: RwLock<Index>,
}

/// An entry as it is about to be written.
struct Framed {
    point: Point,
    bytes: Vec<u8>,
    /// The piece that came with it.
    piece: Option<NewPiece>,
    /// The versions whose pieces it places on this node.
    placed_here: Vec<VersionId>,
}

impl Journal {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        root: &Path,
        id: NodeId,
        pieces: Arc<Pieces>,
        gap: Arc<Gap>,
    ) -> Journal {
        Journal {
            disk,
            root: root.to_path_buf(),
            folder: root.join("backup"),
            id,
            pieces,
            gap,
            writer: Mutex::new(None),
            index: RwLock::default(),
        }
    }

    /// Scans the folder for the journal of this cluster, the first time. `followed` is the last entry
    /// that the node has followed durably.
    pub(super) fn begin(
        &self,
        cluster: ClusterId,
        snapshots: &Snapshots,
        followed: u64,
    ) -> Result<()> {
        let mut writer = self.writer.lock();
        if self.index.read().cluster == Some(cluster) {
            return Ok(());
        }
        let mut found = self.load(cluster, snapshots.newest(), followed, None, &mut writer)?;
        found.kept_from = snapshots.kept_from();
        *self.index.write() = found;
        Ok(())
    }

    /// Another server has registered; how much of this journal it shares is not known yet.
    pub(super) fn change_server(&self) {
        let mut index = self.index.write();
        index.matched = index.decided;
    }

    /// How far it is.
    pub(super) fn state(&self) -> Result<JournalState> {
        self.settle()?;
        Ok(self.state_now())
    }

    /// Scans the folder again if there was a disk error.
    fn settle(&self) -> Result<()> {
        if self.index.read().is_trusted {
            return Ok(());
        }
        self.make_trusted(&mut self.writer.lock())
    }

    fn state_now(&self) -> JournalState {
        let index = self.index.read();
        let nothing = Point { id: 0, epoch: 0, at: Moment(0), chain: Chain([0; 16]) };
        JournalState {
            end: index.segments.last().map_or(nothing, |last| last.last),
            decided: index.decided,
            snapshot: index.snapshot.map_or(0, |head| head.at.id),
            backlog_bytes: index.backlog_bytes,
            gap: self.gap.current(),
        }
    }

    /// Up to which entry all is decided.
    pub(super) fn decided(&self) -> u64 {
        self.index.read().decided
    }

    /// The server says that all up to this entry is decided; counts as far as the server has matched
    /// this journal.
    pub(super) fn decide(&self, told: u64) {
        let mut index = self.index.write();
        index.decided = index.decided.max(told.min(index.matched));
    }

    /// Bytes of pieces that wait to be written out.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.index.read().backlog_bytes
    }

    /// Where the piece of a version is, if it is not written out yet.
    pub(super) fn inline(&self, version: VersionId) -> Option<InlinePlace> {
        let index = self.index.read();
        let inline = index.inline.get(&version)?;
        Some(inline.place(self.folder.join(segment_name(inline.segment))))
    }

    /// The versions of pieces that are not written out yet, of those whose id begins with this byte.
    pub(super) fn inline_versions(&self, first: u8) -> Vec<VersionId> {
        let [mut from, mut to] = [[0; 16], [u8::MAX; 16]];
        (from[0], to[0]) = (first, first);
        let index = self.index.read();
        index.inline.range(VersionId(from)..=VersionId(to)).map(|(version, _)| *version).collect()
    }

    /// A version was dropped, or its block files are there.
    pub(super) fn forget_piece(&self, version: VersionId) {
        self.index.write().forget(version);
    }

    /// Entry `id`; `None` if the journal does not have it, or no longer.
    pub(super) fn point_at(&self, id: u64) -> Result<Option<Point>> {
        self.settle()?;
        self.find_point(id)
    }

    fn find_point(&self, id: u64) -> Result<Option<Point>> {
        {
            let index = self.index.read();
            let known = index.segments.iter().flat_map(|segment| [segment.after, segment.last]);
            if let Some(point) = known.into_iter().find(|point| point.id == id) {
                return Ok(Some(point));
            }
        }
        let Some(before) = id.checked_sub(1) else { return Ok(None) };
        let found = self.entries_between(before, id)?;
        Ok(found.and_then(|entries| entries.first().map(Entry::point)))
    }

    /// Passes all entries behind this point to `take`, page by page.
    ///
    /// # Errors
    /// If the journal does not have the point, or the disk fails; those of `take`.
    pub(super) fn entries(
        &self,
        after: Point,
        take: &mut dyn FnMut(Vec<Entry>) -> Result<()>,
    ) -> Result<()> {
        if self.point_at(after.id)? != Some(after) {
            let why = format!("its journal does not contain the server's entry {}", after.id);
            return Err(self.refused(why));
        }
        let mut at = after;
        loop {
            let cut = || self.refused("its journal was cut while it was read".into());
            let page = self.entries_between(at.id, u64::MAX)?.ok_or_else(cut)?;
            let Some(first) = page.first() else { return Ok(()) };
            if !first.follows(at) {
                return Err(cut());
            }
            at = page.last().map_or(at, Entry::point);
            take(page)?;
        }
    }

    /// The entries behind entry `after` up to entry `upto`, as many as fit into a message; empty at the
    /// end. `None` if the journal begins behind `after`.
    pub(super) fn entries_between(&self, after: u64, upto: u64) -> Result<Option<Vec<Entry>>> {
        for _ in 0..LOOKS_MAX {
            let (spot, generation) = {
                let index = self.index.read();
                match index.segments.first() {
                    None => return Ok(Some(Vec::new())),
                    Some(first) if after < first.after.id => return Ok(None),
                    Some(_) => (index.behind(after), index.generation),
                }
            };
            let Some(spot) = spot.filter(|spot| spot.mark.point.id < upto) else {
                return Ok(Some(Vec::new()));
            };
            let path = self.folder.join(segment_name(spot.segment));
            let read = self.read_entries(&path, spot, after, upto);
            if self.index.read().generation != generation {
                continue;
            }
            return match read {
                Ok(Some(entries)) => Ok(Some(entries)),
                Ok(None) => {
                    // The next scan ends the journal before the damage.
                    self.index.write().is_trusted = false;
                    Err(self.refused("its journal is damaged".into()))
                }
                Err(e) => Err(disk_error(self.id, &e)),
            };
        }
        Err(self.refused("its journal changed too often while it was read".into()))
    }

    /// Reads entries from a spot on; `None` if the bytes there are no such entries.
    fn read_entries(
        &self,
        path: &Path,
        spot: Spot,
        after: u64,
        upto: u64,
    ) -> io::Result<Option<Vec<Entry>>> {
        let file = self.disk.open(path)?;
        let mut reader = FrameReader::up_to(&*file, spot.mark.at, spot.length)?;
        let (mut point, mut bytes, mut entries) = (spot.mark.point, 0, Vec::new());
        while point.id < upto.min(spot.last) && entries.len() < ENTRIES_MAX {
            let NextFrame::Content(content) = reader.next()? else { return Ok(None) };
            let Ok(Logged { entry, .. }) = decode(&content) else { return Ok(None) };
            if !entry.follows(point) {
                return Ok(None);
            }
            point = entry.point();
            if point.id <= after {
                continue;
            }
            bytes += entry.record.len();
            if bytes > ENTRY_BYTES_MAX {
                break;
            }
            entries.push(entry);
        }
        Ok(Some(entries))
    }

    /// Appends entries, with the pieces in `body`, and returns the state of the journal, which is
    /// unchanged if `prev` is not in it. Durable when this returns.
    ///
    /// # Errors
    /// [`NodeFailure::Refused`] if the entries contradict decided ones or are malformed, or too many
    /// pieces wait to be written out; [`NodeFailure::NoSpace`]; or the disk fails.
    pub(super) fn append(&self, append: &Append, body: &[u8]) -> Result<JournalState> {
        let mut framed = self.frame(append, body)?;
        let mut writer = self.writer.lock();
        self.make_trusted(&mut writer)?;
        if self.find_point(append.prev.id)? != Some(append.prev) {
            return Ok(self.state_now());
        }
        let (kept, at) = self.kept(append)?;
        framed.drain(..kept);
        if !framed.is_empty() {
            self.check_new(at, append, kept)?;
            self.note_lacking(at, &framed)?;
            self.truncate(at, &mut writer)?;
            self.write(&framed, &mut writer)?;
        }
        let matched = append.entries.last().map_or(append.prev.id, |last| last.id);
        let mut index = self.index.write();
        index.matched = index.matched.max(matched);
        index.decided = index.decided.max(append.decided.min(index.matched));
        drop(index);
        Ok(self.state_now())
    }

    /// Checks what can be checked without the journal, and encodes the entries.
    fn frame(&self, append: &Append, body: &[u8]) -> Result<Vec<Framed>> {
        self.check_limits(append, body.len())?;
        let mut rest = body;
        let mut pieces = append.pieces.iter().peekable();
        let mut framed = Vec::with_capacity(append.entries.len());
        for (at, entry) in append.entries.iter().enumerate() {
            let change = entry.change().map_err(|e| self.refused(e.to_string()))?;
            let came = pieces.next_if(|piece| usize::from(piece.entry) == at);
            let came = came.map(|came| self.take_piece(&change, came, &mut rest)).transpose()?;
            let (piece, units) = came.unzip();
            let placed_here = match change {
                Change::Placed { node, versions } if node == self.id => versions,
                other => other.stores_on(self.id).into_iter().collect(),
            };
            let bytes = frame_of(&Logged { entry: entry.clone(), piece: units })?;
            framed.push(Framed { point: entry.point(), bytes, piece, placed_here });
        }
        if pieces.next().is_some() || !rest.is_empty() {
            return Err(self.refused("the pieces do not match the entries".into()));
        }
        Ok(framed)
    }

    fn check_limits(&self, append: &Append, body_bytes: usize) -> Result<()> {
        let record_bytes: usize = append.entries.iter().map(|entry| entry.record.len()).sum();
        if append.entries.len() > ENTRIES_MAX
            || record_bytes > ENTRY_BYTES_MAX
            || append.entries.iter().any(|entry| entry.record.len() > RECORD_BYTES_MAX)
        {
            return Err(self.refused("too many entries came at once".into()));
        }
        let new_bytes = BACKLOG_PIECE_BYTES_MIN
            .saturating_mul(append.pieces.len() as u64)
            .max(body_bytes as u64);
        let is_full = self.index.read().backlog_bytes + new_bytes > BACKLOG_BYTES_MAX;
        if is_full && !append.pieces.is_empty() {
            let why = "it is busy: too many pieces wait to be written out as block files";
            return Err(self.refused(why.into()));
        }
        Ok(())
    }

    /// Takes an entry's piece from the front of the rest of the body.
    fn take_piece(
        &self,
        change: &Change,
        came: &InlinePiece,
        rest: &mut &[u8],
    ) -> Result<(NewPiece, Vec<u8>)> {
        let wrong = |why: &str| self.refused(why.into());
        let &Change::Stored { version, bytes, inline: true, .. } = change else {
            return Err(wrong("a piece came with an entry that has none"));
        };
        let layout = inline_layout(bytes)
            .filter(|layout| layout.unit_bytes(0) == came.unit_bytes as usize)
            .ok_or_else(|| {
                wrong("a piece does not have the length that its file's layout asks for")
            })?;
        let Some((both, behind)) = rest.split_at_checked(2 * layout.unit_bytes(0)) else {
            return Err(wrong("the body is shorter than its pieces"));
        };
        let (first, second) = both.split_at(layout.unit_bytes(0));
        if [first, second].map(checksum::unit) != came.checksums {
            return Err(wrong("a unit was damaged in transit"));
        }
        *rest = behind;
        Ok((NewPiece { version, layout, checksums: came.checksums }, both.to_vec()))
    }

    /// How many of the entries the journal has already, and the last of them.
    fn kept(&self, append: &Append) -> Result<(usize, Point)> {
        let (mut kept, mut at) = (0, append.prev);
        while let Some(next) = append.entries.get(kept) {
            let page = self.entries_between(at.id, at.id + (append.entries.len() - kept) as u64)?;
            let page = page.unwrap_or_default();
            let same = page.iter().zip(&append.entries[kept..]).take_while(|(a, b)| a == b);
            let count = same.count();
            if count == 0 {
                debug_assert!(page.first() != Some(next));
                break;
            }
            kept += count;
            at = append.entries[kept - 1].point();
        }
        Ok((kept, at))
    }

    /// Checks that the new entries follow `at`, and that what they replace is not decided.
    fn check_new(&self, mut at: Point, append: &Append, kept: usize) -> Result<()> {
        let index = self.index.read();
        if at.id < index.decided {
            let why = format!(
                "its journal contradicts the server's: entry {} is decided and differs",
                at.id + 1
            );
            return Err(self.refused(why));
        }
        for entry in &append.entries[kept..] {
            if !entry.follows(at) {
                return Err(self.refused("an entry does not follow the one before it".into()));
            }
            at = entry.point();
        }
        Ok(())
    }

    /// Opens the gap if one of the new entries, which follow `at`, places a piece on this node that
    /// neither comes with it nor is held.
    fn note_lacking(&self, at: Point, framed: &[Framed]) -> Result<()> {
        let failed = |e: io::Error| disk_error(self.id, &e);
        let came: BTreeSet<VersionId> =
            framed.iter().filter_map(|framed| Some(framed.piece?.version)).collect();
        for version in framed.iter().flat_map(|framed| &framed.placed_here) {
            let is_held = came.contains(version)
                || self.index.read().inline.get(version).is_some_and(|own| own.entry <= at.id)
                || self.pieces.holds(*version).map_err(failed)?;
            if !is_held {
                return self.gap.raise().map_err(failed);
            }
        }
        Ok(())
    }

    /// Cuts the journal behind this entry.
    fn truncate(&self, to: Point, writer: &mut Option<Box<dyn WriteFile>>) -> Result<()> {
        if self.index.read().end_id() == to.id {
            return Ok(());
        }
        let length = self.length_up_to(to.id)?;
        let removed = self.index.write().truncate(to, length);
        tracing::info!("cut the journal behind entry {}: the rest was never decided", to.id);
        let cut = (|| {
            *writer = None;
            for after in removed.iter().rev() {
                self.disk.remove(&self.folder.join(segment_name(*after)))?;
            }
            if !removed.is_empty() {
                self.disk.sync_folder(&self.folder)?;
            }
            *writer = Some(self.disk.append_to(&self.last_path(), length)?);
            Ok(())
        })();
        cut.map_err(|e| self.distrust(&e))
    }

    /// Where an entry ends in its segment.
    fn length_up_to(&self, id: u64) -> Result<u64> {
        let spot = self.index.read().ending_at(id);
        let read = (|| {
            let Some(spot) = spot else { return Err(ErrorKind::InvalidData.into()) };
            let file = self.disk.open(&self.folder.join(segment_name(spot.segment)))?;
            let mut reader = FrameReader::up_to(&*file, spot.mark.at, spot.length)?;
            for _ in spot.mark.point.id..id {
                if !matches!(reader.next()?, NextFrame::Content(_)) {
                    return Err(ErrorKind::InvalidData.into());
                }
            }
            Ok(reader.at())
        })();
        read.map_err(|e| self.distrust(&e))
    }

    fn write(&self, framed: &[Framed], writer: &mut Option<Box<dyn WriteFile>>) -> Result<()> {
        if self.index.read().last_length() >= SEGMENT_BYTES_MAX {
            self.roll(writer)?;
        }
        let length = self.index.read().last_length();
        let frames: Vec<&[u8]> = framed.iter().map(|framed| &framed.bytes[..]).collect();
        let bytes = frames.concat();
        let written = (|| {
            let file = match &mut *writer {
                Some(file) => file,
                none => none.insert(self.disk.append_to(&self.last_path(), length)?),
            };
            file.append(&bytes)?;
            if file.ahead_bytes() == 0 {
                self.write_ahead(&mut **file, length + bytes.len() as u64)?;
            }
            file.sync()
        })();
        if let Err(e) = written {
            *writer = None;
            return Err(self.distrust(&e));
        }
        let mut index = self.index.write();
        for framed in framed {
            index.push(framed.point, framed.bytes.len(), framed.piece.as_ref());
        }
        Ok(())
    }

    /// Writes zeros for the next appends; they become durable with the one that is made.
    fn write_ahead(&self, file: &mut dyn WriteFile, length: u64) -> io::Result<()> {
        let has_room = || {
            let space = self.disk.space(&self.folder);
            space.is_ok_and(|space| space.free_bytes >= AHEAD_FREE_BYTES_MIN)
        };
        if length < AHEAD_FROM_BYTES || !has_room() {
            return Ok(());
        }
        match file.write_ahead(length.min(AHEAD_BYTES_MAX)) {
            // The next appends are slower.
            Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Ok(())
            }
            written => written,
        }
    }

    /// Begins a segment behind the last entry.
    fn roll(&self, writer: &mut Option<Box<dyn WriteFile>>) -> Result<()> {
        let (cluster, end) = {
            let index = self.index.read();
            (index.cluster, index.end())
        };
        let (Some(cluster), Some(end)) = (cluster, end) else {
            return Err(self.refused("no server has registered yet".into()));
        };
        // What was written ahead is not needed any more.
        *writer = None;
        let length = self.index.read().last_length();
        self.disk.append_to(&self.last_path(), length).map_err(|e| self.distrust(&e))?;
        let (segment, file) = self.create_segment(cluster, end).map_err(|e| self.distrust(&e))?;
        *writer = Some(file);
        self.index.write().segments.push(segment);
        Ok(())
    }

    fn create_segment(
        &self,
        cluster: ClusterId,
        after: Point,
    ) -> io::Result<(Segment, Box<dyn WriteFile>)> {
        let head = SegmentHead { format: FORMAT, cluster, after };
        let bytes = frame_of(&head).map_err(|e| io::Error::other(e.to_string()))?;
        let mut file = self.disk.create(&self.folder.join(segment_name(after)))?;
        file.append(&bytes)?;
        file.sync()?;
        self.disk.sync_folder(&self.folder)?;
        Ok((Segment::new(after, bytes.len() as u64), file))
    }

    /// Is a snapshot's point in the journal? If not, the journal has to restart behind it.
    ///
    /// # Errors
    /// If the point contradicts decided entries or lies before the first one, or the disk fails.
    pub(super) fn reaches(&self, at: Point) -> Result<bool> {
        self.settle()?;
        self.reaches_now(at)
    }

    fn reaches_now(&self, at: Point) -> Result<bool> {
        let found = self.find_point(at.id)?;
        let index = self.index.read();
        if found == Some(at) {
            return Ok(true);
        }
        if at.id <= index.decided {
            let why = format!(
                "the snapshot's entry {} is not the one that is decided in its journal",
                at.id
            );
            return Err(self.refused(why));
        }
        Ok(false)
    }

    /// A snapshot was installed. A journal that does not contain its point restarts behind it.
    pub(super) fn take_snapshot(&self, head: SnapshotHead, snapshots: &Snapshots) -> Result<()> {
        let mut writer = self.writer.lock();
        self.make_trusted(&mut writer)?;
        if !self.reaches_now(head.at)? {
            // Write-out has not synced the new names of the block files.
            self.disk.sync_all(&self.root).map_err(|e| self.distrust(&e))?;
            let created = self.create_segment(head.cluster, head.at);
            let (segment, file) = created.map_err(|e| self.distrust(&e))?;
            *writer = Some(file);
            let old = self.index.write().restart(segment);
            let removed = (|| {
                for after in old.iter().filter(|after| **after != head.at) {
                    self.disk.remove(&self.folder.join(segment_name(*after)))?;
                }
                self.disk.sync_folder(&self.folder)
            })();
            removed.map_err(|e| self.distrust(&e))?;
        }
        let mut index = self.index.write();
        (index.snapshot, index.kept_from) = (snapshots.newest(), snapshots.kept_from());
        index.decided = index.decided.max(head.at.id);
        index.matched = index.matched.max(head.at.id);
        Ok(())
    }

    /// The file that is appended to.
    fn last_path(&self) -> PathBuf {
        let index = self.index.read();
        let after = index.segments.last().map(|last| segment_name(last.after));
        self.folder.join(after.unwrap_or_default())
    }

    /// Scans the folder again after a disk error.
    fn make_trusted(&self, writer: &mut Option<Box<dyn WriteFile>>) -> Result<()> {
        let old = {
            let index = self.index.read();
            match index.cluster {
                Some(cluster) if !index.is_trusted => Some((cluster, index.clone())),
                _ => None,
            }
        };
        let Some((cluster, old)) = old else { return Ok(()) };
        *writer = None;
        let found = self.load(cluster, old.snapshot, old.followed, Some(&old), writer)?;
        *self.index.write() = found;
        Ok(())
    }

    /// Has the folder scanned before the next use.
    fn distrust(&self, e: &io::Error) -> Error {
        self.index.write().is_trusted = false;
        disk_error(self.id, e)
    }

    fn refused(&self, why: String) -> Error {
        Error::node(self.id, NodeFailure::Refused(why))
    }
}

/// The layout of a file whose pieces may travel inside the journal.
fn inline_layout(file_bytes: u64) -> Option<Layout> {
    Layout::checked(file_bytes).filter(|layout| layout.file_bytes() <= INLINE_FILE_BYTES_MAX.into())
}

#[cfg(test)]
mod tests;
