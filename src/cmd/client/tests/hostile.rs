//! A server that means harm: what it says is neither believed nor printed as it is, and no file
//! appears but the one that was asked for.

use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cmd::env::Env;
use crate::cmd::run;
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::tls::{Acceptor, Identity};
use crate::core::remote::tests::fake::blake3_of;
use crate::core::types::Digest;
use crate::core::wire::chunk;
use crate::core::wire::lines;

/// Turns red, goes to the top, forges a line, turns the direction of reading.
const NASTY: &str = "\x1b[31m\x1b[H\u{9b}2J\u{7}\u{202e}\u{2028}x";

const HANG: Deadline = Deadline::new(Duration::from_secs(60), "go on");

/// A server that says this to one client, whatever it asks. Gives its address.
fn saying(said: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::of_folder(&folder.path().join("tls"), &mut Vec::new()).unwrap();
    let acceptor = Acceptor::for_clients(&identity).unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut stream = Stream::accepted(socket.try_clone().unwrap(), "client").unwrap();
        // The client may leave before it has heard all of it.
        let _ = acceptor.accept(&mut stream).and_then(|()| stream.write_all(&[&said], &HANG));
        drop(stream);
        let _ = socket.shutdown(Shutdown::Write);
        let mut dropped = [0; 4096];
        while socket.read(&mut dropped).is_ok_and(|count| count > 0) {}
    });
    address
}

/// The same behind the hello and a sign-in that succeeds.
fn saying_inside(messages: &[Vec<u8>]) -> String {
    let before = [lines::encode(&["S", "palk 1"]), lines::encode(&["S", "user=demo"])];
    saying([before.concat(), messages.concat()].concat())
}

fn verb(address: &str, folder: &Path, args: &[&str]) -> (u8, String) {
    let common = ["client", "--server", address, "--user", "demo", "--password-stdin"];
    let args: Vec<&str> = common.iter().chain(args).copied().collect();
    let (env, screen) = Env::fake(&args, "pw\n");
    let status = run(&mut env.in_folder(folder));
    (status, screen.out() + &screen.err())
}

/// Every character but the ends of lines can be printed without doing anything else.
fn assert_harmless(printed: &str) {
    let harmful = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2028}');
    assert!(!printed.contains(harmful), "{printed:?}");
}

fn files_in(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files.extend(files_in(&path).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            files.push(name);
        }
    }
    files
}

#[test]
fn a_listing_of_what_lies_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = |count: usize| "0".repeat(count);
    for path in ["/../x", "//etc/passwd", "/a/../../b", "/a\\b", "/.", "/", &format!("/{NASTY}")] {
        for line in
            [format!("D\t{path}/.."), format!("F\t{path}\t1\t2\t{}\t{}\t15", zeros(32), zeros(64))]
        {
            for args in [&["inf"][..], &["--json", "inf"], &["inf", "-v"]] {
                let address = saying_inside(&[lines::encode(&["S", &line])]);
                let (status, printed) = verb(&address, folder.path(), args);
                assert_eq!(status, 11, "{line:?}: {printed}");
                assert_harmless(&printed);
            }
        }
    }
}

#[test]
fn a_listing_that_breaks_off_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["inf"][..], &["inf", "/", "--json"]] {
        let mut said = lines::encode(&["S", "D\t/a", "D\t/b"]);
        said.truncate(said.len() - 2); // what comes next might be more of it
        let (status, printed) = verb(&saying_inside(&[said]), folder.path(), args);
        assert_eq!(status, 6, "{printed}");
        assert!(printed.contains("/b") && printed.contains("cannot list"), "{printed}");
    }
}

#[test]
fn what_the_server_says_is_printed_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    for reply in [["E", NASTY, "busy"], ["E", "no", NASTY], ["D", NASTY, NASTY]] {
        for args in [
            &["del", "a"][..],
            &["--json", "del", "a"],
            &["rtv", "a", "--retry-for", "0s"],
            &["inf"],
        ] {
            let address = saying_inside(&[lines::encode(&reply)]);
            let (status, printed) = verb(&address, folder.path(), args);
            assert_ne!(status, 0);
            assert_harmless(&printed);
        }
    }
    let greeting = lines::encode(&["S", NASTY, "1", NASTY]);
    let welcome = lines::encode(&["S", NASTY]);
    let said = [lines::encode(&["S", "palk 1"]), greeting, welcome].concat();
    let (env, screen) = Env::fake(&["client", "--server", &saying(said)], "x\n");
    let _ = run(&mut env.in_folder(folder.path()));
    let printed = screen.out() + &screen.err();
    assert!(printed.contains("\\u{1b}[31m"), "{printed}");
    assert_harmless(&printed);
}

#[test]
fn only_the_file_that_was_asked_for_appears() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = b"bytes";
    let digest = blake3_of(bytes);
    let found = |digest: &Digest| {
        let digest = format!("blake3={digest}");
        let version = format!("version={}", "0".repeat(32));
        let fields = ["S", "bytes=5", &version, &digest, "stored_ms=1", "path=/../x", "name=../x"];
        lines::encode(&fields)
    };
    let body = [chunk::data_head(&[bytes]).to_vec(), bytes.to_vec(), chunk::end(&digest)].concat();
    let after = lines::encode(&["S", "nodes=1,2"]);
    let honest = saying_inside(&[found(&digest), body.clone(), after.clone()]);
    let (status, printed) = verb(&honest, folder.path(), &["rtv", "up/a", "--to", "in/"]);
    assert_eq!(status, 0, "{printed}");
    assert_eq!(files_in(folder.path()), ["in/a"]);
    // Other bytes than those that were stored, more than were announced, and an end before the end.
    let more = [body.clone(), body.clone()].concat();
    let less = body[..body.len() - 1].to_vec();
    for messages in [
        vec![found(&Digest([0; 32])), body.clone(), after.clone()],
        vec![found(&digest), more[..2 * 17].to_vec(), after.clone()],
        vec![found(&digest), less],
    ] {
        let liar = saying_inside(&messages);
        let (status, printed) =
            verb(&liar, folder.path(), &["rtv", "up/b", "--to", "in/", "--retry-for", "0s"]);
        assert!(matches!(status, 6 | 7), "{status} {printed}");
        assert_eq!(files_in(folder.path()), ["in/a"]);
    }
}

#[test]
fn an_empty_user_is_refused_and_the_password_is_not_sent_as_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let address = saying_inside(&[]);
    let common = ["client", "--server", &address, "--user", "", "--password-stdin", "inf"];
    let (env, screen) = Env::fake(&common, "pw\n");
    assert_eq!(run(&mut env.in_folder(folder.path())), 2, "{}", screen.err());
    assert!(screen.err().contains("must not be empty"), "{}", screen.err());
}
