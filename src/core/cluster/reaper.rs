//! Drops versions that no file is or was and nobody reads any more.
//!
//! A version that is kept for nobody is retired, and its bytes count until an entry of the journal
//! drops it. Nodes remove its pieces when they have followed the journal so far. There is no hurry: a
//! version is dropped when the last of its readers has left, half a second later at most.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::cluster::Cluster;
use crate::core::error::Result;
use crate::core::wire::journal::VERSIONS_MAX;

/// How often it is looked whether there is something to drop, unless the reaper is notified.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often folders are looked for that were removed and are empty now.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How long the reaper rests after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Groups that are dropped at once for somebody who waits for room.
const RECLAIM_GROUPS_MAX: usize = 100;

/// Drops what is not needed any more.
pub struct Reaper {
    cluster: Cluster,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    rests_until: Duration,
    sweep_at: Duration,
    complained: String,
}

impl Reaper {
    /// A reaper; nothing runs yet.
    pub fn new(cluster: &Cluster) -> Reaper {
        Reaper { cluster: cluster.clone(), times: Mutex::default() }
    }

    /// Starts its thread, which runs until the process ends.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn start(self: &Arc<Self>) -> Result<()> {
        let (reaper, notifier) = (self.clone(), &self.cluster.notifier);
        notifier.run_rounds("reaper", LOOK_EVERY, move |now| reaper.round(now))
    }

    /// Lets go of what is over and drops some versions; true if there may be more. `now` counts from any
    /// fixed point.
    pub fn round(&self, now: Duration) -> bool {
        let mut times = self.times.lock();
        if now < times.rests_until || !self.may_change() {
            return false;
        }
        let done = self.cluster.let_go().and_then(|is_more| {
            let dropped = self.drop_some()?;
            if dropped < VERSIONS_MAX && now >= times.sweep_at {
                times.sweep_at = now + SWEEP_EVERY;
                self.cluster.catalog.sweep_doomed()?;
            }
            Ok(is_more || dropped == VERSIONS_MAX)
        });
        match done {
            Ok(is_more) => {
                times.complained.clear();
                is_more
            }
            Err(error) => {
                times.rests_until = now + PAUSE;
                let text = error.to_string();
                if times.complained != text {
                    tracing::warn!("what was deleted is dropped later: {text}");
                    times.complained = text;
                }
                false
            }
        }
    }

    /// Drops at once what can be dropped, for somebody whose quota is used up; gives how many versions.
    ///
    /// # Errors
    /// As [`Committer::submit`](crate::core::cluster::committer::Committer::submit).
    pub fn reclaim(&self) -> Result<u64> {
        let mut all = 0;
        for _ in 0..RECLAIM_GROUPS_MAX {
            let dropped = self.drop_some()?;
            all += dropped as u64;
            if dropped < VERSIONS_MAX {
                break;
            }
        }
        Ok(all)
    }

    /// Neither waits for anybody nor fails where changes cannot be made now.
    fn may_change(&self) -> bool {
        let roster = &self.cluster.roster;
        roster.leadership().is_established()
            && !self.cluster.committer.is_in_doubt()
            && roster.may_change().is_ok()
    }

    fn drop_some(&self) -> Result<usize> {
        let (catalog, readers) = (&self.cluster.catalog, &self.cluster.readers);
        // However many are being read, there is something left if there is anything to drop.
        let retired = catalog.retired(VERSIONS_MAX + readers.count())?;
        let mut unread = if retired.is_empty() { retired } else { readers.unread(retired) };
        unread.truncate(VERSIONS_MAX);
        let count = unread.len();
        if count > 0 {
            self.cluster.committer.submit(move |draft| draft.drop_versions(&unread))?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::volume::fixture::{bytes, fixture, place, version};

    #[test]
    fn what_is_deleted_is_dropped_once_its_last_reader_has_left() {
        let f = fixture();
        f.store(1, &bytes(10));
        f.store(2, &bytes(10));
        let (_, reader) = f.cluster.readers.enter(|| Ok(((), version(1)))).unwrap();
        let user = f.user();
        f.cluster
            .committer
            .submit(move |draft| {
                draft.delete(user, &place("f1").path)?;
                draft.delete(user, &place("f2").path)
            })
            .unwrap();
        let reaper = Reaper::new(&f.cluster);
        assert!(!reaper.round(f.now()));
        let known = |byte| !f.cluster.catalog.known(&[version(byte)]).unwrap().is_empty();
        assert!(known(1) && !known(2));
        assert!(f.node(1).pieces.contains_key(&version(1)));
        assert_eq!(reaper.reclaim().unwrap(), 0);
        drop(reader);
        assert_eq!(reaper.reclaim().unwrap(), 1);
        assert!(!known(1));
    }
}
