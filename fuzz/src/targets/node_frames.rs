//! Frames between the server and a node, as they come from a socket: their bytes as they are, and
//! with a head that fits, since no fuzzer guesses a checksum.

use std::fmt::Debug;

use palk::core::code::checksum;
use palk::core::wire::node::{self, BODY_BYTES_MAX, HEAD_BYTES, MESSAGE_BYTES_MAX, Reply, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bytes::Bytes;

pub(crate) fn run(data: &[u8]) {
    stream(data);
    message::<Request>(data);
    message::<Reply>(data);
}

/// Frame after frame, as long as they are frames.
fn stream(data: &[u8]) {
    let mut input = Bytes(data);
    while let Some((head, rest)) = input.0.split_first_chunk::<HEAD_BYTES>() {
        input.0 = rest;
        let Ok(head) = node::decode_head(head) else { return };
        assert!(head.message_bytes <= MESSAGE_BYTES_MAX && head.body_bytes <= BODY_BYTES_MAX);
        let message = input.take(head.message_bytes);
        let is_request = node::decode::<Request>(&head, message).is_ok();
        if !is_request && node::decode::<Reply>(&head, message).is_err() {
            return;
        }
        input.take(head.body_bytes);
    }
}

/// A message that is understood means the same after it was sent again.
fn message<M: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Some(decoded) = sealed::<M>(bytes) else { return };
    let Ok(encoded) = node::encode(&decoded, 0) else { return };
    assert_eq!(sealed::<M>(&encoded[HEAD_BYTES..]), Some(decoded));
}

/// The message in these bytes, with the head that belongs to it.
pub(crate) fn sealed<M: DeserializeOwned>(message: &[u8]) -> Option<M> {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&u32::try_from(message.len()).ok()?.to_be_bytes());
    let checksum = checksum::of_parts(&[&head[..8], message]);
    head[8..].copy_from_slice(&checksum.to_be_bytes());
    let head = node::decode_head(&head).ok()?;
    node::decode(&head, message).ok()
}
