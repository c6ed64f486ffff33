//! A node behind a TCP connection.
//!
//! Connections are kept and reused; one is used by one thread at a time. A connection goes back only
//! after a whole exchange, so what is read from it always belongs to the latest question.

use std::time::Duration;

use parking_lot::Mutex;

use crate::core::cluster::node::{Node, PieceSink, PieceSource, Query};
use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::io::frames;
use crate::core::io::net::{Deadline, Stream};
use crate::core::types::{ClusterId, Digest, NodeId, VersionId};
use crate::core::wire::node::{self as wire, Order, Outcome, PROTOCOL, PieceMeta, Reply, Request};

/// Connections that are kept for their next use, for each node.
const IDLE_CONNECTIONS_MAX: usize = 16;

const CONNECT: Deadline = Deadline::new(Duration::from_secs(2), "accept a connection");
const WELCOME: Deadline = Deadline::new(Duration::from_secs(3), "answer a hello");
const PING: Deadline = Deadline::new(Duration::from_secs(3), "answer a probe");
const TAKE: Deadline = Deadline::new(Duration::from_secs(5), "take a stripe");
const ASK: Deadline = Deadline::new(Duration::from_secs(5), "take a request");
const SEND_UNITS: Deadline = Deadline::new(Duration::from_secs(5), "send a stripe");
const REST: Deadline = Deadline::new(Duration::from_secs(5), "finish an answer");
const CARRY: Deadline = Deadline::new(Duration::from_secs(20), "carry out its orders");

/// Syncing a piece takes the longer the larger it is; most of it is on disk already by then.
const STAGE_BASE: Duration = Duration::from_secs(8);
const STAGE_BYTES_PER_SECOND: u64 = 8 << 20;

/// One node, reached over TCP.
pub struct TcpNode {
    id: NodeId,
    cluster: ClusterId,
    address: String,
    idle: std::sync::Arc<Mutex<Vec<Stream>>>,
}

impl TcpNode {
    /// The node at this address; nothing is connected yet.
    pub fn new(id: NodeId, cluster: ClusterId, address: String) -> TcpNode {
        TcpNode { id, cluster, address, idle: std::sync::Arc::default() }
    }

    fn open(&self) -> Result<Link> {
        while let Some(mut stream) = { self.idle.lock().pop() } {
            // A kept connection has nothing to say; one that has (its end, most likely) is stale.
            if let Ok(None) = stream.read_ready(&mut [0]) {
                return Ok(self.link(stream));
            }
        }
        let stream = Stream::connect("node", &self.address, &CONNECT)
            .map_err(|error| failed(self.id, &format!("node {}", self.address), error))?;
        let mut link = self.link(stream);
        let hello = Request::Hello { protocol: PROTOCOL, cluster: self.cluster, node: self.id };
        link.send(&hello, &[], &ASK)?;
        match link.receive(&WELCOME)? {
            Reply::Welcome { .. } => Ok(link),
            _ => Err(link.out_of_turn()),
        }
    }

    fn link(&self, stream: Stream) -> Link {
        Link { id: self.id, stream: Some(stream), home: self.idle.clone(), body: Vec::new() }
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

    fn ping(&self) -> Result<()> {
        match self.ask(&Request::Ping, &PING)? {
            Reply::Done => Ok(()),
            _ => Err(out_of_turn(self.id)),
        }
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
            place: query.place.clone(),
            first_stripe: query.first_stripe,
            stripes: query.stripes,
            select: query.select,
        };
        link.send(&request, &[], &ASK)?;
        Ok(Box::new(TcpSource { link, left: query.stripes }))
    }

    fn carry(&self, orders: &[Order]) -> Result<Vec<Outcome>> {
        match self.ask(&Request::Carry(orders.to_vec()), &CARRY)? {
            Reply::Carried(outcomes) if outcomes.len() == orders.len() => Ok(outcomes),
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn staged(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        match self.ask(&Request::ListStaged { after }, &CARRY)? {
            Reply::StagedVersions(versions) if goes_on(after, &versions) => Ok(versions),
            _ => Err(out_of_turn(self.id)),
        }
    }

    fn forget_connections(&self) {
        self.idle.lock().clear();
    }
}

/// A connection in use. Dropped without being given back, it is closed.
struct Link {
    id: NodeId,
    stream: Option<Stream>,
    home: std::sync::Arc<Mutex<Vec<Stream>>>,
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
        let id = self.id;
        let stream = self.stream()?;
        match frames::receive(stream, body, deadline, &REST) {
            Ok(Some(Reply::Failed(why))) => {
                self.give_back();
                Err(Error::Node { node: id, why: why.into() })
            }
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => {
                let closed = stream.closed();
                Err(failed(id, stream.name(), closed))
            }
            Err(error) => Err(failed(id, stream.name(), error)),
        }
    }

    fn give_back(&mut self) {
        if let Some(stream) = self.stream.take() {
            let mut home = self.home.lock();
            if home.len() < IDLE_CONNECTIONS_MAX {
                home.push(stream);
            }
        }
    }

    fn out_of_turn(&self) -> Error {
        out_of_turn(self.id)
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

    fn keep_alive(&mut self) -> Result<()> {
        self.send(&Request::KeepAlive, [&[], &[]])
    }

    fn ask_finish(&mut self, blake3: Digest) -> Result<()> {
        self.send(&Request::Finish { blake3 }, [&[], &[]])
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
}

impl PieceSource for TcpSource {
    fn units(&mut self, body: &mut Vec<u8>) -> Result<[u64; 2]> {
        match self.link.receive_into(body, &SEND_UNITS)? {
            Reply::Units { checksums } => {
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    self.link.give_back();
                }
                Ok(checksums)
            }
            _ => Err(self.link.out_of_turn()),
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
        other if other.code() == Code::Unreachable || other.code() == Code::Usage => {
            NodeFailure::Unreachable(text)
        }
        _ => NodeFailure::Refused(text),
    };
    Error::Node { node, why }
}

#[cfg(test)]
mod tests {
    use super::*;

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
