//! Random histories: whichever way the journal becomes a catalog, it is the same one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use crate::core::catalog::database::{all, one};
use crate::core::catalog::fixture::{CLUSTER, change, empty, journal, name, shown};
use crate::core::catalog::{
    Catalog, Completion, Draft, ExtentRecord, Group, Held, Loader, NamedMoment, NewExtent, NewFile,
    Quota, Scope, TokenId, Upload, UserRecord, UserState, extents, files, tree, users,
};
use crate::core::code::digest::{Subtree, TreePart};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::status::{Debt, Placement};
use crate::core::types::{
    Digest, FileAttributes, KeyId, Moment, NodeId, NodeSet, Precondition, Seq, VersionId,
};
use crate::core::wire::extended::Entry;
use crate::core::wire::extents::Extent;
use crate::core::wire::journal::{Property, SnapshotName, UploadBegun};
use crate::core::wire::keys::{AppKey, Rights};
use crate::core::wire::node::Place;
use crate::core::wire::snapshot::{decode_chunk, read_frame};

/// Names whose order is not that of the paths below them.
const NAMES: [&str; 6] = ["a", "a!", "a.b", "ab", "b", "é"];

const USERS: [&str; 2] = ["ann", "bob"];

#[derive(Clone, Debug)]
enum Step {
    CreateUser(usize),
    RemoveUser(usize),
    SetPassword(usize, Option<u8>),
    SetDisabled(usize, bool),
    SetQuota(usize, Option<u32>),
    SetAdmin(usize, bool),
    AddToken(usize, u8),
    UseToken(u8, i64),
    RevokeToken(u8),
    AddKey(usize, u8),
    SetProperty(usize, String, u8, bool),
    Store {
        user: usize,
        at: String,
        bytes: u32,
        placed: u8,
        new_only: bool,
    },
    SetTime(usize, String, i64),
    Delete(usize, String),
    MakeFolder(usize, String, bool),
    RemoveFolder(usize, String, bool),
    Move {
        user: usize,
        from: String,
        to: String,
        replace: bool,
    },
    Place(NodeId, u8),
    Lose(NodeId, u8, bool),
    Drop(usize),
    Replace(NodeId),
    Prove(NodeId),
    Undo(usize, String),
    /// Files of one folder, as they are, in another one.
    Refill {
        user: usize,
        from: String,
        to: String,
    },
    /// A version of one file is another file's, too.
    Copy {
        user: usize,
        from: String,
        to: String,
    },
    ForgetHistory(usize, String),
    /// An extent of one of some uploads, which begins with it if need be.
    Extent {
        user: usize,
        upload: u8,
        at: String,
        position: u8,
        bytes: u16,
        placed: u8,
    },
    /// A part of a file becomes one of an upload.
    Share {
        user: usize,
        upload: u8,
        position: u8,
        of: String,
        part: [u16; 2],
    },
    RemoveExtents {
        user: usize,
        upload: u8,
        positions: [u8; 2],
    },
    Complete {
        user: usize,
        upload: u8,
        new_only: bool,
    },
    DropUpload(usize, u8),
    DropIdleUploads,
    Snapshot(u8),
    RemoveSnapshot(u8),
    Release,
    Expire {
        user: usize,
        bytes: Option<u32>,
    },
    ForgetFolders,
    Sweep,
    NextGroup,
    RollBack,
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(0..NAMES.len(), 1..4)
        .prop_map(|parts| parts.iter().map(|part| NAMES[*part]).collect::<Vec<_>>().join("/"))
}

