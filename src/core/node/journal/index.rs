//! What is known of the journal in memory: its segments, and the pieces that are not written out.
//!
//! Only one entry in 64 KiB is kept, as a mark; a segment is read from there to find the others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::core::code::layout::Layout;
use crate::core::types::{ClusterId, VersionId};
use crate::core::wire::journal::Point;
use crate::core::wire::snapshot::SnapshotHead;

/// The distance between two marks, in bytes.
const MARK_BYTES: u64 = 64 << 10;

/// What a piece counts in the backlog at least.
pub(super) const BACKLOG_PIECE_BYTES_MIN: u64 = 1 << 10;

/// An entry, and where the next one begins in its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) point: Point,
    pub(super) at: u64,
}

/// A file of the journal. It is named by the entry that its first one follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) after: Point,
    pub(super) last: Point,
    pub(super) length: u64,
    marks: Vec<Mark>,
    pub(super) has_pieces: bool,
}

impl Segment {
    /// A segment with a head of this length and no entry.
    pub(super) fn new(after: Point, length: u64) -> Segment {
        let marks = vec![Mark { point: after, at: length }];
        Segment { after, last: after, length, marks, has_pieces: false }
    }

    /// Adds an entry; returns where its frame begins.
    pub(super) fn push(&mut self, point: Point, frame_bytes: usize, has_piece: bool) -> u64 {
        let at = self.length;
        if self.marks.last().is_none_or(|mark| at - mark.at >= MARK_BYTES) {
            self.marks.push(Mark { point: self.last, at });
        }
        self.last = point;
        self.length += frame_bytes as u64;
        self.has_pieces |= has_piece;
        at
    }

    /// The last mark at or before this entry, which lies in this segment or right before it.
    fn mark(&self, id: u64) -> Mark {
        let behind = self.marks.partition_point(|mark| mark.point.id <= id);
        self.marks[behind.saturating_sub(1)]
    }
}

/// From where to read a segment, and up to which entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) segment: Point,
    pub(super) mark: Mark,
    pub(super) last: u64,
    /// Of the segment.
    pub(super) length: u64,
}

impl Spot {
    fn new(segment: &Segment, id: u64, last: u64) -> Spot {
        let Segment { after, length, .. } = *segment;
        Spot { segment: after, mark: segment.mark(id), last, length }
    }
}

/// A piece that has just come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NewPiece {
    pub(super) version: VersionId,
    /// Of its file.
    pub(super) layout: Layout,
    /// Of its two units.
    pub(super) checksums: [u64; 2],
}

/// A piece in the journal that is not written out yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Inline {
    pub(super) entry: u64,
    pub(super) segment: Point,
    /// Where its entry's frame begins.
    pub(super) frame_at: u64,
    /// Where its first unit begins; the second one follows.
    pub(super) offset: u64,
    pub(super) layout: Layout,
    pub(super) checksums: [u64; 2],
}

impl Inline {
    /// The piece at the end of its entry's frame.
    pub(super) fn new(
        piece: &NewPiece,
        entry: u64,
        segment: Point,
        frame_at: u64,
        frame_bytes: usize,
    ) -> Inline {
        let NewPiece { layout, checksums, .. } = *piece;
        let offset = frame_at + frame_bytes as u64 - 2 * layout.unit_bytes(0) as u64;
        Inline { entry, segment, frame_at, offset, layout, checksums }
    }

    pub(super) fn place(&self, path: PathBuf) -> InlinePlace {
        let Inline { frame_at, offset, layout, checksums, .. } = *self;
        InlinePlace { path, frame_at, offset, layout, checksums }
    }

    /// What it counts in the backlog: its bytes, and if they are few what it takes in memory, so that a
    /// limit in bytes limits the number of pieces, too.
    fn bytes(&self) -> u64 {
        BACKLOG_PIECE_BYTES_MIN.max(2 * self.layout.unit_bytes(0) as u64)
    }
}

/// Where a piece lies in the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::core::node) struct InlinePlace {
    /// The segment.
    pub(in crate::core::node) path: PathBuf,
    /// Where its entry's frame begins.
    pub(in crate::core::node) frame_at: u64,
    /// Where the first of its two units begins.
    pub(in crate::core::node) offset: u64,
    /// Of the whole file.
    pub(in crate::core::node) layout: Layout,
    /// Of the two units.
    pub(in crate::core::node) checksums: [u64; 2],
}

impl InlinePlace {
    /// Where its entry's frame ends: the piece is the last in it.
    pub(super) fn frame_end(&self) -> u64 {
        self.offset + 2 * self.layout.unit_bytes(0) as u64
    }
}

