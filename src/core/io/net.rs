//! Connections whose every blocking call has a [`Deadline`] that says what was waited for.
//!
//! Invariants:
//! - `TCP_NODELAY` is set on every [`Stream`]: with Nagle's algorithm a small message waits for the
//!   acknowledgement of the one before, which costs tens of milliseconds a request.
//! - No call blocks without a limit. A limit is one of progress: it starts anew with every byte that
//!   moves, so a slow transfer goes on and a silent peer is noticed.
//! - Errors name the peer: `server 127.0.0.1:17777 did not answer within 30 s`.
//! - Once a stream is encrypted ([`tls`](super::tls)) nothing plain is sent or taken on it any more.

use std::borrow::Cow;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::core::error::{Error, Result};
use crate::core::io::socket::{self, Socket};
pub use crate::core::io::socket::{UNRESOLVED, check_address};
use crate::core::io::tls::Session;
use crate::core::types::Fingerprint;

/// How long a call may wait without any progress, and for what.
#[derive(Clone, Debug)]
pub struct Deadline {
    /// The longest time without progress. Never zero.
    pub limit: Duration,
    /// What the peer is to do, to follow "did not": `answer`, `acknowledge a stripe`.
    pub waiting_for: Cow<'static, str>,
}

impl Deadline {
    /// A deadline with a fixed text.
    pub const fn new(limit: Duration, waiting_for: &'static str) -> Deadline {
        Deadline { limit, waiting_for: Cow::Borrowed(waiting_for) }
    }

    /// The error of a peer that let this deadline pass.
    pub fn missed(&self, name: &str) -> Error {
        let limit = self.limit.as_secs_f64();
        Error::Deadline(format!("{name} did not {} within {limit} s", self.waiting_for))
    }
}

/// A TCP connection, encrypted or not, with the name of who is at its other end.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tls: Option<Box<Session>>,
    /// Bytes that were taken too early; the next reads give them again.
    early: Vec<u8>,
}

impl Stream {
    /// Connects to `HOST:PORT`, trying each address that the host has; all of them share the
    /// deadline. `role` goes before the address in the peer's name: `server` makes
    /// `server 127.0.0.1:17777`. Nothing is encrypted yet.
    ///
    /// # Errors
    /// [`Code::Usage`](crate::core::error::Code::Usage) if `address` is not `HOST:PORT`,
    /// [`Code::Unreachable`](crate::core::error::Code::Unreachable) with the first address's reason,
    /// [`Error::Deadline`].
    pub fn connect(role: &str, address: &str, deadline: &Deadline) -> Result<Stream> {
        Ok(Stream::new(Socket::connect(role, address, deadline)?))
    }

    /// A connection that a listener has accepted. Nothing is encrypted yet.
    ///
    /// # Errors
    /// [`Code::Unreachable`](crate::core::error::Code::Unreachable) if it is gone already.
    pub fn accepted(socket: TcpStream, name: impl Into<String>) -> Result<Stream> {
        Ok(Stream::new(Socket::accepted(socket, name)?))
    }

    fn new(socket: Socket) -> Stream {
        Stream { socket, tls: None, early: Vec::new() }
    }

    /// From here on everything is encrypted by this session, once both ends have agreed on keys and
    /// shown who they are.
    ///
    /// # Errors
    /// Why the ends did not come together; the stream is of no use then.
    pub(super) fn encrypt(&mut self, mut session: Session, deadline: &Deadline) -> Result<()> {
        session.handshake(&mut self.socket, deadline)?;
        self.tls = Some(Box::new(session));
        Ok(())
    }

    /// Who is at the other end: `server 127.0.0.1:17777`.
    pub fn name(&self) -> &str {
        self.socket.name()
    }

    /// This side's address.
    ///
    /// # Errors
    /// [`Code::Unreachable`](crate::core::error::Code::Unreachable) if the connection is gone.
    pub fn local_address(&self) -> Result<SocketAddr> {
        self.socket.local_address()
    }

    /// Is the peer on this machine?
    pub fn is_from_loopback(&self) -> bool {
        self.socket.is_from_loopback()
    }

