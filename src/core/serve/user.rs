//! Somebody who has signed in, and what may be done by them. The facade asks here for the account, so that
//! nothing is looked at or changed beyond what a key is for.

use crate::core::catalog::accounts::{Account, Proof};
use crate::core::catalog::{TokenId, UserId};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::serve::files::Files;
use crate::core::wire::keys::Rights;

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) account: Account,
    /// What the session rests on.
    pub(super) proof: Proof,
    /// What may be done with that.
    rights: Rights,
    /// Was it a key? One is never its owner, whatever its rights are.
    by_key: bool,
    /// Where the user's requests come from.
    origin: String,
    /// The user's name.
    pub name: UserName,
}

impl User {
    pub(super) fn new(account: Account, proof: Proof) -> User {
        let name = account.name.clone();
        User {
            account,
            proof,
            rights: Rights::default(),
            by_key: false,
            origin: String::new(),
            name,
        }
    }

    /// The same, come with a key that has these rights and no others.
    #[must_use]
    pub(super) fn with_key(self, rights: Rights) -> User {
        User { rights, by_key: true, ..self }
    }

    /// What may be done with what the user has signed in with.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The account, to look at this path.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] if the rights do not reach so far.
    pub(super) fn sees(&self, path: &FolderPath) -> Result<UserId> {
        if self.rights.reach(path) {
            return Ok(self.account.id);
        }
        let folder = &self.rights.folder;
        let text = format!("this key is for /{folder} and what is in it only");
        Err(Error::other(Code::NotAllowed, text))
    }

    /// The account, to change what is at this path. The folder that a key is for is not for the key to
    /// change, only what is in it.
    ///
    /// # Errors
    /// As [`User::sees`]; [`Code::NotAllowed`] if nothing may be changed.
    pub(super) fn changes(&self, path: &FolderPath) -> Result<UserId> {
        let account = self.sees(path)?;
        if self.rights.read_only {
            return Err(Error::other(Code::NotAllowed, "this key is for reading only"));
        }
        if !self.rights.folder.is_top() && *path == self.rights.folder {
            let text = format!("this key is for what is in /{path}, not for that folder itself");
            return Err(Error::other(Code::NotAllowed, text));
        }
        Ok(account)
    }

    /// The same for a file.
    ///
    /// # Errors
    /// As [`User::changes`].
    pub(super) fn changes_file(&self, path: &FilePath) -> Result<UserId> {
        self.changes(&path.as_folder())
    }

    /// The account, to put something into this folder or, if it is none, to this name.
    ///
    /// # Errors
    /// As [`User::changes`].
    pub(super) fn reaches_into(&self, to: &FolderPath) -> Result<UserId> {
        match *to == self.rights.folder && !self.rights.read_only {
            true => Ok(self.account.id),
            false => self.changes(to),
        }
    }

    /// Refuses what is the owner's own business: passwords, sign-ins, keys.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] for whoever has come with a key.
    pub(super) fn check_owner(&self) -> Result<()> {
        match self.by_key {
            false => Ok(()),
            true => Err(Error::other(Code::NotAllowed, "this key is for files only")),
        }
    }

    /// The token that was used in place of the password.
    pub(super) fn token(&self) -> Option<TokenId> {
        match self.proof {
            Proof::Token(token) => Some(token),
            Proof::Password(_) | Proof::Door => None,
        }
    }

    /// The same, with a note of where the requests come from (`127.0.0.1:40312`), for those who find
    /// a file changed.
    #[must_use]
    pub fn coming_from(self, origin: String) -> User {
        User { origin, ..self }
    }

    /// Who does it, as it is shown: `demo from 127.0.0.1:40312`.
    pub(super) fn described(&self) -> String {
        match self.origin.as_str() {
            "" => self.name.to_string(),
            origin => format!("{} from {origin}", self.name),
        }
    }
}

impl Files {
    /// Is this an administrator, who may see how the cluster is? Whoever has come with a key is none.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn is_admin(&self, user: &User) -> Result<bool> {
        Ok(user.check_owner().is_ok() && self.cluster.catalog.is_admin(user.account.id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::Catalog;
    use crate::core::types::ClusterId;
    use std::sync::Arc;

    fn with(read_only: bool, folder: &str) -> User {
        let place = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&place.path().join("palk.db"), ClusterId([1; 16])).unwrap();
        let catalog = Arc::new(catalog);
        let mut group = catalog.begin_group(1).unwrap();
        let name = UserName::parse("demo").unwrap();
        group.attempt(|draft| draft.create_user(&name, "", 0)).unwrap();
        group.commit().unwrap();
        let account = catalog.account(&name).unwrap();
        let rights = Rights { read_only, folder: FolderPath::parse(folder).unwrap() };
        User::new(account, Proof::Door).with_key(rights)
    }

    #[test]
    fn a_key_reaches_what_it_is_for() {
        let path = |text: &str| FolderPath::parse(text).unwrap();
        let cases = [
            // Which key; at which path; seen, changed, put into.
            (with(false, ""), "", [true, true, true]),
            (with(false, ""), "a/b", [true, true, true]),
            (with(true, ""), "a/b", [true, false, false]),
            (with(false, "a"), "a", [true, false, true]),
            (with(false, "a"), "a/b", [true, true, true]),
            (with(false, "a"), "ab", [false, false, false]),
            (with(false, "a"), "", [false, false, false]),
            (with(true, "a"), "a/b", [true, false, false]),
            (with(true, "a"), "a", [true, false, false]),
        ];
        for (user, at, expected) in cases {
            let path = path(at);
            let found = [user.sees(&path), user.changes(&path), user.reaches_into(&path)];
            assert_eq!(found.map(|done| done.is_ok()), expected, "{:?} at {at:?}", user.rights);
            assert_eq!(user.check_owner().unwrap_err().code(), Code::NotAllowed);
        }
    }
}
