//! Decides whether pairs are the same, by reading local files where nothing else decides: several at a
//! time, and told in the order in which the pairs came.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::super::local::Source;
use super::compare::{By, Glance, Item, LocalFile, Pair, StoredFile, glance};
use super::sides::local_path;
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;
use crate::core::remote::Digester;
use crate::core::types::Digest;

/// So many pairs at most wait for those before them to be told.
const WAITING_MAX: usize = 1024;

/// What has come of a comparison at one path.
#[derive(Debug)]
pub(super) enum Verdict {
    Here(Item<LocalFile>),
    There(Item<StoredFile>),
    /// Files of the same bytes.
    Same,
    Folders,
    /// Files of the same bytes that differ in their times.
    OnlyTime(String, LocalFile, StoredFile),
    Different(String, LocalFile, StoredFile),
    /// The local file could not be read.
    Unreadable(String, Error),
}

/// Tells what comes of each pair, in their order.
///
/// # Errors
/// The first of the pairs, with what could not be done; the first of `tell`.
pub(super) fn judge(
    pairs: impl Iterator<Item = Result<Pair>>,
    by: By,
    root: &Path,
    failed: &dyn Fn(&Error) -> Stop,
    tell: &mut dyn FnMut(Verdict) -> std::result::Result<(), Stop>,
) -> std::result::Result<(), Stop> {
    let readers = thread::available_parallelism().map_or(1, usize::from);
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let (ask, asked) = unbounded();
        for _ in 0..readers {
            let asked = asked.clone();
            scope.spawn(move || read_all(&asked, is_over));
        }
        let mut waiting = VecDeque::new();
        let told = pairs
            .map(|pair| pair.map_err(|error| failed(&error)))
            .try_for_each(|pair| {
                waiting.push_back(look(pair?, by, root, &ask));
                match waiting.len() {
                    WAITING_MAX.. => waiting.pop_front().map_or(Ok(()), |own| tell(own.settle())),
                    _ => Ok(()),
                }
            })
            .and_then(|()| waiting.drain(..).try_for_each(|own| tell(own.settle())));
        is_over.store(true, Ordering::Relaxed);
        told
    })
}

/// A local file that is to be read, and who wants to know.
struct Question {
    path: PathBuf,
    is_link: bool,
    answer: Sender<Result<Digest>>,
}

/// A verdict, or what it waits for.
enum Waiting {
    Settled(Verdict),
    Reading { path: String, here: LocalFile, there: StoredFile, answer: Receiver<Result<Digest>> },
}

fn look(pair: Pair, by: By, root: &Path, ask: &Sender<Question>) -> Waiting {
    let (path, here, there) = match pair {
        Pair::Here(item) => return Waiting::Settled(Verdict::Here(item)),
        Pair::There(item) => return Waiting::Settled(Verdict::There(item)),
        Pair::Folders(_) => return Waiting::Settled(Verdict::Folders),
        Pair::Files(path, here, there) => (path, here, there),
    };
    match glance(&here, &there, by) {
        Glance::Same => Waiting::Settled(Verdict::Same),
        Glance::Different => Waiting::Settled(Verdict::Different(path, here, there)),
        Glance::Digest => {
            let (sender, answer) = bounded(1);
            // A question that nobody takes is one that nobody answers.
            let _ = ask.send(Question {
                path: local_path(root, &path),
                is_link: here.is_link,
                answer: sender,
            });
            Waiting::Reading { path, here, there, answer }
        }
    }
}

impl Waiting {
    fn settle(self) -> Verdict {
        let (path, here, there, answer) = match self {
            Waiting::Settled(verdict) => return verdict,
            Waiting::Reading { path, here, there, answer } => (path, here, there, answer),
        };
        let nobody = || Err(Error::other(Code::Interrupted, "it was not read to its end"));
        match answer.recv().unwrap_or_else(|_| nobody()) {
            Err(error) => Verdict::Unreadable(path, error),
            Ok(digest) if digest != there.blake3 => Verdict::Different(path, here, there),
            Ok(_) if here.modified_ms == there.modified_ms => Verdict::Same,
            Ok(_) => Verdict::OnlyTime(path, here, there),
        }
    }
}

