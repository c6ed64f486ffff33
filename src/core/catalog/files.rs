//! Files: what a user has, and the jobs that store and delete them.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use crate::core::catalog::accounts::{Account, Proof};
use crate::core::catalog::database::{execute, first, one};
use crate::core::catalog::{Catalog, Draft, UserId, tree, users};
use crate::core::code::coded::CodedStripe;
use crate::core::error::{Code, Error, Result};
use crate::core::path::FilePath;
use crate::core::types::{Digest, FileAttributes, FileKind, NodeSet, Precondition, Seq, VersionId};
use crate::core::wire::extended::FileEntry;
use crate::core::wire::journal::Change;
use crate::core::wire::node::Place;

/// A file's current version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRecord {
    /// The version.
    pub version: VersionId,
    /// Its sequence number, as in its trailers.
    pub seq: Seq,
    /// The file's size.
    pub bytes: u64,
    /// The file's digest.
    pub blake3: Digest,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
    /// The nodes that hold its piece.
    pub placed: NodeSet,
    /// What it keeps of the file that was stored.
    pub attributes: FileAttributes,
    /// Is it made of extents, and has no pieces of its own?
    pub joined: bool,
}

/// The columns that are a [`FileRecord`], behind its version. A joined version is placed where all of its
/// extents are.
pub(super) const RECORD: &str = "seq, versions.bytes, blake3, stored_ms,
    CASE joined WHEN 0 THEN placed ELSE
        (SELECT min(of.placed & 1) + min(of.placed & 2) + min(of.placed & 4) + min(of.placed & 8)
         FROM extents JOIN versions of ON of.version = extents.version
         WHERE file = versions.version) END,
    modified_ms, kind, joined";

/// A version about to become the current one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewFile {
    /// Whose.
    pub user: UserId,
    /// Where.
    pub path: FilePath,
    /// Which version.
    pub version: VersionId,
    /// Its sequence number.
    pub seq: Seq,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub blake3: Digest,
    /// When its store began, in milliseconds since 1970.
    pub stored_ms: i64,
    /// The nodes that hold its piece, synced, or get it with the entry.
    pub placed: NodeSet,
    /// Do the pieces travel with the entry?
    pub inline: bool,
    /// What has to be there.
    pub precondition: Precondition,
    /// Who stores it, and from where: for those who find it changed.
    pub stored_by: String,
    /// What it keeps of the file that was stored.
    pub attributes: FileAttributes,
}

impl Draft<'_> {
    /// Makes this version the current one of its file; true if it has replaced another. `pieces` travel
    /// with the entry.
    ///
    /// # Errors
    /// As [`Catalog::check_store`]; [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) if the
    /// account was removed meanwhile.
    pub fn store(&mut self, new: &NewFile, pieces: Option<Arc<CodedStripe>>) -> Result<bool> {
        let (user, top) = users::still_there(self.connection, new.user)?;
        let replaced = check_store(self.connection, top, &new.path, new.precondition)?;
        let change = Change::Stored {
            place: Place { user, path: new.path.clone() },
            version: new.version,
            seq: new.seq,
            bytes: new.bytes,
            blake3: new.blake3,
            stored_ms: new.stored_ms,
            placed: new.placed,
            inline: new.inline,
            by: new.stored_by.clone(),
            attributes: new.attributes,
        };
        match pieces {
            Some(pieces) => self.record_with(change, pieces)?,
            None => self.record(change)?,
        };
        Ok(replaced.is_some())
    }

    /// Changes what a file keeps besides its bytes, if it has this version. What is not given stays as it
    /// was.
    ///
    /// # Errors
    /// Those of [`Precondition::Unchanged`]; [`Code::NotAllowed`] where other files have the same version,
    /// which would be changed with it.
    pub fn set_attributes(
        &mut self,
        user: UserId,
        path: &FilePath,
        version: VersionId,
        attributes: FileAttributes,
    ) -> Result<()> {
        let (_, top) = users::still_there(self.connection, user)?;
        check_store(self.connection, top, path, Precondition::Unchanged(version))?;
        let select = "SELECT count(*) FROM entries WHERE version = ?1";
        let names: u64 = one(self.connection, select, [version.0], |row| row.get(0))?;
        if names > 1 {
            let text = format!("{path} has copies, which would be changed with it");
            return Err(Error::other(Code::NotAllowed, text));
        }
        let Some(record) = record_of(self.connection, version)? else {
            return Err(Error::NoSuchFile(path.clone()));
        };
        let is_link = record.attributes.is_link();
        if attributes.kind.is_some() && attributes.is_link() != is_link {
            let text = format!("{path} is {}a symbolic link", if is_link { "" } else { "not " });
            return Err(Error::other(Code::NotAllowed, text));
        }
        let attributes = attributes.or(record.attributes);
        if attributes == record.attributes {
            return Ok(());
        }
        self.record(Change::AttributesSet { version, attributes }).map(drop)
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] or [`Error::NoSuchFile`].
    pub fn delete(&mut self, user: UserId, path: &FilePath) -> Result<()> {
        let (user, top) = users::still_there(self.connection, user)?;
        if tree::file(self.connection, top, path)?.is_none() {
            return Err(missing(self.connection, top, path)?);
        }
        let place = Place { user, path: path.clone() };
        self.record(Change::Deleted { place }).map(drop)
    }
}