fn steps() -> impl Strategy<Value = Step> {
    let user = || 0..USERS.len();
    let node = || (0..4_usize).prop_map(|index| NodeId::ALL[index]);
    prop_oneof![
        2 => user().prop_map(Step::CreateUser),
        1 => user().prop_map(Step::RemoveUser),
        1 => (user(), any::<Option<u8>>()).prop_map(|(user, keep)| Step::SetPassword(user, keep)),
        1 => (user(), any::<bool>()).prop_map(|(user, yes)| Step::SetDisabled(user, yes)),
        1 => (user(), any::<bool>()).prop_map(|(user, yes)| Step::SetAdmin(user, yes)),
        1 => (user(), any::<Option<u32>>()).prop_map(|(user, bytes)| Step::SetQuota(user, bytes)),
        2 => (user(), 0..9_u8).prop_map(|(user, token)| Step::AddToken(user, token)),
        1 => (0..9_u8, 0..9_000_000_i64).prop_map(|(token, now)| Step::UseToken(token, now)),
        1 => (0..9_u8).prop_map(Step::RevokeToken),
        1 => (user(), 0..9_u8).prop_map(|(user, key)| Step::AddKey(user, key)),
        4 => (user(), paths(), 0..3_u8, any::<bool>())
            .prop_map(|(user, at, name, is_set)| Step::SetProperty(user, at, name, is_set)),
        24 => (user(), paths(), any::<u32>(), 0..16_u8, any::<bool>()).prop_map(
            |(user, at, bytes, placed, new_only)| Step::Store { user, at, bytes, placed, new_only }
        ),
        3 => (user(), paths(), any::<i64>()).prop_map(|(user, at, ms)| Step::SetTime(user, at, ms)),
        4 => (user(), paths()).prop_map(|(user, at)| Step::Delete(user, at)),
        4 => (user(), paths(), any::<bool>())
            .prop_map(|(user, at, parents)| Step::MakeFolder(user, at, parents)),
        3 => (user(), paths(), any::<bool>())
            .prop_map(|(user, at, recursive)| Step::RemoveFolder(user, at, recursive)),
        10 => (user(), paths(), paths(), any::<bool>()).prop_map(
            |(user, from, to, replace)| Step::Move { user, from, to, replace }
        ),
        4 => (node(), any::<u8>()).prop_map(|(node, n)| Step::Place(node, n)),
        4 => (node(), any::<u8>(), any::<bool>())
            .prop_map(|(node, n, counted)| Step::Lose(node, n, counted)),
        2 => (1..9_usize).prop_map(Step::Drop),
        1 => node().prop_map(Step::Replace),
        1 => node().prop_map(Step::Prove),
        8 => (user(), paths()).prop_map(|(user, at)| Step::Undo(user, at)),
        3 => (user(), paths(), paths())
            .prop_map(|(user, from, to)| Step::Refill { user, from, to }),
        3 => (user(), paths(), paths()).prop_map(|(user, from, to)| Step::Copy { user, from, to }),
        1 => (user(), paths()).prop_map(|(user, at)| Step::ForgetHistory(user, at)),
        12 => (user(), 0..UPLOADS, paths(), 0..6_u8, 1..9_u16, 0..16_u8).prop_map(
            |(user, upload, at, position, bytes, placed)| {
                Step::Extent { user, upload, at, position, bytes, placed }
            }
        ),
        4 => (user(), 0..UPLOADS, 0..6_u8, paths(), any::<[u16; 2]>()).prop_map(
            |(user, upload, position, of, part)| {
                Step::Share { user, upload, position, of, part }
            }
        ),
        2 => (user(), 0..UPLOADS, any::<[u8; 2]>()).prop_map(
            |(user, upload, [from, to])| {
                let positions = [from % 6, to % 6];
                Step::RemoveExtents { user, upload, positions }
            }
        ),
        8 => (user(), 0..UPLOADS, any::<bool>())
            .prop_map(|(user, upload, new_only)| Step::Complete { user, upload, new_only }),
        1 => (user(), 0..UPLOADS).prop_map(|(user, upload)| Step::DropUpload(user, upload)),
        1 => Just(Step::DropIdleUploads),
        2 => (0..4_u8).prop_map(Step::Snapshot),
        1 => (0..4_u8).prop_map(Step::RemoveSnapshot),
        2 => Just(Step::Release),
        3 => (user(), any::<Option<u32>>())
            .prop_map(|(user, bytes)| Step::Expire { user, bytes }),
        2 => Just(Step::ForgetFolders),
        2 => Just(Step::Sweep),
        6 => Just(Step::NextGroup),
        1 => Just(Step::RollBack),
    ]
}

