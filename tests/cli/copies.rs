//! Copies that are made on the server, all they need in one place.

use super::*;

/// How many block files are in a node's folder, and their bytes.
fn stored_on(cluster: &Cluster, node: usize) -> (usize, u64) {
    let mut open = vec![cluster.node_folder(node).join(".palk/pieces")];
    let (mut blocks, mut bytes) = (0, 0);
    while let Some(folder) = open.pop() {
        for found in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match found.metadata().unwrap() {
                inside if inside.is_dir() => open.push(found.path()),
                block => (blocks, bytes) = (blocks + 1, bytes + block.len()),
            }
        }
    }
    (blocks, bytes)
}

#[test]
fn a_copy_takes_no_room_and_outlives_the_original() {
    let mut cluster = Cluster::start();
    let [big, small] = [noise(7, 700_000), noise(8, 353)];
    cluster.store("up/big", &big).unwrap();
    cluster.store("up/deep/small", &small).unwrap();
    client(&cluster, &["mkdir", "up/empty"]).code(0);
    until("both files' blocks lie on the disk", || stored_on(&cluster, 1).0 == 4);
    let before = stored_on(&cluster, 1);
    // Another name; into a folder; onto a file.
    client(&cluster, &["cp", "up/big", "b"])
        .code(0)
        .stdout(is_empty())
        .stderr("Copied up/big to b\n");
    client(&cluster, &["cp", "/b", "up/deep"]).code(0).stderr("Copied b to up/deep/b\n");
    client(&cluster, &["cp", "up/deep/small", "b"]).code(9).stderr(
        told("cannot copy up/deep/small to b: b already exists").and(contains("--replace")),
    );
    assert!(cluster.retrieve("b").unwrap() == big);
    client(&cluster, &["cp", "--replace", "up/deep/small", "b"])
        .code(0)
        .stderr("Copied up/deep/small to b, replacing the file that was there\n");
    assert!(cluster.retrieve("b").unwrap() == small);
    // A folder, to another name and into one that is there.
    client(&cluster, &["cp", "up", "down"])
        .code(9)
        .stderr(told("up is a folder").and(contains("cp -r")));
    client(&cluster, &["cp", "-r", "up", "down"])
        .code(0)
        .stderr("Copied the folder up to down  files in it: 3\n");
    client(&cluster, &["cp", "-r", "up", "down"]).code(0).stderr(contains("to down/up "));
    client(&cluster, &["cp", "-r", "up", "down"]).code(9).stderr(told("there is a folder down/up"));
    client(&cluster, &["cp", "-r", "up", "up/deep"]).code(9).stderr(told("into itself"));
    client(&cluster, &["cp", "-r", "up", "b"]).code(9).stderr(told("cannot copy up to b"));
    client(&cluster, &["cp", "b", "b"]).code(9).stderr(told("cannot copy b to b"));
    for (arguments, text) in [
        (["cp", "nothing", "down"], "cannot copy nothing to down: there is no file nothing"),
        (["cp", "b", "no/name"], "there is no folder no"),
    ] {
        client(&cluster, &arguments).code(4).stderr(told(text));
    }
    client(&cluster, &["cp", "b", "up/big", "no"]).code(2).stderr(told("no is no folder"));
    let copied = client(&cluster, &["cp", "--json", "-r", "b", "down/deep", "/down/empty"]).code(0);
    let lines = json_lines(&copied);
    assert_eq!((&lines[0]["path"], &lines[0]["from"]), (&"/down/empty/b".into(), &"/b".into()));
    assert_eq!((&lines[1]["files"], &lines[1]["kind"]), (&2.into(), &"folder".into()));
    assert_eq!(lines[2]["done"], 2);
    assert_eq!(stored_on(&cluster, 1), before, "no piece was stored again");
    // The originals go, and two nodes; what is left is there bit for bit.
    client(&cluster, &["rmdir", "-r", "--yes", "up"]).code(0);
    client(&cluster, &["inf"]).code(0).stdout(
        "/b\n/down\n/down/big\n/down/deep\n/down/deep/b\n/down/deep/small\n/down/empty\n\
         /down/empty/b\n/down/empty/deep\n/down/empty/deep/b\n/down/empty/deep/small\n/down/up\n\
         /down/up/big\n/down/up/deep\n/down/up/deep/b\n/down/up/deep/small\n/down/up/empty\n",
    );
    cluster.kill_server();
    cluster.restart_server();
    cluster.kill_node(1);
    cluster.kill_node(3);
    for at in ["down/big", "down/deep/b", "down/up/big", "down/empty/deep/b"] {
        assert!(cluster.retrieve(at).unwrap() == big, "{at}");
    }
    for at in ["b", "down/deep/small", "down/up/deep/small", "down/empty/b"] {
        assert!(cluster.retrieve(at).unwrap() == small, "{at}");
    }
}

