//! Whole folders, there and back: `store -r`, `rtv -r`; and what differs between two: `check`, `sync`.
//!
//! ```text
//!   what there is to do ──┬─ connection 1 ── a file ── a file ──┐
//!   (an iterator)         ├─ connection 2 ── a file ── ...      ├─> told and counted as they end
//!                         └─ ...                                ┘
//! ```
//!
//! One file that fails stops no other. What fails in the same way for all of them, since the server has
//! gone, ends the whole.

mod check;
mod compare;
mod count;
mod download;
mod judge;
mod plan;
mod pool;
mod sides;
mod sync;
mod trees;
mod upload;
mod walk;

use clap::{Arg, Args};

pub(super) use check::check;
pub(super) use download::{Download, download};
pub(super) use plan::Direction;
pub(super) use sync::{Sync, sync};
pub(super) use upload::{Upload, upload};
pub(super) use walk::{Filter, Links};

/// So many files travel at a time where nobody says otherwise.
const TRANSFERS: u8 = 4;

/// How many files travel at a time, and whether any does.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Manner {
    /// How many files travel at a time, each over a connection of its own
    #[arg(long, value_name = "N", default_value_t = TRANSFERS)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) transfers: u8,

    /// Only say what would be done
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { transfers: TRANSFERS, dry_run: false }
    }
}

/// What belongs to whole folders, where a verb takes them only with `-r`.
pub(super) fn only_with_recursive(arg: Arg) -> Arg {
    const OWN: [&str; 7] =
        ["exclude", "include", "exclude_from", "links", "unsafe_links", "transfers", "dry_run"];
    match OWN.contains(&arg.get_id().as_str()) {
        true => arg.requires("recursive").help_heading("With -r"),
        false => arg,
    }
}
