//! What can go wrong, as values that carry what a person needs to act on it.
//!
//! Every error has a [`Code`]: a stable word on the wire and a stable exit status of the program.
//! The text of an [`Error`] is what is shown; nobody parses it.

use std::fmt;
use std::io;

use jiff::Timestamp;

use crate::core::path::{FilePath, FolderPath, PathError, printable};
use crate::core::types::{Fingerprint, NodeId, NodeSet, READ_QUORUM, VersionId, WRITE_QUORUM};

/// The result of everything in `core`.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an error: stable from release to release, on the wire and as exit status.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // `as_str` and `exit_status` say what each is called outside
pub enum Code {
    Unexpected,
    Usage,
    SomeFailed,
    NoSuchFile,
    NoSuchFolder,
    SignIn,
    NoSuchUser,
    UserExists,
    Unreachable,
    TooFewNodes,
    Damaged,
    NoSpace,
    TooBig,
    Exists,
    Busy,
    Changed,
    NotAllowed,
    BadPath,
    Temporary,
    Version,
    ServerIdentity,
    LocalFile,
    Interrupted,
    OverQuota,
    Disabled,
    InDoubt,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Code; 26] = [
        Code::Unexpected,
        Code::Usage,
        Code::SomeFailed,
        Code::NoSuchFile,
        Code::NoSuchFolder,
        Code::SignIn,
        Code::NoSuchUser,
        Code::UserExists,
        Code::Unreachable,
        Code::TooFewNodes,
        Code::Damaged,
        Code::NoSpace,
        Code::TooBig,
        Code::Exists,
        Code::Busy,
        Code::Changed,
        Code::NotAllowed,
        Code::BadPath,
        Code::Temporary,
        Code::Version,
        Code::ServerIdentity,
        Code::LocalFile,
        Code::Interrupted,
        Code::OverQuota,
        Code::Disabled,
        Code::InDoubt,
    ];

    /// The word that stands for this code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Unexpected => "unexpected",
            Code::Usage => "usage",
            Code::SomeFailed => "some-failed",
            Code::NoSuchFile => "no-such-file",
            Code::NoSuchFolder => "no-such-folder",
            Code::SignIn => "sign-in",
            Code::NoSuchUser => "no-such-user",
            Code::UserExists => "user-exists",
            Code::Unreachable => "unreachable",
            Code::TooFewNodes => "too-few-nodes",
            Code::Damaged => "damaged",
            Code::NoSpace => "no-space",
            Code::TooBig => "too-big",
            Code::Exists => "exists",
            Code::Busy => "busy",
            Code::Changed => "changed",
            Code::NotAllowed => "not-allowed",
            Code::BadPath => "bad-path",
            Code::Temporary => "temporary",
            Code::Version => "version",
            Code::ServerIdentity => "server-identity",
            Code::LocalFile => "local-file",
            Code::Interrupted => "interrupted",
            Code::OverQuota => "over-quota",
            Code::Disabled => "disabled",
            Code::InDoubt => "in-doubt",
        }
    }

    /// The code that this word stands for; an unknown word (a newer peer) is [`Code::Unexpected`].
    pub fn from_wire(word: &str) -> Code {
        Code::ALL.into_iter().find(|code| code.as_str() == word).unwrap_or(Code::Unexpected)
    }

    /// The exit status of a command that ends with this error.
    pub const fn exit_status(self) -> u8 {
        match self {
            Code::Unexpected => 1,
            Code::Usage | Code::BadPath => 2,
            Code::SomeFailed => 3,
            Code::NoSuchFile | Code::NoSuchFolder => 4,
            Code::SignIn | Code::NoSuchUser | Code::Disabled => 5,
            Code::Unreachable | Code::TooFewNodes => 6,
            Code::Damaged => 7,
            Code::NoSpace | Code::TooBig | Code::OverQuota => 8,
            Code::UserExists | Code::Exists | Code::Busy | Code::Changed | Code::NotAllowed => 9,
            Code::Temporary => 10,
            Code::Version => 11,
            Code::ServerIdentity => 12,
            Code::LocalFile => 13,
            Code::InDoubt => 14,
            Code::Interrupted => 130,
        }
    }
}

/// One node's part in a failure: which node, and why it could not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which node.
    pub node: NodeId,
    /// Why, as a person would say it: `connection refused`.
    pub why: String,
}

