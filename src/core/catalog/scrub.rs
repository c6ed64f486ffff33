//! What the catalog keeps of scrubs: how far one is, and what it has found.
//!
//! No journal has this. A finding is written before the loss of the piece is recorded, and once for each
//! piece, so a scrub that goes on after a restart, or after a failure, forgets nothing and counts nothing
//! twice.

use rusqlite::{Connection, Row, params};

use crate::core::catalog::database::{self, all, execute, first, limit, one};
use crate::core::catalog::tree::Places;
use crate::core::catalog::{Catalog, versions};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{NodeId, NodeSet, VersionId};
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
    /// The file does not match its digest, and no node can be named.
    Damaged,
}

impl What {
    const ALL: [What; 3] = [What::Wrong, What::Missing, What::Damaged];

    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Wrong => "wrong",
            What::Missing => "missing",
            What::Damaged => "damaged",
        }
    }
}

/// Something that a scrub has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub what: What,
    /// On which node; `None` if it is not known which.
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
    /// How long a piece of no version must have been known before it is removed, in milliseconds.
    pub grace_ms: i64,
    /// The nodes whose inventory is done.
    pub listed: NodeSet,
    /// The nodes of which something could not be checked.
    pub unchecked: NodeSet,
    /// The last version that has been checked.
    pub cursor: Option<VersionId>,
    /// Files that have been checked.
    pub files_done: u64,
    /// Files that there were when it began.
    pub files_all: u64,
    /// Bytes that have been checked, on all nodes together.
    pub bytes_done: u64,
    /// Bytes that there were when it began, about.
    pub bytes_all: u64,
    /// Pieces of no version that it has removed.
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
    /// Files that are damaged beyond what the nodes can tell.
    pub damaged: u64,
    /// Pieces that are still missing.
    pub owed: u64,
    /// Pieces that are in their place again.
    pub repaired: u64,
}

impl Catalog {
    /// A scrub found that a node's pieces of these versions are not what they should be; it is noted
    /// before their loss is recorded. Those that are not placed there any more are known to be lost
    /// already. Gives those that are files' current versions.
    pub fn scrub_found(
        &self,
        scrub: i64,
        what: What,
        node: NodeId,
        versions: &[VersionId],
    ) -> Result<Vec<VersionId>> {
        self.local(|connection| {
            let mut noted = Vec::new();
            for version in versions {
                let is_placed = versions::placed(connection, *version)?
                    .is_some_and(|placed| placed.contains(node));
                if is_placed && note_finding(connection, scrub, what, Some(node), *version)? {
                    noted.push(*version);
                }
            }
            Ok(noted)
        })
    }

    /// Begins a scrub. One that had not ended is stopped; findings of earlier ones are forgotten.
    pub fn begin_scrub(&self, witness: bool, grace_ms: i64, now_ms: i64) -> Result<Scrub> {
        let (files_all, bytes_all) = self.totals()?;
        let id = self.local(|connection| {
            let stop = "UPDATE scrubs SET phase = 'stopped', ended_ms = ?1 WHERE ended_ms IS NULL";
            execute(connection, stop, [now_ms])?;
            let insert = "INSERT INTO scrubs (started_ms, phase, witness, grace_ms, listed,
                              unchecked, files_done, files_all, bytes_done, bytes_all, removed,
                              others)
                          VALUES (?1, 'inventory', ?2, ?3, 0, 0, 0, ?4, 0, ?5, 0, 0)";
            execute(connection, insert, params![now_ms, witness, grace_ms, files_all, bytes_all])?;
            let id = connection.last_insert_rowid();
            execute(connection, "DELETE FROM scrub_findings WHERE scrub < ?1", [id])?;
            execute(connection, "DELETE FROM scrubs WHERE id <= ?1", [id - REMEMBERED])?;
            Ok(id)
        })?;
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
    pub fn last_scrub(&self) -> Result<Option<Scrub>> {
        let select = "SELECT id, started_ms, ended_ms, phase, witness, grace_ms, listed, unchecked,
                          cursor, files_done, files_all, bytes_done, bytes_all, removed, others
                      FROM scrubs ORDER BY id DESC LIMIT 1";
        self.read(|connection| first(connection, select, [], read_scrub))
    }

