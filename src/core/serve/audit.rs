//! The log of who did what: one line for each sign-in, store, retrieval, deletion and refusal, with
//! the same fields in the same order.
//!
//! Never a password, a token or a hash. A name that is nobody's is left out as well, since people
//! type their password where the name belongs. What comes from a client is escaped.

use std::net::SocketAddr;
use std::time::Instant;

use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, UserName, printable};
use crate::core::serve::meter::{Meter, Verb};
use crate::core::types::NodeSet;

/// Something that a client asked for.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// Where it is counted.
    pub meter: &'a Meter,
    /// What was asked for.
    pub verb: Verb,
    /// What: `stored`, `signed in`. What was not done gets a `not` in front.
    pub what: &'a str,
    /// Who, if that is known.
    pub user: Option<&'a UserName>,
    /// From where.
    pub client: SocketAddr,
    /// Since when.
    pub begun: Instant,
    /// Which file of the user's.
    pub path: Option<&'a FilePath>,
    /// How many bytes of it.
    pub bytes: Option<u64>,
    /// The nodes that hold it or that it was read from.
    pub nodes: Option<NodeSet>,
}

impl<'a> Event<'a> {
    /// One without a file.
    pub fn new(
        meter: &'a Meter,
        verb: Verb,
        what: &'a str,
        client: SocketAddr,
        begun: Instant,
    ) -> Event<'a> {
        Event { meter, verb, what, user: None, client, begun, path: None, bytes: None, nodes: None }
    }

    /// Logs and counts how it ended.
    pub fn end<T>(&self, outcome: &Result<T>) {
        match outcome {
            Ok(_) => self.done(),
            Err(error) => self.failed(error),
        }
    }

    /// Logs and counts it as done.
    pub fn done(&self) {
        let Event { what, client, .. } = self;
        self.meter.answered(self.verb, self.begun.elapsed(), None);
        let (user, path, ms, nodes) = self.fields();
        let (bytes, result) = (self.bytes, "ok");
        tracing::info!(user, client = %client, path, bytes, ms, nodes, result, "{what}");
    }

    /// Logs and counts it as not done, for this reason.
    pub fn failed(&self, error: &Error) {
        let Event { what, client, .. } = self;
        self.meter.answered(self.verb, self.begun.elapsed(), Some(error.code()));
        let (user, path, ms, nodes) = self.fields();
        let (bytes, result) = (self.bytes, error.code().as_str());
        let why = match error {
            Error::NoSuchUser(_) => "there is no such user".to_owned(),
            error => printable(&error.to_string()),
        };
        tracing::info!(user, client = %client, path, bytes, ms, nodes, result, why, "not {what}");
    }

    fn fields(&self) -> (Option<&str>, Option<String>, u64, Option<String>) {
        let user = self.user.map(UserName::as_str);
        let path = self
            .path
            .map(|path| printable(&format!("/{}/{}", user.unwrap_or_default(), path.as_str())));
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        (user, path, ms, self.nodes.map(|nodes| nodes.to_string()))
    }
}
