//! The page in a real browser, as people use it, wide and narrow.

use std::fs;

use super::client::{address, start, start_with};
use super::driver::{Browser, Look, NARROW, WIDE};
use super::support::{Cluster, PASSWORD, USER, noise};

const ENTER: &str = "\u{E007}";
const DELETE: &str = "\u{E017}";
const DOWN: &str = "\u{E015}";
const F2: &str = "\u{E032}";
const ESCAPE: &str = "\u{E00C}";

/// A cluster that keeps what was, and a browser on it.
fn begin(look: Look) -> Option<(Cluster, Browser, String)> {
    let browser = Browser::start(look)?;
    let mut cluster = start_with(&["--keep-versions", "1h"]);
    let origin = format!("http://{}", address(&mut cluster));
    Some((cluster, browser, origin))
}

pub(crate) fn sign_in(browser: &Browser, origin: &str) {
    browser.goto(&format!("{origin}/"));
    browser.type_into("#user", USER);
    browser.type_into("#password", PASSWORD);
    browser.click("button[type=submit]");
    browser
        .until("location.pathname === '/files/' && document.querySelector('#tools:not([hidden])')");
}

/// The row of a name.
fn row(name: &str) -> String {
    format!("#rows tr[data-name=\"{name}\"]")
}

/// What a person does on a usual day.
fn a_day(look: Look) {
    let Some((cluster, browser, origin)) = begin(look) else { return };
    let file = cluster.path("letter to Ann.txt");
    fs::write(&file, "Dear Ann,\nthis is <b>only</b> text.\n").unwrap();

    browser.goto(&format!("{origin}/"));
    browser.type_into("#user", USER);
    browser.type_into("#password", "wrong");
    browser.click("button[type=submit]");
    browser.says(".trouble", "the user name or the password is wrong");
    browser.check_page();
    sign_in(&browser, &origin);
    browser.says("#none", "Nothing is here yet");

    browser.click("#new-folder");
    browser.type_into("#ask-name-value", "Letters & <more>");
    browser.click("#ask-name-do");
    browser.click(&format!("{} td.name a", row("Letters & <more>")));
    browser.until("decodeURIComponent(location.pathname) === '/files/Letters & <more>/'");
    browser.give("#pick-files", &[&file]);
    browser.says("#transfers", "stored");
    browser.click("#transfers-clear");
    browser.says(&row("letter to Ann.txt"), "36 B");
    browser.check_page();

    browser.click(&format!("{} td.name a", row("letter to Ann.txt")));
    browser.says("#preview-body pre", "this is <b>only</b> text.");
    browser.check_page();
    browser.press("#preview button", "Close");

    browser.click(&format!("{} td.more button", row("letter to Ann.txt")));
    browser.press("#menu button", "Rename");
    browser.type_into("#ask-name-value", "dear.txt");
    browser.click("#ask-name-do");
    browser.says("#rows", "dear.txt");
    fs::write(cluster.path("dear.txt"), "another one").unwrap();
    browser.give("#pick-files", &[&cluster.path("dear.txt")]);
    browser.says("#confirm", "There is a file called dear.txt already");
    browser.press("#confirm button", "Replace");
    browser.says(&row("dear.txt"), "11 B");

    browser.click(&format!("{} td.more button", row("dear.txt")));
    browser.press("#menu button", "Versions");
    browser.says("#versions-list", "36 B");
    browser.press("#versions-list button", "Restore");
    browser.says(&row("dear.txt"), "36 B");
    browser.press("#versions button", "Close");

    browser.click(&format!("{} td.more button", row("dear.txt")));
    browser.press("#menu button", "Delete");
    browser.until("!document.querySelector('#rows tr')");
    browser.press("#toasts div:last-child button", "Undo");
    browser.says(&row("dear.txt"), "36 B");
    browser.check_page();

    browser.press(".top button", "Sign out");
    browser.until("location.pathname === '/sign-in'");
    browser.goto(&format!("{origin}/files/"));
    browser.until("location.pathname === '/sign-in'");
}

#[test]
fn a_day_at_1600_pixels() {
    a_day(WIDE);
}

#[test]
fn a_day_at_360_pixels() {
    a_day(NARROW);
}

