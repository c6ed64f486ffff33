//! `palk client mkdir FOLDER...`: makes folders.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::tally::Tally;
use crate::cmd::completions::STORED;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error};
use crate::core::path::FolderPath;

/// Make folders; an empty one is kept
#[derive(Args, Debug)]
pub(super) struct Mkdir {
    /// Folders to make
    #[arg(required = true, value_name = "FOLDER", value_hint = STORED)]
    folders: Vec<String>,

    /// Make the folders above it too, and let pass one that is there
    #[arg(short, long)]
    parents: bool,
}

impl Mkdir {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let jobs: Vec<_> =
            self.folders.iter().map(|text| (text, FolderPath::parse_rooted(text))).collect();
        let mut tally = Tally::new(jobs.len());
        let mut connection = match jobs.iter().any(|(_, folder)| folder.is_ok()) {
            true => Some(Connection::open(common, env)?),
            false => None,
        };
        for (text, folder) in jobs {
            let made = folder.map_err(Error::from).and_then(|folder| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                connection.remote()?.make_folder(&folder, self.parents).map(|()| folder)
            });
            match made {
                Ok(folder) => {
                    let object = json!({"code": 0, "path": format!("/{}", folder.as_str())});
                    tally.done(env, &[format!("Made {folder}")], object)?;
                }
                Err(error) => {
                    let own = [
                        (
                            Code::Exists,
                            "Nothing was changed. To accept a folder that is there:  -p",
                        ),
                        (Code::NoSuchFolder, "Nothing was changed. Make those above it too:  -p"),
                    ];
                    let what = format!("cannot make the folder {text}");
                    tally.failed(env, text, advice::own_or_usual(&what, &error, &own))?;
                }
            }
        }
        tally.finish(env)
    }
}
