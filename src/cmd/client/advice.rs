//! What to do about an error: the last line of what a failed verb prints.

use crate::cmd::failure::Failure;
use crate::core::error::{Code, Error};

/// A failure of `what` (`cannot store photo.jpg`), with the advice that goes with its kind.
pub(crate) fn failure(what: &str, error: &Error) -> Failure {
    let failure = Failure::of(what, error);
    match advice(error.code()) {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

/// The same, where the verb has advice of its own for some kinds.
pub(super) fn own_or_usual(what: &str, error: &Error, own: &[(Code, &'static str)]) -> Failure {
    match own.iter().find(|(code, _)| *code == error.code()) {
        Some((_, advice)) => Failure::of(what, error).hint(*advice),
        None => failure(what, error),
    }
}

/// A failure whose text says itself what could not be done.
pub(super) fn plain(error: &Error) -> Failure {
    let failure = Failure::new(error.code(), error.to_string());
    match advice(error.code()) {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

fn advice(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Usage | Code::BadPath => "Nothing was sent. See:  palk client --help",
        Code::NoSuchFile | Code::NoSuchFolder => "See what is there:  palk client inf",
        Code::SignIn => {
            "Check --user and the password. To make an account:  palk client signup --user NAME"
        }
        Code::NoSuchUser => "Check --user, or make the account:  palk client signup --user NAME",
        Code::UserExists => "Choose another name with --user.",
        Code::Unreachable => {
            "Is the server running? Start it:  palk server   or name another:  --server HOST:PORT"
        }
        Code::TooFewNodes => "Nothing was changed. Try again when enough storage nodes are up.",
        Code::Damaged => "Nothing was kept of it. Try again.",
        Code::NoSpace => "Nothing was stored. Free some space, then try again.",
        Code::TooBig => "Nothing was stored. Store it in parts, or ask for a higher limit.",
        Code::Exists => "Leave out --no-replace to replace it, or choose another name.",
        Code::Busy | Code::Changed | Code::Temporary => "Nothing was changed. Try again.",
        Code::NotAllowed => "Nothing was changed. Choose another name.",
        Code::Version => "Is it a Palk server, of a version that fits? See:  palk --version",
        Code::LocalFile => "Nothing was changed. Check the local file or folder, then try again.",
        Code::Unexpected => "Try again; if it stays so, the server's log says more.",
        Code::OverQuota => {
            "Nothing was stored. Delete what is not needed, or ask for a higher quota."
        }
        Code::InDoubt => "Look what is there before you repeat it:  palk client inf",
        Code::Disabled => "Ask whoever runs the server to enable it.",
        Code::SomeFailed | Code::ServerIdentity | Code::Interrupted => return None,
    })
}
