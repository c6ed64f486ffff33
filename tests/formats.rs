//! The formats, byte for byte: what lies on disks and what travels between versions of Palk.
//!
//! These bytes are promises. A test here that fails means that stored blocks, another version's
//! messages or an existing catalog would no longer be understood. So do not just paste the new
//! bytes:
//!
//! - a block file or the node's folder: raise `FORMAT` in `wire/trailer.rs` or `FOLDER_FORMAT` in
//!   `node/store.rs`, and refuse the old one with a clear word or keep reading it;
//! - the node protocol: raise `PROTOCOL` in `wire/node.rs` (both ends are updated together). A
//!   variant or field that is moved, added in the middle or removed changes what old bytes mean;
//! - chunks and the extended session: raise `SESSION_VERSION` in `wire/extended.rs` and go on
//!   speaking the older version with older clients;
//! - the journal and the snapshots: raise `FORMAT` in `wire/snapshot.rs`; new kinds of changes go to
//!   the end;
//! - the catalog: add a migration in `catalog/database.rs`; never change one that was released.
//!
//! Then bring `docs/formats.md` or `docs/protocol.md` up to date, and say so in `CHANGELOG.md`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use palk::core::catalog::{Catalog, NewFile};
use palk::core::code::checksum;
use palk::core::code::coded::CodedStripe;
use palk::core::code::digest::{Subtree, TreePart};
use palk::core::code::layout::UNIT_BYTES_MAX;
use palk::core::code::repair::Select;
use palk::core::error::Code;
use palk::core::io::disk::RealDisk;
use palk::core::node::store::BlockStore;
use palk::core::path::{FilePath, FolderPath, UserName};
use palk::core::status::{
    Backup, Debt, Direction, Flow, Healed, Kept, NodeStatus, Replacing, RunningTransfer,
    ScrubPhase, Scrubbing, State as Health, Status, Stored, Transfers, Trouble, Upkeep,
};
use palk::core::types::{
    Block, Claim, ClusterId, Digest, FileAttributes, FileKind, KeyId, Moment, NodeId, NodeSet,
    Precondition, Seq, ServerId, VersionId,
};
use palk::core::wire::admin::{self, ADMIN_SOCKET, Fields, Line, Verb};
use palk::core::wire::extended::{
    self, Entry as Listed, Extent, FileEntry, HistoryRequest, Moved, Removed, UploadRequest, When,
    Which,
};
use palk::core::wire::extents::{Extent as ContentExtent, PlacedExtent};
use palk::core::wire::journal::{
    Chain, Change, Entry, FolderAt, JournalState, KeptVersion, PastItem, Point, Property,
    SnapshotName, Told, UploadBegun,
};
use palk::core::wire::keys::{KeyRequest, Rights};
use palk::core::wire::node::{
    self, Alive, Append, DiskTrouble, Failure, InlinePiece, PROTOCOL, PieceMeta, Place, Reply,
    Request, Room, Serves, ViewReport,
};
use palk::core::wire::reports::{BackedUp, Found, Healing, Remaining, Replaced, Scrubbed, Without};
use palk::core::wire::snapshot::{self, SnapshotHead, SnapshotReply, SnapshotRequest};
use palk::core::wire::token::Token;
use palk::core::wire::trailer::{FORMAT, Header, Trailer};
use palk::core::wire::users::{Allowance, Secret, UserAsk};
use palk::core::wire::{self, chunk};
use serde_json::Value;

const VERSION: VersionId = VersionId([0x11; 16]);
const CLUSTER: ClusterId = ClusterId([0x22; 16]);
const CLAIM: Claim = Claim { epoch: 300, server: ServerId([0x44; 16]) };
const DIGEST: Digest = Digest([0x33; 32]);
const KEY: KeyId = KeyId([0x55; 10]);

/// By the server's clock, in microseconds since 1970.
const NOW: i64 = 150;

fn user() -> UserName {
    UserName::parse("demo").unwrap()
}

fn path() -> FilePath {
    FilePath::parse_rooted("up/a.txt").unwrap()
}

fn place() -> Place {
    Place { user: user(), path: path() }
}

fn meta(file_bytes: u64) -> PieceMeta {
    PieceMeta {
        version: VERSION,
        place: place(),
        file_bytes,
        stored_ms: -1,
        repair: false,
        part: None,
    }
}

fn kept(joined: bool) -> KeptVersion {
    KeptVersion {
        user: place().user,
        version: VERSION,
        seq: Seq(300),
        bytes: 353,
        blake3: DIGEST,
        stored_ms: -1,
        placed: NodeSet::from_bits(0b1011),
        by: "demo".into(),
        attributes: FileAttributes { modified_ms: Some(-1), kind: Some(FileKind::Executable) },
        joined,
    }
}

fn tree() -> TreePart {
    TreePart { at: 300, subtrees: vec![Subtree { level: 6, value: [0x66; 32] }] }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares all before it fails, so that one run shows everything that changed.
#[derive(Default)]
struct Golden(String);

impl Golden {
    fn check(&mut self, what: &str, bytes: &[u8], expected: &str) {
        let expected: String = expected.split_whitespace().collect();
        if hex(bytes) != expected {
            self.0.push_str(&format!("\n  {what}\n    is        {}", hex(bytes)));
            self.0.push_str(&format!("\n    should be {expected}"));
        }
    }
}

impl Drop for Golden {
    fn drop(&mut self) {
        assert!(self.0.is_empty(), "read the head of tests/formats.rs:{}", self.0);
    }
}

// ---- a node's folder ----

/// Stores a file of 11 bytes on four nodes the way the server does.
fn store_small_file(folder: &Path) {
    let file = b"hello, palk";
    let coded = CodedStripe::of_file(file);
    let start = Point::start(CLUSTER);
    let made = Change::UserMade { user: user(), password: "x".into(), created_ms: -1 };
    let made = Entry::after(start, 300, NOW, made.encode().unwrap());
    let stored = Change::Stored {
        place: place(),
        version: VERSION,
        seq: Seq(300),
        bytes: file.len() as u64,
        blake3: DIGEST,
        stored_ms: -1,
        placed: NodeSet::ALL,
        inline: true,
        by: String::new(),
        attributes: Default::default(),
    };
    let stored = Entry::after(made.point(), 300, NOW, stored.encode().unwrap());
    for id in NodeId::ALL {
        let root = folder.join(format!("files_{id}"));
        let store = BlockStore::open(Arc::new(RealDisk), &root, id).unwrap();
        store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
        let (units, checksums) = coded.for_node(id);
        let pieces = vec![InlinePiece { entry: 1, unit_bytes: 3, checksums }];
        let entries = vec![made.clone(), stored.clone()];
        let append = Append { prev: start, decided: 2, entries, pieces };
        assert_eq!(store.append(&append, units).unwrap().end, stored.point());
        while store.write_out().unwrap() {}
        while store.follow().unwrap() {}
    }
}

#[test]
fn the_eight_block_files_of_a_small_file() {
    let folder = tempfile::tempdir().unwrap();
    store_small_file(folder.path());
    // "hell" "o, p" "alk" and one byte of padding, in units of three bytes; then the parity.
    let blocks: [(Block, &str, &str); 8] = [
        (Block::A1, "files_1/demo/up/a_A1.txt", "68656c"),
        (Block::A2, "files_1/demo/up/a_A2.txt", "6c6f2c"),
        (Block::B1, "files_2/demo/up/a_B1.txt", "207061"),
        (Block::B2, "files_2/demo/up/a_B2.txt", "6c6b01"),
        (Block::O1, "files_3/demo/up/a_O1.txt", "48150d"),
        (Block::O2, "files_3/demo/up/a_O2.txt", "00042d"),
        (Block::O3, "files_4/demo/up/a_O3.txt", "4c1f4d"),
        (Block::O4, "files_4/demo/up/a_O4.txt", "686141"),
    ];
    let mut golden = Golden::default();
    for (block, name, expected) in blocks {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        let (plain, trailer) = bytes.split_at(3);
        golden.check(name, plain, expected);
        let trailer = Trailer::decode(trailer).unwrap();
        assert_eq!(trailer.header.block, block);
        assert_eq!(trailer.header.version, VERSION);
        assert_eq!(trailer.header.seq, Seq(300));
        assert_eq!((trailer.header.user, trailer.header.path), (user(), path()));
        assert_eq!((trailer.header.file_bytes, trailer.header.blake3), (11, DIGEST));
        assert_eq!(trailer.checksums, [checksum::unit(plain)]);
        let node = &name[..7];
        let piece = folder.path().join(format!("{node}/.palk/pieces/11/{VERSION}_{block}"));
        assert!(std::fs::read(piece).unwrap() == bytes, "the name by which it is found");
    }
    let whole = std::fs::read(folder.path().join(blocks[2].1)).unwrap();
    golden.check(
        "all of a_B1.txt",
        &whole,
        "20706108 59712f61 e29f2d11 11111111 11111111 11111111 111111ac 02046465 \
         6d6f0875 702f612e 7478740b 80801002 33333333 33333333 33333333 33333333 \
         33333333 33333333 33333333 33333333 01006f00 00000000 00004700 00000200 \
         000095ea 6c2eaece 884f5041 4c4b424c 4b31",
    );
    // A piece that is sent by itself comes to the same.
    let root = folder.path().join("alone");
    let store = BlockStore::open(Arc::new(RealDisk), &root, NodeId::ALL[1]).unwrap();
    store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
    let mut stage = store.stage(meta(11)).unwrap();
    let (units, checksums) = (["207061", "6c6b01"], [&whole[..3], b"lk\x01"]);
    assert_eq!(checksums.map(hex), units);
    stage.units(checksums, checksums.map(checksum::unit)).unwrap();
    stage.finish(Seq(300), DIGEST).unwrap();
    let piece = root.join(format!(".palk/pieces/11/{VERSION}_B1"));
    assert!(std::fs::read(piece).unwrap() == whole);
}

#[test]
fn the_trailer_of_a_block_of_two_stripes() {
    let trailer = Trailer {
        header: Header {
            version: VERSION,
            seq: Seq(1),
            user: user(),
            path: path(),
            file_bytes: 1 << 20,
            unit_bytes_max: u32::try_from(UNIT_BYTES_MAX).unwrap(),
            block: Block::O4,
            blake3: DIGEST,
            stored_ms: 1_700_000_000_000,
            part: None,
        },
        checksums: vec![1, 2],
    };
    let mut golden = Golden::default();
    golden.check(
        "trailer",
        &trailer.encode(),
        "01000000 00000000 02000000 00000000 11111111 11111111 11111111 11111111 \
         01046465 6d6f0875 702f612e 74787480 80408080 10073333 33333333 33333333 \
         33333333 33333333 33333333 33333333 33333333 333380a0 abfef962 007d0000 \
         00000000 004d0000 00020000 004c294d 167b7594 cc50414c 4b424c4b 31",
    );
    assert_eq!(FORMAT, 2);
}

#[test]
fn what_a_node_says_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlockStore::open(Arc::new(RealDisk), folder.path(), NodeId::ALL[1]).unwrap();
    let text = || std::fs::read_to_string(folder.path().join(".palk/node.toml")).unwrap();
    assert_eq!(text(), "sum = \"e0a463426c9602e2\"\nformat = 5\nnode = 2\n");
    store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
    let (cluster, server) = ("22".repeat(16), "44".repeat(16));
    let expected = format!(
        "sum = \"ec3f651d70d8bb4e\"\nformat = 5\nnode = 2\ncluster = \"{cluster}\"\nepoch = 300\n\
         server = \"{server}\"\n"
    );
    assert_eq!(text(), expected);
    // It may lack pieces, until the server has told it which.
    let gap = || std::fs::read_to_string(folder.path().join(".palk/gap")).unwrap();
    let number = store.journal_state().unwrap().gap.unwrap();
    assert_eq!(gap(), format!("open {number:020}\n"));
    store.close_gap(number).unwrap();
    assert_eq!(gap(), format!("closed {number:020}\n"));
    assert!(folder.path().join(".palk/pieces").is_dir() && folder.path().join("backup").is_dir());
}

