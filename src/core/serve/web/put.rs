//! `PUT`: a file comes. It is the file's new version when all has come that was announced, and else nothing
//! has changed.
//!
//! ```text
//!   announced (Content-Length, or X-Expected-Entity-Length of macOS)   one store of so many bytes
//!   not announced, ends within 1 MiB                                   the same, once its length is known
//!   not announced, longer                                              an upload, part by part: 64 MiB at most,
//!                                                                      less where that would be too much
//! ```
//!
//! Nothing is put aside on the server's disk, and no more than 1 MiB in memory.

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName};

use super::asked::{Asked, Done, Outcome, Refusal};
use super::body::Pieces;
use super::{empty, set, value};
use crate::core::code::layout::STRIPE_BYTES_MAX;
use crate::core::error::{Code, Error, Result};
use crate::core::path::FilePath;
use crate::core::serve::files::{Files, User};
use crate::core::serve::store::{Store, Stored, Wanted};
use crate::core::types::{Digest, FileAttributes, Precondition, VersionId};
use crate::core::wire::extended::Entry;
use crate::core::wire::web::conditions;

/// A part of an upload is at most this long.
const PART_BYTES_MAX: u64 = 64 << 20;

/// What is to become of the body.
struct Task<'a> {
    files: &'static Files,
    user: &'a User,
    path: &'a FilePath,
    precondition: Precondition,
    attributes: FileAttributes,
    peer: String,
}

impl Asked {
    /// `PUT`.
    pub(super) async fn put(&mut self, body: &mut Incoming) -> Outcome {
        if value(&self.head, "content-range").is_some() {
            // Who sends a part must not think that it became one.
            let text = "a part of a file cannot be put, only the whole";
            return Err(Refusal::of(StatusCode::BAD_REQUEST, Code::Usage, text));
        }
        let entry = self.look(&self.path)?;
        let tokens = self.check(entry.as_ref())?;
        if matches!(entry, Some(Entry::Folder(_))) {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Err(Refusal::of(status, Code::Exists, "there is a folder of this name"));
        }
        let path = self.file()?;
        self.check_above(&self.path)?;
        match &entry {
            Some(_) => self.guard(&self.path, false, &tokens)?,
            None => self.guard_name(&self.path, &tokens)?,
        }
        let conditions = self.conditions();
        // What the conditions were looked at with is still so when the file is there.
        let precondition = match &entry {
            Some(Entry::File(file)) if conditions.wants_state() => {
                Precondition::Unchanged(file.version)
            }
            _ if conditions.wants_nothing() => Precondition::Absent,
            _ => Precondition::Any,
        };
        let modified = value(&self.head, "x-oc-mtime").and_then(|text| text.trim().parse().ok());
        let modified_ms = modified.map(|seconds: i64| seconds.saturating_mul(1000));
        let attributes = FileAttributes { modified_ms, kind: None };
        let task = Task {
            files: self.files(),
            user: &self.user,
            path: &path,
            precondition,
            attributes,
            peer: format!("client {}", self.visit.peer),
        };
        let announced = self.announced()?;
        let (stored, bytes) = match announced {
            Some(bytes) => task.put_announced(body, bytes).await?,
            None => task.put_unannounced(body).await?,
        };
        let status = if entry.is_some() { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
        let mut response = empty(status);
        set(&mut response, header::ETAG, &conditions::tag_of(stored.version));
        if modified_ms.is_some() {
            set(&mut response, HeaderName::from_static("x-oc-mtime"), "accepted");
        }
        let (bytes, nodes) = (Some(bytes), Some(stored.nodes));
        Ok(Done { bytes, nodes, ..Done::from(response) })
    }

    /// Makes an empty file, for a lock on what is not there.
    pub(super) fn make_empty(&self) -> Result<()> {
        let path = self.file()?;
        let store = self.files().store(&self.user, &path, 0, Precondition::Absent)?;
        finish(store).map(drop)
    }

    /// How many bytes will come, as the client says.
    pub(super) fn announced(&self) -> Result<Option<u64>> {
        let header = match value(&self.head, "content-length") {
            Some(text) => Some(text),
            None => value(&self.head, "x-expected-entity-length"),
        };
        let bad = |_| Error::Protocol("the announced length is none".into());
        if header.is_none() && value(&self.head, "transfer-encoding").is_none() {
            // Without either there is no body.
            return Ok(Some(0));
        }
        header.map(|text| text.trim().parse().map_err(bad)).transpose()
    }
}

impl Task<'_> {
    async fn put_announced(&self, body: &mut Incoming, bytes: u64) -> Result<(Stored, u64)> {
        let &Task { path, precondition, attributes, .. } = self;
        let wanted = Wanted { path, bytes, precondition, attributes, keep: None };
        let mut store = self.files.store_wanted(self.user, &wanted)?;
        receive(&mut store, &mut Pieces::of(body, self.peer.clone())).await?;
        Ok((finish(store)?, bytes))
    }

