//! What a path was is made what it is: a file, a folder with all that is in it, or everything; and that
//! is taken back again.

use palk::core::cluster::retention::Keep;
use palk::core::error::{Code, Error, Result};
use palk::core::types::Moment;
use palk::core::wire::extended::When;
use rand::RngExt;

use super::change::{What, part_of};
use super::past::tree_at;
use super::snapshots::at_snapshot;
use super::state::{Item, Tree};
use super::users::folder;
use super::world::World;

/// So many of those that may be taken back are remembered.
const TAKEN_BACK_MAX: usize = 8;

/// What it takes to take back that a path was set back.
#[derive(Clone, Debug)]
pub(crate) struct WasSetBack {
    pub(crate) user: &'static str,
    pub(crate) path: String,
    pub(crate) before: Moment,
}

/// Is everything done at once, or do others come between the steps?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    AtOnce,
    /// At this depth of what is done meanwhile.
    Slow(u32),
}

impl World {
    /// Sets some path back to some time.
    pub(crate) fn set_back_somehow(&mut self, user: &'static str, depth: u32) {
        let pace = if self.random.random_bool(0.6) { Pace::Slow(depth) } else { Pace::AtOnce };
        let count = self.was_set_back.len();
        if count > 0 && self.random.random_ratio(1, 3) {
            let WasSetBack { user, path, before } =
                self.was_set_back[self.random.random_range(0..count)].clone();
            self.set_back(user, &path, &When::At(before), pace);
            return;
        }
        let Some(when) = self.some_time() else { return };
        let path = match self.random.random_range(0..6) {
            0..=1 => "",
            2 => self.a_path(),
            _ => self.a_folder(),
        };
        let is_done = self.set_back(user, path, &when, pace);
        if is_done && self.random.random_bool(0.3) {
            self.take_back_last();
        }
    }

    /// A snapshot, or when a server has shown something.
    fn some_time(&mut self) -> Option<When> {
        if self.random.random_bool(0.5)
            && let Some(name) = self.a_snapshot()
        {
            return Some(at_snapshot(&name));
        }
        let count = self.shown.len();
        (count > 0).then(|| {
            let which = self.random.random_range(0..count);
            When::At(*self.shown.keys().nth(which).unwrap())
        })
    }

    /// Makes a path what it was. True if it is that now, and was something else before.
    pub(crate) fn set_back(
        &mut self,
        user: &'static str,
        path: &str,
        when: &When,
        pace: Pace,
    ) -> bool {
        if !self.knows_all() {
            return false;
        }
        let (files, catalog) = (self.server().files.clone(), self.server().cluster.catalog.clone());
        let Ok(owner) = self.user(user) else { return false };
        let Ok(at) = files.whole_moment(&owner, when) else { return false };
        let then = part_of(&tree_at(&catalog, user, at), path);
        let is_folder = path.is_empty() || then.get(path) == Some(&Item::Folder);
        let what = What::SetBack { path: path.to_owned(), then };
        self.has_brought_back.insert(user);
        let set_back = match pace {
            Pace::Slow(depth) if is_folder => {
                // Nothing has changed yet for anybody else.
                let Ok(begun) = files.begin_then(&owner, &folder(path), at) else { return false };
                (0..3).for_each(|_| self.meanwhile(depth));
                self.forget_unsparingly();
                self.put_back(user, path, what, |_| {
                    files.put_in_place(&owner, begun, &folder(path)).map(Some)
                })
            }
            _ => self.put_back(user, path, what, |world| {
                let owner = world.user(user)?;
                let done = files.revert(&owner, &folder(path), when, false);
                done.map(|(told, _)| told.before)
            }),
        };
        set_back.is_ok()
    }

    /// The last step of it, after which all of it is there as it was before.
    fn put_back(
        &mut self,
        user: &'static str,
        path: &str,
        what: What,
        change: impl FnOnce(&mut World) -> Result<Option<Moment>>,
    ) -> Result<Moment> {
        let was = self.server().shows();
        // Where nothing had to be changed that is what this server knows, and nothing is promised.
        let done = self.change(user, what, |world| {
            let nothing = Error::other(Code::Temporary, "it is as it was then");
            change(world)?.ok_or(nothing)
        });
        if let Ok(before) = done {
            self.tally.set_back += 1;
            let catalog = self.server().cluster.catalog.clone();
            assert_eq!(tree_at(&catalog, user, before), was[user], "{user} before it was set back");
            if self.site.keep != Keep::Nothing {
                self.shown.insert(before, was);
            }
            self.was_set_back.push(WasSetBack { user, path: path.to_owned(), before });
            if self.was_set_back.len() > TAKEN_BACK_MAX {
                self.was_set_back.remove(0);
            }
        }
        done
    }

    /// What was set back last is at once what it was before, if it is brought back in either way.
    fn take_back_last(&mut self) {
        let Some(WasSetBack { user, path, before }) = self.was_set_back.last().cloned() else {
            return;
        };
        let catalog = self.server().cluster.catalog.clone();
        let was: Tree = part_of(&tree_at(&catalog, user, before), &path);
        let is_back = if path.is_empty() || self.random.random_bool(0.5) {
            self.set_back(user, &path, &When::At(before), Pace::AtOnce)
        } else {
            self.undo(user, &path)
        };
        if is_back {
            let now = self.server().shows();
            assert_eq!(part_of(&now[user], &path), was, "{user}/{path} as it was before");
        }
    }

    /// Canary: a server that does not know which folders are being filled.
    fn forget_unsparingly(&mut self) {
        if !self.faults.unsparing {
            return;
        }
        let committer = self.server().cluster.committer.clone();
        let forgotten = committer.submit(|draft| draft.forget_folders(&[], Moment::MAX));
        assert!(forgotten.map_or_else(|error| error.code() != Code::Unexpected, |_| true));
    }
}
