//! How the client door receives the bytes of files and uploads.

use std::time::{Duration, Instant};

use crate::core::error::{Code, Error, Result};
use crate::core::path::FilePath;
use crate::core::serve::audit::Event;
use crate::core::serve::client::{Connection, JOINED_BYTES_MAX, STOPPING};
use crate::core::serve::heartbeat::saying_so;
use crate::core::serve::limits::TAKE;
use crate::core::serve::meter::Verb;
use crate::core::serve::store::{Store, Wanted};
use crate::core::session::{Framing, Step, Stored};
use crate::core::types::{Digest, VersionId};
use crate::core::wire::chunk::{self, Head};

/// How often a client hears that its file is still being committed; it waits for 60 s.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A server that stops goes on for so long with a transfer that can go on later.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How receiving a body ended, with the connection still in order.
enum Received<T> {
    Done(T),
    /// Not stored; the body has been received to its end.
    Failed(Error),
    /// Not stored; more chunks may be on their way.
    Broken(Error),
}

impl<T> Received<T> {
    fn of(outcome: Result<T>) -> Received<T> {
        outcome.map_or_else(Received::Failed, Received::Done)
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Received::Done(_) => None,
            Received::Failed(error) | Received::Broken(error) => Some(error),
        }
    }
}

impl Connection<'_> {
    /// Receives a file.
    pub(super) fn store(&mut self, wanted: &Wanted<'_>, framing: Framing) -> Result<()> {
        let (path, bytes) = (wanted.path, wanted.bytes);
        let (door, begun) = (self.door, Instant::now());
        let prepared = self.user().and_then(|user| door.files.store_wanted(user, wanted));
        let Some(store) = self.prepare(prepared, Some(path), bytes, begun)? else { return Ok(()) };
        let received = match framing {
            Framing::Raw => self.receive_raw(store, bytes),
            Framing::Chunks => self.receive_chunks(store, |store, digest| {
                let own = store.digest().unwrap_or(Digest([0; 32]));
                if own != digest {
                    return Err(Error::Damaged("the file does not match its digest".into()));
                }
                finish(store, own)
            }),
        };
        let event = self.event(Verb::Store, "stored", begun);
        let event = Event { path: Some(path), bytes: Some(bytes), ..event };
        // A client that went away half-way.
        let received = received.inspect_err(|error| event.failed(error))?;
        if let Received::Done(stored) = &received {
            let what = format!("stored on {} of 4 nodes", stored.nodes.len());
            Event { what: &what, nodes: Some(stored.nodes), ..event }.done();
        } else if let Some(error) = received.error() {
            event.failed(error);
        }
        match received {
            Received::Done(stored) => self.session.stored(Ok(stored)),
            Received::Failed(error) => self.session.stored(Err(error)),
            Received::Broken(error) => self.session.store_broken(&error),
        }
        Ok(())
    }

    /// Receives bytes of an upload.
    pub(super) fn store_part(&mut self, upload: VersionId, offset: u64, bytes: u64) -> Result<()> {
        let (door, begun) = (self.door, Instant::now());
        let prepared = self.user().and_then(|user| door.files.send(user, upload, offset, bytes));
        let Some(store) = self.prepare(prepared, None, bytes, begun)? else { return Ok(()) };
        let path = store.path().clone();
        let received = self.receive_chunks(store, |store, _| {
            // What is sent is checked chunk by chunk, and the whole when it is completed.
            store.finish_part().map(|()| offset + bytes)
        });
        let event = self.event(Verb::StorePart, "part of an upload stored", begun);
        let event = Event { path: Some(&path), bytes: Some(bytes), ..event };
        let received = received.inspect_err(|error| event.failed(error))?;
        match received.error() {
            Some(error) => event.failed(error),
            None => event.done(),
        }
        match received {
            Received::Done(arrived) => self.session.part_stored(Ok(arrived)),
            Received::Failed(error) => self.session.part_stored(Err(error)),
            Received::Broken(error) => self.session.store_broken(&error),
        }
        Ok(())
    }

    /// Tells the client whether the body can come; `None` if it cannot.
    fn prepare<'s>(
        &mut self,
        prepared: Result<Store<'s>>,
        path: Option<&FilePath>,
        bytes: u64,
        begun: Instant,
    ) -> Result<Option<Store<'s>>> {
        let store = match prepared {
            Ok(store) => store,
            Err(error) => {
                // A part is named by its upload.
                let verb = if path.is_some() { Verb::Store } else { Verb::StorePart };
                let event = self.event(verb, "stored", begun);
                Event { path, bytes: Some(bytes), ..event }.failed(&error);
                self.session.store_refused(&error);
                return Ok(None);
            }
        };
        for node in store.targets().iter() {
            let [first, second] = node.blocks();
            tracing::info!("sending {first}, {second} to server {node}");
        }
        self.session.store_ready();
        while let Step::Send(bytes) = self.session.next_step() {
            self.say(bytes)?;
        }
        self.flush()?;
        Ok(Some(store))
    }

    /// Receives exactly `bytes` bytes, also if storing them fails half-way.
    fn receive_raw(&mut self, mut store: Store<'_>, bytes: u64) -> Result<Received<Stored>> {
        let mut left = bytes;
        while left > 0 {
            let taken = match store.room() {
                Ok(room) => {
                    self.fill(room)?;
                    left -= room.len() as u64;
                    store.push()
                }
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                drop(store);
                self.drop_raw(left)?;
                return Ok(Received::Failed(error));
            }
        }
        let digest = store.digest().unwrap_or(Digest([0; 32]));
        Ok(Received::of(finish(store, digest)))
    }

    /// Receives chunks up to their end, and finishes with the digest that comes there. What has come is kept
    /// if the client goes away or gives up, where that is wanted.
    fn receive_chunks<T: Send>(
        &mut self,
        mut store: Store<'_>,
        finish: impl FnOnce(Store<'_>, Digest) -> Result<T> + Send,
    ) -> Result<Received<T>> {
        let bytes = store.bytes();
        let mut left = bytes;
        let mut stopping_since = None;
        loop {
            if store.is_kept() && self.door.state.is_stopping() {
                let since: &mut Instant = stopping_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= STOP_GRACE {
                    keep(store);
                    return Ok(Received::Broken(Error::other(Code::Temporary, STOPPING)));
                }
            }
            match self.chunk_head() {
                Ok(Head::Data { length, checksum }) => {
                    let room = match store.room() {
                        Ok(room) if room.len() == length => room,
                        Ok(_) => return Ok(Received::Failed(wrong_length(length))),
                        Err(error) => {
                            self.drop_raw(length as u64)?;
                            return Ok(Received::Broken(error));
                        }
                    };
                    if let Err(error) = self.fill(room) {
                        keep(store);
                        return Err(error);
                    }
                    if let Err(error) = chunk::verify(room, checksum) {
                        keep(store);
                        return Ok(Received::Broken(error));
                    }
                    if let Err(error) = store.push() {
                        return Ok(Received::Broken(error));
                    }
                    self.outgoing.push(chunk::ACKNOWLEDGED);
                    left = left.saturating_sub(length as u64);
                    // That of a small file leaves with the answer, if the end is there already.
                    self.is_followed = left == 0 && bytes <= JOINED_BYTES_MAX;
                    if !self.is_followed
                        && let Err(error) = self.flush()
                    {
                        keep(store);
                        return Err(error);
                    }
                }
                Ok(Head::End { checksum }) => {
                    let mut announced = Digest([0; 32]);
                    self.fill(&mut announced.0)?;
                    if chunk::verify(&announced.0, checksum).is_err() {
                        let what = "the end of the file was damaged on its way";
                        return Ok(Received::Failed(Error::Damaged(what.into())));
                    }
                    return Ok(Received::of(self.finish_saying_so(store, announced, finish)));
                }
                Ok(Head::GivenUp) => {
                    keep(store);
                    let what = "the transfer was given up by the client";
                    return Ok(Received::Failed(Error::other(Code::Interrupted, what)));
                }
                Err(error @ Error::Protocol(_)) => return Ok(Received::Failed(error)),
                Err(error) => {
                    keep(store);
                    return Err(error);
                }
            }
        }
    }

    /// Finishes a store. The nodes may take long to make a large file durable, and the client waits.
    fn finish_saying_so<T: Send>(
        &mut self,
        store: Store<'_>,
        digest: Digest,
        finish: impl FnOnce(Store<'_>, Digest) -> Result<T> + Send,
    ) -> Result<T> {
        if store.bytes() <= chunk::CHUNK_BYTES as u64 {
            return finish(store, digest);
        }
        let stream = &mut self.stream;
        let say = || stream.write_all(&[&[chunk::ACKNOWLEDGED]], &TAKE);
        saying_so(SAY_EVERY, say, || finish(store, digest))
    }
}

/// Keeps what has come of a file whose client is gone.
fn keep(store: Store<'_>) {
    let path = store.path().clone();
    match store.keep() {
        Ok(0) => {}
        Ok(bytes) => tracing::info!("{bytes} bytes of {path} are kept: its upload can go on"),
        Err(error) => tracing::warn!("what had come of {path} cannot be kept: {error}"),
    }
}

fn finish(store: Store<'_>, digest: Digest) -> Result<Stored> {
    let stored = store.finish(digest)?;
    Ok(Stored { version: stored.version, digest, nodes: stored.nodes })
}

fn wrong_length(length: usize) -> Error {
    Error::Protocol(format!("a chunk of {length} bytes came where another length was due"))
}
