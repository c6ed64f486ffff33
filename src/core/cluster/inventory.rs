//! What lies on the nodes, held against the catalog: strays and older versions.

use std::sync::Arc;

use crate::core::catalog::{Catalog, Judgement, Scrub, What};
use crate::core::cluster::node::InventoryPages;
use crate::core::cluster::readers::Readers;
use crate::core::cluster::roster::Roster;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, Seq, VersionId};
use crate::core::wire::node::{Formerly, InventoryEntry, ORDERS_MAX, Order, Outcome, Place};

/// Goes through the inventories of all nodes, a page at a time.
pub(super) struct Lister {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    readers: Arc<Readers>,
    open: Option<Open>,
}

/// A node whose inventory is being read.
struct Open {
    id: NodeId,
    pages: Box<dyn InventoryPages>,
    foreign: u64,
}

/// A block that belongs to no file.
struct Stray {
    place: Place,
    /// 0 if it cannot be read; what cannot be read is removed by any number.
    seq: Seq,
    /// What its trailer says, if it can be read.
    held: Option<(VersionId, Seq)>,
    /// The version that should lie there in its place, if one should.
    instead: Option<VersionId>,
}

impl Lister {
    pub(super) fn new(catalog: Arc<Catalog>, roster: Arc<Roster>, readers: Arc<Readers>) -> Lister {
        Lister { catalog, roster, readers, open: None }
    }

    /// Begins anew with the next step.
    pub(super) fn restart(&mut self) {
        self.open = None;
    }

    /// Takes one page of the next node that is not listed. True if something is owed now.
    pub(super) fn step(&mut self, scrub: &mut Scrub, wall_ms: i64) -> Result<bool> {
        let Some(mut open) = self.open.take() else {
            self.open_next(scrub);
            return Ok(false);
        };
        let page = match self.roster.used(open.id, open.pages.page()) {
            Ok(page) => page,
            Err(error) => {
                self.leave_out(scrub, open.id, &error);
                return Ok(false);
            }
        };
        if page.is_empty() {
            scrub.listed.insert(open.id);
            scrub.foreign += open.foreign;
            self.catalog.forget_strays_before(scrub.id, open.id)?;
            self.catalog.save_scrub(scrub)?;
            return Ok(false);
        }
        let found = self.page(&mut open, &page, scrub, wall_ms)?;
        self.open = Some(open);
        Ok(found)
    }

    fn open_next(&mut self, scrub: &mut Scrub) {
        let Some(id) = scrub.listed.complement().iter().next() else {
            return;
        };
        if !self.roster.up().contains(id) {
            scrub.listed.insert(id);
            scrub.unchecked.insert(id);
            return;
        }
        match self.roster.used(id, self.roster.node(id).inventory()) {
            Ok(pages) => self.open = Some(Open { id, pages, foreign: 0 }),
            Err(error) => self.leave_out(scrub, id, &error),
        }
    }

    fn leave_out(&self, scrub: &mut Scrub, id: NodeId, error: &Error) {
        tracing::warn!("scrub: what lies on data server {id} is not all known: {error}");
        scrub.listed.insert(id);
        scrub.unchecked.insert(id);
    }

    fn page(
        &self,
        open: &mut Open,
        page: &[InventoryEntry],
        scrub: &mut Scrub,
        wall_ms: i64,
    ) -> Result<bool> {
        let mut strays: Vec<Stray> = Vec::new();
        let mut found = false;
        for entry in page {
            match entry {
                InventoryEntry::Foreign(name) => {
                    open.foreign += 1;
                    let name = crate::core::path::printable(name);
                    tracing::info!("scrub: on data server {}: {name} is no block of it", open.id);
                }
                InventoryEntry::Block { place, held, .. } => {
                    match self.catalog.judge(open.id, place, *held)? {
                        Judgement::Fine => {}
                        Judgement::FromTheFuture => {
                            tracing::error!(
                                "scrub: data server {} holds {place} with a number that this \
                                 catalog has never given: is the catalog an old copy? It stays",
                                open.id
                            );
                            scrub.unchecked.insert(open.id);
                        }
                        Judgement::Stale(version) => {
                            found |= self.stale(open.id, place, version, scrub)?;
                        }
                        Judgement::Stray(instead) => {
                            if self.is_stray(open.id, place, *held) {
                                add(&mut strays, place, *held, instead);
                            }
                        }
                    }
                }
            }
        }
        Ok(self.strays(open.id, &strays, scrub, wall_ms)? || found)
    }

