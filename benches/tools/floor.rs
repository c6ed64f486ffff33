//! The floor: what moving and syncing the bytes costs, and nothing else. As many processes as Palk has, the same
//! bytes between them and the same syncs, but no code, checksum, digest, name, account or encryption.
//!
//! ```text
//!   client ── n bytes ──> relay ── first half ───> nodes 1 and 3 ── written, synced ──> answered
//!                               └─ second half ──> nodes 2 and 4
//!
//!   client <── n bytes ── relay <── a half each ── nodes 1 and 2
//! ```
//!
//! A node keeps every file as a file, or all of them in one log: what small files cost without a create.
//! The processes are this bench's own program, started again; they end with it.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::cluster::{Process, first_word, start};
use super::{Bytes, Counter};

/// Says to a program what it is to be.
const ROLE: &str = "PALK_BENCH_FLOOR";

/// What the relay passes on at a time.
const CHUNK_BYTES: usize = 256 << 10;

const STORE: u8 = b'S';
const RETRIEVE: u8 = b'R';

/// How nodes keep what they are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Files,
    Log,
}

pub(crate) struct Floor {
    relay: String,
    folders: Vec<PathBuf>,
    _processes: Vec<Process>,
}

impl Floor {
    pub(crate) fn start(folder: &Path, keep: Keep) -> Floor {
        let (mut processes, mut nodes, mut folders) = (Vec::new(), Vec::new(), Vec::new());
        let word = if keep == Keep::Log { "log" } else { "files" };
        for node in 1..=4 {
            let folder = folder.join(format!("floor_{word}_{node}"));
            fs::create_dir_all(&folder).expect("a folder");
            let (process, address) = begin(&format!("{word} {}", folder.display()));
            nodes.push(address);
            processes.push(process);
            folders.push(folder);
        }
        let (process, relay) = begin(&format!("relay {}", nodes.join(" ")));
        processes.push(process);
        Floor { relay, folders, _processes: processes }
    }

    /// Removes this file.
    pub(crate) fn remove(&self, id: u64) {
        self.folders.iter().for_each(|folder| drop(fs::remove_file(folder.join(id.to_string()))));
    }

    pub(crate) fn client(&self) -> Client {
        Client(connect(&self.relay).expect("the floor takes connections"))
    }
}

fn begin(role: &str) -> (Process, String) {
    let mut command = Command::new(env::current_exe().expect("its own path"));
    command.env(ROLE, role);
    let (process, address) = start(command, "listening on ");
    (process, first_word(&address))
}

