//! Heads of chunks: no length above the limit gets through, and what was sealed is taken.

use palk::core::wire::chunk::{self, CHUNK_BYTES, HEAD_BYTES, Head};

use super::bytes::Bytes;

pub(crate) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    while let Some((head, rest)) = input.0.split_first_chunk::<HEAD_BYTES>() {
        input.0 = rest;
        match chunk::decode_head(head) {
            Ok(Head::Data { length, checksum }) => {
                assert!((1..=CHUNK_BYTES).contains(&length));
                let piece = input.take(length);
                let is_right = chunk::verify(piece, checksum).is_ok();
                if !piece.is_empty() {
                    let own = chunk::data_head(&[piece]);
                    assert_eq!(is_right, own[4..] == head[4..]);
                    let sealed = chunk::decode_head(&own).expect("a head of Palk's own");
                    let Head::Data { length, checksum } = sealed else { panic!("{sealed:?}") };
                    assert_eq!(length, piece.len());
                    assert!(chunk::verify(piece, checksum).is_ok());
                }
            }
            Ok(Head::End { checksum }) => drop(chunk::verify(input.take(32), checksum)),
            Ok(Head::GivenUp) | Err(_) => return,
        }
    }
}
