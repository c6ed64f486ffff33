//! `palk rescue`: everything back from any two nodes' folders, with nothing running.

#[allow(dead_code)] // another test has the crashes
#[path = "sim/disk.rs"]
mod disk;
#[path = "rescue/engine.rs"]
mod engine;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use support::raw::Raw;
use support::{Cluster, noise, palk, until};

const PAIRS: [[usize; 2]; 6] = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];

/// A cluster that has been stopped, and what was stored in it.
struct Wreck {
    cluster: Cluster,
    files: BTreeMap<String, Vec<u8>>,
}

/// Stores files of all kinds, waits until the nodes have committed them, and stops everything.
fn wreck() -> Wreck {
    let mut cluster = Cluster::start();
    let files: BTreeMap<String, Vec<u8>> = [
        ("empty", 0),
        (".bashrc", 1),
        ("small.tar.gz", 353),
        ("up/one.bin", 1 << 20),
        ("up/2026/long.bin", 3_500_000),
        ("replaced.txt", 2_000),
    ]
    .into_iter()
    .map(|(path, size)| (path.to_owned(), noise(2, size)))
    .collect();
    cluster.store("replaced.txt", &noise(1, 5_000)).unwrap();
    cluster.store("gone/deleted.txt", b"deleted").unwrap();
    for (path, content) in &files {
        assert_eq!(cluster.store(path, content).unwrap(), 4);
    }
    assert!(cluster.client(&["del", "gone/deleted.txt"]).status.success());
    for node in 1..=4 {
        until("all is committed", || cluster.staging_is_empty(node));
        until("it is deleted", || cluster.blocks(node, "gone/deleted.txt").is_empty());
    }
    stop(&mut cluster);
    Wreck { cluster, files }
}

fn stop(cluster: &mut Cluster) {
    cluster.kill_server();
    (1..=4).for_each(|node| cluster.kill_node(node));
}

