//! Moves of files and folders.

use rusqlite::Connection;

use crate::core::catalog::tree::{self, Item};
use crate::core::catalog::{Draft, UserId, files, users};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath, PATH_BYTES_MAX, PATH_DEPTH_MAX, PathError};
use crate::core::wire::journal::Change;

/// What a move or a copy has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relocated {
    /// What was moved or copied.
    pub from: FilePath,
    /// Where it is now, too if it was copied.
    pub to: FilePath,
    /// Was it a folder?
    pub is_folder: bool,
    /// How many files are in it, or 1.
    pub files: u64,
    /// Did it replace a file?
    pub replaced: bool,
}

impl Draft<'_> {
    /// Moves a file or a folder: into `to` if that is a folder, else to that name.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::NoSuchFolder`], [`Error::Exists`], [`Error::FolderExists`],
    /// [`Error::NameCollision`], [`Error::IntoItself`], [`Error::BadPath`] if a path would become too
    /// long or too deep. Nothing has changed then.
    pub fn relocate(
        &mut self,
        user: UserId,
        from: &FilePath,
        to: &FolderPath,
        replace: bool,
    ) -> Result<Relocated> {
        let (user, top) = users::still_there(self.connection, user)?;
        let Course { item, to, there, files } = course(self.connection, top, from, to, replace)?;
        if let (Some(_), Some(version)) = (&there, item.version)
            && self.may_be_taken_back(version)?
        {
            // Taken back later, it would leave nothing of what it had replaced here.
            let text = format!(
                "it is not known yet whether {from} can be read, so it does not replace {to}; try again \
                 when all nodes are up"
            );
            return Err(Error::other(Code::Temporary, text));
        }
        self.record(Change::Moved { user, from: from.clone(), to: to.clone() })?;
        let (is_folder, replaced) = (item.is_folder(), there.is_some());
        Ok(Relocated { from: from.clone(), to, is_folder, files, replaced })
    }
}

impl Draft<'_> {
    /// Removes what is in the way of something that is to have exactly the path `to`: a folder, or a file
    /// where a folder comes. One that a file replaces stays, as that is one change by itself. True if
    /// something was removed.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::FolderExists`] without `replace`; [`Error::NoSuchFile`] if there is
    /// nothing at `from`; [`Error::IntoItself`] if one of the two is in the other.
    pub fn make_way(
        &mut self,
        user: UserId,
        from: &FilePath,
        to: &FilePath,
        replace: bool,
    ) -> Result<bool> {
        let (_, top) = users::still_there(self.connection, user)?;
        let Some(item) = tree::find(self.connection, top, from.as_str())? else {
            return Err(files::missing(self.connection, top, from)?);
        };
        let (here, there) = (from.as_folder(), to.as_folder());
        if here.is_within(&there) || there.is_within(&here) {
            return Err(Error::IntoItself(here));
        }
        match tree::find(self.connection, top, to.as_str())? {
            None => Ok(false),
            Some(there) if !replace => Err(exists(&there, to)),
            Some(there) if there.is_folder() => {
                self.remove_folder(user, &to.as_folder(), true).map(|_| true)
            }
            Some(_) if item.is_folder() => self.delete(user, to).map(|()| true),
            Some(_) => Ok(false),
        }
    }
}

/// Nothing can come to this path without replacing what is there.
pub(super) fn exists(there: &Item, path: &FilePath) -> Error {
    match there.is_folder() {
        true => Error::FolderExists(path.as_folder()),
        false => Error::Exists(path.clone()),
    }
}

/// What is moved or copied, and where it comes to.
pub(super) struct Course {
    pub(super) item: Item,
    /// Its whole new path.
    pub(super) to: FilePath,
    /// The file that is there and may be replaced.
    pub(super) there: Option<Item>,
    /// How many files it is.
    pub(super) files: u64,
}

