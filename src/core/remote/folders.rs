//! Listings and folders, seen from the client.

use super::{ANSWER, LONG_ANSWER, Remote, SEND};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::{FileAttributes, VersionId};
use crate::core::wire::extended::{Entry, Extent, Moved, Removed, Request, When};

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
        self.list_at(path, extent, None, each)
    }

    /// The same as it was at a time.
    ///
    /// # Errors
    /// As [`Remote::list_below`].
    pub fn list_at(
        &mut self,
        path: &FolderPath,
        extent: Extent,
        at: Option<When>,
        each: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        let request = Request::List { path: path.clone(), extent, at, attributes: true };
        self.send(&request.encode(), &SEND)?;
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
        self.look_at(path, None)
    }

    /// What was at this path at a time.
    ///
    /// # Errors
    /// As [`Remote::look`].
    pub fn look_at(&mut self, path: &FolderPath, at: Option<When>) -> Result<Entry> {
        let mut found = None;
        self.list_at(path, Extent::Itself, at, &mut |entry| {
            found = Some(entry);
            Ok(())
        })?;
        let missing = || Error::other(Code::NoSuchFile, format!("there is no {path}"));
        found.ok_or_else(missing)
    }

    /// Changes what a file of this version keeps besides its bytes: what is given, and the rest stays.
    ///
    /// # Errors
    /// [`Code::Changed`], [`Code::NotAllowed`] where it has copies, and those of any change.
    pub fn set_attributes(
        &mut self,
        path: &FilePath,
        version: VersionId,
        attributes: FileAttributes,
    ) -> Result<()> {
        let path = path.clone();
        self.change(&Request::SetAttributes { path, version, attributes }).map(drop)
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

    /// Copies a file or, with `recursive`, a folder in the same way. No byte travels.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] for a folder without `recursive`; [`Code::OverQuota`]; those of
    /// [`Remote::move_to`].
    pub fn copy(
        &mut self,
        from: &FilePath,
        to: &FolderPath,
        [recursive, replace]: [bool; 2],
    ) -> Result<Moved> {
        let (from, to) = (from.clone(), to.clone());
        let request = Request::Copy { from, to, recursive, replace };
        let fields = self.change_within(&request, &LONG_ANSWER)?;
        let copied = Moved::from_fields(&fields);
        self.keep(copied)
    }
}
