//! What a signed-in user can do with files: the one facade behind every door.
//!
//! A door knows a protocol; this knows what storing, reading, deleting and listing mean. Nothing
//! here knows how a client talks.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::core::catalog::accounts::Proof;
use crate::core::catalog::{Draft, Relocated, Removed, Scope, UserId};
use crate::core::cluster::leadership::Leadership;
use crate::core::cluster::reaper::Reaper;
use crate::core::cluster::{Cluster, Writing};
use crate::core::error::{Code, Error, Result};
use crate::core::io::random::Random;
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::serve::accounts::{Accounts, Origin, Submit};
use crate::core::serve::quota::{Room, Usage};
use crate::core::serve::store::EXTENT_BYTES;
pub use crate::core::serve::user::User;
use crate::core::types::{FileAttributes, NodeId, NodeSet, VersionId};
use crate::core::wire::extended::{Entry, Moved, When};
use crate::core::wire::node::{PieceMeta, Place};
use crate::core::wire::token::Token;
use crate::core::wire::trailer::STRIPES_MAX;

/// The largest file that the format takes, in bytes; `--max-file-size` stays below it.
pub const FILE_BYTES_MAX: u64 = STRIPES_MAX * (1 << 20) - 4;

/// So much at least is let go of at a time where nodes are full, and so often it is waited for the room.
const ROOM_STEP_BYTES: u64 = 16 << 20;
const ROOM_WAITS: u32 = 20;
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// What the one who runs the server has decided for all accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// May anybody make an account?
    pub sign_up: bool,
    /// How many bytes an account may store for which nothing else was said.
    pub quota: Option<u64>,
}

impl Default for Policy {
    /// Anybody may sign up and store as much as there is room for.
    fn default() -> Policy {
        Policy { sign_up: true, quota: None }
    }
}

/// Users' files. Reads need a catalog that is up to date, changes a server that leads; once another
/// server has taken over, everything is refused with [`Error::TakenOver`].
pub struct Files {
    pub(super) cluster: Cluster,
    pub(super) random: Arc<Random>,
    accounts: Accounts,
    pub(super) usage: Usage,
    pub(super) file_bytes_max: u64,
    /// As [`EXTENT_BYTES`].
    pub(super) extent_bytes: [u64; 2],
    reaper: Reaper,
}

impl Files {
    /// The facade over a cluster; `file_bytes_max` is the largest file to take.
    pub fn new(cluster: Cluster, random: Arc<Random>, file_bytes_max: u64) -> Files {
        let file_bytes_max = file_bytes_max.min(FILE_BYTES_MAX);
        let committer = cluster.committer.clone();
        let submit: Submit = Arc::new(move |job| committer.submit(job));
        let accounts = Accounts::new(cluster.catalog.clone(), submit, random.clone());
        let reaper = Reaper::new(&cluster);
        let (usage, extent_bytes) = (Usage::default(), EXTENT_BYTES);
        Files { cluster, random, accounts, usage, file_bytes_max, extent_bytes, reaper }
    }

    /// The same with extents of other lengths than [`EXTENT_BYTES`], multiples of 1 MiB: for simulations.
    #[must_use]
    pub fn with_extents(self, extent_bytes: [u64; 2]) -> Files {
        Files { extent_bytes, ..self }
    }

