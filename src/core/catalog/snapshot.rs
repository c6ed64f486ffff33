//! Snapshots: the changes that make the catalog from nothing, and a catalog made of them.
//!
//! What is on its way out (retired versions, doomed folders, removed accounts) is in no snapshot:
//! nodes remove pieces that the catalog does not know. What an uncertain version has replaced is not on
//! its way out: it is told before that version.

use std::path::Path;

use rusqlite::Connection;

use crate::core::catalog::database::{self, all, catalog_error, one};
use crate::core::catalog::files::{FileRecord, read_record};
use crate::core::catalog::{CLUSTER, Catalog, apply, journal, node_addresses, replace, uncertain};
use crate::core::error::{Error, Result};
use crate::core::io::disk::{Disk, RealDisk, WriteFile};
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{ClusterId, Digest};
use crate::core::wire::journal::{Change, Point, VERSIONS_MAX};
use crate::core::wire::node::Place;
use crate::core::wire::snapshot::{CHUNK_BYTES, FORMAT, SnapshotHead, frame_of};

/// The count at the beginning of a chunk is never longer.
const COUNT_BYTES: usize = 10;

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
    Ok(Contents {
        accounts: count("users WHERE removed = 0")?,
        folders: count("entries WHERE version IS NULL AND parent IS NOT NULL")?,
        files: count("versions WHERE retired = 0")?,
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
        chunks.flush()?;
        chunks.file.sync().map_err(failed())?;
        Ok(SnapshotHead { format: FORMAT, cluster: self.cluster, at, chunks: chunks.written })
    }
}

/// Takes the next changes of a snapshot.
pub(crate) type Take<'a> = dyn FnMut(Vec<Change>) -> Result<()> + 'a;

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
                changes.iter().try_for_each(|change| apply::change(connection, 0, change))
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
    changes: Vec<Change>,
    /// How long they are together, at most.
    bytes: usize,
    written: u64,
}

impl Chunks<'_> {
    fn add(&mut self, change: Change) -> Result<()> {
        let bytes = change.encode()?.len();
        if self.bytes + bytes > CHUNK_BYTES {
            self.flush()?;
        }
        self.bytes += bytes;
        self.changes.push(change);
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
    let select = "SELECT id, name, password, created_ms, disabled, quota, root FROM users
                  WHERE removed = 0 ORDER BY id";
    let users = all(connection, select, [], |row| {
        let (id, name, password): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (created_ms, disabled, bytes): (_, _, Option<i64>) =
            (row.get(3)?, row.get(4)?, row.get(5)?);
        Ok((id, name, password, created_ms, disabled, bytes, row.get(6)?))
    })?;
    for (id, name, password, created_ms, disabled, bytes, top) in users {
        let user = UserName::parse(&name)?;
        chunks.add(Change::UserMade { user: user.clone(), password, created_ms })?;
        if disabled {
            chunks.add(Change::UserDisabled { user: user.clone(), disabled })?;
        }
        if bytes.is_some() {
            chunks.add(Change::QuotaSet { user: user.clone(), bytes })?;
        }
        tell_tokens(connection, chunks, id, &user)?;
        tell_files(connection, chunks, &user, top)?;
    }
    Ok(())
}

fn tell_tokens(
    connection: &Connection,
    chunks: &mut Chunks<'_>,
    id: i64,
    user: &UserName,
) -> Result<()> {
    let select = "SELECT hash, machine, created_ms, used_ms FROM tokens WHERE user_id = ?1";
    let tokens = all(connection, select, [id], |row| {
        Ok((Digest(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    for (hash, machine, created_ms, used_ms) in tokens {
        chunks.add(Change::TokenMade { user: user.clone(), hash, machine, created_ms })?;
        if used_ms != created_ms {
            chunks.add(Change::TokenUsed { hash, used_ms })?;
        }
    }
    Ok(())
}

/// Tells a user's files, and the folders in which there is nothing: the others come with what is in
/// them.
fn tell_files(
    connection: &Connection,
    chunks: &mut Chunks<'_>,
    user: &UserName,
    top: i64,
) -> Result<()> {
    let select = "SELECT id, name, entries.version, seq, versions.bytes, blake3, stored_ms, placed,
                         modified_ms, executable, stored_by
                  FROM entries LEFT JOIN versions ON versions.version = entries.version
                  WHERE parent = ?1 ORDER BY name";
    let mut query = connection.prepare(select).map_err(catalog_error)?;
    let mut open = vec![(top, FolderPath::top())];
    while let Some((id, folder)) = open.pop() {
        let mut rows = query.query([id]).map_err(catalog_error)?;
        let mut is_empty = true;
        while let Some(row) = rows.next().map_err(catalog_error)? {
            is_empty = false;
            let name: String = row.get(1).map_err(catalog_error)?;
            let path = folder.join(&name)?;
            let is_folder = row.get_ref(2).map_err(catalog_error)?.data_type();
            if is_folder == rusqlite::types::Type::Null {
                open.push((row.get(0).map_err(catalog_error)?, path.as_folder()));
                continue;
            }
            let record = read_record(row, 2).map_err(catalog_error)?;
            let by = row.get(10).map_err(catalog_error)?;
            let place = Place { user: user.clone(), path };
            let mut uncertain = Vec::new();
            for (older, by) in uncertain::replaced(connection, record.version, &mut uncertain)? {
                chunks.add(older.stored(place.clone(), by))?;
            }
            chunks.add(record.stored(place, by))?;
            for versions in uncertain.chunks(VERSIONS_MAX) {
                chunks.add(Change::Uncertain { versions: versions.to_vec() })?;
            }
        }
        if is_empty && !folder.is_top() {
            chunks.add(Change::FolderMade { user: user.clone(), folder })?;
        }
    }
    Ok(())
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
    pub fn load(&mut self, changes: &[Change]) -> Result<()> {
        changes.iter().try_for_each(|change| apply::change(&self.connection, 0, change))
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
        CLUSTER, change, empty, fixture, folder, name, new_file, path, v,
    };
    use crate::core::types::VersionId;
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
        assert_eq!((rest.len(), chunks, changes), (0, head.chunks, 3002));
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
            assert_eq!(uncertain, [v(4), v(5)]);
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
        assert!(!loaded.known(&[v(1)]).unwrap().contains(&v(1)), "it is not in the snapshot");
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
