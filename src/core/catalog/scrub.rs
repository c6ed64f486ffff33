//! What the catalog keeps of scrubs: how far one is, what it has found, and strays.
//!
//! A finding is recorded in the transaction that owes the repair, so a scrub that goes on after a
//! restart counts nothing twice and forgets nothing.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::core::catalog::database::{self, catalog_error};
use crate::core::catalog::files::file_at;
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
    use crate::core::catalog::accounts::HashGate;
    use crate::core::catalog::{NewFile, Task};
    use crate::core::types::{ClusterId, Digest};

    struct Fixture {
        _folder: tempfile::TempDir,
        catalog: Catalog,
        user: UserId,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
        let demo = UserName::parse("demo").unwrap();
        let user = catalog.create_user(&HashGate::default(), &demo, "pw", 0).unwrap();
        catalog.remember_node_addresses(&["a:1", "b:2", "c:3", "d:4"].map(str::to_owned)).unwrap();
        Fixture { _folder: folder, catalog, user }
    }

    fn place(path: &str) -> Place {
        let path = FilePath::parse_rooted(path).unwrap();
        Place { user: UserName::parse("demo").unwrap(), path }
    }

    impl Fixture {
        fn store(&self, path: &str, version: u8) -> Seq {
            let ticket = self.catalog.begin_store(VersionId([version; 16])).unwrap();
            let new = NewFile {
                user: self.user,
                path: place(path).path,
                bytes: 353,
                blake3: Digest([7; 32]),
                stored_ms: 5,
                staged: NodeSet::ALL,
                replace: true,
            };
            self.catalog.commit_store(&ticket, &new).unwrap();
            ticket.seq
        }

        /// Everything that is owed has been done.
        fn settle(&self) {
            for node in NodeId::ALL {
                let owed = self.catalog.owed(node, false, 0, 1000).unwrap();
                let ids: Vec<i64> = owed.iter().map(|owed| owed.id).collect();
                self.catalog.settle(&ids);
            }
            self.catalog.strike_settled().unwrap();
        }

        fn judge(&self, path: &str, held: Option<(u8, Seq)>) -> Judgement {
            let held = held.map(|(version, seq)| (VersionId([version; 16]), seq));
            self.catalog.judge(NodeId::ALL[1], &place(path), held).unwrap()
        }
    }

    #[test]
    fn a_block_is_judged_by_what_is_current_and_what_is_owed() {
        let f = fixture();
        let old = f.store("a", 1);
        let new = f.store("a", 2);
        assert_eq!(f.judge("a", Some((1, old))), Judgement::Fine, "the commit is still owed");
        f.settle();
        assert_eq!(f.judge("a", Some((2, new))), Judgement::Fine);
        assert_eq!(f.judge("a", Some((1, old))), Judgement::Stale(VersionId([2; 16])));
        assert_eq!(f.judge("a", None), Judgement::Fine, "the check of the file says more");
        let higher = Seq(new.0 + 1);
        assert_eq!(f.judge("b", Some((9, higher))), Judgement::FromTheFuture);
        assert_eq!(f.catalog.draw_seq().unwrap(), higher);
        assert_eq!(f.judge("a", Some((9, higher))), Judgement::Stray(Some(VersionId([2; 16]))));
        assert_eq!(f.judge("b", Some((9, higher))), Judgement::Stray(None));
        assert_eq!(f.judge("b", None), Judgement::Stray(None));
        let nobody = Place { user: UserName::parse("nobody").unwrap(), ..place("a") };
        let judged = f.catalog.judge(NodeId::ALL[0], &nobody, None).unwrap();
        assert_eq!(judged, Judgement::Stray(None));
        let running = f.catalog.begin_store(VersionId([3; 16])).unwrap();
        assert_eq!(f.judge("c", Some((3, running.seq))), Judgement::Fine);
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