#[test]
fn a_folder_of_an_older_format_is_refused_with_a_clear_word_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".palk/node.toml");
    std::fs::create_dir(folder.path().join(".palk")).unwrap();
    for (sum, format) in [("9db07f9ea89a60d9", 1), ("6b25ac7a81f16425", 2)] {
        let old = format!("sum = \"{sum}\"\nformat = {format}\nnode = 2\n");
        std::fs::write(&file, &old).unwrap();
        let refused =
            BlockStore::open(Arc::new(RealDisk), folder.path(), NodeId::ALL[1]).err().unwrap();
        assert_eq!(refused.code(), Code::Version, "{refused}");
        assert!(refused.to_string().contains(&format!("format {format}")), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), old);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

// ---- the node protocol ----

/// A frame without its checksum, which the tables below leave out.
fn unchecked(frame: &[u8]) -> Vec<u8> {
    [&frame[..8], &frame[node::HEAD_BYTES..]].concat()
}

fn rights() -> Rights {
    Rights { read_only: true, folder: up() }
}

fn up() -> FolderPath {
    FolderPath::parse("up").unwrap()
}

fn point() -> Point {
    Point { id: 17, epoch: 300, at: Moment(NOW), chain: Chain([0x44; 16]) }
}

fn snapshot_head() -> SnapshotHead {
    SnapshotHead { format: snapshot::FORMAT, cluster: CLUSTER, at: point(), chunks: 5 }
}

fn journal_state() -> JournalState {
    JournalState { end: point(), decided: 16, snapshot: 3, backlog_bytes: 300, gap: Some(2) }
}

fn stored(inline: bool) -> Change {
    Change::Stored {
        place: place(),
        version: VERSION,
        seq: Seq(300),
        bytes: 353,
        blake3: DIGEST,
        stored_ms: -1,
        placed: NodeSet::from_bits(0b1011),
        inline,
        by: "demo".into(),
        attributes: FileAttributes { modified_ms: Some(-1), kind: Some(FileKind::Executable) },
    }
}

#[test]
fn the_head_of_a_frame() {
    let mut golden = Golden::default();
    let probe = node::encode(&Request::Ping { decided: 1 }, 0).unwrap();
    golden.check("a probe", &probe, "00000002 00000000 8e09e25f 9812a9e4 0101");
}

#[test]
fn every_request_to_a_node() {
    let read = |select| Request::Read { version: VERSION, first_stripe: 2, stripes: 300, select };
    let (protocol, node) = (PROTOCOL, NodeId::ALL[2]);
    let entries = vec![Entry::after(point(), 301, NOW, stored(true).encode().unwrap())];
    let pieces = vec![InlinePiece { entry: 0, unit_bytes: 89, checksums: [1, 300] }];
    let append = Append { prev: point(), decided: 16, entries, pieces };
    let requests: [(Request, usize, &str); 30] = [
        (
            Request::Hello { protocol, cluster: CLUSTER, node, claim: CLAIM },
            0,
            "00000025 00000000 00082222 22222222 22222222 22222222 222203ac 02444444 \
             44444444 44444444 44444444 44",
        ),
        (Request::Ping { decided: 300 }, 0, "00000003 00000000 01ac02"),
        (
            Request::Stage(meta(353)),
            0,
            "00000024 00000000 02111111 11111111 11111111 11111111 11046465 6d6f0875 \
             702f612e 747874e1 02010000",
        ),
        (
            Request::Stage(PieceMeta { repair: true, part: None, ..meta(353) }),
            0,
            "00000024 00000000 02111111 11111111 11111111 11111111 11046465 6d6f0875 \
             702f612e 747874e1 02010100",
        ),
        (
            Request::Units { checksums: [1, u64::MAX] },
            6,
            "0000000c 00000006 0301ffff ffffffff ffffff01",
        ),
        (Request::KeepAlive, 0, "00000001 00000000 04"),
        (
            Request::Finish { seq: Seq(300), blake3: DIGEST },
            0,
            "00000023 00000000 05ac0233 33333333 33333333 33333333 33333333 33333333 \
             33333333 33333333 333333",
        ),
        (
            Request::Append(append),
            178,
            "00000083 000000b2 0611ac02 ac024444 44444444 44444444 44444444 44441001 12ad02ae \
             024f0b04 64656d6f 0875702f 612e7478 74111111 11111111 11111111 11111111 11ac02e1 \
             02333333 33333333 33333333 33333333 33333333 33333333 33333333 33333333 33010b01 \
             0464656d 6f010101 01682002 2dcb6677 4510b1d9 d909946c 9c010059 01ac02",
        ),
        (
            read(Select::Both),
            0,
            "00000015 00000000 07111111 11111111 11111111 11111111 1102ac02 00",
        ),
        (
            read(Select::First),
            0,
            "00000015 00000000 07111111 11111111 11111111 11111111 1102ac02 01",
        ),
        (
            read(Select::Second),
            0,
            "00000015 00000000 07111111 11111111 11111111 11111111 1102ac02 02",
        ),
        (read(Select::Xor), 0, "00000015 00000000 07111111 11111111 11111111 11111111 1102ac02 03"),
        (
            Request::Verify { version: VERSION, first_stripe: 2, stripes: 64 },
            0,
            "00000013 00000000 08111111 11111111 11111111 11111111 110240",
        ),
        (Request::PointAt { id: 300 }, 0, "00000003 00000000 09ac02"),
        (
            Request::Entries { after: point() },
            0,
            "00000016 00000000 0a11ac02 ac024444 44444444 44444444 44444444 4444",
        ),
        (
            Request::Snapshot(SnapshotRequest::Begin(snapshot_head())),
            0,
            "00000029 00000000 0b000522 22222222 22222222 22222222 22222211 ac02ac02 \
             44444444 44444444 44444444 44444444 05",
        ),
        (
            Request::Snapshot(SnapshotRequest::Chunk { index: 300, checksum: 1 }),
            5,
            "00000005 00000005 0b01ac02 01",
        ),
        (Request::Snapshot(SnapshotRequest::End), 0, "00000002 00000000 0b02"),
        (Request::Snapshot(SnapshotRequest::List), 0, "00000002 00000000 0b03"),
        (
            Request::Snapshot(SnapshotRequest::Read { at: point(), index: 300 }),
            0,
            "00000019 00000000 0b0411ac 02ac0244 44444444 44444444 44444444 444444ac 02",
        ),
        (Request::Pieces { after: None }, 0, "00000002 00000000 0c00"),
        (
            Request::Pieces { after: Some(VERSION) },
            0,
            "00000012 00000000 0c011111 11111111 11111111 11111111 1111",
        ),
        (
            Request::Lacks { versions: vec![VERSION] },
            0,
            "00000012 00000000 0d011111 11111111 11111111 11111111 1111",
        ),
        (
            Request::Discard { versions: vec![VERSION] },
            0,
            "00000012 00000000 0e011111 11111111 11111111 11111111 1111",
        ),
        (Request::CloseGap { gap: 300 }, 0, "00000003 00000000 0fac02"),
        (Request::CheckView, 0, "00000001 00000000 10"),
        (Request::WhoServes { protocol, node }, 0, "00000003 00000000 110803"),
        (Request::Bye, 0, "00000001 00000000 12"),
        (Request::ProveDisk, 0, "00000001 00000000 13"),
        (Request::Shorten { file_bytes: 300 }, 0, "00000003 00000000 14ac02"),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 25];
    for (request, body_bytes, expected) in requests {
        let bytes = node::encode(&request, body_bytes).unwrap();
        golden.check(&format!("{request:?}"), &unchecked(&bytes), expected);
        // Without a `_`, so that a new variant does not compile until it is in the table.
        seen[match request {
            Request::Hello { .. } => 0,
            Request::Ping { .. } => 1,
            Request::Stage(_) => 2,
            Request::Units { .. } => 3,
            Request::KeepAlive => 4,
            Request::Finish { .. } => 5,
            Request::Append(_) => 6,
            Request::Read { .. } => 7,
            Request::Verify { .. } => 8,
            Request::PointAt { .. } => 9,
            Request::Entries { .. } => 10,
            Request::Snapshot(SnapshotRequest::Begin(_)) => 11,
            Request::Snapshot(SnapshotRequest::Chunk { .. }) => 12,
            Request::Snapshot(SnapshotRequest::End) => 13,
            Request::Snapshot(SnapshotRequest::List) => 14,
            Request::Snapshot(SnapshotRequest::Read { .. }) => 15,
            Request::Pieces { .. } => 16,
            Request::Lacks { .. } => 17,
            Request::Discard { .. } => 18,
            Request::CloseGap { .. } => 19,
            Request::CheckView => 20,
            Request::WhoServes { .. } => 21,
            Request::Bye => 22,
            Request::ProveDisk => 23,
            Request::Shorten { .. } => 24,
        }] = true;
    }
    assert_eq!(seen, [true; 25]);
    assert_eq!(PROTOCOL, 8);
}

