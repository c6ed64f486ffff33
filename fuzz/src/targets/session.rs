//! The session machine, fed by a client that says anything, cut anywhere.
//!
//! The first eight bytes say how the stream is cut and what comes of what the client asks for; the
//! rest is the stream. It must be understood the same however it was cut.

use palk::core::error::{Code, Error};
use palk::core::path::{FilePath, UserName};
use palk::core::session::{Dialect, Found, Framing, Patience, Session, Step, Stored};
use palk::core::types::{Digest, FileAttributes, FileKind, NodeSet, VersionId};
use palk::core::wire::chunk::{self, Head};
use palk::core::wire::extended::{Entry, FileEntry, Moved, Removed, UploadRequest};
use palk::core::wire::lines::MESSAGE_BYTES_MAX;
use palk::core::wire::token::Token;

use super::bytes::Bytes;
use super::names::{assert_folder_inside, assert_inside};

/// What the server's loop reads at once.
const READ_BYTES_MAX: usize = 16 * 1024;
const CONTROL_BYTES: usize = 8;

pub(crate) fn specified(data: &[u8]) {
    check(Dialect::Spec, b"", data);
}

pub(crate) fn year_2020(data: &[u8]) {
    check(Dialect::Year2020, b"", data);
}

/// Behind the hello, so that the whole stream is the extended session's.
pub(crate) fn extended(data: &[u8]) {
    check(Dialect::Spec, b"HI\r\npalk 1\r\n\r\n", data);
}

fn check(dialect: Dialect, prologue: &[u8], data: &[u8]) {
    let mut stream = Bytes(data);
    let control = stream.take(CONTROL_BYTES);
    let whole: Vec<u8> = [prologue, stream.0].concat();
    let at_once = Loop::new(dialect, control, &whole, false).run();
    let in_pieces = Loop::new(dialect, control, &whole, true).run();
    assert_eq!(at_once, in_pieces, "what is said depends on how the bytes were cut");
}

/// The loop around a session, and a server whose every answer is read from the control bytes.
struct Loop<'a> {
    session: Session,
    control: &'a [u8],
    stream: Bytes<'a>,
    cut: bool,
    cuts: usize,
    outcomes: usize,
    /// Of the listing that is under way.
    pages: usize,
    framing: Framing,
    /// The body is that of a part of an upload.
    is_part: bool,
    body_bytes: u64,
    said: Vec<String>,
}

