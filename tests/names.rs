//! Properties of names: users, files, folders, blocks. What the types of `core::path` take can be
//! appended to any folder and stays inside it; what the types do not take is nowhere else taken.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use palk::core::code::checksum;
use palk::core::io::disk::RealDisk;
use palk::core::node::store::{BlockStore, ROOT_BYTES_MAX};
use palk::core::path::{
    FilePath, FolderPath, NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, USER_NAME_BYTES_MAX,
    UserName, block_file_name, parse_block_file_name, printable,
};
use palk::core::types::{
    Block, Claim, ClusterId, Digest, NodeId, NodeSet, Seq, ServerId, VersionId,
};
use palk::core::wire::extended::{Entry as Listed, FileEntry};
use palk::core::wire::journal::{Change, Entry, Point};
use palk::core::wire::node::{Append, InlinePiece, Place};
use proptest::prelude::*;

const CLUSTER: ClusterId = ClusterId([9; 16]);

/// Texts that lie near the border between names and what is none.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        "[./a\\\\\0 ~-]{0,12}",
        "[a.]{0,3}(/[a.]{0,3}){0,4}",
        "(\\.\\./){1,3}etc/passwd",
        ".{0,12}",
        "[\u{80}-\u{9f}\u{202a}-\u{202e}\u{2028}a]{0,6}",
        "[a-zA-Z0-9._-]{0,70}",
        "[a_AB12.]{1,12}",
        (0..300usize).prop_map(|length| "n".repeat(length)),
        (0..80usize).prop_map(|depth| vec!["d"; depth].join("/")),
        Just("BackUp".to_owned()),
    ]
}

/// Texts that a part of a path can be.
fn name() -> impl Strategy<Value = String> {
    let is_name = |name: &String| !matches!(name.as_str(), "." | "..");
    prop_oneof!["[a-z._]{1,12}", "[^\\pC/\\\\]{1,20}", "[._AB12]{1,8}"]
        .prop_filter("a name is not . or ..", is_name)
}

fn folder() -> impl Strategy<Value = FolderPath> {
    prop::collection::vec(name(), 0..6)
        .prop_map(|parts| FolderPath::parse(&parts.join("/")).unwrap())
}

fn block() -> impl Strategy<Value = Block> {
    prop::sample::select(Block::ALL.to_vec())
}

/// Is this, appended to a folder, in the folder, so many parts deep?
fn is_inside(path: &str) -> bool {
    let root = Path::new("/files/user");
    let whole = root.join(path);
    let Ok(inside) = whole.strip_prefix(root) else { return false };
    let parts = path.split('/').filter(|part| !part.is_empty()).count();
    inside.components().all(|part| matches!(part, Component::Normal(_)))
        && inside.components().count() == parts
}

