//! Records of the catalog's journal, as a node may have kept them.

use palk::core::path::{FolderPath, UserName};
use palk::core::types::ClusterId;
use palk::core::wire::journal::{Change, Entry, Point, RECORD_BYTES_MAX};

use super::names::{assert_folder_inside, assert_inside};

pub(crate) fn run(data: &[u8]) {
    let Ok(change) = Change::decode(data) else { return };
    let record = change.encode().expect("what was read can be written");
    assert!(record.len() <= RECORD_BYTES_MAX);
    assert_eq!(Change::decode(&record).expect("an own record"), change);
    let start = Point::start(ClusterId([1; 16]));
    let entry = Entry::after(start, record);
    assert!(entry.follows(start) && !entry.follows(entry.point()));
    match &change {
        Change::Stored { place, .. } | Change::Deleted { place, .. } => {
            assert_user(&place.user);
            assert_inside(&place.path);
        }
        Change::FolderMade { user, folder } | Change::FolderRemoved { user, folder } => {
            assert_user(user);
            assert_folder(folder);
        }
        Change::FileMoved { user, from, to, .. } => {
            assert_user(user);
            assert_inside(from);
            assert_inside(to);
        }
        Change::FolderMoved { user, from, to, .. } => {
            assert_user(user);
            assert_folder(from);
            assert_folder(to);
        }
        Change::UserMade { user, .. }
        | Change::UserMadeAgain { user, .. }
        | Change::PasswordChanged { user, .. }
        | Change::AccountDisabled { user, .. }
        | Change::QuotaSet { user, .. }
        | Change::RemovalBegun { user }
        | Change::FoldersRemoved { user } => assert_user(user),
        Change::Nodes { .. } | Change::Branched { .. } => {}
    }
}

fn assert_user(user: &UserName) {
    assert_eq!(UserName::parse(user.as_str()).as_ref(), Ok(user));
}

fn assert_folder(folder: &FolderPath) {
    assert_folder_inside(folder);
    assert_eq!(FolderPath::parse(folder.as_str()).as_ref(), Ok(folder));
}
