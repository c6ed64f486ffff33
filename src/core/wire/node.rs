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
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{Block, Claim, ClusterId, Digest, NodeId, Seq, ServerId, VersionId};
use crate::core::wire::backup;

/// The version of this protocol. A node and a server that differ do not talk.
pub const PROTOCOL: u32 = 3;

/// The size of a frame's head.
pub const HEAD_BYTES: usize = 16;

/// The two lengths at its beginning.
const LENGTHS_BYTES: usize = 8;

/// The longest message in a frame, without its body.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// The longest body of a frame: both units of a full stripe.
pub const BODY_BYTES_MAX: usize = 2 * UNIT_BYTES_MAX;

/// The most orders in one frame.
pub const ORDERS_MAX: usize = 64;

/// The most version ids in one [`Reply::StagedVersions`].
pub const STAGED_VERSIONS_MAX: usize = 4096;

/// A trailer without its checksums and names is never longer.
const TRAILER_REST_BYTES: u64 = 192;

/// The most stripes in one [`Request::Verify`]: 32 MiB of a node's disk.
pub const VERIFY_STRIPES_MAX: u64 = 64;

/// The most entries in one [`Reply::Inventory`]: few enough to be looked up in a few seconds, each
/// of them being a file to open.
pub const INVENTORY_ENTRIES_MAX: usize = 256;

/// The most text in one [`Reply::Inventory`].
pub const INVENTORY_TEXT_BYTES_MAX: usize = 256 * 1024;

/// The longest path in an [`InventoryEntry::Foreign`].
pub const FOREIGN_BYTES_MAX: usize = 1024;

/// The most places in a [`Formerly`].
pub const FORMERLY_MAX: usize = 8;

/// The longest text of a failure.
const FAILURE_BYTES_MAX: usize = 1024;

const _: () = assert!(ORDERS_MAX * (crate::core::path::PATH_BYTES_MAX + 256) < MESSAGE_BYTES_MAX);
const _: () = assert!(STAGED_VERSIONS_MAX * 16 + 64 < MESSAGE_BYTES_MAX);
// The entry that goes over the limit of text is still sent.
const _: () = assert!(
    INVENTORY_TEXT_BYTES_MAX + crate::core::path::PATH_BYTES_MAX + 64 + INVENTORY_ENTRIES_MAX * 64
        < MESSAGE_BYTES_MAX
);
const _: () = assert!(VERIFY_STRIPES_MAX * 20 + 64 < MESSAGE_BYTES_MAX as u64);
const _: () =
    assert!((FORMERLY_MAX + 1) * (crate::core::path::PATH_BYTES_MAX + 64) < MESSAGE_BYTES_MAX);

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

/// Where else a node may still have a version: where it lay before moves that the node may not have
/// made yet. At most [`FORMERLY_MAX`] places.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<FilePath>", into = "Vec<FilePath>")]
pub struct Formerly(Vec<FilePath>);

impl Formerly {
    /// The places, all of the same user.
    pub fn paths(&self) -> &[FilePath] {
        &self.0
    }
}

impl TryFrom<Vec<FilePath>> for Formerly {
    type Error = &'static str;

    fn try_from(paths: Vec<FilePath>) -> std::result::Result<Formerly, &'static str> {
        if paths.len() > FORMERLY_MAX { Err("too many former places") } else { Ok(Formerly(paths)) }
    }
}

impl From<Formerly> for Vec<FilePath> {
    fn from(formerly: Formerly) -> Vec<FilePath> {
        formerly.0
    }
}

