//! The SQLite file: how it is opened, its tables and its settings. `docs/formats.md` shows them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::core::error::{Code, Error, Result};

/// The version of the tables; each entry of the list leads to the next one.
const MIGRATIONS: [&str; 6] = [
    "
    CREATE TABLE settings (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE users (
        id         INTEGER PRIMARY KEY,
        name       TEXT NOT NULL UNIQUE,
        password   TEXT NOT NULL,              -- argon2id, PHC form
        created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE folders (
        user_id INTEGER NOT NULL REFERENCES users (id),
        path    TEXT NOT NULL,
        PRIMARY KEY (user_id, path)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE files (
        user_id   INTEGER NOT NULL REFERENCES users (id),
        path      TEXT NOT NULL,
        version   BLOB NOT NULL UNIQUE,
        seq       INTEGER NOT NULL,
        bytes     INTEGER NOT NULL,
        blake3    BLOB NOT NULL,
        stored_ms INTEGER NOT NULL,
        placed    INTEGER NOT NULL,            -- bit 0 is node 1
        PRIMARY KEY (user_id, path)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE owed (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        node    INTEGER NOT NULL,
        kind    TEXT NOT NULL,                 -- folder, commit, remove, discard, repair
        user_id INTEGER NOT NULL REFERENCES users (id),
        path    TEXT NOT NULL,
        version BLOB,
        seq     INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX owed_by_node ON owed (node, id);
    CREATE INDEX owed_by_path ON owed (user_id, path);
    CREATE INDEX owed_by_version ON owed (version);
",
    "
    CREATE TABLE scrubs (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        started_ms  INTEGER NOT NULL,
        ended_ms    INTEGER,
        phase       TEXT NOT NULL,             -- inventory, files, mending, done, stopped
        witness     INTEGER NOT NULL,
        grace_ms    INTEGER NOT NULL,
        listed      INTEGER NOT NULL,          -- nodes whose inventory is done; bit 0 is node 1
        unchecked   INTEGER NOT NULL,          -- nodes of which something could not be checked
        user_id     INTEGER,                   -- the last file that has been checked
        path        TEXT,
        files_done  INTEGER NOT NULL,
        files_all   INTEGER NOT NULL,
        bytes_done  INTEGER NOT NULL,          -- on all nodes together
        bytes_all   INTEGER NOT NULL,
        removed     INTEGER NOT NULL,
        others      INTEGER NOT NULL           -- files that are no blocks of their node
    ) STRICT;
    CREATE TABLE scrub_findings (
        id      INTEGER PRIMARY KEY,
        scrub   INTEGER NOT NULL,
        what    TEXT NOT NULL,                 -- wrong, missing, stale, damaged
        node    INTEGER,
        user_id INTEGER NOT NULL,
        path    TEXT NOT NULL,
        version BLOB NOT NULL
    ) STRICT;
    CREATE INDEX scrub_findings_by_version ON scrub_findings (version);
    CREATE TABLE strays (
        node     INTEGER NOT NULL,
        user     TEXT NOT NULL,
        path     TEXT NOT NULL,
        seq      INTEGER NOT NULL,
        first_ms INTEGER NOT NULL,
        scrub    INTEGER NOT NULL,             -- the last one that has seen it
        PRIMARY KEY (node, user, path)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE replacements (
        node       INTEGER PRIMARY KEY,
        address    TEXT NOT NULL,
        instead_of TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        pieces     INTEGER NOT NULL,           -- that were owed to it at the beginning
        proved_ms  INTEGER
    ) STRICT;
",
    "
    CREATE TABLE journal (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        record BLOB NOT NULL,
        chain  BLOB NOT NULL
    ) STRICT;
    CREATE TABLE deletions (
        user_id INTEGER NOT NULL REFERENCES users (id),
        path    TEXT NOT NULL,
        seq     INTEGER NOT NULL,
        PRIMARY KEY (user_id, path)
    ) STRICT, WITHOUT ROWID;
",
    // What every account stores is counted by triggers, so that no change of `files`, present or
    // future, can forget it.
    "
    ALTER TABLE users ADD COLUMN state TEXT NOT NULL DEFAULT 'active';    -- active, disabled, removed
    ALTER TABLE users ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;   -- one more at each removal
    ALTER TABLE users ADD COLUMN quota INTEGER;                           -- bytes; NULL: the default
    ALTER TABLE users ADD COLUMN stored_files INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE users SET
        stored_files = (SELECT count(*) FROM files WHERE user_id = users.id),
        stored_bytes = (SELECT coalesce(sum(bytes), 0) FROM files WHERE user_id = users.id);
    CREATE TRIGGER file_added AFTER INSERT ON files BEGIN
        UPDATE users SET stored_files = stored_files + 1, stored_bytes = stored_bytes + new.bytes
            WHERE id = new.user_id;
    END;
    CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN
        UPDATE users SET stored_files = stored_files - 1, stored_bytes = stored_bytes - old.bytes
            WHERE id = old.user_id;
    END;
    CREATE TRIGGER file_replaced AFTER UPDATE OF user_id, bytes ON files BEGIN
        UPDATE users SET stored_files = stored_files - 1, stored_bytes = stored_bytes - old.bytes
            WHERE id = old.user_id;
        UPDATE users SET stored_files = stored_files + 1, stored_bytes = stored_bytes + new.bytes
            WHERE id = new.user_id;
    END;
    CREATE TABLE tokens (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        user_id    INTEGER NOT NULL REFERENCES users (id),
        hash       BLOB NOT NULL UNIQUE,       -- BLAKE3 of the token
        machine    TEXT NOT NULL,              -- where it was made, as its client says
        created_ms INTEGER NOT NULL,
        used_ms    INTEGER NOT NULL            -- to the hour
    ) STRICT;
    CREATE INDEX tokens_by_user ON tokens (user_id, used_ms);
",
    "
    ALTER TABLE files ADD COLUMN stored_by TEXT;   -- who, and from where; NULL: not known any more
",
    "
    ALTER TABLE files ADD COLUMN stored_seq INTEGER;            -- of its trailers; NULL: as seq
    ALTER TABLE owed ADD COLUMN target TEXT;                    -- of a move: where to
    ALTER TABLE owed ADD COLUMN entry INTEGER NOT NULL DEFAULT 0;   -- of a move: the journal's
    CREATE INDEX owed_moves ON owed (user_id, id)
        WHERE kind IN ('move', 'move-folder', 'take-back');
    CREATE INDEX owed_folder_moves ON owed (user_id, id) WHERE kind = 'move-folder';
    CREATE INDEX owed_by_target ON owed (user_id, target) WHERE target IS NOT NULL;
",
];

/// How long one connection waits for the other before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).map_err(catalog_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(catalog_error)?;
    connection.set_prepared_statement_cache_capacity(64);
    // An answered store must survive a power cut: every commit is synced.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        )
        .map_err(catalog_error)?;
    Ok(connection)
}

/// Opens a copy of a catalog as one plain file, which nobody else uses.
pub(super) fn open_copy(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).map_err(catalog_error)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        )
        .map_err(catalog_error)?;
    Ok(connection)
}

pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(catalog_error)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version > known {
        return Err(Error::other(
            Code::Version,
            format!(
                "the catalog is of a newer Palk (its version is {version}, this one knows {known})"
            ),
        ));
    }
    for (step, to) in MIGRATIONS.iter().zip(1..).filter(|(_, to)| *to > version) {
        let transaction = connection.transaction().map_err(catalog_error)?;
        transaction.execute_batch(step).map_err(catalog_error)?;
        transaction.pragma_update(None, "user_version", to).map_err(catalog_error)?;
        transaction.commit().map_err(catalog_error)?;
    }
    Ok(())
}

pub(super) fn setting(connection: &Connection, key: &str) -> Result<Option<String>> {
    connection
        .query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0))
        .optional()
        .map_err(catalog_error)
}

