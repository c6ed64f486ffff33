//! What a signed-in user can do with files: the one facade behind every door.
//!
//! A door knows a protocol; this knows what storing, reading, deleting and listing mean. Nothing
//! here knows how a client talks.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::core::catalog::accounts::{Account, Proof};
use crate::core::catalog::{
    Draft, FileRecord, NewFile, Relocated, Removed, Scope, TokenId, UserId,
};
use crate::core::cluster::leadership::Leadership;
use crate::core::cluster::pace::Transfer;
use crate::core::cluster::readers::Reader;
use crate::core::cluster::reaper::Reaper;
use crate::core::cluster::{Cluster, Reading, Wanted, Writing, Written};
use crate::core::error::{Code, Error, Reached, Result};
use crate::core::io::clock;
use crate::core::io::random::Random;
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::range::ByteRange;
use crate::core::serve::accounts::{Accounts, Origin, Submit};
use crate::core::serve::quota::{Reservation, Room, Usage};
use crate::core::types::{Digest, FileAttributes, NodeSet, Precondition, VersionId, WRITE_QUORUM};
use crate::core::wire::extended::{Entry, Moved, When, Which};
use crate::core::wire::node::{PieceMeta, Place};
use crate::core::wire::token::Token;
use crate::core::wire::trailer::STRIPES_MAX;

/// The largest file that the format takes, in bytes; `--max-file-size` stays below it.
pub const FILE_BYTES_MAX: u64 = STRIPES_MAX * (1 << 20) - 4;

/// So much at least is let go of at a time where nodes are full, and so often it is waited for the room.
const ROOM_STEP_BYTES: u64 = 16 << 20;
const ROOM_WAITS: u32 = 20;
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) account: Account,
    /// What the session rests on.
    pub(super) proof: Proof,
    /// Where the user's requests come from.
    origin: String,
    /// The user's name.
    pub name: UserName,
}

impl User {
    pub(super) fn new(account: Account, proof: Proof) -> User {
        let name = account.name.clone();
        User { account, proof, origin: String::new(), name }
    }

    /// The token that was used in place of the password.
    pub(super) fn token(&self) -> Option<TokenId> {
        match self.proof {
            Proof::Token(token) => Some(token),
            Proof::Password(_) | Proof::Door => None,
        }
    }

    /// The same, with a note of where the requests come from (`127.0.0.1:40312`), for those who find
    /// a file changed.
    #[must_use]
    pub fn coming_from(self, origin: String) -> User {
        User { origin, ..self }
    }

    /// Who does it, as it is shown: `demo from 127.0.0.1:40312`.
    fn described(&self) -> String {
        match self.origin.as_str() {
            "" => self.name.to_string(),
            origin => format!("{} from {origin}", self.name),
        }
    }
}

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
    random: Arc<Random>,
    accounts: Accounts,
    pub(super) usage: Usage,
    file_bytes_max: u64,
    reaper: Reaper,
}

/// What a finished store has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The new version.
    pub version: VersionId,
    /// The nodes that hold it, synced.
    pub nodes: NodeSet,
}

impl Files {
    /// The facade over a cluster; `file_bytes_max` is the largest file to take.
    pub fn new(cluster: Cluster, random: Arc<Random>, file_bytes_max: u64) -> Files {
        let file_bytes_max = file_bytes_max.min(FILE_BYTES_MAX);
        let committer = cluster.committer.clone();
        let submit: Submit = Arc::new(move |job| committer.submit(job));
        let accounts = Accounts::new(cluster.catalog.clone(), submit, random.clone());
        let reaper = Reaper::new(&cluster);
        Files { cluster, random, accounts, usage: Usage::default(), file_bytes_max, reaper }
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
        self.may_change()?;
        self.accounts.change_password(user, old, new, from)
    }

