//! The programs that people use, against the real thing.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::client::{address, start};
use super::support::{Cluster, PASSWORD, USER, noise, skip};

/// The program, if it is here.
fn program(name: &str) -> Option<Command> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&paths).any(|path| path.join(name).is_file());
    if !is_here {
        skip(&format!("{name} is not installed"));
    }
    is_here.then(|| Command::new(name))
}

fn run(command: &mut Command) -> Output {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let failed = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}\n{failed}");
    done
}

/// Files and folders with names and sizes of many kinds.
fn tree(folder: &Path) {
    for (n, name) in
        (0..).zip(["a.txt", "with space & more.bin", "up/é.txt", "up/deep/100%.bin", "up/#1?.txt"])
    {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise(n, usize::try_from(n).unwrap() * 700_001)).unwrap();
    }
    fs::create_dir_all(folder.join("empty")).unwrap();
}

#[test]
fn litmus_passes_whole() {
    let Some(mut litmus) = program("litmus") else { return };
    let mut cluster = start();
    let url = format!("http://{}/dav/", address(&mut cluster));
    litmus.args(["-k", &url, USER, PASSWORD]).current_dir(cluster.folder.path());
    let done = litmus.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("FAIL")).collect();
    assert!(done.status.success() && lines.is_empty(), "{told}");
    for suite in ["basic", "copymove", "props", "locks", "http"] {
        let summary = told.lines().find(|line| line.contains(&format!("summary for `{suite}'")));
        let summary = summary.unwrap_or_else(|| panic!("no {suite}: {told}"));
        assert!(summary.contains(" 0 failed"), "{summary}");
    }
}

fn rclone(cluster: &Cluster, url: &str) -> Option<Command> {
    let mut rclone = program("rclone")?;
    let hidden = run(program("rclone")?.args(["obscure", PASSWORD]));
    let hidden = String::from_utf8(hidden.stdout).unwrap();
    rclone.env("RCLONE_CONFIG", cluster.path("rclone.conf"));
    for (name, value) in [
        ("TYPE", "webdav"),
        ("URL", url),
        ("VENDOR", "owncloud"),
        ("USER", USER),
        ("PASS", hidden.trim()),
    ] {
        rclone.env(format!("RCLONE_CONFIG_PALK_{name}"), value);
    }
    Some(rclone)
}

#[test]
fn rclone_copies_syncs_and_checks() {
    let mut cluster = start();
    let url = format!("http://{}/dav/", address(&mut cluster));
    let (here, back) = (cluster.path("here"), cluster.path("back"));
    tree(&here);
    let (here, back) = (here.to_str().unwrap(), back.to_str().unwrap());
    let run_it = |words: &[&str]| Some(run(rclone(&cluster, &url)?.args(words)));
    if run_it(&["copy", "--create-empty-src-dirs", here, "palk:there"]).is_none() {
        return;
    }
    run_it(&["check", "--download", here, "palk:there"]);
    // What is older or not there any more goes; what is the same is not sent again.
    fs::write(format!("{here}/a.txt"), b"another one, and longer").unwrap();
    fs::remove_file(format!("{here}/up/deep/100%.bin")).unwrap();
    run_it(&["sync", here, "palk:there"]);
    run_it(&["check", "--download", here, "palk:there"]);
    let again = run_it(&["sync", "-v", "--stats-one-line", here, "palk:there"]).unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!said.contains("Copied"), "{said}");
    run_it(&["sync", "palk:there", back]);
    run_it(&["check", here, back]);
    run_it(&["moveto", "palk:there/up", "palk:there/down"]);
    let listed = run_it(&["lsf", "-R", "palk:there/down"]).unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("é.txt"), "{listed:?}");
    run_it(&["purge", "palk:there"]);
    assert!(cluster.retrieve("there/a.txt").is_err());
}

#[test]
fn curl_comes_in_over_tls_and_knows_the_server_by_its_key() {
    let Some(mut curl) = program("curl") else { return };
    let mut cluster = start();
    let address = address(&mut cluster);
    let port = address.rsplit(':').next().unwrap();
    let certificate = cluster.path("user_database/tls/server.crt");
    assert!(certificate.exists(), "{certificate:?}");
    fs::write(cluster.path("file"), noise(1, 3_000_000)).unwrap();
    // The name in the certificate that a server makes for itself.
    let (url, here) = (format!("https://palk:{port}/dav/file"), format!("palk:{port}:127.0.0.1"));
    let user = format!("{USER}:{PASSWORD}");
    let common = |curl: &mut Command| {
        curl.args(["-sS", "--fail-with-body", "-u", &user, "--resolve", &here]);
        curl.arg("--cacert").arg(&certificate);
    };
    common(&mut curl);
    run(curl.arg("-T").arg(cluster.path("file")).arg(&url));
    let mut curl = program("curl").unwrap();
    common(&mut curl);
    assert!(run(curl.arg(&url)).stdout == noise(1, 3_000_000));
    // Of which the length is not known: from a pipe.
    let mut curl = program("curl").unwrap();
    common(&mut curl);
    let piped = curl.args(["-T", "-"]).arg(format!("https://palk:{port}/dav/piped"));
    let file = fs::File::open(cluster.path("file")).unwrap();
    let done = piped.stdin(file).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(cluster.retrieve("piped").unwrap() == noise(1, 3_000_000));
}

#[test]
fn cadaver_does_what_a_person_types() {
    let Some(mut cadaver) = program("cadaver") else { return };
    let mut cluster = start();
    let address = address(&mut cluster);
    let host = address.split(':').next().unwrap();
    let made = cluster.client(&["--json", "keys", "create"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let (key, secret) = (made["access_key"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let netrc = format!("machine {host}\nlogin {key}\npassword {secret}\n");
    fs::write(cluster.path(".netrc"), netrc).unwrap();
    fs::write(cluster.path("one"), b"of a person").unwrap();
    let script = "mkcol f\ncd f\nput one\nlock one\nunlock one\ncopy one two\nmove two three\n\
        propset one note hello\npropget one note\nls\nget three back\ndelete one\nquit\n";
    fs::write(cluster.path("script"), script).unwrap();
    cadaver.arg(format!("http://{address}/dav/")).env("HOME", cluster.folder.path());
    cadaver.current_dir(cluster.folder.path());
    cadaver.stdin(fs::File::open(cluster.path("script")).unwrap());
    let done = cadaver.output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && !told.contains("failed"), "{told}");
    assert_eq!(fs::read(cluster.path("back")).unwrap(), b"of a person", "{told}");
    assert_eq!(cluster.retrieve("f/three").unwrap(), b"of a person", "{told}");
    assert!(cluster.retrieve("f/one").is_err(), "{told}");
    assert!(told.contains("hello"), "{told}");
}
