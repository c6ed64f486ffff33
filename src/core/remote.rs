//! The client's half of the extended session (`docs/protocol.md`).
//!
//! A [`Remote`] is one connection, used by one thread, one request at a time. Invariants:
//! - Between two calls nothing is under way: every request has been answered in full, or the
//!   connection is marked as unusable ([`Remote::is_usable`]) because it broke or because what
//!   is still to come on it has no reader.
//! - A change whose request was sent in full and whose answer did not come ends with
//!   [`Code::InDoubt`]: nobody knows whether it was made.
//! - A file's bytes are hashed here, from the storing client's source to the retrieving client's
//!   sink; a call succeeds only if the digests of both ends agree.
//! - Memory is one chunk each way, whatever the file's size.

pub mod admin;
mod answers;
mod digester;
pub mod discovery;
mod folders;
mod history;
mod keys;
pub mod request;
mod retrieve;
mod store;
mod uploads;

use std::ops::Range;
use std::time::Duration;

use crate::core::error::{Code, Error, Result};
use crate::core::io::input::Input;
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::tls::{self, Trust};
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::status::Status;
use crate::core::types::{Digest, FileAttributes, Fingerprint, NodeSet, Precondition, VersionId};
use crate::core::wire::admin as wire;
use crate::core::wire::chunk::{CHUNK_BYTES, HEAD_BYTES};
use crate::core::wire::extended::{self, REPLY_BYTES_MAX, Reply, Request, Which, hello_line};
use crate::core::wire::lines;
use crate::core::wire::token::Token;

pub use answers::{Said, is_secret};
pub use digester::Digester;

const CONNECT: Deadline = Deadline::new(Duration::from_secs(10), "answer");
const ANSWER: Deadline = Deadline::new(Duration::from_secs(30), "answer");
/// To copy a folder, or to set one back, the server goes through all that is in it.
const LONG_ANSWER: Deadline = Deadline::new(Duration::from_secs(600), "answer");
const SEND: Deadline = Deadline::new(Duration::from_secs(30), "take what was sent");

/// Room for a chunk between two heads, and for the longest reply.
const INPUT_BYTES: usize = CHUNK_BYTES + 2 * HEAD_BYTES;
const _: () = assert!(INPUT_BYTES > REPLY_BYTES_MAX);

/// What of a file is wanted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selection {
    /// Which version.
    pub which: Which,
    /// Which bytes of it; all of them without.
    pub range: Option<ByteRange>,
}

/// How far a transfer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes that the server has acknowledged (storing) or that are written (retrieving).
    pub bytes: u64,
    /// The size of the file.
    pub total: u64,
    /// All bytes are there; what is waited for is the commit.
    pub committing: bool,
}

/// What is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct ToStore<'a> {
    /// Where.
    pub path: &'a FilePath,
    /// Its size.
    pub bytes: u64,
    /// What has to be there.
    pub precondition: Precondition,
    /// What it is to keep besides its bytes.
    pub attributes: FileAttributes,
    /// What has come is kept as the upload of this id if the transfer breaks off.
    pub keep: Option<VersionId>,
}

/// What the server says of a file that it has stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The version that the file now has.
    pub version: VersionId,
    /// On how many of the four nodes it is durable.
    pub nodes: usize,
    /// The digest of the bytes that were sent, confirmed by the server.
    pub blake3: Digest,
}

/// What is known of a file that has been retrieved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retrieved {
    /// Its size.
    pub bytes: u64,
    /// The bytes of it that were written.
    pub part: Range<u64>,
    /// Which version it is.
    pub version: VersionId,
    /// The digest of the file as it was stored; that of the bytes that were written, if those are all.
    pub blake3: Digest,
    /// When it was stored, in milliseconds since 1970 by the server's clock.
    pub stored_ms: i64,
    /// What it keeps of the file that was stored.
    pub attributes: FileAttributes,
    /// The nodes that it was read from.
    pub nodes: NodeSet,
}

/// A server to connect to, and how it is recognised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `HOST:PORT`.
    pub address: String,
    /// Which server there is the right one.
    pub trust: Trust,
}

