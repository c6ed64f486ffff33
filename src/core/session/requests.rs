//! What a signed-in user may ask for, in all three manners of speaking.
//!
//! Invariant: every request is answered exactly once, and when its answer has been handed out the
//! next byte of the input is the first of the next message; where that cannot be had, the
//! connection is closed.

use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::range::ByteRange;
use crate::core::session::say::{self, Manner};
use crate::core::session::scan::{self, Opcode, Request, Scan};
use crate::core::session::sign_in::decode;
use crate::core::session::{
    Found, Framing, Patience, Session, State, Step, Stored, Waiting, plain_manner, text,
};
use crate::core::types::NodeSet;
use crate::core::wire::extended::{self, Extent, UploadRequest, Which};
use crate::core::wire::token::Token;

const UNKNOWN_OPCODE: &str = "ERROR Opcode was invalid!";

impl Session {
    /// Takes a request of the specified session, if it has come.
    pub(super) fn take_request(&mut self, silent: bool) -> Option<Patience> {
        let (request, used) = match scan::request(self.input.window()) {
            Scan::Done(request, used) => (request, used),
            Scan::Grace(request, used) if silent => (request, used),
            Scan::Grace(..) if !self.input.is_over_limit() => return Some(Patience::Grace),
            Scan::Grace(..) | Scan::More => return self.more(),
        };
        self.input.consume(used);
        self.act_on_request(request);
        None
    }

    fn act_on_request(&mut self, request: Request) {
        match request {
            Request::Stray => {}
            Request::Empty => self.reply(self.manner.refusal(UNKNOWN_OPCODE)),
            Request::Unknown => self.reply_at_end = Some(self.manner.refusal(UNKNOWN_OPCODE)),
            Request::Short(opcode) => self.reply(self.manner.refusal(short(opcode))),
            Request::Long(opcode) => {
                let text = format!("ERROR Received too many lines for opcode:{}", opcode.as_str());
                self.reply_at_end = Some(self.manner.refusal(&text));
            }
            Request::Store { name, path, size } => self.store(name, path, &size),
            Request::Retrieve { name, path } => match file_path(name, path) {
                Ok(path) => self.retrieve(path, Which::Current, None),
                Err(error) => self.reply(self.manner.failure(Opcode::Retrieve, &error)),
            },
            Request::Delete { name, path } => match file_path(name, path) {
                Ok(path) => self.delete(path),
                Err(error) => self.reply(self.manner.failure(Opcode::Delete, &error)),
            },
            Request::List => self.list(FolderPath::top(), Extent::All, None, false),
            Request::SignOut => self.sign_out(),
        }
    }

    /// Takes a request of the extended session, if it has come.
    pub(super) fn take_extended_request(&mut self) -> Option<Patience> {
        let Some(end) = self.input.end_of_message() else { return self.more() };
        let request = decode(&self.input.window()[..end]);
        self.input.consume(end);
        match request {
            Ok(request) => self.act_on_extended_request(request),
            Err(error) => self.reply(say::extended_failure(&error)),
        }
        None
    }

    fn act_on_extended_request(&mut self, request: extended::Request) {
        use extended::Request;
        match request {
            Request::SignIn { .. } | Request::SignUp { .. } | Request::TokenSignIn { .. } => {
                let error = Error::other(Code::NotAllowed, "you are signed in: sign out first");
                self.reply(say::extended_failure(&error));
            }
            Request::Store { path, bytes, precondition, attributes, keep } => {
                let (framing, name) = (Framing::Chunks, path.name().to_owned());
                let step = Step::Store { path, bytes, precondition, attributes, keep, framing };
                self.ask_loop(step, Waiting::Store { name, bytes, framing });
            }
            Request::Send { upload, offset, bytes } => {
                let (framing, name) = (Framing::Chunks, String::new());
                let step = Step::StorePart { upload, offset, bytes };
                self.ask_loop(step, Waiting::Store { name, bytes, framing });
            }
            Request::Upload(request) => {
                let waiting = match request {
                    UploadRequest::Complete { .. } => Waiting::Completion,
                    _ => Waiting::History,
                };
                self.ask_loop(Step::Upload(request), waiting);
            }
            Request::Retrieve { path, which, range } => self.retrieve(path, which, range),
            Request::Delete { path } => self.delete(path),
            Request::List { path, extent, at, attributes } => {
                self.list(path, extent, at, attributes);
            }
            Request::SetAttributes { path, version, attributes } => {
                let step = Step::SetAttributes { path, version, attributes };
                self.ask_loop(step, Waiting::Change);
            }
            Request::History(request) => self.ask_loop(Step::History(request), Waiting::History),
            Request::Keys(request) => self.ask_loop(Step::Keys(request), Waiting::History),
            Request::SignOut => self.sign_out(),
            Request::Status => self.ask_loop(Step::Status, Waiting::Status),
            Request::IssueToken { machine } => {
                self.ask_loop(Step::IssueToken { machine }, Waiting::Account);
            }
            Request::RevokeToken => self.ask_loop(Step::RevokeToken, Waiting::Account),
            Request::ChangePassword { old, new } => {
                self.ask_loop(Step::ChangePassword { old, new }, Waiting::Account);
            }
            Request::MakeFolder { folder, parents } => {
                self.ask_loop(Step::MakeFolder { folder, parents }, Waiting::Change);
            }
            Request::RemoveFolder { folder, recursive } => {
                self.ask_loop(Step::RemoveFolder { folder, recursive }, Waiting::Change);
            }
            Request::Move { from, to, replace } => {
                self.ask_loop(Step::Move { from, to, replace }, Waiting::Change);
            }
            Request::Copy { from, to, recursive, replace } => {
                self.ask_loop(Step::Copy { from, to, recursive, replace }, Waiting::Change);
            }
        }
    }

