//! The catalog: accounts, folders, files, and what every node is owed. SQLite keeps it; this room is
//! the only one that knows.
//!
//! A store, deletion or repair happens at the one moment in which its transaction commits. What the
//! nodes have to do about it is recorded in the same transaction, so it can be late but never
//! forgotten.

pub mod accounts;
mod database;
mod evidence;
mod files;
#[cfg(test)]
mod fixture;
mod folders;
mod journal;
mod moves;
mod order;
mod owed;
mod recovery;
mod replace;
mod scrub;
mod strays;
mod survey;
mod tokens;
mod users;
mod walk;
mod whereabouts;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};

use crate::core::error::{Code, Error, Result};
use crate::core::types::{Claim, ClusterId, Seq, VersionId};
use crate::core::wire::journal::Change;

pub use evidence::Evidence;
pub use files::{Committed, FileRecord, NewFile};
pub use folders::{Removed, Scope};
pub use moves::Relocated;
pub use order::Ticket;
pub use owed::{Owed, Task};
pub use recovery::{Contents, Recovery, Report, Unrecovered, contents};
pub use replace::Replacement;
pub use scrub::{Finding, Mending, Phase, Scrub, What};
pub use strays::Judgement;
pub use tokens::{TOKENS_MAX, TokenId};
pub use users::{Quota, UserRecord, UserState};
pub use walk::{Concerned, Surveyed};
pub use whereabouts::Whereabouts;

/// A user's number in the catalog.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UserId(pub(in crate::core::catalog) i64);

/// The open catalog. Writers take turns; readers never wait for them.
pub struct Catalog {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// For what looks through whole tables, so that no user waits behind it.
    surveyor: Mutex<Connection>,
    /// Taken after `writer` where both are needed.
    order: Arc<Mutex<order::Order>>,
    cluster: ClusterId,
    path: PathBuf,
    /// Rows of `owed` that are done and go with the next commit: deleting them needs no sync of its
    /// own, since doing their work twice would do no harm.
    settled: Mutex<HashSet<i64>>,
    /// Set once a commit failed in a way that leaves open whether it happened.
    in_doubt: AtomicBool,
}

impl Catalog {
    /// Opens the catalog in this file, or makes one for a new cluster with `fresh` as its id.
    ///
    /// # Errors
    /// If the file cannot be opened or is not a catalog of this version.
    pub fn open(path: &Path, fresh: ClusterId) -> Result<Catalog> {
        let mut writer = database::open(path)?;
        database::migrate(&mut writer)?;
        let cluster = database::setting_or(&writer, "cluster", &fresh.to_string())?;
        let cluster = cluster.parse().map_err(|e| Error::Catalog(format!("cluster id: {e}")))?;
        let reserved = database::setting_or(&writer, "seq_reserved", "0")?;
        let reserved = reserved.parse().map_err(|e| Error::Catalog(format!("seq: {e}")))?;
        Ok(Catalog {
            writer: Mutex::new(writer),
            reader: Mutex::new(database::open(path)?),
            surveyor: Mutex::new(database::open(path)?),
            order: Arc::new(Mutex::new(order::Order::after(Seq(reserved)))),
            cluster,
            path: path.to_path_buf(),
            settled: Mutex::default(),
            in_doubt: AtomicBool::new(false),
        })
    }

