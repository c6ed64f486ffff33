//! Nodes that were replaced by an empty one.
//!
//! A replacement only changes where the node is looked for. That it holds nothing is found out as it
//! always is: an empty node says so, and what it lacks is recorded.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute, first, one, set_setting};
use crate::core::catalog::{Catalog, Draft, NODES, draft, node_addresses, versions};
use crate::core::error::{Error, Result};
use crate::core::types::NodeId;
use crate::core::wire::journal::Change;

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
    /// How many pieces the new one was to have then.
    pub pieces: u64,
    /// When it was proved that the new one is whole, in milliseconds since 1970; until then the
    /// replacement is in progress.
    pub proved_ms: Option<i64>,
}

impl Draft<'_> {
    /// An empty node takes a node's place; it is at this address.
    ///
    /// # Errors
    /// If the catalog knows no addresses, or cannot be written.
    pub fn begin_replacement(&mut self, node: NodeId, address: &str, now_ms: i64) -> Result<()> {
        draft::check_text("an address", address)?;
        if node_addresses(self.connection)?.is_none() {
            return Err(Error::Catalog("it remembers no nodes".into()));
        }
        let (address, started_ms) = (address.to_owned(), now_ms);
        self.record(Change::ReplacementBegun { node, address, started_ms }).map(drop)
    }

    /// Every piece on the new node has been read and matched: the replacement is done. False if
    /// something is missing there after all, and then it is not.
    pub fn prove_replacement(&mut self, node: NodeId, now_ms: i64) -> Result<bool> {
        let select = "SELECT 1 FROM replacements WHERE node = ?1";
        let is_known = first(self.connection, select, [node.number()], |_| Ok(()))?.is_some();
        if !is_known || versions::missing_count(self.connection, node)? > 0 {
            return Ok(false);
        }
        self.record(Change::ReplacementProved { node, proved_ms: now_ms })?;
        Ok(true)
    }
}

impl Catalog {
    /// The last replacement of each node, by node.
    pub fn replacements(&self) -> Result<Vec<Replacement>> {
        self.read(replacements)
    }
}

pub(super) fn replacements(connection: &Connection) -> Result<Vec<Replacement>> {
    let select = "SELECT node, address, instead_of, started_ms, pieces, proved_ms
                  FROM replacements ORDER BY node";
    let rows = all(connection, select, [], |row| {
        let node = NodeId::new(row.get(0)?);
        let (address, instead_of) = (row.get(1)?, row.get(2)?);
        let (started_ms, pieces, proved_ms) = (row.get(3)?, row.get(4)?, row.get(5)?);
        Ok(node.map(|node| Replacement {
            node,
            address,
            instead_of,
            started_ms,
            pieces,
            proved_ms,
        }))
    })?;
    Ok(rows.into_iter().flatten().collect())
}

pub(super) fn begin(
    connection: &Connection,
    node: NodeId,
    address: &str,
    started_ms: i64,
) -> Result<()> {
    let Some(mut addresses) = node_addresses(connection)? else { return Ok(()) };
    let instead_of = std::mem::replace(&mut addresses[node.index()], address.to_owned());
    set_setting(connection, NODES, &addresses.join(" "))?;
    let count = "SELECT coalesce(sum(stored), 0) FROM users";
    let pieces: u64 = one(connection, count, [], |row| row.get(0))?;
    let insert = "INSERT OR REPLACE INTO replacements
                      (node, address, instead_of, started_ms, pieces, proved_ms)
                  VALUES (?1, ?2, ?3, ?4, ?5, NULL)";
    let values = params![node.number(), address, instead_of, started_ms, pieces];
    execute(connection, insert, values).map(drop)
}

pub(super) fn prove(connection: &Connection, node: NodeId, proved_ms: i64) -> Result<()> {
    let update = "UPDATE replacements SET proved_ms = ?2 WHERE node = ?1";
    execute(connection, update, params![node.number(), proved_ms]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{fixture, v};

    #[test]
    fn a_replacement_is_proved_only_when_nothing_is_missing() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("b", 2);
        f.store("b", 3);
        f.expire();
        let node = NodeId::ALL[0];
        assert!(!f.change(|draft| draft.prove_replacement(node, 5)).unwrap(), "there is none");
        f.change(|draft| draft.begin_replacement(node, "new:1", 10)).unwrap();
        assert_eq!(f.catalog.node_addresses().unwrap().unwrap()[0], "new:1");
        let replacement = Replacement {
            node,
            address: "new:1".into(),
            instead_of: "a:1".into(),
            started_ms: 10,
            pieces: 2,
            proved_ms: None,
        };
        assert_eq!(f.catalog.replacements().unwrap(), std::slice::from_ref(&replacement));
        f.change(|draft| draft.pieces_lost(node, &[v(1), v(2), v(3)], false)).unwrap();
        assert!(!f.change(|draft| draft.prove_replacement(node, 20)).unwrap());
        f.change(|draft| draft.pieces_placed(node, &[v(1), v(3)])).unwrap();
        assert!(f.change(|draft| draft.prove_replacement(node, 20)).unwrap());
        let proved = Replacement { proved_ms: Some(20), ..replacement };
        assert_eq!(f.catalog.replacements().unwrap(), [proved]);
    }
}
