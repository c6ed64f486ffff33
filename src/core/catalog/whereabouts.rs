//! Where the blocks of a version lie while a move of it is on its way to the nodes.
//!
//! The catalog knows where a version is since the move's commit. A node that has not made the move,
//! or whose answer has not come, may have it under the name before; with several moves owed, under
//! any of the names before.

use rusqlite::{Connection, OptionalExtension, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::{Catalog, UserId, accounts};
use crate::core::error::Result;
use crate::core::path::{FilePath, UserName};
use crate::core::types::{NODE_COUNT, NodeId, NodeSet, Seq, VersionId};
use crate::core::wire::node::{FORMERLY_MAX, Formerly, Place};

/// Where a version is, and where else each node may have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whereabouts {
    /// Where it is since the last move.
    pub place: Place,
    /// The number of its file: another one after every move. Nothing if it is no file's current
    /// version.
    pub seq: Option<Seq>,
    /// By node; nothing for one with more than a request can name, which is not asked then.
    pub formerly: [Option<Formerly>; NODE_COUNT],
}

impl Whereabouts {
    /// A version that has never been moved.
    pub fn at(place: Place) -> Whereabouts {
        let formerly = std::array::from_fn(|_| Some(Formerly::default()));
        Whereabouts { place, seq: None, formerly }
    }

    /// The nodes that may have it elsewhere: it is not missing on one of them.
    pub fn moving(&self) -> NodeSet {
        let is_settled = |node: &NodeId| {
            self.formerly[node.index()].as_ref().is_some_and(|places| places.paths().is_empty())
        };
        NodeId::ALL.into_iter().filter(|node| !is_settled(node)).collect()
    }
}

/// An order owed to a node that gives something another name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pending {
    pub(super) node: NodeId,
    pub(super) from: String,
    /// Of what is taken back into staging: where it will be committed then.
    to: Option<String>,
    /// The version that is moved; nothing for a folder.
    version: Option<VersionId>,
    pub(super) entry: u64,
}

impl Pending {
    /// Does it concern what lies at this path, before or after?
    pub(super) fn concerns(&self, path: &str) -> bool {
        let is_at = |name: &str| path == name || below(path, name).is_some();
        is_at(&self.from) || self.to.as_deref().is_some_and(is_at)
    }

    /// Does it concern something in this folder?
    pub(super) fn is_below(&self, folder: &str) -> bool {
        let is_in = |path: &str| below(path, folder).is_some();
        is_in(&self.from) || self.to.as_deref().is_some_and(is_in)
    }

    /// What a path of this version was called before this, if it is concerned.
    fn before(&self, path: &str, version: Option<VersionId>) -> Option<String> {
        match (self.version, &self.to) {
            (Some(own), Some(to)) => {
                (Some(own) == version && to == path).then(|| self.from.clone())
            }
            (None, Some(to)) => below(path, to).map(|rest| format!("{}{rest}", self.from)),
            (_, None) => None,
        }
    }
}

/// What follows a folder's name in a path below it, with the slash.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder).filter(|rest| rest.starts_with('/'))
}

/// What is owed to the nodes of this kind about a user's files, newest first.
pub(super) fn pending(connection: &Connection, user: UserId) -> Result<Vec<Pending>> {
    let all = "kind IN ('move', 'move-folder', 'take-back') AND user_id = ?1";
    select(connection, &[all], params![user.0])
}

/// That of it which concerns a version. Of many moves of other files none is looked at.
fn pending_of(connection: &Connection, user: UserId, version: VersionId) -> Result<Vec<Pending>> {
    let file = "version = ?2 AND kind IN ('move', 'take-back')";
    select(connection, &[FOLDER_MOVES, file], params![user.0, version.0])
}

/// That of it which concerns what lies at a path, before or after, or below it.
pub(super) fn pending_at(
    connection: &Connection,
    user: UserId,
    path: &str,
) -> Result<Vec<Pending>> {
    let [first, end] = ["/", "0"].map(|end| format!("{path}{end}"));
    let is_file = "user_id = ?1 AND kind IN ('move', 'take-back')";
    let wheres = [
        FOLDER_MOVES.to_owned(),
        format!("{is_file} AND path = ?2"),
        format!("{is_file} AND path > ?3 AND path < ?4"),
        format!("{is_file} AND target = ?2"),
        format!("{is_file} AND target > ?3 AND target < ?4"),
    ];
    let wheres: Vec<&str> = wheres.iter().map(String::as_str).collect();
    select(connection, &wheres, params![user.0, path, first, end])
}

/// Moves of folders concern everything below them, and are few.
const FOLDER_MOVES: &str = "kind = 'move-folder' AND user_id = ?1";

