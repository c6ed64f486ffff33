//! `palk client undo PATH...`: brings back what was there before.

use clap::Args;
use serde_json::{Value, json};

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::tally::Tally;
use crate::cmd::completions::STORED;
use crate::cmd::env::{Env, plural};
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, FolderPath};
use crate::core::wire::extended::When;
use crate::core::wire::extended::history::{Difference, Outcome, Reverted};

/// Bring back what was there before
///
/// Without --at the last change of each PATH is undone: a replaced file is its former version again, a
/// deleted file or folder is back, what was moved is where it was. With --at a file, a folder or everything
/// ("/") is what it was at that time. Both can be undone as well.
#[derive(Args, Debug)]
pub(super) struct Undo {
    /// Files and folders, also deleted ones
    #[arg(required = true, value_name = "PATH", value_hint = STORED)]
    paths: Vec<String>,

    /// To the state at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,

    /// Only show what would change
    #[arg(short = 'n', long, requires = "at")]
    dry_run: bool,
}

impl Undo {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let mut tally = Tally::new(self.paths.len());
        let mut connection = Connection::open(common, env)?;
        for text in &self.paths {
            let done = match &self.at {
                None => undo(&mut connection, text),
                Some(at) => revert(&mut connection, text, at, self.dry_run),
            };
            match done {
                Ok((lines, object)) => tally.done(env, &lines, object)?,
                Err(error) => tally.failed(env, text, failure(text, &error))?,
            }
        }
        tally.finish(env)
    }
}

/// How undoing failed, with advice.
pub(crate) fn failure(text: &str, error: &Error) -> crate::cmd::failure::Failure {
    let what = format!("cannot undo {text}");
    match error.code() {
        Code::NoSuchFile | Code::NotAllowed => {
            let own = [
                (Code::NoSuchFile, "See what was deleted:  palk client inf --deleted"),
                (Code::NotAllowed, "Nothing was changed."),
            ];
            advice::own_or_usual(&what, error, &own)
        }
        _ => advice::failure(&what, error),
    }
}

fn undo(connection: &mut Connection, text: &str) -> Result<(Vec<String>, Value), Error> {
    if FolderPath::parse_rooted(text).is_ok_and(|path| path.is_top()) {
        let text = "everything has no last change: say a time, as in undo / --at \"2h ago\"";
        return Err(Error::other(Code::Usage, text));
    }
    let path = FilePath::parse_rooted(text)?;
    let outcome = connection.remote()?.undo(&path)?;
    Ok((vec![summary(&path, &outcome)], object(&path, &outcome)))
}

/// What has come of undoing, for people.
pub(crate) fn summary(path: &FilePath, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Former(_) => format!("{path} is its former version again"),
        Outcome::FileBack(_) => format!("{path} is back"),
        Outcome::FolderBack(files) => format!("{path} is back  with {}", plural(*files, "file")),
        Outcome::MovedBack { from, to } => format!("Moved {from} back to {to}"),
        Outcome::Deleted => format!("Deleted {path}, which was new"),
    }
}

fn object(path: &FilePath, outcome: &Outcome) -> Value {
    let mut all = json!({"code": 0, "path": format!("/{}", path.as_str())});
    match outcome {
        Outcome::Former(version) => {
            all["undone"] = json!("replaced");
            all["version"] = json!(version.to_string());
        }
        Outcome::FileBack(version) => {
            all["undone"] = json!("deleted");
            all["version"] = json!(version.to_string());
        }
        Outcome::FolderBack(files) => {
            all["undone"] = json!("removed");
            all["files"] = json!(files);
        }
        Outcome::MovedBack { from, to } => {
            all["undone"] = json!("moved");
            all["from"] = json!(format!("/{}", from.as_str()));
            all["to"] = json!(format!("/{}", to.as_str()));
        }
        Outcome::Deleted => all["undone"] = json!("stored"),
    }
    all
}

/// So many differences are listed for people.
const LISTED_MAX: usize = 1000;

fn revert(
    connection: &mut Connection,
    text: &str,
    at: &When,
    dry_run: bool,
) -> Result<(Vec<String>, Value), Error> {
    let path = FolderPath::parse_rooted(text)?;
    let (told, differences) = connection.remote()?.revert(&path, at, dry_run)?;
    let Reverted { back, changed, gone, same, before } = told;
    let all = back + changed + gone;
    let mut lines: Vec<String> = Vec::new();
    let name = if path.is_top() { "Everything".to_owned() } else { path.to_string() };
    if dry_run {
        let line = |own: &Difference| format!("{} {}", own.what, own.path);
        lines.extend(differences.iter().take(LISTED_MAX).map(line));
        let listed = lines.len() as u64;
        if listed < all {
            lines.push(format!("... and {} more", all - listed));
        }
    }
    let counts =
        format!("{back} back (+), {changed} changed (~), {gone} gone (-), {same} the same");
    lines.push(match (dry_run, all) {
        (_, 0) => format!("{name} is as it was then"),
        (true, _) => format!("{name} would be as it was then:  {counts}"),
        (false, _) => format!("{name} is as it was then:  {counts}"),
    });
    if let Some(before) = before {
        let shown = if path.is_top() { "/".to_owned() } else { path.to_string() };
        lines.push(format!("  to take that back:  undo {shown} --at {}", when::exact(before)));
    }
    let object = json!({
        "code": 0, "path": format!("/{}", path.as_str()), "back": back, "changed": changed,
        "gone": gone, "same": same, "dry_run": dry_run, "before": before.map(when::exact),
        "differences": differences.iter().map(|own| {
            json!({"what": own.what.to_string(), "path": format!("/{}", own.path.as_str())})
        }).collect::<Vec<_>>(),
    });
    Ok((lines, object))
}
