//! `palk admin recover`: the server's disk is lost, and real nodes give everything back. That nothing
//! answered is missing, whatever kind of change it was, is in `lost_server.rs`.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use palk::core::wire::snapshot::parse_snapshot_name;
use serde_json::Value;
use support::{Cluster, PAIRS, PASSWORD, copy_folder, noise, palk, until};

/// The last line that it printed.
fn result(output: &Output) -> Value {
    let out = String::from_utf8_lossy(&output.stdout);
    let last = out.lines().last().unwrap_or_else(|| panic!("{output:?}"));
    serde_json::from_str(last).unwrap()
}

/// Has every node make a snapshot of what the catalog is now.
fn back_up(cluster: &Cluster) {
    let mut command = palk();
    command.args(["admin", "backup", "--dir"]).arg(cluster.path("user_database"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The snapshots on a node.
fn snapshots(cluster: &Cluster, node: usize) -> Vec<PathBuf> {
    let listed = fs::read_dir(cluster.node_folder(node).join("backup")).unwrap();
    let paths = listed.map(|entry| entry.unwrap().path());
    let is_snapshot =
        |path: &PathBuf| parse_snapshot_name(path.file_name().unwrap().to_str().unwrap()).is_some();
    paths.filter(is_snapshot).collect()
}

fn lose_server_disk(cluster: &Cluster) {
    fs::remove_dir_all(cluster.path("user_database")).unwrap();
}

/// Starts the server on what was recovered and compares every file.
fn check(cluster: &mut Cluster, files: &BTreeMap<&str, Vec<u8>>, what: &str) {
    cluster.start_server();
    for (path, content) in files {
        until("it is read", || cluster.retrieve(path).is_ok_and(|read| read == *content));
    }
    let listed = cluster.client(&["-q", "--json", "inf"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("replaced.txt"), "{what}: {listed}");
    assert!(!listed.contains("deleted.txt"), "{what}: {listed}");
    // The second account, too; and nobody without the password.
    let list = |password: &str| {
        fs::write(cluster.path("other"), password).unwrap();
        let mut command = palk();
        command.args(["client", "--server", cluster.address(), "--user", "second"]);
        command.arg("--password-file").arg(cluster.path("other")).arg("inf");
        command.output().unwrap().status.code()
    };
    assert_eq!(list(PASSWORD), Some(0), "{what}");
    assert_eq!(list("wrong"), Some(5), "{what}");
}

#[test]
fn everything_comes_back_from_all_nodes_and_from_every_pair() {
    let mut cluster = Cluster::start();
    let files: BTreeMap<&str, Vec<u8>> =
        [("empty", 0), ("up/a.tar.gz", 353), ("up/2026/long.bin", 2_500_000), ("replaced.txt", 9)]
            .map(|(path, size)| (path, noise(2, size)))
            .into();
    let second = palk()
        .args(["client", "--server", cluster.address(), "--user", "second", "--password-file"])
        .args([cluster.path("password")])
        .arg("signup")
        .output()
        .unwrap();
    assert!(second.status.success(), "{second:?}");
    cluster.store("replaced.txt", &noise(1, 5_000)).unwrap();
    cluster.store("gone/deleted.txt", b"deleted").unwrap();
    // What comes before is in the snapshots, what comes after in the journals alone.
    back_up(&cluster);
    for (path, content) in &files {
        assert_eq!(cluster.store(path, content).unwrap(), 4);
    }
    assert!(cluster.client(&["del", "gone/deleted.txt"]).status.success());
    cluster.await_healthy();
    cluster.kill_all();
    for node in 1..=4 {
        copy_folder(&cluster.node_folder(node), &cluster.path(&format!("saved_{node}")));
    }
    for from in PAIRS.iter().map(|pair| &pair[..]).chain([&[1, 2, 3, 4][..]]) {
        let what = format!("from {from:?}");
        lose_server_disk(&cluster);
        for &node in from {
            fs::remove_dir_all(cluster.node_folder(node)).unwrap();
            copy_folder(&cluster.path(&format!("saved_{node}")), &cluster.node_folder(node));
            cluster.start_node(node);
        }
        let recovered = cluster.recover("user_database", from);
        assert!(recovered.status.success(), "{what}: {recovered:?}");
        let told = result(&recovered);
        let (accounts, folders, kept) = (&told["accounts"], &told["folders"], &told["files"]);
        assert_eq!((accounts, folders, kept), (&2.into(), &3.into(), &4.into()), "{what}: {told}");
        assert!(told["from_journal"].as_u64() >= Some(5), "{told}");
        assert_eq!(told["damaged"], Value::Array(vec![]), "{told}");
        let again = cluster.recover("user_database", from);
        assert_eq!(again.status.code(), Some(9), "it is not empty any more: {again:?}");
        check(&mut cluster, &files, &what);
        if from.len() == 4 {
            // It goes on as if nothing had been.
            cluster.server().says("Connected to all data servers.");
            assert_eq!(cluster.store("new.txt", b"new").unwrap(), 4);
            cluster.await_healthy();
        }
        cluster.kill_all();
    }
}

#[test]
fn nothing_is_recovered_over_a_running_server_or_from_too_few_nodes() {
    let mut cluster = Cluster::start();
    let refused = |cluster: &Cluster, folder: &str, from: &[usize], code: i32, why: &str| {
        let output = cluster.recover(folder, from);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let message = result(&output)["message"].to_string();
        assert!(message.contains(why), "{message}");
        assert!(!cluster.path(folder).join("palk.db.recovering").exists());
    };
    refused(&cluster, "user_database", &[1, 2, 3, 4], 9, "another server uses the folder");
    refused(&cluster, "elsewhere", &[1, 2, 3, 4], 9, "a server is running");
    refused(&cluster, "elsewhere", &[3], 6, "at least 2 nodes");
    cluster.kill_server();
    refused(&cluster, "user_database", &[1, 2], 9, "holds accounts (1) and files (0) already");
    fs::write(cluster.path("elsewhere/palk.db"), "this is no catalog, but long enough").unwrap();
    refused(&cluster, "elsewhere", &[1, 2], 9, "cannot be read");
}

#[test]
fn a_damaged_snapshot_is_told_and_another_one_taken() {
    let mut cluster = Cluster::start();
    cluster.store("a", &noise(1, 1_000)).unwrap();
    back_up(&cluster);
    cluster.store("b", &noise(2, 1_000)).unwrap();
    cluster.await_healthy();
    cluster.kill_all();
    for path in snapshots(&cluster, 2) {
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    lose_server_disk(&cluster);
    (1..=2).for_each(|node| cluster.start_node(node));
    let recovered = cluster.recover("user_database", &[1, 2]);
    assert!(recovered.status.success(), "{recovered:?}");
    assert_eq!(result(&recovered)["files"], 2, "{recovered:?}");
    cluster.start_server();
    for (path, seed) in [("a", 1), ("b", 2)] {
        until("it is read", || cluster.retrieve(path).is_ok_and(|read| read == noise(seed, 1_000)));
    }
}

#[test]
fn without_snapshots_and_journals_nothing_is_made_up_and_rescue_still_works() {
    let mut cluster = Cluster::start();
    assert_eq!(cluster.store("up/a.bin", &noise(5, 300_000)).unwrap(), 4);
    cluster.await_healthy();
    cluster.kill_all();
    lose_server_disk(&cluster);
    for node in [1, 4] {
        fs::remove_dir_all(cluster.node_folder(node).join("backup")).unwrap();
        cluster.start_node(node);
    }
    let refused = cluster.recover("user_database", &[1, 4]);
    assert_eq!(refused.status.code(), Some(7), "{refused:?}");
    assert!(!cluster.path("user_database/palk.db").exists());
    // The pieces are there, and give their files back without any catalog.
    let out = cluster.path("out");
    let folders = [1, 4].map(|node| cluster.node_folder(node));
    let rescued = palk().arg("rescue").args(folders).arg("--out").arg(&out).output().unwrap();
    assert!(rescued.status.success(), "{rescued:?}");
    assert!(fs::read(out.join("demo/up/a.bin")).unwrap() == noise(5, 300_000));
}
