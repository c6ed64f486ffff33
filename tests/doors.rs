//! The share, folder and request doors of a real server, spoken to as their own programs do. Each
//! test is named after the sentence that it holds the door to.

mod support;

#[path = "doors/folder.rs"]
mod folder;
#[path = "doors/programs.rs"]
mod programs;
#[path = "doors/request.rs"]
mod request;
#[path = "doors/share.rs"]
mod share;

use std::process::Stdio;

use programs::{Folder, Share, door_address, request as ask};
use support::{Cluster, noise, palk, until};

const SHARE: &str = "share=127.0.0.1:0,user=demo";
const FOLDER: &str = "folder=127.0.0.1:0,user=demo";
const REQUEST: &str = "request=127.0.0.1:0,user=demo";

/// A cluster with one door, and where that is.
fn open(door: &str) -> (Cluster, String) {
    let mut cluster = Cluster::start_with(&["--door", door]);
    let address = door_address(&mut cluster, door.split('=').next().unwrap());
    (cluster, address)
}

#[test]
fn a_file_put_in_at_any_door_comes_out_of_every_other() {
    let options = ["--door", SHARE, "--door", FOLDER, "--door", REQUEST];
    let mut cluster = Cluster::start_with(&options);
    let [share, folder, reply] =
        ["share", "folder", "request"].map(|kind| door_address(&mut cluster, kind));
    // Sizes with an end of their own in the share door, of several pieces and stripes.
    let files = [
        ("by-share.bin", noise(1, 256 * 40 + 100)),
        ("by-folder.bin", noise(2, 256 * 9000 + 17)),
        ("by-client.bin", noise(3, 222)),
    ];
    let mut sharer = Share::connect(&share);
    let mut folders = Folder::connect(&folder);
    sharer.put(files[0].0, &files[0].1);
    until("it is stored", || Share::connect(&share).list() == ["by-share.bin"]);
    assert_eq!(folders.upload(files[1].0, &files[1].1), "File uploaded");
    assert_eq!(cluster.store(files[2].0, &files[2].1).unwrap(), 4);
    let mut names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(sharer.list(), names);
    assert_eq!(folders.ask("DIR").lines().collect::<Vec<_>>(), names);
    for (name, bytes) in &files {
        assert!(sharer.get(name) == *bytes, "{name} from share");
        assert!(folders.download(name).unwrap() == *bytes, "{name} from folder");
        assert!(ask(&reply, name).unwrap() == *bytes, "{name} from request");
        assert!(cluster.retrieve(name).unwrap() == *bytes, "{name} by palk client rtv");
        let here = tempfile::tempdir().unwrap();
        let got = request::palk_request(&reply, name, here.path());
        assert!(got.status.success(), "{got:?}");
        assert!(std::fs::read(here.path().join(name)).unwrap() == *bytes, "{name} by request");
    }
    assert_eq!(folders.ask("DISCONNECT"), "Disconnected");
    sharer.say("bye");
}

#[test]
fn a_door_never_shows_what_lies_outside_its_folder() {
    let inside = |door: &str| format!("{door},folder=public/x");
    let [share, folder, request] = [SHARE, FOLDER, REQUEST].map(inside);
    let options = ["--door", &share, "--door", &folder, "--door", &request];
    let mut cluster = Cluster::start_with(&options);
    cluster.store("secret.txt", b"secret").unwrap();
    cluster.store("public/near.txt", b"near").unwrap();
    let [share, folder, request] =
        ["share", "folder", "request"].map(|kind| door_address(&mut cluster, kind));
    let mut folders = Folder::connect(&folder);
    assert_eq!(folders.ask("DIR"), "Directory empty");
    assert_eq!(folders.upload("../../mine.txt", b"mine"), "File uploaded");
    assert_eq!(cluster.retrieve("public/x/mine.txt").unwrap(), b"mine");
    for outside in ["..", "../..", "/..", "a/../../.."] {
        assert_eq!(folders.ask(&format!("CHDIR {outside}")), "Error occurred");
    }
    for name in ["../near.txt", "/../../secret.txt", "secret.txt"] {
        let missing = format!("{name} does not exist");
        assert_eq!(folders.download(name), Err(missing));
        assert_eq!(folders.ask(&format!("DELETE {name}")), "File does not exist");
        assert_eq!(ask(&request, name), None);
        assert_eq!(Share::connect(&share).get(name), b"");
    }
    assert_eq!(folders.ask("RMDIR /"), "Either / does not exist or / is not empty");
    assert_eq!(ask(&request, "mine.txt").unwrap(), b"mine");
    assert_eq!(Share::connect(&share).list(), ["mine.txt"]);
    assert_eq!(cluster.retrieve("secret.txt").unwrap(), b"secret");
}

