//! What only the user who runs Palk may read and write.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::core::error::{Error, Result};

/// From now on nobody else can read or write what this process makes, whoever makes it: SQLite gives
/// its files the usual mode.
pub fn keep_new_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Takes away what others may do with this file or folder, if it is there. True if there was something
/// to take away.
///
/// # Errors
/// If it belongs to somebody else, or the disk fails.
pub fn mend(path: &Path) -> Result<bool> {
    let failed = || format!("cannot make {} private", path.display());
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(failed())(error)),
    };
    if mode & 0o077 == 0 {
        return Ok(false);
    }
    let own = Permissions::from_mode(mode & 0o700);
    fs::set_permissions(path, own).map_err(Error::io(failed()))?;
    Ok(true)
}

/// The same for a folder and the files that lie directly in it. Gives those that were mended.
///
/// # Errors
/// As [`mend`], or the folder cannot be listed.
pub fn mend_all(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list {}", folder.display());
    let mut paths = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).map_err(Error::io(failed()))? {
        let entry = entry.map_err(Error::io(failed()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            paths.push(entry.path());
        }
    }
    let mut mended = Vec::new();
    for path in paths {
        if mend(&path)? {
            mended.push(path);
        }
    }
    Ok(mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_its_files_are_made_private_and_their_owner_keeps_his_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("database");
        let files = ["loose", "own", "read-only"].map(|name| path.join(name));
        fs::create_dir(&path).unwrap();
        for (file, mode) in files.iter().zip([0o644, 0o600, 0o444]) {
            fs::write(file, "x").unwrap();
            fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let mut mended = mend_all(&path).unwrap();
        mended.sort();
        assert_eq!(mended, [path.clone(), files[0].clone(), files[2].clone()]);
        let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(files.each_ref().map(mode), [0o600, 0o600, 0o400]);
        assert_eq!(mode(&path), 0o700);
        assert!(mend_all(&path).unwrap().is_empty());
        assert!(!mend(&path.join("missing")).unwrap());
    }
}
