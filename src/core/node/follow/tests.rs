use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::core::code::coded::CodedStripe;
use crate::core::node::fixture::{CLUSTER, History, NODE, TestDisk, place, version};
use crate::core::path::block_file_name;
use crate::core::types::{Claim, Digest, NodeSet, Seq, ServerId};
use crate::core::wire::journal::Told;
use crate::core::wire::node::PieceMeta;
use crate::core::wire::snapshot::{FORMAT, FRAME_HEAD_BYTES, SnapshotRequest, frame_of};

const NO_SPACE: i32 = 28;
const NOT_PERMITTED: i32 = 1;

/// A node, and what its server has sent it.
struct Bench {
    folder: tempfile::TempDir,
    disk: TestDisk,
    store: BlockStore,
    history: History,
    sent: usize,
}

impl Bench {
    fn new() -> Bench {
        Bench::on(TestDisk::default())
    }

    fn on(disk: TestDisk) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&disk, folder.path());
        let mut bench = Bench { folder, disk, store, history: History::default(), sent: 0 };
        bench.add(Change::UserMade {
            user: place("x").user,
            password: String::new(),
            created_ms: 0,
        });
        bench
    }

    /// A process that was killed, and the next one.
    fn restart(&mut self) {
        self.store = open(&self.disk, self.folder.path());
    }

    fn add(&mut self, change: Change) -> &mut Bench {
        self.history.add(&change);
        self
    }

    /// Version `n` becomes the file of this name; its piece is here.
    fn store(&mut self, n: u8, at: &str) -> &mut Bench {
        self.hold(n, at).store_elsewhere(n, at)
    }

    /// The same without a piece here.
    fn store_elsewhere(&mut self, n: u8, at: &str) -> &mut Bench {
        self.add(stored(n, at))
    }

    /// The piece of version `n` comes.
    fn hold(&mut self, n: u8, at: &str) -> &mut Bench {
        let content = vec![n; 100];
        let coded = CodedStripe::of_file(&content);
        let (units, checksums) = coded.for_node(NODE);
        let mut stage = self
            .store
            .stage(PieceMeta {
                version: version(n),
                place: place(at),
                file_bytes: 100,
                stored_ms: 0,
                repair: false,
                part: None,
            })
            .unwrap();
        let (first, second) = units.split_at(coded.unit_bytes());
        stage.units([first, second], checksums).unwrap();
        stage.finish(Seq(n.into()), Digest([n; 32])).unwrap();
        self
    }

    fn mv(&mut self, from: &str, to: &str) -> &mut Bench {
        self.add(moved(from, to))
    }

    fn rmdir(&mut self, at: &str) -> &mut Bench {
        self.add(folder_removed(at))
    }

    fn mkdir(&mut self, at: &str) -> &mut Bench {
        self.add(folder_made(at))
    }

    fn delete(&mut self, at: &str) -> &mut Bench {
        self.add(Change::Deleted { place: place(at) })
    }

    /// Sends what was added, and says that it is decided.
    fn send(&mut self) -> &mut Bench {
        let end = self.history.entries.len();
        let (append, body) = self.history.append(self.sent, end, true);
        self.store.append(&append, &body).unwrap();
        self.store.decided(end as u64);
        self.sent = end;
        self
    }

    /// Sends it, and has the node follow it.
    fn follow(&mut self) -> &mut Bench {
        self.send();
        while self.store.write_out().unwrap() {}
        while self.store.follow().unwrap() {}
        self
    }

    /// Waits as long as it takes until nothing is left to do.
    fn rest(&mut self) -> &mut Bench {
        self.follow();
        for _ in 0..4 * PAUSE_MIN {
            while self.store.follow().unwrap() {}
        }
        self
    }

    fn check(&self) -> ViewReport {
        self.store.check_view().unwrap()
    }

    fn at(&self, rest: &str) -> PathBuf {
        self.folder.path().join("files").join(rest)
    }

    /// Where the first block of a file is shown.
    fn shown_at(&self, at: &str) -> PathBuf {
        let place = place(at);
        let name = block_file_name(place.path.name(), NODE.blocks()[0]);
        self.at("demo").join(place.path.folder().as_str()).join(name)
    }

    /// What is shown, files as their versions: they are the bytes of their files.
    fn shown(&self) -> BTreeMap<String, Option<u8>> {
        let mut shown = BTreeMap::new();
        let mut open = vec![(self.at("demo"), FolderPath::top())];
        while let Some((at, folder)) = open.pop() {
            for entry in fs::read_dir(at).into_iter().flatten().map(|entry| entry.unwrap()) {
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    let path = folder.join(&name).unwrap();
                    shown.insert(path.as_str().to_owned(), None);
                    open.push((entry.path(), path.as_folder()));
                    continue;
                }
                let (file, block) =
                    parse_block_file_name(&name).unwrap_or((name, NODE.blocks()[0]));
                let path = folder.join(&file).unwrap().as_str().to_owned();
                let first = fs::read(entry.path()).unwrap().first().copied();
                if block == NODE.blocks()[0] {
                    shown.insert(path, first);
                } else {
                    assert_eq!(shown.get(&path).copied().unwrap_or(first), first, "{path}");
                }
            }
        }
        shown
    }

    fn expect(&self, expected: &[(&str, u8)], folders: &[&str]) {
        let files = expected.iter().map(|(at, n)| ((*at).to_owned(), Some(*n)));
        let folders = folders.iter().map(|at| ((*at).to_owned(), None));
        assert_eq!(self.shown(), files.chain(folders).collect());
    }
}

