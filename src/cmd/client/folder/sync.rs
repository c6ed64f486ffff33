//! `sync`: makes a stored tree what a local one is, or a local one what a stored one is. Only what differs
//! travels.
//!
//! ```text
//!   compare ──> plan ──> ask ──> what is in the way goes ──> files travel ──> what is too many goes
//! ```
//!
//! Invariants:
//! - Nothing is deleted unless that was asked for, and what only the target has goes last, and only if
//!   nothing has failed until then: a source that cannot be read is not an empty one.
//! - Nothing is written or deleted through a symbolic link in the local tree, unless links are followed;
//!   then nothing is deleted through one.

mod delete;

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use self::delete::Deleted;
use super::super::advice;
use super::super::connection::{Another, Connection};
use super::super::place::Existing;
use super::super::retry::{Patience, Rule, persist};
use super::super::settings::Common;
use super::compare::By;
use super::count::Count;
use super::plan::{Direction, NewTime, Plan, WantedKind, counted_extra};
use super::pool::{self, Shared};
use super::sides::{Listing, Obstacle, Top, local_path, obstacle};
use super::trees::Trees;
use super::walk::{LeftOut, Links};
use super::{Download, Filter, Manner, Upload, download, upload};
use crate::cmd::confirm::{confirm, unconfirmed};
use crate::cmd::env::{Env, plural, size};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error, Result};
use crate::core::io::attributes::give;
use crate::core::io::reason;
use crate::core::path::{FolderPath, printable};
use crate::core::types::{FileAttributes, Precondition};

/// What is to be the same, and how.
#[derive(Debug)]
pub(in super::super) struct Sync<'a> {
    pub(in super::super) local: &'a Path,
    pub(in super::super) stored: FolderPath,
    pub(in super::super) direction: Direction,
    /// Digests decide where sizes are the same, whatever the times are.
    pub(in super::super) checksum: bool,
    pub(in super::super) delete: bool,
    pub(in super::super) yes: bool,
    /// Links that are retrieved may lead out of the folder.
    pub(in super::super) unsafe_links: bool,
    pub(in super::super) filter: &'a Filter,
    pub(in super::super) manner: Manner,
    pub(in super::super) patience: Patience,
}

/// Does it.
///
/// # Errors
/// [`Code::SomeFailed`] if something could not be done; [`Code::Usage`] if deleting is not agreed to and
/// nobody can be asked; those of connecting and listing.
pub(in super::super) fn sync(
    sync: &Sync<'_>,
    common: &Common,
    env: &mut Env,
) -> std::result::Result<(), Stop> {
    if sync.delete && !sync.yes && !sync.manner.dry_run && !env.can_ask() {
        let option = "--delete --yes   To look first:  --delete -n";
        return Err(unconfirmed("delete what only the target has", option).into());
    }
    let trees = Trees::open(sync.local, &sync.stored, sync.filter, env)?;
    if sync.direction == Direction::Up {
        trees.expect_local()?;
    }
    let mut connection = Connection::open(common, env)?;
    let listing = sync.list(&mut connection, env).map_err(|error| trees.failure(&error))?;
    trees.expect(&listing, sync.direction == Direction::Up)?;
    let tops = (trees.local_top, listing.top);
    let mut plan = Plan::new(sync.direction, sync.delete);
    let by = if sync.checksum { By::Digest } else { By::Time };
    let bar = env.work_bar("Comparing");
    let aside = trees.compare(listing, by, bar, &mut |verdict, _| {
        plan.take(verdict);
        Ok(())
    })?;
    plan.bad.extend(aside.bad);
    if sync.direction == Direction::Down {
        plan.extra.retain(|own| !is_at_or_below(&own.path, &aside.stored_links));
    }
    if plan.wanted.is_empty() && matches!(tops, (Top::Missing, _) | (_, Top::Missing)) {
        plan.want(String::new(), WantedKind::Folder, false);
    }
    let mut run = Run { sync, trees, plan, left_out: aside.left_out };
    run.keep_off_links();
    if sync.manner.dry_run {
        return run.tell_planned(env);
    }
    if run.plan.is_empty() {
        return run.tell_idle(env);
    }
    run.ask(env)?;
    run.run(connection, env)
}

impl Sync<'_> {
    /// What is stored, patiently.
    fn list(&self, connection: &mut Connection, env: &mut Env) -> Result<Listing> {
        let rule = Rule { retry_for: self.patience.retry_for, is_harmless: true };
        let mut waits = |error: &Error, is_first: bool| {
            if is_first {
                env.note(&format!("The server is waited for: {error}"));
            }
            true
        };
        persist(connection, rule, &mut waits, &mut |remote, _| Listing::take(remote, &self.stored))
    }
}

