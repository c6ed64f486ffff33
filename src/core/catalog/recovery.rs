//! A new catalog out of a snapshot, a journal and the evidence of the nodes' disks.
//!
//! ```text
//!   snapshot ── replay: the journal's entries ── adopt: what only blocks tell ── finish
//!   (or none)                                        │
//!                   file by file: which version is the current one, who holds it, who owes what
//! ```
//!
//! The highest number decides what a path is, whatever source it comes from. A version above the
//! horizon that neither a deletion nor a higher version outranks is news; one below it that the
//! snapshot does not know was replaced or deleted. What was owed is worked out anew from what the
//! nodes hold. Nodes that could not be asked are taken at the catalog's word: they owe the commit of
//! what they are said to hold, and where one turns out not to hold it, it gets a repair.

mod adoption;
mod before;

use std::path::Path;

use rusqlite::Connection;

use self::adoption::Adoption;
use self::before::Before;
use crate::core::catalog::accounts;
use crate::core::catalog::database::{self, catalog_error};
use crate::core::catalog::evidence::Evidence;
use crate::core::catalog::files::{self, FileRecord};
use crate::core::catalog::folders;
use crate::core::catalog::{journal, moves, order, users};
use crate::core::error::{Error, Result};
use crate::core::io::disk::{Disk, RealDisk};
use crate::core::path::UserName;
use crate::core::types::{ClusterId, NodeSet, Seq, VersionId};
use crate::core::wire::backup::SnapshotHead;
use crate::core::wire::journal::{Change, Entry, Point};

/// What is in a catalog.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Contents {
    /// Accounts.
    pub accounts: u64,
    /// Folders, without the users' top folders.
    pub folders: u64,
    /// Files.
    pub files: u64,
}

/// Something that could not be recovered, or not yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unrecovered {
    /// What, as people call it.
    pub what: String,
    /// Why, and what would help.
    pub why: String,
}

/// How a recovery went.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// What is in the new catalog.
    pub contents: Contents,
    /// How many changes came from the journal.
    pub from_journal: u64,
    /// How many files have the version that only their blocks tell of.
    pub from_blocks: u64,
    /// Accounts that only blocks tell of: nobody can sign in to them until they are given a password.
    pub without_password: Vec<UserName>,
    /// What could not be recovered.
    pub unrecovered: Vec<Unrecovered>,
    /// What could not be read on the nodes or in their backups, for information: what the other nodes
    /// have made up for is not in `unrecovered`.
    pub damaged: Vec<String>,
}

/// What is in the catalog in this file; nothing if there is no such file.
///
/// # Errors
/// If the file is no catalog.
pub fn contents(path: &Path) -> Result<Option<Contents>> {
    let is_there =
        RealDisk.exists(path).map_err(Error::io(format!("cannot look at {}", path.display())))?;
    if !is_there {
        return Ok(None);
    }
    let mut connection = database::open(path)?;
    database::migrate(&mut connection)?;
    count(&connection).map(Some)
}

fn count(connection: &Connection) -> Result<Contents> {
    let count = |table: &str| -> Result<u64> {
        connection
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .map_err(catalog_error)
    };
    let accounts = count("users WHERE state != 'removed'")?;
    Ok(Contents { accounts, folders: count("folders")?, files: count("files")? })
}

/// A catalog that is being recovered, in a file beside its place.
pub struct Recovery {
    connection: Connection,
    /// What the snapshot said of itself; nothing if there was none.
    horizon: Option<Seq>,
    /// The highest number that was seen.
    highest: Seq,
    report: Report,
}

