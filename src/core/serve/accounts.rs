//! Who is let in: passwords and tokens, and how long somebody has to wait who was wrong too often.
//!
//! Failures are counted for each account and for each address. An account's own addresses (those
//! from which it was signed in to before) have a count of their own, so that a stranger who guesses
//! does not shut the owner out; for everybody else the longest wait is [`WAIT_MAX`]. Nothing is
//! counted for this machine's own address, which everybody on it shares. Tokens are not counted:
//! nobody guesses 256 bits, and an owner who has one gets in whatever others do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::catalog::accounts::{Attempt, HASHES_WAITING_MAX, HashGate, PasswordMark, Proof};
use crate::core::catalog::{Catalog, Draft};
use crate::core::error::{Error, Result};
use crate::core::io::clock;
use crate::core::io::listener::network_of;
use crate::core::io::random::Random;
use crate::core::path::{UserName, printable};
use crate::core::serve::files::User;
use crate::core::serve::limits::NETWORK_CLIENTS_MAX;
use crate::core::throttle::{Limits, Recent, Throttle};
use crate::core::types::{Digest, KeyId};
use crate::core::wire::keys::{AppKey, KEY_NAME_BYTES_MAX, KeySecret, Rights};
use crate::core::wire::token::{MACHINE_BYTES_MAX, Token};

/// The longest wait: what an owner may lose to a stranger who guesses.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Wrong passwords for one account. People try the two or three that they use.
const ACCOUNT: Limits = Limits {
    free: 3,
    first_ms: 1_000,
    longest_ms: 60_000,
    forget_ms: 15 * 60_000,
    remembered_max: 4_096,
};

/// Wrong passwords from one address, which may be that of a whole office.
const ADDRESS: Limits = Limits { free: 20, ..ACCOUNT };

/// Accounts asked for from one address.
const SIGN_UPS: Limits = Limits { free: 20, ..ACCOUNT };

/// How many pairs of an account and one of its own addresses are remembered.
const KNOWN_MAX: usize = 4_096;

const _: () = assert!(ACCOUNT.longest_ms as u128 == WAIT_MAX.as_millis());
// One address alone cannot fill the line of those who wait for their password to be checked.
const _: () = assert!(NETWORK_CLIENTS_MAX < HASHES_WAITING_MAX);

/// Where somebody signs in from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// This machine.
    Local,
    /// Another one. Of an IPv6 address only the network: one customer usually has all of it.
    Far(IpAddr),
}

impl Origin {
    /// That of a peer.
    pub fn of(address: IpAddr) -> Origin {
        network_of(address).map_or(Origin::Local, Origin::Far)
    }
}

