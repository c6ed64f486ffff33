//! What the verbs of `palk admin` come to, and what they tell about on the way: the fields of their
//! lines (see [`admin`](crate::core::wire::admin)).

use serde::{Deserialize, Serialize};

use crate::core::status::{Debt, Replacing, Scrubbing};
use crate::core::types::NodeId;

/// What `scrub` comes to.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Scrubbed {
    /// Was it running already?
    pub joined: bool,
    /// How it went, or goes if nobody waits; `None` if there has never been one.
    pub scrub: Option<Scrubbing>,
    /// What it found beyond what was told as items.
    pub untold: u64,
    /// What keeps its repairs from being done now, if something does.
    #[serde(default)]
    pub remaining: Vec<Remaining>,
}

/// An item: a file about which something is to be said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// What: `wrong`, `missing`, `damaged` (found by a scrub), `not-whole` (on a node that
    /// is being replaced), `would-be-lost` (if a node were).
    pub what: String,
    /// On which node; `None` if that cannot be told.
    pub node: Option<NodeId>,
    /// The file, `/USER/PATH`.
    pub path: String,
}

/// What a node lacks and cannot be given now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remaining {
    /// Which node.
    pub node: NodeId,
    /// Is it there?
    pub up: bool,
    /// What it lacks.
    pub owed: Debt,
    /// Why it cannot be given that.
    pub why: String,
}

/// What `heal` comes to, and how far it is.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Healing {
    /// Pieces that were rebuilt since it was asked.
    pub pieces: u64,
    /// Bytes that were read from other nodes for it.
    pub bytes_read: u64,
    /// What all nodes together still lack.
    pub owed: Debt,
    /// What cannot be done now.
    #[serde(default)]
    pub remaining: Vec<Remaining>,
}

/// What `replace` comes to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replaced {
    /// Was it in progress already?
    pub resumed: bool,
    /// How it stands.
    pub replacing: Replacing,
    /// Why it is not done yet, if it is not; it goes on.
    pub why: Option<String>,
    /// Files that are not whole beyond those that were told as items.
    pub untold: u64,
}

/// What `backup` comes to.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct BackedUp {
    /// The nodes that hold a snapshot of what the catalog was when it was asked.
    pub nodes: Vec<NodeId>,
    /// The others, and why.
    pub without: Vec<Without>,
}

/// A node without the new snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Without {
    /// Which.
    pub node: NodeId,
    /// Why.
    pub why: String,
}
