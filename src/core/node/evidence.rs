//! What lies on a node's disk, told to a server that has lost its catalog: every block by its
//! trailer, under final names and in staging, and every user's folder.
//!
//! It is told part by part, so that a node with millions of blocks needs no memory for them. What
//! cannot be read is told as well: recovery must not take it for something that never was.

use std::io::ErrorKind;
use std::path::Path;

use crate::core::error::Result;
use crate::core::io::disk::Disk;
use crate::core::io::reason;
use crate::core::node::piece::read_trailer;
use crate::core::path::{FolderPath, UserName, parse_block_file_name};
use crate::core::types::NodeId;
use crate::core::wire::backup::{FINDINGS_MAX, Finding, UNREAD_BYTES_MAX};
use crate::core::wire::node::Place;

/// A walk through one node's folder.
pub(super) struct Walk<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) root: &'a Path,
    pub(super) id: NodeId,
    /// Found and not passed on yet.
    pub(super) found: Vec<Finding>,
    pub(super) take: &'a mut dyn FnMut(Vec<Finding>) -> Result<()>,
}

impl Walk<'_> {
    /// Passes on all that is there.
    pub(super) fn run(mut self) -> Result<()> {
        // Staging first: what is committed meanwhile is then found twice, and not missed.
        self.staging()?;
        for (name, is_folder) in self.list(self.root)? {
            // What is no user's name is the node's own, or nobody's.
            if let Ok(user) = UserName::parse(&name)
                && is_folder
            {
                self.user_folder(&user)?;
            }
        }
        if self.found.is_empty() { Ok(()) } else { (self.take)(self.found) }
    }

    fn user_folder(&mut self, user: &UserName) -> Result<()> {
        let mut open = vec![FolderPath::top()];
        while let Some(folder) = open.pop() {
            let at = self.root.join(user.as_str()).join(folder.as_str());
            for (name, is_folder) in self.list(&at)? {
                if is_folder {
                    open.extend(folder.join(&name).ok().map(|path| path.as_folder()));
                } else if let Some((file, _)) = parse_block_file_name(&name)
                    && let Ok(path) = folder.join(&file)
                {
                    let place = Place { user: user.clone(), path };
                    self.block(&at.join(&name), Some(place))?;
                }
            }
            self.tell(Finding::Folder { user: user.clone(), folder })?;
        }
        Ok(())
    }

    fn staging(&mut self) -> Result<()> {
        let folder = self.root.join(".palk/staging");
        for (name, is_folder) in self.list(&folder)? {
            // A name with a dot is that of a block which was still being received.
            if !is_folder && !name.contains('.') {
                self.block(&folder.join(&name), None)?;
            }
        }
        Ok(())
    }

    /// Tells of a block; `lies_at` is missing in staging.
    fn block(&mut self, path: &Path, lies_at: Option<Place>) -> Result<()> {
        let file = match self.disk.open(path) {
            // Renamed or removed since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return self.unread(path, &reason(&e)),
            Ok(file) => file,
        };
        let header = match read_trailer(&*file) {
            Ok(trailer) => trailer.header,
            Err(e) => return self.unread(path, &e.to_string()),
        };
        if header.block.node() != self.id {
            return self.unread(path, &format!("it is a block of node {}", header.block.node()));
        }
        self.tell(Finding::Block {
            block: header.block,
            is_staged: lies_at.is_none(),
            place: lies_at.unwrap_or(Place { user: header.user, path: header.path }),
            version: header.version,
            seq: header.seq,
            bytes: header.file_bytes,
            blake3: header.blake3,
            stored_ms: header.stored_ms,
        })
    }

    fn list(&mut self, at: &Path) -> Result<Vec<(String, bool)>> {
        // What is told is believed, and nobody will order it again: it has to survive a power cut, so
        // a rename that was made and not synced yet is synced now.
        let listed = self.disk.list(at);
        match listed.and_then(|listed| self.disk.sync_folder(at).map(|()| listed)) {
            Ok(listed) => {
                Ok(listed.into_iter().map(|entry| (entry.name, entry.is_folder)).collect())
            }
            Err(e) => self.unread(at, &reason(&e)).map(|()| Vec::new()),
        }
    }

    fn unread(&mut self, at: &Path, why: &str) -> Result<()> {
        let what = format!("{}: {why}", at.strip_prefix(self.root).unwrap_or(at).display());
        let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= UNREAD_BYTES_MAX;
        let what = what.char_indices().take_while(fits).map(|(_, c)| c).collect();
        self.tell(Finding::Unread { what })
    }

    fn tell(&mut self, finding: Finding) -> Result<()> {
        self.found.push(finding);
        if self.found.len() == FINDINGS_MAX {
            return (self.take)(std::mem::take(&mut self.found));
        }
        Ok(())
    }
}
