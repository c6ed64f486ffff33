//! The view of a node: what is stored there under people's names.
//!
//! ```text
//!   demo/test/yeet_B1.txt   a second name of .palk/pieces/3f/3f9c..._B1
//!   .palk/trash/7           a folder that was removed, emptied in the background
//!   .palk/left-over/7       what lay there or at the name of a block, and is no block
//! ```
//!
//! Every name is a hard link to a block file, so a file takes its room once. Nothing is read through
//! the view, and none of it is synced for its own sake. A version whose block is not here has no name.
//!
//! Only what is Palk's is removed: a file is if it ends in the footer of a block file. Any other file at
//! the very name of a block is moved aside: it may be a block that was cut short, whose piece has been
//! rebuilt since, or somebody's own. Where a folder and a block's name are the same, the folder is there,
//! and that is told once. On a file system without hard links there is no view.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::core::io::disk::{Disk, Listed};
use crate::core::node::pieces::Pieces;
use crate::core::path::{FilePath, FolderPath, UserName, block_file_name, parse_block_file_name};
use crate::core::types::{Block, NodeId, VersionId};
use crate::core::wire::node::Place;
use crate::core::wire::trailer::{FOOTER_BYTES, Footer};

/// So many collisions are remembered, so that each is told once.
const TOLD_MAX: usize = 1000;

/// What became of one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Linked {
    /// It was right already.
    Kept,
    /// It was missing, or led elsewhere.
    Made,
    /// There is no such block file here, and so no name.
    NoPiece,
    /// A folder is in the way.
    Blocked,
}

/// What a file or folder in the view is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum There {
    Nothing,
    /// A block file.
    Block,
    /// Anything else that is no folder: a damaged block, or what somebody has put there.
    File,
    Folder,
}

/// The view in one node's folder.
pub(super) struct View {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    id: NodeId,
    pieces: Arc<Pieces>,
    /// Has the file system hard links?
    has_links: OnceLock<bool>,
    /// Collisions that were told.
    told: Mutex<BTreeSet<PathBuf>>,
    trash: Mutex<Trash>,
}

/// The emptying of removed folders.
#[derive(Default)]
struct Trash {
    /// The last number that was given; `None` until the folder has been looked into.
    last: Option<u64>,
    /// There is nothing in it.
    is_empty: bool,
    /// The folder that is being emptied, from the outside in, each with what is left to look at.
    open: Vec<(PathBuf, Vec<Listed>)>,
}

impl View {
    pub(super) fn new(disk: Arc<dyn Disk>, root: &Path, id: NodeId, pieces: Arc<Pieces>) -> View {
        View {
            disk,
            root: root.to_path_buf(),
            id,
            pieces,
            has_links: OnceLock::new(),
            told: Mutex::default(),
            trash: Mutex::default(),
        }
    }

