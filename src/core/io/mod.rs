//! The doors to the machine. Nothing else in `core` opens a file or a socket, but for SQLite, which
//! opens its own for `catalog`.
//!
//! What the system says when something fails becomes a person's words here, in [`reason`]: no text
//! of the operating system, with its capital letter and its number, travels further.

pub mod clock;
pub mod disk;
pub mod frames;
pub mod input;
pub mod listener;
pub mod net;
pub mod random;
pub mod send_queue;

use std::io::{Error, ErrorKind};

/// Why an operation of the system failed, as a person would say it: `connection refused`.
pub fn reason(error: &Error) -> String {
    let known = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset",
        ErrorKind::ConnectionAborted => "connection aborted",
        ErrorKind::BrokenPipe => "the other side has closed it",
        ErrorKind::HostUnreachable => "host unreachable",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::AddrInUse => "the address is in use",
        ErrorKind::AddrNotAvailable => "this machine does not have the address",
        ErrorKind::NotFound => "no such file or folder",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::AlreadyExists => "it already exists",
        ErrorKind::IsADirectory => "it is a folder",
        ErrorKind::NotADirectory => "a part of the path is not a folder",
        ErrorKind::StorageFull => "no space left on the disk",
        ErrorKind::QuotaExceeded => "the disk quota is used up",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time",
        _ => return plain(&error.to_string()),
    };
    known.to_owned()
}

/// A text of the system without its number, beginning as the middle of a sentence does.
fn plain(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_shows_a_number_of_the_system() {
        assert_eq!(reason(&Error::from_raw_os_error(111)), "connection refused");
        for number in 1..133 {
            let reason = reason(&Error::from_raw_os_error(number));
            assert!(!reason.contains("os error"), "{reason}");
            assert!(!reason.starts_with(char::is_uppercase), "{reason}");
        }
    }
}
