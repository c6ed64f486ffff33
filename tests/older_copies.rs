//! Folders that are put back from an older copy, that vanish, or come back empty, with real processes:
//! the server's, and the nodes'. What was answered is still there, and nothing counts as whole that is
//! not.

mod support;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use support::raw::Raw;
use support::{Cluster, PAIRS, copy_folder, noise, until};

/// One that travels in the journal and one that does not.
const SIZES: [usize; 2] = [4_000, 1_500_000];

/// Stores a small and a large file of this name.
fn store_both(cluster: &Cluster, name: &str, seed: u64) -> BTreeMap<String, Vec<u8>> {
    let files = SIZES.map(|size| (format!("up/{name}.{size}"), noise(seed, size)));
    for (path, bytes) in &files {
        cluster.store(path, bytes).unwrap();
    }
    files.into()
}

fn assert_readable(cluster: &Cluster, files: &BTreeMap<String, Vec<u8>>, what: &str) {
    for (path, bytes) in files {
        let read =
            cluster.retrieve(path).unwrap_or_else(|error| panic!("{path} {what}: {error:?}"));
        assert!(read == *bytes, "{path} {what}");
    }
}

/// Every file is read back from every pair of nodes.
fn assert_whole(cluster: &mut Cluster, files: &BTreeMap<String, Vec<u8>>) {
    for [first, second] in PAIRS {
        cluster.lose_node(first);
        cluster.lose_node(second);
        assert_readable(cluster, files, &format!("without nodes {first} and {second}"));
        cluster.return_node(first);
        cluster.return_node(second);
    }
}

fn spare(told: &Value) -> u64 {
    told["nodes_to_spare"].as_u64().unwrap_or_else(|| panic!("{told}"))
}

// ---- the server's ----

#[test]
fn a_server_whose_folder_is_an_older_copy_catches_up_and_loses_nothing() {
    // Once with journals that reach back to the copy, once with snapshots that have taken their place.
    for snapshots_between in [0, 3] {
        let mut cluster = Cluster::start();
        let mut files = store_both(&cluster, "before", 1);
        files.extend(store_both(&cluster, "replaced", 2));
        store_both(&cluster, "deleted", 3);
        cluster.stop_server();
        let (folder, older) = (cluster.path("user_database"), cluster.path("older"));
        copy_folder(&folder, &older);
        cluster.restart_server();
        for round in 0..4 {
            files.extend(store_both(&cluster, "replaced", 10 + round));
            if round < snapshots_between {
                let mut backup = support::palk();
                backup.args(["admin", "backup", "--dir"]).arg(&folder);
                assert!(backup.status().unwrap().success());
            }
        }
        files.extend(store_both(&cluster, "later", 4));
        for size in SIZES {
            let path = format!("up/deleted.{size}");
            assert!(cluster.client(&["del", &path]).status.success());
        }
        for (from, to) in [("up/before.4000", "moved"), ("up/later.1500000", "moved too")] {
            assert!(cluster.client(&["mv", from, to]).status.success());
            let bytes = files.remove(from).unwrap();
            files.insert(to.into(), bytes);
        }
        let listed = Raw::sign_in(&cluster).list();

        cluster.stop_server();
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(&older, &folder).unwrap();
        cluster.restart_server();
        assert_eq!(Raw::sign_in(&cluster).list(), listed, "{snapshots_between} snapshots");
        assert_readable(&cluster, &files, "after the start");
        // What is stored now is not thrown away by anybody.
        files.extend(store_both(&cluster, "replaced", 20));
        files.extend(store_both(&cluster, "after", 5));
        cluster.await_healthy();
        let mut scrub = support::palk();
        scrub.args(["admin", "scrub", "--grace", "0s", "--dir"]).arg(&folder);
        let scrubbed = scrub.output().unwrap();
        assert!(scrubbed.status.success(), "{scrubbed:?}");
        let said = String::from_utf8_lossy(&scrubbed.stderr).into_owned();
        assert!(said.contains(": 0 wrong, 0 missing"), "{said}");
        assert_whole(&mut cluster, &files);
    }
}

