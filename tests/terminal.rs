//! The program on a terminal: what is asked, shown and left unshown, and how it is left.

#![cfg(unix)]

mod support;

use std::fs;
use std::process::{Command, Stdio};

use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};
use support::{Cluster, HANG, PASSWORD, USER, noise, palk};

fn on_terminal(mut command: Command) -> PtySession {
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let limit = u64::try_from(HANG.as_millis()).unwrap();
    let options = Options::new().timeout_ms(Some(limit)).strip_ansi_escape_codes(true);
    spawn_with_options(command, options).unwrap()
}

/// Types a line at the prompt, and gives what is printed before the next prompt.
fn operate(session: &mut PtySession, line: &str) -> String {
    session.send_line(line).unwrap();
    session.exp_string("\n").unwrap(); // the line itself, as it is typed
    session.exp_string("~ ").unwrap()
}

/// Reads to the end, and gives the rest and the exit status as text.
fn end(mut session: PtySession) -> (String, String) {
    let rest = session.exp_eof().unwrap();
    // The type cannot be named from here: `Exited(Pid(7), 0)`.
    let ended = format!("{:?}", session.process().wait().unwrap());
    let status = ended.strip_suffix(')').and_then(|ended| ended.rsplit_once("), "));
    (rest, status.map_or(ended.clone(), |(_, status)| status.to_owned()))
}

#[test]
fn a_session_on_a_terminal_keeps_the_password_to_itself() {
    let cluster = Cluster::start();
    fs::create_dir_all(cluster.path("c_files/test")).unwrap();
    let bytes = noise(1, 500_000);
    fs::write(cluster.path("c_files/test/yeet.txt"), &bytes).unwrap();
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
    let mut session = on_terminal(command);
    session.exp_string("| Hello client, you have connected to Server Palk. ").unwrap();
    session.exp_string("Username: ").unwrap();
    session.send_line(USER).unwrap();
    session.exp_string("Password: ").unwrap();
    session.send_line(PASSWORD).unwrap();
    let shown = session.exp_string("Welcome demo! You are a legend...").unwrap();
    assert!(!shown.contains(PASSWORD), "{shown:?}");
    session.exp_string("~ ").unwrap();

    let said = operate(&mut session, "STR yeet.txt test");
    assert!(said.contains("successfully created") && said.contains("on 4 of 4 nodes"), "{said:?}");
    fs::remove_dir_all(cluster.path("c_files/test")).unwrap();
    let said = operate(&mut session, "rtv yeet.txt test");
    assert!(said.contains("Successfully retrieved") && said.contains("checked"), "{said:?}");
    assert!(fs::read(cluster.path("c_files/test/yeet.txt")).unwrap() == bytes);
    // A failure is told, and the session goes on.
    let said = operate(&mut session, "DEL nothing");
    assert!(said.contains("error: cannot delete nothing"), "{said:?}");
    assert!(operate(&mut session, "INF").contains("/test/yeet.txt"));
    // Tab knows what is stored, as seen from the folder that the session is in.
    assert!(operate(&mut session, "ls te\t").contains("yeet.txt"));
    session.send_line("cd te\t").unwrap();
    session.exp_string("Now in /test").unwrap();
    session.exp_string("~/test ").unwrap();
    session.send_line("rtv ye\t").unwrap();
    session.exp_string("Successfully retrieved file yeet.txt").unwrap();
    session.exp_string("~/test ").unwrap();
    assert!(operate(&mut session, "cd ..").contains("Now in /"));
    // What is removed with everything in it is asked for.
    session.send_line("rmdir -r test").unwrap();
    session.exp_string("Remove /test and everything in it (yes or no)? ").unwrap();
    session.send_line("no").unwrap();
    session.exp_string("Nothing was removed.").unwrap();
    session.exp_string("~ ").unwrap();
    assert!(operate(&mut session, "INF").contains("/test/yeet.txt"));
    session.send_control('d').unwrap();
    let (rest, status) = end(session);
    assert_eq!(status, "0", "{rest:?}");
    assert!(!rest.contains("error"), "{rest:?}");
}

