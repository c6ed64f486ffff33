//! `--web`: the page for people. What the server says, and the page in a real browser.

mod support;

#[path = "web/browser.rs"]
mod browser;
#[path = "web/client.rs"]
mod client;
#[path = "web/driver.rs"]
mod driver;
#[path = "web/screens.rs"]
mod screens;

use std::io::{Cursor, Read, Write};

use client::{Answer, OF_PAGE, Web, start, start_with};
use serde_json::Value;
use support::{Cluster, PASSWORD, USER, noise, until};

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// What the page's script is told.
fn told(web: &Web, address: &str) -> Value {
    let answer = web.ask("GET", address, &[], b"");
    assert_eq!(answer.status, 200, "{address}: {answer:?}");
    json(&answer)
}

/// Asks for a change as the page does.
fn change(web: &Web, method: &str, address: &str, body: &[u8]) -> Answer {
    web.ask(method, address, &OF_PAGE, body)
}

fn admin(cluster: &Cluster, words: &[&str]) {
    let mut admin = support::palk();
    admin.args(["admin", "user"]).args(words).arg("--dir").arg(cluster.path("user_database"));
    let done = admin.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

// ---- signing in and out ----

#[test]
fn a_cookie_is_no_ones_but_the_browsers_and_signing_out_ends_it() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let form =
        format!("user={USER}&password={}&next=/files/a%2520b/", PASSWORD.replace(' ', "%20"));
    let answer = web.type_in(&OF_PAGE, &form);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/files/a%20b/")));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("palk=demo:"), "{cookie}");
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    // The connection is plain, and not every browser keeps a Secure cookie then; it ends with the browser.
    assert!(!cookie.contains("Secure") && !cookie.contains("Max-Age"), "{cookie}");
    let stay = web.type_in(&OF_PAGE, &format!("{form}&stay=yes"));
    assert!(stay.header("set-cookie").unwrap().contains("; Max-Age=2592000"), "{stay:?}");
    // A proxy on this machine says that the browser reaches it by TLS.
    let secure = web.type_in(&[OF_PAGE[0], ("X-Forwarded-Proto", "https")], &form);
    let secure = secure.header("set-cookie").unwrap();
    assert!(secure.starts_with("__Host-palk=") && secure.contains("; Secure"), "{secure}");

    let browser = web.in_browser();
    assert_eq!(told(&browser, "/api/account")["user"], USER);
    let out = change(&browser, "POST", "/sign-out", b"");
    assert_eq!((out.status, out.header("location")), (303, Some("/sign-in")));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"), "{out:?}");
    for address in ["/api/account", "/dav/"] {
        let ended = browser.ask("GET", address, &[], b"");
        assert_eq!(ended.status, 401, "{ended:?}");
        // A browser would ask for a password itself, of which the page knows nothing.
        assert_eq!(ended.header("www-authenticate"), None);
    }
    let page = browser.ask("GET", "/files/a/", &[], b"");
    assert_eq!((page.status, page.header("location")), (303, Some("/sign-in?next=/files/a/")));
}

#[test]
fn what_is_typed_wrong_is_said_so_and_slowed_down() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let wrong = web.type_in(&OF_PAGE, "user=%22%3E%3Cscript%3E&password=x");
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("the user name or the password is wrong"), "{wrong:?}");
    assert!(wrong.text().contains("value=\"&quot;&gt;&lt;script&gt;\""), "{wrong:?}");
    assert!(wrong.header("set-cookie").is_none());
    let form = format!("user={USER}&password=wrong");
    until("it is slowed down", || web.type_in(&OF_PAGE, &form).status == 429);
    let long = web.type_in(&OF_PAGE, &format!("user=a&password={}", "x".repeat(9000)));
    assert_eq!(long.status, 400, "{long:?}");
}

#[test]
fn another_password_ends_all_sign_ins() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    assert_eq!(browser.ask("GET", "/api/account", &[], b"").status, 200);
    let mut admin = support::palk();
    admin.args(["admin", "user", "passwd", USER, "--password-stdin", "--dir"]);
    admin.arg(cluster.path("user_database"));
    assert_cmd::Command::from_std(admin).write_stdin("another one\n").assert().success();
    assert_eq!(browser.ask("GET", "/api/account", &[], b"").status, 401);
    assert_eq!(browser.ask("GET", "/dav/", &[], b"").status, 401);
}

