//! What the users of the simulated world do: they store, read fast and slowly, delete, move, make and
//! remove folders, one after the other and many at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use palk::core::catalog::accounts::Account;
use palk::core::catalog::{Draft, NewFile, Quota, TokenId};
use palk::core::code::coded::CodedStripe;
use palk::core::error::{Code, Error, Result};
use palk::core::path::{FilePath, FolderPath, UserName};
use palk::core::types::{Digest, FileAttributes, Precondition, WRITE_QUORUM};
use palk::core::wire::extended::Entry;
use palk::core::wire::node::INLINE_FILE_BYTES_MAX;
use rand::RngExt;

use super::change::{Change, What};
use super::contents::{Part, digest};
use super::model::Answer;
use super::server::USERS;
use super::state::Item;
use super::world::World;

/// Few paths, so that what users do meets; `a_A1` is also what a block of `a` is called on node 1.
pub(crate) const PATHS: [&str; 7] = ["a", "b", "x/a", "x/y/c.txt", "z/a", "z/y/c.txt", "a_A1/q"];

/// Folders that are made, moved and removed.
const FOLDERS: [&str; 5] = ["x", "z", "x/y", "a_A1", "e/m"];

/// How much the users may store; the first has no limit.
pub(crate) const QUOTAS: [Option<u64>; 3] = [None, Some(9_000), Some(1_500_000)];

pub(crate) fn file(path: &str) -> FilePath {
    FilePath::parse_rooted(path).unwrap()
}

pub(crate) fn folder(path: &str) -> FolderPath {
    FolderPath::parse(path).unwrap()
}

/// What an error says about the change that it answers. Where a server may not know what is decided,
/// what it refuses says nothing about what is there.
pub(crate) fn answer_of<T>(result: &Result<T>, is_informed: bool) -> Answer {
    let Err(error) = result else { return Answer::Done };
    let refused = matches!(
        error.code(),
        Code::NoSuchFile | Code::NoSuchFolder | Code::Exists | Code::NotAllowed | Code::Changed
    );
    match error {
        Error::InDoubt { .. } => Answer::Open,
        Error::TakenOver { .. } => Answer::Failed,
        _ if refused && is_informed => Answer::Refused,
        _ => {
            assert!(
                !matches!(error.code(), Code::Unexpected | Code::Damaged),
                "no user should see this: {error:?}"
            );
            Answer::Failed
        }
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder)
}

