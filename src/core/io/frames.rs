//! Frames of the node protocol over a [`Stream`]: what both ends of a node link send and receive.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::core::error::{Error, Result};
use crate::core::io::net::{Deadline, Stream};
use crate::core::wire::node::{self, HEAD_BYTES};

/// What is read at first: most frames are whole then, and cost one system call.
const READ_BYTES: usize = 8 << 10;

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
/// Those of [`Stream::read_exact`], and [`Error::Protocol`].
pub fn receive<M: DeserializeOwned>(
    stream: &mut Stream,
    body: &mut Vec<u8>,
    first: &Deadline,
    rest: &Deadline,
) -> Result<Option<M>> {
    match receive_within(stream, body, first.limit, rest)? {
        Some(received) => Ok(received),
        None => Err(first.missed(stream.name())),
    }
}

/// The same, if its first byte comes within this time; `None` else, and it may be asked for again.
///
/// # Errors
/// As [`receive`], once its first byte has come.
pub fn receive_within<M: DeserializeOwned>(
    stream: &mut Stream,
    body: &mut Vec<u8>,
    longest: Duration,
    rest: &Deadline,
) -> Result<Option<Option<M>>> {
    let mut buffer = [0; READ_BYTES];
    let mut got = match stream.read_some(&mut buffer, &Deadline { limit: longest, ..rest.clone() })
    {
        Err(Error::Deadline(_)) => return Ok(None),
        Ok(0) => return Ok(Some(None)),
        got => got?,
    };
    if got < HEAD_BYTES {
        stream.read_exact(&mut buffer[got..HEAD_BYTES], rest)?;
        got = HEAD_BYTES;
    }
    let Some((head, mut come)) = buffer[..got].split_first_chunk() else {
        return Err(stream.closed());
    };
    let head = node::decode_head(head)?;
    let message = match come.split_at_checked(head.message_bytes) {
        Some((message, behind)) => {
            come = behind;
            node::decode(&head, message)?
        }
        None => {
            let mut message = vec![0; head.message_bytes];
            fill(stream, &mut message, &mut come, rest)?;
            node::decode(&head, &message)?
        }
    };
    // Grows at most to the limit, and is zeroed only where it grows.
    body.resize(head.body_bytes, 0);
    fill(stream, body, &mut come, rest)?;
    stream.unread(come);
    Ok(Some(Some(message)))
}

/// Fills the whole buffer, first with what has come already.
fn fill(
    stream: &mut Stream,
    buffer: &mut [u8],
    come: &mut &[u8],
    deadline: &Deadline,
) -> Result<()> {
    let (early, behind) = come.split_at(come.len().min(buffer.len()));
    buffer[..early.len()].copy_from_slice(early);
    *come = behind;
    stream.read_exact(&mut buffer[early.len()..], deadline)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::core::types::VersionId;
    use crate::core::wire::node::Request;

    const SOON: Deadline = Deadline::new(Duration::from_secs(60), "answer");

    #[test]
    fn frames_are_told_apart_however_the_bytes_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut near = Stream::connect("node", &address, &SOON).unwrap();
        let mut far = Stream::accepted(listener.accept().unwrap().0, "server").unwrap();
        let long = Request::Discard { versions: vec![VersionId([7; 16]); 1000] };
        let messages = [
            (Request::KeepAlive, 0),
            (Request::Units { checksums: [1, 2] }, 3),
            (Request::KeepAlive, 0),
            (Request::Units { checksums: [1, 2] }, READ_BYTES),
            (long, 0),
            (Request::Units { checksums: [3, 4] }, 300_000),
            (Request::Bye, 0),
        ];
        let mut bytes = Vec::new();
        for (message, length) in &messages {
            bytes.extend(node::encode(message, *length).unwrap());
            bytes.extend((0..*length).map(|at| u8::try_from(at % 251).unwrap()));
        }
        // All at once, in pieces that cut heads, and byte by byte.
        for step in [bytes.len(), 1000, 13, 1] {
            let (bytes, slow) = (bytes.clone(), if step == 1 { 400 } else { bytes.len() });
            thread::scope(|scope| {
                scope.spawn(|| {
                    bytes[..slow]
                        .chunks(step)
                        .for_each(|some| far.write_all(&[some], &SOON).unwrap());
                    far.write_all(&[&bytes[slow..]], &SOON).unwrap();
                });
                let mut body = vec![9; 50];
                for (message, length) in &messages {
                    let got = receive::<Request>(&mut near, &mut body, &SOON, &SOON).unwrap();
                    assert_eq!(got.as_ref(), Some(message));
                    assert_eq!(body.len(), *length);
                    assert!(
                        body.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251)
                    );
                }
                assert_eq!(near.read_ready(&mut [0]).unwrap(), None, "nothing is left");
            });
        }
        let (body, soon) = (&mut Vec::new(), Duration::from_millis(1));
        assert!(receive_within::<Request>(&mut near, body, soon, &SOON).unwrap().is_none());
        send(&mut far, &Request::Bye, &[], &SOON).unwrap();
        assert_eq!(receive(&mut near, body, &SOON, &SOON).unwrap(), Some(Request::Bye));
        drop(far);
        assert!(receive::<Request>(&mut near, body, &SOON, &SOON).unwrap().is_none());
    }
}
