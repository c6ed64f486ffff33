//! `palk client del PATH...`: deletes stored files.

use clap::Args;
use serde_json::json;

use super::advice;
use super::glob::{self, Meant, Named};
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
///
/// A PATH may be a pattern in quotes ("tmp/*.log", "tmp/**"): then all files that match it are meant, with -r
/// also folders. If it matches more than one, it asks first.
#[derive(Args, Debug)]
pub(super) struct Del {
    /// Stored files, as "inf" shows them, or patterns
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
        let asks = (self.recursive || self.forever) && !self.yes;
        if asks && !env.can_ask() {
            self.confirm(&self.paths.join(", "), env)?; // says what to do
        }
        let meant = if self.recursive { Meant::Trees } else { Meant::Files };
        let (mut connection, jobs) = glob::open(&self.paths, meant, None, common, env)?;
        let matches = jobs.iter().filter(|job| job.is_match).count();
        if asks || (matches > 1 && !self.yes) {
            let names: Vec<&str> = jobs.iter().map(|job| job.text.as_str()).collect();
            self.confirm(&glob::shown(names.into_iter()), env)?;
        }
        let mut tally = Tally::new(jobs.len());
        for Named { text, path, .. } in jobs {
            let deleted = path.and_then(|path| {
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
                    tally.failed(env, &text, why)?;
                }
            }
        }
        tally.finish(env)
    }

    /// Makes sure that these are to go.
    fn confirm(&self, names: &str, env: &mut Env) -> Result<(), Stop> {
        match (self.recursive, self.forever) {
            (true, _) => rmdir::confirm(names, env),
            (false, true) => confirm_forever(names, env),
            (false, false) => confirm_matches(names, env),
        }
    }
}

/// Makes sure that all files that match are to go.
pub(super) fn confirm_matches(files: &str, env: &mut Env) -> Result<(), Stop> {
    let text = format!("several files match ({files}), and there is no terminal to ask at");
    let unasked =
        Failure::new(Code::Usage, text).hint("Nothing was deleted. If all are meant:  --yes");
    let refused = Failure::new(Code::Interrupted, "Nothing was deleted.");
    confirm(env, &format!("Delete {files} (yes or no)? "), unasked, refused)
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
pub(super) enum Deleted {
    File(FilePath),
    Folder(FolderPath, Removed),
}

/// Deletes a file; with `recursive` also a folder with all that is in it.
///
/// # Errors
/// [`Code::NoSuchFile`], and those of any change.
pub(super) fn delete(
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
