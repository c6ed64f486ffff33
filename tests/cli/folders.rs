//! Folders, updates, and listings of one folder.

use super::*;

#[test]
fn folders_are_made_listed_and_removed() {
    let cluster = Cluster::start();
    client(&cluster, &["mkdir", "a"]).code(0).stdout(is_empty()).stderr("Made a\n");
    client(&cluster, &["mkdir", "a"])
        .code(9)
        .stderr(told("cannot make the folder a: there is a folder a already").and(contains("-p")));
    client(&cluster, &["mkdir", "/x/y"]).code(4).stderr(told("there is no folder x"));
    client(&cluster, &["mkdir", "-p", "a", "/x/y/z"]).code(0).stderr("Made a\nMade x/y/z\n");
    client(&cluster, &["mkdir", "../a"]).code(2).stderr(told("must not leave"));
    client(&cluster, &["mkdir", "a", "b"]).code(3).stderr(contains("1 of 2 failed, 1 done"));
    client(&cluster, &["inf"]).code(0).stdout("/a\n/b\n/x\n/x/y\n/x/y/z\n");
    // Empty folders are kept, also when the last file in them goes.
    cluster.store("b/f", b"bytes").unwrap();
    client(&cluster, &["del", "b/f"]).code(0);
    client(&cluster, &["rmdir", "a", "b"]).code(0).stderr("Removed a\nRemoved b\n");
    client(&cluster, &["rmdir", "a"]).code(4).stderr(told("there is no folder a"));
    client(&cluster, &["rmdir", "x"]).code(9).stderr(told("not empty").and(contains("rmdir -r")));
    client(&cluster, &["rmdir", "-r", "x"]).code(2).stderr(told("there is no terminal to ask at"));
    cluster.store("x/f", b"bytes").unwrap();
    let removed = client(&cluster, &["rmdir", "-r", "--yes", "x", "--json"]).code(0);
    let lines = json_lines(&removed);
    assert_eq!((&lines[0]["folders"], &lines[0]["files"]), (&3.into(), &1.into()));
    client(&cluster, &["inf"]).code(0).stdout("").stderr("No files in database\n");
}

#[test]
fn a_folder_or_a_file_is_listed_with_sizes_dates_and_nodes() {
    let cluster = Cluster::start();
    cluster.store("up/a.txt", b"seven b").unwrap();
    cluster.store("up/deep/b.bin", &noise(1, 2_000_000)).unwrap();
    let date = r"\d{4}-\d\d-\d\d \d\d:\d\d";
    let a = format!(r"\A      7 B  {date}  4 of 4    /up/a.txt\n");
    client(&cluster, &["inf", "up"])
        .code(0)
        .stdout(is_match(format!(r"{a} {{37}}  /up/deep/\n\z")).unwrap());
    client(&cluster, &["inf", "/up/", "-r"]).code(0).stdout(
        is_match(format!(r"{a}.*\n   2.0 MB  {date}  4 of 4    /up/deep/b.bin\n\z")).unwrap(),
    );
    client(&cluster, &["inf", "up/a.txt"]).code(0).stdout(is_match(format!(r"{a}\z")).unwrap());
    client(&cluster, &["inf", "/"]).code(0).stdout(is_match(r"\A {37}  /up/\n\z").unwrap());
    client(&cluster, &["inf", "up/no"]).code(4).stderr(told("there is no file up/no"));
    client(&cluster, &["inf", "no/no"]).code(4).stderr(told("there is no folder no"));
    client(&cluster, &["mkdir", "none"]).code(0);
    client(&cluster, &["inf", "none"]).code(0).stdout("").stderr("The folder is empty\n");
    let lines = json_lines(&client(&cluster, &["inf", "up", "--json"]).code(0));
    let kinds: Vec<_> = lines.iter().map(|line| &line["kind"]).collect();
    assert_eq!(kinds[..2], ["file", "folder"]);
    assert_eq!((&lines[0]["bytes"], &lines[2]["files"]), (&7.into(), &1.into()));
    assert_eq!(lines[0]["nodes"].as_array().unwrap().len(), 4);
}

