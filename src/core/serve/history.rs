//! What was, and bringing it back: versions, earlier states, undo.
//!
//! A whole folder is made what it was in three steps: a folder that is in no other one is begun, filled
//! with the versions of then, and put in place of the one that is there. So it is one change for everybody
//! else, however much is in it, and the folder that was there can be had back in the same way.

use jiff::Timestamp;

use crate::core::catalog::{DeletedName, FileRecord, Filled, PathState, Scope, Undone};
use crate::core::cluster::retention::{Begun, Keep};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::files::{Files, User};
use crate::core::types::{Moment, VersionId};
use crate::core::wire::extended::history::{
    DeletedEntry, Difference, Outcome, PathVersion, Reverted, UsageTold, VersionFacts,
};
use crate::core::wire::extended::{Entry, When, Which};

/// So many entries are compared at a time.
const PAGE_ENTRIES: usize = 500;

/// So many differences are told at most; all are counted.
const DIFFERENCES_MAX: usize = 10_000;

fn kept_since(since: Moment) -> String {
    let time = Timestamp::from_second(since.0.div_euclid(1_000_000)).unwrap_or_default();
    format!("what was replaced, deleted or moved before {time} may have been let go of")
}

/// What a folder is to be: the files and folders of then, and how that differs from now.
#[derive(Default)]
struct Plan {
    told: Reverted,
    /// Of files, which alone are told.
    differences: Vec<Difference>,
    /// Is it the same now, folders included?
    is_same: bool,
}

impl Files {
    /// The moment that a client names.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such snapshot.
    pub fn moment(&self, when: &When) -> Result<Moment> {
        match when {
            When::At(moment) => Ok(*moment),
            When::Snapshot(name) => self.cluster.catalog.moment_of(name.as_str()),
        }
    }

    /// The moment that a client names, if all is known that an account had then.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such snapshot, or some of it is no longer kept.
    pub fn whole_moment(&self, user: &User, when: &When) -> Result<Moment> {
        let at = self.moment(when)?;
        let catalog = &self.cluster.catalog;
        let since = catalog.kept_since(user.account.id)?;
        if at >= since || catalog.snapshots()?.iter().any(|snapshot| snapshot.of == at) {
            return Ok(at);
        }
        let text = format!("some of what was there then is no longer kept; {}", kept_since(since));
        Err(Error::other(Code::NoSuchFile, text))
    }

    /// That there was no such file or folder at a moment, said so.
    pub(super) fn not_then(&self, user: &User, at: Moment, error: Error) -> Error {
        let path = match error {
            Error::NoSuchFile(path) => path.to_string(),
            Error::NoSuchFolder(folder) => folder.to_string(),
            other => return other,
        };
        let since = match self.cluster.catalog.kept_since(user.account.id) {
            Ok(since) => since,
            Err(error) => return error,
        };
        let text = match at < since {
            true => format!("no {path} of then is known; {}", kept_since(since)),
            false => format!("there was no {path} at that time"),
        };
        Error::other(Code::NoSuchFile, text)
    }

    /// The version of a file that is meant.
    pub(super) fn record(&self, user: &User, path: &FilePath, which: &Which) -> Result<FileRecord> {
        let (catalog, id) = (&self.cluster.catalog, user.account.id);
        match which {
            Which::Current => catalog.file(id, path),
            Which::At(when) => {
                let at = self.moment(when)?;
                catalog.file_at(id, path, at).map_err(|error| self.not_then(user, at, error))
            }
            Which::Version(digits) => catalog.file_version(id, path, digits),
        }
    }

    /// What a path is and was, the newest first.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if it never was anything, as far as is known; [`Error::NotReady`].
    pub fn versions(&self, user: &User, path: &FilePath) -> Result<Vec<PathVersion>> {
        self.may_read()?;
        let states = self.cluster.catalog.path_states(user.sees(&path.as_folder())?, path)?;
        Ok(states.into_iter().map(|state| self.told(state)).collect())
    }

