//! Stand-ins for the programs that the doors were made for: each reads with the one call that they
//! read with, and takes whatever that call returns for one message.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::support::{Cluster, HANG, until};

/// Where a door of a cluster's server listens.
pub(crate) fn door_address(cluster: &mut Cluster, kind: &str) -> String {
    let text = format!("door {kind} is open at ");
    cluster.server().says(&text);
    let log = cluster.server().log();
    let at = log.rfind(&text).unwrap() + text.len();
    log[at..].split(',').next().unwrap().to_owned()
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// What one call of `recv(most)` gives.
pub(crate) fn recv(stream: &mut TcpStream, most: usize) -> Vec<u8> {
    let mut buffer = vec![0; most];
    let count = stream.read(&mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

/// Waits until the program at the other end, on this machine, has read all that was sent, so that
/// what is sent next comes in another read.
pub(crate) fn wait_until_read(stream: &TcpStream) {
    let hex = |address: std::net::SocketAddr| match address {
        std::net::SocketAddr::V4(v4) => {
            format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port())
        }
        std::net::SocketAddr::V6(_) => panic!("{address} is not of the tests' kind"),
    };
    let (own, other) = (hex(stream.local_addr().unwrap()), hex(stream.peer_addr().unwrap()));
    let queues = |from: &str, to: &str| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().find(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[1] == from && words[2] == to
        });
        let queues = line.map(|line| line.split_whitespace().nth(4).unwrap().to_owned());
        queues.unwrap_or_else(|| "00000000:00000000".into())
    };
    until("it has been read", || {
        queues(&own, &other).starts_with("00000000:") && queues(&other, &own).ends_with(":00000000")
    });
}

/// The client of the share door.
pub(crate) struct Share {
    pub(crate) stream: TcpStream,
}

impl Share {
    pub(crate) fn connect(address: &str) -> Share {
        Share { stream: connect(address) }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn list(&mut self) -> Vec<String> {
        self.say("list");
        let said = String::from_utf8(recv(&mut self.stream, 1024)).unwrap();
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// Sends the command and then the file in pieces of 256, with nothing between.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) {
        self.say(&format!("put {name}"));
        for piece in bytes.chunks(256) {
            self.stream.write_all(piece).unwrap();
        }
    }

    /// Reads pieces until one is shorter than 223 bytes: what is compared with 256 is the memory that
    /// it takes, 33 bytes more.
    pub(crate) fn get(&mut self, name: &str) -> Vec<u8> {
        self.say(&format!("get {name}"));
        let mut bytes = Vec::new();
        loop {
            let piece = recv(&mut self.stream, 256);
            bytes.extend_from_slice(&piece);
            if piece.len() + 33 < 256 {
                return bytes;
            }
        }
    }
}

/// The client of the folder door.
pub(crate) struct Folder {
    pub(crate) stream: TcpStream,
}

impl Folder {
    pub(crate) fn connect(address: &str) -> Folder {
        let mut folder = Folder { stream: connect(address) };
        assert_eq!(folder.hear(), "Welcome to the server");
        folder
    }

    /// What it prints of one reply.
    pub(crate) fn hear(&mut self) -> String {
        let reply = String::from_utf8(recv(&mut self.stream, 1024)).unwrap();
        let parts: Vec<&str> = reply.split('@').collect();
        assert_eq!(parts.len(), 2, "{reply:?}");
        assert!(["OK", "DISCONNECTED"].contains(&parts[0]), "{reply:?}");
        parts[1].to_owned()
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.stream.write_all(command.as_bytes()).unwrap();
        self.hear()
    }

    pub(crate) fn upload(&mut self, name: &str, bytes: &[u8]) -> String {
        self.stream.write_all(b"UPLOAD").unwrap();
        self.stream.write_all(format!("{name} {}", bytes.len()).as_bytes()).unwrap();
        self.stream.write_all(bytes).unwrap();
        self.hear()
    }

    /// The file, or what it prints instead.
    pub(crate) fn download(&mut self, name: &str) -> Result<Vec<u8>, String> {
        self.stream.write_all(format!("DOWNLOAD {name}").as_bytes()).unwrap();
        let word = recv(&mut self.stream, 1024);
        if word != b"download" {
            assert_eq!(String::from_utf8_lossy(&word), "OK");
            return Err(self.hear());
        }
        let size = String::from_utf8(recv(&mut self.stream, 1024)).unwrap();
        let size: usize = size.trim().parse().unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let piece = recv(&mut self.stream, 1024);
            assert!(!piece.is_empty(), "only {} of {size} bytes came", bytes.len());
            bytes.extend(piece);
        }
        self.stream.write_all(b"complete").unwrap();
        assert_eq!(self.hear(), "Download complete");
        Ok(bytes)
    }
}

/// Asks the request door as its own program does; nothing if there is no such file.
pub(crate) fn request(address: &str, name: &str) -> Option<Vec<u8>> {
    let mut stream = connect(address);
    let length = u16::try_from(name.len()).unwrap().to_be_bytes();
    let question = [&[0x49, 0x7e, 1][..], &length, name.as_bytes()].concat();
    stream.write_all(&question).unwrap();
    let mut head = [0; 8];
    stream.read_exact(&mut head).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(head[..3], [0x49, 0x7e, 2]);
    assert_eq!(u32::from_be_bytes(head[4..].try_into().unwrap()) as usize, bytes.len());
    (head[3] == 1).then_some(bytes)
}

/// Plays a transcript against a door. Each line is one thing that happens:
///
/// - `> BYTES`: the client sends a segment
/// - `~`: the server has read everything by now
/// - `< BYTES`: one read of at most 1024 bytes gives exactly these
/// - `<1024 BYTES`: the same with blanks behind them up to 1024 bytes
/// - `= BYTES`: these come, in however many reads
/// - `.`: the server has closed the connection
///
/// In bytes, `\n` and `\xNN` stand for what they do everywhere. `{c}` begins another connection.
pub(crate) fn play(address: &str, transcript: &str) {
    let mut stream = connect(address);
    for (number, line) in transcript.lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut bytes = unescaped(rest);
        let hint = format!("line {}: {line}", number + 1);
        match mark {
            "" | "#" => {}
            "{c}" => stream = connect(address),
            "~" => wait_until_read(&stream),
            ">" => stream.write_all(&bytes).unwrap(),
            "<" | "<1024" => {
                if mark == "<1024" {
                    bytes.resize(1024, b' ');
                }
                let got = recv(&mut stream, 1024);
                assert_eq!(
                    got.escape_ascii().to_string(),
                    bytes.escape_ascii().to_string(),
                    "{hint}"
                );
            }
            "=" => {
                let mut got = vec![0; bytes.len()];
                stream.read_exact(&mut got).unwrap_or_else(|error| panic!("{error} at {hint}"));
                assert_eq!(
                    got.escape_ascii().to_string(),
                    bytes.escape_ascii().to_string(),
                    "{hint}"
                );
            }
            "." => assert_eq!(recv(&mut stream, 1), b"", "{hint}"),
            _ => panic!("{hint}: not known"),
        }
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        match after.as_bytes()[0] {
            b'n' => out.push(b'\n'),
            b'x' => out.push(u8::from_str_radix(&after[1..3], 16).unwrap()),
            other => panic!("\\{}", char::from(other)),
        }
        rest = after.strip_prefix('n').unwrap_or_else(|| &after[3..]);
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
