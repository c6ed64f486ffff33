//! The extended session: what `palk client` and the server say to each other once the client's
//! hello has named it. See `docs/protocol.md`.
//!
//! Every message is lines in the sense of [`lines`]; no line is ever empty, since paths begin with
//! `/` here. The bytes of files travel in [`chunk`](super::chunk)s.

pub mod attributes;
pub mod history;
mod options;
mod outcome;
mod uploads;

use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::range::ByteRange;
use crate::core::types::{Digest, FileAttributes, NodeSet, Precondition, VersionId};
use crate::core::wire::keys::KeyRequest;
use crate::core::wire::lines;
use crate::core::wire::token::Token;

pub use history::{HistoryRequest, When, Which};
pub use options::Extent;
pub use outcome::{Moved, Removed};
pub use uploads::{PendingUpload, UploadRequest};

/// The version of the extended session that this program speaks.
pub const SESSION_VERSION: u32 = 1;

/// The longest reply that a client takes in one piece, in bytes. Listings are read line by line.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The second line of a hello that asks for the extended session.
pub fn hello_line() -> String {
    format!("palk {SESSION_VERSION}")
}

/// The version that a hello's second line asks for, if it asks for the extended session at all.
pub fn parse_hello_line(line: &str) -> Option<u32> {
    line.strip_prefix("palk ")?.parse().ok()
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // named after the opcodes of docs/protocol.md
pub enum Request {
    SignIn {
        user: String,
        password: String,
    },
    SignUp {
        user: String,
        password: String,
    },
    Store {
        path: FilePath,
        bytes: u64,
        precondition: Precondition,
        attributes: FileAttributes,
        /// What has come is kept as the upload of this id if the transfer breaks off.
        keep: Option<VersionId>,
    },
    /// Bytes of an upload.
    Send {
        upload: VersionId,
        offset: u64,
        bytes: u64,
    },
    Retrieve {
        path: FilePath,
        which: Which,
        range: Option<ByteRange>,
    },
    Delete {
        path: FilePath,
    },
    /// What the file of this path and version keeps besides its bytes: what is given here, and the rest
    /// as it was.
    SetAttributes {
        path: FilePath,
        version: VersionId,
        attributes: FileAttributes,
    },
    /// A plain `INF` is everything below the top folder.
    List {
        path: FolderPath,
        extent: Extent,
        at: Option<When>,
        /// Is it told what files keep besides their bytes?
        attributes: bool,
    },
    SignOut,
    Status,
    TokenSignIn {
        user: String,
        token: Token,
    },
    IssueToken {
        machine: String,
    },
    RevokeToken,
    ChangePassword {
        old: String,
        new: String,
    },
    MakeFolder {
        folder: FolderPath,
        parents: bool,
    },
    RemoveFolder {
        folder: FolderPath,
        recursive: bool,
    },
    Move {
        from: FilePath,
        to: FolderPath,
        replace: bool,
    },
    Copy {
        from: FilePath,
        to: FolderPath,
        recursive: bool,
        replace: bool,
    },
    /// `VER`, `GON`, `UND`, `RVT`, `FGT`, `USE`.
    History(HistoryRequest),
    /// `BEG`, `HOW`, `CMP`, `DRP`, `UPL`.
    Upload(UploadRequest),
    /// `KEY`, `KYS`, `KYD`.
    Keys(KeyRequest),
}

/// All opcodes.
const OPCODES: [&str; 32] = [
    "ATR", "SND", "BEG", "HOW", "CMP", "DRP", "UPL", "LGN", "NEW", "STR", "RTV", "DEL", "INF",
    "LGO", "STA", "TOK", "ISS", "REV", "PWD", "MKD", "RMD", "MOV", "CPY", "VER", "GON", "UND",
    "RVT", "FGT", "USE", "KEY", "KYS", "KYD",
];

/// The switches of requests, as lines.
const PARENTS: &str = "parents=yes";
const RECURSIVE: &str = "recursive=yes";
const REPLACE: &str = "replace=yes";

impl Request {
    /// The request as it travels.
    pub fn encode(&self) -> Vec<u8> {
        let rooted = |path: &FilePath| format!("/{}", path.as_str());
        let rooted_folder = |path: &FolderPath| format!("/{}", path.as_str());
        let switched = |mut request: Vec<String>, on: bool, word: &str| {
            request.extend(on.then(|| word.to_owned()));
            lines::encode(&request)
        };
        match self {
            Request::SignIn { user, password } => lines::encode(&["LGN", user, password]),
            Request::SignUp { user, password } => lines::encode(&["NEW", user, password]),
            Request::Store { path, bytes, precondition, attributes, keep } => {
                let mut request = vec!["STR".to_owned(), rooted(path), bytes.to_string()];
                request.extend(options::of_precondition(*precondition));
                request.extend(attributes::to_fields(*attributes));
                request.extend(keep.map(|id| format!("keep={id}")));
                lines::encode(&request)
            }
            Request::Send { upload, offset, bytes } => {
                let [upload, offset, bytes] =
                    [upload.to_string(), offset.to_string(), bytes.to_string()];
                lines::encode(&["SND", &upload, &offset, &bytes])
            }
            Request::Retrieve { path, which, range } => {
                let mut request = vec!["RTV".to_owned(), rooted(path)];
                request.extend(which.option());
                request.extend(range.map(|range| format!("range={range}")));
                lines::encode(&request)
            }
            Request::Delete { path } => lines::encode(&["DEL", &rooted(path)]),
            Request::SetAttributes { path, version, attributes } => {
                let mut request = vec!["ATR".to_owned(), rooted(path), version.to_string()];
                request.extend(attributes::to_fields(*attributes));
                lines::encode(&request)
            }
            Request::List { path, extent: Extent::All, at: None, attributes: false }
                if path.is_top() =>
            {
                lines::encode(&["INF"])
            }
            Request::List { path, extent, at, attributes } => {
                let mut request = vec!["INF".to_owned(), rooted_folder(path)];
                request.extend(options::of_extent(*extent));
                request.extend(at.as_ref().map(|at| format!("at={at}")));
                switched(request, *attributes, options::ATTRIBUTES)
            }
            Request::SignOut => lines::encode(&["LGO"]),
            Request::Status => lines::encode(&["STA"]),
            Request::TokenSignIn { user, token } => {
                lines::encode(&["TOK", user.as_str(), token.reveal().as_str()])
            }
            Request::IssueToken { machine } => lines::encode(&["ISS", machine]),
            Request::RevokeToken => lines::encode(&["REV"]),
            Request::ChangePassword { old, new } => lines::encode(&["PWD", old, new]),
            Request::MakeFolder { folder, parents } => {
                switched(vec!["MKD".into(), rooted_folder(folder)], *parents, PARENTS)
            }
            Request::RemoveFolder { folder, recursive } => {
                switched(vec!["RMD".into(), rooted_folder(folder)], *recursive, RECURSIVE)
            }
            Request::Move { from, to, replace } => {
                switched(vec!["MOV".into(), rooted(from), rooted_folder(to)], *replace, REPLACE)
            }
            Request::Copy { from, to, recursive, replace } => {
                let mut request = vec!["CPY".into(), rooted(from), rooted_folder(to)];
                request.extend(recursive.then(|| RECURSIVE.to_owned()));
                switched(request, *replace, REPLACE)
            }
            Request::History(request) => lines::encode(&request.to_lines()),
            Request::Upload(request) => lines::encode(&request.to_lines()),
            Request::Keys(request) => lines::encode(&request.to_lines()),
        }
    }

    /// Reads a request from the lines of a message.
    ///
    /// # Errors
    /// [`Error::Protocol`] for an unknown opcode or option or a wrong number of fields,
    /// [`Error::BadPath`] for a path that is not one.
    pub fn decode(message: &[String]) -> Result<Request> {
        let fields: Vec<&str> = message.iter().map(String::as_str).collect();
        match fields.as_slice() {
            ["LGN", user, password] => {
                Ok(Request::SignIn { user: (*user).into(), password: (*password).into() })
            }
            ["NEW", user, password] => {
                Ok(Request::SignUp { user: (*user).into(), password: (*password).into() })
            }
            ["STR", path, bytes, options @ ..] => {
                let path = FilePath::parse_rooted(path)?;
                let bytes = size(bytes)?;
                let (attributes, mut options) = attributes::split_off(options)?;
                let keep = uploads::take(&mut options, "keep=")?;
                let precondition = options::precondition(&options)?;
                Ok(Request::Store { path, bytes, precondition, attributes, keep })
            }
            ["SND", upload, offset, bytes] => {
                let (offset, bytes) = (size(offset)?, size(bytes)?);
                Ok(Request::Send { upload: uploads::id(upload)?, offset, bytes })
            }
            ["RTV", path, options @ ..] => {
                let path = FilePath::parse_rooted(path)?;
                let (which, range) = options::of_retrieval(options)?;
                Ok(Request::Retrieve { path, which, range })
            }
            ["ATR", path, version, options @ ..] => {
                let path = FilePath::parse_rooted(path)?;
                let version = uploads::id(version)?;
                let attributes = attributes::only(options)?;
                Ok(Request::SetAttributes { path, version, attributes })
            }
            ["DEL", path] => Ok(Request::Delete { path: FilePath::parse_rooted(path)? }),
            ["INF"] => {
                let (path, extent) = (FolderPath::top(), Extent::All);
                Ok(Request::List { path, extent, at: None, attributes: false })
            }
            ["INF", path, options @ ..] => {
                let path = FolderPath::parse_rooted(path)?;
                let (extent, at, attributes) = options::of_listing(options)?;
                Ok(Request::List { path, extent, at, attributes })
            }
            ["LGO"] => Ok(Request::SignOut),
            ["STA"] => Ok(Request::Status),
            // What is no token at all is like one that was revoked: its client is to forget it.
            ["TOK", user, token] => match token.parse() {
                Ok(token) => Ok(Request::TokenSignIn { user: (*user).into(), token }),
                Err(_) => Err(Error::TokenRefused),
            },
            ["ISS", machine] => Ok(Request::IssueToken { machine: (*machine).into() }),
            ["REV"] => Ok(Request::RevokeToken),
            ["PWD", old, new] => {
                Ok(Request::ChangePassword { old: (*old).into(), new: (*new).into() })
            }
            ["MKD", folder, options @ ..] => {
                let folder = FolderPath::parse_rooted(folder)?;
                let [parents] = options::switches(options, [PARENTS])?;
                Ok(Request::MakeFolder { folder, parents })
            }
            ["RMD", folder, options @ ..] => {
                let folder = FolderPath::parse_rooted(folder)?;
                let [recursive] = options::switches(options, [RECURSIVE])?;
                Ok(Request::RemoveFolder { folder, recursive })
            }
            ["MOV", from, to, options @ ..] => {
                let (from, to) = (FilePath::parse_rooted(from)?, FolderPath::parse_rooted(to)?);
                let [replace] = options::switches(options, [REPLACE])?;
                Ok(Request::Move { from, to, replace })
            }
            ["CPY", from, to, options @ ..] => {
                let (from, to) = (FilePath::parse_rooted(from)?, FolderPath::parse_rooted(to)?);
                let [recursive, replace] = options::switches(options, [RECURSIVE, REPLACE])?;
                Ok(Request::Copy { from, to, recursive, replace })
            }
            fields => {
                if let Some(request) = HistoryRequest::parse(fields)? {
                    return Ok(Request::History(request));
                }
                if let Some(request) = UploadRequest::parse(fields)? {
                    return Ok(Request::Upload(request));
                }
                if let Some(request) = KeyRequest::parse(fields)? {
                    return Ok(Request::Keys(request));
                }
                match fields {
                    [opcode, ..] if OPCODES.contains(opcode) => {
                        Err(Error::Protocol(format!("wrong number of fields for {opcode}")))
                    }
                    _ => Err(Error::Protocol("unknown opcode".into())),
                }
            }
        }
    }
}

fn size(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::Protocol(format!("{text:?} is not a size in bytes")))
}

