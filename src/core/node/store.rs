//! A node's block store: pieces are staged, committed, read and removed here.
//!
//! ```text
//!   files_2/
//!     demo/test/yeet_B1.txt  yeet_B2.txt     final names
//!     .palk/node.toml                        which node of which cluster this is
//!     .palk/lock                             held while a node runs
//!     .palk/staging/<version>_B1, _B2        on disk, not yet committed
//!     .palk/staging/<version>_B1.7           being received, by the seventh stage of this process
//!     backup/                                the catalog's backup; no user can be called that
//! ```
//!
//! Invariants: a file under a final name is always a whole block with a valid trailer, since it got
//! its name by a rename after it was synced; a name only ever goes from a lower to a higher sequence
//! number. So every order can be repeated, and a crash between the renames of a piece's two blocks
//! is finished by the same order when it comes again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::io::disk::{Disk, create_folders, read_whole, write_whole};
use crate::core::node::piece::{Piece, read_trailer};
use crate::core::node::stage::{Stage, Stages};
use crate::core::path::{FolderPath, UserName, block_file_name};
use crate::core::types::{Block, ClusterId, NodeId, VersionId};
use crate::core::wire::node::{Order, Outcome, PieceMeta, Place};
use crate::core::wire::trailer::Header;

/// The version of the folder's layout that this program writes, and the only one that it reads.
pub const FOLDER_FORMAT: u32 = 1;

/// `node.toml` is a few lines.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// What `node.toml` says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    node: NodeId,
    /// Hex; missing until the first server has come.
    cluster: Option<String>,
}

/// The folder of one node.
pub struct BlockStore {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    id: NodeId,
    cluster: Mutex<Option<ClusterId>>,
    /// Renames and removals take turns, so that each sees whole what another did.
    changing: Mutex<()>,
    /// The stages that are being received.
    stages: Arc<Mutex<Stages>>,
}

