//! The words that every layer uses: nodes, blocks, versions, digests.
//!
//! Values only. Whatever comes from outside becomes one of these once, and the type is carried from
//! there on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many storage nodes a cluster has.
pub const NODE_COUNT: usize = 4;

/// The fewest nodes that must hold a version, synced, before its store is answered.
pub const WRITE_QUORUM: usize = 3;

/// How many nodes are needed to read a version back.
pub const READ_QUORUM: usize = 2;

// Any two sets of this many nodes share one that holds what the other has decided.
const _: () = assert!(2 * WRITE_QUORUM > NODE_COUNT + 1);
const _: () = assert!(READ_QUORUM < WRITE_QUORUM && WRITE_QUORUM < NODE_COUNT);

/// When a change was recorded: microseconds since 1970 by the server's clock, but always later than the
/// change before it. So it names one state of everything, and a clock that is set back changes nothing
/// about what came first.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug, Serialize, Deserialize,
)]
pub struct Moment(pub i64);

impl Moment {
    /// After every other one.
    pub const MAX: Moment = Moment(i64::MAX);

    /// The last of those that begin with this millisecond.
    pub fn end_of_ms(ms: i64) -> Moment {
        Moment(ms.saturating_mul(1000).saturating_add(999))
    }

    /// The millisecond that it lies in, since 1970.
    pub fn ms(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The one just before it.
    #[must_use]
    pub fn before(self) -> Moment {
        Moment(self.0.saturating_sub(1))
    }

    /// The next one at a time, in microseconds since 1970.
    #[must_use]
    pub fn next(self, now_us: i64) -> Moment {
        Moment(self.0.saturating_add(1).max(now_us))
    }
}

/// The number of a storage node, 1 to 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct NodeId(u8);

impl NodeId {
    /// All four, in order.
    pub const ALL: [NodeId; NODE_COUNT] = [NodeId(1), NodeId(2), NodeId(3), NodeId(4)];

    /// The node with this number, if there is one.
    pub fn new(number: u8) -> Option<NodeId> {
        (1..=4).contains(&number).then_some(NodeId(number))
    }

    /// 1 to 4.
    pub fn number(self) -> u8 {
        self.0
    }

    /// 0 to 3, for arrays of four.
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }

    /// The two blocks this node keeps, in their order on disk and on the wire.
    pub fn blocks(self) -> [Block; 2] {
        match self.0 {
            1 => [Block::A1, Block::A2],
            2 => [Block::B1, Block::B2],
            3 => [Block::O1, Block::O2],
            _ => [Block::O3, Block::O4],
        }
    }
}

impl TryFrom<u8> for NodeId {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        NodeId::new(number).ok_or_else(|| format!("{number} is not a node number (1 to 4)"))
    }
}

impl From<NodeId> for u8 {
    fn from(id: NodeId) -> u8 {
        id.0
    }
}

impl FromStr for NodeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: u8 =
            text.parse().map_err(|_| format!("{text:?} is not a node number (1 to 4)"))?;
        NodeId::try_from(number)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// A set of nodes: which of the four hold something, are up, or answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct NodeSet(u8);

impl NodeSet {
    /// No node.
    pub const EMPTY: NodeSet = NodeSet(0);
    /// All four.
    pub const ALL: NodeSet = NodeSet(0b1111);

    /// The set whose bit `i` stands for node `i + 1`; higher bits are dropped.
    pub fn from_bits(bits: u8) -> NodeSet {
        NodeSet(bits & 0b1111)
    }

    /// Bit `i` stands for node `i + 1`.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Is this node in the set?
    pub fn contains(self, id: NodeId) -> bool {
        self.0 & (1 << id.index()) != 0
    }

    /// Adds a node.
    pub fn insert(&mut self, id: NodeId) {
        self.0 |= 1 << id.index();
    }

    /// Takes a node out.
    pub fn remove(&mut self, id: NodeId) {
        self.0 &= !(1 << id.index());
    }

    /// The nodes in both sets.
    #[must_use]
    pub fn and(self, other: NodeSet) -> NodeSet {
        NodeSet(self.0 & other.0)
    }