#[test]
fn everything_is_done_with_the_keyboard_alone() {
    let Some((mut cluster, browser, origin)) = begin(WIDE) else { return };
    let web = super::Web::of(&mut cluster);
    for name in ["b.txt", "a.txt", "c.txt"] {
        web.ask("PUT", &format!("/dav/{name}"), &[], b"text");
    }
    sign_in(&browser, &origin);
    browser.says("#rows", "c.txt");
    browser.keys(DOWN);
    browser.until("document.activeElement.textContent === 'a.txt'");
    browser.keys(DOWN);
    browser.until("document.activeElement.textContent === 'b.txt'");
    browser.keys(F2);
    browser.until("document.querySelector('#ask-name').open");
    browser.type_into("#ask-name-value", "a.txt");
    browser.keys(ENTER);
    browser.says("#ask-name-trouble", "There is something called a.txt already");
    browser.type_into("#ask-name-value", "z.txt");
    browser.keys(ENTER);
    browser.until("document.activeElement.textContent === 'z.txt'");
    browser.keys(" ");
    browser.says("#selection-count", "1 selected");
    browser.keys(DELETE);
    browser.until("!document.querySelector('#rows').innerText.includes('z.txt')");
    browser.keys("/");
    browser.keys("c.");
    browser.until("document.querySelectorAll('#rows tr').length === 1");
    browser.keys("\u{E004}");
    browser.run("document.querySelector('#rows td.name a').focus()");
    browser.keys(ENTER);
    browser.says("#preview-body", "text");
    browser.keys(ESCAPE);
    browser.until("!document.querySelector('#preview').open");
    browser.check_page();
}

#[test]
fn a_long_upload_is_paused_and_goes_on_in_another_visit() {
    let Some((cluster, browser, origin)) = begin(WIDE) else { return };
    let bytes = noise(7, 24 << 20);
    let file = cluster.path("film.mp4");
    fs::write(&file, &bytes).unwrap();
    sign_in(&browser, &origin);
    let slow = |rate: i64| {
        browser.cdp("Network.enable", &serde_json::json!({}));
        let line = serde_json::json!({
            "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate,
        });
        browser.cdp("Network.emulateNetworkConditions", &line);
    };
    slow(4 << 20);
    browser.give("#pick-files", &[&file]);
    browser.until("document.querySelector('#transfers progress')?.value > 0.2");
    browser.says("#transfers .state", "/s");
    browser.press("#transfers button", "Pause");
    browser.says("#transfers .state", "paused");
    // The server notices it a moment later.
    browser.until(
        "(() => { const own = new XMLHttpRequest(); own.open('GET', '/api/uploads/', false); own.send();
          return JSON.parse(own.responseText)[0].arrived > 0; })()",
    );
    browser.goto(&format!("{origin}/files/"));
    browser.says("#transfers .state", "have come in an earlier visit");
    slow(-1);
    browser.give("#pick-files", &[&file]);
    browser.says("#transfers .state", "stored");
    browser.says("#rows", "film.mp4");
    assert!(cluster.retrieve("film.mp4").unwrap() == bytes);
}

#[test]
fn what_goes_wrong_is_said() {
    let Some((mut cluster, browser, origin)) = begin(WIDE) else { return };
    sign_in(&browser, &origin);
    cluster.node(1).kill();
    cluster.node(2).kill();
    browser.until("refreshAccount() && document.querySelector('#banner').checkVisibility()");
    browser.says("#banner", "nothing can be stored or changed now: 2 of 4 nodes are there");
    browser.click("#new-folder");
    browser.type_into("#ask-name-value", "x");
    browser.click("#ask-name-do");
    browser.says("#ask-name-trouble", "at least 3");
    browser.keys(ESCAPE);
    cluster.start_node(1);
    cluster.start_node(2);
    browser.until("refreshAccount() && !document.querySelector('#banner').checkVisibility()");
    cluster.kill_server();
    browser.run("reload()");
    browser.says("#banner", "The server cannot be reached");
    // It is at the same address again for the page only if the system gives it the same port.
    drop(browser);
}

#[test]
fn without_a_script_a_folder_is_read_and_files_come() {
    let look = Look { has_script: false, ..WIDE };
    let Some(browser) = Browser::start(look) else { return };
    let mut cluster = start();
    let web = super::Web::of(&mut cluster);
    web.ask("MKCOL", "/dav/f", &[], b"");
    web.ask("PUT", "/dav/f/a.bin", &[], b"bytes of a file");
    let origin = format!("http://{}", web.address);
    browser.goto(&format!("{origin}/files/f/"));
    browser.type_into("#user", USER);
    browser.type_into("#password", PASSWORD);
    browser.click_plain("button[type=submit]");
    let page = browser.source();
    assert!(page.contains("15 B") && page.contains("href=\"/dav/f/a.bin\""), "{page}");
    browser.click_plain("td.name a");
    let file = browser.downloads().join("a.bin");
    super::support::until("it has come", || {
        fs::read(&file).is_ok_and(|own| own == b"bytes of a file")
    });
}
