//! A catalog made anew from what the nodes have: the newest snapshot, and the best journal that follows
//! it.
//!
//! ```text
//!   survey: whom does each node serve?    at least two of one cluster, no server about
//!   the newest snapshot that is whole     of any node; else nothing
//!   the entries that follow it            of the node whose history is the best one
//! ```
//!
//! It is what every start does, from the beginning. Whatever was answered is on three nodes, so on one of
//! any two. The nodes are only asked. The catalog is made in a file that whoever calls gives its place
//! when all has succeeded.

use std::path::Path;
use std::sync::Arc;

use crate::core::catalog::{Catalog, Contents, Loader, contents};
use crate::core::cluster::node::Node;
use crate::core::error::{Code, Error, NodeFailure, Result, Troubles};
use crate::core::io::disk::{Disk, RealDisk};
use crate::core::types::{ClusterId, NodeId, NodeSet, READ_QUORUM};
use crate::core::wire::journal::{Entry, Point, Told};
use crate::core::wire::snapshot::{
    FORMAT, SNAPSHOTS_KEPT, SnapshotHead, SnapshotReply, SnapshotRequest, decode_chunk,
};

/// What a recovery has come to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// What is in the new catalog.
    pub contents: Contents,
    /// How many changes came from a journal.
    pub from_journal: u64,
    /// What could not be read on the nodes; others have made up for it.
    pub damaged: Vec<String>,
}

/// The nodes to recover from, 1 to 4; nothing for one that is known to be gone.
pub type Nodes = [Option<Arc<dyn Node>>; 4];

/// What the nodes say of themselves.
#[derive(Debug)]
pub struct Survey {
    /// Their cluster.
    pub cluster: ClusterId,
    /// Those that answered.
    pub asked: NodeSet,
    /// Why the others did not.
    pub troubles: Troubles,
    /// The node that has heard of a server last, and how many milliseconds ago.
    pub heard: Option<(NodeId, u64)>,
}

