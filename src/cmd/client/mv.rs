//! `palk client mv FROM... TO`: moves and renames files and folders.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::rooted;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, FolderPath, printable};
use crate::core::wire::extended::{Entry, Moved};

/// Move or rename files and folders
///
/// If TO is a folder they go into it, else the one that is moved gets this path.
#[derive(Args, Debug)]
pub(super) struct Mv {
    /// What is moved
    #[arg(required = true, value_name = "FROM")]
    from: Vec<String>,

    /// Where to; "/" is your top folder
    #[arg(required = true, value_name = "TO")]
    to: String,

    /// Replace a file that is there
    #[arg(long)]
    replace: bool,
}

impl Mv {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let to_text = &self.to;
        let to = FolderPath::parse_rooted(to_text);
        let to = to.map_err(|error| failed(&self.from.join(", "), to_text, &error.into()))?;
        let jobs: Vec<_> =
            self.from.iter().map(|text| (text, FilePath::parse_rooted(text))).collect();
        let mut tally = Tally::new(jobs.len());
        let mut connection = match jobs.iter().any(|(_, from)| from.is_ok()) {
            true => Some(Connection::open(common, env)?),
            false => None,
        };
        if let (Some(connection), true) = (&mut connection, jobs.len() > 1) {
            // Else the first would get its name, and the second take its place.
            let found = connection.remote().and_then(|remote| remote.look(&to));
            if !matches!(found, Ok(Entry::Folder(_))) {
                let text = format!("{to_text} is no folder, but several go there");
                let hint = format!("Make it first:  palk client mkdir {}", printable(to_text));
                return Err(Failure::new(Code::Usage, text).hint(hint).into());
            }
        }
        for (text, from) in jobs {
            let moved = from.map_err(Error::from).and_then(|from| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                let moved = connection.remote()?.move_to(&from, &to, self.replace)?;
                Ok((from, moved))
            });
            match moved {
                Ok((from, moved)) => {
                    let kind = if moved.is_folder { "folder" } else { "file" };
                    let object = json!({"code": 0, "from": rooted(&from), "path": rooted(&moved.to),
                                        "kind": kind, "files": moved.files,
                                        "replaced": moved.replaced});
                    tally.done(env, &[summary(&from, &moved)], object)?;
                }
                Err(error) => tally.failed(env, text, failed(text, to_text, &error))?,
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
    let own = [
        (Code::Exists, "Nothing was changed. Say --replace to replace a file that is there."),
        (Code::NoSuchFolder, "Nothing was changed. Make the folder first, with mkdir."),
    ];
    advice::own_or_usual(&format!("cannot move {from} to {to}"), error, &own)
}
