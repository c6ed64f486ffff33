//! Folders: made, removed, looked into. What lies in them is in [`files`](super::files).

use rusqlite::{Connection, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::files::{
    check_new_folder, file_at, folder_exists, make_folders, place_of, read_entry, remove_file,
};
use crate::core::catalog::owed::{self, Kind};
use crate::core::catalog::{Catalog, UserId, accounts, journal, users};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::{NodeId, Seq};
use crate::core::wire::extended::{Entry, FileEntry};
use crate::core::wire::journal::Change;

/// How deep to look into a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// What lies directly in it.
    Children,
    /// Everything below it.
    All,
}

/// What a removal has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removed {
    /// So many folders are gone, the named one among them.
    pub folders: u64,
    /// And so many files.
    pub files: u64,
}

impl Catalog {
    /// Makes a folder; with `parents` also those above it, and it may be there already.
    ///
    /// # Errors
    /// [`Error::FolderExists`], [`Error::NoSuchFolder`] for the one above it,
    /// [`Error::NameCollision`].
    pub fn make_folder(&self, user: UserId, folder: &FolderPath, parents: bool) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        users::check_not_removed(&transaction, user)?;
        if folder.is_top() || folder_exists(&transaction, user, folder.as_str())? {
            return if parents { Ok(()) } else { Err(Error::FolderExists(folder.clone())) };
        }
        for new in folder.ancestry() {
            if folder_exists(&transaction, user, new.as_str())? {
                continue;
            }
            check_new_folder(&transaction, user, &new, &|taken| Error::NameCollision {
                what: new.to_string(),
                taken,
            })?;
            if !parents && new != *folder {
                return Err(Error::NoSuchFolder(new));
            }
        }
        let name = accounts::name_of(&transaction, user)?;
        for folder in make_folders(&transaction, user, folder)? {
            for node in NodeId::ALL {
                owed::add(&transaction, node, Kind::Folder, user, folder.as_str(), None, Seq(0))?;
            }
            journal::record(&transaction, &Change::FolderMade { user: name.clone(), folder })?;
        }
        self.commit(transaction)
    }

    /// Removes a folder: an empty one, or with `recursive` one with all that is in it. `seq` is the
    /// number of the deletions.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::FolderNotEmpty`]; [`Code::Changed`] if a file in it was
    /// stored while this began. Nothing has changed then.
    pub fn remove_folder(
        &self,
        user: UserId,
        folder: &FolderPath,
        recursive: bool,
        seq: Seq,
    ) -> Result<Removed> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        if folder.is_top() || !folder_exists(&transaction, user, folder.as_str())? {
            return Err(Error::NoSuchFolder(folder.clone()));
        }
        let most = if recursive { usize::MAX } else { 1 };
        let inside = entries(&transaction, user, folder, Scope::All, None, most)?;
        if !recursive && !inside.is_empty() {
            return Err(Error::FolderNotEmpty(folder.clone()));
        }
        let mut removed: Vec<FilePath> = Vec::new();
        for entry in &inside {
            let Entry::File(FileEntry { path, .. }) = entry else {
                continue;
            };
            if file_at(&transaction, user, path)?.is_some_and(|there| there.seq > seq) {
                let text = format!("{path} was stored meanwhile, nothing was removed");
                return Err(Error::other(Code::Changed, text));
            }
            remove_file(&transaction, user, path, seq)?;
            let place = place_of(&transaction, user, path)?;
            journal::record(&transaction, &Change::Deleted { place, seq })?;
            removed.push(path.clone());
        }
        let name = accounts::name_of(&transaction, user)?;
        let below = inside.iter().rev().filter_map(|entry| match entry {
            Entry::Folder(folder) => Some(folder),
            Entry::File(_) => None,
        });
        // From the inside out: a folder sorts before what is in it.
        let gone: Vec<&FolderPath> = below.chain([folder]).collect();
        for folder in &gone {
            forget_folder(&transaction, user, folder)?;
            owe_removal(&transaction, user, folder)?;
            let change = Change::FolderRemoved { user: name.clone(), folder: (*folder).clone() };
            journal::record(&transaction, &change)?;
        }
        self.commit(transaction)?;
        // Still under the writer's lock, as in `Catalog::delete`.
        let mut order = self.order.lock();
        removed.iter().for_each(|path| order.note_deleted(user, path, seq));
        Ok(Removed { folders: gone.len() as u64, files: removed.len() as u64 })
    }

    /// What is at a path; the top folder is always there.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] for the folder it would be in, or [`Error::NoSuchFile`].
    pub fn look(&self, user: UserId, path: &FolderPath) -> Result<Entry> {
        let reader = self.reader.lock();
        let Some((above, name)) = path.split() else {
            return Ok(Entry::Folder(FolderPath::top()));
        };
        if folder_exists(&reader, user, path.as_str())? {
            return Ok(Entry::Folder(path.clone()));
        }
        drop(reader);
        let path = above.join(name)?;
        let record = self.file(user, &path)?;
        Ok(Entry::File(record.listed(path)))
    }

    /// Some of what is in a folder, sorted by the bytes of the whole path: at most `most` entries
    /// that come behind `after`. None at the end, or where there is no such folder.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn page(
        &self,
        user: UserId,
        below: &FolderPath,
        scope: Scope,
        after: Option<&Entry>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        entries(&self.reader.lock(), user, below, scope, after, most)
    }
}

