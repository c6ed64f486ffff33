//! What is called what: the names that a history of [`Change`]s adds up to.
//!
//! A tree for each user, as the catalog has it, with nothing but the current version of each file. So
//! a folder that is moved or removed with all that is in it costs as much as its path is long, and a
//! million files fit in memory with their names alone.
//!
//! Every change is taken as it comes: it has been checked by the catalog before it was recorded. Where
//! a history has gaps (`rescue` reads what is left of one), the later change counts.

use std::collections::BTreeMap;

use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{Moment, VersionId};
use crate::core::wire::journal::Change;
use crate::core::wire::node::Place;

/// What lies in a folder under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    /// A file, and its current version.
    File(VersionId),
    /// A folder.
    Folder(Folder),
}

/// A folder and all that is below it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Folder {
    entries: BTreeMap<Box<str>, Named>,
}

impl Folder {
    /// What lies in it, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Named)> {
        self.entries.iter().map(|(name, named)| (&**name, named))
    }

    /// What has this name in it.
    pub fn get(&self, name: &str) -> Option<&Named> {
        self.entries.get(name)
    }

    /// The folder at a path below this one.
    fn at(&self, path: &str) -> Option<&Folder> {
        parts(path).try_fold(self, |folder, name| match folder.entries.get(name)? {
            Named::Folder(inner) => Some(inner),
            Named::File(_) => None,
        })
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut Folder> {
        parts(path).try_fold(self, |folder, name| match folder.entries.get_mut(name)? {
            Named::Folder(inner) => Some(inner),
            Named::File(_) => None,
        })
    }

    /// The same; makes it, and those above it, where they are missing.
    fn made(&mut self, path: &str) -> &mut Folder {
        parts(path).fold(self, |folder, name| {
            let named = folder.entries.entry(name.into());
            let named = named.or_insert_with(|| Named::Folder(Folder::default()));
            if let Named::File(_) = named {
                *named = Named::Folder(Folder::default());
            }
            match named {
                Named::Folder(inner) => inner,
                Named::File(_) => unreachable!("it was just made a folder"),
            }
        })
    }

    fn put(&mut self, path: &FilePath, named: Named) {
        self.made(path.folder().as_str()).entries.insert(path.name().into(), named);
    }

    /// Every file that is one version is another one, or gone.
    fn replace(&mut self, version: VersionId, to: Option<VersionId>) {
        self.entries.retain(|_, named| match named {
            Named::File(own) if *own == version => match to {
                Some(to) => {
                    *own = to;
                    true
                }
                None => false,
            },
            Named::File(_) => true,
            Named::Folder(inner) => {
                inner.replace(version, to);
                true
            }
        });
    }

    fn take(&mut self, path: &FilePath) -> Option<Named> {
        self.at_mut(path.folder().as_str())?.entries.remove(path.name())
    }
}

/// The names of a path.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// What a user has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Account {
    top: Folder,
    /// Folders that are in no other one, by their keys: removed ones, and those that are being filled.
    detached: BTreeMap<Moment, Folder>,
}

/// All names of all users.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names {
    users: BTreeMap<UserName, Account>,
}

