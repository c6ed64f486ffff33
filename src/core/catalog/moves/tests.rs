//! Moves, on a catalog of their own.

use super::*;
use crate::core::catalog::fixture::{Fixture, fixture, place};
use crate::core::catalog::{Judgement, NewFile, Task};
use crate::core::error::Code;
use crate::core::types::{Digest, NodeSet, Precondition, VersionId};
use crate::core::wire::node::{Formerly, Order};

fn relocate(f: &Fixture, from: &str, to: &str, replace: bool) -> Result<Relocated> {
    let to = FolderPath::parse(to).unwrap();
    f.catalog.relocate(f.user, &place(from).path, &to, replace)
}

fn code(f: &Fixture, from: &str, to: &str) -> Code {
    relocate(f, from, to, false).unwrap_err().code()
}

fn version_at(f: &Fixture, path: &str) -> Option<VersionId> {
    f.catalog.file(f.user, &place(path).path).ok().map(|record| record.version)
}

fn v(n: u8) -> VersionId {
    VersionId([n; 16])
}

fn orders(f: &Fixture, node: NodeId) -> Vec<Order> {
    let owed = f.catalog.owed(node, false, 0, 100).unwrap();
    owed.into_iter()
        .filter_map(|owed| match owed.task {
            Task::Order(order) => Some(order),
            Task::Repair { .. } => None,
        })
        .collect()
}

#[test]
fn a_moved_file_has_the_moves_number_and_keeps_the_one_of_its_trailers() {
    let f = fixture();
    let stored = f.store("x/a", 1);
    f.store("b", 2);
    f.catalog.piece_lost(NodeId::ALL[3], v(1), None).unwrap();
    f.settle();
    assert_eq!(code(&f, "x/a", "b"), Code::Exists);
    let done = relocate(&f, "x/a", "b", true).unwrap();
    assert!(done.replaced && !done.is_folder && done.seq > stored);
    assert_eq!((version_at(&f, "b"), version_at(&f, "x/a")), (Some(v(1)), None));
    let record = f.catalog.version(v(1)).unwrap().unwrap();
    assert_eq!((record.seq, f.catalog.stored_seq(v(1)).unwrap()), (done.seq, Some(stored)));
    assert_eq!(f.catalog.version(v(2)).unwrap(), None, "replaced");
    let (from, to) = (place("x/a").path, place("b").path);
    let user = place("b").user;
    let order = Order::MoveFile { version: v(1), user, from, to };
    for node in NodeId::ALL {
        assert_eq!(orders(&f, node), std::slice::from_ref(&order));
    }
    // What it lacks somewhere is rebuilt for its new place.
    let repairs = f.catalog.owed(NodeId::ALL[3], true, 0, 9).unwrap();
    assert!(
        matches!(&repairs[..], [owed] if owed.task == Task::Repair { version: v(1), place: place("b") })
    );
    // And once more, back again.
    let again = relocate(&f, "b", "x", false).unwrap();
    assert_eq!(again.to.as_str(), "x/b");
    assert_eq!(f.catalog.stored_seq(v(1)).unwrap(), Some(stored));
}

#[test]
fn a_folder_moves_with_all_in_it_and_what_is_beside_it_stays() {
    let f = fixture();
    for (n, path) in (1..).zip(["x/a", "x/y/b", "xx/c", "x.txt"]) {
        f.store(path, n);
    }
    f.catalog.make_folder(f.user, &FolderPath::parse("into").unwrap(), false).unwrap();
    let done = relocate(&f, "x", "into", false).unwrap();
    assert_eq!((done.to.as_str(), done.files, done.is_folder), ("into/x", 2, true));
    for (n, path) in (1..).zip(["into/x/a", "into/x/y/b", "xx/c", "x.txt"]) {
        assert_eq!(version_at(&f, path), Some(v(n)), "{path}");
    }
    assert_eq!(code(&f, "x", "z"), Code::NoSuchFile);
    let done = relocate(&f, "into/x", "z", false).unwrap();
    assert_eq!((done.to.as_str(), done.files), ("z", 2));
    // Pieces of one version: where they are, and were, newest first.
    let found = f.catalog.whereabouts(v(2), &place("x/y/b")).unwrap();
    assert_eq!((&found.place, found.seq), (&place("z/y/b"), Some(done.seq)));
    let former = vec![place("into/x/y/b").path, place("x/y/b").path];
    assert_eq!(found.formerly[2], Some(Formerly::try_from(former).unwrap()));
    assert_eq!(found.moving(), NodeSet::ALL);
    f.settle();
    let found = f.catalog.whereabouts(v(2), &place("x/y/b")).unwrap();
    assert_eq!(found.moving(), NodeSet::EMPTY);
}

