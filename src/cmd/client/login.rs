//! `palk client login`: signs in once and keeps a token, so that later commands need no password.

use std::fs;

use clap::Args;
use serde_json::json;

use super::connection::{reach, sign_in_failed};
use super::saved::{self, SignIn};
use super::settings::Common;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::Code;
use crate::core::path::printable;
use crate::core::remote::{Remote, Target};

use super::advice;

/// Sign in and keep it, so that later commands need no password
#[derive(Args, Debug)]
pub(super) struct Login {}

impl Login {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let (mut settings, mut remote) = reach(common, env)?;
        let user = settings.user(env)?;
        let password = settings.password(&user, env)?;
        remote.sign_in(&user, &password).map_err(|error| sign_in_failed(&user, &error))?;
        settings.was_used(&remote, env);
        let own =
            [(Code::InDoubt, "Sign in again; a sign-in that did not arrive is of use to nobody.")];
        let failed = |error| advice::own_or_usual("cannot get a saved sign-in", &error, &own);
        let token = remote.issue_token(&machine()).map_err(failed)?;
        settings.user = Some(user.clone());
        let former = saved::find(&settings, env).ok().flatten();
        let target = settings.target();
        let server = settings.server;
        let place = saved::keep(&server, &SignIn { user: user.clone(), token }, env)?;
        if let Some(former) = former {
            revoke(target, &former);
        }
        if common.json {
            let place = place.display().to_string();
            return env.json("result", json!({"code": 0, "user": user, "file": place}));
        }
        env.note(&format!(
            "Signed in as {} at {}. Later commands need no password, until:  palk client logout",
            printable(&user),
            printable(&server)
        ));
        env.detail(&format!("  kept in {}", place.display()));
        Ok(())
    }
}

/// What is not kept any more should not be valid any more. If it cannot be done, it is one of those
/// that the next change of the password revokes.
fn revoke(server: Target, former: &SignIn) {
    let _ = Remote::connect(server).and_then(|mut remote| {
        remote.sign_in_by_token(&former.user, &former.token)?;
        remote.revoke_token()
    });
}

/// This machine's name, for the list of an account's tokens.
fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}
