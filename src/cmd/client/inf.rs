//! `palk client inf [PATH]`: lists what is stored, as it comes.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::entries::{self, Nodes, line, object, row};
use super::glob::{self, Meant};
use super::settings::Common;
use crate::cmd::completions::STORED;
use crate::cmd::env::{Env, plural, size};
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::error::Error;
use crate::core::path::printable;
use crate::core::remote::Remote;
use crate::core::wire::extended::history::DeletedEntry;
use crate::core::wire::extended::{Entry, Extent, When};

/// List the folders and files that are stored
///
/// Without PATH the paths of everything, one a line (with sizes, times and nodes: -v). With PATH
/// what is in that folder, or that file, with its size, when it was stored, and how many of the four
/// nodes hold it. PATH may be a pattern in quotes ("*.txt", "photos/**"): then what matches it, each itself.
#[derive(Args, Debug)]
pub(super) struct Inf {
    /// A stored folder or file, or a pattern; "/" is your top folder
    #[arg(value_name = "PATH", value_hint = STORED)]
    path: Option<String>,

    /// Everything below PATH, not only what lies directly in it
    #[arg(short, long)]
    recursive: bool,

    /// As it was at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,

    /// What was deleted below PATH and can be had back, the newest first
    #[arg(long, conflicts_with = "at")]
    deleted: bool,
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
        let text = self.path.as_deref().unwrap_or_default();
        let path = entries::folder(text, &what)?;
        let nodes = if common.verbose { Nodes::Named } else { Nodes::Counted };
        let in_rows = common.verbose || self.path.is_some();
        let mut connection = Connection::open(common, env)?;
        if self.deleted {
            let deleted = connection.remote().and_then(|remote| remote.deleted(&path));
            return show_deleted(&deleted.map_err(|error| failed(&error))?, env);
        }
        let mut sum = Sum::default();
        let mut show = |entry: Entry| {
            sum.add(&entry);
            if common.json {
                env.json_row("item", object(&entry))
            } else if in_rows {
                env.data(&row(&entry, nodes))
            } else {
                env.data(&line(&entry))
            }
        };
        let remote = connection.remote()?;
        let matches = glob::matches(remote, text, Meant::Entries, self.at.as_ref());
        match matches.map_err(|error| failed(&error))? {
            Some(matches) => matches.into_iter().try_for_each(show)?,
            None => {
                let at = self.at.clone();
                entries::walk(remote, &path, extent, at, &what, &mut show)?;
            }
        }
        let Sum { folders, files, bytes } = sum;
        // What is kept is of the whole account.
        let usage = match path.is_top() && self.at.is_none() && (common.json || common.verbose) {
            true => {
                Some(connection.remote().and_then(Remote::usage).map_err(|error| failed(&error))?)
            }
            false => None,
        };
        if common.json {
            let mut object = json!({"code": 0, "folders": folders, "files": files, "bytes": bytes});
            if let Some(usage) = usage {
                object["kept_bytes"] = json!(usage.kept_bytes);
                object["quota_bytes"] = json!(usage.quota_bytes);
            }
            return env.json("result", object);
        }
        env.flush()?;
        if folders + files == 0 {
            let note = if path.is_top() { "No files in database" } else { "The folder is empty" };
            env.note(note);
        }
        env.detail(&format!("{}, {}", plural(files, "file"), size(bytes)));
        if let Some(usage) = usage {
            env.detail(&format!(
                "{} more are kept for undo and in snapshots",
                size(usage.kept_bytes)
            ));
            if let Some(quota) = usage.quota_bytes {
                env.detail(&format!("{} may be stored", size(quota)));
            }
        }
        Ok(())
    }
}

/// Shows what was deleted, one a line.
pub(super) fn show_deleted(deleted: &[DeletedEntry], env: &mut Env) -> Result<(), Stop> {
    for entry in deleted {
        let path = format!("/{}", entry.path.as_str());
        if env.manner().json {
            let kind = if entry.bytes.is_some() { "file" } else { "folder" };
            let gone = when::exact(entry.gone);
            let object = json!({"kind": kind, "path": path, "bytes": entry.bytes, "deleted": gone});
            env.json_row("item", object)?;
            continue;
        }
        let (bytes, slash) = match entry.bytes {
            Some(bytes) => (size(bytes), ""),
            None => (String::new(), "/"),
        };
        let gone = when::shown(entry.gone);
        env.data(&format!("{bytes:>9}  {gone}  {}{slash}", printable(&path)))?;
    }
    if env.manner().json {
        return env.json("result", json!({"code": 0, "deleted": deleted.len()}));
    }
    env.flush()?;
    match deleted {
        [] => env.note("Nothing that was deleted is kept"),
        [first, ..] => env.detail(&format!("to have it back:  palk client undo {}", first.path)),
    }
    Ok(())
}
