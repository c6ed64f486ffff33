//! What the client door does about folders, and listings, which go out page by page.
//!
//! No transaction spans a listing: what is changed while it is being said may be in it or not, but
//! nothing is in it twice, since each page begins behind the last entry of the one before.

use std::time::Instant;

use crate::core::catalog::Scope;
use crate::core::error::Result;
use crate::core::path::{FilePath, FolderPath, printable};
use crate::core::serve::audit::Event;
use crate::core::serve::client::Connection;
use crate::core::serve::files::{Files, User};
use crate::core::serve::meter::Verb;
use crate::core::wire::extended::{Entry, Extent, Moved, Removed, When};

/// How many entries are read at once. Two pages of them are in memory, however long the listing is.
const PAGE_ENTRIES: usize = 500;

/// A listing that is under way.
pub(super) struct Listing {
    below: FolderPath,
    /// As it was then.
    at: Option<When>,
    begun: Instant,
    next: Next,
}

/// What it goes on with.
enum Next {
    /// This and nothing else.
    Alone(Entry),
    /// What stands behind this entry, or the beginning.
    Page(Scope, Option<Entry>),
    End,
}

impl Listing {
    fn begin(
        files: &Files,
        user: &User,
        below: FolderPath,
        extent: Extent,
        at: Option<When>,
    ) -> Result<Listing> {
        let scope = if extent == Extent::Children { Scope::Children } else { Scope::All };
        let there = match &at {
            None => files.look(user, &below)?,
            Some(when) => files.look_at(user, &below, when)?,
        };
        let next = match there {
            Entry::Folder(_) if extent != Extent::Itself => Next::Page(scope, None),
            entry => Next::Alone(entry),
        };
        Ok(Listing { below, at, begun: Instant::now(), next })
    }

    /// The next entries; none at the end.
    fn page(&mut self, files: &Files, user: &User) -> Result<Vec<Entry>> {
        match std::mem::replace(&mut self.next, Next::End) {
            Next::Alone(entry) => Ok(vec![entry]),
            Next::Page(scope, after) => {
                let (below, after) = (&self.below, after.as_ref());
                let page = match &self.at {
                    None => files.page(user, below, scope, after, PAGE_ENTRIES)?,
                    Some(when) => files.page_at(user, below, scope, when, after, PAGE_ENTRIES)?,
                };
                if let Some(last) = page.last() {
                    self.next = Next::Page(scope, Some(last.clone()));
                }
                Ok(page)
            }
            Next::End => Ok(Vec::new()),
        }
    }
}

impl Connection<'_> {
    /// Begins a listing and hands its first page to the session.
    pub(super) fn list(&mut self, below: FolderPath, extent: Extent, at: Option<When>) {
        let begun = Instant::now();
        let listing =
            self.user().and_then(|user| Listing::begin(&self.door.files, user, below, extent, at));
        match listing {
            Ok(listing) => {
                self.listing = Some(listing);
                self.list_on();
            }
            Err(error) => {
                self.event(Verb::List, "listed", begun).failed(&error);
                self.session.listed(Err(error));
            }
        }
    }

    /// Hands the next page to the session. One that is not the first is asked for once the client has
    /// taken the one before the last.
    pub(super) fn list_on(&mut self) {
        let Some(mut listing) = self.listing.take() else {
            return self.session.listed(Ok(Vec::new()));
        };
        let page = self.user().and_then(|user| listing.page(&self.door.files, user));
        match &page {
            Ok(entries) if entries.is_empty() => {
                self.event(Verb::List, "listed", listing.begun).done()
            }
            Ok(_) => self.listing = Some(listing),
            Err(error) => self.event(Verb::List, "listed", listing.begun).failed(error),
        }
        self.session.listed(page);
    }

    /// Makes a folder.
    pub(super) fn make_folder(&mut self, folder: &FolderPath, parents: bool) {
        let begun = Instant::now();
        let made = self.user().and_then(|user| self.door.files.make_folder(user, folder, parents));
        self.tell(Verb::MakeFolder, "folder made", folder, begun, &made);
        self.session.changed(made);
    }

    /// Removes a folder.
    pub(super) fn remove_folder(&mut self, folder: &FolderPath, recursive: bool) {
        let begun = Instant::now();
        let removed =
            self.user().and_then(|user| self.door.files.remove_folder(user, folder, recursive));
        self.tell(Verb::RemoveFolder, "folder removed", folder, begun, &removed);
        let removed =
            removed.map(|removed| Removed { folders: removed.folders, files: removed.files });
        self.session.folder_removed(removed);
    }

    /// Moves a file or a folder.
    pub(super) fn move_to(&mut self, from: &FilePath, to: &FolderPath, replace: bool) {
        let begun = Instant::now();
        let moved = self.user().and_then(|user| self.door.files.move_to(user, from, to, replace));
        self.tell_moved(Verb::Move, "moved to", from, to, begun, &moved);
        self.session.moved(moved);
    }

    /// Copies a file or a folder.
    pub(super) fn copy(&mut self, from: &FilePath, to: &FolderPath, how: [bool; 2]) {
        let begun = Instant::now();
        let copied = self.user().and_then(|user| self.door.files.copy(user, from, to, how));
        self.tell_moved(Verb::Copy, "copied to", from, to, begun, &copied);
        self.session.moved(copied);
    }

    fn tell_moved(
        &self,
        verb: Verb,
        what: &str,
        from: &FilePath,
        to: &FolderPath,
        begun: Instant,
        outcome: &Result<Moved>,
    ) {
        let target = match outcome {
            Ok(moved) => moved.to.as_str(),
            Err(_) => to.as_str(),
        };
        let what = format!("{what} {}", printable(&format!("/{target}")));
        self.tell(verb, &what, &from.as_folder(), begun, outcome);
    }

    /// Logs what has come of a request about a folder.
    pub(super) fn tell<T>(
        &self,
        verb: Verb,
        what: &str,
        folder: &FolderPath,
        begun: Instant,
        outcome: &Result<T>,
    ) {
        let path = FilePath::parse_rooted(folder.as_str()).ok(); // the top folder is none
        Event { path: path.as_ref(), ..self.event(verb, what, begun) }.end(outcome);
    }
}
