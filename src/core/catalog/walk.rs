//! All files of all users, page by page, for those who look after every piece.

use rusqlite::params;

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::files::read_record;
use crate::core::catalog::{Catalog, FileRecord, UserId, whereabouts};
use crate::core::error::Result;
use crate::core::path::{FilePath, UserName};
use crate::core::types::{NodeId, NodeSet, VersionId};
use crate::core::wire::node::Place;

/// A file on the way through all files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surveyed {
    /// Whose it is.
    pub user: UserId,
    /// Where it lies.
    pub place: Place,
    /// Its current version.
    pub record: FileRecord,
}

/// The nodes to which something about a version is owed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Concerned {
    /// Anything at all.
    pub any: NodeSet,
    /// A repair.
    pub repair: NodeSet,
}

impl Catalog {
    /// The files behind this one in the order of users and paths, at most `most`.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn files_after(
        &self,
        after: Option<&(UserId, String)>,
        most: usize,
    ) -> Result<Vec<Surveyed>> {
        let (user, path) = after.map_or((i64::MIN, ""), |(user, path)| (user.0, path.as_str()));
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached(
                "SELECT user_id, name, path, version, seq, bytes, blake3, stored_ms, placed
                 FROM files JOIN users ON users.id = user_id
                 WHERE (user_id, path) > (?1, ?2) ORDER BY user_id, path LIMIT ?3",
            )
            .map_err(catalog_error)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = query
            .query_map(params![user, path, most], |row| {
                let texts: (String, String) = (row.get(1)?, row.get(2)?);
                Ok((UserId(row.get(0)?), texts, read_record(row, 3)?))
            })
            .map_err(catalog_error)?;
        rows.map(|row| {
            let (user, (name, path), record) = row.map_err(catalog_error)?;
            let place =
                Place { user: UserName::parse(&name)?, path: FilePath::parse_rooted(&path)? };
            Ok(Surveyed { user, place, record })
        })
        .collect()
    }

    /// How many files there are, and about how many bytes of them lie on all nodes together.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn totals(&self) -> Result<(u64, u64)> {
        self.reader
            .lock()
            .query_row(
                "SELECT count(*), coalesce(sum(((placed & 1) + (placed >> 1 & 1)
                     + (placed >> 2 & 1) + (placed >> 3 & 1)) * (bytes + 4 - bytes % 4) / 2), 0)
                 FROM files",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(catalog_error)
    }

    /// To which nodes something about this version is owed, as of the last commit.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn concerned(&self, version: VersionId) -> Result<Concerned> {
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached("SELECT node, kind = 'repair' FROM owed WHERE version = ?1")
            .map_err(catalog_error)?;
        let rows = query
            .query_map([version.0], |row| Ok((row.get::<_, u8>(0)?, row.get::<_, bool>(1)?)))
            .map_err(catalog_error)?;
        let mut concerned = Concerned::default();
        for row in rows {
            let (number, is_repair) = row.map_err(catalog_error)?;
            if let Some(node) = NodeId::new(number) {
                concerned.any.insert(node);
                if is_repair {
                    concerned.repair.insert(node);
                }
            }
        }
        drop(query);
        concerned.any = concerned.any.or(whereabouts::moving(&reader, version)?);
        Ok(concerned)
    }

    /// How many repairs are owed to a node.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn repairs_owed(&self, node: NodeId) -> Result<u64> {
        self.reader
            .lock()
            .prepare_cached("SELECT count(*) FROM owed WHERE node = ?1 AND kind = 'repair'")
            .and_then(|mut query| query.query_row([node.number()], |row| row.get(0)))
            .map_err(catalog_error)
    }
}