    fn store(&mut self, name: Vec<u8>, path: Vec<u8>, size: &[u8]) {
        let Some(bytes) = size_in_bytes(size) else {
            let text = "ERROR the size is not a number of bytes, so none are expected";
            return self.reply(self.manner.refusal(text));
        };
        let needs_folder = path.is_empty();
        match file_path(name, path) {
            Ok(_) if needs_folder => {
                let text = "ERROR a file path is needed: files lie in a folder, none directly in \
                            your top folder";
                self.refuse_body(self.manner.refusal(text), bytes);
            }
            Ok(path) => {
                let (framing, name) = (Framing::Raw, path.name().to_owned());
                let (precondition, attributes, keep) = Default::default();
                let step = Step::Store { path, bytes, precondition, attributes, keep, framing };
                self.ask_loop(step, Waiting::Store { name, bytes, framing });
            }
            Err(error) => self.refuse_body(self.manner.failure(Opcode::Store, &error), bytes),
        }
    }

    /// Refuses a file whose raw bytes are under way, and keeps the connection usable.
    fn refuse_body(&mut self, refusal: Vec<u8>, bytes: u64) {
        let then = if self.manner == Manner::Year2020 {
            // That client reads nothing before it has sent everything.
            Some(refusal)
        } else {
            self.send(refusal);
            None
        };
        self.ask_loop(Step::DropBody(bytes), Waiting::Drop { then });
    }

    fn framing(&self) -> Framing {
        if self.manner == Manner::Extended { Framing::Chunks } else { Framing::Raw }
    }

    fn retrieve(&mut self, path: FilePath, which: Which, range: Option<ByteRange>) {
        let step = Step::Retrieve { path: path.clone(), which, range, framing: self.framing() };
        self.ask_loop(step, Waiting::Retrieve { path, has_range: range.is_some() });
    }

    fn delete(&mut self, path: FilePath) {
        self.ask_loop(Step::Delete { path: path.clone() }, Waiting::Delete { path });
    }

    /// Back to the start of the connection, without an answer.
    fn sign_out(&mut self) {
        self.steps.extend(self.user.take().map(Step::SignedOut));
        self.manner = plain_manner(self.dialect);
        self.conversing = true;
        self.state = State::Hello;
    }

