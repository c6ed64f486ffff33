//! Uploads: what has come of files that are not whole yet, and the jobs that go on with them.
//!
//! ```text
//!   begun ── an extent is stored, or shared ──> ... ── completed ──> a file's current version
//!     '─────────── dropped by its user, or a day after it was last touched ──> nothing
//! ```
//!
//! What has come counts as stored. An upload of one extent becomes that extent's version, so that it lies
//! on the nodes like any other file; one of several becomes a joined version.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use crate::core::catalog::apply::{add_version, name_file};
use crate::core::catalog::database::{all, execute, first, limit, one};
use crate::core::catalog::extents;
use crate::core::catalog::files::{check_store, kind_number, read_attributes, set_attributes};
use crate::core::catalog::{Catalog, Draft, UserId, past, tree, users};
use crate::core::code::digest::TreePart;
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{Digest, FileAttributes, Moment, NodeSet, Precondition, Seq, VersionId};
use crate::core::wire::extents::{Extent, PlacedExtent, cut};
use crate::core::wire::journal::{Change, KeptVersion, UploadBegun, VERSIONS_MAX};
use crate::core::wire::node::Place;

/// The most uploads that an account has at a time.
const UPLOADS_MAX: usize = 1000;

/// The most extents of one upload.
const UPLOAD_EXTENTS_MAX: usize = 1 << 20;

/// An upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// Its id.
    pub id: VersionId,
    /// The file that it is for.
    pub path: FilePath,
    /// How long the file will be, if that is known.
    pub bytes: Option<u64>,
    /// When it began, in milliseconds since 1970.
    pub begun_ms: i64,
    /// When it was last touched.
    pub touched: Moment,
    /// What the file is to keep of the one that is stored.
    pub attributes: FileAttributes,
    /// What has come, in the order of the file.
    pub extents: Vec<PlacedExtent>,
}

impl Upload {
    /// How many bytes have come.
    pub fn arrived(&self) -> u64 {
        self.extents.iter().map(|placed| placed.extent.bytes).sum()
    }
}

/// An extent of an upload that is on the nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewExtent {
    /// Whose.
    pub user: UserId,
    /// Of which upload.
    pub upload: VersionId,
    /// The upload begins with it, if it is not there.
    pub begun: Option<UploadBegun>,
    /// It comes here, and takes the place of what the upload has from here to before that position.
    pub positions: [u64; 2],
    /// Which version.
    pub version: VersionId,
    /// Its sequence number.
    pub seq: Seq,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub blake3: Digest,
    /// When its store began, in milliseconds since 1970.
    pub stored_ms: i64,
    /// The nodes that hold its piece, synced.
    pub placed: NodeSet,
    /// Who stores it, and from where.
    pub by: String,
    /// What is known of the file's digest by it.
    pub tree: TreePart,
}

/// How an upload is to become a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// Whose.
    pub user: UserId,
    /// Which upload.
    pub upload: VersionId,
    /// The extents that it has to have; shared with whoever looked at them.
    pub extents: Arc<Vec<PlacedExtent>>,
    /// The sequence number of the version.
    pub seq: Seq,
    /// The digest of the whole.
    pub blake3: Digest,
    /// When, in milliseconds since 1970.
    pub stored_ms: i64,
    /// Who stores it, and from where.
    pub by: String,
    /// What has to be there.
    pub precondition: Precondition,
}

/// What a completed upload has become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completed {
    /// The file's new version.
    pub version: VersionId,
    /// The nodes that hold all of it.
    pub placed: NodeSet,
    /// Has it replaced another?
    pub replaced: bool,
}

