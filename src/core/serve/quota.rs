//! How much each account may store: what it has stored and what it is storing at this moment count,
//! so that many stores at once cannot come to more than one after the other.
//!
//! Two sums are held against the quota, and neither may be over it:
//!
//! - the sizes of all files, so that a copy counts like any other file although no byte of it is stored;
//! - the bytes of all versions. What is kept for undo counts here, and gives way before a store is refused.
//!
//! What undo brings back is not refused: it may bring the first sum over the quota, until something is
//! deleted, and adds nothing to the second.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Quota, UserId};
use crate::core::cluster::readers::Readers;
use crate::core::error::{Error, Result};
use crate::core::path::FilePath;

/// How often it is looked again whether what is being read can be dropped before a store is refused, and
/// how long after each time.
const WAITS: u32 = 4;
const WAIT: Duration = Duration::from_millis(100);

/// So often room is made for one store at most.
const RECLAIMS_MAX: u32 = 10_000;

/// Where it is looked up what an account has stored, and how room is made.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What is being read, and so takes room also when it is replaced.
    pub readers: &'a Readers,
    /// Makes so many bytes of room for an account: drops what is kept for nobody, or if there is nothing
    /// of it, lets go of the oldest of what is kept for undo. True if it has done something.
    pub reclaim: &'a dyn Fn(UserId, u64) -> bool,
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
    net: Net,
}

/// What a store or a copy adds, less what the file had that it replaces.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
struct Net {
    /// To the sizes of all files.
    files: i128,
    /// To the bytes of all versions.
    versions: i128,
}

impl Net {
    fn add(&mut self, other: Net) {
        self.files += other.files;
        self.versions += other.versions;
    }

    /// What it is to other stores: room that this one makes is there once it has been committed, and it may
    /// fail, or be a part of a file that replaces nothing yet.
    fn for_others(self) -> Net {
        Net { files: self.files.max(0), versions: self.versions.max(0) }
    }

    fn less(self, other: Net) -> Net {
        Net { files: self.files - other.files, versions: self.versions - other.versions }
    }
}

/// Why a store or a copy does not fit.
struct Refused {
    used: u64,
    quota: u64,
    /// What would have to go for it; `None` if only files that are there could make room.
    lack: Option<Lack>,
}

struct Lack {
    /// So many bytes more would have to be free.
    over: u64,
    /// Somebody reads what could be dropped otherwise.
    is_read: bool,
}

/// What counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    /// All that is stored.
    All,
    /// Without what is kept, if only snapshots are left that have it.
    NotHeld,
}

/// One running store or copy. It counts until this is dropped.
pub struct Reservation<'a> {
    usage: &'a Usage,
    user: UserId,
    path: FilePath,
    bytes: u64,
    net: Net,
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
        let mut reservation = self.begin(user, path);
        reservation.change(room, bytes)?;
        Ok(reservation)
    }

    /// Begins to count a copy, of which no byte is stored.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub fn reserve_copy(
        &self,
        catalog: &Catalog,
        user: UserId,
        path: &FilePath,
        bytes: u64,
    ) -> Result<Reservation<'_>> {
        let mut reservation = self.begin(user, path);
        reservation.resize_copy(catalog, bytes)?;
        Ok(reservation)
    }

    fn begin(&self, user: UserId, path: &FilePath) -> Reservation<'_> {
        self.running.lock().entry(user).or_default().stores += 1;
        Reservation { usage: self, user, path: path.clone(), bytes: 0, net: Net::default() }
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

    /// Makes room again where what was replaced has stayed for undo.
    pub fn settle(&self, room: Room<'_>) -> Result<()> {
        for _ in 0..RECLAIMS_MAX {
            let (quota, stored) = room.catalog.quota_and_usage(self.user)?;
            let Some(quota) = self.usage.limit(quota) else { break };
            let over = stored.stored_bytes.saturating_sub(quota);
            if over == 0 || !(room.reclaim)(self.user, over) {
                break;
            }
        }
        Ok(())
    }

    /// Counts a store of so many bytes from now on: some of them are stored already. There is always room
    /// for fewer.
    pub fn shrink(&mut self, room: Room<'_>, bytes: u64) -> Result<()> {
        self.change(room, bytes)
    }

    /// Counts a copy of so many bytes from now on.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub fn resize_copy(&mut self, catalog: &Catalog, bytes: u64) -> Result<()> {
        let tried = self.try_change(catalog, None, bytes)?;
        tried.map_err(|Refused { used, quota, .. }| Error::OverQuota { bytes, used, quota })
    }

    /// Counts a store of so many bytes from now on.
    fn change(&mut self, room: Room<'_>, bytes: u64) -> Result<()> {
        let (mut reclaims, mut waits) = (0, 0);
        let count = |count| Some((room.readers, count));
        while let Err(refused) = self.try_change(room.catalog, count(Count::All), bytes)? {
            let Refused { used, quota, lack } = refused;
            // Nothing that is kept for undo is given up where that does not help.
            let Some(Lack { over, is_read }) = lack else {
                return Err(Error::OverQuota { bytes, used, quota });
            };
            reclaims += 1;
            if reclaims <= RECLAIMS_MAX && (room.reclaim)(self.user, over) {
                continue;
            }
            if is_read && waits < WAITS {
                waits += 1;
                thread::sleep(WAIT);
                continue;
            }
            // What only a snapshot has does not give way, and is not the user's doing.
            let tried = self.try_change(room.catalog, count(Count::NotHeld), bytes)?;
            let Err(Refused { used, quota, .. }) = tried else { break };
            return Err(Error::OverQuota { bytes, used, quota });
        }
        Ok(())
    }

    /// Counts so many bytes from now on, if they fit. Without `versions` it is a copy.
    fn try_change(
        &mut self,
        catalog: &Catalog,
        versions: Option<(&Readers, Count)>,
        bytes: u64,
    ) -> Result<std::result::Result<(), Refused>> {
        let mut running = self.usage.running.lock();
        let of_user = running.entry(self.user).or_default();
        let (quota, stored) = catalog.quota_and_usage(self.user)?;
        let others = of_user.net.less(self.net);
        let added = i128::from(bytes);
        // Where there is no limit nobody needs to know what the store gives back. If there is one by the
        // time it is confirmed, it is looked up then.
        let mut net = Net { files: added, versions: if versions.is_some() { added } else { 0 } };
        if let Some(quota) = self.usage.limit(quota) {
            let there = catalog.file(self.user, &self.path).ok();
            net.files -= there.as_ref().map_or(0, |there| i128::from(there.bytes));
            let used = i128::from(stored.bytes) + others.files;
            if over(used + net.files, quota) > 0 {
                return Ok(Err(Refused { used: unsigned(used), quota, lack: None }));
            }
            if let Some((readers, count)) = versions {
                // As far as it need not be kept for somebody, and is no other file's.
                if let Some(there) = there
                    && !readers.is_read(there.version)
                {
                    net.versions -= i128::from(catalog.own_bytes(there.version)?);
                }
                let counted = match count {
                    Count::NotHeld if stored.has_held => {
                        stored.bytes + stored.retired_bytes + stored.upload_bytes
                    }
                    Count::NotHeld | Count::All => stored.stored_bytes,
                };
                let used = i128::from(counted) + others.versions;
                let over = over(used + net.versions, quota);
                if over > 0 {
                    let lack = Some(Lack { over, is_read: stored.retired_bytes > 0 });
                    return Ok(Err(Refused { used: unsigned(used), quota, lack }));
                }
            }
        }
        self.bytes = bytes;
        self.net = net.for_others();
        of_user.net = others;
        of_user.net.add(self.net);
        Ok(Ok(()))
    }
}

