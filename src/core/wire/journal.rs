//! The catalog's journal: every change as a record that says all that is needed to make it again.
//!
//! ```text
//!   entry 41            entry 42                       entry 43
//!   record, chain ────> record, chain = BLAKE3(chain of 41, record) ────> ...
//! ```
//!
//! The chain makes an entry's place in a history its own: two catalogs that went different ways after
//! the same entry are told apart by the next one, whatever its number.

use serde::{Deserialize, Serialize};

use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, FolderPath, PATH_BYTES_MAX, UserName};
use crate::core::types::{ClusterId, Digest, NODE_COUNT, NodeSet, Seq, VersionId};
use crate::core::wire::node::Place;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 << 10;

/// The longest password hash and node address in a record, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

const _: () = assert!(NODE_COUNT * (TEXT_BYTES_MAX + 2) + 1 < RECORD_BYTES_MAX);
const _: () = assert!(3 * PATH_BYTES_MAX < RECORD_BYTES_MAX);

/// One change of the catalog. New kinds are added at the end: the number of a variant is its name on
/// disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// An account was made.
    UserMade {
        /// Whose.
        user: UserName,
        /// Its password's hash in PHC form; anything else is no password.
        password: String,
        /// When, in milliseconds since 1970.
        created_ms: i64,
    },
    /// A folder was made in a folder that was there.
    FolderMade {
        /// Whose.
        user: UserName,
        /// Which.
        folder: FolderPath,
    },
    /// A version became a file's current one.
    Stored {
        /// Of which file.
        place: Place,
        /// Which version.
        version: VersionId,
        /// Its number.
        seq: Seq,
        /// The file's size.
        bytes: u64,
        /// The file's digest.
        blake3: Digest,
        /// When its store began, in milliseconds since 1970.
        stored_ms: i64,
        /// The nodes that held its piece then.
        placed: NodeSet,
    },
    /// A file was deleted.
    Deleted {
        /// Which.
        place: Place,
        /// The deletion's number.
        seq: Seq,
    },
    /// Nodes 1 to 4 are at these addresses from now on.
    Nodes {
        /// In order.
        addresses: [String; NODE_COUNT],
    },
    /// The catalog was made anew from the nodes, or is an older one that goes on: what follows is a
    /// history of its own.
    Branched {
        /// Higher than that of every history that the nodes knew.
        generation: u64,
        /// Random, so that no two such histories are alike.
        mark: VersionId,
    },
    /// An account got another password.
    PasswordChanged {
        /// Whose.
        user: UserName,
        /// The new one's hash in PHC form.
        password: String,
    },
    /// An account was disabled or enabled.
    AccountDisabled {
        /// Whose.
        user: UserName,
        /// Whether nobody can sign in to it from now on.
        disabled: bool,
    },
    /// It was said how much an account may store.
    QuotaSet {
        /// Whose.
        user: UserName,
        /// So many bytes, the greatest number for no limit; nothing for what holds for all.
        bytes: Option<i64>,
    },
    /// An account was removed: nobody can sign in to it. The deletions of its files follow.
    RemovalBegun {
        /// Whose.
        user: UserName,
    },
    /// The files of a removed account are gone, and now its folders.
    FoldersRemoved {
        /// Whose.
        user: UserName,
    },
    /// An account was made with the name of one that was removed.
    UserMadeAgain {
        /// Whose.
        user: UserName,
        /// As for [`Change::UserMade`].
        password: String,
        /// When, in milliseconds since 1970.
        created_ms: i64,
        /// Files with a lower number are those of the former account.
        seq: Seq,
    },
    /// An empty folder was removed.
    FolderRemoved {
        /// Whose.
        user: UserName,
        /// Which.
        folder: FolderPath,
    },
    /// A file got another name, in place of the file that had it.
    FileMoved {
        /// Whose.
        user: UserName,
        /// Its name until then.
        from: FilePath,
        /// Its name from then on.
        to: FilePath,
        /// The move's number, which is the file's from then on.
        seq: Seq,
    },
    /// A folder got another name, with all that is in it.
    FolderMoved {
        /// Whose.
        user: UserName,
        /// Its name until then.
        from: FolderPath,
        /// Its name from then on; no folder had it.
        to: FolderPath,
        /// The move's number, which is that of all files in it from then on.
        seq: Seq,
    },
}

