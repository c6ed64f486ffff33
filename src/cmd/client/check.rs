//! `palk client check FOLDER REMOTE`: in what a local folder and a stored one differ.

use std::path::PathBuf;

use clap::Args;

use super::folder;
use super::settings::Common;
use super::sync::stored;
use crate::cmd::completions::STORED;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;

/// Compare a local folder with a stored one
///
/// Every file of the same size is read here and its digest compared with the one that is stored; no file
/// travels. Each difference is a line: "only here" is what only FOLDER has, "only there" what only REMOTE
/// has. Two files are compared in the same way. A colon before REMOTE, as "sync" wants it, is overlooked. The
/// exit status is 0 if nothing differs, and 3 if something does or could not be read.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// The local folder, or a local file
    #[arg(value_name = "FOLDER")]
    local: PathBuf,

    /// The stored folder or file; "/" is your top folder
    #[arg(value_name = "REMOTE", value_hint = STORED)]
    stored: String,

    #[command(flatten)]
    filter: folder::Filter,
}

impl Check {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let text = self.stored.strip_prefix(':').unwrap_or(&self.stored);
        let stored = stored(text, "check")?;
        folder::check(&self.local, &stored, &self.filter, common, env)
    }
}
