//! What a file keeps besides its bytes, given to a file on this machine.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use crate::core::types::{FileAttributes, FileKind};

/// Gives a file the time and the right to be run that were stored with it. Who may read it may run it, as
/// with any new program.
///
/// # Errors
/// As the operating system says; a time that it cannot keep is left out.
pub fn give(attributes: FileAttributes, file: &File) -> io::Result<()> {
    let FileAttributes { modified_ms, kind } = attributes;
    let mode = file.metadata()?.mode() & 0o777;
    let wanted = match kind {
        None | Some(FileKind::Link) => mode,
        Some(FileKind::Executable) => mode | (mode & 0o444) >> 2,
        Some(FileKind::Plain) => mode & !0o111,
    };
    if wanted != mode {
        file.set_permissions(Permissions::from_mode(wanted))?;
    }
    if let Some(time) = modified_ms.and_then(time_of) {
        // What this file system cannot write down is no reason to lose the file.
        let _ = file.set_modified(time);
    }
    Ok(())
}

fn time_of(ms: i64) -> Option<SystemTime> {
    let length = Duration::from_millis(ms.unsigned_abs());
    match ms {
        0.. => SystemTime::UNIX_EPOCH.checked_add(length),
        _ => SystemTime::UNIX_EPOCH.checked_sub(length),
    }
}