    /// Is there a view? Looks whether the file system has hard links, and says so once if it has none.
    pub(super) fn is_kept(&self) -> bool {
        *self.has_links.get_or_init(|| {
            let [from, to] = ["node.toml", "link"].map(|name| self.root.join(".palk").join(name));
            let linked = self.disk.remove(&to).and_then(|()| self.disk.link(&from, &to));
            let has_links = !linked.is_err_and(|e| {
                matches!(e.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
            });
            // What stays is removed before the next try.
            let _ = self.disk.remove(&to);
            if !has_links {
                tracing::warn!(
                    "the file system of {} has no hard links: files are stored as always, but their \
                     names are not shown there",
                    self.root.display()
                );
            }
            has_links
        })
    }

    /// Where a folder is shown.
    pub(super) fn folder_path(&self, user: &UserName, folder: &FolderPath) -> PathBuf {
        let top = self.root.join(user.as_str());
        if folder.is_top() { top } else { top.join(folder.as_str()) }
    }

    fn block_path(&self, user: &UserName, path: &FilePath, block: Block) -> PathBuf {
        self.folder_path(user, &path.folder()).join(block_file_name(path.name(), block))
    }

    /// Gives both blocks of a version their names, in place of those of another version.
    pub(super) fn link(&self, place: &Place, version: VersionId) -> io::Result<[Linked; 2]> {
        let [first, second] = self.id.blocks();
        Ok([self.link_block(place, version, first)?, self.link_block(place, version, second)?])
    }

    fn link_block(&self, place: &Place, version: VersionId, block: Block) -> io::Result<Linked> {
        let at = self.block_path(&place.user, &place.path, block);
        let piece = self.pieces.path(version, block);
        // Mostly the piece is there and the name is free.
        if self.disk.link(&piece, &at).is_ok() {
            return Ok(Linked::Made);
        }
        let Some(wanted) = found(self.disk.identity(&piece))? else {
            // Whatever has the name is another version's.
            self.free(&at)?;
            return Ok(Linked::NoPiece);
        };
        if found(self.disk.identity(&at))? == Some(wanted) {
            return Ok(Linked::Kept);
        }
        if self.what_is(&at)? == There::Block {
            // Not in the same folder, where a crash would leave it for everyone to see.
            let beside = self.root.join(".palk").join(format!("link_{block}"));
            if let Err(e) = self.disk.link(&piece, &beside) {
                if e.kind() != io::ErrorKind::AlreadyExists {
                    return Err(e);
                }
                // A crash has left it there.
                self.disk.remove(&beside)?;
                self.disk.link(&piece, &beside)?;
            }
            self.disk.rename(&beside, &at)?;
            return Ok(Linked::Made);
        }
        if !self.free(&at)? {
            return Ok(self.blocked(&at));
        }
        match self.disk.link(&piece, &at) {
            Ok(()) => return Ok(Linked::Made),
            Err(e) if is_missing(&e) => {}
            // The folder is a link to another disk.
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => return Ok(self.blocked(&at)),
            // There is a link that leads nowhere.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.move_aside(&at)?,
            Err(e) => return Err(e),
        }
        if !self.make_folder(&place.user, &place.path.folder())? {
            return Ok(self.blocked(&at));
        }
        match self.disk.link(&piece, &at) {
            // It was dropped just now.
            Err(e) if is_missing(&e) => Ok(Linked::NoPiece),
            linked => linked.map(|()| Linked::Made),
        }
    }

    /// Takes a file's names away.
    pub(super) fn unlink(&self, user: &UserName, path: &FilePath) -> io::Result<()> {
        for block in self.id.blocks() {
            self.free(&self.block_path(user, path, block))?;
        }
        Ok(())
    }

    /// Makes the name of a known block free: a block is removed, another file moved aside. False if
    /// there is a folder.
    fn free(&self, at: &Path) -> io::Result<bool> {
        match self.what_is(at)? {
            There::Nothing => {}
            There::Block => self.disk.remove(at)?,
            There::File => self.move_aside(at)?,
            There::Folder => return Ok(false),
        }
        Ok(true)
    }

    fn move_aside(&self, at: &Path) -> io::Result<()> {
        let kept = self.left_over()?.join(self.next_number()?.to_string());
        self.disk.create_folder(&kept)?;
        let kept = kept.join(at.file_name().unwrap_or_default());
        self.disk.rename(at, &kept)?;
        tracing::warn!(
            "{} had the name of a block and is none (damaged, or not put there by Palk): it is {} now",
            at.display(),
            kept.display()
        );
        Ok(())
    }

    /// The folder for what no Palk has put there.
    fn left_over(&self) -> io::Result<PathBuf> {
        let kept = self.root.join(".palk/left-over");
        self.disk.create_folder(&kept)?;
        Ok(kept)
    }

    /// Removes what is there if it is a block file. True if it was.
    pub(super) fn remove_block(&self, at: &Path) -> io::Result<bool> {
        let is_block = self.what_is(at)? == There::Block;
        if is_block {
            self.disk.remove(at)?;
        }
        Ok(is_block)
    }

    /// Gives a file or a folder another name, a file in place of a file. False if the view does not
    /// have it, or has something else there, so that it takes a check to put it right.
    pub(super) fn rename(
        &self,
        user: &UserName,
        from: &FilePath,
        path: &FilePath,
    ) -> io::Result<bool> {
        let blocks = self
            .id
            .blocks()
            .map(|block| [from, path].map(|path| self.block_path(user, path, block)));
        let mut is_file = [false; 2];
        for (is_file, [from, _]) in is_file.iter_mut().zip(&blocks) {
            *is_file = self.what_is(from)? == There::Block;
        }
        if is_file == [false; 2] {
            return self.rename_folder(user, &from.as_folder(), &path.as_folder());
        }
        let mut is_right = is_file == [true; 2];
        for (is_file, [from, to]) in is_file.into_iter().zip(&blocks) {
            let is_free = match self.what_is(to)? {
                // The new one takes its place.
                There::Block if is_file => true,
                _ => self.free(to)?,
            };
            if !is_file {
                self.free(from)?;
            } else if is_free {
                is_right &= self.rename_block(user, &path.folder(), from, to)?;
            } else {
                self.blocked(to);
                self.disk.remove(from)?;
            }
        }
        Ok(is_right)
    }

    fn rename_block(
        &self,
        user: &UserName,
        folder: &FolderPath,
        from: &Path,
        to: &Path,
    ) -> io::Result<bool> {
        let identity = |at| found(self.disk.identity(at));
        if identity(to)?.is_some_and(|there| identity(from).is_ok_and(|own| own == Some(there))) {
            // The move is followed once more. A rename would leave two names of one file as they are.
            return self.disk.remove(from).map(|()| true);
        }
        match self.disk.rename(from, to) {
            Err(e) if is_missing(&e) => {}
            renamed => return renamed.map(|()| true),
        }
        let has_folder = self.make_folder(user, folder)?;
        // The old name may have been in the way of that very folder, and is no block's any more.
        let is_block = self.what_is(from)? == There::Block;
        if has_folder && is_block {
            return self.disk.rename(from, to).map(|()| true);
        }
        if is_block {
            self.disk.remove(from)?;
        }
        Ok(false)
    }

    fn rename_folder(
        &self,
        user: &UserName,
        from: &FolderPath,
        to: &FolderPath,
    ) -> io::Result<bool> {
        let [old, new] = [from, to].map(|path| self.folder_path(user, path));
        if !self.is_folder(&old)? {
            return Ok(false);
        }
        if let Some((above, _)) = to.split() {
            self.make_folder(user, &above)?;
        }
        if self.disk.exists(&new)? && !self.remove_block(&new)? && !self.disk.remove_folder(&new)? {
            return Ok(false);
        }
        match self.disk.rename(&old, &new) {
            Err(e) if is_missing(&e) => Ok(false),
            renamed => renamed.map(|()| !self.hides_a_name(from)),
        }
    }

    /// Shows a folder, and those above it. False if something else is in the way of one.
    pub(super) fn make_folder(&self, user: &UserName, folder: &FolderPath) -> io::Result<bool> {
        let all = std::iter::once(FolderPath::top()).chain(folder.ancestry());
        for at in all.map(|folder| self.folder_path(user, &folder)) {
            match self.disk.create_folder(&at) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    if self.remove_block(&at)? {
                        self.blocked(&at);
                    } else if !self.free(&at)? {
                        return Ok(false);
                    }
                    self.disk.create_folder(&at)?;
                }
                Err(e) if is_missing(&e) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Takes a folder away with all that is in it: it is emptied later. False if there is a block of a
    /// file in it that can have its name now, so that it takes a check to put that right.
    pub(super) fn remove_folder(&self, user: &UserName, folder: &FolderPath) -> io::Result<bool> {
        let trash = self.root.join(".palk/trash");
        self.disk.create_folder(&trash)?;
        let at = self.folder_path(user, folder);
        if !self.is_folder(&at)? {
            return Ok(true);
        }
        let number = self.next_number()?;
        match self.disk.rename(&at, &trash.join(number.to_string())) {
            Ok(()) => Ok(!self.hides_a_name(folder)),
            Err(e) if is_missing(&e) => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// A file that has the name of a folder is a block of another file, or not Palk's: an entry that is
    /// followed once more after a crash finds there what later entries have made.
    fn is_folder(&self, at: &Path) -> io::Result<bool> {
        match self.disk.list(at) {
            Err(e) if is_missing(&e) => Ok(false),
            listed => listed.map(|_| true),
        }
    }

    fn next_number(&self) -> io::Result<u64> {
        let mut trash = self.trash.lock();
        let last = match trash.last {
            Some(last) => last,
            None => {
                let mut names = self.listed(&self.root.join(".palk/trash"))?;
                names.extend(self.listed(&self.root.join(".palk/left-over"))?);
                names.iter().filter_map(|entry| entry.name.parse().ok()).max().unwrap_or(0)
            }
        };
        trash.last = Some(last + 1);
        trash.is_empty = false;
        Ok(last + 1)
    }

    /// Removes some of what is in removed folders; true if there is more. What no Palk has put there
    /// is kept elsewhere.
    pub(super) fn empty_trash(&self, most: usize) -> io::Result<bool> {
        let mut trash = self.trash.lock();
        if trash.is_empty {
            return Ok(false);
        }
        let emptied = self.empty_some(&mut trash.open, most);
        if emptied.is_err() {
            trash.open.clear();
        }
        trash.is_empty = matches!(emptied, Ok(false));
        emptied
    }

    fn empty_some(&self, open: &mut Vec<(PathBuf, Vec<Listed>)>, most: usize) -> io::Result<bool> {
        let all = self.root.join(".palk/trash");
        for _ in 0..most {
            let Some((at, entries)) = open.last_mut() else {
                let Some(next) = self.listed(&all)?.pop() else { return Ok(false) };
                let at = all.join(next.name);
                if next.is_folder {
                    let inside = self.disk.list(&at)?;
                    open.push((at, inside));
                } else if !self.remove_block(&at)? {
                    self.keep_elsewhere(&at)?;
                }
                continue;
            };
            if let Some(entry) = entries.pop() {
                let inner = at.join(entry.name);
                if entry.is_folder {
                    open.push((inner.clone(), self.disk.list(&inner)?));
                } else {
                    self.remove_block(&inner)?;
                }
                continue;
            }
            let at = at.clone();
            let is_gone = self.disk.remove_folder(&at)?;
            open.pop();
            if open.is_empty() && !is_gone {
                self.keep_elsewhere(&at)?;
            }
        }
        Ok(true)
    }

    fn keep_elsewhere(&self, at: &Path) -> io::Result<()> {
        let kept = self.left_over()?.join(at.file_name().unwrap_or_default());
        self.disk.rename(at, &kept)?;
        tracing::warn!(
            "a folder was removed that has files in it which Palk has not put there: they are in {} now",
            kept.display()
        );
        Ok(())
    }

    /// What is in a folder; nothing if it is not there.
    pub(super) fn listed(&self, at: &Path) -> io::Result<Vec<Listed>> {
        match self.disk.list(at) {
            Err(e) if is_missing(&e) => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn what_is(&self, at: &Path) -> io::Result<There> {
        let file = match found(self.disk.open(at)) {
            Ok(Some(file)) => file,
            // Not all disks open a folder.
            Ok(None) => {
                return Ok(if self.disk.exists(at)? { There::Folder } else { There::Nothing });
            }
            Err(e) if is_no_plain_file(&e) => return Ok(There::File),
            Err(e) => return Err(e),
        };
        // An error of the disk says nothing about what is there.
        let mut footer = [0; FOOTER_BYTES];
        if let Some(offset) = file.length()?.checked_sub(FOOTER_BYTES as u64) {
            match file.read_exact_at(&mut footer, offset) {
                Err(e) if e.kind() == io::ErrorKind::IsADirectory => return Ok(There::Folder),
                read => read?,
            }
            if Footer::decode(&footer).is_ok() {
                return Ok(There::Block);
            }
        }
        match self.disk.list(at) {
            Ok(_) => Ok(There::Folder),
            Err(e) if is_missing(&e) => Ok(There::File),
            Err(e) => Err(e),
        }
    }

    /// Has this folder a name that a file's block would have?
    fn hides_a_name(&self, folder: &FolderPath) -> bool {
        let name = folder.split().and_then(|(_, name)| parse_block_file_name(name));
        name.is_some_and(|(_, block)| block.node() == self.id)
    }

    fn blocked(&self, at: &Path) -> Linked {
        let mut told = self.told.lock();
        if told.len() < TOLD_MAX && told.insert(at.to_path_buf()) {
            tracing::warn!(
                "{} has the name of a block or folder, which is not shown",
                at.display()
            );
        }
        Linked::Blocked
    }
}

/// `None` if there is nothing of this name.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Is it a pipe, a device, or a file that this process may not open?
fn is_no_plain_file(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied)
}

fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
