//! What a file keeps of the one that was stored, as lines: options of a store, fields of the answer to a
//! retrieval. What is not known has no line.

use crate::core::error::{Error, Result};
use crate::core::types::FileAttributes;

/// As lines.
pub fn to_fields(attributes: FileAttributes) -> Vec<String> {
    let FileAttributes { modified_ms, executable } = attributes;
    let modified = modified_ms.map(|ms| format!("modified_ms={ms}"));
    let executable = executable.map(|yes| format!("executable={}", if yes { "yes" } else { "no" }));
    modified.into_iter().chain(executable).collect()
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
            Some(("executable", word)) => {
                attributes.executable = Some(match word {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(wrong()),
                });
            }
            _ => others.push(*line),
        }
    }
    Ok((attributes, others))
}
