//! `store -r`: local folders, and files beside them.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::advice;
use super::super::connection::Connection;
use super::super::local::Source;
use super::super::retry::Patience;
use super::super::transfer::{Sent, rooted, send_watched};
use super::count::{Count, Sum, Words};
use super::pool::{self, Shared};
use super::walk::{Found, LeftOut, Links, walk};
use super::{Filter, Manner};
use crate::cmd::env::{Env, plural, size};
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::remote::Progress;
use crate::core::types::Precondition;

pub(super) const WORDS: Words = Words { doing: "Storing", done: "Stored" };

/// What is to be stored, where, and how.
#[derive(Debug)]
pub(in super::super) struct Upload<'a> {
    pub(in super::super) files: &'a [PathBuf],
    pub(in super::super) to: FolderPath,
    /// What the one folder or file is to be called.
    pub(in super::super) name: Option<&'a str>,
    pub(in super::super) precondition: Precondition,
    pub(in super::super) filter: &'a Filter,
    pub(in super::super) manner: Manner,
    pub(in super::super) patience: Patience,
}

/// What was found: something to do, or what is left out.
enum Item {
    Job(Job),
    Link,
    Special,
}

/// One thing to do, or what cannot be done.
pub(super) enum Job {
    File(PathBuf, FilePath, u64),
    /// A symbolic link that is stored as what it is.
    Link(PathBuf, FilePath, u64),
    Folder(FolderPath),
    Bad(PathBuf, Error),
}

/// What a job has come to.
pub(super) struct Outcome {
    /// For people: the local file.
    pub(super) name: PathBuf,
    pub(super) bytes: u64,
    pub(super) done: Result<Done>,
}

pub(super) enum Done {
    File(Sent),
    Folder(FolderPath),
}

/// Stores it, over a connection that is made once it is known what there is. A first walk tells how much there is, a second one passes it on: however many files there
/// are, they are never all in memory.
///
/// # Errors
/// [`Code::SomeFailed`] if not all was stored; those of connecting and signing in, or what the whole ended
/// with.
pub(in super::super) fn upload(
    upload: &Upload<'_>,
    connect: impl FnOnce(&mut Env) -> std::result::Result<Connection, Stop>,
    env: &mut Env,
) -> std::result::Result<(), Stop> {
    let (mut all, mut left_out, mut jobs) = (Sum::default(), LeftOut::default(), 0);
    for item in upload.items(env)? {
        match item {
            Item::Link => left_out.links += 1,
            Item::Special => left_out.others += 1,
            Item::Job(job) => {
                jobs += 1;
                if let Job::File(_, _, bytes) | Job::Link(_, _, bytes) = &job {
                    all.files += 1;
                    all.bytes += bytes;
                }
                if upload.manner.dry_run {
                    tell_planned(job, env)?;
                }
            }
        }
    }
    if upload.manner.dry_run {
        let (files, bytes) = (plural(all.files, "file"), size(all.bytes));
        env.note(&format!("Nothing was sent: {files}, {bytes}, would be stored."));
        left_out.lines().iter().for_each(|line| env.note(line));
        let result = json!({"code": 0, "dry_run": true, "files": all.files, "bytes": all.bytes});
        return if env.manner().json { env.json("result", result) } else { Ok(()) };
    }
    let connection = connect(env)?;
    if !upload.patience.no_resume {
        env.interrupts().note_resumable();
    }
    let most = usize::from(upload.manner.transfers).min(jobs).max(1);
    let shared = Shared::new(upload.patience, upload.patience.bandwidth().up());
    let again = upload.items(env)?.filter_map(|item| match item {
        Item::Job(job) => Some(job),
        Item::Link | Item::Special => None,
    });
    let mut count = Count::begin(WORDS, all, env);
    let work = |connection: &mut Connection, job| upload.work(connection, &shared, job);
    pool::run(connection, most, &shared, again, &work, &mut |outcome| {
        count.follow(&shared, outcome, env, tell)
    })?;
    let object = json!({"links_left_out": left_out.links, "others_left_out": left_out.others});
    count.finish(env, &left_out.lines(), object)
}

