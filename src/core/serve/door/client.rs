//! One client of a door, and what all doors do for theirs: where the door's folder is, a store of
//! bytes that were put aside, a file sent in pieces.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::Context;
use crate::core::catalog::Scope;
use crate::core::error::{Code, Error, Result};
use crate::core::io::listener::Busy;
use crate::core::io::net::Stream;
use crate::core::io::spool::Spool;
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::audit::Event;
use crate::core::serve::files::{Files, User};
use crate::core::serve::limits::TAKE;
use crate::core::serve::meter::Verb;
use crate::core::serve::retrieve::Retrieve;
use crate::core::serve::settle::settle;
use crate::core::serve::store::Stored;
use crate::core::types::{Digest, Precondition};
use crate::core::wire::extended::Entry;

/// How many entries of a folder are looked at in one go.
const PAGE: usize = 256;

/// A client.
pub(super) struct DoorClient<'a> {
    context: &'a Context,
    /// The connection.
    pub(super) stream: Stream,
    /// Where it comes from.
    pub(super) peer: SocketAddr,
    user: User,
}

impl<'a> DoorClient<'a> {
    /// Lets a client in as the door's account.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], or if the connection is gone already.
    pub(super) fn admit(
        context: &'a Context,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Result<DoorClient<'a>> {
        let stream = Stream::accepted(socket, format!("client {peer}"))?;
        let user = context.backend.files.trusted_user(&context.spec.user)?;
        let user = user.coming_from(format!("door {} {peer}", context.spec.kind));
        Ok(DoorClient { context, stream, peer, user })
    }

    /// The facade.
    pub(super) fn files(&self) -> &'a Files {
        &self.context.backend.files
    }

    /// Whose files they are.
    pub(super) fn user(&self) -> &User {
        &self.user
    }

    /// The folder that the door shows as its top.
    pub(super) fn top(&self) -> &FolderPath {
        &self.context.spec.folder
    }

