//! `palk client du [PATH]`: how much is in each folder.

use clap::Args;
use serde_json::{Value, json};

use super::advice;
use super::connection::Connection;
use super::entries;
use super::glob::{self, Meant};
use super::settings::Common;
use super::tally::Tally;
use crate::cmd::completions::STORED;
use crate::cmd::env::{Env, plural, size};
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::error::Error;
use crate::core::path::{FolderPath, printable};
use crate::core::remote::Remote;
use crate::core::wire::extended::{Entry, Extent, When};

/// Show how much is in each folder
///
/// The bytes and files of each folder with all that is below it, the inner ones first, PATH last. A copy
/// counts like any other file, as it does for the quota. PATH may be a pattern in quotes ("photos/*"): then
/// each folder and file that matches it.
#[derive(Args, Debug)]
pub(super) struct Du {
    /// Stored folders or files, or patterns; "/" is your top folder
    #[arg(value_name = "PATH", default_value = "/", hide_default_value = true, value_hint = STORED)]
    paths: Vec<String>,

    /// Only the sum of PATH
    #[arg(short, long)]
    summarize: bool,

    /// As it was at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,
}

impl Du {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let mut connection = Connection::open(common, env)?;
        let mut jobs = Vec::new();
        for text in &self.paths {
            let named = connection.remote().and_then(|remote| self.named(remote, text));
            match named {
                Ok(named) => jobs.extend(named.into_iter().map(|path| (text.clone(), Ok(path)))),
                Err(error) => jobs.push((text.clone(), Err(error))),
            }
        }
        let mut tally = Tally::new(jobs.len());
        for (text, path) in jobs {
            let what = format!("cannot look through {text}");
            let shown = match path.and_then(|path| Ok((connection.remote()?, path))) {
                Ok((remote, path)) => self.show(remote, &path, &what, env),
                Err(error) => Err(advice::failure(&what, &error).into()),
            };
            match shown {
                Ok(object) => tally.done(env, &[], object)?,
                Err(Stop::Failed(why)) => tally.failed(env, &text, why)?,
                Err(stop) => return Err(stop),
            }
        }
        tally.finish(env)
    }

    /// For a session: with or without each folder.
    pub(super) fn of(summarize: bool) -> Du {
        Du { paths: Vec::new(), summarize, at: None }
    }

    /// What a path names.
    fn named(&self, remote: &mut Remote, text: &str) -> Result<Vec<FolderPath>, Error> {
        match glob::matches(remote, text, Meant::Entries, self.at.as_ref())? {
            None => Ok(vec![FolderPath::parse_rooted(text)?]),
            Some(found) => {
                let paths = found.iter().map(|own| FolderPath::parse(glob::path_of(own)));
                Ok(paths.collect::<Result<_, _>>()?)
            }
        }
    }

    /// Shows how much is at a path; gives the same for programs. `what` it could not do otherwise.
    pub(super) fn show(
        &self,
        remote: &mut Remote,
        path: &FolderPath,
        what: &str,
        env: &mut Env,
    ) -> Result<Value, Stop> {
        let json = env.manner().json;
        let mut sums = Sums::new(path);
        let mut folders = 0_u64;
        let mut tell = |env: &mut Env, done: &Sum| {
            folders += 1;
            match (self.summarize, json) {
                (true, _) => Ok(()),
                (false, true) => env.json(
                    "item",
                    json!({"kind": "folder", "path": format!("/{}", done.path),
                           "bytes": done.bytes, "files": done.files}),
                ),
                (false, false) => env.data(&row(done, "/")),
            }
        };
        entries::walk(remote, path, Extent::All, self.at.clone(), what, &mut |entry| {
            sums.add(&entry).iter().try_for_each(|done| tell(env, done))
        })?;
        let (rest, whole) = sums.end();
        rest.iter().try_for_each(|done| tell(env, done))?;
        if !json {
            let slash = if whole.is_file || whole.path.is_empty() { "" } else { "/" };
            env.data(&row(&whole, slash))?;
        }
        let kind = if whole.is_file { "file" } else { "folder" };
        Ok(json!({"code": 0, "kind": kind, "path": format!("/{}", whole.path),
                  "bytes": whole.bytes, "files": whole.files, "folders": folders}))
    }
}

fn row(sum: &Sum, slash: &str) -> String {
    let Sum { path, bytes, files, .. } = sum;
    let files = plural(*files, "file");
    format!("{:>9}  {files:>13}  /{}{slash}", size(*bytes), printable(path))
}

/// What a folder comes to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Sum {
    path: String,
    bytes: u64,
    files: u64,
    is_file: bool,
}

