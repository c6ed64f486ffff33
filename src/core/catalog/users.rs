//! Accounts as those who run the server see them: to make, list, disable and remove them, and to say
//! how much each may store. What every account stores is counted in its row, by triggers.

use std::fmt;

use rusqlite::types::ToSql;
use rusqlite::{Connection, params};

use crate::core::catalog::accounts::{PasswordMark, Proof};
use crate::core::catalog::database::{all, execute, first, one};
use crate::core::catalog::{Account, Catalog, Draft, TokenId, UserId, tokens, tree, uploads};
use crate::core::error::{Code, Error, Result};
use crate::core::path::UserName;
use crate::core::types::Moment;
use crate::core::wire::journal::Change;

/// Whether an account can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserState {
    /// It can.
    Active,
    /// Nobody can sign in to it; its files are untouched.
    Disabled,
    /// It is being removed.
    Removing,
}

impl fmt::Display for UserState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UserState::Active => "active",
            UserState::Disabled => "disabled",
            UserState::Removing => "being removed",
        })
    }
}

/// How much an account may store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quota {
    /// What the server allows where nothing else is said.
    Default,
    /// As much as there is room for.
    Unlimited,
    /// This many bytes.
    Bytes(u64),
}

impl Quota {
    fn from_column(bytes: Option<i64>) -> Quota {
        match bytes {
            None => Quota::Default,
            Some(i64::MAX) => Quota::Unlimited,
            Some(bytes) => Quota::Bytes(bytes.unsigned_abs()),
        }
    }

    pub(super) fn column(self) -> Option<i64> {
        match self {
            Quota::Default => None,
            Quota::Unlimited => Some(i64::MAX),
            Quota::Bytes(bytes) => Some(i64::try_from(bytes).unwrap_or(i64::MAX)),
        }
    }
}

/// An account as the one who runs the server sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserRecord {
    /// Its name.
    pub name: UserName,
    /// Whether it can be used.
    pub state: UserState,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// How many files it has.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of all its versions: those files, and what is kept for undo or not dropped yet.
    pub stored_bytes: u64,
    /// How much it may store.
    pub quota: Quota,
    /// How many tokens it has.
    pub tokens: u64,
    /// May it see how the cluster is, and have it scrubbed and repaired?
    pub is_admin: bool,
}

/// What an account has stored.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// The bytes of its files.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
    /// The bytes of all its versions.
    pub stored_bytes: u64,
    /// How many of them are of versions that go as soon as nobody reads them.
    pub retired_bytes: u64,
    /// The bytes that uploads have come to.
    pub upload_bytes: u64,
    /// Is anything kept for undo only because a snapshot has it?
    pub has_held: bool,
}

impl Usage {
    /// About how many bytes are kept for undo and in snapshots. What has several names counts once.
    pub fn kept_bytes(&self) -> u64 {
        let others = self.retired_bytes + self.bytes + self.upload_bytes;
        self.stored_bytes.saturating_sub(others)
    }
}

