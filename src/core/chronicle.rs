//! What everything was called and when: the names that a history of [`Change`]s adds up to, with all that
//! they were before.
//!
//! [`Names`] knows the present only, for nodes that keep it in memory. This is for whoever looks back:
//! every name in a folder has the times at which it was something. A folder that is moved or removed stays
//! the same folder, and only the name that led to it ends.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::core::names::{Names, parts};
use crate::core::path::{FolderPath, UserName};
use crate::core::types::{Moment, VersionId};
use crate::core::wire::journal::{Change, FolderAt, PastItem};
use crate::core::wire::node::Place;

/// What has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    File(VersionId),
    /// The folder's place in [`Chronicle::folders`].
    Folder(usize),
}

/// What a name is from a moment on, until before another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Binding {
    target: Target,
    made: Moment,
    /// [`Moment::MAX`] if it is so now.
    gone: Moment,
}

/// What the names in a folder are and were.
#[derive(Default, Debug)]
struct Folder {
    names: BTreeMap<Box<str>, Vec<Binding>>,
}

#[derive(Default, Debug)]
struct Account {
    /// The top folders, one after the other.
    tops: Vec<Binding>,
    /// Folders that are in no other one, by their keys.
    detached: HashMap<Moment, usize>,
}

/// All names of all users at all times.
#[derive(Default, Debug)]
pub struct Chronicle {
    users: BTreeMap<UserName, Account>,
    folders: Vec<Folder>,
    /// Versions that are not there any more.
    dropped: HashSet<VersionId>,
    snapshots: BTreeMap<String, Moment>,
    /// Of what went before these moments some may have been let go of.
    kept_since: BTreeMap<UserName, Moment>,
}

/// A version that is no file's current one, and the file that it was last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerVersion {
    /// The file.
    pub place: Place,
    /// The version.
    pub version: VersionId,
    /// Until when it was that.
    pub until: Moment,
}

impl Chronicle {
    /// Takes in the next change, which was made at this moment.
    pub fn apply(&mut self, at: Moment, change: &Change) {
        match change {
            Change::UserMade { user, .. } => drop(self.top(user, at)),
            Change::UserRemoved { user } => drop(self.users.remove(user)),
            Change::FolderMade { user, folder } => {
                let top = self.top(user, at);
                self.made(top, folder.as_str(), at);
            }
            Change::FolderRemoved { user, folder } => {
                let Some((above, name)) = folder.split() else { return };
                let top = self.top(user, at);
                if let Some(above) = self.find(top, above.as_str())
                    && let Some(Target::Folder(removed)) = self.end(above, name, at)
                {
                    self.account(user).detached.insert(at, removed);
                }
            }
            Change::Stored { .. } | Change::Named { .. } | Change::UploadCompleted { .. } => {
                let Some((place, version)) = change.names_file() else { return };
                let top = self.top(&place.user, at);
                let folder = self.made(top, place.path.folder().as_str(), at);
                self.bind(folder, place.path.name(), Target::File(version), at);
            }
            Change::Deleted { place } => {
                let top = self.top(&place.user, at);
                if let Some(folder) = self.find(top, place.path.folder().as_str()) {
                    self.end(folder, place.path.name(), at);
                }
            }
            Change::Moved { user, from, to } => {
                let top = self.top(user, at);
                let Some(folder) = self.find(top, from.folder().as_str()) else { return };
                if let Some(moved) = self.end(folder, from.name(), at) {
                    let folder = self.made(top, to.folder().as_str(), at);
                    self.bind(folder, to.name(), moved, at);
                }
            }
            Change::Reverted { place, version, to } => self.revert(at, place, *version, *to),
            Change::FolderBegun { user } => {
                let folder = self.new_folder();
                self.account(user).detached.insert(at, folder);
            }
            Change::FolderFilled { user, key, folders, files } => {
                let Some(folder) = self.account(user).detached.get(key).copied() else { return };
                for path in folders {
                    self.made(folder, path.as_str(), at);
                }
                for (path, version) in files {
                    let above = self.made(folder, path.folder().as_str(), at);
                    self.bind(above, path.name(), Target::File(*version), at);
                }
            }
            Change::FolderAttached { user, key, to } => self.attach(at, user, *key, to),
            Change::Past { user, folder, name, was, made, gone, .. } => {
                self.note(user, folder, name, was, [*made, *gone]);
            }
            Change::Dropped { versions } => self.dropped.extend(versions),
            Change::Expired { user, upto } => {
                let since = self.kept_since.entry(user.clone()).or_insert(*upto);
                *since = (*since).max(*upto);
            }
            Change::SnapshotMade { name, .. } => {
                self.snapshots.insert(name.as_str().to_owned(), at);
            }
            Change::SnapshotRemoved { of } => self.snapshots.retain(|_, own| own != of),
            _ => {}
        }
    }

