//! The program as scripts and people use it: its command line, its exit statuses, what it prints.
//!
//! What is printed is compared where somebody depends on it: data, the facts of a message, the exit
//! status. Numbers that differ from run to run are not.

#[path = "cli/completions.rs"]
mod completions;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/copies.rs"]
mod copies;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/folders.rs"]
mod folders;
#[path = "cli/globs.rs"]
mod globs;
#[path = "cli/links.rs"]
mod links;
#[path = "cli/local.rs"]
mod local;
#[path = "cli/looking.rs"]
mod looking;
#[path = "cli/moves.rs"]
mod moves;
#[path = "cli/servers.rs"]
mod servers;
#[path = "cli/services.rs"]
mod services;
mod support;
#[path = "cli/sync.rs"]
mod sync;
#[path = "cli/tour.rs"]
mod tour;
#[path = "cli/trees.rs"]
mod trees;
#[path = "cli/undo.rs"]
mod undo;
#[path = "cli/uploads.rs"]
mod uploads;
#[path = "cli/verbs.rs"]
mod verbs;
#[path = "cli/watch.rs"]
mod watch;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assert_cmd::assert::Assert;
use predicates::Predicate;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, is_empty, is_match, starts_with};
use serde_json::Value;
use support::{Cluster, PASSWORD, USER, noise, palk, until};

/// Runs a command to its end with this as its standard input.
fn run_with(command: Command, input: impl Into<Vec<u8>>) -> Assert {
    assert_cmd::Command::from_std(command).write_stdin(input.into()).timeout(support::HANG).assert()
}

fn run(command: Command) -> Assert {
    run_with(command, "")
}

/// A whole command line without a cluster.
fn palk_with(arguments: &[&str]) -> Assert {
    let mut command = palk();
    command.args(arguments);
    run(command)
}

/// A one-shot verb of user `demo`.
fn client(cluster: &Cluster, arguments: &[&str]) -> Assert {
    run(cluster.client_command(arguments))
}

/// What and why on the first line, what to do on the second.
fn told(text: &'static str) -> impl Predicate<str> {
    is_match(r"\Aerror: .*\n  .*\n\z").unwrap().and(contains(text)).and(contains("os error").not())
}

#[test]
fn help_and_version_are_data() {
    let version = format!("palk {}\n", env!("CARGO_PKG_VERSION"));
    palk_with(&["--version"]).code(0).stdout(version).stderr(is_empty());
    let commands = ["admin", "client", "demo", "server", "status", "storage"];
    let help = palk_with(&["--help"]).code(0).stderr(is_empty());
    commands.into_iter().fold(help, |help, command| help.stdout(contains(format!("  {command} "))));
    palk_with(&["demo", "--help"])
        .code(0)
        .stdout(contains("--file").and(contains("--tour")).and(contains("--exec")));
    palk_with(&["client", "--help"])
        .code(0)
        .stdout(contains("Exit status: 0 done").and(contains("exit-with-stdin").not()));
}

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["client", "--colour"],
        &["client", "store"],
        &["client", "rtv", "a", "--quiet", "--verbose"],
        &["client", "inf", "--user", "demo", "--no-input"],
        &["storage", "--id", "5"],
        &["storage"],
        &["server", "--node", "127.0.0.1:1"],
        &["server", "--max-file-size", "much"],
        &["storage", "--id", "1", "--reserve", "some"],
        &["admin"],
        &["admin", "fly"],
        &["demo", "--tour", "--exec", "true"],
        &["client", "--profile", "nobody's", "inf"],
    ] {
        palk_with(arguments).code(2).stdout(is_empty()).stderr(is_empty().not());
    }
    for arguments in [&["client", "--json", "--colour"][..], &["client", "--json"]] {
        let wrong = palk_with(arguments).code(2).stderr(is_empty());
        assert_eq!(json_lines(&wrong)[0]["code"], 2);
    }
}

