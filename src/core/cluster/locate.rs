//! Where to ask each node for a version, while moves of it are on their way.
//!
//! Somebody who reads asks the catalog anew whenever a node is asked: the version may have been moved
//! since. A node that then says that it does not hold the version has not lost it if the version was
//! moved under way, or if a move is still owed to it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Whereabouts};
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, VersionId};
use crate::core::wire::node::{Formerly, Place};

/// The name of a file that is being read, which a move changes.
#[derive(Clone, Debug)]
pub struct Spot(Arc<Mutex<Place>>);

impl Spot {
    /// What it is called now.
    pub fn place(&self) -> Place {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, place: Place) {
        *self.0.lock() = place;
    }
}

impl From<Place> for Spot {
    fn from(place: Place) -> Spot {
        Spot(Arc::new(Mutex::new(place)))
    }
}

/// Finds one version.
pub(super) struct Locator {
    /// Missing where nothing is ever moved.
    catalog: Option<Arc<Catalog>>,
    version: VersionId,
    spot: Spot,
    /// What each node was last asked by.
    asked: [Option<Whereabouts>; 4],
}

/// What it means that a node does not hold a version where it was asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotThere {
    /// It was moved under way: ask again.
    Moved,
    /// A move is owed to the node, so it may yet have it.
    Moving,
    /// It has lost it.
    Lost,
}

impl Locator {
    pub(super) fn new(catalog: Option<Arc<Catalog>>, version: VersionId, spot: Spot) -> Locator {
        Locator { catalog, version, spot, asked: [const { None }; 4] }
    }

    /// Which version.
    pub(super) fn version(&self) -> VersionId {
        self.version
    }

    /// What the file was last called.
    pub(super) fn place(&self) -> Place {
        self.spot.place()
    }

    fn look(&self) -> Result<Whereabouts> {
        let known = self.spot.place();
        match &self.catalog {
            Some(catalog) => catalog.whereabouts(self.version, &known),
            None => Ok(Whereabouts::at(known)),
        }
    }

    /// Where to ask this node for it.
    ///
    /// # Errors
    /// [`Error::Node`] if the node cannot be asked now; or the catalog cannot be read.
    pub(super) fn ask(&mut self, id: NodeId) -> Result<(Place, Formerly)> {
        let found = self.look()?;
        let asked = self.asked[id.index()].insert(found);
        match &asked.formerly[id.index()] {
            Some(formerly) => Ok((asked.place.clone(), formerly.clone())),
            None => {
                let why = "too many moves of the file are owed to it";
                Err(Error::node(id, NodeFailure::Refused(why.into())))
            }
        }
    }

    /// This node did not hold it where it was asked.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub(super) fn not_there(&self, id: NodeId) -> Result<NotThere> {
        let now = self.look()?;
        let own = |found: &Whereabouts| {
            (found.place.clone(), found.seq, found.formerly[id.index()].clone())
        };
        let is_same = self.asked[id.index()].as_ref().is_none_or(|asked| own(asked) == own(&now));
        Ok(match (is_same, now.moving().contains(id)) {
            (false, _) => NotThere::Moved,
            (true, true) => NotThere::Moving,
            (true, false) => NotThere::Lost,
        })
    }
}
