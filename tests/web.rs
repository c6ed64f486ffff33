//! `--web`: HTTP and WebDAV on a whole cluster, with what goes wrong, and with the programs that people use.

mod support;

#[path = "web/client.rs"]
mod client;
#[path = "web/keys.rs"]
mod keys;
#[path = "web/programs.rs"]
mod programs;

use std::io::Write;

use client::{Web, start, start_with};
use support::{noise, until};

// ---- HTTP ----

#[test]
fn a_file_is_put_read_in_parts_and_under_conditions() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let bytes = noise(1, 1_500_000);
    let put = web.ask("PUT", "/dav/a.bin", &[], &bytes);
    assert_eq!(put.status, 201, "{put:?}");
    let tag = put.header("etag").unwrap().to_owned();
    let got = web.ask("GET", "/dav/a.bin", &[], b"");
    assert_eq!((got.status, got.header("etag")), (200, Some(tag.as_str())));
    assert!(got.body == bytes);
    assert_eq!(cluster.retrieve("a.bin").unwrap(), bytes, "it is a file like any other");
    let head = web.ask("HEAD", "/dav/a.bin", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1500000")));
    assert!(head.body.is_empty());
    for (range, status, part) in [
        ("bytes=0-9", 206, &bytes[..10]),
        ("bytes=1048570-1048580", 206, &bytes[1_048_570..=1_048_580]),
        ("bytes=-5", 206, &bytes[1_499_995..]),
        ("bytes=1499999-9999999", 206, &bytes[1_499_999..]),
        ("bytes=0-1,5-6", 200, &bytes[..]),
        ("bytes=1500000-", 416, &b"the file has no byte of the range\n"[..]),
    ] {
        let got = web.ask("GET", "/dav/a.bin", &[("Range", range)], b"");
        assert_eq!(got.status, status, "{range}");
        assert!(got.body == part, "{range}");
        let of = got.header("content-range");
        assert_eq!(of.is_some(), status != 200, "{range}");
    }
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (method, header, value, status) in [
        ("GET", "If-None-Match", tag.as_str(), 304),
        ("GET", "If-None-Match", "\"x\"", 200),
        ("GET", "If-Match", "\"x\"", 412),
        ("GET", "If-Unmodified-Since", old, 412),
        ("GET", "If-Modified-Since", old, 200),
        ("HEAD", "If-None-Match", tag.as_str(), 304),
        ("PUT", "If-None-Match", "*", 412),
        ("PUT", "If-Match", "\"x\"", 412),
        ("DELETE", "If-Match", "\"x\"", 412),
        ("PUT", "Content-Range", "bytes 0-1/9", 400),
    ] {
        let got = web.ask(method, "/dav/a.bin", &[(header, value)], b"");
        assert_eq!(got.status, status, "{method} {header}: {value}");
    }
    for (condition, status) in [(tag.as_str(), 206), ("\"x\"", 200), (old, 200)] {
        let headers = [("Range", "bytes=0-1"), ("If-Range", condition)];
        assert_eq!(web.ask("GET", "/dav/a.bin", &headers, b"").status, status, "{condition}");
    }
    let put = web.ask("PUT", "/dav/a.bin", &[("If-Match", &tag)], b"new");
    assert_eq!(put.status, 204, "{put:?}");
    assert_eq!(web.ask("PUT", "/dav/a.bin", &[("If-Match", &tag)], b"newer").status, 412);
    assert_eq!(web.ask("GET", "/dav/a.bin", &[], b"").body, b"new");
}

#[test]
fn nothing_is_given_as_something_that_a_browser_runs() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    for name in ["a.html", "a.svg", "a.png", "a"] {
        web.ask("PUT", &format!("/dav/{name}"), &[], b"<script>alert(1)</script>");
        let got = web.ask("GET", &format!("/dav/{name}"), &[], b"");
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
        assert!(got.header("content-security-policy").unwrap().contains("sandbox"));
        let kind = got.header("content-type").unwrap();
        assert!(kind == "image/png" || kind == "application/octet-stream", "{name}: {kind}");
    }
    // Neither a form nor a script of another page can do anything that is not asked for first.
    let asked = web.ask("OPTIONS", "/dav/a", &[("Origin", "https://evil.example")], b"");
    assert_eq!(asked.header("access-control-allow-origin"), None);
    assert_eq!(web.ask("POST", "/dav/a", &[], b"a=b").status, 405);
}

#[test]
fn an_address_leads_nowhere_else() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    for path in ["/dav/../x", "/dav/%2e%2e/x", "/dav//x", "/dav/a%2Fb", "/dav/a%00", "/dav/%ff"] {
        let put = web.ask("PUT", path, &[], b"x");
        assert_eq!(put.status, 400, "{path}");
    }
    assert_eq!(web.ask("GET", "/etc/passwd", &[], b"").status, 404);
    let unsigned = web.raw("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(unsigned.starts_with("HTTP/1.1 200 OK") && unsigned.contains("\"serves\":true"));
}

