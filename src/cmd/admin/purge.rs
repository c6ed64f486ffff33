//! `palk admin purge`: lets go of all that is kept for undo.

use clap::Args;
use serde_json::json;

use super::Common;
use crate::cmd::confirm::{confirm, unconfirmed};
use crate::cmd::env::{Env, size};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::printable;
use crate::core::wire::admin::{Verb, parse};
use crate::core::wire::retention::Purged;

/// Let go of all that is kept for undo, for ever
///
/// What snapshots have stays until they are deleted.
#[derive(Args, Debug)]
pub(super) struct Purge {
    /// Of this account only
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Purge {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let whose = match &self.user {
            Some(user) => format!("of {}", printable(user)),
            None => "of all accounts".to_owned(),
        };
        if !self.yes {
            let what = format!("delete all that is kept for undo {whose}");
            let unasked = unconfirmed(&what, "--yes");
            let refused = Failure::new(Code::Interrupted, "Nothing was deleted.");
            let question = format!("Delete all that is kept for undo {whose} (yes or no)? ");
            confirm(env, &question, unasked, refused)?;
        }
        let verb = Verb::Purge { user: self.user };
        let answer = super::ask(&common.dir, env, &verb, &mut |_| Ok(()))?;
        let read = parse(answer.fields);
        let purged: Purged = read.map_err(|error| super::failure(&common.dir, &error))?;
        let Purged { before_bytes, after_bytes } = purged;
        let freed = before_bytes.saturating_sub(after_bytes);
        if common.json {
            let object = json!({"code": 0, "freed_bytes": freed, "kept_bytes": after_bytes});
            return env.json("result", object);
        }
        let left = match after_bytes {
            0 => String::new(),
            bytes => format!("; {} are in snapshots or just being read", size(bytes)),
        };
        env.note(&format!("Let go of {} {whose}{left}", size(freed)));
        Ok(())
    }
}