impl Names {
    /// Takes in the next change, which was made at this moment.
    pub fn apply(&mut self, at: Moment, change: &Change) {
        match change {
            Change::UserMade { user, .. } => {
                self.top(user);
            }
            Change::UserRemoved { user } => {
                self.users.remove(user);
            }
            Change::FolderMade { user, folder } => {
                self.top(user).made(folder.as_str());
            }
            Change::FolderRemoved { user, folder } => {
                let account = self.account(user);
                if let Some((above, name)) = folder.split()
                    && let Some(above) = account.top.at_mut(above.as_str())
                    && let Some(Named::Folder(removed)) = above.entries.remove(name)
                {
                    account.detached.insert(at, removed);
                }
            }
            Change::FolderBegun { user } => {
                self.account(user).detached.entry(at).or_default();
            }
            Change::FolderFilled { user, key, folders, files } => {
                let Some(folder) = self.account(user).detached.get_mut(key) else { return };
                for path in folders {
                    folder.made(path.as_str());
                }
                for (path, version) in files {
                    folder.put(path, Named::File(*version));
                }
            }
            Change::FolderAttached { user, key, to } => {
                let account = self.account(user);
                let Some(folder) = account.detached.remove(key) else { return };
                let replaced = match to.split() {
                    None => Some(Named::Folder(std::mem::replace(&mut account.top, folder))),
                    Some((above, name)) => {
                        let above = account.top.made(above.as_str());
                        above.entries.insert(name.into(), Named::Folder(folder))
                    }
                };
                if let Some(Named::Folder(replaced)) = replaced {
                    account.detached.insert(at, replaced);
                }
            }
            Change::FoldersForgotten { keys } => {
                for account in self.users.values_mut() {
                    account.detached.retain(|key, _| !keys.contains(key));
                }
            }
            Change::Stored { .. } | Change::Named { .. } | Change::UploadCompleted { .. } => {
                let Some((place, version)) = change.names_file() else { return };
                self.top(&place.user).put(&place.path, Named::File(version));
            }
            Change::Deleted { place } => {
                self.top(&place.user).take(&place.path);
            }
            Change::Moved { user, from, to } => {
                let top = self.top(user);
                if let Some(named) = top.take(from) {
                    top.put(to, named);
                }
            }
            Change::Reverted { place, version, to } => {
                // It may have got other names meanwhile, or none.
                let account = self.account(&place.user);
                account.top.replace(*version, *to);
                account.detached.values_mut().for_each(|folder| folder.replace(*version, *to));
            }
            Change::Led { .. }
            | Change::Uncertain { .. }
            | Change::Confirmed { .. }
            | Change::PasswordSet { .. }
            | Change::UserDisabled { .. }
            | Change::QuotaSet { .. }
            | Change::AdminSet { .. }
            | Change::TokenMade { .. }
            | Change::TokenUsed { .. }
            | Change::TokenRevoked { .. }
            | Change::AttributesSet { .. }
            | Change::KeyMade { .. }
            | Change::PropertiesSet { .. }
            | Change::Dropped { .. }
            | Change::Placed { .. }
            | Change::Lost { .. }
            | Change::Nodes { .. }
            | Change::ReplacementBegun { .. }
            | Change::ReplacementProved { .. }
            | Change::Expired { .. }
            | Change::SnapshotMade { .. }
            | Change::SnapshotRemoved { .. }
            | Change::SnapshotReleased { .. }
            | Change::HistoryForgotten { .. }
            | Change::UploadBegun(_)
            | Change::ExtentStored { .. }
            | Change::ExtentShared { .. }
            | Change::ExtentsRemoved { .. }
            | Change::UploadsDropped { .. }
            | Change::Extents { .. }
            | Change::Kept(_)
            | Change::Replaced { .. }
            | Change::Past { .. } => {}
        }
    }

    /// The current version of a file.
    pub fn get(&self, place: &Place) -> Option<VersionId> {
        match self.folder(&place.user, &place.path.folder())?.get(place.path.name())? {
            Named::File(version) => Some(*version),
            Named::Folder(_) => None,
        }
    }

    /// A user's folder.
    pub fn folder(&self, user: &UserName, folder: &FolderPath) -> Option<&Folder> {
        self.users.get(user)?.top.at(folder.as_str())
    }

