//! What the server and a storage node say to each other.
//!
//! ```text
//!   0               4            8          16
//!   +---------------+------------+----------+-------------------+----------------------+
//!   | message bytes | body bytes | checksum | message, postcard | body: units, as they |
//!   +---------------+------------+----------+-------------------+----------------------+
//!        numbers BE                                                 are on disk
//! ```
//!
//! The server asks, the node answers; a connection carries one exchange at a time. Lengths are held
//! against their limits before memory is taken. The checksum covers the lengths and the message: a
//! bit that flips on the way must not turn the removal of one file into that of another. Units have
//! checksums of their own, inside the message. See `docs/protocol.md`.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::code::checksum;
use crate::core::code::layout::{Layout, UNIT_BYTES_MAX};
use crate::core::code::repair::Select;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{Block, Claim, ClusterId, Digest, NodeId, Seq, ServerId, VersionId};
use crate::core::wire::journal::{Entry, JournalState, Point};
use crate::core::wire::snapshot::{SnapshotReply, SnapshotRequest};
use crate::core::wire::trailer::{Header, PartOf};

/// The version of this protocol. A node and a server that differ do not talk.
pub const PROTOCOL: u32 = 8;

/// The size of a frame's head.
pub const HEAD_BYTES: usize = 16;

/// The two lengths at its beginning.
const LENGTHS_BYTES: usize = 8;

/// The longest message in a frame, without its body.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// The longest body of a frame: both units of a full stripe.
pub const BODY_BYTES_MAX: usize = 2 * UNIT_BYTES_MAX;

/// The largest file whose pieces travel inside the journal's append, in bytes.
pub const INLINE_FILE_BYTES_MAX: u32 = 256 << 10;

/// The longest unit of such a file: it is one stripe, padded.
pub const INLINE_UNIT_BYTES_MAX: usize = INLINE_FILE_BYTES_MAX as usize / 4 + 1;

/// The most entries in one message.
pub const ENTRIES_MAX: usize = 256;

/// The most bytes of records in one message.
pub const ENTRY_BYTES_MAX: usize = 256 << 10;

/// The most version ids in one message.
pub const VERSION_IDS_MAX: usize = 4096;

/// A trailer without its checksums and names is never longer.
const TRAILER_REST_BYTES: u64 = 192;

/// The most stripes in one [`Request::Verify`]: 32 MiB of a node's disk.
pub const VERIFY_STRIPES_MAX: u64 = 64;

/// The longest text of a failure.
const FAILURE_BYTES_MAX: usize = 1024;

const _: () = assert!(ENTRY_BYTES_MAX + ENTRIES_MAX * 64 < MESSAGE_BYTES_MAX);
const _: () = assert!(VERSION_IDS_MAX * 16 + 64 < MESSAGE_BYTES_MAX);
const _: () = assert!(VERIFY_STRIPES_MAX * 20 + 64 < MESSAGE_BYTES_MAX as u64);
const _: () = assert!(2 * INLINE_UNIT_BYTES_MAX <= BODY_BYTES_MAX);

/// Where a file lies: whose it is and what it is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The owner.
    pub user: UserName,
    /// The path below the owner's top folder.
    pub path: FilePath,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/{}", self.user, self.path)
    }
}

/// What a node is told about a version whose piece it is about to receive: what its trailers say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PieceMeta {
    /// The version.
    pub version: VersionId,
    /// The file's place when it was stored.
    pub place: Place,
    /// The file's size.
    pub file_bytes: u64,
    /// When the store began, in milliseconds since 1970 by the server's clock.
    pub stored_ms: i64,
    /// Is this a piece of a file that is stored already, to make it whole again? Such a piece may
    /// use the room that is kept in reserve.
    pub repair: bool,
    /// Of which upload it is an extent.
    pub part: Option<PartOf>,
}

impl PieceMeta {
    /// How many bytes of a disk the piece takes, both blocks with their trailers; at least what it
    /// will be, and at most a few hundred more.
    pub fn piece_bytes(&self) -> u64 {
        let Some(layout) = Layout::checked(self.file_bytes) else {
            return u64::MAX;
        };
        let names = self.place.user.as_str().len() + self.place.path.as_str().len();
        let trailer = 8 * layout.stripe_count() + TRAILER_REST_BYTES + names as u64;
        2 * (layout.block_bytes() + trailer)
    }

