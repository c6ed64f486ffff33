//! What becomes of small files that a server took up from too few nodes.
//!
//! A small file's pieces travel inside the journal. A server that goes down in the middle of an append may
//! leave an entry on a single node; the next server takes it up, as it may have been answered, and the
//! file cannot be read from one node's piece. So what it has replaced is kept until it is known:
//!
//! ```text
//!   uncertain ──two nodes hold it──────────────────────────────> confirmed
//!       └──────all four nodes are there, and no two hold it────> reverted: it was never answered
//! ```

use std::sync::Arc;

use crate::core::catalog::Catalog;
use crate::core::cluster::committer::Committer;
use crate::core::cluster::roster::Roster;
use crate::core::error::Result;
use crate::core::types::{NodeSet, READ_QUORUM, VersionId};

/// Settles uncertain versions.
pub struct Settler {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    committer: Arc<Committer>,
}

impl Settler {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        roster: Arc<Roster>,
        committer: Arc<Committer>,
    ) -> Settler {
        Settler { catalog, roster, committer }
    }

    /// One look at everything that is uncertain; errors are logged.
    pub fn round(&self) {
        if !self.roster.leadership().is_established() {
            return;
        }
        if let Err(error) = self.look() {
            tracing::debug!("uncertain versions are settled later: {error}");
        }
    }

    fn look(&self) -> Result<()> {
        for version in self.catalog.uncertain()? {
            let up = self.roster.up();
            let holders = holders(&self.roster, up, &[version])?[0];
            if holders.len() >= READ_QUORUM {
                self.committer.submit(move |draft| draft.confirm(version))?;
            } else if up == NodeSet::ALL {
                // Whether a node has all of the journal does not matter: no server has these pieces to send.
                tracing::warn!("version {version} was never answered, and is taken back");
                self.committer.submit(move |draft| draft.revert(version))?;
            }
        }
        Ok(())
    }
}

/// Which of these nodes hold both blocks of each of these versions.
///
/// # Errors
/// If a node does not answer.
pub(super) fn holders(
    roster: &Roster,
    among: NodeSet,
    versions: &[VersionId],
) -> Result<Vec<NodeSet>> {
    let mut all = vec![NodeSet::EMPTY; versions.len()];
    for id in among.iter() {
        let lacking = roster.used(id, roster.node(id).lacks(versions))?;
        for (version, holders) in versions.iter().zip(&mut all) {
            if !lacking.contains(version) {
                holders.insert(id);
            }
        }
    }
    Ok(all)
}