    fn told(&self, state: PathState) -> PathVersion {
        let PathState { file, from, until, held_by } = state;
        let expires_ms = match (until, self.cluster.retention.kept_for()) {
            (Some(until), Keep::For(time)) if held_by.is_none() => {
                let kept_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
                Some(until.ms().saturating_add(kept_ms))
            }
            _ => None,
        };
        let file = file.map(|(record, by)| VersionFacts {
            version: record.version,
            bytes: record.bytes,
            blake3: record.blake3,
            stored_ms: record.stored_ms,
            by,
        });
        PathVersion { file, from, until, expires_ms, held_by }
    }

    /// What was below a folder and is not any more, the newest first.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`]; [`Error::NotReady`].
    pub fn deleted(&self, user: &User, folder: &FolderPath) -> Result<Vec<DeletedEntry>> {
        self.may_read()?;
        let deleted = self.cluster.catalog.deleted(user.sees(folder)?, folder)?;
        let told = |DeletedName { path, file, gone }| DeletedEntry {
            path,
            bytes: file.map(|file| file.bytes),
            gone,
        };
        Ok(deleted.into_iter().map(told).collect())
    }

    /// Can what is deleted or replaced now be had back?
    pub fn keeps_what_was(&self) -> bool {
        self.cluster.retention.kept_for() != Keep::Nothing
    }

    /// How much an account has stored, and what is kept of it.
    ///
    /// # Errors
    /// [`Error::NotReady`].
    pub fn usage(&self, user: &User) -> Result<UsageTold> {
        self.may_read()?;
        let (quota, usage) = self.cluster.catalog.quota_and_usage(user.account.id)?;
        Ok(UsageTold {
            files: usage.files,
            bytes: usage.bytes,
            kept_bytes: usage.kept_bytes(),
            quota_bytes: self.usage.limit(quota),
        })
    }

    /// Brings back what a path was before its last change.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if it never was anything, as far as is known; [`Code::NotAllowed`] if
    /// it cannot be done so, and then the text says what can; those of any change.
    pub fn undo(&self, user: &User, path: &FilePath) -> Result<Outcome> {
        let (id, path) = (user.changes_file(path)?, path.clone());
        self.may_change()?;
        let rights = user.rights().clone();
        let over = self.cluster.retention.over(self.cluster.catalog.now_us());
        let undone = self.change(move |draft| {
            let made = draft.made(id, &path)?;
            let undone = draft.undo(id, &path)?;
            // What was before would not be known any more, and what is there now could not be had back.
            let over = over.max(Some(draft.kept_since(id)?));
            if undone == Undone::Deleted && made.is_some_and(|made| Some(made) <= over) {
                let text = format!(
                    "the last change of {path} was so long ago that what was before it is not kept any more"
                );
                return Err(Error::other(Code::NotAllowed, text));
            }
            match &undone {
                Undone::MovedBack { to, .. } if !rights.reach(to) => {
                    let text = format!("{path} came from where this key does not reach");
                    Err(Error::other(Code::NotAllowed, text))
                }
                _ => Ok(undone),
            }
        })?;
        self.cluster.notifier.notify();
        Ok(match undone {
            Undone::Former(record) => Outcome::Former(record.version),
            Undone::FileBack(record) => Outcome::FileBack(record.version),
            Undone::FolderBack(files) => Outcome::FolderBack(files),
            Undone::MovedBack { from, to } => Outcome::MovedBack { from, to },
            Undone::Deleted => Outcome::Deleted,
        })
    }

    /// Lets go of all that a path was before, but for what a snapshot has.
    ///
    /// # Errors
    /// Those of any change.
    pub fn forget(&self, user: &User, path: &FilePath) -> Result<()> {
        let (id, path) = (user.changes_file(path)?, path.clone());
        self.may_change()?;
        self.change(move |draft| draft.forget_history(id, &path))?;
        self.cluster.notifier.notify();
        Ok(())
    }

