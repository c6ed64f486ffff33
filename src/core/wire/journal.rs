//! The replication journal: every change of the catalog as a record that says all that is needed to
//! make it again.
//!
//! ```text
//!   entry 41                   entry 42                              entry 43
//!   epoch, moment,       ────> epoch, moment,                  ────> ...
//!   record, chain              record,
//!                              chain = BLAKE3(chain of 41, epoch, moment, record)
//! ```
//!
//! Entries are numbered from 1 without gaps. The epoch is that of the server that wrote the entry, the
//! moment by that server's clock and later than that of the entry before. The chain makes an entry's
//! place in a history its own: two histories that diverge after the same entry are told apart by the
//! next one, whatever its number.

use serde::{Deserialize, Serialize};

use crate::core::code::digest::TreePart;
use crate::core::code::layout::FILE_BYTES_MAX;
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, FolderPath, PATH_BYTES_MAX, UserName};
use crate::core::types::{
    ClusterId, Digest, FileAttributes, KeyId, Moment, NODE_COUNT, NodeId, NodeSet, Seq, ServerId,
    VersionId, write_hex,
};
use crate::core::wire::bytes;
use crate::core::wire::extents::{EXTENT_SUBTREES_MAX, EXTENTS_MAX, PlacedExtent};
use crate::core::wire::node::Place;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 << 10;

/// The longest password hash, address or description in a record, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The most versions that one record names.
pub const VERSIONS_MAX: usize = 500;

const _: () = assert!(NODE_COUNT * (TEXT_BYTES_MAX + 2) + 1 < RECORD_BYTES_MAX);
const _: () = assert!(3 * PATH_BYTES_MAX + TEXT_BYTES_MAX < RECORD_BYTES_MAX);
const _: () = assert!(VERSIONS_MAX * 16 + 64 < RECORD_BYTES_MAX);

