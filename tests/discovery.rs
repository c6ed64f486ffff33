//! Finding servers in the network, with the real program and raw datagrams. Everything stays on the
//! loopback address, on ports that the system chooses.

mod support;

use std::net::UdpSocket;
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;
use support::{Cluster, HANG, Process, USER, palk};

const NAME: &str = "Ann";

/// A server without nodes that can be found.
struct Server {
    process: Process,
    folder: tempfile::TempDir,
    /// Where it answers those who look for services.
    ask: String,
}

fn server(name: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let mut command = palk();
    command.args(["server", "--listen", "127.0.0.1:0", "--discoverable", name]);
    command.args(["--discovery-listen", "127.0.0.1:0"]);
    // Nobody is there; a server listens all the same.
    command.args(["--node", "127.0.0.1:1"].repeat(4));
    command.arg("--dir").arg(folder.path().join("user_database"));
    let process = Process::start(command);
    let ask = asked_on(&process);
    Server { process, folder, ask }
}

/// Where this server's log says that it answers.
fn asked_on(process: &Process) -> String {
    let before = "by those who ask on ";
    process.says(before);
    let log = process.log();
    let at = log.find(before).unwrap() + before.len();
    log[at..].split(' ').next().unwrap().to_owned()
}

fn fingerprint_of(process: &Process) -> String {
    let before = "server's fingerprint is ";
    let log = process.log();
    log[log.find(before).unwrap() + before.len()..][..64].to_owned()
}

/// A service that answers the specified question only.
fn other_service(answer: &'static [u8]) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut question = [0; 1024];
        while let Ok((count, from)) = socket.recv_from(&mut question) {
            if &question[..count] == b"SERVICE DISCOVERY" {
                let _ = socket.send_to(answer, from);
            }
        }
    });
    address
}

fn scan(asked: &[&str], time: &str, options: &[&str]) -> Output {
    let mut command = palk();
    command.args(["client", "scan", "--timeout", time]).args(options);
    for address in asked {
        command.args(["--ask", address]);
    }
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Sends a datagram and gives the answer.
fn answer_to(question: &[u8], ask: &str) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    socket.send_to(question, ask).unwrap();
    let mut answer = [0; 1024];
    let (count, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(from.to_string(), ask);
    answer[..count].to_vec()
}

fn palks_question() -> Vec<u8> {
    let mut question = b"PALK DISCOVERY 1\r\n\r\n".to_vec();
    question.resize(192, b' ');
    question
}

#[test]
fn spec_3_a_server_answers_the_specified_question_with_the_specified_bytes() {
    let server = server(NAME);
    assert_eq!(answer_to(b"SERVICE DISCOVERY", &server.ask), b"Ann's File Sharing Service");
    let port = server.process.address().rsplit_once(':').unwrap().1.to_owned();
    let print = fingerprint_of(&server.process);
    let expected = format!("PALK 1\r\nAnn\r\n{port}\r\n{print}\r\n\r\n");
    let question = palks_question();
    let answer = answer_to(&question, &server.ask);
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
    assert!(expected.len() <= question.len(), "it must not serve to flood others");
}

#[test]
fn a_datagram_that_asks_nothing_gets_nothing() {
    let server = server(NAME);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    let long = vec![b'x'; 60_000];
    let short = &palks_question()[..60];
    for garbage in [&b"SERVICE"[..], b"", b"\0\xff\x16\x03\x01", short, &long] {
        socket.send_to(garbage, &server.ask).unwrap();
    }
    // One socket's datagrams stay in order here: the first answer is the one to the last.
    socket.send_to(b"SERVICE DISCOVERY", &server.ask).unwrap();
    let mut answer = [0; 1024];
    let (count, _) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[..count], b"Ann's File Sharing Service");
    server.process.says("looks for services");
    assert_eq!(server.process.count("looks for services"), 1, "who asks is logged once");
}

#[test]
fn an_address_gets_so_many_answers_a_second_and_the_next_second_more() {
    let server = server(NAME);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut asked, mut answered) = (0, 0);
    support::until("more answers come than a second has", || {
        for _ in 0..200 {
            socket.send_to(b"SERVICE DISCOVERY", &server.ask).unwrap();
            asked += 1;
        }
        let mut answer = [0; 1024];
        while socket.recv_from(&mut answer).is_ok() {
            answered += 1;
        }
        answered > 25
    });
    assert!(answered * 2 < asked, "{answered} answers to {asked} questions");
    server.process.says("looks for services");
    assert_eq!(server.process.count("looks for services"), 1);
}

