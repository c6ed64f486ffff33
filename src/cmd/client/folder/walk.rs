//! What is in a local folder, and what of it is meant.

use std::cmp::Ordering;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use walkdir::{DirEntry, WalkDir};

use crate::cmd::env::Env;
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;

/// What becomes of symbolic links.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub(in super::super) enum Links {
    /// They are left out.
    #[default]
    Skip,
    /// What they lead to counts in their place.
    Follow,
    /// They are kept as links.
    Store,
}

/// Which files of a folder are meant.
#[derive(Args, Default, Debug)]
pub(in super::super) struct Filter {
    /// Leave out what matches; patterns are those of .gitignore
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// Take what matches although it is excluded, unless it lies in a folder that is
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,

    /// Leave out what a file with one pattern a line says, as a .gitignore does
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,

    /// What becomes of symbolic links
    #[arg(long, value_name = "HOW", default_value = "skip")]
    pub(in super::super) links: Links,
}

/// One thing that was found.
#[derive(Debug)]
pub(super) enum Found {
    File(PathBuf, Metadata),
    /// A folder in the one that was walked through, before what is in it.
    Folder {
        path: PathBuf,
        is_empty: bool,
    },
    /// A symbolic link that is not followed.
    Link(PathBuf, Metadata),
    /// A pipe, a socket, a device.
    Special,
    /// Something that cannot be looked at.
    Bad(PathBuf, Error),
}

/// What was left out, however it is called.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct LeftOut {
    pub(super) links: u64,
    pub(super) others: u64,
}

/// The patterns of a [`Filter`], for what is in one folder.
#[derive(Clone, Debug)]
pub(super) struct Patterns {
    root: PathBuf,
    patterns: Gitignore,
}

impl Filter {
    /// The patterns, for files below this folder.
    ///
    /// # Errors
    /// [`Code::Usage`] if one is none, [`Code::LocalFile`] if a file of them cannot be read.
    pub(super) fn patterns(&self, folder: &Path, env: &Env) -> Result<Patterns> {
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
        Ok(Patterns { root: folder.to_owned(), patterns: builder.build().map_err(wrong)? })
    }
}

impl Patterns {
    /// Is this path below the folder left out, or a folder that it is in? What a walk never comes to is
    /// told in the same way.
    pub(super) fn leave_out(&self, below: &str, is_folder: bool) -> bool {
        if self.patterns.is_empty() || below.is_empty() {
            return false;
        }
        let above = below.match_indices('/').map(|(end, _)| (&below[..end], true));
        above.chain([(below, is_folder)]).any(|(path, is_folder)| {
            self.patterns.matched(self.root.join(path), is_folder).is_ignore()
        })
    }
}

/// Walks through a folder in the order of whole paths, a folder counting as its path and a `/`. Nothing
/// is kept in memory but the folders on the way to where it is.
pub(super) fn walk(
    folder: &Path,
    patterns: Patterns,
    links: Links,
) -> impl Iterator<Item = Found> + Send + use<> {
    let root = folder.to_path_buf();
    let follow = links == Links::Follow;
    let walk = WalkDir::new(&root)
        .follow_links(follow || root.is_file())
        .sort_by(move |a, b| order(a, b, follow))
        .into_iter()
        .filter_entry(move |entry| {
            let is_folder = entry.file_type().is_dir();
            let Patterns { patterns, .. } = &patterns;
            entry.depth() == 0 || !patterns.matched(entry.path(), is_folder).is_ignore()
        });
    walk.filter_map(move |entry| match entry {
        Ok(entry) => found(entry),
        Err(error) => {
            let path = error.path().map_or_else(|| root.clone(), Path::to_path_buf);
            Some(Found::Bad(path, bad(&error)))
        }
    })
}

/// The order in which the names of one folder come, so that whole paths are in order.
fn order(a: &DirEntry, b: &DirEntry, follow: bool) -> Ordering {
    key(a, follow).cmp(key(b, follow))
}

fn key(entry: &DirEntry, follow: bool) -> impl Iterator<Item = &u8> {
    let is_link = follow && entry.path_is_symlink();
    let is_folder = entry.file_type().is_dir() || (is_link && entry.path().is_dir());
    entry.file_name().as_encoded_bytes().iter().chain(is_folder.then_some(&b'/'))
}

fn found(entry: DirEntry) -> Option<Found> {
    let (kind, depth) = (entry.file_type(), entry.depth());
    if kind.is_dir() {
        let is_empty = fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
        return (depth > 0).then(|| Found::Folder { path: entry.into_path(), is_empty });
    }
    if kind.is_symlink() && depth == 0 {
        return None;
    }
    if !kind.is_file() && !kind.is_symlink() {
        return Some(Found::Special);
    }
    Some(match entry.metadata() {
        Ok(found) if kind.is_symlink() => Found::Link(entry.into_path(), found),
        Ok(found) => Found::File(entry.into_path(), found),
        Err(error) => Found::Bad(entry.into_path(), bad(&error)),
    })
}

