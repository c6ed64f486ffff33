//! One file to the server or from it, with its progress, and what is said of it afterwards. The
//! session and the one-shot verbs do this alike.

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::local::Source;
use super::place::Place;
use crate::cmd::env::{Env, duration, size};
use crate::core::error::Result;
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::remote::{Progress, Remote, Retrieved, Selection, Stored};
use crate::core::types::{NODE_COUNT, Precondition, VersionId};

/// A store that succeeded.
pub(crate) struct Sent {
    path: FilePath,
    bytes: u64,
    stored: Stored,
    took: Duration,
}

/// Stores a source, if what is there is as the precondition says.
///
/// # Errors
/// Those of [`Remote::store`].
pub(crate) fn send(
    env: &Env,
    remote: &mut Remote,
    source: &mut Source,
    path: &FilePath,
    precondition: Precondition,
) -> Result<Sent> {
    let mut bar = env.bar(path.name(), source.bytes);
    send_watched(remote, source, path, precondition, &mut |at| bar.show(at))
}

/// The same, shown by somebody else.
///
/// # Errors
/// Those of [`Remote::store`].
pub(super) fn send_watched(
    remote: &mut Remote,
    source: &mut Source,
    path: &FilePath,
    precondition: Precondition,
    watch: &mut dyn FnMut(Progress),
) -> Result<Sent> {
    let began = Instant::now();
    let (bytes, attributes) = (source.bytes, source.attributes);
    let stored = remote.store(path, bytes, precondition, attributes, source, watch)?;
    Ok(Sent { path: path.clone(), bytes, stored, took: began.elapsed() })
}

impl Sent {
    /// For people, with how durable it is.
    pub(crate) fn summary(&self) -> String {
        let nodes = self.stored.nodes;
        let how = pace(self.bytes, self.took);
        format!("Stored {}  {how}  on {nodes} of {NODE_COUNT} nodes", self.path)
    }

    /// The version that the file has now.
    pub(crate) fn version(&self) -> VersionId {
        self.stored.version
    }

    /// For `-v`: what names exactly these bytes.
    pub(crate) fn detail(&self) -> String {
        format!("  BLAKE3 {}  version {}", self.stored.blake3, self.stored.version)
    }

    pub(crate) fn json(&self) -> Value {
        json!({"code": 0, "path": rooted(&self.path), "bytes": self.bytes,
               "seconds": self.took.as_secs_f64(), "version": self.stored.version.to_string(),
               "blake3": self.stored.blake3.to_string(), "nodes": self.stored.nodes})
    }
}

/// A retrieval that succeeded.
pub(crate) struct Fetched {
    path: FilePath,
    range: Option<ByteRange>,
    retrieved: Retrieved,
    took: Duration,
}

/// Retrieves what is wanted of a file into a place and keeps it there once its digest was found right.
///
/// # Errors
/// Those of [`Remote::retrieve`] and [`Place::keep`].
pub(crate) fn fetch(
    env: &Env,
    remote: &mut Remote,
    path: &FilePath,
    wanted: &Selection,
    mut place: Place,
) -> Result<Fetched> {
    let fetched = fetch_into(env, remote, path, wanted, &mut place)?;
    // A part is no copy of the file.
    let attributes =
        if wanted.range.is_none() { fetched.retrieved.attributes } else { Default::default() };
    place.keep_with(attributes)?;
    Ok(fetched)
}

/// Retrieves a whole file in the same way, shown by somebody else.
///
/// # Errors
/// As [`fetch`].
pub(super) fn fetch_watched(
    remote: &mut Remote,
    path: &FilePath,
    wanted: &Selection,
    mut place: Place,
    watch: &mut dyn FnMut(Progress),
) -> Result<Fetched> {
    let began = Instant::now();
    let retrieved = remote.retrieve(path, wanted, &mut place, watch)?;
    place.keep_with(retrieved.attributes)?;
    Ok(Fetched { path: path.clone(), range: None, retrieved, took: began.elapsed() })
}

/// Retrieves what is wanted of a file into anything that takes bytes.
///
/// # Errors
/// Those of [`Remote::retrieve`].
pub(crate) fn fetch_into(
    env: &Env,
    remote: &mut Remote,
    path: &FilePath,
    wanted: &Selection,
    sink: &mut dyn Write,
) -> Result<Fetched> {
    let began = Instant::now();
    let mut bar = None;
    let retrieved = remote.retrieve(path, wanted, sink, &mut |at| {
        bar.get_or_insert_with(|| env.bar(path.name(), at.total)).show(at);
    })?;
    Ok(Fetched { path: path.clone(), range: wanted.range, retrieved, took: began.elapsed() })
}

impl Fetched {
    /// For people.
    pub(crate) fn summary(&self) -> String {
        let Range { start, end } = self.retrieved.part;
        let how = pace(end - start, self.took);
        let what = match self.range {
            None => self.path.to_string(),
            Some(_) if start == end => format!("nothing of {}", self.path),
            Some(_) => format!("bytes {start}-{} of {}", end - 1, self.path),
        };
        format!("Retrieved {what}  {how}  from {}", self.retrieved.nodes)
    }

    /// The version that it is.
    pub(crate) fn version(&self) -> VersionId {
        self.retrieved.version
    }

    /// That the bytes are the ones once stored, in a form that can be compared with other tools'.
    pub(crate) fn digest(&self) -> String {
        match self.range {
            None => format!("  BLAKE3 {}  checked", self.retrieved.blake3),
            Some(_) => format!("  version {}  each stripe checked", self.retrieved.version),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let nodes: Vec<u8> = self.retrieved.nodes.iter().map(|node| node.number()).collect();
        let mut all = json!({"code": 0, "path": rooted(&self.path), "bytes": self.retrieved.bytes,
               "seconds": self.took.as_secs_f64(), "version": self.retrieved.version.to_string(),
               "blake3": self.retrieved.blake3.to_string(),
               "stored_ms": self.retrieved.stored_ms,
               "modified_ms": self.retrieved.attributes.modified_ms,
               "executable": self.retrieved.attributes.executable, "nodes": nodes});
        if self.range.is_some() {
            let Range { start, end } = self.retrieved.part;
            all["range"] = json!({"from": start, "bytes": end - start});
        }
        all
    }
}

/// A path as it is shown to programs: from the user's top folder, which is `/`.
pub(crate) fn rooted(path: &FilePath) -> String {
    format!("/{}", path.as_str())
}

/// Below this a rate says more about the way there than about the transfer.
const RATE_BYTES_MIN: u64 = 1_000_000;

/// `62.0 MB in 0.6 s (103.3 MB/s)`
fn pace(bytes: u64, took: Duration) -> String {
    let plain = format!("{} in {}", size(bytes), duration(took));
    if bytes < RATE_BYTES_MIN {
        return plain;
    }
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let rate = u128::from(bytes) * 1_000_000 / u128::from(micros);
    let rate = size(u64::try_from(rate).unwrap_or(u64::MAX));
    format!("{plain} ({rate}/s)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_reads_as_people_say_it() {
        let text = pace(62_000_000, Duration::from_millis(600));
        assert_eq!(text, "62.0 MB in 0.6 s (103.3 MB/s)");
        assert_eq!(pace(353, Duration::from_millis(3)), "353 B in 3 ms");
    }
}
