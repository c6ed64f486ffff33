//! A disk in memory that forgets, at a crash, what was not synced.
//!
//! - Bytes of a file that were not synced may be lost from any point on, or come back as zeros. Where they
//!   have overwritten others, each sector has the old ones or the new ones. A tail that was cut off may be
//!   there again.
//! - A name that was made, changed or removed is certain only once a folder that it touches has been
//!   synced, or all of the disk; until then each such change may or may not survive, each on its own.
//! - A file may have several names (hard links), which survive or are lost each on its own.
//! - A crash, an I/O error or a full disk can be ordered for the n-th call from now.
//! - The whole disk can be emptied, put back to an older copy, or vanish for a while.
//!
//! A handle belongs to one run of its node: after a crash the old handles are dead.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use palk::core::io::disk::{Disk, FileIdentity, Listed, ReadFile, Space, WriteFile};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The folder that a node keeps on its disk.
pub(crate) const ROOT: &str = "/files";

/// What lies on the disk: folders and files by path.
type Tree = BTreeMap<PathBuf, Entry>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Folder,
    File(usize),
}

/// A disk writes this many bytes whole or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// How many of them are durable, but for what has been overwritten since.
    synced: usize,
    /// What was overwritten and from where on, since the last sync, in that order.
    overwritten: Vec<(usize, Vec<u8>)>,
    /// The durable bytes that were cut off since the last sync.
    cut: Vec<u8>,
}

impl Content {
    /// A file as it lies there, durable.
    fn durable(bytes: Vec<u8>) -> Content {
        Content { synced: bytes.len(), bytes, ..Content::default() }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let over = bytes.len().min(self.bytes.len() - at);
        let (overwriting, added) = bytes.split_at(over);
        if over > 0 {
            let own = &mut self.bytes[at..at + over];
            self.overwritten.push((at, own.to_vec()));
            own.copy_from_slice(overwriting);
        }
        self.bytes.extend_from_slice(added);
    }

    fn cut(&mut self, length: usize) {
        if length < self.synced {
            self.undo_overwritten(|_| true, length);
            self.cut = self.bytes.drain(length..self.synced).chain(self.cut.drain(..)).collect();
            self.synced = length;
        }
        self.bytes.truncate(length);
        self.overwritten.iter_mut().for_each(|(at, old)| {
            old.truncate(length.saturating_sub(*at));
        });
    }

    fn sync(&mut self) {
        self.synced = self.bytes.len();
        self.overwritten.clear();
        self.cut.clear();
    }

    /// Brings back those sectors behind `from` that were overwritten, and for which `is_old` says so.
    fn undo_overwritten(&mut self, mut is_old: impl FnMut(usize) -> bool, from: usize) {
        let mut sectors: BTreeMap<usize, bool> = BTreeMap::new();
        for (at, old) in self.overwritten.iter().rev() {
            for (at, byte) in (*at..).zip(old) {
                let sector = at / SECTOR_BYTES;
                if at >= from && *sectors.entry(sector).or_insert_with(|| is_old(sector)) {
                    self.bytes[at] = *byte;
                }
            }
        }
    }

    fn lose_power(&mut self, random: &mut StdRng) {
        if !self.cut.is_empty() && random.random_bool(0.5) {
            // As if it had never been cut, nor written to since.
            self.undo_overwritten(|_| true, 0);
            self.bytes.truncate(self.synced);
            self.bytes.append(&mut self.cut);
            return self.sync();
        }
        self.undo_overwritten(|_| random.random_bool(0.5), 0);
        let unsynced = self.bytes.len() - self.synced;
        let kept = if unsynced == 0 { 0 } else { random.random_range(0..=unsynced) };
        self.bytes.truncate(self.synced + kept);
        if random.random_bool(0.3) {
            self.bytes[self.synced..].fill(0);
        }
        self.sync();
    }
}

