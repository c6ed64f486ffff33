//! Encryption between real processes: who is believed, who is let in, and what can be seen on the way.

mod support;

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::proxy::Proxy;
use support::{Cluster, HANG, PASSWORD, Process, USER, expect, noise, palk, until};

fn keygen(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let made = palk().arg("keygen").arg(&path).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    path
}

/// A cluster of which nothing runs yet, whose server and nodes all have one key.
fn with_key() -> (Cluster, PathBuf) {
    let mut cluster = Cluster::prepare(&[]);
    let key = keygen(cluster.folder.path(), "cluster.key");
    cluster.add_option("--key", &key);
    for options in &mut cluster.node_options {
        options.extend(["--key".to_owned(), key.to_str().unwrap().to_owned()]);
    }
    (cluster, key)
}

/// The same with nodes that run and a user, whose server has ended: others take its place.
fn with_key_and_user() -> (Cluster, PathBuf) {
    let (mut cluster, key) = with_key();
    for node in 1..=4 {
        cluster.start_node(node);
    }
    cluster.start_server_and_user();
    cluster.server().kill();
    (cluster, key)
}

/// A client command with an address and a configuration folder of its own.
fn client(cluster: &Cluster, address: &str, arguments: &[&str]) -> Output {
    client_command(cluster, address, arguments).output().unwrap()
}

