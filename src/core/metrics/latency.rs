//! How long something takes, in steps, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Up to how long each step reaches, in microseconds; what takes longer than the last one is counted too.
/// From a small file on a fast disk to a large one on a slow line.
const STEPS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// How often something took how long.
#[derive(Default, Debug)]
pub struct Latency {
    /// One for each step, and one for what takes longer.
    counts: [AtomicU64; STEPS_US.len() + 1],
    sum_us: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Distribution {
    /// How often.
    pub count: u64,
    /// All times together, in seconds.
    pub sum_seconds: f64,
    /// How often in each step, by its end in seconds; the last one is endless.
    pub buckets: Vec<(f64, u64)>,
}

impl Latency {
    /// Counts once more, two additions.
    pub fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let step = STEPS_US.partition_point(|end| *end < us);
        self.counts[step].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far. The count is that of the steps, so that they always agree.
    pub fn told(&self) -> Distribution {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let ends = STEPS_US.iter().map(|us| Duration::from_micros(*us).as_secs_f64());
        Distribution {
            count: counts.iter().sum(),
            sum_seconds: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64(),
            buckets: ends.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_step_that_reaches_it() {
        let latency = Latency::default();
        for us in [0, 500, 501, 60_000_000, 60_000_001] {
            latency.took(Duration::from_micros(us));
        }
        latency.took(Duration::MAX);
        let told = latency.told();
        assert_eq!((told.count, told.buckets.len()), (6, 17));
        let counts: Vec<u64> = told.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (2, 1, 1, 2));
        assert_eq!(told.buckets[1].0, 0.001);
        assert_eq!(told.buckets[16].0, f64::INFINITY);
    }
}