#[test]
fn every_reply_of_a_node() {
    let room = Room { free_bytes: 300, total_bytes: 1000, spare_bytes: 1 };
    let view = ViewReport { names: 300, mended: 1, removed: 2, foreign: 3, blocked: 4 };
    let serves = Serves {
        cluster: Some(CLUSTER),
        node: NodeId::ALL[1],
        epoch: 300,
        server: Some(ServerId([0x44; 16])),
        heard_ms_ago: Some(5),
        folder: "/srv".into(),
    };
    let replies: [(Reply, usize, &str); 26] = [
        (
            Reply::Welcome { folder: "/srv/files_2".into(), journal: journal_state() },
            0,
            "00000029 00000000 000c2f73 72762f66 696c6573 5f3211ac 02ac0244 44444444 44444444 \
             44444444 44444410 03ac0201 02",
        ),
        (Reply::Done, 0, "00000001 00000000 01"),
        (
            Reply::Alive(Alive { room: Some(room), journal: journal_state(), trouble: None }),
            0,
            "00000023 00000000 0201ac02 e8070111 ac02ac02 44444444 44444444 44444444 44444444 \
             1003ac02 010200",
        ),
        (
            Reply::Alive(Alive {
                room: None,
                journal: JournalState { gap: None, ..journal_state() },
                trouble: Some(DiskTrouble::NoInodes),
            }),
            0,
            "0000001e 00000000 020011ac 02ac0244 44444444 44444444 44444444 44444410 03ac0200 \
             0100",
        ),
        (
            Reply::Alive(Alive {
                room: None,
                journal: JournalState { gap: None, ..journal_state() },
                trouble: Some(DiskTrouble::NotWritable("/a".into())),
            }),
            0,
            "00000021 00000000 020011ac 02ac0244 44444444 44444444 44444444 44444410 03ac0200 \
             0101022f 61",
        ),
        (
            Reply::Alive(Alive {
                room: None,
                journal: JournalState { gap: None, ..journal_state() },
                trouble: Some(DiskTrouble::Failing("no".into())),
            }),
            0,
            "00000021 00000000 020011ac 02ac0244 44444444 44444444 44444444 44444410 03ac0200 \
             0102026e 6f",
        ),
        (
            Reply::Alive(Alive {
                room: None,
                journal: JournalState { gap: None, ..journal_state() },
                trouble: Some(DiskTrouble::Full("no".into())),
            }),
            0,
            "00000021 00000000 020011ac 02ac0244 44444444 44444444 44444444 44444410 03ac0200 \
             0103026e 6f",
        ),
        (Reply::Staged, 0, "00000001 00000000 03"),
        (
            Reply::Journal(journal_state()),
            0,
            "0000001c 00000000 0411ac02 ac024444 44444444 44444444 44444444 44441003 ac020102",
        ),
        (Reply::Units { checksums: [1, 0] }, 524_288, "00000003 00080000 050100"),
        (
            Reply::Verified { checksums: vec![[1, 300], [0, 2]] },
            0,
            "00000007 00000000 060201ac 020002",
        ),
        (Reply::PointAt(None), 0, "00000002 00000000 0700"),
        (
            Reply::PointAt(Some(point())),
            0,
            "00000017 00000000 070111ac 02ac0244 44444444 44444444 44444444 444444",
        ),
        (
            Reply::Entries(vec![Entry::after(point(), 301, NOW, vec![7])]),
            0,
            "00000019 00000000 080112ad 02ae0201 07d564e1 76a5036c c1c517c4 90e75e15 35",
        ),
        (Reply::Snapshot(SnapshotReply::Done), 0, "00000002 00000000 0900"),
        (
            Reply::Snapshot(SnapshotReply::Heads(vec![snapshot_head()])),
            0,
            "0000002a 00000000 09010105 22222222 22222222 22222222 22222222 11ac02ac \
             02444444 44444444 44444444 44444444 4405",
        ),
        (Reply::Snapshot(SnapshotReply::Chunk), 5, "00000002 00000005 0902"),
        (
            Reply::Pieces(vec![VERSION]),
            0,
            "00000012 00000000 0a011111 11111111 11111111 11111111 1111",
        ),
        (Reply::ViewChecked(view), 0, "00000007 00000000 0bac0201 020304"),
        (
            Reply::Failed(Failure::NotHeld(VERSION)),
            0,
            "00000012 00000000 0c001111 11111111 11111111 11111111 1111",
        ),
        (Reply::Failed(Failure::Damaged("bad".into())), 0, "00000006 00000000 0c010362 6164"),
        (Reply::Failed(Failure::NoSpace(": 1".into())), 0, "00000006 00000000 0c02033a 2031"),
        (Reply::Failed(Failure::Refused("no".into())), 0, "00000005 00000000 0c03026e 6f"),
        (Reply::Failed(Failure::Fenced { epoch: 300 }), 0, "00000004 00000000 0c04ac02"),
        (Reply::Failed(Failure::Busy("no".into())), 0, "00000005 00000000 0c05026e 6f"),
        (
            Reply::Serves(serves),
            0,
            "0000002d 00000000 0d012222 22222222 22222222 22222222 222202ac 02014444 \
             44444444 44444444 44444444 44440105 042f7372 76",
        ),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 21];
    for (reply, body_bytes, expected) in replies {
        let bytes = node::encode(&reply, body_bytes).unwrap();
        golden.check(&format!("{reply:?}"), &unchecked(&bytes), expected);
        seen[match reply {
            Reply::Welcome { .. } => 0,
            Reply::Done => 1,
            Reply::Alive(_) => 2,
            Reply::Staged => 3,
            Reply::Journal(_) => 4,
            Reply::Units { .. } => 5,
            Reply::Verified { .. } => 6,
            Reply::PointAt(_) => 7,
            Reply::Entries(_) => 8,
            Reply::Snapshot(SnapshotReply::Done) => 9,
            Reply::Snapshot(SnapshotReply::Heads(_)) => 10,
            Reply::Snapshot(SnapshotReply::Chunk) => 11,
            Reply::Pieces(_) => 12,
            Reply::ViewChecked(_) => 13,
            Reply::Failed(Failure::NotHeld(_)) => 14,
            Reply::Failed(Failure::Damaged(_)) => 15,
            Reply::Failed(Failure::NoSpace(_)) => 16,
            Reply::Failed(Failure::Refused(_)) => 17,
            Reply::Failed(Failure::Fenced { .. }) => 18,
            Reply::Serves(_) => 19,
            Reply::Failed(Failure::Busy(_)) => 20,
        }] = true;
    }
    assert_eq!(seen, [true; 21]);
}

// ---- the journal and the snapshots ----

