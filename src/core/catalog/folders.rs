//! The jobs that make and remove folders. What is in one is listed in
//! `listing.rs`.

use crate::core::catalog::database::first;
use crate::core::catalog::{Catalog, Draft, UserId, files, tree, users};
use crate::core::error::{Error, Result};
use crate::core::path::FolderPath;
use crate::core::wire::extended::Entry;
use crate::core::wire::journal::Change;

/// What a removal has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removed {
    /// How many folders are gone, the named one among them.
    pub folders: u64,
    /// How many files are gone.
    pub files: u64,
}

impl Draft<'_> {
    /// Makes a folder; with `parents` also those above it, and it may be there already.
    ///
    /// # Errors
    /// [`Error::FolderExists`], [`Error::NoSuchFolder`] for the one above it,
    /// [`Error::NameCollision`].
    pub fn make_folder(&mut self, user: UserId, folder: &FolderPath, parents: bool) -> Result<()> {
        let (user, top) = users::still_there(self.connection, user)?;
        if folder.is_top() && parents {
            return Ok(());
        }
        if tree::folder(self.connection, top, folder)?.is_some() && !parents {
            return Err(Error::FolderExists(folder.clone()));
        }
        if let Some(file) = tree::blocking_file(self.connection, top, folder)? {
            let taken = format!("the file {file}");
            return Err(Error::NameCollision { what: folder.to_string(), taken });
        }
        if !parents {
            for above in folder.ancestry() {
                if above != *folder && tree::folder(self.connection, top, &above)?.is_none() {
                    return Err(Error::NoSuchFolder(above));
                }
            }
        }
        // Also if it is there: a server that was taken over and does not know it must not confirm that.
        self.record(Change::FolderMade { user, folder: folder.clone() }).map(drop)
    }

    /// Removes a folder: an empty one, or with `recursive` one with all that is in it.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::FolderNotEmpty`]. Nothing has changed then.
    pub fn remove_folder(
        &mut self,
        user: UserId,
        folder: &FolderPath,
        recursive: bool,
    ) -> Result<Removed> {
        let (user, top) = users::still_there(self.connection, user)?;
        let found = tree::folder(self.connection, top, folder)?;
        let Some(id) = found.filter(|_| !folder.is_top()) else {
            return Err(Error::NoSuchFolder(folder.clone()));
        };
        let any = "SELECT 1 FROM entries WHERE parent = ?1 LIMIT 1";
        if !recursive && first(self.connection, any, [id], |_| Ok(()))?.is_some() {
            return Err(Error::FolderNotEmpty(folder.clone()));
        }
        let extent = tree::extent(self.connection, id)?;
        self.record(Change::FolderRemoved { user, folder: folder.clone() })?;
        Ok(Removed { folders: extent.folders, files: extent.files })
    }
}

impl Catalog {
    /// What is at a path; the top folder is always there.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] for the folder it would be in, or [`Error::NoSuchFile`].
    pub fn look(&self, user: UserId, path: &FolderPath) -> Result<Entry> {
        self.read(|connection| {
            let (_, top) = users::still_there(connection, user)?;
            if tree::folder(connection, top, path)?.is_some() {
                return Ok(Entry::Folder(path.clone()));
            }
            let Some((above, name)) = path.split() else {
                return Err(Error::NoSuchFolder(path.clone()));
            };
            let path = above.join(name)?;
            match files::record_at(connection, top, &path)? {
                Some(record) => Ok(Entry::File(record.listed(path))),
                None => Err(files::missing(connection, top, &path)?),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, path};
    use crate::core::error::Code;

    fn remove(f: &Fixture, at: &str, recursive: bool) -> Result<Removed> {
        f.change(|draft| draft.remove_folder(f.user, &folder(at), recursive))
    }

    #[test]
    fn a_folder_is_made_once_with_those_above_it_if_they_are_asked_for() {
        let f = fixture();
        let make =
            |at: &str, parents| f.change(|draft| draft.make_folder(f.user, &folder(at), parents));
        make("a", false).unwrap();
        assert_eq!(make("a", false).unwrap_err().code(), Code::Exists);
        make("a", true).unwrap();
        assert_eq!(make("", false).unwrap_err().code(), Code::Exists);
        assert!(
            matches!(make("b/c/d", false), Err(Error::NoSuchFolder(missing)) if missing == folder("b"))
        );
        make("b/c", true).unwrap();
        assert_eq!(f.list(), ["a/", "b/", "b/c/"]);
        f.store("x", 1);
        for taken in ["x", "x/y"] {
            assert_eq!(make(taken, true).unwrap_err().code(), Code::NotAllowed, "{taken}");
        }
    }

    #[test]
    fn only_an_empty_folder_is_removed_unless_everything_is_to_go() {
        let f = fixture();
        for (n, at) in (1..).zip(["a/one", "a/b/two", "a.txt", "ab/three"]) {
            f.store(at, n);
        }
        f.change(|draft| draft.make_folder(f.user, &folder("empty"), false)).unwrap();
        assert_eq!(remove(&f, "a", false).unwrap_err().code(), Code::NotAllowed);
        for none in ["none", "", "a.txt"] {
            assert_eq!(remove(&f, none, true).unwrap_err().code(), Code::NoSuchFolder, "{none}");
        }
        assert_eq!(remove(&f, "empty", false).unwrap(), Removed { folders: 1, files: 0 });
        assert_eq!(remove(&f, "a", true).unwrap(), Removed { folders: 2, files: 2 });
        assert_eq!(f.list(), ["a.txt", "ab/", "ab/three"]);
        // Its name is free at once, and nothing of what was there comes back.
        f.store("a/new", 5);
        assert_eq!(f.list(), ["a/", "a.txt", "a/new", "ab/", "ab/three"]);
    }

    #[test]
    fn a_path_is_a_file_a_folder_or_nothing() {
        let f = fixture();
        f.store("a/one", 1);
        let look = |at: &str| f.catalog.look(f.user, &folder(at));
        assert!(matches!(look("").unwrap(), Entry::Folder(top) if top.is_top()));
        assert!(matches!(look("a").unwrap(), Entry::Folder(_)));
        let Entry::File(file) = look("a/one").unwrap() else { panic!("a file") };
        assert_eq!((file.path, file.bytes), (path("a/one"), 353));
        assert_eq!(look("a/two").unwrap_err().code(), Code::NoSuchFile);
        assert_eq!(look("b/two").unwrap_err().code(), Code::NoSuchFolder);
    }
}