/// Several nodes' troubles, shown as `node 1 (connection refused), node 3 (no answer within 5 s)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Troubles(pub Vec<Trouble>);

impl Troubles {
    /// The nodes that had trouble.
    pub fn nodes(&self) -> NodeSet {
        self.0.iter().map(|trouble| trouble.node).collect()
    }

    /// Notes one more, unless this node's trouble is noted already (the first cause wins).
    pub fn note(&mut self, node: NodeId, why: impl Into<String>) {
        if !self.nodes().contains(node) {
            self.0.push(Trouble { node, why: why.into() });
            self.0.sort_by_key(|trouble| trouble.node);
        }
    }
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, trouble) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}node {} ({})", trouble.node, trouble.why)?;
        }
        Ok(())
    }
}

/// Anything that went wrong in `core`.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Error {
    #[error("there is no file {0}")]
    NoSuchFile(FilePath),
    #[error("there is no folder {0}")]
    NoSuchFolder(FolderPath),
    #[error("{0}")]
    BadPath(#[from] PathError),
    #[error("{0} already exists")]
    Exists(FilePath),
    #[error("the name {what} is taken by {taken}")]
    NameCollision { what: String, taken: String },
    #[error("a file may have at most {limit} bytes on this server, and this one has {bytes}")]
    TooBig { bytes: u64, limit: u64 },
    #[error("at least {WRITE_QUORUM} of 4 nodes are needed to store; not available: {0}")]
    TooFewToStore(Troubles),
    #[error("at least {WRITE_QUORUM} of 4 nodes are needed to store; not available: {0}")]
    NodesFull(Troubles),
    #[error(
        "at least {READ_QUORUM} of the nodes that hold it are needed to read {path}; not available: {troubles}"
    )]
    TooFewToRead { path: String, troubles: Troubles },
    /// Too much of it is damaged or gone: nodes that come back do not help.
    #[error(
        "{path} is damaged: {READ_QUORUM} nodes with sound blocks are needed to read it; not sound: {troubles}"
    )]
    DamagedOnNodes { path: String, troubles: Troubles },
    #[error("there is no user {0}")]
    NoSuchUser(String),
    #[error("wrong password for user {0}")]
    WrongPassword(String),
    #[error("there is a user {0} already")]
    UserExists(String),
    #[error("sign in first")]
    NotSignedIn,
    /// A node could not do its part; carries the node so that others can be asked in its place.
    #[error("node {node}: {why}")]
    Node { node: NodeId, why: NodeFailure },
    #[error("the bytes that arrived are not the bytes that were sent ({0})")]
    Damaged(String),
    #[error("the other side does not keep to the protocol: {0}")]
    Protocol(String),
    #[error("{0}")]
    Deadline(String),
    #[error("the connection was closed {0}")]
    Closed(String),
    #[error("{what}: {}", reason(source))]
    Io { what: String, source: io::Error },
    #[error("the catalog: {0}")]
    Catalog(String),
    /// Said by the server; its text is passed on as it is.
    #[error("{text}")]
    Remote { code: Code, text: String },
    /// Anything else, with the code it should count as.
    #[error("{text}")]
    Other { code: Code, text: String },
    /// The same with what to do about it.
    #[error("{text}. {advice}")]
    Advised { code: Code, text: String, advice: String },
    /// Said in place of "no such user" and "wrong password" where the two must look the same.
    #[error("the user name or the password is wrong")]
    SignInRefused,
    #[error("the saved sign-in is not valid any more")]
    TokenRefused,
    /// A session was begun with a password that the account does not have any more.
    #[error("the password was changed; sign in with the new one")]
    PasswordChanged,
    #[error("too many accounts were asked for from there: wait {seconds} s, then try again")]
    TooManySignUps { seconds: u64 },
    #[error("too many failed sign-ins: wait {seconds} s, then try again")]
    Throttled { seconds: u64 },
    #[error("the account {0} is disabled")]
    Disabled(String),
    #[error("nobody can sign up on this server, its operator makes the accounts")]
    SignUpClosed,
    #[error(
        "{bytes} bytes do not fit: {used} of the {quota} bytes that this account may store are used"
    )]
    OverQuota { bytes: u64, used: u64, quota: u64 },
    /// A server answered in plain text where encryption was due; carries what it said.
    #[error("the answer was not encrypted")]
    PlainAnswer(Vec<u8>),
    #[error("the server {server} is not known here; its fingerprint is {found}")]
    UnknownServer { server: String, found: Fingerprint },
    #[error(
        "the server {server} is not the one that is trusted: its fingerprint is {found}, not {expected}"
    )]
    ChangedServer { server: String, found: Fingerprint, expected: Fingerprint },
    #[error(
        "{0} is not on this machine alone, and without a cluster key anybody who reaches it is let in"
    )]
    NeedsKey(String),
    /// Another server has registered with the nodes; this one must do nothing any more.
    #[error("another server has taken over (epoch {epoch}); this one serves no longer")]
    TakenOver { epoch: u64 },
    /// The server has not heard enough nodes since it started to know what the catalog is.
    #[error(
        "the server has heard {heard} since it started, and needs the journals of at least {READ_QUORUM} nodes before it reads; not available: {troubles}"
    )]
    NotReady { heard: Reached, troubles: Troubles },
    /// Too few nodes for a change.
    #[error(
        "{reached} can be reached, at least {WRITE_QUORUM} are needed to change anything; not available: {troubles}"
    )]
    TooFewToChange { reached: Reached, troubles: Troubles },
    /// The change is on some nodes' journals, on fewer than decide it.
    #[error(
        "the change may or may not have taken effect: {confirmed} confirmed it, {WRITE_QUORUM} nodes are needed; not available: {troubles}"
    )]
    InDoubt { confirmed: Reached, troubles: Troubles },
    /// An earlier change is in doubt; until that is settled nothing is changed.
    #[error(
        "an earlier change waits for more nodes, until then nothing is changed; not available: {0}"
    )]
    EarlierInDoubt(Troubles),
    #[error("there is a folder {0} already")]
    FolderExists(FolderPath),
    #[error("the folder {0} is not empty")]
    FolderNotEmpty(FolderPath),
    #[error("{0} cannot be moved into itself")]
    IntoItself(FolderPath),
    /// Another change came between what the user saw and what the user wanted to put in its place.
    #[error("{path} was changed meanwhile{}, at {}", by_whom(by.as_deref()), moment(*at_ms))]
    ChangedMeanwhile { path: FilePath, by: Option<String>, at_ms: i64 },
    /// The same, where the file is gone.
    #[error("{0} was changed meanwhile: it is not there any more")]
    GoneMeanwhile(FilePath),
}

