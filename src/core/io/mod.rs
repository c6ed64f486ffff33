//! The doors to the machine. Nothing else in `core` opens a file or a socket, but for SQLite, which
//! opens its own for `catalog`.
//!
//! What the system says when something fails becomes a person's words, by [`reason`]: no text
//! of the operating system, with its capital letter and its number, travels further.

pub mod attributes;
pub mod clock;
pub mod datagram;
pub mod disk;
pub mod frames;
pub mod http;
pub mod input;
pub mod listener;
pub mod monitor;
pub mod net;
pub mod pages;
pub mod private;
pub mod random;
pub mod send_queue;
mod socket;
pub mod spool;
pub mod terminal;
pub mod tls;
pub mod unix;

pub use crate::core::error::{is_shortage, reason};
