//! How much each account may store: what it has stored and what it is storing at this moment count,
//! so that many stores at once cannot come to more than one after the other.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Quota, UserId};
use crate::core::error::{Error, Result};
use crate::core::path::FilePath;

/// Running stores of all accounts.
#[derive(Default)]
pub struct Usage {
    running: Mutex<HashMap<UserId, Running>>,
    /// How many bytes an account may store for which nothing else was said.
    pub(super) quota: Option<u64>,
}

#[derive(Default, Clone, Copy)]
struct Running {
    stores: usize,
    bytes: u64,
}

/// One running store. It counts until this is dropped.
pub struct Reservation<'a> {
    usage: &'a Usage,
    user: UserId,
    bytes: u64,
}

impl Usage {
    /// Begins to count a store. A file that is already there will be replaced, so it takes no room.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub fn reserve(
        &self,
        catalog: &Catalog,
        user: UserId,
        path: &FilePath,
        bytes: u64,
    ) -> Result<Reservation<'_>> {
        let mut running = self.running.lock();
        let (quota, stored) = catalog.quota_and_stored(user)?;
        let of_user = running.get(&user).copied().unwrap_or_default();
        if let Some(quota) = self.limit(quota) {
            let used = stored.saturating_add(of_user.bytes);
            let replaced = catalog.file(user, path).map_or(0, |there| there.bytes);
            if used.saturating_sub(replaced).saturating_add(bytes) > quota {
                return Err(Error::OverQuota { bytes, used, quota });
            }
        }
        let bytes_running = of_user.bytes.saturating_add(bytes);
        running.insert(user, Running { stores: of_user.stores + 1, bytes: bytes_running });
        Ok(Reservation { usage: self, user, bytes })
    }

    /// What a quota comes to, in bytes; nothing if there is no limit.
    pub fn limit(&self, quota: Quota) -> Option<u64> {
        match quota {
            Quota::Default => self.quota,
            Quota::Unlimited => None,
            Quota::Bytes(bytes) => Some(bytes),
        }
    }

    /// Is a store of this account running?
    pub fn is_running(&self, user: UserId) -> bool {
        self.running.lock().contains_key(&user)
    }
}

impl Reservation<'_> {
    /// Whose store it is.
    pub fn user(&self) -> UserId {
        self.user
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut running = self.usage.running.lock();
        if let Some(of_user) = running.get_mut(&self.user) {
            of_user.stores -= 1;
            of_user.bytes = of_user.bytes.saturating_sub(self.bytes);
            if of_user.stores == 0 {
                running.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::NewFile;
    use crate::core::catalog::accounts::HashGate;
    use crate::core::path::UserName;
    use crate::core::types::{ClusterId, Digest, NodeSet, Precondition, VersionId};

    fn path(text: &str) -> FilePath {
        FilePath::parse_rooted(text).unwrap()
    }

    fn store(catalog: &Catalog, user: UserId, at: &str, bytes: u64) {
        let ticket = catalog.begin_store(VersionId(rand_id())).unwrap();
        let new = NewFile {
            user,
            path: path(at),
            bytes,
            blake3: Digest([7; 32]),
            stored_ms: 5,
            staged: NodeSet::ALL,
            precondition: Precondition::Any,
            stored_by: String::new(),
        };
        catalog.commit_store(&ticket, &new).unwrap();
    }

    fn rand_id() -> [u8; 16] {
        crate::core::io::random::Random::from_system().version().0
    }

    #[test]
    fn stored_and_running_bytes_count_and_a_replaced_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
        let demo = UserName::parse("demo").unwrap();
        let user = catalog.create_user(&HashGate::default(), &demo, "pw", 0).unwrap();
        let usage = Usage { quota: Some(100), ..Usage::default() };
        let fits = |at: &str, bytes| usage.reserve(&catalog, user, &path(at), bytes);
        store(&catalog, user, "a", 60);
        let refused = fits("b", 41).err().unwrap();
        assert!(matches!(refused, Error::OverQuota { bytes: 41, used: 60, quota: 100 }));
        let running = fits("b", 40).unwrap();
        assert!(usage.is_running(user));
        assert!(fits("c", 1).is_err(), "the running one counts");
        drop(fits("a", 60).unwrap());
        assert!(fits("a", 61).is_err());
        drop(running);
        assert!(!usage.is_running(user));
        drop(fits("a", 100).unwrap());

        // Replaced and deleted files stop counting.
        store(&catalog, user, "a", 10);
        drop(fits("b", 90).unwrap());
        store(&catalog, user, "b", 90);
        assert!(fits("c", 1).is_err());
        let seq = catalog.draw_seq().unwrap();
        catalog.delete(user, &path("a"), seq).unwrap();
        drop(fits("c", 10).unwrap());

        // What was said for one account counts more than what was said for all.
        catalog.set_quota(&demo, Quota::Bytes(91)).unwrap();
        assert!(fits("c", 2).is_err());
        catalog.set_quota(&demo, Quota::Unlimited).unwrap();
        drop(fits("c", u64::MAX).unwrap());
        catalog.set_quota(&demo, Quota::Default).unwrap();
        assert!(fits("c", 11).is_err());
        assert_eq!(catalog.users().unwrap()[0].bytes, 90);
    }
}