impl Upload<'_> {
    /// Everything there is, as it is found.
    fn items(&self, env: &Env) -> Result<impl Iterator<Item = Item> + Send + use<>> {
        let mut parts: Vec<Box<dyn Iterator<Item = Item> + Send>> = Vec::new();
        for file in self.files {
            let local = env.at(file);
            let links = self.filter.links;
            let found = walk(&local, self.filter.patterns(&local, env)?, links);
            parts.push(match self.root(file) {
                Ok(root) => {
                    Box::new(found.filter_map(move |found| item(found, links, &local, &root)))
                }
                Err(error) => Box::new(std::iter::once(Item::Job(Job::Bad(file.clone(), error)))),
            });
        }
        Ok(parts.into_iter().flatten())
    }

    /// Where a folder or file goes, as `cp -r` has it: under its own name, the contents of `.` without
    /// one.
    fn root(&self, file: &Path) -> Result<FolderPath> {
        let name = match (self.name, file.file_name()) {
            (Some(name), _) => name,
            (None, None) => return Ok(self.to.clone()),
            (None, Some(name)) => name.to_str().ok_or_else(not_text)?,
        };
        let whole = match self.to.is_top() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.to.as_str()),
        };
        Ok(FolderPath::parse_rooted(&whole)?)
    }

    pub(super) fn work(&self, connection: &mut Connection, shared: &Shared, job: Job) -> Outcome {
        match job {
            Job::Bad(name, error) => Outcome { name, bytes: 0, done: Err(error) },
            Job::Folder(folder) => {
                let made = shared
                    .persist(connection, true, &mut |remote, _| remote.make_folder(&folder, true));
                let name = PathBuf::from(folder.as_str());
                Outcome { name, bytes: 0, done: made.map(|()| Done::Folder(folder)) }
            }
            Job::File(name, path, bytes) => {
                let open = || Source::regular(&name);
                let done = self.send(connection, shared, &open, &path);
                Outcome { name, bytes, done: done.map(Done::File) }
            }
            Job::Link(name, path, bytes) => {
                let open = || Source::of_link(&name);
                let done = self.send(connection, shared, &open, &path);
                Outcome { name, bytes, done: done.map(Done::File) }
            }
        }
    }

    fn send(
        &self,
        connection: &mut Connection,
        shared: &Shared,
        open: &dyn Fn() -> Result<Source>,
        path: &FilePath,
    ) -> Result<Sent> {
        let is_harmless = self.precondition == Precondition::Any;
        shared.persist(connection, is_harmless, &mut |remote, moving| {
            let mut source = open()?;
            moving.begin(path.name(), source.bytes);
            let reach = &mut |at: Progress| moving.reach(at.bytes);
            let watch = &mut shared.limiter.watch(reach);
            let resume = !shared.patience.no_resume;
            send_watched(remote, &mut source, path, self.precondition, resume, watch)
        })
    }
}

fn not_text() -> Error {
    Error::other(Code::BadPath, "its name is not UTF-8 text")
}

fn item(found: Found, links: Links, folder: &Path, root: &FolderPath) -> Option<Item> {
    Some(Item::Job(match found {
        Found::File(path, found) => match stored_path(&path, folder, root) {
            Ok(at) => Job::File(path, at, found.len()),
            Err(error) => Job::Bad(path, error),
        },
        // The others come with what is in them.
        Found::Folder { is_empty: false, .. } => return None,
        Found::Folder { path, is_empty: true } => match stored_path(&path, folder, root) {
            Ok(at) => Job::Folder(at.as_folder()),
            Err(error) => Job::Bad(path, error),
        },
        Found::Bad(path, error) => Job::Bad(path, error),
        Found::Link(path, found) if links == Links::Store => {
            match stored_path(&path, folder, root) {
                Ok(at) => Job::Link(path, at, found.len()),
                Err(error) => Job::Bad(path, error),
            }
        }
        Found::Link(..) => return Some(Item::Link),
        Found::Special => return Some(Item::Special),
    }))
}

/// Where a file that was found in a folder goes; the folder itself may be a file.
fn stored_path(path: &Path, folder: &Path, root: &FolderPath) -> Result<FilePath> {
    let below = path.strip_prefix(folder).unwrap_or(path);
    join(root, below.to_str().ok_or_else(not_text)?)
}

/// Where something in a stored tree is, which may be a file itself.
pub(super) fn join(root: &FolderPath, below: &str) -> Result<FilePath> {
    let whole = match (root.is_top(), below.is_empty()) {
        (true, _) => below.to_owned(),
        (false, true) => root.as_str().to_owned(),
        (false, false) => format!("{}/{below}", root.as_str()),
    };
    Ok(FilePath::parse_rooted(&whole)?)
}

fn tell_planned(job: Job, env: &mut Env) -> std::result::Result<(), Stop> {
    let json = env.manner().json;
    match job {
        Job::File(_, path, bytes) | Job::Link(_, path, bytes) if json => {
            env.json("item", json!({"path": rooted(&path), "bytes": bytes, "dry_run": true}))
        }
        Job::File(_, path, _) | Job::Link(_, path, _) => env.data(&format!("/{path}")),
        Job::Folder(folder) if json => {
            env.json("item", json!({"path": format!("/{}", folder.as_str()), "dry_run": true}))
        }
        Job::Folder(folder) => env.data(&format!("/{folder}/")),
        Job::Bad(name, error) => {
            let why = advice::failure(&format!("cannot store {}", name.display()), &error);
            env.tell(&why);
            Ok(())
        }
    }
}

pub(super) fn tell(
    count: &mut Count,
    outcome: Outcome,
    env: &mut Env,
) -> std::result::Result<(), Stop> {
    let Outcome { name, bytes, done } = outcome;
    match done {
        Ok(Done::File(sent)) => count.done(env, Some(bytes), &sent.summary(), sent.json()),
        Ok(Done::Folder(folder)) => {
            let object = json!({"code": 0, "path": format!("/{}", folder.as_str())});
            count.done(env, None, &format!("Made {folder}"), object)
        }
        Err(error) => {
            let shown = name.display().to_string();
            let why = advice::failure(&format!("cannot store {shown}"), &error);
            count.failed(env, &shown, bytes, why)
        }
    }
}