/// Who did it, if that is known: ` by demo from 127.0.0.1:40312`.
fn by_whom(by: Option<&str>) -> String {
    by.map(|by| format!(" by {}", printable(by))).unwrap_or_default()
}

/// A time of day in UTC, of milliseconds since 1970.
fn moment(ms: i64) -> String {
    let rounded = Timestamp::from_second(ms.div_euclid(1000));
    rounded.map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

/// The nodes that can be reached, where they are too few: `only node 3`, `no node`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached(pub NodeSet);

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let only = if self.0.is_empty() { "" } else { "only " };
        write!(f, "{only}{}", self.0)
    }
}

/// Why a node could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum NodeFailure {
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Late(String),
    #[error("does not hold version {0}")]
    NotHeld(VersionId),
    #[error("block damaged: {0}")]
    Damaged(String),
    /// With the figures, if they are known.
    #[error("no space left on its disk{0}")]
    NoSpace(String),
    #[error("{0}")]
    Refused(String),
    #[error("another server has taken over (epoch {epoch})")]
    Fenced { epoch: u64 },
    /// It is there, and has no connection, file or memory to spare just now.
    #[error("{0}")]
    Busy(String),
    /// With the reason. On the wire it is a refusal.
    #[error("its disk failed: {0}")]
    DiskFailed(String),
}