/// What a node is told about a version whose piece it is about to receive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PieceMeta {
    /// The version.
    pub version: VersionId,
    /// Its place in the order of changes.
    pub seq: Seq,
    /// The file's place.
    pub place: Place,
    /// The file's size.
    pub file_bytes: u64,
    /// When the store began, in milliseconds since 1970 by the server's clock.
    pub stored_ms: i64,
    /// Is this a piece of a file that is stored already, to make it whole again? Such a piece may
    /// use the room that is kept in reserve.
    pub repair: bool,
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
    /// The first message on a connection.
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
    Ping,
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
        /// Of the whole file.
        blake3: Digest,
    },
    /// Things to do, in this order. Answered `Carried`.
    Carry {
        /// One more than that of the request to carry before it on whatever connection of this
        /// server. One that comes after a later one with a move in it came too late: nothing of it
        /// is done.
        number: u64,
        /// At most [`ORDERS_MAX`].
        orders: Vec<Order>,
    },
    /// Send a version's units, from one stripe on. Answered by as many `Units`.
    Read {
        /// Which version; it is served from staging or from its final name alike.
        version: VersionId,
        /// Where its final name is.
        place: Place,
        /// Where its final name may still be.
        formerly: Formerly,
        /// The first stripe.
        first_stripe: u64,
        /// How many stripes, at least one.
        stripes: u64,
        /// What to send of each stripe.
        select: Select,
    },
    /// Which versions are staged? Answered `StagedVersions`.
    ListStaged {
        /// Only ids above this one.
        after: Option<VersionId>,
    },
    /// Read these stripes of a version from the disk and say what their checksums are. Answered
    /// `Verified`.
    Verify {
        /// Which version; from staging or from its final name alike.
        version: VersionId,
        /// Where its final name is.
        place: Place,
        /// Where its final name may still be.
        formerly: Formerly,
        /// The first stripe.
        first_stripe: u64,
        /// How many stripes, 1 to [`VERIFY_STRIPES_MAX`].
        stripes: u64,
    },
    /// What lies under final names? Answered by any number of `Inventory`, the last of them empty.
    Inventory,
    /// Whom do you serve? May come before `Hello`, and registers and changes nothing; after it, without
    /// a hello, the node answers what only asks about its backup and its disk. Answered `Serves`.
    WhoServes {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The node that this one is taken for.
        node: NodeId,
    },
    /// The server ends in an orderly way: the next one need not wait until it is forgotten. Answered
    /// `Done`.
    Bye,
    /// About the catalog's backup. Answered `Backup`.
    Backup(backup::Ask),
    /// What lies on your disk? Answered by `Evidence` until there is an empty one.
    Evidence,
}

/// Something that a node has to do, sooner or later. Each can be repeated without harm, as long as no
/// later order was carried out that is a move.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Make a folder and those above it.
    MakeFolder {
        /// Whose.
        user: UserName,
        /// Which; the top folder for a new account.
        folder: FolderPath,
    },
    /// Give a staged piece its final name, unless a higher number is there.
    Commit {
        /// Which version.
        version: VersionId,
        /// Its number.
        seq: Seq,
        /// Its final name.
        place: Place,
    },
    /// Remove what lies at a place, unless its number is higher.
    Remove {
        /// Where.
        place: Place,
        /// The highest number that is removed.
        up_to: Seq,
    },
    /// Drop a staged piece that will not be committed.
    Discard {
        /// Which version.
        version: VersionId,
    },
    /// Give a version's blocks another final name. Whatever else lies under either name is older, and
    /// is removed. Where the version does not lie is no error: that is found out by those who read.
    MoveFile {
        /// Which version.
        version: VersionId,
        /// Whose.
        user: UserName,
        /// Its final name until now.
        from: FilePath,
        /// Its final name from now on.
        to: FilePath,
    },
    /// Give a folder another name, with all that is in it. If there is a folder of that name, what is
    /// in this one goes into it.
    MoveFolder {
        /// Whose.
        user: UserName,
        /// Its name until now.
        from: FolderPath,
        /// Its name from now on.
        to: FolderPath,
    },
    /// Remove a folder if there is nothing in it.
    RemoveFolder {
        /// Whose.
        user: UserName,
        /// Which.
        folder: FolderPath,
    },
    /// Take a version from a final name back into staging, if it lies there. If that fails, what
    /// follows in the same request is not done.
    TakeBack {
        /// Which version.
        version: VersionId,
        /// The final name.
        place: Place,
    },
}

impl Order {
    /// Is what a node does for this other than what it would do a second time, once more orders have
    /// followed? Then nothing may be on its way to the node beside it.
    pub fn is_move(&self) -> bool {
        matches!(self, Order::MoveFile { .. } | Order::MoveFolder { .. })
    }
}

/// A file or folder under a node's final names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InventoryEntry {
    /// A block file whose name is that of one of the node's two blocks.
    Block {
        /// Where it lies.
        place: Place,
        /// Which block.
        block: Block,
        /// What its trailer says that it is; nothing if that cannot be read, or names another block.
        held: Option<(VersionId, Seq)>,
    },
    /// Something that no Palk has put there: its path below the node's folder, cut to
    /// [`FOREIGN_BYTES_MAX`].
    Foreign(String),
}