#[test]
fn what_only_the_target_has_is_asked_about_and_stays_without_a_yes() {
    let cluster = Cluster::start();
    fs::create_dir(cluster.path("d")).unwrap();
    fs::write(cluster.path("d/a"), "1").unwrap();
    cluster.store("up/b", b"2").unwrap();
    let sync = |arguments: &[&str], question: &str, answer: &str| {
        let mut command = cluster.client_command(&[&["sync"], arguments].concat());
        command.stdin(Stdio::inherit());
        let mut session = on_terminal(command);
        session.exp_string(question).unwrap();
        session.send_line(answer).unwrap();
        end(session)
    };
    let up = ["d", ":up", "--delete"];
    let question = "Delete 1 file that only :up has (yes or no)? ";
    let (said, status) = sync(&up, question, "no");
    assert!(said.contains("Nothing was changed.") && status == "130", "{said:?} {status}");
    let (said, status) = sync(&up, question, "yes");
    assert!(said.contains("Deleted 1 file. To have one back") && status == "0", "{said:?}");
    fs::write(cluster.path("d/c"), "3").unwrap();
    let (said, _) = sync(
        &[":up", "d", "--delete"],
        "Delete 1 file that only d has, for ever (yes or no)? ",
        "yes",
    );
    assert!(said.contains("Deleted 1 file for ever") && !cluster.path("d/c").exists(), "{said:?}");
}

