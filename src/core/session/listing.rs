//! A listing on its way to the client, page by page, so that no more of a long one is in memory than
//! the page that is being said and the one after it.
//!
//! Invariants:
//! - What is said does not depend on how the entries were divided into pages.
//! - A client of 2020 gets one segment, so for it the pages are counted and the rest is left out.
//! - While nothing was said ([`Listing::is_begun`]) an error can still be told; later the end that
//!   is missing tells it.

use crate::core::path::UserName;
use crate::core::session::say::{Manner, SEGMENT_BYTES_MAX};
use crate::core::wire::extended::{Entry, Reply};
use crate::core::wire::lines::{self, CRLF};

/// What has been listed and not been said yet.
pub(super) struct Listing {
    manner: Manner,
    user: UserName,
    /// Are the files' attributes told?
    attributes: bool,
    is_begun: bool,
    /// The last page, until it is known whether it is the last.
    held: Vec<u8>,
    segment: Segment,
}

impl Listing {
    /// Nothing has been listed yet.
    pub(super) fn new(manner: Manner, user: UserName, attributes: bool) -> Listing {
        let segment = Segment::default();
        Listing { manner, user, attributes, is_begun: false, held: Vec::new(), segment }
    }

    /// Has anything been said of it?
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Takes the next entries; gives what is to be said now, if anything.
    pub(super) fn page(&mut self, entries: &[Entry]) -> Option<Vec<u8>> {
        if self.manner == Manner::Year2020 {
            for entry in entries {
                let path = self.as_specified(entry);
                self.segment.add(path);
            }
            return None;
        }
        let mut page = Vec::new();
        if !self.is_begun && self.held.is_empty() {
            lines::push_line(&mut page, "S");
        }
        entries.iter().for_each(|entry| lines::push_line(&mut page, &self.line(entry)));
        let before = std::mem::replace(&mut self.held, page);
        self.is_begun |= !before.is_empty();
        (!before.is_empty()).then_some(before)
    }

    /// The last that is said.
    pub(super) fn end(self) -> Vec<u8> {
        if self.manner == Manner::Year2020 && !self.segment.is_empty() {
            return self.segment.end();
        }
        if !self.held.is_empty() {
            return [&self.held[..], CRLF.as_bytes()].concat();
        }
        match self.manner {
            Manner::Extended => Reply::Success(Vec::new()).encode(),
            manner => manner.done("No files in database"),
        }
    }

    fn line(&self, entry: &Entry) -> String {
        match self.manner {
            Manner::Extended => entry.encode(self.attributes),
            _ => self.as_specified(entry),
        }
    }

    /// `/demo/test/yeet.txt`
    fn as_specified(&self, entry: &Entry) -> String {
        let path = match entry {
            Entry::Folder(path) => path.as_str(),
            Entry::File(file) => file.path.as_str(),
        };
        format!("/{}/{path}", self.user.as_str())
    }
}

/// As many entries as one segment holds; if some are left out, the last line says how many.
#[derive(Default)]
struct Segment {
    /// The first ones, as far as they could fit.
    kept: Vec<String>,
    kept_bytes: usize,
    /// All of them.
    entries: usize,
    bytes: usize,
}

impl Segment {
    fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn add(&mut self, path: String) {
        let bytes = path.len() + 1;
        if self.kept.len() == self.entries && self.kept_bytes + bytes <= SEGMENT_BYTES_MAX {
            self.kept_bytes += bytes;
            self.kept.push(path);
        }
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn end(self) -> Vec<u8> {
        if self.bytes <= SEGMENT_BYTES_MAX {
            return self.kept.into_iter().flat_map(|path| (path + "\n").into_bytes()).collect();
        }
        let left_out = |count: usize| format!("... and {count} more\n");
        let room = SEGMENT_BYTES_MAX - left_out(self.entries).len();
        let mut out = String::new();
        let mut shown = 0;
        for path in &self.kept {
            if out.len() + path.len() + 1 > room {
                break;
            }
            out += path;
            out.push('\n');
            shown += 1;
        }
        out += &left_out(self.entries - shown);
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::path::FolderPath;

    fn folders(count: usize) -> Vec<Entry> {
        (0..count).map(|n| Entry::Folder(FolderPath::parse(&format!("f{n:05}")).unwrap())).collect()
    }

    /// All that is said of these entries, in pages of so many, and in how many pieces.
    fn said(manner: Manner, entries: &[Entry], page: usize) -> (Vec<u8>, usize) {
        let mut listing = Listing::new(manner, UserName::parse("demo").unwrap(), false);
        let mut all = Vec::new();
        let mut pieces = 1;
        for page in entries.chunks(page) {
            let bytes = listing.page(page);
            pieces += usize::from(bytes.is_some());
            assert_eq!(listing.is_begun(), pieces > 1);
            all.extend(bytes.unwrap_or_default());
        }
        all.extend(listing.end());
        (all, pieces)
    }

    #[test]
    fn pages_leave_no_trace() {
        for manner in [Manner::Specified, Manner::Year2020, Manner::Extended] {
            for count in [0, 1, 5, 6, 7, 300] {
                let (whole, pieces) = said(manner, &folders(count), 1000);
                assert_eq!(pieces, 1);
                for page in [1, 2, 3, 100] {
                    let (paged, pieces) = said(manner, &folders(count), page);
                    assert_eq!(paged, whole, "{count} entries of {manner:?}");
                    let expected = count.div_ceil(page).max(1);
                    assert!(pieces == expected || manner == Manner::Year2020);
                }
            }
        }
        let (none, _) = said(Manner::Extended, &[], 1);
        assert_eq!(none, b"S\r\n\r\n");
        let (one, _) = said(Manner::Specified, &folders(1), 1);
        assert_eq!(one, b"S\r\n/demo/f00000\r\n\r\n");
    }

    #[test]
    fn a_long_listing_of_2020_is_cut_at_an_entry_and_says_so() {
        // "/demo/f00000\n" has 13 bytes: 76 of them fit without a last line.
        for count in [1, 75, 76, 77, 78, 200, 20_000] {
            let (text, pieces) = said(Manner::Year2020, &folders(count), 64);
            assert!(text.len() <= SEGMENT_BYTES_MAX && pieces == 1);
            let text = String::from_utf8(text).unwrap();
            let shown = text.lines().filter(|line| line.starts_with("/demo/f")).count();
            if count <= 76 {
                assert_eq!(shown, count);
            } else {
                assert!(text.ends_with(&format!("\n... and {} more\n", count - shown)), "{text}");
                assert!(shown >= 73);
            }
        }
    }

    #[test]
    fn an_entry_longer_than_a_segment_is_left_out_and_counted() {
        let long = FolderPath::parse(&vec!["d".repeat(200); 6].join("/")).unwrap();
        let (listing, _) = said(Manner::Year2020, &[Entry::Folder(long)], 1);
        assert_eq!(listing, b"... and 1 more\n");
    }
}