fn open(disk: &TestDisk, folder: &Path) -> BlockStore {
    let store = BlockStore::open(Arc::new(disk.clone()), &folder.join("files"), NODE).unwrap();
    let claim = Claim { epoch: 1, server: ServerId([1; 16]) };
    store.register(CLUSTER, claim, Duration::ZERO).unwrap();
    store
}

fn stored(n: u8, at: &str) -> Change {
    Change::Stored {
        place: place(at),
        version: version(n),
        seq: Seq(n.into()),
        bytes: 100,
        blake3: Digest([n; 32]),
        stored_ms: 0,
        placed: NodeSet::ALL,
        inline: false,
        by: String::new(),
        attributes: Default::default(),
    }
}

fn moved(from: &str, to: &str) -> Change {
    Change::Moved { user: place("x").user, from: place(from).path, to: place(to).path }
}

fn folder_removed(at: &str) -> Change {
    Change::FolderRemoved { user: place("x").user, folder: place(at).path.as_folder() }
}

fn folder_made(at: &str) -> Change {
    Change::FolderMade { user: place("x").user, folder: place(at).path.as_folder() }
}

fn named(n: u8, at: &str) -> Change {
    Change::Named { place: place(at), version: version(n) }
}

fn begun() -> Change {
    Change::FolderBegun { user: place("x").user }
}

/// The clock of these tests stands still, so the entries are of the moments 1, 2, 3 and so on.
fn filled(key: i64, files: &[(&str, u8)]) -> Change {
    Change::FolderFilled {
        user: place("x").user,
        key: Moment(key),
        folders: Vec::new(),
        files: files.iter().map(|(at, n)| (place(at).path, version(*n))).collect(),
    }
}

fn attached(key: i64, to: &str) -> Change {
    let to = FolderPath::parse(to).unwrap();
    Change::FolderAttached { user: place("x").user, key: Moment(key), to }
}

#[test]
fn a_stored_file_is_shown_as_a_second_name_of_its_blocks() {
    let mut bench = Bench::new();
    bench.history.add_stored(1, 1000, true);
    bench.store(2, "a/b/c.txt").follow();
    bench.expect(&[("file 1", 1), ("a/b/c.txt", 2)], &["a", "a/b"]);
    for (n, at) in [(1, "file 1"), (2, "a/b/c.txt")] {
        let [shown, piece] =
            [bench.shown_at(at), bench.store.pieces.path(version(n), NODE.blocks()[0])]
                .map(|path| fs::metadata(path).unwrap());
        assert_eq!((shown.ino(), shown.nlink()), (piece.ino(), 2), "{at}");
    }
}

#[test]
fn names_follow_what_is_stored_moved_deleted_and_removed() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "b").store(3, "x/y/c").follow();
    bench.store(4, "a").mv("b", "x/b").mv("x", "z").delete("z/y/c").follow();
    bench.expect(&[("a", 4), ("z/b", 2)], &["z", "z/y"]);
    bench.mv("z/b", "a").mkdir("new/folder").rmdir("z").follow();
    bench.expect(&[("a", 2)], &["new", "new/folder"]);
    bench.add(Change::UserRemoved { user: place("x").user }).follow();
    assert!(!bench.at("demo").exists());
    assert_eq!(fs::read_dir(bench.at(".palk/trash")).unwrap().count(), 0, "it is emptied");
    assert_eq!(bench.check(), ViewReport::default());
}

#[test]
fn a_file_that_goes_back_to_what_was_replaced_shows_it() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "a").store(3, "b").follow();
    let reverted = |n, at: &str, to| Change::Reverted { place: place(at), version: version(n), to };
    bench.add(reverted(2, "a", Some(version(1)))).add(reverted(3, "b", None)).follow();
    bench.expect(&[("a", 1)], &[]);
    assert_eq!(bench.check(), ViewReport { names: 2, ..ViewReport::default() });
}

