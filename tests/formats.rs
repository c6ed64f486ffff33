//! The formats, byte for byte: what lies on disks and what travels between versions of Palk.
//!
//! These bytes are promises. A test here that fails means that stored blocks, another version's
//! messages or an existing catalog would no longer be understood. So do not just paste the new
//! bytes:
//!
//! - a block file or the node's folder: raise `FORMAT` in `wire/trailer.rs` or `FOLDER_FORMAT` in
//!   `node/store.rs`, keep reading the old one, and add its test beside this one;
//! - the node protocol: raise `PROTOCOL` in `wire/node.rs` (both ends are updated together). A
//!   variant or field that is moved, added in the middle or removed changes what old bytes mean;
//! - chunks and the extended session: raise `SESSION_VERSION` in `wire/extended.rs` and go on
//!   speaking the older version with older clients;
//! - the catalog's backup: raise `FORMAT` in `wire/backup.rs`; new kinds of changes go to the end;
//! - the catalog: add a migration in `catalog/database.rs`; never change one that was released.
//!
//! Then bring `docs/formats.md` or `docs/protocol.md` up to date, and say so in `CHANGELOG.md`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use palk::core::catalog::accounts::HashGate;
use palk::core::catalog::{Catalog, NewFile};
use palk::core::code::layout::{Layout, UNIT_BYTES_MAX};
use palk::core::code::repair::Select;
use palk::core::code::{checksum, kernel};
use palk::core::error::Code;
use palk::core::io::disk::RealDisk;
use palk::core::node::store::{BlockStore, FOLDER_FORMAT};
use palk::core::path::{FilePath, FolderPath, UserName};
use palk::core::status::{
    Backup, Debt, Healed, NodeStatus, Replacing, ScrubPhase, Scrubbing, State as Health, Status,
    Stored, Trouble, Upkeep,
};
use palk::core::types::{
    Block, Claim, ClusterId, Digest, NodeId, NodeSet, Precondition, Seq, ServerId, VersionId,
};
use palk::core::wire::admin::{self, ADMIN_SOCKET, Fields, Line, Verb};
use palk::core::wire::backup::{self, Answer, Ask, Finding, Kind, SnapshotHead, State};
use palk::core::wire::extended::{self, Entry as Listed, Extent, FileEntry, Moved, Removed};
use palk::core::wire::journal::{Chain, Change, Entry, Point};
use palk::core::wire::node::{
    self, Failure, InventoryEntry, Order, Outcome, PROTOCOL, PieceMeta, Place, Reply, Request,
    Room, Serves,
};
use palk::core::wire::reports::{BackedUp, Found, Healing, Remaining, Replaced, Scrubbed, Without};
use palk::core::wire::token::Token;
use palk::core::wire::trailer::{FORMAT, Header, Trailer};
use palk::core::wire::users::{Allowance, Secret, UserAsk};
use palk::core::wire::{self, chunk};
use serde_json::Value;

const VERSION: VersionId = VersionId([0x11; 16]);
const CLUSTER: ClusterId = ClusterId([0x22; 16]);
const CLAIM: Claim = Claim { epoch: 300, server: ServerId([0x44; 16]) };
const DIGEST: Digest = Digest([0x33; 32]);

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
        seq: Seq(300),
        place: place(),
        file_bytes,
        stored_ms: -1,
        repair: false,
    }
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

