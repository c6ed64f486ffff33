//! A version on its way from the nodes.
//!
//! Any two nodes that hold it are enough. Both send all they have from the first stripe on; every
//! unit is held against its checksum. When one is wrong, missing or late, another node takes over
//! from that stripe to the end, in the same breath. All is of one version, asked for by its id, so a
//! reading never mixes two.

use std::sync::Arc;

use crate::core::cluster::node::{PieceSource, Query};
use crate::core::cluster::roster::Roster;
use crate::core::code::layout::Layout;
use crate::core::code::repair::Select;
use crate::core::code::{checksum, kernel};
use crate::core::error::{Error, NodeFailure, Result, Troubles};
use crate::core::io::random::Random;
use crate::core::types::{NodeId, NodeSet, READ_QUORUM, VersionId};
use crate::core::wire::node::Place;

/// A version that is being read, stripe by stripe.
pub struct Reading {
    roster: Arc<Roster>,
    random: Arc<Random>,
    version: VersionId,
    place: Place,
    layout: Layout,
    placed: NodeSet,
    stripe: u64,
    sources: Vec<Source>,
    tried: NodeSet,
    used: NodeSet,
    troubles: Troubles,
    unsound: NodeSet,
    data: Vec<u8>,
}

/// A node that the version is read from.
struct Source {
    id: NodeId,
    units: Box<dyn PieceSource>,
    body: Vec<u8>,
    /// Does `body` hold the units of the stripe that is wanted?
    has_stripe: bool,
}

impl Reading {
    /// Picks two nodes and has the first stripe at hand when it returns, so that a version that
    /// cannot be read is refused before anything is promised.
    pub(super) fn begin(
        roster: Arc<Roster>,
        random: Arc<Random>,
        version: VersionId,
        place: Place,
        file_bytes: u64,
        placed: NodeSet,
    ) -> Result<Reading> {
        let troubles = roster.troubles(placed);
        let mut reading = Reading {
            roster,
            random,
            version,
            place,
            layout: Layout::new(file_bytes),
            placed,
            stripe: 0,
            sources: Vec::new(),
            tried: NodeSet::EMPTY,
            used: NodeSet::EMPTY,
            troubles,
            unsound: NodeSet::EMPTY,
            data: Vec::new(),
        };
        reading.fetch()?;
        Ok(reading)
    }

    /// The next bytes of the file in two parts, one behind the other; nothing at its end.
    ///
    /// # Errors
    /// [`Error::TooFewToRead`] if the nodes that are left are too few.
    pub fn next_part(&mut self) -> Result<Option<[&[u8]; 2]>> {
        let wanted = loop {
            if self.stripe == self.layout.stripe_count() {
                return Ok(None);
            }
            self.fetch()?;
            let stripe = self.stripe;
            self.stripe += 1;
            self.sources.iter_mut().for_each(|source| source.has_stripe = false);
            let wanted = self.layout.file_bytes_in(stripe);
            if wanted > 0 {
                break wanted;
            }
        };
        let [first, second] = self.sources.as_slice() else {
            return Err(self.too_few());
        };
        if (first.id, second.id) == (NodeId::ALL[0], NodeId::ALL[1]) {
            // These two hold the file itself: nothing to compute, nothing to copy.
            let head = wanted.min(first.body.len());
            return Ok(Some([&first.body[..head], &second.body[..wanted - head]]));
        }
        let pair = [first, second];
        let units = pair.map(|source| source.body.split_at(source.body.len() / 2).into());
        self.data.resize(2 * first.body.len(), 0);
        kernel::decode(pair.map(|source| source.id), units, &mut self.data);
        Ok(Some([&self.data[..wanted], &[]]))
    }

    /// The nodes whose bytes were handed out.
    pub fn used(&self) -> NodeSet {
        self.used
    }

