//! Rescues from folders that are written here byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::core::code::coded::CodedStripe;
use crate::core::io::disk::{RealDisk, create_folders};
use crate::core::path::{FilePath, FolderPath, block_file_name};
use crate::core::types::{Digest, Moment, Seq, VersionId};
use crate::core::wire::journal::{Change, Entry, Point, Told};
use crate::core::wire::node::Place;
use crate::core::wire::snapshot::{
    self, Logged, SegmentHead, SnapshotHead, frame, frame_of, segment_name, snapshot_name,
};
use crate::core::wire::trailer::{Header, Trailer};

const PAIRS: [[u8; 2]; 6] = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];

fn user() -> UserName {
    UserName::parse("demo").unwrap()
}

fn path(text: &str) -> FilePath {
    FilePath::parse_rooted(text).unwrap()
}

fn place(text: &str) -> Place {
    Place { user: user(), path: path(text) }
}

fn id(node: u8) -> NodeId {
    NodeId::new(node).unwrap()
}

fn start() -> Point {
    Point::start(ClusterId([9; 16]))
}

fn content(n: u8) -> Vec<u8> {
    vec![n; 1000 + usize::from(n)]
}

/// Version `n` becomes the file of this name.
fn stored(n: u8, at: &str) -> Change {
    Change::Stored {
        place: place(at),
        version: VersionId([n; 16]),
        seq: Seq(n.into()),
        bytes: content(n).len() as u64,
        blake3: Digest(*blake3::hash(&content(n)).as_bytes()),
        stored_ms: 0,
        placed: NodeSet::ALL,
        inline: false,
        by: String::new(),
        attributes: Default::default(),
    }
}

fn moved(from: &str, to: &str) -> Change {
    Change::Moved { user: user(), from: path(from), to: path(to) }
}

fn made() -> Change {
    Change::UserMade { user: user(), password: String::new(), created_ms: 0 }
}

