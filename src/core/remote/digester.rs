//! The digest of a file's bytes as they pass by, on this side of a connection.

use std::io::{self, Read};

use crate::core::types::Digest;

/// Takes bytes and gives their digest.
#[derive(Clone, Default, Debug)]
pub struct Digester(blake3::Hasher);

impl Digester {
    /// Takes these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes all that comes.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read(&mut self, source: &mut dyn Read) -> io::Result<()> {
        self.0.update_reader(source).map(drop)
    }

    /// The digest of all that it has taken.
    pub fn digest(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}
