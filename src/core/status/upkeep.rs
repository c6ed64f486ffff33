//! What goes on in the background to keep the nodes whole, as it is told: scrubs, repairs, nodes that
//! are being replaced, the journal and the snapshots of the catalog.

use serde::{Deserialize, Serialize};

use crate::core::types::NodeId;

/// The work in the background.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Upkeep {
    /// The last scrub, or the one that is running; `None` if there has never been one.
    pub scrub: Option<Scrubbing>,
    /// How long until the next one begins by itself, in milliseconds; `None` if none does, or if
    /// one is running.
    pub next_scrub_ms: Option<u64>,
    /// What was repaired since the server was started.
    pub healed: Healed,
    /// Nodes that are being replaced.
    #[serde(default)]
    pub replacing: Vec<Replacing>,
    /// What is kept for undo and in snapshots.
    #[serde(default)]
    pub kept: Kept,
    /// The journal and the snapshot of the catalog on each node.
    #[serde(default)]
    pub backups: Vec<Backup>,
}

/// What is kept of what is not there any more.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// About how many bytes, of all accounts.
    pub bytes: u64,
    /// How many snapshots there are.
    pub snapshots: u64,
}

/// Where a scrub is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrubPhase {
    /// It compares what lies on the nodes with the catalog.
    Inventory,
    /// It has every piece of every file read.
    Files,
    /// It waits until what it found is mended.
    Mending,
    /// It has ended.
    Done,
    /// It was ended before it was through.
    Stopped,
    /// Something that this version does not know yet.
    #[default]
    #[serde(other)]
    Unknown,
}

/// How a scrub goes, or went.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Scrubbing {
    /// Where it is.
    pub phase: ScrubPhase,
    /// Does it compare the bytes of all nodes, and not their checksums only?
    pub witness: bool,
    /// Files that have been checked.
    pub files: u64,
    /// Files that there were when it began.
    pub files_all: u64,
    /// Bytes that have been checked, on all nodes together.
    pub bytes: u64,
    /// Bytes that there are to check, about.
    pub bytes_all: u64,
    /// Bytes that are read in a second; nothing while that is a guess.
    pub bytes_per_second: Option<u64>,
    /// When all is read at that rate, in milliseconds from now; nothing while that is a guess.
    pub left_ms: Option<u64>,
    /// Pieces whose bytes were wrong.
    pub wrong: u64,
    /// Pieces that were missing.
    pub missing: u64,
    /// Files whose nodes contradict each other, and nobody can say which is right.
    pub damaged: u64,
    /// Pieces that it found and that are in their place again.
    pub repaired: u64,
    /// Pieces that it found and that are still owed.
    pub owed: u64,
    /// Blocks of no file that lie there still.
    pub stray: u64,
    /// Blocks of no file that it has removed.
    pub removed: u64,
    /// Files that are no blocks of the node on which they lie; they stay.
    pub foreign: u64,
    /// The nodes of which something could not be checked.
    pub unchecked: Vec<NodeId>,
    /// Why that was, as far as it is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// How long ago it ended, in milliseconds; `None` if it is running.
    pub ended_ms_ago: Option<u64>,
}

/// Why something on a node could not be checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// Which node.
    pub node: NodeId,
    /// Why.
    pub why: String,
}

impl Scrubbing {
    /// How much it found not to be as it should.
    pub fn errors(&self) -> u64 {
        self.wrong + self.missing + self.damaged
    }

    /// Has it ended, and is everything as it should be now?
    pub fn is_clean(&self) -> bool {
        let is_done = self.phase == ScrubPhase::Done;
        is_done && self.unchecked.is_empty() && self.damaged == 0 && self.owed == 0
    }

    /// How much of it is done, in percent: 100 only when all is read.
    pub fn percent(&self) -> u64 {
        match self.phase {
            ScrubPhase::Inventory => 0,
            ScrubPhase::Mending | ScrubPhase::Done => 100,
            _ => (self.bytes.saturating_mul(100)).checked_div(self.bytes_all).unwrap_or(0).min(99),
        }
    }
}

/// What was repaired.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Healed {
    /// Pieces that were rebuilt.
    pub pieces: u64,
    /// Bytes that were read from other nodes for it: three units a stripe, four where only two nodes
    /// were left.
    pub bytes_read: u64,
}

/// How the replacement of a node goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replacing {
    /// Which node.
    pub node: NodeId,
    /// Where the new one is, `HOST:PORT`.
    pub address: String,
    /// Has every piece been read from its disk, and matched?
    pub done: bool,
    /// Pieces that it is to have.
    pub pieces: u64,
    /// Their bytes: half of each file.
    pub piece_bytes: u64,
    /// Pieces that it still lacks.
    pub owed: u64,
    /// Their bytes.
    pub owed_bytes: u64,
    /// Pieces that were read from its disk and matched, in the proof that is running or ran last.
    pub proved: u64,
    /// Files that the last proof could not vouch for.
    pub not_whole: u64,
}

/// How far a node's copy of the catalog is: its journal, and its snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backup {
    /// Which node.
    pub node: NodeId,
    /// Changes that its journal lacks; `None` if that is not known.
    pub behind: Option<u64>,
    /// How long ago it took a snapshot, in milliseconds; `None` if it has not since the server was
    /// started.
    pub written_ms_ago: Option<u64>,
    /// Why it did not take the last snapshot that it was sent, if it did not.
    pub why: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_is_at_a_hundred_percent_only_when_all_is_read() {
        let at =
            |phase, bytes, bytes_all| Scrubbing { phase, bytes, bytes_all, ..Scrubbing::default() };
        assert_eq!(at(ScrubPhase::Inventory, 0, 0).percent(), 0);
        assert_eq!(at(ScrubPhase::Files, 41, 100).percent(), 41);
        assert_eq!(at(ScrubPhase::Files, 0, 0).percent(), 0);
        assert_eq!(at(ScrubPhase::Files, 120, 100).percent(), 99, "the estimate was too low");
        assert_eq!(at(ScrubPhase::Files, u64::MAX, u64::MAX).percent(), 1, "and never too much");
        assert_eq!(at(ScrubPhase::Mending, 0, 0).percent(), 100);
    }

    #[test]
    fn clean_is_what_was_looked_at_and_mended() {
        let clean = Scrubbing { phase: ScrubPhase::Done, wrong: 2, repaired: 2, ..<_>::default() };
        assert!(clean.is_clean());
        for not in [
            Scrubbing { phase: ScrubPhase::Stopped, ..clean.clone() },
            Scrubbing { owed: 1, ..clean.clone() },
            Scrubbing { damaged: 1, ..clean.clone() },
            Scrubbing { unchecked: vec![NodeId::ALL[0]], ..clean.clone() },
        ] {
            assert!(!not.is_clean(), "{not:?}");
        }
    }
}