/// One change of the catalog. New kinds are added at the end: the number of a variant is its name on
/// disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// A server begins to lead the cluster: the first entry of its epoch.
    Led {
        /// Which run of which server.
        server: ServerId,
    },
    /// An account was made.
    UserMade {
        /// Its name.
        user: UserName,
        /// Its password's hash in PHC form; anything else is no password.
        password: String,
        /// When, in milliseconds since 1970.
        created_ms: i64,
    },
    /// An account got another password; its tokens are revoked.
    PasswordSet {
        /// Whose.
        user: UserName,
        /// The new hash in PHC form.
        password: String,
        /// The hash of the one token that is kept.
        keep: Option<Digest>,
    },
    /// An account was disabled or enabled.
    UserDisabled {
        /// Whose.
        user: UserName,
        /// Can nobody sign in to it from now on?
        disabled: bool,
    },
    /// The quota of an account was set.
    QuotaSet {
        /// Whose.
        user: UserName,
        /// Bytes; the greatest number for no limit, `None` for the server's default.
        bytes: Option<i64>,
    },
    /// An account was removed, with its tokens and all that it had stored.
    UserRemoved {
        /// Whose.
        user: UserName,
    },
    /// A token was issued.
    TokenMade {
        /// Whose.
        user: UserName,
        /// The token's BLAKE3.
        hash: Digest,
        /// Where it is used, as its client says.
        machine: String,
        /// When, in milliseconds since 1970.
        created_ms: i64,
    },
    /// A token was used again after a while.
    TokenUsed {
        /// Which.
        hash: Digest,
        /// When, in milliseconds since 1970.
        used_ms: i64,
    },
    /// A token was revoked.
    TokenRevoked {
        /// Which.
        hash: Digest,
    },
    /// A folder was made, and those above it that were missing.
    FolderMade {
        /// Whose.
        user: UserName,
        /// Which.
        folder: FolderPath,
    },
    /// A folder was removed, with all that was in it.
    FolderRemoved {
        /// Whose.
        user: UserName,
        /// Which.
        folder: FolderPath,
    },
    /// A version became a file's current one. Folders that were missing are made.
    Stored {
        /// Of which file.
        place: Place,
        /// Which version.
        version: VersionId,
        /// Its sequence number, as in its trailers.
        seq: Seq,
        /// The file's size.
        bytes: u64,
        /// The file's digest.
        blake3: Digest,
        /// When its store began, in milliseconds since 1970.
        stored_ms: i64,
        /// The nodes that hold its piece, or get it with this entry.
        placed: NodeSet,
        /// Do the pieces travel with this entry?
        inline: bool,
        /// Who stored it, and from where: `demo from 127.0.0.1:40312`; empty if unknown.
        by: String,
        /// What it keeps of the file that was stored.
        attributes: FileAttributes,
    },
    /// A file was deleted.
    Deleted {
        /// Which.
        place: Place,
    },
    /// A file or a folder got another name, a file in place of the file that had it.
    Moved {
        /// Whose.
        user: UserName,
        /// Its path until now.
        from: FilePath,
        /// Its path from now on.
        to: FilePath,
    },
    /// Versions that no file names and nobody reads were dropped: nodes remove their pieces.
    Dropped {
        /// At most [`VERSIONS_MAX`].
        versions: Vec<VersionId>,
    },
    /// A node holds these pieces (rebuilt, and durable before this was written).
    Placed {
        /// Which node.
        node: NodeId,
        /// At most [`VERSIONS_MAX`].
        versions: Vec<VersionId>,
    },
    /// A node turned out not to hold these pieces, or to hold them damaged.
    Lost {
        /// Which node.
        node: NodeId,
        /// Does it count as errors of the node's disk? Not where its whole folder was lost.
        counted: bool,
        /// At most [`VERSIONS_MAX`].
        versions: Vec<VersionId>,
    },
    /// Nodes 1 to 4 are at these addresses from now on.
    Nodes {
        /// In order.
        addresses: [String; NODE_COUNT],
    },
    /// An empty node takes a node's place; it is at this address.
    ReplacementBegun {
        /// Which node.
        node: NodeId,
        /// Where the new one is.
        address: String,
        /// When, in milliseconds since 1970.
        started_ms: i64,
    },
    /// Every piece of a node that was replaced has been read from its disk and matched.
    ReplacementProved {
        /// Which node.
        node: NodeId,
        /// When, in milliseconds since 1970.
        proved_ms: i64,
    },
    /// A server that began to lead found small files' pieces of these versions on fewer than two of the
    /// nodes that it could ask: they may never have been answered. What they have replaced is kept until
    /// that is settled.
    Uncertain {
        /// At most [`VERSIONS_MAX`].
        versions: Vec<VersionId>,
    },
    /// Two nodes hold the pieces of an uncertain version after all.
    Confirmed {
        /// Which.
        version: VersionId,
    },
    /// An uncertain version can be read from no two of the four nodes, so it was never answered: what it
    /// had replaced is the file again, or there is none.
    Reverted {
        /// Of which file.
        place: Place,
        /// Which version.
        version: VersionId,
        /// The version that it had replaced.
        to: Option<VersionId>,
    },
    /// A file is this version from now on, which the cluster has already: it comes back, or it is a copy.
    /// Folders that were missing are made.
    Named {
        /// Which file.
        place: Place,
        /// Which version.
        version: VersionId,
    },
    /// A folder was made that is in no other one yet. The moment of this entry is its key.
    FolderBegun {
        /// Whose.
        user: UserName,
    },
    /// Folders and files were added below a folder that is in no other one.
    FolderFilled {
        /// Whose.
        user: UserName,
        /// Its key.
        key: Moment,
        /// Paths below it of folders; they and those above them are made where they are missing.
        folders: Vec<FilePath>,
        /// Paths below it of files, and their versions, which the cluster has already.
        files: Vec<(FilePath, VersionId)>,
    },
    /// A folder that was removed, or begun, is at this path from now on. A folder that was there is
    /// removed with all that is in it.
    FolderAttached {
        /// Whose.
        user: UserName,
        /// The moment at which it was removed or begun.
        key: Moment,
        /// Where it is from now on; the top folder for everything that the user has.
        to: FolderPath,
    },
    /// Removed folders that nothing can bring back any more: what is in them is dropped.
    FoldersForgotten {
        /// Their keys, at most [`VERSIONS_MAX`].
        keys: Vec<Moment>,
    },
    /// What was replaced, deleted or moved up to a moment can not be had back any more, unless a snapshot
    /// has it.
    Expired {
        /// Whose.
        user: UserName,
        /// Up to which moment, itself included.
        upto: Moment,
    },
    /// A state was given a name: that at the moment of this entry.
    SnapshotMade {
        /// Its name.
        name: SnapshotName,
        /// When it is removed by itself, in milliseconds since 1970.
        until_ms: Option<i64>,
    },
    /// A snapshot was removed. What only it had is let go of by and by.
    SnapshotRemoved {
        /// The moment that it is of.
        of: Moment,
    },
    /// What only a removed snapshot had of what went up to a moment was let go of.
    SnapshotReleased {
        /// The moment that the removed snapshot was of.
        of: Moment,
        /// Up to which moment, itself included; [`Moment::MAX`] for all of it, and the snapshot is forgotten.
        upto: Moment,
    },
    /// What a path was called before, and no snapshot has, can not be had back any more.
    HistoryForgotten {
        /// Whose.
        user: UserName,
        /// Which path.
        path: FilePath,
    },
    /// Only in a snapshot of the catalog: a version that is kept and no file's current one.
    Kept(KeptVersion),
    /// Only in a snapshot of the catalog: what an uncertain version had replaced.
    Replaced {
        /// The uncertain version.
        version: VersionId,
        /// What was there before.
        predecessor: VersionId,
    },
    /// Only in a snapshot of the catalog: what a name in a folder once was.
    Past {
        /// Whose.
        user: UserName,
        /// The folder that has the name.
        folder: FolderAt,
        /// The name; empty for the top folder itself.
        name: String,
        /// What it was.
        was: PastItem,
        /// From this moment on.
        made: Moment,
        /// Until this one.
        gone: Moment,
        /// The snapshot that has it, as its moment, where it would have been let go of otherwise.
        held: Option<Moment>,
    },
    /// An upload began: what comes of a file is kept, to go on with it later.
    UploadBegun(UploadBegun),
    /// An extent of an upload is on the nodes.
    ExtentStored {
        /// Which upload.
        upload: VersionId,
        /// Where it comes among the upload's extents: they make the file in this order.
        position: u64,
        /// The extent's own version.
        kept: KeptVersion,
        /// What is known of the file's digest by it.
        tree: TreePart,
    },
    /// A part of a file that is stored already became a part of an upload.
    ExtentShared {
        /// Which upload.
        upload: VersionId,
        /// Where its extents come; those behind the first one at the positions that follow.
        position: u64,
        /// Of which version.
        of: VersionId,
        /// From this byte on.
        start: u64,
        /// So many bytes.
        bytes: u64,
    },
    /// What an upload has from one position to before another is no part of it any more.
    ExtentsRemoved {
        /// Which upload.
        upload: VersionId,
        /// The first position.
        from: u64,
        /// The position behind the last one.
        to: u64,
    },
    /// An upload is whole: it became a file's current version. Folders that were missing are made.
    UploadCompleted {
        /// Which upload.
        upload: VersionId,
        /// The version: that of its only extent, or else the upload's own id.
        kept: KeptVersion,
        /// Of which file.
        place: Place,
    },
    /// Uploads were given up, or nobody went on with them for too long.
    UploadsDropped {
        /// At most [`VERSIONS_MAX`].
        uploads: Vec<VersionId>,
    },
    /// Only in a snapshot of the catalog: some of the extents of an upload, or of a version that is made
    /// of extents.
    Extents {
        /// Which.
        of: VersionId,
        /// At most [`EXTENTS_MAX`].
        extents: Vec<PlacedExtent>,
    },
    /// What a version keeps besides its bytes was changed.
    AttributesSet {
        /// Which version.
        version: VersionId,
        /// All of it.
        attributes: FileAttributes,
    },
    /// An app password was made. It is revoked as a token is.
    KeyMade {
        /// Whose.
        user: UserName,
        /// Its name, which may be seen.
        key: KeyId,
        /// The BLAKE3 of its secret.
        hash: Digest,
        /// What it is for, as its owner says.
        name: String,
        /// May nothing be changed with it?
        read_only: bool,
        /// The folder that it is for; the top folder for everything.
        folder: FolderPath,
        /// When, in milliseconds since 1970.
        created_ms: i64,
    },
    /// Properties of a file or folder were set or removed, as programs for WebDAV do.
    PropertiesSet {
        /// Whose.
        user: UserName,
        /// What they are of.
        of: FolderAt,
        /// At most [`PROPERTIES_MAX`].
        properties: Vec<Property>,
    },
    /// An account became an administrator, or is none any more.
    AdminSet {
        /// Which.
        user: UserName,
        /// May it see how the cluster is, and have it scrubbed and repaired?
        admin: bool,
    },
}

