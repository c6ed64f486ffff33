//! Chunks: how the bytes of a file travel in the extended session.
//!
//! ```text
//!   0        4                12
//!   +--------+----------------+----------------------+
//!   | length | CRC-64/NVME    | length bytes         |      both numbers big-endian
//!   +--------+----------------+----------------------+
//!   length 1..=1 MiB    a piece of the file
//!   length 0            the end; the checksum covers the 32 bytes of BLAKE3 digest that follow
//!   length 2^32 - 1     given up by the sender; checksum 0, nothing follows
//! ```
//!
//! Every chunk but the last carries exactly [`CHUNK_BYTES`], one stripe; of a range the first one may
//! be shorter, too.

use crate::core::code::checksum;
use crate::core::error::{Error, Result};
use crate::core::types::Digest;

/// The bytes of a file in a full chunk: those of one stripe.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// How many chunks a storing client may send ahead of the server's acknowledgements.
pub const CHUNKS_AHEAD_MAX: usize = 8;

/// The server's answer to each chunk that it took while storing. Once it has them all it says the same now
/// and then until the file is stored, so that the client knows that it still works on it.
pub const ACKNOWLEDGED: u8 = b'+';

/// The size of a chunk's head.
pub const HEAD_BYTES: usize = 12;

const LENGTH_GIVEN_UP: u32 = u32::MAX;

/// What a chunk's head announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// So many bytes of the file follow, with this checksum.
    Data {
        /// 1 to [`CHUNK_BYTES`].
        length: usize,
        /// CRC-64/NVME of the bytes.
        checksum: u64,
    },
    /// The file is complete; its digest follows, with this checksum.
    End {
        /// CRC-64/NVME of the 32 digest bytes.
        checksum: u64,
    },
    /// The sender has given up; nothing follows.
    GivenUp,
}

/// The head of a chunk of data that lies in these parts, one behind the other.
pub fn data_head(parts: &[&[u8]]) -> [u8; HEAD_BYTES] {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    debug_assert!((1..=CHUNK_BYTES).contains(&bytes));
    head(u32::try_from(bytes).unwrap_or(u32::MAX), checksum::of_parts(parts))
}

/// The whole of the last chunk.
pub fn end(digest: &Digest) -> Vec<u8> {
    let mut out = head(0, checksum::unit(&digest.0)).to_vec();
    out.extend_from_slice(&digest.0);
    out
}

/// The chunk that says that the sender has given up.
pub fn given_up() -> [u8; HEAD_BYTES] {
    head(LENGTH_GIVEN_UP, 0)
}

fn head(length: u32, checksum: u64) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    out[..4].copy_from_slice(&length.to_be_bytes());
    out[4..].copy_from_slice(&checksum.to_be_bytes());
    out
}

/// Reads a chunk's head.
///
/// # Errors
/// [`Error::Protocol`] for a length above [`CHUNK_BYTES`].
pub fn decode_head(bytes: &[u8; HEAD_BYTES]) -> Result<Head> {
    let (length, checksum) = bytes.split_at(4);
    let length = u32::from_be_bytes(length.try_into().unwrap_or_default());
    let checksum = u64::from_be_bytes(checksum.try_into().unwrap_or_default());
    match length {
        0 => Ok(Head::End { checksum }),
        LENGTH_GIVEN_UP => Ok(Head::GivenUp),
        length if length as usize <= CHUNK_BYTES => {
            Ok(Head::Data { length: length as usize, checksum })
        }
        length => Err(Error::Protocol(format!("a chunk of {length} bytes was announced"))),
    }
}

/// Holds bytes that arrived against the checksum that their head announced.
///
/// # Errors
/// [`Error::Damaged`] if they differ.
pub fn verify(bytes: &[u8], announced: u64) -> Result<()> {
    if checksum::unit(bytes) == announced {
        Ok(())
    } else {
        Err(Error::Damaged("a chunk does not match its checksum".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_encoding() {
        let data = b"some bytes";
        let head = Head::Data { length: 10, checksum: checksum::unit(data) };
        assert_eq!(decode_head(&data_head(&[data])).unwrap(), head);
        assert_eq!(decode_head(&data_head(&[&data[..3], &data[3..]])).unwrap(), head);
        assert_eq!(decode_head(&given_up()).unwrap(), Head::GivenUp);
        let end = end(&Digest([7; 32]));
        let head: [u8; HEAD_BYTES] = end[..HEAD_BYTES].try_into().unwrap();
        assert_eq!(decode_head(&head).unwrap(), Head::End { checksum: checksum::unit(&[7; 32]) });
    }

    #[test]
    fn an_absurd_length_is_refused() {
        assert!(decode_head(&[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(decode_head(&[0, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(decode_head(&[0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_ok());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let sum = checksum::unit(b"some bytes");
        assert!(verify(b"some bytes", sum).is_ok());
        assert!(verify(b"some bytet", sum).is_err());
    }
}
