//! Versions that were taken up from too few nodes: what they have replaced is kept until it is known
//! whether they can be read.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute, first};
use crate::core::catalog::{Catalog, Draft, UserId, past, tree};
use crate::core::error::Result;
use crate::core::types::VersionId;
use crate::core::wire::journal::{Change, VERSIONS_MAX};

impl Draft<'_> {
    /// Keeps what these versions have replaced. Those that are no file's current one are passed over.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn mark_uncertain(&mut self, versions: &[VersionId]) -> Result<()> {
        for versions in versions.chunks(VERSIONS_MAX) {
            self.record(Change::Uncertain { versions: versions.to_vec() })?;
        }
        Ok(())
    }

    /// An uncertain version can be read.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn confirm(&mut self, version: VersionId) -> Result<()> {
        if is_uncertain(self.connection, version)? {
            self.record(Change::Confirmed { version })?;
        }
        Ok(())
    }

    /// An uncertain version can never be read: what it had replaced is the file again.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn revert(&mut self, version: VersionId) -> Result<()> {
        if is_uncertain(self.connection, version)? {
            let Some(place) = tree::Places::new(self.connection).of(version)? else {
                // Its folder was removed, and it goes with that.
                return self.record(Change::Confirmed { version }).map(drop);
            };
            let select = "SELECT old.version FROM versions
                          JOIN versions old ON old.version = versions.predecessor
                          WHERE versions.version = ?1";
            let to = first(self.connection, select, [version.0], |row| Ok(VersionId(row.get(0)?)))?;
            self.record(Change::Reverted { place, version, to })?;
        }
        Ok(())
    }
}

impl Catalog {
    /// The versions that are uncertain, some of them if they are many.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn uncertain(&self) -> Result<Vec<VersionId>> {
        let select = "SELECT version FROM versions WHERE uncertain = 1 AND retired = 0 LIMIT 100";
        self.read(|connection| all(connection, select, [], |row| Ok(VersionId(row.get(0)?))))
    }

    /// Is this version uncertain?
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn is_uncertain(&self, version: VersionId) -> Result<bool> {
        self.read(|connection| is_uncertain(connection, version))
    }
}

pub(super) fn is_uncertain(connection: &Connection, version: VersionId) -> Result<bool> {
    let select = "SELECT 1 FROM versions WHERE version = ?1 AND uncertain = 1 AND retired = 0";
    Ok(first(connection, select, [version.0], |_| Ok(()))?.is_some())
}

/// Is this version kept because what has replaced it is uncertain? Also where that one was replaced in its
/// turn: by another uncertain version, if it is still there.
pub(super) fn is_kept(connection: &Connection, version: VersionId) -> Result<bool> {
    let select = "SELECT 1 FROM versions WHERE uncertain = 1 AND predecessor = ?1";
    Ok(first(connection, select, [version.0], |_| Ok(()))?.is_some())
}

/// What an uncertain version had replaced, if it had replaced anything; `None` if it is not uncertain.
pub(super) fn predecessor(
    connection: &Connection,
    version: VersionId,
) -> Result<Option<Option<VersionId>>> {
    let select = "SELECT predecessor FROM versions WHERE version = ?1 AND uncertain = 1";
    first(connection, select, [version.0], |row| Ok(row.get::<_, Option<_>>(0)?.map(VersionId)))
}

pub(super) fn set_predecessor(
    connection: &Connection,
    version: VersionId,
    predecessor: VersionId,
) -> Result<()> {
    let update = "UPDATE versions SET predecessor = ?2 WHERE version = ?1";
    execute(connection, update, params![version.0, predecessor.0])?;
    past::settle(connection, predecessor)
}

pub(super) fn set(connection: &Connection, version: VersionId, uncertain: bool) -> Result<()> {
    let update = "UPDATE versions SET uncertain = ?2 WHERE version = ?1";
    execute(connection, update, params![version.0, uncertain]).map(drop)
}

/// Gives a file back what a version had replaced, as if the version had never been.
pub(super) fn revert(
    connection: &Connection,
    version: VersionId,
    to: Option<VersionId>,
) -> Result<()> {
    set(connection, version, false)?;
    let instead = "UPDATE versions SET predecessor = ?2 WHERE predecessor = ?1 AND uncertain = 1";
    execute(connection, instead, params![version.0, to.map(|to| to.0)])?;
    let entries = "SELECT id, parent, name, bytes, made FROM entries WHERE version = ?1";
    let entries = all(connection, entries, [version.0], |row| {
        let (name, made): (String, i64) = (row.get(2)?, row.get(4)?);
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, name, row.get::<_, i64>(3)?, made))
    })?;
    let of = "SELECT user_id, bytes FROM versions WHERE version = ?1";
    let of = |version: VersionId| {
        first(connection, of, [version.0], |row| Ok((UserId(row.get(0)?), row.get::<_, i64>(1)?)))
    };
    let Some((user, _)) = of(version)? else { return Ok(()) };
    let to = match to {
        Some(to) => of(to)?.map(|(_, bytes)| (to, bytes)),
        None => None,
    };
    for (entry, parent, name, bytes, made) in entries {
        let is_live = tree::is_live(connection, parent)?;
        let Some((to, to_bytes)) = to else {
            tree::delete(connection, entry)?;
            if is_live {
                tree::count(connection, user, -1, -bytes)?;
            }
            continue;
        };
        // It was replaced by nothing, so it has had this name all the while.
        let was = "SELECT id, made FROM past
                   WHERE parent = ?1 AND name = ?2 AND gone = ?3 AND version = ?4";
        let was: Option<(i64, i64)> =
            first(connection, was, params![parent, name, made, to.0], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let made = match was {
            Some((row, made)) => {
                execute(connection, "DELETE FROM past WHERE id = ?1", [row])?;
                made
            }
            None => made,
        };
        let update = "UPDATE entries SET version = ?2, bytes = ?3, made = ?4 WHERE id = ?1";
        execute(connection, update, params![entry, to.0, to_bytes, made])?;
        if is_live {
            tree::count(connection, user, 0, to_bytes - bytes)?;
        }
    }
    // Nor did it end what was there before it.
    let longer = "UPDATE past SET gone = own.gone FROM (SELECT parent, name, made, gone FROM past
                      WHERE version = ?1) own
                  WHERE past.version = ?2 AND past.parent = own.parent AND past.name = own.name
                      AND past.gone = own.made";
    execute(connection, longer, params![version.0, to.map(|(to, _)| to.0)])?;
    let is_told = "DELETE FROM past WHERE version = ?1 AND (?2 IS NULL OR EXISTS
                       (SELECT 1 FROM past own WHERE own.version = ?2 AND own.parent = past.parent
                        AND own.name = past.name AND own.gone = past.gone))";
    execute(connection, is_told, params![version.0, to.map(|(to, _)| to.0)])?;
    if let Some((to, bytes)) = to {
        // What was there before it has expired, and a snapshot may have what it was since then.
        let instead = "UPDATE past SET version = ?2, bytes = ?3 WHERE version = ?1";
        execute(connection, instead, params![version.0, to.0, bytes])?;
    }
    past::settle(connection, version)?;
    to.map_or(Ok(()), |(to, _)| past::settle(connection, to))
}
