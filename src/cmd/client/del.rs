//! `palk client del PATH...`: deletes stored files.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::rmdir;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::rooted;
use crate::cmd::completions::STORED;
use crate::cmd::confirm::{confirm, unconfirmed};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, FolderPath, printable};
use crate::core::remote::Remote;
use crate::core::wire::extended::{Entry, Removed};

/// Delete files
#[derive(Args, Debug)]
pub(super) struct Del {
    /// Stored files, as "inf" shows them
    #[arg(required = true, value_name = "PATH", value_hint = STORED)]
    paths: Vec<String>,

    /// Delete folders with everything in them too; asks first
    #[arg(short, long)]
    recursive: bool,

    /// Let go of all their versions too, so that nothing can bring them back; asks first
    #[arg(long, conflicts_with = "recursive")]
    forever: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Del {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let jobs: Vec<_> =
            self.paths.iter().map(|path| (path, FilePath::parse_rooted(path))).collect();
        let mut tally = Tally::new(jobs.len());
        if self.recursive && !self.yes {
            rmdir::confirm(&self.paths.join(", "), env)?;
        }
        if self.forever && !self.yes {
            confirm_forever(&self.paths.join(", "), env)?;
        }
        let mut connection = match jobs.iter().any(|(_, path)| path.is_ok()) {
            true => Some(Connection::open(common, env)?),
            false => None,
        };
        for (text, path) in jobs {
            let deleted = path.map_err(Error::from).and_then(|path| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                delete(connection.remote()?, path, self.recursive, self.forever)
            });
            match deleted {
                Ok(Deleted::File(path)) => {
                    let object = json!({"code": 0, "path": rooted(&path), "forever": self.forever});
                    let how = if self.forever { " with all its versions" } else { "" };
                    tally.done(env, &[format!("Deleted {path}{how}")], object)?;
                }
                Ok(Deleted::Folder(folder, removed)) => {
                    let object = rmdir::object(&folder, removed);
                    tally.done(env, &[rmdir::summary(&folder, removed)], object)?;
                }
                Err(error) => {
                    let why = advice::failure(&format!("cannot delete {text}"), &error);
                    tally.failed(env, text, why)?;
                }
            }
        }
        tally.finish(env)
    }
}

/// Makes sure that nothing is to bring these files back.
fn confirm_forever(files: &str, env: &mut Env) -> Result<(), Stop> {
    let files = printable(files);
    let what = format!("delete {files} with all versions");
    let unasked = unconfirmed(&what, "--forever --yes");
    let refused = Failure::new(Code::Interrupted, "Nothing was deleted.");
    let question = format!("Delete {files} with all versions, for ever (yes or no)? ");
    confirm(env, &question, unasked, refused)
}

/// What was deleted.
enum Deleted {
    File(FilePath),
    Folder(FolderPath, Removed),
}

fn delete(
    remote: &mut Remote,
    path: FilePath,
    recursive: bool,
    forever: bool,
) -> Result<Deleted, Error> {
    if forever {
        // It may have been deleted before, and only its versions are meant.
        let known = remote.versions(&path)?;
        if known.first().is_some_and(|version| version.until.is_none()) {
            remote.delete(&path)?;
        }
        return remote.forget(&path).map(|()| Deleted::File(path));
    }
    if recursive && let Entry::Folder(folder) = remote.look(&path.as_folder())? {
        let removed = remote.remove_folder(&folder, true)?;
        return Ok(Deleted::Folder(folder, removed));
    }
    remote.delete(&path).map(|()| Deleted::File(path))
}
