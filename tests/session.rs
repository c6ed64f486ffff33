//! Conversations with the session machine, byte for byte: every row of the specified tables, in
//! every manner of speaking, and each of them with its bytes cut and joined in every way.

#[path = "session/folders.rs"]
mod folders;

use std::collections::BTreeMap;

use palk::core::error::{Code, Error, Result};
use palk::core::path::{FilePath, FolderPath, PathError, UserName};
use palk::core::session::{Dialect, Found, Framing, Patience, Session, Step, Stored};
use palk::core::types::{Digest, FileAttributes, NodeSet, Precondition, VersionId};
use palk::core::wire::chunk;
use palk::core::wire::extended::{Entry, FileEntry, Moved, Removed, UploadRequest};
use palk::core::wire::lines::MESSAGE_BYTES_MAX;
use palk::core::wire::token::Token;
use proptest::prelude::*;

/// What the loop reads at once.
const READ_BYTES_MAX: usize = 16 * 1024;
/// More steps than any conversation here takes.
const STEPS_MAX: usize = 100_000;

/// What has come of the one upload there is.
const ARRIVED: u64 = 9;

/// The one token there is.
const TOKEN: Token = Token([0x44; 32]);

/// Plays the loop and the server's core around a session: a table of accounts and files, and names
/// that stand for trouble (`full`: refused before its bytes, `late`: fails after them or half-way,
/// `broken`: an internal failure).
struct Stage {
    session: Session,
    accounts: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    /// Everything that was sent, each segment by itself; also `<settle>`, `<out NAME>`, `<close>`.
    said: Vec<Vec<u8>>,
    pending: Option<(FilePath, u64, Framing)>,
    /// It is a part of an upload.
    is_part: bool,
    /// What is still to be listed, and how much of it at once.
    listing: Vec<Entry>,
    page_entries: usize,
    /// A step whose body has not come whole yet, and what has come of it.
    unfinished: Option<Step>,
    body: Vec<u8>,
}

impl Stage {
    fn new(dialect: Dialect) -> Stage {
        Stage {
            session: Session::new(dialect),
            accounts: BTreeMap::from([("demo".into(), "yeet123".into())]),
            files: BTreeMap::from([("test/yeet.txt".into(), b"hello".to_vec())]),
            said: Vec::new(),
            pending: None,
            is_part: false,
            listing: Vec::new(),
            page_entries: 100,
            unfinished: None,
            body: Vec::new(),
        }
    }

    /// Feeds `pieces` as they are wanted, and is silent after them where the session only waits
    /// for grace. Ends at the end of the pieces or with the connection.
    fn play(&mut self, pieces: &[&[u8]]) {
        let mut wire: Vec<Vec<u8>> = pieces.iter().rev().map(|piece| piece.to_vec()).collect();
        for _ in 0..STEPS_MAX {
            assert!(self.session.buffered() <= MESSAGE_BYTES_MAX + READ_BYTES_MAX);
            match self.unfinished.take().unwrap_or_else(|| self.session.next_step()) {
                Step::Close => {
                    self.note("<close>");
                    return;
                }
                Step::Read(patience) => match (wire.pop(), patience) {
                    (Some(mut piece), _) => {
                        if piece.len() > READ_BYTES_MAX {
                            wire.push(piece.split_off(READ_BYTES_MAX));
                        }
                        self.session.receive(&piece);
                    }
                    (None, Patience::Grace) => self.session.silence(),
                    (None, _) => return,
                },
                step => {
                    if self.act(step.clone(), &mut wire).is_none() {
                        // The body goes on in a later turn.
                        self.unfinished = Some(step);
                        return;
                    }
                }
            }
        }
        panic!("the session does not come to rest");
    }

    fn note(&mut self, what: &str) {
        self.said.push(what.as_bytes().to_vec());
    }

    fn act(&mut self, step: Step, wire: &mut Vec<Vec<u8>>) -> Option<()> {
        match step {
            Step::Send(bytes) => self.said.push(bytes),
            Step::Settle => self.note("<settle>"),
            Step::Status => self.session.status_told(Ok(STATUS.into())),
            Step::SignedOut(user) => self.note(&format!("<out {user}>")),
            Step::SignIn { user, password } => {
                let outcome = self.sign_in(&user, &password);
                self.session.signed_in(outcome);
            }
            Step::SignUp { user, password } => {
                let outcome = self.sign_up(&user, &password);
                self.session.signed_up(outcome);
            }
            Step::Store { path, bytes, precondition, framing, .. } => {
                match self.refusal(&path, bytes, precondition) {
                    Some(error) => self.session.store_refused(&error),
                    None => {
                        (self.pending, self.is_part) = (Some((path, bytes, framing)), false);
                        self.session.store_ready();
                    }
                }
            }
            Step::ReceiveBody
                if self.pending.as_ref().is_some_and(|(path, ..)| path.name() == "broken") =>
            {
                let lost = Error::other(Code::TooFewNodes, "nodes 1 and 3 went down");
                self.session.store_broken(&lost);
            }
            Step::ReceiveBody => {
                let outcome = self.receive_body(wire)?;
                match self.is_part {
                    true => self.session.part_stored(outcome.map(|_| ARRIVED)),
                    false => self.session.stored(outcome),
                }
            }
            Step::StorePart { upload, offset, bytes } => {
                self.note(&format!("<part {upload} {offset} {bytes}>"));
                let path = FilePath::parse_rooted("part").unwrap();
                (self.pending, self.is_part) = (Some((path, bytes, Framing::Chunks)), true);
                self.session.store_ready();
            }
            Step::Upload(UploadRequest::Complete { .. }) => {
                let (version, digest) = (VersionId([1; 16]), Digest([2; 32]));
                let nodes = NodeSet::from_bits(0b1111);
                self.session.upload_completed(Ok(Stored { version, digest, nodes }));
            }
            Step::Upload(request) => self.session.history_told(Ok(vec![format!("{request:?}")])),
            Step::DropChunks => {
                // Up to the end chunk or `given up`; either way the boundaries are known.
                let _ = self.receive_chunks(wire)?;
                self.body.clear();
                self.session.body_dropped();
            }
            Step::DropBody(bytes) => {
                self.pull(bytes.try_into().unwrap_or(usize::MAX), wire)?;
                self.body.clear();
                self.session.body_dropped();
            }
            Step::Retrieve { path, framing, .. } => match self.find(&path) {
                Ok(found) => {
                    self.pending = Some((path, found.bytes, framing));
                    self.session.retrieve_ready(&found);
                }
                Err(error) => self.session.retrieve_failed(&error),
            },
            Step::SendBody => {
                let outcome = self.send_body();
                self.session.retrieved(outcome);
            }
            Step::Delete { path } => {
                let outcome = self.find(&path).map(|_| drop(self.files.remove(path.as_str())));
                self.session.deleted(outcome);
            }
            Step::List { path, extent, .. } => {
                self.note_extended(&format!("<list /{path} {extent:?}>"), !path.is_top());
                self.listing = self.entries();
                self.list_on();
            }
            Step::ListOn => self.list_on(),
            Step::SetAttributes { path, version, attributes } => {
                self.note(&format!("<set /{path} {version} {attributes:?}>"));
                let outcome = self.find(&path).map(drop);
                self.session.changed(outcome);
            }
            Step::MakeFolder { folder, parents } => {
                self.note(&format!("<make /{folder} {parents}>"));
                let there = folder.as_str() == "test" && !parents;
                let outcome = if there { Err(Error::FolderExists(folder)) } else { Ok(()) };
                self.session.changed(outcome);
            }
            Step::RemoveFolder { folder, recursive } => {
                self.note(&format!("<remove /{folder} {recursive}>"));
                let removed = Removed { folders: 1, files: 2 };
                let outcome =
                    if recursive { Ok(removed) } else { Err(Error::FolderNotEmpty(folder)) };
                self.session.folder_removed(outcome);
            }
            Step::Move { from, to, replace } => {
                self.note(&format!("<move /{from} /{to} {replace}>"));
                let outcome = match to.join(from.name()) {
                    Ok(to) if replace => {
                        Ok(Moved { to, is_folder: false, files: 1, replaced: true })
                    }
                    Ok(to) => Err(Error::Exists(to)),
                    Err(error) => Err(error.into()),
                };
                self.session.moved(outcome);
            }
            Step::Copy { from, to, recursive, replace } => {
                self.note(&format!("<copy /{from} /{to} {recursive} {replace}>"));
                let outcome = to.join(from.name()).map_err(Error::from);
                let is_folder = recursive;
                let copied = |to| Moved { to, is_folder, files: 1, replaced: replace };
                self.session.moved(outcome.map(copied));
            }
            Step::Keys(request) => self.session.history_told(Ok(vec![format!("{request:?}")])),
            Step::History(request) => {
                self.note(&format!("<history {request:?}>"));
                self.session.history_told(Ok(vec!["one".into(), "two".into()]));
            }
            Step::SignInByToken { user, token } => {
                let outcome = if token == TOKEN { Ok(()) } else { Err(Error::TokenRefused) };
                self.session.signed_in(outcome.and_then(|()| Ok(UserName::parse(&user)?)));
            }
            Step::IssueToken { machine } => {
                self.note(&format!("<token for {machine}>"));
                self.session.account_done(Ok(Some(TOKEN)));
            }
            Step::RevokeToken => self.session.account_done(Ok(None)),
            Step::ChangePassword { old, new } => {
                let user = self.session.user().unwrap().to_string();
                let right = self.accounts.get(&user) == Some(&old);
                if right {
                    self.accounts.insert(user.clone(), new);
                }
                let outcome = if right { Ok(None) } else { Err(Error::WrongPassword(user)) };
                self.session.account_done(outcome);
            }
            Step::Read(_) | Step::Close => unreachable!(),
        }
        Some(())
    }

