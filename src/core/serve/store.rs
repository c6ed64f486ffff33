//! Storing files: their bytes, stripe by stripe, until the file's new version is decided.
//!
//! ```text
//!   a plain store   one extent, however long ──────────────────────────> Stored
//!   a kept one      64 MiB ── ExtentStored ──> 64 MiB ── ... ───────────> UploadCompleted
//!                      │ up to 128 MiB: nothing but Stored, as above
//!                      '── breaks off: what has come, to the last full MiB, is an upload
//!   an upload       begins anywhere ── 64 MiB ── ExtentStored ──> ...    and is completed by itself
//! ```
//!
//! So a file of up to 128 MiB that comes in one go lies on the nodes as one version, and costs one entry of
//! the journal, whether it is kept or not.

use std::sync::Arc;

use crate::core::catalog::{Completed, Completion, NewExtent, NewFile};
use crate::core::cluster::traffic::Transfer;
use crate::core::cluster::uploading::Sender;
use crate::core::cluster::{Cluster, Writing, Written};
use crate::core::code::digest::DigestTree;
use crate::core::error::{Code, Error, Reached, Result};
use crate::core::io::clock;
use crate::core::path::FilePath;
use crate::core::serve::files::{Files, User, place};
use crate::core::serve::quota::Reservation;
use crate::core::status::Direction;
use crate::core::types::{
    Digest, FileAttributes, LINK_BYTES_MAX, NodeSet, Precondition, VersionId, WRITE_QUORUM,
};
use crate::core::wire::extents::{Extent, PlacedExtent};
use crate::core::wire::journal::UploadBegun;
use crate::core::wire::node::{PieceMeta, Place};
use crate::core::wire::trailer::PartOf;

/// A file of at most this many bytes that comes in one go is one extent; a longer one, and an upload, begins
/// a new one after so many bytes.
pub const EXTENT_BYTES: [u64; 2] = [128 << 20, 64 << 20];

/// What a finished store has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The new version.
    pub version: VersionId,
    /// The nodes that hold it, synced.
    pub nodes: NodeSet,
}

/// What is to be stored.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub path: &'a FilePath,
    /// How many bytes will come.
    pub bytes: u64,
    /// What has to be there.
    pub precondition: Precondition,
    /// What it is to keep of the file that is stored.
    pub attributes: FileAttributes,
    /// What has come is kept as the upload of this id if the transfer breaks off.
    pub keep: Option<VersionId>,
}

/// What becomes of the bytes.
enum Goal {
    /// A file's new version.
    File { precondition: Precondition, keep: Option<VersionId> },
    /// A part of this upload.
    Upload { id: VersionId, at: PartPlace, whole_bytes: Option<u64> },
}

/// Where a part of an upload belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PartPlace {
    /// At this byte of the file.
    Byte(u64),
    /// As the part of this number, in place of what the upload has of it.
    Number(u32),
}

/// A part with this number has the positions from the first on, up to before the second.
pub(super) fn positions_of(number: u32) -> [u64; 2] {
    [u64::from(number) << 32, u64::from(number + 1) << 32]
}

/// A link leads to a path, which is known to be short before anything is taken.
pub(super) fn check_link(attributes: FileAttributes, bytes: Option<u64>) -> Result<()> {
    match bytes {
        Some(1..=LINK_BYTES_MAX) => Ok(()),
        _ if !attributes.is_link() => Ok(()),
        _ => {
            let text = format!("a symbolic link leads to a path of 1 to {LINK_BYTES_MAX} bytes");
            Err(Error::other(Code::Usage, text))
        }
    }
}

/// Bytes that are being stored. Dropped before it is finished, it leaves everything as it was, but for the
/// extents of an upload that are complete.
pub struct Store<'a> {
    files: &'a Files,
    reservation: Reservation<'a>,
    transfer: Transfer,
    _sender: Option<Sender<'a>>,
    place: Place,
    by: String,
    attributes: FileAttributes,
    begun_ms: i64,
    goal: Goal,
    /// How many bytes will come.
    bytes: u64,
    extent: ExtentWriting,
    /// Where in the file the next byte belongs; counted from 0 where that is not known.
    offset: u64,
    /// Where the last one ends.
    end: u64,
    /// Those that are on the nodes and in the journal.
    extents: Vec<PlacedExtent>,
}

/// What a store begins with, once nothing stands in its way.
struct Task<'a> {
    place: Place,
    attributes: FileAttributes,
    goal: Goal,
    sender: Option<Sender<'a>>,
    reservation: Reservation<'a>,
    /// Where in the file the bytes begin and end.
    span: [u64; 2],
}

