//! Long listings. One is made in memory and stays there until its client has taken it, so only a few
//! may be under way at once, and one for each account.

use parking_lot::Mutex;

use crate::core::catalog::UserId;
use crate::core::error::{Code, Error, Result};

/// A listing of more entries than this is a long one. A shorter one takes about as much memory as a
/// file on its way.
pub const SHORT_ENTRIES_MAX: usize = 5_000;

/// How many long listings may be under way at once.
pub const LONG_LISTINGS_MAX: usize = 8;

/// The long listings that are under way.
#[derive(Default)]
pub struct Listings(Mutex<Vec<UserId>>);

/// One of them, until it is dropped.
pub struct Listing<'a> {
    listings: &'a Listings,
    user: UserId,
}

impl Listings {
    /// Begins a long listing.
    ///
    /// # Errors
    /// [`Code::Temporary`] if there are too many already, or one of this account.
    pub fn begin(&self, user: UserId) -> Result<Listing<'_>> {
        let mut running = self.0.lock();
        let why = if running.contains(&user) {
            "another long listing of this account is still being sent, try again after it"
        } else if running.len() >= LONG_LISTINGS_MAX {
            "too many long listings are being sent at this moment, try again"
        } else {
            running.push(user);
            return Ok(Listing { listings: self, user });
        };
        Err(Error::other(Code::Temporary, why))
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        self.listings.0.lock().retain(|user| *user != self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::Catalog;
    use crate::core::catalog::accounts::HashGate;
    use crate::core::path::UserName;
    use crate::core::types::ClusterId;

    #[test]
    fn long_listings_are_few_and_one_for_each_account() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
        let gate = HashGate::default();
        let users: Vec<UserId> = (0..=LONG_LISTINGS_MAX)
            .map(|n| {
                let name = UserName::parse(&format!("user{n}")).unwrap();
                catalog.create_user(&gate, &name, "pw", 0).unwrap()
            })
            .collect();
        let listings = Listings::default();
        let first = listings.begin(users[0]).unwrap();
        let again = listings.begin(users[0]).err().unwrap();
        assert!(again.code() == Code::Temporary && again.to_string().contains("this account"));
        let others: Vec<Listing<'_>> =
            users[1..LONG_LISTINGS_MAX].iter().map(|user| listings.begin(*user).unwrap()).collect();
        assert!(listings.begin(users[LONG_LISTINGS_MAX]).is_err());
        drop(first);
        drop(listings.begin(users[LONG_LISTINGS_MAX]).unwrap());
        drop(others);
        assert!(listings.0.lock().is_empty());
    }
}