/// A clock in milliseconds that only goes forward.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's.
fn real_clock() -> Clock {
    let begun = Instant::now();
    Arc::new(move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A change of the catalog that is to be made.
pub type Job = Box<dyn FnOnce(&mut Draft<'_>) -> Result<()> + Send>;

/// Makes a change, and waits until it is decided.
pub type Submit = Arc<dyn Fn(Job) -> Result<()> + Send + Sync>;

/// Signing in, passwords and tokens. Passwords are hashed before a change begins: nobody waits for the
/// hash of another's.
pub struct Accounts {
    catalog: Arc<Catalog>,
    submit: Submit,
    gate: HashGate,
    random: Arc<Random>,
    brake: Arc<Brake>,
    /// May anybody make an account?
    pub(super) sign_up: bool,
}

impl Accounts {
    /// The accounts of a catalog.
    pub fn new(catalog: Arc<Catalog>, submit: Submit, random: Arc<Random>) -> Accounts {
        Accounts::with_clock(catalog, submit, random, real_clock())
    }

    /// The same by another clock, for tests and simulations.
    pub fn with_clock(
        catalog: Arc<Catalog>,
        submit: Submit,
        random: Arc<Random>,
        clock: Clock,
    ) -> Accounts {
        let brake = Arc::new(Brake { clock, counts: Mutex::new(Counts::default()) });
        Accounts { catalog, submit, gate: HashGate::default(), random, brake, sign_up: true }
    }

    fn change(
        &self,
        job: impl FnOnce(&mut Draft<'_>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        (self.submit)(Box::new(job))
    }

    /// May anybody make an account?
    pub fn is_sign_up_open(&self) -> bool {
        self.sign_up
    }

    /// Signs in with a password.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::WrongPassword`], [`Error::Throttled`], [`Error::Disabled`].
    pub fn sign_in(&self, name: &str, password: &str, from: Origin) -> Result<User> {
        let attempt = self.attempt(name, from);
        let (account, mark) = self.catalog.sign_in(&self.gate, name, password, attempt)?;
        Ok(User::new(account, Proof::Password(mark)))
    }

    /// Signs in with a token; true if it is time to note that it was used.
    ///
    /// # Errors
    /// [`Error::TokenRefused`], [`Error::Disabled`].
    pub fn sign_in_by_token(&self, name: &str, token: &Token) -> Result<(User, bool)> {
        let now_ms = clock::now_ms();
        let (account, id) = self.catalog.sign_in_by_token(name, &secret_hash(&token.0))?;
        let is_due = self.catalog.is_use_due(id, now_ms)?;
        Ok((User::new(account, Proof::Token(id)), is_due))
    }

    /// Notes that a user's token is used now. Nothing depends on it, so a failure is only logged.
    pub fn note_token_used(&self, user: &User) {
        let (Some(token), now_ms) = (user.token(), clock::now_ms()) else { return };
        if let Err(error) = self.change(move |draft| draft.use_token(token, now_ms)) {
            tracing::warn!("cannot record that a token was used: {error}");
        }
    }

    /// Makes a token for a user. `machine` is what its client says of where it will be used.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`] if the account was removed or disabled meanwhile; those of any change.
    pub fn issue_token(&self, user: &User, machine: &str) -> Result<Token> {
        let token = Token(self.random.secret());
        let machine = printable(machine);
        let machine = machine[..machine.floor_char_boundary(MACHINE_BYTES_MAX)].to_owned();
        let (account, hash, now_ms) =
            (user.account.clone(), secret_hash(&token.0), clock::now_ms());
        self.change(move |draft| draft.add_token(&account, &hash, &machine, now_ms).map(drop))?;
        Ok(token)
    }

    /// Signs in with the secret of a key; true if it is time to note that it was used. As with tokens
    /// nothing is counted: nobody guesses 160 bits.
    ///
    /// # Errors
    /// [`Error::SignInRefused`], [`Error::Disabled`].
    pub fn sign_in_by_key(&self, name: &str, secret: &KeySecret) -> Result<(User, bool)> {
        let now_ms = clock::now_ms();
        let (account, id, rights) = self.catalog.sign_in_by_key(name, &secret_hash(&secret.0))?;
        let is_due = self.catalog.is_use_due(id, now_ms)?;
        Ok((User::new(account, Proof::Token(id)).with_key(rights), is_due))
    }

    /// Makes a key for a user. `name` is what its owner says of what it is for.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`] if the account was removed or disabled meanwhile; those of any change.
    pub fn make_key(&self, user: &User, name: &str, rights: &Rights) -> Result<(KeyId, KeySecret)> {
        let [id, secret] = [self.random.secret(), self.random.secret()];
        let id = KeyId(std::array::from_fn(|at| id[at]));
        let secret = KeySecret(std::array::from_fn(|at| secret[at]));
        let name = printable(name);
        let name = name[..name.floor_char_boundary(KEY_NAME_BYTES_MAX)].to_owned();
        let (account, hash, now_ms) =
            (user.account.clone(), secret_hash(&secret.0), clock::now_ms());
        let (rights, created_ms) = (rights.clone(), now_ms);
        let key = AppKey { key: id, name, rights, created_ms, used_ms: created_ms };
        self.change(move |draft| draft.add_key(&account, &hash, &key))?;
        Ok((id, secret))
    }

    /// Revokes the token that the user has signed in with; the session itself goes on. Without one there
    /// is nothing to do.
    ///
    /// # Errors
    /// Those of any change.
    pub fn revoke_token(&self, user: &mut User) -> Result<()> {
        let Some(token) = user.token() else { return Ok(()) };
        let mark = self.catalog.password_mark(&user.account)?;
        self.change(move |draft| draft.revoke_token(token))?;
        user.proof = Proof::Password(mark);
        Ok(())
    }

    /// Changes a user's password, if the old one is right, and revokes all tokens but the one that
    /// the user has signed in with. All other sessions are over.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::Throttled`]; the new one cannot be a password; those of any
    /// change.
    pub fn change_password(
        &self,
        user: &mut User,
        old: &str,
        new: &str,
        from: Origin,
    ) -> Result<()> {
        let attempt = self.attempt(user.name.as_str(), from);
        self.catalog.verify_password(&self.gate, &user.name, old, attempt)?;
        let (account, hash, keep) = (user.account.clone(), self.gate.hash(new)?, user.token());
        let mark = PasswordMark::of_hash(&hash);
        self.change(move |draft| {
            draft.check_account(&account)?;
            draft.set_password(&account.name, &hash, keep)
        })?;
        if let Proof::Password(own) = &mut user.proof {
            *own = mark;
        }
        Ok(())
    }

    /// Counts that somebody asks for an account. Each costs a hash and a row for ever.
    ///
    /// # Errors
    /// [`Error::TooManySignUps`].
    pub(super) fn count_sign_up(&self, from: Origin) -> Result<()> {
        if from == Origin::Local {
            return Ok(());
        }
        let now_ms = (self.brake.clock)();
        let sign_ups = &mut self.brake.counts.lock().sign_ups;
        match sign_ups.wait_ms(&from, now_ms) {
            0 => sign_ups.failed(&from, now_ms),
            wait_ms => return Err(Error::TooManySignUps { seconds: wait_ms.div_ceil(1_000) }),
        }
        Ok(())
    }

    /// The name of an account, if it is one.
    pub fn known(&self, name: &str) -> Option<UserName> {
        let name = UserName::parse(name).ok()?;
        self.catalog.user_id(&name).ok().map(|_| name)
    }

    /// Makes an account.
    pub(super) fn create(&self, name: &UserName, password: &str) -> Result<()> {
        if self.catalog.user_id(name).is_ok() {
            return Err(Error::UserExists(name.to_string()));
        }
        let (user, hash, now_ms) = (name.clone(), self.gate.hash(password)?, clock::now_ms());
        self.change(move |draft| draft.create_user(&user, &hash, now_ms).map(drop))?;
        self.brake.forget(name);
        Ok(())
    }

    /// Gives an account another password without knowing the old one, and revokes all its tokens.
    pub(super) fn set_password(&self, name: &UserName, password: &str) -> Result<()> {
        self.catalog.user_id(name)?;
        let (user, hash) = (name.clone(), self.gate.hash(password)?);
        self.change(move |draft| draft.set_password(&user, &hash, None))?;
        self.brake.forget(name);
        Ok(())
    }

    fn attempt(&self, name: &str, from: Origin) -> Try {
        // What cannot be a name is nobody's account, and must not fill the memory either.
        let name = UserName::parse(name).ok();
        Try { brake: self.brake.clone(), name, from }
    }
}

/// What is kept of a token. It is random, so nobody can find it by trying, and a plain hash does.
pub(super) fn secret_hash(secret: &[u8]) -> Digest {
    Digest(*blake3::hash(secret).as_bytes())
}

/// The counts and the clock they go by.
struct Brake {
    clock: Clock,
    counts: Mutex<Counts>,
}

impl Brake {
    /// An account with another password begins anew: what was tried before says nothing about it.
    fn forget(&self, name: &UserName) {
        self.counts.lock().accounts.reset(&(name.clone(), None));
    }
}

/// An account, and the address if that is one of its own.
type AccountKey = (UserName, Option<Origin>);

struct Counts {
    accounts: Throttle<AccountKey>,
    addresses: Throttle<Origin>,
    sign_ups: Throttle<Origin>,
    known: Recent<(UserName, Origin)>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            accounts: Throttle::new(ACCOUNT),
            addresses: Throttle::new(ADDRESS),
            sign_ups: Throttle::new(SIGN_UPS),
            known: Recent::new(KNOWN_MAX),
        }
    }
}

impl Counts {
    fn account_key(&self, name: &UserName, from: Origin) -> AccountKey {
        let key = (name.clone(), from);
        let is_own = self.known.has(&key);
        (key.0, is_own.then_some(from))
    }
}

/// One attempt at a password.
struct Try {
    brake: Arc<Brake>,
    name: Option<UserName>,
    from: Origin,
}

impl Attempt for Try {
    fn begin(&mut self) -> Result<()> {
        let now_ms = (self.brake.clock)();
        let counts = self.brake.counts.lock();
        let of_account = self.name.as_ref().map_or(0, |name| {
            counts.accounts.wait_ms(&counts.account_key(name, self.from), now_ms)
        });
        let of_address = match self.from {
            Origin::Local => 0,
            far => counts.addresses.wait_ms(&far, now_ms),
        };
        match of_account.max(of_address) {
            0 => Ok(()),
            wait_ms => Err(Error::Throttled { seconds: wait_ms.div_ceil(1_000) }),
        }
    }

    fn end(&mut self, right: bool) {
        let now_ms = (self.brake.clock)();
        let mut counts = self.brake.counts.lock();
        if let Some(name) = &self.name {
            let key = counts.account_key(name, self.from);
            if right {
                counts.accounts.reset(&key);
                counts.known.meet(&(name.clone(), self.from), now_ms);
            } else {
                counts.accounts.failed(&key, now_ms);
            }
        }
        match self.from {
            Origin::Local => {}
            // Not all of them: else whoever has one account could guess at others without a wait.
            far if right => counts.addresses.forgive(&far),
            far => counts.addresses.failed(&far, now_ms),
        }
    }
}

#[cfg(test)]
mod tests;
