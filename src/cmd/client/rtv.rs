//! `palk client rtv PATH...`: retrieves stored files.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::advice;
use super::connection::Connection;
use super::folder::{self, Download};
use super::glob::{self, Meant, Named};
use super::place::{Existing, Place};
use super::rate::{Rate, subject};
use super::retry::Patience;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::{Fetched, fetch_into, fetch_patiently};
use crate::cmd::completions::STORED;
use crate::cmd::env::{Env, Interrupts};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::when;
use crate::core::error::{Code, Error};
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::remote::Selection;
use crate::core::wire::extended::{When, Which};

/// Retrieve files
///
/// A PATH may be a pattern in quotes ("photos/*.jpg", "**/*.txt"): then all files that match it are meant,
/// with -r also folders.
#[derive(Args, Debug)]
#[command(mut_args(folder::only_with_recursive))]
pub(super) struct Rtv {
    /// Stored files, as "inf" shows them, or patterns
    #[arg(required = true, value_name = "PATH", value_hint = STORED)]
    paths: Vec<String>,

    /// Where to: a folder, a file, or "-" for standard output [default: the current folder]
    #[arg(long, value_name = "DIR|FILE|-", allow_hyphen_values = true)]
    to: Option<PathBuf>,

    /// Only these bytes, counted from 0: 0-99, 100- for all from there on, -100 for the last 100
    #[arg(long, value_name = "FROM-TO", allow_hyphen_values = true, requires = "to")]
    range: Option<ByteRange>,

    /// The version with this id, as "versions" shows it
    #[arg(long, value_name = "VERSION", value_parser = parse_version, conflicts_with_all = ["at", "recursive"])]
    version: Option<Which>,

    /// As it was at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,

    /// Refuse if there is a local file already
    #[arg(long)]
    no_replace: bool,

    /// Retrieve folders with everything in them
    #[arg(short, long, conflicts_with_all = ["range", "rate"])]
    recursive: bool,

    /// What becomes of stored symbolic links, and of local ones in the way
    #[arg(long, value_name = "HOW", default_value = "store")]
    links: folder::Links,

    /// Make links that lead out of their folder too
    #[arg(long)]
    unsafe_links: bool,

    #[command(flatten)]
    manner: folder::Manner,

    #[command(flatten)]
    patience: Patience,

    #[command(flatten)]
    rate: Rate,
}

/// Where a stored file goes.
enum Target {
    StandardOutput,
    File(PathBuf),
}