/// What is known to be in the journal, synced.
#[derive(Clone, Default)]
pub(super) struct Index {
    /// `None` until a server has registered.
    pub(super) cluster: Option<ClusterId>,
    /// Has there been no disk error since the folder was scanned?
    pub(super) is_trusted: bool,
    /// In order; each begins where the one before it ends. Never empty once there is a cluster.
    pub(super) segments: Vec<Segment>,
    pub(super) decided: u64,
    /// The last entry that the current server is known to share.
    pub(super) matched: u64,
    /// The last entry that the node had followed when the folder was first scanned.
    pub(super) followed: u64,
    /// The newest snapshot.
    pub(super) snapshot: Option<SnapshotHead>,
    /// The last entry of the oldest snapshot that is kept; 0 as long as there are fewer than that.
    pub(super) kept_from: u64,
    pub(super) inline: BTreeMap<VersionId, Inline>,
    /// The same pieces by the number of their entry.
    pub(super) waiting: BTreeMap<u64, VersionId>,
    pub(super) backlog_bytes: u64,
    pub(super) generation: u64,
}

impl Index {
    pub(super) fn end(&self) -> Option<Point> {
        self.segments.last().map(|last| last.last)
    }

    pub(super) fn end_id(&self) -> u64 {
        self.end().map_or(0, |end| end.id)
    }

    pub(super) fn last_length(&self) -> u64 {
        self.segments.last().map_or(0, |last| last.length)
    }

    /// Where to read what follows this entry; `None` if nothing does.
    pub(super) fn behind(&self, id: u64) -> Option<Spot> {
        let segment = self.segments.iter().rev().find(|segment| segment.after.id <= id)?;
        (id < segment.last.id).then(|| Spot::new(segment, id, segment.last.id))
    }

    /// Where to read up to the end of this entry, which is there or is the one before the first.
    pub(super) fn ending_at(&self, id: u64) -> Option<Spot> {
        let segment = self.segments.iter().rev().find(|segment| segment.after.id <= id)?;
        Some(Spot::new(segment, id, id))
    }

    /// An entry was added to the last segment.
    pub(super) fn push(&mut self, point: Point, frame_bytes: usize, piece: Option<&NewPiece>) {
        let Some(segment) = self.segments.last_mut() else { return };
        let frame_at = segment.push(point, frame_bytes, piece.is_some());
        let after = segment.after;
        if let Some(piece) = piece {
            let inline = Inline::new(piece, point.id, after, frame_at, frame_bytes);
            self.add(piece.version, inline);
        }
    }

    pub(super) fn add(&mut self, version: VersionId, inline: Inline) {
        self.forget(version);
        self.backlog_bytes += inline.bytes();
        self.waiting.insert(inline.entry, version);
        self.inline.insert(version, inline);
    }

    pub(super) fn forget(&mut self, version: VersionId) {
        if let Some(inline) = self.inline.remove(&version) {
            self.backlog_bytes -= inline.bytes();
            self.waiting.remove(&inline.entry);
        }
    }

    /// Cuts the journal behind this entry, which ends at this length of its segment. Returns the
    /// segments that are removed.
    pub(super) fn truncate(&mut self, to: Point, length: u64) -> Vec<Point> {
        let kept = self.segments.iter().rposition(|segment| segment.after.id <= to.id);
        let removed = self.segments.split_off(kept.map_or(0, |kept| kept + 1));
        if let Some(last) = self.segments.last_mut() {
            (last.last, last.length) = (to, length);
            last.marks.retain(|mark| mark.at <= length);
        }
        let gone: Vec<VersionId> = self.waiting.range(to.id + 1..).map(|(_, v)| *v).collect();
        gone.into_iter().for_each(|version| self.forget(version));
        self.matched = self.matched.min(to.id);
        self.generation += 1;
        removed.into_iter().map(|segment| segment.after).collect()
    }

    /// Restarts with this segment alone. Returns those that are removed.
    pub(super) fn restart(&mut self, segment: Segment) -> Vec<Point> {
        let at = segment.after.id;
        (self.decided, self.matched) = (at, at);
        self.inline.clear();
        self.waiting.clear();
        self.backlog_bytes = 0;
        self.generation += 1;
        let old = std::mem::replace(&mut self.segments, vec![segment]);
        old.into_iter().map(|segment| segment.after).collect()
    }

    /// Does a piece in this segment wait to be written out?
    pub(super) fn awaits(&self, segment: &Segment) -> bool {
        segment.after.id < segment.last.id
            && self.waiting.range(segment.after.id + 1..=segment.last.id).next().is_some()
    }
}
