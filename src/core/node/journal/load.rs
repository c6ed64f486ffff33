//! Scanning a journal's folder: which segments follow each other, and where the journal ends.
//!
//! ```text
//!   journal-1-0: ....|   journal-1-90: ......|   journal-2-200: ...x~~~00000
//!                                                                 ^ torn: cut
//! ```
//!
//! A crash in the middle of an append leaves some sectors of it at the end, in any order. It was never
//! acknowledged, and is cut, with all that was written ahead: what is behind the end of the file that is
//! appended to was never anything but zeros. Everything else that cannot be read is damage: the journal ends there, or goes on behind
//! the newest snapshot, and the gap is opened, since pieces may be lost with it.

use std::io;

use crate::core::code::checksum;
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::WriteFile;
use crate::core::node::frames::{FrameReader, NextFrame};
use crate::core::node::journal::index::{Index, Inline, NewPiece, Segment};
use crate::core::node::journal::{Journal, inline_layout};
use crate::core::node::stage::disk_error;
use crate::core::types::{ClusterId, VersionId};
use crate::core::wire::journal::{Change, Point};
use crate::core::wire::snapshot::{
    FORMAT, Logged, SegmentHead, SnapshotHead, decode, parse_segment_name, segment_name,
};

/// A head's frame is shorter than this, so a file that is longer has had a whole one.
const HEAD_FRAME_BYTES_MAX: u64 = 128;

/// A segment as it was found.
struct Scanned {
    segment: Segment,
    pieces: Vec<(VersionId, Inline)>,
    /// Versions that were dropped, and by which entry.
    dropped: Vec<(u64, Vec<VersionId>)>,
    /// Is the newest snapshot's entry in it, or right before it?
    has_snapshot: bool,
    is_damaged: bool,
}

/// What a file of the journal turns out to be.
enum Scan {
    Segment(Scanned),
    /// Its head cannot be read: a crash came before it was begun, or it is damaged.
    Headless {
        is_torn: bool,
    },
}

/// The segments that follow each other, and the files that are to be removed.
#[derive(Default)]
struct Found {
    chain: Vec<Scanned>,
    stray: Vec<String>,
    is_damaged: bool,
}

impl Journal {
    /// Scans the folder. After a disk error `old` is what is known to be good.
    pub(super) fn load(
        &self,
        cluster: ClusterId,
        snapshot: Option<SnapshotHead>,
        followed: u64,
        old: Option<&Index>,
        writer: &mut Option<Box<dyn WriteFile>>,
    ) -> Result<Index> {
        let failed = |e: io::Error| disk_error(self.id, &e);
        if let Some(old) = old {
            self.cut_back(old).map_err(failed)?;
        }
        let mut found = self.find(cluster, snapshot)?;
        let end = found.chain.last().map(|last| last.segment.last);
        let mut begin = None;
        if let Some(snapshot) = snapshot.filter(|snapshot| !found.reaches(snapshot.at)) {
            // A crash came before the journal could restart behind it, or the journal is lost.
            found.is_damaged = true;
            found.give_up_all();
            begin = Some(snapshot.at);
        } else if found.chain.is_empty() {
            begin = Some(Point::start(cluster));
        }
        let known_before = old.map_or(followed, |old| old.end_id().max(followed));
        found.is_damaged |= end.map_or(0, |end| end.id) < known_before;
        if found.is_damaged {
            self.gap.raise().map_err(failed)?;
        }
        self.repair(&found, writer).map_err(failed)?;
        let mut index = found.into_index(old, followed);
        if let Some(after) = begin {
            let (segment, file) = self.create_segment(cluster, after).map_err(failed)?;
            *writer = Some(file);
            index.segments.push(segment);
        }
        let snapshot_id = snapshot.map_or(0, |head| head.at.id);
        let known_decided = old.map_or(0, |old| old.decided).max(followed).max(snapshot_id);
        index.decided = known_decided.min(index.end_id());
        index.matched = index.decided;
        index.cluster = Some(cluster);
        index.snapshot = snapshot;
        index.kept_from = old.map_or(0, |old| old.kept_from);
        index.generation = old.map_or(0, |old| old.generation + 1);
        index.is_trusted = true;
        Ok(index)
    }

