//! A node's folder: pieces found by version, the journal, and the view that follows it.
//!
//! ```text
//!   files_2/
//!     demo/test/yeet_B1.txt  yeet_B2.txt     the view: hard links to block files, see follow.rs
//!     .palk/pieces/3f/<version>_B1, _B2      block files, see pieces.rs
//!     .palk/node.toml                        which node of which cluster this is, whom it serves
//!     .palk/gap                              whether it may lack pieces, see gap.rs
//!     .palk/lock                             held while a node runs
//!     backup/                                snapshots and journal; no user can be called that
//! ```
//!
//! Nothing here names a thread, a socket or a clock: the service calls in, and a background thread of
//! it calls [`BlockStore::follow`] and [`BlockStore::write_out`].

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, FileIdentity, ReadFile, Space, create_folders};
use crate::core::io::{is_shortage, reason};
use crate::core::node::disk_check::{DiskCheck, FOLDERS, Task};
use crate::core::node::follow::Follower;
use crate::core::node::gap::Gap;
pub use crate::core::node::identity::FOLDER_FORMAT;
pub(super) use crate::core::node::identity::identity_of;
use crate::core::node::identity::{Identity, identity_path};
use crate::core::node::journal::Journal;
use crate::core::node::piece::Piece;
use crate::core::node::pieces::Pieces;
use crate::core::node::registration::{Admitted, Registration};
use crate::core::node::reserve::{Reserve, has_files};
use crate::core::node::snapshots::Snapshots;
use crate::core::node::stage::{Stage, StagedFiles, disk_error, disk_error_at};
use crate::core::path::{PATH_BYTES_MAX, USER_NAME_BYTES_MAX};
use crate::core::types::{Claim, ClusterId, NodeId, VersionId};
use crate::core::wire::journal::{Entry, JournalState, Point};
use crate::core::wire::node::{Alive, Append, DiskTrouble, PieceMeta, Room, ViewReport};
use crate::core::wire::snapshot::{SnapshotReply, SnapshotRequest};

/// The longest path that systems take, in bytes.
const SYSTEM_PATH_BYTES_MAX: usize = 4095;

/// The longest path of a node's folder, in bytes: what the longest name of a block leaves over.
pub const ROOT_BYTES_MAX: usize =
    SYSTEM_PATH_BYTES_MAX - USER_NAME_BYTES_MAX - PATH_BYTES_MAX - "//_A1".len();

/// The folder of one node.
pub struct BlockStore {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) root: PathBuf,
    pub(super) id: NodeId,
    registration: Registration,
    pub(super) pieces: Arc<Pieces>,
    pub(super) journal: Arc<Journal>,
    pub(super) snapshots: Snapshots,
    pub(super) gap: Arc<Gap>,
    /// Asked only while `turn` is held.
    pub(super) follower: Follower,
    reserve: Reserve,
    /// `None` after a change that may have failed halfway; the next check takes it again.
    anchor: Mutex<Option<Anchor>>,
    /// Following, writing out, installing a snapshot and checking the view take turns.
    pub(super) turn: Mutex<()>,
    pub(super) disk_check: DiskCheck,
}

/// Tells the folder from another one in its place. The file is kept open so that the system does not
/// give its number to another file.
struct Anchor {
    _file: Box<dyn ReadFile>,
    identity: FileIdentity,
}

impl Anchor {
    fn of(disk: &dyn Disk, root: &Path) -> io::Result<Anchor> {
        let path = identity_path(root);
        Ok(Anchor { _file: disk.open(&path)?, identity: disk.identity(&path)? })
    }
}

