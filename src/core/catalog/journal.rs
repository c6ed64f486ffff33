//! The catalog's copy of the journal: what nodes that lag behind are sent.

use rusqlite::{Connection, Row, params};

use crate::core::catalog::database::{self, all, execute, first, limit, one};
use crate::core::catalog::{CLUSTER, Catalog};
use crate::core::error::{Error, Result};
use crate::core::types::{ClusterId, Moment};
use crate::core::wire::journal::{Chain, Entry, Point};
use crate::core::wire::node::{ENTRIES_MAX, ENTRY_BYTES_MAX};

/// The setting with the point in front of the first entry that is kept.
const BASE: &str = "journal_base";

impl Catalog {
    /// The last entry of the journal that is in the catalog.
    pub fn end(&self) -> Result<Point> {
        self.read(end)
    }

    /// This catalog's own history up to entry `id`, if the journal still has it.
    pub fn point_at(&self, id: u64) -> Result<Option<Point>> {
        self.read(|connection| point_at(connection, id))
    }

    /// The entries behind this one, as many as one message takes; `None` if they are not kept any
    /// more.
    pub fn entries_after(&self, id: u64) -> Result<Option<Vec<Entry>>> {
        self.read(|connection| {
            if id < base(connection)?.id {
                return Ok(None);
            }
            let select = "SELECT id, epoch, at, record, chain FROM journal
                          WHERE id > ?1 ORDER BY id LIMIT ?2";
            let found = all(connection, select, params![id, limit(ENTRIES_MAX)], |row| {
                let (id, epoch, at) = (row.get(0)?, row.get(1)?, Moment(row.get(2)?));
                Ok(Entry { id, epoch, at, record: row.get(3)?, chain: Chain(row.get(4)?) })
            })?;
            let mut bytes = 0;
            let fits = |entry: &Entry| {
                bytes += entry.record.len();
                bytes <= ENTRY_BYTES_MAX
            };
            Ok(Some(found.into_iter().take_while(fits).collect()))
        })
    }

    /// Forgets the entries before this one.
    pub fn prune_journal(&self, before: u64) -> Result<()> {
        self.local(|connection| {
            let last = before.saturating_sub(1);
            let Some(point) = point_at(connection, last)? else { return Ok(()) };
            set_base(connection, point)?;
            execute(connection, "DELETE FROM journal WHERE id <= ?1", [last]).map(drop)
        })
    }

    /// About how many bytes of the journal come behind this entry.
    pub fn journal_bytes_since(&self, id: u64) -> Result<u64> {
        self.survey(|connection| bytes_since(connection, id))
    }

    /// About how many bytes the catalog has without its journal.
    pub fn size_bytes(&self) -> Result<u64> {
        self.survey(|connection| {
            let number = |name: &str| {
                one(connection, &format!("PRAGMA {name}"), [], |row| row.get::<_, u64>(0))
            };
            let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
            Ok((pages * number("page_size")?).saturating_sub(bytes_since(connection, 0)?))
        })
    }
}

fn bytes_since(connection: &Connection, id: u64) -> Result<u64> {
    // The other columns take about as much as the number that is added.
    let sum = "SELECT coalesce(sum(length(record) + 32), 0) FROM journal WHERE id > ?1";
    one(connection, sum, [id], |row| row.get(0))
}

/// Adds an entry as it is.
pub(super) fn append(connection: &Connection, entry: &Entry) -> Result<()> {
    let insert = "INSERT INTO journal (id, epoch, at, record, chain) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![entry.id, entry.epoch, entry.at.0, entry.record, entry.chain.0];
    execute(connection, insert, values).map(drop)
}

pub(super) fn end(connection: &Connection) -> Result<Point> {
    let last = "SELECT id, epoch, at, chain FROM journal ORDER BY id DESC LIMIT 1";
    match first(connection, last, [], read_point)? {
        Some(end) => Ok(end),
        None => base(connection),
    }
}