/// The most properties of one file or folder.
pub const PROPERTIES_MAX: usize = 64;

/// How long all of them together may be, names and values, in bytes.
pub const PROPERTIES_BYTES_MAX: usize = 8 << 10;

const _: () = assert!(
    PROPERTIES_BYTES_MAX + 8 * PROPERTIES_MAX + PATH_BYTES_MAX + TEXT_BYTES_MAX < RECORD_BYTES_MAX
);

/// A property that a program gives to a file or folder. Palk keeps it and knows nothing of its meaning.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Property {
    /// Its name, with its namespace: `{DAV:}displayname`.
    pub name: String,
    /// Its value, as XML; `None` where it is removed.
    pub value: Option<String>,
}

impl Property {
    /// How much it counts, in bytes.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, String::len)
    }
}

const _: () = assert!(EXTENTS_MAX * (EXTENT_SUBTREES_MAX * 34 + 48) + 64 < RECORD_BYTES_MAX);

/// The beginning of an upload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UploadBegun {
    /// Its id; also that of the version which it becomes, if it has several extents.
    pub upload: VersionId,
    /// The file that it is for.
    pub place: Place,
    /// How long the file will be, if that is known.
    pub bytes: Option<u64>,
    /// When, in milliseconds since 1970.
    pub begun_ms: i64,
    /// What the file is to keep of the one that is stored.
    pub attributes: FileAttributes,
}

