//! Which peers a node talks to: with a cluster key those that prove to have it, encrypted; without one
//! all that can reach it, which is this machine alone.
//!
//! The two do not mix. A server and a node of which only one has the key are told which.

use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::io::frames;
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::tls::{Acceptor, FIRST_BYTE};
use crate::core::wire::node::{Failure, Reply};

/// More than a server's first message has.
pub(super) const FIRST_MESSAGE_BYTES: usize = 4096;

const NO_KEY_THERE: &str =
    "it serves only a server that has the cluster's key: start the server with --key";

/// Waits for what a connection begins with. True if it is let in, and then encrypted if there is a
/// key; false if it has gone already.
///
/// # Errors
/// If it is not let in; those of the stream.
pub(super) fn admit(
    stream: &mut Stream,
    acceptor: Option<&Acceptor>,
    deadline: &Deadline,
) -> Result<bool> {
    match (stream.peek(deadline)?, acceptor) {
        (None, _) => Ok(false),
        (Some(FIRST_BYTE), Some(acceptor)) => acceptor.accept(stream).map(|()| true),
        (Some(FIRST_BYTE), None) => {
            let text = "it encrypts with a cluster key, and this node was started without --key";
            Err(Error::other(Code::NotAllowed, text))
        }
        (Some(_), None) => Ok(true),
        (Some(_), Some(_)) => {
            // Closed with its message unread, the connection would be reset and the answer lost.
            stream.read_some(&mut [0; FIRST_MESSAGE_BYTES], deadline)?;
            let why = Failure::from(&NodeFailure::Refused(NO_KEY_THERE.into()));
            frames::send(stream, &Reply::Failed(why), &[], deadline)?;
            Err(Error::other(Code::NotAllowed, "it does not encrypt with the cluster's key"))
        }
    }
}
