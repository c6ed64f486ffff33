//! Versions and where their pieces are: what is missing, what is retired, what is dropped.
//!
//! ```text
//!   current ── replaced, deleted ──> kept ── expired ──> retired ──────────┐
//!      │                                                                   ├── nobody reads it ──> dropped
//!      └── its folder was removed and that has expired ──> doomed ─────────┘
//! ```
//!
//! What is kept is repaired and checked as what is current.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute, first, limit, one};
use crate::core::catalog::files::{FileRecord, RECORD, read_record, record_of};
use crate::core::catalog::tree::{self, Places};
use crate::core::catalog::{Catalog, Draft, extents, past, uncertain};
use crate::core::error::Result;
use crate::core::types::{NodeId, NodeSet, VersionId};
use crate::core::wire::journal::{Change, VERSIONS_MAX};
use crate::core::wire::node::Place;

/// How many rows are looked at at a time.
const ROWS: usize = 1000;

/// A version that is current or kept, and a file whose version it is or was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surveyed {
    /// Where that file is.
    pub place: Place,
    /// The version.
    pub record: FileRecord,
}

/// A version as it is held against what a node says it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The version.
    pub version: VersionId,
    /// The nodes that hold its piece.
    pub placed: NodeSet,
    /// The journal's entry that last placed a piece of it; 0 if that was before a snapshot.
    pub placed_at: u64,
    /// The file's size.
    pub bytes: u64,
}

impl Draft<'_> {
    /// Drops those of these versions that no file is or was. Gives how many that are.
    pub fn drop_versions(&mut self, versions: &[VersionId]) -> Result<u64> {
        let (connection, mut places) = (self.connection, Places::new(self.connection));
        self.record_those(
            versions,
            |version| {
                let is_named = !is_droppable(connection, &mut places, version)?;
                Ok(!is_named && !uncertain::is_kept(connection, version)?)
            },
            |versions| Change::Dropped { versions },
        )
    }

    /// A node holds these pieces, rebuilt and durable. Gives of how many that is news.
    pub fn pieces_placed(&mut self, node: NodeId, versions: &[VersionId]) -> Result<u64> {
        let connection = self.connection;
        self.record_those(
            versions,
            |version| Ok(placed(connection, version)?.is_some_and(|on| !on.contains(node))),
            |versions| Change::Placed { node, versions },
        )
    }

    /// A node turned out not to hold these pieces, or to hold them damaged; if `counted`, as errors of
    /// its disk. Gives of how many that is news.
    pub fn pieces_lost(
        &mut self,
        node: NodeId,
        versions: &[VersionId],
        counted: bool,
    ) -> Result<u64> {
        let connection = self.connection;
        self.record_those(
            versions,
            |version| Ok(placed(connection, version)?.is_some_and(|on| on.contains(node))),
            |versions| Change::Lost { node, counted, versions },
        )
    }

    /// Records a change about those versions that are chosen, in as many entries as it takes.
    fn record_those(
        &mut self,
        versions: &[VersionId],
        mut choose: impl FnMut(VersionId) -> Result<bool>,
        change: impl Fn(Vec<VersionId>) -> Change,
    ) -> Result<u64> {
        let mut chosen = Vec::new();
        for version in versions {
            if choose(*version)? {
                chosen.push(*version);
            }
        }
        for some in chosen.chunks(VERSIONS_MAX) {
            self.record(change(some.to_vec()))?;
        }
        Ok(chosen.len() as u64)
    }
}

impl Catalog {
    /// Was no piece of this version placed after this entry of the journal?
    pub fn is_as_seen(&self, version: VersionId, seen: u64) -> Result<bool> {
        Ok(!self.read(|connection| is_placed_after(connection, version, seen))?)
    }

    /// The file of which this is or was the version, if there is one.
    pub fn version(&self, version: VersionId) -> Result<Option<Surveyed>> {
        self.read(|connection| {
            let Some(place) = Places::new(connection).of(version)? else { return Ok(None) };
            let record = record_of(connection, version)?;
            Ok(record.map(|record| Surveyed { place, record }))
        })
    }

