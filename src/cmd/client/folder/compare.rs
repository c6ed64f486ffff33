//! What two trees have in common and in what they differ: one comparison, for `check` and `sync`.
//!
//! Invariants:
//! - Both trees come as streams in one order: that of the bytes of whole paths, a folder counting as its
//!   path and a `/`, so that it stands directly before what is in it. No more than one item of each is in
//!   memory.
//! - A file and a folder are never a pair, whatever they are called: one is only here and the other only
//!   there.

use std::cmp::Ordering;
use std::iter::Peekable;

use crate::core::error::Result;
use crate::core::types::{Digest, VersionId};

/// Something in a tree: a file of which so much is known, or a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item<F> {
    /// Seen from the top of the tree; empty if the tree is one file.
    pub(super) path: String,
    pub(super) kind: Kind<F>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind<F> {
    File(F),
    Folder { is_empty: bool },
}

/// What is known of a local file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LocalFile {
    pub(super) bytes: u64,
    pub(super) modified_ms: Option<i64>,
    /// Is it a symbolic link, which is meant itself?
    pub(super) is_link: bool,
}

/// What is known of a stored file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StoredFile {
    pub(super) bytes: u64,
    pub(super) modified_ms: Option<i64>,
    pub(super) is_link: bool,
    pub(super) version: VersionId,
    pub(super) blake3: Digest,
}

/// What is at one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pair {
    Here(Item<LocalFile>),
    There(Item<StoredFile>),
    /// A file on both sides.
    Files(String, LocalFile, StoredFile),
    /// A folder on both sides.
    Folders(String),
}

/// By what it is decided whether two files are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// Their sizes and times, and their digests where the sizes are the same and the times are not.
    Time,
    /// Their sizes and digests.
    Digest,
}

/// What can be said of two files without reading any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Glance {
    Same,
    Different,
    /// The digest of the local file decides.
    Digest,
}

impl<F> Item<F> {
    /// By what streams are sorted.
    fn key(&self) -> impl Iterator<Item = u8> {
        let slash = matches!(self.kind, Kind::Folder { .. }).then_some(b'/');
        self.path.bytes().chain(slash)
    }
}

/// Holds two streams against each other. After an error there is nothing more.
pub(super) fn pairs(
    here: impl Iterator<Item = Item<LocalFile>>,
    there: impl Iterator<Item = Result<Item<StoredFile>>>,
) -> impl Iterator<Item = Result<Pair>> {
    let (here, there) = (here.peekable(), there.peekable());
    Pairs { here, there, has_failed: false }
}

struct Pairs<H: Iterator, T: Iterator> {
    here: Peekable<H>,
    there: Peekable<T>,
    has_failed: bool,
}

impl<H, T> Iterator for Pairs<H, T>
where
    H: Iterator<Item = Item<LocalFile>>,
    T: Iterator<Item = Result<Item<StoredFile>>>,
{
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        if self.has_failed {
            return None;
        }
        let order = match (self.here.peek(), self.there.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) | (Some(_), Some(Err(_))) => Ordering::Greater,
            (Some(here), Some(Ok(there))) => here.key().cmp(there.key()),
        };
        let here = if order.is_le() { self.here.next() } else { None };
        let there = if order.is_ge() { self.there.next() } else { None };
        Some(match (here, there) {
            (_, Some(Err(error))) => {
                self.has_failed = true;
                Err(error)
            }
            (Some(here), Some(Ok(there))) => Ok(together(here, there)),
            (Some(here), None) => Ok(Pair::Here(here)),
            (None, Some(Ok(there))) => Ok(Pair::There(there)),
            (None, None) => return None,
        })
    }
}

/// Two of the same key, and so of the same kind.
fn together(here: Item<LocalFile>, there: Item<StoredFile>) -> Pair {
    match (here.kind, there.kind) {
        (Kind::File(own), Kind::File(other)) => Pair::Files(here.path, own, other),
        _ => Pair::Folders(here.path),
    }
}

