//! How much each account may store: what it has stored and what it is storing at this moment count,
//! so that many stores at once cannot come to more than one after the other.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Quota, UserId};
use crate::core::cluster::readers::Readers;
use crate::core::error::{Error, Result};
use crate::core::path::FilePath;

/// How often what was deleted is dropped for good before a store is refused, and how long after each
/// time that takes.
const RECLAIMS: u32 = 5;
const RECLAIM_PAUSE: Duration = Duration::from_millis(100);

/// Where it is looked up what an account has stored, and how room is made.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What is being read, and so takes room also when it is replaced.
    pub readers: &'a Readers,
    /// Drops what was replaced or deleted, as far as nobody reads it.
    pub reclaim: &'a dyn Fn(),
}

/// Running stores of all accounts.
#[derive(Default)]
pub struct Usage {
    running: Mutex<HashMap<UserId, Running>>,
    /// How many bytes an account may store for which nothing else was said.
    pub(super) quota: Option<u64>,
}

/// The running stores of an account.
#[derive(Default, Clone, Copy)]
struct Running {
    stores: usize,
    /// Their bytes, less those of the files that they replace.
    net: i128,
}

/// Why a store does not fit.
struct Refused {
    used: u64,
    quota: u64,
    /// What can be had again of it by dropping what was replaced or deleted.
    reclaimable_bytes: u64,
}

/// One running store. It counts until this is dropped.
pub struct Reservation<'a> {
    usage: &'a Usage,
    user: UserId,
    path: FilePath,
    bytes: u64,
    /// The bytes of the file that it replaces, as far as they need not be kept for somebody.
    replaced: u64,
}

impl Usage {
    /// Begins to count a store. A file that is there is replaced, and its room had again, unless
    /// somebody reads it.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub fn reserve(
        &self,
        room: Room<'_>,
        user: UserId,
        path: &FilePath,
        bytes: u64,
    ) -> Result<Reservation<'_>> {
        let path = path.clone();
        let mut reservation = Reservation { usage: self, user, path, bytes: 0, replaced: 0 };
        self.running.lock().entry(user).or_default().stores += 1;
        reservation.change(room, bytes)?;
        Ok(reservation)
    }

    /// What a quota comes to, in bytes; `None` if there is no limit.
    pub fn limit(&self, quota: Quota) -> Option<u64> {
        match quota {
            Quota::Default => self.quota,
            Quota::Unlimited => None,
            Quota::Bytes(bytes) => Some(bytes),
        }
    }
}

