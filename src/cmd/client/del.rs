//! `palk client del PATH...`: deletes stored files.

use clap::Args;
use serde_json::{Value, json};

use super::advice;
use super::glob::{self, Meant, Named};
use super::rmdir;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::rooted;
use crate::cmd::completions::STORED;
use crate::cmd::confirm::{confirm, unconfirmed};
use crate::cmd::env::{Env, plural};
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
                let remote = connection.as_mut().ok_or(Error::NotSignedIn)?.remote()?;
                match self.forever {
                    true => delete_for_ever(remote, &path).map(|left| told_for_ever(&path, left)),
                    false => delete(remote, path, self.recursive).map(told),
                }
            });
            match deleted {
                Ok((text, object)) => tally.done(env, &[text], object)?,
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

/// As a line, and as JSON.
fn told(deleted: Deleted) -> (String, Value) {
    match deleted {
        Deleted::File(path) => {
            let object = json!({"code": 0, "path": rooted(&path), "forever": false});
            (format!("Deleted {path}"), object)
        }
        Deleted::Folder(folder, removed) => {
            (rmdir::summary(&folder, removed), rmdir::object(&folder, removed))
        }
    }
}

/// The same; so many versions are still there.
fn told_for_ever(path: &FilePath, left: usize) -> (String, Value) {
    let object = json!({"code": 0, "path": rooted(path), "forever": true, "versions_left": left});
    let text = match left {
        0 => format!("Deleted {path} with all its versions"),
        _ => format!(
            "Deleted {path}  but not {} of it, which a snapshot has or a folder that is kept whole",
            plural(left, "version")
        ),
    };
    (text, object)
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
) -> Result<Deleted, Error> {
    if recursive && let Entry::Folder(folder) = remote.look(&path.as_folder())? {
        let removed = remote.remove_folder(&folder, true)?;
        return Ok(Deleted::Folder(folder, removed));
    }
    remote.delete(&path).map(|()| Deleted::File(path))
}

/// Deletes a file and lets go of its versions. It may have been deleted before, and only these are meant.
/// Gives how many are still there.
fn delete_for_ever(remote: &mut Remote, path: &FilePath) -> Result<usize, Error> {
    let known = remote.versions(path)?;
    if known.first().is_some_and(|version| version.until.is_none()) {
        remote.delete(path)?;
    }
    remote.forget(path)?;
    match remote.versions(path) {
        Err(error) if error.code() == Code::NoSuchFile => Ok(0),
        left => Ok(left?.len()),
    }
}