    /// The users and their top folders, by name.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &Folder)> {
        self.users.iter().map(|(user, account)| (user, &account.top))
    }

    /// Passes every folder on, each before those in it.
    pub fn walk(&self, take: &mut dyn FnMut(&UserName, &FolderPath, &Folder)) {
        for (user, top) in self.users() {
            let mut open = vec![(FolderPath::top(), top)];
            while let Some((path, folder)) = open.pop() {
                take(user, &path, folder);
                for (name, named) in folder.entries.iter().rev() {
                    // A path that is too long for the catalog is in no valid history.
                    if let (Named::Folder(inner), Ok(path)) = (named, path.join(name)) {
                        open.push((path.as_folder(), inner));
                    }
                }
            }
        }
    }

    fn top(&mut self, user: &UserName) -> &mut Folder {
        &mut self.account(user).top
    }

    fn account(&mut self, user: &UserName) -> &mut Account {
        // A name is cloned only where it is new.
        if !self.users.contains_key(user) {
            self.users.insert(user.clone(), Account::default());
        }
        self.users.entry(user.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use crate::core::types::{Digest, NodeSet, Seq};

    fn user() -> UserName {
        UserName::parse("demo").unwrap()
    }

    fn path(text: &str) -> FilePath {
        FilePath::parse_rooted(text).unwrap()
    }

    fn place(text: &str) -> Place {
        Place { user: user(), path: path(text) }
    }

    fn stored(text: &str, n: u8) -> Change {
        Change::Stored {
            place: place(text),
            version: VersionId([n; 16]),
            seq: Seq(n.into()),
            bytes: 0,
            blake3: Digest([n; 32]),
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

    fn folder(text: &str) -> FolderPath {
        FolderPath::parse(text).unwrap()
    }

    fn removed(text: &str) -> Change {
        Change::FolderRemoved { user: user(), folder: folder(text) }
    }

    fn named(text: &str, n: u8) -> Change {
        Change::Named { place: place(text), version: VersionId([n; 16]) }
    }

    fn begun() -> Change {
        Change::FolderBegun { user: user() }
    }

    fn filled(key: i64, folders: &[&str], files: &[(&str, u8)]) -> Change {
        Change::FolderFilled {
            user: user(),
            key: Moment(key),
            folders: folders.iter().map(|text| path(text)).collect(),
            files: files.iter().map(|(text, n)| (path(text), VersionId([*n; 16]))).collect(),
        }
    }

    fn attached(key: i64, to: &str) -> Change {
        Change::FolderAttached { user: user(), key: Moment(key), to: folder(to) }
    }

    fn forgotten(keys: &[i64]) -> Change {
        Change::FoldersForgotten { keys: keys.iter().map(|key| Moment(*key)).collect() }
    }

    /// Folders end in a slash; files name their version.
    fn listed(names: &Names) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        names.walk(&mut |_, path, folder| {
            all.insert(format!("{}/", path.as_str()));
            for (name, named) in folder.entries() {
                if let Named::File(version) = named {
                    all.insert(format!("{}={}", path.join(name).unwrap().as_str(), version.0[0]));
                }
            }
        });
        all
    }

    fn names(changes: &[Change]) -> Names {
        let mut names = Names::default();
        for (at, change) in (1..).zip(changes) {
            names.apply(Moment(at), change);
        }
        names
    }

    fn expect(changes: &[Change], expected: &[&str]) {
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(listed(&names(changes)), expected);
    }

    #[test]
    fn a_store_makes_the_folders_that_are_missing_and_replaces_a_file() {
        expect(&[stored("a/b/c", 1), stored("a/b/c", 2)], &["/", "a/", "a/b/", "a/b/c=2"]);
        let names = names(&[stored("a/b", 1)]);
        assert_eq!(names.get(&place("a/b")), Some(VersionId([1; 16])));
        assert_eq!(names.get(&place("a")), None, "a folder is no file");
        assert_eq!(names.get(&place("a/b/c")), None);
    }

    #[test]
    fn a_folder_is_moved_and_removed_with_all_that_is_in_it() {
        let stores = [stored("a/x", 1), stored("a/y/z", 2), stored("ab", 3), stored("a.b", 4)];
        let with = |change| [&stores[..], &[change]].concat();
        let rest = ["/", "ab=3", "a.b=4"];
        let moved_names = ["n/", "n/x=1", "n/y/", "n/y/z=2"];
        expect(&with(moved("a", "n")), &[&rest[..], &moved_names].concat());
        expect(&with(Change::FolderRemoved { user: user(), folder: folder("a") }), &rest);
        expect(&with(Change::UserRemoved { user: user() }), &[]);
    }

    #[test]
    fn a_moved_file_replaces_a_file_and_one_that_is_not_there_changes_nothing() {
        expect(&[stored("a", 1), stored("b", 2), moved("a", "b")], &["/", "b=1"]);
        expect(&[stored("b", 2), moved("a", "b")], &["/", "b=2"]);
        expect(&[stored("b", 2), Change::Deleted { place: place("a") }], &["/", "b=2"]);
        expect(&[stored("b", 2), Change::Deleted { place: place("b") }], &["/"]);
    }

    #[test]
    fn an_account_has_a_top_folder_from_the_beginning() {
        let password = String::new();
        let made = Change::UserMade { user: user(), password, created_ms: 0 };
        expect(std::slice::from_ref(&made), &["/"]);
        expect(&[stored("a", 1), made], &["/", "a=1"]);
    }

    #[test]
    fn a_version_that_is_there_already_is_named() {
        expect(&[stored("a", 1), stored("a", 2), named("a", 1)], &["/", "a=1"]);
        expect(&[stored("a", 1), named("x/b", 1)], &["/", "a=1", "x/", "x/b=1"]);
    }

    // The changes are made at the moments 1, 2, 3 and so on.

    #[test]
    fn a_version_that_is_taken_back_goes_wherever_it_is_by_then_and_nowhere_else() {
        let reverted = |to: Option<u8>| Change::Reverted {
            place: place("a"),
            version: VersionId([2; 16]),
            to: to.map(|n| VersionId([n; 16])),
        };
        let stores = [stored("a", 1), stored("a", 2), named("x/b", 2), named("y/c", 2)];
        let more = |more: &[Change]| [&stores[..], more].concat();
        let back = more(&[removed("y"), reverted(Some(1)), attached(5, "y")]);
        expect(&back, &["/", "a=1", "x/", "x/b=1", "y/", "y/c=1"]);
        let gone = more(&[removed("y"), reverted(None), attached(5, "y")]);
        expect(&gone, &["/", "x/", "y/"]);
        expect(&[stored("a", 2), stored("a", 3), reverted(Some(1))], &["/", "a=3"]);
    }

    #[test]
    fn a_removed_folder_comes_back_with_all_that_was_in_it() {
        let gone = [stored("x/a", 1), stored("x/y/b", 2), removed("x")];
        let back = |more: &[Change]| [&gone[..], more].concat();
        expect(&gone, &["/"]);
        let as_it_was = ["/", "x/", "x/a=1", "x/y/", "x/y/b=2"];
        expect(&back(&[attached(3, "x")]), &as_it_was);
        expect(
            &back(&[attached(3, "n/m")])[..],
            &["/", "n/", "n/m/", "n/m/a=1", "n/m/y/", "n/m/y/b=2"],
        );
        expect(&back(&[attached(3, "x"), attached(3, "z")]), &as_it_was);
        expect(&back(&[attached(2, "x")]), &["/"]);
    }

    #[test]
    fn a_folder_that_was_filled_takes_the_place_of_another_and_that_one_comes_back() {
        let fill = [
            stored("x/old", 1),
            begun(),
            filled(2, &["empty", "y"], &[("y/a", 2), ("b", 3)]),
            filled(2, &[], &[("y/c", 4)]),
        ];
        expect(&fill, &["/", "x/", "x/old=1"]);
        let more = |more: &[Change]| [&fill[..], more].concat();
        let new = ["/", "x/", "x/b=3", "x/empty/", "x/y/", "x/y/a=2", "x/y/c=4"];
        expect(&more(&[attached(2, "x")]), &new);
        expect(&more(&[attached(2, "x"), attached(5, "x")]), &["/", "x/", "x/old=1"]);
        expect(&more(&[attached(2, "x"), attached(5, "x"), attached(6, "x")]), &new);
        let in_place_of_a_file = [stored("f", 1), begun(), attached(2, "f")];
        expect(&in_place_of_a_file, &["/", "f/"]);
    }

    #[test]
    fn the_top_folder_is_replaced_and_comes_back() {
        let fill = [stored("x/a", 1), begun(), filled(2, &[], &[("b", 2)])];
        let more = |more: &[Change]| [&fill[..], more].concat();
        expect(&more(&[attached(2, "")]), &["/", "b=2"]);
        expect(&more(&[attached(2, ""), stored("c", 3)]), &["/", "b=2", "c=3"]);
        expect(&more(&[attached(2, ""), attached(4, "")]), &["/", "x/", "x/a=1"]);
        expect(
            &more(&[attached(2, ""), attached(4, "old")]),
            &["/", "b=2", "old/", "old/x/", "old/x/a=1"],
        );
    }

    #[test]
    fn a_forgotten_folder_does_not_come_back() {
        let gone = [stored("x/a", 1), removed("x"), stored("y/b", 2), removed("y")];
        let more = |more: &[Change]| [&gone[..], more].concat();
        let (first, second) = (attached(2, "x"), attached(4, "y"));
        let both = more(&[forgotten(&[2]), first.clone(), second.clone()]);
        expect(&both, &["/", "y/", "y/b=2"]);
        assert_eq!(names(&more(&[forgotten(&[2, 4])])).users[&user()].detached.len(), 0);
        let made = Change::UserMade { user: user(), password: String::new(), created_ms: 0 };
        let removed_with_the_account = [Change::UserRemoved { user: user() }, made, first, second];
        expect(&more(&removed_with_the_account), &["/"]);
    }

    #[test]
    fn a_folder_comes_before_what_is_in_it() {
        let names = names(&[stored("b/x", 1), stored("a/y/z", 2), stored("a.b", 3)]);
        let mut folders = Vec::new();
        names.walk(&mut |_, path, _| folders.push(path.as_str().to_owned()));
        assert_eq!(folders, ["", "a", "a/y", "b"]);
    }

    type Paths = BTreeMap<String, Option<u8>>;

    /// The same as plain maps from path to version, `None` for folders: what there is, and what is in
    /// the folders that are in no other one.
    #[derive(Default)]
    struct Model(Paths, BTreeMap<Moment, Paths>);

    /// What is below a folder in a map, under the rest of its path.
    fn take_below(paths: &mut Paths, folder: &str) -> Paths {
        let taken = std::mem::take(paths)
            .into_iter()
            .partition(|(path, _)| folder.is_empty() || Model::is_below(path, folder));
        let (inside, outside): (Paths, Paths) = taken;
        *paths = outside;
        let rest = |path: &str| path[folder.len()..].trim_start_matches('/').to_owned();
        let inside = inside.into_iter().map(|(path, named)| (rest(&path), named));
        inside.filter(|(path, _)| !path.is_empty()).collect()
    }

    impl Model {
        fn make(&mut self, folder: &FolderPath) {
            for folder in folder.ancestry() {
                self.0.insert(folder.as_str().to_owned(), None);
            }
        }

        fn is_below(path: &str, folder: &str) -> bool {
            path == folder || path.starts_with(&format!("{folder}/"))
        }

        /// The key of a detached folder.
        fn key(&self, at: usize) -> Option<Moment> {
            let count = self.1.len();
            self.1.keys().nth(at.checked_rem(count)?).copied()
        }

        /// Only what the catalog would let pass.
        fn apply(&mut self, at: Moment, change: &Change) -> bool {
            let is_folder = |model: &Model, path: &str| {
                path.is_empty() || model.0.get(path).is_some_and(Option::is_none)
            };
            let no_file_above = |model: &Model, folder: &FolderPath| {
                folder
                    .ancestry()
                    .iter()
                    .all(|f| model.0.get(f.as_str()).is_none_or(Option::is_none))
            };
            match change {
                Change::Stored { place, version, .. } | Change::Named { place, version } => {
                    let folder = place.path.folder();
                    if is_folder(self, place.path.as_str()) || !no_file_above(self, &folder) {
                        return false;
                    }
                    self.make(&folder);
                    self.0.insert(place.path.as_str().to_owned(), Some(version.0[0]));
                }
                Change::FolderMade { folder, .. } => {
                    if !no_file_above(self, folder) {
                        return false;
                    }
                    self.make(folder);
                }
                Change::FolderRemoved { folder, .. } => {
                    if !is_folder(self, folder.as_str()) {
                        return false;
                    }
                    let inside = take_below(&mut self.0, folder.as_str());
                    self.1.insert(at, inside);
                }
                Change::FolderBegun { .. } => drop(self.1.insert(at, Paths::new())),
                Change::FolderFilled { key, folders, files, .. } => {
                    let mut inside = Model(self.1[key].clone(), BTreeMap::new());
                    let made = folders
                        .iter()
                        .map(|path| Change::FolderMade { user: user(), folder: path.as_folder() });
                    let named = files.iter().map(|(path, version)| Change::Named {
                        place: Place { user: user(), path: path.clone() },
                        version: *version,
                    });
                    if !made.chain(named).all(|change| inside.apply(at, &change)) {
                        return false;
                    }
                    self.1.insert(*key, inside.0);
                }
                Change::FolderAttached { key, to, .. } => {
                    let above = to.split().map_or_else(FolderPath::top, |(above, _)| above);
                    if !no_file_above(self, &above) {
                        return false;
                    }
                    let inside = self.1.remove(key).unwrap();
                    let was_folder = is_folder(self, to.as_str());
                    let replaced = take_below(&mut self.0, to.as_str());
                    if was_folder {
                        self.1.insert(at, replaced);
                    }
                    self.make(to);
                    for (path, named) in inside {
                        let path = format!("{}/{path}", to.as_str());
                        self.0.insert(path.trim_start_matches('/').to_owned(), named);
                    }
                }
                Change::FoldersForgotten { keys } => keys.iter().for_each(|key| {
                    self.1.remove(key);
                }),
                Change::Deleted { place } => {
                    if !matches!(self.0.get(place.path.as_str()), Some(Some(_))) {
                        return false;
                    }
                    self.0.remove(place.path.as_str());
                }
                Change::Moved { from, to, .. } => {
                    let (from, to) = (from.as_str(), to.as_str());
                    let is_taken = match (self.0.get(from), self.0.get(to)) {
                        (None, _) | (Some(None), Some(_)) | (Some(_), Some(None)) => true,
                        (Some(_), _) => false,
                    };
                    let above = path(to).folder();
                    if is_taken || Model::is_below(to, from) || !is_folder(self, above.as_str()) {
                        return false;
                    }
                    self.0 = std::mem::take(&mut self.0)
                        .into_iter()
                        .filter(|(path, _)| path != to)
                        .map(|(path, named)| match path.strip_prefix(from) {
                            Some(rest) if Model::is_below(&path, from) => {
                                (format!("{to}{rest}"), named)
                            }
                            _ => (path, named),
                        })
                        .collect();
                }
                _ => return false,
            }
            true
        }

        fn listed(&self) -> BTreeSet<String> {
            let entries = self.0.iter().map(|(path, named)| match named {
                None => format!("{path}/"),
                Some(n) => format!("{path}={n}"),
            });
            entries.chain(["/".to_owned()]).collect()
        }
    }

    /// A change of what is called something, or of one of the detached folders, whichever has this place
    /// among them then.
    #[derive(Clone, Debug)]
    enum Wish {
        Change(Change),
        Fill(usize, Vec<FilePath>, Vec<(FilePath, VersionId)>),
        Attach(usize, FolderPath),
        Forget(usize),
    }

    impl Wish {
        fn change(self, model: &Model) -> Option<Change> {
            let user = user();
            Some(match self {
                Wish::Change(change) => change,
                Wish::Fill(at, folders, files) => {
                    Change::FolderFilled { user, key: model.key(at)?, folders, files }
                }
                Wish::Attach(at, to) => Change::FolderAttached { user, key: model.key(at)?, to },
                Wish::Forget(at) => Change::FoldersForgotten { keys: vec![model.key(at)?] },
            })
        }
    }

    fn wishes() -> impl Strategy<Value = Vec<Wish>> {
        let path = || {
            prop::collection::vec(prop::sample::select(vec!["a", "b", "a.b", "ab"]), 1..4)
                .prop_map(|parts| parts.join("/"))
        };
        let paths = || prop::collection::vec(path(), 0..3);
        let files = |files: Vec<(String, u8)>| {
            files.iter().map(|(at, n)| (self::path(at), VersionId([*n; 16]))).collect()
        };
        let change = prop_oneof![
            4 => (path(), 1u8..).prop_map(|(at, n)| stored(&at, n)),
            1 => path().prop_map(|at| Change::Deleted { place: place(&at) }),
            4 => (path(), path()).prop_map(|(from, to)| moved(&from, &to)),
            2 => path().prop_map(|at| Change::FolderMade { user: user(), folder: folder(&at) }),
            2 => path().prop_map(|at| removed(&at)),
            2 => (path(), 1u8..).prop_map(|(at, n)| named(&at, n)),
            1 => Just(begun()),
        ];
        let at = || 0..100usize;
        let wish = prop_oneof![
            16 => change.prop_map(Wish::Change),
            2 => (at(), paths(), prop::collection::vec((path(), 1u8..), 0..3)).prop_map(
                move |(at, folders, named)| {
                    let folders = folders.iter().map(|at| self::path(at)).collect();
                    Wish::Fill(at, folders, files(named))
                }
            ),
            3 => (at(), path()).prop_map(|(at, to)| Wish::Attach(at, folder(&to))),
            1 => at().prop_map(|at| Wish::Attach(at, FolderPath::top())),
            1 => at().prop_map(Wish::Forget),
        ];
        prop::collection::vec(wish, 0..60)
    }

    proptest! {
        #[test]
        fn names_are_those_of_a_plain_map(wishes in wishes()) {
            let mut model = Model::default();
            let password = String::new();
            let mut names = names(&[Change::UserMade { user: user(), password, created_ms: 0 }]);
            for (at, wish) in (2..).map(Moment).zip(wishes) {
                let Some(change) = wish.change(&model) else { continue };
                if model.apply(at, &change) {
                    names.apply(at, &change);
                    prop_assert_eq!(listed(&names), model.listed());
                    let keys = names.users[&user()].detached.keys();
                    prop_assert!(keys.eq(model.1.keys()));
                }
            }
        }
    }
}
