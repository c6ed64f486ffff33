//! How a command ends when it does not simply end: what failed and why, what to do about it, and
//! with which exit status.

use crate::core::error::{Code, Error};
use crate::core::path::printable;

/// Why a command stops before its end.
#[derive(Debug)]
pub enum Stop {
    /// It failed; nothing has been printed yet.
    Failed(Failure),
    /// It failed in parts, each of which has been printed already.
    Told(Code),
    /// It did what it should, and this status says what came of it: that of a command that it ran for
    /// the user, or how the cluster is. All has been printed.
    Ended(u8),
    /// Whoever read its output has gone (`| head`): no failure, and nothing more to say.
    ReaderGone,
}

/// A failure as people see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Decides the exit status.
    pub code: Code,
    /// What failed, and why.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: Code, text: impl Into<String>) -> Failure {
        Failure { code, text: printable(&text.into()), hint: None }
    }

    /// `what`, which could not be done because of `error`.
    pub fn of(what: &str, error: &Error) -> Failure {
        Failure::new(error.code(), format!("{what}: {error}"))
    }

    /// The same with a hint, unless it has one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(Failure::new(error.code(), error.to_string()))
    }
}

/// For commands that add context with `anyhow`: the innermost of Palk's own errors decides.
impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        let code = error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(Error::code);
        Stop::Failed(Failure::new(code.unwrap_or(Code::Unexpected), format!("{error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_code_of_an_error_survives_its_context() {
        let error: Result<(), Error> = Err(Error::NotSignedIn);
        let stop = Stop::from(error.context("cannot list").unwrap_err());
        let Stop::Failed(failure) = stop else { panic!("{stop:?}") };
        assert_eq!(failure, Failure::new(Code::SignIn, "cannot list: sign in first"));
    }

    #[test]
    fn a_text_from_elsewhere_cannot_move_the_cursor() {
        let error = Error::Remote { code: Code::Busy, text: "a\x1b[2J".into() };
        assert_eq!(Failure::of("no", &error).text, "no: a\\u{1b}[2J");
    }
}