impl Reservation<'_> {
    /// Whose store it is.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Looks once more before the store is committed: somebody may have begun to read the file that
    /// it replaces, which then takes room for as long as it is read.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub fn confirm(&mut self, room: Room<'_>) -> Result<()> {
        self.change(room, self.bytes)
    }

    /// Counts so many bytes from now on.
    fn change(&mut self, room: Room<'_>, bytes: u64) -> Result<()> {
        let mut reclaims = 0;
        while let Err(Refused { used, quota, reclaimable_bytes }) = self.try_change(room, bytes)? {
            if reclaimable_bytes == 0 || reclaims == RECLAIMS {
                return Err(Error::OverQuota { bytes, used, quota });
            }
            if reclaims > 0 {
                thread::sleep(RECLAIM_PAUSE);
            }
            (room.reclaim)();
            reclaims += 1;
        }
        Ok(())
    }

    fn try_change(
        &mut self,
        room: Room<'_>,
        bytes: u64,
    ) -> Result<std::result::Result<(), Refused>> {
        let mut running = self.usage.running.lock();
        let of_user = running.entry(self.user).or_default();
        let (quota, stored) = room.catalog.quota_and_usage(self.user)?;
        let others = of_user.net - self.net();
        // Where there is no limit nobody needs to know what the store gives back. If there is one by the
        // time it is confirmed, it is looked up then.
        let mut replaced = 0;
        if let Some(quota) = self.usage.limit(quota) {
            replaced = match room.catalog.file(self.user, &self.path) {
                Ok(there) if !room.readers.is_read(there.version) => there.bytes,
                _ => 0,
            };
            let used = i128::from(stored.stored_bytes) + others;
            if used + i128::from(bytes) - i128::from(replaced) > i128::from(quota) {
                let used = u64::try_from(used).unwrap_or(0);
                let reclaimable_bytes = stored.reclaimable_bytes;
                return Ok(Err(Refused { used, quota, reclaimable_bytes }));
            }
        }
        (self.bytes, self.replaced) = (bytes, replaced);
        of_user.net = others + self.net();
        Ok(Ok(()))
    }

    fn net(&self) -> i128 {
        i128::from(self.bytes) - i128::from(self.replaced)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut running = self.usage.running.lock();
        if let Some(of_user) = running.get_mut(&self.user) {
            of_user.stores -= 1;
            of_user.net -= self.net();
            if of_user.stores == 0 {
                running.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::catalog::{Draft, NewFile};
    use crate::core::path::UserName;
    use crate::core::types::{ClusterId, Digest, NodeSet, Precondition, Seq, VersionId};

    struct Fixture {
        catalog: Arc<Catalog>,
        readers: Arc<Readers>,
        user: UserId,
        usage: Usage,
        _folder: tempfile::TempDir,
    }

    fn path(text: &str) -> FilePath {
        FilePath::parse_rooted(text).unwrap()
    }

    fn demo() -> UserName {
        UserName::parse("demo").unwrap()
    }

    impl Fixture {
        fn new() -> Fixture {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("palk.db");
            let catalog = Arc::new(Catalog::open(&file, ClusterId([1; 16])).unwrap());
            let user = change(&catalog, |draft| draft.create_user(&demo(), "hash", 0));
            let usage = Usage { quota: Some(100), ..Usage::default() };
            Fixture { catalog, readers: Arc::default(), user, usage, _folder: folder }
        }

        fn store(&self, at: &str, version: u8, bytes: u64) {
            let new = NewFile {
                user: self.user,
                path: path(at),
                version: VersionId([version; 16]),
                seq: Seq(u64::from(version)),
                bytes,
                blake3: Digest([7; 32]),
                stored_ms: 5,
                placed: NodeSet::ALL,
                inline: false,
                precondition: Precondition::Any,
                stored_by: String::new(),
                attributes: Default::default(),
            };
            change(&self.catalog, |draft| draft.store(&new, None));
        }

        fn delete(&self, at: &str) {
            change(&self.catalog, |draft| draft.delete(self.user, &path(at)));
        }

        fn reclaim(&self) {
            let retired = self.catalog.retired(100).unwrap();
            let retired: Vec<VersionId> =
                retired.into_iter().filter(|version| !self.readers.is_read(*version)).collect();
            change(&self.catalog, |draft| draft.drop_versions(&retired));
        }

        fn fits(&self, at: &str, bytes: u64) -> Result<Reservation<'_>> {
            let reclaim = || self.reclaim();
            let room = Room { catalog: &self.catalog, readers: &self.readers, reclaim: &reclaim };
            self.usage.reserve(room, self.user, &path(at), bytes)
        }
    }

    fn change<T>(catalog: &Arc<Catalog>, job: impl FnOnce(&mut Draft<'_>) -> Result<T>) -> T {
        let mut group = catalog.begin_group(1).unwrap();
        let done = group.attempt(job).unwrap();
        group.commit().unwrap();
        done
    }

    #[test]
    fn stored_and_running_bytes_count_and_a_replaced_file_does_not() {
        let fixture = Fixture::new();
        fixture.store("a", 1, 60);
        let refused = fixture.fits("b", 41).err().unwrap();
        assert!(matches!(refused, Error::OverQuota { bytes: 41, used: 60, quota: 100 }));
        let running = fixture.fits("b", 40).unwrap();
        assert!(fixture.fits("c", 1).is_err(), "the running one counts");
        drop(fixture.fits("a", 60).unwrap());
        assert!(fixture.fits("a", 61).is_err());
        drop(running);
        drop(fixture.fits("a", 100).unwrap());
    }

    #[test]
    fn what_was_replaced_or_deleted_makes_room_at_once_unless_somebody_reads_it() {
        let fixture = Fixture::new();
        fixture.store("a", 1, 60);
        fixture.store("a", 2, 10);
        drop(fixture.fits("b", 90).unwrap());
        fixture.store("b", 3, 90);
        assert!(fixture.fits("c", 1).is_err());
        let version = VersionId([3; 16]);
        let ((), reader) = fixture.readers.enter(|| Ok(((), version))).unwrap();
        assert!(fixture.fits("b", 1).is_err(), "the one that is read stays");
        fixture.delete("b");
        assert!(fixture.fits("c", 11).is_err());
        drop(reader);
        drop(fixture.fits("c", 90).unwrap());
    }

    #[test]
    fn a_store_is_refused_at_its_end_if_what_it_replaces_is_being_read_by_then() {
        let fixture = Fixture::new();
        fixture.store("a", 1, 60);
        let reclaim = || fixture.reclaim();
        let (catalog, readers) = (&*fixture.catalog, &*fixture.readers);
        let room = Room { catalog, readers, reclaim: &reclaim };
        let mut store = fixture.fits("a", 60).unwrap();
        store.confirm(room).unwrap();
        let ((), reader) = fixture.readers.enter(|| Ok(((), VersionId([1; 16])))).unwrap();
        assert!(matches!(store.confirm(room), Err(Error::OverQuota { used: 60, .. })));
        drop(reader);
        store.confirm(room).unwrap();
        assert!(fixture.fits("b", 41).is_err());
        drop(fixture.fits("b", 40).unwrap());
    }

    #[test]
    fn what_was_said_for_one_account_counts_more_than_what_was_said_for_all() {
        let fixture = Fixture::new();
        fixture.store("b", 1, 90);
        let quota = |quota| change(&fixture.catalog, |draft| draft.set_quota(&demo(), quota));
        quota(Quota::Bytes(91));
        assert!(fixture.fits("c", 2).is_err());
        quota(Quota::Unlimited);
        drop(fixture.fits("c", u64::MAX).unwrap());
        quota(Quota::Default);
        assert!(fixture.fits("c", 11).is_err());
    }
}
