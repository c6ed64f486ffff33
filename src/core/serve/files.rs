//! What a signed-in user can do with files: the one facade behind every door.
//!
//! A door knows a protocol; this knows what storing, reading, deleting and listing mean. Nothing
//! here knows how a client talks.

mod moving;

use std::sync::Arc;

use crate::core::catalog::accounts::Account;
use crate::core::catalog::{Catalog, Committed, NewFile, Removed, Scope, Ticket, TokenId};
use crate::core::cluster::attendant::Bell;
use crate::core::cluster::backup::Backups;
use crate::core::cluster::pace::Transfer;
use crate::core::cluster::readers::{Reader, Readers};
use crate::core::cluster::standing::Standing;
use crate::core::cluster::volume::Volume;
use crate::core::cluster::{Reading, Writing};
use crate::core::error::{Code, Error, Result};
use crate::core::io::clock;
use crate::core::io::random::Random;
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::serve::accounts::{Accounts, Origin};
use crate::core::serve::quota::{Reservation, Usage};
use crate::core::types::{Digest, NodeSet, Precondition, VersionId};
use crate::core::wire::extended::Entry;
use crate::core::wire::node::{PieceMeta, Place};
use crate::core::wire::token::Token;
use crate::core::wire::trailer::STRIPES_MAX;

pub use moving::Moved;

/// The largest file that the format takes, in bytes; `--max-file-size` stays below it.
pub const FILE_BYTES_MAX: u64 = STRIPES_MAX * (1 << 20) - 4;

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) account: Account,
    /// The token that was used in place of the password.
    pub(super) token: Option<TokenId>,
    /// Where the user's requests come from.
    origin: String,
    /// The user's name.
    pub name: UserName,
}

impl User {
    pub(super) fn new(account: Account, token: Option<TokenId>) -> User {
        let name = account.name.clone();
        User { account, token, origin: String::new(), name }
    }

    /// The same, with a note of where the requests come from (`127.0.0.1:40312`), for whoever finds
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

/// Users' files. Once another server has taken over, everything is refused with
/// [`Error::TakenOver`].
pub struct Files {
    pub(super) catalog: Arc<Catalog>,
    volume: Arc<Volume>,
    readers: Arc<Readers>,
    pub(super) bell: Bell,
    random: Arc<Random>,
    accounts: Accounts,
    pub(super) usage: Usage,
    file_bytes_max: u64,
    /// Where moves are recorded before any node is told; without it nothing is moved.
    backups: Option<Arc<Backups>>,
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
    /// The facade over a catalog and a volume; `file_bytes_max` is the largest file to take.
    pub fn new(
        catalog: Arc<Catalog>,
        volume: Arc<Volume>,
        readers: Arc<Readers>,
        bell: Bell,
        random: Arc<Random>,
        file_bytes_max: u64,
    ) -> Files {
        let file_bytes_max = file_bytes_max.min(FILE_BYTES_MAX);
        let accounts = Accounts::new(catalog.clone(), random.clone());
        let usage = Usage::default();
        Files {
            catalog,
            volume,
            readers,
            bell,
            random,
            accounts,
            usage,
            file_bytes_max,
            backups: None,
        }
    }

    /// The same under a policy other than the default one.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Files {
        self.accounts.sign_up = policy.sign_up;
        self.usage.quota = policy.quota;
        self
    }

    /// The same with the catalog's backup, in which moves are recorded: nothing is moved without.
    #[must_use]
    pub fn recording(mut self, backups: Arc<Backups>) -> Files {
        self.backups = Some(backups);
        self
    }

    /// Signing in, passwords and tokens.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// May this user go on? Asked before each request.
    ///
    /// # Errors
    /// [`Error::Disabled`], [`Error::TokenRefused`], [`Error::NoSuchUser`], where the account or the
    /// token has gone since the sign-in.
    pub fn check_standing(&self, user: &User) -> Result<()> {
        self.catalog.check_standing(&user.account, user.token)
    }

