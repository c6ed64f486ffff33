//! What is wrong with a node's disk, and a thread that finds out where nobody asks the node for anything.
//!
//! ```text
//!   every 10 s: a small file is written and synced ──> may the node's own files be written to?
//!                 └─ fails, hangs, quota used up         └─ one is protected: its path
//!               what could not be removed is tried once more
//! ```
//!
//! The server hears it with every answer to a probe, so `palk status` names a disk that fails before a
//! file is stored on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::write_whole;
use crate::core::io::reason;
use crate::core::node::stage::{disk_error, disk_error_at};
use crate::core::node::store::BlockStore;
use crate::core::types::NodeId;
use crate::core::wire::node::{Alive, DiskTrouble};

/// The folders that hold a node's own files.
pub(super) const FOLDERS: [&str; 4] = ["", ".palk", ".palk/pieces", "backup"];

/// How often an idle disk is written to. It costs two syncs, so not with every probe.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// A small write that takes so long hangs: a disk that is only busy is done before.
const HANGS_AFTER: Duration = Duration::from_secs(20);

/// As much as is written: a quota counts whole pages.
const PROOF_BYTES: usize = 4096;

/// The most files that are tried to be removed again; the next comparison finds the others.
const STUCK_MAX: usize = 1000;

/// What a node does on its disk again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Append,
    WriteOut,
    Follow,
    Prove,
    Remove,
    Discard,
}

/// What is known of the disk.
#[derive(Default)]
pub(super) struct DiskCheck {
    /// Why the disk failed the last time that each task was tried; `None` where it did not.
    failing: Mutex<BTreeMap<Task, DiskTrouble>>,
    /// Dropped pieces' files that could not be removed. Their versions never come back.
    stuck: Mutex<BTreeSet<PathBuf>>,
    /// One at a time writes the small file.
    proving: Mutex<()>,
}

impl DiskCheck {
    /// Why the disk fails, if it does.
    pub(super) fn trouble(&self) -> Option<DiskTrouble> {
        self.failing.lock().values().next().cloned()
    }

    fn note<T>(&self, task: Task, result: &Result<T>) {
        let trouble = match result {
            Err(Error::Node { why: why @ NodeFailure::DiskFailed(_), .. }) => {
                Some(DiskTrouble::Failing(why.to_string()))
            }
            Err(Error::Node { why: NodeFailure::NoSpace(figures), .. }) => {
                Some(DiskTrouble::Full(figures.clone()))
            }
            _ => None,
        };
        let mut failing = self.failing.lock();
        match trouble {
            Some(trouble) => drop(failing.insert(task, trouble)),
            None => drop(failing.remove(&task)),
        }
    }

    /// Notes the file of a dropped piece that could not be removed.
    pub(super) fn cannot_remove(&self, id: NodeId, path: PathBuf, e: &io::Error) {
        let failed: Result<()> = Err(disk_error_at(id, &path, e));
        self.note(Task::Remove, &failed);
        let mut stuck = self.stuck.lock();
        if stuck.len() < STUCK_MAX {
            stuck.insert(path);
        }
    }
}

impl BlockStore {
    /// Remembers whether the disk has failed a task this time.
    pub(super) fn noting<T>(&self, task: Task, result: Result<T>) -> Result<T> {
        self.disk_check.note(task, &result);
        result
    }

    /// Writes something small to the disk and syncs it.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn prove_disk(&self) -> Result<()> {
        self.check_folder()?;
        let _proving = self.disk_check.proving.lock();
        let path = self.root.join(".palk/proof");
        write_whole(&*self.disk, &path, &[0; PROOF_BYTES]).map_err(|e| {
            // Nothing to keep room for; one that stays is written over the next time.
            let _ = self.disk.remove(&path.with_extension("new"));
            disk_error_at(self.id, &path, &e)
        })
    }

    /// Finds out whether the disk takes what the node will write, and remembers what it does not.
    ///
    /// # Errors
    /// If something is wrong with it.
    pub fn check_disk(&self) -> Result<()> {
        let checked = self.prove_disk().and_then(|()| self.check_own_files());
        self.noting(Task::Prove, checked)?;
        let removed = self.remove_stuck();
        self.noting(Task::Remove, removed)
    }

    /// A protected file fails only what needs just that file.
    fn check_own_files(&self) -> Result<()> {
        let may_write = |path: &Path| {
            let may = self.disk.may_write(path);
            may.map_err(|e| disk_error_at(self.id, path, &e))
        };
        for folder in &FOLDERS[1..] {
            let folder = self.root.join(folder);
            let listed = self.disk.list(&folder).map_err(|e| disk_error(self.id, &e))?;
            for path in listed.iter().map(|entry| folder.join(&entry.name)) {
                // It may have been removed since.
                if self.disk.exists(&path).is_ok_and(|is_there| is_there) {
                    may_write(&path)?;
                }
            }
        }
        Ok(())
    }

    fn remove_stuck(&self) -> Result<()> {
        let stuck = self.disk_check.stuck.lock().clone();
        for path in stuck {
            self.disk.remove(&path).map_err(|e| disk_error_at(self.id, &path, &e))?;
            self.disk_check.stuck.lock().remove(&path);
        }
        Ok(())
    }
}

