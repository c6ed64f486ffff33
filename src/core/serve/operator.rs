//! What somebody who runs the cluster can ask of the server: the facade behind the admin socket.
//!
//! A verb that takes long reports to an [`Caller`] and looks now and then whether it is still there.
//! What must not end with it (a scrub, a replacement) is only begun here, and goes on by itself.

mod backup;
mod heal;
mod pass;
mod replace;
mod retention;
mod scrub;
mod told;
mod upkeep;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::core::cluster::Cluster;
use crate::core::error::Result;
use crate::core::io::clock;
use crate::core::path::PATH_BYTES_MAX;
use crate::core::serve::operator::told::Told;
use crate::core::serve::upkeep::Upkeep;
use crate::core::serve::users::Users;
use crate::core::status::{Debt, Facts, NodeFacts, Status, Transfers, Trust};
use crate::core::types::{NodeId, NodeSet};
use crate::core::wire::admin::{Fields, LINE_BYTES_MAX, fields};

/// So many unreadable files are named.
const NAMES_MAX: usize = 5;

/// So many transfers are named. With the longest names, every byte of them escaped as six, they fit
/// into a line of the admin socket.
const TRANSFERS_MAX: usize = 40;

const _: () = assert!((TRANSFERS_MAX + NAMES_MAX + 1) * 6 * PATH_BYTES_MAX < LINE_BYTES_MAX);

/// So many items are told of one verb; the others are counted.
const ITEMS_MAX: usize = 1000;

/// How often it is looked whether what is waited for has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A node that lacks for longer than this what was decided is behind.
const IN_STEP_WITHIN: Duration = Duration::from_millis(500);

/// How often a caller is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// May files of all users be named?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// To the operator.
    Shown,
    /// To its users.
    Hidden,
}

/// Who waits for a verb to end.
pub trait Caller {
    /// Says how far it is.
    fn progress(&mut self, fields: Fields);

    /// Says something about one of the things that the verb is about.
    fn item(&mut self, fields: Fields);

    /// Does nobody wait any more, or is the server about to end?
    fn has_gone(&mut self) -> bool;
}

/// The cluster as a whole.
pub struct Operator {
    cluster: Cluster,
    users: Users,
    upkeep: Arc<Upkeep>,
    /// What users were told last.
    told: Mutex<Told<Status>>,
    begun: Instant,
}

impl Operator {
    /// The facade over these.
    pub fn new(cluster: Cluster, users: Users, upkeep: Arc<Upkeep>) -> Operator {
        Operator { cluster, users, upkeep, told: Mutex::default(), begun: Instant::now() }
    }

    /// The accounts.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// The journal's last entry, and the last one that is decided; 0 before this server leads.
    pub fn journal(&self) -> [u64; 2] {
        [self.cluster.replication.end().id, self.cluster.replication.decided()]
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
        let (files, bytes) = self.cluster.catalog.current()?;
        (status.files.count, status.files.bytes) = (files, bytes);
        status.upkeep = Some(self.upkeep()?);
        status.transfers = Some(self.transfers(names));
        status.version = Some(env!("CARGO_PKG_VERSION").to_owned());
        status.now_ms = Some(clock::now_ms());
        Ok(status)
    }

