//! Snapshots: the changes that make the catalog from nothing, and a catalog made of them.
//!
//! What is on its way out (retired versions, doomed folders, removed accounts) is in no snapshot:
//! nodes remove pieces that the catalog does not know. What an uncertain version has replaced is not on
//! its way out.
//!
//! Each change is told with its moment. First comes what is there, then the removed folders that can be
//! had back, then what names were.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::Connection;

use crate::core::catalog::database::{self, all, catalog_error, first, one};
use crate::core::catalog::files::{FileRecord, RECORD, read_record};
use crate::core::catalog::past::NO_FOLDER;
use crate::core::catalog::{
    CLUSTER, Catalog, NamedMoment, UserId, apply, extents, journal, moments, node_addresses,
    properties, replace, tree, uncertain, uploads,
};
use crate::core::error::{Error, Result};
use crate::core::io::disk::{Disk, RealDisk, WriteFile};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{ClusterId, Digest, KeyId, Moment, VersionId};
use crate::core::wire::extents::EXTENTS_MAX;
use crate::core::wire::journal::{Change, FolderAt, KeptVersion, PastItem, Point, Told};
use crate::core::wire::node::Place;
use crate::core::wire::snapshot::{CHUNK_BYTES, FORMAT, SnapshotHead, frame_of};

/// The count at the beginning of a chunk is never longer.
const COUNT_BYTES: usize = 10;

/// No entry has this number.
const NO_ENTRY: i64 = 0;

/// A moment is never longer.
const MOMENT_BYTES: usize = 10;

/// What is in a catalog.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Contents {
    /// Accounts.
    pub accounts: u64,
    /// Folders, without the users' top folders.
    pub folders: u64,
    /// Files.
    pub files: u64,
}

/// What is in the catalog in this file; `None` if there is no such file.
///
/// # Errors
/// If the file is no catalog.
pub fn contents(path: &Path) -> Result<Option<Contents>> {
    let is_there =
        RealDisk.exists(path).map_err(Error::io(format!("cannot look at {}", path.display())))?;
    if !is_there {
        return Ok(None);
    }
    count(&database::open(path)?).map(Some)
}

fn count(connection: &Connection) -> Result<Contents> {
    let count =
        |rows: &str| one(connection, &format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0));
    let files = "SELECT coalesce(sum(files), 0) FROM users WHERE removed = 0";
    Ok(Contents {
        accounts: count("users WHERE removed = 0")?,
        folders: count("entries WHERE version IS NULL AND parent IS NOT NULL")?,
        files: one(connection, files, [], |row| row.get(0))?,
    })
}

impl Catalog {
    /// Writes the catalog to a file as changes, in chunks, each in a frame
    /// ([`wire::snapshot`](crate::core::wire::snapshot)), without holding up anybody. Gives the head
    /// that belongs to them.
    ///
    /// # Errors
    /// If the catalog cannot be read or the file not written.
    pub fn snapshot(&self, path: &Path) -> Result<SnapshotHead> {
        // It may become as large as the catalog.
        self.check_room()?;
        let failed = || Error::io(format!("cannot write {}", path.display()));
        let file = RealDisk.create(path).map_err(failed())?;
        let connection = database::open(&self.path)?;
        let transaction = connection.unchecked_transaction().map_err(catalog_error)?;
        let at = journal::end(&transaction)?;
        let mut chunks = Chunks { file, path, changes: Vec::new(), bytes: COUNT_BYTES, written: 0 };
        tell_nodes(&transaction, &mut chunks)?;
        tell_users(&transaction, &mut chunks)?;
        tell_replacements(&transaction, &mut chunks)?;
        tell_moments(&transaction, &mut chunks)?;
        chunks.flush()?;
        chunks.file.sync().map_err(failed())?;
        Ok(SnapshotHead { format: FORMAT, cluster: self.cluster, at, chunks: chunks.written })
    }
}

/// Takes the next changes of a snapshot.
pub(crate) type Take<'a> = dyn FnMut(Vec<Told>) -> Result<()> + 'a;

impl Catalog {
    /// Makes the catalog anew from a snapshot that was taken at this point; `fill` passes on its changes.
    /// What it was is kept in a file beside it.
    ///
    /// # Errors
    /// Those of `fill`, and then nothing has changed; or the catalog cannot be written.
    pub fn fill_anew(
        &self,
        at: Point,
        fill: &mut dyn FnMut(&mut Take<'_>) -> Result<()>,
    ) -> Result<()> {
        let old = self.path.with_extension(format!("db.before-{}-{}", at.epoch, at.id));
        let name = old
            .to_str()
            .ok_or_else(|| Error::Catalog(format!("the name {} is not UTF-8", old.display())))?;
        RealDisk.remove(&old).map_err(Error::io(format!("cannot write {}", old.display())))?;
        let connection = database::open(&self.path)?;
        connection.execute("VACUUM INTO ?1", [name]).map_err(catalog_error)?;
        self.local(|connection| {
            for table in database::CONTENT {
                let delete = format!("DELETE FROM {table}");
                connection.execute(&delete, []).map_err(catalog_error)?;
            }
            fill(&mut |changes| {
                changes
                    .iter()
                    .try_for_each(|told| apply::change(connection, 0, told.at, &told.change))
            })?;
            journal::set_base(connection, at)
        })
    }
}

/// A snapshot that is being written.
struct Chunks<'a> {
    file: Box<dyn WriteFile>,
    path: &'a Path,
    /// Those of the next chunk.
    changes: Vec<Told>,
    /// How long they are together, at most.
    bytes: usize,
    written: u64,
}

