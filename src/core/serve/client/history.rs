//! What the client door does about what was.

use std::time::Instant;

use crate::core::error::Result;
use crate::core::path::FolderPath;
use crate::core::serve::client::Connection;
use crate::core::serve::files::{Files, User};
use crate::core::serve::meter::Verb;
use crate::core::wire::extended::HistoryRequest;
use crate::core::wire::extended::history::{DeletedEntry, Difference, PathVersion};

impl Connection<'_> {
    /// Answers a request about what was.
    pub(super) fn history(&mut self, request: &HistoryRequest) {
        let begun = Instant::now();
        let outcome = self.user().and_then(|user| answer(&self.door.files, user, request));
        let (what, path) = described(request);
        self.tell(Verb::History, what, &path, begun, &outcome);
        self.session.history_told(outcome);
    }
}

fn answer(files: &Files, user: &User, request: &HistoryRequest) -> Result<Vec<String>> {
    Ok(match request {
        HistoryRequest::Versions { path } => {
            files.versions(user, path)?.iter().map(PathVersion::encode).collect()
        }
        HistoryRequest::Deleted { folder } => {
            files.deleted(user, folder)?.iter().map(DeletedEntry::encode).collect()
        }
        HistoryRequest::Undo { path } => files.undo(user, path)?.to_fields(),
        HistoryRequest::Revert { path, when, dry_run } => {
            let (told, differences) = files.revert(user, path, when, *dry_run)?;
            let mut lines = told.to_fields();
            lines.extend(differences.iter().map(Difference::encode));
            lines
        }
        HistoryRequest::Forget { path } => files.forget(user, path).map(|()| Vec::new())?,
        HistoryRequest::Usage => files.usage(user)?.to_fields(),
    })
}

/// What it is called in the log, and what it is about.
fn described(request: &HistoryRequest) -> (&'static str, FolderPath) {
    match request {
        HistoryRequest::Versions { path } => ("versions listed", path.as_folder()),
        HistoryRequest::Deleted { folder } => ("deleted names listed", folder.clone()),
        HistoryRequest::Undo { path } => ("last change undone", path.as_folder()),
        HistoryRequest::Revert { path, dry_run: true, .. } => {
            ("compared with before", path.clone())
        }
        HistoryRequest::Revert { path, .. } => ("set back", path.clone()),
        HistoryRequest::Forget { path } => ("history forgotten", path.as_folder()),
        HistoryRequest::Usage => ("usage asked for", FolderPath::top()),
    }
}
