//! Who is let in, and to what.

use serde_json::Value;

use super::client::{Web, start};
use super::support::{Cluster, PASSWORD, USER, until};

fn keys(cluster: &Cluster, words: &[&str]) -> Vec<Value> {
    let done = cluster.client(&[&["--json", "keys"], words].concat());
    assert!(done.status.success(), "{done:?}");
    let told = String::from_utf8(done.stdout).unwrap();
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes a key; gives who it is, and what.
fn make(cluster: &Cluster, web: &Web, words: &[&str]) -> (Web, String) {
    let made = keys(cluster, &[&["create"], words].concat()).pop().unwrap();
    let (key, secret) = (made["access_key"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert_eq!((key.len(), secret.len()), (20, 40), "{made}");
    (web.with(key, secret), key.to_owned())
}

#[test]
fn nobody_gets_in_without_a_password_and_guessing_is_slowed_down() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    for user in [USER, "nobody"] {
        let refused = web.with(user, "wrong").ask("GET", "/dav/", &[], b"");
        assert_eq!(
            (refused.status, refused.text().as_str()),
            (401, "the user name or the password is wrong\n")
        );
        assert!(refused.header("www-authenticate").unwrap().starts_with("Basic "));
    }
    let none = web.raw("GET /dav/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(none.starts_with("HTTP/1.1 401 "), "{none}");
    let wrong = web.with(USER, "wrong");
    until("it is slowed down", || wrong.ask("GET", "/dav/", &[], b"").status == 429);
    // The right one has to wait as well.
    until("the wait is over", || web.ask("GET", "/dav/", &[], b"").status == 200);
    // Who has come in once is remembered, whatever strangers guess.
    until("it is slowed down again", || wrong.ask("GET", "/dav/", &[], b"").status == 429);
    assert_eq!(web.ask("GET", "/dav/", &[], b"").status, 200);
}

#[test]
fn a_key_is_let_in_to_what_it_is_for_until_it_is_deleted() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    for folder in ["/dav/f", "/dav/f/in", "/dav/g"] {
        web.ask("MKCOL", folder, &[], b"");
    }
    web.ask("PUT", "/dav/f/a", &[], b"of f");
    web.ask("PUT", "/dav/g/b", &[], b"of g");
    let (reader, read_key) = make(&cluster, &web, &["--read-only", "--name", "a reader"]);
    assert_eq!(reader.ask("GET", "/dav/f/a", &[], b"").body, b"of f");
    let to = [("Destination", "/dav/x")];
    let lock = b"<lockinfo xmlns='DAV:'><lockscope><shared/></lockscope><locktype><write/></locktype></lockinfo>";
    for (method, headers, body) in [
        ("PUT", &[][..], &b"x"[..]),
        ("DELETE", &[], b""),
        ("MOVE", &to, b""),
        ("COPY", &to, b""),
        ("LOCK", &[], lock),
    ] {
        let refused = reader.ask(method, "/dav/f/a", headers, body);
        assert_eq!(refused.status, 403, "{method}: {refused:?}");
    }
    assert_eq!(reader.ask("MKCOL", "/dav/x", &[], b"").status, 403);
    let (of_f, _) = make(&cluster, &web, &["--folder", "f"]);
    // The folder is all that it sees.
    let listed = of_f.ask("PROPFIND", "/dav/", &[("Depth", "1")], b"").text();
    let hrefs = ["<D:href>/dav/</D:href>", "<D:href>/dav/a</D:href>", "<D:href>/dav/in/</D:href>"];
    assert!(hrefs.iter().all(|href| listed.contains(href)), "{listed}");
    assert_eq!(listed.matches("<D:response>").count(), 3, "{listed}");
    assert_eq!(of_f.ask("GET", "/dav/a", &[], b"").body, b"of f");
    assert_eq!(of_f.ask("PUT", "/dav/new", &[], b"new").status, 201);
    assert_eq!(cluster.retrieve("f/new").unwrap(), b"new");
    assert_eq!(of_f.ask("COPY", "/dav/a", &[("Destination", "/dav/in/c")], b"").status, 201);
    assert_eq!(of_f.ask("GET", "/dav/g/b", &[], b"").status, 404);
    assert!(matches!(of_f.ask("DELETE", "/dav/", &[], b"").status, 400 | 403));
    // It may be named by the account as well, and is no password of it.
    let listed = keys(&cluster, &["list"]);
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed.iter().any(|key| key["name"] == "a reader" && key["read_only"] == true));
    keys(&cluster, &["delete", &read_key]);
    assert_eq!(reader.ask("GET", "/dav/f/a", &[], b"").status, 401, "at once");
    assert_eq!(of_f.ask("GET", "/dav/a", &[], b"").status, 200);
    cluster.kill_server();
    cluster.restart_server();
    let web = Web::of(&mut cluster);
    let again = Web { address: web.address.clone(), ..of_f };
    assert_eq!(again.ask("GET", "/dav/a", &[], b"").status, 200, "it outlives the server");
    let refused = cluster.client(&["keys", "delete", &read_key]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
}

#[test]
fn another_password_ends_what_is_remembered_and_all_keys() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let (key, _) = make(&cluster, &web, &[]);
    assert_eq!(
        [web.ask("GET", "/dav/", &[], b"").status, key.ask("GET", "/dav/", &[], b"").status],
        [200, 200]
    );
    let mut admin = super::support::palk();
    admin.args(["admin", "user", "passwd", USER, "--password-stdin", "--dir"]);
    admin.arg(cluster.path("user_database"));
    let mut admin = assert_cmd::Command::from_std(admin);
    admin.write_stdin("another one\n").assert().success();
    assert_eq!(key.ask("GET", "/dav/", &[], b"").status, 401);
    assert_eq!(web.ask("GET", "/dav/", &[], b"").status, 401, "{PASSWORD}");
    assert_eq!(web.with(USER, "another one").ask("GET", "/dav/", &[], b"").status, 200);
}
