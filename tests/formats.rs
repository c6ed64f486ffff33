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
//! - the catalog: add a migration in `catalog/database.rs`; never change one that was released.
//!
//! Then bring `docs/formats.md` or `docs/protocol.md` up to date, and say so in `CHANGELOG.md`.

use std::path::Path;
use std::sync::Arc;

use palk::core::catalog::Catalog;
use palk::core::catalog::accounts::HashGate;
use palk::core::code::layout::{Layout, UNIT_BYTES_MAX};
use palk::core::code::repair::Select;
use palk::core::code::{checksum, kernel};
use palk::core::error::Code;
use palk::core::io::disk::RealDisk;
use palk::core::node::store::{BlockStore, FOLDER_FORMAT};
use palk::core::path::{FilePath, FolderPath, UserName};
use palk::core::types::{Block, ClusterId, Digest, NodeId, NodeSet, Seq, VersionId};
use palk::core::wire::chunk;
use palk::core::wire::extended::{self, Entry, FileEntry};
use palk::core::wire::node::{
    self, Failure, Order, Outcome, PROTOCOL, PieceMeta, Place, Reply, Request,
};
use palk::core::wire::token::Token;
use palk::core::wire::trailer::{FORMAT, Header, Trailer};

const VERSION: VersionId = VersionId([0x11; 16]);
const CLUSTER: ClusterId = ClusterId([0x22; 16]);
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
    PieceMeta { version: VERSION, seq: Seq(300), place: place(), file_bytes, stored_ms: -1 }
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
        store.join_cluster(CLUSTER).unwrap();
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
    assert_eq!(text(), "format = 1\nnode = 2\n");
    store.join_cluster(CLUSTER).unwrap();
    let cluster = "22".repeat(16);
    assert_eq!(text(), format!("format = 1\nnode = 2\ncluster = \"{cluster}\"\n"));
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
        first_stripe: 2,
        stripes: 300,
        select,
    };
    let orders = vec![
        Order::MakeFolder { user: user(), folder: FolderPath::parse("up").unwrap() },
        Order::Commit { version: VERSION, seq: Seq(300), place: place() },
        Order::Remove { place: place(), up_to: Seq(301) },
        Order::Discard { version: VERSION },
    ];
    let hello = Request::Hello { protocol: PROTOCOL, cluster: CLUSTER, node: NodeId::ALL[2] };
    let requests: [(Request, usize, &str); 13] = [
        (hello, 0, "00000013 00000000 00022222 22222222 22222222 22222222 222203"),
        (Request::Ping, 0, "00000001 00000000 01"),
        (
            Request::Stage(meta(353)),
            0,
            "00000024 00000000 02111111 11111111 11111111 11111111 11ac0204 \
             64656d6f 0875702f 612e7478 74e10201",
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
            Request::Carry(orders),
            0,
            "0000004e 00000000 06040004 64656d6f 02757001 11111111 11111111 \
             11111111 11111111 ac020464 656d6f08 75702f61 2e747874 02046465 \
             6d6f0875 702f612e 747874ad 02031111 11111111 11111111 11111111 \
             1111",
        ),
        (
            read(Select::Both),
            0,
            "00000023 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787402 ac0200",
        ),
        (
            read(Select::First),
            0,
            "00000023 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787402 ac0201",
        ),
        (
            read(Select::Second),
            0,
            "00000023 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787402 ac0202",
        ),
        (
            read(Select::Xor),
            0,
            "00000023 00000000 07111111 11111111 11111111 11111111 11046465 \
             6d6f0875 702f612e 74787402 ac0203",
        ),
        (Request::ListStaged { after: None }, 0, "00000002 00000000 0800"),
        (
            Request::ListStaged { after: Some(VERSION) },
            0,
            "00000012 00000000 08011111 11111111 11111111 11111111 1111",
        ),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 9];
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
            Request::Carry(_) => 6,
            Request::Read { .. } => 7,
            Request::ListStaged { .. } => 8,
        }] = true;
    }
    assert_eq!(seen, [true; 9]);
    assert_eq!(PROTOCOL, 2);
}

