//! `palk client signup`: makes an account.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::reach;
use super::settings::Common;
use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::UserName;

/// Make an account
#[derive(Args, Debug)]
pub(super) struct Signup {}

impl Signup {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        if let Some(user) = &common.user {
            check_name(user)?;
        }
        let (mut settings, mut remote) = reach(common, env)?;
        let user = settings.user(env)?;
        check_name(&user)?;
        let password = settings.password(&user, env)?;
        // A typed password is typed twice: nobody saw what it was.
        if settings.password.is_none() && env.ask("The same again: ", Asked::Secret)? != password {
            let failure = Failure::new(Code::Usage, "the two passwords are not the same");
            return Err(failure.hint("No account was made. Try again.").into());
        }
        remote.sign_up(&user, &password).map_err(|error| failed(&error))?;
        settings.was_used(&remote, env);
        if common.json {
            return env.json("result", json!({"code": 0, "user": user}));
        }
        env.note(&format!("Made the account {user}"));
        Ok(())
    }
}

fn check_name(user: &str) -> Result<(), Failure> {
    UserName::parse(user).map(drop).map_err(|error| failed(&Error::from(error)))
}

fn failed(error: &Error) -> Failure {
    let what = "cannot make the account";
    match error.code() {
        Code::NotAllowed => {
            Failure::of(what, error).hint("Ask the operator of the server for an account.")
        }
        Code::InDoubt => {
            Failure::of(what, error).hint("Try whether it is there:  palk client login --user NAME")
        }
        _ => advice::failure(what, error),
    }
}
