//! From a change to rows: the one way in which the journal becomes the catalog, for a server that
//! runs, one that starts, and a recovery.
//!
//! The job that records a change sees to it that it can be made. So what is found impossible here is
//! in no valid history, and comes to nothing rather than to an error: a server must be able to start
//! whatever the journal says. Only what cannot be read is refused.

use rusqlite::{Connection, params};

use crate::core::catalog::database::{execute, first, set_setting};
use crate::core::catalog::tree::{self, Item};
use crate::core::catalog::{NODES, journal, replace, survey, tokens, uncertain, users, versions};
use crate::core::error::Result;
use crate::core::path::{FilePath, UserName};
use crate::core::types::{FileAttributes, NodeSet, VersionId};
use crate::core::wire::journal::{Change, Entry};

/// Adds an entry to the journal and makes its change.
pub(super) fn entry(connection: &Connection, entry: &Entry) -> Result<()> {
    change(connection, entry.id, &entry.change()?)?;
    journal::append(connection, entry)
}

/// Makes a change. `id` is its entry's number; 0 for one out of a snapshot.
pub(super) fn change(connection: &Connection, id: u64, change: &Change) -> Result<()> {
    match change {
        Change::Led { .. } => Ok(()),
        Change::UserMade { user, password, created_ms } => {
            users::make(connection, user, password, *created_ms)
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
        Change::QuotaSet { user, bytes } => users::set(connection, user, "quota", bytes),
        Change::UserRemoved { user } => users::remove(connection, user),
        Change::TokenMade { user, hash, machine, created_ms } => {
            tokens::make(connection, user, hash, machine, *created_ms)
        }
        Change::TokenUsed { hash, used_ms } => tokens::note_used(connection, hash, *used_ms),
        Change::TokenRevoked { hash } => tokens::revoke(connection, hash),
        Change::FolderMade { user, folder } => match users::live(connection, user)? {
            Some((_, top)) => tree::make_folders(connection, top, folder).map(drop),
            None => Ok(()),
        },
        Change::FolderRemoved { user, folder } => match users::live(connection, user)? {
            Some((user, top)) if !folder.is_top() => match tree::folder(connection, top, folder)? {
                Some(id) => tree::doom(connection, id, user),
                None => Ok(()),
            },
            _ => Ok(()),
        },
        Change::Stored { .. } => stored(connection, id, change),
        Change::Deleted { place } => match users::live(connection, &place.user)? {
            Some((_, top)) => match tree::file(connection, top, &place.path)? {
                Some((entry, version)) => {
                    tree::delete(connection, entry)?;
                    retire(connection, version)
                }
                None => Ok(()),
            },
            None => Ok(()),
        },
        Change::Moved { user, from, to } => moved(connection, user, from, to),
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
    }
}

fn stored(connection: &Connection, id: u64, change: &Change) -> Result<()> {
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
    let folder = tree::make_folders(connection, top, &place.path.folder())?;
    let Some(folder) = folder else { return Ok(()) };
    let there = tree::child(connection, folder, place.path.name())?;
    if there.as_ref().is_some_and(Item::is_folder) {
        return Ok(());
    }
    let insert = "INSERT INTO versions (version, user_id, bytes, blake3, stored_ms, seq, placed,
                      placed_at, stored_by, retired, predecessor, modified_ms, executable)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12)
                  ON CONFLICT DO NOTHING";
    // Bits of no node would hide a version from the indexes.
    let placed = NodeSet::from_bits(placed.bits()).bits();
    let (seq, before) = (seq.0, there.and_then(|old| old.version).map(|old| old.0));
    let FileAttributes { modified_ms, executable } = attributes;
    let values = params![
        version.0,
        user.0,
        bytes,
        blake3.0,
        stored_ms,
        seq,
        placed,
        id,
        by,
        before,
        modified_ms,
        executable
    ];
    if execute(connection, insert, values)? == 0 {
        return Ok(());
    }
    match there {
        None => {
            let version = Some((*version, *bytes));
            tree::insert(connection, Some(folder), place.path.name(), version).map(drop)
        }
        Some(old) => {
            let update = "UPDATE entries SET version = ?2, bytes = ?3 WHERE id = ?1";
            execute(connection, update, params![old.id, version.0, bytes])?;
            old.version.map_or(Ok(()), |old| retire(connection, old))
        }
    }
}

/// No file names this version any more.
pub(super) fn retire(connection: &Connection, version: VersionId) -> Result<()> {
    execute(connection, "UPDATE versions SET retired = 1 WHERE version = ?1", [version.0]).map(drop)
}

fn moved(connection: &Connection, user: &UserName, from: &FilePath, to: &FilePath) -> Result<()> {
    let Some((_, top)) = users::live(connection, user)? else { return Ok(()) };
    let Some(item) = tree::find(connection, top, from.as_str())? else { return Ok(()) };
    let Some(folder) = tree::folder(connection, top, &to.folder())? else { return Ok(()) };
    if is_within(connection, folder, item.id)? {
        return Ok(());
    }
    match tree::child(connection, folder, to.name())? {
        None => {}
        Some(there) => match there.version {
            Some(version) if there.id != item.id && !item.is_folder() => {
                tree::delete(connection, there.id)?;
                retire(connection, version)?;
            }
            _ => return Ok(()),
        },
    }
    let update = "UPDATE entries SET parent = ?2, name = ?3 WHERE id = ?1";
    execute(connection, update, params![item.id, folder, to.name()]).map(drop)
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
