//! The four nodes as one place for versions of files: put one, get one, rebuild a piece of one.
//!
//! It knows no users and no paths but as labels; which version is the current one is the catalog's
//! business.

use std::sync::Arc;

use crate::core::catalog::Catalog;
use crate::core::cluster::buffers::{Allowance, BufferPool};
use crate::core::cluster::locate::{Locator, Spot};
use crate::core::cluster::pace::Traffic;
use crate::core::cluster::reading::Reading;
use crate::core::cluster::rebuild::{self, Lacking, Rebuilt};
use crate::core::cluster::roster::Roster;
use crate::core::cluster::writing::{Fanout, Writing};
use crate::core::error::Result;
use crate::core::io::random::Random;
use crate::core::types::{NodeId, NodeSet, VersionId};
use crate::core::wire::node::{Order, PieceMeta};

/// Versions of files on four nodes.
pub struct Volume {
    roster: Arc<Roster>,
    random: Arc<Random>,
    buffers: Arc<BufferPool>,
    fanout: Fanout,
    traffic: Arc<Traffic>,
    /// Knows what has been moved; missing where nothing ever is.
    catalog: Option<Arc<Catalog>>,
}

impl Volume {
    /// A volume on these nodes.
    pub fn new(roster: Arc<Roster>, random: Arc<Random>, fanout: Fanout) -> Volume {
        let (buffers, traffic) = (Arc::default(), Arc::default());
        Volume { roster, random, buffers, fanout, traffic, catalog: None }
    }

    /// The same for versions whose files can be moved while they are read: the catalog says where.
    #[must_use]
    pub fn following(mut self, catalog: Arc<Catalog>) -> Volume {
        self.catalog = Some(catalog);
        self
    }

    /// The nodes.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Begins to store a version.
    ///
    /// # Errors
    /// [`TooFewToStore`](crate::core::error::Error::TooFewToStore) if fewer than three nodes are up,
    /// [`NodesFull`](crate::core::error::Error::NodesFull) if fewer than three have room for it.
    pub fn write(&self, meta: &PieceMeta) -> Result<Writing> {
        let allowance = Allowance::new(self.buffers.clone());
        Writing::begin(self.roster.clone(), allowance, self.fanout, meta)
    }

    /// Begins to read a version. `spot` is the name of its file, where a move notes the new one.
    ///
    /// # Errors
    /// [`TooFewToRead`](crate::core::error::Error::TooFewToRead) if it cannot be read now.
    pub fn read(
        &self,
        version: VersionId,
        spot: impl Into<Spot>,
        file_bytes: u64,
        placed: NodeSet,
    ) -> Result<Reading> {
        let random = self.random.clone();
        let locator = Locator::new(self.catalog.clone(), version, spot.into());
        Reading::begin(self.roster.clone(), random, locator, file_bytes, placed)
    }

    /// Rebuilds and stages the piece of a version that a node lacks. `moved` hears after every stripe
    /// how many bytes were read for it, and may take its time.
    pub fn rebuild(&self, lost: NodeId, lacking: &Lacking, moved: &mut dyn FnMut(u64)) -> Rebuilt {
        rebuild::rebuild(&self.roster, &self.random, self.catalog.as_ref(), lost, lacking, moved)
    }

    /// Users' transfers, before which background work steps back.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Drops a staged version that will not be committed, as far as the nodes can be reached. What
    /// is missed is found when a node's staged versions are next listed.
    pub fn discard(&self, version: VersionId, nodes: NodeSet) {
        for id in nodes.and(self.roster.up()).iter() {
            let told = self.roster.node(id).carry(&[Order::Discard { version }]);
            if let Err(error) = self.roster.used(id, told) {
                tracing::debug!("version {version} is discarded later: {error}");
            }
        }
    }
}
