//! The server's side of a client's connection, as a machine: bytes and outcomes in, steps out. It
//! knows no socket, file, thread or clock; the loop that does I/O decides nothing.
//!
//! ```text
//!            HI (palk N)                         answers, LGN                    welcome
//!  Hello ------------------> Conversing / Greeted ----------> Waiting -----------------+
//!   ^  |                          ^      ^                       |  E, asked again     |
//!   |  | not a hello              |      +-----------------------+                     |
//!   |  v                          | Greeted: LGN, NEW of the extended session          |
//!   | Closed <---- D, too long, too quiet, turned away ---- (any)                      |
//!   |                                                                                  v
//!   +------------- LGO ------------------------------------------------------------- Ready
//!                                                                                   |    ^
//!                                                   STR RTV DEL INF STA: Waiting    |    |
//!                                                   for one outcome after another   +----+
//!
//!  STR  Store ---- store_ready ---> ReceiveBody -- stored -------> reply          Waiting::Store, Body
//!         \------- store_refused -> reply, DropBody (specified)                   Waiting::Drop
//!                                   DropBody, reply (2020)
//!                                   reply (extended: nothing was sent)
//!  RTV  Retrieve - retrieve_ready -> size, SendBody - retrieved --> reply         Waiting::Retrieve, Sending
//!         \------- retrieve_failed -> reply
//!  DEL  Delete --- deleted --------> reply          STA  Status - status_told --> reply
//!  SND  StorePart, as STR --- part_stored -----> reply
//!  BEG HOW DRP UPL  Upload --- history_told ---> reply      CMP  Upload --- upload_completed --> reply
//!  INF  List ----- listed, a page -> page, ListOn, and so on; no entries: the end, reply
//!  VER GON UND RVT FGT USE  History --- history_told --> reply
//!  KEY KYS KYD  Keys --- history_told --> reply
//!  MKD RMD  MakeFolder, RemoveFolder --- changed, folder_removed --> reply
//!  MOV CPY  Move, Copy --- moved ------> reply
//!  ISS REV PWD  IssueToken, RevokeToken, ChangePassword --- account_done --------> reply
//! ```
//!
//! Invariants:
//! - While the machine waits for an outcome it takes no message: what has arrived stays in order.
//! - What is said does not depend on how the client's bytes were cut or joined.
//! - At most one message's limit and one read are buffered, and no byte is searched for ever again.
//! - A user is known exactly while requests are answered.
//! - Nothing that a client sends or a caller does makes it panic in a release.

mod folders;
mod input;
mod listing;
mod requests;
mod say;
mod scan;
mod sign_in;

use std::collections::VecDeque;
use std::ops::Range;

use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::range::ByteRange;
use crate::core::session::input::Input;
use crate::core::session::listing::Listing;
use crate::core::session::say::Manner;
use crate::core::types::{Digest, FileAttributes, NodeSet, Precondition, VersionId};
use crate::core::wire::extended::{
    Extent, HistoryRequest, UploadRequest, When, Which, parse_hello_line,
};
use crate::core::wire::keys::KeyRequest;
use crate::core::wire::lines::{CRLF, MESSAGE_BYTES_MAX};
use crate::core::wire::token::Token;

/// What a client gets whose hello does not name the extended session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// The specified session.
    Spec,
    /// What the programs of 2020 understand.
    Year2020,
}

/// How the bytes of a file travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// As they are.
    Raw,
    /// In the extended session's chunks.
    Chunks,
}

/// What is waited for while reading, and so how patient the loop should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// The first message, from a client that has said nothing yet.
    Hello,
    /// An answer to a sign-in question: somebody is typing.
    SignIn,
    /// The next request of a signed-in user.
    Request,
    /// Whether a message that may be whole goes on: a fifth of a second.
    Grace,
}