impl<'a> Loop<'a> {
    fn new(dialect: Dialect, control: &'a [u8], stream: &'a [u8], cut: bool) -> Loop<'a> {
        Loop {
            session: Session::new(dialect),
            control,
            stream: Bytes(stream),
            cut,
            cuts: 0,
            outcomes: 0,
            pages: 0,
            framing: Framing::Raw,
            is_part: false,
            body_bytes: 0,
            said: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<String> {
        // A step takes a byte at least, or answers one that did; nothing has more than ten answers.
        let steps_max = 100 + 10 * self.stream.0.len();
        for _ in 0..steps_max {
            assert!(self.session.buffered() <= MESSAGE_BYTES_MAX + READ_BYTES_MAX);
            let step = self.session.next_step();
            let is_end = matches!(step, Step::Close);
            if is_end {
                self.note("close".to_owned());
            }
            if is_end || self.act(step).is_none() {
                return self.said;
            }
        }
        panic!("the session does not come to rest");
    }

    fn control(&self, at: usize) -> u8 {
        if self.control.is_empty() { 0 } else { self.control[at % self.control.len()] }
    }

    fn outcome(&mut self) -> u8 {
        self.outcomes += 1;
        self.control(self.outcomes - 1) % 4
    }

    fn note(&mut self, what: String) {
        self.said.push(what);
    }

    /// A step that only a signed-in user may bring about.
    fn note_of_user(&mut self, what: String) {
        assert!(self.session.user().is_some(), "{what} without a user");
        self.note(what);
    }

    /// Nothing once the stream is used up, as where the client closes.
    fn act(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Close => {}
            Step::Read(patience) => return self.read(patience),
            Step::Send(bytes) => self.note(format!("send {}", bytes.escape_ascii())),
            Step::Settle => self.note("settle".to_owned()),
            Step::SignedOut(user) => self.note(format!("out {user}")),
            Step::SignIn { user, password } => {
                self.note(format!("sign in {user:?} {password:?}"));
                let outcome = self.account(user);
                self.session.signed_in(outcome);
            }
            Step::SignUp { user, password } => {
                self.note(format!("sign up {user:?} {password:?}"));
                let outcome = self.account(user);
                self.session.signed_up(outcome);
            }
            Step::Store { path, bytes, precondition, framing, .. } => {
                assert_inside(&path);
                self.note_of_user(format!("store {path:?} {bytes} {precondition:?} {framing:?}"));
                (self.framing, self.is_part, self.body_bytes) = (framing, false, bytes);
                self.prepare(bytes);
            }
            Step::StorePart { upload, offset, bytes } => {
                self.note_of_user(format!("store part {upload} {offset} {bytes}"));
                (self.framing, self.is_part, self.body_bytes) = (Framing::Chunks, true, bytes);
                self.prepare(bytes);
            }
            Step::Upload(request) => {
                self.note_of_user(format!("upload {request:?}"));
                let failed = self.outcome() == 0;
                if matches!(request, UploadRequest::Complete { .. }) {
                    self.session.upload_completed(if failed { Err(lost()) } else { Ok(STORED) });
                } else {
                    let lines = vec!["one".to_owned()];
                    self.session.history_told(if failed { Err(lost()) } else { Ok(lines) });
                }
            }
            Step::ReceiveBody => return self.receive_body(),
            Step::DropBody(bytes) => {
                self.body(bytes)?;
                self.session.body_dropped();
            }
            Step::DropChunks => {
                // As the server does: what is no chunk ends the connection.
                self.chunks(u32::MAX)?.ok()?;
                self.session.body_dropped();
            }
            Step::Retrieve { path, framing, .. } => {
                assert_inside(&path);
                self.note_of_user(format!("retrieve {path:?} {framing:?}"));
                match self.outcome() {
                    0 => self.session.retrieve_failed(&Error::NoSuchFile(path)),
                    _ => self.session.retrieve_ready(&found()),
                }
            }
            Step::SendBody => {
                let failed = self.outcome() == 0;
                let outcome = if failed { Err(lost()) } else { Ok(NodeSet::ALL) };
                self.session.retrieved(outcome);
            }
            Step::Delete { path } => {
                assert_inside(&path);
                self.note_of_user(format!("delete {path:?}"));
                let failed = self.outcome() == 0;
                self.session.deleted(if failed { Err(Error::NoSuchFile(path)) } else { Ok(()) });
            }
            Step::List { path, extent, .. } => {
                assert_folder_inside(&path);
                self.note_of_user(format!("list {path:?} {extent:?}"));
                self.pages = 0;
                self.list_on();
            }
            Step::ListOn => self.list_on(),
            Step::SetAttributes { path, version, attributes } => {
                assert_inside(&path);
                self.note_of_user(format!("set {path:?} {version} {attributes:?}"));
                let failed = self.outcome() == 0;
                let missing = Error::NoSuchFile(path);
                self.session.changed(if failed { Err(missing) } else { Ok(()) });
            }
            Step::MakeFolder { folder, parents } => {
                assert_folder_inside(&folder);
                self.note_of_user(format!("make {folder:?} {parents}"));
                let failed = self.outcome() == 0;
                let exists = Error::FolderExists(folder);
                self.session.changed(if failed { Err(exists) } else { Ok(()) });
            }
            Step::RemoveFolder { folder, recursive } => {
                assert_folder_inside(&folder);
                self.note_of_user(format!("remove {folder:?} {recursive}"));
                let failed = self.outcome() == 0;
                let removed = Removed { folders: 1, files: 2 };
                let not_empty = Error::FolderNotEmpty(folder);
                self.session.folder_removed(if failed { Err(not_empty) } else { Ok(removed) });
            }
            Step::Move { from, to, replace } => {
                assert_inside(&from);
                assert_folder_inside(&to);
                self.note_of_user(format!("move {from:?} {to:?} {replace}"));
                let failed = self.outcome() == 0;
                let moved =
                    Moved { to: from.clone(), is_folder: false, files: 1, replaced: replace };
                self.session.moved(if failed { Err(Error::NoSuchFile(from)) } else { Ok(moved) });
            }
            Step::Copy { from, to, recursive, replace } => {
                assert_inside(&from);
                assert_folder_inside(&to);
                self.note_of_user(format!("copy {from:?} {to:?} {recursive} {replace}"));
                let failed = self.outcome() == 0;
                let copied =
                    Moved { to: from.clone(), is_folder: recursive, files: 1, replaced: replace };
                self.session.moved(if failed { Err(Error::NoSuchFile(from)) } else { Ok(copied) });
            }
            Step::Status => {
                self.note_of_user("status".to_owned());
                let failed = self.outcome() == 0;
                self.session.status_told(if failed { Err(lost()) } else { Ok("{}".to_owned()) });
            }
            Step::Keys(request) => {
                self.note_of_user(format!("keys {request:?}"));
                let failed = self.outcome() == 0;
                let lines = vec!["one".to_owned()];
                self.session.history_told(if failed { Err(lost()) } else { Ok(lines) });
            }
            Step::History(request) => {
                self.note_of_user(format!("history {request:?}"));
                let failed = self.outcome() == 0;
                let lines = vec!["one".to_owned(), "two".to_owned()];
                self.session.history_told(if failed { Err(lost()) } else { Ok(lines) });
            }
            Step::SignInByToken { user, token } => {
                self.note(format!("sign in {user:?} by {}", token.reveal()));
                let outcome = self.account(user);
                self.session.signed_in(outcome);
            }
            Step::IssueToken { machine } => {
                self.note_of_user(format!("token for {machine:?}"));
                self.account_done(Some(Token([7; 32])));
            }
            Step::RevokeToken => {
                self.note_of_user("revoke".to_owned());
                self.account_done(None);
            }
            Step::ChangePassword { old, new } => {
                self.note_of_user(format!("password {old:?} {new:?}"));
                self.account_done(None);
            }
        }
        Some(())
    }

