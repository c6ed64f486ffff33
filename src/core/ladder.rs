//! Which of many snapshots to keep: the first of each period, on rungs of growing length.
//!
//! ```text
//!   24h:hourly,30d:daily
//!
//!   now ├ 1h ┼ 1h ┼ ... ┤ 24h ├── 1d ──┼── 1d ──┼ ... ┤ 30d    older: none
//! ```
//!
//! Pure.

use std::time::Duration;

/// One rung: for so long, one of each period is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rung {
    /// Up to this age.
    pub span: Duration,
    /// One of each of these.
    pub period: Duration,
}

/// Those of these times, in milliseconds since 1970 and in any order, that no rung keeps. The newest one
/// is kept in any case.
pub fn superfluous(times_ms: &[i64], now_ms: i64, rungs: &[Rung]) -> Vec<i64> {
    let mut sorted = times_ms.to_vec();
    sorted.sort_unstable();
    let newest = sorted.last().copied();
    let mut kept: Vec<i64> = newest.into_iter().collect();
    for Rung { span, period } in rungs {
        let [span, period] = [span, period].map(|time| i64::try_from(time.as_millis()));
        let (Ok(span), Ok(period)) = (span, period) else { continue };
        let mut last = None;
        // The first of a period: so what was kept once is kept until its rung ends.
        for time in sorted.iter().filter(|time| now_ms.saturating_sub(**time) <= span) {
            let of = time.div_euclid(period.max(1));
            if last.replace(of) != Some(of) {
                kept.push(*time);
            }
        }
    }
    sorted.retain(|time| !kept.contains(time));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;

    fn hours(count: u64) -> Duration {
        Duration::from_secs(3600 * count)
    }

    #[test]
    fn one_of_each_period_is_kept_as_long_as_its_rung_is() {
        let rungs = [
            Rung { span: hours(24), period: hours(1) },
            Rung { span: hours(30 * 24), period: hours(24) },
        ];
        let mut times: Vec<i64> = Vec::new();
        // Every quarter of an hour, for 40 days.
        for quarter in 0..40 * 96 {
            let now = 1000 * DAY + quarter * HOUR / 4;
            times.push(now);
            let gone = superfluous(&times, now, &rungs);
            times.retain(|time| !gone.contains(time));
        }
        let now = times.last().copied().unwrap();
        let recent = times.iter().filter(|time| now - **time <= DAY).count();
        assert!((24..=26).contains(&recent), "{recent}");
        assert!((29 + 24..=31 + 26).contains(&times.len()), "{}", times.len());
        assert!(times.iter().all(|time| now - time <= 30 * DAY));
    }

    #[test]
    fn without_rungs_the_newest_one_is_kept() {
        assert_eq!(superfluous(&[3, 1, 2], 9, &[]), [1, 2]);
        assert!(superfluous(&[], 9, &[]).is_empty());
    }
}
