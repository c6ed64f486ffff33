//! The file request: one question and one answer on a connection of its own, in binary.
//!
//! ```text
//!   0        2      3            5                    0        2      3        4             8
//!   +--------+------+------------+-----------+        +--------+------+--------+-------------+------
//!   | 0x497E | 1    | n          | n bytes   |        | 0x497E | 2    | status | data length | data
//!   +--------+------+------------+-----------+        +--------+------+--------+-------------+------
//!   the request: the name of a file, UTF-8            the answer: status 1, the file follows;
//!   n is 1 to 1024                                    status 0, there is none and the length is 0
//! ```
//!
//! All numbers are big-endian.

use crate::core::error::{Error, Result};

/// What both messages begin with.
pub const MAGIC: u16 = 0x497E;

/// The size of a request before the name, in bytes.
pub const REQUEST_HEAD_BYTES: usize = 5;

/// The size of an answer before the file, in bytes.
pub const RESPONSE_HEAD_BYTES: usize = 8;

/// The longest name that can be asked for, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// What an answer announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    /// So many bytes of the file follow.
    Found(u32),
    /// There is no such file, or it cannot be read.
    Missing,
}

/// A whole request for the file of this name.
///
/// # Errors
/// [`Error::Protocol`] if the name is empty or longer than [`NAME_BYTES_MAX`].
pub fn encode_request(name: &str) -> Result<Vec<u8>> {
    let length = check_length(name.len())?;
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.push(REQUEST);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(name.as_bytes());
    Ok(out)
}

/// How many bytes of name follow this head of a request.
///
/// # Errors
/// [`Error::Protocol`] saying which field is wrong.
pub fn decode_request_head(head: &[u8; REQUEST_HEAD_BYTES]) -> Result<usize> {
    let [m0, m1, kind, l0, l1] = *head;
    check_start([m0, m1], kind, REQUEST)?;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    check_length(length).map(usize::from)
}

/// The name in a request.
///
/// # Errors
/// [`Error::Protocol`] if it is not UTF-8.
pub fn decode_name(name: &[u8]) -> Result<&str> {
    std::str::from_utf8(name).map_err(|_| Error::Protocol("the name is not UTF-8 text".into()))
}

impl Response {
    /// The head of the answer as it travels.
    pub fn encode(self) -> [u8; RESPONSE_HEAD_BYTES] {
        let (status, length) = match self {
            Response::Found(length) => (1, length),
            Response::Missing => (0, 0),
        };
        let [m0, m1] = MAGIC.to_be_bytes();
        let [l0, l1, l2, l3] = length.to_be_bytes();
        [m0, m1, RESPONSE, status, l0, l1, l2, l3]
    }

    /// Reads the head of an answer.
    ///
    /// # Errors
    /// [`Error::Protocol`] saying which field is wrong.
    pub fn decode(head: &[u8; RESPONSE_HEAD_BYTES]) -> Result<Response> {
        let [m0, m1, kind, status, l0, l1, l2, l3] = *head;
        check_start([m0, m1], kind, RESPONSE)?;
        match (status, u32::from_be_bytes([l0, l1, l2, l3])) {
            (1, length) => Ok(Response::Found(length)),
            (0, 0) => Ok(Response::Missing),
            (0, length) => {
                let what = format!("an answer without a file announces {length} bytes");
                Err(Error::Protocol(what))
            }
            (status, _) => Err(Error::Protocol(format!("an answer has the status {status}"))),
        }
    }
}

fn check_start(magic: [u8; 2], kind: u8, expected: u8) -> Result<()> {
    let magic = u16::from_be_bytes(magic);
    if magic != MAGIC {
        let what = format!("a message begins with {magic:#06x} and not with {MAGIC:#06x}");
        return Err(Error::Protocol(what));
    }
    if kind != expected {
        let what = format!("a message of type {kind} came where one of type {expected} was due");
        return Err(Error::Protocol(what));
    }
    Ok(())
}

fn check_length(length: usize) -> Result<u16> {
    match u16::try_from(length) {
        Ok(short) if (1..=NAME_BYTES_MAX).contains(&length) => Ok(short),
        _ => {
            let what = format!("a name of {length} bytes, 1 to {NAME_BYTES_MAX} can be asked for");
            Err(Error::Protocol(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_5_a_request_is_these_bytes() {
        let bytes = encode_request("a.txt").unwrap();
        assert_eq!(bytes, b"\x49\x7e\x01\x00\x05a.txt");
        let head = bytes.first_chunk().unwrap();
        assert_eq!(decode_request_head(head).unwrap(), 5);
        assert_eq!(decode_name(&bytes[5..]).unwrap(), "a.txt");
        let longest = encode_request(&"n".repeat(1024)).unwrap();
        assert_eq!(longest[..5], *b"\x49\x7e\x01\x04\x00");
    }

    #[test]
    fn spec_5_an_answer_is_these_bytes() {
        let found = Response::Found(0x0102_0304);
        assert_eq!(found.encode(), *b"\x49\x7e\x02\x01\x01\x02\x03\x04");
        assert_eq!(Response::Missing.encode(), *b"\x49\x7e\x02\x00\x00\x00\x00\x00");
        for response in [found, Response::Found(0), Response::Missing] {
            assert_eq!(Response::decode(&response.encode()).unwrap(), response);
        }
    }

    #[test]
    fn spec_5_every_field_is_checked() {
        for (head, wrong) in [
            (b"\x7e\x49\x01\x00\x05", "begins with"),
            (b"\x49\x7e\x02\x00\x05", "type 2"),
            (b"\x49\x7e\x01\x00\x00", "a name of 0 bytes"),
            (b"\x49\x7e\x01\x04\x01", "a name of 1025 bytes"),
        ] {
            let said = decode_request_head(head).unwrap_err().to_string();
            assert!(said.contains(wrong), "{said}");
        }
        for (head, wrong) in [
            (b"\x49\x7f\x02\x01\x00\x00\x00\x01", "begins with"),
            (b"\x49\x7e\x01\x01\x00\x00\x00\x01", "type 1"),
            (b"\x49\x7e\x02\x02\x00\x00\x00\x01", "status 2"),
            (b"\x49\x7e\x02\x00\x00\x00\x00\x01", "announces 1 bytes"),
        ] {
            let said = Response::decode(head).unwrap_err().to_string();
            assert!(said.contains(wrong), "{said}");
        }
        assert!(decode_name(b"a\xff").is_err());
        assert!(encode_request("").is_err() && encode_request(&"n".repeat(1025)).is_err());
    }
}
