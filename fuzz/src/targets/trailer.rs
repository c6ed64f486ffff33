//! Trailers of block files, as a disk may hold them: the bytes as they are, and with a footer that
//! fits, since no fuzzer guesses a checksum.

use palk::core::code::checksum;
use palk::core::wire::trailer::{FOOTER_BYTES, FORMAT, Footer, MAGIC, TRAILER_BYTES_MAX, Trailer};

use super::bytes::Bytes;
use super::names::assert_inside;

pub(crate) fn run(data: &[u8]) {
    if let Some((_, footer)) = data.split_last_chunk::<FOOTER_BYTES>()
        && let Ok(footer) = Footer::decode(footer)
    {
        assert!(footer.trailer_bytes <= TRAILER_BYTES_MAX);
    }
    let _ = Trailer::decode(data);
    let mut input = Bytes(data);
    let header_bytes = u32::from(input.u16());
    if let Ok(trailer) = Trailer::decode(&sealed(input.0, header_bytes)) {
        assert_inside(&trailer.header.path);
        assert_eq!(trailer.checksums.len() as u64, trailer.layout().stripe_count());
        let again = Trailer::decode(&trailer.encode());
        assert_eq!(again.ok(), Some(trailer));
    }
}

/// A table and a header of so many bytes, with their footer.
pub(crate) fn sealed(table_and_header: &[u8], header_bytes: u32) -> Vec<u8> {
    let mut out = table_and_header.to_vec();
    let trailer_bytes = (out.len() + FOOTER_BYTES) as u64;
    out.extend_from_slice(&trailer_bytes.to_le_bytes());
    out.extend_from_slice(&header_bytes.to_le_bytes());
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&checksum::unit(&out).to_le_bytes());
    out.extend_from_slice(&MAGIC);
    out
}
