//! Clients that want to hurt the others: crowds that hold connections, senders of single bytes,
//! guessers of passwords, thieves of tokens. And what the log says of it all.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use palk::core::error::Code;
use palk::core::path::UserName;
use palk::core::serve::files::Policy;
use palk::core::serve::server::{Config, Server};
use palk::core::serve::upkeep::Rates;
use palk::core::session::Dialect;
use support::raw::{Raw, describing, seed_of};
use support::{Cluster, HANG, PASSWORD, USER, expect, palk, until};

/// How many of a crowd, unless a variable says otherwise.
fn count_from(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |count| count.parse().unwrap())
}

/// The memory that a process has now, in bytes.
fn memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// With `PALK_HOSTILE_IDLE=1000 PALK_HOSTILE_SLOW=200` it is the crowd that the limits are made for.
#[test]
fn a_crowd_that_holds_connections_leaves_others_alone() {
    let idle = count_from("PALK_HOSTILE_IDLE", 300);
    let slow = count_from("PALK_HOSTILE_SLOW", 50);
    let mut cluster = Cluster::start();
    let mut normal = Raw::sign_in(&cluster);
    normal.store("before.bin", "test", &describing(1, 3_000_000)).unwrap();
    let pid = cluster.server().pid();
    // A user's turns, each with a sign-in, as long as nobody else is there and then in the crowd.
    let turns = |normal: &mut Raw| -> Duration {
        let mut times = Vec::new();
        for turn in 0..20 {
            let begun = Instant::now();
            let mut another = Raw::sign_in(&cluster);
            for client in [&mut *normal, &mut another] {
                let name = format!("turn{turn}.bin");
                client.store(&name, "test", &describing(turn, 500_000)).unwrap();
                assert_eq!(seed_of(&client.retrieve(&name, "test").unwrap()), turn);
                client.delete(&name, "test").unwrap();
            }
            assert_eq!(seed_of(&normal.retrieve("before.bin", "test").unwrap()), 1);
            times.push(begun.elapsed());
        }
        times.sort();
        times[times.len() / 2]
    };
    let alone = turns(&mut normal);

    let before = memory(pid);
    let mut waiting: Vec<TcpStream> = Vec::new();
    for n in 0..idle {
        let mut stream = cluster.connect();
        // Half of them never say anything at all.
        if n % 2 == 0 {
            stream.write_all(b"HI\r\n\r\n").unwrap();
            expect(&mut stream, b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n");
        }
        waiting.push(stream);
    }
    let with_idle = memory(pid);
    // Hellos, sign-ins and bodies of files that come byte by byte.
    let mut dripping: Vec<TcpStream> = (0..slow)
        .map(|n| match n % 3 {
            0 => cluster.connect(),
            1 => {
                let mut stream = cluster.connect();
                stream.write_all(b"HI\r\n\r\n").unwrap();
                stream
            }
            _ => {
                let mut client = Raw::sign_in(&cluster);
                client.send(&Raw::store_head(&format!("slow{n}.bin"), "slow", 50_000_000));
                client.stream
            }
        })
        .collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let bytes = b"HI\r\nabout me\r\n".iter().cycle();
            for byte in bytes.take_while(|_| !stop.load(Ordering::Relaxed)) {
                for stream in &mut dripping {
                    // Those that the server has had enough of are closed.
                    let _ = stream.write_all(&[*byte]);
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let crowded = turns(&mut normal);
        eprintln!("a turn of a user: {alone:?} alone, {crowded:?} in the crowd (medians of 20)");
        stop.store(true, Ordering::Relaxed);
    });
    let with_all = memory(pid);
    let each = |bytes: usize, count: usize| bytes / count.max(1) / 1024;
    let of_idle = each(with_idle.saturating_sub(before), idle);
    let of_slow = each(with_all.saturating_sub(with_idle), slow);
    eprintln!("{idle} idle: {of_idle} KiB each; {slow} slow: {of_slow} KiB each (and their files)");
    assert!(of_idle < 128, "an idle connection takes {of_idle} KiB");
    drop((waiting, dripping));
    let state = cluster.server();
    until("all have gone", || state.count(" connected\n") > 0 && threads(pid) < 100);
    assert_eq!(normal.list(), "/demo/test\r\n/demo/test/before.bin");
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// An extended session that asks for nothing yet.
fn extended(address: &str) -> Raw {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut raw = Raw { stream };
    raw.send(b"HI\r\npalk 1\r\n\r\n");
    assert_eq!(raw.message(), "S\r\npalk 1");
    raw
}

/// One request and what is said to it.
trait Ask {
    fn ask(&mut self, lines: &[&str]) -> String;
}

impl Ask for Raw {
    fn ask(&mut self, lines: &[&str]) -> String {
        self.send(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes());
        self.message()
    }
}

#[test]
fn guessing_is_slowed_down_and_tells_nothing_about_who_is_there() {
    let cluster = Cluster::start();
    let guess = |user: &str| {
        let mut client = extended(cluster.address());
        let mut said = Vec::new();
        for n in 0..5 {
            said.push(client.ask(&["LGN", user, &format!("guess {n}")]));
        }
        said
    };
    let (known, unknown) = (guess(USER), guess("nobody"));
    assert_eq!(known, unknown);
    let wrong = "E\r\nthe user name or the password is wrong\r\nsign-in";
    assert_eq!(known[..4], [wrong; 4]);
    let wait = "E\r\ntoo many failed sign-ins: wait 1 s, then try again\r\ntemporary";
    assert_eq!(known[4], wait);

    // In the specified session the text stands before the question, and a wait is told to scripts.
    for n in 0..6 {
        extended(cluster.address()).ask(&["LGN", USER, &format!("more {n}")]);
    }
    let mut plain = Raw { stream: cluster.connect() };
    plain.send(b"HI\r\n\r\n");
    plain.message();
    until("there is a wait", || {
        extended(cluster.address()).ask(&["LGN", USER, "wrong"]);
        plain.send(format!("{USER}\r\nwrong\r\n\r\n").as_bytes());
        let said = plain.message();
        assert!(said.ends_with("\r\n2\r\nUsername: \r\nPassword: "), "{said}");
        said.starts_with("E\r\ntoo many failed sign-ins: wait ")
    });
    // After the wait the right one is taken, and nothing is left of the failures.
    until("the wait is over", || {
        extended(cluster.address()).ask(&["LGN", USER, PASSWORD]) == "S\r\nuser=demo"
    });
    assert_eq!(guess(USER)[..4], [wrong; 4]);
}

/// A client of a home of its own.
fn client(cluster: &Cluster, home: &str, arguments: &[&str]) -> Output {
    let mut command: Command = palk();
    command.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", cluster.path(home));
    command.args(["client", "--server", cluster.address(), "--user", USER]).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

fn token_in(cluster: &Cluster, home: &str) -> String {
    let server = cluster.address().replace(':', "%3A");
    let place = cluster.path(home).join("palk/tokens").join(server).join(USER);
    std::fs::read_to_string(place).unwrap().trim().to_owned()
}

#[test]
fn a_stolen_token_is_worth_nothing_after_the_password_was_changed() {
    let cluster = Cluster::start();
    for home in ["laptop", "phone"] {
        let output = client(&cluster, home, &["login", "--password-file", "password"]);
        assert!(output.status.success(), "{output:?}");
    }
    let stolen = token_in(&cluster, "phone");
    let mut thief = extended(cluster.address());
    assert_eq!(thief.ask(&["TOK", USER, &stolen]), "S\r\nuser=demo");
    assert_eq!(thief.ask(&["INF"]), "S");
    std::fs::write(cluster.path("new"), "another horse\n").unwrap();
    let change = ["passwd", "--password-file", "password", "--new-password-file", "new"];
    let output = client(&cluster, "laptop", &change);
    assert!(output.status.success(), "{output:?}");
    // The thief's session ends at its next request, and the token opens no other.
    let said = thief.ask(&["INF"]);
    assert!(said.starts_with("D\r\nyou are signed out: "), "{said}");
    let mut again = extended(cluster.address());
    let said = again.ask(&["TOK", USER, &stolen]);
    assert_eq!(said, "E\r\nthe saved sign-in is not valid any more\r\nsign-in");
    assert!(client(&cluster, "laptop", &["inf"]).status.success());
    let output = client(&cluster, "phone", &["inf"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("palk client login"));
}

#[test]
fn the_log_says_who_did_what_and_keeps_every_secret() {
    for format in ["text", "json"] {
        let mut cluster = Cluster::start_with(&["--log-format", format, "--quota", "1MB"]);
        std::fs::write(cluster.path("new"), "another horse\n").unwrap();
        std::fs::write(cluster.path("wrong"), "battery staple\n").unwrap();
        std::fs::write(cluster.path("a b.txt"), "some bytes").unwrap();
        std::fs::write(cluster.path("big"), vec![0; 1_000_001]).unwrap();
        let given = ["--password-file", "password"];
        let verbs: [(&[&str], i32); 9] = [
            (&["login", given[0], given[1]], 0),
            (&["store", "a b.txt", "--to", "up"], 0),
            (&["rtv", "up/a b.txt", "--to", "-"], 0),
            (&["store", "big"], 8),
            (&["inf", "--password-file", "wrong"], 5),
            (&["del", "up/a b.txt"], 0),
            (&["passwd", given[0], given[1], "--new-password-file", "new"], 0),
            (&["rtv", "up/a b.txt"], 4),
            (&["login", "--password-file", "new"], 0),
        ];
        let mut tokens = Vec::new();
        for (arguments, status) in verbs {
            let output = client(&cluster, "home", arguments);
            assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
            tokens.push(token_in(&cluster, "home"));
        }
        assert!(client(&cluster, "home", &["logout"]).status.success());
        // A password where the name belongs.
        extended(cluster.address()).ask(&["LGN", "another horse", "x"]);
        extended(cluster.address()).ask(&["LGN", "another-horse", "x"]);
        cluster.server().says("there is no such user");

        let log = cluster.server().log();
        let mut secrets = vec![PASSWORD, "another horse", "another-horse", "battery", "argon2"];
        secrets.extend(tokens.iter().map(String::as_str));
        for node in 1..=4 {
            let of_node = cluster.node(node).log();
            assert!(secrets.iter().all(|secret| !of_node.contains(secret)), "{of_node}");
        }
        for secret in secrets {
            assert!(!log.contains(secret), "{secret} in:\n{log}");
        }
        let events = [
            ("signed up", "ok"),
            ("signed in", "ok"),
            ("token issued", "ok"),
            ("signed in by token", "ok"),
            ("stored on 4 of 4 nodes", "ok"),
            ("retrieved", "ok"),
            ("not stored", "over-quota"),
            ("not signed in", "sign-in"),
            ("deleted", "ok"),
            ("password changed", "ok"),
            ("not retrieved", "no-such-file"),
            ("token revoked", "ok"),
        ];
        for (what, result) in events {
            let line = match format {
                "text" => log.lines().find(|line| {
                    line.contains(&format!("INFO {what} ")) && line.contains("user=\"demo\"")
                }),
                _ => log.lines().find(|line| {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    line["message"] == what && line["user"] == "demo" && line["ms"].is_u64()
                }),
            };
            let line = line.unwrap_or_else(|| panic!("no line for {what:?} in:\n{log}"));
            assert!(line.contains("client") && line.contains("127.0.0.1:"), "{line}");
            assert!(line.contains(&format!("\"{result}\"")), "{line}");
        }
        let stored = log.lines().find(|line| line.contains("stored on 4 of 4 nodes")).unwrap();
        assert!(stored.contains("\"/demo/up/a b.txt\""), "{stored}");
        assert!(stored.contains("bytes=10") || stored.contains("\"bytes\":10"), "{stored}");
    }
}

/// Nodes whose server is to run in this process.
fn with_nodes() -> Cluster {
    let mut cluster = Cluster::prepare(&[]);
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster
}

/// A server in this process that has reached its nodes, and where it listens.
fn server_of(cluster: &Cluster, policy: Policy) -> (std::sync::Arc<Server>, String) {
    let nodes = [1, 2, 3, 4].map(|node| cluster.node_address(node).to_owned());
    let server = Server::open(&Config {
        listen: "127.0.0.1:0".into(),
        nodes: Some(nodes),
        folder: cluster.path("user_database"),
        dialect: Dialect::Spec,
        file_bytes_max: 1_000_000,
        policy,
        doors: Vec::new(),
        web: None,
        reserve: None,
        rates: Rates::default(),
        take_over: false,
        key: None,
        certificate: None,
        allow_plaintext: false,
    });
    let server = std::sync::Arc::new(server.unwrap());
    let (running, address) = (server.clone(), server.address().to_string());
    thread::spawn(move || running.run());
    let nobody = UserName::parse("nobody").unwrap();
    until("accounts can be changed", || {
        server.users().enable(&nobody).unwrap_err().code() == Code::NoSuchUser
    });
    (server, address)
}

#[test]
fn accounts_are_made_disabled_and_removed_by_whoever_runs_the_server() {
    let cluster = with_nodes();
    let policy = Policy { sign_up: false, quota: None };
    let (server, address) = server_of(&cluster, policy);
    let closed = "E\r\nnobody can sign up on this server, its operator makes the accounts\r\n\
                  not-allowed";
    let mut client = extended(&address);
    assert_eq!(client.ask(&["NEW", "ann", "pw"]), closed);

    let (users, ann) = (server.users(), UserName::parse("ann").unwrap());
    users.add(&ann, "pw").unwrap();
    assert!(users.add(&ann, "pw").is_err());
    assert_eq!(client.ask(&["LGN", "ann", "pw"]), "S\r\nuser=ann");
    assert_eq!(client.ask(&["INF"]), "S");
    users.disable(&ann).unwrap();
    assert_eq!(client.ask(&["INF"]), "D\r\nyou are signed out: the account ann is disabled");
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0, "closed");
    let mut client = extended(&address);
    assert_eq!(client.ask(&["LGN", "ann", "pw"]), "E\r\nthe account ann is disabled\r\ndisabled");
    users.enable(&ann).unwrap();
    assert_eq!(client.ask(&["LGN", "ann", "pw"]), "S\r\nuser=ann");

    users.set_password(&ann, "new").unwrap();
    let signed_out = "D\r\nyou are signed out: the password was changed; sign in with the new one";
    assert_eq!(client.ask(&["INF"]), signed_out);
    let mut client = extended(&address);
    assert_eq!(client.ask(&["LGN", "ann", "new"]), "S\r\nuser=ann");
    users.remove(&ann).unwrap();
    assert_eq!(client.ask(&["INF"]), "D\r\nyou are signed out: there is no user ann");
    until("nothing is left of it", || users.list().unwrap().is_empty());
    let mut client = extended(&address);
    assert!(client.ask(&["LGN", "ann", "new"]).ends_with("\r\nsign-in"));
    users.add(&ann, "newer").unwrap();
    assert_eq!(client.ask(&["LGN", "ann", "newer"]), "S\r\nuser=ann");
    assert!(users.remove(&UserName::parse("nobody").unwrap()).is_err());
}

#[test]
fn a_removed_account_leaves_no_block_on_any_node() {
    let cluster = with_nodes();
    let (server, address) = server_of(&cluster, Policy::default());
    let (users, name) = (server.users(), UserName::parse(USER).unwrap());
    let sign_in = |password: &str| {
        let mut client = Raw { stream: TcpStream::connect(&address).unwrap() };
        client.stream.set_read_timeout(Some(HANG)).unwrap();
        client.send(format!("HI\r\n\r\n{USER}\r\n{password}\r\n\r\n").as_bytes());
        client.message();
        assert_eq!(client.message(), "S\r\nWelcome demo! You are a legend...");
        client
    };
    users.add(&name, "pw").unwrap();
    let mut client = sign_in("pw");
    let bytes = describing(1, 100_000);
    until("the nodes are there", || client.store("a.bin", "up", &bytes).is_ok());
    client.store("b.bin", "up", &bytes).unwrap();
    let has = |node: usize, count: usize| {
        ["up/a.bin", "up/b.bin"].iter().all(|path| cluster.blocks(node, path).len() == count)
    };
    until("the blocks have their names", || (1..=3).all(|node| has(node, 2)));
    users.remove(&name).unwrap();
    until("all blocks are gone", || (1..=4).all(|node| has(node, 0)));
    // Somebody else who gets the name begins with nothing, and keeps what is stored then.
    users.add(&name, "other").unwrap();
    let mut other = sign_in("other");
    assert_eq!(other.list(), "No files in database");
    other.store("a.bin", "up", &describing(2, 100_000)).unwrap();
    assert_eq!(seed_of(&other.retrieve("a.bin", "up").unwrap()), 2);
}
