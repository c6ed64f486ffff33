//! The fake server's folders: those that were made, and those that files lie in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::{Client, Gone, VERSION, blake3_of};
use crate::core::error::Error;
use crate::core::path::{FilePath, FolderPath};
use crate::core::types::NodeSet;
use crate::core::wire::extended::{Entry, Extent, FileEntry, Moved, Removed};
use crate::core::wire::lines;

fn rooted(path: &str) -> String {
    format!("/{path}")
}

impl Client {
    /// Everything there is, by rooted path.
    fn entries(&self) -> BTreeMap<String, Entry> {
        let mut entries = BTreeMap::new();
        let mut add_folders = |folder: &FolderPath| {
            for folder in folder.ancestry() {
                entries.insert(rooted(folder.as_str()), Entry::Folder(folder));
            }
        };
        for folder in self.server.folders.lock().iter() {
            add_folders(&FolderPath::parse_rooted(folder).unwrap());
        }
        let files = self.files.lock().clone();
        let paths = files.keys().map(|path| FilePath::parse_rooted(path).unwrap());
        paths.clone().for_each(|path| add_folders(&path.folder()));
        for (path, content) in paths.zip(files.values()) {
            let entry = FileEntry {
                path: path.clone(),
                bytes: content.len() as u64,
                stored_ms: 1_700_000_000_000,
                version: VERSION,
                blake3: blake3_of(content),
                placed: NodeSet::ALL,
                attributes: Default::default(),
            };
            entries.insert(rooted(path.as_str()), Entry::File(entry));
        }
        entries
    }

    /// What is there, if anything; the top folder is.
    pub(super) fn look(&self, path: &FolderPath) -> Option<Entry> {
        if path.is_top() {
            return Some(Entry::Folder(FolderPath::top()));
        }
        self.entries().remove(&rooted(path.as_str()))
    }

    fn is_folder(&self, path: &FolderPath) -> bool {
        matches!(self.look(path), Some(Entry::Folder(_)))
    }

    pub(super) fn list(&mut self, path: &FolderPath, extent: Extent) -> Result<(), Gone> {
        let Some(itself) = self.look(path) else {
            let path = FilePath::parse_rooted(path.as_str()).unwrap();
            return self.refuse(&Error::NoSuchFile(path));
        };
        let mut message = vec!["S".to_owned()];
        if extent == Extent::Itself || matches!(itself, Entry::File(_)) {
            message.push(itself.encode(false));
        } else {
            let inside = if path.is_top() { "/".to_owned() } else { rooted(path.as_str()) + "/" };
            for (path, entry) in self.entries() {
                let Some(rest) = path.strip_prefix(&inside) else { continue };
                if extent == Extent::All || !rest.contains('/') {
                    message.push(entry.encode(false));
                }
            }
        }
        self.socket.write_all(&lines::encode(&message))?;
        Ok(())
    }

    pub(super) fn make_folder(&mut self, folder: &FolderPath, parents: bool) -> Result<(), Gone> {
        if !parents && self.look(folder).is_some() {
            return self.refuse(&Error::FolderExists(folder.clone()));
        }
        let above = folder.split().map(|(above, _)| above).unwrap_or_default();
        if !parents && !self.is_folder(&above) {
            return self.refuse(&Error::NoSuchFolder(above));
        }
        self.server.folders.lock().insert(rooted(folder.as_str()));
        self.say(&["S"])
    }

    pub(super) fn remove_folder(
        &mut self,
        folder: &FolderPath,
        recursive: bool,
    ) -> Result<(), Gone> {
        if !self.is_folder(folder) {
            return self.refuse(&Error::NoSuchFolder(folder.clone()));
        }
        let key = rooted(folder.as_str());
        let inside = key.clone() + "/";
        let entries = self.entries();
        let below = entries.iter().filter(|(path, _)| path.starts_with(&inside));
        let (files, folders): (Vec<_>, Vec<_>) =
            below.partition(|(_, entry)| matches!(entry, Entry::File(_)));
        if !recursive && files.len() + folders.len() > 0 {
            return self.refuse(&Error::FolderNotEmpty(folder.clone()));
        }
        let removed = Removed { folders: folders.len() as u64 + 1, files: files.len() as u64 };
        self.files.lock().retain(|path, _| !path.starts_with(&inside));
        self.server.folders.lock().retain(|path| *path != key && !path.starts_with(&inside));
        self.say_fields(&removed.to_fields())
    }

    /// Moves or copies.
    pub(super) fn move_to(
        &mut self,
        from: &FilePath,
        to: &FolderPath,
        [copies, replace]: [bool; 2],
    ) -> Result<(), Gone> {
        let Some(moving) = self.look(&from.as_folder()) else {
            return self.refuse(&Error::NoSuchFile(from.clone()));
        };
        let target = match self.is_folder(to) {
            true => to.join(from.name()).unwrap(),
            false => FilePath::parse_rooted(to.as_str()).unwrap(),
        };
        let replaced = self.look(&target.as_folder()).is_some();
        if replaced && !replace {
            return self.refuse(&Error::Exists(target));
        }
        let (old, new) = (rooted(from.as_str()), rooted(target.as_str()));
        let renamed = |path: &String| match path.strip_prefix(&old) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Some(format!("{new}{rest}")),
            _ => None,
        };
        let mut files = 0;
        let there = self.files.lock().clone();
        for (path, content) in there {
            if let Some(new) = renamed(&path) {
                if !copies {
                    self.files.lock().remove(&path);
                }
                self.files.lock().insert(new, content);
                files += 1;
            }
        }
        let mut folders = self.server.folders.lock();
        let (moved, mut there): (BTreeSet<_>, BTreeSet<_>) =
            folders.iter().cloned().partition(|path| renamed(path).is_some());
        there.extend(moved.iter().filter_map(renamed));
        if copies {
            there.extend(moved);
        }
        *folders = there.into_iter().collect();
        drop(folders);
        let is_folder = matches!(moving, Entry::Folder(_));
        self.say_fields(&Moved { to: target, is_folder, files, replaced }.to_fields())
    }

    fn say_fields(&mut self, fields: &[String]) -> Result<(), Gone> {
        let all: Vec<&str> =
            std::iter::once("S").chain(fields.iter().map(String::as_str)).collect();
        self.say(&all)
    }
}