/// Stores a file of 11 bytes on four nodes the way the server does and commits it.
fn store_small_file(folder: &Path) {
    let file = b"hello, palk";
    let layout = Layout::new(file.len() as u64);
    let mut data = vec![0; layout.stripe_bytes(0)];
    data[..file.len()].copy_from_slice(file);
    layout.pad(0, &mut data);
    let mut parity = vec![0; data.len()];
    kernel::encode(&data, &mut parity);
    let all: Vec<&[u8]> = kernel::units(&data).into_iter().chain(kernel::units(&parity)).collect();
    for id in NodeId::ALL {
        let root = folder.join(format!("files_{id}"));
        let store = BlockStore::open(Arc::new(RealDisk), &root, id).unwrap();
        store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
        let units = id.blocks().map(|block| all[block.index()]);
        let mut stage = store.stage(meta(file.len() as u64)).unwrap();
        stage.units(units, units.map(checksum::unit)).unwrap();
        stage.finish(DIGEST).unwrap();
        for block in id.blocks() {
            let staged = root.join(format!(".palk/staging/{VERSION}_{block}"));
            assert!(staged.exists(), "the name in staging");
        }
        let commit = Order::Commit { version: VERSION, seq: Seq(300), place: place() };
        assert_eq!(store.carry(&[commit]), [Outcome::Done]);
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
    }
    let whole = std::fs::read(folder.path().join(blocks[2].1)).unwrap();
    golden.check(
        "all of a_B1.txt",
        &whole,
        "207061 0859712f61e29f2d 11111111 11111111 11111111 11111111 \
         ac020464 656d6f08 75702f61 2e747874 0b808010 02333333 33333333 \
         33333333 33333333 33333333 33333333 33333333 33333333 3301 \
         6e00000000000000 46000000 01000000 e63678c6a6c6b587 \
         50414c4b424c4b31",
    );
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
        },
        checksums: vec![1, 2],
    };
    let mut golden = Golden::default();
    golden.check(
        "trailer",
        &trailer.encode(),
        "0100000000000000 0200000000000000 11111111 11111111 11111111 \
         11111111 01046465 6d6f0875 702f612e 74787480 80408080 10073333 \
         33333333 33333333 33333333 33333333 33333333 33333333 33333333 \
         333380a0 abfef962 7c00000000000000 4c000000 01000000 \
         9072210a2a43022f 50414c4b424c4b31",
    );
    assert_eq!(FORMAT, 1);
}

#[test]
fn what_a_node_says_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlockStore::open(Arc::new(RealDisk), folder.path(), NodeId::ALL[1]).unwrap();
    let text = || std::fs::read_to_string(folder.path().join(".palk/node.toml")).unwrap();
    assert_eq!(text(), "sum = \"9db07f9ea89a60d9\"\nformat = 1\nnode = 2\n");
    store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
    let cluster = "22".repeat(16);
    let server = "44".repeat(16);
    let expected = format!(
        "sum = \"f35b7a8daf38c887\"\nformat = 1\nnode = 2\ncluster = \"{cluster}\"\nepoch = 300\n\
         server = \"{server}\"\n"
    );
    assert_eq!(text(), expected);
    assert_eq!(FOLDER_FORMAT, 1);
    assert!(folder.path().join(".palk/staging").is_dir() && folder.path().join("backup").is_dir());
}

// ---- the node protocol ----

/// A frame without its checksum, which the tables below leave out.
fn unchecked(frame: &[u8]) -> Vec<u8> {
    [&frame[..8], &frame[node::HEAD_BYTES..]].concat()
}

#[test]
fn the_head_of_a_frame() {
    let mut golden = Golden::default();
    let ping = node::encode(&Request::Ping, 0).unwrap();
    golden.check("a probe", &ping, "00000001 00000000 40910e5301e083a1 01");
}

