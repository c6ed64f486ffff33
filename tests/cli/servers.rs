//! Which server answers: the one of a folder and no other, and the same one as before.

use super::*;

/// A command with the options of somebody who uses another cluster by the environment.
fn with_environment(cluster: &Cluster, folder: &Path, arguments: &[&str]) -> Assert {
    let mut command = palk();
    command.current_dir(folder).args(arguments).env("PALK_SERVER", cluster.address());
    command.env("PALK_USER", USER).env("PALK_PASSWORD_FILE", cluster.path("password"));
    run(command)
}

#[test]
fn the_server_of_a_folder_is_asked_and_no_other() {
    let cluster = Cluster::start();
    cluster.await_healthy();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("user_database")).unwrap();
    for dir in ["user_database", "/does/not/exist"] {
        with_environment(&cluster, folder.path(), &["status", "--dir", dir, "-x"])
            .code(6)
            .stdout(is_empty())
            .stderr(told("no server runs on the folder"));
    }
    let mut command = palk();
    run({
        command.current_dir(folder.path()).arg("status");
        command
    })
    .code(6)
    .stderr(told("no server runs on the folder user_database"));
    // Every answer says whose it is.
    let address = format!("  (server: {})\n", cluster.address());
    with_environment(&cluster, folder.path(), &["status", "-x"])
        .code(0)
        .stdout(predicates::str::ends_with(address));
    let told = json_lines(&with_environment(&cluster, folder.path(), &["status", "--json"]));
    assert_eq!(told[0]["server"], cluster.address());
    status(&cluster, &["status"])
        .code(0)
        .stdout(contains("     server: the one of the folder user_database\n"));
    let told = json_lines(&status(&cluster, &["status", "--json", "--dir", "user_database"]));
    assert_eq!(told[0]["dir"], "user_database");
}

#[test]
fn another_server_on_a_known_address_of_this_machine_is_noticed() {
    let mut cluster = Cluster::start();
    let verb = |cluster: &Cluster, arguments: &[&str]| {
        let mut command = at_home(cluster, arguments);
        command.args(["--user", USER, "--password-file", "password"]);
        run(command)
    };
    let known = cluster.path("home/palk/known_servers");
    // One that nobody could sign in to is not remembered.
    fs::write(cluster.path("wrong"), "wrong").unwrap();
    run(at_home(&cluster, &["inf", "--user", USER, "--password-file", "wrong"])).code(5);
    assert!(!known.exists());
    verb(&cluster, &["inf"]).code(0);
    assert!(fs::read_to_string(&known).unwrap().starts_with(cluster.address()));
    verb(&cluster, &["inf"]).code(0);

    // Another one takes its port.
    cluster.stop_server();
    fs::remove_dir_all(cluster.path("user_database/tls")).unwrap();
    cluster.restart_server();
    verb(&cluster, &["inf"]).code(12).stdout(is_empty()).stderr(
        told("is not the one that is trusted").and(contains("Another server has this port")),
    );
    run(at_home(&cluster, &["trust", cluster.address()])).code(0);
    verb(&cluster, &["inf"]).code(0);
    // Where nothing can be remembered everything else works.
    client(&cluster, &["inf"]).code(0);
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let cluster = Cluster::start();
    let mut command = cluster.client_command(&["inf"]);
    for name in [
        "PALK_SERVER",
        "PALK_USER",
        "PALK_FINGERPRINT",
        "PALK_PROFILE",
        "PALK_NO_INPUT",
        "PALK_CONFIG",
        "PALK_PASSWORD_FILE",
        "PALK_PASSWORD_COMMAND",
    ] {
        command.env(name, "");
    }
    run(command).code(0);
    cluster.await_healthy();
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["status", "-x"]);
    run({
        command.env("PALK_DIR", "").env("PALK_SERVER", "").env("PALK_PROFILE", "");
        command
    })
    .code(0);
}

#[test]
fn a_home_that_is_not_ones_own_stops_nobody_who_gives_all_by_options() {
    let cluster = Cluster::start();
    // To whoever may read everything a home looks like this that is no folder.
    fs::write(cluster.path("home"), "").unwrap();
    let mut command = at_home(&cluster, &["inf", "--user", USER, "--password-file", "password"]);
    run({
        command.stdin(Stdio::null());
        command
    })
    .code(0);
}

#[test]
fn a_password_file_of_another_editor_is_read() {
    let cluster = Cluster::start();
    let wide: Vec<u8> =
        format!("\u{feff}{PASSWORD}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [format!("\u{feff}{PASSWORD}\n").into_bytes(), wide] {
        fs::write(cluster.path("marked"), bytes).unwrap();
        let mut command = palk();
        command.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
        command.args(["--user", USER, "--password-file", "marked", "inf"]);
        run(command).code(0);
    }
    // The same letters, composed in two ways.
    let sign = |verb: &str, password: &str| {
        let mut command = palk();
        command.args(["client", "--server", cluster.address(), "--user", "eve"]);
        command.args(["--password-stdin", verb]);
        run_with(command, password)
    };
    sign("signup", "gr\u{fc}n").code(0);
    sign("inf", "gru\u{308}n").code(0);
    sign("inf", "grun").code(5);
}

#[test]
fn an_address_that_is_none_is_told_from_a_name_that_nobody_knows() {
    for address in ["http://127.0.0.1:17777", "demo@127.0.0.1:17777", ":17777", " 127.0.0.1:17777"]
    {
        let mut command = palk();
        command.args(["client", "--server", address, "--user", USER, "inf"]);
        command.args(["--password-command", "echo secret"]);
        run(command).code(2).stderr(told("is not HOST:PORT"));
    }
    let mut command = palk();
    command.args(["client", "--server", "nobody.invalid", "--user", USER, "inf"]);
    command.args(["--password-command", "echo secret"]);
    run(command).code(6).stderr(
        told("cannot connect to server nobody.invalid:17777: the name of the host cannot be resolved")
            .and(told("Check how the name is spelled")),
    );
}

#[test]
fn an_address_of_the_newer_kind_needs_no_brackets() {
    // The usual port, which an address without brackets stands for, may be taken: then nothing is shown.
    if std::net::TcpListener::bind("[::1]:17777").is_err() {
        support::skip("[::1]:17777 cannot be had on this machine");
        return;
    }
    let mut cluster = Cluster::prepare(&[]);
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.listen_at("[::1]:17777");
    cluster.start_server();
    cluster.server().says("this server leads the cluster");
    for (server, verb) in [("::1", "signup"), ("[::1]", "inf"), ("::1", "inf")] {
        let mut command = palk();
        command.current_dir(cluster.folder.path()).args(["client", "--server", server]);
        command.args(["--user", USER, "--password-file", "password", verb]);
        run(command).code(0);
    }
}
