//! What a monitor reads over HTTP: `/metrics` and `/health`.
//!
//! It knows neither passwords nor encryption, so its address has to be one of this machine, unless it was
//! asked for in so many words that others may read it: `ADDR,open`, as with doors.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};

use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{self, Handler, Limits, Request, Response};
use crate::core::io::listener::Listener;
use crate::core::io::net::is_loopback;
use crate::core::metrics::{CONTENT_TYPE, Page};

/// A monitor or two, a load balancer, and a person with a browser.
const LIMITS: Limits = Limits {
    connections: 16,
    header_bytes: 8192,
    header: Duration::from_secs(5),
    body: Duration::from_secs(5),
    total: Duration::from_secs(30),
    // Longer than monitors usually pause.
    idle: Duration::from_secs(90),
};

const _: () = assert!(LIMITS.are_sound());

/// What is monitored.
pub trait Monitored: Send + Sync + 'static {
    /// All that there is to measure.
    fn metrics(&self) -> Page;

    /// Whether it does what it is there for.
    fn health(&self) -> Health;
}

/// Whether a server or node does what it is there for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Does it?
    pub serves: bool,
    /// The same with a little more, as a JSON object on one line.
    pub line: String,
}

/// Where monitors are answered, as it is written on the command line: `HOST:PORT[,open]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Where it listens.
    pub address: String,
    /// Whether others than this machine may read it.
    pub is_open: bool,
}

impl Spec {
    /// Refuses an address that others could reach without this having been asked for.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] with what to do, [`Code::Usage`] if the address is none.
    pub fn check(&self) -> Result<()> {
        if self.is_open || is_loopback(&self.address)? {
            return Ok(());
        }
        let text = format!(
            "the metrics at {} are not on this machine alone, and know neither passwords nor \
             encryption: whoever reaches them reads how the cluster is",
            self.address
        );
        let advice = "Name an address of this machine (127.0.0.1). If others are meant to read them, \
                      add \",open\" to it.";
        Err(Error::advised(Code::NotAllowed, text, advice))
    }
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Spec, String> {
        let (address, is_open) = match text.split_once(',') {
            None => (text, false),
            Some((address, "open")) => (address, true),
            Some((_, other)) => return Err(format!("{other:?} is not \"open\"")),
        };
        if address.is_empty() {
            return Err("an address, HOST:PORT, and \",open\" if others may read it".to_owned());
        }
        Ok(Spec { address: address.to_owned(), is_open })
    }
}

/// Where monitors are answered, once [`Monitor::start`] is called.
pub struct Monitor {
    listener: Listener,
}

impl Monitor {
    /// Begins to listen.
    ///
    /// # Errors
    /// As [`Spec::check`]; [`Code::Usage`] if the address is taken.
    pub fn open(spec: &Spec) -> Result<Monitor> {
        spec.check()?;
        let listener = Listener::bind_for(&spec.address, "--metrics HOST:PORT")?;
        Ok(Monitor { listener })
    }

    /// Where, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn start(self, monitored: Arc<impl Monitored>) -> Result<()> {
        let answer = Pages(monitored);
        let started = thread::Builder::new()
            .name("metrics".into())
            .spawn(move || http::run(&self.listener, "metrics", LIMITS, answer));
        started.map(drop).map_err(Error::io("cannot start a thread for the metrics"))
    }
}

struct Pages<T>(Arc<T>);

impl<T: Monitored> Handler for Pages<T> {
    async fn answer(&self, request: Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused =
                http::text(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to change here\n");
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let (status, kind, text) = match request.uri().path() {
            "/metrics" => (StatusCode::OK, CONTENT_TYPE, self.0.metrics().encode()),
            "/health" => {
                let Health { serves, line } = self.0.health();
                let status = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, "application/json", line + "\n")
            }
            _ => {
                let text = "there are /metrics and /health here\n";
                return http::text(StatusCode::NOT_FOUND, text);
            }
        };
        let mut response = http::text(status, text);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn an_address_that_others_reach_has_to_be_asked_for() {
        let spec = |text: &str| text.parse::<Spec>();
        for own in ["127.0.0.1:9100", "[::1]:0", "0.0.0.0:9100,open", "10.0.0.1:9100,open"] {
            spec(own).unwrap().check().unwrap();
        }
        let refused = spec("0.0.0.0:9100").unwrap().check().unwrap_err();
        assert_eq!(refused.code(), Code::NotAllowed);
        assert!(refused.to_string().contains("\",open\""), "{refused}");
        for wrong in ["", ",open", "127.0.0.1:1,shut", "127.0.0.1:1,open,open"] {
            assert!(spec(wrong).is_err(), "{wrong}");
        }
    }

    struct Ill;

    impl Monitored for Ill {
        fn metrics(&self) -> Page {
            let mut page = Page::default();
            page.counter("seen", "How often.", 3);
            page
        }

        fn health(&self) -> Health {
            Health { serves: false, line: "{\"serves\":false}".into() }
        }
    }

    #[test]
    fn each_path_is_answered_and_nothing_else() {
        let spec: Spec = "127.0.0.1:0".parse().unwrap();
        let monitor = Monitor::open(&spec).unwrap();
        let address = monitor.address();
        monitor.start(Arc::new(Ill)).unwrap();
        for (request, status, body) in [
            ("GET /metrics", "200 OK", "palk_seen_total 3\n"),
            ("HEAD /metrics", "200 OK", "\r\n\r\n"),
            ("GET /health", "503 Service Unavailable", "\r\n\r\n{\"serves\":false}\n"),
            ("GET /", "404 Not Found", "/metrics and /health here\n"),
            ("POST /metrics", "405 Method Not Allowed", "nothing to change here\n"),
        ] {
            let mut socket = TcpStream::connect(address).unwrap();
            write!(socket, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert!(answer.ends_with(body), "{request}: {answer}");
        }
    }
}
