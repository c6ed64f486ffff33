//! A node behind a TCP connection.
//!
//! Connections are kept and reused; one is used by one thread at a time. A connection goes back only
//! after a whole exchange, so what is read from it always belongs to the latest question.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::cluster::node::{Node, PendingAppend, PieceSink, PieceSource, Query};
use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::io::frames;
use crate::core::io::is_shortage;
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::tls::{Connector, check_without_key};
use crate::core::types::{Claim, ClusterId, Digest, NodeId, Seq, VersionId};
use crate::core::wire::journal::{Entry, JournalState, Point};
use crate::core::wire::node::{
    self as wire, Alive, Append, ENTRIES_MAX, PROTOCOL, PieceMeta, Reply, Request, Serves,
    VERSION_IDS_MAX, ViewReport,
};
use crate::core::wire::snapshot::{SnapshotReply, SnapshotRequest};

/// Connections that are kept for their next use, for each node.
const IDLE_CONNECTIONS_MAX: usize = 16;

const CONNECT: Deadline = Deadline::new(Duration::from_secs(2), "accept a connection");
const WELCOME: Deadline = Deadline::new(Duration::from_secs(3), "answer a hello");
const SERVES: Deadline = Deadline::new(Duration::from_secs(2), "say whom it serves");
const BYE: Deadline = Deadline::new(Duration::from_secs(1), "take a good-bye");
const PING: Deadline = Deadline::new(Duration::from_secs(3), "answer a probe");
const TAKE: Deadline = Deadline::new(Duration::from_secs(5), "take a stripe");
const ASK: Deadline = Deadline::new(Duration::from_secs(5), "take a request");
const SEND_UNITS: Deadline = Deadline::new(Duration::from_secs(5), "send a stripe");
const REST: Deadline = Deadline::new(Duration::from_secs(5), "finish an answer");
const APPEND: Deadline = Deadline::new(Duration::from_secs(5), "add to its journal");
const POINT: Deadline = Deadline::new(Duration::from_secs(5), "look into its journal");
const ENTRIES: Deadline = Deadline::new(Duration::from_secs(20), "read its journal");
const SNAPSHOT: Deadline = Deadline::new(Duration::from_secs(30), "take a part of a snapshot");
const REMOVE: Deadline = Deadline::new(Duration::from_secs(30), "remove pieces");
const VERIFY: Deadline = Deadline::new(Duration::from_secs(30), "read its blocks from the disk");
const LIST: Deadline = Deadline::new(Duration::from_secs(30), "list what lies on its disk");
const PROOF: Deadline = Deadline::new(Duration::from_secs(3), "write to its disk");
const VIEW: Deadline = Deadline::new(Duration::from_secs(600), "check its view");

/// Syncing a piece takes the longer the larger it is; most of it is on disk already by then.
const STAGE_BASE: Duration = Duration::from_secs(8);
const STAGE_BYTES_PER_SECOND: u64 = 8 << 20;

/// One node, reached over TCP.
pub struct TcpNode {
    id: NodeId,
    /// The cluster and what the server registers with; nothing if the node is only asked.
    server: Mutex<Option<(ClusterId, Claim)>>,
    connector: Option<Connector>,
    address: Mutex<String>,
    idle: std::sync::Arc<Mutex<Idle>>,
    /// How far its journal was when it last said hello.
    greeted: Mutex<Option<JournalState>>,
}

/// Connections that wait for their next use.
#[derive(Default)]
struct Idle {
    streams: Vec<Stream>,
    /// Counts the addresses, and what was registered with: a connection to an older one does not come
    /// back.
    address: u64,
}

impl TcpNode {
    /// The node at this address; nothing is connected yet. Every connection registers the claim.
    pub fn new(id: NodeId, cluster: ClusterId, claim: Claim, address: String) -> TcpNode {
        TcpNode { server: Mutex::new(Some((cluster, claim))), ..TcpNode::asking(id, address) }
    }