/// By how much a sum is over a quota.
fn over(sum: i128, quota: u64) -> u64 {
    unsigned(sum - i128::from(quota))
}

fn unsigned(sum: i128) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut running = self.usage.running.lock();
        if let Some(of_user) = running.get_mut(&self.user) {
            of_user.stores -= 1;
            of_user.net = of_user.net.less(self.net);
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
    use crate::core::types::{ClusterId, Digest, Moment, NodeSet, Precondition, Seq, VersionId};

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

        fn reclaim(&self, bytes: u64) -> bool {
            let dropped = self.drop_retired();
            let expire = |draft: &mut Draft<'_>| draft.expire(self.user, Moment::MAX, Some(bytes));
            dropped || (change(&self.catalog, expire) > 0 && self.drop_retired())
        }

        fn drop_retired(&self) -> bool {
            let retired = self.catalog.retired(100).unwrap();
            let retired: Vec<VersionId> =
                retired.into_iter().filter(|version| !self.readers.is_read(*version)).collect();
            change(&self.catalog, |draft| draft.drop_versions(&retired)) > 0
        }

        fn fits(&self, at: &str, bytes: u64) -> Result<Reservation<'_>> {
            let reclaim = |_, bytes| self.reclaim(bytes);
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
        let smaller = fixture.fits("a", 10).unwrap();
        assert!(fixture.fits("b", 41).is_err(), "the room that it makes is not there yet");
        drop(fixture.fits("b", 40).unwrap());
        drop(smaller);
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
        let reclaim = |_, bytes| fixture.reclaim(bytes);
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
    fn copies_count_by_their_sizes_and_cannot_overrun_the_quota() {
        let fixture = Fixture::new();
        let copy = |to: &str, bytes| {
            fixture.usage.reserve_copy(&fixture.catalog, fixture.user, &path(to), bytes)
        };
        let named = |to: &str, version: u8| {
            let (user, to) = (fixture.user, path(to));
            let name =
                |draft: &mut Draft<'_>| draft.name_version(user, &to, VersionId([version; 16]));
            change(&fixture.catalog, name);
        };
        fixture.store("a", 1, 40);
        assert!(matches!(copy("b", 61).err().unwrap(), Error::OverQuota { used: 40, .. }));
        let first = copy("b", 40).unwrap();
        assert!(copy("c", 21).is_err() && fixture.fits("c", 21).is_err(), "the running one counts");
        drop(copy("c", 20).unwrap());
        named("b", 1);
        drop(first);
        // What is kept for undo is not given up for what only deleting can make room for.
        fixture.store("old", 2, 15);
        fixture.delete("old");
        assert!(copy("c", 21).is_err() && fixture.fits("c", 21).is_err());
        let kept = fixture.catalog.quota_and_usage(fixture.user).unwrap().1;
        assert_eq!((kept.bytes, kept.stored_bytes), (80, 55));
        drop(copy("c", 20).unwrap());
        // What is replaced is no longer counted; its bytes are not had back, since a has them too.
        drop(copy("b", 60).unwrap());
        drop(fixture.fits("b", 45).unwrap());
        assert_eq!(fixture.catalog.quota_and_usage(fixture.user).unwrap().1.stored_bytes, 55);
        drop(fixture.fits("b", 60).unwrap());
        assert_eq!(fixture.catalog.quota_and_usage(fixture.user).unwrap().1.stored_bytes, 40);
        assert!(copy("b", 61).is_err() && fixture.fits("b", 61).is_err());
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
