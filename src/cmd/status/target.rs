//! Which server is asked how the cluster is: the one of a folder, or one at an address.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cmd::admin;
use crate::cmd::client::advice;
use crate::cmd::client::connection::Connection;
use crate::cmd::client::scan;
use crate::cmd::client::settings::{Common, Settings};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::Remote;
use crate::core::status::Status as Report;
use crate::core::wire::admin::{Verb, parse};

/// The server's folder if none is named.
const DEFAULT_DIR: &str = "user_database";

/// The options that name a server.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// Ask the server of this folder and no other, without signing in [default: user_database if it
    /// is there and no server is named]
    #[arg(long, value_name = "DIR", env = "PALK_DIR")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    common: Common,
}

impl Target {
    /// Connects and signs in if that is needed; asks for what is missing.
    ///
    /// # Errors
    /// If the server cannot be reached or does not let the user in.
    pub(crate) fn open(mut self, env: &mut Env) -> Result<Asker, Stop> {
        env.end_on_interrupt();
        env.set_manner(self.common.manner());
        if let Some(dir) = self.folder(env) {
            return Ok(Asker::Folder(env.at(dir)));
        }
        self.common = scan::settle(self.common, env)?;
        let opened = Connection::open(&self.common, env).map_err(|stop| match stop {
            // Whether there is a server at all matters more than who would sign in to it.
            Stop::Failed(failure) if failure.code == Code::Usage => self.no_server(env, failure),
            other => other,
        });
        Ok(Asker::Address(Box::new(opened?)))
    }

    /// The folder whose server is meant, if it is not one at an address.
    fn folder(&self, env: &Env) -> Option<&Path> {
        let is_named = self.common.server.is_some() || self.common.profile.is_some();
        let default = Path::new(DEFAULT_DIR);
        match &self.dir {
            Some(dir) => Some(dir),
            None => (!is_named && env.at(default).is_dir()).then_some(default),
        }
    }

    /// That no server can be reached, if that is so; else what was wrong before.
    fn no_server(&self, env: &Env, failure: Failure) -> Stop {
        let reached = match Settings::resolve(&self.common, env) {
            Ok(settings) => Remote::connect(settings.target()),
            Err(_) => return failure.into(),
        };
        match reached {
            Err(error) if error.code() == Code::Unreachable => {
                let hint = "Start it:  palk server   or say where it is:  --dir DIR, --server \
                            HOST:PORT";
                Failure::new(Code::Unreachable, error.to_string()).hint(hint).into()
            }
            _ => failure.into(),
        }
    }
}

/// A server that can be asked, again and again.
pub(crate) enum Asker {
    /// The one of this folder, without signing in.
    Folder(PathBuf),
    /// One at an address, which names no files.
    Address(Box<Connection>),
}

impl Asker {
    /// Asks. A connection that broke is made anew.
    ///
    /// # Errors
    /// If the server cannot be reached, or what it answers.
    pub(crate) fn ask(&mut self) -> Result<Report, Error> {
        match self {
            Asker::Folder(dir) => {
                parse(admin::ask_folder(dir, &Verb::Status, &mut |_| Ok(()))?.fields)
            }
            Asker::Address(connection) => {
                connection.try_again();
                connection.remote()?.status()
            }
        }
    }

    /// An error of asking, with what to do about it.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        match self {
            Asker::Folder(dir) => admin::failure(dir, error),
            Asker::Address(_) => advice::failure("cannot ask how the cluster is", error),
        }
    }

    /// Which server it is.
    pub(crate) fn server(&self) -> Server {
        match self {
            Asker::Folder(dir) => Server::OfFolder(dir.clone()),
            Asker::Address(connection) => Server::At(connection.server().to_owned()),
        }
    }
}

/// Which server a report is from.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    /// The one of this folder.
    OfFolder(PathBuf),
    /// The one at this address.
    At(String),
}

impl Server {
    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Server::OfFolder(dir) => {
                format!("the one of the folder {}", printable(&dir.to_string_lossy()))
            }
            Server::At(address) => printable(address),
        }
    }

    /// For programs: a field of a JSON object.
    pub(crate) fn field(&self) -> (&'static str, String) {
        match self {
            Server::OfFolder(dir) => ("dir", dir.to_string_lossy().into_owned()),
            Server::At(address) => ("server", address.clone()),
        }
    }
}
