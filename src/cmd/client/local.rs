//! A local file as the source of a store: its size is known before anything is sent.
//!
//! What has no size (standard input, a pipe, a device) is first copied to a temporary file, which
//! has lost its name before the first byte is in it: nothing can be left behind.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::cmd::env::Env;
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;
use crate::core::path::printable;

/// An opened source with its size.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

impl Source {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it is a folder or cannot be read.
    pub(crate) fn open(path: &Path, env: &mut Env) -> Result<Source> {
        if path == Path::new("-") {
            return spool(env.input());
        }
        let metadata = Source::check(path, env)?;
        let mut file = File::open(env.at(path)).map_err(unreadable)?;
        if metadata.is_file() {
            return Ok(Source { file, bytes: metadata.len() });
        }
        env.note(&format!("reading {} to its end first", printable(&path.to_string_lossy())));
        spool(&mut file)
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
    Ok(Source { file, bytes })
}

/// A file that is gone as soon as it is closed.
fn nameless(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
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
/// else's to read, unless it is given other permissions.
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
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| {
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, place)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside); // it may never have been made
    }
    written
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
        source.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "some bytes");
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
}
