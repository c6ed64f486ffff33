//! Clients that cut their messages anywhere, vanish, talk nonsense or come in crowds, against a
//! server of real processes. After each of them a healthy client is served as if nothing had been.

mod support;

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::raw::{Raw, describing, seed_of};
use support::{Cluster, PASSWORD, expect, noise, peak_memory, threads_and_files, until};

/// A client like any other is served.
fn is_healthy(cluster: &Cluster) {
    let mut client = Raw::sign_in(cluster);
    let bytes = describing(77, 100_000);
    client.store("healthy.bin", "health", &bytes).unwrap();
    assert_eq!(seed_of(&client.retrieve("healthy.bin", "health").unwrap()), 77);
    client.delete("healthy.bin", "health").unwrap();
}

fn nothing_is_half_received(cluster: &Cluster) {
    for node in 1..=4 {
        until("nothing is half received", || !cluster.is_receiving(node));
    }
}

/// Reads to the end of the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    // A connection that was reset has ended too.
    let _ = stream.read_to_end(&mut got);
    String::from_utf8_lossy(&got).into_owned()
}

// ---- TCP cuts and joins ----

#[test]
fn a_conversation_is_understood_byte_by_byte() {
    let cluster = Cluster::start();
    let mut client = Raw { stream: cluster.connect() };
    let drip = |client: &mut Raw, bytes: &[u8]| {
        bytes.iter().for_each(|byte| client.send(&[*byte]));
    };
    let body = noise(1, 353);
    drip(&mut client, b"HI\r\n\r\n");
    assert_eq!(client.message(), "S\r\n2\r\nUsername: \r\nPassword: ");
    drip(&mut client, format!("demo\r\n{PASSWORD}\r\n\r\n").as_bytes());
    assert_eq!(client.message(), "S\r\nWelcome demo! You are a legend...");
    drip(&mut client, &Raw::store_head("yeet.txt", "test", 353));
    drip(&mut client, &body);
    assert_eq!(client.message(), "S\r\nFile yeet.txt successfully created and written to");
    drip(&mut client, b"RTV\r\nyeet.txt\r\ntest\r\n\r\n");
    assert_eq!(client.message(), "S\r\n353");
    let mut got = vec![0; 353];
    client.stream.read_exact(&mut got).unwrap();
    assert_eq!(got, body);
    let said = "S\r\nSuccessfully retrieved file yeet.txt from the file system";
    assert_eq!(client.message(), said);
    drip(&mut client, b"INF\r\n\r\n");
    assert_eq!(client.message(), "S\r\n/demo/test\r\n/demo/test/yeet.txt");
    drip(&mut client, b"DEL\r\nyeet.txt\r\ntest\r\n\r\n");
    let said = "S\r\nSuccessfully removed file yeet.txt from the file system";
    assert_eq!(client.message(), said);
    drip(&mut client, b"LGO\r\n\r\nHI\r\n\r\n");
    assert_eq!(client.message(), "S\r\n2\r\nUsername: \r\nPassword: ");
}