/// The entries of these changes behind a point.
fn entries(mut after: Point, epoch: u64, changes: &[Change]) -> Vec<Logged> {
    let logged = |change: &Change| {
        let entry = Entry::after(after, epoch, 0, change.encode().unwrap());
        after = entry.point();
        Logged { entry, piece: None }
    };
    changes.iter().map(logged).collect()
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        for node in 1..=4 {
            fs::create_dir_all(bench.at(node, ".palk/pieces")).unwrap();
            fs::create_dir(bench.at(node, "backup")).unwrap();
            let toml = format!("format = 5\nnode = {node}\n");
            fs::write(bench.at(node, ".palk/node.toml"), toml).unwrap();
        }
        bench
    }

    fn at(&self, node: u8, rest: &str) -> PathBuf {
        self.folder.path().join(format!("files_{node}")).join(rest)
    }

    fn piece_path(&self, node: u8, n: u8, which: usize) -> PathBuf {
        let block = id(node).blocks()[which];
        self.at(node, &format!(".palk/pieces/{n:02x}/{}_{block}", VersionId([n; 16])))
    }

    /// Writes the piece of version `n`, stored under this name, on these nodes.
    fn piece(&self, n: u8, at: &str, nodes: &[u8]) {
        let content = content(n);
        let coded = CodedStripe::of_file(&content);
        for node in nodes {
            let (units, checksums) = coded.for_node(id(*node));
            for which in [0, 1] {
                let trailer = Trailer {
                    header: Header {
                        version: VersionId([n; 16]),
                        seq: Seq(n.into()),
                        user: user(),
                        path: path(at),
                        file_bytes: content.len() as u64,
                        unit_bytes_max: 256 * 1024,
                        block: id(*node).blocks()[which],
                        blake3: Digest(*blake3::hash(&content).as_bytes()),
                        stored_ms: 0,
                        part: None,
                    },
                    checksums: vec![checksums[which]],
                };
                let unit = &units[which * coded.unit_bytes()..][..coded.unit_bytes()];
                let file = self.piece_path(*node, n, which);
                create_folders(&RealDisk, file.parent().unwrap()).unwrap();
                fs::write(file, [unit, &trailer.encode()].concat()).unwrap();
            }
        }
    }

    /// Names version `n` in the view of these nodes.
    fn view(&self, n: u8, at: &str, nodes: &[u8]) {
        let at = place(at);
        for node in nodes {
            let folder = self.at(*node, "demo").join(at.path.folder().as_str());
            create_folders(&RealDisk, &folder).unwrap();
            for which in [0, 1] {
                let name = block_file_name(at.path.name(), id(*node).blocks()[which]);
                fs::hard_link(self.piece_path(*node, n, which), folder.join(name)).unwrap();
            }
        }
    }

    fn journal(&self, nodes: &[u8], after: Point, logged: &[Logged]) {
        let head = SegmentHead { format: snapshot::FORMAT, cluster: ClusterId([9; 16]), after };
        let mut bytes = frame_of(&head).unwrap();
        logged.iter().for_each(|own| bytes.extend(frame_of(own).unwrap()));
        for node in nodes {
            fs::write(self.at(*node, "backup").join(segment_name(after)), &bytes).unwrap();
        }
    }

    fn snapshot(&self, nodes: &[u8], at: Point, changes: &[Change]) {
        let (format, cluster) = (snapshot::FORMAT, ClusterId([9; 16]));
        let head = SnapshotHead { format, cluster, at, chunks: changes.len() as u64 };
        let mut bytes = frame_of(&head).unwrap();
        for change in changes {
            let told = Told { at: Moment(1), change: change.clone() };
            bytes.extend(frame_of(&vec![told]).unwrap());
        }
        for node in nodes {
            fs::write(self.at(*node, "backup").join(snapshot_name(at)), &bytes).unwrap();
        }
    }

    fn flip(&self, file: &Path, at: usize) {
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    /// What was written, by name; and what is told of files, and of what could not be read.
    fn rescue(&self, nodes: &[u8]) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let roots: Vec<PathBuf> = nodes.iter().map(|node| self.at(*node, "")).collect();
        let folders = Folders::open(disk.clone(), &roots).unwrap();
        let survey = folders.survey(&Selected::default()).unwrap();
        let out = tempfile::tempdir().unwrap();
        let mut told: Vec<String> =
            survey.unread.iter().map(|unread| format!("unread: {}", unread.why)).collect();
        let mut rescuer = Rescuer::new(disk, out.path(), folders.nodes(), &survey);
        for (user, folder) in &survey.folders {
            rescuer.folder(user, folder).unwrap();
        }
        for file in &survey.files {
            if let Outcome::Lost { why, .. } = rescuer.file(file, &mut |_| {}).unwrap() {
                told.push(format!("{}: {why}", file.place.path.as_str()));
            }
        }
        let mut written = BTreeMap::new();
        let mut open = vec![out.path().join("demo")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap()) {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else {
                    let name = entry.path();
                    let name = name.strip_prefix(out.path().join("demo")).unwrap();
                    let content = fs::read(entry.path()).unwrap();
                    written.insert(name.to_str().unwrap().to_owned(), content);
                }
            }
        }
        (written, told)
    }

    /// Rescues, and expects these versions under these names, and to be told this.
    fn expect(&self, nodes: &[u8], files: &[(&str, u8)], told: &[&str]) {
        let (written, said) = self.rescue(nodes);
        let files: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(at, n)| ((*at).to_owned(), content(*n))).collect();
        let names: Vec<&String> = written.keys().collect();
        assert!(written == files, "from {nodes:?}: {names:?}, {said:?}");
        assert_eq!(said.len(), told.len(), "{said:?}");
        for (said, told) in said.iter().zip(told) {
            assert!(said.contains(told), "{said:?} instead of {told:?}");
        }
    }
}

/// Version 1 is moved from `a` to `x/b`, 2 is replaced by 3 in `c`, 4 is deleted from `d`.
fn history() -> Vec<Change> {
    vec![
        made(),
        stored(1, "a"),
        stored(2, "c"),
        stored(3, "c"),
        stored(4, "d"),
        Change::FolderMade { user: user(), folder: FolderPath::parse("x").unwrap() },
        moved("a", "x/b"),
        Change::Deleted { place: place("d") },
    ]
}

/// All of it on all nodes, nothing dropped yet.
fn bench() -> Bench {
    let bench = Bench::new();
    for (n, at) in [(1, "a"), (2, "c"), (3, "c"), (4, "d")] {
        bench.piece(n, at, &[1, 2, 3, 4]);
    }
    bench.view(1, "x/b", &[1, 2, 3, 4]);
    bench.view(3, "c", &[1, 2, 3, 4]);
    bench
}

const FILES: [(&str, u8); 2] = [("x/b", 1), ("c", 3)];

