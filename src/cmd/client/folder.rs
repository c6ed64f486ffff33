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

use clap::Args;

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
}
