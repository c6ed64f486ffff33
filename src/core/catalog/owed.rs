//! What nodes are owed: orders they have not carried out and pieces they do not have yet.
//!
//! Rows are added in the transaction that makes them necessary and deleted once the node has done
//! its part. Losing a deletion of a row does no harm, since every order can be repeated; but not
//! beyond a move, so one of those is sent only when all before it are struck out for good, and
//! nothing behind it until it is (`cluster/attendant.rs`).

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::{Catalog, UserId, survey, whereabouts};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{NodeId, Seq, VersionId};
use crate::core::wire::node::{Order, Place};

/// One thing that a node is owed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owed {
    /// Its row.
    pub id: i64,
    /// What it is.
    pub task: Task,
    /// The number of the change that it comes from.
    pub seq: Seq,
    /// Of a move: the entry of the journal that has to be on several nodes before one is told.
    pub entry: u64,
}

/// What can be owed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// To be told to the node.
    Order(Order),
    /// A piece to be rebuilt from the other nodes.
    Repair {
        /// Of which version.
        version: VersionId,
        /// Of which file.
        place: Place,
    },
}

impl Task {
    /// Is it a move? Nothing else may be on its way to the node then.
    pub fn is_move(&self) -> bool {
        matches!(self, Task::Order(order) if order.is_move())
    }

    /// Must nothing that comes after it be done before it?
    pub fn is_first(&self) -> bool {
        matches!(self, Task::Order(Order::TakeBack { .. }))
    }

    /// The file that this is about and the version's number; nothing for a folder, for a staged
    /// piece that never became anyone's version, and for what names change by.
    pub fn place_and_seq(&self) -> Option<(&Place, Seq)> {
        match self {
            Task::Order(Order::Commit { place, seq, .. }) => Some((place, *seq)),
            Task::Order(Order::Remove { place, up_to }) => Some((place, *up_to)),
            Task::Order(
                Order::MakeFolder { .. }
                | Order::Discard { .. }
                | Order::MoveFile { .. }
                | Order::MoveFolder { .. }
                | Order::RemoveFolder { .. }
                | Order::TakeBack { .. },
            )
            | Task::Repair { .. } => None,
        }
    }
}

/// The kinds of rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    Commit,
    Remove,
    Discard,
    Repair,
    Move,
    MoveFolder,
    RemoveFolder,
    TakeBack,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Folder => "folder",
            Kind::Commit => "commit",
            Kind::Remove => "remove",
            Kind::Discard => "discard",
            Kind::Repair => "repair",
            Kind::Move => "move",
            Kind::MoveFolder => "move-folder",
            Kind::RemoveFolder => "remove-folder",
            Kind::TakeBack => "take-back",
        }
    }
}

pub(super) fn add(
    connection: &Connection,
    node: NodeId,
    kind: Kind,
    user: UserId,
    path: &str,
    version: Option<VersionId>,
    seq: Seq,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO owed (node, kind, user_id, path, version, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                node.number(),
                kind.as_str(),
                user.0,
                path,
                version.map(|version| version.0),
                seq.0
            ])
        })
        .map_err(catalog_error)?;
    Ok(())
}

/// Something by which what lies on a node gets another name.
#[derive(Clone, Copy)]
pub(super) struct Renaming<'a> {
    pub(super) kind: Kind,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) version: Option<VersionId>,
    pub(super) seq: Seq,
    pub(super) entry: u64,
}

pub(super) fn add_renaming(
    connection: &Connection,
    node: NodeId,
    user: UserId,
    renaming: &Renaming<'_>,
) -> Result<()> {
    add(connection, node, renaming.kind, user, renaming.from, renaming.version, renaming.seq)?;
    connection
        .prepare_cached("UPDATE owed SET target = ?1, entry = ?2 WHERE id = last_insert_rowid()")
        .and_then(|mut update| update.execute(params![renaming.to, renaming.entry]))
        .map_err(catalog_error)?;
    Ok(())
}

/// Repairs of a path's version are pointless once it has been replaced or removed.
pub(super) fn forget_repairs(connection: &Connection, user: UserId, path: &FilePath) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM owed WHERE user_id = ?1 AND path = ?2 AND kind = 'repair'")
        .and_then(|mut delete| delete.execute(params![user.0, path.as_str()]))
        .map_err(catalog_error)?;
    Ok(())
}

