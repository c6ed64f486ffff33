//! Looking into what is stored without retrieving it into a file: `cat`, `head`, `du`, `find`.

use super::undo::now;
use super::*;

/// Standard output of a verb that succeeds.
fn out(cluster: &Cluster, arguments: &[&str]) -> Vec<u8> {
    client(cluster, arguments).code(0).get_output().stdout.clone()
}

fn text(cluster: &Cluster, arguments: &[&str]) -> String {
    String::from_utf8(out(cluster, arguments)).unwrap()
}

/// A cluster with some files in folders.
fn filled() -> Cluster {
    let cluster = Cluster::start_with(&["--keep-versions", "7d"]);
    for (at, length) in [("docs/a.txt", 3), ("docs/deep/b.txt", 700_000), ("docs/deep/c.jpg", 7)] {
        cluster.store(at, &noise(length as u64, length)).unwrap();
    }
    cluster.store("empty", b"").unwrap();
    client(&cluster, &["mkdir", "docs/none"]).code(0);
    cluster
}

#[test]
fn files_and_their_beginnings_go_to_standard_output() {
    let mut cluster = filled();
    let [small, big] = [noise(3, 3), noise(700_000, 700_000)];
    let both = [&small[..], &big, &small].concat();
    let cat = ["cat", "docs/a.txt", "/docs/deep/b.txt", "empty", "docs/a.txt"];
    client(&cluster, &cat).code(0).stdout(both).stderr(is_empty());
    // What fails is told, and does not stop the others.
    client(&cluster, &["cat", "never", "docs/a.txt", "docs"])
        .code(3)
        .stdout(small.clone())
        .stderr(contains("cannot retrieve never: there is no file never").and(contains("2 of 3")));
    client(&cluster, &["cat", "never"]).code(4).stdout(is_empty()).stderr(told("cannot retrieve"));
    client(&cluster, &["cat", "../x"]).code(2).stdout(is_empty());
    client(&cluster, &["--json", "cat", "docs/a.txt"]).code(2).stdout(contains("rtv --to FILE"));
    for (bytes, expected) in [("0", 0), ("2", 2), ("300kB", 300_000), ("1MiB", 700_000)] {
        let head = out(&cluster, &["head", "-c", bytes, "docs/deep/b.txt"]);
        assert!(head == big[..expected], "{bytes}");
    }
    client(&cluster, &["head", "-c", "5", "empty"]).code(0).stdout(is_empty()).stderr(is_empty());
    for bytes in ["0", "5"] {
        for path in ["never", "docs"] {
            client(&cluster, &["head", "-c", bytes, path])
                .code(4)
                .stdout(is_empty())
                .stderr(told("cannot retrieve"));
        }
    }
    client(&cluster, &["head", "docs/a.txt"]).code(2);
    client(&cluster, &["head", "-c", "some", "docs/a.txt"]).code(2);
    // As it was; and with two nodes.
    let then = now();
    cluster.store("docs/a.txt", b"other").unwrap();
    cluster.kill_node(2);
    cluster.kill_node(3);
    assert_eq!(out(&cluster, &["cat", "docs/a.txt", "--at", &then]), small);
    assert_eq!(out(&cluster, &["head", "-c1", "--at", &then, "docs/a.txt"]), small[..1]);
    assert_eq!(text(&cluster, &["head", "-c", "3", "docs/a.txt"]), "oth");
}