#[test]
fn every_change_of_the_journal() {
    let key = Moment(150);
    let changes: [(Change, &str); 49] = [
        (Change::Led { server: CLAIM.server }, "00444444 44444444 44444444 44444444 44"),
        (
            Change::UserMade { user: user(), password: "$argon2id$".into(), created_ms: -1 },
            "01046465 6d6f0a24 6172676f 6e326964 2401",
        ),
        (
            Change::PasswordSet { user: user(), password: "$argon2id$".into(), keep: Some(DIGEST) },
            "02046465 6d6f0a24 6172676f 6e326964 24013333 33333333 33333333 33333333 \
             33333333 33333333 33333333 33333333 3333",
        ),
        (Change::UserDisabled { user: user(), disabled: true }, "03046465 6d6f01"),
        (Change::QuotaSet { user: user(), bytes: Some(300) }, "04046465 6d6f01d8 04"),
        (Change::UserRemoved { user: user() }, "05046465 6d6f"),
        (
            Change::TokenMade {
                user: user(),
                hash: DIGEST,
                machine: "laptop".into(),
                created_ms: -1,
            },
            "06046465 6d6f3333 33333333 33333333 33333333 33333333 33333333 33333333 \
             33333333 3333066c 6170746f 7001",
        ),
        (
            Change::TokenUsed { hash: DIGEST, used_ms: -1 },
            "07333333 33333333 33333333 33333333 33333333 33333333 33333333 33333333 \
             3301",
        ),
        (
            Change::TokenRevoked { hash: DIGEST },
            "08333333 33333333 33333333 33333333 33333333 33333333 33333333 33333333 \
             33",
        ),
        (Change::FolderMade { user: user(), folder: up() }, "09046465 6d6f0275 70"),
        (Change::FolderRemoved { user: user(), folder: up() }, "0a046465 6d6f0275 70"),
        (
            stored(true),
            "0b046465 6d6f0875 702f612e 74787411 11111111 11111111 11111111 111111ac \
             02e10233 33333333 33333333 33333333 33333333 33333333 33333333 33333333 \
             33333301 0b010464 656d6f01 010101",
        ),
        (Change::Deleted { place: place() }, "0c046465 6d6f0875 702f612e 747874"),
        (
            Change::Moved { user: user(), from: path(), to: FilePath::parse_rooted("b").unwrap() },
            "0d046465 6d6f0875 702f612e 74787401 62",
        ),
        (Change::Dropped { versions: vec![VERSION] }, "0e011111 11111111 11111111 11111111 1111"),
        (
            Change::Placed { node: NodeId::ALL[2], versions: vec![VERSION] },
            "0f030111 11111111 11111111 11111111 111111",
        ),
        (
            Change::Lost { node: NodeId::ALL[2], counted: true, versions: vec![VERSION] },
            "10030101 11111111 11111111 11111111 11111111",
        ),
        (
            Change::Nodes { addresses: ["a:1", "b:2", "c:3", "d:4"].map(str::to_owned) },
            "1103613a 3103623a 3203633a 3303643a 34",
        ),
        (
            Change::ReplacementBegun {
                node: NodeId::ALL[1],
                address: "a:1".into(),
                started_ms: -1,
            },
            "12020361 3a3101",
        ),
        (Change::ReplacementProved { node: NodeId::ALL[1], proved_ms: -1 }, "130201"),
        (Change::Uncertain { versions: vec![VERSION] }, "14011111 11111111 11111111 11111111 1111"),
        (Change::Confirmed { version: VERSION }, "15111111 11111111 11111111 11111111 11"),
        (
            Change::Reverted { place: place(), version: VERSION, to: Some(VersionId([0x55; 16])) },
            "16046465 6d6f0875 702f612e 74787411 11111111 11111111 11111111 11111101 \
             55555555 55555555 55555555 55555555",
        ),
        (
            Change::Named { place: place(), version: VERSION },
            "17046465 6d6f0875 702f612e 74787411 11111111 11111111 11111111 111111",
        ),
        (Change::FolderBegun { user: user() }, "18046465 6d6f"),
        (
            Change::FolderFilled {
                user: user(),
                key,
                folders: vec![FilePath::parse_rooted("b").unwrap()],
                files: vec![(path(), VERSION)],
            },
            "19046465 6d6fac02 01016201 0875702f 612e7478 74111111 11111111 11111111 \
             11111111 11",
        ),
        (Change::FolderAttached { user: user(), key, to: up() }, "1a046465 6d6fac02 027570"),
        (Change::FoldersForgotten { keys: vec![key] }, "1b01ac02"),
        (Change::Expired { user: user(), upto: key }, "1c046465 6d6fac02"),
        (
            Change::SnapshotMade {
                name: SnapshotName::parse("monday").unwrap(),
                until_ms: Some(-1),
            },
            "1d066d6f 6e646179 0101",
        ),
        (Change::SnapshotRemoved { of: key }, "1eac02"),
        (Change::SnapshotReleased { of: key, upto: Moment(-1) }, "1fac0201"),
        (
            Change::HistoryForgotten { user: user(), path: path() },
            "20046465 6d6f0875 702f612e 747874",
        ),
        (
            Change::Kept(kept(true)),
            "21046465 6d6f1111 11111111 11111111 11111111 1111ac02 e1023333 33333333 \
             33333333 33333333 33333333 33333333 33333333 33333333 3333010b 0464656d \
             6f010101 0101",
        ),
        (
            Change::Replaced { version: VERSION, predecessor: VersionId([0x55; 16]) },
            "22111111 11111111 11111111 11111111 11555555 55555555 55555555 55555555 \
             55",
        ),
        (
            Change::Past {
                user: user(),
                folder: FolderAt { key: None, path: up() },
                name: "a.txt".into(),
                was: PastItem::File(VERSION),
                made: Moment(1),
                gone: key,
                held: Some(Moment(2)),
            },
            "23046465 6d6f0002 75700561 2e747874 00111111 11111111 11111111 11111111 \
             1102ac02 0104",
        ),
        (
            Change::Past {
                user: user(),
                folder: FolderAt { key: Some(key), path: FolderPath::top() },
                name: "b".into(),
                was: PastItem::Folder(FolderAt { key: None, path: up() }),
                made: Moment(1),
                gone: Moment::MAX,
                held: None,
            },
            "23046465 6d6f01ac 02000162 01000275 7002feff ffffffff ffffff01 00",
        ),
        (
            Change::Past {
                user: user(),
                folder: FolderAt { key: None, path: FolderPath::top() },
                name: String::new(),
                was: PastItem::Folder(FolderAt { key: Some(key), path: FolderPath::top() }),
                made: Moment(1),
                gone: key,
                held: None,
            },
            "23046465 6d6f0000 000101ac 020002ac 0200",
        ),
        (
            Change::UploadBegun(UploadBegun {
                upload: VERSION,
                place: place(),
                bytes: Some(300),
                begun_ms: -1,
                attributes: FileAttributes { modified_ms: Some(-1), kind: None },
            }),
            "24111111 11111111 11111111 11111111 11046465 6d6f0875 702f612e 74787401 \
             ac020101 0100",
        ),
        (
            Change::ExtentStored {
                upload: VERSION,
                position: 300,
                kept: kept(false),
                tree: tree(),
            },
            "25111111 11111111 11111111 11111111 11ac0204 64656d6f 11111111 11111111 \
             11111111 11111111 ac02e102 33333333 33333333 33333333 33333333 33333333 \
             33333333 33333333 33333333 010b0464 656d6f01 01010100 ac020106 66666666 \
             66666666 66666666 66666666 66666666 66666666 66666666 66666666",
        ),
        (
            Change::ExtentShared {
                upload: VERSION,
                position: 300,
                of: VersionId([0x55; 16]),
                start: 7,
                bytes: 8,
            },
            "26111111 11111111 11111111 11111111 11ac0255 55555555 55555555 55555555 \
             55555507 08",
        ),
        (
            Change::ExtentsRemoved { upload: VERSION, from: 7, to: 300 },
            "27111111 11111111 11111111 11111111 1107ac02",
        ),
        (
            Change::UploadCompleted { upload: VERSION, kept: kept(true), place: place() },
            "28111111 11111111 11111111 11111111 11046465 6d6f1111 11111111 11111111 \
             11111111 1111ac02 e1023333 33333333 33333333 33333333 33333333 33333333 \
             33333333 33333333 3333010b 0464656d 6f010101 01010464 656d6f08 75702f61 \
             2e747874",
        ),
        (
            Change::UploadsDropped { uploads: vec![VERSION] },
            "29011111 11111111 11111111 11111111 1111",
        ),
        (
            Change::Extents {
                of: VERSION,
                extents: vec![PlacedExtent {
                    position: 300,
                    extent: ContentExtent { version: VersionId([0x55; 16]), start: 7, bytes: 8 },
                    tree: TreePart::default(),
                }],
            },
            "2a111111 11111111 11111111 11111111 1101ac02 55555555 55555555 55555555 \
             55555555 07080000",
        ),
        (
            Change::AttributesSet {
                version: VERSION,
                attributes: FileAttributes { modified_ms: Some(-1), kind: Some(FileKind::Link) },
            },
            "2b111111 11111111 11111111 11111111 11010101 02",
        ),
        (
            Change::KeyMade {
                user: user(),
                key: KEY,
                hash: DIGEST,
                name: "phone".into(),
                read_only: true,
                folder: up(),
                created_ms: -1,
            },
            "2c046465 6d6f5555 55555555 55555555 33333333 33333333 33333333 33333333 \
             33333333 33333333 33333333 33333333 0570686f 6e650102 757001",
        ),
        (
            Change::PropertiesSet {
                user: user(),
                of: FolderAt { key: None, path: up() },
                properties: vec![
                    Property { name: "{a}b".into(), value: Some("<c/>".into()) },
                    Property { name: "{}d".into(), value: None },
                ],
            },
            "2d046465 6d6f0002 75700204 7b617d62 01043c63 2f3e037b 7d6400",
        ),
        (Change::AdminSet { user: user(), admin: true }, "2e046465 6d6f01"),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 47];
    for (change, expected) in changes {
        golden.check(&format!("{change:?}"), &change.encode().unwrap(), expected);
        seen[match change {
            Change::Led { .. } => 0,
            Change::UserMade { .. } => 1,
            Change::PasswordSet { .. } => 2,
            Change::UserDisabled { .. } => 3,
            Change::QuotaSet { .. } => 4,
            Change::UserRemoved { .. } => 5,
            Change::TokenMade { .. } => 6,
            Change::TokenUsed { .. } => 7,
            Change::TokenRevoked { .. } => 8,
            Change::FolderMade { .. } => 9,
            Change::FolderRemoved { .. } => 10,
            Change::Stored { .. } => 11,
            Change::Deleted { .. } => 12,
            Change::Moved { .. } => 13,
            Change::Dropped { .. } => 14,
            Change::Placed { .. } => 15,
            Change::Lost { .. } => 16,
            Change::Nodes { .. } => 17,
            Change::ReplacementBegun { .. } => 18,
            Change::ReplacementProved { .. } => 19,
            Change::Uncertain { .. } => 20,
            Change::Confirmed { .. } => 21,
            Change::Reverted { .. } => 22,
            Change::Named { .. } => 23,
            Change::FolderBegun { .. } => 24,
            Change::FolderFilled { .. } => 25,
            Change::FolderAttached { .. } => 26,
            Change::FoldersForgotten { .. } => 27,
            Change::Expired { .. } => 28,
            Change::SnapshotMade { .. } => 29,
            Change::SnapshotRemoved { .. } => 30,
            Change::SnapshotReleased { .. } => 31,
            Change::HistoryForgotten { .. } => 32,
            Change::Kept(_) => 33,
            Change::Replaced { .. } => 34,
            Change::Past { .. } => 35,
            Change::UploadBegun(_) => 36,
            Change::ExtentStored { .. } => 37,
            Change::ExtentShared { .. } => 38,
            Change::ExtentsRemoved { .. } => 39,
            Change::UploadCompleted { .. } => 40,
            Change::UploadsDropped { .. } => 41,
            Change::Extents { .. } => 42,
            Change::AttributesSet { .. } => 43,
            Change::KeyMade { .. } => 44,
            Change::PropertiesSet { .. } => 45,
            Change::AdminSet { .. } => 46,
        }] = true;
    }
    assert_eq!(seen, [true; 47]);
    let start = Point::start(CLUSTER);
    golden.check("the chain before all", &start.chain.0, "1d02b67f 89bdb248 a744924a e7a6da11");
    golden.check(
        "the chain after a record",
        &start.chain.next(300, Moment(NOW), &[7]).0,
        "a26e53e1 b40cfdee b7524885 6a7f285e",
    );
}

