//! `palk status`: is every file readable, can files be stored, what is wrong and what to do about it.
//!
//! Asked of the server whose folder is named or at hand, and of no other if none runs there; or else,
//! signed in, of one at an address; that one names no files. Every answer says which server gave it.

mod background;
mod table;
mod words;

pub(crate) use background::scrub_far;
pub(crate) use words::{counted, grouped, headline, owed, span, trouble};

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
use crate::core::path::printable;
use crate::core::remote::Remote;
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

    /// Ask the server of this folder and no other, without signing in [default: user_database if it
    /// is there and no server is named]
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
        let (report, answerer) = match self.folder(env) {
            Some(dir) => (ask_folder(dir, env)?, Answerer::Folder(dir.to_owned())),
            None => {
                self.common = scan::settle(self.common, env)?;
                self.ask_signed_in(env)?
            }
        };
        present(&report, &answerer, self.brief, env)
    }

    /// The folder whose server is meant, if it is not one at an address.
    fn folder(&self, env: &Env) -> Option<&Path> {
        let is_named = self.common.server.is_some() || self.common.profile.is_some();
        let default = Path::new(DEFAULT_DIR);
        match &self.dir {
            Some(dir) => Some(dir),
            None => (!is_named && env.at(default).is_dir()).then_some(default),
        }
    }

    fn ask_signed_in(&self, env: &mut Env) -> Result<(Report, Answerer), Stop> {
        let opened = Connection::open(&self.common, env).map_err(|stop| match stop {
            // Whether there is a server at all matters more than who would sign in to it.
            Stop::Failed(failure) if failure.code == Code::Usage => self.no_server(env, failure),
            other => other,
        });
        let mut connection = opened?;
        let asked = connection.remote().and_then(|remote| remote.status());
        let failed = |error| advice::failure("cannot ask how the cluster is", &error);
        let report = asked.map_err(failed)?;
        Ok((report, Answerer::Address(connection.server().to_owned())))
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

/// Which server a report is from.
pub(crate) enum Answerer {
    /// The one of this folder.
    Folder(PathBuf),
    /// The one at this address.
    Address(String),
}

impl Answerer {
    /// For people.
    fn shown(&self) -> String {
        match self {
            Answerer::Folder(dir) => {
                format!("the one of the folder {}", printable(&dir.to_string_lossy()))
            }
            Answerer::Address(address) => printable(address),
        }
    }
}

/// Asks the server of a folder.
pub(crate) fn ask_folder(dir: &Path, env: &Env) -> Result<Report, Stop> {
    let outcome = admin::ask(dir, env, &Verb::Status, &mut |_| Ok(()))?;
    Ok(parse(outcome.fields)?)
}

/// Prints a report; with `brief`, one line if all is well.
///
/// # Errors
/// The state as an exit status, unless it is healthy; those of printing.
pub(crate) fn present(
    report: &Report,
    answerer: &Answerer,
    brief: bool,
    env: &mut Env,
) -> Result<(), Stop> {
    let code = report.state.exit_status();
    if env.manner().json {
        let mut object = serde_json::Value::Object(fields(report)?);
        object["code"] = code.into();
        match answerer {
            Answerer::Folder(dir) => object["dir"] = dir.to_string_lossy().into(),
            Answerer::Address(address) => object["server"] = address.as_str().into(),
        }
        env.json("result", object)?;
    } else if brief && report.state == State::Healthy {
        env.data(&format!("{}  (server: {})", words::headline(report), answerer.shown()))?;
    } else {
        env.data(&table::render(report, &answerer.shown()))?;
    }
    env.flush()?;
    if code == 0 { Ok(()) } else { Err(Stop::Ended(code)) }
}