    /// What the trailer of one of its blocks says. What is all of its file is a part of nothing.
    pub fn header(&self, block: Block, seq: Seq, blake3: Digest) -> Header {
        Header {
            version: self.version,
            seq,
            user: self.place.user.clone(),
            path: self.place.path.clone(),
            file_bytes: self.file_bytes,
            unit_bytes_max: u32::try_from(UNIT_BYTES_MAX).unwrap_or(u32::MAX),
            block,
            blake3,
            stored_ms: self.stored_ms,
            part: self.part.filter(|part| part.whole_bytes != Some(self.file_bytes)),
        }
    }
}

/// The room on a node's disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Room {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes of the whole disk.
    pub total_bytes: u64,
    /// Bytes that a new piece may take: those that are free, less the reserve, less what is still to
    /// come of the pieces that are under way.
    pub spare_bytes: u64,
}

/// What the server asks of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first message on a connection. Answered `Welcome`.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The cluster that the server serves; a node that has none yet joins it.
        cluster: ClusterId,
        /// The node that the server takes this one for.
        node: NodeId,
        /// What the server registers with. A node that has seen a higher epoch answers `Fenced`.
        claim: Claim,
    },
    /// Are you there? Answered `Alive`.
    Ping {
        /// Up to this entry all is decided.
        decided: u64,
    },
    /// A piece begins. Not answered: units follow, then `Finish`. A server that does not want it any
    /// more closes the connection.
    Stage(PieceMeta),
    /// One stripe's two units, in the body; not answered.
    Units {
        /// Of the two units.
        checksums: [u64; 2],
    },
    /// Nothing to send just now; not answered. Keeps a piece of a slow client alive.
    KeepAlive,
    /// The piece is complete: make it durable, then answer `Staged`.
    Finish {
        /// The version's sequence number.
        seq: Seq,
        /// Of the whole file.
        blake3: Digest,
    },
    /// Entries for the journal, with the pieces that travel inside it. Answered `Journal` when they
    /// are durable, or at once, with what is there, if they do not fit behind `prev`.
    Append(Append),
    /// Send a version's units, from one stripe on. Answered by as many `Units`.
    Read {
        /// Which version.
        version: VersionId,
        /// The first stripe.
        first_stripe: u64,
        /// How many stripes, at least one.
        stripes: u64,
        /// What to send of each stripe.
        select: Select,
    },
    /// Read these stripes of a version from the disk and say what their checksums are. Answered
    /// `Verified`.
    Verify {
        /// Which version.
        version: VersionId,
        /// The first stripe.
        first_stripe: u64,
        /// How many stripes, 1 to [`VERIFY_STRIPES_MAX`].
        stripes: u64,
    },
    /// What is entry `id` of your journal? Answered `PointAt`.
    PointAt {
        /// The entry; 0 is the beginning.
        id: u64,
    },
    /// The entries behind this point. Answered by any number of `Entries`, the last of them empty;
    /// `Failed` if the journal does not have that point.
    Entries {
        /// The entry before the first one.
        after: Point,
    },
    /// About snapshots of the catalog. Answered `Snapshot`.
    Snapshot(SnapshotRequest),
    /// Which versions' pieces do you hold, whole or not? Answered `Pieces`.
    Pieces {
        /// Only ids above this one.
        after: Option<VersionId>,
    },
    /// Which of these versions do you not hold both blocks of? Answered `Pieces`.
    Lacks {
        /// At most [`VERSION_IDS_MAX`].
        versions: Vec<VersionId>,
    },
    /// Remove the pieces of these versions, which the catalog does not know. Answered `Done`.
    Discard {
        /// At most [`VERSION_IDS_MAX`].
        versions: Vec<VersionId>,
    },
    /// The catalog says what you lack: see [`JournalState::gap`]. Answered `Done`.
    CloseGap {
        /// The gap's number; another one stays open.
        gap: u64,
    },
    /// Compare your view with your snapshot and journal, and put it right. Answered `ViewChecked`.
    CheckView,
    /// Whom do you serve? May come before `Hello`, and registers and changes nothing; after it, without
    /// a hello, the node answers what only asks about its journal and snapshots. Answered `Serves`.
    WhoServes {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The node that this one is taken for.
        node: NodeId,
    },
    /// The server ends in an orderly way: the next one need not wait until it is forgotten. Answered
    /// `Done`.
    Bye,
    /// Write something small to your disk and sync it. Answered `Done`.
    ProveDisk,
    /// The file ends earlier than was said: it has so many bytes, all full stripes that have come. Not
    /// answered; the last stripe, which is all padding, follows.
    Shorten {
        /// The file's size.
        file_bytes: u64,
    },
}

