//! Tokens: what a client keeps in place of a password, so that nobody has to type one and the server
//! has nothing to compute. Only their hashes are here; whoever reads the catalog can use none.

use rusqlite::{Connection, OptionalExtension, params};

use crate::core::catalog::accounts::Account;
use crate::core::catalog::database::catalog_error;
use crate::core::catalog::{Catalog, UserId};
use crate::core::error::{Error, Result};
use crate::core::path::UserName;
use crate::core::types::Digest;

/// How many tokens an account may have. One more takes the place of the one that was not used for
/// the longest time, so that forgotten ones do not pile up.
pub const TOKENS_MAX: usize = 100;

/// When a token was last used is noted to this, in milliseconds: noting it each time would cost every
/// sign-in a synced write, which is most of what a token saves.
const USED_PRECISION_MS: i64 = 3_600_000;

/// A token's number in the catalog. None is used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenId(pub(in crate::core::catalog) i64);

impl Catalog {
    /// Keeps a new token of an account, by its hash; `machine` says where it is used.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`] if the account was removed or disabled meanwhile.
    pub fn add_token(
        &self,
        account: &Account,
        hash: &Digest,
        machine: &str,
        now_ms: i64,
    ) -> Result<TokenId> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let added = transaction
            .execute(
                "INSERT INTO tokens (user_id, hash, machine, created_ms, used_ms)
                 SELECT id, ?3, ?4, ?5, ?5 FROM users
                 WHERE id = ?1 AND generation = ?2 AND state = 'active'",
                params![account.id.0, account.generation, hash.0, machine, now_ms],
            )
            .map_err(catalog_error)?;
        if added == 0 {
            return Err(Error::NotSignedIn);
        }
        let id = TokenId(transaction.last_insert_rowid());
        transaction
            .execute(
                "DELETE FROM tokens WHERE user_id = ?1 AND id IN (
                     SELECT id FROM tokens WHERE user_id = ?1 AND id != ?3
                     ORDER BY used_ms DESC, id DESC LIMIT -1 OFFSET ?2)",
                params![account.id.0, TOKENS_MAX - 1, id.0],
            )
            .map_err(catalog_error)?;
        self.commit(transaction)?;
        Ok(id)
    }

    /// The account that this token is of.
    ///
    /// # Errors
    /// [`Error::TokenRefused`] if there is none, or it is another's than `name`;
    /// [`Error::Disabled`].
    pub fn sign_in_by_token(
        &self,
        name: &str,
        hash: &Digest,
        now_ms: i64,
    ) -> Result<(Account, TokenId)> {
        let name = UserName::parse(name).map_err(|_| Error::TokenRefused)?;
        let found = self
            .reader
            .lock()
            .prepare_cached(
                "SELECT tokens.id, users.id, generation, state = 'disabled', used_ms
                 FROM tokens JOIN users ON users.id = user_id
                 WHERE hash = ?1 AND name = ?2 AND state != 'removed'",
            )
            .and_then(|mut query| {
                query
                    .query_row(params![hash.0, name.as_str()], |row| {
                        let (id, generation) = (UserId(row.get(1)?), row.get(2)?);
                        let account = Account { id, name: name.clone(), generation };
                        let (disabled, used_ms): (bool, i64) = (row.get(3)?, row.get(4)?);
                        Ok((TokenId(row.get(0)?), account, disabled, used_ms))
                    })
                    .optional()
            })
            .map_err(catalog_error)?;
        let (token, account, disabled, used_ms) = found.ok_or(Error::TokenRefused)?;
        if disabled {
            return Err(Error::Disabled(account.name.to_string()));
        }
        if now_ms.saturating_sub(used_ms) >= USED_PRECISION_MS {
            self.note_token_used(token, now_ms)?;
        }
        Ok((account, token))
    }

    fn note_token_used(&self, token: TokenId, now_ms: i64) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        transaction
            .execute("UPDATE tokens SET used_ms = ?2 WHERE id = ?1", params![token.0, now_ms])
            .map_err(catalog_error)?;
        self.commit(transaction)
    }

    /// Revokes a token. One that is revoked already is no error.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn revoke_token(&self, token: TokenId) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        transaction
            .execute("DELETE FROM tokens WHERE id = ?1", [token.0])
            .map_err(catalog_error)?;
        self.commit(transaction)
    }
}

