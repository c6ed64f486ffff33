//! From a change to rows: the one way in which the journal becomes the catalog, for a server that
//! runs, one that starts, and a recovery.
//!
//! The job that records a change sees to it that it can be made. So what is found impossible here is
//! in no valid history, and comes to nothing rather than to an error: a server must be able to start
//! whatever the journal says. Only what cannot be read is refused.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{execute, first, set_setting};
use crate::core::catalog::files::{kind_number, set_attributes};
use crate::core::catalog::past::{self, Binding, NO_FOLDER, Target};
use crate::core::catalog::tree::{self, Item};
use crate::core::catalog::{
    NODES, UserId, extents, history, journal, keys, moments, properties, replace, survey, tokens,
    uncertain, uploads, users, versions,
};
use crate::core::error::Result;
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{FileAttributes, Moment, NodeSet, VersionId};
use crate::core::wire::extents::{Extent, PlacedExtent};
use crate::core::wire::journal::{Change, Entry, FolderAt, KeptVersion, PastItem};
use crate::core::wire::keys::{AppKey, Rights};
use crate::core::wire::node::Place;

/// Adds an entry to the journal and makes its change.
pub(super) fn entry(connection: &Connection, entry: &Entry) -> Result<()> {
    change(connection, entry.id, entry.at, &entry.change()?)?;
    journal::append(connection, entry)
}

/// Makes a change. `id` is its entry's number, 0 for one out of a snapshot; `at` is when it was made.
pub(super) fn change(connection: &Connection, id: u64, at: Moment, change: &Change) -> Result<()> {
    match change {
        Change::Led { .. } => Ok(()),
        Change::UserMade { user, password, created_ms } => {
            users::make(connection, user, password, *created_ms, at)
        }
        Change::PasswordSet { user, password, keep } => match users::live(connection, user)? {
            Some((id, _)) => {
                users::set(connection, user, "password", password)?;
                tokens::revoke_all(connection, id, keep.as_ref())
            }
            None => Ok(()),
        },
        Change::UserDisabled { user, disabled } => {
            users::set(connection, user, "disabled", disabled)
        }
        Change::AdminSet { user, admin } => users::set(connection, user, "admin", admin),
        Change::QuotaSet { user, bytes } => users::set(connection, user, "quota", bytes),
        Change::UserRemoved { user } => users::remove(connection, user, at),
        Change::TokenMade { user, hash, machine, created_ms } => {
            tokens::make(connection, user, hash, machine, *created_ms)
        }
        Change::KeyMade { user, key, hash, name, read_only, folder, created_ms } => {
            let rights = Rights { read_only: *read_only, folder: folder.clone() };
            let (name, key) = (name.clone(), *key);
            let (created_ms, used_ms) = (*created_ms, *created_ms);
            keys::make(connection, user, hash, &AppKey { key, name, rights, created_ms, used_ms })
        }
        Change::PropertiesSet { user, of, properties } => {
            properties::set(connection, user, of, properties)
        }
        Change::TokenUsed { hash, used_ms } => tokens::note_used(connection, hash, *used_ms),
        Change::TokenRevoked { hash } => tokens::revoke(connection, hash),
        Change::FolderMade { user, folder } => match users::live(connection, user)? {
            Some((_, top)) => tree::make_folders(connection, top, folder, at).map(drop),
            None => Ok(()),
        },
        Change::FolderRemoved { user, folder } => match users::live(connection, user)? {
            Some((user, top)) if !folder.is_top() => match tree::folder(connection, top, folder)? {
                Some(id) => detach(connection, user, id, at),
                None => Ok(()),
            },
            _ => Ok(()),
        },
        Change::Stored { .. } => stored(connection, id, at, change),
        Change::Named { place, version } => named(connection, place, *version, at),
        Change::AttributesSet { version, attributes } => {
            set_attributes(connection, *version, *attributes)
        }
        Change::Deleted { place } => match users::live(connection, &place.user)? {
            Some((user, top)) => match tree::file(connection, top, &place.path)? {
                Some((entry, _)) => unname(connection, user, entry, at),
                None => Ok(()),
            },
            None => Ok(()),
        },
        Change::Moved { user, from, to } => moved(connection, user, from, to, at),
        Change::FolderBegun { user } => match users::live(connection, user)? {
            Some((user, _)) => {
                let folder = tree::insert(connection, None, "", None, at)?;
                tree::detach(connection, folder, user, at, false)
            }
            None => Ok(()),
        },
        Change::FolderFilled { user, key, folders, files } => {
            fill(connection, user, *key, folders, files, at)
        }
        Change::FolderAttached { user, key, to } => attach(connection, user, *key, to, at),
        Change::FoldersForgotten { keys } => past::forget_folders(connection, keys),
        Change::Expired { user, upto } => match users::live(connection, user)? {
            Some((user, _)) => past::expire(connection, user, *upto),
            None => Ok(()),
        },
        Change::HistoryForgotten { user, path } => match users::live(connection, user)? {
            Some((user, top)) => history::forget(connection, user, top, path),
            None => Ok(()),
        },
        Change::SnapshotMade { name, until_ms } => moments::make(connection, at, name, *until_ms),
        Change::SnapshotRemoved { of } => moments::remove(connection, *of),
        Change::SnapshotReleased { of, upto } => past::release(connection, *of, *upto),
        Change::Kept(kept) => keep_version(connection, kept),
        Change::Replaced { version, predecessor } => {
            uncertain::set_predecessor(connection, *version, *predecessor)
        }
        Change::Past { user, folder, name, was, made, gone, held } => {
            note_past(connection, user, folder, name, was, [*made, *gone], *held)
        }
        Change::Dropped { versions } => versions::drop_some(connection, versions),
        Change::Placed { node, versions } => {
            versions.iter().try_for_each(|version| versions::place(connection, *node, *version, id))
        }
        Change::Lost { node, counted, versions } => {
            let mut lost = 0;
            for version in versions {
                lost += versions::lose(connection, *node, *version)?;
            }
            if *counted { survey::count_errors(connection, *node, lost) } else { Ok(()) }
        }
        Change::Nodes { addresses } => set_setting(connection, NODES, &addresses.join(" ")),
        Change::ReplacementBegun { node, address, started_ms } => {
            replace::begin(connection, *node, address, *started_ms)
        }
        Change::ReplacementProved { node, proved_ms } => {
            replace::prove(connection, *node, *proved_ms)
        }
        Change::Uncertain { versions } => {
            versions.iter().try_for_each(|version| uncertain::set(connection, *version, true))
        }
        Change::Confirmed { version } => uncertain::set(connection, *version, false),
        Change::Reverted { version, to, .. } => uncertain::revert(connection, *version, *to),
        Change::UploadBegun(begun) => uploads::begin(connection, begun, at),
        Change::ExtentStored { upload, position, kept, tree } => {
            let extent = Extent { version: kept.version, start: 0, bytes: kept.bytes };
            let placed = PlacedExtent { position: *position, extent, tree: tree.clone() };
            uploads::store_extent(connection, id, at, *upload, kept, placed)
        }
        Change::ExtentShared { upload, position, of, start, bytes } => {
            let part = Extent { version: *of, start: *start, bytes: *bytes };
            uploads::share(connection, at, *upload, *position, part)
        }
        Change::ExtentsRemoved { upload, from, to } => {
            extents::remove(connection, *upload, *from, *to)
        }
        Change::UploadCompleted { upload, kept, place } => {
            uploads::complete(connection, *upload, kept, place, at)
        }
        Change::UploadsDropped { uploads } => uploads::drop_all(connection, uploads),
        Change::Extents { of, extents } => extents.iter().try_for_each(|placed| {
            extents::add(connection, *of, placed)?;
            past::settle(connection, placed.extent.version)
        }),
    }
}

