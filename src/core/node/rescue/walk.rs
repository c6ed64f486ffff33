//! What lies in a node's folder, read from the block files themselves.
//!
//! Pieces are looked for where a node finds them, by path, so one that a link leads to is found as
//! well. The view is walked as it is listed, which follows no link: nothing is served from it. A block
//! that has names in both is one block. Nothing is written. What cannot be read is noted and not passed
//! over: a file that is missing from the result without a word would look as if it had never been
//! stored.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::core::error::Error;
use crate::core::io::disk::{Disk, FileIdentity};
use crate::core::io::reason;
use crate::core::names::{self, Names};
use crate::core::node::piece::read_trailer;
use crate::core::path::{FolderPath, UserName, parse_block_file_name};
use crate::core::types::{Block, Digest, NodeId, NodeSet, Seq, VersionId};
use crate::core::wire::node::Place;
use crate::core::wire::trailer::Header;
use crate::core::wire::trailer::PartOf;

/// Where a node keeps its block files.
const PIECES: &str = ".palk/pieces";

/// Which stored state of a file this is, and what it has to come to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct State {
    pub(super) seq: Seq,
    pub(super) version: VersionId,
    pub(super) file_bytes: u64,
    pub(super) blake3: Digest,
}

/// Where the bytes of a block are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum BlockAt {
    /// In a file of its own, with its trailer.
    File(PathBuf),
    /// In a segment of a journal: in the frame that begins at this offset.
    Journal(PathBuf, u64),
}

/// A block that names itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    pub(super) at: BlockAt,
    pub(super) block: Block,
    pub(super) state: State,
    /// Whose it was and what it was called when it was stored.
    pub(super) stored_as: Place,
    /// Of which upload it may be an extent.
    pub(super) part: Option<PartOf>,
}

/// What a version is called in the view of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Viewed {
    pub(super) version: VersionId,
    pub(super) node: NodeId,
    pub(super) place: Place,
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

/// A file or folder that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// Which.
    pub at: PathBuf,
    /// Why not.
    pub why: String,
}