    fn sign_in(&self, user: &str, password: &str) -> Result<UserName> {
        match self.accounts.get(user) {
            _ if user == "hasty" => Err(Error::other(Code::Temporary, "wait 7 seconds")),
            None => Err(Error::NoSuchUser(user.into())),
            Some(right) if right == password => Ok(UserName::parse(user)?),
            Some(_) => Err(Error::WrongPassword(user.into())),
        }
    }

    fn sign_up(&mut self, user: &str, password: &str) -> Result<UserName> {
        if user == "closed" {
            return Err(Error::other(Code::NotAllowed, "no accounts are made here"));
        }
        let name = UserName::parse(user)?;
        if self.accounts.contains_key(user) {
            return Err(Error::UserExists(user.into()));
        }
        self.accounts.insert(user.into(), password.into());
        Ok(name)
    }

    fn find(&self, path: &FilePath) -> Result<Found> {
        if path.name() == "broken" {
            return Err(Error::Catalog("database is locked".into()));
        }
        let Some(bytes) = self.files.get(path.as_str()) else {
            let folder = path.folder();
            let inside = format!("{}/", folder.as_str());
            let known = folder.is_top() || self.files.keys().any(|key| key.starts_with(&inside));
            return Err(if known {
                Error::NoSuchFile(path.clone())
            } else {
                Error::NoSuchFolder(folder)
            });
        };
        Ok(Found {
            bytes: bytes.len() as u64,
            part: 0..bytes.len() as u64,
            version: VersionId([1; 16]),
            digest: Digest([2; 32]),
            stored_ms: 1_700_000_000_000,
            attributes: Default::default(),
        })
    }

    /// Why a store is not taken, if it is not.
    fn refusal(&self, path: &FilePath, bytes: u64, precondition: Precondition) -> Option<Error> {
        let is_there = self.files.contains_key(path.as_str());
        match precondition {
            _ if path.name() == "full" => Some(Error::TooBig { bytes, limit: 1 }),
            Precondition::Absent if is_there => Some(Error::Exists(path.clone())),
            Precondition::Present if !is_there => Some(Error::NoSuchFile(path.clone())),
            Precondition::Unchanged(version) if version != VersionId([1; 16]) => {
                let by = Some("ann from 10.0.0.2:4000".to_owned());
                Some(Error::ChangedMeanwhile { path: path.clone(), by, at_ms: 1_700_000_000_123 })
            }
            _ => None,
        }
    }

    /// The next page.
    fn list_on(&mut self) {
        let rest = self.listing.split_off(self.page_entries.min(self.listing.len()));
        let page = std::mem::replace(&mut self.listing, rest);
        self.session.listed(Ok(page));
    }

