//! The catalog's journal and snapshots: what the nodes are given so that losing this database loses
//! nothing.
//!
//! An entry is written in the transaction of its change. A snapshot has a *horizon*: every store
//! with that number or a lower one had ended before the snapshot was begun. So of a version that a
//! node holds and the snapshot does not know, the number alone tells whether it is news. Deletions
//! above the horizon are kept in a table, since a store below them may still leave blocks behind.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::core::catalog::database::{self, catalog_error};
use crate::core::catalog::{Catalog, UserId};
use crate::core::error::{Error, Result};
use crate::core::io::disk::{Disk, RealDisk};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::{ClusterId, Seq, VersionId};
use crate::core::wire::backup::{ENTRIES_MAX, ENTRY_BYTES_MAX, FORMAT, SnapshotHead};
use crate::core::wire::journal::{Chain, Change, Entry, Point};

/// The setting with the number of times that the history has branched.
const GENERATION: &str = "generation";

impl Catalog {
    /// How often the catalog's history has branched.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn generation(&self) -> Result<u64> {
        generation(&self.reader.lock())
    }

    /// The last entry of the journal.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn journal_end(&self) -> Result<Point> {
        end(&self.reader.lock())
    }

    /// This catalog's own history up to entry `id`, if the journal still has it.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn journal_at(&self, id: u64) -> Result<Option<Point>> {
        let reader = self.reader.lock();
        if id == 0 {
            let first: Option<u64> = reader
                .query_row("SELECT min(id) FROM journal", [], |row| row.get(0))
                .map_err(catalog_error)?;
            return Ok((first.unwrap_or(1) == 1).then(|| Point::start(self.cluster)));
        }
        let chain: Option<[u8; 16]> = reader
            .prepare_cached("SELECT chain FROM journal WHERE id = ?1")
            .and_then(|mut query| query.query_row([id], |row| row.get(0)).optional())
            .map_err(catalog_error)?;
        Ok(chain.map(|chain| Point { id, chain: Chain(chain) }))
    }

    /// The entries behind this one, as many as one message takes.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn journal_after(&self, id: u64) -> Result<Vec<Entry>> {
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached(
                "SELECT id, record, chain FROM journal WHERE id > ?1 ORDER BY id LIMIT ?2",
            )
            .map_err(catalog_error)?;
        let most = i64::try_from(ENTRIES_MAX).unwrap_or(i64::MAX);
        let rows = query
            .query_map(params![id, most], |row| {
                Ok(Entry { id: row.get(0)?, record: row.get(1)?, chain: Chain(row.get(2)?) })
            })
            .map_err(catalog_error)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in rows {
            let entry: Entry = entry.map_err(catalog_error)?;
            bytes += entry.record.len();
            if bytes > ENTRY_BYTES_MAX && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Drops the entries before this one, which every node has.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn prune_journal(&self, before: u64) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        transaction
            .execute("DELETE FROM journal WHERE id < ?1", [before])
            .map_err(catalog_error)?;
        self.commit(transaction)
    }

    /// A node has a history that is not this one: what follows here outranks it. `mark` is random.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn branch(&self, above: u64, mark: VersionId) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        branch(&transaction, above, mark)?;
        self.commit(transaction)
    }

    /// Writes a consistent copy of the catalog to a file, over one that is there, without holding up
    /// anybody who writes.
    ///
    /// # Errors
    /// If the catalog cannot be read or the file not written.
    pub fn snapshot(&self, path: &Path) -> Result<SnapshotHead> {
        // Before the copy begins: whatever ended by now is in it.
        let horizon = self.order.lock().horizon();
        self.forget_deletions(horizon)?;
        let failed = |e| Error::io(format!("cannot write {}", path.display()))(e);
        for name in [path.to_path_buf(), beside(path, "-wal"), beside(path, "-shm")] {
            RealDisk.remove(&name).map_err(failed)?;
        }
        let source = database::open(&self.path)?;
        let name = path
            .to_str()
            .ok_or_else(|| Error::Catalog(format!("the name {} is not UTF-8", path.display())))?;
        source.execute("VACUUM INTO ?1", [name]).map_err(catalog_error)?;
        let copy = database::open_copy(path)?;
        let (at, generation) = (end(&copy)?, generation(&copy)?);
        copy.close().map_err(|(_, e)| catalog_error(e))?;
        let bytes = RealDisk.open(path).and_then(|file| file.length()).map_err(failed)?;
        Ok(SnapshotHead { format: FORMAT, cluster: self.cluster, generation, at, horizon, bytes })
    }

    fn forget_deletions(&self, up_to: Seq) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let dropped = transaction
            .execute("DELETE FROM deletions WHERE seq <= ?1", [up_to.0])
            .map_err(catalog_error)?;
        if dropped == 0 { Ok(()) } else { self.commit(transaction) }
    }
}

