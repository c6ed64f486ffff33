//! How the cluster is, judged from facts: can every file be read, can files be stored, how many more
//! nodes may be lost, and what is wrong.
//!
//! ```text
//!   a file is readable      if two of the nodes that hold it are up and can be relied on
//!   more nodes may be lost  by as many as the worst placed file has beyond two
//!   UNAVAILABLE             some file cannot be read now            exit status 21
//!   DEGRADED                something else is wrong or missing                  20
//!   HEALTHY                 nothing is                                           0
//! ```
//!
//! Pure. A node whose pieces have not been compared with the catalog, or whose journal is behind,
//! counts for nothing here, whatever the catalog says that it holds.

mod transfers;
mod upkeep;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::health::State as NodeState;
use crate::core::types::{NODE_COUNT, NodeId, NodeSet, READ_QUORUM, WRITE_QUORUM};
use crate::core::wire::node::{DiskTrouble, Room};

pub use transfers::{Direction, Flow, RunningTransfer, Transfers};
pub use upkeep::{Backup, Cause, Healed, Kept, Replacing, ScrubPhase, Scrubbing, Upkeep};

/// A disk with less room than this above its reserve is nearly full.
const NEARLY_FULL_BYTES: u64 = 1 << 30;

/// On a small disk: with less than one part in so many.
const NEARLY_FULL_PART: u64 = 20;

/// How long a node has, from coming up, to take a snapshot of the catalog.
const SNAPSHOT_GRACE: Duration = Duration::from_secs(120);

/// The files that lie on exactly these nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The nodes that hold their pieces.
    pub placed: NodeSet,
    /// How many.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
}

/// The pieces that a node still has to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Debt {
    /// Pieces that it lacks.
    pub pieces: u64,
    /// The bytes of those pieces: half of each file.
    pub piece_bytes: u64,
}

impl Debt {
    /// Counts another debt in.
    pub fn add(&mut self, other: Debt) {
        self.pieces = self.pieces.saturating_add(other.pieces);
        self.piece_bytes = self.piece_bytes.saturating_add(other.piece_bytes);
    }

    /// Counts what is settled out.
    pub fn subtract(&mut self, other: Debt) {
        self.pieces = self.pieces.saturating_sub(other.pieces);
        self.piece_bytes = self.piece_bytes.saturating_sub(other.piece_bytes);
    }
}

/// Can what the catalog says of a node's pieces be relied on?
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// Yes.
    #[default]
    Full,
    /// It may lack pieces that the catalog places on it: the two are being compared.
    Gap,
    /// Its journal lacks what was decided a while ago; why, if that is known.
    Behind(String),
}

/// What is known of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeFacts {
    /// Where it is looked for.
    pub address: String,
    /// Is it there?
    pub state: NodeState,
    /// Why it is not up; empty if it is.
    pub why: String,
    /// For how long it has been so.
    pub since: Duration,
    /// How long ago it last answered, if it ever did.
    pub silent: Option<Duration>,
    /// The room on its disk, if it is known.
    pub room: Option<Room>,
    /// What is wrong with its disk, by its last answer.
    pub disk: Option<DiskTrouble>,
    /// What it lacks.
    pub owed: Debt,
    /// Why something of that could not be rebuilt at the last try.
    pub owed_why: Option<String>,
    /// How often it turned out not to hold a piece, or to hold it damaged.
    pub errors: u64,
    /// Can it be relied on?
    pub trust: Trust,
    /// Why it did not take a snapshot of the catalog the last time, if it did not.
    pub snapshot_refused: Option<String>,
}

/// All that a judgement needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Nodes 1 to 4.
    pub nodes: [NodeFacts; NODE_COUNT],
    /// Where the files lie.
    pub placements: Vec<Placement>,
    /// Does the server lead the cluster? Before, it changes nothing.
    pub is_leading: bool,
    /// Is there a change that nobody knows to be made or not?
    pub change_in_doubt: bool,
    /// Has the catalog stopped writing, because a commit on its disk failed half-way?
    pub catalog_in_doubt: bool,
    /// Is the disk of the server's folder too full to add anything?
    pub catalog_full: bool,
}

