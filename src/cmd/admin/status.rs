//! `palk admin status`: how the cluster is, from the server itself.

use clap::Args;

use super::Common;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::cmd::status::{self, Asker};

/// Tell how the cluster is (the same as: palk status)
#[derive(Args, Debug)]
pub(super) struct Status {
    /// Print one line if all is well
    #[arg(short = 'x')]
    brief: bool,
}

impl Status {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        status::print(&mut Asker::Folder(env.at(&common.dir)), self.brief, env)
    }
}
