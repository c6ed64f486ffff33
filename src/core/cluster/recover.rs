//! A catalog made anew from what the nodes have: their backups, and what lies on their disks.
//!
//! ```text
//!   survey: whom does each node serve?    at least two of one cluster, no server about
//!   the newest snapshot that is whole     of any node; else the next one; else none
//!   the journals of all nodes             put together, as far as they follow it
//!   the evidence of all nodes
//! ```
//!
//! The nodes are only asked. The catalog is made in a file that whoever calls gives its place when
//! all has succeeded.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::core::catalog::{Evidence, Recovery, Report};
use crate::core::cluster::node::Node;
use crate::core::error::{Code, Error, NodeFailure, Result, Troubles};
use crate::core::io::disk::{Disk, RealDisk};
use crate::core::io::random::Random;
use crate::core::types::{ClusterId, NodeId, NodeSet, READ_QUORUM};
use crate::core::wire::backup::{
    Answer, Ask, CHUNK_BYTES, FORMAT, JournalHead, Kind, SnapshotHead, SnapshotId, decode,
    file_name, read_frame,
};
use crate::core::wire::journal::{Entry, Point};

/// The most bytes that are read of a journal: more than a node adds to one.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

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
/// If a node fails while it is asked, or the file cannot be written.
pub fn recover(
    nodes: &Nodes,
    survey: &Survey,
    path: &Path,
    random: &Random,
    addresses: &[Option<String>; 4],
) -> Result<Report> {
    let mut backups = Collected::default();
    for id in survey.asked.iter() {
        backups.collect(id, node(nodes, id)?, survey.cluster)?;
    }
    let mut recovery = backups.base(nodes, survey.cluster, path)?;
    let entries = backups.history_after(recovery.end()?);
    recovery.replay(&entries)?;
    recovery.note_damaged(std::mem::take(&mut backups.damaged));
    let mut evidence = Evidence::default();
    for id in survey.asked.iter() {
        let walk = |evidence: &mut Evidence| {
            node(nodes, id)?.evidence(&mut |findings| {
                findings.into_iter().for_each(|finding| evidence.add(id, finding));
                Ok(())
            })
        };
        walk(&mut evidence)?;
        // The second walk adds to what the first has found.
        if evidence.forget_unread(id) {
            walk(&mut evidence)?;
        }
    }
    let mark = random.version();
    recovery.adopt(&evidence, survey.asked, backups.generation, mark, addresses)?;
    recovery.finish()
}

fn node(nodes: &Nodes, id: NodeId) -> Result<&dyn Node> {
    let node = nodes[id.index()].as_deref();
    node.ok_or_else(|| Error::node(id, NodeFailure::Unreachable("left out".into())))
}

/// What the nodes' backups hold.
#[derive(Default)]
struct Collected {
    snapshots: Vec<(SnapshotId, NodeId)>,
    /// By number; an entry comes from the journals of several nodes, and histories that parted have
    /// different entries of one number.
    entries: BTreeMap<u64, Vec<(u64, Entry)>>,
    /// The highest of any file.
    generation: u64,
    damaged: Vec<String>,
}

impl Collected {
    fn collect(&mut self, id: NodeId, node: &dyn Node, cluster: ClusterId) -> Result<()> {
        let files = match node.backup(&Ask::List, &[])? {
            (Answer::Files(files), _) => files,
            _ => return Err(out_of_turn(id)),
        };
        for (kind, snapshot) in files {
            self.generation = self.generation.max(snapshot.generation);
            if kind == Kind::Snapshot {
                self.snapshots.push((snapshot, id));
                continue;
            }
            if let Err(error) = self.journal(id, node, snapshot, cluster) {
                // What was read of it is good.
                self.complain(id, kind, snapshot, &error)?;
            }
        }
        Ok(())
    }

    fn journal(
        &mut self,
        id: NodeId,
        node: &dyn Node,
        snapshot: SnapshotId,
        cluster: ClusterId,
    ) -> Result<()> {
        let mut last: Option<Point> = None;
        read_frames(id, node, Kind::Journal, snapshot, JOURNAL_BYTES_MAX, &mut |content| {
            let Some(before) = last else {
                let head: JournalHead = decode(content)?;
                if head.format != FORMAT || head.cluster != cluster {
                    return Err(Error::Damaged("it is of another cluster or format".into()));
                }
                last = Some(head.after);
                return Ok(());
            };
            let entry: Entry = decode(content)?;
            if !entry.follows(before) {
                return Err(Error::Damaged(format!("entry {} follows nothing", entry.id)));
            }
            last = Some(entry.point());
            let same = self.entries.entry(entry.id).or_default();
            if !same.iter().any(|(_, known)| known.chain == entry.chain) {
                same.push((snapshot.generation, entry));
            }
            Ok(())
        })
        .map(drop)
    }

