//! Retrieving files so that a transfer which breaks off can go on: what is there stays beside its place, and
//! the rest is asked for as a range of the same version.

use std::cell::Cell;
use std::io::{self, Write};

use super::place::Place;
use super::resume::is_resumable;
use crate::core::error::{Code, Error, Result};
use crate::core::path::FilePath;
use crate::core::remote::{Digester, Progress, Remote, Retrieved, Selection};
use crate::core::types::VersionId;
use crate::core::wire::extended::{Entry, Which};

/// Retrieves a whole file into a place, or what is missing of it. Gives also how many bytes were there
/// already.
///
/// # Errors
/// Those of [`Remote::retrieve`].
pub(super) fn retrieve(
    remote: &mut Remote,
    path: &FilePath,
    which: &Which,
    place: &mut Place,
    resume: bool,
    watch: &mut dyn FnMut(Progress),
) -> Result<(Retrieved, u64)> {
    if let Some(done) = go_on(remote, path, which, place, resume, watch)? {
        return Ok(done);
    }
    let announced = Cell::new(None);
    let wanted = Selection { which: which.clone(), range: None };
    let mut announce = |head: &Retrieved| {
        announced.set((resume && is_resumable(head.bytes)).then_some(head.version));
    };
    let mut sink = Staying { place, announced: &announced };
    let retrieved = remote.retrieve_announced(path, &wanted, &mut announce, &mut sink, watch)?;
    Ok((retrieved, 0))
}

/// A place in which what has been written stays, once it is known what it is.
struct Staying<'a> {
    place: &'a mut Place,
    announced: &'a Cell<Option<VersionId>>,
}

impl Write for Staying<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(version) = self.announced.take() {
            self.place.stay(version);
        }
        self.place.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.place.flush()
    }
}

/// Goes on with what is left of an earlier retrieval. `None` if there is nothing of the version that is
/// wanted: what is left of others is removed.
fn go_on(
    remote: &mut Remote,
    path: &FilePath,
    which: &Which,
    place: &mut Place,
    resume: bool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Option<(Retrieved, u64)>> {
    let partials = place.partials();
    if partials.is_empty() {
        return Ok(None);
    }
    let version = match which {
        _ if !resume => None,
        Which::Current => match remote.look(&path.as_folder())? {
            Entry::File(file) => Some(file.version.to_string()),
            Entry::Folder(_) => None,
        },
        Which::Version(digits) => Some(digits.clone()),
        Which::At(_) => None,
    };
    let (mut there, others): (Vec<_>, Vec<_>) = partials
        .into_iter()
        .partition(|own| version.as_ref().is_some_and(|version| own.is_of(version)));
    others.iter().for_each(|own| own.remove());
    let (Some(version), Some(partial)) = (version, there.pop()) else { return Ok(None) };
    let Some((hasher, resumed)) = place.go_on(&partial) else { return Ok(None) };
    let rest = if resumed > 0 { format!("{resumed}-").parse().ok() } else { None };
    let wanted = Selection { which: Which::Version(version), range: rest };
    let mut sink = Hashing { place, hasher };
    let got = rest.map(|_| {
        remote.retrieve(path, &wanted, &mut sink, &mut |at| {
            watch(Progress { bytes: resumed + at.bytes, total: resumed + at.total, ..at });
        })
    });
    let hasher = sink.hasher;
    match got {
        Some(Ok(got)) if got.blake3 == hasher.digest() => {
            Ok(Some((Retrieved { part: 0..got.bytes, ..got }, resumed)))
        }
        // What was there is not the beginning of it after all, or all of it and more.
        None | Some(Ok(_)) => place.begin_anew().map(|()| None),
        Some(Err(error)) if matches!(error.code(), Code::Usage | Code::Damaged) => {
            place.begin_anew().map(|()| None)
        }
        Some(Err(error)) => Err::<_, Error>(error),
    }
}

/// A place whose content is hashed as it grows.
struct Hashing<'a> {
    place: &'a mut Place,
    hasher: Digester,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.place.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.place.flush()
    }
}
