//! `palk client cp FROM... TO`: copies files and folders on the server.

use clap::Args;

use super::advice;
use super::glob::Meant;
use super::mv::{self, Into};
use super::settings::Common;
use crate::cmd::completions::STORED;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::FilePath;
use crate::core::wire::extended::Moved;

/// Copy files and folders on the server
///
/// If TO is a folder the copies go into it, else the copy gets this path. No byte travels, and none is
/// stored twice; a copy counts by its size for your quota all the same. What is done to the one later does
/// not touch the other. A FROM may be a pattern in quotes ("*.jpg"): then all files that match it are meant,
/// with -r also folders.
#[derive(Args, Debug)]
pub(super) struct Cp {
    /// What is copied; also patterns
    #[arg(required = true, value_name = "FROM", value_hint = STORED)]
    from: Vec<String>,

    /// Where to; "/" is your top folder
    #[arg(required = true, value_name = "TO", value_hint = STORED)]
    to: String,

    /// Copy folders with everything in them too
    #[arg(short, long)]
    recursive: bool,

    /// Replace a file that is there
    #[arg(long)]
    replace: bool,
}

impl Cp {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let how = [self.recursive, self.replace];
        let meant = if self.recursive { Meant::Trees } else { Meant::Files };
        let into = Into { from: &self.from, meant, to: &self.to, summary, failed };
        into.run(common, env, &mut |remote, from, to| remote.copy(from, to, how))
    }
}

/// `Copied a to up/a`, and what else there is to say.
pub(super) fn summary(from: &FilePath, copied: &Moved) -> String {
    let to = &copied.to;
    match (copied.is_folder, copied.replaced) {
        (true, _) => format!("Copied the folder {from} to {to}  files in it: {}", copied.files),
        (false, true) => format!("Copied {from} to {to}, replacing the file that was there"),
        (false, false) => format!("Copied {from} to {to}"),
    }
}

/// A copy that failed, with what to do.
pub(super) fn failed(from: &str, to: &str, error: &Error) -> Failure {
    let what = format!("cannot copy {from} to {to}");
    // Said of a folder on its way into itself, too, and then there is nothing to say of -r.
    if error.code() == Code::NotAllowed && error.to_string().ends_with("is a folder") {
        return Failure::of(&what, error).hint("With everything in it:  cp -r");
    }
    match mv::hint(error) {
        Some(own) => advice::own_or_usual(&what, error, &[own]),
        None if error.code() == Code::OverQuota => Failure::of(&what, error).hint(
            "Nothing was copied. A copy counts by its size: delete what is not needed, or ask for a \
             higher quota.",
        ),
        None => advice::failure(&what, error),
    }
}
