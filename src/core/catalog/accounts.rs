//! Accounts: who may sign in. Passwords are kept as argon2id hashes only.
//!
//! At most two passwords are hashed at a time, since each takes 19 MiB of memory and a core. An
//! unknown user costs the same work as a wrong password.

use std::panic::{self, AssertUnwindSafe};
use std::thread;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use crossbeam_channel::{Sender, TrySendError, bounded};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::journal;
use crate::core::catalog::owed::{self, Kind};
use crate::core::catalog::{Catalog, TokenId, UserId, tokens};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{NodeId, Seq};
use crate::core::wire::journal::Change;

/// How many passwords are hashed at a time.
const HASHES_AT_ONCE: usize = 2;

/// How many sign-ins may wait for their turn. A hash takes some hundredths of a second, so the last of
/// them waits for a few seconds: longer than that, and its client would rather be told to come again.
pub const HASHES_WAITING_MAX: usize = 256;

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Where passwords are hashed: a few threads that do nothing else, each with the memory for one hash,
/// taken once. Were every hash to allocate its own, the allocator would come to hold many of them.
pub struct HashGate {
    jobs: Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// Somebody's attempt at a password. Both are called by the thread that hashes, one after the other:
/// however many attempts wait in line, each is judged by those before it.
pub trait Attempt: Send + 'static {
    /// Asked before the password is looked at.
    ///
    /// # Errors
    /// [`Error::Throttled`] if there were too many wrong ones; it is not looked at then.
    fn begin(&mut self) -> Result<()>;

    /// Told whether it was right.
    fn end(&mut self, right: bool);
}

/// An attempt that nobody counts.
impl Attempt for () {
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, _right: bool) {}
}

/// An account as somebody has signed in to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its number.
    pub id: UserId,
    /// Its name.
    pub name: UserName,
    /// Which of the accounts that have had this name.
    pub generation: i64,
}

impl Default for HashGate {
    fn default() -> HashGate {
        let (jobs, work) = bounded::<Job>(HASHES_WAITING_MAX);
        for _ in 0..HASHES_AT_ONCE {
            let work = work.clone();
            // Without any thread there is nobody to take a job, and every sign-in says so.
            let _ = thread::Builder::new().name("passwords".into()).spawn(move || {
                let mut memory = Vec::new();
                for job in work {
                    // Whoever waits for a job that ended in a panic finds its answer missing.
                    let _ = panic::catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
                }
            });
        }
        HashGate { jobs }
    }
}

impl HashGate {
    /// Has the work done, once there is room for it.
    ///
    /// # Errors
    /// [`Code::Temporary`] if too many wait already.
    fn pass<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = bounded(1);
        let job: Job = Box::new(move |memory| {
            let _ = answer.send(work(memory));
        });
        let failed = || Error::other(Code::Unexpected, "the password cannot be checked now");
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                let text = "too many people are signing in at this moment, try again";
                Error::other(Code::Temporary, text)
            }
            TrySendError::Disconnected(_) => failed(),
        })?;
        answered.recv().map_err(|_| failed())
    }
}

impl Catalog {
    /// Makes an account, and owes every node the user's folder. The name of an account that was
    /// removed can be had again once all of its files are gone from the catalog.
    ///
    /// # Errors
    /// [`Error::UserExists`], [`Code::Temporary`]; or the password is empty or too long.
    pub fn create_user(
        &self,
        gate: &HashGate,
        name: &UserName,
        password: &str,
        now_ms: i64,
    ) -> Result<UserId> {
        check_password(password)?;
        if self.user(name)?.is_some() {
            return Err(Error::UserExists(name.to_string()));
        }
        let password = password.to_owned();
        let hash = gate.pass(move |memory| hash(&password, memory))??;
        // Higher than that of every store of an account which had this name before.
        let seq = self.draw_seq()?;
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let (id, is_again) = insert_user(&transaction, name, &hash, now_ms)?;
        owe_top_folder(&transaction, id)?;
        let (user, password, created_ms) = (name.clone(), hash, now_ms);
        let made = if is_again {
            journal::note_former(&transaction, id, seq)?;
            Change::UserMadeAgain { user, password, created_ms, seq }
        } else {
            Change::UserMade { user, password, created_ms }
        };
        journal::record(&transaction, &made)?;
        self.commit(transaction)?;
        Ok(id)
    }