    /// When this was first asked, which is `now_ms` if it has never been, in milliseconds since 1970:
    /// from then on time passes until the first scrub is due.
    pub fn scrubs_since(&self, now_ms: i64) -> Result<i64> {
        const SINCE: &str = "scrubs_since";
        let text = match self.read(|connection| database::setting(connection, SINCE))? {
            Some(text) => text,
            None => self
                .local(|connection| database::setting_or(connection, SINCE, &now_ms.to_string()))?,
        };
        text.parse().map_err(|e| Error::Catalog(format!("{SINCE}: {e}")))
    }

    /// Notes how far a scrub is.
    pub fn save_scrub(&self, scrub: &Scrub) -> Result<()> {
        let update = "UPDATE scrubs SET ended_ms = ?2, phase = ?3, listed = ?4, unchecked = ?5,
                          cursor = ?6, files_done = ?7, bytes_done = ?8, removed = ?9, others = ?10
                      WHERE id = ?1";
        self.local(|connection| {
            let values = params![
                scrub.id,
                scrub.ended_ms,
                scrub.phase.as_str(),
                scrub.listed.bits(),
                scrub.unchecked.bits(),
                scrub.cursor.map(|version| version.0),
                scrub.files_done,
                scrub.bytes_done,
                scrub.removed,
                scrub.foreign,
            ];
            execute(connection, update, values).map(drop)
        })
    }

    /// A scrub found a file whose nodes contradict each other, and nobody can say which is right.
    pub fn scrub_found_damaged(&self, scrub: i64, version: VersionId) -> Result<()> {
        let note =
            |connection: &Connection| note_finding(connection, scrub, What::Damaged, None, version);
        self.local(note).map(drop)
    }

    /// What a scrub has found and what has become of it.
    pub fn mending(&self, scrub: i64) -> Result<Mending> {
        self.read(|connection| {
            let count = |query: &str| one(connection, query, [scrub], |row| row.get::<_, u64>(0));
            let of = |what: What| {
                count(&format!(
                    "SELECT count(*) FROM scrub_findings WHERE scrub = ?1 AND what = '{}'",
                    what.as_str()
                ))
            };
            let pieces = |is_placed: &str| {
                count(&format!(
                    "SELECT count(*) FROM scrub_findings found
                     JOIN versions ON versions.version = found.version
                     WHERE scrub = ?1 AND node IS NOT NULL AND retired = 0
                         AND (placed >> (node - 1) & 1) = {is_placed}"
                ))
            };
            Ok(Mending {
                wrong: of(What::Wrong)?,
                missing: of(What::Missing)?,
                damaged: of(What::Damaged)?,
                owed: pieces("0")?,
                repaired: pieces("1")?,
            })
        })
    }

