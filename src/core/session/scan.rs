//! Where a message of the specified session ends and what is in it.
//!
//! A message is read by its number of fields, because an empty field puts an empty line inside a
//! valid message. So there are bytes of which one cannot tell whether they are a whole message that
//! is short, or the beginning of a longer one: [`Scan::Grace`].
//!
//! Invariant, on which the session relies to look at long lines only once: a scan that answered
//! [`Scan::More`] answers nothing else before a `\n` has come, and one that answered
//! [`Scan::Grace`] may be decided by any byte. What was decided once is not changed by later bytes.

use crate::core::wire::lines::{CRLF, split_line};

/// What some bytes are.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Scan<T> {
    /// Not yet a message.
    More,
    /// This, taking so many bytes, unless more comes soon.
    Grace(T, usize),
    /// This, taking so many bytes.
    Done(T, usize),
}

/// The requests of the specified session, by their opcodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // `as_str` says what each is
pub(super) enum Opcode {
    Store,
    Retrieve,
    Delete,
    List,
    SignOut,
}

impl Opcode {
    /// As it travels.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Opcode::Store => "STR",
            Opcode::Retrieve => "RTV",
            Opcode::Delete => "DEL",
            Opcode::List => "INF",
            Opcode::SignOut => "LGO",
        }
    }
}

/// What a client of the specified session asks for; fields are still bytes.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// A line end between two messages.
    Stray,
    /// An opcode that is none. Nothing is taken: the message goes up to its first empty line.
    Unknown,
    /// A message without a line.
    Empty,
    /// Fewer fields than the opcode needs.
    Short(Opcode),
    /// More lines than the opcode has fields; the rest goes up to the next empty line.
    Long(Opcode),
    Store {
        name: Vec<u8>,
        path: Vec<u8>,
        size: Vec<u8>,
    },
    Retrieve {
        name: Vec<u8>,
        path: Vec<u8>,
    },
    Delete {
        name: Vec<u8>,
        path: Vec<u8>,
    },
    List,
    SignOut,
}

/// The answer to a question of the sign-in conversation; items are still bytes.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// As many items as were asked for.
    Items(Vec<Vec<u8>>),
    /// `LGN` in place of the answer.
    SignIn { user: Vec<u8>, password: Vec<u8> },
    /// Fewer items.
    Short,
    /// More lines than items; the rest goes up to the next empty line.
    Long,
}

/// What stands where an empty line is expected.
enum Next {
    Nothing,
    Empty,
    Other,
    Unknown,
}

/// Reads line by line and knows how far it is.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    after_empty: bool,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0, after_empty: false }
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let (line, used) = split_line(self.rest())?;
        self.at += used;
        self.after_empty = line.is_empty();
        Some(line)
    }

    /// After an empty line the first byte decides (that is where grace ends); anywhere else it
    /// takes a line end, so that a scan is not repeated for every byte of a line.
    fn next(&self) -> Next {
        match self.rest() {
            [] => Next::Nothing,
            [b'\r', b'\n', ..] => Next::Empty,
            [first, ..] if self.after_empty && *first != b'\r' => Next::Other,
            rest if rest.contains(&b'\n') => Next::Other,
            _ => Next::Unknown,
        }
    }

    /// `value` if the empty line that ends a message comes now, `long` if another line does.
    fn end<T>(&self, value: T, long: T) -> Scan<T> {
        match self.next() {
            Next::Empty => Scan::Done(value, self.at + CRLF.len()),
            Next::Other => Scan::Done(long, self.at),
            Next::Nothing | Next::Unknown => Scan::More,
        }
    }
}

