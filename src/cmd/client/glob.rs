//! Patterns on the names of what is stored: those of `find`, and those that other verbs take in the place of
//! a path.
//!
//! Invariant: a name wins over a pattern. What is stored under the very name `a[1].txt` is meant by it,
//! whatever else the pattern `a[1].txt` would match.

use std::collections::HashSet;

use globset::{GlobBuilder, GlobMatcher};

use super::connection::Connection;
use super::settings::Common;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath, PathError, printable};
use crate::core::remote::Remote;
use crate::core::wire::extended::{Entry, Extent, When};

/// So many names of what a pattern matches are shown in a question.
const SHOWN_MAX: usize = 10;

/// What names or paths look like.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) text: String,
    matcher: GlobMatcher,
    /// Is it about whole paths?
    of_paths: bool,
}

impl Pattern {
    /// One of whole paths if there is a `/` in it, else one of names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> std::result::Result<Pattern, String> {
        let glob = GlobBuilder::new(text.strip_prefix('/').unwrap_or(text))
            .literal_separator(true)
            .build()
            .map_err(|error| error.kind().to_string())?;
        let (text, of_paths) = (text.to_owned(), text.contains('/'));
        Ok(Pattern { text, matcher: glob.compile_matcher(), of_paths })
    }

    /// Does a path match, seen from a folder that it lies in?
    pub(super) fn fits(&self, path: &str, below: &FolderPath) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        if !self.of_paths {
            return self.matcher.is_match(name);
        }
        // What was asked for may be one file.
        let inner = path.strip_prefix(below.as_str()).unwrap_or(path).trim_start_matches('/');
        self.matcher.is_match(if inner.is_empty() { name } else { inner })
    }
}

/// What of that which matches is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meant {
    Files,
    /// Files and folders; what is in a folder that matches is meant with it.
    Trees,
    /// Everything that matches.
    Entries,
}

/// A pattern in the place of a path. It is of whole paths, as in a shell: `*` stays in one folder.
#[derive(Debug)]
pub(super) struct Glob {
    /// The folder that everything that can match lies in.
    folder: FolderPath,
    pattern: Pattern,
    /// May it match something that lies deeper in that folder?
    is_deep: bool,
}

impl Glob {
    /// The pattern that a path is, if it is one; `folder` knows which folder a path means.
    pub(super) fn parse(
        text: &str,
        folder: impl FnOnce(&str) -> Option<FolderPath>,
    ) -> Option<Glob> {
        let first = text.find(['*', '?', '[', '{'])?;
        let begin = text[..first].rfind('/').map_or(0, |at| at + 1);
        let (above, rest) = text.split_at(begin);
        let is_deep = rest.contains('/') || rest.contains("**");
        let pattern = Pattern { of_paths: true, ..Pattern::parse(rest).ok()? };
        Some(Glob { folder: folder(above)?, pattern, is_deep })
    }

    /// What matches, in the order of paths.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if nothing does; those of listing.
    pub(super) fn matches(
        &self,
        remote: &mut Remote,
        meant: Meant,
        at: Option<When>,
    ) -> Result<Vec<Entry>> {
        let extent = if self.is_deep { Extent::All } else { Extent::Children };
        let mut found = Vec::new();
        let mut take = |entry: Entry| {
            let is_meant = matches!(entry, Entry::File(_)) || meant != Meant::Files;
            let path = path_of(&entry);
            // A file in the place of the folder has nothing in it.
            let is_below = path != self.folder.as_str();
            let matches = is_meant && is_below && self.pattern.fits(path, &self.folder);
            found.extend(matches.then_some(entry));
            Ok(())
        };
        match remote.list_at(&self.folder, extent, at, &mut take) {
            Err(error) if matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder) => {}
            listed => listed?,
        }
        if meant == Meant::Trees {
            leave_out_contents(&mut found);
        }
        match found.is_empty() {
            true => {
                Err(Error::other(Code::NoSuchFile, "nothing that is stored matches this pattern"))
            }
            false => Ok(found),
        }
    }
}

/// Leaves out what lies in a folder that is among them.
fn leave_out_contents(found: &mut Vec<Entry>) {
    let folders: HashSet<String> = found
        .iter()
        .filter_map(|entry| match entry {
            Entry::Folder(folder) => Some(folder.as_str().to_owned()),
            Entry::File(_) => None,
        })
        .collect();
    found.retain(|entry| {
        let path = path_of(entry);
        path.match_indices('/').all(|(end, _)| !folders.contains(&path[..end]))
    });
}

