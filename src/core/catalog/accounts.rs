//! Accounts: who may sign in. Passwords are kept as argon2id hashes only.
//!
//! At most two passwords are hashed at a time, since each takes 19 MiB of memory and a core. An
//! unknown user costs the same work as a wrong password.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use crossbeam_channel::{Sender, TrySendError, bounded};
use unicode_normalization::UnicodeNormalization;

use crate::core::catalog::database::first;
use crate::core::catalog::{Catalog, TokenId, UserId};
use crate::core::error::{Code, Error, Result};
use crate::core::path::UserName;

/// How many passwords are hashed at a time.
const HASHES_AT_ONCE: usize = 2;

/// The memory for a hash is kept as long as the next one comes within this time.
const MEMORY_KEPT: Duration = Duration::from_millis(500);

/// So much memory is asked for at once, of which a hash uses less: what glibc's allocator gives back to the
/// system, instead of keeping it, has to be longer than 32 MiB.
const MEMORY_BYTES: usize = 33 << 20;

/// How many sign-ins may wait for their turn. A hash takes some hundredths of a second, so the last of
/// them waits for a few seconds: longer than that, and its client would rather be told to come again.
pub const HASHES_WAITING_MAX: usize = 256;

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Where passwords are hashed: a few threads that do nothing else, each with the memory for one hash.
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
}

/// Which of an account's passwords a session was begun with.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordMark(String);

impl fmt::Debug for PasswordMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordMark")
    }
}

impl PasswordMark {
    /// That of the password with this hash.
    pub fn of_hash(hash: &str) -> PasswordMark {
        PasswordMark(hash.to_owned())
    }
}

/// What a session rests on: when that is gone, the session is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The password, as long as it is the account's.
    Password(PasswordMark),
    /// A token, as long as it is not revoked.
    Token(TokenId),
    /// The word of whoever runs the server, for a door.
    Door,
}

