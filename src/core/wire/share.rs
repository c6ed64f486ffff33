//! What clients of the share door say, and what they are told.
//!
//! ```text
//!   list          -> the names, a blank after each, in one segment of 1 to 1024 bytes
//!   put NAME      -> nothing; the bytes of the file follow in pieces of 256
//!   get NAME      -> the bytes of the file in pieces of 256
//!   bye           -> the end of the connection
//! ```
//!
//! Each command is one segment and nothing ends it. A file ends with the first piece that is shorter
//! than 223 bytes: its program compares not the piece's length but the memory that it takes, 33 bytes
//! more, with 256. So some sizes have no end; [`pieces`] says how they are sent all the same, and
//! [`Put`] when one of them has come.

pub mod glued;

use self::glued::name_of;

/// The size of a piece of a file.
pub const PIECE_BYTES: usize = 256;

/// A piece of at least so many bytes is not taken for the last one.
pub const UNENDING_BYTES: usize = 223;

/// The longest answer to `list`, in bytes: what the client reads at once.
pub const LIST_BYTES_MAX: usize = 1024;

/// The last name of a list that had to be cut.
pub const LIST_CUT: &str = "...";

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Which files there are.
    List,
    /// A file comes, behind the first four bytes of the segment; see [`Put`].
    Put,
    /// A file's bytes.
    Get(String),
    /// The end.
    Bye,
}

/// What the bytes at the front mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// A command that takes so many bytes.
    Whole(Command, usize),
    /// Nothing yet, and nothing is used up.
    NotYet,
    /// No command.
    Unknown,
}

/// What stands before the name of a file that comes.
const PUT: &[u8] = b"put ";
const GET: &[u8] = b"get ";
const WORDS: [&[u8]; 4] = [b"list", PUT, GET, b"bye"];

/// Reads what has arrived. The name in a `get` goes as far as what has arrived does.
pub fn decode(bytes: &[u8]) -> Heard {
    if let Some(name) = bytes.strip_prefix(GET) {
        return match std::str::from_utf8(name) {
            Ok("") => Heard::NotYet,
            Ok(name) => Heard::Whole(Command::Get(without_line_end(name).into()), bytes.len()),
            Err(_) => Heard::Unknown,
        };
    }
    if bytes.starts_with(PUT) {
        return Heard::Whole(Command::Put, PUT.len());
    }
    for (word, command) in [(WORDS[0], Command::List), (WORDS[3], Command::Bye)] {
        if let Some(rest) = bytes.strip_prefix(word) {
            // A person at a plain connection ends lines.
            let end = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let next = &rest[end..];
            return match next.is_empty() || decode(next) != Heard::Unknown {
                true => Heard::Whole(command, word.len() + end),
                false => Heard::Unknown,
            };
        }
    }
    let may_become_one = WORDS.iter().any(|word| word.starts_with(bytes));
    if may_become_one { Heard::NotYet } else { Heard::Unknown }
}

fn without_line_end(name: &str) -> &str {
    name.trim_end_matches(['\r', '\n'])
}

/// The answer to `list`. Never empty, since the client waits for bytes; what does not fit is left out,
/// and the last name is [`LIST_CUT`] then.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        if out.len() + name.len() + 1 + LIST_CUT.len() + 1 > LIST_BYTES_MAX {
            out.extend_from_slice(LIST_CUT.as_bytes());
            out.push(b' ');
            return out;
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
    }
    if out.is_empty() {
        out.push(b' ');
    }
    out
}

/// The next piece to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its length in bytes.
    pub length: usize,
    /// The client must have taken what was sent before, or it would read both as one.
    pub is_apart: bool,
}

/// The next piece of a file of which `left` bytes are not sent yet, the last piece being `before`.
/// Nothing at its end.
pub fn next_piece(left: u64, before: Option<usize>) -> Option<Piece> {
    let length = match usize::try_from(left) {
        Ok(0) => return None,
        // As one piece it would not end the file, and there is nothing more to send.
        Ok(left) if (UNENDING_BYTES + 1..=PIECE_BYTES).contains(&left) => UNENDING_BYTES,
        Ok(left) => left.min(PIECE_BYTES),
        Err(_) => PIECE_BYTES,
    };
    Some(Piece { length, is_apart: before == Some(UNENDING_BYTES) })
}

