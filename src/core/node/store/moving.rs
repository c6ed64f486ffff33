//! Orders that give other names to what lies on a node: moves of files and folders, and what goes
//! with them.
//!
//! A block's trailer keeps the name and the number that it had when it was stored. So once something
//! was moved, numbers no longer tell what is older, and these orders do not look at them: the server
//! sends a move when everything before it is done, and nothing behind it until it is. What a move
//! finds is the folder just before it, half-way through it, or just after it.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::{BlockStore, Touched};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::VersionId;
use crate::core::wire::node::Place;

/// What lies under a final name.
#[derive(PartialEq, Eq)]
enum Lies {
    Nothing,
    /// The version that is asked for.
    It,
    /// A block whose trailer cannot be read.
    Unread,
    /// Another version.
    Other,
}

impl BlockStore {
    /// Gives a version's blocks another name. Where they are is seen from the blocks themselves, so
    /// one that has been renamed already is left where it is.
    pub(super) fn move_file(
        &self,
        version: VersionId,
        [from, to]: [&Place; 2],
        touched: &mut Touched,
    ) -> io::Result<()> {
        for block in self.id.blocks() {
            let [old, new] = [from, to].map(|place| self.block_path(place, block));
            let there = self.lies(&new, version)?;
            match self.lies(&old, version)? {
                // What cannot be read lies where the version should. It is taken along, for a scrub
                // to find it.
                Lies::It | Lies::Unread if there != Lies::It => {
                    self.make_folder(&to.user, &to.path.folder(), touched)?;
                    self.disk.rename(&old, &new)?;
                }
                // Older than the move; and so is what it has replaced.
                _ => {
                    self.disk.remove(&old)?;
                    if there == Lies::Other {
                        self.disk.remove(&new)?;
                    }
                }
            }
            // Done before, but maybe by a process that was killed before its sync.
            self.touch(&old, touched)?;
            self.touch(&new, touched)?;
        }
        Ok(())
    }

    /// Gives a folder another name.
    pub(super) fn move_folder(
        &self,
        user: &UserName,
        [from, to]: [&FolderPath; 2],
        touched: &mut Touched,
    ) -> io::Result<()> {
        let top = self.root.join(user.as_str());
        let [old, new] = [from, to].map(|folder| top.join(folder.as_str()));
        if new.starts_with(&old) {
            // No catalog orders it, and it could never be done.
            tracing::warn!("{} stays: it cannot be moved into itself", old.display());
            return Ok(());
        }
        if self.is_folder(&old)? {
            let above = to.split().map(|(above, _)| above).unwrap_or_default();
            self.make_folder(user, &above, touched)?;
            touched.forget(&old);
            touched.forget(&new);
            self.rename_folder(&old, &new)?;
        }
        self.touch(&old, touched)?;
        self.touch(&new, touched)
    }

    /// Puts a folder, or what is in it, under a name that may have been left over.
    fn rename_folder(&self, old: &Path, new: &Path) -> io::Result<()> {
        if !self.disk.exists(new)? {
            return self.disk.rename(old, new);
        }
        if !self.is_folder(new)? {
            return in_the_way(old, new);
        }
        for entry in self.disk.list(old)? {
            let [from, to] = [old, new].map(|folder| folder.join(&entry.name));
            if entry.is_folder {
                self.rename_folder(&from, &to)?;
            } else if self.is_folder(&to)? {
                in_the_way(&from, &to)?;
            } else {
                self.disk.rename(&from, &to)?;
            }
        }
        // Before the folder goes, in which the names were.
        self.disk.sync_folder(new)?;
        self.disk.sync_folder(old)?;
        self.disk.remove_folder(old).map(drop)
    }

    /// Removes a folder if there is nothing in it.
    pub(super) fn remove_folder(
        &self,
        user: &UserName,
        folder: &FolderPath,
        touched: &mut Touched,
    ) -> io::Result<()> {
        let path = self.root.join(user.as_str()).join(folder.as_str());
        if self.disk.remove_folder(&path)? {
            touched.forget(&path);
        }
        self.touch(&path, touched)
    }

    /// Takes a version from a final name back into staging.
    pub(super) fn take_back(
        &self,
        version: VersionId,
        place: &Place,
        touched: &mut Touched,
    ) -> io::Result<()> {
        for block in self.id.blocks() {
            let (last, staged) = (self.block_path(place, block), self.staging_path(version, block));
            if self.lies(&last, version)? == Lies::It {
                self.disk.rename(&last, &staged)?;
            }
            self.touch(&last, touched)?;
            self.touch(&staged, touched)?;
        }
        Ok(())
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        match self.disk.list(path) {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    fn lies(&self, path: &Path, version: VersionId) -> io::Result<Lies> {
        if !self.disk.exists(path)? {
            return Ok(Lies::Nothing);
        }
        Ok(match self.header_at(path)? {
            Some(header) if header.version == version => Lies::It,
            Some(_) => Lies::Other,
            None => Lies::Unread,
        })
    }

    /// Has the folder of a name synced, if there is one.
    fn touch(&self, path: &Path, touched: &mut Touched) -> io::Result<()> {
        if path.parent().map_or(Ok(false), |folder| self.disk.exists(folder))? {
            touched.folder_of(path);
        }
        Ok(())
    }
}

/// Nobody's: a user's files and folders are called so that they never meet. It must not be in the way
/// of all that follows.
fn in_the_way(from: &Path, to: &Path) -> io::Result<()> {
    tracing::warn!("{} stays: there is a {}", from.display(), to.display());
    Ok(())
}

/// A file's place, of its owner and path.
pub(super) fn place(user: &UserName, path: &FilePath) -> Place {
    Place { user: user.clone(), path: path.clone() }
}

#[cfg(test)]
mod tests;
