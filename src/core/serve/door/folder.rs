//! The folder door: folders as first-class things, `OK@` before every reply. The messages are in
//! [`wire::folder`](crate::core::wire::folder).
//!
//! Where a client is (`CHDIR`) belongs to its connection alone. What its commands name is seen from
//! there, and never lies outside the door's folder.

use std::time::{Duration, Instant};

use super::client::DoorClient;
use crate::core::error::{Code, Error, Result};
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::spool::Spool;
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::audit::Event;
use crate::core::serve::limits::{BODY, GRACE, Pace, REQUEST, TAKE};
use crate::core::serve::meter::Verb;
use crate::core::serve::settle::settle;
use crate::core::types::Precondition;
use crate::core::wire::extended::Entry;
use crate::core::wire::folder::upload::{Announced, Known, Upload};
use crate::core::wire::folder::{self, Command, MESSAGE_BYTES_MAX, PIECE_BYTES};

/// The most bytes taken in one read.
const READ_BYTES: usize = 64 * 1024;

/// The end of an upload that nobody wants.
const SILENCE: Deadline = Deadline::new(Duration::from_secs(1), "send more of its file");

const FAILED: &str = "Error occurred";

/// Serves a client to its end.
///
/// # Errors
/// That of the connection.
pub(super) fn serve(client: DoorClient<'_>) -> Result<()> {
    let mut session = FolderSession { client, here: FolderPath::top(), heard: Vec::new() };
    session.make_top();
    session.say("Welcome to the server")?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match folder::decode(&session.heard) {
            None => {
                let deadline = if session.heard.is_empty() { &REQUEST } else { &GRACE };
                match session.client.stream.read_some(&mut buffer, deadline) {
                    Ok(0) => return Ok(()),
                    Ok(count) => session.heard.extend_from_slice(&buffer[..count]),
                    Err(Error::Deadline(_)) if !session.heard.is_empty() => {
                        let command = folder::given_up(&std::mem::take(&mut session.heard));
                        session.obey(command, &mut buffer)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Some((command, used)) => {
                session.heard.drain(..used);
                if command == Command::Disconnect {
                    return say_farewell(&mut session.client.stream, "Disconnected");
                }
                session.obey(command, &mut buffer)?;
            }
        }
    }
}

/// Ends a session in the protocol's words.
///
/// # Errors
/// That of the connection.
pub(super) fn say_farewell(stream: &mut Stream, text: &str) -> Result<()> {
    stream.write_segment(&folder::disconnected(text), &GRACE)
}

struct FolderSession<'a> {
    client: DoorClient<'a>,
    /// Where the client is, as seen from the door's folder.
    here: FolderPath,
    /// What has come and was not used yet.
    heard: Vec<u8>,
}

impl FolderSession<'_> {
    /// A door's own folder is made when its first client comes.
    fn make_top(&self) {
        let client = &self.client;
        let made = client.begin().and_then(|_busy| {
            match client.files().look(client.user(), client.top()) {
                Err(error) if is_missing(&error) => {
                    client.files().make_folder(client.user(), client.top(), true)
                }
                there => there.map(|_| ()),
            }
        });
        if let Err(error) = made {
            tracing::warn!("the folder of door folder cannot be made: {error}");
        }
    }

    fn say(&mut self, text: &str) -> Result<()> {
        self.client.stream.write_segment(&folder::ok(text), &TAKE)
    }

    fn obey(&mut self, command: Command, buffer: &mut [u8]) -> Result<()> {
        let begun = Instant::now();
        let text = match command {
            Command::Upload => self.upload(buffer)?,
            Command::Download(name) => return self.download(&name, buffer),
            Command::Dir => return self.dir(),
            Command::Delete(name) => self.delete(&name, begun),
            Command::MkDir(name) => self.mkdir(&name, begun),
            Command::ChDir(name) => self.chdir(&name),
            Command::RmDir(name) => self.rmdir(&name, begun),
            Command::Move { what, to } => self.move_to(&what, &to, begun),
            Command::Incomplete => FAILED.into(),
            Command::Unknown | Command::Disconnect => "Unknown command".into(),
        };
        self.say(&text)
    }

    /// The user's folder that a client means.
    fn folder(&self, name: &str) -> Result<FolderPath> {
        self.client.folder(&folder::resolve(&self.here, name)?)
    }

    /// The user's file that a client means.
    fn file(&self, name: &str) -> Result<FilePath> {
        self.client.file(folder::resolve(&self.here, name)?.as_str())
    }

    fn dir(&mut self) -> Result<()> {
        let begun = Instant::now();
        let (mut names, mut bytes) = (Vec::new(), 0);
        let client = &self.client;
        let listed = client.begin().and_then(|_busy| {
            client.each_entry(&client.folder(&self.here)?, |_, name| {
                bytes += name.len() + 1;
                names.push(name.to_owned());
                bytes <= MESSAGE_BYTES_MAX
            })
        });
        client.event(Verb::List, "listed", begun).end(&listed);
        let reply = match listed {
            Ok(()) => folder::list(names.iter().map(String::as_str)),
            Err(_) => folder::ok(FAILED),
        };
        self.client.stream.write_segment(&reply, &TAKE)
    }

    fn delete(&self, name: &str, begun: Instant) -> String {
        let client = &self.client;
        let deleted = self.file(name).and_then(|path| {
            let deleted =
                client.begin().and_then(|_busy| client.files().delete(client.user(), &path));
            Event { path: Some(&path), ..client.event(Verb::Delete, "deleted", begun) }
                .end(&deleted);
            deleted
        });
        match deleted {
            Ok(()) => "File deleted".into(),
            Err(error) if is_missing(&error) => "File does not exist".into(),
            Err(_) => FAILED.into(),
        }
    }

    fn mkdir(&self, name: &str, begun: Instant) -> String {
        let client = &self.client;
        let made = self.folder(name).and_then(|path| {
            let made = client
                .begin()
                .and_then(|_busy| client.files().make_folder(client.user(), &path, false));
            self.log(Verb::MakeFolder, "folder made", begun, &path, &made);
            made
        });
        made.map_or(FAILED.into(), |()| format!("{name} file created"))
    }

    fn rmdir(&self, name: &str, begun: Instant) -> String {
        let client = &self.client;
        let refused = format!("Either {name} does not exist or {name} is not empty");
        let Ok(seen) = folder::resolve(&self.here, name) else { return refused };
        if seen.is_top() {
            return refused; // the door's own folder is not the client's
        }
        let removed = client.folder(&seen).and_then(|path| {
            let removed = client
                .begin()
                .and_then(|_busy| client.files().remove_folder(client.user(), &path, false));
            self.log(Verb::RemoveFolder, "folder removed", begun, &path, &removed);
            removed
        });
        match removed {
            Ok(_) => format!("{name} file deleted"),
            Err(Error::FolderNotEmpty(_)) => refused,
            Err(error) if is_missing(&error) => refused,
            Err(_) => FAILED.into(),
        }
    }

    fn chdir(&mut self, name: &str) -> String {
        let client = &self.client;
        let changed = folder::resolve(&self.here, name).and_then(|seen| {
            let _busy = client.begin()?;
            match client.files().look(client.user(), &client.folder(&seen)?)? {
                Entry::Folder(_) => Ok(seen),
                Entry::File(_) => Err(Error::NoSuchFolder(seen)),
            }
        });
        match changed {
            Ok(seen) => {
                self.here = seen;
                format!("Directory changed to /{}", self.here.as_str())
            }
            Err(_) => FAILED.into(),
        }
    }

    fn move_to(&self, what: &str, to: &str, begun: Instant) -> String {
        let client = &self.client;
        let moved = self.file(what).and_then(|from| {
            let moved = self.folder(to).and_then(|folder| {
                let _busy = client.begin()?;
                client.files().move_to(client.user(), &from, &folder, false)
            });
            Event { path: Some(&from), ..client.event(Verb::Move, "moved", begun) }.end(&moved);
            moved
        });
        moved.map_or(FAILED.into(), |_| format!("{what} moved to {to}"))
    }

    /// Logs what was done with a folder.
    fn log<T>(
        &self,
        verb: Verb,
        what: &str,
        begun: Instant,
        path: &FolderPath,
        outcome: &Result<T>,
    ) {
        let path = FilePath::parse_rooted(path.as_str()).ok();
        Event { path: path.as_ref(), ..self.client.event(verb, what, begun) }.end(outcome);
    }

    // ---- uploads ----

    /// Takes a file and says how it went. The outer error is the client's: nothing is stored then.
    fn upload(&mut self, buffer: &mut [u8]) -> Result<String> {
        let begun = Instant::now();
        let mut spool = self.client.spool();
        let received = self.receive(&mut spool, buffer);
        // A client that went away half-way.
        let log = |error: &Error| self.client.event(Verb::Store, "stored", begun).failed(error);
        let received = received.inspect_err(log)?;
        let found = received
            .and_then(|way| Ok((self.file(&format!("./{}", way.name))?, way.offset as u64)));
        let stored = found.inspect_err(log).and_then(|(path, offset)| {
            self.client.store(&path, &spool, offset, Precondition::Any, begun)
        });
        Ok(stored.map_or_else(|_| FAILED.into(), |_| "File uploaded".into()))
    }

    /// The inner error is one of the upload, all of whose bytes have come.
    fn receive(&mut self, spool: &mut Spool, buffer: &mut [u8]) -> Result<Result<Announced>> {
        let mut upload = Upload::new(self.client.files().file_bytes_max());
        let mut pace = Pace::begin();
        let early = std::mem::take(&mut self.heard);
        upload.came(&early);
        let mut kept = put_aside(spool, &early);
        loop {
            let (patience, whole) = match upload.known() {
                Known::Whole(way) => return Ok(kept.map(|()| way)),
                Known::MaybeWhole(way) => (&GRACE, Some(way)),
                Known::NotYet => (&BODY, None),
                Known::Refused { too_big } => {
                    *spool = self.client.spool();
                    self.drop_rest(buffer)?;
                    let limit = self.client.files().file_bytes_max();
                    return Ok(Err(match too_big {
                        Some(bytes) => Error::TooBig { bytes, limit },
                        None => Error::Protocol("an upload without a name and a size".into()),
                    }));
                }
            };
            let count = match (self.client.stream.read_some(buffer, patience), whole) {
                (Ok(0), _) => return Err(self.client.stream.closed()),
                (Ok(count), _) => count,
                (Err(Error::Deadline(_)), Some(way)) => return Ok(kept.map(|()| way)),
                (Err(error), _) => return Err(error),
            };
            pace.moved(count, self.client.stream.name())?;
            upload.came(&buffer[..count]);
            if kept.is_ok() {
                kept = put_aside(spool, &buffer[..count]);
            }
        }
    }

    fn drop_rest(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            match self.client.stream.read_some(buffer, &SILENCE) {
                Ok(0) => return Err(self.client.stream.closed()),
                Ok(_) => {}
                Err(Error::Deadline(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    // ---- downloads ----

    fn download(&mut self, name: &str, buffer: &mut [u8]) -> Result<()> {
        let begun = Instant::now();
        let found = self.file(name).and_then(|path| {
            let retrieve = self.client.retrieve(&path, begun)?;
            Ok((path, retrieve))
        });
        let (path, mut retrieve) = match found {
            Ok(found) => found,
            Err(error) => {
                self.client.stream.write_segment(folder::NO_DOWNLOAD, &TAKE)?;
                settle(&self.client.stream, self.client.peer)?;
                return match is_missing(&error) {
                    true => self.say(&format!("{name} does not exist")),
                    false => self.say(FAILED),
                };
            }
        };
        self.client.stream.write_segment(folder::DOWNLOAD, &TAKE)?;
        settle(&self.client.stream, self.client.peer)?;
        self.client.stream.write_segment(&folder::size(retrieve.bytes), &TAKE)?;
        let sent = self.client.send_pieces(&mut retrieve, |left, _| {
            let left = usize::try_from(left).unwrap_or(PIECE_BYTES);
            (left > 0).then_some((left.min(PIECE_BYTES), false))
        });
        self.client.retrieved(&path, &retrieve, begun, &sent);
        sent?;
        drop(retrieve);
        self.await_complete(buffer)
    }

    /// The client says when it has everything. Whatever else it says is its next command.
    fn await_complete(&mut self, buffer: &mut [u8]) -> Result<()> {
        while self.heard.len() < folder::COMPLETE.len() && folder::COMPLETE.starts_with(&self.heard)
        {
            match self.client.stream.read_some(buffer, &TAKE)? {
                0 => return Err(self.client.stream.closed()),
                count => self.heard.extend_from_slice(&buffer[..count]),
            }
        }
        if self.heard.starts_with(folder::COMPLETE) {
            self.heard.drain(..folder::COMPLETE.len());
            return self.say("Download complete");
        }
        Ok(())
    }
}

fn put_aside(spool: &mut Spool, bytes: &[u8]) -> Result<()> {
    spool.append(bytes).map_err(Error::io("cannot put the file aside"))
}

/// Is there no such thing, as far as the client can see?
fn is_missing(error: &Error) -> bool {
    matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder | Code::BadPath)
}
