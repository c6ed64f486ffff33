//! A node's store, fed by a server that may say anything: entries that fit and entries that do not,
//! pieces, snapshots, and crashes in between. What is decided stays, what is in the journal is one
//! history, no file is touched outside of the folders of the users that are named, and what has a name
//! in the view is a whole block.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use palk::core::code::checksum;
use palk::core::code::coded::CodedStripe;
use palk::core::code::layout::Layout;
use palk::core::code::repair::Select;
use palk::core::node::store::BlockStore;
use palk::core::path::{FilePath, FolderPath, UserName, parse_block_file_name};
use palk::core::types::{
    Claim, ClusterId, Digest, Moment, NodeId, NodeSet, Seq, ServerId, VersionId,
};
use palk::core::wire::journal::{Change, Entry, Point, Told};
use palk::core::wire::node::{Append, InlinePiece, PieceMeta, Place};
use palk::core::wire::snapshot::{FORMAT, SnapshotHead, SnapshotRequest};
use palk::core::wire::trailer::MAGIC;

use super::bytes::Bytes;
use super::memory::MemoryDisk;

const ROOT: &str = "/node";
const CLUSTER: ClusterId = ClusterId([1; 16]);
const CLAIM: Claim = Claim { epoch: 1, server: ServerId([1; 16]) };

/// What is done to one store.
const STEPS_MAX: usize = 48;

/// How many entries there are in one message.
const ENTRIES_MAX: u8 = 4;

pub(crate) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let node = NodeId::ALL[usize::from(input.u8() % 4)];
    let mut fed = Fed::new(node);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        fed.step(&mut input);
    }
    fed.work_off();
    fed.check_files();
}

/// Has a node follow these changes, on a disk that lets nobody out.
pub(crate) fn follow(node: NodeId, changes: Vec<Change>) {
    let mut fed = Fed::new(node);
    let prev = fed.points[0];
    let entries = fed.entries(prev, changes);
    fed.append(&Append { prev, decided: u64::MAX, entries, pieces: Vec::new() }, &[]);
    fed.work_off();
    fed.check_files();
}

struct Fed {
    disk: MemoryDisk,
    store: BlockStore,
    /// Of all histories that the server has ever told of.
    points: Vec<Point>,
    /// What the store has called decided.
    decided: Point,
    users: Vec<UserName>,
}

fn open(disk: &MemoryDisk, node: NodeId) -> BlockStore {
    let opened = BlockStore::open(Arc::new(disk.clone()), Path::new(ROOT), node);
    let store = opened.expect("a folder of its own opens");
    store.register(CLUSTER, CLAIM, Duration::ZERO).expect("it serves nobody else");
    store
}

impl Fed {
    fn new(node: NodeId) -> Fed {
        let disk = MemoryDisk::new(&[], &[ROOT]);
        let store = open(&disk, node);
        let start = Point::start(CLUSTER);
        Fed { disk, store, points: vec![start], decided: start, users: Vec::new() }
    }

    fn step(&mut self, input: &mut Bytes<'_>) {
        match input.u8() % 12 {
            0..=5 => self.append_some(input),
            6 => self.store.decided(input.u8().into()),
            7 => self.work_off(),
            8 => self.reopen(),
            9 => self.give_snapshot(input),
            10 => self.stage(input),
            _ => self.ask(input),
        }
        self.check();
    }

    fn reopen(&mut self) {
        let before = self.store.journal_state().expect("a disk without faults");
        self.store = open(&self.disk, self.store.id());
        let after = self.store.journal_state().expect("a disk without faults");
        assert_eq!((after.end, after.gap), (before.end, before.gap), "what is there is durable");
        assert!(after.decided <= before.decided);
        self.note_decided(after.decided);
    }

    /// A known point, mostly the last one.
    fn point(&self, input: &mut Bytes<'_>) -> Point {
        match input.u8() {
            at @ 0..=63 => self.points[usize::from(at) % self.points.len()],
            _ => self.store.journal_state().expect("a disk without faults").end,
        }
    }

    /// The entries of these changes behind a point, in its epoch or a later one.
    fn entries(&mut self, after: Point, changes: Vec<Change>) -> Vec<Entry> {
        let mut point = after;
        let mut entries = Vec::new();
        for change in changes {
            self.users.extend(user(&change).cloned());
            let Ok(record) = change.encode() else { continue };
            let entry = Entry::after(point, point.epoch.max(1), 0, record);
            point = entry.point();
            self.points.push(point);
            entries.push(entry);
        }
        entries
    }

