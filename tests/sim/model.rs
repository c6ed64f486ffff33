//! What the simulated world must come to: every state that the users' trees and the snapshots may have after
//! what was answered, refused, and never answered.
//!
//! An answered change is in every possible state, a refused one in none. One that was never answered, or
//! answered with "in doubt", leaves two possible states, until a server that leads shows which one it is;
//! from then on it has to stay so. As changes are one history, what follows an open change is applied
//! to both. A small file that was never answered may also be taken back after it was there for a
//! while, when it turns out that too few nodes have its pieces; folders that it made stay. While it is
//! there, it may be in the way of what comes later, which is then refused for good.

use std::collections::{BTreeMap, BTreeSet};

use palk::core::types::Digest;

use super::change::Change;
use super::state::{Item, State, Tree};
use super::upload::Label;

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
    state: State,
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
        let state = State { trees, ..State::default() };
        let first = Possible { state, under_way: Vec::new() };
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
        for (number, change) in changes.iter().enumerate() {
            let mut next = BTreeSet::new();
            for before in &frontier {
                let after = change.apply(&before.state);
                let go_on = |state: Option<State>, fate: Fate, taken_back: bool| {
                    let mut next = before.clone();
                    next.state = state.unwrap_or(next.state);
                    if let Some(last) = next.under_way.last_mut() {
                        last.fates.push(fate);
                        last.taken_back |= taken_back;
                    }
                    next
                };
                if after.is_none() {
                    next.insert(go_on(None, Fate::Impossible, false));
                    continue;
                }
                if let Some(state) = change.taken_back(&before.state) {
                    next.insert(go_on(Some(state), Fate::Made, true));
                }
                if is_uncertain || change.may_wait_for(&changes[..number]) {
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
            .map(|own| Possible { state: own.state, under_way: Vec::new() })
            .collect();
    }

    pub(crate) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// A server that leads shows this: it is so from now on. Clocks have told no more than `latest_us`, in
    /// microseconds since 1970, so no snapshot has ended by itself that is to be there longer.
    pub(crate) fn settle(&mut self, shown: &State, latest_us: i64, whose: &str) {
        self.check(shown, latest_us, whose);
        let before = self.possible.len();
        self.possible.retain(|own| own.state.may_be(shown, latest_us));
        self.possible = std::mem::take(&mut self.possible)
            .into_iter()
            .map(|own| Possible { state: shown.clone(), ..own })
            .collect();
        if before > 1 {
            tracing::info!("{whose} shows which of {before} possible states it is");
        }
    }

    /// Somebody shows this: is it possible?
    pub(crate) fn check(&self, shown: &State, latest_us: i64, whose: &str) {
        if self.possible.iter().any(|own| own.state.may_be(shown, latest_us)) {
            return;
        }
        let differences = |own: &Possible| own.state.differences(shown);
        let nearest = self.possible.iter().map(differences).min_by_key(Vec::len);
        panic!(
            "{whose} shows none of {} possible states; compared with the nearest: {:#?}",
            self.possible.len(),
            nearest.unwrap_or_default()
        );
    }

    /// What a path may lead to.
    pub(crate) fn at(&self, user: &str, path: &str) -> BTreeSet<Option<Item>> {
        self.possible.iter().map(|own| own.state.trees[user].get(path).copied()).collect()
    }

    /// What a path may have led to when a snapshot was made, and whether that may be gone by now.
    pub(crate) fn at_snapshot(&self, name: &str, user: &str, path: &str) -> BTreeSet<Option<Item>> {
        let then = |own: &Possible| own.state.snapshots.get(name)?.trees[user].get(path).copied();
        self.possible.iter().map(then).collect()
    }

    /// May this upload have been dropped for its age?
    pub(crate) fn may_be_over(&self, label: Label, latest_us: i64) -> bool {
        let own = |own: &Possible| own.state.uploads.get(&label).cloned();
        self.possible.iter().filter_map(own).any(|upload| upload.may_be_over(latest_us))
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
        for own in &self.possible {
            for (user, tree) in &own.state.trees {
                for (path, item) in tree {
                    if let Item::File { blake3, .. } = item {
                        self.ever.entry((*user, path.clone())).or_default().insert(*blake3);
                    }
                }
            }
        }
    }
}