/// All that lies in the folders that were walked.
#[derive(Default, Debug)]
pub(super) struct Found {
    pub(super) named: Vec<Named>,
    pub(super) viewed: Vec<Viewed>,
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
    disk: &'a dyn Disk,
    root: &'a Path,
    user: Option<&'a UserName>,
    found: &'a mut Found,
    /// The files under `pieces`, and what version each says that it is of.
    pieces: HashMap<FileIdentity, Option<VersionId>>,
    /// What their names say.
    listed: HashSet<(VersionId, Block)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        root: &'a Path,
        user: Option<&'a UserName>,
        found: &'a mut Found,
    ) -> Walk<'a> {
        Walk { disk, root, user, found, pieces: HashMap::new(), listed: HashSet::new() }
    }

    /// Adds what is there to what was found.
    pub(super) fn run(&mut self) {
        self.pieces();
        for (name, is_folder) in self.list(self.root) {
            // What is no user's name is the node's own, or nobody's.
            if let Ok(user) = UserName::parse(&name)
                && is_folder
                && self.user.is_none_or(|only| *only == user)
            {
                self.user_folder(&user);
            }
        }
    }

    /// Looks for the current versions that were not listed where the node would find them: a link to a
    /// file is listed nowhere.
    pub(super) fn look_for(&mut self, id: NodeId, names: &Names) {
        if !self.disk.exists(&self.root.join(PIECES)).unwrap_or(false) {
            return;
        }
        let mut missing = Vec::new();
        names.walk(&mut |user, _, folder| {
            if self.user.is_some_and(|only| only != user) {
                return;
            }
            for (_, named) in folder.entries() {
                let names::Named::File(version) = named else { continue };
                let blocks = id.blocks().map(|block| (*version, block));
                missing.extend(blocks.into_iter().filter(|own| !self.listed.contains(own)));
            }
        });
        for (version, block) in missing {
            let name = version.to_string();
            let folder = self.root.join(PIECES).join(&name[..2]);
            self.piece(folder.join(format!("{name}_{block}")), version, block);
        }
    }

    fn pieces(&mut self) {
        let all = self.root.join(PIECES);
        match self.disk.exists(&all) {
            Ok(false) => return,
            Ok(true) => {}
            Err(e) => return self.unread(&all, reason(&e)),
        }
        for folder in 0..=u8::MAX {
            let at = all.join(format!("{folder:02x}"));
            let listed = match self.disk.list(&at) {
                Ok(listed) => listed,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => {
                    self.unread(&at, reason(&e));
                    continue;
                }
            };
            for entry in listed {
                // A name with a dot is that of a block which was still being received.
                let Some((version, block)) = entry.name.split_once('_') else { continue };
                let block = Block::ALL.into_iter().find(|known| known.name() == block);
                if let (Ok(version), Some(block)) = (version.parse(), block) {
                    self.listed.insert((version, block));
                    self.piece(at.join(&entry.name), version, block);
                }
            }
        }
    }

    fn piece(&mut self, at: PathBuf, version: VersionId, block: Block) {
        let Some(read) = self.read(&at) else { return };
        if let Ok(identity) = self.disk.identity(&at) {
            self.pieces.insert(identity, read.as_ref().ok().map(|header| header.version));
        }
        match read {
            Ok(header) => self.named(at, header),
            Err(why) => {
                let taken_for = TakenFor::Version(version);
                self.found.nameless.push(Nameless { at, block, taken_for, why });
            }
        }
    }

    fn user_folder(&mut self, user: &UserName) {
        let mut open = vec![FolderPath::top()];
        while let Some(folder) = open.pop() {
            let at = self.root.join(user.as_str()).join(folder.as_str());
            for (name, is_folder) in self.list(&at) {
                if is_folder {
                    open.extend(folder.join(&name).ok().map(|path| path.as_folder()));
                } else if let Some((file, block)) = parse_block_file_name(&name)
                    && let Ok(path) = folder.join(&file)
                {
                    let place = Place { user: user.clone(), path };
                    self.view_file(at.join(&name), block, place);
                }
            }
            self.found.folders.insert((user.clone(), folder));
        }
    }

    fn view_file(&mut self, at: PathBuf, block: Block, place: Place) {
        let piece = self.disk.identity(&at).ok().and_then(|known| self.pieces.get(&known).copied());
        let viewed = |version, block: Block, place| Viewed { version, node: block.node(), place };
        match piece {
            Some(Some(version)) => self.found.viewed.push(viewed(version, block, place)),
            // It is known to be damaged.
            Some(None) => {}
            None => match self.read(&at) {
                Some(Ok(header)) => {
                    self.found.viewed.push(viewed(header.version, header.block, place));
                    self.named(at, header);
                }
                Some(Err(why)) => {
                    let taken_for = TakenFor::File(place);
                    self.found.nameless.push(Nameless { at, block, taken_for, why });
                }
                None => {}
            },
        }
    }

    fn named(&mut self, at: PathBuf, header: Header) {
        if self.user.is_some_and(|only| *only != header.user) {
            return;
        }
        self.found.named.push(Named {
            at: BlockAt::File(at),
            block: header.block,
            state: State {
                seq: header.seq,
                version: header.version,
                file_bytes: header.file_bytes,
                blake3: header.blake3,
            },
            stored_as: Place { user: header.user, path: header.path },
            part: header.part,
        });
    }

    /// What a file's trailer says, or what is wrong with it; `None` if a node that runs has renamed or
    /// removed it since it was listed.
    fn read(&self, at: &Path) -> Option<Result<Header, String>> {
        let file = match self.disk.open(at) {
            Err(e) if e.kind() == ErrorKind::NotFound => return None,
            Err(e) => return Some(Err(format!("it cannot be opened: {}", reason(&e)))),
            Ok(file) => file,
        };
        Some(match read_trailer(&*file) {
            Ok(trailer) => Ok(trailer.header),
            Err(Error::Damaged(why)) => Err(why),
            Err(other) => Err(other.to_string()),
        })
    }

    /// What is in a folder; nothing, and a note, if that is unknown.
    fn list(&mut self, at: &Path) -> Vec<(String, bool)> {
        match self.disk.list(at) {
            Ok(listed) => listed.into_iter().map(|entry| (entry.name, entry.is_folder)).collect(),
            Err(e) => {
                self.unread(at, reason(&e));
                Vec::new()
            }
        }
    }

    fn unread(&mut self, at: &Path, why: String) {
        self.found.unread.push(Unread { at: at.to_path_buf(), why });
    }
}
