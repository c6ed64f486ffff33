//! What the page is told, as JSON. Moments are microseconds since 1970, other times milliseconds.

use serde::Serialize;

use crate::core::error::{Code, Error, Result};
use crate::core::status::State;
use crate::core::wire::extended::history::{
    DeletedEntry, Difference, Outcome, PathVersion, Reverted, UsageTold,
};
use crate::core::wire::extended::{Entry, PendingUpload};

/// As text.
///
/// # Errors
/// [`Code::Unexpected`] if it has no form in JSON.
pub fn encode<T: Serialize>(value: &T) -> Result<String> {
    let failed = |error: serde_json::Error| Error::other(Code::Unexpected, error.to_string());
    serde_json::to_string(value).map_err(failed)
}

/// Who has signed in, and what may be stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Account {
    /// The account's name.
    pub user: String,
    /// May it see how the cluster is, and have it scrubbed and repaired?
    pub is_admin: bool,
    /// Can what is deleted or replaced be had back?
    pub keeps: bool,
    /// How many files it has.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of what is kept for undo.
    pub kept_bytes: u64,
    /// How much it may store; `None` for as much as there is room for.
    pub quota_bytes: Option<u64>,
    /// The largest file that is taken.
    pub file_bytes_max: u64,
    /// How the cluster is, in one word.
    pub state: State,
    /// Can files be stored now?
    pub can_store: bool,
    /// How many more nodes may be lost.
    pub nodes_to_spare: usize,
    /// How many nodes are up.
    pub nodes_up: usize,
    /// About how many bytes of files the nodes have room for, if that is known.
    pub room_bytes: Option<u64>,
}

impl Account {
    /// The same with what an account has stored.
    #[must_use]
    pub fn using(self, usage: UsageTold) -> Account {
        let UsageTold { files, bytes, kept_bytes, quota_bytes } = usage;
        Account { files, bytes, kept_bytes, quota_bytes, ..self }
    }
}

/// Some of what is in a folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Listing {
    /// Sorted by the bytes of their names.
    pub entries: Vec<Item>,
    /// The last name if more may follow: ask for what comes behind it.
    pub after: Option<String>,
}

/// A file or a folder in a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Item {
    /// What it is called in its folder.
    pub name: String,
    /// The file; `None`: a folder.
    #[serde(flatten)]
    pub file: Option<FileFacts>,
}

/// What is told of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FileFacts {
    /// Its size.
    pub bytes: u64,
    /// When it was last changed.
    pub modified_ms: i64,
    /// Its version.
    pub version: String,
    /// On how many nodes it is.
    pub nodes: usize,
}

impl From<&Entry> for Item {
    fn from(entry: &Entry) -> Item {
        match entry {
            Entry::Folder(folder) => {
                let name = folder.split().map_or("", |(_, name)| name).to_owned();
                Item { name, file: None }
            }
            Entry::File(file) => Item {
                name: file.path.name().to_owned(),
                file: Some(FileFacts {
                    bytes: file.bytes,
                    modified_ms: file.attributes.modified_ms.unwrap_or(file.stored_ms),
                    version: file.version.to_string(),
                    nodes: file.placed.len(),
                }),
            },
        }
    }
}

/// What a path was for a while.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Version {
    /// Its id; `None`: it was a folder.
    pub version: Option<String>,
    /// The file's size.
    pub bytes: Option<u64>,
    /// When its store began.
    pub stored_ms: Option<i64>,
    /// Who stored it, and from where.
    pub by: Option<String>,
    /// Since which moment.
    pub from: i64,
    /// Until which; `None`: it is so now.
    pub until: Option<i64>,
    /// When it will be let go of; `None`: not by itself.
    pub expires_ms: Option<i64>,
}

impl From<PathVersion> for Version {
    fn from(told: PathVersion) -> Version {
        let file = told.file.as_ref();
        Version {
            version: file.map(|file| file.version.to_string()),
            bytes: file.map(|file| file.bytes),
            stored_ms: file.map(|file| file.stored_ms),
            by: file.map(|file| file.by.clone()),
            from: told.from.0,
            until: told.until.map(|until| until.0),
            expires_ms: told.expires_ms,
        }
    }
}

