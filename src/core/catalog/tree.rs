//! The tree of folders and files. A path is walked name by name, so that a folder moves or goes by
//! one row, whatever is in it.
//!
//! Every user has a top folder. A folder that was removed with what is in it is *detached*: it hangs on
//! no other folder any more and can be attached again, until it is *doomed*: then what is in it is dropped
//! bit by bit.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute, first, one};
use crate::core::catalog::{UserId, extents, uploads};
use crate::core::error::Result;
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{Moment, VersionId};
use crate::core::wire::journal::FolderAt;
use crate::core::wire::node::Place;

/// A folder or a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) id: i64,
    /// `None`: a folder.
    pub(super) version: Option<VersionId>,
}

impl Item {
    pub(super) fn is_folder(&self) -> bool {
        self.version.is_none()
    }
}

/// What has this name in a folder.
pub(super) fn child(connection: &Connection, folder: i64, name: &str) -> Result<Option<Item>> {
    let select = "SELECT id, version FROM entries WHERE parent = ?1 AND name = ?2";
    first(connection, select, params![folder, name], |row| {
        Ok(Item { id: row.get(0)?, version: row.get::<_, Option<_>>(1)?.map(VersionId) })
    })
}

/// What is at this path below a top folder; the empty path is the top folder.
pub(super) fn find(connection: &Connection, top: i64, path: &str) -> Result<Option<Item>> {
    let mut item = Item { id: top, version: None };
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if !item.is_folder() {
            return Ok(None);
        }
        match child(connection, item.id, name)? {
            Some(next) => item = next,
            None => return Ok(None),
        }
    }
    Ok(Some(item))
}

/// What is at this place, also in a folder that is in no other one any more.
pub(super) fn find_at(
    connection: &Connection,
    user: UserId,
    top: i64,
    at: &FolderAt,
) -> Result<Option<Item>> {
    let root = match at.key {
        Some(key) => detached(connection, user, key)?,
        None => Some(top),
    };
    root.map_or(Ok(None), |root| find(connection, root, at.path.as_str()))
}

pub(super) fn folder(connection: &Connection, top: i64, path: &FolderPath) -> Result<Option<i64>> {
    let found = find(connection, top, path.as_str())?;
    Ok(found.filter(Item::is_folder).map(|item| item.id))
}

/// The version of the file at this path, and its entry.
pub(super) fn file(
    connection: &Connection,
    top: i64,
    path: &FilePath,
) -> Result<Option<(i64, VersionId)>> {
    let found = find(connection, top, path.as_str())?;
    Ok(found.and_then(|item| item.version.map(|version| (item.id, version))))
}

/// The file that has the place of this folder or of one above it, if there is one.
pub(super) fn blocking_file(
    connection: &Connection,
    top: i64,
    folder: &FolderPath,
) -> Result<Option<FolderPath>> {
    let mut above = top;
    for path in folder.ancestry() {
        let Some((_, name)) = path.split() else { continue };
        match child(connection, above, name)? {
            Some(item) if item.is_folder() => above = item.id,
            Some(_) => return Ok(Some(path)),
            None => break,
        }
    }
    Ok(None)
}

/// The folder at this path, which is made with those above it; `None` if a file is in the way.
pub(super) fn make_folders(
    connection: &Connection,
    top: i64,
    folder: &FolderPath,
    at: Moment,
) -> Result<Option<i64>> {
    let mut above = top;
    for name in folder.as_str().split('/').filter(|name| !name.is_empty()) {
        above = match child(connection, above, name)? {
            Some(item) if item.is_folder() => item.id,
            Some(_) => return Ok(None),
            None => insert(connection, Some(above), name, None, at)?,
        };
    }
    Ok(Some(above))
}

/// Adds a name; `at` is the moment from which on it is one.
pub(super) fn insert(
    connection: &Connection,
    parent: Option<i64>,
    name: &str,
    version: Option<(VersionId, u64)>,
    at: Moment,
) -> Result<i64> {
    let insert = "INSERT INTO entries (parent, name, version, bytes, made)
                  VALUES (?1, ?2, ?3, ?4, ?5)";
    let bytes = version.map_or(0, |(_, bytes)| bytes);
    let values = params![parent, name, version.map(|(version, _)| version.0), bytes, at.0];
    execute(connection, insert, values)?;
    Ok(connection.last_insert_rowid())
}