    /// Gives a file a version that is another file's, or was: no byte travels. False if it is that
    /// already.
    ///
    /// # Errors
    /// [`Error::NameCollision`]; the version is not kept any more; those of any change.
    pub fn name_version(&self, user: &User, path: &FilePath, version: VersionId) -> Result<bool> {
        // The version may be of a file anywhere.
        user.check_owner()?;
        self.name(user, path, version)
    }

    fn name(&self, user: &User, path: &FilePath, version: VersionId) -> Result<bool> {
        let (id, path) = (user.changes_file(path)?, path.clone());
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        let named = self.change(move |draft| draft.name_version(id, &path, version))?;
        self.cluster.notifier.notify();
        Ok(named)
    }

    /// Makes a file, a folder or everything that a user has what it was at a time, by one change. With
    /// `dry_run` it only says what would change.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there was nothing of this path then, or some of it is no longer kept;
    /// [`Error::NameCollision`]; those of any change.
    pub fn revert(
        &self,
        user: &User,
        path: &FolderPath,
        when: &When,
        dry_run: bool,
    ) -> Result<(Reverted, Vec<Difference>)> {
        match dry_run {
            true => user.sees(path)?,
            false => user.reaches_into(path)?,
        };
        self.may_read()?;
        let at = self.moment(when)?;
        if let Some((above, name)) = path.split() {
            let file = above.join(name)?;
            match self.cluster.catalog.file_at(user.account.id, &file, at) {
                Ok(record) => return self.revert_file(user, file, &record, dry_run),
                Err(Error::NoSuchFile(_)) => {}
                Err(error) => return Err(error),
            }
            if !self.cluster.catalog.was_folder(user.account.id, path, at)? {
                return Err(self.not_then(user, at, Error::NoSuchFile(file)));
            }
        }
        let at = self.whole_moment(user, when)?;
        let Plan { mut told, differences, is_same } = self.compare(user, path, at)?;
        if dry_run || is_same {
            return Ok((told, differences));
        }
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        let then = self.begin_then(user, path, at)?;
        told.before = Some(self.put_in_place(user, then, path)?);
        Ok((told, differences))
    }

    /// Begins a folder that is in no other one, and fills it with what was below a path. It and
    /// [`Files::put_in_place`] are steps of [`Files::revert`], apart for simulations in which others come in
    /// between.
    ///
    /// # Errors
    /// Those of any change.
    pub fn begin_then(&self, user: &User, path: &FolderPath, at: Moment) -> Result<Begun<'_>> {
        let id = user.reaches_into(path)?;
        let begun =
            self.cluster.retention.begin(|| self.change(move |draft| draft.begin_folder(id)))?;
        self.fill(user, begun.key(), path, Some(at))?;
        Ok(begun)
    }

    /// Puts a folder that was begun in place of what is at a path, whatever that has become meanwhile. Gives
    /// the last moment before that.
    ///
    /// # Errors
    /// [`Error::NameCollision`]; those of any change.
    pub fn put_in_place(&self, user: &User, then: Begun<'_>, path: &FolderPath) -> Result<Moment> {
        let (id, key, to) = (user.reaches_into(path)?, then.key(), path.clone());
        let before = self.change(move |draft| {
            let before = draft.moment();
            draft.attach(id, key, &to)?;
            Ok(before)
        })?;
        self.cluster.notifier.notify();
        Ok(before)
    }

    fn revert_file(
        &self,
        user: &User,
        path: FilePath,
        record: &FileRecord,
        dry_run: bool,
    ) -> Result<(Reverted, Vec<Difference>)> {
        let mut told = Reverted::default();
        let what = match self.cluster.catalog.file(user.account.id, &path) {
            Ok(now) if now.version == record.version => {
                told.same = 1;
                return Ok((told, Vec::new()));
            }
            Ok(_) => '~',
            Err(Error::NoSuchFile(_) | Error::NoSuchFolder(_)) => '+',
            Err(error) => return Err(error),
        };
        (told.back, told.changed) = (u64::from(what == '+'), u64::from(what == '~'));
        if !dry_run {
            let before = self.cluster.catalog.end()?.at;
            self.name(user, &path, record.version)?;
            told.before = Some(before);
        }
        Ok((told, vec![Difference { what, path }]))
    }

    /// Compares what is below a folder with what was, both sorted by path.
    fn compare(&self, user: &User, path: &FolderPath, at: Moment) -> Result<Plan> {
        let mut then = Pages::new(self, user, path, Some(at));
        let mut now = Pages::new(self, user, path, None);
        let is_there = match self.cluster.catalog.look(user.account.id, path) {
            Ok(there) => matches!(there, Entry::Folder(_)),
            Err(Error::NoSuchFile(_) | Error::NoSuchFolder(_)) => false,
            Err(error) => return Err(error),
        };
        let mut plan = Plan { is_same: is_there, ..Plan::default() };
        let (mut old, mut new) = (then.next()?, now.next()?);
        loop {
            let (is_old, is_new) = match (&old, &new) {
                (None, None) => return Ok(plan),
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some(old), Some(new)) => (old.0 <= new.0, new.0 <= old.0),
            };
            let was = if is_old { std::mem::replace(&mut old, then.next()?) } else { None };
            let is = if is_new { std::mem::replace(&mut new, now.next()?) } else { None };
            plan.add(was, is);
        }
    }

    /// Fills a folder that was begun with what is below a path, or was at a moment. Gives the bytes of all
    /// files.
    pub(super) fn fill(
        &self,
        user: &User,
        key: Moment,
        path: &FolderPath,
        at: Option<Moment>,
    ) -> Result<u64> {
        let id = user.account.id;
        let (mut after, mut bytes) = (None, 0_u64);
        loop {
            let path = path.clone();
            let Filled { last, bytes: more } =
                self.change(move |draft| draft.fill_from(id, key, &path, at, after.as_ref()))?;
            bytes = bytes.saturating_add(more);
            if last.is_none() {
                return Ok(bytes);
            }
            after = last;
        }
    }
}

