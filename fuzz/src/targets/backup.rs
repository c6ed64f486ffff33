//! The catalog's backup: files as they lie on a node, frame after frame, their names, and what a
//! frame with a right checksum may hold, since no fuzzer guesses one.

use std::fmt::Debug;

use palk::core::wire::backup::{
    Answer, Ask, CHUNK_BYTES, FRAME_HEAD_BYTES, Finding, JournalHead, SnapshotHead, decode,
    file_name, frame_of, parse_file_name, read_frame,
};
use palk::core::wire::journal::Entry;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn run(data: &[u8]) {
    file(data);
    if let Some((kind, id)) = std::str::from_utf8(data).ok().and_then(parse_file_name) {
        assert_eq!(file_name(kind, id).as_bytes(), data);
    }
    content::<SnapshotHead>(data);
    content::<JournalHead>(data);
    content::<Entry>(data);
    content::<Finding>(data);
    content::<Ask>(data);
    content::<Answer>(data);
}

/// Frame after frame, as long as they are frames.
fn file(mut bytes: &[u8]) {
    while let Ok(Some((content, length))) = read_frame(bytes) {
        assert!((1..=CHUNK_BYTES).contains(&content.len()));
        assert_eq!(length, FRAME_HEAD_BYTES + content.len());
        bytes = &bytes[length..];
    }
}

/// What is understood means the same after it was written again.
fn content<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else { return };
    let Ok(framed) = frame_of(&value) else { return };
    let (again, length) = read_frame(&framed).expect("an own frame").expect("a whole one");
    assert_eq!(length, framed.len());
    assert_eq!(decode::<T>(again).expect("the same once more"), value);
}
