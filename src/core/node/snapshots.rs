//! The snapshots of the catalog in a node's folder: the newest two.
//!
//! ```text
//!   backup/snapshot-2-4711     the catalog after entry 4711, of epoch 2
//!   backup/snapshot-3-9023     the newest
//!   backup/incoming            being received
//! ```
//!
//! A snapshot gets its name when it is complete and synced; only then is the oldest one removed. Damage
//! is found when the node starts, or else when it is read: a damaged one counts as none, so that the
//! server sends another.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::code::checksum;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, WriteFile};
use crate::core::node::frames::{FrameReader, NextFrame};
use crate::core::node::stage::disk_error;
use crate::core::types::{ClusterId, NodeId};
use crate::core::wire::journal::{Point, Told};
use crate::core::wire::snapshot::{
    CHUNK_BYTES, FORMAT, SNAPSHOTS_KEPT, SnapshotHead, decode, decode_chunk, frame, frame_of,
    parse_snapshot_name, snapshot_name,
};

/// What a snapshot is called until it is complete.
const INCOMING: &str = "incoming";

/// The snapshots in one node's folder.
pub(super) struct Snapshots {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    id: NodeId,
    /// The newest first.
    heads: Mutex<Vec<SnapshotHead>>,
    incoming: Mutex<Option<Incoming>>,
    cursor: Mutex<Option<Cursor>>,
}

/// A snapshot that is being received.
struct Incoming {
    head: SnapshotHead,
    file: Box<dyn WriteFile>,
    chunks: u64,
}

/// Where a chunk of a snapshot begins, for the next read.
#[derive(Clone, Copy)]
struct Cursor {
    snapshot: Point,
    index: u64,
    at: u64,
}

impl Snapshots {
    /// Looks which snapshots are there.
    pub(super) fn open(disk: Arc<dyn Disk>, root: &Path, id: NodeId) -> Result<Snapshots> {
        let folder = root.join("backup");
        let snapshots = Snapshots {
            disk,
            folder,
            id,
            heads: Mutex::default(),
            incoming: Mutex::default(),
            cursor: Mutex::default(),
        };
        let found = snapshots.find().map_err(|e| disk_error(id, &e))?;
        *snapshots.heads.lock() = found;
        Ok(snapshots)
    }

    fn find(&self) -> io::Result<Vec<SnapshotHead>> {
        let mut heads = Vec::new();
        for entry in self.disk.list(&self.folder)? {
            if entry.name == INCOMING {
                self.disk.remove(&self.folder.join(INCOMING))?;
            } else if parse_snapshot_name(&entry.name).is_some() && !entry.is_folder {
                match self.head(&entry.name)? {
                    Some(head) => heads.push(head),
                    None => tracing::warn!("{} of the catalog's backup is damaged", entry.name),
                }
            }
        }
        heads.sort_by_key(|head| std::cmp::Reverse(head.at.rank()));
        Ok(heads)
    }

    /// The head of a snapshot, if it is a whole one of this format.
    fn head(&self, name: &str) -> io::Result<Option<SnapshotHead>> {
        let file = self.disk.open(&self.folder.join(name))?;
        let mut frames = FrameReader::new(&*file, 0)?;
        let NextFrame::Content(content) = frames.next()? else { return Ok(None) };
        let head = decode::<SnapshotHead>(&content).ok();
        let head = head.filter(|head| head.format == FORMAT && snapshot_name(head.at) == name);
        let Some(head) = head else { return Ok(None) };
        for _ in 0..head.chunks {
            let NextFrame::Content(_) = frames.next()? else { return Ok(None) };
        }
        Ok(Some(head))
    }

    /// The newest one.
    pub(super) fn newest(&self) -> Option<SnapshotHead> {
        self.heads.lock().first().copied()
    }

    /// The newest first.
    pub(super) fn heads(&self) -> Vec<SnapshotHead> {
        self.heads.lock().iter().take(SNAPSHOTS_KEPT).copied().collect()
    }

    /// The last entry of the oldest one, once there are as many as are kept; the journal does not need
    /// to go back further. 0 before.
    pub(super) fn kept_from(&self) -> u64 {
        self.heads.lock().get(SNAPSHOTS_KEPT - 1).map_or(0, |head| head.at.id)
    }

