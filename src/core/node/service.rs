//! What a node does on the wire: reads a request, asks the store, answers.
//!
//! ```text
//!   WhoServes ──> Serves, any number of times before
//!   Hello ──> Welcome ──┬─ Ping, Carry, ListStaged ──> answer ──┐
//!                       ├─ Read ──> Units ... Units             ├──> next request
//!                       └─ Stage, Units ... Finish ──> Staged ──┘
//! ```
//!
//! While a piece comes in, nothing is answered until its end, so that the server never waits for a
//! node stripe by stripe. What goes wrong meanwhile is told then, and the rest is read and dropped.
//! Every request is held against the server that the node serves by then: one that has been taken
//! over is told so at its next request, in the middle of a piece at its end.
//! A connection that ends in the middle of a piece leaves nothing behind.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::code::repair::Select;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::frames;
use crate::core::io::listener::{Listener, Most, State};
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::reason;
use crate::core::io::tls::Acceptor;
use crate::core::node::entrance;
use crate::core::node::piece::Piece;
use crate::core::node::stage::Stage;
use crate::core::node::store::BlockStore;
use crate::core::types::{Claim, ClusterId, NodeId};
use crate::core::wire::backup::{Answer, Ask};
use crate::core::wire::node::{
    Failure, ORDERS_MAX, PROTOCOL, Place, Reply, Request, STAGED_VERSIONS_MAX, Serves,
    VERIFY_STRIPES_MAX, shorten,
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
    /// From when the store's times are counted.
    start: Instant,
    stream: Stream,
    body: Vec<u8>,
}

