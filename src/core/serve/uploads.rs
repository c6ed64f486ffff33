//! Uploads that go on where they broke off, and those whose parts come in any order.
//!
//! An upload by bytes is sent from where it is: [`Files::send`]. One by parts has numbered parts of any
//! length, stored or copied, side by side if that is wanted: [`Files::store_numbered`],
//! [`Files::copy_part`]. Both become a file by [`Files::complete_upload`].

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::catalog::{Completion, ExtentRecord, Upload};
use crate::core::code::digest::DigestTree;
use crate::core::code::layout::STRIPE_BYTES_MAX;
use crate::core::error::{Code, Error, Result};
use crate::core::io::clock;
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::serve::content::Content;
use crate::core::serve::files::{Files, User, place};
use crate::core::serve::store::{PartPlace, Store, Stored, check_link, completed_as, positions_of};
use crate::core::types::{Digest, FileAttributes, Precondition, VersionId};
use crate::core::wire::extended::{PendingUpload, Which};
use crate::core::wire::extents::{Extent, PlacedExtent};
use crate::core::wire::journal::UploadBegun;

/// The highest number of a part.
pub const PART_NUMBER_MAX: u32 = 10_000;

impl Files {
    /// Begins an upload. Gives its id.
    ///
    /// # Errors
    /// As [`Files::store`]; [`Code::NotAllowed`] if the account has too many.
    pub fn begin_upload(
        &self,
        user: &User,
        path: &FilePath,
        bytes: Option<u64>,
        precondition: Precondition,
        attributes: FileAttributes,
    ) -> Result<VersionId> {
        user.changes_file(path)?;
        self.check_size(bytes.unwrap_or(0))?;
        check_link(attributes, bytes)?;
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        let id = user.account.id;
        self.with_room(|room| self.usage.reserve(room, id, path, bytes.unwrap_or(0))).map(drop)?;
        self.cluster.catalog.check_store(&user.account, &user.proof, path, precondition)?;
        let upload = self.random.version();
        let place = place(user, path);
        let begun = UploadBegun { upload, place, bytes, begun_ms: clock::now_ms(), attributes };
        self.change(move |draft| draft.begin_upload(id, &begun))?;
        Ok(upload)
    }

