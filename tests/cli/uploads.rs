//! Transfers that break off and go on, and files that are made of several extents.

use super::support::proxy::Proxy;
use super::*;

/// A verb over this address, from which standard error comes with the end.
fn begin(cluster: &Cluster, server: &str, arguments: &[&str]) -> Child {
    let mut command = cluster.client_command(arguments);
    command.args(["--server", server]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> (Option<i32>, String) {
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

fn result(cluster: &Cluster, arguments: &[&str]) -> Value {
    let arguments = [&["--json"], arguments].concat();
    let output = client(cluster, &arguments).code(0).get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn uploads(cluster: &Cluster) -> Vec<Value> {
    let output = client(cluster, &["--json", "uploads"]).code(0).get_output().stdout.clone();
    let lines = String::from_utf8(output).unwrap();
    let items = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    items.filter(|item| item["type"] == "item").collect()
}

fn write(cluster: &Cluster, name: &str, seed: u64, bytes: usize) -> Vec<u8> {
    let content = noise(seed, bytes);
    fs::write(cluster.path(name), &content).unwrap();
    content
}

/// Begins to store a file, and kills the client when about so much of it is there.
fn break_off(cluster: &Cluster, name: &str, bytes: u64) {
    let proxy = Proxy::start(cluster.address());
    proxy.hold_after(bytes);
    let mut child = begin(cluster, &proxy.address(), &["store", name]);
    until("some of it is there", || proxy.is_holding());
    child.kill().unwrap();
    child.wait().unwrap();
    proxy.cut();
    proxy.hold_after(0);
    until("it is kept", || !uploads(cluster).is_empty());
}

const MIB: usize = 1 << 20;

#[test]
fn a_store_whose_client_dies_goes_on_with_the_same_command() {
    let cluster = Cluster::start();
    let content = write(&cluster, "a.bin", 1, 20 * MIB + 5);
    break_off(&cluster, "a.bin", 11 << 20);
    let [waits] = &uploads(&cluster)[..] else { panic!() };
    let arrived = waits["arrived"].as_u64().unwrap();
    assert!(arrived.is_multiple_of(MIB as u64) && arrived >= 4 << 20, "{waits}");
    assert_eq!((&waits["path"], &waits["bytes"]), (&"/a.bin".into(), &(20 * MIB + 5).into()));
    client(&cluster, &["inf"]).code(0).stdout("");
    client(&cluster, &["uploads"]).code(0).stdout(contains("a.bin").and(contains("21.0 MB")));
    let stored = result(&cluster, &["store", "a.bin"]);
    assert_eq!(stored["resumed_bytes"], arrived);
    assert_eq!(stored["blake3"], blake3::hash(&content).to_string());
    assert!(uploads(&cluster).is_empty());
    assert_eq!(cluster.retrieve("a.bin").unwrap(), content);
    // It is made of two extents; any two nodes are enough for both.
    client(&cluster, &["rtv", "a.bin", "--range", &format!("{}-{}", arrived - 3, arrived + 3)])
        .code(2);
    let range = format!("{}-{}", arrived - 3, arrived + 3);
    client(&cluster, &["rtv", "a.bin", "--range", &range, "--to", "part"]).code(0);
    let at = usize::try_from(arrived).unwrap();
    assert_eq!(fs::read(cluster.path("part")).unwrap(), content[at - 3..at + 4]);
}

#[test]
fn a_file_that_was_changed_in_between_begins_anew() {
    let cluster = Cluster::start();
    write(&cluster, "a.bin", 1, 12 * MIB);
    let modified = fs::metadata(cluster.path("a.bin")).unwrap().modified().unwrap();
    break_off(&cluster, "a.bin", 7 << 20);
    // Of the same size and time, which only its bytes tell.
    let content = write(&cluster, "a.bin", 2, 12 * MIB);
    fs::File::open(cluster.path("a.bin")).unwrap().set_modified(modified).unwrap();
    let stored = result(&cluster, &["store", "a.bin"]);
    assert_eq!(stored["resumed_bytes"], 0);
    assert_eq!(cluster.retrieve("a.bin").unwrap(), content);
    assert!(uploads(&cluster).is_empty(), "what had come is dropped");
    // Where only what had not come yet is another, the end tells it.
    write(&cluster, "b.bin", 3, 12 * MIB);
    let modified = fs::metadata(cluster.path("b.bin")).unwrap().modified().unwrap();
    break_off(&cluster, "b.bin", 7 << 20);
    let mut changed = noise(3, 12 * MIB);
    changed[12 * MIB - 1] ^= 1;
    fs::write(cluster.path("b.bin"), &changed).unwrap();
    fs::File::open(cluster.path("b.bin")).unwrap().set_modified(modified).unwrap();
    client(&cluster, &["store", "b.bin"]).code(0);
    assert_eq!(cluster.retrieve("b.bin").unwrap(), changed);
}

#[test]
fn an_upload_is_dropped_or_passed_over_where_that_is_wanted() {
    let cluster = Cluster::start();
    write(&cluster, "a.bin", 1, 10 * MIB);
    break_off(&cluster, "a.bin", 6 << 20);
    let id = uploads(&cluster)[0]["upload"].as_str().unwrap().to_owned();
    client(&cluster, &["uploads", "--drop", "ffff0000"])
        .code(4)
        .stderr(told("cannot drop the upload ffff0000"));
    client(&cluster, &["uploads", "--drop", &id[..8]]).code(0).stderr(contains("Dropped"));
    client(&cluster, &["uploads"]).code(0).stdout("").stderr(contains("No upload waits"));
    break_off(&cluster, "a.bin", 6 << 20);
    let stored = result(&cluster, &["store", "a.bin", "--no-resume"]);
    assert_eq!((&stored["resumed_bytes"], uploads(&cluster).len()), (&0.into(), 1));
    client(&cluster, &["uploads", "--drop-all"]).code(0);
    assert!(uploads(&cluster).is_empty());
}

#[test]
fn what_has_come_survives_the_server_and_counts_towards_the_quota() {
    let mut cluster = Cluster::start();
    let content = write(&cluster, "a.bin", 1, 12 * MIB);
    break_off(&cluster, "a.bin", 9 << 20);
    let arrived = uploads(&cluster)[0]["arrived"].as_u64().unwrap();
    cluster.kill_server();
    cluster.start_server();
    assert_eq!(uploads(&cluster)[0]["arrived"], arrived);
    let dir = cluster.path("user_database");
    let mut quota = palk();
    quota.args(["admin", "user", "quota", USER, "14MB", "--dir"]).arg(&dir);
    run(quota).code(0);
    write(&cluster, "b.bin", 2, 10 * MIB);
    client(&cluster, &["store", "b.bin"]).code(8).stderr(contains("are used"));
    let stored = result(&cluster, &["store", "a.bin"]);
    assert_eq!(stored["resumed_bytes"], arrived);
    assert_eq!(cluster.retrieve("a.bin").unwrap(), content);
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_transfer_is_one_calm_line() {
    let mut cluster = Cluster::start();
    let address = cluster.address().to_owned();
    let content = write(&cluster, "a.bin", 1, 16 * MIB);
    let proxy = Proxy::start(&address);
    proxy.hold_after(9 << 20);
    let child = begin(&cluster, &proxy.address(), &["store", "a.bin", "--retry-for", "5m"]);
    until("some of it is there", || proxy.is_holding());
    cluster.kill_server();
    proxy.cut();
    proxy.hold_after(0);
    cluster.start_server();
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("The server is waited for").count(), 1, "{said}");
    assert_eq!(cluster.retrieve("a.bin").unwrap(), content);
}

#[test]
fn a_server_that_is_stopped_in_an_orderly_way_keeps_all_full_stripes() {
    let mut cluster = Cluster::start();
    let content = write(&cluster, "a.bin", 1, 24 * MIB);
    let proxy = Proxy::start(cluster.address());
    let slowly = ["store", "a.bin", "--retry-for", "5m", "--bwlimit", "2MB"];
    let child = begin(&cluster, &proxy.address(), &slowly);
    until("some of it is there", || proxy.forwarded() > 4 << 20);
    cluster.stop_server();
    cluster.start_server();
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the server is shutting down"), "{said}");
    assert!(said.contains("were there already"), "{said}");
    assert_eq!(cluster.retrieve("a.bin").unwrap(), content);
}

#[test]
fn a_retrieval_that_breaks_off_goes_on_with_the_same_command() {
    let cluster = Cluster::start();
    let content = write(&cluster, "a.bin", 1, 20 * MIB);
    client(&cluster, &["store", "a.bin"]).code(0);
    let partials = || {
        let names = fs::read_dir(cluster.path("")).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".palk-part")).collect::<Vec<_>>()
    };
    let break_off = || {
        let proxy = Proxy::start(cluster.address());
        proxy.hold_after(9 << 20);
        let mut child = begin(&cluster, &proxy.address(), &["rtv", "a.bin", "--to", "back"]);
        until("some of it is there", || proxy.is_holding());
        until("it is written", || !partials().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        proxy.cut();
        proxy.hold_after(0);
        assert_eq!(partials().len(), 1);
        assert!(!cluster.path("back").exists());
    };
    break_off();
    let fetched = result(&cluster, &["rtv", "a.bin", "--to", "back"]);
    assert!(fetched["resumed_bytes"].as_u64().unwrap() >= 4 << 20, "{fetched}");
    assert_eq!(fs::read(cluster.path("back")).unwrap(), content);
    assert!(partials().is_empty());
    fs::remove_file(cluster.path("back")).unwrap();
    // What is there was damaged: it begins anew.
    break_off();
    let path = cluster.path(&partials()[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::write(&path, bytes).unwrap();
    client(&cluster, &["rtv", "a.bin", "--to", "back"]).code(0);
    assert_eq!(fs::read(cluster.path("back")).unwrap(), content);
    fs::remove_file(cluster.path("back")).unwrap();
    // The stored file was replaced: what is there of the old one goes.
    break_off();
    let newer = write(&cluster, "a.bin", 2, 9 * MIB);
    client(&cluster, &["store", "a.bin"]).code(0);
    let fetched = result(&cluster, &["rtv", "a.bin", "--to", "back"]);
    assert_eq!((&fetched["resumed_bytes"], partials().len()), (&0.into(), 0));
    assert_eq!(fs::read(cluster.path("back")).unwrap(), newer);
}

#[test]
fn a_file_of_several_extents_is_like_any_other() {
    let mut cluster = Cluster::start_with(&["--keep-versions", "7d", "--max-file-size", "1GB"]);
    // Three extents: twice 64 MiB, and the rest.
    let content = write(&cluster, "big.bin", 1, 130 * MIB + 7);
    client(&cluster, &["store", "big.bin", "--to", "docs"]).code(0);
    client(&cluster, &["cp", "docs/big.bin", "docs/copy.bin"]).code(0);
    client(&cluster, &["mv", "docs", "papers"]).code(0);
    client(&cluster, &["del", "papers/big.bin"]).code(0);
    assert_eq!(cluster.retrieve("papers/copy.bin").unwrap(), content);
    client(&cluster, &["undo", "papers/big.bin"]).code(0);
    client(&cluster, &["del", "papers/copy.bin"]).code(0);
    cluster.kill_node(1);
    cluster.kill_node(3);
    assert_eq!(cluster.retrieve("papers/big.bin").unwrap(), content);
    cluster.start_node(1);
    cluster.start_node(3);
    cluster.await_healthy();
    // Two nodes' folders are enough, with no server.
    cluster.kill_all();
    let rescue = |out: &str| {
        let mut rescue = palk();
        rescue.arg("rescue").arg(cluster.node_folder(2)).arg(cluster.node_folder(4));
        rescue.arg("--out").arg(cluster.path(out));
        run(rescue)
    };
    rescue("rescued").code(0);
    assert_eq!(fs::read(cluster.path("rescued/demo/papers/big.bin")).unwrap(), content);
    // Without a journal the pieces say what they are parts of, under the name of then.
    for node in [2, 4] {
        fs::remove_dir_all(cluster.node_folder(node).join("backup")).unwrap();
    }
    rescue("alone");
    assert_eq!(fs::read(cluster.path("alone/demo/docs/big.bin")).unwrap(), content);
}

/// Client and server are killed at random moments while a file travels there and back. More rounds with
/// `PALK_RESUME_ROUNDS=100`.
#[test]
fn a_transfer_goes_on_after_kills_at_random_moments() {
    let rounds = std::env::var("PALK_RESUME_ROUNDS").map_or(6, |text| text.parse().unwrap());
    let mut cluster = Cluster::start();
    let content = write(&cluster, "a.bin", 1, 30 * MIB + 123);
    let seed = std::process::id();
    let (mut kills, mut resumed) = (0, 0);
    for round in 0..rounds {
        let random = blake3::hash(format!("{seed} {round}").as_bytes());
        let [length, whom, verb] = [0, 1, 2].map(|at| u64::from(random.as_bytes()[at]));
        let arguments = match verb % 2 {
            0 => &["--json", "store", "a.bin", "--retry-for", "2m"][..],
            _ => &["--json", "rtv", "a.bin", "--to", "back", "--retry-for", "2m"],
        };
        if verb % 2 == 1 && cluster.retrieve("a.bin").is_err() {
            client(&cluster, &["store", "a.bin"]).code(0);
        }
        let mut child = begin(&cluster, cluster.address(), arguments);
        // Any moment will do; none is waited for.
        std::thread::sleep(std::time::Duration::from_millis(length * 4));
        if whom % 3 == 0 {
            cluster.kill_server();
            cluster.start_server();
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            child = begin(&cluster, cluster.address(), arguments);
        }
        kills += 1;
        let mut ended = child.wait_with_output().unwrap();
        if ended.status.code() == Some(6) {
            // The server died before the transfer began, which nobody is waited for.
            let child = begin(&cluster, cluster.address(), arguments);
            ended = child.wait_with_output().unwrap();
        }
        let said = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(0), "seed {seed} round {round}: {said}");
        let told: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        resumed += u32::from(told["resumed_bytes"].as_u64().unwrap() > 0);
        if verb % 2 == 0 {
            assert!(cluster.retrieve("a.bin").unwrap() == content, "seed {seed} round {round}");
        } else {
            assert!(
                fs::read(cluster.path("back")).unwrap() == content,
                "seed {seed} round {round}"
            );
        }
    }
    println!("{kills} kills, {resumed} transfers went on where they were");
    let left = fs::read_dir(cluster.path("")).unwrap().flatten();
    let left = left.map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.contains("palk-part")).count(), 0);
}
