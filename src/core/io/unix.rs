//! Unix sockets: a door in a folder, for its owner alone, with lines in both directions.
//!
//! Invariants:
//! - The socket is never open to others, not even for a moment: it is made inside a folder that only
//!   the owner can enter, gets its mode there, and is then renamed to its place.
//! - A rename replaces what a killed process has left there, in one step. The caller holds the lock
//!   of the folder, so nobody else is behind it.
//! - A path that is too long for a socket's address (108 bytes on Linux) is reached through the open
//!   folder, as `/proc/self/fd/N/NAME`.
//! - Every wait has a [`Deadline`], every line a limit.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::core::error::{Code, Error, Result};
use crate::core::io::net::Deadline;
use crate::core::io::reason;

/// The longest path that every system takes for a socket.
const PATH_BYTES_MAX: usize = 103;

/// Where a socket is made before it gets its name.
const CRADLE: &str = ".socket";

/// Bytes that are read at once.
const READ_BYTES: usize = 4096;

/// A socket in a folder that accepts connections.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Makes the socket `name` in `folder`, in place of one that is there. The caller holds the lock
    /// of the folder.
    ///
    /// # Errors
    /// As the system says, with what to do about a path that is too long.
    pub fn open(folder: &Path, name: &str) -> Result<Socket> {
        let path = folder.join(name);
        let failed = |error: io::Error| {
            let text = format!("cannot make the socket {}: {}", path.display(), why(&path, &error));
            Error::other(Code::LocalFile, text)
        };
        let listener = make(folder, name).map_err(failed)?;
        Ok(Socket { listener, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// As the system says: no file descriptor is free, most likely.
    pub fn accept(&self) -> io::Result<Lines> {
        let (socket, _) = self.listener.accept()?;
        Ok(Lines::new(socket, "the asker"))
    }
}

fn make(folder: &Path, name: &str) -> io::Result<UnixListener> {
    let cradle = folder.join(CRADLE);
    let made = cradle.join(name);
    // What a process that was killed between these steps has left.
    remove(&made)?;
    match DirBuilder::new().mode(0o700).create(&cradle) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::set_permissions(&cradle, Permissions::from_mode(0o700))?;
        }
        other => other?,
    }
    let listener = reach(&cradle, name, |path| UnixListener::bind(path))?;
    fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    fs::rename(&made, folder.join(name))?;
    fs::remove_dir(&cradle)?;
    Ok(listener)
}

/// Removes a socket; one that is not there is removed already.
///
/// # Errors
/// As the system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Hands `act` a path to `name` in `folder` that is short enough for a socket.
fn reach<T>(folder: &Path, name: &str, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(name);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return act(&path);
    }
    let folder = File::open(folder)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())))
}

/// The reason, and for a path that is too long where `/proc` is missing, what helps.
fn why(path: &Path, error: &io::Error) -> String {
    let length = path.as_os_str().len();
    let is_long = length > PATH_BYTES_MAX && !Path::new("/proc/self/fd").exists();
    match is_long {
        true => format!(
            "its path has {length} bytes, more than the {PATH_BYTES_MAX} of a socket; use a folder \
             with a shorter path"
        ),
        false => reason(error),
    }
}

/// A connection on which lines are exchanged.
#[derive(Debug)]
pub struct Lines {
    socket: UnixStream,
    name: &'static str,
    waiting: Vec<u8>,
}

