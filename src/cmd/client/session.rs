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

mod current;
mod files;
mod folders;
mod history;
mod looking;
mod meant;
mod names;
mod sign_in;
mod transfers;
mod trees;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;

use self::current::Current;
pub(crate) use self::files::LocalFiles;
use super::connection::Another;
use super::operation::{Line, Operation, SHAPES, Verb, offered, split, words_of};
use super::settings::{Common, Settings};
use super::{advice, password, scan};
use crate::cmd::env::{Asked, Completions, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::FilePath;
use crate::core::remote::{Remote, Said};
use crate::core::types::VersionId;

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
    /// Shared with Tab, which asks the server for names while nothing else is asked.
    remote: Rc<RefCell<Remote>>,
    current: Rc<RefCell<Current>>,
    /// The versions that this session has last retrieved or stored.
    seen: HashMap<FilePath, VersionId>,
    /// How to open a further connection, once it is known with what.
    again: Option<Another>,
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
    let mut running = Running::new(env, files, settings, remote);
    running.extra = Some(extra);
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
        let mut running = Running::new(env, files, settings, remote);
        running.offer_completions();
        running.env.data(BANNER)?;
        running.run(said)
    }
}

impl<'a> Running<'a> {
    fn new(env: &'a mut Env, files: LocalFiles, settings: Settings, remote: Remote) -> Running<'a> {
        let (remote, current) = (Rc::new(RefCell::new(remote)), Rc::default());
        let seen = HashMap::new();
        Running { env, files, settings, remote, current, seen, again: None, extra: None }
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
                    *self.remote.borrow_mut() = remote;
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

    /// The menu, and every word with what it does.
    fn help(&mut self) -> Result<(), Stop> {
        self.menu()?;
        self.env.data("In any case, with what they are about on the same line or asked for:")?;
        for shape in &SHAPES {
            let words = words_of(&[shape.verb]);
            let (first, others) = words.split_first().unwrap_or((&"", &[]));
            let also = match others {
                [] => String::new(),
                others => format!("  (also {})", others.join(", ")),
            };
            let line = format!("{first} {}", shape.follows);
            self.env.data(&format!("  {line:28} {}{also}", shape.does))?;
        }
        Ok(())
    }

    fn offer_completions(&mut self) {
        let extra = self.extra.as_ref().map_or(&[][..], |extra| extra.words());
        self.env.set_completions(Completions {
            verbs: offered().into_iter().chain(extra.iter().copied()).collect(),
            local_verbs: words_of(&[Verb::Store, Verb::Update, Verb::Local]),
            folder: self.files.folder().map(Path::to_owned),
            stored_verbs: words_of(&Verb::OF_STORED),
            stored: Some(names::stored_names(&self.remote, &self.current)),
        });
    }

    /// Forgets what was true of the user who was signed in before.
    fn begin_anew(&mut self) {
        *self.current.borrow_mut() = Current::default();
        self.seen.clear();
    }

    fn operations(&mut self) -> Result<Next, Stop> {
        loop {
            let prompt = format!("~{} ", self.current.borrow().shown());
            let Some(line) = self.env.line(&prompt, Asked::Command)? else {
                return Ok(Next::Leave);
            };
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
            if !self.remote.borrow().is_usable() {
                return Ok(Next::Lost);
            }
        }
    }

    fn operate(&mut self, line: &str) -> Result<Option<Next>, Stop> {
        if let Some(extra) = &mut self.extra
            && let Some(words) = split(line)
            && let Some(done) = extra.operate(&words, &mut self.remote.borrow_mut(), self.env)
        {
            return done.map(|()| None);
        }
        let operation = match Line::parse(line) {
            Line::Operation(operation) => operation,
            Line::Misshapen { word, shape } => {
                let (text, hint) = shape.complaint(&word);
                return Err(Failure::new(Code::Usage, text).hint(hint).into());
            }
            Line::Unknown => {
                self.env.data("ERROR Opcode was invalid!")?;
                self.env.note("  Type  help  for the list.");
                return Err(Stop::Told(Code::Usage));
            }
        };
        match operation.verb {
            Verb::Quit => Ok(Some(Next::Leave)),
            Verb::SignOut => {
                self.remote.borrow_mut().sign_out().map_err(|error| advice::plain(&error))?;
                Ok(Some(Next::Questions))
            }
            _ => self.carry_out(&operation).map(|()| None),
        }
    }

    /// Does what leaves the session where it is.
    fn carry_out(&mut self, operation: &Operation) -> Result<(), Stop> {
        match operation.verb {
            Verb::Store if operation.has("-r") => self.store_tree(operation),
            Verb::Store => self.store(operation),
            Verb::Update => self.update(operation),
            Verb::Retrieve if operation.has("-r") => self.retrieve_tree(operation),
            Verb::Retrieve => self.retrieve(operation),
            Verb::Delete => self.delete(operation),
            Verb::Everything => self.everything(operation),
            Verb::List => self.list(operation),
            Verb::Details => self.details(operation),
            Verb::Local => self.local(operation),
            Verb::ChangeFolder => self.change_folder(operation),
            Verb::Where => self.where_it_is(),
            Verb::MakeFolder => self.make_folder(operation),
            Verb::RemoveFolder => self.remove_folder(operation),
            Verb::Move => self.move_to(operation),
            Verb::Copy => self.copy(operation),
            Verb::Cat => self.cat(operation),
            Verb::Head => self.head(operation),
            Verb::DiskUsage => self.disk_usage(operation),
            Verb::Find => self.find(operation),
            Verb::Uploads => self.uploads(),
            Verb::Versions => self.versions(operation),
            Verb::Undo => self.undo(operation),
            Verb::Scan => scan::show(self.env),
            Verb::Connect => Err(self.is_connected().into()),
            Verb::Help => self.help(),
            Verb::SignOut | Verb::Quit => Ok(()),
        }
    }

    /// One session is with one server.
    fn is_connected(&self) -> Failure {
        let text = format!("you are connected to {} already", self.remote.borrow().name());
        let hint = "Leave first, with  bye  , then:  palk client --server HOST:PORT";
        Failure::new(Code::NotAllowed, text).hint(hint)
    }
}

/// A failed operation, with advice that can be followed without leaving the session.
fn failed_here(what: &str, error: &Error) -> Failure {
    match error.code() {
        Code::NoSuchFile | Code::NoSuchFolder => {
            Failure::of(what, error).hint("See what is there:  INF")
        }
        Code::InDoubt => {
            Failure::of(what, error).hint("Check what is there before you repeat it:  INF")
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

#[cfg(test)]
mod tests;
