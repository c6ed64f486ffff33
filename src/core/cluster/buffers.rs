//! Stripe buffers that are used again and again.
//!
//! A fresh megabyte costs more in page faults than coding it does. Each transfer has at most
//! [`STRIPES_IN_FLIGHT_MAX`] of them, so its memory does not grow with the file; waiting for one is
//! where a fast client is slowed down to the speed of the slowest node.
//!
//! One of them is the transfer's own, the others are of [`SHARED_MAX`] for all transfers together. So
//! many transfers at once take little more than a stripe each, and none waits for what another holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::core::code::layout::STRIPE_BYTES_MAX;
use crate::core::error::Result;
use crate::core::io::pages::Pages;

/// Stripes that one transfer has in memory at most, its parity included.
pub(super) const STRIPES_IN_FLIGHT_MAX: usize = 6;

/// Stripes that all transfers together have in memory beside one for each: 96 MiB.
const SHARED_MAX: usize = 48;

/// Buffers that are kept for the next transfers.
const IDLE_MAX: usize = STRIPES_IN_FLIGHT_MAX;

/// Data and parity of one full stripe.
const FULL_BYTES: usize = 2 * STRIPE_BYTES_MAX;

/// The longest buffer that is not taken for a full stripe.
const SMALL_BYTES: usize = 64 << 10;

/// The memory of one stripe.
enum Bytes {
    Small(Vec<u8>),
    Full(Pages),
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Bytes::Small(bytes) => bytes,
            Bytes::Full(pages) => pages,
        }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        match self {
            Bytes::Small(bytes) => bytes,
            Bytes::Full(pages) => pages,
        }
    }
}

/// Buffers that nobody uses just now.
#[derive(Default)]
pub(super) struct BufferPool {
    idle: Mutex<Vec<Pages>>,
    /// How many of the shared ones are in use.
    shared: Mutex<usize>,
    given_back: Condvar,
}

impl BufferPool {
    /// A small file gets a small buffer; only full ones are kept.
    fn take(&self, bytes: usize) -> Result<Bytes> {
        if bytes <= SMALL_BYTES {
            return Ok(Bytes::Small(vec![0; bytes]));
        }
        let kept = self.idle.lock().pop();
        kept.map_or_else(|| Pages::new(FULL_BYTES), Ok).map(Bytes::Full)
    }

    fn give_back(&self, buffer: Bytes) {
        let Bytes::Full(buffer) = buffer else { return };
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(buffer);
        }
    }
}

/// The buffers that one transfer may have at a time.
pub(super) struct Allowance {
    pool: Arc<BufferPool>,
    leased: Arc<Leased>,
}

/// What a transfer has. Changed under the lock of the pool's count.
#[derive(Default)]
struct Leased {
    own: AtomicBool,
    shared: AtomicUsize,
}

impl Allowance {
    pub(super) fn new(pool: Arc<BufferPool>) -> Allowance {
        Allowance { pool, leased: Arc::default() }
    }

    /// A buffer for a stripe of units of this length; `None` if none becomes free in time. What is
    /// in it is of no meaning.
    ///
    /// # Errors
    /// If there is no memory left.
    pub(super) fn lease(
        &self,
        unit_bytes: usize,
        longest: Duration,
    ) -> Result<Option<StripeBuffer>> {
        let Some(is_own) = self.wait(longest) else { return Ok(None) };
        let mut lent = StripeBuffer {
            bytes: Bytes::Small(Vec::new()),
            unit_bytes,
            is_own,
            pool: self.pool.clone(),
            leased: self.leased.clone(),
        };
        lent.bytes = self.pool.take(8 * unit_bytes)?;
        Ok(Some(lent))
    }

    /// Waits until it may have one more; true for its own one.
    fn wait(&self, longest: Duration) -> Option<bool> {
        let deadline = Instant::now() + longest;
        let mut shared = self.pool.shared.lock();
        loop {
            if !self.leased.own.swap(true, Ordering::SeqCst) {
                return Some(true);
            }
            let own_shared = self.leased.shared.load(Ordering::SeqCst);
            if own_shared + 1 < STRIPES_IN_FLIGHT_MAX && *shared < SHARED_MAX {
                *shared += 1;
                self.leased.shared.fetch_add(1, Ordering::SeqCst);
                return Some(false);
            }
            if self.pool.given_back.wait_until(&mut shared, deadline).timed_out() {
                return None;
            }
        }
    }
}

