//! What the catalog keeps of scrubs: how far one is, what it has found, and strays.
//!
//! A finding is recorded in the transaction that owes the repair, so a scrub that goes on after a
//! restart counts nothing twice and forgets nothing.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::core::catalog::database::{self, catalog_error};
use crate::core::catalog::owed::{self, Current};
use crate::core::catalog::{Catalog, UserId};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{NodeId, NodeSet, Seq, VersionId};
use crate::core::wire::node::Place;

/// Scrubs that are remembered.
const REMEMBERED: i64 = 20;

/// Where a scrub is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It compares what lies on the nodes with the catalog.
    Inventory,
    /// It has every piece of every file read.
    Files,
    /// It waits until what it found is mended.
    Mending,
    /// It has ended.
    Done,
    /// It was stopped, or another one was started before its repairs were done.
    Stopped,
}

impl Phase {
    const ALL: [Phase; 5] =
        [Phase::Inventory, Phase::Files, Phase::Mending, Phase::Done, Phase::Stopped];

    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Inventory => "inventory",
            Phase::Files => "files",
            Phase::Mending => "mending",
            Phase::Done => "done",
            Phase::Stopped => "stopped",
        }
    }
}

/// What a scrub finds about a piece, or about a whole file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A node's bytes are not those that were stored.
    Wrong,
    /// A node does not have its piece.
    Missing,
    /// A node has an older version in its place.
    Stale,
    /// The file does not match its digest, and no node can be named.
    Damaged,
}

impl What {
    const ALL: [What; 4] = [What::Wrong, What::Missing, What::Stale, What::Damaged];

    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Wrong => "wrong",
            What::Missing => "missing",
            What::Stale => "stale",
            What::Damaged => "damaged",
        }
    }
}

/// Something that a scrub has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub what: What,
    /// On which node; none if that cannot be told.
    pub node: Option<NodeId>,
    /// About which file, as it was called then.
    pub place: Place,
}

/// A scrub: one pass over everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scrub {
    /// Its number.
    pub id: i64,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: Option<i64>,
    /// Where it is.
    pub phase: Phase,
    /// Does it compare the bytes of all nodes, and not their checksums only?
    pub witness: bool,
    /// How long a stray must have been known before it is removed, in milliseconds.
    pub grace_ms: i64,
    /// The nodes whose inventory is done.
    pub listed: NodeSet,
    /// The nodes of which something could not be checked.
    pub unchecked: NodeSet,
    /// The last file that has been checked.
    pub cursor: Option<(UserId, String)>,
    /// Files that have been checked.
    pub files_done: u64,
    /// Files that there were when it began.
    pub files_all: u64,
    /// Bytes that have been checked, on all nodes together.
    pub bytes_done: u64,
    /// Bytes that there were when it began, about.
    pub bytes_all: u64,
    /// Strays that it has removed.
    pub removed: u64,
    /// Files that are no blocks of the node on which they lie; they stay.
    pub foreign: u64,
}

/// What has become of what a scrub found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mending {
    /// Pieces whose bytes were wrong.
    pub wrong: u64,
    /// Pieces that were missing.
    pub missing: u64,
    /// Pieces that were of an older version.
    pub stale: u64,
    /// Files that are damaged beyond what the nodes can tell.
    pub damaged: u64,
    /// Pieces for which a repair is still owed.
    pub owed: u64,
    /// Pieces that are in their place again.
    pub repaired: u64,
    /// Strays that are known and still lie there.
    pub stray: u64,
}

