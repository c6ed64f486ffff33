//! A client of the web door that says exactly what a test wants.

#![allow(dead_code)] // each test binary uses its own part

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::support::{Cluster, HANG, PASSWORD, USER};

/// A cluster with a web door.
pub(crate) fn start() -> Cluster {
    start_with(&[])
}

/// The same with more options for the server.
pub(crate) fn start_with(options: &[&str]) -> Cluster {
    Cluster::start_with(&[&["--web", "127.0.0.1:0"], options].concat())
}

/// Where the web door of a cluster's server listens.
pub(crate) fn address(cluster: &mut Cluster) -> String {
    let text = "web on https://";
    cluster.server().says(text);
    let log = cluster.server().log();
    let at = log.rfind(text).unwrap() + text.len();
    log[at..].split(',').next().unwrap().to_owned()
}

/// What browsers say of a request that a page of the server makes.
pub(crate) const OF_PAGE: [(&str, &str); 1] = [("Sec-Fetch-Site", "same-origin")];

/// The web door, and who asks.
pub(crate) struct Web {
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// What a browser shows in place of both; empty for nothing.
    pub(crate) cookie: String,
}

impl Web {
    pub(crate) fn of(cluster: &mut Cluster) -> Web {
        let (user, password) = (USER.into(), PASSWORD.into());
        Web { address: address(cluster), user, password, cookie: String::new() }
    }

    /// The same for somebody else.
    pub(crate) fn with(&self, user: &str, password: &str) -> Web {
        let (address, cookie) = (self.address.clone(), String::new());
        Web { address, user: user.into(), password: password.into(), cookie }
    }

    /// What is answered to what somebody has typed on the page.
    pub(crate) fn type_in(&self, headers: &[(&str, &str)], form: &str) -> Answer {
        let nobody = Web { cookie: "none=1".into(), ..self.with("", "") };
        nobody.ask("POST", "/sign-in", headers, form.as_bytes())
    }

    /// The same with a cookie, as a browser has it once somebody has signed in.
    pub(crate) fn in_browser(&self) -> Web {
        let form = format!("user={}&password={}", self.user, self.password.replace(' ', "+"));
        let answer = self.type_in(&OF_PAGE, &form);
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Web { cookie, ..self.with("", "") }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket
    }

    /// The head of a request up to what says how long its body is.
    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let pair = base64(format!("{}:{}", self.user, self.password).as_bytes());
        let host = &self.address;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        match self.cookie.as_str() {
            "" => head.push_str(&format!("Authorization: Basic {pair}\r\n")),
            cookie => head.push_str(&format!("Cookie: {cookie}\r\n")),
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let head = self.head(method, path, headers);
        let mut whole = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        whole.extend_from_slice(body);
        self.exchange(&whole)
    }

    /// The same with a body of which nobody knows the length beforehand.
    pub(crate) fn ask_chunked(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let head = self.head(method, path, headers);
        let mut whole = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body.chunks(70_001) {
            whole.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            whole.extend_from_slice(chunk);
            whole.extend_from_slice(b"\r\n");
        }
        whole.extend_from_slice(b"0\r\n\r\n");
        self.exchange(&whole)
    }

    fn exchange(&self, request: &[u8]) -> Answer {
        let mut socket = self.connect();
        let mut writer = socket.try_clone().unwrap();
        let request = request.to_vec();
        // Refused early, it need not take all of it.
        let sending = std::thread::spawn(move || drop(writer.write_all(&request)));
        let answer = Answer::read(&rest(&mut socket));
        drop(socket);
        sending.join().unwrap();
        answer
    }

    /// What is answered to exactly this.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut socket = self.connect();
        socket.write_all(request.as_bytes()).unwrap();
        String::from_utf8(rest(&mut socket)).unwrap()
    }
}

/// All that comes up to the end of the connection.
pub(crate) fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            // It was closed before it had taken everything.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} ", self.status, self.headers)?;
        write!(f, "{}", String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]))
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers: Vec<_> = lines.map(header).collect();
        let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("the end is missing");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 2 + length + 2..];
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
            text.push(if n > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}