/// A text that takes a line of its own: an empty line would end the message before its time, and
/// what follows would be taken for the next one.
fn filled(text: &str) -> &str {
    if text.is_empty() { " " } else { text }
}

/// What the server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// `S`: done, with lines that belong to the request.
    Success(Vec<String>),
    /// `E`: not done, with the text to show and the kind of error.
    Error {
        /// What is shown to the user.
        text: String,
        /// Stable.
        code: Code,
    },
    /// `D`: the server closes the connection, for this reason.
    Disconnect(String),
}

impl Reply {
    /// The reply as it travels.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Reply::Success(fields) => {
                let mut all = vec!["S"];
                all.extend(fields.iter().map(String::as_str));
                lines::encode(&all)
            }
            Reply::Error { text, code } => lines::encode(&["E", filled(text), code.as_str()]),
            Reply::Disconnect(reason) => lines::encode(&["D", filled(reason)]),
        }
    }

    /// Reads a reply from the lines of a message.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn decode(message: &[String]) -> Result<Reply> {
        let fields: Vec<&str> = message.iter().map(String::as_str).collect();
        match fields.as_slice() {
            ["S", ..] => Ok(Reply::Success(message[1..].to_vec())),
            ["E", text, code] => {
                Ok(Reply::Error { text: (*text).into(), code: Code::from_wire(code) })
            }
            ["D", reason @ ..] => Ok(Reply::Disconnect(reason.join(" "))),
            _ => Err(Error::Protocol("the server's answer has an unknown form".into())),
        }
    }

    /// The reply to a request that failed.
    pub fn from_error(error: &Error) -> Reply {
        Reply::Error { text: error.to_string(), code: error.code() }
    }
}

