//! What whoever runs the server does with accounts: to list, disable and remove them, and to say how
//! much each may store. What every account stores is counted in its row.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, params};

use crate::core::catalog::accounts::Account;
use crate::core::catalog::database::catalog_error;
use crate::core::catalog::{Catalog, TokenId, UserId, accounts, files, journal, tokens};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::wire::journal::Change;
use crate::core::wire::node::Place;

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
    /// So many bytes.
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

    fn column(self) -> Option<i64> {
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
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// How much it may store.
    pub quota: Quota,
    /// How many tokens it has.
    pub tokens: u64,
}

impl Catalog {
    /// All accounts by name, also those whose removal is under way.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn users(&self) -> Result<Vec<UserRecord>> {
        let reader = self.reader.lock();
        let mut query = reader
            .prepare_cached(
                "SELECT name, state, created_ms, stored_files, stored_bytes, quota,
                     (SELECT count(*) FROM tokens WHERE user_id = users.id)
                 FROM users
                 WHERE state != 'removed' OR stored_files > 0
                     OR EXISTS (SELECT 1 FROM folders WHERE user_id = users.id)
                 ORDER BY name",
            )
            .map_err(catalog_error)?;
        let rows = query
            .query_map([], |row| {
                let state: String = row.get(1)?;
                let name: String = row.get(0)?;
                Ok(UserName::parse(&name).map(|name| UserRecord {
                    name,
                    state: match state.as_str() {
                        "active" => UserState::Active,
                        "disabled" => UserState::Disabled,
                        _ => UserState::Removing,
                    },
                    created_ms: row.get(2).unwrap_or_default(),
                    files: row.get(3).unwrap_or_default(),
                    bytes: row.get(4).unwrap_or_default(),
                    quota: Quota::from_column(row.get(5).unwrap_or_default()),
                    tokens: row.get(6).unwrap_or_default(),
                }))
            })
            .map_err(catalog_error)?;
        rows.map(|row| Ok(row.map_err(catalog_error)??)).collect()
    }

    /// May whoever signed in like this go on? Asked before each request.
    ///
    /// # Errors
    /// [`Error::Disabled`]; [`Error::TokenRefused`] if the token was revoked; [`Error::NoSuchUser`]
    /// if the account was removed.
    pub fn check_standing(&self, account: &Account, token: Option<TokenId>) -> Result<()> {
        let found: Option<(bool, bool)> = self
            .reader
            .lock()
            .prepare_cached(
                "SELECT state = 'disabled',
                     ?3 IS NULL OR EXISTS (SELECT 1 FROM tokens WHERE id = ?3 AND user_id = ?1)
                 FROM users WHERE id = ?1 AND generation = ?2 AND state != 'removed'",
            )
            .and_then(|mut query| {
                let token = token.map(|token| token.0);
                query
                    .query_row(params![account.id.0, account.generation, token], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .optional()
            })
            .map_err(catalog_error)?;
        match found {
            None => Err(Error::NoSuchUser(account.name.to_string())),
            Some((true, _)) => Err(Error::Disabled(account.name.to_string())),
            Some((false, false)) => Err(Error::TokenRefused),
            Some((false, true)) => Ok(()),
        }
    }

    /// Disables or enables an account.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn set_disabled(&self, name: &UserName, disabled: bool) -> Result<()> {
        let state = if disabled { "disabled" } else { "active" };
        let change = Change::AccountDisabled { user: name.clone(), disabled };
        self.update_user(name, "state", &state, &change)
    }

    /// Says how much an account may store.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn set_quota(&self, name: &UserName, quota: Quota) -> Result<()> {
        let change = Change::QuotaSet { user: name.clone(), bytes: quota.column() };
        self.update_user(name, "quota", &quota.column(), &change)
    }

    fn update_user(
        &self,
        name: &UserName,
        column: &str,
        value: &dyn rusqlite::ToSql,
        change: &Change,
    ) -> Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        if !update(&transaction, name, column, value)? {
            return Err(Error::NoSuchUser(name.to_string()));
        }
        journal::record(&transaction, change)?;
        self.commit(transaction)
    }

    /// How much an account may store, and how many bytes its files have.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn quota_and_stored(&self, user: UserId) -> Result<(Quota, u64)> {
        self.reader
            .lock()
            .prepare_cached("SELECT quota, stored_bytes FROM users WHERE id = ?1")
            .and_then(|mut query| {
                query.query_row([user.0], |row| Ok((Quota::from_column(row.get(0)?), row.get(1)?)))
            })
            .map_err(catalog_error)
    }

    /// Begins to remove an account: from here on nobody can sign in to it, none of its sessions goes
    /// on and no running store of it commits. [`Catalog::remove_page`] does the rest, also after a
    /// crash.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn begin_removal(&self, name: &UserName) -> Result<UserId> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let id = mark_removed(&transaction, name)?;
        let id = id.ok_or_else(|| Error::NoSuchUser(name.to_string()))?;
        tokens::revoke_all(&transaction, id, None)?;
        journal::record(&transaction, &Change::RemovalBegun { user: name.clone() })?;
        self.commit(transaction)?;
        Ok(id)
    }

    /// Removes up to `most` files of an account whose removal has begun, in one transaction with
    /// what the nodes owe for it; at last its folders. False once nothing is left.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn remove_page(&self, user: UserId, most: usize) -> Result<bool> {
        // One number for all of them: every file's own was drawn before the removal began.
        let seq = self.draw_seq()?;
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let paths: Vec<String> = transaction
            .prepare_cached(
                "SELECT path FROM files JOIN users ON users.id = user_id
                 WHERE user_id = ?1 AND state = 'removed' ORDER BY path LIMIT ?2",
            )
            .and_then(|mut query| {
                query.query_map(params![user.0, most], |row| row.get(0))?.collect()
            })
            .map_err(catalog_error)?;
        for path in &paths {
            let path = FilePath::parse_rooted(path)?;
            files::remove_file(&transaction, user, &path, seq)?;
            let place = Place { user: accounts::name_of(&transaction, user)?, path };
            journal::record(&transaction, &Change::Deleted { place, seq })?;
        }
        if paths.is_empty() && remove_folders(&transaction, user)? {
            let name = accounts::name_of(&transaction, user)?;
            journal::record(&transaction, &Change::FoldersRemoved { user: name })?;
        }
        self.commit(transaction)?;
        Ok(!paths.is_empty())
    }

    /// The accounts whose removal has begun and has not come to its end.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn removals(&self) -> Result<Vec<UserId>> {
        self.reader
            .lock()
            .prepare_cached(
                "SELECT id FROM users WHERE state = 'removed'
                     AND (stored_files > 0
                         OR EXISTS (SELECT 1 FROM folders WHERE user_id = users.id))",
            )
            .and_then(|mut query| query.query_map([], |row| Ok(UserId(row.get(0)?)))?.collect())
            .map_err(catalog_error)
    }

    /// The removed account of this name, if there is one.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn removed_user(&self, name: &UserName) -> Result<Option<UserId>> {
        self.reader
            .lock()
            .prepare_cached("SELECT id FROM users WHERE name = ?1 AND state = 'removed'")
            .and_then(|mut query| {
                query.query_row([name.as_str()], |row| Ok(UserId(row.get(0)?))).optional()
            })
            .map_err(catalog_error)
    }
}

