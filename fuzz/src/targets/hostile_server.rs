//! The client's half of the extended session, talking to a server that says anything: it ends with
//! an error or with bytes that are what they were said to be, and never hangs.
//!
//! The input is what the client does and then what the server says, told beforehand: raw bytes, or
//! parts whose checksums fit, since no fuzzer guesses one. Client and server talk over a socket of
//! this machine, and the server closes its side when all is said.

use std::io::Read;
use std::net::{Shutdown, TcpListener};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use palk::core::io::net::{Deadline, Stream};
use palk::core::io::tls::{Acceptor, Identity};
use palk::core::path::FilePath;
use palk::core::range::ByteRange;
use palk::core::remote::{Progress, Remote, Selection, ToStore};
use palk::core::types::{Digest, Precondition};
use palk::core::wire::chunk;
use palk::core::wire::extended::{Entry, hello_line};
use palk::core::wire::lines;

use super::bytes::Bytes;
use super::names::{assert_folder_inside, assert_inside};

/// A file that is stored: more than one chunk, so that acknowledgements matter.
const STORED_BYTES: usize = chunk::CHUNK_BYTES + 3;

const HANG: Deadline = Deadline::new(Duration::from_secs(60), "go on");

pub(crate) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let action = input.u8() % 6;
    let mut said = match action {
        // The hello is the input's own.
        5 => Vec::new(),
        _ => lines::encode(&["S", &hello_line()]),
    };
    said.extend_from_slice(&script(input));
    let address = server().serve(said);
    act(action, address);
}

fn act(action: u8, address: &str) {
    let path = FilePath::parse_rooted("a/b").expect("a good path");
    if action == 4 {
        let Ok((mut remote, mut said)) = Remote::connect_and_ask(address) else { return };
        while !said.questions.is_empty() {
            let answers = vec!["x"; said.questions.len()];
            let Ok(next) = remote.answer(&answers) else { return };
            said = next;
        }
        return;
    }
    let Ok(mut remote) = Remote::connect(address) else { return };
    match action {
        0 => {
            let mut sink = Vec::new();
            let watch = &mut |at: Progress| assert!(at.bytes <= at.total);
            if let Ok(retrieved) = remote.retrieve(&path, &Selection::default(), &mut sink, watch) {
                assert_eq!(retrieved.bytes, sink.len() as u64);
                assert_eq!(retrieved.blake3, Digest(*blake3::hash(&sink).as_bytes()));
            }
            sink.clear();
            let range = ByteRange::From { first: 1, last: Some(4) };
            if let Ok(retrieved) = remote.retrieve(
                &path,
                &Selection { range: Some(range), ..Selection::default() },
                &mut sink,
                watch,
            ) {
                assert!(retrieved.part.start == 1 && retrieved.part.end <= 5);
                assert_eq!(retrieved.part.end - 1, sink.len() as u64);
            }
        }
        1 => {
            let source = vec![7; STORED_BYTES];
            let length = source.len() as u64;
            let (precondition, attributes) = (Precondition::Any, Default::default());
            let wanted =
                ToStore { path: &path, bytes: length, precondition, attributes, keep: None };
            let stored = remote.store(&wanted, &mut &*source, &mut |_| {});
            if let Ok(stored) = stored {
                assert_eq!(stored.blake3, Digest(*blake3::hash(&source).as_bytes()));
            }
        }
        2 => {
            let _ = remote.list(&mut |entry| {
                match &entry {
                    Entry::Folder(folder) => assert_folder_inside(folder),
                    Entry::File(file) => assert_inside(&file.path),
                }
                Ok(())
            });
        }
        _ => {
            let _ = remote.sign_in("user", "password");
            let _ = remote.delete(&path);
            let folder = path.folder();
            let _ = remote.make_folder(&folder, true);
            if let Ok(moved) = remote.move_to(&path, &folder, false) {
                assert_inside(&moved.to);
            }
            if let Ok(copied) = remote.copy(&path, &folder, [true, false]) {
                assert_inside(&copied.to);
            }
            let _ = remote.remove_folder(&folder, true);
            if let Ok(Entry::File(file)) = remote.look(&folder) {
                assert_inside(&file.path);
            }
        }
    }
    if remote.is_usable() {
        let _ = remote.sign_in("user", "password");
    }
}

/// What the server says, part by part.
fn script(mut input: Bytes<'_>) -> Vec<u8> {
    let mut said = Vec::new();
    let mut file = Vec::new();
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => said.extend_from_slice(input.short()),
            1 => {
                let piece = input.short();
                if !piece.is_empty() {
                    said.extend_from_slice(&chunk::data_head(&[piece]));
                    said.extend_from_slice(piece);
                    file.extend_from_slice(piece);
                }
            }
            2 => said.extend_from_slice(&chunk::end(&Digest(*blake3::hash(&file).as_bytes()))),
            3 => said.extend_from_slice(&chunk::given_up()),
            4 => said.extend(vec![chunk::ACKNOWLEDGED; usize::from(input.u8() % 16)]),
            5 => {
                // What a file is announced with; the size may be a lie.
                let bytes = format!("bytes={}", input.u8());
                let version = format!("version={}", "0".repeat(32));
                let digest = format!("blake3={}", blake3::hash(input.short()));
                said.extend(lines::encode(&[
                    "S",
                    &bytes,
                    &version,
                    &digest,
                    "stored_ms=1",
                    "nodes=4",
                ]));
            }
            6 => said.extend(lines::encode(&["S", "send"])),
            _ => {
                let text = input.text();
                said.extend(lines::encode(&text.split('\n').collect::<Vec<_>>()));
            }
        }
    }
    said
}

/// The server of this process: it has one conversation after the other.
struct Server {
    address: String,
    scripts: Sender<Vec<u8>>,
}

impl Server {
    /// What the next client is told; where to connect.
    fn serve(&self, said: Vec<u8>) -> &str {
        self.scripts.send(said).expect("the server goes on");
        &self.address
    }
}

/// What makes connections encrypted, with a key that is made for this process.
fn acceptor() -> Acceptor {
    let folder = std::env::temp_dir().join(format!("palk-fuzz-{}", std::process::id()));
    let identity = Identity::of_folder(&folder, &mut Vec::new());
    let _ = std::fs::remove_dir_all(&folder); // it is in memory from here on
    let identity = identity.expect("a key can be made");
    Acceptor::for_clients(&identity).expect("a key can be used")
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        let (scripts, next) = channel::<Vec<u8>>();
        let acceptor = acceptor();
        thread::spawn(move || {
            while let (Ok(said), Ok((mut socket, _))) = (next.recv(), listener.accept()) {
                // The client may have left already.
                let _ = socket.try_clone().map(|socket| {
                    let mut stream = Stream::accepted(socket, "client")?;
                    acceptor.accept(&mut stream)?;
                    stream.write_all(&[&said], &HANG)
                });
                let _ = socket.shutdown(Shutdown::Write);
                let mut dropped = vec![0; 64 * 1024];
                while socket.read(&mut dropped).is_ok_and(|count| count > 0) {}
            }
        });
        Server { address, scripts }
    })
}
