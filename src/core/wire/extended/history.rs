//! What was: moments and versions in requests, and the requests about what a path was before. Each of
//! those is answered with lines.

use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::{Digest, Moment, VersionId};
use crate::core::wire::extended::field;
use crate::core::wire::journal::SnapshotName;

/// A point of time that a client names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    /// This moment.
    At(Moment),
    /// That of a snapshot.
    Snapshot(SnapshotName),
}

impl When {
    /// Reads it: microseconds since 1970, or a snapshot's name.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is neither.
    pub fn parse(text: &str) -> Result<When> {
        if let Ok(us) = text.parse() {
            return Ok(When::At(Moment(us)));
        }
        let bad = || Error::Protocol(format!("{text:?} is neither a time nor a snapshot's name"));
        SnapshotName::parse(text).map(When::Snapshot).ok_or_else(bad)
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            When::At(Moment(us)) => write!(f, "{us}"),
            When::Snapshot(name) => write!(f, "{name}"),
        }
    }
}

/// The fewest and the most digits of a version that a client names.
const VERSION_DIGITS: std::ops::RangeInclusive<usize> = 4..=32;

/// Which version of a file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Which {
    /// The one that it is now.
    #[default]
    Current,
    /// The one that it was then.
    At(When),
    /// The one whose id is this or begins so, in lower-case hex.
    Version(String),
}

impl Which {
    /// The option of a request, if it takes one.
    pub(super) fn option(&self) -> Option<String> {
        match self {
            Which::Current => None,
            Which::At(when) => Some(format!("at={when}")),
            Which::Version(digits) => Some(format!("version={digits}")),
        }
    }

    /// Reads an option; `None` if it is another one.
    pub(super) fn parse(option: &str) -> Result<Option<Which>> {
        match option.split_once('=') {
            Some(("at", when)) => When::parse(when).map(|when| Some(Which::At(when))),
            Some(("version", digits)) => Which::version(digits).map(Some),
            _ => Ok(None),
        }
    }

    /// The version whose id is this, or begins so.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is too short, too long, or not in hex.
    pub fn version(digits: &str) -> Result<Which> {
        let digits = digits.to_ascii_lowercase();
        let is_good =
            VERSION_DIGITS.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let bad = || {
            let (least, most) = (VERSION_DIGITS.start(), VERSION_DIGITS.end());
            Error::Protocol(format!(
                "{digits:?} is no version's id, which is {least} to {most} hex digits"
            ))
        };
        is_good.then(|| Which::Version(digits.clone())).ok_or_else(bad)
    }
}

/// A request about what was, or about what an account has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HistoryRequest {
    /// What was a path? Answered with [`PathVersion`]s, the newest first.
    Versions {
        /// Which.
        path: FilePath,
    },
    /// What was below a folder and is not any more? Answered with [`DeletedEntry`]s, the newest first.
    Deleted {
        /// Which.
        folder: FolderPath,
    },
    /// Bring back what a path was before its last change. Answered with an [`Outcome`].
    Undo {
        /// Which.
        path: FilePath,
    },
    /// Make a file or a folder what it was then. Answered with [`Reverted`] and [`Difference`]s.
    Revert {
        /// Which; the top folder for everything.
        path: FolderPath,
        /// When.
        when: When,
        /// Only say what would change.
        dry_run: bool,
    },
    /// Let go of all that a path was.
    Forget {
        /// Which.
        path: FilePath,
    },
    /// How much is stored, and what is kept of it? Answered with [`UsageTold`].
    Usage,
}

impl HistoryRequest {
    /// Its opcode and fields.
    pub(super) fn to_lines(&self) -> Vec<String> {
        let rooted = |path: &str| format!("/{path}");
        match self {
            HistoryRequest::Versions { path } => vec!["VER".into(), rooted(path.as_str())],
            HistoryRequest::Deleted { folder } => vec!["GON".into(), rooted(folder.as_str())],
            HistoryRequest::Undo { path } => vec!["UND".into(), rooted(path.as_str())],
            HistoryRequest::Revert { path, when, dry_run } => {
                let mut lines = vec!["RVT".into(), rooted(path.as_str()), format!("at={when}")];
                lines.extend(dry_run.then(|| "dry-run=yes".to_owned()));
                lines
            }
            HistoryRequest::Forget { path } => vec!["FGT".into(), rooted(path.as_str())],
            HistoryRequest::Usage => vec!["USE".into()],
        }
    }