#[test]
fn a_door_for_others_has_to_be_asked_for_and_is_warned_of() {
    let here = tempfile::tempdir().unwrap();
    let mut command = palk();
    command.current_dir(here.path()).args(["server", "--listen", "127.0.0.1:0"]);
    command.args(["--door", "share=0.0.0.0:0,user=demo"]).stdin(Stdio::null());
    let refused = command.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(9), "{said}");
    assert!(
        said.contains("knows neither passwords nor encryption") && said.contains(",open"),
        "{said}"
    );
    let (mut cluster, _) = open("request=0.0.0.0:0,user=demo,open");
    cluster.server().says("door request has no passwords and no encryption");
}

#[test]
fn a_door_of_nobody_serves_nobody_until_there_is_that_account() {
    let (mut cluster, address) = open("folder=127.0.0.1:0,user=carol");
    let mut stream = programs::connect(&address);
    assert_eq!(programs::recv(&mut stream, 1024), b"");
    cluster.server().says("there is no user carol");
    let made = cluster.client_command(&["signup", "--user", "carol"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(Folder::connect(&address).ask("DIR"), "Directory empty");
}

#[test]
fn one_client_too_many_is_turned_away_in_the_protocols_words() {
    let (mut cluster, address) = open(FOLDER);
    let mut clients = Vec::new();
    let last = loop {
        assert!(clients.len() <= 200, "nobody was turned away");
        let mut stream = programs::connect(&address);
        let said = programs::recv(&mut stream, 1024);
        if said != b"OK@Welcome to the server" {
            break String::from_utf8(said).unwrap();
        }
        clients.push(stream);
    };
    assert_eq!(last, format!("DISCONNECTED@there are {} clients already", clients.len()));
    cluster.server().says("turned away from door folder");
    // It is one door's limit, and others have theirs.
    assert_eq!(cluster.store("a.txt", b"a").unwrap(), 4);
    drop(clients);
    until("there is room again", || {
        let mut stream = programs::connect(&address);
        programs::recv(&mut stream, 1024) == b"OK@Welcome to the server"
    });
}

#[test]
fn a_stop_waits_for_nobody_who_is_only_connected() {
    let options = ["--door", SHARE, "--door", FOLDER, "--door", REQUEST];
    let mut cluster = Cluster::start_with(&options);
    let addresses = ["share", "folder", "request"].map(|kind| door_address(&mut cluster, kind));
    let _clients = addresses.map(|address| programs::connect(&address));
    cluster.server().says("connected to door request");
    cluster.server().signal("-TERM");
    assert_eq!(cluster.server().wait(), Some(0));
}

#[test]
fn a_disabled_account_does_nothing_more_through_a_door() {
    let (cluster, address) = open(FOLDER);
    let mut client = Folder::connect(&address);
    assert_eq!(client.upload("a.txt", b"a"), "File uploaded");
    let mut command = palk();
    command.args(["admin", "user", "disable", "demo", "--dir"]).arg(cluster.path("user_database"));
    let disabled = command.stdin(Stdio::null()).output().unwrap();
    assert!(disabled.status.success(), "{disabled:?}");
    assert_eq!(client.ask("DIR"), "Error occurred");
    assert_eq!(client.upload("b.txt", b"b"), "Error occurred");
    assert_eq!(client.download("a.txt"), Err("Error occurred".into()));
}
