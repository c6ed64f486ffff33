//! Symbolic links, kept as what they are.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use palk::core::path::FilePath;
use palk::core::remote::{Remote, ToStore};
use palk::core::types::{FileAttributes, FileKind, Precondition};

use super::*;

fn link(cluster: &Cluster, at: &str, leads_to: &str) {
    let path = cluster.path(at);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(leads_to, path).unwrap();
}

fn leads_to(cluster: &Cluster, at: &str) -> PathBuf {
    fs::read_link(cluster.path(at)).unwrap()
}

/// A folder with a file and links to it, stored with its links.
fn stored() -> Cluster {
    let cluster = Cluster::start_with(&["--keep-versions", "7d"]);
    fs::create_dir_all(cluster.path("d/deep")).unwrap();
    fs::write(cluster.path("d/file"), "bytes").unwrap();
    link(&cluster, "d/to-file", "file");
    link(&cluster, "d/deep/up", "../file");
    link(&cluster, "d/to-folder", "deep");
    link(&cluster, "d/gone", "not/there");
    client(&cluster, &["store", "-r", "d"]).code(0).stderr(contains(
        "4 symbolic links were left out; --links store keeps them, --links follow takes what they",
    ));
    client(&cluster, &["check", "d", "d"])
        .code(0)
        .stderr(contains("4 symbolic links were left out"));
    client(&cluster, &["store", "-r", "d", "--links", "store"])
        .code(0)
        .stderr(contains("Stored 5 files"));
    cluster
}

#[test]
fn links_go_there_and_back_as_links() {
    let cluster = stored();
    client(&cluster, &["rtv", "-r", "d", "--to", "back"]).code(0);
    for (at, target) in
        [("to-file", "file"), ("deep/up", "../file"), ("to-folder", "deep"), ("gone", "not/there")]
    {
        assert_eq!(leads_to(&cluster, &format!("back/d/{at}")), Path::new(target));
    }
    assert_eq!(fs::read(cluster.path("back/d/deep/up")).unwrap(), b"bytes");
    // Again over themselves; and left out if they are to be.
    client(&cluster, &["rtv", "-r", "d", "--to", "back"]).code(0);
    client(&cluster, &["rtv", "-r", "d", "--to", "plain", "--links", "skip"])
        .code(0)
        .stderr(contains("Retrieved 1 file,").and(contains("4 symbolic links were left out")));
    assert!(!cluster.path("plain/d/to-file").exists());
    // They are told from files, copied, and come back with undo; elsewhere they are small files.
    client(&cluster, &["inf", "d"]).code(0).stdout(contains("/d/to-file@\n"));
    let lines = json_lines(&client(&cluster, &["--json", "inf", "d/gone"]).code(0));
    assert_eq!((&lines[0]["kind"], &lines[0]["bytes"]), (&"link".into(), &9.into()));
    client(&cluster, &["cp", "-r", "d", "copy"]).code(0);
    client(&cluster, &["del", "copy/gone"]).code(0);
    client(&cluster, &["undo", "copy/gone"]).code(0);
    client(&cluster, &["rtv", "-r", "copy", "--to", "back"]).code(0);
    assert_eq!(leads_to(&cluster, "back/copy/gone"), Path::new("not/there"));
    client(&cluster, &["cat", "d/gone"]).code(0).stdout("not/there");
    client(&cluster, &["rtv", "d/gone", "--to", "gone.txt"])
        .code(0)
        .stderr(contains("It is a symbolic link; rtv -r makes it one again."));
    assert_eq!(fs::read(cluster.path("gone.txt")).unwrap(), b"not/there");
}

#[test]
fn a_link_that_leads_out_of_its_folder_is_refused_unless_it_may() {
    let cluster = Cluster::start();
    fs::create_dir(cluster.path("d")).unwrap();
    fs::write(cluster.path("d/file"), "bytes").unwrap();
    link(&cluster, "d/absolute", "/etc/passwd");
    link(&cluster, "d/above", "../secret");
    link(&cluster, "d/behind", "file/../../secret");
    client(&cluster, &["store", "-r", "d", "--links", "store"]).code(0);
    client(&cluster, &["rtv", "-r", "d", "--to", "back"])
        .code(3)
        .stderr(contains("it is a link that leads outside, to /etc/passwd"))
        .stderr(contains("to ../secret").and(contains("3 failed, 1 done")));
    let names = fs::read_dir(cluster.path("back/d")).unwrap().count();
    assert_eq!(names, 1, "only the file is there, and nothing is left over");
    client(&cluster, &["rtv", "-r", "d", "--to", "back", "--unsafe-links"]).code(0);
    assert_eq!(leads_to(&cluster, "back/d/absolute"), Path::new("/etc/passwd"));
}

