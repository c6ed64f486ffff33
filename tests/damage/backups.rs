//! The catalog's backup: snapshots and journals.

use std::fs;
use std::path::{Path, PathBuf};

use palk::core::catalog::accounts::HashGate;
use palk::core::catalog::{Mending, Unrecovered};
use palk::core::node::rescue::Outcome;
use palk::core::types::{NodeId, NodeSet};

use crate::house::{FILE, GONE, House, PASSWORD, USER, content, sets_with};
use crate::{Cells, check_recovered, damage, damages, expected};

/// The files of a node's backup of this kind, the newest last.
fn backup_files(folder: &Path, id: NodeId, kind: &str) -> Vec<PathBuf> {
    let folder = folder.join(format!("files_{id}/backup"));
    let listed = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_of = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(kind);
    let mut files: Vec<PathBuf> = listed.filter(is_of).collect();
    files.sort();
    assert_eq!(files.len(), 2, "the last two are kept");
    files
}

const KINDS: [&str; 2] = ["snapshot", "journal"];

#[test]
fn a_damaged_backup_costs_a_recovery_nothing_as_long_as_one_node_has_a_good_one() {
    let mut cells = Cells::of("snapshot, journal x recover");
    let house = House::new(|_| {});
    let expected = expected(&house);
    for (kind, id) in KINDS.into_iter().flat_map(|kind| NodeId::ALL.map(|id| (kind, id))) {
        let path = backup_files(house.folder.path(), id, kind).remove(1);
        let length = fs::read(&path).unwrap().len();
        for how in damages(length, (length / 24).max(1)) {
            cells.next(&path, how);
            let before = damage(&path, how);
            let pair = sets_with(id, 2).nth(cells.run % 3).unwrap();
            for from in [NodeSet::ALL, pair] {
                let (catalog, report) = house.recover(from).unwrap();
                assert_eq!(House::listed(&catalog), expected, "from {from}");
                assert!(report.unrecovered.is_empty(), "{report:?}");
                assert!(report.without_password.is_empty(), "{report:?}");
                check_recovered(&house, &catalog);
            }
            fs::write(&path, before).unwrap();
        }
    }
    let (catalog, _) = house.recover(NodeSet::ALL).unwrap();
    catalog.sign_in(&HashGate::default(), USER, PASSWORD, ()).unwrap();
    cells.end(200);
}

#[test]
fn with_both_backups_of_two_nodes_damaged_the_blocks_still_give_every_file() {
    let mut cells = Cells::of("snapshot, journal of both nodes x recover");
    let house = House::new(|_| {});
    let expected = expected(&house);
    for pair in (0..16).map(NodeSet::from_bits).filter(|set| set.len() == 2) {
        let of = |kind: &str| -> Vec<PathBuf> {
            let files = |id| backup_files(house.folder.path(), id, kind);
            pair.iter().flat_map(files).collect()
        };
        for kinds in [&KINDS[..1], &KINDS[1..], &KINDS] {
            let files: Vec<PathBuf> = kinds.iter().flat_map(|kind| of(kind)).collect();
            let shortest = files.iter().map(|path| fs::read(path).unwrap().len()).min().unwrap();
            for how in damages(shortest, (shortest / 6).max(1)) {
                cells.next(&files[0], how);
                let before: Vec<Vec<u8>> = files.iter().map(|path| damage(path, how)).collect();
                let (catalog, report) = house.recover(pair).unwrap();
                let mut listed = House::listed(&catalog);
                if kinds.contains(&"journal") {
                    // Its deletion was nowhere else. Then it is said that it cannot be read.
                    let is_listed = listed.remove(GONE).is_some();
                    let is_told = |told: &Unrecovered| told.what == format!("/{USER}/{GONE}");
                    assert!(report.unrecovered.iter().all(is_told), "{report:?}");
                    assert!(!is_listed || !report.unrecovered.is_empty(), "{report:?}");
                } else {
                    assert!(report.unrecovered.is_empty(), "{report:?}");
                }
                assert_eq!(listed, expected, "{report:?}");
                check_recovered(&house, &catalog);
                files.iter().zip(before).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
            }
        }
    }
    cells.end(200);
}

#[test]
fn with_a_damaged_backup_everything_else_goes_on() {
    let mut cells = Cells::of("snapshot, journal x read, store, scrub, rescue");
    for (kind, id) in KINDS.into_iter().flat_map(|kind| NodeId::ALL.map(|id| (kind, id))) {
        let length = fs::read(backup_files(House::new(|_| {}).folder.path(), id, kind).remove(1));
        let length = length.unwrap().len();
        for how in damages(length, (length / 3).max(1)) {
            // The node starts with it, and the server goes on with its backup.
            let mut house = House::new(|folder| {
                let path = backup_files(folder, id, kind).remove(1);
                cells.next(&path, how);
                damage(&path, how);
            });
            assert_eq!(house.read(FILE).unwrap(), content(1));
            assert_eq!(house.store("new", &content(7)).unwrap().nodes, NodeSet::ALL);
            assert_eq!(house.scrub().found, Mending::default());
            let pair = sets_with(id, 2).nth(cells.run % 3).unwrap();
            let (outcomes, _) = house.rescue(pair);
            assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Rescued(_))));
            for from in [NodeSet::ALL, pair] {
                let (catalog, report) = house.recover(from).unwrap();
                assert!(report.without_password.is_empty(), "{report:?}");
                assert_eq!(House::listed(&catalog), House::listed(&house.catalog));
                assert_eq!(house.read_by(&catalog, "new").unwrap(), content(7));
                check_recovered(&house, &catalog);
            }
        }
    }
    cells.end(60);
}