#[test]
fn a_version_that_is_taken_back_goes_wherever_it_is_by_then_and_nowhere_else() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "a").store(3, "b").store(4, "b");
    bench.add(named(2, "x/c")).mv("a", "d").follow();
    let reverted = |n, at: &str, to| Change::Reverted { place: place(at), version: version(n), to };
    bench.add(reverted(3, "b", None)).follow();
    bench.expect(&[("b", 4), ("d", 2), ("x/c", 2)], &["x"]);
    bench.add(reverted(2, "a", Some(version(1)))).follow();
    bench.expect(&[("b", 4), ("d", 1), ("x/c", 1)], &["x"]);
    assert_eq!(bench.check(), ViewReport { names: 6, ..ViewReport::default() });
}

#[test]
fn a_former_version_and_a_copy_are_shown() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "a").store(3, "b").follow();
    bench.add(named(1, "a")).add(named(3, "x/c")).follow();
    bench.expect(&[("a", 1), ("b", 3), ("x/c", 3)], &["x"]);
    assert_eq!(bench.check(), ViewReport { names: 6, ..ViewReport::default() });
}

/// What is there, what was removed, and a folder that is filled. The keys are 6 and 7.
fn with_detached_folders() -> Bench {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "x/b").store(3, "x/y/c").store(4, "z/d").rmdir("x");
    bench.add(begun()).add(filled(7, &[("e", 1), ("deep/f", 3)]));
    assert_eq!(bench.history.end().at, Moment(8));
    bench
}

#[test]
fn a_folder_that_comes_back_is_shown_with_all_that_is_in_it() {
    let mut bench = with_detached_folders();
    bench.follow();
    bench.expect(&[("a", 1), ("z/d", 4)], &["z"]);
    bench.add(attached(6, "x")).follow();
    bench.expect(&[("a", 1), ("x/b", 2), ("x/y/c", 3), ("z/d", 4)], &["x", "x/y", "z"]);
    // In place of another, which then takes the place of a file.
    bench.add(attached(7, "z")).add(attached(10, "a")).rest();
    let files = [("a/d", 4), ("x/b", 2), ("x/y/c", 3), ("z/deep/f", 3), ("z/e", 1)];
    bench.expect(&files, &["a", "x", "x/y", "z", "z/deep"]);
    bench.add(begun()).add(attached(12, "")).follow();
    bench.expect(&[], &[]);
    bench.add(attached(13, "old")).rest();
    bench.expect(
        &files.map(|(at, n)| (format!("old/{at}"), n)).each_ref().map(|(at, n)| (&**at, *n)),
        &["old", "old/a", "old/x", "old/x/y", "old/z", "old/z/deep"],
    );
}

#[test]
fn a_check_that_is_under_way_shows_a_folder_that_comes_back() {
    for steps in 0..12 {
        let mut bench = with_detached_folders();
        bench.rest();
        bench.store.follower.check(&bench.store, &mut None).unwrap();
        for _ in 0..steps {
            bench.store.follow().unwrap();
        }
        bench.add(attached(6, "n")).add(attached(7, "z")).mv("n/y", "z/y").rest();
        let files = [("a", 1), ("n/b", 2), ("z/deep/f", 3), ("z/e", 1), ("z/y/c", 3)];
        bench.expect(&files, &["n", "z", "z/deep", "z/y"]);
    }
}

#[test]
fn a_folder_that_is_attached_once_more_after_a_crash_is_shown() {
    let before = [stored(1, "x/a"), stored(2, "y/b"), folder_removed("x")];
    for steps in 0..12 {
        let bench = followed_once_more(steps, &before, &[attached(4, "y"), stored(3, "y/c")]);
        bench.expect(&[("y/a", 1), ("y/c", 3)], &["y"]);
        let again = [attached(4, "y"), moved("y/a", "z"), attached(5, "y"), stored(4, "y/d")];
        let bench = followed_once_more(steps, &before, &again);
        bench.expect(&[("y/b", 2), ("y/d", 4), ("z", 1)], &["y"]);
        let top = [attached(4, ""), attached(5, "old")];
        let bench = followed_once_more(steps, &before, &top);
        bench.expect(&[("a", 1), ("old/y/b", 2)], &["old", "old/y"]);
    }
}

#[test]
fn how_far_it_is_behind_counts_what_is_decided_and_not_followed() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "b").send();
    assert_eq!(bench.store.behind(), 3, "the user, too");
    bench.follow();
    assert_eq!(bench.store.behind(), 0);
}

#[test]
fn a_link_that_a_crash_has_left_before_its_rename_is_in_nobodys_way() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "b").follow();
    let [first, _] = NODE.blocks();
    let beside = bench.at(".palk").join(format!("link_{first}"));
    fs::hard_link(bench.shown_at("b"), &beside).unwrap();
    bench.store(3, "a").follow();
    bench.expect(&[("a", 3), ("b", 2)], &[]);
    assert!(!beside.exists());
}

