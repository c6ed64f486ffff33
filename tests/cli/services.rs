//! Node and server under a service manager: the printed unit, what they tell it, options in a file.

use std::io;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::{HANG, Process};

use super::*;

/// The figure of `systemd-analyze security`, of 10, that no unit may exceed.
const EXPOSURE_MAX: f64 = 1.5;

/// Whom the units run as.
const SERVICE_USER: u32 = 1000;

/// A folder that is in no home and no folder for temporary files, as those of a service are, if the
/// superuser makes it; else one of the build.
fn service_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/srv");
    let folder = folder.or_else(|_| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    for name in ["files_2", "user_database", "with space"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        let _ = chown(folder.path().join(name), Some(SERVICE_USER), Some(SERVICE_USER));
    }
    folder
}

fn palk_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = palk();
    command.current_dir(folder).args(arguments);
    command
}

fn unit(folder: &Path, arguments: &[&str]) -> String {
    let printed = run(palk_in(folder, arguments)).code(0).stderr(is_empty());
    String::from_utf8(printed.get_output().stdout.clone()).unwrap()
}

/// Is there a systemd on this machine? If not, that is said.
fn has_systemd() -> bool {
    let asked = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    let found = asked.is_ok_and(|status| status.success());
    if !found {
        support::skip("there is no systemd-analyze on this machine");
    }
    found
}

#[test]
fn a_printed_unit_starts_the_same_command() {
    let folder = service_folder();
    let real = fs::canonicalize(folder.path()).unwrap();
    let here = real.to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_palk");
    let text = unit(&real, &["storage", "--print-unit", "--id", "2", "--reserve", "1GiB"]);
    for line in [
        &format!("ExecStart={program} storage --id 2 --reserve 1GiB"),
        &format!("WorkingDirectory={here}"),
        &format!("ReadWritePaths={here}/files_2"),
        &format!("RequiresMountsFor={here}/files_2"),
        "Type=notify",
        "Restart=on-failure",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("ExecReload"));

    let mut command = palk_in(&real, &["server", "--dir", "with space", "--print-unit"]);
    command.args(["--discoverable", "50% of $HOME"]).env("PALK_LISTEN", "127.0.0.1:443");
    let printed = run(command).code(0);
    let text = String::from_utf8_lossy(&printed.get_output().stdout).into_owned();
    for line in [
        &format!(
            r#"ExecStart={program} server --dir "with space" --discoverable "50%% of $$HOME""#
        ),
        &format!(r#"ReadWritePaths="{here}/with space""#),
        r#"ExecReload=/bin/sh -c "kill -HUP ${MAINPID}""#,
        "Environment=PALK_LISTEN=127.0.0.1:443",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Nothing was started or made.
    assert_eq!(fs::read_dir(real.join("with space")).unwrap().count(), 0);
}

#[test]
fn a_unit_for_files_that_a_service_cannot_have_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let print = |arguments: &[&str]| {
        run(palk_in(folder.path(), &[arguments, &["--print-unit"]].concat())).stdout(is_empty())
    };
    print(&["storage", "--id", "1"]).code(13).stderr(told("mkdir -m 700 files_1"));
    fs::create_dir(folder.path().join("user_database")).unwrap();
    print(&["server", "--key", "none"]).code(13).stderr(contains("none: no such file"));
    print(&["server", "--discoverable", "a\nb"]).code(2);
    print(&["server", "--take-over"]).code(2).stderr(contains("--take-over"));
}

#[test]
fn systemd_takes_the_units_and_finds_them_well_confined() {
    if !has_systemd() {
        return;
    }
    let folder = service_folder();
    let kept = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("palk-node-2", &["storage", "--id", "2"][..]),
        ("palk-server", &["server", "--listen", "0.0.0.0:17777", "--dir", "with space"]),
    ] {
        let text = unit(folder.path(), &[arguments, &["--print-unit"]].concat());
        let file = kept.path().join(format!("{name}.service"));
        fs::write(&file, &text).unwrap();
        let analyze = |arguments: &[&str]| {
            let mut command = Command::new("systemd-analyze");
            command.args(arguments).arg(&file);
            run(command)
        };
        analyze(&["verify"]).code(0).stderr(is_empty());
        let seen = analyze(&["security", "--offline=true", "--no-pager"]).code(0);
        let seen = String::from_utf8_lossy(&seen.get_output().stdout).into_owned();
        let verdict = seen.lines().find(|line| line.contains("Overall exposure level")).unwrap();
        let figure = verdict.split(": ").nth(1).unwrap().split(' ').next().unwrap();
        let exposure: f64 = figure.parse().unwrap();
        assert!(exposure <= EXPOSURE_MAX, "{name}: {exposure}\n{seen}\n{text}");
    }
}

/// The end of the socket at which the service manager would be.
struct Manager {
    socket: UnixDatagram,
    place: PathBuf,
    heard: String,
}

impl Manager {
    fn listen(folder: &Path) -> Manager {
        let place = folder.join("notify");
        let socket = UnixDatagram::bind(&place).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Manager { socket, place, heard: String::new() }
    }

    /// Starts a command whose service manager this is.
    fn start(&self, mut command: Command) -> Process {
        command.env("NOTIFY_SOCKET", &self.place);
        Process::start(command)
    }

    /// Waits until all that was heard so far has this text, and forgets what was before it.
    fn hears(&mut self, text: &str) {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.heard.find(text) {
                self.heard.drain(..at + text.len());
                return;
            }
            let mut buffer = [0; 4096];
            match self.socket.recv(&mut buffer) {
                Ok(count) => self.heard.push_str(str::from_utf8(&buffer[..count]).unwrap()),
                // Nothing yet, or a signal to this process.
                Err(error) => assert!(
                    [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()),
                    "{error}"
                ),
            }
            assert!(begun.elapsed() < HANG, "{text:?} was never heard: {:?}", self.heard);
        }
    }
}

