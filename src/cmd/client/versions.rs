//! `palk client versions PATH`: what a path is and was.

use clap::Args;
use serde_json::{Value, json};

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::transfer::rooted;
use crate::cmd::completions::STORED;
use crate::cmd::env::{Env, size};
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::error::Error;
use crate::core::path::{FilePath, printable};
use crate::core::types::Moment;
use crate::core::wire::extended::history::{PathVersion, VersionFacts};

/// List the versions of a file that are kept, the newest first
#[derive(Args, Debug)]
pub(super) struct Versions {
    /// A file or folder, also one that was deleted
    #[arg(value_name = "PATH", value_hint = STORED)]
    path: String,
}

impl Versions {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let failed = |error: &Error| {
            advice::failure(&format!("cannot list the versions of {}", self.path), error)
        };
        let path = FilePath::parse_rooted(&self.path).map_err(|error| failed(&error.into()))?;
        let versions =
            Connection::open(common, env)?.remote()?.versions(&path).map_err(|e| failed(&e))?;
        if common.json {
            for version in &versions {
                env.json_row("item", object(version))?;
            }
            let object = json!({"code": 0, "path": rooted(&path), "versions": versions.len()});
            return env.json("result", object);
        }
        show(&versions, env)
    }
}

/// Shows versions, one a line.
pub(super) fn show(versions: &[PathVersion], env: &mut Env) -> Result<(), Stop> {
    env.data(&format!("{:19}  {:>9}  {:10}  {:21}  by", "since", "size", "version", ""))?;
    versions.iter().try_for_each(|version| env.data(&row(version)))
}

/// So many digits of a version tell it from the others of a file.
const VERSION_DIGITS: usize = 10;

fn row(version: &PathVersion) -> String {
    let (bytes, id, by) = match &version.file {
        Some(VersionFacts { version, bytes, by, .. }) => {
            let id = version.to_string();
            let id = id.get(..VERSION_DIGITS).unwrap_or(&id).to_owned();
            (size(*bytes), id, printable(by))
        }
        None => (String::new(), "a folder".to_owned(), String::new()),
    };
    let state = match (version.until, &version.held_by, version.expires_ms) {
        (None, ..) => "current".to_owned(),
        (Some(_), Some(snapshot), _) => format!("in snapshot {snapshot}"),
        (Some(_), None, Some(ms)) => {
            let day = when::shown(Moment(ms.saturating_mul(1000)));
            format!("goes {}", day.get(..16).unwrap_or(&day))
        }
        (Some(_), None, None) => "kept".to_owned(),
    };
    let line = format!("{}  {bytes:>9}  {id:10}  {state:21}  {by}", when::shown(version.from));
    line.trim_end().to_owned()
}

/// The same for programs.
fn object(told: &PathVersion) -> Value {
    let mut all = json!({
        "current": told.until.is_none(),
        "since": when::exact(told.from),
        "until": told.until.map(when::exact),
        "goes": told.expires_ms.map(|ms| when::exact(Moment(ms.saturating_mul(1000)))),
        "snapshot": told.held_by,
    });
    match &told.file {
        None => all["kind"] = json!("folder"),
        Some(facts) => {
            all["kind"] = json!("file");
            all["version"] = json!(facts.version.to_string());
            all["bytes"] = json!(facts.bytes);
            all["blake3"] = json!(facts.blake3.to_string());
            all["stored_ms"] = json!(facts.stored_ms);
            all["by"] = json!(facts.by);
        }
    }
    all
}