impl Error {
    /// The stable kind of this error.
    pub fn code(&self) -> Code {
        match self {
            Error::NoSuchFile(_) => Code::NoSuchFile,
            Error::NoSuchFolder(_) => Code::NoSuchFolder,
            Error::BadPath(_) => Code::BadPath,
            Error::Exists(_) | Error::FolderExists(_) => Code::Exists,
            Error::FolderNotEmpty(_) | Error::IntoItself(_) => Code::NotAllowed,
            Error::ChangedMeanwhile { .. } | Error::GoneMeanwhile(_) => Code::Changed,
            Error::NameCollision { .. } => Code::NotAllowed,
            Error::NodesFull(_) => Code::NoSpace,
            Error::TooBig { .. } => Code::TooBig,
            Error::TooFewToStore(_) | Error::TooFewToRead { .. } => Code::TooFewNodes,
            Error::NoSuchUser(_) => Code::NoSuchUser,
            Error::WrongPassword(_) | Error::NotSignedIn => Code::SignIn,
            Error::UserExists(_) => Code::UserExists,
            Error::Node { .. } => Code::TooFewNodes,
            Error::Damaged(_) | Error::DamagedOnNodes { .. } => Code::Damaged,
            Error::Protocol(_) => Code::Version,
            Error::Deadline(_) | Error::Closed(_) => Code::Unreachable,
            Error::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                Code::NoSpace
            }
            Error::Io { source, .. } if is_local(source) => Code::LocalFile,
            Error::Io { .. } | Error::Catalog(_) => Code::Unexpected,
            Error::TakenOver { .. } => Code::NotAllowed,
            Error::NotReady { .. } | Error::TooFewToChange { .. } | Error::EarlierInDoubt(_) => {
                Code::TooFewNodes
            }
            Error::InDoubt { .. } => Code::InDoubt,
            Error::Remote { code, .. }
            | Error::Other { code, .. }
            | Error::Advised { code, .. } => *code,
            Error::SignInRefused | Error::TokenRefused | Error::PasswordChanged => Code::SignIn,
            Error::Throttled { .. } | Error::TooManySignUps { .. } => Code::Temporary,
            Error::Disabled(_) => Code::Disabled,
            Error::SignUpClosed => Code::NotAllowed,
            Error::OverQuota { .. } => Code::OverQuota,
            Error::NeedsKey(_) => Code::NotAllowed,
            Error::PlainAnswer(_) => Code::Version,
            Error::UnknownServer { .. } | Error::ChangedServer { .. } => Code::ServerIdentity,
        }
    }

    /// A failure of this node.
    pub fn node(node: NodeId, why: NodeFailure) -> Error {
        Error::Node { node, why }
    }

    /// An I/O error with what was being done: `cannot open /x/y`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what: what.into(), source }
    }

    /// The same with what to do about it, a sentence of its own.
    pub fn advised(code: Code, text: impl Into<String>, advice: impl Into<String>) -> Error {
        Error::Advised { code, text: text.into(), advice: advice.into() }
    }

    /// An error of a kind with a text of its own.
    pub fn other(code: Code, text: impl Into<String>) -> Error {
        Error::Other { code, text: text.into() }
    }
}

/// Is this a matter of a file or folder that a person can look after?
fn is_local(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Is this process or machine short of files, memory or ports just now? That says nothing about what was
/// asked for.
pub fn is_shortage(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Why an operation of the system failed, as a person would say it: `connection refused`.
pub fn reason(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        io::ErrorKind::BrokenPipe => "the other side has closed it",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::AddrInUse => "the address is in use",
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address",
        io::ErrorKind::NotFound => "no such file or folder",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::AlreadyExists => "it already exists",
        io::ErrorKind::IsADirectory => "it is a folder",
        io::ErrorKind::NotADirectory => "a part of the path is not a folder",
        io::ErrorKind::StorageFull => "no space left on the disk",
        io::ErrorKind::QuotaExceeded => "the disk quota is used up",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time",
        _ => return plain(&error.to_string()),
    };
    known.to_owned()
}

/// A text of the system without its number, beginning as the middle of a sentence does.
fn plain(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire() {
        for code in Code::ALL {
            assert_eq!(Code::from_wire(code.as_str()), code);
        }
        assert_eq!(Code::from_wire("from-the-future"), Code::Unexpected);
    }

    #[test]
    fn the_first_trouble_of_a_node_is_kept() {
        let mut troubles = Troubles::default();
        troubles.note(NodeId::ALL[2], "no answer within 5 s");
        troubles.note(NodeId::ALL[0], "connection refused");
        troubles.note(NodeId::ALL[2], "channel closed");
        assert_eq!(
            troubles.to_string(),
            "node 1 (connection refused), node 3 (no answer within 5 s)"
        );
    }

    #[test]
    fn no_reason_shows_a_number_of_the_system() {
        assert_eq!(reason(&io::Error::from_raw_os_error(111)), "connection refused");
        for number in 1..133 {
            let reason = reason(&io::Error::from_raw_os_error(number));
            assert!(!reason.contains("os error"), "{reason}");
            assert!(!reason.starts_with(char::is_uppercase), "{reason}");
        }
    }
}
