//! What `palk admin snapshot` and `palk admin purge` ask a running server for, and its answers.

use serde::{Deserialize, Serialize};

/// What is to be done with snapshots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum SnapshotAsk {
    /// Make one of the present state.
    Create {
        /// Its name.
        name: String,
        /// After how long it is removed by itself, in milliseconds; never without.
        keep_ms: Option<u64>,
    },
    /// List them: an item for each, a [`SnapshotLine`].
    List,
    /// Remove one.
    Delete {
        /// Its name.
        name: String,
    },
}

/// A snapshot in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotLine {
    /// Its name.
    pub name: String,
    /// What it is of, in microseconds since 1970.
    pub of_us: i64,
    /// When it is removed by itself, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// What a purge has come to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Purged {
    /// So many bytes were kept before, of all accounts that it was about.
    pub before_bytes: u64,
    /// So many are kept still: what snapshots have, and what is being read.
    pub after_bytes: u64,
}