    /// The fingerprint of the key that the peer has shown; nothing if the stream is not encrypted or
    /// the peer had none to show.
    pub fn peer_fingerprint(&self) -> Option<Fingerprint> {
        self.tls.as_ref()?.peer_fingerprint()
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Waits for a byte and leaves it where it is; nothing once the peer has closed its side. For
    /// telling from its first byte what a connection that is not encrypted (yet) speaks.
    ///
    /// # Errors
    /// As [`Stream::read_some`].
    pub fn peek(&mut self, deadline: &Deadline) -> Result<Option<u8>> {
        self.socket.peek(deadline)
    }

    /// Waits for bytes and takes what is there; 0 once the peer has closed its side.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Closed`],
    /// [`Code::Unreachable`](crate::core::error::Code::Unreachable). On an encrypted stream also
    /// [`Error::Damaged`] if bytes were changed on the way, and [`Error::Closed`] if the connection
    /// ends without the peer having said so: what came is then not all that was sent.
    pub fn read_some(&mut self, buffer: &mut [u8], deadline: &Deadline) -> Result<usize> {
        if !self.early.is_empty() {
            return Ok(self.take_early(buffer));
        }
        match &mut self.tls {
            None => self.socket.read_some(buffer, deadline),
            Some(tls) => tls.read_some(&mut self.socket, buffer, deadline),
        }
    }

    /// Takes what is there without waiting: nothing if nothing has come, 0 bytes once the peer has
    /// closed its side.
    ///
    /// # Errors
    /// As [`Stream::read_some`].
    pub fn read_ready(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        if !self.early.is_empty() {
            return Ok(Some(self.take_early(buffer)));
        }
        match &mut self.tls {
            None => self.socket.read_ready(buffer),
            Some(tls) => tls.read_ready(&mut self.socket, buffer),
        }
    }

    /// Waits until there is something to read, if only the end; false once the deadline has passed.
    ///
    /// # Errors
    /// As [`Stream::read_some`].
    pub fn await_bytes(&mut self, deadline: &Deadline) -> Result<bool> {
        if !self.early.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_arrived()) {
            return Ok(true);
        }
        match self.socket.peek(deadline) {
            Ok(_) => Ok(true),
            Err(Error::Deadline(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives back bytes of the last read that were not wanted yet, so that one read can take a whole
    /// message of unknown length.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        debug_assert!(self.early.is_empty());
        self.early.extend_from_slice(bytes);
    }

    fn take_early(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.early.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.early[..count]);
        self.early.drain(..count);
        count
    }

    /// Fills the whole buffer.
    ///
    /// # Errors
    /// As [`Stream::read_some`], and [`Error::Closed`] if the peer closes before it is full.
    pub fn read_exact(&mut self, mut buffer: &mut [u8], deadline: &Deadline) -> Result<()> {
        while !buffer.is_empty() {
            match self.read_some(buffer, deadline)? {
                0 => return Err(self.closed()),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    /// Sends all parts, one after the other, in as few writes as the system allows: a head and what
    /// follows it leave together.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Closed`],
    /// [`Code::Unreachable`](crate::core::error::Code::Unreachable).
    pub fn write_all(&mut self, parts: &[&[u8]], deadline: &Deadline) -> Result<()> {
        match &mut self.tls {
            None => self.socket.write_all(parts, deadline),
            Some(tls) => tls.write_all(&mut self.socket, parts, deadline),
        }
    }

    /// Sends bytes as a segment of their own, which a peer that asks for so many at once gets alone.
    /// For protocols of which that is a part. On an encrypted stream as [`Stream::write_all`].
    ///
    /// # Errors
    /// As [`Stream::write_all`].
    pub fn write_segment(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<()> {
        match &mut self.tls {
            None => self.socket.write_segment(bytes, deadline),
            Some(tls) => tls.write_all(&mut self.socket, &[bytes], deadline),
        }
    }

    /// Ends the connection in both directions, which wakes every call that waits on it.
    pub fn shutdown(&self) {
        self.socket.shutdown();
    }

    /// The error of a peer that has closed the connection in the middle of something.
    pub fn closed(&self) -> Error {
        self.socket.closed()
    }
}

impl Drop for Stream {
    /// The peer of an encrypted connection is told that this is its end, so that it can tell an end
    /// from a cut.
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.farewell(&mut self.socket);
        }
    }
}

/// Can `HOST:PORT` be reached from this machine only? Where a name stands for several addresses, all
/// of them have to be the machine's own.
///
/// # Errors
/// [`Code::Usage`](crate::core::error::Code::Usage) if it is not `HOST:PORT`,
/// [`Code::Unreachable`](crate::core::error::Code::Unreachable) if the name is not known.
pub fn is_loopback(address: &str) -> Result<bool> {
    let addresses = socket::resolve(address, address)?;
    Ok(!addresses.is_empty() && addresses.iter().all(socket::is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Code;
    use std::net::TcpListener;

    const SOON: Deadline = Deadline::new(Duration::from_millis(50), "answer");

    fn pair() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let near = Stream::connect("server", &address, &SOON).unwrap();
        let far = Stream::accepted(listener.accept().unwrap().0, "client").unwrap();
        (near, far)
    }

    #[test]
    fn a_silent_peer_is_named_with_what_it_did_not_do() {
        let (mut near, _far) = pair();
        let error = near.read_some(&mut [0; 8], &SOON).unwrap_err();
        assert_eq!(error.to_string(), format!("{} did not answer within 0.05 s", near.name()));
        assert_eq!(error.code(), Code::Unreachable);
        assert!(near.read_ready(&mut [0; 8]).unwrap().is_none());
    }

    #[test]
    fn a_peer_that_does_not_read_is_noticed() {
        let (mut near, _far) = pair();
        let block = vec![0; 1 << 20];
        let error = (0..64).find_map(|_| near.write_all(&[&block], &SOON).err()).unwrap();
        assert!(matches!(error, Error::Deadline(_)), "{error}");
    }

    #[test]
    fn head_and_body_arrive_as_they_were_given() {
        let (mut near, mut far) = pair();
        near.write_all(&[b"", b"head", b"", b"body"], &SOON).unwrap();
        let mut got = [0; 8];
        far.read_exact(&mut got, &SOON).unwrap();
        assert_eq!(&got, b"headbody");
        near.write_all(&[], &SOON).unwrap();
    }

    #[test]
    fn segments_arrive_whole_and_have_a_deadline() {
        let (mut near, mut far) = pair();
        for length in 1..=200 {
            near.write_segment(&vec![7; length], &SOON).unwrap();
        }
        drop(near);
        let (mut got, mut buffer) = (0, [0; 4096]);
        loop {
            match far.read_some(&mut buffer, &SOON).unwrap() {
                0 => break,
                count => got += count,
            }
        }
        assert_eq!(got, 200 * 201 / 2);
        let (mut near, _far) = pair();
        let block = vec![0; 1 << 20];
        let error = (0..64).find_map(|_| near.write_segment(&block, &SOON).err()).unwrap();
        assert!(matches!(error, Error::Deadline(_)), "{error}");
    }

    #[test]
    fn a_closed_connection_is_no_bare_system_error() {
        let (near, mut far) = pair();
        let name = far.name().to_owned();
        drop(near);
        let error = far.read_exact(&mut [0; 1], &SOON).unwrap_err();
        assert_eq!(error.to_string(), format!("the connection was closed by {name}"));
    }

    #[test]
    fn nobody_listening_is_said_in_words() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let error = Stream::connect("server", &free, &SOON).unwrap_err();
        let text = format!("cannot connect to server {free}: connection refused");
        assert_eq!(error.to_string(), text);
        assert_eq!(error.code(), Code::Unreachable);
        let error = Stream::connect("server", "nowhere", &SOON).unwrap_err();
        assert_eq!(error.code(), Code::Usage);
    }

    #[test]
    fn an_address_of_the_machine_itself_is_known_in_every_spelling() {
        for own in ["127.0.0.1:1", "127.3.4.5:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"]
        {
            assert!(is_loopback(own).unwrap(), "{own}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1", "192.0.2.7:1"] {
            assert!(!is_loopback(other).unwrap(), "{other}");
        }
        assert_eq!(is_loopback("127.0.0.1").unwrap_err().code(), Code::Usage);
    }
}
