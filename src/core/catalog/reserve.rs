//! Room that is kept for the catalog on its disk, in a file that is given up when the disk is full.
//!
//! ```text
//!   |<------------------------ the disk ------------------------>|
//!   |  used                  | reserve file |  free              |   may add: as much is free again
//!   |  used                         | reserve file |  free       |   full: only what frees room, and
//!   |                                                            |   what the server needs itself
//!   |  used                                              | free  |   the same in the place of the file
//! ```
//!
//! A server whose disk is full could else not start, delete, or even note what its nodes have
//! decided: all of that writes.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{Disk, RealDisk, Space, take_room};

/// What is kept on a large disk.
const USUAL_BYTES_MAX: u64 = 16 << 20;

/// On a small one: one part in so many.
const USUAL_PART: u64 = 8;

/// The room that is kept in a folder.
pub struct DiskReserve {
    folder: PathBuf,
    bytes: u64,
    /// Is the file there, as long as it should be?
    is_held: Mutex<bool>,
}

impl DiskReserve {
    /// Keeps so many bytes in this folder, or the usual number; gives them up at once if the disk is
    /// so full that nothing else could be written.
    ///
    /// # Errors
    /// If the disk cannot be asked for its room.
    pub fn open(folder: &Path, bytes: Option<u64>) -> Result<DiskReserve> {
        let space = RealDisk.space(folder).map_err(Error::io(format!(
            "cannot tell how much room is left for {}",
            folder.display()
        )))?;
        let bytes = bytes.unwrap_or(USUAL_BYTES_MAX.min(space.total_bytes / USUAL_PART));
        let reserve = DiskReserve { folder: folder.into(), bytes, is_held: Mutex::new(false) };
        let there = RealDisk.open(&reserve.file()).and_then(|file| file.length());
        let is_right = there.as_ref().is_ok_and(|there| *there == bytes);
        if there.is_ok() && !is_right {
            RealDisk.remove(&reserve.file()).map_err(Error::io("cannot remove the old reserve"))?;
        }
        *reserve.is_held.lock() = is_right;
        reserve.give_up_if_needed();
        reserve.is_full();
        Ok(reserve)
    }

    /// May nothing be added any more?
    pub fn is_full(&self) -> bool {
        let mut is_held = self.is_held.lock();
        // A disk that does not answer has troubles of its own.
        let Some(Space { free_bytes, .. }) = self.space() else { return !*is_held };
        if !*is_held && free_bytes >= self.bytes.saturating_mul(2) {
            *is_held = self.take();
        }
        !*is_held || free_bytes < self.bytes
    }

    /// Refuses what would add to the catalog while the disk is full.
    ///
    /// # Errors
    /// [`Code::NoSpace`].
    pub fn check(&self) -> Result<()> {
        if !self.is_full() {
            return Ok(());
        }
        let text = "the disk of the server's folder is full; files can be read and deleted";
        Err(Error::other(Code::NoSpace, text))
    }

    /// Gives up what is kept if hardly anything else is free; true if it did.
    pub(super) fn give_up_if_needed(&self) -> bool {
        let mut is_held = self.is_held.lock();
        let is_low = || self.space().is_some_and(|space| space.free_bytes < self.bytes / 2);
        if !*is_held || !is_low() {
            return false;
        }
        *is_held = false;
        if let Err(error) = RealDisk.remove(&self.file()) {
            tracing::warn!("cannot give up the reserve {}: {error}", self.file().display());
            return false;
        }
        tracing::error!(
            "the disk of {} is full: the reserve of {} bytes on it is in use now; until there is room \
             again files can only be read and deleted",
            self.folder.display(),
            self.bytes
        );
        true
    }

    /// Is the room that is kept in use?
    pub(super) fn is_given_up(&self) -> bool {
        !*self.is_held.lock()
    }

    fn file(&self) -> PathBuf {
        self.folder.join("reserve")
    }

    fn space(&self) -> Option<Space> {
        RealDisk.space(&self.folder).ok()
    }

    /// Makes the file; false if there is no room for it after all.
    fn take(&self) -> bool {
        let failed =
            |error: &_| tracing::debug!("no reserve in {}: {error}", self.folder.display());
        self.bytes == 0 || take_room(&self.file(), self.bytes).inspect_err(failed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(reserve: &DiskReserve) -> Option<u64> {
        std::fs::metadata(reserve.file()).ok().map(|found| found.len())
    }

    #[test]
    fn room_is_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let reserve = DiskReserve::open(folder.path(), Some(100_000)).unwrap();
            assert!(!reserve.is_full() && !reserve.is_given_up());
            reserve.check().unwrap();
            assert_eq!(length(&reserve), Some(100_000));
            assert!(!reserve.give_up_if_needed(), "there is room");
        }
        let other = DiskReserve::open(folder.path(), Some(200_000)).unwrap();
        assert_eq!(length(&other), Some(200_000));
    }

    #[test]
    fn on_a_full_disk_nothing_is_added_and_what_was_kept_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = DiskReserve::open(folder.path(), Some(100_000)).unwrap();
        // No disk has as much free.
        reserve.bytes = 1 << 60;
        assert!(reserve.is_full());
        let refused = reserve.check().unwrap_err();
        assert_eq!(refused.code(), Code::NoSpace);
        assert!(refused.to_string().contains("can be read and deleted"), "{refused}");
        assert!(reserve.give_up_if_needed() && reserve.is_given_up());
        assert_eq!(length(&reserve), None);
        assert!(reserve.is_full() && !reserve.give_up_if_needed());
        reserve.bytes = 100_000;
        assert!(!reserve.is_full(), "there is room again");
        assert_eq!(length(&reserve), Some(100_000));
    }

    #[test]
    fn nothing_may_be_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = DiskReserve::open(folder.path(), Some(0)).unwrap();
        assert!(!reserve.is_full() && !reserve.give_up_if_needed());
        assert_eq!(length(&reserve), None);
    }

    #[test]
    fn a_server_that_finds_its_disk_full_begins_with_the_reserve() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("reserve"), [0; 4096]).unwrap();
        let reserve = DiskReserve::open(folder.path(), Some(1 << 60)).unwrap();
        assert!(reserve.is_full() && length(&reserve).is_none());
    }
}
