//! `palk client find [PATH] GLOB`: what has a name of this form.

use clap::{Args, ValueEnum};
use globset::{GlobBuilder, GlobMatcher};
use serde_json::json;

use super::connection::Connection;
use super::entries::{self, Nodes, line, object, row};
use super::settings::Common;
use crate::cmd::completions::STORED;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::path::{FolderPath, printable};
use crate::core::wire::extended::{Entry, Extent, When};

/// Find files and folders by their names
///
/// A GLOB without "/" is held against the names of all that is below PATH, one with "/" against whole paths,
/// counted from PATH. "*" stands for anything but "/", "**" for that too, "?" for one character, "[a-z]" for
/// one of these, "{a,b}" for one or the other. Put it in quotes, so that your shell leaves it alone.
#[derive(Args, Debug)]
#[command(allow_missing_positional = true)]
pub(super) struct Find {
    /// Where to look; your top folder without
    #[arg(value_name = "PATH", value_hint = STORED)]
    path: Option<String>,

    /// What the names look like
    #[arg(required = true, value_name = "GLOB", value_parser = Pattern::parse)]
    glob: Pattern,

    /// Only files (f) or only folders (d)
    #[arg(long = "type", value_name = "f|d")]
    kind: Option<Kind>,

    /// What was there at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    #[value(name = "f")]
    File,
    #[value(name = "d")]
    Folder,
}

impl Find {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let text = self.path.as_deref().unwrap_or("/");
        let what = format!("cannot look through {text}");
        let path = entries::folder(text, &what)?;
        let mut connection = Connection::open(common, env)?;
        let mut found = 0_u64;
        entries::walk(&mut connection, &path, Extent::All, self.at, &what, &mut |entry| {
            let (own, kind) = match &entry {
                Entry::Folder(folder) => (folder.as_str(), Kind::Folder),
                Entry::File(file) => (file.path.as_str(), Kind::File),
            };
            if self.kind.is_some_and(|wanted| wanted != kind) || !self.glob.fits(own, &path) {
                return Ok(());
            }
            found += 1;
            match (common.json, common.verbose) {
                (true, _) => env.json("item", object(&entry)),
                (false, true) => env.data(&row(&entry, Nodes::Named)),
                (false, false) => env.data(&line(&entry)),
            }
        })?;
        if common.json {
            return env.json("result", json!({"code": 0, "found": found}));
        }
        env.flush()?;
        if found == 0 {
            env.note(&format!("Nothing is called {}", printable(&self.glob.text)));
        }
        Ok(())
    }
}

/// What names look like.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    matcher: GlobMatcher,
    /// Is it about whole paths?
    of_paths: bool,
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, String> {
        let glob = GlobBuilder::new(text.strip_prefix('/').unwrap_or(text))
            .literal_separator(true)
            .build()
            .map_err(|error| error.kind().to_string())?;
        let (text, of_paths) = (text.to_owned(), text.contains('/'));
        Ok(Pattern { text, matcher: glob.compile_matcher(), of_paths })
    }

    /// Is this a path of the form, seen from a folder that it lies in?
    fn fits(&self, path: &str, below: &FolderPath) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        if !self.of_paths {
            return self.matcher.is_match(name);
        }
        // What was asked for may be one file.
        let inner = path.strip_prefix(below.as_str()).unwrap_or(path).trim_start_matches('/');
        self.matcher.is_match(if inner.is_empty() { name } else { inner })
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
}