/// What the loop is to do next.
///
/// It has no `Debug`, since two of the steps carry a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Read some bytes and hand them to [`Session::receive`]; if none come in time, call
    /// [`Session::silence`]. At the end of the stream drop the session.
    Read(Patience),
    /// Write these bytes at once, as one segment.
    Send(Vec<u8>),
    /// Wait until the client has taken everything, and then 0.3 s more: what comes next must not
    /// arrive together with what went before.
    Settle,
    /// Check a password, then [`Session::signed_in`].
    SignIn {
        /// As it was typed.
        user: String,
        /// As it was typed.
        password: String,
    },
    /// Make an account, then [`Session::signed_up`].
    SignUp {
        /// As it was typed.
        user: String,
        /// As it was typed.
        password: String,
    },
    /// Prepare a store, then [`Session::store_ready`] or [`Session::store_refused`].
    Store {
        /// Where to.
        path: FilePath,
        /// The announced size.
        bytes: u64,
        /// What has to be there, or not, before it and at its end.
        precondition: Precondition,
        /// What it is to keep of the file that is stored.
        attributes: FileAttributes,
        /// What has come is kept as the upload of this id if the transfer breaks off.
        keep: Option<VersionId>,
        /// How the bytes will come.
        framing: Framing,
    },
    /// Prepare to receive bytes of an upload, in chunks, then [`Session::store_ready`] or
    /// [`Session::store_refused`]; at the end of the body [`Session::part_stored`].
    StorePart {
        /// Which upload.
        upload: VersionId,
        /// Where they belong in the file.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// Receive the body, first from [`Session::take_buffered`], then from the socket; then
    /// [`Session::stored`]. If storing fails half-way, a raw body is received to its end all the
    /// same; chunks are not, see [`Session::store_broken`].
    ReceiveBody,
    /// Receive so many raw bytes in the same way and drop them, then [`Session::body_dropped`].
    DropBody(u64),
    /// Receive chunks and drop them, up to the end chunk or *given up*, then
    /// [`Session::body_dropped`].
    DropChunks,
    /// Look for a file, then [`Session::retrieve_ready`] or [`Session::retrieve_failed`].
    Retrieve {
        /// Which.
        path: FilePath,
        /// Which version of it.
        which: Which,
        /// What of it; all of it without.
        range: Option<ByteRange>,
        /// How its bytes will go.
        framing: Framing,
    },
    /// Send the body (chunks: with its end, or *given up* on a failure), then
    /// [`Session::retrieved`].
    SendBody,
    /// Change what a file of this version keeps besides its bytes, then [`Session::changed`].
    SetAttributes {
        /// Which.
        path: FilePath,
        /// Which version it has to have.
        version: VersionId,
        /// What is given, and the rest as it was.
        attributes: FileAttributes,
    },
    /// Delete a file, then [`Session::deleted`].
    Delete {
        /// Which.
        path: FilePath,
    },
    /// Begin a listing, then [`Session::listed`] with its first entries.
    List {
        /// What is listed.
        path: FolderPath,
        /// How much of it.
        extent: Extent,
        /// As it was then; as it is now if that is `None`.
        at: Option<When>,
    },
    /// Go on with it, then [`Session::listed`] with the next entries.
    ListOn,
    /// Tell how the cluster is, then [`Session::status_told`].
    Status,
    /// This user has signed out: for the log.
    SignedOut(UserName),
    /// Close the connection. Nothing else comes after it.
    Close,
    /// Look at a token, then [`Session::signed_in`].
    SignInByToken {
        /// As it came.
        user: String,
        /// What stands for the password.
        token: Token,
    },
    /// Make a token for the user, then [`Session::account_done`] with it.
    IssueToken {
        /// Where it will be used, as the client says.
        machine: String,
    },
    /// Revoke the token that the user has signed in with, then [`Session::account_done`].
    RevokeToken,
    /// Change the user's password, then [`Session::account_done`].
    ChangePassword {
        /// As it was typed.
        old: String,
        /// As it was typed.
        new: String,
    },
    /// Make a folder, then [`Session::changed`].
    MakeFolder {
        /// Which.
        folder: FolderPath,
        /// Also those above it, and no error if it is there.
        parents: bool,
    },
    /// Remove a folder, then [`Session::folder_removed`].
    RemoveFolder {
        /// Which.
        folder: FolderPath,
        /// Also if it is not empty.
        recursive: bool,
    },
    /// Move a file or a folder, then [`Session::moved`].
    Move {
        /// Which.
        from: FilePath,
        /// The folder to move it into, or its new path.
        to: FolderPath,
        /// May it take the place of a file?
        replace: bool,
    },
    /// Copy a file or a folder, then [`Session::moved`].
    Copy {
        /// Which.
        from: FilePath,
        /// The folder to copy it into, or the copy's path.
        to: FolderPath,
        /// May it be a folder?
        recursive: bool,
        /// May it take the place of a file?
        replace: bool,
    },
    /// Tell what was, or bring it back, then [`Session::history_told`].
    History(HistoryRequest),
    /// Begin an upload, tell of it, or drop it, then [`Session::history_told`]; complete it, then
    /// [`Session::upload_completed`].
    Upload(UploadRequest),
    /// Make, list or delete the user's keys, then [`Session::history_told`].
    Keys(KeyRequest),
}