    /// Begins to store a file. Whatever can be refused is refused here, before its bytes are taken.
    ///
    /// # Errors
    /// [`Error::TooBig`], [`Error::OverQuota`], [`Error::NameCollision`],
    /// [`Error::TooFewToStore`], [`Error::NodesFull`]; for a precondition that is not met
    /// [`Error::Exists`], [`Error::NoSuchFile`], [`Error::NoSuchFolder`],
    /// [`Error::ChangedMeanwhile`] or [`Error::GoneMeanwhile`]; those of any change.
    pub fn store(
        &self,
        user: &User,
        path: &FilePath,
        bytes: u64,
        precondition: Precondition,
    ) -> Result<Store<'_>> {
        if bytes > self.file_bytes_max {
            return Err(Error::TooBig { bytes, limit: self.file_bytes_max });
        }
        self.may_change().map_err(too_few_to_store)?;
        self.cluster.catalog.check_room()?;
        let id = user.account.id;
        let reclaim = |user, bytes| self.reclaim(user, bytes);
        let reservation = self.usage.reserve(self.room(&reclaim), id, path, bytes)?;
        self.cluster.catalog.check_store(&user.account, &user.proof, path, precondition)?;
        let meta = PieceMeta {
            version: self.random.version(),
            place: place(user, path),
            file_bytes: bytes,
            stored_ms: clock::now_ms(),
            repair: false,
        };
        let writing = self.begin_writing(&meta)?;
        let transfer = self.cluster.volume.traffic().enter();
        let stored_by = user.described();
        let attributes = FileAttributes::default();
        Ok(Store {
            files: self,
            reservation,
            precondition,
            stored_by,
            attributes,
            meta,
            writing,
            transfer,
        })
    }

    /// Begins to write a version; where nodes are full what is kept for undo gives way.
    fn begin_writing(&self, meta: &PieceMeta) -> Result<Writing> {
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

    /// Begins to read a file's current version, or a part of it.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::NoSuchFile`], [`Error::TooFewToRead`], [`Error::NotReady`];
    /// [`Code::Usage`] if the file has nothing of the range; [`Code::Temporary`] while it is not known
    /// whether the version was ever answered.
    pub fn retrieve(
        &self,
        user: &User,
        path: &FilePath,
        range: Option<ByteRange>,
    ) -> Result<Retrieve<'_>> {
        self.retrieve_which(user, path, &Which::Current, range)
    }

    /// The same of any version that is kept.
    ///
    /// # Errors
    /// As [`Files::retrieve`]; [`Code::NoSuchFile`] if there is no such version or snapshot, or the file
    /// was not there then.
    pub fn retrieve_which(
        &self,
        user: &User,
        path: &FilePath,
        which: &Which,
        range: Option<ByteRange>,
    ) -> Result<Retrieve<'_>> {
        self.may_read()?;
        let entered = self.enter(user, path, which)?;
        let version = entered.0.version;
        let begun = self.begin_retrieve(user, path, range, entered);
        if *which != Which::Current {
            return begun;
        }
        if !matches!(begun, Err(Error::TooFewToRead { .. } | Error::DamagedOnNodes { .. })) {
            return begun;
        }
        // What a server that has just begun to lead found on too few nodes may never have been answered;
        // then the file is what it was before.
        if self.may_change().is_err() {
            return begun;
        }
        self.cluster.settler.round();
        let current = self.cluster.catalog.file(user.account.id, path)?.version;
        if current != version {
            return self.begin_retrieve(user, path, range, self.enter(user, path, which)?);
        }
        if self.cluster.catalog.is_uncertain(version)? {
            let text = format!(
                "it is not known yet whether {path} was stored or is as it was before; that takes all four \
                 nodes"
            );
            return Err(Error::other(Code::Temporary, text));
        }
        begun
    }

    /// The file's version that is meant, which is not dropped as long as it is being read.
    fn enter(&self, user: &User, path: &FilePath, which: &Which) -> Result<(FileRecord, Reader)> {
        self.cluster.readers.enter(|| {
            let record = self.record(user, path, which)?;
            let version = record.version;
            Ok((record, version))
        })
    }

    fn begin_retrieve(
        &self,
        user: &User,
        path: &FilePath,
        range: Option<ByteRange>,
        (record, reader): (FileRecord, Reader),
    ) -> Result<Retrieve<'_>> {
        let (volume, label) = (&self.cluster.volume, place(user, path));
        let whole = Wanted::whole(record.version, &label, record.bytes, record.placed);
        let part = range.map_or(Ok(0..record.bytes), |range| range.within(record.bytes))?;
        let begun = volume.read(Wanted { bytes: part.clone(), ..whole });
        let reading = begun.map_err(|(error, unsound)| {
            self.pieces_lost(record.version, unsound);
            error
        })?;
        Ok(Retrieve {
            files: self,
            bytes: record.bytes,
            part,
            version: record.version,
            blake3: record.blake3,
            stored_ms: record.stored_ms,
            attributes: record.attributes,
            reading,
            reader: Some(reader),
            _transfer: volume.traffic().enter(),
        })
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::NoSuchFile`]; those of any change.
    pub fn delete(&self, user: &User, path: &FilePath) -> Result<()> {
        let (id, path) = (user.account.id, path.clone());
        self.change(move |draft| draft.delete(id, &path))?;
        self.cluster.notifier.notify();
        Ok(())
    }

    /// Makes a folder; with `parents` also those above it, and it may be there already.
    ///
    /// # Errors
    /// [`Error::FolderExists`], [`Error::NoSuchFolder`] for the one above it,
    /// [`Error::NameCollision`]; those of any change.
    pub fn make_folder(&self, user: &User, folder: &FolderPath, parents: bool) -> Result<()> {
        let (id, folder) = (user.account.id, folder.clone());
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
        let (id, folder) = (user.account.id, folder.clone());
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
        let (id, from, to) = (user.account.id, from.clone(), to.clone());
        let done = self.change(move |draft| draft.relocate(id, &from, &to, replace))?;
        if done.replaced {
            self.cluster.notifier.notify();
        }
        let Relocated { to, is_folder, files, replaced, .. } = done;
        Ok(Moved { to, is_folder, files, replaced })
    }

    /// What is at a path: a file or a folder. The top folder is always there.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] for the folder it would be in, or [`Error::NoSuchFile`];
    /// [`Error::NotReady`].
    pub fn look(&self, user: &User, path: &FolderPath) -> Result<Entry> {
        self.may_read()?;
        self.cluster.catalog.look(user.account.id, path)
    }

    /// What was at a path at a time.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if nothing was; [`Code::NoSuchFile`] if there is no such snapshot;
    /// [`Error::NotReady`].
    pub fn look_at(&self, user: &User, path: &FolderPath, when: &When) -> Result<Entry> {
        self.may_read()?;
        self.cluster.catalog.look_at(user.account.id, path, self.moment(when)?)
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
        self.cluster.catalog.page(user.account.id, below, scope, after, most)
    }

    /// The same as it was at a time.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if there is no such snapshot; [`Error::NotReady`].
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
        let at = Some(self.moment(when)?);
        self.cluster.catalog.page_at(user.account.id, below, scope, at, after, most)
    }

    /// Everything the user has, sorted by path. Asks no node.
    ///
    /// # Errors
    /// If the catalog cannot be read; [`Error::NotReady`].
    pub fn list(&self, user: &User) -> Result<Vec<Entry>> {
        self.may_read()?;
        self.cluster.catalog.list(user.account.id)
    }

    /// The largest file that is taken, in bytes.
    pub fn file_bytes_max(&self) -> u64 {
        self.file_bytes_max
    }

    /// Whether this server is the cluster's, and how far it is.
    pub fn leadership(&self) -> &Leadership {
        self.cluster.roster.leadership()
    }

    /// Says good-bye to the nodes, when the server ends.
    pub fn say_bye(&self) {
        self.cluster.roster.say_bye();
    }

    fn room<'a>(&'a self, reclaim: &'a dyn Fn(UserId, u64) -> bool) -> Room<'a> {
        Room { catalog: &self.cluster.catalog, readers: &self.cluster.readers, reclaim }
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
    fn pieces_lost(&self, version: VersionId, nodes: NodeSet) {
        if nodes.is_empty() {
            return;
        }
        let recorded = self.may_change_at_once();
        if let Err(error) = recorded.and_then(|()| self.cluster.record_lost(version, nodes)) {
            tracing::warn!("cannot record that a piece was lost on {nodes}: {error}");
        }
    }

    /// As [`Files::may_change`], without waiting for a server that is just starting.
    fn may_change_at_once(&self) -> Result<()> {
        if self.leadership().is_established() {
            return self.may_change();
        }
        Err(Error::other(Code::Temporary, "the server does not lead the cluster yet"))
    }
}

/// A store says what it needs in words of its own.
fn too_few_to_store(error: Error) -> Error {
    match error {
        Error::TooFewToChange { troubles, .. } => Error::TooFewToStore(troubles),
        other => other,
    }
}

fn place(user: &User, path: &FilePath) -> Place {
    Place { user: user.name.clone(), path: path.clone() }
}

/// A file that is being stored. Dropped before it is finished, it leaves everything as it was.
pub struct Store<'a> {
    files: &'a Files,
    reservation: Reservation<'a>,
    precondition: Precondition,
    stored_by: String,
    attributes: FileAttributes,
    meta: PieceMeta,
    writing: Writing,
    transfer: Transfer,
}

impl Store<'_> {
    /// The same, for a file that keeps this of the one that is stored.
    #[must_use]
    pub fn with_attributes(self, attributes: FileAttributes) -> Self {
        Store { attributes, ..self }
    }

    /// The file's size.
    pub fn bytes(&self) -> u64 {
        self.meta.file_bytes
    }

    /// The nodes that the file goes to.
    pub fn targets(&self) -> NodeSet {
        self.writing.targets()
    }

    /// Where the next bytes go; empty once all have come.
    ///
    /// # Errors
    /// If the nodes do not keep up for too long.
    pub fn room(&mut self) -> Result<&mut [u8]> {
        self.writing.room()
    }

    /// Sends on what was put into the whole of the room.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`].
    pub fn push(&mut self) -> Result<()> {
        self.writing.push()
    }

    /// Makes the file the current version: its pieces are durable on the nodes before, or become so
    /// with the journal's entry.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`], [`Error::NameCollision`], or the precondition is not met any more;
    /// the file is what it was before. After [`Error::InDoubt`] it may be the one or the other.
    pub fn finish(self, blake3: Digest) -> Result<Stored> {
        let Store { files, precondition, stored_by, attributes, meta, transfer, .. } = self;
        let (mut reservation, mut writing) = (self.reservation, self.writing);
        let cluster = &files.cluster;
        let (seq, placed, stripe) = match writing.finish(blake3)? {
            Written::Inline { seq, stripe } => {
                (seq, in_step(cluster, writing.targets())?, Some(stripe))
            }
            Written::Staged { seq, nodes, .. } => (seq, nodes, None),
        };
        let reclaim = |user, bytes| files.reclaim(user, bytes);
        reservation.confirm(files.room(&reclaim))?;
        let is_inline = stripe.is_some();
        let new = NewFile {
            user: reservation.user(),
            path: meta.place.path,
            version: meta.version,
            seq,
            bytes: meta.file_bytes,
            blake3,
            stored_ms: meta.stored_ms,
            placed,
            inline: is_inline,
            precondition,
            stored_by,
            attributes,
        };
        let stored = cluster.committer.submit_counted(move |draft| draft.store(&new, stripe));
        let (replaced, have) = stored.inspect_err(|error| writing.refused(error))?;
        if replaced {
            // The file is stored; what stays of the old one gives way later at the latest.
            if let Err(error) = reservation.settle(files.room(&reclaim)) {
                tracing::warn!("cannot make room by dropping what was replaced: {error}");
            }
        }
        if replaced || placed != NodeSet::ALL {
            cluster.notifier.notify();
        }
        drop((reservation, writing, transfer));
        let nodes = if is_inline { have.and(placed) } else { placed };
        if nodes.len() < WRITE_QUORUM {
            // The entry is on three nodes, one of which has none of the pieces that came with it: a node
            // that should have had them went away, and another one caught up meanwhile.
            let troubles = cluster.roster.troubles(nodes.complement());
            return Err(Error::InDoubt { confirmed: Reached(nodes), troubles });
        }
        Ok(Stored { version: meta.version, nodes })
    }
}

