//! The verbs of `palk admin` over real processes: what they mend, what they say, their exit statuses.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use palk::core::code::checksum;
use palk::core::code::layout::Layout;
use palk::core::wire::trailer::Trailer;
use serde_json::Value;
use support::{Cluster, HANG, Process, noise, palk, until};

fn admin_command(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = palk();
    command.arg("admin").args(arguments).arg("--dir").arg(cluster.path("user_database"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end; one that hangs is killed, and has no exit status then.
fn finished(command: Command) -> Output {
    assert_cmd::Command::from_std(command).timeout(HANG).output().unwrap()
}

/// The exit status and what was said, for people.
fn admin(cluster: &Cluster, arguments: &[&str]) -> (i32, String) {
    let output = finished(admin_command(cluster, arguments));
    let Output { status, stdout, stderr } = output;
    let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (status.code().unwrap(), text)
}

/// The exit status, the items, and the last line; every line has its version and its type.
fn admin_json(cluster: &Cluster, arguments: &[&str]) -> (i32, Vec<Value>, Value) {
    let mut command = admin_command(cluster, arguments);
    command.arg("--json");
    let Output { status, stdout, .. } = finished(command);
    let text = String::from_utf8(stdout).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["v"] == 1), "{text}");
    let last = lines.pop().unwrap();
    assert!(last["type"] == "result" || last["type"] == "error", "{text}");
    assert_eq!(last["code"].as_i64(), status.code().map(i64::from), "{text}");
    lines.retain(|line| line["type"] != "progress");
    assert!(lines.iter().all(|line| line["type"] == "item"), "{text}");
    (status.code().unwrap(), lines, last)
}

fn status(cluster: &Cluster) -> Value {
    admin_json(cluster, &["status"]).2
}

/// Stores a file and waits until all nodes have it under its final names.
fn settled(cluster: &Cluster, path: &str, bytes: &[u8]) {
    assert_eq!(cluster.store(path, bytes).unwrap(), 4);
    for node in 1..=4 {
        until("it is committed", || cluster.has_version(node, path, bytes));
    }
    until("nothing is owed", || status(cluster)["owed"]["pieces"] == 0);
}

/// A node that is started with this folder.
fn spare(id: &str, folder: &Path) -> (Process, String) {
    let mut command = palk();
    command.args(["storage", "--id", id, "--listen", "127.0.0.1:0", "--dir"]).arg(folder);
    let process = Process::start(command);
    let address = process.address();
    (process, address)
}

/// What and why on one line, what to do on the next.
fn is_told(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    matches!(lines.as_slice(), [.., what, hint]
        if what.starts_with("error: ") && hint.starts_with("  ") && !what.contains("os error"))
}

#[test]
fn a_scrub_mends_what_was_deleted_and_what_was_flipped() {
    let cluster = Cluster::start();
    settled(&cluster, "test/small.txt", &noise(1, 353));
    settled(&cluster, "large.bin", &noise(2, 3_000_000));
    let (gone, rotten) = (
        cluster.piece_of(3, "test/small.txt").remove(0),
        cluster.piece_of(2, "large.bin").remove(1),
    );
    let before = [&gone, &rotten].map(|path| fs::read(path).unwrap());
    fs::remove_file(&gone).unwrap();
    let mut bytes = before[1].clone();
    bytes[600_000] ^= 4;
    fs::write(&rotten, bytes).unwrap();

    let (code, items, result) = admin_json(&cluster, &["scrub"]);
    assert_eq!(code, 0, "{result}");
    let mut found: Vec<String> =
        items.iter().map(|i| format!("{} {} {}", i["what"], i["node"], i["path"])).collect();
    found.sort();
    let expected = [
        "\"missing\" 3 \"/demo/test/small.txt\"".to_owned(),
        "\"wrong\" 2 \"/demo/large.bin\"".to_owned(),
    ];
    assert_eq!(found, expected);
    let scrub = &result["scrub"];
    assert_eq!((&result["joined"], &scrub["phase"]), (&false.into(), &"done".into()), "{result}");
    for (field, value) in [("files", 2), ("wrong", 1), ("missing", 1), ("repaired", 2), ("owed", 0)]
    {
        assert_eq!(scrub[field], value, "{field}: {result}");
    }
    let after = [&gone, &rotten].map(|path| fs::read(path).unwrap());
    assert!(after == before, "the blocks are what they were, byte for byte");

    let (code, said) = admin(&cluster, &["scrub"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Scrubbed 2 files, "), "{said}");
    assert!(said.contains(": 0 wrong, 0 missing; 0 repaired\n"), "{said}");
    let told = status(&cluster);
    assert_eq!(told["state"], "healthy", "{told}");
    assert_eq!(told["upkeep"]["scrub"]["files"], 2, "{told}");
    assert!(told["upkeep"]["healed"]["pieces"].as_u64().unwrap() >= 2, "{told}");
    until("the next one is due in a week", || {
        let next = status(&cluster)["upkeep"]["next_scrub_ms"].as_u64();
        next.is_some_and(|next| next > 6 * 24 * 3_600_000)
    });
    let (_, text) = admin(&cluster, &["status"]);
    assert!(text.contains("scrub: the last ended ") && text.contains("healed: "), "{text}");
    assert!(text.contains("backup: up to date on "), "{text}");
}

/// Changes bytes of a block's first unit, and the checksums with them.
fn forge(path: &Path, file_bytes: u64) {
    let block = fs::read(path).unwrap();
    let layout = Layout::new(file_bytes);
    let (mut bytes, trailer) = {
        let at = usize::try_from(layout.block_bytes()).unwrap();
        (block[..at].to_vec(), Trailer::decode(&block[at..]).unwrap())
    };
    bytes[7] ^= 0x55;
    let unit = bytes.len().min(usize::try_from(trailer.header.unit_bytes_max).unwrap());
    let mut forged = trailer.clone();
    forged.checksums[0] = checksum::unit(&bytes[..unit]);
    assert_ne!(forged, trailer);
    bytes.extend(forged.encode());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_forgery_with_fitting_checksums_is_found_by_witness_and_mended() {
    let cluster = Cluster::start();
    let file = noise(3, 2_500_000);
    settled(&cluster, "a.bin", &file);
    for node in [1, 4] {
        let path = cluster.piece_of(node, "a.bin").remove(0);
        let before = fs::read(&path).unwrap();
        forge(&path, file.len() as u64);
        let (code, items, result) = admin_json(&cluster, &["scrub", "--witness"]);
        assert_eq!((code, items.len()), (0, 1), "{items:?} {result}");
        let found = (&items[0]["what"], &items[0]["node"], &items[0]["path"]);
        assert_eq!(found, (&"wrong".into(), &node.into(), &"/demo/a.bin".into()));
        assert_eq!(
            (&result["scrub"]["wrong"], &result["scrub"]["witness"]),
            (&1.into(), &true.into())
        );
        assert!(fs::read(&path).unwrap() == before, "it is what it was, byte for byte");
    }
    assert!(cluster.retrieve("a.bin").unwrap() == file);
}

#[test]
fn a_stray_is_noted_and_removed_when_its_grace_is_over() {
    let cluster = Cluster::start();
    settled(&cluster, "a.bin", &noise(4, 5_000));
    // The piece of a version that the catalog does not know.
    let folder = cluster.node_folder(1).join(".palk/pieces/ab");
    fs::create_dir_all(&folder).unwrap();
    let strays: Vec<PathBuf> = cluster
        .piece_of(1, "a.bin")
        .iter()
        .zip(["A1", "A2"])
        .map(|(piece, block)| {
            let stray = folder.join(format!("{}_{block}", "ab".repeat(16)));
            fs::copy(piece, &stray).unwrap();
            stray
        })
        .collect();
    let (code, items, result) = admin_json(&cluster, &["scrub"]);
    assert_eq!((code, items.len()), (0, 0), "{result}");
    assert_eq!((&result["scrub"]["stray"], &result["scrub"]["removed"]), (&1.into(), &0.into()));
    assert!(strays.iter().all(|path| path.exists()));
    let (code, said) = admin(&cluster, &["scrub", "--grace", "0s"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("\n  1 stray removed"), "{said}");
    assert!(!strays.iter().any(|path| path.exists()));
    assert_eq!(cluster.blocks(1, "a.bin").len(), 2);
}

#[test]
fn a_scrub_goes_on_without_whoever_asked_can_be_joined_and_be_stopped() {
    // At this rate it takes more than a minute; it is stopped long before.
    let cluster = Cluster::start_with(&["--scrub-rate", "1MB"]);
    settled(&cluster, "a.bin", &noise(5, 50_000_000));
    let (code, said) = admin(&cluster, &["scrub", "--stop"]);
    assert_eq!((code, said.as_str()), (0, "No scrub is running, and there has never been one.\n"));

    let (code, _, result) = admin_json(&cluster, &["scrub", "--detach"]);
    assert_eq!((code, &result["joined"]), (0, &false.into()), "{result}");
    until("it reads", || status(&cluster)["upkeep"]["scrub"]["phase"] == "files");

    let mut follower = admin_command(&cluster, &["scrub"]).spawn().unwrap();
    let pid = follower.id().to_string();
    // Its first line is there before it is interrupted.
    let mut reader = std::io::BufReader::new(follower.stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut reader, &mut first).unwrap();
    assert!(first.starts_with("A scrub is running already; following it: 1 file, "), "{first}");
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(follower.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut reader, &mut rest).unwrap();
    assert!(rest.contains("the scrub goes on in the server"), "{rest}");
    assert_eq!(status(&cluster)["upkeep"]["scrub"]["phase"], "files");

    for less in [&["scrub", "--witness"][..], &["scrub", "--grace", "0s"]] {
        let (code, said) = admin(&cluster, less);
        assert_eq!(code, 9, "{said}");
        assert!(is_told(&said) && said.contains("palk admin scrub --stop"), "{said}");
    }
    let mut command = admin_command(&cluster, &["scrub", "--json"]);
    let mut follower = command.spawn().unwrap();
    let mut reader = std::io::BufReader::new(follower.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let far = (&line["type"], &line["joined"], &line["scrub"]["phase"]);
    assert_eq!(far, (&"progress".into(), &true.into(), &"files".into()));
    let (code, said) = admin(&cluster, &["scrub", "--stop"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("Stopped after "), "{said}");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut reader, &mut rest).unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(20), "{rest}");
    let last: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(last["scrub"]["phase"], "stopped", "{last}");
    assert_eq!(admin(&cluster, &["scrub", "--stop"]), (0, "No scrub is running.\n".to_owned()));
}

#[test]
fn a_node_that_is_away_is_named_by_scrub_heal_and_backup() {
    let mut cluster = Cluster::start();
    settled(&cluster, "old.bin", &noise(6, 10_000));
    let (code, said) = admin(&cluster, &["heal"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("No node lacks a piece.\n"), "{said}");
    let (code, said) = admin(&cluster, &["backup"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("The user database is backed up on nodes 1, 2, 3 and 4.\n"), "{said}");

    cluster.lose_node(4);
    assert_eq!(cluster.store("new.bin", &noise(7, 300_000)).unwrap(), 3);
    let (code, said) = admin(&cluster, &["heal"]);
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("node 4 is away; it lacks 1 piece, 150.0 kB"), "{said}");
    assert!(said.contains("(connection refused)\n  start it:  palk storage --id 4"), "{said}");
    let (code, _, result) = admin_json(&cluster, &["heal"]);
    assert_eq!((code, &result["owed"]["pieces"]), (20, &1.into()), "{result}");
    let away = &result["remaining"][0];
    assert_eq!((&away["node"], &away["up"]), (&4.into(), &false.into()), "{result}");
    assert_eq!(away["why"], "connection refused", "{result}");

    let (code, _, result) = admin_json(&cluster, &["backup"]);
    assert_eq!((code, &result["nodes"]), (20, &serde_json::json!([1, 2, 3])), "{result}");
    assert_eq!(result["without"][0]["node"], 4, "{result}");
    assert_eq!(result["without"][0]["why"], "connection refused", "{result}");
    let (code, said) = admin(&cluster, &["scrub"]);
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("not all of node 4 could be checked"), "{said}");
    let block = cluster.piece_of(1, "new.bin").remove(0);
    let again = fs::read(&block).unwrap();
    fs::write(&block, &again[1..]).unwrap();

    cluster.return_node(4);
    let (code, _, result) = admin_json(&cluster, &["heal"]);
    assert_eq!(code, 0, "{result}");
    assert_eq!(result["owed"]["pieces"], 0, "{result}");
    let (code, said) = admin(&cluster, &["scrub"]);
    assert_eq!(code, 0, "{said}");
    assert!(fs::read(&block).unwrap() == again);
    assert_eq!(admin(&cluster, &["backup"]).0, 0);
    assert_eq!(status(&cluster)["state"], "healthy");
}

#[test]
fn a_node_is_replaced_and_every_file_can_be_read_with_it() {
    let mut cluster = Cluster::start();
    let files = [("test/small.txt", 353), ("large.bin", 5_000_000), ("empty", 0)];
    for (path, size) in files {
        settled(&cluster, path, &noise(8, size));
    }
    let (_wrong, other) = spare("3", &cluster.path("wrong"));
    let (mut new, address) = spare("2", &cluster.path("spare"));
    let used = cluster.node_address(2).to_owned();
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for (to, code, why) in
        [(&other, 9, "is node 3, not node 2"), (&nowhere, 6, "connection refused")]
    {
        let (got, said) = admin(&cluster, &["replace", "2", "--to", to]);
        assert_eq!(got, code, "{said}");
        assert!(is_told(&said) && said.contains(why), "{said}");
        assert!(said.contains("palk storage --id 2 "), "{said}");
    }
    assert_eq!(status(&cluster)["nodes"][1]["address"], used);

    cluster.lose_node(2);
    let (code, said) = admin(&cluster, &["replace", "2", "--to", &address]);
    assert_eq!(code, 0, "{said}");
    let told =
        "Node 2 is replaced: 3 pieces, 2.5 MB, every one read back from its disk and matched.";
    assert!(
        said.contains(&format!("Node 2 is being replaced by the one at {address}: 3 pieces\n"))
    );
    assert!(said.ends_with(&format!("{told}\n")), "{said}");
    let told = status(&cluster);
    assert_eq!(
        (&told["state"], &told["nodes"][1]["address"]),
        (&"healthy".into(), &address.into())
    );
    assert_eq!(told["upkeep"]["replacing"], serde_json::json!([]), "{told}");

    for with in [1, 3, 4] {
        let others: Vec<usize> = [1, 3, 4].into_iter().filter(|node| *node != with).collect();
        others.iter().for_each(|node| cluster.lose_node(*node));
        for (path, size) in files {
            assert!(cluster.retrieve(path).unwrap() == noise(8, size), "{path} from 2 and {with}");
        }
        others.iter().for_each(|node| cluster.return_node(*node));
    }
    assert!(new.is_running());
}

#[test]
fn a_file_that_three_nodes_have_damaged_is_told_as_damaged_until_one_has_it_back() {
    let cluster = Cluster::start();
    let bytes = noise(5, 900_000);
    settled(&cluster, "large.bin", &bytes);
    settled(&cluster, "fine.bin", &noise(6, 300_000));
    // The first stripe on three nodes, all of which are up.
    let blocks = [1, 2, 3].map(|node| cluster.piece_of(node, "large.bin").remove(0));
    let before = fs::read(&blocks[0]).unwrap();
    for block in &blocks {
        let mut bytes = fs::read(block).unwrap();
        bytes[17] ^= 1;
        fs::write(block, bytes).unwrap();
    }
    for _ in 0..2 {
        let refused = cluster.retrieve("large.bin").unwrap_err();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(7), "{said}");
        assert!(said.contains("2 nodes with sound blocks are needed to read it"), "{said}");
        // What the read found is noted, and stays so.
        until("it is noted", || cluster.status().code() == Some(21));
        let told = status(&cluster);
        assert_eq!(told["troubles"][0], serde_json::json!({ "kind": "damaged", "files": 1 }));
        assert_eq!(told["unreadable"], serde_json::json!(["/demo/large.bin"]), "{told}");
    }
    assert!(cluster.retrieve("fine.bin").unwrap() == noise(6, 300_000));
    fs::write(&blocks[0], before).unwrap();
    let (code, said) = admin(&cluster, &["heal"]);
    assert_eq!(code, 0, "{said}");
    cluster.await_healthy();
    assert!(cluster.retrieve("large.bin").unwrap() == bytes);
}

#[test]
fn a_node_is_replaced_at_its_own_address_and_one_that_moved_is_told_of() {
    let mut cluster = Cluster::start();
    settled(&cluster, "large.bin", &noise(8, 3_000_000));
    cluster.lose_node(2);
    fs::remove_dir_all(cluster.node_folder(2)).unwrap();
    cluster.start_node(2);
    let used = cluster.node_address(2).to_owned();
    let (code, said) = admin(&cluster, &["replace", "2", "--to", &used]);
    assert_eq!(code, 0, "{said}");
    let proved =
        "Node 2 is replaced: 1 piece, 1.5 MB, every one read back from its disk and matched.";
    assert!(said.contains(proved), "{said}");
    until("it has its name", || cluster.has_version(2, "large.bin", &noise(8, 3_000_000)));

    // The same folder at another address, first as a copy of one that is up.
    fs::create_dir(cluster.path("copy")).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", cluster.node_folder(2).display()))
        .arg(cluster.path("copy"))
        .status();
    assert!(copied.unwrap().success());
    let (_copy, address) = spare("2", &cluster.path("copy"));
    let (code, said) = admin(&cluster, &["replace", "2", "--to", &address]);
    assert_eq!(code, 9, "{said}");
    assert!(said.contains(&format!("node 2 of this cluster is up at {used}")), "{said}");
    cluster.lose_node(2);
    let (code, said) = admin(&cluster, &["replace", "2", "--to", &address]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(status(&cluster)["nodes"][1]["address"], address);
    cluster.await_healthy();
}

#[test]
fn a_replacement_that_would_lose_files_is_refused_and_never_called_done() {
    let mut cluster = Cluster::start();
    // Larger than what would come back with the journal.
    settled(&cluster, "whole.bin", &noise(9, 300_000));
    cluster.lose_node(4);
    assert_eq!(cluster.store("frail.bin", &noise(9, 500_000)).unwrap(), 3);
    until("it is stored", || cluster.has_version(3, "frail.bin", &noise(9, 500_000)));
    // Node 3 comes back empty while there is one node only that one of its pieces could be rebuilt from.
    cluster.lose_node(3);
    cluster.lose_node(1);
    fs::remove_dir_all(cluster.node_folder(3)).unwrap();
    cluster.return_node(4);
    cluster.return_node(3);
    cluster.server().says("data server 3 HAS LOST ALL ITS PIECES");
    until("the other one is rebuilt", || cluster.has_version(3, "whole.bin", &noise(9, 300_000)));
    let (_new, address) = spare("2", &cluster.path("spare"));
    let (code, said) = admin(&cluster, &["replace", "2", "--to", &address]);
    assert_eq!(code, 9, "{said}");
    assert!(said.contains("would-be-lost  node 2  /demo/frail.bin\n"), "{said}");
    assert!(is_told(&said) && said.contains("--force"), "{said}");
    assert!(cluster.blocks(2, "frail.bin").len() == 2);

    let (code, items, result) =
        admin_json(&cluster, &["replace", "2", "--to", &address, "--force"]);
    assert_eq!((code, &result["replacing"]["done"]), (3, &false.into()), "{result}");
    let named: Vec<&str> = items.iter().map(|item| item["path"].as_str().unwrap()).collect();
    assert_eq!(named, ["/demo/frail.bin"], "{result}");
    assert!(items.iter().all(|item| item["what"] == "not-whole" && item["node"] == 2));
    let (_, text) = admin(&cluster, &["status"]);
    assert!(text.contains("replace: node 2 by ") && text.contains("left to rebuild"), "{text}");
}
