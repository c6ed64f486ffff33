//! The socket below hyper: reads that do not wait, writes that block, and how long the client has.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::core::error::{Code, Error, Result};
use crate::core::io::http::Limits;
use crate::core::io::net::{Deadline, Stream};

/// The most bytes taken in one read.
const READ_BYTES: usize = 16 * 1024;

/// The most bytes sent in one write, so that it is seen in between how long the client has taken.
const WRITE_BYTES: usize = 256 * 1024;

const HEAD: &str = "send the whole head of a request";
const BODY: &str = "send anything of its request";
const TAKE: &str = "take anything of its answer";
const TOTAL: &str = "come to an end with a request";
const NEXT: &str = "ask for anything";

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Between an answer and the next request.
    Idle,
    /// The head of a request is coming.
    Head,
    /// A request is being answered; its body may still be coming.
    Answering,
}

/// The connection, and since when it is where it is.
pub(super) struct Wire {
    stream: Stream,
    limits: Limits,
    phase: Phase,
    /// When the request began, or the pause before it.
    since: Instant,
    /// Bytes were asked for and none were there.
    has_asked: bool,
    /// What went wrong below hyper, which would only say that something did.
    pub(super) failure: Option<Error>,
}

impl Wire {
    pub(super) fn new(stream: Stream, limits: Limits) -> Wire {
        // A connection is made to ask for something: there is no pause before the first request.
        let (phase, since) = (Phase::Head, Instant::now());
        Wire { stream, limits, phase, since, has_asked: false, failure: None }
    }

    pub(super) fn head_is_whole(&mut self) {
        if self.phase == Phase::Idle {
            // It came along with the request before.
            self.since = Instant::now();
        }
        self.phase = Phase::Answering;
    }

    pub(super) fn is_answered(&mut self) {
        (self.phase, self.since) = (Phase::Idle, Instant::now());
    }

    /// Waits for the client's next bytes; false if there is a pause and the client does not end it.
    pub(super) fn wait(&mut self) -> Result<bool> {
        if !std::mem::take(&mut self.has_asked) {
            let text = "a request over HTTP waits for something that nobody will tell it";
            return Err(Error::other(Code::Unexpected, text));
        }
        let deadline = match self.phase {
            Phase::Idle => self.within(self.limits.idle, NEXT),
            Phase::Head => self.within(self.limits.header, HEAD),
            Phase::Answering => self.moving(BODY),
        };
        match self.stream.await_bytes(&deadline)? {
            true => Ok(true),
            false if self.phase == Phase::Idle => Ok(false),
            false => Err(deadline.missed(self.stream.name())),
        }
    }

    /// What is left of a time that has begun with the phase.
    fn within(&self, limit: Duration, waiting_for: &'static str) -> Deadline {
        let left = limit.saturating_sub(self.since.elapsed());
        Deadline::new(left.max(Duration::from_millis(1)), waiting_for)
    }

    /// How long a body may stand still.
    fn moving(&self, waiting_for: &'static str) -> Deadline {
        let total = self.within(self.limits.total, TOTAL);
        if self.limits.body <= total.limit {
            Deadline::new(self.limits.body, waiting_for)
        } else {
            total
        }
    }

    /// Refuses to go on with a request that has taken too long, however much moves.
    fn check_total(&self) -> Result<()> {
        if self.phase != Phase::Idle && self.since.elapsed() >= self.limits.total {
            return Err(Deadline::new(self.limits.total, TOTAL).missed(self.stream.name()));
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.check_total()?;
        let read = self.stream.read_ready(buffer)?;
        match read {
            None => self.has_asked = true,
            Some(count) if count > 0 && self.phase == Phase::Idle => {
                (self.phase, self.since) = (Phase::Head, Instant::now());
            }
            Some(_) => {}
        }
        Ok(read)
    }

    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.check_total()?;
        let deadline = self.moving(TAKE);
        self.stream.write_all(parts, &deadline)
    }

    /// Keeps why it failed, and tells hyper that it did.
    fn failed(&mut self, error: Error) -> io::Error {
        let told = io::Error::other(error.to_string());
        self.failure = Some(error);
        told
    }
}

/// What hyper reads from and writes to.
pub(super) struct Io(pub(super) Rc<RefCell<Wire>>);

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        let mut buffer = [0; READ_BYTES];
        let room = into.remaining().min(READ_BYTES);
        match wire.read(&mut buffer[..room]) {
            Ok(None) => Poll::Pending,
            Ok(Some(count)) => {
                into.put_slice(&buffer[..count]);
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(wire.failed(error))),
        }
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        let (mut parts, mut sent) = (Vec::with_capacity(bytes.len()), 0);
        for part in bytes {
            let taken = part.len().min(WRITE_BYTES - sent);
            parts.push(&part[..taken]);
            sent += taken;
        }
        match wire.write(&parts) {
            Ok(()) => Poll::Ready(Ok(sent)),
            Err(error) => Poll::Ready(Err(wire.failed(error))),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow().stream.shutdown();
        Poll::Ready(Ok(()))
    }
}