impl Chunks<'_> {
    /// Adds what has no moment.
    fn add(&mut self, change: Change) -> Result<()> {
        self.add_at(Moment(0), change)
    }

    fn add_at(&mut self, at: Moment, change: Change) -> Result<()> {
        let bytes = change.encode()?.len() + MOMENT_BYTES;
        if self.bytes + bytes > CHUNK_BYTES {
            self.flush()?;
        }
        self.bytes += bytes;
        self.changes.push(Told { at, change });
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let failed = Error::io(format!("cannot write {}", self.path.display()));
        self.file.append(&frame_of(&self.changes)?).map_err(failed)?;
        self.changes.clear();
        self.bytes = COUNT_BYTES;
        self.written += 1;
        Ok(())
    }
}

fn tell_nodes(connection: &Connection, chunks: &mut Chunks<'_>) -> Result<()> {
    node_addresses(connection)?.map_or(Ok(()), |addresses| chunks.add(Change::Nodes { addresses }))
}

fn tell_replacements(connection: &Connection, chunks: &mut Chunks<'_>) -> Result<()> {
    let Some(now) = node_addresses(connection)? else { return Ok(()) };
    for replacement in replace::replacements(connection)? {
        let node = replacement.node;
        // One address is taken from what is there, so that has to be told, too.
        let mut addresses = now.clone();
        addresses[node.index()] = replacement.instead_of;
        chunks.add(Change::Nodes { addresses })?;
        let (address, started_ms) = (replacement.address, replacement.started_ms);
        chunks.add(Change::ReplacementBegun { node, address, started_ms })?;
        if let Some(proved_ms) = replacement.proved_ms {
            chunks.add(Change::ReplacementProved { node, proved_ms })?;
        }
        chunks.add(Change::Nodes { addresses: now.clone() })?;
    }
    Ok(())
}

fn tell_users(connection: &Connection, chunks: &mut Chunks<'_>) -> Result<()> {
    let select = "SELECT id, name, password, created_ms, disabled, quota, root,
                         (SELECT made FROM entries WHERE entries.id = root), kept_since, admin FROM users
                  WHERE removed = 0 ORDER BY id";
    let users = all(connection, select, [], |row| {
        let (id, name, password): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (created_ms, disabled, bytes): (_, bool, Option<i64>) =
            (row.get(3)?, row.get(4)?, row.get(5)?);
        let made = Moment(row.get::<_, Option<_>>(7)?.unwrap_or_default());
        let admin: bool = row.get(9)?;
        let account = (id, name, password, created_ms, [disabled, admin], bytes);
        Ok((account, row.get(6)?, made, Moment(row.get(8)?)))
    })?;
    for ((id, name, password, created_ms, flags, bytes), top, made, kept_since) in users {
        let [disabled, admin] = flags;
        let user = UserName::parse(&name)?;
        chunks.add_at(made, Change::UserMade { user: user.clone(), password, created_ms })?;
        if disabled {
            chunks.add(Change::UserDisabled { user: user.clone(), disabled })?;
        }
        if admin {
            chunks.add(Change::AdminSet { user: user.clone(), admin })?;
        }
        if bytes.is_some() {
            chunks.add(Change::QuotaSet { user: user.clone(), bytes })?;
        }
        if kept_since > Moment(0) {
            // Nothing of what was is told yet that could be let go of by it.
            chunks.add(Change::Expired { user: user.clone(), upto: kept_since })?;
        }
        tell_tokens(connection, chunks, id, &user)?;
        UserTeller { connection, chunks, user: &user, homes: HashMap::new() }.tell(id, top)?;
    }
    Ok(())
}

/// Tells the snapshots. One that is removed has its name no more, and may still have what is to be let go
/// of.
fn tell_moments(connection: &Connection, chunks: &mut Chunks<'_>) -> Result<()> {
    for (NamedMoment { name, of, until_ms }, is_removed) in moments::all_of_them(connection)? {
        chunks.add_at(of, Change::SnapshotMade { name, until_ms })?;
        if is_removed {
            chunks.add(Change::SnapshotRemoved { of })?;
        }
    }
    Ok(())
}

