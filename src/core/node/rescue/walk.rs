//! What lies in a node's folder, read from the block files themselves.
//!
//! Every file whose name can be a block's is looked at, under users' folders and in staging; links
//! are not followed, and nothing is written. What cannot be read is noted and not passed over: a
//! file that is missing from the result without a word would look as if it had never been stored.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::core::error::Error;
use crate::core::io::disk::Disk;
use crate::core::io::reason;
use crate::core::node::piece::read_trailer;
use crate::core::path::{FolderPath, UserName, parse_block_file_name};
use crate::core::types::{Block, Digest, NodeSet, Seq, VersionId};
use crate::core::wire::node::Place;

/// Which stored state of a file this is, and what it has to come to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct State {
    pub(super) seq: Seq,
    pub(super) version: VersionId,
    pub(super) file_bytes: u64,
    pub(super) blake3: Digest,
}

/// A block file that names itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    pub(super) at: PathBuf,
    pub(super) block: Block,
    pub(super) state: State,
    /// Whose it was and what it was called when it was stored.
    pub(super) stored_as: Place,
    /// Where it lies, which is what it is called now; nothing in staging.
    pub(super) lies_as: Option<Place>,
}

/// What a block file without a valid trailer is taken for, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TakenFor {
    /// Some version of this file.
    File(Place),
    /// This version of some file.
    Version(VersionId),
}

/// A block file that does not name itself any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Nameless {
    pub(super) at: PathBuf,
    pub(super) block: Block,
    pub(super) taken_for: TakenFor,
    /// What is wrong with its trailer.
    pub(super) why: String,
}

/// A folder that could not be looked into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// Which folder.
    pub at: PathBuf,
    /// Why not.
    pub why: String,
}

/// All that lies in the folders that were walked.
#[derive(Default, Debug)]
pub(super) struct Found {
    pub(super) named: Vec<Named>,
    pub(super) nameless: Vec<Nameless>,
    pub(super) folders: BTreeSet<(UserName, FolderPath)>,
    pub(super) unread: Vec<Unread>,
}

impl Found {
    /// Whose blocks these are, by their own trailers.
    pub(super) fn nodes(&self) -> NodeSet {
        self.named.iter().map(|found| found.block.node()).collect::<NodeSet>()
    }
}

/// Walks through one node's folder, or what is one user's of it.
pub(super) struct Walk<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) root: &'a Path,
    pub(super) user: Option<&'a UserName>,
    pub(super) found: &'a mut Found,
}

impl Walk<'_> {
    /// Adds what is there to what was found.
    pub(super) fn run(mut self) {
        for (name, is_folder) in self.list(self.root) {
            // What is no user's name is the node's own, or nobody's.
            if let Ok(user) = UserName::parse(&name)
                && is_folder
                && self.user.is_none_or(|only| *only == user)
            {
                self.user_folder(&user);
            }
        }
        self.staging();
    }

    fn user_folder(&mut self, user: &UserName) {
        let mut open = vec![FolderPath::top()];
        while let Some(folder) = open.pop() {
            let at = self.root.join(user.as_str()).join(folder.as_str());
            for (name, is_folder) in self.list(&at) {
                if is_folder {
                    open.extend(folder.join(&name).ok().map(|path| path.as_folder()));
                } else {
                    self.block_file(user, &folder, &at, &name);
                }
            }
            self.found.folders.insert((user.clone(), folder));
        }
    }

    fn block_file(&mut self, user: &UserName, folder: &FolderPath, at: &Path, name: &str) {
        let Some((file, block)) = parse_block_file_name(name) else { return };
        let Ok(path) = folder.join(&file) else { return };
        let place = Place { user: user.clone(), path };
        self.look_at(at.join(name), block, TakenFor::File(place));
    }

    fn staging(&mut self) {
        let folder = self.root.join(".palk/staging");
        if !self.disk.exists(&folder).unwrap_or(true) {
            return;
        }
        for (name, _) in self.list(&folder) {
            // A name with a dot is that of a block which was still being received.
            let Some((version, block)) = name.split_once('_') else { continue };
            let block = Block::ALL.into_iter().find(|known| known.name() == block);
            if let (Ok(version), Some(block)) = (version.parse(), block) {
                self.look_at(folder.join(&name), block, TakenFor::Version(version));
            }
        }
    }

    fn look_at(&mut self, at: PathBuf, block: Block, taken_for: TakenFor) {
        let why = match self.disk.open(&at) {
            // A node that runs has renamed or removed it since.
            Err(e) if e.kind() == ErrorKind::NotFound => return,
            Err(e) => format!("it cannot be opened: {}", reason(&e)),
            Ok(file) => match read_trailer(&*file) {
                Ok(trailer) => {
                    let header = trailer.header;
                    let lies_as = match taken_for {
                        TakenFor::File(place) => Some(place),
                        TakenFor::Version(_) => None,
                    };
                    let owner = lies_as.as_ref().map_or(&header.user, |place| &place.user);
                    if self.user.is_none_or(|only| only == owner) {
                        self.found.named.push(Named {
                            at,
                            block: header.block,
                            state: State {
                                seq: header.seq,
                                version: header.version,
                                file_bytes: header.file_bytes,
                                blake3: header.blake3,
                            },
                            stored_as: Place { user: header.user, path: header.path },
                            lies_as,
                        });
                    }
                    return;
                }
                Err(Error::Damaged(why)) => why,
                Err(other) => other.to_string(),
            },
        };
        self.found.nameless.push(Nameless { at, block, taken_for, why });
    }

    /// What is in a folder; nothing, and a note, if that cannot be told.
    fn list(&mut self, at: &Path) -> Vec<(String, bool)> {
        match self.disk.list(at) {
            Ok(listed) => listed.into_iter().map(|entry| (entry.name, entry.is_folder)).collect(),
            Err(e) => {
                self.found.unread.push(Unread { at: at.to_path_buf(), why: reason(&e) });
                Vec::new()
            }
        }
    }
}