#[test]
fn every_request_to_a_node() {
    let read = |select| Request::Read {
        version: VERSION,
        place: place(),
        formerly: vec![FilePath::parse_rooted("b").unwrap()].try_into().unwrap(),
        first_stripe: 2,
        stripes: 300,
        select,
    };
    let orders = vec![
        Order::MakeFolder { user: user(), folder: FolderPath::parse("up").unwrap() },
        Order::Commit { version: VERSION, seq: Seq(300), place: place() },
        Order::Remove { place: place(), up_to: Seq(301) },
        Order::Discard { version: VERSION },
        Order::MoveFile {
            version: VERSION,
            user: user(),
            from: place().path,
            to: FilePath::parse_rooted("b").unwrap(),
        },
        Order::MoveFolder {
            user: user(),
            from: FolderPath::parse("up").unwrap(),
            to: FolderPath::parse("down").unwrap(),
        },
        Order::RemoveFolder { user: user(), folder: FolderPath::parse("up").unwrap() },
        Order::TakeBack { version: VERSION, place: place() },
    ];
    let (protocol, node) = (PROTOCOL, NodeId::ALL[2]);
    let hello = Request::Hello { protocol, cluster: CLUSTER, node, claim: CLAIM };
    let requests: [(Request, usize, &str); 26] = [
        (
            hello,
            0,
            "00000025 00000000 00032222 22222222 22222222 22222222 222203ac 02444444 44444444 \
             44444444 44444444 44",
        ),
        (Request::Ping, 0, "00000001 00000000 01"),
        (
            Request::Stage(meta(353)),
            0,
            "00000025 00000000 02111111 11111111 11111111 11111111 11ac0204 \
             64656d6f 0875702f 612e7478 74e10201 00",
        ),
        (
            Request::Stage(PieceMeta { repair: true, ..meta(353) }),
            0,
            "00000025 00000000 02111111 11111111 11111111 11111111 11ac0204 \
             64656d6f 0875702f 612e7478 74e10201 01",
        ),
        (
            Request::Units { checksums: [1, u64::MAX] },
            6,
            "0000000c 00000006 0301ffff ffffffff ffffff01",
        ),
        (Request::KeepAlive, 0, "00000001 00000000 04"),
        (
            Request::Finish { blake3: DIGEST },
            0,
            "00000021 00000000 05333333 33333333 33333333 33333333 33333333 \
             33333333 33333333 33333333 33",
        ),
        (
            Request::Carry { number: 300, orders },
            0,
            "000000a7 00000000 06ac0208 00046465 6d6f0275 70011111 11111111 \
             11111111 11111111 1111ac02 0464656d 6f087570 2f612e74 78740204 \
             64656d6f 0875702f 612e7478 74ad0203 11111111 11111111 11111111 \
             11111111 04111111 11111111 11111111 11111111 11046465 6d6f0875 \
             702f612e 74787401 62050464 656d6f02 75700464 6f776e06 0464656d \
             6f027570 07111111 11111111 11111111 11111111 11046465 6d6f0875 \
             702f612e 747874",
        ),
        (
            read(Select::Both),
            0,
            "00000026 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787401 016202ac 0200",
        ),
        (
            read(Select::First),
            0,
            "00000026 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787401 016202ac 0201",
        ),
        (
            read(Select::Second),
            0,
            "00000026 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787401 016202ac 0202",
        ),
        (
            read(Select::Xor),
            0,
            "00000026 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787401 016202ac 0203",
        ),
        (Request::ListStaged { after: None }, 0, "00000002 00000000 0800"),
        (
            Request::ListStaged { after: Some(VERSION) },
            0,
            "00000012 00000000 08011111 11111111 11111111 11111111 1111",
        ),
        (
            Request::Verify {
                version: VERSION,
                place: place(),
                formerly: node::Formerly::default(),
                first_stripe: 2,
                stripes: 64,
            },
            0,
            "00000022 00000000 09111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787400 0240",
        ),
        (Request::Inventory, 0, "00000001 00000000 0a"),
        (Request::WhoServes { protocol, node }, 0, "00000003 00000000 0b0303"),
        (Request::Bye, 0, "00000001 00000000 0c"),
        (Request::Backup(Ask::State), 0, "00000002 00000000 0d00"),
        (
            Request::Backup(Ask::Begin(snapshot_head())),
            0,
            "00000028 00000000 0d010122 22222222 22222222 22222222 22222201 \
             11444444 44444444 44444444 44444444 44ac0205",
        ),
        (
            Request::Backup(Ask::Chunk { offset: 300, checksum: 1 }),
            5,
            "00000005 00000005 0d02ac02 01",
        ),
        (Request::Backup(Ask::End), 0, "00000002 00000000 0d03"),
        (
            Request::Backup(Ask::Append {
                snapshot: snapshot_head().id(),
                entries: vec![Entry::after(snapshot_head().at, vec![7])],
            }),
            0,
            "00000018 00000000 0d040111 01120107 71ecc923 9eaaba12 b61e42ff \
             a2cfa895",
        ),
        (Request::Backup(Ask::List), 0, "00000002 00000000 0d05"),
        (
            Request::Backup(Ask::Read {
                kind: Kind::Journal,
                id: snapshot_head().id(),
                offset: 300,
            }),
            0,
            "00000007 00000000 0d060101 11ac02",
        ),
        (Request::Evidence, 0, "00000001 00000000 0e"),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 21];
    for (request, body_bytes, expected) in requests {
        let bytes = node::encode(&request, body_bytes).unwrap();
        golden.check(&format!("{request:?}"), &unchecked(&bytes), expected);
        // Without a `_`, so that a new variant does not compile until it is in the table.
        seen[match request {
            Request::Hello { .. } => 0,
            Request::Ping => 1,
            Request::Stage(_) => 2,
            Request::Units { .. } => 3,
            Request::KeepAlive => 4,
            Request::Finish { .. } => 5,
            Request::Carry { .. } => 6,
            Request::Read { .. } => 7,
            Request::ListStaged { .. } => 8,
            Request::Verify { .. } => 9,
            Request::Inventory => 10,
            Request::WhoServes { .. } => 11,
            Request::Bye => 12,
            Request::Backup(Ask::State) => 13,
            Request::Backup(Ask::Begin(_)) => 14,
            Request::Backup(Ask::Chunk { .. }) => 15,
            Request::Backup(Ask::End) => 16,
            Request::Backup(Ask::Append { .. }) => 17,
            Request::Backup(Ask::List) => 18,
            Request::Backup(Ask::Read { .. }) => 19,
            Request::Evidence => 20,
        }] = true;
    }
    assert_eq!(seen, [true; 21]);
    assert_eq!(PROTOCOL, 3);
}