    /// The versions with pieces that are current or kept, behind this one in the order of their ids, at most
    /// `most`.
    pub fn files_after(&self, after: Option<VersionId>, most: usize) -> Result<Vec<Surveyed>> {
        self.surveyed("retired = 0 AND joined = 0", after, most)
    }

    /// Those of them whose piece is missing on a node.
    pub fn missing(
        &self,
        node: NodeId,
        after: Option<VersionId>,
        most: usize,
    ) -> Result<Vec<Surveyed>> {
        self.surveyed(&is_missing(node), after, most)
    }

    /// How many pieces are missing on a node.
    pub fn missing_count(&self, node: NodeId) -> Result<u64> {
        self.read(|connection| missing_count(connection, node))
    }

    /// All versions with pieces behind this one in the order of their ids, at most `most`.
    pub fn versions_after(&self, after: Option<VersionId>, most: usize) -> Result<Vec<Held>> {
        let select = "SELECT version, placed, placed_at, bytes FROM versions
                      WHERE version > ?1 AND joined = 0 ORDER BY version LIMIT ?2";
        self.read(|connection| {
            all(connection, select, params![behind(after), limit(most)], |row| {
                Ok(Held {
                    version: VersionId(row.get(0)?),
                    placed: NodeSet::from_bits(row.get(1)?),
                    placed_at: row.get(2)?,
                    bytes: row.get(3)?,
                })
            })
        })
    }

    /// Those of these versions that are in the catalog.
    pub fn known(&self, versions: &[VersionId]) -> Result<Vec<VersionId>> {
        self.read(|connection| {
            let mut known = Vec::new();
            for version in versions {
                known.extend(placed(connection, *version)?.map(|_| *version));
            }
            Ok(known)
        })
    }

    /// Some of the versions that no file is or was any more, at most `most`.
    pub fn retired(&self, most: usize) -> Result<Vec<VersionId>> {
        self.read(|connection| {
            let select = "SELECT version FROM versions WHERE retired = 1 AND version NOT IN
                          (SELECT predecessor FROM versions
                           WHERE uncertain = 1 AND predecessor IS NOT NULL)
                          LIMIT ?1";
            let mut found =
                all(connection, select, [limit(most)], |row| Ok(VersionId(row.get(0)?)))?;
            for folder in doomed(connection)? {
                below(connection, folder, most, &mut found)?;
            }
            Ok(found)
        })
    }

    /// Is this version one that no file is or was any more?
    pub fn is_retired(&self, version: VersionId) -> Result<bool> {
        self.read(|connection| is_retired(connection, version))
    }

    /// Deletes doomed folders that hold no file any more, and the rows of removed accounts that have
    /// no version any more. What is in a doomed folder and can still be had back elsewhere leaves it.
    pub fn sweep_doomed(&self) -> Result<()> {
        let any = format!(
            "SELECT EXISTS (SELECT 1 FROM detached WHERE doomed = 1)
                 OR EXISTS (SELECT 1 FROM detached WHERE {FORGOTTEN})
                 OR EXISTS (SELECT 1 FROM users WHERE removed = 1)"
        );
        if self.read(|connection| one(connection, &any, [], |row| row.get(0)))? {
            while self.local(sweep_some)? {}
        }
        Ok(())
    }

    /// A page of versions with their places. Those below doomed folders are passed over.
    fn surveyed(
        &self,
        which: &str,
        mut after: Option<VersionId>,
        most: usize,
    ) -> Result<Vec<Surveyed>> {
        let select = format!(
            "SELECT version, {RECORD} FROM versions WHERE {which} AND version > ?1
             ORDER BY version LIMIT ?2"
        );
        self.read(|connection| {
            let (mut found, mut places) = (Vec::new(), Places::new(connection));
            while found.len() < most {
                let rows = limit(ROWS.min(most - found.len()));
                let values = params![behind(after), rows];
                let records = all(connection, &select, values, |row| read_record(row, 0))?;
                let Some(last) = records.last() else { break };
                after = Some(last.version);
                for record in records {
                    if let Some(place) = places.of(record.version)? {
                        found.push(Surveyed { place, record });
                    }
                }
            }
            Ok(found)
        })
    }
}

