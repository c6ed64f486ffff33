//! A UDP socket: datagrams to anybody and from anybody, each whole or not at all.
//!
//! Nothing that comes from it is believed: a datagram's sender can be written into it by anyone, but
//! for addresses of this machine.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::core::error::{Code, Error, Result};
use crate::core::io::{reason, socket};

/// A socket for datagrams.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    address: SocketAddr,
    /// What [`Datagrams::receive`] has set last, to save a system call where it stays the same.
    limit: Option<Duration>,
}

impl Datagrams {
    /// Takes datagrams on `HOST:PORT`; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`Code::Usage`] if the address is no address of this machine, or is taken.
    pub fn bind(address: &str) -> Result<Datagrams> {
        let socket = UdpSocket::bind(address).map_err(|error| {
            let text = format!("cannot listen on {address} (UDP): {}", reason(&error));
            Error::other(Code::Usage, text)
        })?;
        let address = socket.local_addr().map_err(Error::io("cannot tell the own address"))?;
        Ok(Datagrams { socket, address, limit: None })
    }

    /// A socket on any port that may also send to all machines of a network at once.
    ///
    /// # Errors
    /// That of the system.
    pub fn for_asking() -> Result<Datagrams> {
        let datagrams = Datagrams::bind("0.0.0.0:0")?;
        let set = datagrams.socket.set_broadcast(true);
        set.map_err(Error::io("cannot broadcast"))?;
        Ok(datagrams)
    }

    /// Where it takes datagrams, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one datagram. That it was sent does not mean that it arrives.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if there is no way to that address.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> Result<()> {
        match self.socket.send_to(datagram, to) {
            Ok(_) => Ok(()),
            Err(error) => {
                let text = format!("cannot send to {to}: {}", reason(&error));
                Err(Error::other(Code::Unreachable, text))
            }
        }
    }

    /// The next datagram, as many bytes of it as there is room for, and who sent it; nothing if none
    /// has come after `limit`, which must not be zero.
    ///
    /// # Errors
    /// That of the system, which says nothing about the next one.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        limit: Duration,
    ) -> Result<Option<(usize, SocketAddr)>> {
        let failed = Error::io("cannot receive datagrams");
        if self.limit != Some(limit) {
            if let Err(error) = self.socket.set_read_timeout(Some(limit)) {
                return Err(failed(error));
            }
            self.limit = Some(limit);
        }
        match self.socket.recv_from(buffer) {
            Ok(received) => Ok(Some(received)),
            Err(error) => match error.kind() {
                // The last: an answer was sent to somebody who had gone.
                ErrorKind::WouldBlock
                | ErrorKind::TimedOut
                | ErrorKind::Interrupted
                | ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(failed(error)),
            },
        }
    }
}

/// All addresses of `HOST:PORT`.
///
/// # Errors
/// [`Code::Usage`] if it is not `HOST:PORT`, [`Code::Unreachable`] if there is no such host.
pub fn addresses_of(address: &str) -> Result<Vec<SocketAddr>> {
    socket::resolve(&format!("host {address}"), address)
}

/// Is this an address of this machine? Only on such a one can datagrams be taken.
pub fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// What this machine calls itself.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_whole_with_its_sender() {
        let mut one = Datagrams::bind("127.0.0.1:0").unwrap();
        let other = Datagrams::bind("127.0.0.1:0").unwrap();
        other.send(b"hello", one.address()).unwrap();
        let mut buffer = [0; 8];
        let received = one.receive(&mut buffer, Duration::from_secs(60)).unwrap();
        assert_eq!(received, Some((5, other.address())));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(one.receive(&mut buffer, Duration::from_millis(1)).unwrap(), None);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let one = Datagrams::bind("127.0.0.1:0").unwrap();
        let error = Datagrams::bind(&one.address().to_string()).unwrap_err();
        assert_eq!(error.code(), Code::Usage);
        assert!(error.to_string().contains(&one.address().to_string()), "{error}");
        assert_eq!(addresses_of("nothing").unwrap_err().code(), Code::Usage);
    }

    #[test]
    fn only_addresses_of_this_machine_are_its_own() {
        assert!(is_own("127.0.0.1".parse().unwrap()) && is_own("127.0.0.9".parse().unwrap()));
        // One of a range that is kept for documents.
        assert!(!is_own("192.0.2.77".parse().unwrap()));
        assert!(!host_name().is_empty());
    }
}