#[test]
fn a_dropped_version_is_gone_with_its_pieces() {
    let mut bench = Bench::new();
    bench.store(1, "a").follow().store(2, "a").follow();
    assert_eq!(bench.store.lacks(&[version(1)]).unwrap(), []);
    bench.history.add_dropped(&[1]);
    bench.follow();
    assert_eq!(bench.store.lacks(&[version(1), version(2)]).unwrap(), [version(1)]);
}

#[test]
fn drops_do_not_wait_for_what_is_not_written_out_yet() {
    let mut bench = Bench::new();
    bench.store(1, "a").follow().store(2, "a").follow();
    bench.history.add_stored(3, 1000, true).add_dropped(&[1]);
    bench.send();
    while bench.store.follow().unwrap() {}
    bench.expect(&[("a", 2)], &[]);
    assert_eq!(bench.store.lacks(&[version(1)]).unwrap(), [version(1)]);
    bench.follow();
    bench.expect(&[("a", 2), ("file 3", 3)], &[]);
}

#[test]
fn a_file_whose_piece_comes_late_is_shown_under_its_name_of_then() {
    let mut bench = Bench::new();
    bench.store_elsewhere(1, "a").store(2, "b").follow();
    bench.expect(&[("b", 2)], &[]);
    bench.mkdir("x").mv("a", "x/a").mv("x", "y").follow();
    bench.hold(1, "a").add(Change::Placed { node: NODE, versions: vec![version(1)] }).follow();
    bench.expect(&[("b", 2), ("y/a", 1)], &["y"]);
    // It replaces a file that is here, and one that is not is moved over another.
    bench.store_elsewhere(3, "b").store_elsewhere(4, "c").store(5, "d").mv("c", "d").follow();
    bench.expect(&[("y/a", 1)], &["y"]);
    assert_eq!(bench.check(), ViewReport { names: 2, ..ViewReport::default() });
}

#[test]
fn a_piece_that_comes_late_gets_all_of_its_names() {
    let mut bench = Bench::new();
    bench.store_elsewhere(1, "a").store_elsewhere(2, "other").follow();
    bench.add(Change::Named { place: place("x/copy"), version: version(1) }).follow();
    bench.hold(1, "a").add(Change::Placed { node: NODE, versions: vec![version(1)] }).follow();
    bench.expect(&[("a", 1), ("x/copy", 1)], &["x"]);
}

#[test]
fn a_piece_that_comes_late_gets_no_name_that_went_with_the_top_folder() {
    let mut bench = Bench::new();
    bench.store_elsewhere(1, "a").add(begun()).follow();
    let key = bench.history.end().at.0;
    bench.add(attached(key, "")).follow();
    bench.hold(1, "a").add(Change::Placed { node: NODE, versions: vec![version(1)] }).follow();
    bench.expect(&[], &[]);
}

#[test]
fn pieces_that_were_made_again_get_all_of_their_names_again() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "b").mv("b", "c").follow();
    bench.add(Change::Named { place: place("x/copy"), version: version(1) }).follow();
    let placed = Change::Placed { node: NODE, versions: vec![version(1), version(2)] };
    bench.hold(1, "a").hold(2, "b").add(placed).follow();
    let is_same = |n, at: &str| {
        let piece = bench.store.pieces.path(version(n), NODE.blocks()[0]);
        fs::metadata(piece).unwrap().ino() == fs::metadata(bench.shown_at(at)).unwrap().ino()
    };
    assert!(is_same(1, "a") && is_same(1, "x/copy") && is_same(2, "c"));
}

/// Ways in which a block can come to be no block any more.
const RUINS: [fn(&Path); 5] = [
    |at| fs::write(at, "").unwrap(),
    |at| fs::OpenOptions::new().write(true).open(at).unwrap().set_len(20).unwrap(),
    |at| replace(at, |at| fs::write(at, "somebody's own, and not too short for a footer").unwrap()),
    |at| replace(at, |at| std::os::unix::fs::symlink("nowhere", at).unwrap()),
    |at| replace(at, |at| assert!(Command::new("mkfifo").arg(at).status().unwrap().success())),
];

const LEADS_NOWHERE: usize = 3;

fn replace(at: &Path, with: fn(&Path)) {
    fs::remove_file(at).unwrap();
    with(at);
}