#[test]
fn only_what_is_stored_already_is_updated() {
    let cluster = Cluster::start();
    fs::write(cluster.path("a"), "one").unwrap();
    client(&cluster, &["update", "a", "--to", "up"])
        .code(4)
        .stderr(told("cannot update a: there is no folder up").and(contains("palk client store")));
    client(&cluster, &["update", "a"]).code(4).stderr(told("there is no file a"));
    client(&cluster, &["inf"]).code(0).stdout("");
    client(&cluster, &["store", "a", "--to", "up"]).code(0);
    fs::write(cluster.path("a"), "and two").unwrap();
    client(&cluster, &["update", "a", "--to", "up"])
        .code(0)
        .stderr(starts_with("Stored up/a  7 B"));
    assert_eq!(cluster.retrieve("up/a").unwrap(), b"and two");
    client(&cluster, &["update", "-", "--as", "x", "--allow-empty"]).code(4);
    client(&cluster, &["update", "a", "b", "--if-version", &"0".repeat(32)]).code(2);
    client(&cluster, &["store", "a", "--if-version", "7"])
        .code(2)
        .stderr(contains("32 hex digits"));
    client(&cluster, &["store", "a", "--no-replace", "--if-version", &"0".repeat(32)]).code(2);
}

/// The version that `inf` names.
fn version(cluster: &Cluster, path: &str) -> String {
    let lines = json_lines(&client(cluster, &["inf", path, "--json"]).code(0));
    lines[0]["version"].as_str().unwrap().to_owned()
}

#[test]
fn what_somebody_else_has_changed_meanwhile_is_not_overwritten() {
    let cluster = Cluster::start();
    for name in ["a", "mine"] {
        fs::write(cluster.path(name), name).unwrap();
    }
    client(&cluster, &["store", "a"]).code(0);
    let first = version(&cluster, "a");
    let back = json_lines(&client(&cluster, &["rtv", "a", "--to", "copy", "--json"]).code(0));
    assert_eq!(back[0]["version"], first.as_str());
    let update = |version: &str| {
        let mine = ["update", "mine", "--as", "a", "--if-version", version];
        client(&cluster, &mine)
    };
    update(&first).code(0);
    let second = version(&cluster, "a");
    assert_ne!(first, second);
    // A big one is refused before it is sent: nothing of it reaches the nodes.
    let refused = r"cannot (store|update) \w+: a was changed meanwhile by demo from 127\.0\.0\.1:\d+, at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n";
    update(&first).code(9).stderr(is_match(refused).unwrap().and(told("say that version")));
    let store = ["store", "mine", "--as", "a", "--if-version", &first];
    client(&cluster, &store).code(9).stderr(is_match(refused).unwrap());
    let lines = json_lines(&client(&cluster, &[&store[..], &["--json"]].concat()).code(9));
    assert_eq!(lines[0]["type"], "error");
    assert_eq!(version(&cluster, "a"), second);
    client(&cluster, &["del", "a"]).code(0);
    update(&second).code(9).stderr(told("it is not there any more"));
    until("nothing is half received", || (1..=4).all(|node| !cluster.is_receiving(node)));
}

#[test]
fn a_hundred_thousand_folders_are_listed_as_they_come() {
    const COUNT: usize = 100_000;
    let mut cluster = Cluster::start();
    let folder = cluster.path("user_database");
    cluster.kill_server();
    // One by one they would take minutes.
    let database = rusqlite::Connection::open(folder.join("palk.db")).unwrap();
    let name = "n".repeat(200);
    let made = database.execute(
        "WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted LIMIT ?1)
         INSERT INTO entries (parent, name, bytes, made)
         SELECT root, printf('%s%06d', ?2, n), 0, 1 FROM users, counted",
        rusqlite::params![COUNT, name],
    );
    assert_eq!(made.unwrap(), COUNT);
    drop(database);
    cluster.start_server();
    cluster.await_healthy();
    // Not while the snapshot of such a database goes to the nodes, which has its own memory.
    let mut backup = palk();
    backup.args(["admin", "backup", "--dir"]).arg(&folder);
    run(backup).code(0);
    // Neither is a password hashed, which takes as much.
    let login = at_home(&cluster, &["login", "--user", USER, "--password-file", "password"]);
    run(login).code(0);
    let pid = cluster.server().pid();
    let grown_by = |work: &mut dyn FnMut()| {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap(); // the peak begins anew
        let before = support::peak_memory(pid);
        work();
        support::peak_memory(pid) - before
    };
    let mut out = Vec::new();
    let grown = grown_by(&mut || {
        out = run(at_home(&cluster, &["inf"])).code(0).get_output().stdout.clone();
    });
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().count(), COUNT);
    assert!(out.lines().zip(out.lines().skip(1)).all(|(a, b)| a < b), "sorted, each once");
    // The pages that a connection to the catalog keeps are 8 MB of it.
    assert!(out.len() > 20_000_000 && grown < 14_000_000, "{grown} bytes for {}", out.len());
    let rows = client(&cluster, &["inf", "/", "-q"]).code(0);
    assert_eq!(rows.get_output().stdout.iter().filter(|byte| **byte == b'\n').count(), COUNT);
}
