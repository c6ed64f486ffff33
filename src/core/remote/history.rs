//! What was, and bringing it back, seen from the client.

use super::{ANSWER, LONG_ANSWER, Remote, SEND, in_doubt};
use crate::core::error::Result;
use crate::core::path::{FilePath, FolderPath};
use crate::core::wire::extended::history::{
    DeletedEntry, Difference, Outcome, PathVersion, Reverted, UsageTold,
};
use crate::core::wire::extended::{HistoryRequest, Request, When};

impl Remote {
    /// What a path is and was, the newest first.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`](crate::core::error::Code::NoSuchFile) if it never was anything, as far as is
    /// known; those of any request.
    pub fn versions(&mut self, path: &FilePath) -> Result<Vec<PathVersion>> {
        let lines = self.history(HistoryRequest::Versions { path: path.clone() })?;
        let read = lines.iter().map(|line| PathVersion::decode(line)).collect();
        self.keep(read)
    }

    /// What was below a folder and is not any more, the newest first.
    ///
    /// # Errors
    /// [`Code::NoSuchFolder`](crate::core::error::Code::NoSuchFolder); those of any request.
    pub fn deleted(&mut self, folder: &FolderPath) -> Result<Vec<DeletedEntry>> {
        let lines = self.history(HistoryRequest::Deleted { folder: folder.clone() })?;
        let read = lines.iter().map(|line| DeletedEntry::decode(line)).collect();
        self.keep(read)
    }

    /// Brings back what a path was before its last change.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`](crate::core::error::Code::NoSuchFile) if it never was anything, as far as is
    /// known; [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) if it cannot be done so; those of
    /// any change.
    pub fn undo(&mut self, path: &FilePath) -> Result<Outcome> {
        let request = Request::History(HistoryRequest::Undo { path: path.clone() });
        let fields = self.change(&request)?;
        let outcome = Outcome::from_fields(&fields);
        self.keep(outcome)
    }

    /// Makes a file, a folder or everything what it was at a time; with `dry_run` it is only said what
    /// would change.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`](crate::core::error::Code::NoSuchFile) if there was nothing of this path then;
    /// those of any change.
    pub fn revert(
        &mut self,
        path: &FolderPath,
        when: &When,
        dry_run: bool,
    ) -> Result<(Reverted, Vec<Difference>)> {
        let (path, when) = (path.clone(), when.clone());
        let asked = self.history(HistoryRequest::Revert { path, when, dry_run });
        let lines = if dry_run { asked? } else { asked.map_err(in_doubt)? };
        let read = lines.iter().map(|line| Difference::decode(line)).collect::<Result<Vec<_>>>();
        let differences = self.keep(read)?.into_iter().flatten().collect();
        let told = Reverted::from_fields(&lines);
        Ok((self.keep(told)?, differences))
    }

    /// Lets go of all that a path was before.
    ///
    /// # Errors
    /// Those of any change.
    pub fn forget(&mut self, path: &FilePath) -> Result<()> {
        let request = HistoryRequest::Forget { path: path.clone() };
        self.change(&Request::History(request)).map(drop)
    }

    /// How much is stored, and what is kept of it.
    ///
    /// # Errors
    /// Those of any request.
    pub fn usage(&mut self) -> Result<UsageTold> {
        let lines = self.history(HistoryRequest::Usage)?;
        let told = UsageTold::from_fields(&lines);
        self.keep(told)
    }

    /// The lines of the answer, which may be many.
    fn history(&mut self, request: HistoryRequest) -> Result<Vec<String>> {
        self.lines_of(&Request::History(request))
    }

    /// The lines of an answer that may be longer than others.
    pub(super) fn lines_of(&mut self, request: &Request) -> Result<Vec<String>> {
        self.send(&request.encode(), &SEND)?;
        let first = self.line_within(&LONG_ANSWER)?;
        if first != "S" {
            let mut message = vec![first];
            message.extend(self.message(&ANSWER)?);
            return self.reply(&message);
        }
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(lines);
            }
            lines.push(line);
        }
    }
}
