//! `palk client inf [PATH]`: lists what is stored, as it comes.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::entries::{Nodes, line, object, row};
use super::settings::Common;
use crate::cmd::env::{Env, size};
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error};
use crate::core::path::FolderPath;
use crate::core::wire::extended::{Entry, Extent};

/// List the folders and files that are stored
///
/// Without PATH the paths of everything, one a line (with sizes, times and nodes: -v). With PATH
/// what is in that folder, or that file, with its size, when it was stored, and how many of the four
/// nodes hold it.
#[derive(Args, Debug)]
pub(super) struct Inf {
    /// A stored folder or file; "/" is your top folder
    #[arg(value_name = "PATH")]
    path: Option<String>,

    /// Everything below PATH, not only what lies directly in it
    #[arg(short, long)]
    recursive: bool,
}

/// What has been listed so far.
#[derive(Default)]
struct Sum {
    folders: u64,
    files: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Folder(_) => self.folders += 1,
            Entry::File(file) => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(file.bytes);
            }
        }
    }
}

impl Inf {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let what = match &self.path {
            Some(path) => format!("cannot list {path}"),
            None => "cannot list your files".to_owned(),
        };
        let failed = |error: &Error| advice::failure(&what, error);
        let extent = match (&self.path, self.recursive) {
            (Some(_), false) => Extent::Children,
            _ => Extent::All,
        };
        let path = FolderPath::parse_rooted(self.path.as_deref().unwrap_or_default())
            .map_err(|error| failed(&error.into()))?;
        let nodes = if common.verbose { Nodes::Named } else { Nodes::Counted };
        let in_rows = common.verbose || self.path.is_some();
        let mut connection = Connection::open(common, env)?;
        let remote = connection.remote()?;
        let mut sum = Sum::default();
        let mut stop = None;
        let listed = remote.list_below(&path, extent, &mut |entry| {
            sum.add(&entry);
            let printed = if common.json {
                env.json("item", object(&entry))
            } else if in_rows {
                env.data(&row(&entry, nodes))
            } else {
                env.data(&line(&entry))
            };
            // Only a text of this side's is lost here: `stop` has the reason.
            printed.map_err(|why| {
                stop = Some(why);
                Error::other(Code::Interrupted, "nobody reads the listing")
            })
        });
        if let Some(stop) = stop {
            return Err(stop);
        }
        listed.map_err(|error| failed(&error))?;
        let Sum { folders, files, bytes } = sum;
        if common.json {
            let object = json!({"code": 0, "folders": folders, "files": files, "bytes": bytes});
            return env.json("result", object);
        }
        env.flush()?;
        if folders + files == 0 {
            let note = if path.is_top() { "No files in database" } else { "The folder is empty" };
            env.note(note);
        }
        env.detail(&format!("{files} files, {}", size(bytes)));
        Ok(())
    }
}
