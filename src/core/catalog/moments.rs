//! Snapshots as people make them: names for moments. What was there at such a moment stays until the
//! snapshot is removed, however long ago it was replaced or deleted.
//!
//! Making one writes one row. What it holds is found when something expires (`past.rs`).

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute, first};
use crate::core::catalog::{Catalog, Draft};
use crate::core::error::{Code, Error, Result};
use crate::core::types::Moment;
use crate::core::wire::journal::{Change, SnapshotName};

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedMoment {
    /// Its name.
    pub name: SnapshotName,
    /// What it is a snapshot of.
    pub of: Moment,
    /// When it is removed by itself, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

impl Draft<'_> {
    /// Gives the present state a name.
    ///
    /// # Errors
    /// [`Code::Exists`] if there is a snapshot of this name.
    pub fn make_snapshot(&mut self, name: &SnapshotName, until_ms: Option<i64>) -> Result<()> {
        if find(self.connection, name)?.is_some() {
            let text = format!("there is a snapshot {name} already");
            return Err(Error::other(Code::Exists, text));
        }
        self.record(Change::SnapshotMade { name: name.clone(), until_ms }).map(drop)
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is none of this name.
    pub fn remove_snapshot(&mut self, name: &SnapshotName) -> Result<()> {
        let of = find(self.connection, name)?.ok_or_else(|| unknown(name.as_str()))?;
        self.record(Change::SnapshotRemoved { of }).map(drop)
    }
}

impl Catalog {
    /// All snapshots, the oldest first.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn snapshots(&self) -> Result<Vec<NamedMoment>> {
        self.read(list)
    }

    /// The moment of a snapshot.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is none of this name.
    pub fn moment_of(&self, name: &str) -> Result<Moment> {
        self.read(|connection| {
            let found = SnapshotName::parse(name).map(|name| find(connection, &name));
            found.transpose()?.flatten().ok_or_else(|| unknown(name))
        })
    }
}

fn unknown(name: &str) -> Error {
    Error::other(Code::NoSuchFile, format!("there is no snapshot {name}"))
}

fn find(connection: &Connection, name: &SnapshotName) -> Result<Option<Moment>> {
    let select = "SELECT of FROM snapshots WHERE name = ?1 AND removed = 0";
    first(connection, select, [name.as_str()], |row| Ok(Moment(row.get(0)?)))
}

fn list(connection: &Connection) -> Result<Vec<NamedMoment>> {
    let mut all = all_of_them(connection)?;
    all.retain(|(_, is_removed)| !is_removed);
    Ok(all.into_iter().map(|(moment, _)| moment).collect())
}

/// Also those that are removed, as long as they have something, with whether they are.
pub(super) fn all_of_them(connection: &Connection) -> Result<Vec<(NamedMoment, bool)>> {
    let select = "SELECT name, of, until_ms, removed FROM snapshots ORDER BY of";
    let rows = all(connection, select, [], |row| {
        Ok((row.get::<_, String>(0)?, Moment(row.get(1)?), row.get(2)?, row.get(3)?))
    })?;
    let read = |(name, of, until_ms, is_removed): (String, _, _, _)| {
        let bad = |text| Error::Catalog(format!("its list of snapshots: {text}"));
        Ok((NamedMoment { name: name.try_into().map_err(bad)?, of, until_ms }, is_removed))
    };
    rows.into_iter().map(read).collect()
}

pub(super) fn make(
    connection: &Connection,
    of: Moment,
    name: &SnapshotName,
    until_ms: Option<i64>,
) -> Result<()> {
    let insert = "INSERT INTO snapshots (of, name, until_ms) VALUES (?1, ?2, ?3)
                  ON CONFLICT DO NOTHING";
    execute(connection, insert, params![of.0, name.as_str(), until_ms]).map(drop)
}

pub(super) fn remove(connection: &Connection, of: Moment) -> Result<()> {
    execute(connection, "UPDATE snapshots SET removed = 1 WHERE of = ?1", [of.0]).map(drop)
}
