//! SIGHUP as the request to read files again, which is what it means for a service.
//!
//! For a program at a terminal it means that the terminal has gone, and the program ends. Both are told
//! apart by whether there was a terminal and is none any more. The signal is blocked and waited for, so
//! that the handler for the signals that end the program does not see it.

use std::fs::File;
use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

/// Holds SIGHUP back until somebody waits for it.
pub struct Hangups {
    set: SigSet,
    has_terminal: bool,
}

impl Hangups {
    /// To be called before any other thread is started: threads have the mask of the one that starts them.
    ///
    /// # Errors
    /// That of the system.
    pub fn hold() -> io::Result<Hangups> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGHUP);
        set.thread_block()?;
        Ok(Hangups { set, has_terminal: has_terminal() })
    }

    /// Calls `reload` for each SIGHUP, in a thread of its own.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn each(self, reload: impl Fn() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name("hangup".to_owned());
        let spawned = thread.spawn(move || {
            while self.set.wait().is_ok() {
                if self.has_terminal && !has_terminal() {
                    // Where the handler that ends the program sees it.
                    let _ = self.set.thread_unblock().and_then(|()| raise(Signal::SIGHUP));
                    break;
                }
                reload();
            }
        });
        spawned.map(drop)
    }
}

fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
