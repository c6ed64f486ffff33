//! What is in a folder, page by page, in the order of the bytes of whole paths.
//!
//! A folder comes at its name, but what is in it at its name and a `/`, and some characters sort
//! before that one:
//!
//! ```text
//!   a/        the folder
//!   a!/       another one
//!   a!/x      '!' sorts before '/'
//!   a.txt     so does '.'
//!   a/x       now what is in a
//! ```
//!
//! So a folder that has been told waits until what comes next in the folder around it sorts behind
//! its contents. Those that wait at one time are each a beginning of the next one's name; the last one
//! is the first to be opened. A page takes time in proportion to its length, whatever else there is.

use std::collections::VecDeque;

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, limit};
use crate::core::catalog::files::{FileRecord, RECORD, read_record};
use crate::core::catalog::past::{self, Target};
use crate::core::catalog::{Catalog, UserId, history, tree, users};
use crate::core::error::Result;
use crate::core::path::FolderPath;
use crate::core::types::{Moment, VersionId};
use crate::core::wire::extended::Entry;

/// How many rows of a folder are read at a time.
const ROWS: usize = 256;

/// How deep to look into a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// What lies directly in it.
    Children,
    /// Everything below it.
    All,
}

impl Catalog {
    /// Some of what is in a folder, sorted by the bytes of the whole path: at most `most` entries
    /// that come behind `after`. None at the end, or where there is no such folder.
    pub fn page(
        &self,
        user: UserId,
        below: &FolderPath,
        scope: Scope,
        after: Option<&Entry>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        self.page_at(user, below, scope, None, after, most)
    }

    /// The same as it was at a moment; as it is now if that is `None`.
    pub fn page_at(
        &self,
        user: UserId,
        below: &FolderPath,
        scope: Scope,
        at: Option<Moment>,
        after: Option<&Entry>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        self.read(|connection| self::page(connection, user, below, scope, at, after, most))
    }

    /// Everything a user has, sorted by the bytes of the path.
    pub fn list(&self, user: UserId) -> Result<Vec<Entry>> {
        self.page(user, &FolderPath::top(), Scope::All, None, usize::MAX)
    }
}

/// A page, as [`Catalog::page_at`] gives it.
pub(super) fn page(
    connection: &Connection,
    user: UserId,
    below: &FolderPath,
    scope: Scope,
    at: Option<Moment>,
    after: Option<&Entry>,
    most: usize,
) -> Result<Vec<Entry>> {
    let after = match after {
        Some(Entry::File(file)) => file.path.as_str(),
        Some(Entry::Folder(folder)) => folder.as_str(),
        None => "",
    };
    // What comes behind this, beginning in the folder.
    let after = match below.as_str() {
        "" => after,
        prefix => match after.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => rest,
            None if *after < *format!("{prefix}/") => "",
            None => return Ok(Vec::new()),
        },
    };
    let Some(top) = users::top_of(connection, user)? else { return Ok(Vec::new()) };
    let folder = match at {
        None => tree::folder(connection, top, below)?,
        Some(at) => match history::find_at(connection, user, top, below.as_str(), at)? {
            Some(Target::Folder(folder)) => Some(folder),
            _ => None,
        },
    };
    let Some(id) = folder else { return Ok(Vec::new()) };
    let mut listing = Listing { connection, scope, at, open: Vec::new() };
    listing.open(id, below.clone(), after)?;
    let mut page = Vec::new();
    while page.len() < most {
        let Some(entry) = listing.next(most - page.len())? else { break };
        page.push(entry);
    }
    Ok(page)
}

/// A walk through a folder.
struct Listing<'a> {
    connection: &'a Connection,
    scope: Scope,
    /// As of this moment; `None`: now.
    at: Option<Moment>,
    /// The folders that are being looked through, the outermost first.
    open: Vec<Open>,
}

/// A folder that is being looked through.
struct Open {
    id: i64,
    path: FolderPath,
    /// Only names behind this one have not been read.
    after: String,
    /// What has been read and not been told.
    read: VecDeque<Child>,
    is_read: bool,
    /// Folders that were told and not opened, in the order of their names.
    waiting: Vec<(String, i64)>,
}

struct Child {
    id: i64,
    name: String,
    /// `None`: a folder.
    record: Option<FileRecord>,
}

