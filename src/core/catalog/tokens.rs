//! Tokens: what a client keeps in place of a password, so that nobody has to type one and the server
//! has nothing to compute. Only their hashes are here; they are of no use to those who read the
//! catalog.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{execute, first, limit};
use crate::core::catalog::{Account, Catalog, Draft, UserId, draft, users};
use crate::core::error::{Error, Result};
use crate::core::path::UserName;
use crate::core::types::Digest;
use crate::core::wire::journal::Change;

/// How many tokens an account may have. One more takes the place of the one that was not used for
/// the longest time, so that forgotten ones do not pile up.
pub const TOKENS_MAX: usize = 100;

/// When a token was last used is noted to this, in milliseconds: noting it each time would cost every
/// sign-in an entry of the journal, which is most of what a token saves.
const USED_PRECISION_MS: i64 = 3_600_000;

/// A token, by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenId(pub(in crate::core::catalog) Digest);

impl Draft<'_> {
    /// Keeps a new token of an account, by its hash; `machine` says where it is used.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`] if the account was removed or disabled meanwhile.
    pub fn add_token(
        &mut self,
        account: &Account,
        hash: &Digest,
        machine: &str,
        now_ms: i64,
    ) -> Result<TokenId> {
        draft::check_text("the name of a machine", machine)?;
        let select = "SELECT 1 FROM users WHERE id = ?1 AND removed = 0 AND disabled = 0";
        if first(self.connection, select, [account.id.0], |_| Ok(()))?.is_none() {
            return Err(Error::NotSignedIn);
        }
        self.record(Change::TokenMade {
            user: account.name.clone(),
            hash: *hash,
            machine: machine.to_owned(),
            created_ms: now_ms,
        })?;
        Ok(TokenId(*hash))
    }

    /// Notes that a token was used, if that was not done lately.
    pub fn use_token(&mut self, token: TokenId, now_ms: i64) -> Result<()> {
        if is_use_due(self.connection, token, now_ms)? {
            self.record(Change::TokenUsed { hash: token.0, used_ms: now_ms })?;
        }
        Ok(())
    }

    /// Revokes a token. One that is revoked already is no error.
    pub fn revoke_token(&mut self, token: TokenId) -> Result<()> {
        let select = "SELECT 1 FROM tokens WHERE hash = ?1";
        if first(self.connection, select, [token.0.0], |_| Ok(()))?.is_some() {
            self.record(Change::TokenRevoked { hash: token.0 })?;
        }
        Ok(())
    }
}

impl Catalog {
    /// The account that this token is of.
    ///
    /// # Errors
    /// [`Error::TokenRefused`] if there is none, or it is another's than `name`;
    /// [`Error::Disabled`].
    pub fn sign_in_by_token(&self, name: &str, hash: &Digest) -> Result<(Account, TokenId)> {
        let name = UserName::parse(name).map_err(|_| Error::TokenRefused)?;
        let select = "SELECT users.id, disabled FROM tokens JOIN users ON users.id = user_id
                      WHERE hash = ?1 AND name = ?2 AND removed = 0 AND key IS NULL";
        let found = self.read(|connection| {
            let values = params![hash.0, name.as_str()];
            first(connection, select, values, |row| Ok((UserId(row.get(0)?), row.get(1)?)))
        })?;
        match found {
            None => Err(Error::TokenRefused),
            Some((_, true)) => Err(Error::Disabled(name.to_string())),
            Some((id, false)) => Ok((Account { id, name }, TokenId(*hash))),
        }
    }

    /// Is it so long ago that a token was noted to be used that [`Draft::use_token`] is due?
    pub fn is_use_due(&self, token: TokenId, now_ms: i64) -> Result<bool> {
        self.read(|connection| is_use_due(connection, token, now_ms))
    }
}

fn is_use_due(connection: &Connection, token: TokenId, now_ms: i64) -> Result<bool> {
    let select = "SELECT used_ms FROM tokens WHERE hash = ?1";
    let used: Option<i64> = first(connection, select, [token.0.0], |row| row.get(0))?;
    // A date in the future is that of a clock that was wrong.
    let is_due = |used_ms| used_ms > now_ms || now_ms.saturating_sub(used_ms) >= USED_PRECISION_MS;
    Ok(used.is_some_and(is_due))
}

pub(super) fn is_of(connection: &Connection, token: TokenId, user: UserId) -> Result<bool> {
    let select = "SELECT 1 FROM tokens WHERE hash = ?1 AND user_id = ?2";
    let found = first(connection, select, params![token.0.0, user.0], |_| Ok(()))?;
    Ok(found.is_some())
}

pub(super) fn make(
    connection: &Connection,
    user: &UserName,
    hash: &Digest,
    machine: &str,
    created_ms: i64,
) -> Result<()> {
    let Some((user, _)) = users::live(connection, user)? else { return Ok(()) };
    let insert = "INSERT INTO tokens (hash, user_id, machine, created_ms, used_ms)
                  VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING";
    execute(connection, insert, params![hash.0, user.0, machine, created_ms])?;
    let delete = "DELETE FROM tokens WHERE hash IN (
                      SELECT hash FROM tokens WHERE user_id = ?1 AND hash != ?2 AND key IS NULL
                      ORDER BY used_ms > ?4, used_ms DESC, hash LIMIT -1 OFFSET ?3)";
    // Those from the future were not used since the clock is right again.
    let values = params![user.0, hash.0, limit(TOKENS_MAX - 1), created_ms];
    execute(connection, delete, values).map(drop)
}

