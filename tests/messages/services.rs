//! Why a node, a server or a demo does not start, or ends.

use std::fs;

use super::*;
use crate::support::Process;

#[test]
fn a_node_that_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Transcript::in_folder(folder.path());
    let line = "exec palk storage --id 1 --listen 127.0.0.1:0 \"$0\"";
    let mut node = Process::start(shell.command(line));
    shell.redact("[NODE_ONE]", &node.address());
    shell.note("node 1 runs");
    shell.line("palk storage --id 1 --listen 127.0.0.1:0");
    shell.line(&format!("palk storage --id 2 --listen {}", node.address()));
    node.signal("-TERM");
    node.wait();
    shell.note("node 1 is stopped");
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for line in [
        "palk storage --id 2 --dir files_1",
        "palk storage --id 2 --dir file",
        "palk storage --id 2 --dir empty --expect-data",
        "palk storage --id 2 --listen 0.0.0.0:51132",
        "palk storage --id 2 --listen nobody.invalid:51132",
        "palk storage --id 2 --listen 192.0.2.1:51132 --key cluster.key",
        "palk keygen cluster.key > /dev/null 2>&1; palk keygen cluster.key",
        "palk storage --id 2 --listen 192.0.2.1:51132 --key cluster.key",
        "chmod 644 cluster.key; palk storage --id 2 --key cluster.key",
        "echo x > short.key; chmod 600 short.key; palk storage --id 2 --key short.key",
        "palk storage --id 2 --config none.toml",
        "echo 'colour = \"red\"' > node.toml; palk storage --config node.toml",
        "echo 'id = 5' > node.toml; palk storage --config node.toml",
        "palk storage --id 3 --print-unit",
        "sed -i s/node/mode/ files_1/.palk/node.toml; palk storage --id 1",
    ] {
        shell.line(line);
    }
    shell.is("node");
}

#[test]
fn a_server_that_does_not_start_or_ends() {
    let mut cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    cluster.await_healthy();
    let mut shell = Transcript::of(&cluster);
    shell.redact_like("[SOME_NODE]", "(?<redacted>node [1-4]) heard");
    shell.redact_like("[SECONDS]", r"heard of it (?<redacted>[0-9.]+) s ago");
    let nodes: Vec<_> =
        (1..=4).map(|node| format!("--node {}", cluster.node_address(node))).collect();
    let nodes = nodes.join(" ");
    shell.note("a server and its four nodes run");
    shell.line("palk server");
    shell.line(&format!("palk server --dir other --listen {} {nodes}", cluster.address()));
    shell.line(&format!("palk server --dir new --listen 127.0.0.1:0 {nodes}"));
    shell.line(&format!(
        "mkdir copy; cp user_database/palk.db* copy; palk server --dir copy --listen 127.0.0.1:0 {nodes}"
    ));
    shell.line(&format!("palk admin recover --dir new {nodes}"));
    let line =
        format!("exec palk server --dir copy --take-over --listen 127.0.0.1:0 {nodes} \"$0\"");
    let other = Process::start(shell.command(&line));
    other.says("Connected to all data servers.");
    cluster.server().wait();
    shell.note("another server has taken over; what this one says at its end:");
    let log = cluster.server().log();
    let at = log.find("\nerror: ").unwrap();
    shell.text.push_str(&format!("{}exit status: 9\n", &log[at + 1..]));
    drop(other);
    cluster.kill_all();
    shell.note("nothing runs");
    for line in [
        "palk server --node 127.0.0.1:1 --node 127.0.0.1:2",
        "palk server --dir password",
        "palk server --listen 0.0.0.0:17777",
        "palk server --key missing",
        "palk server --tls-cert missing --tls-key missing",
        "palk server --door share=0.0.0.0:30001,user=demo",
        "palk server --door fly=127.0.0.1:1,user=demo",
        "palk server --config none.toml",
        "echo 'listen = [' > palk.toml; palk server --config palk.toml",
        "palk server --dir missing --print-unit",
        "mkdir none; palk server --dir none --key missing --print-unit",
        "palk admin recover --dir new --node 127.0.0.1:1",
        "palk admin recover --dir new --node 127.0.0.1:1 --node - --node - --node -",
        "palk admin recover --dir user_database --node 127.0.0.1:1 --node - --node - --node -",
        "printf 'this is no database, but a text' > user_database/palk.db; palk server",
    ] {
        shell.line(line);
    }
    shell.is("server");
}

#[test]
fn a_demo_and_other_commands_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Transcript::in_folder(folder.path());
    shell.redact_like("[DEMO]", "(?<redacted>palk-demo-[0-9a-f]+)");
    fs::write(folder.path().join("file"), "").unwrap();
    for line in [
        "TMPDIR=missing palk demo",
        "palk demo --file missing",
        "TMPDIR=$PWD PATH=${PATH%%:*} palk demo --exec true > /dev/null 2> said; code=$?; tail -n 2 said >&2; exit $code",
        "palk man file/man",
        "palk rescue missing elsewhere --out rescued",
        "mkdir a b; palk rescue a b --out rescued",
        "palk rescue a b --out file",
        "palk client config set server ''",
        "palk client config show --profile office",
    ] {
        shell.line(line);
    }
    shell.is("machine");
}
