//! The interactive session: the server's questions, a menu, and operations one by one.
//!
//! ```text
//!   connect ──▶ questions ──welcome──▶ operations ──LGO──▶ questions (same connection)
//!      ▲            │                     │  │
//!      │         end of input, Ctrl-C     │  └─ end of input, Ctrl-C: leave
//!      └──── connection lost (terminal) ──┘
//! ```
//!
//! Where user and password are given nothing is asked, at the beginning and after a lost connection.
//! A program that runs a session inside itself adds verbs of its own ([`Extra`]).
//!
//! On a terminal a failed operation is told and the session goes on. With piped input the first
//! failure ends it with its exit status, since the next lines were written for another outcome.

mod files;

use std::path::{Path, PathBuf};

use clap::Args;

pub(crate) use self::files::LocalFiles;
use self::files::Named;
use super::connection::{by_saved, sign_in_failed};
use super::local::Source;
use super::operation::{Operation, Verb, WORDS, split};
use super::place::Place;
use super::settings::{Common, Settings};
use super::transfer::{fetch, send};
use super::{advice, inf, password};
use crate::cmd::env::{Asked, Completions, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, printable};
use crate::core::remote::{Remote, Said, is_secret};
use crate::core::types::Precondition;

const BANNER: &str = "\
-----------------------------------------------------------------------
| Hello client, you have connected to Server Palk.                      |
| All files need to be inside a directory inside the c_files directory! |
-----------------------------------------------------------------------";

const MENU: &str = "\
Enter the operation you want to send to the server from the list below
  STR - Store a file on the server
  RTV - Retrieve a file from the server
  DEL - Delete a file from the server
  INF - See which files you have stored on the server
  LGO - Logout from the server";

const PROMPT: &str = "~ ";

/// The options of the session.
#[derive(Args, Clone, Debug)]
pub(super) struct Session {
    /// Where the session's local files are
    #[arg(long, value_name = "DIR", env = "PALK_FILES", default_value = "c_files")]
    files: PathBuf,
}

/// What a session can do beyond the specified operations.
pub(crate) trait Extra {
    /// The words that a line may begin with, for Tab.
    fn words(&self) -> &'static [&'static str];

    /// What the menu says of them.
    fn menu(&self) -> &'static str;

    /// Does what a line asks for; nothing if it begins with none of the words.
    fn operate(
        &mut self,
        words: &[String],
        remote: &mut Remote,
        env: &mut Env,
    ) -> Option<Result<(), Stop>>;
}

/// How the conversation with the user goes on.
enum Next {
    /// Signed in.
    Operations,
    /// Signed out: to the questions.
    Questions,
    /// The connection is gone.
    Lost,
    /// The user is leaving.
    Leave,
}

/// A session under way.
struct Running<'a> {
    env: &'a mut Env,
    files: LocalFiles,
    settings: Settings,
    remote: Remote,
    extra: Option<&'a mut dyn Extra>,
}

/// Runs a session's operations on a connection on which somebody has signed in already, until the
/// user leaves.
///
/// # Errors
/// Those of the session.
pub(crate) fn resume(
    remote: Remote,
    settings: Settings,
    files: LocalFiles,
    extra: &mut dyn Extra,
    env: &mut Env,
) -> Result<(), Stop> {
    let mut running = Running { env, files, settings, remote, extra: Some(extra) };
    running.offer_completions();
    match running.operations()? {
        Next::Leave => Ok(()),
        next => {
            let said = running.after(&next)?;
            running.run(said)
        }
    }
}

impl Session {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        if common.no_input && env.input_is_terminal() {
            let failure = Failure::new(Code::Usage, "the session asks questions");
            return Err(failure.hint("Leave out --no-input, or name a verb.").into());
        }
        let mut settings = Settings::resolve(common, env)?;
        let saved = settings.saved(env)?;
        let known = saved.is_some() || (settings.user.is_some() && settings.password.is_some());
        settings.user = settings.user.or(saved.as_ref().map(|saved| saved.user.clone()));
        let (remote, said) = if known {
            settings.reach(env, |target| Remote::connect(target).map(|remote| (remote, None)))?
        } else {
            let ask =
                |target| Remote::connect_and_ask(target).map(|(remote, said)| (remote, Some(said)));
            settings.reach(env, ask)?
        };
        let files = env.at(&self.files);
        make_folder(&files)?;
        let files = LocalFiles::Mirrored(files);
        let mut running = Running { env, files, settings, remote, extra: None };
        running.offer_completions();
        running.env.data(BANNER)?;
        running.run(said)
    }
}