fn rescue(cluster: &Cluster, nodes: &[usize], options: &[&str]) -> (Output, PathBuf) {
    let out = cluster.path("out");
    let _ = fs::remove_dir_all(&out);
    let mut command = palk();
    command.arg("rescue").args(nodes.iter().map(|node| cluster.node_folder(*node)));
    command.arg("--out").arg(&out).args(options);
    (command.output().unwrap(), out)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All files below a folder, by their paths.
fn tree(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![at.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path();
                let name = path.strip_prefix(at).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// Content, length and time of everything in the nodes' folders.
fn nodes_as_they_are(cluster: &Cluster) -> Vec<(PathBuf, u64, i64, i64)> {
    let mut all = Vec::new();
    let mut open: Vec<PathBuf> = (1..=4).map(|node| cluster.node_folder(node)).collect();
    while let Some(at) = open.pop() {
        let meta = fs::symlink_metadata(&at).unwrap();
        all.push((at.clone(), meta.len(), meta.mtime(), meta.mtime_nsec()));
        if meta.is_dir() {
            open.extend(fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all
}

fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).unwrap();
    content[at] ^= 1;
    fs::write(path, content).unwrap();
}

#[test]
fn every_pair_of_folders_gives_every_file() {
    let Wreck { cluster, files } = wreck();
    let before = nodes_as_they_are(&cluster);
    for pair in PAIRS {
        let (output, out) = rescue(&cluster, &pair, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(tree(&out.join("demo")) == files, "from nodes {pair:?}");
        assert!(out.join("demo/gone").is_dir(), "an empty folder is one, too");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
        assert!(output.stdout.is_empty());
        let text = said(&output);
        assert!(text.contains("Rescued 6 files, 4.6 MB  to "), "{text}");
    }
    assert_eq!(nodes_as_they_are(&cluster), before, "nodes are only read");

    // In the way: what was rescued before.
    let mut command = palk();
    command.arg("rescue").args([1, 2].map(|node| cluster.node_folder(node)));
    let output = command.arg("--out").arg(cluster.path("out")).output().unwrap();
    assert_eq!(output.status.code(), Some(13));
    assert!(said(&output).contains("it is not empty"), "{}", said(&output));
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_rescued() {
    let Wreck { cluster, files } = wreck();
    flip(&cluster.blocks(1, "up/2026/long.bin")[1], 300_000);
    fs::remove_file(&cluster.blocks(2, "small.tar.gz")[0]).unwrap();
    let short = &cluster.blocks(1, "up/one.bin")[0];
    let length = fs::metadata(short).unwrap().len();
    fs::OpenOptions::new().write(true).open(short).unwrap().set_len(length - 1).unwrap();

    let (output, out) = rescue(&cluster, &[1, 2], &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let line = "error: cannot rescue /demo/up/2026/long.bin: block A2 of node 1: \
                wrong bytes in stripe 1\n";
    assert!(text.contains(line), "{text}");
    let line = "error: cannot rescue /demo/small.tar.gz: block B1 of node 2: missing\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("Rescued 4 of 6 files, 1.1 MB  to "), "{text}");
    assert!(text.contains("error: 2 of 6 files could not be rebuilt\n"), "{text}");
    // The block that has lost its end has all its bytes, as the digest of the file says.
    let mut rest = files.clone();
    rest.retain(|path, _| path != "up/2026/long.bin" && path != "small.tar.gz");
    assert!(tree(&out.join("demo")) == rest);

    let (output, _) = rescue(&cluster, &[1, 2], &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert!(lines.iter().all(|line| line["v"] == 1));
    let items: Vec<&Value> = lines.iter().filter(|line| line["type"] == "item").collect();
    assert_eq!(items.len(), 6);
    let small = items.iter().find(|item| item["path"] == "small.tar.gz").unwrap();
    assert_eq!(small["code"], 7);
    let one = items.iter().find(|item| item["path"] == "up/one.bin").unwrap();
    assert_eq!(
        (&one["code"], &one["bytes"], &one["user"]),
        (&0.into(), &1_048_576.into(), &"demo".into())
    );
    let last = lines.last().unwrap();
    assert_eq!((&last["type"], &last["code"]), (&"error".into(), &3.into()));
    assert_eq!((&last["done"], &last["failed"]), (&4.into(), &2.into()));
    assert!(said(&output).is_empty(), "{}", said(&output));

    for nodes in [&[1, 2, 3][..], &[2, 1, 4], &[4, 3, 2, 1]] {
        let (output, out) = rescue(&cluster, nodes, &["-q"]);
        assert_eq!(output.status.code(), Some(0), "{nodes:?}: {}", said(&output));
        assert!(tree(&out.join("demo")) == files, "{nodes:?}");
        assert!(said(&output).is_empty());
    }
}

#[test]
fn nothing_left_of_anything_is_status_7() {
    let mut cluster = Cluster::start();
    cluster.store("a", &noise(1, 100)).unwrap();
    (1..=4).for_each(|node| until("it is committed", || cluster.staging_is_empty(node)));
    stop(&mut cluster);
    cluster.blocks(3, "a").iter().for_each(|block| fs::remove_file(block).unwrap());
    let (output, out) = rescue(&cluster, &[3, 4], &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.contains("only node 4 has any of it (was it deleted?)"), "{text}");
    assert!(tree(&out).is_empty());
}

#[test]
fn a_store_that_was_answered_is_rescued_from_staging() {
    let mut cluster = Cluster::start();
    // Longer than what the buffers of two connections take in.
    let (old, new) = (noise(1, 40_000_000), noise(2, 1_500_000));
    cluster.store("up/a", &old).unwrap();
    (1..=4).for_each(|node| until("it is committed", || cluster.staging_is_empty(node)));
    // While somebody reads a file the nodes are not told to commit its next version.
    let mut reader = Raw::sign_in(&cluster);
    reader.ask_for("a", "up");
    assert_eq!(reader.reply().as_deref(), Ok("40000000"));
    assert_eq!(cluster.store("up/a", &new).unwrap(), 4);
    stop(&mut cluster);
    assert!((1..=4).all(|node| !cluster.staging_is_empty(node)), "none has committed");
    for pair in PAIRS {
        let (output, out) = rescue(&cluster, &pair, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let files = tree(&out);
        assert!(files["demo/up/a"] == new && files.len() == 1, "{pair:?}");
    }
    // A node that had not received it: whether it was answered cannot be told.
    for entry in fs::read_dir(cluster.node_folder(2).join(".palk/staging")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (output, out) = rescue(&cluster, &[1, 2], &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("under way, or had just been answered: only node 1"), "{text}");
    let files: Vec<(String, Vec<u8>)> = tree(&out).into_iter().collect();
    assert!(files.len() == 1 && files[0].0.starts_with("demo/up/a.older-") && files[0].1 == old);
    assert!(text.contains(&format!("out/{}\n", files[0].0)), "{text}");
}

#[test]
fn one_users_files_are_taken_alone() {
    let mut cluster = Cluster::start();
    cluster.store("a", b"demo's").unwrap();
    let other = |arguments: &[&str]| {
        let mut command = palk();
        command.current_dir(cluster.folder.path()).arg("client");
        command.args(["--server", cluster.address(), "--user", "other", "--password-file"]);
        command.arg(cluster.path("password")).args(arguments);
        assert!(command.output().unwrap().status.success());
    };
    other(&["signup"]);
    fs::write(cluster.path("b"), "other's").unwrap();
    other(&["store", "b"]);
    stop(&mut cluster);
    let (output, out) = rescue(&cluster, &[2, 3], &["--user", "other"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(tree(&out), [("other/b".to_owned(), b"other's".to_vec())].into());
    let (output, out) = rescue(&cluster, &[2, 3], &["--user", "nobody"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("There are files of: demo, other"), "{}", said(&output));
    assert!(!out.exists());
    let (_, out) = rescue(&cluster, &[2, 3], &[]);
    assert_eq!(tree(&out).len(), 2);
}

#[test]
fn a_running_node_is_read_with_a_note_and_not_disturbed() {
    let cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    (1..=4).for_each(|node| until("it is committed", || cluster.staging_is_empty(node)));
    let (output, out) = rescue(&cluster, &[1, 4], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("node 4 is running"), "{}", said(&output));
    assert_eq!(tree(&out)["demo/a"], b"bytes");
    assert_eq!(cluster.retrieve("a").unwrap(), b"bytes");
}

#[test]
fn a_link_in_a_folder_leads_nowhere() {
    let mut cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    (1..=4).for_each(|node| until("it is committed", || cluster.staging_is_empty(node)));
    stop(&mut cluster);
    for (node, block) in [(1, "A1"), (1, "A2"), (2, "B1"), (2, "B2")] {
        let demo = cluster.node_folder(node).join("demo");
        std::os::unix::fs::symlink(
            demo.join(format!("a_{block}")),
            demo.join(format!("l_{block}")),
        )
        .unwrap();
    }
    for node in [1, 2] {
        let demo = cluster.node_folder(node).join("demo");
        std::os::unix::fs::symlink(&demo, demo.join("loop")).unwrap();
    }
    let (output, out) = rescue(&cluster, &[1, 2], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(tree(&out).into_keys().collect::<Vec<_>>(), ["demo/a"]);
    assert_eq!(fs::read_dir(out.join("demo")).unwrap().count(), 1);
}