    /// Reads one; `None` if it is another request.
    pub(super) fn parse(fields: &[&str]) -> Result<Option<HistoryRequest>> {
        Ok(Some(match fields {
            ["VER", path] => HistoryRequest::Versions { path: FilePath::parse_rooted(path)? },
            ["GON", folder] => {
                HistoryRequest::Deleted { folder: FolderPath::parse_rooted(folder)? }
            }
            ["UND", path] => HistoryRequest::Undo { path: FilePath::parse_rooted(path)? },
            ["RVT", path, when, options @ ..] => {
                let path = FolderPath::parse_rooted(path)?;
                let bad = || Error::Protocol(format!("{when:?} says no time"));
                let when = When::parse(when.strip_prefix("at=").ok_or_else(bad)?)?;
                let [dry_run] = super::options::switches(options, ["dry-run=yes"])?;
                HistoryRequest::Revert { path, when, dry_run }
            }
            ["FGT", path] => HistoryRequest::Forget { path: FilePath::parse_rooted(path)? },
            ["USE"] => HistoryRequest::Usage,
            _ => return Ok(None),
        }))
    }
}

/// What a path was for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathVersion {
    /// The file; `None`: a folder.
    pub file: Option<VersionFacts>,
    /// Since when.
    pub from: Moment,
    /// Until when; `None`: it is so now.
    pub until: Option<Moment>,
    /// When it will be let go of, in milliseconds since 1970; `None`: not by itself, or it is current.
    pub expires_ms: Option<i64>,
    /// The snapshot that has it, if it would be gone otherwise.
    pub held_by: Option<String>,
}

/// What is known of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionFacts {
    /// Its id.
    pub version: VersionId,
    /// The file's size.
    pub bytes: u64,
    /// Its digest.
    pub blake3: Digest,
    /// When its store began, in milliseconds since 1970.
    pub stored_ms: i64,
    /// Who stored it, and from where; empty if unknown.
    pub by: String,
}

impl PathVersion {
    /// As a line, its parts kept apart by tabs.
    pub fn encode(&self) -> String {
        let number =
            |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let file = match &self.file {
            None => "D\t-\t-\t-\t-\t".to_owned(),
            Some(VersionFacts { version, bytes, blake3, stored_ms, by }) => {
                format!("F\t{version}\t{bytes}\t{blake3}\t{stored_ms}\t{}", by.replace('\t', " "))
            }
        };
        let (from, until) = (self.from.0, number(self.until.map(|until| until.0)));
        let (expires, held_by) = (number(self.expires_ms), self.held_by.as_deref().unwrap_or("-"));
        format!("{file}\t{from}\t{until}\t{expires}\t{held_by}")
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn decode(line: &str) -> Result<PathVersion> {
        let parts: Vec<&str> = line.split('\t').collect();
        let [kind, version, bytes, blake3, stored_ms, by, from, until, expires, held_by] =
            parts[..]
        else {
            return Err(malformed());
        };
        let file = match kind {
            "D" => None,
            "F" => Some(VersionFacts {
                version: parse(version)?,
                bytes: parse(bytes)?,
                blake3: parse(blake3)?,
                stored_ms: parse(stored_ms)?,
                by: by.to_owned(),
            }),
            _ => return Err(malformed()),
        };
        Ok(PathVersion {
            file,
            from: Moment(parse(from)?),
            until: optional(until)?.map(Moment),
            expires_ms: optional(expires)?,
            held_by: Some(held_by.to_owned()).filter(|name| name != "-"),
        })
    }
}

/// Something that is not there any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedEntry {
    /// What it was called.
    pub path: FilePath,
    /// The size of the file; `None`: it was a folder.
    pub bytes: Option<u64>,
    /// When it went.
    pub gone: Moment,
}