impl Recovery {
    /// Begins with the snapshot in this file.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the file is not what its head says; the next one is to be tried then.
    pub fn from_snapshot(path: &Path, head: &SnapshotHead) -> Result<Recovery> {
        let damaged = |what: String| Error::Damaged(format!("the snapshot {}: {what}", head.id()));
        let mut connection = database::open_copy(path).map_err(|e| damaged(e.to_string()))?;
        let sound: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|e| damaged(e.to_string()))?;
        if sound != "ok" {
            return Err(damaged(sound));
        }
        // Of a newer Palk: that is told as it is, an older snapshot is no help.
        database::migrate(&mut connection)?;
        if journal::cluster(&connection)? != head.cluster || journal::end(&connection)? != head.at {
            return Err(damaged("it holds another catalog than it says".into()));
        }
        let highest = reserved(&connection)?;
        let horizon = Some(head.horizon);
        Ok(Recovery { connection, horizon, highest, report: Report::default() })
    }

    /// Begins with nothing.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn from_nothing(path: &Path, cluster: ClusterId) -> Result<Recovery> {
        let mut connection = database::open_copy(path)?;
        database::migrate(&mut connection)?;
        database::set_setting(&connection, "cluster", &cluster.to_string())?;
        let (horizon, report) = (None, Report::default());
        Ok(Recovery { connection, horizon, highest: Seq(0), report })
    }

    /// Where the history is now.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn end(&self) -> Result<Point> {
        journal::end(&self.connection)
    }

    /// Something that was found out on the way, for the report.
    pub fn note_damaged(&mut self, what: impl IntoIterator<Item = String>) {
        self.report.damaged.extend(what);
    }

    /// Makes the changes of the journal again, in order. One that cannot be understood ends it, and
    /// is reported.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn replay(&mut self, entries: &[Entry]) -> Result<()> {
        let transaction = self.connection.transaction().map_err(catalog_error)?;
        for entry in entries {
            if !entry.follows(journal::end(&transaction)?) {
                return Err(Error::Damaged(format!("entry {} of the journal", entry.id)));
            }
            match Change::decode(&entry.record) {
                Ok(change) => apply(&transaction, change, &mut self.highest)?,
                Err(error) => {
                    let what = format!("what changed from entry {} of the journal on", entry.id);
                    self.report.unrecovered.push(Unrecovered { what, why: error.to_string() });
                    break;
                }
            }
            journal::append(&transaction, entry)?;
            self.report.from_journal += 1;
        }
        transaction.commit().map_err(catalog_error)
    }

    /// Decides what every path is, by all that is known now, and what the nodes owe. `asked` are the
    /// nodes whose evidence this is, `above` the highest generation that any node has seen.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn adopt(
        &mut self,
        evidence: &Evidence,
        asked: NodeSet,
        above: u64,
        mark: VersionId,
        addresses: &[Option<String>; 4],
    ) -> Result<()> {
        self.highest = self.highest.max(evidence.highest);
        let transaction = self.connection.transaction().map_err(catalog_error)?;
        journal::branch(&transaction, above, mark)?;
        remember_addresses(&transaction, addresses)?;
        // Tokens are not in the journal. Those of the snapshot may have been revoked since, so that
        // none of them counts any more.
        let before = Before::of(&transaction)?;
        transaction
            .execute_batch(
                "DELETE FROM owed WHERE kind NOT IN ('folder', 'discard'); DELETE FROM tokens;",
            )
            .map_err(catalog_error)?;
        let mut adoption = Adoption {
            transaction,
            evidence,
            asked,
            horizon: self.horizon,
            before,
            highest: self.highest,
            report: &mut self.report,
        };
        adoption.users_and_folders()?;
        adoption.news()?;
        adoption.settle()?;
        adoption.remove_again()?;
        adoption.remove_what_nobody_knows()?;
        adoption.remove_folders()?;
        let Adoption { transaction, highest, report, .. } = adoption;
        // Numbers that were drawn and never seen are left out, too.
        let next = highest.max(reserved(&transaction)?).0 + order::RESERVE;
        database::set_setting(&transaction, "seq_reserved", &next.to_string())?;
        let unread = evidence.unread.iter().map(|(node, what)| format!("node {node}: {what}"));
        report.damaged.extend(unread);
        report.contents = count(&transaction)?;
        transaction.commit().map_err(catalog_error)
    }

    /// Closes the file, complete and synced.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<Report> {
        self.connection.close().map_err(|(_, e)| catalog_error(e))?;
        Ok(self.report)
    }
}

/// Remembers the nodes' addresses, if all four are known now.
fn remember_addresses(connection: &Connection, named: &[Option<String>; 4]) -> Result<()> {
    let before = database::setting(connection, "nodes")?.unwrap_or_default();
    let remembered: Vec<&str> = before.split(' ').filter(|part| !part.is_empty()).collect();
    let addresses: [Option<String>; 4] = std::array::from_fn(|i| {
        named[i].clone().or_else(|| remembered.get(i).map(|&known| known.to_owned()))
    });
    let [Some(a), Some(b), Some(c), Some(d)] = addresses else { return Ok(()) };
    let addresses = [a, b, c, d];
    if addresses.join(" ") == before {
        return Ok(());
    }
    database::set_setting(connection, "nodes", &addresses.join(" "))?;
    journal::record(connection, &Change::Nodes { addresses })
}

fn reserved(connection: &Connection) -> Result<Seq> {
    let text = database::setting(connection, "seq_reserved")?;
    let seq = text.map_or(Ok(0), |text| text.parse());
    seq.map(Seq).map_err(|e| Error::Catalog(format!("seq: {e}")))
}

/// Makes one change again.
fn apply(connection: &Connection, change: Change, highest: &mut Seq) -> Result<()> {
    let user = |name: &UserName| {
        accounts::id_of(connection, name)?
            .ok_or_else(|| Error::Damaged(format!("the journal speaks of {name}, who is nobody")))
    };
    match change {
        Change::UserMade { user, password, created_ms } => {
            accounts::remake_user(connection, &user, &password, created_ms)
        }
        Change::FolderMade { user: name, folder } => {
            files::make_folders(connection, user(&name)?, &folder).map(drop)
        }
        Change::Stored { place, version, seq, bytes, blake3, stored_ms, placed } => {
            *highest = seq.max(*highest);
            let record = FileRecord { version, seq, bytes, blake3, stored_ms, placed };
            let user = user(&place.user)?;
            files::make_folders(connection, user, &place.path.folder())?;
            files::put_file(connection, user, &place.path, &record, None)
        }
        Change::Deleted { place, seq } => {
            *highest = seq.max(*highest);
            files::remove_file(connection, user(&place.user)?, &place.path, seq)
        }
        Change::FileMoved { user: name, from, to, seq } => {
            *highest = seq.max(*highest);
            moves::rename_file(connection, user(&name)?, [&from, &to], seq, 0)
        }
        Change::FolderMoved { user: name, from, to, seq } => {
            *highest = seq.max(*highest);
            moves::rename_folder(connection, user(&name)?, [&from, &to], seq, 0).map(drop)
        }
        Change::FolderRemoved { user: name, folder } => {
            folders::forget_folder(connection, user(&name)?, &folder)
        }
        Change::Nodes { addresses } => {
            database::set_setting(connection, "nodes", &addresses.join(" "))
        }
        // Set anew in any case.
        Change::Branched { .. } => Ok(()),
        Change::UserMadeAgain { user: name, password, created_ms, seq } => {
            *highest = seq.max(*highest);
            accounts::remake_user(connection, &name, &password, created_ms)?;
            journal::note_former(connection, user(&name)?, seq)
        }
        change @ (Change::PasswordChanged { .. }
        | Change::AccountDisabled { .. }
        | Change::QuotaSet { .. }
        | Change::RemovalBegun { .. }
        | Change::FoldersRemoved { .. }) => users::remake(connection, &change),
    }
}
