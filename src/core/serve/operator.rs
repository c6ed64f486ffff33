//! What somebody who runs the cluster can ask of the server: the facade behind the admin socket.
//!
//! A verb that takes long reports to an [`Asker`] and looks now and then whether it is still there.
//! What must not end with it (a scrub, a replacement) is only begun here, and goes on by itself.

use std::sync::Arc;

use crate::core::catalog::Catalog;
use crate::core::cluster::volume::Volume;
use crate::core::error::Result;
use crate::core::serve::users::Users;
use crate::core::status::{Debt, Facts, NodeFacts, Status};
use crate::core::types::NodeId;
use crate::core::wire::admin::Fields;

/// So many unreadable files are named.
const NAMES_MAX: usize = 5;

/// May files of all users be named?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// To whoever runs the server.
    Shown,
    /// To its users.
    Hidden,
}

/// Whoever waits for a verb to end.
pub trait Asker {
    /// Says how far it is.
    fn progress(&mut self, fields: Fields);

    /// Says something about one of the things that the verb is about.
    fn item(&mut self, fields: Fields);

    /// Does nobody wait any more, or is the server about to end?
    fn has_gone(&mut self) -> bool;
}

/// The cluster as a whole.
pub struct Operator {
    catalog: Arc<Catalog>,
    volume: Arc<Volume>,
    users: Users,
}

impl Operator {
    /// The facade over a catalog, a volume and the accounts.
    pub fn new(catalog: Arc<Catalog>, volume: Arc<Volume>, users: Users) -> Operator {
        Operator { catalog, volume, users }
    }

    /// The accounts.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// How the cluster is.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn status(&self, names: Names) -> Result<Status> {
        let facts = self.facts()?;
        let mut status = Status::judge(&facts);
        if names == Names::Shown {
            status.unreadable = self.some_unreadable(&facts)?;
        }
        Ok(status)
    }

    fn facts(&self) -> Result<Facts> {
        let placements = self.catalog.placements()?;
        let debts = self.catalog.debts()?;
        let errors = self.catalog.errors()?;
        let addresses = self.catalog.node_addresses()?.unwrap_or_default();
        let node = |id: NodeId| {
            let at = id.index();
            self.node(id, addresses[at].clone(), debts[at], errors[at])
        };
        Ok(Facts {
            nodes: NodeId::ALL.map(node),
            placements,
            catalog_in_doubt: self.catalog.is_in_doubt(),
        })
    }

    fn node(&self, id: NodeId, address: String, owed: Debt, errors: u64) -> NodeFacts {
        let roster = self.volume.roster();
        let (health, seen) = (roster.health(id), roster.seen(id));
        NodeFacts {
            address,
            state: health.state(),
            why: health.why().to_owned(),
            silent: seen.answered.map(|at| roster.now().saturating_sub(at)),
            room: seen.room,
            owed,
            refused_order: seen.refused_order,
            errors,
        }
    }

    fn some_unreadable(&self, facts: &Facts) -> Result<Vec<String>> {
        let mut named = Vec::new();
        for placement in facts.unreadable() {
            let places = self.catalog.files_placed(placement.placed, NAMES_MAX - named.len())?;
            named.extend(places.iter().map(ToString::to_string));
            if named.len() == NAMES_MAX {
                break;
            }
        }
        named.sort();
        Ok(named)
    }
}
