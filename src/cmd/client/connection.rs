//! A signed-in connection for a verb that may ask several things: one that broke, or was left with
//! bytes that nobody takes, is replaced by a new one.

use super::advice;
use super::password::Source;
use super::saved::{self, SignIn};
use super::settings::{Common, Settings};
use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::Remote;
use crate::core::wire::token::Token;

pub(crate) struct Connection {
    settings: Settings,
    user: String,
    proof: Proof,
    remote: Remote,
    /// Why no new connection can be had. Each further file would wait for the same in vain.
    lost: Option<(Code, String)>,
}

/// A connection that is not open yet.
#[derive(Clone)]
pub(super) struct Another {
    settings: Settings,
    user: String,
    proof: Proof,
}

impl Another {
    /// One that signs in with a password.
    pub(super) fn by_password(settings: Settings, user: String, password: String) -> Another {
        Another { settings, user, proof: Proof::Password(password) }
    }

    /// One that signs in with a saved sign-in.
    pub(super) fn by_saved(settings: Settings, saved: SignIn) -> Another {
        Another { settings, user: saved.user, proof: Proof::Token(saved.token) }
    }

    /// Connects and signs in.
    ///
    /// # Errors
    /// Those of connecting and signing in.
    pub(super) fn open(self) -> Result<Connection, Error> {
        let Another { settings, user, proof } = self;
        let mut remote = Remote::connect(settings.target())?;
        proof.sign_in(&mut remote, &user)?;
        Ok(Connection { settings, user, proof, remote, lost: None })
    }
}

/// What the user signs in with.
#[derive(Clone)]
enum Proof {
    Password(String),
    Token(Token),
}

impl Proof {
    fn sign_in(&self, remote: &mut Remote, user: &str) -> Result<(), Error> {
        match self {
            Proof::Password(password) => remote.sign_in(user, password),
            Proof::Token(token) => remote.sign_in_by_token(user, token),
        }
    }
}

impl Connection {
    /// Connects and signs in: with the saved sign-in if there is one and no password was named, else
    /// with a password, asking for what is not given.
    ///
    /// # Errors
    /// [`Code::Usage`] if something is missing and nobody can be asked; those of signing in.
    pub(crate) fn open(common: &Common, env: &mut Env) -> Result<Connection, Stop> {
        let mut settings = Settings::resolve(common, env)?;
        if let Some(saved) = settings.saved(env)? {
            let mut remote = settings.connect(env)?;
            if by_saved(&mut remote, &settings, &saved, env)? {
                settings.was_used(&remote, env);
                let SignIn { user, token } = saved;
                let proof = Proof::Token(token);
                return Ok(Connection { settings, user, proof, remote, lost: None });
            }
            settings.user = Some(saved.user);
            return Connection::with_password(settings, remote, env);
        }
        check_askable(&settings, env)?;
        let remote = settings.connect(env)?;
        Connection::with_password(settings, remote, env)
    }

    fn with_password(
        mut settings: Settings,
        mut remote: Remote,
        env: &mut Env,
    ) -> Result<Connection, Stop> {
        let user = settings.user(env)?;
        let password = settings.password(&user, env)?;
        remote.sign_in(&user, &password).map_err(|error| sign_in_failed(&user, &error))?;
        settings.was_used(&remote, env);
        env.detail(&format!("signed in as {user}"));
        Ok(Connection { settings, user, proof: Proof::Password(password), remote, lost: None })
    }

    /// How to open a further connection of the same kind, also in another thread.
    pub(super) fn another(&self) -> Another {
        let (settings, user) = (self.settings.clone(), self.user.clone());
        Another { settings, user, proof: self.proof.clone() }
    }

    /// Whoever waits for a server that could not be reached tries again.
    pub(crate) fn try_again(&mut self) {
        self.lost = None;
    }

    /// Where the server is.
    pub(crate) fn server(&self) -> &str {
        &self.settings.server
    }

    /// The connection, or a new one in its place, also where the server has ended it while nothing was
    /// asked.
    ///
    /// # Errors
    /// Those of connecting and signing in.
    pub(crate) fn remote(&mut self) -> Result<&mut Remote, Error> {
        if let Some((code, text)) = &self.lost {
            return Err(Error::other(*code, text.clone()));
        }
        if !self.remote.is_alive() {
            let again = Remote::connect(self.settings.target()).and_then(|mut remote| {
                self.proof.sign_in(&mut remote, &self.user).map(|()| remote)
            });
            self.remote = again.inspect_err(|error| {
                self.lost = Some((error.code(), error.to_string()));
            })?;
        }
        Ok(&mut self.remote)
    }
}

