//! Tests of a node's journal, through its block store.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::core::code::repair::Select;
use crate::core::node::fixture::{CLUSTER, History, NODE, TestDisk, version};
use crate::core::node::store::BlockStore;
use crate::core::types::{Claim, ServerId};
use crate::core::wire::snapshot::{SnapshotReply, SnapshotRequest};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Node 2 with a folder of its own, registered with a server of epoch 1.
struct Fixture {
    folder: tempfile::TempDir,
    disk: TestDisk,
    store: BlockStore,
    /// The number of the gap of a new folder.
    first: u64,
}

fn open(disk: &TestDisk, root: &Path) -> BlockStore {
    BlockStore::open(Arc::new(disk.clone()), root, NODE).unwrap()
}

fn claim(epoch: u64) -> Claim {
    Claim { epoch, server: ServerId([9; 16]) }
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let store = open(&disk, folder.path());
    let mut f = Fixture { folder, disk, store, first: 1 };
    f.register(1);
    f.first = f.state().gap.unwrap();
    f.store.close_gap(f.first).unwrap();
    f
}

impl Fixture {
    fn register(&self, epoch: u64) {
        self.store.register(CLUSTER, claim(epoch), Duration::ZERO).unwrap();
    }

    fn restart(&mut self) {
        self.store = open(&self.disk, self.folder.path());
    }

    fn state(&self) -> JournalState {
        self.store.journal_state().unwrap()
    }

    /// The number of its gap, counted from that of a new folder, which is 1.
    fn gap(&self) -> Option<u64> {
        self.state().gap.map(|gap| gap - self.first + 1)
    }

    /// Sends the entries behind `after` up to `upto`, with their pieces.
    fn send(&self, history: &History, after: usize, upto: usize) -> Result<JournalState> {
        let (append, body) = history.append(after, upto, true);
        self.store.append(&append, &body)
    }

    fn send_all(&self, history: &History) {
        let last = self.state().end.id.try_into().unwrap();
        let state = self.send(history, last, history.entries.len()).unwrap();
        assert_eq!(state.end, history.end());
    }

    /// Sends all, and says that all is decided.
    fn decide_all(&self, history: &History) {
        self.send_all(history);
        self.store.decided(history.end().id);
        assert_eq!(self.state().decided, history.end().id);
    }

    fn write_out(&self) {
        while self.store.write_out().unwrap() {}
    }

    fn follow(&self) {
        while self.store.follow().unwrap() {}
    }