/// Asks every node whom it serves.
///
/// # Errors
/// If fewer than two of one cluster answer, or they are of different ones.
pub fn survey(nodes: &Nodes) -> Result<Survey> {
    let (mut asked, mut members) = (NodeSet::EMPTY, NodeSet::EMPTY);
    let (mut troubles, mut heard) = (Troubles::default(), None::<(NodeId, u64)>);
    let mut cluster: Option<(NodeId, ClusterId)> = None;
    for id in NodeId::ALL {
        let Some(node) = &nodes[id.index()] else {
            troubles.note(id, "left out");
            continue;
        };
        let serves = match node.who_serves() {
            Ok(serves) => serves,
            // One that is another node, or of another version, is a mistake and not an absence.
            Err(error @ Error::Node { why: NodeFailure::Refused(_), .. }) => return Err(error),
            Err(Error::Node { why, .. }) => {
                troubles.note(id, why.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        asked.insert(id);
        if let Some(ms) = serves.heard_ms_ago
            && heard.is_none_or(|(_, before)| ms < before)
        {
            heard = Some((id, ms));
        }
        let Some(own) = serves.cluster else { continue };
        members.insert(id);
        match cluster {
            Some((other, known)) if known != own => {
                let text = format!("nodes {other} and {id} hold the files of different clusters");
                return Err(Error::other(Code::NotAllowed, text));
            }
            _ => cluster = Some((id, own)),
        }
    }
    match cluster {
        Some((_, cluster)) if members.len() >= READ_QUORUM => {
            Ok(Survey { cluster, asked, troubles, heard })
        }
        _ => {
            for id in asked.and(members.complement()).iter() {
                troubles.note(id, "it holds no cluster's files");
            }
            let text = format!(
                "at least {READ_QUORUM} nodes with the files of a cluster are needed; not \
                 available: {troubles}"
            );
            Err(Error::other(Code::TooFewNodes, text))
        }
    }
}

/// Makes the catalog in this file, over one that is there. `addresses` are those of the nodes from
/// now on; where one is missing, the one that is remembered stays.
///
/// # Errors
/// If a node fails while it is asked, the file cannot be written, or snapshots are there and none of
/// them can be read.
pub fn recover(
    nodes: &Nodes,
    survey: &Survey,
    path: &Path,
    addresses: &[Option<String>; 4],
) -> Result<Report> {
    let mut report = Report::default();
    let base = load_newest(nodes, survey, path, &mut report)?;
    let catalog = Catalog::open(path, survey.cluster)?;
    if let Some((id, end)) = best_after(nodes, survey, base, &mut report)? {
        node(nodes, id)?.entries(base, &mut |entries| {
            report.from_journal += entries.len() as u64;
            catalog.apply(&entries)
        })?;
        if catalog.end()? != end {
            let why = NodeFailure::Refused("it did not give all of its journal".into());
            return Err(Error::node(id, why));
        }
    }
    let known = catalog.node_addresses()?;
    let now: [Option<String>; 4] = std::array::from_fn(|at| {
        addresses[at].clone().or_else(|| known.as_ref().map(|known| known[at].clone()))
    });
    if let [Some(a), Some(b), Some(c), Some(d)] = now {
        catalog.remember_node_addresses(&[a, b, c, d])?;
    }
    drop(catalog);
    report.contents = contents(path)?.unwrap_or_default();
    Ok(report)
}

/// Loads the newest snapshot that is whole into the file; gives where it ends.
fn load_newest(nodes: &Nodes, survey: &Survey, path: &Path, report: &mut Report) -> Result<Point> {
    let snapshots = list_snapshots(survey.asked, &|id| node(nodes, id).ok())?;
    let found = snapshots.len();
    for (head, id) in snapshots {
        clear(path)?;
        let mut loader = Loader::create(path, survey.cluster)?;
        let read = read_snapshot(id, node(nodes, id)?, &head, &mut |changes| loader.load(&changes));
        match read.and_then(|()| loader.finish(head.at)) {
            Ok(_) => return Ok(head.at),
            Err(
                error @ Error::Node {
                    why: NodeFailure::Refused(_) | NodeFailure::Damaged(_), ..
                },
            )
            | Err(error @ Error::Damaged(_)) => {
                let name = format!("snapshot-{}-{}", head.at.epoch, head.at.id);
                report.damaged.push(format!("node {id}: backup/{name} is damaged: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    clear(path)?;
    if found > 0 {
        report.damaged.push("no snapshot can be read; the journals alone are used".into());
    }
    let start = Point::start(survey.cluster);
    Loader::create(path, survey.cluster)?.finish(start)?;
    Ok(start)
}

/// The node whose journal goes on from this point to the best history, and where that ends; `None` if no
/// journal goes on from there.
fn best_after(
    nodes: &Nodes,
    survey: &Survey,
    base: Point,
    report: &mut Report,
) -> Result<Option<(NodeId, Point)>> {
    let mut best: Option<(NodeId, Point)> = None;
    for id in survey.asked.iter() {
        let mut end = base;
        let mut take = |entries: Vec<Entry>| {
            for entry in entries {
                if !entry.follows(end) {
                    return Err(Error::Damaged(format!("entry {} follows nothing", entry.id)));
                }
                end = entry.point();
            }
            Ok(())
        };
        match node(nodes, id)?.entries(base, &mut take) {
            Ok(()) => {}
            // It does not have this point: its history is an older one, or damaged before it.
            Err(Error::Node { why: NodeFailure::Refused(why), .. }) => {
                report.damaged.push(format!("node {id}: its journal is not used: {why}"));
                continue;
            }
            Err(Error::Damaged(why) | Error::Node { why: NodeFailure::Damaged(why), .. }) => {
                report.damaged.push(format!("node {id}: its journal is damaged: {why}"));
                continue;
            }
            Err(error) => return Err(error),
        }
        if best.is_none_or(|(_, known)| end.rank() > known.rank()) {
            best = Some((id, end));
        }
    }
    match best {
        // Journals that are empty were lost: an empty catalog would have all pieces called strays.
        None | Some((_, Point { id: 0, .. })) if base.id == 0 => {
            let text = "no snapshot and no journal of these nodes can be read from its beginning";
            Err(Error::other(Code::Damaged, text))
        }
        best => Ok(best.filter(|(_, end)| *end != base)),
    }
}

fn node(nodes: &Nodes, id: NodeId) -> Result<&dyn Node> {
    let node = nodes[id.index()].as_deref();
    node.ok_or_else(|| Error::node(id, NodeFailure::Unreachable("left out".into())))
}

/// All snapshots of these nodes, the newest first.
///
/// # Errors
/// If a node does not answer.
pub(super) fn list_snapshots<'a>(
    among: NodeSet,
    node: &dyn Fn(NodeId) -> Option<&'a dyn Node>,
) -> Result<Vec<(SnapshotHead, NodeId)>> {
    let mut all = Vec::new();
    for id in among.iter() {
        let Some(node) = node(id) else { continue };
        match node.snapshot(&SnapshotRequest::List, &[])? {
            (SnapshotReply::Heads(heads), _) if heads.len() <= SNAPSHOTS_KEPT => {
                let known = heads.into_iter().filter(|head| head.format == FORMAT);
                all.extend(known.map(|head| (head, id)));
            }
            _ => return Err(out_of_turn(id)),
        }
    }
    all.sort_by_key(|(head, _)| std::cmp::Reverse(head.at.rank()));
    Ok(all)
}

/// Passes on the changes of a node's snapshot, chunk by chunk.
///
/// # Errors
/// [`Error::Damaged`] if a chunk is none; those of the node and of `take`.
pub(super) fn read_snapshot(
    id: NodeId,
    node: &dyn Node,
    head: &SnapshotHead,
    take: &mut dyn FnMut(Vec<Told>) -> Result<()>,
) -> Result<()> {
    for index in 0..head.chunks {
        match node.snapshot(&SnapshotRequest::Read { at: head.at, index }, &[])? {
            (SnapshotReply::Chunk, content) => take(decode_chunk(&content)?)?,
            _ => return Err(out_of_turn(id)),
        }
    }
    Ok(())
}

fn out_of_turn(id: NodeId) -> Error {
    Error::node(id, NodeFailure::Refused("it answered something else".into()))
}

/// Removes the file and what SQLite may have left beside it.
fn clear(path: &Path) -> Result<()> {
    for ending in ["", "-journal", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        RealDisk
            .remove(Path::new(&name))
            .map_err(Error::io(format!("cannot remove {}", Path::new(&name).display())))?;
    }
    Ok(())
}