#[test]
fn an_older_server_that_hears_two_nodes_reads_what_was_stored_and_changes_nothing() {
    let mut cluster = Cluster::start();
    store_both(&cluster, "a", 1);
    cluster.stop_server();
    let (folder, older) = (cluster.path("user_database"), cluster.path("older"));
    copy_folder(&folder, &older);
    cluster.restart_server();
    let files = store_both(&cluster, "a", 2);
    cluster.kill_all();
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&older, &folder).unwrap();

    cluster.start_node(1);
    cluster.start_server();
    cluster.server().says("connected to data server 1\n");
    let refused = cluster.retrieve("up/a.4000").unwrap_err();
    assert_eq!(refused.status.code(), Some(6), "one journal may be an old one: {refused:?}");
    cluster.start_node(4);
    until("it reads", || cluster.retrieve("up/a.4000").is_ok());
    assert_readable(&cluster, &files, "from two nodes");
    let refused = cluster.client(&["del", "up/a.4000"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(6), "{said}");
    assert!(said.contains("node 2") && said.contains("node 3"), "{said}");
    cluster.start_node(2);
    until("it changes", || cluster.client(&["del", "up/a.4000"]).status.success());
}

/// The server's folder is put back to a copy that is two starts older, while no process runs.
fn put_back_two_starts(cluster: &mut Cluster) -> BTreeMap<String, Vec<u8>> {
    store_both(cluster, "a", 1);
    cluster.stop_server();
    let (folder, older) = (cluster.path("user_database"), cluster.path("older"));
    copy_folder(&folder, &older);
    cluster.restart_server();
    cluster.stop_server();
    cluster.restart_server();
    let files = store_both(cluster, "a", 2);
    cluster.kill_all();
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&older, &folder).unwrap();
    files
}

#[test]
fn an_older_server_that_was_there_before_its_nodes_goes_on_with_a_higher_epoch() {
    let mut cluster = Cluster::start();
    let mut files = put_back_two_starts(&mut cluster);
    // It can ask nobody, and so takes an epoch that the nodes have seen.
    cluster.start_server();
    (1..=4).for_each(|node| cluster.start_node(node));
    until("it leads", || cluster.client(&["mkdir", "-p", "new"]).status.success());
    cluster.server().says("the nodes know a later run with this user database, which has ended");
    assert_readable(&cluster, &files, "after the start");
    files.extend(store_both(&cluster, "b", 3));
    cluster.await_healthy();
    assert_whole(&mut cluster, &files);
    assert!(cluster.server().is_running());
    // What it has taken is remembered: the next start need not go higher.
    cluster.stop_server();
    cluster.restart_server();
    assert_readable(&cluster, &files, "after another start");
    assert_eq!(cluster.server().count("goes on with epoch"), 0);
}

#[test]
fn an_older_copy_of_a_server_that_runs_ends_and_the_one_that_runs_goes_on() {
    let mut cluster = Cluster::start();
    store_both(&cluster, "a", 1);
    cluster.stop_server();
    let copy = cluster.path("copy");
    copy_folder(&cluster.path("user_database"), &copy);
    cluster.restart_server();
    cluster.stop_server();
    cluster.restart_server();
    let files = store_both(&cluster, "a", 2);
    // With no node to ask, the copy starts; then both of them meet at the nodes.
    (1..=4).for_each(|node| cluster.lose_node(node));
    let mut command = support::palk();
    command.args(["server", "--listen", "127.0.0.1:0", "--dir"]).arg(&copy);
    let mut second = support::Process::start(command);
    second.says("still trying to connect to data server 4");
    (1..=4).for_each(|node| cluster.return_node(node));
    assert_eq!(second.wait(), Some(9), "{}", second.log());
    second.says("another server has taken over");
    assert_readable(&cluster, &files, "from the one that runs");
    cluster.store("up/more", b"it goes on").unwrap();
    assert!(cluster.server().is_running());
}

// ---- a node's ----

