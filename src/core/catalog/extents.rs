//! Extents: of which runs of which versions the content of an upload, or of a version that is *joined*, is
//! made.
//!
//! ```text
//!   extents   upload U    at position 0      version P, bytes 0 to 128 MiB
//!             upload U    at position 2^27   version Q, bytes 0 to  64 MiB
//!   completed: the same rows are those of the joined version U, which has no pieces of its own
//! ```
//!
//! An extent's version is retired once no row names it, and no name is or was it: see
//! [`past::settle`](super::past::settle).

use rusqlite::{Connection, params};

use crate::core::catalog::Catalog;
use crate::core::catalog::database::{all, execute, first};
use crate::core::code::digest::TreePart;
use crate::core::error::Result;
use crate::core::types::{Digest, NodeSet, VersionId};
use crate::core::wire::extents::{Extent, PlacedExtent, decode_tree, encode_tree};
use crate::core::wire::trailer::PartOf;

/// An extent of a file that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtentRecord {
    /// What it is.
    pub extent: Extent,
    /// The size of the version that it is of.
    pub version_bytes: u64,
    /// The nodes that hold that version's piece.
    pub placed: NodeSet,
}

impl Catalog {
    /// The extents of a joined version, in the order of the file.
    pub fn extents(&self, of: VersionId) -> Result<Vec<ExtentRecord>> {
        let select = "SELECT extents.version, start, extents.bytes, versions.bytes, placed
                      FROM extents JOIN versions ON versions.version = extents.version
                      WHERE file = ?1 ORDER BY position";
        self.read(|connection| {
            all(connection, select, [of.0], |row| {
                let version = VersionId(row.get(0)?);
                let extent = Extent { version, start: row.get(1)?, bytes: row.get(2)? };
                let placed = NodeSet::from_bits(row.get(4)?);
                Ok(ExtentRecord { extent, version_bytes: row.get(3)?, placed })
            })
        })
    }

    /// The digest of a version's bytes.
    pub fn version_digest(&self, version: VersionId) -> Result<Option<Digest>> {
        let select = "SELECT blake3 FROM versions WHERE version = ?1";
        self.read(|connection| {
            first(connection, select, [version.0], |row| Ok(Digest(row.get(0)?)))
        })
    }

    /// Of which upload or joined version this version is the whole extent, if it is of one.
    pub fn part_of(&self, version: VersionId) -> Result<Option<PartOf>> {
        let select = "SELECT file, position, coalesce(
                          (SELECT bytes FROM uploads WHERE id = file),
                          (SELECT bytes FROM versions WHERE version = file))
                      FROM extents WHERE version = ?1 AND start = 0 LIMIT 1";
        self.read(|connection| {
            first(connection, select, [version.0], |row| {
                let (upload, position) = (VersionId(row.get(0)?), row.get(1)?);
                Ok(PartOf { upload, position, whole_bytes: row.get(2)? })
            })
        })
    }

    /// How many bytes are dropped with a version, once nobody reads it and no name is or was it: those of
    /// which nothing else is made.
    pub fn own_bytes(&self, version: VersionId) -> Result<u64> {
        let own = "SELECT coalesce(sum(bytes), 0) FROM versions WHERE joined = 0
                   AND (version = ?1 OR version IN (SELECT version FROM extents WHERE file = ?1))
                   AND NOT EXISTS (SELECT 1 FROM extents
                                   WHERE extents.version = versions.version AND file != ?1)
                   AND (SELECT count(*) FROM entries WHERE entries.version = versions.version)
                       <= (versions.version = ?1)
                   AND (SELECT count(*) FROM entries WHERE entries.version = ?1) <= 1";
        self.read(|connection| {
            first(connection, own, [version.0], |row| row.get(0)).map(Option::unwrap_or_default)
        })
    }
}

/// The extents of an upload or a joined version, in their order.
pub(super) fn of(connection: &Connection, file: VersionId) -> Result<Vec<PlacedExtent>> {
    let select = "SELECT position, version, start, bytes, tree FROM extents
                  WHERE file = ?1 ORDER BY position";
    let rows = all(connection, select, [file.0], |row| {
        let version = VersionId(row.get(1)?);
        let extent = Extent { version, start: row.get(2)?, bytes: row.get(3)? };
        Ok((row.get(0)?, extent, row.get::<_, Option<Vec<u8>>>(4)?))
    })?;
    let decoded = rows.into_iter().map(|(position, extent, tree)| {
        let tree = tree.map_or(Ok(TreePart::default()), |bytes| decode_tree(&bytes))?;
        Ok(PlacedExtent { position, extent, tree })
    });
    decoded.collect()
}

/// Adds an extent where there is none at its position.
pub(super) fn add(connection: &Connection, file: VersionId, placed: &PlacedExtent) -> Result<()> {
    let insert = "INSERT INTO extents (file, position, version, start, bytes, tree)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    let PlacedExtent { position, extent, tree } = placed;
    let tree = match tree.subtrees.is_empty() {
        true => None,
        false => Some(encode_tree(tree)?),
    };
    let values = params![file.0, position, extent.version.0, extent.start, extent.bytes, tree];
    execute(connection, insert, values).map(drop)
}

/// Takes away the extents from one position to before another.
pub(super) fn remove(connection: &Connection, file: VersionId, from: u64, to: u64) -> Result<()> {
    let select = "SELECT version FROM extents WHERE file = ?1 AND position >= ?2 AND position < ?3";
    let values = params![file.0, from, to];
    let versions = all(connection, select, values, |row| Ok(VersionId(row.get(0)?)))?;
    let delete = "DELETE FROM extents WHERE file = ?1 AND position >= ?2 AND position < ?3";
    execute(connection, delete, params![file.0, from, to])?;
    versions.into_iter().try_for_each(|version| super::past::settle(connection, version))
}

/// The same for all of them.
pub(super) fn remove_all(connection: &Connection, file: VersionId) -> Result<()> {
    remove(connection, file, 0, i64::MAX as u64)
}

/// Is this version an extent of anything?
pub(super) fn is_extent(connection: &Connection, version: VersionId) -> Result<bool> {
    let select = "SELECT 1 FROM extents WHERE version = ?1 LIMIT 1";
    Ok(first(connection, select, [version.0], |_| Ok(()))?.is_some())
}

/// The uploads and joined versions that this version is an extent of.
pub(super) fn files_of(connection: &Connection, version: VersionId) -> Result<Vec<VersionId>> {
    let select = "SELECT DISTINCT file FROM extents WHERE version = ?1";
    all(connection, select, [version.0], |row| Ok(VersionId(row.get(0)?)))
}
