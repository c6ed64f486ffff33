//! Stripe buffers that are used again and again.
//!
//! A fresh megabyte costs more in page faults than coding it does. Each transfer has at most
//! [`STRIPES_IN_FLIGHT_MAX`] of them, so its memory does not grow with the file; waiting for one is
//! where a fast client is slowed down to the speed of the slowest node.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::core::code::layout::STRIPE_BYTES_MAX;

/// Stripes that one transfer has in memory at most, its parity included.
pub(super) const STRIPES_IN_FLIGHT_MAX: usize = 6;

/// Buffers that are kept for the next transfers.
const IDLE_MAX: usize = 24;

/// Data and parity of one full stripe.
const FULL_BYTES: usize = 2 * STRIPE_BYTES_MAX;

/// Buffers that nobody uses just now.
#[derive(Default)]
pub(super) struct BufferPool {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    fn take(&self, bytes: usize) -> Vec<u8> {
        // A small file gets a small buffer; only full ones are kept.
        let kept = if bytes > FULL_BYTES / 4 { self.idle.lock().pop() } else { None };
        let mut buffer = kept.unwrap_or_default();
        if buffer.len() < bytes {
            buffer = vec![0; if bytes > FULL_BYTES / 4 { FULL_BYTES } else { bytes }];
        }
        buffer
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.idle.lock();
        if buffer.len() == FULL_BYTES && idle.len() < IDLE_MAX {
            idle.push(buffer);
        }
    }
}

/// The buffers that one transfer may have at a time.
pub(super) struct Allowance {
    pool: Arc<BufferPool>,
    free: Receiver<()>,
    give_back: Sender<()>,
}

impl Allowance {
    pub(super) fn new(pool: Arc<BufferPool>) -> Allowance {
        let (give_back, free) = bounded(STRIPES_IN_FLIGHT_MAX);
        for _ in 0..STRIPES_IN_FLIGHT_MAX {
            let _ = give_back.try_send(());
        }
        Allowance { pool, free, give_back }
    }

    /// A buffer for a stripe of units of this length; `None` if none becomes free in time. What is
    /// in it is of no meaning.
    pub(super) fn lease(&self, unit_bytes: usize, longest: Duration) -> Option<StripeBuffer> {
        self.free.recv_timeout(longest).ok()?;
        Some(StripeBuffer {
            bytes: self.pool.take(8 * unit_bytes),
            unit_bytes,
            pool: self.pool.clone(),
            give_back: self.give_back.clone(),
        })
    }
}

/// The eight units of one stripe: A1 A2 B1 B2 O1 O2 O3 O4, one behind the other.
pub(super) struct StripeBuffer {
    bytes: Vec<u8>,
    unit_bytes: usize,
    pool: Arc<BufferPool>,
    give_back: Sender<()>,
}

impl StripeBuffer {
    /// The data, then the parity.
    pub(super) fn halves(&mut self) -> (&mut [u8], &mut [u8]) {
        self.bytes[..8 * self.unit_bytes].split_at_mut(4 * self.unit_bytes)
    }

    /// One of the eight units.
    pub(super) fn unit(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.unit_bytes..(index + 1) * self.unit_bytes]
    }
}

impl Drop for StripeBuffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
        let _ = self.give_back.try_send(());
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
            .map(|_| allowance.lease(unit_bytes, moment).unwrap())
            .collect();
        assert!(allowance.lease(unit_bytes, moment).is_none());
        leased.pop();
        assert!(allowance.lease(unit_bytes, moment).is_some());
        drop(leased);
        assert_eq!(pool.idle.lock().len(), STRIPES_IN_FLIGHT_MAX);
    }

    #[test]
    fn a_small_file_takes_a_small_buffer() {
        let pool = Arc::new(BufferPool::default());
        let allowance = Allowance::new(pool.clone());
        let mut buffer = allowance.lease(89, Duration::ZERO).unwrap();
        assert_eq!(buffer.bytes.len(), 8 * 89);
        assert_eq!(buffer.halves().0.len(), 4 * 89);
        assert_eq!(buffer.unit(7).len(), 89);
        drop(buffer);
        assert!(pool.idle.lock().is_empty());
    }
}
