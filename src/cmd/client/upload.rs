//! Local files on their way to the server: what the verbs `store` and `update` share.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::advice;
use super::connection::Connection;
use super::folder;
use super::local::Source;
use super::rate::{Rate, subject};
use super::retry::Patience;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::send_patiently;
use crate::cmd::completions::STORED;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::Precondition;

/// Which files, and where to.
#[derive(Args, Debug)]
pub(super) struct Upload {
    /// Local files; "-" is standard input
    #[arg(required_unless_present = "command", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Store a command's output, if the command ends well; no shell is used
    #[arg(long, value_name = "CMD", conflicts_with = "files", requires = "name")]
    command: Option<String>,

    /// The folder to store them in [default: your top folder]
    #[arg(long, value_name = "FOLDER", value_hint = STORED)]
    to: Option<String>,

    /// The name to store the file under (with one FILE), with folders before it if you like [default:
    /// its own]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,

    /// Store standard input, a pipe or a command's output even if nothing comes from it
    #[arg(long)]
    allow_empty: bool,

    #[command(flatten)]
    patience: Patience,

    #[command(flatten)]
    rate: Rate,
}

/// What is wanted of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// The verb, as it was typed.
    pub(super) word: &'static str,
    /// What has to be there.
    pub(super) precondition: Precondition,
}

impl Wish {
    /// A file for which it was not fulfilled, with what to do.
    fn failed(self, file: &str, error: &Error) -> Failure {
        if error.code() == Code::Damaged {
            let failure = Failure::of(&format!("cannot {} {file}", self.word), error);
            return failure.hint("Store it again: what is there may not be what was sent.");
        }
        let own: &[_] = match self.precondition {
            Precondition::Any | Precondition::Absent => &[],
            Precondition::Present => {
                &[(Code::NoSuchFile, NOT_THERE), (Code::NoSuchFolder, NOT_THERE)]
            }
            Precondition::Unchanged(_) => &[(Code::Changed, CHANGED)],
        };
        advice::own_or_usual(&format!("cannot {} {file}", self.word), error, own)
    }
}

const NOT_THERE: &str =
    "Nothing was stored: update makes no new files. For the first time:  palk client store";

const CHANGED: &str = "Nothing was stored. Retrieve what is there (rtv --json names its version), put \
                       both together, then say that version.";

/// A file that can be stored as far as this side can tell.
struct Job {
    /// Opened only where it is the only one: a thousand open files are too many for a process, and
    /// standard input may take longer than a server waits for a request.
    source: Option<Source>,
    path: FilePath,
}