    /// Begins to send so many bytes of an upload, which belong at this byte of the file.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload; [`Code::Changed`] if it is further, or not as far;
    /// [`Code::Temporary`] if somebody else sends it; those of [`Files::store`].
    pub fn send(&self, user: &User, id: VersionId, offset: u64, bytes: u64) -> Result<Store<'_>> {
        let upload = self.cluster.catalog.upload(user.account.id, id)?;
        let part = (id, &upload.path, upload.bytes);
        let store = self.store_part(user, part, PartPlace::Byte(offset), bytes)?;
        // Looked at again: from here on nobody else sends it.
        let upload = self.cluster.catalog.upload(user.account.id, id)?;
        let arrived = upload.arrived();
        if arrived != offset || !arrived.is_multiple_of(STRIPE_BYTES_MAX as u64) {
            let text = format!(
                "{arrived} bytes of the upload have come, so it does not go on at {offset}"
            );
            return Err(Error::other(Code::Changed, text));
        }
        if upload.bytes.is_some_and(|whole| offset.saturating_add(bytes) > whole) {
            let text = "these are more bytes than the upload was begun for";
            return Err(Error::other(Code::Usage, text));
        }
        Ok(store)
    }

    /// Begins to store a numbered part of an upload, from 1 to [`PART_NUMBER_MAX`]. One of this number
    /// that is there is replaced.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload; [`Code::Usage`] for another number or a part
    /// without bytes; [`Code::Temporary`] if somebody else sends it; those of [`Files::store`].
    pub fn store_numbered(
        &self,
        user: &User,
        id: VersionId,
        number: u32,
        bytes: u64,
    ) -> Result<Store<'_>> {
        check_number(number, bytes)?;
        let upload = self.cluster.catalog.upload(user.account.id, id)?;
        let part = (id, &upload.path, upload.bytes);
        self.store_part(user, part, PartPlace::Number(number), bytes)
    }

    /// Makes a file that is stored, or a part of it, a numbered part of an upload. No byte of it moves.
    ///
    /// # Errors
    /// As [`Files::store_numbered`] and [`Files::retrieve_which`].
    pub fn copy_part(
        &self,
        user: &User,
        id: VersionId,
        number: u32,
        (from, which): (&FilePath, &Which),
        range: Option<ByteRange>,
    ) -> Result<()> {
        user.sees(&from.as_folder())?;
        user.changes_file(&self.cluster.catalog.upload(user.account.id, id)?.path)?;
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        let record = self.record(user, from, which)?;
        if self.cluster.catalog.is_uncertain(record.version)? {
            let text = format!("it is not known yet whether {from} can be read");
            return Err(Error::other(Code::Temporary, text));
        }
        let part = range.map_or(Ok(0..record.bytes), |range| range.within(record.bytes))?;
        let bytes = part.end - part.start;
        check_number(number, bytes)?;
        let of = Extent { version: record.version, start: part.start, bytes };
        let _sender = self.part_sender(id, number)?;
        let user = user.account.id;
        self.change(move |draft| draft.share_extent(user, id, positions_of(number), of))
    }

    /// Takes a numbered part away from an upload.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload; [`Code::Usage`] for another number;
    /// [`Code::Temporary`] if somebody sends it.
    pub fn remove_part(&self, user: &User, id: VersionId, number: u32) -> Result<()> {
        check_number(number, 1)?;
        user.changes_file(&self.cluster.catalog.upload(user.account.id, id)?.path)?;
        let _sender = self.part_sender(id, number)?;
        let user = user.account.id;
        self.change(move |draft| draft.remove_extents(user, id, positions_of(number)))
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload; [`Error::NotReady`].
    pub fn upload(&self, user: &User, id: VersionId) -> Result<PendingUpload> {
        self.may_read()?;
        let upload = self.cluster.catalog.upload(user.account.id, id)?;
        user.sees(&upload.path.as_folder())?;
        let blake3 = self.digest_so_far(&upload)?;
        Ok(PendingUpload { blake3, ..told(&upload) })
    }

    /// The uploads of an account, the newest first; with a path only those for that file.
    ///
    /// # Errors
    /// [`Error::NotReady`].
    pub fn uploads(&self, user: &User, path: Option<&FilePath>) -> Result<Vec<PendingUpload>> {
        self.may_read()?;
        let uploads = self.cluster.catalog.uploads(user.account.id, path)?;
        let seen = uploads.iter().filter(|own| user.rights().reach(&own.path.as_folder()));
        Ok(seen.map(told).collect())
    }

    /// Makes an upload the current version of its file. A digest that is given has to be that of the whole.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload; [`Error::Damaged`] if the digest is another, and
    /// the upload stays; [`Code::Usage`] if bytes are missing; [`Code::Changed`] if it is still being sent
    /// or has changed meanwhile; those of [`Files::store`].
    pub fn complete_upload(
        &self,
        user: &User,
        id: VersionId,
        blake3: Option<Digest>,
        precondition: Precondition,
    ) -> Result<(Stored, Digest)> {
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        let busy = || Error::other(Code::Changed, "the upload is still being sent");
        let _sender = self.cluster.uploading.enter(id).ok_or_else(busy)?;
        let upload = self.cluster.catalog.upload(user.account.id, id)?;
        user.changes_file(&upload.path)?;
        let arrived = upload.arrived();
        if upload.extents.is_empty() || upload.bytes.is_some_and(|whole| whole != arrived) {
            let whole = upload.bytes.map_or(String::new(), |whole| format!(" of {whole}"));
            let text = format!("the upload is not whole: {arrived} bytes{whole} have come");
            return Err(Error::other(Code::Usage, text));
        }
        self.check_size(arrived)?;
        let own = self.digest_of(user, &upload)?;
        if blake3.is_some_and(|announced| announced != own) {
            let what = "what has come does not match the file's digest";
            return Err(Error::Damaged(what.into()));
        }
        let catalog = &self.cluster.catalog;
        // Its bytes are counted already, its size as a file is not.
        let reservation =
            self.usage.reserve_copy(catalog, user.account.id, &upload.path, arrived)?;
        let completion = Completion {
            user: user.account.id,
            upload: id,
            extents: Arc::new(upload.extents),
            seq: self.cluster.volume.draw_seq(),
            blake3: own,
            stored_ms: clock::now_ms(),
            by: user.described(),
            precondition,
        };
        let completed = self.change(move |draft| draft.complete_upload(&completion))?;
        Ok((completed_as(self, &reservation, completed)?, own))
    }

    /// Drops an upload with what has come.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload; those of any change.
    pub fn drop_upload(&self, user: &User, id: VersionId) -> Result<()> {
        self.may_change()?;
        user.changes_file(&self.cluster.catalog.upload(user.account.id, id)?.path)?;
        let user = user.account.id;
        self.change(move |draft| draft.drop_upload(user, id))?;
        self.cluster.notifier.notify();
        Ok(())
    }

    /// The digest of what has come, if that is known without reading it.
    fn digest_so_far(&self, upload: &Upload) -> Result<Option<Digest>> {
        if let [only] = upload.extents.as_slice() {
            let records = self.cluster.catalog.extents(upload.id)?;
            let is_whole = |own: &&ExtentRecord| {
                own.extent.start == 0 && own.extent.bytes == own.version_bytes
            };
            if records.first().filter(is_whole).is_some() {
                return self.cluster.catalog.version_digest(only.extent.version);
            }
        }
        let Some(mut tree) = DigestTree::at(0) else { return Ok(None) };
        let is_known = upload.extents.iter().all(|placed| tree.join(&placed.tree));
        Ok(is_known.then(|| tree.digest()).flatten())
    }

    /// The digest of what has come. Only what is not known of it is read.
    fn digest_of(&self, user: &User, upload: &Upload) -> Result<Digest> {
        if let Some(known) = self.digest_so_far(upload)? {
            return Ok(known);
        }
        const LEAF: u64 = STRIPE_BYTES_MAX as u64;
        let mut leaves = Leaves::default();
        let records = self.cluster.catalog.extents(upload.id)?;
        let last = upload.extents.len().saturating_sub(1);
        for (number, (placed, record)) in upload.extents.iter().zip(records).enumerate() {
            let ends_with_a_leaf = placed.extent.bytes.is_multiple_of(LEAF) || number == last;
            if upload.extents.len() > 1 && ends_with_a_leaf && leaves.join(placed) {
                continue;
            }
            let mut content =
                Content::begin(self, place(user, &upload.path), record, VecDeque::new())?;
            while let Some(parts) = content.next_part()? {
                parts.into_iter().for_each(|part| leaves.push(part));
            }
        }
        let unknown = || Error::other(Code::Unexpected, "the digest of an upload cannot be made");
        leaves.digest().ok_or_else(unknown)
    }
}

