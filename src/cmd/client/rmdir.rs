//! `palk client rmdir FOLDER...`: removes folders.

use clap::Args;
use serde_json::{Value, json};

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::tally::Tally;
use crate::cmd::completions::STORED;
use crate::cmd::confirm::unconfirmed;
use crate::cmd::env::{Env, plural};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FolderPath, printable};
use crate::core::wire::extended::Removed;

/// Remove empty folders, or with -r folders and everything in them
#[derive(Args, Debug)]
pub(super) struct Rmdir {
    /// Folders to remove
    #[arg(required = true, value_name = "FOLDER", value_hint = STORED)]
    folders: Vec<String>,

    /// Remove everything in them too; asks first
    #[arg(short, long)]
    recursive: bool,

    /// Do not ask
    #[arg(long, requires = "recursive")]
    yes: bool,
}

impl Rmdir {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let jobs: Vec<_> =
            self.folders.iter().map(|text| (text, FolderPath::parse_rooted(text))).collect();
        let mut tally = Tally::new(jobs.len());
        if self.recursive && !self.yes {
            confirm(&self.folders.join(", "), env)?;
        }
        let mut connection = match jobs.iter().any(|(_, folder)| folder.is_ok()) {
            true => Some(Connection::open(common, env)?),
            false => None,
        };
        for (text, folder) in jobs {
            let removed = folder.map_err(Error::from).and_then(|folder| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                let removed = connection.remote()?.remove_folder(&folder, self.recursive)?;
                Ok((folder, removed))
            });
            match removed {
                Ok((folder, removed)) => {
                    tally.done(env, &[summary(&folder, removed)], object(&folder, removed))?;
                }
                Err(error) => {
                    let hint = "Nothing was changed. With everything in it:  palk client rmdir -r";
                    let own = [(Code::NotAllowed, hint)];
                    let what = format!("cannot remove the folder {text}");
                    tally.failed(env, text, advice::own_or_usual(&what, &error, &own))?;
                }
            }
        }
        tally.finish(env)
    }
}

/// The same for programs.
pub(super) fn object(folder: &FolderPath, removed: Removed) -> Value {
    let Removed { folders, files } = removed;
    json!({"code": 0, "path": format!("/{}", folder.as_str()), "folders": folders, "files": files})
}

/// `Removed up  with 3 files and 1 folder in it`
pub(super) fn summary(folder: &FolderPath, removed: Removed) -> String {
    let inside = removed.folders.saturating_sub(1);
    if removed.files + inside == 0 {
        return format!("Removed {folder}");
    }
    let (files, folders) = (plural(removed.files, "file"), plural(inside, "folder"));
    format!("Removed {folder}  with {files} and {folders} in it")
}

/// Makes sure that everything in these folders is meant to go.
///
/// # Errors
/// [`Code::Usage`] if nobody can be asked, [`Code::Interrupted`] for a no.
pub(super) fn confirm(folders: &str, env: &mut Env) -> Result<(), Stop> {
    let folders = printable(folders);
    let what = format!("remove {folders} and everything in it");
    let unasked = unconfirmed(&what, "-r --yes");
    let refused = Failure::new(Code::Interrupted, "Nothing was removed.");
    let question = format!("Remove {folders} and everything in it (yes or no)? ");
    crate::cmd::confirm::confirm(env, &question, unasked, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_counted() {
        let folder = FolderPath::parse("up").unwrap();
        let said = |folders, files| summary(&folder, Removed { folders, files });
        assert_eq!(said(1, 0), "Removed up");
        assert_eq!(said(2, 3), "Removed up  with 3 files and 1 folder in it");
        assert_eq!(said(1, 1), "Removed up  with 1 file and 0 folders in it");
    }

    #[test]
    fn only_a_yes_is_one() {
        for (typed, meant) in [("yes\n", true), ("Y\n", true), ("no\n", false), ("\n", false)] {
            let (env, screen) = Env::fake(&[], typed);
            let mut env = env.on_terminal();
            assert_eq!(confirm("up", &mut env).is_ok(), meant, "{typed:?}");
            assert!(screen.err().starts_with("Remove up and everything in it"));
        }
        let (mut env, _) = Env::fake(&[], "yes\n");
        let Err(Stop::Failed(failure)) = confirm("up", &mut env) else { panic!("nobody is asked") };
        assert_eq!(failure.code, Code::Usage);
    }
}
