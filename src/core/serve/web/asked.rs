//! A request for files by somebody who has signed in: what every such request has in common, whatever it
//! asks for.

use std::time::Instant;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use hyper::http::request::Parts;

use super::{Told, Visit, body, empty, refused, set, value};
use crate::core::catalog::UserId;
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{Request, Response};
use crate::core::io::listener::Busy;
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::files::{Files, User};
use crate::core::serve::meter::{Entrance, Verb};
use crate::core::types::NodeSet;
use crate::core::wire::extended::{Entry, FileEntry};
use crate::core::wire::web::conditions::{self, Conditions, There, Verdict};
use crate::core::wire::web::href;

/// Where the account's files are, for WebDAV.
pub(super) const FILES: &str = "/dav/";

/// So much of a body is read and thrown away where the request is refused; and of that of a stranger.
const REFUSED_BYTES_MAX: u64 = 64 << 20;
pub(super) const STRANGERS_BYTES_MAX: u64 = 1 << 20;

/// Why a request was not done, and what is answered.
pub(super) struct Refusal {
    /// Why.
    pub(super) error: Error,
    /// With this status; `None` for that of the error.
    status: Option<StatusCode>,
    /// Said so in another form than plain text.
    response: Option<Box<Response>>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { error, status: None, response: None }
    }
}

impl Refusal {
    pub(super) fn of(status: StatusCode, code: Code, text: &str) -> Refusal {
        Refusal { status: Some(status), ..Refusal::from(Error::other(code, text)) }
    }

    pub(super) fn with(self, status: StatusCode) -> Refusal {
        Refusal { status: Some(status), ..self }
    }

    /// The same with this answer, whose status is still that of the refusal.
    pub(super) fn saying(self, response: Response) -> Refusal {
        Refusal { response: Some(Box::new(response)), ..self }
    }

    fn answer(self, verbs: &str) -> Response {
        let own = refused(&self.error);
        let status = self.status.unwrap_or(own.status());
        let mut response = self.response.map_or(own, |response| *response);
        *response.status_mut() = status;
        if status == StatusCode::METHOD_NOT_ALLOWED {
            set(&mut response, header::ALLOW, verbs);
        }
        response
    }
}

/// What a request has come to.
pub(super) struct Done {
    pub(super) response: Response,
    pub(super) bytes: Option<u64>,
    pub(super) nodes: Option<NodeSet>,
    /// It is written into the log when its body has been sent.
    pub(super) is_logged: bool,
}

impl From<Response> for Done {
    fn from(response: Response) -> Done {
        Done { response, bytes: None, nodes: None, is_logged: false }
    }
}

impl From<StatusCode> for Done {
    fn from(status: StatusCode) -> Done {
        empty(status).into()
    }
}

pub(super) type Outcome = std::result::Result<Done, Refusal>;

/// What a part of the web door is for.
pub(super) struct Service<'a> {
    /// Where its paths begin in addresses.
    pub(super) root: &'a str,
    /// What the request is called in the log.
    pub(super) named: (Verb, &'static str),
    /// What can be asked for, for whoever asks for something else.
    pub(super) verbs: &'static str,
}

/// A request for files by somebody who has signed in.
pub(super) struct Asked {
    pub(super) visit: Visit,
    pub(super) user: User,
    pub(super) head: Parts,
    /// What it is about, counted from the account's top folder.
    pub(super) path: FolderPath,
    pub(super) begun: Instant,
    /// A stop of the server waits for it.
    pub(super) busy: Option<Busy<'static>>,
}