#[test]
fn stored_files_come_back_from_a_script() {
    let cluster = Cluster::start();
    let (a, b) = (noise(1, 3_000_001), noise(2, 353));
    fs::write(cluster.path("a.bin"), &a).unwrap();
    fs::write(cluster.path("b.c.txt"), &b).unwrap();
    let stored = "Stored up/x/a.bin  3.0 MB in ";
    client(&cluster, &["store", "a.bin", "b.c.txt", "--to", "up/x"])
        .code(0)
        .stdout(is_empty())
        .stderr(
            starts_with(stored).and(is_match("on 4 of 4 nodes\nStored up/x/b.c.txt ").unwrap()),
        );
    run_with(cluster.client_command(&["store", "-", "--as", "piped"]), b.clone()).code(0);
    client(&cluster, &["inf"])
        .code(0)
        .stdout("/piped\n/up\n/up/x\n/up/x/a.bin\n/up/x/b.c.txt\n")
        .stderr(is_empty());
    client(&cluster, &["inf", "-v"]).code(0).stdout(contains("1,2,3,4   /up/x/a.bin\n"));

    client(&cluster, &["rtv", "up/x/a.bin", "/up/x/b.c.txt", "--to", "new/"])
        .code(0)
        .stdout(is_empty())
        .stderr(is_match("from nodes . and .\n  BLAKE3 [0-9a-f]{64}  checked\n").unwrap());
    assert!(fs::read(cluster.path("new/a.bin")).unwrap() == a);
    assert!(fs::read(cluster.path("new/b.c.txt")).unwrap() == b);
    client(&cluster, &["rtv", "up/x/a.bin", "--to", "-"]).code(0).stdout(a);
    client(&cluster, &["rtv", "piped", "--to", "other", "-q"]).code(0).stderr(is_empty());
    assert!(fs::read(cluster.path("other")).unwrap() == b);

    client(&cluster, &["store", "a.bin", "--as", "piped", "--no-replace"])
        .code(9)
        .stderr(told("Leave out --no-replace"));
    client(&cluster, &["store", "a.bin", "--as", "piped"]).code(0);
    client(&cluster, &["del", "piped", "up/x/a.bin"])
        .code(0)
        .stderr("Deleted piped\nDeleted up/x/a.bin\n");
    client(&cluster, &["inf"]).code(0).stdout("/up\n/up/x\n/up/x/b.c.txt\n");
}

/// A verb in a home of its own, with no password named.
fn at_home(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = palk();
    command.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", cluster.path("home"));
    command.args(["client", "--server", cluster.address()]).args(arguments);
    command
}

#[test]
fn a_kept_sign_in_stands_for_the_password_until_it_is_given_up() {
    let cluster = Cluster::start();
    let verb = |arguments: &[&str]| run(at_home(&cluster, arguments));
    fs::write(cluster.path("new"), "new one\n").unwrap();
    verb(&["inf", "--user", USER]).code(2).stderr(told("palk client login"));
    verb(&["login", "--user", USER, "--password-file", "new"]).code(5);
    assert!(!cluster.path("home").exists());
    verb(&["login", "--user", USER, "--password-file", "password"])
        .code(0)
        .stdout(is_empty())
        .stderr(starts_with("Signed in as demo at 127.0.0.1:").and(contains("palk client logout")));
    let folder = cluster.path("home/palk/tokens").join(cluster.address().replace(':', "%3A"));
    let token = fs::read_to_string(folder.join(USER)).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.join(USER)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // With the user named or not: there is only one.
    verb(&["store", "new", "--user", USER]).code(0);
    verb(&["inf"]).code(0).stdout("/new\n").stderr(is_empty());
    run_with(at_home(&cluster, &[]), "INF\n").code(0).stdout(contains("Signed in as demo\n"));
    // A password that is named is meant.
    verb(&["inf", "--user", USER, "--password-file", "new"]).code(5);

    verb(&["passwd", "--password-file", "password", "--no-input"])
        .code(2)
        .stderr(told("new password"));
    verb(&["passwd", "--password-file", "new", "--new-password-file", "new"])
        .code(5)
        .stderr(told("cannot change the password"));
    run_with(
        at_home(&cluster, &["passwd", "--password-stdin", "--new-password-stdin"]),
        format!("{PASSWORD}\nnew one\n"),
    )
    .code(0)
    .stderr(starts_with("Changed the password of demo."));
    verb(&["inf"]).code(0);
    verb(&["inf", "--user", USER, "--password-file", "password"]).code(5);
    verb(&["inf", "--user", USER, "--password-file", "new"]).code(0);

    // Another sign-in replaces the one that is kept, there and here.
    let login = ["login", "--user", USER, "--password-file", "new", "--json"];
    let lines = json_lines(&verb(&login).code(0));
    assert_eq!((&lines[0]["type"], &lines[0]["user"]), (&"result".into(), &USER.into()));
    assert_ne!(fs::read_to_string(folder.join(USER)).unwrap(), token);
    fs::write(folder.join(USER), token).unwrap();
    verb(&["inf"]).code(5).stderr(told("not valid any more").and(contains("palk client login")));
    assert!(!folder.exists());
    verb(&login).code(0);
    verb(&["logout"]).code(0).stderr(starts_with("Signed out demo at "));
    verb(&["logout"]).code(0).stderr(starts_with("No sign-in at "));
    verb(&["inf"]).code(2);
    // Nothing of it was ever an argument or a variable: there is no such option.
    for option in ["--password", "--new-password", "--token"] {
        verb(&["passwd", option, "x"]).code(2).stderr(contains(option));
    }
}

