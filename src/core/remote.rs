//! The client's half of the extended session (`docs/protocol.md`).
//!
//! A [`Remote`] is one connection, used by one thread, one request at a time. Invariants:
//! - Between two calls nothing is under way: every request has been answered in full, or the
//!   connection is marked as unusable ([`Remote::is_usable`]) because it broke or because what
//!   is still to come on it has no reader.
//! - A file's bytes are hashed here, from the storing client's source to the retrieving client's
//!   sink; a call succeeds only if the digests of both ends agree.
//! - Memory is one chunk each way, whatever the file's size.

mod answers;
mod retrieve;
mod store;

use std::time::Duration;

use crate::core::error::{Code, Error, Result};
use crate::core::io::input::Input;
use crate::core::io::net::{Deadline, Stream};
use crate::core::path::FilePath;
use crate::core::types::{Digest, NodeSet, VersionId};
use crate::core::wire::chunk::{CHUNK_BYTES, HEAD_BYTES};
use crate::core::wire::extended::{Entry, REPLY_BYTES_MAX, Reply, Request, hello_line};
use crate::core::wire::lines;

pub use answers::{Said, is_secret};

const CONNECT: Deadline = Deadline::new(Duration::from_secs(10), "answer");
const ANSWER: Deadline = Deadline::new(Duration::from_secs(30), "answer");
const SEND: Deadline = Deadline::new(Duration::from_secs(30), "take what was sent");

/// Room for a chunk between two heads, and for the longest reply.
const INPUT_BYTES: usize = CHUNK_BYTES + 2 * HEAD_BYTES;
const _: () = assert!(INPUT_BYTES > REPLY_BYTES_MAX);

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retrieved {
    /// Its size.
    pub bytes: u64,
    /// Which version it is.
    pub version: VersionId,
    /// The digest of the bytes that were written, which is the one of the bytes once stored.
    pub blake3: Digest,
    /// When it was stored, in milliseconds since 1970 by the server's clock.
    pub stored_ms: i64,
    /// The nodes that it was read from.
    pub nodes: NodeSet,
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
    /// Connects to `HOST:PORT` and agrees on the extended session.
    ///
    /// # Errors
    /// [`Code::Unreachable`], [`Code::Version`] if the server speaks another protocol.
    pub fn connect(address: &str) -> Result<Remote> {
        let mut remote = Remote::open(address)?;
        remote.hello(&[])?;
        Ok(remote)
    }

    /// Connects and has the server ask its own questions (see [`Remote::answer`]).
    ///
    /// # Errors
    /// As [`Remote::connect`].
    pub fn connect_and_ask(address: &str) -> Result<(Remote, Said)> {
        let mut remote = Remote::open(address)?;
        let said = remote.ask()?;
        Ok((remote, said))
    }

    fn open(address: &str) -> Result<Remote> {
        let stream = Stream::connect("server", address, &CONNECT)?;
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
    /// [`Code::SignIn`] or [`Code::NoSuchUser`] if user or password are wrong, [`Code::Usage`] if
    /// one is empty, and those of any request.
    pub fn sign_in(&mut self, user: &str, password: &str) -> Result<()> {
        check_given(user, password)?;
        self.request(&Request::SignIn { user: user.into(), password: password.into() }).map(drop)
    }

    /// Makes an account and signs in to it.
    ///
    /// # Errors
    /// [`Code::UserExists`], [`Code::Usage`] if one is empty, and those of any request.
    pub fn sign_up(&mut self, user: &str, password: &str) -> Result<()> {
        check_given(user, password)?;
        self.request(&Request::SignUp { user: user.into(), password: password.into() }).map(drop)
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`], and those of any request.
    pub fn delete(&mut self, path: &FilePath) -> Result<()> {
        self.request(&Request::Delete { path: path.clone() }).map(drop)
    }

    /// Hands every folder and file of the user to `each`, sorted by path, as they arrive.
    ///
    /// # Errors
    /// The first of `each`, after which the connection is unusable; those of any request.
    pub fn list(&mut self, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        self.send(&Request::List.encode(), &SEND)?;
        let first = self.line()?;
        if first != "S" {
            let mut message = vec![first];
            message.extend(self.message(&ANSWER)?);
            return self.reply(&message).map(drop);
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            let done = Entry::decode(&line).and_then(&mut *each);
            self.keep(done)?;
        }
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

    /// The server's name for messages: `server 127.0.0.1:17777`.
    pub fn name(&self) -> &str {
        self.stream.name()
    }

    fn request(&mut self, request: &Request) -> Result<Vec<String>> {
        self.send(&request.encode(), &SEND)?;
        let message = self.message(&ANSWER)?;
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
            let more = self.input.more(&mut self.stream, &ANSWER);
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

/// The server has ended the conversation of its own accord.
fn disconnected(why: &str) -> Error {
    Error::other(Code::Temporary, format!("the server has ended the connection: {why}"))
}

#[cfg(test)]
pub(crate) mod tests;