#[test]
fn every_reply_of_a_node() {
    let carried = vec![Outcome::Done, Outcome::NotHeld, Outcome::Failed("no".into())];
    let replies: [(Reply, usize, &str); 10] = [
        (
            Reply::Welcome { folder: "/srv/files_2".into() },
            0,
            "0000000e 00000000 000c2f73 72762f66 696c6573 5f32",
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
        (Reply::Failed(Failure::NoSpace), 0, "00000002 00000000 0602"),
        (Reply::Failed(Failure::Refused("no".into())), 0, "00000005 00000000 0603026e 6f"),
    ];
    let mut golden = Golden::default();
    let mut seen = [false; 10];
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
            Reply::Failed(Failure::NoSpace) => 8,
            Reply::Failed(Failure::Refused(_)) => 9,
        }] = true;
    }
    assert_eq!(seen, [true; 10]);
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
    let requests: [(Request, &str); 12] = [
        (Request::SignIn { user, password }, "LGN\r\ndemo\r\ncorrect horse\r\n\r\n"),
        (
            Request::SignUp { user: new_user, password: new_password },
            "NEW\r\ndemo\r\ncorrect horse\r\n\r\n",
        ),
        (
            Request::Store { path: path(), bytes: 353, replace: true },
            "STR\r\n/up/a.txt\r\n353\r\n\r\n",
        ),
        (
            Request::Store { path: path(), bytes: 353, replace: false },
            "STR\r\n/up/a.txt\r\n353\r\nreplace=no\r\n\r\n",
        ),
        (Request::Retrieve { path: path() }, "RTV\r\n/up/a.txt\r\n\r\n"),
        (Request::Delete { path: path() }, "DEL\r\n/up/a.txt\r\n\r\n"),
        (Request::List, "INF\r\n\r\n"),
        (Request::SignOut, "LGO\r\n\r\n"),
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
    let mut seen = [false; 11];
    for (request, expected) in requests {
        assert_eq!(String::from_utf8(request.encode()).unwrap(), expected);
        seen[match request {
            Request::SignIn { .. } => 0,
            Request::SignUp { .. } => 1,
            Request::Store { .. } => 2,
            Request::Retrieve { .. } => 3,
            Request::Delete { .. } => 4,
            Request::List => 5,
            Request::SignOut => 6,
            Request::TokenSignIn { .. } => 7,
            Request::IssueToken { .. } => 8,
            Request::RevokeToken => 9,
            Request::ChangePassword { .. } => 10,
        }] = true;
    }
    assert_eq!(seen, [true; 11]);
    assert_eq!(extended::hello_line(), "palk 1");
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
    let folder = Entry::Folder(FolderPath::parse("up").unwrap());
    assert_eq!(folder.encode(), "D\t/up");
    let file = Entry::File(FileEntry {
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

// ---- the catalog ----

#[test]
fn the_tables_of_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("palk.db");
    let catalog = Catalog::open(&file, CLUSTER).unwrap();
    catalog.create_user(&HashGate::default(), &user(), "correct horse", 0).unwrap();
    catalog.remember_node_addresses(&["a:1", "b:2", "c:3", "d:4"].map(str::to_owned)).unwrap();
    catalog.draw_seq().unwrap();
    drop(catalog);

    let database = rusqlite::Connection::open(&file).unwrap();
    let texts = |query: &str| -> Vec<String> {
        let mut query = database.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
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
            "files: user_id INTEGER key, path TEXT key, version BLOB, seq INTEGER, bytes INTEGER, \
             blake3 BLOB, stored_ms INTEGER, placed INTEGER",
            "folders: user_id INTEGER key, path TEXT key",
            "owed: id INTEGER null key, node INTEGER, kind TEXT, user_id INTEGER, path TEXT, \
             version BLOB null, seq INTEGER",
            "settings: key TEXT key, value TEXT",
            "tokens: id INTEGER null key, user_id INTEGER, hash BLOB, machine TEXT, \
             created_ms INTEGER, used_ms INTEGER",
            "users: id INTEGER null key, name TEXT, password TEXT, created_ms INTEGER, state TEXT, \
             generation INTEGER, quota INTEGER null, stored_files INTEGER, stored_bytes INTEGER",
        ]
    );
    let indices =
        texts("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL ORDER BY name");
    assert_eq!(indices, ["owed_by_node", "owed_by_path", "owed_by_version", "tokens_by_user"]);
    let triggers = texts("SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name");
    assert_eq!(triggers, ["file_added", "file_removed", "file_replaced"]);
    let settings = texts("SELECT key || '=' || value FROM settings ORDER BY key");
    let cluster = format!("cluster={}", "22".repeat(16));
    assert_eq!(settings, [cluster.as_str(), "nodes=a:1 b:2 c:3 d:4", "seq_reserved=10000"]);
    let owed = texts("SELECT node || ' ' || kind || ' [' || path || ']' FROM owed ORDER BY id");
    assert_eq!(owed, ["1 folder []", "2 folder []", "3 folder []", "4 folder []"]);
    let password = texts("SELECT password FROM users").remove(0);
    assert!(password.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{password}");
}