/// Serves the store until the process ends; with an acceptor nobody who has not the cluster's key.
pub fn run(listener: &Listener, store: &Arc<BlockStore>, acceptor: Option<Acceptor>) {
    let (store, state, start) = (store.clone(), listener.state(), Instant::now());
    let serve = move |socket: TcpStream, peer| {
        let served = Stream::accepted(socket, format!("server {peer}")).and_then(|mut stream| {
            if !entrance::admit(&mut stream, acceptor.as_ref(), &HELLO)? {
                return Ok(());
            }
            let (store, state) = (store.clone(), state.clone());
            Connection { store, state, start, stream, body: Vec::new() }.serve()
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
        let Some(claim) = self.greet()? else {
            return Ok(());
        };
        while let Some(request) = self.receive(&IDLE)? {
            let state = self.state.clone();
            let Some(_busy) = state.begin() else {
                return self.fail(&NodeFailure::Refused("it is shutting down".into()));
            };
            self.answer(request, claim)?;
        }
        Ok(())
    }

    /// What the server has registered with, if it may go on.
    fn greet(&mut self) -> Result<Option<Claim>> {
        // Whoever has asked whom this node serves may ask on without becoming its server.
        let mut only_asks = false;
        loop {
            let patience = if only_asks { IDLE } else { HELLO };
            match self.receive(&patience)? {
                Some(Request::WhoServes { protocol, node }) => {
                    match self.misaddressed(protocol, node) {
                        None => self.send(&self.serves())?,
                        Some(why) => return self.turn_away(&NodeFailure::Refused(why)),
                    }
                    only_asks = true;
                }
                Some(Request::Backup(ask @ (Ask::List | Ask::Read { .. }))) if only_asks => {
                    let answer = self.backup(self.store.cluster(), &ask);
                    self.send_backup(answer)?;
                }
                Some(Request::Evidence) if only_asks => self.evidence()?,
                Some(Request::Hello { protocol, cluster, node, claim }) => {
                    if let Some(why) = self.misaddressed(protocol, node) {
                        return self.turn_away(&NodeFailure::Refused(why));
                    }
                    let fresh = match self.store.register(cluster, claim, self.start.elapsed()) {
                        Ok(fresh) => fresh,
                        Err(error) => return self.turn_away(&failure(error)),
                    };
                    self.send(&Reply::Welcome { folder: self.folder(), fresh })?;
                    return Ok(Some(claim));
                }
                Some(_) => return Err(Error::Protocol("the first message is no hello".into())),
                None => return Ok(None),
            }
        }
    }

    fn backup(&self, cluster: Option<ClusterId>, ask: &Ask) -> Result<(Answer, Vec<u8>)> {
        let mut out = Vec::new();
        let answer = self.store.backup().ask(cluster, ask, &self.body, &mut out)?;
        Ok((answer, out))
    }

    fn send_backup(&mut self, answer: Result<(Answer, Vec<u8>)>) -> Result<()> {
        match answer {
            Ok((answer, body)) => {
                frames::send(&mut self.stream, &Reply::Backup(answer), &[&body], &TAKE_ANSWER)
            }
            Err(error) => {
                tracing::warn!("backup: {error}");
                self.fail(&failure(error))
            }
        }
    }

    fn evidence(&mut self) -> Result<()> {
        let store = self.store.clone();
        store.evidence(&mut |findings| self.send(&Reply::Evidence(findings)))?;
        self.send(&Reply::Evidence(Vec::new()))
    }

    /// Why whoever asks means another node, or does not speak as this one does.
    fn misaddressed(&self, protocol: u32, node: NodeId) -> Option<String> {
        let own = self.store.id();
        if protocol != PROTOCOL {
            Some(format!("it speaks protocol {PROTOCOL}, the server {protocol}"))
        } else if node != own {
            Some(format!("it is node {own}, not node {node}: check the order of the addresses"))
        } else {
            None
        }
    }

    fn folder(&self) -> String {
        shorten(&self.store.root().display().to_string())
    }

    fn turn_away(&mut self, why: &NodeFailure) -> Result<Option<Claim>> {
        tracing::warn!("{} refused: {why}", self.stream.name());
        self.fail(why)?;
        Ok(None)
    }

    fn serves(&self) -> Reply {
        let registration = self.store.registration();
        let (cluster, claim) = registration.current();
        let heard = registration.heard_ago(self.start.elapsed());
        Reply::Serves(Serves {
            cluster,
            node: self.store.id(),
            epoch: claim.map_or(0, |claim| claim.epoch),
            server: claim.map(|claim| claim.server),
            heard_ms_ago: heard.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
            folder: self.folder(),
        })
    }

    fn answer(&mut self, request: Request, claim: Claim) -> Result<()> {
        let store = self.store.clone();
        let admitted = match store.admit(claim, self.start.elapsed()) {
            Ok(admitted) => admitted,
            // What belongs to a piece is not answered before its end.
            Err(error) if !matches!(request, Request::Stage(_)) => {
                return self.fail(&failure(error));
            }
            Err(error) => return self.stage(Err(error), claim),
        };
        match request {
            Request::Ping => {
                // Whoever does not take an answer keeps nobody from registering.
                drop(admitted);
                let room = store.room();
                if let Err(error) = &room {
                    tracing::debug!("the room on the disk cannot be told: {}", reason(error));
                }
                self.send(&Reply::Alive(room.ok()))
            }
            Request::Stage(meta) => {
                drop(admitted);
                self.stage(store.stage(meta), claim)
            }
            Request::Backup(ask) => {
                let answer = self.backup(admitted.cluster(), &ask);
                drop(admitted);
                self.send_backup(answer)
            }
            Request::Evidence => {
                drop(admitted);
                self.evidence()
            }
            Request::Carry { number, orders } if orders.len() <= ORDERS_MAX => {
                let outcomes = store.carry_in_turn(claim, number, &orders);
                drop(admitted);
                self.send(&Reply::Carried(outcomes))
            }
            Request::Read { version, place, formerly, first_stripe, stripes, select } => {
                // Reading changes nothing, and takes as long as a client likes.
                drop(admitted);
                let piece = store.open_piece(version, &place, &formerly);
                self.read(piece, &place, first_stripe, stripes, select)
            }
            Request::ListStaged { after } => {
                let listed = store.staged(after, STAGED_VERSIONS_MAX);
                drop(admitted);
                match listed {
                    Ok(versions) => self.send(&Reply::StagedVersions(versions)),
                    Err(error) => self.fail(&failure(error)),
                }
            }
            Request::Verify { version, place, formerly, first_stripe, stripes }
                if (1..=VERIFY_STRIPES_MAX).contains(&stripes) =>
            {
                drop(admitted);
                let mut piece = store.open_piece(version, &place, &formerly);
                match piece.verify(first_stripe, stripes) {
                    Ok(checksums) => self.send(&Reply::Verified { checksums }),
                    Err(error) => {
                        tracing::warn!("{place}: {error}");
                        self.fail(&failure(error))
                    }
                }
            }
            Request::Inventory => {
                drop(admitted);
                self.inventory()
            }
            Request::Bye => {
                drop(admitted);
                match store.registration().bye(store.id(), claim, self.start.elapsed()) {
                    Ok(()) => self.send(&Reply::Done),
                    Err(error) => self.fail(&failure(error)),
                }
            }
            Request::Verify { .. }
            | Request::Hello { .. }
            | Request::Units { .. }
            | Request::KeepAlive
            | Request::Finish { .. }
            | Request::Carry { .. }
            | Request::WhoServes { .. } => Err(Error::Protocol("a message out of its turn".into())),
        }
    }

    /// Receives a piece to its end. The first failure is kept and told there.
    fn stage(&mut self, mut stage: Result<Stage>, claim: Claim) -> Result<()> {
        let store = self.store.clone();
        loop {
            let request = self.receive(&NEXT_FRAME)?.ok_or_else(|| self.stream.closed())?;
            let admitted = store.admit(claim, self.start.elapsed());
            let admitted = admitted.map_err(|error| stage = Err(error));
            match request {
                Request::KeepAlive => {}
                Request::Units { checksums } => stage = self.take_units(stage, checksums),
                Request::Finish { blake3 } => {
                    let finished = stage.and_then(|stage| stage.finish(blake3));
                    drop(admitted);
                    return self.finished(finished);
                }
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

    fn finished(&mut self, finished: Result<()>) -> Result<()> {
        match finished {
            Ok(()) => self.send(&Reply::Staged),
            Err(error) => {
                tracing::warn!("a piece was not staged: {error}");
                self.fail(&failure(error))
            }
        }
    }

    fn read(
        &mut self,
        mut piece: Piece,
        place: &Place,
        first_stripe: u64,
        stripes: u64,
        select: Select,
    ) -> Result<()> {
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

    fn inventory(&mut self) -> Result<()> {
        let mut inventory = self.store.inventory();
        loop {
            let page = match inventory.page() {
                Ok(page) => page,
                Err(error) => return self.fail(&failure(error)),
            };
            let ended = page.is_empty();
            self.send(&Reply::Inventory(page))?;
            if ended {
                return Ok(());
            }
        }
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
