//! What clients of the folder door say, and what they are told.
//!
//! ```text
//!   client                                        server
//!   (connects)                                    OK@Welcome to the server
//!   UPLOAD, NAME SIZE, the bytes                  OK@File uploaded
//!   DOWNLOAD NAME                                 download, the size, the bytes
//!   complete                                      OK@Download complete
//!   DELETE NAME  DIR  MKDIR DIRECTORY             OK@...
//!   CHDIR DIRECTORY  RMDIR DIRECTORY
//!   MOVE NAME DIRECTORY
//!   DISCONNECT                                    DISCONNECTED@Disconnected
//! ```
//!
//! A message is one segment of at most 1024 bytes and nothing ends it. Of a reply the client shows
//! what stands behind its `@`, so there is one.

pub mod upload;

use crate::core::error::Result;
use crate::core::path::{FolderPath, PathError};

/// The longest message, in bytes: what the other side reads at once.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// The pieces that a file is sent in, in bytes.
pub const PIECE_BYTES: usize = 1024;

/// What the client answers when it has a whole file.
pub const COMPLETE: &[u8] = b"complete";

/// Said before a file's size.
pub const DOWNLOAD: &[u8] = b"download";

/// Said before the text that there is no such file, where the client waits for [`DOWNLOAD`].
pub const NO_DOWNLOAD: &[u8] = b"OK";

/// The last line of a list that had to be cut.
pub const LIST_CUT: &str = "...";

/// What a client asks for. The names are as the client wrote them.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // named as on the wire
pub enum Command {
    /// A file comes, see [`upload`].
    Upload,
    Download(String),
    Delete(String),
    Dir,
    MkDir(String),
    ChDir(String),
    RmDir(String),
    Move {
        what: String,
        to: String,
    },
    Disconnect,
    /// A command that lacks something.
    Incomplete,
    Unknown,
}

/// The verbs that stand alone, and those that something follows.
const ALONE: [&str; 2] = ["DIR", "DISCONNECT"];
const FOLLOWED: [&str; 6] = ["DOWNLOAD", "DELETE", "MKDIR", "CHDIR", "RMDIR", "MOVE"];
const UPLOAD: &str = "UPLOAD";

/// Reads a message: the command and how many bytes it takes; that of an upload ends with its verb.
/// Nothing if it may be the beginning of one: see [`given_up`].
pub fn decode(segment: &[u8]) -> Option<(Command, usize)> {
    if segment.starts_with(UPLOAD.as_bytes()) {
        return Some((Command::Upload, UPLOAD.len()));
    }
    if segment.len() > MESSAGE_BYTES_MAX {
        return Some((Command::Unknown, segment.len()));
    }
    let text = text_of(segment);
    let (verb, rest) = text.split_once(' ').map_or((text, ""), |(verb, rest)| (verb, rest.trim()));
    let command = match (verb, rest) {
        ("DIR", "") => Command::Dir,
        ("DISCONNECT", "") => Command::Disconnect,
        (verb, "") if FOLLOWED.contains(&verb) || is_beginning(segment) => return None,
        (verb, rest) if FOLLOWED.contains(&verb) => followed(verb, rest),
        _ => Command::Unknown,
    };
    Some((command, segment.len()))
}

/// What a message is of which nothing more comes although it may only be the beginning of one.
pub fn given_up(segment: &[u8]) -> Command {
    let is_verb = FOLLOWED.contains(&text_of(segment).trim_end());
    if is_verb { Command::Incomplete } else { Command::Unknown }
}

fn text_of(segment: &[u8]) -> &str {
    std::str::from_utf8(segment).unwrap_or_default().trim_end_matches(['\r', '\n'])
}

fn is_beginning(segment: &[u8]) -> bool {
    let verbs = ALONE.iter().chain(&FOLLOWED).chain([&UPLOAD]);
    verbs.into_iter().any(|verb| verb.as_bytes().starts_with(segment))
}

fn followed(verb: &str, rest: &str) -> Command {
    let name = rest.to_owned();
    match verb {
        "DOWNLOAD" => Command::Download(name),
        "DELETE" => Command::Delete(name),
        "MKDIR" => Command::MkDir(name),
        "CHDIR" => Command::ChDir(name),
        "RMDIR" => Command::RmDir(name),
        // A name may hold blanks, so the directory is what follows the last one.
        _ => match rest.rsplit_once(' ') {
            Some((what, to)) => Command::Move { what: what.trim().into(), to: to.into() },
            None => Command::Incomplete,
        },
    }
}

/// A reply: `OK@` and the text, in which an `@` would end what the client shows.
pub fn ok(text: &str) -> Vec<u8> {
    reply("OK", text)
}

/// The reply that ends the session.
pub fn disconnected(text: &str) -> Vec<u8> {
    reply("DISCONNECTED", text)
}

fn reply(word: &str, text: &str) -> Vec<u8> {
    let whole = format!("{word}@{}", text.replace('@', "(at)"));
    let mut end = whole.len().min(MESSAGE_BYTES_MAX);
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    whole.as_bytes()[..end].to_vec()
}

/// The reply to `DIR`: one name a line. What does not fit is left out, and the last line is
/// [`LIST_CUT`] then.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let room = MESSAGE_BYTES_MAX - "OK@".len() - LIST_CUT.len() - 1;
    let mut text = String::new();
    for name in names {
        let name = name.replace('@', "(at)");
        if !text.is_empty() {
            text.push('\n');
        }
        if text.len() + name.len() > room {
            text.push_str(LIST_CUT);
            break;
        }
        text.push_str(&name);
    }
    ok(if text.is_empty() { "Directory empty" } else { &text })
}

