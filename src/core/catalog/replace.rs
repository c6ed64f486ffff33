//! Nodes that lost everything: replaced by an empty one at another address, or found empty.

use rusqlite::{Connection, Row, params};

use crate::core::catalog::database::{self, catalog_error};
use crate::core::catalog::files::read_record;
use crate::core::catalog::{Catalog, FileRecord};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{NodeId, READ_QUORUM};
use crate::core::wire::node::Place;

/// A node that is being replaced, or has been.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replacement {
    /// Which node.
    pub node: NodeId,
    /// Where the new one is, `HOST:PORT`.
    pub address: String,
    /// Where the old one was.
    pub instead_of: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// How many pieces the new one was owed then.
    pub pieces: u64,
    /// When it was proved that the new one is whole, in milliseconds since 1970; until then the
    /// replacement is in progress.
    pub proved_ms: Option<i64>,
}

impl Catalog {
    /// The last replacement of each node, by node.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn replacements(&self) -> Result<Vec<Replacement>> {
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached(
                "SELECT node, address, instead_of, started_ms, pieces, proved_ms
                 FROM replacements ORDER BY node",
            )
            .map_err(catalog_error)?;
        let rows = query.query_map([], |row| Ok(read_replacement(row))).map_err(catalog_error)?;
        rows.map(|row| row.map_err(catalog_error)?).collect()
    }

    /// The files that could not be read any more without this node's pieces: how many, and the first
    /// of them, at most `most`.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn unreadable_without(&self, node: NodeId, most: usize) -> Result<(u64, Vec<Place>)> {
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached(
                "SELECT name, path, version, seq, bytes, blake3, stored_ms, placed
                 FROM files JOIN users ON users.id = user_id
                 WHERE placed & ?1 ORDER BY user_id, path",
            )
            .map_err(catalog_error)?;
        let rows = query
            .query_map([1_u8 << node.index()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, read_record(row, 2)?))
            })
            .map_err(catalog_error)?;
        let (mut count, mut first) = (0, Vec::new());
        for row in rows {
            let (user, path, record) = row.map_err(catalog_error)?;
            if is_readable_without(&record, node) {
                continue;
            }
            count += 1;
            if first.len() < most {
                let path = FilePath::parse_rooted(&path)?;
                first.push(Place { user: UserName::parse(&user)?, path });
            }
        }
        Ok((count, first))
    }

    /// The moment in which a node becomes another, empty one: its address changes, it holds nothing,
    /// what was owed to the old one is forgotten, and every folder and piece is owed to the new one.
    /// Gives the number of pieces.
    ///
    /// # Errors
    /// If the catalog cannot be written; nothing has changed then.
    pub fn begin_replacement(&self, node: NodeId, address: &str, now_ms: i64) -> Result<u64> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let mut addresses: Vec<String> = database::setting(&transaction, "nodes")?
            .ok_or_else(|| Error::Catalog("it remembers no nodes".into()))?
            .split(' ')
            .map(str::to_owned)
            .collect();
        let own = addresses
            .get_mut(node.index())
            .ok_or_else(|| Error::Catalog("it remembers fewer than four nodes".into()))?;
        let instead_of = std::mem::replace(own, address.to_owned());
        database::set_setting(&transaction, "nodes", &addresses.join(" "))?;
        let pieces = owe_everything(&transaction, node)?;
        transaction
            .execute(
                "INSERT OR REPLACE INTO replacements
                     (node, address, instead_of, started_ms, pieces, proved_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, NULL)",
                params![node.number(), address, instead_of, now_ms, pieces],
            )
            .map_err(catalog_error)?;
        self.commit(transaction)?;
        Ok(pieces)
    }

    /// Every piece on the new node has been read and matched: the replacement is done. False if
    /// something is owed to the node after all, and then it is not.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn end_replacement(&self, node: NodeId, now_ms: i64) -> Result<bool> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let changed = transaction
            .execute(
                "UPDATE replacements SET proved_ms = ?2 WHERE node = ?1 AND NOT EXISTS
                     (SELECT 1 FROM owed WHERE owed.node = ?1 AND kind = 'repair')",
                params![node.number(), now_ms],
            )
            .map_err(catalog_error)?;
        self.commit(transaction)?;
        Ok(changed > 0)
    }

    /// A node turned out to be empty: if the catalog places pieces on it, none of them is there, and
    /// all it should have is owed to it. Gives how many pieces were placed there.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn node_is_empty(&self, node: NodeId) -> Result<u64> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let placed: u64 = transaction
            .query_row(
                "SELECT count(*) FROM files WHERE placed & ?1",
                [1_u8 << node.index()],
                |row| row.get(0),
            )
            .map_err(catalog_error)?;
        if placed > 0 {
            owe_everything(&transaction, node)?;
            self.commit(transaction)?;
        }
        Ok(placed)
    }
}

