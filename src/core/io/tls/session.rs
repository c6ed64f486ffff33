//! One end of an encrypted connection: bytes in, records out, and back.
//!
//! ```text
//!   write_all ──▶ records sealed into `outgoing` ──▶ socket
//!   read ◀── what did not fit, in `opened` ◀── records opened where they lie in `incoming` ◀── socket
//! ```
//!
//! Invariants:
//! - A connection is used by one thread at a time and in one direction at a time, as all of Palk's
//!   protocols are.
//! - `incoming` has room for several of the longest records, so one read of the socket brings many,
//!   and `opened` never holds more than `incoming` did: what a peer sends without being asked stays
//!   in the system's buffers.
//! - The end of the connection counts as an end only if the peer has said so (*close notify*).
//! - After an error of the encryption nothing more is sent or opened.

use std::time::Duration;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;

use super::failed;
use super::records::{End, Moved, OUTGOING_BYTES, Out, RECORD_CONTENT, RECORD_MAX, Task};
use super::verify::fingerprint;
use crate::core::error::{Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::pages::Pages;
use crate::core::io::socket::Socket;
use crate::core::types::Fingerprint;

/// Room for what has arrived: enough for the longest message of a handshake as well, which is 64 KiB.
const INCOMING_BYTES: usize = 8 * RECORD_MAX;

/// So long after the last byte the buffers are kept.
const BUFFERS_KEPT: Duration = Duration::from_secs(1);

/// What an answer to a key update may wait for, where the caller waits for nothing.
const AT_ONCE: Deadline = Deadline::new(Duration::from_secs(5), "take anything that was sent");

/// The state of one end.
pub(in crate::core::io) struct Session {
    end: End,
    /// `None` until something has to arrive, and when nothing has for a while.
    incoming: Option<Pages>,
    /// Where what has arrived and is not opened begins and ends in `incoming`.
    arrived: (usize, usize),
    /// Opened and not taken yet, from `taken` on.
    opened: Vec<u8>,
    taken: usize,
    /// `None` until something has to leave, as above.
    outgoing: Option<Pages>,
    /// How much of `outgoing` waits to be sent.
    sealed: usize,
    /// The peer has said that nothing more comes.
    is_ended: bool,
    /// Sending has failed half-way, or the encryption has.
    is_broken: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("is_ended", &self.is_ended).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn client(connection: UnbufferedClientConnection) -> Session {
        Session::new(End::Client(Box::new(connection)))
    }

    pub(super) fn server(connection: UnbufferedServerConnection) -> Session {
        Session::new(End::Server(Box::new(connection)))
    }

    fn new(end: End) -> Session {
        Session {
            end,
            incoming: None,
            arrived: (0, 0),
            opened: Vec::new(),
            taken: 0,
            outgoing: None,
            sealed: 0,
            is_ended: false,
            is_broken: false,
        }
    }

    /// The certificates (or the bare key) that the peer has shown, its own first.
    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.end.state().peer_certificates().unwrap_or_default()
    }

    pub(in crate::core::io) fn peer_fingerprint(&self) -> Option<Fingerprint> {
        fingerprint(self.peer_certificates().first()?)
    }

    /// Agrees on keys with the peer and sees who it is.
    ///
    /// # Errors
    /// [`Error::PlainAnswer`] if a server does not encrypt; the reason why the ends did not come
    /// together; those of the socket.
    pub(in crate::core::io) fn handshake(
        &mut self,
        socket: &mut Socket,
        deadline: &Deadline,
    ) -> Result<()> {
        let mut is_first = true;
        loop {
            match self.step(&mut Task::Open(&mut [], 0)) {
                Ok(Moved::On) => {}
                Ok(Moved::Ended) => return Err(socket.closed()),
                Ok(Moved::Blocked | Moved::Done) => {
                    self.send(socket, deadline)?;
                    if !self.is_handshaking() {
                        return Ok(());
                    }
                    self.arrive(socket, deadline)?;
                    if std::mem::take(&mut is_first) {
                        self.check_first_answer()?;
                    }
                }
                Err(error) => return Err(self.give_up(socket, &error)),
            }
        }
    }

    fn is_handshaking(&self) -> bool {
        self.end.state().is_handshaking()
    }

    /// A server that turns somebody away may do so before it encrypts.
    fn check_first_answer(&self) -> Result<()> {
        let answer = self.incoming.as_deref().unwrap_or_default();
        let answer = &answer[self.arrived.0..self.arrived.1];
        let is_record = answer.first().is_none_or(|kind| (0x14..=0x17).contains(kind));
        match self.end {
            End::Client(_) if !is_record => Err(Error::PlainAnswer(answer.to_vec())),
            _ => Ok(()),
        }
    }

    /// Has something arrived that was not read yet?
    pub(in crate::core::io) fn has_arrived(&self) -> bool {
        self.arrived.0 < self.arrived.1 || self.taken < self.opened.len()
    }

    /// As [`Stream::read_some`](crate::core::io::net::Stream::read_some).
    pub(in crate::core::io) fn read_some(
        &mut self,
        socket: &mut Socket,
        buffer: &mut [u8],
        deadline: &Deadline,
    ) -> Result<usize> {
        loop {
            if let Some(count) = self.open(socket, buffer, deadline)? {
                return Ok(count);
            }
            self.arrive(socket, deadline)?;
        }
    }

    /// As [`Stream::read_ready`](crate::core::io::net::Stream::read_ready).
    pub(in crate::core::io) fn read_ready(
        &mut self,
        socket: &mut Socket,
        buffer: &mut [u8],
    ) -> Result<Option<usize>> {
        loop {
            if let Some(count) = self.open(socket, buffer, &AT_ONCE)? {
                return Ok(Some(count));
            }
            let room = self.room()?;
            match socket.read_ready(room)? {
                Some(count) => self.arrived(socket, count)?,
                None => return Ok(None),
            }
        }
    }

    /// Opens what has arrived into the buffer, as much as fits. Nothing if more has to arrive, 0 if
    /// nothing more comes.
    fn open(
        &mut self,
        socket: &mut Socket,
        buffer: &mut [u8],
        deadline: &Deadline,
    ) -> Result<Option<usize>> {
        let wanted = buffer.len();
        let filled = self.take_opened(buffer);
        let mut task = Task::Open(buffer, filled);
        while let Task::Open(_, filled) = task {
            if filled == wanted || self.is_ended {
                break;
            }
            match self.step(&mut task) {
                Ok(Moved::On) => {}
                Ok(Moved::Blocked | Moved::Done) => break,
                Ok(Moved::Ended) => self.is_ended = true,
                Err(error) => return Err(self.give_up(socket, &error)),
            }
        }
        self.send(socket, deadline)?; // the answer to a change of keys, if there is one
        let Task::Open(_, filled) = task else { return Ok(None) };
        Ok((filled > 0 || self.is_ended || wanted == 0).then_some(filled))
    }

    fn take_opened(&mut self, buffer: &mut [u8]) -> usize {
        let waiting = &self.opened[self.taken..];
        let count = waiting.len().min(buffer.len());
        buffer[..count].copy_from_slice(&waiting[..count]);
        self.taken += count;
        if self.taken == self.opened.len() {
            self.opened.clear();
            self.taken = 0;
        }
        count
    }

    /// Waits until more has arrived. A peer that rests for long costs no buffers meanwhile.
    fn arrive(&mut self, socket: &mut Socket, deadline: &Deadline) -> Result<()> {
        let is_empty = self.arrived.0 == self.arrived.1 && self.sealed == 0;
        if is_empty && deadline.limit > BUFFERS_KEPT {
            let soon = Deadline { limit: BUFFERS_KEPT, ..deadline.clone() };
            match socket.read_some(self.room()?, &soon) {
                Err(Error::Deadline(_)) => {}
                got => return self.arrived(socket, got?),
            }
            (self.incoming, self.outgoing) = (None, None);
            self.opened.shrink_to_fit();
            socket.peek(&Deadline { limit: deadline.limit - BUFFERS_KEPT, ..deadline.clone() })?;
        }
        let count = socket.read_some(self.room()?, deadline)?;
        self.arrived(socket, count)
    }

    fn arrived(&mut self, socket: &Socket, count: usize) -> Result<()> {
        if count == 0 {
            self.is_broken = true;
            return Err(Error::Closed(format!("by {} without notice", socket.name())));
        }
        self.arrived.1 += count;
        Ok(())
    }

    /// Room behind what has arrived: at least for the rest of a record.
    fn room(&mut self) -> Result<&mut [u8]> {
        let (start, end) = self.arrived;
        let incoming = match &mut self.incoming {
            Some(incoming) => incoming,
            none => none.insert(Pages::new(INCOMING_BYTES)?),
        };
        if INCOMING_BYTES - end < RECORD_MAX {
            incoming.copy_within(start..end, 0);
            self.arrived = (0, end - start);
        }
        match &mut incoming[self.arrived.1..] {
            [] => Err(Error::Protocol("a message of the encryption is too long".into())),
            room => Ok(room),
        }
    }

    /// As [`Stream::write_all`](crate::core::io::net::Stream::write_all).
    pub(in crate::core::io) fn write_all(
        &mut self,
        socket: &mut Socket,
        parts: &[&[u8]],
        deadline: &Deadline,
    ) -> Result<()> {
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let records = (OUTGOING_BYTES - self.sealed) / RECORD_MAX;
                if records == 0 {
                    self.send(socket, deadline)?;
                    continue;
                }
                let (piece, after) = rest.split_at(rest.len().min(records * RECORD_CONTENT));
                self.seal(socket, piece)?;
                rest = after;
            }
        }
        self.send(socket, deadline)
    }

    fn seal(&mut self, socket: &mut Socket, piece: &[u8]) -> Result<()> {
        let mut task = Task::Seal(piece);
        loop {
            match self.step(&mut task) {
                Ok(Moved::On) => {}
                Ok(Moved::Done) => return Ok(()),
                // What the peer said before is still to be read; it takes nothing any more.
                Ok(Moved::Ended) => self.is_ended = true,
                Ok(Moved::Blocked) => return Err(socket.closed()),
                Err(error) => return Err(self.give_up(socket, &error)),
            }
        }
    }

    /// Sends what is sealed.
    fn send(&mut self, socket: &mut Socket, deadline: &Deadline) -> Result<()> {
        if self.is_broken {
            return Err(socket.closed());
        }
        if self.sealed > 0 {
            let sent = socket.write_all(&[self.sealed()], deadline);
            self.sealed = 0;
            self.is_broken = sent.is_err();
            sent?;
        }
        Ok(())
    }

    fn sealed(&self) -> &[u8] {
        &self.outgoing.as_deref().unwrap_or_default()[..self.sealed]
    }

    /// Tells the peer that this is the end, if it can be told at once.
    pub(in crate::core::io) fn farewell(&mut self, socket: &mut Socket) {
        if self.is_broken || self.sealed > 0 || self.is_handshaking() {
            return;
        }
        while let Ok(Moved::On | Moved::Ended) = self.step(&mut Task::End) {}
        socket.send_at_once(self.sealed());
        self.is_broken = true;
    }

    /// Tells the peer what was wrong, if it can be told at once, and gives the error for this side.
    fn give_up(&mut self, socket: &mut Socket, error: &rustls::Error) -> Error {
        if !self.is_broken {
            // What had arrived must not be looked at again: the library takes that for a mistake.
            self.arrived = (0, 0);
            if self.end.state().wants_write() {
                // An alert waits to be put into a record, or nothing is said.
                let _ = self.step(&mut Task::Open(&mut [], 0));
            }
            socket.send_at_once(self.sealed());
            self.is_broken = true;
        }
        failed(socket.name(), error)
    }

    fn step(&mut self, task: &mut Task<'_>) -> std::result::Result<Moved, rustls::Error> {
        let incoming = self.incoming.as_deref_mut().unwrap_or_default();
        let arrived = &mut incoming[self.arrived.0..self.arrived.1];
        let mut out = Out { bytes: &mut self.outgoing, end: &mut self.sealed };
        let (used, moved) = self.end.step(arrived, task, &mut out, &mut self.opened);
        self.arrived.0 += used;
        if self.arrived.0 == self.arrived.1 {
            self.arrived = (0, 0);
        }
        moved
    }
}

#[cfg(test)]
mod tests;