#[test]
fn deleting_what_matches_a_pattern_is_asked_about() {
    let cluster = Cluster::start();
    for name in ["a.tmp", "b.tmp", "c.txt"] {
        cluster.store(name, b"1").unwrap();
    }
    for (answer, status) in [("no", "130"), ("yes", "0")] {
        let mut command = cluster.client_command(&["del", "*.tmp"]);
        command.stdin(Stdio::inherit());
        let mut session = on_terminal(command);
        session.exp_string("Delete a.tmp, b.tmp (yes or no)? ").unwrap();
        session.send_line(answer).unwrap();
        assert_eq!(end(session).1, status);
    }
    let listed = cluster.client(&["inf"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "/c.txt\n");
}

#[test]
fn a_session_on_a_terminal_deals_with_folders_and_patterns() {
    let cluster = Cluster::start();
    fs::create_dir_all(cluster.path("c_files/up/deep")).unwrap();
    for (name, text) in [("a.jpg", "1"), ("b.jpg", "22"), ("deep/c", "333")] {
        fs::write(cluster.path("c_files/up").join(name), text).unwrap();
    }
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
    command.args(["--user", USER, "--password-file", "password"]);
    let mut session = on_terminal(command);
    session.exp_string("~ ").unwrap();
    // Tab completes words, local folders after STR and stored ones after the others.
    assert!(operate(&mut session, "STR -r u\t").contains("Stored 3 files, 6 B"));
    assert!(operate(&mut session, "du up/d\t").contains("1 file  /up/deep/"));
    assert!(operate(&mut session, "cat up/deep/c\t").contains("333"));
    assert!(operate(&mut session, "uplo\t").contains("No upload waits."));
    fs::remove_dir_all(cluster.path("c_files/up")).unwrap();
    let said = operate(&mut session, "RTV up/*.jpg");
    assert!(said.contains("retrieved file a.jpg") && said.contains("file b.jpg"), "{said:?}");
    assert!(operate(&mut session, "RTV -r up/de\t").contains("Retrieved 1 file, 3 B"));
    assert_eq!(fs::read(cluster.path("c_files/up/deep/c")).unwrap(), b"333");
    assert!(operate(&mut session, "DEL *.png").contains("nothing that is stored matches"));
    session.send_line("DEL up/*.jpg").unwrap();
    session.exp_string("Delete up/a.jpg, up/b.jpg (yes or no)? ").unwrap();
    session.send_line("yes").unwrap();
    session.exp_string("Successfully removed file b.jpg").unwrap();
    session.exp_string("~ ").unwrap();
    session.send_line("DEL -r up").unwrap();
    session.exp_string("Remove up and everything in it (yes or no)? ").unwrap();
    session.send_line("yes").unwrap();
    session.exp_string("Removed up  with 1 file and 1 folder in it").unwrap();
    session.exp_string("~ ").unwrap();
    let help = operate(&mut session, "help");
    for word in ["cat NAME...", "head -c N NAME", "du [-s] [PATH]", "find [PATH] GLOB", "uploads"] {
        assert!(help.contains(word), "{word}: {help:?}");
    }
    session.send_control('d').unwrap();
    assert_eq!(end(session).1, "0");
}

#[test]
fn signing_in_once_and_changing_the_password_on_a_terminal() {
    let cluster = Cluster::start();
    let start = |verb: &str| {
        let mut command = palk();
        command.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", cluster.path("home"));
        command.args(["client", "--server", cluster.address(), "--user", USER, verb]);
        on_terminal(command)
    };
    let answer = |session: &mut PtySession, question: &str, secret: &str| {
        session.exp_string(question).unwrap();
        session.send_line(secret).unwrap();
    };
    let mut session = start("login");
    answer(&mut session, "Password of demo: ", PASSWORD);
    let (rest, status) = end(session);
    assert!(status == "0" && rest.contains("Signed in as demo"), "{rest:?}");
    assert!(!rest.contains(PASSWORD), "{rest:?}");

    for (again, expected) in [("typed wrong", "2"), ("brand new", "0")] {
        let mut session = start("passwd");
        answer(&mut session, "Old password of demo: ", PASSWORD);
        answer(&mut session, "New password of demo: ", "brand new");
        answer(&mut session, "The same again: ", again);
        let (rest, status) = end(session);
        assert_eq!(status, expected, "{rest:?}");
        assert!(!rest.contains("brand new") && !rest.contains(PASSWORD), "{rest:?}");
    }
    let (rest, status) = end(start("inf"));
    assert_eq!(status, "0", "the own sign-in is still valid: {rest:?}");
    let (rest, status) = end(start("logout"));
    assert!(status == "0" && rest.contains("Signed out demo"), "{rest:?}");
    let mut session = start("inf");
    answer(&mut session, "Password of demo: ", "brand new");
    let (rest, status) = end(session);
    assert_eq!(status, "0", "{rest:?}");
}

#[test]
fn the_demo_ends_in_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = noise(2, 40_000);
    fs::write(folder.path().join("photo.jpg"), &bytes).unwrap();
    let config = folder.path().join("config/palk.toml");
    let mut command = palk();
    command.current_dir(folder.path()).arg("demo");
    command.env("TMPDIR", folder.path()).env("PALK_CONFIG", &config);
    let mut session = on_terminal(command);
    session.exp_string("the same, bit for bit").unwrap();
    session.exp_string(" client --profile demo store ~/photo.jpg").unwrap();
    session.exp_string("~ ").unwrap();
    let said = operate(&mut session, "STR photo.jpg");
    assert!(said.contains("on 4 of 4 nodes"), "{said:?}");

    let said = operate(&mut session, "status");
    assert!(said.contains("4 of 4 nodes are up: every file can be read"), "{said:?}");
    assert!(operate(&mut session, "kill 1").contains("Killed node 1"));
    assert!(operate(&mut session, "KILL 3").contains("Killed node 3"));
    let said = operate(&mut session, "RTV photo.jpg");
    assert!(
        said.contains("from nodes 2 and 4") && said.contains("photo.retrieved.jpg"),
        "{said:?}"
    );
    assert!(fs::read(folder.path().join("photo.retrieved.jpg")).unwrap() == bytes);
    let said = operate(&mut session, "STR photo.jpg");
    assert!(said.contains("error: cannot store photo.jpg") && said.contains("node 3"), "{said:?}");
    assert!(operate(&mut session, "start 1").contains("Node 1 is up again"));
    let said = operate(&mut session, "status");
    assert!(said.contains("3 of 4 nodes are up") && said.contains("killed"), "{said:?}");

    // Another terminal finds it by its profile.
    let mut other = palk();
    other.current_dir(folder.path()).env("PALK_CONFIG", &config);
    other.args(["client", "--profile", "demo", "store", "photo.jpg", "--to", "other"]);
    assert!(other.status().unwrap().success());
    assert!(operate(&mut session, "INF").contains("/other/photo.jpg"));

    session.send_line("quit").unwrap();
    let (rest, status) = end(session);
    assert_eq!(status, "0", "{rest:?}");
    assert!(rest.contains("Goodbye. All processes have ended"), "{rest:?}");
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["photo.jpg", "photo.retrieved.jpg"]);
}