/// The path of a file or folder, and the file's version.
type Known = (FilePath, Option<VersionId>);

impl Plan {
    /// Adds what a path was and is.
    fn add(&mut self, was: Option<Known>, is: Option<Known>) {
        self.is_same &= was == is;
        let version = |known: &Option<Known>| known.as_ref().and_then(|(_, version)| *version);
        let (what, count) = match (version(&was), version(&is)) {
            (None, None) => return,
            (Some(was), Some(is)) if was == is => {
                self.told.same += 1;
                return;
            }
            (Some(_), None) => ('+', &mut self.told.back),
            (None, Some(_)) => ('-', &mut self.told.gone),
            (Some(_), Some(_)) => ('~', &mut self.told.changed),
        };
        *count += 1;
        if let Some((path, _)) = is.or(was).filter(|_| self.differences.len() < DIFFERENCES_MAX) {
            self.differences.push(Difference { what, path });
        }
    }
}

/// What is below a folder, page by page.
struct Pages<'a> {
    files: &'a Files,
    user: &'a User,
    below: &'a FolderPath,
    at: Option<Moment>,
    after: Option<Entry>,
    page: std::vec::IntoIter<Entry>,
}

impl<'a> Pages<'a> {
    fn new(files: &'a Files, user: &'a User, below: &'a FolderPath, at: Option<Moment>) -> Self {
        Pages { files, user, below, at, after: None, page: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Result<Option<Known>> {
        loop {
            match self.page.next() {
                Some(Entry::File(file)) => return Ok(Some((file.path, Some(file.version)))),
                Some(Entry::Folder(folder)) => {
                    return Ok(Some((FilePath::parse_rooted(folder.as_str())?, None)));
                }
                None => {}
            }
            let page = self.files.cluster.catalog.page_at(
                self.user.account.id,
                self.below,
                Scope::All,
                self.at,
                self.after.as_ref(),
                PAGE_ENTRIES,
            )?;
            if page.is_empty() {
                return Ok(None);
            }
            self.after = page.last().cloned();
            self.page = page.into_iter();
        }
    }
}
