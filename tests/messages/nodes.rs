//! What is said when nodes are down, slow, full or damaged.

use std::fs;

use super::*;
use crate::support::{noise, until};

fn with_redactions(cluster: &Cluster) -> Transcript {
    let mut shell = Transcript::of(cluster);
    shell.redact_like("[SECONDS]", r"answered for (?<redacted>\d+s)");
    shell
}

/// Kills a node, and waits until the server has found its port closed.
fn lose_node(cluster: &mut Cluster, node: usize) {
    cluster.lose_node(node);
    until("nothing listens there any more", || {
        let words: Vec<_> = cluster.status_text().split_whitespace().map(str::to_owned).collect();
        words.join(" ").matches("(connection refused)").count() == node
    });
}

#[test]
fn nodes_that_are_down() {
    let mut cluster = Cluster::start();
    cluster.store("report", b"bytes").unwrap();
    cluster.await_healthy();
    let mut shell = with_redactions(&cluster);
    shell.line("palk status -x");
    lose_node(&mut cluster, 1);
    shell.note("node 1 is killed");
    shell.line("palk status -x | grep -A4 state:");
    shell.line("palk admin replace 5 --to 127.0.0.1:1");
    shell.line("palk admin replace 1 --to 127.0.0.1:1");
    lose_node(&mut cluster, 2);
    shell.note("node 2 is killed");
    for line in [
        "palk client store password",
        "palk client del report",
        "palk client mkdir new",
        "palk client signup --user ann",
        "palk client rtv report --to -",
        "palk admin backup",
    ] {
        shell.line(line);
    }
    lose_node(&mut cluster, 3);
    shell.note("node 3 is killed");
    shell.line("palk client rtv report --to -");
    shell.line("palk status -x | grep -A2 state:");
    cluster.stop_server();
    cluster.start_server();
    shell.note("the server is started again");
    shell.line("palk client inf");
    shell.is("nodes-down");
}

#[test]
fn a_change_of_which_it_is_not_known_whether_it_was_made() {
    let mut cluster = Cluster::start();
    cluster.await_healthy();
    let mut shell = with_redactions(&cluster);
    // Which of the server's questions was left without an answer depends on the moment.
    shell.redact_like("[LATE]", r"\((?<redacted>did not [a-z ]+ within \d+ s)\)");
    [3, 4].iter().for_each(|node| cluster.node(*node).signal("-STOP"));
    shell.note("nodes 3 and 4 hang");
    shell.line("palk client store password");
    shell.line("palk client mkdir other");
    [3, 4].iter().for_each(|node| cluster.node(*node).signal("-CONT"));
    shell.is("in-doubt");
}

#[test]
fn files_that_are_damaged_on_too_many_nodes() {
    let cluster = Cluster::start();
    cluster.store("large", &noise(5, 900_000)).unwrap();
    cluster.await_healthy();
    for node in [1, 2, 3] {
        let block = cluster.piece_of(node, "large").remove(0);
        let mut bytes = fs::read(&block).unwrap();
        bytes[17] ^= 1;
        fs::write(&block, bytes).unwrap();
    }
    // Which nodes are asked first is left to chance: until all of them are known to be damaged.
    until("all three are known", || {
        let refused = cluster.retrieve("large").unwrap_err();
        String::from_utf8_lossy(&refused.stderr).matches("(").count() == 3
    });
    let mut shell = with_redactions(&cluster);
    shell.line("palk client rtv large --to -");
    shell.line("palk rescue files_1 files_2 --out rescued");
    shell.is("damaged");
}

#[test]
fn disks_that_are_full() {
    let mut cluster = Cluster::prepare(&["--reserve", "1PB"]);
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.start_server();
    cluster.server().says("Connected to all data servers.");
    let mut shell = with_redactions(&cluster);
    shell.note("the disk of the server is full");
    shell.line("palk client signup");
    shell.is("full");
}
