//! `palk client`: the interactive session, and one-shot verbs for scripts.
//!
//! Options stand before or after the verb. A verb of several files goes on after one that fails;
//! its exit status is 3 then, or the file's own if only one was asked for.

pub(crate) mod advice;
mod bandwidth;
mod cat;
mod check;
mod command;
mod complete;
mod config;
pub(crate) mod connection;
mod cp;
mod del;
mod du;
mod entries;
mod find;
mod folder;
mod glob;
pub(crate) mod identity;
mod inf;
mod keys;
mod link;
pub(crate) mod local;
mod login;
mod logout;
mod mkdir;
mod mv;
mod operation;
mod partial;
mod passwd;
pub(crate) mod password;
pub(crate) mod place;
mod rate;
mod request;
mod rest;
mod resume;
mod retry;
mod rmdir;
mod rtv;
mod saved;
pub(crate) mod scan;
pub(crate) mod session;
pub(crate) mod settings;
mod signup;
mod store;
mod sync;
mod tally;
pub(crate) mod transfer;
mod trust;
pub(crate) mod undo;
mod update;
mod upload;
mod uploads;
mod versions;

use clap::{Args, Subcommand};

use self::settings::Common;
// What people write, for those who try out how it is read.
pub use self::settings::{config_mistake, with_port};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;

const AFTER_HELP: &str = "\
Configuration: $PALK_CONFIG, or palk/config.toml in $XDG_CONFIG_HOME or ~/.config.
  [profile.NAME] has server, user, password_file or password_command, fingerprint;
  default_profile = \"NAME\" before it is used where no --profile is given.
An option wins over the environment, the environment over the profile. A saved sign-in (see \"login\")
is used where no password is named by an option; it lies in the folder tokens beside the
configuration.

Exit status: 0 done, 2 wrong usage, 3 some of several failed or differ, 4 no such file,
  5 sign-in failed, 6 server or too many nodes unreachable, 7 damaged data, 8 no space or too big, 9 refused,
  10 try again, 11 version mismatch, 12 unknown or changed server, 13 local file problem,
  14 not known whether it was done, 130 interrupted, 1 anything else";

/// Store and retrieve files; without a verb, in an interactive session
#[derive(Args, Debug)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs", after_help = AFTER_HELP)]
pub struct Client {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    session: session::Session,

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Signup(signup::Signup),
    Login(login::Login),
    Logout(logout::Logout),
    Passwd(passwd::Passwd),
    #[command(visible_alias = "put")]
    Store(store::Store),
    #[command(visible_alias = "get")]
    Rtv(rtv::Rtv),
    #[command(visible_alias = "rm")]
    Del(del::Del),
    #[command(visible_alias = "ls")]
    Inf(inf::Inf),
    Trust(trust::Trust),
    Scan(scan::Scan),
    Request(request::Request),
    Update(update::Update),
    Mkdir(mkdir::Mkdir),
    Rmdir(rmdir::Rmdir),
    Mv(mv::Mv),
    Cp(cp::Cp),
    Cat(cat::Cat),
    Head(cat::Head),
    Du(du::Du),
    Find(find::Find),
    Versions(versions::Versions),
    Undo(undo::Undo),
    Uploads(uploads::Uploads),
    Keys(keys::Keys),
    Check(check::Check),
    Sync(sync::Sync),
    Config(config::Config),
    CompleteStored(complete::CompleteStored),
}

impl Client {
    /// Runs the verb, or the session if there is none.
    ///
    /// # Errors
    /// How it failed, with its exit status.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        env.end_on_interrupt();
        env.set_manner(self.common.manner());
        let needs_server = match self.verb {
            Some(Verb::Trust(_) | Verb::Scan(_) | Verb::Request(_)) => false,
            Some(Verb::Config(_) | Verb::CompleteStored(_)) => false,
            Some(_) => true,
            None => !self.common.json,
        };
        let common = match needs_server {
            true => &scan::settle(self.common, env)?,
            false => &self.common,
        };
        match self.verb {
            Some(Verb::Signup(signup)) => signup.run(common, env),
            Some(Verb::Login(login)) => login.run(common, env),
            Some(Verb::Logout(logout)) => logout.run(common, env),
            Some(Verb::Passwd(passwd)) => passwd.run(common, env),
            Some(Verb::Store(store)) => store.run(common, env),
            Some(Verb::Rtv(rtv)) => rtv.run(common, env),
            Some(Verb::Del(del)) => del.run(common, env),
            Some(Verb::Inf(inf)) => inf.run(common, env),
            Some(Verb::Trust(trust)) => trust.run(common, env),
            Some(Verb::Scan(scan)) => scan.run(env),
            Some(Verb::Request(request)) => request.run(common, env),
            Some(Verb::Update(update)) => update.run(common, env),
            Some(Verb::Mkdir(mkdir)) => mkdir.run(common, env),
            Some(Verb::Rmdir(rmdir)) => rmdir.run(common, env),
            Some(Verb::Mv(mv)) => mv.run(common, env),
            Some(Verb::Cp(cp)) => cp.run(common, env),
            Some(Verb::Cat(cat)) => cat.run(common, env),
            Some(Verb::Head(head)) => head.run(common, env),
            Some(Verb::Du(du)) => du.run(common, env),
            Some(Verb::Find(find)) => find.run(common, env),
            Some(Verb::Versions(versions)) => versions.run(common, env),
            Some(Verb::Undo(undo)) => undo.run(common, env),
            Some(Verb::Uploads(uploads)) => uploads.run(common, env),
            Some(Verb::Keys(keys)) => keys.run(common, env),
            Some(Verb::Check(check)) => check.run(common, env),
            Some(Verb::Sync(sync)) => sync.run(common, env),
            Some(Verb::Config(config)) => config.run(common, env),
            Some(Verb::CompleteStored(stored)) => stored.run(common, env),
            None if common.json => {
                let text = "--json is for the one-shot verbs, the session is for people";
                Err(Failure::new(Code::Usage, text).hint("See:  palk client --help").into())
            }
            None => self.session.run(common, env),
        }
    }
}

#[cfg(test)]
mod tests;