pub(super) fn delete(connection: &Connection, id: i64) -> Result<()> {
    execute(connection, "DELETE FROM entries WHERE id = ?1", [id]).map(drop)
}

/// Takes a folder out of the tree with all that is in it.
pub(super) fn detach(
    connection: &Connection,
    folder: i64,
    user: UserId,
    key: Moment,
    doomed: bool,
) -> Result<()> {
    execute(connection, "UPDATE entries SET parent = NULL WHERE id = ?1", [folder])?;
    let insert = "INSERT INTO detached (entry, user_id, key, doomed) VALUES (?1, ?2, ?3, ?4)";
    execute(connection, insert, params![folder, user.0, key.0, doomed]).map(drop)
}

/// The detached folder with this key that is not doomed.
pub(super) fn detached(connection: &Connection, user: UserId, key: Moment) -> Result<Option<i64>> {
    let select = "SELECT entry FROM detached WHERE key = ?1 AND user_id = ?2 AND doomed = 0";
    first(connection, select, params![key.0, user.0], |row| row.get(0))
}

/// Counts files of a user that come or, below 0, go.
pub(super) fn count(connection: &Connection, user: UserId, files: i64, bytes: i64) -> Result<()> {
    let update = "UPDATE users SET files = files + ?2, bytes = bytes + ?3 WHERE id = ?1";
    execute(connection, update, params![user.0, files, bytes]).map(drop)
}

