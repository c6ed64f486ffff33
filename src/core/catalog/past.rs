//! What names were: files that were replaced or deleted, folders that were removed, and what was moved
//! away. All of it can be had back until it expires.
//!
//! ```text
//!   entries   a name now       from a moment on
//!   past      a name once      from a moment until before another one
//!
//!   a name goes ──> past ── expired ──> let go of, or held by a snapshot ── that is removed ──> let go of
//! ```
//!
//! A version is kept as long as a row of either table names it, a folder as long as it is in another one
//! or `past` names it.

use rusqlite::{Connection, Row, params};

use crate::core::catalog::database::{all, execute, first, limit, one};
use crate::core::catalog::{Catalog, Draft, UserId, users};
use crate::core::error::Result;
use crate::core::types::{Moment, VersionId};
use crate::core::wire::journal::{Change, VERSIONS_MAX};

/// The parent of what was a top folder.
pub(super) const NO_FOLDER: i64 = 0;

/// So many names at most expire by one change.
pub const EXPIRED_MAX: usize = VERSIONS_MAX;

/// A name as it is or was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Binding {
    /// The folder that has the name.
    pub(super) parent: i64,
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) bytes: u64,
    pub(super) made: Moment,
    /// [`Moment::MAX`] if it is one now.
    pub(super) gone: Moment,
}

/// What has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    File(VersionId),
    /// The folder's entry.
    Folder(i64),
}

impl Target {
    pub(super) fn version(self) -> Option<VersionId> {
        match self {
            Target::File(version) => Some(version),
            Target::Folder(_) => None,
        }
    }
}

/// The columns of `entries` and of `past` that [`read_binding`] reads.
const NOW: &str = "parent, name, version, id, bytes, made, 9223372036854775807";
const PAST: &str = "parent, name, version, folder, bytes, made, gone";

fn read_binding(row: &Row<'_>) -> rusqlite::Result<Binding> {
    let target = match row.get::<_, Option<_>>(2)? {
        Some(version) => Target::File(VersionId(version)),
        None => Target::Folder(row.get(3)?),
    };
    let (made, gone) = (Moment(row.get(5)?), Moment(row.get(6)?));
    let (parent, name, bytes) = (row.get(0)?, row.get(1)?, row.get(4)?);
    Ok(Binding { parent, name, target, bytes, made, gone })
}

/// What an entry is called now.
pub(super) fn binding(connection: &Connection, entry: i64) -> Result<Option<Binding>> {
    let select = format!("SELECT {NOW} FROM entries WHERE id = ?1 AND parent IS NOT NULL");
    first(connection, &select, [entry], read_binding)
}

/// What a name in a folder is and was, the newest first, at most `most`.
pub(super) fn bindings(
    connection: &Connection,
    folder: i64,
    name: &str,
    most: usize,
) -> Result<Vec<Binding>> {
    let now = format!("SELECT {NOW} FROM entries WHERE parent = ?1 AND name = ?2");
    let mut found: Vec<Binding> =
        first(connection, &now, params![folder, name], read_binding)?.into_iter().collect();
    let past = format!(
        "SELECT {PAST} FROM past WHERE parent = ?1 AND name = ?2 ORDER BY gone DESC LIMIT ?3"
    );
    let values = params![folder, name, limit(most.saturating_sub(found.len()))];
    found.extend(all(connection, &past, values, read_binding)?);
    Ok(found)
}

/// What the names in a folder were, at most `most` of them.
pub(super) fn names_once(
    connection: &Connection,
    folder: i64,
    most: usize,
) -> Result<Vec<Binding>> {
    let past = format!("SELECT {PAST} FROM past WHERE parent = ?1 ORDER BY gone DESC LIMIT ?2");
    all(connection, &past, params![folder, limit(most)], read_binding)
}

/// What they are, at most `most` of them.
pub(super) fn names_now(connection: &Connection, folder: i64, most: usize) -> Result<Vec<Binding>> {
    let now = format!("SELECT {NOW} FROM entries WHERE parent = ?1 LIMIT ?2");
    all(connection, &now, params![folder, limit(most)], read_binding)
}

/// What a name in a folder was at a moment.
pub(super) fn binding_at(
    connection: &Connection,
    folder: i64,
    name: &str,
    at: Moment,
) -> Result<Option<Binding>> {
    let now = format!("SELECT {NOW} FROM entries WHERE parent = ?1 AND name = ?2 AND made <= ?3");
    if let Some(found) = first(connection, &now, params![folder, name, at.0], read_binding)? {
        return Ok(Some(found));
    }
    let past = format!(
        "SELECT {PAST} FROM past WHERE parent = ?1 AND name = ?2 AND gone > ?3 AND made <= ?3
         ORDER BY gone LIMIT 1"
    );
    first(connection, &past, params![folder, name, at.0], read_binding)
}

