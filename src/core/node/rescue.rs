//! Files out of node folders alone: no server, no catalog, no key.
//!
//! ```text
//!   two to four folders ─ walk ────▶ blocks ─╮
//!                       ╰ history ─▶ names ──┴ choose ─▶ files, versions ─ rebuild ─▶ OUT/USER/PATH
//! ```
//!
//! `walk` reads the blocks, under `.palk/pieces` and in the view; every one names itself. `history`
//! reads the snapshots and journals, which say what everything is called, and hold the pieces of small
//! files that are not written out yet. `choose` decides (on values alone) which version a file is and
//! what it is called, `rebuild` makes it stripe by stripe from `sources`, its open blocks. Pieces alone
//! are enough, and so is the view alone, or a copy of it that has no hard links.
//!
//! Invariants: nothing is ever written into a node's folder. A file gets its name only when all of
//! it has the digest that it was stored with. Only the newest version that was found gets the file's
//! own name; where that one cannot be rebuilt, the file is named with the reason, and an older
//! version that can lies beside it under a name of its own. What could not be read is never passed
//! over in silence.

mod choose;
mod history;
mod joined;
mod rebuild;
mod sources;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::chronicle::Chronicle;
use crate::core::error::{Code, Error};
use crate::core::io::disk::Disk;
use crate::core::io::reason;
use crate::core::node::store::identity_of;
use crate::core::path::UserName;
use crate::core::types::{ClusterId, Moment, NodeId, NodeSet};
use crate::core::wire::extended::When;

pub use choose::{StoredFile, Survey};
use history::Journals;
pub use rebuild::{Outcome, Rescuer, Written, part_path};
pub use walk::Unread;
use walk::{Found, Walk};

/// Why folders are no folders to rescue from. Its text is shown to people as it is.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Refusal {
    #[error("cannot read the folder {}: {why}", at.display())]
    Unreadable { at: PathBuf, why: String },
    #[error("{} is not the folder of a storage node: it has no .palk/node.toml and no blocks", at.display())]
    NoNodeFolder { at: PathBuf },
    #[error("{} holds blocks of {nodes}, and no .palk/node.toml says which node it is", at.display())]
    SeveralNodes { at: PathBuf, nodes: NodeSet },
    #[error("{text}")]
    OtherFormat { text: String },
    #[error("{} and {} are both of node {node}", one.display(), other.display())]
    SameNode { one: PathBuf, other: PathBuf, node: NodeId },
    #[error("{} and {} belong to different clusters ({} and {})",
            one.display(), other.display(), clusters[0], clusters[1])]
    OtherCluster { one: PathBuf, other: PathBuf, clusters: [ClusterId; 2] },
}

/// One node's folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeFolder {
    /// Where it is.
    pub at: PathBuf,
    /// Whose it is.
    pub node: NodeId,
    /// Of which cluster; `None` if that is unknown.
    pub cluster: Option<ClusterId>,
    /// Its `node.toml` is missing or damaged: its blocks have said which node it is.
    pub is_by_blocks: bool,
}

/// The folders of different nodes of one cluster.
pub struct Folders {
    disk: Arc<dyn Disk>,
    list: Vec<NodeFolder>,
}

impl Folders {
    /// Looks at what these folders are. Only reads.
    ///
    /// # Errors
    /// [`Refusal`] if they are not the folders of different nodes of one cluster.
    pub fn open(disk: Arc<dyn Disk>, paths: &[PathBuf]) -> Result<Folders, Refusal> {
        let mut list: Vec<NodeFolder> = Vec::new();
        for path in paths {
            let folder = identify(&*disk, path)?;
            for known in &list {
                check_pair(known, &folder)?;
            }
            list.push(folder);
        }
        list.sort_by_key(|folder| folder.node);
        Ok(Folders { disk, list })
    }

    /// The folders, lowest node first.
    pub fn list(&self) -> &[NodeFolder] {
        &self.list
    }

    /// Whose folders these are.
    pub fn nodes(&self) -> NodeSet {
        self.list.iter().map(|folder| folder.node).collect()
    }

