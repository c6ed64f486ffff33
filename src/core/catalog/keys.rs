//! App passwords. One is a row of the table of tokens that has an id, a name and rights: so what ends
//! tokens ends it as well, a changed password and a removed account among them.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute, first};
use crate::core::catalog::{Account, Catalog, Draft, TokenId, UserId, draft, users};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{Digest, KeyId};
use crate::core::wire::journal::Change;
use crate::core::wire::keys::{AppKey, Rights};

/// How many keys an account may have. Unlike a saved sign-in none is replaced by a new one: a program
/// somewhere uses it.
pub const KEYS_MAX: usize = 100;

impl Draft<'_> {
    /// Keeps a new key of an account, by the hash of its secret.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`] if the account was removed or disabled meanwhile; [`Code::NotAllowed`] if
    /// it has [`KEYS_MAX`].
    pub fn add_key(&mut self, account: &Account, hash: &Digest, key: &AppKey) -> Result<()> {
        draft::check_text("the name of a key", &key.name)?;
        let select = "SELECT (SELECT count(*) FROM tokens WHERE user_id = ?1 AND key IS NOT NULL)
                      FROM users WHERE id = ?1 AND removed = 0 AND disabled = 0";
        let count: Option<usize> =
            first(self.connection, select, [account.id.0], |row| row.get(0))?;
        match count {
            None => return Err(Error::NotSignedIn),
            Some(KEYS_MAX..) => {
                let text = format!("an account has at most {KEYS_MAX} keys: delete one first");
                return Err(Error::other(Code::NotAllowed, text));
            }
            Some(_) => {}
        }
        self.record(Change::KeyMade {
            user: account.name.clone(),
            key: key.key,
            hash: *hash,
            name: key.name.clone(),
            read_only: key.rights.read_only,
            folder: key.rights.folder.clone(),
            created_ms: key.created_ms,
        })?;
        Ok(())
    }

    /// Deletes a key of an account.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if it has no such key.
    pub fn delete_key(&mut self, user: UserId, key: KeyId) -> Result<()> {
        let select = "SELECT hash FROM tokens WHERE user_id = ?1 AND key = ?2";
        let found = first(self.connection, select, params![user.0, key.0], |row| row.get(0))?;
        let missing = || Error::other(Code::NoSuchFile, format!("there is no key {key}"));
        self.record(Change::TokenRevoked { hash: Digest(found.ok_or_else(missing)?) }).map(drop)
    }
}

impl Catalog {
    /// The account whose key has this secret, and what the key may be used for. `name` is that of the
    /// account or the id of the key.
    ///
    /// # Errors
    /// [`Error::SignInRefused`] if there is none; [`Error::Disabled`].
    pub fn sign_in_by_key(&self, name: &str, hash: &Digest) -> Result<(Account, TokenId, Rights)> {
        let select = "SELECT users.id, name, disabled, key, read_only, folder
                      FROM tokens JOIN users ON users.id = user_id
                      WHERE hash = ?1 AND removed = 0 AND key IS NOT NULL";
        let found = self.read(|connection| {
            first(connection, select, [hash.0], |row| {
                let (account, key): (String, _) = (row.get(1)?, KeyId(row.get(3)?));
                let rights: (bool, String) = (row.get(4)?, row.get(5)?);
                Ok((UserId(row.get(0)?), account, row.get::<_, bool>(2)?, key, rights))
            })
        })?;
        let (id, account, is_disabled, key, (read_only, folder)) =
            found.ok_or(Error::SignInRefused)?;
        if account != name && !key.to_string().eq_ignore_ascii_case(name) {
            return Err(Error::SignInRefused);
        }
        if is_disabled {
            return Err(Error::Disabled(account));
        }
        let rights = Rights { read_only, folder: FolderPath::parse(&folder)? };
        Ok((Account { id, name: UserName::parse(&account)? }, TokenId(*hash), rights))
    }