#[test]
fn requests_that_come_in_one_segment_are_answered_one_by_one() {
    let cluster = Cluster::start();
    let (first, second) = (noise(1, 353), noise(2, 5000));
    let mut all = b"HI\r\n\r\n".to_vec();
    all.extend_from_slice(format!("demo\r\n{PASSWORD}\r\n\r\n").as_bytes());
    all.extend(Raw::store_head("a", "test", first.len()));
    all.extend_from_slice(&first);
    all.extend(Raw::store_head("b", "test/deep", second.len()));
    all.extend_from_slice(&second);
    all.extend_from_slice(
        b"RTV\r\nb\r\ntest/deep\r\n\r\nXYZ\r\n\r\nDEL\r\na\r\ntest\r\n\r\nINF\r\n\r\n",
    );
    all.extend_from_slice(b"LGO\r\n\r\nHI\r\n\r\n");
    let mut expected = b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n".to_vec();
    expected.extend_from_slice(b"S\r\nWelcome demo! You are a legend...\r\n\r\n");
    for name in ["a", "b"] {
        let said = format!("S\r\nFile {name} successfully created and written to\r\n\r\n");
        expected.extend_from_slice(said.as_bytes());
    }
    expected.extend_from_slice(b"S\r\n5000\r\n\r\n");
    expected.extend_from_slice(&second);
    expected.extend_from_slice(
        b"S\r\nSuccessfully retrieved file b from the file system\r\n\r\n\
          E\r\nERROR Opcode was invalid!\r\n\r\n\
          S\r\nSuccessfully removed file a from the file system\r\n\r\n\
          S\r\n/demo/test\r\n/demo/test/deep\r\n/demo/test/deep/b\r\n\r\n\
          S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n",
    );
    // Whole, cut in two at a few hundred places, and in pieces of odd sizes.
    let places = (0..all.len()).step_by(61).map(|at| vec![at]);
    let odd = [1000, 7, 1460].map(|size| (size..all.len()).step_by(size).collect());
    for cuts in places.chain(odd) {
        let mut stream = cluster.connect();
        let mut from = 0;
        for to in cuts.into_iter().chain([all.len()]) {
            stream.write_all(&all[from..to]).unwrap();
            from = to;
        }
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).unwrap();
        assert!(got == expected, "{}", String::from_utf8_lossy(&got));
        let mut client = Raw::sign_in(&cluster);
        client.delete("b", "test/deep").unwrap();
    }
}

// ---- crowds ----

#[test]
fn every_read_in_a_crowd_is_one_whole_version() {
    let cluster = Cluster::start();
    let (reads, stores) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let crowd = |who: u64| {
        let mut client = Raw::sign_in(&cluster);
        for turn in 0..30_u64 {
            let seed = who * 1000 + turn;
            let size = [100, 70_000, 1 << 20, 2_500_000][usize::try_from(turn % 4).unwrap()];
            let size = size + usize::try_from(who).unwrap();
            let shared = format!("shared{}.bin", turn % 2);
            let own = format!("own{who}.bin");
            client.store(&shared, "crowd", &describing(seed, size)).unwrap();
            client.store(&own, "crowd", &describing(seed, size)).unwrap();
            stores.fetch_add(2, Ordering::Relaxed);
            assert_eq!(seed_of(&client.retrieve(&own, "crowd").unwrap()), seed);
            match client.retrieve(&shared, "crowd") {
                Ok(bytes) => drop((seed_of(&bytes), reads.fetch_add(1, Ordering::Relaxed))),
                Err(said) => assert!(said.contains("did not exist"), "{said}"),
            }
            assert!(client.list().contains(&format!("/demo/crowd/{own}")));
            if turn % 3 == who % 3
                && let Err(said) = client.delete(&shared, "crowd")
            {
                assert!(said.contains("did not exist"), "{said}");
            }
        }
    };
    thread::scope(|scope| {
        for who in 1..=8 {
            scope.spawn(move || crowd(who));
        }
    });
    assert_eq!(stores.into_inner(), 480);
    assert!(reads.into_inner() > 100);
    nothing_is_half_received(&cluster);
    // The nodes end with what the catalog says, and with nothing else.
    let listed = Raw::sign_in(&cluster).list();
    for name in ["shared0.bin", "shared1.bin"] {
        let is_listed = listed.contains(&format!("/demo/crowd/{name}"));
        for node in 1..=4 {
            let path = format!("crowd/{name}");
            let wanted = if is_listed { 2 } else { 0 };
            until("nodes and catalog agree", || cluster.blocks(node, &path).len() == wanted);
        }
    }
}

// ---- clients that vanish ----