#[test]
fn a_node_whose_folder_vanishes_is_named_and_is_refilled_when_it_is_back() {
    let mut cluster = Cluster::start();
    let mut files = store_both(&cluster, "before", 1);
    cluster.await_healthy();
    assert_eq!(spare(&cluster.told_status().1), 2);
    let (folder, gone) = (cluster.node_folder(2), cluster.path("gone"));
    fs::rename(&folder, &gone).unwrap();
    // Once with nothing in its place, once with an empty mount point.
    for is_empty_there in [false, true] {
        if is_empty_there {
            fs::create_dir(&folder).unwrap();
        }
        until("it is named", || {
            let (code, told) = cluster.told_status();
            let named = told["troubles"].as_array().unwrap();
            code == 20 && spare(&told) == 1 && named.iter().any(|trouble| trouble["node"] == 2)
        });
        let said = cluster.status_text();
        assert!(said.contains("node 2") && said.contains("folder"), "{said}");
        assert!(said.contains("action: "), "{said}");
    }
    files.extend(store_both(&cluster, "meanwhile", 2));
    cluster.lose_node(3);
    assert_readable(&cluster, &files, "from nodes 1 and 4");
    cluster.return_node(3);

    fs::remove_dir(&folder).unwrap();
    fs::rename(&gone, &folder).unwrap();
    cluster.await_healthy();
    assert_eq!(spare(&cluster.told_status().1), 2);
    for (path, bytes) in &files {
        until("it has what it missed", || cluster.has_version(2, path, bytes));
    }
    assert_whole(&mut cluster, &files);
}

#[test]
fn a_node_with_an_older_copy_of_its_folder_is_found_out_at_the_hello_and_refilled() {
    let mut cluster = Cluster::start();
    let mut files = store_both(&cluster, "before", 1);
    store_both(&cluster, "replaced", 2);
    cluster.await_healthy();
    cluster.lose_node(3);
    copy_folder(&cluster.node_folder(3), &cluster.path("older"));
    cluster.return_node(3);
    files.extend(store_both(&cluster, "replaced", 3));
    files.extend(store_both(&cluster, "later", 4));
    cluster.await_healthy();
    let versions: Vec<String> = files.keys().map(|path| cluster.version(path)).collect();
    let has_all =
        |cluster: &Cluster| versions.iter().all(|version| cluster.piece(3, version).len() == 2);
    until("it has all", || has_all(&cluster));

    cluster.lose_node(3);
    fs::remove_dir_all(cluster.node_folder(3)).unwrap();
    fs::rename(cluster.path("older"), cluster.node_folder(3)).unwrap();
    cluster.return_node(3);
    // It counts as whole when it is, and not before; small files' pieces may still be in its journal.
    cluster.await_healthy();
    for (path, version) in files.keys().zip(&versions) {
        assert!(path.ends_with(".4000") || cluster.piece(3, version).len() == 2, "called whole");
    }
    cluster.lose_node(1);
    cluster.lose_node(2);
    assert_readable(&cluster, &files, "from nodes 3 and 4");
    cluster.return_node(1);
    cluster.return_node(2);
    assert_whole(&mut cluster, &files);
}

#[test]
fn an_emptied_node_is_found_out_and_refilled_even_if_the_server_is_killed_meanwhile() {
    let mut cluster = Cluster::start();
    let mut files = BTreeMap::new();
    for round in 0..6 {
        files.extend(store_both(&cluster, &format!("f{round}"), round));
    }
    cluster.await_healthy();
    let versions: Vec<String> = files.keys().map(|path| cluster.version(path)).collect();
    for moment in 0..4 {
        cluster.lose_node(3);
        fs::remove_dir_all(cluster.node_folder(3)).unwrap();
        match moment {
            // The server has not heard of it when it is killed.
            0 => {
                cluster.kill_server();
                cluster.start_node(3);
            }
            // It has just said hello.
            1 => {
                cluster.return_node(3);
                cluster.kill_server();
            }
            // Some of its pieces are back, or all of them.
            _ => {
                cluster.return_node(3);
                let some = if moment == 2 { 1 } else { versions.len() };
                until("pieces are rebuilt", || cluster.block_files(3) >= some);
                cluster.kill_server();
            }
        }
        cluster.restart_server();
        cluster.await_healthy();
        for (path, version) in files.keys().zip(&versions) {
            let is_there = path.ends_with(".4000") || cluster.piece(3, version).len() == 2;
            assert!(is_there, "called whole, killed at {moment}");
        }
        cluster.lose_node(1);
        cluster.lose_node(4);
        assert_readable(&cluster, &files, &format!("from nodes 2 and 3, killed at {moment}"));
        cluster.return_node(1);
        cluster.return_node(4);
    }
}