#[test]
fn the_files_of_a_journal_and_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlockStore::open(Arc::new(RealDisk), folder.path(), NodeId::ALL[1]).unwrap();
    store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
    let start = Point::start(CLUSTER);
    let led = Entry::after(start, 300, NOW, Change::Led { server: CLAIM.server }.encode().unwrap());
    let made = Change::UserMade { user: user(), password: "x".into(), created_ms: -1 };
    let made = Entry::after(led.point(), 300, NOW, made.encode().unwrap());
    let small = Change::Stored {
        place: place(),
        version: VERSION,
        seq: Seq(300),
        bytes: 11,
        blake3: DIGEST,
        stored_ms: -1,
        placed: NodeSet::ALL,
        inline: true,
        by: String::new(),
        attributes: Default::default(),
    };
    let small = Entry::after(made.point(), 300, NOW, small.encode().unwrap());
    let coded = CodedStripe::of_file(b"hello, palk");
    let (units, checksums) = coded.for_node(store.id());
    let pieces = vec![InlinePiece { entry: 2, unit_bytes: 3, checksums }];
    let append =
        Append { prev: start, decided: 0, entries: vec![led, made, small.clone()], pieces };
    store.append(&append, units).unwrap();
    let mut golden = Golden::default();
    let read = |name: &str| std::fs::read(folder.path().join("backup").join(name)).unwrap();
    golden.check(
        "a segment of the journal",
        &read("journal-0-0"),
        "24000000 77644b30 5b784b4e 05222222 22222222 22222222 22222222 22000000 \
         1d02b67f 89bdb248 a744924a e7a6da11 28000000 00418c61 26ef0abd 01ac02ac \
         02110044 44444444 44444444 44444444 4444449b d1cb9d62 193c54d9 5c9531ff \
         98516700 20000000 dff3315b 8486f9e1 02ac02ae 02090104 64656d6f 01780147 \
         a38d85ac 7f71f405 223ef64c d1c89900 66000000 527698c9 89ab2db1 03ac02b0 \
         02480b04 64656d6f 0875702f 612e7478 74111111 11111111 11111111 11111111 \
         11ac020b 33333333 33333333 33333333 33333333 33333333 33333333 33333333 \
         33333333 010f0100 0000bf8a ad67392d fcb7339c 07ca3029 d0190106 2070616c \
         6b01",
    );

    let ask = |request: SnapshotRequest, body: &[u8]| {
        store.snapshot(Some(CLUSTER), &request, body, &mut Vec::new()).unwrap()
    };
    let chunk = postcard::to_stdvec(&vec![Told {
        at: Moment(NOW),
        change: Change::UserRemoved { user: user() },
    }])
    .unwrap();
    ask(
        SnapshotRequest::Begin(SnapshotHead { at: small.point(), chunks: 1, ..snapshot_head() }),
        &[],
    );
    ask(SnapshotRequest::Chunk { index: 0, checksum: checksum::unit(&chunk) }, &chunk);
    ask(SnapshotRequest::End, &[]);
    golden.check(
        "a snapshot",
        &read("snapshot-300-3"),
        "27000000 e274c39d a1fcc672 05222222 22222222 22222222 22222222 2203ac02 \
         b002bf8a ad67392d fcb7339c 07ca3029 d0190109 000000f5 1daa973b a8a45e01 \
         ac020504 64656d6f",
    );
    assert_eq!((snapshot::FORMAT, snapshot::CHUNK_BYTES), (5, 262_144));
}

// ---- the extended session ----

#[test]
fn chunks() {
    let mut golden = Golden::default();
    golden.check("a piece", &chunk::data_head(&[b"hello, ", b"palk"]), "0000000b 3371b89b7fd69feb");
    golden.check(
        "the end",
        &chunk::end(&DIGEST),
        "00000000 646a629314ed1866 33333333 33333333 33333333 33333333 \
         33333333 33333333 33333333 33333333",
    );
    golden.check("given up", &chunk::given_up(), "ffffffff 0000000000000000");
    golden.check("taken", &[chunk::ACKNOWLEDGED], "2b");
    assert_eq!((chunk::CHUNK_BYTES, chunk::CHUNKS_AHEAD_MAX), (1_048_576, 8));
}