#[test]
fn the_tour_plays_by_itself_and_is_left_by_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = palk();
        command.current_dir(folder.path()).args(["demo", "--tour"]);
        command.env("TMPDIR", folder.path()).env("PALK_CONFIG", folder.path().join("config.toml"));
        on_terminal(command)
    };
    let (said, status) = end(start());
    assert!(status == "0" && said.contains("5. Delete a file, and bring it back"), "{said:?}");
    assert!(
        said.contains("Goodbye. All processes have ended and the data is removed."),
        "{said:?}"
    );

    let mut session = start();
    session.exp_string("2. Lose two nodes").unwrap();
    session.send_control('c').unwrap();
    let (said, status) = end(session);
    assert_eq!(status, "130", "{said:?}");
    assert!(said.contains("Goodbye.") && !said.contains("error"), "{said:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_screen_of_its_own_is_left_by_a_key_and_the_terminal_is_as_before() {
    let cluster = Cluster::start();
    let start = || {
        let mut command = Command::new("sh");
        command.current_dir(cluster.folder.path()).env("XDG_CONFIG_HOME", "/dev/null");
        // Says how the terminal is set before and after, and how it ended.
        let script = "stty -g; $0 top; echo ended $?; stty -g";
        command.args(["-c", script, env!("CARGO_BIN_EXE_palk")]).env("TERM", "xterm");
        let limit = u64::try_from(HANG.as_millis()).unwrap();
        let options = Options::new().timeout_ms(Some(limit));
        spawn_with_options(command, options).unwrap()
    };
    for (key, sent) in [("q", "q"), ("Esc", "\x1b"), ("Ctrl-C", "\x03")] {
        let mut session = start();
        let before = session.read_line().unwrap();
        session.exp_string("\x1b[?1049h\x1b[?25l").unwrap();
        session.exp_string("traffic: 0 stores, 0 reads").unwrap();
        session.exp_string("q leaves").unwrap();
        // Keys that mean nothing here: an arrow, Ctrl-Z, a letter.
        session.send("\x1b[A\x1az").unwrap();
        session.flush().unwrap();
        session.exp_string("traffic: ").unwrap();
        session.send(sent).unwrap();
        session.flush().unwrap();
        session.exp_string("\x1b[?25h\x1b[?1049l").unwrap();
        let rest = session.exp_eof().unwrap();
        assert_eq!(rest, format!("ended 0\r\n{before}\r\n"), "{key}");
    }
}

#[test]
fn what_is_typed_ahead_is_done_line_by_line() {
    let cluster = Cluster::start();
    fs::create_dir_all(cluster.path("c_files/test")).unwrap();
    fs::write(cluster.path("c_files/test/yeet.txt"), "yeet").unwrap();
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
    command.args(["--user", USER, "--password-file", "password"]);
    let mut session = on_terminal(command);
    session.exp_string("~ ").unwrap();
    // Three lines at once, one of them with its answers.
    session.send("mkdir a\nSTR\nyeet.txt\ntest\nmkdir b\n").unwrap();
    session.flush().unwrap();
    for said in ["Made the folder /a", "File yeet.txt successfully created", "Made the folder /b"] {
        session.exp_string(said).unwrap();
    }
    session.exp_string("~ ").unwrap();
    // As a terminal says that it is pasted: it waits for Enter.
    session.send("\x1b[200~mkdir c\nmkdir d\n\x1b[201~\n").unwrap();
    session.flush().unwrap();
    session.exp_string("Made the folder /c").unwrap();
    session.exp_string("Made the folder /d").unwrap();
    session.exp_string("~ ").unwrap();

    // A byte that is no text is refused, and the session goes on.
    let mut keyboard = session.process().get_file_handle().unwrap();
    std::io::Write::write_all(&mut keyboard, b"rtv \xff\xfe\n").unwrap();
    session.exp_string("this is not UTF-8 text").unwrap();
    session.exp_string("~ ").unwrap();
    assert!(operate(&mut session, "ls").contains("a/"));
    session.send_control('d').unwrap();
    let (rest, status) = end(session);
    assert_eq!(status, "0", "{rest:?}");
    let listed = cluster.client(&["inf"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed, "/a\n/b\n/c\n/d\n/test\n/test/yeet.txt\n");
}
