//! Pictures of every screen, for the documentation: `scripts/screenshots.sh` runs this.

use std::fs;
use std::path::PathBuf;

use super::browser::sign_in;
use super::client::{Web, start_with};
use super::driver::{Browser, Look, NARROW, WIDE};
use super::support::{Cluster, USER, noise, until};

/// Where the pictures go.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/pictures/web");
    fs::create_dir_all(&folder).unwrap();
    folder
}

const LOOKS: [(&str, Look); 2] = [("wide", Look { height: 900, ..WIDE }), ("narrow", NARROW)];

/// Screens of which there are pictures in both shades; the others are light where they are wide, and dark
/// where they are narrow.
const BOTH: [&str; 4] = ["sign-in", "folder", "uploads", "cluster"];

/// Takes a picture of what is there now.
fn take(browser: &Browser, name: &str, width: &str) {
    for (shade, is_dark) in [("light", false), ("dark", true)] {
        if is_dark != (width == "narrow") && !BOTH.contains(&name) {
            continue;
        }
        browser.set_dark(is_dark);
        // What has just been drawn may still be moving.
        browser.until("document.getAnimations().every((own) => own.playState !== 'running')");
        fs::write(folder().join(format!("{name}-{width}-{shade}.png")), browser.picture()).unwrap();
    }
    browser.set_dark(false);
}

/// An account as a person has one.
fn furnish(cluster: &mut Cluster) -> Web {
    let web = Web::of(cluster);
    for folder in ["Photos", "Photos/2026%20Lisbon", "Music", "Work", "Work/Contracts"] {
        assert_eq!(web.ask("MKCOL", &format!("/dav/{folder}"), &[], b"").status, 201);
    }
    let old = |day: u32| (1_780_000_000 + day * 86_400).to_string();
    let put = |path: &str, day: u32, bytes: &[u8]| {
        let time = old(day);
        let answer = web.ask("PUT", &format!("/dav/{path}"), &[("X-OC-Mtime", &time)], bytes);
        assert!(answer.status < 300, "{path}: {answer:?}");
    };
    put("Photos/harbour.png", 12, &picture());
    put("Photos/evening.png", 13, &picture());
    put("Music/Prelude%20in%20C.mp3", 3, &noise(1, 3_400_000));
    put("Budget%202027.csv", 60, &noise(2, 48_200));
    put(
        "Notes%20from%20the%20meeting%20on%20the%20first%20Thursday%20of%20November%20with%20everybody%20who%20was%20there.md",
        71,
        NOTES.as_bytes(),
    );
    put("archive.zip", 20, &noise(3, 9_200_000));
    put("film.webm", 41, &noise(4, 2_300_000));
    put("reader.md", 80, NOTES.as_bytes());
    put("%C3%9Cbersicht.pdf", 90, &noise(5, 730_000));
    for text in ["a first sketch\n", "a second sketch, longer\n", NOTES] {
        put("plan.md", 91, text.as_bytes());
    }
    put("old.txt", 92, b"not wanted any more");
    web.ask("DELETE", "/dav/old.txt", &[], b"");
    web
}

const NOTES: &str = "# The harbour\n\n- four nodes, any two may be lost\n- what is deleted can be had back\n\n\
                     See you on Thursday, Ann & Bob\n";

