//! What a path was: its versions, its state at a moment, and the jobs that bring one of them back.
//!
//! A path is followed name by name through every folder that had those names, each for the time when it
//! had them:
//!
//! ```text
//!   a      folder 7 ────────────────┤ removed   folder 12 ──────────────>
//!   a/x            version 1 ──┤ version 2 ─┤             version 3 ─────>
//! ```

use std::collections::HashMap;

use rusqlite::Connection;

use crate::core::catalog::database::{all, first};
use crate::core::catalog::files::{FileRecord, record_of};
use crate::core::catalog::moves;
use crate::core::catalog::past::{self, Binding, Target};
use crate::core::catalog::tree::{self, Places};
use crate::core::catalog::{Catalog, Draft, UserId, users};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::{Moment, VersionId};
use crate::core::wire::extended::Entry;
use crate::core::wire::journal::Change;
use crate::core::wire::node::Place;

/// So many states of one path are looked at, the newest ones.
const STATES_MAX: usize = 1000;

/// So many deleted names are listed at most.
pub const DELETED_MAX: usize = 10_000;

/// A folder, and when it was at a path.
struct Span {
    folder: i64,
    from: Moment,
    until: Moment,
}

/// What a path was for a while.
struct State {
    binding: Binding,
    /// Its binding clipped to when the folders above it were there.
    from: Moment,
    until: Moment,
}

/// What a path was, the newest state first.
fn states(
    connection: &Connection,
    user: UserId,
    top: i64,
    path: &FolderPath,
) -> Result<Vec<State>> {
    let whole = |binding: Binding| State { from: binding.made, until: binding.gone, binding };
    let mut states: Vec<State> =
        past::tops(connection, user, top)?.into_iter().map(whole).collect();
    for name in path.as_str().split('/').filter(|name| !name.is_empty()) {
        let mut next = Vec::new();
        for span in states.iter().filter_map(span) {
            for binding in past::bindings(connection, span.folder, name, STATES_MAX)? {
                let (from, until) = (binding.made.max(span.from), binding.gone.min(span.until));
                if from < until {
                    next.push(State { binding, from, until });
                }
            }
        }
        next.sort_by_key(|state| std::cmp::Reverse(state.until));
        next.truncate(STATES_MAX);
        states = next;
    }
    Ok(states)
}

fn span(state: &State) -> Option<Span> {
    match state.binding.target {
        Target::Folder(folder) => Some(Span { folder, from: state.from, until: state.until }),
        Target::File(_) => None,
    }
}

/// What is at a path now, or was at a moment.
pub(super) fn find_at(
    connection: &Connection,
    user: UserId,
    top: i64,
    path: &str,
    at: Moment,
) -> Result<Option<Target>> {
    let tops = past::tops(connection, user, top)?;
    let then = tops.into_iter().find(|top| top.made <= at && at < top.gone);
    let Some(mut target) = then.map(|top| top.target) else { return Ok(None) };
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let Target::Folder(folder) = target else { return Ok(None) };
        match past::binding_at(connection, folder, name, at)? {
            Some(binding) => target = binding.target,
            None => return Ok(None),
        }
    }
    Ok(Some(target))
}

/// Lets go of all that a path was and is not any more.
pub(super) fn forget(
    connection: &Connection,
    user: UserId,
    top: i64,
    path: &FilePath,
) -> Result<()> {
    let mut folders: Vec<i64> = states(connection, user, top, &path.folder())?
        .iter()
        .filter_map(|state| span(state).map(|span| span.folder))
        .collect();
    folders.sort_unstable();
    folders.dedup();
    folders.into_iter().try_for_each(|folder| past::forget(connection, folder, path.name()))
}

/// What a path was for a while, as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathState {
    /// The version, and who stored it and from where; `None`: it was a folder.
    pub file: Option<(FileRecord, String)>,
    /// Since when.
    pub from: Moment,
    /// Until when; `None`: it is so now.
    pub until: Option<Moment>,
    /// Is it kept only because of this snapshot?
    pub held_by: Option<String>,
}

/// A name that is not there any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedName {
    /// What it was called.
    pub path: FilePath,
    /// The file's last version; `None`: it was a folder.
    pub file: Option<FileRecord>,
    /// When it went.
    pub gone: Moment,
}