impl Catalog {
    /// Begins a scrub. One that had not ended is stopped; findings of earlier ones are forgotten.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn begin_scrub(&self, witness: bool, grace_ms: i64, now_ms: i64) -> Result<Scrub> {
        let (files_all, bytes_all) = self.totals()?;
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let begin = || {
            transaction.execute(
                "UPDATE scrubs SET phase = 'stopped', ended_ms = ?1 WHERE ended_ms IS NULL",
                [now_ms],
            )?;
            transaction.execute(
                "INSERT INTO scrubs (started_ms, phase, witness, grace_ms, listed, unchecked,
                     files_done, files_all, bytes_done, bytes_all, removed, others)
                 VALUES (?1, 'inventory', ?2, ?3, 0, 0, 0, ?4, 0, ?5, 0, 0)",
                params![now_ms, witness, grace_ms, files_all, bytes_all],
            )?;
            let id = transaction.last_insert_rowid();
            transaction.execute("DELETE FROM scrub_findings WHERE scrub < ?1", [id])?;
            transaction.execute("DELETE FROM scrubs WHERE id <= ?1", [id - REMEMBERED])?;
            Ok(id)
        };
        let id = begin().map_err(catalog_error)?;
        self.commit(transaction)?;
        Ok(Scrub {
            id,
            started_ms: now_ms,
            ended_ms: None,
            phase: Phase::Inventory,
            witness,
            grace_ms,
            listed: NodeSet::EMPTY,
            unchecked: NodeSet::EMPTY,
            cursor: None,
            files_done: 0,
            files_all,
            bytes_done: 0,
            bytes_all,
            removed: 0,
            foreign: 0,
        })
    }

    /// The last scrub, whether it has ended or not.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn last_scrub(&self) -> Result<Option<Scrub>> {
        self.reader
            .lock()
            .prepare_cached(
                "SELECT id, started_ms, ended_ms, phase, witness, grace_ms, listed, unchecked,
                     user_id, path, files_done, files_all, bytes_done, bytes_all, removed, others
                 FROM scrubs ORDER BY id DESC LIMIT 1",
            )
            .and_then(|mut query| query.query_row([], read_scrub).optional())
            .map_err(catalog_error)
    }

    /// When this was first asked, which is `now_ms` if it has never been, in milliseconds since 1970:
    /// from then on time passes until the first scrub is due.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn scrubs_since(&self, now_ms: i64) -> Result<i64> {
        let text = database::setting_or(&self.writer.lock(), "scrubs_since", &now_ms.to_string())?;
        text.parse().map_err(|e| Error::Catalog(format!("scrubs_since: {e}")))
    }

    /// Notes how far a scrub is. What it has removed is counted by [`Catalog::stray_removed`].
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn save_scrub(&self, scrub: &Scrub) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        transaction
            .prepare_cached(
                "UPDATE scrubs SET ended_ms = ?2, phase = ?3, listed = ?4, unchecked = ?5,
                     user_id = ?6, path = ?7, files_done = ?8, bytes_done = ?9, others = ?10
                 WHERE id = ?1",
            )
            .and_then(|mut update| {
                update.execute(params![
                    scrub.id,
                    scrub.ended_ms,
                    scrub.phase.as_str(),
                    scrub.listed.bits(),
                    scrub.unchecked.bits(),
                    scrub.cursor.as_ref().map(|(user, _)| user.0),
                    scrub.cursor.as_ref().map(|(_, path)| path),
                    scrub.files_done,
                    scrub.bytes_done,
                    scrub.foreign,
                ])
            })
            .map_err(catalog_error)?;
        self.commit(transaction)
    }

    /// A scrub found that a node's piece of a version is not what it should be: owes a repair and
    /// notes the finding. False if the version is no file's current one any more.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn scrub_found(
        &self,
        scrub: i64,
        what: What,
        node: NodeId,
        version: VersionId,
    ) -> Result<bool> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let Some(current) = owed::lose(&transaction, node, version)? else {
            return Ok(false);
        };
        note_finding(&transaction, scrub, what, Some(node), version, &current)?;
        self.commit(transaction)?;
        Ok(true)
    }

    /// A scrub found a file whose nodes contradict each other, and nobody can say which is right.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn scrub_found_damaged(&self, scrub: i64, version: VersionId) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let current = transaction
            .prepare_cached("SELECT user_id, path, seq FROM files WHERE version = ?1")
            .and_then(|mut query| {
                query
                    .query_row([version.0], |row| {
                        let user = UserId(row.get(0)?);
                        Ok(Current { user, path: row.get(1)?, seq: Seq(row.get(2)?) })
                    })
                    .optional()
            })
            .map_err(catalog_error)?;
        if let Some(current) = current {
            note_finding(&transaction, scrub, What::Damaged, None, version, &current)?;
            self.commit(transaction)?;
        }
        Ok(())
    }

    /// What a scrub has found and what has become of it.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn mending(&self, scrub: i64) -> Result<Mending> {
        let reader = self.reader.lock();
        let count = |query: &str| -> Result<u64> {
            reader
                .prepare_cached(query)
                .and_then(|mut query| query.query_row([scrub], |row| row.get(0)))
                .map_err(catalog_error)
        };
        let of = |what: What| {
            count(&format!(
                "SELECT count(*) FROM scrub_findings WHERE scrub = ?1 AND what = '{}'",
                what.as_str()
            ))
        };
        Ok(Mending {
            wrong: of(What::Wrong)?,
            missing: of(What::Missing)?,
            stale: of(What::Stale)?,
            damaged: of(What::Damaged)?,
            // With the commit that follows a repair: until then the old bytes lie in its place.
            owed: count(
                "SELECT count(*) FROM scrub_findings found WHERE scrub = ?1 AND EXISTS
                     (SELECT 1 FROM owed WHERE owed.version = found.version
                      AND owed.node = found.node)",
            )?,
            repaired: count(
                "SELECT count(*) FROM scrub_findings found WHERE scrub = ?1 AND NOT EXISTS
                     (SELECT 1 FROM owed WHERE owed.version = found.version
                      AND owed.node = found.node)
                 AND EXISTS (SELECT 1 FROM files WHERE files.version = found.version
                     AND files.placed & (1 << (found.node - 1)))",
            )?,
            stray: count("SELECT count(*) FROM strays WHERE scrub <= ?1")?,
        })
    }

    /// What a scrub has found, oldest first, at most `most`.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn findings(&self, scrub: i64, most: usize) -> Result<Vec<Finding>> {
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached(
                "SELECT what, node, name, path FROM scrub_findings
                 JOIN users ON users.id = user_id
                 WHERE scrub = ?1 ORDER BY scrub_findings.id LIMIT ?2",
            )
            .map_err(catalog_error)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = query
            .query_map(params![scrub, most], |row| {
                let what: String = row.get(0)?;
                let node: Option<u8> = row.get(1)?;
                Ok((what, node, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
            })
            .map_err(catalog_error)?;
        rows.map(|row| {
            let (what, node, user, path) = row.map_err(catalog_error)?;
            let what = What::ALL
                .into_iter()
                .find(|known| known.as_str() == what)
                .ok_or_else(|| Error::Catalog(format!("a scrub has found {what:?}")))?;
            let place =
                Place { user: UserName::parse(&user)?, path: FilePath::parse_rooted(&path)? };
            Ok(Finding { what, node: node.and_then(NodeId::new), place })
        })
        .collect()
    }
}

