//! `palk top` without a terminal: a line a second, an object for programs, an end when nobody reads.

use super::*;

/// A command in the cluster's folder whose lines are read one by one.
struct Watching {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Watching {
    fn begin(cluster: &Cluster, arguments: &[&str]) -> Watching {
        let mut command = palk();
        command.current_dir(cluster.folder.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Watching { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.out.read_line(&mut line).unwrap() > 0, "it has ended");
        line
    }

    /// Reads up to a line that has this text.
    fn until_line(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Reads up to an object for which this holds.
    fn until_object(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let object: Value = serde_json::from_str(&self.line()).unwrap();
            assert_eq!(object["v"], 1);
            if holds(&object) {
                return object;
            }
        }
    }

    /// What it said besides, and its exit status.
    fn end(self) -> (String, Option<i32>) {
        let Watching { child, out } = self;
        drop(out);
        let output = child.wait_with_output().unwrap();
        (String::from_utf8(output.stderr).unwrap(), output.status.code())
    }

    fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

/// Something that takes half a minute to be stored, unless it is killed before.
fn slow_store(cluster: &Cluster) -> Child {
    fs::write(cluster.path("film"), noise(1, 30_000_000)).unwrap();
    let mut command = cluster.client_command(&["store", "film", "--bwlimit", "1MB"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_line_a_second_is_printed_until_nobody_reads() {
    let mut cluster = Cluster::start();
    cluster.await_healthy();
    let mut top = Watching::begin(&cluster, &["top"]);
    let first = top.line();
    assert!(
        first.ends_with("  HEALTHY  4 of 4 nodes up  0 stores, 0 reads  owed: nothing\n"),
        "{first}"
    );
    let mut store = slow_store(&cluster);
    top.until_line("  1 store at ");
    store.kill().unwrap();
    store.wait().unwrap();
    cluster.lose_node(2);
    top.until_line("  DEGRADED  3 of 4 nodes up  0 stores");
    assert_eq!(top.end(), (String::new(), Some(0)), "as with `| head`");
}

#[test]
fn programs_get_an_object_a_second_also_while_the_server_is_away() {
    let mut cluster = Cluster::start();
    let mut top = Watching::begin(&cluster, &["status", "--watch", "--json"]);
    let mut store = slow_store(&cluster);
    let seen = top.until_object(|object| {
        let one = &object["transfers"]["running"][0];
        one["bytes"].as_u64() > Some(1_000_000) && one["bytes_per_second"].as_u64() > Some(0)
    });
    assert_eq!(seen["type"], "status");
    let one = &seen["transfers"]["running"][0];
    assert_eq!((&one["name"], &one["direction"]), (&"/demo/film".into(), &"store".into()));
    assert_eq!((&one["total_bytes"], &seen["dir"]), (&30_000_000.into(), &"user_database".into()));

    // Whoever is signed in is told how much moves, and no name.
    let options = signed_in(&cluster);
    let arguments = ["top", "--json"].into_iter().chain(options.iter().map(String::as_str));
    let mut remotely = Watching::begin(&cluster, &arguments.collect::<Vec<_>>());
    let seen = remotely.until_object(|object| {
        object["transfers"]["stores"]["bytes_per_second"].as_u64() > Some(0)
    });
    assert_eq!(seen["transfers"]["stores"]["running"], 1);
    assert!(!seen.to_string().contains("film"), "{seen}");
    store.kill().unwrap();
    store.wait().unwrap();

    cluster.server().kill();
    for watching in [&mut top, &mut remotely] {
        let seen = watching.until_object(|object| object["type"] == "silent");
        assert_eq!(seen["code"], 6);
    }
    cluster.restart_server();
    for mut watching in [top, remotely] {
        watching.until_object(|object| object["type"] == "status");
        watching.interrupt();
        assert_eq!(watching.end(), (String::new(), Some(0)));
    }
}

#[test]
fn a_server_that_is_not_there_at_the_beginning_is_status_6() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    palk_with(&["top", "--dir", dir]).code(6).stdout(is_empty()).stderr(told("no server runs on"));
    palk_with(&["top", "--server", "127.0.0.1:1"]).code(6).stdout(is_empty());
    palk_with(&["status", "-x", "--watch"]).code(2);
}