    fn read(&mut self, patience: Patience) -> Option<()> {
        if self.stream.is_empty() {
            // The client is silent: a message that may be whole is taken for whole.
            return (patience == Patience::Grace).then(|| self.session.silence());
        }
        let count = if self.cut {
            self.cuts += 1;
            1 + usize::from(self.control(self.cuts))
        } else {
            READ_BYTES_MAX
        };
        let piece = self.stream.take(count);
        self.session.receive(piece);
        Some(())
    }

    /// Up to three pages, as the control bytes say; any of them may fail.
    fn list_on(&mut self) {
        self.pages += 1;
        let outcome = match self.outcome() {
            0 => Err(lost()),
            1 => Ok(Vec::new()),
            _ if self.pages > 3 => Ok(Vec::new()),
            _ => Ok(listing()),
        };
        self.session.listed(outcome);
    }

    fn account_done(&mut self, token: Option<Token>) {
        let failed = self.outcome() == 0;
        self.session.account_done(if failed { Err(lost()) } else { Ok(token) });
    }

    fn account(&mut self, user: String) -> Result<UserName, Error> {
        match self.outcome() {
            1 => Err(Error::NoSuchUser(user)),
            2 => Err(Error::WrongPassword(user)),
            3 => Err(Error::UserExists(user)),
            _ => Ok(UserName::parse(&user)?),
        }
    }

    /// Up to `count` bytes of a body; nothing if the stream ends before.
    fn body(&mut self, count: u64) -> Option<Vec<u8>> {
        let mut bytes = self.session.take_buffered(count);
        let left = count - bytes.len() as u64;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let rest = self.stream.take(left);
        bytes.extend_from_slice(rest);
        (rest.len() == left).then_some(bytes)
    }

    fn receive_body(&mut self) -> Option<()> {
        let outcome = self.outcome();
        let received = match self.framing {
            Framing::Raw => self.body(self.body_bytes).map(|_| Ok(()))?,
            Framing::Chunks if outcome == 2 => {
                self.chunks(1)?.ok()?;
                self.session.store_broken(&lost());
                return Some(());
            }
            Framing::Chunks => self.chunks(u32::MAX)?,
        };
        let received = received.and(if outcome == 0 { Err(lost()) } else { Ok(()) });
        match self.is_part {
            true => self.session.part_stored(received.map(|()| self.body_bytes)),
            false => self.session.stored(received.map(|()| STORED)),
        }
        Some(())
    }

    fn prepare(&mut self, bytes: u64) {
        match self.outcome() {
            0 => self.session.store_refused(&Error::TooBig { bytes, limit: 1 }),
            _ => self.session.store_ready(),
        }
    }

    /// Takes at most so many chunks, up to the end or to `given up`.
    fn chunks(&mut self, most: u32) -> Option<Result<(), Error>> {
        for _ in 0..most {
            let mut head = [0; chunk::HEAD_BYTES];
            head.copy_from_slice(&self.body(chunk::HEAD_BYTES as u64)?);
            match chunk::decode_head(&head) {
                Ok(Head::Data { length, .. }) => drop(self.body(length as u64)?),
                Ok(Head::End { .. }) => return self.body(32).map(|_| Ok(())),
                Ok(Head::GivenUp) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(()))
    }
}

const STORED: Stored =
    Stored { version: VersionId([1; 16]), digest: Digest([2; 32]), nodes: NodeSet::ALL };

fn lost() -> Error {
    Error::other(Code::TooFewNodes, "nodes 1 and 3 went down")
}

fn found() -> Found {
    Found {
        bytes: 5,
        part: 0..5,
        version: VersionId([1; 16]),
        digest: Digest([2; 32]),
        stored_ms: 3,
        attributes: Default::default(),
    }
}

fn listing() -> Vec<Entry> {
    let path = FilePath::parse_rooted("a/b").expect("a good path");
    let file = FileEntry {
        path: path.clone(),
        bytes: 5,
        stored_ms: 3,
        version: VersionId([1; 16]),
        blake3: Digest([2; 32]),
        placed: NodeSet::ALL,
        attributes: FileAttributes { modified_ms: Some(4), kind: Some(FileKind::Link) },
    };
    vec![Entry::Folder(path.folder()), Entry::File(file)]
}