#[test]
fn every_request_of_the_extended_session() {
    use extended::Request;
    let credentials = || ("demo".to_owned(), "correct horse".to_owned());
    let ((user, password), (new_user, new_password)) = (credentials(), credentials());
    let top = FolderPath::top;
    let up = || FolderPath::parse("up").unwrap();
    let requests: [(Request, &str); 48] = [
        (Request::SignIn { user, password }, "LGN\r\ndemo\r\ncorrect horse\r\n\r\n"),
        (
            Request::SignUp { user: new_user, password: new_password },
            "NEW\r\ndemo\r\ncorrect horse\r\n\r\n",
        ),
        (
            Request::Store {
                path: path(),
                bytes: 353,
                precondition: Precondition::Any,
                attributes: Default::default(),
                keep: None,
            },
            "STR\r\n/up/a.txt\r\n353\r\n\r\n",
        ),
        (
            Request::Store {
                path: path(),
                bytes: 353,
                precondition: Precondition::Absent,
                attributes: Default::default(),
                keep: None,
            },
            "STR\r\n/up/a.txt\r\n353\r\nreplace=no\r\n\r\n",
        ),
        (
            Request::Store {
                path: path(),
                bytes: 353,
                precondition: Precondition::Present,
                attributes: Default::default(),
                keep: None,
            },
            "STR\r\n/up/a.txt\r\n353\r\nif=present\r\n\r\n",
        ),
        (
            Request::Store {
                path: path(),
                bytes: 353,
                precondition: Precondition::Unchanged(VERSION),
                attributes: FileAttributes {
                    modified_ms: Some(-1),
                    kind: Some(FileKind::Executable),
                },
                keep: Some(VersionId([0x55; 16])),
            },
            &format!(
                "STR\r\n/up/a.txt\r\n353\r\nif-version={}\r\nmodified_ms=-1\r\nexecutable=yes\r\n\
                 keep={}\r\n\r\n",
                "11".repeat(16),
                "55".repeat(16)
            ),
        ),
        (
            Request::Retrieve { path: path(), which: Which::Current, range: None },
            "RTV\r\n/up/a.txt\r\n\r\n",
        ),
        (
            Request::Retrieve {
                path: path(),
                which: Which::Current,
                range: Some("3-5".parse().unwrap()),
            },
            "RTV\r\n/up/a.txt\r\nrange=3-5\r\n\r\n",
        ),
        (
            Request::Retrieve { path: path(), which: Which::At(When::At(Moment(7))), range: None },
            "RTV\r\n/up/a.txt\r\nat=7\r\n\r\n",
        ),
        (
            Request::Retrieve {
                path: path(),
                which: Which::version("0123abcd").unwrap(),
                range: None,
            },
            "RTV\r\n/up/a.txt\r\nversion=0123abcd\r\n\r\n",
        ),
        (
            Request::List {
                path: up(),
                extent: Extent::All,
                at: Some(When::parse("daily").unwrap()),
                attributes: false,
            },
            "INF\r\n/up\r\nat=daily\r\n\r\n",
        ),
        (Request::History(HistoryRequest::Versions { path: path() }), "VER\r\n/up/a.txt\r\n\r\n"),
        (Request::History(HistoryRequest::Deleted { folder: up() }), "GON\r\n/up\r\n\r\n"),
        (Request::History(HistoryRequest::Undo { path: path() }), "UND\r\n/up/a.txt\r\n\r\n"),
        (
            Request::History(HistoryRequest::Revert {
                path: up(),
                when: When::At(Moment(7)),
                dry_run: true,
            }),
            "RVT\r\n/up\r\nat=7\r\ndry-run=yes\r\n\r\n",
        ),
        (Request::History(HistoryRequest::Forget { path: path() }), "FGT\r\n/up/a.txt\r\n\r\n"),
        (Request::History(HistoryRequest::Usage), "USE\r\n\r\n"),
        (Request::Delete { path: path() }, "DEL\r\n/up/a.txt\r\n\r\n"),
        (
            Request::SetAttributes {
                path: path(),
                version: VERSION,
                attributes: FileAttributes { modified_ms: Some(-1), kind: None },
            },
            "ATR\r\n/up/a.txt\r\n11111111111111111111111111111111\r\nmodified_ms=-1\r\n\r\n",
        ),
        (
            Request::List { path: top(), extent: Extent::All, at: None, attributes: false },
            "INF\r\n\r\n",
        ),
        (
            Request::List { path: up(), extent: Extent::All, at: None, attributes: false },
            "INF\r\n/up\r\n\r\n",
        ),
        (
            Request::List { path: top(), extent: Extent::Children, at: None, attributes: false },
            "INF\r\n/\r\nscope=children\r\n\r\n",
        ),
        (
            Request::List { path: up(), extent: Extent::Itself, at: None, attributes: false },
            "INF\r\n/up\r\nscope=self\r\n\r\n",
        ),
        (
            Request::List { path: top(), extent: Extent::All, at: None, attributes: true },
            "INF\r\n/\r\nattributes=yes\r\n\r\n",
        ),
        (Request::MakeFolder { folder: up(), parents: false }, "MKD\r\n/up\r\n\r\n"),
        (Request::MakeFolder { folder: up(), parents: true }, "MKD\r\n/up\r\nparents=yes\r\n\r\n"),
        (Request::RemoveFolder { folder: up(), recursive: false }, "RMD\r\n/up\r\n\r\n"),
        (
            Request::RemoveFolder { folder: up(), recursive: true },
            "RMD\r\n/up\r\nrecursive=yes\r\n\r\n",
        ),
        (
            Request::Move { from: path(), to: top(), replace: false },
            "MOV\r\n/up/a.txt\r\n/\r\n\r\n",
        ),
        (
            Request::Move { from: path(), to: up(), replace: true },
            "MOV\r\n/up/a.txt\r\n/up\r\nreplace=yes\r\n\r\n",
        ),
        (
            Request::Copy { from: path(), to: top(), recursive: false, replace: false },
            "CPY\r\n/up/a.txt\r\n/\r\n\r\n",
        ),
        (
            Request::Copy { from: path(), to: up(), recursive: true, replace: true },
            "CPY\r\n/up/a.txt\r\n/up\r\nrecursive=yes\r\nreplace=yes\r\n\r\n",
        ),
        (Request::SignOut, "LGO\r\n\r\n"),
        (Request::Status, "STA\r\n\r\n"),
        (
            Request::TokenSignIn { user: "demo".into(), token: Token([0x44; 32]) },
            &format!("TOK\r\ndemo\r\n{}\r\n\r\n", "44".repeat(32)),
        ),
        (Request::IssueToken { machine: "laptop".into() }, "ISS\r\nlaptop\r\n\r\n"),
        (Request::RevokeToken, "REV\r\n\r\n"),
        (
            Request::ChangePassword { old: "old one".into(), new: "new one".into() },
            "PWD\r\nold one\r\nnew one\r\n\r\n",
        ),
        (
            Request::Send { upload: VERSION, offset: 1 << 20, bytes: 5 },
            &format!("SND\r\n{}\r\n1048576\r\n5\r\n\r\n", "11".repeat(16)),
        ),
        (
            Request::Upload(UploadRequest::Begin {
                path: path(),
                bytes: Some(353),
                precondition: Precondition::Absent,
                attributes: FileAttributes { modified_ms: Some(-1), kind: None },
            }),
            "BEG\r\n/up/a.txt\r\nbytes=353\r\nreplace=no\r\nmodified_ms=-1\r\n\r\n",
        ),
        (
            Request::Upload(UploadRequest::Ask { upload: VERSION }),
            &format!("HOW\r\n{}\r\n\r\n", "11".repeat(16)),
        ),
        (
            Request::Upload(UploadRequest::Complete {
                upload: VERSION,
                blake3: DIGEST,
                precondition: Precondition::Any,
            }),
            &format!("CMP\r\n{}\r\n{}\r\n\r\n", "11".repeat(16), "33".repeat(32)),
        ),
        (
            Request::Upload(UploadRequest::Drop { upload: VERSION }),
            &format!("DRP\r\n{}\r\n\r\n", "11".repeat(16)),
        ),
        (Request::Upload(UploadRequest::List { path: None }), "UPL\r\n\r\n"),
        (Request::Upload(UploadRequest::List { path: Some(path()) }), "UPL\r\n/up/a.txt\r\n\r\n"),
        (
            Request::Keys(KeyRequest::Make { name: "phone".into(), rights: rights() }),
            "KEY\r\nname=phone\r\nread-only=yes\r\nfolder=/up\r\n\r\n",
        ),
        (Request::Keys(KeyRequest::List), "KYS\r\n\r\n"),
        (
            Request::Keys(KeyRequest::Delete { key: KEY }),
            &format!("KYD\r\n{}\r\n\r\n", "55".repeat(10)),
        ),
    ];
    let mut seen = [false; 32];
    for (request, expected) in requests {
        assert_eq!(String::from_utf8(request.encode()).unwrap(), expected);
        seen[match request {
            Request::SignIn { .. } => 0,
            Request::SignUp { .. } => 1,
            Request::Store { .. } => 2,
            Request::Retrieve { .. } => 3,
            Request::Delete { .. } => 4,
            Request::List { .. } => 5,
            Request::SignOut => 6,
            Request::Status => 7,
            Request::TokenSignIn { .. } => 8,
            Request::IssueToken { .. } => 9,
            Request::RevokeToken => 10,
            Request::ChangePassword { .. } => 11,
            Request::MakeFolder { .. } => 12,
            Request::RemoveFolder { .. } => 13,
            Request::Move { .. } => 14,
            Request::History(HistoryRequest::Versions { .. }) => 15,
            Request::History(HistoryRequest::Deleted { .. }) => 16,
            Request::History(HistoryRequest::Undo { .. }) => 17,
            Request::History(HistoryRequest::Revert { .. }) => 18,
            Request::History(HistoryRequest::Forget { .. }) => 19,
            Request::History(HistoryRequest::Usage) => 20,
            Request::Copy { .. } => 21,
            Request::Send { .. } => 22,
            Request::Upload(UploadRequest::Begin { .. }) => 23,
            Request::Upload(UploadRequest::Ask { .. }) => 24,
            Request::Upload(UploadRequest::Complete { .. }) => 25,
            Request::Upload(UploadRequest::Drop { .. }) => 26,
            Request::Upload(UploadRequest::List { .. }) => 27,
            Request::SetAttributes { .. } => 28,
            Request::Keys(KeyRequest::Make { .. }) => 29,
            Request::Keys(KeyRequest::List) => 30,
            Request::Keys(KeyRequest::Delete { .. }) => 31,
        }] = true;
    }
    assert_eq!(seen, [true; 32]);
    assert_eq!(extended::hello_line(), "palk 1");
}

#[test]
fn what_has_come_of_a_removal_and_a_move() {
    let removed = Removed { folders: 3, files: 412 };
    assert_eq!(removed.to_fields(), ["folders=3", "files=412"]);
    let moved = Moved { to: path(), is_folder: false, files: 1, replaced: true };
    assert_eq!(moved.to_fields(), ["to=/up/a.txt", "folder=false", "files=1", "replaced=true"]);
}

#[test]
fn every_reply_of_the_extended_session() {
    use extended::Reply;
    let error = Reply::Error { text: "there is no file a".into(), code: Code::NoSuchFile };
    let replies: [(Reply, &str); 4] = [
        (Reply::Success(vec![]), "S\r\n\r\n"),
        (Reply::Success(vec!["user=demo".into()]), "S\r\nuser=demo\r\n\r\n"),
        (error, "E\r\nthere is no file a\r\nno-such-file\r\n\r\n"),
        (Reply::Disconnect("bye".into()), "D\r\nbye\r\n\r\n"),
    ];
    for (reply, expected) in replies {
        assert_eq!(String::from_utf8(reply.encode()).unwrap(), expected);
    }
}

