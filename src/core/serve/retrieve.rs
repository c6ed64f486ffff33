//! Reading files: any version that is kept, all of it or a part.

use std::collections::VecDeque;
use std::ops::Range;

use crate::core::catalog::{ExtentRecord, FileRecord};
use crate::core::cluster::readers::Reader;
use crate::core::cluster::traffic::Transfer;
use crate::core::error::{Code, Error, Result};
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::serve::content::Content;
use crate::core::serve::files::{Files, User, place};
use crate::core::status::Direction;
use crate::core::types::{Digest, FileAttributes, NodeSet, VersionId};
use crate::core::wire::extended::Which;
use crate::core::wire::extents::Extent;

impl Files {
    /// Begins to read a file's current version, or a part of it.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::NoSuchFile`], [`Error::TooFewToRead`], [`Error::NotReady`];
    /// [`Code::Usage`] if the file has nothing of the range; [`Code::Temporary`] while it is not known
    /// whether the version was ever answered.
    pub fn retrieve(
        &self,
        user: &User,
        path: &FilePath,
        range: Option<ByteRange>,
    ) -> Result<Retrieve<'_>> {
        self.retrieve_which(user, path, &Which::Current, range)
    }

    /// The same of any version that is kept.
    ///
    /// # Errors
    /// As [`Files::retrieve`]; [`Code::NoSuchFile`] if there is no such version or snapshot, or the file
    /// was not there then.
    pub fn retrieve_which(
        &self,
        user: &User,
        path: &FilePath,
        which: &Which,
        range: Option<ByteRange>,
    ) -> Result<Retrieve<'_>> {
        user.sees(&path.as_folder())?;
        self.may_read()?;
        let entered = self.enter(user, path, which)?;
        let version = entered.0.version;
        let begun = self.begin_retrieve(user, path, range, entered);
        if *which != Which::Current {
            return begun;
        }
        if !matches!(begun, Err(Error::TooFewToRead { .. } | Error::DamagedOnNodes { .. })) {
            return begun;
        }
        // What a server that has just begun to lead found on too few nodes may never have been answered;
        // then the file is what it was before.
        if self.may_change().is_err() {
            return begun;
        }
        self.cluster.settler.round();
        let current = self.cluster.catalog.file(user.account.id, path)?.version;
        if current != version {
            return self.begin_retrieve(user, path, range, self.enter(user, path, which)?);
        }
        if self.cluster.catalog.is_uncertain(version)? {
            let text = format!(
                "it is not known yet whether {path} was stored or is as it was before; that takes all four \
                 nodes"
            );
            return Err(Error::other(Code::Temporary, text));
        }
        begun
    }

    /// The file's version that is meant, which is not dropped as long as it is being read.
    fn enter(&self, user: &User, path: &FilePath, which: &Which) -> Result<(FileRecord, Reader)> {
        self.cluster.readers.enter(|| {
            let record = self.record(user, path, which)?;
            let version = record.version;
            Ok((record, version))
        })
    }

    fn begin_retrieve(
        &self,
        user: &User,
        path: &FilePath,
        range: Option<ByteRange>,
        (record, reader): (FileRecord, Reader),
    ) -> Result<Retrieve<'_>> {
        let part = range.map_or(Ok(0..record.bytes), |range| range.within(record.bytes))?;
        let (first, rest) = self.extents(&record, &part)?;
        let place = place(user, path);
        let content = Content::begin(self, place.clone(), first, rest)?;
        let bytes = part.end - part.start;
        Ok(Retrieve {
            bytes: record.bytes,
            part,
            version: record.version,
            blake3: record.blake3,
            stored_ms: record.stored_ms,
            attributes: record.attributes,
            _reader: reader,
            content,
            transfer: self.cluster.volume.traffic().enter(Direction::Retrieve, place, bytes),
        })
    }

    /// Where a part of a version lies.
    fn extents(
        &self,
        record: &FileRecord,
        part: &Range<u64>,
    ) -> Result<(ExtentRecord, VecDeque<ExtentRecord>)> {
        let &FileRecord { version, bytes: version_bytes, placed, .. } = record;
        let extent = Extent { version, start: part.start, bytes: part.end - part.start };
        if !record.joined {
            return Ok((ExtentRecord { extent, version_bytes, placed }, VecDeque::new()));
        }
        let mut rest = VecDeque::new();
        let mut at = 0;
        for own in self.cluster.catalog.extents(version)? {
            let (from, to) = (at.max(part.start), (at + own.extent.bytes).min(part.end));
            if from < to {
                let start = own.extent.start + (from - at);
                let extent = Extent { start, bytes: to - from, ..own.extent };
                rest.push_back(ExtentRecord { extent, ..own });
            }
            at += own.extent.bytes;
        }
        match rest.pop_front() {
            Some(first) if at == version_bytes => Ok((first, rest)),
            _ => Err(Error::Catalog(format!("the extents of version {version} are not all there"))),
        }
    }
}

/// A file that is being read.
pub struct Retrieve<'a> {
    /// Its size.
    pub bytes: u64,
    /// The bytes of it that are read.
    pub part: Range<u64>,
    /// The version that is being read.
    pub version: VersionId,
    /// The digest of the whole.
    pub blake3: Digest,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
    /// What it keeps of the file that was stored.
    pub attributes: FileAttributes,
    // Gone before the content, which may have to record what was lost of the version.
    _reader: Reader,
    content: Content<'a>,
    transfer: Transfer,
}

impl Retrieve<'_> {
    /// The next bytes, in two parts one behind the other; nothing at the end.
    ///
    /// # Errors
    /// [`Error::TooFewToRead`].
    pub fn next_part(&mut self) -> Result<Option<[&[u8]; 2]>> {
        let parts = self.content.next_part()?;
        if let Some([first, second]) = parts {
            self.transfer.moved(first.len() + second.len());
        }
        Ok(parts)
    }

    /// The nodes whose bytes were handed out so far.
    pub fn used(&self) -> NodeSet {
        self.content.used()
    }
}