/// The path of what matches, from the top folder.
pub(super) fn path_of(entry: &Entry) -> &str {
    match entry {
        Entry::File(file) => file.path.as_str(),
        Entry::Folder(folder) => folder.as_str(),
    }
}

/// One thing that the paths of a verb name.
#[derive(Debug)]
pub(super) struct Named {
    /// For people: as it was typed, or what matches.
    pub(super) text: String,
    pub(super) path: Result<FilePath>,
    /// Was it found by a pattern?
    pub(super) is_match: bool,
}

impl Named {
    fn literal(text: &str) -> Named {
        let path = FilePath::parse_rooted(text).map_err(Error::from);
        Named { text: text.to_owned(), path, is_match: false }
    }

    fn of(path: FilePath) -> Named {
        Named { text: path.as_str().to_owned(), path: Ok(path), is_match: false }
    }

    fn matching(entry: &Entry) -> Named {
        Named { is_match: true, ..Named::literal(path_of(entry)) }
    }
}

/// Connects, and finds out what the paths of a verb name. No connection is made for paths none of which
/// can be one.
///
/// # Errors
/// Those of connecting and signing in.
pub(super) fn open(
    texts: &[String],
    meant: Meant,
    at: Option<&When>,
    common: &Common,
    env: &mut Env,
) -> std::result::Result<(Option<Connection>, Vec<Named>), Stop> {
    let literal: Vec<Named> = texts.iter().map(|text| Named::literal(text)).collect();
    if literal.iter().all(|named| named.path.is_err() && top_glob(&named.text).is_none()) {
        return Ok((None, literal));
    }
    let mut connection = Connection::open(common, env)?;
    let mut taken = HashSet::new();
    let named = texts.iter().flat_map(|text| expand(&mut connection, text, meant, at));
    // Two patterns may match the same; the same name twice is somebody's mistake.
    let is_new = |named: &Named| taken.insert(named.text.clone()) || !named.is_match;
    let named = named.filter(is_new).collect();
    Ok((Some(connection), named))
}

/// What one path names: itself if it is stored or no pattern, else what matches.
fn expand(connection: &mut Connection, text: &str, meant: Meant, at: Option<&When>) -> Vec<Named> {
    match connection.remote().and_then(|remote| matches(remote, text, meant, at)) {
        Ok(None) => vec![Named::literal(text)],
        Ok(Some(entries)) => entries.iter().map(Named::matching).collect(),
        Err(error) => vec![Named { text: text.to_owned(), path: Err(error), is_match: false }],
    }
}

/// What matches a path; `None` if it is no pattern, or stored under this very name.
///
/// # Errors
/// As [`Glob::matches`].
pub(super) fn matches(
    remote: &mut Remote,
    text: &str,
    meant: Meant,
    at: Option<&When>,
) -> Result<Option<Vec<Entry>>> {
    let literal = FilePath::parse_rooted(text).ok();
    matches_unless_stored(remote, top_glob(text), literal.as_ref(), meant, at)
}

/// What matches a pattern; `None` if there is none, or something is stored under its very name.
fn matches_unless_stored(
    remote: &mut Remote,
    glob: Option<Glob>,
    literal: Option<&FilePath>,
    meant: Meant,
    at: Option<&When>,
) -> Result<Option<Vec<Entry>>> {
    let Some(glob) = glob else { return Ok(None) };
    match literal {
        Some(path) if is_stored(remote, &path.as_folder(), at)? => Ok(None),
        _ => glob.matches(remote, meant, at.cloned()).map(Some),
    }
}

fn top_glob(text: &str) -> Option<Glob> {
    Glob::parse(text, |above| FolderPath::parse_rooted(above).ok())
}

/// What a path of a session names, which knows which folders its paths mean: itself if it is stored or no
/// pattern, else what matches.
///
/// # Errors
/// As [`Glob::matches`]; [`Code::BadPath`].
pub(super) fn named(
    remote: &mut Remote,
    text: &str,
    literal: std::result::Result<FilePath, PathError>,
    meant: Meant,
    folder: impl FnOnce(&str) -> Option<FolderPath>,
) -> Result<Vec<Named>> {
    let glob = Glob::parse(text, folder);
    match matches_unless_stored(remote, glob, literal.as_ref().ok(), meant, None)? {
        Some(found) => Ok(found.iter().map(Named::matching).collect()),
        None => Ok(vec![Named::of(literal?)]),
    }
}

