//! The web door: HTTP/1.1 for people with a browser, for programs that speak WebDAV, and for whoever asks how
//! the server is.
//!
//! ```text
//!   /health               how the server is; nobody has to sign in
//!   /dav/                 the account's files, by WebDAV (RFC 4918, classes 1 and 2)
//!   /files/               the page of a folder          /status    that of the cluster
//!   /sign-in  /sign-out   with a cookie from then on; programs show user and password by `Basic`
//!   /api/                 what the page's script asks for besides WebDAV
//! ```
//!
//! Invariants:
//! - Nothing plain is answered to another machine, unless the server was told to; what a client has sent
//!   by then it has sent, but it learns so.
//! - Every request for files is signed in by itself, and looked at anew: a key that is deleted or a password
//!   that is changed counts from the next request on.
//! - What is done is done through the facade, in one change each. A body that breaks off leaves nothing.
//! - A user's file is never given as something that a browser would run as this server's own.

mod api;
mod asked;
mod body;
mod dav;
mod files;
mod listing;
mod lock;
mod locks;
mod page;
mod past;
mod properties;
mod put;
mod session;
mod sign_in;
mod status;
mod uploads;
mod zip;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use self::api::API;
use self::asked::FILES;
use self::locks::Locks;
use self::page::{FOLDERS, STATUS};
use self::session::Passing;
use self::sign_in::Remembered;
use crate::core::catalog::accounts::HASHES_WAITING_MAX;
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{self, Handler, Limits, Request, Response};
use crate::core::io::listener::{Listener, Most, State, TooMany, files_max};
use crate::core::io::monitor::Health;
use crate::core::io::net::{Deadline, Stream};
use crate::core::path::FilePath;
use crate::core::serve::audit::Event;
use crate::core::serve::encryption::{Encryption, Spoken};
use crate::core::serve::files::{Files, User};
use crate::core::serve::limits::NETWORK_CLIENTS_MAX;
use crate::core::serve::meter::{Entrance, Meters, Verb};
use crate::core::serve::operator::Operator;

/// The most connections at once, if the system lets this process have enough files. A browser opens six.
const CONNECTIONS_MAX: usize = 400;

/// The most of them from one address (see `io::listener::network_of`).
const NETWORK_CONNECTIONS_MAX: usize = 50;

const _: () = assert!(NETWORK_CONNECTIONS_MAX * 4 <= CONNECTIONS_MAX);
// One address alone cannot fill the line of those who wait for their password to be checked.
const _: () = assert!(NETWORK_CLIENTS_MAX + NETWORK_CONNECTIONS_MAX < HASHES_WAITING_MAX);

/// Of the files that this process may have, connections here take at most this share.
const FILES_SHARE: usize = 8;

/// What a client may take of time.
const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    // A program names the locks that it has, and each takes some 60 bytes.
    header_bytes: 16 << 10,
    header: Duration::from_secs(20),
    body: Duration::from_secs(60),
    // Of the largest file over a slow line.
    total: Duration::from_secs(24 * 3600),
    idle: Duration::from_secs(90),
};

const _: () = assert!(LIMITS.are_sound());

/// Until the first byte, which says whether the client encrypts.
const FIRST: Deadline = Deadline::new(Duration::from_secs(20), "ask for anything");

/// A client that is turned away is told so at once.
const TURN_AWAY: Deadline = Deadline::new(Duration::from_millis(200), "take its answer");

/// What a client is told that may not speak plain text.
const ENCRYPT: &str =
    "plain HTTP is only taken from this machine itself: use https:// in place of http://\n";

/// The web door, open and not served yet.
pub struct Door {
    listener: Listener,
}

/// What it leads to.
pub struct Backend {
    /// The files behind it.
    pub files: Arc<Files>,
    /// The server's state, for an orderly end.
    pub state: Arc<State>,
    /// What clients may speak.
    pub encryption: Arc<Encryption>,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// The cluster, for administrators.
    pub operator: Arc<Operator>,
    /// How the server is.
    pub health: Box<dyn Fn() -> Health + Send + Sync>,
}

