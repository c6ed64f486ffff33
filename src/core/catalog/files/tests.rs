//! Tests of files in the catalog.

use super::*;
use crate::core::catalog::Task;
use crate::core::catalog::accounts::HashGate;
use crate::core::error::Code;
use crate::core::path::UserName;
use crate::core::types::ClusterId;
use crate::core::wire::node::Order;

struct Fixture {
    folder: tempfile::TempDir,
    catalog: Catalog,
    user: UserId,
    next: std::cell::Cell<u8>,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
    let demo = UserName::parse("demo").unwrap();
    let user = catalog.create_user(&HashGate::default(), &demo, "pw", 0).unwrap();
    for node in NodeId::ALL {
        let made: Vec<i64> =
            catalog.owed(node, false, 0, 10).unwrap().iter().map(|owed| owed.id).collect();
        catalog.settle(&made);
    }
    Fixture { folder, catalog, user, next: 1.into() }
}

fn path(text: &str) -> FilePath {
    FilePath::parse_rooted(text).unwrap()
}

impl Fixture {
    fn begin(&self) -> Ticket {
        let next = self.next.get();
        self.next.set(next + 1);
        self.catalog.begin_store(VersionId([next; 16])).unwrap()
    }

    fn new_file(&self, at: &str, staged: u8) -> NewFile {
        NewFile {
            user: self.user,
            path: path(at),
            bytes: 353,
            blake3: Digest([7; 32]),
            stored_ms: 5,
            staged: NodeSet::from_bits(staged),
            precondition: Precondition::Any,
            stored_by: "demo from 127.0.0.1:1".into(),
        }
    }

    fn store(&self, at: &str) -> Result<Committed> {
        self.catalog.commit_store(&self.begin(), &self.new_file(at, 0b1111))
    }

    fn tasks(&self, node: usize, repairs: bool) -> Vec<Task> {
        let owed = self.catalog.owed(NodeId::ALL[node - 1], repairs, 0, 100).unwrap();
        owed.into_iter().map(|owed| owed.task).collect()
    }
}

#[test]
fn a_stored_file_is_listed_with_its_folders_and_survives_a_restart() {
    let Fixture { folder, catalog, user, .. } = {
        let f = fixture();
        f.store("test/deep/yeet.txt").unwrap();
        f.store("top.txt").unwrap();
        f
    };
    drop(catalog);
    let again = Catalog::open(&folder.path().join("palk.db"), ClusterId([2; 16])).unwrap();
    assert_eq!(again.cluster(), ClusterId([1; 16]));
    let listed: Vec<String> = again
        .list(user)
        .unwrap()
        .iter()
        .map(|entry| match entry {
            Entry::Folder(path) => path.to_string(),
            Entry::File(file) => file.path.to_string(),
        })
        .collect();
    assert_eq!(listed, ["test", "test/deep", "test/deep/yeet.txt", "top.txt"]);
    let before = again.draw_seq().unwrap();
    assert!(before > Seq(2), "numbers only grow over a restart");
}

#[test]
fn what_is_missing_is_said_exactly() {
    let f = fixture();
    f.store("test/yeet.txt").unwrap();
    let code = |at: &str| f.catalog.file(f.user, &path(at)).unwrap_err().code();
    assert_eq!(code("test/other"), Code::NoSuchFile);
    assert_eq!(code("other"), Code::NoSuchFile);
    assert_eq!(code("none/yeet.txt"), Code::NoSuchFolder);
}

#[test]
fn a_store_on_three_nodes_owes_the_fourth_a_repair() {
    let f = fixture();
    let ticket = f.begin();
    f.catalog.commit_store(&ticket, &f.new_file("a", 0b0111)).unwrap();
    assert!(matches!(f.tasks(1, false)[..], [Task::Order(Order::Commit { .. })]));
    assert!(f.tasks(4, false).is_empty());
    assert!(matches!(f.tasks(4, true)[..], [Task::Repair { .. }]));

    let repair = f.catalog.owed(NodeId::ALL[3], true, 0, 1).unwrap()[0].id;
    f.catalog.piece_rebuilt(NodeId::ALL[3], ticket.version, repair).unwrap();
    assert!(f.tasks(4, true).is_empty());
    assert!(matches!(f.tasks(4, false)[..], [Task::Order(Order::Commit { .. })]));
    let placed = f.catalog.file(f.user, &path("a")).unwrap().placed;
    assert_eq!(placed, NodeSet::ALL);
}

