//! Accounts: who may sign in. Passwords are kept as argon2id hashes only.
//!
//! At most two passwords are hashed at a time, since each takes 19 MiB of memory and a core. An
//! unknown user costs the same work as a wrong password.

use std::panic::{self, AssertUnwindSafe};
use std::thread;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use crossbeam_channel::{Sender, bounded, unbounded};
use rusqlite::{Connection, OptionalExtension, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::journal;
use crate::core::catalog::owed::{self, Kind};
use crate::core::catalog::{Catalog, UserId};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{NodeId, Seq};
use crate::core::wire::journal::Change;

/// How many passwords are hashed at a time.
const HASHES_AT_ONCE: usize = 2;

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Where passwords are hashed: a few threads that do nothing else, each with the memory for one hash,
/// taken once. Were every hash to allocate its own, the allocator would come to hold many of them.
pub struct HashGate {
    jobs: Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

impl Default for HashGate {
    fn default() -> HashGate {
        let (jobs, work) = unbounded::<Job>();
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
    fn pass<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = bounded(1);
        let job: Job = Box::new(move |memory| {
            let _ = answer.send(work(memory));
        });
        let failed = || Error::other(Code::Unexpected, "the password cannot be checked now");
        self.jobs.send(job).map_err(|_| failed())?;
        answered.recv().map_err(|_| failed())
    }
}

impl Catalog {
    /// Makes an account, and owes every node the user's folder.
    ///
    /// # Errors
    /// [`Error::UserExists`]; or the password is empty or too long.
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
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(catalog_error)?;
        let new = transaction
            .execute(
                "INSERT INTO users (name, password, created_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO NOTHING",
                params![name.as_str(), hash, now_ms],
            )
            .map_err(catalog_error)?;
        if new == 0 {
            return Err(Error::UserExists(name.to_string()));
        }
        let id = UserId(transaction.last_insert_rowid());
        owe_top_folder(&transaction, id)?;
        let made = Change::UserMade { user: name.clone(), password: hash, created_ms: now_ms };
        journal::record(&transaction, &made)?;
        self.commit(transaction)?;
        Ok(id)
    }

    /// The account of this name, if the password is its.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::WrongPassword`].
    pub fn sign_in(
        &self,
        gate: &HashGate,
        name: &str,
        password: &str,
    ) -> Result<(UserId, UserName)> {
        let known = match UserName::parse(name) {
            Ok(name) => self.user(&name)?.map(|(id, hash)| (id, name, hash)),
            Err(_) => None,
        };
        let (given, too_long) = (password.to_owned(), password.len() > PASSWORD_BYTES_MAX);
        let Some((id, name, hash)) = known else {
            gate.pass(move |memory| verify(&given, UNKNOWN_USER_HASH, memory))?;
            return Err(Error::NoSuchUser(crate::core::path::printable(name)));
        };
        if hash == NO_PASSWORD {
            gate.pass(move |memory| verify(&given, UNKNOWN_USER_HASH, memory))?;
            return Err(Error::WrongPassword(name.to_string()));
        }
        if gate.pass(move |memory| !too_long && verify(&given, &hash, memory))? {
            Ok((id, name))
        } else {
            Err(Error::WrongPassword(name.to_string()))
        }
    }

    /// The number of this user.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn user_id(&self, name: &UserName) -> Result<UserId> {
        match self.user(name)? {
            Some((id, _)) => Ok(id),
            None => Err(Error::NoSuchUser(name.to_string())),
        }
    }

    fn user(&self, name: &UserName) -> Result<Option<(UserId, String)>> {
        self.reader
            .lock()
            .prepare_cached("SELECT id, password FROM users WHERE name = ?1")
            .and_then(|mut query| {
                query
                    .query_row([name.as_str()], |row| Ok((UserId(row.get(0)?), row.get(1)?)))
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
/// is recorded. Nothing happens if there is one.
pub(super) fn remake_user(
    connection: &Connection,
    name: &UserName,
    password: &str,
    created_ms: i64,
) -> Result<()> {
    let new = connection
        .execute(
            "INSERT INTO users (name, password, created_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO NOTHING",
            params![name.as_str(), password, created_ms],
        )
        .map_err(catalog_error)?;
    if new == 0 {
        return Ok(());
    }
    owe_top_folder(connection, UserId(connection.last_insert_rowid()))
}

/// The number of the user of this name, if there is one.
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
mod tests {
    use super::*;
    use crate::core::types::ClusterId;

    fn catalog(folder: &std::path::Path) -> Catalog {
        Catalog::open(&folder.join("palk.db"), ClusterId([1; 16])).unwrap()
    }

    #[test]
    fn an_account_is_signed_in_with_its_password_only() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, gate) = (catalog(folder.path()), HashGate::default());
        let demo = UserName::parse("demo").unwrap();
        let id = catalog.create_user(&gate, &demo, "yeet123", 0).unwrap();
        assert_eq!(catalog.sign_in(&gate, "demo", "yeet123").unwrap(), (id, demo.clone()));
        let failure = |name: &str, password: &str| {
            catalog.sign_in(&gate, name, password).unwrap_err().to_string()
        };
        assert_eq!(failure("demo", "yeet124"), Error::WrongPassword("demo".into()).to_string());
        assert_eq!(failure("nobody", "x"), Error::NoSuchUser("nobody".into()).to_string());
        assert_eq!(failure("../x", "x"), Error::NoSuchUser("../x".into()).to_string());
        let taken = catalog.create_user(&gate, &demo, "other", 0).unwrap_err();
        assert_eq!(taken.code(), Code::UserExists);
        assert!(catalog.create_user(&gate, &UserName::parse("new").unwrap(), "", 0).is_err());
    }

    #[test]
    fn the_hash_for_unknown_users_costs_what_every_other_costs() {
        let mut memory = Vec::new();
        let own = hash("some password", &mut memory).unwrap();
        let parameters = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(&own), parameters(UNKNOWN_USER_HASH));
        assert!(PasswordHash::new(UNKNOWN_USER_HASH).is_ok());
        // What others' implementations make of a password is understood, and the other way round.
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};
        let theirs = Argon2::default().hash_password(b"some password").unwrap().to_string();
        assert!(verify("some password", &theirs, &mut memory));
        let own_parsed = PasswordHash::new(&own).unwrap();
        assert!(Argon2::default().verify_password(b"some password", &own_parsed).is_ok());
        assert!(!verify("", UNKNOWN_USER_HASH, &mut memory));
        assert!(verify("some password", &own, &mut memory));
        assert!(!verify("some other", &own, &mut memory));
    }

    #[test]
    fn a_password_is_not_in_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let gate = HashGate::default();
        let name = UserName::parse("demo").unwrap();
        catalog(folder.path()).create_user(&gate, &name, "correct horse battery", 0).unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(7).any(|window| window == b"battery"));
        }
    }
}
