//! `--metrics`: what monitors read of a live cluster, and whether what is in `docs/monitoring/` fits it.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;
use support::{Cluster, Process, noise, palk, skip, until};

const ANY: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// Where a process answers monitors.
fn monitor(process: &Process) -> String {
    process.says("/metrics");
    let log = process.log();
    let found = Regex::new(r"metrics at http://([^/]*)/metrics").unwrap();
    found.captures(&log).unwrap()[1].to_owned()
}

/// Status and body of an answer.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(support::HANG)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn metrics(address: &str) -> String {
    let (status, page) = get(address, "/metrics");
    assert_eq!(status, 200, "{page}");
    page
}

/// The value of a line, by its name and labels.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// A cluster of which every part is monitored.
fn start(options: &[&str]) -> Cluster {
    let mut cluster = Cluster::prepare(&[&ANY, options].concat());
    cluster.node_options = [(); 4].map(|()| ANY.map(str::to_owned).to_vec());
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.start_server_and_user();
    cluster
}

/// `palk admin` with these words.
fn admin(cluster: &Cluster, words: &[&str]) {
    let mut command = palk();
    command.arg("admin").args(words).arg("--dir").arg(cluster.path("user_database"));
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn the_page_tells_what_was_done_and_what_is_wrong() {
    let mut cluster = start(&[]);
    let server = monitor(cluster.server());
    cluster.store("a.bin", &noise(1, 300_000)).unwrap();
    assert!(cluster.retrieve("a.bin").unwrap() == noise(1, 300_000));
    cluster.retrieve("nothing").unwrap_err();
    let page = metrics(&server);
    for (name, expected) in [
        ("palk_files", 1.0),
        ("palk_file_bytes", 300_000.0),
        ("palk_can_store", 1.0),
        ("palk_nodes_to_spare", 2.0),
        ("palk_status_known", 1.0),
        ("palk_node_up{node=\"4\"}", 1.0),
        ("palk_node_missing_pieces{node=\"1\"}", 0.0),
        ("palk_transfer_bytes_total{direction=\"in\"}", 300_000.0),
        ("palk_transfer_bytes_total{direction=\"out\"}", 300_000.0),
        ("palk_request_seconds_count{door=\"extended\",verb=\"store\"}", 1.0),
        ("palk_request_seconds_count{door=\"extended\",verb=\"retrieve\"}", 2.0),
        ("palk_errors_total{door=\"extended\",code=\"no-such-file\"}", 1.0),
        ("palk_errors_total{door=\"plain\",code=\"no-such-file\"}", 0.0),
        ("palk_connections_refused_total{listener=\"client\"}", 0.0),
    ] {
        assert_eq!(value(&page, name), Some(expected), "{name}:\n{page}");
    }
    assert!(value(&page, "palk_journal_decided").unwrap() >= 2.0, "{page}");
    assert!(value(&page, "palk_connections_accepted_total{listener=\"client\"}").unwrap() >= 3.0);
    let (status, line) = get(&server, "/health");
    assert_eq!(status, 200);
    assert_eq!(line, "{\"nodes_to_spare\":2,\"serves\":true,\"state\":\"healthy\",\"v\":1}\n");

    // The same order each time.
    let names = |page: &str| -> Vec<String> {
        page.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.into()).collect()
    };
    assert_eq!(names(&page), names(&metrics(&server)));

    let node = monitor(cluster.node(2));
    until("the pieces are counted", || {
        value(&metrics(&node), "palk_storage_pieces{node=\"2\"}") == Some(1.0)
    });
    let page = metrics(&node);
    assert!(value(&page, "palk_storage_piece_bytes{node=\"2\"}").unwrap() >= 150_000.0, "{page}");
    assert!(value(&page, "palk_storage_received_bytes_total{node=\"2\"}").unwrap() >= 150_000.0);
    assert_eq!(value(&page, "palk_storage_disk_ok{node=\"2\"}"), Some(1.0), "{page}");
    let appends = "palk_storage_request_seconds_count{node=\"2\",kind=\"append\"}";
    assert!(value(&page, appends).unwrap() >= 1.0, "{page}");
    assert_eq!(get(&node, "/health"), (200, "{\"node\":2,\"serves\":true,\"v\":1}\n".into()));

    cluster.kill_node(4);
    until("the server has noticed", || {
        value(&metrics(&server), "palk_node_up{node=\"4\"}") == Some(0.0)
    });
    assert_eq!(value(&metrics(&server), "palk_nodes_to_spare"), Some(1.0));
    assert_eq!(get(&server, "/health").0, 200);
    cluster.kill_node(3);
    until("the server cannot store", || get(&server, "/health").0 == 503);
    let (_, line) = get(&server, "/health");
    assert!(line.contains("\"serves\":false"), "{line}");
    let page = metrics(&server);
    assert_eq!(value(&page, "palk_can_store"), Some(0.0), "{page}");
    assert_eq!(value(&page, "palk_cluster_state{state=\"degraded\"}"), Some(1.0), "{page}");
}

