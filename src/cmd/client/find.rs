//! `palk client find [PATH] GLOB`: what has a name of this form.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::connection::Connection;
use super::entries::{self, Nodes, line, object, row};
use super::glob::{Pattern, path_of};
use super::settings::Common;
use crate::cmd::completions::STORED;
use crate::cmd::env::{Env, Manner};
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::path::{FolderPath, printable};
use crate::core::remote::Remote;
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
        self.look(connection.remote()?, &path, &what, env)
    }

    /// What is called `text` below a folder, whatever it is.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub(super) fn of(text: &str) -> Result<Find, String> {
        Ok(Find { path: None, glob: Pattern::parse(text)?, kind: None, at: None })
    }

    /// Shows what it finds below a folder; `what` it could not do otherwise.
    pub(super) fn look(
        &self,
        remote: &mut Remote,
        path: &FolderPath,
        what: &str,
        env: &mut Env,
    ) -> Result<(), Stop> {
        let Manner { json, verbose, .. } = env.manner();
        let mut found = 0_u64;
        entries::walk(remote, path, Extent::All, self.at.clone(), what, &mut |entry| {
            let kind = match &entry {
                Entry::Folder(_) => Kind::Folder,
                Entry::File(_) => Kind::File,
            };
            let is_wanted = self.kind.is_none_or(|wanted| wanted == kind);
            if !is_wanted || !self.glob.fits(path_of(&entry), path) {
                return Ok(());
            }
            found += 1;
            match (json, verbose) {
                (true, _) => env.json_row("item", object(&entry)),
                (false, true) => env.data(&row(&entry, Nodes::Named)),
                (false, false) => env.data(&line(&entry)),
            }
        })?;
        if json {
            return env.json("result", json!({"code": 0, "found": found}));
        }
        env.flush()?;
        if found == 0 {
            env.note(&format!("Nothing is called {}", printable(&self.glob.text)));
        }
        Ok(())
    }
}
