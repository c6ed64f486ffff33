//! What to do about an error: the last line of what a failed verb prints.

use crate::cmd::failure::Failure;
use crate::core::error::{Code, Error};
use crate::core::io::net::UNRESOLVED;

/// A failure of `what` (`cannot store photo.jpg`), with the advice that goes with its kind.
pub(crate) fn failure(what: &str, error: &Error) -> Failure {
    let failure = Failure::of(what, error);
    match advice(error) {
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
    let failure = Failure::from(error);
    match advice(error) {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

fn advice(error: &Error) -> Option<&'static str> {
    let own = match error {
        // The connection was there: that the server runs is known.
        Error::Closed(_) | Error::Deadline(_) => BROKEN,
        Error::Damaged(_) => {
            "What has arrived is not what was sent, and not to be used. Try again."
        }
        Error::Remote { code, .. } => return after_refusal(*code),
        Error::Other { code: Code::Unreachable, text } if text.ends_with(UNRESOLVED) => {
            "Check how the name is spelled, or name another:  --server HOST:PORT"
        }
        other => return on_this_side(other.code()),
    };
    Some(own)
}

const BROKEN: &str =
    "The connection broke on the way. Try again; if it stays so, the server's log says why.";

/// What to do where no server could be reached.
pub(super) const NOT_RUNNING: &str =
    "Is the server running? Start it:  palk server   or name another:  --server HOST:PORT";

/// What to do about what was found without the server, or without its answer.
fn on_this_side(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Usage => "Nothing was sent. See:  palk client --help",
        Code::BadPath => "Nothing was sent. Choose another name.",
        Code::Unreachable => NOT_RUNNING,
        Code::LocalFile => "Check the local file or folder, then try again.",
        Code::Exists => "Leave out --no-replace to replace it, or choose another name.",
        Code::Temporary => "Try again.",
        other => return after_refusal(other),
    })
}

/// What to do about the server's answer that it has not done what was asked for.
fn after_refusal(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Usage => "Nothing was changed. See:  palk client --help",
        Code::BadPath => "Nothing was changed. Choose another name.",
        Code::NoSuchFile | Code::NoSuchFolder => "See what is there:  palk client inf",
        Code::SignIn => {
            "Check --user and the password. To make an account:  palk client signup --user NAME"
        }
        Code::NoSuchUser => "Check --user, or make the account:  palk client signup --user NAME",
        Code::UserExists => "Choose another name with --user.",
        Code::Unreachable => BROKEN,
        Code::TooFewNodes => {
            "Nothing was changed. See which nodes are down:  palk status   and start them."
        }
        Code::Damaged => {
            "Nodes that come back do not help. Check what is left:  palk admin scrub   and store it \
             again if you have it elsewhere."
        }
        Code::NoSpace => "Nothing was changed. Free some space, then try again.",
        Code::TooBig => {
            "Nothing was stored. Split it, or ask the operator of the server for a higher limit \
             (--max-file-size)."
        }
        Code::Exists => "Leave out --no-replace to replace it, or choose another name.",
        Code::Busy | Code::Changed | Code::Temporary => "Nothing was changed. Try again.",
        Code::NotAllowed => "Nothing was changed. Choose another name.",
        Code::Version => "Is it a Palk server, of a version that fits? See:  palk --version",
        Code::Unexpected | Code::LocalFile => {
            "Try again; if it stays so, the server's log says more."
        }
        Code::OverQuota => {
            "Nothing was stored. Delete what is not needed, or ask for a higher quota."
        }
        Code::InDoubt => "Check what is there before you repeat it:  palk client inf",
        Code::Disabled => "Ask the operator of the server to enable it.",
        Code::SomeFailed | Code::ServerIdentity | Code::Interrupted => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_was_changed_is_said_only_where_the_server_has_refused() {
        let certain = "Nothing was changed.";
        for code in Code::ALL {
            let here = advice(&Error::other(code, "x")).unwrap_or_default();
            let local = [Code::LocalFile, Code::Temporary, Code::Unreachable, Code::InDoubt];
            assert!(!local.contains(&code) || !here.contains("Nothing was"), "{code:?}: {here}");
        }
        let remote = |code| advice(&Error::Remote { code, text: "x".into() }).unwrap_or_default();
        assert!(remote(Code::TooFewNodes).starts_with(certain));
        assert!(!remote(Code::InDoubt).contains("Nothing was"));
    }

    #[test]
    fn a_connection_that_broke_is_no_server_that_does_not_run() {
        let broken = advice(&Error::Closed("by server x".into())).unwrap();
        assert!(broken.starts_with("The connection broke"), "{broken}");
        let missing = advice(&Error::other(Code::Unreachable, "cannot connect")).unwrap();
        assert!(missing.starts_with("Is the server running?"), "{missing}");
        let text = format!("cannot connect to server x:1: {UNRESOLVED}");
        let misspelt = advice(&Error::other(Code::Unreachable, text)).unwrap();
        assert!(misspelt.starts_with("Check how the name is spelled"), "{misspelt}");
    }
}