#[test]
fn the_lines_of_a_listing() {
    let folder = Listed::Folder(FolderPath::parse("up").unwrap());
    assert_eq!(folder.encode(true), "D\t/up");
    let file = FileEntry {
        path: path(),
        bytes: 353,
        stored_ms: 1_700_000_000_000,
        version: VERSION,
        blake3: DIGEST,
        placed: NodeSet::from_bits(0b1011),
        attributes: FileAttributes {
            modified_ms: Some(1_600_000_000_000),
            kind: Some(FileKind::Link),
        },
    };
    let (version, digest) = ("11".repeat(16), "33".repeat(32));
    let line = format!("F\t/up/a.txt\t353\t1700000000000\t{version}\t{digest}\t11");
    assert_eq!(Listed::File(file.clone()).encode(false), line);
    assert_eq!(
        Listed::File(file.clone()).encode(true),
        format!("{line}\tmodified_ms=1600000000000\tlink=yes")
    );
    let unknown = Listed::File(FileEntry { attributes: Default::default(), ..file });
    assert_eq!(unknown.encode(true), line);
    assert_eq!(Listed::decode(&line).unwrap(), unknown);
    for wrong in ["", "soon", "1\t2"] {
        assert!(Listed::decode(&format!("{line}\t{wrong}")).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_words_and_exit_statuses_of_errors() {
    let all = Code::ALL.map(|code| format!("{} {}", code.as_str(), code.exit_status()));
    let expected = "unexpected 1, usage 2, some-failed 3, no-such-file 4, no-such-folder 4, \
                    sign-in 5, no-such-user 5, user-exists 9, unreachable 6, too-few-nodes 6, \
                    damaged 7, no-space 8, too-big 8, exists 9, busy 9, changed 9, not-allowed 9, \
                    bad-path 2, temporary 10, version 11, server-identity 12, local-file 13, \
                    interrupted 130, over-quota 8, disabled 5, in-doubt 14";
    assert_eq!(all.join(", "), expected);
}

// ---- the admin socket ----

/// The object, its keys sorted, as the text of one line.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_lines_of_the_admin_socket() {
    assert_eq!(text(Verb::Status.encode().unwrap()), "{\"v\":1,\"verb\":\"status\"}\n");
    let name = || "demo".to_owned();
    let users = [
        (UserAsk::List, "{\"action\":\"list\",\"v\":1,\"verb\":\"user\"}\n"),
        (
            UserAsk::Add { name: name(), password: Secret("pw".into()) },
            "{\"action\":\"add\",\"name\":\"demo\",\"password\":\"pw\",\"v\":1,\"verb\":\"user\"}\n",
        ),
        (
            UserAsk::Quota { name: name(), quota: Allowance::Bytes(300) },
            "{\"action\":\"quota\",\"name\":\"demo\",\"quota\":{\"bytes\":300},\"v\":1,\
             \"verb\":\"user\"}\n",
        ),
    ];
    for (ask, expected) in users {
        assert_eq!(text(Verb::User(ask).encode().unwrap()), expected);
    }
    let node = NodeId::ALL[1];
    for (verb, expected) in [
        (
            Verb::Scrub { witness: true, grace_ms: Some(7), detach: false },
            r#"{"detach":false,"grace_ms":7,"v":1,"verb":"scrub","witness":true}"#,
        ),
        (Verb::ScrubStop, r#"{"v":1,"verb":"scrub-stop"}"#),
        (Verb::Heal, r#"{"v":1,"verb":"heal"}"#),
        (
            Verb::Replace { node, to: "a:1".into(), force: false },
            r#"{"force":false,"node":2,"to":"a:1","v":1,"verb":"replace"}"#,
        ),
        (Verb::Backup, r#"{"v":1,"verb":"backup"}"#),
    ] {
        assert_eq!(text(verb.encode().unwrap()).trim_end(), expected);
    }
    let fields = Fields::from_iter([("files".to_owned(), 3.into())]);
    let lines = [
        (Line::Progress(fields.clone()), "{\"files\":3,\"type\":\"progress\",\"v\":1}\n"),
        (Line::Item(fields.clone()), "{\"files\":3,\"type\":\"item\",\"v\":1}\n"),
        (
            Line::Result(admin::Answer { code: 20, fields }),
            "{\"code\":20,\"files\":3,\"type\":\"result\",\"v\":1}\n",
        ),
        (
            Line::Error { code: Code::NoSpace, text: "no".into() },
            "{\"code\":8,\"error\":\"no-space\",\"message\":\"no\",\"type\":\"error\",\"v\":1}\n",
        ),
    ];
    for (line, expected) in lines {
        assert_eq!(text(line.encode().unwrap()), expected);
    }
    assert_eq!(ADMIN_SOCKET, "admin.sock");
}

#[test]
fn what_a_status_says() {
    let node = NodeId::ALL[1];
    let owed = Debt { pieces: 2, piece_bytes: 3 };
    let status = Status {
        state: Health::Degraded,
        can_store: true,
        nodes_to_spare: 1,
        files: Stored { count: 4, bytes: 5, unreadable: 6 },
        owed,
        troubles: vec![
            Trouble::Unreadable { files: 6 },
            Trouble::NodeAway { node, silent_ms: Some(7), why: "no".into() },
            Trouble::CatalogInDoubt,
            Trouble::ServerFull,
            Trouble::PiecesOwed { nodes: vec![node], pieces: 2, bytes: 3, why: None },
            Trouble::NodeDisk { node, cause: DiskTrouble::NoInodes },
            Trouble::NodeDisk { node, cause: DiskTrouble::NotWritable("no".into()) },
            Trouble::ChangeInDoubt,
            Trouble::NotLeading,
            Trouble::NodeCatchingUp { node },
            Trouble::JournalBehind { node, why: "no".into() },
            Trouble::NodeFull { node, spare_bytes: 8 },
        ],
        nodes: vec![NodeStatus {
            node,
            state: palk::core::health::State::Down,
            address: "a:1".into(),
            silent_ms: None,
            room: Some(Room { free_bytes: 9, total_bytes: 10, spare_bytes: 8 }),
            errors: 11,
            owed,
            trusted: true,
        }],
        unreadable: vec!["/demo/a".into()],
        upkeep: None,
        transfers: Some(Transfers {
            stores: Flow { running: 1, bytes: 13 },
            retrievals: Flow::default(),
            running: vec![RunningTransfer {
                id: 14,
                direction: Direction::Store,
                name: "/demo/a".into(),
                bytes: 13,
                total_bytes: 15,
                age_ms: 16,
            }],
        }),
        version: Some("1.2.3".into()),
        now_ms: Some(12),
    };
    let line = wire::admin::one_line(&status).unwrap();
    let owed = r#""owed":{"piece_bytes":3,"pieces":2}"#;
    let expected = [
        r#"{"can_store":true,"files":{"bytes":5,"count":4,"unreadable":6},"#,
        r#""nodes":[{"address":"a:1","errors":11,"node":2,"#,
        owed,
        r#","room":{"free_bytes":9,"spare_bytes":8,"total_bytes":10},"silent_ms":null,"#,
        r#""state":"down","trusted":true}],"nodes_to_spare":1,"now_ms":12,"#,
        owed,
        r#","state":"degraded","transfers":{"retrievals":{"bytes":0,"running":0},"running":["#,
        r#"{"age_ms":16,"bytes":13,"direction":"store","id":14,"name":"/demo/a","total_bytes":15}],"#,
        r#""stores":{"bytes":13,"running":1}},"troubles":[{"files":6,"kind":"unreadable"},"#,
        r#"{"kind":"node-away","node":2,"silent_ms":7,"why":"no"},{"kind":"catalog-in-doubt"},"#,
        r#"{"kind":"server-full"},"#,
        r#"{"bytes":3,"kind":"pieces-owed","nodes":[2],"pieces":2},"#,
        r#"{"cause":"no-inodes","kind":"node-disk","node":2},"#,
        r#"{"cause":{"not-writable":"no"},"kind":"node-disk","node":2},"#,
        r#"{"kind":"change-in-doubt"},{"kind":"not-leading"},"#,
        r#"{"kind":"node-catching-up","node":2},{"kind":"journal-behind","node":2,"why":"no"},"#,
        r#"{"kind":"node-full","node":2,"spare_bytes":8}],"unreadable":["/demo/a"],"v":1,"version":"1.2.3"}"#,
    ];
    assert_eq!(line, expected.concat());
    let read = |line: &str| {
        wire::admin::object(line.as_bytes()).and_then(wire::admin::parse::<Status>).unwrap()
    };
    assert_eq!(read(&line), status);
    // A newer server may know more: other fields, and other kinds of troubles.
    let newer = line
        .replace(r#""can_store""#, r#""mood":"good","can_store""#)
        .replace(r#""kind":"node-full""#, r#""kind":"node-hot""#);
    assert_eq!(read(&newer).troubles.last(), Some(&Trouble::Unknown));
}

// ---- the catalog ----

#[test]
fn the_tables_of_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("palk.db");
    let catalog = Arc::new(Catalog::open(&file, CLUSTER).unwrap());
    assert!(catalog.last_claim().unwrap().is_none());
    catalog.remember_claim(CLAIM).unwrap();
    assert_eq!(catalog.last_claim().unwrap(), Some(CLAIM));
    let mut group = catalog.begin_group(CLAIM.epoch).unwrap();
    let made = group.attempt(|draft| {
        draft.lead(CLAIM.server)?;
        let addresses = ["a:1", "b:2", "c:3", "d:4"].map(str::to_owned);
        draft.record(Change::Nodes { addresses })?;
        draft.create_user(&user(), "$argon2id$", 0)
    });
    let new = NewFile {
        user: made.unwrap(),
        path: path(),
        version: VERSION,
        seq: Seq(300),
        bytes: 353,
        blake3: DIGEST,
        stored_ms: 0,
        placed: NodeSet::ALL,
        inline: false,
        precondition: Precondition::Any,
        stored_by: String::new(),
        attributes: Default::default(),
    };
    group.attempt(|draft| draft.store(&new, None)).unwrap();
    group.attempt(|draft| draft.pieces_lost(NodeId::ALL[2], &[VERSION], true)).unwrap();
    group.commit().unwrap();
    drop(catalog);

    let database = rusqlite::Connection::open(&file).unwrap();
    let texts = |query: &str| -> Vec<String> {
        let mut query = database.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 106);
    let tables = texts(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
         ORDER BY name",
    );
    let columns = tables.iter().map(|table| {
        let of = texts(&format!(
            "SELECT name || ' ' || type || iif(\"notnull\", '', ' null') || iif(pk, ' key', '')
             FROM pragma_table_info('{table}') ORDER BY cid"
        ));
        format!("{table}: {}", of.join(", "))
    });
    assert_eq!(
        columns.collect::<Vec<_>>(),
        [
            "detached: entry INTEGER null key, user_id INTEGER, key INTEGER, doomed INTEGER",
            "entries: id INTEGER null key, parent INTEGER null, name TEXT, version BLOB \
             null, bytes INTEGER, made INTEGER",
            "extents: file BLOB key, position INTEGER key, version BLOB, start INTEGER, bytes \
             INTEGER, tree BLOB null",
            "journal: id INTEGER null key, epoch INTEGER, at INTEGER, record BLOB, chain BLOB",
            "past: id INTEGER null key, user_id INTEGER, parent INTEGER, name TEXT, version BLOB \
             null, folder INTEGER null, bytes INTEGER, made INTEGER, gone INTEGER, held INTEGER",
            "properties: entry INTEGER key, name TEXT key, value TEXT",
            "replacements: node INTEGER null key, address TEXT, instead_of TEXT, started_ms \
             INTEGER, pieces INTEGER, proved_ms INTEGER null",
            "scrub_findings: id INTEGER null key, scrub INTEGER, what TEXT, node INTEGER \
             null, user TEXT, path TEXT, version BLOB",
            "scrubs: id INTEGER null key, started_ms INTEGER, ended_ms INTEGER null, phase \
             TEXT, witness INTEGER, grace_ms INTEGER, listed INTEGER, unchecked INTEGER, \
             cursor BLOB null, files_done INTEGER, files_all INTEGER, bytes_done INTEGER, \
             bytes_all INTEGER, removed INTEGER, others INTEGER",
            "settings: key TEXT key, value TEXT",
            "snapshots: of INTEGER null key, name TEXT, until_ms INTEGER null, removed INTEGER",
            "tokens: hash BLOB key, user_id INTEGER, machine TEXT, created_ms INTEGER, \
             used_ms INTEGER, key BLOB null, read_only INTEGER, folder TEXT",
            "uploads: id BLOB key, user_id INTEGER, path TEXT, bytes INTEGER null, begun_ms \
             INTEGER, touched INTEGER, modified_ms INTEGER null, kind INTEGER null",
            "users: id INTEGER null key, name TEXT, password TEXT, created_ms INTEGER, \
             disabled INTEGER, admin INTEGER, removed INTEGER, quota INTEGER null, root INTEGER, \
             kept_since INTEGER, files \
             INTEGER, bytes INTEGER, versions INTEGER, stored INTEGER, stored_bytes INTEGER, \
             retired_bytes INTEGER",
            "versions: version BLOB key, user_id INTEGER, bytes INTEGER, blake3 BLOB, \
             stored_ms INTEGER, seq INTEGER, placed INTEGER, placed_at INTEGER, stored_by \
             TEXT, retired INTEGER, kept INTEGER, predecessor BLOB null, modified_ms INTEGER null, \
             kind INTEGER null, uncertain INTEGER, joined INTEGER",
        ]
    );
    let indices =
        texts("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL ORDER BY name");
    assert_eq!(
        indices,
        [
            "doomed",
            "entries_by_name",
            "entries_by_version",
            "extents_by_version",
            "folders",
            "missing_1",
            "missing_2",
            "missing_3",
            "missing_4",
            "past_by_age",
            "past_by_folder",
            "past_by_name",
            "past_by_version",
            "past_held",
            "placed_partly",
            "scrub_findings_by_scrub",
            "scrub_findings_by_version",
            "snapshots_by_name",
            "tokens_by_user",
            "uploads_by_age",
            "uploads_by_user",
            "users_by_name",
            "users_by_root",
            "versions_retired",
            "versions_uncertain",
        ]
    );
    let triggers = texts("SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name");
    assert_eq!(triggers, ["entry_deleted", "version_added", "version_dropped", "version_retired"]);
    let settings = texts("SELECT key || '=' || value FROM settings ORDER BY key");
    let cluster = format!("cluster={}", "22".repeat(16));
    let claim = format!("claim=300 {}", "44".repeat(16));
    let nodes = "nodes=a:1 b:2 c:3 d:4";
    assert_eq!(settings, [claim.as_str(), cluster.as_str(), "errors=0 0 1 0", nodes]);
    let entries = texts("SELECT name || ' ' || ifnull(hex(version), '-') FROM entries ORDER BY id");
    assert_eq!(entries, [" ", "up ", "a.txt 11111111111111111111111111111111"]);
}

#[test]
fn a_catalog_of_a_version_before_the_first_release_is_refused_with_a_clear_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("palk.db");
    for format in [1, 6, 99, 100, 101, 102, 103, 104, 105, 107] {
        let database = rusqlite::Connection::open(&file).unwrap();
        database.pragma_update(None, "user_version", format).unwrap();
        drop(database);
        let refused = Catalog::open(&file, CLUSTER).err().unwrap();
        assert_eq!(refused.code(), Code::Version, "{refused}");
    }
}

#[test]
fn what_the_verbs_of_the_admin_socket_come_to() {
    let node = NodeId::ALL[1];
    let owed = Debt { pieces: 2, piece_bytes: 3 };
    let replacing = Replacing {
        node,
        address: "a:1".into(),
        done: false,
        pieces: 4,
        piece_bytes: 5,
        owed: 6,
        owed_bytes: 7,
        proved: 8,
        not_whole: 9,
    };
    let scrub = Scrubbing { phase: ScrubPhase::Mending, unchecked: vec![node], ..<_>::default() };
    let remaining = vec![Remaining { node, up: true, owed, why: "no".into() }];
    let backup = Backup { node, behind: Some(1), written_ms_ago: None, why: Some("no".into()) };
    let upkeep = Upkeep {
        scrub: None,
        next_scrub_ms: Some(1),
        healed: Healed { pieces: 2, bytes_read: 3 },
        replacing: vec![],
        kept: Kept { bytes: 4, snapshots: 5 },
        backups: vec![backup],
    };
    let found = Found { what: "wrong".into(), node: Some(node), path: "/demo/a".into() };
    let scrub_json = concat!(
        r#"{"bytes":0,"bytes_all":0,"bytes_per_second":null,"damaged":0,"ended_ms_ago":null,"#,
        r#""files":0,"files_all":0,"foreign":0,"left_ms":null,"missing":0,"owed":0,"#,
        r#""phase":"mending","removed":0,"repaired":0,"stray":0,"unchecked":[2],"#,
        r#""witness":false,"wrong":0}"#
    );
    let remaining_json = r#"[{"node":2,"owed":{"piece_bytes":3,"pieces":2},"up":true,"why":"no"}]"#;
    let replacing_json = concat!(
        r#"{"address":"a:1","done":false,"node":2,"not_whole":9,"owed":6,"owed_bytes":7,"#,
        r#""piece_bytes":5,"pieces":4,"proved":8}"#
    );
    let scrubbed =
        Scrubbed { joined: true, scrub: Some(scrub), untold: 1, remaining: remaining.clone() };
    let healing = Healing { pieces: 1, bytes_read: 2, owed, remaining };
    let replaced = Replaced { resumed: true, replacing, why: None, untold: 0 };
    let without = vec![Without { node, why: "no".into() }];
    let backed_up = BackedUp { nodes: vec![node], without };
    let line = |fields: Fields| Value::Object(fields).to_string();
    let fields = [
        (
            line(admin::fields(&found).unwrap()),
            r#"{"node":2,"path":"/demo/a","what":"wrong"}"#.into(),
        ),
        (
            line(admin::fields(&scrubbed).unwrap()),
            format!(
                "{{\"joined\":true,\"remaining\":{remaining_json},\"scrub\":{scrub_json},\
                 \"untold\":1}}"
            ),
        ),
        (
            line(admin::fields(&healing).unwrap()),
            format!(
                "{{\"bytes_read\":2,\"owed\":{{\"piece_bytes\":3,\"pieces\":2}},\
                 \"pieces\":1,\"remaining\":{remaining_json}}}"
            ),
        ),
        (
            line(admin::fields(&replaced).unwrap()),
            format!(
                "{{\"replacing\":{replacing_json},\"resumed\":true,\"untold\":0,\"why\":null}}"
            ),
        ),
        (
            line(admin::fields(&backed_up).unwrap()),
            r#"{"nodes":[2],"without":[{"node":2,"why":"no"}]}"#.to_owned(),
        ),
        (
            line(admin::fields(&upkeep).unwrap()),
            concat!(
                r#"{"backups":[{"behind":1,"node":2,"why":"no","written_ms_ago":null}],"#,
                r#""healed":{"bytes_read":3,"pieces":2},"kept":{"bytes":4,"snapshots":5},"#,
                r#""next_scrub_ms":1,"replacing":[],"scrub":null}"#
            )
            .to_owned(),
        ),
    ];
    for (is, expected) in fields {
        assert_eq!(is, expected);
    }
}

#[test]
fn the_datagrams_of_discovery_are_frozen() {
    use palk::core::wire::discovery::{Answer, PORT, Question, SHARE_PORT};
    assert_eq!((PORT, SHARE_PORT), (30_000, 30_001));
    assert_eq!(Question::Specified.encode(), b"SERVICE DISCOVERY");
    let question = format!("{:192}", "PALK DISCOVERY 1\r\n\r\n");
    assert_eq!(Question::Palk.encode(), question.as_bytes());
    let name = || "Ann".parse().unwrap();
    assert_eq!(Answer::specified(&name()).encode(), b"Ann's File Sharing Service");
    let fingerprint = palk::core::types::Fingerprint([0xab; 32]);
    let answer = Answer::Palk { name: name(), port: 17777, fingerprint };
    let expected = format!("PALK 1\r\nAnn\r\n17777\r\n{}\r\n\r\n", "ab".repeat(32));
    assert_eq!(answer.encode(), expected.as_bytes());
}
