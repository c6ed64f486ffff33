//! Whole sessions with piped input, against a server in memory.

use std::fs;
use std::path::Path;

use crate::cmd::env::Env;
use crate::cmd::run;
use crate::core::remote::tests::fake::{FakeServer, Fault};

/// Runs a session in a folder; gives its status and what it printed to standard output and error.
fn session(server: &FakeServer, folder: &Path, input: &str) -> (u8, String, String) {
    let args = ["client", "--server", &server.address];
    let (env, screen) = Env::fake(&args, input);
    let status = run(&mut env.in_folder(folder));
    (status, screen.out(), screen.err())
}

const BEFORE: &str = "\
-----------------------------------------------------------------------
| Hello client, you have connected to Server Palk.                      |
| All files need to be inside a directory inside the c_files directory! |
-----------------------------------------------------------------------
Username: demo
Password: 
Welcome demo! You are a legend...
Enter the operation you want to send to the server from the list below
  STR - Store a file on the server
  RTV - Retrieve a file from the server
  DEL - Delete a file from the server
  INF - See which files you have stored on the server
  LGO - Logout from the server
";

#[test]
fn a_session_reads_as_specified() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("c_files/test")).unwrap();
    fs::write(folder.path().join("c_files/test/yeet.txt"), "yeet").unwrap();
    let input = "demo\npw\nSTR\nyeet.txt\ntest\nINF\ndel yeet.txt test\nls\n";
    let (status, out, err) = session(&server, folder.path(), input);
    let expected = format!(
        "{BEFORE}~ STR\n\
         Enter the file name: yeet.txt\n\
         Enter the file path: test\n\
         File yeet.txt successfully created and written to\n\
         ~ INF\n\
         /test\n\
         /test/yeet.txt\n\
         ~ del yeet.txt test\n\
         Successfully removed file yeet.txt from the file system\n\
         ~ ls\n\
         No files in database\n\
         ~ \n"
    );
    assert_eq!((status, out), (0, expected));
    assert!(err.starts_with("Stored test/yeet.txt  4 B in "), "{err}");
    assert!(err.trim_end().ends_with("on 4 of 4 nodes"), "{err}");
}

#[test]
fn a_retrieved_file_lies_in_its_folder() {
    let server = FakeServer::start(Fault::None).with_file("/a/b/f", b"bytes").with_file("/g", b"");
    let folder = tempfile::tempdir().unwrap();
    let input = "demo\npw\nrtv f a/b\nget /g\nRTV\ng\n\nquit\n";
    let (status, out, err) = session(&server, folder.path(), input);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(fs::read(folder.path().join("c_files/a/b/f")).unwrap(), b"bytes");
    assert_eq!(fs::read(folder.path().join("c_files/g")).unwrap(), b"");
    assert!(out.contains("Successfully retrieved file f from the file system\n"));
    assert!(err.contains("from nodes 1 and 4\n  BLAKE3 "), "{err}");
}

#[test]
fn a_local_file_that_is_not_there_ends_a_piped_session() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let (status, out, _) = session(&server, folder.path(), "demo\npw\nSTR x y\nINF\n");
    assert_eq!(status, 13);
    assert!(out.ends_with("~ STR x y\nfile path was invalid!\n"), "{out}");
}

#[test]
fn the_first_failure_ends_a_piped_session_with_its_status() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    for (line, status, text) in [
        ("RTV nothing", 4, "cannot retrieve nothing: there is no file nothing"),
        ("DEL nothing", 4, "cannot delete nothing"),
        ("RTV ../x", 2, "must not leave"),
        ("STR a b c", 2, "one name and one path"),
        ("mkdir", 2, "one folder is to be made"),
        ("cd nothing", 4, "cannot go to nothing: there is no folder nothing"),
        ("rmdir nothing", 4, "there is no folder nothing"),
        ("mv nothing else", 4, "cannot move nothing: there is no file nothing"),
        ("ls nothing", 4, "cannot list nothing"),
        ("rmdir -r x", 2, "there is no terminal to ask at"),
        ("connect 127.0.0.1 1", 9, "you are connected to server"),
    ] {
        let input = format!("demo\npw\n{line}\nINF\n");
        let (found, out, err) = session(&server, folder.path(), &input);
        assert_eq!(found, status, "{out}{err}");
        assert!(err.starts_with("error: ") && err.contains(text), "{err}");
        assert!(!out.contains("INF\n"));
    }
    let (status, out, _) = session(&server, folder.path(), "demo\npw\nSTRANGE\n");
    assert_eq!(status, 2);
    assert!(out.ends_with("ERROR Opcode was invalid!\n"));
    let left = fs::read_dir(folder.path().join("c_files")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn the_servers_questions_are_asked_one_by_one() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let input = "nobody\nx\nNO\ndemo\nwrong\ndemo\npw\nLGO\n";
    let (status, out, _) = session(&server, folder.path(), input);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains(
        "Username: nobody\nPassword: \nUsername does not exist in database!\n\
         Do you want to create an account (YES or NO): NO\nUsername: demo\n"
    ));
    assert!(out.contains("Password did not match username demo\n"));
    assert!(out.ends_with("~ LGO\nUsername: \n"), "{out}");
}