/// The blob behind which these versions come.
fn behind(after: Option<VersionId>) -> Vec<u8> {
    after.map_or_else(Vec::new, |version| version.0.to_vec())
}

/// The condition of the index of what is missing on a node.
pub(super) fn is_missing(node: NodeId) -> String {
    format!("placed & {} = 0 AND retired = 0", bit(node))
}

fn bit(node: NodeId) -> u8 {
    1 << node.index()
}

pub(super) fn missing_count(connection: &Connection, node: NodeId) -> Result<u64> {
    let count = format!("SELECT count(*) FROM versions WHERE {}", is_missing(node));
    one(connection, &count, [], |row| row.get(0))
}

/// The nodes that hold a version's pieces, if it is in the catalog.
pub(super) fn placed(connection: &Connection, version: VersionId) -> Result<Option<NodeSet>> {
    let select = "SELECT placed FROM versions WHERE version = ?1";
    first(connection, select, [version.0], |row| Ok(NodeSet::from_bits(row.get(0)?)))
}

pub(super) fn is_retired(connection: &Connection, version: VersionId) -> Result<bool> {
    is_droppable(connection, &mut Places::new(connection), version)
}

fn is_droppable(
    connection: &Connection,
    places: &mut Places<'_>,
    version: VersionId,
) -> Result<bool> {
    // One that is an extent goes after what is made of it, which somebody may be reading.
    Ok(placed(connection, version)?.is_some()
        && places.of(version)?.is_none()
        && !extents::is_extent(connection, version)?)
}

/// Drops those of these versions that no file is or was.
pub(super) fn drop_some(connection: &Connection, versions: &[VersionId]) -> Result<()> {
    let mut places = Places::new(connection);
    for version in versions {
        if is_droppable(connection, &mut places, *version)? {
            execute(connection, "DELETE FROM versions WHERE version = ?1", [version.0])?;
            execute(connection, "DELETE FROM entries WHERE version = ?1", [version.0])?;
            execute(connection, "DELETE FROM past WHERE version = ?1", [version.0])?;
            extents::remove_all(connection, *version)?;
        }
    }
    Ok(())
}

pub(super) fn place(
    connection: &Connection,
    node: NodeId,
    version: VersionId,
    entry: u64,
) -> Result<()> {
    let update = "UPDATE versions SET placed = placed | ?2, placed_at = ?3 WHERE version = ?1";
    execute(connection, update, params![version.0, bit(node), entry]).map(drop)
}

/// A node does not hold this piece. Gives 1 if it was placed there, else 0.
pub(super) fn lose(connection: &Connection, node: NodeId, version: VersionId) -> Result<u64> {
    let update = "UPDATE versions SET placed = placed & ~?2
                  WHERE version = ?1 AND placed & ?2 != 0";
    execute(connection, update, params![version.0, bit(node)]).map(|changed| changed as u64)
}

fn doomed(connection: &Connection) -> Result<Vec<i64>> {
    all(connection, "SELECT entry FROM detached WHERE doomed = 1", [], |row| row.get(0))
}

/// Adds versions below a doomed folder, up to `most`: what is in its folders first, so that
/// [`sweep`] finds those that are empty where it begins. What has another name or had one is passed
/// over; [`sweep`] sees to it.
fn below(
    connection: &Connection,
    folder: i64,
    most: usize,
    found: &mut Vec<VersionId>,
) -> Result<()> {
    let mut last = i64::MIN;
    while let Some(id) = next_folder(connection, folder, last)?.filter(|_| found.len() < most) {
        last = id;
        if !was_named(connection, id)? {
            below(connection, id, most, found)?;
        }
    }
    let select = "SELECT version FROM entries
                  WHERE parent = ?1 AND version IS NOT NULL
                      AND NOT EXISTS (SELECT 1 FROM past WHERE past.version = entries.version)
                      AND NOT EXISTS (SELECT 1 FROM extents WHERE extents.version = entries.version)
                      AND NOT EXISTS (SELECT 1 FROM entries other
                                      WHERE other.version = entries.version AND other.id != entries.id)
                  LIMIT ?2";
    let left = limit(most.saturating_sub(found.len()));
    found.extend(all(connection, select, [folder, left], |row| Ok(VersionId(row.get(0)?)))?);
    Ok(())
}

