//! A node's block store: pieces are staged, committed, read and removed here.
//!
//! ```text
//!   files_2/
//!     demo/test/yeet_B1.txt  yeet_B2.txt     final names
//!     .palk/node.toml                        which node of which cluster this is, whom it serves
//!     .palk/lock                             held while a node runs
//!     .palk/staging/<version>_B1, _B2        on disk, not yet committed
//!     .palk/staging/<version>_B1.7           being received, by the seventh stage of this process
//!     backup/                                the catalog's backup; no user can be called that
//! ```
//!
//! Invariants: a file under a final name is always a whole block with a valid trailer, since it got
//! its name by a rename after it was synced; a name only ever goes from a lower to a higher sequence
//! number, but by a move. So every order can be repeated as long as no move has come after it, and a
//! crash between the renames of a piece's two blocks is finished by the same order when it comes
//! again.

mod moving;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::core::code::checksum;
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{Disk, Listed, create_folders, read_whole, write_whole};
use crate::core::io::reason;
use crate::core::node::backup::Backup;
use crate::core::node::evidence::Walk;
use crate::core::node::inventory::Inventory;
use crate::core::node::piece::{Piece, read_trailer};
use crate::core::node::registration::{Admitted, Registration};
use crate::core::node::reserve::Reserve;
use crate::core::node::stage::{Stage, Stages, disk_error};
use crate::core::path::{
    FolderPath, PATH_BYTES_MAX, USER_NAME_BYTES_MAX, UserName, block_file_name,
};
use crate::core::types::{Block, Claim, ClusterId, NodeId, VersionId};
use crate::core::wire::backup::Finding;
use crate::core::wire::node::{Formerly, Order, Outcome, PieceMeta, Place, Room};
use crate::core::wire::trailer::Header;

/// The version of the folder's layout that this program writes, and the only one that it reads.
pub const FOLDER_FORMAT: u32 = 1;

/// So many folders are remembered to be durable; forgetting one costs a sync.
const DURABLE_FOLDERS_MAX: usize = 10_000;

/// The longest path that systems take, in bytes.
const SYSTEM_PATH_BYTES_MAX: usize = 4095;

/// The longest path of a node's folder, in bytes: what the longest name of a block leaves over. An
/// order for a path that the system does not take would be owed for ever.
pub const ROOT_BYTES_MAX: usize =
    SYSTEM_PATH_BYTES_MAX - USER_NAME_BYTES_MAX - PATH_BYTES_MAX - "//_A1".len();

/// `node.toml` is a few lines.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// What to do about a `node.toml` that is missing or damaged.
const WAY_BACK: &str = "to keep the folder, copy node.toml from another node of the cluster, give its \
                        line `node` this node's number and take out its line `sum`; or start with \
                        an empty folder, which the server fills";

/// What `node.toml` says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    /// The checksum of what follows, in hex; missing where a person wrote the file. It comes first,
    /// so that a file that is cut off has it and does not fit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
    format: u32,
    node: NodeId,
    /// Hex; missing until the first server has come.
    cluster: Option<String>,
    /// The highest epoch that a server has registered with; missing until one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// That server's id in hex; there if the epoch is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

impl Identity {
    fn of(node: NodeId, cluster: Option<ClusterId>, claim: Option<Claim>) -> Identity {
        Identity {
            sum: None,
            format: FOLDER_FORMAT,
            node,
            cluster: cluster.map(|cluster| cluster.to_string()),
            epoch: claim.map(|claim| claim.epoch),
            server: claim.map(|claim| claim.server.to_string()),
        }
    }

    /// It as text, without its sum.
    fn text(&self) -> Result<String> {
        toml::to_string(&Identity { sum: None, ..self.clone() })
            .map_err(|e| Error::other(Code::Unexpected, format!("cannot write node.toml: {e}")))
    }

    /// The cluster that the node belongs to, and the server that it serves.
    fn registered(&self, path: &Path) -> Result<(Option<ClusterId>, Option<Claim>)> {
        let cluster = self.cluster.as_deref().map(str::parse).transpose();
        let cluster = cluster.map_err(|_| bad_identity(path, "its cluster is not an id"))?;
        let server = self.server.as_deref().map(str::parse).transpose();
        let server = server.map_err(|_| bad_identity(path, "its server is not an id"))?;
        let claim = match (self.epoch, server) {
            (None, None) => None,
            (Some(epoch), Some(server)) => Some(Claim { epoch, server }),
            _ => {
                return Err(bad_identity(
                    path,
                    "it has an epoch without a server, or a server without an epoch",
                ));
            }
        };
        Ok((cluster, claim))
    }
}