impl BlockStore {
    /// Opens the folder, or makes it if there is none. The caller holds the folder's lock.
    ///
    /// # Errors
    /// [`Code::Damaged`] if its `node.toml` is damaged, or missing where there are files: then nothing
    /// is changed. Or the folder belongs to another node or format, its path is longer than
    /// [`ROOT_BYTES_MAX`], or the disk fails.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, id: NodeId) -> Result<BlockStore> {
        if root.as_os_str().len() > ROOT_BYTES_MAX {
            let text = format!(
                "the path of the node's folder has more than {ROOT_BYTES_MAX} bytes, which leaves \
                 no room for long names"
            );
            return Err(Error::advised(Code::Usage, text, "Give it a shorter one with --dir."));
        }
        let failed = |e| Error::io(format!("cannot prepare the folder {}", root.display()))(e);
        let known = Identity::read(&*disk, root, id)?;
        create_folders(&*disk, &root.join(".palk/pieces")).map_err(failed)?;
        create_folders(&*disk, &root.join("backup")).map_err(failed)?;
        // Before node.toml, which says that the folder is not new any more.
        let gap = Arc::new(Gap::open(disk.clone(), root).map_err(failed)?);
        let (cluster, claim) = match known {
            Some(identity) => identity.registered(root)?,
            None => {
                Identity::of(id, None, None).write(&*disk, root)?;
                (None, None)
            }
        };
        let anchor = Anchor::of(&*disk, root).map_err(failed)?;
        let pieces = Arc::new(Pieces::new(disk.clone(), root, id));
        let snapshots = Snapshots::open(disk.clone(), root, id)?;
        let follower = Follower::open(disk.clone(), root, id, pieces.clone())?;
        let journal = Journal::new(disk.clone(), root, id, pieces.clone(), gap.clone());
        let store = BlockStore {
            disk,
            root: root.to_path_buf(),
            id,
            registration: Registration::new(cluster, claim),
            pieces,
            journal: Arc::new(journal),
            snapshots,
            gap,
            follower,
            reserve: Reserve::Bytes(0),
            anchor: Mutex::new(Some(anchor)),
            turn: Mutex::default(),
            disk_check: DiskCheck::default(),
        };
        if let Some(cluster) = cluster {
            store.begin_journal(cluster)?;
        }
        Ok(store)
    }

    /// The same, with room that new files leave free. Without this, they may fill the disk.
    #[must_use]
    pub fn keeping(mut self, reserve: Reserve) -> BlockStore {
        self.reserve = reserve;
        self
    }

    /// Which node this is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where its files are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whom it serves.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The room on its disk. What waits in the journal to be written out is not free any more.
    ///
    /// # Errors
    /// If the disk does not tell.
    pub fn room(&self) -> io::Result<Room> {
        Ok(self.room_in(self.disk.space(&self.root)?))
    }

    fn room_in(&self, space: Space) -> Room {
        let pledged_bytes =
            self.pieces.stages.lock().pledged_bytes() + self.journal.backlog_bytes();
        self.reserve.room(space, pledged_bytes)
    }

    /// Registers a server: the node joins its cluster if it belongs to none yet, and serves it from
    /// now on if its epoch is higher than any before. That is durable when this returns, and nothing
    /// that an older server has asked for is still being done. `now` counts from any fixed point.
    ///
    /// # Errors
    /// If the node belongs to another cluster, or the disk fails; [`NodeFailure::Fenced`].
    pub fn register(&self, cluster: ClusterId, claim: Claim, now: Duration) -> Result<()> {
        self.check_folder()?;
        self.registration.register(self.id, &self.root, cluster, claim, now, || {
            self.begin_journal(cluster)?;
            let identity = Identity::of(self.id, Some(cluster), Some(claim));
            let mut anchor = self.anchor.lock();
            *anchor = None;
            identity.write(&*self.disk, &self.root)?;
            *anchor = Anchor::of(&*self.disk, &self.root).ok();
            self.journal.change_server();
            Ok(())
        })
    }

    fn begin_journal(&self, cluster: ClusterId) -> Result<()> {
        self.journal.begin(cluster, &self.snapshots, self.follower.position())
    }

    /// Lets a registered server ask for something. As long as what this gives is kept, no newer
    /// server can register. `now` counts from the same point as in [`BlockStore::register`].
    ///
    /// # Errors
    /// [`NodeFailure::Fenced`] if another server has registered since; [`NodeFailure::Refused`] if
    /// the folder is not there any more.
    pub fn admit(&self, claim: Claim, now: Duration) -> Result<Admitted<'_>> {
        let admitted = self.registration.admit(self.id, claim, now)?;
        self.check_folder()?;
        Ok(admitted)
    }

    /// Is the folder still the one that was opened? It is not if it was moved away or its disk was
    /// unmounted, and then nothing that this node has acknowledged is in its place.
    pub(super) fn check_folder(&self) -> Result<()> {
        let mut anchor = self.anchor.lock();
        let root = self.root.display();
        let found = match &*anchor {
            Some(known) => {
                let found = self.disk.identity(&identity_path(&self.root));
                found.map(|found| found == known.identity)
            }
            None => Anchor::of(&*self.disk, &self.root).map(|taken| {
                *anchor = Some(taken);
                true
            }),
        };
        let why = match found {
            Ok(true) => return Ok(()),
            Ok(false) => format!("its folder {root} is another one than when it started"),
            Err(e) if is_missing(&e) => format!("its folder {root} is gone"),
            Err(e) if is_shortage(&e) => return Err(disk_error(self.id, &e)),
            Err(e) => format!("its folder {root} cannot be read ({})", reason(&e)),
        };
        let why = format!("{why}: put the folder back, or restart the node");
        Err(Error::node(self.id, NodeFailure::Refused(why)))
    }

    /// How the node is.
    ///
    /// # Errors
    /// If its folder is gone, or its journal cannot be read.
    pub fn alive(&self) -> Result<Alive> {
        self.check_folder()?;
        let journal = self.journal_state()?;
        let (room, trouble) = match self.disk.space(&self.root) {
            Ok(space) => (Some(self.room_in(space)), self.trouble(space)),
            Err(e) => {
                let why = format!("it does not tell how much room it has ({})", reason(&e));
                (None, Some(DiskTrouble::Failing(why)))
            }
        };
        Ok(Alive { room, journal, trouble })
    }

    /// What is wrong with the disk. Whatever can be known without writing is, so that an idle node says
    /// it as well.
    fn trouble(&self, space: Space) -> Option<DiskTrouble> {
        for folder in FOLDERS.map(|name| self.root.join(name)) {
            if let Err(e) = self.disk.may_write(&folder) {
                // Put together by `join`, the first one ends in a slash.
                let folder = folder.components().collect::<PathBuf>();
                let why = format!("{} ({})", folder.display(), reason(&e));
                return Some(DiskTrouble::NotWritable(why));
            }
        }
        if !has_files(space, false) {
            return Some(DiskTrouble::NoInodes);
        }
        let protected = || self.follower.protected().map(DiskTrouble::Failing);
        self.disk_check.trouble().or_else(protected)
    }

    /// How far its journal is.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn journal_state(&self) -> Result<JournalState> {
        self.journal.state()
    }

    /// The server says that all up to this entry is decided.
    pub fn decided(&self, id: u64) {
        self.journal.decide(id);
    }

    /// Adds entries to the journal, with the pieces in `body`.
    ///
    /// # Errors
    /// If they contradict what is decided, are damaged, or the disk fails; they may be in the journal
    /// all the same.
    pub fn append(&self, append: &Append, body: &[u8]) -> Result<JournalState> {
        self.check_folder()?;
        self.noting(Task::Append, self.journal.append(append, body))
    }

    /// Entry `id` of the journal; `None` if it does not have it, or no longer.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn point_at(&self, id: u64) -> Result<Option<Point>> {
        self.check_folder()?;
        self.journal.point_at(id)
    }

    /// Passes all entries behind a point to `take`, page by page.
    ///
    /// # Errors
    /// If the journal does not have that point, or the disk fails; those of `take`.
    pub fn entries(
        &self,
        after: Point,
        take: &mut dyn FnMut(Vec<Entry>) -> Result<()>,
    ) -> Result<()> {
        self.check_folder()?;
        self.journal.entries(after, take)
    }

    /// Does what the server of this cluster asks about snapshots; the answer's body replaces what is
    /// in `out`.
    ///
    /// # Errors
    /// [`NodeFailure::NoSpace`]; [`NodeFailure::Refused`] if it does not fit what is here, or the disk
    /// fails.
    pub fn snapshot(
        &self,
        cluster: Option<ClusterId>,
        request: &SnapshotRequest,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<SnapshotReply> {
        self.check_folder()?;
        out.clear();
        match request {
            SnapshotRequest::Begin(head) => self.snapshots.begin(cluster, head)?,
            SnapshotRequest::Chunk { index, checksum } => {
                self.snapshots.chunk(*index, *checksum, body)?;
            }
            SnapshotRequest::End => self.install_snapshot()?,
            SnapshotRequest::List => return Ok(SnapshotReply::Heads(self.snapshots.heads())),
            SnapshotRequest::Read { at, index } => {
                *out = self.snapshots.read_chunk(*at, *index)?;
                return Ok(SnapshotReply::Chunk);
            }
        }
        Ok(SnapshotReply::Done)
    }

    /// A snapshot beyond the journal restarts the journal. Pieces that only the journal has are written
    /// out first.
    fn install_snapshot(&self) -> Result<()> {
        let _turn = self.turn.lock();
        let head = self.snapshots.finish()?;
        if !self.journal.reaches(head.at)? {
            self.gap.raise().map_err(|e| disk_error(self.id, &e))?;
            while self.write_out_up_to(u64::MAX)? {}
        }
        self.snapshots.install(head)?;
        self.journal.take_snapshot(head, &self.snapshots)
    }

    /// Begins to receive a piece, if there is room for it: a new one leaves the reserve free, the
    /// repair of an old one may use it.
    ///
    /// # Errors
    /// [`NodeFailure::NoSpace`], or the disk fails.
    pub fn stage(&self, meta: PieceMeta) -> Result<Stage> {
        self.check_folder()?;
        let piece_bytes = meta.piece_bytes();
        let files = StagedFiles::begin(&self.pieces, meta.version, piece_bytes, |pledged_bytes| {
            let pledged_bytes = pledged_bytes + self.journal.backlog_bytes();
            let space = self.disk.space(&self.root).map_err(|e| disk_error(self.id, &e))?;
            self.reserve
                .admit(space, pledged_bytes, piece_bytes, meta.repair)
                .map_err(|why| Error::node(self.id, why))
        })?;
        Stage::create(self.id, meta, files)
    }

    /// The piece of a version. Whether it is held turns out when its units are asked for.
    pub fn open_piece(&self, version: VersionId) -> Piece {
        let (disk, pieces) = (self.disk.clone(), self.pieces.clone());
        Piece::new(disk, pieces, self.journal.clone(), self.id, version)
    }

    /// The versions of which any block is here, above `after`, ascending, at most `most`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn pieces(&self, after: Option<VersionId>, most: usize) -> Result<Vec<VersionId>> {
        self.check_folder()?;
        let mut found = Vec::new();
        for first in after.map_or(0, |after| after.0[0])..=u8::MAX {
            // The journal first: a piece that is written out in between is in both.
            let inline = self.journal.inline_versions(first);
            let listed = self.pieces.in_folder(first).map_err(|e| disk_error(self.id, &e))?;
            let all: BTreeSet<VersionId> = inline.into_iter().chain(listed).collect();
            let above =
                all.into_iter().filter(|version| after.is_none_or(|after| *version > after));
            found.extend(above.take(most - found.len()));
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }

    /// Those of these versions of which not both blocks are here.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn lacks(&self, versions: &[VersionId]) -> Result<Vec<VersionId>> {
        self.check_folder()?;
        let mut lacking = Vec::new();
        for version in versions {
            if !self.holds(*version).map_err(|e| disk_error(self.id, &e))? {
                lacking.push(*version);
            }
        }
        Ok(lacking)
    }

    fn holds(&self, version: VersionId) -> io::Result<bool> {
        Ok(self.journal.inline(version).is_some() || self.pieces.holds(version)?)
    }

    /// Removes the block files of versions that the catalog does not know. It knows those that are in
    /// the journal.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn discard(&self, versions: &[VersionId]) -> Result<()> {
        self.check_folder()?;
        let unknown = versions.iter().filter(|version| self.journal.inline(**version).is_none());
        let unknown: Vec<VersionId> = unknown.copied().collect();
        let stuck = self.pieces.remove(&unknown).map_err(|e| disk_error(self.id, &e))?;
        let discarded = match stuck.first() {
            Some((path, e)) => Err(disk_error_at(self.id, path, e)),
            None => Ok(()),
        };
        self.noting(Task::Discard, discarded)
    }

    /// Removes the pieces of versions that the journal has dropped. One that cannot be removed is tried
    /// again with every check of the disk; after a restart the next comparison finds a piece that the
    /// catalog does not know.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) fn drop_pieces(&self, versions: &[VersionId]) -> io::Result<()> {
        versions.iter().for_each(|version| self.journal.forget_piece(*version));
        for (path, e) in self.pieces.remove(versions)? {
            tracing::warn!("{} cannot be removed: {}", path.display(), reason(&e));
            self.disk_check.cannot_remove(self.id, path, &e);
        }
        Ok(())
    }

    /// The catalog says what the node lacks; see [`JournalState::gap`].
    ///
    /// # Errors
    /// If the disk fails.
    pub fn close_gap(&self, gap: u64) -> Result<()> {
        self.check_folder()?;
        self.gap.close(gap).map_err(|e| disk_error(self.id, &e))
    }

    /// Compares the view with the newest snapshot and the journal, and puts it right.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn check_view(&self) -> Result<ViewReport> {
        self.check_folder()?;
        let mut check = None;
        loop {
            // Others have their turn between the steps of a long check.
            let _turn = self.turn.lock();
            if let Some(report) = self.follower.check(self, &mut check)? {
                return Ok(report);
            }
        }
    }

    /// How many decided entries of the journal have not been followed yet.
    pub fn behind(&self) -> u64 {
        self.journal.decided().saturating_sub(self.follower.reached())
    }

    /// Does what decided entries of the journal mean for the node, a few of them; true if there are
    /// more.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn follow(&self) -> Result<bool> {
        self.check_folder()?;
        let _turn = self.turn.lock();
        self.noting(Task::Follow, self.follower.step(self))
    }
}

fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Is this the folder of a node, of whichever?
///
/// # Errors
/// As the disk says.
pub fn holds_node(disk: &dyn Disk, root: &Path) -> io::Result<bool> {
    disk.exists(&identity_path(root))
}

/// The lock file of a node's folder.
pub fn lock_path(root: &Path) -> PathBuf {
    root.join(".palk/lock")
}

#[cfg(test)]
mod tests;
