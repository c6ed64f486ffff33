//! What was: every state that a settled server has shown is there as it was then, until its time is over;
//! and users bring back what a path was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use palk::core::catalog::{Catalog, Due, Scope};
use palk::core::cluster::retention::Keep;
use palk::core::error::{Code, Result};
use palk::core::path::{FolderPath, UserName};
use palk::core::types::{Moment, VersionId};
use palk::core::wire::extended::Entry;
use rand::RngExt;

use super::model::{Change, Item, Tree, Trees, What};
use super::server::{USERS, shown};
use super::users::{answer_of, file};
use super::world::World;

/// So many states are remembered.
const SHOWN_MAX: usize = 40;

/// For how long runs keep what was, one after the other.
pub(crate) const KEEPS: [Keep; 3] =
    [Keep::Nothing, Keep::For(Duration::from_secs(20)), Keep::Forever];

/// What a user had at a moment.
fn tree_at(catalog: &Catalog, user: &str, at: Moment) -> Tree {
    let account = catalog.account(&UserName::parse(user).unwrap()).unwrap();
    let top = FolderPath::top();
    let listed = catalog.page_at(account.id, &top, Scope::All, Some(at), None, usize::MAX);
    let item = |entry| match entry {
        Entry::File(file) => {
            let item = Item::File { blake3: file.blake3, bytes: file.bytes };
            (file.path.as_str().to_owned(), item)
        }
        Entry::Folder(folder) => (folder.as_str().to_owned(), Item::Folder),
    };
    listed.unwrap().into_iter().map(item).collect()
}

impl World {
    /// A settled server shows this after the last entry of its journal.
    pub(crate) fn note_shown(&mut self, at: usize, shown: Trees) {
        let moment = self.servers[at].cluster.catalog.end().unwrap().at;
        self.shown.insert(moment, shown);
        if self.shown.len() > SHOWN_MAX {
            let count = self.shown.len();
            let which = self.random.random_range(0..count);
            let which = *self.shown.keys().nth(which).unwrap();
            self.shown.remove(&which);
        }
    }

    /// Since when everything is kept of users without a quota, if anything is.
    fn kept_since(&self) -> Option<Moment> {
        match self.site.keep {
            // Nodes that are short of room have what is kept let go of.
            _ if self.faults.full_disks => None,
            Keep::Nothing => None,
            Keep::For(time) => {
                let time = i64::try_from(time.as_micros()).unwrap();
                Some(Moment(self.site.now_us() - time))
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
        if self.kept_since().is_none_or(|since| moment < since) {
            return;
        }
        let (server, user) = (&self.servers[at], USERS[0]);
        let then = tree_at(&server.cluster.catalog, user, moment);
        let expected = &self.shown[&moment][user];
        assert_eq!(&then, expected, "{user} at {moment:?} by server {}", server.number);
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

    /// Where nothing is kept, every version is some file's.
    pub(crate) fn check_nothing_kept(&mut self, shown: &Trees) {
        if self.site.keep != Keep::Nothing {
            return;
        }
        let catalog = self.server().cluster.catalog.clone();
        assert_eq!(catalog.due(Moment::MAX).unwrap(), Due::default());
        let mut named: BTreeSet<VersionId> = BTreeSet::new();
        for (user, tree) in shown {
            let account = catalog.account(&UserName::parse(user).unwrap()).unwrap();
            for (path, _) in tree.iter().filter(|(_, item)| **item != Item::Folder) {
                named.insert(catalog.file(account.id, &file(path)).unwrap().version);
            }
        }
        let held = catalog.versions_after(None, usize::MAX).unwrap();
        let held: BTreeSet<VersionId> = held.into_iter().map(|held| held.version).collect();
        assert_eq!(held, named, "nothing else is left");
    }

    /// The trees that the entries lead to, one after the other, which the server of the moment would
    /// write if a path were brought back. None where that would be refused.
    fn rehearse_undo(&mut self, user: &'static str, path: &str) -> Vec<Tree> {
        let server = self.server();
        let (database, epoch) = (server.database.clone(), server.claim().epoch);
        let copy = self.site.copy_of(&database);
        let catalog = Arc::new(self.site.open(&copy));
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

    /// Brings back what a path was before its last change.
    pub(crate) fn undo(&mut self, user: &'static str, path: &str) -> bool {
        let is_informed = self.is_settled(self.at);
        let cluster = self.server().cluster.clone();
        // What may still be taken back, or made, is in the way of knowing what it comes to.
        let is_known = cluster.roster.may_change().is_ok()
            && !cluster.committer.is_in_doubt()
            && !self.is_uncertain();
        if !is_known {
            return false;
        }
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