/// What is known of a version when its store has been committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The new version.
    pub version: VersionId,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The nodes that hold it durably.
    pub nodes: NodeSet,
}

/// What is known of a file before its bytes are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its size.
    pub bytes: u64,
    /// The bytes of it that will be sent.
    pub part: Range<u64>,
    /// The version that will be sent.
    pub version: VersionId,
    /// The digest of its bytes.
    pub digest: Digest,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
    /// What it keeps of the file that was stored.
    pub attributes: FileAttributes,
}

/// Which question of the sign-in conversation is open.
#[derive(Clone, PartialEq, Eq)]
enum Question {
    /// User and password.
    Login,
    /// Whether to make an account.
    Create,
    /// A new account's name and its password, twice.
    Account,
    /// The password of the new account with this name, twice.
    Passwords { user: String },
}

/// Which outcome the loop owes.
enum Waiting {
    SignIn,
    SignUp,
    Store { name: String, bytes: u64, framing: Framing },
    Body { name: String, framing: Framing },
    Drop { then: Option<Vec<u8>> },
    Retrieve { path: FilePath, has_range: bool },
    Sending { path: FilePath },
    Delete { path: FilePath },
    List(Box<Listing>),
    Status,
    Account,
    Change,
    History,
    Completion,
}

enum State {
    Hello,
    Conversing(Question),
    Greeted,
    Ready,
    Waiting(Waiting),
    Closed,
}

/// One client's connection, from the first hello to the close.
pub struct Session {
    dialect: Dialect,
    manner: Manner,
    state: State,
    /// Do people sign in by the conversation (always, but for most extended clients)?
    conversing: bool,
    /// May somebody make an account here?
    sign_up: bool,
    user: Option<UserName>,
    input: Input,
    /// What has been decided and not been handed out yet.
    steps: VecDeque<Step>,
    /// The reply to a message the rest of which is still to be read over.
    reply_at_end: Option<Vec<u8>>,
    /// Set when all that has arrived was looked at and decides nothing; cleared by bytes that may.
    undecided: Option<Patience>,
}

impl Session {
    /// A connection that has just been accepted.
    pub fn new(dialect: Dialect) -> Session {
        Session {
            dialect,
            manner: plain_manner(dialect),
            state: State::Hello,
            conversing: true,
            sign_up: true,
            user: None,
            input: Input::default(),
            steps: VecDeque::new(),
            reply_at_end: None,
            undecided: None,
        }
    }

    /// The same where nobody can make an account by signing up.
    #[must_use]
    pub fn without_sign_up(mut self) -> Session {
        self.sign_up = false;
        self
    }

    /// Has the client named the extended session?
    pub fn is_extended(&self) -> bool {
        self.manner == Manner::Extended
    }

