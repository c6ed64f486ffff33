//! `--bwlimit`: transfers that leave room on the line for others.

use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cmd::parse_bytes;
use crate::core::remote::Progress;

/// A slower transfer would look like one that has stopped: bytes travel a MiB at a time, and the server waits
/// for the next ones for a minute.
const RATE_MIN: u64 = 32_000;

/// Somebody who was idle for longer gets no more at once for it.
const SAVED_UP: Duration = Duration::from_secs(1);

/// Bytes a second, there and back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Bandwidth {
    up: Option<u64>,
    down: Option<u64>,
}

impl FromStr for Bandwidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Bandwidth, String> {
        let rate = |text: &str| match text {
            "off" => Ok(None),
            text => match parse_bytes(text) {
                Ok(bytes) if bytes >= RATE_MIN => Ok(Some(bytes)),
                Ok(_) => Err("at least 32kB a second".to_owned()),
                Err(_) => Err("a size for each second (10MB), two of them for up and down \
                               (10MB:2MB), or off"
                    .to_owned()),
            },
        };
        Ok(match text.split_once(':') {
            Some((up, down)) => Bandwidth { up: rate(up)?, down: rate(down)? },
            None => Bandwidth { up: rate(text)?, down: rate(text)? },
        })
    }
}

impl Bandwidth {
    /// For what is stored.
    pub(super) fn up(self) -> Limiter {
        Limiter { rate: self.up, paced: Mutex::default() }
    }

    /// For what is retrieved.
    pub(super) fn down(self) -> Limiter {
        Limiter { rate: self.down, paced: Mutex::default() }
    }
}

/// Holds up all transfers of a command together.
#[derive(Default, Debug)]
pub(super) struct Limiter {
    rate: Option<u64>,
    /// Since when so many bytes have moved.
    paced: Mutex<Option<(Instant, u64)>>,
}

impl Limiter {
    /// Passes on how far a transfer is, and waits where it is too fast.
    pub(super) fn watch<'a>(
        &'a self,
        watch: &'a mut dyn FnMut(Progress),
    ) -> impl FnMut(Progress) + 'a {
        let mut before = None;
        move |at| {
            let moved = at.bytes.saturating_sub(*before.get_or_insert(at.bytes));
            before = Some(at.bytes.max(before.unwrap_or(0)));
            watch(at);
            thread::sleep(self.pause(moved, Instant::now()));
        }
    }

    /// How long to wait after so many bytes more.
    fn pause(&self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let mut paced = self.paced.lock();
        let (since, moved) = paced.get_or_insert((now, 0));
        let due = |since: Instant, moved: u64| {
            let us = u128::from(moved) * 1_000_000 / u128::from(rate.max(1));
            since + Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
        };
        if now.saturating_duration_since(due(*since, *moved)) > SAVED_UP {
            (*since, *moved) = (now, 0);
        }
        *moved += bytes;
        due(*since, *moved).saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_rate_or_two() {
        let both = |up, down| Ok(Bandwidth { up, down });
        assert_eq!("10MB".parse(), both(Some(10_000_000), Some(10_000_000)));
        assert_eq!("1MB:off".parse(), both(Some(1_000_000), None));
        assert_eq!("off:64kB".parse(), both(None, Some(64_000)));
        for wrong in ["", "1", "fast", "1MB:", "1MB:2MB:3MB"] {
            assert!(wrong.parse::<Bandwidth>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_transfers_together_are_held_up_to_the_rate() {
        let limiter = "1MB".parse::<Bandwidth>().unwrap().up();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(limiter.pause(1_000_000, start), second);
        assert_eq!(limiter.pause(500_000, start), second + second / 2);
        assert_eq!(limiter.pause(500_000, start + 2 * second), Duration::ZERO);
        // What nobody has used is not made up for at once.
        assert_eq!(limiter.pause(2_000_000, start + 60 * second), 2 * second);
        assert_eq!(Bandwidth::default().down().pause(1 << 40, start), Duration::ZERO);
    }
}