// ---- bodies ----

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let long = noise(2, 3 << 20);
    web.ask("PUT", "/dav/old", &[], b"what was there");
    for name in ["old", "new"] {
        let lengths = ["Content-Length: 4000000", "Transfer-Encoding: chunked"];
        for (length, bytes) in
            lengths.iter().flat_map(|length| [(length, &long[..]), (length, b"x")])
        {
            let mut socket = web.connect();
            let head = web.head("PUT", &format!("/dav/{name}"), &[]);
            write!(socket, "{head}{length}\r\n\r\n").unwrap();
            if length.starts_with("Transfer") {
                write!(socket, "{:x}\r\n", bytes.len()).unwrap();
            }
            socket.write_all(bytes).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            // Whatever it says, it has come to an end with it then.
            let answer = client::rest(&mut socket);
            assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
        }
    }
    assert_eq!(web.ask("GET", "/dav/old", &[], b"").body, b"what was there");
    assert_eq!(web.ask("GET", "/dav/new", &[], b"").status, 404);
    let uploads = cluster.client(&["uploads", "--json"]);
    let told = String::from_utf8(uploads.stdout).unwrap();
    assert!(told.contains("\"uploads\":0"), "{told}");
}

#[test]
fn a_body_of_unknown_length_is_stored_whole() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let mib = 1 << 20;
    for (n, length) in (0..).zip([0, 1, mib - 1, mib, mib + 1, 3 * mib, 5 * mib + 77]) {
        let bytes = noise(n, length);
        let path = format!("/dav/{length}");
        let put = web.ask_chunked("PUT", &path, &[], &bytes);
        assert_eq!(put.status, 201, "{length}: {put:?}");
        assert!(web.ask("GET", &path, &[], b"").body == bytes, "{length}");
        assert!(cluster.retrieve(&length.to_string()).unwrap() == bytes, "{length}");
    }
    let bytes = noise(9, 100_000);
    let length = [("X-Expected-Entity-Length", "100000")];
    assert_eq!(web.ask_chunked("PUT", "/dav/mac", &length, &bytes).status, 201);
    for wrong in ["99999", "100001"] {
        let length = [("X-Expected-Entity-Length", wrong)];
        assert_eq!(web.ask_chunked("PUT", "/dav/other", &length, &bytes).status, 400, "{wrong}");
    }
    assert_eq!(web.ask("GET", "/dav/other", &[], b"").status, 404);
}

#[test]
fn what_is_too_big_or_over_the_quota_is_refused_and_leaves_nothing() {
    let mut cluster = start_with(&["--max-file-size", "3MB", "--quota", "4MB"]);
    let web = Web::of(&mut cluster);
    let bytes = noise(3, 2_500_000);
    assert_eq!(web.ask("PUT", "/dav/a", &[], &noise(4, 3_500_000)).status, 413);
    assert_eq!(web.ask_chunked("PUT", "/dav/a", &[], &noise(4, 3_500_000)).status, 413);
    // A part of an upload is no longer than there is room.
    assert_eq!(web.ask_chunked("PUT", "/dav/a", &[], &bytes).status, 201);
    assert_eq!(web.ask("PUT", "/dav/b", &[], &bytes).status, 507);
    assert_eq!(web.ask_chunked("PUT", "/dav/b", &[], &bytes).status, 507);
    assert_eq!(web.ask("COPY", "/dav/a", &[("Destination", "/dav/b")], b"").status, 507);
    assert_eq!(web.ask("GET", "/dav/b", &[], b"").status, 404);
    assert!(web.ask("GET", "/dav/a", &[], b"").body == bytes);
}

// ---- nodes that are away ----

#[test]
fn with_two_nodes_files_are_read_and_nothing_is_half_done() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let bytes = noise(5, 2 << 20);
    assert_eq!(web.ask("PUT", "/dav/a", &[], &bytes).status, 201);
    cluster.node(1).kill();
    cluster.node(3).kill();
    until("it is known", || web.ask("GET", "/health", &[], b"").status == 503);
    assert!(web.ask("GET", "/dav/a", &[], b"").body == bytes);
    for (method, headers) in [
        ("PUT", &[][..]),
        ("DELETE", &[]),
        ("MOVE", &[("Destination", "/dav/b")]),
        ("COPY", &[("Destination", "/dav/b")]),
    ] {
        let refused = web.ask(method, "/dav/a", headers, b"");
        assert_eq!(refused.status, 503, "{method}: {refused:?}");
        assert!(refused.text().contains("at least 3"), "{method}: {refused:?}");
    }
    assert_eq!(web.ask("MKCOL", "/dav/x", &[], b"").status, 503);
    assert!(web.ask("GET", "/dav/a", &[], b"").body == bytes);
    cluster.start_node(1);
    cluster.start_node(3);
    until("it can be changed again", || web.ask("MKCOL", "/dav/x", &[], b"").status == 201);
}