/// May this be moved or copied there?
pub(super) fn course(
    connection: &Connection,
    top: i64,
    from: &FilePath,
    to: &FolderPath,
    replace: bool,
) -> Result<Course> {
    let item = tree::find(connection, top, from.as_str())?;
    let to = target(connection, top, from, item, to)?;
    let Some(item) = item else {
        return Err(files::missing(connection, top, from)?);
    };
    let there = tree::find(connection, top, to.as_str())?;
    if there.as_ref().is_some_and(Item::is_folder) {
        return Err(Error::FolderExists(to.as_folder()));
    }
    let files = if item.is_folder() {
        if there.is_some() {
            let taken = format!("the file {to}");
            return Err(Error::NameCollision { what: to.to_string(), taken });
        }
        check_lengths(connection, item.id, &to)?
    } else {
        1
    };
    if there.is_some() && !replace {
        return Err(Error::Exists(to));
    }
    Ok(Course { item, to, there, files })
}

/// The whole new name: that of `to`, or the old one in it if it is a folder.
fn target(
    connection: &Connection,
    top: i64,
    from: &FilePath,
    item: Option<Item>,
    to: &FolderPath,
) -> Result<FilePath> {
    let whole = match to.split() {
        Some((above, name)) if tree::folder(connection, top, to)?.is_none() => above.join(name)?,
        _ => to.join(from.name())?,
    };
    let above = whole.folder();
    if tree::folder(connection, top, &above)?.is_none() {
        return Err(Error::NoSuchFolder(above));
    }
    let is_inside =
        whole.as_str().strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if whole == *from || (is_inside && item.as_ref().is_some_and(Item::is_folder)) {
        return Err(Error::IntoItself(from.as_folder()));
    }
    Ok(whole)
}