    /// Somebody who is known to be who it is: for doors that act as one named account, and for
    /// simulations.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub fn trusted_user(&self, name: &UserName) -> Result<User> {
        Ok(User::new(self.catalog.account(name)?, None))
    }

    /// Makes an account and signs in. The nodes make the user's folder as soon as they are there.
    ///
    /// # Errors
    /// [`Error::SignUpClosed`], [`Error::UserExists`], [`Error::TooFewToChange`],
    /// [`Error::NotRegistered`], [`Error::Unconfirmed`]; or the name or the password cannot be one.
    pub fn sign_up(&self, name: &str, password: &str) -> Result<User> {
        if !self.accounts.sign_up {
            return Err(Error::SignUpClosed);
        }
        let name = UserName::parse(name)?;
        self.add_account(&name, password)?;
        Ok(User::new(self.catalog.account(&name)?, None))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// As [`Files::sign_up`].
    pub(super) fn add_account(&self, name: &UserName, password: &str) -> Result<()> {
        // Else a store that began for the former account of this name could end in the new one.
        if self.catalog.removed_user(name)?.is_some_and(|user| self.usage.is_running(user)) {
            let text = format!("the former account {name} is still being removed");
            return Err(Error::other(Code::Temporary, text));
        }
        self.change(|| self.accounts.create(name, password))?;
        self.bell.ring();
        Ok(())
    }

    /// Makes a change of the accounts. As for a deletion, that takes two nodes.
    ///
    /// # Errors
    /// Those of the change; [`Error::TooFewToChange`], [`Error::NotRegistered`],
    /// [`Error::Unconfirmed`].
    pub(super) fn change<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        self.volume.roster().may_change()?;
        let changed = change()?;
        self.volume.roster().confirm()?;
        Ok(changed)
    }

    /// Signs in with a password.
    ///
    /// # Errors
    /// As [`Accounts::sign_in`].
    pub fn sign_in(&self, name: &str, password: &str, from: Origin) -> Result<User> {
        self.standing().check()?;
        self.accounts.sign_in(name, password, from)
    }

    /// Signs in with a token.
    ///
    /// # Errors
    /// As [`Accounts::sign_in_by_token`].
    pub fn sign_in_by_token(&self, name: &str, token: &Token) -> Result<User> {
        self.standing().check()?;
        self.accounts.sign_in_by_token(name, token)
    }

    /// Makes a token for a user.
    ///
    /// # Errors
    /// As [`Accounts::issue_token`].
    pub fn issue_token(&self, user: &User, machine: &str) -> Result<Token> {
        // It takes no nodes: one that another server does not know is no harm.
        self.standing().check()?;
        self.accounts.issue_token(user, machine)
    }

    /// Revokes the token that the user has signed in with.
    ///
    /// # Errors
    /// As [`Accounts::revoke_token`].
    pub fn revoke_token(&self, user: &User) -> Result<()> {
        self.standing().check()?;
        self.accounts.revoke_token(user)
    }

    /// Changes a user's password.
    ///
    /// # Errors
    /// As [`Accounts::change_password`]; [`Error::TooFewToChange`] and its like.
    pub fn change_password(&self, user: &User, old: &str, new: &str, from: Origin) -> Result<()> {
        self.change(|| self.accounts.change_password(user, old, new, from))
    }

    /// Begins to store a file. Whatever can be refused is refused here, before its bytes are taken.
    ///
    /// # Errors
    /// [`Error::TooBig`], [`Error::OverQuota`], [`Error::NameCollision`],
    /// [`Error::TooFewToStore`], [`Error::NodesFull`]; for a precondition that is not met
    /// [`Error::Exists`], [`Error::NoSuchFile`], [`Error::NoSuchFolder`],
    /// [`Error::ChangedMeanwhile`] or [`Error::GoneMeanwhile`].
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
        self.standing().check()?;
        let id = user.account.id;
        let reservation = self.usage.reserve(&self.catalog, id, path, bytes)?;
        // Only now: a name is not given to a new account while a store of the former one is running.
        self.check_standing(user)?;
        self.await_moves(user, path.as_str())?;
        self.catalog.check_store(id, path, precondition)?;
        let ticket = self.catalog.begin_store(self.random.version())?;
        let meta = PieceMeta {
            version: ticket.version,
            seq: ticket.seq,
            place: place(user, path),
            file_bytes: bytes,
            stored_ms: clock::now_ms(),
            repair: false,
        };
        let writing = self.volume.write(&meta)?;
        let transfer = self.volume.traffic().enter();
        Ok(Store {
            files: self,
            reservation,
            path: path.clone(),
            precondition,
            stored_by: user.described(),
            meta,
            ticket,
            writing,
            transfer,
        })
    }

    /// Begins to read a file's current version.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::NoSuchFile`], [`Error::TooFewToRead`].
    pub fn retrieve(&self, user: &User, path: &FilePath) -> Result<Retrieve<'_>> {
        self.standing().check()?;
        let place = place(user, path);
        let (record, reader) = self.readers.enter(&place, || {
            let record = self.catalog.file(user.account.id, path)?;
            let (version, seq) = (record.version, record.seq);
            Ok((record, version, seq))
        })?;
        let spot = reader.spot();
        let reading = self.volume.read(record.version, spot, record.bytes, record.placed)?;
        Ok(Retrieve {
            files: self,
            bytes: record.bytes,
            version: record.version,
            blake3: record.blake3,
            stored_ms: record.stored_ms,
            reading,
            reader: Some(reader),
            _transfer: self.volume.traffic().enter(),
        })
    }

    /// Deletes a file. That takes two nodes: a deletion that only this server's catalog knows could
    /// come after another server has taken over, and would be lost.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::NoSuchFile`], [`Error::TooFewToChange`],
    /// [`Error::NotRegistered`], [`Error::Unconfirmed`].
    pub fn delete(&self, user: &User, path: &FilePath) -> Result<()> {
        self.volume.roster().may_change()?;
        self.await_moves(user, path.as_str())?;
        let seq = self.catalog.draw_seq()?;
        self.catalog.delete(user.account.id, path, seq)?;
        self.volume.roster().confirm()?;
        self.bell.ring();
        Ok(())
    }

    /// Makes a folder; with `parents` also those above it, and it may be there already. Takes two
    /// nodes, like a deletion.
    ///
    /// # Errors
    /// [`Error::FolderExists`], [`Error::NoSuchFolder`] for the one above it,
    /// [`Error::NameCollision`]; [`Error::TooFewToChange`] and its like.
    pub fn make_folder(&self, user: &User, folder: &FolderPath, parents: bool) -> Result<()> {
        self.await_moves(user, folder.as_str())?;
        self.change(|| self.catalog.make_folder(user.account.id, folder, parents))?;
        self.bell.ring();
        Ok(())
    }

    /// Removes a folder: an empty one, or with `recursive` one with all that is in it, in one
    /// transaction.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], [`Error::FolderNotEmpty`], [`Code::Changed`];
    /// [`Error::TooFewToChange`] and its like.
    pub fn remove_folder(
        &self,
        user: &User,
        folder: &FolderPath,
        recursive: bool,
    ) -> Result<Removed> {
        self.await_moves(user, folder.as_str())?;
        let removed = self.change(|| {
            let seq = self.catalog.draw_seq()?;
            self.catalog.remove_folder(user.account.id, folder, recursive, seq)
        })?;
        self.bell.ring();
        Ok(removed)
    }

    /// What is at a path: a file or a folder. The top folder is always there.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`] for the folder it would be in, or [`Error::NoSuchFile`].
    pub fn look(&self, user: &User, path: &FolderPath) -> Result<Entry> {
        self.standing().check()?;
        self.catalog.look(user.account.id, path)
    }

    /// Some of what is in a folder, sorted by the bytes of the whole path: at most `most` entries
    /// that come behind `after`. None at the end, or where there is no such folder.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn page(
        &self,
        user: &User,
        below: &FolderPath,
        scope: Scope,
        after: Option<&Entry>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        self.standing().check()?;
        self.catalog.page(user.account.id, below, scope, after, most)
    }

    /// Everything the user has, sorted by path. Asks no node.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn list(&self, user: &User) -> Result<Vec<Entry>> {
        self.standing().check()?;
        self.catalog.list(user.account.id)
    }

    /// Whether this server is still the cluster's.
    pub fn standing(&self) -> &Standing {
        self.volume.roster().standing()
    }

    /// Says good-bye to the nodes, when the server ends.
    pub fn say_bye(&self) {
        self.volume.roster().say_bye();
    }
}