impl Catalog {
    /// What a node is owed after row `after`, oldest first, at most `most`: repairs, or all else.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn owed(&self, node: NodeId, repairs: bool, after: i64, most: usize) -> Result<Vec<Owed>> {
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached(
                "SELECT owed.id, kind, name, path, version, seq, target, entry
                 FROM owed JOIN users ON users.id = user_id
                 WHERE node = ?1 AND owed.id > ?2 AND (kind = 'repair') = ?3
                 ORDER BY owed.id LIMIT ?4",
            )
            .map_err(catalog_error)?;
        let settled = self.settled.lock().clone();
        let wanted = most + settled.len();
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let rows = query
            .query_map(params![node.number(), after, repairs, wanted], |row| Ok(read_row(row)))
            .map_err(catalog_error)?;
        rows.map(|row| row.map_err(catalog_error)?)
            .filter(|owed: &Result<Owed>| owed.as_ref().map_or(true, |o| !settled.contains(&o.id)))
            .take(most)
            .collect()
    }

    /// Is anything owed to a node from before this row, but for pieces, and for what only concerns
    /// staging? What is settled counts until it is struck out.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn is_owed_before(&self, node: NodeId, id: i64) -> Result<bool> {
        self.reader
            .lock()
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM owed
                 WHERE node = ?1 AND id < ?2 AND kind NOT IN ('repair', 'discard'))",
            )
            .and_then(|mut query| query.query_row(params![node.number(), id], |row| row.get(0)))
            .map_err(catalog_error)
    }

    /// Notes what has been done. It is no longer owed, and is struck out with the next commit.
    pub fn settle(&self, done: &[i64]) {
        self.settled.lock().extend(done);
    }

    /// Strikes out what has been settled, if no other commit has come to do it.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn strike_settled(&self) -> Result<()> {
        if self.settled.lock().is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        self.commit(transaction)
    }

    /// A node turned out not to hold its piece of a version: notes that, counts it as an error of the
    /// node's, and owes it a repair.
    /// `struck`, if given, is the row that found it out.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn piece_lost(&self, node: NodeId, version: VersionId, struck: Option<i64>) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        survey::count_error(&transaction, node, version)?;
        lose(&transaction, node, version)?;
        if let Some(id) = struck {
            strike(&transaction, id)?;
        }
        self.commit(transaction)
    }

    /// A rebuilt piece is staged on a node: strikes out the repair and owes the node the commit.
    /// False if the version or the node has been replaced meanwhile and nobody wants the piece any
    /// more.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn piece_rebuilt(&self, node: NodeId, version: VersionId, repair: i64) -> Result<bool> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        if strike(&transaction, repair)? == 0 {
            return Ok(false);
        }
        let current = transaction
            .prepare_cached(
                "UPDATE files SET placed = placed | ?2 WHERE version = ?1
                 RETURNING user_id, path, seq",
            )
            .and_then(|mut update| {
                update
                    .query_row(params![version.0, 1_u8 << node.index()], |row| {
                        Ok((UserId(row.get(0)?), row.get::<_, String>(1)?, Seq(row.get(2)?)))
                    })
                    .optional()
            })
            .map_err(catalog_error)?;
        if let Some((user, path, seq)) = &current {
            add(&transaction, node, Kind::Commit, *user, path, Some(version), *seq)?;
        }
        self.commit(transaction)?;
        Ok(current.is_some())
    }

    /// What to do about these versions that a node has staged and that no row of `owed` speaks of:
    /// those that nobody will ever commit there are dropped. A second piece of a version whose first
    /// has its final name (the node hung while it received one, and got another) takes its place,
    /// which changes nothing and is right even if the first were missing.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn strays(&self, node: NodeId, staged: &[VersionId]) -> Result<Vec<Order>> {
        self.refuse_in_doubt()?;
        let mut orders = Vec::new();
        for version in staged {
            // First whether it is running, then what the catalog says: a store that commits in
            // between is then found in the catalog.
            if self.order.lock().is_running(*version) {
                continue;
            }
            let reader = self.reader.lock();
            let is_owed: bool = reader
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM owed WHERE version = ?1 AND node = ?2)",
                )
                .and_then(|mut query| {
                    query.query_row(params![version.0, node.number()], |row| row.get(0))
                })
                .map_err(catalog_error)?;
            if !is_owed {
                let order = stray(&reader, *version)?;
                // A name is given in the order of moves only; later, then.
                if matches!(order, Order::Discard { .. })
                    || !whereabouts::is_anything_moving(&reader, node)?
                {
                    orders.push(order);
                }
            }
        }
        Ok(orders)
    }
}