#[test]
fn a_client_that_vanishes_anywhere_leaves_nothing_behind() {
    let cluster = Cluster::start();
    let mut steady = Raw::sign_in(&cluster);
    steady.store("a.bin", "test", &describing(1, 3_000_000)).unwrap();
    for bytes in
        [&b""[..], b"H", b"HI\r\n", b"HI\r\n\r\n", b"HI\r\n\r\ndemo\r\n", b"HI\r\n\r\nNOBODY"]
    {
        for ends_politely in [true, false] {
            let mut stream = cluster.connect();
            stream.write_all(bytes).unwrap();
            if ends_politely {
                stream.shutdown(Shutdown::Write).unwrap();
                rest(&mut stream);
            }
        }
    }
    for (size, sent) in
        [(1000, 0), (1000, 999), (900_000, 400_000), (6_000_000, 0), (6_000_000, 5_999_999)]
    {
        let mut client = Raw::sign_in(&cluster);
        let head = Raw::store_head("a.bin", "test", size);
        client.send(&head);
        client.send(&noise(2, sent));
        drop(client);
        let mut client = Raw::sign_in(&cluster);
        client.send(&head[..head.len() - 3]);
    }
    for taken in [0, 1, 1_500_000] {
        let mut client = Raw::sign_in(&cluster);
        client.ask_for("a.bin", "test");
        client.stream.read_exact(&mut vec![0; taken]).unwrap();
    }
    nothing_is_half_received(&cluster);
    assert_eq!(seed_of(&steady.retrieve("a.bin", "test").unwrap()), 1);
    assert_eq!(steady.list(), "/demo/test\r\n/demo/test/a.bin");
    is_healthy(&cluster);
}

// ---- nonsense ----

#[test]
fn wrong_first_words_end_the_connection_without_a_word() {
    let cluster = Cluster::start();
    let zeros = [0; 100];
    for words in [
        &b"HELLO\r\n\r\n"[..],
        b"hi\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: palk\r\n\r\n",
        b"\r\n\r\n",
        b"STR\r\na\r\nb\r\n1\r\n\r\nx",
        b"\xff\xfe\xfd",
        &zeros,
    ] {
        let mut stream = cluster.connect();
        stream.write_all(words).unwrap();
        assert_eq!(rest(&mut stream), "", "{:?}", String::from_utf8_lossy(words));
    }
    is_healthy(&cluster);
}

#[test]
fn a_request_that_makes_no_sense_is_refused_and_the_next_one_served() {
    let cluster = Cluster::start();
    let mut client = Raw::sign_in(&cluster);
    let mut refused = |request: &[u8]| {
        client.send(request);
        let said = client.reply().unwrap_err();
        assert!(said.starts_with("ERROR "), "{said}");
        assert_eq!(client.list(), "No files in database");
        said
    };
    for size in ["-1", "18446744073709551616", "99999999999999999999", "1e3", "0x10", " 5", "5 "] {
        refused(&Raw::store_head("a", "test", size));
    }
    let outside = ["..", "../x", "/etc", "a/../../b", "a/./b", "a//b", "a\\b", "a\0b", "a\x1b[2Jb"];
    for path in outside {
        refused(format!("RTV\r\na\r\n{path}\r\n\r\n").as_bytes());
        refused(format!("DEL\r\na\r\n{path}\r\n\r\n").as_bytes());
        let mut store = Raw::store_head("a", path, 5);
        store.extend_from_slice(b"INF\r\n");
        refused(&store);
    }
    let long = "n".repeat(241);
    for name in ["..", ".", "a/b", "/etc/passwd", "a\\b", "a\0b", "\x07", long.as_str()] {
        let mut store = Raw::store_head(name, "test", 5);
        store.extend_from_slice(b"INF\r\n");
        refused(&store);
        refused(format!("RTV\r\n{name}\r\ntest\r\n\r\n").as_bytes());
    }
    refused(b"RTV\r\n\xff\xfe\r\ntest\r\n\r\n");
    refused(b"STR\r\na\r\n\xc3\x28\r\n5\r\n\r\nINF\r\n");
    refused(b"STRANGE\r\na\r\nb\r\n1\r\n\r\n");
    refused(b"\xff\xff\xff\r\n\r\n");
    for short in [&b"STR\r\na\r\n\r\n"[..], b"RTV\r\n\r\n", b"DEL\r\n\r\n", b"STR\r\n\r\n"] {
        refused(short);
    }
    for node in 1..=4 {
        let folder = cluster.node_folder(node);
        assert!(!folder.parent().unwrap().join("b").exists() && !folder.join("b").exists());
    }
    is_healthy(&cluster);
}

