//! What the tour shows beyond the story: a bit that flips on a disk, and a file that comes back after it
//! was deleted.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::blocks;
use super::story::{Original, Story, digest};
use crate::cmd::admin;
use crate::cmd::client::undo;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::io::reason;
use crate::core::path::{FilePath, printable};
use crate::core::wire::admin::{Line, Verb, parse};
use crate::core::wire::extended::Entry;
use crate::core::wire::reports::{Found, Scrubbed};

impl Story<'_> {
    /// A bit flips on a disk; a scrub finds the block and mends it.
    pub(super) fn flip_a_bit(&mut self, original: &Original) -> Result<(), Stop> {
        self.chapter("4. One bit flips on a disk")?;
        self.explain(
            "A scrub compares every block with its checksums and rebuilds what is wrong.",
        )?;
        let places = blocks::places(self.cluster, self.user, &original.path);
        let (block, place) = &places[rand::random_range(0..places.len())];
        let before = digest(place)?;
        flip(place).map_err(|error| {
            let text = format!("cannot change {}: {}", place.display(), reason(&error));
            Failure::new(Code::LocalFile, text)
        })?;
        let shown = place.strip_prefix(self.cluster.folder()).unwrap_or(place).to_string_lossy();
        self.say(&format!("Flipped a bit in the middle of {}", printable(&shown)))?;

        let mut found: Vec<Found> = Vec::new();
        let verb = Verb::Scrub { witness: false, grace_ms: None, detach: false };
        let folder = self.cluster.folder().join("user_database");
        let answer = admin::ask(&folder, self.env, &verb, &mut |line| {
            if let Line::Item(fields) = line {
                found.push(parse(fields)?);
            }
            Ok(())
        })?;
        for one in &found {
            self.say(&format!("  {}", admin::item_line(one)))?;
        }
        let report: Scrubbed = parse(answer.fields)?;
        let scrub = report.scrub.unwrap_or_default();
        self.say(&admin::scrub_summary(&scrub).join("\n"))?;
        let is_found = found.iter().any(|one| one.node == Some(block.node()));
        if !is_found || scrub.wrong == 0 {
            let text = format!("the scrub has not found what is wrong with block {}", block.name());
            return Err(Failure::new(Code::Unexpected, text).into());
        }
        self.wait_until("the block is mended", |_| Ok(digest(place)? == before))?;
        self.say("  the block is the same as before, bit for bit")
    }

    /// A file is deleted and brought back.
    pub(super) fn undo_a_deletion(&mut self, original: &Original) -> Result<(), Stop> {
        let path = &original.path;
        self.chapter("5. Delete a file, and bring it back")?;
        self.explain("What was deleted or replaced is kept for seven days.")?;
        let failed = |error| Failure::of(&format!("cannot delete {path}"), &error);
        self.remote.delete(path).map_err(failed)?;
        if self.is_listed(path)? {
            let text = format!("{path} is still there after it was deleted");
            return Err(Failure::new(Code::Unexpected, text).into());
        }
        self.say(&format!("Deleted {path}"))?;
        let failed = |error| undo::failure(path.as_str(), &error);
        let outcome = self.remote.undo(path).map_err(failed)?;
        self.say(&undo::summary(path, &outcome))?;
        self.read_back(original)
    }

    fn is_listed(&mut self, path: &FilePath) -> Result<bool, Error> {
        let mut is_listed = false;
        self.remote.list(&mut |entry| {
            is_listed |= matches!(entry, Entry::File(file) if file.path == *path);
            Ok(())
        })?;
        Ok(is_listed)
    }
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let middle = SeekFrom::Start(file.metadata()?.len() / 2);
    let mut byte = [0];
    file.seek(middle)?;
    file.read_exact(&mut byte)?;
    file.seek(middle)?;
    file.write_all(&[byte[0] ^ 1])
}
