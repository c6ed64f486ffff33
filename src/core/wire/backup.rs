//! The catalog's backup on a node: its files, and what the server says about them.
//!
//! Both kinds of files are frames, one behind the other. The first is a head that says what the file
//! is, the others are pieces of the catalog's file or entries of the journal.
//!
//! ```text
//!   0               4                 12
//!   +---------------+-----------------+------------------------------+
//!   | bytes u32     | CRC-64/NVME of  | head or entry (postcard), or |     numbers LE
//!   |               | what follows    | bytes of the catalog's file  |
//!   +---------------+-----------------+------------------------------+
//! ```
//!
//! A frame is never empty, so that the zeros which a crash may leave behind are no frames.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::code::checksum;
use crate::core::error::{Error, Result};
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{Block, ClusterId, Digest, Seq, VersionId};
use crate::core::wire::journal::{Entry, Point, RECORD_BYTES_MAX};
use crate::core::wire::node::{BODY_BYTES_MAX, MESSAGE_BYTES_MAX, Place};

/// The version of these files. Another one is left alone.
pub const FORMAT: u32 = 1;

/// What stands before a frame's bytes.
pub const FRAME_HEAD_BYTES: usize = 12;

/// The most bytes in one frame, and of the catalog's file in one message.
pub const CHUNK_BYTES: usize = 256 << 10;

/// The most entries in one message.
pub const ENTRIES_MAX: usize = 256;

/// The most bytes of records in one message.
pub const ENTRY_BYTES_MAX: usize = 256 << 10;

/// The most findings in one message.
pub const FINDINGS_MAX: usize = 64;

/// The longest text about something that could not be read.
pub const UNREAD_BYTES_MAX: usize = 5 << 10;

/// How many snapshots a node keeps, with their journals.
pub const SNAPSHOTS_KEPT: usize = 2;

const _: () = assert!(RECORD_BYTES_MAX + 64 < CHUNK_BYTES && CHUNK_BYTES <= BODY_BYTES_MAX);
const _: () = assert!(ENTRY_BYTES_MAX + ENTRIES_MAX * 64 < MESSAGE_BYTES_MAX);
const _: () = assert!(FINDINGS_MAX * (UNREAD_BYTES_MAX + 1024) < MESSAGE_BYTES_MAX);

/// The two kinds of files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// The catalog as it was at one moment.
    Snapshot,
    /// What changed since a snapshot.
    Journal,
}

/// Which snapshot: the newest is the highest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct SnapshotId {
    /// How often the catalog's history has branched before.
    pub generation: u64,
    /// The number of the last entry of the journal that is in it.
    pub entry: u64,
}

impl std::fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.generation, self.entry)
    }
}

/// What a backup's file is called.
pub fn file_name(kind: Kind, id: SnapshotId) -> String {
    match kind {
        Kind::Snapshot => format!("snapshot-{id}"),
        Kind::Journal => format!("journal-{id}"),
    }
}

/// Which file of a backup is called so, if one is.
pub fn parse_file_name(name: &str) -> Option<(Kind, SnapshotId)> {
    let (kind, id) = name.split_once('-')?;
    let kind = match kind {
        "snapshot" => Kind::Snapshot,
        "journal" => Kind::Journal,
        _ => return None,
    };
    let (generation, entry) = id.split_once('-')?;
    let id = SnapshotId { generation: generation.parse().ok()?, entry: entry.parse().ok()? };
    // Not `+1` or `01`.
    (file_name(kind, id) == name).then_some((kind, id))
}

/// The head of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose catalog it is.
    pub cluster: ClusterId,
    /// How often its history has branched before.
    pub generation: u64,
    /// The last entry of the journal that is in it.
    pub at: Point,
    /// Every store with this number or a lower one had ended, so a version with such a number that
    /// the snapshot does not know was replaced or deleted, or never answered.
    pub horizon: Seq,
    /// The length of the catalog's file.
    pub bytes: u64,
}

impl SnapshotHead {
    /// Which snapshot it is.
    pub fn id(&self) -> SnapshotId {
        SnapshotId { generation: self.generation, entry: self.at.id }
    }
}

/// The head of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalHead {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose journal it is.
    pub cluster: ClusterId,
    /// How often its history has branched before.
    pub generation: u64,
    /// The entry that its first one follows.
    pub after: Point,
}

/// A frame with these bytes, of which there are 1 to [`CHUNK_BYTES`].
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    debug_assert!((1..=CHUNK_BYTES).contains(&bytes.len()));
    let mut out = Vec::with_capacity(FRAME_HEAD_BYTES + bytes.len());
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&checksum::unit(bytes).to_le_bytes());
    out.extend_from_slice(bytes);
    out
}

