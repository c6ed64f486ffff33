//! Snapshots as an operator makes them, and what must be in them for as long as they are there.

use std::collections::BTreeSet;
use std::time::Duration;

use palk::core::catalog::{Catalog, FileRecord};
use palk::core::error::{Code, Result};
use palk::core::path::UserName;
use palk::core::types::VersionId;
use palk::core::wire::extended::{When, Which};
use palk::core::wire::journal::SnapshotName;
use rand::RngExt;

use super::change::{OPERATOR, What};
use super::contents::digest;
use super::server::USERS;
use super::state::{Item, State, Trees};
use super::users::file;
use super::world::World;

/// Those that stay until somebody removes them; few, so that names are taken now and then.
const NAMES: [&str; 3] = ["before", "after", "weekly"];

/// So many there are at most, of those that end by themselves.
const BRIEF_MAX: usize = 2;

pub(crate) fn name(text: &str) -> SnapshotName {
    SnapshotName::parse(text).unwrap()
}

pub(crate) fn at_snapshot(text: &str) -> When {
    When::Snapshot(name(text))
}

/// The version with the pieces of a file, or those of its extents.
fn add_version(named: &mut BTreeSet<VersionId>, catalog: &Catalog, record: FileRecord) {
    if record.joined {
        let extents = catalog.extents(record.version).unwrap();
        named.extend(extents.iter().map(|own| own.extent.version));
    } else {
        named.insert(record.version);
    }
}

/// The versions that are users' files now, or were when a snapshot was made, or are parts of any of these
/// or of uploads.
fn named(catalog: &Catalog, state: &State) -> BTreeSet<VersionId> {
    let mut named = BTreeSet::new();
    let mut add = |trees: &Trees, when: Option<&str>| {
        for (user, tree) in trees {
            let user = catalog.account(&UserName::parse(user).unwrap()).unwrap().id;
            for (path, _) in tree.iter().filter(|(_, item)| **item != Item::Folder) {
                let record = match when {
                    Some(name) => {
                        catalog.file_at(user, &file(path), catalog.moment_of(name).unwrap())
                    }
                    None => catalog.file(user, &file(path)),
                };
                add_version(&mut named, catalog, record.unwrap());
            }
        }
    };
    add(&state.trees, None);
    state.snapshots.iter().for_each(|(name, own)| add(&own.trees, Some(name)));
    for user in USERS {
        let user = catalog.account(&UserName::parse(user).unwrap()).unwrap().id;
        for upload in catalog.uploads(user, None).unwrap() {
            named.extend(upload.extents.iter().map(|placed| placed.extent.version));
        }
    }
    named
}

impl World {
    /// Makes a snapshot that stays, or one that ends by itself.
    pub(crate) fn make_some_snapshot(&mut self) {
        let snapshots = self.server().cluster.catalog.snapshots().unwrap();
        let brief = snapshots.iter().filter(|own| own.until_ms.is_some()).count();
        if self.random.random_bool(0.5) && brief < BRIEF_MAX {
            let name = format!("brief-{}", self.site.next());
            let keep = Duration::from_millis(self.random.random_range(1..90_000));
            self.make_snapshot(&name, Some(keep));
        } else {
            let name = NAMES[self.random.random_range(0..NAMES.len())];
            self.make_snapshot(name, None);
        }
    }

    /// Gives all that there is a name, for so long or until that is removed.
    pub(crate) fn make_snapshot(&mut self, text: &str, keep: Option<Duration>) -> bool {
        let (committer, clock) =
            (self.server().cluster.committer.clone(), self.server().clock.clone());
        let now_ms = clock.now_us() / 1000;
        let until_ms = keep.map(|keep| now_ms + i64::try_from(keep.as_millis()).unwrap());
        let what = What::MakeSnapshot { name: text.to_owned(), until_ms };
        let told = if self.faults.hasty_snapshots { Some(now_ms) } else { until_ms };
        let name = name(text);
        self.has_had_snapshots = true;
        let made = self.change(OPERATOR, what, |_| {
            committer.submit(move |draft| draft.make_snapshot(&name, told))
        });
        self.tally.snapshots += u64::from(made.is_ok());
        made.is_ok()
    }

    /// Removes one of those that stay.
    pub(crate) fn remove_some_snapshot(&mut self) {
        let name = NAMES[self.random.random_range(0..NAMES.len())];
        self.remove_snapshot(name);
    }

