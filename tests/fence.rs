//! Two servers on the same nodes: the second is refused, or takes over and the first ends.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::raw::Raw;
use support::{Cluster, Process, USER, noise, palk, until};

/// What a server with another folder is told on its command line.
fn server_command(cluster: &Cluster, folder: &Path, options: &[&str]) -> Command {
    let mut command = palk();
    command.args(["server", "--listen", "127.0.0.1:0"]).args(options).arg("--dir").arg(folder);
    for node in 1..=4 {
        command.args(["--node", cluster.node_address(node)]);
    }
    command
}

/// A copy of the server's folder as it is just now. Nothing is being stored.
fn copy_of_database(cluster: &Cluster) -> PathBuf {
    let copy = cluster.path("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["palk.db", "palk.db-wal"] {
        fs::copy(cluster.path("user_database").join(name), copy.join(name)).unwrap();
    }
    copy
}

fn node_toml(cluster: &Cluster, node: usize) -> String {
    fs::read_to_string(cluster.node_folder(node).join(".palk/node.toml")).unwrap()
}

/// Starts a server that is expected to end by itself; gives what it said.
fn refused(command: Command) -> String {
    let mut server = Process::start(command);
    assert_eq!(server.wait(), Some(9), "{}", server.log());
    server.says("error: ");
    server.log()
}

#[test]
fn a_copy_of_the_server_is_refused_while_the_server_runs() {
    let mut cluster = Cluster::start();
    let copy = copy_of_database(&cluster);
    let before: Vec<String> = (1..=4).map(|node| node_toml(&cluster, node)).collect();
    let said = refused(server_command(&cluster, &copy, &[]));
    assert!(
        said.contains("a server with a copy of this user database is at work: node "),
        "{said}"
    );
    assert!(said.contains("palk server --take-over"), "{said}");
    assert!(!said.contains("listening on"), "{said}");
    let after: Vec<String> = (1..=4).map(|node| node_toml(&cluster, node)).collect();
    assert_eq!(after, before);
    assert_eq!(cluster.store("a.bin", &noise(1, 1000)).unwrap(), 4, "the first goes on");
    assert!(cluster.server().is_running());
}

#[test]
fn a_server_that_is_taken_over_answers_nothing_more_and_ends() {
    let mut cluster = Cluster::start();
    let bytes = noise(1, 100_000);
    cluster.store("test/a.bin", &bytes).unwrap();
    let mut old_client = Raw::sign_in(&cluster);
    let copy = copy_of_database(&cluster);
    // The old server does not get to probe its nodes, so that it learns of it from its clients.
    cluster.server().signal("-STOP");
    let new = Process::start(server_command(&cluster, &copy, &["--take-over"]));
    new.says("Connected to all data servers.");
    // It deletes while it is not known yet that it must not.
    old_client.send(b"DEL\r\na.bin\r\ntest\r\n\r\n");
    cluster.server().signal("-CONT");
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut old_client.stream, &mut answer).unwrap_or_default();
    let answer = String::from_utf8(answer).unwrap();
    assert!(!answer.starts_with("S\r\n"), "{answer}");
    assert_eq!(cluster.server().wait(), Some(9));
    cluster.server().says("Use the other one");
    let said = cluster.server().log();
    assert!(said.contains("ERROR") && said.contains("another server has taken over (epoch 2)"));
    assert!(said.contains("error: another server has taken over these nodes"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("  Use the other one"), "{said}");

    cluster.use_server(new);
    assert!(cluster.retrieve("test/a.bin").unwrap() == bytes);
    assert_eq!(cluster.store("test/b.bin", &bytes).unwrap(), 4);
    Raw::sign_in(&cluster).delete("a.bin", "test").unwrap();
    for node in 1..=4 {
        assert!(node_toml(&cluster, node).contains("epoch = 2\n"));
        until("the deletion is known", || cluster.blocks(node, "test/a.bin").is_empty());
    }

    // The old one's database knows nothing of that, and is told so when it is used again.
    let said = refused(server_command(&cluster, &cluster.path("user_database"), &[]));
    assert!(said.contains("another server is at work: node "), "{said}");
}