impl Draft<'_> {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] if the account has too many, or was removed meanwhile.
    pub fn begin_upload(&mut self, user: UserId, begun: &UploadBegun) -> Result<()> {
        let (name, _) = users::still_there(self.connection, user)?;
        let count = "SELECT count(*) FROM uploads WHERE user_id = ?1";
        let count: usize = one(self.connection, count, [user.0], |row| row.get(0))?;
        if count >= UPLOADS_MAX {
            let text = format!("{UPLOADS_MAX} uploads wait already: complete or drop some of them");
            return Err(Error::other(Code::NotAllowed, text));
        }
        let taken = "SELECT EXISTS (SELECT 1 FROM uploads WHERE id = ?1)
                     OR EXISTS (SELECT 1 FROM versions WHERE version = ?1)";
        if one(self.connection, taken, [begun.upload.0], |row| row.get(0))? {
            let text = format!("the id {} is that of another upload", begun.upload);
            return Err(Error::other(Code::NotAllowed, text));
        }
        let place = Place { user: name, path: begun.place.path.clone() };
        self.record(Change::UploadBegun(UploadBegun { place, ..begun.clone() })).map(drop)
    }

    /// Adds an extent to an upload.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload; [`Code::NotAllowed`] if it has too many.
    pub fn add_extent(&mut self, new: &NewExtent) -> Result<()> {
        let is_there = row_of(self.connection, new.user, new.upload)?.is_some();
        if let Some(begun) = new.begun.as_ref().filter(|_| !is_there) {
            self.begin_upload(new.user, begun)?;
        }
        let [position, until] = new.positions;
        self.make_place(new.user, new.upload, position, until)?;
        let (user, _) = users::still_there(self.connection, new.user)?;
        let kept = KeptVersion {
            user,
            version: new.version,
            seq: new.seq,
            bytes: new.bytes,
            blake3: new.blake3,
            stored_ms: new.stored_ms,
            placed: new.placed,
            by: new.by.clone(),
            attributes: FileAttributes::default(),
            joined: false,
        };
        let (upload, tree) = (new.upload, new.tree.clone());
        self.record(Change::ExtentStored { upload, position, kept, tree }).map(drop)
    }

    /// Makes a part of a version of the same account a part of an upload, in place of what the upload has
    /// from the first of these positions to before the second. No byte is stored for it.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload or version; [`Code::Usage`] if the version has
    /// nothing of the part.
    pub fn share_extent(
        &mut self,
        user: UserId,
        upload: VersionId,
        [position, until]: [u64; 2],
        part: Extent,
    ) -> Result<()> {
        let shared = shared(self.connection, user, part)?;
        let Some(shared) = shared else {
            return Err(Error::other(Code::NoSuchFile, "what is to be copied is there no more"));
        };
        let bytes: u64 = shared.iter().map(|extent| extent.bytes).sum();
        if bytes != part.bytes || bytes == 0 || shared.len() as u64 > until - position {
            let text = "the file has no such part that could be copied";
            return Err(Error::other(Code::Usage, text));
        }
        self.make_place(user, upload, position, until)?;
        let Extent { version, start, bytes } = part;
        self.record(Change::ExtentShared { upload, position, of: version, start, bytes }).map(drop)
    }

    /// Takes away what an upload has from one position to before another.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload.
    pub fn remove_extents(
        &mut self,
        user: UserId,
        upload: VersionId,
        [from, to]: [u64; 2],
    ) -> Result<()> {
        row_of(self.connection, user, upload)?.ok_or_else(|| no_such_upload(upload))?;
        self.record(Change::ExtentsRemoved { upload, from, to }).map(drop)
    }

    fn make_place(&mut self, user: UserId, upload: VersionId, from: u64, to: u64) -> Result<()> {
        row_of(self.connection, user, upload)?.ok_or_else(|| no_such_upload(upload))?;
        let count = "SELECT count(*), coalesce(sum(position >= ?2 AND position < ?3), 0)
                     FROM extents WHERE file = ?1";
        let values = params![upload.0, from, to];
        let (all, there): (usize, usize) =
            one(self.connection, count, values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        if all >= UPLOAD_EXTENTS_MAX {
            let text = format!("an upload has at most {UPLOAD_EXTENTS_MAX} extents");
            return Err(Error::other(Code::NotAllowed, text));
        }
        if there > 0 {
            self.record(Change::ExtentsRemoved { upload, from, to })?;
        }
        Ok(())
    }

    /// Makes an upload the current version of its file.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload, [`Code::Changed`] if it has other extents; those of
    /// [`Draft::store`].
    pub fn complete_upload(&mut self, completion: &Completion) -> Result<Completed> {
        let Completion { user: id, upload, .. } = *completion;
        let (user, top) = users::still_there(self.connection, id)?;
        let there = upload_of(self.connection, id, upload)?;
        let there = there.ok_or_else(|| no_such_upload(upload))?;
        if there.extents != *completion.extents {
            return Err(Error::other(Code::Changed, "the upload has changed meanwhile"));
        }
        let replaced =
            check_store(self.connection, top, &there.path, completion.precondition)?.is_some();
        let (only, placed) = self.only_extent(&there)?;
        let kept = KeptVersion {
            user: user.clone(),
            version: only.unwrap_or(upload),
            seq: completion.seq,
            bytes: there.arrived(),
            blake3: completion.blake3,
            stored_ms: completion.stored_ms,
            placed: NodeSet::ALL,
            by: completion.by.clone(),
            attributes: there.attributes,
            joined: only.is_none(),
        };
        let version = kept.version;
        let place = Place { user, path: there.path };
        self.record(Change::UploadCompleted { upload, kept, place })?;
        Ok(Completed { version, placed, replaced })
    }

    /// The version of an upload's only extent, if that is all of it and nothing else is; and the nodes that
    /// hold all extents.
    fn only_extent(&self, upload: &Upload) -> Result<(Option<VersionId>, NodeSet)> {
        let mut placed = NodeSet::ALL;
        for own in &upload.extents {
            let on = super::versions::placed(self.connection, own.extent.version)?;
            placed = placed.and(on.unwrap_or(NodeSet::EMPTY));
        }
        let [PlacedExtent { extent, .. }] = upload.extents.as_slice() else {
            return Ok((None, placed));
        };
        let select = "SELECT bytes FROM versions WHERE version = ?1
                      AND NOT EXISTS (SELECT 1 FROM entries WHERE version = ?1)
                      AND NOT EXISTS (SELECT 1 FROM past WHERE version = ?1)
                      AND (SELECT count(*) FROM extents WHERE version = ?1) = 1";
        let bytes: Option<u64> =
            first(self.connection, select, [extent.version.0], |row| row.get(0))?;
        let is_whole = extent.start == 0 && bytes == Some(extent.bytes);
        Ok((is_whole.then_some(extent.version), placed))
    }

    /// Drops an upload with what has come.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload.
    pub fn drop_upload(&mut self, user: UserId, upload: VersionId) -> Result<()> {
        row_of(self.connection, user, upload)?.ok_or_else(|| no_such_upload(upload))?;
        self.record(Change::UploadsDropped { uploads: vec![upload] }).map(drop)
    }

    /// Drops those of these uploads that nobody has touched after this moment.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn drop_idle_uploads(&mut self, uploads: &[VersionId], after: Moment) -> Result<usize> {
        let mut idle = Vec::new();
        for upload in uploads {
            let select = "SELECT 1 FROM uploads WHERE id = ?1 AND touched <= ?2";
            let values = params![upload.0, after.0];
            idle.extend(first(self.connection, select, values, |_| Ok(*upload))?);
        }
        let count = idle.len();
        for some in idle.chunks(VERSIONS_MAX) {
            self.record(Change::UploadsDropped { uploads: some.to_vec() })?;
        }
        Ok(count)
    }
}