    /// [`Step::Store`]: the body can be received.
    pub fn store_ready(&mut self) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Store { name, framing, .. } = waiting else {
            return self.misuse("no store was prepared");
        };
        if framing == Framing::Chunks {
            self.send(say::send_now());
        }
        self.ask_loop(Step::ReceiveBody, Waiting::Body { name, framing });
    }

    /// [`Step::Store`]: the file is not taken.
    pub fn store_refused(&mut self, error: &Error) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Store { bytes, framing, .. } = waiting else {
            return self.misuse("no store was prepared");
        };
        let refusal = self.manner.failure(Opcode::Store, error);
        match framing {
            Framing::Raw => self.refuse_body(refusal, bytes),
            Framing::Chunks => self.reply(refusal),
        }
    }

    /// The outcome of [`Step::ReceiveBody`]. [`Error::Protocol`] after chunks means that where the
    /// body ends cannot be known, and closes the connection.
    pub fn stored(&mut self, outcome: Result<Stored>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Body { name, framing } = waiting else {
            return self.misuse("no body was received");
        };
        match (outcome, framing) {
            (Ok(stored), Framing::Chunks) => self.reply(say::stored(&stored)),
            (Ok(_), Framing::Raw) => {
                self.reply(
                    self.manner.done(&format!("File {name} successfully created and written to")),
                );
            }
            (Err(error @ Error::Protocol(_)), Framing::Chunks) => self.leave(&error.to_string()),
            (Err(error), _) => self.reply(self.manner.failure(Opcode::Store, &error)),
        }
    }

    /// The outcome of [`Step::ReceiveBody`] for a part of an upload: how many of the file's bytes have come.
    /// As for [`Session::stored`], [`Error::Protocol`] closes the connection.
    pub fn part_stored(&mut self, outcome: Result<u64>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Body { framing: Framing::Chunks, .. } = waiting else {
            return self.misuse("no part was received");
        };
        match outcome {
            Ok(arrived) => self.reply(say::arrived(arrived)),
            Err(error @ Error::Protocol(_)) => self.leave(&error.to_string()),
            Err(error) => self.reply(say::extended_failure(&error)),
        }
    }

    /// The outcome of [`Step::Upload`] that completes one.
    pub fn upload_completed(&mut self, outcome: Result<Stored>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Completion = waiting else { return self.misuse("no upload was completed") };
        self.reply(match outcome {
            Ok(stored) => say::stored(&stored),
            Err(error) => say::extended_failure(&error),
        });
    }

    /// [`Step::ReceiveBody`], in chunks: storing has failed before the body's end. The client is
    /// told at once, so that it does not send the rest in vain.
    pub fn store_broken(&mut self, error: &Error) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Body { framing: Framing::Chunks, .. } = waiting else {
            return self.misuse("no chunks were received");
        };
        self.send(say::extended_failure(error));
        self.ask_loop(Step::DropChunks, Waiting::Drop { then: None });
    }

    /// The outcome of [`Step::DropBody`] and [`Step::DropChunks`].
    pub fn body_dropped(&mut self) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Drop { then } = waiting else { return self.misuse("no body was dropped") };
        self.state = State::Ready;
        if let Some(reply) = then {
            self.reply(reply);
        }
    }

    /// [`Step::Retrieve`]: the file can be read.
    pub fn retrieve_ready(&mut self, found: &Found) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Retrieve { path, has_range } = waiting else {
            return self.misuse("no file was sought");
        };
        self.send(match self.manner {
            Manner::Extended => say::found(found, has_range),
            manner => manner.size(found.bytes),
        });
        self.ask_loop(Step::SendBody, Waiting::Sending { path });
    }

    /// [`Step::Retrieve`]: it cannot.
    pub fn retrieve_failed(&mut self, error: &Error) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Retrieve { .. } = waiting else { return self.misuse("no file was sought") };
        self.reply(self.manner.failure(Opcode::Retrieve, error));
    }

    /// The outcome of [`Step::SendBody`], with the nodes that were read from.
    pub fn retrieved(&mut self, outcome: Result<NodeSet>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Sending { path } = waiting else { return self.misuse("no body was sent") };
        match (outcome, self.manner) {
            (Ok(nodes), Manner::Extended) => self.reply(say::read_from(nodes)),
            (Err(error), Manner::Extended) => self.reply(say::extended_failure(&error)),
            (Ok(_), manner) => {
                if manner == Manner::Year2020 {
                    // It writes what one read returns into the file: this must come by itself.
                    self.steps.push_back(Step::Settle);
                }
                let name = path.name();
                self.reply(
                    manner
                        .done(&format!("Successfully retrieved file {name} from the file system")),
                );
            }
            // Whatever were said now would be taken for the bytes that are missing.
            (Err(_), _) => self.close(),
        }
    }

    /// The outcome of [`Step::Delete`].
    pub fn deleted(&mut self, outcome: Result<()>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Delete { path } = waiting else { return self.misuse("nothing was deleted") };
        self.reply(match (outcome, self.manner) {
            (Ok(()), Manner::Extended) => extended::Reply::Success(Vec::new()).encode(),
            (Ok(()), manner) => {
                let name = path.name();
                manner.done(&format!("Successfully removed file {name} from the file system"))
            }
            (Err(error), manner) => manner.failure(Opcode::Delete, &error),
        });
    }

    /// The outcome of [`Step::Status`]: an object on one line. Only the extended session asks.
    pub fn status_told(&mut self, outcome: Result<String>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Status = waiting else { return self.misuse("nobody asked for the status") };
        self.reply(match outcome {
            Ok(line) => extended::Reply::Success(vec![line]).encode(),
            Err(error) => say::extended_failure(&error),
        });
    }

    /// The outcome of [`Step::IssueToken`], with the token, and of [`Step::RevokeToken`] and
    /// [`Step::ChangePassword`], with none.
    pub fn account_done(&mut self, outcome: Result<Option<Token>>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Account = waiting else { return self.misuse("no account was changed") };
        self.reply(match outcome {
            Ok(token) => say::account_done(token.as_ref()),
            Err(error) => say::extended_failure(&error),
        });
    }
}

/// What a request is told that lacks a field.
fn short(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::Store => "ERROR Did not receive all the parameters required for opcode:STR",
        _ => "ERROR Did not receive all the data!",
    }
}

/// The file of this name in this folder, both as they came.
fn file_path(name: Vec<u8>, path: Vec<u8>) -> Result<FilePath> {
    let name = text(name, "file name")?;
    let path = text(path, "file path")?;
    Ok(FolderPath::parse(&path)?.join(&name)?)
}

/// Digits and nothing else, of a number that a size can be.
fn size_in_bytes(size: &[u8]) -> Option<u64> {
    let digits = !size.is_empty() && size.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(size).ok().filter(|_| digits)?.parse().ok()
}