pub(super) fn note_used(connection: &Connection, hash: &Digest, used_ms: i64) -> Result<()> {
    let update = "UPDATE tokens SET used_ms = ?2 WHERE hash = ?1";
    execute(connection, update, params![hash.0, used_ms]).map(drop)
}

pub(super) fn revoke(connection: &Connection, hash: &Digest) -> Result<()> {
    execute(connection, "DELETE FROM tokens WHERE hash = ?1", [hash.0]).map(drop)
}

/// Revokes all tokens of an account but this one.
pub(super) fn revoke_all(
    connection: &Connection,
    user: UserId,
    keep: Option<&Digest>,
) -> Result<()> {
    let delete = "DELETE FROM tokens WHERE user_id = ?1 AND hash IS NOT ?2";
    execute(connection, delete, params![user.0, keep.map(|hash| hash.0)]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{fixture, name};
    use crate::core::error::Code;

    fn hash(n: usize) -> Digest {
        Digest([u8::try_from(n % 251).unwrap(); 32])
    }

    #[test]
    fn a_token_signs_its_own_account_in_until_it_is_revoked() {
        let f = fixture();
        f.change(|draft| draft.create_user(&name("eve"), "", 0)).unwrap();
        let account = f.catalog.account(&name("demo")).unwrap();
        let token = f.change(|draft| draft.add_token(&account, &hash(1), "laptop", 5)).unwrap();
        assert_eq!(f.catalog.sign_in_by_token("demo", &hash(1)).unwrap(), (account, token));
        for (name, n) in [("eve", 1), ("demo", 2), ("../x", 1), ("nobody", 1)] {
            let refused = f.catalog.sign_in_by_token(name, &hash(n)).unwrap_err();
            assert_eq!(refused.code(), Code::SignIn, "{name} {n}");
        }
        f.change(|draft| draft.revoke_token(token)).unwrap();
        f.change(|draft| draft.revoke_token(token)).unwrap();
        assert!(f.catalog.sign_in_by_token("demo", &hash(1)).is_err());
    }

    #[test]
    fn another_password_revokes_all_tokens_but_the_one_that_is_kept() {
        let f = fixture();
        let account = f.catalog.account(&name("demo")).unwrap();
        let own = f.change(|draft| draft.add_token(&account, &hash(1), "here", 5)).unwrap();
        f.change(|draft| draft.add_token(&account, &hash(2), "stolen", 5)).unwrap();
        f.change(|draft| draft.set_password(&account.name, "new", Some(own))).unwrap();
        assert!(f.catalog.sign_in_by_token("demo", &hash(1)).is_ok());
        assert!(f.catalog.sign_in_by_token("demo", &hash(2)).is_err());
        f.change(|draft| draft.set_password(&account.name, "newer", None)).unwrap();
        assert!(f.catalog.sign_in_by_token("demo", &hash(1)).is_err());
    }

    #[test]
    fn the_tokens_of_an_account_are_limited_and_the_least_used_goes() {
        let f = fixture();
        let account = f.catalog.account(&name("demo")).unwrap();
        for n in 1..=TOKENS_MAX {
            let now_ms = i64::try_from(n).unwrap();
            f.change(|draft| draft.add_token(&account, &hash(n), "m", now_ms)).unwrap();
        }
        let (first, later) = (TokenId(hash(1)), 2 * USED_PRECISION_MS);
        assert!(f.catalog.is_use_due(first, later).unwrap());
        f.change(|draft| draft.use_token(first, later)).unwrap();
        assert!(!f.catalog.is_use_due(first, later + 1).unwrap());
        let end = f.catalog.end().unwrap();
        f.change(|draft| draft.use_token(first, later + 1)).unwrap();
        assert_eq!(f.catalog.end().unwrap(), end, "noted to the hour");
        f.change(|draft| draft.add_token(&account, &hash(200), "m", 1)).unwrap();
        let is_in = |n| f.catalog.sign_in_by_token("demo", &hash(n)).is_ok();
        assert!(is_in(1), "used lately");
        assert!(is_in(200), "the new one");
        assert!(!is_in(2) && is_in(3), "the one that was used the least is gone");
    }

    #[test]
    fn a_date_in_the_future_keeps_no_token_and_is_put_right_at_the_next_use() {
        let f = fixture();
        let account = f.catalog.account(&name("demo")).unwrap();
        let (now_ms, years) = (2 * USED_PRECISION_MS, 630_000_000_000);
        let add = |n, at| f.change(|draft| draft.add_token(&account, &hash(n), "m", at)).unwrap();
        for n in 1..=TOKENS_MAX {
            add(n, years);
        }
        let used = TokenId(hash(1));
        assert!(f.catalog.is_use_due(used, now_ms).unwrap());
        f.change(|draft| draft.use_token(used, now_ms)).unwrap();
        assert!(!f.catalog.is_use_due(used, now_ms + 1).unwrap());
        add(200, now_ms);
        add(201, now_ms + 1);
        let is_in = |n| f.catalog.sign_in_by_token("demo", &hash(n)).is_ok();
        assert!(is_in(1) && is_in(200) && is_in(201));
        assert_eq!((2..=TOKENS_MAX).filter(|n| is_in(*n)).count(), TOKENS_MAX - 3);
    }

    #[test]
    fn what_does_not_fit_a_record_is_refused() {
        let f = fixture();
        let account = f.catalog.account(&name("demo")).unwrap();
        let machine = "m".repeat(2000);
        let refused = f.change(|draft| draft.add_token(&account, &hash(1), &machine, 0));
        assert_eq!(refused.unwrap_err().code(), Code::Usage);
    }
}
