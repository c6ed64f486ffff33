//! Where a name ends that nothing ends: `put NAME` and the first piece of the file may arrive as one.
//!
//! There is no certain answer then, only four hints, the best first:
//!
//! 1. What came together is a name from beginning to end, and the file came afterwards.
//! 2. Only whole pieces of 256 bytes came together with the name, and more of them afterwards: what
//!    remains when they are taken off is the name.
//! 3. The name ends like one: with `.txt`, `.jpg` and their like.
//! 4. No name goes on behind a control character or a byte that is no UTF-8.

use super::PIECE_BYTES;
use crate::core::path::NAME_BYTES_MAX;

/// How much of what came first is looked at: the longest name, and a byte that is not part of it.
pub const LOOK_BYTES: usize = NAME_BYTES_MAX + 1;

/// A name, and how sure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name<'a> {
    /// The name itself; the file's bytes follow it.
    pub text: &'a str,
    /// It came by itself. Otherwise whoever has the file should know that its name was guessed.
    pub is_sure: bool,
}

/// How files are called at the end, in small letters. None that is the beginning of a common word, so
/// nothing of one or two letters but the usual ones.
const ENDINGS: &[&str] = &[
    "txt", "text", "md", "csv", "tsv", "json", "xml", "html", "htm", "css", "yaml", "yml", "toml",
    "ini", "cfg", "conf", "log", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods",
    "rtf", "tex", "jpg", "jpeg", "png", "gif", "bmp", "svg", "webp", "tif", "tiff", "ico", "mp3",
    "mp4", "wav", "ogg", "flac", "avi", "mkv", "mov", "webm", "zip", "tar", "gz", "tgz", "bz2",
    "xz", "zst", "7z", "rar", "iso", "img", "bin", "dat", "exe", "dll", "bak", "tmp", "sql", "py",
    "cpp", "hpp", "java", "class", "jar", "php",
];

/// The name at the front of `first`, the beginning of the `first_bytes` that came together; `goes_on`
/// if more came afterwards. Nothing if it cannot be told.
pub(super) fn name_of(first: &[u8], first_bytes: u64, goes_on: bool) -> Option<Name<'_>> {
    let text = text_of(first);
    let is_whole = text.len() as u64 == first_bytes && text.len() <= NAME_BYTES_MAX;
    if is_whole && goes_on {
        return (!text.is_empty()).then_some(Name { text, is_sure: true });
    }
    let by_ending = by_ending(text);
    if is_whole {
        // A name and nothing else, or a name and a short text.
        let text = by_ending.unwrap_or(text);
        return (!text.is_empty()).then_some(Name { text, is_sure: false });
    }
    let by_pieces = by_pieces(text, first_bytes);
    let found = if goes_on { by_pieces.or(by_ending) } else { by_ending.or(by_pieces) };
    let found = found.or((text.len() <= NAME_BYTES_MAX).then_some(text));
    found.filter(|text| !text.is_empty()).map(|text| Name { text, is_sure: false })
}

/// As far as it can be a name.
fn text_of(bytes: &[u8]) -> &str {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    &valid[..valid.find(char::is_control).unwrap_or(valid.len())]
}

/// What remains when whole pieces are taken off.
fn by_pieces(text: &str, first_bytes: u64) -> Option<&str> {
    let rest = usize::try_from(first_bytes % PIECE_BYTES as u64).ok()?;
    let has_pieces = first_bytes > PIECE_BYTES as u64;
    if !has_pieces || !(1..=NAME_BYTES_MAX).contains(&rest) {
        return None;
    }
    text.get(..rest)
}

/// Up to the first ending that names have, or several of them (`.tar.gz`).
fn by_ending(text: &str) -> Option<&str> {
    let mut end = None;
    for (dot, _) in text.match_indices('.').take_while(|(dot, _)| *dot < NAME_BYTES_MAX) {
        if end.is_some_and(|end| end != dot) {
            break;
        }
        if let Some(length) = ending_length(&text[dot + 1..]) {
            end = Some(dot + 1 + length);
        }
    }
    text.get(..end?).filter(|name| name.len() <= NAME_BYTES_MAX)
}

/// The length of the longest ending at the front.
fn ending_length(text: &str) -> Option<usize> {
    let is_at_front = |ending: &&&str| {
        text.get(..ending.len()).is_some_and(|front| front.eq_ignore_ascii_case(ending))
    };
    ENDINGS.iter().filter(is_at_front).map(|ending| ending.len()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(first: &[u8], goes_on: bool) -> Option<(&str, bool)> {
        let look = &first[..first.len().min(LOOK_BYTES)];
        name_of(look, first.len() as u64, goes_on).map(|name| (name.text, name.is_sure))
    }

    fn glued(name: &[u8], file: &[u8]) -> Vec<u8> {
        [name, file].concat()
    }

    #[test]
    fn spec_3_a_name_that_comes_by_itself_is_taken_as_it_is() {
        for text in ["a.txt", "a.tar.gz", "notes", "my photo.jpg copy", "a.txt.old", "é"] {
            assert_eq!(name(text.as_bytes(), true), Some((text, true)));
        }
        assert_eq!(name(b"", true), None);
    }

    #[test]
    fn spec_3_the_first_piece_may_arrive_glued_to_the_command() {
        let text = [b'x'; 256];
        assert_eq!(name(&glued(b"a.txt", &text), true), Some(("a.txt", false)));
        assert_eq!(name(&glued(b"notes", &text), true), Some(("notes", false)));
        assert_eq!(name(&glued(b"notes.v2", &[b'x'; 512]), true), Some(("notes.v2", false)));
        assert_eq!(name(&glued(b"a.txt", b"hello"), false), Some(("a.txt", false)));
        assert_eq!(name(&glued(b"a.txt", b"hello\n"), false), Some(("a.txt", false)));
        assert_eq!(name(&glued(b"a.tar.gz", b"\x1f\x8b\x08"), false), Some(("a.tar.gz", false)));
        assert_eq!(name(&glued(b"photo", b"\x89PNG"), false), Some(("photo", false)));
        assert_eq!(name(&glued(b"a.txt", &[b'x'; 300]), false), Some(("a.txt", false)));
        assert_eq!(name(&glued(b"a.HTML", b"<p>"), false), Some(("a.HTML", false)));
    }

    #[test]
    fn a_name_that_cannot_be_told_is_none() {
        assert_eq!(name(b"\x00\x01", true), None);
        assert_eq!(name(&[b'n'; 250], true), None);
        assert_eq!(name(&[b'n'; 250], false), None);
        assert_eq!(name(&[0xff; 600], true), None);
    }
}
