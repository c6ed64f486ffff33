//! The catalog as a whole: how much is stored where, what is owed to whom, and how often each node
//! turned out not to hold what it should.
//!
//! These look through whole tables, over a connection of their own, so that no user's request waits
//! for them.

use rusqlite::{Connection, Row, params};

use crate::core::catalog::Catalog;
use crate::core::catalog::database::{self, catalog_error};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::status::{Debt, Placement};
use crate::core::types::{NODE_COUNT, NodeId, NodeSet, VersionId};
use crate::core::wire::node::Place;

/// The setting that counts each node's errors: four numbers, parted by blanks.
const ERRORS: &str = "errors";

impl Catalog {
    /// How many files, and how many bytes of them, lie on which nodes.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn placements(&self) -> Result<Vec<Placement>> {
        let surveyor = self.surveyor.lock();
        let mut query = surveyor
            .prepare_cached(
                "SELECT placed, COUNT(*), SUM(bytes) FROM files GROUP BY placed ORDER BY placed",
            )
            .map_err(catalog_error)?;
        let rows = query.query_map([], read_placement).map_err(catalog_error)?;
        rows.collect::<rusqlite::Result<_>>().map_err(catalog_error)
    }

    /// What each node is owed, in the order of the nodes. What is settled and only waits to be struck
    /// out is not counted.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn debts(&self) -> Result<[Debt; NODE_COUNT]> {
        // Before the rows: what is settled in between is then counted once more, never once less.
        let settled = self.settled.lock().clone();
        let surveyor = self.surveyor.lock();
        let mut debts = [Debt::default(); NODE_COUNT];
        let mut query = surveyor
            .prepare_cached(
                "SELECT node, owed.kind = 'repair', COUNT(*), SUM(ifnull(files.bytes, 0) / 2)
                 FROM owed LEFT JOIN files ON files.version = owed.version
                 GROUP BY node, owed.kind = 'repair'",
            )
            .map_err(catalog_error)?;
        let mut rows = query.query([]).map_err(catalog_error)?;
        while let Some(row) = rows.next().map_err(catalog_error)? {
            let (node, debt) = read_debt(row)?;
            debts[node.index()].add(debt);
        }
        let mut one = surveyor
            .prepare_cached(
                "SELECT node, owed.kind = 'repair', 1, ifnull(files.bytes, 0) / 2
                 FROM owed LEFT JOIN files ON files.version = owed.version
                 WHERE owed.id = ?1",
            )
            .map_err(catalog_error)?;
        for id in settled {
            let mut rows = one.query([id]).map_err(catalog_error)?;
            if let Some(row) = rows.next().map_err(catalog_error)? {
                let (node, debt) = read_debt(row)?;
                debts[node.index()].subtract(debt);
            }
        }
        Ok(debts)
    }

    /// Some of the files that lie on exactly these nodes, in any order.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn files_placed(&self, placed: NodeSet, most: usize) -> Result<Vec<Place>> {
        let surveyor = self.surveyor.lock();
        let mut query = surveyor
            .prepare_cached(
                "SELECT name, path FROM files JOIN users ON users.id = user_id
                 WHERE placed = ?1 LIMIT ?2",
            )
            .map_err(catalog_error)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = query
            .query_map(params![placed.bits(), most], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(catalog_error)?;
        rows.map(|row| {
            let (user, path) = row.map_err(catalog_error)?;
            Ok(Place { user: UserName::parse(&user)?, path: FilePath::parse_rooted(&path)? })
        })
        .collect()
    }

    /// How often each node turned out to lack or to have damaged a piece that it should hold, in the
    /// order of the nodes, since the catalog was made.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn errors(&self) -> Result<[u64; NODE_COUNT]> {
        read_errors(&self.surveyor.lock())
    }
}

/// Counts an error of a node, unless it is known already that it lacks its piece of this version.
pub(super) fn count_error(connection: &Connection, node: NodeId, version: VersionId) -> Result<()> {
    let is_news: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM files WHERE version = ?1 AND placed & ?2 != 0)",
        )
        .and_then(|mut query| {
            query.query_row(params![version.0, 1_u8 << node.index()], |row| row.get(0))
        })
        .map_err(catalog_error)?;
    if is_news {
        let mut errors = read_errors(connection)?;
        errors[node.index()] += 1;
        let text = errors.map(|count| count.to_string()).join(" ");
        database::set_setting(connection, ERRORS, &text)?;
    }
    Ok(())
}

fn read_errors(connection: &Connection) -> Result<[u64; NODE_COUNT]> {
    let Some(text) = database::setting(connection, ERRORS)? else {
        return Ok([0; NODE_COUNT]);
    };
    let counts: Option<Vec<u64>> = text.split(' ').map(|count| count.parse().ok()).collect();
    counts
        .and_then(|counts| counts.try_into().ok())
        .ok_or_else(|| Error::Catalog("the count of errors has a bad form".into()))
}

fn read_placement(row: &Row<'_>) -> rusqlite::Result<Placement> {
    Ok(Placement {
        placed: NodeSet::from_bits(row.get(0)?),
        files: row.get(1)?,
        bytes: row.get(2)?,
    })
}