/// The file beside this one that SQLite may have made.
pub(super) fn beside(path: &Path, ending: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Adds an entry to the journal, in the transaction of the change itself.
pub(super) fn record(connection: &Connection, change: &Change) -> Result<()> {
    append(connection, &Entry::after(end(connection)?, change.encode()?))
}

/// Adds an entry as it is.
pub(super) fn append(connection: &Connection, entry: &Entry) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO journal (id, record, chain) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![entry.id, entry.record, entry.chain.0]))
        .map_err(catalog_error)?;
    Ok(())
}

pub(super) fn end(connection: &Connection) -> Result<Point> {
    let last: Option<(u64, [u8; 16])> = connection
        .prepare_cached("SELECT id, chain FROM journal ORDER BY id DESC LIMIT 1")
        .and_then(|mut query| query.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(catalog_error)?;
    match last {
        Some((id, chain)) => Ok(Point { id, chain: Chain(chain) }),
        None => Ok(Point::start(cluster(connection)?)),
    }
}

/// The cluster that a catalog says it is of.
pub(super) fn cluster(connection: &Connection) -> Result<ClusterId> {
    let text = database::setting(connection, "cluster")?;
    let text = text.ok_or_else(|| Error::Catalog("it names no cluster".into()))?;
    text.parse().map_err(|e| Error::Catalog(format!("cluster id: {e}")))
}

pub(super) fn generation(connection: &Connection) -> Result<u64> {
    match database::setting(connection, GENERATION)? {
        Some(text) => text.parse().map_err(|e| Error::Catalog(format!("generation: {e}"))),
        None => Ok(0),
    }
}

/// Begins a history that outranks all those up to generation `above`.
pub(super) fn branch(connection: &Connection, above: u64, mark: VersionId) -> Result<()> {
    let generation = above.max(generation(connection)?) + 1;
    database::set_setting(connection, GENERATION, &generation.to_string())?;
    record(connection, &Change::Branched { generation, mark })
}

/// Keeps the number of a deletion.
pub(super) fn note_deletion(
    connection: &Connection,
    user: UserId,
    path: &FilePath,
    seq: Seq,
) -> Result<()> {
    note_deletion_at(connection, user, path.as_str(), seq)
}

/// Keeps the number of a change after which nothing in a folder has a lower one.
pub(super) fn note_deletion_below(
    connection: &Connection,
    user: UserId,
    folder: &FolderPath,
    seq: Seq,
) -> Result<()> {
    note_deletion_at(connection, user, &format!("{}/", folder.as_str()), seq)
}

fn note_deletion_at(connection: &Connection, user: UserId, path: &str, seq: Seq) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO deletions (user_id, path, seq) VALUES (?1, ?2, ?3)
             ON CONFLICT (user_id, path) DO UPDATE SET seq = max(seq, excluded.seq)",
        )
        .and_then(|mut insert| insert.execute(params![user.0, path, seq.0]))
        .map_err(catalog_error)?;
    Ok(())
}

/// Keeps the number at which an account took the name of a removed one, as that of a deletion of the
/// top folder: nothing with a lower number is its.
pub(super) fn note_former(connection: &Connection, user: UserId, seq: Seq) -> Result<()> {
    note_deletion_at(connection, user, "", seq)
}

/// The number of the last deletion that concerns a path, if it is kept.
pub(super) fn deletion(connection: &Connection, user: UserId, path: &FilePath) -> Result<Seq> {
    let above = path.folder().ancestry();
    let folders = above.iter().map(|folder| format!("{}/", folder.as_str()));
    let mut last = Seq(0);
    for key in folders.chain([path.as_str().to_owned(), String::new()]) {
        let seq: Option<u64> = connection
            .prepare_cached("SELECT seq FROM deletions WHERE user_id = ?1 AND path = ?2")
            .and_then(|mut query| {
                query.query_row(params![user.0, key], |row| row.get(0)).optional()
            })
            .map_err(catalog_error)?;
        last = last.max(Seq(seq.unwrap_or(0)));
    }
    Ok(last)
}