/// Is one of the floor's processes, if it is asked to, and does not return then. The first thing that a bench does.
pub(crate) fn serve_if_asked() {
    let Ok(role) = env::var(ROLE) else { return };
    let (what, rest) = role.split_once(' ').expect("a role");
    // The bench holds the other end.
    thread::spawn(|| {
        let _ = copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("listening on {}", listener.local_addr().expect("its address"));
    match what {
        "relay" => {
            let nodes: Vec<String> = rest.split(' ').map(str::to_owned).collect();
            serve(&listener, move |stream| relay(stream, &nodes));
        }
        _ => {
            let shelf = Arc::new(Shelf::new(rest.into(), what == "log"));
            serve(&listener, move |stream| node(stream, &shelf));
        }
    }
    std::process::exit(0);
}

fn serve(
    listener: &TcpListener,
    each: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) {
    let each = Arc::new(each);
    for stream in listener.incoming().flatten() {
        let each = each.clone();
        thread::spawn(move || {
            // It ends with an error where a client goes away.
            let _ = stream.set_nodelay(true).and_then(|()| each(stream));
        });
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is asked: a word, which file, and how many bytes follow or are wanted.
fn head(word: u8, id: u64, bytes: u64) -> [u8; 17] {
    let mut head = [word; 17];
    head[1..9].copy_from_slice(&id.to_be_bytes());
    head[9..].copy_from_slice(&bytes.to_be_bytes());
    head
}

fn read_head(stream: &mut TcpStream) -> io::Result<(u8, u64, u64)> {
    let mut head = [0; 17];
    stream.read_exact(&mut head)?;
    let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    Ok((head[0], number(1), number(9)))
}

/// How a file is cut: the larger half goes to nodes 1 and 3.
fn halves(bytes: u64) -> [u64; 2] {
    let chunk = CHUNK_BYTES as u64;
    let (whole, rest) = (bytes / chunk * (chunk / 2), bytes % chunk);
    [whole + rest.div_ceil(2), whole + rest / 2]
}

fn relay(mut client: TcpStream, nodes: &[String]) -> io::Result<()> {
    let mut nodes: Vec<TcpStream> = nodes.iter().map(|at| connect(at)).collect::<Result<_, _>>()?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let (word, id, bytes) = read_head(&mut client)?;
        let halves = halves(bytes);
        let asked = if word == STORE { 4 } else { 2 };
        for (at, node) in nodes[..asked].iter_mut().enumerate() {
            node.write_all(&head(word, id, halves[at % 2]))?;
        }
        let mut left = bytes;
        while left > 0 {
            let count = CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES));
            let middle = count.div_ceil(2);
            if word == STORE {
                client.read_exact(&mut buffer[..count])?;
                let (first, second) = buffer[..count].split_at(middle);
                for (at, node) in nodes.iter_mut().enumerate() {
                    node.write_all([first, second][at % 2])?;
                }
            } else {
                nodes[0].read_exact(&mut buffer[..middle])?;
                nodes[1].read_exact(&mut buffer[middle..count])?;
                client.write_all(&buffer[..count])?;
            }
            left -= count as u64;
        }
        if word == STORE {
            let mut done = [0];
            nodes.iter_mut().try_for_each(|node| node.read_exact(&mut done))?;
            client.write_all(&done)?;
        }
    }
}

/// What a node keeps.
struct Shelf {
    folder: PathBuf,
    log: Option<File>,
    /// The end of the log, and where in it files are.
    index: Mutex<(u64, HashMap<u64, u64>)>,
}

impl Shelf {
    fn new(folder: PathBuf, has_log: bool) -> Shelf {
        let log = has_log.then(|| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true);
            options.open(folder.join("log")).expect("a log")
        });
        Shelf { folder, log, index: Mutex::default() }
    }
}

fn node(mut server: TcpStream, shelf: &Shelf) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let (word, id, bytes) = read_head(&mut server)?;
        let path = shelf.folder.join(id.to_string());
        let (own, file, begin);
        match (&shelf.log, word) {
            (Some(log), STORE) => {
                let mut index = shelf.index.lock();
                (file, begin) = (log, index.0);
                index.0 += bytes;
            }
            (Some(log), _) => (file, begin) = (log, shelf.index.lock().1[&id]),
            (None, _) => {
                own = if word == STORE { File::create(&path)? } else { File::open(&path)? };
                (file, begin) = (&own, 0);
            }
        }
        let mut at = begin;
        while at < begin + bytes {
            let left = usize::try_from(begin + bytes - at).unwrap_or(CHUNK_BYTES);
            let some = &mut buffer[..CHUNK_BYTES.min(left)];
            let count = if word == STORE {
                let count = server.read(some)?;
                file.write_all_at(&some[..count], at)?;
                count
            } else {
                let count = file.read_at(some, at)?;
                server.write_all(&some[..count])?;
                count
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += count as u64;
        }
        if word == STORE {
            file.sync_data()?;
            shelf.index.lock().1.insert(id, begin);
            server.write_all(&[1])?;
        }
    }
}

/// A connection to the relay.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn store(&mut self, id: u64, bytes: u64) {
        self.0.write_all(&head(STORE, id, bytes)).expect("it is sent");
        copy(&mut Bytes::new(bytes), &mut self.0).expect("it is sent");
        self.0.read_exact(&mut [0]).expect("an answer");
    }

    pub(crate) fn retrieve(&mut self, id: u64, bytes: u64) {
        self.0.write_all(&head(RETRIEVE, id, bytes)).expect("it is sent");
        let mut counter = Counter::default();
        copy(&mut (&mut self.0).take(bytes), &mut counter).expect("the file");
        assert_eq!(counter.0, bytes);
    }
}
