//! What is in a local folder, and what of it is to be stored.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, WalkBuilder};

use crate::cmd::env::Env;
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;

/// What becomes of symbolic links.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in super::super) enum Links {
    /// They are left out.
    Skip,
    /// What they lead to is stored in their place.
    Follow,
}

/// Which files of a folder are meant.
#[derive(Args, Debug)]
pub(in super::super) struct Filter {
    /// Leave out what matches with -r; patterns are those of .gitignore
    #[arg(long, value_name = "PATTERN", requires = "recursive")]
    exclude: Vec<String>,

    /// Take what matches although it is excluded, unless it lies in a folder that is
    #[arg(long, value_name = "PATTERN", requires = "recursive")]
    include: Vec<String>,

    /// Leave out what a file with one pattern a line says, as a .gitignore does
    #[arg(long, value_name = "FILE", requires = "recursive")]
    exclude_from: Vec<PathBuf>,

    /// What becomes of symbolic links with -r
    #[arg(long, value_name = "HOW", default_value = "skip", requires = "recursive")]
    pub(in super::super) links: Links,
}

/// One thing that was found.
#[derive(Debug)]
pub(super) enum Found {
    File(PathBuf, u64),
    /// A folder in which there is nothing: the others come with what is in them.
    EmptyFolder(PathBuf),
    /// A symbolic link that is left out.
    Link,
    /// A pipe, a socket, a device.
    Special,
    /// Something that cannot be looked at.
    Bad(PathBuf, Error),
}

impl Filter {
    /// The patterns, for files below this folder.
    ///
    /// # Errors
    /// [`Code::Usage`] if one is none, [`Code::LocalFile`] if a file of them cannot be read.
    pub(super) fn patterns(&self, folder: &Path, env: &Env) -> Result<Gitignore> {
        let mut builder = GitignoreBuilder::new(folder);
        let wrong = |error: ignore::Error| Error::other(Code::Usage, error.to_string());
        for file in &self.exclude_from {
            let text = fs::read_to_string(env.at(file)).map_err(|error| {
                let text = format!("cannot read {}: {}", file.display(), reason(&error));
                Error::other(Code::LocalFile, text)
            })?;
            for line in text.lines() {
                builder.add_line(None, line).map_err(wrong)?;
            }
        }
        for pattern in &self.exclude {
            builder.add_line(None, pattern).map_err(wrong)?;
        }
        for pattern in &self.include {
            builder.add_line(None, &format!("!{pattern}")).map_err(wrong)?;
        }
        builder.build().map_err(wrong)
    }
}

/// Walks through a folder in the order of names. Nothing is kept in memory but the way to where it is.
pub(super) fn walk(
    folder: &Path,
    patterns: Gitignore,
    links: Links,
) -> impl Iterator<Item = Found> + Send + use<> {
    let root = folder.to_path_buf();
    let mut builder = WalkBuilder::new(&root);
    builder.standard_filters(false).follow_links(links == Links::Follow);
    builder.sort_by_file_name(|a, b| a.cmp(b));
    builder.filter_entry(move |entry| {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        entry.depth() == 0 || !patterns.matched(entry.path(), is_folder).is_ignore()
    });
    builder.build().filter_map(move |entry| match entry {
        Ok(entry) => found(&entry),
        Err(error) => Some(Found::Bad(path_of(&error).unwrap_or_else(|| root.clone()), bad(error))),
    })
}

fn found(entry: &DirEntry) -> Option<Found> {
    let kind = entry.file_type()?;
    let path = entry.path().to_path_buf();
    if kind.is_dir() {
        let is_empty = entry.depth() > 0
            && fs::read_dir(&path).is_ok_and(|mut inside| inside.next().is_none());
        return is_empty.then_some(Found::EmptyFolder(path));
    }
    if kind.is_symlink() {
        return Some(Found::Link);
    }
    if !kind.is_file() {
        return Some(Found::Special);
    }
    Some(match entry.metadata() {
        Ok(found) => Found::File(path, Metadata::len(&found)),
        Err(error) => Found::Bad(path, bad(error)),
    })
}

