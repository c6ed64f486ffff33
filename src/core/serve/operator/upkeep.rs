//! What goes on in the background, gathered from the engines.

use std::time::Duration;

use crate::core::catalog::{Phase, Scrub};
use crate::core::cluster::replace;
use crate::core::cluster::scrub;
use crate::core::error::{Result, Trouble};
use crate::core::io::clock;
use crate::core::serve::operator::Operator;
use crate::core::status::{
    Backup, Cause, Debt, Healed, Placement, Replacing, ScrubPhase, Scrubbing, Upkeep,
};
use crate::core::types::{NODE_COUNT, NodeId};

impl Operator {
    pub(super) fn upkeep(&self) -> Result<Upkeep> {
        let now_ms = clock::now_ms();
        let scrub = self.upkeep.scrubs.progress()?;
        let repairs = &self.upkeep.repairs;
        let mut replacing = self.replacing()?;
        replacing.retain(|one| !one.done);
        Ok(Upkeep {
            next_scrub_ms: scrub.next_in.map(milliseconds),
            scrub: scrubbing(&scrub, now_ms),
            healed: Healed { pieces: repairs.pieces(), bytes_read: repairs.bytes_read() },
            replacing,
            kept: self.kept()?,
            backups: NodeId::ALL.map(|node| self.backup(node, now_ms)).into(),
        })
    }

    /// The last replacement of each node.
    pub(super) fn replacing(&self) -> Result<Vec<Replacing>> {
        let all = self.upkeep.replacements.progress()?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let catalog = &self.cluster.catalog;
        let (placements, debts) = (catalog.placements()?, catalog.debts()?);
        Ok(all.into_iter().map(|one| replacing(one, &placements, &debts)).collect())
    }

    fn backup(&self, node: NodeId, now_ms: i64) -> Backup {
        let snapshot = self.cluster.snapshots.progress()[node.index()].clone();
        Backup {
            node,
            behind: self.cluster.replication.behind(node),
            written_ms_ago: snapshot.written_ms.map(|at| between(at, now_ms)),
            why: snapshot.trouble,
        }
    }
}

/// How long it is from one moment to a later one, in milliseconds.
fn between(from_ms: i64, to_ms: i64) -> u64 {
    u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0)
}

fn cause(trouble: &Trouble) -> Cause {
    Cause { node: trouble.node, why: trouble.why.clone() }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn phase(phase: Phase) -> ScrubPhase {
    match phase {
        Phase::Inventory => ScrubPhase::Inventory,
        Phase::Files => ScrubPhase::Files,
        Phase::Mending => ScrubPhase::Mending,
        Phase::Done => ScrubPhase::Done,
        Phase::Stopped => ScrubPhase::Stopped,
    }
}

pub(super) fn scrubbing(progress: &scrub::Progress, now_ms: i64) -> Option<Scrubbing> {
    let found = progress.found;
    let scrub: &Scrub = progress.scrub.as_ref()?;
    let left_ms = progress.left.map(milliseconds);
    Some(Scrubbing {
        phase: phase(scrub.phase),
        witness: scrub.witness,
        files: scrub.files_done,
        files_all: scrub.files_all,
        bytes: scrub.bytes_done,
        bytes_all: scrub.bytes_all,
        bytes_per_second: progress.bytes_per_second.map(whole_bytes),
        left_ms,
        wrong: found.wrong,
        missing: found.missing,
        damaged: found.damaged,
        repaired: found.repaired,
        owed: found.owed,
        stray: progress.strays,
        removed: scrub.removed,
        foreign: scrub.foreign,
        unchecked: scrub.unchecked.iter().collect(),
        causes: progress.unchecked.0.iter().map(cause).collect(),
        ended_ms_ago: scrub.ended_ms.map(|at| between(at, now_ms)),
    })
}

/// A whole number of bytes is exact enough for a rate. What is out of range ends at the range's end.
#[expect(clippy::cast_possible_truncation)]
fn whole_bytes(rate: f64) -> u64 {
    rate as u64
}

fn replacing(
    progress: replace::Progress,
    placements: &[Placement],
    debts: &[Debt; NODE_COUNT],
) -> Replacing {
    let replace::Progress { replacement, owed, is_compared, proved, not_whole, .. } = progress;
    let node = replacement.node;
    let done = replacement.proved_ms.is_some();
    let held = placements.iter().filter(|placement| placement.placed.contains(node));
    let held_bytes: u64 = held.map(|placement| placement.bytes / 2).sum();
    let known_bytes = debts[node.index()].piece_bytes;
    let piece_bytes = held_bytes.saturating_add(known_bytes);
    // As long as it has not been compared, a new node counts as lacking everything.
    let (owed, owed_bytes) =
        if is_compared || done { (owed, known_bytes) } else { (replacement.pieces, piece_bytes) };
    Replacing {
        node,
        address: replacement.address,
        done,
        pieces: replacement.pieces,
        piece_bytes,
        owed,
        owed_bytes,
        proved,
        not_whole,
    }
}