fn version(n: u8) -> VersionId {
    VersionId([n; 16])
}

/// So many uploads begin at most.
const UPLOADS: u8 = 8;

/// The id of one of them.
/// No step has such a number.
fn upload(n: u8) -> VersionId {
    version(240 + n)
}

/// What an extent with this number has at most at its position.
fn positions(n: u8) -> [u64; 2] {
    [u64::from(n) * 1000, u64::from(n) * 1000 + 1000]
}

/// Does a step; most of them are refused now and then.
fn make(draft: &mut Draft<'_>, step: &Step, n: u8) -> Result<()> {
    let user = |index: &usize| name(USERS[*index]);
    let file = |at: &str| FilePath::parse_rooted(at).unwrap();
    let folder = |at: &str| FolderPath::parse(at).unwrap();
    let token = |n: u8| TokenId(Digest([n; 32]));
    match step {
        Step::CreateUser(index) => draft.create_user(&user(index), "none", n.into()).map(drop),
        Step::RemoveUser(index) => draft.remove_user(&user(index)),
        Step::SetPassword(index, keep) => {
            draft.set_password(&user(index), &format!("none {n}"), keep.map(token))
        }
        Step::SetDisabled(index, disabled) => draft.set_disabled(&user(index), *disabled),
        Step::SetAdmin(index, admin) => draft.set_admin(&user(index), *admin),
        Step::SetQuota(index, bytes) => {
            let quota = bytes.map_or(Quota::Unlimited, |bytes| Quota::Bytes(bytes.into()));
            draft.set_quota(&user(index), quota)
        }
        Step::AddToken(index, token) => {
            let account = draft.account(&user(index))?;
            draft.add_token(&account, &Digest([*token; 32]), "machine", n.into()).map(drop)
        }
        Step::UseToken(hash, now_ms) => draft.use_token(token(*hash), *now_ms),
        Step::RevokeToken(hash) => draft.revoke_token(token(*hash)),
        Step::AddKey(index, key) => {
            let account = draft.account(&user(index))?;
            let rights = Rights { read_only: *key > 4, folder: folder("a/b") };
            let (id, created_ms) = (KeyId([*key; 10]), n.into());
            let name = "program".to_owned();
            let own = AppKey { key: id, name, rights, created_ms, used_ms: created_ms };
            draft.add_key(&account, &Digest([*key; 32]), &own)
        }
        Step::SetProperty(index, at, name, is_set) => {
            let id = draft.account(&user(index))?.id;
            let value = is_set.then(|| format!("value {n}"));
            let property = Property { name: format!("name {name}"), value };
            draft.set_properties(id, &folder(at), &[property])
        }
        Step::Store { user: index, at, bytes, placed, new_only } => {
            let precondition = if *new_only { Precondition::Absent } else { Precondition::Any };
            let new = NewFile {
                user: draft.account(&user(index))?.id,
                path: file(at),
                version: version(n),
                seq: Seq(n.into()),
                bytes: (*bytes).into(),
                blake3: Digest([n; 32]),
                stored_ms: n.into(),
                placed: NodeSet::from_bits(*placed),
                inline: false,
                precondition,
                stored_by: format!("by {n}"),
                attributes: Default::default(),
            };
            draft.store(&new, None).map(drop)
        }
        Step::SetTime(index, at, ms) => {
            let id = draft.account(&user(index))?.id;
            let (_, top) = users::still_there(draft.connection, id)?;
            let there = files::there(draft.connection, top, &file(at))?;
            let version = there.ok_or_else(|| Error::NoSuchFile(file(at)))?;
            let attributes = FileAttributes { modified_ms: Some(*ms), kind: None };
            draft.set_attributes(id, &file(at), version, attributes)
        }
        Step::Delete(index, at) => {
            let id = draft.account(&user(index))?.id;
            draft.delete(id, &file(at))
        }
        Step::MakeFolder(index, at, parents) => {
            let id = draft.account(&user(index))?.id;
            draft.make_folder(id, &folder(at), *parents)
        }
        Step::RemoveFolder(index, at, recursive) => {
            let id = draft.account(&user(index))?.id;
            draft.remove_folder(id, &folder(at), *recursive).map(drop)
        }
        Step::Move { user: index, from, to, replace } => {
            let id = draft.account(&user(index))?.id;
            draft.relocate(id, &file(from), &folder(to), *replace).map(drop)
        }
        Step::Place(node, n) => draft.pieces_placed(*node, &[version(*n % 64)]).map(drop),
        Step::Lose(node, n, counted) => {
            draft.pieces_lost(*node, &[version(*n % 64)], *counted).map(drop)
        }
        Step::Replace(node) => draft.begin_replacement(*node, &format!("new:{n}"), n.into()),
        Step::Prove(node) => draft.prove_replacement(*node, n.into()).map(drop),
        Step::Undo(index, at) => {
            let id = draft.account(&user(index))?.id;
            draft.undo(id, &file(at)).map(drop)
        }
        Step::Refill { user: index, from, to } => {
            let id = draft.account(&user(index))?.id;
            let key = draft.begin_folder(id)?;
            let (_, top) = users::still_there(draft.connection, id)?;
            let found = tree::folder(draft.connection, top, &folder(from))?;
            let found = found.ok_or_else(|| Error::NoSuchFolder(folder(from)))?;
            let files =
                "SELECT name, version FROM entries WHERE parent = ?1 AND version IS NOT NULL";
            let files = all(draft.connection, files, [found], |row| {
                Ok((file(&row.get::<_, String>(0)?), VersionId(row.get(1)?)))
            })?;
            draft.fill_folder(id, key, vec![file("new/empty")], files)?;
            draft.attach(id, key, &folder(to)).map(drop)
        }
        Step::Copy { user: index, from, to } => {
            let id = draft.account(&user(index))?.id;
            let (_, top) = users::still_there(draft.connection, id)?;
            let found = tree::file(draft.connection, top, &file(from))?;
            let (_, version) = found.ok_or_else(|| Error::NoSuchFile(file(from)))?;
            draft.name_version(id, &file(to), version).map(drop)
        }
        Step::ForgetHistory(index, at) => {
            let id = draft.account(&user(index))?.id;
            draft.forget_history(id, &file(at))
        }
        Step::Extent { user: index, upload: id, at, position, bytes, placed } => {
            let account = draft.account(&user(index))?.id;
            let place = Place { user: user(index), path: file(at) };
            let begun = UploadBegun {
                upload: upload(*id),
                place,
                bytes: None,
                begun_ms: n.into(),
                attributes: Default::default(),
            };
            draft.add_extent(&NewExtent {
                user: account,
                upload: upload(*id),
                begun: Some(begun),
                positions: positions(*position),
                version: version(n),
                seq: Seq(n.into()),
                bytes: (*bytes).into(),
                blake3: Digest([n; 32]),
                stored_ms: n.into(),
                placed: NodeSet::from_bits(*placed),
                by: format!("by {n}"),
                tree: TreePart {
                    at: n.into(),
                    subtrees: vec![Subtree { level: n % 3, value: [n; 32] }],
                },
            })
        }
        Step::Share { user: index, upload: id, position, of, part: [start, bytes] } => {
            let account = draft.account(&user(index))?.id;
            let (_, top) = users::still_there(draft.connection, account)?;
            let found = tree::file(draft.connection, top, &file(of))?;
            let (_, version) = found.ok_or_else(|| Error::NoSuchFile(file(of)))?;
            let whole = "SELECT bytes FROM versions WHERE version = ?1";
            let whole: u64 = one(draft.connection, whole, [version.0], |row| row.get(0))?;
            let start = u64::from(*start) % whole.max(1);
            let bytes = u64::from(*bytes) % (whole - start).max(1) + 1;
            let part = Extent { version, start, bytes };
            draft.share_extent(account, upload(*id), positions(*position), part)
        }
        Step::RemoveExtents { user: index, upload: id, positions: [from, to] } => {
            let account = draft.account(&user(index))?.id;
            let [from, to] = [positions(*from)[0], positions(*to)[1]];
            draft.remove_extents(account, upload(*id), [from, to])
        }
        Step::Complete { user: index, upload: id, new_only } => {
            let account = draft.account(&user(index))?.id;
            let extents = extents::of(draft.connection, upload(*id))?;
            if extents.is_empty() {
                return Err(Error::NotSignedIn); // the facade refuses it
            }
            let precondition = if *new_only { Precondition::Absent } else { Precondition::Any };
            draft
                .complete_upload(&Completion {
                    user: account,
                    upload: upload(*id),
                    extents: Arc::new(extents),
                    seq: Seq(n.into()),
                    blake3: Digest([n; 32]),
                    stored_ms: n.into(),
                    by: format!("by {n}"),
                    precondition,
                })
                .map(drop)
        }
        Step::DropUpload(index, id) => {
            let account = draft.account(&user(index))?.id;
            draft.drop_upload(account, upload(*id))
        }
        Step::DropIdleUploads => {
            let all: Vec<VersionId> = (0..UPLOADS).map(upload).collect();
            draft.drop_idle_uploads(&all, Moment(i64::from(n) * 3)).map(drop)
        }
        Step::Snapshot(n) => draft.make_snapshot(&snapshot(*n), None),
        Step::RemoveSnapshot(n) => draft.remove_snapshot(&snapshot(*n)),
        Step::Release => draft.release_snapshot().map(drop),
        Step::Expire { user: index, bytes } => {
            let id = draft.account(&user(index))?.id;
            draft.expire(id, Moment::MAX, bytes.map(u64::from)).map(drop)
        }
        Step::ForgetFolders => draft.forget_folders(&[], Moment::MAX).map(drop),
        Step::Drop(_) | Step::Sweep | Step::NextGroup | Step::RollBack => Ok(()),
    }
}