fn read_all(asked: &Receiver<Question>, is_over: &AtomicBool) {
    for Question { path, is_link, answer } in asked {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        // Whoever asked may not wait any more.
        let _ = answer.send(digest_of(&path, is_link, is_over));
    }
}

/// The digest of a file that nobody changes meanwhile.
fn digest_of(path: &Path, is_link: bool, is_over: &AtomicBool) -> Result<Digest> {
    let mut digester = Digester::default();
    let source = if is_link { Source::of_link(path)? } else { Source::regular(path)? };
    digester
        .read(&mut Unless { is_over, source })
        .map_err(|error| Error::other(Code::LocalFile, reason(&error)))?;
    Ok(digester.digest())
}

/// A file that is read unless nobody wants to know any more.
struct Unless<'a> {
    is_over: &'a AtomicBool,
    source: Source,
}

impl Read for Unless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.is_over.load(Ordering::Relaxed) {
            true => Err(io::Error::other("nobody wants to know any more")),
            false => self.source.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::compare::Kind;
    use super::*;
    use crate::core::types::VersionId;

    fn told(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Here(item) => format!("< {}", item.path),
            Verdict::There(item) => format!("> {}", item.path),
            Verdict::Same => "=".into(),
            Verdict::Folders => "/".into(),
            Verdict::OnlyTime(path, ..) => format!("t {path}"),
            Verdict::Different(path, ..) => format!("~ {path}"),
            Verdict::Unreadable(path, error) => format!("! {path}: {error}"),
        }
    }

    fn stored(content: &str) -> StoredFile {
        let mut digester = Digester::default();
        digester.update(content.as_bytes());
        let bytes = content.len() as u64;
        let (version, blake3) = (VersionId([1; 16]), digester.digest());
        StoredFile { bytes, modified_ms: Some(5), is_link: false, version, blake3 }
    }

    #[test]
    fn verdicts_come_in_the_order_of_the_pairs_and_files_are_read_only_where_they_have_to_be() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("large"), vec![b'x'; 3_000_000]).unwrap();
        fs::write(folder.path().join("small"), "new").unwrap();
        let here = |bytes, modified_ms| LocalFile {
            bytes,
            modified_ms: Some(modified_ms),
            is_link: false,
        };
        let pairs = || {
            let large = stored(&"x".repeat(3_000_000));
            let gone = Kind::File(here(1, 1));
            [
                Pair::Files("large".into(), here(3_000_000, 6), large),
                Pair::Files("small".into(), here(3, 6), stored("old")),
                Pair::Files("small".into(), here(4, 5), stored("old")),
                Pair::Files("missing".into(), here(3, 5), stored("old")),
                Pair::Folders("a".into()),
                Pair::Here(Item { path: "b".into(), kind: gone }),
                Pair::There(Item { path: "c".into(), kind: Kind::Folder { is_empty: true } }),
            ]
        };
        let run = |by| {
            let failed = |error: &Error| -> Stop { panic!("{error}") };
            let mut all = Vec::new();
            let pairs = pairs().into_iter().map(Ok);
            judge(pairs, by, folder.path(), &failed, &mut |verdict| {
                all.push(told(&verdict));
                Ok(())
            })
            .unwrap();
            all
        };
        let rest = ["/", "< b", "> c"];
        let by_time = ["t large", "~ small", "~ small", "="];
        assert_eq!(run(By::Time), [&by_time[..], &rest].concat());
        let by_digest = ["t large", "~ small", "~ small", "! missing: no such file or folder"];
        assert_eq!(run(By::Digest), [&by_digest[..], &rest].concat());
    }

    #[test]
    fn a_stop_ends_it_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "new").unwrap();
        let here = LocalFile { bytes: 3, modified_ms: None, is_link: false };
        let pairs = (0..5000).map(|_| Ok(Pair::Files("f".into(), here.clone(), stored("old"))));
        let mut count = 0;
        let failed = |error: &Error| -> Stop { panic!("{error}") };
        let stopped = judge(pairs, By::Digest, folder.path(), &failed, &mut |_| {
            count += 1;
            if count == 3 { Err(Stop::ReaderGone) } else { Ok(()) }
        });
        assert!(matches!(stopped, Err(Stop::ReaderGone)));
        assert_eq!(count, 3);
    }
}
