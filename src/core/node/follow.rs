//! Doing what decided entries of the journal mean for this node: names in the view, pieces that were
//! dropped.
//!
//! ```text
//!   .palk/followed   "4711" or "4711 moved"
//!
//!   journal   ... 4711 | 4712 Stored | 4713 Moved | 4714 Dropped | 4715 Stored, inline | 4716 ...
//!                 ^ durable                                        ^ position: waits until its piece
//!                                                                    is written out
//! ```
//!
//! What has been done is made durable now and then, all of it together, and after a crash what follows
//! is done again. That is harmless but for a move or a removal of a folder: done again after what came
//! later, it would hit other files. So `moved` is noted, durably, before the first of them; a node that
//! finds it at its start checks the view when it has caught up.
//!
//! A check compares the view with the names that the newest snapshot and the journal add up to, a few
//! names at a time, and takes in what is followed in between. It also comes after a snapshot beyond the
//! journal, after an error of the disk, and for pieces of which it is not known what they are called.
//! Nobody waits for any of this: an error in the view never stops what is followed.
//!
//! Drops are not held up by what waits to be written out: on a full disk they are what makes room.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, read_whole, write_whole};
use crate::core::io::reason;
use crate::core::names::{Named, Names};
use crate::core::node::pieces::Pieces;
use crate::core::node::stage::disk_error;
use crate::core::node::store::BlockStore;
use crate::core::node::view::{Linked, View};
use crate::core::path::{FilePath, FolderPath, UserName, parse_block_file_name};
use crate::core::types::{Moment, NodeId, VersionId};
use crate::core::wire::journal::{Change, Entry};
use crate::core::wire::node::{Place, ViewReport};
use crate::core::wire::snapshot::SnapshotHead;

/// A number and a word.
const FILE_BYTES_MAX: u64 = 64;

/// So many entries are followed before that is made durable.
const ENTRIES_UNTIL_SAVED: u64 = 1000;

/// So many steps with nothing to do, and what was followed is made durable.
const IDLE_UNTIL_SAVED: u32 = 20;

/// The most names that one step of a check looks at, and files that one step removes. Tests see to it
/// that much comes in between.
const NAMES_PER_STEP: usize = if cfg!(test) { 3 } else { 256 };

/// So many files without a piece here are remembered, for the moment when it comes.
const UNLINKED_MAX: usize = 1000;

/// So many idle steps lie between two checks that nobody has asked for, at first and at most.
const PAUSE_MIN: u32 = 64;
const PAUSE_MAX: u32 = 8 << 10;

/// How far a node has followed its journal.
pub(super) struct Follower {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    root: PathBuf,
    id: NodeId,
    view: View,
    /// Followed durably up to there.
    saved: AtomicU64,
    /// Followed up to there; also in the middle of a step.
    reached: AtomicU64,
    state: Mutex<State>,
    /// What may not be changed in the view, until a check has put everything right.
    protected: Mutex<Option<String>>,
}

#[derive(Default)]
struct State {
    /// All entries up to this one have been followed.
    position: u64,
    /// Pieces were dropped up to this entry, which may be further.
    dropped: u64,
    /// Does the file say `moved`?
    is_moved_saved: bool,
    /// Files without a piece here.
    unlinked: Vec<(Place, VersionId)>,
    /// There may be more names without a piece here than those.
    is_unlinked_unknown: bool,
    /// Steps with nothing to do since there was something.
    idle: u32,
    check: Option<Check>,
    /// The view may not be right.
    needs_check: bool,
    /// Idle steps until the next check that nobody has asked for.
    pause: u32,
    next_pause: u32,
    /// The number of the last check that began.
    begun: u64,
    /// The number of the last one that was finished, and what it came to.
    finished: (u64, ViewReport),
    /// An error of the view was told, and nothing has gone well since.
    has_told: bool,
}

