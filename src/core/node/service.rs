//! What a node does on the wire: reads a request, asks the store, answers.
//!
//! ```text
//!   Hello ──> Welcome ──┬─ Ping, Carry, ListStaged ──> answer ──┐
//!                       ├─ Read ──> Units ... Units             ├──> next request
//!                       └─ Stage, Units ... Finish ──> Staged ──┘
//! ```
//!
//! While a piece comes in, nothing is answered until its end, so that the server never waits for a
//! node stripe by stripe. What goes wrong meanwhile is told then, and the rest is read and dropped.
//! A connection that ends in the middle of a piece leaves nothing behind.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crate::core::code::repair::Select;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::frames;
use crate::core::io::listener::{Listener, Most, State};
use crate::core::io::net::{Deadline, Stream};
use crate::core::node::stage::Stage;
use crate::core::node::store::BlockStore;
use crate::core::types::{Digest, VersionId};
use crate::core::wire::node::{
    Failure, ORDERS_MAX, PROTOCOL, PieceMeta, Place, Reply, Request, STAGED_VERSIONS_MAX, shorten,
};

/// The most connections at once: far more than a server with a connection for each transfer opens.
const CONNECTIONS_MAX: usize = 512;

/// A server that has connected says hello at once.
const HELLO: Deadline = Deadline::new(Duration::from_secs(10), "say hello");

/// Kept connections wait for their next use; the server opens new ones as it needs them.
const IDLE: Deadline = Deadline::new(Duration::from_secs(600), "ask for anything");

/// Within a piece the server sends a sign of life when it has nothing else to send.
const NEXT_FRAME: Deadline = Deadline::new(Duration::from_secs(60), "go on with a piece");

/// The rest of a frame follows its beginning.
const REST_OF_FRAME: Deadline = Deadline::new(Duration::from_secs(30), "finish a frame");

/// The server reads as slowly as its client takes the file, and ends that client's transfer long
/// before this.
const TAKE_ANSWER: Deadline = Deadline::new(Duration::from_secs(600), "take an answer");

/// One connection from a server.
struct Connection {
    store: Arc<BlockStore>,
    state: Arc<State>,
    stream: Stream,
    body: Vec<u8>,
}

/// Serves the store until the process ends.
pub fn run(listener: &Listener, store: &Arc<BlockStore>) {
    let (store, state) = (store.clone(), listener.state());
    let serve = move |socket: TcpStream, peer| {
        let served = Stream::accepted(socket, format!("server {peer}")).and_then(|stream| {
            let (store, state) = (store.clone(), state.clone());
            Connection { store, state, stream, body: Vec::new() }.serve()
        });
        if let Err(error) = served {
            tracing::info!("connection from {peer} ended: {error}");
        }
    };
    // A node's clients are servers, of which there is one.
    let most = Most { all: CONNECTIONS_MAX, per_network: None };
    listener.run("server", most, serve, |_, peer, _| {
        tracing::warn!("connection from {peer} refused: there are {CONNECTIONS_MAX} already");
    });
}

impl Connection {
    fn serve(mut self) -> Result<()> {
        if !self.greet()? {
            return Ok(());
        }
        while let Some(request) = self.receive(&IDLE)? {
            let state = self.state.clone();
            let Some(_busy) = state.begin() else {
                return self.fail(&NodeFailure::Refused("it is shutting down".into()));
            };
            self.answer(request)?;
        }
        Ok(())
    }

    /// True if the server may go on.
    fn greet(&mut self) -> Result<bool> {
        let (protocol, cluster, node) = match self.receive(&HELLO)? {
            Some(Request::Hello { protocol, cluster, node }) => (protocol, cluster, node),
            Some(_) => return Err(Error::Protocol("the first message is no hello".into())),
            None => return Ok(false),
        };
        let own = self.store.id();
        let refusal = if protocol != PROTOCOL {
            Some(format!("it speaks protocol {PROTOCOL}, the server {protocol}"))
        } else if node != own {
            Some(format!("it is node {own}, not node {node}: check the order of the addresses"))
        } else {
            self.store.join_cluster(cluster).err().map(|error| error.to_string())
        };
        if let Some(why) = refusal {
            tracing::warn!("{} refused: {why}", self.stream.name());
            self.fail(&NodeFailure::Refused(why))?;
            return Ok(false);
        }
        let folder = shorten(&self.store.root().display().to_string());
        self.send(&Reply::Welcome { folder })?;
        Ok(true)
    }