/// The thread that checks the disk.
#[derive(Default)]
pub(super) struct DiskWatch {
    /// Since when a check has been going on.
    begun: Mutex<Option<Instant>>,
}

impl DiskWatch {
    /// Checks the disk until the process ends.
    pub(super) fn start(store: &Arc<BlockStore>) -> Arc<DiskWatch> {
        let watch = Arc::new(DiskWatch::default());
        let (own, store) = (watch.clone(), store.clone());
        let spawned = thread::Builder::new().name("disk check".into()).spawn(move || {
            let mut told = None;
            loop {
                thread::sleep(CHECK_EVERY);
                let checked = own.timed(|| store.check_disk().map_err(|error| error.to_string()));
                // The same is not told again; `palk status` shows it as long as it lasts.
                if checked != told.unwrap_or(Ok(())) {
                    match &checked {
                        Ok(()) => tracing::info!("the disk takes everything again"),
                        Err(error) => tracing::warn!("the disk cannot be relied on: {error}"),
                    }
                }
                told = Some(checked);
            }
        });
        if let Err(error) = spawned {
            tracing::error!("no thread that checks the disk: {}", reason(&error));
        }
        watch
    }

    fn timed<T>(&self, check: impl FnOnce() -> T) -> T {
        *self.begun.lock() = Some(Instant::now());
        let done = check();
        *self.begun.lock() = None;
        done
    }

    /// How the node is, that its disk hangs included.
    ///
    /// # Errors
    /// As [`BlockStore::alive`].
    pub(super) fn alive(&self, store: &BlockStore) -> Result<Alive> {
        let alive = store.alive()?;
        Ok(Alive { trouble: self.trouble().or(alive.trouble), ..alive })
    }

    /// Says so if the disk does not come to an end with a small write.
    pub(super) fn trouble(&self) -> Option<DiskTrouble> {
        self.hangs(HANGS_AFTER).then(|| {
            let seconds = HANGS_AFTER.as_secs();
            DiskTrouble::Failing(format!("a small write to it takes more than {seconds} s"))
        })
    }

    fn hangs(&self, after: Duration) -> bool {
        self.begun.lock().is_some_and(|begun| begun.elapsed() > after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::node::fixture::{NODE, TestDisk, version};

    const EIO: i32 = 5;
    const EDQUOT: i32 = 122;
    const ENOSPC: i32 = 28;

    fn store() -> (tempfile::TempDir, TestDisk, BlockStore) {
        let folder = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        let store = BlockStore::open(Arc::new(disk.clone()), folder.path(), NODE).unwrap();
        (folder, disk, store)
    }

    #[test]
    fn an_idle_disk_that_fails_or_is_full_is_noticed_and_told_apart() {
        let (folder, disk, store) = store();
        store.check_disk().unwrap();
        assert_eq!(store.disk_check.trouble(), None);
        let at = folder.path().join(".palk/proof");
        for (number, expected) in [
            (
                EIO,
                DiskTrouble::Failing(format!(
                    "its disk failed: input/output error: {}",
                    at.display()
                )),
            ),
            (EDQUOT, DiskTrouble::Full(": the disk quota is used up".into())),
            (ENOSPC, DiskTrouble::Full(String::new())),
        ] {
            for call in ["append", "sync"] {
                disk.fail_next(call, number);
                store.check_disk().unwrap_err();
                assert_eq!(store.disk_check.trouble().as_ref(), Some(&expected), "{call}");
                assert!(!at.with_extension("new").exists(), "it keeps no room");
            }
            store.check_disk().unwrap();
            assert_eq!(store.disk_check.trouble(), None);
        }
    }

    #[test]
    fn a_dropped_piece_that_cannot_be_removed_is_named_and_tried_again() {
        let (_folder, _, store) = store();
        let block = store.pieces.path(version(7), NODE.blocks()[0]);
        std::fs::create_dir_all(&block).unwrap();
        store.drop_pieces(&[version(7)]).unwrap();
        let named = |why: Option<DiskTrouble>| matches!(why, Some(DiskTrouble::Failing(why)) if why.contains(block.to_str().unwrap()));
        assert!(named(store.disk_check.trouble()));
        assert!(store.check_disk().is_err() && named(store.disk_check.trouble()));
        std::fs::remove_dir(&block).unwrap();
        std::fs::write(&block, "").unwrap();
        store.check_disk().unwrap();
        assert!(!block.exists() && store.disk_check.trouble().is_none());
    }

    #[test]
    fn a_write_that_does_not_end_is_told() {
        let watch = DiskWatch::default();
        assert!(!watch.hangs(Duration::ZERO));
        watch.timed(|| assert!(watch.hangs(Duration::ZERO) && !watch.hangs(HANGS_AFTER)));
        assert!(watch.trouble().is_none() && !watch.hangs(Duration::ZERO));
    }
}
