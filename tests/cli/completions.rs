//! What shells are given to complete the command line, and the manual pages.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;

/// Longer than a Tab may take, with a machine that has much else to do.
const TAB: Duration = Duration::from_secs(5);

fn script(shell: &str) -> String {
    let printed = palk_with(&["completions", shell]).code(0).stderr(is_empty());
    String::from_utf8(printed.get_output().stdout.clone()).unwrap()
}

/// Is there such a shell on this machine? If not, that is said.
fn has_shell(shell: &str) -> bool {
    let found = Command::new(shell).args(["-c", "exit 0"]).status().is_ok_and(|it| it.success());
    if !found {
        support::skip(&format!("there is no {shell} on this machine"));
    }
    found
}

/// A cluster with files of user `demo`, who has saved a sign-in.
fn with_files() -> Cluster {
    let cluster = Cluster::start();
    for path in ["report.txt", "reports/2026/a b.txt", "reports/b.txt", "other"] {
        cluster.store(path, b"bytes").unwrap();
    }
    run(at_home(&cluster, &["login", "--user", USER, "--password-file", "password"])).code(0);
    cluster
}

#[test]
fn every_shell_gets_a_script_that_it_can_read() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = script(shell);
        for word in ["client", "versions", "doctor", "keygen"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if ["bash", "zsh", "fish"].contains(&shell) && has_shell(shell) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("palk");
            fs::write(&file, script).unwrap();
            let mut command = Command::new(shell);
            command.arg("-n").arg(&file);
            run(command).code(0).stderr(is_empty());
        }
    }
    palk_with(&["completions", "tcsh"]).code(2).stdout(is_empty());
}

#[test]
fn stored_names_are_listed_one_folder_at_a_time() {
    let cluster = with_files();
    let stored = |prefix: &str| run(at_home(&cluster, &["complete-stored", "--", prefix]));
    for (prefix, names) in [
        ("", "other\nreport.txt\nreports/\n"),
        ("rep", "report.txt\nreports/\n"),
        ("/rep", "/report.txt\n/reports/\n"),
        ("reports/", "reports/2026/\nreports/b.txt\n"),
        ("reports/2026/a", "reports/2026/a b.txt\n"),
        ("none", ""),
        ("none/", ""),
        ("../", ""),
        ("a//", ""),
    ] {
        let listed = stored(prefix).code(0).stderr(is_empty());
        let mut lines: Vec<String> = String::from_utf8_lossy(&listed.get_output().stdout)
            .lines()
            .map(|line| format!("{line}\n"))
            .collect();
        lines.sort();
        assert_eq!(lines.concat(), names, "{prefix}");
    }
}

#[test]
fn nothing_is_asked_and_nothing_is_said_where_no_names_can_be_had() {
    let cluster = with_files();
    let quiet = |command: Command| {
        let begun = Instant::now();
        run(command).code(0).stdout(is_empty()).stderr(is_empty());
        assert!(begun.elapsed() < TAB, "{:?}", begun.elapsed());
    };
    let stored = ["complete-stored", ""];
    // A password is none of its business, whatever it is named by.
    quiet(cluster.client_command(&stored));
    quiet(at_home(&cluster, &["complete-stored", "", "--user", "eve"]));
    quiet(at_home(&cluster, &["complete-stored", "", "--profile", "none"]));
    // There is a sign-in for each of the servers that are asked here.
    let tokens = cluster.path("home/palk/tokens");
    let own = fs::read_dir(&tokens).unwrap().next().unwrap().unwrap().path();
    let keep_for = |address: &str| {
        let folder = tokens.join(address.replace(':', "%3A"));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(own.join(USER), folder.join(USER)).unwrap();
    };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (silent.local_addr().unwrap().to_string(), silent);
    for address in ["127.0.0.1:1", &silent.0, "nobody.invalid:1"] {
        keep_for(address);
        let mut command = palk();
        command.env("XDG_CONFIG_HOME", cluster.path("home"));
        command.args(["client", "--server", address, "--user", USER]).args(stored);
        quiet(command);
    }
    // A sign-in that is not valid stays where it is.
    let token = own.join(USER);
    fs::write(&token, "00".repeat(32) + "\n").unwrap();
    quiet(at_home(&cluster, &stored));
    assert!(token.exists());
    fs::write(cluster.path("home/palk/config.toml"), "no = [configuration").unwrap();
    quiet(at_home(&cluster, &stored));
}