    fn append_some(&mut self, input: &mut Bytes<'_>) {
        let mut prev = self.point(input);
        let how = input.u8();
        if how & 1 != 0 {
            prev.epoch += 1; // no entry has it, so it is nowhere
        }
        let (mut changes, mut pieces, mut body) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..input.u8() % (ENTRIES_MAX + 1) {
            let Some(change) = change(input) else { continue };
            if let Change::Stored { bytes, inline: true, .. } = &change
                && input.u8() & 3 != 0
            {
                let file = vec![7; usize::try_from(*bytes).unwrap_or_default()];
                let coded = CodedStripe::of_file(&file);
                let (units, checksums) = coded.for_node(self.store.id());
                body.extend_from_slice(units);
                let entry = u16::try_from(changes.len()).unwrap_or_default();
                let unit_bytes = u32::try_from(coded.unit_bytes()).unwrap_or_default();
                pieces.push(InlinePiece { entry, unit_bytes, checksums });
            }
            changes.push(change);
        }
        let mut entries = self.entries(prev, changes);
        let decided = u64::from(input.u8());
        match how >> 1 & 15 {
            0 => body.truncate(body.len() / 2),
            1 => body.extend_from_slice(input.short()),
            2 => pieces.iter_mut().for_each(|piece| piece.unit_bytes ^= 1 << (how >> 5)),
            3 => pieces.iter_mut().for_each(|piece| piece.entry += 1),
            4 => entries.iter_mut().for_each(|entry| entry.id += 1),
            5 => drop(entries.pop()),
            6 if !body.is_empty() => body[0] ^= 1,
            7 => entries.reverse(),
            _ => {}
        }
        self.append(&Append { prev, decided, entries, pieces }, &body);
    }

    fn append(&mut self, append: &Append, body: &[u8]) {
        // Whatever becomes of it, `check` looks at what is there then.
        let _ = self.store.append(append, body);
        self.check();
    }

    fn give_snapshot(&mut self, input: &mut Bytes<'_>) {
        let mut point = self.point(input);
        let kind = input.u8();
        if kind & 1 != 0 {
            // Beyond all that the node has.
            let changes = (0..=kind >> 5).filter_map(|_| change(input)).collect();
            let entries = self.entries(point, changes);
            point = entries.last().map_or(point, Entry::point);
        }
        let changes: Vec<Change> = (0..input.u8() % 4).filter_map(|_| change(input)).collect();
        self.users.extend(changes.iter().filter_map(user).cloned());
        let told = |(at, change)| Told { at: Moment(at), change };
        let changes: Vec<Told> = (1..).zip(changes).map(told).collect();
        let Ok(chunk) = postcard::to_stdvec(&changes) else { return };
        let head = SnapshotHead { format: FORMAT, cluster: CLUSTER, at: point, chunks: 1 };
        let checksum = checksum::unit(&chunk);
        let requests = [
            (SnapshotRequest::Begin(head), &[][..]),
            (SnapshotRequest::Chunk { index: u64::from(kind >> 1 & 1), checksum }, &chunk),
            (SnapshotRequest::End, &[]),
        ];
        for (request, body) in requests {
            let _ = self.store.snapshot(Some(CLUSTER), &request, body, &mut Vec::new());
        }
    }

    fn stage(&mut self, input: &mut Bytes<'_>) {
        let version = version(input);
        let Some(place) = place(input) else { return };
        let file_bytes = u64::from(input.u8());
        let meta = PieceMeta { version, place, file_bytes, stored_ms: 0, repair: true, part: None };
        let Ok(mut stage) = self.store.stage(meta) else { return };
        let unit = vec![0; Layout::new(file_bytes).unit_bytes(0)];
        if stage.units([&unit, &unit], [checksum::unit(&unit); 2]).is_ok() && input.u8() & 1 == 0 {
            let _ = stage.finish(Seq(1), Digest([0; 32]));
        }
    }

    fn ask(&mut self, input: &mut Bytes<'_>) {
        let version = version(input);
        match input.u8() % 4 {
            0 => drop(self.store.discard(&[version])),
            1 => drop(self.store.check_view()),
            2 => drop(self.store.close_gap(input.u8().into())),
            _ => {
                let mut piece = self.store.open_piece(version);
                let _ = piece.units(0, Select::Both, &mut Vec::new());
            }
        }
    }

    fn work_off(&mut self) {
        while self.store.write_out().expect("a disk without faults") {}
        while self.store.follow().expect("a disk without faults") {}
    }

    fn note_decided(&mut self, id: u64) {
        let known = self.store.point_at(id).expect("a disk without faults");
        if let Some(point) = known {
            self.decided = point;
        }
    }

    fn check(&mut self) {
        let state = self.store.journal_state().expect("a disk without faults");
        assert!(self.points.contains(&state.end), "{state:?} is of no history");
        assert!(state.decided <= state.end.id && state.snapshot <= state.end.id, "{state:?}");
        assert!(self.decided.id <= state.end.id, "what was decided is gone: {state:?}");
        let there = self.store.point_at(self.decided.id).expect("a disk without faults");
        assert!(there.is_none_or(|there| there == self.decided), "decided otherwise: {state:?}");
        self.note_decided(state.decided);

        let (mut point, mut count) = (self.decided, 0);
        let listed = self.store.entries(point, &mut |entries| {
            for entry in entries {
                assert!(entry.follows(point), "{entry:?} does not follow {point:?}");
                point = entry.point();
                count += 1;
            }
            Ok(())
        });
        assert!(listed.is_err() || point == state.end, "{count} entries lead to {point:?}");

        let pieces = self.store.pieces(None, 100).expect("a disk without faults");
        assert!(pieces.is_sorted());
        let lacks = self.store.lacks(&pieces).expect("a disk without faults");
        assert!(lacks.iter().all(|version| pieces.contains(version)));
    }

