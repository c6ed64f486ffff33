//! The asker's half of the admin socket.

use std::path::Path;
use std::time::Duration;

use crate::core::error::{Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::unix::Lines;
use crate::core::remote::in_doubt;
use crate::core::wire::admin::{ADMIN_SOCKET, Answer, LINE_BYTES_MAX, Line, Verb};
use crate::core::wire::users::UserAsk;

const SEND: Deadline = Deadline::new(Duration::from_secs(10), "take what was asked");

/// A verb that takes long says more often than this how far it is.
const ANSWER: Deadline = Deadline::new(Duration::from_secs(60), "answer");

/// A connection to the server of a folder.
#[derive(Debug)]
pub struct Admin {
    lines: Lines,
}

impl Admin {
    /// Connects to the server whose folder this is; `None` if there is no socket in it.
    ///
    /// # Errors
    /// [`Code::Unreachable`](crate::core::error::Code::Unreachable) if the server has ended without
    /// removing it, [`Code::LocalFile`](crate::core::error::Code::LocalFile) if it is somebody else's.
    pub fn find(folder: &Path) -> Result<Option<Admin>> {
        Ok(Lines::connect(folder, ADMIN_SOCKET)?.map(|lines| Admin { lines }))
    }

    /// Asks for something and waits for its end. What comes before that is handed to `each`.
    ///
    /// # Errors
    /// What the server answers; the first of `each`; [`Error::Closed`] if it goes away, or
    /// [`Code::InDoubt`](crate::core::error::Code::InDoubt) where an account was to be changed.
    pub fn ask(mut self, verb: &Verb, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<Answer> {
        self.lines.write(&verb.encode()?, &SEND)?;
        let changes = matches!(verb, Verb::User(ask) if *ask != UserAsk::List);
        loop {
            let line = match self.lines.read(LINE_BYTES_MAX, &ANSWER) {
                Ok(Some(line)) => Ok(line),
                Ok(None) => Err(Error::Closed("by the server before it answered".into())),
                Err(error) => Err(error),
            };
            let line = if changes { line.map_err(in_doubt)? } else { line? };
            match Line::decode(&line)? {
                Line::Result(outcome) => return Ok(outcome),
                Line::Error { code, text } => return Err(Error::Remote { code, text }),
                line @ (Line::Progress(_) | Line::Item(_)) => each(line)?,
            }
        }
    }
}