/// Which file it is about.
fn path_of(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path.clone()),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        ignore::Error::Loop { child, .. } => Some(child.clone()),
        _ => None,
    }
}

fn bad(error: ignore::Error) -> Error {
    let text = match error.io_error() {
        Some(error) => reason(error),
        None if is_loop(&error) => "it is a link to a folder that it is in".to_owned(),
        None => error.to_string(),
    };
    Error::other(Code::LocalFile, text)
}

fn is_loop(error: &ignore::Error) -> bool {
    match error {
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithPath { err, .. } => is_loop(err),
        other => matches!(other, ignore::Error::Loop { .. }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn filter(exclude: &[&str], include: &[&str]) -> Filter {
        let all = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
        let (exclude, include) = (all(exclude), all(include));
        Filter { exclude, include, exclude_from: Vec::new(), links: Links::Skip }
    }

    /// What is found in a folder, as paths below it; what is left out or bad by kind.
    fn names(folder: &Path, filter: &Filter, links: Links) -> Vec<String> {
        let (env, _) = Env::fake(&[], "");
        let patterns = filter.patterns(folder, &env).unwrap();
        let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        let told = walk(folder, patterns, links).map(|found| match found {
            Found::File(path, bytes) => format!("{} {bytes}", name(&path)),
            Found::EmptyFolder(path) => format!("{}/", name(&path)),
            Found::Link => "link".into(),
            Found::Special => "special".into(),
            Found::Bad(path, why) => format!("{}: {why}", name(&path)),
        });
        told.collect()
    }

    fn sample() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (at, text) in [("a.txt", "1"), ("b/c.log", "12"), ("b/d/e.txt", ""), (".hidden", "1")] {
            let path = folder.path().join(at);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(folder.path().join("empty")).unwrap();
        folder
    }

    #[test]
    fn everything_is_found_in_the_order_of_names() {
        let folder = sample();
        let all = [".hidden 1", "a.txt 1", "b/c.log 2", "b/d/e.txt 0", "empty/"];
        assert_eq!(names(folder.path(), &filter(&[], &[]), Links::Skip), all);
    }

    #[test]
    fn patterns_are_those_of_gitignore_and_what_is_included_wins() {
        let folder = sample();
        let found = |exclude: &[&str], include: &[&str]| {
            names(folder.path(), &filter(exclude, include), Links::Skip)
        };
        assert_eq!(found(&["*.txt", "empty"], &[]), [".hidden 1", "b/c.log 2"]);
        assert_eq!(found(&["*.txt", ".*", "/empty/"], &["e.txt"]), ["b/c.log 2", "b/d/e.txt 0"]);
        assert_eq!(found(&["b/", "/empty", ".hidden"], &["e.txt"]), ["a.txt 1"]);
        let list = folder.path().join("list");
        fs::write(&list, "# what not\n*.txt\n!a.txt\n\nempty/\n").unwrap();
        let filter = Filter { exclude_from: vec![list], ..filter(&["list", ".hidden"], &[]) };
        assert_eq!(names(folder.path(), &filter, Links::Skip), ["a.txt 1", "b/c.log 2"]);
        let (env, _) = Env::fake(&[], "");
        let missing = Filter { exclude_from: vec!["/nonexistent".into()], ..filter };
        assert_eq!(missing.patterns(folder.path(), &env).unwrap_err().code(), Code::LocalFile);
    }

    #[test]
    fn links_are_left_out_or_followed_and_none_is_followed_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/f"), "123").unwrap();
        symlink(folder.path().join("d/f"), folder.path().join("to-f")).unwrap();
        symlink(folder.path(), folder.path().join("up")).unwrap();
        symlink("/nonexistent", folder.path().join("gone")).unwrap();
        let found = |links| names(folder.path(), &filter(&[], &[]), links);
        assert_eq!(found(Links::Skip), ["d/f 3", "link", "link", "link"]);
        let followed = [
            "d/f 3",
            "gone: no such file or folder",
            "to-f 3",
            "up: it is a link to a folder that it is in",
        ];
        assert_eq!(found(Links::Follow), followed);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let _listener =
            std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert_eq!(names(folder.path(), &filter(&[], &[]), Links::Skip), ["special"]);
    }
}
