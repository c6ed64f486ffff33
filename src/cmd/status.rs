//! `palk status`: is every file readable, can files be stored, what is wrong and what to do about it.
//!
//! Asked of the server whose folder is at hand, or else, signed in, of one at an address; that one
//! names no files.

mod background;
mod table;
mod words;

pub(crate) use background::scrub_far;
pub(crate) use words::{counted, grouped, owed, span};

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cmd::admin;
use crate::cmd::client::advice;
use crate::cmd::client::connection::Connection;
use crate::cmd::client::scan;
use crate::cmd::client::settings::{Common, Settings};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::remote::Remote;
use crate::core::remote::admin::Admin;
use crate::core::status::{State, Status as Report};
use crate::core::wire::admin::{Verb, fields, parse};

const AFTER_HELP: &str = "\
Exit status: 0 healthy, 20 something is wrong or missing but every file can be read,
  21 some file cannot be read now, 6 no server, 5 sign-in failed, 2 wrong usage";

/// The server's folder if none is named.
const DEFAULT_DIR: &str = "user_database";

/// Tell how the cluster is: what can be read and stored, what is wrong, what to do
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Status {
    /// Print one line if all is well
    #[arg(short = 'x')]
    brief: bool,

    /// Ask the server of this folder, without signing in [default: user_database, unless a server is
    /// named]
    #[arg(long, value_name = "DIR", env = "PALK_DIR")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    common: Common,
}

impl Status {
    /// Asks and prints.
    ///
    /// # Errors
    /// If nobody can be asked; the status of the cluster as an exit status.
    pub fn run(mut self, env: &mut Env) -> Result<(), Stop> {
        env.end_on_interrupt();
        env.set_manner(self.common.manner());
        let report = match self.ask_folder(env)? {
            Some(report) => report,
            None => {
                self.common = scan::settle(self.common, env)?;
                self.ask_signed_in(env)?
            }
        };
        present(&report, self.brief, env)
    }

    /// From the server of the folder, if there is one.
    fn ask_folder(&self, env: &Env) -> Result<Option<Report>, Stop> {
        let is_named = self.common.server.is_some() || self.common.profile.is_some();
        let dir = match &self.dir {
            Some(dir) => dir.as_path(),
            // Whoever names a server means that one.
            None if is_named => return Ok(None),
            None => Path::new(DEFAULT_DIR),
        };
        let asked = Admin::find(&env.at(dir)).and_then(|found| {
            let Some(link) = found else { return Ok(None) };
            let outcome = link.ask(&Verb::Status, &mut |_| Ok(()))?;
            parse(outcome.fields).map(Some)
        });
        asked.map_err(|error| admin::failure(dir, &error).into())
    }

    fn ask_signed_in(&self, env: &mut Env) -> Result<Report, Stop> {
        let opened = Connection::open(&self.common, env).map_err(|stop| match stop {
            // Whether there is a server at all matters more than who would sign in to it.
            Stop::Failed(failure) if failure.code == Code::Usage => self.no_server(env, failure),
            other => other,
        });
        let mut connection = opened?;
        let asked = connection.remote().and_then(|remote| remote.status());
        asked.map_err(|error| advice::failure("cannot ask how the cluster is", &error).into())
    }

    /// That no server can be reached, if that is so; else what was wrong before.
    fn no_server(&self, env: &Env, failure: Failure) -> Stop {
        let reached = match Settings::resolve(&self.common, env) {
            Ok(settings) => Remote::connect(settings.target()),
            Err(_) => return failure.into(),
        };
        match reached {
            Err(error) if error.code() == Code::Unreachable => {
                let hint = "Start it:  palk server   or say where it is:  --dir DIR, --server \
                            HOST:PORT";
                Failure::new(Code::Unreachable, error.to_string()).hint(hint).into()
            }
            _ => failure.into(),
        }
    }
}

/// Prints a report; with `brief`, one line if all is well.
///
/// # Errors
/// The state as an exit status, unless it is healthy; those of printing.
pub(crate) fn present(report: &Report, brief: bool, env: &mut Env) -> Result<(), Stop> {
    let code = report.state.exit_status();
    if env.manner().json {
        let mut object = serde_json::Value::Object(fields(report)?);
        object["code"] = code.into();
        env.json("result", object)?;
    } else if brief && report.state == State::Healthy {
        env.data(&words::headline(report))?;
    } else {
        env.data(&table::render(report))?;
    }
    env.flush()?;
    if code == 0 { Ok(()) } else { Err(Stop::Ended(code)) }
}
