//! Nodes whose folder or disk lets them down while they run, and what `palk status` says of them.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use palk::core::io::frames;
use palk::core::io::net::{Deadline, Stream};
use palk::core::types::NodeId;
use palk::core::wire::node::{Failure, PROTOCOL, Reply, Request};

use crate::support::{Cluster, HANG, USER, noise, palk, skip, until};

/// The status as one line, and waits until it has all of these texts.
fn status_says(cluster: &Cluster, texts: &[&str]) -> String {
    let mut said = String::new();
    until(&format!("status says {texts:?}, and not {said}"), || {
        said = cluster.status_text().split_whitespace().collect::<Vec<_>>().join(" ");
        texts.iter().all(|text| said.contains(text))
    });
    said
}

fn set_mode(at: &Path, mode: u32) {
    fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
}

/// A cluster whose nodes have no more rights than the permissions of files give them.
fn obedient() -> Option<Cluster> {
    let mut cluster = Cluster::prepare(&["--scrub-every", "never"]);
    if !cluster.obey_permissions() {
        skip("there is no way to give up the superuser's rights (setpriv)");
        return None;
    }
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.start_server_and_user();
    Some(cluster)
}

#[test]
fn a_node_whose_folder_vanishes_or_may_not_be_written_to_is_named_with_cause_and_action() {
    let Some(mut cluster) = obedient() else { return };
    let bytes = noise(1, 700_000);
    cluster.store("a", &bytes).unwrap();
    cluster.await_healthy();
    let folder = cluster.node_folder(2);
    let at = folder.display().to_string();

    set_mode(&folder.join(".palk/pieces"), 0o500);
    let said = status_says(&cluster, &["node 2 may not write to its folder:", "permission denied"]);
    assert!(said.contains("make the folder writable for the user that the node runs as"), "{said}");
    assert!(said.contains("files can be stored"), "{said}");
    assert_eq!(cluster.store("b", &bytes).unwrap(), 3);
    status_says(
        &cluster,
        &["node 2 lacks 1 piece", "failed: node 2: its disk failed: it may not write to"],
    );
    set_mode(&folder.join(".palk/pieces"), 0o700);
    let mut heal = palk();
    heal.args(["admin", "heal", "--dir"]).arg(cluster.path("user_database"));
    until("it is healed", || heal.stdin(Stdio::null()).output().unwrap().status.success());
    cluster.await_healthy();

    set_mode(&folder.join(".palk"), 0);
    status_says(&cluster, &["node 2 cannot be used for", "cannot be read (permission denied)"]);
    set_mode(&folder.join(".palk"), 0o700);
    cluster.await_healthy();

    fs::rename(&folder, folder.with_extension("away")).unwrap();
    let said = status_says(&cluster, &["node 2 cannot be used for", &at, "is gone"]);
    assert!(said.contains("action: put the folder back, or start the node again"), "{said}");
    fs::rename(folder.with_extension("away"), &folder).unwrap();
    cluster.await_healthy();
    assert!(cluster.node(2).count("is gone: put the folder back") <= 3, "told once in a while");
    for away in [3, 4] {
        cluster.lose_node(away);
    }
    assert!(cluster.retrieve("a").unwrap() == bytes && cluster.retrieve("b").unwrap() == bytes);
}

#[test]
fn a_block_that_the_node_may_not_open_is_replaced_and_deleted() {
    let Some(cluster) = obedient() else { return };
    let bytes = noise(1, 700_000);
    cluster.store("a.bin", &bytes).unwrap();
    cluster.store("b.bin", &bytes).unwrap();
    for path in ["a.bin", "b.bin"] {
        until("it has its names", || cluster.has_version(2, path, &bytes));
    }
    let [replaced, deleted] = ["a.bin", "b.bin"].map(|path| cluster.piece_of(2, path));
    let before: Vec<_> = replaced.iter().map(|path| fs::read(path).unwrap()).collect();
    set_mode(&replaced[0], 0);
    set_mode(&deleted[1], 0);
    let mut scrub = palk();
    scrub.args(["admin", "scrub", "--dir"]).arg(cluster.path("user_database"));
    assert!(cluster.client(&["del", "b.bin"]).status.success());
    until("it is deleted", || deleted.iter().all(|path| !path.exists()));
    assert!(cluster.blocks(2, "b.bin").is_empty());
    let scrubbed = scrub.stdin(Stdio::null()).output().unwrap();
    assert_eq!(scrubbed.status.code(), Some(0), "{scrubbed:?}");
    let now: Vec<_> = replaced.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(now == before && fs::metadata(&replaced[0]).unwrap().permissions().mode() & 0o777 != 0);
    until("its names lead to it", || cluster.has_version(2, "a.bin", &bytes));
    cluster.await_healthy();
}

