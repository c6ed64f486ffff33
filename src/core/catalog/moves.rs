//! Moves of files and folders.
//!
//! A move is one transaction. Its number is drawn in it, so that it is higher than that of every
//! change that has been committed before, and from then on it is the number of every file that was
//! moved; the one in their trailers stays. Stores that were running where something moved are
//! refused when they end (`order.rs`), so the number decides as it does elsewhere.
//!
//! Every node is owed the move, also one that lacks the piece: what lies there under either name is
//! older. A recovery must know of each move that any node has made, so no node is told before the
//! journal's entry of it is on several.

use rusqlite::{Connection, params};

use crate::core::catalog::database::catalog_error;
use crate::core::catalog::files::{
    check_names, check_new_folder, file_at, folder_exists, missing, range_below,
};
use crate::core::catalog::owed::{self, Kind, Renaming};
use crate::core::catalog::{Catalog, UserId, accounts, journal, users, whereabouts};
use crate::core::error::{Error, Result};
use crate::core::path::{
    FilePath, FolderPath, PATH_BYTES_MAX, PATH_DEPTH_MAX, PathError, UserName,
};
use crate::core::types::{NodeId, Seq};
use crate::core::wire::journal::Change;

/// What a move has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relocated {
    /// What was moved.
    pub from: FilePath,
    /// Where it is now.
    pub to: FilePath,
    /// Was it a folder?
    pub is_folder: bool,
    /// How many files moved with it, or 1.
    pub files: u64,
    /// Did it replace a file?
    pub replaced: bool,
    /// The move's number.
    pub seq: Seq,
    /// Its entry in the journal.
    pub entry: u64,
}

impl Catalog {
    /// Moves a file or a folder: into `to` if that is a folder, else to that name.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::NoSuchFolder`], [`Error::Exists`], [`Error::FolderExists`],
    /// [`Error::NameCollision`], [`Error::IntoItself`], [`Error::BadPath`] if a path would become too
    /// long or too deep. Nothing has changed then.
    pub fn relocate(
        &self,
        user: UserId,
        from: &FilePath,
        to: &FolderPath,
        replace: bool,
    ) -> Result<Relocated> {
        let mut writer = self.writer.lock();
        let seq = self.draw_under(&writer)?;
        let transaction = writer.transaction().map_err(catalog_error)?;
        users::check_not_removed(&transaction, user)?;
        let to = target(&transaction, user, from, to)?;
        let name = accounts::name_of(&transaction, user)?;
        let is_folder = folder_exists(&transaction, user, from.as_str())?;
        let relocated = if is_folder {
            check_folder(&transaction, user, &from.as_folder(), &to)?;
            let (from, to) = (from.as_folder(), to.as_folder());
            let change =
                Change::FolderMoved { user: name, from: from.clone(), to: to.clone(), seq };
            journal::record(&transaction, &change)?;
            let entry = journal::end(&transaction)?.id;
            (rename_folder(&transaction, user, [&from, &to], seq, entry)?, false, entry)
        } else {
            let replaced = check_file(&transaction, user, from, &to, replace)?;
            record_file(&transaction, name, from, &to, seq)?;
            let entry = journal::end(&transaction)?.id;
            rename_file(&transaction, user, [from, &to], seq, entry)?;
            (1, replaced, entry)
        };
        self.commit(transaction)?;
        // Still under the writer's lock: a store that commits next must find the notes.
        let mut order = self.order.lock();
        [from, &to].into_iter().for_each(|path| order.note_moved(user, path.as_str(), seq));
        let (files, replaced, entry) = relocated;
        Ok(Relocated { from: from.clone(), to, is_folder, files, replaced, seq, entry })
    }

    /// The journal's last entry of a move that concerns a path and that some node has not made yet.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn last_move_of(&self, user: UserId, path: &str) -> Result<Option<u64>> {
        let reader = self.reader.lock();
        let moves = whereabouts::pending_at(&reader, user, path)?;
        let concerning = moves.iter().filter(|own| own.concerns(path) || own.is_below(path));
        Ok(concerning.map(|renaming| renaming.entry).max())
    }
}

fn record_file(
    connection: &Connection,
    user: UserName,
    from: &FilePath,
    to: &FilePath,
    seq: Seq,
) -> Result<()> {
    let change = Change::FileMoved { user, from: from.clone(), to: to.clone(), seq };
    journal::record(connection, &change)
}

/// The whole new name: that of `to`, or the old one in it if it is a folder.
fn target(
    connection: &Connection,
    user: UserId,
    from: &FilePath,
    to: &FolderPath,
) -> Result<FilePath> {
    let whole = match to.split() {
        Some((above, name)) if !folder_exists(connection, user, to.as_str())? => {
            above.join(name)?
        }
        _ => to.join(from.name())?,
    };
    let above = whole.folder();
    if !above.is_top() && !folder_exists(connection, user, above.as_str())? {
        return Err(Error::NoSuchFolder(above));
    }
    let is_inside =
        whole.as_str().strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if whole == *from || (is_inside && folder_exists(connection, user, from.as_str())?) {
        return Err(Error::IntoItself(from.as_folder()));
    }
    Ok(whole)
}

