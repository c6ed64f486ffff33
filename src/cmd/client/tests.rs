//! Whole one-shot commands against a server in memory.

mod folders;
mod hostile;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cmd::env::Env;
use crate::cmd::run;
use crate::core::remote::tests::fake::{FakeServer, Fault, blake3_of};

/// Runs a verb in a folder with the right password on standard input.
fn verb(server: &FakeServer, folder: &Path, args: &[&str]) -> (u8, String, String) {
    let address = server.address.as_str();
    let common = ["client", "--server", address, "--user", "demo", "--password-stdin"];
    let args: Vec<&str> = common.iter().chain(args).copied().collect();
    let (env, screen) = Env::fake(&args, "pw\n");
    let status = run(&mut env.in_folder(folder));
    (status, screen.out(), screen.err())
}

#[test]
fn stored_files_come_back_under_their_names() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "bytes of a").unwrap();
    fs::write(folder.path().join("b"), "").unwrap();
    let (status, out, err) = verb(&server, folder.path(), &["store", "a", "b", "--to", "/up/x"]);
    assert_eq!((status, out.as_str()), (0, ""), "{err}");
    assert!(err.starts_with("Stored up/x/a  10 B in "), "{err}");
    assert!(err.contains("on 4 of 4 nodes\nStored up/x/b  0 B"), "{err}");
    let args = ["rtv", "up/x/a", "/up/x/b", "--to", "new/"];
    assert_eq!(verb(&server, folder.path(), &args).0, 0);
    assert_eq!(fs::read(folder.path().join("new/a")).unwrap(), b"bytes of a");
    assert_eq!(fs::read(folder.path().join("new/b")).unwrap(), b"");
    let (status, out, _) = verb(&server, folder.path(), &["rtv", "up/x/a", "--to", "-"]);
    assert_eq!((status, out.as_str()), (0, "bytes of a"));
    let (status, out, _) = verb(&server, folder.path(), &["inf"]);
    assert_eq!((status, out.as_str()), (0, "/up\n/up/x\n/up/x/a\n/up/x/b\n"));
    let (status, _, err) = verb(&server, folder.path(), &["del", "up/x/a", "up/x/b"]);
    assert_eq!((status, err.as_str()), (0, "Deleted up/x/a\nDeleted up/x/b\n"));
    assert!(server.files.lock().is_empty());
}

#[test]
fn options_stand_before_or_after_the_verb() {
    let server = FakeServer::start(Fault::None).with_file("/a", b"x");
    let (mut env, screen) = Env::fake(
        &["client", "inf", "--server", &server.address, "--user", "demo", "--password-stdin"],
        "pw\n",
    );
    assert_eq!(run(&mut env), 0);
    assert_eq!(screen.out(), "/a\n");
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let server = FakeServer::start(Fault::None).with_file("/there", b"x");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good"), "x").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let args = ["store", "missing", "folder", "good", "./good"];
    let (status, _, err) = verb(&server, folder.path(), &args);
    assert_eq!(status, 3);
    assert!(err.contains("error: cannot store missing: no such file or folder\n"), "{err}");
    assert!(err.contains("error: cannot store folder: it is a folder"), "{err}");
    assert!(err.contains("error: cannot store ./good: another of these files"), "{err}");
    assert!(err.contains("error: 3 of 4 failed, 1 done"), "{err}");
    assert!(server.files.lock().contains_key("/good"));
    assert_eq!(verb(&server, folder.path(), &["rtv", "no", "there"]).0, 3);
    assert!(folder.path().join("there").exists());
    assert_eq!(verb(&server, folder.path(), &["del", "no", "there"]).0, 3);
}

#[test]
fn each_kind_of_failure_has_its_status() {
    let server = FakeServer::start(Fault::None).with_file("/there", b"x");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there"), "y").unwrap();
    let huge = fs::File::create(folder.path().join("huge")).unwrap();
    huge.set_len(100_000_001).unwrap();
    for (args, status) in [
        (&["store", "missing"][..], 13),
        (&["store", "there", "--as", "a/"], 2),
        (&["store", "there", "--to", "../up"], 2),
        (&["store", "there", "huge", "--as", "a"], 2),
        (&["store", "-", "--as", "a"], 2),
        (&["store", "there", "--no-replace"], 9),
        (&["store", "huge"], 8),
        (&["rtv", "missing"], 4),
        (&["rtv", "there", "there", "--to", "huge"], 2),
        (&["rtv", "there", "--to", "there/file"], 13),
        (&["del", "missing"], 4),
        (&["signup"], 0),
    ] {
        let (found, out, err) = verb(&server, folder.path(), args);
        assert_eq!(found, status, "{args:?}: {out}{err}");
        let lines: Vec<_> = err.lines().collect();
        assert!(status == 0 || (lines.len() == 2 && lines[0].starts_with("error: ")), "{err}");
        assert!(!err.contains("os error"));
    }
    assert_eq!(server.files.lock()["/there"], b"x");
}