    pub(crate) fn remove_snapshot(&mut self, text: &str) -> bool {
        let committer = self.server().cluster.committer.clone();
        let what = What::RemoveSnapshot { name: text.to_owned() };
        let name = name(text);
        let removed = self.change(OPERATOR, what, |_| {
            committer.submit(move |draft| draft.remove_snapshot(&name))
        });
        removed.is_ok()
    }

    /// A snapshot that the server of the moment shows.
    pub(crate) fn a_snapshot(&mut self) -> Option<String> {
        let all = self.server().cluster.catalog.snapshots().unwrap();
        let count = all.len();
        (count > 0).then(|| all[self.random.random_range(0..count)].name.to_string())
    }

    /// Reads a file as a snapshot has it; it is whole, and what it was.
    pub(crate) fn read_at_some_snapshot(&mut self, user: &'static str) {
        let Some(name) = self.a_snapshot() else { return };
        let state = self.server().state();
        let paths: Vec<String> = state.snapshots[&name].trees[user]
            .iter()
            .filter(|(_, item)| **item != Item::Folder)
            .map(|(path, _)| path.clone())
            .collect();
        if paths.is_empty() {
            return;
        }
        let path = &paths[self.random.random_range(0..paths.len())];
        let is_informed = self.is_informed(self.at);
        let possible = self.model.at_snapshot(&name, user, path);
        match self.bytes_at(user, path, &at_snapshot(&name)) {
            Ok(bytes) => {
                self.tally.read += 1;
                let blake3 = digest(&bytes);
                let may_be = possible.iter().any(
                    |item| matches!(item, Some(Item::File { blake3: own, .. }) if *own == blake3),
                );
                assert!(may_be || !is_informed, "{user}/{path} at {name}: not what it was");
            }
            Err(error) => assert!(
                error.code() != Code::NoSuchFile,
                "{user}/{path} is listed at {name} and not there: {error}"
            ),
        }
    }

    /// What a file was.
    pub(crate) fn bytes_at(&self, user: &str, path: &str, when: &When) -> Result<Vec<u8>> {
        let (files, owner) = (self.servers[self.at].files.clone(), self.user(user)?);
        let which = Which::At(when.clone());
        let mut retrieve = files.retrieve_which(&owner, &file(path), &which, None)?;
        let mut bytes = Vec::new();
        while let Some(parts) = retrieve.next_part()? {
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
        }
        assert!(retrieve.blake3 == digest(&bytes), "{user}/{path}: digest");
        Ok(bytes)
    }

    /// Every file of every snapshot can be read, and is what it was.
    pub(crate) fn check_reading_snapshots(&mut self, state: &State) {
        for (name, snapshot) in &state.snapshots {
            for (user, tree) in &snapshot.trees {
                for (path, item) in tree {
                    let Item::File { blake3, .. } = item else { continue };
                    let bytes = self
                        .bytes_at(user, path, &at_snapshot(name))
                        .unwrap_or_else(|error| panic!("{user}/{path} at {name}: {error}"));
                    assert!(bytes == *self.site.contents.of(*blake3), "{user}/{path} at {name}");
                }
            }
        }
    }

    /// Where nothing else is kept, every version is some file's, or was when a snapshot was made. One that
    /// has come into a folder later than the snapshot stays with that as long as the snapshot is there.
    pub(crate) fn check_only_named(&mut self, state: &State) {
        let catalog = self.server().cluster.catalog.clone();
        let held = catalog.versions_after(None, usize::MAX).unwrap();
        let held: BTreeSet<VersionId> = held.into_iter().map(|held| held.version).collect();
        let named = named(&catalog, state);
        assert!(named.is_subset(&held), "lost: {:?}", named.difference(&held));
        if state.snapshots.is_empty() {
            assert_eq!(held, named, "nothing else is left");
        }
    }

    /// One snapshot after the other is removed: the others have what they had, and in the end nothing is
    /// left that no file is.
    pub(crate) fn let_go_of_snapshots(&mut self) {
        while let Some(name) = self.a_snapshot() {
            assert!(self.guarded(|world| assert!(world.remove_snapshot(&name))));
            self.settle_down();
            let state = self.server().state();
            let latest_us = self.site.clock.latest_us();
            self.model.settle(&state, latest_us, "the last server");
            self.check_only_named(&state);
            self.check_reading_snapshots(&state);
        }
    }
}
