//! How many pieces lie on a node's disk, and how many bytes they have: counted in the background, one folder
//! after the other, so that a monitor that asks often costs nothing.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::io::reason;
use crate::core::node::pieces::Pieces;

/// After each folder it pauses for so many times as long as that took: counting is a small part of what a
/// disk has to do.
const PAUSE_FACTOR: u32 = 20;

/// The pause between two rounds.
const ROUND_PAUSE: Duration = Duration::from_secs(10);

/// What was counted last, folder by folder.
pub(super) struct Census(Mutex<[Option<Counted>; 256]>);

/// What lies in a folder: pieces, and bytes.
type Counted = [u64; 2];

impl Census {
    fn new() -> Census {
        Census(Mutex::new([None; 256]))
    }

    /// Counts until the process ends.
    pub(super) fn start(pieces: Arc<Pieces>) -> Arc<Census> {
        let census = Arc::new(Census::new());
        let own = census.clone();
        let spawned = thread::Builder::new().name("census".into()).spawn(move || {
            loop {
                for first in 0..=u8::MAX {
                    let begun = Instant::now();
                    if let Err(error) = own.count(&pieces, first) {
                        // What is wrong with a disk is seen and told by those who need it.
                        tracing::debug!("pieces cannot be counted: {}", reason(&error));
                    }
                    thread::sleep(PAUSE_FACTOR * begun.elapsed());
                }
                thread::sleep(ROUND_PAUSE);
            }
        });
        if let Err(error) = spawned {
            tracing::warn!("no thread that counts pieces: {}", reason(&error));
        }
        census
    }

    /// Counts a folder again. If that fails, what was counted before stays.
    fn count(&self, pieces: &Pieces, first: u8) -> io::Result<()> {
        let versions = pieces.in_folder(first)?;
        let mut bytes = 0;
        for version in &versions {
            for block in pieces.id.blocks() {
                match pieces.disk.open(&pieces.path(*version, block)) {
                    Ok(file) => bytes += file.length()?,
                    // Dropped meanwhile, or only one of the two is there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.0.lock()[usize::from(first)] = Some([versions.len() as u64, bytes]);
        Ok(())
    }

    /// Pieces and their bytes; `None` before all folders have been counted.
    pub(super) fn told(&self) -> Option<Counted> {
        let counted = self.0.lock();
        counted.iter().try_fold([0, 0], |[pieces, bytes], folder| {
            let [own_pieces, own_bytes] = (*folder)?;
            Some([pieces + own_pieces, bytes + own_bytes])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::node::fixture::{NODE, TestDisk, version};

    #[test]
    fn it_knows_when_all_folders_have_been_counted() {
        let folder = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        let pieces = Pieces::new(Arc::new(disk.clone()), folder.path(), NODE);
        std::fs::create_dir_all(pieces.folder_of(version(7))).unwrap();
        for (block, bytes) in NODE.blocks().into_iter().zip([3, 4]) {
            std::fs::write(pieces.path(version(7), block), vec![0; bytes]).unwrap();
        }
        let census = Census::new();
        for first in 0..=u8::MAX {
            assert_eq!(census.told(), None);
            census.count(&pieces, first).unwrap();
        }
        assert_eq!(census.told(), Some([1, 7]));
        let first = version(7).0[0];
        std::fs::remove_file(pieces.path(version(7), NODE.blocks()[0])).unwrap();
        census.count(&pieces, first).unwrap();
        assert_eq!(census.told(), Some([1, 4]));
        disk.fail_next("open", 5);
        census.count(&pieces, first).unwrap_err();
        assert_eq!(census.told(), Some([1, 4]));
    }
}
