//! What was: every state that a settled server has shown is there as it was then, until its time is over;
//! and users bring back what a path was.

use std::sync::Arc;
use std::time::Duration;

use palk::core::catalog::{Catalog, Due, Scope};
use palk::core::cluster::retention::Keep;
use palk::core::error::{Code, Result};
use palk::core::path::{FolderPath, UserName};
use palk::core::types::Moment;
use rand::RngExt;

use super::change::{Change, What};
use super::server::{USERS, shown, tree_of};
use super::state::{Snapshot, State, Tree, Trees};
use super::users::{answer_of, file};
use super::world::World;

/// So many states are remembered.
const SHOWN_MAX: usize = 40;

/// For how long runs keep what was, one after the other.
pub(crate) const KEEPS: [Keep; 3] =
    [Keep::Nothing, Keep::For(Duration::from_secs(20)), Keep::Forever];

/// What a user had at a moment.
pub(crate) fn tree_at(catalog: &Catalog, user: &str, at: Moment) -> Tree {
    let Ok(account) = catalog.account(&UserName::parse(user).unwrap()) else {
        return Tree::new();
    };
    let top = FolderPath::top();
    let listed = catalog.page_at(account.id, &top, Scope::All, Some(at), None, usize::MAX);
    tree_of(listed.unwrap())
}

impl World {
    /// A settled server shows this after the last entry of its journal.
    pub(crate) fn note_shown(&mut self, at: usize, shown: Trees) {
        let end = self.servers[at].cluster.catalog.end().unwrap();
        let (last, at) = self.last_end;
        assert_eq!(end.id.cmp(&last), end.at.cmp(&at), "moments grow with the journal");
        self.last_end = (end.id, end.at);
        self.shown.insert(end.at, shown);
        if self.shown.len() > SHOWN_MAX {
            let count = self.shown.len();
            let which = self.random.random_range(0..count);
            let which = *self.shown.keys().nth(which).unwrap();
            self.shown.remove(&which);
        }
    }

    /// Since when everything is kept of users without a quota, if anything is. A clock that was ahead has
    /// had things let go of early.
    fn kept_since(&self) -> Option<Moment> {
        match self.site.keep {
            // Nodes that are short of room have what is kept let go of.
            _ if self.faults.full_disks => None,
            Keep::Nothing => None,
            Keep::For(time) => {
                let time = i64::try_from(time.as_micros()).unwrap();
                Some(Moment(self.site.clock.latest_us() - time))
            }
            Keep::Forever => Some(Moment(0)),
        }
    }

    /// Any one of the states that were shown and are kept can be seen as it was.
    pub(crate) fn check_some_past(&mut self, at: usize) {
        let count = self.shown.len();
        if count > 0 {
            let which = self.random.random_range(0..count);
            let which = *self.shown.keys().nth(which).unwrap();
            self.check_past(at, which);
        }
    }

    /// So can all of them.
    pub(crate) fn check_all_past(&mut self) {
        let moments: Vec<Moment> = self.shown.keys().copied().collect();
        moments.into_iter().for_each(|moment| self.check_past(self.at, moment));
    }

    fn check_past(&self, at: usize, moment: Moment) {
        let server = &self.servers[at];
        let catalog = &server.cluster.catalog;
        for user in USERS {
            let Ok(account) = catalog.account(&UserName::parse(user).unwrap()) else { continue };
            let must_be_kept =
                user == USERS[0] && self.kept_since().is_some_and(|since| moment >= since);
            // A server says itself where it does not know all.
            if must_be_kept || moment >= catalog.kept_since(account.id).unwrap() {
                let then = tree_at(catalog, user, moment);
                let expected = &self.shown[&moment][user];
                assert_eq!(&then, expected, "{user} at {moment:?} by server {}", server.number);
            }
        }
    }

    /// What is kept and no file's current version is something that was stored there once.
    pub(crate) fn check_kept(&mut self) {
        let catalog = self.server().cluster.catalog.clone();
        for (user, path) in self.model.ever_paths() {
            let account = catalog.account(&UserName::parse(user).unwrap()).unwrap();
            let states = match catalog.path_states(account.id, &file(&path)) {
                Err(error) if error.code() == Code::NoSuchFile => continue,
                states => states.unwrap(),
            };
            for (record, _) in states.into_iter().filter_map(|state| state.file) {
                assert!(
                    self.model.was_ever(user, &path, record.blake3),
                    "{user}/{path} never was {record:?}"
                );
            }
        }
    }

    /// From now on nothing is kept that is not there; in the end nothing else is on the nodes.
    pub(crate) fn let_go_of_all(&mut self) {
        self.keep(Keep::Nothing);
        self.settle_down();
    }

    /// For how long all servers keep what was.
    fn keep(&mut self, keep: Keep) {
        self.site.keep = keep;
        self.servers.iter().for_each(|server| server.cluster.retention.keep(keep));
    }

