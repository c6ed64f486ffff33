//! The end of a block file: what makes one block name itself.
//!
//! A block file is the block's bytes, exactly as the code defines them, and then this trailer:
//!
//! ```text
//!   +----------------------+-----------+-----------------------------------------------------+
//!   | unit checksums       | header    | footer, 32 bytes                                    |
//!   | 8 bytes a stripe, LE | postcard  | trailer len u64 | header len u32 | format u32 |     |
//!   |                      |           | CRC-64/NVME of all the trailer before it | magic    |
//!   +----------------------+-----------+-----------------------------------------------------+
//! ```
//!
//! The magic stands at the very end of the file, so a torn write is seen at once, and `head -c` with
//! the block's length gives the plain block. See `docs/formats.md`.

use serde::{Deserialize, Serialize};

use crate::core::code::checksum;
use crate::core::code::layout::Layout;
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{Block, Digest, Seq, VersionId};

/// The last eight bytes of every block file.
pub const MAGIC: [u8; 8] = *b"PALKBLK1";

/// The format that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 2;

/// The size of the footer.
pub const FOOTER_BYTES: usize = 32;

/// The most stripes that a file may have, so that its table of checksums stays within memory: a file
/// of 8 TiB has tables of 64 MiB.
pub const STRIPES_MAX: u64 = 8 << 20;

/// The longest header: two paths' worth of text and some numbers.
const HEADER_BYTES_MAX: usize = 12 * 1024;
const _: () = assert!(HEADER_BYTES_MAX > 2 * crate::core::path::PATH_BYTES_MAX);

/// The longest trailer.
pub const TRAILER_BYTES_MAX: u64 = STRIPES_MAX * 8 + (HEADER_BYTES_MAX + FOOTER_BYTES) as u64;

/// Which block this is, of which version of which file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The version that the block belongs to.
    pub version: VersionId,
    /// The version's place in the order of changes.
    pub seq: Seq,
    /// Whose file it is.
    pub user: UserName,
    /// What the file was called when it was stored.
    pub path: FilePath,
    /// The file's size.
    pub file_bytes: u64,
    /// The size of a unit in all stripes but the last.
    pub unit_bytes_max: u32,
    /// Which of the eight blocks this is.
    pub block: Block,
    /// The digest of the whole file.
    pub blake3: Digest,
    /// When the file was stored, in milliseconds since 1970 by the server's clock.
    pub stored_ms: i64,
    /// Of which upload it may be an extent. One that is as long as the whole file is the file.
    pub part: Option<PartOf>,
}

/// Where an extent belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartOf {
    /// The upload.
    pub upload: VersionId,
    /// Where the extent comes among the others.
    pub position: u64,
    /// The size of the whole file, if it was known.
    pub whole_bytes: Option<u64>,
}

/// A block's header and the checksums of its units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// What the block is.
    pub header: Header,
    /// One CRC-64/NVME for each stripe.
    pub checksums: Vec<u64>,
}

impl Trailer {
    /// The trailer as it stands on disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.checksums.len() * 8 + 512);
        self.checksums.iter().for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
        let table_bytes = out.len();
        let mut out = postcard::to_extend(&self.header, out)
            .unwrap_or_else(|e| unreachable!("a header of plain values always encodes: {e}"));
        let header_bytes = u32::try_from(out.len() - table_bytes).unwrap_or(u32::MAX);
        let trailer_bytes = (out.len() + FOOTER_BYTES) as u64;
        out.extend_from_slice(&trailer_bytes.to_le_bytes());
        out.extend_from_slice(&header_bytes.to_le_bytes());
        out.extend_from_slice(&FORMAT.to_le_bytes());
        let sum = checksum::unit(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        out
    }