impl Visit {
    /// Answers a request for files: looks who asks, has it answered, and logs what has come of it.
    pub(super) async fn ask(
        &self,
        request: Request,
        service: Service<'_>,
        answer: impl AsyncFnOnce(&mut Asked, &mut Incoming) -> Outcome,
    ) -> Response {
        let begun = Instant::now();
        let (head, mut body) = request.into_parts();
        // Who waits to be told so before the body is sent is answered at once.
        let comes_anyway = !head.headers.contains_key(header::EXPECT);
        let user = match self.sign_in(&head) {
            Ok(user) => user,
            Err(response) => {
                if comes_anyway {
                    body::throw_away(&mut body, STRANGERS_BYTES_MAX).await;
                }
                return *response;
            }
        };
        let Some(busy) = self.web.backend.state.begin() else {
            let text = "the server is shutting down, try again later";
            return refused(&Error::other(Code::Temporary, text));
        };
        let path = match path_of(&user, service.root, head.uri.path()) {
            Ok(path) => path,
            Err(error) => return refused(&error),
        };
        let mut asked = Asked { visit: *self, user, head, path, begun, busy: Some(busy) };
        let (verb, what) = service.named;
        let outcome = answer(&mut asked, &mut body).await;
        let file = asked.file();
        let log = |told: Told<'_, ()>| self.log(&asked.user, (verb, what), begun, told);
        match outcome {
            Ok(done) => {
                if !done.is_logged {
                    let (bytes, nodes) = (done.bytes, done.nodes);
                    log(Told { path: file.as_ref().ok(), bytes, nodes, outcome: &Ok(()) });
                }
                done.response
            }
            Err(refusal) => {
                if comes_anyway {
                    body::throw_away(&mut body, REFUSED_BYTES_MAX).await;
                }
                // What a log says of an error is all that is asked of it.
                let failed = Err(Error::other(refusal.error.code(), refusal.error.to_string()));
                if verb == Verb::List && refusal.error.code() == Code::NoSuchFile {
                    // Some programs look for what is not there all the time, which would fill the log.
                    let meter = self.web.backend.meters.at(Entrance::Web);
                    meter.answered(verb, begun.elapsed(), Some(Code::NoSuchFile));
                } else {
                    log(Told::of(file.as_ref().ok(), &failed));
                }
                refusal.answer(service.verbs)
            }
        }
    }
}

impl Asked {
    pub(super) fn files(&self) -> &'static Files {
        self.visit.web.files()
    }

    pub(super) fn account(&self) -> UserId {
        self.user.account.id
    }

    /// The path as that of a file.
    ///
    /// # Errors
    /// [`Error::BadPath`] for the top folder.
    pub(super) fn file(&self) -> Result<FilePath> {
        Ok(FilePath::parse_rooted(self.path.as_str())?)
    }

    /// A path as the user sees it: from the folder on that a key is for.
    pub(super) fn seen(&self, path: &FolderPath) -> FolderPath {
        let top = &self.user.rights().folder;
        let seen = path.as_str().strip_prefix(top.as_str()).unwrap_or_default();
        // It was a path with more in front.
        FolderPath::parse_rooted(seen).unwrap_or_default()
    }

    /// The address at which a program for WebDAV finds what is at a path.
    pub(super) fn href(&self, path: &FolderPath, is_folder: bool) -> String {
        href::encode(FILES, &self.seen(path), is_folder)
    }

    /// What is at a path; `None` if there is nothing.
    pub(super) fn look(&self, path: &FolderPath) -> Result<Option<Entry>> {
        match self.files().look(&self.user, path) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The verdict over the conditions of HTTP.
    pub(super) fn verdict(&self, entry: Option<&Entry>, is_read: bool) -> Verdict {
        let tag;
        let there = match entry {
            None => None,
            Some(Entry::Folder(_)) => Some(There { tag: "", modified_ms: None }),
            Some(Entry::File(file)) => {
                tag = conditions::tag_of(file.version);
                Some(There { tag: &tag, modified_ms: Some(modified_ms(file)) })
            }
        };
        self.conditions().judge(there, is_read)
    }

    pub(super) fn conditions(&self) -> Conditions {
        Conditions::of(|name| value(&self.head, name))
    }
}

/// When a file was last changed, in milliseconds since 1970.
pub(super) fn modified_ms(file: &FileEntry) -> i64 {
    file.attributes.modified_ms.unwrap_or(file.stored_ms)
}

pub(super) fn missing(path: &FolderPath) -> Error {
    Error::other(Code::NoSuchFile, format!("there is nothing at /{path}"))
}

/// The path that an address names, counted from the account's top folder. The address counts from the
/// folder that a key is for.
pub(super) fn path_of(user: &User, root: &str, address: &str) -> Result<FolderPath> {
    let seen = match address.strip_prefix(root) {
        Some(seen) => href::decode(seen)?,
        None if address == root.trim_end_matches('/') => FolderPath::top(),
        None => return Err(Error::Protocol(format!("the address is not in {root}"))),
    };
    let top = &user.rights().folder;
    match (top.is_top(), seen.is_top()) {
        (true, _) => Ok(seen),
        (_, true) => Ok(top.clone()),
        _ => Ok(FolderPath::parse(&format!("{}/{}", top.as_str(), seen.as_str()))?),
    }
}
