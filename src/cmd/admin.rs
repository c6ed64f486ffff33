//! `palk admin`: looking after a cluster.

pub mod recover;

use clap::{Args, Subcommand};

use crate::cmd::env::Env;
use crate::cmd::failure::Stop;

/// Look after a cluster
#[derive(Args, Debug)]
pub struct Admin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Recover(recover::Recover),
}

impl Admin {
    /// Does what the verb says.
    ///
    /// # Errors
    /// Those of the verb.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        match self.verb {
            Verb::Recover(recover) => recover.run(env),
        }
    }
}