#[test]
fn a_quota_and_a_closed_door_say_what_to_do() {
    let cluster = Cluster::start_with(&["--quota", "1MB"]);
    fs::write(cluster.path("small"), vec![1; 600_000]).unwrap();
    fs::write(cluster.path("big"), vec![2; 900_000]).unwrap();
    client(&cluster, &["store", "small", "--as", "a"]).code(0);
    client(&cluster, &["store", "small", "--as", "b"]).code(8).stderr(
        told("600000 bytes do not fit: 600000 of the 1000000 bytes").and(contains("higher quota")),
    );
    client(&cluster, &["store", "big", "--as", "a"]).code(0);
    client(&cluster, &["del", "a"]).code(0);
    client(&cluster, &["store", "big", "--as", "b"]).code(0);
    client(&cluster, &["store", "small", "--as", "a"]).code(8);
    client(&cluster, &["inf"]).code(0).stdout("/b\n");
    drop(cluster);

    let mut cluster = Cluster::prepare(&["--no-signup"]);
    cluster.start_server();
    client(&cluster, &["signup"])
        .code(9)
        .stderr(told("nobody can sign up on this server").and(contains("Ask the operator")));
}

#[test]
fn a_range_of_a_file_is_retrieved() {
    let cluster = Cluster::start();
    let bytes = noise(4, 2_500_000);
    cluster.store("f", &bytes).unwrap();
    cluster.store("empty", b"").unwrap();
    for (range, from, end) in [
        ("0-0", 0, 1),
        ("5-1048580", 5, 1_048_581),
        ("1048576-", 1_048_576, 2_500_000),
        ("2499999-9999999", 2_499_999, 2_500_000),
        ("-1000001", 1_499_999, 2_500_000),
        ("-9999999", 0, 2_500_000),
    ] {
        let part = bytes[from..end].to_vec();
        client(&cluster, &["rtv", "f", "--range", range, "--to", "-", "-q"]).code(0).stdout(part);
    }
    let told_json = client(&cluster, &["rtv", "f", "--range", "-10", "--to", "part", "--json"]);
    let lines = json_lines(&told_json.code(0));
    assert_eq!(lines[0]["range"], serde_json::json!({"from": 2_499_990, "bytes": 10}));
    assert_eq!(lines[0]["bytes"], 2_500_000);
    assert!(fs::read(cluster.path("part")).unwrap() == bytes[2_499_990..]);
    client(&cluster, &["rtv", "f", "--range", "2500000-", "--to", "no"])
        .code(2)
        .stderr(told("the file has 2500000 bytes, so it has none from 2500000 on"));
    client(&cluster, &["rtv", "empty", "--range", "-5", "--to", "-", "-q"]).code(0).stdout("");
    // A part under the name of the whole would be taken for it.
    client(&cluster, &["rtv", "f", "--range", "0-9"]).code(2).stderr(contains("--to"));
    client(&cluster, &["rtv", "f", "--range", "9-0", "--to", "no"])
        .code(2)
        .stderr(contains("a range ends before it begins"));
    assert!(!cluster.path("no").exists() && !cluster.path("f").exists());
}

