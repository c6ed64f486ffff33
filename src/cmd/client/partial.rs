//! What is left of a retrieval that broke off: a file beside the one that it is to be, named by it and by
//! its version. The same command goes on with it, after any end of the one before; nobody else touches it
//! meanwhile, since it is locked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::core::remote::Digester;
use crate::core::types::VersionId;

/// How its name ends.
const ENDING: &str = ".palk-part";

/// So many digits of a version tell it from others.
const VERSION_DIGITS: usize = 16;

/// The longest name that file systems take, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// The beginning of a file.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    /// The first digits of its version.
    digits: String,
}

/// What a file's version is called while it is not whole.
pub(super) fn path_of(target: &Path, version: VersionId) -> Option<PathBuf> {
    let digits = version.to_string();
    let name = format!("{}{}{ENDING}", beginning(target)?, digits.get(..VERSION_DIGITS)?);
    Some(target.with_file_name(name))
}

/// `.NAME.`
fn beginning(target: &Path) -> Option<String> {
    let name = target.file_name()?.to_str()?;
    let room = FILE_NAME_BYTES_MAX - VERSION_DIGITS - ENDING.len() - 2;
    let cut = (0..=room.min(name.len())).rev().find(|at| name.is_char_boundary(*at))?;
    Some(format!(".{}.", &name[..cut]))
}

/// Those of a file.
pub(super) fn of(target: &Path) -> Vec<Partial> {
    let Some(beginning) = beginning(target) else { return Vec::new() };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let parsed = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let digits = name.to_str()?.strip_prefix(&beginning)?.strip_suffix(ENDING)?;
        let is_one =
            digits.len() == VERSION_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_one.then(|| Partial { path: target.with_file_name(&name), digits: digits.to_owned() })
    });
    parsed.collect()
}

impl Partial {
    /// Is it the beginning of the version with this id, or whose id begins so?
    pub(super) fn is_of(&self, version: &str) -> bool {
        let least = version.len().min(VERSION_DIGITS);
        version.get(..least) == self.digits.get(..least)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it with the digest of what is there, to write on at its end. `None` if somebody else does.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn open(&self) -> io::Result<Option<(File, Digester, u64)>> {
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        if file.try_lock().is_err() {
            return Ok(None);
        }
        let mut hasher = Digester::default();
        hasher.read(&mut file)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(Some((file, hasher, bytes)))
    }

    /// Removes it, unless somebody writes to it.
    pub(super) fn remove(&self) {
        if File::open(&self.path).is_ok_and(|file| file.try_lock().is_ok()) {
            // What stays is found again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_file_is_found_again_by_its_target_and_version() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.txt");
        let version = VersionId([0xab; 16]);
        let path = path_of(&target, version).unwrap();
        assert_eq!(path.file_name().unwrap(), ".a.txt.abababababababab.palk-part");
        fs::write(&path, b"half").unwrap();
        fs::write(folder.path().join(".a.txt.zz.palk-part"), b"").unwrap();
        let found = of(&target);
        assert_eq!(found.len(), 1);
        assert!(found[0].is_of(&version.to_string()) && found[0].is_of("abab"));
        assert!(!found[0].is_of("abac"));
        let (file, hasher, bytes) = found[0].open().unwrap().unwrap();
        let mut half = Digester::default();
        half.update(b"half");
        assert_eq!((hasher.digest(), bytes), (half.digest(), 4));
        assert!(found[0].open().unwrap().is_none(), "it is locked");
        found[0].remove();
        assert!(path.exists());
        drop(file);
        found[0].remove();
        assert!(!path.exists() && of(&target).is_empty());
    }

    #[test]
    fn a_long_name_is_cut() {
        let target = Path::new("/x").join("ü".repeat(120));
        let path = path_of(&target, VersionId([1; 16])).unwrap();
        assert!(path.file_name().unwrap().len() <= FILE_NAME_BYTES_MAX);
    }
}