    fn answer(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Ping => self.send(&Reply::Done),
            Request::Stage(meta) => self.stage(meta),
            Request::Carry(orders) if orders.len() <= ORDERS_MAX => {
                let outcomes = self.store.carry(&orders);
                self.send(&Reply::Carried(outcomes))
            }
            Request::Read { version, place, first_stripe, stripes, select } => {
                self.read(version, &place, first_stripe, stripes, select)
            }
            Request::ListStaged { after } => match self.store.staged(after, STAGED_VERSIONS_MAX) {
                Ok(versions) => self.send(&Reply::StagedVersions(versions)),
                Err(error) => self.fail(&failure(error)),
            },
            Request::Hello { .. }
            | Request::Units { .. }
            | Request::KeepAlive
            | Request::Finish { .. }
            | Request::Carry(_) => Err(Error::Protocol("a message out of its turn".into())),
        }
    }

    /// Receives a piece to its end. The first failure is kept and told there.
    fn stage(&mut self, meta: PieceMeta) -> Result<()> {
        let mut stage = self.store.stage(meta);
        loop {
            let request = self.receive(&NEXT_FRAME)?.ok_or_else(|| self.stream.closed())?;
            match request {
                Request::KeepAlive => {}
                Request::Units { checksums } => stage = self.take_units(stage, checksums),
                Request::Finish { blake3 } => return self.finish(stage, blake3),
                _ => return Err(Error::Protocol("a message out of its turn".into())),
            }
        }
    }

    fn take_units(&self, stage: Result<Stage>, checksums: [u64; 2]) -> Result<Stage> {
        let mut stage = stage?;
        let (first, second) = self.body.split_at(self.body.len() / 2);
        stage.units([first, second], checksums)?;
        Ok(stage)
    }

    fn finish(&mut self, stage: Result<Stage>, blake3: Digest) -> Result<()> {
        match stage.and_then(|stage| stage.finish(blake3)) {
            Ok(()) => self.send(&Reply::Staged),
            Err(error) => {
                tracing::warn!("a piece was not staged: {error}");
                self.fail(&failure(error))
            }
        }
    }

    fn read(
        &mut self,
        version: VersionId,
        place: &Place,
        first_stripe: u64,
        stripes: u64,
        select: Select,
    ) -> Result<()> {
        let mut piece = self.store.open_piece(version, place);
        let end = first_stripe.saturating_add(stripes);
        let mut body = std::mem::take(&mut self.body);
        for stripe in first_stripe..end {
            match piece.units(stripe, select, &mut body) {
                Ok(checksums) => {
                    let reply = Reply::Units { checksums };
                    frames::send(&mut self.stream, &reply, &[&body], &TAKE_ANSWER)?;
                }
                Err(error) => {
                    tracing::warn!("{place}: {error}");
                    return self.fail(&failure(error));
                }
            }
        }
        self.body = body;
        Ok(())
    }

    fn receive(&mut self, first: &Deadline) -> Result<Option<Request>> {
        frames::receive(&mut self.stream, &mut self.body, first, &REST_OF_FRAME)
    }

    fn send(&mut self, reply: &Reply) -> Result<()> {
        frames::send(&mut self.stream, reply, &[], &TAKE_ANSWER)
    }

    fn fail(&mut self, why: &NodeFailure) -> Result<()> {
        self.send(&Reply::Failed(Failure::from(why)))
    }
}

fn failure(error: Error) -> NodeFailure {
    match error {
        Error::Node { why, .. } => why,
        other => NodeFailure::Refused(other.to_string()),
    }
}