#[test]
fn with_nodes_down_files_are_read_and_what_cannot_be_done_names_them() {
    let mut cluster = Cluster::start();
    let bytes = noise(3, 100_000);
    cluster.store("f", &bytes).unwrap();
    cluster.lose_node(2);
    cluster.lose_node(4);
    client(&cluster, &["rtv", "f", "--to", "-"])
        .code(0)
        .stdout(bytes.clone())
        .stderr(contains("from nodes 1 and 3\n"));
    client(&cluster, &["rtv", "f", "--range", "99000-99099", "--to", "-"])
        .code(0)
        .stdout(bytes[99_000..99_100].to_vec())
        .stderr(contains("Retrieved bytes 99000-99099 of f  100 B"));
    client(&cluster, &["store", "password"])
        .code(6)
        .stderr(told("cannot store password").and(contains("node 2")).and(contains("node 4")));
    client(&cluster, &["inf"]).code(0).stdout("/f\n");
    cluster.lose_node(1);
    client(&cluster, &["rtv", "f"]).code(6).stderr(told("cannot retrieve f"));
    assert!(!cluster.path("f").exists());
    cluster.return_node(4);
    client(&cluster, &["rtv", "f"]).code(0).stderr(contains("from nodes 3 and 4\n"));
}

fn json_lines(assert: &Assert) -> Vec<Value> {
    let out = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["v"] == 1), "{out}");
    lines
}

#[test]
fn json_is_one_object_a_line_and_the_last_has_the_status() {
    let cluster = Cluster::start();
    fs::write(cluster.path("a"), "bytes").unwrap();
    let mut kinds = Vec::new();
    for (arguments, status) in [
        (&["store", "a"][..], 0),
        (&["store", "a", "missing"], 3),
        (&["rtv", "a", "--to", "b"], 0),
        (&["rtv", "nothing"], 4),
        (&["inf"], 0),
        (&["del", "a"], 0),
        (&["inf", "--to", "x"], 2),
    ] {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let assert = client(&cluster, &arguments).code(status).stderr(is_empty());
        let lines = json_lines(&assert);
        assert_eq!(lines.last().unwrap()["code"], status, "{arguments:?}");
        kinds.extend(lines.iter().map(|line| line["type"].as_str().unwrap().to_owned()));
        if arguments[0] == "store" {
            assert_eq!((&lines[0]["path"], &lines[0]["nodes"]), (&"/a".into(), &4.into()));
        }
    }
    let expected = ["result", "item", "item", "error", "result", "error", "item", "result"];
    assert_eq!(kinds[..8], expected);
}

/// A status command in the folder of a cluster, whose server has its own folder there.
fn status(cluster: &Cluster, arguments: &[&str]) -> Assert {
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(arguments);
    run(command)
}

/// The options of somebody who signs in.
fn signed_in(cluster: &Cluster) -> Vec<String> {
    let options = ["--server", cluster.address(), "--user", USER, "--password-file", "password"];
    options.map(str::to_owned).into()
}

#[test]
fn status_tells_what_can_be_read_and_stored_and_what_is_wrong() {
    let mut cluster = Cluster::start();
    cluster.store("up/a", b"bytes").unwrap();
    cluster.await_healthy();
    let healthy = "HEALTHY  every file is readable; files can be stored; 2 more nodes";
    status(&cluster, &["status"])
        .code(0)
        .stdout(starts_with(format!("      state: {healthy}\n             may be lost\n")))
        .stdout(contains("      files: 1 in 5 B     owed: "))
        .stdout(contains(format!("  up     {}  ", cluster.node_address(4))))
        .stderr(is_empty());
    let options = signed_in(&cluster);
    let remotely: Vec<&str> =
        ["status", "-x"].into_iter().chain(options.iter().map(String::as_str)).collect();
    for arguments in [&["status", "-x"][..], &["admin", "status", "-x"], &remotely] {
        let line = format!("{healthy} may be lost  (server: ");
        status(&cluster, arguments).code(0).stdout(starts_with(line));
    }

    cluster.lose_node(2);
    status(&cluster, &["status", "-x"])
        .code(20)
        .stdout(starts_with(
            "      state: DEGRADED  every file is readable; files can be stored; 1",
        ))
        .stdout(is_match("     status: node 2 has not answered for [0-9]+s \\(.+\\)\n").unwrap())
        .stdout(contains("     action: start it:  palk storage --id 2\n"))
        .stdout(is_match("       2     down   .*[0-9]s ago\n").unwrap());
    cluster.lose_node(3);
    status(&cluster, &["admin", "status"])
        .code(20)
        .stdout(contains("no file can be stored; no more\n             node may be lost"));
    cluster.lose_node(4);
    let unavailable = starts_with("      state: UNAVAILABLE  1 of 1 files cannot be read now;");
    status(&cluster, &["status"]).code(21).stdout(unavailable.and(contains("/demo/up/a\n")));
    // Users are told no names of files.
    status(&cluster, &remotely).code(21).stdout(contains("/up/a").not());
}