impl Catalog {
    /// An upload of an account.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such upload.
    pub fn upload(&self, user: UserId, upload: VersionId) -> Result<Upload> {
        let found = self.read(|connection| upload_of(connection, user, upload))?;
        found.ok_or_else(|| no_such_upload(upload))
    }

    /// The uploads of an account, the newest first; with a path only those for that file.
    pub fn uploads(&self, user: UserId, path: Option<&FilePath>) -> Result<Vec<Upload>> {
        let select = format!(
            "SELECT {UPLOAD} FROM uploads WHERE user_id = ?1 AND (?2 IS NULL OR path = ?2)
             ORDER BY touched DESC LIMIT ?3"
        );
        self.read(|connection| {
            let values = params![user.0, path.map(FilePath::as_str), limit(UPLOADS_MAX)];
            let rows = all(connection, &select, values, read_upload)?;
            rows.into_iter().map(|row| whole(connection, row)).collect()
        })
    }

    /// Some of the uploads that nobody has touched after this moment.
    pub fn idle_uploads(&self, after: Moment) -> Result<Vec<VersionId>> {
        let select = "SELECT id FROM uploads WHERE touched <= ?1 LIMIT ?2";
        self.read(|connection| {
            let values = params![after.0, limit(VERSIONS_MAX)];
            all(connection, select, values, |row| Ok(VersionId(row.get(0)?)))
        })
    }
}

