//! Orders that give other names, on a folder of their own.

use super::*;
use crate::core::code::checksum;
use crate::core::code::repair::Select;
use crate::core::io::disk::RealDisk;
use crate::core::types::{Claim, Digest, NodeId, Seq, ServerId};
use crate::core::wire::node::{Formerly, Order, Outcome, PieceMeta};
use std::fs;
use std::sync::Arc;

struct Fixture {
    folder: tempfile::TempDir,
    store: BlockStore,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = BlockStore::open(Arc::new(RealDisk), folder.path(), NodeId::ALL[1]).unwrap();
    Fixture { folder, store }
}

fn user() -> UserName {
    UserName::parse("demo").unwrap()
}

fn at(path: &str) -> Place {
    place(&user(), &FilePath::parse_rooted(path).unwrap())
}

fn version(n: u8) -> VersionId {
    VersionId([n; 16])
}

fn moving(n: u8, from: &str, to: &str) -> Order {
    let [from, to] = [from, to].map(|path| at(path).path);
    Order::MoveFile { version: version(n), user: user(), from, to }
}

fn moving_folder(from: &str, to: &str) -> Order {
    let [from, to] = [from, to].map(|path| FolderPath::parse(path).unwrap());
    Order::MoveFolder { user: user(), from, to }
}

impl Fixture {
    /// Version `n` with the number `n`, under its final name.
    fn put(&self, n: u8, path: &str) {
        let meta = PieceMeta {
            version: version(n),
            seq: Seq(n.into()),
            place: at(path),
            file_bytes: 353,
            stored_ms: 5,
            repair: false,
        };
        let (mut stage, unit) = (self.store.stage(meta).unwrap(), [n; 89]);
        stage.units([&unit, &unit], [checksum::unit(&unit); 2]).unwrap();
        stage.finish(Digest([n; 32])).unwrap();
        let (version, seq) = (version(n), Seq(n.into()));
        self.done(&Order::Commit { version, seq, place: at(path) });
    }

    fn done(&self, order: &Order) {
        let outcomes = self.store.carry(std::slice::from_ref(order));
        assert_eq!(outcomes, [Outcome::Done], "{order:?}");
    }

    /// Which version can be read there.
    fn read(&self, n: u8, path: &str, formerly: &[&str]) -> bool {
        let formerly: Vec<FilePath> = formerly.iter().map(|path| at(path).path).collect();
        let formerly = Formerly::try_from(formerly).unwrap();
        let mut piece = self.store.open_piece(version(n), &at(path), &formerly);
        piece.units(0, Select::Both, &mut Vec::new()).is_ok()
    }

    fn has(&self, path: &str) -> bool {
        self.folder.path().join("demo").join(path).exists()
    }
}

#[test]
fn a_file_is_moved_over_another_with_a_higher_number_and_once_more_does_no_harm() {
    let f = fixture();
    f.put(1, "x/a");
    f.put(9, "b");
    assert!(f.read(1, "b", &["x/a"]), "not moved yet");
    for _ in 0..2 {
        f.done(&moving(1, "x/a", "b"));
        assert!(f.read(1, "b", &[]) && f.read(1, "b", &["x/a"]) && !f.read(9, "b", &[]));
        assert!(!f.has("x/a_B1"));
    }
}

#[test]
fn a_move_that_was_broken_off_between_two_blocks_is_finished() {
    let f = fixture();
    f.put(1, "a");
    f.put(2, "b");
    let demo = f.folder.path().join("demo");
    fs::rename(demo.join("a_B1"), demo.join("b_B1")).unwrap();
    assert!(f.read(1, "b", &["a"]), "one block here, the other there");
    f.done(&moving(1, "a", "b"));
    assert!(f.read(1, "b", &[]) && !f.has("a_B2"));
}

#[test]
fn a_move_of_what_is_not_there_removes_what_is_older() {
    let f = fixture();
    f.put(3, "a");
    f.put(2, "b");
    f.done(&moving(5, "a", "b"));
    for name in ["a_B1", "a_B2", "b_B1", "b_B2"] {
        assert!(!f.has(name), "{name}");
    }
    f.done(&moving(5, "none/a", "none/b"));
}