#[test]
fn names_that_only_look_dangerous_stay_in_the_users_folder() {
    let cluster = Cluster::start();
    let mut client = Raw::sign_in(&cluster);
    let names =
        [".palk", "...", "..a", "-rf", "~", "$HOME", "node.toml", "a.b.c", ".hidden.txt", "é"];
    for name in names {
        for path in [".palk", "backup", "x/.palk/pieces"] {
            let bytes = describing(5, 400);
            client.store(name, path, &bytes).unwrap();
            assert_eq!(seed_of(&client.retrieve(name, path).unwrap()), 5);
        }
    }
    for node in 1..=4 {
        until("all blocks have their names", || {
            names.iter().all(|name| cluster.blocks(node, &format!(".palk/{name}")).len() == 2)
        });
    }
    nothing_is_half_received(&cluster);
    is_healthy(&cluster);
}

#[test]
fn a_size_that_nobody_could_send_is_refused_before_its_bytes() {
    let cluster = Cluster::start();
    for size in ["100000001", "9223372036854775807", "9223372036854775808", "18446744073709551615"]
    {
        let mut client = Raw::sign_in(&cluster);
        client.send(&Raw::store_head("a", "test", size));
        let said = client.reply().unwrap_err();
        assert!(said.contains(size), "{said}");
        client.send(&noise(1, 100_000));
    }
    is_healthy(&cluster);
    assert_eq!(Raw::sign_in(&cluster).list(), "/demo/health");
}

#[test]
fn a_message_without_an_end_is_cut_off() {
    let cluster = Cluster::start();
    for begin in ["HI\r\n", "HI\r\n\r\n", "HI\r\n\r\ndemo\r\n"] {
        let mut stream = cluster.connect();
        stream.write_all(begin.as_bytes()).unwrap();
        // The server closes while this is being sent.
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    }
    for begin in ["STR\r\n", "RTV\r\na\r\n", "INF", ""] {
        let mut client = Raw::sign_in(&cluster);
        client.send(begin.as_bytes());
        while client.stream.write_all(&[b'x'; 4096]).is_ok() {}
    }
    is_healthy(&cluster);
}

// ---- the programs of 2020 ----