    /// Who is signed in.
    pub fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// How many bytes wait that have arrived and not been understood yet.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// What to do next.
    pub fn next_step(&mut self) -> Step {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return step;
            }
            match self.state {
                State::Closed => return Step::Close,
                State::Waiting(_) => self.misuse("a step was asked for where an outcome is due"),
                _ => match self.undecided {
                    Some(patience) => return Step::Read(patience),
                    None => self.undecided = self.take_message(false),
                },
            }
        }
    }

    /// Bytes have arrived. Call it after [`Step::Read`].
    pub fn receive(&mut self, bytes: &[u8]) {
        debug_assert!(!matches!(self.state, State::Waiting(_)), "bytes came unasked");
        self.input.push(bytes);
        // Nothing but these can decide what was undecided: see `scan`. Looking again at every byte
        // would make a long line cost its square.
        let may_decide = bytes.contains(&b'\n')
            || matches!(self.state, State::Hello)
            || self.undecided == Some(Patience::Grace)
            || self.input.is_over_limit();
        if may_decide && !bytes.is_empty() {
            self.undecided = None;
        }
    }

    /// Nothing has arrived for as long as [`Step::Read`] said.
    pub fn silence(&mut self) {
        if self.is_closed() {
            return;
        }
        match self.undecided.take() {
            Some(Patience::Grace) => self.undecided = self.take_message(true),
            Some(Patience::Hello) => self.close(),
            Some(Patience::SignIn | Patience::Request) => match self.manner {
                Manner::Year2020 => self.close(),
                _ => self.leave("nothing was heard from you for too long"),
            },
            None => debug_assert!(false, "silence while nothing was waited for"),
        }
    }

    /// Ends the connection from the server's side, saying why where the client can understand it.
    pub fn turn_away(&mut self, reason: &str) {
        let mute = match &self.state {
            State::Closed => return,
            // A word in the midst of a file's bytes would be taken for some of them.
            State::Waiting(Waiting::Sending { .. }) => true,
            // And one in the midst of a listing for an entry.
            State::Waiting(Waiting::List(listing)) => listing.is_begun(),
            // That client reads only after a request of its own.
            State::Ready => self.manner == Manner::Year2020,
            _ => false,
        };
        // What was said is still said; what was to be done is not begun any more.
        self.steps.retain(|step| matches!(step, Step::Send(_) | Step::SignedOut(_)));
        if mute {
            self.steps.clear();
            self.close();
        } else {
            self.leave(reason);
        }
    }

    /// Bytes of a body that have arrived together with what was before it, at most `max`. Nothing
    /// once they are used up; for [`Step::ReceiveBody`] and [`Step::DropBody`].
    pub fn take_buffered(&mut self, max: u64) -> Vec<u8> {
        let due = matches!(self.state, State::Waiting(Waiting::Body { .. } | Waiting::Drop { .. }));
        debug_assert!(due || self.is_closed(), "no body is due");
        if due { self.input.take(max) } else { Vec::new() }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Looks at what has arrived. `None` if that led to anything; else what to wait for. With
    /// `silent`, no more will come.
    fn take_message(&mut self, silent: bool) -> Option<Patience> {
        if self.reply_at_end.is_some() {
            return self.read_over();
        }
        match (&self.state, self.manner) {
            (State::Hello, _) => self.take_hello(),
            (State::Conversing(question), _) => {
                let question = question.clone();
                self.take_answer(&question, silent)
            }
            (State::Greeted, _) => self.take_extended_sign_in(),
            (State::Ready, Manner::Extended) => self.take_extended_request(),
            (State::Ready, _) => self.take_request(silent),
            (State::Waiting(_) | State::Closed, _) => None,
        }
    }

    /// `HI`, and lines about the client up to an empty one. What cannot become that is not answered.
    fn take_hello(&mut self) -> Option<Patience> {
        const HI: &[u8] = b"HI\r\n";
        let window = self.input.window();
        let seen = window.len().min(HI.len());
        if window[..seen] != HI[..seen] {
            self.close();
            return None;
        }
        let end = (seen == HI.len()).then(|| self.input.end_of_message()).flatten();
        let Some(end) = end else {
            if self.input.is_over_limit() {
                self.close();
                return None;
            }
            return Some(Patience::Hello);
        };
        // A line that is not text says nothing that is known here.
        let hello = String::from_utf8_lossy(&self.input.window()[..end]).into_owned();
        self.input.consume(end);
        let about: Vec<&str> = hello.split(CRLF).skip(1).take_while(|l| !l.is_empty()).collect();
        self.greet(&about);
        None
    }

    /// Answers a hello by what its further lines say.
    fn greet(&mut self, about: &[&str]) {
        let version = about.first().and_then(|line| parse_hello_line(line)).filter(|n| *n > 0);
        let mut greeting = Vec::new();
        self.conversing = true;
        self.manner = plain_manner(self.dialect);
        if let Some(version) = version {
            self.manner = Manner::Extended;
            self.conversing = about.get(1) == Some(&"ask");
            greeting = Manner::agreement(version);
        }
        if self.conversing {
            greeting.extend(self.manner.greeting());
            self.state = State::Conversing(Question::Login);
        } else {
            self.state = State::Greeted;
        }
        self.send(greeting);
    }

    /// Reads over the rest of a message that is answered already, up to its empty line.
    fn read_over(&mut self) -> Option<Patience> {
        let Some(end) = self.input.end_of_message() else { return self.more() };
        self.input.consume(end);
        if let Some(reply) = self.reply_at_end.take() {
            self.send(reply);
        }
        None
    }

    /// More bytes are needed, unless there are more than a message may have already.
    fn more(&mut self) -> Option<Patience> {
        if self.input.is_over_limit() {
            self.too_long();
            return None;
        }
        match self.state {
            State::Hello => Some(Patience::Hello),
            State::Ready => Some(Patience::Request),
            _ => Some(Patience::SignIn),
        }
    }

    /// The end of a message cannot be found, so neither can the beginning of the next.
    fn too_long(&mut self) {
        self.leave(&format!("a message is at most {MESSAGE_BYTES_MAX} bytes long"));
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.steps.push_back(Step::Send(bytes));
    }

    /// Hands a step to the loop that it has to answer with an outcome.
    fn ask_loop(&mut self, step: Step, waiting: Waiting) {
        self.steps.push_back(step);
        self.state = State::Waiting(waiting);
    }

    /// Says this and waits for the next request.
    fn reply(&mut self, bytes: Vec<u8>) {
        self.send(bytes);
        self.state = State::Ready;
    }

    /// Says why, and closes.
    fn leave(&mut self, reason: &str) {
        self.send(if self.manner == Manner::Year2020 && self.user.is_some() {
            // That client takes it for the reply to its request, which is a bare text.
            self.manner.refusal(&format!("ERROR {reason}"))
        } else {
            self.manner.farewell(reason)
        });
        self.close();
    }

    fn close(&mut self) {
        self.state = State::Closed;
    }

    /// What the loop was waited for to answer. `None` if nothing was, or not any more.
    fn take_waiting(&mut self) -> Option<Waiting> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Waiting(waiting) => Some(waiting),
            State::Closed => None,
            _ => {
                self.misuse("an outcome came unasked");
                None
            }
        }
    }

    /// The loop has not kept to the steps: a mistake in the program. What the client would be told
    /// from here on might be wrong, so it is told nothing.
    fn misuse(&mut self, what: &str) {
        debug_assert!(false, "{what}");
        self.steps.clear();
        self.close();
    }
}

/// How a client is spoken to that has not named the extended session.
fn plain_manner(dialect: Dialect) -> Manner {
    match dialect {
        Dialect::Spec => Manner::Specified,
        Dialect::Year2020 => Manner::Year2020,
    }
}

/// A field as text.
fn text(field: Vec<u8>, what: &str) -> Result<String> {
    String::from_utf8(field)
        .map_err(|_| Error::other(Code::BadPath, format!("the {what} is not UTF-8 text")))
}
