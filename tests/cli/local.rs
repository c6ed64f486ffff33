//! Local files: what is read while it changes, what has no size, what is replaced, and output that is not
//! taken.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::support::proxy::Proxy;

fn spawned(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How many bytes of a file a process has read by now; nothing while it has not opened it.
fn bytes_read(pid: u32, path: &Path) -> Option<u64> {
    fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().find_map(|entry| {
        let is_it = fs::read_link(entry.path()).is_ok_and(|target| target == path);
        let number = entry.file_name().into_string().ok().filter(|_| is_it)?;
        let told = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        told.lines().next()?.strip_prefix("pos:")?.trim().parse().ok()
    })
}

#[test]
fn a_file_that_is_rewritten_while_it_is_stored_is_refused() {
    const BYTES: usize = 8_000_000;
    let cluster = Cluster::start();
    // Slow, so that it is still being read when it is written over.
    let proxy = Proxy::start(cluster.address());
    proxy.set_delay(20);
    let path = fs::canonicalize(cluster.folder.path()).unwrap().join("mut");
    fs::write(&path, vec![b'O'; BYTES]).unwrap();
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", &proxy.address()]);
    command.args(["--user", USER, "--password-file", "password", "store", "mut"]);
    let mut child = spawned(command);
    until("it is being read", || bytes_read(child.id(), &path).is_some_and(|at| at > 0));
    proxy.set_hole(true);
    assert!(bytes_read(child.id(), &path).unwrap() < BYTES as u64);
    assert!(child.try_wait().unwrap().is_none());
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, &vec![b'N'; BYTES]).unwrap();
    drop(file);
    proxy.set_delay(0);
    proxy.set_hole(false);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(
        said.contains("cannot store mut: cannot read it: somebody changed it meanwhile"),
        "{said}"
    );
    client(&cluster, &["inf"]).code(0).stdout("");
    client(&cluster, &["store", "mut"]).code(0);
}

#[test]
fn what_has_no_size_is_read_to_its_end_and_nothing_is_no_file() {
    let cluster = Cluster::start();
    fs::write(cluster.path("good"), "good").unwrap();
    client(&cluster, &["store", "good", "--as", "d.sql"]).code(0);
    // A command before the pipe has failed.
    client(&cluster, &["store", "-", "--as", "d.sql"])
        .code(13)
        .stderr(told("nothing came from it").and(contains("--allow-empty")));
    client(&cluster, &["rtv", "d.sql", "--to", "-", "-q"]).code(0).stdout("good");
    client(&cluster, &["store", "-", "--as", "none", "--allow-empty"]).code(0);
    fs::write(cluster.path("empty"), "").unwrap();
    client(&cluster, &["store", "empty"]).code(0).stderr(contains("Stored empty  0 B"));

    let version = fs::read("/proc/version").unwrap();
    client(&cluster, &["store", "/proc/version"]).code(0);
    client(&cluster, &["rtv", "version", "--to", "-", "-q"]).code(0).stdout(version);
}

#[test]
fn a_named_pipe_without_a_writer_is_said_to_be_waited_for() {
    let cluster = Cluster::start();
    fs::write(cluster.path("a"), "1").unwrap();
    assert!(Command::new("mkfifo").arg(cluster.path("b")).status().unwrap().success());
    let mut child = spawned(cluster.client_command(&["store", "a", "b", "--to", "job"]));
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let text = "waiting for somebody to write to the named pipe b";
    assert!(said.any(|line| line == text));
    fs::write(cluster.path("b"), "from a pipe").unwrap();
    let rest: Vec<String> = said.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    client(&cluster, &["rtv", "job/b", "--to", "-", "-q"]).code(0).stdout("from a pipe");
    // Nothing but the end comes through it.
    let child = spawned(cluster.client_command(&["store", "b", "--to", "job"]));
    drop(fs::OpenOptions::new().write(true).open(cluster.path("b")).unwrap());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(13));
    client(&cluster, &["rtv", "job/b", "--to", "-", "-q"]).code(0).stdout("from a pipe");
}

