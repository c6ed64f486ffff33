//! The catalog: accounts, folders, files, versions, and where their pieces are. SQLite keeps it; this
//! room is the only one that knows.
//!
//! ```text
//!   a job ── Draft: validate, record ──> an entry of the journal
//!                                             │   (a running server, in an open group)
//!   entries of others, a snapshot ──────────> apply ──> rows
//! ```
//!
//! The catalog is what the journal adds up to: there is one function from a change to rows
//! (`apply.rs`), and nothing else writes those tables. The few rows that no journal has (how far a
//! scrub is, what the server registered with) are written by `Catalog::local`.
//!
//! There is one writing connection. While a group is open on it, readers go on seeing the state
//! before it.

pub mod accounts;
mod apply;
mod copies;
mod database;
mod draft;
mod extents;
mod files;
#[cfg(test)]
mod fixture;
mod folders;
mod group;
#[cfg(test)]
mod histories;
mod history;
mod journal;
mod keys;
mod listing;
mod moments;
mod moves;
mod past;
mod properties;
mod replace;
mod reserve;
mod scrub;
mod snapshot;
mod survey;
mod tokens;
mod tree;
mod uncertain;
mod uploads;
mod users;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rusqlite::Connection;

use crate::core::error::{Error, Result};
use crate::core::io::clock;
use crate::core::types::{Claim, ClusterId, NODE_COUNT};

pub use accounts::Account;
pub use copies::{CopyPlan, Filled};
pub use draft::Draft;
pub use extents::ExtentRecord;
pub use files::{FileRecord, NewFile};
pub use folders::Removed;
pub use group::{Group, Pending};
pub use history::{DELETED_MAX, DeletedName, PathState, Undone};
pub use keys::KEYS_MAX;
pub use listing::Scope;
pub use moments::NamedMoment;
pub use moves::Relocated;
pub use past::{Due, EXPIRED_MAX};
pub use replace::Replacement;
pub use reserve::DiskReserve;
pub use scrub::{Finding, Mending, Phase, Scrub, What};
pub use snapshot::{Contents, Loader, contents};
pub use tokens::{TOKENS_MAX, TokenId};
pub use uploads::{Completed, Completion, NewExtent, Upload};
pub use users::{Quota, Usage, UserRecord, UserState};
pub use versions::{Held, Surveyed};

/// How many connections read at a time.
const READERS: usize = 4;

/// The setting with the cluster's id.
const CLUSTER: &str = "cluster";

/// The setting with the addresses of the nodes.
const NODES: &str = "nodes";

/// The setting with what this server last registered with.
const CLAIM: &str = "claim";

/// A user's number in the catalog. None is used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UserId(pub(in crate::core::catalog) i64);

/// A clock in microseconds since 1970.
pub type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

/// The open catalog.
pub struct Catalog {
    path: PathBuf,
    cluster: ClusterId,
    writer: Mutex<group::Writer>,
    group_ended: Condvar,
    readers: [Mutex<Connection>; READERS],
    /// Which reader to wait for if none is free.
    next_reader: AtomicUsize,
    /// For what looks through whole tables, so that no user waits behind it.
    surveyor: Mutex<Connection>,
    /// Set once a commit failed in a way that leaves open whether it happened.
    in_doubt: AtomicBool,
    /// Room on its disk that is kept for it; a simulation keeps none.
    reserve: Option<DiskReserve>,
    /// What dates the entries of the journal.
    clock: Clock,
    /// No commit finds room on the disk.
    #[cfg(test)]
    pub(in crate::core) commits_find_no_room: AtomicBool,
}

