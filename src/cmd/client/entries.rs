//! How what is stored is shown: as a path, as a row with size, time and nodes, as an object for
//! programs.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};

use super::advice;
use super::transfer::rooted;
use crate::cmd::env::size;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, FolderPath, printable};
use crate::core::remote::Remote;
use crate::core::types::{NODE_COUNT, NodeSet};
use crate::core::wire::extended::{Entry, Extent, FileEntry, When};

/// More names than this nobody reads.
const NAMES_MAX: usize = 1000;

/// How a row tells the nodes that hold a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nodes {
    /// `4 of 4`
    Counted,
    /// `1,2,3,4`
    Named,
}

/// The folder of this name, for a verb that looks through it; `what` it could not do otherwise.
///
/// # Errors
/// [`Code::BadPath`].
pub(super) fn folder(text: &str, what: &str) -> Result<FolderPath, Failure> {
    FolderPath::parse_rooted(text).map_err(|error| advice::failure(what, &error.into()))
}

/// Shows what is at a path or below it, as it comes.
///
/// # Errors
/// The first of `show`; those of listing, as what could not be done.
pub(super) fn walk(
    remote: &mut Remote,
    path: &FolderPath,
    extent: Extent,
    at: Option<When>,
    what: &str,
    show: &mut dyn FnMut(Entry) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut stop = None;
    let listed = remote.list_at(path, extent, at, &mut |entry| {
        // Only a text of this side's is lost here: `stop` has the reason.
        show(entry).map_err(|why| {
            stop = Some(why);
            Error::other(Code::Interrupted, "nobody reads the listing")
        })
    });
    match stop {
        Some(stop) => Err(stop),
        None => Ok(listed.map_err(|error| advice::failure(what, &error))?),
    }
}

/// `/a/b`, safe to print.
pub(super) fn line(entry: &Entry) -> String {
    match entry {
        Entry::Folder(folder) => format!("/{folder}"),
        Entry::File(file) => format!("/{}", file.path),
    }
}

/// The same with size, time and nodes before it; a folder ends in `/`, a link in `@`.
pub(super) fn row(entry: &Entry, nodes: Nodes) -> String {
    let (bytes, stored, nodes) = match entry {
        Entry::Folder(_) => Default::default(),
        Entry::File(FileEntry { bytes, stored_ms, placed, .. }) => {
            (size(*bytes), time(*stored_ms), told(*placed, nodes))
        }
    };
    let ending = match entry {
        Entry::Folder(folder) if !folder.is_top() => "/",
        Entry::File(file) if file.attributes.is_link() => "@",
        _ => "",
    };
    format!("{bytes:>9}  {stored:16}  {nodes:8}  {}{ending}", line(entry))
}

/// Its own name, as people see it in a list of what is in one folder; a folder's ends in `/`.
pub(super) fn name(entry: &Entry) -> String {
    match entry {
        Entry::Folder(folder) => match FilePath::parse_rooted(folder.as_str()) {
            Ok(path) => format!("{}/", path.name()),
            Err(_) => "/".to_owned(), // the top folder has no name
        },
        Entry::File(file) => file.path.name().to_owned(),
    }
}

/// The names of what lies in a folder, for Tab: those that can be typed as they are shown, as many as
/// somebody may want to look at, and as far as the server gives them.
pub(super) fn names(remote: &mut Remote, folder: &FolderPath) -> Vec<String> {
    let mut names = Vec::new();
    let _ = remote.list_below(folder, Extent::Children, &mut |entry| {
        let name = name(&entry);
        if names.len() < NAMES_MAX && printable(&name) == name {
            names.push(name);
        }
        Ok(())
    });
    names
}

fn told(placed: NodeSet, nodes: Nodes) -> String {
    match nodes {
        Nodes::Counted => format!("{} of {NODE_COUNT}", placed.len()),
        Nodes::Named => placed.iter().map(|node| node.to_string()).collect::<Vec<_>>().join(","),
    }
}

/// By this machine's clock and zone.
fn time(stored_ms: i64) -> String {
    match Timestamp::from_millisecond(stored_ms) {
        Ok(time) => Zoned::new(time, TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// For programs.
pub(super) fn object(entry: &Entry) -> Value {
    match entry {
        Entry::Folder(folder) => json!({"kind": "folder", "path": format!("/{}", folder.as_str())}),
        Entry::File(file) => {
            let nodes: Vec<u8> = file.placed.iter().map(|node| node.number()).collect();
            let kind = if file.attributes.is_link() { "link" } else { "file" };
            json!({"kind": kind, "path": rooted(&file.path), "bytes": file.bytes,
                   "stored_ms": file.stored_ms, "modified_ms": file.attributes.modified_ms,
                   "version": file.version.to_string(), "blake3": file.blake3.to_string(),
                   "nodes": nodes})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::{Digest, VersionId};

    fn file(bytes: u64) -> Entry {
        Entry::File(FileEntry {
            path: FilePath::parse_rooted("up/a\u{202e}b").unwrap(),
            bytes,
            stored_ms: 1_700_000_000_000,
            version: VersionId([1; 16]),
            blake3: Digest([2; 32]),
            placed: NodeSet::from_bits(0b1011),
            attributes: Default::default(),
        })
    }

    #[test]
    fn rows_stand_below_each_other_and_say_on_how_many_nodes_a_file_is() {
        let folder = Entry::Folder(FolderPath::parse("up").unwrap());
        let rows = [row(&file(0), Nodes::Counted), row(&file(u64::MAX), Nodes::Counted)];
        let at = |row: &str| row.find("/up").unwrap();
        assert_eq!(at(&rows[0]), at(&row(&folder, Nodes::Counted)));
        assert_eq!(at(&rows[0]), at(&rows[1]));
        assert!(rows[0].starts_with("      0 B  2023-11-1") && rows[0].contains("  3 of 4  "));
        assert!(row(&file(7), Nodes::Named).contains("  1,2,4  "));
        assert!(row(&folder, Nodes::Named).ends_with(" /up/"));
        assert!(row(&Entry::Folder(FolderPath::top()), Nodes::Named).ends_with("  /"));
    }

    #[test]
    fn a_name_from_elsewhere_does_not_turn_the_line_around() {
        assert!(!row(&file(1), Nodes::Counted).contains('\u{202e}'));
        assert!(!line(&file(1)).contains('\u{202e}'));
        assert_eq!(name(&Entry::Folder(FolderPath::parse("a/b").unwrap())), "b/");
    }

    #[test]
    fn a_programs_object_has_the_version() {
        assert_eq!(object(&file(7))["version"], "01".repeat(16));
    }
}