    /// The keys of an account, the oldest first.
    pub fn keys(&self, user: UserId) -> Result<Vec<AppKey>> {
        let select = "SELECT key, machine, created_ms, used_ms, read_only, folder FROM tokens
                      WHERE user_id = ?1 AND key IS NOT NULL ORDER BY created_ms, key";
        let rows = self.read(|connection| {
            all(connection, select, [user.0], |row| {
                let rights: (bool, String) = (row.get(4)?, row.get(5)?);
                Ok((KeyId(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?, rights))
            })
        })?;
        let told =
            |(key, name, created_ms, used_ms, (read_only, folder)): (_, _, _, _, (_, String))| {
                let rights = Rights { read_only, folder: FolderPath::parse(&folder)? };
                Ok(AppKey { key, name, rights, created_ms, used_ms })
            };
        rows.into_iter().map(told).collect()
    }
}

pub(super) fn make(
    connection: &Connection,
    user: &UserName,
    hash: &Digest,
    key: &AppKey,
) -> Result<()> {
    let Some((user, _)) = users::live(connection, user)? else { return Ok(()) };
    let insert = "INSERT INTO tokens
                      (hash, user_id, machine, created_ms, used_ms, key, read_only, folder)
                  VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    let (id, Rights { read_only, folder }) = (key.key.0, &key.rights);
    let values = params![hash.0, user.0, key.name, key.created_ms, id, read_only, folder.as_str()];
    execute(connection, insert, values).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, name};
    use crate::core::catalog::tokens::TOKENS_MAX;

    fn hash(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn key(n: u8, rights: &Rights) -> AppKey {
        let (name, rights) = (format!("program {n}"), rights.clone());
        AppKey { key: KeyId([n; 10]), name, rights, created_ms: n.into(), used_ms: n.into() }
    }

    fn add(f: &Fixture, n: u8, rights: &Rights) -> Result<()> {
        let account = f.catalog.account(&name("demo"))?;
        f.change(|draft| draft.add_key(&account, &hash(n), &key(n, rights)))
    }

    #[test]
    fn a_key_signs_its_account_in_with_its_rights_until_it_is_deleted() {
        let f = fixture();
        let rights = Rights { read_only: true, folder: folder("a/b") };
        add(&f, 1, &rights).unwrap();
        let account = f.catalog.account(&name("demo")).unwrap();
        for user in ["demo", "01010101010101010101"] {
            let signed_in = f.catalog.sign_in_by_key(user, &hash(1)).unwrap();
            assert_eq!(signed_in, (account.clone(), TokenId(hash(1)), rights.clone()));
        }
        for (user, n) in [("eve", 1), ("demo", 2), ("02020202020202020202", 1)] {
            let refused = f.catalog.sign_in_by_key(user, &hash(n)).unwrap_err();
            assert_eq!(refused.code(), Code::SignIn, "{user} {n}");
        }
        assert!(f.catalog.sign_in_by_token("demo", &hash(1)).is_err(), "a key is no token");
        assert_eq!(f.catalog.keys(f.user).unwrap(), [key(1, &rights)]);
        f.change(|draft| draft.delete_key(f.user, KeyId([1; 10]))).unwrap();
        let gone = f.change(|draft| draft.delete_key(f.user, KeyId([1; 10]))).unwrap_err();
        assert_eq!(gone.code(), Code::NoSuchFile);
        assert!(f.catalog.sign_in_by_key("demo", &hash(1)).is_err());
        assert!(f.catalog.keys(f.user).unwrap().is_empty());
    }

    #[test]
    fn keys_are_limited_and_are_replaced_by_nothing() {
        let f = fixture();
        let account = f.catalog.account(&name("demo")).unwrap();
        for n in 1..=KEYS_MAX {
            add(&f, u8::try_from(n).unwrap(), &Rights::default()).unwrap();
        }
        assert_eq!(add(&f, 200, &Rights::default()).unwrap_err().code(), Code::NotAllowed);
        for n in 0..=TOKENS_MAX {
            let mut hash = [0xee; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            let hash = Digest(hash);
            f.change(|draft| draft.add_token(&account, &hash, "m", 1000)).unwrap();
        }
        assert_eq!(f.catalog.keys(f.user).unwrap().len(), KEYS_MAX);
    }

    #[test]
    fn another_password_revokes_keys() {
        let f = fixture();
        add(&f, 1, &Rights::default()).unwrap();
        f.change(|draft| draft.set_password(&name("demo"), "new", None)).unwrap();
        assert!(f.catalog.keys(f.user).unwrap().is_empty());
    }

    #[test]
    fn a_disabled_account_has_no_use_of_its_keys() {
        let f = fixture();
        add(&f, 1, &Rights::default()).unwrap();
        f.change(|draft| draft.set_disabled(&name("demo"), true)).unwrap();
        let refused = f.catalog.sign_in_by_key("demo", &hash(1)).unwrap_err();
        assert!(matches!(refused, Error::Disabled(_)), "{refused}");
        assert!(add(&f, 2, &Rights::default()).is_err());
    }
}
