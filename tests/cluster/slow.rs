//! Nodes that take long, once or again and again, and what clients and operators see of it.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::{Cluster, noise, until};

#[test]
fn a_client_waits_for_a_commit_that_takes_long_and_hears_that_it_goes_on() {
    let (cluster, proxies) = Cluster::start_with_proxies();
    let before_server = Proxy::start(cluster.address());
    // So large that the nodes may take longer for it than the server is silent: 13 s and 10 s.
    let bytes = noise(1, 96_000_000);
    std::fs::write(cluster.path("large"), &bytes).unwrap();
    // What is held back of a piece fits between the processes: the server has sent all of it,
    // and waits for the nodes to confirm it. Probes and small requests go on.
    proxies.iter().for_each(|proxy| proxy.hold_after(bytes.len() as u64 / 2 - 64_000));
    let mut store = crate::support::palk();
    store.current_dir(cluster.folder.path()).args(["client", "--server", &before_server.address()]);
    store.args(["--user", crate::support::USER, "--password-file", "password", "store", "large"]);
    let mut store = store.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let taken = || before_server.forwarded() > bytes.len() as u64;
    until("the server has the whole file", taken);
    until("the nodes have what is let through", || proxies.iter().all(Proxy::is_holding));
    let (mut told, begun) = (before_server.answered(), Instant::now());
    until("the client hears that the work goes on", || {
        let heard = before_server.answered() > told;
        // At first the last chunks are acknowledged.
        let is_early = begun.elapsed() < Duration::from_secs(3);
        if is_early {
            told = before_server.answered();
        }
        heard && !is_early
    });
    println!("the client was told after {:?}", begun.elapsed());
    assert!(proxies.iter().all(Proxy::is_holding), "no node has all of it");
    assert!(store.try_wait().unwrap().is_none(), "it waits");
    proxies.iter().for_each(|proxy| proxy.hold_after(u64::MAX));
    let mut said = String::new();
    store.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(store.wait().unwrap().success(), "{said}");
    assert!(said.contains(" of 4 nodes"), "{said}");
    assert!(cluster.retrieve("large").unwrap() == bytes);
}

#[test]
fn a_node_that_is_late_again_and_again_is_left_out_and_status_says_so_until_it_proves_its_disk() {
    let mut cluster = Cluster::start_with(&["--scrub-every", "never"]);
    cluster.await_healthy();
    let mut said = String::new();
    let mut times = 0;
    // How long it is left out is doubled each time, so it is seen after some.
    until("status says that it is left out", || {
        let lost = cluster.server().count("lost data server 2:");
        cluster.node(2).signal("-STOP");
        cluster.knows_lost(2, lost);
        cluster.node(2).signal("-CONT");
        times += 1;
        let begun = Instant::now();
        while begun.elapsed().as_secs() < 2 && !said.contains("it was late") {
            said = cluster.status_text().split_whitespace().collect::<Vec<_>>().join(" ");
        }
        said.contains("it was late")
    });
    println!("after {times} times: {said}");
    assert!(said.contains("node 2 answers again, but it was late "), "{said}");
    assert!(said.contains(&format!("late {times} times in ")), "{said}");
    assert!(said.contains("left out for another "), "{said}");
    assert!(said.contains("s at most, while there are three others"), "{said}");
    assert!(cluster.store("a", b"bytes").unwrap() >= 3, "nobody waits for it");
    let begun = Instant::now();
    cluster.await_healthy();
    println!("it was taken back after {:?}", begun.elapsed());
}
