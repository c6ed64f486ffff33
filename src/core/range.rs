//! A part of a file, as somebody asks for it before it is known how long the file is.
//!
//! The numbers are those of HTTP (RFC 9110, section 14.1.2): bytes are counted from 0, and the last
//! one that is named is part of the range.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::core::error::{Code, Error, Result};

/// Some bytes that follow one another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `100-199`, or `100-` for all from there on.
    From {
        /// The first byte.
        first: u64,
        /// The last byte; never before the first.
        last: Option<u64>,
    },
    /// `-100`: so many bytes at the end, or the whole file if it is shorter.
    Last(u64),
}

impl ByteRange {
    /// Which bytes of a file of this size are meant; what lies beyond its end is left out.
    ///
    /// # Errors
    /// [`Code::Usage`] if the file has no byte of the range.
    pub fn within(self, file_bytes: u64) -> Result<Range<u64>> {
        match self {
            ByteRange::From { first, last } if first < file_bytes => {
                let end = last.map_or(file_bytes, |last| last.saturating_add(1));
                Ok(first..end.min(file_bytes))
            }
            ByteRange::From { first, .. } => {
                let text =
                    format!("the file has {file_bytes} bytes, so it has none from {first} on");
                Err(Error::other(Code::Usage, text))
            }
            ByteRange::Last(count) => Ok(file_bytes.saturating_sub(count)..file_bytes),
        }
    }
}

impl FromStr for ByteRange {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<ByteRange, &'static str> {
        const FORM: &str = "a range is FROM-TO, FROM- or -COUNT, in bytes";
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u64>().map_err(|_| FORM),
            false => Err(FORM),
        };
        match text.split_once('-').ok_or(FORM)? {
            ("", count) => Ok(ByteRange::Last(number(count)?)),
            (first, "") => Ok(ByteRange::From { first: number(first)?, last: None }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return Err("a range ends before it begins");
                }
                Ok(ByteRange::From { first, last: Some(last) })
            }
        }
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ByteRange::From { first, last: Some(last) } => write!(f, "{first}-{last}"),
            ByteRange::From { first, last: None } => write!(f, "{first}-"),
            ByteRange::Last(count) => write!(f, "-{count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(text: &str, file_bytes: u64) -> Range<u64> {
        text.parse::<ByteRange>().unwrap().within(file_bytes).unwrap()
    }

    #[test]
    fn a_range_is_counted_as_in_http() {
        assert_eq!(within("0-0", 10), 0..1);
        assert_eq!(within("3-5", 10), 3..6);
        assert_eq!(within("3-", 10), 3..10);
        assert_eq!(within("3-99", 10), 3..10);
        assert_eq!(within(&format!("9-{}", u64::MAX), 10), 9..10);
        assert_eq!(within("-4", 10), 6..10);
        assert_eq!(within("-99", 10), 0..10);
        assert_eq!(within("-0", 10), 10..10);
        assert_eq!(within("-5", 0), 0..0);
    }

    #[test]
    fn a_range_behind_the_end_is_refused() {
        for (text, file_bytes) in [("10-", 10), ("10-12", 10), ("0-", 0)] {
            let error = text.parse::<ByteRange>().unwrap().within(file_bytes).unwrap_err();
            assert_eq!(error.code(), Code::Usage, "{text}");
        }
    }

    #[test]
    fn a_range_is_written_as_it_is_read() {
        for text in ["0-0", "3-5", "3-", "-4"] {
            assert_eq!(text.parse::<ByteRange>().unwrap().to_string(), text);
        }
        for wrong in ["", "-", "5", "5-3", "a-b", "1-2-3", "+1-2", " 1-2", "18446744073709551616-"]
        {
            assert!(wrong.parse::<ByteRange>().is_err(), "{wrong:?}");
        }
    }
}