fn client_command(cluster: &Cluster, address: &str, arguments: &[&str]) -> Command {
    let mut command = palk();
    command.env("PALK_CONFIG", cluster.path("config/config.toml")).stdin(Stdio::null());
    std::fs::create_dir_all(cluster.path("config")).unwrap();
    std::fs::write(cluster.path("config/config.toml"), "").unwrap();
    command.current_dir(cluster.folder.path()).arg("client").args(["--server", address]);
    command.args(["--user", USER, "--password-file"]).arg(cluster.path("password"));
    command.args(arguments);
    command
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn fingerprint(server: &mut Process) -> String {
    server.says("server's fingerprint is ");
    let log = server.log();
    let at = log.rfind("server's fingerprint is ").unwrap() + "server's fingerprint is ".len();
    log[at..].split_whitespace().next().unwrap().to_owned()
}

/// An address of this machine that is not for itself alone. No packet is sent to find it.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

const SECRET: &[u8] = b"a sentence that nobody on the way may read";

/// A file that has the sentence in each of its blocks.
fn telling() -> Vec<u8> {
    SECRET.iter().copied().cycle().take(400_000).collect()
}

#[test]
fn nothing_that_is_said_can_be_seen_on_the_way() {
    let (mut cluster, _) = with_key();
    let proxies = [1, 2, 3, 4].map(|node| {
        cluster.start_node(node);
        let proxy = cluster.put_proxy_before(node);
        proxy.record();
        proxy
    });
    cluster.start_server_and_user();
    let before_server = Proxy::start(cluster.address());
    before_server.record();
    std::fs::write(cluster.path("telling-name.txt"), telling()).unwrap();
    let address = before_server.address();
    let stored = client(&cluster, &address, &["store", "telling-name.txt"]);
    assert!(stored.status.success(), "{stored:?}");
    for _ in 0..4 {
        let back = client(&cluster, &address, &["-q", "rtv", "telling-name.txt", "--to", "-"]);
        assert!(back.stdout == telling(), "{back:?}");
    }
    for proxy in proxies.iter().chain([&before_server]) {
        assert!(proxy.forwarded() > 200_000);
        for secret in [SECRET, b"telling-name", PASSWORD.as_bytes()] {
            assert!(!proxy.has_seen(secret), "{}", String::from_utf8_lossy(secret));
        }
    }
}

#[test]
fn what_is_not_encrypted_is_seen_by_the_same_means() {
    let mut cluster = Cluster::prepare(&[]);
    for node in 1..=4 {
        cluster.start_node(node);
    }
    let proxy = cluster.put_proxy_before(1);
    proxy.record();
    cluster.start_server_and_user();
    assert_eq!(cluster.store("telling-name.txt", &telling()).unwrap(), 4);
    assert!(proxy.has_seen(SECRET) && proxy.has_seen(b"telling-name"));
}

#[test]
fn a_hundred_megabytes_come_back_bit_for_bit() {
    let (mut cluster, _) = with_key();
    for node in 1..=4 {
        cluster.start_node(node);
    }
    cluster.start_server_and_user();
    let bytes = noise(5, 100_000_000);
    assert_eq!(cluster.store("big", &bytes).unwrap(), 4);
    assert!(cluster.retrieve("big").unwrap() == bytes);
    // Decoded as well: nodes 1 and 2 are not both there.
    cluster.lose_node(1);
    assert!(cluster.retrieve("big").unwrap() == bytes);
}

#[test]
fn a_server_whose_key_has_changed_is_refused_until_it_is_trusted_again() {
    let mut cluster = Cluster::start();
    let address = cluster.address().to_owned();
    let first = fingerprint(cluster.server());
    // On this machine nothing has to be trusted, and what was trusted is kept to.
    assert_eq!(status(&client(&cluster, &address, &["inf"])), 0);
    let trusted = client(&cluster, &address, &["trust", &address]);
    assert!(said(&trusted).contains(&first), "{trusted:?}");
    assert_eq!(status(&client(&cluster, &address, &["inf"])), 0);

    cluster.server().kill();
    std::fs::remove_dir_all(cluster.path("user_database/tls")).unwrap();
    cluster.restart_server();
    let second = fingerprint(cluster.server());
    assert_ne!(first, second);
    let refused = client(&cluster, &address, &["inf"]);
    assert_eq!((status(&refused), refused.stdout.len()), (12, 0), "{refused:?}");
    let told = said(&refused);
    assert!(told.contains(&first) && told.contains(&second), "{told}");
    assert!(told.contains(&format!("palk client trust {address}")), "{told}");
    let json = client(&cluster, &address, &["--json", "inf"]);
    assert_eq!(status(&json), 12);
    assert!(String::from_utf8_lossy(&json.stdout).contains("\"code\":12"), "{json:?}");

    assert_eq!(status(&client(&cluster, &address, &["inf", "--fingerprint", &second])), 0);
    let wrong = client(&cluster, &address, &["inf", "--fingerprint", &first]);
    assert_eq!(status(&wrong), 12, "{wrong:?}");
    assert_eq!(status(&client(&cluster, &address, &["inf"])), 12);
    assert_eq!(status(&client(&cluster, &address, &["trust", &address, &second])), 0);
    assert_eq!(status(&client(&cluster, &address, &["inf"])), 0);
}

#[test]
fn a_certificate_of_ones_own_takes_the_place_of_the_servers() {
    let mut cluster = Cluster::start();
    let first = fingerprint(cluster.server());
    cluster.server().kill();
    let (made, own) = (cluster.path("user_database/tls"), cluster.path("own"));
    std::fs::rename(made, &own).unwrap();
    cluster.add_option("--tls-cert", &own.join("server.crt"));
    cluster.add_option("--tls-key", &own.join("server.key"));
    cluster.restart_server();
    assert_eq!(fingerprint(cluster.server()), first);
    assert!(!cluster.path("user_database/tls").exists());
    let address = cluster.address().to_owned();
    assert_eq!(status(&client(&cluster, &address, &["inf", "--fingerprint", &first])), 0);
}

/// Files with a certificate for `name` by an authority, and with its key.
fn certified(folder: &Path, authority: &Issuer<'_, KeyPair>, name: &str) -> [PathBuf; 2] {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, authority).unwrap();
    let paths = ["crt", "key"].map(|ending| folder.join(format!("{name}.{ending}")));
    std::fs::write(&paths[0], certificate.pem()).unwrap();
    std::fs::write(&paths[1], key.serialize_pem()).unwrap();
    std::fs::set_permissions(&paths[1], Permissions::from_mode(0o600)).unwrap();
    paths
}

#[test]
fn a_server_that_an_authority_of_this_machine_vouches_for_needs_no_fingerprint() {
    let Some(own) = outer_address() else {
        eprintln!("this machine has no outer address; on loopback no authority is asked");
        return;
    };
    let (cluster, key) = with_key_and_user();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = cluster.path("authority.pem");
    std::fs::write(&root, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let authority = Issuer::new(authority, authority_key);

    let (right, other) = (own.to_string(), "palk.example");
    for (name, expected) in [(right.as_str(), 0), (other, 12)] {
        let [certificate, own_key] = certified(cluster.folder.path(), &authority, name);
        let mut command = palk();
        command.args(["server", "--listen", "0.0.0.0:0", "--key"]).arg(&key);
        command.arg("--dir").arg(cluster.path("user_database"));
        command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(own_key);
        let mut server = Process::start(command);
        let port = server.address().rsplit_once(':').unwrap().1.to_owned();
        let address = format!("{own}:{port}");
        let unknown = client(&cluster, &address, &["inf"]);
        assert_eq!(status(&unknown), 12, "{unknown:?}");
        let mut asked = client_command(&cluster, &address, &["inf"]);
        let vouched = asked.env("SSL_CERT_FILE", &root).output().unwrap();
        assert_eq!(status(&vouched), expected, "{name}: {vouched:?}");
        server.kill();
    }
}

#[test]
fn a_client_that_says_nothing_for_a_while_may_still_speak_either_way() {
    let cluster = Cluster::start();
    let mut late = cluster.connect();
    // Somebody else has come and gone meanwhile.
    assert!(cluster.client(&["inf"]).status.success());
    late.write_all(b"H").unwrap();
    assert!(cluster.client(&["inf"]).status.success());
    late.write_all(b"I\r\n\r\n").unwrap();
    expect(&mut late, b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n");
    // A record begins and is never finished: nobody else waits for it.
    let mut stuck = cluster.connect();
    stuck.write_all(&[0x16]).unwrap();
    assert!(cluster.client(&["inf"]).status.success());
}

#[test]
fn plain_text_from_another_machine_is_answered_with_what_to_do() {
    let Some(own) = outer_address() else {
        eprintln!("this machine has no outer address; serve::encryption tests the rule");
        return;
    };
    let (cluster, key) = with_key_and_user();
    let start = |more: &[&str]| {
        let mut command = palk();
        command.args(["server", "--listen", "0.0.0.0:0", "--key"]).arg(&key).args(more);
        command.arg("--dir").arg(cluster.path("user_database"));
        Process::start(command)
    };
    let reach = |server: &Process| {
        let port = server.address().rsplit_once(':').unwrap().1.to_owned();
        format!("{own}:{port}")
    };
    let hello = |address: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream.write_all(b"HI\r\n\r\n").unwrap();
        stream
    };
    let mut server = start(&[]);
    let address = reach(&server);
    let mut answer = String::new();
    hello(&address).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("D\r\n") && answer.contains("plain text"), "{answer:?}");

    // From there a client that nobody can ask needs to know the server.
    let refused = client(&cluster, &address, &["inf"]);
    assert_eq!(status(&refused), 12, "{refused:?}");
    let print = fingerprint(&mut server);
    assert!(said(&refused).contains(&print), "{refused:?}");
    assert_eq!(status(&client(&cluster, &address, &["trust", &address, &print])), 0);
    assert_eq!(status(&client(&cluster, &address, &["inf"])), 0);
    server.kill();

    let server = start(&["--allow-plaintext"]);
    let mut stream = hello(&reach(&server));
    expect(&mut stream, b"S\r\n2\r\nUsername: \r\nPassword: \r\n\r\n");
}

#[test]
fn nodes_and_servers_of_different_keys_do_not_talk_and_say_why() {
    let (mut cluster, key) = with_key();
    let other = keygen(cluster.folder.path(), "other.key");
    cluster.node_options[2] = vec!["--key".into(), other.to_str().unwrap().into()];
    cluster.node_options[3].clear();
    for node in 1..=4 {
        cluster.start_node(node);
    }
    cluster.start_server();
    for text in [
        "connected to data server 1\n",
        "connected to data server 2\n",
        "still trying to connect to data server 3: node 3: it has another key",
        "still trying to connect to data server 4: node 4: it does not encrypt: start it with --key",
    ] {
        cluster.server().says(text);
    }
    cluster.node(4).says("started without --key");
    // A server without the key is let in nowhere but where there is none.
    cluster.server().kill();
    let mut command = palk();
    command.args(["server", "--listen", "127.0.0.1:0", "--dir"]);
    let keyless = Process::start({
        command.arg(cluster.path("user_database"));
        command
    });
    for text in [
        "data server 1: node 1: it serves only a server that has the cluster's key",
        "connected to data server 4\n",
    ] {
        keyless.says(text);
    }
    drop(key);
}

#[test]
fn without_a_key_only_this_machine_is_served_and_the_way_out_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = palk().current_dir(folder.path()).args(arguments).output().unwrap();
        assert_eq!(status(&output), 9, "{arguments:?}: {output:?}");
        assert!(said(&output).contains("palk keygen"), "{output:?}");
    };
    refused(&["storage", "--id", "1", "--listen", "0.0.0.0:0"]);
    refused(&["server", "--listen", "0.0.0.0:0"]);
    let near = ["--node", "127.0.0.1:1", "--node", "[::1]:1", "--node", "127.0.0.1:3"];
    let far = [&["server", "--listen", "127.0.0.1:0"], &near[..], &["--node", "192.0.2.7:1"]];
    refused(&far.concat());
    // Nothing was begun.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = keygen(folder.path(), "cluster.key");
    let again = palk().arg("keygen").arg(&key).output().unwrap();
    assert_eq!(status(&again), 9, "{again:?}");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, mode).unwrap();
    for command in [&["storage", "--id", "1"][..], &["server"]] {
        let mut process = palk();
        process.current_dir(folder.path()).args(command).arg("--key").arg(&key);
        let output = process.output().unwrap();
        assert_eq!(status(&output), 9, "{output:?}");
        assert!(said(&output).contains("chmod 600"), "{output:?}");
    }
}

