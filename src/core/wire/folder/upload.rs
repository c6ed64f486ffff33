//! `NAME SIZE` and the bytes, with nothing between them: where the size ends and the file begins.
//!
//! `a.txt 512345` may announce 512,345 bytes, or 5 of which all have come. There is one more thing to
//! go by: the client sends what it has announced and then waits. So every way to read what came is
//! kept until more has come than it announces; the one that is exact when nothing more comes is right.
//! Mostly only one is left long before that, and then nothing is waited for.

use crate::core::path::NAME_BYTES_MAX;

/// How far in the size may begin: a name with a path before it that is dropped.
const NAME_MAX: usize = 1024;

/// How much of the front is looked at: the longest name, a blank and the longest size.
pub const LOOK_BYTES: usize = NAME_MAX + 1 + SIZE_DIGITS_MAX;

/// As many digits as any size has that fits in 64 bits.
const SIZE_DIGITS_MAX: usize = 20;

/// One way to read the front.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// The file's name, without a path.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Where its first byte lies.
    pub offset: usize,
}

/// What is known by now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Known {
    /// More must come.
    NotYet,
    /// All has come, if nothing more does for a moment.
    MaybeWhole(Announced),
    /// All has come.
    Whole(Announced),
    /// There is no name with a size, or a file that is larger than may be taken.
    Refused {
        /// The size, if that is why.
        too_big: Option<u64>,
    },
}

/// An upload that comes.
#[derive(Clone, Debug)]
pub struct Upload {
    front: Vec<u8>,
    came: u64,
    bytes_max: u64,
}

impl Upload {
    /// One that may have so many bytes.
    pub fn new(bytes_max: u64) -> Upload {
        Upload { front: Vec::new(), came: 0, bytes_max }
    }

    /// These bytes have come; only the front is kept.
    pub fn came(&mut self, bytes: &[u8]) {
        let room = LOOK_BYTES - self.front.len();
        self.front.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.came += bytes.len() as u64;
    }

    /// What is known of it.
    pub fn known(&self) -> Known {
        let mut open = 0;
        let mut whole = None;
        let mut too_big = None;
        for way in self.ways() {
            let content = self.came - way.offset as u64;
            if way.bytes > self.bytes_max {
                too_big = too_big.or(Some(way.bytes));
            } else if content < way.bytes {
                open += 1;
            } else if content == way.bytes && whole.is_none() {
                whole = Some(way);
            }
        }
        match whole {
            Some(way) if open == 0 && too_big.is_none() => Known::Whole(way),
            Some(way) => Known::MaybeWhole(way),
            None if open > 0 || self.may_go_on() => Known::NotYet,
            None => Known::Refused { too_big },
        }
    }

    /// May a name and a size still be coming?
    fn may_go_on(&self) -> bool {
        let front = &self.front;
        let has_ways = front.windows(2).any(|two| two[0] == b' ' && two[1].is_ascii_digit());
        !has_ways && front.len() < LOOK_BYTES && text_length(front) == front.len()
    }

    /// All ways to read the front, the longest size first where several begin at one blank.
    fn ways(&self) -> Vec<Announced> {
        let front = self.front.strip_prefix(b" ").unwrap_or(&self.front);
        let skipped = self.front.len() - front.len();
        let text = text_length(front).min(NAME_MAX + 1);
        let mut ways = Vec::new();
        for (blank, _) in front[..text].iter().enumerate().filter(|(_, byte)| **byte == b' ') {
            let Some(name) = name_in(&front[..blank]) else { continue };
            let digits = &front[blank + 1..];
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let count = count.min(SIZE_DIGITS_MAX);
            // A size has no zeros in front.
            let count = if digits.first() == Some(&b'0') { count.min(1) } else { count };
            for length in (1..=count).rev() {
                let size = std::str::from_utf8(&digits[..length]).ok();
                if let Some(bytes) = size.and_then(|size| size.parse().ok()) {
                    let offset = skipped + blank + 1 + length;
                    ways.push(Announced { name: name.to_owned(), bytes, offset });
                }
            }
        }
        ways
    }
}

