//! A terminal that is read from.

use std::os::fd::AsFd;

use rustix::termios::{QueueSelector, tcflush};

/// Forgets what was typed and has not been read yet. Of something else than a terminal nothing is
/// forgotten.
pub fn drop_typed_ahead(terminal: impl AsFd) {
    let _ = tcflush(terminal, QueueSelector::IFlush);
}
