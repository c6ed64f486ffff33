//! Folders, updates and listings as one-shot verbs, against a server in memory.

use super::*;
use crate::core::remote::tests::fake::VERSION;

#[test]
fn what_is_moved_says_where_it_is() {
    let server = FakeServer::start(Fault::None).with_file("/a", b"a").with_file("/b", b"b");
    let folder = tempfile::tempdir().unwrap();
    let verb = |args: &[&str]| verb(&server, folder.path(), args);
    let (status, _, err) = verb(&["mv", "a", "b"]);
    assert_eq!(status, 9, "{err}");
    assert!(err.contains("cannot move a to b: b already exists\n") && err.contains("--replace"));
    let (status, _, err) = verb(&["mv", "a", "b", "--replace"]);
    assert_eq!((status, err.as_str()), (0, "Moved a to b, replacing the file that was there\n"));
    let (status, _, err) = verb(&["mv", "b", "c", "up"]);
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("up is no folder, but several go there"), "{err}");
    assert_eq!(verb(&["mkdir", "up"]).0, 0);
    let (status, _, err) = verb(&["mv", "b", "no", "up"]);
    assert_eq!(status, 3, "{err}");
    assert!(err.contains("Moved b to up/b\n") && err.contains("cannot move no to up"), "{err}");
    let (status, _, err) = verb(&["mv", "up", "down"]);
    assert_eq!((status, err.as_str()), (0, "Moved the folder up to down  files in it: 1\n"));
    let (status, out, _) = verb(&["mv", "--json", "down/b", "/"]);
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &line["path"], &line["kind"]), (0, &"/b".into(), &"file".into()));
    assert_eq!(server.files.lock()["/b"], b"a");
    assert_eq!(verb(&["mv", "b"]).0, 2);
}

#[test]
fn a_condition_goes_to_the_server_and_its_refusal_comes_back() {
    let server = FakeServer::start(Fault::None).with_file("/a", b"old");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "new").unwrap();
    let (right, wrong) = (VERSION.to_string(), "1".repeat(32));
    for (args, status, text) in [
        (&["update", "a", "--to", "up"][..], 4, "palk client store"),
        (
            &["update", "a", "--if-version", &wrong],
            9,
            "changed meanwhile by ann from 127.0.0.1:4000",
        ),
        (&["store", "a", "--if-version", &wrong], 9, "say that version"),
        (&["store", "a", "--if-version", &wrong, "--no-replace"], 2, "--no-replace"),
        (&["store", "a", "b", "--if-version", &right], 2, "one by one:  palk client store"),
        (&["update", "a", "--no-replace"], 2, "--no-replace"),
        (&["update", "missing"], 13, "no such file"),
    ] {
        let (found, _, err) = verb(&server, folder.path(), args);
        assert_eq!(found, status, "{args:?}: {err}");
        assert!(err.contains(text), "{args:?}: {err}");
        assert_eq!(server.files.lock()["/a"], b"old");
    }
    let (status, _, err) = verb(&server, folder.path(), &["update", "a", "--if-version", &right]);
    assert_eq!((status, server.files.lock()["/a"].as_slice()), (0, &b"new"[..]), "{err}");
    assert_eq!(verb(&server, folder.path(), &["update", "a"]).0, 0);
}

#[test]
fn a_removal_of_everything_is_asked_for_on_a_terminal() {
    let server = FakeServer::start(Fault::None).with_file("/up/a", b"a");
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("pw");
    fs::write(&password, "pw\n").unwrap();
    let mut args = vec!["client", "--server", &server.address, "--user", "demo"];
    args.extend(["--password-file", password.to_str().unwrap(), "rmdir", "-r", "up"]);
    for (typed, status, left) in [("no\n", 130, 1), ("yes\n", 0, 0)] {
        let (env, screen) = Env::fake(&args, typed);
        assert_eq!(run(&mut env.on_terminal()), status, "{}", screen.err());
        assert!(screen.err().starts_with("Remove up and everything in it (yes or no)? "));
        assert_eq!(server.files.lock().len(), left);
    }
}