impl Default for HashGate {
    fn default() -> HashGate {
        let (jobs, work) = bounded::<Job>(HASHES_WAITING_MAX);
        for _ in 0..HASHES_AT_ONCE {
            let work = work.clone();
            // Without any thread there is nobody to take a job, and every sign-in says so.
            let _ = thread::Builder::new().name("passwords".into()).spawn(move || {
                while let Ok(first) = work.recv() {
                    let mut memory = Vec::with_capacity(MEMORY_BYTES / Block::SIZE);
                    let mut next = Ok(first);
                    while let Ok(job) = next {
                        // Those who wait for a job that ended in a panic find its answer missing.
                        let _ = panic::catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
                        next = work.recv_timeout(MEMORY_KEPT);
                    }
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

impl HashGate {
    /// A new hash of a password, in PHC form.
    ///
    /// # Errors
    /// [`Code::Usage`] if it is empty or too long, [`Code::Temporary`] if too many wait already.
    pub fn hash(&self, password: &str) -> Result<String> {
        check_password(password)?;
        let password = password.to_owned();
        self.pass(move |memory| hash(&password, memory))?
    }
}

impl Catalog {
    /// The account of this name, if the password is its, and the mark of that password.
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
    ) -> Result<(Account, PasswordMark)> {
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
            (true, false) => Ok((known.account, PasswordMark(known.hash))),
        }
    }

    /// Is it the password of this account?
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::NoSuchUser`]; those of the attempt; [`Code::Temporary`].
    pub fn verify_password(
        &self,
        gate: &HashGate,
        name: &UserName,
        password: &str,
        attempt: impl Attempt,
    ) -> Result<()> {
        let known = self.user(name)?.ok_or_else(|| Error::NoSuchUser(name.to_string()))?;
        if try_password(gate, password, known.hash, attempt)? {
            Ok(())
        } else {
            Err(Error::WrongPassword(name.to_string()))
        }
    }

    /// The account of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn account(&self, name: &UserName) -> Result<Account> {
        let known = self.user(name)?.ok_or_else(|| Error::NoSuchUser(name.to_string()))?;
        Ok(known.account)
    }

    /// The mark of the password that an account has now.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn password_mark(&self, account: &Account) -> Result<PasswordMark> {
        let known = self.user(&account.name)?.filter(|known| known.account == *account);
        let known = known.ok_or_else(|| Error::NoSuchUser(account.name.to_string()))?;
        Ok(PasswordMark(known.hash))
    }

    /// The number of this user.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn user_id(&self, name: &UserName) -> Result<UserId> {
        self.account(name).map(|account| account.id)
    }

    fn user(&self, name: &UserName) -> Result<Option<Known>> {
        let select = "SELECT id, password, disabled FROM users WHERE name = ?1 AND removed = 0";
        self.read(|connection| {
            first(connection, select, [name.as_str()], |row| {
                let account = Account { id: UserId(row.get(0)?), name: name.clone() };
                let hash: String = row.get(1)?;
                // Anything else is no password, and has to look like a wrong one.
                let is_one = PasswordHash::new(&hash).is_ok();
                let hash = if is_one { hash } else { UNKNOWN_USER_HASH.to_owned() };
                Ok(Known { account, hash, disabled: row.get(2)? })
            })
        })
    }
}

/// An account with what only this file needs to know of it.
struct Known {
    account: Account,
    hash: String,
    disabled: bool,
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

/// Argon2id, in memory that is used again and again. What looks the same is the same password: keyboards
/// of different systems compose letters in different ways.
fn output(
    password: &str,
    params: &Params,
    salt: &Salt,
    memory: &mut Vec<Block>,
) -> std::result::Result<[u8; Params::DEFAULT_OUTPUT_LEN], argon2::Error> {
    memory.resize(params.block_count(), Block::default());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let password: String = password.nfc().collect();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut output, memory)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, name};

    fn with_password(password: &str) -> Fixture {
        let f = fixture();
        let hash = HashGate::default().hash(password).unwrap();
        f.change(|draft| draft.set_password(&name("demo"), &hash, None)).unwrap();
        f
    }

    #[test]
    fn an_account_is_signed_in_with_its_password_only() {
        let (f, gate) = (with_password("yeet123"), HashGate::default());
        let catalog = &f.catalog;
        let (account, _) = catalog.sign_in(&gate, "demo", "yeet123", ()).unwrap();
        assert_eq!((account.id, account.name), (f.user, name("demo")));
        let failure = |name: &str, password: &str| {
            catalog.sign_in(&gate, name, password, ()).unwrap_err().to_string()
        };
        assert_eq!(failure("demo", "yeet124"), Error::WrongPassword("demo".into()).to_string());
        assert_eq!(failure("nobody", "x"), Error::NoSuchUser("nobody".into()).to_string());
        assert_eq!(failure("../x", "x"), Error::NoSuchUser("../x".into()).to_string());
        let too_long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert_eq!(failure("demo", &too_long), Error::WrongPassword("demo".into()).to_string());
        for none in ["", &too_long] {
            assert_eq!(gate.hash(none).unwrap_err().code(), Code::Usage);
        }
    }

    #[test]
    fn nobody_signs_in_where_there_is_no_password() {
        let (f, gate) = (fixture(), HashGate::default());
        for guess in ["no password", "", "!"] {
            let refused = f.catalog.sign_in(&gate, "demo", guess, ()).unwrap_err();
            assert_eq!(refused.to_string(), Error::WrongPassword("demo".into()).to_string());
        }
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
    fn an_attempt_that_may_not_be_made_costs_no_hash_and_says_nothing() {
        struct Never(crossbeam_channel::Sender<bool>);
        impl Attempt for Never {
            fn begin(&mut self) -> Result<()> {
                Err(Error::Throttled { seconds: 7 })
            }

            fn end(&mut self, right: bool) {
                self.0.send(right).unwrap();
            }
        }
        let (f, gate) = (with_password("yeet123"), HashGate::default());
        let (told, tells) = crossbeam_channel::unbounded();
        for name in ["demo", "nobody"] {
            let refused = f.catalog.sign_in(&gate, name, "yeet123", Never(told.clone()));
            assert_eq!(
                refused.unwrap_err().to_string(),
                Error::Throttled { seconds: 7 }.to_string()
            );
        }
        assert!(tells.is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_not_waited_in() {
        let gate = HashGate::default();
        let (go, wait) = bounded::<()>(0);
        let (begun, begins) = crossbeam_channel::unbounded();
        thread::scope(|scope| {
            for _ in 0..HASHES_AT_ONCE {
                scope.spawn(|| {
                    gate.pass({
                        let (wait, begun) = (wait.clone(), begun.clone());
                        move |_| {
                            begun.send(()).unwrap();
                            let _ = wait.recv();
                        }
                    })
                });
            }
            (0..HASHES_AT_ONCE).for_each(|_| begins.recv().unwrap());
            for _ in 0..HASHES_WAITING_MAX {
                gate.jobs.try_send(Box::new(|_| ())).unwrap();
            }
            assert_eq!(gate.pass(|_| ()).unwrap_err().code(), Code::Temporary);
            drop(go);
        });
        while gate.pass(|_| ()).is_err() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_changed_password_is_the_only_one() {
        let (f, gate) = (with_password("old"), HashGate::default());
        let verify = |password| f.catalog.verify_password(&gate, &name("demo"), password, ());
        assert_eq!(verify("wrong").unwrap_err().code(), Code::SignIn);
        verify("old").unwrap();
        let (account, mark) = f.catalog.sign_in(&gate, "demo", "old", ()).unwrap();
        let proof = Proof::Password(mark);
        f.catalog.check_standing(&account, &proof).unwrap();
        let hash = gate.hash("new").unwrap();
        f.change(|draft| draft.set_password(&name("demo"), &hash, None)).unwrap();
        assert!(f.catalog.sign_in(&gate, "demo", "old", ()).is_err());
        let ended = f.catalog.check_standing(&account, &proof).unwrap_err();
        assert_eq!(ended.to_string(), Error::PasswordChanged.to_string());
        f.catalog.check_standing(&account, &Proof::Door).unwrap();
        let (_, mark) = f.catalog.sign_in(&gate, "demo", "new", ()).unwrap();
        assert_eq!(mark, f.catalog.password_mark(&account).unwrap());
        f.catalog.check_standing(&account, &Proof::Password(mark)).unwrap();
        f.change(|draft| draft.set_disabled(&name("demo"), true)).unwrap();
        let refused = |password| f.catalog.sign_in(&gate, "demo", password, ()).unwrap_err().code();
        assert_eq!((refused("new"), refused("old")), (Code::Disabled, Code::SignIn));
    }

    #[test]
    fn a_password_is_not_in_the_database() {
        let f = with_password("correct horse battery");
        for entry in std::fs::read_dir(f.folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(7).any(|window| window == b"battery"));
        }
    }

    #[test]
    fn a_password_is_the_same_however_its_letters_are_composed() {
        let (composed, decomposed) = ("gr\u{fc}n", "gru\u{308}n");
        let mut memory = Vec::new();
        let hash = hash(decomposed, &mut memory).unwrap();
        assert!(verify(composed, &hash, &mut memory) && verify(decomposed, &hash, &mut memory));
        assert!(!verify("grun", &hash, &mut memory));
    }
}
