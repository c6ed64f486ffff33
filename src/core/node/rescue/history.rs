//! What everything is called, by the snapshots and journals in the nodes' `backup/` folders.
//!
//! ```text
//!   snapshot ──▶ entry ──▶ entry ──▶ entry ──▶ entry    the best end that can be traced back
//!                             ╰────▶ entry              a tail that another server gave up
//! ```
//!
//! Entries of all folders form one tree: an entry's chain names all of the history before it. Of the
//! ends, the one of the highest rank counts (as for a server that takes over) that can be traced back
//! to a whole snapshot or to the beginning, through whichever folder has the entries. A last write that
//! a crash has cut off was never answered and is no damage. Any other gap is told where it may have
//! cost changes.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::joined::Joins;
use super::walk::{BlockAt, Named, State, Unread};
use crate::core::chronicle::Chronicle;
use crate::core::code::layout::Layout;
use crate::core::error::{Error, Result};
use crate::core::io::disk::{Disk, ReadFile};
use crate::core::io::reason;
use crate::core::names::Names;
use crate::core::node::frames::{FrameReader, NextFrame};
use crate::core::types::{FileAttributes, Moment, NodeId, Seq, VersionId};
use crate::core::wire::journal::{Chain, Change, Point};
use crate::core::wire::snapshot::{self, Logged, SegmentHead, SnapshotHead};

/// Names, and how far the history that they are from goes.
#[derive(Debug)]
pub(super) struct History {
    pub(super) names: Names,
    /// What everything was called before.
    pub(super) chronicle: Chronicle,
    /// What versions keep besides their bytes.
    pub(super) attributes: HashMap<VersionId, FileAttributes>,
    /// What is made of extents.
    pub(super) joins: Joins,
    /// Its last entry.
    pub(super) end: Point,
    /// The highest sequence number in it.
    pub(super) last_seq: Seq,
}

impl History {
    /// Without any change, up to this point.
    pub(super) fn starting_at(end: Point) -> History {
        let (names, chronicle) = (Names::default(), Chronicle::default());
        let (attributes, joins) = (HashMap::new(), Joins::default());
        History { names, chronicle, attributes, joins, end, last_seq: Seq(0) }
    }

    /// Takes in the next change.
    pub(super) fn apply(&mut self, at: Moment, change: &Change) {
        match change {
            Change::Stored { seq, version, attributes, .. } => {
                self.last_seq = self.last_seq.max(*seq);
                self.attributes.insert(*version, *attributes);
            }
            Change::Kept(kept)
            | Change::UploadCompleted { kept, .. }
            | Change::ExtentStored { kept, .. } => {
                self.last_seq = self.last_seq.max(kept.seq);
                self.attributes.insert(kept.version, kept.attributes);
            }
            Change::AttributesSet { version, attributes } => {
                self.attributes.insert(*version, *attributes);
            }
            Change::Dropped { versions } => {
                for version in versions {
                    self.attributes.remove(version);
                }
            }
            _ => {}
        }
        self.joins.apply(change);
        self.names.apply(at, change);
        self.chronicle.apply(at, change);
    }
}

/// An entry and what it follows.
struct Link {
    before: Chain,
    point: Point,
    record: Vec<u8>,
}

/// The snapshots and journals of some folders.
#[derive(Default)]
pub(super) struct Journals {
    snapshots: HashMap<Chain, Vec<(SnapshotHead, PathBuf)>>,
    entries: HashMap<Chain, Link>,
    /// Where histories begin.
    starts: HashMap<Chain, Point>,
    /// What cannot be read, and the last entry before it.
    broken: Vec<(u64, Unread)>,
    /// The folders that have any of it.
    folders: Vec<PathBuf>,
}

impl Journals {
    /// How many folders have a journal or a snapshot.
    pub(super) fn folders(&self) -> usize {
        self.folders.len()
    }

    /// Reads a node's folder. Pieces that came with entries are added to `pieces`.
    pub(super) fn read(
        &mut self,
        disk: &dyn Disk,
        root: &Path,
        id: NodeId,
        pieces: &mut Vec<Named>,
    ) {
        let folder = root.join("backup");
        let listed = match disk.list(&folder) {
            Ok(listed) => listed,
            Err(e) if e.kind() == ErrorKind::NotFound => return,
            Err(e) => return self.broken(u64::MAX, &folder, reason(&e)),
        };
        for entry in listed.iter().filter(|entry| !entry.is_folder) {
            let at = folder.join(&entry.name);
            let is_snapshot = snapshot::parse_snapshot_name(&entry.name).is_some();
            let read = if is_snapshot {
                self.snapshot_head(disk, &at)
            } else if snapshot::parse_segment_name(&entry.name).is_some() {
                self.segment(disk, &at, id, pieces)
            } else {
                continue;
            };
            match read {
                Ok(()) if self.folders.contains(&folder) => {}
                Ok(()) => self.folders.push(folder.clone()),
                // A snapshot is needed only if there is no other one, which `best` finds out.
                Err(_) if is_snapshot => {}
                Err(why) => self.broken(u64::MAX, &at, why.to_string()),
            }
        }
    }

