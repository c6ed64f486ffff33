//! What `parking_lot` and `crossbeam_channel` offer, as far as the explored files use it, made from
//! Shuttle's locks. Shuttle decides at each of them which thread goes on.
//!
//! No wait ends because time has passed: whoever is not woken waits for ever, and Shuttle reports that all
//! are blocked. So a wake-up that is lost is found, however soon a real wait would have ended by itself.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use shuttle::sync::{self as explored, mpsc};

#[derive(Default)]
pub(crate) struct Mutex<T>(explored::Mutex<T>);

/// It can be given up and taken again in place, by a [`Condvar`].
pub(crate) struct MutexGuard<'a, T>(Option<explored::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(explored::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is taken again before the wait returns")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is taken again before the wait returns")
    }
}

#[derive(Default)]
pub(crate) struct Condvar(explored::Condvar);

pub(crate) struct WaitTimeoutResult;

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        false
    }
}

impl Condvar {
    pub(crate) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        _deadline: Instant,
    ) -> WaitTimeoutResult {
        let held = guard.0.take().expect("a lock is held by whoever waits");
        guard.0 = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        WaitTimeoutResult
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[derive(Default)]
pub(crate) struct RwLock<T>(explored::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> explored::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> explored::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Sender<T>(mpsc::SyncSender<T>);

pub(crate) struct Receiver<T>(mpsc::Receiver<T>);

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(capacity);
    (Sender(sender), Receiver(receiver))
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, value: T) -> Result<(), mpsc::TrySendError<T>> {
        self.0.try_send(value)
    }
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, mpsc::TryRecvError> {
        self.0.try_recv()
    }

    pub(crate) fn recv_timeout(&self, longest: Duration) -> Result<T, mpsc::RecvTimeoutError> {
        self.0.recv_timeout(longest)
    }
}