impl Listing<'_> {
    /// Begins with what comes behind `after` in a folder; it need not be there any more.
    fn open(&mut self, id: i64, path: FolderPath, after: &str) -> Result<()> {
        let name = after.split('/').next().unwrap_or_default();
        let mut waiting = Vec::new();
        let mut inner = None;
        if self.scope == Scope::All && !name.is_empty() {
            // Folders that were told, and whose contents come behind `after`, if not all of them.
            let ends = (1..name.len()).filter(|end| name.as_bytes()[*end] < b'/');
            for end in ends.filter(|end| name.is_char_boundary(*end)) {
                waiting.extend(self.folder(id, &name[..end])?);
            }
            if let Some((name, child)) = self.folder(id, name)? {
                match after[name.len()..].strip_prefix('/') {
                    Some(rest) => inner = Some((child, path.join(&name)?.as_folder(), rest)),
                    None => waiting.push((name, child)),
                }
            }
        }
        let (after, read) = (after.to_owned(), VecDeque::new());
        self.open.push(Open { id, path, after, read, is_read: false, waiting });
        match inner {
            Some((id, path, after)) => self.open(id, path, after),
            None => Ok(()),
        }
    }

    fn folder(&self, parent: i64, name: &str) -> Result<Option<(String, i64)>> {
        let found = match self.at {
            None => {
                let found = tree::child(self.connection, parent, name)?;
                found.filter(tree::Item::is_folder).map(|item| item.id)
            }
            Some(at) => match past::binding_at(self.connection, parent, name, at)? {
                Some(past::Binding { target: Target::Folder(folder), .. }) => Some(folder),
                _ => None,
            },
        };
        Ok(found.map(|id| (name.to_owned(), id)))
    }

    fn next(&mut self, wanted: usize) -> Result<Option<Entry>> {
        while let Some(at) = self.open.last_mut() {
            if at.read.is_empty() && !at.is_read {
                at.read_on(self.connection, self.at, wanted.min(ROWS))?;
            }
            let next = at.read.front().map(|child| child.name.as_str());
            let opens =
                |(name, _): &mut (String, i64)| next.is_none_or(|next| opens_before(name, next));
            if let Some((name, id)) = at.waiting.pop_if(opens) {
                let path = at.path.join(&name)?.as_folder();
                self.open(id, path, "")?;
                continue;
            }
            let Some(child) = at.read.pop_front() else {
                self.open.pop();
                continue;
            };
            let path = at.path.join(&child.name)?;
            return Ok(Some(match child.record {
                Some(record) => Entry::File(record.listed(path)),
                None => {
                    if self.scope == Scope::All {
                        at.waiting.push((child.name, child.id));
                    }
                    Entry::Folder(path.as_folder())
                }
            }));
        }
        Ok(None)
    }
}

/// Does what is in a folder come before its neighbour of this name?
fn opens_before(folder: &str, next: &str) -> bool {
    folder.bytes().chain([b'/']).lt(next.bytes())
}