    /// Users of whom some of what they had at a moment may have been let go of.
    pub fn known_in_part(&self, at: Moment) -> Vec<UserName> {
        if self.snapshots.values().any(|of| *of == at) {
            return Vec::new();
        }
        let is_partial = |(_, since): &(&UserName, &Moment)| at < **since;
        self.kept_since.iter().filter(is_partial).map(|(user, _)| user.clone()).collect()
    }

    /// The moment of a snapshot.
    pub fn snapshot(&self, name: &str) -> Option<Moment> {
        self.snapshots.get(name).copied()
    }

    /// What everything was called at a moment, as far as it is still there.
    pub fn at(&self, moment: Moment) -> Names {
        let mut names = Names::default();
        for (user, account) in &self.users {
            let top = account.tops.iter().find(|top| top.made <= moment && moment < top.gone);
            let Some(Binding { target: Target::Folder(top), .. }) = top else { continue };
            let mut open = vec![(*top, FolderPath::top())];
            while let Some((at, folder)) = open.pop() {
                let change = Change::FolderMade { user: user.clone(), folder: folder.clone() };
                names.apply(moment, &change);
                for (name, bindings) in &self.folders[at].names {
                    let then = bindings.iter().find(|own| own.made <= moment && moment < own.gone);
                    let (Some(then), Ok(path)) = (then, folder.join(name)) else { continue };
                    match then.target {
                        Target::Folder(inner) => open.push((inner, path.as_folder())),
                        Target::File(version) if !self.dropped.contains(&version) => {
                            let place = Place { user: user.clone(), path };
                            names.apply(moment, &Change::Named { place, version });
                        }
                        Target::File(_) => {}
                    }
                }
            }
        }
        names
    }

