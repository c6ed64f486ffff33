//! One history told in four ways: the catalog that made it, one that applied its journal, one that was
//! loaded from a snapshot on the way, and the names that nodes and `rescue` make of it. They must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use palk::core::catalog::{
    Catalog, FileRecord, Loader, NewFile, Surveyed, Usage, UserRecord, UserState,
};
use palk::core::error::{Error, Result};
use palk::core::names::{Folder, Named, Names};
use palk::core::path::{FilePath, FolderPath, UserName};
use palk::core::types::{ClusterId, Digest, Moment, NodeId, NodeSet, Precondition, Seq, VersionId};
use palk::core::wire::extended;
use palk::core::wire::journal::{Entry, SnapshotName, Told};
use palk::core::wire::snapshot::{decode_chunk, read_frame};
use proptest::prelude::*;

const CLUSTER: ClusterId = ClusterId([9; 16]);

/// What somebody may want. Paths are few, so that they meet.
#[derive(Clone, Debug)]
enum Wish {
    SignUp(usize),
    Remove(usize),
    Store(usize, FilePath),
    Delete(usize, FilePath),
    MakeFolder(usize, FilePath),
    RemoveFolder(usize, FilePath),
    Move(usize, FilePath, FilePath),
    /// One of the versions that there are.
    Name(usize, FilePath, usize),
    Undo(usize, FilePath),
    Begin(usize),
    /// A folder that is in no other one gets one of the versions that there are.
    Fill(usize, usize, usize),
    Attach(usize, usize, FolderPath),
    Expire(usize, usize),
    Forget(usize, FilePath),
    ForgetFolders,
    Snapshot(usize),
    RemoveSnapshot(usize),
    Release,
    /// The last version that was stored may not be readable.
    Doubt,
    Confirm,
    Revert,
    Drop,
    Lose(NodeId),
    Place(NodeId),
}

const USERS: [&str; 2] = ["ann", "demo"];

fn path() -> impl Strategy<Value = FilePath> {
    let part = || prop::sample::select(vec!["a", "b", "a.txt", "a_A1"]);
    prop::collection::vec(part(), 1..4)
        .prop_map(|parts| FilePath::parse_rooted(&parts.join("/")).unwrap())
}

fn wish() -> impl Strategy<Value = Wish> {
    let user = || 0..USERS.len();
    let which = || 0..100usize;
    let node = || prop::sample::select(NodeId::ALL.to_vec());
    prop_oneof![
        2 => user().prop_map(Wish::SignUp),
        1 => user().prop_map(Wish::Remove),
        8 => (user(), path()).prop_map(|(user, path)| Wish::Store(user, path)),
        4 => (user(), path()).prop_map(|(user, path)| Wish::Delete(user, path)),
        3 => (user(), path()).prop_map(|(user, path)| Wish::MakeFolder(user, path)),
        3 => (user(), path()).prop_map(|(user, path)| Wish::RemoveFolder(user, path)),
        6 => (user(), path(), path()).prop_map(|(user, from, to)| Wish::Move(user, from, to)),
        2 => (user(), path(), which()).prop_map(|(user, path, at)| Wish::Name(user, path, at)),
        5 => (user(), path()).prop_map(|(user, path)| Wish::Undo(user, path)),
        1 => user().prop_map(Wish::Begin),
        2 => (user(), which(), which()).prop_map(|(user, key, at)| Wish::Fill(user, key, at)),
        3 => (user(), which(), path()).prop_map(|(user, key, path)| {
            Wish::Attach(user, key, path.as_folder())
        }),
        1 => (user(), which()).prop_map(|(user, key)| Wish::Attach(user, key, FolderPath::top())),
        2 => (user(), which()).prop_map(|(user, upto)| Wish::Expire(user, upto)),
        1 => (user(), path()).prop_map(|(user, path)| Wish::Forget(user, path)),
        2 => Just(Wish::ForgetFolders),
        1 => (0..3usize).prop_map(Wish::Snapshot),
        1 => (0..3usize).prop_map(Wish::RemoveSnapshot),
        1 => Just(Wish::Release),
        3 => Just(Wish::Doubt),
        1 => Just(Wish::Confirm),
        2 => Just(Wish::Revert),
        2 => Just(Wish::Drop),
        1 => node().prop_map(Wish::Lose),
        1 => node().prop_map(Wish::Place),
    ]
}