/// The value of `key=value` among a reply's lines.
///
/// # Errors
/// [`Error::Protocol`] if it is missing or not of the type that is asked for.
pub fn field<T: std::str::FromStr>(fields: &[String], key: &str) -> Result<T> {
    fields
        .iter()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Error::Protocol(format!("the server's answer lacks a valid {key:?}")))
}

/// One line of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A folder.
    Folder(FolderPath),
    /// A file's current version.
    File(FileEntry),
}

/// What a listing says of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Where it is.
    pub path: FilePath,
    /// Its size.
    pub bytes: u64,
    /// When it was stored, in milliseconds since 1970 by the server's clock.
    pub stored_ms: i64,
    /// Its current version.
    pub version: VersionId,
    /// Its content.
    pub blake3: Digest,
    /// The nodes that hold it.
    pub placed: NodeSet,
    /// What it keeps of the file that was stored, if that is known and was asked for.
    pub attributes: FileAttributes,
}

impl Entry {
    /// The entry as a line, its parts kept apart by tabs (which no name contains). The attributes of a file
    /// are further parts, for those who have asked for them.
    pub fn encode(&self, attributes: bool) -> String {
        match self {
            Entry::Folder(path) => format!("D\t/{}", path.as_str()),
            Entry::File(file) => {
                let mut line = format!(
                    "F\t/{}\t{}\t{}\t{}\t{}\t{}",
                    file.path.as_str(),
                    file.bytes,
                    file.stored_ms,
                    file.version,
                    file.blake3,
                    file.placed.bits(),
                );
                if attributes {
                    for field in attributes::to_fields(file.attributes) {
                        line.push_str(&format!("\t{field}"));
                    }
                }
                line
            }
        }
    }

