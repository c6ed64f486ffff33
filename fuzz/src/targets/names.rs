//! Names: whatever a user, a file or a folder is called, and through whichever door the name comes,
//! nothing outside of the user's folder is reached: not on the server, not on a node, not where a
//! client writes what it was sent.

use std::path::{Component, Path};

use palk::core::path::{
    FilePath, FolderPath, PATH_BYTES_MAX, UserName, block_file_name, parse_block_file_name,
    printable,
};
use palk::core::types::{Block, Moment, NodeId, VersionId};
use palk::core::wire::extended::{Entry, Request};
use palk::core::wire::journal::Change;
use palk::core::wire::node::{self, Place};

use super::bytes::Bytes;
use super::node_frames::sealed;
use super::{node_journal, session};

/// Stands for any folder that paths are appended to.
const ROOT: &str = "/files/user";

pub(crate) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let (user, folder, name) = (input.text(), input.text(), input.text());
    if let Ok(user) = UserName::parse(&user) {
        let top = Path::new("/files").join(user.as_str());
        assert_eq!(top.parent(), Some(Path::new("/files")));
        assert!(!user.as_str().eq_ignore_ascii_case("backup") && !user.as_str().starts_with('.'));
    }
    arithmetic(&folder, &name);
    through_the_session(&folder, &name);
    through_a_node(&user, &folder, &name);
    through_a_listing(&folder, &name);
}

fn arithmetic(folder: &str, name: &str) {
    for parsed in [FolderPath::parse(folder), FolderPath::parse_rooted(folder)] {
        let Ok(folder) = parsed else { continue };
        assert_folder_inside(&folder);
        for outer in folder.ancestry() {
            assert_folder_inside(&outer);
            assert!(folder.as_str().starts_with(outer.as_str()));
        }
        assert_eq!(folder.ancestry().last(), (!folder.is_top()).then_some(&folder));
        if let Some((outer, own)) = folder.split() {
            let joined = outer.join(own).expect("the parts of a path make a path");
            assert_eq!(joined.as_folder(), folder);
        }
        let Ok(file) = folder.join(name) else { continue };
        assert_inside(&file);
        assert_eq!((file.folder(), file.name()), (folder, name));
        assert_eq!(FilePath::parse_rooted(file.as_str()).as_ref(), Ok(&file));
    }
    if let Ok(file) = FilePath::parse_rooted(name) {
        assert_inside(&file);
    }
}

/// The specified session keeps name and folder apart; `session` looks at what becomes of them.
fn through_the_session(folder: &str, name: &str) {
    for request in [
        format!("STR\r\n{name}\r\n{folder}\r\n0\r\n\r\n"),
        format!("RTV\r\n{name}\r\n{folder}\r\n\r\n"),
        format!("DEL\r\n{name}\r\n{folder}\r\n\r\n"),
    ] {
        // How the server decides: the sign-in and everything after it succeed.
        let mut conversation = vec![0, 1, 1, 1, 1, 1, 1, 1];
        conversation.extend_from_slice(b"HI\r\n\r\ndemo\r\npw\r\n\r\n");
        conversation.extend_from_slice(request.as_bytes());
        session::specified(&conversation);
    }
    for opcode in ["RTV", "DEL"] {
        for path in [folder, name] {
            let message = [opcode.to_owned(), path.to_owned()];
            if let Ok(Request::Retrieve { path, .. } | Request::Delete { path }) =
                Request::decode(&message)
            {
                assert_inside(&path);
            }
        }
    }
}

