//! A piece that is being received: two block files that do not have their names yet.
//!
//! Units are checked against their checksums as they arrive. Until it is finished a stage writes to
//! names of its own: a second stage of the same version (the server retries after this node has hung)
//! can neither cut short nor remove what the first has finished, nor the other way round. Files that end
//! without their names are removed, and their folder is swept in the background: they are still there if
//! the disk failed just then, or the node's folder was away.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::code::checksum;
use crate::core::code::layout::{Layout, STRIPE_BYTES_MAX};
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::WriteFile;
use crate::core::io::{is_shortage, reason};
use crate::core::node::pieces::Pieces;
use crate::core::types::{Block, Digest, NodeId, Seq, VersionId};
use crate::core::wire::node::PieceMeta;
use crate::core::wire::trailer::{STRIPES_MAX, Trailer};

/// A piece that is being received.
pub struct Stage {
    id: NodeId,
    meta: PieceMeta,
    layout: Layout,
    files: StagedFiles,
    blocks: [BlockFile; 2],
    next_stripe: u64,
}

/// The pieces of a node's process whose files do not have their names yet, numbered, so that what is
/// left over can be told from what is being written.
pub(super) struct Stages {
    last: u64,
    /// Each with its version and the bytes that it has still to receive.
    live: BTreeMap<u64, (VersionId, u64)>,
    /// The folders in which there may be files that are left over, by the first byte of their versions.
    unswept: BTreeSet<u8>,
}

impl Stages {
    /// Those of a new process: there may be files of the last one in every folder.
    pub(super) fn new() -> Stages {
        Stages { last: 0, live: BTreeMap::new(), unswept: (0..=u8::MAX).collect() }
    }

    /// Is a file with this number being written for this version? Another process may have given the
    /// number to another version.
    pub(super) fn is_live(&self, version: VersionId, number: u64) -> bool {
        self.live.get(&number).is_some_and(|(live, _)| *live == version)
    }

    /// The bytes that all have still to receive.
    pub(super) fn pledged_bytes(&self) -> u64 {
        self.live.values().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// A folder to sweep, which then counts as swept; and whether there are more.
    pub(super) fn next_unswept(&mut self) -> Option<(u8, bool)> {
        let first = self.unswept.pop_first()?;
        Some((first, !self.unswept.is_empty()))
    }

    /// This folder is to be swept.
    pub(super) fn sweep_later(&mut self, first: u8) {
        self.unswept.insert(first);
    }
}

/// The two files of a piece that do not have their names yet. If they do not get them, they are removed
/// when this is dropped.
pub(super) struct StagedFiles {
    pieces: Arc<Pieces>,
    version: VersionId,
    number: u64,
    have_names: bool,
}

impl StagedFiles {
    /// Begins to write a piece of this many bytes, if `admit` finds room for it. `admit` gets the bytes
    /// that others have still to receive; meanwhile nothing else begins.
    pub(super) fn begin<E>(
        pieces: &Arc<Pieces>,
        version: VersionId,
        bytes: u64,
        admit: impl FnOnce(u64) -> std::result::Result<(), E>,
    ) -> std::result::Result<StagedFiles, E> {
        let mut stages = pieces.stages.lock();
        admit(stages.pledged_bytes())?;
        stages.last += 1;
        let number = stages.last;
        stages.live.insert(number, (version, bytes));
        Ok(StagedFiles { pieces: pieces.clone(), version, number, have_names: false })
    }

    /// What a block's file is called until it gets its name.
    fn path(&self, block: Block) -> PathBuf {
        self.pieces.path(self.version, block).with_extension(self.number.to_string())
    }

    /// Makes the file of a block.
    pub(super) fn create(&self, block: Block) -> io::Result<Box<dyn WriteFile>> {
        self.pieces.disk.create(&self.path(block))
    }

