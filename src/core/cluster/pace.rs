//! How fast background work may go: a rate in bytes per second, and users first.
//!
//! A bucket fills at the rate and may be overdrawn by the step that has just been made; the next
//! step waits until it is no longer. While users' transfers are running, a thread rests as long
//! after a step as the step took, so that background work has half of the time at most.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::cluster::traffic::Traffic;

/// The lowest rate in bytes per second: slower, and a node that receives a rebuilt piece would take
/// the server for gone between two stripes.
pub const RATE_MIN: u64 = 64 << 10;

/// The longest rest after one step for the sake of users.
const REST_MAX: Duration = Duration::from_secs(1);

/// The longest that a step waits for the bucket before it looks again.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// A bucket of bytes that fills at a rate. Times count from any fixed point.
pub struct Pace {
    bucket: Mutex<Bucket>,
}

struct Bucket {
    /// Bytes per second; `None` for no limit.
    rate: Option<u64>,
    /// Below zero while overdrawn.
    bytes: i64,
    filled_at: Duration,
}

impl Pace {
    /// A full bucket of this rate in bytes per second, at least [`RATE_MIN`]; `None`
    /// for no limit.
    pub fn new(rate: Option<u64>) -> Pace {
        let rate = rate.map(|rate| rate.max(RATE_MIN));
        Pace { bucket: Mutex::new(Bucket { rate, bytes: 0, filled_at: Duration::ZERO }) }
    }

    /// The rate in bytes per second, if there is a limit.
    pub fn rate(&self) -> Option<u64> {
        self.bucket.lock().rate
    }

    /// Goes on at another rate.
    pub fn set_rate(&self, rate: Option<u64>) {
        let mut bucket = self.bucket.lock();
        bucket.rate = rate.map(|rate| rate.max(RATE_MIN));
        bucket.bytes = 0;
    }

    /// Takes out what a step has moved.
    pub fn moved(&self, bytes: u64) {
        let mut bucket = self.bucket.lock();
        if bucket.rate.is_some() {
            bucket.bytes = bucket.bytes.saturating_sub_unsigned(bytes);
        }
    }

    /// How long the next step has to wait; `None` if it may be made now.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let mut bucket = self.bucket.lock();
        let rate = bucket.rate?;
        let since = now.saturating_sub(bucket.filled_at);
        bucket.filled_at = now;
        let filled = u128::from(rate) * since.as_micros() / 1_000_000;
        let filled = i64::try_from(filled).unwrap_or(i64::MAX);
        // A second's worth at most is saved up.
        let most = i64::try_from(rate).unwrap_or(i64::MAX);
        bucket.bytes = bucket.bytes.saturating_add(filled).min(most);
        let lacking = u64::try_from(-bucket.bytes).ok().filter(|lacking| *lacking > 0)?;
        Some(Duration::from_secs_f64(lacking as f64 / rate as f64))
    }
}

/// How a step rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// It sleeps.
    Sleep,
    /// It does not: in simulations, whose time does not pass by itself.
    Never,
}

/// What a worker keeps to: its rate, and users' transfers.
#[derive(Clone)]
pub struct Throttle {
    /// The rate, which several may share.
    pub pace: Arc<Pace>,
    /// The users' transfers.
    pub traffic: Arc<Traffic>,
    rest: Rest,
    start: Instant,
    last: Duration,
}

impl Throttle {
    /// A throttle that begins now.
    pub fn new(pace: Arc<Pace>, traffic: Arc<Traffic>, rest: Rest) -> Throttle {
        Throttle { pace, traffic, rest, start: Instant::now(), last: Duration::ZERO }
    }

    /// Begins to count the time that a step takes.
    pub fn begin(&mut self) {
        self.last = self.start.elapsed();
    }

    /// Notes what a step has moved, and rests as long as is due after it.
    pub fn moved(&mut self, bytes: u64) {
        self.pace.moved(bytes);
        if self.rest == Rest::Never {
            return;
        }
        let now = self.start.elapsed();
        if self.traffic.is_running() {
            thread::sleep(now.saturating_sub(self.last).min(REST_MAX));
        }
        if let Some(wait) = self.pace.wait(self.start.elapsed()) {
            thread::sleep(wait.min(WAIT_MAX));
        }
        self.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_step_that_overdraws_is_waited_for() {
        let pace = Pace::new(Some(1_000_000));
        assert_eq!(pace.wait(SECOND), None, "a second's worth is saved up");
        pace.moved(3_000_000);
        assert_eq!(pace.wait(SECOND), Some(2 * SECOND));
        assert_eq!(pace.wait(2 * SECOND), Some(SECOND));
        assert_eq!(pace.wait(3 * SECOND), None);
    }

    #[test]
    fn no_more_than_a_second_is_saved_up() {
        let pace = Pace::new(Some(1_000_000));
        assert_eq!(pace.wait(1000 * SECOND), None);
        pace.moved(2_000_000);
        assert_eq!(pace.wait(1000 * SECOND), Some(SECOND));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let pace = Pace::new(None);
        pace.moved(u64::MAX);
        assert_eq!(pace.wait(Duration::ZERO), None);
        assert_eq!(Pace::new(Some(1)).rate(), Some(RATE_MIN));
    }
}