#[test]
fn spec_3_scan_prints_each_service_once() {
    let server = server(NAME);
    let bob = other_service(b"Bob's File Sharing Service");
    let evil = other_service(b"Eve\x1b[2J\n's File Sharing Service");
    let noise = other_service(b"anything");
    let asked = [server.ask.as_str(), &bob, &evil, &noise, &server.ask];
    let found = scan(&asked, "2s", &[]);
    let port = server.process.address().rsplit_once(':').unwrap().1.to_owned();
    let expected = format!(
        "Ann's File Sharing Service found at 127.0.0.1 {port}\n\
         Bob's File Sharing Service found at 127.0.0.1 30001\n\
         Eve\\u{{1b}}[2J\\n's File Sharing Service found at 127.0.0.1 30001\n"
    );
    assert_eq!(out(&found), expected, "{}", err(&found));
    assert_eq!(found.status.code(), Some(0));
    assert!(err(&found).contains(&fingerprint_of(&server.process)), "{}", err(&found));
}

#[test]
fn spec_3_scan_says_when_there_is_no_service() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let asked = nobody.local_addr().unwrap().to_string();
    let found = scan(&[&asked], "100ms", &[]);
    assert_eq!((out(&found).as_str(), found.status.code()), ("No service found\n", Some(6)));
    let found = scan(&[&asked], "100ms", &["--json"]);
    let line: Value = serde_json::from_str(&out(&found)).unwrap();
    assert_eq!((&line["type"], &line["code"], &line["v"]), (&"error".into(), &6.into(), &1.into()));
    assert_eq!(found.status.code(), Some(6));
    // It was asked both questions, three times each.
    nobody.set_read_timeout(Some(HANG)).unwrap();
    let mut questions = Vec::new();
    for _ in 0..12 {
        let mut question = [0; 1024];
        let (count, _) = nobody.recv_from(&mut question).unwrap();
        questions.push(question[..count].to_vec());
    }
    let specified = questions.iter().filter(|question| *question == b"SERVICE DISCOVERY").count();
    let palks = questions.iter().filter(|question| **question == palks_question()).count();
    assert_eq!((specified, palks), (6, 6), "of two scans");
}

#[test]
fn scan_tells_programs_what_there_is_line_by_line() {
    let server = server(NAME);
    let bob = other_service(b"Bob's File Sharing Service");
    let found = scan(&[&server.ask, &bob], "2s", &["--json"]);
    let lines: Vec<Value> =
        out(&found).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0]["type"], "item");
    assert_eq!(lines[0]["service"], "Ann's File Sharing Service");
    assert_eq!(lines[0]["address"], "127.0.0.1");
    let port = server.process.address().rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(lines[0]["port"].to_string(), port);
    assert_eq!(lines[0]["fingerprint"], fingerprint_of(&server.process));
    assert_eq!((&lines[1]["port"], &lines[1]["palk"]), (&30001.into(), &false.into()));
    assert_eq!((&lines[2]["type"], &lines[2]["found"]), (&"result".into(), &2.into()));
}

#[test]
fn without_a_name_a_server_is_called_like_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = palk();
    command.args(["server", "--discoverable", "--listen", "127.0.0.1:0"]);
    command.args(["--discovery-listen", "127.0.0.1:0"]);
    command.args(["--node", "127.0.0.1:1"].repeat(4));
    command.arg("--dir").arg(folder.path().join("user_database"));
    let process = Process::start(command);
    let answer = answer_to(b"SERVICE DISCOVERY", &asked_on(&process));
    let host = palk::core::io::datagram::host_name();
    let name = palk::core::wire::discovery::ServiceName::of_host(&host);
    assert_eq!(String::from_utf8(answer).unwrap(), format!("{name}'s File Sharing Service"));
}

#[test]
fn a_port_that_is_taken_is_said_and_no_server_starts() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = palk();
    command.args(["server", "--listen", "127.0.0.1:0", "--discoverable", NAME]);
    command.args(["--discovery-listen", &address]).arg("--dir").arg(folder.path().join("db"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains(&address) && err(&output).contains("--discovery-listen"));
    assert!(!folder.path().join("db").exists(), "nothing was made");
}

