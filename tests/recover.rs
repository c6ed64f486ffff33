//! `palk admin recover`: the server's disk is lost, and real nodes give everything back.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use palk::core::wire::backup::{decode, read_frame};
use palk::core::wire::journal::{Change, Entry};
use serde_json::Value;
use support::{Cluster, PASSWORD, noise, palk, until};

const PAIRS: [[usize; 2]; 6] = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];

/// `palk admin recover --json` into a folder, from these nodes.
fn recover(cluster: &Cluster, folder: &str, from: &[usize]) -> Output {
    let mut command = palk();
    command.args(["admin", "recover", "--json", "--dir"]).arg(cluster.path(folder));
    for node in 1..=4 {
        let address = if from.contains(&node) { cluster.node_address(node) } else { "-" };
        command.args(["--node", address]);
    }
    command.output().unwrap()
}

/// The last line that it printed.
fn result(output: &Output) -> Value {
    let out = String::from_utf8_lossy(&output.stdout);
    let last = out.lines().last().unwrap_or_else(|| panic!("{output:?}"));
    serde_json::from_str(last).unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let at = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &at);
        } else {
            fs::copy(entry.path(), at).unwrap();
        }
    }
}

/// The newest journal of a node's backup.
fn journal(cluster: &Cluster, node: usize) -> Option<PathBuf> {
    let listed = fs::read_dir(cluster.node_folder(node).join("backup")).ok()?;
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with("journal-")).max_by_key(|name| {
        name.split('-').skip(1).map(|part| part.parse().unwrap()).collect::<Vec<u64>>()
    })?;
    Some(cluster.node_folder(node).join("backup").join(newest))
}

/// The entries of a journal and where each begins.
fn entries(bytes: &[u8]) -> Vec<(usize, Entry)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Ok(Some((content, length))) = read_frame(&bytes[at..]) {
        if at > 0 {
            found.push((at, decode(content).unwrap()));
        }
        at += length;
    }
    found
}

/// A cluster whose nodes have a first snapshot, so that what is done next comes into the journal.
fn start() -> Cluster {
    let cluster = Cluster::start();
    for node in 1..=4 {
        until("there is a journal", || journal(&cluster, node).is_some());
    }
    cluster
}

/// Waits until the last thing that every node's journal tells of is this.
fn await_backup(cluster: &Cluster, is_last: impl Fn(&Change) -> bool) {
    for node in 1..=4 {
        until("the journal is there", || {
            let bytes = journal(cluster, node).and_then(|path| fs::read(path).ok());
            let last = bytes.and_then(|bytes| entries(&bytes).pop());
            last.is_some_and(|(_, entry)| is_last(&Change::decode(&entry.record).unwrap()))
        });
    }
}

/// The number of the last entry in a node's backup.
fn backed_up_entries(cluster: &Cluster, node: usize) -> u64 {
    let Some(path) = journal(cluster, node) else { return 0 };
    let in_snapshot = path.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
    let bytes = fs::read(path).unwrap_or_default();
    entries(&bytes).pop().map_or(in_snapshot, |(_, entry)| entry.id)
}

fn stop(cluster: &mut Cluster) {
    cluster.kill_server();
    (1..=4).for_each(|node| cluster.kill_node(node));
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
    let mut cluster = start();
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
    for (path, content) in &files {
        assert_eq!(cluster.store(path, content).unwrap(), 4);
    }
    assert!(cluster.client(&["del", "gone/deleted.txt"]).status.success());
    await_backup(&cluster, |change| matches!(change, Change::Deleted { .. }));
    stop(&mut cluster);
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
        let recovered = recover(&cluster, "user_database", from);
        assert!(recovered.status.success(), "{what}: {recovered:?}");
        let told = result(&recovered);
        let (accounts, folders, kept) = (&told["accounts"], &told["folders"], &told["files"]);
        assert_eq!((accounts, folders, kept), (&2.into(), &3.into(), &4.into()), "{what}: {told}");
        let again = recover(&cluster, "user_database", from);
        assert_eq!(again.status.code(), Some(9), "it is not empty any more: {again:?}");
        check(&mut cluster, &files, &what);
        if from.len() == 4 {
            // It goes on as if nothing had been.
            cluster.server().says("Connected to all data servers.");
            // What is stored before the first snapshot of the new history is in that, and in no journal.
            for node in 1..=4 {
                until("the new history has begun there", || {
                    let newest = journal(&cluster, node)
                        .and_then(|path| path.file_name()?.to_str().map(str::to_owned));
                    newest.is_some_and(|name| name.starts_with("journal-1-"))
                });
            }
            assert_eq!(cluster.store("new.txt", b"new").unwrap(), 4);
            await_backup(
                &cluster,
                |change| matches!(change, Change::Stored { place, .. } if place.path.as_str() == "new.txt"),
            );
            let newest = journal(&cluster, 1).unwrap();
            let newest = newest.file_name().unwrap().to_str().unwrap();
            assert!(newest.starts_with("journal-1-"), "a history of its own: {newest}");
        }
        cluster.kill_server();
        from.iter().for_each(|&node| cluster.kill_node(node));
    }
}