/// What was below a folder and is not any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Deleted {
    /// The newest first.
    pub entries: Vec<DeletedItem>,
    /// How many there are besides these.
    pub more: usize,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DeletedItem {
    /// Its path, as the user sees it.
    pub path: String,
    /// The size of the file; `None`: it was a folder.
    pub bytes: Option<u64>,
    /// The moment at which it went.
    pub gone: i64,
}

impl DeletedItem {
    /// That of an entry which the user sees at this path.
    pub fn of(entry: &DeletedEntry, path: &str) -> DeletedItem {
        DeletedItem { path: path.to_owned(), bytes: entry.bytes, gone: entry.gone.0 }
    }
}

/// What undoing has come to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "undone", rename_all = "kebab-case")]
pub enum Undone {
    /// The file is its former version again.
    Former,
    /// The deleted file is back.
    File,
    /// The removed folder is back.
    Folder {
        /// With so many files.
        files: u64,
    },
    /// What was moved is where it was before.
    Moved {
        /// There, as the account sees it.
        to: String,
    },
    /// The file or folder was new, and is deleted.
    Deleted,
}

impl From<Outcome> for Undone {
    fn from(outcome: Outcome) -> Undone {
        match outcome {
            Outcome::Former(_) => Undone::Former,
            Outcome::FileBack(_) => Undone::File,
            Outcome::FolderBack(files) => Undone::Folder { files },
            Outcome::MovedBack { to, .. } => Undone::Moved { to: to.as_str().to_owned() },
            Outcome::Deleted => Undone::Deleted,
        }
    }
}

/// What making something as it was comes to, or would.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Restored {
    /// So many files come back.
    pub back: u64,
    /// So many become another version.
    pub changed: u64,
    /// So many go.
    pub gone: u64,
    /// So many stay as they are.
    pub same: u64,
    /// Some of the files that change, each behind `+`, `~` or `-`.
    pub differences: Vec<String>,
}

/// So many differences are told.
const DIFFERENCES_MAX: usize = 200;

impl Restored {
    /// That of these differences.
    pub fn of(told: Reverted, differences: &[Difference]) -> Restored {
        let told_of = |one: &Difference| format!("{}{}", one.what, one.path.as_str());
        let Reverted { back, changed, gone, same, .. } = told;
        let differences = differences.iter().take(DIFFERENCES_MAX).map(told_of).collect();
        Restored { back, changed, gone, same, differences }
    }
}

/// What has come of a file that is not whole yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The path of the file, as the user sees it.
    pub path: String,
    /// How long the file is, if that is known.
    pub bytes: Option<u64>,
    /// How many bytes have come.
    pub arrived: u64,
    /// When it was last gone on with.
    pub touched_ms: i64,
    /// When the file was last changed, as the sender has said.
    pub modified_ms: Option<i64>,
}

impl Upload {
    /// That of an upload which the user sees at this path.
    pub fn of(upload: &PendingUpload, path: &str) -> Upload {
        Upload {
            id: upload.id.to_string(),
            path: path.to_owned(),
            bytes: upload.bytes,
            arrived: upload.arrived,
            touched_ms: upload.touched_ms,
            modified_ms: upload.attributes.modified_ms,
        }
    }
}

/// An upload that has begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Begun {
    /// Its id.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::path::FolderPath;

    #[test]
    fn what_a_folder_has_is_told() {
        let folder = Item::from(&Entry::Folder(FolderPath::parse("up/a\"<b").unwrap()));
        let facts = FileFacts { bytes: 7, modified_ms: -1, version: "11".into(), nodes: 3 };
        let file = Item { name: "c".into(), file: Some(facts) };
        let listing = Listing { entries: vec![folder, file], after: None };
        assert_eq!(
            encode(&listing).unwrap(),
            r#"{"entries":[{"name":"a\"<b"},{"name":"c","bytes":7,"modified_ms":-1,"version":"11","nodes":3}],"after":null}"#
        );
    }

    #[test]
    fn what_was_undone_is_told() {
        let to = FolderPath::parse("a/b").unwrap();
        let moved = Undone::from(Outcome::MovedBack { from: FolderPath::top(), to });
        assert_eq!(encode(&moved).unwrap(), r#"{"undone":"moved","to":"a/b"}"#);
        assert_eq!(encode(&Undone::Former).unwrap(), r#"{"undone":"former"}"#);
    }
}
