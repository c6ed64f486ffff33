//! What is known of a cluster that is watched: the last answer of its server, for how long there has
//! been none, and how fast its transfers go.
//!
//! Pure: times are passed in, as durations since the watching began.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::status::{Direction, Flow, RunningTransfer, Status, Transfers};

/// Rates are averages over this time, since bytes come in stripes of up to 1 MiB.
const WINDOW: Duration = Duration::from_secs(5);

/// A server that has not answered for this long is shown as silent. It is asked every second.
const LATE: Duration = Duration::from_secs(5);

/// What is known.
pub(super) struct View {
    /// The last answer.
    pub(super) report: Status,
    answered: Duration,
    /// Why there was no answer after that.
    failed: Option<String>,
    /// The transfers in the last answers, with the times of those.
    history: VecDeque<(Duration, Transfers)>,
}

impl View {
    /// With the first answer.
    pub(super) fn new(now: Duration, report: Status) -> View {
        let history = VecDeque::from([(now, report.transfers.clone().unwrap_or_default())]);
        View { report, answered: now, failed: None, history }
    }

    /// Takes an answer.
    pub(super) fn answered(&mut self, now: Duration, report: Status) {
        let transfers = report.transfers.clone().unwrap_or_default();
        let moved = |transfers: &Transfers| [transfers.stores.bytes, transfers.retrievals.bytes];
        let last = self.history.back().map_or([0, 0], |(_, last)| moved(last));
        if moved(&transfers).iter().zip(last).any(|(now, last)| *now < last) {
            // The server was started again and counts from zero.
            self.history.clear();
        }
        self.history.push_back((now, transfers));
        while self.history.front().is_some_and(|(at, _)| *at + WINDOW < now) {
            self.history.pop_front();
        }
        (self.report, self.answered, self.failed) = (report, now, None);
    }

    /// Takes that there was no answer.
    pub(super) fn failed(&mut self, why: String) {
        self.failed = Some(why);
    }

    /// For how long the server has not answered, and why, if it does not.
    pub(super) fn silence(&self, now: Duration) -> Option<(Duration, &str)> {
        let silent = now.saturating_sub(self.answered);
        match &self.failed {
            Some(why) => Some((silent, why)),
            None => (silent >= LATE).then_some((silent, "no answer yet")),
        }
    }

    /// The transfers, and what each direction comes to.
    pub(super) fn transfers(&self) -> &Transfers {
        static NONE: Transfers = Transfers {
            stores: Flow { running: 0, bytes: 0 },
            retrievals: Flow { running: 0, bytes: 0 },
            running: Vec::new(),
        };
        self.history.back().map_or(&NONE, |(_, transfers)| transfers)
    }

    /// The bytes per second of one direction; `None` before the second answer.
    pub(super) fn flow_rate(&self, direction: Direction) -> Option<u64> {
        let bytes = |transfers: &Transfers| flow(transfers, direction).bytes;
        let ((from, before), (to, now)) = (self.history.front()?, self.history.back()?);
        rate(bytes(now).saturating_sub(bytes(before)), to.saturating_sub(*from))
    }

    /// The bytes per second of a transfer; `None` if it has just begun.
    pub(super) fn rate(&self, transfer: &RunningTransfer) -> Option<u64> {
        let same = |one: &&RunningTransfer| one.id == transfer.id;
        let seen = self.history.iter().find_map(|(at, transfers)| {
            transfers.running.iter().find(same).map(|before| (*at, before.bytes))
        });
        let since_seen = seen.and_then(|(at, before)| {
            rate(transfer.bytes.saturating_sub(before), self.answered.saturating_sub(at))
        });
        since_seen.or_else(|| rate(transfer.bytes, Duration::from_millis(transfer.age_ms)))
    }
}

/// One direction of the transfers.
pub(super) fn flow(transfers: &Transfers, direction: Direction) -> Flow {
    match direction {
        Direction::Store => transfers.stores,
        Direction::Retrieve => transfers.retrievals,
    }
}

/// Bytes per second; `None` if no time has passed.
fn rate(bytes: u64, time: Duration) -> Option<u64> {
    let rate = (u128::from(bytes) * 1000).checked_div(time.as_millis())?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::table::tests::report;
    use super::*;

    pub(in super::super) fn transfer(id: u64, bytes: u64, age_ms: u64) -> RunningTransfer {
        let (direction, name) = (Direction::Store, format!("/demo/{id}"));
        RunningTransfer { id, direction, name, bytes, total_bytes: 1_000_000, age_ms }
    }

    fn answer(stored: u64, running: Vec<RunningTransfer>) -> Status {
        let stores = Flow { running: running.len() as u64, bytes: stored };
        let transfers = Transfers { stores, running, ..Transfers::default() };
        Status { transfers: Some(transfers), ..report() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_the_average_of_the_last_five_seconds() {
        let mut view = View::new(Duration::ZERO, answer(1_000_000, vec![transfer(7, 0, 0)]));
        assert_eq!(view.flow_rate(Direction::Store), None);
        assert_eq!(view.rate(&transfer(7, 0, 0)), None, "it has just begun");
        for second in 1..=10_u32 {
            let now = SECOND * second;
            let second = u64::from(second);
            // Fast at the beginning, slow then.
            let bytes = if second < 5 { second * 50_000 } else { 200_000 + second * 1000 };
            let running = vec![transfer(7, bytes, second * 1000)];
            view.answered(now, answer(1_000_000 + bytes, running));
        }
        assert_eq!(view.flow_rate(Direction::Store), Some(1000));
        assert_eq!(view.flow_rate(Direction::Retrieve), Some(0));
        assert_eq!(view.rate(&view.transfers().running[0]), Some(1000));
        // Of one that is seen for the first time the average since its beginning is all that is known.
        assert_eq!(view.rate(&transfer(8, 3000, 1500)), Some(2000));
    }

    #[test]
    fn a_server_that_was_started_again_counts_from_zero() {
        let mut view = View::new(Duration::ZERO, answer(1_000_000, vec![transfer(0, 900, 900)]));
        view.answered(SECOND, answer(50, vec![transfer(0, 50, 100)]));
        assert_eq!(view.flow_rate(Direction::Store), None);
        assert_eq!(view.rate(&view.transfers().running[0]), Some(500));
    }

    #[test]
    fn a_server_is_silent_if_it_fails_or_takes_long() {
        let mut view = View::new(Duration::ZERO, report());
        assert_eq!(view.silence(4 * SECOND), None);
        assert_eq!(view.silence(5 * SECOND), Some((5 * SECOND, "no answer yet")));
        view.answered(6 * SECOND, report());
        view.failed("connection refused".into());
        assert_eq!(view.silence(7 * SECOND), Some((SECOND, "connection refused")));
        view.answered(8 * SECOND, report());
        assert_eq!(view.silence(8 * SECOND), None);
    }
}