#[test]
fn a_name_leads_to_the_rebuilt_piece_whatever_has_become_of_the_damaged_one() {
    for (at, ruin) in RUINS.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.store(1, "a").store(2, "b").store(3, "c").store(4, "x/d").follow();
        ["a", "b", "c", "x/d"].iter().for_each(|name| ruin(&bench.shown_at(name)));
        // One is rebuilt, one moved, one deleted, and one is found by a check.
        let placed = Change::Placed { node: NODE, versions: vec![version(1)] };
        bench.hold(1, "a").add(placed).mv("b", "y/b").delete("c").follow();
        assert_eq!(fs::read(bench.shown_at("a")).unwrap()[0], 1, "ruin {at}");
        assert!(!bench.at("demo/b_B1").exists() && !bench.at("demo/c_B1").exists(), "ruin {at}");
        bench.hold(2, "y/b").hold(4, "x/d");
        assert_eq!(bench.check().names, 6);
        if at == LEADS_NOWHERE {
            // Where no name should be it is in nobody's way.
            fs::remove_file(bench.at("demo/b_B1")).unwrap();
            fs::remove_file(bench.at("demo/c_B1")).unwrap();
        }
        bench.expect(&[("a", 1), ("y/b", 2), ("x/d", 4)], &["x", "y"]);
        let kept = fs::read_dir(bench.at(".palk/left-over")).unwrap().count();
        // A piece that is damaged itself got its name again before it was rebuilt.
        assert_eq!(kept, [5, 5, 4, 2, 4][at], "ruin {at}: nothing is removed that is no block");
    }
}

#[test]
fn a_check_puts_right_what_is_wrong_and_leaves_alone_what_is_not_palks() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "b").store(3, "x/c").mkdir("empty").follow();
    let right = ViewReport { names: 6, ..ViewReport::default() };
    assert_eq!(bench.check(), right);
    fs::remove_file(bench.shown_at("a")).unwrap();
    // A copy without hard links, another version, and a file where nothing should be.
    let copy = fs::read(bench.shown_at("b")).unwrap();
    fs::remove_file(bench.shown_at("b")).unwrap();
    fs::write(bench.shown_at("b"), copy).unwrap();
    fs::remove_file(bench.shown_at("x/c")).unwrap();
    fs::hard_link(bench.shown_at("b"), bench.shown_at("x/c")).unwrap();
    fs::create_dir_all(bench.at("demo/old/deep")).unwrap();
    fs::hard_link(bench.shown_at("b"), bench.shown_at("old/deep/d")).unwrap();
    fs::create_dir_all(bench.at("nobody/kept")).unwrap();
    fs::write(bench.at("nobody/kept/notes_B1.txt"), "not a block").unwrap();
    fs::write(bench.at("demo/notes"), "not a block").unwrap();
    fs::remove_dir(bench.at("demo/empty")).unwrap();
    let report = bench.check();
    // The file in `old`, and two folders; the notes, and the folders that they keep.
    let (mended, removed, foreign) = (3, 3, 4);
    assert_eq!(report, ViewReport { mended, removed, foreign, ..right });
    assert!(bench.at("nobody/kept/notes_B1.txt").exists());
    fs::remove_dir_all(bench.at("nobody")).unwrap();
    assert_eq!(bench.check(), ViewReport { foreign: 1, ..right });
    fs::remove_file(bench.at("demo/notes")).unwrap();
    bench.expect(&[("a", 1), ("b", 2), ("x/c", 3)], &["x", "empty"]);
}

#[test]
fn of_a_folder_and_a_block_with_one_name_the_folder_is_shown() {
    let mut bench = Bench::new();
    bench.store(1, "x").mkdir("x_B1").store(2, "x_B1/y").follow();
    let blocked = |bench: &Bench| bench.check().blocked;
    assert!(bench.at("demo/x_B1/y_B1").exists() && bench.at("demo/x_B2").exists());
    assert_eq!(blocked(&bench), 1);
    bench.store(3, "x").follow();
    assert_eq!(fs::read(bench.at("demo/x_B2")).unwrap()[0], 3);
    bench.rmdir("x_B1").rest();
    bench.expect(&[("x", 3)], &[]);
    assert_eq!(blocked(&bench), 0);
}

#[test]
fn a_file_moves_into_a_folder_that_its_own_old_name_was_in_the_way_of() {
    let mut bench = Bench::new();
    let [first, _] = NODE.blocks();
    let folder = format!("a_{first}");
    bench.mkdir(&folder).store(1, "a").store(2, "b").follow();
    let at = bench.at("demo").join(&folder);
    assert!(at.is_dir());
    // As a crash may leave it.
    fs::remove_dir(&at).unwrap();
    fs::hard_link(bench.store.pieces.path(version(1), first), &at).unwrap();
    let to = format!("{folder}/q");
    bench.mv("a", &to).rest();
    bench.expect(&[(&to, 1), ("b", 2)], &[&folder]);
}

