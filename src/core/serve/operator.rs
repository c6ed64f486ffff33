//! What somebody who runs the cluster can ask of the server: the facade behind the admin socket.
//!
//! A verb that takes long reports to an [`Asker`] and looks now and then whether it is still there.
//! What must not end with it (a scrub, a replacement) is only begun here, and goes on by itself.

mod backup;
mod heal;
mod pass;
mod replace;
mod scrub;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::core::catalog::Catalog;
use crate::core::cluster::attendant::Bell;
use crate::core::cluster::backup::Backups;
use crate::core::cluster::volume::Volume;
use crate::core::error::Result;
use crate::core::serve::upkeep::Upkeep;
use crate::core::serve::users::Users;
use crate::core::status::{Debt, Facts, NodeFacts, Status};
use crate::core::types::NodeId;
use crate::core::wire::admin::{Fields, fields};

/// So many unreadable files are named.
const NAMES_MAX: usize = 5;

/// So many items are told of one verb; the others are counted.
const ITEMS_MAX: usize = 1000;

/// How often it is looked whether what is waited for has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often an asker is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

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

/// What the server looks after its nodes with.
pub struct Parts {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The nodes as one place for files.
    pub volume: Arc<Volume>,
    /// The accounts.
    pub users: Users,
    /// Wakes those who look after the nodes.
    pub bell: Bell,
    /// Healing, scrubbing, replacing.
    pub upkeep: Arc<Upkeep>,
    /// The catalog's backup.
    pub backups: Arc<Backups>,
}

/// The cluster as a whole.
pub struct Operator {
    catalog: Arc<Catalog>,
    volume: Arc<Volume>,
    users: Users,
    bell: Bell,
    upkeep: Arc<Upkeep>,
    backups: Arc<Backups>,
}

impl Operator {
    /// The facade over these.
    pub fn new(parts: Parts) -> Operator {
        let Parts { catalog, volume, users, bell, upkeep, backups } = parts;
        Operator { catalog, volume, users, bell, upkeep, backups }
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
        status.upkeep = Some(self.upkeep()?);
        Ok(status)
    }

    /// Refuses what would change something if this server may not.
    fn may_work(&self) -> Result<()> {
        self.volume.roster().standing().check()?;
        self.catalog.refuse_in_doubt()
    }

    fn facts(&self) -> Result<Facts> {
        let placements = self.catalog.placements()?;
        let debts = self.catalog.debts()?;
        let errors = self.catalog.errors()?;
        let addresses = self.catalog.node_addresses()?.unwrap_or_default();
        let backups = self.backups.progress();
        let node = |id: NodeId| {
            let at = id.index();
            let mut node = self.node(id, addresses[at].clone(), debts[at], errors[at]);
            node.backup_refused = backups[at].trouble.clone();
            node
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
            since: roster.now().saturating_sub(health.since()),
            silent: seen.answered.map(|at| roster.now().saturating_sub(at)),
            room: seen.room,
            owed,
            refused_order: seen.refused_order,
            errors,
            backup_refused: None,
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

/// Tells an asker now and then how far it is.
struct Teller<'a> {
    asker: &'a mut dyn Asker,
    told: Option<Instant>,
}

impl<'a> Teller<'a> {
    fn new(asker: &'a mut dyn Asker) -> Teller<'a> {
        Teller { asker, told: None }
    }

    /// Tells it if it is time to: at once the first time.
    fn tell<T: Serialize>(&mut self, far: impl FnOnce() -> Result<T>) -> Result<()> {
        if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.asker.progress(fields(&far()?)?);
            self.told = Some(Instant::now());
        }
        Ok(())
    }

    fn item<T: Serialize>(&mut self, item: &T) -> Result<()> {
        self.asker.item(fields(item)?);
        Ok(())
    }

    /// Does nobody wait any more?
    fn has_gone(&mut self) -> bool {
        self.asker.has_gone()
    }
}
