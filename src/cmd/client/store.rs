//! `palk client store FILE...`: stores local files.

use clap::Args;

use super::folder;
use super::settings::Common;
use super::upload::{Upload, Wish};
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::types::{Precondition, VersionId};

/// Store files
#[derive(Args, Debug)]
#[command(mut_args(folder::only_with_recursive))]
pub(super) struct Store {
    #[command(flatten)]
    upload: Upload,

    /// Store folders with everything in them
    #[arg(short, long, conflicts_with_all = ["command", "if_version", "rate"])]
    recursive: bool,

    #[command(flatten)]
    filter: folder::Filter,

    #[command(flatten)]
    manner: folder::Manner,

    /// Refuse if there is a file already
    #[arg(long)]
    no_replace: bool,

    /// Refuse unless this is the version that is stored ("inf --json" and "rtv --json" name it)
    #[arg(long, value_name = "V", conflicts_with = "no_replace")]
    if_version: Option<VersionId>,
}

impl Store {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let precondition = match self.if_version {
            Some(version) => Precondition::Unchanged(version),
            None if self.no_replace => Precondition::Absent,
            None => Precondition::Any,
        };
        let wish = Wish { word: "store", precondition };
        if self.recursive {
            return self.upload.run_recursive(wish, &self.filter, self.manner, common, env);
        }
        self.upload.run(wish, common, env)
    }
}
