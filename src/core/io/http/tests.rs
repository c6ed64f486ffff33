use super::*;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

/// Only a hang takes this long.
const HANG: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits {
    connections: 4,
    header_bytes: 8192,
    header: HANG,
    body: HANG,
    total: HANG,
    idle: HANG,
};

const SHORT: Duration = Duration::from_millis(200);

/// Gives back what it is sent, part by part, once it has all of it.
struct Echo;

impl Handler for Echo {
    async fn answer(&self, request: Request) -> Response {
        let mut body = request.into_body();
        let mut parts = Vec::new();
        loop {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                Some(Ok(frame)) => parts.extend(frame.into_data()),
                Some(Err(error)) => return text(StatusCode::BAD_REQUEST, error.to_string()),
                None => break,
            }
        }
        let length = parts.iter().map(|part| part.len() as u64).sum();
        let mut parts = parts.into_iter();
        Response::new(Content::parts(Some(length), move || Ok(parts.next())))
    }
}

/// Answers a number of parts of which the client knows no end, or that fail.
struct Endless {
    fails: bool,
}

impl Handler for Endless {
    async fn answer(&self, _request: Request) -> Response {
        let (mut left, fails) = (3, self.fails);
        Response::new(Content::parts(None, move || {
            left -= 1;
            match left {
                -1 if fails => Err(Error::Closed("the nodes".into())),
                -1 => Ok(None),
                _ => Ok(Some(Bytes::from_static(b"part"))),
            }
        }))
    }
}

fn start(limits: Limits, handler: impl Handler) -> SocketAddr {
    assert!(limits.are_sound());
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.address();
    thread::spawn(move || run(&listener, "http", limits, handler));
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    socket
}

/// All that is answered to this, up to the end of the connection.
fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut socket = connect(address);
    socket.write_all(request.as_ref()).unwrap();
    rest(&mut socket)
}

fn rest(socket: &mut TcpStream) -> String {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            // It was closed before it had taken everything.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(answer).unwrap()
}

/// What is answered to one of several requests on a connection.
fn one_answer(socket: &mut TcpStream, body: &str) {
    let mut answer = Vec::new();
    while !answer.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
        let mut byte = [0];
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
}

#[test]
fn a_body_goes_in_and_out_and_the_connection_goes_on() {
    let address = start(LIMITS, Echo);
    let mut socket = connect(address);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    for _ in 0..3 {
        write!(socket, "{head}hello").unwrap();
        one_answer(&mut socket, "hello");
    }
    // However it is cut, and more than one at once.
    for byte in format!("{head}again{head}twice").as_bytes() {
        socket.write_all(&[*byte]).unwrap();
    }
    one_answer(&mut socket, "again");
    one_answer(&mut socket, "twice");
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    write!(socket, "{chunked}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap();
    one_answer(&mut socket, "abcde");
}

#[test]
fn a_large_body_goes_both_ways() {
    let address = start(LIMITS, Echo);
    let mut socket = connect(address);
    let body = vec![b'x'; 3 << 20];
    write!(socket, "PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").unwrap();
    write!(socket, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
    socket.write_all(&body).unwrap();
    let answer = rest(&mut socket);
    assert!(answer.as_bytes().ends_with(&body), "{} bytes", answer.len());
}

#[test]
fn an_answer_of_unknown_length_comes_in_chunks_and_its_failure_is_seen() {
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let part = "4\r\npart\r\n";
    let answer = ask(start(LIMITS, Endless { fails: false }), request);
    assert!(answer.ends_with(&format!("{part}{part}{part}0\r\n\r\n")), "{answer}");
    let answer = ask(start(LIMITS, Endless { fails: true }), request);
    assert!(!answer.contains("0\r\n\r\n"), "it has no end: {answer}");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let address = start(LIMITS, Echo);
    let chunk = "1\r\na\r\n0\r\n\r\n";
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{chunk}"
            ),
            "501",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\
                 Transfer-Encoding: chunked\r\n\r\n{chunk}"
            ),
            "501",
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\na".to_owned(), "400"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"
                .to_owned(),
            "400",
        ),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(9000)), "431"),
    ] {
        let answer = ask(address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    // An old client has no name for the host.
    let answer = ask(address, "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok");
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("ok"), "{answer}");
}

#[test]
fn whoever_is_slow_or_silent_is_left() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
    for (limits, sent) in [
        (Limits { header: SHORT, ..LIMITS }, String::new()),
        (Limits { header: SHORT, ..LIMITS }, "GET / HT".to_owned()),
        (Limits { body: SHORT, ..LIMITS }, format!("{head}some")),
        (Limits { header: SHORT, body: SHORT, total: SHORT, ..LIMITS }, format!("{head}some")),
    ] {
        assert_eq!(ask(start(limits, Echo), &sent), "", "{sent:?} {limits:?}");
    }
    let answer = ask(start(Limits { idle: SHORT, ..LIMITS }, Echo), format!("{head}it is all"));
    assert!(answer.ends_with("it is all"), "{answer}");
}

/// Sends single bytes until it is left; says for how long that was.
fn drip(address: SocketAddr, beginning: &str) -> Duration {
    let begun = Instant::now();
    let mut socket = connect(address);
    let _ = socket.write_all(beginning.as_bytes());
    while socket.write_all(b"x").is_ok() {
        assert!(begun.elapsed() < HANG, "it is still served");
        thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

#[test]
fn whoever_sends_single_bytes_is_left_as_well() {
    drip(start(Limits { header: SHORT, ..LIMITS }, Echo), "GET / HTTP/1.1\r\nA: ");
    let limits = Limits { header: SHORT, body: SHORT, total: 3 * SHORT, ..LIMITS };
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n";
    let served = drip(start(limits, Echo), head);
    assert!(served >= limits.total, "as long as it moves it is served: {served:?}");
}

#[test]
fn whoever_takes_nothing_of_its_answer_is_left_and_others_are_answered() {
    struct Flood(std::sync::mpsc::Sender<()>);
    impl Handler for Flood {
        async fn answer(&self, request: Request) -> Response {
            if request.uri().path() == "/small" {
                return text(StatusCode::OK, "small");
            }
            let told = Told(self.0.clone());
            let part = Bytes::from(vec![0; 1 << 20]);
            Response::new(Content::parts(None, move || {
                let _ = &told;
                Ok(Some(part.clone()))
            }))
        }
    }
    struct Told(std::sync::mpsc::Sender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (tell, ended) = std::sync::mpsc::channel();
    let address = start(Limits { body: SHORT, ..LIMITS }, Flood(tell));
    let mut taker = connect(address);
    taker.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let small = ask(address, "GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(small.ends_with("small"), "{small}");
    ended.recv_timeout(HANG).unwrap();
}

#[test]
fn one_connection_too_many_is_told_so() {
    let address = start(Limits { connections: 1, ..LIMITS }, Echo);
    let mut first = connect(address);
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    one_answer(&mut first, "");
    let mut second = connect(address);
    let answer = rest(&mut second);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    one_answer(&mut first, "");
}
