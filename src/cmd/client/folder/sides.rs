//! The two sides of a comparison as streams of one order: a local folder as it is walked through, and a
//! stored one as it was listed. Either may be a single file.
//!
//! The listing is put into a file without a name first: the server waits for nobody who reads files
//! between two lines of it, and a long listing is never in memory.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use super::super::local::{attributes_of, nameless};
use super::compare::{Item, Kind, LocalFile, StoredFile};
use super::walk::{Found, LeftOut, Links, Patterns, walk};
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;
use crate::core::path::FolderPath;
use crate::core::remote::Remote;
use crate::core::wire::extended::{Entry, Extent};

/// What a tree is at its top.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Top {
    File,
    Folder,
    Missing,
}

/// What a walk has come to that is no part of the tree.
#[derive(Default, Debug)]
pub(super) struct Aside {
    pub(super) left_out: LeftOut,
    /// What could not be looked at.
    pub(super) bad: Vec<(PathBuf, Error)>,
    /// Stored links that are left out: what is here under their names is not only here.
    pub(super) stored_links: HashSet<String>,
}

/// What a local path leads to.
///
/// # Errors
/// [`Code::LocalFile`] if it is neither a file nor a folder, or cannot be looked at.
pub(super) fn local_top(root: &Path) -> Result<Top> {
    match fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(Top::Folder),
        Ok(found) if found.is_file() => Ok(Top::File),
        Ok(_) => Err(Error::other(Code::LocalFile, "it is neither a folder nor a regular file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Top::Missing),
        Err(error) => Err(Error::other(Code::LocalFile, reason(&error))),
    }
}

/// Where something in a local tree is.
pub(super) fn local_path(root: &Path, below: &str) -> PathBuf {
    if below.is_empty() { root.to_owned() } else { root.join(below) }
}

/// What is at a path of a local tree, or above it, and is no part of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    Link,
    Special,
}

impl Obstacle {
    /// Why nothing is done there.
    pub(super) fn error(self) -> Error {
        let text = match self {
            Obstacle::Link => "a symbolic link is in its place or above it",
            Obstacle::Special => "a pipe, a socket or a device is in its place",
        };
        Error::other(Code::LocalFile, text)
    }
}

/// What is in the way at a path of a local tree. The top may be a link, which somebody has named; where
/// links are kept as such, one that is there itself gives way.
pub(super) fn obstacle(root: &Path, below: &str, links: Links) -> Option<Obstacle> {
    let ends = below.match_indices('/').map(|(end, _)| end).chain([below.len()]);
    ends.filter(|end| *end > 0).find_map(|end| {
        let kind = fs::symlink_metadata(root.join(&below[..end])).ok()?.file_type();
        match (kind.is_symlink(), kind.is_file() || kind.is_dir()) {
            (true, _) if links == Links::Store && end == below.len() => None,
            (true, _) => Some(Obstacle::Link),
            (false, true) => None,
            (false, false) => Some(Obstacle::Special),
        }
    })
}

/// What is in a local folder.
pub(super) fn local_items(
    root: &Path,
    patterns: Patterns,
    links: Links,
    aside: &RefCell<Aside>,
) -> impl Iterator<Item = Item<LocalFile>> {
    walk(root, patterns, links).filter_map(move |found| {
        let mut aside = aside.borrow_mut();
        let (path, kind) = match found {
            Found::File(path, found) => {
                let modified_ms = attributes_of(&found).modified_ms;
                let bytes = found.len();
                (path, Kind::File(LocalFile { bytes, modified_ms, is_link: false }))
            }
            Found::Link(path, found) if links == Links::Store => {
                let bytes = found.len();
                (path, Kind::File(LocalFile { bytes, modified_ms: None, is_link: true }))
            }
            Found::Folder { path, is_empty } => (path, Kind::Folder { is_empty }),
            Found::Link(..) => {
                aside.left_out.links += 1;
                return None;
            }
            Found::Special => {
                aside.left_out.others += 1;
                return None;
            }
            Found::Bad(path, error) => {
                aside.bad.push((path, error));
                return None;
            }
        };
        match path.strip_prefix(root).unwrap_or(&path).to_str() {
            Some(below) => Some(Item { path: below.to_owned(), kind }),
            None => {
                let error = Error::other(Code::BadPath, "its name is not UTF-8 text");
                aside.bad.push((path, error));
                None
            }
        }
    })
}

