//! Names and paths, valid by construction: once a [`UserName`], [`FolderPath`] or [`FilePath`]
//! exists, it cannot leave its user's folder, whatever a client typed or sent.
//!
//! Paths are relative to the user's top folder and written with `/`; the top folder itself is the
//! empty path. A path is parsed where it enters the program, and only the types travel on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::types::Block;

/// The longest user name, in bytes.
pub const USER_NAME_BYTES_MAX: usize = 64;
/// The longest path component, in bytes. Leaves room for `_A1` within the 255 that file systems give.
pub const NAME_BYTES_MAX: usize = 240;
/// The longest path with all its components, in bytes. A node appends it to its own folder and the
/// user's, and systems take 4,095 bytes for all of that: see `ROOT_BYTES_MAX` of a node's store.
pub const PATH_BYTES_MAX: usize = 3584;
/// The most components in a path, the file's own name included.
pub const PATH_DEPTH_MAX: usize = 64;

const _: () = assert!(NAME_BYTES_MAX + "_A1".len() <= 255);

/// A user name that nodes keep for themselves (the catalog's backup lies there).
const RESERVED_USER: &str = "backup";

/// Why a name or path is not one. Its text is shown to people as it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum PathError {
    #[error(
        "a user name is 1 to {USER_NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - and does not start with a dot"
    )]
    UserName,
    #[error("the user name {RESERVED_USER:?} is reserved")]
    ReservedUser,
    #[error("a name must not be empty")]
    EmptyName,
    #[error("a name is at most {NAME_BYTES_MAX} bytes long, this one has {0}")]
    LongName(usize),
    #[error("a name must not contain {0}")]
    BadCharacter(&'static str),
    #[error("{0:?} is not a name: a path must not leave the user's folder")]
    Dots(String),
    #[error("a path is at most {PATH_BYTES_MAX} bytes long, this one has {0}")]
    LongPath(usize),
    #[error("a path has at most {PATH_DEPTH_MAX} parts, this one has {0}")]
    DeepPath(usize),
    #[error("a path is relative to your own folder: leave out the first \"/\"")]
    Absolute,
    #[error("a path must not contain an empty part (\"//\")")]
    EmptyPart,
    #[error("a path that ends in \"/\" is a folder's: add the name of the file")]
    NoName,
}

/// A user's name, which is also the name of that user's top folder on every node.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// # Errors
    /// [`PathError`] if the name is empty, too long, reserved or has other characters than allowed.
    pub fn parse(text: &str) -> Result<UserName, PathError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty()
            || text.len() > USER_NAME_BYTES_MAX
            || text.starts_with('.')
            || !text.chars().all(allowed)
        {
            return Err(PathError::UserName);
        }
        // Case-folding file systems would otherwise let a user named `Backup` into the backups.
        if text.eq_ignore_ascii_case(RESERVED_USER) {
            return Err(PathError::ReservedUser);
        }
        Ok(UserName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A folder below a user's top folder; the empty path is the top folder itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FolderPath(String);

impl FolderPath {
    /// The user's top folder.
    pub fn top() -> FolderPath {
        FolderPath::default()
    }

    /// Parses `a/b`; one `/` at the end is let pass, one at the beginning is refused.
    ///
    /// # Errors
    /// [`PathError`] naming what is wrong with it.
    pub fn parse(text: &str) -> Result<FolderPath, PathError> {
        if text.is_empty() {
            return Ok(FolderPath::top());
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        check_path(text)?;
        Ok(FolderPath(text.to_owned()))
    }

    /// Parses `a/b` and `/a/b` alike, for people and clients that count from the user's top folder.
    ///
    /// # Errors
    /// [`PathError`] naming what is wrong with it.
    pub fn parse_rooted(text: &str) -> Result<FolderPath, PathError> {
        FolderPath::parse(text.strip_prefix('/').unwrap_or(text))
    }

    /// The path as text, without a `/` at either end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is this the user's top folder?
    pub fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// The file or folder of this name in here.
    ///
    /// # Errors
    /// [`PathError`] if the name is not one, or the whole becomes too long or too deep.
    pub fn join(&self, name: &str) -> Result<FilePath, PathError> {
        check_name(name)?;
        let whole = if self.is_top() { name.to_owned() } else { format!("{}/{name}", self.0) };
        check_path(&whole)?;
        Ok(FilePath(whole))
    }

    /// This folder's own name and the folder it lies in; nothing for the top folder.
    pub fn split(&self) -> Option<(FolderPath, &str)> {
        (!self.is_top()).then(|| split_last(&self.0))
    }

    /// This folder and every folder above it but the top one, outermost first.
    pub fn ancestry(&self) -> Vec<FolderPath> {
        let mut cuts: Vec<usize> = self.0.match_indices('/').map(|(at, _)| at).collect();
        if !self.is_top() {
            cuts.push(self.0.len());
        }
        cuts.into_iter().map(|at| FolderPath(self.0[..at].to_owned())).collect()
    }

    /// Is this that folder itself, or anywhere in it?
    pub fn is_within(&self, folder: &FolderPath) -> bool {
        let Some(rest) = self.0.strip_prefix(&folder.0) else { return false };
        folder.is_top() || rest.is_empty() || rest.starts_with('/')
    }
}

/// A file below a user's top folder: a folder and a name. Never empty.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);

impl FilePath {
    /// Parses `a/b/name` and `/a/b/name` alike.
    ///
    /// # Errors
    /// [`PathError`] naming what is wrong with it.
    pub fn parse_rooted(text: &str) -> Result<FilePath, PathError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if let Some(folder) = text.strip_suffix('/')
            && check_path(folder).is_ok()
        {
            return Err(PathError::NoName);
        }
        check_path(text)?;
        Ok(FilePath(text.to_owned()))
    }

    /// The path as text, without a `/` at the beginning.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn name(&self) -> &str {
        split_last(&self.0).1
    }

    /// All but the last part.
    pub fn folder(&self) -> FolderPath {
        split_last(&self.0).0
    }

    /// The same path taken as a folder.
    pub fn as_folder(&self) -> FolderPath {
        FolderPath(self.0.clone())
    }
}

