//! Getting things back: versions, undo, snapshots.

use super::*;

fn store(cluster: &Cluster, at: &str, content: &str) {
    fs::create_dir_all(cluster.path("local")).unwrap();
    let (folder, name) = at.rsplit_once('/').unwrap_or(("", at));
    fs::write(cluster.path("local").join(name), content).unwrap();
    let local = format!("local/{name}");
    client(cluster, &["store", &local, "--to", folder]).code(0);
}

/// A file as it is, or with these options.
fn content(cluster: &Cluster, at: &str, options: &[&str]) -> Result<String, String> {
    let arguments = [&["rtv", at, "--to", "-"], options].concat();
    let output = client(cluster, &arguments).get_output().clone();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    if output.status.success() { Ok(out) } else { Err(err) }
}

fn listed(cluster: &Cluster, arguments: &[&str]) -> Vec<String> {
    let arguments = [&["--json", "inf", "-r"], arguments].concat();
    let output = client(cluster, &arguments).code(0).get_output().stdout.clone();
    let lines = String::from_utf8(output).unwrap();
    let items = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let items = items.filter(|item| item["type"] == "item");
    items.map(|item| item["path"].as_str().unwrap().to_owned()).collect()
}

fn json(cluster: &Cluster, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["--json"], arguments].concat();
    let output = client(cluster, &arguments).code(0).get_output().stdout.clone();
    let lines = String::from_utf8(output).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn admin(cluster: &Cluster, arguments: &[&str]) -> Assert {
    let mut command = palk();
    command.arg("admin").args(arguments).arg("--dir").arg(cluster.path("user_database"));
    run(command)
}

/// A time that `--at` takes, of which all that was done before it is a part, and nothing after it.
pub(super) fn now() -> String {
    std::thread::sleep(std::time::Duration::from_millis(2));
    let time = jiff::Timestamp::now().to_string();
    std::thread::sleep(std::time::Duration::from_millis(2));
    time
}

/// A cluster that keeps what was replaced or deleted as long as it does by itself.
fn keeping() -> Cluster {
    Cluster::start_with(&["--keep-versions", "7d"])
}

#[test]
fn a_replaced_file_can_be_had_back_and_forth() {
    let cluster = keeping();
    store(&cluster, "docs/a.txt", "one");
    let first = now();
    store(&cluster, "docs/a.txt", "two, longer");
    let versions = json(&cluster, &["versions", "docs/a.txt"]);
    assert_eq!(versions.len(), 3);
    let is_current = |at: usize| versions[at]["current"].as_bool().unwrap();
    assert!(is_current(0) && !is_current(1));
    assert_eq!((&versions[0]["bytes"], &versions[1]["bytes"]), (&11.into(), &3.into()));
    assert!(versions[0]["by"].as_str().unwrap().starts_with("demo from 127.0.0.1:"));
    assert!(versions[0]["goes"].is_null() && versions[1]["goes"].is_string());
    client(&cluster, &["versions", "docs/a.txt"])
        .code(0)
        .stdout(contains("current").and(contains("goes 20")).and(contains("demo from 127.0.0.1")));
    let old = versions[1]["version"].as_str().unwrap();
    for id in [old, &old[..8]] {
        assert_eq!(content(&cluster, "docs/a.txt", &["--version", id]).unwrap(), "one");
    }
    assert_eq!(content(&cluster, "docs/a.txt", &["--at", &first]).unwrap(), "one");
    assert_eq!(content(&cluster, "docs/a.txt", &["--at", &first, "--range", "1-"]).unwrap(), "ne");
    let error = content(&cluster, "docs/a.txt", &["--at", "2h ago"]).unwrap_err();
    assert!(error.contains("there was no docs/a.txt at that time"), "{error}");
    client(&cluster, &["rtv", "docs/a.txt", "--at", "some day"]).code(2);
    client(&cluster, &["rtv", "docs/a.txt", "--version", "xyz"]).code(2);
    for expected in ["one", "two, longer"] {
        client(&cluster, &["undo", "docs/a.txt"])
            .code(0)
            .stderr(contains("docs/a.txt is its former version again"));
        assert_eq!(content(&cluster, "docs/a.txt", &[]).unwrap(), expected);
    }
    client(&cluster, &["undo", "docs/never"]).code(4).stderr(told("cannot undo docs/never"));
}

