//! Writing out the pieces that came with the journal, as block files, many at a time.
//!
//! ```text
//!   journal: entry + piece ──> <version>_B1.7 ──> one sync of the disk ──> <version>_B1 ──> forgotten
//! ```
//!
//! A crash in between leaves the piece in the journal. Block files that are complete are not written
//! again.

use std::io;

use crate::core::code::checksum;
use crate::core::error::Result;
use crate::core::node::disk_check::Task;
use crate::core::node::journal::WaitingPiece;
use crate::core::node::piece::read_trailer;
use crate::core::node::stage::{StagedFiles, disk_error};
use crate::core::node::store::BlockStore;
use crate::core::types::VersionId;
use crate::core::wire::journal::Change;
use crate::core::wire::node::PieceMeta;
use crate::core::wire::snapshot::Logged;
use crate::core::wire::trailer::Trailer;

/// The most pieces that are written out together, and about how many bytes of them. Every batch costs a
/// sync of the whole disk, whose other writers wait for it.
const BATCH_PIECES_MAX: usize = 2048;
const BATCH_BYTES_MAX: usize = 16 << 20;

impl BlockStore {
    /// Writes out pieces of decided entries as block files, or does another step that keeps the folder
    /// tidy. True if there is more to do.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write_out(&self) -> Result<bool> {
        self.check_folder()?;
        self.noting(Task::WriteOut, self.write_out_some())
    }

    fn write_out_some(&self) -> Result<bool> {
        let _turn = self.turn.lock();
        let decided = self.journal.decided();
        if self.write_out_up_to(decided)? || self.journal.tidy(self.follower.position())? {
            return Ok(true);
        }
        self.pieces.sweep().map_err(|e| disk_error(self.id, &e))
    }

    /// Writes out a batch of pieces, of entries up to this one; false if there was none.
    pub(super) fn write_out_up_to(&self, upto: u64) -> Result<bool> {
        let batch = self.journal.waiting(upto, BATCH_PIECES_MAX, BATCH_BYTES_MAX);
        if batch.is_empty() {
            return Ok(false);
        }
        let mut written = self.write_batch(&batch).map_err(|e| disk_error(self.id, &e))?;
        // The journal syncs these names before it loses the pieces.
        written.iter_mut().try_for_each(StagedFiles::give_names)?;
        self.journal.written_out(&batch);
        Ok(true)
    }

    /// Writes the pieces of which not both block files are there, and syncs them.
    fn write_batch(&self, batch: &[WaitingPiece]) -> io::Result<Vec<StagedFiles>> {
        let (mut missing, mut written) = (Vec::new(), Vec::new());
        for piece in batch {
            if !self.is_written_out(piece.version)? {
                missing.push(piece);
            }
        }
        self.journal.read_waiting(&missing, |piece, logged| match logged {
            Some(logged) => {
                written.extend(self.write_piece(&logged)?);
                Ok(())
            }
            None => {
                let version = piece.version;
                tracing::warn!("the piece of version {version} in the journal is damaged");
                self.gap.raise()
            }
        })?;
        if !written.is_empty() {
            self.disk.sync_all(&self.root)?;
        }
        Ok(written)
    }

    /// Are both block files there and whole?
    fn is_written_out(&self, version: VersionId) -> io::Result<bool> {
        if !self.pieces.holds(version)? {
            return Ok(false);
        }
        for block in self.id.blocks() {
            let file = match self.disk.open(&self.pieces.path(version, block)) {
                Err(e) if self.pieces.is_locked(version, &e) => return Ok(false),
                opened => opened?,
            };
            if !read_trailer(&*file).is_ok_and(|trailer| trailer.header.version == version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_piece(&self, logged: &Logged) -> io::Result<Option<StagedFiles>> {
        let (Ok(change), Some(units)) = (logged.entry.change(), &logged.piece) else {
            return Ok(None);
        };
        let Change::Stored { place, version, seq, bytes, blake3, stored_ms, .. } = change else {
            return Ok(None);
        };
        self.pieces.prepare(version)?;
        // Its room has been taken into account since the journal has it.
        let files = StagedFiles::begin(&self.pieces, version, 0, |_| Ok::<_, io::Error>(()))?;
        let meta =
            PieceMeta { version, place, file_bytes: bytes, stored_ms, repair: false, part: None };
        let (first, second) = units.split_at(units.len() / 2);
        for (unit, block) in [first, second].into_iter().zip(self.id.blocks()) {
            let header = meta.header(block, seq, blake3);
            let trailer = Trailer { header, checksums: vec![checksum::unit(unit)] };
            files.create(block)?.append(&[unit, &trailer.encode()].concat())?;
        }
        Ok(Some(files))
    }
}