fn split_last(path: &str) -> (FolderPath, &str) {
    match path.rsplit_once('/') {
        Some((folder, name)) => (FolderPath(folder.to_owned()), name),
        None => (FolderPath::top(), path),
    }
}

fn check_path(path: &str) -> Result<(), PathError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(PathError::LongPath(path.len()));
    }
    let depth = path.split('/').count();
    if depth > PATH_DEPTH_MAX {
        return Err(PathError::DeepPath(depth));
    }
    path.split('/').try_for_each(|part| match check_name(part) {
        Err(PathError::EmptyName) if depth > 1 => Err(PathError::EmptyPart),
        other => other,
    })
}

fn check_name(name: &str) -> Result<(), PathError> {
    if name.is_empty() {
        return Err(PathError::EmptyName);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(PathError::LongName(name.len()));
    }
    if name == "." || name == ".." {
        return Err(PathError::Dots(name.to_owned()));
    }
    match name.chars().find(|c| matches!(c, '/' | '\\') || c.is_control()) {
        Some('/') => Err(PathError::BadCharacter("\"/\"")),
        Some('\\') => Err(PathError::BadCharacter("\"\\\"")),
        Some(_) => Err(PathError::BadCharacter("control characters")),
        None => Ok(()),
    }
}

/// The file name of a block on its node: the file's name up to its first dot, `_B1`, the rest.
///
/// `yeet.txt` becomes `yeet_B1.txt`, `.bashrc` becomes `_B1.bashrc`.
pub fn block_file_name(name: &str, block: Block) -> String {
    let (stem, rest) = name.split_at(name.find('.').unwrap_or(name.len()));
    format!("{stem}_{block}{rest}")
}

/// The reverse of [`block_file_name`]: which file's which block has this name, if any.
pub fn parse_block_file_name(file_name: &str) -> Option<(String, Block)> {
    let (stem, rest) = file_name.split_at(file_name.find('.').unwrap_or(file_name.len()));
    let (stem, suffix) = stem.rsplit_once('_')?;
    let block = Block::ALL.into_iter().find(|block| block.name() == suffix)?;
    let name = format!("{stem}{rest}");
    check_name(&name).is_ok().then_some((name, block))
}