#[test]
fn what_was_deleted_is_listed_and_comes_back() {
    let cluster = keeping();
    for (at, text) in [("docs/a", "a"), ("docs/deep/b", "b"), ("docs/deep/c", "c")] {
        store(&cluster, at, text);
    }
    let before = (listed(&cluster, &[]), now());
    client(&cluster, &["del", "docs/a"]).code(0);
    client(&cluster, &["rmdir", "-r", "--yes", "docs/deep"]).code(0);
    assert_eq!(listed(&cluster, &[]), ["/docs"]);
    assert_eq!(listed(&cluster, &["--deleted"]), ["/docs/deep", "/docs/a"]);
    assert_eq!(listed(&cluster, &["--at", &before.1]), before.0);
    client(&cluster, &["inf", "--deleted", "docs"])
        .code(0)
        .stdout(contains("/docs/deep/").and(contains("/docs/a")));
    client(&cluster, &["rtv", "-r", "docs", "--at", &before.1, "--to", "back"]).code(0);
    assert_eq!(fs::read_to_string(cluster.path("back/docs/deep/c")).unwrap(), "c");
    client(&cluster, &["undo", "docs/a", "docs/deep"])
        .code(0)
        .stderr(contains("docs/a is back").and(contains("docs/deep is back  with 2 files")));
    assert_eq!(listed(&cluster, &[]), before.0);
    assert_eq!(content(&cluster, "docs/deep/b", &[]).unwrap(), "b");
    client(&cluster, &["inf", "--deleted"])
        .code(0)
        .stderr(contains("Nothing that was deleted is kept"));
    // The top folder with all in it is nothing that can be removed; what was moved moves back.
    client(&cluster, &["mv", "docs", "papers"]).code(0);
    client(&cluster, &["undo", "docs"]).code(0).stderr(contains("Moved papers back to docs"));
    client(&cluster, &["mv", "docs/a", "docs/deep/b", "--replace"]).code(0);
    client(&cluster, &["undo", "docs/deep/b"]).code(0);
    assert_eq!(content(&cluster, "docs/deep/b", &[]).unwrap(), "b");
    assert_eq!(content(&cluster, "docs/a", &[]).unwrap(), "a");
    assert_eq!(listed(&cluster, &[]), before.0);
}

#[test]
fn a_whole_folder_goes_back_to_a_time_and_forth_again() {
    let cluster = keeping();
    for (at, text) in [("w/a", "a"), ("w/b", "b"), ("w/x/c", "c"), ("other", "o")] {
        store(&cluster, at, text);
    }
    admin(&cluster, &["snapshot", "create", "good"]).code(0);
    let before = listed(&cluster, &[]);
    client(&cluster, &["del", "w/a"]).code(0);
    store(&cluster, "w/b", "encrypted");
    store(&cluster, "w/ransom", "pay");
    client(&cluster, &["mv", "w/x", "w/y"]).code(0);
    let spoiled = listed(&cluster, &[]);
    let planned = client(&cluster, &["undo", "w", "--at", "good", "-n"]).code(0);
    planned.stderr(
        contains("+ w/a\n")
            .and(contains("~ w/b\n"))
            .and(contains("- w/ransom\n"))
            .and(contains("would be as it was then:  2 back (+), 1 changed (~), 2 gone (-)")),
    );
    assert_eq!(listed(&cluster, &[]), spoiled, "-n changes nothing");
    let done = json(&cluster, &["undo", "w", "--at", "good"]).pop().unwrap();
    assert_eq!((&done["back"], &done["changed"], &done["gone"]), (&2.into(), &1.into(), &2.into()));
    assert_eq!(listed(&cluster, &[]), before);
    assert_eq!(content(&cluster, "w/b", &[]).unwrap(), "b");
    // It is undone by what it says, and by a plain undo.
    client(&cluster, &["undo", "w", "--at", done["before"].as_str().unwrap()]).code(0);
    assert_eq!(listed(&cluster, &[]), spoiled);
    assert_eq!(content(&cluster, "w/b", &[]).unwrap(), "encrypted");
    client(&cluster, &["undo", "w"]).code(0);
    assert_eq!(listed(&cluster, &[]), before);
    client(&cluster, &["rmdir", "-r", "--yes", "w"]).code(0);
    client(&cluster, &["del", "other"]).code(0);
    client(&cluster, &["undo", "/", "--at", "good"]).code(0).stderr(contains("Everything is as"));
    assert_eq!(listed(&cluster, &[]), before);
    client(&cluster, &["undo", "/", "--at", "good"])
        .code(0)
        .stderr(contains("Everything is as it was then\n"));
    // Empty folders come and go, too.
    client(&cluster, &["mkdir", "w/empty"]).code(0);
    client(&cluster, &["undo", "w", "--at", "good"]).code(0);
    assert_eq!(listed(&cluster, &[]), before);
    client(&cluster, &["undo", "w"]).code(0);
    assert_eq!(listed(&cluster, &[]).len(), before.len() + 1);
    client(&cluster, &["undo", "w/a", "--at", "none-such"]).code(4);
}

