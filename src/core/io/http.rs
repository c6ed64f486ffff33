//! HTTP/1.1 on a connection that a listener has accepted, on the connection's own thread.
//!
//! `hyper` decodes and encodes. It is a future, and no runtime is started to drive it: reads do not wait
//! and are `Pending` where nothing has come, writes block, a waker is a flag, and the wait for the socket
//! carries the deadline.
//!
//! ```text
//!   poll ──┬─ ready ───────────────────────────────> the connection ends
//!    ^     ├─ pending, woken meanwhile ──┐
//!    │     └─ pending, has asked for bytes that are not there: wait for them
//!    │                                   │             │
//!    └───────────────────────────────────┴── bytes ────┤
//!                                                      └─ none within the deadline of the phase ──> ends
//!
//!   Idle ── a byte ──> Head ── the head is whole ──> Answering ── the answer's body is used up ──> Idle
//! ```
//!
//! Invariants:
//! - No wait is without a limit, and none of them begins anew with every byte but [`Limits::body`]; that
//!   one ends with [`Limits::total`]. So a client that sends or takes single bytes holds its thread for a
//!   limited time, and nothing but its thread.
//! - A handler may block: the thread is that of its connection. It may await nothing but the request's
//!   body, since nothing else ever wakes this thread.
//! - What two servers in a row could read in two ways is refused before the handler sees it: no `Host` or
//!   several, and a transfer coding other than `chunked`. (hyper itself refuses or mends the rest.)

mod wire;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, Version};

use self::wire::{Io, Wire};
use crate::core::error::{Error, Result};
use crate::core::io::listener::{Listener, Most, TooMany};
use crate::core::io::net::{Deadline, Stream};

/// What a client asks for. Its body is read from it while the handler awaits.
pub type Request = hyper::Request<Incoming>;

/// What it is answered.
pub type Response = hyper::Response<Content>;

/// The least that hyper takes for the head of a request, in bytes.
const HEADER_BYTES_MIN: usize = 8192;

/// A client for whom there is no connection is told so at once, by the thread that accepts.
const TURN_AWAY: Deadline = Deadline::new(Duration::from_millis(200), "take its answer");

/// What a client is answered for whom there is no connection.
pub const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What a client may take of connections and time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once, each a thread.
    pub connections: usize,
    /// The head of a request, in bytes; at least 8,192.
    pub header_bytes: usize,
    /// From a request's first byte (of the first request: from the connection) to the end of its head.
    pub header: Duration,
    /// How long nothing of a request's body may come, or nothing of an answer be taken.
    pub body: Duration,
    /// From a request's first byte to its answer's last one.
    pub total: Duration,
    /// From an answer to the next request.
    pub idle: Duration,
}

impl Limits {
    /// Do they fit each other? For an assertion where they are named.
    pub const fn are_sound(&self) -> bool {
        self.connections > 0
            && self.header_bytes >= HEADER_BYTES_MIN
            && self.header.as_millis() > 0
            && self.body.as_millis() > 0
            && self.idle.as_millis() > 0
            && self.header.as_millis() <= self.total.as_millis()
            && self.body.as_millis() <= self.total.as_millis()
    }
}

/// Who answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one. It may block, and awaits at most the request's body.
    fn answer(&self, request: Request) -> impl Future<Output = Response>;
}

/// Accepts connections until the process ends, and answers on each in a thread of its own.
pub fn run(listener: &Listener, name: &str, limits: Limits, handler: impl Handler) {
    let most = Most { all: limits.connections, per_network: None };
    let serve = move |socket: TcpStream, peer| {
        let served = Stream::accepted(socket, format!("client {peer}"))
            .and_then(|stream| serve(stream, &limits, &handler));
        if let Err(error) = served {
            tracing::debug!("a connection over HTTP ended: {error}");
        }
    };
    listener.run(name, most, serve, |socket, peer, _: TooMany| {
        // It is turned away whether it can be told or not.
        let _ = Stream::accepted(socket, format!("client {peer}"))
            .and_then(|mut stream| stream.write_all(&[TURNED_AWAY], &TURN_AWAY));
    });
}