    /// What a scrub has found, oldest first, at most `most`.
    pub fn findings(&self, scrub: i64, most: usize) -> Result<Vec<Finding>> {
        let select = "SELECT what, node, user, path FROM scrub_findings
                      WHERE scrub = ?1 ORDER BY id LIMIT ?2";
        let rows = self.read(|connection| {
            all(connection, select, params![scrub, limit(most)], |row| {
                let (what, node): (String, Option<u8>) = (row.get(0)?, row.get(1)?);
                Ok((what, node, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
            })
        })?;
        let finding = |(what, node, user, path): (String, Option<u8>, String, String)| {
            let what = What::ALL
                .into_iter()
                .find(|known| known.as_str() == what)
                .ok_or_else(|| Error::Catalog(format!("a scrub has found {what:?}")))?;
            let place =
                Place { user: UserName::parse(&user)?, path: FilePath::parse_rooted(&path)? };
            Ok(Finding { what, node: node.and_then(NodeId::new), place })
        };
        rows.into_iter().map(finding).collect()
    }
}

/// Notes a finding about a file's current version, once. False if it is none.
fn note_finding(
    connection: &Connection,
    scrub: i64,
    what: What,
    node: Option<NodeId>,
    version: VersionId,
) -> Result<bool> {
    let Some(place) = Places::new(connection).of(version)? else { return Ok(false) };
    let insert = "INSERT INTO scrub_findings (scrub, what, node, user, path, version)
                  SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS
                      (SELECT 1 FROM scrub_findings
                       WHERE version = ?6 AND node IS ?3 AND scrub = ?1)";
    let (number, user) = (node.map(NodeId::number), place.user.as_str());
    let values = params![scrub, what.as_str(), number, user, place.path.as_str(), version.0];
    execute(connection, insert, values)?;
    Ok(true)
}

fn read_scrub(row: &Row<'_>) -> rusqlite::Result<Scrub> {
    let word: String = row.get(3)?;
    let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == word);
    Ok(Scrub {
        id: row.get(0)?,
        started_ms: row.get(1)?,
        ended_ms: row.get(2)?,
        phase: phase.unwrap_or(Phase::Stopped),
        witness: row.get(4)?,
        grace_ms: row.get(5)?,
        listed: NodeSet::from_bits(row.get(6)?),
        unchecked: NodeSet::from_bits(row.get(7)?),
        cursor: row.get::<_, Option<_>>(8)?.map(VersionId),
        files_done: row.get(9)?,
        files_all: row.get(10)?,
        bytes_done: row.get(11)?,
        bytes_all: row.get(12)?,
        removed: row.get(13)?,
        foreign: row.get(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, path, place, v};

    const NODE: NodeId = NodeId::ALL[3];

    fn counts(f: &Fixture, scrub: i64) -> (u64, u64, u64) {
        let found = f.catalog.mending(scrub).unwrap();
        (found.wrong, found.owed, found.repaired)
    }

    #[test]
    fn a_finding_is_counted_once_and_is_followed_up() {
        let f = fixture();
        f.store("a", 1);
        let scrub = f.catalog.begin_scrub(false, 0, 10).unwrap().id;
        let found = |what, n| f.catalog.scrub_found(scrub, what, NODE, &[v(n)]).unwrap();
        for _ in 0..2 {
            assert_eq!(found(What::Wrong, 1), [v(1)]);
        }
        f.change(|draft| draft.pieces_lost(NODE, &[v(1)], true)).unwrap();
        assert_eq!(found(What::Missing, 1), [], "it is known");
        assert_eq!((counts(&f, scrub), f.catalog.missing_count(NODE).unwrap()), ((1, 1, 0), 1));
        assert_eq!(f.catalog.errors().unwrap(), [0, 0, 0, 1]);
        f.change(|draft| draft.pieces_placed(NODE, &[v(1)])).unwrap();
        assert_eq!(counts(&f, scrub), (1, 0, 1));
        f.catalog.scrub_found_damaged(scrub, v(1)).unwrap();
        let expected = [(What::Wrong, Some(NODE)), (What::Damaged, None)];
        let expected = expected.map(|(what, node)| Finding { what, node, place: place("a") });
        assert_eq!(f.catalog.findings(scrub, 10).unwrap(), expected);
        assert_eq!(found(What::Wrong, 9), []);
        f.change(|draft| draft.delete(f.user, &path("a"))).unwrap();
        f.expire();
        assert_eq!(counts(&f, scrub), (1, 0, 0), "nobody needs it any more");
        assert_eq!(found(What::Missing, 1), []);
    }

    #[test]
    fn a_scrub_is_found_again_where_it_was() {
        let f = fixture();
        f.store("a", 1);
        assert_eq!(f.catalog.last_scrub().unwrap(), None);
        let mut scrub = f.catalog.begin_scrub(true, 77, 10).unwrap();
        assert_eq!((scrub.files_all, scrub.bytes_all), (1, 4 * 356 / 2));
        scrub.phase = Phase::Files;
        scrub.cursor = Some(v(1));
        (scrub.listed, scrub.unchecked) = (NodeSet::ALL, NodeSet::from_bits(2));
        (scrub.files_done, scrub.bytes_done, scrub.foreign, scrub.removed) = (1, 712, 3, 4);
        f.catalog.save_scrub(&scrub).unwrap();
        assert_eq!(f.catalog.last_scrub().unwrap(), Some(scrub.clone()));
        let next = f.catalog.begin_scrub(false, 0, 20).unwrap();
        assert!(next.id > scrub.id);
        assert_eq!(f.catalog.files_after(None, 10).unwrap().len(), 1);
        assert!(f.catalog.files_after(scrub.cursor, 10).unwrap().is_empty());
        assert_eq!(f.catalog.scrubs_since(5).unwrap(), 5);
        assert_eq!(f.catalog.scrubs_since(6).unwrap(), 5);
    }
}
