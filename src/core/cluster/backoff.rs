//! When something that failed is tried again: each time after twice as long as before, up to a limit.

use std::time::Duration;

/// The first pause and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];

/// When something is tried again; the default is that it has not failed.
#[derive(Clone, Copy, Default)]
pub(super) struct Backoff {
    /// It is left alone until then.
    pub(super) until: Duration,
    pause: Duration,
}

impl Backoff {
    /// The next one after a failure.
    pub(super) fn next(self, now: Duration) -> Backoff {
        let [shortest, longest] = PAUSES;
        let pause = (2 * self.pause).clamp(shortest, longest);
        Backoff { until: now + pause, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_doubles_up_to_its_limit() {
        let now = Duration::from_secs(100);
        let mut backoff = Backoff::default();
        let pauses = [(); 9].map(|()| {
            backoff = backoff.next(now);
            (backoff.until - now).as_secs()
        });
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    }
}