/// A picture of its own: a sky over water, as PNG without compression.
fn picture() -> Vec<u8> {
    let (width, height) = (480_u32, 300_u32);
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0);
        for x in 0..width {
            let sun = (i64::from(x) - 340).pow(2) + (i64::from(y) - 120).pow(2) < 1600;
            let wave = y > 180 && (x / 12 + y / 3) % 7 == 0;
            let [r, g, b] = match (sun, y > 180) {
                (true, false) => [255, 220, 130],
                (_, false) => [250 - y / 3, 170 + y / 6, 140 + y / 3],
                (_, true) if wave => [190, 210, 215],
                (_, true) => [30, 90 + (y - 180) / 4, 110 + (y - 180) / 3],
            };
            rows.extend([r, g, b].map(|level| u8::try_from(level.min(255)).unwrap()));
        }
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([8, 2, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &head);
    // Blocks of zlib that are stored as they are.
    let mut stream = vec![0x78, 0x01];
    let blocks: Vec<&[u8]> = rows.chunks(65_535).collect();
    for (at, block) in blocks.iter().enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        stream.push(u8::from(at + 1 == blocks.len()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    let (mut one, mut two) = (1_u32, 0_u32);
    for byte in &rows {
        one = (one + u32::from(*byte)) % 65_521;
        two = (two + one) % 65_521;
    }
    stream.extend((two << 16 | one).to_be_bytes());
    chunk(&mut png, b"IDAT", &stream);
    chunk(&mut png, b"IEND", b"");
    png
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], bytes: &[u8]) {
    png.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    let body = [&kind[..], bytes].concat();
    let mut crc = u32::MAX;
    for byte in &body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    png.extend(body);
    png.extend((!crc).to_be_bytes());
}

#[test]
#[ignore = "makes pictures for the documentation: scripts/screenshots.sh"]
fn every_screen() {
    for (width, look) in LOOKS {
        let Some(browser) = Browser::start(look) else { return };
        let mut cluster = start_with(&["--keep-versions", "7d", "--quota", "50MB"]);
        let web = furnish(&mut cluster);
        super::admin(&cluster, &["admin", USER]);
        let origin = format!("http://{}", web.address);
        screens(&browser, &origin, width, &mut cluster);
    }
}

fn screens(browser: &Browser, origin: &str, width: &str, cluster: &mut Cluster) {
    browser.goto(&format!("{origin}/"));
    take(browser, "sign-in", width);
    let form = "document.querySelector('#user').value = 'demo'; document.querySelector('#password').value = 'wrong'";
    browser.run(form);
    browser.click("button[type=submit]");
    browser.says(".trouble", "wrong");
    take(browser, "wrong-password", width);
    sign_in(browser, origin);
    browser.says("#rows", "plan.md");
    browser.until("document.querySelector('#usage').checkVisibility()");
    take(browser, "folder", width);
    browser.run("for (const name of ['plan.md', 'film.webm']) chooseRow(name, true)");
    take(browser, "selection", width);
    browser.run("ACTS.none(); document.querySelector('#rows tr[data-name=\"Music\"] td.more button').click()");
    take(browser, "menu", width);
    browser.run("document.querySelector('#menu').hidePopover(); rename(entryAt('plan.md'))");
    browser.type_into("#ask-name-value", "film.webm");
    browser.click("#ask-name-do");
    browser.says("#ask-name-trouble", "already");
    take(browser, "name-taken", width);
    browser.run("document.querySelector('#ask-name').close(); moveByDialog([entryAt('plan.md')])");
    browser.says("#move-to-folders", "Photos");
    take(browser, "move", width);
    browser.run("document.querySelector('#move-to').close(); showVersions(entryAt('plan.md'))");
    browser.says("#versions-list", "15 B");
    take(browser, "versions", width);
    browser.run("document.querySelector('#versions').close(); showDeleted()");
    browser.says("#deleted-list", "old.txt");
    take(browser, "deleted", width);
    browser
        .run("document.querySelector('#deleted-names').close(); openPreview(entryAt('plan.md'))");
    browser.says("#preview-body", "The harbour");
    take(browser, "preview-text", width);
    browser.run("document.querySelector('#preview').close(); goTo('Photos')");
    browser.says("#rows", "harbour.png");
    browser.run("openPreview(entryAt('harbour.png'))");
    browser.until("document.querySelector('#preview-body img')?.naturalWidth === 480");
    take(browser, "preview-picture", width);
    browser.run("document.querySelector('#preview').close(); goTo('Work/Contracts')");
    browser.says("#none", "Nothing is here");
    take(browser, "empty", width);
    let now = "goTo('', String(Date.now() * 1000 - 1000000))";
    browser.run(now);
    browser.says("#then", "As it was on");
    browser.says("#rows", "plan.md");
    take(browser, "earlier", width);
    browser.run("goTo('')");
    browser.says("#rows", "plan.md");
    uploads(browser, width, cluster);
    browser.goto(&format!("{origin}/status"));
    browser.says("#nodes", "Node 4");
    take(browser, "cluster", width);
    cluster.node(3).kill();
    browser.says("#troubles", "Node 3 has not answered");
    take(browser, "cluster-node-away", width);
    cluster.node(2).kill();
    browser.goto(&format!("{origin}/files/"));
    browser.until("refreshAccount() && document.querySelector('#banner').checkVisibility()");
    browser.says("#rows", "plan.md");
    take(browser, "nodes-away", width);
    cluster.kill_server();
    browser.run("reload()");
    browser.says("#banner", "cannot be reached");
    take(browser, "server-away", width);
}

/// Uploads of which one is on its way, one is stored and one is more than the quota has left.
fn uploads(browser: &Browser, width: &str, cluster: &mut Cluster) {
    let file = |name: &str, bytes: usize| {
        let path = cluster.path(name);
        fs::write(&path, noise(8, bytes)).unwrap();
        path
    };
    let files =
        [file("holiday.mov", 20 << 20), file("short.txt", 900), file("backup.tar", 45 << 20)];
    let line = serde_json::json!({
        "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4 << 20,
    });
    browser.cdp("Network.enable", &serde_json::json!({}));
    browser.cdp("Network.emulateNetworkConditions", &line);
    browser.give("#pick-files", &files.each_ref().map(std::path::PathBuf::as_path));
    browser.says("#transfers", "Your quota is used up");
    browser.says("#transfers", "left");
    take(browser, "uploads", width);
    until("the upload is given up", || {
        browser.run("uploads.all.slice().forEach(cancel)");
        browser.run("return uploads.all.length") == 0
    });
}