#[test]
fn what_is_not_palks_is_never_lost_in_the_view() {
    let mut bench = Bench::new();
    bench.store(1, "x/a").mkdir("y").follow();
    fs::write(bench.at("demo/x/notes"), "mine").unwrap();
    fs::write(bench.at("demo/b_B1"), "mine").unwrap();
    bench.store(2, "b").rmdir("x").follow();
    assert_eq!(fs::read(bench.at(".palk/left-over/1/b_B1")).unwrap(), b"mine");
    for name in ["demo/b_B1", "demo/b_B2"] {
        assert_eq!(fs::read(bench.at(name)).unwrap()[0], 2);
    }
    assert_eq!(fs::read(bench.at(".palk/left-over/2/notes")).unwrap(), b"mine");
    bench.mv("y", "x").store(3, "x/c").follow();
    assert_eq!(fs::read_dir(bench.at(".palk/left-over/2")).unwrap().count(), 1);
    bench.restart();
    bench.rmdir("x").follow();
    assert_eq!(fs::read_dir(bench.at(".palk/left-over")).unwrap().count(), 2);
}

#[test]
fn without_hard_links_there_is_no_view_and_all_else_goes_on() {
    let disk = TestDisk::default();
    disk.fail_next("link", NOT_PERMITTED);
    let mut bench = Bench::on(disk);
    bench.store(1, "a").follow().store(2, "x/a").mv("x", "y").rmdir("y").follow();
    bench.history.add_dropped(&[1]);
    bench.follow();
    assert!(!bench.at("demo").exists());
    assert_eq!(bench.store.lacks(&[version(1), version(2)]).unwrap(), [version(1)]);
    assert_eq!(bench.check(), ViewReport::default());
}

#[test]
fn an_error_in_the_view_stops_nothing_and_is_put_right_later() {
    for call in ["link", "rename", "open"] {
        let mut bench = Bench::new();
        bench.store(1, "a").store(2, "b").follow().store(3, "a").mv("b", "c").store(4, "d");
        bench.send();
        bench.disk.fail_nth(call, 2, NO_SPACE);
        while !matches!(bench.store.follow(), Ok(false)) {}
        bench.rest();
        bench.expect(&[("a", 3), ("c", 2), ("d", 4)], &[]);
        assert_eq!(bench.check(), ViewReport { names: 6, ..ViewReport::default() }, "{call}");
    }
}

#[test]
fn what_was_followed_is_durable_after_a_while_and_moves_are_noted_before() {
    let mut bench = Bench::new();
    let file = |bench: &Bench| fs::read_to_string(bench.at(".palk/followed")).ok();
    bench.store(1, "a").follow();
    assert_eq!(file(&bench), None);
    bench.rest();
    assert_eq!(file(&bench).as_deref(), Some("2\n"));
    bench.mv("a", "b").follow();
    assert_eq!(file(&bench).as_deref(), Some("2 moved\n"));
    bench.rest();
    assert_eq!(file(&bench).as_deref(), Some("3\n"));
    bench.restart();
    assert_eq!(bench.store.follower.position(), 3);
    for _ in 0..=ENTRIES_UNTIL_SAVED {
        bench.history.add_token(1);
    }
    for _ in 0..10 {
        let upto = bench.history.entries.len().min(bench.sent + 200);
        let (append, body) = bench.history.append(bench.sent, upto, true);
        bench.store.append(&append, &body).unwrap();
        bench.sent = upto;
    }
    bench.follow();
    assert!(bench.store.follower.position() > ENTRIES_UNTIL_SAVED);
}

#[test]
fn the_removal_of_a_folder_that_is_followed_once_more_takes_no_block_of_its_name_along() {
    let mut bench = Bench::new();
    let name = block_file_name("a", NODE.blocks()[0]);
    bench.mkdir(&name).rest();
    // The folder goes, its name becomes that of a block, and none of that is noted before the crash.
    bench.rmdir(&name).store(1, "a").follow();
    bench.restart();
    bench.rest();
    bench.expect(&[("a", 1)], &[]);
    assert_eq!(fs::read_dir(bench.at(".palk/trash")).unwrap().count(), 0, "it is emptied");
}

/// Follows the later changes, is killed before that is durable, and has done so many steps of its
/// check when it hears again what is decided.
fn followed_once_more(steps: usize, before: &[Change], later: &[Change]) -> Bench {
    let mut bench = Bench::new();
    for n in 1..=4 {
        bench.hold(n, "x");
    }
    for change in before {
        bench.add(change.clone());
    }
    bench.rest();
    for change in later {
        bench.add(change.clone());
    }
    bench.follow().restart();
    for _ in 0..steps {
        bench.store.follow().unwrap();
    }
    bench.rest();
    bench
}

