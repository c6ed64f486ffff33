//! What all verbs have in common: the words that people type for them, and `--json`, `-q`, `-v`.

use super::*;

#[test]
fn the_words_of_other_programs_do_the_same() {
    let cluster = Cluster::start();
    fs::write(cluster.path("a"), "bytes").unwrap();
    client(&cluster, &["put", "a", "--to", "up"]).code(0);
    client(&cluster, &["ls", "up"]).code(0).stdout(contains("/up/a\n"));
    client(&cluster, &["cp", "up/a", "b"]).code(0);
    client(&cluster, &["cat", "b"]).code(0).stdout("bytes");
    client(&cluster, &["du", "up"]).code(0).stdout(contains("1 file  /up/\n"));
    client(&cluster, &["get", "b", "--to", "c"]).code(0);
    assert_eq!(fs::read(cluster.path("c")).unwrap(), b"bytes");
    client(&cluster, &["rm", "b", "up/a"]).code(0).stderr(contains("Deleted b\nDeleted up/a\n"));
}

/// Every verb that can be done here, in an order in which each succeeds.
const VERBS: [&[&str]; 24] = [
    &["signup"],
    &["store", "f"],
    &["store", "-r", "d"],
    &["update", "f"],
    &["rtv", "f", "--to", "got"],
    &["rtv", "-r", "d", "--to", "out"],
    &["inf"],
    &["inf", "*"],
    &["find", "f*"],
    &["du", "d"],
    &["mkdir", "e"],
    &["mv", "f", "e"],
    &["cp", "e/f", "g"],
    &["versions", "g"],
    &["undo", "g"],
    &["rmdir", "e", "-r", "--yes"],
    &["uploads"],
    &["check", "d", "d"],
    &["sync", "d", ":d"],
    &["del", "-r", "--yes", "d"],
    &["login"],
    &["logout"],
    &["config", "show"],
    &["config", "path"],
];

/// Runs one of them as a new user with this name.
fn run_as(cluster: &Cluster, user: &str, verb: &[&str], more: &[&str]) -> Assert {
    let mut command = palk();
    command.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", cluster.path(user));
    command.args(["client", "--server", cluster.address(), "--user", user]);
    command.arg("--password-file").arg(cluster.path("password")).args(verb).args(more);
    run(command)
}

#[test]
fn every_verb_speaks_json_and_may_be_told_to_be_quiet_or_to_say_more() {
    let cluster = Cluster::start_with(&["--keep-versions", "7d"]);
    fs::write(cluster.path("f"), "bytes").unwrap();
    fs::create_dir(cluster.path("d")).unwrap();
    fs::write(cluster.path("d/x"), "x").unwrap();
    for verb in VERBS {
        let lines = json_lines(&run_as(&cluster, "json", verb, &["--json"]).code(0));
        let last = lines.last().unwrap();
        assert_eq!((&last["type"], &last["code"]), (&"result".into(), &0.into()), "{verb:?}");
        assert!(lines.iter().all(|line| line["v"] == 1), "{verb:?}");
        run_as(&cluster, "quiet", verb, &["-q"]).code(0).stderr(is_empty());
        run_as(&cluster, "verbose", verb, &["-v"]).code(0);
    }
}