// ---- WebDAV ----

#[test]
fn a_move_or_copy_onto_something_is_one_change_and_can_be_undone() {
    let mut cluster = start_with(&["--keep-versions", "1h"]);
    let web = Web::of(&mut cluster);
    let put = |path: &str, body: &str| {
        assert!(web.ask("PUT", path, &[], body.as_bytes()).status < 300, "{path}");
    };
    let relocate = |method: &str, from: &str, to: &str, more: &[(&str, &str)]| {
        let headers = [&[("Destination", to)], more].concat();
        web.ask(method, from, &headers, b"").status
    };
    let get = |path: &str| web.ask("GET", path, &[], b"").text();
    for folder in ["/dav/f/", "/dav/g/", "/dav/g/deep"] {
        assert_eq!(web.ask("MKCOL", folder, &[], b"").status, 201, "{folder}");
    }
    put("/dav/a", "a");
    put("/dav/b", "b");
    put("/dav/f/x", "x of f");
    put("/dav/g/y", "y of g");
    let keep = [("Overwrite", "F")];
    for method in ["MOVE", "COPY"] {
        assert_eq!(relocate(method, "/dav/a", "/dav/b", &keep), 412, "{method}");
        assert_eq!(relocate(method, "/dav/f", "/dav/g", &keep), 412, "{method}");
        assert_eq!(relocate(method, "/dav/a", "/dav/none/b", &[]), 409, "{method}");
        assert_eq!(relocate(method, "/dav/a", "/dav/a", &[]), 403, "{method}");
        assert_eq!(relocate(method, "/dav/f", "/dav/f/f", &[]), 403, "{method}");
        assert_eq!(relocate(method, "/dav/none", "/dav/b", &[]), 404, "{method}");
        assert_eq!(relocate(method, "/dav/a", "http://other/dav/b", &[]), 502, "{method}");
    }
    assert_eq!([get("/dav/a"), get("/dav/b")], ["a", "b"], "nothing has changed");
    // A file over a file, a folder over a folder, and each over the other.
    assert_eq!(relocate("COPY", "/dav/a", "/dav/b", &[]), 204);
    assert_eq!([get("/dav/a"), get("/dav/b")], ["a", "a"]);
    assert!(cluster.client(&["undo", "b"]).status.success());
    assert_eq!(get("/dav/b"), "b");
    assert_eq!(relocate("COPY", "/dav/f", "/dav/g", &[]), 204);
    assert_eq!([get("/dav/g/x"), get("/dav/f/x")], ["x of f", "x of f"]);
    assert_eq!(web.ask("GET", "/dav/g/y", &[], b"").status, 404);
    assert!(cluster.client(&["undo", "g"]).status.success());
    assert_eq!(get("/dav/g/y"), "y of g");
    assert_eq!(relocate("COPY", "/dav/f", "/dav/g", &[("Depth", "0")]), 204);
    assert_eq!(get("/dav/g/"), "");
    assert!(cluster.client(&["undo", "g"]).status.success());
    assert_eq!(relocate("COPY", "/dav/a", "/dav/g", &[]), 204);
    assert_eq!(get("/dav/g"), "a");
    assert_eq!(relocate("MOVE", "/dav/f", "/dav/g", &[]), 204);
    assert_eq!(get("/dav/g/x"), "x of f");
    assert_eq!(relocate("MOVE", "/dav/a", "/dav/g", &[]), 204);
    assert_eq!((get("/dav/g"), web.ask("GET", "/dav/a", &[], b"").status), ("a".into(), 404));
    assert_eq!(relocate("MOVE", "/dav/g", "/dav/a", &[]), 201);
    assert_eq!(web.ask("DELETE", "/dav/a", &[], b"").status, 204);
    assert!(cluster.client(&["undo", "a"]).status.success());
    assert_eq!(get("/dav/a"), "a");
}

const SET: &str = "<propertyupdate xmlns='DAV:'><set><prop><note xmlns='urn:x'>a &amp; b</note></prop></set>\
    </propertyupdate>";
const NOTE: &str = "<note xmlns=\"urn:x\">a &amp; b</note>";

