//! The bodies of requests.

use hyper::body::{Bytes, Incoming};

use crate::core::error::{Error, Result};
use crate::core::io::http;
use crate::core::serve::limits::Pace;

/// All of a body that has to be short.
///
/// # Errors
/// [`Error::Protocol`] if it is longer; those of the connection.
pub(super) async fn short(body: &mut Incoming, most: usize) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(bytes) = http::next_part(body).await? {
        if whole.len() + bytes.len() > most {
            return Err(Error::Protocol(format!("the body has more than {most} bytes")));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}

/// Throws away what still comes of a body, at most so much of it: a client that is refused while it sends
/// would otherwise find its connection broken, and no answer.
pub(super) async fn throw_away(body: &mut Incoming, most: u64) {
    let mut thrown = 0;
    while let Ok(Some(bytes)) = http::next_part(body).await {
        thrown += bytes.len() as u64;
        if thrown > most {
            return;
        }
    }
}

/// A body that is taken in pieces of other lengths than it comes in.
pub(super) struct Pieces<'a> {
    body: &'a mut Incoming,
    left: Bytes,
    pace: Pace,
    peer: String,
}

impl Pieces<'_> {
    /// The body of this client, who has to get on with it.
    pub(super) fn of(body: &mut Incoming, peer: String) -> Pieces<'_> {
        Pieces { body, left: Bytes::new(), pace: Pace::begin(), peer }
    }

    /// Puts the next bytes into the room; less than that only at the end of the body.
    ///
    /// # Errors
    /// Those of the connection; [`Error::Deadline`] if single bytes come.
    pub(super) async fn fill(&mut self, room: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < room.len() {
            if self.left.is_empty() {
                match http::next_part(self.body).await? {
                    Some(bytes) => {
                        self.pace.moved(bytes.len(), &self.peer)?;
                        self.left = bytes;
                    }
                    None => break,
                }
                continue;
            }
            let count = self.left.len().min(room.len() - filled);
            room[filled..filled + count].copy_from_slice(&self.left.split_to(count));
            filled += count;
        }
        Ok(filled)
    }
}