fn snapshot(n: u8) -> SnapshotName {
    SnapshotName::parse(&format!("s{n}")).unwrap()
}

/// Does all steps in groups, as a server would. What is rolled back never was.
fn run(catalog: &Arc<Catalog>, steps: &[Step]) {
    let nodes = ["a:1", "b:2", "c:3", "d:4"].map(str::to_owned);
    change(catalog, |draft| draft.set_nodes(&nodes)).unwrap();
    go_on(catalog, steps, 1);
}

/// The same later; `first` is the number of the first step.
fn go_on(catalog: &Arc<Catalog>, steps: &[Step], first: u8) {
    let mut group: Option<Group> = None;
    for (step, n) in steps.iter().zip(first..) {
        let open = match group.take() {
            Some(open) => open,
            None => catalog.begin_group(1).unwrap(),
        };
        match step {
            Step::NextGroup => open.commit().unwrap(),
            Step::RollBack => open.roll_back(),
            Step::Drop(_) | Step::Sweep => {
                open.commit().unwrap();
                if let Step::Drop(most) = step {
                    let some = catalog.retired(*most).unwrap();
                    change(catalog, |draft| draft.drop_versions(&some)).unwrap();
                } else {
                    catalog.sweep_doomed().unwrap();
                }
            }
            _ => {
                let mut open = open;
                let before = open.entries().len();
                if open.attempt(|draft| make(draft, step, n)).is_err() {
                    assert_eq!(open.entries().len(), before, "a refusal adds no entry");
                }
                group = Some(open);
            }
        }
    }
    if let Some(open) = group {
        open.commit().unwrap();
    }
}

