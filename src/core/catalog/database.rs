//! The SQLite file: how it is opened, its tables, its settings, and short ways to say a statement.
//! `docs/formats.md` shows the tables.
//!
//! Commits are not synced: the nodes' journals are the truth, and what a power cut takes from the
//! end of this file is read from them again. What no journal has, such as the claim, is written with
//! [`synced`].

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::core::error::{Code, Error, Result};

/// The version of the tables. Those below are of Palks that were never released.
const FORMAT: i64 = 106;

/// The tables with what the journal adds up to.
pub(super) const CONTENT: [&str; 12] = [
    "users",
    "tokens",
    "entries",
    "properties",
    "past",
    "detached",
    "versions",
    "extents",
    "uploads",
    "snapshots",
    "journal",
    "replacements",
];

/// An index of some rows only has a condition that no statement's own `= ?` could be about: SQLite would
/// plan that statement anew each time it is given a value.
const TABLES: &str = "
    CREATE TABLE settings (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE users (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        name          TEXT NOT NULL,
        password      TEXT NOT NULL,               -- argon2id, PHC form
        created_ms    INTEGER NOT NULL,
        disabled      INTEGER NOT NULL DEFAULT 0,
        admin         INTEGER NOT NULL DEFAULT 0,  -- may see and mend the cluster by the web page
        removed       INTEGER NOT NULL DEFAULT 0,  -- only its versions are still there
        quota         INTEGER,                     -- bytes; NULL: the server's default
        root          INTEGER NOT NULL,            -- the entry of its top folder
        kept_since    INTEGER NOT NULL DEFAULT 0,  -- a moment; of what went before some may have expired
        files         INTEGER NOT NULL DEFAULT 0,  -- below its top folder
        bytes         INTEGER NOT NULL DEFAULT 0,  -- of those files
        versions      INTEGER NOT NULL DEFAULT 0,  -- from here on counted by triggers
        stored        INTEGER NOT NULL DEFAULT 0,  -- versions with pieces that are not retired
        stored_bytes  INTEGER NOT NULL DEFAULT 0,  -- of all versions with pieces
        retired_bytes INTEGER NOT NULL DEFAULT 0   -- a part of stored_bytes
    ) STRICT;
    CREATE UNIQUE INDEX users_by_name ON users (name) WHERE removed = 0;
    CREATE INDEX users_by_root ON users (root);

    CREATE TABLE tokens (
        hash       BLOB PRIMARY KEY,       -- BLAKE3 of the token
        user_id    INTEGER NOT NULL,
        machine    TEXT NOT NULL,          -- where it is used, as its client says
        created_ms INTEGER NOT NULL,
        used_ms    INTEGER NOT NULL,       -- to the hour
        key        BLOB,                   -- the id of an app password; NULL: a saved sign-in
        read_only  INTEGER NOT NULL DEFAULT 0,
        folder     TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tokens_by_user ON tokens (user_id, used_ms);

    CREATE TABLE entries (
        id      INTEGER PRIMARY KEY,
        parent  INTEGER,                   -- NULL: a user's top folder, or detached
        name    TEXT NOT NULL,
        version BLOB,                      -- NULL: a folder
        bytes   INTEGER NOT NULL,          -- those of the version; of a folder 0
        made    INTEGER NOT NULL           -- the moment since when it has this name
    ) STRICT;
    CREATE UNIQUE INDEX entries_by_name ON entries (parent, name);
    CREATE INDEX entries_by_version ON entries (version);
    CREATE INDEX folders ON entries (parent) WHERE version IS NULL;

    CREATE TABLE properties (              -- what programs for WebDAV give to files and folders
        entry INTEGER NOT NULL,
        name  TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (entry, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER entry_deleted AFTER DELETE ON entries BEGIN
        DELETE FROM properties WHERE entry = old.id;
    END;

    CREATE TABLE past (                    -- what names were
        id      INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL,
        parent  INTEGER NOT NULL,          -- the folder with the name; 0: it was the top folder
        name    TEXT NOT NULL,
        version BLOB,                      -- what it was: a file
        folder  INTEGER,                   -- or a folder
        bytes   INTEGER NOT NULL,
        made    INTEGER NOT NULL,          -- from this moment
        gone    INTEGER NOT NULL,          -- until before this one
        held    INTEGER NOT NULL DEFAULT 0 -- expired, but had by the snapshot of this moment
    ) STRICT;
    CREATE INDEX past_by_name ON past (parent, name, gone);
    CREATE INDEX past_by_age ON past (user_id, held, gone);
    CREATE INDEX past_by_version ON past (version);
    CREATE INDEX past_by_folder ON past (folder, gone);
    CREATE INDEX past_held ON past (held) WHERE held != 0;

    CREATE TABLE detached (                -- folders that are in no other one
        entry   INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL,
        key     INTEGER NOT NULL UNIQUE,   -- the moment since when; below 0: nobody asks for it
        doomed  INTEGER NOT NULL           -- nothing can bring it back
    ) STRICT;
    CREATE INDEX doomed ON detached (entry) WHERE doomed = 1;

    CREATE TABLE snapshots (
        of       INTEGER PRIMARY KEY,      -- the moment
        name     TEXT NOT NULL,
        until_ms INTEGER,
        removed  INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE UNIQUE INDEX snapshots_by_name ON snapshots (name) WHERE removed = 0;

    CREATE TABLE versions (
        version   BLOB PRIMARY KEY,
        user_id   INTEGER NOT NULL,
        bytes     INTEGER NOT NULL,
        blake3    BLOB NOT NULL,
        stored_ms INTEGER NOT NULL,
        seq       INTEGER NOT NULL,        -- as in its trailers
        placed    INTEGER NOT NULL,        -- bit 0 is node 1
        placed_at INTEGER NOT NULL,        -- the journal's entry that last placed a piece
        stored_by TEXT NOT NULL,           -- who, and from where
        retired   INTEGER NOT NULL,        -- no name is or was it, not dropped yet
        kept      INTEGER NOT NULL DEFAULT 0,  -- names were it, none is
        predecessor BLOB,                  -- the version that it has replaced
        modified_ms INTEGER,               -- of the file that was stored, by its own clock
        kind        INTEGER,               -- of that: 0 plain, 1 may be run, 2 a link; NULL, as above: not known
        uncertain INTEGER NOT NULL DEFAULT 0,  -- its predecessor is kept until it is known to be readable
        joined    INTEGER NOT NULL             -- made of extents; it has no pieces, and counts as placed
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX versions_uncertain ON versions (predecessor) WHERE uncertain = 1;
    CREATE INDEX missing_1 ON versions (version, bytes) WHERE placed & 1 = 0 AND retired = 0;
    CREATE INDEX missing_2 ON versions (version, bytes) WHERE placed & 2 = 0 AND retired = 0;
    CREATE INDEX missing_3 ON versions (version, bytes) WHERE placed & 4 = 0 AND retired = 0;
    CREATE INDEX missing_4 ON versions (version, bytes) WHERE placed & 8 = 0 AND retired = 0;
    CREATE INDEX placed_partly ON versions (placed, bytes) WHERE placed != 15 AND retired = 0;
    CREATE INDEX versions_retired ON versions (version) WHERE retired = 1;

    CREATE TABLE extents (
        file     BLOB NOT NULL,            -- an upload, or a joined version
        position INTEGER NOT NULL,         -- they make the file in this order
        version  BLOB NOT NULL,            -- whose bytes they are
        start    INTEGER NOT NULL,         -- from this one on
        bytes    INTEGER NOT NULL,
        tree     BLOB,                     -- what an upload knows of the file's digest
        PRIMARY KEY (file, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX extents_by_version ON extents (version);

    CREATE TABLE uploads (
        id          BLOB PRIMARY KEY,
        user_id     INTEGER NOT NULL,
        path        TEXT NOT NULL,         -- of the file that it is for
        bytes       INTEGER,               -- of that file, if that is known
        begun_ms    INTEGER NOT NULL,
        touched     INTEGER NOT NULL,      -- the moment of its last change
        modified_ms INTEGER,               -- as of a version
        kind        INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX uploads_by_user ON uploads (user_id, path);
    CREATE INDEX uploads_by_age ON uploads (touched);

    CREATE TRIGGER version_added AFTER INSERT ON versions BEGIN
        UPDATE users SET versions = versions + 1,
            stored = stored + (new.retired = 0) * (new.joined = 0),
            stored_bytes = stored_bytes + new.bytes * (new.joined = 0),
            retired_bytes = retired_bytes + new.bytes * new.retired * (new.joined = 0)
        WHERE id = new.user_id;
    END;
    CREATE TRIGGER version_retired AFTER UPDATE OF retired ON versions
    WHEN new.retired != old.retired AND new.joined = 0 BEGIN
        UPDATE users SET stored = stored + old.retired - new.retired,
            retired_bytes = retired_bytes + new.bytes * (new.retired - old.retired)
        WHERE id = new.user_id;
    END;
    CREATE TRIGGER version_dropped AFTER DELETE ON versions BEGIN
        UPDATE users SET versions = versions - 1,
            stored = stored - (old.retired = 0) * (old.joined = 0),
            stored_bytes = stored_bytes - old.bytes * (old.joined = 0),
            retired_bytes = retired_bytes - old.bytes * old.retired * (old.joined = 0)
        WHERE id = old.user_id;
    END;

    CREATE TABLE journal (
        id     INTEGER PRIMARY KEY,
        epoch  INTEGER NOT NULL,
        at     INTEGER NOT NULL,
        record BLOB NOT NULL,
        chain  BLOB NOT NULL
    ) STRICT;

    CREATE TABLE replacements (
        node       INTEGER PRIMARY KEY,
        address    TEXT NOT NULL,
        instead_of TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        pieces     INTEGER NOT NULL,       -- that there were when it began
        proved_ms  INTEGER
    ) STRICT;

    CREATE TABLE scrubs (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        started_ms INTEGER NOT NULL,
        ended_ms   INTEGER,
        phase      TEXT NOT NULL,          -- inventory, files, mending, done, stopped
        witness    INTEGER NOT NULL,
        grace_ms   INTEGER NOT NULL,
        listed     INTEGER NOT NULL,       -- nodes whose inventory is done; bit 0 is node 1
        unchecked  INTEGER NOT NULL,       -- nodes of which something could not be checked
        cursor     BLOB,                   -- the last version that has been checked
        files_done INTEGER NOT NULL,
        files_all  INTEGER NOT NULL,
        bytes_done INTEGER NOT NULL,       -- on all nodes together
        bytes_all  INTEGER NOT NULL,
        removed    INTEGER NOT NULL,
        others     INTEGER NOT NULL        -- files that are no blocks of their node
    ) STRICT;
    CREATE TABLE scrub_findings (
        id      INTEGER PRIMARY KEY,
        scrub   INTEGER NOT NULL,
        what    TEXT NOT NULL,             -- wrong, missing, damaged
        node    INTEGER,
        user    TEXT NOT NULL,             -- and the path, as it was called then
        path    TEXT NOT NULL,
        version BLOB NOT NULL
    ) STRICT;
    CREATE INDEX scrub_findings_by_scrub ON scrub_findings (scrub);
    CREATE INDEX scrub_findings_by_version ON scrub_findings (version, node);
";

/// How long one connection waits for another before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many statements a connection keeps prepared: more than there are.
const STATEMENTS_MAX: usize = 256;

/// The write-ahead log is written back when it is this long.
const LOG_PAGES: u32 = 4000;

/// The same where the disk is full.
const LOG_PAGES_SHORT: u32 = 16;

/// Opens a catalog, or makes an empty one where there is no file.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = {LOG_PAGES};
             PRAGMA cache_size = -8000; PRAGMA synchronous = NORMAL;"
        ))
        .map_err(catalog_error)?;
    if format(&connection)? == 0 {
        synced(&connection, || create_tables(&connection))?;
    }
    Ok(connection)
}

/// Makes an empty catalog in one plain file, which nobody else uses.
pub(super) fn create_alone(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;
             PRAGMA cache_size = -64000;",
        )
        .map_err(catalog_error)?;
    match format(&connection)? {
        0 => create_tables(&connection)?,
        _ => return Err(Error::Catalog(format!("{} is there already", path.display()))),
    }
    Ok(connection)
}

/// Keeps the write-ahead log short, or as long as usual: what is written back makes room in it. On a
/// full disk it may not get any longer.
pub(super) fn keep_log_short(connection: &Connection, is_short: bool) {
    let pages = if is_short { LOG_PAGES_SHORT } else { LOG_PAGES };
    let set = format!("PRAGMA wal_autocheckpoint = {pages}; PRAGMA wal_checkpoint(PASSIVE);");
    if let Err(error) = connection.execute_batch(&set) {
        tracing::warn!("the catalog's log cannot be written back: {error}");
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).map_err(catalog_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(catalog_error)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// The version of the tables; 0 if there are none.
fn format(connection: &Connection) -> Result<i64> {
    let format = one(connection, "PRAGMA user_version", [], |row| row.get(0))?;
    let (whose, advice) = match format {
        0 | FORMAT => return Ok(format),
        1..FORMAT => ("an older", "Start with empty folders for the server and the nodes."),
        _ => ("a newer", "Start the server with that version."),
    };
    let text = format!(
        "the catalog is of {whose} Palk (its format is {format}, this one reads {FORMAT} only)"
    );
    Err(Error::advised(Code::Version, text, advice))
}

fn create_tables(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;"))
        .map_err(catalog_error)
}

/// Does something that is to survive a power cut even if no journal has it.
pub(super) fn synced<T>(connection: &Connection, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let set =
        |level: &str| connection.pragma_update(None, "synchronous", level).map_err(catalog_error);
    set("FULL")?;
    let done = what();
    set("NORMAL")?;
    done
}

/// A transaction that only reads: what is asked while it lives is of one state. Its statements are
/// prepared once, unlike those of the library's own transactions.
pub(super) struct ReadTransaction<'a>(&'a Connection);

impl<'a> ReadTransaction<'a> {
    pub(super) fn begin(connection: &'a Connection) -> Result<ReadTransaction<'a>> {
        execute(connection, "BEGIN", [])?;
        Ok(ReadTransaction(connection))
    }
}

impl Drop for ReadTransaction<'_> {
    fn drop(&mut self) {
        // Nothing was written. If it stays open all the same the next one cannot begin, and says so.
        let _ = execute(self.0, "COMMIT", []);
    }
}

/// Executes a statement; gives how many rows it changed.
pub(super) fn execute(connection: &Connection, sql: &str, values: impl Params) -> Result<usize> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(values))
        .map_err(catalog_error)
}

/// The one row that a query has.
pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<T> {
    connection
        .prepare_cached(sql)
        .and_then(|mut query| query.query_row(values, read))
        .map_err(catalog_error)
}

/// The first row of a query, if it has any.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    connection
        .prepare_cached(sql)
        .and_then(|mut query| query.query_row(values, read).optional())
        .map_err(catalog_error)
}

/// All rows of a query.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    connection
        .prepare_cached(sql)
        .and_then(|mut query| query.query_map(values, read)?.collect())
        .map_err(catalog_error)
}

/// A limit for a query.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

pub(super) fn setting(connection: &Connection, key: &str) -> Result<Option<String>> {
    first(connection, "SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0))
}

pub(super) fn set_setting(connection: &Connection, key: &str, value: &str) -> Result<()> {
    let set = "INSERT INTO settings (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    execute(connection, set, [key, value]).map(drop)
}

/// The setting, which is set to `fresh` first if it is missing.
pub(super) fn setting_or(connection: &Connection, key: &str, fresh: &str) -> Result<String> {
    match setting(connection, key)? {
        Some(value) => Ok(value),
        None => set_setting(connection, key, fresh).map(|()| fresh.to_owned()),
    }
}

/// The disk of the catalog is full.
pub(super) fn no_space() -> Error {
    Error::other(Code::NoSpace, "no space left on the disk of the server's folder")
}

/// What SQLite says, as an error of ours.
pub(super) fn catalog_error(e: rusqlite::Error) -> Error {
    if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
        return no_space();
    }
    Error::Catalog(e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_of_another_format_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("palk.db");
        let connection = open(&path).unwrap();
        drop(open(&path).unwrap());
        for (other, word) in [(1, "older"), (6, "older"), (FORMAT + 1, "newer")] {
            connection.pragma_update(None, "user_version", other).unwrap();
            let refused = open(&path).unwrap_err();
            assert_eq!(refused.code(), Code::Version);
            assert!(refused.to_string().contains(word), "{refused}");
        }
        connection.pragma_update(None, "user_version", FORMAT).unwrap();
        open(&path).unwrap();
    }

    #[test]
    fn only_what_no_journal_has_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&folder.path().join("palk.db")).unwrap();
        let level = || one(&connection, "PRAGMA synchronous", [], |row| row.get::<_, i64>(0));
        assert_eq!(level().unwrap(), 1, "1 is NORMAL");
        assert_eq!(synced(&connection, level).unwrap(), 2, "2 is FULL");
        assert_eq!(level().unwrap(), 1);
    }
}