/// How far the bytes can be a name.
fn text_length(bytes: &[u8]) -> usize {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.find(char::is_control).unwrap_or(valid.len())
}

/// The last part of a path; both kinds of stroke end a part.
fn name_in(path: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(path).ok()?;
    let name = path.rsplit(['/', '\\']).next()?;
    (1..=NAME_BYTES_MAX).contains(&name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pieces: &[&[u8]]) -> Known {
        let mut upload = Upload::new(1_000_000);
        pieces.iter().for_each(|piece| upload.came(piece));
        upload.known()
    }

    fn announced(name: &str, bytes: u64, offset: usize) -> Announced {
        Announced { name: name.into(), bytes, offset }
    }

    #[test]
    fn spec_4_name_size_and_bytes_often_arrive_together() {
        let whole = Known::Whole(announced("a.txt", 5, 7));
        assert_eq!(known(&[b"a.txt 5", b"hello"]), whole);
        assert_eq!(known(&[b"a.txt 5hello"]), whole);
        assert_eq!(known(&[b"a.txt 5he", b"llo"]), whole);
        assert_eq!(known(&[b"a.txt 5hell"]), Known::NotYet);
        assert_eq!(known(&[b"a.txt 0"]), Known::Whole(announced("a.txt", 0, 7)));
        assert_eq!(known(&[b" a.txt 5", b"hello"]), Known::Whole(announced("a.txt", 5, 8)));
    }

    #[test]
    fn a_file_cut_at_every_byte_is_found_whole_at_its_end_only() {
        let mut all = b"up/my 2020 file.csv 1203".to_vec();
        all.extend((0..1203).map(|i| b"1, 22\n 333 4"[i % 12]));
        let mut upload = Upload::new(1_000_000);
        for byte in &all[..all.len() - 1] {
            upload.came(&[*byte]);
            assert!(!matches!(upload.known(), Known::Refused { .. }));
        }
        upload.came(&all[all.len() - 1..]);
        let (Known::Whole(way) | Known::MaybeWhole(way)) = upload.known() else {
            panic!("{:?}", upload.known())
        };
        assert_eq!(way, announced("my 2020 file.csv", 1203, 24));
    }

    #[test]
    fn a_file_that_begins_with_digits_is_known_by_silence() {
        let way = announced("a.txt", 5, 7);
        assert_eq!(known(&[b"a.txt 5", b"12345"]), Known::MaybeWhole(way));
        assert_eq!(known(&[b"a.txt 300"]), Known::NotYet);
        let digits = [b'7'; 300];
        assert_eq!(known(&[b"a.txt 300", &digits]), Known::MaybeWhole(announced("a.txt", 300, 9)));
    }

    #[test]
    fn spec_4_a_path_before_the_name_is_dropped() {
        for front in ["/home/me/a.txt 1x", "C:\\me\\a.txt 1x", "../../a.txt 1x"] {
            let Known::Whole(way) = known(&[front.as_bytes()]) else { panic!("{front}") };
            assert_eq!((way.name.as_str(), way.bytes), ("a.txt", 1));
        }
    }

    #[test]
    fn what_has_no_name_or_no_size_is_refused() {
        for front in [&b"a.txt\n5"[..], b" 5hello", b"a.txt five\n", &[b'x'; LOOK_BYTES]] {
            let refused = Known::Refused { too_big: None };
            assert_eq!(known(&[front]), refused, "{}", front.escape_ascii());
        }
        let too_big = Some(2_000_000);
        let mut upload = Upload::new(1_000_000);
        upload.came(b"a.txt 2000000");
        assert_eq!(upload.known(), Known::NotYet, "it may be 200,000 and a 0");
        upload.came(&vec![0; 1_500_000]);
        assert_eq!(upload.known(), Known::Refused { too_big });
        assert_eq!(known(&[b"a.txt 18446744073709551616!"]), Known::NotYet);
    }
}