fn bad(error: &walkdir::Error) -> Error {
    let text = match error.io_error() {
        Some(error) => reason(error),
        None if error.loop_ancestor().is_some() => {
            "it is a link to a folder that it is in".to_owned()
        }
        None => error.to_string(),
    };
    Error::other(Code::LocalFile, text)
}

impl LeftOut {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.links > 0 {
            lines.push(format!(
                "{} symbolic {} left out; --links store keeps them, --links follow takes what they \
                 lead to",
                self.links,
                if self.links == 1 { "link was" } else { "links were" }
            ));
        }
        if self.others > 0 {
            lines.push(format!(
                "{} {} no regular files (pipes, sockets, devices) and {} left out",
                self.others,
                if self.others == 1 { "is" } else { "are" },
                if self.others == 1 { "was" } else { "were" }
            ));
        }
        lines
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
            Found::File(path, found) => format!("{} {}", name(&path), found.len()),
            Found::Folder { path, is_empty: true } => format!("{}/ empty", name(&path)),
            Found::Folder { path, .. } => format!("{}/", name(&path)),
            Found::Link(..) => "link".into(),
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
        let all =
            [".hidden 1", "a.txt 1", "b/", "b/c.log 2", "b/d/", "b/d/e.txt 0", "empty/ empty"];
        assert_eq!(names(folder.path(), &filter(&[], &[]), Links::Skip), all);
        // Some characters sort before the "/" behind a folder's name.
        for name in ["b!", "b.txt", "b0"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        symlink(folder.path().join("b"), folder.path().join("b-link")).unwrap();
        let some = |links| names(folder.path(), &filter(&["/a*", ".*", "d", "/e*"], &[]), links);
        let all = ["b! 0", "link", "b.txt 0", "b/", "b/c.log 2", "b0 0"];
        assert_eq!(some(Links::Skip), all);
        let all = ["b! 0", "b-link/", "b-link/c.log 2", "b.txt 0", "b/", "b/c.log 2", "b0 0"];
        assert_eq!(some(Links::Follow), all);
    }

    #[test]
    fn a_path_is_left_out_as_the_walk_does_it() {
        let folder = sample();
        let (env, _) = Env::fake(&[], "");
        for (exclude, include) in [
            (&["*.txt"][..], &["e.txt"][..]),
            (&["b"], &["e.txt"]),
            (&["/b/d/"], &[]),
            (&["d", "/a.txt"], &["c.log"]),
            (&["empty/", ".hidden"], &[]),
        ] {
            let filter = filter(exclude, include);
            let patterns = filter.patterns(folder.path(), &env).unwrap();
            let everything = names(folder.path(), &self::filter(&[], &[]), Links::Skip);
            let left = everything.into_iter().filter(|shown| {
                let path = shown.split(' ').next().unwrap();
                let below = path.strip_suffix('/').unwrap_or(path);
                !patterns.leave_out(below, below != path)
            });
            let left: Vec<String> = left.collect();
            assert_eq!(left, names(folder.path(), &filter, Links::Skip), "{exclude:?}");
        }
    }

    #[test]
    fn patterns_are_those_of_gitignore_and_what_is_included_wins() {
        let folder = sample();
        let found = |exclude: &[&str], include: &[&str]| {
            names(folder.path(), &filter(exclude, include), Links::Skip)
        };
        assert_eq!(found(&["*.txt", "empty"], &[]), [".hidden 1", "b/", "b/c.log 2", "b/d/"]);
        let all = ["b/", "b/c.log 2", "b/d/", "b/d/e.txt 0"];
        assert_eq!(found(&["*.txt", ".*", "/empty/"], &["e.txt"]), all);
        assert_eq!(found(&["b/", "/empty", ".hidden"], &["e.txt"]), ["a.txt 1"]);
        let list = folder.path().join("list");
        fs::write(&list, "# what not\n*.txt\n!a.txt\n\nempty/\n").unwrap();
        let filter = Filter { exclude_from: vec![list], ..filter(&["list", ".hidden"], &[]) };
        let all = ["a.txt 1", "b/", "b/c.log 2", "b/d/"];
        assert_eq!(names(folder.path(), &filter, Links::Skip), all);
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
        assert_eq!(found(Links::Skip), ["d/", "d/f 3", "link", "link", "link"]);
        let followed = [
            "d/",
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