#[test]
fn every_pair_of_folders_gives_every_file_under_its_name_of_now() {
    let bench = bench();
    bench.journal(&[1, 2, 3, 4], start(), &entries(start(), 1, &history()));
    PAIRS.iter().for_each(|pair| bench.expect(pair, &FILES, &[]));
    // Names are not taken from the view then, so it may be gone or wrong.
    fs::remove_dir_all(bench.at(1, "demo")).unwrap();
    bench.view(4, "c", &[1]);
    bench.expect(&[1, 2], &FILES, &[]);
}

#[test]
fn the_view_alone_is_enough_and_so_is_a_copy_of_it() {
    let bench = bench();
    for node in 1..=4 {
        fs::remove_dir_all(bench.at(node, ".palk")).unwrap();
        fs::remove_dir_all(bench.at(node, "backup")).unwrap();
    }
    PAIRS.iter().for_each(|pair| bench.expect(pair, &FILES, &[]));
}

#[test]
fn a_copy_without_hard_links_is_the_same_file_once() {
    let bench = bench();
    bench.journal(&[1, 2], start(), &entries(start(), 1, &history()));
    for node in [1, 2] {
        for which in [0, 1] {
            let piece = bench.piece_path(node, 1, which);
            fs::write(&piece, fs::read(&piece).unwrap()).unwrap();
            let name = block_file_name("b", id(node).blocks()[which]);
            let view = bench.at(node, "demo/x").join(name);
            fs::remove_file(&view).unwrap();
            fs::copy(&piece, &view).unwrap();
        }
    }
    bench.expect(&[1, 2], &FILES, &[]);
    // And the copy helps out.
    bench.flip(&bench.piece_path(1, 1, 0), 5);
    bench.expect(&[1, 2], &FILES, &[]);
}

#[test]
fn pieces_alone_are_enough_and_have_the_names_that_they_were_stored_under() {
    let bench = bench();
    for node in 1..=4 {
        fs::remove_dir_all(bench.at(node, "demo")).unwrap();
        fs::remove_file(bench.at(node, ".palk/node.toml")).unwrap();
    }
    let files = [("a", 1), ("c", 3), ("d", 4)];
    PAIRS.iter().for_each(|pair| bench.expect(pair, &files, &[]));
}

#[test]
fn small_files_are_rescued_out_of_the_journal() {
    let bench = Bench::new();
    let coded = [1, 2, 3, 4].map(|n| CodedStripe::of_file(&content(n)));
    for node in 1..=4 {
        let mut logged = entries(start(), 1, &history());
        for own in &mut logged {
            if let Ok(Change::Stored { version, .. }) = own.entry.change() {
                let coded = &coded[usize::from(version.0[0]) - 1];
                own.piece = Some(coded.for_node(id(node)).0.to_vec());
            }
        }
        bench.journal(&[node], start(), &logged);
    }
    PAIRS.iter().for_each(|pair| bench.expect(pair, &FILES, &[]));
    // One node has written them out, and forgotten those pieces.
    bench.journal(&[2], start(), &entries(start(), 1, &history()));
    bench.piece(1, "a", &[2]);
    bench.piece(3, "c", &[2]);
    PAIRS.iter().for_each(|pair| bench.expect(pair, &FILES, &[]));
}

#[test]
fn what_a_journal_has_written_ahead_and_what_a_crash_has_cut_short_are_no_damage() {
    let bench = bench();
    let zeros = vec![0; 1 << 20];
    let mut torn = snapshot::frame(&[7; 3000]);
    torn[1000..2030].fill(0);
    for behind in [zeros.clone(), [&torn[..], &snapshot::frame(b"whole"), &zeros].concat()] {
        bench.journal(&[1, 2], start(), &entries(start(), 1, &history()));
        for node in [1, 2] {
            let path = bench.at(node, "backup").join(segment_name(start()));
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, [bytes, behind.clone()].concat()).unwrap();
        }
        bench.expect(&[1, 2], &FILES, &[]);
    }
}

#[test]
fn a_current_version_that_is_lost_is_told_and_an_older_one_lies_beside_it() {
    let bench = bench();
    bench.journal(&[1, 2], start(), &entries(start(), 1, &history()));
    bench.flip(&bench.piece_path(2, 3, 1), 7);
    let why = "c: block B2 of node 2: wrong bytes in stripe 0";
    bench.expect(&[1, 2], &[("x/b", 1), ("c.older-2", 2)], &[why]);
    bench.expect(&[1, 2, 3], &FILES, &[]);
    for node in [1, 2] {
        fs::remove_dir_all(bench.at(node, "demo")).unwrap();
        for which in [0, 1] {
            fs::remove_file(bench.piece_path(node, 3, which)).unwrap();
        }
    }
    let why = "c: these nodes have nothing of its current version";
    bench.expect(&[1, 2], &[("x/b", 1), ("c.older-2", 2)], &[why]);
}