impl DeletedEntry {
    /// As a line, its parts kept apart by tabs.
    pub fn encode(&self) -> String {
        let bytes = self.bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        format!("{}\t{bytes}\t/{}", self.gone.0, self.path.as_str())
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn decode(line: &str) -> Result<DeletedEntry> {
        let parts: Vec<&str> = line.split('\t').collect();
        let [gone, bytes, path] = parts[..] else { return Err(malformed()) };
        let path = FilePath::parse_rooted(path).map_err(|_| malformed())?;
        Ok(DeletedEntry { path, bytes: optional(bytes)?, gone: Moment(parse(gone)?) })
    }
}

/// What undoing has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The file is its former version again.
    Former(VersionId),
    /// The deleted file is back.
    FileBack(VersionId),
    /// The removed folder is back, with so many files.
    FolderBack(u64),
    /// What was moved is here again.
    MovedBack {
        /// Where it was until now.
        from: FolderPath,
        /// Where it is again.
        to: FolderPath,
    },
    /// The file was new, and is deleted.
    Deleted,
}

impl Outcome {
    /// As lines of a reply.
    pub fn to_fields(&self) -> Vec<String> {
        let done = |what: &str| format!("undone={what}");
        match self {
            Outcome::Former(version) => vec![done("former"), format!("version={version}")],
            Outcome::FileBack(version) => vec![done("file"), format!("version={version}")],
            Outcome::FolderBack(files) => vec![done("folder"), format!("files={files}")],
            Outcome::MovedBack { from, to } => vec![
                done("moved"),
                format!("from=/{}", from.as_str()),
                format!("to=/{}", to.as_str()),
            ],
            Outcome::Deleted => vec![done("deleted")],
        }
    }

    /// Reads the lines of a reply.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn from_fields(fields: &[String]) -> Result<Outcome> {
        let path = |key| -> Result<FolderPath> {
            let text: String = field(fields, key)?;
            FolderPath::parse_rooted(&text).map_err(|_| malformed())
        };
        match field::<String>(fields, "undone")?.as_str() {
            "former" => Ok(Outcome::Former(field(fields, "version")?)),
            "file" => Ok(Outcome::FileBack(field(fields, "version")?)),
            "folder" => Ok(Outcome::FolderBack(field(fields, "files")?)),
            "moved" => Ok(Outcome::MovedBack { from: path("from")?, to: path("to")? }),
            "deleted" => Ok(Outcome::Deleted),
            _ => Err(malformed()),
        }
    }
}

/// What making something as it was comes to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reverted {
    /// So many files come back that are not there.
    pub back: u64,
    /// So many become another version.
    pub changed: u64,
    /// So many go that were not there then.
    pub gone: u64,
    /// So many stay as they are.
    pub same: u64,
    /// The moment before it was done, to undo it; `None` if nothing was done.
    pub before: Option<Moment>,
}

impl Reverted {
    /// As lines of a reply.
    pub fn to_fields(self) -> Vec<String> {
        let mut fields = vec![
            format!("back={}", self.back),
            format!("changed={}", self.changed),
            format!("gone={}", self.gone),
            format!("same={}", self.same),
        ];
        fields.extend(self.before.map(|before| format!("before={}", before.0)));
        fields
    }

    /// Reads the lines of a reply.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn from_fields(fields: &[String]) -> Result<Reverted> {
        Ok(Reverted {
            back: field(fields, "back")?,
            changed: field(fields, "changed")?,
            gone: field(fields, "gone")?,
            same: field(fields, "same")?,
            before: field(fields, "before").ok().map(Moment),
        })
    }
}

/// What becomes of one file when something is made as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// `+` comes back, `~` becomes another version, `-` goes.
    pub what: char,
    /// Which.
    pub path: FilePath,
}

impl Difference {
    /// As a line.
    pub fn encode(&self) -> String {
        format!("{}\t/{}", self.what, self.path.as_str())
    }

    /// Reads a line; `None` if it is a field.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is neither.
    pub fn decode(line: &str) -> Result<Option<Difference>> {
        let Some((what, path)) = line.split_once('\t') else { return Ok(None) };
        let what = match what {
            "+" => '+',
            "~" => '~',
            "-" => '-',
            _ => return Err(malformed()),
        };
        let path = FilePath::parse_rooted(path).map_err(|_| malformed())?;
        Ok(Some(Difference { what, path }))
    }
}

