//! The blocks of one version, open: units out of them, and what stands in the way.
//!
//! A unit counts as right if it matches its checksum. Where a block's trailer is damaged its units
//! have none; they are used only where a stripe cannot be had without them, and then the digest of
//! the whole file decides.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::choose::Version;
use super::history::logged_at;
use super::walk::BlockAt;
use crate::core::code::layout::Layout;
use crate::core::code::{checksum, salvage};
use crate::core::error::Error;
use crate::core::io::disk::{Disk, ReadFile};
use crate::core::io::reason;
use crate::core::node::piece::read_trailer;
use crate::core::types::Block;
use crate::core::wire::journal::Change;
use crate::core::wire::trailer::STRIPES_MAX;

/// A block's trouble, for people.
pub(super) fn describe(block: Block, why: &str) -> String {
    format!("block {block} of node {}: {why}", block.node())
}

/// What stands in the way of a version.
#[derive(Default)]
pub(super) struct Troubles {
    /// The first trouble of each block.
    pub(super) blocks: BTreeMap<Block, String>,
    /// That of the file as a whole.
    pub(super) whole: Option<String>,
}

impl Troubles {
    fn note(&mut self, block: Block, why: impl Into<String>) {
        self.blocks.entry(block).or_insert_with(|| why.into());
    }
}

/// An open block.
struct Source {
    bytes: Bytes,
    /// `None` if its trailer is damaged.
    checksums: Option<Vec<u64>>,
}

enum Bytes {
    File(Box<dyn ReadFile>),
    /// The only unit of a block that came with the journal.
    Unit(Vec<u8>),
}

impl Bytes {
    fn read(&self, unit: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Bytes::File(file) => file.read_exact_at(unit, offset),
            Bytes::Unit(own) if own.len() == unit.len() => {
                unit.copy_from_slice(own);
                Ok(())
            }
            Bytes::Unit(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The open blocks of one version.
pub(super) struct Sources {
    /// In the order of [`Block::ALL`]; those with checksums come first.
    blocks: [Vec<Source>; 8],
    pub(super) troubles: Troubles,
}

impl Sources {
    /// Opens all that there is.
    ///
    /// # Errors
    /// The troubles, if it is certain now that it is not enough.
    pub(super) fn open(
        disk: &dyn Disk,
        version: &Version,
    ) -> std::result::Result<Sources, Troubles> {
        let mut sources = Sources { blocks: Default::default(), troubles: Troubles::default() };
        if Layout::checked(version.state.file_bytes)
            .is_none_or(|layout| layout.stripe_count() > STRIPES_MAX)
        {
            sources.troubles.whole = Some("it names an impossible size".into());
            return Err(sources.troubles);
        }
        for block in Block::ALL {
            for at in &version.blocks[block.index()] {
                let opened = match at {
                    BlockAt::File(at) => open_named(disk, at, block, version),
                    BlockAt::Journal(at, offset) => open_logged(disk, at, *offset, block, version),
                };
                match opened {
                    Ok(source) => sources.blocks[block.index()].push(source),
                    Err(why) => sources.troubles.note(block, why),
                }
            }
            for (at, why) in &version.maybe[block.index()] {
                sources.troubles.note(block, why.clone());
                if let Ok(file) = disk.open(at) {
                    let source = Source { bytes: Bytes::File(file), checksums: None };
                    sources.blocks[block.index()].push(source);
                }
            }
            if sources.blocks[block.index()].is_empty() {
                sources.troubles.note(block, "missing");
            }
        }
        let there = |i: &usize| !sources.blocks[*i].is_empty();
        let set = (0..8).filter(there).fold(0, |set, i| set | 1 << i);
        if salvage::is_enough(set) { Ok(sources) } else { Err(sources.troubles) }
    }

    /// Reads units of a stripe until it is determined, and says which; all there are if it is not.
    pub(super) fn read(&mut self, layout: &Layout, stripe: u64, units: &mut [Vec<u8>; 8]) -> u8 {
        let mut good = 0;
        for with_checksum in [true, false] {
            for block in Block::ALL {
                let i = block.index();
                // A node's first block begins a piece: until then nothing new can be determined.
                if i % 2 == 0 && good != 0 && salvage::is_enough(good) {
                    return good;
                }
                let done = good & (1 << i) != 0;
                if !done && self.read_unit(layout, stripe, block, with_checksum, &mut units[i]) {
                    good |= 1 << i;
                }
            }
            if salvage::is_enough(good) {
                break;
            }
        }
        good
    }

    fn read_unit(
        &mut self,
        layout: &Layout,
        stripe: u64,
        block: Block,
        with_checksum: bool,
        unit: &mut Vec<u8>,
    ) -> bool {
        let Sources { blocks, troubles } = self;
        let candidates = blocks[block.index()].iter();
        unit.resize(layout.unit_bytes(stripe), 0);
        for source in candidates.filter(|source| source.checksums.is_some() == with_checksum) {
            if let Err(e) = source.bytes.read(unit, layout.unit_offset(stripe)) {
                troubles.note(block, format!("cannot be read: {}", reason(&e)));
                continue;
            }
            let Some(checksums) = &source.checksums else { return true };
            let index = usize::try_from(stripe).unwrap_or(usize::MAX);
            if checksums.get(index) == Some(&checksum::unit(unit)) {
                return true;
            }
            troubles.note(block, format!("wrong bytes in stripe {stripe}"));
        }
        false
    }

    pub(super) fn note_wrong_digest(&mut self) {
        self.troubles.whole =
            Some("its bytes do not have the digest that it was stored with".into());
    }
}

/// Opens a block and reads its trailer once more: the folder may be that of a node that runs.
fn open_named(
    disk: &dyn Disk,
    at: &Path,
    block: Block,
    version: &Version,
) -> std::result::Result<Source, String> {
    let file = disk.open(at).map_err(|e| format!("cannot be opened: {}", reason(&e)))?;
    let trailer = read_trailer(&*file).map_err(|error| match error {
        Error::Damaged(why) => why,
        other => other.to_string(),
    })?;
    let header = &trailer.header;
    if header.version != version.state.version || header.block != block {
        return Err("it was replaced just now".into());
    }
    Ok(Source { bytes: Bytes::File(file), checksums: Some(trailer.checksums) })
}

/// Reads a block that came with an entry of the journal, once more as well. The frame that it lies in
/// has a checksum.
fn open_logged(
    disk: &dyn Disk,
    at: &Path,
    offset: u64,
    block: Block,
    version: &Version,
) -> std::result::Result<Source, String> {
    let logged = logged_at(disk, at, offset).map_err(|error| error.to_string())?;
    let is_same = matches!(logged.entry.change(), Ok(Change::Stored { version: own, .. })
        if own == version.state.version);
    let Some(mut units) = logged.piece.filter(|_| is_same) else {
        return Err("the journal was rewritten just now".into());
    };
    let second = units.split_off(units.len() / 2);
    let unit = if block.index().is_multiple_of(2) { units } else { second };
    Ok(Source { checksums: Some(vec![checksum::unit(&unit)]), bytes: Bytes::Unit(unit) })
}
