//! Whole folders there and back.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

/// Everything below a folder: files with their bytes, folders with none.
pub(super) fn tree(at: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![at.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.path().strip_prefix(at).unwrap().display().to_string();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
                found.insert(name, None);
            } else if kind.is_file() {
                found.insert(name, Some(fs::read(entry.path()).unwrap()));
            }
        }
    }
    found
}

/// A folder of some files, small and large, deep and empty.
fn sample(cluster: &Cluster) -> BTreeMap<String, Option<Vec<u8>>> {
    let top = cluster.path("photos");
    for (seed, n) in (0..).zip(0..40) {
        let at = top.join(format!("{}/{n}.jpg", n % 3));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, noise(seed, 500 + 40_000 * n)).unwrap();
    }
    fs::write(top.join("notes.txt"), "").unwrap();
    fs::create_dir_all(top.join("empty/deep")).unwrap();
    tree(&top)
}

#[test]
fn a_folder_goes_there_and_back_as_it_is() {
    let cluster = Cluster::start();
    let before = sample(&cluster);
    let script = cluster.path("photos/0/run.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&script).unwrap().set_modified(time).unwrap();
    client(&cluster, &["store", "photos"])
        .code(13)
        .stderr(told("it is a folder; with everything in it:  store -r"));
    client(&cluster, &["store", "-r", "photos", "--to", "up"])
        .code(0)
        .stdout("")
        .stderr(contains("Stored 42 files, "));
    client(&cluster, &["rtv", "-r", "up/photos", "--to", "back"])
        .code(0)
        .stderr(contains("Retrieved 42 files, "));
    let mut after = tree(&cluster.path("back/photos"));
    assert_eq!(after.remove("0/run.sh"), Some(Some(b"#!/bin/sh\n".to_vec())));
    assert_eq!(after, before);
    let found = fs::metadata(cluster.path("back/photos/0/run.sh")).unwrap();
    assert_eq!((found.modified().unwrap(), found.permissions().mode() & 0o111), (time, 0o111));
    // Everything there is, without a name of its own; one that is there already stays if it is to.
    client(&cluster, &["rtv", "-r", "/", "--to", "all", "--transfers", "1"]).code(0);
    assert_eq!(tree(&cluster.path("all")).len(), tree(&cluster.path("back")).len() + 1);
    client(&cluster, &["rtv", "-r", "up", "--to", "all", "--no-replace"])
        .code(3)
        .stderr(contains("is there already").and(contains("42 failed, 0 done")));
    client(&cluster, &["del", "-r", "up/photos", "up/none"]).code(2);
    client(&cluster, &["del", "-r", "--yes", "up/photos", "up/none"])
        .code(3)
        .stderr(contains("Removed up/photos  with 42 files and 5 folders in it"));
    client(&cluster, &["inf"]).code(0).stdout("/up\n");
}

#[test]
fn names_are_those_that_cp_gives() {
    let cluster = Cluster::start();
    fs::create_dir(cluster.path("d")).unwrap();
    fs::write(cluster.path("d/f"), "1").unwrap();
    fs::write(cluster.path("g"), "1").unwrap();
    let stored = |arguments: &[&str]| {
        client(&cluster, &[&["store", "-r"], arguments].concat()).code(0);
        let listed = client(&cluster, &["inf"]).code(0).get_output().stdout.clone();
        client(&cluster, &["del", "-r", "--yes", "d"]);
        client(&cluster, &["del", "-r", "--yes", "g", "up", "f", "password"]);
        String::from_utf8(listed).unwrap()
    };
    assert_eq!(stored(&["d", "g"]), "/d\n/d/f\n/g\n");
    assert_eq!(stored(&["d/", "--to", "/up"]), "/up\n/up/d\n/up/d/f\n");
    assert_eq!(stored(&["d/.", "--to", "up"]), "/up\n/up/d\n/up/d/f\n");
    assert_eq!(stored(&["d", "--as", "up/e"]), "/up\n/up/e\n/up/e/f\n");
}

#[test]
fn what_is_left_out_is_said_and_what_would_be_done_is_shown() {
    let cluster = Cluster::start();
    fs::create_dir_all(cluster.path("src/target")).unwrap();
    for name in ["a.rs", "b.tmp", "target/big"] {
        fs::write(cluster.path("src").join(name), "12").unwrap();
    }
    symlink("a.rs", cluster.path("src/link")).unwrap();
    let without = ["store", "-r", "src", "--exclude", "target/", "--exclude", "*.tmp"];
    client(&cluster, &[&without[..], &["-n"]].concat()).code(0).stdout("/src/a.rs\n").stderr(
        contains("Nothing was sent: 1 file, 2 B, would be stored.").and(contains(
            "1 symbolic link was left out; --links store keeps them, --links follow takes what they lead to",
        )),
    );
    client(&cluster, &["inf"]).code(0).stdout("");
    client(&cluster, &[&without[..], &["--include", "b.tmp"]].concat()).code(0);
    client(&cluster, &["inf"]).code(0).stdout("/src\n/src/a.rs\n/src/b.tmp\n");
    client(&cluster, &[&without[..], &["--links", "follow"]].concat()).code(0);
    client(&cluster, &["inf"]).code(0).stdout("/src\n/src/a.rs\n/src/b.tmp\n/src/link\n");
    let lines = json_lines(&client(&cluster, &["rtv", "-r", "src", "-n", "--json"]).code(0));
    assert_eq!(
        (lines.len(), &lines[3]["files"], &lines[3]["dry_run"]),
        (4, &3.into(), &true.into())
    );
    client(&cluster, &["store", "src/a.rs", "--exclude", "x"]).code(2);
}

#[test]
fn one_bad_file_stops_no_other_and_is_named_again_at_the_end() {
    let cluster = Cluster::start();
    fs::create_dir(cluster.path("d")).unwrap();
    for name in ["a", "b\\c", "d"] {
        fs::write(cluster.path("d").join(name), "1").unwrap();
    }
    let failed = client(&cluster, &["store", "-r", "d", "none"]).code(3);
    let said = String::from_utf8(failed.get_output().stderr.clone()).unwrap();
    assert!(said.contains("Stored 2 files, 2 B"), "{said}");
    assert!(said.contains("2 failed, 2 done"), "{said}");
    assert_eq!(said.matches("  failed: ").count(), 2, "{said}");
    assert!(said.contains("none: no such file or folder"), "{said}");
    client(&cluster, &["inf"]).code(0).stdout("/d\n/d/a\n/d/d\n");
}

#[test]
fn a_server_that_is_restarted_in_the_middle_is_waited_for() {
    let mut cluster = Cluster::start();
    fs::create_dir(cluster.path("d")).unwrap();
    for n in 0..300 {
        fs::write(cluster.path("d").join(format!("{n}")), noise(n, 30_000)).unwrap();
    }
    let mut command = cluster.client_command(&["store", "-r", "d", "--retry-for", "5m"]);
    let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("something is stored", || cluster.block_files(1) > 40);
    cluster.kill_server();
    cluster.start_server();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("Stored 300 files, "), "{said}");
    client(&cluster, &["rtv", "-r", "d", "--to", "back"]).code(0);
    assert_eq!(tree(&cluster.path("back/d")), tree(&cluster.path("d")));
}