impl Catalog {
    /// Opens the catalog in this file, or makes one for a new cluster with `fresh` as its id.
    ///
    /// # Errors
    /// If the file cannot be opened or is not a catalog of this format.
    pub fn open(path: &Path, fresh: ClusterId) -> Result<Catalog> {
        let writer = database::open(path)?;
        let cluster = || database::setting_or(&writer, CLUSTER, &fresh.to_string());
        let cluster = database::synced(&writer, cluster)?;
        let cluster = cluster.parse().map_err(|e| Error::Catalog(format!("cluster id: {e}")))?;
        let [a, b, c, d] = [(); READERS].map(|()| database::open(path).map(Mutex::new));
        Ok(Catalog {
            path: path.to_path_buf(),
            cluster,
            writer: Mutex::new(group::Writer::new(writer)),
            group_ended: Condvar::new(),
            readers: [a?, b?, c?, d?],
            next_reader: AtomicUsize::new(0),
            surveyor: Mutex::new(database::open(path)?),
            in_doubt: AtomicBool::new(false),
            reserve: None,
            clock: Box::new(clock::now_us),
            #[cfg(test)]
            commits_find_no_room: AtomicBool::new(false),
        })
    }

    /// The same with room that is kept for it on its disk.
    #[must_use]
    pub fn with_reserve(self, reserve: DiskReserve) -> Catalog {
        Catalog { reserve: Some(reserve), ..self }
    }

    /// The same with another clock than that of the system.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Catalog {
        Catalog { clock, ..self }
    }

    /// What the clock says that dates the entries of the journal, in microseconds since 1970.
    pub fn now_us(&self) -> i64 {
        (self.clock)()
    }

    /// Refuses what would add to the catalog while its disk is full. For what can be refused before it
    /// begins.
    ///
    /// # Errors
    /// [`Code::NoSpace`](crate::core::error::Code::NoSpace).
    pub fn check_room(&self) -> Result<()> {
        self.reserve.as_ref().map_or(Ok(()), DiskReserve::check)
    }

    /// The cluster that this is the catalog of.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The addresses of nodes 1 to 4 as they were last given, if they were.
    pub fn node_addresses(&self) -> Result<Option<[String; NODE_COUNT]>> {
        self.read(node_addresses)
    }

    /// Remembers the addresses of nodes 1 to 4 before this server leads; it then tells the journal.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn remember_node_addresses(&self, addresses: &[String; NODE_COUNT]) -> Result<()> {
        self.local(|connection| database::set_setting(connection, NODES, &addresses.join(" ")))
    }

    /// What the last server with this catalog registered with, if one has.
    pub fn last_claim(&self) -> Result<Option<Claim>> {
        let text = self.read(|connection| database::setting(connection, CLAIM))?;
        let claim = text.map(|text| {
            let (epoch, server) = text.split_once(' ')?;
            Some(Claim { epoch: epoch.parse().ok()?, server: server.parse().ok()? })
        });
        let bad = || Error::Catalog("what the last server registered with cannot be read".into());
        claim.map(|claim| claim.ok_or_else(bad)).transpose()
    }

    /// Remembers what this server will register with. To be done before it does.
    pub fn remember_claim(&self, claim: Claim) -> Result<()> {
        let text = format!("{} {}", claim.epoch, claim.server);
        let writer = self.idle_writer()?;
        database::synced(&writer.connection, || {
            database::set_setting(&writer.connection, CLAIM, &text)
        })
    }

    /// Has it neither an account nor a version?
    pub fn is_empty(&self) -> Result<bool> {
        let is_empty = "SELECT NOT EXISTS (SELECT 1 FROM users)
                        AND NOT EXISTS (SELECT 1 FROM versions)";
        self.read(|connection| database::one(connection, is_empty, [], |row| row.get(0)))
    }

    /// Does something over one of the reading connections, which sees one state all the while.
    fn read<T>(&self, what: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = self.reader();
        let _transaction = database::ReadTransaction::begin(&connection)?;
        what(&connection)
    }

    /// A reading connection that is free; if none is, they are waited for in turn.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.readers.iter().find_map(Mutex::try_lock).unwrap_or_else(|| {
            let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
            self.readers[turn % READERS].lock()
        })
    }

    /// The same over the connection for long queries.
    fn survey<T>(&self, what: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = self.surveyor.lock();
        let _transaction = database::ReadTransaction::begin(&connection)?;
        what(&connection)
    }
}

fn node_addresses(connection: &Connection) -> Result<Option<[String; NODE_COUNT]>> {
    let text = database::setting(connection, NODES)?;
    Ok(text.and_then(|text| {
        let parts: Vec<String> = text.split(' ').map(str::to_owned).collect();
        parts.try_into().ok()
    }))
}