#[test]
fn a_copy_is_changed_and_undone_by_itself() {
    let cluster = Cluster::start_with(&["--keep-versions", "7d"]);
    cluster.store("up/a", b"one").unwrap();
    cluster.store("b", b"other").unwrap();
    client(&cluster, &["cp", "up/a", "b", "--replace"]).code(0);
    client(&cluster, &["undo", "b"]).code(0).stderr(contains("b is its former version again"));
    assert_eq!(cluster.retrieve("b").unwrap(), b"other");
    client(&cluster, &["cp", "up/a", "c"]).code(0);
    cluster.store("c", b"changed").unwrap();
    assert_eq!(cluster.retrieve("up/a").unwrap(), b"one", "the original is another file");
    client(&cluster, &["undo", "c"]).code(0);
    assert_eq!(cluster.retrieve("c").unwrap(), b"one");
    client(&cluster, &["del", "c"]).code(0);
    client(&cluster, &["cp", "-r", "up", "down"]).code(0);
    client(&cluster, &["undo", "down"]).code(0).stderr(contains("Deleted down, which was new"));
    client(&cluster, &["inf"]).code(0).stdout("/b\n/up\n/up/a\n");
    client(&cluster, &["undo", "down"]).code(0).stderr(contains("down is back  with 1 file"));
    assert_eq!(cluster.retrieve("down/a").unwrap(), b"one");
    // In a session, from the folder that it is in.
    let lines = "cd up\ncp a ../down/x\nCOPY -r . /again\nls /again\ncp -r /up a\n";
    run_with(cluster.client_command(&[]), lines).code(9).stdout(contains(
        "~/up cp a ../down/x\nCopied up/a to down/x\n\
         ~/up COPY -r . /again\nCopied the folder up to again  files in it: 1\n\
         ~/up ls /again\na\n",
    ));
    assert_eq!(cluster.retrieve("down/x").unwrap(), b"one");
}

#[test]
fn copies_cannot_overrun_a_quota() {
    let cluster = Cluster::start_with(&["--quota", "1MB", "--keep-versions", "7d"]);
    cluster.store("up/a", &noise(1, 400_000)).unwrap();
    client(&cluster, &["cp", "up/a", "b"]).code(0);
    for arguments in [&["cp", "up/a", "c"][..], &["cp", "-r", "up", "c"]] {
        client(&cluster, arguments).code(8).stderr(
            told("400000 bytes do not fit: 800000 of the 1000000 bytes")
                .and(contains("A copy counts by its size")),
        );
    }
    fs::write(cluster.path("more"), noise(2, 200_001)).unwrap();
    client(&cluster, &["store", "more"]).code(8).stderr(told("200001 bytes do not fit"));
    // Over a file it takes that one's room, also where the quota is all but full.
    client(&cluster, &["cp", "up/a", "b", "--replace"]).code(0);
    client(&cluster, &["del", "b"]).code(0);
    client(&cluster, &["cp", "-r", "up", "c"]).code(0);
    client(&cluster, &["inf"]).code(0).stdout("/c\n/c/a\n/up\n/up/a\n");
}
