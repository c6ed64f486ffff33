//! The catalog as a whole: how much is stored where, what is missing where, and how often each node
//! turned out not to hold what it should.
//!
//! Some of these look through whole tables, over a connection of their own, so that no user's request
//! waits for them.

use rusqlite::{Connection, params};

use crate::core::catalog::Catalog;
use crate::core::catalog::database::{self, all, limit, one};
use crate::core::catalog::tree::Places;
use crate::core::catalog::versions::is_missing;
use crate::core::error::{Error, Result};
use crate::core::status::{Debt, Placement};
use crate::core::types::{NODE_COUNT, NodeId, NodeSet, READ_QUORUM, VersionId};
use crate::core::wire::node::Place;

/// The setting that counts each node's errors: four numbers, separated by spaces.
const ERRORS: &str = "errors";

impl Catalog {
    /// How many files, and how many bytes of them, lie on which nodes.
    pub fn placements(&self) -> Result<Vec<Placement>> {
        self.survey(|connection| {
            let partly = "SELECT placed, count(*), sum(bytes) FROM versions
                          WHERE placed != 15 AND retired = 0 GROUP BY placed ORDER BY placed";
            let mut placements = all(connection, partly, [], |row| {
                let placed = NodeSet::from_bits(row.get(0)?);
                Ok(Placement { placed, files: row.get(1)?, bytes: row.get(2)? })
            })?;
            // What is in its place everywhere, which is nearly all, is not looked at file by file.
            let totals = "SELECT coalesce(sum(stored), 0),
                              coalesce(sum(stored_bytes - retired_bytes), 0) FROM users";
            let (mut files, mut bytes): (u64, u64) =
                one(connection, totals, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for partly in &placements {
                files = files.saturating_sub(partly.files);
                bytes = bytes.saturating_sub(partly.bytes);
            }
            if files > 0 {
                placements.push(Placement { placed: NodeSet::ALL, files, bytes });
            }
            Ok(placements)
        })
    }

    /// What is missing on each node, in the order of the nodes.
    pub fn debts(&self) -> Result<[Debt; NODE_COUNT]> {
        self.survey(|connection| {
            let mut debts = [Debt::default(); NODE_COUNT];
            for (node, debt) in NodeId::ALL.into_iter().zip(&mut debts) {
                let select = format!(
                    "SELECT count(*), coalesce(sum(bytes / 2), 0) FROM versions WHERE {}",
                    is_missing(node)
                );
                (debt.pieces, debt.piece_bytes) =
                    one(connection, &select, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            }
            Ok(debts)
        })
    }

    /// Some of the files that lie on exactly these nodes, in any order.
    pub fn files_placed(&self, placed: NodeSet, most: usize) -> Result<Vec<Place>> {
        let index = if placed == NodeSet::ALL { "" } else { "AND placed != 15" };
        let select = format!(
            "SELECT version FROM versions WHERE placed = ?1 {index} AND retired = 0 AND joined = 0
             LIMIT ?2"
        );
        self.survey(|connection| {
            let versions = all(connection, &select, params![placed.bits(), limit(most)], |row| {
                Ok(VersionId(row.get(0)?))
            })?;
            let mut places = Places::new(connection);
            let places = versions.into_iter().map(|version| places.of(version).transpose());
            places.flatten().collect()
        })
    }

    /// How many files there are, and about how many bytes of them lie on all nodes together.
    pub fn totals(&self) -> Result<(u64, u64)> {
        let select = "SELECT count(*), coalesce(sum(((placed & 1) + (placed >> 1 & 1)
                          + (placed >> 2 & 1) + (placed >> 3 & 1)) * (bytes + 4 - bytes % 4) / 2), 0)
                      FROM versions WHERE retired = 0 AND joined = 0";
        self.survey(|connection| one(connection, select, [], |row| Ok((row.get(0)?, row.get(1)?))))
    }

    /// The files that could not be read any more without this node's pieces: how many, and some of
    /// them, at most `most`, by place.
    pub fn unreadable_without(&self, node: NodeId, most: usize) -> Result<(u64, Vec<Place>)> {
        // A file that all nodes hold can spare one.
        let select = "SELECT version, placed FROM versions
                      WHERE placed != 15 AND retired = 0 AND placed & ?1";
        self.survey(|connection| {
            let mut places = Places::new(connection);
            let (mut count, mut some) = (0, Vec::new());
            let rows = all(connection, select, [1_u8 << node.index()], |row| {
                Ok((VersionId(row.get(0)?), NodeSet::from_bits(row.get(1)?)))
            })?;
            for (version, mut placed) in rows {
                placed.remove(node);
                if placed.len() >= READ_QUORUM {
                    continue;
                }
                let Some(place) = places.of(version)? else { continue };
                count += 1;
                if some.len() < most {
                    some.push(place);
                }
            }
            some.sort_by(|a, b| (&a.user, &a.path).cmp(&(&b.user, &b.path)));
            Ok((count, some))
        })
    }

    /// How often each node turned out to lack or to have damaged a piece that it should hold, in the
    /// order of the nodes.
    pub fn errors(&self) -> Result<[u64; NODE_COUNT]> {
        self.survey(read_errors)
    }
}