/// Text from outside made safe to print: control characters become visible escapes, and so does what
/// breaks a line or turns the direction of reading.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_direction_override(c) || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Unicode's explicit direction marks can make a printed name read as another one.
fn is_direction_override(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Conversions and printing that every path type has alike.
macro_rules! as_text {
    ($type:ident, $parse:expr) => {
        impl TryFrom<String> for $type {
            type Error = PathError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                $parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&printable(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

as_text!(UserName, UserName::parse);
as_text!(FolderPath, FolderPath::parse);
as_text!(FilePath, FilePath::parse_rooted);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_leaves_the_users_folder_does_not_parse() {
        for path in
            ["..", "a/..", "../a", "a/../b", "/etc", "a//b", ".", "a/./b", "a\\b", "a\0b", "//"]
        {
            assert!(FolderPath::parse(path).is_err(), "{path:?}");
        }
        assert_eq!(FolderPath::parse("/etc"), Err(PathError::Absolute));
        assert!(FilePath::parse_rooted("//etc").is_err());
        assert!(FilePath::parse_rooted("").is_err());
        assert_eq!(FilePath::parse_rooted("a/"), Err(PathError::NoName));
        assert_eq!(FilePath::parse_rooted("a//"), Err(PathError::EmptyPart));
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let name = |n: usize| "n".repeat(n);
        assert!(FolderPath::top().join(&name(NAME_BYTES_MAX)).is_ok());
        assert!(FolderPath::top().join(&name(NAME_BYTES_MAX + 1)).is_err());
        let deep = |n: usize| vec!["d"; n].join("/");
        assert!(FolderPath::parse(&deep(PATH_DEPTH_MAX)).is_ok());
        assert!(FolderPath::parse(&deep(PATH_DEPTH_MAX + 1)).is_err());
        assert!(FolderPath::parse(&deep(PATH_DEPTH_MAX)).is_ok_and(|f| f.join("x").is_err()));
        assert!(UserName::parse(&name(USER_NAME_BYTES_MAX)).is_ok());
        assert!(UserName::parse(&name(USER_NAME_BYTES_MAX + 1)).is_err());
        for bad in ["", ".a", "a/b", "a b", "backup", "BackUp", "é"] {
            assert!(UserName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_splits_into_folder_and_name() {
        let path = FilePath::parse_rooted("/up/2026/photo.jpg").unwrap();
        assert_eq!(path.name(), "photo.jpg");
        assert_eq!(path.folder().as_str(), "up/2026");
        let folders = path.folder().ancestry();
        assert_eq!(folders.iter().map(FolderPath::as_str).collect::<Vec<_>>(), ["up", "up/2026"]);
        assert!(FolderPath::top().ancestry().is_empty());
        assert_eq!(FolderPath::parse("a/b/").unwrap().as_str(), "a/b");
    }

    #[test]
    fn block_files_are_named_as_specified() {
        assert_eq!(block_file_name("yeet.txt", Block::A1), "yeet_A1.txt");
        assert_eq!(block_file_name("a.tar.gz", Block::O4), "a_O4.tar.gz");
        assert_eq!(block_file_name("plain", Block::B2), "plain_B2");
        assert_eq!(block_file_name(".bashrc", Block::B1), "_B1.bashrc");
        assert_eq!(parse_block_file_name("yeet_A1.txt"), Some(("yeet.txt".into(), Block::A1)));
        assert_eq!(parse_block_file_name("yeet_A9.txt"), None);
        assert_eq!(parse_block_file_name("_A1"), None);
    }

    #[test]
    fn printing_a_name_never_moves_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(printable("naïve 名"), "naïve 名");
        assert_eq!(printable("a\u{2028}b\u{2029}\u{85}"), "a\\u{2028}b\\u{2029}\\u{85}");
    }

    proptest! {
        #[test]
        fn every_parsed_path_stays_inside(text in "\\PC{0,40}|[./a\\\\\0-]{0,12}") {
            for path in [FilePath::parse_rooted(&text).map(|p| p.0), FolderPath::parse(&text).map(|p| p.0)]
                .into_iter()
                .flatten()
            {
                prop_assert!(!path.starts_with('/'));
                let inside = std::path::Path::new(&path)
                    .components()
                    .all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(inside, "{path:?}");
            }
        }

        #[test]
        fn block_names_lead_back_to_their_file(name in "[a-z._]{1,12}", index in 0usize..8) {
            prop_assume!(check_name(&name).is_ok());
            let block = Block::ALL[index];
            prop_assert_eq!(parse_block_file_name(&block_file_name(&name, block)), Some((name, block)));
        }
    }
}