/// How many files are in a folder, and their bytes.
pub(super) fn sum(connection: &Connection, folder: i64) -> Result<(i64, i64)> {
    let sum = "
        WITH RECURSIVE below (id) AS (
            SELECT ?1
            UNION ALL
            SELECT entries.id FROM below JOIN entries ON parent = below.id WHERE version IS NULL
        )
        SELECT count(version), coalesce(sum(bytes), 0)
        FROM below JOIN entries ON parent = below.id";
    one(connection, sum, [folder], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Did this folder come with all that is in it, so that taking it away takes nothing that somebody has put
/// there since? `made` is the moment at which it got its name.
pub(super) fn came_whole(connection: &Connection, folder: i64, made: Moment) -> Result<bool> {
    let newest = "
        WITH RECURSIVE below (id) AS (
            SELECT ?1
            UNION ALL
            SELECT entries.id FROM below JOIN entries ON parent = below.id WHERE version IS NULL
        )
        SELECT coalesce(max(made) < ?2, 1) FROM below JOIN entries ON parent = below.id";
    one(connection, newest, params![folder, made.0], |row| row.get(0))
}

/// Is this folder in the tree of a user, or the top folder itself?
pub(super) fn is_live(connection: &Connection, folder: i64) -> Result<bool> {
    let mut at = folder;
    while let Some((Some(parent), _)) = above(connection, at)? {
        at = parent;
    }
    let select = "SELECT 1 FROM users WHERE root = ?1 AND removed = 0";
    Ok(first(connection, select, [at], |_| Ok(()))?.is_some())
}

/// The entry above this one and its own name.
pub(super) fn above(connection: &Connection, id: i64) -> Result<Option<(Option<i64>, String)>> {
    let select = "SELECT parent, name FROM entries WHERE id = ?1";
    first(connection, select, [id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Finds out where versions are or were, and remembers the folders on the way.
pub(super) struct Places<'a> {
    connection: &'a Connection,
    folders: HashMap<i64, Option<FolderPlace>>,
}

/// Where a folder is, or was when it was detached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FolderPlace {
    pub(super) user: UserName,
    pub(super) path: FolderPath,
    /// Is it there now?
    pub(super) is_live: bool,
}

impl<'a> Places<'a> {
    pub(super) fn new(connection: &'a Connection) -> Places<'a> {
        Places { connection, folders: HashMap::new() }
    }

    /// A file of which this is the version, or an extent of it, or was before it was replaced, deleted or
    /// moved; `None` if nothing can bring such a file back. One that is there now, if there is one.
    pub(super) fn of(&mut self, version: VersionId) -> Result<Option<Place>> {
        let now = "SELECT parent, name FROM entries WHERE version = ?1";
        let past = "SELECT parent, name FROM past WHERE version = ?1 ORDER BY gone DESC";
        for select in [now, past] {
            let names: Vec<(i64, String)> =
                all(self.connection, select, [version.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut first = None;
            for (parent, name) in names {
                if let Some(FolderPlace { user, path, is_live }) = self.folder(parent)? {
                    let place = Place { user, path: path.join(&name)? };
                    if is_live {
                        return Ok(Some(place));
                    }
                    first = first.or(Some(place));
                }
            }
            if first.is_some() {
                return Ok(first);
            }
        }
        for file in extents::files_of(self.connection, version)? {
            let place = match uploads::place_of(self.connection, file)? {
                Some(place) => Some(place),
                None => self.of(file)?,
            };
            if place.is_some() {
                return Ok(place);
            }
        }
        Ok(None)
    }

    /// Where a folder is or was; `None` if it is doomed or below one that is.
    pub(super) fn folder(&mut self, id: i64) -> Result<Option<FolderPlace>> {
        if let Some(known) = self.folders.get(&id) {
            return Ok(known.clone());
        }
        let found = match above(self.connection, id)? {
            Some((Some(parent), name)) => self.join(parent, &name)?,
            Some((None, _)) => self.detached(id)?,
            None => None,
        };
        self.folders.insert(id, found.clone());
        Ok(found)
    }

    fn join(&mut self, parent: i64, name: &str) -> Result<Option<FolderPlace>> {
        Ok(match self.folder(parent)? {
            Some(at) => Some(FolderPlace { path: at.path.join(name)?.as_folder(), ..at }),
            None => None,
        })
    }

    /// A folder that is in no other one.
    fn detached(&mut self, id: i64) -> Result<Option<FolderPlace>> {
        let owner = "SELECT name, root IS ?1 FROM users WHERE removed = 0 AND (root = ?1 OR id =
                         (SELECT user_id FROM detached WHERE entry = ?1 AND doomed = 0))";
        let owner = first(self.connection, owner, [id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
        })?;
        let Some((name, is_live)) = owner else { return Ok(None) };
        let top =
            Some(FolderPlace { user: UserName::parse(&name)?, path: FolderPath::top(), is_live });
        // It may have been in a folder that is in it now.
        self.folders.insert(id, top.clone());
        let was = "SELECT parent, name FROM past WHERE folder = ?1 AND parent != 0
                   AND NOT EXISTS (SELECT 1 FROM users WHERE root = ?1)
                   ORDER BY gone DESC LIMIT 1";
        let was: Option<(i64, String)> =
            first(self.connection, was, [id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((parent, name)) = was else { return Ok(top) };
        let was = self.join(parent, &name).ok().flatten();
        Ok(was.map(|was| FolderPlace { is_live: false, ..was }).or(top))
    }
}

/// How much is in a folder, itself included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Extent {
    pub(super) folders: u64,
    pub(super) files: u64,
    /// How many bytes the longest path has beyond the folder's own.
    pub(super) bytes: usize,
    /// And how many parts the deepest one.
    pub(super) parts: usize,
}

/// Looks through a folder, one index and no row of a file.
pub(super) fn extent(connection: &Connection, folder: i64) -> Result<Extent> {
    let select = "
        WITH RECURSIVE below (id, length, parts) AS (
            SELECT ?1, 0, 0
            UNION ALL
            SELECT entries.id, length + 1 + octet_length(name), parts + 1
            FROM below JOIN entries ON parent = below.id WHERE version IS NULL
        )
        SELECT length, parts, count(name), coalesce(max(1 + octet_length(name)), 0)
        FROM below LEFT JOIN entries ON parent = below.id GROUP BY below.id, length, parts";
    let rows = all(connection, select, [folder], |row| {
        let (length, parts): (usize, usize) = (row.get(0)?, row.get(1)?);
        let (children, longest): (u64, usize) = (row.get(2)?, row.get(3)?);
        Ok((length + longest, parts + usize::from(children > 0), children))
    })?;
    let mut extent = Extent { folders: rows.len() as u64, ..Extent::default() };
    for (bytes, parts, children) in rows {
        extent.files += children;
        extent.bytes = extent.bytes.max(bytes);
        extent.parts = extent.parts.max(parts);
    }
    // Every folder but the first one was counted as a child.
    extent.files -= extent.folders - 1;
    Ok(extent)
}
