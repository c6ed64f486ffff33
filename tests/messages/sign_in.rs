//! What is said of servers that cannot be reached or are others than expected, of accounts and passwords.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

#[test]
fn a_server_that_is_not_there_or_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Transcript::in_folder(folder.path());
    shell.set("PALK_USER", USER);
    shell.set("PALK_PASSWORD_COMMAND", "echo secret");
    for line in [
        "palk client --server 127.0.0.1:1 inf",
        "palk client --server 127.0.0.1:1",
        "palk client --server nobody.invalid inf",
        "palk client --server 127.0.0.1:1 login",
        "palk client trust 127.0.0.1:1",
        "palk client trust 127.0.0.1:1 AB",
        "palk client request 127.0.0.1 1024 photo.jpg",
        "palk status --server 127.0.0.1:1",
        "palk status",
        "palk admin status",
        "palk admin scrub --dir elsewhere",
        "mkdir empty; palk admin user list --dir empty",
    ] {
        shell.line(line);
    }
    // One that answers, and is no server of Palk.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    shell.redact("[OTHER]", &address);
    thread::spawn(move || {
        for (at, stream) in other.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let answers = [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""];
            let _ = stream.write_all(answers[at.min(1)]);
        }
    });
    shell.note("at this address is a server of another program");
    shell.line(&format!("palk client --server {address} inf"));
    shell.note("and at this one the connection is closed");
    shell.line(&format!("palk client --server {address} inf"));
    shell.is("no-server");
}

#[test]
fn accounts_and_passwords() {
    let cluster = Cluster::start_with(&["--quota", "1MB"]);
    let mut shell = Transcript::of(&cluster);
    shell.redact_like("[SECONDS]", r"wait (?<redacted>\d+) s");
    for line in [
        "echo wrong > wrong; palk client --password-file wrong inf",
        "palk client --user nobody inf",
        "palk client --password-file missing inf",
        "printf '' | palk client --password-stdin inf",
        "palk client --password-command 'exit 3' inf",
        "palk client --password-command \"echo 'x\" inf",
        "PALK_PASSWORD_FILE= palk client inf < /dev/null",
        "palk client signup",
        "palk client --user 'a/b' signup",
        "palk client passwd --no-input",
        "palk client logout",
        "head -c 600000 /dev/zero > half; palk client store half --as a",
        "palk client store half --as b",
        "palk admin user add demo --password-file wrong",
        "palk admin user add ann",
        "palk admin user passwd nobody --password-file wrong",
        "palk admin user remove demo",
        "palk admin user remove nobody --yes",
        "palk admin user quota demo much",
        "palk admin user disable demo",
        "palk client inf",
        "palk admin user enable demo",
        "palk client --password-file wrong login",
        "printf 'demo\\nwrong\\n' | PALK_USER= PALK_PASSWORD_FILE= palk client",
    ] {
        shell.line(line);
    }
    shell.note("after many failed sign-ins");
    let wrong = "palk client --password-file wrong inf";
    while shell.command(wrong).output().unwrap().status.code() != Some(10) {}
    shell.line(wrong);
    shell.is("accounts");
}

#[test]
fn a_server_that_is_another_one_and_one_that_takes_no_accounts() {
    let mut cluster = Cluster::start();
    let mut shell = Transcript::of(&cluster);
    let fingerprint = |cluster: &mut Cluster| {
        let log = cluster.server().log();
        log.split_once("fingerprint is ").unwrap().1[..64].to_owned()
    };
    shell.redact("[OLD_FINGERPRINT]", &fingerprint(&mut cluster));
    shell.line("palk client inf");
    cluster.stop_server();
    std::fs::remove_dir_all(cluster.path("user_database/tls")).unwrap();
    cluster.set_options(&["--no-signup"]);
    cluster.restart_server();
    shell.redact("[NEW_FINGERPRINT]", &fingerprint(&mut cluster));
    shell.note("another server has the port");
    shell.line("palk client inf");
    shell.line("palk client --fingerprint sha256:00 inf");
    shell.line(&format!("palk client --fingerprint {} inf", "0".repeat(64)));
    shell.line("palk client trust $PALK_SERVER && palk client inf");
    shell.line("palk client --user ann signup");
    shell.is("identity");
}