/// May this file be moved there? True if it replaces one.
fn check_file(
    connection: &Connection,
    user: UserId,
    from: &FilePath,
    to: &FilePath,
    replace: bool,
) -> Result<bool> {
    if file_at(connection, user, from)?.is_none() {
        return Err(missing(connection, user, from)?);
    }
    if folder_exists(connection, user, to.as_str())? {
        return Err(Error::FolderExists(to.as_folder()));
    }
    check_names(connection, user, to)?;
    let replaces = file_at(connection, user, to)?.is_some();
    if replaces && !replace {
        return Err(Error::Exists(to.clone()));
    }
    Ok(replaces)
}

/// May this folder be moved there?
fn check_folder(
    connection: &Connection,
    user: UserId,
    from: &FolderPath,
    to: &FilePath,
) -> Result<()> {
    if folder_exists(connection, user, to.as_str())? {
        return Err(Error::FolderExists(to.as_folder()));
    }
    let collision = |taken: String| Error::NameCollision { what: to.to_string(), taken };
    check_new_folder(connection, user, &to.as_folder(), &collision)?;
    let (longest, deepest) = longest_below(connection, user, from)?;
    let depth = |path: &str| path.split('/').count();
    let bytes = to.as_str().len() + longest - from.as_str().len();
    if bytes > PATH_BYTES_MAX {
        return Err(PathError::LongPath(bytes).into());
    }
    let parts = depth(to.as_str()) + deepest - depth(from.as_str());
    if parts > PATH_DEPTH_MAX {
        return Err(PathError::DeepPath(parts).into());
    }
    Ok(())
}

/// The most bytes, and the most parts, of any path in a folder, or of its own.
fn longest_below(
    connection: &Connection,
    user: UserId,
    folder: &FolderPath,
) -> Result<(usize, usize)> {
    let [first, end] = range_below(folder);
    let (bytes, slashes): (i64, i64) = connection
        .prepare_cached(
            "SELECT max(length(CAST(path AS BLOB))), max(length(path) - length(replace(path, '/', '')))
             FROM (SELECT path FROM files WHERE user_id = ?1 AND path > ?2 AND path < ?3
                   UNION ALL
                   SELECT path FROM folders WHERE user_id = ?1 AND path > ?2 AND path < ?3
                   UNION ALL SELECT ?4)",
        )
        .and_then(|mut query| {
            query.query_row(params![user.0, first, end, folder.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        })
        .map_err(catalog_error)?;
    Ok((usize::try_from(bytes).unwrap_or(0), usize::try_from(slashes).unwrap_or(0) + 1))
}

/// Gives a file another name, over another file; owes every node the move.
pub(super) fn rename_file(
    connection: &Connection,
    user: UserId,
    [from, to]: [&FilePath; 2],
    seq: Seq,
    entry: u64,
) -> Result<()> {
    let Some(file) = file_at(connection, user, from)? else {
        // In a recovery, where what was moved is not known.
        return Ok(());
    };
    owed::forget_repairs(connection, user, to)?;
    let (old, new) = (from.as_str(), to.as_str());
    connection
        .execute("DELETE FROM files WHERE user_id = ?1 AND path = ?2", params![user.0, new])
        .and_then(|_| {
            connection.execute(
                "UPDATE files SET path = ?3, stored_seq = coalesce(stored_seq, seq), seq = ?4
                 WHERE user_id = ?1 AND path = ?2",
                params![user.0, old, new, seq.0],
            )
        })
        .and_then(|_| {
            connection.execute(
                "UPDATE owed SET path = ?3 WHERE user_id = ?1 AND path = ?2 AND kind = 'repair'",
                params![user.0, old, new],
            )
        })
        .map_err(catalog_error)?;
    // Nothing with a lower number is there any more.
    journal::note_deletion(connection, user, from, seq)?;
    for node in NodeId::ALL {
        let version = Some(file.version);
        let renaming = Renaming { kind: Kind::Move, from: old, to: new, version, seq, entry };
        owed::add_renaming(connection, node, user, &renaming)?;
    }
    Ok(())
}

/// Gives a folder another name, and all in it with it; owes every node the move. Gives how many files
/// there are in it.
pub(super) fn rename_folder(
    connection: &Connection,
    user: UserId,
    [from, to]: [&FolderPath; 2],
    seq: Seq,
    entry: u64,
) -> Result<u64> {
    let (old, new) = (from.as_str(), to.as_str());
    let [first, end] = range_below(from);
    let rename = |table: &str, more: &str| {
        let path = "?3 || substr(path, length(?2) + 1)";
        connection.execute(
            &format!(
                "UPDATE {table} SET path = {path}
                 WHERE user_id = ?1 AND (path = ?2 OR (path > ?4 AND path < ?5)) {more}"
            ),
            params![user.0, old, new, first, end],
        )
    };
    let below = params![user.0, first, end, seq.0];
    let moved = connection
        .execute(
            "UPDATE files SET stored_seq = coalesce(stored_seq, seq), seq = ?4
             WHERE user_id = ?1 AND path > ?2 AND path < ?3",
            below,
        )
        .and_then(|moved| {
            rename("files", "")?;
            rename("folders", "")?;
            rename("owed", "AND kind = 'repair'")?;
            Ok(moved)
        })
        .map_err(catalog_error)?;
    journal::note_deletion_below(connection, user, from, seq)?;
    journal::note_deletion_below(connection, user, to, seq)?;
    for node in NodeId::ALL {
        let renaming =
            Renaming { kind: Kind::MoveFolder, from: old, to: new, version: None, seq, entry };
        owed::add_renaming(connection, node, user, &renaming)?;
    }
    Ok(moved as u64)
}

#[cfg(test)]
mod tests;
