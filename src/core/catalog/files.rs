//! Files and folders: what a user has, and the transactions that change it.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::order::Ticket;
use crate::core::catalog::owed::{self, Kind};
use crate::core::catalog::{Catalog, Scope, UserId, accounts, journal, users};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, FolderPath, block_file_name, parse_block_file_name};
use crate::core::types::{Block, Digest, NodeId, NodeSet, Precondition, Seq, VersionId};
use crate::core::wire::extended::{Entry, FileEntry};
use crate::core::wire::journal::Change;
use crate::core::wire::node::Place;

/// A file's current version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRecord {
    /// The version.
    pub version: VersionId,
    /// Its number: of its store, or of the last move since.
    pub seq: Seq,
    /// The file's size.
    pub bytes: u64,
    /// The file's digest.
    pub blake3: Digest,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
    /// The nodes that hold its piece.
    pub placed: NodeSet,
}

/// A version whose pieces are staged, about to become the current one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewFile {
    /// Whose.
    pub user: UserId,
    /// Where.
    pub path: FilePath,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub blake3: Digest,
    /// When its store began, in milliseconds since 1970.
    pub stored_ms: i64,
    /// The nodes that have it staged, synced.
    pub staged: NodeSet,
    /// What has to be there.
    pub precondition: Precondition,
    /// Who stores it, and from where: for whoever finds it changed.
    pub stored_by: String,
}

/// How a store ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Committed {
    /// The new version is the current one.
    Current,
    /// A change with a higher number was faster: stored, and replaced at once.
    Overtaken,
}

impl Catalog {
    /// Would a store at this path be refused right now? Asked before any byte is taken.
    ///
    /// # Errors
    /// [`Error::NameCollision`]; for a precondition that is not met [`Error::Exists`],
    /// [`Error::NoSuchFile`], [`Error::NoSuchFolder`], [`Error::ChangedMeanwhile`] or
    /// [`Error::GoneMeanwhile`].
    pub fn check_store(
        &self,
        user: UserId,
        path: &FilePath,
        precondition: Precondition,
    ) -> Result<()> {
        let reader = self.reader.lock();
        check_names(&reader, user, path)?;
        let there = file_at(&reader, user, path)?;
        check_precondition(&reader, user, path, there.as_ref(), precondition)
    }