/// Is something stored under this very name?
///
/// # Errors
/// Those of looking, but for that it is not there.
pub(super) fn is_stored(remote: &mut Remote, path: &FolderPath, at: Option<&When>) -> Result<bool> {
    match remote.look_at(path, at.cloned()) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder) => Ok(false),
        Err(error) => Err(error),
    }
}

/// For a question: `a, b and 12 more`.
pub(super) fn shown<'a>(paths: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = paths.len().saturating_sub(SHOWN_MAX);
    let shown: Vec<String> = paths.take(SHOWN_MAX).map(printable).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(glob: &str, below: &str, path: &str) -> bool {
        Pattern::parse(glob).unwrap().fits(path, &FolderPath::parse(below).unwrap())
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_cross_folders() {
        for (glob, below, path, expected) in [
            ("*.txt", "", "a.txt", true),
            ("*.txt", "", "up/deep/a.txt", true),
            ("*.txt", "up", "up/deep/a.txt", true),
            ("*.txt", "", "a.txt/b", false),
            ("*", "", ".hidden", true),
            ("A*", "", "a", false),
            ("up/*.txt", "", "up/a.txt", true),
            ("/up/*.txt", "", "up/a.txt", true),
            ("up/*.txt", "", "up/deep/a.txt", false),
            ("up/**/*.txt", "", "up/deep/er/a.txt", true),
            ("up/**/*.txt", "", "up/a.txt", true),
            ("**/deep", "", "up/deep", true),
            ("deep/*", "up", "up/deep/a", true),
            ("deep/*", "", "up/deep/a", false),
            ("/*", "", "a", true),
            ("/*", "", "up/a", false),
            ("/*", "up", "up/a", true),
            ("[ab]?.{jpg,png}", "", "x/b1.png", true),
            ("[ab]?.{jpg,png}", "", "x/c1.png", false),
            ("a\\*", "", "a*", true),
            ("a\\*", "", "ab", false),
            ("/a*", "up/a.txt", "up/a.txt", true),
        ] {
            assert_eq!(fits(glob, below, path), expected, "{glob} in /{below}: {path}");
        }
        assert!(Pattern::parse("[a").is_err() && Pattern::parse("{a").is_err());
    }

    #[test]
    fn a_pattern_in_the_place_of_a_path_is_of_whole_paths() {
        for (text, folder, path, expected) in [
            ("*.txt", "", "a.txt", true),
            ("*.txt", "", "up/a.txt", false),
            ("/up/*.txt", "up", "up/a.txt", true),
            ("up/*.txt", "up", "up/deep/a.txt", false),
            ("up/**", "up", "up/deep/a.txt", true),
            ("a/b*/c", "a", "a/bb/c", true),
            ("a/b*/c", "a", "a/bb/c/d", false),
            ("a/{b,c/d}/*", "a", "a/c/d/e", true),
        ] {
            let glob = top_glob(text).unwrap();
            assert_eq!(glob.folder.as_str(), folder, "{text}");
            assert_eq!(glob.pattern.fits(path, &glob.folder), expected, "{text}: {path}");
        }
        assert_eq!(
            ["a/*", "a/*/b", "**"].map(|text| top_glob(text).unwrap().is_deep),
            [false, true, true]
        );
        for text in ["a", "up/a.txt", "a[", "../*", "a//*"] {
            assert!(top_glob(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_folder_that_matches_stands_for_what_is_in_it() {
        let folder = |path| Entry::Folder(FolderPath::parse(path).unwrap());
        let mut found: Vec<Entry> = ["a", "a.b", "a/c", "a/c/d", "ab", "b/c"].map(folder).into();
        leave_out_contents(&mut found);
        let left: Vec<&str> = found.iter().map(path_of).collect();
        assert_eq!(left, ["a", "a.b", "ab", "b/c"]);
    }

    #[test]
    fn a_question_shows_some_names_and_counts_the_rest() {
        assert_eq!(shown(["a", "b"].into_iter()), "a, b");
        let many = ["x"; 12];
        assert!(shown(many.into_iter()).ends_with("x, x and 2 more"));
    }
}