/// Owes every node the removal of a folder, which is empty by then.
pub(super) fn owe_removal(
    connection: &Connection,
    user: UserId,
    folder: &FolderPath,
) -> Result<()> {
    for node in NodeId::ALL {
        owed::add(connection, node, Kind::RemoveFolder, user, folder.as_str(), None, Seq(0))?;
    }
    Ok(())
}

/// Strikes a folder from the list.
pub(super) fn forget_folder(
    connection: &Connection,
    user: UserId,
    folder: &FolderPath,
) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM folders WHERE user_id = ?1 AND path = ?2")
        .and_then(|mut delete| delete.execute(params![user.0, folder.as_str()]))
        .map_err(catalog_error)?;
    Ok(())
}

fn entries(
    connection: &Connection,
    user: UserId,
    below: &FolderPath,
    scope: Scope,
    after: Option<&Entry>,
    most: usize,
) -> Result<Vec<Entry>> {
    let prefix = if below.is_top() { String::new() } else { format!("{}/", below.as_str()) };
    // What begins with `a/` lies between `a/` and `a0`, as `0` is what follows `/`. Nothing in UTF-8
    // has a byte of 0xFF.
    let end = match prefix.strip_suffix('/') {
        Some(folder) => format!("{folder}0").into_bytes(),
        None => vec![0xFF],
    };
    let after = match after {
        Some(Entry::File(file)) => file.path.as_str(),
        Some(Entry::Folder(folder)) => folder.as_str(),
        None => prefix.as_str(),
    };
    // Text compares by its bytes; so do the two halves, each in the order of its key, when they are
    // merged.
    let mut query = connection
        .prepare_cached(
            "SELECT path, version, seq, bytes, blake3, stored_ms, placed FROM files
             WHERE user_id = ?1 AND path > ?2 AND path < CAST(?3 AS TEXT)
                 AND (?4 OR instr(substr(path, length(?5) + 1), '/') = 0)
             UNION ALL
             SELECT path, NULL, NULL, NULL, NULL, NULL, NULL FROM folders
             WHERE user_id = ?1 AND path > ?2 AND path < CAST(?3 AS TEXT)
                 AND (?4 OR instr(substr(path, length(?5) + 1), '/') = 0)
             ORDER BY path LIMIT ?6",
        )
        .map_err(catalog_error)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let values = params![user.0, after, end, scope == Scope::All, prefix, most];
    let rows = query.query_map(values, |row| Ok(read_entry(row))).map_err(catalog_error)?;
    rows.map(|row| row.map_err(catalog_error)?).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture};
    use crate::core::catalog::{Task, fixture};
    use crate::core::wire::node::Order;

    fn folder(path: &str) -> FolderPath {
        FolderPath::parse(path).unwrap()
    }

    fn paths(entries: &[Entry]) -> Vec<String> {
        entries
            .iter()
            .map(|entry| match entry {
                Entry::Folder(folder) => format!("{folder}/"),
                Entry::File(file) => file.path.to_string(),
            })
            .collect()
    }

    fn all(f: &Fixture, below: &str, scope: Scope) -> Vec<String> {
        paths(&f.catalog.page(f.user, &folder(below), scope, None, 100).unwrap())
    }

    fn remove(f: &Fixture, path: &str, recursive: bool) -> Result<Removed> {
        let seq = f.catalog.draw_seq().unwrap();
        f.catalog.remove_folder(f.user, &folder(path), recursive, seq)
    }

    #[test]
    fn a_folder_is_made_once_and_the_nodes_make_it_too() {
        let f = fixture();
        f.settle();
        let make = |path: &str, parents| f.catalog.make_folder(f.user, &folder(path), parents);
        make("a", false).unwrap();
        assert_eq!(make("a", false).unwrap_err().code(), Code::Exists);
        make("a", true).unwrap();
        assert_eq!(make("", false).unwrap_err().code(), Code::Exists);
        assert!(
            matches!(make("b/c", false), Err(Error::NoSuchFolder(missing)) if missing == folder("b"))
        );
        make("b/c", true).unwrap();
        assert_eq!(all(&f, "", Scope::All), ["a/", "b/", "b/c/"]);
        let owed = f.catalog.owed(NodeId::ALL[3], false, 0, 9).unwrap();
        let made: Vec<String> = owed
            .into_iter()
            .filter_map(|owed| match owed.task {
                Task::Order(Order::MakeFolder { folder, .. }) => Some(folder.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(made, ["a", "b", "b/c"]);
    }

    #[test]
    fn a_folder_does_not_take_the_name_of_a_file_or_of_its_blocks() {
        let f = fixture();
        f.store("x", 1);
        for taken in ["x", "x_A1", "x/y", "x_O4/deep"] {
            let refused = f.catalog.make_folder(f.user, &folder(taken), true);
            assert_eq!(refused.unwrap_err().code(), Code::NotAllowed, "{taken}");
        }
        f.catalog.make_folder(f.user, &folder("x_A9"), false).unwrap();
    }

    #[test]
    fn only_an_empty_folder_is_removed_unless_everything_is_to_go() {
        let f = fixture();
        f.store("a/one", 1);
        f.store("a/b/two", 2);
        f.store("a.txt", 3);
        f.catalog.make_folder(f.user, &folder("empty"), false).unwrap();
        assert_eq!(remove(&f, "a", false).unwrap_err().code(), Code::NotAllowed);
        assert_eq!(remove(&f, "none", true).unwrap_err().code(), Code::NoSuchFolder);
        assert_eq!(remove(&f, "", true).unwrap_err().code(), Code::NoSuchFolder);
        assert_eq!(remove(&f, "empty", false).unwrap(), Removed { folders: 1, files: 0 });
        assert_eq!(remove(&f, "a", true).unwrap(), Removed { folders: 2, files: 2 });
        assert_eq!(all(&f, "", Scope::All), ["a.txt"]);
    }

    #[test]
    fn what_was_stored_after_a_removal_began_stops_it() {
        let f = fixture();
        f.store("a/one", 1);
        let seq = f.catalog.draw_seq().unwrap();
        f.store("a/two", 2);
        let refused = f.catalog.remove_folder(f.user, &folder("a"), true, seq).unwrap_err();
        assert_eq!(refused.code(), Code::Changed);
        assert_eq!(all(&f, "a", Scope::All), ["a/one", "a/two"]);
    }

    #[test]
    fn pages_follow_each_other_in_the_order_of_whole_paths() {
        let f = fixture();
        for (version, path) in (1..).zip(["a/b/c", "a.txt", "a/z", "aé/x", "b"]) {
            f.store(path, version);
        }
        let everything = ["a/", "a.txt", "a/b/", "a/b/c", "a/z", "aé/", "aé/x", "b"];
        assert_eq!(all(&f, "", Scope::All), everything);
        assert_eq!(all(&f, "", Scope::Children), ["a/", "a.txt", "aé/", "b"]);
        assert_eq!(all(&f, "a", Scope::Children), ["a/b/", "a/z"]);
        assert_eq!(all(&f, "a", Scope::All), ["a/b/", "a/b/c", "a/z"]);
        assert!(all(&f, "none", Scope::All).is_empty());
        let (mut after, mut got) = (None, Vec::new());
        loop {
            let top = FolderPath::top();
            let page = f.catalog.page(f.user, &top, Scope::All, after.as_ref(), 3).unwrap();
            let Some(last) = page.last().cloned() else { break };
            assert!(page.len() <= 3);
            got.extend(paths(&page));
            after = Some(last);
        }
        assert_eq!(got, everything);
    }

    #[test]
    fn a_path_is_a_file_a_folder_or_nothing() {
        let f = fixture();
        f.store("a/one", 1);
        let look = |path: &str| f.catalog.look(f.user, &folder(path));
        assert!(matches!(look("").unwrap(), Entry::Folder(top) if top.is_top()));
        assert!(matches!(look("a").unwrap(), Entry::Folder(_)));
        let Entry::File(file) = look("a/one").unwrap() else { panic!("a file") };
        assert_eq!((file.path, file.bytes), (fixture::place("a/one").path, 353));
        assert_eq!(look("a/two").unwrap_err().code(), Code::NoSuchFile);
        assert_eq!(look("b/two").unwrap_err().code(), Code::NoSuchFolder);
    }
}
