//! What the tests of a node share: a disk that can be made to fail, and a history to send.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::code::coded::CodedStripe;
use crate::core::io::disk::{Disk, FileIdentity, Listed, ReadFile, RealDisk, Space, WriteFile};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{ClusterId, Digest, NodeId, NodeSet, Seq, VersionId};
use crate::core::wire::journal::{Change, Entry, Point};
use crate::core::wire::node::{Append, InlinePiece, Place};

pub(super) const CLUSTER: ClusterId = ClusterId([1; 16]);

/// The node of the tests.
pub(super) const NODE: NodeId = NodeId::ALL[1];

pub(super) fn version(n: u8) -> VersionId {
    VersionId([n; 16])
}

pub(super) fn place(path: &str) -> Place {
    Place { user: UserName::parse("demo").unwrap(), path: FilePath::parse_rooted(path).unwrap() }
}

/// What happens while a call is under way.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// The machine's disk, whose calls are counted and can be made to fail.
#[derive(Clone, Default)]
pub(super) struct TestDisk(Arc<Mutex<Tampering>>);

#[derive(Default)]
struct Tampering {
    free_bytes: Option<u64>,
    free_files: Option<u64>,
    /// Why no folder may be written to, as a number of the system.
    read_only: Option<i32>,
    calls: BTreeMap<&'static str, u64>,
    /// The call that fails, which of them from now, and with which number of the system.
    fail: Option<(&'static str, u64, i32)>,
    /// The call right before which something else happens.
    meanwhile: Option<(&'static str, Meanwhile)>,
}

impl TestDisk {
    pub(super) fn leave_free(&self, bytes: u64) {
        self.0.lock().free_bytes = Some(bytes);
    }

    pub(super) fn leave_files(&self, files: u64) {
        self.0.lock().free_files = Some(files);
    }

    /// No folder may be written to, for a reason with this number of the system, or all may again.
    pub(super) fn be_read_only(&self, number: Option<i32>) {
        self.0.lock().read_only = number;
    }

    /// How often this was called.
    pub(super) fn calls(&self, name: &str) -> u64 {
        self.0.lock().calls.get(name).copied().unwrap_or_default()
    }

    /// The next such call fails with this number of the system.
    pub(super) fn fail_next(&self, name: &'static str, number: i32) {
        self.fail_nth(name, 0, number);
    }

    /// The call behind the next `nth` ones fails.
    pub(super) fn fail_nth(&self, name: &'static str, nth: u64, number: i32) {
        self.0.lock().fail = Some((name, nth, number));
    }

    /// This happens right before the next such call.
    pub(super) fn before_next(&self, name: &'static str, act: impl FnOnce() + Send + 'static) {
        self.0.lock().meanwhile = Some((name, Box::new(act)));
    }

    /// Has what was to happen before a call happened?
    pub(super) fn has_happened(&self) -> bool {
        self.0.lock().meanwhile.is_none()
    }

    fn call(&self, name: &'static str) -> io::Result<()> {
        let meanwhile = self.0.lock().meanwhile.take_if(|(call, _)| *call == name);
        if let Some((_, act)) = meanwhile {
            act();
        }
        let mut own = self.0.lock();
        *own.calls.entry(name).or_default() += 1;
        match &mut own.fail {
            Some((failing, nth, _)) if *failing == name && *nth > 0 => *nth -= 1,
            Some((failing, _, number)) if *failing == name => {
                let number = *number;
                own.fail = None;
                return Err(io::Error::from_raw_os_error(number));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Disk for TestDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        self.call("create")?;
        Ok(Box::new(TestFile(RealDisk.create(path)?, self.clone())))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.call("open")?;
        Ok(Box::new(TestReader(RealDisk.open(path)?, self.clone())))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call("exists")?;
        RealDisk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename")?;
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove")?;
        RealDisk.remove(path)
    }
    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        RealDisk.create_folder(path)
    }
    fn remove_folder(&self, path: &Path) -> io::Result<bool> {
        RealDisk.remove_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.call("sync_folder")?;
        RealDisk.sync_folder(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        RealDisk.list(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        let own = self.0.lock();
        let space = RealDisk.space(path)?;
        Ok(Space {
            free_bytes: own.free_bytes.unwrap_or(space.free_bytes),
            total_bytes: own.free_bytes.map_or(space.total_bytes, |_| 1 << 40),
            free_files: own.free_files.unwrap_or(u64::MAX),
        })
    }
    fn may_write(&self, path: &Path) -> io::Result<()> {
        match self.0.lock().read_only {
            Some(number) => Err(io::Error::from_raw_os_error(number)),
            None => RealDisk.may_write(path),
        }
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("link")?;
        RealDisk.link(from, to)
    }
    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        RealDisk.identity(path)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.call("sync_all")?;
        RealDisk.sync_all(path)
    }
    fn append_to(&self, path: &Path, length: u64) -> io::Result<Box<dyn WriteFile>> {
        self.call("append_to")?;
        Ok(Box::new(TestFile(RealDisk.append_to(path, length)?, self.clone())))
    }
}

struct TestFile(Box<dyn WriteFile>, TestDisk);

impl WriteFile for TestFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.1.call("append") {
            // As a full disk takes it: half of it.
            self.0.append(&bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        self.0.append(bytes)
    }
    fn write_ahead(&mut self, bytes: u64) -> io::Result<()> {
        if let Err(e) = self.1.call("write_ahead") {
            self.0.write_ahead(bytes / 2)?;
            return Err(e);
        }
        self.0.write_ahead(bytes)
    }
    fn ahead_bytes(&self) -> u64 {
        self.0.ahead_bytes()
    }
    fn begin_sync(&mut self) {
        self.0.begin_sync();
    }
    fn sync(&mut self) -> io::Result<()> {
        self.1.call("sync")?;
        self.0.sync()
    }
}

struct TestReader(Box<dyn ReadFile>, TestDisk);

impl ReadFile for TestReader {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.call("read")?;
        self.0.read_exact_at(buffer, offset)
    }
}

/// The history of a server, and the appends that bring it to a node.
#[derive(Clone)]
pub(super) struct History {
    pub(super) epoch: u64,
    pub(super) entries: Vec<Entry>,
    files: BTreeMap<u64, Vec<u8>>,
}

impl Default for History {
    fn default() -> History {
        History { epoch: 1, entries: Vec::new(), files: BTreeMap::new() }
    }
}

impl History {
    pub(super) fn end(&self) -> Point {
        self.point(self.entries.len())
    }

    /// The entry with this number; 0 is the beginning.
    pub(super) fn point(&self, id: usize) -> Point {
        match id.checked_sub(1) {
            Some(at) => self.entries[at].point(),
            None => Point::start(CLUSTER),
        }
    }

    pub(super) fn add(&mut self, change: &Change) -> &mut History {
        let entry = Entry::after(self.end(), self.epoch, 0, change.encode().unwrap());
        self.entries.push(entry);
        self
    }

    /// Adds an entry of no consequence for a node.
    pub(super) fn add_token(&mut self, n: u8) -> &mut History {
        self.add(&Change::TokenUsed { hash: Digest([n; 32]), used_ms: 0 })
    }

    pub(super) fn add_dropped(&mut self, versions: &[u8]) -> &mut History {
        self.add(&Change::Dropped { versions: versions.iter().map(|n| version(*n)).collect() })
    }

    /// Stores version `n` on all nodes, as a file of `bytes` bytes that are all `n`.
    pub(super) fn add_stored(&mut self, n: u8, bytes: usize, inline: bool) -> &mut History {
        self.add(&Change::Stored {
            place: place(&format!("file {n}")),
            version: version(n),
            seq: Seq(n.into()),
            bytes: bytes as u64,
            blake3: Digest([n; 32]),
            stored_ms: 5,
            placed: NodeSet::ALL,
            inline,
            by: String::new(),
            attributes: Default::default(),
        });
        if inline {
            self.files.insert(self.end().id, vec![n; bytes]);
        }
        self
    }

    /// The two units of the node of the tests of an entry's file.
    pub(super) fn units(&self, id: u64) -> Vec<u8> {
        CodedStripe::of_file(&self.files[&id]).for_node(NODE).0.to_vec()
    }

    /// The append of the entries behind `after` up to `upto`, with their pieces or without.
    pub(super) fn append(&self, after: usize, upto: usize, with_pieces: bool) -> (Append, Vec<u8>) {
        let entries = self.entries[after..upto].to_vec();
        let (mut pieces, mut body) = (Vec::new(), Vec::new());
        for (at, entry) in entries.iter().enumerate() {
            if let Some(file) = self.files.get(&entry.id).filter(|_| with_pieces) {
                let coded = CodedStripe::of_file(file);
                let (units, checksums) = coded.for_node(NODE);
                let unit_bytes = u32::try_from(coded.unit_bytes()).unwrap();
                let entry = u16::try_from(at).unwrap();
                pieces.push(InlinePiece { entry, unit_bytes, checksums });
                body.extend_from_slice(units);
            }
        }
        (Append { prev: self.point(after), decided: 0, entries, pieces }, body)
    }
}