/// A message to a node and the records of a journal are made of texts here, as no server would make
/// them.
fn through_a_node(user: &str, folder: &str, name: &str) {
    const STAGE: u8 = 2;
    let is_user = UserName::parse(user).is_ok();
    let is_file = is_user && FilePath::parse_rooted(name).is_ok();
    let is_folder = is_user && FolderPath::parse(folder).is_ok();
    let stage = [vec![STAGE], vec![1; 16], text(user), text(name), vec![0; 4]].concat();
    let decoded = sealed::<node::Request>(&stage);
    assert_eq!(decoded.is_some(), is_file, "{user:?} {name:?}");

    // The number of a kind of change is its first byte.
    let kind = |change: Change| change.encode().expect("it is short")[..1].to_vec();
    let ann = || UserName::parse("ann").expect("a name");
    let a = || FilePath::parse_rooted("a").expect("a path");
    let make = kind(Change::FolderMade { user: ann(), folder: a().as_folder() });
    let delete = kind(Change::Deleted { place: Place { user: ann(), path: a() } });
    let rename = kind(Change::Moved { user: ann(), from: a(), to: a() });
    let bring = kind(Change::Named {
        place: Place { user: ann(), path: a() },
        version: VersionId([1; 16]),
    });
    let begin = kind(Change::FolderBegun { user: ann() });
    let (key, to) = (Moment(1), FolderPath::top());
    let attach = kind(Change::FolderAttached { user: ann(), key, to });
    let (folders, files) = (Vec::new(), Vec::new());
    let fill = kind(Change::FolderFilled { user: ann(), key, folders, files });
    let forget = kind(Change::HistoryForgotten { user: ann(), path: a() });
    let key = vec![2];
    let filled = [fill, text(user), key.clone(), vec![1], text(name), vec![1], text(name)].concat();
    let filled = [filled, vec![1; 16]].concat();
    // What is attached may be anything that was filled.
    if let (Ok(user), Ok(begin)) =
        (UserName::parse(user), Change::decode(&[begin, text(user)].concat()))
        && let (Ok(filled), Ok(to)) = (Change::decode(&filled), FolderPath::parse(folder))
    {
        let attached = Change::FolderAttached { user, key: Moment(1), to };
        node_journal::follow(NodeId::ALL[0], vec![begin, filled, attached]);
    }
    let cases = [
        ([bring, text(user), text(name), vec![1; 16]].concat(), is_file),
        (filled, is_file),
        ([attach, text(user), key, text(folder)].concat(), is_folder),
        ([forget, text(user), text(name)].concat(), is_file),
        ([make, text(user), text(folder)].concat(), is_folder),
        ([delete, text(user), text(name)].concat(), is_file),
        ([rename, text(user), text("from"), text(name)].concat(), is_file),
    ];
    for (record, is_good) in cases {
        let decoded = Change::decode(&record);
        assert_eq!(decoded.is_ok(), is_good, "{user:?} {folder:?} {name:?}");
        if let Ok(change) = decoded {
            node_journal::follow(NodeId::ALL[0], vec![change]);
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    postcard::to_stdvec(text).expect("a text always encodes")
}

/// What a server says that a user has.
fn through_a_listing(folder: &str, name: &str) {
    if let Ok(Entry::Folder(folder)) = Entry::decode(&format!("D\t{folder}")) {
        assert_folder_inside(&folder);
    }
    let zeros = |count| "0".repeat(count);
    let line = format!("F\t{folder}/{name}\t1\t2\t{}\t{}\t15", zeros(32), zeros(64));
    if let Ok(Entry::File(file)) = Entry::decode(&line) {
        assert_inside(&file.path);
    }
}

/// Panics if a file of this path could be anywhere but below the folder that the path is appended
/// to, or if printing it could do anything but print.
pub(crate) fn assert_inside(path: &FilePath) {
    assert_plain(path.as_str());
    assert_shown(&path.to_string());
    assert!(!path.as_str().is_empty());
    for block in Block::ALL {
        let name = block_file_name(path.name(), block);
        assert!(name.len() <= 255 && !name.contains('/'), "{name:?}");
        assert_eq!(parse_block_file_name(&name), Some((path.name().to_owned(), block)));
    }
}

/// The same for a folder, which may be the user's top folder.
pub(crate) fn assert_folder_inside(folder: &FolderPath) {
    assert_plain(folder.as_str());
    assert_shown(&folder.to_string());
}

fn assert_plain(path: &str) {
    assert!(path.len() <= PATH_BYTES_MAX);
    assert!(!path.chars().any(|c| c.is_control() || c == '\\'), "{path:?}");
    let whole = Path::new(ROOT).join(path);
    let inside = whole.strip_prefix(ROOT).unwrap_or_else(|_| panic!("{path:?} leads elsewhere"));
    for part in inside.components() {
        assert!(matches!(part, Component::Normal(_)), "{path:?}");
    }
    let parts = path.split('/').filter(|part| !part.is_empty()).count();
    assert_eq!(inside.components().count(), parts, "{path:?}");
}

fn assert_shown(shown: &str) {
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert_eq!(printable(shown), shown);
}