/// One `recv(1000)`.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 1000];
    let count = stream.read(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

#[test]
fn the_client_of_2020_is_served_in_its_own_dialect() {
    let cluster = Cluster::start_with(&["--dialect", "2020"]);
    let mut stream = cluster.connect();
    let mut says = |request: &[u8], answer: &str| {
        stream.write_all(request).unwrap();
        assert_eq!(String::from_utf8_lossy(&receive(&mut stream)), answer);
    };
    let login = "HI\r\n2\r\nUsername: \r\nPassword: \r\n\r\n";
    let again = "2\r\nUsername: \r\nPassword: \r\n\r\n";
    let create = "1\r\nDo you want to create an account (YES or NO): \r\n\r\n";
    let form = "3\r\nEnter Desired Username: \r\nEnter password: \r\nConfirm password: \r\n\r\n";
    let unknown = format!("E\r\nUsername does not exist in database!\r\n{create}");
    says(b"HI\r\n\r\n", login);
    says(
        b"demo\r\nwrong\r\n\r\n",
        &format!("E\r\nPassword did not match username demo\r\n{again}"),
    );
    says(b"eve\r\nx\r\n\r\n", &unknown);
    says(b"NO\r\n\r\n", login);
    says(b"eve\r\nx\r\n\r\n", &unknown);
    says(b"YES\r\n\r\n", &format!("L\r\n{form}"));
    let taken = format!("E\r\nUsername already exists in database!\r\n{form}");
    says(b"demo\r\npass word\r\npass word\r\n\r\n", &taken);
    let differ =
        "E\r\nPasswords did not match...\r\n2\r\nEnter password: \r\nConfirm password: \r\n\r\n";
    says(b"eve\r\npass word\r\nother word\r\n\r\n", differ);
    says(b"pass word\r\npass word\r\n\r\n", "S\r\nWelcome eve! You are a legend...\r\n");
    says(b"INF\r\n\r\n", "No files in database");
    // Log out, and hello in the same segment.
    says(b"LGO\r\n\r\nHI\r\n\r\n", login);
    let sign_in = format!("demo\r\n{PASSWORD}\r\n\r\n");
    says(sign_in.as_bytes(), "S\r\nWelcome demo! You are a legend...\r\n");

    let body = noise(1, 353);
    let mut store = Raw::store_head("yeet.txt", "test", 353);
    store.extend_from_slice(&body);
    says(&store, "File yeet.txt successfully created and written to");
    says(b"INF\r\n\r\n", "/demo/test\n/demo/test/yeet.txt\n");
    says(b"XXX\r\n\r\n", "ERROR Opcode was invalid!");
    let mut refused = Raw::store_head("yeet.txt", "..", 353);
    refused.extend_from_slice(&body);
    stream.write_all(&refused).unwrap();
    assert!(receive(&mut stream).starts_with(b"ERROR "));
    let none = "ERROR the file name you gave did not exist in the file system!";
    let mut says = |request: &[u8], answer: &str| {
        stream.write_all(request).unwrap();
        assert_eq!(String::from_utf8_lossy(&receive(&mut stream)), answer);
    };
    says(b"RTV\r\nnone\r\ntest\r\n\r\n", none);
    for size in [0, 1, 353, 999, 1000, 1001, 300_000] {
        retrieve_as_in_2020(&mut stream, size);
    }
    let gone = b"DEL\r\nyeet.txt\r\ntest\r\n\r\n";
    stream.write_all(gone).unwrap();
    expect(&mut stream, b"Successfully removed file yeet.txt from the file system");
}

/// The size line is one read whose rest is thrown away; then every read goes into the file until
/// its size is reached; then one more read is the answer.
fn retrieve_as_in_2020(stream: &mut TcpStream, size: usize) {
    let body = noise(3, size);
    let mut store = Raw::store_head("yeet.txt", "test", size);
    store.extend_from_slice(&body);
    stream.write_all(&store).unwrap();
    assert_eq!(receive(stream), b"File yeet.txt successfully created and written to");

    stream.write_all(b"RTV\r\nyeet.txt\r\ntest\r\n\r\n").unwrap();
    let line = receive(stream);
    assert_eq!(line.len(), 1000);
    assert_eq!(line, format!("{:<1000}", format!("{size}\r\n")).into_bytes());
    let mut file = Vec::new();
    while file.len() < size {
        file.extend(receive(stream));
    }
    assert!(file == body, "{} bytes for {size}: words were written into the file", file.len());
    let said = receive(stream);
    assert_eq!(said, b"Successfully retrieved file yeet.txt from the file system");
}

// ---- threads, files, memory ----

#[test]
fn ten_thousand_requests_leak_nothing() {
    let mut cluster = Cluster::start();
    let mut client = Raw::sign_in(&cluster);
    let bytes = describing(1, 200);
    let once = |client: &mut Raw| {
        client.store("a", "test", &bytes).unwrap();
        client.retrieve("a", "test").unwrap();
        client.delete("a", "test").unwrap();
        client.list();
    };
    once(&mut client);
    drop(client.store("kept", "test", &bytes));
    let mut processes = vec![cluster.server().pid()];
    processes.extend((1..=4).map(|node| cluster.node(node).pid()));
    let counts = || processes.iter().map(|pid| threads_and_files(*pid)).collect::<Vec<_>>();
    let before = counts();

    for _ in 0..200 {
        once(&mut client);
    }
    for _ in 0..1200 {
        client.retrieve("kept", "test").unwrap();
    }
    let pipelined = b"INF\r\n\r\n".repeat(100);
    for _ in 0..60 {
        client.send(&pipelined);
        (0..100).for_each(|_| drop(client.reply().unwrap()));
    }
    for _ in 0..2000 {
        let mut stream = cluster.connect();
        stream.write_all(b"HI\r\n\r\n").unwrap();
        expect(&mut stream, b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n");
    }
    let few = |after: &[(usize, usize)]| {
        // A connection to a node that is kept for its next use is one file and, there, one thread.
        // The backup's senders may have needed one more to each of the four.
        after.iter().zip(&before).all(|(now, then)| now.0 <= then.0 + 4 && now.1 <= then.1 + 8)
    };
    until("all is given back", || few(&counts()));
    println!("threads and files of the server and each node: {before:?}, then {:?}", counts());
    is_healthy(&cluster);
}

#[test]
fn memory_does_not_grow_with_the_file() {
    // Some megabytes of it are the program itself, encryption and database included.
    const SERVER_BYTES_MAX: u64 = 80 << 20;
    const NODE_BYTES_MAX: u64 = 32 << 20;
    let mut cluster = Cluster::start();
    let mut client = Raw::sign_in(&cluster);
    let mut peaks = Vec::new();
    for size in [8 << 20, 64 << 20] {
        let bytes = describing(1, size);
        client.store("a.bin", "test", &bytes).unwrap();
        assert_eq!(seed_of(&client.retrieve("a.bin", "test").unwrap()), 1);
        let nodes = (1..=4).map(|node| peak_memory(cluster.node(node).pid())).max().unwrap();
        peaks.push((peak_memory(cluster.server().pid()), nodes));
    }
    println!("peak memory of the server and of a node, with 8 MiB and 64 MiB: {peaks:?}");
    assert!(peaks[1].0 < SERVER_BYTES_MAX && peaks[1].1 < NODE_BYTES_MAX, "{peaks:?}");
}

#[test]
fn clients_that_only_wait_cost_the_others_nothing() {
    let cluster = Cluster::start();
    let mut waiting: Vec<TcpStream> = (0..200).map(|_| cluster.connect()).collect();
    let mut storing = Raw::sign_in(&cluster);
    storing.send(&Raw::store_head("slow.bin", "test", 3_000_000));
    storing.send(&noise(1, 1_200_000));
    is_healthy(&cluster);
    for stream in &mut waiting {
        stream.write_all(b"HI\r\n\r\n").unwrap();
        expect(stream, b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n");
    }
    storing.stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    storing.send(&noise(1, 1_800_000));
    storing.reply().unwrap();
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut cluster = Cluster::start();
    cluster.kill_server();
    cluster.start_server_with_closed_log();
    // The nodes are connected by threads that log that they do it.
    until("a store is taken again", || {
        let mut client = Raw::sign_in(&cluster);
        client.store("a.bin", "test", &describing(1, 100_000)).is_ok()
    });
    is_healthy(&cluster);
    until("all orders are delivered", || {
        (1..=4).all(|node| cluster.blocks(node, "test/a.bin").len() == 2)
    });
}

#[test]
fn clients_beyond_what_the_system_allows_leave_the_nodes_connected() {
    let mut cluster = Cluster::start();
    cluster.kill_server();
    cluster.start_server_with_files_max(100);
    let mut steady = Raw::sign_in(&cluster);
    let bytes = describing(1, 100_000);
    steady.store("a.bin", "test", &bytes).unwrap();
    let waiting: Vec<TcpStream> = (0..150).map(|_| cluster.connect()).collect();
    cluster.server().says("turned away");
    for _ in 0..20 {
        steady.store("a.bin", "test", &bytes).unwrap();
        assert_eq!(seed_of(&steady.retrieve("a.bin", "test").unwrap()), 1);
    }
    assert_eq!(cluster.server().count("lost data server"), 0);
    assert_eq!(cluster.server().count("cannot accept"), 0);
    drop(waiting);
    // For several at once: those that have gone are noticed one by one.
    until("there is room again", || {
        let mut streams = [(); 6].map(|()| cluster.connect());
        streams.iter_mut().all(|stream| {
            stream.write_all(b"HI\r\n\r\n").unwrap();
            let mut first = [0];
            stream.read_exact(&mut first).unwrap();
            first == *b"S"
        })
    });
    is_healthy(&cluster);
}

#[test]
fn folders_that_others_may_enter_are_made_private_again_with_a_word() {
    let mut cluster = Cluster::start();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folders = [cluster.path("user_database"), cluster.node_folder(2)];
    for file in ["palk.db", "palk.db-wal", "lock"] {
        assert_eq!(mode(&folders[0].join(file)), 0o600, "{file}");
    }
    cluster.server().kill();
    cluster.node(2).kill();
    let loosened = [folders[0].clone(), folders[0].join("palk.db"), folders[1].clone()];
    for path in &loosened {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    cluster.start_node(2);
    cluster.restart_server();
    for path in &loosened {
        assert_eq!(mode(path) & 0o077, 0, "{}", path.display());
    }
    cluster.node(2).says("was open to others and is private again");
    cluster.server().says("palk.db was open to others and is private again");
}