#[test]
fn status_as_json_is_one_line_of_facts() {
    let mut cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    cluster.await_healthy();
    let options = signed_in(&cluster);
    let remotely: Vec<&str> =
        ["status", "--json"].into_iter().chain(options.iter().map(String::as_str)).collect();
    let ways = [&["status", "--json"][..], &["admin", "status", "--json"], &remotely];
    for arguments in ways {
        let lines = json_lines(&status(&cluster, arguments).code(0).stderr(is_empty()));
        assert_eq!(lines.len(), 1);
        let told = &lines[0];
        assert_eq!((&told["type"], &told["code"]), (&"result".into(), &0.into()));
        assert_eq!((&told["state"], &told["nodes_to_spare"]), (&"healthy".into(), &2.into()));
        assert_eq!((&told["files"]["count"], &told["files"]["bytes"]), (&1.into(), &5.into()));
        assert_eq!((&told["can_store"], &told["troubles"]), (&true.into(), &Value::Array(vec![])));
        let node = &told["nodes"][3];
        assert_eq!((&node["node"], &node["state"]), (&4.into(), &"up".into()));
        assert_eq!(
            (&node["address"], &node["errors"]),
            (&cluster.node_address(4).into(), &0.into())
        );
        assert!(node["room"]["free_bytes"].as_u64() <= node["room"]["total_bytes"].as_u64());
    }
    (1..=3).for_each(|node| cluster.lose_node(node));
    for (arguments, names) in ways.into_iter().zip([1, 1, 0]) {
        let told = json_lines(&status(&cluster, arguments).code(21)).remove(0);
        assert_eq!((&told["code"], &told["state"]), (&21.into(), &"unavailable".into()));
        assert_eq!(told["troubles"][0]["kind"], "unreadable");
        assert_eq!(
            (&told["troubles"][1]["kind"], &told["troubles"][1]["node"]),
            (&"node-away".into(), &1.into())
        );
        assert_eq!(told["unreadable"].as_array().unwrap().len(), names, "{arguments:?}");
    }
}

#[test]
fn status_counts_what_turned_out_to_be_missing() {
    let mut cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    until("all blocks are there", || (1..=4).all(|node| cluster.blocks(node, "a").len() == 2));
    fs::remove_file(&cluster.piece_of(1, "a")[0]).unwrap();
    let errors = |cluster: &Cluster| {
        let told = json_lines(&status(cluster, &["status", "--json"])).remove(0);
        [0, 1, 2, 3].map(|node| told["nodes"][node]["errors"].as_u64().unwrap())
    };
    until("a read has happened to ask node 1", || {
        assert!(cluster.retrieve("a").unwrap() == b"bytes");
        errors(&cluster) != [0; 4]
    });
    assert_eq!(errors(&cluster), [1, 0, 0, 0]);
    cluster.kill_server();
    cluster.restart_server();
    assert_eq!(errors(&cluster), [1, 0, 0, 0], "after a restart");
    let version = cluster.version("a");
    until("it is whole again", || cluster.piece(1, &version).len() == 2);
    until("all is well", || status(&cluster, &["status"]).get_output().status.code() == Some(0));
}

