//! The client door: the loop that reads, does what the session decides, and writes.
//!
//! It decides nothing itself. Every wait has a deadline; a client that vanishes anywhere leaves its
//! unfinished store undone and everyone else alone.

mod folders;
mod history;
mod keys;
mod storing;
mod uploads;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::core::error::{Code, Error, Result};
use crate::core::io::listener::{Busy, State};
use crate::core::io::net::{Deadline, Stream};
use crate::core::path::{FilePath, UserName};
use crate::core::range::ByteRange;
use crate::core::serve::accounts::Origin;
use crate::core::serve::audit::Event;
use crate::core::serve::client::folders::Listing;
use crate::core::serve::encryption::{self, Encryption, Spoken};
use crate::core::serve::files::{Files, User};
use crate::core::serve::limits::{
    BODY, GRACE, HELLO, MESSAGE, Pace, REQUEST, SIGN_IN, SIGN_IN_WHOLE, TAKE,
};
use crate::core::serve::meter::{Entrance, Meter, Meters, Verb};
use crate::core::serve::operator::Operator;
use crate::core::serve::retrieve::Retrieve;
use crate::core::serve::settle::settle;
use crate::core::serve::store::Wanted;
use crate::core::session::{Dialect, Found, Framing, Patience, Session, Step};
use crate::core::types::Digest;
use crate::core::wire::admin::one_line;
use crate::core::wire::chunk::{self, Head};
use crate::core::wire::extended::Which;

/// The most bytes taken in one read while a message is awaited.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that nobody wants are dropped in pieces of this size.
const DROP_BYTES: usize = 64 * 1024;

/// A file of at most this many bytes leaves in one write, with what is said before and behind it.
const JOINED_BYTES_MAX: u64 = 64 * 1024;

/// What a client that cannot be served now is told.
const STOPPING: &str = "the server is shutting down, try again later";

/// What all connections of this door share.
pub struct Door {
    /// The files behind it.
    pub files: Arc<Files>,
    /// How the cluster is.
    pub operator: Arc<Operator>,
    /// The listener's state, for an orderly end.
    pub state: Arc<State>,
    /// What plain hellos get.
    pub dialect: Dialect,
    /// What clients may speak.
    pub encryption: Arc<Encryption>,
    /// What is counted.
    pub meters: Arc<Meters>,
}

impl Door {
    /// Serves one client to its end.
    pub fn serve(&self, socket: TcpStream, peer: SocketAddr) {
        tracing::info!("client {peer} connected");
        let ended = Stream::accepted(socket, format!("client {peer}")).and_then(|stream| {
            let mut connection = Connection {
                door: self,
                stream,
                peer,
                origin: Origin::of(peer.ip()),
                session: self.session(),
                user: None,
                outgoing: Vec::new(),
                is_followed: false,
                signed_out: false,
                busy: None,
                is_settled: false,
                is_refused: false,
                met: Instant::now(),
                message_begun: None,
                listing: None,
            };
            connection.run()
        });
        match ended {
            Ok(()) => tracing::info!("client {peer} disconnected"),
            Err(error) => tracing::info!("client {peer} disconnected: {error}"),
        }
    }

    fn session(&self) -> Session {
        let session = Session::new(self.dialect);
        if self.files.accounts().is_sign_up_open() { session } else { session.without_sign_up() }
    }

    /// Tells a client that it cannot be served.
    pub fn turn_away(&self, socket: TcpStream, peer: SocketAddr, reason: &str) {
        tracing::warn!("client {peer} turned away: {reason}");
        let mut session = self.session();
        session.turn_away(reason);
        // It is turned away whether it can be told or not.
        let _ = Stream::accepted(socket, format!("client {peer}")).and_then(|mut stream| {
            while let Step::Send(bytes) = session.next_step() {
                stream.write_all(&[&bytes], &GRACE)?;
            }
            Ok(())
        });
    }
}

