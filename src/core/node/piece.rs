//! A piece that is being read: the units of one version, from its block files or, until they are written
//! out, from the journal.
//!
//! Each of the two blocks is found on its own. Once open, a block stays readable even if its version is
//! dropped. Errors that say nothing about bytes (no descriptor, no memory, no permission) are never
//! taken for damage. Only a block that this process may not open in a folder that it may write to is
//! called missing: it would stay unreadable for ever, and a rebuilt one can take its place.

use std::io;
use std::sync::Arc;

use crate::core::code::checksum;
use crate::core::code::layout::Layout;
use crate::core::code::repair::Select;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, ReadFile};
use crate::core::io::reason;
use crate::core::node::journal::Journal;
use crate::core::node::pieces::Pieces;
use crate::core::node::stage::{disk_error, disk_error_at};
use crate::core::types::{NodeId, VersionId};
use crate::core::wire::node::VERIFY_STRIPES_MAX;
use crate::core::wire::trailer::{FOOTER_BYTES, Footer, Trailer};

/// How often a block is looked up again that was written out in between.
const LOOKS_MAX: usize = 5;

/// How much of the end of a block file is read at once: all of a short one, and of others the trailer in
/// most cases.
const END_BYTES: u64 = 16 << 10;

/// The two blocks of one version on this node.
pub struct Piece {
    disk: Arc<dyn Disk>,
    pieces: Arc<Pieces>,
    journal: Arc<Journal>,
    id: NodeId,
    version: VersionId,
    open: [Option<OpenBlock>; 2],
}

/// A block in an open file.
struct OpenBlock {
    file: Box<dyn ReadFile>,
    layout: Layout,
    /// Where the block begins in the file.
    offset: u64,
    checksums: Vec<u64>,
    /// The whole file, if it is a short one: it was read with the trailer.
    content: Option<Vec<u8>>,
}