/// A check of the view that is going on.
struct Check {
    names: Names,
    /// The folders to look at; a folder is left only after those in it.
    open: Vec<Visit>,
    /// The names to look at in the folder that was entered last.
    entries: Vec<(UserName, FolderPath, Item)>,
    report: ViewReport,
    /// A file has no piece here.
    has_unlinked: bool,
    failed: bool,
}

enum Visit {
    Enter(UserName, FolderPath),
    Leave(UserName, FolderPath),
}

enum Item {
    /// A file that should have its names.
    File(String),
    /// Something that lies there.
    Listed(String),
}

impl Follower {
    /// Reads how far the node was.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        root: &Path,
        id: NodeId,
        pieces: Arc<Pieces>,
    ) -> Result<Follower> {
        let path = root.join(".palk/followed");
        let read = match read_whole(&*disk, &path, FILE_BYTES_MAX) {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Some(Vec::new()),
            read => read.map_err(|e| disk_error(id, &e))?,
        };
        // A damaged file: from the beginning, or from the snapshot that the journal follows.
        let (position, moved) = read.map_or((0, false), |bytes| parse(&bytes).unwrap_or((0, true)));
        let state = State {
            position,
            dropped: position,
            is_moved_saved: moved,
            needs_check: moved,
            is_unlinked_unknown: true,
            next_pause: PAUSE_MIN,
            ..State::default()
        };
        Ok(Follower {
            view: View::new(disk.clone(), root, id, pieces),
            disk,
            path,
            root: root.to_path_buf(),
            id,
            saved: AtomicU64::new(position),
            reached: AtomicU64::new(position),
            state: Mutex::new(state),
            protected: Mutex::default(),
        })
    }

    /// Up to which entry the journal has been followed durably.
    pub(super) fn position(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    /// Up to which entry it has been followed.
    pub(super) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// Follows some entries, or does what is to be done when there are none. True if there is more.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) fn step(&self, store: &BlockStore) -> Result<bool> {
        let state = &mut *self.state.lock();
        let decided = store.journal.decided();
        let before = state.position;
        let followed = if before < decided { self.follow(store, state, decided) } else { Ok(()) };
        if state.position > before {
            followed?;
            state.idle = 0;
            if state.position - self.position() >= ENTRIES_UNTIL_SAVED {
                self.save(state)?;
            }
            return Ok(true);
        }
        if before < decided && self.drop_ahead(store, state, decided)? {
            return Ok(true);
        }
        followed?;
        self.idle(store, state)
    }

    fn follow(&self, store: &BlockStore, state: &mut State, decided: u64) -> Result<()> {
        let Some(entries) = store.journal.entries_between(state.position, decided)? else {
            return self.go_on_from_snapshot(store, state);
        };
        let changes: Vec<(&Entry, Option<Change>)> =
            entries.iter().map(|entry| (entry, change_of(entry))).collect();
        let mut moves = changes.iter().filter_map(|(_, change)| change.as_ref()).filter(is_move);
        if !state.is_moved_saved && moves.next().is_some() {
            self.write(self.position(), true)?;
            state.is_moved_saved = true;
        }
        for (entry, change) in &changes {
            match change {
                Some(Change::Stored { version, .. })
                    if store.journal.inline(*version).is_some() =>
                {
                    return Ok(());
                }
                Some(Change::Dropped { versions }) if entry.id > state.dropped => {
                    store.drop_pieces(versions).map_err(|e| disk_error(self.id, &e))?;
                }
                Some(change) => self.show(state, entry.at, change),
                None => {}
            }
            self.reach(state, entry.id);
            state.dropped = state.dropped.max(entry.id);
        }
        Ok(())
    }

    fn reach(&self, state: &mut State, id: u64) {
        state.position = id;
        self.reached.store(id, Ordering::Relaxed);
    }

    /// The journal begins behind what was followed: a snapshot was installed in place of the entries
    /// before.
    fn go_on_from_snapshot(&self, store: &BlockStore, state: &mut State) -> Result<()> {
        let Some(head) = store.snapshots.newest().filter(|head| head.at.id > state.position) else {
            let why = format!("its journal does not have what follows entry {}", state.position);
            return Err(Error::node(self.id, NodeFailure::Refused(why)));
        };
        self.write(self.position(), true)?;
        state.is_moved_saved = true;
        self.reach(state, head.at.id);
        state.dropped = state.dropped.max(head.at.id);
        state.check = None;
        state.want_check();
        Ok(())
    }

    /// Drops pieces while the view waits; true if there is more.
    fn drop_ahead(&self, store: &BlockStore, state: &mut State, decided: u64) -> Result<bool> {
        let from = state.dropped.max(state.position);
        let entries = match from < decided {
            true => store.journal.entries_between(from, decided)?.unwrap_or_default(),
            false => return Ok(false),
        };
        for entry in &entries {
            if let Some(Change::Dropped { versions }) = change_of(entry) {
                store.drop_pieces(&versions).map_err(|e| disk_error(self.id, &e))?;
            }
            state.dropped = entry.id;
        }
        Ok(!entries.is_empty())
    }

    fn idle(&self, store: &BlockStore, state: &mut State) -> Result<bool> {
        state.idle = state.idle.saturating_add(1);
        state.pause = state.pause.saturating_sub(1);
        if self.view.is_kept() {
            match self.view.empty_trash(NAMES_PER_STEP) {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(e) => state.told_once(|| {
                    tell("a removed folder cannot be emptied", &self.root, &e);
                }),
            }
            if state.check.is_none() && state.pause == 0 {
                if state.needs_check {
                    self.begin_check(store, state)?;
                } else {
                    state.next_pause = PAUSE_MIN;
                }
            }
        }
        if state.check.is_some() {
            self.check_some(state);
            return Ok(true);
        }
        let is_right = !state.needs_check && state.is_moved_saved;
        if state.idle >= IDLE_UNTIL_SAVED && (is_right || state.position > self.position()) {
            self.save(state)?;
        }
        Ok(false)
    }

    /// Makes all that was followed durable.
    fn save(&self, state: &mut State) -> Result<()> {
        self.disk.sync_all(&self.root).map_err(|e| disk_error(self.id, &e))?;
        let moved = state.needs_check || state.check.is_some();
        self.write(state.position, moved)?;
        self.saved.store(state.position, Ordering::Relaxed);
        state.is_moved_saved = moved;
        Ok(())
    }

    fn write(&self, position: u64, moved: bool) -> Result<()> {
        let text = format!("{position}{}\n", if moved { " moved" } else { "" });
        write_whole(&*self.disk, &self.path, text.as_bytes()).map_err(|e| disk_error(self.id, &e))
    }

    /// Shows a change in the view.
    fn show(&self, state: &mut State, at: Moment, change: &Change) {
        if !self.view.is_kept() {
            return;
        }
        if let Some(check) = &mut state.check {
            check.take_in(at, change);
        }
        match self.show_one(state, change) {
            Ok(true) => {}
            Ok(false) => state.want_check(),
            Err(e) => {
                state.want_check();
                let at = self.shown_at(change);
                self.note_protected(&at, &e);
                state.told_once(|| tell("a name cannot be shown", &at, &e));
            }
        }
    }

    /// False if it takes a check to show it.
    fn show_one(&self, state: &mut State, change: &Change) -> io::Result<bool> {
        let view = &self.view;
        match change {
            Change::UserMade { user, .. } => {
                view.make_folder(user, &FolderPath::top()).map(|_| true)
            }
            Change::UserRemoved { user } => {
                state.unlinked.retain(|(place, _)| place.user != *user);
                view.remove_folder(user, &FolderPath::top())
            }
            Change::FolderMade { user, folder } => view.make_folder(user, folder).map(|_| true),
            Change::FolderRemoved { user, folder } => {
                state.unlinked.retain(|(own, _)| {
                    own.user != *user || below(&own.path, folder.as_str()).is_none()
                });
                view.remove_folder(user, folder)
            }
            Change::UploadCompleted { place, kept, .. } if kept.joined => {
                // Its pieces are those of its extents, which have no names.
                state.unlinked.retain(|(own, _)| own != place);
                view.unlink(&place.user, &place.path)?;
                view.make_folder(&place.user, &place.path.folder()).map(|_| true)
            }
            Change::Stored { .. } | Change::Named { .. } | Change::UploadCompleted { .. } => {
                let Some((place, version)) = change.names_file() else { return Ok(true) };
                state.unlinked.retain(|(own, _)| own != place);
                if view.link(place, version)?.contains(&Linked::NoPiece) {
                    // Its folder is there all the same.
                    view.make_folder(&place.user, &place.path.folder())?;
                    state.unlinked.push((place.clone(), version));
                }
                let has_room = state.unlinked.len() <= UNLINKED_MAX;
                if !has_room {
                    state.unlinked.clear();
                    state.is_unlinked_unknown = true;
                }
                Ok(has_room)
            }
            Change::Deleted { place } => {
                state.unlinked.retain(|(own, _)| own != place);
                view.unlink(&place.user, &place.path).map(|()| true)
            }
            Change::Reverted { version, .. } => {
                state.unlinked.retain(|(_, own)| own != version);
                // What it is called by now, if anything, is known to a check only.
                state.pause = 0;
                Ok(false)
            }
            Change::Moved { user, from, to } => {
                let is_to = |own: &Place| own.user == *user && own.path == *to;
                state.unlinked.retain(|(own, _)| !is_to(own));
                let mut is_unlinked = false;
                for (own, _) in state.unlinked.iter_mut().filter(|(own, _)| own.user == *user) {
                    is_unlinked |= own.path == *from;
                    if let Some(moved) =
                        below(&own.path, from.as_str()).map(|rest| format!("{}{rest}", to.as_str()))
                    {
                        own.path = FilePath::parse_rooted(&moved).unwrap_or_else(|_| to.clone());
                    }
                }
                if is_unlinked {
                    view.unlink(user, from)?;
                    return view.unlink(user, to).map(|()| true);
                }
                view.rename(user, from, to)
            }
            Change::FolderAttached { user, to, .. } => {
                state.unlinked.retain(|(own, _)| {
                    own.user != *user || below(&own.path, to.as_str()).is_none()
                });
                view.remove_folder(user, to)?;
                if let Some((above, name)) = to.split()
                    && let Ok(file) = above.join(name)
                {
                    view.unlink(user, &file)?;
                }
                view.make_folder(user, to)?;
                // What is in it is known to a check only, which is to begin soon.
                state.pause = 0;
                Ok(false)
            }
            Change::Placed { node, versions } if *node == self.id => {
                // A name that a check has seen, or one that leads to a block file which was made again, takes
                // a check.
                let mut is_right = !state.is_unlinked_unknown;
                for version in versions {
                    // It may have several names.
                    let known: Vec<Place> = state
                        .unlinked
                        .extract_if(.., |(_, own)| own == version)
                        .map(|(place, _)| place)
                        .collect();
                    is_right &= !known.is_empty();
                    for place in known {
                        is_right &= !view.link(&place, *version)?.contains(&Linked::NoPiece);
                    }
                }
                Ok(is_right)
            }
            _ => Ok(true),
        }
    }

    /// Where a change is seen.
    fn shown_at(&self, change: &Change) -> PathBuf {
        let name =
            |user, path: &FilePath| self.view.folder_path(user, &path.folder()).join(path.name());
        match change {
            Change::Stored { place, .. }
            | Change::Named { place, .. }
            | Change::UploadCompleted { place, .. }
            | Change::Deleted { place }
            | Change::Reverted { place, .. } => name(&place.user, &place.path),
            Change::FolderMade { user, folder }
            | Change::FolderRemoved { user, folder }
            | Change::FolderAttached { user, to: folder, .. } => {
                self.view.folder_path(user, folder)
            }
            Change::Moved { user, to, .. } => name(user, to),
            _ => self.root.clone(),
        }
    }

    fn note_protected(&self, at: &Path, e: &io::Error) {
        if e.kind() == io::ErrorKind::PermissionDenied {
            let what = format!("the view cannot be changed: {}: {}", reason(e), at.display());
            *self.protected.lock() = Some(what);
        }
    }

    /// What may not be changed in the view, if anything is protected.
    pub(super) fn protected(&self) -> Option<String> {
        self.protected.lock().clone()
    }

    /// Does some of a check of the view, which begins with the first call. `check` says which one it
    /// is. `None` until it is finished.
    ///
    /// # Errors
    /// If the names cannot be read from the snapshot and the journal.
    pub(super) fn check(
        &self,
        store: &BlockStore,
        check: &mut Option<u64>,
    ) -> Result<Option<ViewReport>> {
        let state = &mut *self.state.lock();
        if !self.view.is_kept() {
            return Ok(Some(ViewReport::default()));
        }
        let (finished, report) = state.finished;
        if check.is_some_and(|own| own <= finished) {
            return Ok(Some(report));
        }
        if check.is_none() || state.check.is_none() {
            self.begin_check(store, state)?;
            *check = Some(state.begun);
        }
        self.check_some(state);
        Ok(None)
    }

    fn begin_check(&self, store: &BlockStore, state: &mut State) -> Result<()> {
        state.begun += 1;
        state.pause = state.next_pause;
        let mut check = Check {
            names: self.names(store, state.position)?,
            open: Vec::new(),
            entries: Vec::new(),
            report: ViewReport::default(),
            has_unlinked: false,
            failed: false,
        };
        let mut users: Vec<UserName> = check.names.users().map(|(user, _)| user.clone()).collect();
        let listed = self.view.listed(&self.root).map_err(|e| disk_error(self.id, &e))?;
        let folders = listed.iter().filter(|entry| entry.is_folder);
        users.extend(folders.filter_map(|entry| UserName::parse(&entry.name).ok()));
        users.sort();
        users.dedup();
        // A node that has followed nothing knows no names.
        for user in users.into_iter().filter(|_| state.position > 0) {
            check.visit(user, FolderPath::top());
        }
        state.needs_check = false;
        state.check = Some(check);
        Ok(())
    }

    /// The names as of this entry: from the newest snapshot that is whole, or from the beginning.
    fn names(&self, store: &BlockStore, position: u64) -> Result<Names> {
        let heads = store.snapshots.heads().into_iter().filter(|head| head.at.id <= position);
        let mut names = Err(Error::node(self.id, NodeFailure::Refused(String::new())));
        for head in heads.map(Some).chain([None]) {
            names = self.names_from(store, head, position);
            if names.is_ok() {
                break;
            }
        }
        names
    }

    fn names_from(
        &self,
        store: &BlockStore,
        head: Option<SnapshotHead>,
        position: u64,
    ) -> Result<Names> {
        let mut names = Names::default();
        if let Some(head) = head {
            store.snapshots.read(&head, &mut |changes| {
                changes.iter().for_each(|told| names.apply(told.at, &told.change));
                Ok(())
            })?;
        }
        let mut at = head.map_or(0, |head| head.at.id);
        while at < position {
            let page = store.journal.entries_between(at, position)?.unwrap_or_default();
            let Some(last) = page.last() else {
                let why = format!(
                    "the view cannot be checked: the journal does not have what follows entry {at}"
                );
                return Err(Error::node(self.id, NodeFailure::Refused(why)));
            };
            at = last.id;
            for entry in &page {
                if let Some(change) = change_of(entry) {
                    names.apply(entry.at, &change);
                }
            }
        }
        Ok(names)
    }

    fn check_some(&self, state: &mut State) {
        let Some(mut check) = state.check.take() else { return };
        for _ in 0..NAMES_PER_STEP {
            let (done, at) = match check.entries.pop() {
                Some((user, folder, item)) => {
                    let (Item::File(name) | Item::Listed(name)) = &item;
                    let at = self.view.folder_path(&user, &folder).join(name);
                    (self.check_name(&mut check, &user, &folder, &item), at)
                }
                None => match check.open.pop() {
                    Some(Visit::Enter(user, folder)) => {
                        let at = self.view.folder_path(&user, &folder);
                        (self.enter(&mut check, user, folder), at)
                    }
                    Some(Visit::Leave(user, folder)) => {
                        let at = self.view.folder_path(&user, &folder);
                        (self.leave(&mut check, &user, &folder), at)
                    }
                    None => return self.end_check(state, &check),
                },
            };
            if let Err(e) = done {
                self.note_protected(&at, &e);
                if !check.failed {
                    tell("a name cannot be checked", &at, &e);
                }
                check.failed = true;
            }
        }
        state.check = Some(check);
    }

    fn end_check(&self, state: &mut State, check: &Check) {
        let report = check.report;
        if report.mended + report.removed > 0 {
            let (mended, removed) = (report.mended, report.removed);
            tracing::info!("checked the view: {mended} names were put right, {removed} removed");
        }
        state.finished = (state.begun, report);
        state.pause = state.next_pause;
        state.next_pause = (2 * state.next_pause).min(PAUSE_MAX);
        if check.failed {
            state.needs_check = true;
        } else {
            state.has_told = false;
            state.is_unlinked_unknown = check.has_unlinked;
            *self.protected.lock() = None;
        }
    }

    fn enter(&self, check: &mut Check, user: UserName, folder: FolderPath) -> io::Result<()> {
        let at = self.view.folder_path(&user, &folder);
        let listed = self.view.listed(&at)?;
        let mut inner = Vec::new();
        if let Some(known) = check.names.folder(&user, &folder) {
            for (name, named) in known.entries() {
                match named {
                    Named::File(_) => {
                        let item = Item::File(name.to_owned());
                        check.entries.push((user.clone(), folder.clone(), item));
                    }
                    Named::Folder(_) => inner.push(name.to_owned()),
                }
            }
            if !self.view.make_folder(&user, &folder)? {
                check.report.blocked += 1;
            }
        }
        for entry in listed {
            if entry.is_folder {
                inner.push(entry.name);
            } else {
                let item = Item::Listed(entry.name);
                check.entries.push((user.clone(), folder.clone(), item));
            }
        }
        inner.sort();
        inner.dedup();
        for name in inner {
            match folder.join(&name) {
                Ok(path) => check.visit(user.clone(), path.as_folder()),
                Err(_) => check.report.foreign += 1,
            }
        }
        Ok(())
    }

    /// Removes a folder that should not be there, once it is empty.
    fn leave(&self, check: &mut Check, user: &UserName, folder: &FolderPath) -> io::Result<()> {
        if check.names.folder(user, folder).is_none() {
            let at = self.view.folder_path(user, folder);
            if !self.disk.exists(&at)? {
                return Ok(());
            }
            match self.disk.remove_folder(&at)? {
                true => {
                    check.report.removed += 1;
                    // A block of a file could not have this name while the folder was there.
                    if let Some((above, name)) = folder.split()
                        && let Some((file, block)) = parse_block_file_name(name)
                        && block.node() == self.id
                    {
                        check.entries.push((user.clone(), above, Item::File(file)));
                    }
                }
                false => check.report.foreign += 1,
            }
        }
        Ok(())
    }

    fn check_name(
        &self,
        check: &mut Check,
        user: &UserName,
        folder: &FolderPath,
        item: &Item,
    ) -> io::Result<()> {
        let version_of = |check: &Check, name: &str| {
            let path = folder.join(name).ok()?;
            let place = Place { user: user.clone(), path };
            check.names.get(&place).map(|version| (place, version))
        };
        let name = match item {
            Item::File(name) => {
                // It may have been deleted meanwhile.
                let Some((place, version)) = version_of(check, name) else { return Ok(()) };
                for linked in self.view.link(&place, version)? {
                    let report = &mut check.report;
                    report.names += u64::from(linked != Linked::NoPiece);
                    check.has_unlinked |= linked == Linked::NoPiece;
                    report.mended += u64::from(linked == Linked::Made);
                    report.blocked += u64::from(linked == Linked::Blocked);
                }
                return Ok(());
            }
            Item::Listed(name) => name,
        };
        let parsed = parse_block_file_name(name).filter(|(_, block)| block.node() == self.id);
        let is_known = parsed.is_some_and(|(file, _)| version_of(check, &file).is_some());
        let at = self.view.folder_path(user, folder).join(name);
        if is_known || !self.disk.exists(&at)? {
            return Ok(());
        }
        match self.view.remove_block(&at)? {
            true => check.report.removed += 1,
            false => check.report.foreign += 1,
        }
        Ok(())
    }
}

