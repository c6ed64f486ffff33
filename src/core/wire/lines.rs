//! Messages of lines: each line ends in `\r\n`, an empty line ends the message.
//!
//! This is the form of everything that a client and the server say to each other, apart from the
//! bytes of files. See `docs/protocol.md`.

use crate::core::error::{Error, Result};

/// The end of a line.
pub const CRLF: &str = "\r\n";

/// The longest message that is taken from a client, in bytes: room for the longest name, path and
/// password with their line ends, several times over.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(MESSAGE_BYTES_MAX > 3 * crate::core::path::PATH_BYTES_MAX);

/// The lines as one message, with its empty line. Line ends inside a line become blanks, so a text
/// from elsewhere can never be taken for more than one line.
pub fn encode<S: AsRef<str>>(lines: &[S]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        push_line(&mut out, line.as_ref());
    }
    out.extend_from_slice(CRLF.as_bytes());
    out
}

/// Adds one line with its end.
pub fn push_line(out: &mut Vec<u8>, line: &str) {
    if line.contains(['\r', '\n']) {
        out.extend_from_slice(line.replace(['\r', '\n'], " ").as_bytes());
    } else {
        out.extend_from_slice(line.as_bytes());
    }
    out.extend_from_slice(CRLF.as_bytes());
}

/// The first line in `bytes` without its end, and how many bytes it takes with its end; nothing if
/// its end has not come yet.
pub fn split_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let at = bytes.windows(2).position(|pair| pair == CRLF.as_bytes())?;
    Some((&bytes[..at], at + 2))
}

/// The first whole message in `bytes`, up to its first empty line, and how many bytes it takes.
///
/// # Errors
/// [`Error::Protocol`] if it is longer than `bytes_max` or not UTF-8.
pub fn decode(bytes: &[u8], bytes_max: usize) -> Result<Option<(Vec<String>, usize)>> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some((line, used)) = split_line(&bytes[at..]) {
        at += used;
        if at > bytes_max {
            break;
        }
        if line.is_empty() {
            return Ok(Some((lines, at)));
        }
        let line = std::str::from_utf8(line)
            .map_err(|_| Error::Protocol("a line is not UTF-8 text".into()))?;
        lines.push(line.to_owned());
    }
    if bytes.len() > bytes_max {
        return Err(Error::Protocol(format!("a message is longer than {bytes_max} bytes")));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cut_anywhere_is_not_yet_a_message() {
        let bytes = encode(&["HI", "palk 1"]);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], 100).unwrap(), None);
        }
        let whole = decode(&bytes, 100).unwrap();
        assert_eq!(whole, Some((vec!["HI".into(), "palk 1".into()], bytes.len())));
    }

    #[test]
    fn a_message_without_an_end_is_refused_at_its_limit() {
        assert!(decode(&[b'a'; 100], 100).unwrap().is_none());
        assert!(decode(&[b'a'; 101], 100).is_err());
        assert!(decode(b"a\xff\r\n\r\n", 100).is_err());
    }

    #[test]
    fn a_text_cannot_smuggle_in_a_second_line() {
        assert_eq!(encode(&["a\r\nb"]), b"a  b\r\n\r\n");
    }
}