/// An extent that is being written.
struct ExtentWriting {
    writing: Writing,
    meta: PieceMeta,
    /// Where in the file it begins.
    begin: u64,
    tree: Option<DigestTree>,
    /// Of its own bytes; `None` where the tree is that of the extent itself.
    hasher: Option<blake3::Hasher>,
}

impl Files {
    /// Begins to store a file. Whatever can be refused is refused here, before its bytes are taken.
    ///
    /// # Errors
    /// [`Error::TooBig`], [`Error::OverQuota`], [`Error::NameCollision`],
    /// [`Error::TooFewToStore`], [`Error::NodesFull`]; for a precondition that is not met
    /// [`Error::Exists`], [`Error::NoSuchFile`], [`Error::NoSuchFolder`],
    /// [`Error::ChangedMeanwhile`] or [`Error::GoneMeanwhile`]; those of any change.
    pub fn store(
        &self,
        user: &User,
        path: &FilePath,
        bytes: u64,
        precondition: Precondition,
    ) -> Result<Store<'_>> {
        let attributes = FileAttributes::default();
        self.store_wanted(user, &Wanted { path, bytes, precondition, attributes, keep: None })
    }

    /// The same, with all that can be wanted of it.
    ///
    /// # Errors
    /// As [`Files::store`]; [`Code::Temporary`] if somebody sends the upload that it is kept as,
    /// [`Code::NotAllowed`] if there is one already.
    pub fn store_wanted(&self, user: &User, wanted: &Wanted<'_>) -> Result<Store<'_>> {
        let &Wanted { path, bytes, precondition, attributes, keep } = wanted;
        user.changes_file(path)?;
        self.check_size(bytes)?;
        check_link(attributes, Some(bytes))?;
        let sender = keep.map(|id| self.sender(id)).transpose()?;
        if keep.is_some_and(|id| self.cluster.catalog.upload(user.account.id, id).is_ok()) {
            let text = "there is an upload of this id already: go on with it, or take another id";
            return Err(Error::other(Code::NotAllowed, text));
        }
        self.may_change().map_err(too_few_to_store)?;
        self.cluster.catalog.check_room()?;
        let reservation =
            self.with_room(|room| self.usage.reserve(room, user.account.id, path, bytes))?;
        self.cluster.catalog.check_store(&user.account, &user.proof, path, precondition)?;
        let goal = Goal::File { precondition, keep };
        let place = place(user, path);
        let task = Task { place, attributes, goal, sender, reservation, span: [0, bytes] };
        self.begin_store(user, task)
    }

    /// Begins to store so many bytes that become a part of an upload.
    pub(super) fn store_part(
        &self,
        user: &User,
        (id, path, whole_bytes): (VersionId, &FilePath, Option<u64>),
        at: PartPlace,
        bytes: u64,
    ) -> Result<Store<'_>> {
        user.changes_file(path)?;
        let offset = match at {
            PartPlace::Byte(offset) => offset,
            PartPlace::Number(_) => 0,
        };
        let end = offset.saturating_add(bytes);
        self.check_size(end.max(whole_bytes.unwrap_or(0)))?;
        let sender = Some(match at {
            PartPlace::Byte(_) => self.sender(id)?,
            PartPlace::Number(number) => self.part_sender(id, number)?,
        });
        self.may_change().map_err(too_few_to_store)?;
        self.cluster.catalog.check_room()?;
        let reservation =
            self.with_room(|room| self.usage.reserve(room, user.account.id, path, bytes))?;
        let goal = Goal::Upload { id, at, whole_bytes };
        let (place, attributes) = (place(user, path), FileAttributes::default());
        let task = Task { place, attributes, goal, sender, reservation, span: [offset, end] };
        self.begin_store(user, task)
    }

    pub(super) fn check_size(&self, bytes: u64) -> Result<()> {
        match self.file_bytes_max {
            limit if bytes > limit => Err(Error::TooBig { bytes, limit }),
            _ => Ok(()),
        }
    }

    fn sender(&self, id: VersionId) -> Result<Sender<'_>> {
        let text =
            "another connection sends this upload; it is noticed within a minute if that is gone";
        self.cluster.uploading.enter(id).ok_or_else(|| Error::other(Code::Temporary, text))
    }

    /// Nobody else changes this part of an upload meanwhile: its extents come one after the other.
    pub(super) fn part_sender(&self, id: VersionId, number: u32) -> Result<Sender<'_>> {
        let text =
            "another connection sends this part; it is noticed within a minute if that is gone";
        let sender = self.cluster.uploading.enter_part(id, number);
        sender.ok_or_else(|| Error::other(Code::Temporary, text))
    }

    fn begin_store<'a>(&'a self, user: &User, task: Task<'a>) -> Result<Store<'a>> {
        let Task { place, attributes, goal, sender, reservation, span: [offset, end] } = task;
        let begun_ms = clock::now_ms();
        let extent = self.begin_extent(&place, &goal, 0, [offset, end], begun_ms)?;
        let bytes = end - offset;
        Ok(Store {
            files: self,
            reservation,
            transfer: self.cluster.volume.traffic().enter(Direction::Store, place.clone(), bytes),
            _sender: sender,
            place,
            by: user.described(),
            attributes,
            begun_ms,
            goal,
            bytes,
            extent,
            offset,
            end,
            extents: Vec::new(),
        })
    }

    /// Begins to write the extent behind so many others.
    fn begin_extent(
        &self,
        place: &Place,
        goal: &Goal,
        before: usize,
        [begin, end]: [u64; 2],
        stored_ms: i64,
    ) -> Result<ExtentWriting> {
        let rest = end - begin;
        let [one, longer] = self.extent_bytes;
        let longest = if begin == 0 && end <= one { one } else { longer };
        let (part, file_bytes) = match *goal {
            Goal::File { keep: None, .. } => (None, rest),
            Goal::File { keep: Some(upload), .. } => {
                (Some((upload, begin, Some(end))), rest.min(longest))
            }
            Goal::Upload { id, at, whole_bytes } => {
                let position = match at {
                    PartPlace::Byte(_) => begin,
                    PartPlace::Number(number) => positions_of(number)[0] + before as u64,
                };
                (Some((id, position, whole_bytes)), rest.min(longest))
            }
        };
        let meta = PieceMeta {
            version: self.random.version(),
            place: place.clone(),
            file_bytes,
            stored_ms,
            repair: false,
            part: part.map(|(upload, position, whole_bytes)| PartOf {
                upload,
                position,
                whole_bytes,
            }),
        };
        let writing = self.begin_writing(&meta)?;
        let is_known = !matches!(goal, Goal::Upload { at: PartPlace::Number(_), .. });
        let tree = DigestTree::at(begin).filter(|_| is_known);
        let is_own = begin == 0 && tree.is_some();
        let hasher = (!is_own).then(blake3::Hasher::new);
        Ok(ExtentWriting { writing, meta, begin, tree, hasher })
    }
}

