//! Frames of the node protocol over a [`Stream`]: what both ends of a node link send and receive.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::core::error::Result;
use crate::core::io::net::{Deadline, Stream};
use crate::core::wire::node::{self, HEAD_BYTES};

/// Sends a message and its body, which may lie in several pieces, in one write.
///
/// # Errors
/// Those of [`Stream::write_all`].
pub fn send<M: Serialize>(
    stream: &mut Stream,
    message: &M,
    body: &[&[u8]],
    deadline: &Deadline,
) -> Result<()> {
    let frame = node::encode(message, body.iter().map(|piece| piece.len()).sum())?;
    match body {
        [] => stream.write_all(&[&frame], deadline),
        [one] => stream.write_all(&[&frame, one], deadline),
        [one, two] => stream.write_all(&[&frame, one, two], deadline),
        more => {
            let mut parts: Vec<&[u8]> = vec![&frame];
            parts.extend_from_slice(more);
            stream.write_all(&parts, deadline)
        }
    }
}

/// Receives a message; its body replaces what is in `body`. Nothing once the peer has closed the
/// connection between two frames.
///
/// The memory that a frame takes is bounded by the limits of [`node`], which are checked first.
///
/// # Errors
/// Those of [`Stream::read_exact`], and [`Error::Protocol`](crate::core::error::Error::Protocol).
pub fn receive<M: DeserializeOwned>(
    stream: &mut Stream,
    body: &mut Vec<u8>,
    first: &Deadline,
    rest: &Deadline,
) -> Result<Option<M>> {
    let mut head = [0; HEAD_BYTES];
    let got = stream.read_some(&mut head, first)?;
    if got == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[got..], rest)?;
    let head = node::decode_head(&head)?;
    let mut message = vec![0; head.message_bytes];
    stream.read_exact(&mut message, rest)?;
    let message = node::decode(&head, &message)?;
    // Grows at most to the limit, and is zeroed only where it grows.
    body.resize(head.body_bytes, 0);
    stream.read_exact(body, rest)?;
    Ok(Some(message))
}
