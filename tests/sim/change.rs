//! What somebody wants to be changed, and what it makes of what there is.

use palk::core::types::Digest;

use super::state::{Item, Snapshot, State, Tree};
use super::upload::UploadChange;

/// Who makes snapshots.
pub(crate) const OPERATOR: &str = "the operator";

/// A change that a user wants, or the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) user: &'static str,
    pub(crate) what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Store {
        path: String,
        blake3: Digest,
        bytes: u64,
    },
    Delete {
        path: String,
    },
    /// With those above it; one that is there already is made already.
    MakeFolder {
        path: String,
    },
    /// With all that is in it.
    RemoveFolder {
        path: String,
    },
    /// A file over a file, or a folder to a name that nothing has; into `to` where that is a folder.
    Move {
        from: String,
        to: String,
    },
    /// The same of what stays where it is.
    Copy {
        from: String,
        to: String,
    },
    /// What the server makes of one tree; of another one it makes the same difference.
    Become {
        before: Tree,
        after: Tree,
    },
    /// A path is again what it was `then`, with all that was below it; the empty one is everything.
    SetBack {
        path: String,
        then: Tree,
    },
    /// All that there is, of all users, gets a name.
    MakeSnapshot {
        name: String,
        until_ms: Option<i64>,
    },
    RemoveSnapshot {
        name: String,
    },
    /// Something becomes of an upload.
    Upload(UploadChange),
}

fn above(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

/// Is this path in that folder? All but the top folder itself are in that.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    let is_top = folder.is_empty() && !path.is_empty();
    is_top || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Makes a folder and those above it; false if a file is in the way.
fn make_folders(tree: &mut Tree, folder: &str) -> bool {
    let cuts = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
    let folders: Vec<&str> = cuts.map(|at| &folder[..at]).collect();
    if folders.iter().any(|folder| matches!(tree.get(*folder), Some(Item::File { .. }))) {
        return false;
    }
    folders.into_iter().for_each(|folder| {
        tree.insert(folder.to_owned(), Item::Folder);
    });
    true
}

/// Makes the folders above a file; false if a folder has its name, or a file that of one of them.
pub(crate) fn make_way(tree: &mut Tree, path: &str) -> bool {
    tree.get(path) != Some(&Item::Folder)
        && above(path).is_none_or(|folder| make_folders(tree, folder))
}

/// A path and all that is below it, of a tree.
pub(crate) fn part_of(tree: &Tree, path: &str) -> Tree {
    let is_part = |(own, _): &(&String, &Item)| *own == path || is_below(own, path);
    tree.iter().filter(is_part).map(|(own, item)| (own.clone(), *item)).collect()
}

impl Change {
    /// Is it refused, perhaps, until it is decided what came in the same group before it?
    pub(crate) fn may_wait_for(&self, before: &[Change]) -> bool {
        let is_store =
            |own: &Change| own.user == self.user && matches!(own.what, What::Store { .. });
        matches!(self.what, What::Move { .. }) && before.iter().any(is_store)
    }

    /// What there is where this change was made and then taken back, if that can happen to it.
    pub(crate) fn taken_back(&self, state: &State) -> Option<State> {
        let tree = self.what.taken_back(state.trees.get(self.user)?)?;
        Some(self.with_tree(state, tree))
    }

    /// What there is after this change; `None` if it is refused there.
    pub(crate) fn apply(&self, state: &State) -> Option<State> {
        let mut new = state.clone();
        match &self.what {
            What::MakeSnapshot { name, until_ms } => {
                let made = Snapshot { trees: state.trees.clone(), until_ms: *until_ms };
                new.snapshots.insert(name.clone(), made).is_none().then_some(new)
            }
            What::RemoveSnapshot { name } => new.snapshots.remove(name).map(|_| new),
            What::Upload(change) => {
                let tree = state.trees.get(self.user)?;
                let (tree, uploads) = change.apply(self.user, tree, &state.uploads)?;
                Some(State { uploads, ..self.with_tree(state, tree) })
            }
            what => Some(self.with_tree(state, what.apply(state.trees.get(self.user)?)?)),
        }
    }

    fn with_tree(&self, state: &State, tree: Tree) -> State {
        let mut new = state.clone();
        new.trees.insert(self.user, tree);
        new
    }
}

impl What {
    /// The tree where this change was made and then taken back, if that can happen to it.
    fn taken_back(&self, tree: &Tree) -> Option<Tree> {
        let What::Store { path, .. } = self else { return None };
        let mut new = tree.clone();
        above(path).is_none_or(|folder| make_folders(&mut new, folder)).then_some(new)
    }

    /// The tree after this change; `None` if it is refused there.
    fn apply(&self, tree: &Tree) -> Option<Tree> {
        let mut new = tree.clone();
        let is_folder = |path: &str| tree.get(path) == Some(&Item::Folder);
        let is_file = |path: &str| matches!(tree.get(path), Some(Item::File { .. }));
        match self {
            What::Store { path, blake3, bytes } => {
                if !make_way(&mut new, path) {
                    return None;
                }
                new.insert(path.clone(), Item::File { blake3: *blake3, bytes: *bytes });
            }
            What::Delete { path } => {
                if !is_file(path) {
                    return None;
                }
                new.remove(path);
            }
            What::MakeFolder { path } => {
                if !make_folders(&mut new, path) {
                    return None;
                }
            }
            What::RemoveFolder { path } => {
                if !is_folder(path) {
                    return None;
                }
                new.retain(|inner, _| inner != path && !is_below(inner, path));
            }
            What::Move { from, to } | What::Copy { from, to } => {
                let name = from.rsplit('/').next().unwrap_or(from);
                let whole = match to.as_str() {
                    "" => name.to_owned(),
                    to if is_folder(to) => format!("{to}/{name}"),
                    to => to.to_owned(),
                };
                let has_place = above(&whole).is_none_or(is_folder);
                if !has_place || whole == *from || is_folder(&whole) {
                    return None;
                }
                if is_file(from) {
                    new.insert(whole, *tree.get(from)?);
                } else if is_folder(from) && !is_below(&whole, from) && !is_file(&whole) {
                    let inner: Vec<String> =
                        tree.keys().filter(|inner| is_below(inner, from)).cloned().collect();
                    for path in inner.iter().chain([from]) {
                        let item = *tree.get(path)?;
                        new.insert(format!("{whole}{}", &path[from.len()..]), item);
                    }
                } else {
                    return None;
                }
                if matches!(self, What::Move { .. }) {
                    new.retain(|inner, _| inner != from && !is_below(inner, from));
                }
            }
            What::Become { before, after } => {
                new.retain(|path, _| after.contains_key(path) || !before.contains_key(path));
                let others = after.iter().filter(|(path, item)| before.get(*path) != Some(item));
                new.extend(others.map(|(path, item)| (path.clone(), *item)));
            }
            What::SetBack { path, then } if path.is_empty() => new.clone_from(then),
            What::SetBack { path, then } => {
                // A file does not go in place of a folder.
                let is_fine = *then.get(path)? == Item::Folder || !is_folder(path);
                if !is_fine || above(path).is_some_and(|f| !make_folders(&mut new, f)) {
                    return None;
                }
                new.retain(|inner, _| inner != path && !is_below(inner, path));
                new.extend(then.clone());
            }
            What::MakeSnapshot { .. } | What::RemoveSnapshot { .. } | What::Upload(_) => {}
        }
        Some(new)
    }
}