#[test]
fn a_server_that_was_killed_starts_again_and_one_that_ended_at_once() {
    let mut cluster = Cluster::start();
    cluster.store("a.bin", &noise(1, 1000)).unwrap();
    cluster.kill_server();
    cluster.restart_server();
    assert_eq!(cluster.server().count("did not end in an orderly way"), 1);
    assert!(node_toml(&cluster, 1).contains("epoch = 2\n"));

    for signal in ["-TERM", "-INT"] {
        cluster.server().signal(signal);
        assert_eq!(cluster.server().wait(), Some(0));
        cluster.restart_server();
        assert_eq!(cluster.server().count("did not end in an orderly way"), 0, "{signal}");
    }
    assert!(node_toml(&cluster, 4).contains("epoch = 4\n"));
    assert!(cluster.retrieve("a.bin").unwrap() == noise(1, 1000));
}

#[test]
fn an_empty_database_never_touches_nodes_that_hold_a_cluster() {
    let mut cluster = Cluster::start();
    cluster.store("a.bin", &noise(1, 1000)).unwrap();
    until("it has its final name", || cluster.blocks(1, "a.bin").len() == 2);
    cluster.server().signal("-TERM");
    assert_eq!(cluster.server().wait(), Some(0));
    let before: Vec<String> = (1..=4).map(|node| node_toml(&cluster, node)).collect();
    for options in [&[][..], &["--take-over"]] {
        let said = refused(server_command(&cluster, &cluster.path("new"), options));
        let new = cluster.path("new");
        let command = format!("palk admin recover --dir {} --node ", new.display());
        assert!(said.contains(&command), "{said}");
        assert!(said.contains("nothing was changed"), "{said}");
    }
    let after: Vec<String> = (1..=4).map(|node| node_toml(&cluster, node)).collect();
    assert_eq!(after, before);
    cluster.restart_server();
    assert!(cluster.retrieve("a.bin").unwrap() == noise(1, 1000));
}

#[test]
fn every_change_needs_three_nodes_and_a_read_two() {
    let mut cluster = Cluster::start();
    for name in ["a.bin", "b.bin"] {
        cluster.store(name, &noise(1, 1000)).unwrap();
    }
    cluster.await_healthy();
    cluster.lose_node(3);
    assert!(cluster.client(&["del", "a.bin"]).status.success(), "three are enough");
    cluster.lose_node(4);
    let deleted = cluster.client(&["del", "b.bin"]);
    assert_eq!(deleted.status.code(), Some(6));
    let said = String::from_utf8(deleted.stderr).unwrap();
    assert!(said.contains("node 3") && said.contains("node 4"), "{said}");
    let mut signup = palk();
    signup.args(["client", "--server", cluster.address(), "--user", "other", "signup"]);
    let made = signup.arg("--password-file").arg(cluster.path("password")).output().unwrap();
    assert_eq!(made.status.code(), Some(6), "{made:?}");
    assert!(cluster.retrieve("b.bin").unwrap() == noise(1, 1000));

    // Started with two, it reads; but another server may have been registered with the others.
    cluster.kill_server();
    cluster.start_server();
    for node in [1, 2] {
        cluster.server().says(&format!("connected to data server {node}\n"));
    }
    assert!(cluster.retrieve("b.bin").unwrap() == noise(1, 1000));
    let deleted = cluster.client(&["del", "b.bin"]);
    assert_eq!(deleted.status.code(), Some(6));
    let said = String::from_utf8(deleted.stderr).unwrap();
    assert!(said.contains("node 3") && said.contains("node 4"), "{said}");
    cluster.return_node(4);
    assert!(cluster.client(&["del", "b.bin"]).status.success());
    let listed = cluster.client(&["inf"]);
    assert!(
        !String::from_utf8(listed.stdout).unwrap().contains(".bin"),
        "both of {USER}'s are gone"
    );
}

