//! Folders, conditions of a store, and listings of more than a page.

use super::*;

const NOT_KEPT: &str = "E\r\nthe other side does not keep to the protocol: ";

#[test]
fn an_extended_client_makes_removes_and_moves() {
    let done = "S\r\n\r\n";
    asking_extended(
        &[b"MKD\r\n/new\r\n\r\n", b"MKD\r\n/test\r\n\r\n", b"MKD\r\n/test\r\nparents=yes\r\n\r\n"],
        &[
            "<make /new false>",
            done,
            "<make /test false>",
            "E\r\nthere is a folder test already\r\nexists\r\n\r\n",
            "<make /test true>",
            done,
        ],
    );
    asking_extended(
        &[b"RMD\r\n/test\r\n\r\n", b"RMD\r\n/test\r\nrecursive=yes\r\n\r\n"],
        &[
            "<remove /test false>",
            "E\r\nthe folder test is not empty\r\nnot-allowed\r\n\r\n",
            "<remove /test true>",
            "S\r\nfolders=1\r\nfiles=2\r\n\r\n",
        ],
    );
    asking_extended(
        &[b"MOV\r\n/a\r\n/test\r\n\r\n", b"MOV\r\n/a\r\n/test\r\nreplace=yes\r\n\r\n"],
        &[
            "<move /a /test false>",
            "E\r\ntest/a already exists\r\nexists\r\n\r\n",
            "<move /a /test true>",
            "S\r\nto=/test/a\r\nfolder=false\r\nfiles=1\r\nreplaced=true\r\n\r\n",
        ],
    );
    asking_extended(
        &[
            b"CPY\r\n/a\r\n/test\r\n\r\n",
            b"CPY\r\n/a\r\n/test\r\nreplace=yes\r\nrecursive=yes\r\n\r\n",
        ],
        &[
            "<copy /a /test false false>",
            "S\r\nto=/test/a\r\nfolder=false\r\nfiles=1\r\nreplaced=false\r\n\r\n",
            "<copy /a /test true true>",
            "S\r\nto=/test/a\r\nfolder=true\r\nfiles=1\r\nreplaced=true\r\n\r\n",
        ],
    );
}

#[test]
fn an_extended_client_changes_what_a_file_keeps_besides_its_bytes() {
    let version = "11".repeat(16);
    let set = format!("ATR\r\n/test/yeet.txt\r\n{version}\r\nmodified_ms=7\r\n\r\n");
    let link = format!("ATR\r\n/no\r\n{version}\r\nlink=yes\r\n\r\n");
    let attributes = "FileAttributes { modified_ms: Some(7), kind: None }";
    asking_extended(
        &[set.as_bytes(), link.as_bytes()],
        &[
            &format!("<set /test/yeet.txt {version} {attributes}>"),
            "S\r\n\r\n",
            &format!(
                "<set /no {version} FileAttributes {{ modified_ms: None, kind: Some(Link) }}>"
            ),
            "E\r\nthere is no file no\r\nno-such-file\r\n\r\n",
        ],
    );
}

#[test]
fn what_is_wrong_with_a_request_about_folders_costs_one_answer() {
    for (message, what) in [
        (&b"MKD\r\n\r\n"[..], "wrong number of fields for MKD"),
        (b"MKD\r\n/a\r\nrecursive=yes\r\n\r\n", "unknown option \"recursive=yes\""),
        (b"RMD\r\n/a\r\n/b\r\n\r\n", "unknown option \"/b\""),
        (b"MOV\r\n/a\r\n\r\n", "wrong number of fields for MOV"),
        (b"CPY\r\n/a\r\n/b\r\nparents=yes\r\n\r\n", "unknown option \"parents=yes\""),
        (b"INF\r\n/a\r\nscope=some\r\n\r\n", "unknown option \"scope=some\""),
        (b"STR\r\n/a\r\n3\r\nif-version=7\r\n\r\n", "\"7\" is not a version"),
        (
            b"STR\r\n/a\r\n3\r\nif=present\r\nreplace=no\r\n\r\n",
            "a store has one condition at most",
        ),
    ] {
        let said = format!("{NOT_KEPT}{what}\r\nversion\r\n\r\n");
        asking_extended(&[message, b"DEL\r\n/test/yeet.txt\r\n\r\n"], &[&said, "S\r\n\r\n"]);
    }
    let bad = format!("E\r\n{}\r\nbad-path\r\n\r\n", PathError::Dots("..".into()));
    asking_extended(&[b"RMD\r\n/a/..\r\n\r\n"], &[&bad]);
    let nothing = format!("E\r\n{}\r\nbad-path\r\n\r\n", PathError::EmptyName);
    asking_extended(&[b"MOV\r\n/\r\n/a\r\n\r\n"], &[&nothing]);
    // None of them is a request of the specified session.
    asking(&[b"MKD\r\na\r\n\r\n", INF], &["E\r\nERROR Opcode was invalid!\r\n\r\n", LISTED]);
    let long = "E\r\nERROR Received too many lines for opcode:INF\r\n\r\n";
    asking(&[b"INF\r\n/test\r\n\r\n", INF], &[long, LISTED]);
}