#[test]
fn a_move_that_is_followed_once_more_leaves_no_second_name() {
    let before = [stored(3, "0"), stored(1, "a"), stored(2, "b")];
    for steps in 0..12 {
        let bench = followed_once_more(steps, &before, &[moved("b", "a")]);
        bench.expect(&[("0", 3), ("a", 2)], &[]);
    }
}

#[test]
fn what_a_move_followed_once_more_has_put_over_a_checked_name_is_checked_again() {
    let before = [stored(1, "a"), stored(2, "z")];
    for steps in 0..12 {
        let bench = followed_once_more(steps, &before, &[moved("a", "z"), stored(4, "a")]);
        bench.expect(&[("a", 4), ("z", 1)], &[]);
    }
}

#[test]
fn a_file_among_the_removed_folders_does_not_keep_them_from_being_emptied() {
    let mut bench = Bench::new();
    bench.store(1, "x/a").store(2, "b").rest();
    fs::create_dir_all(bench.at(".palk/trash")).unwrap();
    fs::write(bench.at(".palk/trash/8"), "somebody's").unwrap();
    fs::hard_link(bench.shown_at("b"), bench.at(".palk/trash/9")).unwrap();
    bench.restart();
    bench.rmdir("x").rest();
    assert_eq!(fs::read_dir(bench.at(".palk/trash")).unwrap().count(), 0, "it is emptied");
    assert!(bench.at(".palk/left-over/8").exists());
}

#[test]
fn a_block_gets_its_name_in_the_check_that_removes_a_folder_which_had_it() {
    let mut bench = Bench::new();
    bench.store(1, "a").rest();
    let at = bench.shown_at("a");
    fs::remove_file(&at).unwrap();
    fs::create_dir(&at).unwrap();
    bench.check();
    bench.expect(&[("a", 1)], &[]);
}

#[test]
fn a_damaged_note_is_put_right_from_the_beginning() {
    let mut bench = Bench::new();
    bench.store(1, "a").mv("a", "b").store(2, "a").rest();
    fs::write(bench.at(".palk/followed"), "2x\n").unwrap();
    bench.restart();
    bench.rest();
    bench.expect(&[("a", 2), ("b", 1)], &[]);
}

#[test]
fn a_snapshot_beyond_the_journal_rebuilds_the_view() {
    let mut bench = Bench::new();
    bench.store(1, "a").store(2, "b").store(3, "c").follow();
    // Many entries later, of which the node hears nothing: `a` was deleted and `b` moved.
    for _ in 0..5 {
        bench.history.add_token(1);
    }
    let made = bench.history.entries[0].change().unwrap();
    let changes = vec![made, stored(3, "c"), stored(2, "x/b")];
    let (at, cluster) = (bench.history.end(), CLUSTER);
    let head = SnapshotHead { format: FORMAT, cluster, at, chunks: 1 };
    let told = |change| Told { at: Moment(1), change };
    let changes: Vec<Told> = changes.into_iter().map(told).collect();
    let body = frame_of(&changes).unwrap().split_off(FRAME_HEAD_BYTES);
    let mut out = Vec::new();
    let checksum = crate::core::code::checksum::unit(&body);
    for (request, body) in [
        (SnapshotRequest::Begin(head), &[][..]),
        (SnapshotRequest::Chunk { index: 0, checksum }, &body),
        (SnapshotRequest::End, &[]),
    ] {
        bench.store.snapshot(Some(CLUSTER), &request, body, &mut out).unwrap();
    }
    bench.sent = bench.history.entries.len();
    bench.store(4, "x/b").rest();
    bench.expect(&[("c", 3), ("x/b", 4)], &["x"]);
    bench.restart();
    bench.store(5, "d").rest();
    bench.expect(&[("c", 3), ("x/b", 4), ("d", 5)], &["x"]);
}

/// What happens to a node.
#[derive(Clone, Debug)]
enum Event {
    /// Something changes, if the catalog lets it pass.
    Change(Change),
    /// A file is one of the versions that there are.
    Named(String, u8),
    /// A folder is begun, and one such version put into it.
    Filled(u8),
    /// One of the detached folders is put somewhere.
    Attached(usize, String),
    /// It does so many steps.
    Steps(usize),
    /// The process is killed.
    Restart,
    /// Somebody empties the view, and it is checked.
    Emptied,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let path = || {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..3)
            .prop_map(|parts| parts.join("/"))
    };
    let event = prop_oneof![
        5 => path().prop_map(|at| Event::Change(stored(0, &at))),
        2 => path().prop_map(|at| Event::Change(Change::Deleted { place: place(&at) })),
        5 => (path(), path()).prop_map(|(from, to)| Event::Change(moved(&from, &to))),
        1 => path().prop_map(|at| Event::Change(folder_made(&at))),
        1 => path().prop_map(|at| Event::Change(folder_removed(&at))),
        1 => (path(), any::<u8>()).prop_map(|(at, n)| Event::Named(at, n)),
        1 => any::<u8>().prop_map(Event::Filled),
        2 => (0..10usize, path()).prop_map(|(at, to)| Event::Attached(at, to)),
        1 => (0..10usize).prop_map(|at| Event::Attached(at, String::new())),
        4 => (1usize..10).prop_map(Event::Steps),
        1 => Just(Event::Restart),
        1 => Just(Event::Emptied),
    ];
    prop::collection::vec(event, 0..60)
}

