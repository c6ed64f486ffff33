//! What is damaged, and what must hold then: {delete, cut off, flip a byte} x {a block's bytes, its
//! trailer, a snapshot of the catalog, the journal, node.toml} x {read, store, scrub, recover,
//! rescue}. In every cell: never wrong bytes, never a panic, and nothing is lost that was answered,
//! as long as one node is damaged.
//!
//! The real stores, catalog and engines on real folders, in one thread. How many cells were run is
//! shown by `cargo nextest run --test damage --no-capture`.

#[path = "damage/blocks.rs"]
mod blocks;
#[path = "damage/house.rs"]
mod house;
#[path = "damage/journals.rs"]
mod journals;
#[path = "support/local.rs"]
mod local;
#[path = "damage/nodes.rs"]
mod nodes;
#[path = "damage/uploads.rs"]
mod uploads;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use house::{FILE, GONE, House, LATER, content};
use palk::core::catalog::Catalog;
use palk::core::types::Digest;

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Delete,
    Truncate(usize),
    /// The byte at this offset is not what it was.
    Flip(usize, u8),
}

/// Every kind of damage to a file of this length, a byte flipped in steps of `step`.
fn damages(length: usize, step: usize) -> Vec<Damage> {
    let mut cuts = vec![0, 1, length / 4, length / 2, length - 33, length - 32, length - 1];
    cuts.retain(|cut| *cut < length);
    cuts.dedup();
    let flips = (0..length).step_by(step).map(|at| Damage::Flip(at, 1 << (at % 8)));
    [Damage::Delete]
        .into_iter()
        .chain(cuts.into_iter().map(Damage::Truncate))
        .chain(flips)
        .collect()
}

/// Does it; gives what was there before.
fn damage(path: &Path, how: Damage) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    match how {
        Damage::Delete => fs::remove_file(path).unwrap(),
        Damage::Truncate(length) => fs::write(path, &before[..length]).unwrap(),
        Damage::Flip(at, bits) => {
            let mut bytes = before.clone();
            bytes[at] ^= bits;
            fs::write(path, bytes).unwrap();
        }
    }
    before
}

/// Counts cells, and says where it was if one of them fails.
struct Cells {
    what: &'static str,
    run: usize,
    current: String,
}

impl Cells {
    fn of(what: &'static str) -> Cells {
        Cells { what, run: 0, current: String::new() }
    }

    fn next(&mut self, path: &Path, how: Damage) {
        self.run += 1;
        self.current = format!("{how:?} of {}", path.display());
    }

    fn end(mut self, at_least: usize) {
        self.current.clear();
        println!("{}: {} cells", self.what, self.run);
        assert!(self.run >= at_least, "only {} cells", self.run);
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        if !self.current.is_empty() {
            println!("{}: in cell {}: {}", self.what, self.run, self.current);
        }
    }
}

/// What was answered, and is to be in every catalog.
fn expected(house: &House) -> BTreeMap<String, (u64, Digest)> {
    let listed = House::listed(&house.cluster.catalog);
    assert!(listed.len() == 3 && !listed.contains_key(GONE), "{listed:?}");
    listed
}

/// Every file that a recovered catalog lists, from all nodes that are on.
fn check_recovered(house: &House, catalog: &Catalog) {
    for (path, tag) in [("kept", 2), (FILE, 1), (LATER, 4)] {
        assert_eq!(house.read_by(catalog, path).unwrap(), content(tag), "{path}");
    }
}