pub(super) fn set_setting(connection: &Connection, key: &str, value: &str) -> Result<()> {
    connection
        .execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, value],
        )
        .map_err(catalog_error)?;
    Ok(())
}

/// The setting, which is set to `fresh` first if it is missing.
pub(super) fn setting_or(connection: &Connection, key: &str, fresh: &str) -> Result<String> {
    match setting(connection, key)? {
        Some(value) => Ok(value),
        None => set_setting(connection, key, fresh).map(|()| fresh.to_owned()),
    }
}

/// Is there neither an account nor a file?
pub(super) fn is_empty(connection: &Connection) -> Result<bool> {
    connection
        .query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM users) AND NOT EXISTS (SELECT 1 FROM files)",
            [],
            |row| row.get(0),
        )
        .map_err(catalog_error)
}

/// What SQLite says, as an error of ours.
pub(super) fn catalog_error(e: rusqlite::Error) -> Error {
    if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
        return Error::other(Code::NoSpace, "no space left on the disk of the catalog");
    }
    Error::Catalog(e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(&folder.path().join("palk.db")).unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let refused = migrate(&mut connection).unwrap_err();
        assert_eq!(refused.code(), Code::Version);
    }

    #[test]
    fn what_accounts_stored_before_it_was_counted_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(&folder.path().join("palk.db")).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
            .execute_batch(
                "INSERT INTO users VALUES (1, 'demo', 'hash', 5), (2, 'ann', 'hash', 6);
                 INSERT INTO files VALUES (1, 'a', x'01', 1, 10, x'00', 0, 15),
                                          (1, 'b', x'02', 2, 32, x'00', 0, 15);",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let counts = |name: &str| -> (u64, u64, String) {
            let query = "SELECT stored_files, stored_bytes, state FROM users WHERE name = ?1";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            connection.query_row(query, [name], read).unwrap()
        };
        assert_eq!(counts("demo"), (2, 42, "active".into()));
        assert_eq!(counts("ann"), (0, 0, "active".into()));
    }

    #[test]
    fn commits_are_synced() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&folder.path().join("palk.db")).unwrap();
        let level: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(level, 2, "2 is FULL");
    }
}