#[test]
fn a_snapshot_keeps_what_a_purge_lets_go_of() {
    let cluster = keeping();
    store(&cluster, "a", "snapshot");
    admin(&cluster, &["snapshot", "create", "one", "--keep", "30d"]).code(0);
    admin(&cluster, &["snapshot", "create", "one"])
        .code(9)
        .stderr(contains("there is a snapshot one already"));
    admin(&cluster, &["snapshot", "create", "2026"]).code(2);
    store(&cluster, "a", "between, longer");
    store(&cluster, "a", "now");
    let kept =
        |cluster: &Cluster| json(cluster, &["inf"]).pop().unwrap()["kept_bytes"].as_u64().unwrap();
    assert_eq!(kept(&cluster), 8 + 15);
    admin(&cluster, &["status"]).stdout(contains("23 B for undo and in 1 snapshot"));
    admin(&cluster, &["purge"]).code(2).stderr(contains("there is no terminal to ask at"));
    admin(&cluster, &["purge", "--yes", "--user", "nobody"]).code(5);
    admin(&cluster, &["purge", "--yes"]).code(0);
    until("what no snapshot has is dropped", || kept(&cluster) == 8);
    assert_eq!(content(&cluster, "a", &["--at", "one"]).unwrap(), "snapshot");
    let versions = json(&cluster, &["versions", "a"]);
    assert_eq!((versions.len(), &versions[1]["snapshot"]), (3, &"one".into()));
    admin(&cluster, &["snapshot", "list"]).code(0).stdout(contains("one"));
    admin(&cluster, &["snapshot", "delete", "one"]).code(0);
    admin(&cluster, &["snapshot", "delete", "one"]).code(4);
    until("nothing is kept", || kept(&cluster) == 0);
    assert!(content(&cluster, "a", &["--at", "one"]).is_err());
    assert_eq!(content(&cluster, "a", &[]).unwrap(), "now");
}