#[test]
fn a_block_that_cannot_be_read_is_taken_along() {
    let f = fixture();
    f.put(1, "a");
    fs::write(f.folder.path().join("demo/a_B1"), b"rotten").unwrap();
    (0..2).for_each(|_| f.done(&moving(1, "a", "b")));
    assert!(f.has("b_B1") && f.has("b_B2") && !f.has("a_B1"));
}

#[test]
fn a_folder_is_renamed_or_put_into_what_is_left_over_under_its_name() {
    let f = fixture();
    f.put(1, "x/a");
    f.put(2, "x/y/b");
    for _ in 0..2 {
        f.done(&moving_folder("x", "z/x"));
        assert!(f.read(1, "z/x/a", &[]) && f.read(2, "z/x/y/b", &["x/y/b"]) && !f.has("x"));
    }
    f.put(3, "x/y/c");
    f.put(4, "x/a");
    f.done(&moving_folder("z/x", "x"));
    assert!(f.read(1, "x/a", &[]) && f.read(2, "x/y/b", &[]) && f.read(3, "x/y/c", &[]));
    assert!(!f.has("z/x") && f.has("z"));
    f.done(&moving_folder("x", "x/y"));
    assert!(f.read(1, "x/a", &[]), "into itself nothing is moved");
}

#[test]
fn what_is_in_the_way_of_a_folder_stays_and_does_not_hold_it_up() {
    let f = fixture();
    f.put(1, "x/a");
    let demo = f.folder.path().join("demo");
    fs::create_dir_all(demo.join("x/notes")).unwrap();
    fs::create_dir_all(demo.join("z/file")).unwrap();
    fs::write(demo.join("x/file"), b"nobody's").unwrap();
    fs::write(demo.join("z/notes"), b"nobody's").unwrap();
    f.done(&moving_folder("x", "z"));
    assert!(f.read(1, "z/a", &[]));
    assert!(f.has("x/file") && f.has("x/notes") && f.has("z/file") && f.has("z/notes"));
}

#[test]
fn only_an_empty_folder_is_removed() {
    let f = fixture();
    f.put(1, "x/a");
    let remove = |path| {
        let folder = FolderPath::parse(path).unwrap();
        f.done(&Order::RemoveFolder { user: user(), folder });
    };
    remove("x");
    assert!(f.has("x/a_B1"));
    f.done(&Order::Remove { place: at("x/a"), up_to: Seq(1) });
    (0..2).for_each(|_| remove("x"));
    assert!(!f.has("x"));
    // Its name was durable; made anew, it is synced anew.
    f.put(2, "x/a");
    assert!(f.read(2, "x/a", &[]));
    remove("none/x");
}

#[test]
fn a_version_is_taken_back_only_from_where_it_lies() {
    let f = fixture();
    f.put(1, "a");
    let back = |n| Order::TakeBack { version: version(n), place: at("a") };
    f.done(&back(2));
    assert!(f.has("a_B1"));
    (0..2).for_each(|_| f.done(&back(1)));
    assert!(!f.has("a_B1") && f.read(1, "a", &[]), "from staging");
    let (version, seq) = (version(1), Seq(7));
    f.done(&Order::Commit { version, seq, place: at("b") });
    assert!(f.has("b_B1") && f.read(1, "b", &[]));
}

#[test]
fn what_was_sent_before_a_move_and_comes_after_it_is_not_done() {
    let f = fixture();
    f.put(1, "a");
    let claim = Claim { epoch: 1, server: ServerId([1; 16]) };
    let late = Order::Remove { place: at("b"), up_to: Seq(5) };
    let moved = f.store.carry_in_turn(claim, 8, &[moving(1, "a", "b")]);
    assert_eq!(moved, [Outcome::Done]);
    let refused = f.store.carry_in_turn(claim, 7, std::slice::from_ref(&late));
    assert!(matches!(refused[..], [Outcome::Failed(_)]), "{refused:?}");
    assert!(f.read(1, "b", &[]));
    // Another server numbers its own, and the one before is not let in any more.
    let next = Claim { epoch: 2, server: ServerId([2; 16]) };
    assert_eq!(f.store.carry_in_turn(next, 0, &[late]), [Outcome::Done]);
    assert!(!f.read(1, "b", &[]));
}
