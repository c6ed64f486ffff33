//! A piece on its way in: two block files in staging that are not yet committed.
//!
//! Units are held against their checksums as they arrive. Until it is finished a stage writes to
//! names of its own: a second stage of the same version (the server tries again after this node has
//! hung) can neither cut short nor remove what the first has finished, nor the other way round. One
//! that is dropped before it is finished removes its files; what a crash or a failing disk
//! leaves of it is removed at the next start, or when the server next asks what is staged.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::code::checksum;
use crate::core::code::layout::{Layout, UNIT_BYTES_MAX};
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, WriteFile};
use crate::core::types::{Digest, NodeId};
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
}

/// The number of a stage, taken while this lives.
pub(super) struct Live {
    number: u64,
    stages: Arc<Mutex<Stages>>,
}

impl Stages {
    /// Begins a stage of so many bytes, if `admit` finds room for it. What it is told is how many
    /// bytes the running stages have still to receive; while it looks, no other stage begins.
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

    /// The bytes that the running stages have still to receive.
    pub(super) fn pledged_bytes(&self) -> u64 {
        self.live.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl Live {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// So many bytes have come and are on the disk.
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
        id: NodeId,
        meta: PieceMeta,
        paths: [[PathBuf; 2]; 2],
        folder: PathBuf,
        live: Live,
    ) -> Result<Stage> {
        let layout = Layout::checked(meta.file_bytes)
            .filter(|layout| layout.stripe_count() <= STRIPES_MAX)
            .ok_or_else(|| refused(id, "the file is too big for this format"))?;
        let [first, second] = paths;
        let open = |[path, finished]: [PathBuf; 2]| -> Result<BlockFile> {
            let file = disk.create(&path).map_err(|e| disk_error(id, &e))?;
            Ok(BlockFile { path, finished, file, checksums: Vec::new() })
        };
        let first_path = first[0].clone();
        let blocks = match (open(first), open(second)) {
            (Ok(first), Ok(second)) => [first, second],
            (Err(e), other) | (other, Err(e)) => {
                // An error of the disk is told already; what is left over goes when the server next asks what is staged.
                let _ = disk.remove(&first_path);
                other.into_iter().for_each(|block| drop(disk.remove(&block.path)));
                return Err(e);
            }
        };
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
                return Err(refused(self.id, "a unit was damaged on its way"));
            }
            block.file.append(unit).map_err(|e| disk_error(self.id, &e))?;
            block.checksums.push(sum);
        }
        self.live.received(2 * unit_bytes as u64);
        self.next_stripe += 1;
        Ok(())
    }

    /// Adds the trailers and makes the piece durable in staging.
    ///
    /// # Errors
    /// If stripes are missing or the disk fails; nothing stays behind then.
    pub fn finish(mut self, blake3: Digest) -> Result<()> {
        if self.next_stripe != self.layout.stripe_count() {
            return Err(refused(self.id, "the piece ended before all its stripes had come"));
        }
        self.write_trailers(blake3).map_err(|e| disk_error(self.id, &e))?;
        self.finished = true;
        Ok(())
    }

    fn write_trailers(&mut self, blake3: Digest) -> io::Result<()> {
        for (file, block) in self.blocks.iter_mut().zip(self.id.blocks()) {
            let trailer = Trailer {
                header: Header {
                    version: self.meta.version,
                    seq: self.meta.seq,
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
            file.file.append(&trailer.encode())?;
        }
        self.blocks.iter_mut().try_for_each(|block| block.file.sync())?;
        for block in &self.blocks {
            self.disk.rename(&block.path, &block.finished)?;
        }
        self.disk.sync_folder(&self.folder)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.finished {
            for block in &self.blocks {
                // What cannot be removed now is removed when the server next asks what is staged.
                let _ = self.disk.remove(&block.path);
            }
        }
    }
}

fn refused(id: NodeId, why: &str) -> Error {
    Error::node(id, NodeFailure::Refused(why.into()))
}

pub(super) fn disk_error(id: NodeId, e: &io::Error) -> Error {
    let why = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            NodeFailure::NoSpace(String::new())
        }
        _ => NodeFailure::Refused(format!("its disk failed: {e}")),
    };
    Error::node(id, why)
}
