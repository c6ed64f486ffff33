//! What needs a server that moves files, all in one place.

use super::*;

#[test]
fn files_and_folders_are_moved_and_renamed() {
    let cluster = Cluster::start();
    let bytes = noise(7, 700_000);
    cluster.store("a", &bytes).unwrap();
    cluster.store("up/b", b"b").unwrap();
    cluster.store("up/deep/c", b"c").unwrap();
    // Another name; into a folder; the top folder; onto a file.
    client(&cluster, &["mv", "a", "first"]).code(0).stdout(is_empty()).stderr("Moved a to first\n");
    client(&cluster, &["mv", "/first", "up"]).code(0).stderr("Moved first to up/first\n");
    assert!(cluster.retrieve("up/first").unwrap() == bytes);
    client(&cluster, &["mv", "up/first", "/"]).code(0).stderr("Moved up/first to first\n");
    client(&cluster, &["mv", "up/b", "first"])
        .code(9)
        .stderr(told("cannot move up/b to first: first already exists").and(contains("--replace")));
    assert!(cluster.retrieve("first").unwrap() == bytes);
    client(&cluster, &["mv", "up/b", "first", "--replace"])
        .code(0)
        .stderr("Moved up/b to first, replacing the file that was there\n");
    assert_eq!(cluster.retrieve("first").unwrap(), b"b");
    // A folder with all that is in it; several at once.
    client(&cluster, &["mv", "up", "down"])
        .code(0)
        .stderr("Moved the folder up to down  files in it: 1\n");
    assert_eq!(cluster.retrieve("down/deep/c").unwrap(), b"c");
    client(&cluster, &["mv", "down", "down/deep"]).code(9).stderr(told("into itself"));
    client(&cluster, &["mv", "first", "down", "no"]).code(2).stderr(told("no is no folder"));
    client(&cluster, &["mkdir", "all"]).code(0);
    let moved = client(&cluster, &["mv", "first", "down", "all", "--json"]).code(0);
    let lines = json_lines(&moved);
    assert_eq!((&lines[0]["path"], &lines[0]["kind"]), (&"/all/first".into(), &"file".into()));
    assert_eq!((&lines[1]["files"], &lines[1]["kind"]), (&1.into(), &"folder".into()));
    client(&cluster, &["inf"])
        .code(0)
        .stdout("/all\n/all/down\n/all/down/deep\n/all/down/deep/c\n/all/first\n");
    for (arguments, text) in [
        (["mv", "nothing", "all"], "cannot move nothing to all: there is no file nothing"),
        (["mv", "all/first", "no/name"], "there is no folder no"),
    ] {
        client(&cluster, &arguments).code(4).stderr(told(text));
    }
    // In a session, from the folder that it is in: the folder server's word and this one's.
    let lines = "CHDIR all\nMOVE first down/deep\nmv down/deep ..\nDIR\npwd\n";
    run_with(cluster.client_command(&[]), lines).code(0).stdout(contains(
        "~/all MOVE first down/deep\nMoved all/first to all/down/deep/first\n\
         ~/all mv down/deep ..\nMoved the folder all/down/deep to deep  files in it: 2\n\
         ~/all DIR\ndown/\n",
    ));
    assert_eq!(cluster.retrieve("deep/first").unwrap(), b"b");
}