#[test]
fn another_page_can_change_nothing_with_the_cookie() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    let own = format!("http://{}", web.address);
    let path = "/dav/a";
    assert_eq!(change(&browser, "PUT", path, b"there").status, 201);
    for headers in [
        &[][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site"), ("X-Palk", "1")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
    ] {
        for (method, address) in [
            ("PUT", path),
            ("DELETE", path),
            ("PROPPATCH", path),
            ("POST", "/api/undo/a"),
            ("POST", "/sign-out"),
        ] {
            let refused = browser.ask(method, address, headers, b"x");
            assert_eq!(refused.status, 403, "{method} {headers:?}: {refused:?}");
        }
        let signed_in = web.type_in(headers, &format!("user={USER}&password=correct+horse"));
        assert_eq!(signed_in.status, 403, "{headers:?}");
    }
    assert_eq!(browser.ask("GET", path, &[], b"").text(), "there");
    for headers in [[("Origin", own.as_str())], [("X-Palk", "1")], OF_PAGE] {
        let let_in = browser.ask("PUT", path, &headers, b"x");
        assert_eq!(let_in.status, 204, "{headers:?}: {let_in:?}");
    }
}

#[test]
fn with_two_nodes_somebody_can_still_sign_in_and_read() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    assert_eq!(web.ask("PUT", "/dav/a", &[], b"there").status, 201);
    cluster.node(1).kill();
    cluster.node(2).kill();
    until("it is known", || web.ask("GET", "/health", &[], b"").status == 503);
    let browser = web.in_browser();
    assert_eq!(browser.ask("GET", "/dav/a", &[], b"").text(), "there");
    let account = told(&browser, "/api/account");
    assert_eq!((&account["can_store"], &account["nodes_up"]), (&false.into(), &2.into()));
    let refused = change(&browser, "PUT", "/dav/b", b"x");
    assert_eq!((refused.status, refused.header("palk-error")), (503, Some("too-few-nodes")));
    assert_eq!(change(&browser, "POST", "/sign-out", b"").status, 303);
    assert_eq!(browser.ask("GET", "/dav/a", &[], b"").status, 401);
}

// ---- pages ----