    /// Begins a piece of work: a stop of the server waits for it.
    ///
    /// # Errors
    /// If the server is being stopped, or the account may do nothing any more.
    pub(super) fn begin(&self) -> Result<Busy<'a>> {
        let busy = self.context.backend.state.begin().ok_or_else(|| {
            Error::other(Code::Temporary, "the server is shutting down, try again later")
        })?;
        self.files().check_standing(&self.user)?;
        Ok(busy)
    }

    /// A folder of the user's, named as seen from the door's top.
    ///
    /// # Errors
    /// [`Error::BadPath`] if the whole is too long or too deep.
    pub(super) fn folder(&self, seen: &FolderPath) -> Result<FolderPath> {
        match (self.top().is_top(), seen.is_top()) {
            (true, _) => Ok(seen.clone()),
            (_, true) => Ok(self.top().clone()),
            _ => {
                let whole = format!("{}/{}", self.top().as_str(), seen.as_str());
                Ok(FolderPath::parse(&whole)?)
            }
        }
    }

    /// A file of the user's, named as seen from the door's top.
    ///
    /// # Errors
    /// [`Error::BadPath`] if it is no path, leaves the door's folder, or is too long.
    pub(super) fn file(&self, seen: &str) -> Result<FilePath> {
        let seen = FilePath::parse_rooted(seen)?;
        let whole = self.folder(&seen.as_folder())?;
        Ok(FilePath::parse_rooted(whole.as_str())?)
    }

    /// For the log of who did what.
    pub(super) fn event<'b>(&'b self, verb: Verb, what: &'b str, begun: Instant) -> Event<'b> {
        let meter = self.context.backend.meters.at(self.context.spec.kind.into());
        let event = Event::new(meter, verb, what, self.peer, begun);
        Event { user: Some(&self.user.name), ..event }
    }

    /// Puts what lies in a folder through `each` until that says stop: the entry and its own name.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], or if the catalog cannot be read.
    pub(super) fn each_entry(
        &self,
        folder: &FolderPath,
        mut each: impl FnMut(&Entry, &str) -> bool,
    ) -> Result<()> {
        if let Entry::File(_) = self.files().look(&self.user, folder)? {
            return Err(Error::NoSuchFolder(folder.clone()));
        }
        let mut after = None;
        loop {
            let page =
                self.files().page(&self.user, folder, Scope::Children, after.as_ref(), PAGE)?;
            for entry in &page {
                let name = match entry {
                    Entry::Folder(path) => path.split().map_or("", |(_, name)| name),
                    Entry::File(file) => file.path.name(),
                };
                if !each(entry, name) {
                    return Ok(());
                }
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// A place for a file whose size is not known yet.
    pub(super) fn spool(&self) -> Spool {
        self.context.backend.spools.spool()
    }

    /// Stores what was put aside, from `offset` to its end, and logs that.
    ///
    /// # Errors
    /// Those of [`Files::store`] and what follows it; the file is what it was before.
    pub(super) fn store(
        &self,
        path: &FilePath,
        spool: &Spool,
        offset: u64,
        precondition: Precondition,
        begun: Instant,
    ) -> Result<Stored> {
        let bytes = spool.bytes() - offset;
        let stored = self.store_unlogged(path, spool, offset, precondition);
        let nodes = stored.as_ref().ok().map(|stored| stored.nodes);
        let event = self.event(Verb::Store, "stored", begun);
        Event { path: Some(path), bytes: Some(bytes), nodes, ..event }.end(&stored);
        stored
    }

    fn store_unlogged(
        &self,
        path: &FilePath,
        spool: &Spool,
        offset: u64,
        precondition: Precondition,
    ) -> Result<Stored> {
        let _busy = self.begin()?;
        let bytes = spool.bytes() - offset;
        let mut store = self.files().store(&self.user, path, bytes, precondition)?;
        let mut hasher = blake3::Hasher::new();
        let mut at = offset;
        while at < spool.bytes() {
            let room = store.room()?;
            spool.read_exact_at(room, at).map_err(Error::io("cannot read what was put aside"))?;
            hasher.update(room);
            at += room.len() as u64;
            store.push()?;
        }
        store.finish(Digest(*hasher.finalize().as_bytes()))
    }

    /// Begins to read a file. What fails is logged.
    ///
    /// # Errors
    /// Those of [`Files::retrieve`]; nothing has been sent.
    pub(super) fn retrieve(&self, path: &FilePath, begun: Instant) -> Result<Retrieve<'a>> {
        let found = self.begin().and_then(|_busy| self.files().retrieve(&self.user, path, None));
        found.inspect_err(|error| {
            Event { path: Some(path), ..self.event(Verb::Retrieve, "retrieved", begun) }
                .failed(error);
        })
    }

    /// Logs how sending a file went.
    pub(super) fn retrieved(
        &self,
        path: &FilePath,
        retrieve: &Retrieve<'_>,
        begun: Instant,
        sent: &Result<()>,
    ) {
        let (bytes, nodes) = (Some(retrieve.bytes), Some(retrieve.used()));
        let event = self.event(Verb::Retrieve, "retrieved", begun);
        Event { path: Some(path), bytes, nodes, ..event }.end(sent);
    }

    /// Sends a file in pieces, each a segment of its own. `next` says from what is left and the last
    /// piece how long the next one is, and whether the client must have taken the last one by then.
    ///
    /// # Errors
    /// The client's or the nodes'; the file is not whole then.
    pub(super) fn send_pieces(
        &mut self,
        retrieve: &mut Retrieve<'_>,
        next: impl Fn(u64, Option<usize>) -> Option<(usize, bool)>,
    ) -> Result<()> {
        let _busy = self.begin()?;
        let (mut left, mut before) = (retrieve.bytes, None);
        let mut piece = Vec::new();
        while let Some(parts) = retrieve.next_part()? {
            for mut part in parts {
                while !part.is_empty() {
                    let Some((length, is_apart)) = next(left, before) else { return Ok(()) };
                    let (taken, rest) = part.split_at((length - piece.len()).min(part.len()));
                    piece.extend_from_slice(taken);
                    part = rest;
                    if piece.len() < length {
                        continue;
                    }
                    if is_apart {
                        settle(&self.stream, self.peer)?;
                    }
                    self.stream.write_segment(&piece, &TAKE)?;
                    (left, before) = (left - length as u64, Some(length));
                    piece.clear();
                }
            }
        }
        Ok(())
    }
}