/// A version that is no file's current one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptVersion {
    /// Of which account.
    pub user: UserName,
    /// Which version.
    pub version: VersionId,
    /// Its sequence number, as in its trailers.
    pub seq: Seq,
    /// The file's size.
    pub bytes: u64,
    /// The file's digest.
    pub blake3: Digest,
    /// When its store began, in milliseconds since 1970.
    pub stored_ms: i64,
    /// The nodes that hold its piece.
    pub placed: NodeSet,
    /// Who stored it, and from where; empty if unknown.
    pub by: String,
    /// What it keeps of the file that was stored.
    pub attributes: FileAttributes,
    /// Is its content that of extents, so that it has no pieces of its own?
    pub joined: bool,
}

/// A folder, also one that is in no other one any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FolderAt {
    /// The key of the removed folder that it is in; `None` where it is in the user's top folder.
    pub key: Option<Moment>,
    /// Its path below that.
    pub path: FolderPath,
}

/// What a name once was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PastItem {
    /// A file of this version.
    File(VersionId),
    /// A folder, which is there now.
    Folder(FolderAt),
}

/// The longest name of a snapshot, in bytes.
pub const SNAPSHOT_NAME_BYTES_MAX: usize = 64;

/// The name of a snapshot: 1 to [`SNAPSHOT_NAME_BYTES_MAX`] of the letters A to Z and a to z, digits,
/// `.`, `_`, `-` and `:`. It begins with a letter, so that it is no time.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotName(String);