impl Change {
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
    /// [`Error::Damaged`] if it is none, has something behind its end or is beyond a limit.
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
            Change::UserMade { password, .. }
            | Change::UserMadeAgain { password, .. }
            | Change::PasswordChanged { password, .. } => password.len() > TEXT_BYTES_MAX,
            Change::Nodes { addresses } => addresses.iter().any(|a| a.len() > TEXT_BYTES_MAX),
            _ => false,
        };
        if too_long { Err(damaged("has a text that is too long")) } else { Ok(change) }
    }
}

/// What stands for all of a history up to and including an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Chain(pub [u8; 16]);

impl Chain {
    /// That of a cluster's catalog before its first entry.
    pub fn first(cluster: ClusterId) -> Chain {
        Chain::of(&[b"palk journal 1", &cluster.0])
    }

    /// That of the history which goes on with this record.
    #[must_use]
    pub fn next(self, record: &[u8]) -> Chain {
        Chain::of(&[&self.0, record])
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
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How far a history has come: its last entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Point {
    /// The entry's number; 0 before the first one.
    pub id: u64,
    /// The history up to there.
    pub chain: Chain,
}

impl Point {
    /// Before the first entry.
    pub fn start(cluster: ClusterId) -> Point {
        Point { id: 0, chain: Chain::first(cluster) }
    }
}

/// One entry of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number: one more than that of the entry before it.
    pub id: u64,
    /// The record of its [`Change`].
    pub record: Vec<u8>,
    /// The history up to here.
    pub chain: Chain,
}

impl Entry {
    /// The entry with this record that follows a point.
    pub fn after(point: Point, record: Vec<u8>) -> Entry {
        Entry { id: point.id + 1, chain: point.chain.next(&record), record }
    }

    /// Where a history is after this entry.
    pub fn point(&self) -> Point {
        Point { id: self.id, chain: self.chain }
    }

    /// Does it go on from there?
    pub fn follows(&self, point: Point) -> bool {
        point.id.checked_add(1) == Some(self.id) && point.chain.next(&self.record) == self.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(user: &str) -> Change {
        let user = UserName::parse(user).unwrap();
        Change::UserMade { user, password: "$argon2id$x".into(), created_ms: -1 }
    }

    #[test]
    fn a_change_survives_its_record() {
        let addresses = ["a:1", "b:2", "c:3", "d:4"].map(str::to_owned);
        for change in [made("demo"), Change::Nodes { addresses }] {
            assert_eq!(Change::decode(&change.encode().unwrap()).unwrap(), change);
        }
        let mut longer = made("demo").encode().unwrap();
        longer.push(0);
        assert!(Change::decode(&longer).is_err());
        let long = Change::Nodes { addresses: std::array::from_fn(|_| "x".repeat(1025)) };
        assert!(Change::decode(&long.encode().unwrap()).is_err());
        let longer = Change::Nodes { addresses: std::array::from_fn(|_| "x".repeat(8 << 10)) };
        assert!(longer.encode().is_err());
    }

    #[test]
    fn histories_that_part_are_told_apart_for_good() {
        let start = Point::start(ClusterId([1; 16]));
        assert_ne!(start, Point::start(ClusterId([2; 16])));
        let [a, b] = [made("a"), made("b")].map(|change| change.encode().unwrap());
        let (left, right) = (Entry::after(start, a.clone()), Entry::after(start, b));
        assert!(left.follows(start) && right.follows(start));
        assert_eq!(left, Entry::after(start, a.clone()));
        // The same change after different ones.
        let (left_next, right_next) =
            (Entry::after(left.point(), a.clone()), Entry::after(right.point(), a));
        assert_eq!(left_next.id, right_next.id);
        assert!(!left_next.follows(right.point()) && !right_next.follows(left.point()));
    }

    proptest! {
        #[test]
        fn no_record_makes_the_decoder_panic(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(change) = Change::decode(&record) {
                prop_assert_eq!(Change::decode(&change.encode().unwrap()).unwrap(), change);
            }
        }
    }
}