/// The folder of one node.
pub struct BlockStore {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    id: NodeId,
    registration: Registration,
    /// Renames and removals take turns, so that each sees whole what another did. Inside are the
    /// folders whose names this process has made durable: one that is merely there may have been
    /// made by an order whose sync failed or never came.
    changing: Mutex<HashSet<PathBuf>>,
    /// The server and the number of its last orders that held a move. Taken while `changing` is.
    moved: Mutex<Option<(Claim, u64)>>,
    /// The stages that are being received.
    stages: Arc<Mutex<Stages>>,
    reserve: Reserve,
    backup: Backup,
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
                 no room for long names: give it a shorter one with --dir"
            );
            return Err(Error::other(Code::Usage, text));
        }
        let failed = |e| Error::io(format!("cannot prepare the folder {}", root.display()))(e);
        let path = identity_path(root);
        let known = match read_whole(&*disk, &path, IDENTITY_BYTES_MAX).map_err(failed)? {
            Some(bytes) => Some(read_identity(&path, &bytes, id)?),
            // Taken for an empty node, it would have all its pieces called lost.
            None if holds_files(&*disk, root).map_err(failed)? => {
                return Err(bad_identity(
                    &path,
                    "it is missing, and there are files in the folder",
                ));
            }
            None => None,
        };
        create_folders(&*disk, &root.join(".palk/staging")).map_err(failed)?;
        create_folders(&*disk, &root.join("backup")).map_err(failed)?;
        let identity = match known {
            Some(identity) => identity,
            None => {
                let fresh = Identity::of(id, None, None);
                write_identity(&*disk, &path, &fresh)?;
                fresh
            }
        };
        let (cluster, claim) = identity.registered(&path)?;
        let backup = Backup::new(disk.clone(), root.join("backup"), id);
        let store = BlockStore {
            disk,
            root: root.to_path_buf(),
            id,
            registration: Registration::new(cluster, claim),
            changing: Mutex::default(),
            moved: Mutex::default(),
            stages: Arc::default(),
            reserve: Reserve::Bytes(0),
            backup,
        };
        store.drop_unfinished().map_err(failed)?;
        Ok(store)
    }

    /// The same, with room that new files leave free. Without this, they may fill the disk.
    #[must_use]
    pub fn keeping(mut self, reserve: Reserve) -> BlockStore {
        self.reserve = reserve;
        self
    }

    /// The room on its disk.
    ///
    /// # Errors
    /// If the disk does not tell.
    pub fn room(&self) -> io::Result<Room> {
        let pledged_bytes = self.stages.lock().pledged_bytes();
        Ok(self.reserve.room(self.disk.space(&self.root)?, pledged_bytes))
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

    /// Registers a server: the node joins its cluster if it belongs to none yet, and serves it from
    /// now on if its epoch is higher than any before. That is durable when this returns, and nothing
    /// that an older server has asked for is still being done. True if the node belonged to no
    /// cluster before. `now` counts from any fixed point.
    ///
    /// # Errors
    /// If the node belongs to another cluster, or the disk fails;
    /// [`NodeFailure::Fenced`](crate::core::error::NodeFailure::Fenced).
    pub fn register(&self, cluster: ClusterId, claim: Claim, now: Duration) -> Result<bool> {
        self.registration.register(self.id, &self.root, cluster, claim, now, || {
            let identity = Identity::of(self.id, Some(cluster), Some(claim));
            write_identity(&*self.disk, &identity_path(&self.root), &identity)
        })
    }

    /// Lets a registered server ask for something. As long as what this gives is kept, no newer
    /// server can register. `now` counts from the same point as in [`BlockStore::register`].
    ///
    /// # Errors
    /// [`NodeFailure::Fenced`](crate::core::error::NodeFailure::Fenced) if another server has
    /// registered since.
    pub fn admit(&self, claim: Claim, now: Duration) -> Result<Admitted<'_>> {
        self.registration.admit(self.id, claim, now)
    }

    /// Begins to receive a piece, if there is room for it: a new one leaves the reserve free, the
    /// repair of an old one may use it.
    ///
    /// # Errors
    /// [`NodeFailure::NoSpace`](crate::core::error::NodeFailure::NoSpace), or the disk fails.
    pub fn stage(&self, meta: PieceMeta) -> Result<Stage> {
        let piece_bytes = meta.piece_bytes();
        let live = Stages::begin(&self.stages, piece_bytes, |pledged_bytes| {
            let space = self.disk.space(&self.root).map_err(|e| disk_error(self.id, &e))?;
            self.reserve
                .admit(space, pledged_bytes, piece_bytes, meta.repair)
                .map_err(|why| Error::node(self.id, why))
        })?;
        let paths = self.id.blocks().map(|block| {
            let finished = self.staging_path(meta.version, block);
            [finished.with_extension(live.number().to_string()), finished]
        });
        let folder = self.root.join(".palk/staging");
        Stage::create(self.disk.clone(), self.id, meta, paths, folder, live)
    }

    /// Does things in this order and makes them durable before it answers. One outcome for each.
    pub fn carry(&self, orders: &[Order]) -> Vec<Outcome> {
        self.carry_locked(orders, &mut self.changing.lock())
    }

    /// The same for orders of a server, numbered by it as they were sent. What was sent before a move
    /// and arrives after it (over a connection that the server has given up, in a process that had
    /// hung) would find other files under its names, and is not done.
    pub fn carry_in_turn(&self, claim: Claim, number: u64, orders: &[Order]) -> Vec<Outcome> {
        let mut durable = self.changing.lock();
        let mut moved = self.moved.lock();
        if moved.is_some_and(|(server, last)| server == claim && number < last) {
            let late = "it came too late: something was moved since it was sent";
            return vec![Outcome::Failed(late.into()); orders.len()];
        }
        if orders.iter().any(Order::is_move) {
            *moved = Some((claim, number));
        }
        self.carry_locked(orders, &mut durable)
    }

    fn carry_locked(&self, orders: &[Order], durable: &mut HashSet<PathBuf>) -> Vec<Outcome> {
        let mut touched = Touched { durable: std::mem::take(durable), ..Touched::default() };
        let mut stopped = false;
        let mut outcomes: Vec<Outcome> = orders
            .iter()
            .map(|order| {
                if stopped {
                    return Outcome::Failed("it waits for an order before it".into());
                }
                self.carry_one(order, &mut touched).unwrap_or_else(|e| {
                    // Others are about to take its place.
                    stopped = matches!(order, Order::TakeBack { .. });
                    Outcome::Failed(reason(&e))
                })
            })
            .collect();
        match touched.sync(&*self.disk) {
            Ok(all) => *durable = all,
            // Renamed but not durable: all of them are to come again.
            Err(e) => outcomes.fill(Outcome::Failed(format!("cannot sync a folder: {e}"))),
        }
        outcomes
    }

    /// The piece of a version, from staging, from its final name or one that it had before. Whether
    /// it is there is told when its units are asked for.
    pub fn open_piece(&self, version: VersionId, place: &Place, formerly: &Formerly) -> Piece {
        let places = formerly.paths().iter().map(|path| moving::place(&place.user, path));
        let places: Vec<Place> = std::iter::once(place.clone()).chain(places).collect();
        let candidates = self.id.blocks().map(|block| {
            let last = places.iter().map(|place| self.block_path(place, block));
            let staged = std::iter::once(self.staging_path(version, block));
            // The final names once more, the other way round: between two looks a commit or a move
            // may have renamed it.
            last.clone().chain(staged).chain(last.rev()).collect()
        });
        Piece::new(self.disk.clone(), self.id, version, candidates)
    }

    /// What lies under final names, page by page.
    pub fn inventory(&self) -> Inventory {
        Inventory::new(self.disk.clone(), self.root.clone(), self.id)
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

    /// The cluster that it belongs to, if it has joined one. Not to be asked by whoever holds an
    /// [`Admitted`].
    pub fn cluster(&self) -> Option<ClusterId> {
        self.registration.current().0
    }

    /// The catalog's backup.
    pub fn backup(&self) -> &Backup {
        &self.backup
    }

    /// Passes on what lies here, part by part, each of at most
    /// [`FINDINGS_MAX`](crate::core::wire::backup::FINDINGS_MAX).
    ///
    /// # Errors
    /// Those of `take`. What the disk does not give is among the findings.
    pub fn evidence(&self, take: &mut dyn FnMut(Vec<Finding>) -> Result<()>) -> Result<()> {
        Walk { disk: &*self.disk, root: &self.root, id: self.id, found: Vec::new(), take }.run()
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
                            // Done before, but maybe by a process that was killed before its sync.
                            touched.folder_of(&last);
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
                        // As above, where there is a folder to sync.
                        if path.parent().map_or(Ok(false), |folder| self.disk.exists(folder))? {
                            touched.folder_of(&path);
                        }
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
            Order::MoveFile { version, user, from, to } => {
                let [from, to] = [from, to].map(|path| moving::place(user, path));
                self.move_file(*version, [&from, &to], touched).map(|()| Outcome::Done)
            }
            Order::MoveFolder { user, from, to } => {
                self.move_folder(user, [from, to], touched).map(|()| Outcome::Done)
            }
            Order::RemoveFolder { user, folder } => {
                self.remove_folder(user, folder, touched).map(|()| Outcome::Done)
            }
            Order::TakeBack { version, place } => {
                self.take_back(*version, place, touched).map(|()| Outcome::Done)
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
            if self.disk.create_folder(&path)? || !touched.durable.contains(&path) {
                touched.folder_of(&path);
                touched.made.push(path);
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

/// Folders in which names changed and that are still to be synced, each once.
#[derive(Default)]
struct Touched {
    folders: Vec<PathBuf>,
    /// Folders whose own names will be durable then.
    made: Vec<PathBuf>,
    /// Folders whose own names are durable already.
    durable: HashSet<PathBuf>,
}

impl Touched {
    fn folder_of(&mut self, path: &Path) {
        if let Some(folder) = path.parent()
            && !self.folders.iter().any(|known| known == folder)
        {
            self.folders.push(folder.to_path_buf());
        }
    }

    /// A folder has gone, or has another name: nothing is known of it and of what is in it.
    fn forget(&mut self, path: &Path) {
        self.folders.retain(|known| !known.starts_with(path));
        self.made.retain(|known| !known.starts_with(path));
        self.durable.retain(|known| !known.starts_with(path));
    }

    /// Outer folders were noted after inner ones only if they are new, and then hold them; syncing
    /// the shortest paths first makes every inner name reachable. Gives back the folders whose own
    /// names are durable; after an error none is known to be.
    fn sync(mut self, disk: &dyn Disk) -> io::Result<HashSet<PathBuf>> {
        self.folders.sort_by_key(|path| path.as_os_str().len());
        self.folders.iter().try_for_each(|path| disk.sync_folder(path))?;
        if self.durable.len() + self.made.len() > DURABLE_FOLDERS_MAX {
            self.durable.clear();
        }
        self.durable.extend(self.made);
        Ok(self.durable)
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

/// Which node of which cluster a folder says that it is, in its `node.toml`; nothing if there is
/// none. Only reads.
///
/// # Errors
/// [`Code::Damaged`] if the file cannot be read, [`Code::Version`] if it is of another format.
pub(super) fn identity_of(
    disk: &dyn Disk,
    root: &Path,
) -> Result<Option<(NodeId, Option<ClusterId>)>> {
    let path = identity_path(root);
    let Some(bytes) = read_whole(disk, &path, IDENTITY_BYTES_MAX)
        .map_err(|e| bad_identity(&path, &format!("it cannot be read: {}", reason(&e))))?
    else {
        return Ok(None);
    };
    let identity = parse_identity(&path, &bytes)?;
    let (cluster, _) = identity.registered(&path)?;
    Ok(Some((identity.node, cluster)))
}

fn read_identity(path: &Path, bytes: &[u8], id: NodeId) -> Result<Identity> {
    let identity = parse_identity(path, bytes)?;
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

fn parse_identity(path: &Path, bytes: &[u8]) -> Result<Identity> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad_identity(path, "it is not text"))?;
    let unread = |e: toml::de::Error| bad_identity(path, e.message().trim());
    // Another format may have other lines.
    let format = text.parse::<toml::Table>().map_err(unread)?.get("format").cloned();
    if let Some(format) = format.filter(|format| format.as_integer() != Some(FOLDER_FORMAT.into()))
    {
        let what = format!("its format {format} is not the {FOLDER_FORMAT} of this Palk");
        return Err(Error::other(Code::Version, format!("{}: {what}", path.display())));
    }
    let identity: Identity = toml::from_str(text).map_err(unread)?;
    if let Some(sum) = &identity.sum
        && *sum != sum_of(&identity.text()?)
    {
        return Err(bad_identity(path, "its lines do not fit its checksum"));
    }
    Ok(identity)
}

fn write_identity(disk: &dyn Disk, path: &Path, identity: &Identity) -> Result<()> {
    let text = identity.text()?;
    let text = format!("sum = \"{}\"\n{text}", sum_of(&text));
    write_whole(disk, path, text.as_bytes())
        .map_err(Error::io(format!("cannot write {}", path.display())))
}

fn sum_of(text: &str) -> String {
    format!("{:016x}", checksum::unit(text.as_bytes()))
}

/// Has a node put anything here that users or the server gave it?
fn holds_files(disk: &dyn Disk, root: &Path) -> io::Result<bool> {
    let list = |at: &Path| match disk.list(at) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    };
    let is_users = |entry: &Listed| entry.is_folder && UserName::parse(&entry.name).is_ok();
    Ok(list(root)?.iter().any(is_users)
        || !list(&root.join("backup"))?.is_empty()
        || !list(&root.join(".palk/staging"))?.is_empty())
}

fn bad_identity(path: &Path, what: &str) -> Error {
    let text = format!("cannot use {}: {what}; {WAY_BACK}", path.display());
    Error::other(Code::Damaged, text)
}

#[cfg(test)]
mod tests;
