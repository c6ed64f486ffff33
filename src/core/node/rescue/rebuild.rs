//! A file made again from its blocks, stripe by stripe.
//!
//! Memory is one stripe, its units, and the tables of checksums.
//!
//! While it is made a file is called [`part_path`], at the top of where the files go: no user's name
//! begins with a dot, so it can be nobody's file, and it is on the same file system as all of them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cannot_write;
use super::choose::{StoredFile, Survey, Version};
use super::sources::{Sources, Troubles, describe};
use crate::core::code::layout::{Layout, STRIPE_BYTES_MAX};
use crate::core::code::salvage;
use crate::core::error::Result;
use crate::core::io::disk::{Disk, WriteFile, create_folders};
use crate::core::io::reason;
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{Digest, NodeSet, Seq, VersionId};
use crate::core::wire::extents::Extent;
use crate::core::wire::node::Place;

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
        let mut lost = match file.newest() {
            None => Some(nothing_of(file)),
            Some(_) if file.is_folder_too => {
                Some("there is a folder of its name, so one of both was removed".to_owned())
            }
            Some(_) => None,
        };
        for version in &file.versions {
            let name = match lost {
                None => own.to_owned(),
                Some(_) => self.survey.beside(&file.place, &version.state),
            };
            let written = match self.make(file, version, progress)? {
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
        Ok(Outcome::Lost { why: lost.unwrap_or_else(|| nothing_of(file)), older: None })
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
        file: &StoredFile,
        version: &Version,
        progress: &mut dyn FnMut(u64),
    ) -> Result<std::result::Result<(), Lost>> {
        let at = part_path(&self.out);
        let created = self.disk.create(&at).map_err(|e| cannot_write(&at, &e));
        let made = created.and_then(|mut out| {
            let mut writing =
                Writing { file: &mut *out, at: &at, hasher: blake3::Hasher::new(), bytes: 0 };
            let made = self.make_parts(version, &mut writing, progress)?;
            if made.is_ok() {
                if let Some(attributes) = self.survey.attributes.get(&version.state.version) {
                    // What cannot be kept there is no reason to lose the bytes.
                    let _ = self.disk.give(&at, *attributes);
                }
                out.sync().map_err(|e| cannot_write(&at, &e))?;
            }
            Ok(made)
        });
        match made {
            Ok(Ok(())) => Ok(Ok(())),
            other => {
                // The reason to be told is the one before; the next file overwrites it.
                let _ = self.disk.remove(&at);
                other.map(|made| made.map_err(|(of, troubles)| self.lost(file, of, troubles)))
            }
        }
    }

    /// Writes a version, or the parts that it is made of. Otherwise what is in the way, and of which version.
    fn make_parts<'v>(
        &mut self,
        version: &'v Version,
        writing: &mut Writing<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<std::result::Result<(), (&'v Version, Troubles)>> {
        if version.parts.is_empty() {
            let (version_bytes, start) = (version.state.file_bytes, 0);
            let written = self.write(version, start..version_bytes, writing, progress)?;
            return Ok(written.map_err(|troubles| (version, troubles)));
        }
        for part in &version.parts {
            let Extent { start, bytes, .. } = part.extent;
            let Some(of) = &part.version else {
                let whole = Some("these nodes have nothing of a part of it".to_owned());
                return Ok(Err((version, Troubles { whole, ..Troubles::default() })));
            };
            if let Err(troubles) = self.write(of, start..start + bytes, writing, progress)? {
                return Ok(Err((of, troubles)));
            }
        }
        let digest = *writing.hasher.finalize().as_bytes();
        if version.has_digest && digest != version.state.blake3.0 {
            let whole = Some("its parts do not have the digest that it was stored with".to_owned());
            return Ok(Err((version, Troubles { whole, ..Troubles::default() })));
        }
        Ok(Ok(()))
    }

    /// Writes some bytes of a version that has blocks. All of them have to have the right digest.
    fn write(
        &mut self,
        version: &Version,
        wanted: Range<u64>,
        writing: &mut Writing<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<std::result::Result<(), Troubles>> {
        let mut sources = match Sources::open(&*self.disk, version) {
            Ok(sources) => sources,
            Err(troubles) => return Ok(Err(troubles)),
        };
        let layout = Layout::new(version.state.file_bytes);
        let mut hasher = blake3::Hasher::new();
        for stripe in 0..layout.stripe_count() {
            let good = sources.read(&layout, stripe, &mut self.units);
            let units: salvage::Units =
                std::array::from_fn(|i| (good & (1 << i) != 0).then(|| self.units[i].as_slice()));
            let data = &mut self.stripe[..layout.stripe_bytes(stripe)];
            if !salvage::decode(&units, data) {
                return Ok(Err(sources.troubles));
            }
            let own = &data[..layout.file_bytes_in(stripe)];
            hasher.update(own);
            let begin = layout.file_offset(stripe);
            let within = |byte: u64| {
                usize::try_from(byte.saturating_sub(begin)).unwrap_or(own.len()).min(own.len())
            };
            let some = &own[within(wanted.start)..within(wanted.end)];
            writing.append(some)?;
            progress(writing.bytes);
        }
        if *hasher.finalize().as_bytes() != version.state.blake3.0 {
            sources.note_wrong_digest();
            return Ok(Err(sources.troubles));
        }
        Ok(Ok(()))
    }

    /// Why this version cannot be made, in a person's words.
    fn lost(&self, file: &StoredFile, version: &Version, troubles: Troubles) -> Lost {
        let held = version.nodes().and(self.nodes);
        let is_unsure = self.survey.is_unsure(version);
        let unsure = if is_unsure {
            "its last store was under way, or had just been answered: "
        } else {
            ""
        };
        if held.len() == 1 && troubles.whole.is_none() {
            let is_alone = file.versions.len() == 1 && file.current.is_none() && !is_unsure;
            let why = if is_alone { " (was it deleted?)" } else { "" };
            return format!("{unsure}only {held} has any of it{why}");
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
        format!("{unsure}{}", reasons.join("; "))
    }
}

/// A file that is being written.
struct Writing<'a> {
    file: &'a mut dyn WriteFile,
    at: &'a Path,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Writing<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.append(bytes).map_err(|e| cannot_write(self.at, &e))
    }
}

/// Why a file is lost of which no block names itself as the current version's.
fn nothing_of(file: &StoredFile) -> Lost {
    let blocks: Vec<String> =
        file.nameless.iter().map(|(block, why)| describe(*block, why)).collect();
    match (blocks.as_slice(), file.current) {
        ([], Some(_)) => "these nodes have nothing of its current version".to_owned(),
        (_, _) => format!("none of its blocks says what it is: {}", blocks.join("; ")),
    }
}