fn stray(connection: &Connection, version: VersionId) -> Result<Order> {
    let current: Option<(String, String, u64)> = connection
        .prepare_cached(
            "SELECT name, path, seq FROM files JOIN users ON users.id = user_id
             WHERE version = ?1",
        )
        .and_then(|mut query| {
            query
                .query_row([version.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })
        .map_err(catalog_error)?;
    Ok(match current {
        Some((user, path, seq)) => {
            let place =
                Place { user: UserName::parse(&user)?, path: FilePath::parse_rooted(&path)? };
            Order::Commit { version, seq: Seq(seq), place }
        }
        None => Order::Discard { version },
    })
}

/// Deletes a row; gives how many there were of it.
pub(super) fn strike(connection: &Connection, id: i64) -> Result<usize> {
    connection
        .prepare_cached("DELETE FROM owed WHERE id = ?1")
        .and_then(|mut delete| delete.execute([id]))
        .map_err(catalog_error)
}

/// The current version of a file, as a transaction that changes it finds it.
pub(super) struct Current {
    pub(super) user: UserId,
    pub(super) path: String,
    pub(super) seq: Seq,
}

/// Notes that a node does not hold its piece of this version, and owes it a repair; nothing if it
/// is no file's current version.
pub(super) fn lose(
    connection: &Connection,
    node: NodeId,
    version: VersionId,
) -> Result<Option<Current>> {
    let current = connection
        .prepare_cached(
            "UPDATE files SET placed = placed & ~?2 WHERE version = ?1
             RETURNING user_id, path, seq",
        )
        .and_then(|mut update| {
            update
                .query_row(params![version.0, 1_u8 << node.index()], |row| {
                    let user = UserId(row.get(0)?);
                    Ok(Current { user, path: row.get(1)?, seq: Seq(row.get(2)?) })
                })
                .optional()
        })
        .map_err(catalog_error)?;
    if let Some(Current { user, path, seq }) = &current {
        let owed_already: bool = connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM owed
                 WHERE version = ?1 AND node = ?2 AND kind = 'repair')",
            )
            .and_then(|mut query| {
                query.query_row(params![version.0, node.number()], |row| row.get(0))
            })
            .map_err(catalog_error)?;
        if !owed_already {
            add(connection, node, Kind::Repair, *user, path, Some(version), *seq)?;
        }
    }
    Ok(current)
}

/// A row as a task.
fn read_row(row: &Row<'_>) -> Result<Owed> {
    let bad = |what: &str| Error::Catalog(format!("a row of what is owed has a bad {what}"));
    let text = |at: usize| row.get::<_, String>(at).map_err(catalog_error);
    let id = row.get(0).map_err(catalog_error)?;
    let kind = text(1)?;
    let user = UserName::parse(&text(2)?)?;
    let path = text(3)?;
    let version: Option<[u8; 16]> = row.get(4).map_err(catalog_error)?;
    let version = version.map(VersionId).ok_or_else(|| bad("version"));
    let seq = Seq(row.get(5).map_err(catalog_error)?);
    let target: Option<String> = row.get(6).map_err(catalog_error)?;
    let target = target.ok_or_else(|| bad("target"));
    let place = |user: UserName| -> Result<Place> {
        Ok(Place { user, path: FilePath::parse_rooted(&path)? })
    };
    let task = match kind.as_str() {
        "folder" => Task::Order(Order::MakeFolder { user, folder: FolderPath::parse(&path)? }),
        "commit" => Task::Order(Order::Commit { version: version?, seq, place: place(user)? }),
        "remove" => Task::Order(Order::Remove { place: place(user)?, up_to: seq }),
        "discard" => Task::Order(Order::Discard { version: version? }),
        "repair" => Task::Repair { version: version?, place: place(user)? },
        "move" => {
            let (from, to) = (FilePath::parse_rooted(&path)?, FilePath::parse_rooted(&target?)?);
            Task::Order(Order::MoveFile { version: version?, user, from, to })
        }
        "move-folder" => {
            let (from, to) = (FolderPath::parse(&path)?, FolderPath::parse(&target?)?);
            Task::Order(Order::MoveFolder { user, from, to })
        }
        "remove-folder" => {
            Task::Order(Order::RemoveFolder { user, folder: FolderPath::parse(&path)? })
        }
        "take-back" => Task::Order(Order::TakeBack { version: version?, place: place(user)? }),
        _ => return Err(bad("kind")),
    };
    Ok(Owed { id, task, seq, entry: row.get(7).map_err(catalog_error)? })
}
