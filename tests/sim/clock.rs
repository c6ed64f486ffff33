//! The clocks by which servers date what they do: each server's machine has its own, which may be wrong by
//! days and be set while the server runs. What servers and nodes wait by is another one, which only goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// When the simulated time begins, in microseconds since 1970.
const BEGUN_US: i64 = 1_700_000_000_000_000;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;

/// The clock of a server's machine.
#[derive(Clone)]
pub(crate) struct Clock {
    /// For how long the simulation runs, in milliseconds.
    passed: Arc<AtomicU64>,
    /// By how much it is fast.
    wrong_us: Arc<AtomicI64>,
    /// The latest time that any server was told.
    latest_us: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that is right.
    pub(crate) fn new(passed: Arc<AtomicU64>) -> Clock {
        Clock { passed, wrong_us: Arc::default(), latest_us: Arc::default() }
    }

    /// One of another machine.
    pub(crate) fn another(&self, wrong_us: i64) -> Clock {
        Clock { wrong_us: Arc::new(AtomicI64::new(wrong_us)), ..self.clone() }
    }

    /// What it shows, in microseconds since 1970.
    pub(crate) fn now_us(&self) -> i64 {
        let passed_ms = i64::try_from(self.passed.load(Ordering::SeqCst)).unwrap();
        BEGUN_US + 1000 * passed_ms + self.wrong_us.load(Ordering::SeqCst)
    }

    /// The same, told to a server that decides something by it.
    pub(crate) fn tell(&self) -> i64 {
        let now_us = self.now_us();
        self.latest_us.fetch_max(now_us, Ordering::SeqCst);
        now_us
    }

    /// The latest time that any server was told.
    pub(crate) fn latest_us(&self) -> i64 {
        self.latest_us.load(Ordering::SeqCst)
    }

    /// Somebody sets it.
    pub(crate) fn set_off(&self, by_us: i64) {
        tracing::info!("a clock is set by {} s", by_us / SECOND_US);
        self.wrong_us.fetch_add(by_us, Ordering::SeqCst);
    }
}

/// By how much a clock is set, or is wrong: by seconds, hours or days.
pub(crate) fn some_time_us(random: &mut StdRng) -> i64 {
    let by_us = match random.random_range(0..3) {
        0 => random.random_range(1..90) * SECOND_US,
        1 => random.random_range(1..24) * HOUR_US,
        _ => random.random_range(1..30) * 24 * HOUR_US,
    };
    if random.random_bool(0.5) { by_us } else { -by_us }
}

/// By how much the clock of the n-th server is wrong: mostly by nothing.
pub(crate) fn wrong_of(seed: u64, number: u64) -> i64 {
    let mut random = StdRng::seed_from_u64(seed ^ (number << 40));
    if random.random_ratio(2, 3) { 0 } else { some_time_us(&mut random) }
}