#[test]
fn without_a_server_status_is_6_and_the_socket_is_the_servers_own() {
    use std::os::unix::fs::PermissionsExt;
    let mut cluster = Cluster::start();
    let socket = cluster.path("user_database/admin.sock");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    cluster.kill_server();
    assert!(socket.exists());
    for arguments in [&["status"][..], &["admin", "status"]] {
        let told = told("nobody listens there").and(contains("palk server --dir user_database"));
        status(&cluster, arguments).code(6).stdout(is_empty()).stderr(told);
    }
    cluster.start_server();
    cluster.server().says("Connected to all data servers.");
    assert_eq!(mode(&socket), 0o600);
    cluster.await_healthy();
    status(&cluster, &["admin", "status"]).code(0);
    cluster.server().signal("-TERM");
    assert_eq!(cluster.server().wait(), Some(0));
    assert!(!socket.exists(), "an orderly end removes it");
    status(&cluster, &["admin", "status"])
        .code(6)
        .stderr(told("no server runs on the folder user_database"));
    // Without a socket it is the server of the client's options, which is not there either.
    let options = signed_in(&cluster);
    let arguments: Vec<&str> =
        ["status"].into_iter().chain(options.iter().map(String::as_str)).collect();
    status(&cluster, &arguments).code(6).stderr(told("connection refused"));
}

#[test]
fn what_is_no_admin_request_is_answered_with_an_error() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let cluster = Cluster::start();
    cluster.await_healthy();
    let ask = |request: &str| -> Value {
        let mut socket = UnixStream::connect(cluster.path("user_database/admin.sock")).unwrap();
        // The server need not take all of it.
        let _ = socket.write_all(request.as_bytes());
        let mut line = String::new();
        BufReader::new(&socket).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    for (request, code, error) in [
        ("{\"v\":1,\"verb\":\"fly\"}\n", 11, "version"),
        ("{\"v\":7,\"verb\":\"status\"}\n", 11, "version"),
        ("status\n", 11, "version"),
    ] {
        let answer = ask(request);
        assert_eq!((&answer["type"], &answer["v"]), (&"error".into(), &1.into()), "{answer}");
        assert_eq!((&answer["code"], &answer["error"]), (&code.into(), &error.into()), "{answer}");
    }
    let answer = ask("{\"more\":[1],\"v\":1,\"verb\":\"status\"}\n");
    assert_eq!((&answer["type"], &answer["code"]), (&"result".into(), &0.into()));
    // Who asks and says nothing holds up nobody.
    let _silent: Vec<UnixStream> = (0..10)
        .map(|_| UnixStream::connect(cluster.path("user_database/admin.sock")).unwrap())
        .collect();
    status(&cluster, &["admin", "status"]).code(0);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let cluster = Cluster::start();
    cluster.store("big", &noise(4, 8_000_000)).unwrap();
    for command in [cluster.client_command(&["rtv", "big", "--to", "-"]), {
        let mut help = palk();
        help.args(["client", "--help"]);
        help
    }] {
        let mut command = command;
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""));
    }
}

#[test]
fn a_piped_session_reads_as_specified() {
    let cluster = Cluster::start();
    fs::create_dir_all(cluster.path("c_files/test")).unwrap();
    fs::write(cluster.path("c_files/test/yeet.txt"), "yeet").unwrap();
    let mut session = palk();
    session.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
    let input = "ann\npw\nYES\nann\npw\npw\nSTR\nyeet.txt\ntest\nINF\nRTV\nyeet.txt\ntest\n\
                 DEL yeet.txt test\nINF\nLGO\nann\npw\nls\nquit\n";
    let menu = "Welcome ann! You are a legend...\n\
        Enter the operation you want to send to the server from the list below\n\
        \x20 STR - Store a file on the server\n\
        \x20 RTV - Retrieve a file from the server\n\
        \x20 DEL - Delete a file from the server\n\
        \x20 INF - See which files you have stored on the server\n\
        \x20 LGO - Logout from the server\n";
    let transcript = format!(
        "-----------------------------------------------------------------------\n\
         | Hello client, you have connected to Server Palk.                      |\n\
         | All files need to be inside a directory inside the c_files directory! |\n\
         -----------------------------------------------------------------------\n\
         Username: ann\nPassword: \nUsername does not exist in database!\n\
         Do you want to create an account (YES or NO): YES\n\
         Enter Desired Username: ann\nEnter password: \nConfirm password: \n\
         {menu}~ STR\nEnter the file name: yeet.txt\nEnter the file path: test\n\
         File yeet.txt successfully created and written to\n\
         ~ INF\n/test\n/test/yeet.txt\n\
         ~ RTV\nEnter the file name: yeet.txt\nEnter the file path: test\n\
         Successfully retrieved file yeet.txt from the file system\n\
         ~ DEL yeet.txt test\nSuccessfully removed file yeet.txt from the file system\n\
         ~ INF\n/test\n\
         ~ LGO\nUsername: ann\nPassword: \n{menu}~ ls\ntest/\n~ quit\n"
    );
    run_with(session, input)
        .code(0)
        .stdout(transcript)
        .stderr(contains("on 4 of 4 nodes\n").and(contains("checked\n")));
}

