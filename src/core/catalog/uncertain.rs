//! Versions that were taken up from too few nodes: what they have replaced is kept until it is known
//! whether they can be read.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute, first};
use crate::core::catalog::files::{FileRecord, RECORD, read_record};
use crate::core::catalog::{Catalog, Draft, apply, tree};
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
                          WHERE versions.version = ?1 AND old.retired = 1";
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

/// What a version may give the file back to if it is uncertain, and who stored each, the oldest first.
/// Those that are uncertain themselves, this one included, are added to `uncertain`.
pub(super) fn replaced(
    connection: &Connection,
    version: VersionId,
    uncertain: &mut Vec<VersionId>,
) -> Result<Vec<(FileRecord, String)>> {
    let select = "SELECT predecessor FROM versions WHERE version = ?1 AND uncertain = 1";
    let older =
        format!("SELECT {RECORD}, stored_by FROM versions WHERE version = ?1 AND retired = 1");
    let (mut at, mut found) = (Some(version), Vec::new());
    while let Some(version) = at.take() {
        let before =
            first(connection, select, [version.0], |row| row.get::<_, Option<[u8; 16]>>(0))?;
        let Some(before) = before else { break };
        uncertain.push(version);
        let Some(before) = before else { break };
        let read = |row: &rusqlite::Row<'_>| Ok((read_record(row, 0)?, row.get("stored_by")?));
        if let Some((record, by)) = first(connection, &older, [before], read)? {
            at = Some(record.version);
            found.push((record, by));
        }
    }
    found.reverse();
    Ok(found)
}

pub(super) fn set(connection: &Connection, version: VersionId, uncertain: bool) -> Result<()> {
    let update = "UPDATE versions SET uncertain = ?2 WHERE version = ?1";
    execute(connection, update, params![version.0, uncertain]).map(drop)
}

/// Gives a file back what a version had replaced.
pub(super) fn revert(
    connection: &Connection,
    version: VersionId,
    to: Option<VersionId>,
) -> Result<()> {
    let select = "SELECT id FROM entries WHERE version = ?1";
    let Some(entry) = first(connection, select, [version.0], |row| row.get::<_, i64>(0))? else {
        return Ok(());
    };
    set(connection, version, false)?;
    apply::retire(connection, version)?;
    let Some(to) = to else { return tree::delete(connection, entry) };
    if execute(connection, "UPDATE versions SET retired = 0 WHERE version = ?1", [to.0])? == 0 {
        return tree::delete(connection, entry);
    }
    let update = "UPDATE entries SET version = ?2 WHERE id = ?1";
    execute(connection, update, params![entry, to.0]).map(drop)
}