    fn check_files(&self) {
        for path in self.disk.paths() {
            let inside = path.strip_prefix(ROOT).expect("the disk lets nobody out");
            let mut parts = inside.iter().map(|part| part.to_str().expect("names are text"));
            match parts.next() {
                Some(".palk" | "backup") => {}
                top => {
                    let is_known = self.users.iter().any(|user| top == Some(user.as_str()));
                    assert!(is_known, "{path:?} is nobody's");
                    if !self.disk.is_folder(&path) {
                        let name = parts.next_back().and_then(parse_block_file_name);
                        assert!(name.is_some(), "{path:?} is not called like a block");
                        assert!(self.disk.bytes(&path).ends_with(&MAGIC), "{path:?} is no block");
                    }
                }
            }
        }
    }
}

fn user(change: &Change) -> Option<&UserName> {
    match change {
        Change::Stored { place, .. } | Change::Named { place, .. } | Change::Deleted { place } => {
            Some(&place.user)
        }
        Change::FolderMade { user, .. }
        | Change::FolderRemoved { user, .. }
        | Change::FolderBegun { user }
        | Change::FolderFilled { user, .. }
        | Change::FolderAttached { user, .. }
        | Change::Moved { user, .. }
        | Change::UserMade { user, .. }
        | Change::PasswordSet { user, .. }
        | Change::UserDisabled { user, .. }
        | Change::QuotaSet { user, .. }
        | Change::AdminSet { user, .. }
        | Change::UserRemoved { user }
        | Change::KeyMade { user, .. }
        | Change::TokenMade { user, .. } => Some(user),
        _ => None,
    }
}

fn version(input: &mut Bytes<'_>) -> VersionId {
    VersionId([input.u8() % 8; 16])
}

fn place(input: &mut Bytes<'_>) -> Option<Place> {
    let user = UserName::parse(["demo", "ann"][usize::from(input.u8() % 2)]).ok()?;
    Some(Place { user, path: path(input)? })
}

/// A short path, or whatever the input has.
fn path(input: &mut Bytes<'_>) -> Option<FilePath> {
    const NAMES: [&str; 8] = ["a", "b", "up/a", "up/b", "up/deep/a", "a_A1", "up", "a.txt"];
    match input.u8() {
        at @ 0..=127 => FilePath::parse_rooted(NAMES[usize::from(at) % NAMES.len()]).ok(),
        _ => FilePath::parse_rooted(&input.text()).ok(),
    }
}

/// The entries before the 16th are of these moments, as their time is 0.
fn key(input: &mut Bytes<'_>) -> Moment {
    Moment((input.u8() % 16).into())
}

fn change(input: &mut Bytes<'_>) -> Option<Change> {
    let kind = input.u8() % 17;
    let version = version(input);
    let Place { user, path } = place(input)?;
    let folder = || FolderPath::parse(path.as_str()).ok();
    Some(match kind {
        0 => Change::UserMade { user, password: String::new(), created_ms: 0 },
        1 => Change::UserRemoved { user },
        2 => Change::FolderMade { user, folder: folder()? },
        3 => Change::FolderRemoved { user, folder: folder()? },
        4..=6 => Change::Stored {
            place: Place { user, path },
            version,
            seq: Seq(u64::from(input.u8())),
            bytes: u64::from(input.u8()),
            blake3: Digest([0; 32]),
            stored_ms: 0,
            placed: NodeSet::from_bits(input.u8() % 16),
            inline: kind == 4,
            by: String::new(),
            attributes: Default::default(),
        },
        7 => Change::Deleted { place: Place { user, path } },
        8 => Change::Moved { user, from: path, to: self::path(input)? },
        9 => Change::Dropped { versions: vec![version] },
        10 => Change::Placed {
            node: NodeId::ALL[usize::from(input.u8() % 4)],
            versions: vec![version],
        },
        11 => {
            let node = NodeId::ALL[usize::from(input.u8() % 4)];
            Change::Lost { node, counted: false, versions: vec![version] }
        }
        12 => Change::Named { place: Place { user, path }, version },
        13 => Change::FolderBegun { user },
        14 => {
            let (key, folders) = (key(input), vec![self::path(input)?]);
            Change::FolderFilled { user, key, folders, files: vec![(path, version)] }
        }
        15 => {
            let to = if input.u8() & 3 == 0 { FolderPath::top() } else { folder()? };
            Change::FolderAttached { user, key: key(input), to }
        }
        _ => Change::FoldersForgotten { keys: vec![key(input)] },
    })
}
