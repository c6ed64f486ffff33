//! Where the block files lie: found by version and block, whatever the file is called.
//!
//! ```text
//!   .palk/pieces/3f/<version>_B1, _B2       whole and synced
//!   .palk/pieces/3f/<version>_B1.7          being written, the seventh piece of this process
//! ```
//!
//! A block file gets its name by a rename after it was synced, so a name without a dot always leads to
//! a whole block. The first byte of the version names the folder.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::io::disk::Disk;
use crate::core::node::stage::Stages;
use crate::core::types::{Block, NodeId, VersionId};

/// The block files of one node.
pub(super) struct Pieces {
    pub(super) disk: Arc<dyn Disk>,
    folder: PathBuf,
    pub(super) id: NodeId,
    /// Those that are being received or written out.
    pub(super) stages: Mutex<Stages>,
    /// The folders that this process has made durable.
    durable: Mutex<BTreeSet<u8>>,
}

impl Pieces {
    /// The pieces below a node's folder, in which `.palk/pieces` is there.
    pub(super) fn new(disk: Arc<dyn Disk>, root: &Path, id: NodeId) -> Pieces {
        let folder = root.join(".palk/pieces");
        Pieces { disk, folder, id, stages: Mutex::new(Stages::new()), durable: Mutex::default() }
    }

    /// The block file of a version.
    pub(super) fn path(&self, version: VersionId, block: Block) -> PathBuf {
        self.folder_of(version).join(format!("{version}_{block}"))
    }

    /// The folder in which a version's block files lie.
    pub(super) fn folder_of(&self, version: VersionId) -> PathBuf {
        self.folder.join(folder_name(version.0[0]))
    }

    /// Makes that folder, durably.
    pub(super) fn prepare(&self, version: VersionId) -> io::Result<()> {
        let mut durable = self.durable.lock();
        if !durable.contains(&version.0[0]) {
            self.disk.create_folder(&self.folder_of(version))?;
            self.disk.sync_folder(&self.folder)?;
            durable.insert(version.0[0]);
        }
        Ok(())
    }

    /// Makes the names of a version's block files durable.
    pub(super) fn sync_names(&self, version: VersionId) -> io::Result<()> {
        self.disk.sync_folder(&self.folder_of(version))
    }

    /// Are both block files there?
    pub(super) fn holds(&self, version: VersionId) -> io::Result<bool> {
        for block in self.id.blocks() {
            if !self.disk.exists(&self.path(version, block))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the block files of these versions, durably. Gives those that cannot be removed since
    /// something is wrong with just them: a folder is in their place, or they are protected.
    pub(super) fn remove(&self, versions: &[VersionId]) -> io::Result<Vec<(PathBuf, io::Error)>> {
        let (mut touched, mut stuck) = (BTreeSet::new(), Vec::new());
        for version in versions {
            for path in self.id.blocks().map(|block| self.path(*version, block)) {
                if !self.disk.exists(&path)? {
                    continue;
                }
                match self.disk.remove(&path) {
                    Ok(()) => drop(touched.insert(self.folder_of(*version))),
                    Err(e) if concerns_one_file(&e) => stuck.push((path, e)),
                    Err(e) => return Err(e),
                }
            }
        }
        touched.iter().try_for_each(|folder| self.disk.sync_folder(folder))?;
        Ok(stuck)
    }

    /// Is there something in a block file's place that this process may not open, in a folder that is
    /// its own? Another file can take its place.
    pub(super) fn is_locked(&self, version: VersionId, e: &io::Error) -> bool {
        e.kind() == io::ErrorKind::PermissionDenied
            && self.disk.may_write(&self.folder_of(version)).is_ok()
    }

    /// The versions of which any block file lies in the folder for ids that begin with this byte.
    pub(super) fn in_folder(&self, first: u8) -> io::Result<BTreeSet<VersionId>> {
        let listed = match self.disk.list(&self.folder.join(folder_name(first))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            listed => listed?,
        };
        let names = listed.iter().filter(|entry| !entry.is_folder).map(|entry| &*entry.name);
        Ok(names.filter_map(|name| self.parse(name)).collect())
    }

    /// The version in the name of a block file of this node.
    fn parse(&self, name: &str) -> Option<VersionId> {
        let (version, block) = name.split_once('_')?;
        self.id.blocks().iter().find(|own| own.name() == block)?;
        version.parse().ok()
    }

    /// Removes what is left over of unfinished pieces, from one more folder. False once all folders are
    /// done.
    pub(super) fn sweep(&self) -> io::Result<bool> {
        let Some((first, has_more)) = self.stages.lock().next_unswept() else { return Ok(false) };
        let swept = self.sweep_folder(first);
        if swept.is_err() {
            self.stages.lock().sweep_later(first);
        }
        swept.map(|()| has_more)
    }

    fn sweep_folder(&self, first: u8) -> io::Result<()> {
        let folder = self.folder.join(folder_name(first));
        let listed = match self.disk.list(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed?,
        };
        for entry in listed.iter().filter(|entry| !entry.is_folder) {
            let Some((block, number)) = entry.name.rsplit_once('.') else { continue };
            let live = self.parse(block).zip(number.parse().ok());
            if !live.is_some_and(|(version, number)| self.stages.lock().is_live(version, number)) {
                self.disk.remove(&folder.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

fn concerns_one_file(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory)
}

fn folder_name(first: u8) -> String {
    format!("{first:02x}")
}
