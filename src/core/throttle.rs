//! How long somebody has to wait after failed attempts: the arithmetic, on keys of any kind and times
//! that the caller gives.
//!
//! ```text
//!   failures     1 .. free     free + 1     + 2      + 3     ...
//!   then wait        0         first      2 first  4 first   ... at most longest
//! ```
//!
//! Invariants: never more than `remembered_max` keys are kept, the one whose last failure is oldest
//! being forgotten for a new one; no wait is longer than `longest_ms`, so that failures of somebody
//! else cannot shut an owner out for long; a key whose last failure is `forget_ms` ago begins anew.
//!
//! Whoever makes the memory forget a key by failing with `remembered_max` others gains `free`
//! attempts. Each of those failures costs a hash, so that is slower than to wait.

use std::collections::HashMap;
use std::hash::Hash;

/// What a [`Throttle`] allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Failures after which there is no wait yet: people mistype.
    pub free: u32,
    /// The first wait, in milliseconds; each further failure doubles it.
    pub first_ms: u64,
    /// The longest wait, in milliseconds.
    pub longest_ms: u64,
    /// Failures older than this are forgotten, in milliseconds. Longer than the longest wait.
    pub forget_ms: u64,
    /// How many keys are remembered.
    pub remembered_max: usize,
}

/// Failures of one key.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_ms: u64,
}

/// Who has failed, how often and when.
#[derive(Debug)]
pub struct Throttle<K> {
    limits: Limits,
    failures: HashMap<K, Failures>,
}

impl<K: Eq + Hash + Clone> Throttle<K> {
    /// One that has seen nobody yet.
    pub fn new(limits: Limits) -> Throttle<K> {
        debug_assert!(limits.longest_ms < limits.forget_ms && limits.remembered_max > 0);
        Throttle { limits, failures: HashMap::new() }
    }

    /// How long this key has to wait until it may try (again), in milliseconds; 0 if it may now.
    pub fn wait_ms(&self, key: &K, now_ms: u64) -> u64 {
        let Some(failures) = self.failures.get(key) else { return 0 };
        let Some(doublings) = failures.count.checked_sub(self.limits.free + 1) else { return 0 };
        let wait_ms = match self.limits.first_ms.checked_shl(doublings) {
            // A shift that loses bits gives a smaller number, or one that is not twice the last.
            Some(ms) if ms >> doublings == self.limits.first_ms => ms.min(self.limits.longest_ms),
            _ => self.limits.longest_ms,
        };
        (failures.last_ms + wait_ms).saturating_sub(now_ms)
    }

    /// Notes a failure.
    pub fn failed(&mut self, key: &K, now_ms: u64) {
        let forget_ms = self.limits.forget_ms;
        if let Some(failures) = self.failures.get_mut(key) {
            let is_old = failures.last_ms + forget_ms < now_ms;
            failures.count = if is_old { 1 } else { failures.count.saturating_add(1) };
            failures.last_ms = now_ms;
            return;
        }
        if self.failures.len() >= self.limits.remembered_max {
            let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.last_ms);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.failures.remove(&oldest);
            }
        }
        self.failures.insert(key.clone(), Failures { count: 1, last_ms: now_ms });
    }

    /// Forgets all failures of a key.
    pub fn reset(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Takes back one failure of a key.
    pub fn forgive(&mut self, key: &K) {
        if let Some(failures) = self.failures.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
            if failures.count == 0 {
                self.failures.remove(key);
            }
        }
    }

    /// How many keys are remembered.
    pub fn remembered(&self) -> usize {
        self.failures.len()
    }
}

/// Keys that were met lately, never more than a fixed number of them.
#[derive(Debug)]
pub struct Recent<K> {
    most: usize,
    met: HashMap<K, u64>,
}

impl<K: Eq + Hash + Clone> Recent<K> {
    /// Remembers `most` keys.
    pub fn new(most: usize) -> Recent<K> {
        Recent { most, met: HashMap::new() }
    }