fn name(user: usize) -> UserName {
    UserName::parse(USERS[user]).unwrap()
}

/// Does it, in a group of its own; gives the changes that were made, none if it was refused. Nothing that was
/// stored up to wish `decided` can be doubted any more.
fn fulfil(
    catalog: &Arc<Catalog>,
    wish: &Wish,
    number: u64,
    decided: u64,
    moments: &[Moment],
) -> Vec<Told> {
    let version = VersionId(u128::from(number).to_be_bytes());
    let retired = catalog.retired(100).unwrap();
    let missing = NodeId::ALL.map(|node| -> Vec<VersionId> {
        let rows = catalog.missing(node, None, 3).unwrap();
        rows.into_iter().map(|row| row.record.version).collect()
    });
    let held: Vec<VersionId> =
        catalog.versions_after(None, 3).unwrap().into_iter().map(|row| row.version).collect();
    let newest: Vec<VersionId> = catalog
        .versions_after(None, 10_000)
        .unwrap()
        .last()
        .map(|row| row.version)
        .filter(|version| u128::from_be_bytes(version.0) > u128::from(decided))
        .into_iter()
        .collect();
    let ids = [0, 1].map(|user| catalog.user_id(&name(user)).ok());
    let id = |user: usize| ids[user].ok_or(Error::NotSignedIn);
    // The newest moments first, as most of them are no folder's.
    let moment = |at: usize| {
        let moment = moments.iter().rev().nth(at.checked_rem(moments.len()).unwrap_or(0));
        moment.copied().unwrap_or_default()
    };
    let named = catalog.files_after(None, 10_000).unwrap();
    let version_of = |user: usize, at: usize| {
        let own: Vec<&Surveyed> = named.iter().filter(|one| one.place.user == name(user)).collect();
        let at = at.checked_rem(own.len()).ok_or(Error::NotSignedIn)?;
        Ok::<VersionId, Error>(own[at].record.version)
    };
    let snapshot = |at: usize| SnapshotName::parse(["one", "two", "three"][at]).unwrap();
    let uncertain = catalog.uncertain().unwrap();
    let wish = wish.clone();
    let mut group = catalog.begin_group(1).unwrap();
    let outcome = group.attempt(|draft| match wish {
        Wish::SignUp(user) => draft.create_user(&name(user), "no hash", 0).map(drop),
        Wish::Remove(user) => draft.remove_user(&name(user)),
        Wish::Store(user, path) => {
            let new = NewFile {
                user: id(user)?,
                path,
                version,
                seq: Seq(number),
                bytes: number,
                blake3: Digest([7; 32]),
                stored_ms: 5,
                placed: NodeSet::from_bits(if number.is_multiple_of(3) { 0b0111 } else { 0b1111 }),
                inline: number.is_multiple_of(2),
                precondition: Precondition::Any,
                stored_by: String::new(),
                attributes: Default::default(),
            };
            draft.store(&new, None).map(drop)
        }
        Wish::Delete(user, path) => draft.delete(id(user)?, &path),
        Wish::MakeFolder(user, path) => {
            draft.make_folder(id(user)?, &path.as_folder(), number.is_multiple_of(2))
        }
        Wish::RemoveFolder(user, path) => {
            draft.remove_folder(id(user)?, &path.as_folder(), number.is_multiple_of(2)).map(drop)
        }
        Wish::Move(user, from, to) => {
            draft.relocate(id(user)?, &from, &to.as_folder(), number.is_multiple_of(2)).map(drop)
        }
        Wish::Name(user, path, at) => {
            draft.name_version(id(user)?, &path, version_of(user, at)?).map(drop)
        }
        Wish::Undo(user, path) => draft.undo(id(user)?, &path).map(drop),
        Wish::Begin(user) => draft.begin_folder(id(user)?).map(drop),
        Wish::Fill(user, key, at) => {
            let file = FilePath::parse_rooted(&format!("g/f{number}")).unwrap();
            let folder = FilePath::parse_rooted(&format!("h/f{number}")).unwrap();
            let files = vec![(file, version_of(user, at)?)];
            draft.fill_folder(id(user)?, moment(key), vec![folder], files)
        }
        Wish::Attach(user, key, to) => draft.attach(id(user)?, moment(key), &to).map(drop),
        Wish::Expire(user, upto) => draft.expire(id(user)?, moment(upto), None).map(drop),
        Wish::Forget(user, path) => draft.forget_history(id(user)?, &path),
        Wish::ForgetFolders => draft.forget_folders(&[], Moment::MAX).map(drop),
        Wish::Snapshot(at) => draft.make_snapshot(&snapshot(at), None),
        Wish::RemoveSnapshot(at) => draft.remove_snapshot(&snapshot(at)),
        Wish::Release => draft.release_snapshot().map(drop),
        Wish::Doubt => draft.mark_uncertain(&newest),
        Wish::Confirm => uncertain.iter().try_for_each(|version| draft.confirm(*version)),
        Wish::Revert => uncertain.iter().try_for_each(|version| draft.revert(*version)),
        Wish::Drop => draft.drop_versions(&retired).map(drop),
        Wish::Lose(node) => draft.pieces_lost(node, &held, true).map(drop),
        Wish::Place(node) => draft.pieces_placed(node, &missing[node.index()]).map(drop),
    });
    let told = |entry: &Entry| Told { at: entry.at, change: entry.change().unwrap() };
    let changes: Vec<Told> = group.entries().iter().map(|pending| told(&pending.entry)).collect();
    assert!(outcome.is_ok() || changes.is_empty(), "{outcome:?} left {changes:?}");
    group.commit().unwrap();
    changes
}