fn tell_tokens(
    connection: &Connection,
    chunks: &mut Chunks<'_>,
    id: i64,
    user: &UserName,
) -> Result<()> {
    let select = "SELECT hash, machine, created_ms, used_ms, key, read_only, folder FROM tokens
                  WHERE user_id = ?1";
    let tokens = all(connection, select, [id], |row| {
        let key = row.get::<_, Option<_>>(4)?.map(KeyId);
        let rights: (bool, String) = (row.get(5)?, row.get(6)?);
        Ok((Digest(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?, key, rights))
    })?;
    for (hash, machine, created_ms, used_ms, key, (read_only, folder)) in tokens {
        let user = user.clone();
        chunks.add(match key {
            None => Change::TokenMade { user, hash, machine, created_ms },
            Some(key) => {
                let (name, folder) = (machine, FolderPath::parse(&folder)?);
                Change::KeyMade { user, key, hash, name, read_only, folder, created_ms }
            }
        })?;
        if used_ms != created_ms {
            chunks.add(Change::TokenUsed { hash, used_ms })?;
        }
    }
    Ok(())
}

/// What keeps a folder.
enum Keeper {
    Root,
    /// A folder that had a name: itself or one around it, and the first moment at which it lost one.
    Name(i64, i64),
}

/// Tells what a user has and had.
struct UserTeller<'a, 'b> {
    connection: &'a Connection,
    chunks: &'a mut Chunks<'b>,
    user: &'a UserName,
    /// Where folders are, as far as that has been looked up.
    homes: HashMap<i64, Option<FolderAt>>,
}

impl UserTeller<'_, '_> {
    fn tell(&mut self, id: i64, top: i64) -> Result<()> {
        let loose = self.loose(id)?;
        for (folder, key) in &loose {
            let home = FolderAt { key: Some(*key), path: FolderPath::top() };
            self.homes.insert(*folder, Some(home));
        }
        self.tell_folder(None, top, top)?;
        let select = "SELECT entry, key FROM detached
                      WHERE user_id = ?1 AND doomed = 0 AND key >= 0 ORDER BY key";
        let detached: Vec<(i64, Moment)> =
            all(self.connection, select, [id], |row| Ok((row.get(0)?, Moment(row.get(1)?))))?;
        for (folder, key) in detached.into_iter().chain(loose) {
            self.chunks.add_at(key, Change::FolderBegun { user: self.user.clone() })?;
            self.tell_folder(Some(key), folder, top)?;
        }
        self.tell_past(id, top)?;
        self.tell_uploads(id)
    }

    /// The folders that only their former names keep, with what they are told by: those that were in a doomed
    /// folder, whether that is swept already or not. A name in a doomed folder keeps nothing: it goes with that.
    fn loose(&self, user: i64) -> Result<BTreeMap<i64, Moment>> {
        let select =
            "SELECT parent, folder, gone FROM past WHERE user_id = ?1 AND folder IS NOT NULL";
        let mut names: Vec<(i64, i64, i64)> = all(self.connection, select, [user], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let mut named: BTreeMap<i64, i64> = BTreeMap::new();
        loop {
            let (mut doomed, count) = (Vec::new(), names.len());
            for (parent, folder, gone) in names {
                if parent != NO_FOLDER && self.keeper(parent, &named)?.is_none() {
                    doomed.push((parent, folder, gone));
                    continue;
                }
                named.entry(folder).and_modify(|first| *first = gone.min(*first)).or_insert(gone);
            }
            // What has a name now may have had such names in it.
            if doomed.len() == count {
                break;
            }
            names = doomed;
        }
        let mut loose = BTreeMap::new();
        for folder in named.keys() {
            if let Some(Keeper::Name(outermost, gone)) = self.keeper(*folder, &named)? {
                loose.insert(outermost, Moment(-gone));
            }
        }
        Ok(loose)
    }

    /// What keeps a folder: the tree or one that can be had back, or, as that is in a doomed one, a name that
    /// it had, or one around it.
    fn keeper(&self, folder: i64, named: &BTreeMap<i64, i64>) -> Result<Option<Keeper>> {
        let is_kept = "SELECT 1 FROM users WHERE root = ?1
                       UNION SELECT 1 FROM detached WHERE entry = ?1 AND doomed = 0 AND key >= 0";
        let (mut at, mut outermost) = (folder, None);
        loop {
            // What is in another one that is named goes with that.
            outermost = named.get(&at).map(|gone| Keeper::Name(at, *gone)).or(outermost);
            match tree::above(self.connection, at)? {
                Some((Some(parent), _)) => at = parent,
                _ => break,
            }
        }
        let is_kept = first(self.connection, is_kept, [at], |_| Ok(()))?.is_some();
        Ok(if is_kept { Some(Keeper::Root) } else { outermost })
    }

    /// Tells what is in a folder, and the folder itself: the user's top folder, or the detached one with
    /// this key.
    fn tell_folder(&mut self, key: Option<Moment>, folder: i64, top: i64) -> Result<()> {
        let select = format!(
            "SELECT id, name, entries.version, {RECORD}, stored_by, made,
                    EXISTS (SELECT 1 FROM entries other
                            WHERE other.version = entries.version AND other.id != entries.id),
                    EXISTS (SELECT 1 FROM extents WHERE extents.version = entries.version),
                    EXISTS (SELECT 1 FROM properties WHERE entry = entries.id)
             FROM entries LEFT JOIN versions ON versions.version = entries.version
             WHERE parent = ?1 ORDER BY name"
        );
        let mut query = self.connection.prepare(&select).map_err(catalog_error)?;
        self.tell_properties(key, folder, FolderPath::top())?;
        let mut open = vec![(folder, FolderPath::top())];
        while let Some((id, folder)) = open.pop() {
            let mut rows = query.query([id]).map_err(catalog_error)?;
            while let Some(row) = rows.next().map_err(catalog_error)? {
                let name: String = row.get(1).map_err(catalog_error)?;
                let path = folder.join(&name)?;
                let at = Moment(row.get(12).map_err(catalog_error)?);
                let is_folder = row.get_ref(2).map_err(catalog_error)?.data_type();
                let entry: i64 = row.get(0).map_err(catalog_error)?;
                let has_properties: bool = row.get(15).map_err(catalog_error)?;
                if is_folder == rusqlite::types::Type::Null {
                    self.name_folder(key, at, &path)?;
                    if has_properties {
                        self.tell_properties(key, entry, path.as_folder())?;
                    }
                    open.push((entry, path.as_folder()));
                    continue;
                }
                let record = read_record(row, 2).map_err(catalog_error)?;
                let by = row.get(11).map_err(catalog_error)?;
                // Seldom true, and then names that nothing can bring back do not count.
                let has_others = row.get(13).map_err(catalog_error)?
                    && self.has_others(entry, record.version, top)?;
                let is_told_apart =
                    has_others || row.get(14).map_err(catalog_error)? || record.joined;
                let place = has_properties.then(|| path.as_folder());
                self.name_file(key, at, path, &record, by, is_told_apart)?;
                if let Some(place) = place {
                    self.tell_properties(key, entry, place)?;
                }
            }
        }
        Ok(())
    }

    fn tell_properties(&mut self, key: Option<Moment>, entry: i64, path: FolderPath) -> Result<()> {
        let properties = properties::of_entry(self.connection, entry)?;
        if properties.is_empty() {
            return Ok(());
        }
        let (user, of) = (self.user.clone(), FolderAt { key, path });
        self.chunks.add(Change::PropertiesSet { user, of, properties })
    }

    /// Has a version other names than that of this entry, which can be told?
    fn has_others(&mut self, entry: i64, version: VersionId, top: i64) -> Result<bool> {
        // The first one is enough as a rule, and a version may have a thousand copies.
        let select = "SELECT parent FROM entries WHERE version = ?1 AND id != ?2";
        let connection = self.connection;
        let mut query = connection.prepare_cached(select).map_err(catalog_error)?;
        let mut rows = query.query(rusqlite::params![version.0, entry]).map_err(catalog_error)?;
        while let Some(row) = rows.next().map_err(catalog_error)? {
            if self.home(row.get(0).map_err(catalog_error)?, top)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn name_folder(&mut self, key: Option<Moment>, at: Moment, path: &FilePath) -> Result<()> {
        let user = self.user.clone();
        let change = match key {
            None => Change::FolderMade { user, folder: path.as_folder() },
            Some(key) => {
                Change::FolderFilled { user, key, folders: vec![path.clone()], files: Vec::new() }
            }
        };
        self.chunks.add_at(at, change)
    }

    fn name_file(
        &mut self,
        key: Option<Moment>,
        at: Moment,
        path: FilePath,
        record: &FileRecord,
        by: String,
        is_told_apart: bool,
    ) -> Result<()> {
        let (user, version) = (self.user.clone(), record.version);
        if key.is_none() && !is_told_apart {
            self.chunks.add_at(at, record.stored(Place { user, path }, by))?;
        } else {
            self.tell_version(record, by)?;
            self.chunks.add_at(
                at,
                match key {
                    None => Change::Named { place: Place { user, path }, version },
                    Some(key) => {
                        let (folders, files) = (Vec::new(), vec![(path, version)]);
                        Change::FolderFilled { user, key, folders, files }
                    }
                },
            )?;
        }
        self.tell_uncertain(version)
    }

    /// Tells what an uncertain version had replaced.
    fn tell_uncertain(&mut self, version: VersionId) -> Result<()> {
        let mut at = version;
        while let Some(before) = uncertain::predecessor(self.connection, at)? {
            let before = match before {
                Some(before) => self.tell_kept(before)?.then_some(before),
                None => None,
            };
            if let Some(predecessor) = before {
                self.chunks.add(Change::Replaced { version: at, predecessor })?;
            }
            self.chunks.add(Change::Uncertain { versions: vec![at] })?;
            match before {
                Some(before) => at = before,
                None => break,
            }
        }
        Ok(())
    }

    /// Tells a version that may have no name now. False if it is not there any more.
    fn tell_kept(&mut self, version: VersionId) -> Result<bool> {
        let select =
            format!("SELECT version, {RECORD}, stored_by FROM versions WHERE version = ?1");
        let found = first(self.connection, &select, [version.0], |row| {
            Ok((read_record(row, 0)?, row.get::<_, String>("stored_by")?))
        })?;
        let Some((record, by)) = found else { return Ok(false) };
        self.tell_version(&record, by)?;
        Ok(true)
    }

    /// Tells a version without a name, with what it is made of.
    fn tell_version(&mut self, record: &FileRecord, by: String) -> Result<()> {
        self.chunks.add(record.kept(self.user.clone(), by))?;
        if record.joined { self.tell_extents(record.version) } else { Ok(()) }
    }

    /// Tells the extents of an upload or a joined version, and their versions.
    fn tell_extents(&mut self, of: VersionId) -> Result<()> {
        let placed = extents::of(self.connection, of)?;
        for own in &placed {
            self.tell_kept(own.extent.version)?;
        }
        for some in placed.chunks(EXTENTS_MAX) {
            self.chunks.add(Change::Extents { of, extents: some.to_vec() })?;
        }
        Ok(())
    }

    fn tell_uploads(&mut self, id: i64) -> Result<()> {
        for (touched, begun) in uploads::told(self.connection, UserId(id), self.user)? {
            let upload = begun.upload;
            self.chunks.add_at(touched, Change::UploadBegun(begun))?;
            self.tell_extents(upload)?;
        }
        Ok(())
    }

    /// Tells what names of a user were.
    fn tell_past(&mut self, id: i64, top: i64) -> Result<()> {
        let select = "SELECT parent, name, past.version, folder, made, gone, kept, held
                      FROM past LEFT JOIN versions ON versions.version = past.version
                      WHERE past.user_id = ?1 ORDER BY gone";
        let mut query = self.connection.prepare(select).map_err(catalog_error)?;
        let mut rows = query.query([id]).map_err(catalog_error)?;
        while let Some(row) = rows.next().map_err(catalog_error)? {
            let read = |at: usize| row.get::<_, Option<i64>>(at).map_err(catalog_error);
            let version = row.get::<_, Option<_>>(2).map_err(catalog_error)?.map(VersionId);
            let [parent, folder, made, gone, kept, held] =
                [read(0)?, read(3)?, read(4)?, read(5)?, read(6)?, read(7)?];
            let parent = match parent.unwrap_or(NO_FOLDER) {
                NO_FOLDER => Some(FolderAt { key: None, path: FolderPath::top() }),
                parent => self.home(parent, top)?,
            };
            let was = match (version, folder) {
                (Some(version), _) => Some(PastItem::File(version)),
                (None, Some(folder)) => self.home(folder, top)?.map(PastItem::Folder),
                (None, None) => None,
            };
            // What is in a doomed folder can be had back by nobody.
            let (Some(folder), Some(was)) = (parent, was) else { continue };
            // A name in a doomed folder that is not swept yet has not been told.
            if let Some(version) = version
                && (kept == Some(1) || !self.has_others(NO_ENTRY, version, top)?)
            {
                self.tell_kept(version)?;
                self.tell_uncertain(version)?;
            }
            let (user, name) = (self.user.clone(), row.get(1).map_err(catalog_error)?);
            let [made, gone] = [made, gone].map(|at| Moment(at.unwrap_or_default()));
            let held = held.filter(|held| *held != 0).map(Moment);
            self.chunks.add(Change::Past { user, folder, name, was, made, gone, held })?;
        }
        Ok(())
    }

    /// Where a folder is; `None` if it is doomed.
    fn home(&mut self, folder: i64, top: i64) -> Result<Option<FolderAt>> {
        if let Some(known) = self.homes.get(&folder) {
            return Ok(known.clone());
        }
        let found = match tree::above(self.connection, folder)? {
            Some((Some(parent), name)) => match self.home(parent, top)? {
                Some(at) => Some(FolderAt { path: at.path.join(&name)?.as_folder(), ..at }),
                None => None,
            },
            Some((None, _)) if folder == top => {
                Some(FolderAt { key: None, path: FolderPath::top() })
            }
            _ => {
                // Those that only their former names keep are known.
                let key = "SELECT key FROM detached WHERE entry = ?1 AND doomed = 0 AND key >= 0";
                let key = first(self.connection, key, [folder], |row| Ok(Moment(row.get(0)?)))?;
                key.map(|key| FolderAt { key: Some(key), path: FolderPath::top() })
            }
        };
        self.homes.insert(folder, found.clone());
        Ok(found)
    }
}

impl FileRecord {
    /// The change that makes this the current version of the file at this place.
    fn stored(&self, place: Place, by: String) -> Change {
        Change::Stored {
            place,
            version: self.version,
            seq: self.seq,
            bytes: self.bytes,
            blake3: self.blake3,
            stored_ms: self.stored_ms,
            placed: self.placed,
            inline: false,
            by,
            attributes: self.attributes,
        }
    }

    /// The change that adds this version without a name.
    fn kept(&self, user: UserName, by: String) -> Change {
        Change::Kept(KeptVersion {
            user,
            version: self.version,
            seq: self.seq,
            bytes: self.bytes,
            blake3: self.blake3,
            stored_ms: self.stored_ms,
            placed: self.placed,
            by,
            attributes: self.attributes,
            joined: self.joined,
        })
    }
}

/// A catalog that is being made of a snapshot, in a file of its own.
pub struct Loader {
    connection: Connection,
}

impl Loader {
    /// Begins with nothing, in a new file.
    ///
    /// # Errors
    /// If there is such a file, or it cannot be made.
    pub fn create(path: &Path, cluster: ClusterId) -> Result<Loader> {
        let connection = database::create_alone(path)?;
        connection.execute_batch("BEGIN").map_err(catalog_error)?;
        database::set_setting(&connection, CLUSTER, &cluster.to_string())?;
        Ok(Loader { connection })
    }

    /// Makes the changes of a chunk.
    pub fn load(&mut self, changes: &[Told]) -> Result<()> {
        changes
            .iter()
            .try_for_each(|told| apply::change(&self.connection, 0, told.at, &told.change))
    }

    /// Ends with the point at which the snapshot was taken: the file is complete and synced, and can
    /// be opened as a catalog.
    pub fn finish(self, at: Point) -> Result<Contents> {
        journal::set_base(&self.connection, at)?;
        self.connection.execute_batch("COMMIT").map_err(catalog_error)?;
        let contents = count(&self.connection)?;
        self.connection.close().map_err(|(_, e)| catalog_error(e))?;
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::NewFile;
    use crate::core::catalog::fixture::{
        CLUSTER, Fixture, change, empty, fixture, folder, name, new_file, path, v,
    };
    use crate::core::types::VersionId;
    use crate::core::wire::journal::SnapshotName;
    use crate::core::wire::snapshot::{decode_chunk, read_frame};

    #[test]
    fn a_snapshot_comes_in_chunks_that_fit_a_frame() {
        let f = fixture();
        let mut group = f.catalog.begin_group(1).unwrap();
        for n in 0..3000_u16 {
            let version = VersionId(std::array::from_fn(|i| n.to_be_bytes()[i % 2]));
            let (at, stored_by) = (format!("{n}/{}", "n".repeat(200)), "x".repeat(300));
            let new = NewFile { stored_by, ..new_file(f.user, &at, version) };
            group.attempt(|draft| draft.store(&new, None)).unwrap();
        }
        group.commit().unwrap();
        let file = f.folder.path().join("snapshot");
        let head = f.catalog.snapshot(&file).unwrap();
        assert_eq!((head.at, head.cluster), (f.catalog.end().unwrap(), CLUSTER));
        assert!(head.chunks > 5);
        let bytes = std::fs::read(&file).unwrap();
        let (mut rest, mut chunks, mut changes) = (&bytes[..], 0, 0);
        while let Some((content, length)) = read_frame(rest).unwrap() {
            changes += decode_chunk(content).unwrap().len();
            (rest, chunks) = (&rest[length..], chunks + 1);
        }
        assert_eq!((rest.len(), chunks, changes), (0, head.chunks, 6002));
    }

    #[test]
    fn a_copy_whose_original_is_doomed_is_told_as_a_file_of_its_own() {
        let f = fixture();
        f.store("x/a", 1);
        let told = |what: &str| {
            let file = f.folder.path().join(what);
            f.catalog.snapshot(&file).unwrap();
            let content = std::fs::read(&file).unwrap();
            let told = decode_chunk(read_frame(&content).unwrap().unwrap().0).unwrap();
            let stored = |told: &Told| matches!(&told.change, Change::Stored { .. });
            let named = |told: &Told| matches!(&told.change, Change::Named { .. });
            [
                told.iter().filter(|told| stored(told)).count(),
                told.iter().filter(|own| named(own)).count(),
            ]
        };
        f.change(|draft| draft.name_version(f.user, &path("b"), v(1))).unwrap();
        assert_eq!(told("both"), [0, 2]);
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        f.expire();
        assert_eq!(told("doomed"), [1, 0]);
        f.catalog.sweep_doomed().unwrap();
        assert_eq!(told("swept"), [1, 0], "the same catalog is told in the same way");
    }

    #[test]
    fn a_catalog_goes_on_from_the_snapshot_that_it_was_made_of() {
        let f = fixture();
        f.store("x/a", 1);
        f.store("x/a", 2);
        f.change(|draft| draft.make_folder(f.user, &folder("empty/deep"), true)).unwrap();
        f.change(|draft| draft.create_user(&name("gone"), "", 1)).unwrap();
        f.change(|draft| draft.remove_user(&name("gone"))).unwrap();
        let file = f.folder.path().join("snapshot");
        let head = f.catalog.snapshot(&file).unwrap();
        let (_, content) = std::fs::read(&file).map(|bytes| (bytes.len(), bytes)).unwrap();
        let (chunk, _) = read_frame(&content).unwrap().unwrap();
        let new = f.folder.path().join("new.db");
        let mut loader = Loader::create(&new, CLUSTER).unwrap();
        loader.load(&decode_chunk(chunk).unwrap()).unwrap();
        let told = loader.finish(head.at).unwrap();
        assert_eq!(told, Contents { accounts: 1, folders: 3, files: 1 });
        assert_eq!(contents(&new).unwrap(), Some(told));
        assert!(Loader::create(&new, CLUSTER).is_err(), "there is one already");
        let loaded = Catalog::open(&new, ClusterId([9; 16])).unwrap();
        assert_eq!((loaded.cluster(), loaded.end().unwrap()), (CLUSTER, head.at));
        assert_eq!(loaded.entries_after(0).unwrap(), None);
        f.change(|draft| draft.delete(f.user, &path("x/a"))).unwrap();
        let later = f.catalog.entries_after(head.at.id).unwrap().unwrap();
        loaded.apply(&later).unwrap();
        assert_eq!(loaded.end().unwrap(), f.catalog.end().unwrap());
        let user = loaded.user_id(&name("demo")).unwrap();
        assert_eq!(loaded.list(user).unwrap(), f.catalog.list(f.user).unwrap());
    }

    #[test]
    fn what_an_uncertain_version_has_replaced_survives_a_snapshot() {
        let f = fixture();
        (1..=4).for_each(|n| f.store("x/a", n));
        f.store("new", 5);
        // 1 is certainly gone; 2 was answered, and perhaps replaced by 3 and 4; 5 was perhaps stored.
        f.change(|draft| draft.mark_uncertain(&[v(3), v(4), v(5)])).unwrap();
        f.change(|draft| draft.relocate(f.user, &path("x/a"), &folder("b"), false)).unwrap();
        let file = f.folder.path().join("snapshot");
        let head = f.catalog.snapshot(&file).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let (chunk, _) = read_frame(&bytes).unwrap().unwrap();
        let new = f.folder.path().join("new.db");
        let mut loader = Loader::create(&new, CLUSTER).unwrap();
        loader.load(&decode_chunk(chunk).unwrap()).unwrap();
        loader.finish(head.at).unwrap();
        let loaded = std::sync::Arc::new(Catalog::open(&new, CLUSTER).unwrap());
        for catalog in [&f.catalog, &loaded] {
            let user = catalog.user_id(&name("demo")).unwrap();
            let version_at = |at: &str| catalog.file(user, &path(at)).ok().map(|file| file.version);
            let mut uncertain = catalog.uncertain().unwrap();
            uncertain.sort();
            assert_eq!(uncertain, [v(3), v(4), v(5)]);
            for (reverted, [at_b, at_new]) in [
                (v(4), [Some(v(3)), Some(v(5))]),
                (v(3), [Some(v(2)), Some(v(5))]),
                (v(5), [Some(v(2)), None]),
            ] {
                assert!(!catalog.retired(10).unwrap().contains(&v(2)), "it may come back");
                change(catalog, |draft| draft.revert(reverted)).unwrap();
                assert_eq!([version_at("b"), version_at("new")], [at_b, at_new], "{reverted}");
            }
        }
    }

    #[test]
    fn what_can_never_be_read_is_no_former_version() {
        let f = fixture();
        (1..=3).for_each(|n| f.store("a", n));
        f.change(|draft| draft.mark_uncertain(&[v(2), v(3)])).unwrap();
        f.change(|draft| draft.revert(v(2))).unwrap();
        assert_eq!(f.version_at("a"), Some(v(3)));
        f.change(|draft| draft.revert(v(3))).unwrap();
        assert_eq!(f.version_at("a"), Some(v(1)));
        let states = f.catalog.path_states(f.user, &path("a")).unwrap();
        let versions: Vec<VersionId> =
            states.iter().filter_map(|s| s.file.as_ref().map(|(file, _)| file.version)).collect();
        assert_eq!(versions, [v(1)], "it is as if the others had never been");
        assert_eq!(f.catalog.retired(9).unwrap(), [v(2), v(3)]);
    }

    /// A catalog made of a snapshot of this one.
    fn loaded(f: &Fixture, what: &str) -> std::sync::Arc<Catalog> {
        let file = f.folder.path().join(what);
        let head = f.catalog.snapshot(&file).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let (chunk, _) = read_frame(&bytes).unwrap().unwrap();
        let new = f.folder.path().join(format!("{what}.db"));
        let mut loader = Loader::create(&new, CLUSTER).unwrap();
        loader.load(&decode_chunk(chunk).unwrap()).unwrap();
        loader.finish(head.at).unwrap();
        std::sync::Arc::new(Catalog::open(&new, CLUSTER).unwrap())
    }

    #[test]
    fn since_when_everything_is_kept_is_known_to_every_catalog() {
        let f = fixture();
        f.store("a", 1);
        assert_eq!(f.catalog.kept_since(f.user).unwrap(), Moment(0));
        f.store("a", 2);
        let second = f.catalog.end().unwrap().at;
        f.store("a", 3);
        f.change(|draft| draft.expire(f.user, second, None)).unwrap();
        f.change(|draft| draft.delete(f.user, &path("a"))).unwrap();
        let other = loaded(&f, "expired");
        for catalog in [&f.catalog, &other] {
            let user = catalog.user_id(&name("demo")).unwrap();
            assert_eq!(catalog.kept_since(user).unwrap(), second);
            let then = catalog.file_at(user, &path("a"), second).unwrap();
            assert_eq!(then.version, v(2), "what went later is there");
        }
        f.change(|draft| draft.forget_history(f.user, &path("a"))).unwrap();
        assert_eq!(f.catalog.kept_since(f.user).unwrap(), second, "somebody has chosen that");
    }

    #[test]
    fn what_a_removed_snapshot_had_goes_from_every_catalog_at_the_same_entry() {
        let f = fixture();
        let snapshot = SnapshotName::parse("s").unwrap();
        f.store("a", 1);
        f.change(|draft| draft.make_snapshot(&snapshot, None)).unwrap();
        f.store("a", 2);
        f.expire();
        let mut others = vec![loaded(&f, "held")];
        f.change(|draft| draft.remove_snapshot(&snapshot)).unwrap();
        others.push(loaded(&f, "removed"));
        // Its name may be that of another one by now.
        f.change(|draft| draft.make_snapshot(&snapshot, None)).unwrap();
        others.push(loaded(&f, "made again"));
        while f.change(|draft| draft.release_snapshot()).unwrap() {}
        assert_eq!(f.catalog.retired(9).unwrap(), [v(1)]);
        for other in others {
            let later = f.catalog.entries_after(other.end().unwrap().id).unwrap().unwrap();
            other.apply(&later).unwrap();
            assert_eq!(other.snapshots().unwrap(), f.catalog.snapshots().unwrap());
            let states = |catalog: &Catalog| catalog.path_states(f.user, &path("a")).unwrap();
            assert_eq!(states(&other), states(&f.catalog));
        }
    }

    #[test]
    fn what_is_kept_is_told_also_where_a_doomed_folder_has_it_that_is_not_swept() {
        let f = fixture();
        f.store("x/a", 1);
        f.change(|draft| draft.name_version(f.user, &path("b"), v(1))).unwrap();
        f.change(|draft| draft.remove_folder(f.user, &folder("x"), true)).unwrap();
        f.change(|draft| draft.make_snapshot(&SnapshotName::parse("s").unwrap(), None)).unwrap();
        f.change(|draft| draft.delete(f.user, &path("b"))).unwrap();
        f.expire();
        let there = |catalog: &Catalog| {
            let then = catalog.moment_of("s").unwrap();
            catalog.file_at(f.user, &path("b"), then).map(|record| record.version).ok()
        };
        assert_eq!([there(&f.catalog), there(&loaded(&f, "doomed"))], [Some(v(1)); 2]);
        f.catalog.sweep_doomed().unwrap();
        assert_eq!([there(&f.catalog), there(&loaded(&f, "swept"))], [Some(v(1)); 2]);
    }

    #[test]
    fn a_folder_that_was_moved_into_a_doomed_one_is_told_whether_that_is_swept_or_not() {
        let f = fixture();
        let snapshot = SnapshotName::parse("s").unwrap();
        f.store("a/b", 1);
        f.change(|draft| draft.make_folder(f.user, &folder("x"), false)).unwrap();
        f.change(|draft| draft.make_snapshot(&snapshot, None)).unwrap();
        f.change(|draft| draft.relocate(f.user, &path("a"), &folder("x"), false)).unwrap();
        f.store("x/c", 2);
        let then = f.catalog.moment_of("s").unwrap();
        // The folder goes itself and not only its name: it was made after the snapshot.
        f.change(|draft| draft.make_folder(f.user, &folder("y"), false)).unwrap();
        f.change(|draft| draft.relocate(f.user, &path("x/a"), &folder("y"), false)).unwrap();
        f.change(|draft| draft.remove_folder(f.user, &folder("y"), true)).unwrap();
        f.expire();
        let there = |catalog: &Catalog| {
            let found = catalog.file_at(f.user, &path("a/b"), then);
            found.map(|record| record.version).ok()
        };
        assert_eq!([there(&f.catalog), there(&loaded(&f, "doomed"))], [Some(v(1)); 2]);
        f.catalog.sweep_doomed().unwrap();
        assert_eq!([there(&f.catalog), there(&loaded(&f, "swept"))], [Some(v(1)); 2]);
        // With its last name it goes, also where no other folder is doomed.
        f.change(|draft| draft.remove_snapshot(&snapshot)).unwrap();
        while f.change(|draft| draft.release_snapshot()).unwrap() {}
        f.catalog.sweep_doomed().unwrap();
        assert_eq!(f.catalog.retired(9).unwrap(), [v(1)]);
    }

    #[test]
    fn what_is_no_catalog_is_not_taken_for_one() {
        let (folder, catalog) = empty();
        assert!(catalog.is_empty().unwrap());
        assert_eq!(contents(&folder.path().join("none")).unwrap(), None);
        let text = folder.path().join("text");
        std::fs::write(&text, "this is no database, however long it is".repeat(100)).unwrap();
        assert!(contents(&text).is_err() && Catalog::open(&text, CLUSTER).is_err());
    }
}
