//! Nobody who is slow, and nothing that is much, holds up anybody else. What is measured is the order
//! in which things happen, never how long they take.

mod support;

use std::io::Read;

use support::raw::{Raw, describing, seed_of};
use support::{Cluster, noise, until};

/// What the server's catalog holds just now.
fn count(cluster: &Cluster, query: &str) -> i64 {
    let file = cluster.path("user_database/palk.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(file, flags).unwrap();
    database.busy_timeout(support::HANG).unwrap();
    database.query_row(query, [], |row| row.get(0)).unwrap()
}

/// A reader that has taken the beginning of a file and no more.
fn slow_reader(cluster: &Cluster, name: &str, path: &str, length: usize) -> (Raw, Vec<u8>) {
    let mut reader = Raw::sign_in(cluster);
    reader.ask_for(name, path);
    assert_eq!(reader.reply().unwrap(), length.to_string());
    let mut got = vec![0; length];
    reader.stream.read_exact(&mut got[..100_000]).unwrap();
    (reader, got)
}

/// Reads the rest; gives the seed of what it was.
fn read_on((mut reader, mut got): (Raw, Vec<u8>)) -> u64 {
    reader.stream.read_exact(&mut got[100_000..]).unwrap();
    reader.reply().unwrap();
    seed_of(&got)
}

#[test]
fn a_slow_reader_and_a_move_hold_up_nobody() {
    let cluster = Cluster::start();
    // Longer than what the buffers of the connections take in.
    const SLOW: usize = 40_000_000;
    let mut client = Raw::sign_in(&cluster);
    client.store("a.bin", "test", &describing(1, SLOW)).unwrap();
    let kept = cluster.version("test/a.bin");
    let reader = slow_reader(&cluster, "a.bin", "test", SLOW);

    // The file is replaced while it is read, and what took its place is moved, again and again.
    client.store("a.bin", "test", &describing(2, 300_000)).unwrap();
    let mut from = "test/a.bin".to_owned();
    for round in 0..10 {
        let to = format!("test/renamed{round}");
        assert!(cluster.client(&["mv", &from, &to]).status.success());
        from = to;
        // Everybody else stores and deletes, and what is deleted frees its room on every node.
        let name = format!("other{round}");
        client.store(&name, "others", &describing(3, 2_000_000)).unwrap();
        let version = cluster.version(&format!("others/{name}"));
        client.delete(&name, "others").unwrap();
        for node in 1..=4 {
            until("its room is free", || cluster.piece(node, &version).is_empty());
        }
    }
    assert!(cluster.client(&["mv", "test", "moved"]).status.success());
    assert_eq!(seed_of(&cluster.retrieve("moved/renamed9").unwrap()), 2);
    for node in 1..=4 {
        until("it has the name", || cluster.blocks(node, "moved/renamed9").len() == 2);
        assert_eq!(cluster.piece(node, &kept).len(), 2, "somebody reads it");
    }
    assert_eq!(read_on(reader), 1, "the version that it had begun");
    for node in 1..=4 {
        until("nobody reads it any more", || cluster.piece(node, &kept).is_empty());
    }
    cluster.await_healthy();
}

#[test]
fn a_file_that_is_renamed_again_and_again_while_it_is_read_is_read_to_its_end() {
    let cluster = Cluster::start();
    const SLOW: usize = 40_000_000;
    let mut client = Raw::sign_in(&cluster);
    client.store("a", "test", &describing(1, SLOW)).unwrap();
    let reader = slow_reader(&cluster, "a", "test", SLOW);
    let names = ["b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
    let mut from = "test/a".to_owned();
    for name in names {
        let to = format!("test/{name}");
        assert!(cluster.client(&["mv", &from, &to]).status.success());
        from = to;
    }
    for node in 1..=4 {
        until("it has the last name", || cluster.blocks(node, &from).len() == 2);
    }
    assert_eq!(read_on(reader), 1);
}

/// Enters so many files of nobody's bytes into the catalog of a server that does not run, below the
/// folder `much` of the first user. One by one they would take minutes.
fn enter_files(cluster: &Cluster, count: usize) {
    let database = rusqlite::Connection::open(cluster.path("user_database/palk.db")).unwrap();
    let sql = "
        BEGIN;
        INSERT INTO entries (parent, name, bytes, made) SELECT root, 'much', 0, 1 FROM users ORDER BY id LIMIT 1;
        CREATE TEMP TABLE many AS
            WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted LIMIT @COUNT)
            SELECT n, randomblob(16) AS version FROM counted;
        INSERT INTO versions
            (version, user_id, bytes, blake3, stored_ms, seq, placed, placed_at, stored_by, retired,
             joined)
            SELECT many.version, users.id, 100, zeroblob(32), 0, 1, 15, 1, '', 0, 0
            FROM many, users WHERE users.id = (SELECT min(id) FROM users);
        INSERT INTO entries (parent, name, version, bytes, made)
            SELECT (SELECT id FROM entries WHERE name = 'much'), printf('f%06d', n), version, 100, 1 FROM many;
        UPDATE users SET files = files + @COUNT, bytes = bytes + 100 * @COUNT
            WHERE id = (SELECT min(id) FROM users);
        COMMIT;";
    database.execute_batch(&sql.replace("@COUNT", &count.to_string())).unwrap();
}

#[test]
fn rmdir_of_a_hundred_thousand_files_holds_up_nobody() {
    const COUNT: i64 = 100_000;
    let mut cluster = Cluster::start();
    cluster.stop_server();
    enter_files(&cluster, usize::try_from(COUNT).unwrap());
    cluster.restart_server();
    let versions = |cluster: &Cluster| count(cluster, "SELECT count(*) FROM versions");
    assert_eq!(versions(&cluster), COUNT);

    let mut client = Raw::sign_in(&cluster);
    client.store("before", "test", &describing(1, 300_000)).unwrap();
    let removed = cluster.client(&["rmdir", "-r", "--yes", "much"]);
    assert!(removed.status.success(), "{removed:?}");
    // Of what is dropped in the background only a small part may come before anybody's turn.
    let mut most = 0;
    for round in 0..20 {
        let before = versions(&cluster);
        client.store("small", "test", &describing(round, 4_000)).unwrap();
        assert_eq!(seed_of(&client.retrieve("before", "test").unwrap()), 1);
        assert_eq!(client.list(), "/demo/test\r\n/demo/test/before\r\n/demo/test/small");
        assert!(cluster.client(&["mkdir", "much"]).status.success(), "the name is free at once");
        assert!(cluster.client(&["rmdir", "much"]).status.success());
        most = most.max(before - versions(&cluster));
    }
    println!("while somebody had a turn, at most {most} of {COUNT} versions were dropped");
    assert!(most < COUNT / 2, "{most} were dropped during one turn");
    until("all of it is dropped", || versions(&cluster) == 2);
    cluster.await_healthy();
}

#[test]
fn quotas_hold_to_the_byte_with_a_slow_reader() {
    const KEPT: usize = 20_000_000;
    let cluster = Cluster::start_with(&["--quota", "50MB"]);
    let mut client = Raw::sign_in(&cluster);
    client.store("kept", "test", &describing(1, KEPT)).unwrap();
    let version = cluster.version("test/kept");
    let reader = slow_reader(&cluster, "kept", "test", KEPT);
    client.delete("kept", "test").unwrap();
    // What is kept for the reader counts.
    let refused = cluster.store("large", &noise(2, 30_000_001)).unwrap_err();
    assert_eq!(refused.status.code(), Some(8), "{refused:?}");
    assert_eq!(cluster.store("large", &noise(3, 30_000_000)).unwrap(), 4);
    let refused = cluster.store("one", b"1").unwrap_err();
    assert_eq!(refused.status.code(), Some(8), "{refused:?}");
    // Overwriting frees the room of what is replaced when nobody reads it.
    until("the former one is dropped", || cluster.store("large", &noise(4, 29_000_000)).is_ok());
    until("there is room for this", || cluster.store("one", &noise(5, 1_000_000)).is_ok());
    assert_eq!(cluster.store("two", b"2").unwrap_err().status.code(), Some(8));
    assert_eq!(read_on(reader), 1);
    for node in 1..=4 {
        until("nobody reads it any more", || cluster.piece(node, &version).is_empty());
    }
    assert_eq!(cluster.store("two", &noise(6, 20_000_000)).unwrap(), 4);
    assert_eq!(cluster.store("three", b"3").unwrap_err().status.code(), Some(8));
}
