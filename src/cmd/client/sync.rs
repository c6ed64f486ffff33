//! `palk client sync SOURCE TARGET`: makes a stored folder what a local one is, or the other way round.

use std::path::Path;

use clap::Args;

use super::advice;
use super::folder::{self, Direction};
use super::retry::Patience;
use super::settings::Common;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::FolderPath;

/// Make a stored folder what a local one is, or the other way round
///
/// One of SOURCE and TARGET is stored and is written with a colon before it: ":docs" or ":/docs", ":" for
/// your top folder. The other is local ("./:docs" if its name begins with a colon). What is in SOURCE comes
/// to be in TARGET, under the same names: "sync photos :photos" stores what differs, "sync :photos photos"
/// retrieves it.
///
/// Files of the same size and time of modification are taken for the same. Where only the times differ the
/// digest decides, and TARGET gets the time. A file or folder that only TARGET has stays, unless --delete is given. The rights of
/// files are not compared.
#[derive(Args, Debug)]
pub(super) struct Sync {
    /// What is to be brought over
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Where to
    #[arg(value_name = "TARGET")]
    target: String,

    /// Compare the digests of all files of the same size
    #[arg(long)]
    checksum: bool,

    /// Delete what only TARGET has; asks first. Stored files can be had back with undo, local ones are gone
    #[arg(long)]
    delete: bool,

    /// Do not ask
    #[arg(long, requires = "delete")]
    yes: bool,

    /// With --links store: retrieve links that lead out of the folder too
    #[arg(long)]
    unsafe_links: bool,

    #[command(flatten)]
    filter: folder::Filter,

    #[command(flatten)]
    manner: folder::Manner,

    #[command(flatten)]
    patience: Patience,
}

impl Sync {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let (local, text, direction) = sides(&self.source, &self.target)?;
        let sync = folder::Sync {
            local: Path::new(local),
            stored: stored(text, "sync")?,
            direction,
            checksum: self.checksum,
            delete: self.delete,
            yes: self.yes,
            unsafe_links: self.unsafe_links,
            filter: &self.filter,
            manner: self.manner,
            patience: self.patience,
        };
        folder::sync(&sync, common, env)
    }
}

/// Which is the local side, which the stored one without its colon, and where it goes.
fn sides<'a>(source: &'a str, target: &'a str) -> Result<(&'a str, &'a str, Direction), Failure> {
    match (source.strip_prefix(':'), target.strip_prefix(':')) {
        (None, Some(stored)) => Ok((source, stored, Direction::Up)),
        (Some(stored), None) => Ok((target, stored, Direction::Down)),
        (None, None) => {
            let text = "SOURCE and TARGET are both local";
            let hint = "Write a colon before the stored one:  palk client sync photos :photos";
            Err(Failure::new(Code::Usage, text).hint(hint))
        }
        (Some(_), Some(_)) => {
            let text = "SOURCE and TARGET are both stored";
            let hint = "A stored folder is copied on the server:  palk client cp -r";
            Err(Failure::new(Code::Usage, text).hint(hint))
        }
    }
}

/// The stored path that this stands for.
pub(super) fn stored(text: &str, verb: &str) -> Result<FolderPath, Failure> {
    FolderPath::parse_rooted(text)
        .map_err(|error| advice::failure(&format!("cannot {verb} {text}"), &error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_with_a_colon_is_the_stored_one() {
        assert_eq!(sides("a", ":b").unwrap(), ("a", "b", Direction::Up));
        assert_eq!(sides(":/b", "a").unwrap(), ("a", "/b", Direction::Down));
        assert_eq!(sides(".", ":").unwrap(), (".", "", Direction::Up));
        assert_eq!(sides("./:a", "::b").unwrap(), ("./:a", ":b", Direction::Up));
        for (source, target) in [("a", "b"), (":a", ":b")] {
            assert_eq!(sides(source, target).unwrap_err().code, Code::Usage);
        }
    }
}
