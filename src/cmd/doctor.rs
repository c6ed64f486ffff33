//! `palk doctor`: is anything wrong with the configuration, the server, the nodes or this machine, and
//! what to do about it.
//!
//! Every check ends in a line: OK, WARN or FAIL, what was found, and how to mend it. Nothing is asked,
//! nothing is changed (a file that tries out hard links is removed again), and a check that cannot be
//! made is no reason to leave out the others.

mod folders;
mod machine;
mod nodes;
mod ports;
mod report;
mod server;
mod settings;

use std::path::PathBuf;

use clap::Args;

use self::folders::Folders;
use self::report::Report;
use self::server::Asked;
use crate::cmd::client::settings::Common;
use crate::cmd::env::{Env, Manner};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::types::NODE_COUNT;

const AFTER_HELP: &str = "\
A line with OK is as it should be. With WARN something may go wrong, or is wrong and every file can be
read. With FAIL something does not work.

Exit status: 0 nothing is degraded, 20 something is wrong or missing but every file can be read,
  21 some file, or all of them, cannot be reached from here, 2 wrong usage";

/// Look for what is wrong with the configuration, the server, the nodes and this machine
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Doctor {
    /// The folder with the folders of nodes (files_N) and of the server (user_database), or one of
    /// these [default: the current folder]
    #[arg(long, value_name = "DIR", env = "PALK_DIR")]
    dir: Option<PathBuf>,

    /// Ask this storage node directly; up to four times, nodes 1 to 4 in order
    #[arg(long = "node", value_name = "HOST:PORT")]
    nodes: Vec<String>,

    #[command(flatten)]
    common: Common,
}

impl Doctor {
    /// Makes all checks and prints what they found.
    ///
    /// # Errors
    /// How it is, as an exit status; those of printing.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        env.end_on_interrupt();
        env.set_manner(Manner { no_input: true, ..self.common.manner() });
        if self.nodes.len() > NODE_COUNT {
            let text = format!("--node can be given {NODE_COUNT} times at most");
            return Err(Failure::new(Code::Usage, text).hint("See:  palk doctor --help").into());
        }
        let mut report = Report::new(env);
        let folders = Folders::find(self.dir.as_deref(), report.env());
        let (common, is_found) = server::look_for(self.common, &mut report)?;
        let settings = settings::check(&common, &mut report)?;
        settings::check_secrets(&folders, settings.as_ref(), &mut report)?;
        let server_address = settings.as_ref().map(|settings| settings.server.clone());
        let named = settings::names_server(&common, report.env());
        let asked = match (folders.server().filter(|_| !named), settings) {
            (Some(folder), _) => server::ask_folder(folder, &mut report)?,
            (None, Some(settings)) if is_found => server::ask(settings, &mut report)?,
            _ => Asked::default(),
        };
        let is_here = server_address.as_deref().is_none_or(ports::is_here) || folders.has_any();
        let usual = match !asked.answers && is_here {
            true => nodes::usual(),
            false => Vec::new(),
        };
        let status = asked.status.as_ref();
        let mut addresses = nodes::check(&self.nodes, status, usual, &folders, &mut report)?;
        addresses.extend(server_address.filter(|_| is_here));
        ports::check(&addresses, &mut report)?;
        folders.check(&mut report)?;
        machine::check(&mut report)?;
        report.finish()
    }
}