#[test]
fn names_are_from_the_newest_snapshot_and_the_entries_of_all_folders_that_follow_it() {
    let bench = bench();
    let logged = entries(start(), 1, &history());
    let at = logged[4].entry.point();
    // One folder has the snapshot, another one what follows it.
    bench.snapshot(&[1], at, &[made(), stored(1, "a"), stored(3, "c"), stored(4, "d")]);
    bench.journal(&[2], at, &logged[5..]);
    bench.expect(&[1, 2], &FILES, &[]);
    // A damaged snapshot costs nothing where an older one or the whole journal is there.
    let file = bench.at(1, "backup").join(snapshot_name(at));
    bench.flip(&file, fs::read(&file).unwrap().len() - 1);
    bench.journal(&[3], start(), &logged[..5]);
    bench.expect(&[1, 2, 3], &FILES, &[]);
    // Else it is told, and names are from the views.
    let told = ["bytes do not match", "no snapshot that they follow"];
    fs::remove_dir_all(bench.at(1, "demo")).unwrap();
    fs::remove_dir_all(bench.at(2, "demo")).unwrap();
    bench.expect(&[1, 2], &[("a", 1), ("c", 3), ("d", 4)], &told);
}

#[test]
fn a_tail_that_a_later_epoch_contradicts_does_not_count() {
    let bench = bench();
    let logged = entries(start(), 1, &history());
    let before = logged[5].entry.point();
    let other = entries(before, 2, &[moved("a", "x/y")]);
    bench.journal(&[1], start(), &logged);
    bench.journal(&[2], start(), &[&logged[..6], &other].concat());
    bench.expect(&[1, 2], &[("x/y", 1), ("c", 3), ("d", 4)], &[]);
}

#[test]
fn a_last_write_that_was_cut_off_is_no_damage_and_other_damage_is_told_where_it_matters() {
    let bench = bench();
    let logged = entries(start(), 1, &history());
    bench.journal(&[1, 2], start(), &logged);
    let file = bench.at(1, "backup").join(segment_name(start()));
    let whole = fs::read(&file).unwrap();
    let next = entries(logged[7].entry.point(), 1, &[moved("c", "e")]);
    let next = frame_of(&next[0]).unwrap();
    for tail in [&next[..5], &next[..next.len() - 1], &[0; 500]] {
        fs::write(&file, [&whole, tail].concat()).unwrap();
        bench.expect(&[1, 2], &FILES, &[]);
    }
    let mut wrong = next.clone();
    wrong[20] ^= 1;
    fs::write(&file, [&whole, &wrong[..], &frame(b"more")].concat()).unwrap();
    bench.expect(&[1, 2], &FILES, &["damaged behind entry 8"]);
    bench.expect(&[2, 3], &FILES, &[]);
    // The other folder has what is behind the damage.
    bench.flip(&file, whole.len() / 2);
    bench.expect(&[1, 2], &FILES, &[]);
}

#[test]
fn what_a_node_finds_through_links_is_found_and_nothing_else() {
    let bench = bench();
    bench.journal(&[1, 2], start(), &entries(start(), 1, &history()));
    for node in [1, 2] {
        fs::remove_dir_all(bench.at(node, "demo")).unwrap();
        let elsewhere = bench.at(node, "../elsewhere").join(node.to_string());
        fs::create_dir_all(&elsewhere).unwrap();
        let folder = bench.at(node, ".palk/pieces/01");
        fs::rename(&folder, elsewhere.join("01")).unwrap();
        symlink(elsewhere.join("01"), folder).unwrap();
        let file = bench.piece_path(node, 3, 0);
        fs::rename(&file, elsewhere.join("file")).unwrap();
        symlink(elsewhere.join("file"), file).unwrap();
        fs::create_dir(bench.at(node, "demo")).unwrap();
        symlink(bench.at(node, "demo"), bench.at(node, "demo/loop")).unwrap();
    }
    bench.expect(&[1, 2], &FILES, &[]);
}