/// Entries for a node's journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Append {
    /// The entry that the first one follows.
    pub prev: Point,
    /// Up to this entry all is decided.
    pub decided: u64,
    /// At most [`ENTRIES_MAX`], with at most [`ENTRY_BYTES_MAX`] of records.
    pub entries: Vec<Entry>,
    /// The pieces in the body, one behind the other, two units each.
    pub pieces: Vec<InlinePiece>,
}

/// A piece that travels with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InlinePiece {
    /// With which of the entries of the message, from 0.
    pub entry: u16,
    /// The length of each of the two units, at most [`INLINE_UNIT_BYTES_MAX`].
    pub unit_bytes: u32,
    /// Of the two units.
    pub checksums: [u64; 2],
}

/// What a check of the view came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct ViewReport {
    /// Names that should be there.
    pub names: u64,
    /// Names that were missing, or led to something else, and are right now.
    pub mended: u64,
    /// Names of Palk's that should not be there and are gone.
    pub removed: u64,
    /// Files and folders that no Palk has put there; they stay.
    pub foreign: u64,
    /// Names that something else is in the way of.
    pub blocked: u64,
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Hello`.
    Welcome {
        /// Where the node keeps its files, for the log.
        folder: String,
        /// How far its journal is.
        journal: JournalState,
    },
    /// Nothing to be told but that it is done.
    Done,
    /// To `Ping`.
    Alive(Alive),
    /// To `Finish`: the piece is on disk, synced.
    Staged,
    /// To `Append`: how far the journal is now, durably.
    Journal(JournalState),
    /// To `Read`, once for each stripe, with the units in the body.
    Units {
        /// Of the units in the body; the second is 0 where there is only one.
        checksums: [u64; 2],
    },
    /// To `Verify`: the checksums of the two units of each stripe, computed from the bytes that were
    /// read, and the same as in the trailers.
    Verified {
        /// One pair for each stripe.
        checksums: Vec<[u64; 2]>,
    },
    /// To `PointAt`; `None` if the journal does not have it, or no longer.
    PointAt(Option<Point>),
    /// To `Entries`: at most [`ENTRIES_MAX`] with [`ENTRY_BYTES_MAX`] of records; none at the end.
    Entries(Vec<Entry>),
    /// To `Snapshot`.
    Snapshot(SnapshotReply),
    /// To `Pieces`: ascending, none at the end. To `Lacks`: those that it does not hold. At most
    /// [`VERSION_IDS_MAX`].
    Pieces(Vec<VersionId>),
    /// To `CheckView`.
    ViewChecked(ViewReport),
    /// To anything: it cannot be done.
    Failed(Failure),
    /// To `WhoServes`.
    Serves(Serves),
}

/// How a node is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alive {
    /// The room on its disk, if it is known.
    pub room: Option<Room>,
    /// How far its journal is.
    pub journal: JournalState,
    /// What is wrong with its disk, if anything is.
    pub trouble: Option<DiskTrouble>,
}

/// What is wrong with a node's disk or folder, while the node itself answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskTrouble {
    /// No file can be made, however many bytes are free.
    NoInodes,
    /// The node may not write to its folder: where, and why.
    NotWritable(String),
    /// Something that the node does on its disk fails at every try: why.
    Failing(String),
    /// The disk takes no more bytes, whatever is free: the figures or the reason, to follow "disk".
    Full(String),
}

/// Which node this is, and whom it serves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Serves {
    /// The cluster that it belongs to; none if no server has come yet.
    pub cluster: Option<ClusterId>,
    /// Which node it is.
    pub node: NodeId,
    /// The highest epoch that has registered with it; 0 if none has.
    pub epoch: u64,
    /// Who registered with that epoch.
    pub server: Option<ServerId>,
    /// How many milliseconds ago that server last asked it for anything; nothing if it has said
    /// good-bye, or has not been heard of since the node started.
    pub heard_ms_ago: Option<u64>,
    /// Where it keeps its files, for people.
    pub folder: String,
}

impl Serves {
    /// How long ago its server was last heard of.
    pub fn heard_ago(&self) -> Option<Duration> {
        self.heard_ms_ago.map(Duration::from_millis)
    }
}

/// Why a node cannot do what it was asked, as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// It does not hold this version.
    NotHeld(VersionId),
    /// It holds it, and it is damaged.
    Damaged(String),
    /// Its disk is full, or would be fuller than it may be; the figures, to follow "disk".
    NoSpace(String),
    /// Anything else.
    Refused(String),
    /// A server with a higher epoch has registered, or another one with the same.
    Fenced {
        /// The epoch that the node knows.
        epoch: u64,
    },
    /// It has no connection, file or memory to spare just now. Said also in plain text to a server that
    /// begins to encrypt.
    Busy(String),
}

impl From<&NodeFailure> for Failure {
    fn from(failure: &NodeFailure) -> Failure {
        match failure {
            NodeFailure::NotHeld(version) => Failure::NotHeld(*version),
            NodeFailure::Damaged(what) => Failure::Damaged(shorten(what)),
            NodeFailure::NoSpace(figures) => Failure::NoSpace(shorten(figures)),
            NodeFailure::Fenced { epoch } => Failure::Fenced { epoch: *epoch },
            NodeFailure::Busy(why) => Failure::Busy(shorten(why)),
            other => Failure::Refused(shorten(&other.to_string())),
        }
    }
}

impl From<Failure> for NodeFailure {
    fn from(failure: Failure) -> NodeFailure {
        match failure {
            Failure::NotHeld(version) => NodeFailure::NotHeld(version),
            Failure::Damaged(what) => NodeFailure::Damaged(what),
            Failure::NoSpace(figures) => NodeFailure::NoSpace(figures),
            Failure::Refused(why) => NodeFailure::Refused(why),
            Failure::Fenced { epoch } => NodeFailure::Fenced { epoch },
            Failure::Busy(why) => NodeFailure::Busy(why),
        }
    }
}

/// A text cut to the length that a failure may have.
pub fn shorten(text: &str) -> String {
    text.char_indices()
        .take_while(|(at, c)| at + c.len_utf8() <= FAILURE_BYTES_MAX)
        .map(|(_, c)| c)
        .collect()
}

/// What a frame's head announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The length of the message.
    pub message_bytes: usize,
    /// The length of the body.
    pub body_bytes: usize,
    lengths: [u8; LENGTHS_BYTES],
    checksum: u64,
}

/// A message with the head of its frame; the body, which is sent right behind, is not copied.
///
/// # Errors
/// [`Error::Protocol`] if the message is longer than its limit.
pub fn encode<M: Serialize>(message: &M, body_bytes: usize) -> Result<Vec<u8>> {
    debug_assert!(body_bytes <= BODY_BYTES_MAX);
    let mut out = postcard::to_extend(message, vec![0; HEAD_BYTES])
        .map_err(|e| Error::Protocol(format!("a message cannot be encoded: {e}")))?;
    let message_bytes = out.len() - HEAD_BYTES;
    if message_bytes > MESSAGE_BYTES_MAX {
        return Err(Error::Protocol(format!("a message of {message_bytes} bytes is too long")));
    }
    out[..4].copy_from_slice(&u32::try_from(message_bytes).unwrap_or(u32::MAX).to_be_bytes());
    out[4..8].copy_from_slice(&u32::try_from(body_bytes).unwrap_or(u32::MAX).to_be_bytes());
    let checksum = checksum::of_parts(&[&out[..LENGTHS_BYTES], &out[HEAD_BYTES..]]);
    out[LENGTHS_BYTES..HEAD_BYTES].copy_from_slice(&checksum.to_be_bytes());
    Ok(out)
}

/// Reads a frame's head.
///
/// # Errors
/// [`Error::Protocol`] if a length is beyond its limit.
pub fn decode_head(bytes: &[u8; HEAD_BYTES]) -> Result<Head> {
    let [m0, m1, m2, m3, b0, b1, b2, b3, checksum @ ..] = *bytes;
    let head = Head {
        message_bytes: u32::from_be_bytes([m0, m1, m2, m3]) as usize,
        body_bytes: u32::from_be_bytes([b0, b1, b2, b3]) as usize,
        lengths: [m0, m1, m2, m3, b0, b1, b2, b3],
        checksum: u64::from_be_bytes(checksum),
    };
    if head.message_bytes > MESSAGE_BYTES_MAX || head.body_bytes > BODY_BYTES_MAX {
        return Err(Error::Protocol(format!(
            "a frame of {} and {} bytes was announced",
            head.message_bytes, head.body_bytes
        )));
    }
    Ok(head)
}

/// Reads a frame's message.
///
/// # Errors
/// [`Error::Protocol`] if it was changed on the way, is no message, or has something behind it.
pub fn decode<M: DeserializeOwned>(head: &Head, message: &[u8]) -> Result<M> {
    if checksum::of_parts(&[&head.lengths, message]) != head.checksum {
        return Err(Error::Protocol("a message was changed on its way".into()));
    }
    match postcard::take_from_bytes(message) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(Error::Protocol("a message has bytes behind its end".into())),
        Err(e) => Err(Error::Protocol(format!("a message cannot be read: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            user: UserName::parse("demo").unwrap(),
            path: FilePath::parse_rooted("test/yeet.txt").unwrap(),
        }
    }

    #[test]
    fn messages_survive_the_wire() {
        let version = VersionId([5; 16]);
        for request in [
            Request::Hello {
                protocol: PROTOCOL,
                cluster: ClusterId([1; 16]),
                node: NodeId::ALL[2],
                claim: Claim { epoch: 7, server: ServerId([2; 16]) },
            },
            Request::Stage(PieceMeta {
                version,
                place: place(),
                file_bytes: 353,
                stored_ms: -1,
                repair: true,
                part: None,
            }),
            Request::Units { checksums: [1, u64::MAX] },
            Request::Append(Append {
                prev: Point::start(ClusterId([1; 16])),
                decided: 0,
                entries: vec![Entry::after(
                    Point::start(ClusterId([1; 16])),
                    7,
                    8,
                    b"record".to_vec(),
                )],
                pieces: vec![InlinePiece { entry: 0, unit_bytes: 89, checksums: [3, 4] }],
            }),
            Request::Read { version, first_stripe: 0, stripes: 1, select: Select::Xor },
        ] {
            let bytes = encode(&request, 0).unwrap();
            assert_eq!(decode_frame::<Request>(&bytes).unwrap(), request);
        }
    }

    /// A frame without a body.
    fn decode_frame<M: DeserializeOwned>(frame: &[u8]) -> Result<M> {
        let (head, message) = frame.split_first_chunk::<HEAD_BYTES>().unwrap();
        let head = decode_head(head)?;
        assert_eq!(head.message_bytes, message.len());
        decode(&head, message)
    }

    /// The head that belongs to a message.
    fn head_of(message: &[u8]) -> Head {
        let lengths = [0; LENGTHS_BYTES];
        let checksum = checksum::of_parts(&[&lengths, message]);
        Head { message_bytes: message.len(), body_bytes: 0, lengths, checksum }
    }

    #[test]
    fn a_path_that_leaves_the_folder_does_not_decode() {
        let path = FilePath::parse_rooted("ab").unwrap();
        let good = encode(&Place { user: place().user, path }, 0).unwrap();
        let at = good.windows(2).position(|pair| pair == b"ab").unwrap();
        let mut bad = good;
        bad[at..at + 2].copy_from_slice(b"..");
        let message = &bad[HEAD_BYTES..];
        assert!(decode::<Place>(&head_of(message), message).is_err());
    }

    #[test]
    fn absurd_lengths_and_trailing_bytes_are_refused() {
        let with_lengths = |lengths: [u8; 8]| {
            let mut head = [0; HEAD_BYTES];
            head[..8].copy_from_slice(&lengths);
            decode_head(&head)
        };
        assert!(decode_head(&[0xff; HEAD_BYTES]).is_err());
        assert!(with_lengths([0, 0, 0, 1, 0, 8, 0, 1]).is_err());
        assert!(with_lengths([0, 0, 0, 1, 0, 8, 0, 0]).is_ok());
        let mut message = encode(&Reply::Done, 0).unwrap().split_off(HEAD_BYTES);
        assert!(decode::<Reply>(&head_of(&message), &message).is_ok());
        message.push(0);
        assert!(decode::<Reply>(&head_of(&message), &message).is_err());
        assert!(decode::<Reply>(&head_of(&[250]), &[250]).is_err());
    }

    #[test]
    fn a_bit_that_flips_on_the_way_is_noticed() {
        let good = encode(&Request::Discard { versions: vec![VersionId([5; 16])] }, 0).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (head, message) = bad.split_first_chunk::<HEAD_BYTES>().unwrap();
            let read = decode_head(head).and_then(|head| decode::<Request>(&head, message));
            assert!(read.is_err(), "bit {bit}");
        }
    }
}