impl SnapshotName {
    /// The name, if it is one.
    pub fn parse(text: &str) -> Option<SnapshotName> {
        let is_good = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
        let is_name = text.len() <= SNAPSHOT_NAME_BYTES_MAX
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && text.bytes().all(is_good);
        is_name.then(|| SnapshotName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SnapshotName {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<SnapshotName, String> {
        SnapshotName::parse(&text).ok_or_else(|| format!("{text:?} is no name of a snapshot"))
    }
}

impl From<SnapshotName> for String {
    fn from(name: SnapshotName) -> String {
        name.0
    }
}

impl std::fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A change and the moment at which it was made, as a snapshot of the catalog tells it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Moment,
    /// What.
    pub change: Change,
}

impl Change {
    /// Does it make the catalog larger? All else takes no more room than its entry.
    pub fn adds(&self) -> bool {
        matches!(
            self,
            Change::UserMade { .. }
                | Change::TokenMade { .. }
                | Change::FolderMade { .. }
                | Change::Stored { .. }
                | Change::Named { .. }
                | Change::FolderBegun { .. }
                | Change::FolderFilled { .. }
                | Change::SnapshotMade { .. }
                | Change::UploadBegun(_)
                | Change::ExtentStored { .. }
                | Change::ExtentShared { .. }
                | Change::KeyMade { .. }
                | Change::PropertiesSet { .. }
        )
    }

    /// The version whose piece lies on this node when the change is made, or comes with it.
    pub fn stores_on(&self, id: NodeId) -> Option<VersionId> {
        match self {
            Change::Stored { version, placed, .. } if placed.contains(id) => Some(*version),
            Change::ExtentStored { kept, .. } if kept.placed.contains(id) => Some(kept.version),
            _ => None,
        }
    }

    /// The file that has another version from this change on, and that version.
    pub fn names_file(&self) -> Option<(&Place, VersionId)> {
        match self {
            Change::Stored { place, version, .. } | Change::Named { place, version } => {
                Some((place, *version))
            }
            Change::UploadCompleted { place, kept, .. } => Some((place, kept.version)),
            _ => None,
        }
    }

    /// The record of this change.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it would be longer than [`RECORD_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let record = postcard::to_stdvec(self)
            .map_err(|e| Error::Protocol(format!("a change cannot be written down: {e}")))?;
        match record.len() {
            0..=RECORD_BYTES_MAX => Ok(record),
            length => Err(Error::Protocol(format!("a change of {length} bytes is too long"))),
        }
    }

    /// The change that this is the record of.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is none, has something behind its end, is beyond a limit or cannot be made.
    pub fn decode(record: &[u8]) -> Result<Change> {
        let damaged = |what: &str| Error::Damaged(format!("a record of the journal {what}"));
        if record.len() > RECORD_BYTES_MAX {
            return Err(damaged("is too long"));
        }
        let change = match postcard::take_from_bytes(record) {
            Ok((change, [])) => change,
            Ok(_) => return Err(damaged("has bytes behind its end")),
            Err(_) => return Err(damaged("is of no kind that this Palk knows")),
        };
        let too_long = match &change {
            Change::UserMade { password: text, .. }
            | Change::PasswordSet { password: text, .. }
            | Change::TokenMade { machine: text, .. }
            | Change::KeyMade { name: text, .. }
            | Change::Stored { by: text, .. }
            | Change::ReplacementBegun { address: text, .. } => text.len() > TEXT_BYTES_MAX,
            Change::Nodes { addresses } => addresses.iter().any(|a| a.len() > TEXT_BYTES_MAX),
            Change::Dropped { versions }
            | Change::Uncertain { versions }
            | Change::Placed { versions, .. }
            | Change::Lost { versions, .. } => versions.len() > VERSIONS_MAX,
            Change::FoldersForgotten { keys } => keys.len() > VERSIONS_MAX,
            Change::UploadsDropped { uploads } => uploads.len() > VERSIONS_MAX,
            Change::Kept(kept) | Change::UploadCompleted { kept, .. } => {
                kept.by.len() > TEXT_BYTES_MAX
            }
            Change::ExtentStored { kept, tree, .. } => {
                kept.by.len() > TEXT_BYTES_MAX || tree.subtrees.len() > EXTENT_SUBTREES_MAX
            }
            Change::Extents { extents, .. } => {
                let is_long = |own: &PlacedExtent| own.tree.subtrees.len() > EXTENT_SUBTREES_MAX;
                extents.len() > EXTENTS_MAX || extents.iter().any(is_long)
            }
            Change::Past { name, .. } => name.len() > PATH_BYTES_MAX,
            Change::PropertiesSet { properties, .. } => {
                let bytes: usize = properties.iter().map(Property::bytes).sum();
                properties.len() > PROPERTIES_MAX || bytes > PROPERTIES_BYTES_MAX
            }
            _ => false,
        };
        let is_beyond = |numbers: &[u64]| numbers.iter().any(|number| *number > FILE_BYTES_MAX);
        let is_too_great = match &change {
            Change::ExtentStored { position, kept, .. } => is_beyond(&[*position, kept.bytes]),
            Change::ExtentShared { position, start, bytes, .. } => {
                is_beyond(&[*position, *start, *bytes])
            }
            Change::ExtentsRemoved { from, to, .. } => is_beyond(&[*from, *to]),
            Change::UploadBegun(begun) => is_beyond(&[begun.bytes.unwrap_or(0)]),
            Change::Extents { extents, .. } => extents
                .iter()
                .any(|own| is_beyond(&[own.position, own.extent.start, own.extent.bytes])),
            _ => false,
        };
        if is_too_great {
            return Err(damaged("has a number that no file can have"));
        }
        // No disk can do that, so a node would try it for ever.
        if let Change::Moved { from, to, .. } = &change
            && to.as_folder().is_within(&from.as_folder())
        {
            return Err(damaged("moves something into itself"));
        }
        if let Change::Past { name, .. } = &change
            && !name.is_empty()
            && FolderPath::top().join(name).is_err()
        {
            return Err(damaged("has a name that no file can have"));
        }
        if too_long { Err(damaged("has a part that is too long")) } else { Ok(change) }
    }
}

/// What stands for all of a history up to and including an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Chain(pub [u8; 16]);

impl Chain {
    /// That of a cluster's catalog before its first entry.
    pub fn first(cluster: ClusterId) -> Chain {
        Chain::of(&[b"palk journal 3", &cluster.0])
    }