#[test]
fn a_repair_of_a_replaced_version_is_forgotten() {
    let f = fixture();
    let first = f.begin();
    f.catalog.commit_store(&first, &f.new_file("a", 0b0111)).unwrap();
    let repair = f.catalog.owed(NodeId::ALL[3], true, 0, 1).unwrap()[0].id;
    f.store("a").unwrap();
    assert!(f.tasks(4, true).is_empty());
    f.catalog.piece_rebuilt(NodeId::ALL[3], first.version, repair).unwrap();
    assert_eq!(f.tasks(4, false).len(), 1, "only the commit of the new version");
}

#[test]
fn the_highest_number_wins_in_whatever_order_they_commit() {
    let f = fixture();
    let (low, high) = (f.begin(), f.begin());
    assert_eq!(
        f.catalog.commit_store(&high, &f.new_file("a", 0b1111)).unwrap(),
        Committed::Current
    );
    assert_eq!(
        f.catalog.commit_store(&low, &f.new_file("a", 0b1111)).unwrap(),
        Committed::Overtaken
    );
    assert_eq!(f.catalog.file(f.user, &path("a")).unwrap().version, high.version);
    assert!(f.tasks(1, false).contains(&Task::Order(Order::Discard { version: low.version })));
}

#[test]
fn a_store_that_began_before_a_deletion_does_not_undo_it() {
    let f = fixture();
    f.store("a").unwrap();
    let late = f.begin();
    let deletion = f.catalog.draw_seq().unwrap();
    f.catalog.delete(f.user, &path("a"), deletion).unwrap();
    let outcome = f.catalog.commit_store(&late, &f.new_file("a", 0b1111)).unwrap();
    assert_eq!(outcome, Committed::Overtaken);
    assert_eq!(f.catalog.file(f.user, &path("a")).unwrap_err().code(), Code::NoSuchFile);
}

#[test]
fn a_deletion_that_began_before_a_store_does_not_remove_it() {
    let f = fixture();
    f.store("a").unwrap();
    let deletion = f.catalog.draw_seq().unwrap();
    f.store("a").unwrap();
    f.catalog.delete(f.user, &path("a"), deletion).unwrap();
    assert!(f.catalog.file(f.user, &path("a")).is_ok());
}

#[test]
fn a_deleted_file_is_gone_and_every_node_owes_its_removal() {
    let f = fixture();
    f.store("test/a").unwrap();
    let seq = f.catalog.draw_seq().unwrap();
    f.catalog.delete(f.user, &path("test/a"), seq).unwrap();
    for node in 1..=4 {
        let tasks = f.tasks(node, false);
        assert!(matches!(tasks[..], [.., Task::Order(Order::Remove { .. })]), "{tasks:?}");
    }
    let again = f.catalog.delete(f.user, &path("test/a"), seq);
    assert_eq!(again.unwrap_err().code(), Code::NoSuchFile);
    let elsewhere = f.catalog.delete(f.user, &path("none/a"), seq);
    assert_eq!(elsewhere.unwrap_err().code(), Code::NoSuchFolder);
}

#[test]
fn whichever_comes_second_to_a_name_is_refused() {
    let f = fixture();
    f.store("x").unwrap();
    for second in ["x_A1/y", "x/y", "x_A1/deep/y"] {
        assert_eq!(f.store(second).unwrap_err().code(), Code::NotAllowed, "{second}");
    }
    f.store("z_O4/y").unwrap();
    for second in ["z", "z_O4"] {
        assert_eq!(f.store(second).unwrap_err().code(), Code::NotAllowed, "{second}");
    }
    f.store("x_A9/y").unwrap();
}