/// Answers on one connection to its end.
///
/// # Errors
/// Those of the stream, [`Error::Deadline`], [`Error::Protocol`] if what comes is no HTTP.
pub fn serve(stream: Stream, limits: &Limits, handler: &impl Handler) -> Result<()> {
    let wire = Rc::new(RefCell::new(Wire::new(stream, *limits)));
    let service = service_fn(|request: Request| {
        wire.borrow_mut().head_is_whole();
        let wire = wire.clone();
        async move {
            let response = match ambiguity(request.version(), request.headers()) {
                Some(status) => refusal(status),
                None => handler.answer(request).await,
            };
            Ok::<_, Infallible>(response.map(|content| Tracked { content, wire }))
        }
    });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_header_size(limits.header_bytes);
    let mut connection = pin!(http.serve_connection(Io(wire.clone()), service));
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    loop {
        let polled = connection.as_mut().poll(&mut Context::from_waker(&waker));
        match polled {
            Poll::Ready(ended) => {
                let failure = wire.borrow_mut().failure.take();
                let ended = ended.map_err(|error| Error::Protocol(error.to_string()));
                return failure.map_or(ended, Err);
            }
            Poll::Pending if flag.take() => {}
            Poll::Pending => {
                if !wire.borrow_mut().wait()? {
                    return Ok(());
                }
            }
        }
    }
}

/// Why a request could be read in two ways; `None` if it cannot.
fn ambiguity(version: Version, headers: &HeaderMap) -> Option<StatusCode> {
    let hosts = headers.get_all(header::HOST).iter().count();
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    match codings.as_slice() {
        _ if hosts > 1 || hosts == 0 && version == Version::HTTP_11 => {
            Some(StatusCode::BAD_REQUEST)
        }
        [] => None,
        [one] if is_chunked(one) => None,
        _ => Some(StatusCode::NOT_IMPLEMENTED),
    }
}

/// An answer that says no more than its status, and closes the connection.
fn refusal(status: StatusCode) -> Response {
    let mut response = text(status, format!("{status}\n"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer in plain text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Content::whole(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// The next bytes of a request's body; nothing at its end.
///
/// # Errors
/// [`Error::Closed`] if it breaks off, [`Error::Protocol`] if it has no form.
pub async fn next_part(body: &mut Incoming) -> Result<Option<Bytes>> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            // What follows the chunks (trailers) is of no use.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                _ => {}
            },
            Some(Err(error)) if error.is_parse() => {
                return Err(Error::Protocol(error.to_string()));
            }
            Some(Err(_)) => return Err(Error::Closed("in the middle of a body".into())),
        }
    }
}

/// The next bytes of an answer; nothing at its end.
type NextPart = Box<dyn FnMut() -> Result<Option<Bytes>>>;

/// The body of an answer.
pub struct Content {
    next: Option<NextPart>,
    /// How much is still to come, if that is known.
    left: Option<u64>,
}

impl Content {
    /// These bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Content {
        let mut bytes = Some(bytes.into());
        let length = bytes.as_ref().map_or(0, Bytes::len) as u64;
        Content::parts(Some(length), move || Ok(bytes.take()))
    }

    /// What `next` gives, part by part, until it gives nothing. It may block. Without a length the client
    /// gets it in chunks; with one it has to be exactly so long. What fails ends the connection, so that
    /// the client does not take a beginning for the whole.
    pub fn parts(
        length: Option<u64>,
        next: impl FnMut() -> Result<Option<Bytes>> + 'static,
    ) -> Content {
        let next: NextPart = Box::new(next);
        Content { next: (length != Some(0)).then_some(next), left: length }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let part = next();
        if let (Ok(Some(bytes)), Some(left)) = (&part, &mut self.left) {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        if !matches!(part, Ok(Some(_))) || self.left == Some(0) {
            self.next = None;
        }
        Poll::Ready(part.transpose().map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The body of an answer on its way. hyper drops it when it is used up or not wanted any more, and then
/// waits for the next request.
struct Tracked {
    content: Content,
    wire: Rc<RefCell<Wire>>,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        Pin::new(&mut self.content).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.wire.borrow_mut().is_answered();
    }
}

/// Whether the connection's future wants to be polled again.
#[derive(Default)]
struct Flag(AtomicBool);

impl Flag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
