//! Bytes of which nobody knows yet how many will come: in memory first, then in a file that has no
//! name any more, so that nothing can be left behind.
//!
//! All spools of a folder together stay below one limit. One that would go beyond it waits until others
//! are gone; the one that has been there for the longest does not wait, so there is always one that gets
//! to its end.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::core::io::disk::{Disk, RealDisk};

/// How much stays in memory, in bytes.
pub const MEMORY_BYTES: usize = 64 * 1024;

/// How much all files of a folder take on its disk together, in bytes; at most half of what is free.
const BYTES_MAX: u64 = 1 << 30;

/// The longest that one waits for others.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A folder in which bytes are put aside.
pub struct Spools {
    folder: PathBuf,
    bytes_max: u64,
    taken: Mutex<Taken>,
    given_back: Condvar,
}

#[derive(Default)]
struct Taken {
    /// Those that have a file, by their numbers: the lowest is the oldest.
    files: BTreeSet<u64>,
    next: u64,
    bytes: u64,
}

impl Spools {
    /// Spools whose files are made in this folder.
    pub fn new(folder: &Path) -> Arc<Spools> {
        Spools::with_limit(folder, BYTES_MAX)
    }

    fn with_limit(folder: &Path, bytes_max: u64) -> Arc<Spools> {
        let (folder, taken) = (folder.to_owned(), Mutex::default());
        Arc::new(Spools { folder, bytes_max, taken, given_back: Condvar::new() })
    }

    /// An empty one.
    pub fn spool(self: &Arc<Spools>) -> Spool {
        Spool { spools: self.clone(), memory: Vec::new(), file: None, bytes: 0 }
    }

    fn begin(&self) -> u64 {
        let mut taken = self.taken.lock();
        let number = taken.next;
        taken.next += 1;
        taken.files.insert(number);
        number
    }

    /// Takes room for so many more bytes, for the spool of this number.
    fn take(&self, number: u64, bytes: u64, longest: Duration) -> io::Result<()> {
        let deadline = Instant::now() + longest;
        let mut taken = self.taken.lock();
        while taken.files.first() != Some(&number) && taken.bytes + bytes > self.limit(&taken) {
            if self.given_back.wait_until(&mut taken, deadline).timed_out() {
                let text = "too many files are being received at this moment";
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
            }
        }
        taken.bytes += bytes;
        Ok(())
    }

    fn limit(&self, taken: &Taken) -> u64 {
        let space = RealDisk.space(&self.folder);
        space.map_or(self.bytes_max, |space| {
            self.bytes_max.min((space.free_bytes.saturating_add(taken.bytes)) / 2)
        })
    }

    fn end(&self, number: u64, bytes: u64) {
        let mut taken = self.taken.lock();
        taken.files.remove(&number);
        taken.bytes -= bytes;
        self.given_back.notify_all();
    }
}

/// Bytes that were put aside.
pub struct Spool {
    spools: Arc<Spools>,
    memory: Vec<u8>,
    file: Option<Nameless>,
    bytes: u64,
}

impl Spool {
    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes at the end, once there is room for them.
    ///
    /// # Errors
    /// As the operating system says; `QuotaExceeded` if others keep the room for too long.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            None if self.memory.len() + bytes.len() <= MEMORY_BYTES => {
                self.memory.extend_from_slice(bytes);
            }
            None => {
                let mut nameless = Nameless::create(self.spools.clone())?;
                nameless.write(&self.memory)?;
                nameless.write(bytes)?;
                self.file = Some(nameless);
                self.memory = Vec::new();
            }
            Some(nameless) => nameless.write(bytes)?,
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
struct Nameless {
    file: File,
    number: u64,
    taken: u64,
    spools: Arc<Spools>,
}

impl Nameless {
    fn create(spools: Arc<Spools>) -> io::Result<Nameless> {
        let number = spools.begin();
        match open_nameless(&spools.folder, number) {
            Ok(file) => Ok(Nameless { file, number, taken: 0, spools }),
            Err(error) => {
                spools.end(number, 0);
                Err(error)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.spools.take(self.number, bytes.len() as u64, WAIT_MAX)?;
        self.taken += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        self.spools.end(self.number, self.taken);
    }
}

/// The number makes names differ. One that a crash has left is used again and loses its content.
fn open_nameless(folder: &Path, number: u64) -> io::Result<File> {
    let path = folder.join(format!("spool-{number}"));
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_is_found_again_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let spools = Spools::new(folder.path());
        let all: Vec<u8> = (0..=255).cycle().take(3 * MEMORY_BYTES).collect();
        for pieces in [1, 1000, MEMORY_BYTES, all.len()] {
            let mut spool = spools.spool();
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

    #[test]
    fn all_together_stay_below_one_limit_and_the_oldest_never_waits() {
        let folder = tempfile::tempdir().unwrap();
        let spools = Spools::with_limit(folder.path(), 300_000);
        let piece = [7; 100_000];
        let [mut oldest, mut second] = [spools.spool(), spools.spool()];
        oldest.append(&piece).unwrap();
        second.append(&piece).unwrap();
        (0..5).for_each(|_| oldest.append(&piece).unwrap());
        let number = second.file.as_ref().unwrap().number;
        let refused = spools.take(number, 1, Duration::ZERO).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let mut third = spools.spool();
                third.append(&piece).map(|()| third.bytes())
            });
            // The second one is the oldest then, and the third has room.
            drop(oldest);
            assert_eq!(waits.join().unwrap().unwrap(), 100_000);
        });
        drop(second);
        let taken = spools.taken.lock();
        assert_eq!((taken.files.len(), taken.bytes), (0, 0));
    }
}
