//! The transfers of users, as a status tells them.

use serde::{Deserialize, Serialize};

/// What users move.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Transfers {
    /// Files on their way to the nodes.
    pub stores: Flow,
    /// Files on their way to users.
    pub retrievals: Flow,
    /// Those that run, the oldest first, for readers who may know their names.
    #[serde(default)]
    pub running: Vec<RunningTransfer>,
}

/// All transfers of one direction together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// How many run.
    pub running: u64,
    /// The bytes that they have moved since the server started, including transfers that have ended.
    pub bytes: u64,
}

/// The direction of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the nodes.
    Store,
    /// To the user.
    Retrieve,
}

/// A transfer that runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunningTransfer {
    /// Its number, which no other transfer has until the server is started again.
    pub id: u64,
    /// Which way the bytes go.
    pub direction: Direction,
    /// The file, `/USER/PATH`.
    pub name: String,
    /// How many bytes have moved.
    pub bytes: u64,
    /// How many bytes will move.
    pub total_bytes: u64,
    /// How long it has been running, in milliseconds.
    pub age_ms: u64,
}
