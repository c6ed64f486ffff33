//! What the simulated world must come to: every state that the users' trees may have after what was
//! answered, refused, and never answered.
//!
//! An answered change is in every possible state, a refused one in none. One that was never answered, or
//! answered with "in doubt", leaves two possible states, until a server that leads shows which one it is;
//! from then on it has to stay so. As changes are one history, what follows an open change is applied
//! to both. A small file that was never answered may also be taken back after it was there for a
//! while, when it turns out that too few nodes have its pieces; folders that it made stay. While it is
//! there, it may be in the way of what comes later, which is then refused for good.

use std::collections::{BTreeMap, BTreeSet};

use palk::core::types::Digest;

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Item {
    Folder,
    File { blake3: Digest, bytes: u64 },
}

/// One user's files and folders by path, without the top folder.
pub(crate) type Tree = BTreeMap<String, Item>;

/// A state of all users' trees.
pub(crate) type Trees = BTreeMap<&'static str, Tree>;

/// What a user wants to be changed.
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
}

fn above(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
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
                if is_folder(path) || above(path).is_some_and(|f| !make_folders(&mut new, f)) {
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
        }
        Some(new)
    }
}

/// How a change was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Done,
    /// By the catalog, because of what is there.
    Refused,
    /// It did not happen, for another reason: too few nodes, no room, a file that may be taken back.
    Failed,
    /// It may have been made or not.
    Open,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Possible {
    trees: Trees,
    under_way: Vec<UnderWay>,
}

/// What became of a group of changes in one of the possible states.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct UnderWay {
    id: u64,
    /// What became of the first of its changes.
    fates: Vec<Fate>,
    /// Was any of them taken back?
    taken_back: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    Made,
    /// What is there does not allow it.
    Impossible,
    /// A file was in its way that was taken back later.
    Obstructed,
}