/// What bash offers at the end of this line.
fn in_bash(cluster: &Cluster, words: &[&str]) -> Vec<String> {
    let mut shell = Command::new("bash");
    let test = "source completions; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                _palk_or_stored \"$1\" \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\" \
                2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\"";
    shell.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", cluster.path("home"));
    shell.args(["--norc", "-c", test, "bash", env!("CARGO_BIN_EXE_palk")]).args(words);
    let printed = run(shell).code(0);
    let out = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
    let mut lines: Vec<String> =
        out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn bash_completes_names_of_stored_files_where_they_stand() {
    if !has_shell("bash") {
        return;
    }
    let cluster = with_files();
    fs::write(cluster.path("completions"), script("bash")).unwrap();
    let (host, port) = cluster.address().split_once(':').unwrap();
    // An address is three words for bash.
    let client = ["client", "--server", host, ":", port];
    let offered = |words: &[&str]| in_bash(&cluster, &[&client[..], words].concat());
    assert_eq!(offered(&["rtv", "rep"]), ["report.txt", "reports/"]);
    assert_eq!(offered(&["get", "other", "reports/2"]), ["reports/2026/"]);
    assert_eq!(offered(&["rtv", "reports/2026/a\\ b"]), ["reports/2026/a b.txt"]);
    assert_eq!(offered(&["store", "x", "--to", "rep"]), ["report.txt", "reports/"]);
    // Local files are the shell's own, and options and verbs the generated part's.
    assert_eq!(offered(&["store", "rep"]), [""; 0]);
    assert!(offered(&["rtv", "--to", "rep"]).iter().all(|name| !name.contains("report")));
    assert!(offered(&["rtv", "--pro"]).contains(&"--profile".to_owned()));
    assert!(in_bash(&cluster, &["client", "vers"]).contains(&"versions".to_owned()));
    assert!(in_bash(&cluster, &["doc"]).contains(&"doctor".to_owned()));
    assert!(!in_bash(&cluster, &["client", "comp"]).concat().contains("complete-stored"));
}

#[test]
fn fish_completes_names_of_stored_files_where_they_stand() {
    if !has_shell("fish") {
        return;
    }
    let cluster = with_files();
    fs::write(cluster.path("completions"), script("fish")).unwrap();
    let offered = |line: &str| {
        let mut shell = Command::new("fish");
        let folder = Path::new(env!("CARGO_BIN_EXE_palk")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", folder.display()));
        shell.env("HOME", cluster.path("fish")).env("XDG_CONFIG_HOME", cluster.path("home"));
        shell.current_dir(cluster.folder.path());
        let line = line.replace("SERVER", cluster.address());
        shell.args(["--no-config", "-c", "source completions; complete -C $argv[1]", &line]);
        let printed = run(shell).code(0);
        let out = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
        out.lines()
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let mut names = offered("palk client --server SERVER rtv rep");
    names.sort();
    assert_eq!(names, ["report.txt", "reports/"]);
    assert_eq!(offered("palk client --server SERVER rtv reports/2026/a"), ["reports/2026/a b.txt"]);
    assert!(offered("palk client vers").contains(&"versions".to_owned()));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man/man1");
    palk_with(&["man", dir.to_str().unwrap()])
        .code(0)
        .stdout(is_empty())
        .stderr(contains("manual pages to"));
    let page = |name: &str| fs::read_to_string(dir.join(format!("{name}.1")));
    for name in [
        "palk",
        "palk-client",
        "palk-client-store",
        "palk-client-config-set",
        "palk-admin-user-add",
        "palk-server",
    ] {
        let text = page(name).unwrap();
        assert!(text.contains(".SH NAME"), "{name}");
    }
    assert!(page("palk-client-store").unwrap().contains("password\\-file"));
    assert!(page("palk-client").unwrap().contains("wrong usage"), "the exit statuses");
    assert!(page("palk-client-complete-stored").is_err() && page("palk-help").is_err());
    let mode = fs::metadata(dir.join("palk.1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    // Nothing in it differs from run to run, and it is replaced.
    let before = page("palk-client").unwrap();
    palk_with(&["man", dir.to_str().unwrap()]).code(0);
    assert_eq!(page("palk-client").unwrap(), before);
    fs::write(folder.path().join("file"), "").unwrap();
    let place = folder.path().join("file/man");
    palk_with(&["man", place.to_str().unwrap()]).code(13).stderr(told("cannot write to"));
}
