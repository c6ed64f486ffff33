//! Snapshots of the catalog, and the journal.

use std::fs;
use std::path::{Path, PathBuf};

use palk::core::catalog::Mending;
use palk::core::node::rescue::Outcome;
use palk::core::types::{NodeId, NodeSet};
use palk::core::wire::snapshot::{parse_segment_name, parse_snapshot_name};

use crate::house::{FILE, House, content, sets_with};
use crate::{Cells, check_recovered, damage, damages, expected};

type Parse = fn(&str) -> Option<(u64, u64)>;

const KINDS: [Parse; 2] = [parse_snapshot_name, parse_segment_name];

/// The files of this kind in a node's folder, the newest last.
fn files(folder: &Path, id: NodeId, kind: Parse) -> Vec<PathBuf> {
    let folder = folder.join(format!("files_{id}/backup"));
    let listed = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| kind(path.file_name().unwrap().to_str().unwrap());
    let mut files: Vec<PathBuf> = listed.filter(|path| number(path).is_some()).collect();
    files.sort_by_key(number);
    assert!(!files.is_empty());
    files
}

/// All files in a folder: a node that starts on a damaged one drops what it cannot use any more.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn put_back(folder: &Path, before: &[(PathBuf, Vec<u8>)]) {
    for (path, _) in contents(folder) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in before {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_damaged_snapshot_or_journal_costs_a_recovery_nothing_as_long_as_one_node_has_a_good_one() {
    let mut cells = Cells::of("snapshot, journal x recover");
    let house = House::new(|_| {});
    let expected = expected(&house);
    for (kind, id) in KINDS.into_iter().flat_map(|kind| NodeId::ALL.map(|id| (kind, id))) {
        for path in files(house.folder.path(), id, kind) {
            let length = fs::read(&path).unwrap().len();
            for how in damages(length, (length / 24).max(1)) {
                cells.next(&path, how);
                let before = contents(path.parent().unwrap());
                damage(&path, how);
                // A node that is started on it.
                house.restart(id);
                let pair = sets_with(id, 2).nth(cells.run % 3).unwrap();
                for from in [NodeSet::ALL, pair] {
                    let (catalog, report) = house.recover(from).unwrap();
                    assert_eq!(House::listed(&catalog), expected, "from {from}: {report:?}");
                    check_recovered(&house, &catalog);
                }
                put_back(path.parent().unwrap(), &before);
            }
        }
        house.restart(id);
    }
    cells.end(200);
}

#[test]
fn with_a_damaged_snapshot_or_journal_everything_else_goes_on() {
    let mut cells = Cells::of("snapshot, journal x read, store, scrub, rescue");
    for (kind, id) in KINDS.into_iter().flat_map(|kind| NodeId::ALL.map(|id| (kind, id))) {
        let sound = House::furnished(|_| {});
        let newest = files(sound.path(), id, kind).pop().unwrap();
        let name = newest.file_name().unwrap().to_owned();
        let length = fs::read(newest).unwrap().len();
        for how in damages(length, (length / 3).max(1)) {
            // The node starts with it, and is given what it lacks then.
            let mut house = House::new(|folder| {
                let path = folder.join(format!("files_{id}/backup")).join(&name);
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
                let own = House::listed(&house.cluster.catalog);
                assert_eq!(House::listed(&catalog), own, "{report:?}");
                assert_eq!(house.read_by(&catalog, "new").unwrap(), content(7));
                check_recovered(&house, &catalog);
            }
        }
    }
    cells.end(60);
}
