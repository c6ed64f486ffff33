//! What a file keeps of the one that was stored, as lines: options of a store, fields of the answer to a
//! retrieval. What is not known has no line.

use crate::core::error::{Error, Result};
use crate::core::types::{FileAttributes, FileKind};

/// As lines.
pub fn to_fields(attributes: FileAttributes) -> Vec<String> {
    let FileAttributes { modified_ms, kind } = attributes;
    let modified = modified_ms.map(|ms| format!("modified_ms={ms}"));
    let kind = kind.map(|kind| match kind {
        FileKind::Plain => "executable=no".to_owned(),
        FileKind::Executable => "executable=yes".to_owned(),
        FileKind::Link => "link=yes".to_owned(),
    });
    modified.into_iter().chain(kind).collect()
}

/// Takes them out of a request's options or an answer's fields; the others are left.
///
/// # Errors
/// [`Error::Protocol`] for one that has no meaning; of two that are alike the last counts.
pub fn split_off<'a>(lines: &[&'a str]) -> Result<(FileAttributes, Vec<&'a str>)> {
    let mut attributes = FileAttributes::default();
    let mut others = Vec::new();
    for line in lines {
        let wrong = || Error::Protocol(format!("{line:?} says nothing of a file"));
        match line.split_once('=') {
            Some(("modified_ms", ms)) => {
                attributes.modified_ms = Some(ms.parse().map_err(|_| wrong())?);
            }
            Some((key @ ("executable" | "link"), word)) => {
                attributes.kind = Some(match (key, word) {
                    ("executable", "no") => FileKind::Plain,
                    ("executable", "yes") => FileKind::Executable,
                    ("link", "yes") => FileKind::Link,
                    _ => return Err(wrong()),
                });
            }
            _ => others.push(*line),
        }
    }
    Ok((attributes, others))
}

/// The same where nothing else may stand.
///
/// # Errors
/// As [`split_off`], and for another line.
pub fn only(lines: &[&str]) -> Result<FileAttributes> {
    match split_off(lines)? {
        (attributes, others) if others.is_empty() => Ok(attributes),
        (_, others) => Err(Error::Protocol(format!("unknown option {:?}", others[0]))),
    }
}