impl Lines {
    /// Connects to the socket `name` in `folder`; nothing if there is none.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if nobody listens there any more, [`Code::LocalFile`] if it is not open
    /// to this user.
    pub fn connect(folder: &Path, name: &str) -> Result<Option<Lines>> {
        let path = folder.join(name);
        let failed = |code, text: &str| {
            Err(Error::other(code, format!("cannot connect to {}: {text}", path.display())))
        };
        match reach(folder, name, |path| UnixStream::connect(path)) {
            Ok(socket) => Ok(Some(Lines::new(socket, "the server"))),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(None),
                ErrorKind::ConnectionRefused => failed(Code::Unreachable, "nobody listens there"),
                _ => failed(Code::LocalFile, &why(&path, &error)),
            },
        }
    }

    fn new(socket: UnixStream, name: &'static str) -> Lines {
        Lines { socket, name, waiting: Vec::new() }
    }

    /// The next line, without its end; nothing if the other side has closed before one began.
    ///
    /// # Errors
    /// [`Error::Deadline`] if all of it has not come in time, [`Error::Protocol`] if it is longer
    /// than `bytes_max`, [`Error::Closed`].
    pub fn read(&mut self, bytes_max: usize, deadline: &Deadline) -> Result<Option<Vec<u8>>> {
        let until = Instant::now() + deadline.limit;
        let mut searched = 0;
        loop {
            let found = self.waiting[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found.map(|at| searched + at).filter(|at| *at <= bytes_max) {
                let mut line: Vec<u8> = self.waiting.drain(..=at).collect();
                line.pop();
                return Ok(Some(line));
            }
            searched = self.waiting.len();
            if searched > bytes_max {
                return Err(Error::Protocol(format!("a line is longer than {bytes_max} bytes")));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(deadline.missed(self.name));
            }
            let mut buffer = [0; READ_BYTES];
            let read = self.socket.set_read_timeout(Some(left));
            match read.and_then(|()| self.socket.read(&mut buffer)) {
                Ok(0) if self.waiting.is_empty() => return Ok(None),
                Ok(0) => return Err(self.closed()),
                Ok(count) => self.waiting.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error, deadline)),
            }
        }
    }

    /// Writes a line, whose end it has already.
    ///
    /// # Errors
    /// [`Error::Deadline`] if the other side takes nothing for so long, [`Error::Closed`].
    pub fn write(&mut self, line: &[u8], deadline: &Deadline) -> Result<()> {
        self.socket
            .set_write_timeout(Some(deadline.limit))
            .and_then(|()| self.socket.write_all(line))
            .map_err(|error| self.failed(&error, deadline))
    }

    /// Has the other side closed the connection? What it may have sent instead is kept for the next
    /// read, up to so many bytes; one that sends more is as good as gone.
    pub fn is_closed(&mut self, bytes_max: usize) -> bool {
        let mut buffer = [0; READ_BYTES];
        loop {
            let switched = self.socket.set_nonblocking(true);
            let read = switched.and_then(|()| self.socket.read(&mut buffer));
            if self.socket.set_nonblocking(false).is_err() {
                return true;
            }
            match read {
                Ok(0) => return true,
                Ok(count) => self.waiting.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
            if self.waiting.len() > bytes_max {
                return true;
            }
        }
    }

    fn closed(&self) -> Error {
        Error::Closed(format!("by {}", self.name))
    }

    fn failed(&self, error: &io::Error, deadline: &Deadline) -> Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => deadline.missed(self.name),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => self.closed(),
            _ => Error::other(
                Code::Unreachable,
                format!("the connection to {} broke: {}", self.name, reason(error)),
            ),
        }
    }
}

/// How long to wait before accepting again after the system had no room for a connection.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Deadline = Deadline::new(Duration::from_millis(50), "answer");
    const LATER: Deadline = Deadline::new(Duration::from_secs(60), "answer");

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn pair(folder: &Path) -> (Lines, Lines) {
        let socket = Socket::open(folder, "s").unwrap();
        let near = Lines::connect(folder, "s").unwrap().unwrap();
        (near, socket.accept().unwrap())
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_replaces_a_stale_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lines::connect(folder.path(), "s").unwrap().is_none());
        let socket = Socket::open(folder.path(), "s").unwrap();
        assert_eq!(mode(socket.path()), 0o600);
        drop(socket);
        let refused = Lines::connect(folder.path(), "s").unwrap_err();
        assert_eq!(refused.code(), Code::Unreachable);
        assert!(refused.to_string().ends_with("/s: nobody listens there"), "{refused}");
        // A process that was killed while it made one.
        fs::create_dir(folder.path().join(CRADLE)).unwrap();
        drop(UnixListener::bind(folder.path().join(CRADLE).join("s")).unwrap());
        let socket = Socket::open(folder.path(), "s").unwrap();
        Lines::connect(folder.path(), "s").unwrap().unwrap();
        let entries = fs::read_dir(folder.path()).unwrap();
        assert_eq!(entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["s"]);
        remove(socket.path()).unwrap();
        remove(socket.path()).unwrap();
        assert!(Lines::connect(folder.path(), "s").unwrap().is_none());
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_works() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let (mut near, mut far) = pair(&deep);
        assert_eq!(mode(&deep.join("s")), 0o600);
        near.write(b"a line\n", &LATER).unwrap();
        assert_eq!(far.read(100, &LATER).unwrap().unwrap(), b"a line");
    }

    #[test]
    fn lines_come_one_by_one_however_they_were_sent() {
        let folder = tempfile::tempdir().unwrap();
        let (mut near, mut far) = pair(folder.path());
        near.write(b"one\ntwo\n\nthr", &LATER).unwrap();
        assert_eq!(far.read(3, &LATER).unwrap().unwrap(), b"one");
        assert!(!far.is_closed(100));
        assert_eq!(far.read(3, &LATER).unwrap().unwrap(), b"two");
        assert_eq!(far.read(3, &LATER).unwrap().unwrap(), b"");
        assert!(matches!(far.read(10, &SOON), Err(Error::Deadline(_))));
        assert!(!far.is_closed(100));
        near.write(b"ee\n", &LATER).unwrap();
        assert!(matches!(far.read(4, &LATER), Err(Error::Protocol(_))));
        assert_eq!(far.read(5, &LATER).unwrap().unwrap(), b"three");
        drop(near);
        assert!(far.is_closed(100));
        assert!(far.read(5, &LATER).unwrap().is_none());
        assert!(matches!(far.write(b"late\n", &LATER), Err(Error::Closed(_))));
    }

    #[test]
    fn a_line_that_breaks_off_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (mut near, mut far) = pair(folder.path());
        near.write(b"half", &LATER).unwrap();
        drop(near);
        assert!(matches!(far.read(100, &LATER), Err(Error::Closed(_))));
    }
}
