//! Tests of a node's block store.

use std::fs;

use super::*;
use crate::core::code::checksum;
use crate::core::code::repair::Select;
use crate::core::node::fixture::{CLUSTER, History, TestDisk, place, version};
use crate::core::types::{Digest, Moment, Seq, ServerId};
use crate::core::wire::journal::{Change, Told};
use crate::core::wire::node::VERIFY_STRIPES_MAX;
use crate::core::wire::snapshot::{FORMAT, SnapshotHead};

const FILE_BYTES: u64 = 353;
const UNIT_BYTES: usize = 89;

/// Node 2 with a folder of its own.
struct Fixture {
    folder: tempfile::TempDir,
    disk: TestDisk,
    store: BlockStore,
}

fn open(disk: &TestDisk, root: &Path, node: usize) -> Result<BlockStore> {
    BlockStore::open(Arc::new(disk.clone()), root, NodeId::ALL[node - 1])
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let store = open(&disk, folder.path(), 2).unwrap();
    Fixture { folder, disk, store }
}

fn claim(epoch: u64) -> Claim {
    Claim { epoch, server: ServerId([9; 16]) }
}

fn failure<T>(result: Result<T>) -> NodeFailure {
    match result.err() {
        Some(Error::Node { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

impl Fixture {
    fn begin(&self, n: u8) -> Stage {
        let meta = PieceMeta {
            version: version(n),
            place: place("test/yeet.txt"),
            file_bytes: FILE_BYTES,
            stored_ms: 5,
            repair: false,
            part: None,
        };
        self.store.stage(meta).unwrap()
    }

    /// Receives a piece whose bytes are all `n`.
    fn receive(&self, n: u8) -> Stage {
        let mut stage = self.begin(n);
        let unit = [n; UNIT_BYTES];
        stage.units([&unit, &unit], [checksum::unit(&unit); 2]).unwrap();
        stage
    }

    fn put(&self, n: u8) {
        self.try_put(n).unwrap();
    }

    fn try_put(&self, n: u8) -> Result<()> {
        self.receive(n).finish(Seq(n.into()), Digest([n; 32]))
    }

    fn read(&self, n: u8) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let sums = self.store.open_piece(version(n)).units(0, Select::Both, &mut body)?;
        assert_eq!(sums[0], checksum::unit(&body[..UNIT_BYTES]));
        Ok(body)
    }

    fn holds(&self, n: u8) -> bool {
        self.read(n).is_ok_and(|body| body == [n; 2 * UNIT_BYTES])
    }

    fn block(&self, n: u8, block: &str) -> PathBuf {
        let folder = self.folder.path().join(format!(".palk/pieces/{n:02x}"));
        folder.join(format!("{}_{block}", version(n)))
    }

    /// The names in the folder of a version's block files.
    fn names(&self, n: u8) -> Vec<String> {
        let folder = self.folder.path().join(format!(".palk/pieces/{n:02x}"));
        let listed = self.disk.list(&folder).unwrap();
        listed.into_iter().map(|entry| entry.name).collect()
    }

    fn write_out(&self) {
        while self.store.write_out().unwrap() {}
    }
}

#[test]
fn a_piece_is_found_by_its_version_once_it_is_complete() {
    let f = fixture();
    let stage = f.receive(1);
    assert!(matches!(failure(f.read(1)), NodeFailure::NotHeld(v) if v == version(1)));
    assert!(f.store.pieces(None, 9).unwrap().is_empty());
    stage.finish(Seq(1), Digest([1; 32])).unwrap();
    assert!(f.holds(1));
    assert_eq!(fs::read(f.block(1, "B1")).unwrap()[..UNIT_BYTES], [1; UNIT_BYTES]);
    assert_eq!(f.names(1).len(), 2);
    assert!(open(&f.disk, f.folder.path(), 2).is_ok());
}

#[test]
fn two_stages_of_one_version_do_not_get_in_each_others_way() {
    let f = fixture();
    let (first, second, third) = (f.receive(1), f.receive(1), f.receive(1));
    first.finish(Seq(1), Digest([1; 32])).unwrap();
    drop(second);
    assert!(f.holds(1));
    third.finish(Seq(1), Digest([1; 32])).unwrap();
    assert!(f.holds(1));
    assert_eq!(f.names(1).len(), 2);
}

#[test]
fn a_stage_takes_exactly_what_its_file_has() {
    let f = fixture();
    let unit = [1; UNIT_BYTES];
    let sums = [checksum::unit(&unit); 2];
    assert!(f.begin(1).finish(Seq(1), Digest([1; 32])).is_err(), "no stripe");
    assert!(f.begin(1).units([&unit, &unit[1..]], sums).is_err(), "a short unit");
    assert!(f.begin(1).units([&unit, &[2; UNIT_BYTES]], sums).is_err(), "damaged on its way");
    let mut stage = f.receive(1);
    assert!(stage.units([&unit, &unit], sums).is_err(), "a second stripe");
    drop(stage);
    assert!(f.names(1).is_empty());
}

#[test]
fn what_a_crash_leaves_of_a_stage_is_swept_up_and_what_is_live_is_not() {
    let mut f = fixture();
    f.put(1);
    for name in ["B1.1", "B2.77", "B1.new"] {
        fs::write(f.block(1, name), "left over").unwrap();
    }
    f.store = open(&f.disk, f.folder.path(), 2).unwrap();
    let live = f.receive(1);
    f.write_out();
    assert_eq!(f.names(1).len(), 4, "two blocks, and two that are being received");
    assert!(f.holds(1));
    f.disk.fail_next("remove", 5);
    drop(live);
    assert_eq!(f.names(1).len(), 3);
    f.write_out();
    assert_eq!(f.names(1).len(), 2, "what could not be removed is swept up later");
}

#[test]
fn a_stage_that_ends_while_the_folder_is_away_is_swept_up_when_it_is_back() {
    let f = fixture();
    f.write_out();
    let stage = f.receive(1);
    let away = f.folder.path().with_extension("away");
    fs::rename(f.folder.path(), &away).unwrap();
    drop(stage);
    assert!(f.store.write_out().is_err());
    fs::rename(&away, f.folder.path()).unwrap();
    assert_eq!(f.names(1).len(), 2);
    f.write_out();
    assert!(f.names(1).is_empty());
}

#[test]
fn what_is_left_over_is_swept_up_though_its_number_is_that_of_a_live_stage_of_another_version() {
    let f = fixture();
    let live = f.receive(1);
    let mut other = version(1);
    other.0[15] = 0;
    let left_over = f.block(1, "B1").with_file_name(format!("{other}_B1.1"));
    fs::write(&left_over, "of the last process").unwrap();
    assert!(f.block(1, "B1.1").exists(), "the live stage has this number");
    f.write_out();
    assert!(!left_over.exists());
    live.finish(Seq(1), Digest([1; 32])).unwrap();
    assert!(f.holds(1));
}

#[test]
fn what_cannot_be_swept_up_is_tried_again() {
    let f = fixture();
    f.write_out();
    f.disk.fail_next("remove", 5);
    drop(f.receive(1));
    f.disk.fail_next("remove", 5);
    assert!(f.store.write_out().is_err());
    assert_eq!(f.names(1).len(), 1);
    f.write_out();
    assert!(f.names(1).is_empty());
}

#[test]
fn pieces_are_listed_in_the_order_of_their_ids_in_parts() {
    let f = fixture();
    for n in [200, 3, 90, 4, 255, 0] {
        f.put(n);
    }
    fs::remove_file(f.block(90, "B1")).unwrap();
    fs::write(f.block(90, "A1"), "of another node").unwrap();
    fs::write(f.folder.path().join(".palk/pieces/04/notes"), "of a person").unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = f.store.pieces(after, 2).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(*last);
        all.extend(page);
    }
    assert_eq!(all, [0, 3, 4, 90, 200, 255].map(version));
    let lacking = f.store.lacks(&[90, 91, 200].map(version)).unwrap();
    assert_eq!(lacking, [90, 91].map(version), "half a piece is none");
}

#[test]
fn what_the_catalog_does_not_know_is_removed_and_what_the_journal_has_is_not() {
    let f = fixture();
    let mut history = History::default();
    history.add_stored(7, 100, true);
    f.store.register(CLUSTER, claim(1), Duration::ZERO).unwrap();
    let (append, body) = history.append(0, 1, true);
    f.store.append(&append, &body).unwrap();
    f.put(1);
    f.put(2);
    f.store.discard(&[1, 7, 9].map(version)).unwrap();
    assert_eq!(f.store.pieces(None, 9).unwrap(), [2, 7].map(version));
    assert!(f.names(1).is_empty() && f.holds(2));
}

#[test]
fn an_error_that_says_nothing_about_bytes_is_no_damage() {
    let f = fixture();
    f.put(1);
    for (number, is_damage) in
        [(2, false), (5, true), (12, false), (13, false), (23, false), (24, false), (117, true)]
    {
        for call in ["open", "read"] {
            f.disk.fail_next(call, number);
            match failure(f.read(1)) {
                // One that the node may not open in a folder of its own is of no use for ever.
                NodeFailure::NotHeld(_) => assert!(call == "open" && [2, 13].contains(&number)),
                NodeFailure::Damaged(_) => assert!(is_damage, "{call} {number}"),
                NodeFailure::Busy(_) => assert!([12, 23, 24].contains(&number), "{call} {number}"),
                NodeFailure::DiskFailed(_) => assert!([2, 13].contains(&number), "{call} {number}"),
                other => panic!("{other}"),
            }
        }
    }
    assert!(f.holds(1));
}

#[test]
fn a_block_that_may_not_be_opened_is_missing_only_where_another_can_take_its_place() {
    let f = fixture();
    f.put(1);
    f.disk.fail_next("open", 13);
    assert!(matches!(failure(f.read(1)), NodeFailure::NotHeld(_)));
    f.disk.be_read_only(Some(13));
    f.disk.fail_next("open", 13);
    assert!(matches!(failure(f.read(1)), NodeFailure::DiskFailed(_)), "the whole folder is locked");
    assert!(f.holds(1));
}

#[test]
fn what_keeps_a_block_from_being_replaced_or_removed_is_named_with_its_path() {
    let f = fixture();
    f.put(1);
    f.put(2);
    let block = f.block(1, "B2");
    fs::remove_file(&block).unwrap();
    fs::create_dir(&block).unwrap();
    assert!(matches!(failure(f.read(1)), NodeFailure::Damaged(_)));
    let text = format!("it is a folder: {}", block.display());
    assert_eq!(failure(f.try_put(1)), NodeFailure::DiskFailed(text.clone()));
    // The first block of 1 and both of 2 are removed all the same.
    assert_eq!(failure(f.store.discard(&[1, 2].map(version))), NodeFailure::DiskFailed(text));
    assert!(f.names(2).is_empty());
    fs::remove_dir(&block).unwrap();
    f.put(1);
    assert!(f.holds(1));
}

#[test]
fn a_damaged_block_is_told_from_one_that_is_not_there() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 5] = [
        ("a flipped bit in the bytes", |mut bytes| {
            bytes[7] ^= 1;
            bytes
        }),
        ("a flipped bit in the trailer", |mut bytes| {
            bytes[UNIT_BYTES + 3] ^= 1;
            bytes
        }),
        ("cut short", |mut bytes| {
            bytes.pop();
            bytes
        }),
        ("empty", |_| Vec::new()),
        ("shifted", |bytes| [&[0], &bytes[..]].concat()),
    ];
    for (what, damage) in damages {
        let f = fixture();
        f.put(1);
        let bytes = fs::read(f.block(1, "B2")).unwrap();
        fs::write(f.block(1, "B2"), damage(bytes)).unwrap();
        assert!(matches!(failure(f.read(1)), NodeFailure::Damaged(_)), "{what}");
        let verified = f.store.open_piece(version(1)).verify(0, VERIFY_STRIPES_MAX);
        assert!(matches!(failure(verified), NodeFailure::Damaged(_)), "{what}");
        let mut body = Vec::new();
        f.store.open_piece(version(1)).units(0, Select::First, &mut body).unwrap();
        f.put(1);
        assert!(f.holds(1), "{what}: a new piece takes its place");
    }
    let f = fixture();
    f.put(1);
    f.put(2);
    fs::copy(f.block(2, "B1"), f.block(1, "B1")).unwrap();
    assert!(matches!(failure(f.read(1)), NodeFailure::Damaged(_)), "of another version");
    fs::remove_file(f.block(1, "B1")).unwrap();
    assert!(matches!(failure(f.read(1)), NodeFailure::NotHeld(_)));
}

