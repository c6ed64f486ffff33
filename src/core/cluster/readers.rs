//! Which versions are being read, so that none is dropped under its reader.
//!
//! A reader may have to change nodes half-way, so all pieces of the version that it reads must stay. A
//! version that was replaced or deleted meanwhile is dropped once its last reader has left.
//!
//! Its tests are in `tests/interleavings.rs`, which explores this file.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::core::error::Result;
use crate::core::types::VersionId;

/// The versions being read, and by how many.
#[derive(Default)]
pub struct Readers {
    /// A look-up holds it for reading until its version is noted; [`Readers::unread`] holds it for
    /// writing. So a retired version is unread for good: a look-up that ended before has noted it, and
    /// one that begins later does not find it.
    look_ups: RwLock<()>,
    counts: Mutex<HashMap<VersionId, usize>>,
}

/// While this lives, the version it stands for is not dropped.
pub struct Reader {
    readers: Arc<Readers>,
    version: VersionId,
}

impl Readers {
    /// Looks up what is to be read and notes it, in one step.
    ///
    /// # Errors
    /// Those of the look-up.
    pub fn enter<T>(
        self: &Arc<Self>,
        look_up: impl FnOnce() -> Result<(T, VersionId)>,
    ) -> Result<(T, Reader)> {
        let look_ups = self.look_ups.read();
        let (found, version) = look_up()?;
        *self.counts.lock().entry(version).or_default() += 1;
        drop(look_ups);
        Ok((found, Reader { readers: self.clone(), version }))
    }

    /// Is this version being read?
    pub fn is_read(&self, version: VersionId) -> bool {
        self.unread(vec![version]).is_empty()
    }

    /// Those of these retired versions that nobody reads, or ever will.
    pub fn unread(&self, mut versions: Vec<VersionId>) -> Vec<VersionId> {
        let _no_look_up = self.look_ups.write();
        let counts = self.counts.lock();
        versions.retain(|version| !counts.contains_key(version));
        versions
    }

    /// How many versions are being read.
    pub fn count(&self) -> usize {
        self.counts.lock().len()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut counts = self.readers.counts.lock();
        if let Some(count) = counts.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.version);
            }
        }
    }
}