fn stored(connection: &Connection, id: u64, at: Moment, change: &Change) -> Result<()> {
    let Change::Stored {
        place,
        version,
        seq,
        bytes,
        blake3,
        stored_ms,
        placed,
        by,
        attributes,
        ..
    } = change
    else {
        return Ok(());
    };
    let Some((user, top)) = users::live(connection, &place.user)? else { return Ok(()) };
    let folder = tree::make_folders(connection, top, &place.path.folder(), at)?;
    let Some(folder) = folder else { return Ok(()) };
    let there = tree::child(connection, folder, place.path.name())?;
    if there.as_ref().is_some_and(Item::is_folder) {
        return Ok(());
    }
    let kept = KeptVersion {
        user: place.user.clone(),
        version: *version,
        seq: *seq,
        bytes: *bytes,
        blake3: *blake3,
        stored_ms: *stored_ms,
        placed: *placed,
        by: by.clone(),
        attributes: *attributes,
        joined: false,
    };
    let before = there.and_then(|old| old.version);
    if !add_version(connection, user, &kept, id, before)? {
        return Ok(());
    }
    let version = Some((*version, *bytes));
    name_file(connection, user, folder, place.path.name(), there, version, at)
}

/// Gives a file this version, which is there already.
fn named(connection: &Connection, place: &Place, version: VersionId, at: Moment) -> Result<()> {
    let Some((user, top)) = users::live(connection, &place.user)? else { return Ok(()) };
    let Some(bytes) = bytes_of(connection, user, version)? else { return Ok(()) };
    let folder = tree::make_folders(connection, top, &place.path.folder(), at)?;
    let Some(folder) = folder else { return Ok(()) };
    let there = tree::child(connection, folder, place.path.name())?;
    if there.as_ref().is_some_and(|there| there.is_folder() || there.version == Some(version)) {
        return Ok(());
    }
    name_file(connection, user, folder, place.path.name(), there, Some((version, bytes)), at)?;
    past::settle(connection, version)
}