/// The top folders that a user has and had, the newest first.
pub(super) fn tops(connection: &Connection, user: UserId, top: i64) -> Result<Vec<Binding>> {
    let now = "SELECT 0, '', NULL, id, 0, made, 9223372036854775807 FROM entries WHERE id = ?1";
    let mut found: Vec<Binding> =
        first(connection, now, [top], read_binding)?.into_iter().collect();
    let past = format!(
        "SELECT {PAST} FROM past WHERE parent = 0 AND name = '' AND user_id = ?1 ORDER BY gone DESC"
    );
    found.extend(all(connection, &past, [user.0], read_binding)?);
    Ok(found)
}

/// What went from where at a moment: a name of this target that ended then.
pub(super) fn came_from(
    connection: &Connection,
    target: Target,
    at: Moment,
) -> Result<Option<Binding>> {
    let (column, version, folder) = match target {
        Target::File(version) => ("version", Some(version.0), None),
        Target::Folder(folder) => ("folder", None, Some(folder)),
    };
    let select =
        format!("SELECT {PAST} FROM past WHERE {column} = coalesce(?1, ?2) AND gone = ?3 LIMIT 1");
    first(connection, &select, params![version, folder, at.0], read_binding)
}

/// Notes what a name was until before this moment. To be called when the name is something else, or
/// nothing.
pub(super) fn keep(
    connection: &Connection,
    user: UserId,
    was: &Binding,
    gone: Moment,
) -> Result<()> {
    let insert = "INSERT INTO past (user_id, parent, name, version, folder, bytes, made, gone)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (version, folder) = match was.target {
        Target::File(version) => (Some(version.0), None),
        Target::Folder(folder) => (None, Some(folder)),
    };
    let values =
        params![user.0, was.parent, was.name, version, folder, was.bytes, was.made.0, gone.0];
    execute(connection, insert, values)?;
    was.target.version().map_or(Ok(()), |version| settle(connection, version))
}

/// Notes whether a version is named, kept or retired, after a name of it came or went, or it began or
/// ceased to be an extent of something.
pub(super) fn settle(connection: &Connection, version: VersionId) -> Result<()> {
    let update = "
        UPDATE versions SET
            kept = named = 0 AND was_named = 1,
            retired = named = 0 AND was_named = 0 AND is_extent = 0
        FROM (SELECT EXISTS (SELECT 1 FROM entries WHERE version = ?1) AS named,
                     EXISTS (SELECT 1 FROM past WHERE version = ?1) AS was_named,
                     EXISTS (SELECT 1 FROM extents WHERE version = ?1) AS is_extent)
        WHERE version = ?1 AND
            (kept != (named = 0 AND was_named = 1)
             OR retired != (named = 0 AND was_named = 0 AND is_extent = 0))";
    execute(connection, update, [version.0]).map(drop)
}

/// Lets go of what expired and no snapshot has, and notes since when everything is kept.
pub(super) fn expire(connection: &Connection, user: UserId, upto: Moment) -> Result<()> {
    let note = "UPDATE users SET kept_since = ?2 WHERE id = ?1 AND kept_since < ?2";
    execute(connection, note, params![user.0, upto.0])?;
    let select = "SELECT id, version, made, gone FROM past
                  WHERE user_id = ?1 AND held = 0 AND gone <= ?2 ORDER BY gone";
    let rows = all(connection, select, params![user.0, upto.0], read_row)?;
    rows.into_iter().try_for_each(|row| let_go(connection, &row))
}

/// The same for what only a snapshot had that is removed; with all of it the snapshot is forgotten. Not for so many
/// names: names in doomed folders are there until they are swept, which each catalog does when it has time.
pub(super) fn release(connection: &Connection, of: Moment, upto: Moment) -> Result<()> {
    let is_removed = "SELECT 1 FROM snapshots WHERE of = ?1 AND removed = 1";
    if first(connection, is_removed, [of.0], |_| Ok(()))?.is_none() {
        return Ok(());
    }
    let select = "SELECT id, version, made, gone FROM past
                  WHERE held = ?1 AND held != 0 AND gone <= ?2 ORDER BY gone";
    let rows = all(connection, select, params![of.0, upto.0], read_row)?;
    rows.into_iter().try_for_each(|row| let_go(connection, &row))?;
    if upto == Moment::MAX {
        execute(connection, "DELETE FROM snapshots WHERE of = ?1", [of.0])?;
    }
    Ok(())
}

