//! `GET` and `HEAD`: a file, all of it or a part; of a folder the names of what is in it.

use std::time::Instant;

use hyper::body::Bytes;
use hyper::header::{self, HeaderName};
use hyper::{Method, StatusCode};

use super::asked::{Asked, Done, Outcome, Refusal, missing, modified_ms};
use super::{Told, Visit, empty, set, value};
use crate::core::catalog::Scope;
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{self, Content, Response};
use crate::core::io::listener::Busy;
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::files::User;
use crate::core::serve::meter::Verb;
use crate::core::serve::retrieve::Retrieve;
use crate::core::types::{FileAttributes, NodeSet};
use crate::core::wire::extended::history::VersionFacts;
use crate::core::wire::extended::{Entry, FileEntry, Which};
use crate::core::wire::web::conditions::{self, There, Verdict};
use crate::core::wire::web::date;

/// So often a file is looked at again that changes between a look and the reading.
const TRIES: usize = 5;

/// How many entries of a folder are looked at in one go.
pub(super) const PAGE: usize = 256;

/// What a file is said to be, by the end of its name. Nothing that a browser would run; the rest is bytes.
const KINDS: [(&str, &str); 22] = [
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/plain; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("wav", "audio/wav"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
];

/// What a file of this name is said to be.
pub(super) fn kind_of(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    let found = KINDS.iter().find(|(own, _)| own.eq_ignore_ascii_case(end));
    found.map_or("application/octet-stream", |(_, kind)| kind)
}

impl Asked {
    /// `GET` and `HEAD` of what a path is or was.
    pub(super) fn read(&mut self, which: &Which) -> Outcome {
        for _ in 0..TRIES {
            let entry = self.look_which(which)?;
            let verdict = self.verdict(entry.as_ref(), true);
            let entry = entry.ok_or_else(|| missing(&self.path))?;
            let file = match entry {
                Entry::Folder(folder) => return self.read_folder(folder),
                Entry::File(file) => file,
            };
            match verdict {
                Verdict::Met => {}
                Verdict::Failed => {
                    let status = StatusCode::PRECONDITION_FAILED;
                    return Err(Refusal::of(status, Code::Changed, "it is another version now"));
                }
                Verdict::NotModified => {
                    let mut response = empty(StatusCode::NOT_MODIFIED);
                    tell_state(&mut response, &file);
                    return Ok(response.into());
                }
            }
            let tag = conditions::tag_of(file.version);
            let there = There { tag: &tag, modified_ms: Some(modified_ms(&file)) };
            let range = value(&self.head, "range");
            let range = conditions::range(range, value(&self.head, "if-range"), there);
            let part = match range.map(|range| range.within(file.bytes)) {
                None => None,
                Some(Ok(part)) if part.start < part.end => Some(part),
                Some(_) => return Ok(unsatisfied(&file).into()),
            };
            if self.head.method == Method::HEAD {
                let whole = 0..file.bytes;
                let bytes = part.as_ref().unwrap_or(&whole);
                let length = bytes.end - bytes.start;
                // hyper sends the length and never asks for the bytes.
                let content = Content::parts(Some(length), || Ok(None));
                return Ok(found(&file, content, part.is_some().then(|| bytes.clone())).into());
            }
            let retrieve = self.files().retrieve_which(&self.user, &file.path, which, range)?;
            if retrieve.version != file.version {
                continue;
            }
            return Ok(self.send(&file, retrieve, part.is_some()));
        }
        let text = format!("/{} changes all the time", self.path);
        Err(Error::other(Code::Temporary, text).into())
    }

    /// What is at the path, or was.
    fn look_which(&self, which: &Which) -> Result<Option<Entry>> {
        match which {
            Which::Current => self.look(&self.path),
            Which::At(when) => self.files().look_at(&self.user, &self.path, when).map(Some),
            Which::Version(digits) => {
                let path = self.file()?;
                let versions = self.files().versions(&self.user, &path)?;
                let facts = versions.into_iter().filter_map(|version| version.file);
                let found =
                    facts.into_iter().find(|own| own.version.to_string().starts_with(digits));
                Ok(found.map(|own| {
                    let VersionFacts { version, bytes, blake3, stored_ms, .. } = own;
                    let (placed, attributes) = (NodeSet::ALL, FileAttributes::default());
                    Entry::File(FileEntry {
                        path,
                        bytes,
                        stored_ms,
                        version,
                        blake3,
                        placed,
                        attributes,
                    })
                }))
            }
        }
    }

    fn send(&mut self, file: &FileEntry, retrieve: Retrieve<'static>, is_part: bool) -> Done {
        let part = retrieve.part.clone();
        let mut sending = Sending {
            visit: self.visit,
            user: self.user.clone(),
            path: file.path.clone(),
            begun: self.begun,
            retrieve,
            second: None,
            read: 0,
            is_logged: false,
            _busy: self.busy.take(),
        };
        let content = Content::parts(Some(part.end - part.start), move || sending.next());
        let response = found(file, content, is_part.then_some(part));
        Done { is_logged: true, ..Done::from(response) }
    }

    /// The names of what is in a folder, one a line: for whoever has nothing but a browser or `curl`.
    fn read_folder(&mut self, folder: FolderPath) -> Outcome {
        let (files, user) = (self.files(), self.user.clone());
        let busy = self.busy.take();
        let mut after: Option<Entry> = None;
        let content = Content::parts(None, move || {
            let _ = &busy;
            let page = files.page(&user, &folder, Scope::Children, after.as_ref(), PAGE)?;
            let mut text = String::new();
            for entry in &page {
                match entry {
                    Entry::File(file) => text.push_str(file.path.name()),
                    Entry::Folder(path) => {
                        text.push_str(path.split().map_or("", |(_, name)| name));
                        text.push('/');
                    }
                }
                text.push('\n');
            }
            after = page.into_iter().last();
            Ok(after.is_some().then(|| Bytes::from(text)))
        });
        let mut response = Response::new(content);
        set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
        Ok(response.into())
    }
}

/// The state of a file, which conditions are about.
fn tell_state(response: &mut Response, file: &FileEntry) {
    set(response, header::ETAG, &conditions::tag_of(file.version));
    set(response, header::LAST_MODIFIED, &date::http(modified_ms(file)));
    set(response, header::ACCEPT_RANGES, "bytes");
    set(response, header::CACHE_CONTROL, "no-cache");
}

fn unsatisfied(file: &FileEntry) -> Response {
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let mut response = http::text(status, "the file has no byte of the range\n");
    set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", file.bytes));
    response
}

/// The file, or these bytes of it.
fn found(file: &FileEntry, content: Content, part: Option<std::ops::Range<u64>>) -> Response {
    let mut response = Response::new(content);
    if let Some(part) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, file.bytes);
        set(&mut response, header::CONTENT_RANGE, &range);
    }
    tell_state(&mut response, file);
    let kind = kind_of(file.path.name());
    set(&mut response, header::CONTENT_TYPE, kind);
    if kind == "application/octet-stream" {
        set(&mut response, header::CONTENT_DISPOSITION, "attachment");
    }
    set(&mut response, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    response
}