/// The size of a file as it is announced: blanks fill the message, so that one read takes all of it
/// and nothing of what follows.
pub fn size(bytes: u64) -> Vec<u8> {
    format!("{bytes:<MESSAGE_BYTES_MAX$}").into_bytes()
}

/// The folder that `text` names for a client that is in `here`: relative, or from the top with a `/`
/// in front; `.` and `..` mean what they do everywhere, but nothing lies above the top.
///
/// # Errors
/// [`PathError`] if it is no folder, or leads above the top.
pub fn resolve(here: &FolderPath, text: &str) -> Result<FolderPath> {
    let mut parts: Vec<&str> = match text.starts_with('/') {
        true => Vec::new(),
        false => here.as_str().split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or(PathError::Dots(text.into()))?),
            part => parts.push(part),
        }
    }
    Ok(FolderPath::parse(&parts.join("/"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_4_commands_case_as_written() {
        let name = |text: &str| text.to_owned();
        for (segment, expected) in [
            ("UPLOAD", Command::Upload),
            ("DOWNLOAD a.txt", Command::Download(name("a.txt"))),
            ("DOWNLOAD my file.txt", Command::Download(name("my file.txt"))),
            ("DELETE a.txt", Command::Delete(name("a.txt"))),
            ("DIR", Command::Dir),
            ("DIR ", Command::Dir),
            ("DIR\r\n", Command::Dir),
            ("MKDIR d", Command::MkDir(name("d"))),
            ("CHDIR ..", Command::ChDir(name(".."))),
            ("RMDIR d", Command::RmDir(name("d"))),
            ("MOVE a b", Command::Move { what: name("a"), to: name("b") }),
            ("MOVE my file b", Command::Move { what: name("my file"), to: name("b") }),
            ("DISCONNECT", Command::Disconnect),
            ("MOVE a", Command::Incomplete),
            ("dir", Command::Unknown),
            ("DIRECTORY", Command::Unknown),
            ("EXIT", Command::Unknown),
            ("FROB x", Command::Unknown),
        ] {
            let used = segment.len();
            assert_eq!(decode(segment.as_bytes()), Some((expected, used)), "{segment:?}");
        }
        assert_eq!(decode(b"UPLOADa.txt 5hello"), Some((Command::Upload, 6)));
        for beginning in ["", "D", "DOWN", "UPLOA", "MK", "DISCO"] {
            assert_eq!(decode(beginning.as_bytes()), None, "{beginning:?}");
            assert_eq!(given_up(beginning.as_bytes()), Command::Unknown, "{beginning:?}");
        }
        for verb in ["DELETE", "MKDIR ", "MOVE\r\n"] {
            assert_eq!(decode(verb.as_bytes()), None, "{verb:?}");
            assert_eq!(given_up(verb.as_bytes()), Command::Incomplete, "{verb:?}");
        }
        let long = format!("MKDIR {}", " ".repeat(1024));
        assert_eq!(decode(long.as_bytes()), Some((Command::Unknown, long.len())));
        assert_eq!(decode(b"\xff").map(|(command, _)| command), Some(Command::Unknown));
    }

    #[test]
    fn spec_4_a_reply_has_one_at_and_at_most_1024_bytes() {
        assert_eq!(ok("File uploaded"), b"OK@File uploaded");
        assert_eq!(disconnected("Disconnected"), b"DISCONNECTED@Disconnected");
        assert_eq!(ok("a@b does not exist"), b"OK@a(at)b does not exist");
        let long = ok(&"é".repeat(1000));
        assert!(long.len() <= 1024 && std::str::from_utf8(&long).is_ok());
    }

    #[test]
    fn spec_4_dir_gives_one_name_a_line() {
        assert_eq!(list(["a", "b c"]), b"OK@a\nb c");
        assert_eq!(list([]), b"OK@Directory empty");
        let names: Vec<String> = (0..200).map(|i| format!("file-{i:04}")).collect();
        let said = list(names.iter().map(String::as_str));
        assert!(said.len() <= 1024 && said.len() > 1000, "{}", said.len());
        assert!(said.ends_with(b"\n..."));
        let names: Vec<String> = (0..200).map(|_| "@@@@@".to_owned()).collect();
        let said = list(names.iter().map(String::as_str));
        assert_eq!(said.iter().filter(|byte| **byte == b'@').count(), 1);
    }

    #[test]
    fn spec_4_the_size_is_padded_so_that_one_read_takes_it() {
        let said = size(353);
        assert_eq!(said.len(), 1024);
        assert!(said.starts_with(b"353 ") && said.trim_ascii_end() == b"353");
    }

    #[test]
    fn spec_4_chdir_stays_inside() {
        let here = FolderPath::parse("a/b").unwrap();
        for (text, expected) in [
            ("c", "a/b/c"),
            ("..", "a"),
            ("../..", ""),
            ("/", ""),
            ("/x/y", "x/y"),
            ("../c/./d/", "a/c/d"),
            (".", "a/b"),
        ] {
            assert_eq!(resolve(&here, text).unwrap().as_str(), expected, "{text}");
        }
        for text in ["../../..", "/..", "x/../../../..", "a\\b", "\0"] {
            assert!(resolve(&here, text).is_err(), "{text:?}");
        }
    }
}