/// Those of these nodes, which have room for it, that a small file's pieces are placed on.
fn in_step(cluster: &Cluster, targets: NodeSet) -> Result<NodeSet> {
    let nodes = cluster.replication.in_step().and(targets);
    if nodes.len() >= WRITE_QUORUM {
        return Ok(nodes);
    }
    let mut troubles = cluster.roster.troubles(nodes.complement());
    for id in nodes.complement().iter() {
        troubles.note(id, "its journal is behind, or its disk is full");
    }
    Err(Error::TooFewToStore(troubles))
}

/// A file that is being read.
pub struct Retrieve<'a> {
    files: &'a Files,
    /// Its size.
    pub bytes: u64,
    /// The bytes of it that are read.
    pub part: Range<u64>,
    /// The version that is being read.
    pub version: VersionId,
    /// The digest of the whole.
    pub blake3: Digest,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
    /// What it keeps of the file that was stored.
    pub attributes: FileAttributes,
    reading: Reading,
    reader: Option<Reader>,
    _transfer: Transfer,
}

impl Retrieve<'_> {
    /// The next bytes, in two parts one behind the other; nothing at the end.
    ///
    /// # Errors
    /// [`Error::TooFewToRead`].
    pub fn next_part(&mut self) -> Result<Option<[&[u8]; 2]>> {
        self.reading.next_part()
    }

    /// The nodes whose bytes were handed out so far.
    pub fn used(&self) -> NodeSet {
        self.reading.used()
    }
}

impl Drop for Retrieve<'_> {
    fn drop(&mut self) {
        drop(self.reader.take());
        self.files.pieces_lost(self.version, self.reading.unsound());
    }
}