#[test]
fn a_node_tells_its_service_manager_when_it_listens_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::listen(folder.path());
    let command = palk_in(folder.path(), &["storage", "--id", "2", "--listen", "127.0.0.1:0"]);
    let mut node = manager.start(command);
    manager.hears("READY=1\nSTATUS=node 2 listens on 127.0.0.1:");
    node.signal("-TERM");
    manager.hears("STOPPING=1\n");
    assert_eq!(node.wait(), Some(0));
    // A manager that has gone stops nobody.
    drop(manager.socket);
    let mut command = palk_in(folder.path(), &["storage", "--id", "2", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &manager.place);
    let mut node = Process::start(command);
    node.says("the service manager cannot be told");
    node.signal("-TERM");
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn a_server_tells_its_service_manager_whether_it_waits_for_nodes_or_leads() {
    let mut cluster = Cluster::prepare(&[]);
    let mut manager = Manager::listen(cluster.folder.path());
    cluster.use_server(manager.start(cluster.server_command(palk())));
    manager.hears("READY=1\nSTATUS=waits for nodes: 0 of 4 are up");
    (1..=4).for_each(|node| cluster.start_node(node));
    manager.hears("STATUS=leads the cluster, 4 of 4 nodes are up\n");
    cluster.lose_node(1);
    manager.hears("STATUS=leads the cluster, 3 of 4 nodes are up\n");
    cluster.lose_node(2);
    manager.hears("STATUS=waits for nodes: 2 of 4 are up");
    cluster.server().signal("-HUP");
    manager.hears("RELOADING=1\nMONOTONIC_USEC=");
    manager.hears("READY=1\n");
    cluster.server().signal("-TERM");
    manager.hears("STOPPING=1\n");
}

#[test]
fn options_of_a_server_stand_in_a_file_and_those_that_are_given_win() {
    let mut cluster = Cluster::prepare(&[]);
    (1..=4).for_each(|node| cluster.start_node(node));
    let nodes: Vec<_> = (1..=4).map(|node| format!("{:?}", cluster.node_address(node))).collect();
    let text = format!(
        "listen = '127.0.0.1:0'\nnode = [{}]\ndir = 'database'\nmax-file-size = 1000\n\
         no-signup = false\nkeep-snapshots = ['24h:hourly', '7d:daily']\nlog-format = 'json'\n",
        nodes.join(", ")
    );
    fs::write(cluster.path("palk.toml"), text).unwrap();
    let arguments = ["server", "--config", "palk.toml", "--log-format=text"];
    let server = Process::start(palk_in(cluster.folder.path(), &arguments));
    server.says("Connected to all data servers.");
    assert!(!server.log().starts_with('{'), "{}", server.log());
    assert!(cluster.path("database").exists());
    cluster.use_server(server);
    client(&cluster, &["signup"]).code(0);
    fs::write(cluster.path("big"), vec![0; 1001]).unwrap();
    client(&cluster, &["store", "big"]).code(8);
    cluster.stop_server();

    let mut command = palk_in(cluster.folder.path(), &arguments);
    command.args(["--max-file-size", "2000"]).env("PALK_LISTEN", "127.0.0.2:0");
    let server = Process::start(command);
    server.says("Connected to all data servers.");
    assert!(server.address().starts_with("127.0.0.2:"), "the environment wins over the file too");
    cluster.use_server(server);
    client(&cluster, &["store", "big"]).code(0);
}

#[test]
fn options_of_a_node_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = "id = 3\nlisten = '127.0.0.1:0'\ndir = 'three'\nreserve = '1MiB'\n";
    fs::write(folder.path().join("node.toml"), text).unwrap();
    let node = Process::start(palk_in(folder.path(), &["storage", "--config=node.toml"]));
    node.says("storage node 3 listening on 127.0.0.1:");
    assert!(folder.path().join("three").exists());
}

#[test]
fn a_wrong_key_or_value_in_a_file_of_options_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("palk.toml");
    for (text, named) in [
        ("colour = 'red'", "palk.toml: colour is no option"),
        ("take-over = true", "palk.toml: take-over is no option"),
        ("config = 'other.toml'", "palk.toml: config is no option"),
        ("max_file_size = 1", "palk.toml: max_file_size is no option"),
        ("[server]\nlisten = 'x'", "palk.toml: server is no option"),
        ("max-file-size = 'much'", "palk.toml: max-file-size: \"much\" is wrong: "),
        ("dialect = 'old'", "palk.toml: dialect: \"old\" is wrong: it can be spec, 2020"),
        ("no-signup = 'yes'", "palk.toml: no-signup: true or false is needed, not string"),
        ("listen = true", "palk.toml: listen: a text or a number is needed, not boolean"),
        ("listen = ['a', 'b']", "palk.toml: listen: a text or a number is needed, not array"),
        ("door = ['fly=x']", "palk.toml: door: \"fly=x\" is wrong: "),
        ("\nlisten =", "palk.toml: line 2: "),
    ] {
        fs::write(&file, text).unwrap();
        let tried = run(palk_in(folder.path(), &["server", "--config", "palk.toml"]));
        tried.code(2).stdout(is_empty()).stderr(contains(named));
        assert!(!folder.path().join("user_database").exists(), "{text}");
    }
    fs::write(&file, "id = 5").unwrap();
    run(palk_in(folder.path(), &["storage", "--config", "palk.toml"]))
        .code(2)
        .stderr(contains("palk.toml: id: \"5\" is wrong"));
    run(palk_in(folder.path(), &["server", "--config", "none.toml"]))
        .code(2)
        .stderr(told("cannot read none.toml: no such file"));
}