/// The folders and files of all users, and the version of each file.
type Listed = BTreeMap<String, Option<VersionId>>;

/// The accounts that somebody can sign in to.
fn users(catalog: &Catalog) -> Vec<UserRecord> {
    let mut users = catalog.users().unwrap();
    users.retain(|user| user.state != UserState::Removing);
    users
}

fn told_by(catalog: &Catalog) -> Listed {
    let mut told = Listed::new();
    for user in users(catalog) {
        told.insert(format!("/{}", user.name), None);
        let id = catalog.user_id(&user.name).unwrap();
        for entry in catalog.list(id).unwrap() {
            match entry {
                extended::Entry::Folder(folder) => {
                    told.insert(format!("/{}/{}", user.name, folder.as_str()), None)
                }
                extended::Entry::File(file) => told
                    .insert(format!("/{}/{}", user.name, file.path.as_str()), Some(file.version)),
            };
        }
    }
    told
}

fn told_by_names(names: &Names) -> Listed {
    fn walk(at: &str, folder: &Folder, told: &mut Listed) {
        told.insert(at.to_owned(), None);
        for (name, named) in folder.entries() {
            let inner = format!("{at}/{name}");
            match named {
                Named::File(version) => drop(told.insert(inner, Some(*version))),
                Named::Folder(folder) => walk(&inner, folder, told),
            }
        }
    }
    let mut told = Listed::new();
    for (user, folder) in names.users() {
        walk(&format!("/{user}"), folder, &mut told);
    }
    told
}

/// All that a catalog knows of versions that are files' or are kept. Retired ones are in no snapshot:
/// whoever is loaded from one finds those pieces when nodes are compared.
/// Which of its names is told of a version with several is left open.
fn versions(catalog: &Catalog) -> Vec<(UserName, FileRecord)> {
    let all = catalog.files_after(None, 10_000).unwrap();
    all.into_iter().map(|Surveyed { place, record }| (place.user, record)).collect()
}

