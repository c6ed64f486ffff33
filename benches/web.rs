//! The web door: requests a second for 4 KiB files and MB a second for 8 MiB files, by 1 to 16 clients, beside a plain
//! server on the same HTTP library, driven in the same way, that gives as many bytes from memory and asks nobody who
//! they are.
//!
//!     cargo bench --bench web
//!
//! Plain HTTP on loopback, one connection for each client, signed in by an app password.

mod tools;

use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::body::Bytes as Part;
use palk::core::io::http::{self, Content, Handler, Limits, Request, Response};
use palk::core::io::listener::Listener;
use palk::core::wire::keys::Rights;
use tools::cluster::start_cluster;
use tools::report::{Report, bytes_label};
use tools::secure::{path, signed_in, store};
use tools::{Bytes, Counter};

const SIZES: [(u64, usize); 2] = [(4 << 10, 6000), (8 << 20, 128)];
const CLIENTS: [usize; 3] = [1, 4, 16];
const FILES: usize = 16;
const PART_BYTES: u64 = 256 << 10;

const LIMITS: Limits = Limits {
    connections: 100,
    header_bytes: 16 << 10,
    header: Duration::from_secs(20),
    body: Duration::from_secs(60),
    total: Duration::from_secs(600),
    idle: Duration::from_secs(90),
};

/// Answers `/N` with N bytes.
struct Floor;

impl Handler for Floor {
    async fn answer(&self, request: Request) -> Response {
        let Ok(bytes) = request.uri().path()[1..].parse() else {
            return http::text(StatusCode::NOT_FOUND, "");
        };
        let part = Part::from(vec![7; usize::try_from(PART_BYTES.min(bytes)).expect("it fits")]);
        let mut left = bytes;
        Response::new(Content::parts(Some(bytes), move || {
            let count = left.min(PART_BYTES);
            left -= count;
            Ok((count > 0).then(|| part.slice(..usize::try_from(count).expect("it fits"))))
        }))
    }
}

fn main() {
    tools::floor::serve_if_asked();
    let work = tempfile::tempdir().expect("a temporary folder");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let cluster = start_cluster(work.path(), &["--web", &port.to_string()]);
    let mut remote = signed_in(&cluster.address);
    let (key, secret) = remote.make_key("bench", &Rights::default()).expect("a key");
    let sign_in =
        format!("authorization: Basic {}\r\n", base64(&format!("{key}:{}", secret.reveal())));
    let listener = Listener::bind("127.0.0.1:0").expect("a port");
    let floor = listener.address().to_string();
    thread::spawn(move || http::run(&listener, "floor", LIMITS, Floor));
    let mut report = Report::new("web");
    for (bytes, count) in SIZES {
        for file in 0..FILES {
            store(&mut remote, &path(&format!("{bytes}/{file}")), bytes);
        }
        for clients in CLIENTS {
            let own = rate(&port.to_string(), clients, count, bytes, |number| {
                format!(
                    "GET /dav/{bytes}/{} HTTP/1.1\r\nhost: {port}\r\n{sign_in}\r\n",
                    number % FILES
                )
            });
            let other = rate(&floor, clients, count, bytes, |_| {
                format!("GET /{bytes} HTTP/1.1\r\nhost: {floor}\r\n\r\n")
            });
            let what = format!("GET {}, {clients} clients", bytes_label(bytes as f64));
            match bytes > PART_BYTES {
                false => report.rate(&what, "1/s", own, Some(other)),
                true => {
                    let mb = bytes as f64 / 1e6;
                    report.rate(&what, "MB/s", own * mb, Some(other * mb));
                }
            }
        }
        for clients in CLIENTS {
            let count = count / 4;
            let own = rate(&port.to_string(), clients, count, bytes, |number| {
                format!(
                    "PUT /dav/{bytes}/put{number} HTTP/1.1\r\nhost: {port}\r\n{sign_in}\
                     content-length: {bytes}\r\n\r\n"
                )
            });
            let what = format!("PUT {}, {clients} clients", bytes_label(bytes as f64));
            report.rate(&what, "1/s", own, None);
        }
    }
    report.finish();
}

/// Has clients make `count` requests, each on a connection of its own; gives how many a second.
fn rate(
    address: &str,
    clients: usize,
    count: usize,
    bytes: u64,
    head: impl Fn(usize) -> String + Sync,
) -> f64 {
    let (next, begun) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..clients {
            let (next, head) = (&next, &head);
            scope.spawn(move || {
                let stream = TcpStream::connect(address).expect("a connection");
                stream.set_nodelay(true).expect("an option");
                let mut stream = BufReader::with_capacity(256 << 10, stream);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    ask(&mut stream, &head(number), bytes);
                }
            });
        }
    });
    count as f64 / begun.elapsed().as_secs_f64()
}

fn ask(stream: &mut BufReader<TcpStream>, head: &str, bytes: u64) {
    let mut message = head.as_bytes().to_vec();
    let mut body = Bytes::new(if head.starts_with("PUT") { bytes } else { 0 });
    body.by_ref().take(256 << 10).read_to_end(&mut message).expect("bytes");
    stream.get_mut().write_all(&message).expect("it is sent");
    copy(&mut body, stream.get_mut()).expect("it is sent");
    let (mut length, mut line, mut is_first) = (0, String::new(), true);
    loop {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an answer") > 0, "the connection ended");
        if std::mem::take(&mut is_first) {
            assert!(line.starts_with("HTTP/1.1 20"), "{line}");
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut counter = Counter::default();
    copy(&mut stream.take(length), &mut counter).expect("the body");
    assert!(counter.0 == length && (length == bytes || head.starts_with("PUT")), "{length}");
}

/// Base64, as RFC 4648 has it.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            let at = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit > three.len() { '=' } else { DIGITS[at as usize] as char });
        }
    }
    out
}
