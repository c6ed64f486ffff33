//! A local file as the source of a store: its size is known before anything is sent, and that it was
//! not changed while it was read is known before it is committed.
//!
//! What has no size (standard input, a pipe, a device, a command's output, a file of `/proc`) is first
//! copied to a temporary file, which has lost its name before the first byte is in it: nothing can be
//! left behind.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::command::{Words, check_end};
use crate::cmd::env::Env;
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::open_at_once;
use crate::core::io::reason;
use crate::core::path::printable;
use crate::core::types::{FileAttributes, FileKind};

/// A file without a block on the disk may be made up while it is read, as those of `/proc` and `/sys`
/// are: its size says nothing then. Up to this size it is read to its end first.
const MADE_UP_BYTES_MAX: u64 = 1 << 20;

/// An opened source with its size. Reading beyond its last byte fails if the file was changed
/// meanwhile: what was read may be a mixture then.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    pub(crate) bytes: u64,
    read: u64,
    /// What is stored of it besides its bytes.
    pub(crate) attributes: FileAttributes,
    /// What the file was when it was opened; `None` for a copy, which nobody else can change.
    opened: Option<Stamp>,
    /// It ended before its first byte, which a broken pipe does as well.
    pub(crate) is_empty_stream: bool,
}

impl Source {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it is a folder or cannot be read.
    pub(crate) fn open(path: &Path, env: &mut Env) -> Result<Source> {
        if path == Path::new("-") {
            if env.input_is_terminal() {
                env.note("reading standard input to its end (Ctrl-D)");
            }
            return spool(env.input());
        }
        let kind = Source::check(path, env)?.file_type();
        let shown = printable(&path.to_string_lossy());
        if kind.is_fifo() {
            // Opening it waits for the other end.
            env.note(&format!("waiting for somebody to write to the named pipe {shown}"));
        }
        let mut file = File::open(env.at(path)).map_err(unreadable)?;
        if kind.is_file() {
            return Source::of_file(file);
        }
        env.note(&format!("reading {shown} to its end first"));
        let source = spool(&mut file)?;
        Ok(Source { is_empty_stream: source.bytes == 0 && kind.is_fifo(), ..source })
    }

    /// Opens a file of which it is known that it is a regular one.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be read, or has become something else.
    pub(crate) fn regular(path: &Path) -> Result<Source> {
        // One that has become a pipe is not waited for.
        let file = open_at_once(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(Error::other(Code::LocalFile, "it is no regular file any more"));
        }
        Source::of_file(file)
    }

    /// A symbolic link as what it is: the path that it leads to.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be read, or is none any more.
    pub(crate) fn of_link(path: &Path) -> Result<Source> {
        let target = fs::read_link(path).map_err(unreadable)?;
        let source = spool(&mut target.as_os_str().as_bytes())?;
        let attributes = FileAttributes { modified_ms: None, kind: Some(FileKind::Link) };
        Ok(Source { attributes, is_empty_stream: false, ..source })
    }

    fn of_file(mut file: File) -> Result<Source> {
        let found = file.metadata().map_err(unreadable)?;
        let opened = Stamp::of(&found);
        let attributes = attributes_of(&found);
        let may_be_made_up = found.blocks() == 0 && found.len() <= MADE_UP_BYTES_MAX;
        if !may_be_made_up {
            let (bytes, opened) = (found.len(), Some(opened));
            let is_empty_stream = false;
            return Ok(Source { file, bytes, read: 0, attributes, opened, is_empty_stream });
        }
        let copy = spool(&mut file)?;
        opened.check(&file).map_err(unreadable)?;
        Ok(Source { attributes, is_empty_stream: false, ..copy })
    }

    /// Begins anew.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be read.
    pub(super) fn rewind(&mut self) -> Result<()> {
        self.file.rewind().map_err(unreadable)?;
        self.read = 0;
        Ok(())
    }

    /// Fails if it was changed since it was opened, after all of it was read.
    ///
    /// # Errors
    /// [`Code::LocalFile`].
    pub(super) fn check_end(&mut self) -> Result<()> {
        self.read(&mut [0]).map(drop).map_err(unreadable)
    }