    /// A node with an older version does not have the current one, unless it got it since.
    fn stale(&self, id: NodeId, place: &Place, version: VersionId, scrub: &Scrub) -> Result<bool> {
        if !self.is_not_held(id, place, version) {
            return Ok(false);
        }
        tracing::warn!("scrub: data server {id} has an older version of {place}");
        self.catalog.scrub_found(scrub.id, What::Stale, id, version)
    }

    /// Is it still there, and nobody is reading it?
    fn is_stray(&self, id: NodeId, place: &Place, held: Option<(VersionId, Seq)>) -> bool {
        let gone = held.is_some_and(|(version, _)| self.is_not_held(id, place, version));
        !gone && !self.readers.is_read(place)
    }

    fn is_not_held(&self, id: NodeId, place: &Place, version: VersionId) -> bool {
        let asked = self.roster.node(id).verify(version, place, &Formerly::default(), 0, 1);
        let answer = self.roster.used(id, asked);
        matches!(answer, Err(Error::Node { why: NodeFailure::NotHeld(_), .. }))
    }

    /// Notes strays, and has those removed that have been known for long enough.
    fn strays(
        &self,
        id: NodeId,
        strays: &[Stray],
        scrub: &mut Scrub,
        wall_ms: i64,
    ) -> Result<bool> {
        if strays.is_empty() {
            return Ok(false);
        }
        let seen: Vec<(Place, Seq)> =
            strays.iter().map(|stray| (stray.place.clone(), stray.seq)).collect();
        let due = self.catalog.note_strays(scrub, id, &seen, wall_ms)?;
        let due: Vec<&Stray> =
            strays.iter().zip(due).filter_map(|(stray, due)| due.then_some(stray)).collect();
        let mut found = false;
        for strays in due.chunks(ORDERS_MAX) {
            // A stray's number tells it from what is stored there later, but not from what is moved
            // there: so nothing is while this looks once more and has the node remove it.
            let _names = self.roster.keep_names(id);
            let strays = self.still(id, strays)?;
            if strays.is_empty() {
                continue;
            }
            let orders: Vec<Order> = strays
                .iter()
                .map(|stray| Order::Remove { place: stray.place.clone(), up_to: stray.seq })
                .collect();
            let outcomes = match self.roster.used(id, self.roster.node(id).carry(&orders)) {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    tracing::warn!("scrub: data server {id} keeps its strays: {error}");
                    return Ok(found);
                }
            };
            for (stray, outcome) in strays.iter().zip(outcomes) {
                match outcome {
                    Outcome::Done | Outcome::NotHeld => {
                        found |= self.removed(id, stray, scrub)?;
                    }
                    Outcome::Failed(why) => {
                        tracing::warn!("scrub: data server {id} keeps {}: {why}", stray.place);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Those of these that no move has concerned since they were found.
    fn still<'a>(&self, id: NodeId, strays: &[&'a Stray]) -> Result<Vec<&'a Stray>> {
        let mut still = Vec::new();
        for stray in strays {
            if let Judgement::Stray(_) = self.catalog.judge(id, &stray.place, stray.held)? {
                still.push(*stray);
            }
        }
        Ok(still)
    }

    fn removed(&self, id: NodeId, stray: &Stray, scrub: &mut Scrub) -> Result<bool> {
        let place = &stray.place;
        tracing::info!("scrub: removed from data server {id}, being of no file: {place}");
        self.catalog.stray_removed(scrub.id, id, place)?;
        scrub.removed += 1;
        match stray.instead {
            // Whatever lay there has given way to what should.
            Some(version) => self.catalog.scrub_found(scrub.id, What::Missing, id, version),
            None => Ok(false),
        }
    }
}

/// Adds a block; the two of one place are one stray.
fn add(
    strays: &mut Vec<Stray>,
    place: &Place,
    held: Option<(VersionId, Seq)>,
    instead: Option<VersionId>,
) {
    let seq = held.map_or(Seq(0), |(_, seq)| seq);
    match strays.iter_mut().find(|stray| stray.place == *place) {
        Some(stray) if seq > stray.seq => (stray.seq, stray.held) = (seq, held),
        Some(_) => {}
        None => strays.push(Stray { place: place.clone(), seq, held, instead }),
    }
}