/// Can the client tell the end of a file only by the end of the connection?
pub fn ends_by_closing(bytes: u64) -> bool {
    let is_last = |piece: u64| bytes % PIECE_BYTES as u64 == piece;
    bytes == 0 || is_last(UNENDING_BYTES as u64)
}

/// How the end of a file was known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Its last piece was shorter than 223 bytes and nothing followed.
    ShortPiece,
    /// Nothing came for a while.
    Silence,
    /// The connection was closed.
    Close,
    /// The next command came.
    NextCommand,
}

impl Ending {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::ShortPiece => "by a short piece",
            Ending::Silence => "by silence",
            Ending::Close => "by the end of the connection",
            Ending::NextCommand => "by the next command",
        }
    }

    /// Is this how a whole file ends for certain?
    pub fn is_sure(self) -> bool {
        self == Ending::ShortPiece
    }
}

/// A file that comes: where in what came its name ends, and when it has ended.
///
/// What comes first is the segment with the name, and maybe the first pieces of the file behind it.
/// All later bytes are the file's, so its pieces are counted from there.
#[derive(Clone, Debug, Default)]
pub struct Put {
    /// What came together with the command, its beginning at most.
    first: Vec<u8>,
    first_bytes: u64,
    later_bytes: u64,
}

impl Put {
    /// The first bytes behind `put `, as they came together.
    pub fn new(first: &[u8]) -> Put {
        let kept = first.len().min(glued::LOOK_BYTES);
        Put { first: first[..kept].to_vec(), first_bytes: first.len() as u64, later_bytes: 0 }
    }

    /// So many more bytes of the file have come.
    pub fn came(&mut self, bytes: usize) {
        self.later_bytes += bytes as u64;
    }

    /// How many bytes have come behind `put `, the name's included.
    pub fn bytes(&self) -> u64 {
        self.first_bytes + self.later_bytes
    }

    /// Was the last piece so short that the file has ended, if nothing follows?
    pub fn is_short(&self) -> bool {
        let of_file = match self.later_bytes {
            // All of it may have come together with its name.
            0 => self.name().map_or(0, |name| self.first_bytes - name.text.len() as u64),
            later => later,
        };
        let last = of_file % PIECE_BYTES as u64;
        last > 0 && last < UNENDING_BYTES as u64
    }

    /// Are these bytes, which came by themselves, the next command? Behind a short piece a command is
    /// one; elsewhere only after a pause, since a file may hold such words as well.
    pub fn is_over_with(&self, bytes: &[u8], paused: bool) -> bool {
        let is_command = match decode(bytes) {
            Heard::Whole(Command::Put, used) => !bytes[used..].is_empty(),
            Heard::Whole(Command::Get(name), _) => !name.is_empty() && !name.contains('\n'),
            Heard::Whole(_, used) => used == bytes.len(),
            Heard::NotYet | Heard::Unknown => false,
        };
        is_command && (self.is_short() || paused)
    }

