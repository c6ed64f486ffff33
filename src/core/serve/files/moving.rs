//! Moving files and folders.
//!
//! ```text
//!   one transaction ── its record on three nodes' backups ── answered ── each node renames
//! ```
//!
//! Numbers in trailers do not tell of moves, so a recovery has to know each one that any node has
//! made. That is why the record goes first, and why whatever follows at the same paths waits for it.

use super::{Files, User};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::WRITE_QUORUM;

/// What a move has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Where it is now.
    pub to: FilePath,
    /// Was it a folder?
    pub is_folder: bool,
    /// How many files moved with it.
    pub files: u64,
    /// Did it replace a file?
    pub replaced: bool,
}

impl Files {
    /// Moves a file, or a folder with all that is in it: into `to` if that is a folder, else to that
    /// name. That takes three nodes, like a store, since its record has to be on so many.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`]; [`Error::NoSuchFolder`] for the folder that `to` would be in;
    /// [`Error::Exists`] if a file is there, unless `replace`; [`Error::FolderExists`],
    /// [`Error::NameCollision`], [`Error::IntoItself`]; [`Error::TooFewToMove`],
    /// [`Error::TooFewToChange`] and its like. After [`Error::UnconfirmedMove`] or
    /// [`Error::Unconfirmed`] it may be moved or not.
    pub fn move_to(
        &self,
        user: &User,
        from: &FilePath,
        to: &FolderPath,
        replace: bool,
    ) -> Result<Moved> {
        let roster = self.volume.roster();
        roster.may_change()?;
        if roster.up().len() < WRITE_QUORUM {
            return Err(Error::TooFewToMove(roster.troubles(roster.up().complement())));
        }
        let Some(backups) = &self.backups else {
            return Err(Error::other(Code::NotAllowed, "this server keeps no record of moves"));
        };
        self.await_moves(user, from.as_str())?;
        self.await_moves(user, to.as_str())?;
        let (id, catalog) = (user.account.id, &self.catalog);
        let done = self.readers.relocate(
            &user.name,
            || catalog.relocate(id, from, to, replace),
            // One that cannot be looked up is looked for at its new place, and where it was.
            |version| catalog.version(version).map_or(true, |record| record.is_some()),
        )?;
        backups.confirm(done.entry)?;
        roster.confirm()?;
        self.bell.ring();
        let (is_folder, replaced) = (done.is_folder, done.replaced);
        Ok(Moved { to: done.to, is_folder, files: done.files, replaced })
    }

    /// Waits until moves that concern a path are recorded: what is done there next must not be known
    /// to a recovery that does not know them.
    pub(super) fn await_moves(&self, user: &User, path: &str) -> Result<()> {
        match (self.catalog.last_move_of(user.account.id, path)?, &self.backups) {
            (Some(entry), Some(backups)) if !self.volume.roster().is_recorded(entry) => {
                backups.confirm(entry)
            }
            _ => Ok(()),
        }
    }
}
