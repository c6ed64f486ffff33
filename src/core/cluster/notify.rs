//! Wakes the threads that work in the background when there is something for them to do.
//!
//! Its tests are in `tests/interleavings.rs`, which explores this file.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::core::cluster::spawn;
use crate::core::error::Result;

/// A worker that has nothing to do looks again no sooner than this, however often it is notified.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Notifies all who listen. Clones share their listeners.
#[derive(Clone, Default)]
pub struct Notifier {
    listeners: Arc<Mutex<Vec<Sender<()>>>>,
}

impl Notifier {
    /// One more listener. Notifications that come while it is busy are one when it looks.
    pub fn listen(&self) -> Receiver<()> {
        let (notify, notified) = bounded(1);
        self.listeners.lock().push(notify);
        notified
    }

    /// Wakes all listeners; those that are at work look again afterwards.
    pub fn notify(&self) {
        for listener in self.listeners.lock().iter() {
            // A full channel means that it has been notified already.
            let _ = listener.try_send(());
        }
    }

    /// Starts a thread that runs rounds: the next one at once after one that gives true, else when it
    /// is notified, or after `every`. A round is told how long the thread has been running.
    pub(super) fn run_rounds(
        &self,
        name: &str,
        every: Duration,
        mut round: impl FnMut(Duration) -> bool + Send + 'static,
    ) -> Result<()> {
        let (notified, start) = (self.listen(), Instant::now());
        spawn(name, move || {
            if !round(start.elapsed()) {
                thread::sleep(PAUSE_MIN.min(every));
                let _ = notified.recv_timeout(every.saturating_sub(PAUSE_MIN));
            }
            true
        })
    }
}
