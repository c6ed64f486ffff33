//! `palk doctor`: what it finds on a whole cluster, on a broken one, and where there is nothing.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// In this folder, with its own home in it.
fn doctor(folder: &Path, arguments: &[&str]) -> Assert {
    let mut command = palk();
    command.current_dir(folder).env("XDG_CONFIG_HOME", folder.join("home"));
    command.arg("doctor").args(arguments);
    run(command)
}

/// The level of each check, with its text; of several lines of one check the worst.
fn checks(assert: &Assert) -> std::collections::BTreeMap<String, (String, String)> {
    let mut found = std::collections::BTreeMap::new();
    let order = ["ok", "warn", "fail"];
    let place = |level: &str| order.iter().position(|known| *known == level).unwrap();
    for line in json_lines(assert).iter().filter(|line| line["type"] == "check") {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let (level, said) = (text("level"), text("text") + "\n" + &text("fix"));
        assert_eq!(line["fix"].is_string(), level != "ok", "{line}");
        let one = found.entry(text("check")).or_insert((level.clone(), said.clone()));
        if place(&level) > place(&one.0) {
            *one = (level, said);
        }
    }
    found
}

fn result(assert: &Assert) -> Value {
    let last = json_lines(assert).pop().unwrap();
    assert_eq!(last["type"], "result");
    let status = assert.get_output().status.code().unwrap();
    assert_eq!(last["code"], status);
    last
}

#[test]
fn where_there_is_nothing_it_says_what_to_do_next() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody's port, so that what runs on this machine is not found.
    let nobody = ["--server", "127.0.0.1:1"];
    doctor(folder.path(), &nobody)
        .code(21)
        .stderr(is_empty())
        .stdout(is_match(r"(?m)^OK    config +there is no .*config set makes one").unwrap())
        .stdout(
            is_match(r"(?m)^FAIL  server .*connection refused\n +fix: Start it:  palk").unwrap(),
        )
        .stdout(contains("palk demo"))
        .stdout(is_match(r"\nFiles cannot be reached: \d+ checks, \d+ WARN, \d FAIL\n\z").unwrap());
    assert!(!folder.path().join("home").exists(), "nothing is made");
    let told = doctor(folder.path(), &["--json", "--server", "127.0.0.1:1"]).code(21);
    assert_eq!(result(&told)["state"], "unavailable");
    assert_eq!(checks(&told)["descriptors"].0, "ok");
    doctor(folder.path(), &["--colour"]).code(2);
    doctor(folder.path(), &[&nobody[..], &["--node", "127.0.0.1:1"].repeat(5)].concat()).code(2);
}

#[test]
fn a_whole_cluster_is_well() {
    let cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    cluster.await_healthy();
    let folder = cluster.folder.path();
    // In the server's folder nobody has to sign in.
    let told = doctor(folder, &["--json"]).code(0).stderr(is_empty());
    let found = checks(&told);
    for check in
        ["config", "secrets", "server", "version", "clock", "cluster", "hard-links", "space"]
    {
        assert_eq!(found[check].0, "ok", "{check}: {found:?}");
    }
    for node in 1..=4 {
        let (level, text) = &found[&format!("node-{node}")];
        assert!(level == "ok" && text.contains(cluster.node_address(node)), "{text}");
        assert!(text.contains(" are free, "), "{text}");
    }
    assert!(found["hard-links"].1.contains("files_4"), "{found:?}");
    assert_eq!(result(&told)["fail"], 0);
    let left = fs::read_dir(cluster.path("files_1/.palk")).unwrap().flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| name != "doctor"));

    // By its address it is asked who signs in, and nobody is asked for anything.
    let named = ["--json", "--server", cluster.address()];
    let told = doctor(folder, &named).code(0);
    let found = checks(&told);
    assert_eq!(found["sign-in"].0, "warn");
    assert!(found["sign-in"].1.contains("palk client login") && !found.contains_key("cluster"));
    let signed_in = signed_in(&cluster);
    let mut named = vec!["--json"];
    named.extend(signed_in.iter().map(String::as_str));
    let told = doctor(folder, &named).code(0);
    assert_eq!(checks(&told)["cluster"].0, "ok");
    assert!(checks(&told)["sign-in"].1.starts_with("demo is signed in"));
    // Looked at from elsewhere, and each folder by itself.
    for dir in [folder, &cluster.path("user_database"), &cluster.path("files_2")] {
        let dir = dir.to_str().unwrap();
        let told = doctor(Path::new("/"), &["--json", "--dir", dir, "--server", cluster.address()]);
        assert_eq!(checks(&told.code(0))["space"].0, "ok", "{dir}");
    }
    // The nodes themselves.
    let mut named = vec!["--json", "--server", cluster.address()];
    (1..=4).for_each(|node| named.extend(["--node", cluster.node_address(node)]));
    let told = doctor(folder, &named).code(0);
    assert!(checks(&told)["node-3"].1.contains("files_3"), "{:?}", checks(&told));
}

