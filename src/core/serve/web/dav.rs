//! WebDAV: which verb does what. A path in an address begins where the account's files do, or the folder
//! that a key is for.

use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::{Told, Visit, body, empty, refused, set, value};
use crate::core::catalog::UserId;
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{self, Request, Response};
use crate::core::io::listener::Busy;
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::files::{Files, User};
use crate::core::serve::meter::{Entrance, Verb};
use crate::core::types::NodeSet;
use crate::core::wire::extended::{Entry, FileEntry};
use crate::core::wire::web::conditions::{self, Conditions, There, Verdict};
use crate::core::wire::web::dav::{self as xml, XML_BYTES_MAX};
use crate::core::wire::web::href;
use crate::core::wire::web::if_header::{self, State, StateList};

/// Where the files begin.
pub(super) const ROOT: &str = "/dav/";

const VERBS: &str =
    "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK";

/// So much of a body is read and thrown away where the request is refused; and of that of a stranger.
const REFUSED_BYTES_MAX: u64 = 64 << 20;
const STRANGERS_BYTES_MAX: u64 = 1 << 20;

/// Why a request was not done, and what is answered.
pub(super) struct Refusal {
    /// Why.
    pub(super) error: Error,
    /// With this status; `None` for that of the error.
    status: Option<StatusCode>,
    /// Said so in XML.
    xml: Option<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { error, status: None, xml: None }
    }
}

impl Refusal {
    pub(super) fn of(status: StatusCode, code: Code, text: &str) -> Refusal {
        Refusal { status: Some(status), ..Refusal::from(Error::other(code, text)) }
    }

    pub(super) fn with(self, status: StatusCode) -> Refusal {
        Refusal { status: Some(status), ..self }
    }

    pub(super) fn saying(self, xml: String) -> Refusal {
        Refusal { xml: Some(xml), ..self }
    }

    fn answer(self) -> Response {
        let mut response = refused(&self.error);
        if let Some(xml) = self.xml {
            response = as_xml(StatusCode::OK, xml);
        }
        if let Some(status) = self.status {
            *response.status_mut() = status;
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            set(&mut response, header::ALLOW, VERBS);
        }
        response
    }
}

/// What a verb has come to.
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
    /// Answers a request for files.
    pub(super) async fn dav(&self, request: Request) -> Response {
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
        let path = match path_of(&user, head.uri.path()) {
            Ok(path) => path,
            Err(error) => return refused(&error),
        };
        let mut asked = Asked { visit: *self, user, head, path, begun, busy: Some(busy) };
        let (verb, what) = named(&asked.head.method);
        let outcome = asked.answer(&mut body).await;
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
                refusal.answer()
            }
        }
    }
}

/// What a verb is called in the log.
fn named(method: &Method) -> (Verb, &'static str) {
    match method.as_str() {
        "GET" => (Verb::Retrieve, "retrieved"),
        "PUT" => (Verb::Store, "stored"),
        "DELETE" => (Verb::Delete, "deleted"),
        "MKCOL" => (Verb::MakeFolder, "folder made"),
        "MOVE" => (Verb::Move, "moved"),
        "COPY" => (Verb::Copy, "copied"),
        "PROPPATCH" => (Verb::Attributes, "properties set"),
        "LOCK" => (Verb::Attributes, "locked"),
        "UNLOCK" => (Verb::Attributes, "unlocked"),
        _ => (Verb::List, "listed"),
    }
}

/// The path that an address names, counted from the account's top folder.
fn path_of(user: &User, address: &str) -> Result<FolderPath> {
    let seen = match address.strip_prefix(ROOT) {
        Some(seen) => href::decode(seen)?,
        None if address == ROOT.trim_end_matches('/') => FolderPath::top(),
        None => return Err(Error::Protocol(format!("the address is not in {ROOT}"))),
    };
    let top = &user.rights().folder;
    match (top.is_top(), seen.is_top()) {
        (true, _) => Ok(seen),
        (_, true) => Ok(top.clone()),
        _ => Ok(FolderPath::parse(&format!("{}/{}", top.as_str(), seen.as_str()))?),
    }
}

/// An answer in XML.
pub(super) fn as_xml(status: StatusCode, text: String) -> Response {
    let mut response = http::text(status, text);
    set(&mut response, header::CONTENT_TYPE, "application/xml; charset=utf-8");
    response
}

pub(super) fn modified_ms(file: &FileEntry) -> i64 {
    file.attributes.modified_ms.unwrap_or(file.stored_ms)
}