/// Whoever gives no more than an address believes a server on this machine, and elsewhere one that
/// an authority vouches for.
impl<S: AsRef<str> + ?Sized> From<&S> for Target {
    fn from(address: &S) -> Target {
        Target { address: address.as_ref().to_owned(), trust: Trust::Vouched }
    }
}

/// A connection to a server that speaks the extended session.
#[derive(Debug)]
pub struct Remote {
    stream: Stream,
    input: Input,
    /// What a store reads its source into; empty until the first one.
    outgoing: Vec<u8>,
    usable: bool,
}

impl Remote {
    /// Connects, encrypted, and agrees on the extended session.
    ///
    /// # Errors
    /// [`Code::Unreachable`], [`Code::Version`] if the server speaks another protocol,
    /// [`Code::ServerIdentity`] if it is not the right one.
    pub fn connect(target: impl Into<Target>) -> Result<Remote> {
        let mut remote = Remote::open(&target.into())?;
        remote.hello(&[])?;
        Ok(remote)
    }

    /// Connects and has the server ask its own questions (see [`Remote::answer`]).
    ///
    /// # Errors
    /// As [`Remote::connect`].
    pub fn connect_and_ask(target: impl Into<Target>) -> Result<(Remote, Said)> {
        let mut remote = Remote::open(&target.into())?;
        let said = remote.ask()?;
        Ok((remote, said))
    }

    /// What the server at `HOST:PORT` is recognised by. Nothing is said to it.
    ///
    /// # Errors
    /// As [`Remote::connect`], except that any server is the right one.
    pub fn fingerprint_of(address: &str) -> Result<Fingerprint> {
        let target = Target { address: address.to_owned(), trust: Trust::Any };
        let remote = Remote::open(&target)?;
        remote.fingerprint().ok_or_else(|| Error::Protocol("the server shows no key".into()))
    }