    /// The two units of a version.
    fn read(&self, n: u8) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        match self.store.open_piece(version(n)).units(0, Select::Both, &mut body) {
            Ok(_) => Some(body),
            Err(Error::Node { why: NodeFailure::NotHeld(_), .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn segments(&self) -> Vec<String> {
        let listed = fs::read_dir(self.folder.path().join("backup")).unwrap();
        let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("journal")).collect();
        names.sort();
        names
    }

    fn segment(&self, name: &str) -> PathBuf {
        self.folder.path().join("backup").join(name)
    }

    fn block(&self, n: u8, block: &str) -> PathBuf {
        let folder = self.folder.path().join(format!(".palk/pieces/{n:02x}"));
        folder.join(format!("{}_{block}", version(n)))
    }

    /// All entries that the node gives.
    fn entries(&self, after: Point) -> Vec<Entry> {
        let mut all = Vec::new();
        self.store
            .entries(after, &mut |entries| {
                all.extend(entries);
                Ok(())
            })
            .unwrap();
        all
    }

    /// Where the entries of the last segment end.
    fn length(&self) -> usize {
        self.store.journal.index.read().last_length().try_into().unwrap()
    }

    /// Begins a new segment, as a long one would.
    fn roll(&self) {
        self.store.journal.roll(&mut self.store.journal.writer.lock()).unwrap();
    }

    /// Begins a new segment right before the disk is read the next time.
    fn roll_before_the_next_read(&self) {
        let journal = self.store.journal.clone();
        self.disk.before_next("read", move || journal.roll(&mut journal.writer.lock()).unwrap());
    }

    /// Sends an empty snapshot of the history up to an entry.
    fn snapshot(&self, at: Point) -> Result<()> {
        let head = SnapshotHead { format: FORMAT, cluster: CLUSTER, at, chunks: 1 };
        let chunk = postcard::to_stdvec(&Vec::<Change>::new()).unwrap();
        let ask = |request, body: &[u8]| {
            let reply = self.store.snapshot(Some(CLUSTER), &request, body, &mut Vec::new())?;
            assert_eq!(reply, SnapshotReply::Done);
            Ok(())
        };
        ask(SnapshotRequest::Begin(head), &[])?;
        ask(SnapshotRequest::Chunk { index: 0, checksum: checksum::unit(&chunk) }, &chunk)?;
        ask(SnapshotRequest::End, &[])
    }
}

fn tokens(count: u8) -> History {
    let mut history = History::default();
    (0..count).for_each(|n| {
        history.add_token(n);
    });
    history
}

fn why(result: Result<JournalState>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn entries_are_taken_only_behind_the_one_that_they_name() {
    let f = fixture();
    let history = tokens(6);
    assert_eq!(f.send(&history, 0, 2).unwrap().end, history.point(2));
    let before = f.state();
    assert_eq!(f.send(&history, 3, 6).unwrap(), before, "beyond the end");
    let mut other = tokens(0);
    other.epoch = 2;
    other.add_token(1).add_token(2).add_token(3);
    assert_eq!(f.send(&other, 2, 3).unwrap(), before, "behind another entry 2");
    assert_eq!(f.send(&history, 2, 6).unwrap().end, history.end());
    assert_eq!(f.entries(history.point(1)), history.entries[1..]);
}

#[test]
fn entries_that_are_there_are_kept_and_what_is_behind_them_too() {
    let mut f = fixture();
    let history = tokens(6);
    f.send(&history, 0, 4).unwrap();
    let (syncs, writes) = (f.disk.calls("sync"), f.disk.calls("append"));
    assert_eq!(f.send(&history, 1, 3).unwrap().end, history.point(4));
    assert_eq!(f.send(&history, 0, 0).unwrap().end, history.point(4));
    assert_eq!((f.disk.calls("sync"), f.disk.calls("append")), (syncs, writes), "nothing to do");
    assert_eq!(f.send(&history, 2, 6).unwrap().end, history.end());
    f.restart();
    assert_eq!(f.entries(history.point(0)), history.entries);
}

#[test]
fn an_append_is_one_write_and_one_sync() {
    let f = fixture();
    let mut history = tokens(3);
    history.add_stored(7, 1000, true).add_stored(8, 3, true);
    let before = ["append", "sync", "sync_folder"].map(|name| f.disk.calls(name));
    f.send_all(&history);
    let after = ["append", "sync", "sync_folder"].map(|name| f.disk.calls(name));
    assert_eq!(after, [before[0] + 1, before[1] + 1, before[2]]);
}

#[test]
fn a_contradicting_tail_is_cut_unless_it_is_decided() {
    let mut f = fixture();
    let mut old = tokens(3);
    old.add_stored(7, 100, true);
    f.send_all(&old);
    f.store.decided(2);
    let mut new = tokens(2);
    new.epoch = 2;
    new.add_token(33);
    f.register(2);
    assert_eq!(f.send(&new, 2, 3).unwrap().end, new.end());
    assert_eq!(f.read(7), None, "its piece went with it");
    assert_eq!(f.state().backlog_bytes, 0);
    f.restart();
    assert_eq!(f.entries(new.point(0)), new.entries);
    f.register(2);

    let mut newest = tokens(1);
    newest.epoch = 3;
    newest.add_token(44);
    f.send(&new, 2, 3).unwrap();
    f.store.decided(3);
    assert!(why(f.send(&newest, 1, 2)).contains("contradicts"));
    assert_eq!(f.state().end, new.end());
}

#[test]
fn a_contradicting_tail_is_cut_over_several_segments() {
    let mut f = fixture();
    let old = tokens(9);
    for upto in [3, 6, 9] {
        f.send(&old, upto - 3, upto).unwrap();
        f.roll();
    }
    f.register(2);
    for cut in [8, 6, 4, 3] {
        let mut new = tokens(u8::try_from(cut).unwrap());
        new.epoch = 10 - cut as u64;
        new.add_token(99).add_token(98);
        assert_eq!(f.send(&new, cut, cut + 2).unwrap().end, new.end());
        f.restart();
        assert_eq!(f.entries(new.point(0)), new.entries, "{cut}");
        assert_eq!(f.gap(), None);
    }
    assert_eq!(f.segments(), ["journal-0-0", "journal-1-3"]);
}

#[test]
fn no_more_counts_as_decided_than_the_server_was_seen_to_share() {
    let f = fixture();
    let old = tokens(5);
    f.send_all(&old);
    f.store.decided(3);
    assert_eq!(f.state().decided, 3);
    // Another server has decided another entry 4.
    f.register(2);
    f.store.decided(5);
    assert_eq!(f.state().decided, 3);
    let mut new = tokens(3);
    new.epoch = 2;
    new.add_token(7).add_token(8).add_token(9);
    let (mut append, body) = new.append(3, 5, true);
    append.decided = 6;
    assert_eq!(f.store.append(&append, &body).unwrap().decided, 5, "never beyond the end");
}

#[test]
fn what_is_wrong_in_an_append_is_refused_and_changes_nothing() {
    let f = fixture();
    let mut history = tokens(1);
    history.add_stored(7, 1000, true).add_token(2);
    let before = f.state();
    type Spoil = fn(&mut Append, &mut Vec<u8>);
    let spoils: [(&str, Spoil); 9] = [
        ("damaged in transit", |_, body| body[3] ^= 1),
        ("shorter than its pieces", |_, body| {
            body.pop();
        }),
        ("do not match", |_, body| body.push(0)),
        ("does not have the length", |append, _| append.pieces[0].unit_bytes += 1),
        ("an entry that has none", |append, _| append.pieces[0].entry = 2),
        ("do not match", |append, _| append.pieces[0].entry = 9),
        ("does not follow", |append, _| append.entries[2].id += 1),
        ("does not follow", |append, _| append.entries[1].epoch = 0),
        ("of no kind", |append, _| append.entries[2].record = vec![250]),
    ];
    for (text, spoil) in spoils {
        let (mut append, mut body) = history.append(0, 3, true);
        spoil(&mut append, &mut body);
        let why = why(f.store.append(&append, &body));
        assert!(why.contains(text), "{why}");
        assert_eq!(f.state(), before);
    }
    f.send_all(&history);
}

#[test]
fn a_torn_tail_is_cut_at_whatever_byte_it_is_torn() {
    let mut f = fixture();
    let mut history = tokens(2);
    f.send_all(&history);
    let path = f.segment("journal-0-0");
    let whole = fs::metadata(&path).unwrap().len();
    history.add_token(3).add_stored(7, 9, true);
    f.send_all(&history);
    let bytes = fs::read(&path).unwrap();
    for cut in usize::try_from(whole).unwrap()..bytes.len() {
        let zeros = vec![0; bytes.len() - cut];
        for torn in [bytes[..cut].to_vec(), [&bytes[..cut], &zeros].concat()] {
            if torn == bytes {
                continue;
            }
            fs::write(&path, torn).unwrap();
            f.restart();
            assert!((2..4).contains(&f.state().end.id), "{cut}");
            assert_eq!((f.gap(), f.read(7)), (None, None), "{cut}");
            assert!(fs::metadata(&path).unwrap().len() >= whole, "{cut}");
        }
    }
    f.register(1);
    f.send_all(&history);
    assert_eq!(f.read(7), Some(history.units(4)));
}

/// Files long enough for the journal to write ahead.
fn stored(n: std::ops::RangeInclusive<u8>) -> History {
    let mut history = History::default();
    n.for_each(|n| {
        history.add_stored(n, 4000, true);
    });
    history
}

#[test]
fn appends_overwrite_zeros_that_were_written_ahead() {
    let mut f = fixture();
    let path = f.segment("journal-0-0");
    let file_bytes = || fs::metadata(&path).unwrap().len();
    let history = stored(1..=60);
    let mut grown = 0;
    for upto in 1..=60 {
        let before = file_bytes();
        f.send(&history, upto - 1, upto).unwrap();
        grown += u32::from(file_bytes() > before);
        let behind = fs::read(&path).unwrap().split_off(f.length());
        assert!(behind.iter().all(|byte| *byte == 0), "{upto}");
    }
    assert!((5..15).contains(&grown), "it grew {grown} times");
    assert!(file_bytes() > f.length() as u64);
    f.restart();
    assert_eq!((f.state().end, f.gap()), (history.end(), None));
    assert_eq!(file_bytes(), f.length() as u64, "it is cut when it is opened");
    f.register(1);
    let mut history = history;
    history.add_stored(61, 4000, true);
    f.send_all(&history);
    assert!(file_bytes() > f.length() as u64);
    assert_eq!(f.entries(history.point(0)), history.entries);
    let length = f.length();
    f.roll();
    assert_eq!(file_bytes(), length as u64, "what is not needed any more is cut");
}

#[test]
fn an_append_that_lacks_any_sectors_after_a_crash_is_cut_and_is_no_damage() {
    let mut f = fixture();
    let path = f.segment("journal-0-0");
    let history = stored(1..=7);
    f.send(&history, 0, 4).unwrap();
    let (old, from) = (fs::read(&path).unwrap(), f.length());
    f.send(&history, 4, 7).unwrap();
    let (new, to) = (fs::read(&path).unwrap(), f.length());
    assert_eq!(old.len(), new.len());
    for sector in from / 512..=(to - 1) / 512 {
        for (there, missing) in [(&old, &new), (&new, &old)] {
            let mut torn = there.clone();
            let range = 512 * sector..torn.len().min(512 * (sector + 1));
            torn[range.clone()].copy_from_slice(&missing[range]);
            fs::write(&path, torn).unwrap();
            f.restart();
            assert!((4..7).contains(&f.state().end.id), "{sector}");
            assert_eq!((f.gap(), f.read(7)), (None, None), "{sector}");
            assert_eq!(fs::metadata(&path).unwrap().len(), f.length() as u64, "{sector}");
        }
    }
    f.register(1);
    f.send_all(&history);
    f.restart();
    assert_eq!(f.entries(history.point(0)), history.entries);
    assert_eq!(f.read(7), Some(history.units(7)));
}

#[test]
fn an_append_succeeds_where_nothing_can_be_written_ahead() {
    let f = fixture();
    let history = stored(1..=12);
    f.disk.fail_next("write_ahead", ENOSPC);
    f.send(&history, 0, 4).unwrap();
    f.disk.leave_free(AHEAD_FREE_BYTES_MIN - 1);
    let calls = f.disk.calls("write_ahead");
    f.send(&history, 4, 12).unwrap();
    assert_eq!(f.disk.calls("write_ahead"), calls, "the disk is nearly full");
    assert_eq!(f.entries(history.point(0)), history.entries);
    // Any other error may be one of the entry, too.
    let f = fixture();
    f.disk.fail_next("write_ahead", EIO);
    assert!(f.send(&history, 0, 4).is_err());
    assert_eq!(f.state().end.id, 0);
    f.send_all(&history);
    assert_eq!((f.state().end, f.gap()), (history.end(), None));
}

#[test]
fn damage_in_the_middle_ends_the_journal_and_opens_the_gap() {
    let mut f = fixture();
    let history = tokens(8);
    f.send(&history, 0, 5).unwrap();
    f.roll();
    f.send(&history, 5, 8).unwrap();
    let path = f.segment("journal-0-0");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    f.restart();
    let end = f.state().end;
    assert!(end.id > 0 && end.id < 5 && end == history.point(end.id.try_into().unwrap()));
    assert_eq!(f.gap(), Some(2));
    assert_eq!(f.segments(), ["journal-0-0"]);
    f.register(1);
    f.send_all(&history);
    f.restart();
    assert_eq!((f.state().end, f.gap()), (history.end(), Some(2)));
}

#[test]
fn damage_that_is_found_while_it_is_read_ends_the_journal_too() {
    let f = fixture();
    let history = tokens(8);
    f.send_all(&history);
    let path = f.segment("journal-0-0");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(f.store.point_at(7).is_err());
    assert!(f.state().end.id < 8 && f.gap() == Some(2));
    f.send_all(&history);
    assert_eq!(f.store.point_at(7).unwrap(), Some(history.point(7)));
}

#[test]
fn a_journal_that_is_gone_opens_the_gap() {
    let mut f = fixture();
    f.decide_all(&tokens(3));
    for _ in 0..30 {
        f.follow();
    }
    assert!(f.store.follower.position() > 0);
    fs::remove_file(f.segment("journal-0-0")).unwrap();
    f.restart();
    assert_eq!((f.state().end.id, f.state().decided, f.gap()), (0, 0, Some(2)));
}

#[test]
fn after_a_disk_error_only_what_was_synced_is_trusted() {
    for (call, number) in [("append", EIO), ("append", ENOSPC), ("sync", EIO)] {
        let mut f = fixture();
        let history = tokens(6);
        f.send(&history, 0, 3).unwrap();
        let length = fs::metadata(f.segment("journal-0-0")).unwrap().len();
        f.disk.fail_next(call, number);
        let error = f.send(&history, 3, 6).unwrap_err();
        let is_full = matches!(error, Error::Node { why: NodeFailure::NoSpace(_), .. });
        assert_eq!(is_full, number == ENOSPC, "{error}");
        // A sync that failed says nothing of the next one: the bytes are written again.
        f.disk.fail_next("append_to", EIO);
        assert!(f.store.journal_state().is_err());
        assert_eq!(f.state().end, history.point(3));
        assert_eq!(fs::metadata(f.segment("journal-0-0")).unwrap().len(), length);
        f.send_all(&history);
        f.restart();
        assert_eq!(f.entries(history.point(0)), history.entries);
        assert_eq!(f.gap(), None);
    }
}

#[test]
fn an_error_while_a_segment_begins_is_got_over() {
    for (call, nth) in [("create", 0), ("append", 0), ("sync", 0), ("sync_folder", 0)] {
        let f = fixture();
        let history = tokens(4);
        f.send(&history, 0, 2).unwrap();
        f.disk.fail_nth(call, nth, EIO);
        assert!(f.store.journal.roll(&mut f.store.journal.writer.lock()).is_err());
        f.send_all(&history);
        assert_eq!(f.entries(history.point(0)), history.entries);
        assert_eq!(f.segments(), ["journal-0-0"], "{call}");
    }
}

#[test]
fn pieces_are_read_from_the_journal_and_from_their_files_alike() {
    let mut f = fixture();
    let mut history = History::default();
    for (n, bytes) in [(1, 0), (2, 1), (3, 353), (4, 200_000)] {
        history.add_stored(n, bytes, true);
    }
    f.send_all(&history);
    assert!(f.state().backlog_bytes > 100_000);
    let check = |f: &Fixture| {
        for n in 1..5 {
            assert_eq!(f.read(n), Some(history.units(n.into())), "{n}");
        }
        let verified = f.store.open_piece(version(3)).verify(0, 1).unwrap();
        let units = history.units(3);
        let (first, second) = units.split_at(units.len() / 2);
        assert_eq!(verified, [[first, second].map(checksum::unit)]);
        assert_eq!(f.store.pieces(None, 9).unwrap(), [1, 2, 3, 4].map(version));
        assert!(f.store.lacks(&[1, 2, 3, 4].map(version)).unwrap().is_empty());
    };
    check(&f);
    f.write_out();
    assert!(f.state().backlog_bytes > 0, "nothing is decided");
    f.restart();
    check(&f);
    f.register(1);
    f.send_all(&history);
    f.store.decided(4);
    f.write_out();
    assert_eq!(f.state().backlog_bytes, 0);
    check(&f);
    let units = history.units(3);
    let (first, second) = units.split_at(units.len() / 2);
    for (block, unit) in [("B1", first), ("B2", second)] {
        assert_eq!(&fs::read(f.block(3, block)).unwrap()[..unit.len()], unit);
    }
    // The journal still has them, and finds their files.
    f.restart();
    check(&f);
    f.register(1);
    f.send_all(&history);
    f.store.decided(4);
    let renames = f.disk.calls("rename");
    f.write_out();
    assert_eq!((f.disk.calls("rename"), f.state().backlog_bytes), (renames, 0));
    check(&f);
}

#[test]
fn many_pieces_are_written_out_with_one_sync() {
    let f = fixture();
    let mut history = History::default();
    (1..=50).for_each(|n| {
        history.add_stored(n, 100, true);
    });
    f.decide_all(&history);
    let before = ["sync_all", "sync"].map(|name| f.disk.calls(name));
    f.write_out();
    let after = ["sync_all", "sync"].map(|name| f.disk.calls(name));
    assert_eq!(after, [before[0] + 1, before[1]]);
    assert_eq!(f.store.pieces(None, 99).unwrap().len(), 50);
}

#[test]
fn an_error_while_pieces_are_written_out_leaves_them_in_the_journal() {
    for (call, nth) in [("create", 2), ("append", 3), ("sync_all", 0), ("rename", 0), ("rename", 3)]
    {
        let f = fixture();
        let mut history = History::default();
        (1..=3).for_each(|n| {
            history.add_stored(n, 100, true);
        });
        f.decide_all(&history);
        f.disk.fail_nth(call, nth, EIO);
        assert!(f.store.write_out().is_err(), "{call}");
        for round in 0..2 {
            for n in 1..=3 {
                assert_eq!(f.read(n), Some(history.units(n.into())), "{call} {round}");
            }
            f.write_out();
            assert_eq!(f.state().backlog_bytes, 0);
        }
        let names: usize = (1..=3)
            .map(|n: u8| fs::read_dir(f.block(n, "B1").parent().unwrap()).unwrap().count())
            .sum();
        assert_eq!(names, 6, "{call}: nothing is left over");
    }
}

#[test]
fn a_version_that_was_dropped_is_not_written_out() {
    let mut f = fixture();
    let mut history = History::default();
    history.add_stored(1, 100, true).add_stored(2, 100, true).add_dropped(&[1]);
    f.decide_all(&history);
    f.write_out();
    for _ in 0..30 {
        f.follow();
    }
    assert_eq!((f.read(1), f.read(2)), (None, Some(history.units(2))));
    assert_eq!(f.store.follower.position(), 3);
    f.restart();
    f.register(1);
    f.send_all(&history);
    f.store.decided(3);
    f.write_out();
    assert_eq!((f.read(1), f.read(2)), (None, Some(history.units(2))));
    assert_eq!(f.store.pieces(None, 9).unwrap(), [version(2)]);
}

#[test]
fn a_full_segment_loses_its_pieces_once_they_are_written_out() {
    let mut f = fixture();
    let mut history = History::default();
    (1..=20).for_each(|n| {
        history.add_stored(n, 5000, true);
    });
    f.decide_all(&history);
    f.roll();
    history.add_stored(21, 5000, true);
    f.send_all(&history);
    let path = f.segment("journal-0-0");
    assert!(fs::metadata(&path).unwrap().len() > 20 * 2500);
    f.write_out();
    assert!(fs::metadata(&path).unwrap().len() < 20 * 500);
    for round in 0..2 {
        for n in 1..=21 {
            assert_eq!(f.read(n), Some(history.units(n.into())));
        }
        for id in 0..=21 {
            assert_eq!(f.store.point_at(id as u64).unwrap(), Some(history.point(id)), "{round}");
        }
        assert_eq!(f.entries(history.point(0)), history.entries);
        f.restart();
    }
    assert_eq!(f.gap(), None);
}

#[test]
fn a_segment_that_two_snapshots_have_is_dropped() {
    let mut f = fixture();
    let history = tokens(9);
    for upto in [3, 6, 9] {
        f.send(&history, upto - 3, upto).unwrap();
        f.roll();
    }
    f.store.decided(9);
    f.snapshot(history.point(4)).unwrap();
    f.write_out();
    assert_eq!(f.segments().len(), 4, "there is but one");
    f.snapshot(history.point(7)).unwrap();
    f.write_out();
    assert_eq!(f.segments().len(), 4, "the node has not followed it");
    for _ in 0..60 {
        f.follow();
    }
    f.write_out();
    assert_eq!(f.segments(), ["journal-1-3", "journal-1-6", "journal-1-9"]);
    assert_eq!(f.store.point_at(2).unwrap(), None);
    assert_eq!(f.store.point_at(3).unwrap(), Some(history.point(3)));
    assert!(f.store.entries(history.point(2), &mut |_| Ok(())).is_err());
    assert_eq!(f.entries(history.point(3)), history.entries[3..]);
    f.restart();
    assert_eq!((f.state().end, f.state().snapshot), (history.end(), 7));
    assert_eq!((f.state().decided, f.gap()), (9, None));
}

#[test]
fn a_snapshot_in_the_journal_leaves_it_as_it_is() {
    let f = fixture();
    let history = tokens(5);
    f.send_all(&history);
    f.snapshot(history.point(3)).unwrap();
    let state = f.state();
    assert_eq!((state.end, state.decided, state.snapshot), (history.end(), 3, 3));
    assert_eq!(f.gap(), None);
}

#[test]
fn a_snapshot_beyond_the_journal_restarts_it() {
    let mut f = fixture();
    let mut history = tokens(2);
    history.add_stored(7, 100, true);
    f.send_all(&history);
    (0..5).for_each(|n| {
        history.add_token(n);
    });
    f.snapshot(history.point(6)).unwrap();
    for _ in 0..2 {
        let state = f.state();
        assert_eq!((state.end, state.decided), (history.point(6), 6));
        assert_eq!((state.snapshot, f.gap()), (6, Some(2)));
        assert_eq!(f.segments(), ["journal-1-6"]);
        // It may be that only the journal had it.
        assert_eq!(f.read(7), Some(history.units(3)));
        f.restart();
    }
    f.register(1);
    f.send(&history, 6, 8).unwrap();
    assert_eq!(f.entries(history.point(6)), history.entries[6..]);
}

#[test]
fn a_journal_is_removed_only_once_what_was_written_out_of_it_has_durable_names() {
    for is_restarted in [false, true] {
        let mut f = fixture();
        let mut history = tokens(2);
        history.add_stored(7, 100, true);
        f.send_all(&history);
        (0..5).for_each(|n| {
            history.add_token(n);
        });
        // The first one belongs to the write-out.
        f.disk.fail_nth("sync_all", 1, EIO);
        assert!(f.snapshot(history.point(6)).is_err());
        assert_eq!(f.segments(), ["journal-0-0"]);
        let before = f.disk.calls("sync_all");
        if is_restarted {
            f.restart();
        } else {
            f.snapshot(history.point(6)).unwrap();
        }
        assert_eq!(f.segments(), ["journal-1-6"]);
        assert!(f.disk.calls("sync_all") > before);
        assert_eq!(f.read(7), Some(history.units(3)));
    }
}

#[test]
fn a_snapshot_that_contradicts_an_undecided_tail_restarts_the_journal() {
    let mut f = fixture();
    let old = tokens(6);
    f.send_all(&old);
    f.store.decided(2);
    let mut new = tokens(2);
    new.epoch = 2;
    (10..15).for_each(|n| {
        new.add_token(n);
    });
    f.register(2);
    f.snapshot(new.point(4)).unwrap();
    for _ in 0..2 {
        assert_eq!((f.state().end, f.state().decided), (new.point(4), 4));
        f.restart();
    }
    assert!(f.snapshot(old.point(4)).is_err(), "decided otherwise");
    assert_eq!(f.state().end, new.point(4));
}

#[test]
fn a_crash_before_the_journal_restarts_is_made_up_for_at_the_start() {
    for snapshot_at in [4, 8] {
        let mut f = fixture();
        let old = tokens(6);
        f.send_all(&old);
        f.store.decided(2);
        let mut new = tokens(2);
        new.epoch = 2;
        (10..20).for_each(|n| {
            new.add_token(n);
        });
        let at = new.point(snapshot_at);
        let head = SnapshotHead { format: FORMAT, cluster: CLUSTER, at, chunks: 0 };
        f.store.snapshots.begin(Some(CLUSTER), &head).unwrap();
        f.store.snapshots.finish().unwrap();
        f.store.snapshots.install(head).unwrap();
        f.restart();
        assert_eq!((f.state().end, f.state().decided, f.gap()), (at, at.id, Some(2)));
    }
}

#[test]
fn the_gap_opens_for_pieces_that_are_placed_here_and_are_not_here() {
    let f = fixture();
    let mut history = tokens(1);
    history.add_stored(1, 100, true);
    let (append, body) = history.append(0, 2, false);
    f.store.append(&append, &body).unwrap();
    assert_eq!(f.gap(), Some(2), "without its piece");
    f.store.close_gap(f.first).unwrap();
    assert_eq!(f.gap(), Some(2));
    f.store.close_gap(f.first + 1).unwrap();

    history.add_stored(2, 100, true);
    f.send_all(&history);
    assert_eq!(f.gap(), None);
    history.add(&Change::Placed { node: NODE, versions: vec![version(2)] });
    history.add(&Change::Placed { node: NodeId::ALL[0], versions: vec![version(9)] });
    f.send_all(&history);
    assert_eq!(f.gap(), None, "it is here, and what others have is no matter of this node");
    history.add(&Change::Placed { node: NODE, versions: vec![version(2), version(8)] });
    f.send_all(&history);
    assert_eq!(f.gap(), Some(3));
    history.add_stored(5, 100, false);
    f.send_all(&history);
    assert_eq!(f.gap(), Some(4), "another event has another number");
}

#[test]
fn the_gap_is_open_durably_before_the_entry_is_there() {
    let f = fixture();
    let mut history = History::default();
    history.add_stored(1, 100, false);
    f.disk.fail_next("rename", EIO);
    assert!(f.send(&history, 0, 1).is_err());
    assert_eq!(f.state().end.id, 0);
    f.disk.fail_next("sync", EIO);
    assert!(f.send(&history, 0, 1).is_err());
    f.send_all(&history);
    assert!(f.gap().is_some());
}

#[test]
fn nothing_more_is_taken_when_too_much_waits_to_be_written_out() {
    let f = fixture();
    let mut history = tokens(1);
    history.add_stored(1, 100, true);
    f.store.journal.index.write().backlog_bytes = BACKLOG_BYTES_MAX - 51;
    assert!(why(f.send(&history, 0, 2)).contains("busy"));
    assert_eq!(f.send(&history, 0, 1).unwrap().end.id, 1, "entries are");
    f.store.journal.index.write().backlog_bytes = 0;
    assert_eq!(f.send(&history, 1, 2).unwrap().end.id, 2);
}

#[test]
fn a_long_journal_is_cut_into_segments_and_found_in_parts() {
    let mut f = fixture();
    let mut history = History::default();
    for n in 1..=12 {
        for _ in 0..20 {
            history.add(&Change::Dropped { versions: vec![version(n); 490] });
        }
        f.send_all(&history);
    }
    for round in 0..2 {
        for id in 0..=240 {
            assert_eq!(f.store.point_at(id as u64).unwrap(), Some(history.point(id)), "{round}");
        }
        assert_eq!(f.store.point_at(241).unwrap(), None);
        assert_eq!(f.entries(history.point(0)), history.entries);
        assert_eq!(f.entries(history.point(239)), history.entries[239..]);
        let page = f.store.journal.entries_between(5, 9).unwrap().unwrap();
        assert_eq!(page, history.entries[5..9]);
        f.restart();
    }
}

#[test]
fn a_journal_of_another_cluster_is_refused() {
    let f = fixture();
    f.send_all(&tokens(1));
    let toml = f.folder.path().join(".palk/node.toml");
    let text = fs::read_to_string(&toml).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("sum"));
    let text: Vec<String> =
        lines.map(|line| line.replace(&CLUSTER.to_string(), &"02".repeat(16))).collect();
    fs::write(&toml, text.join("\n")).unwrap();
    let opened = BlockStore::open(Arc::new(f.disk.clone()), f.folder.path(), NODE);
    assert!(opened.err().unwrap().to_string().contains("another cluster"));
}

#[test]
fn a_piece_in_a_tail_that_is_cut_does_not_count_as_held() {
    let f = fixture();
    let mut old = tokens(1);
    old.add_stored(7, 100, true);
    f.send_all(&old);
    let mut new = tokens(1);
    new.epoch = 2;
    new.add(&Change::Placed { node: NODE, versions: vec![version(7)] });
    f.register(2);
    f.send(&new, 1, 2).unwrap();
    assert_eq!(f.gap(), Some(2));
}

#[test]
fn what_was_written_ahead_may_be_cut_while_the_entries_before_it_are_read() {
    let readers: [fn(&Fixture, &History); 3] = [
        |f, history| assert_eq!(f.entries(history.point(0)), history.entries),
        |f, history| assert_eq!(f.read(2), Some(history.units(2))),
        |f, _| assert!(f.store.write_out().unwrap()),
    ];
    for (at, read) in readers.iter().enumerate() {
        let f = fixture();
        let mut history = History::default();
        history.add_stored(1, 5000, true).add_stored(2, 5000, true);
        f.decide_all(&history);
        let file_bytes = || fs::metadata(f.segment("journal-0-0")).unwrap().len();
        assert!(file_bytes() > f.length() as u64, "zeros follow");
        let length = f.length() as u64;
        f.roll_before_the_next_read();
        read(&f, &history);
        assert!(f.disk.has_happened(), "{at}");
        assert_eq!(file_bytes(), length, "{at}: cut");
        f.write_out();
        assert_eq!((f.read(1), f.read(2)), (Some(history.units(1)), Some(history.units(2))));
        assert_eq!(f.gap(), None);
    }
}

#[test]
fn entries_that_are_dropped_while_those_before_them_are_read_are_missed() {
    let f = fixture();
    let history = tokens(9);
    for upto in [3, 6, 9] {
        f.send(&history, upto - 3, upto).unwrap();
        f.roll();
    }
    f.store.decided(9);
    f.snapshot(history.point(7)).unwrap();
    f.snapshot(history.point(8)).unwrap();
    for _ in 0..60 {
        f.follow();
    }
    let mut taken = Vec::new();
    let read = f.store.entries(history.point(0), &mut |entries| {
        taken.extend(entries);
        f.write_out();
        Ok(())
    });
    assert_eq!(f.segments(), ["journal-1-6", "journal-1-9"]);
    assert_eq!(taken, history.entries[..3]);
    assert!(read.unwrap_err().to_string().contains("was cut while it was read"));
}

#[test]
fn a_segment_that_is_cut_while_it_is_compacted_is_left_as_it_is() {
    let f = fixture();
    let mut old = History::default();
    old.add_stored(1, 5000, true).add_token(1).add_token(2);
    f.send_all(&old);
    f.store.decided(1);
    f.roll();
    assert!(f.store.write_out().unwrap(), "the piece");
    let mut new = old.clone();
    new.entries.truncate(2);
    new.epoch = 2;
    new.add_token(9);
    f.register(2);
    let journal = f.store.journal.clone();
    let (append, body) = new.append(2, 3, true);
    f.disk.before_next("read", move || {
        journal.append(&append, &body).unwrap();
    });
    f.write_out();
    assert!(f.disk.has_happened());
    assert_eq!((f.state().end, f.gap()), (new.end(), None));
    assert_eq!(f.entries(new.point(0)), new.entries);
    assert_eq!(f.read(1), Some(new.units(1)));
}

#[test]
fn a_segment_that_becomes_the_last_one_while_it_is_compacted_is_left_as_it_is() {
    let mut f = fixture();
    let mut history = History::default();
    history.add_stored(1, 5000, true);
    f.send_all(&history);
    f.roll();
    history.add_token(1);
    f.decide_all(&history);
    assert!(f.store.write_out().unwrap(), "the piece");
    let (journal, last) = (f.store.journal.clone(), f.segment("journal-1-1"));
    f.disk.before_next("read", move || {
        fs::write(&last, [7; 200]).unwrap();
        journal.index.write().is_trusted = false;
        assert_eq!(journal.state().unwrap().end.id, 1, "the damaged segment is lost");
    });
    assert!(f.store.write_out().unwrap());
    assert!(f.disk.has_happened());
    history.add_token(2);
    f.send_all(&history);
    for _ in 0..2 {
        assert_eq!(f.entries(history.point(0)), history.entries);
        f.restart();
    }
}

#[test]
fn every_piece_is_found_while_pieces_are_written_out_and_segments_compacted() {
    let f = fixture();
    let mut history = History::default();
    (0..60).for_each(|n| {
        history.add_stored(n, 2000 + usize::from(n), true);
    });
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let ordering = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        let (f, history, answered) = (&f, &history, &answered);
        scope.spawn(move || {
            for upto in 1..=60 {
                f.send(history, upto - 1, upto).unwrap();
                f.store.decided(upto as u64);
                answered.store(upto, ordering);
                if upto % 5 == 0 {
                    f.roll();
                }
            }
        });
        scope.spawn(move || {
            while answered.load(ordering) < 60 || f.state().backlog_bytes > 0 {
                f.write_out();
            }
            f.write_out();
        });
        scope.spawn(move || {
            for round in 0..400 {
                let upto = answered.load(ordering);
                for n in (0..upto).skip(round % 7).step_by(7) {
                    let n = u8::try_from(n).unwrap();
                    assert_eq!(f.read(n), Some(history.units(u64::from(n) + 1)), "{n}");
                }
                let listed = f.store.pieces(None, 99).unwrap();
                assert!(listed.len() >= upto, "{} of {upto}", listed.len());
                assert_eq!(f.entries(history.point(0))[..upto], history.entries[..upto]);
            }
        });
    });
    assert_eq!((f.state().backlog_bytes, f.gap()), (0, None));
    assert!(fs::metadata(f.segment("journal-0-0")).unwrap().len() < 5000, "compacted");
}
