//! A server in this process over nodes that are processes of their own: one of them is replaced, and
//! all is scrubbed, as an operator would have it.

mod support;

use std::fs;
use std::path::Path;

use palk::core::catalog::{Mending, Phase};
use palk::core::cluster::replace::{Begun, Progress};
use palk::core::cluster::scrub::Options;
use palk::core::serve::files::Policy;
use palk::core::serve::server::{Config, Server};
use palk::core::serve::upkeep::{Rates, Upkeep};
use palk::core::session::Dialect;
use palk::core::types::NodeId;
use support::{Cluster, Process, noise, palk, until};

/// A server on a cluster's database, whose own server has ended.
fn server(cluster: &Cluster) -> Server {
    let server = Server::open(&Config {
        listen: "127.0.0.1:0".into(),
        nodes: None,
        folder: cluster.path("user_database"),
        dialect: Dialect::Spec,
        file_bytes_max: 100_000_000,
        take_over: false,
        key: None,
        certificate: None,
        allow_plaintext: false,
        policy: Policy::default(),
        doors: Vec::new(),
        web: None,
        reserve: None,
        rates: Rates { scrub: None, scrub_every: None, ..Rates::default() },
    });
    server.unwrap()
}

/// A node that is started with this folder.
fn spare(id: &str, folder: &Path) -> (Process, String) {
    let mut command = palk();
    command.args(["storage", "--id", id, "--listen", "127.0.0.1:0", "--dir"]).arg(folder);
    let process = Process::start(command);
    let address = process.address();
    (process, address)
}

fn scrubbed(upkeep: &Upkeep, options: Options) -> Mending {
    upkeep.scrubs.start(options).unwrap();
    until("the scrub has ended", || {
        let scrub = upkeep.scrubs.progress().unwrap().scrub;
        scrub.is_some_and(|scrub| scrub.phase == Phase::Done && scrub.witness == options.witness)
    });
    let progress = upkeep.scrubs.progress().unwrap();
    assert!(progress.is_clean(), "{progress:?}");
    progress.found
}

#[test]
fn a_node_is_replaced_by_an_empty_one_elsewhere_and_proved_whole() {
    let mut cluster = Cluster::start();
    let files = [("test/small.txt", 353), ("large.bin", 21_000_000), ("empty", 0)];
    for (path, size) in files {
        cluster.store(path, &noise(7, size)).unwrap();
    }
    cluster.kill_server();
    let node = NodeId::ALL[1];
    let old: Vec<Vec<u8>> =
        cluster.blocks(2, "large.bin").iter().map(|path| fs::read(path).unwrap()).collect();
    let (_other, wrong) = spare("3", &cluster.path("wrong"));
    let (_spare, right) = spare("2", &cluster.path("spare"));

    let server = server(&cluster);
    until("all nodes are up", || server.nodes_up() == 4);
    let upkeep = server.upkeep();
    let replacements = upkeep.replacements.clone();
    let refused =
        |address: &str| replacements.replace(node, address, false, 0).unwrap_err().to_string();
    assert!(refused(&wrong).contains("it is node 3, not node 2"), "{}", refused(&wrong));
    let own = cluster.node_address(2).to_owned();
    cluster.kill_node(2);
    assert!(refused(&own).contains("connection refused"), "{}", refused(&own));

    let begun = replacements.replace(node, &right, false, 0).unwrap();
    assert_eq!(begun, Begun::Started);
    let progress = || -> Progress { replacements.progress().unwrap().remove(0) };
    until("it is proved", || progress().replacement.proved_ms.is_some());
    assert_eq!((progress().owed, progress().proved, progress().not_whole), (0, 3, 0));
    assert!(upkeep.repairs.pieces() >= 3);
    // Three units of four for a stripe of the large file at least, from the other nodes.
    assert!(upkeep.repairs.bytes_read() >= 3 * 21_000_000 / 4);
    for (name, old) in ["large_B1.bin", "large_B2.bin"].iter().zip(old) {
        let new = cluster.path("spare/demo").join(name);
        until("its blocks have their names", || new.exists());
        assert!(fs::read(new).unwrap() == old, "{name} is what it was, byte for byte");
    }

    for witness in [false, true] {
        let found = scrubbed(upkeep, Options { witness, ..Options::default() });
        assert_eq!(found, Mending::default());
    }
    let rotten = cluster.blocks(4, "large.bin").remove(1);
    let before = fs::read(&rotten).unwrap();
    let mut bytes = before.clone();
    bytes[5_000_000] ^= 1;
    fs::write(&rotten, bytes).unwrap();
    let found = scrubbed(upkeep, Options::default());
    assert_eq!((found.wrong, found.repaired, found.missing), (1, 1, 0));
    until("its name leads to what was mended", || fs::read(&rotten).unwrap() == before);
}
