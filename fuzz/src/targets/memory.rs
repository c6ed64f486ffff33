//! A disk in memory that does not let anybody out: whatever path reaches it must lie below a folder
//! that it was told of, and what is written below one that may be written.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use palk::core::io::disk::{Disk, FileIdentity, Listed, ReadFile, Space, WriteFile};

/// The longest name that file systems take.
const FILE_NAME_BYTES_MAX: usize = 255;

/// How much room there is, always.
const DISK_BYTES: u64 = 1 << 40;

type Content = Arc<Mutex<Vec<u8>>>;

#[derive(Clone)]
enum Entry {
    Folder,
    File(Content),
}

/// Clones are the same disk.
#[derive(Clone)]
pub(crate) struct MemoryDisk {
    tree: Arc<Mutex<BTreeMap<PathBuf, Entry>>>,
    /// Nothing else is looked at.
    readable: Arc<[PathBuf]>,
    /// Nothing else is changed.
    writable: Arc<[PathBuf]>,
}

impl MemoryDisk {
    pub(crate) fn new(readable: &[&str], writable: &[&str]) -> MemoryDisk {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
        let disk = MemoryDisk {
            tree: Arc::default(),
            readable: paths(readable),
            writable: paths(writable),
        };
        for root in readable.iter().chain(writable) {
            disk.tree().insert(PathBuf::from(root), Entry::Folder);
        }
        disk
    }

    /// Puts a file there with the folders above it, as if it had always been there. Nothing happens
    /// where no real disk could have such a file, or a folder where a file is.
    pub(crate) fn put(&self, root: &str, names: &[&str], bytes: &[u8]) {
        let possible = |name: &&str| {
            !name.is_empty()
                && name.len() <= FILE_NAME_BYTES_MAX
                && !name.contains(['/', '\0'])
                && !matches!(*name, "." | "..")
        };
        if !names.iter().all(possible) {
            return;
        }
        let mut tree = self.tree();
        let mut path = PathBuf::from(root);
        for (at, name) in names.iter().enumerate() {
            path.push(name);
            let is_last = at + 1 == names.len();
            match tree.get(&path) {
                Some(Entry::Folder) if !is_last => {}
                Some(_) => return,
                None if is_last => {
                    let content = Arc::new(Mutex::new(bytes.to_vec()));
                    tree.insert(path.clone(), Entry::File(content));
                }
                None => {
                    tree.insert(path.clone(), Entry::Folder);
                }
            }
        }
    }

