//! The catalog's backup in a node's folder: the last two snapshots and the journal behind each.
//!
//! ```text
//!   backup/snapshot-0-4711     the catalog after entry 4711
//!   backup/journal-0-4711      entries 4712 and on, added one by one
//!   backup/snapshot-0-9023     the newest
//!   backup/journal-0-9023
//!   backup/incoming            a snapshot on its way in
//! ```
//!
//! Invariants: a snapshot gets its name when it is whole and synced, and only then is the oldest one
//! removed, so there is always a whole one once there was one. An entry is answered when it is
//! synced. A journal that ends in the middle of an entry (a crash) is cut behind the last whole one
//! before it is added to. After an error of the disk nothing in memory is trusted: the folder is
//! looked through again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::code::checksum;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, ReadFile, WriteFile};
use crate::core::types::{ClusterId, NodeId};
use crate::core::wire::backup::{
    Answer, Ask, CHUNK_BYTES, ENTRIES_MAX, FORMAT, FRAME_HEAD_BYTES, JournalHead, Kind,
    SNAPSHOTS_KEPT, SnapshotHead, SnapshotId, State, decode, file_name, frame, frame_of,
    parse_file_name, read_frame,
};
use crate::core::wire::journal::Entry;

/// What a snapshot is called until it is whole.
const INCOMING: &str = "incoming";

/// A journal that is longer than this is not added to; the server makes a new snapshot long before.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// The most files of a backup that are told of: what is more was put there by somebody else.
const FILES_MAX: usize = 64;

/// The backup in one node's folder.
pub struct Backup {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    id: NodeId,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Nothing until the folder has been looked through.
    current: Option<Option<Current>>,
    incoming: Option<Incoming>,
}

/// The newest snapshot and its journal.
struct Current {
    state: State,
    journal: Option<Box<dyn WriteFile>>,
}

/// A snapshot on its way in.
struct Incoming {
    head: SnapshotHead,
    file: Box<dyn WriteFile>,
    bytes: u64,
}

impl Backup {
    /// The backup in this folder, which is there. Nothing is read yet.
    pub(super) fn new(disk: Arc<dyn Disk>, folder: PathBuf, id: NodeId) -> Backup {
        Backup { disk, folder, id, inner: Mutex::default() }
    }

