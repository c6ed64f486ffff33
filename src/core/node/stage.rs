//! A piece that is being received: two block files that do not have their names yet.
//!
//! Units are checked against their checksums as they arrive. Until it is finished a stage writes to
//! names of its own: a second stage of the same version (the server retries after this node has hung)
//! can neither cut short nor remove what the first has finished, nor the other way round. A stage that
//! is dropped unfinished removes its files; what a crash or a disk error leaves is swept up in the
//! background.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::code::checksum;
use crate::core::code::layout::{Layout, UNIT_BYTES_MAX};
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, WriteFile};
use crate::core::io::{is_shortage, reason};
use crate::core::node::pieces::Pieces;
use crate::core::types::{Block, Digest, NodeId, Seq};
use crate::core::wire::node::PieceMeta;
use crate::core::wire::trailer::{Header, STRIPES_MAX, Trailer};

/// A piece that is being received.
pub struct Stage {
    disk: Arc<dyn Disk>,
    id: NodeId,
    meta: PieceMeta,
    layout: Layout,
    folder: PathBuf,
    blocks: [BlockFile; 2],
    next_stripe: u64,
    finished: bool,
    live: Live,
}

/// The stages of a node's process, numbered, so that what is left over of one that failed can be
/// told from what is being received.
#[derive(Default)]
pub(super) struct Stages {
    last: u64,
    /// Each with the bytes that it has still to receive.
    live: BTreeMap<u64, u64>,
    /// Files of a stage could not be removed when it was given up.
    failed_removal: bool,
}

/// The number of a stage, taken while this lives.
pub(super) struct Live {
    number: u64,
    stages: Arc<Mutex<Stages>>,
}

impl Stages {
    /// Begins a stage of this many bytes, if `admit` finds room for it. `admit` gets the bytes that the
    /// running stages have still to receive; meanwhile no other stage begins.
    pub(super) fn begin(
        stages: &Arc<Mutex<Stages>>,
        bytes: u64,
        admit: impl FnOnce(u64) -> Result<()>,
    ) -> Result<Live> {
        let mut own = stages.lock();
        admit(own.pledged_bytes())?;
        own.last += 1;
        let number = own.last;
        own.live.insert(number, bytes);
        Ok(Live { number, stages: stages.clone() })
    }

    pub(super) fn is_live(&self, number: u64) -> bool {
        self.live.contains_key(&number)
    }

    /// Has a stage left files behind since this was last asked?
    pub(super) fn take_failed_removal(&mut self) -> bool {
        std::mem::take(&mut self.failed_removal)
    }

    /// The bytes that the running stages have still to receive.
    pub(super) fn pledged_bytes(&self) -> u64 {
        self.live.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl Live {
    /// What a file is called until it is whole and has its own name.
    pub(super) fn path(&self, finished: &Path) -> PathBuf {
        finished.with_extension(self.number.to_string())
    }

    /// Removes a file that is not wanted any more.
    pub(super) fn give_up(&self, disk: &dyn Disk, path: &Path) {
        if disk.remove(path).is_err() {
            self.stages.lock().failed_removal = true;
        }
    }

    /// This many bytes have arrived and are on the disk.
    fn received(&self, bytes: u64) {
        if let Some(left) = self.stages.lock().live.get_mut(&self.number) {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stages.lock().live.remove(&self.number);
    }
}

struct BlockFile {
    /// What it is called while it is received, and afterwards.
    path: PathBuf,
    finished: PathBuf,
    file: Box<dyn WriteFile>,
    checksums: Vec<u64>,
}

impl Stage {
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        pieces: &Pieces,
        id: NodeId,
        meta: PieceMeta,
        live: Live,
    ) -> Result<Stage> {
        let layout = Layout::checked(meta.file_bytes)
            .filter(|layout| layout.stripe_count() <= STRIPES_MAX)
            .ok_or_else(|| refused(id, "the file is too big for this format"))?;
        let failed = |e| disk_error_at(id, &pieces.folder_of(meta.version), &e);
        pieces.prepare(meta.version).map_err(failed)?;
        let open = |block: Block| -> Result<BlockFile> {
            let finished = pieces.path(meta.version, block);
            let path = live.path(&finished);
            let file = disk.create(&path).map_err(failed)?;
            Ok(BlockFile { path, finished, file, checksums: Vec::new() })
        };
        let [first, second] = id.blocks().map(open);
        let blocks = match (first, second) {
            (Ok(first), Ok(second)) => [first, second],
            (Err(e), other) | (other, Err(e)) => {
                let paths = other.into_iter().map(|block| block.path);
                paths.for_each(|path| live.give_up(&*disk, &path));
                return Err(e);
            }
        };
        let folder = pieces.folder_of(meta.version);
        Ok(Stage { disk, id, meta, layout, folder, blocks, next_stripe: 0, finished: false, live })
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
        self.live.received(2 * unit_bytes as u64);
        self.next_stripe += 1;
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
        self.write_trailers(seq, blake3)?;
        self.finished = true;
        Ok(())
    }

    fn write_trailers(&mut self, seq: Seq, blake3: Digest) -> Result<()> {
        let id = self.id;
        let failed = |e: io::Error| disk_error(id, &e);
        for (file, block) in self.blocks.iter_mut().zip(self.id.blocks()) {
            let trailer = Trailer {
                header: Header {
                    version: self.meta.version,
                    seq,
                    user: self.meta.place.user.clone(),
                    path: self.meta.place.path.clone(),
                    file_bytes: self.meta.file_bytes,
                    unit_bytes_max: u32::try_from(UNIT_BYTES_MAX).unwrap_or(u32::MAX),
                    block,
                    blake3,
                    stored_ms: self.meta.stored_ms,
                },
                checksums: std::mem::take(&mut file.checksums),
            };
            file.file.append(&trailer.encode()).map_err(failed)?;
        }
        self.blocks.iter_mut().try_for_each(|block| block.file.sync()).map_err(failed)?;
        for block in &self.blocks {
            let renamed = self.disk.rename(&block.path, &block.finished);
            renamed.map_err(|e| disk_error_at(self.id, &block.finished, &e))?;
        }
        self.disk.sync_folder(&self.folder).map_err(failed)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.finished {
            self.blocks.iter().for_each(|block| self.live.give_up(&*self.disk, &block.path));
        }
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