/// All that may be.
pub(crate) struct Model {
    possible: BTreeSet<Possible>,
    last: u64,
    /// How many changes there are in each group that is under way, and whether files that may be taken
    /// back were there when it began.
    under_way: BTreeMap<u64, (usize, bool)>,
    /// What every path of a user has ever led to.
    ever: BTreeMap<(&'static str, String), BTreeSet<Digest>>,
}

/// More states than these are no test any more.
const POSSIBLE_MAX: usize = 20_000;

impl Model {
    pub(crate) fn new(users: &[&'static str]) -> Model {
        let trees = users.iter().map(|user| (*user, Tree::new())).collect();
        let first = Possible { trees, under_way: Vec::new() };
        let (possible, ever) = ([first].into(), BTreeMap::new());
        Model { possible, last: 0, under_way: BTreeMap::new(), ever }
    }

    /// These changes begin, as one group in this order. From now on any first part of them may have been
    /// made. While files that may be taken back are there (`is_uncertain`), any change may be refused
    /// because of them, and one that was made may have been one of these, and is taken back with them.
    pub(crate) fn begin(&mut self, changes: &[Change], is_uncertain: bool) -> u64 {
        self.last += 1;
        let id = self.last;
        tracing::info!("change {id}: {changes:?}");
        let mut frontier: BTreeSet<Possible> = std::mem::take(&mut self.possible)
            .into_iter()
            .map(|mut state| {
                state.under_way.push(UnderWay { id, fates: Vec::new(), taken_back: false });
                state
            })
            .collect();
        for change in changes {
            let mut next = BTreeSet::new();
            for before in &frontier {
                let tree = &before.trees[change.user];
                let after = change.what.apply(tree);
                let go_on = |tree: Option<Tree>, fate: Fate, taken_back: bool| {
                    let mut state = before.clone();
                    if let Some(tree) = tree {
                        state.trees.insert(change.user, tree);
                    }
                    if let Some(last) = state.under_way.last_mut() {
                        last.fates.push(fate);
                        last.taken_back |= taken_back;
                    }
                    state
                };
                if after.is_none() {
                    next.insert(go_on(None, Fate::Impossible, false));
                    continue;
                }
                if let Some(tree) = change.what.taken_back(tree) {
                    next.insert(go_on(Some(tree), Fate::Made, true));
                }
                if is_uncertain {
                    next.insert(go_on(None, Fate::Obstructed, false));
                }
                next.insert(go_on(after, Fate::Made, false));
            }
            self.possible.append(&mut std::mem::replace(&mut frontier, next));
        }
        self.possible.append(&mut frontier);
        self.under_way.insert(id, (changes.len(), is_uncertain));
        self.note_ever();
        assert!(self.possible.len() <= POSSIBLE_MAX, "too many states to tell anything");
        id
    }

    /// They were answered, each in its way.
    pub(crate) fn end(&mut self, id: u64, answers: &[Answer]) {
        let (parts, is_uncertain) = self.under_way.remove(&id).unwrap_or_default();
        tracing::info!("change {id} is answered: {answers:?}");
        assert_eq!(parts, answers.len());
        let is_open = answers.contains(&Answer::Open);
        let is_made = answers.iter().any(|one| matches!(one, Answer::Done | Answer::Open));
        let has_failed = answers.contains(&Answer::Failed) && !is_made;
        let fits = |own: &UnderWay| {
            // As the group goes to the nodes as one, none of it was made then.
            if has_failed {
                return own.fates.is_empty();
            }
            let all = answers.iter().zip(&own.fates).all(|(answer, fate)| match answer {
                Answer::Done => *fate == Fate::Made || (is_uncertain && *fate == Fate::Impossible),
                Answer::Refused | Answer::Failed => *fate != Fate::Made,
                Answer::Open => true,
            });
            all && (is_open || (own.fates.len() == parts && !own.taken_back))
        };
        let before = std::mem::take(&mut self.possible);
        let count = before.len();
        for mut state in before {
            let at = state.under_way.iter().position(|own| own.id == id);
            if at.is_none_or(|at| fits(&state.under_way.remove(at))) {
                self.possible.insert(state);
            }
        }
        assert!(!self.possible.is_empty(), "{answers:?} fits none of {count} possible states");
    }

    /// The server went down: whatever is under way was never answered.
    pub(crate) fn leave_open(&mut self) {
        tracing::info!("changes {:?} are open", self.under_way.keys());
        self.under_way.clear();
        let before = std::mem::take(&mut self.possible);
        self.possible = before
            .into_iter()
            .map(|state| Possible { trees: state.trees, under_way: Vec::new() })
            .collect();
    }

    pub(crate) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// A server that leads shows this: it is so from now on.
    pub(crate) fn settle(&mut self, shown: &Trees, whose: &str) {
        self.check(shown, whose);
        let before = self.possible.len();
        self.possible.retain(|state| state.trees == *shown);
        if before > 1 {
            tracing::info!("{whose} shows which of {before} possible states it is");
        }
    }

    /// Somebody shows this: is it possible?
    pub(crate) fn check(&self, shown: &Trees, whose: &str) {
        if self.possible.iter().any(|state| state.trees == *shown) {
            return;
        }
        let nearest =
            self.possible.iter().min_by_key(|state| differences(&state.trees, shown).len());
        let differences = nearest.map(|state| differences(&state.trees, shown)).unwrap_or_default();
        panic!(
            "{whose} shows none of {} possible states; compared with the nearest: {differences:#?}",
            self.possible.len()
        );
    }

    /// What a path may lead to.
    pub(crate) fn at(&self, user: &str, path: &str) -> BTreeSet<Option<Item>> {
        self.possible.iter().map(|state| state.trees[user].get(path).copied()).collect()
    }

    /// Was this ever stored there, or moved there?
    pub(crate) fn was_ever(&self, user: &'static str, path: &str, blake3: Digest) -> bool {
        self.ever.get(&(user, path.to_owned())).is_some_and(|ever| ever.contains(&blake3))
    }

    /// All paths that were ever files'.
    pub(crate) fn ever_paths(&self) -> Vec<(&'static str, String)> {
        self.ever.keys().cloned().collect()
    }

    fn note_ever(&mut self) {
        for state in &self.possible {
            for (user, tree) in &state.trees {
                for (path, item) in tree {
                    if let Item::File { blake3, .. } = item {
                        self.ever.entry((*user, path.clone())).or_default().insert(*blake3);
                    }
                }
            }
        }
    }
}

fn differences(expected: &Trees, shown: &Trees) -> Vec<String> {
    let mut all = Vec::new();
    for (user, tree) in expected {
        let empty = Tree::new();
        let shown = shown.get(user).unwrap_or(&empty);
        let paths: BTreeSet<&String> = tree.keys().chain(shown.keys()).collect();
        for path in paths {
            if tree.get(path) != shown.get(path) {
                let [is, must] = [shown.get(path), tree.get(path)].map(|item| format!("{item:?}"));
                all.push(format!("{user}/{path} is {is}, not {must}"));
            }
        }
    }
    all
}