impl State {
    fn want_check(&mut self) {
        self.needs_check = true;
    }

    /// Says something unless it has been said and nothing has gone well since.
    fn told_once(&mut self, tell: impl FnOnce()) {
        if !std::mem::replace(&mut self.has_told, true) {
            tell();
        }
    }
}

fn tell(what: &str, at: &Path, e: &io::Error) {
    tracing::warn!("{what}: {}: {}; the view is put right later", at.display(), reason(e));
}

impl Check {
    fn visit(&mut self, user: UserName, folder: FolderPath) {
        self.open.push(Visit::Leave(user.clone(), folder.clone()));
        self.open.push(Visit::Enter(user, folder));
    }

    /// Takes in what is followed meanwhile.
    fn take_in(&mut self, at: Moment, change: &Change) {
        self.names.apply(at, change);
        if let Change::FolderAttached { user, to, .. } = change {
            self.visit(user.clone(), to.clone());
        }
        if let Change::Moved { user, to, .. } = change {
            // It may come from where nothing has been looked at to where all has.
            if self.names.folder(user, &to.as_folder()).is_some() {
                self.visit(user.clone(), to.as_folder());
            } else {
                let item = Item::File(to.name().to_owned());
                self.entries.push((user.clone(), to.folder(), item));
            }
        }
    }
}

/// The change of an entry; `None`, and a word in the log, if this Palk does not know it.
fn change_of(entry: &Entry) -> Option<Change> {
    let change = entry.change();
    let unknown = |why: &Error| tracing::warn!("entry {} cannot be followed: {why}", entry.id);
    change.inspect_err(unknown).ok()
}

/// Must it not be shown once more after what came later?
fn is_move(change: &&Change) -> bool {
    matches!(
        change,
        Change::Moved { .. }
            | Change::FolderRemoved { .. }
            | Change::FolderAttached { .. }
            | Change::UserRemoved { .. }
    )
}

/// What comes behind a folder in the path of something in it, or of the folder itself. All is in the top
/// folder.
fn below<'a>(path: &'a FilePath, folder: &str) -> Option<&'a str> {
    if folder.is_empty() {
        return Some(path.as_str());
    }
    let rest = path.as_str().strip_prefix(folder)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn parse(bytes: &[u8]) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    match text.strip_suffix(" moved") {
        Some(position) => Some((position.parse().ok()?, true)),
        None => Some((text.parse().ok()?, false)),
    }
}

#[cfg(test)]
mod tests;