#[test]
fn each_folder_says_how_much_is_in_it() {
    let cluster = filled();
    let docs = " 700.0 kB        2 files  /docs/deep/\n      0 B        0 files  /docs/none/\n \
                700.0 kB        3 files  /docs/\n";
    assert_eq!(text(&cluster, &["du", "docs"]), docs);
    assert_eq!(text(&cluster, &["du"]), format!("{docs} 700.0 kB        4 files  /\n"));
    assert_eq!(
        text(&cluster, &["du", "-s", "/docs/deep"]),
        " 700.0 kB        2 files  /docs/deep/\n"
    );
    assert_eq!(text(&cluster, &["du", "docs/a.txt"]), "      3 B         1 file  /docs/a.txt\n");
    client(&cluster, &["du", "never"]).code(4).stderr(told("cannot look through never"));
    let lines = json_lines(&client(&cluster, &["du", "--json", "docs"]).code(0));
    assert_eq!((&lines[0]["path"], &lines[0]["bytes"]), (&"/docs/deep".into(), &700_007.into()));
    assert_eq!((&lines[0]["type"], &lines[2]["type"]), (&"item".into(), &"result".into()));
    assert_eq!((&lines[2]["bytes"], &lines[2]["files"]), (&700_010.into(), &3.into()));
    let sum = json_lines(&client(&cluster, &["du", "-s", "--json", "docs/a.txt"]).code(0));
    assert_eq!((sum.len(), &sum[0]["kind"], &sum[0]["bytes"]), (1, &"file".into(), &3.into()));
    let then = now();
    client(&cluster, &["rmdir", "-r", "--yes", "docs"]).code(0);
    assert_eq!(text(&cluster, &["du"]), "      0 B         1 file  /\n");
    assert_eq!(text(&cluster, &["du", "docs", "--at", &then]), docs);
}

#[test]
fn names_are_found_by_what_they_look_like() {
    let cluster = filled();
    for (arguments, expected) in [
        (&["find", "*.txt"][..], "/docs/a.txt\n/docs/deep/b.txt\n"),
        (&["find", "docs/deep", "*.txt"], "/docs/deep/b.txt\n"),
        (&["find", "docs/*.txt"], "/docs/a.txt\n"),
        (
            &["find", "docs", "**/*.{txt,jpg}", "--type", "f"],
            "/docs/a.txt\n/docs/deep/b.txt\n/docs/deep/c.jpg\n",
        ),
        (&["find", "*", "--type", "d"], "/docs\n/docs/deep\n/docs/none\n"),
        (&["find", "/", "n*"], "/docs/none\n"),
    ] {
        client(&cluster, arguments).code(0).stdout(expected).stderr(is_empty());
    }
    client(&cluster, &["find", "*.mkv"])
        .code(0)
        .stdout(is_empty())
        .stderr("Nothing is called *.mkv\n");
    client(&cluster, &["find", "[a"]).code(2).stderr(contains("unclosed character class"));
    client(&cluster, &["find"]).code(2);
    client(&cluster, &["find", "never", "*"]).code(4).stderr(told("cannot look through never"));
    let lines = json_lines(&client(&cluster, &["find", "--json", "c.*"]).code(0));
    assert_eq!((&lines[0]["path"], &lines[0]["bytes"]), (&"/docs/deep/c.jpg".into(), &7.into()));
    assert_eq!((&lines[1]["type"], &lines[1]["found"]), (&"result".into(), &1.into()));
    let then = now();
    client(&cluster, &["rmdir", "-r", "--yes", "docs"]).code(0);
    client(&cluster, &["find", "c.*"]).code(0).stdout(is_empty());
    client(&cluster, &["find", "c.*", "--at", &then]).code(0).stdout("/docs/deep/c.jpg\n");
}

#[test]
fn the_usual_words_are_verbs_as_well() {
    let cluster = filled();
    fs::write(cluster.path("local"), "local").unwrap();
    client(&cluster, &["put", "local"]).code(0);
    client(&cluster, &["ls", "docs/deep"]).code(0).stdout(contains("/docs/deep/b.txt"));
    client(&cluster, &["get", "docs/a.txt"]).code(0);
    assert_eq!(fs::read(cluster.path("a.txt")).unwrap(), noise(3, 3));
    client(&cluster, &["rm", "local", "docs/a.txt"]).code(0);
    client(&cluster, &["ls"])
        .code(0)
        .stdout("/docs\n/docs/deep\n/docs/deep/b.txt\n/docs/deep/c.jpg\n/docs/none\n/empty\n");
    let help = palk_with(&["client", "--help"]).code(0);
    ["put", "get", "rm", "ls"].into_iter().fold(help, |help, word| {
        help.stdout(contains(format!("[aliases: {word}]")).or(contains(format!("[alias: {word}]"))))
    });
}
