//! A command of the user's whose output is taken: split into words as a shell does, without a shell.

use std::io;
use std::process::{Command, ExitStatus};

use crate::core::io::reason;

/// A command that can be started, by its first word.
pub(super) struct Words {
    words: Vec<String>,
}

impl Words {
    /// # Errors
    /// Why these are no words.
    pub(super) fn of(command: &str) -> Result<Words, String> {
        match shlex::split(command) {
            Some(words) if !words.is_empty() => Ok(Words { words }),
            Some(_) => Err("it has no words".to_owned()),
            None => Err("its quotes do not match".to_owned()),
        }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// Why it could not be started.
    pub(super) fn not_started(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::NotFound => format!("there is no program {:?}", self.words[0]),
            _ => reason(error),
        }
    }
}

/// How it ended, if not well.
///
/// # Errors
/// How.
pub(super) fn check_end(status: ExitStatus) -> Result<(), String> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(format!("it ended with exit status {code}")),
        None => Err(format!("it was ended by a {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_says_how() {
        let status = |command: &str| Words::of(command).unwrap().command().status();
        assert_eq!(check_end(status("true").unwrap()), Ok(()));
        let three = check_end(status("sh -c 'exit 3'").unwrap());
        assert_eq!(three, Err("it ended with exit status 3".to_owned()));
        let killed = check_end(status("sh -c 'kill -KILL $$'").unwrap()).unwrap_err();
        assert!(killed.starts_with("it was ended by a signal: 9"), "{killed}");
        let missing = Words::of("no-such-program x").unwrap();
        let error = missing.command().status().unwrap_err();
        assert_eq!(missing.not_started(&error), "there is no program \"no-such-program\"");
        assert!(Words::of("a 'b").is_err() && Words::of(" ").is_err());
    }
}