    /// This many bytes have arrived and are on the disk.
    fn received(&self, bytes: u64) {
        if let Some((_, left)) = self.pieces.stages.lock().live.get_mut(&self.number) {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Gives both files their names. They are synced.
    pub(super) fn give_names(&mut self) -> Result<()> {
        for block in self.pieces.id.blocks() {
            let finished = self.pieces.path(self.version, block);
            let renamed = self.pieces.disk.rename(&self.path(block), &finished);
            renamed.map_err(|e| disk_error_at(self.pieces.id, &finished, &e))?;
        }
        self.have_names = true;
        Ok(())
    }
}

impl Drop for StagedFiles {
    fn drop(&mut self) {
        if !self.have_names {
            // At once where that is possible: the disk may be full.
            for block in self.pieces.id.blocks() {
                let _ = self.pieces.disk.remove(&self.path(block));
            }
        }
        let mut stages = self.pieces.stages.lock();
        stages.live.remove(&self.number);
        if !self.have_names {
            // That it is gone proves nothing: the node's folder may be away for a while.
            stages.sweep_later(self.version.0[0]);
        }
    }
}

struct BlockFile {
    file: Box<dyn WriteFile>,
    checksums: Vec<u64>,
}

impl Stage {
    pub(super) fn create(id: NodeId, meta: PieceMeta, files: StagedFiles) -> Result<Stage> {
        let layout = Layout::checked(meta.file_bytes)
            .filter(|layout| layout.stripe_count() <= STRIPES_MAX)
            .ok_or_else(|| refused(id, "the file is too big for this format"))?;
        let failed = |e| disk_error_at(id, &files.pieces.folder_of(meta.version), &e);
        files.pieces.prepare(meta.version).map_err(failed)?;
        let [first, second] = id.blocks().map(|block| -> Result<BlockFile> {
            let file = files.create(block).map_err(failed)?;
            Ok(BlockFile { file, checksums: Vec::new() })
        });
        let blocks = [first?, second?];
        Ok(Stage { id, meta, layout, files, blocks, next_stripe: 0 })
    }

    /// Takes the next stripe's two units.
    ///
    /// # Errors
    /// If a length or checksum is wrong, more come than the file has, or the disk fails.
    pub fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()> {
        if self.next_stripe == self.layout.stripe_count() {
            return Err(refused(self.id, "more stripes came than the file has"));
        }
        let unit_bytes = self.layout.unit_bytes(self.next_stripe);
        for ((block, unit), sum) in self.blocks.iter_mut().zip(units).zip(checksums) {
            if unit.len() != unit_bytes {
                return Err(refused(self.id, "a unit has another length than the file's layout"));
            }
            if checksum::unit(unit) != sum {
                return Err(refused(self.id, "a unit was damaged in transit"));
            }
            block.file.append(unit).map_err(|e| disk_error(self.id, &e))?;
            block.checksums.push(sum);
        }
        self.files.received(2 * unit_bytes as u64);
        self.next_stripe += 1;
        Ok(())
    }

    /// The file ends behind the stripes that have come, which are all full: only its padding is still to
    /// come.
    ///
    /// # Errors
    /// If its size is another.
    pub fn shorten(&mut self, file_bytes: u64) -> Result<()> {
        let come = self.next_stripe.saturating_mul(STRIPE_BYTES_MAX as u64);
        if file_bytes != come || file_bytes > self.meta.file_bytes {
            return Err(refused(self.id, "the file cannot end there"));
        }
        self.meta.file_bytes = file_bytes;
        self.layout = Layout::new(file_bytes);
        Ok(())
    }

    /// Adds the trailers and makes the piece durable.
    ///
    /// # Errors
    /// If stripes are missing or the disk fails; nothing stays behind then.
    pub fn finish(mut self, seq: Seq, blake3: Digest) -> Result<()> {
        if self.next_stripe != self.layout.stripe_count() {
            return Err(refused(self.id, "the piece ended before all its stripes had come"));
        }
        let id = self.id;
        let failed = |e: io::Error| disk_error(id, &e);
        for (file, block) in self.blocks.iter_mut().zip(self.id.blocks()) {
            let header = self.meta.header(block, seq, blake3);
            let trailer = Trailer { header, checksums: std::mem::take(&mut file.checksums) };
            file.file.append(&trailer.encode()).map_err(failed)?;
        }
        let [first, second] = &mut self.blocks;
        first.file.begin_sync();
        second.file.sync().and_then(|()| first.file.sync()).map_err(failed)?;
        self.files.give_names()?;
        self.files.pieces.sync_names(self.meta.version).map_err(failed)
    }
}

fn refused(id: NodeId, why: &str) -> Error {
    Error::node(id, NodeFailure::Refused(why.into()))
}

/// An error of the disk that says nothing about any bytes that lie there.
pub(super) fn disk_error(id: NodeId, e: &io::Error) -> Error {
    let why = match e.kind() {
        io::ErrorKind::StorageFull => NodeFailure::NoSpace(String::new()),
        // The free bytes say nothing then.
        io::ErrorKind::QuotaExceeded => NodeFailure::NoSpace(format!(": {}", reason(e))),
        _ if is_shortage(e) => NodeFailure::Busy(format!("it cannot do that now: {}", reason(e))),
        _ => NodeFailure::DiskFailed(reason(e)),
    };
    Error::node(id, why)
}

/// The same where it matters which file or folder it is about.
pub(super) fn disk_error_at(id: NodeId, at: &Path, e: &io::Error) -> Error {
    match disk_error(id, e) {
        Error::Node { node, why: NodeFailure::DiskFailed(why) } => {
            Error::node(node, NodeFailure::DiskFailed(format!("{why}: {}", at.display())))
        }
        other => other,
    }
}