/// One run, once it is known what is to be done.
struct Run<'a> {
    sync: &'a Sync<'a>,
    trees: Trees<'a>,
    plan: Plan,
    left_out: LeftOut,
}

impl Run<'_> {
    /// Takes out of the plan what would be done through a link, or to something that was left out.
    fn keep_off_links(&mut self) {
        let (root, plan) = (&self.trees.root, &mut self.plan);
        let links = self.sync.filter.links;
        let is_followed = links == Links::Follow;
        let bad = &mut plan.bad;
        plan.extra.retain(|own| match obstacle(root, &own.path, links) {
            None => true,
            Some(what) if self.sync.direction == Direction::Down && is_followed => {
                bad.push((local_path(root, &own.path), what.error()));
                false
            }
            // What is left out here is not only there.
            Some(_) => false,
        });
        if self.sync.direction == Direction::Down {
            plan.refuse(|wanted| {
                let what = obstacle(root, &wanted.path, links)?;
                let is_meant = is_followed && what == Obstacle::Link;
                (!is_meant).then(|| (local_path(root, &wanted.path), what.error()))
            });
        }
    }

    /// As it was typed.
    fn target_shown(&self) -> String {
        match self.sync.direction {
            Direction::Up => printable(&self.trees.stored_shown()),
            Direction::Down => printable(&self.sync.local.to_string_lossy()),
        }
    }

    /// `2 files and 1 folder`
    fn extra_counted(&self) -> String {
        let folders = self.plan.extra.iter().filter(|own| own.is_folder).count();
        counted_extra(self.plan.extra.len() - folders, folders)
    }

    /// Makes sure that what only the target has is to go.
    fn ask(&self, env: &mut Env) -> std::result::Result<(), Stop> {
        if self.plan.extra.is_empty() || self.sync.yes {
            return Ok(());
        }
        let (what, target) = (self.extra_counted(), self.target_shown());
        let how = match self.sync.direction {
            Direction::Up => "",
            Direction::Down => ", for ever",
        };
        let question = format!("Delete {what} that only {target} has{how} (yes or no)? ");
        let unasked = unconfirmed("delete what only the target has", "--delete --yes");
        let refused = Failure::new(Code::Interrupted, "Nothing was changed.");
        confirm(env, &question, unasked, refused)
    }

    fn tell_planned(self, env: &mut Env) -> std::result::Result<(), Stop> {
        let Plan { wanted, sum, extra, bad, same, only_time, .. } = &self.plan;
        let json = env.manner().json;
        let shown = |path: &str, is_folder: bool| {
            format!("{}{}", self.trees.shown(path), if is_folder { "/" } else { "" })
        };
        for own in wanted {
            let (sign, action, bytes) = match own.kind {
                WantedKind::New(bytes) => ('+', "new", Some(bytes)),
                WantedKind::Changed(bytes) => ('~', "change", Some(bytes)),
                WantedKind::Folder => ('+', "folder", None),
            };
            match json {
                true => env.json(
                    "item",
                    json!({"action": action, "path": own.path,
                                                "bytes": bytes, "dry_run": true}),
                )?,
                false => env.data(&format!("{sign} {}", shown(&own.path, bytes.is_none())))?,
            }
        }
        for own in extra {
            match json {
                true => env.json(
                    "item",
                    json!({"action": "delete", "path": own.path,
                                                "dry_run": true}),
                )?,
                false => env.data(&format!("- {}", shown(&own.path, own.is_folder)))?,
            }
        }
        for (path, error) in bad {
            let what = format!("cannot bring {} over", path.display());
            env.tell(&advice::failure(&what, error));
        }
        let (files, bytes) = (plural(sum.files, "file"), size(sum.bytes));
        let verb = match self.sync.direction {
            Direction::Up => "stored",
            Direction::Down => "retrieved",
        };
        env.note(&format!("Nothing was changed: {files}, {bytes}, would be {verb}."));
        if !extra.is_empty() {
            env.note(&format!("{} would be deleted.", self.extra_counted()));
        }
        self.lines().iter().for_each(|line| env.note(line));
        if !bad.is_empty() {
            let text = format!("{} could not be looked at or written", bad.len());
            return Err(Failure::new(Code::SomeFailed, text)
                .hint("The lines above say why.")
                .into());
        }
        let result = json!({"code": 0, "dry_run": true, "files": sum.files, "bytes": sum.bytes,
                            "delete": extra.len(), "same": same, "only_time": only_time});
        if json { env.json("result", result) } else { Ok(()) }
    }

    fn tell_idle(&self, env: &mut Env) -> std::result::Result<(), Stop> {
        let verb = match self.sync.direction {
            Direction::Up => "store",
            Direction::Down => "retrieve",
        };
        env.note(&format!("Nothing to {verb}"));
        self.lines().iter().for_each(|line| env.note(line));
        let mut result = self.object(Deleted::default());
        for key in ["code", "done", "failed", "bytes"] {
            result[key] = json!(0);
        }
        if env.manner().json { env.json("result", result) } else { Ok(()) }
    }

    /// The same for programs.
    fn object(&self, deleted: Deleted) -> Value {
        json!({"same": self.plan.same, "only_time": self.plan.only_time,
               "deleted_files": deleted.files, "deleted_folders": deleted.folders,
               "links_left_out": self.left_out.links, "others_left_out": self.left_out.others})
    }

    /// What is said besides what was done.
    fn lines(&self) -> Vec<String> {
        let Plan { same, only_time, only_target, .. } = self.plan;
        let mut lines = Vec::new();
        if same > 0 {
            lines.push(format!("{} the same already", are(same)));
        }
        if only_time > 0 {
            let how = match (self.sync.direction, self.plan.times.is_empty()) {
                (Direction::Down, false) => ", which becomes the stored one",
                (Direction::Up, false) => ", which becomes the local one",
                (_, true) => "; nothing travels for that",
            };
            lines
                .push(format!("{} the same but for the time of modification{how}", are(only_time)));
        }
        if only_target > 0 && !self.sync.delete {
            let target = self.target_shown();
            lines.push(format!(
                "{only_target} only in {target}; --delete removes what is only there"
            ));
        }
        lines.extend(self.left_out.lines());
        lines
    }

    fn run(mut self, connection: Connection, env: &mut Env) -> std::result::Result<(), Stop> {
        let bandwidth = self.sync.patience.bandwidth();
        let (words, limiter) = match self.sync.direction {
            Direction::Up => (upload::WORDS, bandwidth.up()),
            Direction::Down => (download::WORDS, bandwidth.down()),
        };
        let again = connection.another();
        let shared = Shared::new(self.sync.patience, limiter);
        let in_the_way = match self.plan.bad.is_empty() {
            true => self.plan.split_in_the_way(),
            false => Vec::new(),
        };
        let mut count = Count::begin(words, self.plan.sum, env);
        for (path, error) in std::mem::take(&mut self.plan.bad) {
            let shown = path.display().to_string();
            let why = advice::failure(&format!("cannot bring {shown} over"), &error);
            count.failed(env, &shown, 0, why)?;
        }
        let mut deleted = Deleted::default();
        self.delete(&in_the_way, &again, &shared, &mut deleted, &mut count, env)?;
        self.transfer(connection, &shared, &mut count, env)?;
        let mut lines = self.lines();
        lines.extend(self.set_times(&again, &shared, &mut count, env)?);
        match count.has_failed() && !self.plan.extra.is_empty() {
            false => {
                self.delete(&self.plan.extra, &again, &shared, &mut deleted, &mut count, env)?
            }
            true => {
                lines.push(format!("{} not deleted, since something failed", self.extra_counted()))
            }
        }
        lines.extend(deleted.line(self.sync.direction));
        count.finish(env, &lines, self.object(deleted))
    }

    /// Brings over what is wanted.
    fn transfer(
        &self,
        connection: Connection,
        shared: &Shared,
        count: &mut Count,
        env: &mut Env,
    ) -> std::result::Result<(), Stop> {
        let Sync { filter, manner, patience, .. } = *self.sync;
        let most = usize::from(manner.transfers).min(self.plan.wanted.len()).max(1);
        let (root, stored) = (&self.trees.root, &self.sync.stored);
        let wanted = self.plan.wanted.iter();
        match self.sync.direction {
            Direction::Up => {
                if !patience.no_resume {
                    env.interrupts().note_resumable();
                }
                let (to, precondition) = (stored.clone(), Precondition::Any);
                let all =
                    Upload { files: &[], to, name: None, precondition, filter, manner, patience };
                let jobs = wanted.map(|own| {
                    let local = local_path(root, &own.path);
                    match (upload::join(stored, &own.path), own.kind) {
                        (Err(error), _) => upload::Job::Bad(local, error),
                        (Ok(at), WantedKind::Folder) => upload::Job::Folder(at.as_folder()),
                        (Ok(at), WantedKind::New(bytes) | WantedKind::Changed(bytes))
                            if own.is_link =>
                        {
                            upload::Job::Link(local, at, bytes)
                        }
                        (Ok(at), WantedKind::New(bytes) | WantedKind::Changed(bytes)) => {
                            upload::Job::File(local, at, bytes)
                        }
                    }
                });
                let work = |connection: &mut Connection, job| all.work(connection, shared, job);
                pool::run(connection, most, shared, jobs, &work, &mut |outcome| {
                    count.follow(shared, outcome, env, tell_stored)
                })
            }
            Direction::Down => {
                let all = Download {
                    paths: &[],
                    at: None,
                    to: root.clone(),
                    keeps_paths: false,
                    existing: Existing::Replaced,
                    links: filter.links,
                    unsafe_links: self.sync.unsafe_links,
                    manner,
                    patience,
                };
                let jobs = wanted.map(|own| {
                    let local = local_path(root, &own.path);
                    match (upload::join(stored, &own.path), own.kind) {
                        (_, WantedKind::Folder) => download::Job::Folder(local),
                        (Err(error), _) => download::Job::Bad(own.path.clone(), error),
                        (Ok(at), WantedKind::New(bytes) | WantedKind::Changed(bytes)) => {
                            let confines = own.is_link.then(|| root.clone());
                            download::Job::File(at, local, bytes, confines)
                        }
                    }
                });
                all.run(connection, shared, jobs.collect(), count, env)
            }
        }
    }

    /// Gives files of the target that are the same otherwise the times of the source. Gives what is to be
    /// said of it.
    fn set_times(
        &self,
        again: &Another,
        shared: &Shared,
        count: &mut Count,
        env: &mut Env,
    ) -> std::result::Result<Option<String>, Stop> {
        let times = self.plan.times.iter();
        if times.len() == 0 {
            return Ok(None);
        }
        let mut shared_with_copies = 0_u64;
        let mut tell = |count: &mut Count, (own, done): (&NewTime, Result<()>), env: &mut Env| {
            let Err(error) = done else { return Ok(()) };
            if self.sync.direction == Direction::Up && error.code() == Code::NotAllowed {
                shared_with_copies += 1;
                return Ok(());
            }
            let shown = self.trees.shown(&own.path);
            let why = advice::failure(&format!("cannot set the time of {shown}"), &error);
            count.failed(env, &shown, 0, why)
        };
        match self.sync.direction {
            Direction::Down => {
                for own in times {
                    tell(count, (own, self.set_local_time(own)), env)?;
                }
            }
            Direction::Up => {
                let work = |connection: &mut Connection, own| {
                    (own, self.set_stored_time(own, connection, shared))
                };
                let most = usize::from(self.sync.manner.transfers).min(times.len());
                let what = "cannot set the times of stored files";
                let opened = again.clone().open().map_err(|error| advice::failure(what, &error))?;
                pool::run(opened, most, shared, times, &work, &mut |outcome| {
                    count.follow(shared, outcome, env, &mut tell)
                })?;
            }
        }
        Ok(match shared_with_copies {
            0 => None,
            1 => {
                Some("1 file keeps its time, since it has copies that would get it too".to_owned())
            }
            n => Some(format!(
                "{n} files keep their times, since they have copies that would get them too"
            )),
        })
    }

    fn set_local_time(&self, own: &NewTime) -> Result<()> {
        let attributes = FileAttributes { modified_ms: Some(own.ms), kind: None };
        let set = File::open(local_path(&self.trees.root, &own.path))
            .and_then(|file| give(attributes, &file));
        set.map_err(|error| Error::other(Code::LocalFile, reason(&error)))
    }

    fn set_stored_time(
        &self,
        own: &NewTime,
        connection: &mut Connection,
        shared: &Shared,
    ) -> Result<()> {
        let path = upload::join(&self.sync.stored, &own.path)?;
        let attributes = FileAttributes { modified_ms: Some(own.ms), kind: None };
        shared.persist(connection, true, &mut |remote, _| {
            remote.set_attributes(&path, own.version, attributes)
        })
    }
}

/// Is this one of these paths, or does it lie below one?
fn is_at_or_below(path: &str, paths: &HashSet<String>) -> bool {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    !paths.is_empty() && ends.into_iter().any(|end| paths.contains(&path[..end]))
}

/// `42 files are`
fn are(files: u64) -> String {
    format!("{} {}", plural(files, "file"), if files == 1 { "is" } else { "are" })
}

const IN_THE_WAY: &str =
    "Nothing was changed there. With --delete, what only the target has gives way.";

fn tell_stored(
    count: &mut Count,
    outcome: upload::Outcome,
    env: &mut Env,
) -> std::result::Result<(), Stop> {
    match &outcome.done {
        Err(error) if error.code() == Code::NotAllowed => {
            let shown = outcome.name.display().to_string();
            let why = Failure::of(&format!("cannot store {shown}"), error).hint(IN_THE_WAY);
            count.failed(env, &shown, outcome.bytes, why)
        }
        _ => upload::tell(count, outcome, env),
    }
}