/// What is retired is in no snapshot.
fn not_retired(usage: Usage) -> Usage {
    let stored_bytes = usage.stored_bytes - usage.retired_bytes;
    Usage { stored_bytes, retired_bytes: 0, ..usage }
}

/// All that is in a catalog, as the changes that make it from nothing.
fn dump(catalog: &Catalog, folder: &Path) -> BTreeSet<String> {
    let copy = folder.join("dump");
    catalog.snapshot(&copy).unwrap();
    let bytes = std::fs::read(&copy).unwrap();
    let (mut at, mut all) = (0, BTreeSet::new());
    while let Some((content, length)) = read_frame(&bytes[at..]).unwrap() {
        all.extend(decode_chunk(content).unwrap().into_iter().map(|told| format!("{told:?}")));
        at += length;
    }
    all
}

fn assert_same(own: &BTreeSet<String>, other: &BTreeSet<String>, which: &str) {
    let differences: Vec<&String> = own.symmetric_difference(other).collect();
    assert!(differences.is_empty(), "{which}: {differences:#?}");
}

fn check(wishes: &[Wish], snapshot_at: usize) -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| Catalog::open(&folder.path().join(name), CLUSTER).map(Arc::new);
    let first = open("first.db")?;
    let mut moments = Vec::new();
    let (mut names, mut from_snapshot, mut loaded_at) = (Names::default(), None, 0);
    // A snapshot is made only of what is decided.
    let mut decided = 0;
    for (number, wish) in (0..).zip(wishes) {
        if number == snapshot_at {
            let copy = folder.path().join("snapshot");
            let head = first.snapshot(&copy)?;
            let mut loader = Loader::create(&folder.path().join("loaded.db"), CLUSTER)?;
            let mut told = Names::default();
            let bytes = std::fs::read(&copy).unwrap();
            let mut at = 0;
            while let Some((content, length)) = read_frame(&bytes[at..])? {
                let changes = decode_chunk(content)?;
                changes.iter().for_each(|one| told.apply(one.at, &one.change));
                loader.load(&changes)?;
                at += length;
            }
            loader.finish(head.at)?;
            assert_eq!(told_by_names(&told), told_by(&first), "the names in a snapshot");
            (loaded_at, decided) = (head.at.id, number as u64);
            from_snapshot = Some(open("loaded.db")?);
        }
        let changes = fulfil(&first, wish, number as u64 + 1, decided, &moments);
        moments.extend(changes.iter().map(|one| one.at));
        changes.iter().for_each(|one| names.apply(one.at, &one.change));
    }
    let told = told_by(&first);
    assert_eq!(told_by_names(&names), told, "the names");
    let second = open("second.db")?;
    second.apply(&first.entries_after(0)?.expect("nothing was pruned"))?;
    assert_eq!((told_by(&second), versions(&second)), (told.clone(), versions(&first)), "applied");
    assert_eq!(
        second.versions_after(None, 10_000)?,
        first.versions_after(None, 10_000)?,
        "applied"
    );
    assert_eq!(second.end()?, first.end()?);
    assert_same(&dump(&second, folder.path()), &dump(&first, folder.path()), "applied");
    if let Some(loaded) = from_snapshot {
        loaded.apply(&first.entries_after(loaded_at)?.expect("nothing was pruned"))?;
        assert_eq!((told_by(&loaded), versions(&loaded)), (told, versions(&first)), "loaded");
        assert_eq!(loaded.end()?, first.end()?);
        assert_same(&dump(&loaded, folder.path()), &dump(&first, folder.path()), "loaded");
        for user in users(&first) {
            let [own, other] = [&first, &loaded].map(|catalog| {
                catalog.quota_and_usage(catalog.user_id(&user.name).unwrap()).unwrap().1
            });
            assert_eq!(not_retired(own), not_retired(other), "of {}", user.name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn catalogs_snapshots_and_names_agree_about_every_history(
        wishes in prop::collection::vec(wish(), 1..60), snapshot_at in 0..60usize,
    ) {
        check(&wishes, snapshot_at).unwrap();
    }
}
