//! The names on the nodes: a view of hard links to the pieces, kept by the nodes as they follow their
//! journals, and what `palk rescue` makes of it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Cluster, PAIRS, copy_folder, noise, palk, until};

/// The device and the number of a file, and how many names it has.
fn identity(path: &Path) -> (u64, u64, u64) {
    let meta = fs::metadata(path).unwrap();
    (meta.dev(), meta.ino(), meta.nlink())
}

/// How many bytes each of these folders takes, a file that is in several of them counted once.
fn disk_usage(folders: &[PathBuf]) -> Vec<u64> {
    let output = Command::new("du").args(["-s", "-B1"]).args(folders).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    out.lines().map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_specified_names_are_links_within_two_seconds_and_du_counts_a_file_once() {
    let cluster = Cluster::start();
    let mut times = Vec::new();
    for round in 0..5 {
        for size in [353, 200_000, 3_000_000] {
            let path = format!("up/{round}/f{size}.tar.gz");
            cluster.store(&path, &noise(round, size)).unwrap();
            let answered = Instant::now();
            for node in 1..=4 {
                until("it has its names", || cluster.has_version(node, &path, &noise(round, size)));
            }
            times.push(answered.elapsed());
            for node in 1..=4 {
                let mut pieces: Vec<_> =
                    cluster.piece_of(node, &path).iter().map(|p| identity(p)).collect();
                let mut names: Vec<_> =
                    cluster.blocks(node, &path).iter().map(|p| identity(p)).collect();
                pieces.sort_unstable();
                names.sort_unstable();
                assert_eq!(names, pieces, "the same files");
                assert!(names.iter().all(|(_, _, names)| *names == 2), "{names:?}");
            }
        }
    }
    println!("names were there after {times:?}");
    // A machine that is busy with other tests may be slow, but not every time.
    assert!(times.iter().any(|time| *time < Duration::from_secs(2)), "{times:?}");
    for node in 1..=4 {
        let folder = cluster.node_folder(node);
        let usage = disk_usage(&[folder.join(".palk/pieces"), folder.join("demo")]);
        assert!(usage[0] > 5 * 3_200_000 / 2 && usage[1] < 200_000, "{usage:?}");
    }
}

#[test]
fn a_move_is_a_rename_in_the_view_and_what_collides_is_left_out() {
    let cluster = Cluster::start();
    let bytes = noise(1, 500_000);
    cluster.store("up/deep/a.txt", &bytes).unwrap();
    cluster.store("up/b", b"b").unwrap();
    (1..=4).for_each(|node| {
        until("it has its names", || cluster.has_version(node, "up/deep/a.txt", &bytes));
    });
    let before = cluster.blocks(1, "up/deep/a.txt").iter().map(|p| identity(p)).collect::<Vec<_>>();
    for (from, to) in [("up", "down"), ("down/deep/a.txt", "down/c.bin"), ("down/c.bin", "/")] {
        assert!(cluster.client(&["mv", from, to]).status.success());
    }
    for node in 1..=4 {
        until("it has the new name", || cluster.has_version(node, "c.bin", &bytes));
        until("the old one is gone", || !cluster.node_folder(node).join("demo/up").exists());
        until("the folder has come along", || cluster.blocks(node, "down/b").len() == 2);
    }
    let after = cluster.blocks(1, "c.bin").iter().map(|p| identity(p)).collect::<Vec<_>>();
    assert_eq!(after, before);

    // A folder that is called like a block of a file is no concern of users; the view cannot have both.
    assert!(cluster.client(&["mkdir", "x_A1"]).status.success());
    cluster.store("x", &noise(2, 1_000)).unwrap();
    cluster.store("x_A1/inside", &noise(3, 1_000)).unwrap();
    assert!(cluster.retrieve("x").unwrap() == noise(2, 1_000));
    assert!(cluster.retrieve("x_A1/inside").unwrap() == noise(3, 1_000));
    until("the other nodes have it", || (2..=4).all(|node| cluster.blocks(node, "x").len() == 2));
    cluster.await_healthy();
    let removed = cluster.client(&["rmdir", "-r", "--yes", "x_A1"]);
    assert!(removed.status.success(), "{removed:?}");
    let mut scrub = palk();
    scrub.args(["admin", "scrub", "--dir"]).arg(cluster.path("user_database"));
    assert!(scrub.output().unwrap().status.success());
    until("there is room for it now", || {
        let blocks = cluster.blocks(1, "x");
        blocks.len() == 2 && blocks.iter().all(|path| path.is_file())
    });
}

#[test]
fn a_view_that_was_lost_is_made_again_by_a_scrub_and_nothing_is_read_through_it() {
    let cluster = Cluster::start();
    let bytes = noise(1, 700_000);
    cluster.store("up/a.txt", &bytes).unwrap();
    cluster.store("b", b"b").unwrap();
    for node in 1..=4 {
        until("it has its names", || cluster.has_version(node, "up/a.txt", &bytes));
        until("it has its names", || cluster.blocks(node, "b").len() == 2);
        fs::remove_dir_all(cluster.node_folder(node).join("demo")).unwrap();
    }
    assert!(cluster.retrieve("up/a.txt").unwrap() == bytes);
    let mut scrub = palk();
    scrub.args(["admin", "scrub", "--dir"]).arg(cluster.path("user_database"));
    assert!(scrub.output().unwrap().status.success());
    for node in 1..=4 {
        until("it has its names", || cluster.has_version(node, "up/a.txt", &bytes));
        until("it has its names", || cluster.blocks(node, "b").len() == 2);
    }
}

/// All files below a folder, by their paths.
fn tree(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![at.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(at).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// What is rescued from copies of two nodes' folders, of which only these parts are left.
fn rescue_parts(cluster: &Cluster, nodes: [usize; 2], parts: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let copies = nodes.map(|node| {
        let copy = cluster.path(&format!("copy_{node}"));
        let _ = fs::remove_dir_all(&copy);
        for part in parts {
            copy_folder(&cluster.node_folder(node).join(part), &copy.join(part));
        }
        copy
    });
    let out = cluster.path("out");
    let _ = fs::remove_dir_all(&out);
    let output = palk().arg("rescue").args(&copies).arg("--out").arg(&out).output().unwrap();
    assert!(output.status.success(), "{parts:?} of {nodes:?}: {output:?}");
    tree(&out)
}

#[test]
fn rescue_needs_only_the_pieces_or_only_the_view_and_takes_current_names() {
    let mut cluster = Cluster::start();
    let stored = [("up/a.tar.gz", 353), ("up/deep/b.bin", 1_500_000), ("c", 0)];
    let mut first = BTreeMap::new();
    for (path, size) in stored {
        cluster.store(path, &noise(1, size)).unwrap();
        first.insert(format!("demo/{path}"), noise(1, size));
    }
    for (from, to) in [("up", "down"), ("c", "down/renamed")] {
        assert!(cluster.client(&["mv", from, to]).status.success());
    }
    let current: BTreeMap<String, Vec<u8>> = [
        ("demo/down/a.tar.gz", noise(1, 353)),
        ("demo/down/deep/b.bin", noise(1, 1_500_000)),
        ("demo/down/renamed", noise(1, 0)),
    ]
    .map(|(path, bytes)| (path.to_owned(), bytes))
    .into();
    for node in 1..=4 {
        for (path, bytes) in &current {
            let path = path.strip_prefix("demo/").unwrap();
            until("it has its names", || cluster.has_version(node, path, bytes));
        }
    }
    cluster.kill_all();
    for nodes in PAIRS {
        for parts in [&["demo", ".palk", "backup"][..], &[".palk", "backup"], &["demo"]] {
            assert!(rescue_parts(&cluster, nodes, parts) == current, "{parts:?} of {nodes:?}");
        }
        let pieces = rescue_parts(&cluster, nodes, &[".palk/pieces"]);
        assert!(pieces == first, "under the names that they were stored by, from {nodes:?}");
    }
}
