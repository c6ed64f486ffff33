//! What the server says, byte for byte, in each of the three manners of speaking.
//!
//! Invariant: everything said to a client of 2020 is 1 to [`SEGMENT_BYTES_MAX`] bytes long, since
//! that client takes each reply with one read of that size.

use crate::core::error::{Code, Error};
use crate::core::path::UserName;
use crate::core::session::scan::Opcode;
use crate::core::session::{Found, Stored};
use crate::core::types::NodeSet;
use crate::core::wire::extended::{Reply, SESSION_VERSION, attributes};
use crate::core::wire::lines::{self, CRLF};
use crate::core::wire::token::Token;

/// What the client of 2020 reads at once, and so the most that it is told at once.
pub(super) const SEGMENT_BYTES_MAX: usize = 1000;

/// The longest error text that stands before a question of the 2020 dialect: leaves room for the
/// longest question in a segment.
const COMPLAINT_BYTES_MAX: usize = 800;

const _: () = assert!(COMPLAINT_BYTES_MAX + 100 <= SEGMENT_BYTES_MAX);

/// The items of a sign-in.
pub(super) const LOGIN: [&str; 2] = ["Username: ", "Password: "];
/// The item after an unknown user.
pub(super) const CREATE: [&str; 1] = ["Do you want to create an account (YES or NO): "];
/// The items of a new account.
pub(super) const ACCOUNT: [&str; 3] =
    ["Enter Desired Username: ", "Enter password: ", "Confirm password: "];
/// The items after two passwords that differ.
pub(super) const PASSWORDS: [&str; 2] = ["Enter password: ", "Confirm password: "];

/// How the server speaks on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// By the letter of the specification.
    Specified,
    /// As the programs of 2020 did.
    Year2020,
    /// To a client that has named the extended session.
    Extended,
}

impl Manner {
    /// A question: what it starts with, an error's text if it starts with one, and the items.
    fn question(self, lead: &str, error: Option<&str>, items: &[&str]) -> Vec<u8> {
        let count = items.len().to_string();
        let mut all = vec![lead];
        all.extend(error);
        all.push(&count);
        all.extend(items);
        lines::encode(&all)
    }

    /// Asks for the user and the password.
    pub(super) fn greeting(self) -> Vec<u8> {
        let lead = if self == Manner::Year2020 { "HI" } else { "S" };
        self.question(lead, None, &LOGIN)
    }

    /// Agrees to the extended session, up to `asked` of its versions.
    pub(super) fn agreement(asked: u32) -> Vec<u8> {
        Reply::Success(vec![format!("palk {}", asked.min(SESSION_VERSION))]).encode()
    }

    /// Asks for what a new account needs.
    pub(super) fn account_form(self) -> Vec<u8> {
        let lead = if self == Manner::Year2020 { "L" } else { "S" };
        self.question(lead, None, &ACCOUNT)
    }

    /// Says what was wrong with an answer, and asks for these items.
    pub(super) fn complaint(self, text: &str, items: &[&str]) -> Vec<u8> {
        let text = if self == Manner::Year2020 { cut(text, COMPLAINT_BYTES_MAX) } else { text };
        self.question("E", Some(text), items)
    }

    /// The end of the sign-in conversation. It has the specified form in the extended session too.
    pub(super) fn welcome(self, user: &UserName) -> Vec<u8> {
        let text = format!("Welcome {}! You are a legend...", user.as_str());
        match self {
            Manner::Year2020 => format!("S{CRLF}{text}{CRLF}").into_bytes(),
            Manner::Specified | Manner::Extended => lines::encode(&["S", &text]),
        }
    }

    /// The last words before the server closes.
    pub(super) fn farewell(self, reason: &str) -> Vec<u8> {
        match self {
            Manner::Year2020 => self.complaint(reason, &[]),
            Manner::Specified | Manner::Extended => Reply::Disconnect(reason.into()).encode(),
        }
    }

    /// A request was done.
    pub(super) fn done(self, text: &str) -> Vec<u8> {
        match self {
            Manner::Year2020 => bare(text),
            Manner::Specified | Manner::Extended => lines::encode(&["S", text]),
        }
    }

    /// A request was refused or failed, with a whole text. The client gets no code this way.
    pub(super) fn refusal(self, text: &str) -> Vec<u8> {
        match self {
            Manner::Year2020 => bare(text),
            Manner::Specified | Manner::Extended => lines::encode(&["E", text]),
        }
    }

    /// A request failed for this reason. Where the specification has a text, it is that one.
    pub(super) fn failure(self, opcode: Opcode, error: &Error) -> Vec<u8> {
        if self == Manner::Extended {
            return extended_failure(error);
        }
        let own;
        let text = match (opcode, error) {
            (Opcode::Retrieve, Error::NoSuchFolder(_)) => {
                "ERROR the file path you gave did not exist in the file system!"
            }
            (Opcode::Retrieve, Error::NoSuchFile(_)) => {
                "ERROR the file name you gave did not exist in the file system!"
            }
            (Opcode::Delete, Error::NoSuchFolder(_) | Error::NoSuchFile(_)) => {
                "ERROR The file path or file name you gave did not exist in the file system!"
            }
            _ if self == Manner::Year2020 && error.code() == Code::Unexpected => {
                "E Something went wrong during file process"
            }
            _ => {
                own = format!("ERROR {error}");
                &own
            }
        };
        self.refusal(text)
    }
}