#[test]
fn a_node_whose_folder_is_gone_is_not_well() {
    let mut cluster = start(&[]);
    let node = monitor(cluster.node(1));
    let folder = cluster.node_folder(1);
    fs::rename(&folder, folder.with_extension("away")).unwrap();
    let (status, line) = get(&node, "/health");
    assert_eq!(status, 503);
    let is_told = line.starts_with("{\"node\":1,\"serves\":false,\"v\":1,\"why\":\"");
    assert!(is_told && line.contains("is gone"), "{line}");
    assert_eq!(value(&metrics(&node), "palk_storage_disk_ok{node=\"1\"}"), Some(0.0));
    fs::rename(folder.with_extension("away"), folder).unwrap();
    assert_eq!(get(&node, "/health").0, 200);
}

#[test]
fn monitors_that_say_nothing_hold_up_nobody() {
    let mut cluster = start(&[]);
    let server = monitor(cluster.server());
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(&server).unwrap()).collect();
    let mut slow = TcpStream::connect(&server).unwrap();
    slow.write_all(b"GET /met").unwrap();
    assert_eq!(get(&server, "/health").0, 200);
    cluster.store("a", b"bytes").unwrap();
    drop(silent);
    slow.write_all(b"rics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    slow.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.0 200 OK\r\n"), "{page}");
    assert!(page.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
}

#[test]
fn an_address_that_others_reach_has_to_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.toml");
    fs::write(&config, "id = 1\nmetrics = \"0.0.0.0:0\"\nlisten = \"127.0.0.1:0\"\n").unwrap();
    for arguments in [
        &["server", "--listen", "127.0.0.1:0", "--metrics", "0.0.0.0:0"][..],
        &["storage", "--config", "node.toml"],
    ] {
        let ended = palk().current_dir(folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(9), "{said}");
        assert!(said.contains("the metrics at 0.0.0.0:0 are not on this machine alone"), "{said}");
        assert!(said.contains("add \",open\" to it"), "{said}");
    }
    fs::write(&config, "id = 1\nmetrics = \"0.0.0.0:0,open\"\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let mut command = palk();
    command.current_dir(folder.path()).args(["storage", "--config", "node.toml"]);
    let node = Process::start(command);
    let port = monitor(&node).rsplit(':').next().unwrap().to_owned();
    node.says("the metrics have no password and no encryption");
    assert_eq!(get(&format!("127.0.0.1:{port}"), "/health").0, 200);
}

/// Is there a promtool on this machine? If not, that is said.
fn has_promtool() -> bool {
    let asked = Command::new("promtool").arg("--version").stdout(Stdio::null()).status();
    let found = asked.is_ok_and(|status| status.success());
    if !found {
        skip("there is no promtool on this machine");
    }
    found
}

fn promtool(arguments: &[&str], input: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring");
    let mut command = Command::new("promtool");
    command.current_dir(folder).args(arguments);
    let checked = assert_cmd::Command::from_std(command).write_stdin(input).output().unwrap();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success(), "promtool {arguments:?}: {said}\n{input}");
    if arguments[0] == "check" && arguments[1] == "metrics" {
        assert_eq!(said, "", "{input}");
    }
}

/// What a page's families are called.
fn families(page: &str) -> BTreeSet<String> {
    let named = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    named.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

/// What a text calls by the names of metrics.
fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\bpalk_[a-z_]*[a-z]").unwrap();
    name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

#[test]
fn promtool_takes_the_pages_and_the_documents_name_what_is_on_them() {
    let mut cluster = start(&["--door", "share=127.0.0.1:0,user=demo"]);
    cluster.store("a.bin", &noise(1, 300_000)).unwrap();
    // So that there is everything that could be told.
    admin(&cluster, &["scrub"]);
    admin(&cluster, &["backup"]);
    let (server, node) = (monitor(cluster.server()), monitor(cluster.node(3)));
    until("the pieces are counted", || metrics(&node).contains("palk_storage_pieces"));
    let pages = [metrics(&server), metrics(&node)];

    let there: BTreeSet<_> = pages.iter().flat_map(|page| families(page)).collect();
    assert_eq!(named(&document("monitoring.md")), there, "what docs/monitoring.md names");
    for file in ["monitoring/alerts.yml", "monitoring/dashboard.json"] {
        for name in named(&document(file)) {
            let family = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(&name);
            assert!(there.contains(family), "{file} names {name}");
        }
    }
    if !has_promtool() {
        return;
    }
    for page in &pages {
        promtool(&["check", "metrics"], page);
    }
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
}
