//! Blocks on nodes that belong to no file: how they are told from those that do, and since when they
//! are known.

use rusqlite::{Connection, OptionalExtension, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::files::file_at;
use crate::core::catalog::{Catalog, Scrub, UserId, whereabouts};
use crate::core::error::Result;
use crate::core::path::{FilePath, UserName};
use crate::core::types::{NodeId, Seq, VersionId};
use crate::core::wire::node::Place;

/// What the catalog says about a block on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It is what it should be, or somebody is about to change it, or the check of the file says
    /// more.
    Fine,
    /// The file is there and its current version, this one, is newer.
    Stale(VersionId),
    /// There is no such file; or there is one, with this version, that is older.
    Stray(Option<VersionId>),
    /// Its number is one that this catalog has never given: the catalog is older than the node, an
    /// old copy maybe, and what it does not know may well be somebody's file.
    FromTheFuture,
}

impl Catalog {
    /// What to think of a block that lies at this place on a node. `held` is what its trailer says,
    /// if it can be read. The node was asked some time ago: what has been delivered since makes a
    /// block look older than it is, so ask the node again before anything is done about it.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn judge(
        &self,
        node: NodeId,
        place: &Place,
        held: Option<(VersionId, Seq)>,
    ) -> Result<Judgement> {
        if held.is_some_and(|(version, _)| self.order.lock().is_running(version)) {
            return Ok(Judgement::Fine);
        }
        if held.is_some_and(|(_, seq)| seq > self.order.lock().last()) {
            return Ok(Judgement::FromTheFuture);
        }
        // All of one moment: a store that commits between two looks would make strays of files.
        let reader = self.reader.lock();
        let snapshot = reader.unchecked_transaction().map_err(catalog_error)?;
        let Some(user) = user_called(&snapshot, &place.user)? else {
            return Ok(Judgement::Stray(None));
        };
        if is_owed_something(&snapshot, node, user, &place.path, held.map(|held| held.0))? {
            return Ok(Judgement::Fine);
        }
        Ok(match (file_at(&snapshot, user, &place.path)?, held) {
            (None, _) => Judgement::Stray(None),
            (Some(_), None) => Judgement::Fine,
            (Some(file), Some((version, _))) if file.version == version => Judgement::Fine,
            (Some(file), Some((_, seq))) if seq < file.seq => Judgement::Stale(file.version),
            (Some(file), Some(_)) => Judgement::Stray(Some(file.version)),
        })
    }

    /// Notes strays that a scrub has seen on a node, each with its sequence number (0 if it cannot
    /// be read). True for each that has been known for the scrub's grace time.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn note_strays(
        &self,
        scrub: &Scrub,
        node: NodeId,
        strays: &[(Place, Seq)],
        now_ms: i64,
    ) -> Result<Vec<bool>> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let mut due = Vec::new();
        for (place, seq) in strays {
            let first_ms: i64 = transaction
                .prepare_cached(
                    "INSERT INTO strays (node, user, path, seq, first_ms, scrub)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (node, user, path) DO UPDATE SET scrub = excluded.scrub,
                         seq = max(seq, excluded.seq),
                         first_ms = iif(seq < excluded.seq, excluded.first_ms, first_ms)
                     RETURNING first_ms",
                )
                .and_then(|mut insert| {
                    let (user, path) = (place.user.as_str(), place.path.as_str());
                    insert.query_row(
                        params![node.number(), user, path, seq.0, now_ms, scrub.id],
                        |row| row.get(0),
                    )
                })
                .map_err(catalog_error)?;
            due.push(first_ms.saturating_add(scrub.grace_ms) <= now_ms);
        }
        self.commit(transaction)?;
        Ok(due)
    }

    /// A stray is no longer there: it is forgotten, and counted.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn stray_removed(&self, scrub: i64, node: NodeId, place: &Place) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let strike = || {
            let struck = transaction.execute(
                "DELETE FROM strays WHERE node = ?1 AND user = ?2 AND path = ?3",
                params![node.number(), place.user.as_str(), place.path.as_str()],
            )?;
            transaction.execute(
                "UPDATE scrubs SET removed = removed + ?2 WHERE id = ?1",
                params![scrub, struck],
            )
        };
        strike().map_err(catalog_error)?;
        self.commit(transaction)
    }

    /// A node's inventory is done: strays that it did not show are there no longer.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn forget_strays_before(&self, scrub: i64, node: NodeId) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        transaction
            .execute(
                "DELETE FROM strays WHERE node = ?1 AND scrub < ?2",
                params![node.number(), scrub],
            )
            .map_err(catalog_error)?;
        self.commit(transaction)
    }
}

