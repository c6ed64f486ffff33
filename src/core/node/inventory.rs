//! What lies under a node's final names, page by page.
//!
//! The walk goes folder by folder and keeps the names of those on its way down only. What is
//! renamed or removed meanwhile may or may not be in it, so whoever acts on an entry looks again.
//! Nothing is changed, and no link is followed.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, Listed};
use crate::core::io::reason;
use crate::core::node::piece::read_trailer;
use crate::core::path::{FolderPath, UserName, parse_block_file_name};
use crate::core::types::{Block, NodeId, Seq, VersionId};
use crate::core::wire::node::{
    FOREIGN_BYTES_MAX, INVENTORY_ENTRIES_MAX, INVENTORY_TEXT_BYTES_MAX, InventoryEntry, Place,
};

/// What is the node's own in its folder, and no user's.
const OWN: [&str; 2] = [".palk", "backup"];

/// A walk through a node's folder.
pub struct Inventory {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    id: NodeId,
    begun: bool,
    /// The folders on the way down, innermost last.
    open: Vec<Open>,
}

/// A folder that is being walked through.
struct Open {
    /// Nothing for the node's own folder.
    at: Option<(UserName, FolderPath)>,
    left: VecDeque<Listed>,
}

impl Inventory {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf, id: NodeId) -> Inventory {
        Inventory { disk, root, id, begun: false, open: Vec::new() }
    }

    /// The next entries; none at the end.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn page(&mut self) -> Result<Vec<InventoryEntry>> {
        if !self.begun {
            self.begun = true;
            self.enter(None)?;
        }
        let mut page = Vec::new();
        let mut text_bytes = 0;
        while page.len() < INVENTORY_ENTRIES_MAX && text_bytes < INVENTORY_TEXT_BYTES_MAX {
            let Some(folder) = self.open.last_mut() else {
                break;
            };
            let at = folder.at.clone();
            let Some(listed) = folder.left.pop_front() else {
                self.open.pop();
                continue;
            };
            if let Some(entry) = self.look_at(at, &listed)? {
                text_bytes += entry.text_bytes();
                page.push(entry);
            }
        }
        Ok(page)
    }

    fn enter(&mut self, at: Option<(UserName, FolderPath)>) -> Result<()> {
        let path = self.path(at.as_ref());
        match self.disk.list(&path) {
            Ok(listed) => {
                self.open.push(Open { at, left: listed.into() });
                Ok(())
            }
            // Removed since its own folder was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound && at.is_some() => Ok(()),
            Err(e) => {
                let why = format!("cannot list its folder {}: {}", path.display(), reason(&e));
                Err(Error::node(self.id, NodeFailure::Refused(why)))
            }
        }
    }

    /// The entry of a file; nothing for a folder, which is gone into, or if it has gone.
    fn look_at(
        &mut self,
        at: Option<(UserName, FolderPath)>,
        listed: &Listed,
    ) -> Result<Option<InventoryEntry>> {
        let name = &listed.name;
        let inner = match &at {
            None if OWN.contains(&name.as_str()) => return Ok(None),
            None => UserName::parse(name).ok().map(|user| (user, FolderPath::top())),
            Some((user, folder)) => {
                folder.join(name).ok().map(|path| (user.clone(), path.as_folder()))
            }
        };
        match inner {
            Some(inner) if listed.is_folder => {
                self.enter(Some(inner))?;
                Ok(None)
            }
            _ if listed.is_folder => Ok(Some(foreign(at.as_ref(), name))),
            _ => Ok(self.file(at.as_ref(), name)),
        }
    }

    fn file(&self, at: Option<&(UserName, FolderPath)>, name: &str) -> Option<InventoryEntry> {
        let block = at.and_then(|(user, folder)| {
            let (file, block) = parse_block_file_name(name)?;
            let path = folder.join(&file).ok()?;
            self.id.blocks().contains(&block).then(|| (Place { user: user.clone(), path }, block))
        });
        let Some((place, block)) = block else {
            return Some(foreign(at, name));
        };
        match self.disk.open(&self.path(at).join(name)) {
            Ok(file) => {
                let held = read_trailer(&*file)
                    .ok()
                    .filter(|trailer| trailer.header.block == block)
                    .map(|trailer| (trailer.header.version, trailer.header.seq));
                Some(entry(place, block, held))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(entry(place, block, None)),
        }
    }

    fn path(&self, at: Option<&(UserName, FolderPath)>) -> PathBuf {
        match at {
            None => self.root.clone(),
            Some((user, folder)) => self.root.join(user.as_str()).join(folder.as_str()),
        }
    }
}

fn entry(place: Place, block: Block, held: Option<(VersionId, Seq)>) -> InventoryEntry {
    InventoryEntry::Block { place, block, held }
}

fn foreign(at: Option<&(UserName, FolderPath)>, name: &str) -> InventoryEntry {
    let whole = match at {
        None => name.to_owned(),
        Some((user, folder)) if folder.is_top() => format!("{user}/{name}"),
        Some((user, folder)) => format!("{user}/{}/{name}", folder.as_str()),
    };
    let cut = whole.floor_char_boundary(FOREIGN_BYTES_MAX);
    InventoryEntry::Foreign(whole[..cut].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::io::disk::RealDisk;
    use std::fs;

    fn all(root: &std::path::Path) -> Vec<InventoryEntry> {
        let mut inventory = Inventory::new(Arc::new(RealDisk), root.to_path_buf(), NodeId::ALL[1]);
        let mut all = Vec::new();
        loop {
            let page = inventory.page().unwrap();
            assert!(page.len() <= INVENTORY_ENTRIES_MAX);
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    #[test]
    fn blocks_are_told_from_what_is_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for inner in [".palk/staging", "backup", "demo/x", ".hidden/in"] {
            fs::create_dir_all(root.join(inner)).unwrap();
        }
        for file in [
            ".palk/node.toml",
            "backup/anything",
            "demo/x/yeet_B1.txt",
            "demo/plain",
            "demo/yeet_A1.txt",
            "loose",
        ] {
            fs::write(root.join(file), b"x").unwrap();
        }
        let foreign = |name: &str| InventoryEntry::Foreign(name.to_owned());
        let place = Place {
            user: UserName::parse("demo").unwrap(),
            path: crate::core::path::FilePath::parse_rooted("x/yeet.txt").unwrap(),
        };
        assert_eq!(
            all(root),
            [
                foreign(".hidden"),
                foreign("demo/plain"),
                entry(place, Block::B1, None),
                foreign("demo/yeet_A1.txt"),
                foreign("loose"),
            ]
        );
    }

    #[test]
    fn a_large_folder_comes_in_pages() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("demo")).unwrap();
        let count = 2 * INVENTORY_ENTRIES_MAX + 1;
        for i in 0..count {
            fs::write(folder.path().join(format!("demo/{i}")), b"").unwrap();
        }
        assert_eq!(all(folder.path()).len(), count);
    }
}
