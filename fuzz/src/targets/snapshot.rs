//! Snapshots of the catalog and the files of a journal: as they lie on a node, frame after frame, their
//! names, and what a frame with a right checksum may hold, since no fuzzer guesses one.

use std::fmt::Debug;

use palk::core::wire::journal::{Entry, Told};
use palk::core::wire::snapshot::{
    CHUNK_BYTES, FRAME_HEAD_BYTES, Logged, SegmentHead, SnapshotHead, SnapshotReply,
    SnapshotRequest, decode, decode_chunk, frame_of, parse_segment_name, parse_snapshot_name,
    read_frame,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn run(data: &[u8]) {
    file(data);
    if let Ok(name) = std::str::from_utf8(data) {
        if let Some((epoch, id)) = parse_snapshot_name(name) {
            assert_eq!(name, format!("snapshot-{epoch}-{id}"));
            assert_eq!(parse_segment_name(name), None);
        }
        if let Some((epoch, id)) = parse_segment_name(name) {
            assert_eq!(name, format!("journal-{epoch}-{id}"));
        }
    }
    content::<SnapshotHead>(data);
    content::<SegmentHead>(data);
    content::<Entry>(data);
    content::<Logged>(data);
    content::<Vec<Told>>(data);
    content::<SnapshotRequest>(data);
    content::<SnapshotReply>(data);
    if let Ok(changes) = decode_chunk(data) {
        changes.iter().for_each(|told| super::journal::assert_names(&told.change));
    }
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
