//! One pass over everything that is missing: all of it is tried once, without waiting for any backoff.

use std::time::{Duration, Instant};

use crate::core::cluster::retry::Tried;
use crate::core::error::Result;
use crate::core::serve::operator::{LOOK_EVERY, Operator};
use crate::core::status::Debt;
use crate::core::types::{NODE_COUNT, NodeId};
use crate::core::wire::reports::Remaining;

/// A pass in which nothing moves for so long has come to its end.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// How a pass ended.
pub(super) struct Passed {
    /// What nodes lack and cannot be given now.
    pub(super) remaining: Vec<Remaining>,
    /// Pieces that were rebuilt in it.
    pub(super) healed: u64,
    /// What each node still lacks.
    pub(super) debts: [Debt; NODE_COUNT],
}

impl Passed {
    /// What all nodes together still lack.
    pub(super) fn owed(&self) -> Debt {
        total(&self.debts)
    }
}

pub(super) fn total(debts: &[Debt]) -> Debt {
    let mut sum = Debt::default();
    debts.iter().for_each(|debt| sum.add(*debt));
    sum
}

impl Operator {
    /// Has every missing piece tried once; `waiting` is called all the time, and ends the waiting when
    /// it gives false. `None` if it did.
    ///
    /// # Errors
    /// Those of `waiting`; those of any change, if this server may make none now; if the catalog cannot
    /// be read.
    pub(super) fn pass(&self, waiting: &mut dyn FnMut() -> Result<bool>) -> Result<Option<Passed>> {
        let (roster, repairs) = (&self.cluster.roster, &self.upkeep.repairs);
        let pieces = repairs.pieces();
        let wish = roster.retry().ask();
        self.cluster.notifier.notify();
        let moved = || (repairs.pieces(), repairs.bytes_read());
        let (mut seen, mut seen_at) = (moved(), Instant::now());
        while !self.all_tried(wish) && seen_at.elapsed() < STALLED_AFTER {
            roster.may_change()?;
            if !waiting()? {
                return Ok(None);
            }
            if moved() != seen {
                (seen, seen_at) = (moved(), Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let debts = self.cluster.catalog.debts()?;
        let remaining = NodeId::ALL.into_iter().filter_map(|id| {
            let owed = debts[id.index()];
            self.why_not(id, owed, wish).map(|(up, why)| Remaining { node: id, up, owed, why })
        });
        let healed = repairs.pieces() - pieces;
        Ok(Some(Passed { remaining: remaining.collect(), healed, debts }))
    }

    fn all_tried(&self, wish: u64) -> bool {
        let roster = &self.cluster.roster;
        roster.up().iter().all(|id| roster.retry().tried(id).asked >= wish)
    }

    /// Is the node up, and why can it not be given what it lacks? `None` if it can, as far as is known.
    fn why_not(&self, id: NodeId, owed: Debt, wish: u64) -> Option<(bool, String)> {
        if owed == Debt::default() {
            return None;
        }
        let roster = &self.cluster.roster;
        if !roster.up().contains(id) {
            let health = roster.health(id);
            let why = if health.why().is_empty() { "it is not up" } else { health.why() };
            return Some((false, why.to_owned()));
        }
        let Tried { asked, why } = roster.retry().tried(id);
        let why = if asked < wish { Some("it did not come to it".to_owned()) } else { why };
        why.map(|why| (true, why))
    }
}