/// All that can be seen of a catalog.
#[derive(PartialEq, Debug)]
struct Picture {
    users: Vec<UserRecord>,
    files: Vec<(String, Vec<Entry>)>,
    versions: Vec<Held>,
    tokens: Vec<(Vec<u8>, String, i64, i64)>,
    properties: Vec<(String, String, Vec<Property>)>,
    placements: Vec<Placement>,
    debts: [Debt; 4],
    nodes: Option<[String; 4]>,
    replacements: Vec<(NodeId, String, String, Option<i64>)>,
    /// What names were: whose and where, what, and from when until when.
    past: Vec<(String, String, i64, i64)>,
    snapshots: Vec<NamedMoment>,
    uploads: Vec<Vec<Upload>>,
    /// What files that are joined are made of.
    joined: Vec<(Entry, Vec<ExtentRecord>)>,
}

/// What can be had back.
fn past(catalog: &Catalog) -> Vec<(String, String, i64, i64)> {
    let select = "SELECT users.name, parent, past.name, version, folder, made, gone
                  FROM past JOIN users ON users.id = user_id WHERE removed = 0";
    let told = catalog.read(|connection| {
        let mut places = tree::Places::new(connection);
        let rows = all(connection, select, [], |row| {
            let (user, parent, name): (String, i64, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let (version, folder): (Option<[u8; 16]>, Option<i64>) = (row.get(3)?, row.get(4)?);
            Ok((user, parent, name, version, folder, row.get(5)?, row.get(6)?))
        })?;
        let mut told = Vec::new();
        for (user, parent, name, version, folder, made, gone) in rows {
            if parent != 0 && places.folder(parent)?.is_none() {
                continue;
            }
            let what = match (version, folder) {
                (None, Some(folder)) => format!("{:?}", places.folder(folder)?),
                (version, _) => format!("{version:?}"),
            };
            told.push((format!("{user} {name}"), what, made, gone));
        }
        told.sort();
        Ok(told)
    });
    told.unwrap()
}

fn picture(catalog: &Catalog) -> Picture {
    let users = catalog.users().unwrap();
    let live = users.iter().filter(|user| user.state != UserState::Removing);
    let files = live.map(|user| {
        let id = catalog.user_id(&user.name).unwrap();
        (user.name.to_string(), catalog.list(id).unwrap())
    });
    let tokens =
        "SELECT hash, name || ' ' || password || ' ' || machine || ' ' || ifnull(hex(key), '-')
                      || ' ' || read_only || ' ' || folder, tokens.created_ms, used_ms
                  FROM tokens JOIN users ON users.id = user_id ORDER BY hash";
    let tokens = |connection: &rusqlite::Connection| {
        super::database::all(connection, tokens, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
    };
    let replacements = catalog.replacements().unwrap().into_iter();
    let files: Vec<(String, Vec<Entry>)> = files.collect();
    let joined = files.iter().flat_map(|(_, entries)| entries).filter_map(|entry| match entry {
        Entry::File(file) => {
            let extents = catalog.extents(file.version).unwrap();
            (!extents.is_empty()).then(|| (entry.clone(), extents))
        }
        Entry::Folder(_) => None,
    });
    let uploads = users.iter().filter(|user| user.state != UserState::Removing).map(|user| {
        let mut uploads = catalog.uploads(catalog.user_id(&user.name).unwrap(), None).unwrap();
        uploads.sort_by_key(|upload| upload.id);
        uploads
    });
    let properties = files.iter().flat_map(|(user, entries)| {
        let id = catalog.user_id(&name(user)).unwrap();
        entries.iter().filter_map(move |entry| {
            let path = match entry {
                Entry::File(file) => file.path.as_folder(),
                Entry::Folder(folder) => folder.clone(),
            };
            let own = catalog.properties(id, &path).unwrap();
            (!own.is_empty()).then(|| (user.clone(), path.to_string(), own))
        })
    });
    Picture {
        properties: properties.collect(),
        joined: joined.collect(),
        uploads: uploads.collect(),
        files,
        users,
        versions: catalog.versions_after(None, 1000).unwrap(),
        tokens: catalog.read(tokens).unwrap(),
        placements: catalog.placements().unwrap(),
        debts: catalog.debts().unwrap(),
        nodes: catalog.node_addresses().unwrap(),
        past: past(catalog),
        snapshots: catalog.snapshots().unwrap(),
        replacements: replacements
            .map(|own| (own.node, own.address, own.instead_of, own.proved_ms))
            .collect(),
    }
}

/// What a snapshot tells: nothing of what is on its way out, and of no entry.
fn without_what_goes(catalog: &Catalog) -> Picture {
    let mut picture = picture(catalog);
    picture.users.retain(|user| user.state != UserState::Removing);
    let is_current = |held: &Held| catalog.version(held.version).unwrap().is_some();
    picture.versions.retain(is_current);
    picture.versions.iter_mut().for_each(|held| held.placed_at = 0);
    for user in &mut picture.users {
        let id = catalog.user_id(&user.name).unwrap();
        let listed = catalog.list(id).unwrap();
        let sizes = listed.iter().filter_map(|entry| match entry {
            Entry::File(file) => Some(file.bytes),
            Entry::Folder(_) => None,
        });
        (user.files, user.bytes) = (sizes.clone().count() as u64, sizes.sum());
        let all = catalog.files_after(None, 1000).unwrap().into_iter();
        let own = all.filter(|own| own.place.user == user.name);
        user.stored_bytes = own.map(|own| own.record.bytes).sum();
    }
    // Versions below removed folders count as files until they are dropped.
    let surveyed = catalog.files_after(None, 1000).unwrap();
    let mut placements: Vec<Placement> = Vec::new();
    let mut debts = [Debt::default(); 4];
    for file in surveyed {
        let (placed, bytes) = (file.record.placed, file.record.bytes);
        match placements.iter_mut().find(|placement| placement.placed == placed) {
            Some(placement) => {
                placement.files += 1;
                placement.bytes += bytes;
            }
            None => placements.push(Placement { placed, files: 1, bytes }),
        }
        for node in NodeId::ALL.into_iter().filter(|node| !placed.contains(*node)) {
            debts[node.index()].pieces += 1;
            debts[node.index()].piece_bytes += bytes / 2;
        }
    }
    placements.sort_by_key(|placement| placement.placed.bits());
    Picture { placements, debts, ..picture }
}

fn load(catalog: &Catalog, folder: &Path) -> Catalog {
    let file = folder.join("snapshot");
    let head = catalog.snapshot(&file).unwrap();
    let mut loader = Loader::create(&folder.join("loaded.db"), CLUSTER).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let mut rest = &bytes[..];
    while let Some((content, length)) = read_frame(rest).unwrap() {
        loader.load(&decode_chunk(content).unwrap()).unwrap();
        rest = &rest[length..];
    }
    loader.finish(head.at).unwrap();
    Catalog::open(&folder.join("loaded.db"), CLUSTER).unwrap()
}

fn copies(all: &[Entry], version: VersionId) -> usize {
    let is_it = |entry: &&Entry| matches!(entry, Entry::File(file) if file.version == version);
    all.iter().filter(is_it).count()
}

/// What holds in every catalog.
fn check(catalog: &Catalog) {
    let held = catalog.versions_after(None, 1000).unwrap();
    let users = catalog.users().unwrap();
    let stored: u64 = users.iter().map(|user| user.stored_bytes).sum();
    assert_eq!(stored, held.iter().map(|held| held.bytes).sum::<u64>(), "to the byte");
    let mut current = BTreeSet::new();
    let mut retired_bytes: u64 = 0;
    for user in users.iter().filter(|user| user.state != UserState::Removing) {
        let id = catalog.user_id(&user.name).unwrap();
        let all = catalog.list(id).unwrap();
        let told = shown(&all);
        let path = |shown: &String| shown.strip_suffix('/').unwrap_or(shown).to_owned();
        assert!(told.windows(2).all(|pair| path(&pair[0]) < path(&pair[1])), "{told:?}");
        for most in [1, 3] {
            let mut paged: Vec<Entry> = Vec::new();
            loop {
                let (top, after) = (FolderPath::top(), paged.last());
                let page = catalog.page(id, &top, Scope::All, after, most).unwrap();
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, all, "by {most}");
        }
        let mut bytes = 0;
        for entry in &all {
            let Entry::File(file) = entry else { continue };
            let found = catalog.version(file.version).unwrap().unwrap();
            let place = (&found.place.path, &found.place.user);
            let is_copy = !current.insert(file.version);
            assert!(place == (&file.path, &user.name) || is_copy || copies(&all, file.version) > 1);
            assert!(!catalog.is_retired(file.version).unwrap());
            bytes += file.bytes;
        }
        let (_, usage) = catalog.quota_and_usage(id).unwrap();
        let files = all.iter().filter(|entry| matches!(entry, Entry::File(_)));
        assert_eq!(user.files, files.count() as u64);
        assert_eq!((usage.bytes, user.bytes), (bytes, bytes));
        retired_bytes += usage.retired_bytes;
    }
    let retired = catalog.retired(1000).unwrap();
    let of_retired = held.iter().filter(|held| retired.contains(&held.version));
    assert!(retired_bytes <= of_retired.map(|held| held.bytes).sum());
    let kept = held.iter().filter(|held| !catalog.is_retired(held.version).unwrap()).count();
    // A joined file's version has no pieces, and its extents may be files as well.
    let current_held = held.iter().filter(|held| current.contains(&held.version)).count();
    assert!(current_held <= kept && kept + retired.len() <= held.len());
    for held in &held {
        let place = catalog.version(held.version).unwrap().map(|found| found.place);
        let is_extent = catalog.read(|c| extents::is_extent(c, held.version)).unwrap();
        let is_retired = catalog.is_retired(held.version).unwrap();
        assert_eq!(place.is_none() && !is_extent, is_retired);
    }
    for node in NodeId::ALL {
        let missing = catalog.missing(node, None, 1000).unwrap();
        let found = catalog.files_after(None, 1000).unwrap();
        let expected = found.into_iter().filter(|file| !file.record.placed.contains(node));
        assert_eq!(missing, expected.collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_and_a_snapshot_make_the_same_catalog_as_the_jobs(
        steps in prop::collection::vec(steps(), 1..120),
        later in prop::collection::vec(steps(), 0..30),
    ) {
        let (folder, live) = empty();
        run(&live, &steps);
        check(&live);

        let (_other_folder, other) = empty();
        for entries in journal(&live).chunks(7) {
            other.apply(entries).unwrap();
        }
        prop_assert_eq!(other.end().unwrap(), live.end().unwrap());
        // An account that was removed stays in the list until it is swept.
        live.sweep_doomed().unwrap();
        other.sweep_doomed().unwrap();
        prop_assert_eq!(picture(&other), picture(&live));

        let loaded = load(&live, folder.path());
        check(&loaded);
        prop_assert_eq!(loaded.end().unwrap(), live.end().unwrap());
        prop_assert_eq!(picture(&loaded), without_what_goes(&live));

        go_on(&live, &later, 201);
        while let some @ [_, ..] = &live.retired(3).unwrap()[..] {
            change(&live, |draft| draft.drop_versions(some)).unwrap();
            live.sweep_doomed().unwrap();
        }
        live.sweep_doomed().unwrap();
        check(&live);
        let entries = live.entries_after(loaded.end().unwrap().id).unwrap().unwrap();
        loaded.apply(&entries).unwrap();
        loaded.sweep_doomed().unwrap();
        let (mut left, mut right) = (picture(&loaded), picture(&live));
        for picture in [&mut left, &mut right] {
            picture.versions.iter_mut().for_each(|held| held.placed_at = 0);
        }
        prop_assert_eq!(left, right);
    }
}
