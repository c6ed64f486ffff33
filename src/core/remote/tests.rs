//! The client's half against a server that does what it should, or one thing that it should not.

pub(crate) mod fake;

use std::io::{self, Read};

use self::fake::{FakeServer, Fault, blake3_of};
use super::*;
use crate::core::path::FolderPath;
use crate::core::types::{FileAttributes, Precondition};
use crate::core::wire::extended::{Entry, Extent, Removed};

fn signed_in(server: &FakeServer) -> Remote {
    let mut remote = Remote::connect(&server.address).unwrap();
    remote.sign_in("demo", "pw").unwrap();
    remote
}

fn path(text: &str) -> FilePath {
    FilePath::parse_rooted(text).unwrap()
}

fn content(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

fn store(remote: &mut Remote, bytes: &[u8]) -> Result<Stored> {
    let mut source = bytes;
    let path = path("up/a");
    remote.store(&to_store(&path, bytes.len() as u64), &mut source, &mut |_| {})
}

fn to_store(path: &FilePath, bytes: u64) -> ToStore<'_> {
    let (precondition, attributes) = (Precondition::Any, FileAttributes::default());
    ToStore { path, bytes, precondition, attributes, keep: None }
}

fn retrieve(remote: &mut Remote, sink: &mut Vec<u8>) -> Result<Retrieved> {
    remote.retrieve(&path("up/a"), &Selection::default(), sink, &mut |_| {})
}

#[test]
fn files_of_every_size_come_back() {
    let server = FakeServer::start(Fault::None);
    let mut remote = signed_in(&server);
    for count in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 20 * CHUNK_BYTES + 7] {
        let bytes = content(count);
        let stored = store(&mut remote, &bytes).unwrap();
        assert_eq!((stored.nodes, stored.blake3), (4, blake3_of(&bytes)));
        let mut back = Vec::new();
        let retrieved = retrieve(&mut remote, &mut back).unwrap();
        assert!(back == bytes);
        assert_eq!((retrieved.bytes, retrieved.blake3), (count as u64, stored.blake3));
        assert_eq!(retrieved.nodes, NodeSet::from_bits(0b1001));
    }
}

#[test]
fn a_range_comes_as_it_was_asked_for_or_not_at_all() {
    let server = FakeServer::start(Fault::None);
    let mut remote = signed_in(&server);
    let bytes = content(3 * CHUNK_BYTES);
    store(&mut remote, &bytes).unwrap();
    let part = |remote: &mut Remote, range: &str| {
        let mut back = Vec::new();
        let range = Some(range.parse().unwrap());
        let wanted = Selection { range, ..Selection::default() };
        let retrieved = remote.retrieve(&path("up/a"), &wanted, &mut back, &mut |_| {})?;
        Ok::<_, Error>((back, retrieved.part, retrieved.bytes))
    };
    let (back, told, whole) = part(&mut remote, "7-2000000").unwrap();
    assert!(back == bytes[7..2_000_001] && told == (7..2_000_001));
    assert_eq!(whole, bytes.len() as u64);
    let error = part(&mut remote, "99999999-").unwrap_err();
    assert_eq!(error.code(), Code::Usage);
    assert!(retrieve(&mut remote, &mut Vec::new()).is_ok(), "the connection goes on");

    let server = FakeServer::start(Fault::SendsOtherBytes);
    let mut remote = signed_in(&server);
    store(&mut remote, &bytes).unwrap();
    let error = part(&mut remote, "7-20").unwrap_err();
    assert!(error.to_string().contains("another range"), "{error}");
}

#[test]
fn progress_counts_what_the_server_has_acknowledged() {
    let server = FakeServer::start(Fault::None);
    let mut remote = signed_in(&server);
    let bytes = content(3 * CHUNK_BYTES + 5);
    let mut seen = Vec::new();
    let mut watch = |at: Progress| seen.push((at.bytes, at.committing));
    let total = bytes.len() as u64;
    let path = path("a");
    remote.store(&to_store(&path, total), &mut bytes.as_slice(), &mut watch).unwrap();
    let chunk = CHUNK_BYTES as u64;
    let expected = [(chunk, false), (2 * chunk, false), (3 * chunk, false), (total, false)];
    assert_eq!(seen[..4], expected);
    assert_eq!(seen[4..], [(total, true)]);
}