    /// Notes a key; the one that was met the longest ago is forgotten where there are too many.
    pub fn meet(&mut self, key: &K, now_ms: u64) {
        if !self.met.contains_key(key) && self.met.len() >= self.most {
            let oldest = self.met.iter().min_by_key(|(_, met_ms)| **met_ms);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.met.remove(&oldest);
            }
        }
        self.met.insert(key.clone(), now_ms);
    }

    /// Is the key remembered?
    pub fn has(&self, key: &K) -> bool {
        self.met.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        free: 3,
        first_ms: 1_000,
        longest_ms: 60_000,
        forget_ms: 900_000,
        remembered_max: 4,
    };

    /// The waits after each of so many failures, each made as soon as it may be.
    fn waits(count: usize) -> Vec<u64> {
        let mut throttle = Throttle::new(LIMITS);
        let mut now_ms = 0;
        let mut waits = Vec::new();
        for _ in 0..count {
            throttle.failed(&"demo", now_ms);
            waits.push(throttle.wait_ms(&"demo", now_ms));
            now_ms += waits[waits.len() - 1];
            assert_eq!(throttle.wait_ms(&"demo", now_ms), 0, "the wait is over when it is over");
        }
        waits
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let ms = [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60].map(|seconds| seconds * 1_000);
        assert_eq!(waits(11), ms);
        let many = waits(200);
        assert!(many[10..].iter().all(|ms| *ms == 60_000), "no shift wraps around: {many:?}");
    }

    #[test]
    fn time_counts_towards_the_wait() {
        let mut throttle = Throttle::new(LIMITS);
        (0..6).for_each(|_| throttle.failed(&1, 10_000));
        assert_eq!(throttle.wait_ms(&1, 10_000), 4_000);
        assert_eq!(throttle.wait_ms(&1, 12_500), 1_500);
        assert_eq!(throttle.wait_ms(&1, 14_000), 0);
        assert_eq!(throttle.wait_ms(&2, 10_000), 0, "others do not wait");
    }

    #[test]
    fn a_success_or_a_long_silence_begins_anew() {
        let mut throttle = Throttle::new(LIMITS);
        (0..9).for_each(|_| throttle.failed(&1, 0));
        throttle.reset(&1);
        throttle.failed(&1, 0);
        assert_eq!(throttle.wait_ms(&1, 0), 0);
        (0..9).for_each(|_| throttle.failed(&1, 0));
        throttle.failed(&1, 900_001);
        assert_eq!(throttle.wait_ms(&1, 900_001), 0);
    }

    #[test]
    fn forgiving_takes_back_one_failure() {
        let mut throttle = Throttle::new(LIMITS);
        (0..5).for_each(|_| throttle.failed(&1, 0));
        assert_eq!(throttle.wait_ms(&1, 0), 2_000);
        throttle.forgive(&1);
        assert_eq!(throttle.wait_ms(&1, 0), 1_000);
        (0..9).for_each(|_| throttle.forgive(&1));
        assert_eq!(throttle.remembered(), 0);
    }

    #[test]
    fn the_oldest_is_forgotten_and_memory_stays_bounded() {
        let mut throttle = Throttle::new(LIMITS);
        (0..4).for_each(|_| throttle.failed(&0, 0));
        for key in 1..1_000_u64 {
            throttle.failed(&key, key);
            assert!(throttle.remembered() <= 4);
        }
        assert_eq!(throttle.wait_ms(&0, 0), 0);
        throttle.failed(&999, 1_000);
        assert_eq!(throttle.remembered(), 4);

        let mut recent = Recent::new(2);
        (0..5).for_each(|key| recent.meet(&key, key));
        assert!(recent.has(&3) && recent.has(&4) && !recent.has(&2));
        recent.meet(&3, 9);
        recent.meet(&5, 10);
        assert!(recent.has(&3) && !recent.has(&4));
    }
}