    /// That of the history which goes on with this record of this epoch and moment.
    #[must_use]
    pub fn next(self, epoch: u64, at: Moment, record: &[u8]) -> Chain {
        Chain::of(&[&self.0, &epoch.to_be_bytes(), &at.0.to_be_bytes(), record])
    }

    fn of(parts: &[&[u8]]) -> Chain {
        let mut hasher = blake3::Hasher::new();
        parts.iter().for_each(|part| {
            hasher.update(part);
        });
        let digest = *hasher.finalize().as_bytes();
        Chain(std::array::from_fn(|i| digest[i]))
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(&self.0, f)
    }
}

/// How far a history has come: its last entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Point {
    /// The entry's number; 0 before the first one.
    pub id: u64,
    /// The entry's epoch; 0 before the first one.
    pub epoch: u64,
    /// When the entry was written; 0 before the first one.
    pub at: Moment,
    /// The history up to there.
    pub chain: Chain,
}

impl Point {
    /// Before the first entry.
    pub fn start(cluster: ClusterId) -> Point {
        Point { id: 0, epoch: 0, at: Moment(0), chain: Chain::first(cluster) }
    }

    /// How two histories compare: the one whose last entry has the higher epoch is the better one,
    /// then the longer one (Raft, section 5.4.1).
    pub fn rank(&self) -> (u64, u64) {
        (self.epoch, self.id)
    }
}

/// One entry of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number: one more than that of the entry before it.
    pub id: u64,
    /// The epoch of the server that wrote it.
    pub epoch: u64,
    /// When it was written.
    pub at: Moment,
    /// The record of its [`Change`].
    #[serde(with = "bytes")]
    pub record: Vec<u8>,
    /// The history up to here.
    pub chain: Chain,
}

impl Entry {
    /// The entry with this record that follows a point, written at a time in microseconds since 1970.
    pub fn after(point: Point, epoch: u64, now_us: i64, record: Vec<u8>) -> Entry {
        let at = point.at.next(now_us);
        Entry { id: point.id + 1, epoch, at, chain: point.chain.next(epoch, at, &record), record }
    }

    /// Where a history is after this entry.
    pub fn point(&self) -> Point {
        Point { id: self.id, epoch: self.epoch, at: self.at, chain: self.chain }
    }

    /// Does it go on from there?
    pub fn follows(&self, point: Point) -> bool {
        point.id.checked_add(1) == Some(self.id)
            && point.epoch <= self.epoch
            && point.at < self.at
            && point.chain.next(self.epoch, self.at, &self.record) == self.chain
    }

    /// Its change.
    ///
    /// # Errors
    /// As [`Change::decode`].
    pub fn change(&self) -> Result<Change> {
        Change::decode(&self.record)
    }
}