    /// The commit point of a store: the new version becomes the current one, and what the nodes owe
    /// for it is recorded.
    ///
    /// # Errors
    /// As [`Catalog::check_store`], [`Error::MovedMeanwhile`], and
    /// [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) if the account was removed meanwhile; nothing has changed then.
    pub fn commit_store(&self, ticket: &Ticket, new: &NewFile) -> Result<Committed> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        users::check_not_removed(&transaction, new.user)?;
        if self.order.lock().moved_after(new.user, new.path.as_str(), ticket.seq) {
            return Err(Error::MovedMeanwhile(new.path.clone()));
        }
        check_names(&transaction, new.user, &new.path)?;
        let there = file_at(&transaction, new.user, &new.path)?;
        check_precondition(&transaction, new.user, &new.path, there.as_ref(), new.precondition)?;
        let overtaken = there.as_ref().is_some_and(|there| there.seq > ticket.seq)
            || self.order.lock().deleted_after(new.user, &new.path, ticket.seq);
        let outcome = if overtaken {
            self.record_discard(&transaction, ticket, new)?;
            Committed::Overtaken
        } else {
            let record = FileRecord {
                version: ticket.version,
                seq: ticket.seq,
                bytes: new.bytes,
                blake3: new.blake3,
                stored_ms: new.stored_ms,
                placed: new.staged,
            };
            for folder in make_folders(&transaction, new.user, &new.path.folder())? {
                let user = accounts::name_of(&transaction, new.user)?;
                journal::record(&transaction, &Change::FolderMade { user, folder })?;
            }
            put_file(&transaction, new.user, &new.path, &record, Some(&new.stored_by))?;
            owe_version(&transaction, new.user, &new.path, &record)?;
            let place = place_of(&transaction, new.user, &new.path)?;
            journal::record(&transaction, &record.stored(place))?;
            Committed::Current
        };
        self.commit(transaction)?;
        Ok(outcome)
    }

    fn record_discard(
        &self,
        transaction: &Transaction<'_>,
        ticket: &Ticket,
        new: &NewFile,
    ) -> Result<()> {
        for node in new.staged.iter() {
            let (path, version) = (new.path.as_str(), Some(ticket.version));
            owed::add(transaction, node, Kind::Discard, new.user, path, version, ticket.seq)?;
        }
        Ok(())
    }

    /// The current version of a file.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] or [`Error::NoSuchFile`].
    pub fn file(&self, user: UserId, path: &FilePath) -> Result<FileRecord> {
        let reader = self.reader.lock();
        match file_at(&reader, user, path)? {
            Some(record) => Ok(record),
            None => Err(missing(&reader, user, path)?),
        }
    }

    /// Removes a file, and owes every node the removal of its blocks.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] or [`Error::NoSuchFile`].
    pub fn delete(&self, user: UserId, path: &FilePath, seq: Seq) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let Some(there) = file_at(&transaction, user, path)? else {
            return Err(missing(&transaction, user, path)?);
        };
        if there.seq > seq {
            // A store that began later has committed already: the file was deleted before it.
            return Ok(());
        }
        remove_file(&transaction, user, path, seq)?;
        let place = place_of(&transaction, user, path)?;
        journal::record(&transaction, &Change::Deleted { place, seq })?;
        self.commit(transaction)?;
        // Still under the writer's lock: a store that commits next must find the note.
        self.order.lock().note_deleted(user, path, seq);
        Ok(())
    }

    /// Everything a user has, sorted by the bytes of the path.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn list(&self, user: UserId) -> Result<Vec<Entry>> {
        self.page(user, &FolderPath::top(), Scope::All, None, usize::MAX)
    }

    /// The number of a version's store, which is in its trailers, if it is a file's current one.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn stored_seq(&self, version: VersionId) -> Result<Option<Seq>> {
        self.reader
            .lock()
            .prepare_cached("SELECT coalesce(stored_seq, seq) FROM files WHERE version = ?1")
            .and_then(|mut query| {
                query.query_row([version.0], |row| Ok(Seq(row.get(0)?))).optional()
            })
            .map_err(catalog_error)
    }

    /// The current version of the file that this is a version of, if it is the current one.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn version(&self, version: VersionId) -> Result<Option<FileRecord>> {
        self.reader
            .lock()
            .prepare_cached(
                "SELECT version, seq, bytes, blake3, stored_ms, placed
                 FROM files WHERE version = ?1",
            )
            .and_then(|mut query| {
                query.query_row([version.0], |row| read_record(row, 0)).optional()
            })
            .map_err(catalog_error)
    }
}

impl FileRecord {
    /// The file at this path, as it is listed.
    pub(super) fn listed(&self, path: FilePath) -> FileEntry {
        FileEntry {
            path,
            bytes: self.bytes,
            stored_ms: self.stored_ms,
            version: self.version,
            blake3: self.blake3,
            placed: self.placed,
        }
    }

    /// The change that made this the current version of the file at this place.
    pub(super) fn stored(&self, place: Place) -> Change {
        Change::Stored {
            place,
            version: self.version,
            seq: self.seq,
            bytes: self.bytes,
            blake3: self.blake3,
            stored_ms: self.stored_ms,
            placed: self.placed,
        }
    }
}

pub(super) fn place_of(connection: &Connection, user: UserId, path: &FilePath) -> Result<Place> {
    Ok(Place { user: accounts::name_of(connection, user)?, path: path.clone() })
}