/// Did the catalog refuse a change because of what is there? Then nothing has happened.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Exists | Code::NotAllowed | Code::Changed | Code::NoSuchFile | Code::NoSuchFolder
    )
}

fn place(user: &User, path: &FilePath) -> Place {
    Place { user: user.name.clone(), path: path.clone() }
}

/// A file that is being stored. Dropped before it is finished, it leaves everything as it was.
pub struct Store<'a> {
    files: &'a Files,
    reservation: Reservation<'a>,
    path: FilePath,
    precondition: Precondition,
    stored_by: String,
    meta: PieceMeta,
    ticket: Ticket,
    writing: Writing,
    transfer: Transfer,
}

impl Store<'_> {
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

    /// Makes the file durable on the nodes and then the current version, in one transaction. The
    /// answer comes after both.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`], [`Error::NameCollision`], or the precondition is not met any more;
    /// the file is what it was before. After [`Error::Unconfirmed`] it may be the one or the other.
    pub fn finish(self, blake3: Digest) -> Result<Stored> {
        let Store {
            files,
            reservation,
            path,
            precondition,
            stored_by,
            meta,
            ticket,
            writing,
            transfer: _transfer,
        } = self;
        let staged = match writing.finish(blake3) {
            Ok(staged) => staged,
            Err((error, staged)) => {
                files.volume.discard(ticket.version, staged);
                return Err(error);
            }
        };
        let new = NewFile {
            user: reservation.user(),
            path,
            bytes: meta.file_bytes,
            blake3,
            stored_ms: meta.stored_ms,
            staged: staged.nodes,
            precondition,
            stored_by,
        };
        match files.catalog.commit_store(&ticket, &new) {
            Ok(Committed::Current | Committed::Overtaken) => {
                // Nodes may have begun to serve another server since they staged the pieces. Then it
                // drops them, since its catalog does not know them.
                files.volume.roster().confirm()?;
                files.bell.ring();
                Ok(Stored { version: ticket.version, nodes: staged.nodes })
            }
            Err(error) if is_refusal(error.code()) => {
                files.volume.discard(ticket.version, staged.nodes);
                Err(error)
            }
            // The catalog's disk is full: the transaction did not happen, as that error says for certain.
            Err(error) if error.code() == Code::NoSpace => {
                files.volume.discard(ticket.version, staged.nodes);
                Err(error)
            }
            // The disk failed in the middle of a commit: whether it happened is open, so the pieces
            // must stay. The listing of staged versions settles it after the next start.
            Err(error) => Err(error),
        }
    }
}

/// A file that is being read.
pub struct Retrieve<'a> {
    files: &'a Files,
    /// Its size.
    pub bytes: u64,
    /// The version that is being read.
    pub version: VersionId,
    /// The digest of the whole.
    pub blake3: Digest,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
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
        let unsound = self.reading.unsound();
        for node in unsound.iter() {
            if let Err(error) = self.files.catalog.piece_lost(node, self.version, None) {
                tracing::warn!("cannot note what data server {node} lacks: {error}");
            }
        }
        let waited_for = self.reader.take().is_some_and(Reader::leave);
        if waited_for || !unsound.is_empty() {
            self.files.bell.ring();
        }
    }
}