impl BlockStore {
    /// Opens the folder, or makes it if there is none. The caller holds the folder's lock.
    ///
    /// # Errors
    /// If the folder belongs to another node or format, or the disk fails.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, id: NodeId) -> Result<BlockStore> {
        let failed = |e| Error::io(format!("cannot prepare the folder {}", root.display()))(e);
        create_folders(&*disk, &root.join(".palk/staging")).map_err(failed)?;
        create_folders(&*disk, &root.join("backup")).map_err(failed)?;
        let path = identity_path(root);
        let identity = match read_whole(&*disk, &path, IDENTITY_BYTES_MAX).map_err(failed)? {
            Some(bytes) => read_identity(&path, &bytes, id)?,
            None => {
                let fresh = Identity { format: FOLDER_FORMAT, node: id, cluster: None };
                write_identity(&*disk, &path, &fresh)?;
                fresh
            }
        };
        let cluster = match identity.cluster.as_deref().map(str::parse) {
            Some(Ok(cluster)) => Some(cluster),
            Some(Err(_)) => return Err(bad_identity(&path, "its cluster is not an id")),
            None => None,
        };
        let store = BlockStore {
            disk,
            root: root.to_path_buf(),
            id,
            cluster: Mutex::new(cluster),
            changing: Mutex::new(()),
            stages: Arc::default(),
        };
        store.drop_unfinished().map_err(failed)?;
        Ok(store)
    }

    /// Which node this is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where its files are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Joins the cluster, if the node belongs to none yet.
    ///
    /// # Errors
    /// If it belongs to another one, or the disk fails.
    pub fn join_cluster(&self, cluster: ClusterId) -> Result<()> {
        let mut own = self.cluster.lock();
        match *own {
            Some(own) if own == cluster => Ok(()),
            Some(own) => Err(Error::other(
                Code::NotAllowed,
                format!(
                    "node {} keeps the files of another cluster ({own}) in {}; \
                     start it with the folder of this one, or with an empty folder",
                    self.id,
                    self.root.display()
                ),
            )),
            None => {
                let identity = Identity {
                    format: FOLDER_FORMAT,
                    node: self.id,
                    cluster: Some(cluster.to_string()),
                };
                write_identity(&*self.disk, &identity_path(&self.root), &identity)?;
                *own = Some(cluster);
                Ok(())
            }
        }
    }

    /// Begins to receive a piece.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn stage(&self, meta: PieceMeta) -> Result<Stage> {
        let live = Stages::begin(&self.stages);
        let paths = self.id.blocks().map(|block| {
            let finished = self.staging_path(meta.version, block);
            [finished.with_extension(live.number().to_string()), finished]
        });
        let folder = self.root.join(".palk/staging");
        Stage::create(self.disk.clone(), self.id, meta, paths, folder, live)
    }

    /// Does things in this order and makes them durable before it answers. One outcome for each.
    pub fn carry(&self, orders: &[Order]) -> Vec<Outcome> {
        let _turn = self.changing.lock();
        let mut touched = Touched::default();
        let mut outcomes: Vec<Outcome> = orders
            .iter()
            .map(|order| match self.carry_one(order, &mut touched) {
                Ok(outcome) => outcome,
                Err(e) => Outcome::Failed(e.to_string()),
            })
            .collect();
        if let Err(e) = touched.sync(&*self.disk) {
            // Renamed but not durable: all of them are to come again.
            outcomes.fill(Outcome::Failed(format!("cannot sync a folder: {e}")));
        }
        outcomes
    }

    /// Opens the piece of a version, from staging or from its final name.
    ///
    /// # Errors
    /// [`NodeFailure::NotHeld`] or [`NodeFailure::Damaged`].
    pub fn open_piece(&self, version: VersionId, place: &Place) -> Piece {
        let candidates = self.id.blocks().map(|block| {
            let (last, first) = (self.block_path(place, block), self.staging_path(version, block));
            // The final name twice: between the first two looks a commit may have renamed it.
            [last.clone(), first, last]
        });
        Piece::new(self.disk.clone(), self.id, version, candidates)
    }

    /// The versions in staging above `after`, ascending, at most `most`. Looks for what is left
    /// over there as well.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn staged(&self, after: Option<VersionId>, most: usize) -> Result<Vec<VersionId>> {
        self.drop_unfinished().map_err(Error::io("cannot clear the staging folder"))?;
        let listed = self
            .disk
            .list(&self.root.join(".palk/staging"))
            .map_err(Error::io("cannot list the staged pieces"))?;
        let mut versions: Vec<VersionId> = listed
            .iter()
            .filter(|entry| !is_unfinished(&entry.name))
            .filter_map(|entry| entry.name.split('_').next()?.parse().ok())
            .filter(|version| after.is_none_or(|after| *version > after))
            .collect();
        versions.dedup();
        versions.truncate(most);
        Ok(versions)
    }

    /// Removes what a crash, or a disk that failed, has left of stages that were never finished:
    /// nobody was told of them.
    fn drop_unfinished(&self) -> io::Result<()> {
        let staging = self.root.join(".palk/staging");
        for entry in self.disk.list(&staging)? {
            let number = entry.name.rsplit_once('.').map(|(_, number)| number.parse());
            // A name that this process is still writing to stays.
            let is_left_over = match number {
                Some(Ok(number)) => !self.stages.lock().is_live(number),
                Some(Err(_)) => true,
                None => false,
            };
            if is_left_over && !entry.is_folder {
                self.disk.remove(&staging.join(&entry.name))?;
            }
        }
        Ok(())
    }

    fn carry_one(&self, order: &Order, touched: &mut Touched) -> io::Result<Outcome> {
        match order {
            Order::MakeFolder { user, folder } => {
                self.make_folder(user, folder, touched)?;
                Ok(Outcome::Done)
            }
            Order::Commit { version, seq, place } => {
                for block in self.id.blocks() {
                    let staged = self.staging_path(*version, block);
                    let last = self.block_path(place, block);
                    let there = self.header_at(&last)?;
                    let newer = there.as_ref().is_some_and(|header| header.seq > *seq);
                    let whole = self.header_at(&staged)?.is_some_and(|own| own.version == *version);
                    if !whole {
                        if newer || there.is_some_and(|header| header.version == *version) {
                            continue;
                        }
                        return Ok(Outcome::NotHeld);
                    }
                    if newer {
                        self.disk.remove(&staged)?;
                    } else {
                        self.make_folder(&place.user, &place.path.folder(), touched)?;
                        self.disk.rename(&staged, &last)?;
                        touched.folder_of(&last);
                    }
                    touched.folder_of(&staged);
                }
                Ok(Outcome::Done)
            }
            Order::Remove { place, up_to } => {
                for path in self.id.blocks().map(|block| self.block_path(place, block)) {
                    if !self.disk.exists(&path)? {
                        continue;
                    }
                    // A block whose trailer cannot be read is older than this order: orders come in
                    // the order of their numbers, so nothing newer can lie here yet.
                    if self.header_at(&path)?.is_none_or(|header| header.seq <= *up_to) {
                        self.disk.remove(&path)?;
                        touched.folder_of(&path);
                    }
                }
                Ok(Outcome::Done)
            }
            Order::Discard { version } => {
                for path in self.id.blocks().map(|block| self.staging_path(*version, block)) {
                    self.disk.remove(&path)?;
                    touched.folder_of(&path);
                }
                Ok(Outcome::Done)
            }
        }
    }

    /// Makes a user's folder and the folders in it that are missing.
    fn make_folder(
        &self,
        user: &UserName,
        folder: &FolderPath,
        touched: &mut Touched,
    ) -> io::Result<()> {
        let top = self.root.join(user.as_str());
        let inner = folder.ancestry();
        let all = std::iter::once(top.clone()).chain(inner.iter().map(|f| top.join(f.as_str())));
        for path in all {
            if self.disk.create_folder(&path)? {
                touched.folder_of(&path);
            }
        }
        Ok(())
    }

    /// The header of the block at a final name; nothing if there is no block or its trailer is
    /// damaged.
    fn header_at(&self, path: &Path) -> io::Result<Option<Header>> {
        match self.disk.open(path) {
            Ok(file) => Ok(read_trailer(&*file).ok().map(|trailer| trailer.header)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn block_path(&self, place: &Place, block: Block) -> PathBuf {
        self.root
            .join(place.user.as_str())
            .join(place.path.folder().as_str())
            .join(block_file_name(place.path.name(), block))
    }

    fn staging_path(&self, version: VersionId, block: Block) -> PathBuf {
        self.root.join(".palk/staging").join(format!("{version}_{block}"))
    }
}

/// Folders whose names changed and that are still to be synced, each once.
#[derive(Default)]
struct Touched(Vec<PathBuf>);

impl Touched {
    fn folder_of(&mut self, path: &Path) {
        if let Some(folder) = path.parent()
            && !self.0.iter().any(|known| known == folder)
        {
            self.0.push(folder.to_path_buf());
        }
    }

    /// Outer folders were noted after inner ones only if they are new, and then hold them; syncing
    /// the shortest paths first makes every inner name reachable.
    fn sync(mut self, disk: &dyn Disk) -> io::Result<()> {
        self.0.sort_by_key(|path| path.as_os_str().len());
        self.0.iter().try_for_each(|path| disk.sync_folder(path))
    }
}

/// Is this name in staging that of a block which was still being received?
fn is_unfinished(name: &str) -> bool {
    name.contains('.')
}

fn identity_path(root: &Path) -> PathBuf {
    root.join(".palk/node.toml")
}

/// The lock file of a node's folder.
pub fn lock_path(root: &Path) -> PathBuf {
    root.join(".palk/lock")
}

fn read_identity(path: &Path, bytes: &[u8], id: NodeId) -> Result<Identity> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad_identity(path, "it is not text"))?;
    let identity: Identity =
        toml::from_str(text).map_err(|e| bad_identity(path, e.message().trim()))?;
    if identity.format != FOLDER_FORMAT {
        let what =
            format!("its format {} is not the {FOLDER_FORMAT} of this Palk", identity.format);
        return Err(bad_identity(path, &what));
    }
    if identity.node != id {
        return Err(Error::other(
            Code::NotAllowed,
            format!(
                "this folder holds the files of node {}, not of node {id}: \
                 start it with --id {} or give node {id} a folder of its own with --dir",
                identity.node, identity.node
            ),
        ));
    }
    Ok(identity)
}

fn write_identity(disk: &dyn Disk, path: &Path, identity: &Identity) -> Result<()> {
    let text = toml::to_string(identity)
        .map_err(|e| Error::other(Code::Unexpected, format!("cannot write node.toml: {e}")))?;
    write_whole(disk, path, text.as_bytes())
        .map_err(Error::io(format!("cannot write {}", path.display())))
}

fn bad_identity(path: &Path, what: &str) -> Error {
    Error::Damaged(format!("{}: {what}", path.display()))
}

/// Puts a failure of this node into the form that the server passes on.
pub(super) fn node_error(node: NodeId, why: NodeFailure) -> Error {
    Error::Node { node, why }
}