    /// The versions that are no file's current one and still there, each once, by the file that it was
    /// last.
    pub fn former(&self) -> Vec<FormerVersion> {
        let mut last: HashMap<VersionId, FormerVersion> = HashMap::new();
        for (user, account) in &self.users {
            for top in &account.tops {
                let Target::Folder(folder) = top.target else { continue };
                let mut open = vec![(folder, FolderPath::top(), top.made, top.gone)];
                while let Some((at, folder, from, until)) = open.pop() {
                    for (name, bindings) in &self.folders[at].names {
                        let Ok(path) = folder.join(name) else { continue };
                        for own in bindings {
                            let (made, gone) = (own.made.max(from), own.gone.min(until));
                            if made >= gone {
                                continue;
                            }
                            match own.target {
                                Target::Folder(inner) => {
                                    open.push((inner, path.as_folder(), made, gone));
                                }
                                Target::File(version) => {
                                    let place = Place { user: user.clone(), path: path.clone() };
                                    let found = FormerVersion { place, version, until: gone };
                                    let known = last.entry(version).or_insert(found.clone());
                                    if known.until < found.until {
                                        *known = found;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        let is_former =
            |own: &FormerVersion| own.until != Moment::MAX && !self.dropped.contains(&own.version);
        let mut former: Vec<FormerVersion> = last.into_values().filter(is_former).collect();
        former.sort_by(|a, b| {
            (&a.place.user, &a.place.path, a.until).cmp(&(&b.place.user, &b.place.path, b.until))
        });
        former
    }

    /// An uncertain version has never been: what it replaced has been there all the while.
    fn revert(&mut self, at: Moment, place: &Place, version: VersionId, to: Option<VersionId>) {
        let top = self.top(&place.user, at);
        let Some(folder) = self.find(top, place.path.folder().as_str()) else { return };
        let Some(bindings) = self.folders[folder].names.get_mut(place.path.name()) else { return };
        let Some(own) = bindings.iter().position(|own| own.target == Target::File(version)) else {
            return;
        };
        let Binding { made, gone, .. } = bindings.remove(own);
        let Some(to) = to else { return };
        let before =
            bindings.iter_mut().find(|own| own.target == Target::File(to) && own.gone == made);
        match before {
            Some(before) => before.gone = gone,
            None => bindings.push(Binding { target: Target::File(to), made, gone }),
        }
    }

    fn attach(&mut self, at: Moment, user: &UserName, key: Moment, to: &FolderPath) {
        let Some(folder) = self.account(user).detached.remove(&key) else { return };
        let top = self.top(user, at);
        let replaced = match to.split() {
            None => {
                let account = self.account(user);
                let last = account.tops.iter_mut().find(|own| own.gone == Moment::MAX);
                last.into_iter().for_each(|last| last.gone = at);
                let target = Target::Folder(folder);
                account.tops.push(Binding { target, made: at, gone: Moment::MAX });
                Some(Target::Folder(top))
            }
            Some((above, name)) => {
                let above = self.made(top, above.as_str(), at);
                self.bind(above, name, Target::Folder(folder), at)
            }
        };
        if let Some(Target::Folder(replaced)) = replaced {
            self.account(user).detached.insert(at, replaced);
        }
    }

    fn note(
        &mut self,
        user: &UserName,
        folder: &FolderAt,
        name: &str,
        was: &PastItem,
        [made, gone]: [Moment; 2],
    ) {
        let target = match was {
            PastItem::File(version) => Some(Target::File(*version)),
            PastItem::Folder(at) => self.folder_at(user, at).map(Target::Folder),
        };
        let Some(target) = target else { return };
        let binding = Binding { target, made, gone };
        if name.is_empty() {
            self.account(user).tops.push(binding);
        } else if let Some(folder) = self.folder_at(user, folder) {
            self.folders[folder].names.entry(name.into()).or_default().push(binding);
        }
    }

    fn folder_at(&mut self, user: &UserName, at: &FolderAt) -> Option<usize> {
        let root = match at.key {
            Some(key) => self.account(user).detached.get(&key).copied()?,
            None => self.top(user, Moment(0)),
        };
        self.find(root, at.path.as_str())
    }

    fn account(&mut self, user: &UserName) -> &mut Account {
        self.users.entry(user.clone()).or_default()
    }

    /// A user's present top folder.
    fn top(&mut self, user: &UserName, at: Moment) -> usize {
        let there = self.account(user).tops.iter().find(|top| top.gone == Moment::MAX);
        if let Some(Binding { target: Target::Folder(top), .. }) = there {
            return *top;
        }
        let top = self.new_folder();
        let binding = Binding { target: Target::Folder(top), made: at, gone: Moment::MAX };
        self.account(user).tops.push(binding);
        top
    }

    fn new_folder(&mut self) -> usize {
        self.folders.push(Folder::default());
        self.folders.len() - 1
    }

    fn child(&self, folder: usize, name: &str) -> Option<Target> {
        let bindings = self.folders[folder].names.get(name)?;
        bindings.iter().find(|own| own.gone == Moment::MAX).map(|own| own.target)
    }

    fn find(&self, root: usize, path: &str) -> Option<usize> {
        parts(path).try_fold(root, |folder, name| match self.child(folder, name)? {
            Target::Folder(inner) => Some(inner),
            Target::File(_) => None,
        })
    }

    fn made(&mut self, root: usize, path: &str, at: Moment) -> usize {
        let mut folder = root;
        for name in parts(path) {
            folder = match self.child(folder, name) {
                Some(Target::Folder(inner)) => inner,
                _ => {
                    let inner = self.new_folder();
                    self.bind(folder, name, Target::Folder(inner), at);
                    inner
                }
            };
        }
        folder
    }

    /// Ends what a name is; gives what that was.
    fn end(&mut self, folder: usize, name: &str, at: Moment) -> Option<Target> {
        let bindings = self.folders[folder].names.get_mut(name)?;
        let last = bindings.iter_mut().find(|own| own.gone == Moment::MAX)?;
        last.gone = at;
        Some(last.target)
    }

    fn bind(&mut self, folder: usize, name: &str, target: Target, at: Moment) -> Option<Target> {
        let before = self.end(folder, name, at);
        let binding = Binding { target, made: at, gone: Moment::MAX };
        self.folders[folder].names.entry(name.into()).or_default().push(binding);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::names::Named;
    use crate::core::path::FilePath;

    fn user() -> UserName {
        UserName::parse("demo").unwrap()
    }

    fn path(text: &str) -> FilePath {
        FilePath::parse_rooted(text).unwrap()
    }

    fn folder(text: &str) -> FolderPath {
        FolderPath::parse(text).unwrap()
    }

    fn named(text: &str, n: u8) -> Change {
        let place = Place { user: user(), path: path(text) };
        Change::Named { place, version: VersionId([n; 16]) }
    }

    fn listed(names: &Names) -> Vec<String> {
        let mut all = Vec::new();
        names.walk(&mut |_, path, folder| {
            for (name, named) in folder.entries() {
                let at = path.join(name).unwrap();
                all.push(match named {
                    Named::File(version) => format!("{at}={}", version.0[0]),
                    Named::Folder(_) => format!("{at}/"),
                });
            }
        });
        all.sort();
        all
    }

    /// The states that these changes led to are the ones that are seen when looking back.
    fn check(changes: &[Change]) -> Chronicle {
        let (mut chronicle, mut names, mut seen) = (Chronicle::default(), Names::default(), vec![]);
        for (at, change) in (1..).map(Moment).zip(changes) {
            chronicle.apply(at, change);
            names.apply(at, change);
            seen.push((at, listed(&names)));
        }
        for (at, expected) in seen {
            assert_eq!(listed(&chronicle.at(at)), expected, "{at:?}");
        }
        chronicle
    }

    #[test]
    fn every_state_is_seen_as_it_was() {
        let moved = |from, to| Change::Moved { user: user(), from: path(from), to: path(to) };
        let attached = |key, to| Change::FolderAttached { user: user(), key, to: folder(to) };
        let chronicle = check(&[
            named("a/x", 1),
            named("a/x", 2),
            named("a/y/z", 3),
            moved("a", "b"),
            moved("b/x", "c"),
            Change::FolderRemoved { user: user(), folder: folder("b") },
            named("b/new", 4),
            attached(Moment(6), "b"),
            Change::FolderBegun { user: user() },
            Change::FolderFilled {
                user: user(),
                key: Moment(9),
                folders: vec![path("empty")],
                files: vec![(path("x"), VersionId([2; 16])), (path("d/y"), VersionId([3; 16]))],
            },
            attached(Moment(9), ""),
            Change::Deleted { place: Place { user: user(), path: path("x") } },
            attached(Moment(11), ""),
        ]);
        let former = chronicle.former();
        let told: Vec<String> =
            former.iter().map(|own| format!("{}={}", own.place.path, own.version.0[0])).collect();
        assert_eq!(told, ["a/x=1", "b/new=4"], "the others are a file's");
    }

    #[test]
    fn what_was_dropped_is_seen_nowhere() {
        let mut chronicle = check(&[named("a", 1), named("a", 2), named("b", 3)]);
        assert_eq!(chronicle.former().len(), 1);
        chronicle.apply(Moment(4), &Change::Dropped { versions: vec![VersionId([1; 16])] });
        assert!(chronicle.former().is_empty());
        assert!(listed(&chronicle.at(Moment(1))).is_empty());
        assert_eq!(listed(&chronicle.at(Moment(3))), ["a=2", "b=3"]);
    }

    #[test]
    fn what_never_was_answered_never_was() {
        let place = Place { user: user(), path: path("a") };
        let (version, to) = (VersionId([2; 16]), Some(VersionId([1; 16])));
        let mut chronicle = check(&[named("a", 1), named("a", 2), named("a", 3)]);
        chronicle.apply(Moment(4), &Change::Reverted { place: place.clone(), version, to });
        assert_eq!(listed(&chronicle.at(Moment(2))), ["a=1"]);
        assert_eq!(listed(&chronicle.at(Moment(4))), ["a=3"]);
        let version = VersionId([3; 16]);
        chronicle.apply(Moment(5), &Change::Reverted { place, version, to });
        assert_eq!(listed(&chronicle.at(Moment(5))), ["a=1"]);
        assert!(chronicle.former().is_empty());
    }
}