#[test]
fn what_is_deleted_for_ever_is_gone() {
    let cluster = keeping();
    store(&cluster, "secret", "one");
    store(&cluster, "secret", "two");
    client(&cluster, &["del", "--forever", "secret"])
        .code(2)
        .stderr(contains("there is no terminal to ask at"));
    client(&cluster, &["del", "--forever", "--yes", "secret"])
        .code(0)
        .stderr(contains("Deleted secret with all its versions"));
    client(&cluster, &["versions", "secret"]).code(4);
    client(&cluster, &["undo", "secret"]).code(4);
    // Also what was deleted already.
    store(&cluster, "other", "three");
    client(&cluster, &["del", "other"]).code(0);
    client(&cluster, &["del", "--forever", "--yes", "other"]).code(0);
    client(&cluster, &["undo", "other"]).code(4);
    client(&cluster, &["inf", "--deleted"]).code(0).stderr(contains("Nothing that was deleted"));
    // What a snapshot has is not gone, and that is said.
    store(&cluster, "kept", "four");
    admin(&cluster, &["snapshot", "create", "one"]).code(0);
    client(&cluster, &["del", "--forever", "--yes", "kept"])
        .code(0)
        .stderr(contains("Deleted kept  but not 1 version of it, which a snapshot has"));
    assert_eq!(content(&cluster, "kept", &["--at", "one"]).unwrap(), "four");
    admin(&cluster, &["snapshot", "delete", "one"]).code(0);
    until("it goes with the snapshot", || {
        client(&cluster, &["versions", "kept"]).get_output().status.code() == Some(4)
    });
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be() {
    let cluster = Cluster::start_with(&["--keep-versions", "none"]);
    store(&cluster, "a", "one");
    store(&cluster, "a", "two");
    until("what was replaced is let go of", || json(&cluster, &["versions", "a"]).len() == 2);
    // It is not taken for a new file, which undo would delete, and nothing could bring it back.
    client(&cluster, &["undo", "a"]).code(9).stderr(told("is not kept any more"));
    assert_eq!(content(&cluster, "a", &[]).unwrap(), "two");
}

#[test]
fn what_is_known_only_in_part_is_not_shown_as_if_it_were_all() {
    let mut cluster = keeping();
    store(&cluster, "docs/a", "one");
    store(&cluster, "docs/b", "one");
    let first = now();
    store(&cluster, "docs/a", "two");
    admin(&cluster, &["snapshot", "create", "named"]).code(0);
    store(&cluster, "docs/a", "three");
    let third = now();
    admin(&cluster, &["purge", "--yes"]).code(0);
    for arguments in [
        &["inf", "--at", &first][..],
        &["undo", "docs", "--at", &first],
        &["undo", "/", "--at", &first, "-n"],
        &["rtv", "docs/a", "--at", &first],
    ] {
        client(&cluster, arguments).code(4).stderr(told("may have been let go of"));
    }
    client(&cluster, &["rtv", "-r", "docs", "--at", &first, "--to", "back"])
        .code(3)
        .stderr(contains("may have been let go of"));
    assert_eq!(content(&cluster, "docs/a", &[]).unwrap(), "three");
    // A file that has not changed since is as it was, and so is all that a snapshot has or that came later.
    assert_eq!(content(&cluster, "docs/b", &["--at", &first]).unwrap(), "one");
    assert_eq!(content(&cluster, "docs/a", &["--at", "named"]).unwrap(), "two");
    assert_eq!(listed(&cluster, &["--at", "named"]), ["/docs", "/docs/a", "/docs/b"]);
    assert_eq!(listed(&cluster, &["--at", &third]), ["/docs", "/docs/a", "/docs/b"]);
    client(&cluster, &["undo", "/", "--at", "named"]).code(0).stderr(contains("1 changed"));
    client(&cluster, &["undo", "/"]).code(2).stderr(told("say a time"));
    cluster.stop_server();
    (1..=4).for_each(|node| cluster.kill_node(node));
    let rescue = |out: &str, at: &str| {
        let mut command = palk();
        command.args(["rescue", "--at", at, "--out"]).arg(cluster.path(out));
        command.arg(cluster.node_folder(1)).arg(cluster.node_folder(3));
        run(command)
    };
    rescue("part", &first).stderr(contains("some of what demo had at that time"));
    rescue("all", "named").code(0).stderr(contains("some of what").not());
}

#[test]
fn before_an_account_was_made_it_had_nothing() {
    let cluster = keeping();
    store(&cluster, "a", "one");
    client(&cluster, &["inf", "--at", "2h ago"]).code(0).stderr(contains("No files"));
    client(&cluster, &["undo", "/", "-n", "--at", "2h ago"]).code(0).stderr(contains("1 gone"));
}

#[test]
fn snapshots_are_made_by_themselves() {
    let cluster = Cluster::start_with(&["--snapshot-every", "1s", "--keep-snapshots", "3s:1s"]);
    let list = || {
        let listed = admin(&cluster, &["snapshot", "list", "--json"]).get_output().stdout.clone();
        let lines = String::from_utf8(listed).unwrap();
        let items = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let names = items.filter_map(|item| Some(item["name"].as_str()?.to_owned()));
        names.collect::<Vec<_>>()
    };
    until("there is a snapshot", || !list().is_empty());
    let first = list().remove(0);
    assert!(first.starts_with("auto-20"), "{first}");
    until("the first one gives way to newer ones", || {
        let names = list();
        !names.contains(&first) && names.len() > 1
    });
}

#[test]
fn a_session_brings_things_back() {
    let cluster = keeping();
    store(&cluster, "docs/a.txt", "one");
    store(&cluster, "docs/a.txt", "two");
    let session = cluster.client_command(&[]);
    let input = "cd docs\nversions a.txt\nundo a.txt\nversions never\n";
    run_with(session, input)
        .code(4)
        .stdout(contains("current").and(contains("docs/a.txt is its former version again")));
    assert_eq!(content(&cluster, "docs/a.txt", &[]).unwrap(), "one");
}

#[test]
fn rescue_gives_back_what_was_as_well() {
    let mut cluster = keeping();
    store(&cluster, "docs/a.txt", "one");
    store(&cluster, "docs/b.txt", "deleted");
    admin(&cluster, &["snapshot", "create", "good"]).code(0);
    store(&cluster, "docs/a.txt", "two");
    client(&cluster, &["del", "docs/b.txt"]).code(0);
    client(&cluster, &["mv", "docs", "papers"]).code(0);
    cluster.stop_server();
    for node in 1..=4 {
        cluster.kill_node(node);
    }
    let rescue = |out: &str, options: &[&str]| {
        let mut command = palk();
        command.arg("rescue").args(options).arg("--out").arg(cluster.path(out));
        command.arg(cluster.node_folder(2)).arg(cluster.node_folder(4));
        run(command)
    };
    let read = |at: &str| fs::read_to_string(cluster.path(at)).ok();
    rescue("now", &[]).code(0);
    assert_eq!(read("now/demo/papers/a.txt").as_deref(), Some("two"));
    assert!(
        !cluster.path("now/demo/docs").exists() && !cluster.path("now/demo/papers/b.txt").exists()
    );
    rescue("then", &["--at", "good"]).code(0);
    assert_eq!(read("then/demo/docs/a.txt").as_deref(), Some("one"));
    assert_eq!(read("then/demo/docs/b.txt").as_deref(), Some("deleted"));
    assert!(!cluster.path("then/demo/papers").exists());
    rescue("all", &["--kept"]).code(0);
    assert_eq!(read("all/demo/papers/a.txt").as_deref(), Some("two"));
    let beside = |at: &str, begins: &str| {
        let mut names = fs::read_dir(cluster.path(at)).unwrap().flatten();
        names.find(|name| name.file_name().to_string_lossy().starts_with(begins)).unwrap().path()
    };
    assert_eq!(fs::read_to_string(beside("all/demo/docs", "a.txt.kept-")).unwrap(), "one");
    assert_eq!(fs::read_to_string(beside("all/demo/docs", "b.txt.kept-")).unwrap(), "deleted");
    rescue("never", &["--at", "no-such-snapshot"]).code(4);
}

#[test]
fn what_is_kept_never_makes_a_store_fail() {
    let cluster = Cluster::start_with(&["--keep-versions", "7d", "--quota", "400KB"]);
    // Each has to make room, all at once.
    std::thread::scope(|scope| {
        for user in 0..4 {
            let cluster = &cluster;
            scope.spawn(move || {
                for round in 0..15 {
                    let at = format!("up/{user}");
                    let bytes = noise(round, 40_000);
                    // On all nodes, or on three while the fourth is a moment behind.
                    let placed = cluster.store(&at, &bytes).unwrap();
                    assert!(placed >= 3, "{round}: on {placed} nodes");
                }
            });
        }
    });
    let usage = json(&cluster, &["inf"]).pop().unwrap();
    assert_eq!(usage["bytes"], 160_000);
    assert!(usage["kept_bytes"].as_u64().unwrap() <= 240_000, "{usage}");
}