/// Changes a column of an account that was not removed. False if there is none.
fn update(
    connection: &Connection,
    name: &UserName,
    column: &str,
    value: &dyn rusqlite::ToSql,
) -> Result<bool> {
    let update = format!("UPDATE users SET {column} = ?2 WHERE name = ?1 AND state != 'removed'");
    let changed = connection.execute(&update, params![name.as_str(), value]);
    Ok(changed.map_err(catalog_error)? > 0)
}

/// From here on nobody can sign in to an account, and its name waits for its files to go.
fn mark_removed(connection: &Connection, name: &UserName) -> Result<Option<UserId>> {
    connection
        .query_row(
            "UPDATE users SET state = 'removed', password = '', generation = generation + 1
             WHERE name = ?1 AND state != 'removed' RETURNING id",
            [name.as_str()],
            |row| Ok(UserId(row.get(0)?)),
        )
        .optional()
        .map_err(catalog_error)
}

/// The end of a removal. False if there were no folders, or the account was not removed.
fn remove_folders(connection: &Connection, user: UserId) -> Result<bool> {
    let removed = connection.execute(
        "DELETE FROM folders WHERE user_id IN (
             SELECT id FROM users WHERE id = ?1 AND state = 'removed')",
        [user.0],
    );
    Ok(removed.map_err(catalog_error)? > 0)
}