#[test]
fn every_reply_of_a_node() {
    let carried = vec![Outcome::Done, Outcome::NotHeld, Outcome::Failed("no".into())];
    let room = Room { free_bytes: 300, total_bytes: 1000, spare_bytes: 1 };
    let serves = Serves {
        cluster: Some(CLUSTER),
        node: NodeId::ALL[1],
        epoch: 300,
        server: Some(ServerId([0x44; 16])),
        heard_ms_ago: Some(5),
        folder: "/srv".into(),
    };
    let listed = vec![
        InventoryEntry::Block { place: place(), block: Block::B2, held: Some((VERSION, Seq(300))) },
        InventoryEntry::Block { place: place(), block: Block::B1, held: None },
        InventoryEntry::Foreign("demo/notes".into()),
    ];
    let replies: [(Reply, usize, &str); 22] = [
        (
            Reply::Welcome { folder: "/srv/files_2".into(), fresh: true },
            0,
            "0000000f 00000000 000c2f73 72762f66 696c6573 5f3201",
        ),
        (Reply::Done, 0, "00000001 00000000 01"),
        (Reply::Staged, 0, "00000001 00000000 02"),
        (Reply::Carried(carried), 0, "00000008 00000000 03030001 02026e6f"),
        (Reply::Units { checksums: [1, 0] }, 524_288, "00000003 00080000 040100"),
        (
            Reply::StagedVersions(vec![VERSION]),
            0,
            "00000012 00000000 05011111 11111111 11111111 11111111 1111",
        ),
        (
            Reply::Failed(Failure::NotHeld(VERSION)),
            0,
            "00000012 00000000 06001111 11111111 11111111 11111111 1111",
        ),
        (Reply::Failed(Failure::Damaged("bad".into())), 0, "00000006 00000000 06010362 6164"),
        (Reply::Failed(Failure::NoSpace(": 1".into())), 0, "00000006 00000000 0602033a 2031"),
        (Reply::Failed(Failure::Refused("no".into())), 0, "00000005 00000000 0603026e 6f"),
        (Reply::Failed(Failure::Fenced { epoch: 300 }), 0, "00000004 00000000 0604ac02"),
        (Reply::Alive(None), 0, "00000002 00000000 0700"),
        (Reply::Alive(Some(room)), 0, "00000007 00000000 0701ac02 e80701"),
        (
            Reply::Verified { checksums: vec![[1, 300], [0, 2]] },
            0,
            "00000007 00000000 080201ac 020002",
        ),
        (
            Reply::Inventory(listed),
            0,
            "00000042 00000000 09030004 64656d6f 0875702f 612e7478 74030111 \
             11111111 11111111 11111111 111111ac 02000464 656d6f08 75702f61 \
             2e747874 0200010a 64656d6f 2f6e6f74 6573",
        ),
        (Reply::Inventory(vec![]), 0, "00000002 00000000 0900"),
        (
            Reply::Serves(serves),
            0,
            "0000002d 00000000 0a012222 22222222 22222222 22222222 222202ac \
             02014444 44444444 44444444 44444444 44440105 042f7372 76",
        ),
        (Reply::Backup(Answer::Done), 0, "00000002 00000000 0b00"),
        (
            Reply::Backup(Answer::State(Some(State {
                snapshot: snapshot_head(),
                last: snapshot_head().at,
                journal_bytes: 300,
            }))),
            0,
            "0000003c 00000000 0b010101 22222222 22222222 22222222 22222222 \
             01114444 44444444 44444444 44444444 4444ac02 05114444 44444444 \
             44444444 44444444 4444ac02",
        ),
        (
            Reply::Backup(Answer::Files(vec![(Kind::Snapshot, snapshot_head().id())])),
            0,
            "00000006 00000000 0b020100 0111",
        ),
        (Reply::Backup(Answer::Bytes), 5, "00000002 00000005 0b03"),
        (
            Reply::Evidence(vec![
                Finding::Block {
                    block: Block::B1,
                    place: place(),
                    is_staged: true,
                    version: VERSION,
                    seq: Seq(300),
                    bytes: 353,
                    blake3: DIGEST,
                    stored_ms: -1,
                },
                Finding::Folder { user: user(), folder: FolderPath::parse("up").unwrap() },
                Finding::Unread { what: "bad".into() },
            ]),
            0,
            "00000056 00000000 0c030002 0464656d 6f087570 2f612e74 78740111 \
             11111111 11111111 11111111 111111ac 02e10233 33333333 33333333 \
             33333333 33333333 33333333 33333333 33333333 33333301 01046465 \
             6d6f0275 70020362 6164",
        ),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 20];
    for (reply, body_bytes, expected) in replies {
        let bytes = node::encode(&reply, body_bytes).unwrap();
        golden.check(&format!("{reply:?}"), &unchecked(&bytes), expected);
        seen[match reply {
            Reply::Welcome { .. } => 0,
            Reply::Done => 1,
            Reply::Staged => 2,
            Reply::Carried(_) => 3,
            Reply::Units { .. } => 4,
            Reply::StagedVersions(_) => 5,
            Reply::Failed(Failure::NotHeld(_)) => 6,
            Reply::Failed(Failure::Damaged(_)) => 7,
            Reply::Failed(Failure::NoSpace(_)) => 8,
            Reply::Failed(Failure::Refused(_)) => 9,
            Reply::Failed(Failure::Fenced { .. }) => 14,
            Reply::Alive(_) => 10,
            Reply::Verified { .. } => 11,
            Reply::Inventory(_) => 12,
            Reply::Serves(_) => 13,
            Reply::Backup(Answer::Done) => 15,
            Reply::Backup(Answer::State(_)) => 16,
            Reply::Backup(Answer::Files(_)) => 17,
            Reply::Backup(Answer::Bytes) => 18,
            Reply::Evidence(_) => 19,
        }] = true;
    }
    assert_eq!(seen, [true; 20]);
}

