//! How long what was replaced, deleted or moved can be had back, and letting go of it: when its time is
//! over, and earlier, the oldest first, where an account's quota or the nodes are short of room. So what
//! is kept never makes a store fail.
//!
//! This is the one place where the wall clock decides something, also that an upload is dropped with which
//! nobody has gone on for a day. What a snapshot has stays until that is
//! removed.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::catalog::{Due, EXPIRED_MAX, UserId};
use crate::core::cluster::Cluster;
use crate::core::error::Result;
use crate::core::types::{Moment, NodeId};

/// So much is let go of at a time where nodes are short of room, about.
const STEP_BYTES: u64 = 256 << 20;

/// Nodes with less room than this, or than a fiftieth of their disk, are short of it.
const ROOM_BYTES: u64 = 1 << 30;

/// Nodes have removed what was let go of, and said how much room there is, within this time.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);

/// An upload that nobody goes on with is dropped after this time.
const UPLOAD_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long what was replaced or deleted is kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Keep {
    /// Not at all.
    #[default]
    Nothing,
    /// For so long.
    For(Duration),
    /// As long as there is room.
    Forever,
}

/// What is kept, and what must not be let go of now.
#[derive(Default)]
pub struct Retention {
    keep: Mutex<Keep>,
    begun: Mutex<BegunFolders>,
    /// When something was let go of last because room was short.
    let_go_at: Mutex<Option<Instant>>,
}

/// Folders that are being filled.
#[derive(Default)]
struct BegunFolders {
    /// How many begin just now; their keys are not known yet.
    beginning: usize,
    keys: Vec<Moment>,
}

/// While this lives, the folder with its key is not taken for one that nobody wants.
pub struct Begun<'a> {
    retention: &'a Retention,
    key: Moment,
}

impl Retention {
    /// Keeps things for so long from now on.
    pub fn keep(&self, keep: Keep) {
        *self.keep.lock() = keep;
    }

    /// For how long things are kept.
    pub fn kept_for(&self) -> Keep {
        *self.keep.lock()
    }

    /// Was something let go of just now because room was short? Nodes take a moment to remove it.
    pub fn has_just_let_go(&self) -> bool {
        self.let_go_at.lock().is_some_and(|at| at.elapsed() < FOLLOWED_WITHIN)
    }

    /// Up to which moment what went is over, if anything is; `now_us` in microseconds since 1970.
    pub fn over(&self, now_us: i64) -> Option<Moment> {
        match self.kept_for() {
            Keep::Nothing => Some(Moment::MAX),
            Keep::For(time) => {
                let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
                Some(Moment(now_us.saturating_sub(time)))
            }
            Keep::Forever => None,
        }
    }

    /// Runs a job that begins a folder and gives its key. The folder is spared from its first moment on.
    pub fn begin(&self, begin: impl FnOnce() -> Result<Moment>) -> Result<Begun<'_>> {
        self.begun.lock().beginning += 1;
        let key = begin();
        let mut begun = self.begun.lock();
        begun.beginning -= 1;
        begun.keys.extend(key.as_ref().ok());
        drop(begun);
        key.map(|key| Begun { retention: self, key })
    }

    /// The folders that are being filled; `None` while one begins.
    fn begun(&self) -> Option<Vec<Moment>> {
        let begun = self.begun.lock();
        (begun.beginning == 0).then(|| begun.keys.clone())
    }
}

impl Begun<'_> {
    /// The folder's key.
    pub fn key(&self) -> Moment {
        self.key
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.retention.begun.lock().keys.retain(|key| *key != self.key);
    }
}

impl Cluster {
    /// Lets go of some of what is over; true if there may be more.
    ///
    /// # Errors
    /// As [`Committer::submit`](crate::core::cluster::committer::Committer::submit).
    pub fn let_go(&self) -> Result<bool> {
        let now_us = self.catalog.now_us();
        self.remove_snapshots(now_us)?;
        self.drop_idle_uploads(now_us)?;
        let upto = self.retention.over(now_us).unwrap_or(Moment(i64::MIN));
        let Due { users, snapshots, folders } = self.catalog.due(upto)?;
        let mut is_more = false;
        for user in users {
            let expired = self.committer.submit(move |draft| draft.expire(user, upto, None))?;
            is_more |= expired >= EXPIRED_MAX;
        }
        if snapshots {
            is_more |= self.committer.submit(|draft| draft.release_snapshot())?;
        }
        if folders {
            self.forget_folders()?;
        }
        Ok(is_more || (self.is_short_of_room() && self.let_go_of_oldest(STEP_BYTES)?))
    }

    /// Lets go of removed folders that nothing names any more.
    fn forget_folders(&self) -> Result<()> {
        // One that begins after this is newer than the last entry.
        let newest = self.catalog.end()?.at;
        let Some(begun) = self.retention.begun() else { return Ok(()) };
        self.committer.submit(move |draft| draft.forget_folders(&begun, newest)).map(drop)
    }

    /// Lets go of the oldest of what an account had, about so many bytes; true if there was anything.
    ///
    /// # Errors
    /// As [`Committer::submit`](crate::core::cluster::committer::Committer::submit).
    pub fn let_go_of(&self, user: UserId, bytes: u64) -> Result<bool> {
        let expired =
            self.committer.submit(move |draft| draft.expire(user, Moment::MAX, Some(bytes)))?;
        if expired > 0 {
            *self.retention.let_go_at.lock() = Some(Instant::now());
            self.forget_folders()?;
        }
        Ok(expired > 0)
    }

    /// The same of what any account had.
    ///
    /// # Errors
    /// As [`Committer::submit`](crate::core::cluster::committer::Committer::submit).
    pub fn let_go_of_oldest(&self, bytes: u64) -> Result<bool> {
        match self.catalog.oldest_kept()? {
            Some((user, _)) => self.let_go_of(user, bytes),
            None => Ok(false),
        }
    }

    fn remove_snapshots(&self, now_us: i64) -> Result<()> {
        let is_over = |until_ms: Option<i64>| {
            until_ms.is_some_and(|until_ms| until_ms.saturating_mul(1000) <= now_us)
        };
        for snapshot in self.catalog.snapshots()?.into_iter().filter(|own| is_over(own.until_ms)) {
            let name = snapshot.name;
            self.committer.submit(move |draft| draft.remove_snapshot(&name))?;
        }
        Ok(())
    }

    fn drop_idle_uploads(&self, now_us: i64) -> Result<()> {
        let kept_us = i64::try_from(UPLOAD_KEPT.as_micros()).unwrap_or(i64::MAX);
        let over = Moment(now_us.saturating_sub(kept_us));
        let mut idle = self.catalog.idle_uploads(over)?;
        idle.retain(|id| !self.uploading.is_sent(*id));
        if !idle.is_empty() {
            self.committer.submit(move |draft| draft.drop_idle_uploads(&idle, over))?;
        }
        Ok(())
    }

    fn is_short_of_room(&self) -> bool {
        NodeId::ALL.into_iter().any(|id| {
            let room = self.roster.seen(id).room;
            room.is_some_and(|room| room.spare_bytes < ROOM_BYTES.min(room.total_bytes / 50))
        })
    }
}