    async fn put_unannounced(&self, body: &mut Incoming) -> Result<(Stored, u64)> {
        let mut pieces = Pieces::of(body, self.peer.clone());
        let mut held = vec![0; STRIPE_BYTES_MAX];
        let count = pieces.fill(&mut held).await?;
        if count < held.len() {
            let &Task { path, precondition, attributes, .. } = self;
            let bytes = count as u64;
            let wanted = Wanted { path, bytes, precondition, attributes, keep: None };
            let mut store = self.files.store_wanted(self.user, &wanted)?;
            put_into(&mut store, &held[..count])?;
            return Ok((finish(store)?, bytes));
        }
        let mut upload = Upload::begin(self)?;
        let mut count = count;
        // What is held is behind what was sent, and is all of a stripe unless the body ends with it.
        while count > 0 {
            upload.push(&held[..count])?;
            count = if count < held.len() { 0 } else { pieces.fill(&mut held).await? };
        }
        upload.complete()
    }
}

/// A file of unknown length on its way. Dropped before it is complete, it leaves nothing.
struct Upload<'a> {
    task: &'a Task<'a>,
    id: VersionId,
    /// The part that is being sent, and how much of it is still to come.
    part: Option<(Store<'static>, u64)>,
    /// What has been sent.
    sent: u64,
    is_complete: bool,
}

impl<'a> Upload<'a> {
    fn begin(task: &'a Task<'a>) -> Result<Upload<'a>> {
        let Task { files, user, path, precondition, attributes, .. } = task;
        let id = files.begin_upload(user, path, None, *precondition, *attributes)?;
        Ok(Upload { task, id, part: None, sent: 0, is_complete: false })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let length = bytes.len() as u64;
        if length < STRIPE_BYTES_MAX as u64 {
            // The last ones: what a part still waits for does not come.
            self.end_part()?;
        }
        let (store, left) = match self.part.take() {
            Some(part) => part,
            None => self.begin_part(length)?,
        };
        let (store, left) = self.part.insert((store, left));
        put_into(store, bytes)?;
        *left -= length;
        self.sent += length;
        if *left == 0
            && let Some((store, _)) = self.part.take()
        {
            store.finish_part()?;
        }
        Ok(())
    }

    /// Begins a part, as long as may be: with less room than for a whole one it is shorter.
    fn begin_part(&self, at_least: u64) -> Result<(Store<'static>, u64)> {
        let mut bytes = if at_least < STRIPE_BYTES_MAX as u64 { at_least } else { PART_BYTES_MAX };
        loop {
            match self.task.files.send(self.task.user, self.id, self.sent, bytes) {
                Ok(store) => return Ok((store, bytes)),
                Err(Error::TooBig { .. } | Error::OverQuota { .. }) if bytes > at_least => {
                    bytes = (bytes / 2).max(at_least);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends a part of which not all has come: all full stripes of it are kept.
    fn end_part(&mut self) -> Result<()> {
        self.part.take().map_or(Ok(()), |(store, _)| store.keep().map(drop))
    }

    fn complete(mut self) -> Result<(Stored, u64)> {
        self.end_part()?;
        let Task { files, user, precondition, .. } = self.task;
        let (stored, _) = files.complete_upload(user, self.id, None, *precondition)?;
        self.is_complete = true;
        Ok((stored, self.sent))
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        self.part = None;
        // It would be dropped a day later as well.
        if let Err(error) = self.task.files.drop_upload(self.task.user, self.id) {
            tracing::info!("cannot drop what has come of {}: {error}", self.task.path);
        }
    }
}

/// Takes all that a store is for, of a body that has no more than that.
///
/// # Errors
/// [`Error::Protocol`] if it has less or more; those of the connection and of the store.
pub(super) async fn receive(store: &mut Store<'_>, pieces: &mut Pieces<'_>) -> Result<()> {
    let bytes = store.bytes();
    let mut left = bytes;
    while left > 0 {
        let room = store.room()?;
        let filled = pieces.fill(room).await?;
        if filled < room.len() {
            let missing = left - filled as u64;
            return Err(Error::Protocol(format!("{missing} bytes of the file are missing")));
        }
        left -= filled as u64;
        store.push()?;
    }
    // Nothing may come behind it.
    if pieces.fill(&mut [0]).await? > 0 {
        return Err(Error::Protocol(format!("more than the announced {bytes} bytes have come")));
    }
    Ok(())
}

fn put_into(store: &mut Store<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let room = store.room()?;
        let (first, rest) = bytes
            .split_at_checked(room.len())
            .ok_or_else(|| Error::other(Code::Unexpected, "a stripe has other borders"))?;
        room.copy_from_slice(first);
        store.push()?;
        bytes = rest;
    }
    Ok(())
}

fn finish(store: Store<'_>) -> Result<Stored> {
    // Known for whatever is stored from its first byte on.
    let digest = store.digest().unwrap_or(Digest([0; 32]));
    store.finish(digest)
}
