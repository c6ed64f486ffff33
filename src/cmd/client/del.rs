//! `palk client del PATH...`: deletes stored files.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::rmdir;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::rooted;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::Error;
use crate::core::path::{FilePath, FolderPath};
use crate::core::remote::Remote;
use crate::core::wire::extended::{Entry, Removed};

/// Delete files
#[derive(Args, Debug)]
pub(super) struct Del {
    /// Stored files, as "inf" shows them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,

    /// Delete folders with everything in them too; asks first
    #[arg(short, long)]
    recursive: bool,

    /// Do not ask
    #[arg(long, requires = "recursive")]
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
        let mut connection = match jobs.iter().any(|(_, path)| path.is_ok()) {
            true => Some(Connection::open(common, env)?),
            false => None,
        };
        for (text, path) in jobs {
            let deleted = path.map_err(Error::from).and_then(|path| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                delete(connection.remote()?, path, self.recursive)
            });
            match deleted {
                Ok(Deleted::File(path)) => {
                    let object = json!({"code": 0, "path": rooted(&path)});
                    tally.done(env, &[format!("Deleted {path}")], object)?;
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

/// What was deleted.
enum Deleted {
    File(FilePath),
    Folder(FolderPath, Removed),
}

fn delete(remote: &mut Remote, path: FilePath, recursive: bool) -> Result<Deleted, Error> {
    if recursive && let Entry::Folder(folder) = remote.look(&path.as_folder())? {
        let removed = remote.remove_folder(&folder, true)?;
        return Ok(Deleted::Folder(folder, removed));
    }
    remote.delete(&path).map(|()| Deleted::File(path))
}