#[test]
fn a_commands_output_is_stored_only_if_it_ends_well() {
    let cluster = Cluster::start();
    let store = |command: &str| client(&cluster, &["store", "--command", command, "--as", "db/d"]);
    store("printf 'all of it'").code(0).stderr(starts_with("Stored db/d  9 B"));
    store("sh -c 'echo half; exit 3'")
        .code(13)
        .stderr(told("the command").and(contains("exit status 3")));
    store("true").code(13).stderr(told("nothing came from it"));
    store("/nonexistent/dump").code(13).stderr(told("there is no program"));
    client(&cluster, &["rtv", "db/d", "--to", "-", "-q"]).code(0).stdout("all of it");
    client(&cluster, &["store", "--command", "true"]).code(2);
    client(&cluster, &["store", "--command", "true", "--as", "x", "password"]).code(2);
}

#[test]
fn a_name_may_have_folders_before_it_and_one_that_cannot_be_stored_says_what_to_do() {
    let cluster = Cluster::start();
    fs::write(cluster.path("a"), "1").unwrap();
    fs::write(cluster.path("b\\c"), "2").unwrap();
    client(&cluster, &["store", "a", "--as", "big/f"]).code(0).stderr(starts_with("Stored big/f "));
    client(&cluster, &["store", "a", "--to", "up", "--as", "big/f"]).code(0);
    client(&cluster, &["store", "a", "--as", "../f"]).code(2);
    client(&cluster, &["store", "a", "--as", "f/"]).code(2);
    client(&cluster, &["store", "b\\c"]).code(2).stderr(told("--as NAME"));
    client(&cluster, &["store", "b\\c", "--as", "b-c"]).code(0);
    client(&cluster, &["inf"]).code(0).stdout("/b-c\n/big\n/big/f\n/up\n/up/big\n/up/big/f\n");
}

#[test]
fn what_is_replaced_keeps_its_mode_and_what_is_kept_stays() {
    let cluster = Cluster::start();
    let key = cluster.path("key.pem");
    fs::write(&key, "secret").unwrap();
    let set_mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o600);
    client(&cluster, &["store", "key.pem"]).code(0);
    client(&cluster, &["rtv", "key.pem"]).code(0);
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);

    fs::write(&key, "mine").unwrap();
    client(&cluster, &["rtv", "key.pem", "--no-replace"])
        .code(9)
        .stderr(told("key.pem is there already").and(contains("Leave out --no-replace")));
    set_mode(0o444);
    client(&cluster, &["rtv", "key.pem"]).code(13).stderr(told("it is read-only"));
    assert_eq!(fs::read(&key).unwrap(), b"mine");
    client(&cluster, &["rtv", "key.pem", "--to", "other", "--no-replace"]).code(0);
    assert_eq!(fs::read(cluster.path("other")).unwrap(), b"secret");
}

#[test]
fn what_is_not_written_is_not_said_to_be_done() {
    let cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [&["rtv", "a", "--to", "-"][..], &["rtv", "a", "--to", "/dev/full"]] {
        let mut command = cluster.client_command(arguments);
        let output = command.stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(13), "{said}");
        assert!(said.contains("no space left") && !said.contains("Retrieved"), "{said}");
    }
    let mut command = cluster.client_command(&["inf"]);
    let output = command.stdout(full()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(13));
}

#[test]
fn a_reader_that_pauses_does_not_hold_up_the_transfer() {
    let cluster = Cluster::start();
    let bytes = noise(7, 40_000_000);
    cluster.store("movie", &bytes).unwrap();
    let proxy = Proxy::start(cluster.address());
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", &proxy.address()]);
    command.args(["--user", USER, "--password-file", "password", "rtv", "movie", "--to", "-"]);
    let mut child = spawned(command);
    let mut out = child.stdout.take().unwrap();
    let mut start = vec![0; 1_000_000];
    out.read_exact(&mut start).unwrap();
    // Nobody reads on, and all of it comes to the client.
    until("all of it has come", || proxy.forwarded() > bytes.len() as u64);
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert!([start, rest].concat() == bytes);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("Retrieved movie"), "{said}");
}

#[test]
fn a_connection_that_breaks_is_not_told_as_a_server_that_does_not_run() {
    let cluster = Cluster::start();
    cluster.store("f", &noise(8, 20_000_000)).unwrap();
    let proxy = Proxy::start(cluster.address());
    proxy.set_delay(5);
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", &proxy.address()]);
    command.args(["--user", USER, "--password-file", "password", "rtv", "f", "--to", "back"]);
    command.args(["--retry-for", "0s"]);
    let child = spawned(command);
    until("a part of it has come", || proxy.forwarded() > 1_000_000);
    proxy.cut();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(
        said.contains("The connection broke on the way.") && !said.contains("running?"),
        "{said}"
    );
    assert!(!cluster.path("back").exists());
}