/// A change of names that may not be durable yet.
enum Change {
    Make(PathBuf, Entry),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn touches(&self, folder: &Path) -> bool {
        let (first, second) = match self {
            Change::Make(path, _) | Change::Remove(path) => (path, None),
            Change::Rename(from, to) => (from, Some(to)),
        };
        first.parent() == Some(folder) || second.is_some_and(|to| to.parent() == Some(folder))
    }

    /// The same where a folder on its way is called otherwise.
    fn under(self, from: &Path, to: &Path) -> Change {
        match self {
            Change::Make(path, entry) => Change::Make(moved(&path, from, to), entry),
            Change::Rename(old, new) => {
                Change::Rename(moved(&old, from, to), moved(&new, from, to))
            }
            Change::Remove(path) => Change::Remove(moved(&path, from, to)),
        }
    }

    fn apply(&self, tree: &mut Tree) {
        match self {
            Change::Make(path, entry) => {
                tree.insert(path.clone(), *entry);
            }
            Change::Rename(from, to) => {
                if let Some(entry) = tree.remove(from) {
                    tree.insert(to.clone(), entry);
                }
                // A folder takes along what is in it.
                let inside: Vec<PathBuf> =
                    tree.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in inside {
                    if let Some(entry) = tree.remove(&path) {
                        tree.insert(moved(&path, from, to), entry);
                    }
                }
            }
            // A folder that is gone was empty, whatever else was synced.
            Change::Remove(path) => tree.retain(|inner, _| !inner.starts_with(path)),
        }
    }
}

impl Change {
    /// A name in a folder is on the disk only if the folder is, and those above it: file systems put
    /// changes of names on the disk in the order of what they need.
    fn keep_folders(&self, tree: &mut Tree) {
        let (Change::Make(path, _) | Change::Rename(_, path)) = self else { return };
        if tree.contains_key(path) {
            for folder in path.ancestors().skip(1).take_while(|folder| folder.parent().is_some()) {
                tree.entry(folder.to_path_buf()).or_insert(Entry::Folder);
            }
        }
    }
}

/// A path below a folder that has another name.
fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    path.strip_prefix(from).map_or_else(
        |_| path.to_path_buf(),
        |rest| match rest.as_os_str() {
            rest if rest.is_empty() => to.to_path_buf(),
            rest => to.join(rest),
        },
    )
}

/// What goes wrong, and when.
#[derive(Default)]
struct Orders {
    crash_in: Option<u64>,
    fail_in: Option<u64>,
    /// How many bytes all files together may have, if the disk has an end.
    capacity: Option<u64>,
    /// The canary: syncs do nothing.
    lies: bool,
}

/// An older copy of all that lies on a disk.
#[derive(Clone)]
pub(crate) struct Copy {
    tree: Tree,
    bytes: BTreeMap<usize, Vec<u8>>,
}

struct Inner {
    contents: Vec<Content>,
    now: Tree,
    durable: Tree,
    changes: Vec<(Change, bool)>,
    orders: Orders,
    /// Does every path lead to nothing just now?
    is_away: bool,
    has_links: bool,
    generation: u64,
    crashed: bool,
    calls: u64,
    random: StdRng,
}

