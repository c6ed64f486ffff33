//! TCP connections whose every blocking call has a [`Deadline`] that says what was waited for.
//!
//! Invariants:
//! - `TCP_NODELAY` is set on every [`Stream`]: with Nagle's algorithm a small message waits for the
//!   acknowledgement of the one before, which costs tens of milliseconds a request.
//! - No call blocks without a limit. A limit is one of progress: it starts anew with every byte that
//!   moves, so a slow transfer goes on and a silent peer is noticed.
//! - Errors name the peer: `server 127.0.0.1:17777 did not answer within 30 s`.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;

/// A write is tried so many times within its limit.
const WRITE_STEPS: u32 = 8;

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
    pub(super) fn missed(&self, name: &str) -> Error {
        let limit = self.limit.as_secs_f64();
        Error::Deadline(format!("{name} did not {} within {limit} s", self.waiting_for))
    }
}

/// A TCP connection with the name of who is at its other end.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    name: String,
    // What the socket is set to, to save a system call where it stays the same.
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
}

impl Stream {
    /// Connects to `HOST:PORT`, trying each address that the host has; all of them share the
    /// deadline. `role` goes before the address in the peer's name: `server` makes
    /// `server 127.0.0.1:17777`.
    ///
    /// # Errors
    /// [`Code::Usage`] if `address` is not `HOST:PORT`, [`Code::Unreachable`] with the first
    /// address's reason, [`Error::Deadline`].
    pub fn connect(role: &str, address: &str, deadline: &Deadline) -> Result<Stream> {
        let name = format!("{role} {address}");
        let addresses = resolve(&name, address)?;
        let started = Instant::now();
        let mut first = None;
        for (i, candidate) in addresses.iter().enumerate() {
            let left = deadline.limit.saturating_sub(started.elapsed());
            let tries_left = u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
            // A limit of zero is refused by the system as a mistake.
            let share = (left / tries_left).max(Duration::from_millis(1));
            match TcpStream::connect_timeout(candidate, share) {
                Ok(socket) if is_own(&socket) => {
                    first = first.or(Some(ErrorKind::ConnectionRefused.into()));
                }
                Ok(socket) => return Stream::accepted(socket, name),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(match first {
            Some(error) if is_late(&error) => deadline.missed(&name),
            Some(error) if is_shortage(&error) => {
                Error::io(format!("this machine cannot connect to {name}"))(error)
            }
            Some(error) => unreachable(&name, &reason(&error)),
            None => unreachable(&name, "the host has no address"),
        })
    }

    /// A connection that a listener has accepted.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if it is gone already.
    pub fn accepted(socket: TcpStream, name: impl Into<String>) -> Result<Stream> {
        let name = name.into();
        socket.set_nodelay(true).map_err(|error| unreachable(&name, &reason(&error)))?;
        Ok(Stream { socket, name, read_limit: None, write_limit: None })
    }

    /// Who is at the other end: `server 127.0.0.1:17777`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This side's address.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if the connection is gone.
    pub fn local_address(&self) -> Result<SocketAddr> {
        self.socket.local_addr().map_err(|error| lost(&self.name, &error))
    }

    /// Waits for bytes and takes what is there; 0 once the peer has closed its side.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Closed`], [`Code::Unreachable`].
    pub fn read_some(&mut self, buffer: &mut [u8], deadline: &Deadline) -> Result<usize> {
        if self.read_limit != Some(deadline.limit) {
            let set = self.socket.set_read_timeout(Some(deadline.limit));
            set.map_err(|error| self.failed(&error, deadline))?;
            self.read_limit = Some(deadline.limit);
        }
        loop {
            match self.socket.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map_err(|error| self.failed(&error, deadline)),
            }
        }
    }

    /// Takes what is there without waiting: nothing if nothing has come, 0 bytes once the peer has
    /// closed its side.
    ///
    /// # Errors
    /// As [`Stream::read_some`].
    pub fn read_ready(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let failed = |error: &io::Error, name: &str| lost(name, error);
        self.socket.set_nonblocking(true).map_err(|error| failed(&error, &self.name))?;
        let result = self.socket.read(buffer);
        self.socket.set_nonblocking(false).map_err(|error| failed(&error, &self.name))?;
        match result {
            Ok(count) => Ok(Some(count)),
            Err(error) if is_late(&error) || error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(failed(&error, &self.name)),
        }
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
    /// [`Error::Deadline`], [`Error::Closed`], [`Code::Unreachable`].
    pub fn write_all(&mut self, parts: &[&[u8]], deadline: &Deadline) -> Result<()> {
        if self.write_limit != Some(deadline.limit) {
            // A call that could write a part at its beginning returns at its limit and tells only
            // then: with short calls it is known when bytes have last moved.
            let step = (deadline.limit / WRITE_STEPS).max(Duration::from_millis(1));
            let set = self.socket.set_write_timeout(Some(step));
            set.map_err(|error| self.failed(&error, deadline))?;
            self.write_limit = Some(deadline.limit);
        }
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0); // drops empty parts in front
        let mut moved = Instant::now();
        while !rest.is_empty() {
            match self.socket.write_vectored(rest) {
                Ok(0) => return Err(self.closed()),
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) && moved.elapsed() < deadline.limit => {}
                Err(error) => return Err(self.failed(&error, deadline)),
            }
        }
        Ok(())
    }

    /// Ends the connection in both directions, which wakes every call that waits on it.
    pub fn shutdown(&self) {
        // A connection that the peer has ended already needs no ending.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// The error of a peer that has closed the connection in the middle of something.
    pub fn closed(&self) -> Error {
        Error::Closed(format!("by {}", self.name))
    }

    fn failed(&self, error: &io::Error, deadline: &Deadline) -> Error {
        if is_late(error) { deadline.missed(&self.name) } else { lost(&self.name, error) }
    }
}

/// All addresses of `HOST:PORT`. The system's own limit applies to the look-up of the name.
fn resolve(name: &str, address: &str) -> Result<Vec<SocketAddr>> {
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        return Err(Error::other(Code::Usage, format!("{address:?} is not HOST:PORT")));
    }
    match address.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(_) => Err(unreachable(name, "the name of the host cannot be resolved")),
    }
}

/// Is a connection its own other end? On one machine, connecting to a port in the range for outgoing
/// connections that nobody listens on may be given that very port; then it succeeds, and whoever
/// wants to listen there finds the port taken.
fn is_own(socket: &TcpStream) -> bool {
    matches!((socket.local_addr(), socket.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// Is it this side that has no room for one more connection? That says nothing about the peer.
fn is_shortage(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    error.kind() == ErrorKind::AddrNotAvailable
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn unreachable(name: &str, why: &str) -> Error {
    Error::other(Code::Unreachable, format!("cannot connect to {name}: {why}"))
}

/// The error of a connection that was there and broke.
fn lost(name: &str, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            Error::Closed(format!("by {name}"))
        }
        _ => {
            let text = format!("the connection to {name} broke: {}", reason(error));
            Error::other(Code::Unreachable, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