    /// Reads a line of a listing. A path in it is checked like any other: a server cannot name a
    /// place outside the user's folder.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn decode(line: &str) -> Result<Entry> {
        let malformed = || Error::Protocol("a line of the listing has an unknown form".into());
        // Not the user's mistake, so no error of a path that the user has named.
        let elsewhere =
            |why| Error::Protocol(format!("a line of the listing names no path: {why}"));
        let parts: Vec<&str> = line.split('\t').collect();
        match parts.as_slice() {
            ["D", path] => Ok(Entry::Folder(FolderPath::parse_rooted(path).map_err(elsewhere)?)),
            ["F", path, bytes, stored_ms, version, blake3, placed, attributes @ ..] => {
                let attributes = attributes::only(attributes).map_err(|_| malformed())?;
                Ok(Entry::File(FileEntry {
                    path: FilePath::parse_rooted(path).map_err(elsewhere)?,
                    bytes: bytes.parse().map_err(|_| malformed())?,
                    stored_ms: stored_ms.parse().map_err(|_| malformed())?,
                    version: version.parse().map_err(|_| malformed())?,
                    blake3: blake3.parse().map_err(|_| malformed())?,
                    placed: NodeSet::from_bits(placed.parse().map_err(|_| malformed())?),
                    attributes,
                }))
            }
            _ => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::{FileKind, Moment};

    fn round_trip(request: Request) {
        let bytes = request.encode();
        let (message, used) = lines::decode(&bytes, bytes.len()).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        assert_eq!(Request::decode(&message).unwrap(), request);
    }

    #[test]
    fn requests_survive_the_wire() {
        let path = FilePath::parse_rooted("up/photo.jpg").unwrap();
        round_trip(Request::SignIn { user: "demo".into(), password: "a b".into() });
        round_trip(Request::SignUp { user: "demo".into(), password: "a b".into() });
        for precondition in [
            Precondition::Any,
            Precondition::Absent,
            Precondition::Present,
            Precondition::Unchanged(VersionId([7; 16])),
        ] {
            for attributes in [
                FileAttributes::default(),
                FileAttributes { modified_ms: Some(-1), kind: Some(FileKind::Executable) },
                FileAttributes { modified_ms: None, kind: Some(FileKind::Plain) },
            ] {
                let path = path.clone();
                let keep = Some(VersionId([4; 16]));
                round_trip(Request::Store { path, bytes: 7, precondition, attributes, keep });
            }
        }
        for range in [None, Some("5-"), Some("5-9"), Some("-9")] {
            let range = range.map(|range| range.parse().unwrap());
            for which in [
                Which::Current,
                Which::At(When::At(Moment(7))),
                Which::At(When::parse("daily").unwrap()),
                Which::Version("0123abcd".into()),
            ] {
                round_trip(Request::Retrieve { path: path.clone(), which, range });
            }
        }
        for dry_run in [false, true] {
            let (path, when) = (FolderPath::top(), When::At(Moment(7)));
            round_trip(Request::History(HistoryRequest::Revert { path, when, dry_run }));
        }
        round_trip(Request::History(HistoryRequest::Versions { path: path.clone() }));
        round_trip(Request::History(HistoryRequest::Deleted { folder: path.folder() }));
        round_trip(Request::History(HistoryRequest::Undo { path: path.clone() }));
        round_trip(Request::History(HistoryRequest::Forget { path: path.clone() }));
        round_trip(Request::History(HistoryRequest::Usage));
        round_trip(Request::Delete { path: path.clone() });
        let attributes = FileAttributes { modified_ms: Some(7), kind: None };
        let version = VersionId([7; 16]);
        round_trip(Request::SetAttributes { path: path.clone(), version, attributes });
        for folder in [FolderPath::top(), path.folder()] {
            for extent in [Extent::Itself, Extent::Children, Extent::All] {
                for at in [None, Some(When::At(Moment(7)))] {
                    for attributes in [false, true] {
                        let (path, at) = (folder.clone(), at.clone());
                        round_trip(Request::List { path, extent, at, attributes });
                    }
                }
            }
            for on in [false, true] {
                round_trip(Request::MakeFolder { folder: folder.clone(), parents: on });
                round_trip(Request::RemoveFolder { folder: folder.clone(), recursive: on });
                let (from, to) = (path.clone(), folder.clone());
                round_trip(Request::Move { from, to, replace: on });
                for recursive in [false, true] {
                    let (from, to) = (path.clone(), folder.clone());
                    round_trip(Request::Copy { from, to, recursive, replace: on });
                }
            }
        }
        round_trip(Request::SignOut);
        round_trip(Request::Status);
        round_trip(Request::TokenSignIn { user: "demo".into(), token: Token([9; 32]) });
        round_trip(Request::IssueToken { machine: "laptop".into() });
        round_trip(Request::RevokeToken);
        round_trip(Request::ChangePassword { old: "a".into(), new: "b c".into() });
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let decode = |lines: &[&str]| {
            Request::decode(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
        };
        assert!(decode(&["STRANGE", "/a", "1"]).is_err());
        assert!(decode(&["STR", "/a"]).is_err());
        assert!(decode(&["STR", "/a", "-1"]).is_err());
        assert!(decode(&["STR", "/a", "1", "colour=red"]).is_err());
        assert!(decode(&["STR", "/a", "1", "modified_ms=soon"]).is_err());
        assert!(decode(&["STR", "/a", "1", "executable=maybe"]).is_err());
        assert!(decode(&["RTV", "/a/../../b"]).is_err());
        assert!(decode(&["RTV", "/a", "range=9-5"]).is_err());
        assert!(decode(&["RTV", "/a", "range=0-1", "range=2-3"]).is_err());
        assert!(decode(&["INF", "/a", "scope=some"]).is_err());
        assert!(decode(&["MKD", "/a", "recursive=yes"]).is_err());
        assert!(decode(&["MKD"]).is_err());
        assert!(decode(&["RMD", "/../a"]).is_err());
        assert!(decode(&["MOV", "/", "/a"]).is_err());
        assert!(decode(&["MOV", "/a"]).is_err());
        assert!(decode(&[]).is_err());
        assert_eq!(decode(&["TOK", "demo", "ab"]).unwrap_err().code(), Code::SignIn);
        assert_eq!(decode(&["PWD", "one"]).unwrap_err().code(), Code::Version);
    }

    #[test]
    fn replies_and_entries_survive_the_wire() {
        for reply in [
            Reply::Success(vec!["bytes=7".into()]),
            Reply::Success(vec![]),
            Reply::Error { text: "no".into(), code: Code::NoSuchFile },
            Reply::Disconnect("bye".into()),
        ] {
            let bytes = reply.encode();
            let (message, _) = lines::decode(&bytes, bytes.len()).unwrap().unwrap();
            assert_eq!(Reply::decode(&message).unwrap(), reply);
        }
        let link = FileAttributes { modified_ms: Some(-5), kind: Some(FileKind::Link) };
        for attributes in [FileAttributes::default(), link] {
            let file = Entry::File(FileEntry {
                path: FilePath::parse_rooted("a/b").unwrap(),
                bytes: 7,
                stored_ms: 1_700_000_000_000,
                version: VersionId([1; 16]),
                blake3: Digest([2; 32]),
                placed: NodeSet::from_bits(0b1011),
                attributes,
            });
            assert_eq!(Entry::decode(&file.encode(true)).unwrap(), file);
        }
        let folder = Entry::Folder(FolderPath::parse("a").unwrap());
        assert_eq!(Entry::decode(&folder.encode(true)).unwrap(), folder);
        assert!(Entry::decode("D\t/../x").is_err());
    }

    #[test]
    fn a_reply_without_a_text_is_one_message() {
        let code = Code::Busy;
        for reply in [Reply::Error { text: String::new(), code }, Reply::Disconnect(String::new())]
        {
            let bytes = reply.encode();
            let (message, used) = lines::decode(&bytes, bytes.len()).unwrap().unwrap();
            assert_eq!(used, bytes.len());
            assert_eq!(Reply::decode(&message).unwrap().encode(), bytes);
        }
    }

    #[test]
    fn a_field_is_found_by_its_key() {
        let fields = vec!["bytes=7".to_owned(), "byte=8".to_owned()];
        assert_eq!(field::<u64>(&fields, "byte").unwrap(), 8);
        assert!(field::<u64>(&fields, "bytesize").is_err());
    }
}
