//! Listings and folders, seen from the client.

use super::{ANSWER, Remote, SEND};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::wire::extended::{Entry, Extent, Moved, Removed, Request};

impl Remote {
    /// Hands every folder and file of the user to `each`, sorted by path, as they arrive.
    ///
    /// # Errors
    /// As [`Remote::list_below`].
    pub fn list(&mut self, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        self.list_below(&FolderPath::top(), Extent::All, each)
    }

    /// Hands what is at this path or below it to `each`, sorted by path, as it arrives.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] or [`Code::NoSuchFolder`]; the first of `each`, after which the connection
    /// is unusable; those of any request.
    pub fn list_below(
        &mut self,
        path: &FolderPath,
        extent: Extent,
        each: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        self.send(&Request::List { path: path.clone(), extent }.encode(), &SEND)?;
        let first = self.line()?;
        if first != "S" {
            let mut message = vec![first];
            message.extend(self.message(&ANSWER)?);
            return self.reply(&message).map(drop);
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            let done = Entry::decode(&line).and_then(&mut *each);
            self.keep(done)?;
        }
    }

    /// What is at this path.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] or [`Code::NoSuchFolder`], and those of any request.
    pub fn look(&mut self, path: &FolderPath) -> Result<Entry> {
        let mut found = None;
        self.list_below(path, Extent::Itself, &mut |entry| {
            found = Some(entry);
            Ok(())
        })?;
        let missing = || Error::other(Code::NoSuchFile, format!("there is no {path}"));
        found.ok_or_else(missing)
    }

    /// Makes a folder; with `parents` also those above it, and then one that is there is no error.
    ///
    /// # Errors
    /// [`Code::Exists`], [`Code::NoSuchFolder`], and those of any change.
    pub fn make_folder(&mut self, folder: &FolderPath, parents: bool) -> Result<()> {
        self.change(&Request::MakeFolder { folder: folder.clone(), parents }).map(drop)
    }

    /// Removes a folder, which has to be empty unless `recursive`.
    ///
    /// # Errors
    /// [`Code::NoSuchFolder`], [`Code::NotAllowed`] if it is not empty, and those of any change.
    pub fn remove_folder(&mut self, folder: &FolderPath, recursive: bool) -> Result<Removed> {
        let fields = self.change(&Request::RemoveFolder { folder: folder.clone(), recursive })?;
        let removed = Removed::from_fields(&fields);
        self.keep(removed)
    }

    /// Moves a file or a folder into the folder `to`, or to the path `to` if that is no folder.
    ///
    /// # Errors
    /// [`Code::Exists`] if a file is there, unless `replace`; [`Code::NoSuchFile`],
    /// [`Code::NoSuchFolder`], and those of any change.
    pub fn move_to(&mut self, from: &FilePath, to: &FolderPath, replace: bool) -> Result<Moved> {
        let (from, to) = (from.clone(), to.clone());
        let fields = self.change(&Request::Move { from, to, replace })?;
        let moved = Moved::from_fields(&fields);
        self.keep(moved)
    }
}
