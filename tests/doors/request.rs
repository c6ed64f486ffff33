//! The request door, and `palk client request`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;

use super::programs::{connect, play, recv, request};
use super::support::{noise, palk};
use super::{REQUEST, open};

/// `palk client request` in a folder.
pub(super) fn palk_request(address: &str, name: &str, here: &Path) -> Output {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut command = palk();
    command.current_dir(here).args(["client", "request", host, port, name]);
    command.stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files(here: &Path) -> usize {
    std::fs::read_dir(here).unwrap().count()
}

#[test]
fn spec_5_a_conversation_byte_by_byte() {
    let (cluster, address) = open(REQUEST);
    cluster.store("a.txt", b"hello").unwrap();
    play(&address, include_str!("request.txt"));
}

#[test]
fn spec_5_wrong_magic_closes_that_connection_only_and_is_in_the_log() {
    let (mut cluster, address) = open(REQUEST);
    cluster.store("a.txt", b"hello").unwrap();
    let mut waiting = connect(&address);
    waiting.write_all(b"\x49\x7e\x01").unwrap();
    let mut wrong = connect(&address);
    wrong.write_all(b"\x00\x00\x01\x00\x05a.txt").unwrap();
    // Bytes that nobody reads may make the end a reset.
    assert!(matches!(wrong.read(&mut [0; 8]), Ok(0) | Err(_)));
    let peer = wrong.local_addr().unwrap();
    cluster.server().says(&format!("client {peer} disconnected from door request"));
    cluster.server().says("a message begins with 0x0000 and not with 0x497e");
    assert_eq!(request(&address, "a.txt").unwrap(), b"hello");
    waiting.write_all(b"\x00\x05a.txt").unwrap();
    assert_eq!(recv(&mut waiting, 4), b"\x49\x7e\x02\x01");
}

#[test]
fn spec_5_a_short_name_or_silence_for_a_second_closes_the_connection() {
    let (mut cluster, address) = open(REQUEST);
    let mut silent = connect(&address);
    silent.write_all(b"\x49\x7e\x01\x00\x05a.t").unwrap();
    assert_eq!(recv(&mut silent, 8), b"");
    cluster.server().says("did not send its whole request within 1 s");
    let mut short = connect(&address);
    short.write_all(b"\x49\x7e\x01\x00\x05a.t").unwrap();
    short.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(recv(&mut short, 8), b"");
    assert_eq!(request(&address, "a.txt"), None);
}

#[test]
fn spec_5_an_unreadable_file_gets_the_status_0_record() {
    let (mut cluster, address) = open(REQUEST);
    cluster.store("a.txt", b"hello").unwrap();
    for node in [1, 2, 3] {
        cluster.lose_node(node);
    }
    assert_eq!(request(&address, "a.txt"), None);
    cluster.server().says("not retrieved");
}

#[test]
fn spec_5_the_client_says_download_succeed_and_how_many_bytes_came() {
    let (cluster, address) = open(REQUEST);
    let bytes = noise(1, 3_000_000);
    cluster.store("up/a.bin", &bytes).unwrap();
    let here = tempfile::tempdir().unwrap();
    let got = palk_request(&address, "up/a.bin", here.path());
    assert_eq!(got.status.code(), Some(0), "{}", said(&got));
    assert!(said(&got).contains("Download succeed: up/a.bin, 3000000 bytes"), "{}", said(&got));
    assert!(std::fs::read(here.path().join("a.bin")).unwrap() == bytes);
    // The file is there now, and is not written over.
    std::fs::write(here.path().join("a.bin"), "mine").unwrap();
    let again = palk_request(&address, "up/a.bin", here.path());
    assert_eq!(again.status.code(), Some(13), "{}", said(&again));
    assert!(said(&again).contains("is there already"), "{}", said(&again));
    assert_eq!(std::fs::read(here.path().join("a.bin")).unwrap(), b"mine");
    let missing = palk_request(&address, "b.bin", here.path());
    assert_eq!(missing.status.code(), Some(4), "{}", said(&missing));
    assert_eq!(files(here.path()), 1);
}

#[test]
fn spec_5_the_client_leaves_no_partial_file() {
    for (answer, status, why) in [
        (&b"\x49\x7e\x02\x01\x00\x00\x00\x09hello"[..], 7, "only 5 of 9 bytes came"),
        (b"\x49\x7e\x02\x01\x00\x00\x00\x04hello", 11, "more bytes came than the 4"),
        (b"\x00\x7e\x02\x01\x00\x00\x00\x05hello", 11, "begins with"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.read_exact(&mut [0; 10]).unwrap();
            socket.write_all(answer).unwrap();
        });
        let here = tempfile::tempdir().unwrap();
        let got = palk_request(&address, "a.txt", here.path());
        server.join().unwrap();
        assert_eq!(got.status.code(), Some(status), "{}", said(&got));
        assert!(said(&got).contains(why), "{}", said(&got));
        assert_eq!(files(here.path()), 0);
    }
    let here = tempfile::tempdir().unwrap();
    for wrong in ["localhost:80", "localhost:64001"] {
        let got = palk_request(wrong, "a.txt", here.path());
        assert_eq!(got.status.code(), Some(2), "{}", said(&got));
    }
    let got = palk_request("localhost:2000", "a/..", here.path());
    assert_eq!(got.status.code(), Some(2), "{}", said(&got));
}