/// The eight units of one stripe: A1 A2 B1 B2 O1 O2 O3 O4, one behind the other.
pub(super) struct StripeBuffer {
    bytes: Bytes,
    unit_bytes: usize,
    is_own: bool,
    pool: Arc<BufferPool>,
    leased: Arc<Leased>,
}

impl StripeBuffer {
    /// The first bytes of the data.
    pub(super) fn data(&self, bytes: usize) -> &[u8] {
        &self.bytes.all()[..bytes]
    }

    /// The data, then the parity.
    pub(super) fn halves(&mut self) -> (&mut [u8], &mut [u8]) {
        self.bytes.all_mut()[..8 * self.unit_bytes].split_at_mut(4 * self.unit_bytes)
    }

    /// One of the eight units.
    pub(super) fn unit(&self, index: usize) -> &[u8] {
        &self.bytes.all()[index * self.unit_bytes..(index + 1) * self.unit_bytes]
    }
}

impl Drop for StripeBuffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::replace(&mut self.bytes, Bytes::Small(Vec::new())));
        let mut shared = self.pool.shared.lock();
        if self.is_own {
            self.leased.own.store(false, Ordering::SeqCst);
        } else {
            self.leased.shared.fetch_sub(1, Ordering::SeqCst);
            *shared -= 1;
        }
        self.pool.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_waits_when_it_has_all_its_buffers() {
        let pool = Arc::new(BufferPool::default());
        let allowance = Allowance::new(pool.clone());
        let moment = Duration::from_millis(1);
        let unit_bytes = STRIPE_BYTES_MAX / 4;
        let mut leased: Vec<_> = (0..STRIPES_IN_FLIGHT_MAX)
            .map(|_| allowance.lease(unit_bytes, moment).unwrap().unwrap())
            .collect();
        assert!(allowance.lease(unit_bytes, moment).unwrap().is_none());
        leased.pop();
        assert!(allowance.lease(unit_bytes, moment).unwrap().is_some());
        drop(leased);
        assert_eq!(pool.idle.lock().len(), STRIPES_IN_FLIGHT_MAX);
    }

    #[test]
    fn many_transfers_at_once_stay_below_one_limit_and_each_gets_on() {
        let pool = Arc::new(BufferPool::default());
        let lease = |allowance: &Allowance| allowance.lease(1, Duration::ZERO).unwrap();
        let transfers: Vec<_> = (0..200).map(|_| Allowance::new(pool.clone())).collect();
        // As if a node had stalled: each takes all that it gets.
        let mut held: Vec<_> = transfers
            .iter()
            .map(|one| std::iter::from_fn(|| lease(one)).collect::<Vec<_>>())
            .collect();
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), 200 + SHARED_MAX);
        assert!(held.iter().all(|own| !own.is_empty()), "none waits for another");
        // What one has given back another gets.
        let first = held[0].len();
        held[0].clear();
        let more: Vec<_> = std::iter::from_fn(|| lease(&transfers[199])).collect();
        assert_eq!(more.len(), first - 1);
        let own: Vec<_> = std::iter::from_fn(|| lease(&transfers[0])).collect();
        assert_eq!(own.len(), 1, "its own, given back");
        drop((held, more, own));
        assert_eq!(*pool.shared.lock(), 0);
    }

    #[test]
    fn one_that_waits_is_woken_by_what_is_given_back() {
        let pool = Arc::new(BufferPool::default());
        let allowance = Allowance::new(pool);
        let long = Duration::from_secs(60);
        let all: Vec<_> = (0..STRIPES_IN_FLIGHT_MAX)
            .map(|_| allowance.lease(1, long).unwrap().unwrap())
            .collect();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| allowance.lease(1, long).unwrap().is_some());
            drop(all);
            assert!(waits.join().unwrap());
        });
    }

    #[test]
    fn a_small_file_takes_a_small_buffer() {
        let pool = Arc::new(BufferPool::default());
        let allowance = Allowance::new(pool.clone());
        let mut buffer = allowance.lease(89, Duration::ZERO).unwrap().unwrap();
        assert_eq!(buffer.bytes.all().len(), 8 * 89);
        assert_eq!(buffer.halves().0.len(), 4 * 89);
        assert_eq!(buffer.unit(7).len(), 89);
        drop(buffer);
        assert!(pool.idle.lock().is_empty());
    }
}
