//! One file to the server or from it, with its progress, and what is said of it afterwards. The
//! session and the one-shot verbs do this alike.

use std::cell::RefCell;
use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::connection::Connection;
use super::local::Source;
use super::place::Place;
use super::rest;
use super::resume::{self, is_resumable};
use super::retry::{Patience, Rule, persist};
use crate::cmd::env::{Bar, Env, Interrupts, duration, size};
use crate::core::error::{Error, Result};
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::remote::{Progress, Remote, Retrieved, Selection, Stored, ToStore};
use crate::core::types::{FileKind, NODE_COUNT, Precondition, VersionId};

/// A store that succeeded.
pub(crate) struct Sent {
    path: FilePath,
    bytes: u64,
    stored: Stored,
    took: Duration,
    /// So many bytes were there already.
    resumed: u64,
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
    note_resumable(env, source.bytes, true);
    send_watched(remote, source, path, precondition, true, &mut |at| bar.show(at))
}

/// The same over a connection that may break: then it is waited for, and goes on.
///
/// # Errors
/// Those of [`Remote::store`].
pub(super) fn send_patiently(
    env: &mut Env,
    connection: &mut Connection,
    source: &mut Source,
    path: &FilePath,
    precondition: Precondition,
    patience: Patience,
) -> Result<Sent> {
    let is_harmless = precondition == Precondition::Any;
    let rule = Rule { retry_for: patience.retry_for, is_harmless };
    let bar = RefCell::new(env.bar(path.name(), source.bytes));
    let resume = !patience.no_resume;
    let limiter = patience.bandwidth().up();
    note_resumable(env, source.bytes, resume);
    let mut waits = |error: &Error, is_first: bool| {
        if is_first {
            bar.borrow().hide_for(|| env.note(&format!("The server is waited for: {error}")));
        }
        true
    };
    persist(connection, rule, &mut waits, &mut |remote, has_got_on| {
        source.rewind()?;
        let mut first = None;
        let mut show = |at: Progress| {
            has_got_on.set(has_got_on.get() || *first.get_or_insert(at.bytes) < at.bytes);
            bar.borrow_mut().show(at);
        };
        let watch = &mut limiter.watch(&mut show);
        send_watched(remote, source, path, precondition, resume, watch)
    })
}

fn note_resumable(env: &Env, bytes: u64, resume: bool) {
    if resume && is_resumable(bytes) {
        env.interrupts().note_resumable();
    }
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
    resume: bool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Sent> {
    let began = Instant::now();
    let (bytes, attributes) = (source.bytes, source.attributes);
    let (stored, resumed) = if resume && is_resumable(bytes) {
        resume::store(remote, source, path, precondition, watch)?
    } else {
        let wanted = ToStore { path, bytes, precondition, attributes, keep: None };
        (remote.store(&wanted, source, watch)?, 0)
    };
    Ok(Sent { path: path.clone(), bytes, stored, took: began.elapsed(), resumed })
}

impl Sent {
    /// For people, with how durable it is.
    pub(crate) fn summary(&self) -> String {
        let nodes = self.stored.nodes;
        let how = pace_of_rest(self.bytes, self.resumed, self.took);
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
               "resumed_bytes": self.resumed, "seconds": self.took.as_secs_f64(), "version": self.stored.version.to_string(),
               "blake3": self.stored.blake3.to_string(), "nodes": self.stored.nodes})
    }
}

/// A retrieval that succeeded.
pub(crate) struct Fetched {
    path: FilePath,
    range: Option<ByteRange>,
    retrieved: Retrieved,
    took: Duration,
    /// So many bytes were there already.
    resumed: u64,
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
    place: Place,
) -> Result<Fetched> {
    let mut bar = None;
    fetch_watched(remote, path, wanted, place, false, &mut |at| {
        bar.get_or_insert_with(|| env.bar(path.name(), at.total)).show(at);
    })
}