    /// The file's name and where its first byte lies behind `put `; nothing if that cannot be told.
    /// To be asked once everything has come.
    pub fn name(&self) -> Option<glued::Name<'_>> {
        name_of(&self.first, self.first_bytes, self.later_bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a file, `|` where the client must have taken what was sent before.
    fn pieces(bytes: u64) -> String {
        let (mut left, mut before, mut out) = (bytes, None, String::new());
        while let Some(piece) = next_piece(left, before) {
            out.push_str(if piece.is_apart { "|" } else { "+" });
            out.push_str(&piece.length.to_string());
            (left, before) = (left - piece.length as u64, Some(piece.length));
        }
        out + if ends_by_closing(bytes) { "." } else { "" }
    }

    #[test]
    fn spec_3_a_file_goes_in_pieces_whose_last_has_1_to_222_bytes() {
        for (bytes, expected) in [
            (0, "."),
            (1, "+1"),
            (222, "+222"),
            (223, "+223."),
            (224, "+223|1"),
            (256, "+223|33"),
            (257, "+256+1"),
            (478, "+256+222"),
            (479, "+256+223."),
            (480, "+256+223|1"),
            (512, "+256+223|33"),
            (513, "+256+256+1"),
        ] {
            assert_eq!(pieces(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn every_file_that_ends_by_itself_ends_with_one_short_piece() {
        for bytes in 0..2000 {
            let (mut left, mut before) = (bytes, None);
            let mut short = 0;
            while let Some(piece) = next_piece(left, before) {
                left -= piece.length as u64;
                short += usize::from(piece.length < UNENDING_BYTES);
                assert!((1..=PIECE_BYTES).contains(&piece.length));
                assert!(piece.length >= UNENDING_BYTES || left == 0, "{bytes}");
                before = Some(piece.length);
            }
            assert_eq!(short, usize::from(!ends_by_closing(bytes)), "{bytes}");
        }
    }

    #[test]
    fn spec_3_each_command_is_one_segment_with_no_terminator() {
        for (bytes, expected) in [
            (&b"list"[..], Heard::Whole(Command::List, 4)),
            (b"bye", Heard::Whole(Command::Bye, 3)),
            (b"bye\r\n", Heard::Whole(Command::Bye, 5)),
            (b"listbye", Heard::Whole(Command::List, 4)),
            (b"listen", Heard::Unknown),
            (b"get a b.txt", Heard::Whole(Command::Get("a b.txt".into()), 11)),
            (b"get ", Heard::NotYet),
            (b"get \xff", Heard::Unknown),
            (b"put a.txt", Heard::Whole(Command::Put, 4)),
            (b"pu", Heard::NotYet),
            (b"", Heard::NotYet),
            (b"PUT a", Heard::Unknown),
            (b"exit", Heard::Unknown),
        ] {
            assert_eq!(decode(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn spec_3_a_list_is_one_segment_of_1_to_1024_bytes_and_never_empty() {
        assert_eq!(list(["a.txt", "b c"]), b"a.txt b c ");
        assert_eq!(list([]), b" ");
        let long: Vec<String> = (0..200).map(|i| format!("file-{i:04}")).collect();
        let said = list(long.iter().map(String::as_str));
        assert!(said.len() <= 1024 && said.len() > 1024 - 15, "{}", said.len());
        assert!(said.ends_with(b" ... "));
    }

    #[test]
    fn spec_3_a_put_ends_by_a_piece_shorter_than_223_bytes() {
        for (later, is_short) in [
            (&[][..], false),
            (&[1], true),
            (&[222], true),
            (&[223], false),
            (&[255], false),
            (&[256], false),
            (&[256, 100], true),
            (&[300], true),
            (&[256, 256], false),
        ] {
            let mut put = Put::new(b"a.txt");
            later.iter().for_each(|bytes| put.came(*bytes));
            assert_eq!(put.is_short(), is_short, "{later:?}");
        }
    }

    #[test]
    fn spec_3_a_file_that_came_with_its_name_ends_by_a_short_piece_too() {
        assert!(Put::new(b"a.txthello").is_short());
        assert!(Put::new(&[b"a.txt", &[b'x'; 256 + 9][..]].concat()).is_short());
        for open in [&b"a.txt"[..], &[b"a.txt", &[b'x'; 256][..]].concat()] {
            assert!(!Put::new(open).is_short(), "{}", open.escape_ascii());
        }
    }

    #[test]
    fn a_command_behind_a_put_is_one_and_words_in_a_file_are_not() {
        let mut put = Put::new(b"a.txt");
        put.came(256);
        assert!(!put.is_over_with(b"list", false) && put.is_over_with(b"list", true));
        put.came(10);
        for next in [&b"list"[..], b"bye", b"get a", b"put b"] {
            assert!(put.is_over_with(next, false));
        }
        for more in [&b"listen"[..], b"put ", b"get a\nget b", b"more of it"] {
            assert!(!put.is_over_with(more, true), "{}", more.escape_ascii());
        }
    }
}
