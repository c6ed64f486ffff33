//! Patterns in the place of stored names, on the command line and in a session.

use super::*;

fn filled() -> Cluster {
    let cluster = Cluster::start();
    for (at, text) in [
        ("photos/a.jpg", "a"),
        ("photos/b.jpg", "bb"),
        ("photos/c.png", "c"),
        ("photos/old/d.jpg", "d"),
        ("tmp/x", "x"),
        ("tmp/deep/y", "y"),
        ("notes.txt", "n"),
    ] {
        cluster.store(at, text.as_bytes()).unwrap();
    }
    cluster
}

/// What is stored, one path a line.
fn stored(cluster: &Cluster) -> String {
    String::from_utf8(client(cluster, &["inf"]).code(0).get_output().stdout.clone()).unwrap()
}

#[test]
fn all_files_that_match_are_retrieved() {
    let cluster = filled();
    client(&cluster, &["rtv", "photos/*.jpg", "--to", "out/"])
        .code(0)
        .stderr(contains("Retrieved photos/a.jpg").and(contains("Retrieved photos/b.jpg")));
    assert_eq!(fs::read(cluster.path("out/b.jpg")).unwrap(), b"bb");
    assert_eq!(fs::read_dir(cluster.path("out")).unwrap().count(), 2);
    // Across folders, with a path, and once where two patterns match it.
    client(&cluster, &["get", "**/*.jpg", "notes.txt", "photos/a*", "--to", "all/"]).code(0);
    assert_eq!(fs::read_dir(cluster.path("all")).unwrap().count(), 4);
    // Folders go with -r, each with what is in it.
    client(&cluster, &["rtv", "-r", "{photos,t*}", "--to", "trees"]).code(0);
    assert_eq!(fs::read(cluster.path("trees/photos/old/d.jpg")).unwrap(), b"d");
    assert_eq!(fs::read(cluster.path("trees/tmp/deep/y")).unwrap(), b"y");
    client(&cluster, &["rtv", "*.jpg"])
        .code(4)
        .stderr(told("cannot retrieve *.jpg: nothing that is stored matches this pattern"));
    client(&cluster, &["rtv", "no/*", "notes.txt", "--to", "all/"]).code(3);
    client(&cluster, &["rtv", "-r", "no/*", "--to", "all/"]).code(3);
    client(&cluster, &["rtv", "photos/*", "--to", "one-file"]).code(2).stderr(contains("several"));
    // One that fails stops none of the others.
    fs::create_dir_all(cluster.path("out/a.jpg.d")).unwrap();
    fs::remove_file(cluster.path("out/a.jpg")).unwrap();
    fs::create_dir(cluster.path("out/a.jpg")).unwrap();
    fs::remove_file(cluster.path("out/b.jpg")).unwrap();
    client(&cluster, &["rtv", "photos/*.jpg", "--to", "out/"])
        .code(3)
        .stderr(contains("error: cannot retrieve photos/a.jpg").and(contains("1 of 2 failed")));
    assert!(cluster.path("out/b.jpg").exists());
}

#[test]
fn a_name_wins_over_a_pattern() {
    let cluster = filled();
    cluster.store("a[1].txt", b"itself").unwrap();
    cluster.store("a1.txt", b"other").unwrap();
    cluster.store("*", b"star").unwrap();
    client(&cluster, &["cat", "a[1].txt"]).code(0).stdout("itself");
    client(&cluster, &["cat", "a[[]1].txt"]).code(0).stdout("itself");
    client(&cluster, &["del", "*"]).code(0).stderr("Deleted *\n");
    client(&cluster, &["del", "a[1].txt"]).code(0).stderr("Deleted a[1].txt\n");
    client(&cluster, &["del", "a[1].txt"]).code(0).stderr("Deleted a1.txt\n");
    client(&cluster, &["del", "a[1].txt"]).code(4).stderr(told("matches this pattern"));
}

#[test]
fn deleting_what_matches_wants_a_yes_if_it_is_more_than_one() {
    let cluster = filled();
    let before = stored(&cluster);
    client(&cluster, &["del", "tmp/**"])
        .code(2)
        .stderr(told("several files match (tmp/deep/y, tmp/x)").and(contains("--yes")));
    client(&cluster, &["del", "-r", "t*"]).code(2).stderr(told("there is no terminal to ask at"));
    assert_eq!(stored(&cluster), before);
    client(&cluster, &["rm", "photos/*.png"]).code(0).stderr("Deleted photos/c.png\n");
    client(&cluster, &["del", "--yes", "tmp/**"])
        .code(0)
        .stderr("Deleted tmp/deep/y\nDeleted tmp/x\n");
    let lines =
        json_lines(&client(&cluster, &["--json", "del", "-r", "--yes", "p*", "t*"]).code(0));
    assert_eq!((&lines[0]["path"], &lines[1]["path"]), (&"/photos".into(), &"/tmp".into()));
    assert_eq!(lines[2]["done"], 2);
    assert_eq!(stored(&cluster), "/notes.txt\n");
}