impl World {
    pub(crate) fn a_user(&mut self) -> &'static str {
        match self.random.random_range(0..10) {
            0..=5 => USERS[0],
            6..=7 => USERS[1],
            _ => USERS[2],
        }
    }

    pub(crate) fn a_path(&mut self) -> &'static str {
        PATHS[self.random.random_range(0..PATHS.len())]
    }

    /// Random bytes: of a small file, or now and then of a large one.
    pub(crate) fn content(&mut self) -> Vec<u8> {
        let large = usize::try_from(INLINE_FILE_BYTES_MAX).unwrap();
        let length = match self.random.random_range(0..24) {
            0 => self.random.random_range(large + 1..large + 40_000),
            1 if self.random.random_ratio(1, 4) => 1_048_576 + self.random.random_range(0..9_000),
            2 => 0,
            3 => large,
            4..=10 => self.random.random_range(0..10),
            _ => self.random.random_range(0..5_000),
        };
        let tag: u64 = self.random.random();
        tag.to_le_bytes().into_iter().cycle().take(length).collect()
    }

    /// Mostly that of a file that is there.
    pub(crate) fn a_path_to_read(&mut self, user: &str) -> String {
        let shown = self.server().shows();
        let is_file = |(_, item): &(&String, &Item)| matches!(item, Item::File { .. });
        let there: Vec<&String> =
            shown[user].iter().filter(is_file).map(|(path, _)| path).collect();
        if there.is_empty() || self.random.random_ratio(1, 8) {
            return self.a_path().to_owned();
        }
        there[self.random.random_range(0..there.len())].clone()
    }

    /// Makes a change, and remembers what was answered. `None` if the server is not there.
    pub(crate) fn change<T>(
        &mut self,
        user: &'static str,
        what: What,
        change: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        let is_informed = self.is_settled(self.at);
        let is_move = matches!(what, What::Move { .. });
        let is_uncertain = self.is_uncertain();
        let id = self.model.begin(&[Change { user, what }], is_uncertain);
        let done = change(self);
        self.model.end(id, &[answer_of(&done, is_informed)]);
        self.count(&done, is_move);
        done
    }

    pub(crate) fn count<T>(&mut self, done: &Result<T>, is_move: bool) {
        self.tally.answered += u64::from(done.is_ok());
        self.tally.moved += u64::from(done.is_ok() && is_move);
        if let Err(error) = done {
            self.tally.in_doubt += u64::from(error.code() == Code::InDoubt);
            self.tally.no_room += u64::from(error.code() == Code::NoSpace);
            self.tally.over_quota += u64::from(error.code() == Code::OverQuota);
        }
    }

    pub(crate) fn store(
        &mut self,
        user: &'static str,
        path: &'static str,
        content: &[u8],
        depth: u32,
    ) -> bool {
        let Part { blake3, bytes } = self.site.contents.remember(content);
        let what = What::Store { path: path.to_owned(), blake3, bytes };
        let files = self.server().files.clone();
        let begun = self.user(user).and_then(|owner| {
            let mut store = files.store(&owner, &file(path), bytes, Precondition::Any)?;
            let mut rest = content;
            while !rest.is_empty() {
                let room = store.room()?;
                let (now, later) = rest.split_at(room.len());
                room.copy_from_slice(now);
                rest = later;
                store.push()?;
                self.meanwhile(depth);
            }
            Ok(store)
        });
        match begun {
            Ok(store) => self.change(user, what, |_| store.finish(blake3)).is_ok(),
            Err(error) => self.change(user, what, |_| Err::<(), Error>(error)).is_ok(),
        }
    }

    pub(crate) fn delete(&mut self, user: &'static str, path: &'static str) -> bool {
        let files = self.server().files.clone();
        let what = What::Delete { path: path.to_owned() };
        let deleted =
            self.change(user, what, |world| files.delete(&world.user(user)?, &file(path)));
        deleted.is_ok()
    }

    /// Gives a file another time of modification, which no tree shows.
    pub(crate) fn set_time(&mut self, user: &'static str, path: &str) -> bool {
        let files = self.server().files.clone();
        let attributes = FileAttributes { modified_ms: Some(self.random.random()), kind: None };
        let look = |world: &mut World| match files.look(&world.user(user)?, &folder(path))? {
            Entry::File(file) => Ok(file),
            Entry::Folder(_) => Err(Error::NoSuchFile(file(path))),
        };
        let Ok(there) = look(self) else { return false };
        let set = self
            .user(user)
            .and_then(|owner| files.set_attributes(&owner, &there.path, there.version, attributes));
        answer_of(&set, false);
        if set.is_ok() {
            self.tally.times_set += 1;
            // Unless the server was taken over meanwhile.
            if let Ok(found) = look(self) {
                let now = (found.version, found.attributes.modified_ms);
                assert_eq!(now, (there.version, attributes.modified_ms));
            }
        }
        set.is_ok()
    }

    pub(crate) fn make_folder(&mut self, user: &'static str, path: &'static str) -> bool {
        let files = self.server().files.clone();
        let what = What::MakeFolder { path: path.to_owned() };
        let made = self
            .change(user, what, |world| files.make_folder(&world.user(user)?, &folder(path), true));
        made.is_ok()
    }

    pub(crate) fn remove_folder(&mut self, user: &'static str, path: &'static str) -> bool {
        let files = self.server().files.clone();
        let what = What::RemoveFolder { path: path.to_owned() };
        let removed = self.change(user, what, |world| {
            files.remove_folder(&world.user(user)?, &folder(path), true)
        });
        removed.is_ok()
    }

    /// Moves a file over a file, or a folder to a name that nothing has.
    pub(crate) fn relocate(&mut self, user: &'static str, from: &str, to: &str) -> bool {
        let files = self.server().files.clone();
        let what = What::Move { from: from.to_owned(), to: to.to_owned() };
        let moved = self.change(user, what, |world| {
            files.move_to(&world.user(user)?, &file(from), &folder(to), true)
        });
        moved.is_ok()
    }

    /// Copies a file over a file, or a folder to a name that nothing has.
    pub(crate) fn copy(&mut self, user: &'static str, from: &str, to: &str) -> bool {
        let files = self.server().files.clone();
        let what = What::Copy { from: from.to_owned(), to: to.to_owned() };
        let copied = self.change(user, what, |world| {
            files.copy(&world.user(user)?, &file(from), &folder(to), [true, true])
        });
        self.tally.copied += u64::from(copied.is_ok());
        copied.is_ok()
    }

    pub(crate) fn a_folder(&mut self) -> &'static str {
        FOLDERS[self.random.random_range(0..FOLDERS.len())]
    }

    /// One of the changes of names.
    pub(crate) fn change_names(&mut self, user: &'static str) {
        let a_folder = World::a_folder;
        match self.random.random_range(0..15) {
            kind @ (0..=5 | 12..=14) => {
                let shown = self.server().shows();
                let there: Vec<String> = shown[user].keys().cloned().collect();
                let from = match there.len() {
                    0 => self.a_path().to_owned(),
                    count => there[self.random.random_range(0..count)].clone(),
                };
                let to = match self.random.random_range(0..4) {
                    0 => a_folder(self),
                    _ => self.a_path(),
                };
                match kind {
                    12..=14 => self.copy(user, &from, to),
                    _ => self.relocate(user, &from, to),
                };
            }
            6..=7 => {
                let (from, to) = (a_folder(self), a_folder(self));
                self.relocate(user, from, to);
            }
            8..=9 => {
                let path = a_folder(self);
                self.remove_folder(user, path);
            }
            _ => {
                let path = a_folder(self);
                self.make_folder(user, path);
            }
        }
    }

    /// Several small changes of several users as one group.
    pub(crate) fn group(&mut self) {
        type Job = Box<dyn FnOnce(&mut Draft<'_>) -> Result<()> + Send>;
        let is_informed = self.is_settled(self.at);
        let cluster = self.server().cluster.clone();
        let placed = cluster.replication.in_step();
        if placed.len() < WRITE_QUORUM || cluster.roster.may_change().is_err() {
            return;
        }
        let (mut changes, mut jobs) = (Vec::new(), Vec::<Job>::new());
        for _ in 0..self.random.random_range(2..6) {
            // Quotas are looked at before a store begins, so only who has none is in this.
            let user = USERS[0];
            let name = UserName::parse(user).unwrap();
            let Ok(account) = cluster.catalog.account(&name) else { return };
            let (id, path) = (account.id, self.a_path());
            let (what, job): (What, Job) = match self.random.random_range(0..6) {
                0..=2 => {
                    let length = self.random.random_range(0..3_000);
                    let tag: u8 = self.random.random();
                    let content = vec![tag; length];
                    let Part { blake3, bytes } = self.site.contents.remember(&content);
                    let new = NewFile {
                        user: id,
                        path: file(path),
                        version: self.version(),
                        seq: cluster.volume.draw_seq(),
                        bytes,
                        blake3,
                        stored_ms: 0,
                        placed,
                        inline: true,
                        precondition: Precondition::Any,
                        stored_by: String::new(),
                        attributes: Default::default(),
                    };
                    let stripe = Arc::new(CodedStripe::of_file(&content));
                    let store =
                        move |draft: &mut Draft<'_>| draft.store(&new, Some(stripe)).map(drop);
                    (What::Store { path: path.to_owned(), blake3, bytes }, Box::new(store))
                }
                3 => {
                    let delete = move |draft: &mut Draft<'_>| draft.delete(id, &file(path));
                    (What::Delete { path: path.to_owned() }, Box::new(delete))
                }
                4 => {
                    let to = self.a_path();
                    let relocate = move |draft: &mut Draft<'_>| {
                        draft.relocate(id, &file(path), &folder(to), true).map(drop)
                    };
                    let what = What::Move { from: path.to_owned(), to: to.to_owned() };
                    (what, Box::new(relocate))
                }
                _ => {
                    let path = FOLDERS[self.random.random_range(0..FOLDERS.len())];
                    let remove = move |draft: &mut Draft<'_>| {
                        draft.remove_folder(id, &folder(path), true).map(drop)
                    };
                    (What::RemoveFolder { path: path.to_owned() }, Box::new(remove))
                }
            };
            changes.push(Change { user, what });
            jobs.push(job);
        }
        let is_uncertain = self.is_uncertain();
        let id = self.model.begin(&changes, is_uncertain);
        let done = cluster.committer.submit_group(jobs);
        // What is refused beside a change that was made is refused because of what is there.
        let is_made = |one: &Result<()>| matches!(one, Ok(()) | Err(Error::InDoubt { .. }));
        let is_informed = is_informed || done.iter().any(is_made);
        let answers: Vec<Answer> = done.iter().map(|one| answer_of(one, is_informed)).collect();
        self.model.end(id, &answers);
        self.tally.groups += 1;
        done.iter().for_each(|one| self.count(one, false));
    }

    /// Makes every kind of change of accounts, and looks after each.
    pub(crate) fn change_accounts(&mut self, look: &mut dyn FnMut(&mut World)) {
        type Job = fn(&mut Draft<'_>, &UserName, TokenId) -> Result<()>;
        let committer = self.server().cluster.committer.clone();
        let eve = UserName::parse("eve").unwrap();
        let name = eve.clone();
        let id = committer.submit(move |draft| draft.create_user(&name, "first", 1)).unwrap();
        look(self);
        let account = Account { id, name: eve.clone() };
        let hash = digest(b"token");
        let token = committer.submit(move |draft| draft.add_token(&account, &hash, "here", 2));
        let token = token.unwrap();
        look(self);
        let jobs: [Job; 7] = [
            |draft, _, token| draft.use_token(token, 100_000_000),
            |draft, eve, token| draft.set_password(eve, "second", Some(token)).map(drop),
            |draft, eve, _| draft.set_quota(eve, Quota::Bytes(4711)),
            |draft, eve, _| draft.set_disabled(eve, true),
            |draft, eve, _| draft.set_disabled(eve, false),
            |draft, _, token| draft.revoke_token(token),
            |draft, eve, _| draft.remove_user(eve),
        ];
        for job in jobs {
            let eve = eve.clone();
            committer.submit(move |draft| job(draft, &eve, token)).unwrap();
            look(self);
        }
    }

    /// Reads a file; whatever comes is whole and is one of what it may be.
    pub(crate) fn read(&mut self, user: &'static str, path: &str, depth: u32) {
        let files = self.server().files.clone();
        let is_informed = self.is_informed(self.at);
        let possible = self.model.at(user, path);
        let mut bytes = Vec::new();
        let read = self.user(user).and_then(|owner| {
            let mut retrieve = files.retrieve(&owner, &file(path), None)?;
            while let Some(parts) = retrieve.next_part()? {
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
                self.meanwhile(depth);
            }
            assert!(retrieve.blake3 == digest(&bytes), "{user}/{path}: digest");
            Ok(retrieve.blake3)
        });
        match read {
            Ok(blake3) => {
                self.tally.read += 1;
                assert!(self.model.was_ever(user, path, blake3), "{user}/{path}: never there");
                let may_be = possible.iter().any(
                    |item| matches!(item, Some(Item::File { blake3: own, .. }) if *own == blake3),
                );
                assert!(may_be || !is_informed, "{user}/{path}: not what is there");
            }
            Err(error) if is_missing(&error) => {
                let is_file = |item: &Option<Item>| matches!(item, Some(Item::File { .. }));
                let may_be = !possible.iter().all(is_file);
                assert!(may_be || !is_informed, "{user}/{path} is gone: {error}");
            }
            // Too few nodes just now.
            Err(_) => {}
        }
    }

    /// What is stored for every user with a quota, and what is kept for slow readers, is within it.
    pub(crate) fn check_quotas(&mut self) {
        for at in 0..self.servers.len() {
            if !self.is_settled(at) {
                continue;
            }
            let server = &self.servers[at];
            let shown = server.shows();
            for (user, quota) in USERS.iter().zip(QUOTAS) {
                let Some(quota) = quota else { continue };
                let tree = &shown[user];
                let catalog = &server.cluster.catalog;
                let id = catalog.account(&UserName::parse(user).unwrap()).unwrap().id;
                // What is joined may share bytes, and copies have the same.
                let is_joined = |path: &str| catalog.file(id, &file(path)).unwrap().joined;
                let joined: u64 = tree
                    .iter()
                    .filter(|(path, item)| **item != Item::Folder && is_joined(path))
                    .map(|(_, item)| item.bytes())
                    .sum();
                let current: BTreeMap<Digest, u64> = tree
                    .values()
                    .filter_map(|item| match item {
                        Item::File { blake3, bytes } => Some((*blake3, *bytes)),
                        Item::Folder => None,
                    })
                    .collect();
                let stored: u64 = current.values().sum();
                // What snapshots have does not count for their users.
                let readers = if self.has_had_snapshots { &[][..] } else { &server.readers };
                let kept: u64 = readers
                    .iter()
                    .filter(|reader| reader.user == *user && !reader.is_joined)
                    .filter(|reader| !current.contains_key(&reader.blake3))
                    .map(|reader| (reader.blake3, reader.bytes))
                    .collect::<BTreeMap<Digest, u64>>()
                    .values()
                    .sum();
                if stored + kept <= quota {
                    self.has_brought_back.remove(user);
                }
                assert!(
                    stored + kept <= quota || self.has_brought_back.contains(user),
                    "{user} stores {stored} and keeps {kept} bytes with a quota of {quota}"
                );
                let (_, usage) = catalog.quota_and_usage(id).unwrap();
                let least = (stored + kept).saturating_sub(joined);
                assert!(usage.stored_bytes >= least, "{user}: {usage:?}");
            }
        }
    }
}
