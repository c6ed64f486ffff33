//! A server for tests: the extended session over files in memory, with one fault to order.
//!
//! It has one account, `demo` with the password `pw`, and forgets everything at the end. It accepts
//! the tokens that it has made, until they are revoked.

mod folders;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::error::{Code, Error};
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::tls::{Acceptor, Identity};
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::types::{Digest, Precondition, VersionId};
use crate::core::wire::chunk::{self, CHUNK_BYTES, HEAD_BYTES, Head};
use crate::core::wire::extended::{Entry, HistoryRequest, Reply, Request, UploadRequest};
use crate::core::wire::lines;
use crate::core::wire::token::Token;

/// What goes wrong, if anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    None,
    /// `E` in place of the second chunk's acknowledgement.
    RefusesMidway,
    /// A store is answered with another digest.
    StoresOtherBytes,
    /// A bit of the second chunk is flipped on its way to the client.
    DamagesChunk,
    /// All chunks are right, and others than those that were stored.
    SendsOtherBytes,
    /// The connection closes after the first chunk, either way.
    Closes,
    /// The server gives up after the first chunk of a retrieval.
    GivesUp,
    /// Every request is answered with `D`.
    Disconnects,
    /// The connection closes in place of the answer to anything that changes something.
    ClosesBeforeAnswer,
    /// Two signs of life come before the answer to a store.
    CommitsSlowly,
}

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// The version of every file there is.
pub(crate) const VERSION: VersionId = VersionId([7; 16]);

#[derive(Clone)]
pub(crate) struct FakeServer {
    pub(crate) address: String,
    /// Their rooted paths and bytes.
    pub(crate) files: Files,
    /// The rooted paths of folders that were made.
    pub(crate) folders: Arc<Mutex<BTreeSet<String>>>,
    /// Valid tokens.
    pub(crate) tokens: Arc<Mutex<Vec<Token>>>,
    /// How many passwords it was shown.
    pub(crate) passwords: Arc<AtomicUsize>,
}

impl FakeServer {
    pub(crate) fn start(fault: Fault) -> FakeServer {
        FakeServer::start_on("127.0.0.1:0", fault)
    }

    pub(crate) fn start_on(address: &str, fault: Fault) -> FakeServer {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = FakeServer {
            address,
            files: Files::default(),
            folders: Arc::default(),
            tokens: Arc::default(),
            passwords: Arc::default(),
        };
        let shared = server.clone();
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::of_folder(&folder.path().join("tls"), &mut Vec::new()).unwrap();
        let acceptor = Acceptor::for_clients(&identity).unwrap();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (server, acceptor) = (shared.clone(), acceptor.clone());
                thread::spawn(move || {
                    let mut stream = Stream::accepted(socket, "client").unwrap();
                    if acceptor.accept(&mut stream).is_ok() {
                        let socket = Encrypted(Rc::new(RefCell::new(stream)));
                        let reader = BufReader::with_capacity(1 << 16, socket.clone());
                        let files = server.files.clone();
                        Client { reader, socket, files, server, fault, own: None }.serve();
                    }
                });
            }
        });
        server
    }

    pub(crate) fn with_file(self, path: &str, bytes: &[u8]) -> FakeServer {
        self.files.lock().insert(path.into(), bytes.into());
        self
    }
}

/// A connection that is read and written by one thread.
#[derive(Clone)]
struct Encrypted(Rc<RefCell<Stream>>);

const HANG: Deadline = Deadline::new(Duration::from_secs(60), "go on");

fn as_io(error: Error) -> std::io::Error {
    std::io::Error::other(error.to_string())
}

impl Read for Encrypted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().read_some(buffer, &HANG).map_err(as_io)
    }
}

impl Write for Encrypted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write_all(&[bytes], &HANG).map_err(as_io)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Client {
    reader: BufReader<Encrypted>,
    socket: Encrypted,
    files: Files,
    server: FakeServer,
    fault: Fault,
    /// The token that the client has signed in with.
    own: Option<Token>,
}

/// Why a client is left: the end of its connection, or a fault that was ordered.
struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Gone {
        Gone
    }
}

impl Client {
    fn serve(&mut self) {
        let _: Result<(), Gone> = self.run();
    }

    fn run(&mut self) -> Result<(), Gone> {
        loop {
            let hello = self.message()?;
            self.say(&["S", "palk 1"])?;
            if hello.get(2).is_some_and(|line| line == "ask") {
                self.converse()?;
            }
            while self.request()? {}
        }
    }

    fn converse(&mut self) -> Result<(), Gone> {
        self.say(&["S", "2", "Username: ", "Password: "])?;
        loop {
            let (user, password) = (self.line()?, self.line()?);
            self.line()?;
            if user == "demo" && password == "pw" {
                return self.say(&["S", "Welcome demo! You are a legend..."]);
            }
            if user == "demo" {
                let text = "Password did not match username demo";
                self.say(&["E", text, "2", "Username: ", "Password: "])?;
                continue;
            }
            let question = "Do you want to create an account (YES or NO): ";
            self.say(&["E", "Username does not exist in database!", "1", question])?;
            self.line()?;
            self.line()?;
            self.say(&["S", "2", "Username: ", "Password: "])?;
        }
    }