#[test]
fn a_name_may_have_its_full_length() {
    let f = fixture();
    let longest = "x".repeat(crate::core::path::NAME_BYTES_MAX);
    f.store(&longest).unwrap();
    f.store(&format!("folder/{longest}")).unwrap();
}

#[test]
fn a_store_that_must_not_replace_does_not() {
    let f = fixture();
    f.store("a").unwrap();
    let careful = NewFile { precondition: Precondition::Absent, ..f.new_file("a", 0b1111) };
    assert!(f.catalog.check_store(f.user, &path("a"), Precondition::Absent).is_err());
    let refused = f.catalog.commit_store(&f.begin(), &careful);
    assert_eq!(refused.unwrap_err().code(), Code::Exists);
}

#[test]
fn an_update_is_refused_where_there_is_nothing_or_something_else() {
    let f = fixture();
    let store = |at: &str, precondition| {
        let ticket = f.begin();
        let new = NewFile { precondition, ..f.new_file(at, 0b1111) };
        let early = f.catalog.check_store(f.user, &path(at), precondition);
        let outcome = f.catalog.commit_store(&ticket, &new);
        assert_eq!(early.is_ok(), outcome.is_ok(), "said early, and in the transaction");
        outcome.map(|_| ticket.version)
    };
    let missing = store("a", Precondition::Present).unwrap_err();
    assert_eq!(missing.code(), Code::NoSuchFile);
    let first = store("a", Precondition::Absent).unwrap();
    let second = store("a", Precondition::Unchanged(first)).unwrap();
    let late = store("a", Precondition::Unchanged(first)).unwrap_err();
    assert_eq!(late.code(), Code::Changed);
    assert_eq!(
        late.to_string(),
        "a was changed meanwhile by demo from 127.0.0.1:1, at 1970-01-01T00:00:00Z"
    );
    assert_eq!(f.catalog.file(f.user, &path("a")).unwrap().version, second);
    let gone = store("b", Precondition::Unchanged(first)).unwrap_err();
    assert_eq!(gone.code(), Code::Changed);
    store("a", Precondition::Present).unwrap();
}

#[test]
fn a_lost_piece_is_owed_once() {
    let f = fixture();
    let ticket = f.begin();
    f.catalog.commit_store(&ticket, &f.new_file("a", 0b1111)).unwrap();
    let node = NodeId::ALL[1];
    let commit = f.catalog.owed(node, false, 0, 1).unwrap()[0].id;
    f.catalog.piece_lost(node, ticket.version, Some(commit)).unwrap();
    f.catalog.piece_lost(node, ticket.version, None).unwrap();
    assert_eq!(f.tasks(2, true).len(), 1);
    assert!(f.tasks(2, false).is_empty());
    let placed = f.catalog.file(f.user, &path("a")).unwrap().placed;
    assert_eq!(placed, NodeSet::from_bits(0b1101));
}

#[test]
fn only_staged_versions_that_nobody_speaks_of_are_strays() {
    let f = fixture();
    let running = f.begin();
    let current = f.begin();
    f.catalog.commit_store(&current, &f.new_file("a", 0b1111)).unwrap();
    let current = {
        let ended = current;
        ended.version
    };
    let failed = f.begin().version;
    let staged = [running.version, current, failed];
    let node = NodeId::ALL[0];
    let strays = f.catalog.strays(node, &staged).unwrap();
    assert_eq!(strays, [Order::Discard { version: failed }]);

    let done: Vec<i64> =
        f.catalog.owed(node, false, 0, 9).unwrap().iter().map(|owed| owed.id).collect();
    f.catalog.settle(&done);
    f.catalog.strike_settled().unwrap();
    let strays = f.catalog.strays(node, &[current]).unwrap();
    assert!(
        matches!(&strays[..], [Order::Commit { version, .. }] if *version == current),
        "a second piece of it: {strays:?}"
    );
}
