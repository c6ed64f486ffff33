//! Versions that are made of extents: which pieces are theirs, by a history or by the pieces' trailers alone.

use std::collections::{BTreeMap, HashMap};

use super::choose::Version;
use super::walk::State;
use crate::core::types::{Digest, Seq, VersionId};
use crate::core::wire::extents::{Extent, cut};
use crate::core::wire::journal::Change;
use crate::core::wire::trailer::PartOf;

/// A run of the bytes of another version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Where it begins there, and how long it is.
    pub(super) extent: Extent,
    /// That version; `None` if nothing of it was found.
    pub(super) version: Option<Version>,
}

/// What uploads and joined versions are made of, by a history.
#[derive(Default, Debug)]
pub(super) struct Joins {
    extents: HashMap<VersionId, BTreeMap<u64, Extent>>,
    joined: HashMap<VersionId, State>,
    /// The sizes of versions with pieces.
    bytes: HashMap<VersionId, u64>,
}

impl Joins {
    /// Takes in the next change.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Stored { version, bytes, .. } => {
                self.bytes.insert(*version, *bytes);
            }
            Change::Kept(kept) if kept.joined => {
                self.joined
                    .insert(kept.version, state(kept.version, kept.seq, kept.bytes, kept.blake3));
            }
            Change::Kept(kept) => {
                self.bytes.insert(kept.version, kept.bytes);
            }
            Change::ExtentStored { upload, position, kept, .. } => {
                self.bytes.insert(kept.version, kept.bytes);
                let extent = Extent { version: kept.version, start: 0, bytes: kept.bytes };
                self.extents.entry(*upload).or_default().insert(*position, extent);
            }
            Change::ExtentShared { upload, position, of, start, bytes } => {
                let shared = cut(&self.runs_of(*of), *start, *bytes);
                let extents = self.extents.entry(*upload).or_default();
                extents.extend((*position..).zip(shared));
            }
            Change::ExtentsRemoved { upload, from, to } => {
                if let Some(extents) = self.extents.get_mut(upload) {
                    extents.retain(|position, _| !(*from..*to).contains(position));
                }
            }
            Change::UploadCompleted { upload, kept, .. } => {
                if kept.joined {
                    let state = state(kept.version, kept.seq, kept.bytes, kept.blake3);
                    self.joined.insert(kept.version, state);
                } else {
                    self.extents.remove(upload);
                }
            }
            Change::UploadsDropped { uploads: gone } | Change::Dropped { versions: gone } => {
                for version in gone {
                    self.extents.remove(version);
                    self.joined.remove(version);
                    self.bytes.remove(version);
                }
            }
            Change::Extents { of, extents } => {
                let all = self.extents.entry(*of).or_default();
                all.extend(extents.iter().map(|placed| (placed.position, placed.extent)));
            }
            _ => {}
        }
    }

    fn runs_of(&self, version: VersionId) -> Vec<Extent> {
        match self.extents.get(&version) {
            Some(extents) => extents.values().copied().collect(),
            None => {
                let bytes = self.bytes.get(&version).copied().unwrap_or(0);
                vec![Extent { version, start: 0, bytes }]
            }
        }
    }

    /// The joined versions, with what was found of their parts.
    pub(super) fn versions(&self, found: &[Version]) -> Vec<Version> {
        let by_id: HashMap<VersionId, &Version> =
            found.iter().map(|own| (own.state.version, own)).collect();
        let joined = self.joined.values().filter_map(|state| {
            let runs = self.extents.get(&state.version)?.values();
            let parts: Vec<Part> = runs
                .map(|extent| {
                    let version = by_id.get(&extent.version).map(|own| (*own).clone());
                    Part { extent: *extent, version }
                })
                .collect();
            let stored_as = parts.iter().find_map(|part| part.version.as_ref())?.stored_as.clone();
            Some(Version { has_digest: true, ..Version::joined(*state, stored_as, parts) })
        });
        joined.collect()
    }
}

fn state(version: VersionId, seq: Seq, file_bytes: u64, blake3: Digest) -> State {
    State { seq, version, file_bytes, blake3 }
}

/// Takes those versions that are only parts of a file out of the others, and puts them together where they
/// make a whole one. The trailers do not say the digest of that.
pub(super) fn by_trailers(versions: &mut Vec<Version>) -> Vec<Version> {
    let mut uploads: BTreeMap<VersionId, (Option<u64>, BTreeMap<u64, Version>)> = BTreeMap::new();
    for version in versions.extract_if(.., |own| own.is_part()) {
        let Some(PartOf { upload, position, whole_bytes }) = version.part else { continue };
        let (bytes, parts) = uploads.entry(upload).or_default();
        *bytes = bytes.or(whole_bytes);
        // They come in the order of their numbers: of two at one place the later one counts.
        parts.insert(position, version);
    }
    let joined = uploads.into_iter().filter_map(|(upload, (whole_bytes, parts))| {
        let bytes: u64 = parts.values().map(|own| own.state.file_bytes).sum();
        let last = parts.values().next_back()?;
        let seq = parts.values().map(|own| own.state.seq).max()?;
        let stored_as = last.stored_as.clone();
        // One that was never whole was never a file.
        let is_whole = whole_bytes.is_none_or(|whole| whole == bytes);
        let parts = parts.into_values().map(|own| {
            let (version, bytes) = (own.state.version, own.state.file_bytes);
            Part { extent: Extent { version, start: 0, bytes }, version: Some(own) }
        });
        let state = state(upload, seq, bytes, Digest([0; 32]));
        is_whole.then(|| Version::joined(state, stored_as, parts.collect()))
    });
    joined.collect()
}