#[test]
fn a_node_that_is_away_is_degraded_and_two_more_are_unavailable() {
    let mut cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    cluster.await_healthy();
    let folder = cluster.folder.path().to_owned();
    cluster.lose_node(2);
    doctor(&folder, &[])
        .code(20)
        .stdout(is_match(r"(?m)^WARN  cluster +DEGRADED  every file is readable").unwrap())
        .stdout(
            is_match(r"(?m)^WARN  cluster +node 2 has not answered .*\n +fix: start it").unwrap(),
        )
        .stdout(contains("\nSomething is degraded: "));
    // Somebody else has its port.
    let other = TcpListener::bind(cluster.node_address(2)).unwrap();
    std::thread::spawn(move || other.incoming().for_each(drop));
    let told = doctor(&folder, &["--json"]).code(20);
    let (level, text) = &checks(&told)["node-2"];
    assert!(level == "fail" && text.contains("not storage node 2"), "{text}");
    cluster.lose_node(3);
    let told = doctor(&folder, &["--json"]).code(20);
    assert_eq!(checks(&told)["cluster"].0, "fail", "nothing can be stored");
    cluster.lose_node(4);
    let told = doctor(&folder, &["--json"]).code(21);
    assert_eq!(result(&told)["state"], "unavailable");

    cluster.kill_server();
    let told = doctor(&folder, &["--json"]).code(21);
    let (level, text) = &checks(&told)["server"];
    assert!(level == "fail" && text.contains("palk server --dir user_database"), "{text}");
    let cut = doctor(&folder, &["--json", "--node", cluster.node_address(1)]).code(21);
    assert_eq!(checks(&cut)["node-1"].0, "ok");
}

#[test]
fn what_is_wrong_on_this_side_is_found() {
    let cluster = Cluster::start();
    cluster.await_healthy();
    let folder = cluster.folder.path();
    let home = cluster.path("home/palk");
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir_all(&home).unwrap();
    let config = home.join("config.toml");
    fs::write(&config, "[profile.a]\npassword_file = 'pw'\n[profile.b]\npassword_file = 'no'\n")
        .unwrap();
    fs::write(cluster.path("pw"), "secret").unwrap();
    open(&cluster.path("pw"), 0o644);
    open(&config, 0o666);
    open(&cluster.node_folder(1), 0o755);
    fs::write(home.join("known_servers"), "# mine\nh:1 abc\n").unwrap();
    let told = doctor(folder, &["--json"]).code(20);
    let found = checks(&told);
    assert_eq!(found["pins"].0, "fail", "{found:?}");
    assert!(found["pins"].1.contains("line 2") && found["server"].0 == "ok");
    doctor(folder, &[])
        .code(20)
        .stdout(
            is_match(r"WARN  secrets +.*/pw is open .*0644\)\n +fix: chmod 600 .*/pw\n|pw is open")
                .unwrap(),
        )
        .stdout(contains("fix: chmod go-w "))
        .stdout(contains("fix: chmod 700 files_1\n"))
        .stdout(contains("password_file").and(contains("cannot be read: no such file")))
        .stdout(contains("secret\n").not());
    fs::remove_file(home.join("known_servers")).unwrap();

    fs::write(&config, "[profile.a]\nservr = 'x'\n").unwrap();
    let told = doctor(folder, &["--json"]).code(21);
    assert!(checks(&told)["config"].1.contains("line 2"), "{:?}", checks(&told));
    fs::remove_file(&config).unwrap();

    // Another server than the one that is known.
    let pin = format!("{} {}\n", cluster.address(), "ab".repeat(32));
    fs::write(home.join("known_servers"), &pin).unwrap();
    let told = doctor(folder, &["--json", "--server", cluster.address()]).code(21);
    assert!(checks(&told)["server"].1.contains("palk client trust"), "{:?}", checks(&told));
    fs::remove_file(home.join("known_servers")).unwrap();

    // A sign-in that is not valid any more is told, and stays.
    run(at_home(&cluster, &["login", "--user", USER, "--password-file", "password"])).code(0);
    let tokens = fs::read_dir(home.join("tokens")).unwrap().next().unwrap().unwrap().path();
    fs::write(tokens.join(USER), "00".repeat(32)).unwrap();
    let told = doctor(folder, &["--json", "--server", cluster.address()]).code(20);
    assert_eq!(checks(&told)["sign-in"].0, "fail");
    assert!(tokens.join(USER).exists());
    // A program that is no server.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || other.incoming().for_each(drop));
    let told = doctor(folder, &["--json", "--server", &address]).code(21);
    assert_eq!(checks(&told)["server"].0, "fail");
}

#[test]
fn few_descriptors_are_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.current_dir(folder.path()).env("XDG_CONFIG_HOME", "/dev/null");
    let script = "ulimit -n 100 && exec \"$0\" doctor --json --server 127.0.0.1:1";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_palk")]);
    let told = run(shell).code(21);
    let (level, text) = &checks(&told)["descriptors"];
    assert!(level == "warn" && text.contains("connections is 100"), "{text}");
}