/// A handle on a simulated disk.
#[derive(Clone)]
pub(crate) struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    generation: u64,
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> SimDisk {
        let mut root = Tree::new();
        root.insert(PathBuf::from("/"), Entry::Folder);
        let inner = Inner {
            contents: Vec::new(),
            now: root.clone(),
            durable: root,
            changes: Vec::new(),
            orders: Orders::default(),
            is_away: false,
            has_links: true,
            generation: 0,
            crashed: false,
            calls: 0,
            random: StdRng::seed_from_u64(seed),
        };
        SimDisk { inner: Arc::new(Mutex::new(inner)), generation: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A crash at the n-th call from now, 1 being the next.
    pub(crate) fn crash_in(&self, calls: u64) {
        self.lock().orders.crash_in = Some(calls);
    }

    /// An I/O error at the n-th call from now.
    pub(crate) fn fail_in(&self, calls: u64) {
        self.lock().orders.fail_in = Some(calls);
    }

    /// The disk has room for so many bytes more from now on, or for any number.
    pub(crate) fn leave_free(&self, bytes: Option<u64>) {
        let mut inner = self.lock();
        let used = inner.used_bytes();
        inner.orders.capacity = bytes.map(|bytes| used + bytes);
    }

    pub(crate) fn lie(&self) {
        self.lock().orders.lies = true;
    }

    /// The file system has no hard links.
    pub(crate) fn without_links(&self) {
        self.lock().has_links = false;
    }

    pub(crate) fn has_links(&self) -> bool {
        self.lock().has_links
    }

    /// No faults from now on.
    pub(crate) fn behave(&self) {
        let mut inner = self.lock();
        let lies = inner.orders.lies;
        inner.orders = Orders { lies, ..Orders::default() };
        inner.is_away = false;
    }

    /// Every path leads to nothing, as when somebody has moved the folder away.
    pub(crate) fn vanish(&self) {
        self.lock().is_away = true;
    }

    pub(crate) fn reappear(&self) {
        self.lock().is_away = false;
    }

    pub(crate) fn is_away(&self) -> bool {
        self.lock().is_away
    }

    /// A copy of what is there now.
    pub(crate) fn copy(&self) -> Copy {
        let inner = self.lock();
        let file = |entry: &Entry| match entry {
            Entry::File(file) => Some((*file, inner.contents[*file].bytes.clone())),
            Entry::Folder => None,
        };
        Copy { tree: inner.now.clone(), bytes: inner.now.values().filter_map(file).collect() }
    }

    /// Puts everything back to an older copy, with or without the hard links between its files. To be
    /// called while no process runs on it.
    pub(crate) fn put_back(&self, copy: &Copy, with_links: bool) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let mut new: BTreeMap<usize, usize> = BTreeMap::new();
        let mut tree = Tree::new();
        for (path, entry) in &copy.tree {
            let entry = match entry {
                Entry::Folder => Entry::Folder,
                Entry::File(old) => {
                    let known = new.get(old).copied().filter(|_| with_links);
                    let at = known.unwrap_or_else(|| {
                        let bytes = copy.bytes[old].clone();
                        inner.contents.push(Content::durable(bytes));
                        inner.contents.len() - 1
                    });
                    new.insert(*old, at);
                    Entry::File(at)
                }
            };
            tree.insert(path.clone(), entry);
        }
        inner.changes.clear();
        (inner.durable, inner.now) = (tree.clone(), tree);
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// How many calls there have been.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// The power goes: what was not synced is lost in part. Gives the handle of the next run.
    pub(crate) fn lose_power(&self) -> SimDisk {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let mut tree = std::mem::take(&mut inner.durable);
        // A folder whose new name is lost is still called as before, with all that was changed in it
        // since.
        let mut undone: Vec<(PathBuf, PathBuf)> = Vec::new();
        for (change, certain) in std::mem::take(&mut inner.changes) {
            let change =
                undone.iter().rev().fold(change, |change, (from, to)| change.under(from, to));
            if certain || inner.random.random_bool(0.5) {
                if let Change::Make(path, _) | Change::Rename(_, path) = &change {
                    // A name that is somebody else's now was given up before: by a rename, or by a removal of
                    // what was in the folder and of the folder.
                    if let Some(at) = undone.iter().rposition(|(_, from)| from == path) {
                        let (to, from) = undone.remove(at);
                        let given_up = Change::Rename(from, to);
                        given_up.apply(&mut tree);
                        given_up.keep_folders(&mut tree);
                    }
                    tree.retain(|inner, _| inner == path || !inner.starts_with(path));
                }
                change.apply(&mut tree);
                change.keep_folders(&mut tree);
            } else if let Change::Rename(from, to) = change
                && tree.get(&from) == Some(&Entry::Folder)
            {
                undone.push((to, from));
            }
        }
        for content in &mut inner.contents {
            content.lose_power(&mut inner.random);
        }
        inner.durable = tree.clone();
        inner.now = tree;
        inner.crashed = false;
        inner.orders.crash_in = None;
        inner.generation += 1;
        SimDisk { inner: self.inner.clone(), generation: inner.generation }
    }

    /// The process is killed, the machine goes on: nothing is lost.
    pub(crate) fn kill(&self) -> SimDisk {
        let mut inner = self.lock();
        inner.generation += 1;
        SimDisk { inner: self.inner.clone(), generation: inner.generation }
    }

    /// Flips a bit of a random block file; false if there is none.
    pub(crate) fn rot(&self, below: &Path) -> bool {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let files: Vec<usize> = inner
            .now
            .iter()
            .filter(|(path, _)| path.starts_with(below))
            .filter_map(|(_, entry)| if let Entry::File(file) = entry { Some(*file) } else { None })
            .filter(|file| !inner.contents[*file].bytes.is_empty())
            .collect();
        if files.is_empty() {
            return false;
        }
        let file = files[inner.random.random_range(0..files.len())];
        let at = inner.random.random_range(0..inner.contents[file].bytes.len());
        let bit = inner.random.random_range(0..8);
        inner.contents[file].bytes[at] ^= 1 << bit;
        true
    }

    /// Puts a file where nobody has stored it, or in the place of one; its folder is there.
    pub(crate) fn plant(&self, path: &Path, bytes: Vec<u8>) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        assert!(inner.parent_exists(path).is_ok(), "{path:?}");
        inner.contents.push(Content::durable(bytes));
        let entry = Entry::File(inner.contents.len() - 1);
        inner.now.insert(path.to_path_buf(), entry);
        inner.changes.push((Change::Make(path.to_path_buf(), entry), true));
    }

    /// As [`SimDisk::plant`], in a folder that may have to be made.
    pub(crate) fn plant_with_folder(&self, path: &Path, bytes: Vec<u8>) {
        if let Some(folder) = path.parent() {
            let mut inner = self.lock();
            if !inner.now.contains_key(folder) {
                inner.now.insert(folder.to_path_buf(), Entry::Folder);
                inner.changes.push((Change::Make(folder.to_path_buf(), Entry::Folder), true));
            }
        }
        self.plant(path, bytes);
    }

    /// Everything under a folder is gone, and the folder itself.
    pub(crate) fn wipe(&self, folder: &Path) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        for path in inner.now.keys().filter(|path| path.starts_with(folder)) {
            inner.changes.push((Change::Remove(path.clone()), true));
        }
        inner.now.retain(|path, _| !path.starts_with(folder));
    }

    /// All files and folders: a file with the number of its content, a folder with none.
    pub(crate) fn names(&self) -> BTreeMap<PathBuf, Option<usize>> {
        let inner = self.lock();
        let name = |(path, entry): (&PathBuf, &Entry)| match entry {
            Entry::File(file) => (path.clone(), Some(*file)),
            Entry::Folder => (path.clone(), None),
        };
        inner.now.iter().map(name).collect()
    }

    /// All files by path, with their bytes.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.lock();
        let file = |(path, entry): (&PathBuf, &Entry)| match entry {
            Entry::File(file) => Some((path.clone(), inner.contents[*file].bytes.clone())),
            Entry::Folder => None,
        };
        inner.now.iter().filter_map(file).collect()
    }

    /// As [`SimDisk::enter`], for what begins with a path.
    fn enter_at(&self, path: &Path) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.enter()?;
        if inner.is_away && path.starts_with(ROOT) { Err(not_found()) } else { Ok(inner) }
    }

    /// Counts a call, and lets it fail if that was ordered.
    fn enter(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        if inner.crashed || inner.generation != self.generation {
            return Err(io::Error::other("the machine is down"));
        }
        inner.calls += 1;
        if due(&mut inner.orders.crash_in) {
            inner.crashed = true;
            return Err(io::Error::other("the machine went down"));
        }
        if due(&mut inner.orders.fail_in) {
            return Err(io::Error::other("input/output error"));
        }
        Ok(inner)
    }
}

