//! Where a retrieved file goes. It appears there whole or not at all: the bytes are written to a
//! temporary file beside it, which gets the name once their digest has been found right, and is
//! removed however else it ends. Folders that were made for it go again as well.
//!
//! What is no regular file (a device, a pipe) is written to directly: a rename would replace it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::local::unused_name;
use crate::cmd::env::{Interrupts, Temporary};
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;

/// A local file that is being written.
#[derive(Debug)]
pub(crate) struct Place {
    file: File,
    // Dropped in this order: the file first, so that its folders are empty.
    /// Nothing where the bytes go directly into what is there.
    pending: Option<(Temporary, PathBuf)>,
    /// Made for this file.
    folders: Folders,
}

impl Place {
    /// Begins to write the file at `path`, whose folders are made if `make_folders`.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it cannot be written.
    pub(crate) fn create(
        path: &Path,
        make_folders: bool,
        interrupts: &Interrupts,
    ) -> Result<Place> {
        Place::try_create(path, make_folders, interrupts).map_err(|error| failed(path, &error))
    }

    fn try_create(path: &Path, make_folders: bool, interrupts: &Interrupts) -> io::Result<Place> {
        let mut target = path.to_owned();
        if let Ok(there) = fs::metadata(path) {
            if there.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if !there.is_file() {
                let file = OpenOptions::new().write(true).open(path)?;
                return Ok(Place { file, pending: None, folders: Folders::default() });
            }
            // Through a link to the file that it stands for, as any other writing goes.
            target = fs::canonicalize(path)?;
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut folders = Folders::default();
        if make_folders {
            folders.make(&folder, interrupts)?;
        }
        let temporary = interrupts.temporary(unused_name(&folder));
        let file = OpenOptions::new().write(true).create_new(true).open(temporary.path())?;
        Ok(Place { file, pending: Some((temporary, target)), folders })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`Code::LocalFile`]; nothing is left then.
    pub(crate) fn keep(mut self) -> Result<()> {
        if let Some((temporary, target)) = self.pending.take() {
            temporary.keep_as(&target).map_err(|error| failed(&target, &error))?;
        }
        self.folders.0.drain(..).for_each(Temporary::keep);
        Ok(())
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Folders that were made, outermost first, and that go again unless they are kept.
#[derive(Default, Debug)]
struct Folders(Vec<Temporary>);

impl Folders {
    fn make(&mut self, folder: &Path, interrupts: &Interrupts) -> io::Result<()> {
        let missing = folder
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        for folder in missing.collect::<Vec<_>>().into_iter().rev() {
            fs::create_dir(folder)?;
            self.0.push(interrupts.temporary(folder.to_owned()));
        }
        Ok(())
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        while self.0.pop().is_some() {} // innermost first
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot write {}: {}", path.display(), reason(error));
    Error::other(Code::LocalFile, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let path = folder.path().join("a/b/file");
        let mut place = Place::create(&path, true, &interrupts).unwrap();
        place.write_all(b"x").unwrap();
        drop(place);
        assert!(names(folder.path()).is_empty());
        assert!(Place::create(&path, false, &interrupts).is_err());
        let mut place = Place::create(&path, true, &interrupts).unwrap();
        place.write_all(b"x").unwrap();
        assert!(!path.exists());
        place.keep().unwrap();
        assert_eq!(names(&folder.path().join("a/b")), ["file"]);
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let place = Place::create(&path, false, &interrupts).unwrap();
        drop(place);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let error = Place::create(folder.path(), false, &interrupts).unwrap_err();
        assert_eq!(error.code(), Code::LocalFile);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_stays_a_device_and_a_link_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let null = Place::create(Path::new("/dev/null"), false, &interrupts).unwrap();
        assert!(null.pending.is_none());
        null.keep().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut place = Place::create(&link, false, &interrupts).unwrap();
        place.write_all(b"new").unwrap();
        place.keep().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }
}
