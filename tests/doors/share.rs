//! The share door.

use std::io::Write;

use super::programs::{Share, connect, play, recv, wait_until_read};
use super::support::{noise, until};
use super::{SHARE, open};

fn until_listed(address: &str, names: &[&str]) {
    until("the files are there", || Share::connect(address).list() == names);
}

#[test]
fn spec_3_a_conversation_segment_by_segment() {
    let (_cluster, address) = open(SHARE);
    play(&address, include_str!("share.txt"));
}

#[test]
fn spec_3_put_and_get_of_every_kind_of_size() {
    let (mut cluster, address) = open(SHARE);
    // One piece short, none, the sizes that never end, and several pieces.
    let sizes = [1, 222, 223, 224, 255, 256, 257, 256 + 222, 256 + 223, 512, 5000];
    let mut names = Vec::new();
    std::thread::scope(|scope| {
        for size in sizes {
            let name = format!("{size:05}.bin");
            names.push(name.clone());
            let address = &address;
            scope.spawn(move || {
                let mut client = Share::connect(address);
                client.put(&name, &noise(size as u64, size));
                // It stays connected until the server has seen the end by itself.
                until("it is listed", || Share::connect(address).list().contains(&name));
            });
        }
    });
    let mut client = Share::connect(&address);
    assert_eq!(client.list(), names);
    for (size, name) in sizes.into_iter().zip(&names) {
        assert!(client.get(name) == noise(size as u64, size), "{size} bytes");
        let ended = format!("{name} ended by ");
        let ends_by_itself = (1..223).contains(&(size % 256));
        let how = if ends_by_itself { "a short piece" } else { "silence" };
        cluster.server().says(&format!("{ended}{how}, {size} bytes"));
        if size % 256 == 223 {
            // Only the end of the connection ends these; the client's last read has told it.
            client = Share::connect(&address);
        }
    }
}

#[test]
fn spec_3_put_of_a_name_that_ends_by_silence() {
    let (_cluster, address) = open(SHARE);
    let mut client = Share::connect(&address);
    for (name, bytes) in [("no ending", &b"1"[..]), ("a.txt.old", b"22"), ("é@x", b"333")] {
        client.say(&format!("put {name}"));
        wait_until_read(&client.stream);
        client.stream.write_all(bytes).unwrap();
        until("it is stored", || Share::connect(&address).get(name) == bytes);
    }
}

#[test]
fn spec_3_the_first_piece_may_arrive_glued_to_the_command() {
    let (mut cluster, address) = open(SHARE);
    let files =
        [("long.bin", noise(1, 700)), ("short.bin", noise(2, 50)), ("t.txt", b"hi".to_vec())];
    for (name, bytes) in &files {
        let mut client = Share::connect(&address);
        let (first, rest) = bytes.split_at(bytes.len().min(256));
        client.stream.write_all(&[b"put ", name.as_bytes(), first].concat()).unwrap();
        wait_until_read(&client.stream);
        client.stream.write_all(rest).unwrap();
        until("it is stored", || Share::connect(&address).list().iter().any(|had| had == name));
        assert!(Share::connect(&address).get(name) == *bytes, "{name}");
        cluster.server().says(&format!("the name {name} was told from what came with it"));
    }
}

#[test]
fn spec_3_a_put_ends_by_close_and_the_log_says_so() {
    let (mut cluster, address) = open(SHARE);
    let bytes = noise(5, 512);
    let mut client = Share::connect(&address);
    client.put("cut.bin", &bytes);
    drop(client);
    until_listed(&address, &["cut.bin"]);
    cluster.server().says(
        "cut.bin ended by the end of the connection, 512 bytes; whether it is whole cannot be told",
    );
    assert!(cluster.retrieve("cut.bin").unwrap() == bytes);
    // Of a file of which nothing came nothing is stored, least of all over another one.
    let mut client = Share::connect(&address);
    client.say("put cut.bin");
    drop(client);
    cluster.server().says("nothing of cut.bin came");
    assert!(cluster.retrieve("cut.bin").unwrap() == bytes);
}

#[test]
fn spec_3_the_next_command_ends_a_put_as_well() {
    let (_cluster, address) = open(SHARE);
    let mut client = Share::connect(&address);
    client.say("put a.txt");
    wait_until_read(&client.stream);
    client.stream.write_all(b"short").unwrap();
    wait_until_read(&client.stream);
    assert_eq!(client.list(), ["a.txt"]);
    assert_eq!(client.get("a.txt"), b"short");
}

#[test]
fn spec_3_a_client_that_vanishes_leaves_the_store_as_it_was() {
    let (mut cluster, address) = open(SHARE);
    cluster.store("a.bin", b"old").unwrap();
    let mut client = Share::connect(&address);
    client.say("list");
    let mut byte = [0];
    client.stream.peek(&mut byte).unwrap();
    client.put("a.bin", &noise(1, 256));
    wait_until_read(&client.stream);
    // An answer that was not read makes the end of this a reset.
    drop(client);
    cluster.server().says("not stored");
    assert_eq!(cluster.retrieve("a.bin").unwrap(), b"old");
}

#[test]
fn spec_3_bye_closes_that_connection_and_does_not_stop_the_server() {
    let (_cluster, address) = open(SHARE);
    let [mut first, mut second] = [(); 2].map(|()| Share::connect(&address));
    assert!(first.list().is_empty() && second.list().is_empty());
    first.say("bye");
    assert_eq!(recv(&mut first.stream, 1), b"");
    assert!(second.list().is_empty());
    assert!(Share::connect(&address).list().is_empty());
}

#[test]
fn spec_3_list_is_one_segment_of_at_most_1024_bytes() {
    let (mut cluster, address) = open(SHARE);
    let here = cluster.path("many");
    std::fs::create_dir(&here).unwrap();
    let paths: Vec<_> = (0..30).map(|i| here.join(format!("{i:02}{}", "n".repeat(60)))).collect();
    for path in &paths {
        std::fs::write(path, b"x").unwrap();
    }
    let mut command = cluster.client_command(&["store"]);
    assert!(command.args(&paths).output().unwrap().status.success());
    let mut stream = connect(&address);
    stream.write_all(b"list").unwrap();
    let said = recv(&mut stream, 2000);
    assert!((900..=1024).contains(&said.len()), "{}", said.len());
    assert!(said.ends_with(b"n ... "));
    cluster.server().says("listed");
}

#[test]
fn the_largest_file_is_met_while_it_comes() {
    let options = ["--max-file-size", "1000", "--door", SHARE];
    let mut cluster = super::Cluster::start_with(&options);
    let address = super::door_address(&mut cluster, "share");
    let mut client = Share::connect(&address);
    client.put("big.bin", &noise(1, 256 * 400 + 10));
    cluster.server().says("not stored");
    cluster.server().says("a file may have at most 1000 bytes on this server");
    client.put("small.bin", &noise(2, 999));
    until_listed(&address, &["small.bin"]);
    assert!(client.get("small.bin") == noise(2, 999));
}