    /// The node at this address, for somebody who is not its server and only asks: whom it serves,
    /// what is in its journal and its snapshots. The node refuses everything else.
    pub fn asking(id: NodeId, address: String) -> TcpNode {
        let (address, idle, greeted) =
            (Mutex::new(address), std::sync::Arc::default(), Mutex::default());
        TcpNode { id, server: Mutex::default(), connector: None, address, idle, greeted }
    }

    /// The same, encrypted with the cluster's key if there is one. A node without it is then not
    /// talked to.
    #[must_use]
    pub fn encrypted(mut self, connector: Option<Connector>) -> TcpNode {
        self.connector = connector;
        self
    }

    /// A connection that was kept, if there is one that can be used.
    fn open_kept(&self) -> Option<Link> {
        loop {
            let (address, kept) = {
                let mut idle = self.idle.lock();
                (idle.address, idle.streams.pop())
            };
            let mut stream = kept?;
            // A kept connection has nothing to say; one that has (its end, most likely) is stale.
            if let Ok(None) = stream.read_ready(&mut [0]) {
                return Some(self.link(stream, address));
            }
        }
    }

    fn open(&self) -> Result<Link> {
        if let Some(link) = self.open_kept() {
            return Ok(link);
        }
        let address = { self.idle.lock().address };
        let (place, server) = { (self.address.lock().clone(), *self.server.lock()) };
        let mut link = self.link(connect(self.id, &place, self.connector.as_ref())?, address);
        let (protocol, node) = (PROTOCOL, self.id);
        let hello = match server {
            Some((cluster, claim)) => Request::Hello { protocol, cluster, node, claim },
            None => Request::WhoServes { protocol, node },
        };
        link.send(&hello, &[], &ASK)?;
        match (link.receive(&WELCOME)?, server) {
            (Reply::Welcome { journal, .. }, Some(_)) => {
                let idle = self.idle.lock();
                // It says nothing about another node, or to somebody else.
                if idle.address == address {
                    *self.greeted.lock() = Some(journal);
                }
                drop(idle);
                Ok(link)
            }
            (Reply::Serves(_), None) => Ok(link),
            _ => Err(link.out_of_turn()),
        }
    }

    fn forget_greeting(&self) {
        let mut idle = self.idle.lock();
        idle.streams.clear();
        idle.address += 1;
        *self.greeted.lock() = None;
    }

    fn link(&self, stream: Stream, address: u64) -> Link {
        let home = self.idle.clone();
        Link { id: self.id, stream: Some(stream), home, address, body: Vec::new() }
    }

    /// Tells it something that is answered by `Done`.
    fn tell(&self, request: &Request, deadline: &Deadline) -> Result<()> {
        match self.ask(request, deadline)? {
            Reply::Done => Ok(()),
            _ => Err(out_of_turn(self.id)),
        }
    }

    /// Asks one question and gives back the connection.
    fn ask(&self, request: &Request, deadline: &Deadline) -> Result<Reply> {
        let mut link = self.open()?;
        link.send(request, &[], &ASK)?;
        let reply = link.receive(deadline)?;
        link.give_back();
        Ok(reply)
    }
}

impl Node for TcpNode {
    fn id(&self) -> NodeId {
        self.id
    }