#[test]
fn a_folder_that_is_gone_is_noticed_and_told_what_to_do_about() {
    let f = fixture();
    f.store.register(CLUSTER, claim(1), Duration::ZERO).unwrap();
    f.put(1);
    let root = f.folder.path();
    let away = root.with_extension("away");
    fs::rename(root, &away).unwrap();
    let text =
        format!("its folder {} is gone: put the folder back, or restart the node", root.display());
    let expected = NodeFailure::Refused(text);
    assert_eq!(failure(f.store.alive()), expected);
    assert_eq!(failure(f.store.admit(claim(1), Duration::ZERO)), expected);
    assert_eq!(failure(f.store.register(CLUSTER, claim(1), Duration::ZERO)), expected);
    assert_eq!(failure(f.store.pieces(None, 9)), expected);
    assert_eq!(failure(f.store.write_out()), expected);
    assert!(!root.exists(), "nothing is begun in its place");

    fs::create_dir_all(root.join(".palk")).unwrap();
    fs::copy(away.join(".palk/node.toml"), root.join(".palk/node.toml")).unwrap();
    let NodeFailure::Refused(text) = failure(f.store.alive()) else { panic!() };
    assert!(text.contains("is another one than when it started"), "{text}");

    fs::remove_dir_all(root).unwrap();
    fs::rename(&away, root).unwrap();
    f.store.alive().unwrap();
    f.store.register(CLUSTER, claim(2), Duration::ZERO).unwrap();
    f.store.alive().unwrap();
    assert!(f.holds(1));
}

