//! Copies of files and folders: further names of the versions that are there. No byte is stored again.
//!
//! A file is copied by one entry. A folder is filled page by page while it is in no other one, and then put
//! where it is to be, so that nobody sees half of it.

use rusqlite::Connection;

use crate::core::catalog::files::record_of;
use crate::core::catalog::moves::{self, Course};
use crate::core::catalog::{
    Catalog, Draft, Relocated, Scope, UserId, listing, tree, uncertain, users,
};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::{Moment, VersionId};
use crate::core::wire::extended::Entry;
use crate::core::wire::journal::{Change, RECORD_BYTES_MAX};
use crate::core::wire::node::Place;

/// So many entries are copied by one job.
const PAGE_ENTRIES: usize = 500;

/// What the paths and versions of one record that fills a folder may take.
const FILLED_BYTES: usize = RECORD_BYTES_MAX - 1024;

/// A copy that may be made, as things are at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyPlan {
    /// The whole path of the copy.
    pub to: FilePath,
    /// What is copied; `None`: a folder.
    pub version: Option<VersionId>,
    /// The version that it replaces.
    pub there: Option<VersionId>,
    /// How many files it is.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How far the filling of a folder has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filled {
    /// The last entry that was looked at; `None` at the end.
    pub last: Option<Entry>,
    /// The bytes of the files that were added.
    pub bytes: u64,
}

/// May this be copied there, and what would it be?
fn plan(
    connection: &Connection,
    top: i64,
    from: &FilePath,
    to: &FolderPath,
    replace: bool,
) -> Result<CopyPlan> {
    let Course { item, to, there, files } = moves::course(connection, top, from, to, replace)?;
    let bytes = match item.version {
        Some(version) => {
            // A version of this very group is none that a copy was planned of.
            if uncertain::is_uncertain(connection, version)? {
                return Err(not_certain(from));
            }
            record_of(connection, version)?.map_or(0, |record| record.bytes)
        }
        None => u64::try_from(tree::sum(connection, item.id)?.1).unwrap_or(0),
    };
    let there = there.and_then(|there| there.version);
    Ok(CopyPlan { to, version: item.version, there, files, bytes })
}

/// What may be taken back is not copied: its other names would stay.
fn not_certain(path: &FilePath) -> Error {
    let text = format!(
        "it is not known yet whether {path} can be read, so it is not copied; try again when all nodes are \
         up"
    );
    Error::other(Code::Temporary, text)
}

impl Catalog {
    /// May a file or folder be copied: into `to` if that is a folder, else to that name?
    ///
    /// # Errors
    /// As [`Draft::relocate`]; [`Code::Temporary`] for a file that may be taken back.
    pub fn plan_copy(
        &self,
        user: UserId,
        from: &FilePath,
        to: &FolderPath,
        replace: bool,
    ) -> Result<CopyPlan> {
        self.read(|connection| {
            let (_, top) = users::still_there(connection, user)?;
            plan(connection, top, from, to, replace)
        })
    }
}