fn read_debt(row: &Row<'_>) -> Result<(NodeId, Debt)> {
    let node: u8 = row.get(0).map_err(catalog_error)?;
    let node = NodeId::try_from(node).map_err(Error::Catalog)?;
    let is_repair = row.get(1).map_err(catalog_error)?;
    let count = row.get(2).map_err(catalog_error)?;
    let bytes = row.get(3).map_err(catalog_error)?;
    let debt = if is_repair {
        Debt { orders: 0, pieces: count, piece_bytes: bytes }
    } else {
        Debt { orders: count, pieces: 0, piece_bytes: 0 }
    };
    Ok((node, debt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::NewFile;
    use crate::core::catalog::accounts::HashGate;
    use crate::core::error::Code;
    use crate::core::types::{ClusterId, Digest, Precondition};

    fn open(folder: &tempfile::TempDir) -> Catalog {
        Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap()
    }

    fn store(catalog: &Catalog, path: &str, version: u8, staged: u8) -> Result<()> {
        let user = catalog.user_id(&UserName::parse("demo").unwrap()).unwrap();
        let ticket = catalog.begin_store(VersionId([version; 16]))?;
        let new = NewFile {
            user,
            path: FilePath::parse_rooted(path).unwrap(),
            bytes: 1001,
            blake3: Digest([0; 32]),
            stored_ms: 0,
            staged: NodeSet::from_bits(staged),
            precondition: Precondition::Any,
            stored_by: String::new(),
        };
        catalog.commit_store(&ticket, &new).map(drop)
    }

    fn with_user() -> (tempfile::TempDir, Catalog) {
        let folder = tempfile::tempdir().unwrap();
        let catalog = open(&folder);
        let demo = UserName::parse("demo").unwrap();
        catalog.create_user(&HashGate::default(), &demo, "pw", 0).unwrap();
        (folder, catalog)
    }

    #[test]
    fn files_are_counted_by_where_they_lie() {
        let (_folder, catalog) = with_user();
        assert_eq!(catalog.placements().unwrap(), []);
        store(&catalog, "a", 1, 0b1111).unwrap();
        store(&catalog, "b/c", 2, 0b0111).unwrap();
        store(&catalog, "d", 3, 0b0111).unwrap();
        let placement =
            |bits, files, bytes| Placement { placed: NodeSet::from_bits(bits), files, bytes };
        let expected = [placement(0b0111, 2, 2002), placement(0b1111, 1, 1001)];
        assert_eq!(catalog.placements().unwrap(), expected);
        let named = catalog.files_placed(NodeSet::from_bits(0b0111), 9).unwrap();
        let mut named: Vec<String> = named.iter().map(Place::to_string).collect();
        named.sort();
        assert_eq!(named, ["/demo/b/c", "/demo/d"]);
        assert_eq!(catalog.files_placed(NodeSet::from_bits(0b0111), 1).unwrap().len(), 1);
    }

    #[test]
    fn what_is_settled_is_owed_no_more() {
        let (_folder, catalog) = with_user();
        store(&catalog, "a", 1, 0b0111).unwrap();
        let debt = |orders, pieces| Debt { orders, pieces, piece_bytes: 500 * pieces };
        // The folder of the account, and the commit or the repair of the file.
        let expected = [debt(2, 0), debt(2, 0), debt(2, 0), debt(1, 1)];
        assert_eq!(catalog.debts().unwrap(), expected);
        for repairs in [false, true] {
            let owed = catalog.owed(NodeId::ALL[3], repairs, 0, 9).unwrap();
            catalog.settle(&owed.iter().map(|owed| owed.id).collect::<Vec<_>>());
        }
        let expected = [debt(2, 0), debt(2, 0), debt(2, 0), debt(0, 0)];
        assert_eq!(catalog.debts().unwrap(), expected);
        catalog.strike_settled().unwrap();
        assert_eq!(catalog.debts().unwrap(), expected);
    }

    #[test]
    fn an_error_is_counted_once_and_survives_a_restart() {
        let (folder, catalog) = with_user();
        store(&catalog, "a", 1, 0b1111).unwrap();
        store(&catalog, "b", 2, 0b1111).unwrap();
        assert_eq!(catalog.errors().unwrap(), [0; 4]);
        for (node, version) in [(1, 1), (1, 1), (1, 2), (3, 2), (2, 9)] {
            catalog.piece_lost(NodeId::ALL[node], VersionId([version; 16]), None).unwrap();
        }
        assert_eq!(catalog.errors().unwrap(), [0, 2, 0, 1]);
        drop(catalog);
        assert_eq!(open(&folder).errors().unwrap(), [0, 2, 0, 1]);
    }

    #[test]
    fn a_full_disk_refuses_and_leaves_nothing_in_doubt() {
        let (_folder, catalog) = with_user();
        store(&catalog, "a", 1, 0b1111).unwrap();
        let set_pages_max = |pages: i64| {
            let writer = catalog.writer.lock();
            let at_least: i64 =
                writer.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            writer.pragma_update(None, "max_page_count", at_least.max(pages)).unwrap();
        };
        set_pages_max(0);
        // Long names fill pages soon.
        let path = |n: u8| format!("{}{n}", "n".repeat(200));
        let refused = (2..200).find_map(|n| store(&catalog, &path(n), n, 0b1111).err()).unwrap();
        assert_eq!(refused.code(), Code::NoSpace, "{refused}");
        assert!(!catalog.is_in_doubt());
        let before = catalog.placements().unwrap();
        assert!(store(&catalog, &path(201), 201, 0b1111).is_err());
        assert_eq!(catalog.placements().unwrap(), before);
        set_pages_max(1 << 20);
        store(&catalog, &path(202), 202, 0b1111).unwrap();
        assert_eq!(catalog.placements().unwrap()[0].files, before[0].files + 1);
    }
}
