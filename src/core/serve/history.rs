//! What was, and bringing it back: versions, earlier states, undo.
//!
//! A whole folder is made what it was in three steps: a folder that is in no other one is begun, filled
//! with the versions of then, and put in place of the one that is there. So it is one change for everybody
//! else, however much is in it, and the folder that was there can be had back in the same way.

use crate::core::catalog::{DeletedName, FileRecord, Filled, PathState, Scope, Undone};
use crate::core::cluster::retention::Keep;
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

/// What a folder is to be: the files and folders of then, and how that differs from now.
#[derive(Default)]
struct Plan {
    told: Reverted,
    differences: Vec<Difference>,
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

    /// The version of a file that is meant.
    pub(super) fn record(&self, user: &User, path: &FilePath, which: &Which) -> Result<FileRecord> {
        let (catalog, id) = (&self.cluster.catalog, user.account.id);
        match which {
            Which::Current => catalog.file(id, path),
            Which::At(when) => catalog.file_at(id, path, self.moment(when)?),
            Which::Version(digits) => catalog.file_version(id, path, digits),
        }
    }

    /// What a path is and was, the newest first.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if it never was anything, as far as is known; [`Error::NotReady`].
    pub fn versions(&self, user: &User, path: &FilePath) -> Result<Vec<PathVersion>> {
        self.may_read()?;
        let states = self.cluster.catalog.path_states(user.account.id, path)?;
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
        let deleted = self.cluster.catalog.deleted(user.account.id, folder)?;
        let told = |DeletedName { path, file, gone }| DeletedEntry {
            path,
            bytes: file.map(|file| file.bytes),
            gone,
        };
        Ok(deleted.into_iter().map(told).collect())
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
        self.may_change()?;
        let (id, path) = (user.account.id, path.clone());
        let over = self.cluster.retention.over(self.cluster.catalog.now_us());
        let undone = self.change(move |draft| {
            let made = draft.made(id, &path)?;
            let undone = draft.undo(id, &path)?;
            // What was before would not be known any more, and what is there now could not be had back.
            if undone == Undone::Deleted && made.is_some_and(|made| Some(made) <= over) {
                let text = format!(
                    "the last change of {path} was so long ago that what was before it is not kept any more"
                );
                return Err(Error::other(Code::NotAllowed, text));
            }
            Ok(undone)
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
        self.may_change()?;
        let (id, path) = (user.account.id, path.clone());
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
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        let (id, path) = (user.account.id, path.clone());
        let named = self.change(move |draft| draft.name_version(id, &path, version))?;
        self.cluster.notifier.notify();
        Ok(named)
    }

    /// Makes a file, a folder or everything that a user has what it was at a time, by one change. With
    /// `dry_run` it only says what would change.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if there was nothing of this path then; [`Error::NameCollision`]; those of any
    /// change.
    pub fn revert(
        &self,
        user: &User,
        path: &FolderPath,
        when: &When,
        dry_run: bool,
    ) -> Result<(Reverted, Vec<Difference>)> {
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
                return Err(Error::NoSuchFile(file));
            }
        }
        let Plan { mut told, differences } = self.compare(user, path, at)?;
        if dry_run || differences.is_empty() {
            return Ok((told, differences));
        }
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        let id = user.account.id;
        let begun =
            self.cluster.retention.begin(|| self.change(move |draft| draft.begin_folder(id)))?;
        self.fill(user, begun.key(), path, Some(at))?;
        let (key, to) = (begun.key(), path.clone());
        let before = self.change(move |draft| {
            let before = draft.moment();
            draft.attach(id, key, &to)?;
            Ok(before)
        })?;
        self.cluster.notifier.notify();
        told.before = Some(before);
        Ok((told, differences))
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
            self.name_version(user, &path, record.version)?;
            told.before = Some(before);
        }
        Ok((told, vec![Difference { what, path }]))
    }

    /// Compares what is below a folder with what was, both sorted by path.
    fn compare(&self, user: &User, path: &FolderPath, at: Moment) -> Result<Plan> {
        let mut then = FilePages::new(self, user, path, Some(at));
        let mut now = FilePages::new(self, user, path, None);
        let mut plan = Plan::default();
        let (mut old, mut new) = (then.next()?, now.next()?);
        loop {
            let order = match (&old, &new) {
                (None, None) => return Ok(plan),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.as_str().cmp(new.as_str()),
            };
            let (what, path) = match order {
                std::cmp::Ordering::Less => {
                    plan.told.back += 1;
                    ('+', std::mem::replace(&mut old, then.next()?))
                }
                std::cmp::Ordering::Greater => {
                    plan.told.gone += 1;
                    ('-', std::mem::replace(&mut new, now.next()?))
                }
                std::cmp::Ordering::Equal => {
                    let before = std::mem::replace(&mut old, then.next()?);
                    let after = std::mem::replace(&mut new, now.next()?);
                    if before == after {
                        plan.told.same += 1;
                        continue;
                    }
                    plan.told.changed += 1;
                    ('~', after)
                }
            };
            if let Some((path, _)) = path.filter(|_| plan.differences.len() < DIFFERENCES_MAX) {
                plan.differences.push(Difference { what, path });
            }
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

/// The files below a folder, page by page.
struct FilePages<'a> {
    files: &'a Files,
    user: &'a User,
    below: &'a FolderPath,
    at: Option<Moment>,
    after: Option<Entry>,
    page: std::vec::IntoIter<Entry>,
}

impl<'a> FilePages<'a> {
    fn new(files: &'a Files, user: &'a User, below: &'a FolderPath, at: Option<Moment>) -> Self {
        FilePages { files, user, below, at, after: None, page: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Result<Option<(FilePath, VersionId)>> {
        loop {
            match self.page.next() {
                Some(Entry::File(file)) => return Ok(Some((file.path, file.version))),
                Some(Entry::Folder(_)) => continue,
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
