//! `palk admin`: what is done to a running server by whoever may enter its folder.
//!
//! A verb is a file of its own in `admin/`, with a clap struct and a `run(self, &Common, &mut Env)`
//! that asks the server by `ask`, or by `follow` if it takes long.

mod backup;
mod follow;
mod heal;
mod purge;
mod recover;
mod replace;
mod scrub;
mod snapshot;
mod status;
mod user;

pub(crate) use follow::item_line;
pub(crate) use scrub::summary as scrub_summary;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cmd::env::{Env, Manner};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::admin::Admin as Link;
use crate::core::wire::admin::{Answer, Line, Verb as Asked};

/// Look after a running server, on its own machine
#[derive(Args, Debug)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub struct Admin {
    #[command(flatten)]
    common: Common,

    #[command(subcommand)]
    verb: Verb,
}

/// The options that every verb has.
#[derive(Args, Debug)]
struct Common {
    /// The server's folder, the one with the user database
    #[arg(long, global = true, value_name = "DIR", env = "PALK_DIR")]
    #[arg(default_value = "user_database")]
    dir: PathBuf,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Recover(recover::Recover),
    Status(status::Status),
    Scrub(scrub::Scrub),
    Heal(heal::Heal),
    Replace(replace::Replace),
    Backup(backup::Backup),
    User(user::User),
    Snapshot(snapshot::Snapshot),
    Purge(purge::Purge),
}

impl Admin {
    /// Asks the server.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if none runs on the folder, [`Code::LocalFile`] if the folder is
    /// somebody else's, and what the verb comes to.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        env.end_on_interrupt();
        env.set_manner(Manner { json: self.common.json, ..Manner::default() });
        match self.verb {
            Verb::Recover(recover) => recover.run(&self.common, env),
            Verb::Status(status) => status.run(&self.common, env),
            Verb::Scrub(scrub) => scrub.run(&self.common, env),
            Verb::Heal(heal) => heal.run(&self.common, env),
            Verb::Replace(replace) => replace.run(&self.common, env),
            Verb::Backup(backup) => backup.run(&self.common, env),
            Verb::User(user) => user.run(&self.common, env),
            Verb::Snapshot(snapshot) => snapshot.run(&self.common, env),
            Verb::Purge(purge) => purge.run(&self.common, env),
        }
    }
}

/// Asks the server of a folder and waits for its end; what it says before that goes to `each`.
///
/// # Errors
/// [`Code::Unreachable`] if none runs there; what the server answers.
pub(crate) fn ask(
    dir: &Path,
    env: &Env,
    asked: &Asked,
    each: &mut dyn FnMut(Line) -> Result<(), Error>,
) -> Result<Answer, Stop> {
    ask_folder(&env.at(dir), asked, each).map_err(|error| failure(dir, &error).into())
}

/// The same, with the error as it is.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_folder(
    dir: &Path,
    asked: &Asked,
    each: &mut dyn FnMut(Line) -> Result<(), Error>,
) -> Result<Answer, Error> {
    match Link::find(dir)? {
        Some(link) => link.ask(asked, each),
        None => Err(no_socket(dir)),
    }
}

fn no_socket(dir: &Path) -> Error {
    let dir = dir.display();
    Error::other(Code::Unreachable, format!("no server runs on the folder {dir}"))
}

/// The failure with what to do about it.
pub(crate) fn failure(dir: &Path, error: &Error) -> Failure {
    let failure = Failure::from(error);
    let dir = printable(&dir.to_string_lossy());
    match error.code() {
        Code::Unreachable => failure
            .hint(format!("Start it:  palk server --dir {dir}   or name another:  --dir DIR")),
        Code::LocalFile => {
            failure.hint("Ask as the user that the server runs as, or name another with --dir.")
        }
        Code::Temporary => failure.hint("Try again."),
        Code::Version => failure.hint("Use the palk that the server is of. See:  palk --version"),
        Code::NoSuchUser => failure.hint("See which there are:  palk admin user list"),
        Code::Exists | Code::NoSuchFile => {
            failure.hint("See which there are:  palk admin snapshot list")
        }
        Code::TooFewNodes => failure.hint("See which are away:  palk admin status"),
        Code::InDoubt => {
            failure.hint("Check what is there before you repeat it:  palk admin user list")
        }
        Code::UserExists | Code::Usage => failure,
        _ => failure.hint("The server's log says more."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> (u8, String) {
        let (mut env, screen) = Env::fake(arguments, "");
        (crate::cmd::run(&mut env), screen.err())
    }

    #[test]
    fn a_folder_without_a_server_is_status_6_and_says_how_to_start_one() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        for dir in [dir, &format!("{dir}/missing")] {
            let (code, said) = run(&["admin", "status", "--dir", dir]);
            assert_eq!(code, 6, "{said}");
            assert!(said.starts_with(&format!("error: no server runs on the folder {dir}\n")));
            assert!(said.contains(&format!("palk server --dir {dir} ")), "{said}");
        }
    }

    #[test]
    fn a_socket_that_cannot_be_used_is_status_13() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("admin.sock", folder.path().join("admin.sock")).unwrap();
        let (code, said) = run(&["admin", "status", "--dir", folder.path().to_str().unwrap()]);
        assert_eq!(code, 13, "{said}");
        assert!(said.contains("admin.sock: ") && said.contains("\n  Ask as the user"), "{said}");
    }

    #[test]
    fn a_verb_is_needed() {
        assert_eq!(run(&["admin"]).0, 2);
        assert_eq!(run(&["admin", "fly"]).0, 2);
    }
}