impl OpenBlock {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(content) = &self.content else {
            return self.file.read_exact_at(buffer, offset);
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let found = content[from..].get(..buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Piece {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        pieces: Arc<Pieces>,
        journal: Arc<Journal>,
        id: NodeId,
        version: VersionId,
    ) -> Piece {
        Piece { disk, pieces, journal, id, version, open: [None, None] }
    }

    /// Puts what is selected of a stripe into `body` (emptied first) and gives the checksums that
    /// belong to it. The units are checked against them here, so that damage on this disk is told from
    /// damage in transit, which the server notices.
    ///
    /// # Errors
    /// [`NodeFailure::NotHeld`] or [`NodeFailure::Damaged`].
    pub fn units(&mut self, stripe: u64, select: Select, body: &mut Vec<u8>) -> Result<[u64; 2]> {
        body.clear();
        match select {
            Select::Both => {
                let first = self.unit(0, stripe, body)?;
                Ok([first, self.unit(1, stripe, body)?])
            }
            Select::First => Ok([self.unit(0, stripe, body)?, 0]),
            Select::Second => Ok([self.unit(1, stripe, body)?, 0]),
            Select::Xor => {
                let sums = [self.unit(0, stripe, body)?, self.unit(1, stripe, body)?];
                let unit_bytes = body.len() / 2;
                let (first, second) = body.split_at_mut(unit_bytes);
                first.iter_mut().zip(second).for_each(|(a, b)| *a ^= *b);
                body.truncate(unit_bytes);
                Ok([checksum::of_xor(sums[0], sums[1], unit_bytes), 0])
            }
        }
    }

    /// Adds one unit to `body`.
    fn unit(&mut self, which: usize, stripe: u64, body: &mut Vec<u8>) -> Result<u64> {
        let (id, version) = (self.id, self.version);
        let block = self.block(which)?;
        if stripe >= block.layout.stripe_count() {
            let why = format!("version {version} has no stripe {stripe}");
            return Err(Error::node(id, NodeFailure::Refused(why)));
        }
        let start = body.len();
        body.resize(start + block.layout.unit_bytes(stripe), 0);
        block
            .read(&mut body[start..], block.offset + block.layout.unit_offset(stripe))
            .map_err(|e| read_error(id, &e))?;
        let expected =
            usize::try_from(stripe).ok().and_then(|stripe| block.checksums.get(stripe).copied());
        if expected != Some(checksum::unit(&body[start..])) {
            let why = "a unit does not match its checksum";
            return Err(Error::node(id, NodeFailure::Damaged(why.into())));
        }
        Ok(expected.unwrap_or_default())
    }

    /// Reads the two units of each of these stripes from the disk, whatever of them is in memory,
    /// holds them against their checksums, and gives the checksums of what it has read.
    ///
    /// # Errors
    /// [`NodeFailure::NotHeld`] or [`NodeFailure::Damaged`].
    pub fn verify(&mut self, first_stripe: u64, stripes: u64) -> Result<Vec<[u64; 2]>> {
        for which in [0, 1] {
            let block = self.block(which)?;
            block.content = None;
            block.file.forget_cached();
        }
        let mut body = Vec::new();
        let end = first_stripe.saturating_add(stripes.min(VERIFY_STRIPES_MAX));
        (first_stripe..end).map(|stripe| self.units(stripe, Select::Both, &mut body)).collect()
    }

    fn block(&mut self, which: usize) -> Result<&mut OpenBlock> {
        let found = match self.open[which].take() {
            Some(open) => open,
            None => self.find(which)?,
        };
        Ok(self.open[which].insert(found))
    }

    /// Opens a block. The journal forgets a piece only after it is written out, so asking the
    /// journal first and then the folder finds every piece that is held.
    fn find(&self, which: usize) -> Result<OpenBlock> {
        for _ in 0..LOOKS_MAX {
            if let Some(inline) = self.journal.inline(self.version) {
                let opened = self.disk.open(&inline.path);
                // A compaction in between has put other bytes there.
                if self.journal.inline(self.version).as_ref() != Some(&inline) {
                    continue;
                }
                return Ok(OpenBlock {
                    file: opened.map_err(|e| read_error(self.id, &e))?,
                    layout: inline.layout,
                    offset: inline.offset + (which * inline.layout.unit_bytes(0)) as u64,
                    checksums: vec![inline.checksums[which]],
                    content: None,
                });
            }
            let path = self.pieces.path(self.version, self.id.blocks()[which]);
            match self.disk.open(&path) {
                Ok(file) => return self.open_file(which, file),
                // As good as not there: what is rebuilt takes its place.
                Err(e) if self.pieces.is_locked(self.version, &e) => {
                    tracing::warn!("{} cannot be opened: {}", path.display(), reason(&e));
                    break;
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound && !is_damage(&e) => {
                    return Err(disk_error_at(self.id, &path, &e));
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(read_error(self.id, &e));
                }
                // It may have come with the journal in between.
                Err(_) if self.journal.inline(self.version).is_some() => {}
                Err(_) => break,
            }
        }
        Err(Error::node(self.id, NodeFailure::NotHeld(self.version)))
    }

    fn open_file(&self, which: usize, file: Box<dyn ReadFile>) -> Result<OpenBlock> {
        let failure = match read_end(&*file) {
            Ok((trailer, content))
                if trailer.header.version == self.version
                    && trailer.header.block == self.id.blocks()[which] =>
            {
                let layout = trailer.layout();
                let checksums = trailer.checksums;
                return Ok(OpenBlock { file, layout, offset: 0, checksums, content });
            }
            Ok(_) => NodeFailure::Damaged("its trailer names another block".into()),
            Err(Error::Io { source, .. }) => return Err(read_error(self.id, &source)),
            Err(e) => NodeFailure::Damaged(e.to_string()),
        };
        Err(Error::node(self.id, failure))
    }
}

/// Reads and checks the trailer of a block file, and that the file is as long as it should be.
///
/// # Errors
/// [`Error::Damaged`]; [`Error::Io`] if the error says nothing about the bytes.
pub(super) fn read_trailer(file: &dyn ReadFile) -> Result<Trailer> {
    read_end(file).map(|(trailer, _)| trailer)
}

/// The same, with the whole file if it is a short one.
fn read_end(file: &dyn ReadFile) -> Result<(Trailer, Option<Vec<u8>>)> {
    let damaged = |what: String| Error::Damaged(format!("block trailer: {what}"));
    let unreadable = |e: io::Error| match is_damage(&e) {
        true => Error::Damaged(format!("block trailer: cannot be read: {}", reason(&e))),
        false => Error::io("cannot read a block trailer")(e),
    };
    let length = file.length().map_err(unreadable)?;
    let read = |bytes: u64| {
        let mut end = vec![0; usize::try_from(bytes).unwrap_or_default()];
        file.read_exact_at(&mut end, length - bytes).map_err(unreadable).map(|()| end)
    };
    let mut end = read(length.min(END_BYTES))?;
    let Some(footer) = end.last_chunk::<FOOTER_BYTES>() else {
        return Err(damaged(format!("the file has only {length} bytes")));
    };
    let trailer_bytes = Footer::decode(footer)?.trailer_bytes;
    let Some(trailer_at) = length.checked_sub(trailer_bytes) else {
        return Err(damaged("it is longer than the file".into()));
    };
    if trailer_bytes > end.len() as u64 {
        end = read(trailer_bytes)?;
    }
    let skipped = end.len() - usize::try_from(trailer_bytes).unwrap_or_default();
    let trailer = Trailer::decode(&end[skipped..])?;
    if trailer.layout().block_bytes() != trailer_at {
        return Err(damaged("the block before it has another length than its file".into()));
    }
    Ok((trailer, (end.len() as u64 == length).then_some(end)))
}

fn read_error(id: NodeId, e: &io::Error) -> Error {
    if is_damage(e) {
        let why = format!("cannot be read: {}", reason(e));
        return Error::node(id, NodeFailure::Damaged(why));
    }
    disk_error(id, e)
}

/// Does an I/O error say that bytes are lost? Others say something about the process (no descriptor, no
/// memory, no permission) or may be gone at the next try.
fn is_damage(e: &io::Error) -> bool {
    match e.raw_os_error() {
        Some(number) => BYTES_LOST.contains(&number) || e.kind() == io::ErrorKind::IsADirectory,
        None => matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData),
    }
}

/// EIO, EBADMSG and EUCLEAN of Linux: the disk or the file system cannot give the bytes.
const BYTES_LOST: [i32; 3] = [5, 74, 117];