impl ExtentWriting {
    fn push(&mut self) -> Result<()> {
        let bytes = self.writing.filled();
        if let Some(tree) = &mut self.tree {
            tree.push(bytes);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.writing.push()
    }

    /// The digest of its own bytes.
    fn digest(&self) -> Digest {
        let own = self.hasher.as_ref().map(|hasher| Digest(*hasher.finalize().as_bytes()));
        let of_tree = || self.tree.as_ref().and_then(DigestTree::digest);
        own.or_else(of_tree).unwrap_or(Digest([0; 32]))
    }
}

impl Store<'_> {
    /// How many bytes will come.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Is what has come kept if no more does?
    pub fn is_kept(&self) -> bool {
        !matches!(self.goal, Goal::File { keep: None, .. })
    }

    /// The file that they are of.
    pub fn path(&self) -> &FilePath {
        &self.place.path
    }

    /// The nodes that the bytes go to.
    pub fn targets(&self) -> NodeSet {
        self.extent.writing.targets()
    }

    /// Where the next bytes go; empty once all have come.
    ///
    /// # Errors
    /// If the nodes do not keep up for too long; those of the end of an extent.
    pub fn room(&mut self) -> Result<&mut [u8]> {
        let is_full = self.offset == self.extent.begin + self.extent.meta.file_bytes;
        if is_full && self.offset < self.end {
            self.record_extent()?;
            self.extent = self.files.begin_extent(
                &self.place,
                &self.goal,
                self.extents.len(),
                [self.offset, self.end],
                self.begun_ms,
            )?;
        }
        self.extent.writing.room()
    }

    /// Sends on what was put into the whole of the room.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`].
    pub fn push(&mut self) -> Result<()> {
        let bytes = self.extent.writing.filled().len();
        self.offset += bytes as u64;
        self.transfer.moved(bytes);
        self.extent.push()
    }

