//! Snapshots of the catalog on a node, the files of its journal, and what the server says about them.
//!
//! A snapshot is the changes that make the catalog from nothing, so whoever can apply a journal can
//! load it. Both kinds of files are frames, one behind the other. The first is a head that says what
//! the file is; the others hold a batch of changes, or an entry with the piece that came with it.
//!
//! ```text
//!   0               4                 12
//!   +---------------+-----------------+------------------------------+
//!   | bytes u32     | CRC-64/NVME of  | head, changes or entry       |     numbers LE
//!   |               | what follows    | (postcard)                   |
//!   +---------------+-----------------+------------------------------+
//! ```
//!
//! A frame is never empty, so that the zeros which a crash may leave behind are no frames.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::code::checksum;
use crate::core::error::{Error, Result};
use crate::core::types::ClusterId;
use crate::core::wire::bytes;
use crate::core::wire::journal::{Entry, Point, RECORD_BYTES_MAX, Told};
use crate::core::wire::node::{BODY_BYTES_MAX, INLINE_UNIT_BYTES_MAX};

/// The version of these files. Another one is left alone.
pub const FORMAT: u32 = 5;

/// What stands before a frame's bytes.
pub const FRAME_HEAD_BYTES: usize = 12;

/// The most bytes in one frame, and of a snapshot in one message.
pub const CHUNK_BYTES: usize = 256 << 10;

/// How many snapshots a node keeps.
pub const SNAPSHOTS_KEPT: usize = 2;

const _: () = assert!(CHUNK_BYTES <= BODY_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX + 2 * INLINE_UNIT_BYTES_MAX + 256 < CHUNK_BYTES);

/// The head of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose catalog it is.
    pub cluster: ClusterId,
    /// The last entry of the journal that is in it.
    pub at: Point,
    /// How many chunks follow.
    pub chunks: u64,
}

/// The head of a segment of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SegmentHead {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose journal it is.
    pub cluster: ClusterId,
    /// The entry that its first one follows.
    pub after: Point,
}

/// An entry as it stands in a node's journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Logged {
    /// The entry.
    pub entry: Entry,
    /// The node's two units, one behind the other, if the version's pieces came with the entry.
    #[serde(serialize_with = "bytes::serialize_option")]
    #[serde(deserialize_with = "bytes::deserialize_option")]
    pub piece: Option<Vec<u8>>,
}

/// The changes in one chunk of a snapshot.
///
/// # Errors
/// [`Error::Damaged`] if it is something else.
pub fn decode_chunk(content: &[u8]) -> Result<Vec<Told>> {
    decode(content)
}

/// A snapshot's file name.
pub fn snapshot_name(at: Point) -> String {
    format!("snapshot-{}-{}", at.epoch, at.id)
}

/// A segment's file name.
pub fn segment_name(after: Point) -> String {
    format!("journal-{}-{}", after.epoch, after.id)
}

/// The epoch and the entry in the name of a snapshot.
pub fn parse_snapshot_name(name: &str) -> Option<(u64, u64)> {
    parse(name, "snapshot-")
}

/// The epoch and the entry in the name of a segment.
pub fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    parse(name, "journal-")
}

fn parse(name: &str, prefix: &str) -> Option<(u64, u64)> {
    let (epoch, id) = name.strip_prefix(prefix)?.split_once('-')?;
    let found = (epoch.parse().ok()?, id.parse().ok()?);
    // Not `+1` or `01`.
    (format!("{prefix}{}-{}", found.0, found.1) == name).then_some(found)
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

/// A frame with a value in it.
///
/// # Errors
/// [`Error::Protocol`] if it is longer than a frame may be.
pub fn frame_of<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    match postcard::to_stdvec(value) {
        Ok(bytes) if bytes.len() <= CHUNK_BYTES => Ok(frame(&bytes)),
        _ => Err(Error::Protocol("a part of the journal is too long".into())),
    }
}

/// The bytes in the first frame and how long the frame is; `None` if its end has not come yet.
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
    Error::Damaged(format!("journal: {what}"))
}

/// What the server asks about a node's snapshots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SnapshotRequest {
    /// A new snapshot begins; one that was begun before is dropped. Answered `Done`.
    Begin(SnapshotHead),
    /// The next chunk, in the body. Answered `Done`.
    Chunk {
        /// How many chunks came before.
        index: u64,
        /// Of the body.
        checksum: u64,
    },
    /// The snapshot is complete: make it durable, then drop what is not needed any more. A node whose
    /// journal does not reach it goes on from there. Answered `Done`.
    End,
    /// Which snapshots are there and whole? Answered `Heads`, the newest first.
    List,
    /// A chunk of a snapshot. Answered `Chunk`.
    Read {
        /// Which snapshot.
        at: Point,
        /// The chunk's number, from 0.
        index: u64,
    },
}

/// What a node answers to a [`SnapshotRequest`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SnapshotReply {
    /// Done.
    Done,
    /// At most [`SNAPSHOTS_KEPT`].
    Heads(Vec<SnapshotHead>),
    /// The chunk is in the body.
    Chunk,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_or_is_none() {
        let frame = frame(b"some content");
        assert_eq!(read_frame(&frame).unwrap(), Some((&b"some content"[..], frame.len())));
        for cut in 0..frame.len() {
            assert_eq!(read_frame(&frame[..cut]).unwrap(), None, "{cut}");
        }
        for at in 0..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 1;
            assert!(!matches!(read_frame(&flipped), Ok(Some((b"some content", _)))), "{at}");
        }
        assert!(read_frame(&[0; 64]).is_err());
    }

    #[test]
    fn names_can_be_read_back_and_others_are_none() {
        let at = Point { id: 4711, epoch: 3, ..Point::start(ClusterId([1; 16])) };
        assert_eq!(parse_snapshot_name(&snapshot_name(at)), Some((3, 4711)));
        assert_eq!(parse_segment_name(&segment_name(at)), Some((3, 4711)));
        for name in ["snapshot-3", "snapshot-03-1", "journal-+1-2", "snapshot-1-2.new", "incoming"]
        {
            assert_eq!(parse_snapshot_name(name).or(parse_segment_name(name)), None, "{name}");
        }
    }
}