impl Catalog {
    /// Would a store at this path be refused right now? Asked before any byte is taken.
    ///
    /// # Errors
    /// As [`Catalog::check_standing`]; [`Error::NameCollision`]; for a precondition that is not met
    /// [`Error::Exists`], [`Error::NoSuchFile`], [`Error::NoSuchFolder`], [`Error::ChangedMeanwhile`] or
    /// [`Error::GoneMeanwhile`].
    pub fn check_store(
        &self,
        account: &Account,
        proof: &Proof,
        path: &FilePath,
        precondition: Precondition,
    ) -> Result<()> {
        self.read(|connection| {
            users::check_standing(connection, account, proof)?;
            let (_, top) = users::still_there(connection, account.id)?;
            check_store(connection, top, path, precondition).map(drop)
        })
    }

    /// The current version of a file.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] or [`Error::NoSuchFile`].
    pub fn file(&self, user: UserId, path: &FilePath) -> Result<FileRecord> {
        self.read(|connection| {
            let (_, top) = users::still_there(connection, user)?;
            match record_at(connection, top, path)? {
                Some(record) => Ok(record),
                None => Err(missing(connection, top, path)?),
            }
        })
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
            attributes: self.attributes,
        }
    }
}

/// Gives what would be replaced.
pub(super) fn check_store(
    connection: &Connection,
    top: i64,
    path: &FilePath,
    precondition: Precondition,
) -> Result<Option<VersionId>> {
    let there = there(connection, top, path)?;
    match (precondition, there) {
        (Precondition::Any, _)
        | (Precondition::Absent, None)
        | (Precondition::Present, Some(_)) => Ok(there),
        (Precondition::Absent, Some(_)) => Err(Error::Exists(path.clone())),
        (Precondition::Present, None) => Err(missing(connection, top, path)?),
        (Precondition::Unchanged(_), None) => Err(Error::GoneMeanwhile(path.clone())),
        (Precondition::Unchanged(version), Some(there)) if there == version => Ok(Some(there)),
        (Precondition::Unchanged(_), Some(there)) => {
            let select = "SELECT stored_by, stored_ms FROM versions WHERE version = ?1";
            let (by, at_ms): (String, i64) =
                one(connection, select, [there.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let by = Some(by).filter(|by| !by.is_empty());
            Err(Error::ChangedMeanwhile { path: path.clone(), by, at_ms })
        }
    }
}

/// The version of the file at this path, if there is one. A file and a folder never have one name:
/// whichever comes second is refused.
pub(super) fn there(
    connection: &Connection,
    top: i64,
    path: &FilePath,
) -> Result<Option<VersionId>> {
    let collision = |taken: String| Error::NameCollision { what: path.to_string(), taken };
    let mut above = top;
    for folder in path.folder().ancestry() {
        let Some((_, name)) = folder.split() else { continue };
        match tree::child(connection, above, name)? {
            Some(item) if item.is_folder() => above = item.id,
            Some(_) => return Err(collision(format!("the file {folder}"))),
            None => return Ok(None),
        }
    }
    match tree::child(connection, above, path.name())? {
        Some(item) if item.is_folder() => Err(collision(format!("the folder {path}"))),
        found => Ok(found.and_then(|item| item.version)),
    }
}

pub(super) fn record_at(
    connection: &Connection,
    top: i64,
    path: &FilePath,
) -> Result<Option<FileRecord>> {
    match tree::file(connection, top, path)? {
        Some((_, version)) => record_of(connection, version),
        None => Ok(None),
    }
}

pub(super) fn record_of(connection: &Connection, version: VersionId) -> Result<Option<FileRecord>> {
    let select = format!("SELECT version, {RECORD} FROM versions WHERE version = ?1");
    first(connection, &select, [version.0], |row| read_record(row, 0))
}

/// Reads a version, which is this column, and those of [`RECORD`] behind it.
pub(super) fn read_record(row: &Row<'_>, at: usize) -> rusqlite::Result<FileRecord> {
    Ok(FileRecord {
        version: VersionId(row.get(at)?),
        seq: Seq(row.get(at + 1)?),
        bytes: row.get(at + 2)?,
        blake3: Digest(row.get(at + 3)?),
        stored_ms: row.get(at + 4)?,
        placed: NodeSet::from_bits(row.get(at + 5)?),
        attributes: read_attributes(row, at + 6)?,
        joined: row.get(at + 8)?,
    })
}

/// Reads the attributes of a file, which are this column and the one behind it.
pub(super) fn read_attributes(row: &Row<'_>, at: usize) -> rusqlite::Result<FileAttributes> {
    let kind: Option<i64> = row.get(at + 1)?;
    Ok(FileAttributes {
        modified_ms: row.get(at)?,
        kind: kind.and_then(|number| KINDS.into_iter().find(|kind| kind_number(*kind) == number)),
    })
}

const KINDS: [FileKind; 3] = [FileKind::Plain, FileKind::Executable, FileKind::Link];

/// A kind of file as the catalog has it.
pub(super) fn kind_number(kind: FileKind) -> i64 {
    match kind {
        FileKind::Plain => 0,
        FileKind::Executable => 1,
        FileKind::Link => 2,
    }
}

/// Changes what a version keeps besides its bytes.
pub(super) fn set_attributes(
    connection: &Connection,
    version: VersionId,
    attributes: FileAttributes,
) -> Result<()> {
    let update = "UPDATE versions SET modified_ms = ?2, kind = ?3 WHERE version = ?1";
    let FileAttributes { modified_ms, kind } = attributes;
    execute(connection, update, params![version.0, modified_ms, kind.map(kind_number)]).map(drop)
}

/// Which part of a path that has no file is missing.
pub(super) fn missing(connection: &Connection, top: i64, path: &FilePath) -> Result<Error> {
    Ok(match tree::folder(connection, top, &path.folder())? {
        Some(_) => Error::NoSuchFile(path.clone()),
        None => Error::NoSuchFolder(path.folder()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{
        Fixture, fixture, folder, journal, name, new_file, path, place, v,
    };
    use crate::core::error::Code;

    fn account(f: &Fixture) -> Account {
        f.catalog.account(&name("demo")).unwrap()
    }

    #[test]
    fn a_stored_file_is_current_until_it_is_replaced_or_deleted() {
        let f = fixture();
        f.store("x/a", 1);
        assert_eq!(f.version_at("x/a"), Some(v(1)));
        assert_eq!(f.list(), ["x/", "x/a"]);
        f.store("x/a", 2);
        assert_eq!(f.version_at("x/a"), Some(v(2)));
        assert_eq!(f.catalog.version(v(1)).unwrap().unwrap().place, place("x/a"), "it is kept");
        f.expire();
        assert_eq!(f.catalog.version(v(1)).unwrap(), None);
        let found = f.catalog.version(v(2)).unwrap().unwrap();
        assert_eq!((found.place, found.record.version), (place("x/a"), v(2)));
        f.change(|draft| draft.delete(f.user, &path("x/a"))).unwrap();
        assert_eq!(f.list(), ["x/"]);
        let delete = |at| f.change(|draft| draft.delete(f.user, &path(at))).unwrap_err().code();
        assert_eq!((delete("x/a"), delete("y/a")), (Code::NoSuchFile, Code::NoSuchFolder));
        assert_eq!(delete("x"), Code::NoSuchFile, "a folder is no file");
    }

    #[test]
    fn pieces_travel_with_the_entry_that_stores_them() {
        let f = fixture();
        let pieces = Arc::new(CodedStripe::of_file(b"content"));
        let mut group = f.catalog.begin_group(1).unwrap();
        let new = NewFile { inline: true, ..new_file(f.user, "a", v(1)) };
        group.attempt(|draft| draft.store(&new, Some(pieces.clone()))).unwrap();
        assert_eq!(group.entries()[0].pieces, Some(pieces));
        group.commit().unwrap();
        let last = journal(&f.catalog).pop().unwrap().change().unwrap();
        assert!(matches!(last, Change::Stored { inline: true, version, .. } if version == v(1)));
    }

    #[test]
    fn what_a_file_keeps_besides_its_bytes_is_changed_where_only_it_has_that_version() {
        let f = fixture();
        f.store("x/a", 1);
        let attributes = |ms, kind| FileAttributes { modified_ms: Some(ms), kind };
        let set = |n, new| f.change(|draft| draft.set_attributes(f.user, &path("x/a"), v(n), new));
        let now = || f.catalog.file(f.user, &path("x/a")).unwrap();
        let before = now();
        set(1, attributes(5, Some(FileKind::Executable))).unwrap();
        set(1, attributes(7, None)).unwrap();
        let expected = attributes(7, Some(FileKind::Executable));
        assert_eq!(now(), FileRecord { attributes: expected, ..before }, "and nothing else");
        let entries = journal(&f.catalog).len();
        set(1, attributes(7, None)).unwrap();
        assert_eq!(journal(&f.catalog).len(), entries, "it is that already");
        assert_eq!(set(2, attributes(8, None)).unwrap_err().code(), Code::Changed);
        let link = attributes(8, Some(FileKind::Link));
        assert_eq!(set(1, link).unwrap_err().code(), Code::NotAllowed);
        let plan = f.catalog.plan_copy(f.user, &path("x/a"), &folder("b"), false).unwrap();
        f.change(|draft| draft.copy_file(f.user, &path("x/a"), &folder("b"), &plan)).unwrap();
        let refused = set(1, attributes(8, None)).unwrap_err();
        assert_eq!(refused.code(), Code::NotAllowed);
        assert!(refused.to_string().starts_with("x/a has copies"), "{refused}");
        assert_eq!(now().attributes, expected);
    }

    #[test]
    fn a_file_and_a_folder_never_have_one_name() {
        let f = fixture();
        f.store("x", 1);
        f.change(|draft| draft.make_folder(f.user, &folder("y"), false)).unwrap();
        for (at, taken) in [("x/a", "the file x"), ("x/a/b", "the file x"), ("y", "the folder y")] {
            let refused =
                f.catalog.check_store(&account(&f), &Proof::Door, &path(at), Precondition::Any);
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains(taken), "{refused}");
            let new = new_file(f.user, at, v(2));
            let refused = f.change(|draft| draft.store(&new, None)).unwrap_err();
            assert_eq!(refused.code(), Code::NotAllowed, "{at}");
        }
        // What would collide on a node is only left out of the view there.
        f.change(|draft| draft.make_folder(f.user, &folder("x_A1"), false)).unwrap();
        f.store("y_A1", 3);
    }

    #[test]
    fn a_store_that_asks_for_something_is_refused_where_it_is_not_so() {
        let f = fixture();
        let store = |n: u8, precondition| {
            let early = f.catalog.check_store(&account(&f), &Proof::Door, &path("a"), precondition);
            let new = NewFile {
                precondition,
                stored_by: "demo from 127.0.0.1:1".into(),
                stored_ms: 0,
                ..new_file(f.user, "a", v(n))
            };
            let outcome = f.change(|draft| draft.store(&new, None));
            assert_eq!(early.is_ok(), outcome.is_ok(), "said early, and in the transaction");
            outcome.map(|_| v(n))
        };
        assert_eq!(store(1, Precondition::Present).unwrap_err().code(), Code::NoSuchFile);
        let first = store(1, Precondition::Absent).unwrap();
        assert_eq!(store(2, Precondition::Absent).unwrap_err().code(), Code::Exists);
        let second = store(2, Precondition::Unchanged(first)).unwrap();
        let late = store(3, Precondition::Unchanged(first)).unwrap_err();
        assert_eq!(late.code(), Code::Changed);
        assert_eq!(
            late.to_string(),
            "a was changed meanwhile by demo from 127.0.0.1:1, at 1970-01-01T00:00:00Z"
        );
        assert_eq!(f.version_at("a"), Some(second));
        f.change(|draft| draft.delete(f.user, &path("a"))).unwrap();
        let gone = store(3, Precondition::Unchanged(second)).unwrap_err();
        assert!(matches!(gone, Error::GoneMeanwhile(_)));
    }
}