impl InventoryEntry {
    /// How many bytes of text it has: what it adds to a page.
    pub fn text_bytes(&self) -> usize {
        match self {
            InventoryEntry::Block { place, .. } => {
                place.user.as_str().len() + place.path.as_str().len()
            }
            InventoryEntry::Foreign(name) => name.len(),
        }
    }
}

/// How an [`Order`] went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, now or before, or overtaken by something newer.
    Done,
    /// The piece to commit is not there.
    NotHeld,
    /// Not done; to be tried again.
    Failed(String),
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Hello`.
    Welcome {
        /// Where the node keeps its files, for the log.
        folder: String,
        /// Did it belong to no cluster before this hello? Then it holds nothing.
        fresh: bool,
    },
    /// Nothing to be told but that it is done.
    Done,
    /// To `Finish`: the piece is on disk, synced.
    Staged,
    /// To `Carry`: one outcome for each order.
    Carried(Vec<Outcome>),
    /// To `Read`, once for each stripe, with the units in the body.
    Units {
        /// Of the units in the body; the second is 0 where there is only one.
        checksums: [u64; 2],
    },
    /// To `ListStaged`: ascending, at most [`STAGED_VERSIONS_MAX`].
    StagedVersions(Vec<VersionId>),
    /// To anything: it cannot be done.
    Failed(Failure),
    /// To `Ping`: the room on its disk, if that can be told.
    Alive(Option<Room>),
    /// To `Verify`: the checksums of the two units of each stripe, computed from the bytes that were
    /// read, and the same as in the trailers.
    Verified {
        /// One pair for each stripe.
        checksums: Vec<[u64; 2]>,
    },
    /// To `Inventory`: at most [`INVENTORY_ENTRIES_MAX`] with [`INVENTORY_TEXT_BYTES_MAX`] of text;
    /// none at the end.
    Inventory(Vec<InventoryEntry>),
    /// To `WhoServes`.
    Serves(Serves),
    /// To `Backup`.
    Backup(backup::Answer),
    /// To `Evidence`: at most [`backup::FINDINGS_MAX`], none at the end.
    Evidence(Vec<backup::Finding>),
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
}

impl From<&NodeFailure> for Failure {
    fn from(failure: &NodeFailure) -> Failure {
        match failure {
            NodeFailure::NotHeld(version) => Failure::NotHeld(*version),
            NodeFailure::Damaged(what) => Failure::Damaged(shorten(what)),
            NodeFailure::NoSpace(figures) => Failure::NoSpace(shorten(figures)),
            NodeFailure::Fenced { epoch } => Failure::Fenced { epoch: *epoch },
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
                seq: Seq(8),
                place: place(),
                file_bytes: 353,
                stored_ms: -1,
                repair: true,
            }),
            Request::Units { checksums: [1, u64::MAX] },
            Request::Carry {
                number: 4,
                orders: vec![Order::Commit { version, seq: Seq(8), place: place() }],
            },
            Request::Read {
                version,
                place: place(),
                formerly: vec![place().path].try_into().unwrap(),
                first_stripe: 0,
                stripes: 1,
                select: Select::Xor,
            },
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
        let good = encode(
            &Order::MakeFolder { user: place().user, folder: FolderPath::parse("ab").unwrap() },
            0,
        )
        .unwrap();
        let at = good.windows(2).position(|pair| pair == b"ab").unwrap();
        let mut bad = good;
        bad[at..at + 2].copy_from_slice(b"..");
        let message = &bad[HEAD_BYTES..];
        assert!(decode::<Order>(&head_of(message), message).is_err());
    }

    #[test]
    fn more_former_places_than_may_be_do_not_decode() {
        let paths = |count| encode(&vec![place().path; count], 0).unwrap();
        let read = |frame: Vec<u8>| decode::<Formerly>(&head_of(&frame[16..]), &frame[16..]);
        assert_eq!(read(paths(FORMERLY_MAX)).unwrap().paths().len(), FORMERLY_MAX);
        assert!(read(paths(FORMERLY_MAX + 1)).is_err());
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
        let remove = Order::Remove { place: place(), up_to: Seq(7) };
        let good = encode(&Request::Carry { number: 1, orders: vec![remove] }, 0).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (head, message) = bad.split_first_chunk::<HEAD_BYTES>().unwrap();
            let read = decode_head(head).and_then(|head| decode::<Request>(&head, message));
            assert!(read.is_err(), "bit {bit}");
        }
    }
}
