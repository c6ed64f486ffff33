//! What a session does with what was.

use super::{Running, failed_here};
use crate::cmd::client::operation::Operation;
use crate::cmd::client::{undo, versions};
use crate::cmd::failure::Stop;
use crate::core::path::FilePath;

impl Running<'_> {
    /// `versions`: what a path is and was.
    pub(super) fn versions(&mut self, operation: &Operation) -> Result<(), Stop> {
        let path = self.named_path(operation)?;
        let found = self.remote.borrow_mut().versions(&path);
        let what = format!("cannot list the versions of {path}");
        versions::show(&found.map_err(|error| failed_here(&what, &error))?, self.env)
    }

    /// `undo`: what a path was before its last change.
    pub(super) fn undo(&mut self, operation: &Operation) -> Result<(), Stop> {
        let path = self.named_path(operation)?;
        let outcome = self.remote.borrow_mut().undo(&path);
        let outcome = outcome.map_err(|error| undo::failure(path.as_str(), &error))?;
        // What was seen of it last is not what it is now.
        self.seen.remove(&path);
        self.env.data(&undo::summary(&path, &outcome))
    }

    fn named_path(&self, operation: &Operation) -> Result<FilePath, Stop> {
        let folder = self.named_folder(operation)?;
        Ok(FilePath::parse_rooted(folder.as_str()).map_err(super::folders::wrong)?)
    }
}
