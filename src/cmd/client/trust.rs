//! `palk client trust`: remembers what a server is recognised by.

use clap::Args;
use serde_json::json;

use super::advice;
use super::identity::KnownServers;
use super::settings::{Common, with_port};
use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::printable;
use crate::core::remote::Remote;
use crate::core::types::Fingerprint;

/// Remember a server's fingerprint, in place of the one it was known by
#[derive(Args, Debug)]
pub(super) struct Trust {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    address: String,

    /// What the server printed when it was started; without it, what it shows now
    #[arg(value_name = "FINGERPRINT")]
    known: Option<Fingerprint>,
}

impl Trust {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let server = with_port(self.address);
        let mut known = KnownServers::open(env)?;
        let before = known.find(&server)?;
        let print = match self.known {
            Some(print) => print,
            None => shown_by(&server, before, env)?,
        };
        known.remember(&server, &print)?;
        if common.json {
            let print = print.to_string();
            return env.json("result", json!({"code": 0, "server": server, "fingerprint": print}));
        }
        let shown = printable(&server);
        env.note(&format!("Trusting {shown} from now on, fingerprint {print}"));
        if let Some(before) = before.filter(|before| *before != print) {
            env.note(&format!("  It was known by {before} before."));
        }
        Ok(())
    }
}

/// The fingerprint that a server shows now. On a terminal the user has a look at it first.
fn shown_by(server: &str, before: Option<Fingerprint>, env: &mut Env) -> Result<Fingerprint, Stop> {
    let print = Remote::fingerprint_of(server).map_err(|error| advice::plain(&error))?;
    if before != Some(print) && env.can_ask() {
        let question = format!(
            "{} shows the fingerprint\n  {print}\n\
             Is it what the server printed when it was started? (yes or no): ",
            printable(server)
        );
        let answer = env.ask(&question, Asked::Answer)?;
        if !answer.trim().eq_ignore_ascii_case("yes") {
            let text = format!("the server {} is not trusted", printable(server));
            let hint = "Nothing was changed. Ask the operator of the server for its fingerprint.";
            return Err(Failure::new(Code::ServerIdentity, text).hint(hint).into());
        }
    }
    Ok(print)
}
