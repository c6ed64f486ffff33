//! Folders compared and made the same: `check`, `sync`.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::trees::tree;
use super::*;

/// Writes files below a folder, and their folders; one that ends in `/` is an empty folder.
fn write(cluster: &Cluster, top: &str, files: &[(&str, &str)]) {
    for (at, content) in files {
        let path = cluster.path(top).join(at);
        if at.ends_with('/') {
            fs::create_dir_all(path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

const SAMPLE: [(&str, &str); 6] = [
    ("a.txt", "one"),
    ("a/x", "x"),
    ("a!/y", "y"),
    ("deep/er/z", "zz"),
    ("empty/in/", ""),
    ("run", "#!/bin/sh"),
];

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn time_of(path: &Path) -> u64 {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// What is stored in a folder, as a tree that was retrieved.
fn stored(cluster: &Cluster, folder: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    let at = cluster.path("looked");
    let _ = fs::remove_dir_all(&at);
    client(cluster, &["rtv", "-r", folder, "--to", "looked"]).code(0);
    tree(&at.join(folder))
}

/// The last line of a run with `--json`.
fn result(cluster: &Cluster, arguments: &[&str], code: i32) -> Value {
    let lines = json_lines(&client(cluster, &[&["--json"], arguments].concat()).code(code));
    lines.last().unwrap().clone()
}

#[test]
fn check_tells_what_is_on_one_side_only_and_what_is_different() {
    let cluster = Cluster::start();
    write(&cluster, "d", &SAMPLE);
    client(&cluster, &["check", "d", "d"]).code(4).stderr(told("there is no :d"));
    client(&cluster, &["check", "none", "/"]).code(13).stderr(told("no such file or folder"));
    client(&cluster, &["store", "-r", "d"]).code(0);
    for remote in ["d", "/d", ":d"] {
        client(&cluster, &["check", "d", remote])
            .code(0)
            .stdout("")
            .stderr("No difference: 5 files\n");
    }
    // The same size and time, and other bytes; a file where a folder is; one that is gone.
    let time = time_of(&cluster.path("d/a.txt"));
    write(&cluster, "d", &[("a.txt", "two"), ("new\u{202e}", ""), ("empty/other/", "")]);
    set_time(&cluster.path("d/a.txt"), time);
    fs::remove_dir_all(cluster.path("d/a")).unwrap();
    write(&cluster, "d", &[("a", "a file")]);
    let differences = "only here   a\n\
                       different   a.txt\n\
                       only there  a/x\n\
                       only here   empty/other/\n\
                       only here   new\\u{202e}\n";
    client(&cluster, &["check", "d", "d"])
        .code(3)
        .stdout(differences)
        .stderr("3 only here, 1 only there, 1 different, 3 the same\n");
    let lines = json_lines(&client(&cluster, &["check", "d", "d", "--json"]).code(3));
    let kinds: Vec<_> = lines.iter().map(|line| line["difference"].as_str()).collect();
    let [here, there, other] = ["only-here", "only-there", "different"].map(Some);
    assert_eq!(kinds, [here, other, there, here, here, None]);
    assert_eq!((&lines[1]["path"], &lines[3]["kind"]), (&"a.txt".into(), &"folder".into()));
    assert_eq!((&lines[5]["code"], &lines[5]["same"]), (&3.into(), &3.into()));
    // One side of what was left out is not told without the other.
    let without = ["--exclude", "/a*", "--exclude", "other/", "--exclude", "new*"];
    client(&cluster, &[&["check", "d", "d"], &without[..]].concat())
        .code(0)
        .stderr("No difference: 2 files\n");
    client(&cluster, &["check", "d/run", "d/run"]).code(0).stderr("No difference: 1 file\n");
    client(&cluster, &["check", "d/a.txt", "d/a.txt"]).code(3).stdout("different   d/a.txt\n");
    client(&cluster, &["check", "d/run", "d"]).code(2).stderr(told("one is a file"));
    client(&cluster, &["check", "d", "d", "-r"]).code(2);
}

#[test]
fn a_file_that_cannot_be_read_is_no_file_that_is_the_same() {
    let cluster = Cluster::start();
    write(&cluster, "d", &[("a", "1"), ("b", "2")]);
    client(&cluster, &["store", "-r", "d"]).code(0);
    symlink("b", cluster.path("d/link")).unwrap();
    client(&cluster, &["check", "d", "d"]).code(0).stderr(contains("1 symbolic link was left out"));
    symlink("/nonexistent", cluster.path("d/gone")).unwrap();
    client(&cluster, &["check", "d", "d", "--links", "follow"])
        .code(3)
        .stdout("only here   link\n")
        .stderr(contains("cannot look at").and(contains("2 the same, 1 could not be read")));
}

#[test]
fn what_differs_is_stored_and_nothing_else() {
    let cluster = Cluster::start_with(&["--keep-versions", "7d"]);
    write(&cluster, "d", &SAMPLE);
    client(&cluster, &["sync", "d", "up"]).code(2).stderr(told("both local"));
    client(&cluster, &["sync", ":d", ":up"]).code(2).stderr(told("both stored"));
    client(&cluster, &["sync", "none", ":up"]).code(13);
    client(&cluster, &["sync", "d", ":up", "-n"])
        .code(0)
        .stdout("+ a!/y\n+ a.txt\n+ a/x\n+ deep/er/z\n+ empty/in/\n+ run\n")
        .stderr(contains("Nothing was changed: 5 files, 16 B, would be stored."));
    client(&cluster, &["inf"]).code(0).stdout("");
    client(&cluster, &["sync", "d", ":up"]).code(0).stderr(contains("Stored 5 files, 16 B, in "));
    assert_eq!(stored(&cluster, "up"), tree(&cluster.path("d")));
    client(&cluster, &["sync", "d", ":/up/"])
        .code(0)
        .stderr("Nothing to store\n5 files are the same already\n");
    let again = result(&cluster, &["sync", "d", ":up"], 0);
    assert_eq!((&again["done"], &again["same"]), (&0.into(), &5.into()));
    // Another size; another time and the same bytes; the same size and time, which only --checksum finds.
    write(&cluster, "d", &[("a/x", "longer"), ("run", "#!/bin/xx"), ("new", "1")]);
    set_time(&cluster.path("d/deep/er/z"), 1_000_000_000);
    set_time(&cluster.path("d/run"), time_of(&cluster.path("looked/up/run")));
    let looked = fs::metadata(cluster.path("looked/up/run")).unwrap().modified().unwrap();
    fs::File::options()
        .write(true)
        .open(cluster.path("d/run"))
        .unwrap()
        .set_modified(looked)
        .unwrap();
    let second = result(&cluster, &["sync", "d", ":up"], 0);
    assert_eq!((&second["done"], &second["bytes"]), (&2.into(), &7.into()));
    assert_eq!((&second["only_time"], &second["same"]), (&1.into(), &3.into()));
    client(&cluster, &["sync", "d", ":up", "-n"]).code(0).stdout("");
    client(&cluster, &["sync", "d", ":up", "-n", "--checksum"]).code(0).stdout("~ run\n");
    client(&cluster, &["sync", "d", ":up", "--checksum", "--transfers", "1"]).code(0);
    assert_eq!(stored(&cluster, "up"), tree(&cluster.path("d")));
    client(&cluster, &["sync", "d/run", ":up/run"]).code(0);
    client(&cluster, &["sync", "d/run", ":up"]).code(2).stderr(told("one is a file"));
    client(&cluster, &["sync", "d/new", ":alone"]).code(0);
    client(&cluster, &["cat", "alone"]).code(0).stdout("1");
}

#[test]
fn what_differs_is_retrieved_and_times_are_set() {
    let cluster = Cluster::start();
    write(&cluster, "d", &SAMPLE);
    set_time(&cluster.path("d/run"), 1_000_000_000);
    client(&cluster, &["sync", "d", ":"]).code(0);
    client(&cluster, &["sync", ":none", "back"]).code(4);
    client(&cluster, &["sync", ":", "back"]).code(0).stderr(contains("Retrieved 5 files, 16 B"));
    assert_eq!(tree(&cluster.path("back")), tree(&cluster.path("d")));
    assert_eq!(time_of(&cluster.path("back/run")), 1_000_000_000);
    client(&cluster, &["sync", ":", "back"]).code(0).stderr(contains("5 files are the same"));
    set_time(&cluster.path("back/run"), 1_100_000_000);
    write(&cluster, "back", &[("a.txt", "mine"), ("only", "mine")]);
    client(&cluster, &["sync", ":", "back"])
        .code(0)
        .stderr(contains("Retrieved 1 file, 3 B").and(contains("1 only in back")));
    assert_eq!(time_of(&cluster.path("back/run")), 1_000_000_000);
    assert_eq!(fs::read_to_string(cluster.path("back/a.txt")).unwrap(), "one");
    assert_eq!(fs::read_to_string(cluster.path("back/only")).unwrap(), "mine");
    // A folder without anything in it is a folder as well.
    client(&cluster, &["mkdir", "hollow"]).code(0);
    client(&cluster, &["sync", ":hollow", "made"]).code(0);
    assert!(cluster.path("made").is_dir());
    fs::create_dir(cluster.path("bare")).unwrap();
    client(&cluster, &["sync", "bare", ":bare"]).code(0);
    client(&cluster, &["inf", "bare"]).code(0);
}

#[test]
fn where_only_the_time_differs_a_stored_file_gets_it_without_a_byte() {
    let cluster = Cluster::start();
    write(&cluster, "d", &[("a", "one"), ("b", "two"), ("c", "three")]);
    client(&cluster, &["sync", "d", ":up"]).code(0);
    let version = |path: &str| {
        let lines = json_lines(&client(&cluster, &["--json", "inf", path]).code(0));
        (lines[0]["version"].clone(), lines[0]["modified_ms"].clone())
    };
    let before = version("up/a");
    client(&cluster, &["cp", "up/b", "copy"]).code(0);
    set_time(&cluster.path("d/a"), 1_000_000_000);
    set_time(&cluster.path("d/b"), 1_000_000_001);
    client(&cluster, &["sync", "d", ":up", "-n"]).code(0).stdout("");
    assert_eq!(version("up/a"), before);
    let copied = version("up/b");
    client(&cluster, &["sync", "d", ":up"])
        .code(0)
        .stderr(contains(
            "2 files are the same but for the time of modification, which becomes the",
        ))
        .stderr(contains("1 file keeps its time, since it has copies"));
    assert_eq!(version("up/a"), (before.0, Value::from(1_000_000_000_000_u64)));
    assert_eq!((version("up/b"), version("copy")), (copied.clone(), copied));
    let again = result(&cluster, &["sync", "d", ":up"], 0);
    assert_eq!((&again["same"], &again["only_time"]), (&2.into(), &1.into()));
    // It comes back with it, on a server that was restarted as well.
    client(&cluster, &["sync", ":up", "back"]).code(0);
    assert_eq!(time_of(&cluster.path("back/a")), 1_000_000_000);
}

#[test]
fn what_only_the_target_has_goes_if_that_is_meant() {
    let cluster = Cluster::start_with(&["--keep-versions", "7d"]);
    write(&cluster, "d", &SAMPLE);
    client(&cluster, &["sync", "d", ":up"]).code(0);
    fs::remove_dir_all(cluster.path("d/deep")).unwrap();
    fs::remove_file(cluster.path("d/a.txt")).unwrap();
    client(&cluster, &["sync", "d", ":up"]).code(0).stderr(contains("2 only in :up; --delete"));
    let refused = contains("there is no terminal to ask at").and(contains("--delete --yes"));
    client(&cluster, &["sync", "d", ":up", "--delete"]).code(2).stderr(refused);
    client(&cluster, &["sync", "d", ":up", "--yes"]).code(2);
    client(&cluster, &["sync", "d", ":up", "--delete", "-n"])
        .code(0)
        .stdout("- a.txt\n- deep/\n- deep/er/\n- deep/er/z\n")
        .stderr(contains("2 files and 2 folders would be deleted."));
    assert_eq!(stored(&cluster, "up").len(), 11);
    client(&cluster, &["sync", "d", ":up", "--delete", "--yes"])
        .code(0)
        .stderr(contains("Deleted 2 files and 2 folders. To have one back:  palk client undo"));
    assert_eq!(stored(&cluster, "up"), tree(&cluster.path("d")));
    client(&cluster, &["undo", "up/a.txt"]).code(0);
    // The same in the other direction; what is left out stays on both sides.
    write(&cluster, "d", &[("more/b", ""), ("more/keep/k.tmp", "")]);
    let down = ["sync", ":up", "d", "--exclude", "*.tmp", "--delete", "--yes"];
    client(&cluster, &down).code(0).stderr(contains("Deleted 1 file for ever"));
    assert!(cluster.path("d/a.txt").exists() && !cluster.path("d/more/b").exists());
    assert!(cluster.path("d/more/keep/k.tmp").exists());
    client(&cluster, &["store", "d/more/keep/k.tmp", "--to", "up/only"]).code(0);
    let up = ["sync", "d", ":up", "--exclude", "*.tmp", "--delete", "--yes"];
    client(&cluster, &up).code(0);
    client(&cluster, &["inf", "up/only/k.tmp"]).code(0);
}

#[test]
fn a_file_where_a_folder_is_gives_way_only_to_delete() {
    let cluster = Cluster::start();
    write(&cluster, "d", &[("f", "file"), ("g/in/x", "1"), ("same", "1")]);
    write(&cluster, "other", &[("f/in/x", "2"), ("f/y", "2"), ("g", "file"), ("same", "1")]);
    client(&cluster, &["sync", "other", ":up"]).code(0);
    client(&cluster, &["sync", "d", ":up"])
        .code(3)
        .stderr(contains("--delete, what only the target has gives way").and(contains("2 failed")));
    assert_eq!(stored(&cluster, "up"), tree(&cluster.path("other")));
    client(&cluster, &["sync", ":up", "d"]).code(3).stderr(contains("3 failed, 0 done"));
    assert_eq!(fs::read_to_string(cluster.path("d/f")).unwrap(), "file");
    client(&cluster, &["sync", "d", ":up", "--delete", "--yes"]).code(0);
    assert_eq!(stored(&cluster, "up"), tree(&cluster.path("d")));
    client(&cluster, &["sync", ":up", "other", "--delete", "--yes"]).code(0);
    assert_eq!(tree(&cluster.path("other")), tree(&cluster.path("d")));
}

#[test]
fn a_source_that_cannot_be_read_deletes_nothing() {
    let cluster = Cluster::start();
    write(&cluster, "d", &[("a", "1"), ("b/c", "2")]);
    client(&cluster, &["sync", "d", ":up"]).code(0);
    fs::remove_dir_all(cluster.path("d/b")).unwrap();
    symlink("/nonexistent", cluster.path("d/bad")).unwrap();
    let delete = ["sync", "d", ":up", "--delete", "--yes", "--links", "follow"];
    client(&cluster, &delete)
        .code(3)
        .stderr(contains("1 file and 1 folder not deleted, since something failed"));
    client(&cluster, &["cat", "up/b/c"]).code(0).stdout("2");
}

#[test]
fn no_link_leads_out_of_the_folder() {
    let cluster = Cluster::start();
    write(&cluster, "d", &[("in/f", "stored"), ("g", "stored"), ("h", "1")]);
    client(&cluster, &["sync", "d", ":up"]).code(0);
    write(&cluster, "out", &[("f", "mine"), ("extra", "mine"), ("g", "mine")]);
    write(&cluster, "back", &[("h", "1")]);
    symlink("../out", cluster.path("back/in")).unwrap();
    symlink("../out/g", cluster.path("back/g")).unwrap();
    client(&cluster, &["sync", ":up", "back", "--delete", "--yes"])
        .code(3)
        .stderr(contains("a symbolic link is in its place").and(contains("2 failed, 0 done")));
    let out = tree(&cluster.path("out"));
    assert!(out.values().all(|content| content.as_deref() == Some(b"mine")), "{out:?}");
    // Followed, they are written through, and still nothing is deleted behind one.
    client(&cluster, &["sync", ":up", "back", "--links", "follow", "--delete", "--yes"]).code(3);
    assert_eq!(fs::read_to_string(cluster.path("out/f")).unwrap(), "stored");
    assert_eq!(fs::read_to_string(cluster.path("out/extra")).unwrap(), "mine");
    // What is a link here was left out, and is not only there.
    client(&cluster, &["sync", "back", ":up", "--delete", "--yes"]).code(0);
    client(&cluster, &["cat", "up/g"]).code(0).stdout("stored");
}

#[test]
fn one_bad_file_stops_no_other() {
    let cluster = Cluster::start();
    write(&cluster, "d", &[("a", "1"), ("b\\c", "1"), ("d", "1")]);
    client(&cluster, &["sync", "d", ":up"])
        .code(3)
        .stderr(contains("Stored 2 files, 2 B").and(contains("1 failed, 2 done")));
    let mut lines = json_lines(&client(&cluster, &["--json", "sync", "d", ":up"]).code(3));
    let last = lines.pop().unwrap();
    assert_eq!((&last["type"], &last["code"]), (&"error".into(), &3.into()));
}