#[test]
fn an_error_while_a_server_registers_is_got_over() {
    for (call, number) in [("rename", 5), ("sync_folder", 5), ("open", 24)] {
        let f = fixture();
        f.store.register(CLUSTER, claim(1), Duration::ZERO).unwrap();
        f.put(1);
        f.disk.fail_next(call, number);
        let registered = f.store.register(CLUSTER, claim(2), Duration::ZERO);
        assert_eq!(registered.is_ok(), call == "open");
        f.store.alive().unwrap();
        f.store.register(CLUSTER, claim(2), Duration::ZERO).unwrap();
        f.store.alive().unwrap();
        assert!(f.holds(1));
    }
}

#[test]
fn a_new_folder_has_an_open_gap_until_the_server_closes_it() {
    let f = fixture();
    f.store.register(CLUSTER, claim(1), Duration::ZERO).unwrap();
    let gap = f.store.alive().unwrap().journal.gap.unwrap();
    let store = open(&f.disk, f.folder.path(), 2).unwrap();
    assert_eq!(store.journal_state().unwrap().gap, Some(gap));
    store.close_gap(gap).unwrap();
    let store = open(&f.disk, f.folder.path(), 2).unwrap();
    assert_eq!(store.journal_state().unwrap().gap, None);
}

#[test]
fn a_folder_is_of_one_node() {
    let f = fixture();
    let error = open(&f.disk, f.folder.path(), 3).err().unwrap();
    assert_eq!(error.code(), Code::NotAllowed);
    assert!(error.to_string().contains("--id 2"), "{error}");
}