#[test]
fn properties_outlive_another_version_a_move_a_restart_and_the_loss_of_the_server() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    web.ask("PUT", "/dav/a", &[], b"one");
    let patched = web.ask("PROPPATCH", "/dav/a", &[], SET.as_bytes());
    assert_eq!(patched.status, 207, "{patched:?}");
    assert!(patched.text().contains("200 OK"), "{patched:?}");
    let live = SET.replace("note xmlns='urn:x'", "getetag").replace("/note", "/getetag");
    assert!(web.ask("PROPPATCH", "/dav/a", &[], live.as_bytes()).text().contains("403 Forbidden"));
    web.ask("PUT", "/dav/a", &[], b"two");
    web.ask("MKCOL", "/dav/f", &[], b"");
    web.ask("MOVE", "/dav/a", &[("Destination", "/dav/f/b")], b"");
    web.ask("COPY", "/dav/f/b", &[("Destination", "/dav/f/c")], b"");
    let has_both = |web: &Web| {
        let found = web.ask("PROPFIND", "/dav/f", &[("Depth", "1")], b"");
        assert_eq!(found.status, 207, "{found:?}");
        assert_eq!(found.text().matches(NOTE).count(), 2, "{found:?}");
    };
    has_both(&web);
    cluster.kill_server();
    cluster.restart_server();
    has_both(&Web::of(&mut cluster));
    cluster.kill_server();
    std::fs::remove_dir_all(cluster.path("user_database")).unwrap();
    let recovered = cluster.recover("user_database", &[1, 2, 3, 4]);
    assert!(recovered.status.success(), "{recovered:?}");
    cluster.restart_server();
    has_both(&Web::of(&mut cluster));
}

#[test]
fn a_listing_has_everything_however_long_it_is() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    web.ask("MKCOL", "/dav/f", &[], b"");
    for n in 0..300 {
        assert_eq!(web.ask("MKCOL", &format!("/dav/f/{n}%20%26"), &[], b"").status, 201);
    }
    web.ask("PUT", "/dav/f/1%20%26/file", &[], b"12345");
    let found = web.ask("PROPFIND", "/dav/f", &[("Depth", "1")], b"").text();
    assert_eq!(found.matches("<D:response>").count(), 301);
    assert!(
        found.contains("<D:href>/dav/f/299%20%26/</D:href>") && found.ends_with("multistatus>\n")
    );
    let found = web.ask("PROPFIND", "/dav/f", &[("Depth", "infinity")], b"").text();
    assert_eq!(found.matches("<D:response>").count(), 302);
    assert!(found.contains("<D:getcontentlength>5</D:getcontentlength>"));
    assert_eq!(
        web.ask("PROPFIND", "/dav/f", &[("Depth", "0")], b"")
            .text()
            .matches("<D:response>")
            .count(),
        1
    );
    assert_eq!(web.ask("PROPFIND", "/dav/f", &[], b"<nonsense").status, 400);
    // What macOS looks for everywhere is not there, and nobody asks a node for that.
    for name in ["/dav/._f", "/dav/.DS_Store"] {
        assert_eq!(web.ask("PROPFIND", name, &[("Depth", "0")], b"").status, 404);
    }
}

#[test]
fn what_is_locked_is_changed_by_whoever_has_the_lock() {
    let mut cluster = start();
    let web = Web::of(&mut cluster);
    let body = "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope>\
        <locktype><write/></locktype><owner>me</owner></lockinfo>";
    let locked = web.ask("LOCK", "/dav/a", &[("Timeout", "Infinite")], body.as_bytes());
    assert_eq!(locked.status, 201, "an empty file: {locked:?}");
    assert!(locked.text().contains("Second-3600"), "no lock lasts for ever: {locked:?}");
    let token = locked.header("lock-token").unwrap().to_owned();
    let condition = format!("({token})");
    let own = [("If", condition.as_str())];
    assert_eq!(web.ask("LOCK", "/dav/a", &[], body.as_bytes()).status, 423);
    let refused = web.ask("PUT", "/dav/a", &[], b"x");
    assert_eq!(refused.status, 423);
    assert!(refused.text().contains("lock-token-submitted"), "{refused:?}");
    for (method, to) in [("DELETE", None), ("MOVE", Some("/dav/b")), ("PROPPATCH", None)] {
        let to: Vec<_> = to.into_iter().map(|to| ("Destination", to)).collect();
        assert_eq!(web.ask(method, "/dav/a", &to, SET.as_bytes()).status, 423, "{method}");
    }
    assert_eq!(web.ask("PUT", "/dav/a", &own, b"mine").status, 204);
    assert_eq!(web.ask("LOCK", "/dav/a", &own, b"").status, 200);
    let wrong = [("If", "(<urn:uuid:00000000-0000-0000-0000-000000000000>)")];
    assert_eq!(web.ask("PUT", "/dav/a", &wrong, b"x").status, 412);
    assert_eq!(web.ask("UNLOCK", "/dav/a", &[("Lock-Token", &token)], b"").status, 204);
    assert_eq!(web.ask("PUT", "/dav/a", &[], b"free").status, 204);
    assert_eq!(web.ask("GET", "/dav/a", &[], b"").body, b"free");
}