/// A frame with a head or an entry in it.
///
/// # Errors
/// [`Error::Protocol`] if it is longer than a frame may be.
pub fn frame_of<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    match postcard::to_stdvec(value) {
        Ok(bytes) if bytes.len() <= CHUNK_BYTES => Ok(frame(&bytes)),
        _ => Err(Error::Protocol("a part of the backup is too long".into())),
    }
}

/// The bytes in the first frame and how long the frame is; nothing if its end has not come yet.
///
/// # Errors
/// [`Error::Damaged`] if it is empty, too long, or its checksum differs.
pub fn read_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if length == 0 || length > CHUNK_BYTES {
        return Err(damaged("a frame names an impossible length"));
    }
    let Some(content) = rest.get(..length) else { return Ok(None) };
    if checksum::unit(content).to_le_bytes() != head[4..] {
        return Err(damaged("a frame's checksum differs"));
    }
    Ok(Some((content, FRAME_HEAD_BYTES + length)))
}

/// What is in a frame.
///
/// # Errors
/// [`Error::Damaged`] if it is something else.
pub fn decode<T: DeserializeOwned>(content: &[u8]) -> Result<T> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        _ => Err(damaged("a frame holds something else than expected")),
    }
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("backup: {what}"))
}

/// What the server asks about a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// How far is it? Answered `State`.
    State,
    /// A new snapshot begins; one that was begun before is dropped. Answered `Done`.
    Begin(SnapshotHead),
    /// The next bytes of the catalog's file, in the body. Answered `Done`.
    Chunk {
        /// How many bytes came before.
        offset: u64,
        /// Of the body.
        checksum: u64,
    },
    /// The snapshot is complete: make it durable, then drop the oldest. Answered `State`.
    End,
    /// What changed since. Answered `State`, when it is durable.
    Append {
        /// Behind which snapshot.
        snapshot: SnapshotId,
        /// At most [`ENTRIES_MAX`], which follow the last one there.
        entries: Vec<Entry>,
    },
    /// Which files are there? Answered `Files`.
    List,
    /// Some bytes of a file. Answered `Bytes`.
    Read {
        /// Which kind of file.
        kind: Kind,
        /// Of which snapshot.
        id: SnapshotId,
        /// From where on.
        offset: u64,
    },
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// How far the newest backup is; nothing if there is none.
    State(Option<State>),
    /// All files of the backup, by name: at most two for each of [`SNAPSHOTS_KEPT`] snapshots are
    /// the node's own doing.
    Files(Vec<(Kind, SnapshotId)>),
    /// In the body; empty at the end of the file.
    Bytes,
}

/// How far a node's newest backup is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// Its snapshot.
    pub snapshot: SnapshotHead,
    /// The last entry of its journal.
    pub last: Point,
    /// The length of the journal's file.
    pub journal_bytes: u64,
}

/// What a node has found among its blocks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Finding {
    /// A block, by its trailer.
    Block {
        /// Which of the eight.
        block: Block,
        /// Where it lies; for a staged one, where it was stored to.
        place: Place,
        /// Not committed yet?
        is_staged: bool,
        /// Of which version.
        version: VersionId,
        /// The version's number.
        seq: Seq,
        /// The file's size.
        bytes: u64,
        /// The file's digest.
        blake3: Digest,
        /// When it was stored, in milliseconds since 1970.
        stored_ms: i64,
    },
    /// A user's folder.
    Folder {
        /// Whose.
        user: UserName,
        /// Which; the top folder as well.
        folder: FolderPath,
    },
    /// Something that could not be read.
    Unread {
        /// What and why, at most [`UNREAD_BYTES_MAX`] bytes.
        what: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_that_is_cut_anywhere_is_not_there_yet() {
        let whole = frame(b"some bytes");
        for cut in 0..whole.len() {
            assert_eq!(read_frame(&whole[..cut]).unwrap(), None, "cut at {cut}");
        }
        assert_eq!(read_frame(&whole).unwrap(), Some((&b"some bytes"[..], whole.len())));
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(!matches!(read_frame(&flipped), Ok(Some(_))), "flipped at {at}");
        }
        assert!(read_frame(&[0; 100]).is_err(), "zeros are no frame");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let id = SnapshotId { generation: 1, entry: 17 };
        for kind in [Kind::Snapshot, Kind::Journal] {
            assert_eq!(parse_file_name(&file_name(kind, id)), Some((kind, id)));
        }
        assert_eq!(file_name(Kind::Journal, id), "journal-1-17");
        for other in ["snapshot-1", "snapshot-01-17", "snapshot-1-+7", "incoming", "x-1-2"] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some((content, length))) = read_frame(&bytes) {
                prop_assert!(content.len() < length && length <= bytes.len());
            }
            let _ = decode::<SnapshotHead>(&bytes);
            let _ = decode::<JournalHead>(&bytes);
            let _ = decode::<Entry>(&bytes);
            let _ = decode::<Finding>(&bytes);
            let _ = decode::<Ask>(&bytes);
            let _ = decode::<Answer>(&bytes);
        }
    }
}
