//! What the clients of the share, folder and request doors say, cut anywhere.

use palk::core::path::{FolderPath, NAME_BYTES_MAX};
use palk::core::wire::folder;
use palk::core::wire::folder::upload::{Known, Upload};
use palk::core::wire::request::{
    NAME_BYTES_MAX as REQUEST_NAME_MAX, REQUEST_HEAD_BYTES, RESPONSE_HEAD_BYTES, Response,
    decode_name, decode_request_head, encode_request,
};
use palk::core::wire::share::{self, Command, Heard, Put, next_piece};

use super::bytes::Bytes;

pub(crate) fn share(data: &[u8]) {
    let mut rest = data;
    while let Heard::Whole(command, used) = share::decode(rest) {
        assert!(0 < used && used <= rest.len());
        rest = &rest[used..];
        if command == Command::Put {
            put(rest);
            break;
        }
    }
    let said = share::list(String::from_utf8_lossy(data).split('\n'));
    assert!((1..=share::LIST_BYTES_MAX).contains(&said.len()));
    let (mut left, mut before) = (Bytes(data).u16().into(), None);
    while let Some(piece) = next_piece(left, before) {
        assert!((1..=share::PIECE_BYTES).contains(&piece.length));
        left -= piece.length as u64;
        before = Some(piece.length);
    }
    assert_eq!(left, 0);
}

/// A file whose first byte says how much of it comes together with its name.
fn put(data: &[u8]) {
    let mut input = Bytes(data);
    let first = input.short();
    let mut put = Put::new(first);
    while !input.is_empty() {
        let piece = input.short();
        put.is_over_with(piece, true);
        put.came(piece.len());
    }
    put.is_short();
    if let Some(name) = put.name() {
        assert!((1..=NAME_BYTES_MAX).contains(&name.text.len()));
        assert!(first.starts_with(name.text.as_bytes()) && put.bytes() >= name.text.len() as u64);
    }
}

pub(crate) fn folder(data: &[u8]) {
    match folder::decode(data) {
        Some((command, used)) => {
            assert!(0 < used && used <= data.len());
            assert_eq!(command == folder::Command::Upload, data.starts_with(b"UPLOAD"));
        }
        None => drop(folder::given_up(data)),
    }
    let text = String::from_utf8_lossy(data);
    for reply in [folder::ok(&text), folder::disconnected(&text), folder::list(text.lines())] {
        assert!(reply.len() <= folder::MESSAGE_BYTES_MAX);
        assert_eq!(reply.iter().filter(|byte| **byte == b'@').count(), 1);
    }
    let here = FolderPath::parse("a/b").expect("a folder");
    if let Ok(seen) = folder::resolve(&here, &text) {
        assert!(seen.as_str().split('/').all(|part| part != ".."));
    }
    let mut input = Bytes(data);
    let mut upload = Upload::new(input.u16().into());
    let mut came = 0;
    while !input.is_empty() {
        let piece = input.short();
        upload.came(piece);
        came += piece.len();
        if let Known::Whole(way) | Known::MaybeWhole(way) = upload.known() {
            assert_eq!(way.offset as u64 + way.bytes, came as u64);
            assert!((1..=NAME_BYTES_MAX).contains(&way.name.len()));
            assert!(!way.name.contains(['/', '\\']));
        }
    }
}

pub(crate) fn request(data: &[u8]) {
    if let Some((head, rest)) = data.split_first_chunk::<REQUEST_HEAD_BYTES>()
        && let Ok(length) = decode_request_head(head)
    {
        assert!((1..=REQUEST_NAME_MAX).contains(&length));
        if let Some(Ok(name)) = rest.get(..length).map(decode_name) {
            let again = encode_request(name).expect("what was read can be written");
            assert_eq!(again, data[..REQUEST_HEAD_BYTES + length]);
        }
    }
    if let Some(head) = data.first_chunk::<RESPONSE_HEAD_BYTES>()
        && let Ok(response) = Response::decode(head)
    {
        assert_eq!(response.encode(), *head);
    }
}
