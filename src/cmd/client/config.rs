//! `palk client config`: what holds and where it comes from, a value of the configuration file set, and
//! where that file is.

mod set;
mod show;

use clap::{Args, Subcommand};
use serde_json::json;

use super::settings::{Common, config_place};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;

/// Show the client's settings and where each comes from, or set one in the configuration file
#[derive(Args, Debug)]
#[command(subcommand_value_name = "ACTION", subcommand_help_heading = "Actions")]
pub(super) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Show what holds, and whether an option, the environment, the file or the default says so
    Show,
    Set(set::Set),
    /// Print where the configuration file is, whether it exists or not
    Path,
}

impl Config {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        match self.action {
            Action::Show => show::run(common, env),
            Action::Set(set) => set.run(common, env),
            Action::Path => {
                let place = config_place(env).ok_or_else(no_place)?;
                let place = place.to_string_lossy();
                match common.json {
                    true => env.json("result", json!({"code": 0, "path": place})),
                    false => env.data(&place),
                }
            }
        }
    }
}

fn no_place() -> Failure {
    let text = "there is no place for a configuration file: HOME is not set";
    Failure::new(Code::LocalFile, text).hint("Set HOME or PALK_CONFIG.")
}