    /// Begins to receive a snapshot.
    pub(super) fn begin(&self, cluster: Option<ClusterId>, head: &SnapshotHead) -> Result<()> {
        if head.format != FORMAT || cluster != Some(head.cluster) {
            return Err(self.refused("the snapshot is of another cluster or format"));
        }
        let bytes = frame_of(head)?;
        let mut incoming = self.incoming.lock();
        *incoming = None;
        let begun = (|| {
            let mut file = self.disk.create(&self.folder.join(INCOMING))?;
            file.append(&bytes)?;
            Ok(file)
        })();
        let file = begun.map_err(|e| disk_error(self.id, &e))?;
        *incoming = Some(Incoming { head: *head, file, chunks: 0 });
        Ok(())
    }

    /// Takes the next chunk. After an error the snapshot has to begin again.
    pub(super) fn chunk(&self, index: u64, sum: u64, body: &[u8]) -> Result<()> {
        let mut slot = self.incoming.lock();
        let Some(mut incoming) = slot.take() else {
            return Err(self.refused("no snapshot has begun"));
        };
        let fits = (1..=CHUNK_BYTES).contains(&body.len())
            && index == incoming.chunks
            && index < incoming.head.chunks;
        if !fits || checksum::unit(body) != sum {
            return Err(self.refused("a chunk of the snapshot was lost or damaged in transit"));
        }
        decode_chunk(body)
            .map_err(|_| self.refused("the snapshot has changes that this Palk does not know"))?;
        incoming.file.append(&frame(body)).map_err(|e| disk_error(self.id, &e))?;
        incoming.chunks += 1;
        *slot = Some(incoming);
        Ok(())
    }

    /// The snapshot is complete: syncs it. It does not have its name yet.
    pub(super) fn finish(&self) -> Result<SnapshotHead> {
        let Some(mut incoming) = self.incoming.lock().take() else {
            return Err(self.refused("no snapshot has begun"));
        };
        if incoming.chunks != incoming.head.chunks {
            return Err(self.refused("the snapshot ended before all of it had come"));
        }
        incoming.file.sync().map_err(|e| disk_error(self.id, &e))?;
        Ok(incoming.head)
    }

    /// Gives the finished snapshot its name, then removes the oldest ones.
    pub(super) fn install(&self, head: SnapshotHead) -> Result<()> {
        let name = self.folder.join(snapshot_name(head.at));
        let installed = (|| {
            self.disk.rename(&self.folder.join(INCOMING), &name)?;
            self.disk.sync_folder(&self.folder)?;
            let mut heads = self.find()?;
            for old in heads.split_off(SNAPSHOTS_KEPT.min(heads.len())) {
                self.disk.remove(&self.folder.join(snapshot_name(old.at)))?;
            }
            Ok(heads)
        })();
        *self.heads.lock() = installed.map_err(|e| disk_error(self.id, &e))?;
        Ok(())
    }

    /// A chunk of a snapshot.
    pub(super) fn read_chunk(&self, snapshot: Point, index: u64) -> Result<Vec<u8>> {
        let cursor = self.cursor.lock().take();
        let cursor = cursor.filter(|known| known.snapshot == snapshot && known.index == index);
        let read = (|| {
            let file = self.disk.open(&self.folder.join(snapshot_name(snapshot)))?;
            let mut reader = FrameReader::new(&*file, cursor.map_or(0, |cursor| cursor.at))?;
            // Skips the head and the chunks before it.
            let passed = if cursor.is_some() { 0 } else { index.saturating_add(1) };
            for _ in 0..passed {
                if !matches!(reader.next()?, NextFrame::Content(_)) {
                    return Ok(None);
                }
            }
            let next = reader.next()?;
            let cursor = Cursor { snapshot, index: index + 1, at: reader.at() };
            Ok(Some((next, cursor)))
        })();
        match read.map_err(|e| disk_error(self.id, &e))? {
            Some((NextFrame::Content(chunk), cursor)) => {
                *self.cursor.lock() = Some(cursor);
                Ok(chunk)
            }
            _ => {
                let why = format!("its snapshot is damaged at chunk {index}, or has no such chunk");
                Err(Error::node(self.id, NodeFailure::Damaged(why)))
            }
        }
    }

    /// Passes the changes of a snapshot to `take`, chunk by chunk.
    ///
    /// # Errors
    /// As [`Snapshots::read_chunk`]; those of `take`.
    pub(super) fn read(
        &self,
        head: &SnapshotHead,
        take: &mut dyn FnMut(Vec<Told>) -> Result<()>,
    ) -> Result<()> {
        (0..head.chunks)
            .try_for_each(|index| take(decode_chunk(&self.read_chunk(head.at, index)?)?))
    }

    fn refused(&self, why: &str) -> Error {
        Error::node(self.id, NodeFailure::Refused(why.into()))
    }
}
