//! A file made again from its blocks, stripe by stripe.
//!
//! A unit counts as right if it matches its checksum. Where a block's trailer is damaged its units
//! have none; they are used only where a stripe cannot be had without them, and then the digest of
//! the whole file decides. Memory is one stripe, its units, and the tables of checksums.
//!
//! While it is made a file is called [`part_path`], at the top of where the files go: no user's name
//! begins with a dot, so it can be nobody's file, and it is on the same file system as all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cannot_write;
use super::choose::{StoredFile, Survey, Version};
use crate::core::code::layout::{Layout, STRIPE_BYTES_MAX};
use crate::core::code::{checksum, salvage};
use crate::core::error::{Error, Result};
use crate::core::io::disk::{Disk, ReadFile, WriteFile, create_folders};
use crate::core::io::reason;
use crate::core::node::piece::read_trailer;
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{Block, Digest, NodeSet, Seq, VersionId};
use crate::core::wire::node::Place;
use crate::core::wire::trailer::STRIPES_MAX;

/// Where a file is written before it gets its name.
pub fn part_path(out: &Path) -> PathBuf {
    out.join(".palk-rescue.part")
}

/// A version that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Where it is.
    pub at: PathBuf,
    /// Which version it is.
    pub version: VersionId,
    /// Its place in the order of changes.
    pub seq: Seq,
    /// Its size.
    pub bytes: u64,
    /// Its digest, which was compared.
    pub blake3: Digest,
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its newest version has its name.
    Rescued(Written),
    /// Its newest version could not be made.
    Lost {
        /// Why.
        why: String,
        /// An older one, under a name beside the file's own.
        older: Option<Written>,
    },
}

/// Why a version cannot be made; no reason to stop.
type Lost = String;

/// Makes files, one after the other.
pub struct Rescuer<'a> {
    disk: Arc<dyn Disk>,
    out: PathBuf,
    /// The nodes whose folders are at hand.
    nodes: NodeSet,
    survey: &'a Survey,
    /// In the order of [`Block::ALL`].
    units: [Vec<u8>; 8],
    stripe: Vec<u8>,
}

impl<'a> Rescuer<'a> {
    /// Writes what the survey found into a folder that is there and empty.
    pub fn new(disk: Arc<dyn Disk>, out: &Path, nodes: NodeSet, survey: &'a Survey) -> Rescuer<'a> {
        let stripe = vec![0; STRIPE_BYTES_MAX];
        Rescuer { disk, out: out.to_path_buf(), nodes, survey, units: Default::default(), stripe }
    }

    /// Makes a user's folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn folder(&self, user: &UserName, folder: &FolderPath) -> Result<()> {
        let at = self.out.join(user.as_str()).join(folder.as_str());
        create_folders(&*self.disk, &at).map_err(|e| cannot_write(&at, &e))
    }

    /// Makes a file, from its newest version or else beside its name from an older one. `progress`
    /// is told how many bytes of it are written.
    ///
    /// # Errors
    /// If nothing can be written any more.
    pub fn file(&mut self, file: &StoredFile, progress: &mut dyn FnMut(u64)) -> Result<Outcome> {
        let own = file.place.path.name();
        let mut lost = file
            .is_folder_too
            .then(|| "there is a folder of its name, so one of both was removed".to_owned());
        for version in &file.versions {
            let name = match lost {
                None => own.to_owned(),
                Some(_) => self.survey.beside(&file.place, &version.state),
            };
            let written = match self.make(version, progress)? {
                Ok(()) => self.give_name(version, &file.place, &name),
                Err(why) => Err(why),
            };
            match (written, &lost) {
                (Ok(written), None) => return Ok(Outcome::Rescued(written)),
                (Ok(written), Some(why)) => {
                    return Ok(Outcome::Lost { why: why.clone(), older: Some(written) });
                }
                (Err(why), None) => lost = Some(why),
                // Why the newest one is lost is what people have to know.
                (Err(_), Some(_)) => {}
            }
        }
        let why = lost.unwrap_or_else(|| {
            let blocks = file.nameless.iter().map(|(block, why)| describe(*block, why));
            format!("none of its blocks says what it is: {}", blocks.collect::<Vec<_>>().join("; "))
        });
        Ok(Outcome::Lost { why, older: None })
    }

    /// Gives the finished file its name, unless something has it.
    fn give_name(
        &self,
        version: &Version,
        place: &Place,
        name: &str,
    ) -> std::result::Result<Written, Lost> {
        let part = part_path(&self.out);
        let folder = self.out.join(place.user.as_str()).join(place.path.folder().as_str());
        let at = folder.join(name);
        let named = || {
            create_folders(&*self.disk, &folder)?;
            // The folder was empty at first, and all names differ.
            if self.disk.exists(&at)? {
                let what = "its name is taken (does the file system tell upper from lower case?)";
                return Err(std::io::Error::other(what));
            }
            self.disk.rename(&part, &at)?;
            self.disk.sync_folder(&folder)
        };
        if let Err(e) = named() {
            // What cannot be removed either is overwritten by the next file.
            let _ = self.disk.remove(&part);
            return Err(format!("it cannot be named {}: {}", at.display(), reason(&e)));
        }
        let state = version.state;
        let (version, seq, bytes) = (state.version, state.seq, state.file_bytes);
        Ok(Written { at, version, seq, bytes, blake3: state.blake3 })
    }