#[test]
fn a_sign_in_that_was_refused_is_no_success() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(session(&server, folder.path(), "demo\nwrong\n").0, 5);
    assert_eq!(session(&server, folder.path(), "").0, 0);
}

#[test]
fn a_damaged_file_does_not_appear() {
    let bytes = vec![7; 3 << 20];
    let server = FakeServer::start(Fault::DamagesChunk).with_file("/d/f", &bytes);
    let folder = tempfile::tempdir().unwrap();
    let (status, ..) = session(&server, folder.path(), "demo\npw\nRTV f d\n");
    assert_eq!(status, 7);
    assert_eq!(fs::read_dir(folder.path().join("c_files")).unwrap().count(), 0);
}

#[test]
fn with_user_and_password_given_nothing_is_asked() {
    let server = FakeServer::start(Fault::None).with_file("/g", b"");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pw");
    fs::write(&file, "pw\n").unwrap();
    let args = ["client", "--server", &server.address, "--user", "demo", "--password-file"];
    let args: Vec<&str> = args.into_iter().chain([file.to_str().unwrap()]).collect();
    let (env, screen) = Env::fake(&args, "INF\nLGO\n");
    assert_eq!(run(&mut env.in_folder(folder.path())), 0);
    let out = screen.out();
    assert!(out.contains("---\nSigned in as demo\nEnter the operation"), "{out}");
    assert!(out.ends_with("~ INF\n/g\n~ LGO\nUsername: \n"), "{out}");
}

#[test]
fn a_session_goes_through_folders() {
    let server = FakeServer::start(Fault::None).with_file("/top", b"x");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("c_files/reports")).unwrap();
    fs::write(folder.path().join("c_files/reports/yeet.txt"), "yeet").unwrap();
    let input = "demo\npw\nmkdir reports\ncd reports\nmkdir -p a/b\nput yeet.txt\nls\nllist\n\
                 mv yeet.txt a/b\nrmdir -r --yes a\nls\nrtv ../top\ncd\nls /\n";
    let (status, out, err) = session(&server, folder.path(), input);
    let expected = format!(
        "{BEFORE}~ mkdir reports\n\
         Made the folder /reports\n\
         ~ cd reports\n\
         Now in /reports\n\
         ~/reports mkdir -p a/b\n\
         Made the folder /reports/a/b\n\
         ~/reports put yeet.txt\n\
         File yeet.txt successfully created and written to\n\
         ~/reports ls\n\
         a/\n\
         yeet.txt\n\
         ~/reports llist\n\
         yeet.txt\n\
         ~/reports mv yeet.txt a/b\n\
         Moved reports/yeet.txt to reports/a/b/yeet.txt\n\
         ~/reports rmdir -r --yes a\n\
         Removed reports/a  with 1 file and 1 folder in it\n\
         ~/reports ls\n\
         /reports is empty\n\
         ~/reports rtv ../top\n\
         Successfully retrieved file top from the file system\n\
         ~/reports cd\n\
         Now in /\n\
         ~ ls /\n\
         reports/\n\
         top\n\
         ~ \n"
    );
    assert_eq!((status, out), (0, expected), "{err}");
    assert_eq!(fs::read(folder.path().join("c_files/top")).unwrap(), b"x");
}

#[test]
fn the_help_names_every_word() {
    let server = FakeServer::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let (status, out, _) = session(&server, folder.path(), "demo\npw\nhelp\n");
    assert_eq!(status, 0);
    let help = out.split("~ help\n").nth(1).unwrap();
    assert!(help.starts_with("Enter the operation"), "{help}");
    for (word, _) in crate::cmd::client::operation::WORDS {
        let stands = |text: &str| text.split([' ', ',', ')', '\n']).any(|part| part == word);
        assert!(stands(help), "{word}");
    }
}

#[test]
fn an_update_goes_on_from_what_the_session_has_seen() {
    let server = FakeServer::start(Fault::None).with_file("/f", b"old");
    let folder = tempfile::tempdir().unwrap();
    let (status, ..) = session(&server, folder.path(), "demo\npw\nget f\npara f\nupdate f\n");
    assert_eq!(status, 0);
    let missing = "demo\npw\nget f\nrm f\npara f\n";
    let (status, _, err) = session(&server, folder.path(), missing);
    assert_eq!(status, 4, "{err}");
    assert!(err.contains("The server does not have this file. Store it:  STR"), "{err}");
}