impl Sum {
    /// Does this lie in the folder?
    fn has(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Sorts behind all that is in the folder, as it would be listed.
    fn end(&self) -> String {
        format!("{}0", self.path) // the character after '/'
    }

    fn count(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.files += 1;
    }
}

/// The sums of the folders that more may come of, out of a listing that is sorted by the bytes of paths. A
/// folder is done when something comes that sorts behind all that could be in it; so what is in memory are
/// folders in one another, and those whose names are beginnings of others.
struct Sums {
    whole: Sum,
    open: Vec<Sum>,
}

impl Sums {
    fn new(path: &FolderPath) -> Sums {
        let whole = Sum { path: path.as_str().to_owned(), ..Sum::default() };
        Sums { whole, open: Vec::new() }
    }

    /// Counts an entry; gives the folders that are done by then, the inner ones first.
    fn add(&mut self, entry: &Entry) -> Vec<Sum> {
        let path = match entry {
            Entry::Folder(folder) => folder.as_str(),
            Entry::File(file) => file.path.as_str(),
        };
        let is_done = |sum: &mut Sum| !sum.has(path) && *sum.end() <= *path;
        let mut done: Vec<Sum> = self.open.extract_if(.., is_done).collect();
        done.sort_by_cached_key(Sum::end);
        match entry {
            Entry::Folder(_) => {
                self.open.push(Sum { path: path.to_owned(), ..Sum::default() });
            }
            Entry::File(file) => {
                self.whole.is_file = path == self.whole.path;
                self.whole.count(file.bytes);
                let around = self.open.iter_mut().filter(|sum| sum.has(path));
                around.for_each(|sum| sum.count(file.bytes));
            }
        }
        done
    }

    /// The folders that were left, and the whole.
    fn end(mut self) -> (Vec<Sum>, Sum) {
        self.open.sort_by_cached_key(Sum::end);
        (self.open, self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::path::FilePath;
    use crate::core::types::{Digest, NodeSet, VersionId};
    use crate::core::wire::extended::FileEntry;

    /// What comes of a listing: a path that ends in `/` is a folder, every file has one byte.
    fn sums(path: &str, listing: &[&str]) -> (Vec<String>, usize) {
        let mut sums = Sums::new(&FolderPath::parse(path).unwrap());
        let (mut told, mut open_max) = (Vec::new(), 0);
        for text in listing {
            let entry = match text.strip_suffix('/') {
                Some(folder) => Entry::Folder(FolderPath::parse(folder).unwrap()),
                None => Entry::File(FileEntry {
                    path: FilePath::parse_rooted(text).unwrap(),
                    bytes: 1,
                    stored_ms: 0,
                    version: VersionId([1; 16]),
                    blake3: Digest([2; 32]),
                    placed: NodeSet::ALL,
                    attributes: Default::default(),
                }),
            };
            told.extend(sums.add(&entry));
            open_max = open_max.max(sums.open.len());
        }
        let (rest, whole) = sums.end();
        told.extend(rest.into_iter().chain([whole]));
        let told = told.into_iter().map(|sum| format!("{} {} {}", sum.path, sum.files, sum.bytes));
        (told.collect(), open_max)
    }

    #[test]
    fn each_folder_has_what_is_below_it_and_the_inner_ones_come_first() {
        let listing = ["a/", "a/b/", "a/b/c", "a/b/d/", "a/b/d/e", "a/f", "g/", "h"];
        let (told, _) = sums("", &listing);
        assert_eq!(told, ["a/b/d 1 1", "a/b 2 2", "a 3 3", "g 0 0", " 4 4"]);
    }

    #[test]
    fn a_folder_goes_on_behind_others_whose_names_sort_before_its_content() {
        let listing = ["a/", "a!/", "a!/x", "a.txt", "a/x", "a/y/", "a/y/z", "a0"];
        let (told, open_max) = sums("", &listing);
        assert_eq!(told, ["a! 1 1", "a/y 1 1", "a 2 2", " 5 5"]);
        assert_eq!(open_max, 2);
    }

    #[test]
    fn a_path_may_be_a_folder_or_a_file() {
        assert_eq!(sums("up/a", &["up/a/b", "up/a/c/"]).0, ["up/a/c 0 0", "up/a 1 1"]);
        assert_eq!(sums("up/a", &["up/a"]).0, ["up/a 1 1"]);
        assert_eq!(sums("up/a", &[]).0, ["up/a 0 0"]);
    }

    #[test]
    fn many_folders_side_by_side_are_not_kept() {
        let names: Vec<String> = (0..1000).map(|n| format!("up/f{n:04}/")).collect();
        let (told, open_max) = sums("", &names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((told.len(), open_max), (1001, 1));
    }
}