/// How far a node's journal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalState {
    /// Its last entry.
    pub end: Point,
    /// Up to this entry all is decided, as far as the node has been told; never above `end`.
    pub decided: u64,
    /// The last entry of its newest snapshot; 0 if it has none.
    pub snapshot: u64,
    /// Bytes of inline pieces that are not written out as block files yet.
    pub backlog_bytes: u64,
    /// The node may lack pieces that the catalog places on it: it is new, or was sent entries without
    /// their inline pieces. The number of that event; the server closes it by this number once the
    /// catalog says what the node lacks.
    pub gap: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterId {
        ClusterId([1; 16])
    }

    #[test]
    fn an_entry_follows_only_the_history_that_it_was_written_in() {
        let start = Point::start(cluster());
        let first = Entry::after(start, 1, 10, b"one".to_vec());
        let second = Entry::after(first.point(), 1, 20, b"two".to_vec());
        assert!(first.follows(start) && second.follows(first.point()));
        assert!(!second.follows(start) && !first.follows(first.point()));
        let other = Entry::after(start, 2, 10, b"one".to_vec());
        assert!(!second.follows(other.point()), "another epoch is another history");
        let older = Entry::after(other.point(), 1, 20, b"two".to_vec());
        assert!(!older.follows(other.point()), "epochs only grow");
        let sooner = Entry { at: first.at, ..second.clone() };
        assert!(!sooner.follows(first.point()), "so do moments");
        let later = Entry { at: Moment(21), ..second };
        assert!(!later.follows(first.point()), "the chain covers the moment");
        let clock_set_back = Entry::after(first.point(), 1, 3, b"two".to_vec());
        assert_eq!(clock_set_back.at, Moment(11));
    }

    #[test]
    fn the_better_history_is_the_one_of_the_higher_epoch_then_the_longer_one() {
        let point = |id, epoch| Point { id, epoch, at: Moment(0), chain: Chain([0; 16]) };
        assert!(point(3, 2).rank() > point(9, 1).rank());
        assert!(point(4, 2).rank() > point(3, 2).rank());
    }

    #[test]
    fn a_record_beyond_a_limit_is_refused() {
        let dropped = |count| Change::Dropped { versions: vec![VersionId([1; 16]); count] };
        let record = dropped(VERSIONS_MAX).encode().unwrap();
        assert_eq!(Change::decode(&record).unwrap(), dropped(VERSIONS_MAX));
        assert!(Change::decode(&dropped(VERSIONS_MAX + 1).encode().unwrap()).is_err());
        assert!(Change::decode(&[&record[..], b"x"].concat()).is_err());
        let forgotten = |count| Change::FoldersForgotten { keys: vec![Moment(1); count] };
        assert!(Change::decode(&forgotten(VERSIONS_MAX).encode().unwrap()).is_ok());
        assert!(Change::decode(&forgotten(VERSIONS_MAX + 1).encode().unwrap()).is_err());
    }

    #[test]
    fn what_was_called_something_else_was_called_like_a_file() {
        let past = |name: &str| {
            let folder = FolderAt { key: None, path: FolderPath::top() };
            let (user, name) = (UserName::parse("demo").unwrap(), name.to_owned());
            let was = PastItem::File(VersionId([1; 16]));
            let (made, gone) = (Moment(1), Moment(2));
            let held = None;
            let past = Change::Past { user, folder, name, was, made, gone, held };
            Change::decode(&past.encode().unwrap())
        };
        assert!(past("").is_ok() && past("a.txt").is_ok());
        assert!(past("a/b").is_err() && past("..").is_err() && past("/").is_err());
        assert!(past("a\n").is_err());
    }

    #[test]
    fn a_snapshots_name_is_no_time() {
        let longest = "a".repeat(SNAPSHOT_NAME_BYTES_MAX);
        for name in ["a", "Before_2026-01-01.x:y", &longest] {
            assert_eq!(SnapshotName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "2026-01-01", "_a", "a b", "a/b", "\u{e4}", &format!("{longest}a")] {
            assert_eq!(SnapshotName::parse(name), None);
        }
        let made = |name: &str| {
            let text = postcard::to_stdvec(name).unwrap();
            let kind =
                Change::SnapshotMade { name: SnapshotName::parse("a").unwrap(), until_ms: None };
            let kind = kind.encode().unwrap()[0];
            Change::decode(&[&[kind], &text[..], &[0]].concat())
        };
        assert!(made("monday").is_ok() && made("1").is_err());
    }

    #[test]
    fn a_move_into_itself_is_refused() {
        let path = |text| FilePath::parse_rooted(text).unwrap();
        let moved = |from, to| {
            let user = UserName::parse("demo").unwrap();
            Change::decode(
                &Change::Moved { user, from: path(from), to: path(to) }.encode().unwrap(),
            )
        };
        assert!(moved("up", "up").is_err() && moved("up", "up/a/b").is_err());
        assert!(moved("up", "up2").is_ok() && moved("up/a", "a").is_ok());
    }
}
