//! A piece on its way out: the units of one version, from wherever its blocks lie.
//!
//! Each of the two blocks is found on its own, since a commit renames them one after the other. Once
//! open, a block stays readable even if its name is given to a newer version.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::core::code::checksum;
use crate::core::code::repair::Select;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, ReadFile};
use crate::core::types::{NodeId, VersionId};
use crate::core::wire::node::VERIFY_STRIPES_MAX;
use crate::core::wire::trailer::{FOOTER_BYTES, Footer, Trailer};

/// The two blocks of one version on this node.
pub struct Piece {
    disk: Arc<dyn Disk>,
    id: NodeId,
    version: VersionId,
    /// Where each block may be, in the order to look.
    candidates: [Vec<PathBuf>; 2],
    open: [Option<OpenBlock>; 2],
}

struct OpenBlock {
    file: Box<dyn ReadFile>,
    trailer: Trailer,
}

impl Piece {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        id: NodeId,
        version: VersionId,
        candidates: [Vec<PathBuf>; 2],
    ) -> Piece {
        Piece { disk, id, version, candidates, open: [None, None] }
    }

    /// Puts what is selected of a stripe into `body` (emptied first) and gives the checksums that
    /// belong to it. The units are held against them here, so that damage of this disk is told from
    /// damage on the way, which the server notices.
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
        let layout = block.trailer.layout();
        if stripe >= layout.stripe_count() {
            let why = format!("version {version} has no stripe {stripe}");
            return Err(Error::node(id, NodeFailure::Refused(why)));
        }
        let start = body.len();
        body.resize(start + layout.unit_bytes(stripe), 0);
        block
            .file
            .read_exact_at(&mut body[start..], layout.unit_offset(stripe))
            .map_err(|e| Error::node(id, NodeFailure::Damaged(format!("cannot be read: {e}"))))?;
        let expected = usize::try_from(stripe)
            .ok()
            .and_then(|stripe| block.trailer.checksums.get(stripe).copied());
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
            self.block(which)?.file.forget_cached();
        }
        let mut body = Vec::new();
        let end = first_stripe.saturating_add(stripes.min(VERIFY_STRIPES_MAX));
        (first_stripe..end).map(|stripe| self.units(stripe, Select::Both, &mut body)).collect()
    }

    fn block(&mut self, which: usize) -> Result<&OpenBlock> {
        let found = match self.open[which].take() {
            Some(open) => open,
            None => self.find(which)?,
        };
        Ok(self.open[which].insert(found))
    }

    fn find(&self, which: usize) -> Result<OpenBlock> {
        let mut failure = NodeFailure::NotHeld(self.version);
        for path in &self.candidates[which] {
            let file = match self.disk.open(path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    failure = NodeFailure::Damaged(format!("cannot be opened: {e}"));
                    continue;
                }
            };
            match read_trailer(&*file) {
                Ok(trailer)
                    if trailer.header.version == self.version
                        && trailer.header.block == self.id.blocks()[which] =>
                {
                    return Ok(OpenBlock { file, trailer });
                }
                Ok(_) => {}
                Err(e) => failure = NodeFailure::Damaged(e.to_string()),
            }
        }
        Err(Error::node(self.id, failure))
    }
}

/// Reads and checks the trailer of a block file, and that the file is as long as it should be.
///
/// # Errors
/// [`Error::Damaged`].
pub(super) fn read_trailer(file: &dyn ReadFile) -> Result<Trailer> {
    let damaged = |what: String| Error::Damaged(format!("block trailer: {what}"));
    let unreadable = |e: io::Error| Error::Damaged(format!("block trailer: cannot be read: {e}"));
    let length = file.length().map_err(unreadable)?;
    let Some(footer_at) = length.checked_sub(FOOTER_BYTES as u64) else {
        return Err(damaged(format!("the file has only {length} bytes")));
    };
    let mut footer = [0; FOOTER_BYTES];
    file.read_exact_at(&mut footer, footer_at).map_err(unreadable)?;
    let trailer_bytes = Footer::decode(&footer)?.trailer_bytes;
    let Some(trailer_at) = length.checked_sub(trailer_bytes) else {
        return Err(damaged("it is longer than the file".into()));
    };
    let mut bytes = vec![0; usize::try_from(trailer_bytes).unwrap_or_default()];
    file.read_exact_at(&mut bytes, trailer_at).map_err(unreadable)?;
    let trailer = Trailer::decode(&bytes)?;
    if trailer.layout().block_bytes() != trailer_at {
        return Err(damaged("the block before it has another length than its file".into()));
    }
    Ok(trailer)
}
