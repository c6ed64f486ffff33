//! A catalog with a user, for the tests of this room.

use std::sync::Arc;

use crate::core::catalog::{Catalog, Draft, NewFile, UserId};
use crate::core::error::Result;
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{ClusterId, Digest, Moment, NodeSet, Precondition, Seq, VersionId};
use crate::core::wire::extended::Entry as Listed;
use crate::core::wire::journal::Entry;
use crate::core::wire::node::Place;

pub(super) const CLUSTER: ClusterId = ClusterId([1; 16]);

pub(super) struct Fixture {
    pub(super) folder: tempfile::TempDir,
    pub(super) catalog: Arc<Catalog>,
    pub(super) user: UserId,
}

pub(super) fn empty() -> (tempfile::TempDir, Arc<Catalog>) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("palk.db"), CLUSTER).unwrap();
    // So that the same jobs make the same entries.
    let catalog = catalog.with_clock(Box::new(|| 1_000_000));
    (folder, Arc::new(catalog))
}

pub(super) fn fixture() -> Fixture {
    let (folder, catalog) = empty();
    let user = change(&catalog, |draft| {
        draft.set_nodes(&["a:1", "b:2", "c:3", "d:4"].map(str::to_owned))?;
        draft.create_user(&name("demo"), "no password", 7)
    });
    Fixture { folder, catalog, user: user.unwrap() }
}

/// Does a job as a group of its own.
pub(super) fn change<T>(
    catalog: &Arc<Catalog>,
    job: impl FnOnce(&mut Draft<'_>) -> Result<T>,
) -> Result<T> {
    let mut group = catalog.begin_group(1)?;
    let done = group.attempt(job)?;
    group.commit()?;
    Ok(done)
}

/// Lets go of all that was.
pub(super) fn expire(catalog: &Arc<Catalog>, user: UserId) {
    while change(catalog, |draft| draft.expire(user, Moment::MAX, None)).unwrap() > 0 {}
    while change(catalog, |draft| draft.forget_folders(&[], Moment::MAX)).unwrap() > 0 {}
}

pub(super) fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

pub(super) fn path(text: &str) -> FilePath {
    FilePath::parse_rooted(text).unwrap()
}

pub(super) fn folder(text: &str) -> FolderPath {
    FolderPath::parse(text).unwrap()
}

pub(super) fn place(text: &str) -> Place {
    Place { user: name("demo"), path: path(text) }
}

pub(super) fn v(n: u8) -> VersionId {
    VersionId([n; 16])
}

pub(super) fn new_file(user: UserId, at: &str, version: VersionId) -> NewFile {
    NewFile {
        user,
        path: path(at),
        version,
        seq: Seq(version.0[0].into()),
        bytes: 353,
        blake3: Digest([7; 32]),
        stored_ms: 5,
        placed: NodeSet::ALL,
        inline: false,
        precondition: Precondition::Any,
        stored_by: String::new(),
        attributes: Default::default(),
    }
}

pub(super) fn shown(entries: &[Listed]) -> Vec<String> {
    let shown = entries.iter().map(|entry| match entry {
        Listed::Folder(folder) => format!("{folder}/"),
        Listed::File(file) => file.path.to_string(),
    });
    shown.collect()
}

/// The whole journal.
pub(super) fn journal(catalog: &Catalog) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let last = entries.last().map_or(0, |entry| entry.id);
        let more = catalog.entries_after(last).unwrap().unwrap();
        if more.is_empty() {
            return entries;
        }
        entries.extend(more);
    }
}

impl Fixture {
    pub(super) fn change<T>(&self, job: impl FnOnce(&mut Draft<'_>) -> Result<T>) -> Result<T> {
        change(&self.catalog, job)
    }

    pub(super) fn store(&self, at: &str, version: u8) {
        self.store_on(at, version, 0b1111);
    }

    pub(super) fn store_on(&self, at: &str, version: u8, placed: u8) {
        let placed = NodeSet::from_bits(placed);
        let new = NewFile { placed, ..new_file(self.user, at, v(version)) };
        self.change(|draft| draft.store(&new, None)).unwrap();
    }

    /// Lets go of all that is kept for undo.
    pub(super) fn expire(&self) {
        expire(&self.catalog, self.user);
    }

    pub(super) fn version_at(&self, at: &str) -> Option<VersionId> {
        self.catalog.file(self.user, &path(at)).ok().map(|record| record.version)
    }

    pub(super) fn list(&self) -> Vec<String> {
        shown(&self.catalog.list(self.user).unwrap())
    }
}