// ---- the catalog's backup ----

fn snapshot_head() -> SnapshotHead {
    let at = Point { id: 17, chain: Chain([0x44; 16]) };
    SnapshotHead {
        format: backup::FORMAT,
        cluster: CLUSTER,
        generation: 1,
        at,
        horizon: Seq(300),
        bytes: 5,
    }
}

#[test]
fn every_change_of_the_journal() {
    let changes: [(Change, &str); 15] = [
        (
            Change::UserMade { user: user(), password: "$argon2id$".into(), created_ms: -1 },
            "00046465 6d6f0a24 6172676f 6e326964 2401",
        ),
        (
            Change::FolderMade { user: user(), folder: FolderPath::parse("up").unwrap() },
            "01046465 6d6f0275 70",
        ),
        (
            Change::Stored {
                place: place(),
                version: VERSION,
                seq: Seq(300),
                bytes: 353,
                blake3: DIGEST,
                stored_ms: -1,
                placed: NodeSet::from_bits(0b1011),
            },
            "02046465 6d6f0875 702f612e 74787411 11111111 11111111 11111111 \
             111111ac 02e10233 33333333 33333333 33333333 33333333 33333333 \
             33333333 33333333 33333301 0b",
        ),
        (
            Change::Deleted { place: place(), seq: Seq(301) },
            "03046465 6d6f0875 702f612e 747874ad 02",
        ),
        (
            Change::Nodes { addresses: ["a:1", "b:2", "c:3", "d:4"].map(str::to_owned) },
            "0403613a 3103623a 3203633a 3303643a 34",
        ),
        (
            Change::Branched { generation: 2, mark: VERSION },
            "05021111 11111111 11111111 11111111 1111",
        ),
        (
            Change::PasswordChanged { user: user(), password: "$argon2id$".into() },
            "06046465 6d6f0a24 6172676f 6e326964 24",
        ),
        (Change::AccountDisabled { user: user(), disabled: true }, "07046465 6d6f01"),
        (Change::QuotaSet { user: user(), bytes: Some(300) }, "08046465 6d6f01d8 04"),
        (Change::RemovalBegun { user: user() }, "09046465 6d6f"),
        (Change::FoldersRemoved { user: user() }, "0a046465 6d6f"),
        (
            Change::UserMadeAgain {
                user: user(),
                password: "$argon2id$".into(),
                created_ms: -1,
                seq: Seq(300),
            },
            "0b046465 6d6f0a24 6172676f 6e326964 2401ac02",
        ),
        (
            Change::FolderRemoved { user: user(), folder: FolderPath::parse("up").unwrap() },
            "0c046465 6d6f0275 70",
        ),
        (
            Change::FileMoved {
                user: user(),
                from: place().path,
                to: FilePath::parse_rooted("b").unwrap(),
                seq: Seq(300),
            },
            "0d046465 6d6f0875 702f612e 74787401 62ac02",
        ),
        (
            Change::FolderMoved {
                user: user(),
                from: FolderPath::parse("up").unwrap(),
                to: FolderPath::parse("down").unwrap(),
                seq: Seq(300),
            },
            "0e046465 6d6f0275 7004646f 776eac02",
        ),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 15];
    for (change, expected) in changes {
        golden.check(&format!("{change:?}"), &change.encode().unwrap(), expected);
        seen[match change {
            Change::UserMade { .. } => 0,
            Change::FolderMade { .. } => 1,
            Change::Stored { .. } => 2,
            Change::Deleted { .. } => 3,
            Change::Nodes { .. } => 4,
            Change::Branched { .. } => 5,
            Change::PasswordChanged { .. } => 6,
            Change::AccountDisabled { .. } => 7,
            Change::QuotaSet { .. } => 8,
            Change::RemovalBegun { .. } => 9,
            Change::FoldersRemoved { .. } => 10,
            Change::UserMadeAgain { .. } => 11,
            Change::FolderRemoved { .. } => 12,
            Change::FileMoved { .. } => 13,
            Change::FolderMoved { .. } => 14,
        }] = true;
    }
    assert_eq!(seen, [true; 15]);
    let start = Point::start(CLUSTER);
    golden.check("the chain before all", &start.chain.0, "2fdf0643 7af05214 c466a5e2 b7d32694");
    golden.check(
        "the chain after a record",
        &start.chain.next(&[7]).0,
        "e32f5ee4 00e69313 2471ec6f 2e0bbf9d",
    );
}

