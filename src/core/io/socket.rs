//! A TCP socket whose every blocking call has a deadline: what a [`Stream`](super::net::Stream) is
//! without encryption, and what lies below an encrypted one.
//!
//! The invariants are those of [`net`](super::net).

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags};

use crate::core::error::{Code, Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::{is_shortage, reason};

/// A write is tried so many times within its limit.
const WRITE_STEPS: u32 = 8;

/// A TCP connection with the name of who is at its other end.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    name: String,
    // What the socket is set to, to save a system call where it stays the same.
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
}

impl Socket {
    /// Connects to `HOST:PORT`, trying each address that the host has; all of them share the
    /// deadline. `role` goes before the address in the peer's name: `server` makes
    /// `server 127.0.0.1:17777`.
    ///
    /// # Errors
    /// [`Code::Usage`] if `address` is not `HOST:PORT`, [`Code::Unreachable`] with the first
    /// address's reason, [`Error::Deadline`].
    pub(super) fn connect(role: &str, address: &str, deadline: &Deadline) -> Result<Socket> {
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
                Ok(socket) => return Socket::accepted(socket, name),
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
    pub(super) fn accepted(socket: TcpStream, name: impl Into<String>) -> Result<Socket> {
        let name = name.into();
        socket.set_nodelay(true).map_err(|error| unreachable(&name, &reason(&error)))?;
        Ok(Socket { tcp: socket, name, read_limit: None, write_limit: None })
    }

    /// Who is at the other end: `server 127.0.0.1:17777`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// This side's address.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if the connection is gone.
    pub(super) fn local_address(&self) -> Result<SocketAddr> {
        self.tcp.local_addr().map_err(|error| lost(&self.name, &error))
    }

    /// Is the peer on this machine?
    pub(super) fn is_from_loopback(&self) -> bool {
        self.tcp.peer_addr().is_ok_and(|address| is_loopback(&address))
    }

    /// Waits for a byte and leaves it where it is; nothing once the peer has closed its side.
    ///
    /// # Errors
    /// As [`Socket::read_some`].
    pub(super) fn peek(&mut self, deadline: &Deadline) -> Result<Option<u8>> {
        let mut byte = [0];
        self.limit_reading(deadline)?;
        loop {
            match self.tcp.peek(&mut byte) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error, deadline)),
                Ok(count) => return Ok((count > 0).then_some(byte[0])),
            }
        }
    }

    /// Waits for bytes and takes what is there; 0 once the peer has closed its side.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Closed`], [`Code::Unreachable`].
    pub(super) fn read_some(&mut self, buffer: &mut [u8], deadline: &Deadline) -> Result<usize> {
        self.limit_reading(deadline)?;
        loop {
            match self.tcp.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map_err(|error| self.failed(&error, deadline)),
            }
        }
    }

    fn limit_reading(&mut self, deadline: &Deadline) -> Result<()> {
        if self.read_limit != Some(deadline.limit) {
            let set = self.tcp.set_read_timeout(Some(deadline.limit));
            set.map_err(|error| self.failed(&error, deadline))?;
            self.read_limit = Some(deadline.limit);
        }
        Ok(())
    }

    /// Takes what is there without waiting: nothing if nothing has come, 0 bytes once the peer has
    /// closed its side.
    ///
    /// # Errors
    /// As [`Socket::read_some`].
    pub(super) fn read_ready(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        match rustix::net::recv(&self.tcp, buffer, RecvFlags::DONTWAIT).map_err(io::Error::from) {
            Ok((count, _)) => Ok(Some(count)),
            Err(error) if is_late(&error) || error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(lost(&self.name, &error)),
        }
    }

    /// Sends all parts, one after the other, in as few writes as the system allows: a head and what
    /// follows it leave together.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Closed`], [`Code::Unreachable`].
    pub(super) fn write_all(&mut self, parts: &[&[u8]], deadline: &Deadline) -> Result<()> {
        self.limit_writing(deadline)?;
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0); // drops empty parts in front
        let mut moved = Instant::now();
        while !rest.is_empty() {
            match self.tcp.write_vectored(rest) {
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

    /// Sends bytes as a segment of their own: the system joins them with nothing that is sent later,
    /// also where they have to wait for a slow peer.
    ///
    /// # Errors
    /// As [`Socket::write_all`].
    pub(super) fn write_segment(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<()> {
        self.limit_writing(deadline)?;
        let flags = SendFlags::EOR | SendFlags::NOSIGNAL;
        let mut rest = bytes;
        let mut moved = Instant::now();
        while !rest.is_empty() {
            match rustix::net::send(&self.tcp, rest, flags).map_err(io::Error::from) {
                Ok(0) => return Err(self.closed()),
                Ok(count) => (rest, moved) = (&rest[count..], Instant::now()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) && moved.elapsed() < deadline.limit => {}
                Err(error) => return Err(self.failed(&error, deadline)),
            }
        }
        Ok(())
    }

    fn limit_writing(&mut self, deadline: &Deadline) -> Result<()> {
        if self.write_limit != Some(deadline.limit) {
            // A call that could write a part at its beginning returns at its limit and tells only
            // then: with short calls it is known when bytes have last moved.
            let step = (deadline.limit / WRITE_STEPS).max(Duration::from_millis(1));
            let set = self.tcp.set_write_timeout(Some(step));
            set.map_err(|error| self.failed(&error, deadline))?;
            self.write_limit = Some(deadline.limit);
        }
        Ok(())
    }

    /// Sends as much as the system takes at once, for last words that nobody waits for.
    pub(super) fn send_at_once(&mut self, bytes: &[u8]) {
        if self.tcp.set_nonblocking(true).is_ok() {
            // A peer that does not get them notices the end of the connection all the same.
            let _ = self.tcp.write(bytes);
            let _ = self.tcp.set_nonblocking(false);
        }
    }

    /// Ends the connection in both directions, which wakes every call that waits on it.
    pub(super) fn shutdown(&self) {
        // A connection that the peer has ended already needs no ending.
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// The error of a peer that has closed the connection in the middle of something.
    pub(super) fn closed(&self) -> Error {
        Error::Closed(format!("by {}", self.name))
    }

    fn failed(&self, error: &io::Error, deadline: &Deadline) -> Error {
        if is_late(error) { deadline.missed(&self.name) } else { lost(&self.name, error) }
    }
}

/// Why nothing was even tried; what the error of a connection ends in.
pub const UNRESOLVED: &str = "the name of the host cannot be resolved";

/// All addresses of `HOST:PORT`. The system's own limit applies to the look-up of the name.
pub(super) fn resolve(name: &str, address: &str) -> Result<Vec<SocketAddr>> {
    check_address(address)?;
    match address.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(_) => Err(unreachable(name, UNRESOLVED)),
    }
}

/// Is this `HOST:PORT`? The host may not exist.
///
/// # Errors
/// [`Code::Usage`] if it is not.
pub fn check_address(address: &str) -> Result<()> {
    // What no name service knows: an address as other programs write it (`http://...`, `user@...`).
    let is_host = |host: &str| {
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@".contains(c))
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match address.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => Ok(()),
        _ => Err(Error::other(Code::Usage, format!("{address:?} is not HOST:PORT"))),
    }
}

/// Is this an address of the machine itself that no other one can reach?
pub(super) fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Is a connection its own other end? On one machine, connecting to a port in the range for outgoing
/// connections that nobody listens on may be given that very port; then it succeeds, and whoever
/// wants to listen there finds the port taken.
fn is_own(socket: &TcpStream) -> bool {
    matches!((socket.local_addr(), socket.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
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