/// Is what is there what a store asks for?
fn check_precondition(
    connection: &Connection,
    user: UserId,
    path: &FilePath,
    there: Option<&FileRecord>,
    precondition: Precondition,
) -> Result<()> {
    match (precondition, there) {
        (Precondition::Any, _)
        | (Precondition::Absent, None)
        | (Precondition::Present, Some(_)) => Ok(()),
        (Precondition::Absent, Some(_)) => Err(Error::Exists(path.clone())),
        (Precondition::Present, None) => Err(missing(connection, user, path)?),
        (Precondition::Unchanged(_), None) => Err(Error::GoneMeanwhile(path.clone())),
        (Precondition::Unchanged(version), Some(there)) if there.version == version => Ok(()),
        (Precondition::Unchanged(_), Some(there)) => Err(Error::ChangedMeanwhile {
            path: path.clone(),
            by: stored_by(connection, user, path)?,
            at_ms: there.stored_ms,
        }),
    }
}

/// Who stored a file's current version, if that is known.
fn stored_by(connection: &Connection, user: UserId, path: &FilePath) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT stored_by FROM files WHERE user_id = ?1 AND path = ?2")
        .and_then(|mut query| query.query_row(params![user.0, path.as_str()], |row| row.get(0)))
        .map_err(catalog_error)
}

/// Makes this the current version of the file at this path. Who stored it is not in the journal, so
/// it is not known after a recovery.
pub(super) fn put_file(
    connection: &Connection,
    user: UserId,
    path: &FilePath,
    record: &FileRecord,
    stored_by: Option<&str>,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO files
                 (user_id, path, version, seq, bytes, blake3, stored_ms, placed, stored_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (user_id, path) DO UPDATE SET
                 version = excluded.version, seq = excluded.seq, bytes = excluded.bytes,
                 blake3 = excluded.blake3, stored_ms = excluded.stored_ms,
                 placed = excluded.placed, stored_by = excluded.stored_by, stored_seq = NULL",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                user.0,
                path.as_str(),
                record.version.0,
                record.seq.0,
                record.bytes,
                record.blake3.0,
                record.stored_ms,
                record.placed.bits(),
                stored_by
            ])
        })
        .map_err(catalog_error)?;
    owed::forget_repairs(connection, user, path)
}

/// Nodes that have a version staged owe its commit, the others a repair.
pub(super) fn owe_version(
    connection: &Connection,
    user: UserId,
    path: &FilePath,
    record: &FileRecord,
) -> Result<()> {
    for node in NodeId::ALL {
        let kind = if record.placed.contains(node) { Kind::Commit } else { Kind::Repair };
        owed::add(connection, node, kind, user, path.as_str(), Some(record.version), record.seq)?;
    }
    Ok(())
}

/// Removes a file, keeps the deletion's number, and owes every node the removal of its blocks.
pub(super) fn remove_file(
    connection: &Connection,
    user: UserId,
    path: &FilePath,
    seq: Seq,
) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM files WHERE user_id = ?1 AND path = ?2")
        .and_then(|mut delete| delete.execute(params![user.0, path.as_str()]))
        .map_err(catalog_error)?;
    journal::note_deletion(connection, user, path, seq)?;
    owed::forget_repairs(connection, user, path)?;
    for node in NodeId::ALL {
        owed::add(connection, node, Kind::Remove, user, path.as_str(), None, seq)?;
    }
    Ok(())
}

pub(super) fn file_at(
    connection: &Connection,
    user: UserId,
    path: &FilePath,
) -> Result<Option<FileRecord>> {
    connection
        .prepare_cached(
            "SELECT version, seq, bytes, blake3, stored_ms, placed
             FROM files WHERE user_id = ?1 AND path = ?2",
        )
        .and_then(|mut query| {
            query.query_row(params![user.0, path.as_str()], |row| read_record(row, 0)).optional()
        })
        .map_err(catalog_error)
}

pub(super) fn read_record(row: &Row<'_>, at: usize) -> rusqlite::Result<FileRecord> {
    Ok(FileRecord {
        version: VersionId(row.get(at)?),
        seq: Seq(row.get(at + 1)?),
        bytes: row.get(at + 2)?,
        blake3: Digest(row.get(at + 3)?),
        stored_ms: row.get(at + 4)?,
        placed: NodeSet::from_bits(row.get(at + 5)?),
    })
}