#[test]
fn the_files_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlockStore::open(Arc::new(RealDisk), folder.path(), NodeId::ALL[1]).unwrap();
    store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
    let ask = |ask: Ask, body: &[u8]| {
        store.backup().ask(store.cluster(), &ask, body, &mut Vec::new()).unwrap()
    };
    let head = snapshot_head();
    ask(Ask::Begin(head), &[]);
    ask(Ask::Chunk { offset: 0, checksum: checksum::unit(b"hello") }, b"hello");
    ask(Ask::End, &[]);
    let entry = Entry::after(head.at, vec![7]);
    ask(Ask::Append { snapshot: head.id(), entries: vec![entry] }, &[]);
    let mut golden = Golden::default();
    let read = |name: &str| std::fs::read(folder.path().join("backup").join(name)).unwrap();
    golden.check(
        "snapshot",
        &read("snapshot-1-17"),
        "26000000 3e8bf08e f98b1fd7 01222222 22222222 22222222 22222222 \
             22011144 44444444 44444444 44444444 444444ac 02050500 00005742 \
             52067085 77336865 6c6c6f",
    );
    golden.check(
        "journal",
        &read("journal-1-17"),
        "23000000 05ea0fb5 23fcbc81 01222222 22222222 22222222 22222222 \
             22011144 44444444 44444444 44444444 44444413 000000b3 0d4ee626 \
             22493a12 010771ec c9239eaa ba12b61e 42ffa2cf a895",
    );
    assert_eq!((backup::FORMAT, backup::CHUNK_BYTES), (1, 262_144));
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
    let requests: [(Request, &str); 24] = [
        (Request::SignIn { user, password }, "LGN\r\ndemo\r\ncorrect horse\r\n\r\n"),
        (
            Request::SignUp { user: new_user, password: new_password },
            "NEW\r\ndemo\r\ncorrect horse\r\n\r\n",
        ),
        (
            Request::Store { path: path(), bytes: 353, precondition: Precondition::Any },
            "STR\r\n/up/a.txt\r\n353\r\n\r\n",
        ),
        (
            Request::Store { path: path(), bytes: 353, precondition: Precondition::Absent },
            "STR\r\n/up/a.txt\r\n353\r\nreplace=no\r\n\r\n",
        ),
        (
            Request::Store { path: path(), bytes: 353, precondition: Precondition::Present },
            "STR\r\n/up/a.txt\r\n353\r\nif=present\r\n\r\n",
        ),
        (
            Request::Store {
                path: path(),
                bytes: 353,
                precondition: Precondition::Unchanged(VERSION),
            },
            &format!("STR\r\n/up/a.txt\r\n353\r\nif-version={}\r\n\r\n", "11".repeat(16)),
        ),
        (Request::Retrieve { path: path() }, "RTV\r\n/up/a.txt\r\n\r\n"),
        (Request::Delete { path: path() }, "DEL\r\n/up/a.txt\r\n\r\n"),
        (Request::List { path: top(), extent: Extent::All }, "INF\r\n\r\n"),
        (Request::List { path: up(), extent: Extent::All }, "INF\r\n/up\r\n\r\n"),
        (
            Request::List { path: top(), extent: Extent::Children },
            "INF\r\n/\r\nscope=children\r\n\r\n",
        ),
        (Request::List { path: up(), extent: Extent::Itself }, "INF\r\n/up\r\nscope=self\r\n\r\n"),
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
    ];
    let mut seen = [false; 15];
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
        }] = true;
    }
    assert_eq!(seen, [true; 15]);
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
    assert_eq!(folder.encode(), "D\t/up");
    let file = Listed::File(FileEntry {
        path: path(),
        bytes: 353,
        stored_ms: 1_700_000_000_000,
        version: VERSION,
        blake3: DIGEST,
        placed: NodeSet::from_bits(0b1011),
    });
    let (version, digest) = ("11".repeat(16), "33".repeat(32));
    assert_eq!(file.encode(), format!("F\t/up/a.txt\t353\t1700000000000\t{version}\t{digest}\t11"));
}

