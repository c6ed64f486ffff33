//! `palk demo --tour`: that what it says has happened, by the server's own log and by what is left on the
//! nodes' disks.

use super::*;

/// What the server has seen, in this order. A node that was away follows the journal, or its piece is rebuilt,
/// whichever is quicker; that it has the file is seen by the rescues below.
const SEEN: &str = "(?s)Connected to all data servers.*\
    stored on 4 of 4 nodes .*/demo/picture.bmp.*\
    retrieved .*/demo/picture.bmp.*result=\"ok\".*\
    connected to data server .*\
    stored on 3 of 4 nodes .*/demo/note.txt.*\
    connected to data server .*\
    the piece of /demo/picture.bmp on data server . is wrong.*\
    1 piece rebuilt .*\
    scrub: done: 2 files, 1 wrong and 0 missing pieces, 1 of them repaired.*\
    deleted .*/demo/picture.bmp.*result=\"ok\".*\
    last change undone .*/demo/picture.bmp.*result=\"ok\".*\
    retrieved .*/demo/picture.bmp.*result=\"ok\".*\
    stopped\n";

#[test]
fn every_step_of_the_tour_has_happened() {
    let folder = tempfile::tempdir().unwrap();
    let told = run(demo(folder.path(), &["--tour", "--keep"])).code(0).stderr(is_empty());
    let said = String::from_utf8(told.get_output().stdout.clone()).unwrap();
    let kept = names(folder.path()).into_iter().find(|name| name.starts_with("palk-demo-"));
    let kept = folder.path().join(kept.unwrap());

    let log = fs::read_to_string(kept.join("logs/server.log")).unwrap();
    assert!(is_match(SEEN).unwrap().eval(&log), "{log}");
    // Whether a read or a probe noticed it, in whichever order.
    assert_eq!(log.matches("lost data server ").count(), 2, "{log}");
    // The node with the flipped bit has seen it, too.
    let (_, flipped) = said.split_once("Flipped a bit in the middle of files_").unwrap();
    let node = &flipped[..1];
    assert!(log.contains(&format!("/demo/picture.bmp on data server {node} is wrong")), "{said}");
    let log = fs::read_to_string(kept.join(format!("logs/node_{node}.log"))).unwrap();
    assert!(log.contains("a unit does not match its checksum"), "{log}");

    // What is shown as the digest is that of the file, which came back.
    let picture = fs::read(kept.join("picture.bmp")).unwrap();
    assert!(fs::read(kept.join("read_back/picture.bmp")).unwrap() == picture);
    let digest = blake3::hash(&picture).to_hex();
    assert_eq!(said.matches(digest.as_str()).count(), 4, "{said}");
    // Any two nodes have both files, the one that was away and the one whose disk went wrong as well.
    for (one, other) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
        let out = folder.path().join(format!("{one}{other}"));
        let mut rescue = palk();
        rescue.current_dir(&kept).arg("rescue");
        rescue.args([format!("files_{one}"), format!("files_{other}")]).arg("--out").arg(&out);
        run(rescue).code(0).stderr(contains("Rescued 2 files"));
        for name in ["picture.bmp", "note.txt"] {
            let rescued = fs::read(out.join("demo").join(name)).unwrap();
            assert!(rescued == fs::read(kept.join(name)).unwrap(), "{name} of {one} and {other}");
        }
    }
}

#[test]
fn the_tour_explains_each_step_in_a_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let told = run(demo(folder.path(), &["--tour"])).code(0).stderr(is_empty());
    let said = String::from_utf8(told.get_output().stdout.clone()).unwrap();
    let chapters: Vec<&str> = said.split("\n\n").filter(|text| text.contains(". ")).collect();
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures/tour.svg");
    let picture = fs::read_to_string(picture).unwrap();
    for number in 1..=5 {
        let title = format!("{number}. ");
        let chapter = chapters.iter().find(|text| text.starts_with(&title));
        let explanation = chapter.and_then(|text| text.lines().nth(1)).unwrap();
        assert!(explanation.ends_with('.') && explanation.len() < 80, "{explanation}");
        assert!(
            picture.contains(explanation),
            "an old picture, see scripts/tour.sh: {explanation}"
        );
    }
    assert_eq!(said.matches("bit for bit\n").count(), 3, "{said}");
    assert!(said.ends_with("\nGoodbye. All processes have ended and the data is removed.\n"));
    assert!(names(folder.path()).is_empty());
}