#[test]
fn a_store_is_refused_on_its_condition_before_its_bytes() {
    let gone = "S\r\n\r\n";
    let turns: &[&[u8]] =
        &[b"STR\r\n/a\r\n3\r\nif=present\r\n\r\n", b"DEL\r\n/test/yeet.txt\r\n\r\n"];
    asking_extended(turns, &["E\r\nthere is no file a\r\nno-such-file\r\n\r\n", gone]);
    let other = format!("STR\r\n/test/yeet.txt\r\n3\r\nif-version={}\r\n\r\n", "22".repeat(16));
    let changed = "E\r\ntest/yeet.txt was changed meanwhile by ann from 10.0.0.2:4000, \
                   at 2023-11-14T22:13:20Z\r\nchanged\r\n\r\n";
    asking_extended(&[other.as_bytes(), b"DEL\r\n/test/yeet.txt\r\n\r\n"], &[changed, gone]);
    let same = format!("STR\r\n/test/yeet.txt\r\n3\r\nif-version={VERSION}\r\n\r\n");
    let stored = format!("S\r\nversion={VERSION}\r\nnodes=3\r\nblake3={BLAKE3}\r\n\r\n");
    asking_extended(&[same.as_bytes(), &chunks(b"abc")], &["S\r\nsend\r\n\r\n", &stored]);
}

#[test]
fn a_listing_may_be_of_one_folder() {
    let listed =
        format!("S\r\nD\t/test\r\nF\t/test/yeet.txt\t5\t5\t{VERSION}\t{BLAKE3}\t15\r\n\r\n");
    for (message, asked) in [
        (&b"INF\r\n/test\r\n\r\n"[..], "<list /test All>"),
        (b"INF\r\n/test/\r\nscope=children\r\n\r\n", "<list /test Children>"),
        (b"INF\r\n/test\r\nscope=self\r\n\r\n", "<list /test Itself>"),
    ] {
        asking_extended(&[message], &[asked, &listed]);
    }
    asking_extended(&[b"INF\r\n/\r\n\r\n"], &[&listed]);
}

/// What is said of a listing in pages of one entry, after the welcome.
fn page_by_page(dialect: Dialect, hello: &[&[u8]]) -> Vec<String> {
    let mut stage = Stage::new(dialect);
    stage.page_entries = 1;
    stage.files.insert("b".into(), b"hello".to_vec());
    for turn in hello.iter().chain(&[INF]) {
        stage.play(&[turn]);
    }
    said(&stage)[hello.len()..].to_vec()
}

#[test]
fn a_long_listing_is_said_page_by_page() {
    let extended: &[&[u8]] = &[b"HI\r\npalk 1\r\n\r\n", b"LGN\r\ndemo\r\nyeet123\r\n\r\n"];
    let told = page_by_page(Dialect::Spec, &[HI, DEMO]);
    assert_eq!(told, ["S\r\n/demo/b\r\n", "/demo/test\r\n", "/demo/test/yeet.txt\r\n\r\n"]);
    let told = page_by_page(Dialect::Spec, extended);
    assert_eq!(told.len(), 3);
    assert!(told[0].starts_with("S\r\nF\t/b\t") && told[2].ends_with("\r\n\r\n"), "{told:?}");
    // One segment, whatever it is made of.
    let told = page_by_page(Dialect::Year2020, &[HI, DEMO]);
    assert_eq!(told, ["/demo/b\n/demo/test\n/demo/test/yeet.txt\n"]);
}

#[test]
fn a_listing_that_breaks_off_ends_the_connection_without_a_word() {
    let entry = || Entry::Folder(FolderPath::parse("a").unwrap());
    for (pages, ends) in [(0, "said"), (1, "said"), (2, "mute")] {
        for turned_away in [false, true] {
            let mut session = Session::new(Dialect::Spec);
            session.receive(&[HI, DEMO, INF].concat());
            let mut listed = 0;
            let mut sent = Vec::new();
            loop {
                match session.next_step() {
                    Step::Send(bytes) => sent.push(String::from_utf8(bytes).unwrap()),
                    Step::SignIn { .. } => session.signed_in(Ok(UserName::parse("demo").unwrap())),
                    Step::List { .. } | Step::ListOn if listed < pages => {
                        listed += 1;
                        session.listed(Ok(vec![entry()]));
                    }
                    Step::List { .. } | Step::ListOn if turned_away => session.turn_away("later"),
                    Step::List { .. } | Step::ListOn => session.listed(Err(Error::NotSignedIn)),
                    Step::Close => sent.push("<close>".into()),
                    _ => sent.push("<read>".into()),
                }
                if sent.last().is_some_and(|last| last.starts_with('<')) {
                    break;
                }
            }
            let rest = sent[2..].concat();
            let expected = match (ends, turned_away) {
                ("mute", _) => "S\r\n/demo/a\r\n<close>",
                (_, true) => "D\r\nlater\r\n\r\n<close>",
                (_, false) => "E\r\nERROR sign in first\r\n\r\n<read>",
            };
            assert_eq!(rest, expected, "after {pages} pages");
        }
    }
}
