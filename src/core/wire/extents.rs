//! Extents: runs of versions' bytes, of which an upload or a longer file is made.

use serde::{Deserialize, Serialize};

use crate::core::code::digest::TreePart;
use crate::core::error::{Error, Result};
use crate::core::types::VersionId;

/// The most extents that one record tells.
pub const EXTENTS_MAX: usize = 10;

/// The most subtrees of an extent.
pub const EXTENT_SUBTREES_MAX: usize = 32;

/// A run of a version's bytes, as a part of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Extent {
    /// The version.
    pub version: VersionId,
    /// The first byte.
    pub start: u64,
    /// How many bytes, at least one.
    pub bytes: u64,
}

/// An extent in its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlacedExtent {
    /// Where it comes among the others.
    pub position: u64,
    /// What it is.
    pub extent: Extent,
    /// What is known of the file's digest by it.
    pub tree: TreePart,
}

/// What is known of a digest, as the catalog keeps it.
///
/// # Errors
/// [`Error::Protocol`] if it cannot be written down.
pub fn encode_tree(tree: &TreePart) -> Result<Vec<u8>> {
    let failed = |e| Error::Protocol(format!("a digest's tree cannot be written down: {e}"));
    postcard::to_stdvec(tree).map_err(failed)
}

/// Reads it.
///
/// # Errors
/// [`Error::Damaged`] if it is none.
pub fn decode_tree(bytes: &[u8]) -> Result<TreePart> {
    let damaged = |_| Error::Damaged("what is known of a digest cannot be read".into());
    postcard::from_bytes(bytes).map_err(damaged)
}

/// A run of a file's bytes as runs of the versions that it is made of.
pub fn cut(extents: &[Extent], start: u64, bytes: u64) -> Vec<Extent> {
    let (mut at, end) = (0_u64, start.saturating_add(bytes));
    let mut cut = Vec::new();
    for extent in extents {
        let behind = at.saturating_add(extent.bytes);
        let (from, to) = (at.max(start), behind.min(end));
        if from < to {
            let start = extent.start.saturating_add(from - at);
            cut.push(Extent { version: extent.version, start, bytes: to - from });
        }
        at = behind;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_cut_out_of_the_extents() {
        let extent = |n, start, bytes| Extent { version: VersionId([n; 16]), start, bytes };
        let file = [extent(1, 0, 10), extent(2, 5, 10), extent(1, 0, 4)];
        assert_eq!(cut(&file, 0, 24), file);
        assert_eq!(cut(&file, 12, 3), [extent(2, 7, 3)]);
        assert_eq!(cut(&file, 9, 12), [extent(1, 9, 1), extent(2, 5, 10), extent(1, 0, 1)]);
        assert_eq!(cut(&file, 24, 5), []);
    }
}