impl Rtv {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        if self.recursive {
            return self.run_recursive(common, env);
        }
        self.check(common, env, self.paths.len())?;
        let named = glob::open(&self.paths, Meant::Files, self.at.as_ref(), common, env)?;
        let (mut connection, named) = named;
        self.check(common, env, named.len())?;
        let mut taken = HashSet::new();
        let plan = |named: Named| {
            let planned = named.path.and_then(|path| self.plan(path, &mut taken, env));
            (named.text, planned)
        };
        let jobs: Vec<_> = named.into_iter().map(plan).collect();
        let mut tally = Tally::new(jobs.len());
        let targets = jobs.iter().filter_map(|(_, job)| match job {
            Ok((_, Target::File(file))) => Some(file.as_path()),
            _ => None,
        });
        let recording = self.rate.open(targets, env)?;
        let existing = if self.no_replace { Existing::Kept } else { Existing::Replaced };
        recording.begin(env);
        let wanted = self.wanted();
        let names: Vec<String> = jobs.iter().map(|(text, _)| name_of(text)).collect();
        for (text, job) in jobs {
            let fetched = job.and_then(|(path, target)| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                let patience = self.patience;
                retrieve(env, connection, &path, &wanted, &target, existing, patience)
            });
            match fetched {
                Ok(fetched) => {
                    let mut lines = vec![fetched.summary(), fetched.digest()];
                    lines.extend(fetched.remark());
                    tally.done(env, &lines, fetched.json())?;
                }
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
                    return Err(Stop::ReaderGone);
                }
                Err(error) => {
                    let why = advice::failure(&format!("cannot retrieve {text}"), &error);
                    tally.failed(env, &text, why)?;
                }
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        recording.finish(&subject(&names), "Retrieved", env)?;
        tally.finish(env)
    }

    fn run_recursive(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let to = self.to.as_deref().unwrap_or(Path::new("."));
        if to == Path::new("-") {
            let text = "a folder cannot go to standard output";
            return Err(Failure::new(Code::Usage, text)
                .hint("Name a folder with --to DIR.")
                .into());
        }
        let to = if to == Path::new(".") { env.at(Path::new("")) } else { env.at(to) };
        if to.exists() && !to.is_dir() {
            let text = format!("{} is not a folder", to.display());
            let hint = "Nothing was retrieved. Name a folder with --to DIR.";
            return Err(Failure::new(Code::LocalFile, text).hint(hint).into());
        }
        let existing = if self.no_replace { Existing::Kept } else { Existing::Replaced };
        let (paths, manner) = (&self.paths, self.manner);
        let patience = self.patience;
        let keeps_paths = false;
        let at = self.at.clone();
        let (links, unsafe_links) = (self.links, self.unsafe_links);
        let download = Download {
            paths,
            at,
            to,
            keeps_paths,
            existing,
            links,
            unsafe_links,
            manner,
            patience,
        };
        folder::download(&download, Connection::open(common, env)?, env)
    }

    fn wanted(&self) -> Selection {
        let at = self.at.clone().map(Which::At);
        let which = self.version.clone().or(at).unwrap_or_default();
        Selection { which, range: self.range }
    }

    fn check(&self, common: &Common, env: &Env, files: usize) -> Result<(), Failure> {
        let Some(to) = &self.to else { return Ok(()) };
        if to == Path::new("-") {
            if common.json {
                let text = "standard output cannot be the file and the JSON";
                return Err(Failure::new(Code::Usage, text).hint("Name a file with --to FILE."));
            }
        } else if files > 1 && !is_folder(to, env) {
            let text = format!("{} is not a folder, but several files go there", to.display());
            return Err(
                Failure::new(Code::Usage, text).hint("Make it first, or end it with \"/\".")
            );
        }
        Ok(())
    }

    fn plan(
        &self,
        path: FilePath,
        taken: &mut HashSet<PathBuf>,
        env: &Env,
    ) -> Result<(FilePath, Target), Error> {
        let file = match &self.to {
            Some(to) if to == Path::new("-") => return Ok((path, Target::StandardOutput)),
            Some(to) if !is_folder(to, env) => env.at(to),
            Some(to) => env.at(to).join(path.name()),
            None => env.at(Path::new(path.name())),
        };
        if !taken.insert(file.clone()) {
            let text = format!("another of these files is written to {} already", file.display());
            return Err(Error::other(Code::Usage, text));
        }
        Ok((path, Target::File(file)))
    }
}

fn name_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn parse_version(text: &str) -> Result<Which, String> {
    let bad = "not a version's id: say its first digits, as \"palk client versions\" shows them";
    Which::version(text).map_err(|_| bad.to_owned())
}

/// A folder that is there, or is named as one and will be made.
fn is_folder(to: &Path, env: &Env) -> bool {
    to.as_os_str().as_encoded_bytes().ends_with(b"/") || env.at(to).is_dir()
}

fn retrieve(
    env: &mut Env,
    connection: &mut Connection,
    path: &FilePath,
    wanted: &Selection,
    target: &Target,
    existing: Existing,
    patience: Patience,
) -> Result<Fetched, Error> {
    match target {
        Target::StandardOutput => {
            let mut out = env.out();
            fetch_into(env, connection.remote()?, path, wanted, &mut out)
        }
        Target::File(file) => {
            // A pipe may have to wait for its reader, and so may the server for a new connection.
            let mut first = Some(Place::create(file, true, existing, env.interrupts())?);
            let mut place = |interrupts: &Interrupts| match first.take() {
                Some(place) => Ok(place),
                None => Place::create(file, true, existing, interrupts),
            };
            fetch_patiently(env, connection, path, wanted, &mut place, patience)
        }
    }
}
