//! The blocks of a small file, every byte of them.

use std::fs;
use std::path::{Path, PathBuf};

use palk::core::catalog::Mending;
use palk::core::error::Error;
use palk::core::node::rescue::Outcome;
use palk::core::path::UserName;
use palk::core::types::{NodeId, NodeSet};

use crate::house::{FILE, House, USER, content, file, is_clear, sets_with};
use crate::{Cells, check_recovered, damage, damages, expected};

/// The eight block files of [`FILE`], each with its node.
fn blocks(house: &House) -> Vec<(NodeId, PathBuf)> {
    let catalog = &house.cluster.catalog;
    let user = catalog.user_id(&UserName::parse(USER).unwrap()).unwrap();
    let version = catalog.file(user, &file(FILE)).unwrap().version.to_string();
    let of = |id: NodeId| {
        let folder = house.root(id).join(".palk/pieces").join(&version[..2]);
        let version = version.clone();
        id.blocks().map(|block| (id, folder.join(format!("{version}_{block}"))))
    };
    NodeId::ALL.into_iter().flat_map(of).collect()
}

#[test]
fn damaged_blocks_are_read_around() {
    let mut cells = Cells::of("block x read");
    let mut house = House::new(|_| {});
    for (node, path) in blocks(&house) {
        let length = fs::read(&path).unwrap().len();
        for (i, how) in damages(length, 1).into_iter().enumerate() {
            cells.next(&path, how);
            let before = damage(&path, how);
            for on in sets_with(node, 2).chain(sets_with(node, 3)) {
                house.switch(on);
                match house.read_by(&house.cluster.catalog, FILE) {
                    Ok(read) => assert!(read == content(1), "wrong bytes from {on}"),
                    Err(error) => {
                        assert_eq!(on.len(), 2, "the third makes up for it: {error}");
                        assert!(matches!(error, Error::TooFewToRead { .. }), "{error}");
                        assert!(is_clear(&error, node), "{error}");
                    }
                }
            }
            house.switch(NodeSet::ALL);
            if i % 16 == 0 {
                // As a user reads it, who has what is noticed mended.
                house.switch(sets_with(node, 3).nth(i % 3).unwrap());
                let noticed = (0..20).any(|_| {
                    assert_eq!(house.read(FILE).unwrap(), content(1));
                    house.cluster.catalog.missing_count(node).unwrap() > 0
                });
                assert!(noticed, "two of three nodes are read at random");
                house.switch(NodeSet::ALL);
                house.attend();
                assert!(fs::read(&path).unwrap() == before, "mended");
            }
            fs::write(&path, before).unwrap();
        }
    }
    cells.end(1000);
}

#[test]
fn damaged_blocks_are_stored_over() {
    let mut cells = Cells::of("block x store");
    let mut house = House::new(|_| {});
    for (at, (node, _)) in blocks(&house).into_iter().enumerate() {
        // Those of the version that was stored last.
        let length = fs::read(&blocks(&house)[at].1).unwrap().len();
        for how in damages(length, 3) {
            let (_, path) = blocks(&house).swap_remove(at);
            cells.next(&path, how);
            damage(&path, how);
            let tag = u8::try_from(cells.run % 200).unwrap();
            assert_eq!(house.store(FILE, &content(tag)).unwrap().nodes, NodeSet::ALL);
            assert!(!path.exists(), "what was replaced is dropped");
            for on in sets_with(node, 2) {
                house.switch(on);
                let read = house.read_by(&house.cluster.catalog, FILE);
                assert_eq!(read.unwrap(), content(tag), "the new one, from {on}");
            }
            house.switch(NodeSet::ALL);
        }
    }
    assert_eq!(house.scrub().found, Mending::default(), "all blocks are as they should be");
    cells.end(500);
}

#[test]
fn damaged_blocks_are_found_by_a_scrub_and_mended_byte_for_byte() {
    let mut cells = Cells::of("block x scrub");
    let mut house = House::new(|_| {});
    for (node, path) in blocks(&house) {
        let length = fs::read(&path).unwrap().len();
        for how in damages(length, 1) {
            cells.next(&path, how);
            let before = damage(&path, how);
            let progress = house.scrub();
            let found = progress.found;
            assert_eq!((found.wrong + found.missing, found.repaired), (1, 1), "{progress:?}");
            assert!(progress.is_clean(), "{progress:?}");
            let named = house.cluster.catalog.findings(progress.scrub.unwrap().id, 9).unwrap();
            assert!(named.iter().all(|found| found.node == Some(node)), "{named:?}");
            assert!(fs::read(&path).unwrap() == before, "as it was, byte for byte");
        }
    }
    cells.end(1000);
}

#[test]
fn damaged_blocks_cost_a_recovery_nothing() {
    let mut cells = Cells::of("block x recover");
    let house = House::new(|_| {});
    let expected = expected(&house);
    for (i, (node, path)) in blocks(&house).into_iter().enumerate() {
        let length = fs::read(&path).unwrap().len();
        for how in damages(length, if i == 5 { 1 } else { 5 }) {
            cells.next(&path, how);
            let before = damage(&path, how);
            let (catalog, report) = house.recover(NodeSet::ALL).unwrap();
            assert_eq!(House::listed(&catalog), expected);
            assert!(report.damaged.is_empty(), "{report:?}");
            check_recovered(&house, &catalog);
            // From it and one other: known in any case, and never wrong.
            let pair = sets_with(node, 2).nth(cells.run % 3).unwrap();
            house.switch(pair);
            let (catalog, _) = house.recover(pair).unwrap();
            assert_eq!(House::listed(&catalog), expected);
            match house.read_by(&catalog, FILE) {
                Ok(read) => assert_eq!(read, content(1)),
                Err(error) => assert!(is_clear(&error, node), "{error}"),
            }
            house.switch(NodeSet::ALL);
            fs::write(&path, before).unwrap();
        }
    }
    cells.end(300);
}

#[test]
fn damaged_blocks_are_rescued_around_or_named() {
    let mut cells = Cells::of("block x rescue");
    let house = House::new(|_| {});
    let at = Path::new(USER).join(FILE);
    for (node, path) in blocks(&house) {
        let length = fs::read(&path).unwrap().len();
        for how in damages(length, 1) {
            cells.next(&path, how);
            let before = damage(&path, how);
            let turn = cells.run % 3;
            let pair = sets_with(node, 2).nth(turn).unwrap();
            let (outcomes, written) = house.rescue(pair);
            match &outcomes[FILE] {
                Outcome::Rescued(_) => assert!(written[&at] == content(1), "from {pair}"),
                Outcome::Lost { why, older } => {
                    assert!(why.contains(&format!("node {node}")), "{why}");
                    assert!(!written.contains_key(&at) && older.is_none());
                }
            }
            let mut others = NodeSet::ALL;
            others.remove(node);
            others.remove(others.iter().nth(turn).unwrap());
            for from in [sets_with(node, 3).nth(turn).unwrap(), others] {
                assert!(house.rescue(from).1[&at] == content(1), "from {from}");
            }
            fs::write(&path, before).unwrap();
        }
    }
    cells.end(1000);
}