    fn note_extended(&mut self, what: &str, on: bool) {
        if on {
            self.note(what);
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = BTreeMap::new();
        for (path, bytes) in &self.files {
            let path = FilePath::parse_rooted(path).unwrap();
            for folder in path.folder().ancestry() {
                entries.insert(folder.as_str().to_owned(), Entry::Folder(folder));
            }
            let key = path.as_str().to_owned();
            let file = FileEntry {
                path,
                bytes: bytes.len() as u64,
                stored_ms: 5,
                version: VersionId([1; 16]),
                blake3: Digest([2; 32]),
                placed: NodeSet::ALL,
                attributes: FileAttributes { modified_ms: Some(6), kind: None },
            };
            entries.insert(key, Entry::File(file));
        }
        entries.into_values().collect()
    }

    /// Makes sure that so many bytes of the body have come, first those that the session holds.
    fn pull(&mut self, count: usize, wire: &mut Vec<Vec<u8>>) -> Option<()> {
        while self.body.len() < count {
            let wanted = count - self.body.len();
            let buffered = self.session.take_buffered(wanted as u64);
            if !buffered.is_empty() {
                self.body.extend(buffered);
                continue;
            }
            let mut piece = wire.pop()?;
            if piece.len() > wanted {
                wire.push(piece.split_off(wanted));
            }
            self.body.extend(piece);
        }
        Some(())
    }

    fn receive_body(&mut self, wire: &mut Vec<Vec<u8>>) -> Option<Result<Stored>> {
        let (path, bytes, framing) = self.pending.clone().unwrap();
        let body = match framing {
            Framing::Raw => self.pull(bytes.try_into().unwrap(), wire).map(|()| Ok(()))?,
            Framing::Chunks => self.receive_chunks(wire)?,
        };
        let bytes = std::mem::take(&mut self.body);
        Some(body.and_then(|()| {
            if path.name() == "late" {
                return Err(Error::other(Code::TooFewNodes, "nodes 1 and 3 went down"));
            }
            self.files.insert(path.as_str().to_owned(), bytes);
            let digest = Digest([2; 32]);
            Ok(Stored { version: VersionId([1; 16]), digest, nodes: NodeSet::from_bits(0b1011) })
        }))
    }

    fn receive_chunks(&mut self, wire: &mut Vec<Vec<u8>>) -> Option<Result<()>> {
        let mut at = 0;
        loop {
            let head_end = at + chunk::HEAD_BYTES;
            self.pull(head_end, wire)?;
            match chunk::decode_head(&self.body[at..head_end].try_into().unwrap()) {
                Ok(chunk::Head::Data { length, .. }) => at = head_end + length,
                Ok(chunk::Head::End { .. }) => {
                    return self.pull(head_end + 32, wire).map(Ok);
                }
                Ok(chunk::Head::GivenUp) => {
                    return Some(Err(Error::other(Code::Interrupted, "given up by the client")));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn send_body(&mut self) -> Result<NodeSet> {
        let (path, _, _) = self.pending.take().unwrap();
        if path.name() == "late" {
            self.note("<half>");
            return Err(Error::Damaged("no two nodes agree".into()));
        }
        let body = self.files[path.as_str()].clone();
        self.said.push(body);
        Ok(NodeSet::from_bits(0b1001))
    }
}

fn said(stage: &Stage) -> Vec<String> {
    stage.said.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

/// What the server says to `turns`, each of which the client ends by waiting for an answer.
fn conversation(dialect: Dialect, turns: &[Vec<&[u8]>]) -> Vec<String> {
    let mut stage = Stage::new(dialect);
    for pieces in turns {
        stage.play(pieces);
    }
    said(&stage)
}

/// Checks that `turns` are answered by the segments `expected`; that each turn may be cut at every
/// byte; that all turns may come joined; and that these may be cut at every byte, or at every two.
#[track_caller]
fn check(dialect: Dialect, turns: &[&[u8]], expected: &[&str]) {
    let whole: Vec<Vec<&[u8]>> = turns.iter().map(|turn| vec![*turn]).collect();
    assert_eq!(conversation(dialect, &whole), expected);
    for (at, turn) in turns.iter().enumerate() {
        for cut in 0..turn.len() {
            let mut pieces = whole.clone();
            pieces[at] = vec![&turn[..cut], &turn[cut..]];
            assert_eq!(conversation(dialect, &pieces), expected, "turn {at} cut at {cut}");
        }
    }
    let bytewise: Vec<Vec<&[u8]>> = turns.iter().map(|turn| turn.chunks(1).collect()).collect();
    assert_eq!(conversation(dialect, &bytewise), expected, "byte by byte");
    let joined = turns.concat();
    for cut in 0..=joined.len() {
        let pieces = vec![&joined[..cut], &joined[cut..]];
        assert_eq!(conversation(dialect, &[pieces]), expected, "joined, cut at {cut}");
        if joined.len() <= 80 {
            for second in cut..joined.len() {
                let pieces = vec![&joined[..cut], &joined[cut..second], &joined[second..]];
                let said = conversation(dialect, &[pieces]);
                assert_eq!(said, expected, "joined, cut at {cut} and {second}");
            }
        }
    }
}

const HI: &[u8] = b"HI\r\n\r\n";
const DEMO: &[u8] = b"demo\r\nyeet123\r\n\r\n";
const GREETING: &str = "S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
const WELCOME: &str = "S\r\nWelcome demo! You are a legend...\r\n\r\n";
const UNKNOWN: &str = "E\r\nUsername does not exist in database!\r\n1\r\n\
                       Do you want to create an account (YES or NO): \r\n\r\n";
const FORM: &str =
    "S\r\n3\r\nEnter Desired Username: \r\nEnter password: \r\nConfirm password: \r\n\r\n";
const BADLY: &str = "E\r\nBadly Formatted Message\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
const DIFFER: &str =
    "E\r\nPasswords did not match...\r\n2\r\nEnter password: \r\nConfirm password: \r\n\r\n";
const TAKEN: &str = "E\r\nUsername already exists in database!\r\n3\r\nEnter Desired Username: \r\n\
                     Enter password: \r\nConfirm password: \r\n\r\n";
const GREETING_2020: &str = "HI\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
const WELCOME_2020: &str = "S\r\nWelcome demo! You are a legend...\r\n";
const FORM_2020: &str =
    "L\r\n3\r\nEnter Desired Username: \r\nEnter password: \r\nConfirm password: \r\n\r\n";

/// A specified conversation after the hello.
#[track_caller]
fn signing_in(turns: &[&[u8]], expected: &[&str]) {
    check(Dialect::Spec, &[&[HI], turns].concat(), &[&[GREETING], expected].concat());
}

/// Requests in a specified session.
#[track_caller]
fn asking(turns: &[&[u8]], expected: &[&str]) {
    signing_in(&[&[DEMO], turns].concat(), &[&[WELCOME], expected].concat());
}

/// Requests in a session of the 2020 dialect.
#[track_caller]
fn asking_2020(turns: &[&[u8]], expected: &[&str]) {
    let expected = [&[GREETING_2020, WELCOME_2020], expected].concat();
    check(Dialect::Year2020, &[&[HI, DEMO], turns].concat(), &expected);
}

/// Requests in an extended session, under either dialect.
#[track_caller]
fn asking_extended(turns: &[&[u8]], expected: &[&str]) {
    let hello: &[&[u8]] = &[b"HI\r\npalk 1\r\n\r\n", b"LGN\r\ndemo\r\nyeet123\r\n\r\n"];
    let expected = [&["S\r\npalk 1\r\n\r\n", "S\r\nuser=demo\r\n\r\n"], expected].concat();
    for dialect in [Dialect::Spec, Dialect::Year2020] {
        check(dialect, &[hello, turns].concat(), &expected);
    }
}

#[test]
fn what_is_no_hello_is_left_without_a_word() {
    for bytes in [&b"X"[..], b"HELLO\r\n\r\n", b"hi\r\n\r\n", b"\r\n", b"HI\n\n", b"\x16\x03\x01"] {
        check(Dialect::Spec, &[bytes], &["<close>"]);
        check(Dialect::Year2020, &[bytes], &["<close>"]);
    }
    let mut long = b"HI\r\n".to_vec();
    long.resize(MESSAGE_BYTES_MAX + 1, b'a');
    assert_eq!(conversation(Dialect::Spec, &[vec![&long]]), ["<close>"]);
}

#[test]
fn a_hello_may_say_more_about_the_client() {
    let hello = &b"HI\r\ncolour=red\r\n\xff\r\nask\r\n\r\n"[..];
    check(Dialect::Spec, &[hello], &[GREETING]);
    check(Dialect::Year2020, &[hello], &[GREETING_2020]);
    check(Dialect::Spec, &[b"HI\r\npalk one\r\n\r\n"], &[GREETING]);
    check(Dialect::Spec, &[b"HI\r\npalk 0\r\n\r\n"], &[GREETING]);
    check(Dialect::Spec, &[b"HI\r\npalk 7\r\n\r\n"], &["S\r\npalk 1\r\n\r\n"]);
}

#[test]
fn a_known_user_with_the_right_password_is_welcome() {
    signing_in(&[DEMO], &[WELCOME]);
    signing_in(&[b"LGN\r\ndemo\r\nyeet123\r\n\r\n"], &[WELCOME]);
}

#[test]
fn a_wrong_password_is_asked_for_again() {
    let wrong =
        "E\r\nPassword did not match username demo\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
    signing_in(&[b"demo\r\nyeet\r\n\r\n", DEMO], &[wrong, WELCOME]);
    signing_in(&[b"demo\r\n\r\n\r\n", DEMO], &[wrong, WELCOME]);
    signing_in(&[b"LGN\r\ndemo\r\nx\r\n\r\n", DEMO], &[wrong, WELCOME]);
    let hasty = "E\r\nwait 7 seconds\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
    signing_in(&[b"hasty\r\nx\r\n\r\n", DEMO], &[hasty, WELCOME]);
}

#[test]
fn an_unknown_user_may_make_an_account() {
    let ann = "S\r\nWelcome Ann! You are a legend...\r\n\r\n";
    let turns: &[&[u8]] = &[b"bob\r\nx\r\n\r\n", b"YES\r\n\r\n", b"Ann\r\np q\r\np q\r\n\r\n"];
    signing_in(turns, &[UNKNOWN, FORM, ann]);
    signing_in(&[b"bob\r\nx\r\n\r\n", b"NO\r\n\r\n", DEMO], &[UNKNOWN, GREETING, WELCOME]);
    signing_in(&[b"bob\r\nx\r\n\r\n", b"yes\r\n\r\n", DEMO], &[UNKNOWN, GREETING, WELCOME]);
    signing_in(&[b"bob\r\nx\r\n\r\n", b"\r\n\r\n", DEMO], &[UNKNOWN, GREETING, WELCOME]);
}

#[test]
fn a_name_that_is_taken_or_none_brings_the_form_again() {
    let ann = "S\r\nWelcome Ann! You are a legend...\r\n\r\n";
    let start: &[&[u8]] = &[b"bob\r\nx\r\n\r\n", b"YES\r\n\r\n"];
    let turns = [start, &[b"demo\r\np\r\np\r\n\r\n", b"Ann\r\np\r\np\r\n\r\n"]].concat();
    signing_in(&turns, &[UNKNOWN, FORM, TAKEN, ann]);
    let name = format!(
        "E\r\n{}\r\n3\r\nEnter Desired Username: \r\nEnter password: \r\nConfirm password: \r\n\r\n",
        PathError::UserName
    );
    let turns = [start, &[b"a b\r\np\r\np\r\n\r\n", b"Ann\r\np\r\np\r\n\r\n"]].concat();
    signing_in(&turns, &[UNKNOWN, FORM, &name, ann]);
    let turns = [start, &[b"closed\r\np\r\np\r\n\r\n", DEMO]].concat();
    let closed = "E\r\nno accounts are made here\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
    signing_in(&turns, &[UNKNOWN, FORM, closed, WELCOME]);
}

#[test]
fn passwords_that_differ_are_asked_for_again_and_the_name_is_kept() {
    let ann = "S\r\nWelcome Ann! You are a legend...\r\n\r\n";
    let turns: &[&[u8]] = &[
        b"bob\r\nx\r\n\r\n",
        b"YES\r\n\r\n",
        b"Ann\r\np\r\nq\r\n\r\n",
        b"r\r\ns\r\n\r\n",
        b"t\r\nt\r\n\r\n",
    ];
    signing_in(turns, &[UNKNOWN, FORM, DIFFER, DIFFER, ann]);
    let turns: &[&[u8]] = &[
        b"bob\r\nx\r\n\r\n",
        b"YES\r\n\r\n",
        b"demo\r\np\r\nq\r\n\r\n",
        b"t\r\nt\r\n\r\n",
        b"Ann\r\n\r\n\r\n\r\n",
    ];
    signing_in(turns, &[UNKNOWN, FORM, DIFFER, TAKEN, ann]);
}

#[test]
fn a_badly_formed_answer_brings_the_login_again() {
    signing_in(&[b"demo\r\n\r\n", DEMO], &[BADLY, WELCOME]);
    signing_in(&[b"demo\r\na\r\nb\r\n\r\n", DEMO], &[BADLY, WELCOME]);
    signing_in(&[b"\r\n\r\n\r\n", DEMO], &[BADLY, WELCOME]);
    signing_in(&[b"LGN\r\na\r\nb\r\nc\r\nd\r\n\r\n", DEMO], &[BADLY, WELCOME]);
    signing_in(&[b"bob\r\nx\r\n\r\n", b"YES\r\nNO\r\n\r\n", DEMO], &[UNKNOWN, BADLY, WELCOME]);
    let turns: &[&[u8]] = &[b"bob\r\nx\r\n\r\n", b"YES\r\n\r\n", b"a\r\nb\r\nc\r\nd\r\n\r\n", DEMO];
    signing_in(turns, &[UNKNOWN, FORM, BADLY, WELCOME]);
    let text = "E\r\nBadly Formatted Message\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
    signing_in(&[b"de\xffmo\r\nx\r\n\r\n", DEMO], &[text, WELCOME]);
}

#[test]
fn an_answer_of_empty_lines_is_badly_formed_once_nothing_more_comes() {
    for answer in [&b"\r\n"[..], b"\r\n\r\n", b"demo\r\n\r\n"] {
        let turns = [vec![HI], vec![answer], vec![DEMO]];
        assert_eq!(conversation(Dialect::Spec, &turns), [GREETING, BADLY, WELCOME]);
    }
}

#[test]
fn a_user_may_be_called_lgn() {
    let turns = [vec![HI], vec![&b"LGN\r\npass\r\n\r\n"[..]]];
    assert_eq!(conversation(Dialect::Spec, &turns), [GREETING, UNKNOWN]);
    check(
        Dialect::Year2020,
        &[HI, b"LGN\r\npass\r\n\r\n", b"NO\r\n\r\n"],
        &[GREETING_2020, UNKNOWN, GREETING_2020],
    );
}

const CREATED: &str = "S\r\nFile NAME successfully created and written to\r\n\r\n";
const SHORT: &str = "E\r\nERROR Did not receive all the data!\r\n\r\n";
const SHORT_STORE: &str =
    "E\r\nERROR Did not receive all the parameters required for opcode:STR\r\n\r\n";
const OPCODE: &str = "E\r\nERROR Opcode was invalid!\r\n\r\n";
/// What the loop answers when it is asked how the cluster is.
const STATUS: &str = r#"{"state":"healthy","v":1}"#;

const INF: &[u8] = b"INF\r\n\r\n";
const LISTED: &str = "S\r\n/demo/test\r\n/demo/test/yeet.txt\r\n\r\n";

#[test]
fn a_file_is_stored() {
    let a = &CREATED.replace("NAME", "a");
    let store = &b"STR\r\na\r\ntest\r\n5\r\n\r\n\r\n\r\nx"[..];
    let listed = "S\r\n/demo/test\r\n/demo/test/a\r\n/demo/test/yeet.txt\r\n\r\n";
    asking(&[store, INF], &[a, listed]);
    asking(&[b"STR\r\na\r\ntest/\r\n0\r\n\r\n", INF], &[a, listed]);
    let late = "E\r\nERROR nodes 1 and 3 went down\r\n\r\n";
    asking(&[b"STR\r\nlate\r\ntest\r\n3\r\n\r\nINF", INF], &[late, LISTED]);
}

#[test]
fn a_refused_file_is_taken_and_dropped() {
    let big =
        "E\r\nERROR a file may have at most 1 bytes on this server, and this one has 3\r\n\r\n";
    asking(&[b"STR\r\nfull\r\ntest\r\n3\r\n\r\nINF", INF], &[big, LISTED]);
    let folder = "E\r\nERROR a file path is needed: files lie in a folder, none directly in your \
                  top folder\r\n\r\n";
    asking(&[b"STR\r\na\r\n\r\n3\r\n\r\nINF", INF], &[folder, LISTED]);
    for (name, path, error) in [
        ("a", "/test", PathError::Absolute),
        ("a", "test/../..", PathError::Dots("..".into())),
        ("..", "test", PathError::Dots("..".into())),
        ("b/c", "test", PathError::BadCharacter("\"/\"")),
    ] {
        let store = format!("STR\r\n{name}\r\n{path}\r\n3\r\n\r\nINF");
        let refused = format!("E\r\nERROR {error}\r\n\r\n");
        asking(&[store.as_bytes(), INF], &[&refused, LISTED]);
    }
    let text = "E\r\nERROR the file name is not UTF-8 text\r\n\r\n";
    asking(&[b"STR\r\n\xff\r\ntest\r\n3\r\n\r\nINF", INF], &[text, LISTED]);
}

#[test]
fn after_a_size_that_is_none_no_bytes_are_expected() {
    let size = "E\r\nERROR the size is not a number of bytes, so none are expected\r\n\r\n";
    for bad in ["x", "-1", "+1", "1.5", " 1", "18446744073709551616"] {
        let store = format!("STR\r\na\r\ntest\r\n{bad}\r\n\r\n");
        asking(&[store.as_bytes(), INF], &[size, LISTED]);
    }
}

#[test]
fn a_file_is_retrieved() {
    let got = "S\r\nSuccessfully retrieved file yeet.txt from the file system\r\n\r\n";
    let retrieve = &b"RTV\r\nyeet.txt\r\ntest\r\n\r\n"[..];
    asking(&[retrieve, INF], &["S\r\n5\r\n\r\n", "hello", got, LISTED]);
    let path = "E\r\nERROR the file path you gave did not exist in the file system!\r\n\r\n";
    asking(&[b"RTV\r\nyeet.txt\r\nnowhere\r\n\r\n", INF], &[path, LISTED]);
    let name = "E\r\nERROR the file name you gave did not exist in the file system!\r\n\r\n";
    asking(&[b"RTV\r\nnothing\r\ntest\r\n\r\n", INF], &[name, LISTED]);
    asking(&[b"RTV\r\nnothing\r\n\r\n\r\n", INF], &[name, LISTED]);
    let broken = "E\r\nERROR the catalog: database is locked\r\n\r\n";
    asking(&[b"RTV\r\nbroken\r\ntest\r\n\r\n", INF], &[broken, LISTED]);
}

#[test]
fn a_raw_body_that_breaks_off_ends_the_connection() {
    let mut stage = Stage::new(Dialect::Spec);
    stage.files.insert("test/late".into(), b"abc".to_vec());
    stage.play(&[HI, DEMO, b"RTV\r\nlate\r\ntest\r\n\r\n", INF]);
    assert_eq!(said(&stage), [GREETING, WELCOME, "S\r\n3\r\n\r\n", "<half>", "<close>"]);
}

#[test]
fn a_file_is_deleted() {
    let gone = "S\r\nSuccessfully removed file yeet.txt from the file system\r\n\r\n";
    let none = "S\r\nNo files in database\r\n\r\n";
    asking(&[b"DEL\r\nyeet.txt\r\ntest\r\n\r\n", INF], &[gone, none]);
    let missing =
        "E\r\nERROR The file path or file name you gave did not exist in the file system!\r\n\r\n";
    asking(&[b"DEL\r\nx\r\ntest\r\n\r\n", INF], &[missing, LISTED]);
    asking(&[b"DEL\r\nx\r\nnowhere\r\n\r\n", INF], &[missing, LISTED]);
    asking(&[b"DEL\r\nx\r\n\r\n\r\n", INF], &[missing, LISTED]);
}

#[test]
fn signing_out_leads_back_to_the_hello() {
    let lgo = &b"LGO\r\n\r\n"[..];
    asking(&[lgo, HI, DEMO, INF], &["<out demo>", GREETING, WELCOME, LISTED]);
    asking(&[lgo, b"INF\r\n\r\n"], &["<out demo>", "<close>"]);
    asking(&[lgo, b"HI\r\npalk 1\r\n\r\n"], &["<out demo>", "S\r\npalk 1\r\n\r\n"]);
}

#[test]
fn an_unknown_opcode_is_read_up_to_its_empty_line() {
    for message in [
        &b"STRANGE\r\na\r\nb\r\n1\r\n\r\n"[..],
        b"str\r\na\r\n\r\n",
        b"\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"INF \r\n\r\n",
    ] {
        asking(&[message, INF], &[OPCODE, LISTED]);
    }
}

#[test]
fn a_request_that_lacks_a_field_is_answered_as_short() {
    for message in [&b"RTV\r\na\r\n\r\n"[..], b"RTV\r\n\r\n", b"DEL\r\na\r\n\r\n", b"DEL\r\n\r\n"] {
        asking(&[message, INF], &[SHORT, LISTED]);
    }
    for message in [&b"STR\r\n\r\n"[..], b"STR\r\na\r\n\r\n", b"STR\r\na\r\ntest\r\n\r\n"] {
        asking(&[message, INF], &[SHORT_STORE, LISTED]);
    }
    asking(&[b"STR\r\na\r\n\r\n\r\n", INF], &[SHORT_STORE, LISTED]);
}

#[test]
fn only_the_possible_beginning_of_an_empty_path_is_given_grace() {
    let patience = |bytes: &[u8]| {
        let mut stage = Stage::new(Dialect::Spec);
        stage.play(&[HI, DEMO]);
        stage.session.receive(bytes);
        match stage.session.next_step() {
            Step::Read(patience) => Some(patience),
            _ => None,
        }
    };
    for bytes in [&b"RTV\r\na\r\n\r\n"[..], b"DEL\r\na\r\n\r\n", b"STR\r\na\r\n\r\n"] {
        assert_eq!(patience(bytes), Some(Patience::Grace));
    }
    for bytes in
        [&b"RTV\r\na\r\n\r\n\r"[..], b"STR\r\na\r\n\r\n1", b"RTV\r\na\r\n", b"\r\n", b"X\r\n"]
    {
        assert_eq!(patience(bytes), Some(Patience::Request));
    }
    for bytes in [&b"RTV\r\na\r\n\r\nI"[..], b"STR\r\na\r\n\r\nI", b"RTV\r\n\r\n", b"\r\n\r\n"] {
        assert_eq!(patience(bytes), None);
    }
}

#[test]
fn what_comes_after_grace_is_a_message_of_its_own() {
    let turns = [vec![HI], vec![DEMO], vec![b"RTV\r\na\r\n\r\n"], vec![b"\r\n"], vec![INF]];
    assert_eq!(conversation(Dialect::Spec, &turns), [GREETING, WELCOME, SHORT, LISTED]);
}

#[test]
fn a_request_with_more_lines_than_fields_says_so() {
    for (opcode, message) in [
        ("RTV", &b"RTV\r\na\r\ntest\r\nx\r\ny\r\n\r\n"[..]),
        ("DEL", b"DEL\r\na\r\ntest\r\nx\r\n\r\n"),
        ("STR", b"STR\r\na\r\ntest\r\n3\r\nx\r\n\r\n"),
        ("STR", b"STR\r\na\r\n\r\n3\r\nx\r\n\r\n"),
        ("INF", b"INF\r\nx\r\n\r\n"),
        ("LGO", b"LGO\r\nx\r\n\r\n"),
    ] {
        let text = format!("E\r\nERROR Received too many lines for opcode:{opcode}\r\n\r\n");
        asking(&[message, INF], &[&text, LISTED]);
    }
}

#[test]
fn a_line_end_between_requests_is_ignored() {
    asking(&[b"\r\n", INF, b"\r\n", INF], &[LISTED, LISTED]);
}

#[test]
fn a_message_without_end_is_refused_at_its_limit_however_it_is_cut() {
    let reason = "D\r\na message is at most 16384 bytes long\r\n\r\n";
    for start in [&b"RTV\r\n"[..], b"NONE\r\n", b"STR\r\na\r\nb\r\n1\r\nx", b"1"] {
        let mut message = start.to_vec();
        message.resize(2 * MESSAGE_BYTES_MAX + 1, b'a');
        for piece in [1, 7, 16_000, message.len()] {
            let turns = [vec![HI], vec![DEMO], message.chunks(piece).collect()];
            let said = conversation(Dialect::Spec, &turns);
            assert_eq!(said, [GREETING, WELCOME, reason, "<close>"]);
        }
        let turns = [vec![HI], vec![&message]];
        assert_eq!(conversation(Dialect::Spec, &turns), [GREETING, reason, "<close>"]);
        let turns = [vec![HI], vec![&message]];
        let said = conversation(Dialect::Year2020, &turns);
        let reason = "E\r\na message is at most 16384 bytes long\r\n0\r\n\r\n";
        assert_eq!(said, [GREETING_2020, reason, "<close>"]);
    }
}

#[test]
fn a_message_of_just_the_limit_is_taken() {
    for (excess, taken) in [(0, true), (1, false)] {
        let mut message = b"INFX\r\n".to_vec();
        message.resize(MESSAGE_BYTES_MAX - 4 + excess, b'a');
        message.extend(b"\r\n\r\n");
        for piece in [1, 100, message.len()] {
            let turns = [vec![HI], vec![DEMO], message.chunks(piece).collect()];
            let said = conversation(Dialect::Spec, &turns);
            assert_eq!(said[2] == OPCODE, taken, "{excess} {piece}");
        }
    }
}

#[test]
fn silence_ends_a_connection_with_the_reason_where_it_can_be_told() {
    let silent_after = |dialect, turns: &[&[u8]]| {
        let mut stage = Stage::new(dialect);
        stage.play(turns);
        stage.session.silence();
        stage.play(&[]);
        said(&stage)[turns.len()..].to_vec()
    };
    let quiet = "D\r\nnothing was heard from you for too long\r\n\r\n";
    assert_eq!(silent_after(Dialect::Spec, &[]), ["<close>"]);
    assert_eq!(silent_after(Dialect::Spec, &[HI]), [quiet, "<close>"]);
    assert_eq!(silent_after(Dialect::Spec, &[HI, DEMO]), [quiet, "<close>"]);
    assert_eq!(silent_after(Dialect::Spec, &[b"HI\r\npalk 1\r\n\r\n"]), [quiet, "<close>"]);
    assert_eq!(silent_after(Dialect::Year2020, &[HI]), ["<close>"]);
    assert_eq!(silent_after(Dialect::Year2020, &[HI, DEMO]), ["<close>"]);
}

#[test]
fn a_client_is_turned_away_in_a_form_that_it_understands() {
    let turned_away = |dialect, turns: &[&[u8]]| {
        let mut stage = Stage::new(dialect);
        stage.play(turns);
        stage.session.turn_away("shutting down");
        stage.session.turn_away("shutting down");
        stage.play(&[]);
        said(&stage)[turns.len()..].to_vec()
    };
    let spec = "D\r\nshutting down\r\n\r\n";
    let year2020 = "E\r\nshutting down\r\n0\r\n\r\n";
    assert_eq!(turned_away(Dialect::Spec, &[]), [spec, "<close>"]);
    assert_eq!(turned_away(Dialect::Spec, &[HI]), [spec, "<close>"]);
    assert_eq!(turned_away(Dialect::Spec, &[HI, DEMO]), [spec, "<close>"]);
    assert_eq!(turned_away(Dialect::Year2020, &[]), [year2020, "<close>"]);
    assert_eq!(turned_away(Dialect::Year2020, &[HI]), [year2020, "<close>"]);
    assert_eq!(turned_away(Dialect::Year2020, &[HI, DEMO]), ["<close>"]);
}

#[test]
fn nothing_is_said_into_the_midst_of_a_body() {
    let mut session = Session::new(Dialect::Spec);
    session.receive(&[HI, DEMO, b"RTV\r\na\r\nb\r\n\r\n"].concat());
    loop {
        match session.next_step() {
            Step::SignIn { .. } => session.signed_in(Ok(UserName::parse("demo").unwrap())),
            Step::Retrieve { .. } => session.retrieve_ready(&Found {
                bytes: 3,
                part: 0..3,
                version: VersionId([1; 16]),
                digest: Digest([2; 32]),
                stored_ms: 0,
                attributes: Default::default(),
            }),
            Step::SendBody => break,
            _ => {}
        }
    }
    session.turn_away("shutting down");
    session.retrieved(Ok(NodeSet::ALL));
    assert!(session.next_step() == Step::Close);
}

#[test]
fn the_user_is_known_from_the_welcome_to_the_sign_out() {
    let mut stage = Stage::new(Dialect::Spec);
    stage.play(&[HI]);
    assert!(stage.session.user().is_none());
    stage.play(&[DEMO]);
    assert_eq!(stage.session.user().map(UserName::as_str), Some("demo"));
    stage.play(&[b"LGO\r\n\r\n"]);
    assert!(stage.session.user().is_none());
}

#[test]
fn the_client_of_2020_signs_in() {
    let spec = Dialect::Year2020;
    check(spec, &[HI, DEMO], &[GREETING_2020, WELCOME_2020]);
    let no: &[&[u8]] = &[HI, b"bob\r\nx\r\n\r\n", b"NO\r\n\r\n", DEMO];
    check(spec, no, &[GREETING_2020, UNKNOWN, GREETING_2020, WELCOME_2020]);
    let yes: &[&[u8]] = &[
        HI,
        b"bob\r\nx\r\n\r\n",
        b"YES\r\n\r\n",
        b"demo\r\nx\r\nx\r\n\r\n",
        b"Ann\r\nx\r\ny\r\n\r\n",
        b"x\r\nx\r\n\r\n",
    ];
    let ann = "S\r\nWelcome Ann! You are a legend...\r\n";
    check(spec, yes, &[GREETING_2020, UNKNOWN, FORM_2020, TAKEN, DIFFER, ann]);
    check(spec, &[HI, b"demo\r\n\r\n", DEMO], &[GREETING_2020, BADLY, WELCOME_2020]);
}

const LISTED_2020: &str = "/demo/test\n/demo/test/yeet.txt\n";

#[test]
fn the_client_of_2020_stores() {
    let store = &b"STR\r\na\r\ntest\r\n3\r\n\r\nabc"[..];
    let listed = "/demo/test\n/demo/test/a\n/demo/test/yeet.txt\n";
    asking_2020(&[store, INF], &["File a successfully created and written to", listed]);
    let late = &b"STR\r\nlate\r\ntest\r\n3\r\n\r\nabc"[..];
    asking_2020(&[late, INF], &["ERROR nodes 1 and 3 went down", LISTED_2020]);
}

#[test]
fn the_client_of_2020_is_told_of_a_refusal_after_its_bytes_were_taken() {
    let mut stage = Stage::new(Dialect::Year2020);
    stage.play(&[HI, DEMO, b"STR\r\nfull\r\ntest\r\n3\r\n\r\n", b"ab"]);
    assert_eq!(said(&stage), [GREETING_2020, WELCOME_2020]);
    let big = "ERROR a file may have at most 1 bytes on this server, and this one has 3";
    asking_2020(&[b"STR\r\nfull\r\ntest\r\n3\r\n\r\nabc", INF], &[big, LISTED_2020]);
    let absolute = format!("ERROR {}", PathError::Absolute);
    asking_2020(&[b"STR\r\na\r\n/test\r\n3\r\n\r\nabc", INF], &[&absolute, LISTED_2020]);
}

#[test]
fn the_client_of_2020_retrieves() {
    let size = format!("5\r\n{}", " ".repeat(997));
    let got = "Successfully retrieved file yeet.txt from the file system";
    let retrieve = &b"RTV\r\nyeet.txt\r\ntest\r\n\r\n"[..];
    asking_2020(&[retrieve, INF], &[&size, "hello", "<settle>", got, LISTED_2020]);
    let missing = "ERROR the file name you gave did not exist in the file system!";
    asking_2020(&[b"RTV\r\nx\r\ntest\r\n\r\n", INF], &[missing, LISTED_2020]);
    let broken = "E Something went wrong during file process";
    asking_2020(&[b"RTV\r\nbroken\r\ntest\r\n\r\n", INF], &[broken, LISTED_2020]);
}

#[test]
fn the_client_of_2020_deletes_lists_and_signs_out() {
    let gone = "Successfully removed file yeet.txt from the file system";
    asking_2020(&[b"DEL\r\nyeet.txt\r\ntest\r\n\r\n", INF], &[gone, "No files in database"]);
    let turns: &[&[u8]] = &[b"LGO\r\n\r\n", HI, DEMO];
    asking_2020(turns, &["<out demo>", GREETING_2020, WELCOME_2020]);
    asking_2020(&[b"XYZ\r\n\r\n", INF], &["ERROR Opcode was invalid!", LISTED_2020]);
    asking_2020(&[b"RTV\r\na\r\n\r\n", INF], &["ERROR Did not receive all the data!", LISTED_2020]);
}

#[test]
fn a_token_stands_for_a_password() {
    let agreed = "S\r\npalk 1\r\n\r\n";
    let digits = "44".repeat(32);
    let shown = format!("TOK\r\ndemo\r\n{digits}\r\n\r\n");
    let other = format!("TOK\r\ndemo\r\n{}\r\n\r\n", "45".repeat(32));
    let refused = "E\r\nthe saved sign-in is not valid any more\r\nsign-in\r\n\r\n";
    let issued = format!("S\r\ntoken={digits}\r\n\r\n");
    let turns: &[&[u8]] = &[
        b"HI\r\npalk 1\r\n\r\n",
        b"ISS\r\nlaptop\r\n\r\n",
        other.as_bytes(),
        b"TOK\r\ndemo\r\nnonsense\r\n\r\n",
        shown.as_bytes(),
        shown.as_bytes(),
        b"ISS\r\nlaptop\r\n\r\n",
        b"PWD\r\nwrong\r\nnew\r\n\r\n",
        b"PWD\r\nyeet123\r\nnew\r\n\r\n",
        b"REV\r\n\r\n",
        b"LGO\r\n\r\n",
        b"HI\r\npalk 1\r\n\r\n",
        b"LGN\r\ndemo\r\nnew\r\n\r\n",
    ];
    let expected = [
        agreed,
        "E\r\nsign in first\r\nsign-in\r\n\r\n",
        refused,
        refused,
        "S\r\nuser=demo\r\n\r\n",
        "E\r\nyou are signed in: sign out first\r\nnot-allowed\r\n\r\n",
        "<token for laptop>",
        &issued,
        "E\r\nwrong password for user demo\r\nsign-in\r\n\r\n",
        "S\r\n\r\n",
        "S\r\n\r\n",
        "<out demo>",
        agreed,
        "S\r\nuser=demo\r\n\r\n",
    ];
    check(Dialect::Spec, turns, &expected);
}

#[test]
fn where_nobody_can_sign_up_a_yes_leads_back_to_the_sign_in() {
    let mut session = Session::new(Dialect::Spec).without_sign_up();
    session.receive(&[HI, b"bob\r\nx\r\n\r\n", b"YES\r\n\r\n", DEMO].concat());
    let mut said = Vec::new();
    loop {
        match session.next_step() {
            Step::Send(bytes) => said.push(String::from_utf8(bytes).unwrap()),
            Step::SignIn { user, .. } if user == "demo" => {
                session.signed_in(Ok(UserName::parse("demo").unwrap()));
            }
            Step::SignIn { user, .. } => session.signed_in(Err(Error::NoSuchUser(user))),
            Step::Read(_) => break,
            _ => panic!("nothing else is to be done"),
        }
    }
    let closed = "E\r\nnobody can sign up on this server, its operator makes the accounts\r\n\
                  2\r\nUsername: \r\nPassword: \r\n\r\n";
    assert_eq!(said, [GREETING, UNKNOWN, closed, WELCOME]);
}

#[test]
fn an_extended_client_signs_in_before_anything_else() {
    let agreed = "S\r\npalk 1\r\n\r\n";
    let first = "E\r\nsign in first\r\nsign-in\r\n\r\n";
    let turns: &[&[u8]] = &[
        b"HI\r\npalk 1\r\n\r\n",
        INF,
        b"WHAT\r\n\r\n",
        b"LGN\r\ndemo\r\nno\r\n\r\n",
        b"LGN\r\nbob\r\nno\r\n\r\n",
        b"LGN\r\nbob\r\n\r\n",
        b"NEW\r\ndemo\r\nx\r\n\r\n",
        b"NEW\r\nbob\r\nx\r\n\r\n",
        b"NEW\r\nbob\r\nx\r\n\r\n",
    ];
    let expected = [
        agreed,
        first,
        first,
        "E\r\nthe user name or the password is wrong\r\nsign-in\r\n\r\n",
        "E\r\nthe user name or the password is wrong\r\nsign-in\r\n\r\n",
        "E\r\nthe other side does not keep to the protocol: wrong number of fields for LGN\r\n\
         version\r\n\r\n",
        "E\r\nthere is a user demo already\r\nuser-exists\r\n\r\n",
        "S\r\nuser=bob\r\n\r\n",
        "E\r\nyou are signed in: sign out first\r\nnot-allowed\r\n\r\n",
    ];
    check(Dialect::Spec, turns, &expected);
    check(Dialect::Year2020, turns, &expected);
}

#[test]
fn an_extended_client_may_ask_for_the_conversation() {
    let agreed = format!("S\r\npalk 1\r\n\r\n{GREETING}");
    let turns: &[&[u8]] = &[
        b"HI\r\npalk 1\r\nask\r\n\r\n",
        b"bob\r\nx\r\n\r\n",
        b"YES\r\n\r\n",
        b"bob\r\nx\r\nx\r\n\r\n",
        b"DEL\r\n/test/x\r\n\r\n",
    ];
    let bob = "S\r\nWelcome bob! You are a legend...\r\n\r\n";
    let missing = "E\r\nthere is no file test/x\r\nno-such-file\r\n\r\n";
    let expected = [agreed.as_str(), UNKNOWN, FORM, bob, missing];
    check(Dialect::Spec, turns, &expected);
    check(Dialect::Year2020, turns, &expected);
}

/// The bytes of a file as chunks.
fn chunks(data: &[u8]) -> Vec<u8> {
    [&chunk::data_head(&[data])[..], data, &chunk::end(&Digest([2; 32]))].concat()
}

const VERSION: &str = "01010101010101010101010101010101";
const BLAKE3: &str = "0202020202020202020202020202020202020202020202020202020202020202";

#[test]
fn an_extended_client_stores() {
    let send = "S\r\nsend\r\n\r\n";
    let stored = format!("S\r\nversion={VERSION}\r\nnodes=3\r\nblake3={BLAKE3}\r\n\r\n");
    let gone = "S\r\n\r\n";
    let body = chunks(b"abc");
    let turns: &[&[u8]] = &[b"STR\r\n/a\r\n3\r\n\r\n", &body, b"DEL\r\n/a\r\n\r\n"];
    asking_extended(turns, &[send, &stored, gone]);
    let exists = "E\r\ntest/yeet.txt already exists\r\nexists\r\n\r\n";
    let turns: &[&[u8]] =
        &[b"STR\r\n/test/yeet.txt\r\n3\r\nreplace=no\r\n\r\n", b"DEL\r\n/test/yeet.txt\r\n\r\n"];
    asking_extended(turns, &[exists, gone]);
    let given_up = "E\r\ngiven up by the client\r\ninterrupted\r\n\r\n";
    let turns: &[&[u8]] =
        &[b"STR\r\n/a\r\n3\r\n\r\n", &chunk::given_up(), b"DEL\r\n/test/yeet.txt\r\n\r\n"];
    asking_extended(turns, &[send, given_up, gone]);
}

#[test]
fn a_store_that_breaks_half_way_is_told_at_once_and_the_next_request_is_understood() {
    let broken = "E\r\nnodes 1 and 3 went down\r\ntoo-few-nodes\r\n\r\n";
    for rest in [chunks(b"abc"), chunk::given_up().to_vec()] {
        let body = [&chunk::data_head(&[b"xyz"])[..], b"xyz", &rest].concat();
        let turns: &[&[u8]] =
            &[b"STR\r\n/broken\r\n6\r\n\r\n", &body, b"DEL\r\n/test/yeet.txt\r\n\r\n"];
        asking_extended(turns, &["S\r\nsend\r\n\r\n", broken, "S\r\n\r\n"]);
    }
}

#[test]
fn chunks_without_boundaries_end_the_connection() {
    let lost = "D\r\nthe other side does not keep to the protocol: \
                a chunk of 4294967294 bytes was announced\r\n\r\n";
    let chunk = [255, 255, 255, 254, 0, 0, 0, 0, 0, 0, 0, 0];
    asking_extended(&[b"STR\r\n/a\r\n3\r\n\r\n", &chunk], &["S\r\nsend\r\n\r\n", lost, "<close>"]);
}

#[test]
fn an_extended_client_retrieves() {
    let head = format!(
        "S\r\nbytes=5\r\nversion={VERSION}\r\nblake3={BLAKE3}\r\nstored_ms=1700000000000\r\n\r\n"
    );
    let turns: &[&[u8]] = &[b"RTV\r\n/test/yeet.txt\r\n\r\n", b"RTV\r\n/../x\r\n\r\n"];
    let bad = format!("E\r\n{}\r\nbad-path\r\n\r\n", PathError::Dots("..".into()));
    asking_extended(turns, &[&head, "hello", "S\r\nnodes=1,4\r\n\r\n", &bad]);
    let mut stage = Stage::new(Dialect::Spec);
    stage.files.insert("late".into(), b"hello".to_vec());
    stage.play(&[b"HI\r\npalk 1\r\n\r\nLGN\r\ndemo\r\nyeet123\r\n\r\nRTV\r\n/late\r\n\r\n"]);
    let damaged = "E\r\nthe bytes that arrived are not the bytes that were sent \
                   (no two nodes agree)\r\ndamaged\r\n\r\n";
    assert_eq!(said(&stage)[2..], [&head, "<half>", damaged]);
}

#[test]
fn an_extended_client_lists_and_signs_out() {
    let listed =
        format!("S\r\nD\t/test\r\nF\t/test/yeet.txt\t5\t5\t{VERSION}\t{BLAKE3}\t15\r\n\r\n");
    let turns: &[&[u8]] = &[INF, b"LGO\r\n\r\n", b"HI\r\npalk 1\r\n\r\n"];
    asking_extended(turns, &[&listed, "<out demo>", "S\r\npalk 1\r\n\r\n"]);
}

#[test]
fn an_extended_client_asks_how_the_cluster_is() {
    let told = format!("S\r\n{STATUS}\r\n\r\n");
    asking_extended(&[b"STA\r\n\r\nSTA\r\n\r\n"], &[&told, &told]);
    let wrong = "E\r\nthe other side does not keep to the protocol: wrong number of fields for \
                 STA\r\nversion\r\n\r\n";
    asking_extended(&[b"STA\r\nall\r\n\r\n"], &[wrong]);
    // Neither is it a request of the specified session.
    asking(&[b"STA\r\n\r\n", INF], &["E\r\nERROR Opcode was invalid!\r\n\r\n", LISTED]);
}

#[test]
fn what_an_extended_client_says_wrongly_costs_it_one_answer() {
    let not_kept = |what: &str| {
        format!("E\r\nthe other side does not keep to the protocol: {what}\r\nversion\r\n\r\n")
    };
    for (message, what) in [
        (&b"WHAT\r\n\r\n"[..], "unknown opcode"),
        (b"\r\n", "unknown opcode"),
        (b"RTV\r\n\r\n", "wrong number of fields for RTV"),
        (b"STR\r\n/a\r\nx\r\n\r\n", "\"x\" is not a size in bytes"),
        (b"RTV\r\n/\xff\r\n\r\n", "a line is not UTF-8 text"),
    ] {
        let gone = "S\r\n\r\n";
        let turns: &[&[u8]] = &[message, b"DEL\r\n/test/yeet.txt\r\n\r\n"];
        asking_extended(turns, &[&not_kept(what), gone]);
    }
}

#[test]
fn an_error_text_stays_one_line() {
    let mut session = Session::new(Dialect::Spec);
    session.receive(&[HI, DEMO, INF].concat());
    let mut sent = Vec::new();
    loop {
        match session.next_step() {
            Step::Send(bytes) => sent.push(bytes),
            Step::SignIn { .. } => session.signed_in(Ok(UserName::parse("demo").unwrap())),
            Step::List { .. } => session.listed(Err(Error::other(Code::Busy, "a\r\n\r\nS\r\nb"))),
            _ => break,
        }
    }
    assert_eq!(sent[2], b"E\r\nERROR a    S  b\r\n\r\n");
    assert_eq!(FolderPath::top().as_str(), "");
}

/// Bytes that look like a conversation, more or less.
fn noise() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let words: Vec<&[u8]> = vec![
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"HI\r\n\r\n",
        DEMO,
        INF,
        b"STR\r\n",
        b"RTV\r\n",
        b"DEL\r\n",
        b"LGO\r\n\r\n",
        b"LGN\r\n",
        b"YES",
        b"a",
        b"test",
        b"yeet.txt",
        b"3",
        b"palk 1",
        b"HI\r\npalk 1\r\n\r\n",
        b"LGN\r\ndemo\r\nyeet123\r\n\r\n",
        b"/a",
        b"late",
        b"STR\r\na\r\ntest\r\n3\r\n\r\nabc",
        b"MKD\r\n",
        b"RMD\r\n/a\r\n\r\n",
        b"MOV\r\n/a\r\n",
        b"CPY\r\n/a\r\n",
        b"INF\r\n/test\r\nscope=children\r\n\r\n",
    ];
    let word = prop_oneof![
        20 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (0..2 * READ_BYTES_MAX).prop_map(|n| vec![b'x'; n.min(READ_BYTES_MAX)]),
    ];
    prop::collection::vec(word, 0..30)
}

proptest! {
    #[test]
    fn noise_never_panics_or_loops_or_fills_memory(
        noise in noise(), year2020: bool, signed_in: bool
    ) {
        let dialect = if year2020 { Dialect::Year2020 } else { Dialect::Spec };
        let mut stage = Stage::new(dialect);
        if signed_in {
            stage.play(&[HI, DEMO]);
        }
        stage.play(&noise.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn noise_is_answered_alike_however_it_is_cut(
        noise in noise(), signed_in: bool, cuts in prop::collection::vec(1usize..40, 1..20)
    ) {
        let start: &[u8] = if signed_in { b"HI\r\n\r\ndemo\r\nyeet123\r\n\r\n" } else { b"" };
        let bytes = [start, &noise.concat()].concat();
        let whole: Vec<&[u8]> = bytes.chunks(READ_BYTES_MAX).collect();
        let mut rest = bytes.as_slice();
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(
            conversation(Dialect::Spec, &[whole]),
            conversation(Dialect::Spec, &[pieces])
        );
    }

    #[test]
    fn everything_said_in_2020_fits_a_segment(noise in noise()) {
        let mut stage = Stage::new(Dialect::Year2020);
        stage.play(&[HI, DEMO]);
        stage.play(&noise.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for segment in &stage.said {
            let extended = segment.starts_with(b"S\r\n");
            prop_assert!(extended || (1..=1000).contains(&segment.len()));
        }
    }
}
