//! `rtv -r`: stored folders, and files beside them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::advice;
use super::super::connection::Connection;
use super::super::glob::{self, Meant};
use super::super::link::Confines;
use super::super::place::{Existing, Place};
use super::super::retry::Patience;
use super::super::transfer::{Fetched, fetch_watched, rooted};
use super::Manner;
use super::count::{Count, Sum, Words};
use super::pool::{self, Shared};
use super::sides::obstacle;
use super::walk::{LeftOut, Links};
use crate::cmd::env::{Env, Interrupts, plural, size};
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
    /// Each under its whole stored path, and not under its own name.
    pub(in super::super) keeps_paths: bool,
    pub(in super::super) existing: Existing,
    /// What becomes of stored links, and of local ones that are in the way.
    pub(in super::super) links: Links,
    /// Links may lead out of the folder that is retrieved.
    pub(in super::super) unsafe_links: bool,
    pub(in super::super) manner: Manner,
    pub(in super::super) patience: Patience,
}

/// One thing to do, or what cannot be done.
pub(super) enum Job {
    /// A file, or a link that is confined to a folder.
    File(FilePath, PathBuf, u64, Option<PathBuf>),
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
    mut connection: Connection,
    env: &mut Env,
) -> std::result::Result<(), Stop> {
    let (mut jobs, mut left_out) = (Vec::new(), LeftOut::default());
    for path in download.paths {
        let listed = connection
            .remote()
            .and_then(|remote| glob::matches(remote, path, Meant::Trees, download.at.as_ref()))
            .and_then(|matches| match matches {
                None => download.list(&mut connection, path, &mut jobs, &mut left_out),
                Some(matches) => matches.iter().try_for_each(|own| {
                    let path = glob::path_of(own);
                    download.list(&mut connection, path, &mut jobs, &mut left_out)
                }),
            });
        if let Err(error) = listed {
            jobs.push(Job::Bad(path.clone(), error));
        }
    }
    let mut all = Sum::default();
    for job in &jobs {
        if let Job::File(_, _, bytes, _) = job {
            all.files += 1;
            all.bytes += bytes;
        }
    }
    if download.manner.dry_run {
        return tell_planned(&jobs, all, env);
    }
    let shared = Shared::new(download.patience, download.patience.bandwidth().down());
    let mut count = Count::begin(WORDS, all, env);
    download.run(connection, &shared, jobs, &mut count, env)?;
    count.finish(env, &left_out.lines(), json!({"links_left_out": left_out.links}))
}

impl Download<'_> {
    /// Adds what is at a path, as `cp -r` has it: a folder under its own name, what is in the top folder
    /// without one.
    fn list(
        &self,
        connection: &mut Connection,
        path: &str,
        jobs: &mut Vec<Job>,
        left_out: &mut LeftOut,
    ) -> Result<()> {
        let root = FolderPath::parse_rooted(path)?;
        let above = root.split().filter(|_| !self.keeps_paths);
        let above = above.map_or(FolderPath::top(), |(above, _)| above);
        let local = |path: &str| self.to.join(below(path, above.as_str()));
        let remote = connection.remote()?;
        let first = remote.look_at(&root, self.at.clone())?;
        let is_folder = matches!(first, Entry::Folder(_));
        let confines = if is_folder { local(root.as_str()) } else { self.to.clone() };
        let mut add = |entry| {
            let job = match entry {
                Entry::Folder(folder) => Job::Folder(local(folder.as_str())),
                Entry::File(file) => {
                    let (at, is_link) = (local(file.path.as_str()), file.attributes.is_link());
                    if is_link && self.links != Links::Store {
                        left_out.links += 1;
                        return Ok(());
                    }
                    Job::File(file.path, at, file.bytes, is_link.then(|| confines.clone()))
                }
            };
            jobs.push(job);
            Ok(())
        };
        add(first)?;
        if !is_folder {
            return Ok(());
        }
        remote.list_at(&root, Extent::All, self.at.clone(), &mut add)
    }

    /// Does all jobs, several at a time. Links are made when everything else is there, one after the other:
    /// so nothing is written through one of them.
    ///
    /// # Errors
    /// Those of connecting, and of `tell`.
    pub(super) fn run(
        &self,
        connection: Connection,
        shared: &Shared,
        jobs: Vec<Job>,
        count: &mut Count,
        env: &mut Env,
    ) -> std::result::Result<(), Stop> {
        let again = connection.another();
        let is_link = |job: &Job| matches!(job, Job::File(.., Some(_)));
        let (links, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(is_link);
        let interrupts = env.interrupts().clone();
        let work =
            |connection: &mut Connection, job| self.work(connection, shared, job, &interrupts);
        let most = usize::from(self.manner.transfers).min(others.len()).max(1);
        let mut follow = |outcome: Option<Outcome>| count.follow(shared, outcome, env, tell);
        pool::run(connection, most, shared, others.into_iter(), &work, &mut follow)?;
        if links.is_empty() {
            return Ok(());
        }
        let opened = again.open().map_err(|error| advice::failure("cannot retrieve links", &error));
        pool::run(opened?, 1, shared, links.into_iter(), &work, &mut follow)
    }

    /// Fails where a local link is in the way that is not to be followed.
    fn check_way(&self, local: &Path) -> Result<()> {
        let below = local.strip_prefix(&self.to).ok().and_then(Path::to_str);
        match below.and_then(|below| obstacle(&self.to, below, self.links)) {
            Some(what) if self.links != Links::Follow => {
                Err(Error::other(Code::LocalFile, format!("{}: {}", local.display(), what.error())))
            }
            _ => Ok(()),
        }
    }

    fn work(
        &self,
        connection: &mut Connection,
        shared: &Shared,
        job: Job,
        interrupts: &Interrupts,
    ) -> Outcome {
        match job {
            Job::Bad(name, error) => Outcome { name, bytes: 0, done: Err(error) },
            Job::Folder(local) => {
                let make = || {
                    fs::create_dir_all(&local).map_err(|error| {
                        let text = format!("cannot make {}: {}", local.display(), reason(&error));
                        Error::other(Code::LocalFile, text)
                    })
                };
                let made = self.check_way(&local).and_then(|()| make());
                let name = local.display().to_string();
                Outcome { name, bytes: 0, done: made.map(|()| None) }
            }
            Job::File(path, local, bytes, confines) => {
                let existing = match (self.existing, self.links) {
                    (Existing::Replaced, Links::Store) => Existing::ReplacedItself,
                    (existing, _) => existing,
                };
                let confines = confines.map(|folder| match self.unsafe_links {
                    true => Confines::Nowhere,
                    false => Confines::within(&folder, &local),
                });
                let which = self.at.clone().map(Which::At).unwrap_or_default();
                let wanted = Selection { which, range: None };
                let done = shared.persist(connection, true, &mut |remote, moving| {
                    self.check_way(&local)?;
                    let mut place = Place::create(&local, true, existing, interrupts)?;
                    if let Some(confines) = confines {
                        place = place.with_links(confines);
                    }
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
            Job::File(path, local, bytes, _) if json => {
                let object = json!({"path": rooted(path), "bytes": bytes,
                                    "local": local.display().to_string(), "dry_run": true});
                env.json("item", object)?;
            }
            Job::File(_, local, ..) => env.data(&local.display().to_string())?,
            Job::Folder(_) => {}
            Job::Bad(name, error) => env.tell(&advice::failure(&cannot(name), error)),
        }
    }
    let (files, bytes) = (plural(all.files, "file"), size(all.bytes));
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