#[test]
fn what_cannot_be_moved_is_refused_and_nothing_changes() {
    let f = fixture();
    f.store("x/a", 1);
    f.store("b", 2);
    f.store("y_A1/c", 3);
    for (from, to, expected) in [
        ("none", "c", Code::NoSuchFile),
        ("none/a", "c", Code::NoSuchFolder),
        ("b", "none/b", Code::NoSuchFolder),
        ("x", "x", Code::NotAllowed),
        ("x", "x/deep", Code::NotAllowed),
        ("b", "b", Code::NotAllowed),
        ("b", "y", Code::NotAllowed),
        ("x", "b", Code::NotAllowed),
        ("x", "b_O2", Code::NotAllowed),
        ("b", "b/c", Code::NoSuchFolder),
    ] {
        assert_eq!(code(&f, from, to), expected, "{from} to {to}");
    }
    let long = format!("{}x", "long/".repeat(62));
    f.catalog.make_folder(f.user, &FolderPath::parse(&long).unwrap(), true).unwrap();
    f.store("m/n/o", 4);
    assert_eq!(code(&f, "m", &long), Code::BadPath, "too deep");
    assert_eq!(version_at(&f, "m/n/o"), Some(v(4)));
    assert_eq!(version_at(&f, "x/a"), Some(v(1)));
}

#[test]
fn a_store_that_was_running_where_something_moved_is_refused() {
    let f = fixture();
    f.store("x/a", 1);
    let new = |path: &str| NewFile {
        user: f.user,
        path: place(path).path,
        bytes: 353,
        blake3: Digest([7; 32]),
        stored_ms: 5,
        staged: NodeSet::ALL,
        precondition: Precondition::Any,
        stored_by: String::new(),
    };
    let tickets = [2, 3, 4].map(|n| f.catalog.begin_store(v(n)).unwrap());
    relocate(&f, "x", "z", false).unwrap();
    for (ticket, path) in tickets.iter().zip(["x/a", "z/b"]) {
        let refused = f.catalog.commit_store(ticket, &new(path)).unwrap_err();
        assert!(matches!(refused, Error::MovedMeanwhile(_)), "{path}: {refused}");
    }
    f.catalog.commit_store(&tickets[2], &new("other")).unwrap();
    drop(tickets);
    f.store("x/a", 5);
    assert_eq!((version_at(&f, "x/a"), version_at(&f, "z/a")), (Some(v(5)), Some(v(1))));
}

#[test]
fn nothing_that_a_move_concerns_is_a_stray_until_it_is_made() {
    let f = fixture();
    let seq = f.store("x/a", 1);
    f.settle();
    relocate(&f, "x", "z", false).unwrap();
    let judge =
        |path: &str| f.catalog.judge(NodeId::ALL[1], &place(path), Some((v(1), seq))).unwrap();
    assert_eq!((judge("x/a"), judge("z/a")), (Judgement::Fine, Judgement::Fine));
    assert_eq!(judge("xx/a"), Judgement::Stray(None));
    f.settle();
    assert_eq!((judge("x/a"), judge("z/a")), (Judgement::Stray(None), Judgement::Fine));
}

#[test]
fn a_piece_is_not_missing_where_a_move_is_owed_or_was_made_since_it_was_asked_for() {
    let f = fixture();
    let asked = f.store("a", 1);
    f.settle();
    let may_be = |asked| f.catalog.may_be_elsewhere(NodeId::ALL[0], v(1), asked).unwrap();
    assert!(!may_be(asked));
    let done = relocate(&f, "a", "b", false).unwrap();
    assert!(may_be(done.seq), "owed");
    f.settle();
    assert!(may_be(asked), "asked before");
    assert!(!may_be(done.seq));
}

#[test]
fn more_moves_than_a_request_can_name_leave_the_node_out() {
    let f = fixture();
    f.store("f0", 1);
    for n in 0..9 {
        relocate(&f, &format!("f{n}"), &format!("f{}", n + 1), false).unwrap();
    }
    let found = f.catalog.whereabouts(v(1), &place("f0")).unwrap();
    assert_eq!(found.formerly, [const { None }; 4]);
    assert_eq!(found.moving(), NodeSet::ALL);
}
