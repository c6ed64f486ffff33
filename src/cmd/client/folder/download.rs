//! `rtv -r`: stored folders, and files beside them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::advice;
use super::super::connection::Connection;
use super::super::place::{Existing, Place};
use super::super::retry::Patience;
use super::super::settings::Common;
use super::super::transfer::{Fetched, fetch_watched, rooted};
use super::Manner;
use super::count::{Count, Sum, Words, counted};
use super::pool::{self, Shared};
use crate::cmd::env::{Env, Interrupts, size};
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;
use crate::core::path::{FilePath, FolderPath};
use crate::core::remote::{Progress, Selection};
use crate::core::wire::extended::{Entry, Extent, When, Which};

pub(super) const WORDS: Words = Words { doing: "Retrieving", done: "Retrieved" };

/// What is to be retrieved, where to, and how.
#[derive(Debug)]
pub(in super::super) struct Download<'a> {
    pub(in super::super) paths: &'a [String],
    /// As it was then.
    pub(in super::super) at: Option<When>,
    /// The folder that it goes to.
    pub(in super::super) to: PathBuf,
    pub(in super::super) existing: Existing,
    pub(in super::super) manner: Manner,
    pub(in super::super) patience: Patience,
}

/// One thing to do, or what cannot be done.
pub(super) enum Job {
    File(FilePath, PathBuf, u64),
    Folder(PathBuf),
    Bad(String, Error),
}

/// What a job has come to.
pub(super) struct Outcome {
    name: String,
    bytes: u64,
    done: Result<Option<Fetched>>,
}

/// Retrieves it. What there is is listed first, and its paths are in memory until the end.
///
/// # Errors
/// [`Code::SomeFailed`] if not all was retrieved; those of connecting and signing in, or what the whole
/// ended with.
pub(in super::super) fn download(
    download: &Download<'_>,
    common: &Common,
    env: &mut Env,
) -> std::result::Result<(), Stop> {
    let mut connection = Connection::open(common, env)?;
    let mut jobs = Vec::new();
    for path in download.paths {
        if let Err(error) = download.list(&mut connection, path, &mut jobs) {
            jobs.push(Job::Bad(path.clone(), error));
        }
    }
    let mut all = Sum::default();
    for job in &jobs {
        if let Job::File(_, _, bytes) = job {
            all.files += 1;
            all.bytes += bytes;
        }
    }
    if download.manner.dry_run {
        return tell_planned(&jobs, all, env);
    }
    let most = usize::from(download.manner.transfers).min(jobs.len()).max(1);
    let shared = Shared::new(download.patience, download.patience.bandwidth().down());
    let mut count = Count::begin(WORDS, all, env);
    let interrupts = env.interrupts().clone();
    let work =
        |connection: &mut Connection, job| download.work(connection, &shared, job, &interrupts);
    pool::run(connection, most, &shared, jobs.into_iter(), &work, &mut |outcome| {
        count.follow(&shared, outcome, env, tell)
    })?;
    count.finish(env, &[], json!({}))
}

impl Download<'_> {
    /// Adds what is at a path, as `cp -r` has it: a folder under its own name, what is in the top folder
    /// without one.
    fn list(&self, connection: &mut Connection, path: &str, jobs: &mut Vec<Job>) -> Result<()> {
        let root = FolderPath::parse_rooted(path)?;
        let above = root.split().map_or(FolderPath::top(), |(above, _)| above);
        let local = |path: &str| self.to.join(below(path, above.as_str()));
        let job = |entry| match entry {
            Entry::File(file) => {
                let at = local(file.path.as_str());
                Job::File(file.path, at, file.bytes)
            }
            Entry::Folder(folder) => Job::Folder(local(folder.as_str())),
        };
        let remote = connection.remote()?;
        let first = remote.look_at(&root, self.at.clone())?;
        let is_folder = matches!(first, Entry::Folder(_));
        jobs.push(job(first));
        if !is_folder {
            return Ok(());
        }
        remote.list_at(&root, Extent::All, self.at.clone(), &mut |entry| {
            jobs.push(job(entry));
            Ok(())
        })
    }

    pub(super) fn work(
        &self,
        connection: &mut Connection,
        shared: &Shared,
        job: Job,
        interrupts: &Interrupts,
    ) -> Outcome {
        match job {
            Job::Bad(name, error) => Outcome { name, bytes: 0, done: Err(error) },
            Job::Folder(local) => {
                let made = fs::create_dir_all(&local).map_err(|error| {
                    let text = format!("cannot make {}: {}", local.display(), reason(&error));
                    Error::other(Code::LocalFile, text)
                });
                let name = local.display().to_string();
                Outcome { name, bytes: 0, done: made.map(|()| None) }
            }
            Job::File(path, local, bytes) => {
                let which = self.at.clone().map(Which::At).unwrap_or_default();
                let wanted = Selection { which, range: None };
                let done = shared.persist(connection, true, &mut |remote, moving| {
                    let place = Place::create(&local, true, self.existing, interrupts)?;
                    moving.begin(path.name(), bytes);
                    let resume = !shared.patience.no_resume;
                    let reach = &mut |at: Progress| moving.reach(at.bytes);
                    let watch = &mut shared.limiter.watch(reach);
                    fetch_watched(remote, &path, &wanted, place, resume, watch)
                });
                let name = path.as_str().to_owned();
                Outcome { name, bytes, done: done.map(Some) }
            }
        }
    }
}

/// What comes behind a folder in the path of something in it.
fn below<'a>(path: &'a str, folder: &str) -> &'a Path {
    let rest = path.strip_prefix(folder).unwrap_or(path);
    Path::new(rest.strip_prefix('/').unwrap_or(rest))
}

fn tell_planned(jobs: &[Job], all: Sum, env: &mut Env) -> std::result::Result<(), Stop> {
    let json = env.manner().json;
    for job in jobs {
        match job {
            Job::File(path, local, bytes) if json => {
                let object = json!({"path": rooted(path), "bytes": bytes,
                                    "local": local.display().to_string(), "dry_run": true});
                env.json("item", object)?;
            }
            Job::File(_, local, _) => env.data(&local.display().to_string())?,
            Job::Folder(_) => {}
            Job::Bad(name, error) => env.tell(&advice::failure(&cannot(name), error)),
        }
    }
    let (files, bytes) = (counted(all.files), size(all.bytes));
    env.note(&format!("Nothing was written: {files}, {bytes}, would be retrieved."));
    let result = json!({"code": 0, "dry_run": true, "files": all.files, "bytes": all.bytes});
    if json { env.json("result", result) } else { Ok(()) }
}

fn cannot(name: &str) -> String {
    format!("cannot retrieve {name}")
}

pub(super) fn tell(
    count: &mut Count,
    outcome: Outcome,
    env: &mut Env,
) -> std::result::Result<(), Stop> {
    let Outcome { name, bytes, done } = outcome;
    match done {
        Ok(Some(fetched)) => count.done(env, Some(bytes), &fetched.summary(), fetched.json()),
        Ok(None) => Ok(()),
        Err(error) => {
            let why = advice::failure(&cannot(&name), &error);
            count.failed(env, &name, bytes, why)
        }
    }
}
