//! `palk client update FILE...`: brings stored files up to date, and makes no new ones.

use clap::Args;

use super::settings::Common;
use super::upload::{Upload, Wish};
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::types::{Precondition, VersionId};

/// Replace files that are stored already; one that is not there is refused
#[derive(Args, Debug)]
pub(super) struct Update {
    #[command(flatten)]
    upload: Upload,

    /// Refuse if the stored file is of another version by now ("inf --json" and "rtv --json" name it)
    #[arg(long, value_name = "V")]
    if_version: Option<VersionId>,
}

impl Update {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let precondition = self.if_version.map_or(Precondition::Present, Precondition::Unchanged);
        let wish = Wish { word: "update", precondition };
        self.upload.run(wish, common, env)
    }
}
