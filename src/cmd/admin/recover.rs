//! `palk admin recover`: a new user database from the nodes, with the server stopped.

use clap::Args;
use serde_json::json;

use crate::cmd::admin::Common;
use crate::cmd::env::{Env, plural};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::service::{self, Key};
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::serve::recover::{Config, Report, recover};

/// Make the user database anew from the nodes, with the server stopped
///
/// The folder named by --dir must be absent, or hold neither an account nor a file.
#[derive(Args, Debug)]
pub(super) struct Recover {
    /// Where a storage node is; four times, nodes 1 to 4 in order, "-" for one that is gone
    #[arg(long = "node", value_name = "HOST:PORT", required = true)]
    nodes: Vec<String>,

    #[command(flatten)]
    key: Key,
}

impl Recover {
    /// Recovers what can be.
    ///
    /// # Errors
    /// [`Code::Usage`], [`Code::NotAllowed`] if the folder is in use or a server is running,
    /// [`Code::TooFewNodes`]; [`Code::Damaged`] if no snapshot and no journal can be read.
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let nodes: [String; 4] = self.nodes.try_into().map_err(|nodes: Vec<String>| {
            let text = format!("--node must be given four times, not {}", nodes.len());
            Failure::new(Code::Usage, text).hint("Say  --node -  for a node that is gone.")
        })?;
        let nodes = nodes.map(|node| (node != "-").then_some(node));
        let config = Config { folder: env.at(&common.dir), nodes, key: self.key.read(env)? };
        let report = recover(&config, &mut |line| env.note(line)).map_err(|e| failed(&e))?;
        finish(env, &report, &printable(&common.dir.display().to_string()))
    }
}

fn failed(error: &Error) -> Failure {
    if let Error::NeedsKey(_) = error {
        return service::not_started(error);
    }
    let failure = Failure::of("cannot recover the user database", error);
    match error.code() {
        Code::TooFewNodes | Code::Unreachable => failure.hint(
            "Nothing was changed. Start the nodes (palk storage --id N), and name where they listen.",
        ),
        _ => failure,
    }
}

/// Tells how it went.
fn finish(env: &mut Env, report: &Report, dir: &str) -> Result<(), Stop> {
    for what in &report.damaged {
        env.note(&format!("damaged, and not used: {}", printable(what)));
    }
    let contents = report.contents;
    env.note(&format!(
        "Recovered {}, {} and {}  to {dir}\n  {} from the nodes' journals",
        plural(contents.accounts, "account"),
        plural(contents.folders, "folder"),
        plural(contents.files, "file"),
        plural(report.from_journal, "change"),
    ));
    if env.manner().json {
        let object = json!({
            "code": 0,
            "accounts": contents.accounts,
            "folders": contents.folders,
            "files": contents.files,
            "from_journal": report.from_journal,
            "damaged": report.damaged,
        });
        env.json("result", object)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_nodes_must_be_named_even_if_they_are_gone() {
        let (mut env, screen) = Env::fake(&["admin", "recover", "--node", "-"], "");
        assert_eq!(crate::cmd::run(&mut env), 2);
        assert!(screen.err().contains("four times, not 1"), "{}", screen.err());
    }

    #[test]
    fn what_was_recovered_and_what_was_damaged_is_said() {
        let report = Report {
            from_journal: 1,
            damaged: vec!["node 2: backup/snapshot-3-9 is damaged".into()],
            ..Report::default()
        };
        let (mut env, screen) = Env::fake(&[], "");
        finish(&mut env, &report, "db").unwrap();
        let expected = "damaged, and not used: node 2: backup/snapshot-3-9 is damaged\nRecovered 0 \
                        accounts, 0 folders and 0 files  to db\n  1 change from the nodes' \
                        journals\n";
        assert_eq!(screen.err(), expected);
    }
}
