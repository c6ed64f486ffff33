//! What somebody does to nodes behind the server's back, and the scrub that must mend it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use palk::core::catalog::{Mending, What};
use palk::core::cluster::scrub::{Options, Progress};
use palk::core::code::checksum;
use palk::core::path::UserName;
use palk::core::types::{NodeId, VersionId};
use palk::core::wire::trailer::Trailer;
use rand::RngExt;

use super::disk::ROOT;
use super::server::USERS;
use super::users::file;
use super::view::FOREIGN;
use super::whole::piece_at;
use super::world::World;

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
    /// Scrubs everything; what is not as it should be is mended when this returns.
    pub(crate) fn scrub(&mut self) -> Progress {
        let witness = self.random.random_bool(0.5);
        self.scrub_with(witness)
    }

    fn scrub_with(&mut self, witness: bool) -> Progress {
        let scrubs = self.server().workers.scrubs();
        scrubs.stop();
        self.attend();
        scrubs.start(Options { witness, grace: Duration::ZERO }).unwrap();
        for _ in 0..100 {
            self.pass(Duration::from_secs(700));
            self.attend();
            if let Some(progress) = self.server().workers.ended_scrub() {
                assert!(progress.is_clean(), "{progress:?}");
                return progress;
            }
        }
        panic!("a scrub does not end: {:?}", scrubs.progress());
    }

    fn version_at(&mut self, path: &str) -> VersionId {
        let catalog = self.server().cluster.catalog.clone();
        let account = catalog.account(&UserName::parse(USERS[0]).unwrap()).unwrap();
        catalog.file(account.id, &file(path)).unwrap().version
    }

    /// Tampers with one node in one way, and scrubs.
    pub(crate) fn tamper_and_scrub(&mut self) {
        let user = USERS[0];
        for path in ["x", "x/a"] {
            // Whatever is in the way.
            self.delete(user, path);
        }
        self.remove_folder(user, "x/a");
        assert!(self.store(user, "x/a", b"what the scrub is about, first state", 9));
        self.settle_down();
        let old = self.version_at("x/a");
        let node = self.random.random_range(0..4);
        let disk = self.nodes[node].disk();
        let blocks = NodeId::ALL[node].blocks().map(|block| block.name());
        let read = |version: VersionId| {
            blocks.map(|block| disk.files()[&piece_at(version, block)].clone())
        };
        let first = read(old);
        let what = self.random.random_range(0..7);
        let expected: &dyn Fn(&Mending) -> bool = match what {
            0 => {
                // All that people see is gone; the pieces are there.
                disk.wipe(&Path::new(ROOT).join(user));
                &|found| *found == Mending::default()
            }
            1 => {
                disk.wipe(&piece_at(old, blocks[0]));
                &|found| found.missing == 1 && found.wrong == 0
            }
            2 => {
                // An older version in the place of the newer one.
                assert!(self.store(user, "x/a", b"second state, as long as the first..", 9));
                self.settle_down();
                let new = self.version_at("x/a");
                for (block, bytes) in blocks.iter().zip(&first) {
                    disk.plant(&piece_at(new, block), bytes.clone());
                }
                &|found| found.wrong + found.missing == 1
            }
            3 => {
                let ghost = self.version();
                for (block, bytes) in blocks.iter().zip(&first) {
                    let at: PathBuf = piece_at(ghost, block);
                    disk.plant_with_folder(&at, bytes.clone());
                }
                disk.plant_with_folder(Path::new(FOREIGN), b"somebody's".to_vec());
                &|found| *found == Mending::default()
            }
            4 => {
                disk.plant(&piece_at(old, blocks[0]), forge(&first[0]));
                &|found| found.wrong == 1
            }
            5 => {
                let mut bytes = first[1].clone();
                bytes[0] ^= 1;
                disk.plant(&piece_at(old, blocks[1]), bytes);
                &|found| found.wrong == 1
            }
            _ => {
                // Started with another, empty folder: found when it says hello, not by the scrub.
                self.nodes[node].end(false);
                disk.wipe(Path::new(ROOT));
                self.nodes[node].start();
                self.settle_down();
                &|found| *found == Mending::default()
            }
        };
        // Bytes that are wrong with checksums that fit are seen only where all nodes are compared.
        let progress = self.scrub_with(what == 4);
        assert!(expected(&progress.found), "tampering {what} with node {}: {progress:?}", node + 1);
        let scrub = progress.scrub.unwrap();
        assert_eq!(scrub.removed, u64::from(what == 3), "pieces of no version");
        assert_eq!(progress.found.repaired, progress.found.wrong + progress.found.missing);
        let findings = self.server().cluster.catalog.findings(scrub.id, 100).unwrap();
        let named = NodeId::ALL[node];
        assert!(findings.iter().all(|found| found.node == Some(named)), "{findings:?}");
        assert!(findings.iter().all(|found| found.what != What::Damaged));
    }
}
