//! The admin door: a socket in the server's folder, for whoever may enter that folder as its owner.
//!
//! One request a connection: a line comes in, any number of lines about progress go out, and the last
//! one is the result or the error. Another verb is one more arm in `carry_out` and one function of
//! [`Operator`], which gets the connection as an [`Caller`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::core::error::{Code, Error, Result};
use crate::core::io::listener::State;
use crate::core::io::net::Deadline;
use crate::core::io::reason;
use crate::core::io::unix::{self, ACCEPT_PAUSE, Lines, Socket};
use crate::core::serve::operator::{Caller, Names, Operator};
use crate::core::wire::admin::{
    ADMIN_SOCKET, Answer, Fields, Line, REQUEST_BYTES_MAX, Verb, fields,
};

/// The most connections at once.
pub const CONNECTIONS_MAX: usize = 16;

const REQUEST: Deadline = Deadline::new(Duration::from_secs(10), "ask for anything");
const TAKE: Deadline = Deadline::new(Duration::from_secs(10), "take its answer");

/// Opens the door in this folder, whose lock the caller holds, and serves it until the process ends.
/// A server without this door serves files all the same, so that is what it does where the folder
/// cannot hold a socket.
pub fn open(folder: &Path, operator: &Arc<Operator>, state: &Arc<State>) {
    let opened = Socket::open(folder, ADMIN_SOCKET).and_then(|socket| {
        let path = socket.path().to_owned();
        let (operator, shared) = (operator.clone(), state.clone());
        thread::Builder::new()
            .name("admin".into())
            .spawn(move || run(&socket, &operator, &shared))
            .map_err(Error::io("cannot start a thread"))?;
        state.at_stop(move || {
            if let Err(error) = unix::remove(&path) {
                tracing::warn!("cannot remove {}: {}", path.display(), reason(&error));
            }
        });
        Ok(())
    });
    if let Err(error) = opened {
        tracing::warn!("palk admin will not reach this server: {error}");
    }
}

fn run(socket: &Socket, operator: &Arc<Operator>, state: &Arc<State>) {
    let connections = Arc::new(AtomicUsize::new(0));
    loop {
        let mut lines = match socket.accept() {
            Ok(lines) => lines,
            Err(error) => {
                tracing::warn!("cannot accept an admin connection: {}", reason(&error));
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let counted = Counted::new(&connections);
        if counted.number > CONNECTIONS_MAX {
            let text = format!("{CONNECTIONS_MAX} others are asking the server already");
            let busy = Line::Error { code: Code::Temporary, text };
            // It is turned away whether it can be told or not.
            let _ = tell(&mut lines, &busy);
            continue;
        }
        let (operator, state) = (operator.clone(), state.clone());
        let spawned = thread::Builder::new().name("admin connection".into()).spawn(move || {
            let _counted = counted;
            if let Err(error) = serve(lines, &operator, &state) {
                tracing::info!("an admin connection ended: {error}");
            }
        });
        if let Err(error) = spawned {
            tracing::warn!("cannot serve an admin connection: no thread: {}", reason(&error));
        }
    }
}

/// One connection, counted as long as this lives.
struct Counted {
    number: usize,
    connections: Arc<AtomicUsize>,
}

impl Counted {
    fn new(connections: &Arc<AtomicUsize>) -> Counted {
        let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
        Counted { number, connections: connections.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve(mut lines: Lines, operator: &Operator, state: &State) -> Result<()> {
    let request = match lines.read(REQUEST_BYTES_MAX, &REQUEST) {
        Ok(Some(request)) => Verb::decode(&request),
        Ok(None) => return Ok(()),
        Err(error) => Err(error),
    };
    let mut caller = Connection { lines, state, lost: false };
    let outcome = request.and_then(|verb| {
        tracing::debug!("admin: {verb:?}");
        carry_out(&verb, operator, &mut caller)
    });
    let last = match outcome {
        Ok(outcome) => Line::Result(outcome),
        Err(error) => Line::from_error(&error),
    };
    tell(&mut caller.lines, &last)
}

/// Does what is asked for.
fn carry_out(verb: &Verb, operator: &Operator, caller: &mut dyn Caller) -> Result<Answer> {
    match verb {
        Verb::Status => {
            let status = operator.status(Names::Shown)?;
            Ok(Answer { code: status.state.exit_status(), fields: fields(&status)? })
        }
        Verb::Scrub { witness, grace_ms, detach } => {
            let grace = grace_ms.map(Duration::from_millis);
            answer(operator.scrub(*witness, grace, *detach, caller)?)
        }
        Verb::ScrubStop => answer(operator.stop_scrub(caller)?),
        Verb::Heal => answer(operator.heal(caller)?),
        Verb::Replace { node, to, force } => answer(operator.replace(*node, to, *force, caller)?),
        Verb::Backup => answer(operator.back_up(caller)?),
        Verb::User(ask) => operator.users().carry_out(ask, caller),
        Verb::Snapshot(ask) => operator.snapshot(ask, caller),
        Verb::Purge { user } => answer(operator.purge(user.as_deref(), caller)?),
    }
}

/// An exit status, and what belongs to it.
fn answer<T: Serialize>((code, report): (u8, T)) -> Result<Answer> {
    Ok(Answer { code, fields: fields(&report)? })
}

fn tell(lines: &mut Lines, line: &Line) -> Result<()> {
    lines.write(&line.encode()?, &TAKE)
}

/// The other end of a connection, waiting.
struct Connection<'a> {
    lines: Lines,
    state: &'a State,
    lost: bool,
}

impl Connection<'_> {
    fn tell(&mut self, line: &Line) {
        self.lost = self.lost || tell(&mut self.lines, line).is_err();
    }
}

impl Caller for Connection<'_> {
    fn progress(&mut self, fields: Fields) {
        self.tell(&Line::Progress(fields));
    }

    fn item(&mut self, fields: Fields) {
        self.tell(&Line::Item(fields));
    }

    fn has_gone(&mut self) -> bool {
        self.lost = self.lost || self.lines.is_closed(REQUEST_BYTES_MAX);
        self.lost || self.state.is_stopping()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Lines, Lines) {
        let folder = tempfile::tempdir().unwrap();
        let socket = Socket::open(folder.path(), ADMIN_SOCKET).unwrap();
        let near = Lines::connect(folder.path(), ADMIN_SOCKET).unwrap().unwrap();
        (near, socket.accept().unwrap())
    }

    #[test]
    fn a_caller_is_told_how_far_it_is_until_it_goes() {
        let state = State::default();
        let (mut near, far) = pair();
        let mut caller = Connection { lines: far, state: &state, lost: false };
        caller.progress(Fields::from_iter([("bytes".to_owned(), 7.into())]));
        caller.item(Fields::new());
        let line = near.read(100, &REQUEST).unwrap().unwrap();
        assert!(
            matches!(Line::decode(&line).unwrap(), Line::Progress(fields) if fields["bytes"] == 7)
        );
        let line = near.read(100, &REQUEST).unwrap().unwrap();
        assert_eq!(Line::decode(&line).unwrap(), Line::Item(Fields::new()));
        assert!(!caller.has_gone());
        drop(near);
        assert!(caller.has_gone());
        caller.progress(Fields::new());
        assert!(caller.has_gone());
    }

    #[test]
    fn a_server_that_ends_leaves_no_caller_waiting() {
        let state = State::default();
        let (_near, far) = pair();
        let mut caller = Connection { lines: far, state: &state, lost: false };
        assert!(!caller.has_gone());
        state.stop(Duration::ZERO);
        assert!(caller.has_gone());
    }
}