    /// The account of this name, if the password is its.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::WrongPassword`], [`Error::Disabled`]; those of the attempt;
    /// [`Code::Temporary`] if too many sign in at this moment.
    pub fn sign_in(
        &self,
        gate: &HashGate,
        name: &str,
        password: &str,
        attempt: impl Attempt,
    ) -> Result<Account> {
        let known = match UserName::parse(name) {
            Ok(name) => self.user(&name)?,
            Err(_) => None,
        };
        let hash = known.as_ref().map_or(UNKNOWN_USER_HASH, |known| &known.hash).to_owned();
        let right = try_password(gate, password, hash, attempt)?;
        let Some(known) = known else {
            return Err(Error::NoSuchUser(crate::core::path::printable(name)));
        };
        match (right, known.disabled) {
            (false, _) => Err(Error::WrongPassword(known.account.name.to_string())),
            (true, true) => Err(Error::Disabled(known.account.name.to_string())),
            (true, false) => Ok(known.account),
        }
    }

    /// Gives an account another password, if the old one is right, and revokes all of its tokens
    /// but `keep`.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::NoSuchUser`]; those of the attempt and of the new password.
    pub fn change_password(
        &self,
        gate: &HashGate,
        name: &UserName,
        [old, new]: [&str; 2],
        keep: Option<TokenId>,
        attempt: impl Attempt,
    ) -> Result<()> {
        check_password(new)?;
        let known = self.user(name)?.ok_or_else(|| Error::NoSuchUser(name.to_string()))?;
        if !try_password(gate, old, known.hash, attempt)? {
            return Err(Error::WrongPassword(name.to_string()));
        }
        self.set_password(gate, name, new, keep)
    }

    /// Gives an account another password, and revokes all of its tokens but `keep`.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`]; or the password is empty or too long.
    pub fn set_password(
        &self,
        gate: &HashGate,
        name: &UserName,
        password: &str,
        keep: Option<TokenId>,
    ) -> Result<()> {
        check_password(password)?;
        let account = self.account(name)?;
        let password = password.to_owned();
        let hash = gate.pass(move |memory| hash(&password, memory))??;
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let changed = transaction
            .execute(
                "UPDATE users SET password = ?3
                 WHERE id = ?1 AND generation = ?2 AND state != 'removed'",
                params![account.id.0, account.generation, hash],
            )
            .map_err(catalog_error)?;
        if changed == 0 {
            return Err(Error::NoSuchUser(name.to_string()));
        }
        tokens::revoke_all(&transaction, account.id, keep)?;
        let changed = Change::PasswordChanged { user: name.clone(), password: hash };
        journal::record(&transaction, &changed)?;
        self.commit(transaction)
    }

    /// The account of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn account(&self, name: &UserName) -> Result<Account> {
        let known = self.user(name)?.ok_or_else(|| Error::NoSuchUser(name.to_string()))?;
        Ok(known.account)
    }

    /// The number of this user.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn user_id(&self, name: &UserName) -> Result<UserId> {
        self.account(name).map(|account| account.id)
    }

    fn user(&self, name: &UserName) -> Result<Option<Known>> {
        self.reader
            .lock()
            .prepare_cached(
                "SELECT id, generation, password, state = 'disabled' FROM users
                 WHERE name = ?1 AND state != 'removed'",
            )
            .and_then(|mut query| {
                query
                    .query_row([name.as_str()], |row| {
                        let (id, generation) = (UserId(row.get(0)?), row.get(1)?);
                        let account = Account { id, name: name.clone(), generation };
                        let hash: String = row.get(2)?;
                        let none = hash == NO_PASSWORD;
                        let hash = if none { UNKNOWN_USER_HASH.to_owned() } else { hash };
                        Ok(Known { account, hash, disabled: row.get(3)? })
                    })
                    .optional()
            })
            .map_err(catalog_error)
    }
}

/// Every node has to make the user's folder.
pub(super) fn owe_top_folder(connection: &Connection, user: UserId) -> Result<()> {
    let top = FolderPath::top();
    NodeId::ALL.into_iter().try_for_each(|node| {
        owed::add(connection, node, Kind::Folder, user, top.as_str(), None, Seq(0))
    })
}

/// Makes an account as it was made before, or one that nobody can sign in to; what the nodes owe it
/// is recorded. Nothing happens if there is one that was not removed.
pub(super) fn remake_user(
    connection: &Connection,
    name: &UserName,
    password: &str,
    created_ms: i64,
) -> Result<()> {
    let new: Option<i64> = connection
        .query_row(
            "INSERT INTO users (name, password, created_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET
                 password = excluded.password, created_ms = excluded.created_ms,
                 state = 'active', quota = NULL
             WHERE state = 'removed'
             RETURNING id",
            params![name.as_str(), password, created_ms],
            |row| row.get(0),
        )
        .optional()
        .map_err(catalog_error)?;
    new.map_or(Ok(()), |id| owe_top_folder(connection, UserId(id)))
}