    /// Puts the newest snapshot that is whole into the file.
    fn base(&mut self, nodes: &Nodes, cluster: ClusterId, path: &Path) -> Result<Recovery> {
        let mut snapshots = std::mem::take(&mut self.snapshots);
        snapshots.sort_by_key(|(snapshot, _)| std::cmp::Reverse(*snapshot));
        for (snapshot, id) in snapshots {
            clear(path)?;
            let copied = copy_snapshot(id, node(nodes, id)?, snapshot, cluster, path);
            match copied.and_then(|head| Recovery::from_snapshot(path, &head)) {
                Ok(recovery) => return Ok(recovery),
                Err(error) => self.complain(id, Kind::Snapshot, snapshot, &error)?,
            }
        }
        clear(path)?;
        Recovery::from_nothing(path, cluster)
    }

    /// The entries that follow this point, from whatever journals. Where histories parted, the one
    /// of the highest generation is followed.
    fn history_after(&self, mut point: Point) -> Vec<Entry> {
        let mut history = Vec::new();
        loop {
            let next = self.entries.get(&(point.id + 1)).into_iter().flatten();
            let next = next.filter(|(_, entry)| entry.follows(point));
            let Some((_, entry)) = next.max_by_key(|(generation, _)| *generation) else {
                return history;
            };
            point = entry.point();
            history.push(entry.clone());
        }
    }

    /// Damage is noted and gone around; a node that has gone, or this machine's disk, ends it.
    fn complain(
        &mut self,
        id: NodeId,
        kind: Kind,
        snapshot: SnapshotId,
        error: &Error,
    ) -> Result<()> {
        let why = match error {
            Error::Damaged(_) => error.to_string(),
            Error::Node { why: NodeFailure::Refused(why), .. } => why.clone(),
            other => return Err(Error::other(other.code(), other.to_string())),
        };
        let name = file_name(kind, snapshot);
        self.damaged.push(format!("node {id}: backup/{name} is damaged: {why}"));
        Ok(())
    }
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

fn copy_snapshot(
    id: NodeId,
    node: &dyn Node,
    snapshot: SnapshotId,
    cluster: ClusterId,
    path: &Path,
) -> Result<SnapshotHead> {
    let failed = |e| Error::io(format!("cannot write {}", path.display()))(e);
    let mut file = RealDisk.create(path).map_err(failed)?;
    let (mut head, mut bytes): (Option<SnapshotHead>, u64) = (None, 0);
    let damaged = |what: &str| Error::Damaged(what.into());
    let torn = read_frames(id, node, Kind::Snapshot, snapshot, u64::MAX, &mut |content| {
        let Some(known) = &head else {
            let found: SnapshotHead = decode(content)?;
            if found.format != FORMAT || found.cluster != cluster || found.id() != snapshot {
                return Err(damaged("it is of another cluster or format"));
            }
            head = Some(found);
            return Ok(());
        };
        bytes += content.len() as u64;
        if bytes > known.bytes {
            return Err(damaged("it is longer than it says"));
        }
        file.append(content).map_err(failed)
    })?;
    match head {
        Some(head) if bytes == head.bytes && !torn => {
            file.sync().map_err(failed)?;
            Ok(head)
        }
        _ => Err(damaged("it was cut off")),
    }
}

/// Reads a file of a node's backup frame by frame, up to so many bytes. True if it ends in the
/// middle of one.
fn read_frames(
    id: NodeId,
    node: &dyn Node,
    kind: Kind,
    snapshot: SnapshotId,
    bytes_max: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<bool> {
    let (mut offset, mut bytes) = (0, Vec::new());
    while offset < bytes_max {
        let part = match node.backup(&Ask::Read { kind, id: snapshot, offset }, &[])? {
            (Answer::Bytes, part) if part.len() <= CHUNK_BYTES => part,
            _ => return Err(out_of_turn(id)),
        };
        if part.is_empty() {
            break;
        }
        offset += part.len() as u64;
        bytes.extend_from_slice(&part);
        let mut done = 0;
        while let Some((content, length)) = read_frame(&bytes[done..])? {
            take(content)?;
            done += length;
        }
        bytes.drain(..done);
    }
    Ok(!bytes.is_empty())
}