/// A listing that was put aside.
pub(super) struct Listing {
    file: File,
    root: FolderPath,
    pub(super) top: Top,
    /// How many files and folders are in it.
    pub(super) count: u64,
}

impl Listing {
    /// Asks for what is at a path and below it.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if there is no room for it; those of any request.
    pub(super) fn take(remote: &mut Remote, root: &FolderPath) -> Result<Listing> {
        let folder = std::env::temp_dir();
        let failed = |error: std::io::Error| {
            let text =
                format!("cannot note the listing in {}: {}", folder.display(), reason(&error));
            Error::other(Code::LocalFile, text)
        };
        let mut out = BufWriter::new(nameless(&folder).map_err(failed)?);
        let mut count = 0;
        let mut note = |entry: Entry| {
            count += 1;
            writeln!(out, "{}", entry.encode(true)).map_err(failed)
        };
        let top = match remote.look(root) {
            Ok(Entry::Folder(_)) => Top::Folder,
            Ok(Entry::File(_)) => Top::File,
            Err(error) if matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder) => {
                Top::Missing
            }
            Err(error) => return Err(error),
        };
        if top != Top::Missing {
            remote.list_below(root, Extent::All, &mut note)?;
        }
        let mut file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        Ok(Listing { file, root: root.clone(), top, count })
    }

    /// What was listed, without what is left out: links are, unless they are kept as such.
    pub(super) fn items(
        self,
        patterns: Patterns,
        links: Links,
        aside: &RefCell<Aside>,
    ) -> impl Iterator<Item = Result<Item<StoredFile>>> {
        let Listing { file, root, top, .. } = self;
        let entries = BufReader::new(file).lines().map(move |line| {
            let unreadable = |error: std::io::Error| {
                Error::other(
                    Code::LocalFile,
                    format!("cannot read the listing: {}", reason(&error)),
                )
            };
            raw_item(Entry::decode(&line.map_err(unreadable)?)?, &root, top)
        });
        let sorted = InOrder { entries, next: None, held: Vec::new(), last: None };
        sorted.filter(move |item| {
            let is_left_out = |item: &Item<StoredFile>| {
                patterns.leave_out(&item.path, matches!(item.kind, Kind::Folder { .. }))
            };
            let Ok(item) = item else { return true };
            if is_left_out(item) {
                return false;
            }
            let is_link = matches!(&item.kind, Kind::File(file) if file.is_link);
            if is_link && links != Links::Store {
                let mut aside = aside.borrow_mut();
                aside.left_out.links += 1;
                aside.stored_links.insert(item.path.clone());
                return false;
            }
            true
        })
    }
}

/// An entry as it is seen from the top of the tree. Of no folder is it known yet whether it is empty.
fn raw_item(entry: Entry, root: &FolderPath, top: Top) -> Result<Item<StoredFile>> {
    let (path, kind) = match entry {
        Entry::Folder(folder) => (folder.as_str().to_owned(), Kind::Folder { is_empty: true }),
        Entry::File(file) => {
            let is_link = file.attributes.is_link();
            let kind = Kind::File(StoredFile {
                bytes: file.bytes,
                modified_ms: file.attributes.modified_ms.filter(|_| !is_link),
                is_link,
                version: file.version,
                blake3: file.blake3,
            });
            (file.path.as_str().to_owned(), kind)
        }
    };
    let below = match (root.as_str(), top) {
        (own, Top::File) => path.strip_prefix(own),
        ("", _) => Some(path.as_str()),
        (own, _) => path.strip_prefix(own).and_then(|rest| rest.strip_prefix('/')),
    };
    let elsewhere = || Error::Protocol("the listing names what was not asked for".into());
    let below = below.filter(|below| below.is_empty() == (top == Top::File));
    Ok(Item { path: below.ok_or_else(elsewhere)?.to_owned(), kind })
}

/// Brings a listing into the order of a comparison. It is sorted by whole paths, so a folder comes in it
/// before `folder!`, and what is in the folder behind that.
struct InOrder<I> {
    entries: I,
    /// What was read and has not come yet.
    next: Option<Item<StoredFile>>,
    /// Folders that have been listed and whose contents come later. Each is a beginning of the next one.
    held: Vec<String>,
    /// Of the entry before. A listing that is not sorted would have files missing.
    last: Option<String>,
}