/// Lets go of all that a name in a folder was, but for what a snapshot has.
pub(super) fn forget(connection: &Connection, folder: i64, name: &str) -> Result<()> {
    let select = "SELECT id, version, made, gone FROM past WHERE parent = ?1 AND name = ?2";
    let rows = all(connection, select, params![folder, name], read_row)?;
    rows.into_iter().try_for_each(|row| let_go(connection, &row))
}

struct PastRow {
    id: i64,
    version: Option<VersionId>,
    made: Moment,
    gone: Moment,
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<PastRow> {
    let version = row.get::<_, Option<_>>(1)?.map(VersionId);
    Ok(PastRow { id: row.get(0)?, version, made: Moment(row.get(2)?), gone: Moment(row.get(3)?) })
}

fn let_go(connection: &Connection, row: &PastRow) -> Result<()> {
    let has_it = "SELECT of FROM snapshots WHERE removed = 0 AND of >= ?1 AND of < ?2
                  ORDER BY of LIMIT 1";
    let held: Option<i64> =
        first(connection, has_it, params![row.made.0, row.gone.0], |row| row.get(0))?;
    match held {
        Some(held) => hold(connection, row.id, Moment(held)),
        None => remove(connection, row.id, row.version),
    }
}

/// Notes that only the snapshot of this moment keeps a row.
pub(super) fn hold(connection: &Connection, id: i64, snapshot: Moment) -> Result<()> {
    let update = "UPDATE past SET held = ?2 WHERE id = ?1";
    execute(connection, update, params![id, snapshot.0]).map(drop)
}

/// Deletes a row, whatever has it. `version` is what it names, if it is of a file.
pub(super) fn remove(connection: &Connection, id: i64, version: Option<VersionId>) -> Result<()> {
    execute(connection, "DELETE FROM past WHERE id = ?1", [id])?;
    version.map_or(Ok(()), |version| settle(connection, version))
}

/// Dooms these detached folders. That nothing names them was seen when the change was made; here a doomed folder
/// may still have a name of one, if it has not been swept yet.
pub(super) fn forget_folders(connection: &Connection, keys: &[Moment]) -> Result<()> {
    let update = "UPDATE detached SET doomed = 1 WHERE key = ?1";
    keys.iter().try_for_each(|key| execute(connection, update, [key.0]).map(drop))
}

impl Draft<'_> {
    /// Lets go of the oldest of what an account had, up to this moment: of at most as much as one change
    /// takes, and no more than it takes to free `bytes` where that is known. Gives how many names that
    /// are.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn expire(&mut self, user: UserId, upto: Moment, bytes: Option<u64>) -> Result<usize> {
        let Some(name) = users::name_of(self.connection, user)? else { return Ok(0) };
        let select = "SELECT gone, bytes, version FROM past
                      WHERE user_id = ?1 AND held = 0 AND gone <= ?2 ORDER BY gone LIMIT ?3";
        let values = params![user.0, upto.0, limit(EXPIRED_MAX)];
        let rows = all(self.connection, select, values, |row| {
            let is_folder = row.get::<_, Option<[u8; 16]>>(2)?.is_none();
            Ok((Moment(row.get(0)?), row.get::<_, u64>(1)?, is_folder))
        })?;
        let (mut freed, mut last, mut names) = (0_u64, None, 0);
        for (gone, size, is_folder) in rows {
            // Names of one change go together.
            if last != Some(gone) && bytes.is_some_and(|bytes| freed >= bytes) {
                break;
            }
            // How much is in a folder is seen when it has been let go of.
            freed = if is_folder { u64::MAX } else { freed.saturating_add(size) };
            last = Some(gone);
            names += 1;
        }
        let Some(upto) = last else { return Ok(0) };
        self.record(Change::Expired { user: name, upto })?;
        Ok(names)
    }

    /// As [`Catalog::kept_since`].
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn kept_since(&self, user: UserId) -> Result<Moment> {
        kept_since(self.connection, user)
    }

    /// Lets go of some of what only removed snapshots had. Gives whether there may be more.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn release_snapshot(&mut self) -> Result<bool> {
        let select = "SELECT of FROM snapshots WHERE removed = 1 LIMIT 1";
        let Some(of) = first(self.connection, select, [], |row| Ok(Moment(row.get(0)?)))? else {
            return Ok(false);
        };
        // Names of one change go together.
        let select = "SELECT gone FROM past WHERE held = ?1 AND held != 0
                      ORDER BY gone LIMIT 1 OFFSET ?2";
        let upto = first(self.connection, select, params![of.0, limit(EXPIRED_MAX)], |row| {
            Ok(Moment(row.get(0)?))
        })?;
        self.record(Change::SnapshotReleased { of, upto: upto.unwrap_or(Moment::MAX) })?;
        Ok(true)
    }

    /// Lets go of removed folders that nothing names any more, that are not among `begun` and not newer
    /// than `newest`.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn forget_folders(&mut self, begun: &[Moment], newest: Moment) -> Result<usize> {
        let mut keys = forgettable(self.connection, VERSIONS_MAX + begun.len())?;
        keys.retain(|key| !begun.contains(key) && *key <= newest);
        keys.truncate(VERSIONS_MAX);
        let count = keys.len();
        if count > 0 {
            self.record(Change::FoldersForgotten { keys })?;
        }
        Ok(count)
    }
}