#[test]
fn the_only_server_that_is_found_is_used() {
    let mut cluster =
        Cluster::start_with(&["--discoverable", NAME, "--discovery-listen", "127.0.0.1:0"]);
    let ask = asked_on(cluster.server());
    let bob = other_service(b"Bob's File Sharing Service");
    std::fs::write(cluster.path("a.txt"), "found").unwrap();
    let asked = format!("{ask},{bob}");
    let with = |cluster: &Cluster, arguments: &[&str]| -> Command {
        let mut command = palk();
        command.current_dir(cluster.folder.path()).args(arguments);
        command.args(["--user", USER]).arg("--password-file").arg(cluster.path("password"));
        command.env("PALK_SCAN_ASK", &asked);
        command
    };
    let stored =
        with(&cluster, &["client", "--server", "scan", "store", "a.txt"]).output().unwrap();
    assert!(stored.status.success(), "{}", err(&stored));
    let said = err(&stored);
    let used = format!("Using Ann's File Sharing Service at {}, fingerprint ", cluster.address());
    assert!(said.contains(&used) && said.contains("on 4 of 4 nodes"), "{said}");
    // The environment and a profile mean the same.
    let listed = with(&cluster, &["client", "-q", "inf"]).env("PALK_SERVER", "scan").output();
    assert_eq!(out(&listed.unwrap()), "/a.txt\n");
    std::fs::write(cluster.path("config"), "[profile.p]\nserver = 'scan'\n").unwrap();
    let mut command = with(&cluster, &["client", "-q", "inf", "--profile", "p"]);
    let listed = command.env("PALK_CONFIG", cluster.path("config")).output().unwrap();
    assert_eq!(out(&listed), "/a.txt\n", "{}", err(&listed));
    let status = with(&cluster, &["status", "-x", "--server", "scan"]).output().unwrap();
    assert!(status.status.success(), "{}", err(&status));

    // What an answer says of a fingerprint is not enough to be trusted, nor is it in the way of one
    // that is given.
    let wrong = "11".repeat(32);
    let refused = with(&cluster, &["client", "--server", "scan", "--fingerprint", &wrong, "inf"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(12), "{}", err(&refused));

    let mut session = with(&cluster, &["client", "--server", cluster.address()]);
    let session = assert_cmd::Command::from_std({
        session.stdin(std::process::Stdio::piped());
        session
    })
    .write_stdin("scan\nquit\n")
    .output()
    .unwrap();
    assert!(out(&session).contains("Bob's File Sharing Service found at 127.0.0.1 30001\n"));
    assert_eq!(session.status.code(), Some(0), "{}", err(&session));
}

#[test]
fn where_several_servers_are_found_a_script_is_told_which() {
    let (one, two) = (server("Ann"), server("Bob"));
    let mut command = palk();
    command.args(["client", "--server", "scan", "--user", USER, "--no-input", "inf"]);
    command.arg("--password-file").arg(one.folder.path().join("password"));
    command.env("PALK_SCAN_ASK", format!("{},{}", one.ask, two.ask));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    for server in [&one, &two] {
        assert!(err(&output).contains(&server.process.address()), "{}", err(&output));
    }
    assert!(err(&output).contains("--server 127.0.0.1:"), "{}", err(&output));
}

#[test]
fn where_no_server_is_found_it_is_status_6() {
    let bob = other_service(b"Bob's File Sharing Service");
    let mut command = palk();
    command.args(["client", "--server", "scan", "inf"]).env("PALK_SCAN_ASK", &bob);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(err(&output).contains("only other services"), "{}", err(&output));
}

#[test]
fn spec_3_a_share_door_is_found_by_the_specified_question() {
    let mut cluster = Cluster::start();
    cluster.server().kill();
    let mut command = palk();
    command.args(["server", "--listen", "127.0.0.1:0", "--discovery-listen", "127.0.0.1:0"]);
    command.args(["--door", &format!("share=127.0.0.1:0,user={USER}")]);
    command.arg("--dir").arg(cluster.path("user_database"));
    let process = Process::start(command);
    let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
    asker.set_read_timeout(Some(HANG)).unwrap();
    asker.send_to(b"SERVICE DISCOVERY", asked_on(&process)).unwrap();
    let mut answer = [0; 600];
    let (count, _) = asker.recv_from(&mut answer).unwrap();
    assert!(answer[..count].ends_with(b"'s File Sharing Service"));
    let found = palk()
        .args(["client", "scan", "--timeout", "1s", "--ask", &asked_on(&process)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(said.contains("found at 127.0.0.1 30001"), "{found:?}");
}