    /// Reads what is in all of them, or what is wanted of it.
    ///
    /// # Errors
    /// [`Code::Usage`] if what was is wanted, and no journal says it; [`Code::NoSuchFile`] if there is no
    /// such snapshot.
    pub fn survey(&self, wanted: &Selected) -> Result<Survey, Error> {
        let user = wanted.user.as_ref();
        let disk = &*self.disk;
        let mut found = Found::default();
        let mut journals = Journals::default();
        for folder in &self.list {
            journals.read(disk, &folder.at, folder.node, &mut found.named);
        }
        found.named.retain(|own| user.is_none_or(|only| *only == own.stored_as.user));
        let count = journals.folders();
        let mut history = journals.best(disk, &mut found.unread);
        let mut known_in_part = Vec::new();
        let is_past = match (&wanted.at, &mut history) {
            (Some(when), Some(history)) => {
                let at = moment(when, &history.chronicle)?;
                history.names = history.chronicle.at(at);
                known_in_part = history.chronicle.known_in_part(at);
                known_in_part.retain(|owner| user.is_none_or(|only| only == owner));
                true
            }
            (None, _) => false,
            (Some(_), None) => return Err(no_history()),
        };
        if wanted.former && history.is_none() {
            return Err(no_history());
        }
        for folder in &self.list {
            let mut walk = Walk::new(disk, &folder.at, user, &mut found);
            walk.run();
            if let Some(history) = &history {
                walk.look_for(folder.node, &history.names);
            }
        }
        // What the journals of one folder lack was stored after what is wanted.
        let count = if is_past { self.list.len() } else { count };
        let mut survey = Survey::of(found, history, count, wanted);
        survey.known_in_part = known_in_part;
        Ok(survey)
    }
}

/// What is wanted of what is there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selected {
    /// Only this user's files.
    pub user: Option<UserName>,
    /// As it was then.
    pub at: Option<When>,
    /// Beside each file also its former versions that are kept.
    pub former: bool,
}

fn moment(when: &When, chronicle: &Chronicle) -> Result<Moment, Error> {
    match when {
        When::At(moment) => Ok(*moment),
        When::Snapshot(name) => {
            let unknown = || Error::other(Code::NoSuchFile, format!("there is no snapshot {name}"));
            chronicle.snapshot(name.as_str()).ok_or_else(unknown)
        }
    }
}

fn no_history() -> Error {
    let text = "no journal could be read, and nothing else says what was before";
    Error::other(Code::Usage, text)
}

fn check_pair(one: &NodeFolder, other: &NodeFolder) -> Result<(), Refusal> {
    if one.node == other.node {
        let (one, other, node) = (one.at.clone(), other.at.clone(), one.node);
        return Err(Refusal::SameNode { one, other, node });
    }
    match (one.cluster, other.cluster) {
        (Some(first), Some(second)) if first != second => Err(Refusal::OtherCluster {
            one: one.at.clone(),
            other: other.at.clone(),
            clusters: [first, second],
        }),
        _ => Ok(()),
    }
}

fn identify(disk: &dyn Disk, at: &Path) -> Result<NodeFolder, Refusal> {
    let unreadable = |e| Refusal::Unreadable { at: at.to_path_buf(), why: reason(&e) };
    disk.list(at).map_err(unreadable)?;
    match identity_of(disk, at) {
        Ok(Some((node, cluster))) => {
            return Ok(NodeFolder { at: at.to_path_buf(), node, cluster, is_by_blocks: false });
        }
        // Another format is not guessed at: what this program reads there would be chance.
        Err(error) if error.code() == Code::Version => {
            return Err(Refusal::OtherFormat { text: error.to_string() });
        }
        Ok(None) | Err(_) => {}
    }
    let mut found = Found::default();
    Walk::new(disk, at, None, &mut found).run();
    let nodes = found.nodes();
    let at = at.to_path_buf();
    match (nodes.iter().next(), nodes.len()) {
        (Some(node), 1) => Ok(NodeFolder { at, node, cluster: None, is_by_blocks: true }),
        (None, _) => Err(Refusal::NoNodeFolder { at }),
        _ => Err(Refusal::SeveralNodes { at, nodes }),
    }
}

/// What cannot be written where the files go, and why.
fn cannot_write(at: &Path, error: &std::io::Error) -> Error {
    Error::other(Code::LocalFile, format!("cannot write {}: {}", at.display(), reason(error)))
}

#[cfg(test)]
mod tests;