pub(super) fn read_entry(row: &Row<'_>) -> Result<Entry> {
    let path: String = row.get(0).map_err(catalog_error)?;
    let is_folder = row.get_ref(1).map_err(catalog_error)? == rusqlite::types::ValueRef::Null;
    if is_folder {
        return Ok(Entry::Folder(FolderPath::parse(&path)?));
    }
    let record = read_record(row, 1).map_err(catalog_error)?;
    Ok(Entry::File(record.listed(FilePath::parse_rooted(&path)?)))
}

pub(super) fn folder_exists(connection: &Connection, user: UserId, path: &str) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM folders WHERE user_id = ?1 AND path = ?2)")
        .and_then(|mut query| query.query_row(params![user.0, path], |row| row.get(0)))
        .map_err(catalog_error)
}

/// What lies in a folder is between these two texts, neither included: what begins with `a/` lies
/// behind `a/` and before `a0`, as `0` is what follows `/`.
pub(super) fn range_below(folder: &FolderPath) -> [String; 2] {
    ["/", "0"].map(|end| format!("{}{end}", folder.as_str()))
}

/// Which part of a path that has no file is missing.
pub(super) fn missing(connection: &Connection, user: UserId, path: &FilePath) -> Result<Error> {
    let folder = path.folder();
    if folder.is_top() || folder_exists(connection, user, folder.as_str())? {
        Ok(Error::NoSuchFile(path.clone()))
    } else {
        Ok(Error::NoSuchFolder(folder))
    }
}

/// Makes a folder and those above it; gives those that are new.
pub(super) fn make_folders(
    connection: &Connection,
    user: UserId,
    folder: &FolderPath,
) -> Result<Vec<FolderPath>> {
    let mut new = Vec::new();
    for folder in folder.ancestry() {
        let made = connection
            .prepare_cached(
                "INSERT INTO folders (user_id, path) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )
            .and_then(|mut insert| insert.execute(params![user.0, folder.as_str()]))
            .map_err(catalog_error)?;
        if made > 0 {
            new.push(folder);
        }
    }
    Ok(new)
}

/// On the nodes a file becomes block files beside folders, all in one name space. Whichever comes
/// second to a name is refused, and so is a file and a folder of one name.
pub(super) fn check_names(connection: &Connection, user: UserId, path: &FilePath) -> Result<()> {
    let collision = |taken: String| Error::NameCollision { what: path.to_string(), taken };
    if folder_exists(connection, user, path.as_str())? {
        return Err(collision(format!("the folder {path}")));
    }
    let folder = path.folder();
    for block in Block::ALL {
        // Not a path of a user's: with the block's name added it may be longer than one may be.
        let slash = if folder.is_top() { "" } else { "/" };
        let block_path =
            format!("{}{slash}{}", folder.as_str(), block_file_name(path.name(), block));
        if folder_exists(connection, user, &block_path)? {
            return Err(collision(format!(
                "the folder {block_path} (one of its blocks is called so)"
            )));
        }
    }
    for folder in folder.ancestry() {
        if !folder_exists(connection, user, folder.as_str())? {
            check_new_folder(connection, user, &folder, &collision)?;
        }
    }
    Ok(())
}

pub(super) fn check_new_folder(
    connection: &Connection,
    user: UserId,
    folder: &FolderPath,
    collision: &dyn Fn(String) -> Error,
) -> Result<()> {
    let Some((above, name)) = folder.split() else {
        return Ok(());
    };
    let same = above.join(name)?;
    if file_at(connection, user, &same)?.is_some() {
        return Err(collision(format!("the file {same}")));
    }
    if let Some((file_name, _)) = parse_block_file_name(name) {
        let file = above.join(&file_name)?;
        if file_at(connection, user, &file)?.is_some() {
            return Err(collision(format!("a block of the file {file}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