/// A file on its way to a client.
struct Sending {
    visit: Visit,
    user: User,
    path: FilePath,
    begun: Instant,
    retrieve: Retrieve<'static>,
    /// The second of the two parts that were read.
    second: Option<Bytes>,
    /// How much has been read.
    read: u64,
    is_logged: bool,
    _busy: Option<Busy<'static>>,
}

impl Sending {
    fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(second) = self.second.take() {
            return Ok(Some(second));
        }
        let read = self.retrieve.next_part().map(|parts| {
            parts.map(|[first, second]| {
                self.read += (first.len() + second.len()) as u64;
                let bytes = |part: &[u8]| (!part.is_empty()).then(|| Bytes::copy_from_slice(part));
                (bytes(first), bytes(second))
            })
        });
        match read {
            Ok(None) => {
                self.log(&Ok(()));
                Ok(None)
            }
            Ok(Some((Some(first), second))) => {
                self.second = second;
                Ok(Some(first))
            }
            Ok(Some((None, second))) => Ok(second),
            Err(error) => {
                let told = Err(error);
                self.log(&told);
                told.map(|()| None)
            }
        }
    }

    fn log(&mut self, outcome: &Result<()>) {
        if std::mem::replace(&mut self.is_logged, true) {
            return;
        }
        let bytes = self.retrieve.part.end - self.retrieve.part.start;
        let (path, nodes) = (Some(&self.path), Some(self.retrieve.used()));
        let told = Told { path, bytes: Some(bytes), nodes, outcome };
        self.visit.log(&self.user, (Verb::Retrieve, "retrieved"), self.begun, told);
    }
}

impl Drop for Sending {
    /// The last bytes of a known length are followed by no further question.
    fn drop(&mut self) {
        let part = &self.retrieve.part;
        let is_whole = self.second.is_none() && self.read == part.end - part.start;
        let outcome = match is_whole {
            true => Ok(()),
            false => Err(Error::Closed("before the file was sent".into())),
        };
        self.log(&outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_browser_would_run_is_called_so() {
        for name in ["a.html", "a.svg", "a.xml", "a.js", "a.xhtml", "a", ".png.html", "a.HTM"] {
            assert_eq!(kind_of(name), "application/octet-stream", "{name}");
        }
        assert_eq!(kind_of("a.b.PNG"), "image/png");
        for (_, kind) in KINDS {
            assert!(!kind.contains("html") && !kind.contains("xml") && !kind.contains("script"));
        }
    }
}