#[test]
fn the_words_and_exit_statuses_of_errors() {
    let all = Code::ALL.map(|code| format!("{} {}", code.as_str(), code.exit_status()));
    let expected = "unexpected 1, usage 2, some-failed 3, no-such-file 4, no-such-folder 4, \
                    sign-in 5, no-such-user 5, user-exists 9, unreachable 6, too-few-nodes 6, \
                    damaged 7, no-space 8, too-big 8, exists 9, busy 9, changed 9, not-allowed 9, \
                    bad-path 2, temporary 10, version 11, server-identity 12, local-file 13, \
                    interrupted 130, over-quota 8, disabled 5";
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
    let owed = Debt { orders: 1, pieces: 2, piece_bytes: 3 };
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
            Trouble::PiecesOwed { nodes: vec![node], pieces: 2, bytes: 3 },
            Trouble::OrdersRefused { node, why: "no".into() },
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
        }],
        unreadable: vec!["/demo/a".into()],
        upkeep: None,
    };
    let line = wire::admin::one_line(&status).unwrap();
    let owed = r#""owed":{"orders":1,"piece_bytes":3,"pieces":2}"#;
    let expected = [
        r#"{"can_store":true,"files":{"bytes":5,"count":4,"unreadable":6},"#,
        r#""nodes":[{"address":"a:1","errors":11,"node":2,"#,
        owed,
        r#","room":{"free_bytes":9,"spare_bytes":8,"total_bytes":10},"silent_ms":null,"#,
        r#""state":"down"}],"nodes_to_spare":1,"#,
        owed,
        r#","state":"degraded","troubles":[{"files":6,"kind":"unreadable"},"#,
        r#"{"kind":"node-away","node":2,"silent_ms":7,"why":"no"},{"kind":"catalog-in-doubt"},"#,
        r#"{"bytes":3,"kind":"pieces-owed","nodes":[2],"pieces":2},"#,
        r#"{"kind":"orders-refused","node":2,"why":"no"},"#,
        r#"{"kind":"node-full","node":2,"spare_bytes":8}],"unreadable":["/demo/a"],"v":1}"#,
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
    let catalog = Catalog::open(&file, CLUSTER).unwrap();
    catalog.create_user(&HashGate::default(), &user(), "correct horse", 0).unwrap();
    catalog.remember_node_addresses(&["a:1", "b:2", "c:3", "d:4"].map(str::to_owned)).unwrap();
    assert!(catalog.last_claim().unwrap().is_none());
    catalog.remember_claim(CLAIM).unwrap();
    assert_eq!(catalog.last_claim().unwrap(), Some(CLAIM));
    catalog.draw_seq().unwrap();
    let ticket = catalog.begin_store(VERSION).unwrap();
    let new = NewFile {
        user: catalog.user_id(&user()).unwrap(),
        path: path(),
        bytes: 353,
        blake3: DIGEST,
        stored_ms: 0,
        staged: NodeSet::ALL,
        precondition: Precondition::Any,
        stored_by: String::new(),
    };
    catalog.commit_store(&ticket, &new).unwrap();
    catalog.piece_lost(NodeId::ALL[2], VERSION, None).unwrap();
    drop((ticket, catalog));

    let database = rusqlite::Connection::open(&file).unwrap();
    let texts = |query: &str| -> Vec<String> {
        let mut query = database.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 6);
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
            "deletions: user_id INTEGER key, path TEXT key, seq INTEGER",
            "files: user_id INTEGER key, path TEXT key, version BLOB, seq INTEGER, bytes INTEGER, \
             blake3 BLOB, stored_ms INTEGER, placed INTEGER, stored_by TEXT null, \
             stored_seq INTEGER null",
            "folders: user_id INTEGER key, path TEXT key",
            "journal: id INTEGER null key, record BLOB, chain BLOB",
            "owed: id INTEGER null key, node INTEGER, kind TEXT, user_id INTEGER, path TEXT, \
             version BLOB null, seq INTEGER, target TEXT null, entry INTEGER",
            "replacements: node INTEGER null key, address TEXT, instead_of TEXT, started_ms INTEGER, \
             pieces INTEGER, proved_ms INTEGER null",
            "scrub_findings: id INTEGER null key, scrub INTEGER, what TEXT, node INTEGER null, \
             user_id INTEGER, path TEXT, version BLOB",
            "scrubs: id INTEGER null key, started_ms INTEGER, ended_ms INTEGER null, phase TEXT, \
             witness INTEGER, grace_ms INTEGER, listed INTEGER, unchecked INTEGER, \
             user_id INTEGER null, path TEXT null, files_done INTEGER, files_all INTEGER, \
             bytes_done INTEGER, bytes_all INTEGER, removed INTEGER, others INTEGER",
            "settings: key TEXT key, value TEXT",
            "strays: node INTEGER key, user TEXT key, path TEXT key, seq INTEGER, \
             first_ms INTEGER, scrub INTEGER",
            "tokens: id INTEGER null key, user_id INTEGER, hash BLOB, machine TEXT, \
             created_ms INTEGER, used_ms INTEGER",
            "users: id INTEGER null key, name TEXT, password TEXT, created_ms INTEGER, state TEXT, \
             generation INTEGER, quota INTEGER null, stored_files INTEGER, stored_bytes INTEGER",
        ]
    );
    let indices =
        texts("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL ORDER BY name");
    assert_eq!(
        indices,
        [
            "owed_by_node",
            "owed_by_path",
            "owed_by_target",
            "owed_by_version",
            "owed_folder_moves",
            "owed_moves",
            "scrub_findings_by_version",
            "tokens_by_user"
        ]
    );
    let triggers = texts("SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name");
    assert_eq!(triggers, ["file_added", "file_removed", "file_replaced"]);
    let settings = texts("SELECT key || '=' || value FROM settings ORDER BY key");
    let cluster = format!("cluster={}", "22".repeat(16));
    let claim = format!("claim=300 {}", "44".repeat(16));
    let nodes = "nodes=a:1 b:2 c:3 d:4";
    let expected =
        [claim.as_str(), cluster.as_str(), "errors=0 0 1 0", nodes, "seq_reserved=10000"];
    assert_eq!(settings, expected);
    let owed = texts("SELECT node || ' ' || kind || ' [' || path || ']' FROM owed ORDER BY id");
    let folders = ["1 folder []", "2 folder []", "3 folder []", "4 folder []"];
    let commits = [1, 2, 3, 4].map(|node| format!("{node} commit [up/a.txt]"));
    assert_eq!(owed[..4], folders);
    assert_eq!(owed[4..8], commits);
    assert_eq!(owed[8..], ["3 repair [up/a.txt]"]);
    let password = texts("SELECT password FROM users").remove(0);
    assert!(password.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{password}");
}

#[test]
fn what_the_verbs_of_the_admin_socket_come_to() {
    let node = NodeId::ALL[1];
    let owed = Debt { orders: 1, pieces: 2, piece_bytes: 3 };
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
        backups: vec![backup],
    };
    let found = Found { what: "wrong".into(), node: Some(node), path: "/demo/a".into() };
    let scrub_json = concat!(
        r#"{"bytes":0,"bytes_all":0,"bytes_per_second":null,"damaged":0,"ended_ms_ago":null,"#,
        r#""files":0,"files_all":0,"foreign":0,"left_ms":null,"missing":0,"owed":0,"#,
        r#""phase":"mending","removed":0,"repaired":0,"stale":0,"stray":0,"unchecked":[2],"#,
        r#""witness":false,"wrong":0}"#
    );
    let remaining_json =
        r#"[{"node":2,"owed":{"orders":1,"piece_bytes":3,"pieces":2},"up":true,"why":"no"}]"#;
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
                "{{\"bytes_read\":2,\"owed\":{{\"orders\":1,\"piece_bytes\":3,\"pieces\":2}},\
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
                r#""healed":{"bytes_read":3,"pieces":2},"next_scrub_ms":1,"replacing":[],"#,
                r#""scrub":null}"#
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