impl Asked {
    async fn answer(&mut self, body: &mut Incoming) -> Outcome {
        match self.head.method.as_str() {
            "OPTIONS" => self.options(),
            "GET" | "HEAD" => self.read(),
            "PUT" => self.put(body).await,
            "DELETE" => self.delete(),
            "MKCOL" => self.make_folder(body).await,
            "MOVE" | "COPY" => self.relocate(),
            "PROPFIND" => {
                let body = body::short(body, XML_BYTES_MAX).await?;
                self.propfind(&body)
            }
            "PROPPATCH" => {
                let body = body::short(body, XML_BYTES_MAX).await?;
                self.proppatch(&body)
            }
            "LOCK" => {
                let body = body::short(body, XML_BYTES_MAX).await?;
                self.lock(&body)
            }
            "UNLOCK" => self.unlock(),
            _ => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Err(Refusal::of(status, Code::Usage, "there is no such verb here"))
            }
        }
    }

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

    /// The address under which the user sees a path.
    pub(super) fn href(&self, path: &FolderPath, is_folder: bool) -> String {
        let top = &self.user.rights().folder;
        let seen = path.as_str().strip_prefix(top.as_str()).unwrap_or_default();
        // It was a path with more in front.
        let seen = FolderPath::parse_rooted(seen).unwrap_or_default();
        href::encode(ROOT, &seen, is_folder)
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

    /// Looks at the conditions of HTTP and of WebDAV, for something that is to be changed. Gives the tokens
    /// of the locks that the program knows.
    pub(super) fn check(&self, entry: Option<&Entry>) -> std::result::Result<Vec<String>, Refusal> {
        let failed = |text| Refusal::of(StatusCode::PRECONDITION_FAILED, Code::Changed, text);
        if self.verdict(entry, false) != Verdict::Met {
            return Err(failed("what is there is not what the request expects"));
        }
        let Some(text) = value(&self.head, "if") else { return Ok(Vec::new()) };
        let lists = if_header::decode(text)?;
        for list in &lists {
            if self.holds(list)? {
                return Ok(if_header::tokens(&lists).map(str::to_owned).collect());
            }
        }
        Err(failed("nothing of what the request expects is so"))
    }

    fn holds(&self, list: &StateList) -> Result<bool> {
        let path = match &list.about {
            None => Some(self.path.clone()),
            Some(address) => self.own_path(address).and_then(|path| path_of(&self.user, path).ok()),
        };
        let Some(path) = path else { return Ok(false) };
        for condition in &list.conditions {
            let is_so = match &condition.state {
                State::Token(token) => {
                    let locks = self.visit.web.locks.covering(self.account(), &path);
                    locks.iter().any(|lock| lock.token == *token)
                }
                State::Tag(tag) => match self.look(&path)? {
                    Some(Entry::File(file)) => conditions::tag_of(file.version) == *tag,
                    _ => false,
                },
            };
            if is_so == condition.is_not {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The path of an address, if it is one of this server.
    fn own_path<'a>(&self, address: &'a str) -> Option<&'a str> {
        let (host, path) = href::split(address)?;
        let own = value(&self.head, "host");
        let is_own = host.is_none_or(|host| own.is_some_and(|own| own.eq_ignore_ascii_case(host)));
        is_own.then_some(path)
    }

    /// Refuses to change what is locked, if the program does not know the lock.
    pub(super) fn guard(
        &self,
        path: &FolderPath,
        is_deep: bool,
        tokens: &[String],
    ) -> std::result::Result<(), Refusal> {
        let locks = &self.visit.web.locks;
        locks.guard(self.account(), path, is_deep, tokens).map_err(|locked| {
            let href = format!("<D:href>{}</D:href>", xml::escaped(&self.href(&locked, false)));
            Refusal::of(StatusCode::LOCKED, Code::Busy, "it is locked")
                .saying(xml::error("lock-token-submitted", &href))
        })
    }

    /// The same for a name that comes or goes: that is a change of the folder as well.
    pub(super) fn guard_name(
        &self,
        path: &FolderPath,
        tokens: &[String],
    ) -> std::result::Result<(), Refusal> {
        self.guard(path, true, tokens)?;
        match path.split() {
            Some((above, _)) => self.guard(&above, false, tokens),
            None => Ok(()),
        }
    }

    /// Refuses a path in no folder that is there.
    pub(super) fn check_above(&self, path: &FolderPath) -> std::result::Result<(), Refusal> {
        let Some((above, _)) = path.split() else { return Ok(()) };
        if !self.user.rights().reach(&above) {
            // The folder that a key is for; what is above it is not for the key to see.
            return Ok(());
        }
        match self.look(&above)? {
            Some(Entry::Folder(_)) => Ok(()),
            _ => Err(Refusal::from(Error::NoSuchFolder(above)).with(StatusCode::CONFLICT)),
        }
    }

    fn options(&self) -> Outcome {
        let mut response = empty(StatusCode::OK);
        set(&mut response, header::ALLOW, VERBS);
        set(&mut response, HeaderName::from_static("dav"), "1, 2");
        // Windows mounts nothing without it.
        set(&mut response, HeaderName::from_static("ms-author-via"), "DAV");
        Ok(response.into())
    }

    fn delete(&self) -> Outcome {
        let entry = self.look(&self.path)?;
        let tokens = self.check(entry.as_ref())?;
        if self.head.uri.query().is_some() {
            return Err(
                Error::Protocol("an address with more than a path deletes nothing".into()).into()
            );
        }
        let entry = entry.ok_or_else(|| missing(&self.path))?;
        self.guard_name(&self.path, &tokens)?;
        match entry {
            Entry::File(file) => self.files().delete(&self.user, &file.path)?,
            Entry::Folder(folder) => {
                // All of it, whatever this says.
                if self.depth().is_some_and(|depth| depth != Depth::Infinity) {
                    return Err(Error::Protocol("a folder is deleted with all in it".into()).into());
                }
                self.files().remove_folder(&self.user, &folder, true).map(drop)?;
            }
        }
        self.visit.web.locks.gone(self.account(), &self.path);
        Ok(StatusCode::NO_CONTENT.into())
    }

    async fn make_folder(&self, body: &mut Incoming) -> Outcome {
        if http::next_part(body).await?.is_some() {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::of(status, Code::Usage, "a folder is made of nothing"));
        }
        let entry = self.look(&self.path)?;
        let tokens = self.check(entry.as_ref())?;
        if entry.is_some() {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Err(Refusal::of(status, Code::Exists, "there is something of this name"));
        }
        self.check_above(&self.path)?;
        self.guard_name(&self.path, &tokens)?;
        self.files().make_folder(&self.user, &self.path, false)?;
        Ok(StatusCode::CREATED.into())
    }

    /// `MOVE` and `COPY`.
    fn relocate(&self) -> Outcome {
        let is_move = self.head.method.as_str() == "MOVE";
        let destination = value(&self.head, "destination");
        let destination = destination
            .ok_or_else(|| Error::Protocol("it is not said where to (Destination)".into()))?;
        let Some(address) = self.own_path(destination) else {
            let text = "the destination is on another server than the one that is named in Host";
            return Err(Refusal::of(StatusCode::BAD_GATEWAY, Code::NotAllowed, text));
        };
        let to = path_of(&self.user, address)?;
        let replace = match value(&self.head, "overwrite").map(str::trim) {
            None | Some("T" | "t") => true,
            Some("F" | "f") => false,
            Some(_) => return Err(Error::Protocol("Overwrite is T or F".into()).into()),
        };
        let entry = self.look(&self.path)?;
        let tokens = self.check(entry.as_ref())?;
        let entry = entry.ok_or_else(|| missing(&self.path))?;
        let to_file = FilePath::parse_rooted(to.as_str()).map_err(Error::from)?;
        let from = self.file()?;
        let is_shallow = match self.depth() {
            None | Some(Depth::Infinity) => false,
            Some(Depth::Zero) if !is_move => true,
            Some(_) => return Err(Error::Protocol("Depth is infinity here".into()).into()),
        };
        if from == to_file {
            let status = StatusCode::FORBIDDEN;
            return Err(Refusal::of(status, Code::NotAllowed, "it is there already"));
        }
        self.check_above(&to)?;
        let there = self.look(&to)?;
        if there.is_some() && !replace {
            let status = StatusCode::PRECONDITION_FAILED;
            return Err(Refusal::of(status, Code::Exists, "there is something of this name"));
        }
        if is_move {
            self.guard_name(&self.path, &tokens)?;
        }
        self.guard_name(&to, &tokens)?;
        let replaced = if is_move {
            self.files().move_exactly(&self.user, &from, &to_file, replace)?
        } else {
            let is_shallow = is_shallow && matches!(entry, Entry::Folder(_));
            self.files().copy_exactly(&self.user, &from, &to_file, [!is_shallow, replace])?
        };
        if is_move {
            self.visit.web.locks.gone(self.account(), &self.path);
        }
        let status = if replaced { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
        Ok(status.into())
    }

    pub(super) fn depth(&self) -> Option<Depth> {
        match value(&self.head, "depth")?.trim() {
            "0" => Some(Depth::Zero),
            "1" => Some(Depth::One),
            text if text.eq_ignore_ascii_case("infinity") => Some(Depth::Infinity),
            _ => Some(Depth::Unknown),
        }
    }
}

/// How far a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    Zero,
    One,
    Infinity,
    Unknown,
}

pub(super) fn missing(path: &FolderPath) -> Error {
    Error::other(Code::NoSuchFile, format!("there is nothing at /{path}"))
}