    /// Cuts off what a failed append may have left: after a failed sync the system takes bytes for
    /// durable that are not.
    fn cut_back(&self, old: &Index) -> io::Result<()> {
        let known: Vec<String> =
            old.segments.iter().map(|segment| segment_name(segment.after)).collect();
        for entry in self.disk.list(&self.folder)? {
            if parse_segment_name(&entry.name).is_some() && !known.contains(&entry.name) {
                self.disk.remove(&self.folder.join(&entry.name))?;
            }
        }
        self.disk.sync_folder(&self.folder)?;
        let Some(last) = old.segments.last() else { return Ok(()) };
        match self.disk.append_to(&self.folder.join(segment_name(last.after)), last.length) {
            Ok(mut file) => file.sync(),
            // The scan finds the damage.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) =>
            {
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn find(&self, cluster: ClusterId, snapshot: Option<SnapshotHead>) -> Result<Found> {
        let failed = |e: io::Error| disk_error(self.id, &e);
        let listed = self.disk.list(&self.folder).map_err(failed)?;
        let mut found = Found::default();
        let mut names = Vec::new();
        for entry in listed.into_iter().filter(|entry| !entry.is_folder) {
            match parse_segment_name(&entry.name) {
                Some((epoch, id)) => names.push(((id, epoch), entry.name)),
                // Left over from a compaction.
                None if entry.name.starts_with("journal-") => found.stray.push(entry.name),
                None => {}
            }
        }
        names.sort();
        let at = snapshot.map(|snapshot| snapshot.at);
        for (_, name) in names {
            let scan = self.scan(cluster, &name, at)?;
            found.add(scan, name, at);
        }
        Ok(found)
    }

    /// Reads a segment. `snapshot` is the last entry of the newest snapshot.
    fn scan(&self, cluster: ClusterId, name: &str, snapshot: Option<Point>) -> Result<Scan> {
        let failed = |e: io::Error| disk_error(self.id, &e);
        let file = self.disk.open(&self.folder.join(name)).map_err(failed)?;
        let mut reader = FrameReader::new(&*file, 0).map_err(failed)?;
        let head = match reader.next().map_err(failed)? {
            NextFrame::Content(content) => decode::<SegmentHead>(&content).ok(),
            _ => None,
        };
        let Some(head) = head.filter(|head| segment_name(head.after) == name) else {
            let is_torn = reader.length() <= HEAD_FRAME_BYTES_MAX;
            return Ok(Scan::Headless { is_torn });
        };
        if head.format != FORMAT || head.cluster != cluster {
            return Err(self.foreign(name, "belongs to another cluster or format"));
        }
        let mut scanned = Scanned {
            segment: Segment::new(head.after, reader.at()),
            pieces: Vec::new(),
            dropped: Vec::new(),
            has_snapshot: snapshot == Some(head.after),
            is_damaged: false,
        };
        loop {
            let frame_at = reader.at();
            let next = reader.next().map_err(failed)?;
            let frame_bytes = usize::try_from(reader.at() - frame_at).unwrap_or_default();
            match next {
                NextFrame::End => break,
                NextFrame::Content(content) => match decode::<Logged>(&content) {
                    Ok(logged) if logged.entry.follows(scanned.segment.last) => {
                        let change = logged.entry.change();
                        let change = change
                            .map_err(|_| self.foreign(name, "was written by a newer Palk"))?;
                        scanned.has_snapshot |= snapshot == Some(logged.entry.point());
                        scanned.take(logged, change, frame_bytes);
                    }
                    _ => {
                        scanned.is_damaged = true;
                        break;
                    }
                },
                NextFrame::Broken => {
                    // No crash leaves all sectors of a broken frame and a whole frame behind it.
                    scanned.is_damaged = !reader.is_cut_short().map_err(failed)?
                        && reader.skip_broken()
                        && matches!(reader.next().map_err(failed)?, NextFrame::Content(_));
                    break;
                }
            }
        }
        Ok(Scan::Segment(scanned))
    }

    fn foreign(&self, name: &str, what: &str) -> Error {
        let text = format!(
            "{} {what}: start the node with the folder and the program that belong to this cluster, or \
             with an empty folder",
            self.folder.join(name).display()
        );
        Error::other(Code::NotAllowed, text)
    }

    /// Removes what does not belong to the journal, and cuts its last segment behind the last entry.
    fn repair(&self, found: &Found, writer: &mut Option<Box<dyn WriteFile>>) -> io::Result<()> {
        if !found.stray.is_empty() {
            // Write-out has not synced the names of the block files whose pieces were in it.
            self.disk.sync_all(&self.root)?;
        }
        for name in &found.stray {
            self.disk.remove(&self.folder.join(name))?;
        }
        if !found.stray.is_empty() {
            self.disk.sync_folder(&self.folder)?;
        }
        if let Some(Scanned { segment, .. }) = found.chain.last() {
            let path = self.folder.join(segment_name(segment.after));
            let mut file = self.disk.append_to(&path, segment.length)?;
            // A process that was killed may have left an entry unsynced. It counts from now on.
            file.sync()?;
            self.disk.sync_folder(&self.folder)?;
            *writer = Some(file);
        }
        Ok(())
    }
}

impl Scanned {
    /// Takes the next entry.
    fn take(&mut self, Logged { entry, piece }: Logged, change: Change, frame_bytes: usize) {
        let frame_at = self.segment.push(entry.point(), frame_bytes, piece.is_some());
        match (change, piece) {
            (Change::Stored { version, bytes, .. }, Some(units)) => {
                let layout = inline_layout(bytes);
                let Some(layout) = layout.filter(|own| 2 * own.unit_bytes(0) == units.len()) else {
                    return;
                };
                let (first, second) = units.split_at(units.len() / 2);
                let checksums = [first, second].map(checksum::unit);
                let piece = NewPiece { version, layout, checksums };
                let after = self.segment.after;
                let inline = Inline::new(&piece, entry.id, after, frame_at, frame_bytes);
                self.pieces.push((version, inline));
            }
            (Change::Dropped { versions }, _) => self.dropped.push((entry.id, versions)),
            _ => {}
        }
    }
}

impl Found {
    /// Adds the next segment, if it follows the one before it.
    fn add(&mut self, scan: Scan, name: String, snapshot: Option<Point>) {
        let scanned = match scan {
            Scan::Segment(scanned) => scanned,
            Scan::Headless { is_torn } => {
                self.is_damaged |= !is_torn;
                return self.stray.push(name);
            }
        };
        let after = scanned.segment.after;
        if self.chain.last().is_none_or(|last| last.segment.last == after) {
            self.is_damaged |= scanned.is_damaged;
            self.chain.push(scanned);
        } else if snapshot.is_some_and(|at| after.id <= at.id) {
            // All that is missing before it is in the snapshot.
            self.give_up_all();
            self.is_damaged = true;
            self.chain.push(scanned);
        } else {
            self.is_damaged = true;
            self.stray.push(name);
        }
    }

    fn give_up_all(&mut self) {
        let names = self.chain.drain(..).map(|scanned| segment_name(scanned.segment.after));
        self.stray.extend(names);
    }

    /// Does it contain the newest snapshot's point, or begin behind it?
    fn reaches(&self, at: Point) -> bool {
        self.chain.first().is_some_and(|first| at.id < first.segment.after.id)
            || self.chain.iter().any(|scanned| scanned.has_snapshot)
    }

    fn into_index(self, old: Option<&Index>, followed: u64) -> Index {
        let mut index = Index { followed, ..Index::default() };
        let mut dropped = Vec::new();
        for scanned in self.chain {
            index.segments.push(scanned.segment);
            scanned.pieces.into_iter().for_each(|(version, inline)| index.add(version, inline));
            dropped.extend(scanned.dropped);
        }
        for (entry, versions) in dropped {
            if entry <= followed {
                versions.into_iter().for_each(|version| index.forget(version));
            }
        }
        if let Some(old) = old {
            // The others were written out or dropped since then.
            let known: Vec<VersionId> = index.inline.keys().copied().collect();
            for version in known.into_iter().filter(|version| !old.inline.contains_key(version)) {
                index.forget(version);
            }
        }
        index
    }
}
