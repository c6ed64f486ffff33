//! Storing files so that a transfer which breaks off can go on.
//!
//! What has come of a file stays on the server as an upload. It is found again by the file's path, size and
//! time of modification, so that nothing has to be remembered here: the same command goes on, also in
//! another process. What is there already is hashed here and compared, and at the end the digest of the
//! whole decides: a file that was changed in between begins anew.

use std::io::Read;

use super::local::Source;
use crate::core::error::{Code, Error, Result};
use crate::core::io::random::Random;
use crate::core::io::reason;
use crate::core::path::FilePath;
use crate::core::remote::{Digester, Progress, Remote, Stored, ToStore};
use crate::core::types::Precondition;
use crate::core::wire::extended::PendingUpload;

/// Smaller files begin anew: they are there as fast.
pub(super) const RESUMED_BYTES_MIN: u64 = 8 << 20;

/// Is a file of this size worth it?
pub(super) fn is_resumable(bytes: u64) -> bool {
    bytes >= RESUMED_BYTES_MIN
}

/// Stores a source, or what is missing of it. Gives also how many bytes were there already.
///
/// # Errors
/// Those of [`Remote::store`].
pub(super) fn store(
    remote: &mut Remote,
    source: &mut Source,
    path: &FilePath,
    precondition: Precondition,
    watch: &mut dyn FnMut(Progress),
) -> Result<(Stored, u64)> {
    if let Some(upload) = waiting(remote, source, path)? {
        if let Some(stored) = go_on(remote, &upload, source, precondition, watch)? {
            return Ok((stored, upload.arrived));
        }
        source.rewind()?;
    }
    let keep = Some(Random::from_system().version());
    let (bytes, attributes) = (source.bytes, source.attributes);
    let wanted = ToStore { path, bytes, precondition, attributes, keep };
    remote.store(&wanted, source, watch).map(|stored| (stored, 0))
}

/// The newest upload of this very file.
fn waiting(remote: &mut Remote, source: &Source, path: &FilePath) -> Result<Option<PendingUpload>> {
    let is_same = |upload: &PendingUpload| {
        upload.bytes == Some(source.bytes) && upload.attributes == source.attributes
    };
    let found = remote.uploads(Some(path))?.into_iter().find(is_same);
    let Some(found) = found else { return Ok(None) };
    match remote.upload(found.id) {
        Ok(upload) => Ok(Some(upload)),
        Err(error) if error.code() == Code::NoSuchFile => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends the rest. `None` if the file has to begin anew.
fn go_on(
    remote: &mut Remote,
    upload: &PendingUpload,
    source: &mut Source,
    precondition: Precondition,
    watch: &mut dyn FnMut(Progress),
) -> Result<Option<Stored>> {
    let total = source.bytes;
    let mut hasher = Digester::default();
    let unreadable =
        |error| Error::other(Code::LocalFile, format!("cannot read it: {}", reason(&error)));
    let mut there = source.by_ref().take(upload.arrived);
    hasher.read(&mut there).map_err(unreadable)?;
    let is_other = upload.blake3.is_some_and(|there| there != hasher.digest());
    if is_other || upload.arrived > total {
        return begin_anew(remote, upload);
    }
    watch(Progress { bytes: upload.arrived, total, committing: false });
    let digest = if upload.arrived < total {
        match remote.send_rest(upload, total, hasher, source, watch) {
            // It was completed or dropped, or somebody else has gone on with it.
            Err(error) if matches!(error.code(), Code::NoSuchFile | Code::Changed) => {
                return Ok(None);
            }
            sent => sent?,
        }
    } else {
        source.check_end()?;
        hasher.digest()
    };
    match remote.complete_upload(upload.id, digest, precondition) {
        Err(error) if error.code() == Code::Damaged => begin_anew(remote, upload),
        stored => stored.map(Some),
    }
}

fn begin_anew(remote: &mut Remote, upload: &PendingUpload) -> Result<Option<Stored>> {
    match remote.drop_upload(upload.id) {
        Err(error) if error.code() != Code::NoSuchFile => Err(error),
        _ => Ok(None),
    }
}