    /// The cluster that this is the catalog of.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The addresses of nodes 1 to 4 as they were last given, if they were.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn node_addresses(&self) -> Result<Option<[String; 4]>> {
        let text = database::setting(&self.reader.lock(), "nodes")?;
        Ok(text.and_then(|text| {
            let parts: Vec<String> = text.split(' ').map(str::to_owned).collect();
            parts.try_into().ok()
        }))
    }

    /// Remembers the addresses of nodes 1 to 4.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn remember_node_addresses(&self, addresses: &[String; 4]) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(database::catalog_error)?;
        database::set_setting(&transaction, "nodes", &addresses.join(" "))?;
        journal::record(&transaction, &Change::Nodes { addresses: addresses.clone() })?;
        self.commit(transaction)
    }

    /// What the last server with this catalog registered with, if one has.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn last_claim(&self) -> Result<Option<Claim>> {
        let text = database::setting(&self.reader.lock(), "claim")?;
        let claim = text.map(|text| {
            let (epoch, server) = text.split_once(' ')?;
            Some(Claim { epoch: epoch.parse().ok()?, server: server.parse().ok()? })
        });
        let bad = || Error::Catalog("what the last server registered with cannot be read".into());
        claim.map(|claim| claim.ok_or_else(bad)).transpose()
    }

    /// Remembers what this server will register with. To be done before it does.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn remember_claim(&self, claim: Claim) -> Result<()> {
        let text = format!("{} {}", claim.epoch, claim.server);
        database::set_setting(&self.writer.lock(), "claim", &text)
    }

    /// Has it neither an account nor a file?
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        database::is_empty(&self.reader.lock())
    }

    /// Draws the number of a change that is not a store.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn draw_seq(&self) -> Result<Seq> {
        self.reserve_and(order::Order::draw)
    }

    /// Draws the number of a store and notes that it is running, until the ticket is dropped.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn begin_store(&self, version: VersionId) -> Result<Ticket> {
        let seq = self.reserve_and(|order| order.begin(version))?;
        Ok(Ticket::new(self.order.clone(), version, seq))
    }

    /// Commits, or refuses to if an earlier commit is in doubt.
    ///
    /// When the disk fails during a commit, nobody knows whether it happened until the file is
    /// opened again. Going on could answer a store whose row is lost or discard pieces whose row is
    /// not, so from then on nothing is written and no staged piece is called abandoned.
    ///
    /// A disk that is full is no such failure: SQLite says so before the transaction's last frame
    /// is written, and it is rolled back here. It certainly did not happen, and the next one may.
    fn commit(&self, transaction: Transaction<'_>) -> Result<()> {
        self.refuse_in_doubt()?;
        let settled: Vec<i64> = self.settled.lock().iter().copied().collect();
        settled.iter().try_for_each(|id| owed::strike(&transaction, *id).map(drop))?;
        if let Err(error) = transaction.execute_batch("COMMIT") {
            let error = database::catalog_error(error);
            let is_undone = error.code() == Code::NoSpace
                && (transaction.is_autocommit() || transaction.rollback().is_ok());
            if !is_undone {
                self.in_doubt.store(true, Ordering::SeqCst);
            }
            return Err(error);
        }
        let mut left = self.settled.lock();
        left.retain(|id| !settled.contains(id));
        Ok(())
    }

    /// Did a commit fail in a way that leaves open whether it happened? Then nothing is written any
    /// more until the server is started again.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::SeqCst)
    }

    /// Refuses what would change something while [`Catalog::is_in_doubt`].
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn refuse_in_doubt(&self) -> Result<()> {
        if self.is_in_doubt() {
            let what = "an earlier write failed half-way; nothing is changed until the server is \
                        started again";
            return Err(Error::Catalog(what.into()));
        }
        Ok(())
    }

    /// Draws a number while the writer is held, so that it is higher than that of every change that
    /// has been committed.
    fn draw_under(&self, writer: &Connection) -> Result<Seq> {
        let mut order = self.order.lock();
        if let Some(reserve) = order.to_reserve() {
            database::set_setting(writer, "seq_reserved", &reserve.to_string())?;
            order.reserved(reserve);
        }
        Ok(order.draw())
    }

    /// Numbers are reserved on disk before the first of them is used, many at a time: after a crash
    /// some are skipped, none is used twice.
    fn reserve_and<T>(&self, draw: impl FnOnce(&mut order::Order) -> T) -> Result<T> {
        let mut order = self.order.lock();
        if order.to_reserve().is_some() {
            // Whoever needs both locks takes the writer first.
            drop(order);
            let writer = self.writer.lock();
            order = self.order.lock();
            if let Some(reserve) = order.to_reserve() {
                database::set_setting(&writer, "seq_reserved", &reserve.to_string())?;
                order.reserved(reserve);
            }
        }
        Ok(draw(&mut order))
    }
}