#[test]
fn a_lost_database_is_recovered_from_nodes_with_the_key_and_from_no_others() {
    let (mut cluster, key) = with_key();
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.start_server_and_user();
    let content = telling();
    cluster.store("up/a.bin", &content).unwrap();
    // Else the account may not be on the nodes yet, which are told of it within a second or so.
    let mut backup = palk();
    backup.args(["admin", "backup", "--dir"]).arg(cluster.path("user_database"));
    let backed_up = backup.output().unwrap();
    assert_eq!(status(&backed_up), 0, "{backed_up:?}");
    cluster.kill_server();
    std::fs::rename(cluster.path("user_database"), cluster.path("lost")).unwrap();
    let recover = |nodes: &[&str; 4], key: Option<&Path>| {
        let mut command = palk();
        command.args(["admin", "recover", "--dir"]).arg(cluster.path("user_database"));
        for node in nodes {
            command.args(["--node", node]);
        }
        if let Some(key) = key {
            command.arg("--key").arg(key);
        }
        command.output().unwrap()
    };
    let nodes = [1, 2, 3, 4].map(|node| cluster.node_address(node));
    let without = recover(&nodes, None);
    assert_eq!(status(&without), 6, "{without:?}");
    let far = recover(&["192.0.2.1:51131", nodes[1], nodes[2], nodes[3]], None);
    assert_eq!(status(&far), 9, "{far:?}");
    assert!(said(&far).contains("palk keygen"), "{}", said(&far));
    assert!(!cluster.path("user_database/palk.db").exists());
    let with = recover(&nodes, Some(&key));
    assert_eq!(status(&with), 0, "{with:?}");
    cluster.start_server();
    assert_eq!(cluster.retrieve("up/a.bin").unwrap(), content);
}