#[test]
fn a_store_that_was_answered_in_the_last_moment_comes_back_from_its_blocks() {
    let mut cluster = start();
    cluster.store("a", b"the old content").unwrap();
    let content = noise(3, 70_000);
    assert_eq!(cluster.store("a", &content).unwrap(), 4);
    await_backup(
        &cluster,
        |change| matches!(change, Change::Stored { bytes, .. } if *bytes == 70_000),
    );
    stop(&mut cluster);
    lose_server_disk(&cluster);
    // As if the server's disk had gone before the entry could be sent.
    for node in 1..=4 {
        let path = journal(&cluster, node).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let (at, _) = entries(&bytes).pop().unwrap();
        bytes.truncate(at);
        fs::write(&path, bytes).unwrap();
    }
    (2..=3).for_each(|node| cluster.start_node(node));
    let recovered = recover(&cluster, "user_database", &[2, 3]);
    assert_eq!(recovered.status.code(), Some(0), "{recovered:?}");
    assert_eq!(result(&recovered)["from_blocks"], 1, "{recovered:?}");
    cluster.start_server();
    until("it is read", || cluster.retrieve("a").is_ok_and(|read| read == content));
}

#[test]
fn a_server_that_is_killed_right_after_an_answer_has_lost_nothing() {
    let mut cluster = Cluster::start();
    // The account is older than a second, whether it came into the snapshot or the journal.
    for node in 1..=4 {
        until("the account is backed up", || backed_up_entries(&cluster, node) >= 2);
    }
    let content = noise(4, 5_000);
    assert_eq!(cluster.store("up/last", &content).unwrap(), 4);
    cluster.kill_server();
    lose_server_disk(&cluster);
    // The nodes have just heard of a server, so this waits until they have not for a while.
    let recovered = recover(&cluster, "user_database", &[1, 2, 3, 4]);
    assert_eq!(recovered.status.code(), Some(0), "{recovered:?}");
    cluster.restart_server();
    assert_eq!(cluster.retrieve("up/last").unwrap(), content);
    for node in 1..=4 {
        until("it is committed", || cluster.has_version(node, "up/last", &content));
        until("nothing is staged", || cluster.staging_is_empty(node));
    }
}

#[test]
fn nothing_is_recovered_over_a_running_server_or_from_too_few_nodes() {
    let mut cluster = Cluster::start();
    let refused = |cluster: &Cluster, folder: &str, from: &[usize], code: i32, why: &str| {
        let output = recover(cluster, folder, from);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let message = result(&output)["message"].to_string();
        assert!(message.contains(why), "{message}");
        assert!(!cluster.path(folder).join("palk.db.recovering").exists());
    };
    refused(&cluster, "user_database", &[1, 2, 3, 4], 9, "another server uses the folder");
    refused(&cluster, "elsewhere", &[1, 2, 3, 4], 9, "a server is running");
    refused(&cluster, "elsewhere", &[3], 6, "at least 2 nodes");
    cluster.kill_server();
    refused(&cluster, "user_database", &[1, 2], 9, "holds 1 accounts and 0 files already");
    fs::write(cluster.path("elsewhere/palk.db"), "this is no catalog, but long enough").unwrap();
    refused(&cluster, "elsewhere", &[1, 2], 9, "cannot be read");
}

#[test]
fn without_any_backup_the_blocks_tell_whose_files_there_are_and_nobody_can_sign_in() {
    let mut cluster = start();
    let content = noise(5, 300_000);
    assert_eq!(cluster.store("up/a.bin", &content).unwrap(), 4);
    for node in 1..=4 {
        until("it is committed", || cluster.has_version(node, "up/a.bin", &content));
    }
    stop(&mut cluster);
    lose_server_disk(&cluster);
    for node in [1, 4] {
        let backup = cluster.node_folder(node).join("backup");
        fs::remove_dir_all(&backup).unwrap();
        cluster.start_node(node);
    }
    let recovered = recover(&cluster, "user_database", &[1, 4]);
    assert_eq!(recovered.status.code(), Some(0), "{recovered:?}");
    let told = result(&recovered);
    assert_eq!((&told["accounts"], &told["files"]), (&1.into(), &1.into()), "{told}");
    assert_eq!(told["without_password"], serde_json::json!(["demo"]), "{told}");
    assert_eq!(told["from_blocks"], 1, "{told}");
    cluster.start_server();
    let refused = cluster.client(&["inf"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    // The file is known, and whole: it is committed and rebuilt on the nodes that come back.
    for node in [2, 3] {
        fs::remove_dir_all(cluster.node_folder(node)).unwrap();
        cluster.start_node(node);
        until("it is rebuilt", || cluster.has_version(node, "up/a.bin", &content));
    }
}