/// Gives a name in a folder to a version, instead of to the file that has it.
pub(super) fn name_file(
    connection: &Connection,
    user: UserId,
    folder: i64,
    name: &str,
    there: Option<Item>,
    version: Option<(VersionId, u64)>,
    at: Moment,
) -> Result<()> {
    let mut properties = Vec::new();
    if let Some(there) = there {
        properties = properties::of_entry(connection, there.id)?;
        unname(connection, user, there.id, at)?;
    }
    let bytes = version.map_or(0, |(_, bytes)| bytes);
    let entry = tree::insert(connection, Some(folder), name, version, at)?;
    // They are of the file, whatever is in it.
    properties::set_entry(connection, entry, &properties)?;
    tree::count(connection, user, 1, signed(bytes))
}

/// Takes a file's name away; it can be had back.
fn unname(connection: &Connection, user: UserId, entry: i64, at: Moment) -> Result<()> {
    let Some(was) = past::binding(connection, entry)? else { return Ok(()) };
    tree::delete(connection, entry)?;
    tree::count(connection, user, -1, -signed(was.bytes))?;
    past::keep(connection, user, &was, at)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Takes a folder out of the tree; it can be had back.
fn detach(connection: &Connection, user: UserId, folder: i64, at: Moment) -> Result<()> {
    let Some(was) = past::binding(connection, folder)? else { return Ok(()) };
    let (files, bytes) = tree::sum(connection, folder)?;
    tree::count(connection, user, -files, -bytes)?;
    tree::detach(connection, folder, user, at, false)?;
    past::keep(connection, user, &was, at)
}

fn attach(
    connection: &Connection,
    user: &UserName,
    key: Moment,
    to: &FolderPath,
    at: Moment,
) -> Result<()> {
    let Some((user, top)) = users::live(connection, user)? else { return Ok(()) };
    let Some(folder) = tree::detached(connection, user, key)? else { return Ok(()) };
    let place = match to.split() {
        None => {
            let (files, bytes) = tree::sum(connection, top)?;
            tree::count(connection, user, -files, -bytes)?;
            let made = "SELECT made FROM entries WHERE id = ?1";
            let made = first(connection, made, [top], |row| Ok(Moment(row.get(0)?)))?;
            tree::detach(connection, top, user, at, false)?;
            let (target, name) = (Target::Folder(top), String::new());
            let made = made.unwrap_or_default();
            let was = Binding { parent: NO_FOLDER, name, target, bytes: 0, made, gone: at };
            past::keep(connection, user, &was, at)?;
            let update = "UPDATE users SET root = ?2 WHERE id = ?1";
            execute(connection, update, params![user.0, folder])?;
            None
        }
        Some((above, name)) => {
            let Some(parent) = tree::make_folders(connection, top, &above, at)? else {
                return Ok(());
            };
            match tree::child(connection, parent, name)? {
                Some(there) if there.is_folder() => detach(connection, user, there.id, at)?,
                Some(there) => unname(connection, user, there.id, at)?,
                None => {}
            }
            Some((parent, name))
        }
    };
    let (parent, name) = place.map_or((None, ""), |(parent, name)| (Some(parent), name));
    let update = "UPDATE entries SET parent = ?2, name = ?3, made = ?4 WHERE id = ?1";
    execute(connection, update, params![folder, parent, name, at.0])?;
    execute(connection, "DELETE FROM detached WHERE entry = ?1", [folder])?;
    let (files, bytes) = tree::sum(connection, folder)?;
    tree::count(connection, user, files, bytes)
}

fn fill(
    connection: &Connection,
    user: &UserName,
    key: Moment,
    folders: &[FilePath],
    files: &[(FilePath, VersionId)],
    at: Moment,
) -> Result<()> {
    let Some((user, _)) = users::live(connection, user)? else { return Ok(()) };
    let Some(folder) = tree::detached(connection, user, key)? else { return Ok(()) };
    for path in folders {
        tree::make_folders(connection, folder, &path.as_folder(), at)?;
    }
    for (path, version) in files {
        let Some(bytes) = bytes_of(connection, user, *version)? else { continue };
        let above = tree::make_folders(connection, folder, &path.folder(), at)?;
        let Some(above) = above else { continue };
        if tree::child(connection, above, path.name())?.is_none() {
            tree::insert(connection, Some(above), path.name(), Some((*version, bytes)), at)?;
            past::settle(connection, *version)?;
        }
    }
    Ok(())
}

/// The bytes of a version of this account that can still be had.
fn bytes_of(connection: &Connection, user: UserId, version: VersionId) -> Result<Option<u64>> {
    let select = "SELECT bytes FROM versions WHERE version = ?1 AND user_id = ?2 AND retired = 0";
    first(connection, select, params![version.0, user.0], |row| row.get(0))
}

/// Adds a version that no file is yet. False if it is there already.
pub(super) fn add_version(
    connection: &Connection,
    user: UserId,
    kept: &KeptVersion,
    id: u64,
    before: Option<VersionId>,
) -> Result<bool> {
    let insert = "INSERT INTO versions (version, user_id, bytes, blake3, stored_ms, seq, placed,
                      placed_at, stored_by, retired, predecessor, modified_ms, kind, joined)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12, ?13)
                  ON CONFLICT DO NOTHING";
    // Bits of no node would hide a version from the indexes. One without pieces misses none.
    let placed = if kept.joined { NodeSet::ALL } else { NodeSet::from_bits(kept.placed.bits()) };
    let FileAttributes { modified_ms, kind } = kept.attributes;
    let values = params![
        kept.version.0,
        user.0,
        kept.bytes,
        kept.blake3.0,
        kept.stored_ms,
        kept.seq.0,
        placed.bits(),
        id,
        kept.by,
        before.map(|old| old.0),
        modified_ms,
        kind.map(kind_number),
        kept.joined
    ];
    Ok(execute(connection, insert, values)? > 0)
}