/// Reads a request.
pub(super) fn request(bytes: &[u8]) -> Scan<Request> {
    let mut cursor = Cursor::new(bytes);
    let Some(opcode) = cursor.line() else { return Scan::More };
    match opcode {
        b"STR" => store(cursor),
        b"RTV" => named(cursor, Opcode::Retrieve, |name, path| Request::Retrieve { name, path }),
        b"DEL" => named(cursor, Opcode::Delete, |name, path| Request::Delete { name, path }),
        b"INF" => cursor.end(Request::List, Request::Long(Opcode::List)),
        b"LGO" => cursor.end(Request::SignOut, Request::Long(Opcode::SignOut)),
        b"" => match cursor.next() {
            Next::Empty => Scan::Done(Request::Empty, cursor.at + CRLF.len()),
            Next::Other => Scan::Done(Request::Stray, cursor.at),
            Next::Nothing | Next::Unknown => Scan::More,
        },
        _ => Scan::Done(Request::Unknown, 0),
    }
}

/// RTV and DEL: a name, which is never empty, and a path, which may be.
fn named(
    mut cursor: Cursor<'_>,
    opcode: Opcode,
    request: fn(Vec<u8>, Vec<u8>) -> Request,
) -> Scan<Request> {
    let Some(name) = cursor.line() else { return Scan::More };
    if name.is_empty() {
        return Scan::Done(Request::Short(opcode), cursor.at);
    }
    let Some(path) = cursor.line() else { return Scan::More };
    let whole = request(name.to_vec(), path.to_vec());
    if !path.is_empty() {
        return cursor.end(whole, Request::Long(opcode));
    }
    match cursor.next() {
        Next::Nothing => Scan::Grace(Request::Short(opcode), cursor.at),
        Next::Empty => Scan::Done(whole, cursor.at + CRLF.len()),
        Next::Other => Scan::Done(Request::Short(opcode), cursor.at),
        Next::Unknown => Scan::More,
    }
}

/// STR: a name, a path that may be empty, and a size.
fn store(mut cursor: Cursor<'_>) -> Scan<Request> {
    let short = Request::Short(Opcode::Store);
    let Some(name) = cursor.line() else { return Scan::More };
    if name.is_empty() {
        return Scan::Done(short, cursor.at);
    }
    let Some(path) = cursor.line() else { return Scan::More };
    let after_path = cursor.at;
    if path.is_empty() {
        match cursor.rest().first() {
            None => return Scan::Grace(short, after_path),
            Some(b'\r' | b'0'..=b'9') => {}
            Some(_) => return Scan::Done(short, after_path),
        }
    }
    let Some(size) = cursor.line() else { return Scan::More };
    if size.is_empty() {
        return Scan::Done(short, cursor.at);
    }
    if path.is_empty() && !size.iter().all(u8::is_ascii_digit) {
        return Scan::Done(short, after_path);
    }
    let whole = Request::Store { name: name.to_vec(), path: path.to_vec(), size: size.to_vec() };
    cursor.end(whole, Request::Long(Opcode::Store))
}

/// Reads the answer to a question for `count` items, each of which may be empty.
pub(super) fn answer(bytes: &[u8], count: usize) -> Scan<Answer> {
    let mut cursor = Cursor::new(bytes);
    let mut items = Vec::with_capacity(count);
    let mut first_end = None;
    while items.len() < count {
        let Some(item) = cursor.line() else { return unfinished(&cursor) };
        if item.is_empty() && first_end.is_none() {
            first_end = Some(cursor.at);
        }
        items.push(item.to_vec());
    }
    match (cursor.next(), first_end) {
        (Next::Empty, _) => Scan::Done(Answer::Items(items), cursor.at + CRLF.len()),
        (Next::Other, Some(end)) => Scan::Done(Answer::Short, end),
        (Next::Other, None) => Scan::Done(Answer::Long, cursor.at),
        (Next::Nothing | Next::Unknown, _) => unfinished(&cursor),
    }
}

/// Bytes that end in an empty line may be a short answer; any others are not at an end.
fn unfinished(cursor: &Cursor<'_>) -> Scan<Answer> {
    if cursor.rest().is_empty() && cursor.after_empty {
        Scan::Grace(Answer::Short, cursor.at)
    } else {
        Scan::More
    }
}