fn kept_since(connection: &Connection, user: UserId) -> Result<Moment> {
    let select = "SELECT kept_since FROM users WHERE id = ?1";
    one(connection, select, [user.0], |row| Ok(Moment(row.get(0)?)))
}

/// The keys of detached folders that nothing names.
fn forgettable(connection: &Connection, most: usize) -> Result<Vec<Moment>> {
    let select = "SELECT key FROM detached WHERE doomed = 0 AND key >= 0
                  AND NOT EXISTS (SELECT 1 FROM past WHERE folder = detached.entry) LIMIT ?1";
    all(connection, select, [limit(most)], |row| Ok(Moment(row.get(0)?)))
}

/// What is to be let go of.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Due {
    /// Accounts that have something which has expired.
    pub users: Vec<UserId>,
    /// Is there a removed snapshot that still has something?
    pub snapshots: bool,
    /// Is there a folder that is in no other one and that nothing names any more?
    pub folders: bool,
}

impl Catalog {
    /// What is to be let go of, of what went up to this moment.
    pub fn due(&self, upto: Moment) -> Result<Due> {
        self.read(|connection| {
            let users = "SELECT id FROM users WHERE removed = 0 AND EXISTS
                         (SELECT 1 FROM past WHERE user_id = users.id AND held = 0 AND gone <= ?1)";
            let users = all(connection, users, [upto.0], |row| Ok(UserId(row.get(0)?)))?;
            let snapshots = "SELECT 1 FROM snapshots WHERE removed = 1 LIMIT 1";
            let snapshots = first(connection, snapshots, [], |_| Ok(()))?.is_some();
            let folders = !forgettable(connection, 1)?.is_empty();
            Ok(Due { users, snapshots, folders })
        })
    }

    /// The moment since which everything that an account had is kept, but for what somebody has let go of
    /// for good. What was there at a moment before it is known only in part, unless a snapshot has it.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn kept_since(&self, user: UserId) -> Result<Moment> {
        self.read(|connection| kept_since(connection, user))
    }

    /// The account with the oldest of what is kept, and the moment at which that went; `None` if nothing
    /// is that could be let go of.
    pub fn oldest_kept(&self) -> Result<Option<(UserId, Moment)>> {
        self.read(|connection| {
            let select =
                "SELECT id, (SELECT min(gone) FROM past WHERE user_id = users.id AND held = 0)
                          FROM users WHERE removed = 0";
            let oldest = all(connection, select, [], |row| {
                let gone: Option<i64> = row.get(1)?;
                Ok((UserId(row.get(0)?), gone.map(Moment)))
            })?;
            let oldest = oldest.into_iter().filter_map(|(user, gone)| Some((user, gone?)));
            Ok(oldest.min_by_key(|(_, gone)| *gone))
        })
    }
}

/// Deletes some of what names of a removed account were. False if there is more.
pub(super) fn forget_removed(connection: &Connection, left: &mut usize) -> Result<bool> {
    let select = "SELECT past.id, version FROM past JOIN users ON users.id = user_id
                  WHERE removed = 1 LIMIT ?1";
    let rows = all(connection, select, [limit(*left)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<_>>(1)?.map(VersionId)))
    })?;
    *left -= rows.len();
    rows.into_iter().try_for_each(|(id, version)| remove(connection, id, version))?;
    let doom = "UPDATE detached SET doomed = 1 WHERE doomed = 0
                AND user_id IN (SELECT id FROM users WHERE removed = 1)";
    execute(connection, doom, [])?;
    Ok(*left > 0)
}