/// Counts down; true at the end.
fn due(counter: &mut Option<u64>) -> bool {
    if let Some(left) = counter {
        *left = left.saturating_sub(1);
        if *left == 0 {
            *counter = None;
            return true;
        }
    }
    false
}

impl Inner {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.changes.push((change, false));
    }

    fn used_bytes(&self) -> u64 {
        // Several names of one file take its room once.
        let files: BTreeSet<usize> = self
            .now
            .values()
            .filter_map(|entry| if let Entry::File(file) = entry { Some(*file) } else { None })
            .collect();
        files.into_iter().map(|file| self.contents[file].bytes.len() as u64).sum()
    }

    fn has_room(&self, bytes: u64) -> io::Result<()> {
        match self.orders.capacity {
            Some(capacity) if self.used_bytes() + bytes > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().and_then(|parent| self.now.get(parent));
        if parent == Some(&Entry::Folder) { Ok(()) } else { Err(not_found()) }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.now.get(path) {
            Some(Entry::File(file)) => Ok(*file),
            _ => Err(not_found()),
        }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut inner = self.enter_at(path)?;
        inner.parent_exists(path)?;
        inner.has_room(1)?;
        inner.contents.push(Content::default());
        let file = inner.contents.len() - 1;
        inner.change(Change::Make(path.to_path_buf(), Entry::File(file)));
        Ok(Box::new(SimFile { disk: self.clone(), file, end: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let file = self.enter_at(path)?.file(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), file, end: 0 }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.enter_at(path) {
            Ok(inner) => Ok(inner.now.contains_key(path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.enter_at(from)?;
        inner.parent_exists(to)?;
        if to != from && to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match (inner.now.get(from), inner.now.get(to)) {
            // Two names of one file: POSIX has it that nothing happens.
            (Some(Entry::File(from)), Some(Entry::File(to))) if from == to => return Ok(()),
            (Some(Entry::File(_)), None | Some(Entry::File(_))) | (Some(Entry::Folder), None) => {}
            (None, _) => return Err(not_found()),
            (Some(_), Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        inner.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = match self.enter_at(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entered => entered?,
        };
        if inner.file(path).is_ok() {
            inner.change(Change::Remove(path.to_path_buf()));
        }
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        let mut inner = self.enter_at(path)?;
        inner.parent_exists(path)?;
        match inner.now.get(path) {
            Some(Entry::Folder) => Ok(false),
            Some(Entry::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                inner.change(Change::Make(path.to_path_buf(), Entry::Folder));
                Ok(true)
            }
        }
    }

    fn remove_folder(&self, path: &Path) -> io::Result<bool> {
        let mut inner = match self.enter_at(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            entered => entered?,
        };
        if inner.now.keys().any(|child| child.parent() == Some(path)) {
            return Ok(false);
        }
        match inner.now.get(path) {
            Some(Entry::Folder) => inner.change(Change::Remove(path.to_path_buf())),
            Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => {}
        }
        Ok(true)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut guard = self.enter_at(path)?;
        let inner = &mut *guard;
        if inner.now.get(path) != Some(&Entry::Folder) {
            return Err(not_found());
        }
        if inner.orders.lies {
            return Ok(());
        }
        for (change, certain) in &mut inner.changes {
            *certain |= change.touches(path);
        }
        // What is certain from the beginning on need not be remembered as a change.
        let certain = inner.changes.iter().take_while(|(_, certain)| *certain).count();
        for (change, _) in inner.changes.drain(..certain) {
            change.apply(&mut inner.durable);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let inner = self.enter_at(path)?;
        match inner.now.get(path) {
            Some(Entry::Folder) => {}
            Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(not_found()),
        }
        let names: BTreeSet<(String, bool)> = inner
            .now
            .iter()
            .filter(|(child, _)| child.parent() == Some(path))
            .filter_map(|(child, entry)| {
                let name = child.file_name()?.to_str()?.to_owned();
                Some((name, *entry == Entry::Folder))
            })
            .collect();
        Ok(names.into_iter().map(|(name, is_folder)| Listed { name, is_folder }).collect())
    }

    /// Changes nothing, so there is no need for it to count as a point to crash at.
    fn space(&self, _: &Path) -> io::Result<Space> {
        const ENDLESS: u64 = 1 << 50;
        let inner = self.lock();
        if inner.crashed || inner.generation != self.generation {
            return Err(io::Error::other("the machine is down"));
        }
        if inner.is_away {
            return Err(not_found());
        }
        let used = inner.used_bytes();
        let total_bytes = inner.orders.capacity.unwrap_or(ENDLESS);
        let free_bytes = total_bytes.saturating_sub(used);
        Ok(Space { free_bytes, total_bytes, free_files: u64::MAX })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.enter_at(from)?;
        if !inner.has_links {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = inner.file(from)?;
        inner.parent_exists(to)?;
        if inner.now.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.change(Change::Make(to.to_path_buf(), Entry::File(file)));
        Ok(())
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        match self.enter_at(path)?.now.get(path) {
            Some(Entry::File(file)) => Ok(FileIdentity(1, *file as u64)),
            // Folders have no content to be numbered by; nobody gives them a second name.
            Some(Entry::Folder) => {
                let digest = blake3::hash(path.as_os_str().as_encoded_bytes());
                let number = digest.as_bytes().first_chunk().map(|head| u64::from_le_bytes(*head));
                Ok(FileIdentity(2, number.unwrap_or(0)))
            }
            None => Err(not_found()),
        }
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        let mut guard = self.enter_at(path)?;
        let inner = &mut *guard;
        if inner.orders.lies {
            return Ok(());
        }
        inner.changes.clear();
        inner.durable = inner.now.clone();
        inner.contents.iter_mut().for_each(Content::sync);
        Ok(())
    }

    fn append_to(&self, path: &Path, length: u64) -> io::Result<Box<dyn WriteFile>> {
        let mut inner = self.enter_at(path)?;
        let file = inner.file(path)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let content = &mut inner.contents[file];
        if content.bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.cut(length);
        drop(inner);
        Ok(Box::new(SimFile { disk: self.clone(), file, end: length }))
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
    /// Where the next append goes.
    end: usize,
}

impl WriteFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.enter()?;
        let ahead = inner.contents[self.file].bytes.len() - self.end;
        inner.has_room(bytes.len().saturating_sub(ahead) as u64)?;
        inner.contents[self.file].write(self.end, bytes);
        self.end += bytes.len();
        Ok(())
    }

    fn write_ahead(&mut self, bytes: u64) -> io::Result<()> {
        let mut inner = self.disk.enter()?;
        inner.has_room(bytes)?;
        let bytes = usize::try_from(bytes).unwrap_or_default();
        let content = &mut inner.contents[self.file];
        content.bytes.resize(content.bytes.len() + bytes, 0);
        Ok(())
    }

    fn ahead_bytes(&self) -> u64 {
        let inner = self.disk.lock();
        (inner.contents[self.file].bytes.len() - self.end) as u64
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.enter()?;
        if !inner.orders.lies {
            inner.contents[self.file].sync();
        }
        Ok(())
    }
}

impl ReadFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.enter()?.contents[self.file].bytes.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.disk.enter()?;
        let bytes = &inner.contents[self.file].bytes;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        match from.checked_add(buffer.len()).and_then(|to| bytes.get(from..to)) {
            Some(found) => {
                buffer.copy_from_slice(found);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