impl<I: Iterator<Item = Result<Item<StoredFile>>>> InOrder<I> {
    /// Reads one more, unless there is one.
    fn read_on(&mut self) -> Result<()> {
        if self.next.is_some() {
            return Ok(());
        }
        let Some(item) = self.entries.next().transpose()? else { return Ok(()) };
        if self.last.as_ref().is_some_and(|last| *last >= item.path) {
            return Err(Error::Protocol("the listing is not sorted".into()));
        }
        self.last = Some(item.path.clone());
        self.next = Some(item);
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Item<StoredFile>>> {
        loop {
            self.read_on()?;
            let next = self.next.as_ref().map(|item| item.path.as_str());
            let comes = |folder: &mut String| {
                next.is_none_or(|next| folder.bytes().chain([b'/']).lt(next.bytes()))
            };
            if let Some(path) = self.held.pop_if(comes) {
                let rest = next.and_then(|next| next.strip_prefix(path.as_str()));
                let is_empty = !rest.is_some_and(|rest| rest.starts_with('/'));
                return Ok(Some(Item { path, kind: Kind::Folder { is_empty } }));
            }
            match self.next.take() {
                Some(Item { path, kind: Kind::Folder { .. } }) => self.held.push(path),
                other => return Ok(other),
            }
        }
    }
}

impl<I: Iterator<Item = Result<Item<StoredFile>>>> Iterator for InOrder<I> {
    type Item = Result<Item<StoredFile>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::{Digest, VersionId};

    fn raw(shown: &str) -> Item<StoredFile> {
        let (version, blake3) = (VersionId([1; 16]), Digest([1; 32]));
        let file = StoredFile { bytes: 1, modified_ms: None, is_link: false, version, blake3 };
        match shown.strip_suffix('/') {
            Some(path) => Item { path: path.into(), kind: Kind::Folder { is_empty: true } },
            None => Item { path: shown.into(), kind: Kind::File(file) },
        }
    }

    fn in_order(listing: &[&str]) -> Result<Vec<String>> {
        let entries = listing.iter().map(|shown| Ok(raw(shown)));
        let sorted = InOrder { entries, next: None, held: Vec::new(), last: None };
        let shown = |item: Item<StoredFile>| match item.kind {
            Kind::File(_) => item.path,
            Kind::Folder { is_empty: false } => format!("{}/", item.path),
            Kind::Folder { is_empty: true } => format!("{}/ empty", item.path),
        };
        sorted.map(|item| item.map(shown)).collect()
    }

    #[test]
    fn a_folder_comes_directly_before_its_contents() {
        let listed = ["a/", "a!/", "a!/ /", "a!/ /y", "a!/x", "a!b", "a.txt", "a/b/", "a/c", "b/"];
        let expected = [
            "a!/",
            "a!/ /",
            "a!/ /y",
            "a!/x",
            "a!b",
            "a.txt",
            "a/",
            "a/b/ empty",
            "a/c",
            "b/ empty",
        ];
        assert_eq!(in_order(&listed).unwrap(), expected);
        assert_eq!(in_order(&["a/", "a!/"]).unwrap(), ["a!/ empty", "a/ empty"]);
        assert!(in_order(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_listing_that_is_not_sorted_is_refused() {
        for listed in [&["b", "a"][..], &["a", "a"], &["a/", "a/c", "a/b"]] {
            assert_eq!(in_order(listed).unwrap_err().code(), Code::Version, "{listed:?}");
        }
    }

    #[test]
    fn an_entry_is_seen_from_the_top_of_its_tree() {
        let below = |root: &str, path: &str, top| {
            let entry = Entry::Folder(FolderPath::parse(path).unwrap());
            raw_item(entry, &FolderPath::parse(root).unwrap(), top).map(|item| item.path)
        };
        assert_eq!(below("", "a/b", Top::Folder).unwrap(), "a/b");
        assert_eq!(below("a", "a/b", Top::Folder).unwrap(), "b");
        assert_eq!(below("a/b", "a/b", Top::File).unwrap(), "");
        for (root, path, top) in [
            ("a", "ab", Top::Folder),
            ("a", "a", Top::Folder),
            ("a", "b/c", Top::Folder),
            ("a", "a/b", Top::File),
        ] {
            assert!(below(root, path, top).is_err(), "{path} in {root}");
        }
    }
}