    /// The digest of the bytes that have come, if they are all of a file.
    pub fn digest(&self) -> Option<Digest> {
        if self.extents.is_empty() {
            return (self.extent.begin == 0).then(|| self.extent.digest());
        }
        let mut tree = DigestTree::at(0)?;
        let last = self.extent.tree.as_ref()?.part();
        let parts = self.extents.iter().map(|placed| &placed.tree).chain([&last]);
        let is_joined = parts.filter(|part| !part.subtrees.is_empty()).all(|part| tree.join(part));
        is_joined.then(|| tree.digest()).flatten()
    }

    /// Makes the file the current version: its pieces are durable on the nodes before, or become so
    /// with the journal's entry.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`], [`Error::NameCollision`], or the precondition is not met any more;
    /// the file is what it was before. After [`Error::InDoubt`] it may be the one or the other.
    pub fn finish(self, blake3: Digest) -> Result<Stored> {
        match self.extents.is_empty() {
            true => self.finish_whole(blake3),
            false => self.finish_extents(blake3),
        }
    }

    fn precondition(&self) -> Precondition {
        match self.goal {
            Goal::File { precondition, .. } => precondition,
            Goal::Upload { .. } => Precondition::Any,
        }
    }

    fn finish_whole(self, blake3: Digest) -> Result<Stored> {
        let precondition = self.precondition();
        let Store { files, mut reservation, mut extent, by, attributes, .. } = self;
        let cluster = &files.cluster;
        let writing = &mut extent.writing;
        let (seq, placed, stripe) = match writing.finish(blake3)? {
            Written::Inline { seq, stripe } => {
                (seq, in_step(cluster, writing.targets())?, Some(stripe))
            }
            Written::Staged { seq, nodes, .. } => (seq, nodes, None),
        };
        files.with_room(|room| reservation.confirm(room))?;
        let is_inline = stripe.is_some();
        let meta = &extent.meta;
        let new = NewFile {
            user: reservation.user(),
            path: meta.place.path.clone(),
            version: meta.version,
            seq,
            bytes: meta.file_bytes,
            blake3,
            stored_ms: meta.stored_ms,
            placed,
            inline: is_inline,
            precondition,
            stored_by: by,
            attributes,
        };
        let stored = cluster.committer.submit_counted(move |draft| draft.store(&new, stripe));
        let (replaced, have) = stored.inspect_err(|error| extent.writing.refused(error))?;
        if replaced {
            settle(files, &reservation);
        }
        if replaced || placed != NodeSet::ALL {
            cluster.notifier.notify();
        }
        let nodes = if is_inline { have.and(placed) } else { placed };
        if nodes.len() < WRITE_QUORUM {
            // The entry is on three nodes, one of which has none of the pieces that came with it: a node
            // that should have had them went away, and another one caught up meanwhile.
            let troubles = cluster.roster.troubles(nodes.complement());
            return Err(Error::InDoubt { confirmed: Reached(nodes), troubles });
        }
        Ok(Stored { version: extent.meta.version, nodes })
    }

    /// Records the last extent and completes the upload that the others are of.
    fn finish_extents(mut self, blake3: Digest) -> Result<Stored> {
        let Goal::File { precondition, keep: Some(upload) } = self.goal else {
            return Err(Error::other(Code::Unexpected, "several extents of no upload"));
        };
        let new = self.write_extent()?;
        let completion = Completion {
            user: new.user,
            upload,
            extents: Arc::new(self.extents.clone()),
            seq: new.seq,
            blake3,
            stored_ms: self.begun_ms,
            by: self.by.clone(),
            precondition,
        };
        let completed = self.files.change(move |draft| {
            draft.add_extent(&new).map_err(dropped)?;
            draft.complete_upload(&completion)
        });
        let completed = completed.inspect_err(|error| self.extent.writing.refused(error))?;
        completed_as(self.files, &self.reservation, completed)
    }

    /// What has come of an upload, all of what was announced, is a part of it.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`]; [`Code::NoSuchFile`] if the upload is there no more; those of any change.
    pub fn finish_part(mut self) -> Result<()> {
        self.record_extent()
    }

    /// Keeps what has come, to the last full MiB, where that was wanted: no more is to be expected. Gives
    /// how many bytes of the file are kept.
    ///
    /// # Errors
    /// As [`Store::finish_part`].
    pub fn keep(mut self) -> Result<u64> {
        if !self.is_kept() {
            return Ok(0);
        }
        let is_full = self.offset == self.extent.begin + self.extent.meta.file_bytes;
        let mut kept = self.extent.meta.file_bytes;
        if !is_full {
            kept = self.extent.writing.shorten()?;
            self.extent.meta.file_bytes = kept;
        }
        if kept > 0 {
            self.record_extent()?;
        }
        Ok(self.extents.last().map_or(0, |last| last.position + last.extent.bytes))
    }

