//! `palk rescue`: everything back from any two nodes' folders, with nothing running.

#[allow(dead_code)] // another test has the crashes
#[path = "sim/disk.rs"]
mod disk;
#[path = "rescue/engine.rs"]
mod engine;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::raw::Raw;
use support::{Cluster, USER, noise, palk, until};

const PAIRS: [[usize; 2]; 6] = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];

/// A cluster that has been stopped, and what was stored in it.
struct Wreck {
    cluster: Cluster,
    files: BTreeMap<String, Vec<u8>>,
    /// The block files of each file on nodes 1 and 2, with all their names.
    blocks: BTreeMap<(usize, String), Vec<[PathBuf; 2]>>,
}

impl Wreck {
    /// One of the two blocks of a file: the file itself.
    fn block(&self, node: usize, path: &str, which: usize) -> &Path {
        &self.blocks[&(node, path.to_owned())][which][0]
    }

    /// Removes it with all its names.
    fn remove_block(&self, node: usize, path: &str, which: usize) {
        for name in &self.blocks[&(node, path.to_owned())][which] {
            fs::remove_file(name).unwrap();
        }
    }
}

/// Stores files of all kinds, waits until the nodes show them, and stops everything.
fn wreck() -> Wreck {
    let mut cluster = Cluster::start();
    let files: BTreeMap<String, Vec<u8>> = [
        ("empty", 0),
        (".bashrc", 1),
        ("small.tar.gz", 353),
        ("up/one.bin", 1 << 20),
        // Too long to travel with the journal.
        ("up/two.bin", 300_000),
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
        until("all is shown", || {
            files.iter().all(|(path, content)| cluster.has_version(node, path, content))
        });
        until("it is deleted", || cluster.blocks(node, "gone/deleted.txt").is_empty());
    }
    let mut blocks = BTreeMap::new();
    for path in files.keys() {
        for node in [1, 2] {
            let names = cluster.piece_of(node, path).into_iter().zip(cluster.blocks(node, path));
            blocks.insert((node, path.clone()), names.map(|(own, shown)| [own, shown]).collect());
        }
    }
    stop(&mut cluster);
    Wreck { cluster, files, blocks }
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
    let Wreck { cluster, files, .. } = wreck();
    let before = nodes_as_they_are(&cluster);
    for pair in PAIRS {
        let (output, out) = rescue(&cluster, &pair, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(tree(&out.join("demo")) == files, "from nodes {pair:?}");
        assert!(out.join("demo/gone").is_dir(), "an empty folder is one, too");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
        assert!(output.stdout.is_empty());
        let text = said(&output);
        assert!(text.contains("Rescued 7 files, 4.9 MB  to "), "{text}");
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
    let wreck = wreck();
    let Wreck { cluster, files, .. } = &wreck;
    flip(wreck.block(1, "up/2026/long.bin", 1), 300_000);
    wreck.remove_block(2, "up/two.bin", 0);
    let short = wreck.block(1, "up/one.bin", 0);
    let length = fs::metadata(short).unwrap().len();
    fs::OpenOptions::new().write(true).open(short).unwrap().set_len(length - 1).unwrap();
    // A small one is in the journal as well.
    wreck.remove_block(2, "small.tar.gz", 0);

    let (output, out) = rescue(cluster, &[1, 2], &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let line = "error: cannot rescue /demo/up/2026/long.bin: block A2 of node 1: \
                wrong bytes in stripe 1\n";
    assert!(text.contains(line), "{text}");
    let line = "error: cannot rescue /demo/up/two.bin: block B1 of node 2: missing\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("Rescued 5 of 7 files, 1.1 MB  to "), "{text}");
    assert!(text.contains("error: 2 of 7 files could not be rebuilt\n"), "{text}");
    // The block that has lost its end has all its bytes, as the digest of the file says.
    let mut rest = files.clone();
    rest.retain(|path, _| path != "up/2026/long.bin" && path != "up/two.bin");
    assert!(tree(&out.join("demo")) == rest);

    let (output, _) = rescue(cluster, &[1, 2], &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert!(lines.iter().all(|line| line["v"] == 1));
    let items: Vec<&Value> = lines.iter().filter(|line| line["type"] == "item").collect();
    assert_eq!(items.len(), 7);
    let two = items.iter().find(|item| item["path"] == "up/two.bin").unwrap();
    assert_eq!(two["code"], 7);
    let one = items.iter().find(|item| item["path"] == "up/one.bin").unwrap();
    assert_eq!(
        (&one["code"], &one["bytes"], &one["user"]),
        (&0.into(), &1_048_576.into(), &"demo".into())
    );
    let last = lines.last().unwrap();
    assert_eq!((&last["type"], &last["code"]), (&"error".into(), &3.into()));
    assert_eq!((&last["done"], &last["failed"]), (&5.into(), &2.into()));
    assert!(said(&output).is_empty(), "{}", said(&output));

    for nodes in [&[1, 2, 3][..], &[2, 1, 4], &[4, 3, 2, 1]] {
        let (output, out) = rescue(cluster, nodes, &["-q"]);
        assert_eq!(output.status.code(), Some(0), "{nodes:?}: {}", said(&output));
        assert!(tree(&out.join("demo")) == *files, "{nodes:?}");
        assert!(said(&output).is_empty());
    }
}

#[test]
fn nothing_left_of_anything_is_status_7() {
    let mut cluster = Cluster::start();
    cluster.store("a", &noise(1, 300_000)).unwrap();
    let pieces = cluster.piece_of(3, "a");
    stop(&mut cluster);
    pieces.iter().chain(&cluster.blocks(3, "a")).for_each(|block| fs::remove_file(block).unwrap());
    let (output, out) = rescue(&cluster, &[3, 4], &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.contains("/demo/a: only node 4 has any of it"), "{text}");
    assert!(tree(&out).is_empty());
}

#[test]
fn a_store_is_rescued_in_the_moment_in_which_it_is_answered() {
    let mut cluster = Cluster::start();
    // Longer than what the buffers of two connections take in.
    let (old, new) = (noise(1, 40_000_000), noise(2, 1_500_000));
    cluster.store("up/a", &old).unwrap();
    // While somebody reads a version it is not dropped.
    let mut reader = Raw::sign_in(&cluster);
    reader.ask_for("a", "up");
    assert_eq!(reader.reply().as_deref(), Ok("40000000"));
    assert_eq!(cluster.store("up/a", &new).unwrap(), 4);
    let version = cluster.version("up/a");
    assert_eq!(cluster.store("small", b"small").unwrap(), 4);
    stop(&mut cluster);
    for pair in PAIRS {
        let (output, out) = rescue(&cluster, &pair, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let files = tree(&out);
        assert!(files["demo/up/a"] == new && files.len() == 2, "{pair:?}");
        assert_eq!(files["demo/small"], b"small");
    }
    // A node that does not have it, though its journal names it.
    let shown = cluster.blocks(2, "up/a").into_iter();
    for block in cluster.piece(2, &version).into_iter().chain(shown) {
        fs::remove_file(block).unwrap();
    }
    let (output, out) = rescue(&cluster, &[1, 2], &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("/demo/up/a: only node 1"), "{text}");
    let mut files = tree(&out);
    files.remove("demo/small");
    let files: Vec<(String, Vec<u8>)> = files.into_iter().collect();
    assert!(files.len() == 1 && files[0].0.starts_with("demo/up/a.older-") && files[0].1 == old);
    assert!(text.contains(&format!("out/{}\n", files[0].0)), "{text}");
}

#[test]
fn without_journals_it_is_told_that_deleted_files_may_be_among_them() {
    let Wreck { cluster, files, .. } = wreck();
    (1..=4).for_each(|node| fs::remove_dir_all(cluster.node_folder(node).join("backup")).unwrap());
    let (output, out) = rescue(&cluster, &[2, 4], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("no journal could be read"), "{}", said(&output));
    let rescued = tree(&out.join("demo"));
    assert!(files.iter().all(|(path, content)| rescued.get(path) == Some(content)));
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
    (1..=4).for_each(|node| until("it is shown", || cluster.blocks(node, "a").len() == 2));
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

#[test]
fn pieces_and_journals_behind_links_are_served_rescued_and_recovered_alike() {
    let mut cluster = Cluster::start();
    let (small, large) = (noise(1, 1000), noise(2, 700_000));
    cluster.store("sub/small", &small).unwrap();
    cluster.store("sub/large", &large).unwrap();
    (1..=4).for_each(|node| until("shown", || cluster.blocks(node, "sub/small").len() == 2));
    stop(&mut cluster);
    let link_away = |from: &Path, to: &str| {
        fs::rename(from, cluster.path(to)).unwrap();
        std::os::unix::fs::symlink(cluster.path(to), from).unwrap();
    };
    link_away(&cluster.node_folder(1).join(".palk/pieces"), "pieces of 1");
    link_away(&cluster.node_folder(1).join("backup"), "backup of 1");
    for (number, entry) in
        fs::read_dir(cluster.node_folder(2).join(".palk/pieces")).unwrap().enumerate()
    {
        link_away(&entry.unwrap().path(), &format!("some of 2, {number}"));
    }
    link_away(&cluster.node_folder(2).join("demo/sub"), "names of 2");

    let (output, out) = rescue(&cluster, &[1, 2], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let rescued = tree(&out);
    assert!(rescued["demo/sub/small"] == small && rescued["demo/sub/large"] == large);

    (1..=2).for_each(|node| cluster.start_node(node));
    let recovered = cluster.recover("recovered", &[1, 2]);
    assert_eq!(recovered.status.code(), Some(0), "{recovered:?}");
    cluster.start_server();
    for (path, bytes) in [("sub/small", &small), ("sub/large", &large)] {
        assert!(cluster.retrieve(path).unwrap() == *bytes, "{path}");
    }
    (3..=4).for_each(|node| cluster.start_node(node));
    cluster.await_healthy();
    cluster.store("sub/more", &large).unwrap();
    until("it is shown", || cluster.has_version(2, "sub/more", &large));
}

#[test]
fn the_time_and_the_right_to_be_run_are_rescued_with_the_bytes() {
    let mut cluster = Cluster::start();
    let changed = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567_890_123);
    let files = [("tool", 0o755, 5_000), ("large tool", 0o700, 400_000), ("text", 0o644, 5_000)];
    for (name, mode, length) in files {
        let local = cluster.path(name);
        fs::write(&local, noise(3, length)).unwrap();
        fs::set_permissions(&local, fs::Permissions::from_mode(mode)).unwrap();
        fs::File::open(&local).unwrap().set_modified(changed).unwrap();
        assert!(cluster.client(&["store", name]).status.success());
    }
    // A move keeps them.
    assert!(cluster.client(&["mv", "tool", "moved tool"]).status.success());
    stop(&mut cluster);
    let (output, out) = rescue(&cluster, &[2, 3], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for (name, is_run) in [("moved tool", true), ("large tool", true), ("text", false)] {
        let found = fs::metadata(out.join(USER).join(name)).unwrap();
        assert_eq!(found.modified().unwrap(), changed, "{name}");
        assert_eq!(found.permissions().mode() & 0o100 != 0, is_run, "{name}");
    }
}
