//! What one client may take, so that it cannot hurt the others: connections, time, speed. The limit of
//! a message is `wire::lines::MESSAGE_BYTES_MAX`, that of those who wait for their password to be
//! checked `catalog::accounts::HASHES_WAITING_MAX`.

use std::time::{Duration, Instant};

use crate::core::error::{Error, Result};
use crate::core::io::net::Deadline;

/// The most clients at once, if the system lets this process have enough files. Each costs a thread.
pub const CLIENTS_MAX: usize = 2000;

/// The most clients at once from one address (see `io::listener::network_of`): more than an office
/// behind one address has, and a tenth of all, so that a few addresses keep nobody out.
pub const NETWORK_CLIENTS_MAX: usize = 200;

const _: () = assert!(NETWORK_CLIENTS_MAX * 4 < CLIENTS_MAX);

/// A program says hello, so that it takes no time. For the whole of it, however it is sent.
pub const HELLO: Deadline = Deadline::new(Duration::from_secs(30), "say hello");

/// A person reads a question and types the answer.
pub const SIGN_IN: Deadline = Deadline::new(Duration::from_secs(300), "answer");

/// A person types wrong passwords, waits, and makes an account at last. Who has not come in by then
/// holds a connection that others could have.
pub const SIGN_IN_WHOLE: Deadline = Deadline::new(Duration::from_secs(900), "sign in");

/// A person is in a session and does something else.
pub const REQUEST: Deadline = Deadline::new(Duration::from_secs(3600), "ask for anything");

/// A message that has begun is a few hundred bytes which a program sends together.
pub const MESSAGE: Deadline = Deadline::new(Duration::from_secs(60), "finish its message");

/// Whether a message that may be whole goes on.
pub const GRACE: Deadline = Deadline::new(Duration::from_millis(200), "go on");

/// A slow body is fine as long as it moves; see [`Pace`].
pub const BODY: Deadline = Deadline::new(Duration::from_secs(60), "send anything of its file");

/// The same the other way. TCP itself moves no less than a segment when a client reads slowly.
pub const TAKE: Deadline = Deadline::new(Duration::from_secs(60), "take anything of its answer");

/// How many bytes must come in each [`BODY`] time: one every two seconds. Slower than that is only who
/// sends single bytes to hold on to a store, its buffers and its connections to the nodes.
pub const PACE_BYTES: usize = 30;

impl Deadline {
    /// What is left of it after some time; never nothing.
    #[must_use]
    pub(super) fn less(&self, elapsed: Duration) -> Deadline {
        let left = self.limit.saturating_sub(elapsed).max(Duration::from_millis(1));
        Deadline { limit: left, waiting_for: self.waiting_for.clone() }
    }
}

/// Watches that a body does not only move but gets on.
pub struct Pace {
    begun: Instant,
    bytes: usize,
}

impl Pace {
    /// Begins to watch.
    pub fn begin() -> Pace {
        Pace { begun: Instant::now(), bytes: 0 }
    }

    /// So many bytes have come from `peer`.
    ///
    /// # Errors
    /// [`Error::Deadline`] if too few have for too long.
    pub fn moved(&mut self, bytes: usize, peer: &str) -> Result<()> {
        self.moved_after(bytes, self.begun.elapsed(), peer)
    }

    fn moved_after(&mut self, bytes: usize, elapsed: Duration, peer: &str) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if elapsed < BODY.limit {
            return Ok(());
        }
        if self.bytes < PACE_BYTES {
            let limit = BODY.limit.as_secs();
            let what = format!("{peer} did not send {PACE_BYTES} bytes of its file in {limit} s");
            return Err(Error::Deadline(what));
        }
        *self = Pace::begin();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_body_goes_on_and_a_drip_does_not() {
        let seconds = Duration::from_secs;
        let mut pace = Pace::begin();
        for _ in 0..100 {
            pace.moved_after(15, seconds(30), "client").unwrap();
            pace.moved_after(15, seconds(60), "client").unwrap();
        }
        let mut pace = Pace::begin();
        for second in (0..60).step_by(3) {
            pace.moved_after(1, seconds(second), "client").unwrap();
        }
        let late = pace.moved_after(1, seconds(60), "client").unwrap_err();
        assert!(matches!(&late, Error::Deadline(text) if text.contains("30 bytes")), "{late}");
    }

    #[test]
    fn a_deadline_that_has_passed_is_still_one() {
        let left = HELLO.less(Duration::from_secs(10));
        assert_eq!(left.limit, Duration::from_secs(20));
        assert!(HELLO.less(Duration::from_secs(99)).limit > Duration::ZERO);
    }
}
