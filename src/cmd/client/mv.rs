//! `palk client mv FROM... TO`: moves and renames files and folders.

use clap::Args;
use serde_json::json;

use super::advice;
use super::glob::{self, Meant, Named};
use super::settings::Common;
use super::tally::Tally;
use super::transfer::rooted;
use crate::cmd::completions::STORED;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, FolderPath, printable};
use crate::core::remote::Remote;
use crate::core::wire::extended::{Entry, Moved};

/// Move or rename files and folders
///
/// If TO is a folder they go into it, else the one that is moved gets this path. A FROM may be a pattern in
/// quotes ("*.jpg"): then all that matches it is meant.
#[derive(Args, Debug)]
pub(super) struct Mv {
    /// What is moved; also patterns
    #[arg(required = true, value_name = "FROM", value_hint = STORED)]
    from: Vec<String>,

    /// Where to; "/" is your top folder
    #[arg(required = true, value_name = "TO", value_hint = STORED)]
    to: String,

    /// Replace a file that is there
    #[arg(long)]
    replace: bool,
}

impl Mv {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let meant = Meant::Trees;
        let into = Into { from: &self.from, meant, to: &self.to, summary, failed };
        into.run(common, env, &mut |remote, from, to| remote.move_to(from, to, self.replace))
    }
}

/// Files and folders that get another place, or one more.
pub(super) struct Into<'a> {
    pub(super) from: &'a [String],
    /// Of what matches a pattern.
    pub(super) meant: Meant,
    pub(super) to: &'a str,
    /// For people, of one of them.
    pub(super) summary: fn(&FilePath, &Moved) -> String,
    pub(super) failed: fn(&str, &str, &Error) -> Failure,
}

/// Moves or copies one.
type Carry<'a> = &'a mut dyn FnMut(&mut Remote, &FilePath, &FolderPath) -> Result<Moved, Error>;

impl Into<'_> {
    /// Carries one after the other.
    ///
    /// # Errors
    /// How it failed.
    pub(super) fn run(&self, common: &Common, env: &mut Env, carry: Carry<'_>) -> Result<(), Stop> {
        let to = FolderPath::parse_rooted(self.to);
        let to =
            to.map_err(|error| (self.failed)(&self.from.join(", "), self.to, &error.into()))?;
        let (mut connection, jobs) = glob::open(self.from, self.meant, None, common, env)?;
        let mut tally = Tally::new(jobs.len());
        if let (Some(connection), true) = (&mut connection, jobs.len() > 1) {
            // Else the first would get its name, and the second take its place.
            let found = connection.remote().and_then(|remote| remote.look(&to));
            if !matches!(found, Ok(Entry::Folder(_))) {
                let text = format!("{} is no folder, but several go there", self.to);
                let hint = format!("Make it first:  palk client mkdir {}", printable(self.to));
                return Err(Failure::new(Code::Usage, text).hint(hint).into());
            }
        }
        for Named { text, path, .. } in jobs {
            let carried = path.and_then(|from| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                let carried = carry(connection.remote()?, &from, &to)?;
                Ok((from, carried))
            });
            match carried {
                Ok((from, carried)) => {
                    let kind = if carried.is_folder { "folder" } else { "file" };
                    let object = json!({"code": 0, "from": rooted(&from),
                                        "path": rooted(&carried.to), "kind": kind,
                                        "files": carried.files, "replaced": carried.replaced});
                    tally.done(env, &[(self.summary)(&from, &carried)], object)?;
                }
                Err(error) => tally.failed(env, &text, (self.failed)(&text, self.to, &error))?,
            }
        }
        tally.finish(env)
    }
}

/// `Moved a to up/a`, and what else there is to say.
pub(super) fn summary(from: &FilePath, moved: &Moved) -> String {
    let to = &moved.to;
    match (moved.is_folder, moved.replaced) {
        (true, _) => format!("Moved the folder {from} to {to}  files in it: {}", moved.files),
        (false, true) => format!("Moved {from} to {to}, replacing the file that was there"),
        (false, false) => format!("Moved {from} to {to}"),
    }
}

/// A move that failed, with what to do.
pub(super) fn failed(from: &str, to: &str, error: &Error) -> Failure {
    let own: Vec<_> = hint(error).into_iter().collect();
    advice::own_or_usual(&format!("cannot move {from} to {to}"), error, &own)
}

/// The advice that what goes somewhere has of its own.
pub(super) fn hint(error: &Error) -> Option<(Code, &'static str)> {
    let own = match error.code() {
        Code::Exists => "Nothing was changed. Say --replace to replace a file that is there.",
        Code::NoSuchFolder => "Nothing was changed. Make the folder first, with mkdir.",
        _ => return None,
    };
    Some((error.code(), own))
}
