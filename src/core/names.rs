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
use crate::core::types::VersionId;
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

    fn take(&mut self, path: &FilePath) -> Option<Named> {
        self.at_mut(path.folder().as_str())?.entries.remove(path.name())
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// All names of all users.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names {
    users: BTreeMap<UserName, Folder>,
}

impl Names {
    /// Takes in the next change.
    pub fn apply(&mut self, change: &Change) {
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
                if let Some((above, name)) = folder.split()
                    && let Some(above) = self.top(user).at_mut(above.as_str())
                {
                    above.entries.remove(name);
                }
            }
            Change::Stored { place, version, .. } => {
                self.top(&place.user).put(&place.path, Named::File(*version));
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
                if self.get(place) == Some(*version) {
                    let top = self.top(&place.user);
                    match to {
                        Some(to) => top.put(&place.path, Named::File(*to)),
                        None => drop(top.take(&place.path)),
                    }
                }
            }
            Change::Led { .. }
            | Change::Uncertain { .. }
            | Change::Confirmed { .. }
            | Change::PasswordSet { .. }
            | Change::UserDisabled { .. }
            | Change::QuotaSet { .. }
            | Change::TokenMade { .. }
            | Change::TokenUsed { .. }
            | Change::TokenRevoked { .. }
            | Change::Dropped { .. }
            | Change::Placed { .. }
            | Change::Lost { .. }
            | Change::Nodes { .. }
            | Change::ReplacementBegun { .. }
            | Change::ReplacementProved { .. } => {}
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
        self.users.get(user)?.at(folder.as_str())
    }

    /// The users and their top folders, by name.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &Folder)> {
        self.users.iter()
    }

    /// Passes every folder on, each before those in it.
    pub fn walk(&self, take: &mut dyn FnMut(&UserName, &FolderPath, &Folder)) {
        for (user, top) in &self.users {
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
        // A name is cloned only where it is new.
        if !self.users.contains_key(user) {
            self.users.insert(user.clone(), Folder::default());
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
        changes.iter().for_each(|change| names.apply(change));
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
    fn a_folder_comes_before_what_is_in_it() {
        let names = names(&[stored("b/x", 1), stored("a/y/z", 2), stored("a.b", 3)]);
        let mut folders = Vec::new();
        names.walk(&mut |_, path, _| folders.push(path.as_str().to_owned()));
        assert_eq!(folders, ["", "a", "a/y", "b"]);
    }

    /// The same as a plain map from path to version, `None` for folders.
    #[derive(Default)]
    struct Model(BTreeMap<String, Option<u8>>);

    impl Model {
        fn make(&mut self, folder: &FolderPath) {
            for folder in folder.ancestry() {
                self.0.insert(folder.as_str().to_owned(), None);
            }
        }

        fn is_below(path: &str, folder: &str) -> bool {
            path == folder || path.starts_with(&format!("{folder}/"))
        }

        /// Only what the catalog would let pass.
        fn apply(&mut self, change: &Change) -> bool {
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
                Change::Stored { place, version, .. } => {
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
                    self.0.retain(|path, _| !Model::is_below(path, folder.as_str()));
                }
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

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let path = || {
            prop::collection::vec(prop::sample::select(vec!["a", "b", "a.b", "ab"]), 1..4)
                .prop_map(|parts| parts.join("/"))
        };
        let change = prop_oneof![
            4 => (path(), 1u8..).prop_map(|(at, n)| stored(&at, n)),
            1 => path().prop_map(|at| Change::Deleted { place: place(&at) }),
            4 => (path(), path()).prop_map(|(from, to)| moved(&from, &to)),
            2 => path().prop_map(|at| Change::FolderMade { user: user(), folder: folder(&at) }),
            1 => path().prop_map(|at| Change::FolderRemoved { user: user(), folder: folder(&at) }),
        ];
        prop::collection::vec(change, 0..60)
    }

    proptest! {
        #[test]
        fn names_are_those_of_a_plain_map(changes in changes()) {
            let mut model = Model::default();
            let password = String::new();
            let mut names = names(&[Change::UserMade { user: user(), password, created_ms: 0 }]);
            for change in changes {
                if model.apply(&change) {
                    names.apply(&change);
                    prop_assert_eq!(listed(&names), model.listed());
                }
            }
        }
    }
}