/// Revokes all tokens of an account but this one.
pub(super) fn revoke_all(
    connection: &Connection,
    user: UserId,
    keep: Option<TokenId>,
) -> Result<()> {
    connection
        .execute(
            "DELETE FROM tokens WHERE user_id = ?1 AND id IS NOT ?2",
            params![user.0, keep.map(|token| token.0)],
        )
        .map_err(catalog_error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::accounts::HashGate;
    use crate::core::error::Code;
    use crate::core::types::ClusterId;

    fn catalog(folder: &std::path::Path) -> (Catalog, HashGate, Account) {
        let catalog = Catalog::open(&folder.join("palk.db"), ClusterId([1; 16])).unwrap();
        let (gate, demo) = (HashGate::default(), UserName::parse("demo").unwrap());
        catalog.create_user(&gate, &demo, "pw", 0).unwrap();
        let account = catalog.account(&demo).unwrap();
        (catalog, gate, account)
    }

    fn hash(n: usize) -> Digest {
        Digest([u8::try_from(n % 251).unwrap(); 32])
    }

    #[test]
    fn a_token_signs_its_own_account_in_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, gate, account) = catalog(folder.path());
        catalog.create_user(&gate, &UserName::parse("eve").unwrap(), "pw", 0).unwrap();
        let token = catalog.add_token(&account, &hash(1), "laptop", 5).unwrap();
        assert_eq!(catalog.sign_in_by_token("demo", &hash(1), 6).unwrap(), (account, token));
        for (name, n) in [("eve", 1), ("demo", 2), ("../x", 1), ("nobody", 1)] {
            let refused = catalog.sign_in_by_token(name, &hash(n), 6).unwrap_err();
            assert_eq!(refused.code(), Code::SignIn, "{name} {n}");
        }
        catalog.revoke_token(token).unwrap();
        catalog.revoke_token(token).unwrap();
        assert!(catalog.sign_in_by_token("demo", &hash(1), 6).is_err());
    }

    #[test]
    fn another_password_revokes_all_tokens_but_the_own() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, gate, account) = catalog(folder.path());
        let own = catalog.add_token(&account, &hash(1), "here", 5).unwrap();
        catalog.add_token(&account, &hash(2), "stolen", 5).unwrap();
        catalog.change_password(&gate, &account.name, ["pw", "new"], Some(own), ()).unwrap();
        assert!(catalog.sign_in_by_token("demo", &hash(1), 6).is_ok());
        assert!(catalog.sign_in_by_token("demo", &hash(2), 6).is_err());
        catalog.set_password(&gate, &account.name, "newer", None).unwrap();
        assert!(catalog.sign_in_by_token("demo", &hash(1), 6).is_err());
    }

    #[test]
    fn the_tokens_of_an_account_are_limited_and_the_least_used_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, _, account) = catalog(folder.path());
        for n in 1..=TOKENS_MAX {
            let now_ms = i64::try_from(n).unwrap();
            catalog.add_token(&account, &hash(n), "m", now_ms).unwrap();
        }
        let hours = 2 * USED_PRECISION_MS;
        catalog.sign_in_by_token("demo", &hash(1), hours).unwrap();
        catalog.add_token(&account, &hash(200), "m", 1).unwrap();
        assert!(catalog.sign_in_by_token("demo", &hash(1), hours).is_ok(), "used lately");
        assert!(catalog.sign_in_by_token("demo", &hash(200), hours).is_ok(), "the new one");
        assert!(catalog.sign_in_by_token("demo", &hash(2), hours).is_err(), "used the least");
        assert!(catalog.sign_in_by_token("demo", &hash(3), hours).is_ok());
    }
}