    /// The output of a command that has ended well. Words are split as a shell does, but none is used.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it could not be run or has failed.
    pub(crate) fn of_command(command: &str) -> Result<Source> {
        let failed = |why: String| {
            let text = format!("the command {command:?} failed: {why}");
            let advice = "Nothing was stored. Run the command by itself to see why.";
            Error::advised(Code::LocalFile, text, advice)
        };
        let words = Words::of(command).map_err(failed)?;
        let mut child = words
            .command()
            .stdin(Stdio::inherit())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| failed(words.not_started(&error)))?;
        // Closed before the command is waited for: one that goes on writing must not wait for this.
        let source =
            child.stdout.take().map_or_else(|| spool(&mut io::empty()), |mut out| spool(&mut out));
        let status = child.wait().map_err(|error| failed(reason(&error)))?;
        check_end(status).map_err(failed)?;
        source
    }

    /// Could this be opened, as far as can be told without doing so?
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it is a folder or not there.
    pub(crate) fn check(path: &Path, env: &Env) -> Result<Metadata> {
        let metadata = fs::metadata(env.at(path)).map_err(unreadable)?;
        if metadata.is_dir() {
            let text = "it is a folder, only files can be stored";
            return Err(Error::other(Code::LocalFile, text));
        }
        Ok(metadata)
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        if count == 0
            && self.read == self.bytes
            && let Some(opened) = &self.opened
        {
            opened.check(&self.file)?;
        }
        Ok(count)
    }
}

/// By what a change of a file's content is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
    /// Set by the system alone, also where a program puts the time of modification back.
    changed: (i64, i64),
    links: u64,
}

impl Stamp {
    fn of(found: &Metadata) -> Stamp {
        Stamp {
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            links: found.nlink(),
        }
    }

    /// Fails if the content may have been changed. A file of which a link was made or removed, as where
    /// another was put in its place, has the same content.
    fn check(&self, file: &File) -> io::Result<()> {
        let now = Stamp::of(&file.metadata()?);
        let is_same = match now.links == self.links {
            true => now == *self,
            false => (now.bytes, now.modified) == (self.bytes, self.modified),
        };
        if is_same { Ok(()) } else { Err(io::Error::other("somebody changed it meanwhile")) }
    }
}

pub(super) fn attributes_of(found: &Metadata) -> FileAttributes {
    let fraction = found.mtime_nsec() / 1_000_000;
    let modified_ms = found.mtime().checked_mul(1000).and_then(|ms| ms.checked_add(fraction));
    let is_executable = found.mode() & 0o100 != 0;
    let kind = if is_executable { FileKind::Executable } else { FileKind::Plain };
    FileAttributes { modified_ms, kind: Some(kind) }
}

fn unreadable(error: io::Error) -> Error {
    Error::other(Code::LocalFile, reason(&error))
}

fn spool(input: &mut dyn Read) -> Result<Source> {
    let folder = std::env::temp_dir();
    let failed = |error: io::Error| {
        let text = format!("cannot copy it to {} first: {}", folder.display(), reason(&error));
        Error::other(Code::LocalFile, text)
    };
    let mut file = nameless(&folder).map_err(failed)?;
    let bytes = io::copy(input, &mut file).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let attributes = FileAttributes::default();
    Ok(Source { file, bytes, read: 0, attributes, opened: None, is_empty_stream: bytes == 0 })
}

/// A file that is gone as soon as it is closed.
pub(crate) fn nameless(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let path = unused_name(folder);
    let file = options.open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// A name in this folder that nothing has, hidden where names with a dot are.
pub(crate) fn unused_name(folder: &Path) -> PathBuf {
    folder.join(format!(".palk-{:016x}.part", rand::random::<u64>()))
}

/// Puts a text in the place of a whole file, or leaves the file as it was. The new file is nobody
/// else's to read, unless it is given other permissions. A file that cannot be replaced, because
/// something is mounted on it, is written in place.
///
/// # Errors
/// As the operating system says.
pub(crate) fn replace_file(
    place: &Path,
    text: &str,
    permissions: Option<Permissions>,
) -> io::Result<()> {
    let beside = unused_name(place.parent().unwrap_or(Path::new("/")));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&beside).and_then(|mut file| {
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, place)
    });
    match written {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = fs::remove_file(&beside); // it may never have been made
            if is_mount_point(&error) {
                write_in_place(place, &mut text.as_bytes())
            } else {
                Err(error)
            }
        }
    }
}