    /// Makes the extent durable and a part of the upload.
    fn record_extent(&mut self) -> Result<()> {
        let new = self.write_extent()?;
        let is_file = matches!(self.goal, Goal::File { .. });
        let recorded = self.files.change(move |draft| {
            draft.add_extent(&new).map_err(|error| if is_file { dropped(error) } else { error })
        });
        recorded.inspect_err(|error| self.extent.writing.refused(error))?;
        let left = self.end - self.offset;
        self.files.with_room(|room| self.reservation.shrink(room, left))
    }

    /// Makes the extent durable on the nodes.
    fn write_extent(&mut self) -> Result<NewExtent> {
        let (upload, positions, begun) = match self.goal {
            Goal::File { keep, .. } => {
                let upload = keep.unwrap_or(self.extent.meta.version);
                let begun = UploadBegun {
                    upload,
                    place: self.place.clone(),
                    bytes: Some(self.end),
                    begun_ms: self.begun_ms,
                    attributes: self.attributes,
                };
                // It begins once: what is dropped meanwhile stays dropped.
                let begun = self.extents.is_empty().then_some(begun);
                (upload, [self.extent.begin, self.end], begun)
            }
            Goal::Upload { id, at: PartPlace::Byte(_), .. } => {
                (id, [self.extent.begin, self.end], None)
            }
            Goal::Upload { id, at: PartPlace::Number(number), .. } => {
                let [first, until] = positions_of(number);
                (id, [first + self.extents.len() as u64, until], None)
            }
        };
        let blake3 = self.extent.digest();
        let tree = self.extent.tree.as_ref().map(DigestTree::part).unwrap_or_default();
        let (seq, placed) = match self.extent.writing.finish(blake3)? {
            Written::Staged { seq, nodes, .. } => (seq, nodes),
            Written::Inline { .. } => {
                return Err(Error::other(
                    Code::Unexpected,
                    "an extent is not stored in the journal",
                ));
            }
        };
        let meta = &self.extent.meta;
        let extent = Extent { version: meta.version, start: 0, bytes: meta.file_bytes };
        self.extents.push(PlacedExtent { position: positions[0], extent, tree: tree.clone() });
        if placed != NodeSet::ALL {
            self.files.cluster.notifier.notify();
        }
        Ok(NewExtent {
            user: self.reservation.user(),
            upload,
            begun,
            positions,
            version: meta.version,
            seq,
            bytes: meta.file_bytes,
            blake3,
            stored_ms: meta.stored_ms,
            placed,
            by: self.by.clone(),
            tree,
        })
    }
}

/// The upload of a file that is being stored is there no more.
fn dropped(error: Error) -> Error {
    match error.code() {
        Code::NoSuchFile => {
            Error::other(Code::Changed, "what had come of the file was dropped meanwhile")
        }
        _ => error,
    }
}

/// An upload was completed.
pub(super) fn completed_as(
    files: &Files,
    reservation: &Reservation<'_>,
    completed: Completed,
) -> Result<Stored> {
    let Completed { version, placed, replaced } = completed;
    if replaced {
        settle(files, reservation);
        files.cluster.notifier.notify();
    }
    Ok(Stored { version, nodes: placed })
}

/// Makes room where what was replaced has stayed for undo.
fn settle(files: &Files, reservation: &Reservation<'_>) {
    // The file is stored; what stays of the old one gives way later at the latest.
    if let Err(error) = files.with_room(|room| reservation.settle(room)) {
        tracing::warn!("cannot make room by dropping what was replaced: {error}");
    }
}

/// A store says what it needs in words of its own.
fn too_few_to_store(error: Error) -> Error {
    match error {
        Error::TooFewToChange { troubles, .. } => Error::TooFewToStore(troubles),
        other => other,
    }
}

/// Those of these nodes, which have room for it, that a small file's pieces are placed on.
fn in_step(cluster: &Cluster, targets: NodeSet) -> Result<NodeSet> {
    let nodes = cluster.replication.await_in_step(targets);
    if nodes.len() >= WRITE_QUORUM {
        return Ok(nodes);
    }
    let mut troubles = cluster.roster.troubles(nodes.complement());
    for id in nodes.complement().iter() {
        troubles.note(id, "its journal is behind, or its disk is full");
    }
    Err(Error::TooFewToStore(troubles))
}