/// What an account has, as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct UsageTold {
    /// How many files it has.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of what is kept for undo and in snapshots.
    pub kept_bytes: u64,
    /// How much it may store; `None` for as much as there is room for.
    pub quota_bytes: Option<u64>,
}

impl UsageTold {
    /// As lines of a reply.
    pub fn to_fields(self) -> Vec<String> {
        let mut fields = vec![
            format!("files={}", self.files),
            format!("bytes={}", self.bytes),
            format!("kept={}", self.kept_bytes),
        ];
        fields.extend(self.quota_bytes.map(|bytes| format!("quota={bytes}")));
        fields
    }

    /// Reads the lines of a reply.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn from_fields(fields: &[String]) -> Result<UsageTold> {
        Ok(UsageTold {
            files: field(fields, "files")?,
            bytes: field(fields, "bytes")?,
            kept_bytes: field(fields, "kept")?,
            quota_bytes: field(fields, "quota").ok(),
        })
    }
}

fn malformed() -> Error {
    Error::Protocol("a line about what was has an unknown form".into())
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| malformed())
}

fn optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>> {
    if text == "-" { Ok(None) } else { parse(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_wire() {
        let facts = VersionFacts {
            version: VersionId([7; 16]),
            bytes: 9,
            blake3: Digest([3; 32]),
            stored_ms: -4,
            by: "demo from 127.0.0.1:1".into(),
        };
        for file in [None, Some(facts)] {
            for (until, expires_ms, held_by) in
                [(None, None, None), (Some(Moment(8)), Some(9), Some("s1".to_owned()))]
            {
                let told =
                    PathVersion { file: file.clone(), from: Moment(5), until, expires_ms, held_by };
                assert_eq!(PathVersion::decode(&told.encode()).unwrap(), told);
            }
        }
        let path = FilePath::parse_rooted("a b/c").unwrap();
        for bytes in [None, Some(4)] {
            let deleted = DeletedEntry { path: path.clone(), bytes, gone: Moment(-1) };
            assert_eq!(DeletedEntry::decode(&deleted.encode()).unwrap(), deleted);
        }
        let (from, to) = (path.as_folder(), FolderPath::parse("d").unwrap());
        for outcome in [
            Outcome::Former(VersionId([1; 16])),
            Outcome::FileBack(VersionId([2; 16])),
            Outcome::FolderBack(3),
            Outcome::MovedBack { from, to },
            Outcome::Deleted,
        ] {
            assert_eq!(Outcome::from_fields(&outcome.to_fields()).unwrap(), outcome);
        }
        for before in [None, Some(Moment(6))] {
            let reverted = Reverted { back: 1, changed: 2, gone: 3, same: 4, before };
            assert_eq!(Reverted::from_fields(&reverted.to_fields()).unwrap(), reverted);
        }
        for what in ['+', '~', '-'] {
            let difference = Difference { what, path: path.clone() };
            assert_eq!(Difference::decode(&difference.encode()).unwrap(), Some(difference));
        }
        assert_eq!(Difference::decode("back=1").unwrap(), None);
        assert!(Difference::decode("?\t/a").is_err());
        for quota_bytes in [None, Some(9)] {
            let usage = UsageTold { files: 1, bytes: 2, kept_bytes: 3, quota_bytes };
            assert_eq!(UsageTold::from_fields(&usage.to_fields()).unwrap(), usage);
        }
    }

    #[test]
    fn a_moment_is_a_number_and_a_snapshot_a_name() {
        assert_eq!(When::parse("-5").unwrap(), When::At(Moment(-5)));
        let daily = SnapshotName::parse("daily-2026-11-30").unwrap();
        assert_eq!(When::parse("daily-2026-11-30").unwrap(), When::Snapshot(daily));
        assert!(When::parse("2026-11-30").is_err() && When::parse("").is_err());
        assert!(Which::version("abc").is_err() && Which::version("wxyz").is_err());
        assert_eq!(Which::version("ABCD").unwrap(), Which::Version("abcd".into()));
    }
}