#[test]
fn a_password_that_is_wrong_or_missing_is_said_before_anything_happens() {
    let server = FakeServer::start(Fault::None);
    let common = ["client", "--server", &server.address];
    for (more, status) in [
        (&["inf", "--user", "demo", "--password-stdin"][..], 5),
        (&["inf", "--user", "demo"], 2),
        (&["inf", "--password-stdin"], 2),
    ] {
        let args: Vec<&str> = common.iter().chain(more).copied().collect();
        let (mut env, screen) = Env::fake(&args, "wrong\n");
        assert_eq!(run(&mut env), status, "{}", screen.err());
    }
    let (mut env, screen) = Env::fake(
        &["client", "inf", "--server", "127.0.0.1:1", "--user", "demo", "--password-stdin"],
        "pw\n",
    );
    assert_eq!(run(&mut env), 6);
    let text = "error: cannot connect to server 127.0.0.1:1: connection refused\n  Is the server";
    assert!(screen.err().starts_with(text), "{}", screen.err());
}

#[test]
fn a_file_that_did_not_arrive_whole_does_not_appear() {
    for (fault, status) in [
        (Fault::DamagesChunk, 7),
        (Fault::SendsOtherBytes, 7),
        (Fault::Closes, 6),
        (Fault::GivesUp, 7),
        (Fault::Disconnects, 10),
    ] {
        let server = FakeServer::start(fault).with_file("/f", &vec![7; 3 << 20]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "old").unwrap();
        let (found, _, err) = verb(&server, folder.path(), &["rtv", "f"]);
        assert_eq!(found, status, "{fault:?}: {err}");
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{fault:?}");
    }
}

#[test]
fn a_broken_connection_is_replaced_for_the_next_file() {
    let server = FakeServer::start(Fault::Closes).with_file("/f", &vec![7; 3 << 20]);
    let server = server.with_file("/g", b"small");
    let folder = tempfile::tempdir().unwrap();
    let (mut env, screen) = Env::fake(
        &[
            "client",
            "rtv",
            "f",
            "g",
            "--server",
            &server.address,
            "--user",
            "demo",
            "--password-stdin",
        ],
        "pw\n",
    );
    env = env.in_folder(folder.path());
    assert_eq!(run(&mut env), 3, "{}", screen.err());
    assert_eq!(fs::read(folder.path().join("g")).unwrap(), b"small");
}

#[test]
fn json_ends_with_the_result_or_the_error() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "bytes").unwrap();
    let json = |args: &[&str]| {
        let (status, out, err) = verb(&server, folder.path(), args);
        assert!(err.is_empty(), "{err}");
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        assert!(lines.iter().all(|line| line["v"] == 1));
        assert_eq!(lines.last().unwrap()["code"], status);
        lines
    };
    let lines = json(&["store", "a", "--json"]);
    assert_eq!((&lines[0]["type"], &lines[0]["path"]), (&"result".into(), &"/a".into()));
    assert_eq!(lines[0]["blake3"], blake3_of(b"bytes").to_string());
    let lines = json(&["--json", "rtv", "a", "b"]);
    assert_eq!((&lines[0]["type"], &lines[0]["bytes"]), (&"item".into(), &5.into()));
    assert_eq!((&lines[1]["code"], &lines[2]["code"]), (&4.into(), &3.into()));
    let lines = json(&["inf", "--json"]);
    assert_eq!((&lines[0]["kind"], &lines[1]["files"]), (&"file".into(), &1.into()));
    assert_eq!(json(&["rtv", "b", "--json"])[0]["type"], "error");
}

#[test]
fn quiet_prints_data_only() {
    let server = FakeServer::start(Fault::None).with_file("/a", b"x");
    let folder = tempfile::tempdir().unwrap();
    let (status, out, err) = verb(&server, folder.path(), &["-q", "rtv", "a"]);
    assert_eq!((status, out.as_str(), err.as_str()), (0, "", ""));
    let (_, out, _) = verb(&server, folder.path(), &["inf", "-v"]);
    assert!(out.starts_with("      1 B  2023-11-1"), "{out}");
    assert!(out.ends_with("1,2,3,4   /a\n"), "{out}");
}

#[test]
fn the_options_win_over_the_profile() {
    let server = FakeServer::start(Fault::None).with_file("/a", b"x");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pw"), "pw").unwrap();
    let config = folder.path().join("config.toml");
    let password = folder.path().join("pw");
    let text = format!(
        "[profile.p]\nserver = '127.0.0.1:1'\nuser = 'demo'\npassword_file = '{}'\n",
        password.display()
    );
    fs::write(&config, text).unwrap();
    for (args, status) in [
        (&["client", "inf", "--profile", "p", "--server", &server.address][..], 0),
        (&["client", "inf", "--profile", "p"], 6),
        (&["client", "inf", "--profile", "q"], 2),
    ] {
        let (mut env, screen) = Env::fake(args, "");
        env.set_variable("PALK_CONFIG", &config);
        assert_eq!(run(&mut env), status, "{}", screen.err());
    }
}

#[cfg(unix)]
#[test]
fn what_has_no_size_is_stored_like_a_file() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("pw");
    fs::write(&password, "pw").unwrap();
    let common = ["client", "--server", &server.address, "--user", "demo", "--password-file"];
    let store = ["store", "-", "--as", "in", "--to", "up/"];
    let args: Vec<&str> =
        common.into_iter().chain([password.to_str().unwrap()]).chain(store).collect();
    let (mut env, screen) = Env::fake(&args, "from a pipe");
    assert_eq!(run(&mut env), 0, "{}", screen.err());
    assert_eq!(server.files.lock()["/up/in"], b"from a pipe");
    assert_eq!(verb(&server, folder.path(), &["store", "/dev/null"]).0, 0);
    assert_eq!(server.files.lock()["/null"], b"");
}