impl Door {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Code::Usage`] if the address is none or is taken.
    pub fn open(address: &str) -> Result<Door> {
        Ok(Door { listener: Listener::bind_for(address, "--web HOST:PORT")? })
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What its connections share.
    pub(super) fn connections(&self) -> Arc<State> {
        self.listener.state()
    }

    /// Serves clients until the process ends.
    pub(super) fn run(&self, backend: Backend) {
        // It is needed as long as the process lives, and an answer that is on its way borrows from it.
        let web: &'static Web = Box::leak(Box::new(Web::new(backend)));
        let all = files_max()
            .map_or(CONNECTIONS_MAX, |files| (files / FILES_SHARE).clamp(1, CONNECTIONS_MAX));
        let most = Most { all, per_network: Some(NETWORK_CONNECTIONS_MAX) };
        let serve = move |socket, peer| {
            if let Err(error) = web.serve(socket, peer) {
                tracing::debug!("a connection to the web door ended: {error}");
            }
        };
        self.listener.run("web", most, serve, |socket, peer, _: TooMany| {
            tracing::warn!("client {peer} turned away from the web door: too many connections");
            // It is turned away whether it can be told or not; one that encrypts cannot be told.
            let _ = Stream::accepted(socket, format!("client {peer}"))
                .and_then(|mut stream| stream.write_all(&[http::TURNED_AWAY], &TURN_AWAY));
        });
    }
}

/// What all connections share.
struct Web {
    backend: Backend,
    remembered: Remembered,
    passing: Passing,
    locks: Locks,
}

impl Web {
    fn new(backend: Backend) -> Web {
        Web {
            backend,
            remembered: Remembered::default(),
            passing: Passing::default(),
            locks: Locks::default(),
        }
    }

    fn files(&self) -> &Files {
        &self.backend.files
    }

    fn serve(&'static self, socket: TcpStream, peer: SocketAddr) -> Result<()> {
        let mut stream = Stream::accepted(socket, format!("client {peer}"))?;
        match self.backend.encryption.settle(&mut stream, &FIRST)? {
            Spoken::Nothing => Ok(()),
            Spoken::Refused => {
                let head = format!(
                    "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\n\
                     connection: close\r\ncontent-length: {}\r\n\r\n",
                    ENCRYPT.len()
                );
                stream.write_all(&[head.as_bytes(), ENCRYPT.as_bytes()], &TURN_AWAY)
            }
            spoken @ (Spoken::Encrypted | Spoken::Plain) => {
                let is_encrypted = spoken == Spoken::Encrypted;
                http::serve(stream, &LIMITS, &Visit { web: self, peer, is_encrypted })
            }
        }
    }
}

/// One connection.
#[derive(Clone, Copy)]
struct Visit {
    web: &'static Web,
    peer: SocketAddr,
    is_encrypted: bool,
}

impl Handler for Visit {
    async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path();
        let mut response = match path {
            "/health" => self.health(&request),
            "/dav" => self.dav(request).await,
            path if path.starts_with(FILES) => self.dav(request).await,
            path if path.starts_with(FOLDERS) => self.folder_page(request).await,
            path if path.starts_with(API) => self.api(request).await,
            "/" => self.front(request),
            "/sign-in" => self.sign_in_page(request).await,
            "/sign-out" => self.sign_out(request).await,
            STATUS => self.status_page(request),
            _ => Visit::asset(&request).unwrap_or_else(nothing_here),
        };
        // Nothing but the pages is one, whatever a browser makes of it.
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(
            "default-src 'none'; sandbox; frame-ancestors 'none'",
        ));
        response
    }
}

impl Visit {
    fn health(&self, request: &Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        let Health { serves, line } = (self.web.backend.health)();
        let status = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = http::text(status, line + "\n");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Logs and counts what somebody has asked for.
    fn log<T>(&self, user: &User, (verb, what): (Verb, &str), begun: Instant, told: Told<'_, T>) {
        let meter = self.web.backend.meters.at(Entrance::Web);
        let event = Event::new(meter, verb, what, self.peer, begun);
        let Told { path, bytes, nodes, outcome } = told;
        Event { user: Some(&user.name), path, bytes, nodes, ..event }.end(outcome);
    }
}

/// What is known of a request, for the log.
struct Told<'a, T> {
    path: Option<&'a FilePath>,
    bytes: Option<u64>,
    nodes: Option<crate::core::types::NodeSet>,
    outcome: &'a Result<T>,
}

impl<'a, T> Told<'a, T> {
    fn of(path: Option<&'a FilePath>, outcome: &'a Result<T>) -> Told<'a, T> {
        Told { path, bytes: None, nodes: None, outcome }
    }
}

fn nothing_here() -> Response {
    http::text(StatusCode::NOT_FOUND, "there is nothing at this address\n")
}

/// An answer that says no more than its status.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(http::Content::whole(""));
    *response.status_mut() = status;
    response
}

fn not_allowed(methods: &'static str) -> Response {
    let mut response = http::text(StatusCode::METHOD_NOT_ALLOWED, "not for this address\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

/// The value of a header, if there is one and it is text.
fn value<'a>(request: &'a hyper::http::request::Parts, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

/// Adds a header of which every byte is known to be good; without it if it is not.
fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The status that says the same as an error.
fn status_of(error: &Error) -> StatusCode {
    match error.code() {
        Code::Usage | Code::BadPath | Code::Version => StatusCode::BAD_REQUEST,
        Code::NoSuchFile | Code::NoSuchFolder => StatusCode::NOT_FOUND,
        Code::SignIn | Code::NoSuchUser => StatusCode::UNAUTHORIZED,
        Code::Disabled | Code::NotAllowed => StatusCode::FORBIDDEN,
        Code::Exists | Code::UserExists => StatusCode::CONFLICT,
        Code::Changed => StatusCode::PRECONDITION_FAILED,
        Code::Busy => StatusCode::LOCKED,
        Code::TooBig => StatusCode::PAYLOAD_TOO_LARGE,
        Code::NoSpace | Code::OverQuota => StatusCode::INSUFFICIENT_STORAGE,
        Code::Unreachable | Code::TooFewNodes | Code::Temporary | Code::InDoubt => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Unexpected
        | Code::SomeFailed
        | Code::Damaged
        | Code::ServerIdentity
        | Code::LocalFile
        | Code::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer that says why something was not done.
fn refused(error: &Error) -> Response {
    let status = match error {
        Error::Protocol(_) => StatusCode::BAD_REQUEST,
        Error::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Closed(_) | Error::Deadline(_) => StatusCode::BAD_REQUEST,
        error => status_of(error),
    };
    let mut response = http::text(status, format!("{error}\n"));
    set(&mut response, HeaderName::from_static("palk-error"), error.code().as_str());
    match error {
        Error::Throttled { seconds } => {
            set(&mut response, header::RETRY_AFTER, &seconds.to_string());
        }
        _ if status == StatusCode::SERVICE_UNAVAILABLE => {
            set(&mut response, header::RETRY_AFTER, "5");
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests;
