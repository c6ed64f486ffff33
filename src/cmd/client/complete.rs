//! `palk client complete-stored PREFIX`: what a shell asks when Tab is pressed (see `completions.rs`).
//!
//! Nobody waits for a Tab, and what it prints gets in the way of what is typed: so it asks nothing, says
//! nothing of what fails, changes nothing, and ends after a second, whatever the server does.

use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::bounded;

use super::entries;
use super::saved::SignIn;
use super::scan;
use super::settings::{Common, Settings};
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::Error;
use crate::core::path::FolderPath;
use crate::core::remote::{Remote, Target};

/// The longest that somebody waits for a Tab.
const WAIT: Duration = Duration::from_secs(1);

/// List the stored paths that begin with PREFIX, one folder level, with a saved sign-in only
#[derive(Args, Debug)]
#[command(name = "complete-stored", hide = true)]
pub(super) struct CompleteStored {
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
}

impl CompleteStored {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        for path in self.paths(common, env) {
            env.data(&path)?;
        }
        Ok(())
    }

    fn paths(&self, common: &Common, env: &Env) -> Vec<String> {
        // A server that has to be looked for first takes longer than anybody waits.
        let (Ok(settings), false) =
            (Settings::resolve(common, env), scan::is_wanted(common, env).unwrap_or(true))
        else {
            return Vec::new();
        };
        let Ok(Some(sign_in)) = settings.saved(env) else { return Vec::new() };
        let at = self.prefix.rfind('/').map_or(0, |at| at + 1);
        let (above, begun) = self.prefix.split_at(at);
        let Ok(folder) = FolderPath::parse_rooted(above) else { return Vec::new() };
        let (tell, told) = bounded(1);
        // A name that cannot be resolved or a network that is silent would hold up this thread for longer.
        thread::spawn(move || tell.send(list(settings.target(), &sign_in, &folder)));
        let names = told.recv_timeout(WAIT).ok().and_then(Result::ok).unwrap_or_default();
        let begins = names.into_iter().filter(|name| name.starts_with(begun));
        begins.map(|name| format!("{above}{name}")).collect()
    }
}

/// The names in a folder; those of folders end in `/`.
fn list(target: Target, sign_in: &SignIn, folder: &FolderPath) -> Result<Vec<String>, Error> {
    let mut remote = Remote::connect(target)?;
    remote.sign_in_by_token(&sign_in.user, &sign_in.token)?;
    Ok(entries::names(&mut remote, folder))
}