#[test]
fn signs_of_life_while_a_store_is_committed_are_progress() {
    let server = FakeServer::start(Fault::CommitsSlowly);
    let mut remote = signed_in(&server);
    for bytes in [content(0), content(CHUNK_BYTES + 5)] {
        let mut commits = 0;
        let mut watch = |at: Progress| commits += u32::from(at.committing);
        let (total, path) = (bytes.len() as u64, path("a"));
        remote.store(&to_store(&path, total), &mut bytes.as_slice(), &mut watch).unwrap();
        assert_eq!(commits, 3);
    }
}

#[test]
fn a_refusal_midway_stops_the_store_and_the_connection_goes_on() {
    let server = FakeServer::start(Fault::RefusesMidway);
    let mut remote = signed_in(&server);
    for chunks in [2, 3, 40] {
        let error = store(&mut remote, &content(chunks * CHUNK_BYTES)).unwrap_err();
        assert_eq!((error.code(), error.to_string()), (Code::NoSpace, "the disks are full".into()));
        assert!(remote.is_usable());
    }
    assert!(server.files.lock().is_empty());
    store(&mut remote, b"small").unwrap();
}

/// Reads some bytes, then fails.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let count = buffer.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }
}

#[test]
fn a_source_of_another_size_is_given_up_and_the_connection_goes_on() {
    let server = FakeServer::start(Fault::None);
    let mut remote = signed_in(&server);
    let chunk = CHUNK_BYTES as u64;
    let long = content(12 * CHUNK_BYTES);
    let mut failing = Failing(9 * CHUNK_BYTES);
    let sources: [(&mut dyn Read, &str); 4] = [
        (&mut &long[..], "it ended after 12582912 of its 13631488 bytes"),
        (&mut io::repeat(7), "it has grown beyond its 13631488 bytes meanwhile"),
        (&mut failing, "cannot read it: permission denied"),
        (&mut io::empty(), "it ended after 0 of its 13631488 bytes"),
    ];
    for (source, text) in sources {
        let path = path("a");
        let error = remote.store(&to_store(&path, 13 * chunk), source, &mut |_| {}).unwrap_err();
        assert_eq!((error.code(), error.to_string()), (Code::LocalFile, text.into()));
    }
    assert!(server.files.lock().is_empty());
    store(&mut remote, b"small").unwrap();
}

#[test]
fn a_server_that_stored_other_bytes_is_found_out() {
    let server = FakeServer::start(Fault::StoresOtherBytes);
    let error = store(&mut signed_in(&server), b"some bytes").unwrap_err();
    assert_eq!(error.code(), Code::Damaged);
}

#[test]
fn wrong_bytes_are_never_taken_for_the_file() {
    for fault in [Fault::DamagesChunk, Fault::SendsOtherBytes] {
        let server = FakeServer::start(fault).with_file("/up/a", &content(3 * CHUNK_BYTES));
        let error = retrieve(&mut signed_in(&server), &mut Vec::new()).unwrap_err();
        assert_eq!(error.code(), Code::Damaged, "{fault:?}");
    }
}

