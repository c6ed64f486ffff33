//! `palk admin recover`: a new user database from the nodes, with the server stopped.

use clap::Args;
use serde_json::json;

use crate::cmd::admin::Common;
use crate::cmd::env::Env;
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
    /// [`Code::TooFewNodes`], [`Code::SomeFailed`] if something is missing.
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

/// Tells how it went, what is missing last.
fn finish(env: &mut Env, report: &Report, dir: &str) -> Result<(), Stop> {
    for what in &report.damaged {
        env.note(&format!("damaged, and not used: {}", printable(what)));
    }
    for item in &report.unrecovered {
        let text = format!("cannot recover {}: {}", item.what, item.why);
        let failure = Failure::new(Code::Damaged, text);
        if env.manner().json {
            let code = failure.code.exit_status();
            let (what, why) = (printable(&item.what), printable(&item.why));
            env.json("item", json!({"code": code, "what": what, "message": why}))?;
        } else {
            env.tell(&failure);
        }
    }
    for user in &report.without_password {
        env.note(&format!(
            "the account {user} is known from its files only: nobody can sign in to it until it is \
             given a password"
        ));
    }
    let contents = report.contents;
    env.note(&format!(
        "Recovered {}, {} and {}  to {dir}\n  {} from the journal, {} from blocks alone",
        count(contents.accounts, "account"),
        count(contents.folders, "folder"),
        count(contents.files, "file"),
        count(report.from_journal, "change"),
        count(report.from_blocks, "file"),
    ));
    let missing = report.unrecovered.len() as u64;
    let code = if missing == 0 { 0 } else { Code::SomeFailed.exit_status() };
    let mut object = json!({
        "code": code,
        "accounts": contents.accounts,
        "folders": contents.folders,
        "files": contents.files,
        "from_journal": report.from_journal,
        "from_blocks": report.from_blocks,
        "without_password": report.without_password.iter().map(|u| u.as_str()).collect::<Vec<_>>(),
        "unrecovered": missing,
        "damaged": report.damaged,
    });
    if missing == 0 {
        return if env.manner().json { env.json("result", object) } else { Ok(()) };
    }
    let text = format!("{} could not be recovered; all else was", count(missing, "item"));
    if env.manner().json {
        object["message"] = json!(text);
        env.json("error", object)?;
        return Err(Stop::Told(Code::SomeFailed));
    }
    Err(Failure::new(Code::SomeFailed, text).hint("The lines above say why.").into())
}

/// `1 file`, `2 files`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::serve::recover::Unrecovered;

    #[test]
    fn four_nodes_must_be_named_even_if_they_are_gone() {
        let (mut env, screen) = Env::fake(&["admin", "recover", "--node", "-"], "");
        assert_eq!(crate::cmd::run(&mut env), 2);
        assert!(screen.err().contains("four times, not 1"), "{}", screen.err());
    }

    #[test]
    fn what_is_missing_is_listed_and_is_status_3() {
        let report = Report {
            unrecovered: vec![Unrecovered { what: "/demo/a".into(), why: "gone".into() }],
            ..Report::default()
        };
        let (mut env, screen) = Env::fake(&[], "");
        let Err(Stop::Failed(failure)) = finish(&mut env, &report, "db") else { panic!() };
        assert_eq!(failure.code, Code::SomeFailed);
        assert!(screen.err().contains("cannot recover /demo/a: gone"), "{}", screen.err());
        let (mut env, screen) = Env::fake(&[], "");
        finish(&mut env, &Report::default(), "db").unwrap();
        assert!(screen.err().contains("Recovered 0 accounts, 0 folders and 0 files  to db"));
    }
}