fn no_such_upload(upload: VersionId) -> Error {
    let text = format!("there is no upload {upload}: it was completed, dropped or never begun");
    Error::other(Code::NoSuchFile, text)
}

/// The columns that [`read_upload`] reads.
const UPLOAD: &str = "id, path, bytes, begun_ms, touched, modified_ms, kind";

struct UploadRow {
    id: VersionId,
    path: String,
    bytes: Option<u64>,
    begun_ms: i64,
    touched: Moment,
    attributes: FileAttributes,
}

fn read_upload(row: &Row<'_>) -> rusqlite::Result<UploadRow> {
    let attributes = read_attributes(row, 5)?;
    Ok(UploadRow {
        id: VersionId(row.get(0)?),
        path: row.get(1)?,
        bytes: row.get(2)?,
        begun_ms: row.get(3)?,
        touched: Moment(row.get(4)?),
        attributes,
    })
}

fn row_of(connection: &Connection, user: UserId, upload: VersionId) -> Result<Option<UploadRow>> {
    let select = format!("SELECT {UPLOAD} FROM uploads WHERE id = ?1 AND user_id = ?2");
    first(connection, &select, params![upload.0, user.0], read_upload)
}

fn upload_of(connection: &Connection, user: UserId, upload: VersionId) -> Result<Option<Upload>> {
    row_of(connection, user, upload)?.map(|row| whole(connection, row)).transpose()
}

fn whole(connection: &Connection, row: UploadRow) -> Result<Upload> {
    let UploadRow { id, path, bytes, begun_ms, touched, attributes } = row;
    let path = FilePath::parse_rooted(&path)?;
    let extents = extents::of(connection, id)?;
    Ok(Upload { id, path, bytes, begun_ms, touched, attributes, extents })
}

/// The uploads of an account with the moments at which they were last touched, as a snapshot tells them.
pub(super) fn told(
    connection: &Connection,
    user: UserId,
    name: &UserName,
) -> Result<Vec<(Moment, UploadBegun)>> {
    let select = format!("SELECT {UPLOAD} FROM uploads WHERE user_id = ?1 ORDER BY id");
    let rows = all(connection, &select, [user.0], read_upload)?;
    let told = rows.into_iter().map(|row| {
        let UploadRow { id, path, bytes, begun_ms, touched, attributes } = row;
        let place = Place { user: name.clone(), path: FilePath::parse_rooted(&path)? };
        Ok((touched, UploadBegun { upload: id, place, bytes, begun_ms, attributes }))
    });
    told.collect()
}

/// The place of the file that this upload is for, if it is an upload.
pub(super) fn place_of(connection: &Connection, upload: VersionId) -> Result<Option<Place>> {
    let select = "SELECT name, path FROM uploads JOIN users ON users.id = user_id
                  WHERE uploads.id = ?1 AND removed = 0";
    let found = first(connection, select, [upload.0], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let Some((user, path)) = found else { return Ok(None) };
    let user = UserName::parse(&user)?;
    Ok(Some(Place { user, path: FilePath::parse_rooted(&path)? }))
}

/// A part of a version as runs of versions with pieces; `None` if there is no such version.
fn shared(connection: &Connection, user: UserId, part: Extent) -> Result<Option<Vec<Extent>>> {
    let select = "SELECT bytes, joined FROM versions
                  WHERE version = ?1 AND user_id = ?2 AND retired = 0";
    let found = first(connection, select, params![part.version.0, user.0], |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, bool>(1)?))
    })?;
    let Some((bytes, is_joined)) = found else { return Ok(None) };
    let of = match is_joined {
        true => extents::of(connection, part.version)?.iter().map(|own| own.extent).collect(),
        false => vec![Extent { version: part.version, start: 0, bytes }],
    };
    Ok(Some(cut(&of, part.start, part.bytes)))
}

// ---- from records to rows ----

