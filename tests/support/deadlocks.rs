//! Ends a test in which locks wait for each other for ever, and says where they do.

use std::io::{self, Write};
use std::process;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use parking_lot::deadlock;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Watches the locks of this process from now on.
pub(crate) fn watch() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(LOOK_EVERY);
                let found = deadlock::check_deadlock();
                if !found.is_empty() {
                    // What a test prints is kept back and lost now; this is not.
                    let mut out = io::stderr().lock();
                    for stuck in found.iter().flatten() {
                        let (id, place) = (stuck.thread_id(), stuck.backtrace());
                        let _ = writeln!(out, "deadlock: {id:?} waits for ever\n{place:?}");
                    }
                    process::abort();
                }
            }
        });
    });
}
