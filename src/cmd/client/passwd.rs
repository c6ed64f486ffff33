//! `palk client passwd`: changes the password, and revokes every other saved sign-in.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::sign_in_failed;
use super::password::Source;
use super::saved;
use super::settings::{Common, Settings};
use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::printable;

/// Change the password; every sign-in kept elsewhere is revoked
#[derive(Args, Debug)]
pub(super) struct Passwd {
    /// Read the new password from the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_stdin")]
    new_password_file: Option<PathBuf>,

    /// Read the new password from a line of standard input (with --password-stdin the second)
    #[arg(long)]
    new_password_stdin: bool,
}

impl Passwd {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let mut settings = Settings::resolve(common, env)?;
        let saved = saved::find(&settings, env)?;
        settings.user = settings.user.or(saved.as_ref().map(|saved| saved.user.clone()));
        self.check_askable(&settings, env)?;
        let mut remote = settings.connect(env)?;
        let user = settings.user(env)?;
        let old = match &settings.password {
            Some(source) => source.read(env)?,
            None => env.ask(&format!("Old password of {}: ", printable(&user)), Asked::Secret)?,
        };
        // By the saved sign-in if there is one, so that it is the one that stays valid.
        let by_token = saved.map(|saved| remote.sign_in_by_token(&user, &saved.token));
        if !matches!(by_token, Some(Ok(()))) {
            remote.sign_in(&user, &old).map_err(|error| sign_in_failed(&user, &error))?;
        }
        settings.was_used(&remote, env);
        let new = self.new_password(&user, env)?;
        let own = [(Code::InDoubt, "Sign in to see which password is valid:  palk client login")];
        let what = "cannot change the password";
        let failed = |error| advice::own_or_usual(what, &error, &own);
        remote.change_password(&old, &new).map_err(failed)?;
        if common.json {
            return env.json("result", json!({"code": 0, "user": user}));
        }
        let user = printable(&user);
        env.note(&format!("Changed the password of {user}. Sign-ins kept elsewhere are revoked."));
        Ok(())
    }

    fn source(&self) -> Option<Source> {
        if self.new_password_stdin {
            return Some(Source::StandardInput);
        }
        self.new_password_file.clone().map(Source::File)
    }

    fn new_password(&self, user: &str, env: &mut Env) -> Result<String, Stop> {
        if let Some(source) = self.source() {
            return source.read(env);
        }
        let new = env.ask(&format!("New password of {}: ", printable(user)), Asked::Secret)?;
        // Nobody saw what it was.
        if env.ask("The same again: ", Asked::Secret)? != new {
            let failure = Failure::new(Code::Usage, "the two new passwords are not the same");
            return Err(failure.hint("Nothing was changed. Try again.").into());
        }
        Ok(new)
    }

    fn check_askable(&self, settings: &Settings, env: &Env) -> Result<(), Failure> {
        let (what, hint) = if env.can_ask() {
            return Ok(());
        } else if settings.user.is_none() {
            ("no user is named", "Give it with --user NAME, PALK_USER or a profile.")
        } else if settings.password.is_none() {
            ("there is no old password", "Give it with --password-file FILE or --password-stdin.")
        } else if self.source().is_none() {
            let hint = "Give it with --new-password-file FILE or --new-password-stdin.";
            ("there is no new password", hint)
        } else {
            return Ok(());
        };
        Err(Failure::new(Code::Usage, what).hint(hint))
    }
}