    /// What this server is recognised by.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.stream.peer_fingerprint()
    }

    /// Is the server on this machine?
    pub fn is_local(&self) -> bool {
        self.stream.is_from_loopback()
    }

    fn open(target: &Target) -> Result<Remote> {
        let Target { address, trust } = target;
        let mut stream = Stream::connect("server", address, &CONNECT)?;
        match tls::connect_to_server(&mut stream, address, trust) {
            Err(Error::PlainAnswer(said)) => return Err(in_plain_text(&said, stream.name())),
            done => done?,
        }
        Ok(Remote { stream, input: Input::new(INPUT_BYTES), outgoing: Vec::new(), usable: true })
    }

    /// Says hello, on a new connection or after [`Remote::sign_out`], asking for the server's own
    /// questions, and gives the first of them.
    ///
    /// # Errors
    /// As [`Remote::connect`].
    pub fn ask(&mut self) -> Result<Said> {
        self.hello(&["ask"])?;
        let message = self.message(&ANSWER)?;
        self.keep(Said::decode(&message))
    }

    fn hello(&mut self, more: &[&str]) -> Result<()> {
        let hello = hello_line();
        let mut message = vec!["HI", hello.as_str()];
        message.extend_from_slice(more);
        self.send(&lines::encode(&message), &SEND)?;
        let message = self.message(&ANSWER)?;
        match message.first().map(String::as_str) {
            Some("S") if message.get(1) == Some(&hello) => Ok(()),
            Some("D") => {
                self.usable = false;
                Err(disconnected(&message[1..].join(" ")))
            }
            _ => {
                self.usable = false;
                let text = format!(
                    "{} does not speak this program's protocol ({hello:?})",
                    self.stream.name()
                );
                Err(Error::other(Code::Version, text))
            }
        }
    }

    /// Answers the server's questions, in their order; what it says next is more questions or the
    /// welcome.
    ///
    /// # Errors
    /// [`Code::Temporary`] if the server ends the conversation, [`Code::Unreachable`].
    pub fn answer<S: AsRef<str>>(&mut self, answers: &[S]) -> Result<Said> {
        self.send(&lines::encode(answers), &SEND)?;
        let message = self.message(&ANSWER)?;
        self.keep(Said::decode(&message))
    }

    /// Signs in.
    ///
    /// # Errors
    /// [`Code::SignIn`] if user or password are wrong, [`Code::Temporary`] if there were too many
    /// wrong ones, [`Code::Usage`] if one is empty, and those of any request.
    pub fn sign_in(&mut self, user: &str, password: &str) -> Result<()> {
        check_given(user, password)?;
        self.request(&Request::SignIn { user: user.into(), password: password.into() }).map(drop)
    }

    /// Makes an account and signs in to it.
    ///
    /// # Errors
    /// [`Code::UserExists`], [`Code::Usage`] if one is empty, and those of any change.
    pub fn sign_up(&mut self, user: &str, password: &str) -> Result<()> {
        check_given(user, password)?;
        self.change(&Request::SignUp { user: user.into(), password: password.into() }).map(drop)
    }

    /// Signs in with a token in place of the password.
    ///
    /// # Errors
    /// [`Code::SignIn`] if it is not valid (any more), and those of any request.
    pub fn sign_in_by_token(&mut self, user: &str, token: &Token) -> Result<()> {
        self.request(&Request::TokenSignIn { user: user.into(), token: token.clone() }).map(drop)
    }

    /// Has the server make a token for the user, to be used on the machine of this name.
    ///
    /// # Errors
    /// Those of any change.
    pub fn issue_token(&mut self, machine: &str) -> Result<Token> {
        let fields = self.change(&Request::IssueToken { machine: machine.into() })?;
        let token = extended::field(&fields, "token");
        self.keep(token)
    }

    /// Revokes the token that this connection has signed in with.
    ///
    /// # Errors
    /// Those of any change.
    pub fn revoke_token(&mut self) -> Result<()> {
        self.change(&Request::RevokeToken).map(drop)
    }

    /// Changes the user's password, and revokes all tokens but the one that this connection has
    /// signed in with.
    ///
    /// # Errors
    /// [`Code::SignIn`] if the old one is wrong, and those of any change.
    pub fn change_password(&mut self, old: &str, new: &str) -> Result<()> {
        check_given(old, new)?;
        self.change(&Request::ChangePassword { old: old.into(), new: new.into() }).map(drop)
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`], and those of any change.
    pub fn delete(&mut self, path: &FilePath) -> Result<()> {
        self.change(&Request::Delete { path: path.clone() }).map(drop)
    }

    /// How the cluster is; no file is named.
    ///
    /// # Errors
    /// Those of any request.
    pub fn status(&mut self) -> Result<Status> {
        let fields = self.request(&Request::Status)?;
        let line = fields.first().map(String::as_str).unwrap_or_default();
        let status = wire::object(line.as_bytes()).and_then(wire::parse);
        self.keep(status)
    }

    /// Signs out. The server then waits for a new hello ([`Remote::ask`]) on this connection.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if the connection broke.
    pub fn sign_out(&mut self) -> Result<()> {
        self.send(&Request::SignOut.encode(), &SEND)
    }

    /// Can more be asked on this connection?
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// Can more be asked, and has the server not ended the connection meanwhile, with a farewell or
    /// without?
    pub fn is_alive(&mut self) -> bool {
        // First comes what it has said last, then the end.
        let has_ended = (0..2).any(|_| self.input.ready(&mut self.stream).is_err());
        let said = self.input.waiting();
        self.usable &= !has_ended || !(said.is_empty() || said.starts_with(b"D\r\n"));
        self.usable
    }

    /// The server's name for messages: `server 127.0.0.1:17777`.
    pub fn name(&self) -> &str {
        self.stream.name()
    }

    fn request(&mut self, request: &Request) -> Result<Vec<String>> {
        self.send(&request.encode(), &SEND)?;
        let message = self.message(&ANSWER)?;
        self.reply(&message)
    }

    /// As [`Remote::request`], for what changes something: once the request has been sent, a missing
    /// answer does not say that nothing was done.
    fn change(&mut self, request: &Request) -> Result<Vec<String>> {
        self.change_within(request, &ANSWER)
    }

    fn change_within(&mut self, request: &Request, answer: &Deadline) -> Result<Vec<String>> {
        self.send(&request.encode(), &SEND)?;
        let message = self.message(answer).map_err(in_doubt)?;
        self.reply(&message)
    }

    /// The lines of a success, or the error that the server answered.
    fn reply(&mut self, message: &[String]) -> Result<Vec<String>> {
        let reply = Reply::decode(message);
        match self.keep(reply)? {
            Reply::Success(fields) => Ok(fields),
            Reply::Error { text, code } => Err(Error::Remote { code, text }),
            Reply::Disconnect(why) => {
                self.usable = false;
                Err(disconnected(&why))
            }
        }
    }

    fn send(&mut self, message: &[u8], deadline: &Deadline) -> Result<()> {
        self.send_parts(&[message], deadline)
    }

    /// Sends; if the server has closed the connection, what it said before is the better reason.
    fn send_parts(&mut self, parts: &[&[u8]], deadline: &Deadline) -> Result<()> {
        let Err(error) = self.stream.write_all(parts, deadline) else { return Ok(()) };
        self.usable = false;
        Err(self.last_words().unwrap_or(error))
    }

    /// The error or farewell that the server left behind before it closed the connection.
    fn last_words(&mut self) -> Option<Error> {
        // What came before the close is still in the socket, even where the close was a reset.
        let _ = self.input.ready(&mut self.stream);
        let acknowledgements = self.input.waiting().iter().take_while(|byte| **byte == b'+');
        let skipped = acknowledgements.count();
        let (message, _) =
            lines::decode(&self.input.waiting()[skipped..], REPLY_BYTES_MAX).ok()??;
        match Reply::decode(&message).ok()? {
            Reply::Success(_) => None,
            Reply::Error { text, code } => Some(Error::Remote { code, text }),
            Reply::Disconnect(why) => Some(disconnected(&why)),
        }
    }

    /// The next message, which is at most [`REPLY_BYTES_MAX`] long.
    fn message(&mut self, deadline: &Deadline) -> Result<Vec<String>> {
        loop {
            let decoded = lines::decode(self.input.waiting(), REPLY_BYTES_MAX);
            if let Some((message, used)) = self.keep(decoded)? {
                self.input.used(used);
                return Ok(message);
            }
            let more = self.input.more(&mut self.stream, deadline);
            self.keep(more)?;
        }
    }

    /// The next single line.
    fn line(&mut self) -> Result<String> {
        self.line_within(&ANSWER)
    }

    fn line_within(&mut self, deadline: &Deadline) -> Result<String> {
        loop {
            if let Some((line, used)) = lines::split_line(self.input.waiting()) {
                let line = String::from_utf8(line.to_vec())
                    .map_err(|_| Error::Protocol("a line is not UTF-8 text".into()));
                self.input.used(used);
                return self.keep(line);
            }
            if self.input.waiting().len() > REPLY_BYTES_MAX {
                return self.keep(Err(Error::Protocol("a line has no end".into())));
            }
            let more = self.input.more(&mut self.stream, deadline);
            self.keep(more)?;
        }
    }

    /// Passes a result on; an error that gets here leaves the connection unusable.
    fn keep<T>(&mut self, result: Result<T>) -> Result<T> {
        self.usable &= result.is_ok();
        result
    }
}

/// An empty line ends a message: with an empty user the password would be the next message, and the
/// server would take it for an opcode.
fn check_given(user: &str, password: &str) -> Result<()> {
    if user.is_empty() || password.is_empty() {
        return Err(Error::other(Code::Usage, "user and password must not be empty"));
    }
    Ok(())
}

/// What a change ends with whose answer did not come: nobody knows whether it was made.
fn in_doubt(error: Error) -> Error {
    match error {
        Error::Closed(_) | Error::Deadline(_) | Error::Io { .. } => {
            let text =
                format!("no answer came ({error}): the change may or may not have been made");
            Error::other(Code::InDoubt, text)
        }
        // It has answered, with something else.
        other => other,
    }
}

/// The server has ended the conversation of its own accord.
fn disconnected(why: &str) -> Error {
    Error::other(Code::Temporary, format!("the server has ended the connection: {why}"))
}

/// A server that turns everybody away says so before anything is encrypted. Of anything else that
/// comes in plain text nothing is believed.
fn in_plain_text(said: &[u8], name: &str) -> Error {
    let reply = lines::decode(said, REPLY_BYTES_MAX).ok().flatten();
    match reply.and_then(|(message, _)| Reply::decode(&message).ok()) {
        Some(Reply::Disconnect(why)) => disconnected(&why),
        _ => Error::other(Code::Version, format!("{name} does not encrypt its connections")),
    }
}

#[cfg(test)]
pub(crate) mod tests;