impl Draft<'_> {
    /// Copies a file as it was planned. `None` if another change came between: nothing has changed then.
    ///
    /// # Errors
    /// As [`Catalog::plan_copy`].
    pub fn copy_file(
        &mut self,
        user: UserId,
        from: &FilePath,
        to: &FolderPath,
        planned: &CopyPlan,
    ) -> Result<Option<Relocated>> {
        let (name, top) = users::still_there(self.connection, user)?;
        let now = plan(self.connection, top, from, to, planned.there.is_some())?;
        let Some(version) = now.version.filter(|_| now == *planned) else { return Ok(None) };
        let place = Place { user: name, path: now.to.clone() };
        // Also if it is that already: a server that was taken over and does not know it must not confirm it.
        self.record(Change::Named { place, version })?;
        self.copy_properties(user, &from.as_folder(), &now.to.as_folder())?;
        let (from, replaced) = (from.clone(), now.there.is_some());
        Ok(Some(Relocated { from, to: now.to, is_folder: false, files: 1, replaced }))
    }

    /// Copies a file to exactly this path, in place of the folder that is there.
    ///
    /// # Errors
    /// As [`Catalog::plan_copy`]; [`Code::Changed`] if the file is another version than `version` now.
    pub fn copy_over_folder(
        &mut self,
        user: UserId,
        from: &FilePath,
        to: &FilePath,
        version: VersionId,
    ) -> Result<()> {
        self.make_way(user, from, to, true)?;
        let (_, top) = users::still_there(self.connection, user)?;
        let now = plan(self.connection, top, from, &to.as_folder(), true)?;
        let is_same = now.version == Some(version) && now.to == *to;
        match self.copy_file(user, from, &to.as_folder(), &now)?.filter(|_| is_same) {
            Some(_) => Ok(()),
            None => Err(Error::other(Code::Changed, format!("{from} was changed meanwhile"))),
        }
    }

    /// Puts a copy of a folder, which is in no other one, at exactly this path: in one change in place of
    /// what is there, if `replace`. True if something was there.
    ///
    /// # Errors
    /// As [`Draft::attach_copy`]; [`Error::Exists`] for a file without `replace`.
    pub fn attach_copy_over(
        &mut self,
        user: UserId,
        key: Moment,
        to: &FilePath,
        replace: bool,
    ) -> Result<bool> {
        let (_, top) = users::still_there(self.connection, user)?;
        match tree::find(self.connection, top, to.as_str())? {
            None => self.attach_copy(user, key, to).map(|_| false),
            Some(there) if !replace => Err(moves::exists(&there, to)),
            Some(_) => {
                if let Some(folder) = tree::detached(self.connection, user, key)? {
                    moves::check_lengths(self.connection, folder, to)?;
                }
                self.attach(user, key, &to.as_folder()).map(|_| true)
            }
        }
    }

    /// Adds the next of what is below `from`, or was at a moment, to a folder that is in no other one. It is
    /// looked at in the same job, so that no version goes before it has its further name.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] if `from` is none any more; [`Code::Temporary`] for a file that may be taken
    /// back.
    pub fn fill_from(
        &mut self,
        user: UserId,
        key: Moment,
        from: &FolderPath,
        at: Option<Moment>,
        after: Option<&Entry>,
    ) -> Result<Filled> {
        let (_, top) = users::still_there(self.connection, user)?;
        if at.is_none() && tree::folder(self.connection, top, from)?.is_none() {
            return Err(Error::NoSuchFolder(from.clone()));
        }
        let page = listing::page(self.connection, user, from, Scope::All, at, after, PAGE_ENTRIES)?;
        let mut filled = Filled { last: page.last().cloned(), bytes: 0 };
        let (mut folders, mut files, mut bytes) = (Vec::new(), Vec::new(), 0);
        for entry in page {
            let whole = match &entry {
                Entry::Folder(folder) => folder.as_str(),
                Entry::File(file) => file.path.as_str(),
            };
            let rest = whole.strip_prefix(from.as_str()).unwrap_or(whole);
            let inner = FilePath::parse_rooted(rest.trim_start_matches('/'))?;
            // The lengths of both, and the version.
            let more = inner.as_str().len() + 32;
            if bytes + more > FILLED_BYTES {
                let (folders, files) = (std::mem::take(&mut folders), std::mem::take(&mut files));
                self.fill_folder(user, key, folders, files)?;
                bytes = 0;
            }
            bytes += more;
            match entry {
                Entry::Folder(_) => folders.push(inner),
                Entry::File(file) => {
                    if at.is_none() && self.may_be_taken_back(file.version)? {
                        return Err(not_certain(&file.path));
                    }
                    filled.bytes = filled.bytes.saturating_add(file.bytes);
                    files.push((inner, file.version));
                }
            }
        }
        if bytes > 0 {
            self.fill_folder(user, key, folders, files)?;
        }
        Ok(filled)
    }

    /// Puts a copy of a folder, which is in no other one, where nothing is. Gives how many files are in it.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such folder any more; [`Error::NoSuchFolder`],
    /// [`Error::FolderExists`], [`Error::NameCollision`] if something came between; [`Error::BadPath`] if a
    /// path would become too long or too deep.
    pub fn attach_copy(&mut self, user: UserId, key: Moment, to: &FilePath) -> Result<u64> {
        let (_, top) = users::still_there(self.connection, user)?;
        if tree::folder(self.connection, top, &to.folder())?.is_none() {
            return Err(Error::NoSuchFolder(to.folder()));
        }
        match tree::find(self.connection, top, to.as_str())? {
            Some(there) if there.is_folder() => return Err(Error::FolderExists(to.as_folder())),
            Some(_) => {
                let taken = format!("the file {to}");
                return Err(Error::NameCollision { what: to.to_string(), taken });
            }
            None => {}
        }
        if let Some(folder) = tree::detached(self.connection, user, key)? {
            moves::check_lengths(self.connection, folder, to)?;
        }
        self.attach(user, key, &to.as_folder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::Undone;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, path, v};

    fn copy(f: &Fixture, from: &str, to: &str, replace: bool) -> Result<Relocated> {
        let (from, to) = (path(from), folder(to));
        let plan = f.catalog.plan_copy(f.user, &from, &to, replace)?;
        if plan.version.is_some() {
            let done = f.change(|draft| draft.copy_file(f.user, &from, &to, &plan))?;
            return Ok(done.expect("nothing came between"));
        }
        let key = f.change(|draft| draft.begin_folder(f.user))?;
        let (mut after, mut bytes) = (None, 0);
        loop {
            let filled = f.change(|draft| {
                draft.fill_from(f.user, key, &from.as_folder(), None, after.as_ref())
            })?;
            bytes += filled.bytes;
            after = filled.last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(bytes, plan.bytes);
        let files = f.change(|draft| draft.attach_copy(f.user, key, &plan.to))?;
        Ok(Relocated { from, to: plan.to, is_folder: true, files, replaced: false })
    }

    #[test]
    fn a_copy_is_the_same_version_and_outlives_the_original() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("b", 2);
        assert_eq!(copy(&f, "x/a", "b", false).unwrap_err().code(), Code::Exists);
        let done = copy(&f, "x/a", "b", true).unwrap();
        assert!(done.replaced && !done.is_folder && done.files == 1);
        assert_eq!([f.version_at("b"), f.version_at("x/a")], [Some(v(1)); 2]);
        f.change(|draft| draft.delete(f.user, &path("x/a"))).unwrap();
        f.expire();
        assert_eq!(f.catalog.retired(9).unwrap(), [v(2)], "one name is left, and it is enough");
        assert_eq!(copy(&f, "b", "x", false).unwrap().to, path("x/b"), "into a folder");
        f.change(|draft| draft.delete(f.user, &path("b"))).unwrap();
        f.change(|draft| draft.delete(f.user, &path("x/b"))).unwrap();
        f.expire();
        assert_eq!(f.catalog.retired(9).unwrap(), [v(1), v(2)]);
    }

    #[test]
    fn of_several_names_one_that_is_there_now_is_told() {
        let f = fixture();
        f.store("x/a", 1);
        copy(&f, "x", "y", false).unwrap();
        let told = || f.catalog.version(v(1)).unwrap().unwrap().place.path;
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        assert_eq!(told(), path("y/a"));
        f.change(|draft| draft.forget_history(f.user, &path("x"))).unwrap();
        assert_eq!(told(), path("y/a"));
    }

    #[test]
    fn copies_count_by_their_sizes_and_are_stored_once() {
        let f = fixture();
        f.store("x/a", 1);
        copy(&f, "x/a", "b", false).unwrap();
        copy(&f, "x", "y", false).unwrap();
        let (_, usage) = f.catalog.quota_and_usage(f.user).unwrap();
        assert_eq!((usage.bytes, usage.files, usage.stored_bytes), (3 * 353, 3, 353));
        copy(&f, "x/a", "b", true).unwrap();
        let (_, usage) = f.catalog.quota_and_usage(f.user).unwrap();
        assert_eq!(usage.bytes, 3 * 353, "it was the same already");
    }

    #[test]
    fn a_folder_is_copied_with_all_that_is_in_it() {
        let f = fixture();
        for (n, at) in (1..).zip(["x/a", "x/y/b", "xx/c"]) {
            f.store(at, n);
        }
        f.change(|draft| draft.make_folder(f.user, &folder("x/empty"), false)).unwrap();
        let done = copy(&f, "x", "z", false).unwrap();
        assert_eq!((done.to, done.files), (path("z"), 2));
        assert_eq!(
            copy(&f, "x", "z", false).unwrap().to,
            path("z/x"),
            "into the one that is there"
        );
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        f.expire();
        let listed =
            ["xx/", "xx/c", "z/", "z/a", "z/empty/", "z/x/", "z/x/a", "z/x/empty/", "z/x/y/"];
        assert_eq!(f.list()[..9], listed);
        assert_eq!([f.version_at("z/a"), f.version_at("z/x/y/b")], [Some(v(1)), Some(v(2))]);
        assert!(f.catalog.retired(9).unwrap().is_empty());
    }

    #[test]
    fn a_copy_is_undone() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("b", 2);
        f.change(|draft| draft.make_folder(f.user, &folder("empty"), false)).unwrap();
        let undo = |at: &str| f.change(|draft| draft.undo(f.user, &path(at)));
        copy(&f, "x/a", "b", true).unwrap();
        assert!(matches!(undo("b").unwrap(), Undone::Former(_)));
        copy(&f, "x/a", "c", false).unwrap();
        assert_eq!(undo("c").unwrap(), Undone::Deleted);
        for from in ["x", "empty"] {
            copy(&f, from, "z", false).unwrap();
            let there = f.list();
            assert_eq!(undo("z").unwrap(), Undone::Deleted);
            assert_eq!(f.list(), ["b", "empty/", "x/", "x/a"]);
            assert!(matches!(undo("z").unwrap(), Undone::FolderBack(_)));
            assert_eq!(f.list(), there);
            undo("z").unwrap();
        }
        assert_eq!([f.version_at("b"), f.version_at("x/a")], [Some(v(2)), Some(v(1))]);
        // What somebody has put there since is not taken away with it.
        f.change(|draft| draft.make_folder(f.user, &folder("x/deep"), false)).unwrap();
        copy(&f, "x", "z", false).unwrap();
        f.store("z/deep/own", 3);
        for at in ["z", "x"] {
            assert_eq!(undo(at).unwrap_err().code(), Code::NotAllowed, "{at}");
        }
    }

    #[test]
    fn what_came_between_is_noticed() {
        let f = fixture();
        f.store("x/a", 1);
        let (from, to) = (path("x/a"), folder("b"));
        let plan = f.catalog.plan_copy(f.user, &from, &to, false).unwrap();
        f.store("x/a", 2);
        let done = f.change(|draft| draft.copy_file(f.user, &from, &to, &plan)).unwrap();
        assert_eq!((done, f.version_at("b")), (None, None));
        let key = f.change(|draft| draft.begin_folder(f.user)).unwrap();
        f.store("z", 3);
        let attach = |at: &str| f.change(|draft| draft.attach_copy(f.user, key, &path(at)));
        assert_eq!(attach("z").unwrap_err().code(), Code::NotAllowed);
        assert_eq!(attach("x").unwrap_err().code(), Code::Exists);
        assert_eq!(attach("no/z").unwrap_err().code(), Code::NoSuchFolder);
        let gone = |draft: &mut Draft<'_>| {
            draft.fill_from(f.user, key, &folder("none"), None, None).map(drop)
        };
        assert_eq!(f.change(gone).unwrap_err().code(), Code::NoSuchFolder);
    }

    #[test]
    fn what_cannot_be_copied_is_refused_and_nothing_changes() {
        let f = fixture();
        for (n, at) in (1..).zip(["x/a", "b", "y/x/c"]) {
            f.store(at, n);
        }
        f.store("u", 9);
        f.change(|draft| draft.mark_uncertain(&[v(9)])).unwrap();
        let before = (f.list(), f.catalog.end().unwrap());
        for (from, to, expected) in [
            ("none", "c", Code::NoSuchFile),
            ("b", "none/b", Code::NoSuchFolder),
            ("x", "x", Code::NotAllowed),
            ("x", "x/deep", Code::NotAllowed),
            ("x", "y", Code::Exists),
            ("b", "b", Code::NotAllowed),
            ("x", "b", Code::NotAllowed),
            ("u", "c", Code::Temporary),
        ] {
            let refused = copy(&f, from, to, true).unwrap_err().code();
            assert_eq!(refused, expected, "{from} to {to}");
        }
        assert_eq!((f.list(), f.catalog.end().unwrap()), before);
    }
}
