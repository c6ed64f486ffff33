//! Encrypted and plain text on one port: which of the two a client speaks, and whether it may.
//!
//! ```text
//!   first byte 0x16 ──▶ TLS handshake ──▶ the session, encrypted
//!   any other ──┬─ from this machine, or plain text is allowed ──▶ the session, plain
//!               └─ from elsewhere ──▶ told why, closed
//! ```
//!
//! The specified session sends passwords as they are typed, so from another machine it is refused
//! unless the server was told otherwise.

use parking_lot::RwLock;

use crate::core::error::Result;
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::tls::{Acceptor, FIRST_BYTE, Identity};
use crate::core::types::Fingerprint;

/// What a client is told that may not speak plain text.
pub const REFUSED: &str = "plain text is only taken from this machine itself: connect with palk \
                           client (or any TLS client), or have the server started with \
                           --allow-plaintext";

/// How clients are to speak.
pub struct Encryption {
    /// For those who encrypt.
    shown: RwLock<Shown>,
    /// Whether clients on other machines may leave it.
    allow_plaintext: bool,
}

/// What clients are shown, and are recognising it by.
struct Shown {
    acceptor: Acceptor,
    fingerprint: Fingerprint,
}

impl Shown {
    fn new(identity: &Identity) -> Result<Shown> {
        let acceptor = Acceptor::for_clients(identity)?;
        Ok(Shown { acceptor, fingerprint: identity.fingerprint() })
    }
}

/// What a client turned out to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// It has gone before it said anything.
    Nothing,
    /// The stream is encrypted now.
    Encrypted,
    /// Plain text, as it may.
    Plain,
    /// Plain text, which it may not.
    Refused,
}

impl Encryption {
    /// # Errors
    /// As [`Acceptor::for_clients`].
    pub fn new(identity: &Identity, allow_plaintext: bool) -> Result<Encryption> {
        Ok(Encryption { shown: RwLock::new(Shown::new(identity)?), allow_plaintext })
    }

    /// From now on new connections are shown this; those that are open go on as they are.
    ///
    /// # Errors
    /// As [`Acceptor::for_clients`]; nothing has changed then.
    pub fn show(&self, identity: &Identity) -> Result<()> {
        *self.shown.write() = Shown::new(identity)?;
        Ok(())
    }

    /// What clients recognise the server by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.shown.read().fingerprint
    }

    /// Waits for a client's first byte, and for the handshake if it begins one.
    ///
    /// # Errors
    /// Those of the stream, and of a handshake that fails.
    pub fn settle(&self, stream: &mut Stream, deadline: &Deadline) -> Result<Spoken> {
        let spoken = judge(stream.peek(deadline)?, stream.is_from_loopback(), self.allow_plaintext);
        if spoken == Spoken::Encrypted {
            // Not under the lock: a handshake takes as long as the client likes.
            let acceptor = self.shown.read().acceptor.clone();
            acceptor.accept(stream)?;
        }
        Ok(spoken)
    }
}

fn judge(first: Option<u8>, is_from_loopback: bool, allow_plaintext: bool) -> Spoken {
    match first {
        None => Spoken::Nothing,
        Some(FIRST_BYTE) => Spoken::Encrypted,
        Some(_) if is_from_loopback || allow_plaintext => Spoken::Plain,
        Some(_) => Spoken::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_from_another_machine_is_refused_unless_it_is_allowed() {
        for first in [b'H', b'\r', 0, 0x15, 0x17, 0xff] {
            assert_eq!(judge(Some(first), false, false), Spoken::Refused);
            assert_eq!(judge(Some(first), false, true), Spoken::Plain);
            assert_eq!(judge(Some(first), true, false), Spoken::Plain);
        }
    }

    #[test]
    fn encryption_is_taken_from_everywhere() {
        for (is_from_loopback, allowed) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            assert_eq!(judge(Some(FIRST_BYTE), is_from_loopback, allowed), Spoken::Encrypted);
            assert_eq!(judge(None, is_from_loopback, allowed), Spoken::Nothing);
        }
    }
}