    /// Every file and folder, but for the roots themselves.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let is_root = |path: &PathBuf| self.readable.contains(path) || self.writable.contains(path);
        self.tree().keys().filter(|path| !is_root(path)).cloned().collect()
    }

    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        matches!(self.tree().get(path), Some(Entry::Folder))
    }

    /// What is in a file.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let Some(Entry::File(content)) = self.look(path) else { panic!("{path:?} is no file") };
        let bytes = content.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        bytes.clone()
    }

    fn tree(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Entry>> {
        self.tree.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn look(&self, path: &Path) -> Option<Entry> {
        let roots: Vec<&PathBuf> = self.readable.iter().chain(&*self.writable).collect();
        assert_below(path, &roots);
        self.tree().get(path).cloned()
    }

    fn change(&self, path: &Path) -> io::Result<MutexGuard<'_, BTreeMap<PathBuf, Entry>>> {
        assert_below(path, &self.writable.iter().collect::<Vec<_>>());
        let tree = self.tree();
        match path.parent().and_then(|folder| tree.get(folder)) {
            Some(Entry::Folder) => Ok(tree),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }
}

fn assert_below(path: &Path, roots: &[&PathBuf]) {
    let rest = roots.iter().find_map(|root| path.strip_prefix(root).ok());
    let rest = rest.unwrap_or_else(|| panic!("{path:?} lies outside of {roots:?}"));
    for part in rest.components() {
        let Component::Normal(name) = part else { panic!("{path:?} is not a plain path") };
        assert!(name.len() <= FILE_NAME_BYTES_MAX, "{path:?} has a name that is too long");
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut tree = self.change(path)?;
        match tree.get(path) {
            Some(Entry::Folder) => return Err(ErrorKind::IsADirectory.into()),
            // Whatever other names it has, they lead to the same.
            Some(Entry::File(content)) => {
                content.lock().map_err(|_| ErrorKind::Other)?.clear();
                return Ok(Box::new(Open { content: content.clone(), end: 0 }));
            }
            None => {}
        }
        let content = Content::default();
        tree.insert(path.to_path_buf(), Entry::File(content.clone()));
        Ok(Box::new(Open { content, end: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        match self.look(path) {
            Some(Entry::File(content)) => Ok(Box::new(Open { content, end: 0 })),
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.look(path).is_some())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        drop(self.change(from)?);
        let mut tree = self.change(to)?;
        if let Some(Entry::Folder) = tree.get(to) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let entry = tree.remove(from).ok_or(ErrorKind::NotFound)?;
        assert!(!to.starts_with(from), "nothing is moved into itself");
        tree.insert(to.to_path_buf(), entry);
        let inside: Vec<PathBuf> =
            tree.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in inside {
            let rest = path.strip_prefix(from).map_err(|_| ErrorKind::Other)?;
            let new = to.join(rest);
            let entry = tree.remove(&path).ok_or(ErrorKind::NotFound)?;
            tree.insert(new, entry);
        }
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<bool> {
        let Ok(mut tree) = self.change(path) else { return Ok(true) };
        if tree.keys().any(|inner| inner.parent() == Some(path)) {
            return Ok(false);
        }
        match tree.get(path) {
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            Some(Entry::Folder) => {
                tree.remove(path);
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let Ok(mut tree) = self.change(path) else { return Ok(()) };
        match tree.get(path) {
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            _ => {
                tree.remove(path);
                Ok(())
            }
        }
    }

    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        if let Some(Entry::Folder) = self.look(path) {
            return Ok(false);
        }
        let mut tree = self.change(path)?;
        match tree.get(path) {
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
            None => {
                tree.insert(path.to_path_buf(), Entry::Folder);
                Ok(true)
            }
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match self.look(path) {
            Some(Entry::Folder) => Ok(()),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        self.sync_folder(path)?;
        let tree = self.tree();
        let inside = tree.iter().filter(|(at, _)| at.parent() == Some(path));
        let listed = inside.filter_map(|(at, entry)| {
            let name = at.file_name()?.to_str()?.to_owned();
            Some(Listed { name, is_folder: matches!(entry, Entry::Folder) })
        });
        Ok(listed.collect())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.sync_folder(path)?;
        Ok(Space { free_bytes: DISK_BYTES, total_bytes: DISK_BYTES, free_files: u64::MAX })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let Some(Entry::File(content)) = self.look(from) else {
            return Err(ErrorKind::NotFound.into());
        };
        let mut tree = self.change(to)?;
        if tree.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        tree.insert(to.to_path_buf(), Entry::File(content));
        Ok(())
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        match self.look(path) {
            Some(Entry::File(content)) => {
                Ok(FileIdentity(1, Arc::as_ptr(&content) as usize as u64))
            }
            Some(Entry::Folder) => Ok(FileIdentity(2, path.as_os_str().len() as u64)),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.sync_folder(path)
    }

    fn append_to(&self, path: &Path, length: u64) -> io::Result<Box<dyn WriteFile>> {
        let content = match self.change(path)?.get(path) {
            Some(Entry::File(content)) => content.clone(),
            Some(Entry::Folder) => return Err(ErrorKind::IsADirectory.into()),
            None => return Err(ErrorKind::NotFound.into()),
        };
        let length = usize::try_from(length).map_err(|_| ErrorKind::UnexpectedEof)?;
        let mut bytes = content.lock().map_err(|_| ErrorKind::Other)?;
        if bytes.len() < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(length);
        drop(bytes);
        Ok(Box::new(Open { content, end: length }))
    }
}

struct Open {
    content: Content,
    /// Where the next append goes.
    end: usize,
}

impl WriteFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.content.lock().map_err(|_| ErrorKind::Other)?;
        let ahead = content.get_mut(self.end..).ok_or(ErrorKind::UnexpectedEof)?;
        let (overwriting, added) = bytes.split_at(bytes.len().min(ahead.len()));
        ahead[..overwriting.len()].copy_from_slice(overwriting);
        content.extend_from_slice(added);
        self.end += bytes.len();
        Ok(())
    }

    fn write_ahead(&mut self, bytes: u64) -> io::Result<()> {
        let mut content = self.content.lock().map_err(|_| ErrorKind::Other)?;
        let length = content.len() + usize::try_from(bytes).map_err(|_| ErrorKind::StorageFull)?;
        content.resize(length, 0);
        Ok(())
    }

    fn ahead_bytes(&self) -> u64 {
        self.content.lock().map_or(0, |content| content.len().saturating_sub(self.end) as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadFile for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().map_err(|_| ErrorKind::Other)?.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock().map_err(|_| ErrorKind::Other)?;
        let from = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let piece = from.checked_add(buffer.len()).and_then(|to| content.get(from..to));
        buffer.copy_from_slice(piece.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
