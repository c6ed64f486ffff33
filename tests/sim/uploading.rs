//! What users do with uploads: they begin them, go on with them in any order, complete and drop them.

use std::sync::Arc;

use palk::core::catalog::Upload;
use palk::core::error::{Code, Error, Result};
use palk::core::path::UserName;
use palk::core::range::ByteRange;
use palk::core::types::{FileAttributes, NodeId, Precondition, VersionId};
use palk::core::wire::extended::Which;
use rand::RngExt;

use super::change::{Change, What};
use super::contents::Part;
use super::past::tree_at;
use super::sending::Sending;
use super::server::USERS;
use super::snapshots::at_snapshot;
use super::state::{Item, Tree};
use super::upload::{How, KEPT_US, Label, UploadChange, uploads_of};
use super::users::file;
use super::whole::piece_at;
use super::world::World;

const MIB: usize = 1 << 20;

/// Parts have the numbers from 1 on up to this, so that they are replaced now and then.
const NUMBERS: u32 = 4;

/// A part of a file that becomes a part of an upload.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    /// As this snapshot has it.
    pub(crate) snapshot: Option<&'a str>,
    /// All of it, if that is not told.
    pub(crate) range: Option<[u64; 2]>,
}

impl World {
    pub(crate) fn new_label(&mut self) -> Label {
        Label::try_from(self.site.next()).unwrap()
    }

    /// Bytes that are the same nowhere else.
    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        let (key, mut bytes) = (self.random.random(), vec![0; length]);
        blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn some_noise(&mut self, user: &str) -> Vec<u8> {
        let length = match self.random.random_range(0..8) {
            _ if user == USERS[1] => self.random.random_range(1..4_000),
            0..=3 => self.random.random_range(1..5_000),
            _ if user == USERS[2] => self.random.random_range(1..1_400_000),
            4 => self.random.random_range(1..5) * MIB,
            _ => self.random.random_range(1..9 * MIB / 2),
        };
        self.noise(length)
    }

    fn stops_somewhere(&mut self, from: usize, to: usize) -> Option<usize> {
        self.random.random_bool(0.4).then(|| self.random.random_range(from..=to))
    }

    pub(crate) fn begin_upload_changes(
        &mut self,
        user: &'static str,
        label: Label,
        at_us: i64,
        hows: Vec<How>,
    ) -> u64 {
        let change = |how| {
            let what = What::Upload(UploadChange { label, at_us, how });
            Change { user, what }
        };
        let changes: Vec<Change> = hows.into_iter().map(change).collect();
        let is_uncertain = self.is_uncertain();
        self.model.begin(&changes, is_uncertain)
    }

    /// Something with uploads.
    pub(crate) fn upload_somehow(&mut self, user: &'static str, path: &str, depth: u32) {
        let uploads = self.uploads(user);
        let begins = uploads.len() < 3 && self.random.random_ratio(1, 3);
        if !begins && !uploads.is_empty() {
            let upload = uploads[self.random.random_range(0..uploads.len())].clone();
            return self.go_on_somehow(user, upload, depth);
        }
        match self.random.random_range(0..3) {
            0 => {
                let content = self.some_noise(user);
                let stop = self.stops_somewhere(0, content.len());
                self.store_kept(user, path, content, stop, depth);
            }
            1 => {
                let content = self.some_noise(user);
                let bytes = self.random.random_bool(0.7).then_some(content.len() as u64);
                self.begin_upload(user, path, bytes, Some(content));
            }
            _ => {
                self.begin_upload(user, path, None, None);
            }
        }
    }

    /// The uploads of a user, as the server of the moment knows them.
    pub(crate) fn uploads(&mut self, user: &str) -> Vec<Upload> {
        let catalog = self.server().cluster.catalog.clone();
        let Ok(account) = catalog.account(&UserName::parse(user).unwrap()) else {
            return Vec::new();
        };
        catalog.uploads(account.id, None).unwrap()
    }

    /// Begins an upload; of this content, where it is one by bytes.
    pub(crate) fn begin_upload(
        &mut self,
        user: &'static str,
        path: &str,
        bytes: Option<u64>,
        content: Option<Vec<u8>>,
    ) -> Option<VersionId> {
        let label = self.new_label();
        if let Some(content) = content {
            self.intended.insert(label, Arc::new(content));
        }
        let attributes = FileAttributes { modified_ms: Some(label), kind: None };
        let files = self.server().files.clone();
        let (at, any) = (file(path), Precondition::Any);
        // What is in its way is in the way of its completion, too.
        let how = How::Begin { path: path.to_owned(), bytes };
        let owner = self.user(user).ok()?;
        let begun = self.change_upload(user, label, vec![how], |_| {
            let begun = files.begin_upload(&owner, &at, bytes, any, attributes);
            begun.map_err(|error| match error {
                in_doubt @ Error::InDoubt { .. } => in_doubt,
                other => Error::other(Code::Temporary, other.to_string()),
            })
        });
        begun.ok()
    }