fn is_readable_without(record: &FileRecord, node: NodeId) -> bool {
    let mut left = record.placed;
    left.remove(node);
    left.len() >= READ_QUORUM
}

/// The node holds nothing: it is owed every folder and every piece, and nothing else.
fn owe_everything(connection: &Connection, node: NodeId) -> Result<u64> {
    let number = node.number();
    let steps = [
        "DELETE FROM owed WHERE node = ?1",
        "INSERT INTO owed (node, kind, user_id, path, version, seq)
             SELECT ?1, 'folder', id, '', NULL, 0 FROM users
             WHERE state != 'removed' ORDER BY id",
        "INSERT INTO owed (node, kind, user_id, path, version, seq)
             SELECT ?1, 'folder', user_id, path, NULL, 0 FROM folders ORDER BY user_id, path",
        "INSERT INTO owed (node, kind, user_id, path, version, seq)
             SELECT ?1, 'repair', user_id, path, version, seq FROM files ORDER BY user_id, path",
    ];
    let mut rows = 0;
    for step in steps {
        rows = connection.execute(step, [number]).map_err(catalog_error)?;
    }
    connection
        .execute("UPDATE files SET placed = placed & ~?1", [1_u8 << node.index()])
        .map_err(catalog_error)?;
    Ok(rows as u64)
}

fn read_replacement(row: &Row<'_>) -> Result<Replacement> {
    let number: u8 = row.get(0).map_err(catalog_error)?;
    let node = NodeId::new(number)
        .ok_or_else(|| Error::Catalog(format!("it replaces a node {number}")))?;
    let read = || {
        Ok(Replacement {
            node,
            address: row.get(1)?,
            instead_of: row.get(2)?,
            started_ms: row.get(3)?,
            pieces: row.get(4)?,
            proved_ms: row.get(5)?,
        })
    };
    read().map_err(catalog_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::Task;
    use crate::core::catalog::fixture::{fixture, place};
    use crate::core::types::{NodeSet, VersionId};

    #[test]
    fn a_replaced_node_is_owed_everything_and_nothing_else() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("b", 2);
        let node = NodeId::ALL[0];
        assert_eq!(f.catalog.begin_replacement(node, "new:1", 10).unwrap(), 2);
        assert_eq!(f.catalog.node_addresses().unwrap().unwrap()[0], "new:1");
        assert_eq!(f.catalog.repairs_owed(node).unwrap(), 2);
        let orders = f.catalog.owed(node, false, 0, 10).unwrap();
        assert_eq!(orders.len(), 2, "the user's top folder and x: {orders:?}");
        let files = f.catalog.files_after(None, 10).unwrap();
        assert!(files.iter().all(|file| file.record.placed == NodeSet::from_bits(0b1110)));
        let [replacement] = &f.catalog.replacements().unwrap()[..] else { panic!("one") };
        assert_eq!((replacement.instead_of.as_str(), replacement.proved_ms), ("a:1", None));
        assert!(!f.catalog.end_replacement(node, 20).unwrap(), "repairs are owed");
        assert_eq!(f.catalog.unreadable_without(NodeId::ALL[1], 10).unwrap().0, 0);
        f.catalog.piece_lost(NodeId::ALL[2], VersionId([1; 16]), None).unwrap();
        let (count, first) = f.catalog.unreadable_without(NodeId::ALL[1], 10).unwrap();
        assert_eq!((count, first), (1, vec![place("x/a")]));
        for owed in f.catalog.owed(node, true, 0, 10).unwrap() {
            let Task::Repair { version, .. } = owed.task else { panic!("{owed:?}") };
            assert!(f.catalog.piece_rebuilt(node, version, owed.id).unwrap());
            assert!(!f.catalog.piece_rebuilt(node, version, owed.id).unwrap(), "struck out");
        }
        assert!(f.catalog.end_replacement(node, 20).unwrap());
    }

    #[test]
    fn an_empty_node_loses_only_what_it_should_have() {
        let f = fixture();
        assert_eq!(f.catalog.node_is_empty(NodeId::ALL[1]).unwrap(), 0);
        f.store("a", 1);
        assert_eq!(f.catalog.node_is_empty(NodeId::ALL[1]).unwrap(), 1);
        assert_eq!(f.catalog.repairs_owed(NodeId::ALL[1]).unwrap(), 1);
        assert_eq!(f.catalog.node_is_empty(NodeId::ALL[1]).unwrap(), 0, "known already");
        let version = f.catalog.version(VersionId([1; 16])).unwrap().unwrap();
        assert_eq!(version.placed, NodeSet::from_bits(0b1101));
    }
}
