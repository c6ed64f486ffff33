//! Records of the journal, as a node may have kept them.

use palk::core::path::{FolderPath, UserName};
use palk::core::types::ClusterId;
use palk::core::wire::extents::EXTENTS_MAX;
use palk::core::wire::journal::{
    Change, Entry, FolderAt, KeptVersion, PastItem, Point, RECORD_BYTES_MAX, SnapshotName,
    TEXT_BYTES_MAX, UploadBegun, VERSIONS_MAX,
};

use super::names::{assert_folder_inside, assert_inside};

pub(crate) fn run(data: &[u8]) {
    let Ok(change) = Change::decode(data) else { return };
    let record = change.encode().expect("what was read can be written");
    assert!(record.len() <= RECORD_BYTES_MAX);
    assert_eq!(Change::decode(&record).expect("an own record"), change);
    let start = Point::start(ClusterId([1; 16]));
    let entry = Entry::after(start, 7, 8, record);
    assert!(entry.follows(start) && !entry.follows(entry.point()));
    assert_eq!(entry.change().expect("its record"), change);
    assert_names(&change);
    match &change {
        Change::UserMade { password: text, .. }
        | Change::PasswordSet { password: text, .. }
        | Change::TokenMade { machine: text, .. }
        | Change::KeyMade { name: text, .. }
        | Change::Stored { by: text, .. }
        | Change::ReplacementBegun { address: text, .. }
        | Change::ExtentStored { kept: KeptVersion { by: text, .. }, .. }
        | Change::UploadCompleted { kept: KeptVersion { by: text, .. }, .. }
        | Change::Kept(KeptVersion { by: text, .. }) => assert!(text.len() <= TEXT_BYTES_MAX),
        Change::Nodes { addresses } => {
            assert!(addresses.iter().all(|address| address.len() <= TEXT_BYTES_MAX));
        }
        Change::Dropped { versions }
        | Change::Placed { versions, .. }
        | Change::Uncertain { versions }
        | Change::Lost { versions, .. } => assert!(versions.len() <= VERSIONS_MAX),
        Change::FoldersForgotten { keys } => assert!(keys.len() <= VERSIONS_MAX),
        Change::UploadsDropped { uploads } => assert!(uploads.len() <= VERSIONS_MAX),
        Change::Extents { extents, .. } => assert!(extents.len() <= EXTENTS_MAX),
        _ => {}
    }
}

/// Panics if a name in the change leads anywhere else.
pub(crate) fn assert_names(change: &Change) {
    match change {
        Change::Stored { place, .. }
        | Change::Named { place, .. }
        | Change::Deleted { place }
        | Change::UploadBegun(UploadBegun { place, .. })
        | Change::UploadCompleted { place, .. }
        | Change::Reverted { place, .. } => {
            assert_user(&place.user);
            assert_inside(&place.path);
        }
        Change::FolderMade { user, folder }
        | Change::FolderRemoved { user, folder }
        | Change::FolderAttached { user, to: folder, .. } => {
            assert_user(user);
            assert_folder(folder);
        }
        Change::FolderFilled { user, folders, files, .. } => {
            assert_user(user);
            folders.iter().for_each(assert_inside);
            files.iter().for_each(|(path, _)| assert_inside(path));
        }
        Change::HistoryForgotten { user, path } => {
            assert_user(user);
            assert_inside(path);
        }
        Change::Past { user, folder, name, was, .. } => {
            assert_user(user);
            assert_folder(&folder.path);
            if let PastItem::Folder(FolderAt { path, .. }) = was {
                assert_folder(path);
            }
            if !name.is_empty() {
                assert_inside(&FolderPath::top().join(name).expect("a name in a folder"));
            }
        }
        Change::SnapshotMade { name, .. } => {
            assert_eq!(SnapshotName::parse(name.as_str()).as_ref(), Some(name));
        }
        Change::Moved { user, from, to } => {
            assert_user(user);
            assert_inside(from);
            assert_inside(to);
        }
        Change::UserMade { user, .. }
        | Change::PasswordSet { user, .. }
        | Change::UserDisabled { user, .. }
        | Change::QuotaSet { user, .. }
        | Change::AdminSet { user, .. }
        | Change::UserRemoved { user }
        | Change::TokenMade { user, .. }
        | Change::KeyMade { user, .. }
        | Change::PropertiesSet { user, .. }
        | Change::FolderBegun { user }
        | Change::Expired { user, .. }
        | Change::ExtentStored { kept: KeptVersion { user, .. }, .. }
        | Change::Kept(KeptVersion { user, .. }) => assert_user(user),
        Change::Led { .. }
        | Change::TokenUsed { .. }
        | Change::TokenRevoked { .. }
        | Change::AttributesSet { .. }
        | Change::Dropped { .. }
        | Change::Placed { .. }
        | Change::Lost { .. }
        | Change::Nodes { .. }
        | Change::ReplacementBegun { .. }
        | Change::ReplacementProved { .. }
        | Change::Uncertain { .. }
        | Change::Confirmed { .. }
        | Change::FoldersForgotten { .. }
        | Change::SnapshotRemoved { .. }
        | Change::SnapshotReleased { .. }
        | Change::ExtentShared { .. }
        | Change::ExtentsRemoved { .. }
        | Change::UploadsDropped { .. }
        | Change::Extents { .. }
        | Change::Replaced { .. } => {}
    }
}

fn assert_user(user: &UserName) {
    assert_eq!(UserName::parse(user.as_str()).as_ref(), Ok(user));
}

fn assert_folder(folder: &FolderPath) {
    assert_folder_inside(folder);
    assert_eq!(FolderPath::parse(folder.as_str()).as_ref(), Ok(folder));
}
