//! `palk status` and `palk top`: is every file readable, can files be stored, what is wrong and what to
//! do about it; and with `--watch`, which transfers run.
//!
//! Asked of the server whose folder is named or at hand, and of no other if none runs there; or else,
//! signed in, of one at an address; that one names no files. Every answer says which server gave it.

mod background;
mod frame;
mod table;
mod target;
mod view;
mod watch;
mod words;

pub(crate) use background::scrub_far;
pub(crate) use target::Asker;
pub(crate) use words::{counted, grouped, headline, owed, span, trouble};

use clap::Args;

use self::target::{Server, Target};
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::status::{State, Status as Report};
use crate::core::wire::admin::fields;

const AFTER_HELP: &str = "\
Exit status: 0 healthy, 20 something is wrong or missing but every file can be read,
  21 some file cannot be read now, 6 no server, 5 sign-in failed, 2 wrong usage
With --watch: 0 once it is left";

const WATCH_AFTER_HELP: &str = "\
On a terminal it is left by q, Esc or Ctrl-C. Elsewhere it prints a line a second, with --json an object,
until it is interrupted or nobody reads any more.
Exit status: 0 once it is left, 6 no server at the beginning, 5 sign-in failed, 2 wrong usage";

/// Tell how the cluster is: what can be read and stored, what is wrong, what to do
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Status {
    /// Print one line if all is well
    #[arg(short = 'x')]
    brief: bool,

    /// Go on showing it, with the transfers that run, until q is pressed (the same as: palk top)
    #[arg(long, conflicts_with = "brief")]
    watch: bool,

    #[command(flatten)]
    target: Target,
}

impl Status {
    /// Asks and prints.
    ///
    /// # Errors
    /// If nobody can be asked; the status of the cluster as an exit status.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        let mut asker = self.target.open(env)?;
        if self.watch {
            return watch::run(asker, env);
        }
        print(&mut asker, self.brief, env)
    }
}

/// Show the nodes and the transfers that run, again every second
#[derive(Args, Debug)]
#[command(after_help = WATCH_AFTER_HELP)]
pub struct Top {
    #[command(flatten)]
    target: Target,
}

impl Top {
    /// Asks and shows until it is left.
    ///
    /// # Errors
    /// If nobody can be asked at the beginning.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        let asker = self.target.open(env)?;
        watch::run(asker, env)
    }
}

/// Asks, and prints the report; with `brief`, one line if all is well.
///
/// # Errors
/// Those of asking; the state as an exit status, unless it is healthy.
pub(crate) fn print(asker: &mut Asker, brief: bool, env: &mut Env) -> Result<(), Stop> {
    let report = asker.ask().map_err(|error| asker.failure(&error))?;
    let (code, server) = (report.state.exit_status(), asker.server());
    if env.manner().json {
        env.json("result", object(&report, &server)?)?;
    } else if brief && report.state == State::Healthy {
        env.data(&format!("{}  (server: {})", words::headline(&report), server.shown()))?;
    } else {
        env.data(&table::render(&report, &server.shown()))?;
    }
    env.flush()?;
    if code == 0 { Ok(()) } else { Err(Stop::Ended(code)) }
}

/// A report for programs.
fn object(report: &Report, server: &Server) -> Result<serde_json::Value, Stop> {
    let mut object = serde_json::Value::Object(fields(report)?);
    object["code"] = report.state.exit_status().into();
    let (key, value) = server.field();
    object[key] = value.into();
    Ok(object)
}
