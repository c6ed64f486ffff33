//! Waits until a client has taken what it was sent, for programs of which one read takes whatever is
//! there: two things that they must not take for one have to arrive at different times.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::error::{Error, Result};
use crate::core::io::net::Stream;
use crate::core::io::send_queue;

/// How long a client is given to take everything.
const TAKEN_MAX: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);

/// Its machine has everything by then; for the program to read it.
const PAUSE: Duration = Duration::from_millis(300);

/// Waits until the client's machine has everything, and then a little more.
///
/// # Errors
/// [`Error::Deadline`] if it does not take it.
pub(super) fn settle(stream: &Stream, peer: SocketAddr) -> Result<()> {
    let local = stream.local_address()?;
    let until = Instant::now() + TAKEN_MAX;
    while send_queue::unacknowledged(local, peer).is_some_and(|bytes| bytes > 0) {
        if Instant::now() > until {
            let limit = TAKEN_MAX.as_secs();
            let what = format!("{} did not take its file within {limit} s", stream.name());
            return Err(Error::Deadline(what));
        }
        thread::sleep(STEP);
    }
    thread::sleep(PAUSE);
    Ok(())
}
