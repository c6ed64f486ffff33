//! `palk client del PATH...`: deletes stored files.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::rooted;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::Error;
use crate::core::path::FilePath;

/// Delete files
#[derive(Args, Debug)]
pub(super) struct Del {
    /// Stored files, as "inf" shows them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

impl Del {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let jobs: Vec<_> =
            self.paths.iter().map(|path| (path, FilePath::parse_rooted(path))).collect();
        let mut tally = Tally::new(jobs.len());
        let mut connection = match jobs.iter().any(|(_, path)| path.is_ok()) {
            true => Some(Connection::open(common, env)?),
            false => None,
        };
        for (text, path) in jobs {
            let deleted = path.map_err(Error::from).and_then(|path| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                connection.remote()?.delete(&path).map(|()| path)
            });
            match deleted {
                Ok(path) => {
                    let object = json!({"code": 0, "path": rooted(&path)});
                    tally.done(env, &[format!("Deleted {path}")], object)?;
                }
                Err(error) => {
                    let why = advice::failure(&format!("cannot delete {text}"), &error);
                    tally.failed(env, text, why)?;
                }
            }
        }
        tally.finish(env)
    }
}