    /// Where nothing is kept, only what is named is left.
    pub(crate) fn check_nothing_kept(&mut self, state: &State) {
        if self.site.keep == Keep::Nothing {
            self.check_only_named(state);
        }
    }

    /// Time passes until all is over that is kept for a time only: nothing is left that no file is and no
    /// snapshot has, however wrong clocks have been.
    pub(crate) fn outlive(&mut self) {
        let catalog = self.server().cluster.catalog.clone();
        let kept_us = match self.site.keep {
            Keep::For(time) => i64::try_from(time.as_micros()).unwrap(),
            Keep::Nothing | Keep::Forever => 0,
        };
        let ends = catalog.snapshots().unwrap().into_iter().filter_map(|own| own.until_ms);
        let ends = ends.map(|until_ms| until_ms * 1000).max().unwrap_or(0);
        let uploads = self.uploads_over_us().unwrap_or(0);
        let over_us = ends.max(catalog.end().unwrap().at.0 + kept_us).max(uploads);
        let lacking_us = over_us - self.server().clock.now_us();
        self.pass(Duration::from_micros(u64::try_from(lacking_us).unwrap_or(0)));
        self.settle_down();
        let state = self.server().state();
        assert!(state.uploads.is_empty(), "nobody goes on with {:?}", state.uploads);
        let is_brief = |own: &Snapshot| own.until_ms.is_some();
        assert!(
            !state.snapshots.values().any(is_brief),
            "their time is over: {:?}",
            state.snapshots
        );
        if self.site.keep != Keep::Forever {
            self.check_only_named(&state);
        }
    }

    /// What is still to be let go of, if anything is.
    pub(crate) fn still_due(&mut self) -> Option<String> {
        let cluster = self.server().cluster.clone();
        let now_us = self.server().clock.now_us();
        let over = cluster.retention.over(now_us).unwrap_or(Moment(i64::MIN));
        let due = cluster.catalog.due(over).unwrap();
        let is_over = |until_ms: i64| until_ms * 1000 <= now_us;
        let snapshots = cluster.catalog.snapshots().unwrap();
        let ended = snapshots.iter().filter(|own| own.until_ms.is_some_and(is_over)).count();
        (due != Due::default() || ended > 0)
            .then(|| format!("{due:?} and {ended} snapshots that have ended are kept"))
    }

    /// The trees that the entries lead to, one after the other, which the server of the moment would
    /// write if a path were brought back. None where that would be refused.
    fn rehearse_undo(&mut self, user: &'static str, path: &str) -> Vec<Tree> {
        let server = self.server();
        let (database, epoch) = (server.database.clone(), server.claim().epoch);
        let clock = server.clock.clone();
        let copy = self.site.copy_of(&database);
        let catalog = Arc::new(self.site.open(&copy, &clock));
        let account = catalog.account(&UserName::parse(user).unwrap()).unwrap();
        let mut group = catalog.begin_group(epoch).unwrap();
        let path = file(path);
        let undone = group.attempt(|draft| draft.undo(account.id, &path));
        let entries: Vec<_> = group.entries().iter().map(|pending| pending.entry.clone()).collect();
        group.roll_back();
        let mut trees = Vec::new();
        if undone.is_ok() {
            for entry in entries {
                catalog.apply(std::slice::from_ref(&entry)).unwrap();
                trees.push(shown(&catalog).remove(user).unwrap());
            }
        }
        drop(catalog);
        std::fs::remove_dir_all(copy).unwrap();
        trees
    }

    /// What may still be taken back, or made, is in the way of knowing what bringing back comes to.
    pub(crate) fn knows_all(&mut self) -> bool {
        let cluster = self.server().cluster.clone();
        cluster.roster.may_change().is_ok()
            && !cluster.committer.is_in_doubt()
            && !self.is_uncertain()
    }

    /// Brings back what a path was before its last change.
    pub(crate) fn undo(&mut self, user: &'static str, path: &str) -> bool {
        if !self.knows_all() {
            return false;
        }
        let is_informed = self.is_settled(self.at);
        self.has_brought_back.insert(user);
        let mut before = self.server().shows().remove(user).unwrap();
        let mut changes = Vec::new();
        for after in self.rehearse_undo(user, path) {
            let what = What::Become { before, after: after.clone() };
            changes.push(Change { user, what });
            before = after;
        }
        let id = self.model.begin(&changes, false);
        let undone = self.undo_now(user, path);
        let answers = vec![answer_of(&undone, is_informed); changes.len()];
        self.model.end(id, &answers);
        self.count(&undone, false);
        self.tally.undone += u64::from(undone.is_ok());
        undone.is_ok()
    }

    fn undo_now(&mut self, user: &str, path: &str) -> Result<()> {
        let cluster = self.server().cluster.clone();
        let account = cluster.catalog.account(&UserName::parse(user).unwrap())?;
        let path = file(path);
        cluster.committer.submit(move |draft| draft.undo(account.id, &path)).map(drop)
    }
}
