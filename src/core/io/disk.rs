//! The only door to the disk: a small trait, so that the same store runs on a simulated disk.
//!
//! A write is atomic in one fixed order: written beside its place, synced, renamed, folder synced.
//! A file that failed a write or a sync must not be trusted any more; callers drop it and start anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, TrySendError, bounded};
use rustix::fs::{Access, OFlags};

use crate::core::io::attributes;
use crate::core::types::FileAttributes;

/// What is written ahead, a part at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Write-back starts whenever this many new bytes have come.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// One entry of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name; entries whose name is not UTF-8 are none of ours and left out.
    pub name: String,
    /// Is it a folder?
    pub is_folder: bool,
}

/// The room on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes that the disk has in all, used ones included.
    pub total_bytes: u64,
    /// Files and folders that can still be made; the highest number where there is no limit.
    pub free_files: u64,
}

/// Tells files and folders apart: device and number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileIdentity(pub u64, pub u64);

/// What a store needs of a disk. All paths are the store's own; nothing here follows a user's text.
pub trait Disk: Send + Sync {
    /// Makes a file for appending; one that is there already is emptied.
    ///
    /// # Errors
    /// As the operating system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As the operating system says; `InvalidData` if it is neither a file nor a folder.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Is there a file or folder?
    ///
    /// # Errors
    /// As the operating system says.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file or folder another name: a file in place of a file that has it, a folder where
    /// nothing has it.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes one folder in a folder that is there. True if it is new.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_folder(&self, path: &Path) -> io::Result<bool>;

    /// Removes a folder if there is nothing in it. True if it is gone, also if it was before.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove_folder(&self, path: &Path) -> io::Result<bool>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// The files and folders in a folder, sorted by name. What is neither (a link, a pipe, a device)
    /// is none of ours and left out, so whoever walks a tree by this follows no link.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;

    /// How much room there is on the disk that this folder lies on.
    ///
    /// # Errors
    /// As the operating system says.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// May this process make, rename and remove files in this folder, or write to this file? Changes
    /// nothing.
    ///
    /// # Errors
    /// The reason if it may not.
    fn may_write(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Ok(())
    }

    /// Gives a file a second name, which must be free, in a folder that is there.
    ///
    /// # Errors
    /// As the operating system says; `AlreadyExists` if the name is taken, `Unsupported` or
    /// `PermissionDenied` where the file system has no hard links.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file the time and the right to be run that were stored with it, as far as the disk keeps
    /// such things.
    ///
    /// # Errors
    /// As the operating system says.
    fn give(&self, path: &Path, attributes: FileAttributes) -> io::Result<()> {
        let (_, _) = (path, attributes);
        Ok(())
    }

    /// Which file or folder this path leads to: the same for all names of one file, and another one
    /// for every other that is there.
    ///
    /// # Errors
    /// As the operating system says.
    fn identity(&self, path: &Path) -> io::Result<FileIdentity>;

    /// Makes everything durable that has been written on the disk that this folder lies on: all
    /// files, all names.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_all(&self, path: &Path) -> io::Result<()>;

    /// Opens a file that is there for adding to its end, after cutting it to `length` bytes.
    ///
    /// # Errors
    /// As the operating system says; `UnexpectedEof` if the file is shorter.
    fn append_to(&self, path: &Path, length: u64) -> io::Result<Box<dyn WriteFile>>;
}

/// A file that is being written from beginning to end.
pub trait WriteFile: Send {
    /// Adds bytes at the end, over zeros that were written ahead.
    ///
    /// # Errors
    /// As the operating system says; the file is not to be used any more.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes this many zeros behind the end, for later appends to overwrite: a sync of bytes that
    /// make the file longer has to commit its new length, too, and takes longer. Readers see the
    /// zeros.
    ///
    /// # Errors
    /// As the operating system says. Some of the zeros may be there. On a full disk the file can still
    /// be used.
    fn write_ahead(&mut self, bytes: u64) -> io::Result<()>;

    /// How many of the zeros are left.
    fn ahead_bytes(&self) -> u64;