/// A certificate of its own and its key are put in place of these.
fn replace_certificate(certificate: &Path, key: &Path) {
    let pair = KeyPair::generate().unwrap();
    let made = CertificateParams::new(["palk".to_owned()]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(certificate, made.pem()).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
}

#[test]
fn a_hangup_reloads_the_certificate_of_the_folder_for_new_connections() {
    let mut cluster = Cluster::start();
    let tls = cluster.path("user_database/tls");
    let (certificate, key) = (tls.join("server.crt"), tls.join("server.key"));
    let first = fingerprint(cluster.server());
    let address = cluster.address().to_owned();
    let shows = |cluster: &Cluster, print: &str| {
        let asked = client(cluster, &address, &["inf", "--fingerprint", print]);
        match status(&asked) {
            0 => true,
            12 => false,
            _ => panic!("{asked:?}"),
        }
    };
    // Somebody who is connected goes on.
    let mut open = client_command(&cluster, &address, &["--fingerprint", &first]);
    let mut open = open.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = open.stdin.take().unwrap();
    let has = |cluster: &Cluster, name: &str| {
        String::from_utf8_lossy(&cluster.client(&["inf"]).stdout).contains(name)
    };
    input.write_all(b"mkdir before\n").unwrap();
    until("the first command is done", || has(&cluster, "/before"));

    replace_certificate(&certificate, &key);
    assert!(shows(&cluster, &first), "nothing changes before the signal");
    cluster.server().signal("-HUP");
    cluster.server().says("the certificate was reloaded");
    cluster.server().says("the key is another one");
    let second = fingerprint(cluster.server());
    assert_ne!(first, second);
    assert!(shows(&cluster, &second) && !shows(&cluster, &first));
    input.write_all(b"mkdir after\n").unwrap();
    drop(input);
    assert!(open.wait().unwrap().success());
    assert!(has(&cluster, "/after"));

    // One that is broken, one that is not the key's, and one that is not there.
    let good = std::fs::read(&certificate).unwrap();
    let other = cluster.path("other.key");
    replace_certificate(&certificate, &other);
    let foreign = std::fs::read(&certificate).unwrap();
    for (count, bytes) in [Some(&b"no certificate"[..]), Some(&foreign), None].iter().enumerate() {
        match bytes {
            Some(bytes) => std::fs::write(&certificate, bytes).unwrap(),
            None => std::fs::remove_file(&certificate).unwrap(),
        }
        cluster.server().signal("-HUP");
        let refused = "the certificate was not reloaded, the former one stays: ";
        until("it was refused", || cluster.server().count(refused) == count + 1);
        assert!(shows(&cluster, &second));
    }
    assert!(!certificate.exists(), "none is made in its place");
    std::fs::write(&certificate, good).unwrap();
    cluster.stop_server();
    cluster.restart_server();
    assert_eq!(fingerprint(cluster.server()), second);
}

#[test]
fn a_hangup_reloads_the_certificate_that_is_named() {
    let mut cluster = Cluster::prepare(&[]);
    let [certificate, key] = ["own.crt", "own.key"].map(|name| cluster.path(name));
    replace_certificate(&certificate, &key);
    cluster.add_option("--tls-cert", &certificate);
    cluster.add_option("--tls-key", &key);
    (1..=4).for_each(|node| cluster.start_node(node));
    cluster.start_server_and_user();
    let first = fingerprint(cluster.server());
    // Renewed, with the same key: nothing changes for clients.
    let pair = KeyPair::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let renewed = CertificateParams::new(["new".to_owned()]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(&certificate, renewed.pem()).unwrap();
    cluster.server().signal("-HUP");
    cluster.server().says("the certificate was reloaded");
    assert_eq!(cluster.server().count("the key is another one"), 0);
    let address = cluster.address().to_owned();
    assert_eq!(status(&client(&cluster, &address, &["inf", "--fingerprint", &first])), 0);
    replace_certificate(&certificate, &key);
    cluster.server().signal("-HUP");
    cluster.server().says("the key is another one");
    assert_eq!(status(&client(&cluster, &address, &["inf", "--fingerprint", &first])), 12);
}