/// What undoing came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Undone {
    /// A file is its former version again.
    Former(FileRecord),
    /// A deleted file is back.
    FileBack(FileRecord),
    /// A removed folder is back, with so many files.
    FolderBack(u64),
    /// What was moved is where it was before.
    MovedBack {
        /// Where it had been moved to.
        from: FolderPath,
        /// Where it is again.
        to: FolderPath,
    },
    /// The file, or the folder with what came with it, had been new, so it is deleted.
    Deleted,
}

impl Catalog {
    /// What a path is and was, the newest state first.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if it never was anything, as far as is known.
    pub fn path_states(&self, user: UserId, path: &FilePath) -> Result<Vec<PathState>> {
        self.read(|connection| {
            let (_, top) = users::still_there(connection, user)?;
            let found = states(connection, user, top, &path.as_folder())?;
            if found.is_empty() {
                return Err(Error::NoSuchFile(path.clone()));
            }
            let mut told = Vec::new();
            for State { binding, from, until } in found {
                let file = match binding.target {
                    Target::File(version) => match with_by(connection, version)? {
                        Some(found) => Some(found),
                        None => continue,
                    },
                    Target::Folder(_) => None,
                };
                let held_by = match binding.gone {
                    Moment::MAX => None,
                    gone => holder(connection, &binding, gone)?,
                };
                let until = Some(until).filter(|until| *until != Moment::MAX);
                told.push(PathState { file, from, until, held_by });
            }
            Ok(told)
        })
    }

    /// The version that a path was at a moment.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if it was no file then, or what it was is not kept any more.
    pub fn file_at(&self, user: UserId, path: &FilePath, at: Moment) -> Result<FileRecord> {
        self.read(|connection| {
            let (_, top) = users::still_there(connection, user)?;
            let found = find_at(connection, user, top, path.as_str(), at)?;
            let version = found.and_then(Target::version);
            let record = version.map(|version| record_of(connection, version)).transpose()?;
            record.flatten().ok_or_else(|| Error::NoSuchFile(path.clone()))
        })
    }

    /// What was at a path at a moment. The top folder always was.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] or [`Error::NoSuchFile`] if nothing was, or it is not kept any more.
    pub fn look_at(&self, user: UserId, path: &FolderPath, at: Moment) -> Result<Entry> {
        if self.was_folder(user, path, at)? {
            return Ok(Entry::Folder(path.clone()));
        }
        let Some((above, name)) = path.split() else {
            return Ok(Entry::Folder(path.clone()));
        };
        let file = above.join(name)?;
        let record = self.file_at(user, &file, at)?;
        Ok(Entry::File(record.listed(file)))
    }

    /// Was a path a folder at a moment?
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn was_folder(&self, user: UserId, path: &FolderPath, at: Moment) -> Result<bool> {
        self.read(|connection| {
            let (_, top) = users::still_there(connection, user)?;
            let found = find_at(connection, user, top, path.as_str(), at)?;
            Ok(matches!(found, Some(Target::Folder(_))))
        })
    }

    /// The version of this id, or of an id that begins so, that a path is or was.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if there is none; [`Code::Usage`] if there are several.
    pub fn file_version(&self, user: UserId, path: &FilePath, id: &str) -> Result<FileRecord> {
        let mut found: Option<FileRecord> = None;
        for (record, _) in self.path_states(user, path)?.into_iter().filter_map(|state| state.file)
        {
            let is_it = record.version.to_string().starts_with(id);
            match &found {
                Some(other) if is_it && other.version != record.version => {
                    let text = format!("{path} has several versions that begin with {id}");
                    return Err(Error::other(Code::Usage, text));
                }
                _ if is_it => found = Some(record),
                _ => {}
            }
        }
        let text = || format!("{path} has no version {id}");
        found.ok_or_else(|| Error::other(Code::NoSuchFile, text()))
    }