/// Connects for a verb, once it is certain that user and password can be had.
///
/// # Errors
/// [`Code::Usage`] if they cannot; those of connecting, with what to do.
pub(super) fn reach(common: &Common, env: &mut Env) -> Result<(Settings, Remote), Stop> {
    let mut settings = Settings::resolve(common, env)?;
    check_askable(&settings, env)?;
    let remote = settings.connect(env)?;
    Ok((settings, remote))
}

/// Signs in with a saved sign-in. False if it is not valid any more and a password can be had; the
/// connection can be used for that then.
pub(super) fn by_saved(
    remote: &mut Remote,
    settings: &Settings,
    saved: &SignIn,
    env: &mut Env,
) -> Result<bool, Stop> {
    let user = &saved.user;
    match remote.sign_in_by_token(user, &saved.token) {
        Ok(()) => {
            env.detail(&format!("signed in as {} (saved)", printable(user)));
            Ok(true)
        }
        Err(error) if error.code() == Code::SignIn => {
            saved::forget(&settings.server, user, env)?;
            if settings.password.is_none() && !env.can_ask() {
                let failure = Failure::of(&format!("cannot sign in as {user}"), &error);
                return Err(failure.hint("Sign in again:  palk client login").into());
            }
            env.note(&format!("The saved sign-in of {} is not valid any more.", printable(user)));
            Ok(false)
        }
        Err(error) => Err(sign_in_failed(user, &error).into()),
    }
}

/// A sign-in that failed, with what to do.
pub(super) fn sign_in_failed(user: &str, error: &Error) -> Failure {
    if error.code() == Code::Temporary {
        let hint = "Make sure of the password first. The operator of the server can set a new one:  palk \
                    admin user passwd NAME";
        return Failure::of(&format!("cannot sign in as {user}"), error).hint(hint);
    }
    advice::failure(&format!("cannot sign in as {user}"), error)
}

impl Settings {
    /// Connects to the right server. Before anyone is asked for more: a server that is not there
    /// needs no password.
    ///
    /// # Errors
    /// Those of [`Settings::reach`].
    pub(super) fn connect(&mut self, env: &mut Env) -> Result<Remote, Stop> {
        let remote = self.reach(env, Remote::connect)?;
        env.detail(&format!("connected to {}", remote.name()));
        Ok(remote)
    }

    /// Signs in with what is kept: a saved sign-in, or a password that can be had without anybody being
    /// asked. Changes nothing here, also where a saved sign-in is not valid any more. Gives the user;
    /// `None` if nothing is kept.
    ///
    /// # Errors
    /// Those of signing in and of reading what is kept.
    pub(crate) fn sign_in_quietly(
        &self,
        remote: &mut Remote,
        env: &mut Env,
    ) -> Result<Option<String>, Stop> {
        if let Some(SignIn { user, token }) = self.saved(env)? {
            let signed_in = remote.sign_in_by_token(&user, &token);
            signed_in.map_err(|error| {
                let failure = Failure::of(&format!("cannot sign in as {user}"), &error);
                failure.hint("Sign in again:  palk client login")
            })?;
            return Ok(Some(user));
        }
        // A command may ask somebody; one that is named on the command line is meant to be run.
        let source = self.password.as_ref();
        let source =
            source.filter(|source| self.password_given || !matches!(source, Source::Command(_)));
        let (Some(user), Some(source)) = (&self.user, source) else { return Ok(None) };
        let password = source.read(env)?;
        remote.sign_in(user, &password).map_err(|error| sign_in_failed(user, &error))?;
        Ok(Some(user.clone()))
    }

    /// The saved sign-in that is to be used, if there is one.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be read.
    pub(super) fn saved(&self, env: &Env) -> Result<Option<SignIn>, Failure> {
        if self.password_given { Ok(None) } else { saved::find(self, env) }
    }

    /// The user, asked for if need be.
    pub(super) fn user(&self, env: &mut Env) -> Result<String, Stop> {
        match &self.user {
            Some(user) => Ok(user.clone()),
            None => env.ask("Username: ", Asked::Answer),
        }
    }

    /// The password, asked for if need be.
    pub(super) fn password(&self, user: &str, env: &mut Env) -> Result<String, Stop> {
        match &self.password {
            Some(source) => source.read(env),
            None => env.ask(&format!("Password of {}: ", printable(user)), Asked::Secret),
        }
    }
}

/// What is not given has to be asked for; if nobody can be asked, that is said before anything else.
fn check_askable(settings: &Settings, env: &Env) -> Result<(), Failure> {
    if env.can_ask() {
        return Ok(());
    }
    if settings.user.is_none() {
        let hint = "Give it with --user NAME, PALK_USER or a profile.";
        return Err(Failure::new(Code::Usage, "no user is named").hint(hint));
    }
    if settings.password.is_none() {
        let hint = "Give it with --password-file FILE, --password-command CMD or --password-stdin, \
                    or sign in once:  palk client login";
        return Err(Failure::new(Code::Usage, "there is no password").hint(hint));
    }
    Ok(())
}
