//! A node as a whole: its `node.toml`, and every file on it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palk::core::catalog::Mending;
use palk::core::error::Code;
use palk::core::node::rescue::Outcome;
use palk::core::types::{NodeId, NodeSet};

use crate::house::{CLAIM, CLUSTER, FILE, House, LATER, USER, content, sets_with};
use crate::{Cells, Damage, check_recovered, damage, damages, expected};

/// All files below a folder with their bytes, and its folders.
fn tree(at: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let is_folder = path.is_dir();
        found.insert(path.clone(), (!is_folder).then(|| fs::read(&path).unwrap()));
        if is_folder {
            tree(&path, found);
        }
    }
}

/// The damage of [`damage`] to everything on a node but `node.toml`, once for each file, whatever
/// names it has.
fn damage_all(root: &Path, how: Damage) {
    let mut found = BTreeMap::new();
    tree(root, &mut found);
    let mut done = BTreeSet::new();
    let files = found.iter().filter_map(|(path, bytes)| Some((path, bytes.as_ref()?.len())));
    for (path, length) in files.filter(|(path, _)| !path.ends_with("node.toml")) {
        let how = match how {
            _ if length == 0 => continue,
            Damage::Truncate(cut) => Damage::Truncate(cut.min(length - 1)),
            Damage::Flip(at, bits) => Damage::Flip(at % length, bits),
            Damage::Delete => how,
        };
        let inode = fs::metadata(path).unwrap().ino();
        if done.insert(inode) || matches!(how, Damage::Delete) {
            damage(path, how);
        }
    }
}

#[test]
fn a_node_of_which_every_file_is_damaged_costs_nothing_and_is_made_whole() {
    let mut cells = Cells::of("all of a node x read, store, scrub, recover, rescue");
    for id in NodeId::ALL {
        for how in damages(217, 29) {
            let mut house = House::new(|folder| {
                let root = folder.join(format!("files_{id}"));
                cells.next(&root, how);
                damage_all(&root, how);
            });
            let expected = expected(&house);
            let (catalog, report) = house.recover(NodeSet::ALL).unwrap();
            assert_eq!(House::listed(&catalog), expected, "{report:?}");
            check_recovered(&house, &catalog);
            for from in sets_with(id, 3) {
                let (outcomes, written) = house.rescue(from);
                assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Rescued(_))));
                assert!(written[&Path::new(USER).join(FILE)] == content(1), "from {from}");
            }
            assert_eq!(house.read(FILE).unwrap(), content(1));
            assert_eq!(house.store(LATER, &content(9)).unwrap().nodes, NodeSet::ALL);
            let progress = house.scrub();
            assert!(progress.is_clean() && progress.found.damaged == 0, "{progress:?}");
            for (path, tag) in [("kept", 2), (FILE, 1), (LATER, 9)] {
                for on in sets_with(id, 2) {
                    house.switch(on);
                    assert_eq!(house.read(path).unwrap(), content(tag), "{path} from {on}");
                }
            }
            house.switch(NodeSet::ALL);
            let (catalog, report) = house.recover(sets_with(id, 2).next().unwrap()).unwrap();
            assert_eq!(
                House::listed(&catalog),
                House::listed(&house.cluster.catalog),
                "{report:?}"
            );
        }
    }
    cells.end(50);
}

#[test]
fn a_node_with_a_damaged_node_toml_does_not_start_and_changes_nothing() {
    let mut cells = Cells::of("node.toml x start");
    let folder = House::furnished(|_| {});
    for id in NodeId::ALL {
        let root = folder.path().join(format!("files_{id}"));
        let path = root.join(".palk/node.toml");
        let length = fs::read(&path).unwrap().len();
        let cuts = (0..length).map(Damage::Truncate);
        let flips = (0..length).flat_map(|at| (0..8).map(move |bit| Damage::Flip(at, 1 << bit)));
        for how in [Damage::Delete].into_iter().chain(cuts).chain(flips) {
            cells.next(&path, how);
            let before = damage(&path, how);
            let (mut found, mut left) = (BTreeMap::new(), BTreeMap::new());
            tree(&root, &mut found);
            match House::start(folder.path(), id) {
                // What does not change what it says may stay unnoticed: a blank, the last line end.
                Ok(store) => {
                    let said = store.registration().current();
                    assert_eq!(said, (Some(CLUSTER), Some(CLAIM)));
                }
                Err(error) => {
                    let code = error.code();
                    assert!(matches!(code, Code::Damaged | Code::Version), "{code:?}: {error}");
                    assert!(error.to_string().contains("node.toml"), "{error}");
                    tree(&root, &mut left);
                    assert!(found == left, "nothing is changed");
                }
            }
            fs::write(&path, before).unwrap();
        }
    }
    cells.end(4000);
}

#[test]
fn without_a_node_that_does_not_start_everything_goes_on_and_it_comes_back() {
    let mut cells = Cells::of("node.toml x read, store, scrub, recover, rescue");
    for id in NodeId::ALL {
        for how in [Damage::Delete, Damage::Truncate(0), Damage::Truncate(40), Damage::Flip(60, 1)]
        {
            let mut house = House::new(|_| {});
            let path = house.root(id).join(".palk/node.toml");
            cells.next(&path, how);
            damage(&path, how);
            assert!(House::start(house.folder.path(), id).is_err());
            let mut others = NodeSet::ALL;
            others.remove(id);
            house.switch(others);
            assert_eq!(house.read(FILE).unwrap(), content(1));
            assert_eq!(house.store(FILE, &content(7)).unwrap().nodes, others);
            let (catalog, report) = house.recover(others).unwrap();
            assert_eq!(
                House::listed(&catalog),
                House::listed(&house.cluster.catalog),
                "{report:?}"
            );
            // Its blocks say which node it is. It has only the old version of one file.
            let (outcomes, written) = house.rescue(sets_with(id, 2).next().unwrap());
            let later = Path::new(USER).join(LATER);
            assert!(written[&later] == content(4), "{outcomes:?}");
            assert!(matches!(outcomes[FILE], Outcome::Lost { .. }), "{outcomes:?}");
            let (_, written) = house.rescue(others);
            assert!(written[&Path::new(USER).join(FILE)] == content(7));

            // As the refusal says: another node's, with this one's number and without the sum.
            let other = others.iter().next().unwrap();
            let text = fs::read_to_string(house.root(other).join(".palk/node.toml")).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with("sum = "));
            let own = lines.map(|line| match line.strip_prefix("node = ") {
                Some(_) => format!("node = {id}\n"),
                None => format!("{line}\n"),
            });
            fs::write(&path, own.collect::<String>()).unwrap();
            house.restart(id);
            let state = house.nodes[id.index()].store().journal_state().unwrap();
            assert_eq!(state.gap, None, "its pieces are not taken for lost");
            house.switch(NodeSet::ALL);
            house.attend();
            assert_eq!(house.scrub().found, Mending::default(), "it got what it had missed");
            let pair = sets_with(id, 2).next().unwrap();
            house.switch(pair);
            assert_eq!(house.read(FILE).unwrap(), content(7));
        }
    }
    cells.end(16);
}