    /// The nodes in either set.
    #[must_use]
    pub fn or(self, other: NodeSet) -> NodeSet {
        NodeSet(self.0 | other.0)
    }

    /// The nodes that are not in the set.
    #[must_use]
    pub fn complement(self) -> NodeSet {
        NodeSet(!self.0 & 0b1111)
    }

    /// How many nodes are in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Is no node in the set?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The nodes in the set, lowest number first.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        NodeId::ALL.into_iter().filter(move |id| self.contains(*id))
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> Self {
        let mut set = NodeSet::EMPTY;
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }
}

/// Reads as a person would say it: `node 2`, `nodes 1 and 3`, `nodes 1, 2 and 4`.
impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.iter().map(|id| id.to_string()).collect();
        match numbers.as_slice() {
            [] => write!(f, "no node"),
            [one] => write!(f, "node {one}"),
            [rest @ .., last] => write!(f, "nodes {} and {last}", rest.join(", ")),
        }
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One of the eight blocks of a file. A1 to B2 are the file itself, O1 to O4 are parity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)] // the eight names are their own documentation; the code is in `code`
pub enum Block {
    A1 = 0,
    A2 = 1,
    B1 = 2,
    B2 = 3,
    O1 = 4,
    O2 = 5,
    O3 = 6,
    O4 = 7,
}

impl Block {
    /// All eight: the four of the file in file order, then parity.
    pub const ALL: [Block; 8] =
        [Block::A1, Block::A2, Block::B1, Block::B2, Block::O1, Block::O2, Block::O3, Block::O4];

    /// 0 to 7, in the order of [`Block::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The node that keeps this block.
    pub fn node(self) -> NodeId {
        NodeId::ALL[self.index() / 2]
    }

    /// `A1` to `O4`.
    pub fn name(self) -> &'static str {
        ["A1", "A2", "B1", "B2", "O1", "O2", "O3", "O4"][self.index()]
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes bytes in lower-case hex. Every path of a block file is made by this, so it formats no numbers.
pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for part in bytes.chunks(32) {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(part) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text[..2 * part.len()]).map_err(|_| fmt::Error)?)?;
    }
    Ok(())
}

/// Defines an opaque value of N random or computed bytes, shown and parsed as lower-case hex.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.as_bytes();
                let mut bytes = [0u8; $len];
                if digits.len() != 2 * $len || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(format!("expected {} hex digits", 2 * $len));
                }
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|e| e.to_string())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|e| e.to_string())?;
                }
                Ok($name(bytes))
            }
        }
    };
}

hex_bytes!(
    /// The random 128-bit name of one stored state of a file. Never used twice.
    VersionId,
    16
);

hex_bytes!(
    /// The random 128-bit name of a cluster, made by the server at its first start.
    ClusterId,
    16
);

hex_bytes!(
    /// The random 128-bit name of one run of a server's process. Never used twice. The first half is the
    /// same for all runs in one folder, and in copies of it.
    ServerId,
    16
);

impl ServerId {
    const FOLDER_BYTES: usize = 8;

    /// The name of the next run in the same folder; `drawn` is random.
    #[must_use]
    pub fn next(self, drawn: ServerId) -> ServerId {
        let mut next = drawn;
        next.0[..Self::FOLDER_BYTES].copy_from_slice(&self.0[..Self::FOLDER_BYTES]);
        next
    }

    /// Are both names of runs in the same folder, or in copies of it?
    pub fn shares_folder(self, other: ServerId) -> bool {
        self.0[..Self::FOLDER_BYTES] == other.0[..Self::FOLDER_BYTES]
    }
}

hex_bytes!(
    /// The random name of an app password, which may be seen: 20 hex digits.
    KeyId,
    10
);

hex_bytes!(
    /// The BLAKE3 digest of a whole file (what `b3sum` prints).
    Digest,
    32
);

/// A sequence number, given to a version when all of it has come. They only grow: the high 24 bits
/// are the server's epoch, the low 40 count. Of two versions of one path the higher one is the newer
/// for whoever has trailers alone; where there is a journal, that decides.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The highest epoch that a node accepts: what its `node.toml` can hold, and out of reach of servers
/// that take one each.
pub const EPOCH_MAX: u64 = i64::MAX as u64;

