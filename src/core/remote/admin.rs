//! The asker's half of the admin socket.

use std::path::Path;
use std::time::Duration;

use crate::core::error::{Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::unix::Lines;
use crate::core::wire::admin::{ADMIN_SOCKET, Answer, LINE_BYTES_MAX, Line, Verb};

const SEND: Deadline = Deadline::new(Duration::from_secs(10), "take what was asked");

/// A verb that takes long says more often than this how far it is.
const ANSWER: Deadline = Deadline::new(Duration::from_secs(60), "answer");

/// A connection to the server of a folder.
#[derive(Debug)]
pub struct Admin {
    lines: Lines,
}

impl Admin {
    /// Connects to the server whose folder this is; nothing if there is no socket in it.
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
    /// What the server answers; the first of `each`; [`Error::Closed`] if it goes away.
    pub fn ask(mut self, verb: &Verb, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<Answer> {
        self.lines.write(&verb.encode()?, &SEND)?;
        loop {
            let Some(line) = self.lines.read(LINE_BYTES_MAX, &ANSWER)? else {
                return Err(Error::Closed("by the server before it answered".into()));
            };
            match Line::decode(&line)? {
                Line::Result(outcome) => return Ok(outcome),
                Line::Error { code, text } => return Err(Error::Remote { code, text }),
                line @ (Line::Progress(_) | Line::Item(_)) => each(line)?,
            }
        }
    }
}
