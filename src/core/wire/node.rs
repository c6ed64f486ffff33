//! What the server and a storage node say to each other.
//!
//! ```text
//!   0               4            8
//!   +---------------+------------+-------------------+----------------------+
//!   | message bytes | body bytes | message, postcard | body: units, as they |     numbers BE
//!   +---------------+------------+-------------------+----------------------+     are on disk
//! ```
//!
//! The server asks, the node answers; a connection carries one exchange at a time. Lengths are held
//! against their limits before memory is taken. See `docs/protocol.md`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::code::layout::UNIT_BYTES_MAX;
use crate::core::code::repair::Select;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{ClusterId, Digest, NodeId, Seq, VersionId};
use crate::core::wire::backup;

/// The version of this protocol. A node and a server that differ do not talk.
pub const PROTOCOL: u32 = 1;

/// The size of a frame's head.
pub const HEAD_BYTES: usize = 8;

/// The longest message in a frame, without its body.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// The longest body of a frame: both units of a full stripe.
pub const BODY_BYTES_MAX: usize = 2 * UNIT_BYTES_MAX;

/// The most orders in one frame.
pub const ORDERS_MAX: usize = 64;

/// The most version ids in one [`Reply::StagedVersions`].
pub const STAGED_VERSIONS_MAX: usize = 4096;

/// The longest text of a failure.
const FAILURE_BYTES_MAX: usize = 1024;

const _: () = assert!(ORDERS_MAX * (crate::core::path::PATH_BYTES_MAX + 256) < MESSAGE_BYTES_MAX);
const _: () = assert!(STAGED_VERSIONS_MAX * 16 + 64 < MESSAGE_BYTES_MAX);

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
    },
    /// Are you there?
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
    Carry(Vec<Order>),
    /// Send a version's units, from one stripe on. Answered by as many `Units`.
    Read {
        /// Which version; it is served from staging or from its final name alike.
        version: VersionId,
        /// Where its final name is.
        place: Place,
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
    /// About the catalog's backup. Answered `Backup`.
    Backup(backup::Ask),
    /// What lies on your disk? Answered by `Evidence` until there is an empty one.
    Evidence,
    /// Whom do you serve? As the first message on a connection in the place of `Hello`, it is not that
    /// of a server: the node joins no cluster, and only what changes nothing is answered after it.
    /// Answered `Serves`.
    WhoServes {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The node that the asker takes this one for.
        node: NodeId,
    },
}

/// Something that a node has to do, sooner or later. Each can be repeated without harm.
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
    },
    /// To `Ping`.
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
    /// To `Backup`.
    Backup(backup::Answer),
    /// To `Evidence`: at most [`backup::FINDINGS_MAX`], none at the end.
    Evidence(Vec<backup::Finding>),
    /// To `WhoServes`.
    Serves {
        /// The node's cluster; none before the first server has come.
        cluster: Option<ClusterId>,
        /// Which node it is.
        node: NodeId,
        /// How long ago a server was heard of, in milliseconds, if one was.
        heard_ms_ago: Option<u64>,
        /// Where the node keeps its files, for people.
        folder: String,
    },
}

/// Why a node cannot do what it was asked, as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// It does not hold this version.
    NotHeld(VersionId),
    /// It holds it, and it is damaged.
    Damaged(String),
    /// Its disk is full.
    NoSpace,
    /// Anything else.
    Refused(String),
}

impl From<&NodeFailure> for Failure {
    fn from(failure: &NodeFailure) -> Failure {
        match failure {
            NodeFailure::NotHeld(version) => Failure::NotHeld(*version),
            NodeFailure::Damaged(what) => Failure::Damaged(shorten(what)),
            NodeFailure::NoSpace => Failure::NoSpace,
            other => Failure::Refused(shorten(&other.to_string())),
        }
    }
}

impl From<Failure> for NodeFailure {
    fn from(failure: Failure) -> NodeFailure {
        match failure {
            Failure::NotHeld(version) => NodeFailure::NotHeld(version),
            Failure::Damaged(what) => NodeFailure::Damaged(what),
            Failure::NoSpace => NodeFailure::NoSpace,
            Failure::Refused(why) => NodeFailure::Refused(why),
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

/// The two lengths that a frame announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Of the message.
    pub message_bytes: usize,
    /// Of the body.
    pub body_bytes: usize,
}

/// A message with the head of its frame; the body, which is sent right behind, is not copied.
///
/// # Errors
/// [`Error::Protocol`] if the message is longer than its limit.
pub fn encode<M: Serialize>(message: &M, body_bytes: usize) -> Result<Vec<u8>> {
    debug_assert!(body_bytes <= BODY_BYTES_MAX);
    let out = postcard::to_extend(message, vec![0; HEAD_BYTES])
        .map_err(|e| Error::Protocol(format!("a message cannot be encoded: {e}")))?;
    let message_bytes = out.len() - HEAD_BYTES;
    if message_bytes > MESSAGE_BYTES_MAX {
        return Err(Error::Protocol(format!("a message of {message_bytes} bytes is too long")));
    }
    let mut out = out;
    out[..4].copy_from_slice(&u32::try_from(message_bytes).unwrap_or(u32::MAX).to_be_bytes());
    out[4..8].copy_from_slice(&u32::try_from(body_bytes).unwrap_or(u32::MAX).to_be_bytes());
    Ok(out)
}

/// Reads a frame's head.
///
/// # Errors
/// [`Error::Protocol`] if a length is beyond its limit.
pub fn decode_head(bytes: &[u8; HEAD_BYTES]) -> Result<Head> {
    let length =
        |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap_or_default()) as usize;
    let head = Head { message_bytes: length(0), body_bytes: length(4) };
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
/// [`Error::Protocol`] if it is none, or has something behind it.
pub fn decode<M: DeserializeOwned>(message: &[u8]) -> Result<M> {
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
            },
            Request::Stage(PieceMeta {
                version,
                seq: Seq(8),
                place: place(),
                file_bytes: 353,
                stored_ms: -1,
            }),
            Request::Units { checksums: [1, u64::MAX] },
            Request::Carry(vec![Order::Commit { version, seq: Seq(8), place: place() }]),
            Request::Read {
                version,
                place: place(),
                first_stripe: 0,
                stripes: 1,
                select: Select::Xor,
            },
        ] {
            let bytes = encode(&request, 0).unwrap();
            let head = decode_head(bytes[..HEAD_BYTES].try_into().unwrap()).unwrap();
            assert_eq!(head.message_bytes, bytes.len() - HEAD_BYTES);
            assert_eq!(decode::<Request>(&bytes[HEAD_BYTES..]).unwrap(), request);
        }
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
        assert!(decode::<Order>(&bad[HEAD_BYTES..]).is_err());
    }

    #[test]
    fn absurd_lengths_and_trailing_bytes_are_refused() {
        assert!(decode_head(&[0xff; 8]).is_err());
        assert!(decode_head(&[0, 0, 0, 1, 0, 8, 0, 1]).is_err());
        assert!(decode_head(&[0, 0, 0, 1, 0, 8, 0, 0]).is_ok());
        let mut bytes = encode(&Reply::Done, 0).unwrap();
        bytes.push(0);
        assert!(decode::<Reply>(&bytes[HEAD_BYTES..]).is_err());
        assert!(decode::<Reply>(&[250]).is_err());
    }
}