impl Upload {
    pub(super) fn run(mut self, wish: Wish, common: &Common, env: &mut Env) -> Result<(), Stop> {
        self.check(wish, common)?;
        if self.command.is_some() {
            self.files = self.name.iter().map(PathBuf::from).collect(); // what it is called
        }
        let mut taken = HashSet::new();
        let mut jobs = Vec::new();
        for file in &self.files {
            jobs.push((file, self.plan(wish, file, &mut taken, env)));
        }
        let mut tally = Tally::new(jobs.len());
        let names: Vec<String> = jobs.iter().map(|(file, job)| name_of(file, job)).collect();
        let recording = self.rate.open(self.files.iter().map(PathBuf::as_path), env)?;
        // Where nothing can be sent, nobody is asked for a password.
        let mut connection = match jobs.iter().any(|(_, job)| job.is_ok()) {
            true => Some(Connection::open(common, env)?),
            false => None,
        };
        recording.begin(env);
        for (file, job) in jobs {
            let sent = job.and_then(|job| {
                let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
                let mut source = match job.source {
                    Some(source) => source,
                    None => self.open(file, env)?,
                };
                let (path, precondition) = (&job.path, wish.precondition);
                let patience = self.patience;
                send_patiently(env, connection, &mut source, path, precondition, patience)
            });
            match sent {
                Ok(sent) => {
                    let mut lines = vec![sent.summary()];
                    lines.extend(common.verbose.then(|| sent.detail()));
                    tally.done(env, &lines, sent.json())?;
                }
                Err(error) => {
                    let file = file.display().to_string();
                    tally.failed(env, &file, wish.failed(&file, &error))?;
                }
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        recording.finish(&subject(&names), "Stored", env)?;
        tally.finish(env)
    }

    /// Stores folders with everything in them, and files beside them.
    pub(super) fn run_recursive(
        self,
        wish: Wish,
        filter: &folder::Filter,
        manner: folder::Manner,
        common: &Common,
        env: &mut Env,
    ) -> Result<(), Stop> {
        self.check(wish, common)?;
        if self.files.iter().any(|file| file == Path::new("-")) {
            let text = "standard input is no folder";
            return Err(Failure::new(Code::Usage, text).hint("Store it without -r.").into());
        }
        let to = FolderPath::parse_rooted(self.to.as_deref().unwrap_or_default())
            .map_err(|why| wish.failed("anything", &why.into()))?;
        let upload = folder::Upload {
            files: &self.files,
            to,
            name: self.name.as_deref(),
            precondition: wish.precondition,
            filter,
            manner,
            patience: self.patience,
        };
        folder::upload(&upload, |env| Connection::open(common, env), env)
    }

    fn check(&self, wish: Wish, common: &Common) -> Result<(), Failure> {
        if matches!(wish.precondition, Precondition::Unchanged(_)) && self.files.len() > 1 {
            let text = "--if-version gives one version, but there are several files";
            let hint = format!("Take them one by one:  palk client {}", wish.word);
            return Err(Failure::new(Code::Usage, text).hint(hint));
        }
        if self.name.is_some() && self.files.len() > 1 {
            let text = "--as gives one name, but several files are to be stored";
            return Err(Failure::new(Code::Usage, text).hint("Store them one by one."));
        }
        if common.password_stdin && self.files.iter().any(|file| file == Path::new("-")) {
            let text = "standard input cannot be the file and the password";
            return Err(Failure::new(Code::Usage, text).hint("Use --password-file FILE."));
        }
        Ok(())
    }

    /// Finds everything wrong that can be found without the server.
    fn plan(
        &self,
        wish: Wish,
        file: &Path,
        taken: &mut HashSet<FilePath>,
        env: &mut Env,
    ) -> Result<Job, Error> {
        let path = self.stored_path(file)?;
        if !taken.insert(path.clone()) {
            let text = format!("another of these files is stored as {path} already");
            return Err(Error::other(Code::Usage, text));
        }
        if wish.word == "store" && env.at(file).is_dir() {
            let text = "it is a folder; with everything in it:  store -r";
            return Err(Error::other(Code::LocalFile, text));
        }
        if self.files.len() == 1 {
            return Ok(Job { source: Some(self.open(file, env)?), path });
        }
        Source::check(file, env)?;
        Ok(Job { source: None, path })
    }

    fn open(&self, file: &Path, env: &mut Env) -> Result<Source, Error> {
        let source = match &self.command {
            Some(command) => Source::of_command(command)?,
            None => Source::open(file, env)?,
        };
        if source.is_empty_stream && !self.allow_empty {
            let advice = "Nothing was stored. If an empty file is meant:  --allow-empty";
            return Err(Error::advised(Code::LocalFile, "nothing came from it", advice));
        }
        Ok(source)
    }

    fn stored_path(&self, file: &Path) -> Result<FilePath, Error> {
        let folder = FolderPath::parse_rooted(self.to.as_deref().unwrap_or_default())?;
        if let Some(name) = &self.name {
            return Ok(match folder.is_top() {
                true => FilePath::parse_rooted(name)?,
                false => FilePath::parse_rooted(&format!("{}/{name}", folder.as_str()))?,
            });
        }
        if file == Path::new("-") {
            let text = "standard input has no name, give it one with --as NAME";
            return Err(Error::other(Code::Usage, text));
        }
        let Some(name) = file.file_name() else {
            return Err(Error::other(Code::LocalFile, "it is a folder, only files can be stored"));
        };
        let text = "its name is not UTF-8 text, give it another with --as NAME";
        let name = name.to_str().ok_or_else(|| Error::other(Code::Usage, text))?;
        folder.join(name).map_err(|why| {
            let text = format!("{why}; give it another name with --as NAME");
            Error::other(Code::BadPath, text)
        })
    }
}

/// What a file is called where it is stored, or here if it cannot be.
fn name_of(file: &Path, job: &Result<Job, Error>) -> String {
    match job {
        Ok(job) => job.path.name().to_owned(),
        Err(_) => file.display().to_string(),
    }
}