    fn ping(&self, decided: u64) -> Result<Alive> {
        match self.ask(&Request::Ping { decided }, &PING)? {
            Reply::Alive(alive) => Ok(alive),
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn prove_disk(&self) -> Result<()> {
        self.tell(&Request::ProveDisk, &PROOF)
    }

    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>> {
        let piece_bytes = meta.file_bytes / 2;
        let longest = STAGE_BASE + Duration::from_secs(piece_bytes / STAGE_BYTES_PER_SECOND);
        let staged = Deadline::new(longest, "confirm a piece");
        let begin = wire::encode(&Request::Stage(meta.clone()), 0)?;
        let link = self.open()?;
        Ok(Box::new(TcpSink { link, begin, staged }))
    }

    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>> {
        let mut link = self.open()?;
        let request = Request::Read {
            version: query.version,
            first_stripe: query.first_stripe,
            stripes: query.stripes,
            select: query.select,
        };
        link.send(&request, &[], &ASK)?;
        Ok(Box::new(TcpSource { link, left: query.stripes, asked: None }))
    }

    fn verify(&self, version: VersionId, first_stripe: u64, stripes: u64) -> Result<Vec<[u64; 2]>> {
        match self.ask(&Request::Verify { version, first_stripe, stripes }, &VERIFY)? {
            Reply::Verified { checksums } if checksums.len() as u64 == stripes => Ok(checksums),
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn append(&self, append: &Append, body: &[&[u8]]) -> Result<JournalState> {
        let mut link = self.open()?;
        link.send(&Request::Append(append.clone()), body, &TAKE)?;
        let reply = link.receive(&APPEND)?;
        link.take_journal(reply)
    }

    fn begin_append(
        &self,
        append: Append,
        body: &[&[u8]],
        may_connect: bool,
    ) -> Result<Option<Box<dyn PendingAppend>>> {
        let link = match self.open_kept() {
            None if !may_connect => return Ok(None),
            Some(link) => Ok(link),
            None => self.open(),
        };
        let mut link = link?;
        link.send(&Request::Append(append), body, &TAKE)?;
        Ok(Some(Box::new(TcpAppend { link, sent: Instant::now() })))
    }

    fn point_at(&self, id: u64) -> Result<Option<Point>> {
        match self.ask(&Request::PointAt { id }, &POINT)? {
            Reply::PointAt(point) => Ok(point),
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn entries(&self, after: Point, take: &mut dyn FnMut(Vec<Entry>) -> Result<()>) -> Result<()> {
        let mut link = self.open()?;
        link.send(&Request::Entries { after }, &[], &ASK)?;
        loop {
            match link.receive(&ENTRIES)? {
                Reply::Entries(entries) if entries.is_empty() => break,
                Reply::Entries(entries) if entries.len() <= ENTRIES_MAX => take(entries)?,
                _ => return Err(link.out_of_turn()),
            }
        }
        link.give_back();
        Ok(())
    }

    fn snapshot(&self, request: &SnapshotRequest, body: &[u8]) -> Result<(SnapshotReply, Vec<u8>)> {
        let mut link = self.open()?;
        link.send(&Request::Snapshot(request.clone()), &[body], &TAKE)?;
        match link.receive(&SNAPSHOT)? {
            Reply::Snapshot(reply) => {
                link.give_back();
                Ok((reply, std::mem::take(&mut link.body)))
            }
            _ => Err(link.out_of_turn()),
        }
    }

    fn pieces(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        match self.ask(&Request::Pieces { after }, &LIST)? {
            Reply::Pieces(versions)
                if versions.len() <= VERSION_IDS_MAX && goes_on(after, &versions) =>
            {
                Ok(versions)
            }
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn lacks(&self, versions: &[VersionId]) -> Result<Vec<VersionId>> {
        match self.ask(&Request::Lacks { versions: versions.to_vec() }, &LIST)? {
            Reply::Pieces(lacking) if lacking.len() <= versions.len() => Ok(lacking),
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn discard(&self, versions: &[VersionId]) -> Result<()> {
        self.tell(&Request::Discard { versions: versions.to_vec() }, &REMOVE)
    }

    fn close_gap(&self, gap: u64) -> Result<()> {
        self.tell(&Request::CloseGap { gap }, &ASK)
    }

    fn check_view(&self) -> Result<ViewReport> {
        match self.ask(&Request::CheckView, &VIEW)? {
            Reply::ViewChecked(report) => Ok(report),
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn greeted(&self) -> Option<JournalState> {
        *self.greeted.lock()
    }

    fn register_as(&self, claim: Claim) {
        if let Some((_, own)) = &mut *self.server.lock() {
            *own = claim;
        }
        self.forget_greeting();
    }

    fn forget_connections(&self) {
        self.idle.lock().streams.clear();
    }

    fn who_serves_at(&self, address: &str) -> Result<Serves> {
        if self.connector.is_none() {
            check_without_key(address)?;
        }
        who_serves(self.id, address, self.connector.as_ref())
    }

    fn move_to(&self, address: &str) {
        *self.address.lock() = address.to_owned();
        self.forget_greeting();
    }

    fn bye(&self) -> Result<()> {
        self.tell(&Request::Bye, &BYE)
    }

    fn who_serves(&self) -> Result<Serves> {
        let address = { self.address.lock().clone() };
        who_serves(self.id, &address, self.connector.as_ref())
    }
}

/// Asks the node at an address whom it serves, without registering anything. Works whatever cluster
/// it belongs to, and on a connection of its own, encrypted with the cluster's key if there is one.
///
/// # Errors
/// [`Error::Node`]: it cannot be reached, is another node, or speaks another version.
pub fn who_serves(id: NodeId, address: &str, connector: Option<&Connector>) -> Result<Serves> {
    // Nobody has said hello on it, so it is not kept.
    let (home, stream) = (std::sync::Arc::default(), Some(connect(id, address, connector)?));
    let mut link = Link { id, stream, home, address: u64::MAX, body: Vec::new() };
    link.send(&Request::WhoServes { protocol: PROTOCOL, node: id }, &[], &SERVES)?;
    match link.receive(&SERVES)? {
        Reply::Serves(serves) => Ok(serves),
        _ => Err(link.out_of_turn()),
    }
}

/// Asks all four nodes at once. One that cannot be reached costs about two seconds, one that refuses
/// the connection nothing.
pub fn who_serves_all(
    addresses: &[String; 4],
    connector: Option<&Connector>,
) -> [Result<Serves>; 4] {
    thread::scope(|scope| {
        NodeId::ALL
            .map(|id| scope.spawn(move || who_serves(id, &addresses[id.index()], connector)))
            .map(|asked| asked.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn connect(id: NodeId, address: &str, connector: Option<&Connector>) -> Result<Stream> {
    let mut stream = Stream::connect("node", address, &CONNECT)
        .map_err(|error| failed(id, &format!("node {address}"), error))?;
    if let Some(connector) = connector {
        connector
            .connect(&mut stream, &WELCOME)
            .map_err(|error| failed(id, stream.name(), not_encrypted(id, error)))?;
    }
    Ok(stream)
}

/// A connection in use. Dropped without being given back, it is closed.
struct Link {
    id: NodeId,
    stream: Option<Stream>,
    home: std::sync::Arc<Mutex<Idle>>,
    /// The count of the address that it leads to.
    address: u64,
    body: Vec<u8>,
}

impl Link {
    fn stream(&mut self) -> Result<&mut Stream> {
        // Given back already: a mistake of the caller, answered like a lost connection.
        let id = self.id;
        self.stream.as_mut().ok_or_else(|| out_of_turn(id))
    }

    fn send(&mut self, request: &Request, body: &[&[u8]], deadline: &Deadline) -> Result<()> {
        let id = self.id;
        let stream = self.stream()?;
        frames::send(stream, request, body, deadline)
            .map_err(|error| failed(id, stream.name(), error))
    }

    /// The next reply; its body is in `self.body`. A failure that the node tells ends the exchange,
    /// so the connection goes back.
    fn receive(&mut self, deadline: &Deadline) -> Result<Reply> {
        let mut body = std::mem::take(&mut self.body);
        let result = self.receive_into(&mut body, deadline);
        self.body = body;
        result
    }

    fn receive_into(&mut self, body: &mut Vec<u8>, deadline: &Deadline) -> Result<Reply> {
        match self.receive_within(body, deadline.limit)? {
            Some(reply) => Ok(reply),
            None => Err(self.missed(deadline)),
        }
    }

    /// The same; `None` if it does not begin to come within this time.
    fn receive_within(&mut self, body: &mut Vec<u8>, longest: Duration) -> Result<Option<Reply>> {
        let id = self.id;
        let stream = self.stream()?;
        match frames::receive_within(stream, body, longest, &REST) {
            Ok(Some(Some(Reply::Failed(why)))) => {
                self.give_back();
                Err(Error::Node { node: id, why: why.into() })
            }
            Ok(Some(Some(reply))) => Ok(Some(reply)),
            Ok(Some(None)) => {
                let closed = stream.closed();
                Err(failed(id, stream.name(), closed))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(failed(id, stream.name(), error)),
        }
    }

    fn missed(&mut self, deadline: &Deadline) -> Error {
        let id = self.id;
        match self.stream() {
            Ok(stream) => failed(id, stream.name(), deadline.missed(stream.name())),
            Err(error) => error,
        }
    }

    /// The answer to entries.
    fn take_journal(&mut self, reply: Reply) -> Result<JournalState> {
        match reply {
            Reply::Journal(journal) => {
                self.give_back();
                Ok(journal)
            }
            _ => Err(self.out_of_turn()),
        }
    }

    fn give_back(&mut self) {
        if let Some(stream) = self.stream.take() {
            let mut home = self.home.lock();
            if home.address == self.address && home.streams.len() < IDLE_CONNECTIONS_MAX {
                home.streams.push(stream);
            }
        }
    }

    fn out_of_turn(&self) -> Error {
        out_of_turn(self.id)
    }
}

/// Entries that were sent and are not answered yet.
struct TcpAppend {
    link: Link,
    sent: Instant,
}

impl PendingAppend for TcpAppend {
    fn wait(&mut self, longest: Duration) -> Result<Option<JournalState>> {
        match self.link.receive_within(&mut Vec::new(), longest)? {
            Some(reply) => self.link.take_journal(reply).map(Some),
            None if self.sent.elapsed() < APPEND.limit => Ok(None),
            None => Err(self.link.missed(&APPEND)),
        }
    }
}

/// A piece on its way.
struct TcpSink {
    link: Link,
    /// The frame that begins the piece; it leaves together with the first thing that follows it.
    begin: Vec<u8>,
    staged: Deadline,
}

impl TcpSink {
    fn send(&mut self, request: &Request, units: [&[u8]; 2]) -> Result<()> {
        let frame = wire::encode(request, units.iter().map(|unit| unit.len()).sum())?;
        let id = self.link.id;
        let stream = self.link.stream()?;
        stream
            .write_all(&[&self.begin, &frame, units[0], units[1]], &TAKE)
            .map_err(|error| failed(id, stream.name(), error))?;
        self.begin.clear();
        Ok(())
    }
}

impl PieceSink for TcpSink {
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()> {
        self.send(&Request::Units { checksums }, units)
    }

    fn shorten(&mut self, file_bytes: u64) -> Result<()> {
        self.send(&Request::Shorten { file_bytes }, [&[], &[]])
    }

    fn keep_alive(&mut self) -> Result<()> {
        self.send(&Request::KeepAlive, [&[], &[]])
    }

    fn ask_finish(&mut self, seq: Seq, blake3: Digest) -> Result<()> {
        self.send(&Request::Finish { seq, blake3 }, [&[], &[]])
    }

    fn await_staged(&mut self) -> Result<()> {
        match self.link.receive(&self.staged)? {
            Reply::Staged => {
                self.link.give_back();
                Ok(())
            }
            _ => Err(self.link.out_of_turn()),
        }
    }
}

struct TcpSource {
    link: Link,
    left: u64,
    /// Since when the next units are waited for.
    asked: Option<Instant>,
}

impl PieceSource for TcpSource {
    fn units(&mut self, body: &mut Vec<u8>) -> Result<[u64; 2]> {
        match self.units_within(body, SEND_UNITS.limit)? {
            Some(checksums) => Ok(checksums),
            None => Err(self.link.missed(&SEND_UNITS)),
        }
    }

    fn units_within(&mut self, body: &mut Vec<u8>, longest: Duration) -> Result<Option<[u64; 2]>> {
        let asked = *self.asked.get_or_insert_with(Instant::now);
        match self.link.receive_within(body, longest)? {
            Some(Reply::Units { checksums }) => {
                self.asked = None;
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    self.link.give_back();
                }
                Ok(Some(checksums))
            }
            Some(_) => Err(self.link.out_of_turn()),
            None if asked.elapsed() < SEND_UNITS.limit => Ok(None),
            None => Err(self.link.missed(&SEND_UNITS)),
        }
    }
}

/// Are these ids ascending and all above that one? Whoever asks on from the last of them would never
/// come to an end with a node that answers otherwise.
fn goes_on(after: Option<VersionId>, versions: &[VersionId]) -> bool {
    versions.is_sorted() && versions.first().is_none_or(|first| after < Some(*first))
}

fn out_of_turn(node: NodeId) -> Error {
    Error::Node { node, why: NodeFailure::Refused("it answered something else".into()) }
}

/// A node that was started without a key closes what it does not understand, or answers in plain text.
/// One that has no connection to give says so before it encrypts.
fn not_encrypted(id: NodeId, error: Error) -> Error {
    match error {
        Error::PlainAnswer(said) if is_busy(&said) => {
            let why = "it has no connection to give".to_owned();
            Error::node(id, NodeFailure::Busy(why))
        }
        Error::Closed(_) | Error::PlainAnswer(_) => {
            let text = "it does not encrypt: start it with --key and the same file as the server";
            Error::other(Code::NotAllowed, text)
        }
        other => other,
    }
}

/// Is this the frame by which a node says that it is busy?
fn is_busy(said: &[u8]) -> bool {
    let Some((head, message)) = said.split_first_chunk() else { return false };
    let reply = wire::decode_head(head).and_then(|head| wire::decode(&head, message));
    matches!(reply, Ok(Reply::Failed(wire::Failure::Busy(_))))
}

/// An error of a connection as one of the node; `peer` is named by the node's number instead.
fn failed(node: NodeId, peer: &str, error: Error) -> Error {
    let text = error.to_string();
    let text = text
        .strip_prefix(&format!("cannot connect to {peer}: "))
        .or_else(|| text.strip_prefix(&format!("{peer} ")))
        .unwrap_or(&text)
        .to_owned();
    let why = match error {
        Error::Deadline(_) => NodeFailure::Late(text),
        Error::Closed(_) => NodeFailure::Unreachable("it closed the connection".into()),
        Error::Node { why, .. } => why,
        // It is this server that is short of something.
        Error::Io { source, .. } if is_shortage(&source) => NodeFailure::Busy(text),
        other if other.code() == Code::Unreachable || other.code() == Code::Usage => {
            NodeFailure::Unreachable(text)
        }
        _ => NodeFailure::Refused(text),
    };
    Error::Node { node, why }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn without_a_key_no_node_elsewhere_is_asked_whom_it_serves() {
        let node = TcpNode::asking(NodeId::ALL[0], "127.0.0.1:1".into());
        assert!(matches!(node.who_serves_at("192.0.2.1:1"), Err(Error::NeedsKey(_))));
    }

    #[test]
    fn a_node_that_turns_away_before_it_encrypts_is_busy_and_not_without_a_key() {
        let id = NodeId::ALL[1];
        let said = |reply: &Reply| Error::PlainAnswer(wire::encode(reply, 0).unwrap());
        let failure = |error| match failed(id, "node", not_encrypted(id, error)) {
            Error::Node { why, .. } => why,
            other => panic!("{other}"),
        };
        let busy = Reply::Failed(wire::Failure::Busy("there are 8 connections".into()));
        assert!(matches!(failure(said(&busy)), NodeFailure::Busy(_)));
        for other in [said(&Reply::Done), Error::PlainAnswer(vec![0; 9])] {
            assert!(matches!(failure(other), NodeFailure::Refused(_)));
        }
        let no_files = Error::io("this machine cannot connect")(io::Error::from_raw_os_error(24));
        assert!(matches!(failure(no_files), NodeFailure::Busy(_)));
    }

    #[test]
    fn a_list_that_does_not_go_on_is_no_answer() {
        let id = |n: u8| VersionId([n; 16]);
        assert!(goes_on(None, &[]) && goes_on(Some(id(9)), &[]));
        assert!(goes_on(None, &[id(0), id(1)]) && goes_on(Some(id(1)), &[id(2), id(3)]));
        assert!(!goes_on(Some(id(2)), &[id(2), id(3)]), "the same again");
        assert!(!goes_on(Some(id(2)), &[id(1)]), "backwards");
        assert!(!goes_on(None, &[id(2), id(1)]), "not ascending");
    }
}
