//! What was owed to the nodes before a catalog was lost: orders that each had carried out or not.
//!
//! None of them is given again, since numbers do not protect what was moved from being removed by an
//! order that was done before the move. But they tell where a node that could not be asked may have
//! what the catalog places elsewhere.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::core::catalog::UserId;
use crate::core::catalog::database::catalog_error;
use crate::core::catalog::whereabouts::{Pending, former_paths, pending};
use crate::core::error::Result;
use crate::core::path::FilePath;
use crate::core::types::{NodeId, VersionId};

/// What was owed, as far as names are concerned.
#[derive(Default)]
pub(super) struct Before {
    /// By user; newest first.
    moves: BTreeMap<i64, Vec<Pending>>,
    /// Files that were to be removed, or moved away.
    removed: Vec<(UserId, NodeId, String)>,
}

impl Before {
    pub(super) fn of(connection: &Connection) -> Result<Before> {
        let mut before = Before::default();
        let mut query = connection
            .prepare(
                "SELECT user_id, node, path FROM owed WHERE kind IN ('remove', 'move', 'take-back')
                 ORDER BY id",
            )
            .map_err(catalog_error)?;
        let rows = query
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, u8>(1)?, row.get(2)?)))
            .map_err(catalog_error)?;
        for row in rows {
            let (user, node, path) = row.map_err(catalog_error)?;
            before.removed.extend(NodeId::new(node).map(|node| (UserId(user), node, path)));
        }
        let mut users = connection
            .prepare(
                "SELECT DISTINCT user_id FROM owed
                 WHERE kind IN ('move', 'move-folder', 'take-back')",
            )
            .map_err(catalog_error)?;
        let ids = users.query_map([], |row| row.get(0)).map_err(catalog_error)?;
        for id in ids {
            let id = id.map_err(catalog_error)?;
            before.moves.insert(id, pending(connection, UserId(id))?);
        }
        Ok(before)
    }

    /// Where else a node may have a version that is called so now; without a version, whatever was
    /// called so last.
    pub(super) fn paths(
        &self,
        user: UserId,
        node: NodeId,
        version: Option<VersionId>,
        path: &str,
    ) -> Result<Vec<FilePath>> {
        let Some(moves) = self.moves.get(&user.0) else { return Ok(Vec::new()) };
        let paths = former_paths(moves, node, version, path);
        paths.iter().map(|path| Ok(FilePath::parse_rooted(path)?)).collect()
    }

    /// Files that were to be removed from these nodes, or to be moved away there.
    pub(super) fn removed(&self, nodes: &[NodeId]) -> Vec<(UserId, NodeId, String)> {
        self.removed.iter().filter(|(_, node, _)| nodes.contains(node)).cloned().collect()
    }
}
