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
        let failure = Failure::from(error);
        Failure { text: format!("{}: {}", printable(what), failure.text), ..failure }
    }

    /// The same with what helps with most failures of its kind, unless it has a hint.
    #[must_use]
    pub fn with_usual_advice(self) -> Failure {
        match usual_advice(self.code) {
            Some(advice) => self.hint(advice),
            None => self,
        }
    }

    /// The same with a hint, unless it has one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

/// What to do where no more is known than the kind of failure. Whoever interrupts knows what to do.
fn usual_advice(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Usage | Code::BadPath => "See:  palk --help",
        Code::SomeFailed => "The lines above say why.",
        Code::NoSuchFile | Code::NoSuchFolder => "See what is there:  palk client inf",
        Code::SignIn | Code::NoSuchUser | Code::Disabled => "Check the user name and the password.",
        Code::UserExists | Code::Exists => "Choose another name.",
        Code::Unreachable | Code::TooFewNodes => "See what is down:  palk status",
        Code::Damaged => "Put back a copy if there is one, and check the disk that it was on.",
        Code::NoSpace => "Free some space, then try again.",
        Code::TooBig | Code::OverQuota => "Ask the operator of the server for a higher limit.",
        Code::Busy | Code::Changed | Code::Temporary => "Try again.",
        Code::NotAllowed => "Nothing was changed.",
        Code::Version => "Use the same version of Palk on both sides. See:  palk --version",
        Code::ServerIdentity => "Nothing was sent. Compare the fingerprint with the server's log.",
        Code::LocalFile => "Check that file or folder and its permissions, then try again.",
        Code::InDoubt => "Check what is there before you repeat it:  palk client inf",
        Code::Unexpected => "Try again. If it stays so, look for the cause with:  palk doctor",
        Code::Interrupted => return None,
    })
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(Failure::from(&error))
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        match error {
            Error::Advised { code, text, advice } => {
                Failure::new(*code, text).hint(printable(advice))
            }
            other => Failure::new(other.code(), other.to_string()),
        }
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