/// Are these the same, as far as can be said without reading any?
pub(super) fn glance(here: &LocalFile, there: &StoredFile, by: By) -> Glance {
    let has_same_time = here.modified_ms.is_some() && here.modified_ms == there.modified_ms;
    match by {
        _ if (here.bytes, here.is_link) != (there.bytes, there.is_link) => Glance::Different,
        By::Time if has_same_time => Glance::Same,
        By::Time | By::Digest => Glance::Digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Error;

    const SAME: Digest = Digest([1; 32]);

    fn here(path: &str) -> Item<LocalFile> {
        item(path, local(1, Some(5)))
    }

    fn there(path: &str) -> Item<StoredFile> {
        item(path, stored(1, Some(5)))
    }

    fn local(bytes: u64, modified_ms: Option<i64>) -> LocalFile {
        LocalFile { bytes, modified_ms, is_link: false }
    }

    fn stored(bytes: u64, modified_ms: Option<i64>) -> StoredFile {
        let version = VersionId([1; 16]);
        StoredFile { bytes, modified_ms, is_link: false, version, blake3: SAME }
    }

    /// A path that ends in `/` is an empty folder, in `/.` one that is not.
    fn item<F>(shown: &str, file: F) -> Item<F> {
        let folder = shown.strip_suffix('/').map(|path| (path, true));
        match folder.or_else(|| shown.strip_suffix("/.").map(|path| (path, false))) {
            Some((path, is_empty)) => Item { path: path.into(), kind: Kind::Folder { is_empty } },
            None => Item { path: shown.into(), kind: Kind::File(file) },
        }
    }

    /// `<`: only here, `>`: only there, `=`: on both sides.
    fn told(left: &[&str], right: &[&str]) -> Vec<String> {
        let right = right.iter().map(|path| Ok(there(path)));
        let pairs = pairs(left.iter().map(|path| here(path)), right);
        let shown = |pair: Result<Pair>| match pair.unwrap() {
            Pair::Here(item) => format!("< {}", shown(&item)),
            Pair::There(item) => format!("> {}", shown(&item)),
            Pair::Files(path, ..) => format!("= {path}"),
            Pair::Folders(path) => format!("= {path}/"),
        };
        pairs.map(shown).collect()
    }

    fn shown<F>(item: &Item<F>) -> String {
        let slash = if matches!(item.kind, Kind::Folder { .. }) { "/" } else { "" };
        format!("{}{slash}", item.path)
    }

    #[test]
    fn what_is_on_one_side_only_is_told_from_what_is_on_both() {
        assert_eq!(told(&["a", "c", "d"], &["b", "c", "e"]), ["< a", "> b", "= c", "< d", "> e"]);
        assert_eq!(told(&["a"], &[]), ["< a"]);
        assert_eq!(told(&[], &["a/", "b"]), ["> a/", "> b"]);
        assert!(told(&[], &[]).is_empty());
        assert_eq!(told(&[""], &[""]), ["= "], "each tree is one file");
    }

    #[test]
    fn a_folder_stands_before_its_contents_and_behind_names_that_sort_before_its_slash() {
        let left = ["a!", "a!x/.", "a!x/1", "a.txt", "a/.", "a/b", "a0"];
        let right = ["a!x/.", "a!x/2", "a/", "a0", "aa"];
        let expected =
            ["< a!", "= a!x/", "< a!x/1", "> a!x/2", "< a.txt", "= a/", "< a/b", "= a0", "> aa"];
        assert_eq!(told(&left, &right), expected);
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_are_no_pair() {
        let expected = ["< a", "< a.b", "> a/", "> a/x", "= b"];
        assert_eq!(told(&["a", "a.b", "b"], &["a/.", "a/x", "b"]), expected);
        assert_eq!(told(&["a/"], &["a"]), ["> a", "< a/"]);
    }

    #[test]
    fn any_two_trees_are_told_apart_as_sets_are() {
        let names = ["a", "a!", "a!/.", "a.b", "a/.", "a/b", "a/b/.", "a0", "b"];
        let mut names: Vec<Item<LocalFile>> = names.iter().map(|name| here(name)).collect();
        names.sort_by(|a, b| a.key().cmp(b.key()));
        let names: Vec<String> = names.iter().map(shown).collect();
        let chosen = |bits: usize| -> Vec<&str> {
            let of = |n: usize| (bits >> n & 1 == 1).then(|| names[n].as_str());
            (0..names.len()).filter_map(of).collect()
        };
        for bits in 0..1 << names.len() {
            let (left, right) = (chosen(bits), chosen(bits.wrapping_mul(181) % 512));
            let expected = names.iter().filter_map(|name| {
                let sides = (left.contains(&name.as_str()), right.contains(&name.as_str()));
                let sign = match sides {
                    (true, true) => '=',
                    (true, false) => '<',
                    (false, true) => '>',
                    (false, false) => return None,
                };
                Some(format!("{sign} {name}"))
            });
            assert_eq!(told(&left, &right), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn after_an_error_there_is_nothing_more() {
        let broken = || Err(Error::Protocol("no listing".into()));
        let right = [Ok(there("b")), broken(), Ok(there("c"))];
        let mut found = pairs(["a", "b", "d"].map(here).into_iter(), right.into_iter());
        assert!(matches!(found.next(), Some(Ok(Pair::Here(_)))));
        assert!(matches!(found.next(), Some(Ok(Pair::Files(..)))));
        assert!(matches!(found.next(), Some(Err(_))));
        assert!(found.next().is_none(), "what is not known is not only here");
    }

    #[test]
    fn a_digest_is_asked_for_where_size_and_time_do_not_decide() {
        let told =
            |bytes, modified_ms, by| glance(&local(bytes, modified_ms), &stored(7, Some(5)), by);
        assert_eq!(told(7, Some(5), By::Time), Glance::Same);
        assert_eq!(told(7, Some(6), By::Time), Glance::Digest);
        assert_eq!(told(7, None, By::Time), Glance::Digest);
        assert_eq!(told(7, Some(5), By::Digest), Glance::Digest);
        for by in [By::Time, By::Digest] {
            assert_eq!(told(8, Some(5), by), Glance::Different, "no digest can be the same");
        }
        assert_eq!(glance(&local(7, None), &stored(7, None), By::Time), Glance::Digest);
        let link = LocalFile { is_link: true, ..local(7, None) };
        assert_eq!(glance(&link, &stored(7, Some(5)), By::Time), Glance::Different);
        let other = StoredFile { is_link: true, ..stored(7, None) };
        assert_eq!(glance(&link, &other, By::Time), Glance::Digest, "a link has no time");
    }
}
