//! One pass over everything that is owed: all of it is tried once, without waiting for any pause.

use std::time::{Duration, Instant};

use crate::core::cluster::again::{Tried, Work};
use crate::core::error::{Error, Result};
use crate::core::serve::operator::{LOOK_EVERY, Operator};
use crate::core::status::Debt;
use crate::core::types::{NODE_COUNT, NodeId};
use crate::core::wire::reports::Remaining;

/// A pass in which nothing moves for so long has come to its end.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// How a pass ended.
pub(super) struct Passed {
    /// What nodes are owed and cannot be given now.
    pub(super) remaining: Vec<Remaining>,
    /// Pieces that were rebuilt in it.
    pub(super) healed: u64,
    /// What each node is still owed.
    pub(super) debts: [Debt; NODE_COUNT],
}

impl Passed {
    /// What all nodes together are still owed.
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
    /// Has everything tried once; `waiting` is called all the time, and ends the waiting when it
    /// gives false. Nothing if it did.
    ///
    /// # Errors
    /// Those of `waiting`; [`Error::NotRegistered`] if this server gives orders to no node yet,
    /// [`Error::TakenOver`]; if the catalog cannot be read.
    pub(super) fn pass(&self, waiting: &mut dyn FnMut() -> Result<bool>) -> Result<Option<Passed>> {
        let (roster, healing) = (self.volume.roster(), &self.upkeep.healing);
        let pieces = healing.pieces();
        let wish = roster.again().ask();
        self.bell.ring();
        let moved = || (healing.pieces(), healing.bytes_read());
        let (mut seen, mut seen_at) = (moved(), Instant::now());
        while !self.all_tried(wish) && seen_at.elapsed() < STALLED_AFTER {
            roster.standing().check()?;
            if !roster.standing().is_established() {
                let missing = roster.standing().who_registered().complement();
                return Err(Error::NotRegistered(roster.troubles(missing)));
            }
            if !waiting()? {
                return Ok(None);
            }
            if moved() != seen {
                (seen, seen_at) = (moved(), Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let debts = self.catalog.debts()?;
        let remaining = NodeId::ALL.into_iter().filter_map(|id| {
            let owed = debts[id.index()];
            self.why_not(id, owed, wish).map(|(up, why)| Remaining { node: id, up, owed, why })
        });
        let healed = healing.pieces() - pieces;
        Ok(Some(Passed { remaining: remaining.collect(), healed, debts }))
    }

    fn all_tried(&self, wish: u64) -> bool {
        let roster = self.volume.roster();
        let (up, again) = (roster.up(), roster.again());
        let has_tried = |id, work| again.tried(id, work).asked >= wish;
        up.iter().all(|id| has_tried(id, Work::Orders) && has_tried(id, Work::Repairs))
    }

    /// Is the node up, and why can it not be given what it is owed? Nothing if it can, as far as is
    /// known.
    pub(super) fn why_not(&self, id: NodeId, owed: Debt, wish: u64) -> Option<(bool, String)> {
        if owed == Debt::default() {
            return None;
        }
        let roster = self.volume.roster();
        if !roster.up().contains(id) {
            let health = roster.health(id);
            let why = if health.why().is_empty() { "it is not up" } else { health.why() };
            return Some((false, why.to_owned()));
        }
        let reason = |tried: Tried| {
            if tried.asked < wish { Some("it did not come to it".to_owned()) } else { tried.why }
        };
        let tried = |work| reason(roster.again().tried(id, work));
        let pieces = (owed.pieces > 0).then(|| tried(Work::Repairs)).flatten();
        let why = pieces.or_else(|| (owed.orders > 0).then(|| tried(Work::Orders)).flatten())?;
        Some((true, why))
    }
}