    /// Goes on with an upload in some way.
    fn go_on_somehow(&mut self, user: &'static str, upload: Upload, depth: u32) {
        let (id, label) = (upload.id, upload.attributes.modified_ms.unwrap());
        let Some(content) = self.intended.get(&label).cloned() else {
            return self.go_on_with_parts(user, id, label, depth);
        };
        let arrived = usize::try_from(upload.arrived()).unwrap();
        match self.random.random_range(0..10) {
            0 => _ = self.drop_upload(user, id, label),
            1 => _ = self.complete_upload(user, id, label),
            _ if arrived == content.len() => _ = self.complete_upload(user, id, label),
            _ if !arrived.is_multiple_of(MIB) => {}
            _ => {
                let some = arrived + self.random.random_range(1..3) * MIB;
                let is_all = some > content.len() || self.random.random_bool(0.6);
                let to = if is_all { content.len() } else { some };
                let stop = self.stops_somewhere(arrived, to);
                if self.send_to(user, (id, label), to, stop, depth) && self.random.random_bool(0.5)
                {
                    self.complete_upload(user, id, label);
                }
            }
        }
    }

    /// Sends an upload by bytes from where it is.
    pub(crate) fn send_to(
        &mut self,
        user: &'static str,
        (id, label): (VersionId, Label),
        to: usize,
        stop: Option<usize>,
        depth: u32,
    ) -> bool {
        let content = self.intended[&label].clone();
        let own = self.uploads(user).into_iter().find(|own| own.id == id);
        let from = own.map_or(0, |own| usize::try_from(own.arrived()).unwrap());
        let (begun, span) = (None, from..to);
        let sending =
            Sending { user, label, begun, number: 0, content: &content, span, stop, depth };
        from < to && self.send(id, &sending)
    }

    fn go_on_with_parts(&mut self, user: &'static str, id: VersionId, label: Label, depth: u32) {
        let number = self.random.random_range(1..=NUMBERS);
        match self.random.random_range(0..20) {
            0..=7 => {
                let content = self.some_noise(user);
                let stop = self.stops_somewhere(0, content.len());
                self.store_part(user, (id, label), number, &content, stop, depth);
            }
            8..=13 => self.copy_some_part(user, (id, label), number),
            14 => _ = self.remove_part(user, (id, label), number),
            15 => _ = self.drop_upload(user, id, label),
            _ => _ = self.complete_upload(user, id, label),
        }
    }

    pub(crate) fn store_part(
        &mut self,
        user: &'static str,
        (id, label): (VersionId, Label),
        number: u32,
        content: &[u8],
        stop: Option<usize>,
        depth: u32,
    ) -> bool {
        let span = 0..content.len();
        self.send(id, &Sending { user, label, begun: None, number, content, span, stop, depth })
    }

    /// Copies a part of some file, as it is or as a snapshot has it.
    fn copy_some_part(&mut self, user: &'static str, upload: (VersionId, Label), number: u32) {
        let snapshot = self.a_snapshot().filter(|_| self.random.random_bool(0.3));
        let tree = self.tree_of_source(user, snapshot.as_deref());
        let files: Vec<_> = tree.into_iter().filter(|(_, item)| item.bytes() > 0).collect();
        if files.is_empty() {
            return;
        }
        let (path, item) = &files[self.random.random_range(0..files.len())];
        let range = self.random.random_bool(0.7).then(|| {
            let first = self.random.random_range(0..item.bytes());
            [first, self.random.random_range(first..item.bytes())]
        });
        let source = Source { path, snapshot: snapshot.as_deref(), range };
        self.copy_part(user, upload, number, &source);
    }

    fn tree_of_source(&mut self, user: &str, snapshot: Option<&str>) -> Tree {
        let catalog = self.server().cluster.catalog.clone();
        match snapshot {
            Some(name) => tree_at(&catalog, user, catalog.moment_of(name).unwrap()),
            None => self.server().shows().remove(user).unwrap(),
        }
    }

