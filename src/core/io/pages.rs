//! Memory straight from the system, all zeros, which goes back to it when it is dropped. An allocator keeps large
//! buffers for the next who asks, and a server that was busy once would stay as large as it was then.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::core::error::{Error, Result};

/// A large buffer. Only what is written to takes memory.
#[derive(Debug)]
pub struct Pages(MmapMut);

impl Pages {
    /// So many bytes; at least one.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn new(bytes: usize) -> Result<Pages> {
        MmapMut::map_anon(bytes.max(1)).map(Pages).map_err(Error::io("there is no memory left"))
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
