//! `palk client logout`: revokes a saved sign-in and forgets it.

use clap::Args;
use serde_json::json;

use super::advice;
use super::saved;
use super::settings::{Common, Settings};
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::Code;
use crate::core::path::printable;

/// Revoke a kept sign-in and forget it
#[derive(Args, Debug)]
pub(super) struct Logout {}

impl Logout {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let mut settings = Settings::resolve(common, env)?;
        let server = printable(&settings.server);
        let Some(sign_in) = saved::find(&settings, env)? else {
            if common.json {
                return env.json("result", json!({"code": 0, "user": settings.user}));
            }
            env.note(&format!(
                "No sign-in at {server} is kept; name another with --user, --server"
            ));
            return Ok(());
        };
        // First at the server: what only this machine has forgotten would still be valid.
        let mut remote = settings.connect(env)?;
        let revoked = remote
            .sign_in_by_token(&sign_in.user, &sign_in.token)
            .and_then(|()| remote.revoke_token());
        match revoked {
            // It was revoked before, or its account is gone.
            Err(error) if matches!(error.code(), Code::SignIn) => {}
            other => {
                let own = [(Code::InDoubt, "Sign out again to be sure.")];
                other.map_err(|error| advice::own_or_usual("cannot sign out", &error, &own))?;
            }
        }
        saved::forget(&settings.server, &sign_in.user, env)?;
        if common.json {
            return env.json("result", json!({"code": 0, "user": sign_in.user}));
        }
        env.note(&format!("Signed out {} at {server}", printable(&sign_in.user)));
        Ok(())
    }
}