/// The same over a connection that may break: then it is waited for, and goes on. `place` makes a place
/// for each try.
///
/// # Errors
/// As [`fetch`].
pub(super) fn fetch_patiently(
    env: &mut Env,
    connection: &mut Connection,
    path: &FilePath,
    wanted: &Selection,
    place: &mut dyn FnMut(&Interrupts) -> Result<Place>,
    patience: Patience,
) -> Result<Fetched> {
    let rule = Rule { retry_for: patience.retry_for, is_harmless: true };
    let resume = !patience.no_resume;
    let limiter = patience.bandwidth().down();
    let interrupts = env.interrupts().clone();
    let mut bar = RefCell::new(None::<Bar>);
    let env = RefCell::new(env);
    let mut waits = |error: &Error, is_first: bool| {
        if !is_first {
            return true;
        }
        let mut env = env.borrow_mut();
        let mut say = || env.note(&format!("The server is waited for: {error}"));
        match &*bar.borrow() {
            Some(bar) => bar.hide_for(say),
            None => say(),
        }
        true
    };
    let fetched = persist(connection, rule, &mut waits, &mut |remote, has_got_on| {
        let place = place(&interrupts)?;
        let mut first = None;
        let mut show = |at: Progress| {
            has_got_on.set(has_got_on.get() || *first.get_or_insert(at.bytes) < at.bytes);
            if resume && wanted.range.is_none() && is_resumable(at.total) {
                interrupts.note_resumable();
            }
            let begin = || env.borrow().bar(path.name(), at.total);
            bar.borrow_mut().get_or_insert_with(begin).show(at);
        };
        let watch = &mut limiter.watch(&mut show);
        fetch_watched(remote, path, wanted, place, resume, watch)
    });
    drop(bar.get_mut().take());
    fetched
}

/// Retrieves into a place, shown by somebody else.
///
/// # Errors
/// As [`fetch`].
pub(super) fn fetch_watched(
    remote: &mut Remote,
    path: &FilePath,
    wanted: &Selection,
    mut place: Place,
    resume: bool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Fetched> {
    let began = Instant::now();
    let range = wanted.range;
    let (retrieved, resumed) = match range {
        None => rest::retrieve(remote, path, &wanted.which, &mut place, resume, watch)?,
        Some(_) => (remote.retrieve(path, wanted, &mut place, watch)?, 0),
    };
    // A part is no copy of the file.
    let attributes = if range.is_none() { retrieved.attributes } else { Default::default() };
    place.keep_with(attributes)?;
    Ok(Fetched { path: path.clone(), range, retrieved, took: began.elapsed(), resumed })
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
    let (range, resumed) = (wanted.range, 0);
    Ok(Fetched { path: path.clone(), range, retrieved, took: began.elapsed(), resumed })
}

impl Fetched {
    /// For people.
    pub(crate) fn summary(&self) -> String {
        let Range { start, end } = self.retrieved.part;
        let how = pace_of_rest(end - start, self.resumed, self.took);
        let what = match self.range {
            None => self.path.to_string(),
            Some(_) if start == end => format!("nothing of {}", self.path),
            Some(_) => format!("bytes {start}-{} of {}", end - 1, self.path),
        };
        format!("Retrieved {what}  {how}  from {}", self.retrieved.nodes)
    }

    /// What is to be said of a link that came as a file.
    pub(crate) fn remark(&self) -> Option<String> {
        let is_link = self.retrieved.attributes.is_link();
        is_link.then(|| "  It is a symbolic link; rtv -r makes it one again.".to_owned())
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
        let kind = self.retrieved.attributes.kind;
        let mut all = json!({"code": 0, "path": rooted(&self.path), "bytes": self.retrieved.bytes,
               "resumed_bytes": self.resumed, "seconds": self.took.as_secs_f64(), "version": self.retrieved.version.to_string(),
               "blake3": self.retrieved.blake3.to_string(),
               "stored_ms": self.retrieved.stored_ms,
               "modified_ms": self.retrieved.attributes.modified_ms,
               "executable": kind.map(|kind| kind == FileKind::Executable), "nodes": nodes});
        if kind == Some(FileKind::Link) {
            all["link"] = json!(true);
        }
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

/// The same where some of it was there before: `62.0 MB in 0.3 s (103.3 MB/s), 31.0 MB were there already`
fn pace_of_rest(bytes: u64, resumed: u64, took: Duration) -> String {
    if resumed == 0 {
        return pace(bytes, took);
    }
    let rest = pace(bytes.saturating_sub(resumed), took);
    format!("{}: {rest}, {} were there already", size(bytes), size(resumed))
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