    /// The same under a policy other than the default one.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Files {
        self.accounts.sign_up = policy.sign_up;
        self.usage.quota = policy.quota;
        self
    }

    /// Signing in, passwords and tokens.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// May this user go on? Asked before each request.
    ///
    /// # Errors
    /// [`Error::Disabled`], [`Error::TokenRefused`], [`Error::PasswordChanged`],
    /// [`Error::NoSuchUser`], where the account or what it was signed in to with has gone since.
    pub fn check_standing(&self, user: &User) -> Result<()> {
        self.cluster.catalog.check_standing(&user.account, &user.proof)
    }

    /// Somebody who is known to be who it is: for doors that act as one named account, and for
    /// simulations.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NotReady`].
    pub fn trusted_user(&self, name: &UserName) -> Result<User> {
        self.may_read()?;
        Ok(User::new(self.cluster.catalog.account(name)?, Proof::Door))
    }

    /// Makes an account and signs in.
    ///
    /// # Errors
    /// [`Error::SignUpClosed`], [`Error::UserExists`], [`Error::TooManySignUps`]; the name or the
    /// password cannot be one; those of any change.
    pub fn sign_up(&self, name: &str, password: &str, from: Origin) -> Result<User> {
        if !self.accounts.sign_up {
            return Err(Error::SignUpClosed);
        }
        let name = UserName::parse(name)?;
        self.accounts.count_sign_up(from)?;
        self.add_account(&name, password)?;
        let account = self.cluster.catalog.account(&name)?;
        let mark = self.cluster.catalog.password_mark(&account)?;
        Ok(User::new(account, Proof::Password(mark)))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// As [`Files::sign_up`].
    pub(super) fn add_account(&self, name: &UserName, password: &str) -> Result<()> {
        self.may_change()?;
        self.cluster.catalog.check_room()?;
        self.accounts.create(name, password)
    }

    /// Refuses early what the committer would refuse: no password is hashed and no file is taken in
    /// vain.
    ///
    /// # Errors
    /// [`Error::TakenOver`], [`Error::NotReady`], [`Error::TooFewToChange`],
    /// [`Error::EarlierInDoubt`].
    pub(super) fn may_change(&self) -> Result<()> {
        self.cluster.roster.may_change()?;
        if self.cluster.committer.is_behind() {
            let text = "the server's own disk cannot take what was changed last; until it can, nothing is \
                        changed";
            return Err(Error::other(Code::NoSpace, text));
        }
        if self.cluster.committer.is_in_doubt() {
            let troubles = self.cluster.roster.troubles(NodeSet::ALL);
            return Err(Error::EarlierInDoubt(troubles));
        }
        Ok(())
    }

    pub(super) fn may_read(&self) -> Result<()> {
        self.cluster.roster.may_read()
    }

    /// Makes a change.
    ///
    /// # Errors
    /// As [`Committer::submit`](crate::core::cluster::committer::Committer::submit).
    pub(super) fn change<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Draft<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.cluster.committer.submit(job)
    }

    /// Signs in with a password.
    ///
    /// # Errors
    /// As [`Accounts::sign_in`]; [`Error::NotReady`].
    pub fn sign_in(&self, name: &str, password: &str, from: Origin) -> Result<User> {
        self.may_read()?;
        self.accounts.sign_in(name, password, from)
    }

    /// Signs in with a token.
    ///
    /// # Errors
    /// As [`Accounts::sign_in_by_token`]; [`Error::NotReady`].
    pub fn sign_in_by_token(&self, name: &str, token: &Token) -> Result<User> {
        self.may_read()?;
        let (user, is_due) = self.accounts.sign_in_by_token(name, token)?;
        // When it was last used is good to know and not worth a wait.
        if is_due && self.may_change_at_once().is_ok() {
            self.accounts.note_token_used(&user);
        }
        Ok(user)
    }

    /// Makes a token for a user.
    ///
    /// # Errors
    /// As [`Accounts::issue_token`].
    pub fn issue_token(&self, user: &User, machine: &str) -> Result<Token> {
        user.check_owner()?;
        self.accounts.issue_token(user, machine)
    }

    /// Revokes the token that the user has signed in with.
    ///
    /// # Errors
    /// As [`Accounts::revoke_token`].
    pub fn revoke_token(&self, user: &mut User) -> Result<()> {
        self.accounts.revoke_token(user)
    }

    /// Changes a user's password.
    ///
    /// # Errors
    /// As [`Accounts::change_password`].
    pub fn change_password(
        &self,
        user: &mut User,
        old: &str,
        new: &str,
        from: Origin,
    ) -> Result<()> {
        user.check_owner()?;
        self.may_change()?;
        self.accounts.change_password(user, old, new, from)
    }

    /// Begins to write a version; where nodes are full what is kept for undo gives way.
    pub(super) fn begin_writing(&self, meta: &PieceMeta) -> Result<Writing> {
        let mut waits = 0;
        loop {
            let begun = self.cluster.volume.write(meta);
            let Err(Error::NodesFull(_)) = begun else { return begun };
            // Four nodes keep two bytes for each.
            let made = self.cluster.let_go_of_oldest(meta.file_bytes.max(ROOM_STEP_BYTES));
            let is_more = made.and_then(|made| Ok(self.reaper.reclaim()? > 0 || made));
            if is_more.unwrap_or(false) {
                waits = 0;
            } else if waits == ROOM_WAITS || !self.cluster.retention.has_just_let_go() {
                return begun;
            }
            if !self.cluster.roster.may_wait() {
                return self.cluster.volume.write(meta);
            }
            // The nodes remove what was dropped when they have followed so far, and say so when they are
            // asked next.
            waits += 1;
            thread::sleep(ROOM_WAIT);
        }
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::NoSuchFile`]; those of any change.
    pub fn delete(&self, user: &User, path: &FilePath) -> Result<()> {
        let (id, path) = (user.changes_file(path)?, path.clone());
        self.change(move |draft| draft.delete(id, &path))?;
        self.cluster.notifier.notify();
        Ok(())
    }

    /// Changes what a file of this version keeps besides its bytes: what is given, and the rest stays. No
    /// file becomes a link by that, nor does a link become a file.
    ///
    /// # Errors
    /// [`Error::ChangedMeanwhile`] if it is another version now, [`Code::NotAllowed`] where other files
    /// have the same version; those of any change.
    pub fn set_attributes(
        &self,
        user: &User,
        path: &FilePath,
        version: VersionId,
        attributes: FileAttributes,
    ) -> Result<()> {
        let (id, path) = (user.changes_file(path)?, path.clone());
        self.change(move |draft| draft.set_attributes(id, &path, version, attributes))
    }

    /// Makes a folder; with `parents` also those above it, and it may be there already.
    ///
    /// # Errors
    /// [`Error::FolderExists`], [`Error::NoSuchFolder`] for the one above it,
    /// [`Error::NameCollision`]; those of any change.
    pub fn make_folder(&self, user: &User, folder: &FolderPath, parents: bool) -> Result<()> {
        let (id, folder) = (user.changes(folder)?, folder.clone());
        self.change(move |draft| draft.make_folder(id, &folder, parents))
    }

    /// Removes a folder: an empty one, or with `recursive` one with all that is in it.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::FolderNotEmpty`]; those of any change.
    pub fn remove_folder(
        &self,
        user: &User,
        folder: &FolderPath,
        recursive: bool,
    ) -> Result<Removed> {
        let (id, folder) = (user.changes(folder)?, folder.clone());
        let removed = self.change(move |draft| draft.remove_folder(id, &folder, recursive))?;
        self.cluster.notifier.notify();
        Ok(removed)
    }

    /// Moves a file, or a folder with all that is in it: into `to` if that is a folder, else to that
    /// name.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`]; [`Error::NoSuchFolder`] for the folder that `to` would be in;
    /// [`Error::Exists`] if a file is there, unless `replace`; [`Error::FolderExists`],
    /// [`Error::NameCollision`], [`Error::IntoItself`]; those of any change.
    pub fn move_to(
        &self,
        user: &User,
        from: &FilePath,
        to: &FolderPath,
        replace: bool,
    ) -> Result<Moved> {
        user.changes_file(from)?;
        let (id, from, to) = (user.reaches_into(to)?, from.clone(), to.clone());
        let done = self.change(move |draft| draft.relocate(id, &from, &to, replace))?;
        if done.replaced {
            self.cluster.notifier.notify();
        }
        let Relocated { to, is_folder, files, replaced, .. } = done;
        Ok(Moved { to, is_folder, files, replaced })
    }

    /// Gives a file, or a folder with all that is in it, exactly this path. With `replace` what is there,
    /// also a folder, goes in the same change and can be had back. True if something was there.
    ///
    /// # Errors
    /// As [`Files::move_to`]; [`Error::FolderExists`] for a folder without `replace`.
    pub fn move_exactly(
        &self,
        user: &User,
        from: &FilePath,
        to: &FilePath,
        replace: bool,
    ) -> Result<bool> {
        user.changes_file(from)?;
        let (id, from, to) = (user.changes_file(to)?, from.clone(), to.clone());
        let replaced = self.change(move |draft| {
            let replaced = draft.make_way(id, &from, &to, replace)?;
            let done = draft.relocate(id, &from, &to.as_folder(), replace)?;
            Ok(replaced || done.replaced)
        })?;
        if replaced {
            self.cluster.notifier.notify();
        }
        Ok(replaced)
    }

    /// What is at a path: a file or a folder. The top folder is always there.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] for the folder it would be in, or [`Error::NoSuchFile`];
    /// [`Error::NotReady`].
    pub fn look(&self, user: &User, path: &FolderPath) -> Result<Entry> {
        self.may_read()?;
        self.cluster.catalog.look(user.sees(path)?, path)
    }

    /// What was at a path at a time.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if nothing was, as far as is known, or there is no such snapshot;
    /// [`Error::NotReady`].
    pub fn look_at(&self, user: &User, path: &FolderPath, when: &When) -> Result<Entry> {
        self.may_read()?;
        let at = self.moment(when)?;
        let found = self.cluster.catalog.look_at(user.sees(path)?, path, at);
        found.map_err(|error| self.not_then(user, at, error))
    }

    /// Some of what is in a folder, sorted by the bytes of the whole path: at most `most` entries
    /// that come behind `after`. None at the end, or where there is no such folder.
    ///
    /// # Errors
    /// If the catalog cannot be read; [`Error::NotReady`].
    pub fn page(
        &self,
        user: &User,
        below: &FolderPath,
        scope: Scope,
        after: Option<&Entry>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        self.may_read()?;
        self.cluster.catalog.page(user.sees(below)?, below, scope, after, most)
    }

    /// The same as it was at a time.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such snapshot, or some of it is no longer kept;
    /// [`Error::NotReady`].
    pub fn page_at(
        &self,
        user: &User,
        below: &FolderPath,
        scope: Scope,
        when: &When,
        after: Option<&Entry>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        self.may_read()?;
        let at = Some(self.whole_moment(user, when)?);
        self.cluster.catalog.page_at(user.sees(below)?, below, scope, at, after, most)
    }

    /// Everything the user has, sorted by path. Asks no node.
    ///
    /// # Errors
    /// If the catalog cannot be read; [`Error::NotReady`].
    pub fn list(&self, user: &User) -> Result<Vec<Entry>> {
        self.may_read()?;
        self.cluster.catalog.list(user.sees(&FolderPath::top())?)
    }

    /// The largest file that is taken, in bytes.
    pub fn file_bytes_max(&self) -> u64 {
        self.file_bytes_max
    }

    /// Whether this server is the cluster's, and how far it is.
    pub fn leadership(&self) -> &Leadership {
        self.cluster.roster.leadership()
    }

    /// How many nodes are up.
    pub fn nodes_up(&self) -> usize {
        NodeId::ALL.into_iter().filter(|id| self.cluster.roster.health(*id).is_up()).count()
    }

    /// Says good-bye to the nodes, when the server ends.
    pub fn say_bye(&self) {
        self.cluster.roster.say_bye();
    }

    /// Does something with the room that there is, and that can be made.
    pub(super) fn with_room<T>(&self, act: impl FnOnce(Room<'_>) -> T) -> T {
        let reclaim = &|user, bytes| self.reclaim(user, bytes);
        act(Room { catalog: &self.cluster.catalog, readers: &self.cluster.readers, reclaim })
    }

    /// Makes room for an account: drops what is kept for nobody and is not read, or else lets go of the
    /// oldest of what is kept for undo. False if there was nothing of either.
    fn reclaim(&self, user: UserId, bytes: u64) -> bool {
        let made = self.reaper.reclaim().and_then(|dropped| {
            if dropped > 0 {
                return Ok(true);
            }
            let has_let_go = self.cluster.let_go_of(user, bytes)?;
            // Another one may have dropped it by now, which is as good.
            self.reaper.reclaim()?;
            Ok(has_let_go)
        });
        made.unwrap_or_else(|error| {
            tracing::warn!("cannot make room by dropping what was deleted: {error}");
            false
        })
    }

    /// Records that nodes do not hold a version's piece, or hold it damaged: it is rebuilt then. If that
    /// cannot be recorded now it is noticed again; nobody waits for nodes that are away.
    pub(super) fn pieces_lost(&self, version: VersionId, nodes: NodeSet) {
        if nodes.is_empty() {
            return;
        }
        let recorded = self.may_change_at_once();
        if let Err(error) = recorded.and_then(|()| self.cluster.record_lost(version, nodes)) {
            tracing::warn!("cannot record that a piece was lost on {nodes}: {error}");
        }
    }

    /// As [`Files::may_change`], without waiting for a server that is just starting.
    pub(super) fn may_change_at_once(&self) -> Result<()> {
        if self.leadership().is_established() {
            return self.may_change();
        }
        Err(Error::other(Code::Temporary, "the server does not lead the cluster yet"))
    }
}

pub(super) fn place(user: &User, path: &FilePath) -> Place {
    Place { user: user.name.clone(), path: path.clone() }
}
