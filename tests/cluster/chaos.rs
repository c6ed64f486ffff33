//! Everything is killed at random moments while people work, and links that do what bad networks do.
//! At the end what was answered is counted, and what of it was lost.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::load::{Client, Load, Report};
use crate::support::{Cluster, noise, until};

/// Rounds that CI runs; `PALK_KILL_ROUNDS` asks for more.
const ROUNDS: u64 = 16;

/// How many workers there are.
const WORKERS: u64 = 3;

fn pause(random: &mut StdRng, longest_ms: u64) {
    std::thread::sleep(Duration::from_millis(random.random_range(0..longest_ms)));
}

#[test]
fn nothing_answered_is_lost_when_any_role_is_killed_at_any_moment() {
    let asked = std::env::var("PALK_KILL_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = asked.unwrap_or(ROUNDS);
    let mut cluster = Cluster::start();
    // The moments differ from run to run; who is killed does not.
    let mut random = StdRng::seed_from_u64(1);
    let load = Load::start(&cluster, WORKERS);
    let client = Client::of(&cluster);
    let mut killed = [0; 7];
    for round in 0..rounds {
        let before = load.answered();
        until("the work goes on", || load.answered() > before);
        pause(&mut random, 150);
        let role = random.random_range(0..killed.len());
        killed[role] += 1;
        match role {
            node @ 0..4 => {
                cluster.kill_node(node + 1);
                pause(&mut random, 200);
                cluster.start_node(node + 1);
            }
            4 => {
                cluster.kill_server();
                cluster.start_server();
            }
            // The server and a node at one moment.
            5 => {
                let node = random.random_range(1..=4);
                cluster.kill_server();
                cluster.kill_node(node);
                cluster.start_server();
                cluster.start_node(node);
            }
            _ => kill_client(&cluster, &client, round, &mut random),
        }
    }
    let report = load.end();
    check(&mut cluster, &report);
    println!(
        "{rounds} kill rounds (nodes {:?}, server {}, server and node {}, client {}), {} changes \
         answered, {} not, 0 lost",
        &killed[..4],
        killed[4],
        killed[5],
        killed[6],
        report.answered,
        report.refused
    );
}

/// A client that stores is killed in the middle of it: the file is whole or not there.
fn kill_client(cluster: &Cluster, client: &Client, round: u64, random: &mut StdRng) {
    let local = cluster.path("killed.bin");
    let bytes = noise(round, 8_000_000);
    std::fs::write(&local, &bytes).unwrap();
    let name = format!("k{round}");
    let arguments = ["store", local.to_str().unwrap(), "--to", "killed", "--as", &name];
    let mut child = client.command(&arguments).spawn().unwrap();
    pause(random, 120);
    child.kill().unwrap();
    child.wait().unwrap();
    let read = client.run(&["rtv", &format!("killed/{name}"), "--to", "-"]);
    match read.status.code() {
        Some(0) => assert!(read.stdout == bytes, "{name} is not whole"),
        code => assert_eq!(code, Some(4), "{read:?}"),
    }
}

/// Once all are back and nothing is owed any more, every file is what was answered, or what an
/// unanswered change has made of it, from every pair of nodes.
fn check(cluster: &mut Cluster, report: &Report) {
    let client = Client::of(cluster);
    let mut contents = Vec::new();
    for (path, known) in &report.known {
        let mut content = None;
        until(&format!("{path} can be read"), || match client.content(path) {
            Ok(found) => {
                content = found;
                true
            }
            Err(_) => false,
        });
        assert!(known.allows(content), "{path}: {content:?} is none of {known:?}");
        contents.push((path, content));
    }
    until("nothing is owed any more", || cluster.status().code() == Some(0));
    for node in 1..=4 {
        until("nothing is half received", || !cluster.is_receiving(node));
        for (path, content) in &contents {
            let blocks = if content.is_some() { 2 } else { 0 };
            until(path, || cluster.blocks(node, path).len() == blocks);
        }
    }
    for (first, second) in [(1, 2), (3, 4), (1, 3), (2, 4), (1, 4), (2, 3)] {
        cluster.lose_node(first);
        cluster.lose_node(second);
        for (path, content) in &contents {
            assert_eq!(client.content(path).unwrap(), *content, "{path}");
        }
        cluster.return_node(first);
        cluster.return_node(second);
    }
}

// ---- bad networks ----

#[test]
fn links_that_flip_bits_cost_nothing_that_was_answered() {
    let (mut cluster, proxies) = Cluster::start_with_proxies();
    let load = Load::start(&cluster, WORKERS);
    for proxy in &proxies {
        proxy.set_flip_every(300_000);
        let before = load.answered();
        until("bits flip and work goes on", || {
            proxy.flipped() >= 3 && load.answered() > before + 10
        });
        proxy.set_flip_every(0);
    }
    let flipped: u64 = proxies.iter().map(|proxy| proxy.flipped()).sum();
    let report = load.end();
    check(&mut cluster, &report);
    println!("{flipped} bits flipped, {} changes answered, 0 lost", report.answered);
}

#[test]
fn links_that_are_slow_and_cut_cost_nothing_that_was_answered() {
    let (mut cluster, proxies) = Cluster::start_with_proxies();
    let load = Load::start(&cluster, WORKERS);
    let begun = Instant::now();
    for round in 0..12 {
        let (slow, cut) = (&proxies[round % 4], &proxies[(round + 1) % 4]);
        slow.set_delay(20);
        let before = load.answered();
        until("work goes on", || load.answered() > before + 2);
        cut.cut();
        until("work goes on", || load.answered() > before + 5);
        slow.set_delay(0);
    }
    let report = load.end();
    println!(
        "12 cuts in {:?}, {} changes answered, {} not",
        begun.elapsed(),
        report.answered,
        report.refused
    );
    check(&mut cluster, &report);
}