/// What a store asks of the file at its path, in the moment in which it becomes the current version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Precondition {
    /// Nothing: a file that is there is replaced.
    #[default]
    Any,
    /// There is no file.
    Absent,
    /// There is one.
    Present,
    /// This is the file's current version.
    Unchanged(VersionId),
}

/// What a file keeps of the one that was stored, besides its bytes; `None` where it is not known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct FileAttributes {
    /// When it was last changed, in milliseconds since 1970 by the clock of whoever stored it.
    pub modified_ms: Option<i64>,
    /// What kind of file it is.
    pub kind: Option<FileKind>,
}

impl FileAttributes {
    /// Is it a symbolic link?
    pub fn is_link(&self) -> bool {
        self.kind == Some(FileKind::Link)
    }

    /// These, and what is not known by them from others.
    pub fn or(self, others: FileAttributes) -> FileAttributes {
        FileAttributes {
            modified_ms: self.modified_ms.or(others.modified_ms),
            kind: self.kind.or(others.kind),
        }
    }
}

/// What kind of file was stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FileKind {
    /// One that may not be run.
    Plain,
    /// One that may be run as a program.
    Executable,
    /// A symbolic link: its bytes are the path that it leads to.
    Link,
}

/// The longest path that a symbolic link leads to, in bytes: what systems take.
pub const LINK_BYTES_MAX: u64 = 4095;

/// What a server registers with at every node: of two servers the one with the higher epoch is the
/// cluster's, and no two share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Higher than any that this server has heard of at its start; at least 1.
    pub epoch: u64,
    /// Which run of which server it is.
    pub server: ServerId,
}

/// What a public key is recognised by: the SHA-256 digest of the key as it stands in a certificate
/// (its `SubjectPublicKeyInfo`, DER). A new certificate for the same key has the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// Reads 64 hexadecimal digits, in either case, with or without colons between pairs.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let wrong = || "a fingerprint is 64 hexadecimal digits".to_owned();
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| char::from(digit).to_digit(16).ok_or_else(wrong);
            let both = value(pair[0])? * 16 + value(pair[1])?;
            *byte = u8::try_from(both).map_err(|_| wrong())?;
        }
        Ok(Fingerprint(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_lies_on_the_node_that_names_it() {
        for id in NodeId::ALL {
            for block in id.blocks() {
                assert_eq!(block.node(), id);
            }
        }
    }

    #[test]
    fn a_set_of_nodes_reads_like_a_sentence() {
        let set = |bits| NodeSet::from_bits(bits).to_string();
        assert_eq!(set(0b0000), "no node");
        assert_eq!(set(0b0010), "node 2");
        assert_eq!(set(0b0101), "nodes 1 and 3");
        assert_eq!(set(0b1011), "nodes 1, 2 and 4");
    }

    #[test]
    fn ids_survive_printing_and_parsing() {
        let id = VersionId(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse::<VersionId>(), Ok(id));
        assert!("12".parse::<VersionId>().is_err());
        assert!("zz".repeat(16).parse::<VersionId>().is_err());
        assert!("é".repeat(16).parse::<VersionId>().is_err());
    }

    #[test]
    fn node_numbers_outside_one_to_four_do_not_exist() {
        assert_eq!(NodeId::new(0), None);
        assert_eq!(NodeId::new(5), None);
        assert!("five".parse::<NodeId>().is_err());
        assert_eq!("3".parse::<NodeId>().map(NodeId::number), Ok(3));
    }

    #[test]
    fn a_fingerprint_is_read_as_people_copy_it() {
        let print = Fingerprint(std::array::from_fn(|i| u8::try_from(i * 8).unwrap()));
        let text = print.to_string();
        assert_eq!(text.parse(), Ok(print));
        assert_eq!(text.to_uppercase().parse(), Ok(print));
        let pairs: Vec<&str> = (0..32).map(|i| &text[2 * i..2 * i + 2]).collect();
        assert_eq!(pairs.join(":").parse(), Ok(print));
        for wrong in ["", "00", &text[1..], &text.replace('0', "g"), &format!("{text}00")] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