#[test]
fn a_connection_that_closes_midway_says_who_closed_it() {
    let server = FakeServer::start(Fault::Closes).with_file("/up/a", &content(3 * CHUNK_BYTES));
    let mut remote = signed_in(&server);
    let error = retrieve(&mut remote, &mut Vec::new()).unwrap_err();
    let text = format!("the connection was closed by server {}", server.address);
    assert_eq!((error.code(), error.to_string()), (Code::Unreachable, text.clone()));
    assert!(!remote.is_usable());
    let error = store(&mut signed_in(&server), &content(40 * CHUNK_BYTES)).unwrap_err();
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_server_that_gives_up_says_why_and_the_connection_goes_on() {
    let server = FakeServer::start(Fault::GivesUp).with_file("/up/a", &content(3 * CHUNK_BYTES));
    let mut remote = signed_in(&server);
    let error = retrieve(&mut remote, &mut Vec::new()).unwrap_err();
    assert_eq!(error.code(), Code::Damaged);
    assert!(error.to_string().contains("two nodes"));
    remote.delete(&path("up/a")).unwrap();
}

#[test]
fn a_farewell_is_passed_on() {
    let server = FakeServer::start(Fault::Disconnects);
    let mut remote = Remote::connect(&server.address).unwrap();
    let error = remote.sign_in("demo", "pw").unwrap_err();
    assert_eq!(error.code(), Code::Temporary);
    assert!(error.to_string().contains("going down"));
    assert!(!remote.is_usable());
}

#[test]
fn a_change_whose_answer_does_not_come_is_in_doubt() {
    let server = FakeServer::start(Fault::ClosesBeforeAnswer).with_file("/up/a", b"x");
    let folder = FolderPath::parse_rooted("up").unwrap();
    type Change<'a> = &'a dyn Fn(&mut Remote) -> Result<()>;
    let changes: [Change<'_>; 10] = [
        &|remote| remote.delete(&path("up/a")),
        &|remote| remote.make_folder(&folder, true),
        &|remote| remote.remove_folder(&folder, true).map(drop),
        &|remote| remote.move_to(&path("up/a"), &folder, true).map(drop),
        &|remote| remote.copy(&path("up/a"), &folder, [true, true]).map(drop),
        &|remote| remote.change_password("pw", "new"),
        &|remote| remote.issue_token("here").map(drop),
        &|remote| remote.revoke_token(),
        &|remote| remote.sign_up("ann", "pw"),
        &|remote| store(remote, &content(3 * CHUNK_BYTES)).map(drop),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut remote = signed_in(&server);
        let error = change(&mut remote).unwrap_err();
        assert_eq!(error.code(), Code::InDoubt, "{at}: {error}");
        assert!(error.to_string().starts_with("no answer came (the connection was closed by"));
        assert!(!remote.is_usable());
    }
    // What only asks did certainly change nothing.
    let closes = FakeServer::start(Fault::Closes).with_file("/up/a", &content(3 * CHUNK_BYTES));
    let error = retrieve(&mut signed_in(&closes), &mut Vec::new()).unwrap_err();
    assert_eq!(error.code(), Code::Unreachable);
    let error = store(&mut signed_in(&closes), &content(40 * CHUNK_BYTES)).unwrap_err();
    assert_eq!(error.code(), Code::Unreachable, "it was cut off before its end was sent");
}

#[test]
fn a_listing_comes_line_by_line() {
    let server = FakeServer::start(Fault::None);
    let mut remote = signed_in(&server);
    let mut empty = 0;
    let mut count = |_| {
        empty += 1;
        Ok(())
    };
    remote.list(&mut count).unwrap();
    assert_eq!(empty, 0);
    // More than fits into the client's buffer at once.
    let name = "n".repeat(200);
    for i in 0..6000 {
        server.files.lock().insert(format!("/d/{name}{i:04}"), vec![]);
    }
    let mut count = 0;
    let mut each = |entry| {
        count += usize::from(matches!(entry, Entry::File(_)));
        Ok(())
    };
    remote.list(&mut each).unwrap();
    assert_eq!(count, 6000);
    assert!(remote.is_usable());
}

#[test]
fn errors_of_requests_leave_the_connection_usable() {
    let server = FakeServer::start(Fault::None).with_file("/up/a", b"x");
    let mut remote = Remote::connect(&server.address).unwrap();
    assert_eq!(remote.sign_in("demo", "no").unwrap_err().code(), Code::SignIn);
    remote.sign_in("demo", "pw").unwrap();
    assert_eq!(remote.delete(&path("b")).unwrap_err().code(), Code::NoSuchFile);
    let mut source: &[u8] = b"y";
    for (there, precondition, code) in [
        ("up/a", Precondition::Absent, Code::Exists),
        ("up/b", Precondition::Present, Code::NoSuchFile),
        ("up/a", Precondition::Unchanged(VersionId([1; 16])), Code::Changed),
    ] {
        let path = path(there);
        let wanted = ToStore { precondition, ..to_store(&path, 1) };
        let error = remote.store(&wanted, &mut source, &mut |_| {});
        assert_eq!(error.unwrap_err().code(), code);
    }
    assert_eq!(source, b"y", "nothing of it was read");
    assert!(remote.is_usable());
}

#[test]
fn the_servers_own_questions_lead_in_and_again_after_a_sign_out() {
    let server = FakeServer::start(Fault::None).with_file("/up/a", b"x");
    let (mut remote, said) = Remote::connect_and_ask(&server.address).unwrap();
    assert_eq!(said.questions, ["Username: ", "Password: "]);
    assert_eq!(remote.answer(&["nobody", ""]).unwrap().questions.len(), 1);
    assert_eq!(remote.answer(&["NO"]).unwrap().questions.len(), 2);
    assert!(remote.answer(&["demo", "pw"]).unwrap().is_welcome());
    remote.delete(&path("up/a")).unwrap();
    remote.sign_out().unwrap();
    assert_eq!(remote.ask().unwrap().questions.len(), 2);
}

#[test]
fn a_server_of_another_kind_is_a_version_mismatch() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        io::Write::write_all(&mut socket, b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n").unwrap();
        io::copy(&mut socket, &mut io::sink()).unwrap();
    });
    assert_eq!(Remote::connect(&address).unwrap_err().code(), Code::Version);
}