#[test]
fn listings_sums_copies_and_moves_take_patterns_too() {
    let cluster = filled();
    let out = |arguments: &[&str]| {
        String::from_utf8(client(&cluster, arguments).code(0).get_output().stdout.clone()).unwrap()
    };
    let paths = |text: &str| {
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(&out(&["ls", "photos/*"])),
        ["/photos/a.jpg", "/photos/b.jpg", "/photos/c.png", "/photos/old/"]
    );
    assert_eq!(paths(&out(&["inf", "*.txt"])), ["/notes.txt"]);
    client(&cluster, &["inf", "*.md"]).code(4).stderr(told("cannot list *.md: nothing"));
    let lines = json_lines(&client(&cluster, &["inf", "--json", "**/*.jpg"]).code(0));
    assert_eq!((lines.len(), &lines[3]["files"]), (4, &3.into()));
    assert_eq!(
        paths(&out(&["du", "-s", "photos/*.jpg", "t*"])),
        ["/photos/a.jpg", "/photos/b.jpg", "/tmp/"]
    );
    let lines = json_lines(&client(&cluster, &["du", "-s", "--json", "photos/?.jpg"]).code(0));
    assert_eq!((&lines[1]["bytes"], &lines[2]["done"]), (&2.into(), &2.into()));
    assert_eq!(out(&["cat", "photos/*.jpg"]), "abb");
    client(&cluster, &["cp", "photos/*.jpg", "tmp"])
        .code(0)
        .stderr("Copied photos/a.jpg to tmp/a.jpg\nCopied photos/b.jpg to tmp/b.jpg\n");
    client(&cluster, &["cp", "photos/*.jpg", "none"]).code(2).stderr(contains("several go there"));
    client(&cluster, &["mv", "tmp/?", "photos/o*", "/"]).code(0);
    assert_eq!(paths(&out(&["inf", "*"])), ["/notes.txt", "/old/", "/photos/", "/tmp/", "/x"]);
}

#[test]
fn a_session_takes_patterns_from_the_folder_that_it_is_in() {
    let cluster = filled();
    let session = |input: &str| run_with(cluster.client_command(&[]), input);
    session("cd photos\nRTV *.jpg\ncat *.png\ncd ..\nrtv ? tmp\nDEL *.png photos\n")
        .code(0)
        .stdout(contains("Successfully retrieved file b.jpg").and(contains("c\n~/photos")))
        .stdout(contains("Successfully removed file c.png"));
    for path in ["photos/a.jpg", "photos/b.jpg", "tmp/x"] {
        assert!(cluster.path("c_files").join(path).exists(), "{path}");
    }
    session("RTV *.md\nINF\n").code(4).stderr(contains("nothing that is stored matches"));
    session("DEL photos/*\nINF\n").code(2).stderr(contains("there is no terminal to ask at"));
    session("cd photos\nDEL --yes *\nDEL -r --yes old\nDEL -r --yes ../t*\n").code(0);
    assert_eq!(stored(&cluster), "/notes.txt\n/photos\n");
}

#[test]
fn a_session_stores_and_retrieves_whole_folders() {
    let cluster = Cluster::start();
    let session = |input: &str| run_with(cluster.client_command(&[]), input);
    fs::create_dir_all(cluster.path("c_files/up/deep")).unwrap();
    fs::write(cluster.path("c_files/up/a"), "a").unwrap();
    fs::write(cluster.path("c_files/up/deep/b"), noise(1, 300_000)).unwrap();
    session("STR up\nINF\n").code(13).stderr(contains("With all that is in it:  STR -r"));
    session("STR -r up\nput -r deep up/\n").code(0).stderr(contains("Stored 2 files, 300.0 kB"));
    assert_eq!(stored(&cluster), "/up\n/up/a\n/up/deep\n/up/deep/b\n");
    fs::remove_dir_all(cluster.path("c_files/up")).unwrap();
    session("cd up\nRTV -r deep\nget -r *\n").code(0).stderr(contains("Retrieved 2 files"));
    assert_eq!(fs::read(cluster.path("c_files/up/deep/b")).unwrap(), noise(1, 300_000));
    assert_eq!(fs::read(cluster.path("c_files/up/a")).unwrap(), b"a");
    // Where user and password are answers to the server's questions, the same can be done.
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
    let input = format!(
        "{USER}\n{PASSWORD}\nSTR -r up again\ndu -s\nhead -c 2 again/up/deep/b\nfind b\nuploads\n"
    );
    run_with(command, input)
        .code(13) // it is in c_files/again/up that it would be
        .stdout(contains("file path was invalid!"));
    let input = format!(
        "{USER}\n{PASSWORD}\nDEL -r --yes up\nSTR -r up\ndu -s\ndu up\nfind b\nuploads\nhead -c 1 up/a\n"
    );
    let mut command = palk();
    command.current_dir(cluster.folder.path()).args(["client", "--server", cluster.address()]);
    run_with(command, input)
        .code(0)
        .stdout(contains("Removed up  with 2 files and 1 folder in it"))
        .stdout(contains(" 300.0 kB        2 files  /\n").and(contains("  1 file  /up/deep/\n")))
        .stdout(contains("~ find b\n/up/deep/b\n").and(contains("~ head -c 1 up/a\na\n~ ")))
        .stderr(contains("Stored 2 files").and(contains("No upload waits.")));
}
