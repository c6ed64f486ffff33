//! A signed-in connection for a verb that may ask several things: one that broke, or was left with
//! bytes that nobody takes, is replaced by a new one.

use super::advice;
use super::settings::{Common, Settings};
use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::Remote;

pub(crate) struct Connection {
    settings: Settings,
    user: String,
    password: String,
    remote: Remote,
    /// Why no new connection can be had. Each further file would wait for the same in vain.
    lost: Option<(Code, String)>,
}

impl Connection {
    /// Connects, asking for what is not given, and signs in.
    ///
    /// # Errors
    /// [`Code::Usage`] if something is missing and nobody can be asked; those of signing in.
    pub(crate) fn open(common: &Common, env: &mut Env) -> Result<Connection, Stop> {
        let (settings, mut remote) = reach(common, env)?;
        let user = settings.user(env)?;
        let password = settings.password(&user, env)?;
        remote
            .sign_in(&user, &password)
            .map_err(|error| advice::failure(&format!("cannot sign in as {user}"), &error))?;
        env.detail(&format!("signed in as {user}"));
        Ok(Connection { settings, user, password, remote, lost: None })
    }

    /// The connection, or a new one in its place.
    ///
    /// # Errors
    /// Those of connecting and signing in.
    pub(crate) fn remote(&mut self) -> Result<&mut Remote, Error> {
        if let Some((code, text)) = &self.lost {
            return Err(Error::other(*code, text.clone()));
        }
        if !self.remote.is_usable() {
            let again = Remote::connect(self.settings.target())
                .and_then(|mut remote| remote.sign_in(&self.user, &self.password).map(|()| remote));
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
    // Before anyone is asked: a server that is not there needs no password.
    let remote = settings.reach(env, Remote::connect)?;
    env.detail(&format!("connected to {}", remote.name()));
    Ok((settings, remote))
}

impl Settings {
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
        let hint = "Give it with --password-file FILE, --password-command CMD or --password-stdin.";
        return Err(Failure::new(Code::Usage, "there is no password").hint(hint));
    }
    Ok(())
}