#[test]
fn the_time_and_the_right_to_be_run_travel_with_a_file() {
    let mut cluster = Cluster::start();
    let script = cluster.path("run.sh");
    let set = |mode| {
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_000_000_000_123);
        fs::File::options().write(true).open(&script).unwrap().set_modified(time).unwrap();
    };
    for (mode, bytes) in [(0o755, 400_000), (0o644, 20)] {
        fs::write(&script, noise(9, bytes)).unwrap();
        set(mode);
        client(&cluster, &["store", "run.sh"]).code(0);
        // Also where all that the server knew is gone.
        cluster.kill_all();
        fs::remove_dir_all(cluster.path("user_database")).unwrap();
        (1..=4).for_each(|node| cluster.start_node(node));
        assert!(cluster.recover("user_database", &[1, 2, 3, 4]).status.success());
        cluster.restart_server();
        let back = cluster.path(&format!("back-{mode:o}"));
        client(&cluster, &["rtv", "run.sh", "--to", back.to_str().unwrap()]).code(0);
        let found = fs::metadata(&back).unwrap();
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_000_000_000, 123_000_000));
        assert_eq!(found.mode() & 0o100, mode & 0o100);
    }
    // Of what comes from a pipe neither is known.
    run_with(cluster.client_command(&["store", "-", "--as", "piped"]), "bytes").code(0);
    let lines = json_lines(&client(&cluster, &["rtv", "piped", "--json"]).code(0));
    assert_eq!((&lines[0]["modified_ms"], &lines[0]["executable"]), (&Value::Null, &Value::Null));
}

/// A shell in which this has been mounted on that, for it alone; `None` where that cannot be had.
fn with_mount(cluster: &Cluster, from: &str, on: &str, then: &[&str]) -> Option<Command> {
    let shell = |script: &str| {
        let mut command = palk_in_a_shell();
        command.current_dir(cluster.folder.path()).arg(script).args([from, on]);
        command
    };
    let mount = r#"mount --bind "$0" "$1" 2>/dev/null"#;
    if !shell(mount).status().is_ok_and(|status| status.success()) {
        support::skip("nothing can be mounted here (unshare --mount)");
        return None;
    }
    let mut command = shell(&format!(r#"{mount} && shift && exec "$@""#));
    command.arg(env!("CARGO_BIN_EXE_palk")).args(then);
    Some(command)
}

fn palk_in_a_shell() -> Command {
    let mut command = Command::new("unshare");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PALK_")) {
        command.env_remove(name);
    }
    command.args(["--mount", "sh", "-c"]);
    command
}

#[test]
fn what_something_is_mounted_on_is_written_in_place() {
    let cluster = Cluster::start();
    let at = |name: &str| cluster.path(name);
    fs::write(at("new"), "new").unwrap();
    client(&cluster, &["store", "new"]).code(0);
    fs::create_dir_all(at("home/palk")).unwrap();
    for name in ["target", "below", "home/palk/known_servers", "known"] {
        fs::write(at(name), "").unwrap();
    }
    let verb = |rest: &[&'static str]| {
        let mut all = vec!["client", "--server", cluster.address(), "--user", USER];
        all.extend(["--password-file", "password"]);
        all.extend(rest);
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (from, on, rest, expected) in [
        // First, as every command adds the server to it.
        ("known", "home/palk/known_servers", &["inf"][..], cluster.address()),
        ("below", "target", &["rtv", "new", "--to", "target"], "new"),
    ] {
        let then = verb(rest);
        let then: Vec<&str> = then.iter().map(String::as_str).collect();
        let Some(mut command) = with_mount(&cluster, from, on, &then) else { return };
        command.env("XDG_CONFIG_HOME", at("home"));
        run(command).code(0);
        assert!(fs::read_to_string(at(from)).unwrap().starts_with(expected), "{from}");
        assert_eq!(fs::read(at(on)).unwrap(), b"", "what is under the mount");
    }
}
