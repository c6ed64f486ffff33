//! What shortens a journal: dropping segments that the snapshots cover, and compacting those whose
//! pieces are written out.

use std::io;

use crate::core::error::{Error, Result};
use crate::core::io::disk::WriteFile;
use crate::core::node::frames::{FrameReader, NextFrame};
use crate::core::node::journal::Journal;
use crate::core::node::journal::index::{InlinePlace, Segment};
use crate::core::types::VersionId;
use crate::core::wire::journal::Point;
use crate::core::wire::snapshot::{FORMAT, Logged, SegmentHead, decode, frame_of, segment_name};

/// How much is written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A piece that waits to be written out as block files.
pub(in crate::core::node) struct WaitingPiece {
    /// Whose.
    pub(in crate::core::node) version: VersionId,
    /// Where it is.
    pub(in crate::core::node) place: InlinePlace,
}

impl Journal {
    /// The next pieces to write out, of entries up to this one: at most `most`, and about `bytes_max`
    /// bytes of them.
    pub(in crate::core::node) fn waiting(
        &self,
        upto: u64,
        most: usize,
        bytes_max: usize,
    ) -> Vec<WaitingPiece> {
        let index = self.index.read();
        let mut found = Vec::new();
        let mut bytes = 0;
        for version in index.waiting.range(..=upto).map(|(_, version)| *version) {
            let Some(inline) = index.inline.get(&version) else { continue };
            if found.len() == most || bytes >= bytes_max {
                break;
            }
            bytes += 2 * inline.layout.unit_bytes(0);
            let place = inline.place(self.folder.join(segment_name(inline.segment)));
            found.push(WaitingPiece { version, place });
        }
        found
    }