/// The one place in which the extended session says why something failed.
pub(super) fn extended_failure(error: &Error) -> Vec<u8> {
    Reply::from_error(error).encode()
}

/// The extended session's answer to `LGN` and `NEW`.
pub(super) fn signed_in(user: &UserName) -> Vec<u8> {
    Reply::Success(vec![format!("user={}", user.as_str())]).encode()
}

/// The extended session's answer to `ISS`, `REV` and `PWD`.
pub(super) fn account_done(token: Option<&Token>) -> Vec<u8> {
    let token = token.map(|token| format!("token={}", token.reveal()));
    Reply::Success(token.into_iter().collect()).encode()
}

/// The extended session takes the bytes of a file now.
pub(super) fn send_now() -> Vec<u8> {
    Reply::Success(vec!["send".into()]).encode()
}

/// The extended session's answer to a store that was committed.
pub(super) fn stored(stored: &Stored) -> Vec<u8> {
    Reply::Success(vec![
        format!("version={}", stored.version),
        format!("nodes={}", stored.nodes.len()),
        format!("blake3={}", stored.digest),
    ])
    .encode()
}

/// The extended session's answer to `SND`: how many bytes of the file have come.
pub(super) fn arrived(bytes: u64) -> Vec<u8> {
    Reply::Success(vec![format!("arrived={bytes}")]).encode()
}

/// The head of the extended session's answer to `RTV`.
pub(super) fn found(found: &Found, has_range: bool) -> Vec<u8> {
    let mut fields = vec![
        format!("bytes={}", found.bytes),
        format!("version={}", found.version),
        format!("blake3={}", found.digest),
        format!("stored_ms={}", found.stored_ms),
    ];
    if has_range {
        fields.push(format!("from={}", found.part.start));
        fields.push(format!("length={}", found.part.end - found.part.start));
    }
    fields.extend(attributes::to_fields(found.attributes));
    Reply::Success(fields).encode()
}

/// The end of the extended session's answer to `RTV`: the nodes that the bytes were read from.
pub(super) fn read_from(nodes: NodeSet) -> Vec<u8> {
    let numbers: Vec<String> = nodes.iter().map(|node| node.to_string()).collect();
    Reply::Success(vec![format!("nodes={}", numbers.join(","))]).encode()
}

impl Manner {
    /// The size that goes before a file's bytes.
    pub(super) fn size(self, bytes: u64) -> Vec<u8> {
        if self != Manner::Year2020 {
            return lines::encode(&["S", &bytes.to_string()]);
        }
        // That client throws away what its first read returns beyond the line: let it be blanks.
        let mut line = format!("{bytes}{CRLF}").into_bytes();
        line.resize(SEGMENT_BYTES_MAX, b' ');
        line
    }
}

/// A text alone, on one line and at most one segment long.
fn bare(text: &str) -> Vec<u8> {
    cut(text, SEGMENT_BYTES_MAX).replace(['\r', '\n'], " ").into_bytes()
}

/// The longest beginning of `text` that has at most `bytes_max` bytes and cuts no character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_line_of_2020_fills_a_segment() {
        let line = Manner::Year2020.size(353);
        assert_eq!(line.len(), SEGMENT_BYTES_MAX);
        assert!(line.starts_with(b"353\r\n "));
        assert!(line[5..].iter().all(|byte| *byte == b' '));
        assert_eq!(Manner::Year2020.size(u64::MAX).len(), SEGMENT_BYTES_MAX);
    }

    #[test]
    fn a_text_for_2020_fits_a_segment_and_cuts_no_character() {
        let text = Manner::Year2020.refusal(&"é".repeat(700));
        assert_eq!(text.len(), 1000);
        assert!(String::from_utf8(text).is_ok());
        let text = Manner::Year2020.refusal(&format!("x{}", "é".repeat(700)));
        assert_eq!(text.len(), 999);
        assert!(String::from_utf8(text).is_ok());
        assert!(Manner::Year2020.complaint(&"é".repeat(700), &ACCOUNT).len() <= 1000);
    }

    #[test]
    fn only_what_the_server_itself_got_wrong_is_an_internal_failure_in_2020() {
        let internal = Error::Catalog("database is locked".into());
        let said = Manner::Year2020.failure(Opcode::Retrieve, &internal);
        assert_eq!(said, b"E Something went wrong during file process");
        let said = Manner::Specified.failure(Opcode::Retrieve, &internal);
        assert_eq!(said, b"E\r\nERROR the catalog: database is locked\r\n\r\n");
        let refused = Error::TooBig { bytes: 2, limit: 1 };
        let said = Manner::Year2020.failure(Opcode::Store, &refused);
        assert_eq!(
            said,
            b"ERROR a file may have at most 1 bytes on this server, and this one has 2"
        );
    }
}