fn next_folder(connection: &Connection, parent: i64, last: i64) -> Result<Option<i64>> {
    let select = "SELECT id FROM entries
                  WHERE parent = ?1 AND version IS NULL AND id > ?2 ORDER BY id LIMIT 1";
    first(connection, select, [parent, last], |row| row.get(0))
}

/// Had this folder another name that can be had back?
fn was_named(connection: &Connection, folder: i64) -> Result<bool> {
    let select = "SELECT 1 FROM past WHERE folder = ?1 LIMIT 1";
    Ok(first(connection, select, [folder], |_| Ok(()))?.is_some())
}

/// The condition of folders that came out of doomed ones and have no former name any more. Nobody else
/// knows them by their keys.
const FORGOTTEN: &str = "key < 0 AND doomed = 0
    AND NOT EXISTS (SELECT 1 FROM past WHERE folder = detached.entry)";

/// Deletes some of the doomed folders in which there is nothing. False once there are no more.
fn sweep_some(connection: &Connection) -> Result<bool> {
    let mut left = ROWS;
    let doom = format!("UPDATE detached SET doomed = 1 WHERE {FORGOTTEN}");
    execute(connection, &doom, [])?;
    if past::forget_removed(connection, &mut left)? {
        for folder in doomed(connection)? {
            if sweep(connection, folder, &mut left)? {
                execute(connection, "DELETE FROM detached WHERE entry = ?1", [folder])?;
            }
        }
    }
    let delete = "DELETE FROM users WHERE removed = 1 AND versions = 0
                  AND NOT EXISTS (SELECT 1 FROM past WHERE user_id = users.id)
                  AND NOT EXISTS (SELECT 1 FROM detached WHERE user_id = users.id)";
    execute(connection, delete, [])?;
    Ok(left == 0)
}

/// Deletes a folder if there is no file in it, folder by folder up to the first file that is to be
/// dropped. False if it is still there.
fn sweep(connection: &Connection, folder: i64, left: &mut usize) -> Result<bool> {
    while let Some(id) = next_folder(connection, folder, i64::MIN)? {
        if *left == 0 {
            return Ok(false);
        }
        if was_named(connection, id)? {
            // Nobody asks for it by a key. No other folder went at that moment.
            let detach = "INSERT INTO detached (entry, user_id, key, doomed)
                          SELECT ?1, user_id, -min(gone), 0 FROM past WHERE folder = ?1";
            execute(connection, detach, [id])?;
            execute(connection, "UPDATE entries SET parent = NULL WHERE id = ?1", [id])?;
            *left -= 1;
        } else if !sweep(connection, id, left)? {
            return Ok(false);
        }
    }
    // What names in it were can be had back by nobody.
    let select = "SELECT id, version FROM past WHERE parent = ?1 LIMIT ?2";
    let rows = all(connection, select, params![folder, limit(*left)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<_>>(1)?.map(VersionId)))
    })?;
    *left -= rows.len();
    rows.into_iter().try_for_each(|(id, version)| past::remove(connection, id, version))?;
    let select = "SELECT id, version FROM entries
                  WHERE parent = ?1 AND version IS NOT NULL
                      AND (EXISTS (SELECT 1 FROM past WHERE past.version = entries.version)
                           OR EXISTS (SELECT 1 FROM extents WHERE extents.version = entries.version)
                           OR EXISTS (SELECT 1 FROM entries other WHERE other.version = entries.version
                                      AND other.id != entries.id))
                  LIMIT ?2";
    let rows = all(connection, select, params![folder, limit(*left)], |row| {
        Ok((row.get::<_, i64>(0)?, VersionId(row.get(1)?)))
    })?;
    *left -= rows.len();
    for (id, version) in rows {
        tree::delete(connection, id)?;
        past::settle(connection, version)?;
    }
    let any = "SELECT 1 FROM entries WHERE parent = ?1 LIMIT 1";
    if *left == 0 || first(connection, any, [folder], |_| Ok(()))?.is_some() {
        return Ok(false);
    }
    *left -= 1;
    tree::delete(connection, folder)?;
    Ok(true)
}