impl Open {
    fn read_on(
        &mut self,
        connection: &Connection,
        moment: Option<Moment>,
        most: usize,
    ) -> Result<()> {
        let now = format!(
            "SELECT id, name, entries.version, {RECORD}
             FROM entries LEFT JOIN versions ON versions.version = entries.version
             WHERE parent = ?1 AND name > ?2 ORDER BY name LIMIT ?3"
        );
        let then = format!(
            "SELECT id, name, names.version, {RECORD}
             FROM (SELECT id, name, version FROM entries
                   WHERE parent = ?1 AND name > ?2 AND made <= ?4
                   UNION ALL
                   SELECT folder, name, version FROM past
                   WHERE parent = ?1 AND name > ?2 AND made <= ?4 AND gone > ?4
                   ORDER BY name LIMIT ?3) names
             LEFT JOIN versions ON versions.version = names.version ORDER BY name"
        );
        let read = |row: &rusqlite::Row<'_>| {
            let is_file = row.get::<_, Option<_>>(2)?.map(VersionId).is_some();
            let record = is_file.then(|| read_record(row, 2)).transpose()?;
            let id = row.get::<_, Option<i64>>(0)?.unwrap_or_default();
            Ok(Child { id, name: row.get(1)?, record })
        };
        let rows = match moment {
            None => all(connection, &now, params![self.id, self.after, limit(most)], read)?,
            Some(at) => {
                all(connection, &then, params![self.id, self.after, limit(most), at.0], read)?
            }
        };
        self.is_read = rows.len() < most;
        if let Some(last) = rows.last() {
            self.after.clone_from(&last.name);
        }
        self.read = rows.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, path, shown};

    fn all_in(f: &Fixture, below: &str, scope: Scope) -> Vec<String> {
        shown(&f.catalog.page(f.user, &folder(below), scope, None, 100).unwrap())
    }

    fn some() -> Fixture {
        let f = fixture();
        for (n, at) in (1..).zip(["a/b/c", "a.txt", "a/z", "aé/x", "b", "a!/x", "a!b", "a!/ /y"]) {
            f.store(at, n);
        }
        f
    }

    const EVERYTHING: [&str; 14] = [
        "a/", "a!/", "a!/ /", "a!/ /y", "a!/x", "a!b", "a.txt", "a/b/", "a/b/c", "a/z", "aé/",
        "aé/x", "b", "",
    ];

    #[test]
    fn what_is_in_a_folder_comes_in_the_order_of_whole_paths() {
        let f = some();
        let everything = &EVERYTHING[..13];
        assert_eq!(f.list(), everything);
        assert_eq!(all_in(&f, "", Scope::Children), ["a/", "a!/", "a!b", "a.txt", "aé/", "b"]);
        assert_eq!(all_in(&f, "a", Scope::Children), ["a/b/", "a/z"]);
        assert_eq!(all_in(&f, "a", Scope::All), ["a/b/", "a/b/c", "a/z"]);
        assert!(
            all_in(&f, "none", Scope::All).is_empty() && all_in(&f, "b", Scope::All).is_empty()
        );
    }

    #[test]
    fn pages_of_any_length_follow_each_other() {
        let f = some();
        for (below, scope) in [("", Scope::All), ("", Scope::Children), ("a", Scope::All)] {
            for most in 1..15 {
                let (mut after, mut got) = (None, Vec::new());
                loop {
                    let below = folder(below);
                    let page = f.catalog.page(f.user, &below, scope, after.as_ref(), most).unwrap();
                    let Some(last) = page.last().cloned() else { break };
                    assert!(page.len() <= most);
                    got.extend(shown(&page));
                    after = Some(last);
                }
                assert_eq!(got, all_in(&f, below, scope), "{below:?} {scope:?} by {most}");
            }
        }
    }

    #[test]
    fn a_page_goes_on_behind_what_is_not_there_any_more() {
        let f = some();
        let all = f.catalog.list(f.user).unwrap();
        f.change(|draft| draft.remove_folder(f.user, &folder("a"), true)).unwrap();
        f.change(|draft| draft.delete(f.user, &path("a!/x"))).unwrap();
        let left = f.list();
        let bytes = |shown: &str| shown.strip_suffix('/').unwrap_or(shown).to_owned();
        for after in &all {
            let page = f.catalog.page(f.user, &folder(""), Scope::All, Some(after), 99).unwrap();
            let told = bytes(&shown(std::slice::from_ref(after))[0]);
            let expected = left.iter().filter(|entry| bytes(entry) > told);
            assert_eq!(shown(&page), expected.cloned().collect::<Vec<_>>(), "after {told}");
            let inside =
                f.catalog.page(f.user, &folder("a!"), Scope::All, Some(after), 99).unwrap();
            let expected = left.iter().filter(|e| e.starts_with("a!/") && e.len() > 3);
            let expected = expected.filter(|entry| bytes(entry) > told);
            assert_eq!(shown(&inside), expected.cloned().collect::<Vec<_>>(), "a! after {told}");
        }
    }

    #[test]
    fn a_page_reads_what_it_tells_and_not_what_lies_beside_it() {
        let f = fixture();
        f.store("m/one", 1);
        f.store("m/two", 2);
        let writer = f.catalog.writer.lock();
        // Many neighbours, before it, behind it and in the folder around it.
        let fill = "
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
            INSERT INTO entries (parent, name, version, bytes, made)
            SELECT (SELECT root FROM users), iif(i % 2, 'a', 'z') || i, NULL, 0, 0 FROM n";
        writer.connection.execute_batch(fill).unwrap();
        let plan = "EXPLAIN QUERY PLAN SELECT id, name FROM entries
                    WHERE parent = 1 AND name > 'x' ORDER BY name LIMIT 5";
        let plan: String = writer.connection.query_row(plan, [], |row| row.get(3)).unwrap();
        assert!(plan.contains("entries_by_name (parent=? AND name>?)"), "{plan}");
        drop(writer);
        let begin = std::time::Instant::now();
        for _ in 0..200 {
            assert_eq!(all_in(&f, "m", Scope::All), ["m/one", "m/two"]);
        }
        assert!(begin.elapsed().as_millis() < 2000, "20,000 neighbours were looked at");
    }
}