/// Would the catalog let it pass?
fn is_valid(names: &Names, change: &Change) -> bool {
    let user = place("x").user;
    let is_file =
        |path: &FilePath| names.get(&Place { user: user.clone(), path: path.clone() }).is_some();
    let is_folder = |path: &FolderPath| names.folder(&user, path).is_some();
    let no_file_in = |folder: &FolderPath| {
        folder.ancestry().iter().all(|own| !is_file(&place(own.as_str()).path))
    };
    match change {
        Change::Stored { place, .. } | Change::Named { place, .. } => {
            no_file_in(&place.path.folder()) && !is_folder(&place.path.as_folder())
        }
        Change::Deleted { place } => is_file(&place.path),
        Change::FolderMade { folder, .. } => no_file_in(folder),
        Change::FolderRemoved { folder, .. } => is_folder(folder),
        Change::FolderAttached { to, .. } => to.split().is_none_or(|(above, _)| no_file_in(&above)),
        Change::Moved { from, to, .. } => {
            let is_dir = is_folder(&from.as_folder());
            below(to, from.as_str()).is_none()
                && is_folder(&to.folder())
                && !is_folder(&to.as_folder())
                && if is_dir { !is_file(to) } else { is_file(from) }
        }
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever happens and wherever the process is killed, at the end the view is what the journal
    /// adds up to.
    #[test]
    fn the_view_is_what_the_journal_adds_up_to(events in events()) {
        let mut bench = Bench::new();
        let mut names = Names::default();
        names.apply(Moment(1), &bench.history.entries[0].change().unwrap());
        let mut n = 0;
        let mut detached = Vec::new();
        // A check that was asked for is not taken up again.
        let mut is_cut_off = false;
        for event in events {
            let next = bench.history.end().at.next(0);
            let changes = match &event {
                Event::Change(change) => vec![change.clone()],
                Event::Named(at, which) if n > 0 => vec![named(1 + which % n, at)],
                Event::Filled(which) if n > 0 => {
                    let version = 1 + which % n;
                    vec![begun(), filled(next.0, &[(["a", "b/c"][usize::from(which % 2)], version)])]
                }
                Event::Attached(which, to) if !detached.is_empty() => {
                    let key: &Moment = &detached[which % detached.len()];
                    vec![attached(key.0, to)]
                }
                _ => Vec::new(),
            };
            for mut change in changes.into_iter().filter(|change| is_valid(&names, change)).collect::<Vec<_>>() {
                if let Change::Stored { place, version: own, .. } = &mut change {
                    n += 1;
                    *own = version(n);
                    let at = place.path.as_str().to_owned();
                    bench.hold(n, &at);
                }
                bench.add(change.clone());
                let at = bench.history.end().at;
                match &change {
                    Change::FolderBegun { .. } | Change::FolderRemoved { .. } => detached.push(at),
                    Change::FolderAttached { key, to, .. } => {
                        detached.retain(|own| own != key);
                        if names.folder(&place("x").user, to).is_some() {
                            detached.push(at);
                        }
                    }
                    _ => {}
                }
                names.apply(at, &change);
            }
            match event {
                Event::Steps(count) => {
                    bench.send();
                    (0..count).for_each(|_| {
                        bench.store.follow().unwrap();
                    });
                }
                Event::Restart => {
                    is_cut_off |= bench.store.follower.state.lock().check.is_some();
                    bench.restart();
                }
                Event::Emptied => {
                    bench.follow();
                    let _ = fs::remove_dir_all(bench.at("demo"));
                    bench.store.follower.check(&bench.store, &mut None).unwrap();
                }
                _ => {}
            }
        }
        bench.rest();
        if is_cut_off {
            bench.check();
        }
        let mut expected = BTreeMap::new();
        names.walk(&mut |_, path, folder| {
            for (name, named) in folder.entries() {
                let n = match named {
                    Named::File(version) => Some(version.0[0]),
                    Named::Folder(_) => None,
                };
                expected.insert(path.join(name).unwrap().as_str().to_owned(), n);
            }
        });
        prop_assert_eq!(bench.shown(), expected);
    }
}