    /// Writes a version, synced, to [`part_path`]; nothing stays there if that fails.
    fn make(
        &mut self,
        version: &Version,
        progress: &mut dyn FnMut(u64),
    ) -> Result<std::result::Result<(), Lost>> {
        let mut sources = match Sources::open(&*self.disk, version) {
            Ok(sources) => sources,
            Err(troubles) => return Ok(Err(self.lost(version, troubles))),
        };
        let part = part_path(&self.out);
        let made =
            self.disk.create(&part).map_err(|e| cannot_write(&part, &e)).and_then(|mut file| {
                self.write(version, &mut sources, &mut *file, &part, progress)
            });
        match made {
            Ok(true) => Ok(Ok(())),
            other => {
                // The reason to be told is the one before; the next file overwrites it.
                let _ = self.disk.remove(&part);
                other.map(|_| Err(self.lost(version, sources.troubles)))
            }
        }
    }

    /// True once all stripes are written, have the right digest, and are synced.
    fn write(
        &mut self,
        version: &Version,
        sources: &mut Sources,
        file: &mut dyn WriteFile,
        at: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool> {
        let layout = Layout::new(version.state.file_bytes);
        let mut hasher = blake3::Hasher::new();
        for stripe in 0..layout.stripe_count() {
            let good = sources.read(&layout, stripe, &mut self.units);
            let units: salvage::Units =
                std::array::from_fn(|i| (good & (1 << i) != 0).then(|| self.units[i].as_slice()));
            let data = &mut self.stripe[..layout.stripe_bytes(stripe)];
            if !salvage::decode(&units, data) {
                return Ok(false);
            }
            let own = &data[..layout.file_bytes_in(stripe)];
            hasher.update(own);
            file.append(own).map_err(|e| cannot_write(at, &e))?;
            progress(layout.file_offset(stripe) + own.len() as u64);
        }
        if *hasher.finalize().as_bytes() != version.state.blake3.0 {
            sources.note_wrong_digest();
            return Ok(false);
        }
        file.sync().map_err(|e| cannot_write(at, &e))?;
        Ok(true)
    }

    /// Why this version cannot be made, in a person's words.
    fn lost(&self, version: &Version, troubles: Troubles) -> Lost {
        let held = version.nodes().and(self.nodes);
        let staged = if version.is_staged_only() {
            "its last store was under way, or had just been answered: "
        } else {
            ""
        };
        if held.len() == 1 && troubles.whole.is_none() {
            let why = if version.is_staged_only() { "" } else { " (was it deleted?)" };
            return format!("{staged}only {held} has any of it{why}");
        }
        let mut reasons: Vec<String> = Vec::new();
        for id in self.nodes.iter() {
            if !held.contains(id) {
                reasons.push(format!("node {id} has nothing of it"));
                continue;
            }
            let own = id
                .blocks()
                .into_iter()
                .filter_map(|block| Some(describe(block, troubles.blocks.get(&block)?)));
            reasons.extend(own);
        }
        reasons.extend(troubles.whole);
        format!("{staged}{}", reasons.join("; "))
    }
}

fn describe(block: Block, why: &str) -> String {
    format!("block {block} of node {}: {why}", block.node())
}

/// What stands in the way of a version.
#[derive(Default)]
struct Troubles {
    /// The first trouble of each block.
    blocks: BTreeMap<Block, String>,
    /// That of the file as a whole.
    whole: Option<String>,
}

impl Troubles {
    fn note(&mut self, block: Block, why: impl Into<String>) {
        self.blocks.entry(block).or_insert_with(|| why.into());
    }
}

/// An open block file.
struct Source {
    file: Box<dyn ReadFile>,
    /// Nothing if its trailer is damaged.
    checksums: Option<Vec<u64>>,
}

/// The open block files of one version.
struct Sources {
    /// In the order of [`Block::ALL`]; those with checksums come first.
    blocks: [Vec<Source>; 8],
    troubles: Troubles,
}

impl Sources {
    /// Opens all that there is.
    ///
    /// # Errors
    /// The troubles, if it is certain now that it is not enough.
    fn open(disk: &dyn Disk, version: &Version) -> std::result::Result<Sources, Troubles> {
        let mut sources = Sources { blocks: Default::default(), troubles: Troubles::default() };
        if Layout::checked(version.state.file_bytes)
            .is_none_or(|layout| layout.stripe_count() > STRIPES_MAX)
        {
            sources.troubles.whole = Some("it names an impossible size".into());
            return Err(sources.troubles);
        }
        for block in Block::ALL {
            for at in &version.blocks[block.index()] {
                match open_named(disk, at, block, version) {
                    Ok(source) => sources.blocks[block.index()].push(source),
                    Err(why) => sources.troubles.note(block, why),
                }
            }
            for (at, why) in &version.maybe[block.index()] {
                sources.troubles.note(block, why.clone());
                if let Ok(file) = disk.open(at) {
                    sources.blocks[block.index()].push(Source { file, checksums: None });
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
    fn read(&mut self, layout: &Layout, stripe: u64, units: &mut [Vec<u8>; 8]) -> u8 {
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
            if let Err(e) = source.file.read_exact_at(unit, layout.unit_offset(stripe)) {
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

    fn note_wrong_digest(&mut self) {
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
    Ok(Source { file, checksums: Some(trailer.checksums) })
}