    /// Begins to make durable what is there, as far as that can go on by itself until
    /// [`WriteFile::sync`] waits for it: so several files become durable in the time of one.
    fn begin_sync(&mut self) {}

    /// Makes all of it durable.
    ///
    /// # Errors
    /// As the operating system says, also for write-back that began earlier.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is being read.
pub trait ReadFile: Send {
    /// Its length in bytes when it was opened.
    ///
    /// # Errors
    /// As the operating system says.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer from this offset on.
    ///
    /// # Errors
    /// As the operating system says; `UnexpectedEof` if the file is shorter.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Has the next reads come from the disk and not from memory, as far as the machine can do that.
    fn forget_cached(&self) {}
}

/// Writes a small file whole or not at all.
///
/// # Errors
/// As the disk says.
pub fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = disk.create(&beside)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}

/// Reads a small file; nothing if it is not there.
///
/// # Errors
/// As the disk says; `InvalidData` if it is longer than `bytes_max`.
pub fn read_whole(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let length = file.length()?;
    if length > bytes_max {
        let what = format!("it has {length} bytes, more than the {bytes_max} that it may have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Opens whatever is there to be read. A pipe would otherwise wait for somebody who writes into it.
///
/// # Errors
/// As the operating system says.
pub fn open_at_once(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::empty())
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from((flags | OFlags::NONBLOCK).bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The machine's own disk.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut options = OpenOptions::new();
        // What people store is nobody else's business on this machine.
        options.write(true).create(true).truncate(true).mode(0o600);
        Ok(Box::new(RealWriteFile::new(options.open(path)?, 0)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        // That a file was read is no reason to write: the time of it is not noted, where the file is
        // this user's own and that can be asked for.
        let file = match open_with(path, OFlags::NOATIME) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => open_at_once(path)?,
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_dir() {
            let what = "it is neither a file nor a folder";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Box::new(RealReadFile { file, length: metadata.len() }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn remove_folder(&self, path: &Path) -> io::Result<bool> {
        match fs::remove_dir(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if !kind.is_dir() && !kind.is_file() {
                continue;
            }
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Listed { name, is_folder: kind.is_dir() });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(path)?;
        // What only the superuser may use is not free.
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            // Some file systems have as many as there is room for, and tell none.
            free_files: if found.f_files == 0 { u64::MAX } else { found.f_favail },
        })
    }

    fn may_write(&self, path: &Path) -> io::Result<()> {
        let enter = if path.is_dir() { Access::EXEC_OK } else { Access::empty() };
        Ok(rustix::fs::access(path, Access::WRITE_OK | enter)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn give(&self, path: &Path, attributes: FileAttributes) -> io::Result<()> {
        attributes::give(attributes, &OpenOptions::new().write(true).open(path)?)
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        let found = fs::metadata(path)?;
        Ok(FileIdentity(found.dev(), found.ino()))
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn append_to(&self, path: &Path, length: u64) -> io::Result<Box<dyn WriteFile>> {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.set_len(length)?;
        Ok(Box::new(RealWriteFile::new(file, length)))
    }
}

/// Makes a file of this length whose room on the disk is taken, if the file system can do that;
/// leaves none behind if there is no room.
///
/// # Errors
/// As the operating system says.
pub fn take_room(path: &Path, bytes: u64) -> io::Result<()> {
    let flags = rustix::fs::FallocateFlags::empty();
    let file = File::create(path)?;
    match rustix::fs::fallocate(&file, flags, 0, bytes).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// A file whose write-back starts while bytes still arrive, so that the sync at the end finds little
/// left to do.
struct RealWriteFile {
    file: Arc<File>,
    /// Where the next append goes.
    end: u64,
    /// How long the file is, with what was written ahead.
    length: u64,
    /// Bytes since write-back was last asked for.
    unwritten: u64,
    write_back: Option<WriteBack>,
}

impl RealWriteFile {
    /// A file that ends there.
    fn new(file: File, end: u64) -> RealWriteFile {
        RealWriteFile { file: Arc::new(file), end, length: end, unwritten: 0, write_back: None }
    }
}

impl WriteFile for RealWriteFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.length = self.length.max(self.end);
        self.unwritten += bytes.len() as u64;
        if self.unwritten >= WRITE_BACK_BYTES {
            self.begin_sync();
        }
        Ok(())
    }

    fn write_ahead(&mut self, bytes: u64) -> io::Result<()> {
        let to = self.length.saturating_add(bytes);
        while self.length < to {
            let part = (to - self.length).min(ZEROS.len() as u64);
            let zeros = &ZEROS[..usize::try_from(part).unwrap_or(ZEROS.len())];
            self.file.write_all_at(zeros, self.length)?;
            self.length += part;
        }
        Ok(())
    }

    fn ahead_bytes(&self) -> u64 {
        self.length - self.end
    }

    fn begin_sync(&mut self) {
        if self.write_back.is_none() {
            // Without a thread, `sync` does all of it.
            self.write_back = WriteBack::start(self.file.clone()).ok();
        }
        if let Some(write_back) = &self.write_back {
            write_back.ask();
            self.unwritten = 0;
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(write_back) = self.write_back.take() {
            write_back.finish()?;
            if self.unwritten == 0 {
                return Ok(());
            }
        }
        self.file.sync_data()?;
        self.unwritten = 0;
        Ok(())
    }
}

/// A thread that syncs a file while it is still being written. Linux reports a failed write-back
/// only once for a descriptor that is shared, so what this thread was told must reach the last sync.
struct WriteBack {
    ask: Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl WriteBack {
    fn start(file: Arc<File>) -> io::Result<WriteBack> {
        let (ask, asked) = bounded(1);
        let thread = thread::Builder::new()
            .name("write-back".into())
            .spawn(move || asked.into_iter().try_for_each(|()| file.sync_data()))?;
        Ok(WriteBack { ask, thread })
    }

    /// Asks for one more round, unless one is waiting already.
    fn ask(&self) {
        match self.ask.try_send(()) {
            // A thread that has ended has an error to tell, and `finish` will.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    fn finish(self) -> io::Result<()> {
        drop(self.ask);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("write-back ended in a panic")))
    }
}

struct RealReadFile {
    file: File,
    /// When it was opened.
    length: u64,
}

impl ReadFile for RealReadFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn forget_cached(&self) {
        // Advice: a file system that does not take it is read all the same.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// A folder that no other process uses while this value lives.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock file at this path; nothing if another process holds it.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn take(path: &Path) -> io::Result<Option<FolderLock>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FolderLock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    }

    /// Does another process hold the lock file at this path? Writes nothing, not even the file.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    }
}

/// Makes a folder and those above it, and makes the new names durable.
///
/// # Errors
/// As the disk says.
pub fn create_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut at = path.to_path_buf();
    while !at.as_os_str().is_empty() && !disk.exists(&at)? {
        missing.push(at.clone());
        if !at.pop() {
            break;
        }
    }
    for folder in missing.into_iter().rev() {
        disk.create_folder(&folder)?;
        match folder.parent() {
            Some(above) if !above.as_os_str().is_empty() => disk.sync_folder(above)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_written_whole_over_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        assert_eq!(read_whole(&RealDisk, &path, 100).unwrap(), None);
        write_whole(&RealDisk, &path, b"one").unwrap();
        write_whole(&RealDisk, &path, b"two").unwrap();
        assert_eq!(read_whole(&RealDisk, &path, 100).unwrap().unwrap(), b"two");
        assert!(read_whole(&RealDisk, &path, 2).is_err());
        assert_eq!(RealDisk.list(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_long_file_is_written_back_while_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let mut file = RealDisk.create(&path).unwrap();
        let piece = vec![7; 1 << 20];
        (0..20).for_each(|_| file.append(&piece).unwrap());
        file.sync().unwrap();
        let file = RealDisk.open(&path).unwrap();
        assert_eq!(file.length().unwrap(), 20 << 20);
        let mut last = [0; 4];
        file.read_exact_at(&mut last, (20 << 20) - 4).unwrap();
        assert_eq!(last, [7; 4]);
        assert!(file.read_exact_at(&mut last, (20 << 20) - 3).is_err());
    }

    #[test]
    fn reading_a_file_leaves_no_trace_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block");
        write_whole(&RealDisk, &path, b"block").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let times = fs::FileTimes::new().set_accessed(long_ago);
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        assert_eq!(read_whole(&RealDisk, &path, 5).unwrap().unwrap(), b"block");
        assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), long_ago);
    }

    #[test]
    fn a_file_is_cut_and_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert!(RealDisk.append_to(&path, 0).is_err(), "not there");
        write_whole(&RealDisk, &path, b"whole torn").unwrap();
        assert!(RealDisk.append_to(&path, 11).is_err(), "shorter");
        let mut file = RealDisk.append_to(&path, 5).unwrap();
        file.append(b"!").unwrap();
        file.append(b"!").unwrap();
        file.sync().unwrap();
        assert_eq!(read_whole(&RealDisk, &path, 100).unwrap().unwrap(), b"whole!!");
    }

    #[test]
    fn what_is_written_ahead_is_overwritten_and_then_the_file_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let read = || read_whole(&RealDisk, &path, 1 << 20).unwrap().unwrap();
        let mut file = RealDisk.create(&path).unwrap();
        file.append(b"one").unwrap();
        file.write_ahead(5).unwrap();
        assert_eq!((&read()[..], file.ahead_bytes()), (&b"one\0\0\0\0\0"[..], 5));
        file.append(b"two").unwrap();
        assert_eq!((&read()[..], file.ahead_bytes()), (&b"onetwo\0\0"[..], 2));
        file.append(b"three").unwrap();
        file.sync().unwrap();
        assert_eq!((&read()[..], file.ahead_bytes()), (&b"onetwothree"[..], 0));
        file.write_ahead(100_000).unwrap();
        assert_eq!((read().len(), file.ahead_bytes()), (100_011, 100_000));
        let mut file = RealDisk.append_to(&path, 6).unwrap();
        assert_eq!((&read()[..], file.ahead_bytes()), (&b"onetwo"[..], 0), "all of it is cut");
        file.append(b"!").unwrap();
        assert_eq!(read(), b"onetwo!");
    }

    #[test]
    fn folders_are_made_with_those_above_them() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folders(&RealDisk, &deep).unwrap();
        create_folders(&RealDisk, &deep).unwrap();
        assert!(deep.is_dir());
        let file = folder.path().join("f");
        write_whole(&RealDisk, &file, b"").unwrap();
        assert!(create_folders(&RealDisk, &file.join("x")).is_err());
    }

    #[test]
    fn a_folder_gets_another_name_and_goes_only_when_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "").unwrap();
        RealDisk.rename(&from, &to).unwrap();
        assert!(!from.exists() && to.join("file").exists());
        assert!(!RealDisk.remove_folder(&to).unwrap());
        fs::remove_file(to.join("file")).unwrap();
        assert!(RealDisk.remove_folder(&to).unwrap() && !to.exists());
        assert!(RealDisk.remove_folder(&to).unwrap(), "gone before");
    }

    #[test]
    fn a_link_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("folder", folder.path().join("other")).unwrap();
        let listed = RealDisk.list(folder.path()).unwrap();
        let names: Vec<_> = listed.iter().map(|e| (e.name.as_str(), e.is_folder)).collect();
        assert_eq!(names, [("file", false), ("folder", true)]);
    }

    #[test]
    fn a_disk_has_more_room_in_all_than_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let space = RealDisk.space(folder.path()).unwrap();
        assert!(space.free_bytes <= space.total_bytes && space.total_bytes > 0, "{space:?}");
        assert!(RealDisk.space(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn a_locked_folder_is_not_locked_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!FolderLock::is_held(&path).unwrap() && !path.exists());
        let first = FolderLock::take(&path).unwrap();
        assert!(first.is_some());
        assert!(FolderLock::take(&path).unwrap().is_none());
        assert!(FolderLock::is_held(&path).unwrap());
        drop(first);
        assert!(!FolderLock::is_held(&path).unwrap());
        assert!(FolderLock::take(&path).unwrap().is_some());
    }
}