/// Was a piece of this version placed after this entry of the journal?
pub(super) fn is_placed_after(
    connection: &Connection,
    version: VersionId,
    entry: u64,
) -> Result<bool> {
    let select = "SELECT placed_at > ?2 FROM versions WHERE version = ?1";
    let found = first(connection, select, params![version.0, entry], |row| row.get(0))?;
    Ok(found.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, journal, name, path, place, v};

    const NODE: NodeId = NodeId::ALL[3];

    fn ids(surveyed: &[Surveyed]) -> Vec<VersionId> {
        surveyed.iter().map(|one| one.record.version).collect()
    }

    fn known(f: &Fixture) -> Vec<VersionId> {
        let held = f.catalog.versions_after(None, 1000).unwrap();
        held.iter().map(|held| held.version).collect()
    }

    #[test]
    fn what_no_file_names_is_retired_until_it_is_dropped() {
        let f = fixture();
        f.store("a", 1);
        f.store("a", 2);
        f.store("b", 3);
        f.change(|draft| draft.delete(f.user, &path("b"))).unwrap();
        assert_eq!(f.catalog.retired(9).unwrap(), [], "they are kept");
        f.expire();
        assert_eq!(f.catalog.retired(9).unwrap(), [v(1), v(3)]);
        assert_eq!(f.catalog.retired(1).unwrap(), [v(1)]);
        let is_retired = |n| f.catalog.is_retired(v(n)).unwrap();
        assert_eq!([1, 2, 3, 9].map(is_retired), [true, false, true, false]);
        let dropped = f.change(|draft| draft.drop_versions(&[v(1), v(2), v(9)])).unwrap();
        assert_eq!((dropped, known(&f)), (1, vec![v(2), v(3)]));
        let before = f.catalog.end().unwrap();
        assert_eq!(f.change(|draft| draft.drop_versions(&[v(1), v(2)])).unwrap(), 0);
        assert_eq!(f.catalog.end().unwrap(), before, "nothing to say");
        assert_eq!(f.catalog.known(&[v(1), v(2), v(3), v(9)]).unwrap(), [v(2), v(3)]);
    }

    #[test]
    fn a_removed_folder_is_reaped_bit_by_bit() {
        let f = fixture();
        for n in 1..=60 {
            f.store(&format!("x/{}/{n}", n % 7), n);
        }
        f.store("y", 61);
        f.change(|draft| draft.make_folder(f.user, &folder("x/empty/deep"), true)).unwrap();
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        assert_eq!(ids(&f.catalog.files_after(None, 99).unwrap()).len(), 61, "they are kept");
        f.expire();
        let surveyed = f.catalog.files_after(None, 5).unwrap();
        assert_eq!(ids(&surveyed), [v(61)], "what is doomed is no file");
        let folders = || {
            let count = "SELECT count(*) FROM entries WHERE version IS NULL";
            f.catalog.read(|c| one(c, count, [], |row| row.get::<_, i64>(0))).unwrap()
        };
        assert_eq!(folders(), 1 + 1 + 7 + 2);
        let mut reaped = 0;
        loop {
            let some = f.catalog.retired(8).unwrap();
            if some.is_empty() {
                break;
            }
            assert!(some.len() <= 8 && !some.contains(&v(61)));
            reaped += f.change(|draft| draft.drop_versions(&some)).unwrap();
            f.catalog.sweep_doomed().unwrap();
        }
        assert_eq!((reaped, known(&f), folders()), (60, vec![v(61)], 1));
    }

    #[test]
    fn an_account_that_was_removed_is_gone_once_its_versions_are() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("x/a", 2);
        f.change(|draft| draft.remove_user(&name("demo"))).unwrap();
        // Another one may have the name at once.
        let again = f.change(|draft| draft.create_user(&name("demo"), "", 9)).unwrap();
        assert_ne!(again, f.user);
        assert!(f.catalog.list(again).unwrap().is_empty() && f.list().is_empty());
        assert_eq!(f.catalog.version(v(2)).unwrap(), None);
        f.catalog.sweep_doomed().unwrap();
        assert_eq!(f.catalog.users().unwrap().len(), 2);
        let mut some = f.catalog.retired(9).unwrap();
        some.sort();
        assert_eq!(some, [v(1), v(2)]);
        f.change(|draft| draft.drop_versions(&some)).unwrap();
        f.catalog.sweep_doomed().unwrap();
        let users = f.catalog.users().unwrap();
        assert_eq!((users.len(), users[0].created_ms), (1, 9));
        let third = f.change(|draft| draft.create_user(&name("ann"), "", 9)).unwrap();
        assert!(third != again && third != f.user, "no number is used twice");
    }

    #[test]
    fn a_missing_piece_is_missing_until_it_is_placed() {
        let f = fixture();
        f.store_on("x/a", 1, 0b0111);
        f.store("b", 2);
        f.store_on("c", 3, 0b0111);
        f.store_on("c", 4, 0b1111);
        f.expire();
        let missing = || ids(&f.catalog.missing(NODE, None, 9).unwrap());
        assert_eq!(missing(), [v(1)], "of a retired version nothing is missing");
        let lost = |n| f.change(|draft| draft.pieces_lost(NODE, &[v(n)], true)).unwrap();
        assert_eq!([1, 2, 2, 9].map(lost), [0, 1, 0, 0], "only what was placed there");
        assert_eq!((missing(), f.catalog.missing_count(NODE).unwrap()), (vec![v(1), v(2)], 2));
        assert_eq!(f.catalog.errors().unwrap(), [0, 0, 0, 1]);
        let first = f.catalog.missing(NODE, None, 1).unwrap();
        assert_eq!((ids(&first), &first[0].place), (vec![v(1)], &place("x/a")));
        assert_eq!(ids(&f.catalog.missing(NODE, Some(v(1)), 9).unwrap()), [v(2)]);
        f.change(|draft| draft.pieces_lost(NodeId::ALL[0], &[v(2), v(4)], false)).unwrap();
        assert_eq!(f.catalog.errors().unwrap(), [0, 0, 0, 1], "not counted");
        let all = [1, 2, 9].map(v);
        let placed = || f.change(|draft| draft.pieces_placed(NODE, &all)).unwrap();
        assert_eq!((placed(), missing()), (2, vec![]));
        let entry = f.catalog.end().unwrap().id;
        let held = f.catalog.versions_after(Some(v(1)), 1).unwrap();
        let (version, placed_on) = (v(2), NodeSet::from_bits(0b1110));
        assert_eq!(held, [Held { version, placed: placed_on, placed_at: entry, bytes: 353 }]);
        assert_eq!((placed(), f.catalog.end().unwrap().id), (0, entry), "no news");
    }

    #[test]
    fn a_change_of_more_versions_than_a_record_takes_is_several() {
        let f = fixture();
        let version = |n: u16| VersionId(std::array::from_fn(|i| n.to_be_bytes()[i % 2]));
        let all: Vec<VersionId> = (1000..2100).map(version).collect();
        for (n, version) in all.iter().enumerate() {
            let new = crate::core::catalog::fixture::new_file(f.user, &n.to_string(), *version);
            f.change(|draft| draft.store(&new, None)).unwrap();
        }
        let before = journal(&f.catalog).len();
        assert_eq!(f.change(|draft| draft.pieces_lost(NODE, &all, true)).unwrap(), 1100);
        assert_eq!(journal(&f.catalog).len(), before + 3);
        assert_eq!(f.catalog.errors().unwrap()[3], 1100);
    }

    #[test]
    fn what_is_missing_on_a_node_is_found_by_an_index_of_its_own() {
        let f = fixture();
        for node in NodeId::ALL {
            let plan = format!(
                "EXPLAIN QUERY PLAN SELECT version, {RECORD} FROM versions
                 WHERE {} AND version > x'00' ORDER BY version LIMIT 5",
                is_missing(node)
            );
            let plan = f.catalog.read(|c| one(c, &plan, [], |row| row.get::<_, String>(3)));
            let plan = plan.unwrap();
            assert!(plan.contains(&format!("missing_{node}")), "{plan}");
        }
    }
}