/// A demo whose traces, if it leaves any, are in a folder of the test's own.
fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = palk();
    command
        .current_dir(folder)
        .env("TMPDIR", folder)
        .env("PALK_CONFIG", folder.join("config.toml"));
    command.arg("demo").args(arguments);
    command
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_demo_tells_its_story_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let facts = "(?s)\\APalk demo.*node 4 .*server .*\
        Stored picture.bmp  5.8 MB in .*on 4 of 4 nodes\n.*\
        1  A1     files_1/demo/picture_A1.bmp +1,440,[0-9]{3} +1,440,014\n.*\
        4  O4     files_4/demo/picture_O4.bmp .*\
        killing nodes (. and .)\n.*from nodes (. and .)\n.*\
        the same, bit for bit\n.*\
        Stored note.txt .*on 3 of 4 nodes\n.*\
        healed after .*every file is on all four nodes\n.*\
        Goodbye. All processes have ended and the data is removed.\n\\z";
    let told = run(demo(folder.path(), &[])).code(0).stderr(is_empty());
    let told = told.stdout(is_match(facts).unwrap());
    // The two that were read from are the two that were left.
    let out = String::from_utf8(told.get_output().stdout.clone()).unwrap();
    let two = |after: &str| {
        let (_, after) = out.split_once(after).unwrap();
        (after[..1].to_owned(), after[6..7].to_owned())
    };
    let (killed, read) = (two("killing nodes "), two("from nodes "));
    let mut all = [killed.0, killed.1, read.0, read.1];
    all.sort();
    assert_eq!(all, ["1", "2", "3", "4"]);
    // Where nobody could use it, no profile is saved; what was in the folder before is all there is.
    assert!(names(folder.path()).is_empty());
}

#[test]
fn the_demo_lends_its_cluster_to_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let config = "# mine\n[profile.home]\nserver = 'x'\n";
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let bytes = noise(5, 70_000);
    fs::write(folder.path().join("a file"), &bytes).unwrap();
    let script = "palk client inf && palk client -q rtv 'a file' --to back && \
                  palk client --profile demo --server $PALK_SERVER del 'a file' && exit 7";
    run(demo(folder.path(), &["--file", "a file", "--exec", script]))
        .code(7)
        .stdout("/a file\n")
        .stderr(contains("Stored a file").and(contains("Deleted a file\nGoodbye.")));
    assert!(fs::read(folder.path().join("back")).unwrap() == bytes);
    assert_eq!(names(folder.path()), ["a file", "back", "config.toml"]);
    assert_eq!(fs::read_to_string(folder.path().join("config.toml")).unwrap(), config);

    // A profile is a convenience: without one all else works.
    let mut unsaved = demo(folder.path(), &["--exec", "true"]);
    unsaved.env("PALK_CONFIG", folder.path().join("a file/config.toml"));
    run(unsaved).code(0).stdout(is_empty()).stderr(contains("No profile for other terminals"));
    run(demo(folder.path(), &["--file", "no file"])).code(13).stderr(told("cannot store no file"));
    run(demo(folder.path(), &["--exec", "exit 0", "--keep"]))
        .code(0)
        .stderr(contains("everything is kept in "));
    let kept = names(folder.path()).into_iter().find(|name| name.starts_with("palk-demo-"));
    let kept = folder.path().join(kept.unwrap());
    assert!(kept.join("logs/server.log").exists() && kept.join("files_4").exists());
    let config = fs::read_to_string(folder.path().join("config.toml")).unwrap();
    assert!(config.contains("[profile.demo]"));
}

