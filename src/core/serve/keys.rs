//! The facade of app passwords.

use crate::core::error::Result;
use crate::core::serve::files::{Files, User};
use crate::core::types::KeyId;
use crate::core::wire::keys::{AppKey, KeySecret, Rights};

impl Files {
    /// Signs in with the secret of a key; `name` is the account's or the id of the key.
    ///
    /// # Errors
    /// As `Accounts::sign_in_by_key`; [`Error::NotReady`](crate::core::error::Error::NotReady).
    pub fn sign_in_by_key(&self, name: &str, secret: &KeySecret) -> Result<User> {
        self.may_read()?;
        let (user, is_due) = self.accounts().sign_in_by_key(name, secret)?;
        if is_due && self.may_change_at_once().is_ok() {
            self.accounts().note_token_used(&user);
        }
        Ok(user)
    }

    /// Makes a key of a user's: an app password with an id of its own.
    ///
    /// # Errors
    /// [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) with a key, or if there are too many; those of any
    /// change.
    pub fn make_key(&self, user: &User, name: &str, rights: &Rights) -> Result<(KeyId, KeySecret)> {
        user.check_owner()?;
        self.may_change()?;
        self.accounts().make_key(user, name, rights)
    }

    /// The keys of a user, the oldest first.
    ///
    /// # Errors
    /// [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) with a key;
    /// [`Error::NotReady`](crate::core::error::Error::NotReady).
    pub fn keys(&self, user: &User) -> Result<Vec<AppKey>> {
        user.check_owner()?;
        self.may_read()?;
        self.cluster.catalog.keys(user.account.id)
    }

    /// Deletes a key: whoever uses it is signed out at once.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`](crate::core::error::Code::NoSuchFile) if there is no such key;
    /// [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) with a key; those of any change.
    pub fn delete_key(&self, user: &User, key: KeyId) -> Result<()> {
        user.check_owner()?;
        self.may_change()?;
        let id = user.account.id;
        self.change(move |draft| draft.delete_key(id, key))
    }
}