/// The number of the user of this name, if there is one, also if the account was removed.
pub(super) fn id_of(connection: &Connection, name: &UserName) -> Result<Option<UserId>> {
    connection
        .prepare_cached("SELECT id FROM users WHERE name = ?1")
        .and_then(|mut query| {
            query.query_row([name.as_str()], |row| Ok(UserId(row.get(0)?))).optional()
        })
        .map_err(catalog_error)
}

/// The name of a user.
pub(super) fn name_of(connection: &Connection, user: UserId) -> Result<UserName> {
    let name: String = connection
        .prepare_cached("SELECT name FROM users WHERE id = ?1")
        .and_then(|mut query| query.query_row([user.0], |row| row.get(0)))
        .map_err(catalog_error)?;
    Ok(UserName::parse(&name)?)
}

/// What stands in the place of a password's hash where the account is known from blocks alone.
pub(super) const NO_PASSWORD: &str = "!";
/// An account with what only this file needs to know of it.
struct Known {
    account: Account,
    hash: String,
    disabled: bool,
}

/// Adds an account, or takes the row of a removed one of this name (then true). The row is kept after
/// a removal because the nodes may still be owed orders under its name.
fn insert_user(
    transaction: &Transaction<'_>,
    name: &UserName,
    hash: &str,
    now_ms: i64,
) -> Result<(UserId, bool)> {
    let made = transaction
        .query_row(
            "INSERT INTO users (name, password, created_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET
                 password = excluded.password, created_ms = excluded.created_ms,
                 state = 'active', quota = NULL
             WHERE state = 'removed'
                 AND NOT EXISTS (SELECT 1 FROM files WHERE user_id = users.id)
                 AND NOT EXISTS (SELECT 1 FROM folders WHERE user_id = users.id)
             RETURNING id, generation",
            params![name.as_str(), hash, now_ms],
            |row| Ok((UserId(row.get(0)?), row.get::<_, i64>(1)? > 0)),
        )
        .optional()
        .map_err(catalog_error)?;
    if let Some(made) = made {
        return Ok(made);
    }
    let removed: bool = transaction
        .query_row("SELECT state = 'removed' FROM users WHERE name = ?1", [name.as_str()], |row| {
            row.get(0)
        })
        .map_err(catalog_error)?;
    if removed {
        let text = format!("the files of the former account {name} are still being removed");
        return Err(Error::other(Code::Temporary, text));
    }
    Err(Error::UserExists(name.to_string()))
}

/// Is it the password of this hash? Whatever it is, the same work is done.
fn try_password(
    gate: &HashGate,
    password: &str,
    hash: String,
    mut attempt: impl Attempt,
) -> Result<bool> {
    let (given, too_long) = (password.to_owned(), password.len() > PASSWORD_BYTES_MAX);
    gate.pass(move |memory| {
        attempt.begin()?;
        let right = !too_long && verify(&given, &hash, memory);
        attempt.end(right);
        Ok(right)
    })?
}

/// A hash of a password that nobody has, with the parameters of every other.
const UNKNOWN_USER_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBmaXhlZCBzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn check_password(password: &str) -> Result<()> {
    if password.is_empty() {
        return Err(Error::other(Code::Usage, "a password must not be empty"));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        let what = format!("a password is at most {PASSWORD_BYTES_MAX} bytes long");
        return Err(Error::other(Code::Usage, what));
    }
    Ok(())
}

/// A new hash of a password, with a salt of its own, in PHC form.
fn hash(password: &str, memory: &mut Vec<Block>) -> Result<String> {
    let failed = |e: &dyn std::fmt::Display| {
        Error::other(Code::Unexpected, format!("the password cannot be hashed: {e}"))
    };
    let (params, salt) = (Params::default(), Salt::generate());
    let output = output(password, &params, &salt, memory).map_err(|e| failed(&e))?;
    let output = Output::new(&output).map_err(|e| failed(&e))?;
    let params = ParamsString::try_from(&params).map_err(|e| failed(&e))?;
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params,
        salt: Some(salt),
        hash: Some(output),
    }
    .to_string())
}

/// Is this the password that the hash was made of? Compared in constant time.
fn verify(password: &str, hash: &str, memory: &mut Vec<Block>) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    let (Ok(params), Some(salt), Some(expected)) = (Params::try_from(&hash), hash.salt, hash.hash)
    else {
        return false;
    };
    let own_form = hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into());
    own_form
        && output(password, &params, &salt, memory)
            .is_ok_and(|own| Output::new(&own).is_ok_and(|own| own == expected))
}

/// Argon2id, in memory that is used again and again.
fn output(
    password: &str,
    params: &Params,
    salt: &Salt,
    memory: &mut Vec<Block>,
) -> std::result::Result<[u8; Params::DEFAULT_OUTPUT_LEN], argon2::Error> {
    memory.resize(params.block_count(), Block::default());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut output, memory)?;
    Ok(output)
}

#[cfg(test)]
mod tests;