fn user_called(connection: &Connection, name: &UserName) -> Result<Option<UserId>> {
    connection
        .prepare_cached("SELECT id FROM users WHERE name = ?1")
        .and_then(|mut query| {
            query.query_row([name.as_str()], |row| Ok(UserId(row.get(0)?))).optional()
        })
        .map_err(catalog_error)
}

fn is_owed_something(
    connection: &Connection,
    node: NodeId,
    user: UserId,
    path: &FilePath,
    version: Option<VersionId>,
) -> Result<bool> {
    if whereabouts::is_moving(connection, node, user, path.as_str())? {
        return Ok(true);
    }
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM owed WHERE user_id = ?1 AND path = ?2 AND node = ?3)
                 OR EXISTS (SELECT 1 FROM owed WHERE version = ?4 AND node = ?3)",
        )
        .and_then(|mut query| {
            let version = version.map(|version| version.0);
            query
                .query_row(params![user.0, path.as_str(), node.number(), version], |row| row.get(0))
        })
        .map_err(catalog_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, place};

    fn judge(f: &Fixture, path: &str, held: Option<(u8, Seq)>) -> Judgement {
        let held = held.map(|(version, seq)| (VersionId([version; 16]), seq));
        f.catalog.judge(NodeId::ALL[1], &place(path), held).unwrap()
    }

    #[test]
    fn a_block_is_judged_by_what_is_current_and_what_is_owed() {
        let f = fixture();
        let old = f.store("a", 1);
        let new = f.store("a", 2);
        assert_eq!(judge(&f, "a", Some((1, old))), Judgement::Fine, "the commit is still owed");
        f.settle();
        assert_eq!(judge(&f, "a", Some((2, new))), Judgement::Fine);
        assert_eq!(judge(&f, "a", Some((1, old))), Judgement::Stale(VersionId([2; 16])));
        assert_eq!(judge(&f, "a", None), Judgement::Fine, "the check of the file says more");
        let higher = Seq(new.0 + 1);
        assert_eq!(judge(&f, "b", Some((9, higher))), Judgement::FromTheFuture);
        assert_eq!(f.catalog.draw_seq().unwrap(), higher);
        assert_eq!(judge(&f, "a", Some((9, higher))), Judgement::Stray(Some(VersionId([2; 16]))));
        assert_eq!(judge(&f, "b", Some((9, higher))), Judgement::Stray(None));
        assert_eq!(judge(&f, "b", None), Judgement::Stray(None));
        let nobody = Place { user: UserName::parse("nobody").unwrap(), ..place("a") };
        let judged = f.catalog.judge(NodeId::ALL[0], &nobody, None).unwrap();
        assert_eq!(judged, Judgement::Stray(None));
        let running = f.catalog.begin_store(VersionId([3; 16])).unwrap();
        assert_eq!(judge(&f, "c", Some((3, running.seq))), Judgement::Fine);
    }

    #[test]
    fn a_stray_is_due_when_it_has_been_known_for_the_grace_time() {
        let f = fixture();
        let node = NodeId::ALL[2];
        let stray = [(place("ghost"), Seq(5))];
        let first = f.catalog.begin_scrub(false, 1000, 10).unwrap();
        assert_eq!(f.catalog.note_strays(&first, node, &stray, 10).unwrap(), [false]);
        assert_eq!(f.catalog.mending(first.id).unwrap().stray, 1);
        let second = f.catalog.begin_scrub(false, 1000, 1009).unwrap();
        assert_eq!(f.catalog.note_strays(&second, node, &stray, 1009).unwrap(), [false]);
        assert_eq!(f.catalog.note_strays(&second, node, &stray, 1010).unwrap(), [true]);
        // Another block in its place is known anew.
        let other = [(place("ghost"), Seq(6))];
        assert_eq!(f.catalog.note_strays(&second, node, &other, 1010).unwrap(), [false]);
        f.catalog.stray_removed(second.id, node, &stray[0].0).unwrap();
        assert_eq!(f.catalog.mending(second.id).unwrap().stray, 0);
        assert_eq!(f.catalog.last_scrub().unwrap().unwrap().removed, 1);
        // What an inventory no longer shows is forgotten.
        f.catalog.note_strays(&second, node, &stray, 1010).unwrap();
        f.catalog.forget_strays_before(second.id + 1, node).unwrap();
        assert_eq!(f.catalog.mending(second.id).unwrap().stray, 0);
    }
}
