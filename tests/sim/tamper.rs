//! What somebody does to nodes behind the server's back, and the scrub that must mend it.

use std::path::{Path, PathBuf};

use palk::core::catalog::{Mending, What};
use palk::core::code::checksum;
use palk::core::path::{FilePath, block_file_name};
use palk::core::types::NodeId;
use palk::core::wire::trailer::Trailer;
use rand::RngExt;

use super::world::{FOREIGN, USER, World, file};

/// Where a block of a file lies on its node.
fn block_at(path: &FilePath, node: usize, which: usize) -> PathBuf {
    let block = NodeId::ALL[node].blocks()[which];
    Path::new("/files")
        .join(USER)
        .join(path.folder().as_str())
        .join(block_file_name(path.name(), block))
}

/// The same block file with one byte of the block changed and checksums that fit it.
fn forge(bytes: &[u8]) -> Vec<u8> {
    let trailer_bytes = u64::from_le_bytes(bytes[bytes.len() - 32..][..8].try_into().unwrap());
    let at = bytes.len() - usize::try_from(trailer_bytes).unwrap();
    let (block, trailer) = bytes.split_at(at);
    let mut trailer = Trailer::decode(trailer).unwrap();
    let mut block = block.to_vec();
    let middle = block.len() / 2;
    block[middle] ^= 0x40;
    let layout = trailer.layout();
    for (stripe, sum) in (0..layout.stripe_count()).zip(&mut trailer.checksums) {
        let from = usize::try_from(layout.unit_offset(stripe)).unwrap();
        *sum = checksum::unit(&block[from..from + layout.unit_bytes(stripe)]);
    }
    [block, trailer.encode()].concat()
}

impl World {
    /// Tampers with one node in one way, and scrubs.
    pub(crate) fn tamper_and_scrub(&mut self) {
        self.store("x/a", b"what the scrub is about, first state", 9);
        self.attend();
        let node = self.random.random_range(0..4);
        let path = file("x/a");
        let disk = self.nodes[node].machine().disk.clone();
        let at = |which| block_at(&path, node, which);
        let first: Vec<Vec<u8>> = (0..2).map(|which| disk.files()[&at(which)].clone()).collect();
        let what = self.random.random_range(0..6);
        let expected: &dyn Fn(&Mending) -> bool = match what {
            0 => {
                // Every user's folder is gone; the node still knows which it is.
                disk.wipe(&Path::new("/files").join(USER));
                &|found| found.missing > 0
            }
            1 => {
                self.store("x/a", b"second state, which the node has missed", 9);
                self.attend();
                first
                    .iter()
                    .enumerate()
                    .for_each(|(which, old)| disk.plant(&at(which), old.clone()));
                &|found| found.stale == 1 && found.missing == 0
            }
            2 => {
                for (which, old) in first.iter().enumerate() {
                    disk.plant(&block_at(&file("x/ghost.txt"), node, which), old.clone());
                }
                disk.plant(&block_at(&file("x/torn"), node, 0), b"no trailer".to_vec());
                disk.plant(Path::new(FOREIGN), b"somebody's".to_vec());
                &|found| *found == Mending::default()
            }
            3 => {
                disk.plant(&at(0), forge(&first[0]));
                &|found| found.wrong == 1
            }
            4 => {
                let mut bytes = first[1].clone();
                bytes[0] ^= 1;
                disk.plant(&at(1), bytes);
                &|found| found.wrong == 1
            }
            _ => {
                // Started with another, empty folder: found when it says hello, not by the scrub.
                self.nodes[node].end(false);
                self.nodes[node].machine().disk.wipe(Path::new("/files"));
                self.nodes[node].start();
                self.attend();
                &|found| *found == Mending::default()
            }
        };
        let progress = self.scrub();
        assert!(expected(&progress.found), "tampering {what}: {progress:?}");
        let scrub = progress.scrub.unwrap();
        assert_eq!(scrub.removed, if what == 2 { 2 } else { 0 }, "strays");
        assert_eq!(scrub.foreign, u64::from(what == 2), "files that are no blocks");
        assert_eq!(
            progress.found.repaired,
            progress.found.wrong + progress.found.missing + progress.found.stale
        );
        let findings = self.server().catalog.findings(scrub.id, 100).unwrap();
        let named = NodeId::ALL[node];
        assert!(findings.iter().all(|found| found.node == Some(named)), "{findings:?}");
        assert!(findings.iter().all(|found| found.what != What::Damaged));
    }
}