fn point_at(connection: &Connection, id: u64) -> Result<Option<Point>> {
    let base = base(connection)?;
    if id == base.id {
        return Ok(Some(base));
    }
    first(connection, "SELECT id, epoch, at, chain FROM journal WHERE id = ?1", [id], read_point)
}

fn read_point(row: &Row<'_>) -> rusqlite::Result<Point> {
    let at = Moment(row.get(2)?);
    Ok(Point { id: row.get(0)?, epoch: row.get(1)?, at, chain: Chain(row.get(3)?) })
}

/// The point in front of the first entry that is kept.
fn base(connection: &Connection) -> Result<Point> {
    let bad = || Error::Catalog("where its journal begins cannot be read".into());
    match database::setting(connection, BASE)? {
        None => Ok(Point::start(cluster(connection)?)),
        Some(text) => parse_point(&text).ok_or_else(bad),
    }
}

pub(super) fn set_base(connection: &Connection, point: Point) -> Result<()> {
    let Point { id, epoch, at: Moment(at), chain } = point;
    // A chain is as long as an id, and written like one.
    let chain = ClusterId(chain.0);
    database::set_setting(connection, BASE, &format!("{id} {epoch} {at} {chain}"))
}

fn parse_point(text: &str) -> Option<Point> {
    let mut parts = text.split(' ');
    let (id, epoch, at) = (parts.next()?, parts.next()?, parts.next()?);
    let chain: ClusterId = parts.next()?.parse().ok()?;
    let at = Moment(at.parse().ok()?);
    Some(Point { id: id.parse().ok()?, epoch: epoch.parse().ok()?, at, chain: Chain(chain.0) })
}

/// The cluster that a catalog says it is of.
fn cluster(connection: &Connection) -> Result<ClusterId> {
    let text = database::setting(connection, CLUSTER)?;
    let text = text.ok_or_else(|| Error::Catalog("it names no cluster".into()))?;
    text.parse().map_err(|e| Error::Catalog(format!("cluster id: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{CLUSTER, empty, fixture, journal};

    #[test]
    fn a_pruned_journal_still_knows_where_it_begins() {
        let (_folder, catalog) = empty();
        assert_eq!(catalog.end().unwrap(), Point::start(CLUSTER));
        assert_eq!(catalog.entries_after(0).unwrap(), Some(Vec::new()));
        let f = fixture();
        (1..=5).for_each(|n| f.store("a", n));
        let (all, end) = (journal(&f.catalog), f.catalog.end().unwrap());
        assert_eq!((end.id, all.len()), (7, 7));
        assert!(
            f.catalog.journal_bytes_since(5).unwrap() < f.catalog.journal_bytes_since(0).unwrap()
        );
        f.catalog.prune_journal(4).unwrap();
        f.catalog.prune_journal(2).unwrap();
        assert_eq!(f.catalog.entries_after(2).unwrap(), None);
        assert_eq!(f.catalog.entries_after(3).unwrap().unwrap(), all[3..]);
        assert_eq!(f.catalog.point_at(2).unwrap(), None);
        for entry in &all[2..] {
            assert_eq!(f.catalog.point_at(entry.id).unwrap(), Some(entry.point()));
        }
        f.catalog.prune_journal(8).unwrap();
        assert_eq!((f.catalog.end().unwrap(), journal_is_empty(&f.catalog)), (end, true));
        f.store("a", 6);
        assert!(f.catalog.entries_after(7).unwrap().unwrap()[0].follows(end));
    }

    fn journal_is_empty(catalog: &Catalog) -> bool {
        catalog.entries_after(7).unwrap().unwrap().is_empty()
    }

    #[test]
    fn the_size_of_the_catalog_does_not_count_its_journal() {
        let f = fixture();
        let size = f.catalog.size_bytes().unwrap();
        assert!(size > 0);
        (0..600_u16).for_each(|n| f.store("a", u8::try_from(n % 251).unwrap()));
        f.expire();
        let journal_bytes = f.catalog.journal_bytes_since(0).unwrap();
        assert!(f.catalog.size_bytes().unwrap() < size + journal_bytes);
    }
}