    /// Makes a part of a file, both ends included, a part of an upload.
    pub(crate) fn copy_part(
        &mut self,
        user: &'static str,
        (id, label): (VersionId, Label),
        number: u32,
        source: &Source<'_>,
    ) -> bool {
        let tree = self.tree_of_source(user, source.snapshot);
        let Some(Item::File { blake3, bytes }) = tree.get(source.path).copied() else {
            return false;
        };
        let [first, last] = source.range.unwrap_or([0, bytes - 1]);
        let part = self.site.contents.join(&[(blake3, [first, last + 1])]);
        let from = source.snapshot.is_none().then(|| (source.path.to_owned(), blake3));
        let which = source.snapshot.map_or(Which::Current, |name| Which::At(at_snapshot(name)));
        let range = source.range.map(|[first, last]| ByteRange::From { first, last: Some(last) });
        let (files, at) = (self.server().files.clone(), file(source.path));
        let how = How::Share { number, from, part };
        let copied = self.change_upload(user, label, vec![how], |world| {
            files.copy_part(&world.user(user)?, id, number, (&at, &which), range)
        });
        self.tally.shared += u64::from(copied.is_ok());
        copied.is_ok()
    }

    pub(crate) fn remove_part(
        &mut self,
        user: &'static str,
        (id, label): (VersionId, Label),
        number: u32,
    ) -> bool {
        let files = self.server().files.clone();
        let removed = self.change_upload(user, label, vec![How::Remove { number }], |world| {
            files.remove_part(&world.user(user)?, id, number)
        });
        removed.is_ok()
    }

    pub(crate) fn drop_upload(&mut self, user: &'static str, id: VersionId, label: Label) -> bool {
        let files = self.server().files.clone();
        self.given_up.insert(label);
        let dropped = self.change_upload(user, label, vec![How::Drop], |world| {
            files.drop_upload(&world.user(user)?, id)
        });
        dropped.is_ok()
    }

    pub(crate) fn complete_upload(
        &mut self,
        user: &'static str,
        id: VersionId,
        label: Label,
    ) -> bool {
        self.try_complete(user, id, label).is_ok()
    }

    fn try_complete(&mut self, user: &'static str, id: VersionId, label: Label) -> Result<()> {
        let contents = self.site.contents.clone();
        let known = uploads_of(&self.server().cluster.catalog, &contents);
        let parts = known.get(&label).map(|own| own.parts.clone()).unwrap_or_default();
        let runs: Vec<_> = parts.values().map(|part| (part.blake3, [0, part.bytes])).collect();
        let whole: Part = contents.join(&runs);
        let announced = self.random.random_bool(0.5).then_some(whole.blake3);
        let files = self.server().files.clone();
        self.given_up.insert(label);
        let how = vec![How::Complete { parts, whole }];
        let completed = self.change_upload(user, label, how, |world| {
            let owner = world.user(user)?;
            let done = files.complete_upload(&owner, id, announced, Precondition::Any)?;
            assert_eq!(done.1, whole.blake3, "{user}: the digest of a completed upload");
            Ok(())
        });
        self.tally.joined += u64::from(completed.is_ok());
        completed
    }

    /// Now that nothing fails any more, some uploads go on to their ends.
    pub(crate) fn finish_uploads(&mut self) {
        for user in USERS {
            for upload in self.uploads(user) {
                let (id, label) = (upload.id, upload.attributes.modified_ms.unwrap());
                if self.random.random_bool(0.5) {
                    continue;
                }
                if let Some(content) = self.intended.get(&label).cloned() {
                    let is_even = upload.arrived().is_multiple_of(MIB as u64);
                    let is_there = upload.arrived() == content.len() as u64;
                    let sent = is_there
                        || is_even && self.send_to(user, (id, label), content.len(), None, 9);
                    let has_quota = user != USERS[0];
                    assert!(sent || has_quota || !is_even, "{user}: upload {label} goes on");
                }
                self.complete_upload(user, id, label);
            }
        }
    }

    /// When all uploads that there are will have been dropped for their age, if there are any.
    pub(crate) fn uploads_over_us(&mut self) -> Option<i64> {
        let uploads = self.server().state().uploads;
        uploads.values().map(|own| own.touched_us + KEPT_US).max()
    }

    /// Canary: the pieces of a version go with the file that had it, although a range of it was copied.
    pub(crate) fn drop_what_is_shared(&mut self) {
        let catalog = self.server().cluster.catalog.clone();
        let shown = self.server().shows();
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        for (user, tree) in &shown {
            let Ok(account) = catalog.account(&UserName::parse(user).unwrap()) else { continue };
            let user = account.id;
            for path in tree.iter().filter(|(_, item)| item.bytes() > 0).map(|(path, _)| path) {
                let record = catalog.file(user, &file(path)).unwrap();
                own.push(record.version);
                let extents = catalog.extents(record.version).unwrap().into_iter();
                let ranges = extents.filter(|of| of.extent.bytes < of.version_bytes);
                shared.extend(ranges.map(|of| of.extent.version));
            }
        }
        shared.retain(|version| !own.contains(version));
        for version in shared {
            for (id, node) in NodeId::ALL.into_iter().zip(&self.nodes) {
                for block in id.blocks() {
                    node.disk().wipe(&piece_at(version, block.name()));
                }
            }
        }
    }
}