    /// What lay in a folder and does not any more, the last ones first: at most [`DELETED_MAX`].
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`].
    pub fn deleted(&self, user: UserId, folder: &FolderPath) -> Result<Vec<DeletedName>> {
        self.read(|connection| {
            let (_, top) = users::still_there(connection, user)?;
            if tree::folder(connection, top, folder)?.is_none() {
                return Err(Error::NoSuchFolder(folder.clone()));
            }
            let mut deleted = Vec::new();
            let mut open = vec![folder.clone()];
            while let Some(folder) = open.pop() {
                for name in deleted_in(connection, user, top, &folder, &mut deleted)? {
                    open.push(folder.join(&name)?.as_folder());
                }
                if deleted.len() > 2 * DELETED_MAX {
                    keep_newest(&mut deleted);
                }
            }
            keep_newest(&mut deleted);
            Ok(deleted)
        })
    }
}

fn keep_newest(deleted: &mut Vec<DeletedName>) {
    deleted.sort_by(|a, b| b.gone.cmp(&a.gone).then_with(|| a.path.cmp(&b.path)));
    deleted.truncate(DELETED_MAX);
}

/// Adds what had a name in a folder and has none now; what was moved is elsewhere. Gives the names of the
/// folders in it.
///
/// Where the folder itself was another one before, what was in that one and is not in this one counts.
fn deleted_in(
    connection: &Connection,
    user: UserId,
    top: i64,
    path: &FolderPath,
    deleted: &mut Vec<DeletedName>,
) -> Result<Vec<String>> {
    let Some(now) = tree::folder(connection, top, path)? else { return Ok(Vec::new()) };
    let mut gone: HashMap<String, (Target, Moment)> = HashMap::new();
    for span in states(connection, user, top, path)?.iter().filter_map(span) {
        let mut names = past::names_once(connection, span.folder, DELETED_MAX)?;
        if span.until != Moment::MAX {
            names.extend(past::names_now(connection, span.folder, DELETED_MAX)?);
        }
        for name in names {
            let until = name.gone.min(span.until);
            let known = gone.get(&name.name).is_some_and(|(_, known)| *known >= until);
            if name.made < until && !known {
                gone.insert(name.name, (name.target, until));
            }
        }
    }
    for (name, (target, at)) in gone {
        if tree::child(connection, now, &name)?.is_some()
            || moved_to(connection, target, at)?.is_some()
        {
            continue;
        }
        let file = match target.version() {
            Some(version) => match record_of(connection, version)? {
                Some(record) => Some(record),
                None => continue,
            },
            None => None,
        };
        deleted.push(DeletedName { path: path.join(&name)?, file, gone: at });
    }
    let inner = "SELECT name FROM entries WHERE parent = ?1 AND version IS NULL";
    all(connection, inner, [now], |row| row.get(0))
}

/// The entry with the name that something got at this moment instead of an older one.
fn moved_to(connection: &Connection, target: Target, at: Moment) -> Result<Option<i64>> {
    match target {
        Target::File(version) => {
            let select = "SELECT id FROM entries WHERE version = ?1 AND made = ?2";
            first(connection, select, rusqlite::params![version.0, at.0], |row| row.get(0))
        }
        Target::Folder(folder) => {
            let select =
                "SELECT id FROM entries WHERE id = ?1 AND parent IS NOT NULL AND made = ?2";
            first(connection, select, [folder, at.0], |row| row.get(0))
        }
    }
}

fn with_by(connection: &Connection, version: VersionId) -> Result<Option<(FileRecord, String)>> {
    let Some(record) = record_of(connection, version)? else { return Ok(None) };
    let by = "SELECT stored_by FROM versions WHERE version = ?1";
    let by: Option<String> = first(connection, by, [version.0], |row| row.get(0))?;
    Ok(Some((record, by.unwrap_or_default())))
}

/// The snapshot that holds what a name was, if it has expired otherwise.
fn holder(connection: &Connection, was: &Binding, gone: Moment) -> Result<Option<String>> {
    let select = "SELECT snapshots.name FROM past JOIN snapshots ON snapshots.of = held
                  WHERE parent = ?1 AND past.name = ?2 AND gone = ?3";
    let values = rusqlite::params![was.parent, was.name, gone.0];
    first(connection, select, values, |row| row.get(0))
}

impl Draft<'_> {
    /// Brings back what a path was before its last change.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if it never was anything, as far as is known; [`Code::NotAllowed`] if it
    /// cannot be done so, and then the text says what can.
    pub fn undo(&mut self, user: UserId, path: &FilePath) -> Result<Undone> {
        let (name, top) = users::still_there(self.connection, user)?;
        let states = states(self.connection, user, top, &path.as_folder())?;
        let Some(last) = states.first() else { return Err(Error::NoSuchFile(path.clone())) };
        let place = Place { user: name, path: path.clone() };
        if last.until == Moment::MAX {
            self.undo_present(user, top, place, &last.binding, &states)
        } else {
            self.undo_gone(user, top, place, &last.binding, last.until)
        }
    }

    /// Since when a path is what it is now; `None` if it is nothing.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn made(&self, user: UserId, path: &FilePath) -> Result<Option<Moment>> {
        let (_, top) = users::still_there(self.connection, user)?;
        let Some(item) = tree::find(self.connection, top, path.as_str())? else { return Ok(None) };
        Ok(past::binding(self.connection, item.id)?.map(|binding| binding.made))
    }

    /// The path is something: it came there, or changed, at some moment.
    fn undo_present(
        &mut self,
        user: UserId,
        top: i64,
        place: Place,
        now: &Binding,
        states: &[State],
    ) -> Result<Undone> {
        let (connection, path) = (self.connection, &place.path.clone());
        let made = now.made;
        let before = states.iter().find(|state| state.from < made && made <= state.until);
        let before = before.map(|state| state.binding.target);
        let origin = past::came_from(connection, now.target, made)?;
        let is_other = |was: &Binding| (was.parent, &was.name) != (now.parent, &now.name);
        if let Some(origin) = origin.filter(is_other) {
            let Some(to) = live_path(connection, &origin)? else {
                return Err(refused(format!(
                    "the folder in which {path} was before it was moved is not there any more: move it \
                     elsewhere with mv"
                )));
            };
            if tree::find(connection, top, to.as_str())?.is_some() {
                return Err(refused(format!(
                    "{path} was moved here from {to}, and there is something else now: move it elsewhere \
                     with mv"
                )));
            }
            check_way_back(connection, now.target, path, &to)?;
            let (user, from) = (place.user.clone(), path.clone());
            self.record(Change::Moved { user, from, to: to.clone() })?;
            if let Some(Target::File(version)) = before {
                self.record(Change::Named { place, version })?;
            }
            return Ok(Undone::MovedBack { from: path.as_folder(), to: to.as_folder() });
        }
        match (now.target, before) {
            (Target::File(_), Some(Target::File(version))) => {
                let record = self.readable(path, version)?;
                self.record(Change::Named { place, version })?;
                Ok(Undone::Former(record))
            }
            (Target::File(_), None) => {
                self.record(Change::Deleted { place })?;
                Ok(Undone::Deleted)
            }
            (Target::Folder(_), Some(Target::Folder(_)))
                if tree::detached(connection, user, made)?.is_some() =>
            {
                self.attach(user, made, &path.as_folder()).map(Undone::FolderBack)
            }
            (Target::Folder(folder), None) if tree::came_whole(connection, folder, made)? => {
                self.record(Change::FolderRemoved { user: place.user, folder: path.as_folder() })?;
                Ok(Undone::Deleted)
            }
            _ => Err(refused(format!(
                "{path} is as it was made; \"undo {path} --at TIME\" brings back an earlier state of what is \
                 in it"
            ))),
        }
    }

    /// The path is nothing any more: it was deleted, removed or moved.
    fn undo_gone(
        &mut self,
        user: UserId,
        top: i64,
        place: Place,
        was: &Binding,
        gone: Moment,
    ) -> Result<Undone> {
        let (connection, path) = (self.connection, &place.path.clone());
        if let Some(entry) = moved_to(connection, was.target, gone)?
            && let Some(now) = past::binding(connection, entry)?
            && let Some(from) = live_path(connection, &now)?
        {
            check_way_back(connection, was.target, &from, path)?;
            let user = place.user;
            self.record(Change::FolderMade { user: user.clone(), folder: path.folder() })?;
            self.record(Change::Moved { user, from: from.clone(), to: path.clone() })?;
            return Ok(Undone::MovedBack { from: from.as_folder(), to: path.as_folder() });
        }
        if let Some(file) = tree::blocking_file(connection, top, &path.folder())? {
            let taken = format!("the file {file}");
            return Err(Error::NameCollision { what: path.to_string(), taken });
        }
        match was.target {
            Target::File(version) => {
                let record = self.readable(path, version)?;
                self.record(Change::Named { place, version })?;
                Ok(Undone::FileBack(record))
            }
            Target::Folder(folder) => {
                let key = "SELECT key FROM detached WHERE entry = ?1 AND doomed = 0";
                let key = first(connection, key, [folder], |row| Ok(Moment(row.get(0)?)))?;
                let key = key.filter(|key| *key == gone);
                let Some(key) = key else {
                    // It is in another folder that was removed.
                    return Err(refused(format!(
                        "{path} went with a folder above it: undo that one, or bring back what was in it \
                         with \"undo {path} --at TIME\""
                    )));
                };
                self.attach(user, key, &path.as_folder()).map(Undone::FolderBack)
            }
        }
    }

    /// A version that can be named again: one that is retired is about to be dropped.
    fn readable(&self, path: &FilePath, version: VersionId) -> Result<FileRecord> {
        let record = record_of(self.connection, version)?;
        let is_retired = crate::core::catalog::versions::is_retired(self.connection, version)?;
        let gone = || refused(format!("the former version of {path} is not kept any more"));
        record.filter(|_| !is_retired).ok_or_else(gone)
    }

    /// A file is a version that is current or kept elsewhere, or was its own.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such version; [`Error::NameCollision`].
    pub fn name_version(
        &mut self,
        user: UserId,
        path: &FilePath,
        version: VersionId,
    ) -> Result<bool> {
        let (name, top) = users::still_there(self.connection, user)?;
        let there = crate::core::catalog::files::there(self.connection, top, path)?;
        self.readable(path, version)?;
        if there == Some(version) {
            return Ok(false);
        }
        self.record(Change::Named { place: Place { user: name, path: path.clone() }, version })?;
        Ok(true)
    }

    /// Begins a folder that is in no other one. Gives its key.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn begin_folder(&mut self, user: UserId) -> Result<Moment> {
        let (name, _) = users::still_there(self.connection, user)?;
        self.record(Change::FolderBegun { user: name })?;
        Ok(self.moment())
    }

    /// Adds folders and files to a folder that is in no other one.
    ///
    /// # Errors
    /// If the catalog cannot be written, or one record does not take as many.
    pub fn fill_folder(
        &mut self,
        user: UserId,
        key: Moment,
        folders: Vec<FilePath>,
        files: Vec<(FilePath, VersionId)>,
    ) -> Result<()> {
        let (name, _) = users::still_there(self.connection, user)?;
        // What expired since it was looked up must not be left out in silence.
        for (path, version) in &files {
            self.readable(path, *version)?;
        }
        self.record(Change::FolderFilled { user: name, key, folders, files }).map(drop)
    }

    /// Puts a folder that is in no other one at a path, in place of what is there. Gives how many files
    /// are in it.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such folder any more; [`Error::NameCollision`].
    pub fn attach(&mut self, user: UserId, key: Moment, to: &FolderPath) -> Result<u64> {
        let (name, top) = users::still_there(self.connection, user)?;
        let gone = || Error::other(Code::NoSuchFile, "what was in it is not kept any more");
        let folder = tree::detached(self.connection, user, key)?.ok_or_else(gone)?;
        let (above, _) = to.split().unwrap_or((FolderPath::top(), ""));
        if let Some(file) = tree::blocking_file(self.connection, top, &above)? {
            let taken = format!("the file {file}");
            return Err(Error::NameCollision { what: to.to_string(), taken });
        }
        let (files, _) = tree::sum(self.connection, folder)?;
        self.record(Change::FolderAttached { user: name, key, to: to.clone() })?;
        Ok(u64::try_from(files).unwrap_or(0))
    }

    /// Lets go of all that a path was.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn forget_history(&mut self, user: UserId, path: &FilePath) -> Result<()> {
        let (name, _) = users::still_there(self.connection, user)?;
        self.record(Change::HistoryForgotten { user: name, path: path.clone() }).map(drop)
    }
}

/// The path of a name in a folder that is in the tree now.
fn live_path(connection: &Connection, at: &Binding) -> Result<Option<FilePath>> {
    if at.parent == past::NO_FOLDER {
        return Ok(None);
    }
    let folder = Places::new(connection).folder(at.parent)?.filter(|folder| folder.is_live);
    Ok(folder.map(|folder| folder.path.join(&at.name)).transpose()?)
}

/// May what was moved be moved back? A folder may have got the other place's folder into it meanwhile, or names
/// that are too long there.
fn check_way_back(
    connection: &Connection,
    target: Target,
    from: &FilePath,
    to: &FilePath,
) -> Result<()> {
    let Target::Folder(folder) = target else { return Ok(()) };
    if to.as_folder().is_within(&from.as_folder()) {
        return Err(Error::IntoItself(from.as_folder()));
    }
    moves::check_lengths(connection, folder, to).map(drop)
}

fn refused(text: String) -> Error {
    Error::other(Code::NotAllowed, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, path, v};
    use crate::core::wire::journal::SnapshotName;

    fn undo(f: &Fixture, at: &str) -> Result<Undone> {
        f.change(|draft| draft.undo(f.user, &path(at)))
    }

    fn now(f: &Fixture) -> Moment {
        f.catalog.end().unwrap().at
    }

    fn version_then(f: &Fixture, at: &str, then: Moment) -> Option<VersionId> {
        f.catalog.file_at(f.user, &path(at), then).ok().map(|record| record.version)
    }

    fn list_then(f: &Fixture, then: Moment) -> Vec<String> {
        let (top, all) = (FolderPath::top(), crate::core::catalog::Scope::All);
        let page = f.catalog.page_at(f.user, &top, all, Some(then), None, 99).unwrap();
        crate::core::catalog::fixture::shown(&page)
    }

    #[test]
    fn a_folder_is_not_moved_back_into_itself_nor_to_where_its_names_are_too_long() {
        let f = fixture();
        let relocate = |from: &str, to: &str| {
            f.change(|draft| draft.relocate(f.user, &path(from), &folder(to), false)).unwrap();
        };
        f.store("a/b/file", 1);
        relocate("a/b", "c");
        relocate("a", "c/a");
        assert!(matches!(undo(&f, "c"), Err(Error::IntoItself(_))));

        let long = vec!["n".repeat(240); 10].join("/");
        f.store(&format!("{long}/low/file"), 2);
        relocate(&format!("{long}/low"), "up");
        f.store(&format!("up/{long}/file"), 3);
        for asked in ["up".to_owned(), format!("{long}/low")] {
            assert!(matches!(undo(&f, &asked), Err(Error::BadPath(_))), "{asked}");
        }
        assert_eq!(f.version_at("up/file"), Some(v(2)));
    }

    #[test]
    fn undoing_goes_back_and_forth() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("x/a", 2);
        for expected in [1, 2, 1] {
            assert!(matches!(undo(&f, "x/a").unwrap(), Undone::Former(_)));
            assert_eq!(f.version_at("x/a"), Some(v(expected)));
        }
        f.change(|draft| draft.delete(f.user, &path("x/a"))).unwrap();
        assert!(matches!(undo(&f, "x/a").unwrap(), Undone::FileBack(_)));
        assert_eq!(f.version_at("x/a"), Some(v(1)));
        assert_eq!(undo(&f, "x/a").unwrap(), Undone::Deleted, "it was not there before");
        assert_eq!(f.version_at("x/a"), None);
        f.store("new", 3);
        assert_eq!(undo(&f, "new").unwrap(), Undone::Deleted);
        assert!(matches!(undo(&f, "new").unwrap(), Undone::FileBack(_)));
        assert_eq!(undo(&f, "never").unwrap_err().code(), Code::NoSuchFile);
    }

    #[test]
    fn a_removed_folder_comes_back_with_all_that_was_in_it() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("x/y/b", 2);
        let before = f.list();
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        let kept = f.catalog.versions_after(None, 9).unwrap();
        assert!(kept.iter().all(|held| !f.catalog.is_retired(held.version).unwrap()));
        // A single file of it, while the folder is away.
        assert!(matches!(undo(&f, "x/a").unwrap(), Undone::FileBack(_)));
        assert_eq!(f.list(), ["x/", "x/a"]);
        let refused = undo(&f, "x/y").unwrap_err();
        assert!(refused.to_string().contains("undo x/y --at"), "{refused}");
        // The folder that was made for it gives way, and can be had back in its turn.
        let there = f.catalog.path_states(f.user, &path("x")).unwrap();
        assert_eq!(there.len(), 2);
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        assert!(matches!(undo(&f, "x").unwrap(), Undone::FolderBack(1)));
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        let first = there[1].until.unwrap();
        f.change(|draft| draft.attach(f.user, first, &folder("x"))).unwrap();
        assert_eq!(f.list(), before);
        assert_eq!([f.version_at("x/a"), f.version_at("x/y/b")], [Some(v(1)), Some(v(2))]);
    }

    #[test]
    fn what_was_moved_moves_back_from_either_side() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("b", 2);
        let relocate = |from: &str, to: &str| {
            f.change(|draft| draft.relocate(f.user, &path(from), &folder(to), true)).unwrap();
        };
        for side in ["b", "x/a"] {
            relocate("x/a", "b");
            assert_eq!([f.version_at("x/a"), f.version_at("b")], [None, Some(v(1))]);
            assert!(matches!(undo(&f, side).unwrap(), Undone::MovedBack { .. }));
            assert_eq!(f.version_at("x/a"), Some(v(1)));
        }
        // From the old side the file that was replaced is another matter.
        assert_eq!(f.version_at("b"), None);
        assert!(matches!(undo(&f, "b").unwrap(), Undone::MovedBack { .. }));
        relocate("x", "z");
        for side in ["z", "x"] {
            assert!(matches!(undo(&f, side).unwrap(), Undone::MovedBack { .. }));
            relocate("x", "z");
        }
        f.store("x/other", 3);
        let refused = undo(&f, "z").unwrap_err();
        assert_eq!(refused.code(), Code::NotAllowed, "{refused}");
    }

    #[test]
    fn every_state_can_be_seen_until_it_has_expired() {
        let f = fixture();
        f.store("x/a", 1);
        let one = now(&f);
        f.store("x/a", 2);
        f.store("x/b", 3);
        let two = now(&f);
        f.change(|draft| draft.relocate(f.user, &path("x"), &folder("z"), false)).unwrap();
        f.change(|draft| draft.delete(f.user, &path("z/a"))).unwrap();
        let three = now(&f);
        f.change(|draft| draft.remove_folder(f.user, &folder("z"), true)).unwrap();
        assert_eq!(list_then(&f, one), ["x/", "x/a"]);
        assert_eq!(list_then(&f, two), ["x/", "x/a", "x/b"]);
        assert_eq!(list_then(&f, three), ["z/", "z/b"]);
        assert_eq!((list_then(&f, now(&f)), f.list().len()), (vec![], 0));
        assert_eq!(version_then(&f, "x/a", one), Some(v(1)));
        assert_eq!(version_then(&f, "x/a", two), Some(v(2)));
        assert_eq!(version_then(&f, "x/a", three), None);
        assert_eq!(version_then(&f, "z/b", three), Some(v(3)));
        assert_eq!(list_then(&f, Moment(0)), Vec::<String>::new());
        f.change(|draft| draft.expire(f.user, one, None)).unwrap();
        assert_eq!(list_then(&f, one), ["x/", "x/a"], "it went later");
        f.expire();
        assert_eq!(list_then(&f, two), Vec::<String>::new());
    }

    #[test]
    fn a_snapshot_holds_what_was_there_until_it_is_removed() {
        let f = fixture();
        let name = |text: &str| SnapshotName::parse(text).unwrap();
        f.store("x/a", 1);
        f.store("x/b", 2);
        f.change(|draft| draft.make_snapshot(&name("one"), None)).unwrap();
        let again = f.change(|draft| draft.make_snapshot(&name("one"), None)).unwrap_err();
        assert_eq!(again.code(), Code::Exists);
        let one = f.catalog.moment_of("one").unwrap();
        f.store("x/a", 3);
        f.change(|draft| draft.make_snapshot(&name("two"), None)).unwrap();
        f.store("x/a", 4);
        f.store("x/a", 5);
        // Moved out of a folder that then goes: each has names of its own.
        f.change(|draft| draft.relocate(f.user, &path("x/b"), &folder("c"), false)).unwrap();
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        f.expire();
        f.catalog.sweep_doomed().unwrap();
        assert_eq!(f.catalog.retired(9).unwrap(), [v(4)]);
        assert_eq!(list_then(&f, one), ["x/", "x/a", "x/b"]);
        let states = f.catalog.path_states(f.user, &path("x/a")).unwrap();
        assert_eq!(states.len(), 3);
        assert_eq!(states[1].held_by.as_deref(), Some("two"));
        f.change(|draft| draft.remove_snapshot(&name("one"))).unwrap();
        while f.change(|draft| draft.release_snapshot()).unwrap() {}
        assert_eq!(f.catalog.retired(9).unwrap(), [v(1), v(4)]);
        f.change(|draft| draft.remove_snapshot(&name("two"))).unwrap();
        while f.change(|draft| draft.release_snapshot()).unwrap() {}
        f.expire();
        let mut retired = f.catalog.retired(9).unwrap();
        retired.sort();
        assert_eq!(retired, [v(1), v(3), v(4), v(5)]);
        f.change(|draft| draft.drop_versions(&retired)).unwrap();
        f.catalog.sweep_doomed().unwrap();
        assert_eq!(
            (f.list(), f.catalog.versions_after(None, 9).unwrap().len()),
            (vec!["c".to_owned()], 1)
        );
        assert!(f.catalog.snapshots().unwrap().is_empty());
    }

    #[test]
    fn a_snapshot_has_the_former_version_where_its_successor_had_never_been() {
        let f = fixture();
        let snapshot = SnapshotName::parse("s").unwrap();
        f.store("a", 1);
        f.store("a", 2);
        f.change(|draft| draft.mark_uncertain(&[v(2)])).unwrap();
        f.expire();
        f.change(|draft| draft.make_snapshot(&snapshot, None)).unwrap();
        f.store("a", 3);
        f.change(|draft| draft.revert(v(2))).unwrap();
        f.expire();
        assert_eq!(version_then(&f, "a", f.catalog.moment_of("s").unwrap()), Some(v(1)));
        assert_eq!(f.catalog.retired(9).unwrap(), [v(2)]);
        f.change(|draft| draft.remove_snapshot(&snapshot)).unwrap();
        while f.change(|draft| draft.release_snapshot()).unwrap() {}
        assert_eq!(f.catalog.retired(9).unwrap(), [v(1), v(2)]);
    }

    #[test]
    fn what_was_deleted_is_listed_until_it_is_back() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("x/y/b", 2);
        f.store("c", 3);
        f.change(|draft| draft.delete(f.user, &path("x/y/b"))).unwrap();
        f.change(|draft| draft.relocate(f.user, &path("c"), &folder("d"), false)).unwrap();
        f.change(|draft| draft.delete(f.user, &path("x/a"))).unwrap();
        let deleted = |at: &str| {
            let deleted = f.catalog.deleted(f.user, &folder(at)).unwrap();
            deleted.into_iter().map(|own| own.path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(deleted(""), ["x/a", "x/y/b"], "the newest first; what was moved is elsewhere");
        assert_eq!(deleted("x/y"), ["x/y/b"]);
        undo(&f, "x/a").unwrap();
        assert_eq!(deleted("x"), ["x/y/b"]);
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        assert_eq!(deleted(""), ["x"]);
        // Where it is another folder now, what was in the one before is missing in it.
        f.store("x/new", 4);
        assert_eq!(deleted("x"), ["x/a", "x/y"]);
        f.change(|draft| draft.forget_history(f.user, &path("x/a"))).unwrap();
        assert_eq!(
            f.catalog.deleted(f.user, &folder("none")).unwrap_err().code(),
            Code::NoSuchFolder
        );
    }

    #[test]
    fn a_version_is_found_by_the_beginning_of_its_id() {
        let f = fixture();
        f.store("a", 0x1a);
        f.store("a", 0x1b);
        let found = |id: &str| f.catalog.file_version(f.user, &path("a"), id);
        assert_eq!(found("1a1a").unwrap().version, v(0x1a));
        assert_eq!(found("1").unwrap_err().code(), Code::Usage, "there are two");
        assert_eq!(found("1c").unwrap_err().code(), Code::NoSuchFile);
        f.store("b", 0x1c);
        assert_eq!(found("1c").unwrap_err().code(), Code::NoSuchFile, "it is another file's");
    }
}