#[test]
fn what_is_in_a_blocks_place_and_cannot_be_replaced_is_named_with_its_path() {
    let cluster = Cluster::start();
    let bytes = noise(1, 700_000);
    cluster.store("a.bin", &bytes).unwrap();
    let block = cluster.piece_of(2, "a.bin").remove(0);
    fs::remove_file(&block).unwrap();
    fs::create_dir(&block).unwrap();
    let mut scrub = palk();
    scrub.args(["admin", "scrub", "--dir"]).arg(cluster.path("user_database"));
    let scrubbed = scrub.stdin(Stdio::null()).output().unwrap();
    assert_eq!(scrubbed.status.code(), Some(20), "{scrubbed:?}");
    let at = block.display().to_string();
    status_says(&cluster, &["node 2 lacks 1 piece", "its disk failed: it is a folder:", &at]);
    fs::remove_dir(&block).unwrap();
    let mut heal = palk();
    heal.args(["admin", "heal", "--dir"]).arg(cluster.path("user_database"));
    assert!(heal.stdin(Stdio::null()).output().unwrap().status.success());
    cluster.await_healthy();
    assert!(block.is_file());
}

/// Protects a file or folder from everybody, or no longer; false where that cannot be done.
fn set_immutable(at: &Path, is_immutable: bool) -> bool {
    let flag = if is_immutable { "+i" } else { "-i" };
    let done = Command::new("chattr").arg(flag).arg(at).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// Ends the protection, so that the folder can be removed.
struct Immutable(Vec<PathBuf>);

impl Drop for Immutable {
    fn drop(&mut self) {
        for at in &self.0 {
            set_immutable(at, false);
        }
    }
}

#[test]
fn what_is_immutable_in_a_nodes_folder_is_named_with_its_path() {
    let mut cluster = Cluster::start_with(&["--scrub-every", "never"]);
    let bytes = noise(1, 700_000);
    cluster.store("a.bin", &bytes).unwrap();
    cluster.await_healthy();
    let block = cluster.piece_of(2, "a.bin").remove(0);
    let own = cluster.node_folder(2).join(".palk/node.toml");
    let folder = cluster.node_folder(2).join(".palk/pieces");
    let shown = cluster.node_folder(2).join(USER);
    let all = vec![block.clone(), own.clone(), folder.clone(), shown.clone()];
    let immutable = Immutable(all);
    if !set_immutable(&block, true) {
        skip("no file can be made immutable here (chattr +i)");
        return;
    }
    let text = |at: &Path| at.display().to_string();
    // A block that is to go.
    assert!(cluster.client(&["del", "a.bin"]).status.success());
    cluster.node(2).says(&format!("{} cannot be removed: ", text(&block)));
    status_says(&cluster, &["node 2 has trouble with its disk: ", &text(&block)]);
    assert!(set_immutable(&block, false));
    cluster.await_healthy();
    assert!(!block.exists(), "it is tried again");
    // A file of the node's own, while the node has nothing to do.
    assert!(set_immutable(&own, true));
    status_says(&cluster, &["node 2 has trouble with its disk: ", &text(&own)]);
    cluster.node(2).says("the disk cannot be relied on: node 2: its disk failed: ");
    assert!(cluster.node(2).log().contains(&text(&own)));
    assert!(set_immutable(&own, false));
    cluster.await_healthy();
    // A folder of the view.
    assert!(set_immutable(&shown, true));
    cluster.store("c.bin", &bytes).unwrap();
    let name = shown.join("c.bin");
    status_says(&cluster, &["node 2 has trouble with its disk: the view", &text(&name)]);
    cluster.node(2).says(&format!("a name cannot be shown: {}: ", text(&name)));
    assert!(set_immutable(&shown, false));
    cluster.await_healthy();
    assert!(cluster.has_version(2, "c.bin", &bytes));
    // A folder.
    assert!(set_immutable(&folder, true));
    status_says(&cluster, &["node 2 may not write to its folder: ", &text(&folder), "lsattr"]);
    assert_eq!(cluster.store("b.bin", &bytes).unwrap(), 3);
    drop(immutable);
    until("it gets its piece", || cluster.has_version(2, "b.bin", &bytes));
    cluster.await_healthy();
}

#[test]
fn one_piece_that_does_not_fit_holds_up_no_other_and_says_why() {
    let mut cluster = Cluster::start();
    let (large, small) = (noise(1, 20_000_000), noise(2, 700_000));
    cluster.lose_node(3);
    cluster.store("large", &large).unwrap();
    cluster.store("small", &small).unwrap();
    // A file of 10 MB is one too many for it: 4 MiB, in the shell's blocks of 512 bytes.
    cluster.set_node_prelude(3, "trap '' XFSZ; ulimit -f 8192; exec");
    cluster.return_node(3);
    until("the small one is rebuilt", || cluster.has_version(3, "small", &small));
    let texts =
        ["node 3 lacks 1 piece, 10.0 MB", "failed: node 3: its disk failed: file too large"];
    status_says(&cluster, &texts);
    assert_eq!(cluster.status().code(), Some(20));
    cluster.set_node_prelude(3, "");
    cluster.lose_node(3);
    cluster.return_node(3);
    until("the large one is rebuilt", || cluster.has_version(3, "large", &large));
    cluster.await_healthy();
}

#[test]
fn a_node_without_a_connection_to_give_is_busy_and_not_down() {
    let mut cluster = Cluster::prepare(&[]);
    cluster.set_node_prelude(2, "ulimit -n 64; exec");
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.start_server_and_user();
    let bytes = noise(1, 700_000);
    cluster.store("a", &bytes).unwrap();
    let deadline = Deadline::new(HANG, "answer");
    let who = Request::WhoServes { protocol: PROTOCOL, node: NodeId::ALL[1] };
    let (mut kept, mut busy) = (Vec::new(), 0);
    while busy < 3 {
        let mut stream = Stream::connect("node", cluster.node_address(2), &deadline).unwrap();
        frames::send(&mut stream, &who, &[], &deadline).unwrap();
        match frames::receive(&mut stream, &mut Vec::new(), &deadline, &deadline).unwrap() {
            Some(Reply::Serves(_)) => kept.push(stream),
            Some(Reply::Failed(Failure::Busy(why))) => {
                assert_eq!(why, "there are 8 connections already");
                busy += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let lost = cluster.server().count("lost data server 2");
    // Kept connections are used one at a time, so some of these find none.
    std::thread::scope(|scope| {
        for name in ["b", "c", "d", "e"] {
            let (cluster, bytes) = (&cluster, &bytes);
            scope.spawn(move || assert!(cluster.store(name, bytes).unwrap() >= 3));
        }
    });
    assert_eq!(cluster.server().count("lost data server 2"), lost, "{}", cluster.server().log());
    assert!(!cluster.status_text().contains("node 2 has not answered"));
    drop(kept);
    cluster.await_healthy();
    until("all four take it again", || cluster.store("f", &bytes).unwrap() == 4);
    assert!(TcpStream::connect(cluster.node_address(2)).is_ok());
}

#[test]
fn an_empty_mount_point_is_not_taken_for_a_node_that_expects_data() {
    let mut cluster = Cluster::start();
    cluster.store("a", b"bytes").unwrap();
    cluster.await_healthy();
    cluster.set_node_options(2, &["--expect-data"]);
    cluster.lose_node(2);
    let (folder, disk) = (cluster.node_folder(2), cluster.path("disk"));
    fs::rename(&folder, &disk).unwrap();
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(&folder).unwrap();
        }
        let mut node = palk();
        node.args(["storage", "--id", "2", "--listen", "127.0.0.1:0", "--expect-data", "--dir"]);
        let refused = node.arg(&folder).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(13), "{said}");
        assert!(said.contains("holds no node's files, and --expect-data is given"), "{said}");
        assert!(said.contains("Mount its disk"), "{said}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is begun there");
    fs::remove_dir(&folder).unwrap();
    fs::rename(&disk, &folder).unwrap();
    cluster.return_node(2);
    cluster.await_healthy();
}
