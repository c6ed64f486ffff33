//! What every path is and what the nodes owe, decided by the evidence of their disks.

use std::collections::HashSet;

use rusqlite::{Transaction, params};

use super::before::Before;
use super::{Report, Unrecovered};
use crate::core::catalog::accounts::{self, NO_PASSWORD};
use crate::core::catalog::database::catalog_error;
use crate::core::catalog::evidence::{Evidence, State, newest};
use crate::core::catalog::files::{self, FileRecord};
use crate::core::catalog::folders;
use crate::core::catalog::owed::{self, Kind, Renaming};
use crate::core::catalog::{UserId, journal, users};
use crate::core::error::{Error, Result};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{NodeId, NodeSet, READ_QUORUM, Seq, VersionId};
use crate::core::wire::journal::Change;
use crate::core::wire::node::Place;

/// The part of a recovery that looks at the evidence.
pub(super) struct Adoption<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) evidence: &'a Evidence,
    pub(super) asked: NodeSet,
    pub(super) horizon: Option<Seq>,
    /// What was owed so far: where nodes that could not be asked may have what was moved.
    pub(super) before: Before,
    pub(super) highest: Seq,
    pub(super) report: &'a mut Report,
}

impl Adoption<'_> {
    /// Accounts that only folders tell of; and where there was no snapshot, the folders themselves.
    pub(super) fn users_and_folders(&mut self) -> Result<()> {
        for (user, folder) in &self.evidence.folders {
            if accounts::id_of(&self.transaction, user)?.is_none() {
                self.make_user(user)?;
            }
            if self.horizon.is_none()
                && let Some(id) = accounts::id_of(&self.transaction, user)?
                && !users::is_removed(&self.transaction, id)?
            {
                self.make_folders(user, id, folder)?;
            }
        }
        Ok(())
    }

    fn make_user(&mut self, user: &UserName) -> Result<()> {
        accounts::remake_user(&self.transaction, user, NO_PASSWORD, 0)?;
        let password = NO_PASSWORD.to_owned();
        let made = Change::UserMade { user: user.clone(), password, created_ms: 0 };
        self.report.without_password.push(user.clone());
        journal::record(&self.transaction, &made)
    }

    fn make_folders(&self, name: &UserName, user: UserId, folder: &FolderPath) -> Result<()> {
        for folder in files::make_folders(&self.transaction, user, folder)? {
            let made = Change::FolderMade { user: name.clone(), folder };
            journal::record(&self.transaction, &made)?;
        }
        Ok(())
    }

    /// Versions that are newer than what is known become the current ones.
    pub(super) fn news(&mut self) -> Result<()> {
        for ((name, path), versions) in &self.evidence.files {
            let user = match accounts::id_of(&self.transaction, name)? {
                // What began before the account was removed never came to its end.
                Some(user) if users::is_removed(&self.transaction, user)? => continue,
                Some(user) => user,
                // Known from staged blocks alone: the account's last moments were these.
                None if newest(versions, self.horizon.unwrap_or_default(), &|_| true).is_some() => {
                    self.make_user(name)?;
                    continue_with(accounts::id_of(&self.transaction, name)?)?
                }
                None => continue,
            };
            let known = files::file_at(&self.transaction, user, path)?;
            let floor = self
                .horizon
                .unwrap_or_default()
                .max(journal::deletion(&self.transaction, user, path)?)
                .max(known.as_ref().map_or(Seq(0), |known| known.seq));
            let unknown = |state: &State| {
                self.evidence.home(state).is_some_and(|(user, own)| user == name && own == path)
                    && !self.is_current(state.version)
            };
            let Some((state, _)) = newest(versions, floor, &unknown) else { continue };
            let found = self.evidence.of(name, path, &state);
            let place = Place { user: name.clone(), path: path.clone() };
            if let Err(error) = files::check_names(&self.transaction, user, path) {
                self.give_up(place.to_string(), error.to_string());
                continue;
            }
            let held = found.held();
            // One that was committed and is on one node only: the others must have it as well.
            let rest =
                if held.len() < READ_QUORUM { self.asked.complement() } else { NodeSet::EMPTY };
            let record = FileRecord {
                version: state.version,
                seq: state.seq,
                bytes: state.bytes,
                blake3: state.blake3,
                stored_ms: found.stored_ms,
                placed: held.iter().chain(rest.iter()).collect(),
            };
            self.make_folders(name, user, &path.folder())?;
            files::put_file(&self.transaction, user, path, &record, None)?;
            journal::record(&self.transaction, &record.stored(place))?;
            self.report.from_blocks += 1;
        }
        Ok(())
    }

    /// Every file: where it is, who owes what.
    pub(super) fn settle(&mut self) -> Result<()> {
        let all: Vec<(i64, String, String)> = {
            let mut query = self
                .transaction
                .prepare("SELECT user_id, name, path FROM files JOIN users ON users.id = user_id")
                .map_err(catalog_error)?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            rows.and_then(Iterator::collect).map_err(catalog_error)?
        };
        let mut placing = Vec::new();
        for (user, name, path) in all {
            let place =
                Place { user: UserName::parse(&name)?, path: FilePath::parse_rooted(&path)? };
            self.settle_file(UserId(user), &place, &mut placing)?;
        }
        // Only now: what lies under a name that was another file's is taken back first.
        for (node, kind, user, path, record) in placing {
            let (path, version) = (path.as_str(), Some(record.version));
            owed::add(&self.transaction, node, kind, user, path, version, record.seq)?;
        }
        Ok(())
    }

    fn is_current(&self, version: VersionId) -> bool {
        let known = self
            .transaction
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM files WHERE version = ?1)")
            .and_then(|mut query| query.query_row([version.0], |row| row.get(0)));
        // An error shows in the next query, too.
        known.unwrap_or(true)
    }

    fn settle_file(
        &mut self,
        user: UserId,
        place: &Place,
        placing: &mut Vec<(NodeId, Kind, UserId, FilePath, FileRecord)>,
    ) -> Result<()> {
        let record = files::file_at(&self.transaction, user, &place.path)?;
        let record = continue_with(record)?;
        let state = State {
            seq: record.seq,
            version: record.version,
            bytes: record.bytes,
            blake3: record.blake3,
        };
        let found = self.evidence.of(&place.user, &place.path, &state);
        let (held, away) = (found.held(), record.placed.and(self.asked.complement()));
        // What a node could not read may be its piece of this file. It is told to commit it, and says
        // then whether it has it.
        let unsure = record.placed.and(self.evidence.unsure());
        let at_hand: NodeSet = held.iter().chain(unsure.iter()).collect();
        let placed: NodeSet = at_hand.iter().chain(away.iter()).collect();
        if placed.is_empty() && self.evidence.unread.is_empty() {
            self.highest = Seq(self.highest.0 + 1);
            let seq = self.highest;
            files::remove_file(&self.transaction, user, &place.path, seq)?;
            let deleted = Change::Deleted { place: place.clone(), seq };
            journal::record(&self.transaction, &deleted)?;
            let why = "no node holds anything of it: it was deleted in the last moment, or lost";
            self.give_up(place.to_string(), why.into());
            return Ok(());
        }
        if placed.len() < READ_QUORUM {
            self.give_up(place.to_string(), format!("only {held} holds it, and two are needed"));
        } else if at_hand.len() < READ_QUORUM {
            let who = if held.is_empty() { "none of them" } else { "one of them" };
            let verb = if away.len() == 1 { "is" } else { "are" };
            let why =
                format!("it cannot be read until {away} {verb} back: of the others {who} holds it");
            self.give_up(place.to_string(), why);
        }
        self.transaction
            .execute(
                "UPDATE files SET placed = ?3 WHERE user_id = ?1 AND path = ?2",
                params![user.0, place.path.as_str(), placed.bits()],
            )
            .map_err(catalog_error)?;
        // What was to be dropped is wanted after all.
        self.transaction
            .execute("DELETE FROM owed WHERE version = ?1 AND kind = 'discard'", [record.version.0])
            .map_err(catalog_error)?;
        for node in NodeId::ALL {
            let kind = match (placed.contains(node), found.committed().contains(node)) {
                (_, true) => continue,
                (true, false) => Kind::Commit,
                (false, false) => Kind::Repair,
            };
            // Half a piece, too: it is written over by the repair.
            let mut elsewhere = self.evidence.elsewhere(node, place, &state);
            if !self.is_sure(node) {
                let (path, version) = (place.path.as_str(), Some(record.version));
                elsewhere.extend(self.before.paths(user, node, version, path)?);
            }
            for from in elsewhere {
                let taken_back = Renaming {
                    kind: Kind::TakeBack,
                    from: from.as_str(),
                    to: place.path.as_str(),
                    version: Some(record.version),
                    seq: record.seq,
                    entry: 0,
                };
                owed::add_renaming(&self.transaction, node, user, &taken_back)?;
            }
            placing.push((node, kind, user, place.path.clone(), record.clone()));
        }
        Ok(())
    }

    /// Is all known that lies on this node?
    fn is_sure(&self, node: NodeId) -> bool {
        self.asked.contains(node) && !self.evidence.unsure().contains(node)
    }

    /// What was to be removed, or was moved away, on nodes of which not all is known.
    pub(super) fn remove_again(&mut self) -> Result<()> {
        let unsure: Vec<NodeId> = NodeId::ALL.into_iter().filter(|id| !self.is_sure(*id)).collect();
        for (user, node, path) in self.before.removed(&unsure) {
            let mut paths = vec![FilePath::parse_rooted(&path)?];
            paths.extend(self.before.paths(user, node, None, &path)?);
            for path in paths {
                if files::file_at(&self.transaction, user, &path)?.is_none() {
                    let (kind, path) = (Kind::Remove, path.as_str());
                    owed::add(&self.transaction, node, kind, user, path, None, self.highest)?;
                }
            }
        }
        Ok(())
    }

    /// Folders that are on nodes and that nobody knows any more are to be removed, if they are empty.
    pub(super) fn remove_folders(&mut self) -> Result<()> {
        // From the inside out: a folder sorts before what is in it.
        for (name, folder) in self.evidence.folders.iter().rev() {
            let Some(user) = accounts::id_of(&self.transaction, name)? else { continue };
            if !folder.is_top() && !files::folder_exists(&self.transaction, user, folder.as_str())?
            {
                folders::owe_removal(&self.transaction, user, folder)?;
            }
        }
        Ok(())
    }

    /// Committed blocks at a path that has no file any more are to be removed.
    pub(super) fn remove_what_nobody_knows(&mut self) -> Result<()> {
        let given_up: HashSet<String> =
            self.report.unrecovered.iter().map(|item| item.what.clone()).collect();
        for ((name, path), versions) in &self.evidence.files {
            let Some(user) = accounts::id_of(&self.transaction, name)? else { continue };
            let place = Place { user: name.clone(), path: path.clone() };
            if given_up.contains(&place.to_string()) {
                continue;
            }
            if files::file_at(&self.transaction, user, path)?.is_some() {
                continue;
            }
            for node in NodeId::ALL {
                // What is a file's elsewhere was taken back, or is half a piece that is none.
                let mut lying = versions.iter().filter(|(state, found)| {
                    found.named().contains(node) && !self.is_current(state.version)
                });
                if let Some((state, _)) = lying.next_back() {
                    let (kind, path) = (Kind::Remove, path.as_str());
                    owed::add(&self.transaction, node, kind, user, path, None, state.seq)?;
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self, what: String, why: String) {
        self.report.unrecovered.push(Unrecovered { what, why });
    }
}

/// What was written in this very transaction must be there.
fn continue_with<T>(row: Option<T>) -> Result<T> {
    row.ok_or_else(|| Error::Catalog("a row that was just written is missing".into()))
}