/// May all that is in this folder be there? Gives how many files that is.
pub(super) fn check_lengths(connection: &Connection, folder: i64, to: &FilePath) -> Result<u64> {
    let extent = tree::extent(connection, folder)?;
    let bytes = to.as_str().len() + extent.bytes;
    if bytes > PATH_BYTES_MAX {
        return Err(PathError::LongPath(bytes).into());
    }
    let parts = to.as_str().split('/').count() + extent.parts;
    if parts > PATH_DEPTH_MAX {
        return Err(PathError::DeepPath(parts).into());
    }
    Ok(extent.files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{
        Fixture, fixture, folder, journal, new_file, path, place, v,
    };
    use crate::core::error::Code;

    fn relocate(f: &Fixture, from: &str, to: &str, replace: bool) -> Result<Relocated> {
        f.change(|draft| draft.relocate(f.user, &path(from), &folder(to), replace))
    }

    #[test]
    fn a_moved_file_keeps_its_version_and_replaces_one_only_if_it_may() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("b", 2);
        assert_eq!(relocate(&f, "x/a", "b", false).unwrap_err().code(), Code::Exists);
        let done = relocate(&f, "x/a", "b", true).unwrap();
        assert!(done.replaced && !done.is_folder && done.files == 1);
        assert_eq!((f.version_at("b"), f.version_at("x/a")), (Some(v(1)), None));
        assert_eq!(f.catalog.version(v(1)).unwrap().unwrap().place, place("b"));
        f.expire();
        assert_eq!(f.catalog.retired(9).unwrap(), [v(2)]);
        assert_eq!(relocate(&f, "b", "x", false).unwrap().to, path("x/b"), "into a folder");
    }

    #[test]
    fn a_file_that_may_be_taken_back_does_not_replace_one_by_a_move() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("b", 2);
        f.change(|draft| draft.mark_uncertain(&[v(1)])).unwrap();
        assert_eq!(relocate(&f, "x/a", "b", true).unwrap_err().code(), Code::Temporary);
        assert_eq!(f.version_at("b"), Some(v(2)));
        assert_eq!(relocate(&f, "x/a", "c", true).unwrap().to, path("c"), "where nothing is");
        f.change(|draft| draft.confirm(v(1))).unwrap();
        assert!(relocate(&f, "c", "b", true).unwrap().replaced);
    }

    #[test]
    fn a_file_that_comes_with_the_same_group_does_not_replace_one_by_a_move() {
        let f = fixture();
        f.store("b", 2);
        let mut group = f.catalog.begin_group(1).unwrap();
        let new = new_file(f.user, "x/a", v(1));
        group.attempt(|draft| draft.store(&new, None)).unwrap();
        let mut mv = |to: &str| {
            group.attempt(|draft| draft.relocate(f.user, &path("x/a"), &folder(to), true))
        };
        assert_eq!(mv("b").unwrap_err().code(), Code::Temporary);
        assert!(!mv("c").unwrap().replaced, "where nothing is");
        group.commit().unwrap();
        assert_eq!([f.version_at("b"), f.version_at("c")], [Some(v(2)), Some(v(1))]);
        assert!(relocate(&f, "c", "b", true).unwrap().replaced, "now it is decided");
    }

    #[test]
    fn a_folder_moves_with_all_in_it_by_one_entry_and_what_is_beside_it_stays() {
        let f = fixture();
        for (n, at) in (1..).zip(["x/a", "x/y/b", "xx/c", "x.txt"]) {
            f.store(at, n);
        }
        f.change(|draft| draft.make_folder(f.user, &folder("into"), false)).unwrap();
        let before = journal(&f.catalog).len();
        let done = relocate(&f, "x", "into", false).unwrap();
        assert_eq!((done.to, done.files, done.is_folder), (path("into/x"), 2, true));
        assert_eq!(journal(&f.catalog).len(), before + 1);
        for (n, at) in (1..).zip(["into/x/a", "into/x/y/b", "xx/c", "x.txt"]) {
            assert_eq!(f.version_at(at), Some(v(n)), "{at}");
        }
        assert_eq!(relocate(&f, "x", "z", false).unwrap_err().code(), Code::NoSuchFile);
        assert_eq!(relocate(&f, "into/x", "z", false).unwrap().to, path("z"));
        assert_eq!(f.catalog.version(v(2)).unwrap().unwrap().place, place("z/y/b"));
    }

    #[test]
    fn what_cannot_be_moved_is_refused_and_nothing_changes() {
        let f = fixture();
        for (n, at) in (1..).zip(["x/a", "b", "y/x/c"]) {
            f.store(at, n);
        }
        let before = (f.list(), f.catalog.end().unwrap());
        for (from, to, expected) in [
            ("none", "c", Code::NoSuchFile),
            ("none/a", "c", Code::NoSuchFolder),
            ("b", "none/b", Code::NoSuchFolder),
            ("x", "x", Code::NotAllowed),
            ("x", "x/deep", Code::NotAllowed),
            ("x", "y", Code::Exists),
            ("b", "b", Code::NotAllowed),
            ("x", "b", Code::NotAllowed),
            ("b", "b/c", Code::NoSuchFolder),
        ] {
            let refused = relocate(&f, from, to, true).unwrap_err().code();
            assert_eq!(refused, expected, "{from} to {to}");
        }
        assert_eq!((f.list(), f.catalog.end().unwrap()), before);
    }

    #[test]
    fn no_path_becomes_too_deep_or_too_long_by_a_move() {
        let f = fixture();
        let deep = |parts: usize| vec!["d"; parts].join("/");
        f.change(|draft| draft.make_folder(f.user, &folder(&deep(61)), true)).unwrap();
        f.store("m/n/o", 1);
        f.change(|draft| draft.make_folder(f.user, &folder("e/f/g"), true)).unwrap();
        relocate(&f, "m", &deep(61), false).unwrap();
        assert_eq!(
            relocate(&f, "e", &format!("{}/m", deep(61)), false).unwrap_err().code(),
            Code::BadPath
        );
        relocate(&f, "e/f", &format!("{}/m", deep(61)), false).unwrap();
        assert_eq!(f.version_at(&format!("{}/m/n/o", deep(61))), Some(v(1)));

        let name = "n".repeat(239);
        let long = vec![name.as_str(); 14].join("/");
        f.change(|draft| draft.make_folder(f.user, &folder(&long), true)).unwrap();
        let room = PATH_BYTES_MAX - long.len() - "/p/".len();
        assert!(room < 240);
        f.store(&format!("p/{}", "f".repeat(room)), 2);
        f.store(&format!("p2/{}", "f".repeat(room)), 3);
        f.store(&format!("p3/q/{}", "f".repeat(room)), 4);
        relocate(&f, "p", &long, false).unwrap();
        for too_long in ["p2", "p3"] {
            assert_eq!(relocate(&f, too_long, &long, false).unwrap_err().code(), Code::BadPath);
        }
    }
}