    fn snapshot_head(&mut self, disk: &dyn Disk, at: &Path) -> Result<()> {
        let file = disk.open(at).map_err(Error::io("it cannot be opened"))?;
        let head: SnapshotHead = read_head(&mut frames(&*file, 0)?)?;
        check_format(head.format)?;
        self.snapshots.entry(head.at.chain).or_default().push((head, at.to_path_buf()));
        Ok(())
    }

    fn segment(
        &mut self,
        disk: &dyn Disk,
        at: &Path,
        id: NodeId,
        pieces: &mut Vec<Named>,
    ) -> Result<()> {
        let file = disk.open(at).map_err(Error::io("it cannot be opened"))?;
        let mut frames = frames(&*file, 0)?;
        let head: SegmentHead = read_head(&mut frames)?;
        check_format(head.format)?;
        let start = Point::start(head.cluster);
        self.starts.insert(start.chain, start);
        let mut last = head.after;
        loop {
            let offset = frames.at();
            let what = match frames.next() {
                Ok(NextFrame::End) => return Ok(()),
                Ok(NextFrame::Content(content)) => match snapshot::decode::<Logged>(&content) {
                    Ok(Logged { entry, piece }) if entry.follows(last) => {
                        if let Some(units) = piece {
                            pieces.extend(blocks(&entry.record, &units, id, at, offset));
                        }
                        let (before, point) = (last.chain, entry.point());
                        let link = Link { before, point, record: entry.record };
                        self.entries.insert(point.chain, link);
                        last = point;
                        continue;
                    }
                    Ok(_) => "its entry does not follow the one before it".to_owned(),
                    Err(e) => e.to_string(),
                },
                // Nobody was told of an append that a crash has cut short.
                Ok(NextFrame::Broken) if frames.is_cut_short().unwrap_or(false) => return Ok(()),
                Ok(NextFrame::Broken) => "its bytes do not match their checksum".to_owned(),
                Err(e) => format!("it cannot be read: {}", reason(&e)),
            };
            self.broken(
                last.id,
                at,
                format!("damaged behind entry {} of the journal: {what}", last.id),
            );
            return Ok(());
        }
    }

    fn broken(&mut self, last: u64, at: &Path, why: String) {
        self.broken.push((last, Unread { at: at.to_path_buf(), why }));
    }

    /// One of the folders that the entries are from, for people.
    fn folder(&self) -> PathBuf {
        self.folders.first().cloned().unwrap_or_default()
    }

    /// The names by the best history, if there is any; what may be missing from it is added to
    /// `unread`.
    pub(super) fn best(mut self, disk: &dyn Disk, unread: &mut Vec<Unread>) -> Option<History> {
        let heads = self.snapshots.values().flatten().map(|(head, _)| head.at);
        let mut ends: Vec<Point> =
            self.entries.values().map(|link| link.point).chain(heads).collect();
        ends.sort_by_key(Point::rank);
        let mut dead: HashSet<Chain> = HashSet::new();
        let mut lost: Option<Point> = None;
        let mut history = None;
        while let Some(end) = ends.pop() {
            if let Some(found) = self.trace(disk, end, &mut dead, unread) {
                history = Some(found);
                break;
            }
            lost = lost.or(Some(end));
        }
        let end = history.as_ref().map_or(0, |history: &History| history.end.id);
        if let Some(lost) = lost {
            let why = format!(
                "the journal has entries up to {}, but no snapshot that they follow; names are as of \
                 entry {end}",
                lost.id
            );
            unread.push(Unread { at: self.folder(), why });
        }
        let broken = self.broken.into_iter().filter(|(last, _)| *last >= end);
        unread.extend(broken.map(|(_, unread)| unread));
        history
    }

