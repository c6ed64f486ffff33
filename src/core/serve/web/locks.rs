//! Locks of WebDAV. They keep programs that ask for them apart, and nobody else: they are in memory, and
//! gone after the time that they were taken for, at most an hour, or when the server ends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::catalog::UserId;
use crate::core::error::{Code, Error, Result};
use crate::core::path::FolderPath;
use crate::core::wire::web::dav::LockWanted;

/// How long a lock lasts if its program does not say.
pub(super) const USUAL: Duration = Duration::from_secs(10 * 60);

/// The longest that one lasts without being asked for again.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// The most locks of one account, and of all.
const ACCOUNT_LOCKS_MAX: usize = 200;
const LOCKS_MAX: usize = 10_000;

/// What a program may say of who it is, in bytes.
const OWNER_BYTES_MAX: usize = 1024;

/// A lock.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    /// What stands for it.
    pub(super) token: String,
    /// What is locked.
    pub(super) path: FolderPath,
    /// And all that is in it?
    pub(super) is_deep: bool,
    /// As it was asked for.
    pub(super) wanted: LockWanted,
    /// Until when.
    pub(super) until: Instant,
}

impl Lock {
    fn covers(&self, path: &FolderPath) -> bool {
        self.path == *path || self.is_deep && is_below(path, &self.path)
    }
}

/// Is this path in that folder?
fn is_below(path: &FolderPath, folder: &FolderPath) -> bool {
    let rest = path.as_str().strip_prefix(folder.as_str());
    path != folder && (folder.is_top() || rest.is_some_and(|rest| rest.starts_with('/')))
}

/// The locks of all accounts.
#[derive(Default)]
pub(super) struct Locks(Mutex<HashMap<UserId, Vec<Lock>>>);

impl Locks {
    fn with<T>(&self, user: UserId, act: impl FnOnce(&mut Vec<Lock>) -> T) -> T {
        let mut all = self.0.lock();
        let now = Instant::now();
        let locks = all.entry(user).or_default();
        locks.retain(|lock| now < lock.until);
        let done = act(locks);
        if locks.is_empty() {
            all.remove(&user);
        }
        done
    }

    /// Takes a lock. False if another one is in the way.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] if its program says too much; [`Code::Temporary`] if there are too many.
    pub(super) fn take(&self, user: UserId, lock: Lock) -> Result<bool> {
        if lock.wanted.owner.len() > OWNER_BYTES_MAX {
            let text = format!("the owner of a lock has at most {OWNER_BYTES_MAX} bytes");
            return Err(Error::other(Code::NotAllowed, text));
        }
        let now = Instant::now();
        let count: usize = {
            let mut all = self.0.lock();
            if all.values().map(Vec::len).sum::<usize>() >= LOCKS_MAX {
                all.values_mut().for_each(|locks| locks.retain(|lock| now < lock.until));
            }
            all.values().map(Vec::len).sum()
        };
        self.with(user, |locks| {
            let is_in_the_way = |other: &Lock| {
                let meet =
                    other.covers(&lock.path) || lock.is_deep && is_below(&other.path, &lock.path);
                meet && (other.wanted.is_exclusive || lock.wanted.is_exclusive)
            };
            if locks.iter().any(is_in_the_way) {
                return Ok(false);
            }
            if locks.len() >= ACCOUNT_LOCKS_MAX || count >= LOCKS_MAX {
                return Err(Error::other(Code::Temporary, "there are too many locks"));
            }
            locks.push(lock);
            Ok(true)
        })
    }

    /// Goes on with the lock on a path of which one of these tokens is.
    pub(super) fn refresh(
        &self,
        user: UserId,
        path: &FolderPath,
        tokens: &[String],
        until: Instant,
    ) -> Option<Lock> {
        self.with(user, |locks| {
            let is_meant = |lock: &&mut Lock| lock.covers(path) && tokens.contains(&lock.token);
            let lock = locks.iter_mut().find(is_meant)?;
            lock.until = until;
            Some(lock.clone())
        })
    }

    /// Gives back the lock on a path with this token; false if there is none.
    pub(super) fn release(&self, user: UserId, path: &FolderPath, token: &str) -> bool {
        self.with(user, |locks| {
            let before = locks.len();
            locks.retain(|lock| !(lock.covers(path) && lock.token == token));
            locks.len() < before
        })
    }

    /// The locks that hold for a path.
    pub(super) fn covering(&self, user: UserId, path: &FolderPath) -> Vec<Lock> {
        self.with(user, |locks| locks.iter().filter(|lock| lock.covers(path)).cloned().collect())
    }

    /// May whoever has these tokens change what is at a path, or with `is_deep` all that is in it? Else what
    /// is locked.
    pub(super) fn guard(
        &self,
        user: UserId,
        path: &FolderPath,
        is_deep: bool,
        tokens: &[String],
    ) -> std::result::Result<(), FolderPath> {
        self.with(user, |locks| {
            let is_known = |locks: &[&Lock]| locks.iter().any(|lock| tokens.contains(&lock.token));
            let own: Vec<&Lock> = locks.iter().filter(|lock| lock.covers(path)).collect();
            if let Some(first) = own.first()
                && !is_known(&own)
            {
                return Err(first.path.clone());
            }
            for lock in locks.iter().filter(|lock| is_deep && is_below(&lock.path, path)) {
                let same: Vec<&Lock> =
                    locks.iter().filter(|other| other.path == lock.path).collect();
                if !is_known(&same) {
                    return Err(lock.path.clone());
                }
            }
            Ok(())
        })
    }

    /// What was at a path, with all that was in it, is there no more.
    pub(super) fn gone(&self, user: UserId, path: &FolderPath) {
        self.with(user, |locks| {
            locks.retain(|lock| lock.path != *path && !is_below(&lock.path, path));
        });
    }
}