pub(super) fn count_errors(connection: &Connection, node: NodeId, more: u64) -> Result<()> {
    let mut errors = read_errors(connection)?;
    errors[node.index()] += more;
    database::set_setting(connection, ERRORS, &errors.map(|count| count.to_string()).join(" "))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{CLUSTER, fixture, path, v};

    #[test]
    fn files_are_counted_by_where_they_lie() {
        let f = fixture();
        assert_eq!(f.catalog.placements().unwrap(), []);
        f.store("a", 1);
        f.store_on("b/c", 2, 0b0111);
        f.store_on("d", 3, 0b0111);
        f.store_on("e", 4, 0b1011);
        f.change(|draft| draft.delete(f.user, &path("e"))).unwrap();
        f.expire();
        let placement =
            |bits, files, bytes| Placement { placed: NodeSet::from_bits(bits), files, bytes };
        let expected = [placement(0b0111, 2, 2 * 353), placement(0b1111, 1, 353)];
        assert_eq!(f.catalog.placements().unwrap(), expected);
        let named = |bits, most| {
            let named = f.catalog.files_placed(NodeSet::from_bits(bits), most).unwrap();
            let mut named: Vec<String> = named.iter().map(Place::to_string).collect();
            named.sort();
            named
        };
        assert_eq!(named(0b0111, 9), ["/demo/b/c", "/demo/d"]);
        assert_eq!((named(0b0111, 1).len(), named(0b1111, 9)), (1, vec!["/demo/a".to_owned()]));
        assert_eq!(f.catalog.totals().unwrap(), (3, 10 * 356 / 2));
    }

    #[test]
    fn a_debt_is_what_is_missing_and_nothing_else() {
        let f = fixture();
        f.store_on("a", 1, 0b0111);
        f.store_on("b", 2, 0b0111);
        f.store_on("b", 3, 0b1111);
        f.expire();
        let mut expected = [Debt::default(); NODE_COUNT];
        (expected[3].pieces, expected[3].piece_bytes) = (1, 176);
        assert_eq!(f.catalog.debts().unwrap(), expected);
        f.change(|draft| draft.pieces_placed(NodeId::ALL[3], &[v(1)])).unwrap();
        assert_eq!(f.catalog.debts().unwrap(), [Debt::default(); NODE_COUNT]);
    }

    #[test]
    fn a_file_on_two_nodes_cannot_be_read_without_one_of_them() {
        let f = fixture();
        f.store_on("a", 1, 0b0111);
        f.store_on("b", 2, 0b0111);
        let without = |node: usize| f.catalog.unreadable_without(NodeId::ALL[node], 1).unwrap();
        assert_eq!(without(0), (0, vec![]));
        f.change(|draft| draft.pieces_lost(NodeId::ALL[2], &[v(1), v(2)], false)).unwrap();
        assert_eq!((without(0).0, without(0).1.len(), without(3).0), (2, 1, 0));
    }

    #[test]
    fn errors_survive_a_restart() {
        let f = fixture();
        f.store("a", 1);
        f.store("b", 2);
        for (node, n) in [(1, 1), (1, 1), (1, 2), (3, 2), (2, 9)] {
            f.change(|draft| draft.pieces_lost(NodeId::ALL[node], &[v(n)], true)).unwrap();
        }
        assert_eq!(f.catalog.errors().unwrap(), [0, 2, 0, 1]);
        drop(f.catalog);
        let again = Catalog::open(&f.folder.path().join("palk.db"), CLUSTER).unwrap();
        assert_eq!(again.errors().unwrap(), [0, 2, 0, 1]);
    }
}