    /// Does what the server of this cluster asks; the answer's body replaces what is in `out`.
    ///
    /// # Errors
    /// [`NodeFailure::NoSpace`]; [`NodeFailure::Refused`] if it does not fit what is here, or the
    /// disk fails. The backup is what it was before.
    pub fn ask(
        &self,
        cluster: Option<ClusterId>,
        ask: &Ask,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Answer> {
        out.clear();
        let mut inner = self.inner.lock();
        match ask {
            Ask::State => self.state(&mut inner),
            Ask::Begin(head) => self.begin(&mut inner, cluster, head),
            Ask::Chunk { offset, checksum } => self.chunk(&mut inner, *offset, *checksum, body),
            Ask::End => self.end(&mut inner),
            Ask::Append { snapshot, entries } => self.append(&mut inner, *snapshot, entries),
            Ask::List => Ok(Answer::Files(self.files()?)),
            Ask::Read { kind, id, offset } => self.read(*kind, *id, *offset, out),
        }
    }

    fn state(&self, inner: &mut Inner) -> Result<Answer> {
        let current = self.current(inner)?;
        Ok(Answer::State(current.as_ref().map(|current| current.state)))
    }

    fn begin(
        &self,
        inner: &mut Inner,
        cluster: Option<ClusterId>,
        head: &SnapshotHead,
    ) -> Result<Answer> {
        if head.format != FORMAT || cluster != Some(head.cluster) {
            return Err(self.refused("the snapshot is of another cluster or format"));
        }
        inner.incoming = None;
        let begun = (|| -> io::Result<Box<dyn WriteFile>> {
            let mut file = self.disk.create(&self.folder.join(INCOMING))?;
            file.append(&frame_of(head).map_err(|e| io::Error::other(e.to_string()))?)?;
            Ok(file)
        })();
        let file = begun.map_err(|e| self.give_up(inner, &e))?;
        inner.incoming = Some(Incoming { head: *head, file, bytes: 0 });
        Ok(Answer::Done)
    }

    fn chunk(&self, inner: &mut Inner, offset: u64, sum: u64, body: &[u8]) -> Result<Answer> {
        let Some(incoming) = &mut inner.incoming else {
            return Err(self.refused("no snapshot has begun"));
        };
        let length = body.len() as u64;
        let fits = (1..=CHUNK_BYTES).contains(&body.len())
            && offset == incoming.bytes
            && length <= incoming.head.bytes - incoming.bytes;
        if !fits || checksum::unit(body) != sum {
            inner.incoming = None;
            return Err(self.refused("a part of the snapshot was lost or damaged on its way"));
        }
        let appended = incoming.file.append(&frame(body));
        incoming.bytes += length;
        appended.map_err(|e| self.give_up(inner, &e))?;
        Ok(Answer::Done)
    }

    fn end(&self, inner: &mut Inner) -> Result<Answer> {
        let Some(incoming) = inner.incoming.take() else {
            return Err(self.refused("no snapshot has begun"));
        };
        if incoming.bytes != incoming.head.bytes {
            return Err(self.refused("the snapshot ended before all of it had come"));
        }
        // Known again once everything has its name.
        inner.current = None;
        self.finish(incoming).map_err(|e| self.give_up(inner, &e))?;
        self.state(inner)
    }

    /// The journal first: a snapshot without one would look as if nothing had followed it.
    fn finish(&self, mut incoming: Incoming) -> io::Result<()> {
        incoming.file.sync()?;
        drop(incoming.file);
        let head = incoming.head;
        self.begin_journal(&head)?;
        let name = file_name(Kind::Snapshot, head.id());
        self.disk.rename(&self.folder.join(INCOMING), &self.folder.join(name))?;
        self.disk.sync_folder(&self.folder)?;
        self.drop_oldest()
    }

    fn begin_journal(&self, head: &SnapshotHead) -> io::Result<()> {
        let journal = JournalHead {
            format: FORMAT,
            cluster: head.cluster,
            generation: head.generation,
            after: head.at,
        };
        let bytes = frame_of(&journal).map_err(|e| io::Error::other(e.to_string()))?;
        let mut file = self.disk.create(&self.journal_path(head.id()))?;
        file.append(&bytes)?;
        file.sync()?;
        self.disk.sync_folder(&self.folder)
    }

    /// Removes all but the newest snapshots and their journals.
    fn drop_oldest(&self) -> io::Result<()> {
        let files = self.listed()?;
        let mut snapshots: Vec<SnapshotId> =
            files.iter().filter(|(kind, _)| *kind == Kind::Snapshot).map(|(_, id)| *id).collect();
        snapshots.sort();
        let Some(oldest_kept) = snapshots.iter().rev().take(SNAPSHOTS_KEPT).next_back() else {
            return Ok(());
        };
        let old: Vec<_> = files.iter().filter(|(_, id)| id < oldest_kept).collect();
        for (kind, id) in &old {
            self.disk.remove(&self.folder.join(file_name(*kind, *id)))?;
        }
        if old.is_empty() { Ok(()) } else { self.disk.sync_folder(&self.folder) }
    }

    fn append(&self, inner: &mut Inner, snapshot: SnapshotId, entries: &[Entry]) -> Result<Answer> {
        let known = self.current(inner)?.as_ref().map(|current| current.state);
        let Some(mut state) = known.filter(|state| state.snapshot.id() == snapshot) else {
            return Err(self.refused("its newest snapshot is another one"));
        };
        if entries.len() > ENTRIES_MAX || state.journal_bytes > JOURNAL_BYTES_MAX {
            return Err(self.refused("the journal is too long"));
        }
        let mut bytes = Vec::new();
        for entry in entries {
            if !entry.follows(state.last) {
                return Err(self.refused("an entry does not follow the last one here"));
            }
            bytes.extend_from_slice(&frame_of(entry)?);
            state.last = entry.point();
        }
        self.write_entries(inner, &bytes).map_err(|e| self.give_up(inner, &e))?;
        if let Some(Some(current)) = &mut inner.current {
            state.journal_bytes += bytes.len() as u64;
            current.state = state;
        }
        self.state(inner)
    }

    fn write_entries(&self, inner: &mut Inner, bytes: &[u8]) -> io::Result<()> {
        let Some(Some(current)) = &mut inner.current else { return Ok(()) };
        let file = match &mut current.journal {
            Some(file) => file,
            none => {
                let state = &current.state;
                let path = self.journal_path(state.snapshot.id());
                none.insert(self.disk.append_to(&path, state.journal_bytes)?)
            }
        };
        file.append(bytes)?;
        file.sync()
    }

    /// The newest backup, looked for if it is not known.
    fn current<'a>(&self, inner: &'a mut Inner) -> Result<&'a Option<Current>> {
        match &mut inner.current {
            Some(known) => Ok(known),
            unknown => {
                let found = self.find().map_err(|e| self.failed(&e))?;
                Ok(unknown.insert(found))
            }
        }
    }

    fn find(&self) -> io::Result<Option<Current>> {
        let mut snapshots = self.listed()?;
        snapshots.retain(|(kind, _)| *kind == Kind::Snapshot);
        snapshots.sort();
        for (_, id) in snapshots.into_iter().rev() {
            if let Some(head) = self.snapshot_head(id)? {
                return self.journal_of(head).map(Some);
            }
            tracing::warn!("the snapshot {id} of the catalog's backup is damaged");
        }
        Ok(None)
    }

    /// The head of a snapshot, if it can be read and the file has the length that belongs to it.
    fn snapshot_head(&self, id: SnapshotId) -> io::Result<Option<SnapshotHead>> {
        let file = self.disk.open(&self.folder.join(file_name(Kind::Snapshot, id)))?;
        let mut reader = Frames { file: &*file, at: 0, length: file.length()? };
        let Some(content) = reader.next()? else { return Ok(None) };
        let Ok(head) = decode::<SnapshotHead>(&content) else { return Ok(None) };
        let frames = head.bytes.div_ceil(CHUNK_BYTES as u64);
        let expected = reader.at + head.bytes + frames * FRAME_HEAD_BYTES as u64;
        Ok((head.id() == id && head.format == FORMAT && reader.length == expected).then_some(head))
    }

    /// Reads a snapshot's journal up to its last whole entry.
    fn journal_of(&self, snapshot: SnapshotHead) -> io::Result<Current> {
        let path = self.journal_path(snapshot.id());
        let mut state = State { snapshot, last: snapshot.at, journal_bytes: 0 };
        if self.disk.exists(&path)? {
            let file = self.disk.open(&path)?;
            let mut reader = Frames { file: &*file, at: 0, length: file.length()? };
            let head = reader.next()?.and_then(|content| decode::<JournalHead>(&content).ok());
            if head.is_some_and(|head| head.after == snapshot.at && head.format == FORMAT) {
                state.journal_bytes = reader.at;
                while let Some(content) = reader.next()? {
                    match decode::<Entry>(&content) {
                        Ok(entry) if entry.follows(state.last) => state.last = entry.point(),
                        _ => break,
                    }
                    state.journal_bytes = reader.at;
                }
                return Ok(Current { state, journal: None });
            }
        }
        // Lost, or its head is damaged: begun anew.
        self.begin_journal(&snapshot)?;
        let length = self.disk.open(&path)?.length()?;
        Ok(Current { state: State { journal_bytes: length, ..state }, journal: None })
    }

    fn listed(&self) -> io::Result<Vec<(Kind, SnapshotId)>> {
        let listed = self.disk.list(&self.folder)?;
        let files = listed.iter().filter(|entry| !entry.is_folder);
        Ok(files.filter_map(|entry| parse_file_name(&entry.name)).collect())
    }

    fn files(&self) -> Result<Vec<(Kind, SnapshotId)>> {
        let mut files = self.listed().map_err(|e| self.failed(&e))?;
        // The newest first, so that those are told of that matter.
        files.sort_by_key(|(_, id)| std::cmp::Reverse(*id));
        files.truncate(FILES_MAX);
        Ok(files)
    }

    fn read(&self, kind: Kind, id: SnapshotId, offset: u64, out: &mut Vec<u8>) -> Result<Answer> {
        let read = (|| -> io::Result<()> {
            let file = self.disk.open(&self.folder.join(file_name(kind, id)))?;
            let left = file.length()?.saturating_sub(offset);
            out.resize(usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES), 0);
            file.read_exact_at(out, offset)
        })();
        read.map_err(|e| self.failed(&e))?;
        Ok(Answer::Bytes)
    }

    fn journal_path(&self, id: SnapshotId) -> PathBuf {
        self.folder.join(file_name(Kind::Journal, id))
    }

    /// After an error of the disk: what is known of the folder is forgotten, what had begun goes.
    fn give_up(&self, inner: &mut Inner, e: &io::Error) -> Error {
        *inner = Inner::default();
        // If it cannot be removed now, the next snapshot is written over it.
        let _ = self.disk.remove(&self.folder.join(INCOMING));
        self.failed(e)
    }

    fn failed(&self, e: &io::Error) -> Error {
        let why = match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                NodeFailure::NoSpace(String::new())
            }
            _ => NodeFailure::Refused(format!("its disk failed: {e}")),
        };
        Error::node(self.id, why)
    }

    fn refused(&self, why: &str) -> Error {
        Error::node(self.id, NodeFailure::Refused(why.into()))
    }
}

/// The frames of a file, up to the first one that is not whole.
struct Frames<'a> {
    file: &'a dyn ReadFile,
    at: u64,
    length: u64,
}

impl Frames<'_> {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let left = self.length - self.at;
        let mut head = [0; FRAME_HEAD_BYTES];
        if left < FRAME_HEAD_BYTES as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut head, self.at)?;
        let content = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        // The head alone tells an impossible length before memory is taken.
        if read_frame(&head).is_err() || left < (FRAME_HEAD_BYTES + content) as u64 {
            return Ok(None);
        }
        let mut whole = vec![0; FRAME_HEAD_BYTES + content];
        self.file.read_exact_at(&mut whole, self.at)?;
        let Ok(Some((content, length))) = read_frame(&whole) else { return Ok(None) };
        self.at += length as u64;
        Ok(Some(content.to_vec()))
    }
}
