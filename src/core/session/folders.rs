//! Listings and folders: the requests whose outcome is no file's bytes.

use crate::core::error::Result;
use crate::core::path::FolderPath;
use crate::core::session::listing::Listing;
use crate::core::session::scan::Opcode;
use crate::core::session::{Session, Step, Waiting, say};
use crate::core::wire::extended::{Entry, Extent, Moved, Removed, Reply, When};

impl Session {
    /// Asks for a listing of what is below a folder, or of one file or folder.
    pub(super) fn list(
        &mut self,
        path: FolderPath,
        extent: Extent,
        at: Option<When>,
        attributes: bool,
    ) {
        let Some(user) = self.user.clone() else { return self.misuse("nobody is signed in") };
        let listing = Listing::new(self.manner, user, attributes);
        self.ask_loop(Step::List { path, extent, at }, Waiting::List(Box::new(listing)));
    }

    /// The outcome of [`Step::List`] and [`Step::ListOn`]: the next entries, sorted; none at the end.
    ///
    /// An error in the midst of a listing closes the connection: what were said of it would be taken
    /// for an entry.
    pub fn listed(&mut self, outcome: Result<Vec<Entry>>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::List(mut listing) = waiting else { return self.misuse("nothing was listed") };
        match outcome {
            Ok(entries) if entries.is_empty() => self.reply(listing.end()),
            Ok(entries) => {
                if let Some(page) = listing.page(&entries) {
                    self.send(page);
                }
                self.ask_loop(Step::ListOn, Waiting::List(listing));
            }
            Err(_) if listing.is_begun() => self.close(),
            Err(error) => self.reply(self.manner.failure(Opcode::List, &error)),
        }
    }

    /// The outcome of [`Step::MakeFolder`] and of [`Step::SetAttributes`].
    pub fn changed(&mut self, outcome: Result<()>) {
        self.change_done(outcome.map(|()| Vec::new()));
    }

    /// The outcome of [`Step::RemoveFolder`].
    pub fn folder_removed(&mut self, outcome: Result<Removed>) {
        self.change_done(outcome.map(Removed::to_fields));
    }

    /// The outcome of [`Step::Move`] and of [`Step::Copy`].
    pub fn moved(&mut self, outcome: Result<Moved>) {
        self.change_done(outcome.map(|moved| moved.to_fields()));
    }

    /// The outcome of [`Step::History`]: the lines of the answer. Only the extended session asks.
    pub fn history_told(&mut self, outcome: Result<Vec<String>>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::History = waiting else { return self.misuse("nobody asked for what was") };
        self.reply(match outcome {
            Ok(lines) => Reply::Success(lines).encode(),
            Err(error) => say::extended_failure(&error),
        });
    }

    /// Only the extended session asks for any of these.
    fn change_done(&mut self, outcome: Result<Vec<String>>) {
        let Some(waiting) = self.take_waiting() else { return };
        let Waiting::Change = waiting else { return self.misuse("nothing was to be changed") };
        self.reply(match outcome {
            Ok(fields) => Reply::Success(fields).encode(),
            Err(error) => say::extended_failure(&error),
        });
    }
}