/// Makes a change of an account again, for a recovery. One of an account that is not there any more
/// comes to nothing.
pub(super) fn remake(connection: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::PasswordChanged { user, password } => {
            update(connection, user, "password", password).map(drop)
        }
        Change::AccountDisabled { user, disabled } => {
            let state = if *disabled { "disabled" } else { "active" };
            update(connection, user, "state", &state).map(drop)
        }
        Change::QuotaSet { user, bytes } => update(connection, user, "quota", bytes).map(drop),
        Change::RemovalBegun { user } => mark_removed(connection, user).map(drop),
        Change::FoldersRemoved { user } => match accounts::id_of(connection, user)? {
            Some(id) => remove_folders(connection, id).map(drop),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Was this account removed? Its row is there all the same.
pub(super) fn is_removed(connection: &Connection, user: UserId) -> Result<bool> {
    connection
        .prepare_cached("SELECT state = 'removed' FROM users WHERE id = ?1")
        .and_then(|mut query| query.query_row([user.0], |row| row.get(0)))
        .map_err(catalog_error)
}

/// A store that was running while its account was removed must not bring a file back.
pub(super) fn check_not_removed(connection: &Connection, user: UserId) -> Result<()> {
    if is_removed(connection, user)? {
        return Err(Error::other(Code::NotAllowed, "the account was removed meanwhile"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::accounts::HashGate;
    use crate::core::catalog::{NewFile, Task, Ticket};
    use crate::core::types::{ClusterId, Digest, NodeId, NodeSet, Precondition, VersionId};
    use crate::core::wire::node::Order;

    struct Fixture {
        catalog: Catalog,
        gate: HashGate,
        demo: UserName,
        account: Account,
        folder: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
        let (gate, demo) = (HashGate::default(), UserName::parse("demo").unwrap());
        catalog.create_user(&gate, &demo, "pw", 7).unwrap();
        let account = catalog.account(&demo).unwrap();
        Fixture { catalog, gate, demo, account, folder }
    }

    fn path(text: &str) -> FilePath {
        FilePath::parse_rooted(text).unwrap()
    }

    impl Fixture {
        fn begin(&self, n: u8) -> Ticket {
            self.catalog.begin_store(VersionId([n; 16])).unwrap()
        }

        fn commit(&self, ticket: &Ticket, at: &str, bytes: u64) -> Result<()> {
            let new = NewFile {
                user: self.account.id,
                path: path(at),
                bytes,
                blake3: Digest([7; 32]),
                stored_ms: 5,
                staged: NodeSet::ALL,
                precondition: Precondition::Any,
                stored_by: String::new(),
            };
            self.catalog.commit_store(ticket, &new).map(drop)
        }

        fn removals_owed(&self) -> Vec<FilePath> {
            let owed = self.catalog.owed(NodeId::ALL[3], false, 0, 1_000).unwrap();
            owed.into_iter()
                .filter_map(|owed| match owed.task {
                    Task::Order(Order::Remove { place, .. }) => Some(place.path),
                    _ => None,
                })
                .collect()
        }
    }

    #[test]
    fn a_disabled_account_lets_nobody_in_and_keeps_its_files() {
        let f = fixture();
        f.commit(&f.begin(1), "up/a", 5).unwrap();
        let hash = Digest([1; 32]);
        let token = f.catalog.add_token(&f.account, &hash, "m", 0).unwrap();
        f.catalog.set_disabled(&f.demo, true).unwrap();
        let code = |outcome: Result<()>| outcome.unwrap_err().code();
        assert_eq!(code(f.catalog.check_standing(&f.account, None)), Code::Disabled);
        assert_eq!(code(f.catalog.check_standing(&f.account, Some(token))), Code::Disabled);
        let sign_in = |password| f.catalog.sign_in(&f.gate, "demo", password, ()).map(drop);
        assert_eq!(code(sign_in("pw")), Code::Disabled);
        assert_eq!(code(sign_in("wrong")), Code::SignIn, "only the owner is told");
        assert_eq!(code(f.catalog.sign_in_by_token("demo", &hash, 0).map(drop)), Code::Disabled);
        assert!(f.catalog.add_token(&f.account, &Digest([2; 32]), "m", 0).is_err());
        assert_eq!(f.catalog.users().unwrap()[0].state, UserState::Disabled);
        f.catalog.set_disabled(&f.demo, false).unwrap();
        f.catalog.check_standing(&f.account, Some(token)).unwrap();
        sign_in("pw").unwrap();
        f.catalog.revoke_token(token).unwrap();
        assert_eq!(code(f.catalog.check_standing(&f.account, Some(token))), Code::SignIn);
        assert_eq!(f.catalog.list(f.account.id).unwrap().len(), 2);
        let nobody = UserName::parse("nobody").unwrap();
        assert_eq!(code(f.catalog.set_disabled(&nobody, true)), Code::NoSuchUser);
    }

    #[test]
    fn what_is_known_of_an_account_is_listed() {
        let f = fixture();
        f.commit(&f.begin(1), "up/a", 5).unwrap();
        f.commit(&f.begin(2), "up/b", 7).unwrap();
        f.commit(&f.begin(3), "up/a", 6).unwrap();
        f.catalog.set_quota(&f.demo, Quota::Bytes(100)).unwrap();
        f.catalog.add_token(&f.account, &Digest([1; 32]), "m", 0).unwrap();
        f.catalog.create_user(&f.gate, &UserName::parse("ann").unwrap(), "pw", 8).unwrap();
        let users = f.catalog.users().unwrap();
        assert_eq!(
            users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(),
            ["ann", "demo"]
        );
        let expected = UserRecord {
            name: f.demo.clone(),
            state: UserState::Active,
            created_ms: 7,
            files: 2,
            bytes: 13,
            quota: Quota::Bytes(100),
            tokens: 1,
        };
        assert_eq!(users[1], expected);
    }

    #[test]
    fn a_removal_that_was_cut_off_goes_on_after_a_restart() {
        let f = fixture();
        for n in 1..=5 {
            f.commit(&f.begin(n), &format!("up/{n}"), 5).unwrap();
        }
        let hash = Digest([1; 32]);
        f.catalog.add_token(&f.account, &hash, "m", 0).unwrap();
        let running = f.begin(9);
        let user = f.catalog.begin_removal(&f.demo).unwrap();
        assert!(f.catalog.begin_removal(&f.demo).is_err());
        assert!(f.catalog.sign_in(&f.gate, "demo", "pw", ()).is_err());
        assert!(f.catalog.sign_in_by_token("demo", &hash, 0).is_err());
        assert!(f.catalog.check_standing(&f.account, None).is_err());
        assert_eq!(f.commit(&running, "up/9", 5).unwrap_err().code(), Code::NotAllowed);
        assert!(f.catalog.remove_page(user, 2).unwrap());
        assert_eq!(f.catalog.users().unwrap()[0].state, UserState::Removing);
        // Its name is not free yet.
        let early = f.catalog.create_user(&f.gate, &f.demo, "new", 9).unwrap_err();
        assert_eq!(early.code(), Code::Temporary);

        let Fixture { catalog, gate, demo, account, folder } = f;
        drop(catalog);
        let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
        let f = Fixture { catalog, gate, demo, account, folder };
        assert_eq!(f.catalog.removals().unwrap(), [user]);
        while f.catalog.remove_page(user, 2).unwrap() {}
        assert!(f.catalog.removals().unwrap().is_empty() && f.catalog.users().unwrap().is_empty());
        let expected: Vec<FilePath> = (1..=5).map(|n| path(&format!("up/{n}"))).collect();
        assert_eq!(f.removals_owed(), expected);
        // Whatever goes wrong, files of an account that is not removed are never touched by it.
        f.catalog.create_user(&f.gate, &f.demo, "new", 9).unwrap();
        let again = f.catalog.account(&f.demo).unwrap();
        assert_ne!(again.generation, f.account.generation);
        assert!(f.catalog.check_standing(&f.account, None).is_err(), "a session of the former one");
        f.catalog.check_standing(&again, None).unwrap();
        assert!(f.catalog.list(again.id).unwrap().is_empty());
        f.commit(&f.begin(10), "up/new", 5).unwrap();
        f.catalog.remove_page(again.id, 100).unwrap();
        assert_eq!(f.catalog.list(again.id).unwrap().len(), 2);
    }
}
