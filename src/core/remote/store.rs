//! Storing: the client's chunks and the server's acknowledgements.
//!
//! ```text
//!   STR ──S send──▶ sending ──all sent, end chunk──▶ waiting ──+...S──▶ stored
//!    │                │ │                                │
//!    E                │ └─source fails──▶ given up ──E──▶ the source's error
//!    ▼                └──E for a +──────▶ given up ─────▶ the server's error
//!   refused
//! ```
//!
//! However it ends, exactly one reply is taken after `send`, so the connection goes on with the
//! next request. (Where the client gives up while an `E` is on its way, the server takes the
//! given-up chunk for the answer to its `E`: one reply in that case too.)

use std::io::{ErrorKind, Read};
use std::time::Duration;

use super::{ANSWER, Digester, Progress, Remote, SEND, Stored, ToStore, in_doubt};
use crate::core::error::{Code, Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::reason;
use crate::core::types::Digest;
use crate::core::wire::chunk::{self, ACKNOWLEDGED, CHUNK_BYTES, CHUNKS_AHEAD_MAX};
use crate::core::wire::extended::{Request, field};

const ACKNOWLEDGE: Deadline = Deadline::new(Duration::from_secs(30), "acknowledge a chunk");
/// From one sign of life to the next: the server says that it is still at work.
const COMMIT: Deadline = Deadline::new(Duration::from_secs(60), "confirm the store");
const TAKE: Deadline = Deadline::new(Duration::from_secs(30), "take more of the file");

/// Who is told how far it is.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Progress);

/// How much of a file is under way.
pub(super) struct Sending {
    pub(super) total: u64,
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
}

impl Sending {
    fn chunks_ahead(&self) -> u64 {
        (self.sent - self.acknowledged).div_ceil(CHUNK_BYTES as u64)
    }

    fn progress(&self, committing: bool) -> Progress {
        Progress { bytes: self.acknowledged, total: self.total, committing }
    }
}

impl Remote {
    /// Stores exactly as many bytes of `source` as are wanted, if what is there is as the precondition says,
    /// at the beginning and when it is committed. `watch` is called as acknowledgements arrive.
    ///
    /// # Errors
    /// [`Code::Exists`], [`Code::NoSuchFile`] or [`Code::Changed`] if the precondition does not hold;
    /// [`Code::LocalFile`] if the source cannot be read or does not have the announced size;
    /// [`Code::Damaged`] if the server's digest is another one than that of what was read;
    /// [`Code::InDoubt`] if all of it was sent and no answer came; those of any request. Nothing is
    /// stored then, except that after `InDoubt` it may be.
    pub fn store(
        &mut self,
        wanted: &ToStore<'_>,
        source: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Result<Stored> {
        let &ToStore { path, bytes, precondition, attributes, keep } = wanted;
        let path = path.clone();
        self.request(&Request::Store { path, bytes, precondition, attributes, keep })?;
        let mut sending = Sending { total: bytes, sent: 0, acknowledged: 0 };
        let digest = self.send_file(&mut sending, Digester::default(), source, watch)?;
        let message = self.await_answer(&mut sending, watch).map_err(in_doubt)?;
        let fields = self.reply(&message)?;
        let stored = in_answer(&fields)?;
        if stored.blake3 != digest {
            return Err(Error::Damaged("the server has stored another digest".into()));
        }
        Ok(stored)
    }

    /// What the server says once it has the whole file.
    pub(super) fn await_answer(
        &mut self,
        sending: &mut Sending,
        watch: Watch<'_>,
    ) -> Result<Vec<String>> {
        self.take_acknowledgements(sending, 0, watch)?;
        loop {
            watch(sending.progress(true));
            if self.input.waiting().is_empty() {
                let more = self.input.more(&mut self.stream, &COMMIT);
                self.keep(more)?;
            }
            match self.input.waiting().first() {
                // It is still at it.
                Some(&ACKNOWLEDGED) => self.input.used(1),
                _ => return self.message(&COMMIT),
            }
        }
    }

    /// Sends what is left of the file. `hasher` has had what was sent before.
    pub(super) fn send_file(
        &mut self,
        sending: &mut Sending,
        hasher: Digester,
        source: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Result<Digest> {
        // Taken out of `self` for the time of the transfer, so that it can be filled and sent.
        let mut buffer = std::mem::take(&mut self.outgoing);
        buffer.resize(CHUNK_BYTES, 0);
        let result = self.send_chunks(sending, hasher, source, &mut buffer, watch);
        self.outgoing = buffer;
        result
    }

    fn send_chunks(
        &mut self,
        sending: &mut Sending,
        mut hasher: Digester,
        source: &mut dyn Read,
        buffer: &mut [u8],
        watch: Watch<'_>,
    ) -> Result<Digest> {
        loop {
            let left = usize::try_from(sending.total - sending.sent).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(CHUNK_BYTES)];
            match read_full(source, piece) {
                Ok(count) if count == piece.len() => {}
                Ok(count) => return self.give_up(shorter(sending.sent + count as u64, sending)),
                Err(error) => return self.give_up(error),
            }
            hasher.update(piece);
            let head = (!piece.is_empty()).then(|| chunk::data_head(&[piece]));
            let head = head.as_ref().map_or(&[][..], |head| &head[..]);
            sending.sent += piece.len() as u64;
            if sending.sent == sending.total {
                match read_full(source, &mut [0]) {
                    Ok(0) => {}
                    Ok(_) => return self.give_up(grown(sending)),
                    Err(error) => return self.give_up(error),
                }
                // The end leaves together with the last chunk.
                let digest = hasher.digest();
                self.send_parts(&[head, piece, &chunk::end(&digest)], &TAKE)?;
                return Ok(digest);
            }
            self.send_parts(&[head, piece], &TAKE)?;
            let result = self.take_acknowledgements(sending, CHUNKS_AHEAD_MAX as u64 - 1, watch);
            self.answer_refusal(result)?;
        }
    }

    /// Takes the acknowledgements that are there, and waits for more while more than `ahead_max`
    /// chunks have none.
    ///
    /// # Errors
    /// The server's, if it answers `E` in place of an acknowledgement; that reply is then used up.
    fn take_acknowledgements(
        &mut self,
        sending: &mut Sending,
        ahead_max: u64,
        watch: Watch<'_>,
    ) -> Result<()> {
        if sending.chunks_ahead() <= ahead_max && sending.chunks_ahead() > 0 {
            let ready = self.input.ready(&mut self.stream);
            self.keep(ready)?;
        }
        loop {
            while let Some(first) = self.input.waiting().first().copied() {
                if first != ACKNOWLEDGED {
                    return self.reply_for_acknowledgement(sending);
                }
                if sending.chunks_ahead() == 0 && sending.sent == sending.total {
                    return Ok(()); // a sign of life, which is left for later
                }
                if sending.chunks_ahead() == 0 {
                    let text = "a chunk was acknowledged that was not sent";
                    return self.keep(Err(Error::Protocol(text.into())));
                }
                self.input.used(1);
                let upto = sending.acknowledged + CHUNK_BYTES as u64;
                sending.acknowledged = upto.min(sending.sent);
                watch(sending.progress(false));
            }
            if sending.chunks_ahead() <= ahead_max {
                return Ok(());
            }
            let more = self.input.more(&mut self.stream, &ACKNOWLEDGE);
            self.keep(more)?;
        }
    }

    /// Something else than `+` came: the final reply if all is acknowledged (which is left for
    /// later), an error otherwise.
    fn reply_for_acknowledgement(&mut self, sending: &Sending) -> Result<()> {
        if sending.chunks_ahead() == 0 && sending.sent == sending.total {
            return Ok(());
        }
        let message = self.message(&ANSWER)?;
        self.reply(&message)?;
        self.keep(Err(Error::Protocol("a store was confirmed before it was whole".into())))
    }

    /// After an `E` in place of an acknowledgement, the server drops all up to the given-up chunk.
    fn answer_refusal(&mut self, result: Result<()>) -> Result<()> {
        if result.is_err() && self.usable {
            self.send(&chunk::given_up(), &SEND)?;
        }
        result
    }

    /// Tells the server that no more comes, takes its answer, and returns why.
    fn give_up<T>(&mut self, why: Error) -> Result<T> {
        self.send(&chunk::given_up(), &SEND)?;
        loop {
            while self.input.waiting().first() == Some(&ACKNOWLEDGED) {
                self.input.used(1);
            }
            if !self.input.waiting().is_empty() {
                // Whatever it answers: what the user can act on is why this side stopped.
                let _ = self.message(&ANSWER);
                return Err(why);
            }
            let more = self.input.more(&mut self.stream, &ANSWER);
            self.keep(more)?;
        }
    }
}

/// What the server says of a file that it has stored.
pub(super) fn in_answer(fields: &[String]) -> Result<Stored> {
    Ok(Stored {
        version: field(fields, "version")?,
        nodes: field(fields, "nodes")?,
        blake3: field(fields, "blake3")?,
    })
}

/// Reads until the buffer is full or the source ends.
fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match source.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Error::other(
                    Code::LocalFile,
                    format!("cannot read it: {}", reason(&error)),
                ));
            }
        }
    }
    Ok(count)
}

fn grown(sending: &Sending) -> Error {
    let text = format!("it has grown beyond its {} bytes meanwhile", sending.total);
    Error::other(Code::LocalFile, text)
}

fn shorter(found: u64, sending: &Sending) -> Error {
    let text = format!("it ended after {found} of its {} bytes", sending.total);
    Error::other(Code::LocalFile, text)
}