fn note_finding(
    transaction: &Transaction<'_>,
    scrub: i64,
    what: What,
    node: Option<NodeId>,
    version: VersionId,
    current: &Current,
) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO scrub_findings (scrub, what, node, user_id, path, version)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS
                 (SELECT 1 FROM scrub_findings
                  WHERE scrub = ?1 AND node IS ?3 AND version = ?6)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                scrub,
                what.as_str(),
                node.map(NodeId::number),
                current.user.0,
                current.path,
                version.0
            ])
        })
        .map_err(catalog_error)?;
    Ok(())
}

fn read_scrub(row: &Row<'_>) -> rusqlite::Result<Scrub> {
    let word: String = row.get(3)?;
    let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == word);
    let user: Option<i64> = row.get(8)?;
    let path: Option<String> = row.get(9)?;
    Ok(Scrub {
        id: row.get(0)?,
        started_ms: row.get(1)?,
        ended_ms: row.get(2)?,
        phase: phase.unwrap_or(Phase::Stopped),
        witness: row.get(4)?,
        grace_ms: row.get(5)?,
        listed: NodeSet::from_bits(row.get(6)?),
        unchecked: NodeSet::from_bits(row.get(7)?),
        cursor: user.map(UserId).zip(path),
        files_done: row.get(10)?,
        files_all: row.get(11)?,
        bytes_done: row.get(12)?,
        bytes_all: row.get(13)?,
        removed: row.get(14)?,
        foreign: row.get(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::Task;
    use crate::core::catalog::fixture::{fixture, place};

    #[test]
    fn a_finding_owes_one_repair_and_is_counted_once() {
        let f = fixture();
        f.store("a", 1);
        f.settle();
        let scrub = f.catalog.begin_scrub(false, 0, 10).unwrap();
        let (node, version) = (NodeId::ALL[3], VersionId([1; 16]));
        for _ in 0..2 {
            assert!(f.catalog.scrub_found(scrub.id, What::Wrong, node, version).unwrap());
        }
        let found = f.catalog.mending(scrub.id).unwrap();
        assert_eq!((found.wrong, found.owed, found.repaired), (1, 1, 0));
        let owed = f.catalog.owed(node, true, 0, 10).unwrap();
        assert!(matches!(&owed[..], [one] if matches!(one.task, Task::Repair { .. })), "{owed:?}");
        assert!(f.catalog.piece_rebuilt(node, version, owed[0].id).unwrap());
        assert_eq!(f.catalog.mending(scrub.id).unwrap().owed, 1, "its commit");
        f.settle();
        let found = f.catalog.mending(scrub.id).unwrap();
        assert_eq!((found.wrong, found.owed, found.repaired), (1, 0, 1));
        let findings = f.catalog.findings(scrub.id, 10).unwrap();
        let expected = Finding { what: What::Wrong, node: Some(node), place: place("a") };
        assert_eq!(findings, [expected]);
        let gone = VersionId([9; 16]);
        assert!(!f.catalog.scrub_found(scrub.id, What::Wrong, node, gone).unwrap());
    }

    #[test]
    fn a_scrub_is_found_again_where_it_was() {
        let f = fixture();
        f.store("a", 1);
        assert_eq!(f.catalog.last_scrub().unwrap(), None);
        let mut scrub = f.catalog.begin_scrub(true, 77, 10).unwrap();
        assert_eq!((scrub.files_all, scrub.bytes_all), (1, 4 * 356 / 2));
        scrub.phase = Phase::Files;
        scrub.cursor = Some((f.user, "a".into()));
        (scrub.listed, scrub.unchecked) = (NodeSet::ALL, NodeSet::from_bits(2));
        (scrub.files_done, scrub.bytes_done, scrub.foreign) = (1, 712, 3);
        f.catalog.save_scrub(&scrub).unwrap();
        assert_eq!(f.catalog.last_scrub().unwrap(), Some(scrub.clone()));
        let next = f.catalog.begin_scrub(false, 0, 20).unwrap();
        assert!(next.id > scrub.id);
        let all = f.catalog.files_after(None, 10).unwrap();
        assert_eq!(all.len(), 1);
        assert!(f.catalog.files_after(scrub.cursor.as_ref(), 10).unwrap().is_empty());
    }
}