#[test]
fn a_folder_of_an_older_format_is_refused_with_a_clear_word() {
    let text = |format| {
        format!(
            "its format {format} is that of a development version before the first release. Start with \
             an empty folder, which the server fills."
        )
    };
    let f = fixture();
    let toml = f.folder.path().join(".palk/node.toml");
    let now = fs::read_to_string(&toml).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(".palk/staging")).unwrap();
    for (root, format) in [(f.folder.path(), 1), (f.folder.path(), 2), (folder.path(), 1)] {
        fs::write(&toml, now.replace("format = 5", &format!("format = {format}"))).unwrap();
        let error = open(&f.disk, root, 2).err().unwrap();
        assert_eq!(error.code(), Code::Version);
        assert!(error.to_string().ends_with(&text(format)), "{error}");
    }
    assert!(!folder.path().join(".palk/node.toml").exists(), "nothing is changed");
}

#[test]
fn a_folder_with_files_and_without_its_identity_is_not_taken_for_an_empty_one() {
    for there in ["demo/file_B1", "backup/journal-0-0", ".palk/pieces/01/x"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(there);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
        let error = open(&TestDisk::default(), folder.path(), 2).err().unwrap();
        assert_eq!(error.code(), Code::Damaged, "{there}");
        assert!(error.to_string().contains("copy node.toml from another node"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    assert!(open(&TestDisk::default(), folder.path(), 2).is_ok(), "of a file system");
}

#[test]
fn a_damaged_identity_is_refused_at_whatever_byte_and_one_by_hand_is_taken() {
    let f = fixture();
    f.store.register(CLUSTER, claim(5), Duration::ZERO).unwrap();
    let toml = f.folder.path().join(".palk/node.toml");
    let good = fs::read(&toml).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        for bytes in [&bad[..], &good[..at]] {
            fs::write(&toml, bytes).unwrap();
            let error = open(&f.disk, f.folder.path(), 2).err();
            // The line break at its end stands for nothing.
            assert!(error.is_some() || at + 1 == good.len(), "{at}");
        }
    }
    let text = String::from_utf8(good).unwrap();
    let by_hand: Vec<&str> = text.lines().filter(|line| !line.starts_with("sum")).collect();
    fs::write(&toml, by_hand.join("\n")).unwrap();
    let store = open(&f.disk, f.folder.path(), 2).unwrap();
    assert_eq!(store.registration().current(), (Some(CLUSTER), Some(claim(5))));
}

/// The snapshot requests of a server.
fn ask(f: &Fixture, request: &SnapshotRequest, body: &[u8]) -> Result<(SnapshotReply, Vec<u8>)> {
    let mut out = Vec::new();
    let reply = f.store.snapshot(Some(CLUSTER), request, body, &mut out)?;
    Ok((reply, out))
}

fn chunk(n: u8) -> Vec<u8> {
    let change = Change::TokenRevoked { hash: Digest([n; 32]) };
    postcard::to_stdvec(&vec![Told { at: Moment(0), change }]).unwrap()
}

fn send_chunk(f: &Fixture, index: u64, bytes: &[u8]) -> Result<(SnapshotReply, Vec<u8>)> {
    ask(f, &SnapshotRequest::Chunk { index, checksum: checksum::unit(bytes) }, bytes)
}

/// A snapshot of the history up to its entry `at`, of three chunks.
fn send_snapshot(f: &Fixture, history: &History, at: usize) -> SnapshotHead {
    let at = history.point(at);
    let head = SnapshotHead { format: FORMAT, cluster: CLUSTER, at, chunks: 3 };
    ask(f, &SnapshotRequest::Begin(head), &[]).unwrap();
    for n in 0..3 {
        send_chunk(f, n.into(), &chunk(n)).unwrap();
    }
    ask(f, &SnapshotRequest::End, &[]).unwrap();
    head
}

fn registered() -> (Fixture, History) {
    let f = fixture();
    f.store.register(CLUSTER, claim(1), Duration::ZERO).unwrap();
    let mut history = History::default();
    (0..9).for_each(|n| {
        history.add_token(n);
    });
    let (append, body) = history.append(0, 9, true);
    f.store.append(&append, &body).unwrap();
    (f, history)
}

#[test]
fn the_newest_two_snapshots_are_kept_and_read_chunk_by_chunk() {
    let (mut f, history) = registered();
    let heads: Vec<SnapshotHead> = [2, 4, 6].map(|at| send_snapshot(&f, &history, at)).into();
    for _ in 0..2 {
        let (reply, _) = ask(&f, &SnapshotRequest::List, &[]).unwrap();
        assert_eq!(reply, SnapshotReply::Heads(vec![heads[2], heads[1]]));
        for index in [0, 1, 2, 1] {
            let read = ask(&f, &SnapshotRequest::Read { at: heads[1].at, index }, &[]);
            let expected = chunk(u8::try_from(index).unwrap());
            assert_eq!(read.unwrap(), (SnapshotReply::Chunk, expected));
        }
        assert!(ask(&f, &SnapshotRequest::Read { at: heads[1].at, index: 3 }, &[]).is_err());
        assert!(ask(&f, &SnapshotRequest::Read { at: heads[0].at, index: 0 }, &[]).is_err());
        f.store = open(&f.disk, f.folder.path(), 2).unwrap();
    }
    assert_eq!(f.store.journal_state().unwrap().snapshot, 6);
}

#[test]
fn a_snapshot_that_is_not_complete_is_none() {
    let (mut f, history) = registered();
    let kept = send_snapshot(&f, &history, 3);
    let head = SnapshotHead { at: history.point(5), ..kept };
    let begin = || ask(&f, &SnapshotRequest::Begin(head), &[]).unwrap();
    begin();
    send_chunk(&f, 0, &chunk(0)).unwrap();
    assert!(ask(&f, &SnapshotRequest::End, &[]).is_err(), "two are missing");
    begin();
    assert!(send_chunk(&f, 1, &chunk(1)).is_err(), "out of turn");
    assert!(send_chunk(&f, 0, &chunk(0)).is_err(), "it has to begin again");
    begin();
    assert!(send_chunk(&f, 0, b"no changes").is_err());
    begin();
    let damaged = SnapshotRequest::Chunk { index: 0, checksum: 1 };
    assert!(ask(&f, &damaged, &chunk(0)).is_err());
    begin();
    let other = SnapshotHead { cluster: ClusterId([2; 16]), ..head };
    assert!(ask(&f, &SnapshotRequest::Begin(other), &[]).is_err());
    f.disk.fail_next("sync", 5);
    begin();
    for n in 0..3 {
        send_chunk(&f, n.into(), &chunk(n)).unwrap();
    }
    assert!(ask(&f, &SnapshotRequest::End, &[]).is_err());
    f.store = open(&f.disk, f.folder.path(), 2).unwrap();
    assert_eq!(f.store.snapshots.heads(), [kept]);
    assert!(!f.folder.path().join("backup/incoming").exists());
}

#[test]
fn a_damaged_snapshot_is_told_where_it_is_read() {
    let (mut f, history) = registered();
    let heads = [3, 5].map(|at| send_snapshot(&f, &history, at));
    let path = f.folder.path().join("backup/snapshot-1-5");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let read = |f: &Fixture, index| ask(f, &SnapshotRequest::Read { at: heads[1].at, index }, &[]);
    assert!(read(&f, 1).is_ok());
    assert!(matches!(failure(read(&f, 2)), NodeFailure::Damaged(_)));
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    f.store = open(&f.disk, f.folder.path(), 2).unwrap();
    assert_eq!(f.store.snapshots.heads(), [heads[0]], "its head is damaged");
    assert_eq!(f.store.journal_state().unwrap().snapshot, 3);
}
