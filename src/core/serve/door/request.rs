//! The request door: one question, one file, to be read only. The messages are in
//! [`wire::request`](crate::core::wire::request).
//!
//! Whatever is wrong with a request is said in the log, with the peer's address, and ends that
//! connection and nothing else.

use std::time::{Duration, Instant};

use super::client::DoorClient;
use crate::core::error::{Code, Error, Result};
use crate::core::io::net::Deadline;
use crate::core::serve::limits::{MESSAGE, TAKE};
use crate::core::serve::meter::Verb;
use crate::core::wire::request::{REQUEST_HEAD_BYTES, Response, decode_name, decode_request_head};

/// How long a client may be silent within its request.
const PIECE: Deadline = Deadline::new(Duration::from_secs(1), "send its whole request");

/// Serves a client.
///
/// # Errors
/// What was wrong with its request, or that it could not be answered.
pub(super) fn serve(client: &mut DoorClient<'_>) -> Result<()> {
    let begun = Instant::now();
    let mut head = [0; REQUEST_HEAD_BYTES];
    read(client, &mut head, begun)?;
    let mut name = vec![0; decode_request_head(&head)?];
    read(client, &mut name, begun)?;
    let name = decode_name(&name)?.to_owned();
    let path = match client.file(&name) {
        Ok(path) => path,
        Err(error) => {
            client.event(Verb::Retrieve, "retrieved", begun).failed(&error);
            return answer(client, Response::Missing);
        }
    };
    // The reason is in the log; the answer has no words for it.
    let Ok(mut retrieve) = client.retrieve(&path, begun) else {
        return answer(client, Response::Missing);
    };
    let Ok(length) = u32::try_from(retrieve.bytes) else {
        let text = "the answer has 4 bytes for the file's length, which are too few for this one";
        let sent = Err(Error::other(Code::TooBig, text));
        client.retrieved(&path, &retrieve, begun, &sent);
        return answer(client, Response::Missing);
    };
    answer(client, Response::Found(length))?;
    let _busy = client.begin()?;
    let sent = loop {
        match retrieve.next_part() {
            Ok(Some([first, second])) => {
                if let Err(error) = client.stream.write_all(&[first, second], &TAKE) {
                    break Err(error);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    client.retrieved(&path, &retrieve, begun, &sent);
    sent
}

fn answer(client: &mut DoorClient<'_>, response: Response) -> Result<()> {
    client.stream.write_segment(&response.encode(), &TAKE)
}

/// Fills the buffer. No piece may be late, nor all of them together.
fn read(client: &mut DoorClient<'_>, mut buffer: &mut [u8], begun: Instant) -> Result<()> {
    while !buffer.is_empty() {
        if begun.elapsed() > MESSAGE.limit {
            let limit = MESSAGE.limit.as_secs();
            let what = format!("{} took more than {limit} s for its request", client.stream.name());
            return Err(Error::Deadline(what));
        }
        match client.stream.read_some(buffer, &PIECE)? {
            0 => return Err(client.stream.closed()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}
