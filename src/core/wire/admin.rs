//! What `palk admin` and a running server say to each other: one JSON object a line.
//!
//! ```text
//!   asker    {"v":1,"verb":"status"}
//!   server   {"v":1,"type":"progress", ...}      any number of these two
//!            {"v":1,"type":"item", ...}
//!            {"v":1,"type":"result","code":0, ...}       or, in its place:
//!            {"v":1,"type":"error","code":6,"error":"too-few-nodes","message":"..."}
//! ```
//!
//! `code` is the exit status that the command ends with. Lines have the form that `--json` prints, so
//! they can be passed on as they are. Fields that are not known are passed over.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::core::error::{Code, Error, Result};
use crate::core::types::NodeId;
use crate::core::wire::retention::SnapshotAsk;
use crate::core::wire::users::UserAsk;

/// The version of these lines.
const VERSION: u64 = 1;

/// What the socket in the server's folder is called.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// The longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// The longest line of an answer, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The fields of a line that belong to the verb.
pub type Fields = Map<String, Value>;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// How the cluster is. The result is a [`Status`](crate::core::status::Status).
    Status,
    /// A scrub; one that is running already is joined. The result is a
    /// [`Scrubbed`](crate::core::wire::reports::Scrubbed).
    Scrub {
        /// Compare the bytes of all nodes, and not their checksums only.
        witness: bool,
        /// How long a stray must have been known before it is removed, in milliseconds; the usual
        /// time if none is given.
        grace_ms: Option<u64>,
        /// Do not wait for its end.
        detach: bool,
    },
    /// The end of the scrub that is running. The result is as for a scrub.
    ScrubStop,
    /// Everything that is owed, tried at once. The result is a
    /// [`Healing`](crate::core::wire::reports::Healing).
    Heal,
    /// A node replaced by an empty one. The result is a
    /// [`Replaced`](crate::core::wire::reports::Replaced).
    Replace {
        /// Which node.
        node: NodeId,
        /// Where the new one is, `HOST:PORT`.
        to: String,
        /// Give up the files that cannot be rebuilt without the old one.
        force: bool,
    },
    /// A snapshot of the catalog on every node. The result is a
    /// [`BackedUp`](crate::core::wire::reports::BackedUp).
    Backup,
    /// Something about the accounts.
    User(UserAsk),
    /// Something about snapshots.
    Snapshot(SnapshotAsk),
    /// All that is kept for undo, let go of. The result is a
    /// [`Purged`](crate::core::wire::retention::Purged).
    Purge {
        /// Whose; of all accounts if none is named.
        user: Option<String>,
    },
}

impl Verb {
    /// The request as it travels.
    ///
    /// # Errors
    /// [`Code::Unexpected`] if it has no form in JSON.
    pub fn encode(&self) -> Result<Vec<u8>> {
        line(fields(self)?)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`Code::Version`] for a verb or a version that is not known here, [`Error::Protocol`] for what
    /// is no request at all.
    pub fn decode(bytes: &[u8]) -> Result<Verb> {
        let mut fields = object(bytes)?;
        let verb = fields.get("verb").and_then(Value::as_str).unwrap_or_default().to_owned();
        fields.remove("v");
        let unknown = || {
            let text = format!("this server does not know what {verb:?} asks for");
            Error::other(Code::Version, text)
        };
        parse(fields).map_err(|_| unknown())
    }
}

/// How a verb went.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The exit status of the command.
    pub code: u8,
    /// What belongs to it.
    pub fields: Fields,
}

/// A line of an answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Line {
    /// How far it is.
    Progress(Fields),
    /// One of several things that the verb is about.
    Item(Fields),
    /// The end: it was done.
    Result(Answer),
    /// The end: it was not done.
    Error {
        /// Why, in one word.
        code: Code,
        /// Why, for people.
        text: String,
    },
}

impl Line {
    /// The error as a line.
    pub fn from_error(error: &Error) -> Line {
        Line::Error { code: error.code(), text: error.to_string() }
    }

    /// The line as it travels.
    ///
    /// # Errors
    /// [`Code::Unexpected`] if it is longer than [`LINE_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let (kind, mut fields) = match self {
            Line::Progress(fields) => ("progress", fields.clone()),
            Line::Item(fields) => ("item", fields.clone()),
            Line::Result(outcome) => {
                let mut fields = outcome.fields.clone();
                fields.insert("code".into(), json!(outcome.code));
                ("result", fields)
            }
            Line::Error { code, text } => {
                let mut fields = Fields::new();
                fields.insert("code".into(), json!(code.exit_status()));
                fields.insert("error".into(), json!(code.as_str()));
                fields.insert("message".into(), json!(text));
                ("error", fields)
            }
        };
        fields.insert("type".into(), json!(kind));
        line(fields)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Line> {
        let mut fields = object(bytes)?;
        let mut take = |key: &str| fields.remove(key).unwrap_or_default();
        take("v");
        let kind = take("type");
        match kind.as_str() {
            Some("progress") => Ok(Line::Progress(fields)),
            Some("item") => Ok(Line::Item(fields)),
            Some("result") => {
                let code = take("code").as_u64().and_then(|code| u8::try_from(code).ok());
                let code = code.ok_or_else(|| malformed("a result has no code"))?;
                Ok(Line::Result(Answer { code, fields }))
            }
            Some("error") => {
                let code = Code::from_wire(take("error").as_str().unwrap_or_default());
                let text = take("message").as_str().unwrap_or("no reason was given").to_owned();
                Ok(Line::Error { code, text })
            }
            _ => Err(malformed("a line of the answer is of no known type")),
        }
    }
}

