//! Whole folders, there and back: `store -r`, `rtv -r`.
//!
//! ```text
//!   what there is to do ──┬─ connection 1 ── a file ── a file ──┐
//!   (an iterator)         ├─ connection 2 ── a file ── ...      ├─> told and counted as they end
//!                         └─ ...                                ┘
//! ```
//!
//! One file that fails stops no other. What fails in the same way for all of them, since the server has
//! gone, ends the whole.

mod count;
mod download;
mod pool;
mod upload;
mod walk;

use std::time::Duration;

use clap::Args;

use crate::cmd::parse_time;

pub(super) use download::{Download, download};
pub(super) use upload::{Upload, upload};
pub(super) use walk::Filter;

/// How many files travel at a time, and whether any does.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Manner {
    /// How many files travel at a time with -r, each over a connection of its own
    #[arg(long, value_name = "N", default_value_t = 4, requires = "recursive")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) transfers: u8,

    /// Only say what would be done with -r
    #[arg(short = 'n', long, requires = "recursive")]
    pub(super) dry_run: bool,

    /// How long to wait with -r for a server that cannot be reached any more
    #[arg(long, value_name = "TIME", default_value = "1m", requires = "recursive")]
    #[arg(value_parser = parse_wait)]
    pub(super) retry_for: Duration,
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    parse_time(text).ok_or_else(|| "a number and s, m or h (0s, 30s, 10m)".to_owned())
}