    /// The nodes that should hold the version but turned out not to, or to hold it damaged.
    pub fn unsound(&self) -> NodeSet {
        self.unsound
    }

    /// Gets the units of the wanted stripe from two nodes.
    fn fetch(&mut self) -> Result<()> {
        loop {
            while self.sources.len() < READ_QUORUM {
                self.add_source()?;
            }
            let (layout, stripe) = (self.layout, self.stripe);
            let failed = self.sources.iter_mut().enumerate().find_map(|(at, source)| {
                source.fetch(layout, stripe).err().map(|error| (at, error))
            });
            match failed {
                Some((at, error)) => {
                    let source = self.sources.remove(at);
                    self.give_up(source.id, error);
                }
                None => {
                    self.used = self
                        .sources
                        .iter()
                        .map(|source| source.id)
                        .chain(self.used.iter())
                        .collect();
                    return Ok(());
                }
            }
        }
    }

    /// Starts reading from one more node: a random one of those that hold the version, or at last
    /// one that may.
    fn add_source(&mut self) -> Result<()> {
        let untried = self.roster.up().and(self.tried.complement());
        let mut candidates: Vec<NodeId> = untried.and(self.placed).iter().collect();
        if candidates.is_empty() {
            candidates = untried.iter().collect();
        }
        self.random.shuffle(&mut candidates);
        let Some(id) = candidates.first().copied() else {
            return Err(self.too_few());
        };
        self.tried.insert(id);
        let query = Query {
            version: self.version,
            place: self.place.clone(),
            first_stripe: self.stripe,
            stripes: self.layout.stripe_count() - self.stripe,
            select: Select::Both,
        };
        match self.roster.node(id).read(&query) {
            Ok(units) => {
                self.sources.push(Source { id, units, body: Vec::new(), has_stripe: false });
                self.sources.sort_by_key(|source| source.id);
            }
            Err(error) => self.give_up(id, error),
        }
        Ok(())
    }

    fn give_up(&mut self, id: NodeId, error: Error) {
        let why = match self.roster.used::<()>(id, Err(error)) {
            Err(Error::Node { why, .. }) => {
                if matches!(why, NodeFailure::NotHeld(_) | NodeFailure::Damaged(_))
                    && self.placed.contains(id)
                {
                    self.unsound.insert(id);
                }
                why.to_string()
            }
            Err(other) => other.to_string(),
            Ok(()) => String::new(),
        };
        tracing::warn!("reading {}: node {id}: {why}; another node is asked", self.place);
        self.troubles.note(id, why);
    }

    fn too_few(&self) -> Error {
        let mut troubles = self.troubles.clone();
        for trouble in self.roster.troubles(self.placed).0 {
            troubles.note(trouble.node, trouble.why);
        }
        Error::TooFewToRead { path: self.place.path.to_string(), troubles }
    }
}

impl Source {
    fn fetch(&mut self, layout: Layout, stripe: u64) -> Result<()> {
        if self.has_stripe {
            return Ok(());
        }
        let checksums = self.units.units(&mut self.body)?;
        check_units(self.id, &self.body, layout.unit_bytes(stripe), &checksums)?;
        self.has_stripe = true;
        Ok(())
    }
}

/// Holds the units that a node sent against their length and checksums; as many units as checksums.
///
/// # Errors
/// [`NodeFailure::Damaged`].
pub(super) fn check_units(
    id: NodeId,
    body: &[u8],
    unit_bytes: usize,
    checksums: &[u64],
) -> Result<()> {
    let damaged =
        |what: &str| Err(Error::Node { node: id, why: NodeFailure::Damaged(what.into()) });
    if body.len() != checksums.len() * unit_bytes {
        return damaged("a unit has another length than the file's layout");
    }
    for (unit, sum) in body.chunks_exact(unit_bytes).zip(checksums) {
        if checksum::unit(unit) != *sum {
            return damaged("a unit does not match its checksum");
        }
    }
    Ok(())
}
