//! Bytes in a message or a file as one run. On the wire they are what serde makes of a vector of numbers,
//! but are copied at once and not one by one.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// For a field that is `Vec<u8>`: `#[serde(with = "bytes")]`.
pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// The same the other way round.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    from.deserialize_byte_buf(Bytes)
}

/// For a field that is `Option<Vec<u8>>`, as `serialize_with`.
pub(super) fn serialize_option<S: Serializer>(
    bytes: &Option<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(Run).serialize(serializer)
}

/// The same the other way round, as `deserialize_with`.
pub(super) fn deserialize_option<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<u8>>, D::Error> {
    Option::<Run<Vec<u8>>>::deserialize(from).map(|run| run.map(|Run(bytes)| bytes))
}

/// Bytes as a value of their own.
struct Run<B>(B);

impl Serialize for Run<&Vec<u8>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Run<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Run<Vec<u8>>, D::Error> {
        deserialize(from).map(Run)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct OneByOne {
        record: Vec<u8>,
        piece: Option<Vec<u8>>,
    }

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct AtOnce {
        #[serde(with = "super")]
        record: Vec<u8>,
        #[serde(serialize_with = "super::serialize_option")]
        #[serde(deserialize_with = "super::deserialize_option")]
        piece: Option<Vec<u8>>,
    }

    #[test]
    fn they_are_what_they_would_be_one_by_one() {
        for (length, piece) in [(0, None), (1, Some(0)), (127, Some(128)), (300, Some(70_000))] {
            let bytes = |length| (0..=255).cycle().take(length).collect::<Vec<u8>>();
            let (record, piece) = (bytes(length), piece.map(bytes));
            let slow = OneByOne { record: record.clone(), piece: piece.clone() };
            let encoded = postcard::to_stdvec(&slow).unwrap();
            let fast = AtOnce { record, piece };
            assert_eq!(postcard::to_stdvec(&fast).unwrap(), encoded);
            assert_eq!(postcard::from_bytes::<AtOnce>(&encoded).unwrap(), fast);
            for cut in 0..encoded.len().min(400) {
                assert!(postcard::from_bytes::<AtOnce>(&encoded[..cut]).is_err(), "{cut}");
            }
        }
    }
}