#[test]
fn a_link_leads_to_a_path_that_systems_take() {
    let cluster = Cluster::start();
    let mut remote = Remote::connect(cluster.address()).unwrap();
    remote.sign_in(USER, PASSWORD).unwrap();
    let attributes = FileAttributes { modified_ms: None, kind: Some(FileKind::Link) };
    let path = FilePath::parse_rooted("link").unwrap();
    for (length, is_taken) in [(0, false), (1, true), (4095, true), (4096, false)] {
        let precondition = Precondition::Any;
        let wanted = ToStore { path: &path, bytes: length, precondition, attributes, keep: None };
        let content = noise(1, usize::try_from(length).unwrap());
        let stored = remote.store(&wanted, &mut &content[..], &mut |_| {});
        assert_eq!(stored.is_ok(), is_taken, "{length}");
    }
}

#[test]
fn nothing_is_written_through_a_link_that_was_made() {
    let cluster = Cluster::start();
    fs::create_dir(cluster.path("outside")).unwrap();
    fs::write(cluster.path("outside/f"), "mine").unwrap();
    let outside = cluster.path("outside");
    // Two stored trees of one name: a link in the one is a folder in the other.
    link(&cluster, "a/d/x", outside.to_str().unwrap());
    fs::create_dir_all(cluster.path("b/d/x")).unwrap();
    fs::write(cluster.path("b/d/x/f"), "theirs").unwrap();
    fs::write(cluster.path("b/d/x/g"), "theirs").unwrap();
    client(&cluster, &["store", "-r", "a", "b", "--links", "store"]).code(0);
    for order in [["a/d", "b/d"], ["b/d", "a/d"]] {
        let retrieve = [&["rtv", "-r", "--unsafe-links", "--to", "back"][..], &order].concat();
        client(&cluster, &retrieve).code(3);
        client(&cluster, &["rtv", "-r", "a/d", "--unsafe-links", "--to", "other"]).code(0);
        client(&cluster, &["rtv", "-r", "b/d", "--to", "other"])
            .code(3)
            .stderr(contains("a symbolic link is in its place or above it"));
    }
    assert_eq!(fs::read(cluster.path("outside/f")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    // A file in the place of a link replaces the link.
    symlink(outside.join("f"), cluster.path("other/y")).unwrap();
    cluster.store("y", b"new").unwrap();
    client(&cluster, &["rtv", "-r", "y", "--to", "other"]).code(0);
    assert!(!cluster.path("other/y").is_symlink());
    assert_eq!(fs::read(cluster.path("outside/f")).unwrap(), b"mine");
    // Somebody who wants to write through links says so.
    client(&cluster, &["rtv", "-r", "b/d", "--to", "other", "--links", "follow"]).code(0);
    assert_eq!(fs::read(cluster.path("outside/f")).unwrap(), b"theirs");
}

#[test]
fn check_and_sync_know_links() {
    let cluster = stored();
    let store = ["--links", "store"];
    let run = |arguments: &[&str]| client(&cluster, &[arguments, &store].concat());
    run(&["check", "d", "d"]).code(0).stderr("No difference: 5 files\n");
    run(&["sync", "d", ":d"]).code(0).stderr(contains("Nothing to store"));
    // Another target, a file in the place of a link, and a link in that of a file.
    for name in ["gone", "to-file", "file"] {
        fs::remove_file(cluster.path("d").join(name)).unwrap();
    }
    link(&cluster, "d/gone", "now/there");
    fs::write(cluster.path("d/to-file"), "file").unwrap();
    link(&cluster, "d/file", "to-file");
    run(&["check", "d", "d"])
        .code(3)
        .stdout("different   file\ndifferent   gone\ndifferent   to-file\n");
    run(&["sync", "d", ":d"]).code(0).stderr(contains("Stored 3 files"));
    run(&["check", "d", "d"]).code(0);
    // The other way round, over what was there before.
    client(&cluster, &["undo", "d/file"]).code(0);
    client(&cluster, &["undo", "d/to-file"]).code(0);
    run(&["sync", ":d", "d"]).code(0).stderr(contains("Retrieved 2 files"));
    assert!(cluster.path("d/to-file").is_symlink() && !cluster.path("d/file").is_symlink());
    assert_eq!(fs::read(cluster.path("d/deep/up")).unwrap(), b"bytes");
    run(&["check", "d", "d"]).code(0);
    // What is left out on one side is left out on the other, and stays.
    client(&cluster, &["sync", "d", ":d", "--delete", "--yes"]).code(0);
    client(&cluster, &["sync", ":d", "d", "--delete", "--yes"])
        .code(0)
        .stderr(contains("links were left out"));
    assert!(cluster.path("d/to-file").is_symlink());
    fs::remove_file(cluster.path("d/gone")).unwrap();
    fs::write(cluster.path("d/gone"), "my own").unwrap();
    client(&cluster, &["sync", ":d", "d", "--delete", "--yes"]).code(0);
    assert_eq!(fs::read(cluster.path("d/gone")).unwrap(), b"my own");
    // One that only the target has goes like a file, and what it leads to stays.
    link(&cluster, "d/extra", "file");
    run(&["sync", ":d", "d", "--delete", "--yes"]).code(0);
    assert!(!cluster.path("d/extra").is_symlink() && cluster.path("d/file").exists());
    assert!(cluster.path("d/gone").is_symlink(), "it is a link again");
}