fn select(
    connection: &Connection,
    wheres: &[&str],
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Pending>> {
    let parts: Vec<String> = wheres
        .iter()
        .map(|which| {
            format!("SELECT id, node, path, target, version, entry FROM owed WHERE {which}")
        })
        .collect();
    let query = format!("{} ORDER BY id DESC", parts.join(" UNION "));
    let mut query = connection.prepare_cached(&query).map_err(catalog_error)?;
    let rows = query
        .query_map(values, |row| {
            let version: Option<[u8; 16]> = row.get(4)?;
            let pending = Pending {
                node: NodeId::ALL[0],
                from: row.get(2)?,
                to: row.get(3)?,
                version: version.map(VersionId),
                entry: row.get(5)?,
            };
            Ok((row.get::<_, u8>(1)?, pending))
        })
        .map_err(catalog_error)?;
    let mut all = Vec::new();
    for row in rows {
        let (number, pending) = row.map_err(catalog_error)?;
        all.extend(NodeId::new(number).map(|node| Pending { node, ..pending }));
    }
    Ok(all)
}

/// The places at which a node may have a version besides this one, newest first; without a version,
/// those at which only folders have been moved since.
pub(super) fn former_paths(
    pending: &[Pending],
    node: NodeId,
    version: Option<VersionId>,
    path: &str,
) -> Vec<String> {
    let mut known = vec![path.to_owned()];
    for renaming in pending.iter().filter(|renaming| renaming.node == node) {
        let older: Vec<String> =
            known.iter().filter_map(|path| renaming.before(path, version)).collect();
        for path in older {
            if !known.contains(&path) {
                known.push(path);
            }
        }
    }
    known.split_off(1)
}

impl Catalog {
    /// A node does not hold a version where it was asked for it. Is that because it was moved since
    /// the catalog said so, its number being `asked` then, or because a move is owed to the node?
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn may_be_elsewhere(&self, node: NodeId, version: VersionId, asked: Seq) -> Result<bool> {
        let reader = self.reader.lock();
        let snapshot = reader.unchecked_transaction().map_err(catalog_error)?;
        let seq: Option<Seq> = snapshot
            .prepare_cached("SELECT seq FROM files WHERE version = ?1")
            .and_then(|mut query| {
                query.query_row([version.0], |row| Ok(Seq(row.get(0)?))).optional()
            })
            .map_err(catalog_error)?;
        Ok(seq.is_some_and(|seq| seq != asked) || moving(&snapshot, version)?.contains(node))
    }

    /// Where a version is, as of the last commit. `known` is where it was last; that holds for a
    /// version that has been replaced, which nothing moves any more.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn whereabouts(&self, version: VersionId, known: &Place) -> Result<Whereabouts> {
        let reader = self.reader.lock();
        // All of one moment.
        let snapshot = reader.unchecked_transaction().map_err(catalog_error)?;
        let current: Option<(UserId, String, String, Seq)> = snapshot
            .prepare_cached(
                "SELECT user_id, name, path, seq FROM files JOIN users ON users.id = user_id
                 WHERE version = ?1",
            )
            .and_then(|mut query| {
                query
                    .query_row([version.0], |row| {
                        Ok((UserId(row.get(0)?), row.get(1)?, row.get(2)?, Seq(row.get(3)?)))
                    })
                    .optional()
            })
            .map_err(catalog_error)?;
        let (user, place, seq) = match current {
            Some((user, name, path, seq)) => {
                let (name, path) = (UserName::parse(&name)?, FilePath::parse_rooted(&path)?);
                (user, Place { user: name, path }, Some(seq))
            }
            None => match accounts::id_of(&snapshot, &known.user)? {
                Some(user) => (user, known.clone(), None),
                None => return Ok(Whereabouts::at(known.clone())),
            },
        };
        let pending = pending_of(&snapshot, user, version)?;
        let mut formerly = [const { None }; NODE_COUNT];
        for node in NodeId::ALL {
            let paths = former_paths(&pending, node, Some(version), place.path.as_str());
            if paths.len() <= FORMERLY_MAX {
                let paths: Vec<FilePath> = paths
                    .iter()
                    .map(|path| FilePath::parse_rooted(path))
                    .collect::<std::result::Result<_, _>>()?;
                formerly[node.index()] = paths.try_into().ok();
            }
        }
        Ok(Whereabouts { place, seq, formerly })
    }
}

/// The nodes to which a move of a version is owed, if it is a file's current one.
pub(super) fn moving(connection: &Connection, version: VersionId) -> Result<NodeSet> {
    let current: Option<(UserId, String)> = connection
        .prepare_cached("SELECT user_id, path FROM files WHERE version = ?1")
        .and_then(|mut query| {
            query.query_row([version.0], |row| Ok((UserId(row.get(0)?), row.get(1)?))).optional()
        })
        .map_err(catalog_error)?;
    let Some((user, path)) = current else {
        return Ok(NodeSet::EMPTY);
    };
    let pending = pending_of(connection, user, version)?;
    let is_moving = |node: &NodeId| !former_paths(&pending, *node, Some(version), &path).is_empty();
    Ok(NodeId::ALL.into_iter().filter(is_moving).collect())
}

/// Does a move that is owed to a node concern this path?
pub(super) fn is_moving(
    connection: &Connection,
    node: NodeId,
    user: UserId,
    path: &str,
) -> Result<bool> {
    let moves = pending_at(connection, user, path)?;
    Ok(moves.iter().any(|renaming| renaming.node == node && renaming.concerns(path)))
}

/// Is a move of anything owed to a node?
pub(super) fn is_anything_moving(connection: &Connection, node: NodeId) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM owed INDEXED BY owed_moves
             WHERE kind IN ('move', 'move-folder', 'take-back') AND node = ?1)",
        )
        .and_then(|mut query| query.query_row(params![node.number()], |row| row.get(0)))
        .map_err(catalog_error)
}