    /// Reads a whole trailer, footer included. It is valid only if every byte of it is, its numbers
    /// agree with each other, and it has as many checksums as its file has stripes.
    ///
    /// # Errors
    /// [`Error::Damaged`] with what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Trailer> {
        let (before, footer_bytes) = bytes
            .split_last_chunk::<FOOTER_BYTES>()
            .ok_or_else(|| damaged("it is shorter than a footer"))?;
        let footer = Footer::decode(footer_bytes)?;
        let covered = bytes.len() - 16;
        if footer.trailer_bytes != bytes.len() as u64 {
            return Err(damaged("its length is not the one it names"));
        }
        if checksum::unit(&bytes[..covered]) != footer.checksum {
            return Err(damaged("its checksum differs"));
        }
        let table_bytes = before
            .len()
            .checked_sub(footer.header_bytes)
            .ok_or_else(|| damaged("its header is longer than itself"))?;
        let (table, header) = before.split_at(table_bytes);
        let header: Header =
            postcard::from_bytes(header).map_err(|_| damaged("its header cannot be read"))?;
        let layout = Layout::checked(header.file_bytes)
            .ok_or_else(|| damaged("it names an impossible file size"))?;
        if table.len() as u64 != layout.stripe_count() * 8 {
            return Err(damaged("it has too few or too many checksums"));
        }
        let checksums = table
            .chunks_exact(8)
            .map(|sum| u64::from_le_bytes(sum.try_into().unwrap_or_default()))
            .collect();
        Ok(Trailer { header, checksums })
    }

    /// How the file of this block is laid out.
    pub fn layout(&self) -> Layout {
        Layout::new(self.header.file_bytes)
    }
}

/// The last bytes of a block file, enough to find the rest of the trailer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footer {
    /// The length of the whole trailer, this footer included.
    pub trailer_bytes: u64,
    header_bytes: usize,
    checksum: u64,
}

impl Footer {
    /// Reads a footer.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the magic is missing, the format unknown or a length beyond its limit.
    pub fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Footer> {
        let u32_at =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        let u64_at =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        if bytes[24..] != MAGIC {
            return Err(damaged("the file does not end in the mark of a finished block"));
        }
        if u32_at(12) != FORMAT {
            return Err(damaged("its format is of another version of Palk"));
        }
        let footer = Footer {
            trailer_bytes: u64_at(0),
            header_bytes: u32_at(8) as usize,
            checksum: u64_at(16),
        };
        if footer.trailer_bytes > TRAILER_BYTES_MAX || footer.header_bytes > HEADER_BYTES_MAX {
            return Err(damaged("it names an impossible length"));
        }
        Ok(footer)
    }
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("block trailer: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::path::PATH_BYTES_MAX;

    fn example(file_bytes: u64) -> Trailer {
        let stripes = Layout::new(file_bytes).stripe_count();
        Trailer {
            header: Header {
                version: VersionId([3; 16]),
                seq: Seq(77),
                user: UserName::parse("demo").unwrap(),
                path: FilePath::parse_rooted("test/yeet.txt").unwrap(),
                file_bytes,
                unit_bytes_max: 256 * 1024,
                block: Block::B2,
                blake3: Digest([9; 32]),
                stored_ms: 1_700_000_000_000,
                part: None,
            },
            checksums: (0..stripes).map(|i| i * 3).collect(),
        }
    }

    #[test]
    fn a_trailer_survives_the_disk() {
        for size in [0, 353, 5 << 20, (5 << 20) - 1] {
            let trailer = example(size);
            assert_eq!(Trailer::decode(&trailer.encode()).unwrap(), trailer);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = example(3 << 20).encode();
        for byte in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[byte] ^= 1 << bit;
                assert!(Trailer::decode(&bad).is_err(), "bit {bit} of byte {byte}");
            }
            assert!(Trailer::decode(&good[byte + 1..]).is_err(), "from byte {}", byte + 1);
            assert!(Trailer::decode(&good[..byte]).is_err(), "up to byte {byte}");
        }
    }

    #[test]
    fn the_longest_header_fits() {
        let mut trailer = example(0);
        let part = "é".repeat(120);
        let path = vec![part.as_str(); 17].join("/");
        trailer.header.path = FilePath::parse_rooted(&path[..PATH_BYTES_MAX]).unwrap();
        trailer.header.user = UserName::parse(&"u".repeat(64)).unwrap();
        assert_eq!(Trailer::decode(&trailer.encode()).unwrap(), trailer);
    }
}