#[test]
fn a_server_that_is_too_old_to_tell_its_status_says_so() {
    let server = FakeServer::start(Fault::None);
    let mut remote = signed_in(&server);
    let error = remote.status().unwrap_err();
    assert_eq!(error.code(), Code::Version, "{error}");
    assert!(remote.is_usable());
    assert!(store(&mut remote, b"bytes").is_ok());
}

#[test]
fn folders_are_made_looked_into_and_removed() {
    let server = FakeServer::start(Fault::None).with_file("/up/a", b"x");
    let mut remote = signed_in(&server);
    let folder = |text: &str| FolderPath::parse_rooted(text).unwrap();
    remote.make_folder(&folder("up/new"), false).unwrap();
    let code = |done: Result<()>| done.unwrap_err().code();
    assert_eq!(code(remote.make_folder(&folder("up/new"), false)), Code::Exists);
    assert_eq!(code(remote.make_folder(&folder("no/new"), false)), Code::NoSuchFolder);
    remote.make_folder(&folder("deep/er"), true).unwrap();
    let mut below = |extent| {
        let mut seen = Vec::new();
        let each = &mut |entry| {
            seen.push(match entry {
                Entry::Folder(folder) => format!("{folder}/"),
                Entry::File(file) => file.path.to_string(),
            });
            Ok(())
        };
        remote.list_below(&folder("up"), extent, each).unwrap();
        seen
    };
    assert_eq!(below(Extent::Children), ["up/a", "up/new/"]);
    assert_eq!(below(Extent::Itself), ["up/"]);
    assert!(matches!(remote.look(&folder("up/a")), Ok(Entry::File(_))));
    assert_eq!(remote.look(&folder("up/b")).unwrap_err().code(), Code::NoSuchFile);
    assert_eq!(remote.remove_folder(&folder("up"), false).unwrap_err().code(), Code::NotAllowed);
    let removed = remote.remove_folder(&folder("up"), true).unwrap();
    assert_eq!(removed, Removed { folders: 2, files: 1 });
    assert!(server.files.lock().is_empty() && remote.is_usable());
}

#[test]
fn a_file_is_moved_into_a_folder_or_gets_another_name() {
    let server = FakeServer::start(Fault::None).with_file("/a", b"x").with_file("/up/a", b"y");
    let mut remote = signed_in(&server);
    let folder = |text: &str| FolderPath::parse_rooted(text).unwrap();
    let error = remote.move_to(&path("a"), &folder("up"), false).unwrap_err();
    assert_eq!(error.code(), Code::Exists);
    let moved = remote.move_to(&path("a"), &folder("up"), true).unwrap();
    assert_eq!((moved.to, moved.is_folder, moved.replaced), (path("up/a"), false, true));
    let moved = remote.move_to(&path("up"), &folder("down"), false).unwrap();
    assert_eq!((moved.to, moved.is_folder, moved.files), (path("down"), true, 1));
    assert_eq!(server.files.lock()["/down/a"], b"x");
    let error = remote.move_to(&path("no"), &folder("x"), false).unwrap_err();
    assert_eq!(error.code(), Code::NoSuchFile);
    assert!(remote.is_usable());
}

#[test]
fn a_file_is_copied_and_a_folder_where_that_is_asked_for() {
    let server = FakeServer::start(Fault::None).with_file("/a", b"x").with_file("/up/a", b"y");
    let mut remote = signed_in(&server);
    let folder = |text: &str| FolderPath::parse_rooted(text).unwrap();
    let error = remote.copy(&path("a"), &folder("up"), [false, false]).unwrap_err();
    assert_eq!(error.code(), Code::Exists);
    let copied = remote.copy(&path("a"), &folder("up"), [false, true]).unwrap();
    assert_eq!((copied.to, copied.is_folder, copied.replaced), (path("up/a"), false, true));
    let error = remote.copy(&path("up"), &folder("down"), [false, false]).unwrap_err();
    assert_eq!(error.code(), Code::NotAllowed);
    let copied = remote.copy(&path("up"), &folder("down"), [true, false]).unwrap();
    assert_eq!((copied.to, copied.is_folder, copied.files), (path("down"), true, 1));
    for path in ["/a", "/up/a", "/down/a"] {
        assert_eq!(server.files.lock()[path], b"x");
    }
}