/// A value's fields.
///
/// # Errors
/// [`Code::Unexpected`] if it has no form as a JSON object.
pub fn fields<T: Serialize>(value: &T) -> Result<Fields> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::other(Code::Unexpected, "a value is no JSON object")),
        Err(error) => Err(Error::other(Code::Unexpected, format!("no JSON: {error}"))),
    }
}

/// The value with these fields.
///
/// # Errors
/// [`Error::Protocol`] if one is missing or of another type.
pub fn parse<T: DeserializeOwned>(fields: Fields) -> Result<T> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| malformed(&format!("the answer has an unknown form: {error}")))
}

/// An object of one line, with the version that these lines have.
fn line(mut fields: Fields) -> Result<Vec<u8>> {
    fields.insert("v".into(), json!(VERSION));
    let mut bytes = Value::Object(fields).to_string().into_bytes();
    bytes.push(b'\n');
    if bytes.len() > LINE_BYTES_MAX {
        let text = format!("an answer of {} bytes is longer than a line may be", bytes.len());
        return Err(Error::other(Code::Unexpected, text));
    }
    Ok(bytes)
}

/// Reads an object of this version.
///
/// # Errors
/// [`Error::Protocol`] if it is none, [`Code::Version`] if it is of another version.
pub fn object(bytes: &[u8]) -> Result<Fields> {
    let fields: Fields =
        serde_json::from_slice(bytes).map_err(|_| malformed("a line is no JSON object"))?;
    match fields.get("v").and_then(Value::as_u64) {
        Some(VERSION) => Ok(fields),
        other => {
            let text = format!("the other side speaks version {other:?} of the admin protocol");
            Err(Error::other(Code::Version, text))
        }
    }
}

/// An object on a line, without its end: what the extended session's `STA` is answered.
///
/// # Errors
/// As [`fields`].
pub fn one_line<T: Serialize>(value: &T) -> Result<String> {
    let bytes = line(fields(value)?)?;
    Ok(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
}

fn malformed(what: &str) -> Error {
    Error::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(key: &str, value: u64) -> Fields {
        Fields::from_iter([(key.to_owned(), json!(value))])
    }

    #[test]
    fn requests_survive_the_wire() {
        let node = NodeId::ALL[1];
        let all = [
            Verb::Status,
            Verb::Scrub { witness: true, grace_ms: Some(0), detach: false },
            Verb::Scrub { witness: false, grace_ms: None, detach: true },
            Verb::ScrubStop,
            Verb::Heal,
            Verb::Replace { node, to: "10.0.0.9:51132".into(), force: true },
            Verb::Backup,
        ];
        for verb in &all {
            let bytes = verb.encode().unwrap();
            assert!(bytes.ends_with(b"}\n") && bytes.len() <= REQUEST_BYTES_MAX);
            assert_eq!(Verb::decode(&bytes).unwrap(), *verb);
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let code = |text: &str| Verb::decode(text.as_bytes()).unwrap_err().code();
        assert_eq!(code(r#"{"v":1,"verb":"fly"}"#), Code::Version);
        assert_eq!(code(r#"{"v":1}"#), Code::Version);
        assert!(
            Verb::decode(br#"{"v":1,"verb":"replace","node":5,"to":"a","force":true}"#).is_err()
        );
        assert_eq!(code(r#"{"v":2,"verb":"status"}"#), Code::Version);
        for text in ["", "status", "[1]", "{", "{}{}", &"[".repeat(10_000)] {
            assert!(Verb::decode(text.as_bytes()).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn lines_survive_the_wire() {
        for line in [
            Line::Progress(some("bytes", 7)),
            Line::Item(Fields::new()),
            Line::Result(Answer { code: 20, fields: some("files", 3) }),
            Line::Error { code: Code::NoSpace, text: "a \"full\"\ndisk".into() },
        ] {
            let bytes = line.encode().unwrap();
            assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(Line::decode(&bytes).unwrap(), line);
        }
        assert!(Line::decode(br#"{"v":1,"type":"riddle"}"#).is_err());
        assert!(Line::decode(br#"{"v":1,"type":"result","code":300}"#).is_err());
    }

    #[test]
    fn a_line_that_is_too_long_is_not_sent() {
        let text = "x".repeat(LINE_BYTES_MAX);
        assert!(Line::Error { code: Code::Busy, text }.encode().is_err());
    }
}