impl Running<'_> {
    /// Runs until the user leaves, beginning with what the server asks, or with nothing to ask
    /// where user and password are known.
    fn run(&mut self, mut said: Option<Said>) -> Result<(), Stop> {
        loop {
            let next = match said {
                Some(said) => self.sign_in(said)?,
                None => self.sign_in_as_given()?,
            };
            if let Next::Leave = next {
                return Ok(());
            }
            self.menu()?;
            let next = self.operations()?;
            if let Next::Leave = next {
                return Ok(());
            }
            said = self.after(&next)?;
        }
    }

    /// Connects again or asks the server to ask again; nothing where nobody need be asked.
    fn after(&mut self, next: &Next) -> Result<Option<Said>, Stop> {
        let known = self.settings.user.is_some()
            && (self.settings.password.is_some() || self.settings.saved(self.env)?.is_some());
        let once = self.settings.password == Some(password::Source::StandardInput);
        let done = match next {
            Next::Lost if known && !once => {
                self.env.note("The connection was lost.");
                Remote::connect(self.settings.target()).map(|remote| {
                    self.remote = remote;
                    None
                })
            }
            Next::Lost => {
                self.env.note("The connection is lost. Sign in again:");
                self.questions().map(Some)
            }
            _ => self.questions().map(Some),
        };
        Ok(done.map_err(|error| self.settings.not_reached(&error))?)
    }

    fn menu(&mut self) -> Result<(), Stop> {
        self.env.data(MENU)?;
        match &self.extra {
            Some(extra) => self.env.data(extra.menu()),
            None => Ok(()),
        }
    }

    fn offer_completions(&mut self) {
        let extra = self.extra.as_ref().map_or(&[][..], |extra| extra.words());
        self.env.set_completions(Completions {
            verbs: WORDS.iter().chain(extra).copied().collect(),
            local_verbs: vec!["str", "put"],
            folder: self.files.folder().map(Path::to_owned),
        });
    }

    /// Has the server ask again, on this connection or, if it is lost, on another.
    fn questions(&mut self) -> Result<Said, Error> {
        if self.remote.is_usable() {
            match self.remote.ask() {
                // A server that closes after a sign-out is as good as one that waits.
                Err(error) if error.code() == Code::Unreachable => {}
                other => return other,
            }
        }
        let (remote, said) = Remote::connect_and_ask(self.settings.target())?;
        self.remote = remote;
        Ok(said)
    }

    /// Shows what the server says and sends what the user answers until the user is in.
    fn sign_in(&mut self, mut said: Said) -> Result<Next, Stop> {
        loop {
            if !said.text.is_empty() {
                self.env.data(&printable_lines(&said.text))?;
            }
            if said.is_welcome() {
                return Ok(Next::Operations);
            }
            if said.questions.is_empty() {
                return Err(Failure::new(Code::SignIn, "the server did not let you in").into());
            }
            let Some(answers) = self.ask_all(&said)? else {
                return self.leave_unanswered(&said);
            };
            said = self.remote.answer(&answers).map_err(|error| advice::plain(&error))?;
        }
    }

    fn sign_in_as_given(&mut self) -> Result<Next, Stop> {
        let user = self.settings.user.clone().unwrap_or_default();
        if let Some(saved) = self.settings.saved(self.env)?
            && by_saved(&mut self.remote, &self.settings, &saved, self.env)?
        {
            self.env.data(&format!("Signed in as {}", printable(&user)))?;
            return Ok(Next::Operations);
        }
        let password = self.settings.password(&user, self.env)?;
        let failed = |error| sign_in_failed(&user, &error);
        self.remote.sign_in(&user, &password).map_err(failed)?;
        self.env.data(&format!("Signed in as {}", printable(&user)))?;
        Ok(Next::Operations)
    }

    fn ask_all(&mut self, said: &Said) -> Result<Option<Vec<String>>, Stop> {
        let mut answers = Vec::new();
        for question in &said.questions {
            let asked = if is_secret(question) { Asked::Secret } else { Asked::Answer };
            let Some(answer) = self.env.line(&printable(question), asked)? else { return Ok(None) };
            answers.push(answer);
        }
        Ok(Some(answers))
    }

    /// The input ended at the questions. A script whose sign-in was refused must not look like one
    /// that worked.
    fn leave_unanswered(&mut self, said: &Said) -> Result<Next, Stop> {
        if said.success || self.env.input_is_terminal() {
            return Ok(Next::Leave);
        }
        Err(Failure::new(Code::SignIn, format!("not signed in: {}", said.text)).into())
    }

    fn operations(&mut self) -> Result<Next, Stop> {
        loop {
            let Some(line) = self.env.line(PROMPT, Asked::Command)? else { return Ok(Next::Leave) };
            if line.trim().is_empty() {
                continue;
            }
            match self.operate(&line) {
                Ok(None) => {}
                Ok(Some(next)) => return Ok(next),
                Err(Stop::Failed(failure)) if self.env.input_is_terminal() => {
                    self.env.tell(&failure);
                }
                Err(Stop::Told(_)) if self.env.input_is_terminal() => {}
                Err(stop) => return Err(stop),
            }
            if !self.remote.is_usable() {
                return Ok(Next::Lost);
            }
        }
    }

    fn operate(&mut self, line: &str) -> Result<Option<Next>, Stop> {
        if let Some(extra) = &mut self.extra
            && let Some(words) = split(line)
            && let Some(done) = extra.operate(&words, &mut self.remote, self.env)
        {
            return done.map(|()| None);
        }
        let Some(Operation { verb, arguments }) = Operation::parse(line) else {
            self.env.data("ERROR Opcode was invalid!")?;
            self.env.note("  Type  help  for the list.");
            return Err(Stop::Told(Code::Usage));
        };
        match verb {
            Verb::Store => self.store(&arguments).map(|()| None),
            Verb::Retrieve => self.retrieve(&arguments).map(|()| None),
            Verb::Delete => self.delete(&arguments).map(|()| None),
            Verb::List => self.list().map(|()| None),
            Verb::Help => self.menu().map(|()| None),
            Verb::Quit => Ok(Some(Next::Leave)),
            Verb::SignOut => {
                self.remote.sign_out().map_err(|error| advice::plain(&error))?;
                Ok(Some(Next::Questions))
            }
        }
    }

    /// What the user names: in the line's arguments, or asked for.
    fn named(&mut self, arguments: &[String]) -> Result<Option<Named>, Stop> {
        match arguments {
            [] => {
                let name = self.env.line("Enter the file name: ", Asked::Answer)?;
                let Some(name) = name else { return Ok(None) };
                let folder = self.env.line("Enter the file path: ", Asked::Answer)?;
                let Some(folder) = folder else { return Ok(None) };
                let folder = Some(folder.trim().to_owned());
                Ok(Some(Named { name: name.trim().to_owned(), folder }))
            }
            [name] => Ok(Some(Named { name: name.clone(), folder: None })),
            [name, folder] => Ok(Some(Named { name: name.clone(), folder: Some(folder.clone()) })),
            _ => {
                let text = "a file is one name and one path";
                let hint = "Put \"quotes\" around a name with blanks.";
                Err(Failure::new(Code::Usage, text).hint(hint).into())
            }
        }
    }

    /// The stored file that is meant.
    fn stored(&mut self, arguments: &[String]) -> Result<Option<FilePath>, Stop> {
        let Some(named) = self.named(arguments)? else { return Ok(None) };
        let path = named.stored().map_err(|error| advice::plain(&Error::BadPath(error)))?;
        Ok(Some(path))
    }

    fn store(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let Some(named) = self.named(arguments)? else { return Ok(()) };
        let wrong = |error| advice::plain(&Error::BadPath(error));
        let (local, path) = self.files.source(&named, self.env).map_err(wrong)?;
        let failed = |error: Error| failed_here(&format!("cannot store {path}"), &error);
        if !local.is_file() {
            self.env.data("file path was invalid!")?;
            self.env.note(&format!("  There is no file {}", printable(&local.to_string_lossy())));
            return Err(Stop::Told(Code::LocalFile));
        }
        let mut source = Source::open(&local, self.env).map_err(failed)?;
        let sent = send(self.env, &mut self.remote, &mut source, &path, Precondition::Any)
            .map_err(failed)?;
        let name = printable(path.name());
        self.env.data(&format!("File {name} successfully created and written to"))?;
        self.env.note(&sent.summary());
        self.env.detail(&sent.detail());
        Ok(())
    }

    fn retrieve(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let Some(path) = self.stored(arguments)? else { return Ok(()) };
        let (local, remark) = self.files.target(&path, self.env);
        let failed = |error: Error| failed_here(&format!("cannot retrieve {path}"), &error);
        let place = Place::create(&local, true, self.env.interrupts()).map_err(failed)?;
        let fetched = fetch(self.env, &mut self.remote, &path, place).map_err(failed)?;
        let name = printable(path.name());
        self.env.data(&format!("Successfully retrieved file {name} from the file system"))?;
        self.env.note(&fetched.summary());
        self.env.note(&fetched.digest());
        if let Some(remark) = remark {
            self.env.note(&format!("  {}", printable(&remark)));
        }
        Ok(())
    }

    fn delete(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let Some(path) = self.stored(arguments)? else { return Ok(()) };
        let failed = |error: Error| failed_here(&format!("cannot delete {path}"), &error);
        self.remote.delete(&path).map_err(failed)?;
        let name = printable(path.name());
        self.env.data(&format!("Successfully removed file {name} from the file system"))
    }

    fn list(&mut self) -> Result<(), Stop> {
        let mut stop = None;
        let mut empty = true;
        let env = &mut *self.env;
        let listed = self.remote.list(&mut |entry| {
            empty = false;
            env.data(&inf::line(&entry)).map_err(|why| {
                stop = Some(why);
                Error::other(Code::Interrupted, "nobody reads the listing")
            })
        });
        if let Some(stop) = stop {
            return Err(stop);
        }
        listed.map_err(|error| advice::failure("cannot list your files", &error))?;
        if empty { self.env.data("No files in database") } else { Ok(()) }
    }
}

/// A failed operation, with advice that can be followed without leaving the session.
fn failed_here(what: &str, error: &Error) -> Failure {
    match error.code() {
        Code::NoSuchFile | Code::NoSuchFolder => {
            Failure::of(what, error).hint("See what is there:  INF")
        }
        _ => advice::failure(what, error),
    }
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let why = crate::core::io::reason(&error);
        let text = format!("cannot make the folder {}: {why}", folder.display());
        Failure::new(Code::LocalFile, text).hint("Name another with --files DIR.")
    })
}

/// A text of several lines, each safe to print.
fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