/// Bytes that are put together to leaves of a tree.
struct Leaves {
    tree: DigestTree,
    leaf: Vec<u8>,
}

impl Default for Leaves {
    fn default() -> Leaves {
        let tree = DigestTree::at(0).unwrap_or_else(|| unreachable!("0 is a multiple"));
        Leaves { tree, leaf: Vec::new() }
    }
}

impl Leaves {
    fn join(&mut self, placed: &PlacedExtent) -> bool {
        self.leaf.is_empty() && self.tree.join(&placed.tree)
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (STRIPE_BYTES_MAX - self.leaf.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.leaf.extend_from_slice(now);
            if self.leaf.len() == STRIPE_BYTES_MAX {
                self.tree.push(&self.leaf);
                self.leaf.clear();
            }
            bytes = later;
        }
    }

    fn digest(mut self) -> Option<Digest> {
        self.tree.push(&self.leaf);
        self.tree.digest()
    }
}

fn told(upload: &Upload) -> PendingUpload {
    PendingUpload {
        id: upload.id,
        path: upload.path.clone(),
        bytes: upload.bytes,
        arrived: upload.arrived(),
        begun_ms: upload.begun_ms,
        touched_ms: upload.touched.0 / 1000,
        attributes: upload.attributes,
        blake3: None,
    }
}

fn check_number(number: u32, bytes: u64) -> Result<()> {
    if !(1..=PART_NUMBER_MAX).contains(&number) {
        let text = format!("parts have the numbers 1 to {PART_NUMBER_MAX}");
        return Err(Error::other(Code::Usage, text));
    }
    if bytes == 0 {
        return Err(Error::other(Code::Usage, "a part has at least one byte"));
    }
    Ok(())
}
