//! Bytes of which nobody knows yet how many will come: in memory first, then in a file that has no
//! name any more, so that nothing can be left behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much stays in memory, in bytes.
pub const MEMORY_BYTES: usize = 64 * 1024;

/// How many files there are at once in this process: each may grow to the largest file's size.
pub const FILES_MAX: usize = 32;

static FILES: AtomicUsize = AtomicUsize::new(0);

/// Makes names differ. One that a crash has left is used again and loses its content.
static NAMES: AtomicUsize = AtomicUsize::new(0);

/// Bytes that were put aside.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<Nameless>,
    bytes: u64,
}

impl Spool {
    /// An empty one, whose file would be made in this folder.
    pub fn new(folder: &Path) -> Spool {
        Spool { folder: folder.to_owned(), memory: Vec::new(), file: None, bytes: 0 }
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// As the operating system says; `QuotaExceeded` if there are [`FILES_MAX`] already.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            None if self.memory.len() + bytes.len() <= MEMORY_BYTES => {
                self.memory.extend_from_slice(bytes);
            }
            None => {
                let mut nameless = Nameless::create(&self.folder)?;
                nameless.file.write_all(&self.memory)?;
                nameless.file.write_all(bytes)?;
                self.file = Some(nameless);
                self.memory = Vec::new();
            }
            Some(nameless) => nameless.file.write_all(bytes)?,
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Fills the buffer from this offset on.
    ///
    /// # Errors
    /// As the operating system says; `UnexpectedEof` if there are fewer bytes.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(nameless) = &self.file {
            return nameless.file.read_exact_at(buffer, offset);
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.memory.get(from..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(rest.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A file that is gone as soon as it is closed, counted as long as it is there.
#[derive(Debug)]
struct Nameless {
    file: File,
}

impl Nameless {
    fn create(folder: &Path) -> io::Result<Nameless> {
        let count = FILES.fetch_add(1, Ordering::SeqCst);
        let made = if count < FILES_MAX { open_nameless(folder) } else { Err(too_many()) };
        if made.is_err() {
            FILES.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(Nameless { file: made? })
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        FILES.fetch_sub(1, Ordering::SeqCst);
    }
}

fn open_nameless(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("spool-{}", NAMES.fetch_add(1, Ordering::SeqCst)));
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "too many files are being received")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_is_found_again_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..=255).cycle().take(3 * MEMORY_BYTES).collect();
        for pieces in [1, 1000, MEMORY_BYTES, all.len()] {
            let mut spool = Spool::new(folder.path());
            for piece in all.chunks(pieces).take(if pieces == 1 { 1000 } else { usize::MAX }) {
                spool.append(piece).unwrap();
            }
            let bytes = usize::try_from(spool.bytes()).unwrap();
            let mut got = vec![0; bytes - 7];
            spool.read_exact_at(&mut got, 7).unwrap();
            assert_eq!(got, all[7..bytes]);
            let end = spool.read_exact_at(&mut got, 8).unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