    /// As [`Operator::status`] for users, who may ask as often as they like: it looks through the
    /// catalog.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn status_for_users(&self) -> Result<Status> {
        let told = self.told.lock().get(|| self.begun.elapsed(), || self.status(Names::Hidden))?;
        // Of an answer that is given again everything but these may be a little old.
        let transfers = Some(self.transfers(Names::Hidden));
        Ok(Status { now_ms: Some(clock::now_ms()), transfers, ..told })
    }

    fn transfers(&self, names: Names) -> Transfers {
        self.cluster.volume.traffic().transfers(match names {
            Names::Shown => TRANSFERS_MAX,
            Names::Hidden => 0,
        })
    }

    /// Refuses what would change something if another server has taken over.
    fn may_work(&self) -> Result<()> {
        self.cluster.roster.leadership().check()
    }

    fn facts(&self) -> Result<Facts> {
        let (catalog, committer) = (&self.cluster.catalog, &self.cluster.committer);
        // Nodes first, the catalog then: a gap is closed when the catalog says what the node lacks.
        let lagging = self.lagging();
        let trust = NodeId::ALL.map(|id| self.trust(id, lagging.contains(id)));
        let placements = catalog.placements()?;
        let debts = catalog.debts()?;
        let errors = catalog.errors()?;
        let addresses = catalog.node_addresses()?.unwrap_or_default();
        let node = |id: NodeId| {
            let at = id.index();
            self.node(id, addresses[at].clone(), debts[at], errors[at], trust[at].clone())
        };
        Ok(Facts {
            nodes: NodeId::ALL.map(node),
            placements,
            is_leading: self.cluster.roster.leadership().is_established(),
            change_in_doubt: committer.is_in_doubt() && !committer.is_behind(),
            catalog_in_doubt: catalog.is_in_doubt(),
            catalog_full: catalog.check_room().is_err()
                || committer.is_behind() && !catalog.is_in_doubt(),
        })
    }

    fn trust(&self, id: NodeId, is_lagging: bool) -> Trust {
        match () {
            () if self.cluster.roster.seen(id).has_gap() => Trust::Gap,
            () if is_lagging => Trust::Behind(self.why_lagging(id)),
            () => Trust::Full,
        }
    }

    fn node(
        &self,
        id: NodeId,
        address: String,
        owed: Debt,
        errors: u64,
        trust: Trust,
    ) -> NodeFacts {
        let roster = &self.cluster.roster;
        let (health, seen) = (roster.health(id), roster.seen(id));
        NodeFacts {
            address,
            state: health.state(),
            why: health.why().to_owned(),
            since: roster.now().saturating_sub(health.since()),
            silent: seen.answered.map(|at| roster.now().saturating_sub(at)),
            room: seen.room,
            disk: seen.trouble,
            owed,
            owed_why: roster.retry().tried(id).why,
            errors,
            trust,
            snapshot_refused: self.cluster.snapshots.progress()[id.index()].trouble.clone(),
        }
    }

    /// The nodes that are up and still lack, a while after it was decided, what is decided now. Right
    /// after a change some always do.
    fn lagging(&self) -> NodeSet {
        let (roster, replication) = (&self.cluster.roster, &self.cluster.replication);
        let (decided, begun) = (replication.decided(), Instant::now());
        loop {
            let lagging = roster.up().and(replication.who_has(decided).complement());
            if lagging.is_empty() || begun.elapsed() >= IN_STEP_WITHIN {
                return lagging;
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn why_lagging(&self, id: NodeId) -> String {
        let progress = &self.cluster.snapshots.progress()[id.index()];
        match (&progress.trouble, self.cluster.replication.behind(id)) {
            (Some(why), _) => why.clone(),
            (None, Some(1)) => "it lacks the journal's last entry".to_owned(),
            (None, Some(entries)) => format!("it lacks the journal's last {entries} entries"),
            (None, None) => "it is not known how far its journal is".to_owned(),
        }
    }

    fn some_unreadable(&self, facts: &Facts) -> Result<Vec<String>> {
        let mut named = Vec::new();
        for placement in facts.unreadable() {
            let places =
                self.cluster.catalog.files_placed(placement.placed, NAMES_MAX - named.len())?;
            named.extend(places.iter().map(ToString::to_string));
            if named.len() == NAMES_MAX {
                break;
            }
        }
        named.sort();
        Ok(named)
    }
}

/// Tells a caller now and then how far it is.
struct Reporter<'a> {
    caller: &'a mut dyn Caller,
    told: Option<Instant>,
}

impl<'a> Reporter<'a> {
    fn new(caller: &'a mut dyn Caller) -> Reporter<'a> {
        Reporter { caller, told: None }
    }

    /// Tells it if it is time to: at once the first time.
    fn tell<T: Serialize>(&mut self, far: impl FnOnce() -> Result<T>) -> Result<()> {
        if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.caller.progress(fields(&far()?)?);
            self.told = Some(Instant::now());
        }
        Ok(())
    }

    fn item<T: Serialize>(&mut self, item: &T) -> Result<()> {
        self.caller.item(fields(item)?);
        Ok(())
    }

    /// Does nobody wait any more?
    fn has_gone(&mut self) -> bool {
        self.caller.has_gone()
    }
}
