//! The words of other programs in the interactive session, on a whole cluster: what SPEC 2, 3 and 4
//! ask of a client, sentence by sentence. Their doors have tests of their own.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use assert_cmd::assert::Assert;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, is_match};
use support::proxy::Proxy;
use support::{Cluster, PASSWORD, USER, noise, palk};

fn run_with(command: Command, input: &str) -> Assert {
    let mut command = assert_cmd::Command::from_std(command);
    command.write_stdin(input).timeout(support::HANG).assert()
}

/// A session of user `demo` that is given these lines.
fn session(cluster: &Cluster, input: &str) -> Assert {
    run_with(cluster.client_command(&[]), input)
}

fn local(cluster: &Cluster, path: &str, bytes: &[u8]) {
    let path = cluster.path("c_files").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

// ---- the encrypted exchange ----

#[test]
fn spec_2_the_whole_traffic_is_encrypted() {
    let cluster = Cluster::start();
    let proxy = Proxy::start(cluster.address());
    proxy.record();
    local(&cluster, "secret.txt", b"nobody on the way reads this sentence");
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", &proxy.address()]);
    let lines = format!("{USER}\n{PASSWORD}\nupload secret.txt\nfetch\ndownload secret.txt\n");
    run_with(command, &lines).code(0).stdout(contains("Successfully retrieved file secret.txt"));
    assert!(proxy.forwarded() > 1000);
    for text in ["nobody on the way", PASSWORD, "secret.txt", "Welcome demo"] {
        assert!(!proxy.has_seen(text.as_bytes()), "{text}");
    }
}

#[test]
fn spec_2_a_wrong_password_is_asked_for_again() {
    let cluster = Cluster::start();
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
    let asked = run_with(command, &format!("{USER}\nwrong\n{USER}\n{PASSWORD}\nfetch\n")).code(0);
    asked.stdout(
        contains("Password did not match username demo\nUsername: demo\n")
            .and(contains("Welcome demo!"))
            .and(contains("wrong").not()),
    );
}

#[test]
fn spec_2_fetch_lists_the_files_with_information_about_each() {
    let cluster = Cluster::start();
    local(&cluster, "a.txt", b"seven b");
    local(&cluster, "up/b.txt", &noise(1, 2_000_000));
    session(&cluster, "fetch\nupload a.txt\nupload b.txt up\nFETCH\nfetch up\n").code(0).stdout(
        is_match(r"~ fetch\nNo files in database\n").unwrap().and(
            is_match(concat!(
                r"~ FETCH\n      7 B  \d{4}-\d\d-\d\d \d\d:\d\d  4 of 4    /a.txt\n",
                r" {37}  /up/\n   2.0 MB  [-\d]{10} [:\d]{5}  4 of 4    /up/b.txt\n",
                r"~ fetch up\n   2.0 MB  .*  /up/b.txt\n",
            ))
            .unwrap(),
        ),
    );
}

#[test]
fn spec_2_upload_and_download_bring_a_file_there_and_back() {
    let cluster = Cluster::start();
    let bytes = noise(2, 300_000);
    local(&cluster, "a.bin", &bytes);
    session(&cluster, "upload a.bin\n")
        .code(0)
        .stdout(contains("File a.bin successfully created and written to\n"));
    fs::remove_file(cluster.path("c_files/a.bin")).unwrap();
    session(&cluster, "download a.bin\n")
        .code(0)
        .stdout(contains("Successfully retrieved file a.bin from the file system\n"));
    assert!(fs::read(cluster.path("c_files/a.bin")).unwrap() == bytes);
}

#[test]
fn spec_2_para_of_a_file_that_the_server_has() {
    let cluster = Cluster::start();
    local(&cluster, "a.txt", b"old");
    session(&cluster, "upload a.txt\n").code(0);
    local(&cluster, "a.txt", b"new and longer");
    session(&cluster, "para a.txt\n").code(0).stdout(contains("File a.txt successfully updated\n"));
    assert_eq!(cluster.retrieve("a.txt").unwrap(), b"new and longer");
}

#[test]
fn spec_2_para_of_a_file_that_the_server_does_not_have() {
    let cluster = Cluster::start();
    local(&cluster, "up/a.txt", b"new");
    session(&cluster, "para a.txt up\n").code(4).stderr(
        contains("error: cannot update up/a.txt: there is no folder up\n")
            .and(contains("The server does not have this file. Store it:  STR")),
    );
    session(&cluster, "mkdir up\npara a.txt up\n")
        .code(4)
        .stderr(contains("error: cannot update up/a.txt: there is no file up/a.txt\n"));
    session(&cluster, "INF\n").code(0).stdout(contains("~ INF\n/up\n~ "));
}

#[test]
fn spec_2_a_file_that_is_not_here_is_said_before_anything_is_sent() {
    let cluster = Cluster::start();
    for word in ["upload", "para"] {
        session(&cluster, &format!("{word} nothing.txt\n"))
            .code(13)
            .stdout(contains("file path was invalid!\n"))
            .stderr(contains("There is no file c_files/nothing.txt\n"));
    }
}

#[test]
fn spec_2_download_of_a_file_that_the_server_does_not_have() {
    let cluster = Cluster::start();
    session(&cluster, "download nothing.txt\n")
        .code(4)
        .stderr(contains("cannot retrieve nothing.txt: there is no file nothing.txt\n"));
    assert!(!cluster.path("c_files/nothing.txt").exists());
}

#[test]
fn spec_2_commands_of_a_wrong_shape_say_which_shape_is_right() {
    let cluster = Cluster::start();
    for (line, text) in [
        ("para a b c", "para: a file is one name and one path\n  Like this:  para NAME [PATH]"),
        ("download a b c", "download: a file is one name and one path\n  Like this:  download"),
        ("fetch a b", "fetch: a listing is of one folder or file\n  Like this:  fetch [FOLDER]"),
    ] {
        session(&cluster, line).code(2).stderr(contains(format!("error: {text}")));
    }
    let unknown = session(&cluster, "paralellize a\n").code(2);
    unknown.stdout(contains("ERROR Opcode was invalid!\n")).stderr(contains("Type  help  for"));
}

/// A session whose lines are typed one after another.
struct Typed(Child);

impl Typed {
    fn start(cluster: &Cluster) -> Typed {
        let mut command = cluster.client_command(&[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut typed = Typed(command.spawn().unwrap());
        typed.up_to_prompt();
        typed
    }

    /// What is printed up to the next prompt.
    fn up_to_prompt(&mut self) -> String {
        let mut said = Vec::new();
        let out = self.0.stdout.as_mut().unwrap();
        while !said.ends_with(b"~ ") {
            let mut byte = [0];
            assert_eq!(out.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        String::from_utf8(said).unwrap()
    }

    fn line(&mut self, line: &str) -> String {
        self.type_in(line);
        self.up_to_prompt()
    }

    fn type_in(&mut self, line: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn end(self) -> (Option<i32>, String) {
        let output = self.0.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn spec_2_two_people_who_edit_one_file_cannot_silently_undo_each_other() {
    let cluster = Cluster::start();
    cluster.store("plan.txt", b"the first plan").unwrap();
    let mut one = Typed::start(&cluster);
    assert!(one.line("download plan.txt").contains("Successfully retrieved"));
    // What this session has stored is what it goes on from.
    local(&cluster, "plan.txt", b"my plan");
    assert!(one.line("para plan.txt").contains("successfully updated"));
    assert!(one.line("para plan.txt").contains("successfully updated"));
    cluster.store("plan.txt", b"their plan").unwrap();
    one.type_in("para plan.txt");
    let (status, said) = one.end();
    assert_eq!(status, Some(9), "{said}");
    assert!(
        said.contains("cannot update plan.txt: plan.txt was changed meanwhile by demo from 127")
    );
    assert!(said.contains("RTV brings what is there"), "{said}");
    assert_eq!(cluster.retrieve("plan.txt").unwrap(), b"their plan");
}

// ---- discovery and sharing ----

#[test]
fn spec_3_llist_lists_the_local_folder() {
    let cluster = Cluster::start();
    local(&cluster, "b.txt", b"");
    local(&cluster, "a/c.txt", b"");
    session(&cluster, "llist\nllist a\n")
        .code(0)
        .stdout(contains("~ llist\na/\nb.txt\n~ llist a\nc.txt\n~ "));
    session(&cluster, "llist nowhere\n").code(13).stderr(contains("c_files/nowhere: no such file"));
}

#[test]
fn spec_3_rlist_lists_the_servers_folder() {
    let cluster = Cluster::start();
    cluster.store("a.txt", b"a").unwrap();
    cluster.store("up/b.txt", b"b").unwrap();
    session(&cluster, "rlist\nrlist up\n")
        .code(0)
        .stdout(contains("~ rlist\na.txt\nup/\n~ rlist up\nb.txt\n~ "));
}

#[test]
fn spec_3_put_get_and_bye() {
    let cluster = Cluster::start();
    local(&cluster, "a.txt", b"bytes");
    session(&cluster, "put a.txt\nbye\nINF\n")
        .code(0)
        .stdout(contains("successfully created").and(contains("INF").count(1)));
    fs::remove_file(cluster.path("c_files/a.txt")).unwrap();
    session(&cluster, "get a.txt\nbye\n").code(0);
    assert_eq!(fs::read(cluster.path("c_files/a.txt")).unwrap(), b"bytes");
    // The server goes on for others.
    session(&cluster, "rlist\n").code(0).stdout(contains("a.txt\n"));
}

#[test]
fn spec_3_and_4_connect_says_that_there_is_a_connection_already() {
    let cluster = Cluster::start();
    let told = || {
        contains(format!("you are connected to server {} already", cluster.address()))
            .and(contains("palk client --server HOST:PORT"))
    };
    for line in ["connect 127.0.0.1 30001", "CONNECT 127.0.0.1 4000", "connect"] {
        session(&cluster, &format!("{line}\n")).code(9).stderr(told());
    }
}

// ---- the folder server ----

#[test]
fn spec_4_folders_are_made_changed_into_listed_and_removed() {
    let cluster = Cluster::start();
    local(&cluster, "work/a.txt", b"a");
    let lines = "MKDIR work\nCHDIR work\nDIR\nUPLOAD a.txt\nMKDIR deeper\nDIR\npwd\nCHDIR ..\n\
                 RMDIR work/deeper\nDELETE a.txt work\nRMDIR work\nDIR\n";
    session(&cluster, lines).code(0).stdout(contains(
        "~ MKDIR work\nMade the folder /work\n\
         ~ CHDIR work\nNow in /work\n\
         ~/work DIR\n/work is empty\n\
         ~/work UPLOAD a.txt\nFile a.txt successfully created and written to\n\
         ~/work MKDIR deeper\nMade the folder /work/deeper\n\
         ~/work DIR\na.txt\ndeeper/\n\
         ~/work pwd\n/work\n\
         ~/work CHDIR ..\nNow in /\n\
         ~ RMDIR work/deeper\nRemoved work/deeper\n\
         ~ DELETE a.txt work\nSuccessfully removed file a.txt from the file system\n\
         ~ RMDIR work\nRemoved work\n\
         ~ DIR\nNo files in database\n",
    ));
}

#[test]
fn spec_4_a_folder_that_is_not_empty_or_not_there_is_not_removed() {
    let cluster = Cluster::start();
    cluster.store("work/a.txt", b"a").unwrap();
    session(&cluster, "RMDIR work\n").code(9).stderr(
        contains("cannot remove the folder work: the folder work is not empty\n")
            .and(contains("With everything in it:  rmdir -r")),
    );
    session(&cluster, "RMDIR nothing\n")
        .code(4)
        .stderr(contains("cannot remove the folder nothing: there is no folder nothing\n"));
    session(&cluster, "rmdir -r work\n").code(2).stderr(contains("To confirm it:  -r --yes"));
    session(&cluster, "cd work\nrmdir -r --yes .\npwd\n")
        .code(0)
        .stdout(contains("Removed work  with 1 file and 0 folders in it\n~ pwd\n/\n"));
}

#[test]
fn spec_4_chdir_stays_inside_the_users_folder_and_goes_to_folders_only() {
    let cluster = Cluster::start();
    cluster.store("work/a.txt", b"a").unwrap();
    for (line, status, text) in [
        ("CHDIR ..", 2, "must not leave"),
        ("CHDIR work/../..", 2, "must not leave"),
        ("CHDIR nothing", 4, "cannot go to nothing: there is no folder nothing"),
        ("CHDIR work/a.txt", 4, "there is no folder work/a.txt"),
    ] {
        session(&cluster, &format!("{line}\n")).code(status).stderr(contains(text));
    }
    // The next session begins at the top again, and so does the next user.
    session(&cluster, "CHDIR work\nLGO\n").code(0).stdout(contains("~/work LGO\nUsername: "));
}

#[test]
fn spec_4_upload_download_and_delete() {
    let cluster = Cluster::start();
    local(&cluster, "a.txt", b"bytes");
    session(&cluster, "UPLOAD a.txt\n").code(0);
    fs::remove_file(cluster.path("c_files/a.txt")).unwrap();
    session(&cluster, "DOWNLOAD a.txt\nDELETE a.txt\nDIR\n")
        .code(0)
        .stdout(contains("~ DIR\nNo files in database\n"));
    assert_eq!(fs::read(cluster.path("c_files/a.txt")).unwrap(), b"bytes");
    session(&cluster, "DOWNLOAD a.txt\n").code(4).stderr(contains("there is no file a.txt"));
}

#[test]
fn spec_4_disconnect_and_exit_leave() {
    let cluster = Cluster::start();
    for word in ["DISCONNECT", "EXIT", "exit", "quit"] {
        let left = session(&cluster, &format!("{word}\nINF\n")).code(0);
        left.stdout(contains(format!("~ {word}\n")).and(contains("~ INF").not()));
    }
}