    /// Serves one request; false after a sign-out.
    fn request(&mut self) -> Result<bool, Gone> {
        let message = self.message()?;
        let is_quiet = ["LGN", "TOK", "STR", "RTV", "INF", "STA", "LGO"];
        if self.fault == Fault::ClosesBeforeAnswer && !is_quiet.contains(&message[0].as_str()) {
            return Err(Gone);
        }
        if self.fault == Fault::Disconnects {
            self.say(&["D", "going down"])?;
            return Err(Gone);
        }
        match Request::decode(&message) {
            Ok(Request::SignIn { user, password } | Request::SignUp { user, password }) => {
                self.server.passwords.fetch_add(1, Ordering::SeqCst);
                if (user.as_str(), password.as_str()) == ("demo", "pw") {
                    self.say(&["S", "user=demo"])?;
                } else {
                    self.refuse(&Error::WrongPassword(user))?;
                }
            }
            Ok(Request::Store { path, bytes, precondition, .. }) => {
                self.store(&path, bytes, precondition)?;
            }
            Ok(Request::Retrieve { path, range, .. }) => self.retrieve(&path, range)?,
            Ok(Request::Delete { path }) => {
                let removed = self.files.lock().remove(&format!("/{}", path.as_str()));
                match removed {
                    Some(_) => self.say(&["S"])?,
                    None => self.refuse(&Error::NoSuchFile(path))?,
                }
            }
            Ok(Request::History(HistoryRequest::Usage)) => {
                self.say(&["S", "files=0", "bytes=0", "kept=0"])?;
            }
            Ok(Request::SetAttributes { .. }) => self.say(&["S"])?,
            Ok(Request::History(_)) => panic!("this server keeps nothing"),
            Ok(Request::Keys(_)) => self.refuse(&Error::Protocol("unknown opcode".into()))?,
            Ok(Request::Upload(UploadRequest::List { .. })) => self.say(&["S"])?,
            Ok(Request::Upload(_) | Request::Send { .. }) => {
                let text = "there is no such upload";
                self.refuse(&Error::other(Code::NoSuchFile, text))?;
            }
            Ok(Request::List { path, extent, .. }) => self.list(&path, extent)?,
            Ok(Request::MakeFolder { folder, parents }) => self.make_folder(&folder, parents)?,
            Ok(Request::RemoveFolder { folder, recursive }) => {
                self.remove_folder(&folder, recursive)?;
            }
            Ok(Request::Move { from, to, replace }) => {
                self.move_to(&from, &to, [false, replace])?
            }
            Ok(Request::Copy { from, to, recursive, replace }) => {
                let folder = matches!(self.look(&from.as_folder()), Some(Entry::Folder(_)));
                match folder && !recursive {
                    true => {
                        let text = format!("{from} is a folder");
                        self.refuse(&Error::other(Code::NotAllowed, text))?;
                    }
                    false => self.move_to(&from, &to, [true, replace])?,
                }
            }
            Ok(Request::SignOut) => return Ok(false),
            // As a server that is older than this request.
            Ok(Request::Status) => self.refuse(&Error::Protocol("unknown opcode".into()))?,
            Ok(Request::TokenSignIn { user, token }) => {
                if user == "demo" && self.server.tokens.lock().contains(&token) {
                    self.own = Some(token);
                    self.say(&["S", "user=demo"])?;
                } else {
                    self.refuse(&Error::TokenRefused)?;
                }
            }
            Ok(Request::IssueToken { .. }) => {
                let next = u8::try_from(self.server.tokens.lock().len() + 1).unwrap();
                let token = Token([next; 32]);
                self.server.tokens.lock().push(token.clone());
                self.say(&["S", &format!("token={}", token.reveal())])?;
            }
            Ok(Request::RevokeToken) => {
                self.server.tokens.lock().retain(|token| Some(token) != self.own.as_ref());
                self.say(&["S"])?;
            }
            Ok(Request::ChangePassword { old, .. }) => {
                if old == "pw" {
                    self.server.tokens.lock().retain(|token| Some(token) == self.own.as_ref());
                    self.say(&["S"])?;
                } else {
                    self.refuse(&Error::WrongPassword("demo".into()))?;
                }
            }
            Err(error) => self.refuse(&error)?,
        }
        Ok(true)
    }