/// Puts a text in the place of a configuration file, with the same permissions. Through a link, as an
/// editor would.
///
/// # Errors
/// As the operating system says.
pub(crate) fn replace_config(place: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
    let permissions = fs::metadata(&target).ok().map(|there| there.permissions());
    replace_file(&target, text, permissions)
}

/// Is this what a rename gives where something is mounted on the file that it would replace?
pub(crate) fn is_mount_point(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices)
}

/// Writes over a file that is there. Owner, mode and what is mounted stay as they are.
///
/// # Errors
/// As the operating system says; the file may have a part of both contents then.
pub(crate) fn write_in_place(place: &Path, content: &mut dyn Read) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(place)?;
    let bytes = io::copy(content, &mut file)?;
    file.set_len(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_gets_a_size_and_leaves_nothing_behind() {
        let (mut env, _) = Env::fake(&[], "some bytes");
        let mut source = Source::open(Path::new("-"), &mut env).unwrap();
        assert_eq!(source.bytes, 10);
        let mut text = String::new();
        source.read_to_string(&mut text).unwrap();
        assert_eq!(text, "some bytes");
        assert!(!source.is_empty_stream);
    }

    #[test]
    fn a_folder_is_no_file() {
        let (mut env, _) = Env::fake(&[], "");
        let error = Source::open(&std::env::temp_dir(), &mut env).unwrap_err();
        assert_eq!(error.code(), Code::LocalFile);
        assert!(error.to_string().contains("folder"));
        let error = Source::open(Path::new("/nonexistent"), &mut env).unwrap_err();
        assert_eq!(error.to_string(), "no such file or folder");
    }

    /// A source of three bytes that have been read, after something was done to the file.
    fn read_after(act: impl FnOnce(&Path)) -> io::Result<usize> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "old").unwrap();
        let (mut env, _) = Env::fake(&[], "");
        let mut source = Source::open(&path, &mut env).unwrap();
        source.read_exact(&mut [0; 3]).unwrap();
        act(&path);
        source.read(&mut [0; 1])
    }

    #[test]
    fn a_file_that_is_changed_while_it_is_read_is_noticed() {
        let set_time = |path: &Path| {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        };
        assert!(read_after(set_time).is_err());
        // Another one in its place: what was read is the whole of the old one.
        let replace = |path: &Path| {
            fs::write(path.with_extension("new"), "new").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        };
        assert_eq!(read_after(replace).unwrap(), 0);
        assert_eq!(read_after(|path| fs::remove_file(path).unwrap()).unwrap(), 0);
        assert_eq!(read_after(|_| {}).unwrap(), 0);
    }

    #[test]
    fn a_file_that_is_made_up_as_it_is_read_is_read_to_its_end() {
        let (mut env, _) = Env::fake(&[], "");
        let mut source = Source::open(Path::new("/proc/version"), &mut env).unwrap();
        let mut text = String::new();
        source.read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, source.bytes);
        assert_eq!(text, fs::read_to_string("/proc/version").unwrap());
    }

    #[test]
    fn a_commands_output_counts_if_it_ends_well() {
        let mut source = Source::of_command("printf '%s' 'a  b'").unwrap();
        let mut text = String::new();
        source.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a  b");
        assert!(Source::of_command("true").unwrap().is_empty_stream);
        for wrong in ["sh -c 'echo half; exit 3'", "/nonexistent/command", "'", ""] {
            let error = Source::of_command(wrong).unwrap_err();
            assert_eq!(error.code(), Code::LocalFile, "{wrong}: {error}");
        }
    }
}
