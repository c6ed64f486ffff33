//! The terminal that standard input is.

use std::io;

use rustix::termios::{QueueSelector, tcflush};

/// Forgets what was typed and has not been read yet. Of something else than a terminal nothing is
/// forgotten.
pub fn drop_typed_ahead() {
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}