/// Reads the answer to the question for a user and a password, in place of which `LGN`, user,
/// password may come. The number of fields tells that from a user who is called LGN.
pub(super) fn sign_in(bytes: &[u8]) -> Scan<Answer> {
    let mut cursor = Cursor::new(bytes);
    match (cursor.line(), cursor.line()) {
        (Some(b"LGN"), Some(user)) if !user.is_empty() => reserved_sign_in(cursor, user),
        _ => answer(bytes, 2),
    }
}

/// What comes after `LGN`, user: a password and an empty line; or an empty line, and then "user"
/// is the password of a user who is called LGN, unless yet another empty line follows.
fn reserved_sign_in(mut cursor: Cursor<'_>, user: &[u8]) -> Scan<Answer> {
    let called_lgn = || Answer::Items(vec![b"LGN".to_vec(), user.to_vec()]);
    let Some(password) = cursor.line() else { return Scan::More };
    let whole = Answer::SignIn { user: user.to_vec(), password: password.to_vec() };
    if !password.is_empty() {
        return cursor.end(whole, Answer::Long);
    }
    match cursor.next() {
        Next::Nothing => Scan::Grace(called_lgn(), cursor.at),
        Next::Empty => Scan::Done(whole, cursor.at + CRLF.len()),
        Next::Other => Scan::Done(called_lgn(), cursor.at),
        Next::Unknown => Scan::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retrieve(name: &[u8], path: &[u8]) -> Request {
        Request::Retrieve { name: name.to_vec(), path: path.to_vec() }
    }

    fn items(items: &[&[u8]]) -> Answer {
        Answer::Items(items.iter().map(|item| item.to_vec()).collect())
    }

    #[test]
    fn an_empty_path_is_told_from_a_missing_one_by_what_follows() {
        let short = Request::Short(Opcode::Retrieve);
        assert_eq!(request(b"RTV\r\na\r\n\r\n"), Scan::Grace(short, 10));
        assert_eq!(request(b"RTV\r\na\r\n\r\n\r"), Scan::More);
        assert_eq!(request(b"RTV\r\na\r\n\r\n\r\n"), Scan::Done(retrieve(b"a", b""), 12));
        let short = Request::Short(Opcode::Retrieve);
        assert_eq!(request(b"RTV\r\na\r\n\r\nI"), Scan::Done(short, 10));
    }

    #[test]
    fn a_store_without_a_path_is_known_by_its_size() {
        let short = || Request::Short(Opcode::Store);
        assert_eq!(request(b"STR\r\na\r\n\r\n"), Scan::Grace(short(), 10));
        assert_eq!(request(b"STR\r\na\r\n\r\n1"), Scan::More);
        assert_eq!(request(b"STR\r\na\r\n\r\nINF"), Scan::Done(short(), 10));
        assert_eq!(request(b"STR\r\na\r\n\r\n12x\r\n"), Scan::Done(short(), 10));
        assert_eq!(request(b"STR\r\na\r\n\r\n\r\n"), Scan::Done(short(), 12));
        assert_eq!(request(b"STR\r\na\r\np\r\n\r\n"), Scan::Done(short(), 13));
        let store =
            Request::Store { name: b"a".to_vec(), path: b"".to_vec(), size: b"12".to_vec() };
        assert_eq!(request(b"STR\r\na\r\n\r\n12\r\n\r\n"), Scan::Done(store, 16));
    }

    #[test]
    fn an_opcode_is_its_three_letters() {
        for bytes in [&b"STRANGE\r\n"[..], b"str\r\n", b"ST\r\n", b" STR\r\n", b"\xff\r\n"] {
            assert_eq!(request(bytes), Scan::Done(Request::Unknown, 0));
        }
        assert_eq!(request(b"INF\r\n\r\n"), Scan::Done(Request::List, 7));
        assert_eq!(request(b"INF\r\nx\r\n\r\n"), Scan::Done(Request::Long(Opcode::List), 5));
    }

    #[test]
    fn a_line_end_between_messages_is_no_message_but_two_are() {
        assert_eq!(request(b"\r\n"), Scan::More);
        assert_eq!(request(b"\r\nINF"), Scan::Done(Request::Stray, 2));
        assert_eq!(request(b"\r\n\r\n"), Scan::Done(Request::Empty, 4));
    }

    #[test]
    fn items_may_be_empty() {
        assert_eq!(answer(b"a\r\n\r\n\r\n", 2), Scan::Done(items(&[b"a", b""]), 7));
        assert_eq!(answer(b"\r\n\r\n\r\n", 2), Scan::Done(items(&[b"", b""]), 6));
        assert_eq!(answer(b"a\r\n\r\n", 2), Scan::Grace(Answer::Short, 5));
        assert_eq!(answer(b"a\r\n\r\nb", 2), Scan::Done(Answer::Short, 5));
        assert_eq!(answer(b"a\r\nb\r\nc\r\n", 2), Scan::Done(Answer::Long, 6));
        assert_eq!(answer(b"a\r\n\r\nb", 3), Scan::More);
    }

    #[test]
    fn a_user_called_lgn_has_two_items() {
        let reserved = Answer::SignIn { user: b"u".to_vec(), password: b"p".to_vec() };
        assert_eq!(sign_in(b"LGN\r\nu\r\np\r\n\r\n"), Scan::Done(reserved, 13));
        assert_eq!(sign_in(b"LGN\r\nu\r\n\r\n"), Scan::Grace(items(&[b"LGN", b"u"]), 10));
        assert_eq!(sign_in(b"LGN\r\nu\r\n\r\nx"), Scan::Done(items(&[b"LGN", b"u"]), 10));
        let without = Answer::SignIn { user: b"u".to_vec(), password: b"".to_vec() };
        assert_eq!(sign_in(b"LGN\r\nu\r\n\r\n\r\n"), Scan::Done(without, 12));
        assert_eq!(sign_in(b"LGN\r\n\r\n\r\n"), Scan::Done(items(&[b"LGN", b""]), 9));
    }

    /// Bytes in which line ends, opcodes and digits are frequent.
    fn wire_like() -> impl Strategy<Value = Vec<u8>> {
        let token = prop::sample::select(vec![
            &b"\r\n"[..],
            b"\r\n",
            b"\r",
            b"\n",
            b"STR",
            b"RTV",
            b"INF",
            b"LGN",
            b"a",
            b"7",
        ]);
        prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
    }

    /// Checks the module's invariant over every prefix of `bytes`.
    fn stands<T: PartialEq + std::fmt::Debug>(bytes: &[u8], scan: impl Fn(&[u8]) -> Scan<T>) {
        let whole = scan(bytes);
        for cut in 0..bytes.len() {
            match scan(&bytes[..cut]) {
                Scan::Done(value, used) => assert_eq!(whole, Scan::Done(value, used)),
                Scan::Grace(_, used) => assert_eq!(used, cut),
                Scan::More if bytes[cut] != b'\n' => {
                    // A message that is too long shows nothing before its end, so it may be seen late.
                    assert!(matches!(scan(&bytes[..=cut]), Scan::More), "{bytes:?} at {cut}");
                }
                Scan::More => {}
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_decided_stands_however_the_bytes_are_cut(bytes in wire_like()) {
            // A line end between messages is taken silently, so when that is seen does not matter.
            if !bytes.starts_with(b"\r\n") {
                stands(&bytes, request);
            }
            stands(&bytes, sign_in);
            for count in 1..=3 {
                stands(&bytes, |bytes| answer(bytes, count));
            }
        }
    }
}