fn owner(connection: &Connection, upload: VersionId) -> Result<Option<UserId>> {
    let select = "SELECT user_id FROM uploads WHERE id = ?1";
    first(connection, select, [upload.0], |row| Ok(UserId(row.get(0)?)))
}

fn touch(connection: &Connection, upload: VersionId, at: Moment) -> Result<()> {
    execute(connection, "UPDATE uploads SET touched = ?2 WHERE id = ?1", params![upload.0, at.0])
        .map(drop)
}

pub(super) fn begin(connection: &Connection, begun: &UploadBegun, at: Moment) -> Result<()> {
    let UploadBegun { upload, place, bytes, begun_ms, attributes } = begun;
    let Some((user, _)) = users::live(connection, &place.user)? else { return Ok(()) };
    let insert = "INSERT INTO uploads (id, user_id, path, bytes, begun_ms, touched, modified_ms,
                      kind)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
    let FileAttributes { modified_ms, kind } = attributes;
    let path = place.path.as_str();
    let values =
        params![upload.0, user.0, path, bytes, begun_ms, at.0, modified_ms, kind.map(kind_number)];
    execute(connection, insert, values).map(drop)
}

pub(super) fn store_extent(
    connection: &Connection,
    id: u64,
    at: Moment,
    upload: VersionId,
    kept: &KeptVersion,
    placed: PlacedExtent,
) -> Result<()> {
    let Some(user) = owner(connection, upload)? else { return Ok(()) };
    if add_version(connection, user, kept, id, None)? {
        extents::add(connection, upload, &placed)?;
        past::settle(connection, kept.version)?;
    }
    touch(connection, upload, at)
}

pub(super) fn share(
    connection: &Connection,
    at: Moment,
    upload: VersionId,
    position: u64,
    part: Extent,
) -> Result<()> {
    let Some(user) = owner(connection, upload)? else { return Ok(()) };
    let shared = shared(connection, user, part)?.unwrap_or_default();
    for (position, extent) in (position..).zip(shared) {
        let placed = PlacedExtent { position, extent, tree: TreePart::default() };
        extents::add(connection, upload, &placed)?;
    }
    touch(connection, upload, at)
}

pub(super) fn complete(
    connection: &Connection,
    upload: VersionId,
    kept: &KeptVersion,
    place: &Place,
    at: Moment,
) -> Result<()> {
    let Some((user, top)) = users::live(connection, &place.user)? else { return Ok(()) };
    if owner(connection, upload)? != Some(user) {
        return Ok(());
    }
    let folder = tree::make_folders(connection, top, &place.path.folder(), at)?;
    let Some(folder) = folder else { return Ok(()) };
    let there = tree::child(connection, folder, place.path.name())?;
    if there.as_ref().is_some_and(tree::Item::is_folder) {
        return Ok(());
    }
    execute(connection, "DELETE FROM uploads WHERE id = ?1", [upload.0])?;
    if kept.joined {
        add_version(connection, user, kept, 0, None)?;
        let forget = "UPDATE extents SET tree = NULL WHERE file = ?1";
        execute(connection, forget, [upload.0])?;
    } else {
        let update = "UPDATE versions SET stored_ms = ?2, stored_by = ?3 WHERE version = ?1";
        execute(connection, update, params![kept.version.0, kept.stored_ms, kept.by])?;
        set_attributes(connection, kept.version, kept.attributes)?;
    }
    let version = Some((kept.version, kept.bytes));
    name_file(connection, user, folder, place.path.name(), there, version, at)?;
    if !kept.joined {
        extents::remove_all(connection, upload)?;
    }
    Ok(())
}

pub(super) fn drop_all(connection: &Connection, uploads: &[VersionId]) -> Result<()> {
    for upload in uploads {
        if execute(connection, "DELETE FROM uploads WHERE id = ?1", [upload.0])? > 0 {
            extents::remove_all(connection, *upload)?;
        }
    }
    Ok(())
}

/// Drops all uploads of an account.
pub(super) fn drop_of(connection: &Connection, user: UserId) -> Result<()> {
    let select = "SELECT id FROM uploads WHERE user_id = ?1";
    let uploads = all(connection, select, [user.0], |row| Ok(VersionId(row.get(0)?)))?;
    drop_all(connection, &uploads)
}
