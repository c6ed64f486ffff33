//! A change is made when three nodes have its journal entry: what was answered outlives the server's
//! disk, and what too few nodes have is told as not known. A disk that is full stops no more than what
//! needs room.

mod support;

use std::fs;
use std::process::Output;

use support::{Cluster, PAIRS, PASSWORD, USER, noise, palk, until};

/// Runs a client command as somebody, with a home of their own.
fn as_user(cluster: &Cluster, user: &str, password: &str, arguments: &[&str]) -> Output {
    let file = cluster.path(&format!("password of {user}"));
    fs::write(&file, password).unwrap();
    let mut command = at_home(cluster, arguments);
    command.args(["--user", user, "--password-file"]).arg(file).output().unwrap()
}

/// A client command that signs in as it did before.
fn at_home(cluster: &Cluster, arguments: &[&str]) -> std::process::Command {
    let mut command = palk();
    command.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", cluster.path("home"));
    command.args(["client", "--server", cluster.address()]).args(arguments);
    command
}

fn admin(cluster: &Cluster, arguments: &[&str]) {
    let mut command = palk();
    command.args(["admin", "user"]).args(arguments);
    let output = command.arg("--dir").arg(cluster.path("user_database")).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

fn done(cluster: &Cluster, arguments: &[&str]) {
    let output = cluster.client(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

fn listed(cluster: &Cluster) -> String {
    String::from_utf8(cluster.client(&["inf"]).stdout).unwrap()
}

/// A change, what it is called, and how it shows.
type Kind = (&'static str, fn(&Cluster), fn(&Cluster) -> bool);

/// Everything is there that the changes need, in this order.
const KINDS: [Kind; 20] = [
    (
        "signup",
        |c| assert!(as_user(c, "ann", "first", &["signup"]).status.success()),
        |c| as_user(c, "ann", "first", &["inf"]).status.success(),
    ),
    (
        "small store",
        |c| assert!(c.store("small", &noise(1, 4_000)).is_ok()),
        |c| c.retrieve("small").is_ok_and(|read| read == noise(1, 4_000)),
    ),
    (
        "large store",
        |c| assert!(c.store("up/large", &noise(2, 3_000_000)).is_ok()),
        |c| c.retrieve("up/large").is_ok_and(|read| read == noise(2, 3_000_000)),
    ),
    (
        "small overwrite",
        |c| assert!(c.store("small", &noise(3, 300)).is_ok()),
        |c| c.retrieve("small").is_ok_and(|read| read == noise(3, 300)),
    ),
    (
        "large overwrite",
        |c| assert!(c.store("up/large", &noise(4, 1_200_000)).is_ok()),
        |c| c.retrieve("up/large").is_ok_and(|read| read == noise(4, 1_200_000)),
    ),
    (
        "file moved",
        |c| done(c, &["mv", "small", "up/tiny"]),
        |c| {
            c.retrieve("up/tiny").is_ok_and(|read| read == noise(3, 300))
                && c.retrieve("small").unwrap_err().status.code() == Some(4)
        },
    ),
    (
        "folder moved",
        |c| done(c, &["mv", "up", "down"]),
        |c| {
            let list = "/down\n/down/large\n/down/tiny\n";
            listed(c) == list && c.retrieve("down/large").is_ok()
        },
    ),
    ("file deleted", |c| done(c, &["del", "down/tiny"]), |c| listed(c) == "/down\n/down/large\n"),
    (
        "folder made",
        |c| done(c, &["mkdir", "down/deep"]),
        |c| listed(c) == "/down\n/down/deep\n/down/large\n",
    ),
    (
        "empty folder removed",
        |c| done(c, &["rmdir", "down/deep"]),
        |c| listed(c) == "/down\n/down/large\n",
    ),
    (
        "folder removed with all in it",
        |c| done(c, &["rmdir", "-r", "--yes", "down"]),
        |c| listed(c).is_empty(),
    ),
    (
        "sign-in kept",
        |c| {
            let file = c.path("password");
            let login = ["login", "--user", USER, "--password-file", file.to_str().unwrap()];
            assert!(at_home(c, &login).status().unwrap().success());
        },
        |c| at_home(c, &["inf"]).status().unwrap().success(),
    ),
    (
        "sign-in given up",
        |c| assert!(at_home(c, &["logout"]).status().unwrap().success()),
        |c| !at_home(c, &["inf", "--no-input"]).status().unwrap().success(),
    ),
    (
        "password changed",
        |c| {
            fs::write(c.path("new password"), "second").unwrap();
            let new = ["passwd", "--new-password-file", "new password"];
            assert!(as_user(c, "ann", "first", &new).status.success());
        },
        |c| {
            as_user(c, "ann", "second", &["inf"]).status.success()
                && as_user(c, "ann", "first", &["inf"]).status.code() == Some(5)
        },
    ),
    (
        "password set by the operator",
        |c| {
            fs::write(c.path("third"), "third").unwrap();
            admin(c, &["passwd", "ann", "--password-file", c.path("third").to_str().unwrap()]);
        },
        |c| as_user(c, "ann", "third", &["inf"]).status.success(),
    ),
    (
        "quota set",
        |c| admin(c, &["quota", "ann", "100B"]),
        |c| {
            fs::write(c.path("more"), [7; 101]).unwrap();
            as_user(c, "ann", "third", &["store", "more"]).status.code() == Some(8)
        },
    ),
    (
        "account disabled",
        |c| admin(c, &["disable", "ann"]),
        |c| as_user(c, "ann", "third", &["inf"]).status.code() == Some(5),
    ),
    (
        "account enabled",
        |c| admin(c, &["enable", "ann"]),
        |c| as_user(c, "ann", "third", &["inf"]).status.success(),
    ),
    (
        "account removed",
        |c| admin(c, &["remove", "ann", "--yes"]),
        |c| as_user(c, "ann", "third", &["inf"]).status.code() == Some(5),
    ),
    (
        "account made by the operator",
        |c| admin(c, &["add", "ann", "--password-file", c.path("third").to_str().unwrap()]),
        |c| {
            let list = as_user(c, "ann", "third", &["inf"]);
            list.status.success() && list.stdout.is_empty()
        },
    ),
];

#[test]
fn every_kind_of_change_survives_the_loss_of_the_servers_disk_at_its_answer() {
    let mut cluster = Cluster::start();
    for (round, (what, change, is_there)) in KINDS.into_iter().enumerate() {
        change(&cluster);
        // The whole house loses its power, and the server its disk.
        cluster.kill_all();
        fs::remove_dir_all(cluster.path("user_database")).unwrap();
        let pair = PAIRS[round % PAIRS.len()];
        pair.iter().for_each(|node| cluster.start_node(*node));
        let recovered = cluster.recover("user_database", &pair);
        assert!(recovered.status.success(), "{what}, from {pair:?}: {recovered:?}");
        // The server has another key now, which a person would be asked about.
        let _ = fs::remove_file(cluster.path("home/palk/known_servers"));
        cluster.start_server();
        for node in (1..=4).filter(|node| !pair.contains(node)) {
            cluster.start_node(node);
        }
        cluster.server().says("Connected to all data servers.");
        assert!(is_there(&cluster), "{what} is lost, recovered from {pair:?}");
    }
    assert_eq!(as_user(&cluster, USER, PASSWORD, &["inf"]).status.code(), Some(0));
    cluster.await_healthy();
}

#[test]
fn a_change_that_too_few_nodes_confirm_is_told_as_in_doubt_and_is_settled_later() {
    let mut cluster = Cluster::start();
    let (old, new) = (noise(1, 4_000), noise(2, 5_000));
    cluster.store("a", &old).unwrap();
    cluster.store("b", &old).unwrap();
    cluster.await_healthy();
    for (round, stopped) in [[3, 4], [1, 2]].into_iter().enumerate() {
        stopped.iter().for_each(|node| cluster.node(*node).signal("-STOP"));
        let told = match round {
            0 => cluster.store("a", &new).unwrap_err(),
            _ => cluster.client(&["del", "a"]),
        };
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(told.status.code(), Some(14), "{said}");
        assert!(said.contains("may or may not"), "{said}");
        assert!(stopped.iter().all(|node| said.contains(&format!("node {node}"))), "{said}");
        assert!(said.contains("palk client inf"), "how to look before repeating: {said}");
        // Until it is settled nothing else is changed, and everything can be read.
        let refused = cluster.client(&["mkdir", "other"]);
        assert_eq!(refused.status.code(), Some(6), "{refused:?}");
        let (code, told) = cluster.told_status();
        assert_eq!((code, &told["can_store"]), (20, &false.into()), "{told}");
        assert!(cluster.retrieve("b").unwrap() == old);
        match round {
            0 => assert!([&old, &new].contains(&&cluster.retrieve("a").unwrap())),
            _ => assert!(cluster.retrieve("a").is_ok_and(|read| read == new)),
        }

        stopped.iter().for_each(|node| cluster.node(*node).signal("-CONT"));
        let folder = format!("settled{round}");
        until("it is settled", || cluster.client(&["mkdir", &folder]).status.success());
        match round {
            0 => assert!(cluster.retrieve("a").unwrap() == new, "two nodes had it"),
            _ => assert_eq!(cluster.retrieve("a").unwrap_err().status.code(), Some(4)),
        }
        cluster.await_healthy();
    }
}

#[test]
fn with_its_own_disk_full_a_server_starts_reads_and_deletes_and_says_so() {
    let mut cluster = Cluster::start();
    let (small, large) = (noise(1, 4_000), noise(2, 1_200_000));
    cluster.store("small", &small).unwrap();
    cluster.store("up/large", &large).unwrap();
    fs::write(cluster.path("new"), "new").unwrap();
    assert!(fs::metadata(cluster.path("user_database/reserve")).unwrap().len() > 0);
    // No disk has room for such a reserve.
    cluster.stop_server();
    cluster.set_options(&["--reserve", "1PB"]);
    cluster.restart_server();
    assert!(!cluster.path("user_database/reserve").exists(), "it is in use");

    assert!(cluster.retrieve("small").unwrap() == small);
    assert!(cluster.retrieve("up/large").unwrap() == large);
    for refused in [&["store", "new"][..], &["mkdir", "folder"], &["login"]] {
        let refused = cluster.client(refused);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(8), "{said}");
        assert!(said.contains("the disk of the server's folder"), "{said}");
    }
    let nobody = as_user(&cluster, "ann", "first", &["signup"]);
    assert_eq!(nobody.status.code(), Some(8), "{nobody:?}");
    // A node may be catching up still.
    let only = serde_json::json!([{ "kind": "server-full" }]);
    until("nothing else is wrong", || cluster.told_status().1["troubles"] == only);
    let (code, told) = cluster.told_status();
    assert_eq!((code, &told["can_store"]), (20, &false.into()), "{told}");
    let said = cluster.status_text();
    assert!(said.contains("every file is readable; no file can be stored"), "{said}");
    assert!(said.contains("free room on it"), "{said}");
    done(&cluster, &["mv", "small", "tiny"]);
    done(&cluster, &["del", "tiny"]);
    done(&cluster, &["rmdir", "-r", "--yes", "up"]);
    assert!(listed(&cluster).is_empty());

    cluster.stop_server();
    cluster.set_options(&[]);
    cluster.restart_server();
    cluster.await_healthy();
    cluster.store("small", &small).unwrap();
}

#[test]
fn nodes_at_other_addresses_are_taken_if_they_are_the_ones() {
    let mut cluster = Cluster::prepare(&[]);
    (1..=4).for_each(|node| cluster.start_node(node));
    // A slip of the fingers at the first start.
    cluster.name_node_at(3, Some("127.0.0.1:1"));
    cluster.start_server();
    cluster.server().says("this server leads the cluster");
    assert!(cluster.client(&["signup"]).status.success());
    let large = noise(3, 900_000);
    assert_eq!(cluster.store("large", &large).unwrap(), 3);
    cluster.stop_server();
    cluster.name_node_at(3, None);
    cluster.restart_server();
    cluster.await_healthy();

    // The whole house moves.
    cluster.stop_server();
    (1..=4).for_each(|node| cluster.kill_node(node));
    let before = cluster.node_address(1).to_owned();
    cluster.move_nodes();
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.restart_server();
    assert!(cluster.server().count(&format!("no more at {before}")) == 1);
    cluster.await_healthy();
    assert!(cluster.retrieve("large").unwrap() == large);
    cluster.stop_server();

    // Another one is not taken, nor an empty one that would have to be filled.
    let refused = |cluster: &Cluster, node: usize, at: &str, why: &str| {
        let mut command = palk();
        command.args(["server", "--listen", "127.0.0.1:0", "--dir"]);
        command.arg(cluster.path("user_database"));
        for other in 1..=4 {
            command.args(["--node", if other == node { at } else { cluster.node_address(other) }]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(9), "{said}");
        assert!(said.contains(&format!("node {node} of this cluster was at ")), "{said}");
        assert!(said.contains(why), "{said}");
    };
    refused(&cluster, 1, cluster.node_address(2), "it is node 2, not node 1");
    refused(&cluster, 4, "127.0.0.1:1", "connection refused");
    let mut empty = palk();
    empty.args(["storage", "--id", "2", "--listen", "127.0.0.1:0", "--dir"]);
    empty.arg(cluster.path("empty"));
    let empty = support::Process::start(empty);
    let at = empty.address();
    refused(&cluster, 2, &at, &format!("palk admin replace 2 --to {at}"));
    cluster.restart_server();
    cluster.await_healthy();
}