    /// Reads pieces that are not written out, each with its entry, and passes them on; `None` for one that
    /// is damaged. Those that follow each other in a segment are read together.
    pub(in crate::core::node) fn read_waiting<'a>(
        &self,
        pieces: &[&'a WaitingPiece],
        mut take: impl FnMut(&'a WaitingPiece, Option<Logged>) -> io::Result<()>,
    ) -> io::Result<()> {
        for run in pieces.chunk_by(|a, b| a.place.path == b.place.path) {
            let file = self.disk.open(&run[0].place.path)?;
            let end = run[run.len() - 1].place.frame_end();
            let mut reader = FrameReader::up_to(&*file, run[0].place.frame_at, end)?;
            for piece in run {
                if reader.at() != piece.place.frame_at {
                    reader = FrameReader::up_to(&*file, piece.place.frame_at, end)?;
                }
                let logged = match reader.next()? {
                    NextFrame::Content(content) => decode(&content).ok(),
                    NextFrame::End | NextFrame::Broken => None,
                };
                take(piece, logged)?;
            }
        }
        Ok(())
    }

    /// The block files of these pieces are there. A piece that is at another place by now stays.
    pub(in crate::core::node) fn written_out(&self, pieces: &[WaitingPiece]) {
        let mut index = self.index.write();
        for WaitingPiece { version, place } in pieces {
            let inline = index.inline.get(version);
            let path = |segment| self.folder.join(segment_name(segment));
            if inline.is_some_and(|inline| inline.place(path(inline.segment)) == *place) {
                index.forget(*version);
            }
        }
    }

    /// Drops the oldest segment, if the kept snapshots cover it and the node has followed it, or
    /// compacts one whose pieces are all written out. True if there was something to do.
    pub(in crate::core::node) fn tidy(&self, followed: u64) -> Result<bool> {
        let (drop, compact, generation) = {
            let index = self.index.read();
            let Some((_, closed)) = index.segments.split_last() else { return Ok(false) };
            if !index.is_trusted {
                return Ok(false);
            }
            let covered = index.kept_from.min(followed);
            let is_done = |segment: &&Segment| !index.awaits(segment);
            let drop = closed.first().filter(|first| first.last.id <= covered).filter(is_done);
            let compact = closed.iter().filter(|segment| segment.has_pieces).find(is_done);
            (drop.cloned(), compact.cloned(), index.generation)
        };
        let Some(segment) = drop.as_ref().or(compact.as_ref()) else { return Ok(false) };
        if segment.has_pieces {
            // Write-out has not synced the new names of the block files.
            self.disk.sync_all(&self.root).map_err(|e| self.distrust(&e))?;
        }
        match &drop {
            Some(first) => self.drop_first(first)?,
            None => self.compact(segment, generation)?,
        }
        Ok(true)
    }

    fn drop_first(&self, first: &Segment) -> Result<()> {
        let _writer = self.writer.lock();
        let mut index = self.index.write();
        if index.segments.first() != Some(first) || index.segments.len() < 2 {
            return Ok(());
        }
        index.segments.remove(0);
        index.generation += 1;
        drop(index);
        let removed = self
            .disk
            .remove(&self.folder.join(segment_name(first.after)))
            .and_then(|()| self.disk.sync_folder(&self.folder));
        removed.map_err(|e| self.distrust(&e))
    }

    fn compact(&self, segment: &Segment, generation: u64) -> Result<()> {
        let path = self.folder.join(segment_name(segment.after));
        let beside = path.with_extension("new");
        let written = self.copy_without_pieces(segment, &path, &beside);
        // Appends wait only for the new name.
        let _writer = self.writer.lock();
        let mut index = self.index.write();
        // The journal was cut or scanned anew meanwhile. The copy may have failed because of that, or be
        // gone, or the segment be the one that is appended to now: the next look decides what to do.
        if index.generation != generation {
            return Ok(());
        }
        let Some(own) = index.segments.iter_mut().find(|own| *own == segment) else {
            return Ok(());
        };
        // Under the index's lock, so that no offset of the old file is looked up for the new one.
        let renamed = written.and_then(|copy| {
            if copy.is_some() {
                self.disk.rename(&beside, &path)?;
            }
            Ok(copy)
        });
        match renamed {
            Ok(Some(compacted)) => *own = compacted,
            Ok(None) => {
                index.is_trusted = false;
                return Err(self.refused("its journal is damaged".into()));
            }
            Err(e) => {
                drop(index);
                return Err(self.distrust(&e));
            }
        }
        index.generation += 1;
        drop(index);
        self.disk.sync_folder(&self.folder).map_err(|e| self.distrust(&e))
    }

    /// `None` if the segment is damaged.
    fn copy_without_pieces(
        &self,
        segment: &Segment,
        from: &std::path::Path,
        to: &std::path::Path,
    ) -> io::Result<Option<Segment>> {
        let unwritten = |e: Error| io::Error::other(e.to_string());
        let source = self.disk.open(from)?;
        let mut reader = FrameReader::up_to(&*source, 0, segment.length)?;
        let mut out = self.disk.create(to)?;
        let mut copy: Option<Segment> = None;
        let mut buffer = Vec::new();
        while copy.as_ref().is_none_or(|copy| copy.last.id < segment.last.id) {
            let NextFrame::Content(content) = reader.next()? else { return Ok(None) };
            let frame = match &mut copy {
                None => {
                    let Ok(head) = decode::<SegmentHead>(&content) else { return Ok(None) };
                    let frame = frame_of(&SegmentHead { format: FORMAT, ..head });
                    let frame = frame.map_err(unwritten)?;
                    copy = Some(Segment::new(segment.after, frame.len() as u64));
                    frame
                }
                Some(copy) => {
                    let Ok(Logged { entry, .. }) = decode(&content) else { return Ok(None) };
                    let point: Point = entry.point();
                    let frame = frame_of(&Logged { entry, piece: None }).map_err(unwritten)?;
                    copy.push(point, frame.len(), false);
                    frame
                }
            };
            buffer.extend_from_slice(&frame);
            if buffer.len() >= WRITE_BYTES {
                write(&mut *out, &mut buffer)?;
            }
        }
        write(&mut *out, &mut buffer)?;
        out.sync()?;
        Ok(copy.filter(|copy| copy.last == segment.last))
    }
}

fn write(out: &mut dyn WriteFile, buffer: &mut Vec<u8>) -> io::Result<()> {
    out.append(buffer)?;
    buffer.clear();
    Ok(())
}