/// A running demo, and the numbers of its five processes.
fn begun_demo(folder: &Path) -> (Child, BufReader<impl Read>, Vec<String>) {
    let mut command = demo(folder, &[]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut processes = Vec::new();
    while processes.len() < 5 {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended: {processes:?}");
        processes.extend(line.trim_end().split_once(" process ").map(|(_, pid)| pid.to_owned()));
    }
    (child, out, processes)
}

/// Is this process one of ours? One that has ended has no command line, even if nobody asks for its
/// status.
fn is_running(pid: &str) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"--exit-with-stdin"))
}

#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _out, processes) = begun_demo(folder.path());
    assert!(processes.iter().all(|pid| is_running(pid)));
    child.kill().unwrap();
    child.wait().unwrap();
    until("all its processes are gone", || !processes.iter().any(|pid| is_running(pid)));
    // Its data is removed by the next one.
    assert_eq!(names(folder.path()).len(), 1);
    run(demo(folder.path(), &["--exec", "true"])).code(0);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn an_interrupted_demo_says_goodbye() {
    let folder = tempfile::tempdir().unwrap();
    let (child, _out, processes) = begun_demo(folder.path());
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let farewell = "\nGoodbye. All processes have ended and the data is removed.\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), farewell);
    assert_eq!(output.status.code(), Some(130));
    assert!(!processes.iter().any(|pid| is_running(pid)));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_demo_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = demo(folder.path(), &[]);
    command.env("TMPDIR", folder.path().join("missing"));
    run(command).code(13).stderr(told("cannot make a folder in").and(contains("TMPDIR")));
}

#[test]
fn a_demo_that_fails_keeps_its_logs() {
    let folder = tempfile::tempdir().unwrap();
    let (child, mut out, processes) = begun_demo(folder.path());
    // The server is gone: nothing that follows can be done.
    Command::new("kill").args(["-KILL", &processes[4]]).status().unwrap();
    out.read_to_end(&mut Vec::new()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.starts_with("error: "), "{said}");
    let (_, logs) = said.trim_end().rsplit_once("The logs are kept:  ").unwrap();
    assert!(Path::new(logs).join("server.log").exists(), "{said}");
    assert!(!processes.iter().any(|pid| is_running(pid)));
}

#[test]
fn accounts_are_looked_after_by_whoever_runs_the_server() {
    let cluster = Cluster::start();
    let user = |arguments: &[&str], input: &'static str| {
        let mut command = palk();
        command.args(["admin", "user"]).args(arguments).arg("--dir");
        command.arg(cluster.path("user_database"));
        run_with(command, input)
    };
    fs::write(cluster.path("ann"), "pw of ann\n").unwrap();
    let sign_in = |password: &'static str| {
        let mut command = palk();
        command.args(["client", "--server", cluster.address(), "--user", "ann"]);
        command.args(["--password-stdin", "inf"]);
        run_with(command, password)
    };
    let file = cluster.path("ann");
    user(&["add", "ann", "--password-file", file.to_str().unwrap()], "").code(0);
    user(&["add", "ann", "--password-stdin"], "x").code(9);
    sign_in("pw of ann").code(0);
    user(&["passwd", "ann", "--password-stdin"], "another\n").code(0);
    sign_in("pw of ann").code(5);
    user(&["disable", "ann"], "").code(0);
    sign_in("another").code(5);
    user(&["enable", "ann"], "").code(0);
    sign_in("another").code(0);
    user(&["quota", "ann", "5kB"], "").code(0);
    let listed = user(&["list", "--json"], "").code(0);
    let out = String::from_utf8(listed.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["name"], &lines[0]["limit"]), (&"ann".into(), &5000.into()), "{out}");
    assert_eq!((&lines[1]["name"], &lines[2]["accounts"]), (&"demo".into(), &2.into()), "{out}");
    user(&["remove", "ann"], "").code(2);
    user(&["remove", "ann", "--yes"], "").code(0);
    user(&["remove", "ann", "--yes"], "").code(5);
    sign_in("another").code(5);
    let listed = || {
        let listed = user(&["list"], "").code(0);
        String::from_utf8(listed.get_output().stdout.clone()).unwrap()
    };
    until("nothing is left of ann", || !listed().contains("ann"));
    assert!(listed().contains("demo"));
}