struct Connection<'a> {
    door: &'a Door,
    stream: Stream,
    peer: SocketAddr,
    origin: Origin,
    session: Session,
    user: Option<User>,
    /// Said but not written yet, so that a head and what follows it leave together.
    outgoing: Vec<u8>,
    /// What is said next follows at once, and leaves together with it.
    is_followed: bool,
    signed_out: bool,
    /// Held from the beginning of a piece of work until its answer has been written, so that a stop
    /// of the server cuts off neither.
    busy: Option<Busy<'a>>,
    /// It is known whether the client encrypts.
    is_settled: bool,
    /// It does not, and has to.
    is_refused: bool,
    /// When the client came, or said hello again after it had signed out.
    met: Instant,
    /// When a message began to come that is not whole yet.
    message_begun: Option<Instant>,
    /// The listing that is being said.
    listing: Option<Listing>,
}

impl Connection<'_> {
    fn run(&mut self) -> Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.session.next_step() {
                Step::Send(bytes) => {
                    self.say(bytes)?;
                    // A message was whole; what waits now belongs to another.
                    self.message_begun = None;
                }
                Step::Read(patience) => {
                    self.flush()?;
                    self.busy = None;
                    if !self.read(patience, &mut buffer)? {
                        return Ok(());
                    }
                }
                Step::Close => return self.flush(),
                step => self.act(step)?,
            }
        }
    }

    fn say(&mut self, bytes: Vec<u8>) -> Result<()> {
        if self.is_followed {
            self.is_followed = false;
            self.outgoing.extend_from_slice(&bytes);
        } else {
            self.flush()?;
            self.outgoing = bytes;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.is_followed = false;
        if !self.outgoing.is_empty() {
            self.stream.write_all(&[&self.outgoing], &TAKE)?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// How long to wait for the client's next bytes. One that sends a message byte by byte gets no
    /// longer for it than one that is silent.
    fn deadline(&mut self, patience: Patience) -> Deadline {
        if patience == Patience::Grace {
            return GRACE;
        }
        let is_first_hello = patience == Patience::Hello && !self.signed_out;
        if is_first_hello {
            return HELLO.less(self.met.elapsed());
        }
        if self.session.buffered() > 0 {
            return MESSAGE.less(self.message_begun.get_or_insert_with(Instant::now).elapsed());
        }
        self.message_begun = None;
        match patience {
            Patience::SignIn => {
                if self.signed_out {
                    // It has said hello again just now.
                    (self.met, self.signed_out) = (Instant::now(), false);
                }
                let whole = SIGN_IN_WHOLE.less(self.met.elapsed());
                if whole.limit < SIGN_IN.limit { whole } else { SIGN_IN }
            }
            _ => REQUEST,
        }
    }

    /// False once the client has closed the connection.
    fn read(&mut self, patience: Patience, buffer: &mut [u8]) -> Result<bool> {
        let deadline = self.deadline(patience);
        let read =
            self.see_encryption(&deadline).and_then(|()| self.stream.read_some(buffer, &deadline));
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.is_refused => {
                self.session.turn_away(encryption::REFUSED);
                Ok(true)
            }
            Ok(count) => {
                self.session.receive(&buffer[..count]);
                Ok(true)
            }
            Err(Error::Deadline(late)) => {
                if patience != Patience::Grace {
                    tracing::info!("{late}");
                }
                self.session.silence();
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Sees at the first byte whether the client encrypts.
    fn see_encryption(&mut self, deadline: &Deadline) -> Result<()> {
        if !self.is_settled {
            let spoken = self.door.encryption.settle(&mut self.stream, deadline)?;
            self.is_refused = spoken == Spoken::Refused;
            self.is_settled = true;
        }
        Ok(())
    }

    /// Does what needs more than reading and writing. A stop of the server waits for it. It has a frame of
    /// its own on the stack: that of [`Connection::run`] is there as long as a client rests.
    #[inline(never)]
    fn act(&mut self, step: Step) -> Result<()> {
        let door = self.door;
        self.message_begun = None;
        if self.busy.is_none() {
            self.busy = door.state.begin();
        }
        if self.busy.is_none() {
            self.session.turn_away(STOPPING);
            return Ok(());
        }
        if let Some(user) = &self.user
            && !matches!(step, Step::SignedOut(_))
            && let Err(error) = door.files.check_standing(user)
        {
            self.event(Verb::SignOut, "let go on", Instant::now()).failed(&error);
            self.session.turn_away(&format!("you are signed out: {error}"));
            return Ok(());
        }
        let begun = Instant::now();
        match step {
            Step::SignIn { user, password } => {
                let outcome = door.files.sign_in(&user, &password, self.origin);
                let outcome = self.admit(outcome, Verb::SignIn, "signed in", begun, &user);
                self.session.signed_in(outcome);
            }
            Step::SignInByToken { user, token } => {
                let outcome = door.files.sign_in_by_token(&user, &token);
                let outcome = self.admit(outcome, Verb::SignIn, "signed in by token", begun, &user);
                self.session.signed_in(outcome);
            }
            Step::IssueToken { machine } => {
                let outcome = self.user().and_then(|user| door.files.issue_token(user, &machine));
                self.event(Verb::Token, "token issued", begun).end(&outcome);
                self.session.account_done(outcome.map(Some));
            }
            Step::RevokeToken => {
                let user = self.user.as_mut().ok_or(Error::NotSignedIn);
                let outcome = user.and_then(|user| door.files.revoke_token(user));
                self.event(Verb::Token, "token revoked", begun).end(&outcome);
                self.session.account_done(outcome.map(|()| None));
            }
            Step::ChangePassword { old, new } => {
                let (files, origin) = (&door.files, self.origin);
                let user = self.user.as_mut().ok_or(Error::NotSignedIn);
                let outcome = user.and_then(|user| files.change_password(user, &old, &new, origin));
                self.event(Verb::Password, "password changed", begun).end(&outcome);
                self.session.account_done(outcome.map(|()| None));
            }
            Step::SignUp { user, password } => {
                let outcome = self.door.files.sign_up(&user, &password, self.origin);
                let outcome = self.admit(outcome, Verb::SignUp, "signed up", begun, &user);
                self.session.signed_up(outcome);
            }
            Step::SignedOut(user) => {
                Event { user: Some(&user), ..self.event(Verb::SignOut, "signed out", begun) }
                    .done();
                self.user = None;
                self.signed_out = true;
            }
            Step::Store { path, bytes, precondition, attributes, keep, framing } => {
                let wanted = Wanted { path: &path, bytes, precondition, attributes, keep };
                self.store(&wanted, framing)?;
            }
            Step::StorePart { upload, offset, bytes } => self.store_part(upload, offset, bytes)?,
            Step::Upload(request) => self.upload(&request),
            Step::Retrieve { path, which, range, framing } => {
                self.retrieve(&path, &which, range, framing)?;
            }
            Step::Delete { path } => {
                let outcome = self.user().and_then(|user| door.files.delete(user, &path));
                Event { path: Some(&path), ..self.event(Verb::Delete, "deleted", begun) }
                    .end(&outcome);
                self.session.deleted(outcome);
            }
            Step::SetAttributes { path, version, attributes } => {
                let outcome = self
                    .user()
                    .and_then(|user| door.files.set_attributes(user, &path, version, attributes));
                Event {
                    path: Some(&path),
                    ..self.event(Verb::Attributes, "attributes set", begun)
                }
                .end(&outcome);
                self.session.changed(outcome);
            }
            Step::List { path, extent, at } => self.list(path, extent, at),
            Step::History(request) => self.history(&request),
            Step::Keys(request) => self.keys(&request),
            Step::ListOn => self.list_on(),
            Step::MakeFolder { folder, parents } => self.make_folder(&folder, parents),
            Step::RemoveFolder { folder, recursive } => self.remove_folder(&folder, recursive),
            Step::Move { from, to, replace } => self.move_to(&from, &to, replace),
            Step::Copy { from, to, recursive, replace } => {
                self.copy(&from, &to, [recursive, replace]);
            }
            Step::Status => {
                let outcome = self.user().and_then(|_| door.operator.status_for_users());
                // It would fill the log.
                let failed = outcome.as_ref().err().map(Error::code);
                self.meter().answered(Verb::Status, begun.elapsed(), failed);
                self.session.status_told(outcome.and_then(|status| one_line(&status)));
            }
            Step::DropBody(bytes) => {
                self.flush()?;
                self.drop_raw(bytes)?;
                self.session.body_dropped();
            }
            Step::DropChunks => {
                self.flush()?;
                self.drop_chunks()?;
                self.session.body_dropped();
            }
            Step::Settle => {
                self.flush()?;
                settle(&self.stream, self.peer)?;
            }
            Step::ReceiveBody | Step::SendBody => {
                return Err(Error::other(Code::Unexpected, "a body without its request"));
            }
            Step::Send(_) | Step::Read(_) | Step::Close => {}
        }
        Ok(())
    }

    fn user(&self) -> Result<&User> {
        self.user.as_ref().ok_or(Error::NotSignedIn)
    }

    fn admit(
        &mut self,
        outcome: Result<User>,
        verb: Verb,
        what: &str,
        begun: Instant,
        name: &str,
    ) -> Result<UserName> {
        let known = match &outcome {
            Ok(user) => Some(user.name.clone()),
            Err(_) => self.door.files.accounts().known(name),
        };
        Event { user: known.as_ref(), ..self.event(verb, what, begun) }.end(&outcome);
        outcome.map(|user| {
            let name = user.name.clone();
            self.user = Some(user.coming_from(self.peer.to_string()));
            name
        })
    }

    fn event<'a>(&'a self, verb: Verb, what: &'a str, begun: Instant) -> Event<'a> {
        let user = self.user.as_ref().map(|user| &user.name);
        Event { user, ..Event::new(self.meter(), verb, what, self.peer, begun) }
    }

    fn meter(&self) -> &Meter {
        let is_extended = self.session.is_extended();
        self.door.meters.at(if is_extended { Entrance::Extended } else { Entrance::Plain })
    }

    fn chunk_head(&mut self) -> Result<Head> {
        let mut head = [0; chunk::HEAD_BYTES];
        self.fill(&mut head)?;
        chunk::decode_head(&head)
    }

    fn drop_raw(&mut self, mut left: u64) -> Result<()> {
        let mut dropped = vec![0; DROP_BYTES];
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(DROP_BYTES);
            self.fill(&mut dropped[..piece])?;
            left -= piece as u64;
        }
        Ok(())
    }

    fn drop_chunks(&mut self) -> Result<()> {
        loop {
            match self.chunk_head()? {
                Head::Data { length, .. } => self.drop_raw(length as u64)?,
                Head::End { .. } => return self.drop_raw(32),
                Head::GivenUp => return Ok(()),
            }
        }
    }

    fn retrieve(
        &mut self,
        path: &FilePath,
        which: &Which,
        range: Option<ByteRange>,
        framing: Framing,
    ) -> Result<()> {
        let door = self.door;
        let begun = Instant::now();
        let found =
            self.user().and_then(|user| door.files.retrieve_which(user, path, which, range));
        let mut retrieve = match found {
            Ok(retrieve) => retrieve,
            Err(error) => {
                Event { path: Some(path), ..self.event(Verb::Retrieve, "retrieved", begun) }
                    .failed(&error);
                self.session.retrieve_failed(&error);
                return Ok(());
            }
        };
        tracing::info!("{} picked {} to read from", self.peer, retrieve.used());
        self.session.retrieve_ready(&Found {
            bytes: retrieve.bytes,
            part: retrieve.part.clone(),
            version: retrieve.version,
            digest: retrieve.blake3,
            stored_ms: retrieve.stored_ms,
            attributes: retrieve.attributes,
        });
        while let Step::Send(bytes) = self.session.next_step() {
            self.say(bytes)?;
        }
        let sent = match framing {
            Framing::Raw => self.send_raw(&mut retrieve),
            Framing::Chunks => self.send_chunks(&mut retrieve, range.is_some()),
        };
        let bytes = retrieve.part.end - retrieve.part.start;
        let (bytes, nodes) = (Some(bytes), Some(retrieve.used()));
        let event = self.event(Verb::Retrieve, "retrieved", begun);
        let event = Event { path: Some(path), bytes, nodes, ..event };
        // A client that went away has not got it.
        let sent = sent.inspect_err(|error| event.failed(error))?;
        event.end(&sent);
        self.session.retrieved(sent.map(|()| retrieve.used()));
        Ok(())
    }

    /// The outer error is the client's, the inner one the nodes'.
    fn send_raw(&mut self, retrieve: &mut Retrieve<'_>) -> Result<Result<()>> {
        loop {
            match retrieve.next_part() {
                Ok(Some([first, second])) => {
                    self.stream.write_all(&[&self.outgoing, first, second], &TAKE)?;
                    self.outgoing.clear();
                }
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// As [`Connection::send_raw`]; says *given up* where the nodes fail half-way. Of a whole file the
    /// digest is known; that of a part is made.
    fn send_chunks(&mut self, retrieve: &mut Retrieve<'_>, is_part: bool) -> Result<Result<()>> {
        let mut hasher = is_part.then(blake3::Hasher::new);
        // A small file leaves with the end and the reply, which are there at once.
        let is_joined = retrieve.part.end - retrieve.part.start <= JOINED_BYTES_MAX;
        loop {
            match retrieve.next_part() {
                Ok(Some([first, second])) => {
                    if let Some(hasher) = &mut hasher {
                        hasher.update(first).update(second);
                    }
                    let head = chunk::data_head(&[first, second]);
                    if is_joined {
                        self.outgoing.extend_from_slice(&[&head, first, second].concat());
                    } else {
                        self.stream.write_all(&[&self.outgoing, &head, first, second], &TAKE)?;
                        self.outgoing.clear();
                    }
                }
                Ok(None) => {
                    let digest = hasher.map(|hasher| Digest(*hasher.finalize().as_bytes()));
                    self.outgoing
                        .extend_from_slice(&chunk::end(&digest.unwrap_or(retrieve.blake3)));
                    self.is_followed = true;
                    return Ok(Ok(()));
                }
                Err(error) => {
                    self.outgoing.extend_from_slice(&chunk::given_up());
                    self.is_followed = true;
                    return Ok(Err(error));
                }
            }
        }
    }

    /// Fills the buffer with a body's next bytes: first those that came along with the request.
    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        let early = self.session.take_buffered(buffer.len() as u64);
        let (filled, rest) = buffer.split_at_mut(early.len());
        filled.copy_from_slice(&early);
        buffer = rest;
        let mut pace = Pace::begin();
        while !buffer.is_empty() {
            let count = match self.read_body(buffer)? {
                0 => return Err(self.stream.closed()),
                count => count,
            };
            buffer = &mut buffer[count..];
            pace.moved(count, self.stream.name())?;
        }
        Ok(())
    }

    /// Takes some bytes of a body. What was said leaves before they are waited for.
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if !self.outgoing.is_empty() {
            if let Some(count) = self.stream.read_ready(buffer)? {
                return Ok(count);
            }
            self.flush()?;
        }
        self.stream.read_some(buffer, &BODY)
    }
}
