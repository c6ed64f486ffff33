//! WebDAV: which verb does what. A path in an address begins where the account's files do, or the folder
//! that a key is for.

use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::{Method, StatusCode};

use super::asked::{Asked, FILES, Outcome, Refusal, Service, missing, path_of};
use super::{Visit, body, empty, set, value};
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{self, Request, Response};
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::meter::Verb;
use crate::core::wire::extended::{Entry, Which};
use crate::core::wire::web::conditions::{self, Verdict};
use crate::core::wire::web::dav::{self as xml, XML_BYTES_MAX};
use crate::core::wire::web::href;
use crate::core::wire::web::if_header::{self, State, StateList};

const VERBS: &str =
    "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK";

impl Visit {
    /// Answers a request for files.
    pub(super) async fn dav(&self, request: Request) -> Response {
        let service = Service { root: FILES, named: named(request.method()), verbs: VERBS };
        self.ask(request, service, Asked::answer).await
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

/// An answer in XML.
pub(super) fn as_xml(status: StatusCode, text: String) -> Response {
    let mut response = http::text(status, text);
    set(&mut response, header::CONTENT_TYPE, "application/xml; charset=utf-8");
    response
}

impl Asked {
    async fn answer(&mut self, body: &mut Incoming) -> Outcome {
        match self.head.method.as_str() {
            "OPTIONS" => self.options(),
            "GET" | "HEAD" => self.read(&Which::Current),
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
            Some(address) => {
                self.own_path(address).and_then(|path| path_of(&self.user, FILES, path).ok())
            }
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
            let told = as_xml(StatusCode::LOCKED, xml::error("lock-token-submitted", &href));
            Refusal::of(StatusCode::LOCKED, Code::Busy, "it is locked").saying(told)
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
        let to = path_of(&self.user, FILES, address)?;
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