fn keep_version(connection: &Connection, kept: &KeptVersion) -> Result<()> {
    let Some((user, _)) = users::live(connection, &kept.user)? else { return Ok(()) };
    add_version(connection, user, kept, 0, None).map(drop)
}

fn note_past(
    connection: &Connection,
    user: &UserName,
    folder: &FolderAt,
    name: &str,
    was: &PastItem,
    [made, gone]: [Moment; 2],
    held: Option<Moment>,
) -> Result<()> {
    let Some((user, top)) = users::live(connection, user)? else { return Ok(()) };
    let find = |at: &FolderAt| -> Result<Option<i64>> {
        let found = tree::find_at(connection, user, top, at)?;
        Ok(found.filter(Item::is_folder).map(|item| item.id))
    };
    let parent = if name.is_empty() { Some(NO_FOLDER) } else { find(folder)? };
    let target = match was {
        PastItem::File(version) => {
            let select = "SELECT bytes FROM versions WHERE version = ?1 AND user_id = ?2";
            let bytes = first(connection, select, params![version.0, user.0], |row| row.get(0))?;
            bytes.map(|bytes| (Target::File(*version), bytes))
        }
        PastItem::Folder(at) => find(at)?.map(|folder| (Target::Folder(folder), 0)),
    };
    let (Some(parent), Some((target, bytes))) = (parent, target) else { return Ok(()) };
    let was = Binding { parent, name: name.to_owned(), target, bytes, made, gone };
    past::keep(connection, user, &was, gone)?;
    held.map_or(Ok(()), |held| past::hold(connection, connection.last_insert_rowid(), held))
}

fn moved(
    connection: &Connection,
    user: &UserName,
    from: &FilePath,
    to: &FilePath,
    at: Moment,
) -> Result<()> {
    let Some((user, top)) = users::live(connection, user)? else { return Ok(()) };
    let Some(item) = tree::find(connection, top, from.as_str())? else { return Ok(()) };
    let Some(folder) = tree::folder(connection, top, &to.folder())? else { return Ok(()) };
    if is_within(connection, folder, item.id)? {
        return Ok(());
    }
    match tree::child(connection, folder, to.name())? {
        None => {}
        Some(there) if there.id != item.id && !there.is_folder() && !item.is_folder() => {
            unname(connection, user, there.id, at)?;
        }
        Some(_) => return Ok(()),
    }
    let was = past::binding(connection, item.id)?;
    let update = "UPDATE entries SET parent = ?2, name = ?3, made = ?4 WHERE id = ?1";
    execute(connection, update, params![item.id, folder, to.name(), at.0])?;
    was.map_or(Ok(()), |was| past::keep(connection, user, &was, at))
}

/// Is this folder the other entry or below it?
fn is_within(connection: &Connection, folder: i64, other: i64) -> Result<bool> {
    let mut at = Some(folder);
    while let Some(id) = at {
        if id == other {
            return Ok(true);
        }
        let select = "SELECT parent FROM entries WHERE id = ?1";
        at = first(connection, select, [id], |row| row.get(0))?.flatten();
    }
    Ok(false)
}