#[test]
fn a_server_that_was_taken_over_in_the_middle_of_changes_has_lost_none_that_it_answered() {
    let mut cluster = Cluster::start();
    cluster.store("a.bin", &noise(0, 1000)).unwrap();
    for round in 1..4 {
        let copy = cluster.path(&format!("copy{round}"));
        fs::create_dir(&copy).unwrap();
        let from = match round {
            1 => cluster.path("user_database"),
            _ => cluster.path(&format!("copy{}", round - 1)),
        };
        for name in ["palk.db", "palk.db-wal"] {
            fs::copy(from.join(name), copy.join(name)).unwrap();
        }
        // The copy knows nothing of this; the one that takes over hears of it from the nodes.
        cluster.store("a.bin", &noise(round, 1000)).unwrap();
        let new = Process::start(server_command(&cluster, &copy, &["--take-over"]));
        new.says("Connected to all data servers.");
        let mut old = cluster.use_server(new).unwrap();
        assert_eq!(old.wait(), Some(9));
        assert!(cluster.retrieve("a.bin").unwrap() == noise(round, 1000), "round {round}");
        assert_eq!(cluster.store("b.bin", &noise(round, 2000)).unwrap(), 4);
    }
}

/// A client whose sign-in is kept in the cluster's folder.
fn at_home(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = palk();
    command.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", cluster.path("home"));
    command.args(["client", "--server", cluster.address()]).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Where the sign-in for the server that is used now is kept.
fn kept(cluster: &Cluster) -> PathBuf {
    cluster.path("home/palk/tokens").join(cluster.address().replace(':', "%3A")).join(USER)
}

fn sign_in(cluster: &Cluster) -> Vec<u8> {
    let login = ["login", "--user", USER, "--password-file", "password"];
    assert!(at_home(cluster, &login).status().unwrap().success());
    fs::read(kept(cluster)).unwrap()
}

/// Keeps this sign-in for the server that is used now.
fn keep(cluster: &Cluster, token: &[u8]) {
    fs::create_dir_all(kept(cluster).parent().unwrap()).unwrap();
    fs::write(kept(cluster), token).unwrap();
    fs::set_permissions(kept(cluster), fs::Permissions::from_mode(0o600)).unwrap();
}

fn lists(cluster: &Cluster) -> Option<i32> {
    at_home(cluster, &["inf", "--no-input"]).status().unwrap().code()
}

#[test]
fn a_sign_in_that_was_given_up_stays_so_on_a_server_from_an_older_copy_that_takes_over() {
    let mut cluster = Cluster::start();
    let token = sign_in(&cluster);
    assert_eq!(lists(&cluster), Some(0));
    let copy = copy_of_database(&cluster);
    assert!(at_home(&cluster, &["logout"]).status().unwrap().success());
    let new = Process::start(server_command(&cluster, &copy, &["--take-over"]));
    new.says("this server leads the cluster");
    cluster.use_server(new);
    keep(&cluster, &token);
    assert_eq!(lists(&cluster), Some(5), "the token is worth nothing");
    sign_in(&cluster);
    assert_eq!(lists(&cluster), Some(0));
}

#[test]
fn a_server_that_was_taken_over_confirms_no_logout() {
    let mut cluster = Cluster::start();
    let token = sign_in(&cluster);
    let copy = copy_of_database(&cluster);
    // It does not learn of it from its probes, but from the client.
    cluster.server().signal("-STOP");
    let new = Process::start(server_command(&cluster, &copy, &["--take-over"]));
    new.says("this server leads the cluster");
    let logout = at_home(&cluster, &["logout"]).stderr(Stdio::piped()).spawn().unwrap();
    cluster.server().signal("-CONT");
    let logout = logout.wait_with_output().unwrap();
    assert!(!logout.status.success(), "{logout:?}");
    assert!(kept(&cluster).exists(), "it is still to be given up");
    cluster.use_server(new);
    keep(&cluster, &token);
    assert_eq!(lists(&cluster), Some(0));
    assert!(at_home(&cluster, &["logout"]).status().unwrap().success());
    keep(&cluster, &token);
    assert_eq!(lists(&cluster), Some(5));
}