    fn store(
        &mut self,
        path: &FilePath,
        bytes: u64,
        precondition: Precondition,
    ) -> Result<(), Gone> {
        let key = format!("/{}", path.as_str());
        let is_there = self.files.lock().contains_key(&key);
        match precondition {
            Precondition::Absent if is_there => return self.refuse(&Error::Exists(path.clone())),
            Precondition::Present if !is_there => {
                return self.refuse(&Error::NoSuchFile(path.clone()));
            }
            Precondition::Unchanged(version) if version != VERSION => {
                let by = Some("ann from 127.0.0.1:4000".to_owned());
                let path = path.clone();
                return self.refuse(&Error::ChangedMeanwhile { path, by, at_ms: 0 });
            }
            _ => {}
        }
        if bytes > 100_000_000 {
            return self.refuse(&Error::TooBig { bytes, limit: 100_000_000 });
        }
        self.say(&["S", "send"])?;
        let mut content = Vec::new();
        let mut refused = false;
        let mut chunks = 0;
        loop {
            match self.head()? {
                Head::Data { length, checksum } => {
                    let piece = self.take(length)?;
                    assert!(chunk::verify(&piece, checksum).is_ok());
                    content.extend_from_slice(&piece);
                    chunks += 1;
                    if chunks == 2 && self.fault == Fault::RefusesMidway {
                        refused = true;
                        self.refuse(&Error::other(Code::NoSpace, "the disks are full"))?;
                    } else if self.fault == Fault::Closes {
                        return Err(Gone);
                    } else if !refused {
                        self.socket.write_all(b"+")?;
                    }
                }
                Head::GivenUp if refused => return Ok(()),
                Head::GivenUp => {
                    return self.refuse(&Error::other(Code::Interrupted, "as you like"));
                }
                Head::End { .. } => break,
            }
        }
        let mut digest = Digest(self.take(32)?.try_into().unwrap());
        assert_eq!(digest, blake3_of(&content));
        if refused {
            return Ok(());
        }
        assert_eq!(content.len() as u64, bytes);
        self.files.lock().insert(key, content);
        if self.fault == Fault::ClosesBeforeAnswer {
            return Err(Gone);
        }
        if self.fault == Fault::CommitsSlowly {
            // As a server does whose nodes take long to make it durable.
            self.socket.write_all(b"++")?;
        }
        if self.fault == Fault::StoresOtherBytes {
            digest.0[0] ^= 1;
        }
        self.say(&["S", &format!("version={VERSION}"), "nodes=4", &format!("blake3={digest}")])
    }

    fn retrieve(&mut self, path: &FilePath, range: Option<ByteRange>) -> Result<(), Gone> {
        let Some(content) = self.files.lock().get(&format!("/{}", path.as_str())).cloned() else {
            return self.refuse(&Error::NoSuchFile(path.clone()));
        };
        let mut digest = blake3_of(&content);
        if self.fault == Fault::SendsOtherBytes {
            digest.0[0] ^= 1;
        }
        let mut fields = vec![
            "S".to_owned(),
            format!("bytes={}", content.len()),
            format!("version={VERSION}"),
            format!("blake3={digest}"),
            "stored_ms=5".to_owned(),
        ];
        let mut content = content;
        if let Some(range) = range {
            let part = match range.within(content.len() as u64) {
                Ok(part) => part,
                Err(error) => return self.refuse(&error),
            };
            let [from, end] = [part.start, part.end].map(|at| usize::try_from(at).unwrap());
            content = content[from..end].to_vec();
            // A server that sends from elsewhere.
            let skew = usize::from(self.fault == Fault::SendsOtherBytes);
            fields.extend([format!("from={}", from + skew), format!("length={}", content.len())]);
        }
        self.say(&fields.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (i, piece) in content.chunks(CHUNK_BYTES).enumerate() {
            let head = chunk::data_head(&[piece]);
            let mut piece = piece.to_vec();
            if i == 1 {
                match self.fault {
                    Fault::DamagesChunk => piece[9] ^= 4,
                    Fault::Closes => return Err(Gone),
                    Fault::GivesUp => {
                        self.socket.write_all(&chunk::given_up())?;
                        return self.refuse(&Error::Damaged("two nodes".into()));
                    }
                    _ => {}
                }
            }
            self.socket.write_all(&head)?;
            self.socket.write_all(&piece)?;
        }
        self.socket.write_all(&chunk::end(&blake3_of(&content)))?;
        self.say(&["S", "nodes=1,4"])
    }

    fn say(&mut self, message: &[&str]) -> Result<(), Gone> {
        Ok(self.socket.write_all(&lines::encode(message))?)
    }

    fn refuse(&mut self, error: &Error) -> Result<(), Gone> {
        Ok(self.socket.write_all(&Reply::from_error(error).encode())?)
    }

    fn line(&mut self) -> Result<String, Gone> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Err(Gone),
            _ => Ok(line.strip_suffix("\r\n").unwrap().to_owned()),
        }
    }

    fn message(&mut self) -> Result<Vec<String>, Gone> {
        let mut message = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(message);
            }
            message.push(line);
        }
    }

    fn head(&mut self) -> Result<Head, Gone> {
        let head: [u8; HEAD_BYTES] = self.take(HEAD_BYTES)?.try_into().unwrap();
        Ok(chunk::decode_head(&head).unwrap())
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Gone> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

pub(crate) fn blake3_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}
