//! `palk client inf`: lists what is stored.

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::transfer::rooted;
use crate::cmd::env::{Env, size};
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error};
use crate::core::wire::extended::{Entry, FileEntry};

/// List the folders and files that are stored (with sizes and times: -v)
#[derive(Args, Debug)]
pub(super) struct Inf {}

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
        let mut connection = Connection::open(common, env)?;
        let remote = connection.remote()?;
        let mut sum = Sum::default();
        let mut stop = None;
        let listed = remote.list(&mut |entry| {
            sum.add(&entry);
            let printed = if common.json {
                env.json("item", object(&entry))
            } else if common.verbose {
                env.data(&row(&entry))
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
        listed.map_err(|error| advice::failure("cannot list your files", &error))?;
        let Sum { folders, files, bytes } = sum;
        if common.json {
            let object = json!({"code": 0, "folders": folders, "files": files, "bytes": bytes});
            return env.json("result", object);
        }
        env.flush()?;
        if folders + files == 0 {
            env.note("No files in database");
        }
        env.detail(&format!("{files} files, {}", size(bytes)));
        Ok(())
    }
}

/// `/a/b`, safe to print.
pub(super) fn line(entry: &Entry) -> String {
    match entry {
        Entry::Folder(folder) => format!("/{folder}"),
        Entry::File(file) => format!("/{}", file.path),
    }
}

/// The same with size, time and nodes before it.
fn row(entry: &Entry) -> String {
    match entry {
        Entry::Folder(folder) => format!("{:>9}  {:16}  {:8}  /{folder}/", "", "", ""),
        Entry::File(file) => {
            let FileEntry { path, bytes, stored_ms, placed, .. } = file;
            let nodes: Vec<String> = placed.iter().map(|node| node.to_string()).collect();
            format!("{:>9}  {:16}  {:8}  /{path}", size(*bytes), time(*stored_ms), nodes.join(","))
        }
    }
}

/// By this machine's clock and zone.
fn time(stored_ms: i64) -> String {
    match Timestamp::from_millisecond(stored_ms) {
        Ok(time) => Zoned::new(time, TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "?".to_owned(),
    }
}

fn object(entry: &Entry) -> Value {
    match entry {
        Entry::Folder(folder) => json!({"kind": "folder", "path": format!("/{}", folder.as_str())}),
        Entry::File(file) => {
            let nodes: Vec<u8> = file.placed.iter().map(|node| node.number()).collect();
            json!({"kind": "file", "path": rooted(&file.path), "bytes": file.bytes,
                   "stored_ms": file.stored_ms, "version": file.version.to_string(),
                   "blake3": file.blake3.to_string(), "nodes": nodes})
        }
    }
}