impl Facts {
    /// The nodes that are up, or can be used at need.
    pub fn up(&self) -> NodeSet {
        NodeId::ALL.into_iter().filter(|id| answers(&self.nodes[id.index()])).collect()
    }

    /// Those of them that can be relied on.
    pub fn trusted(&self) -> NodeSet {
        self.up().iter().filter(|id| self.nodes[id.index()].trust == Trust::Full).collect()
    }

    /// Where files lie that cannot be read now.
    pub fn unreadable(&self) -> impl Iterator<Item = &Placement> {
        let trusted = self.trusted();
        self.placements.iter().filter(move |placement| {
            placement.files > 0 && placement.placed.and(trusted).len() < READ_QUORUM
        })
    }

    /// How many files no node that comes back makes readable.
    fn damaged(&self) -> u64 {
        let few = self.placements.iter().filter(|one| one.placed.len() < READ_QUORUM);
        few.map(|placement| placement.files).fold(0, u64::saturating_add)
    }
}

/// The judgement in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All is well.
    Healthy,
    /// Something is wrong or missing, but every file can be read.
    Degraded,
    /// Some file cannot be read now.
    Unavailable,
}

impl State {
    /// The exit status of a command that asked for it.
    pub fn exit_status(self) -> u8 {
        match self {
            State::Healthy => 0,
            State::Degraded => 20,
            State::Unavailable => 21,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Trouble {
    /// Files cannot be read now.
    Unreadable {
        /// How many.
        files: u64,
    },
    /// Files cannot be read: fewer than two nodes hold what was stored, whether they are up or not.
    Damaged {
        /// How many.
        files: u64,
    },
    /// A node is not there.
    NodeAway {
        /// Which.
        node: NodeId,
        /// How long ago it last answered, in milliseconds; `None` if it never did.
        silent_ms: Option<u64>,
        /// Why, as far as it is known.
        why: String,
    },
    /// The catalog writes nothing more until the server is started again.
    CatalogInDoubt,
    /// The disk of the server's folder is full: files can be read and deleted, and nothing is added.
    ServerFull,
    /// A change is on fewer than three nodes; until it is settled nothing is changed.
    ChangeInDoubt,
    /// Enough nodes are there, and the server has not taken up their journals.
    NotLeading,
    /// A node may lack pieces that the catalog places on it; it counts for nothing meanwhile.
    NodeCatchingUp {
        /// Which.
        node: NodeId,
    },
    /// Nodes lack pieces.
    PiecesOwed {
        /// Which nodes.
        nodes: Vec<NodeId>,
        /// How many pieces.
        pieces: u64,
        /// Their bytes.
        bytes: u64,
        /// Why one of them could not be rebuilt at the last try.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Something is wrong with a node's disk or folder, while the node itself answers.
    NodeDisk {
        /// Which.
        node: NodeId,
        /// What.
        cause: DiskTrouble,
    },
    /// A node takes no new pieces, or not many more.
    NodeFull {
        /// Which.
        node: NodeId,
        /// Bytes that are left for new pieces.
        spare_bytes: u64,
    },
    /// A node answers, but was late again and again.
    NodeUnsteady {
        /// Which.
        node: NodeId,
        /// How often.
        why: String,
    },
    /// A node that is up does not take the journal, or no snapshot of the catalog.
    JournalBehind {
        /// Which.
        node: NodeId,
        /// Why; empty if that is not known.
        why: String,
    },
    /// Something that this version does not know yet.
    #[serde(other)]
    Unknown,
}

/// What is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// Files of all users.
    pub count: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// How many of them cannot be read now.
    pub unreadable: u64,
}

/// How a node is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Which.
    pub node: NodeId,
    /// Is it there?
    pub state: NodeState,
    /// Where it is looked for.
    pub address: String,
    /// How long ago it last answered, in milliseconds; `None` if it never did.
    pub silent_ms: Option<u64>,
    /// The room on its disk, if it is known.
    pub room: Option<Room>,
    /// How often it turned out not to hold a piece, or to hold it damaged.
    pub errors: u64,
    /// What it lacks.
    pub owed: Debt,
    /// Can it be relied on? One that is up and is not counts for nothing.
    #[serde(default = "yes")]
    pub trusted: bool,
}

fn yes() -> bool {
    true
}

/// How the cluster is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// Can files be stored now?
    pub can_store: bool,
    /// How many more nodes may be lost, whichever they are, and every file can still be read.
    pub nodes_to_spare: usize,
    /// What is stored.
    pub files: Stored,
    /// What all nodes together lack.
    pub owed: Debt,
    /// What is wrong, the worst first.
    pub troubles: Vec<Trouble>,
    /// Nodes 1 to 4.
    pub nodes: Vec<NodeStatus>,
    /// Some of the files that cannot be read, for those who may know their names.
    #[serde(default)]
    pub unreadable: Vec<String>,
    /// What goes on in the background; nothing from a server that does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upkeep: Option<Upkeep>,
    /// What users move; `None` from a server that does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfers: Option<Transfers>,
    /// Which version of Palk the server is; nothing from one that does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What its clock said when it answered, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_ms: Option<i64>,
}

impl Status {
    /// Judges the facts; no file is named, and nothing is said of the background and of transfers.
    pub fn judge(facts: &Facts) -> Status {
        let up = facts.up();
        let sum = |of: fn(&Placement) -> u64| {
            facts.placements.iter().map(of).fold(0, u64::saturating_add)
        };
        let unreadable = facts.unreadable().map(|placement| placement.files).sum();
        let troubles = troubles(facts, unreadable);
        let state = match troubles.as_slice() {
            _ if unreadable > 0 => State::Unavailable,
            [] => State::Healthy,
            _ => State::Degraded,
        };
        let mut owed = Debt::default();
        facts.nodes.iter().for_each(|node| owed.add(node.owed));
        let takers = up.iter().filter(|id| takes_pieces(&facts.nodes[id.index()])).count();
        Status {
            state,
            can_store: takers >= WRITE_QUORUM && may_add(facts),
            nodes_to_spare: nodes_to_spare(facts),
            files: Stored {
                count: sum(|placement| placement.files),
                bytes: sum(|placement| placement.bytes),
                unreadable,
            },
            owed,
            troubles,
            nodes: NodeId::ALL.map(|id| node_status(id, &facts.nodes[id.index()])).into(),
            unreadable: Vec::new(),
            upkeep: None,
            transfers: None,
            version: None,
            now_ms: None,
        }
    }
}

/// May new pieces go to a node that is up?
fn takes_pieces(facts: &NodeFacts) -> bool {
    let is_writable = matches!(facts.disk, None | Some(DiskTrouble::Failing(_)));
    is_writable && facts.room.is_none_or(|room| room.spare_bytes > 0)
}

/// Can the server add anything now, if enough nodes are there?
fn may_add(facts: &Facts) -> bool {
    facts.is_leading && !facts.change_in_doubt && !facts.catalog_in_doubt && !facts.catalog_full
}

/// The file that is worst off decides; where there is none, one that would be stored on what is up.
fn nodes_to_spare(facts: &Facts) -> usize {
    let trusted = facts.trusted();
    let holders = facts.placements.iter().filter(|placement| placement.files > 0);
    let worst = holders.map(|placement| placement.placed.and(trusted).len()).min();
    worst.unwrap_or(trusted.len()).saturating_sub(READ_QUORUM)
}

fn node_status(node: NodeId, facts: &NodeFacts) -> NodeStatus {
    NodeStatus {
        node,
        state: facts.state,
        address: facts.address.clone(),
        silent_ms: facts.silent.map(milliseconds),
        room: facts.room,
        errors: facts.errors,
        owed: facts.owed,
        trusted: facts.trust == Trust::Full,
    }
}

/// Is it there, steady or not?
fn answers(facts: &NodeFacts) -> bool {
    matches!(facts.state, NodeState::Up | NodeState::Probation)
}

fn troubles(facts: &Facts, unreadable: u64) -> Vec<Trouble> {
    let each = || NodeId::ALL.into_iter().zip(&facts.nodes);
    let mut all = Vec::new();
    let damaged = facts.damaged();
    if unreadable > damaged {
        all.push(Trouble::Unreadable { files: unreadable - damaged });
    }
    if damaged > 0 {
        all.push(Trouble::Damaged { files: damaged });
    }
    if facts.catalog_in_doubt {
        all.push(Trouble::CatalogInDoubt);
    }
    if facts.catalog_full {
        all.push(Trouble::ServerFull);
    }
    if facts.change_in_doubt {
        all.push(Trouble::ChangeInDoubt);
    }
    if !facts.is_leading && facts.up().len() >= WRITE_QUORUM {
        all.push(Trouble::NotLeading);
    }
    all.extend(each().filter(|(_, facts)| !answers(facts)).map(|(node, facts)| {
        let silent_ms = facts.silent.map(milliseconds);
        Trouble::NodeAway { node, silent_ms, why: facts.why.clone() }
    }));
    all.extend(
        each()
            .filter(|(_, facts)| facts.state == NodeState::Probation)
            .map(|(node, facts)| Trouble::NodeUnsteady { node, why: facts.why.clone() }),
    );
    all.extend(each().filter(|(_, facts)| answers(facts)).filter_map(|(node, facts)| {
        match &facts.trust {
            Trust::Full => None,
            Trust::Gap => Some(Trouble::NodeCatchingUp { node }),
            Trust::Behind(why) => Some(Trouble::JournalBehind { node, why: why.clone() }),
        }
    }));
    all.extend(each().filter(|(_, facts)| answers(facts)).filter_map(|(node, facts)| {
        let cause = facts.disk.clone()?;
        Some(Trouble::NodeDisk { node, cause })
    }));
    let is_known_to_fill = |facts: &NodeFacts| {
        matches!(facts.disk, Some(DiskTrouble::NoInodes | DiskTrouble::Full(_)))
    };
    let may_fill = each().filter(|(_, facts)| answers(facts) && !is_known_to_fill(facts));
    all.extend(may_fill.filter_map(|(node, facts)| {
        let room = facts.room?;
        let enough = NEARLY_FULL_BYTES.min(room.total_bytes / NEARLY_FULL_PART);
        let spare_bytes = room.spare_bytes;
        (spare_bytes < enough).then_some(Trouble::NodeFull { node, spare_bytes })
    }));
    let lacking = each().filter(|(_, facts)| facts.owed.pieces > 0);
    let nodes: Vec<NodeId> = lacking.map(|(node, _)| node).collect();
    if !nodes.is_empty() {
        let pieces = facts.nodes.iter().map(|facts| facts.owed.pieces).sum();
        let bytes = facts.nodes.iter().map(|facts| facts.owed.piece_bytes).sum();
        let mut reasons = nodes.iter().filter(|id| answers(&facts.nodes[id.index()]));
        let why = reasons.find_map(|id| facts.nodes[id.index()].owed_why.clone());
        all.push(Trouble::PiecesOwed { nodes, pieces, bytes, why });
    }
    let is_due = |facts: &NodeFacts| {
        answers(facts) && facts.trust == Trust::Full && facts.since >= SNAPSHOT_GRACE
    };
    all.extend(each().filter(|(_, facts)| is_due(facts)).filter_map(|(node, facts)| {
        let why = facts.snapshot_refused.clone()?;
        Some(Trouble::JournalBehind { node, why })
    }));
    all
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