impl Draft<'_> {
    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::UserExists`].
    pub fn create_user(&mut self, name: &UserName, hash: &str, now_ms: i64) -> Result<UserId> {
        if live(self.connection, name)?.is_some() {
            return Err(Error::UserExists(name.to_string()));
        }
        let (user, password) = (name.clone(), hash.to_owned());
        self.record(Change::UserMade { user, password, created_ms: now_ms })?;
        self.known(name)
    }

    /// Gives an account another password, and revokes all of its tokens but `keep`.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn set_password(
        &mut self,
        name: &UserName,
        hash: &str,
        keep: Option<TokenId>,
    ) -> Result<()> {
        self.known(name)?;
        let (user, password) = (name.clone(), hash.to_owned());
        let keep = keep.map(|token| token.0);
        self.record(Change::PasswordSet { user, password, keep }).map(drop)
    }

    /// Disables or enables an account.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn set_disabled(&mut self, name: &UserName, disabled: bool) -> Result<()> {
        self.known(name)?;
        self.record(Change::UserDisabled { user: name.clone(), disabled }).map(drop)
    }

    /// Makes an account an administrator, or takes that back.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn set_admin(&mut self, name: &UserName, admin: bool) -> Result<()> {
        self.known(name)?;
        self.record(Change::AdminSet { user: name.clone(), admin }).map(drop)
    }

    /// Says how much an account may store.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn set_quota(&mut self, name: &UserName, quota: Quota) -> Result<()> {
        self.known(name)?;
        self.record(Change::QuotaSet { user: name.clone(), bytes: quota.column() }).map(drop)
    }

    /// Removes an account with all that it has stored: from here on nobody can sign in to it, none of
    /// its sessions goes on, and its name is free.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn remove_user(&mut self, name: &UserName) -> Result<()> {
        self.known(name)?;
        self.record(Change::UserRemoved { user: name.clone() }).map(drop)
    }

    /// The account of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn account(&self, name: &UserName) -> Result<Account> {
        self.known(name).map(|id| Account { id, name: name.clone() })
    }

    /// Is this account still there? Its name may be another's by now.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn check_account(&self, account: &Account) -> Result<()> {
        if self.known(&account.name)? == account.id {
            Ok(())
        } else {
            Err(Error::NoSuchUser(account.name.to_string()))
        }
    }

    fn known(&self, name: &UserName) -> Result<UserId> {
        let found = live(self.connection, name)?;
        found.map(|(id, _)| id).ok_or_else(|| Error::NoSuchUser(name.to_string()))
    }
}

impl Catalog {
    /// All accounts by name, also those that were removed and whose versions are still there.
    pub fn users(&self) -> Result<Vec<UserRecord>> {
        let select =
            "SELECT name, disabled, removed, created_ms, files, bytes, stored_bytes, quota,
                          (SELECT count(*) FROM tokens WHERE user_id = users.id), admin
                      FROM users ORDER BY name, id";
        let rows = self.read(|connection| {
            all(connection, select, [], |row| {
                let name: String = row.get(0)?;
                let state = match (row.get(1)?, row.get(2)?) {
                    (_, true) => UserState::Removing,
                    (true, _) => UserState::Disabled,
                    _ => UserState::Active,
                };
                let (created_ms, files, bytes) = (row.get(3)?, row.get(4)?, row.get(5)?);
                let stored_bytes = row.get(6)?;
                let (quota, tokens) = (Quota::from_column(row.get(7)?), row.get(8)?);
                let is_admin = row.get(9)?;
                Ok(UserName::parse(&name).map(|name| UserRecord {
                    name,
                    state,
                    created_ms,
                    files,
                    bytes,
                    stored_bytes,
                    quota,
                    tokens,
                    is_admin,
                }))
            })
        })?;
        rows.into_iter().map(|row| Ok(row?)).collect()
    }

    /// The accounts that were not removed.
    pub fn live_users(&self) -> Result<Vec<UserId>> {
        let select = "SELECT id FROM users WHERE removed = 0 ORDER BY id";
        self.read(|connection| all(connection, select, [], |row| Ok(UserId(row.get(0)?))))
    }

    /// Is this account an administrator?
    pub fn is_admin(&self, user: UserId) -> Result<bool> {
        let select = "SELECT admin FROM users WHERE id = ?1 AND removed = 0";
        let found =
            self.read(|connection| first(connection, select, [user.0], |row| row.get(0)))?;
        Ok(found.unwrap_or(false))
    }

    /// How many files all accounts have, and their bytes.
    pub fn current(&self) -> Result<(u64, u64)> {
        let sums = "SELECT coalesce(sum(files), 0), coalesce(sum(bytes), 0) FROM users";
        self.read(|connection| one(connection, sums, [], |row| Ok((row.get(0)?, row.get(1)?))))
    }

    /// May a session that was signed in like this go on? Asked before each request.
    ///
    /// # Errors
    /// [`Error::Disabled`]; [`Error::TokenRefused`] if the token was revoked;
    /// [`Error::PasswordChanged`]; [`Error::NoSuchUser`] if the account was removed.
    pub fn check_standing(&self, account: &Account, proof: &Proof) -> Result<()> {
        self.read(|connection| check_standing(connection, account, proof))
    }

    /// How much an account may store, and how much it has stored.
    pub fn quota_and_usage(&self, user: UserId) -> Result<(Quota, Usage)> {
        self.read(|connection| {
            let select = "SELECT quota, bytes, files, stored_bytes, retired_bytes,
                              EXISTS (SELECT 1 FROM past WHERE user_id = users.id AND held > 0),
                              (SELECT coalesce(sum(extents.bytes), 0)
                               FROM uploads JOIN extents ON file = uploads.id
                               WHERE uploads.user_id = users.id)
                          FROM users WHERE id = ?1";
            one(connection, select, [user.0], |row| {
                let usage = Usage {
                    bytes: row.get(1)?,
                    files: row.get(2)?,
                    stored_bytes: row.get(3)?,
                    retired_bytes: row.get(4)?,
                    has_held: row.get(5)?,
                    upload_bytes: row.get(6)?,
                };
                Ok((Quota::from_column(row.get(0)?), usage))
            })
        })
    }
}

pub(super) fn check_standing(
    connection: &Connection,
    account: &Account,
    proof: &Proof,
) -> Result<()> {
    let select = "SELECT disabled, password FROM users WHERE id = ?1 AND removed = 0";
    let found = first(connection, select, [account.id.0], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?))
    })?;
    let Some((is_disabled, hash)) = found else {
        return Err(Error::NoSuchUser(account.name.to_string()));
    };
    if is_disabled {
        return Err(Error::Disabled(account.name.to_string()));
    }
    match proof {
        Proof::Door => Ok(()),
        Proof::Password(mark) if *mark == PasswordMark::of_hash(&hash) => Ok(()),
        Proof::Password(_) => Err(Error::PasswordChanged),
        Proof::Token(token) if tokens::is_of(connection, *token, account.id)? => Ok(()),
        Proof::Token(_) => Err(Error::TokenRefused),
    }
}

/// An account that was not removed, and the entry of its top folder.
pub(super) fn live(connection: &Connection, name: &UserName) -> Result<Option<(UserId, i64)>> {
    let select = "SELECT id, root FROM users WHERE name = ?1 AND removed = 0";
    first(connection, select, [name.as_str()], |row| Ok((UserId(row.get(0)?), row.get(1)?)))
}

/// The entry of an account's top folder, unless the account was removed.
pub(super) fn top_of(connection: &Connection, user: UserId) -> Result<Option<i64>> {
    let select = "SELECT root FROM users WHERE id = ?1 AND removed = 0";
    first(connection, select, [user.0], |row| row.get(0))
}

/// The name of an account and its top folder. What was under way while its account was removed must
/// not bring anything back.
pub(super) fn still_there(connection: &Connection, user: UserId) -> Result<(UserName, i64)> {
    let select = "SELECT name, root FROM users WHERE id = ?1 AND removed = 0";
    let found =
        first(connection, select, [user.0], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let gone = || Error::other(Code::NotAllowed, "the account was removed meanwhile");
    let (name, top) = found.ok_or_else(gone)?;
    Ok((UserName::parse(&name)?, top))
}

/// The name of an account, unless it was removed.
pub(super) fn name_of(connection: &Connection, user: UserId) -> Result<Option<UserName>> {
    let select = "SELECT name FROM users WHERE id = ?1 AND removed = 0";
    let name = first(connection, select, [user.0], |row| row.get::<_, String>(0))?;
    Ok(name.map(|name| UserName::parse(&name)).transpose()?)
}

pub(super) fn make(
    connection: &Connection,
    name: &UserName,
    password: &str,
    created_ms: i64,
    at: Moment,
) -> Result<()> {
    if live(connection, name)?.is_some() {
        return Ok(());
    }
    let top = tree::insert(connection, None, "", None, at)?;
    let insert = "INSERT INTO users (name, password, created_ms, root) VALUES (?1, ?2, ?3, ?4)";
    execute(connection, insert, params![name.as_str(), password, created_ms, top]).map(drop)
}

/// Sets a column of an account, if there is one of this name.
pub(super) fn set(
    connection: &Connection,
    name: &UserName,
    column: &str,
    value: &dyn ToSql,
) -> Result<()> {
    let update = format!("UPDATE users SET {column} = ?2 WHERE name = ?1 AND removed = 0");
    execute(connection, &update, params![name.as_str(), value]).map(drop)
}

pub(super) fn remove(connection: &Connection, name: &UserName, at: Moment) -> Result<()> {
    let Some((user, top)) = live(connection, name)? else { return Ok(()) };
    tokens::revoke_all(connection, user, None)?;
    uploads::drop_of(connection, user)?;
    tree::detach(connection, top, user, at, true)?;
    let update = "UPDATE users SET removed = 1, password = '', files = 0, bytes = 0 WHERE id = ?1";
    execute(connection, update, [user.0]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::NewFile;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, name, new_file, path, v};
    use crate::core::types::Digest;

    fn store(f: &Fixture, at: &str, version: u8, bytes: u64) {
        let new = NewFile { bytes, ..new_file(f.user, at, v(version)) };
        f.change(|draft| draft.store(&new, None)).unwrap();
    }

    #[test]
    fn a_disabled_account_lets_nobody_in_and_keeps_its_files() {
        let f = fixture();
        f.store("up/a", 1);
        let account = f.catalog.account(&name("demo")).unwrap();
        let hash = Digest([1; 32]);
        let token = f.change(|draft| draft.add_token(&account, &hash, "m", 0)).unwrap();
        f.change(|draft| draft.set_disabled(&account.name, true)).unwrap();
        let code = |outcome: Result<()>| outcome.unwrap_err().code();
        assert_eq!(code(f.catalog.check_standing(&account, &Proof::Door)), Code::Disabled);
        assert_eq!(code(f.catalog.check_standing(&account, &Proof::Token(token))), Code::Disabled);
        assert_eq!(code(f.catalog.sign_in_by_token("demo", &hash).map(drop)), Code::Disabled);
        let refused = f.change(|draft| draft.add_token(&account, &Digest([2; 32]), "m", 0));
        assert_eq!(code(refused.map(drop)), Code::SignIn);
        assert_eq!(f.catalog.users().unwrap()[0].state, UserState::Disabled);
        f.change(|draft| draft.set_disabled(&account.name, false)).unwrap();
        f.catalog.check_standing(&account, &Proof::Token(token)).unwrap();
        f.change(|draft| draft.revoke_token(token)).unwrap();
        assert_eq!(code(f.catalog.check_standing(&account, &Proof::Token(token))), Code::SignIn);
        assert_eq!(f.list(), ["up/", "up/a"]);
        let nobody = f.change(|draft| draft.set_disabled(&name("nobody"), true));
        assert_eq!(code(nobody), Code::NoSuchUser);
    }

    #[test]
    fn what_is_known_of_an_account_is_listed() {
        let f = fixture();
        store(&f, "up/a", 1, 5);
        store(&f, "up/b", 2, 7);
        store(&f, "up/a", 3, 6);
        let account = f.catalog.account(&name("demo")).unwrap();
        f.change(|draft| draft.set_quota(&account.name, Quota::Bytes(100))).unwrap();
        assert!(!f.catalog.is_admin(f.user).unwrap());
        f.change(|draft| draft.set_admin(&account.name, true)).unwrap();
        assert!(f.catalog.is_admin(f.user).unwrap());
        f.change(|draft| draft.add_token(&account, &Digest([1; 32]), "m", 0)).unwrap();
        f.change(|draft| draft.create_user(&name("ann"), "", 8)).unwrap();
        let again = f.change(|draft| draft.create_user(&name("ann"), "", 9)).unwrap_err();
        assert_eq!(again.code(), Code::UserExists);
        let users = f.catalog.users().unwrap();
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["ann", "demo"]);
        let expected = UserRecord {
            name: name("demo"),
            state: UserState::Active,
            created_ms: 7,
            files: 2,
            bytes: 7 + 6,
            stored_bytes: 5 + 7 + 6,
            quota: Quota::Bytes(100),
            tokens: 1,
            is_admin: true,
        };
        assert_eq!(users[1], expected);
    }

    #[test]
    fn every_byte_counts_until_it_is_dropped_and_what_is_kept_is_told_apart() {
        let f = fixture();
        let usage = || {
            let (_, usage) = f.catalog.quota_and_usage(f.user).unwrap();
            (usage.stored_bytes, usage.bytes, usage.kept_bytes(), usage.retired_bytes)
        };
        let drop_all = || {
            f.expire();
            let some = f.catalog.retired(99).unwrap();
            f.change(|draft| draft.drop_versions(&some)).unwrap();
            f.catalog.sweep_doomed().unwrap();
        };
        assert_eq!(usage(), (0, 0, 0, 0));
        store(&f, "a", 1, 1);
        store(&f, "a", 2, 10);
        store(&f, "x/y/b", 3, 100);
        store(&f, "x/c", 4, 1000);
        assert_eq!(usage(), (1111, 1110, 1, 0));
        f.change(|draft| draft.delete(f.user, &path("x/c"))).unwrap();
        assert_eq!(usage(), (1111, 110, 1001, 0));
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        assert_eq!(usage(), (1111, 10, 1101, 0), "below a removed folder");
        f.change(|draft| draft.undo(f.user, &path("x"))).unwrap();
        assert_eq!(usage(), (1111, 110, 1001, 0), "and back");
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        f.expire();
        assert_eq!(usage(), (1111, 10, 100, 1001), "what is in a folder goes bit by bit");
        drop_all();
        assert_eq!(usage(), (10, 10, 0, 0));
        let count = |f: &Fixture| f.catalog.users().unwrap()[0].files;
        assert_eq!(count(&f), 1);
        f.change(|draft| draft.relocate(f.user, &path("a"), &folder("b"), false)).unwrap();
        assert_eq!((usage(), count(&f)), ((10, 10, 0, 0), 1), "a move costs nothing");
    }

    #[test]
    fn nothing_that_was_under_way_goes_on_after_its_account_was_removed() {
        let f = fixture();
        let account = f.catalog.account(&name("demo")).unwrap();
        let hash = Digest([1; 32]);
        f.change(|draft| draft.add_token(&account, &hash, "m", 0)).unwrap();
        f.change(|draft| draft.remove_user(&account.name)).unwrap();
        assert!(f.change(|draft| draft.remove_user(&account.name)).is_err());
        f.change(|draft| draft.create_user(&account.name, "", 9)).unwrap();
        let new = new_file(f.user, "a", v(1));
        let refused = f.change(|draft| draft.store(&new, None)).unwrap_err();
        assert_eq!(refused.code(), Code::NotAllowed);
        assert!(f.change(|draft| draft.make_folder(f.user, &folder("x"), true)).is_err());
        assert!(f.change(|draft| draft.add_token(&account, &hash, "m", 0)).is_err());
        assert!(f.change(|draft| draft.check_account(&account)).is_err());
        assert!(f.catalog.check_standing(&account, &Proof::Door).is_err());
        assert!(f.catalog.sign_in_by_token("demo", &hash).is_err());
        let again = f.catalog.account(&account.name).unwrap();
        f.change(|draft| draft.check_account(&again)).unwrap();
    }
}