fn is_plain(shown: &str) -> bool {
    !shown.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_user_is_one_folder_beside_those_of_the_node(text in text()) {
        if let Ok(user) = UserName::parse(&text) {
            prop_assert_eq!(user.as_str(), &text);
            prop_assert!(is_inside(&text) && Path::new(&text).components().count() == 1);
            prop_assert!(!text.starts_with('.') && !text.eq_ignore_ascii_case("backup"));
            prop_assert!(text.is_ascii() && text.len() <= 64);
        }
    }

    #[test]
    fn whatever_parses_stays_inside_and_prints_plainly(text in text()) {
        for folder in [FolderPath::parse(&text), FolderPath::parse_rooted(&text)] {
            let Ok(folder) = folder else { continue };
            prop_assert!(is_inside(folder.as_str()), "{:?}", folder);
            prop_assert!(is_plain(&folder.to_string()));
        }
        if let Ok(file) = FilePath::parse_rooted(&text) {
            prop_assert!(is_inside(file.as_str()) && !file.as_str().is_empty(), "{:?}", file);
            prop_assert!(is_plain(&file.to_string()));
            prop_assert!(!text.contains('\\') && !text.contains(char::is_control));
        }
    }

    #[test]
    fn a_path_is_refused_for_its_first_slash_alone_where_that_is_asked_for(text in text()) {
        let rooted = format!("/{text}");
        prop_assert!(FolderPath::parse(&rooted).is_err());
        prop_assert_eq!(FolderPath::parse_rooted(&rooted), FolderPath::parse(&text));
        let has_slash = text.starts_with('/');
        prop_assert!(has_slash || FilePath::parse_rooted(&rooted) == FilePath::parse_rooted(&text));
    }

    #[test]
    fn the_same_is_refused_behind_every_prefix(folder in folder(), text in text()) {
        if let Ok(file) = folder.join(&text) {
            prop_assert_eq!(file.name(), &text);
            prop_assert_eq!(file.folder(), folder);
            prop_assert!(is_inside(&text) && !text.contains('/'));
        }
    }

    #[test]
    fn folder_and_name_make_the_path_that_they_came_from(folder in folder(), name in name()) {
        let file = folder.join(&name).unwrap();
        prop_assert_eq!((file.folder(), file.name()), (folder.clone(), name.as_str()));
        prop_assert_eq!(&FilePath::parse_rooted(file.as_str()).unwrap(), &file);
        prop_assert_eq!(&FilePath::parse_rooted(&format!("/{}", file.as_str())).unwrap(), &file);
        let (outer, own) = { let whole = file.as_folder(); let (o, n) = whole.split().unwrap(); (o, n.to_owned()) };
        prop_assert_eq!((outer, own.as_str()), (folder, name.as_str()));
    }

    #[test]
    fn the_folders_above_are_the_beginnings_of_a_path(folder in folder()) {
        let above = folder.ancestry();
        let depth = folder.as_str().split('/').filter(|part| !part.is_empty()).count();
        prop_assert_eq!(above.len(), depth);
        prop_assert_eq!(above.last(), (!folder.is_top()).then_some(&folder));
        let mut inner = folder;
        for outer in above.iter().rev().skip(1) {
            let (parent, _) = inner.split().unwrap();
            prop_assert_eq!(&parent, outer);
            inner = parent;
        }
    }

    #[test]
    fn a_block_has_a_name_of_its_own_that_leads_back(
        one in name(), other in name(), first in block(), second in block(),
    ) {
        prop_assume!(one.len() <= NAME_BYTES_MAX && other.len() <= NAME_BYTES_MAX);
        let (left, right) = (block_file_name(&one, first), block_file_name(&other, second));
        prop_assert_eq!(left == right, (&one, first) == (&other, second));
        prop_assert!(left.len() <= 255 && is_inside(&left) && !left.contains('/'));
        prop_assert_eq!(parse_block_file_name(&left), Some((one, first)));
    }

    #[test]
    fn what_is_called_like_a_block_is_called_like_that_block(text in text()) {
        if let Some((name, block)) = parse_block_file_name(&text) {
            prop_assert_eq!(block_file_name(&name, block), text);
            prop_assert!(FolderPath::top().join(&name).is_ok());
        }
    }

    #[test]
    fn a_server_cannot_list_what_lies_elsewhere(text in text(), is_folder in any::<bool>()) {
        let zeros = |count: usize| "0".repeat(count);
        let line = match is_folder {
            true => format!("D\t{text}"),
            false => format!("F\t{text}\t1\t2\t{}\t{}\t15", zeros(32), zeros(64)),
        };
        match Listed::decode(&line) {
            Ok(Listed::Folder(folder)) => prop_assert!(is_inside(folder.as_str())),
            Ok(Listed::File(file)) => prop_assert!(is_inside(file.path.as_str())),
            Err(error) => prop_assert!(is_plain(&printable(&error.to_string()))),
        }
    }

    #[test]
    fn a_listing_says_the_same_at_its_other_end(folder in folder(), name in name(), bytes: u64) {
        let entry = Listed::File(FileEntry {
            path: folder.join(&name).unwrap(),
            bytes,
            stored_ms: -1,
            version: VersionId([7; 16]),
            blake3: Digest([8; 32]),
            placed: NodeSet::ALL,
            attributes: Default::default(),
        });
        prop_assert_eq!(Listed::decode(&entry.encode(true)).unwrap(), entry);
    }

    #[test]
    fn what_was_made_safe_to_print_stays_as_it_is(text in ".{0,30}") {
        let shown = printable(&text);
        prop_assert!(is_plain(&shown), "{:?}", shown);
        prop_assert_eq!(printable(&shown), shown);
    }
}

#[test]
fn the_longest_names_and_paths_are_taken_and_nothing_longer() {
    let name = "é".repeat(NAME_BYTES_MAX / 2);
    let file = FolderPath::top().join(&name).unwrap();
    assert!(FolderPath::top().join(&format!("{name}x")).is_err());
    assert!(Block::ALL.iter().all(|block| block_file_name(file.name(), *block).len() <= 255));
    let deep = vec!["d"; PATH_DEPTH_MAX - 1].join("/");
    assert!(FolderPath::parse(&deep).unwrap().join("x").unwrap().as_folder().join("y").is_err());
    let part = "p".repeat(NAME_BYTES_MAX);
    let long = vec![part.as_str(); 18].join("/");
    assert_eq!(FilePath::parse_rooted(&long[..PATH_BYTES_MAX]).unwrap().as_str().len(), 3584);
    assert!(FilePath::parse_rooted(&long[..PATH_BYTES_MAX + 1]).is_err());
}

