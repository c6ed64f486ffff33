//! What there is: every user's files and folders now, those that each snapshot has, and what has come of
//! uploads.

use std::collections::{BTreeMap, BTreeSet};

use palk::core::types::Digest;

use super::upload::{self, Uploads};

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Item {
    Folder,
    File { blake3: Digest, bytes: u64 },
}

impl Item {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Item::Folder => 0,
            Item::File { bytes, .. } => bytes,
        }
    }
}

/// One user's files and folders by path, without the top folder.
pub(crate) type Tree = BTreeMap<String, Item>;

/// A state of all users' trees.
pub(crate) type Trees = BTreeMap<&'static str, Tree>;

/// What somebody has given a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Snapshot {
    /// All that there was.
    pub(crate) trees: Trees,
    /// When it ends by itself, in milliseconds since 1970.
    pub(crate) until_ms: Option<i64>,
}

impl Snapshot {
    /// May it have ended, where clocks have told no more than this time, in microseconds since 1970?
    pub(crate) fn may_have_ended(&self, latest_us: i64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms * 1000 <= latest_us)
    }
}

/// What there is, and what it was when each snapshot was made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct State {
    pub(crate) trees: Trees,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    pub(crate) uploads: Uploads,
}

impl State {
    /// Is it what is shown, but for snapshots and uploads that have ended by themselves?
    pub(crate) fn may_be(&self, shown: &State, latest_us: i64) -> bool {
        let is_so = |(name, own): (&String, &Snapshot)| match shown.snapshots.get(name) {
            Some(shown) => shown == own,
            None => own.may_have_ended(latest_us),
        };
        self.trees == shown.trees
            && self.snapshots.iter().all(is_so)
            && shown.snapshots.keys().all(|name| self.snapshots.contains_key(name))
            && upload::may_be(&self.uploads, &shown.uploads, latest_us)
    }

    /// In what it differs from what is shown.
    pub(crate) fn differences(&self, shown: &State) -> Vec<String> {
        let mut all = differences("", &self.trees, &shown.trees);
        all.extend(upload::differences(&self.uploads, &shown.uploads));
        let names: BTreeSet<&String> =
            self.snapshots.keys().chain(shown.snapshots.keys()).collect();
        for name in names {
            match (self.snapshots.get(name), shown.snapshots.get(name)) {
                (Some(own), Some(shown)) => {
                    all.extend(differences(&format!("{name}: "), &own.trees, &shown.trees));
                    if own.until_ms != shown.until_ms {
                        let [is, must] = [shown.until_ms, own.until_ms];
                        all.push(format!("{name} is until {is:?}, not {must:?}"));
                    }
                }
                (None, _) => all.push(format!("there is no snapshot {name}")),
                (_, None) => all.push(format!("snapshot {name} is not shown")),
            }
        }
        all
    }
}

fn differences(whose: &str, expected: &Trees, shown: &Trees) -> Vec<String> {
    let mut all = Vec::new();
    for (user, tree) in expected {
        let empty = Tree::new();
        let shown = shown.get(user).unwrap_or(&empty);
        let paths: BTreeSet<&String> = tree.keys().chain(shown.keys()).collect();
        for path in paths {
            if tree.get(path) != shown.get(path) {
                let [is, must] = [shown.get(path), tree.get(path)].map(|item| format!("{item:?}"));
                all.push(format!("{whose}{user}/{path} is {is}, not {must}"));
            }
        }
    }
    all
}