    /// The history that ends there, if it can be traced back to something whole.
    fn trace(
        &mut self,
        disk: &dyn Disk,
        end: Point,
        dead: &mut HashSet<Chain>,
        unread: &mut Vec<Unread>,
    ) -> Option<History> {
        let mut way: Vec<Chain> = Vec::new();
        let mut bad: Vec<Unread> = Vec::new();
        let mut at = end.chain;
        let mut history = loop {
            if dead.contains(&at) {
                dead.extend(way);
                return None;
            }
            let mut whole = None;
            for (head, path) in self.snapshots.remove(&at).into_iter().flatten() {
                whole = whole.or_else(|| {
                    load(disk, &head, &path)
                        .map_err(|why| bad.push(Unread { at: path, why: why.to_string() }))
                        .ok()
                });
            }
            if let Some(history) = whole {
                break history;
            }
            if let Some(start) = self.starts.get(&at) {
                break History::starting_at(*start);
            }
            let Some(link) = self.entries.get(&at) else {
                // One that the history goes on from is missed; any other is not.
                unread.extend(bad);
                dead.insert(at);
                dead.extend(way);
                return None;
            };
            way.push(at);
            at = link.before;
        };
        for link in way.iter().rev().filter_map(|chain| self.entries.get(chain)) {
            match Change::decode(&link.record) {
                Ok(change) => history.apply(link.point.at, &change),
                Err(why) => {
                    let why = format!("entry {}: {why}", link.point.id);
                    unread.push(Unread { at: self.folder(), why });
                    break;
                }
            }
            history.end = link.point;
        }
        Some(history)
    }
}

/// The names that a snapshot holds.
fn load(disk: &dyn Disk, head: &SnapshotHead, at: &Path) -> Result<History> {
    let file = disk.open(at).map_err(Error::io("it cannot be opened"))?;
    let mut frames = frames(&*file, 0)?;
    let mut history = History::starting_at(head.at);
    let _: SnapshotHead = read_head(&mut frames)?;
    for _ in 0..head.chunks {
        let content = next(&mut frames)?.ok_or_else(|| damaged("it ends too early"))?;
        snapshot::decode_chunk(&content)?
            .iter()
            .for_each(|told| history.apply(told.at, &told.change));
    }
    match next(&mut frames)? {
        None => Ok(history),
        Some(_) => Err(damaged("it goes on behind its end")),
    }
}

/// The two blocks that came with an entry.
fn blocks(record: &[u8], units: &[u8], id: NodeId, at: &Path, offset: u64) -> Vec<Named> {
    let Ok(Change::Stored { place, version, seq, bytes, blake3, .. }) = Change::decode(record)
    else {
        return Vec::new();
    };
    if !Layout::checked(bytes)
        .is_some_and(|layout| layout.stripe_count() == 1 && 2 * layout.unit_bytes(0) == units.len())
    {
        return Vec::new();
    }
    let named = |block| Named {
        at: BlockAt::Journal(at.to_path_buf(), offset),
        block,
        state: State { seq, version, file_bytes: bytes, blake3 },
        stored_as: place.clone(),
        part: None,
    };
    id.blocks().map(named).to_vec()
}

/// The entry in the frame at this offset of a segment, and the piece that came with it.
pub(super) fn logged_at(disk: &dyn Disk, at: &Path, offset: u64) -> Result<Logged> {
    let file = disk.open(at).map_err(Error::io("it cannot be opened"))?;
    match next(&mut frames(&*file, offset)?)? {
        Some(content) => snapshot::decode(&content),
        None => Err(damaged("it is shorter now")),
    }
}

fn frames(file: &dyn ReadFile, at: u64) -> Result<FrameReader<'_>> {
    FrameReader::new(file, at).map_err(Error::io("it cannot be read"))
}

fn next(frames: &mut FrameReader<'_>) -> Result<Option<Vec<u8>>> {
    match frames.next().map_err(Error::io("it cannot be read"))? {
        NextFrame::Content(content) => Ok(Some(content)),
        NextFrame::End => Ok(None),
        NextFrame::Broken => Err(damaged("its bytes do not match their checksum")),
    }
}

fn read_head<T: serde::de::DeserializeOwned>(frames: &mut FrameReader<'_>) -> Result<T> {
    let content = next(frames)?.ok_or_else(|| damaged("it is empty"))?;
    snapshot::decode(&content)
}

fn check_format(format: u32) -> Result<()> {
    if format == snapshot::FORMAT {
        return Ok(());
    }
    Err(damaged(&format!("its format {format} is not the {} of this Palk", snapshot::FORMAT)))
}

fn damaged(what: &str) -> Error {
    Error::Damaged(what.to_owned())
}
