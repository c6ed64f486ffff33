//! A file's content on its way from the nodes: extent after extent, each a version that is read by itself.

use std::collections::VecDeque;

use crate::core::catalog::ExtentRecord;
use crate::core::cluster::{Reading, Wanted};
use crate::core::error::Result;
use crate::core::serve::files::Files;
use crate::core::types::{NodeSet, VersionId};
use crate::core::wire::node::Place;

/// The bytes of some extents, one behind the other.
pub(super) struct Content<'a> {
    files: &'a Files,
    /// What messages call it.
    label: Place,
    reading: Reading,
    version: VersionId,
    rest: VecDeque<ExtentRecord>,
    /// The nodes that were read from before.
    used: NodeSet,
}

impl<'a> Content<'a> {
    /// Begins to read. The first stripe is at hand when it returns.
    ///
    /// # Errors
    /// As [`Volume::read`](crate::core::cluster::Volume::read).
    pub(super) fn begin(
        files: &'a Files,
        label: Place,
        first: ExtentRecord,
        rest: VecDeque<ExtentRecord>,
    ) -> Result<Content<'a>> {
        let reading = read(files, &label, first)?;
        let version = first.extent.version;
        Ok(Content { files, label, reading, version, rest, used: NodeSet::EMPTY })
    }

    /// The next bytes, in two parts one behind the other; nothing at the end.
    ///
    /// # Errors
    /// As [`Reading::next_part`].
    pub(super) fn next_part(&mut self) -> Result<Option<[&[u8]; 2]>> {
        if self.reading.is_finished()
            && let Some(next) = self.rest.pop_front()
        {
            self.note();
            self.reading = read(self.files, &self.label, next)?;
            self.version = next.extent.version;
        }
        self.reading.next_part()
    }

    /// The nodes whose bytes were handed out so far.
    pub(super) fn used(&self) -> NodeSet {
        self.used.iter().chain(self.reading.used().iter()).collect()
    }

    fn note(&mut self) {
        self.used = self.used();
        self.files.pieces_lost(self.version, self.reading.unsound());
    }
}

impl Drop for Content<'_> {
    fn drop(&mut self) {
        self.note();
    }
}

fn read(files: &Files, label: &Place, record: ExtentRecord) -> Result<Reading> {
    let ExtentRecord { extent, version_bytes, placed } = record;
    let wanted = Wanted {
        version: extent.version,
        label,
        file_bytes: version_bytes,
        bytes: extent.start..extent.start + extent.bytes,
        placed,
    };
    files.cluster.volume.read(wanted).map_err(|(error, unsound)| {
        files.pieces_lost(extent.version, unsound);
        error
    })
}