#[test]
fn the_pages_are_of_this_origin_only_and_asked_for_once() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    for page in ["/sign-in", "/files/", "/status", "/files/none/"] {
        let answer = browser.ask("GET", page, &[], b"");
        assert_eq!(answer.status, if page.contains("none") { 404 } else { 200 }, "{page}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{page}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        let text = answer.text();
        assert!(!text.contains("{{") && !text.contains("//") || page.contains("none"), "{text}");
    }
    for (asset, kind) in [
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/icons.svg", "image/svg+xml"),
    ] {
        let answer = browser.ask("GET", asset, &[], b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{asset}");
        let tag = answer.header("etag").unwrap();
        let again = browser.ask("GET", asset, &[("If-None-Match", tag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{asset}");
    }
    let nobody = Web { cookie: "none=1".into(), ..web.with("", "") };
    for (page, to) in [("/", "/sign-in"), ("/files/", "/sign-in?next=/files/")] {
        let answer = nobody.ask("GET", page, &[], b"");
        assert_eq!((answer.status, answer.header("location")), (303, Some(to)));
    }
    let answer = browser.ask("GET", "/", &[], b"");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/files/")));
}

/// Names that would be more than names somewhere, and what an address makes of them.
const HOSTILE: [(&str, &str); 6] = [
    ("<img src=x onerror=alert(1)>", "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E"),
    ("\"'><script>", "%22%27%3E%3Cscript%3E"),
    ("a#b?c%d&e", "a%23b%3Fc%25d%26e"),
    ("{{rows}}", "%7B%7Brows%7D%7D"),
    ("javascript:alert(1)", "javascript%3Aalert%281%29"),
    ("\u{202e}gpj.exe é 文", "%E2%80%AEgpj.exe%20%C3%A9%20%E6%96%87"),
];

#[test]
fn a_folder_is_read_without_a_script_whatever_names_are_in_it() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    assert_eq!(change(&browser, "MKCOL", "/dav/%3Cb%3E", b"").status, 201);
    for (name, address) in HOSTILE {
        let put = change(&browser, "PUT", &format!("/dav/%3Cb%3E/{address}"), b"bytes");
        assert_eq!(put.status, 201, "{name}: {put:?}");
    }
    let page = browser.ask("GET", "/files/%3Cb%3E/", &[], b"").text();
    assert!(page.contains("<title>&lt;b&gt; - Palk</title>"), "{page}");
    for raw in ["<img src=x", "\"'>", "<script>", "href=\"javascript", "<b>"] {
        assert!(!page.contains(raw), "{raw}: {page}");
    }
    // What a page without a script leads to are the files.
    let links: Vec<&str> =
        page.split("href=\"").filter_map(|rest| rest.split('"').next()).collect();
    let files: Vec<_> = links.iter().filter(|link| link.starts_with("/dav/")).collect();
    assert_eq!(files.len(), HOSTILE.len(), "{links:?}");
    for link in files {
        assert_eq!(browser.ask("GET", link, &[], b"").body, b"bytes", "{link}");
    }
    let listed = told(&browser, "/api/list/%3Cb%3E/");
    let names: Vec<&str> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    let mut expected = HOSTILE.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(names, expected);
    // The page of a file is the file.
    let file = browser.ask("GET", "/files/%3Cb%3E/a%23b%3Fc%25d%26e", &[], b"");
    assert_eq!(
        (file.status, file.header("location")),
        (303, Some("/dav/%3Cb%3E/a%23b%3Fc%25d%26e"))
    );
}

#[test]
fn a_long_folder_is_told_page_by_page() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    change(&browser, "MKCOL", "/dav/f", b"");
    for n in 0..1005 {
        assert_eq!(change(&browser, "MKCOL", &format!("/dav/f/{n:04}"), b"").status, 201);
    }
    let names = |listing: &Value| -> Vec<String> {
        let entries = listing["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = told(&browser, "/api/list/f/");
    assert_eq!((names(&first).len(), first["after"].as_str()), (1000, Some("0999")));
    let second = told(&browser, "/api/list/f/?after=0999");
    assert_eq!(names(&second), ["1000", "1001", "1002", "1003", "1004"]);
    assert_eq!(second["after"], Value::Null);
    let page = browser.ask("GET", "/files/f/", &[], b"").text();
    assert!(page.contains("<a href=\"?after=0499\">Next page</a>"), "{}", &page[..2000]);
    let page = browser.ask("GET", "/files/f/?after=0999", &[], b"").text();
    assert!(
        page.contains(">1004</a>") && !page.contains(">0999</a>") && !page.contains("Next page")
    );
}

#[test]
fn a_listing_says_what_people_want_to_know() {
    let mut cluster = start_with(&["--quota", "10MB"]);
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    change(&browser, "MKCOL", "/dav/f", b"");
    let headers = [OF_PAGE[0], ("X-OC-Mtime", "1000000000")];
    browser.ask("PUT", "/dav/f/a.txt", &headers, b"seven b");
    let listed = told(&browser, "/api/list/f/");
    let entry = &listed["entries"][0];
    assert_eq!(entry["bytes"], 7);
    assert_eq!(entry["modified_ms"], 1_000_000_000_000_i64);
    assert_eq!(entry["nodes"], 4);
    let account = told(&browser, "/api/account");
    assert_eq!((&account["bytes"], &account["quota_bytes"]), (&7.into(), &10_000_000.into()));
    assert_eq!((&account["can_store"], &account["is_admin"]), (&true.into(), &false.into()));
    assert!(account["room_bytes"].as_u64().unwrap() > 0, "{account}");
    let page = browser.ask("GET", "/files/f/", &[], b"").text();
    assert!(
        page.contains("7 B") && page.contains("2001-09-09") && page.contains("4 of 4"),
        "{page}"
    );
    for (address, status) in [
        ("/api/list/none/", 404),
        ("/api/list/f/a.txt", 404),
        ("/api/list/f/?after=%2F", 400),
        ("/api/list/f/?at=never!", 400),
        ("/api/nothing", 404),
        ("/api/", 404),
    ] {
        assert_eq!(browser.ask("GET", address, &[], b"").status, status, "{address}");
    }
    assert_eq!(change(&browser, "POST", "/api/list/f/", b"").status, 405);
}

// ---- archives ----

fn archive(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    let mut archive = zip::ZipArchive::new(Cursor::new(&answer.body)).unwrap();
    let mut found = Vec::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        found.push((file.name().unwrap().into_owned(), bytes));
    }
    found.sort();
    found
}

#[test]
fn a_folder_or_some_of_it_comes_as_an_archive() {
    let mut cluster = start_with(&["--keep-versions", "1h"]);
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    let big = noise(1, 3_000_000);
    for folder in ["/dav/f", "/dav/f/in", "/dav/f/empty"] {
        change(&browser, "MKCOL", folder, b"");
    }
    for (path, bytes) in
        [("/dav/f/a%20%C3%A9.txt", &b"a"[..]), ("/dav/f/in/big", &big), ("/dav/f/in/none", b"")]
    {
        assert_eq!(change(&browser, "PUT", path, bytes).status, 201);
    }
    let whole = browser.ask("GET", "/api/zip/f/", &[], b"");
    assert_eq!(whole.header("content-disposition"), Some("attachment; filename*=UTF-8''f.zip"),);
    let expected = [
        ("a é.txt".to_owned(), b"a".to_vec()),
        ("empty/".into(), Vec::new()),
        ("in/".into(), Vec::new()),
        ("in/big".into(), big.clone()),
        ("in/none".into(), Vec::new()),
    ];
    assert!(archive(&whole) == expected);
    let some = browser.ask("GET", "/api/zip/f/?name=in", &[], b"");
    assert!(archive(&some) == expected[2..]);
    let some = change(&browser, "POST", "/api/zip/f/", b"name=a+%C3%A9.txt&name=empty");
    assert!(archive(&some) == expected[..2]);
    assert_eq!(browser.ask("GET", "/api/zip/f/?name=nothing", &[], b"").status, 404);
    assert_eq!(browser.ask("GET", "/api/zip/f/?name=..", &[], b"").status, 400);
    assert_eq!(browser.ask("GET", "/api/zip/none/", &[], b"").status, 404);
    let long = change(&browser, "POST", "/api/zip/f/", &b"name=a&".repeat(90_000));
    assert_eq!(long.status, 400);
    // The program that people have for it agrees.
    let unzip = std::process::Command::new("unzip").arg("-v").output();
    if unzip.is_err() {
        return support::skip("unzip is not installed");
    }
    let file = cluster.path("f.zip");
    std::fs::write(&file, &whole.body).unwrap();
    let tested = std::process::Command::new("unzip").arg("-tq").arg(&file).output().unwrap();
    assert!(tested.status.success(), "{tested:?}");
    // As it was before.
    let then = told(&browser, "/api/versions/f/in/big")[0]["from"].as_i64().unwrap();
    change(&browser, "PUT", "/dav/f/in/big", b"another");
    change(&browser, "DELETE", "/dav/f/in/none", b"");
    let before = browser.ask("GET", &format!("/api/zip/f/?name=in&at={then}"), &[], b"");
    let found = archive(&before);
    assert!(
        found.contains(&("in/big".to_owned(), big)),
        "{:?}",
        found.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
}

// ---- uploads ----

const MIB: usize = 1 << 20;

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    let bytes = noise(3, 3 * MIB + 77);
    let length = bytes.len();
    change(&browser, "MKCOL", "/dav/f", b"");
    let begin = format!("/api/uploads/f/a%23.bin?bytes={length}&modified=1000000000000&new");
    let begun = change(&browser, "POST", &begin, b"");
    assert_eq!(begun.status, 201, "{begun:?}");
    let id = json(&begun)["id"].as_str().unwrap().to_owned();
    let address = format!("/api/upload/{id}");
    let listed = told(&browser, "/api/uploads/");
    assert_eq!((&listed[0]["path"], &listed[0]["arrived"]), (&"f/a#.bin".into(), &0.into()));
    // A tab is closed while it sends.
    {
        let mut socket = web.connect();
        let head = browser.head("PUT", &format!("{address}?offset=0"), &OF_PAGE);
        write!(socket, "{head}Content-Length: {length}\r\n\r\n").unwrap();
        socket.write_all(&bytes[..2 * MIB + 1000]).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = client::rest(&mut socket);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    let arrived = told(&browser, &address)["arrived"].as_u64().unwrap();
    assert_eq!(arrived, 2 * MIB as u64, "what has come is kept to the last full MiB");
    let early = change(&browser, "POST", &address, b"");
    assert_eq!(early.status, 400, "{early:?}");
    for (offset, status) in [(0, 412), (3 * MIB, 412)] {
        let part = &bytes[2 * MIB..];
        let refused = change(&browser, "PUT", &format!("{address}?offset={offset}"), part);
        assert_eq!(refused.status, status, "{refused:?}");
    }
    let sent = change(&browser, "PUT", &format!("{address}?offset={arrived}"), &bytes[2 * MIB..]);
    assert_eq!(sent.status, 204, "{sent:?}");
    let done = change(&browser, "POST", &format!("{address}?new"), b"");
    assert_eq!(done.status, 201, "{done:?}");
    assert!(browser.ask("GET", "/dav/f/a%23.bin", &[], b"").body == bytes);
    assert_eq!(told(&browser, "/api/list/f/")["entries"][0]["modified_ms"], 1_000_000_000_000_i64);
    assert_eq!(told(&browser, "/api/uploads/"), serde_json::json!([]));
    assert_eq!(browser.ask("GET", &address, &[], b"").status, 404);
    // The name is taken now, which is said before a byte is sent.
    let taken = change(&browser, "POST", &begin, b"");
    assert_eq!((taken.status, taken.header("palk-error")), (409, Some("exists")));
    // One that is given up leaves nothing.
    let begun = change(&browser, "POST", &begin.replace("&new", ""), b"");
    let address = format!("/api/upload/{}", json(&begun)["id"].as_str().unwrap());
    assert_eq!(change(&browser, "DELETE", &address, b"").status, 204);
    assert_eq!(change(&browser, "DELETE", &address, b"").status, 404);
    for wrong in ["/api/upload/x", "/api/upload/", "/api/uploads/f/b?bytes=x"] {
        assert_eq!(change(&browser, "POST", wrong, b"").status, 400, "{wrong}");
    }
}

#[test]
fn what_is_too_big_or_over_the_quota_is_said_before_it_is_sent() {
    let mut cluster = start_with(&["--max-file-size", "3MB", "--quota", "2MB"]);
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    for (bytes, status, code) in [(3_500_000, 413, "too-big"), (2_500_000, 507, "over-quota")] {
        let refused = change(&browser, "POST", &format!("/api/uploads/a?bytes={bytes}"), b"");
        assert_eq!((refused.status, refused.header("palk-error")), (status, Some(code)));
    }
}

// ---- what was ----

#[test]
fn every_version_and_what_was_deleted_comes_back() {
    let mut cluster = start_with(&["--keep-versions", "1h"]);
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    let get = |address: &str| browser.ask("GET", address, &[], b"");
    assert_eq!(told(&browser, "/api/account")["keeps"], true);
    change(&browser, "MKCOL", "/dav/f", b"");
    for text in ["one", "two", "three"] {
        change(&browser, "PUT", "/dav/f/a.txt", text.as_bytes());
    }
    let versions = told(&browser, "/api/versions/f/a.txt");
    let versions = versions.as_array().unwrap();
    assert_eq!(versions.len(), 3);
    assert_eq!((&versions[0]["until"], &versions[2]["bytes"]), (&Value::Null, &3.into()));
    assert!(versions[0]["by"].as_str().unwrap().starts_with("demo from web "), "{versions:?}");
    let first = versions[2]["version"].as_str().unwrap();
    let then = versions[2]["from"].as_i64().unwrap();
    let old = get(&format!("/api/old/f/a.txt?version={first}"));
    assert_eq!((old.status, old.text().as_str()), (200, "one"));
    assert_eq!(
        old.header("content-security-policy").map(|own| own.contains("sandbox")),
        Some(true)
    );
    let headers = [("Range", "bytes=1-")];
    let part = browser.ask("GET", &format!("/api/old/f/a.txt?at={then}"), &headers, b"");
    assert_eq!((part.status, part.text().as_str()), (206, "ne"));
    let restored = change(&browser, "POST", &format!("/api/restore/f/a.txt?version={first}"), b"");
    assert_eq!(restored.status, 204, "{restored:?}");
    assert_eq!(get("/dav/f/a.txt").text(), "one");
    let undone = change(&browser, "POST", "/api/undo/f/a.txt", b"");
    assert_eq!(json(&undone)["undone"], "former");
    assert_eq!(get("/dav/f/a.txt").text(), "three");
    // A version of another file is not for this one to have.
    change(&browser, "PUT", "/dav/other", b"secret");
    let other = told(&browser, "/api/versions/other")[0]["version"].as_str().unwrap().to_owned();
    let refused = change(&browser, "POST", &format!("/api/restore/f/a.txt?version={other}"), b"");
    assert_eq!(refused.status, 404, "{refused:?}");

    assert_eq!(change(&browser, "DELETE", "/dav/f/a.txt", b"").status, 204);
    let deleted = told(&browser, "/api/deleted/f/");
    assert_eq!((&deleted["entries"][0]["path"], &deleted["more"]), (&"f/a.txt".into(), &0.into()));
    let before = deleted["entries"][0]["gone"].as_i64().unwrap() - 1;
    let address = format!("/api/restore/f/a.txt?at={before}");
    let look = json(&change(&browser, "POST", &format!("{address}&look"), b""));
    assert_eq!((&look["back"], &look["differences"][0]), (&1.into(), &"+f/a.txt".into()));
    assert_eq!(get("/dav/f/a.txt").status, 404, "it was only looked at");
    assert_eq!(change(&browser, "POST", &address, b"").status, 200);
    assert_eq!(get("/dav/f/a.txt").text(), "three");
    // The folder as it was, with what was in it.
    let listed = told(&browser, &format!("/api/list/f/?at={then}"));
    assert_eq!(
        (&listed["entries"][0]["bytes"], listed["entries"].as_array().unwrap().len()),
        (&3.into(), 1)
    );
    change(&browser, "PUT", "/dav/f/new", b"new");
    let reverted = json(&change(&browser, "POST", &format!("/api/restore/f?at={then}"), b""));
    assert_eq!((&reverted["gone"], &reverted["changed"]), (&1.into(), &1.into()));
    assert_eq!((get("/dav/f/a.txt").text().as_str(), get("/dav/f/new").status), ("one", 404));
    // A move, taken back.
    let headers = [OF_PAGE[0], ("Destination", "/dav/b.txt"), ("Overwrite", "F")];
    assert_eq!(browser.ask("MOVE", "/dav/f/a.txt", &headers, b"").status, 201);
    let undone = json(&change(&browser, "POST", "/api/undo/b.txt", b""));
    assert_eq!((&undone["undone"], &undone["to"]), (&"moved".into(), &"f/a.txt".into()));
}

// ---- the cluster ----

#[test]
fn only_an_administrator_sees_the_cluster_and_has_it_mended() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let browser = web.in_browser();
    for (method, address) in [
        ("GET", "/api/status"),
        ("POST", "/api/scrub"),
        ("DELETE", "/api/scrub"),
        ("POST", "/api/repair"),
    ] {
        let refused = change(&browser, method, address, b"");
        assert_eq!((refused.status, refused.header("palk-error")), (403, Some("not-allowed")));
    }
    admin(&cluster, &["admin", USER]);
    assert_eq!(told(&browser, "/api/account")["is_admin"], true);
    until("it is healthy", || told(&browser, "/api/status")["state"] == "healthy");
    let status = told(&browser, "/api/status");
    assert_eq!(status["nodes_to_spare"], 2);
    assert_eq!(status["nodes"].as_array().unwrap().len(), 4);
    assert_eq!(change(&browser, "POST", "/api/scrub", b"").status, 202);
    until("the scrub has ended", || {
        told(&browser, "/api/status")["upkeep"]["scrub"]["phase"] == "done"
    });
    assert_eq!(change(&browser, "DELETE", "/api/scrub", b"").status, 202);
    cluster.node(4).kill();
    until("it is known", || {
        let status = told(&browser, "/api/status");
        status["troubles"][0]["kind"] == "node-away" && status["nodes_to_spare"] == 1
    });
    assert_eq!(change(&browser, "PUT", "/dav/a", b"x").status, 201);
    assert_eq!(told(&browser, "/api/status")["owed"]["pieces"], 1);
    cluster.start_node(4);
    until("it is back", || told(&browser, "/api/account")["nodes_up"] == 4);
    assert_eq!(change(&browser, "POST", "/api/repair", b"").status, 202);
    until("nothing is missing", || told(&browser, "/api/status")["state"] == "healthy");
    // It outlives the server, and a key of the account is none.
    cluster.kill_server();
    cluster.restart_server();
    let web = Web::of(&mut cluster);
    assert_eq!(told(&web.in_browser(), "/api/account")["is_admin"], true);
    let made = cluster.client(&["--json", "keys", "create"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = web.with(made["access_key"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert_eq!(key.ask("GET", "/api/status", &[], b"").status, 403);
    admin(&cluster, &["admin", USER, "--revoke"]);
    assert_eq!(web.in_browser().ask("GET", "/api/status", &[], b"").status, 403);
}