/// Blocks of different files never meet under one name, however alike the files are called.
#[test]
fn no_two_of_many_alike_names_share_a_block() {
    let parts = ["", "a", "_A1", "_B1", ".", "x.y", "_", "A1"];
    let mut seen: HashMap<String, (String, Block)> = HashMap::new();
    for (first, second) in parts.iter().flat_map(|a| parts.map(|b| (*a, b))) {
        let name = format!("{first}{second}");
        let Ok(file) = FolderPath::top().join(&name) else { continue };
        for block in Block::ALL {
            let whose = (file.name().to_owned(), block);
            let before = seen.insert(block_file_name(&name, block), whose.clone());
            assert!(before.is_none_or(|before| before == whose), "{name:?} {block}");
        }
    }
    assert!(seen.len() > 300);
}

/// The path of a name in the view is the node's folder, the user and the path: all of it together must
/// be one that the system takes.
#[test]
fn the_longest_path_of_the_longest_user_gets_its_name_in_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let mut root = folder.path().to_path_buf();
    while root.as_os_str().len() + 2 <= ROOT_BYTES_MAX {
        let room = ROOT_BYTES_MAX - root.as_os_str().len() - 1;
        root.push("r".repeat(if room > 201 { 100 } else { room }));
    }
    assert_eq!(root.as_os_str().len(), ROOT_BYTES_MAX);
    fs::create_dir_all(&root).unwrap();
    let store = BlockStore::open(Arc::new(RealDisk), &root, NodeId::ALL[0]).unwrap();
    let claim = Claim { epoch: 1, server: ServerId([1; 16]) };
    store.register(CLUSTER, claim, Duration::ZERO).unwrap();
    let parts = vec!["p".repeat(NAME_BYTES_MAX); 18].join("/");
    let user = UserName::parse(&"u".repeat(USER_NAME_BYTES_MAX)).unwrap();
    let path = FilePath::parse_rooted(&parts[..PATH_BYTES_MAX]).unwrap();
    let place = Place { user: user.clone(), path: path.clone() };
    let version = VersionId([1; 16]);
    let changes = [
        Change::UserMade { user: user.clone(), password: String::new(), created_ms: 0 },
        Change::Stored {
            place: place.clone(),
            version,
            seq: Seq(1),
            bytes: 0,
            blake3: Digest([0; 32]),
            stored_ms: 0,
            placed: NodeSet::ALL,
            inline: true,
            by: String::new(),
            attributes: Default::default(),
        },
        Change::Deleted { place },
        Change::Dropped { versions: vec![version] },
    ];
    let mut point = Point::start(CLUSTER);
    let mut append = |changes: &[Change], pieces: Vec<InlinePiece>, body: &[u8]| {
        let prev = point;
        let mut entries = Vec::new();
        for change in changes {
            let entry = Entry::after(point, 1, 0, change.encode().unwrap());
            point = entry.point();
            entries.push(entry);
        }
        let append = Append { prev, decided: point.id, entries, pieces };
        assert_eq!(store.append(&append, body).unwrap().end, point);
        while store.write_out().unwrap() {}
        while store.follow().unwrap() {}
    };
    let piece = InlinePiece { entry: 1, unit_bytes: 1, checksums: [checksum::unit(&[4]); 2] };
    append(&changes[..2], vec![piece], &[4, 4]);
    let at = root.join(user.as_str()).join(path.folder().as_str());
    let names = NodeId::ALL[0].blocks().map(|block| at.join(block_file_name(path.name(), block)));
    assert!(names.iter().all(|name| name.exists()), "{names:?}");
    append(&changes[2..], Vec::new(), &[]);
    assert!(!names.iter().any(|name| name.exists()));
    assert!(store.pieces(None, 1).unwrap().is_empty());
    let longer = root.join("x");
    fs::create_dir(&longer).unwrap();
    let refused = BlockStore::open(Arc::new(RealDisk), &longer, NodeId::ALL[0]);
    assert!(refused.is_err_and(|error| error.to_string().contains("--dir")));
}
