//! What a node does on the wire: reads a request, asks the store, answers.
//!
//! ```text
//!   WhoServes ──> Serves, any number of times before; then what only asks: Entries, PointAt, Snapshot
//!   Hello ──> Welcome ──┬─ Ping, Append, Pieces, ... ──> answer ──────────────┐
//!                       ├─ Read ──> Units ... Units                           ├──> next request
//!                       ├─ Entries ──> Entries ... no Entries                 │
//!                       └─ Stage, Units ... Finish ──> Staged ────────────────┘
//! ```
//!
//! While a piece comes in, nothing is answered until its end, so that the server never waits for a
//! node stripe by stripe. What goes wrong meanwhile is told then, and the rest is read and dropped.
//! Every request is held against the server that the node serves by then: one that has been taken
//! over is told so at its next request, in the middle of a piece at its end.
//! A connection that ends in the middle of a piece leaves nothing behind.

use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::code::repair::Select;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::io::clock;
use crate::core::io::frames;
use crate::core::io::listener::{Listener, Most, State, files_max};
use crate::core::io::monitor::Monitor;
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::reason;
use crate::core::io::tls::Acceptor;
use crate::core::node::census::Census;
use crate::core::node::disk_check::DiskWatch;
use crate::core::node::entrance::{self, FIRST_MESSAGE_BYTES};
use crate::core::node::monitor::{Kind, MonitoredNode, NodeMeter};
use crate::core::node::stage::Stage;
use crate::core::node::store::BlockStore;
use crate::core::types::{Claim, ClusterId, NodeId, VersionId};
use crate::core::wire::journal::Point;
use crate::core::wire::node::{
    Failure, PROTOCOL, Reply, Request, Serves, VERIFY_STRIPES_MAX, VERSION_IDS_MAX, shorten,
};
use crate::core::wire::snapshot::SnapshotRequest;

/// The most connections at once: far more than a server with a connection for each transfer opens.
const CONNECTIONS_MAX: usize = 512;

/// A connection is one open file, and opens the two blocks of a piece and the journal.
const CONNECTION_FILES: usize = 4;

/// Open files that are left for everything else.
const OTHER_FILES: usize = 32;

/// So many peers for whom there is no connection are told so at once.
const TURNED_AWAY_MAX: usize = 16;

/// A peer that is turned away has said its first message at once.
const TURN_AWAY: Deadline = Deadline::new(Duration::from_secs(2), "say hello");

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

/// How often the journal is followed and pieces are written out. What comes in between is synced
/// together.
const BACKGROUND_EVERY: Duration = Duration::from_millis(100);

/// How often it is mentioned in the log that something still does not work.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// One connection from a server.
struct Connection {
    store: Arc<BlockStore>,
    state: Arc<State>,
    /// From when the store's times are counted.
    start: Instant,
    stream: Stream,
    body: Vec<u8>,
    /// That servers are refused.
    refusal: Arc<Complaint>,
    watch: Arc<DiskWatch>,
    meter: Arc<NodeMeter>,
    /// Whether the request that is being answered has failed.
    has_failed: bool,
}

/// A line of the log that is due again and again as long as something does not change.
#[derive(Default)]
struct Complaint(Mutex<Option<(String, Instant)>>);

impl Complaint {
    /// Writes the line unless there was one for the same reason shortly before; true if it has.
    fn tell(&self, why: &str, line: &str) -> bool {
        let mut told = self.0.lock();
        let is_told =
            told.as_ref().is_some_and(|(own, at)| own == why && at.elapsed() < COMPLAIN_EVERY);
        if !is_told {
            *told = Some((why.to_owned(), Instant::now()));
            tracing::warn!("{line}");
        }
        !is_told
    }
}

/// Serves the store until the process ends; with an acceptor only peers that have the cluster's key.
/// Monitors are answered as well if there is one for them.
pub fn run(
    listener: &Listener,
    store: &Arc<BlockStore>,
    acceptor: Option<Acceptor>,
    monitor: Option<Monitor>,
) {
    let own = store.clone();
    let background = thread::Builder::new().name("background".into());
    if let Err(error) = background.spawn(move || run_background(&own)) {
        tracing::error!("no thread for the background: {}", reason(&error));
    }
    let (store, state, start) = (store.clone(), listener.state(), Instant::now());
    let refusal = Arc::new(Complaint::default());
    let watch = DiskWatch::start(&store);
    let meter = Arc::new(NodeMeter::default());
    if let Some(monitor) = monitor {
        let monitored = MonitoredNode {
            store: store.clone(),
            watch: watch.clone(),
            meter: meter.clone(),
            census: Census::start(store.pieces.clone()),
            state: state.clone(),
            begun_ms: clock::now_ms(),
        };
        if let Err(error) = monitor.start(Arc::new(monitored)) {
            tracing::error!("{error}");
        }
    }
    let serve = move |socket: TcpStream, peer| {
        let served = Stream::accepted(socket, format!("server {peer}")).and_then(|mut stream| {
            if !entrance::admit(&mut stream, acceptor.as_ref(), &HELLO)? {
                return Ok(());
            }
            let (store, state) = (store.clone(), state.clone());
            let (refusal, watch, meter) = (refusal.clone(), watch.clone(), meter.clone());
            let (body, has_failed) = (Vec::new(), false);
            Connection { store, state, start, stream, body, refusal, watch, meter, has_failed }
                .serve()
        });
        if let Err(error) = served {
            tracing::info!("connection from {peer} ended: {error}");
        }
    };
    // A node's clients are servers, of which there is one.
    let most = Most { all: connections_max(), per_network: None };
    let (complaint, turned_away) = (Complaint::default(), Arc::new(()));
    listener.run("server", most, serve, move |socket, peer, _| {
        let why = format!("there are {} connections already", most.all);
        complaint.tell(&why, &format!("connections are refused: {why}"));
        if Arc::strong_count(&turned_away) <= TURNED_AWAY_MAX {
            let counted = turned_away.clone();
            let tell = move || {
                let _counted = counted;
                // It is turned away whether it can be told or not.
                let _ = turn_away(socket, peer, why);
            };
            let _ = thread::Builder::new().name("turn away".into()).spawn(tell);
        }
    });
}

/// As many connections as this process may have open files for.
fn connections_max() -> usize {
    files_max().map_or(CONNECTIONS_MAX, |files| {
        (files.saturating_sub(OTHER_FILES) / CONNECTION_FILES).clamp(1, CONNECTIONS_MAX)
    })
}

/// Tells a peer that there is no connection for it, in plain text whatever it speaks.
fn turn_away(socket: TcpStream, peer: SocketAddr, why: String) -> Result<()> {
    let mut stream = Stream::accepted(socket, format!("server {peer}"))?;
    // Closed with its message unread, the connection would be reset and the answer lost.
    stream.read_some(&mut [0; FIRST_MESSAGE_BYTES], &TURN_AWAY)?;
    frames::send(&mut stream, &Reply::Failed(Failure::Busy(why)), &[], &TURN_AWAY)
}

/// How often pieces are written out. A name is in the view within two seconds.
const WRITE_OUT_EVERY: Duration = Duration::from_millis(700);

/// A node that went on confirming what it cannot follow would fill its disk with pieces that were dropped, and
/// show names later and later. Its answers wait when it is so many entries behind.
const BEHIND_MAX: u64 = 4096;

/// For so long, as those wait too who have caused none of it.
const AWAIT_FOLLOWED: Duration = Duration::from_millis(500);

/// Waits until the background has followed all but [`BEHIND_MAX`] entries.
fn await_followed(store: &BlockStore) {
    let begun = Instant::now();
    while store.behind() > BEHIND_MAX && begun.elapsed() < AWAIT_FOLLOWED {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Follows the journal and writes out pieces until the process ends.
fn run_background(store: &BlockStore) {
    let complaint = Complaint::default();
    let mut written_out: Option<Instant> = None;
    loop {
        // Pieces first: a name in the view leads to a block file. In turn, so that neither waits until
        // the other has nothing left to do.
        let both = [BlockStore::write_out, BlockStore::follow];
        // A batch costs a sync of the whole disk, whose other writers wait for it.
        let is_due = written_out.is_none_or(|at| at.elapsed() >= WRITE_OUT_EVERY);
        if is_due {
            written_out = Some(Instant::now());
        }
        let steps = if is_due { &both[..] } else { &both[1..] };
        let mut has_more = true;
        while has_more {
            has_more = false;
            for step in steps {
                match catch_unwind(AssertUnwindSafe(|| step(store))) {
                    Ok(Ok(more)) => has_more |= more,
                    Ok(Err(error)) => {
                        // Several reasons may take turns.
                        complaint.tell("", &format!("cannot follow the journal yet: {error}"));
                    }
                    // The panic itself is in the log.
                    Err(_) => {}
                }
            }
        }
        thread::sleep(BACKGROUND_EVERY);
    }
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
            let (kind, begun) = (Kind::of(&request), Instant::now());
            self.has_failed = false;
            let answered = self.answer(request, claim);
            let failed = self.has_failed || answered.is_err();
            self.meter.answered(kind, begun.elapsed(), failed);
            answered?;
        }
        Ok(())
    }

    /// What the server has registered with, if it may go on.
    fn greet(&mut self) -> Result<Option<Claim>> {
        // After `WhoServes` a peer may ask more without becoming the node's server.
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
                Some(Request::Snapshot(ask)) if only_asks && only_reads(&ask) => {
                    let cluster = self.store.registration().current().0;
                    let answer = self.snapshot(cluster, &ask);
                    self.send_snapshot(answer)?;
                }
                Some(Request::PointAt { id }) if only_asks => {
                    let found = self.store.point_at(id).map(Reply::PointAt);
                    self.reply(found)?;
                }
                Some(Request::Entries { after }) if only_asks => self.entries(after)?,
                Some(Request::Hello { protocol, cluster, node, claim }) => {
                    if let Some(why) = self.misaddressed(protocol, node) {
                        return self.turn_away(&NodeFailure::Refused(why));
                    }
                    let registered = self.store.register(cluster, claim, self.start.elapsed());
                    let journal = match registered.and_then(|()| self.store.journal_state()) {
                        Ok(journal) => journal,
                        Err(error) => return self.turn_away(&failure(error)),
                    };
                    self.send(&Reply::Welcome { folder: self.folder(), journal })?;
                    return Ok(Some(claim));
                }
                Some(_) => return Err(Error::Protocol("the first message is no hello".into())),
                None => return Ok(None),
            }
        }
    }

    fn snapshot(
        &self,
        cluster: Option<ClusterId>,
        request: &SnapshotRequest,
    ) -> Result<(Reply, Vec<u8>)> {
        let mut out = Vec::new();
        let answer = self.store.snapshot(cluster, request, &self.body, &mut out)?;
        Ok((Reply::Snapshot(answer), out))
    }

    fn send_snapshot(&mut self, answer: Result<(Reply, Vec<u8>)>) -> Result<()> {
        match answer {
            Ok((reply, body)) => frames::send(&mut self.stream, &reply, &[&body], &TAKE_ANSWER),
            Err(error) => {
                tracing::warn!("snapshot: {error}");
                self.fail(&failure(error))
            }
        }
    }

    /// A failure of the disk is answered, one of the connection ends it.
    fn entries(&mut self, after: Point) -> Result<()> {
        let store = self.store.clone();
        let mut lost = None;
        let sent = store.entries(after, &mut |entries| {
            self.send(&Reply::Entries(entries)).inspect_err(|error| lost = Some(error.to_string()))
        });
        match sent {
            Ok(()) => self.send(&Reply::Entries(Vec::new())),
            Err(error) if lost.is_some() => Err(error),
            Err(error) => self.fail(&failure(error)),
        }
    }

    /// Why a request is for another node, or of another protocol.
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
        let line = format!("{} refused: {why}", self.stream.name());
        self.refusal.tell(&why.to_string(), &line);
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
        // Changes are made while the server is admitted. Reading and sending is not: the receiver may
        // be slow, and must not keep a newer server from registering.
        match request {
            Request::Ping { decided } => {
                store.decided(decided);
                drop(admitted);
                self.reply(self.watch.alive(&store).map(Reply::Alive))
            }
            Request::Stage(meta) => {
                drop(admitted);
                self.stage(store.stage(meta), claim)
            }
            Request::Append(append) => {
                let appended = store.append(&append, &self.body);
                drop(admitted);
                await_followed(&store);
                self.reply(appended.map(Reply::Journal))
            }
            Request::PointAt { id } => {
                drop(admitted);
                self.reply(store.point_at(id).map(Reply::PointAt))
            }
            Request::Entries { after } => {
                drop(admitted);
                self.entries(after)
            }
            Request::Snapshot(ask) => {
                let answer = self.snapshot(admitted.cluster(), &ask);
                drop(admitted);
                self.send_snapshot(answer)
            }
            Request::Read { version, first_stripe, stripes, select } => {
                drop(admitted);
                self.read(version, first_stripe, stripes, select)
            }
            Request::Verify { version, first_stripe, stripes }
                if (1..=VERIFY_STRIPES_MAX).contains(&stripes) =>
            {
                drop(admitted);
                let verified = store.open_piece(version).verify(first_stripe, stripes);
                if let Err(error) = &verified {
                    tracing::warn!("version {version}: {error}");
                }
                self.reply(verified.map(|checksums| Reply::Verified { checksums }))
            }
            Request::Pieces { after } => {
                drop(admitted);
                self.reply(store.pieces(after, VERSION_IDS_MAX).map(Reply::Pieces))
            }
            Request::Lacks { versions } if versions.len() <= VERSION_IDS_MAX => {
                drop(admitted);
                self.reply(store.lacks(&versions).map(Reply::Pieces))
            }
            Request::Discard { versions } if versions.len() <= VERSION_IDS_MAX => {
                let discarded = store.discard(&versions);
                drop(admitted);
                self.reply(discarded.map(|()| Reply::Done))
            }
            Request::CloseGap { gap } => {
                let closed = store.close_gap(gap);
                drop(admitted);
                self.reply(closed.map(|()| Reply::Done))
            }
            Request::CheckView => {
                drop(admitted);
                self.reply(store.check_view().map(Reply::ViewChecked))
            }
            Request::ProveDisk => {
                let proved = store.prove_disk();
                drop(admitted);
                self.reply(proved.map(|()| Reply::Done))
            }
            Request::Bye => {
                drop(admitted);
                let bye = store.registration().bye(store.id(), claim, self.start.elapsed());
                self.reply(bye.map(|()| Reply::Done))
            }
            Request::Verify { .. }
            | Request::Lacks { .. }
            | Request::Discard { .. }
            | Request::Hello { .. }
            | Request::Units { .. }
            | Request::KeepAlive
            | Request::Shorten { .. }
            | Request::Finish { .. }
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
                Request::Shorten { file_bytes } => {
                    stage = stage.and_then(|mut stage| {
                        stage.shorten(file_bytes)?;
                        Ok(stage)
                    });
                }
                Request::Finish { seq, blake3 } => {
                    let finished = stage.and_then(|stage| stage.finish(seq, blake3));
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
        version: VersionId,
        first_stripe: u64,
        stripes: u64,
        select: Select,
    ) -> Result<()> {
        let mut piece = self.store.open_piece(version);
        let end = first_stripe.saturating_add(stripes);
        let mut body = std::mem::take(&mut self.body);
        for stripe in first_stripe..end {
            match piece.units(stripe, select, &mut body) {
                Ok(checksums) => {
                    let reply = Reply::Units { checksums };
                    frames::send(&mut self.stream, &reply, &[&body], &TAKE_ANSWER)?;
                    self.meter.sent_bytes.add(body.len() as u64);
                }
                Err(error) => {
                    tracing::warn!("version {version}: {error}");
                    return self.fail(&failure(error));
                }
            }
        }
        self.body = body;
        Ok(())
    }

    fn receive(&mut self, first: &Deadline) -> Result<Option<Request>> {
        let received = frames::receive(&mut self.stream, &mut self.body, first, &REST_OF_FRAME);
        self.meter.received_bytes.add(self.body.len() as u64);
        received
    }

    fn send(&mut self, reply: &Reply) -> Result<()> {
        frames::send(&mut self.stream, reply, &[], &TAKE_ANSWER)
    }

    fn reply(&mut self, answer: Result<Reply>) -> Result<()> {
        match answer {
            Ok(reply) => self.send(&reply),
            Err(error) => self.fail(&failure(error)),
        }
    }

    fn fail(&mut self, why: &NodeFailure) -> Result<()> {
        self.has_failed = true;
        self.send(&Reply::Failed(Failure::from(why)))
    }
}

/// May a peer ask for this that is not the node's server?
fn only_reads(request: &SnapshotRequest) -> bool {
    matches!(request, SnapshotRequest::List | SnapshotRequest::Read { .. })
}

fn failure(error: Error) -> NodeFailure {
    match error {
        Error::Node { why, .. } => why,
        other => NodeFailure::Refused(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::code::checksum;
    use crate::core::node::fixture::{CLUSTER, History, NODE, TestDisk, place, version};
    use crate::core::types::{Digest, Seq, ServerId};
    use crate::core::wire::node::{DiskTrouble, PieceMeta};
    use crate::core::wire::snapshot::SnapshotReply;

    /// Only a hang takes this long.
    const HANG: Deadline = Deadline::new(Duration::from_secs(60), "answer");

    /// A connection to node 2, and how it is asked.
    struct Asking {
        stream: Stream,
        body: Vec<u8>,
    }

    impl Asking {
        fn send(&mut self, request: &Request, body: &[u8]) {
            frames::send(&mut self.stream, request, &[body], &HANG).unwrap();
        }

        fn receive(&mut self) -> Option<Reply> {
            frames::receive(&mut self.stream, &mut self.body, &HANG, &HANG).unwrap_or(None)
        }

        fn ask(&mut self, request: &Request) -> Reply {
            self.send(request, &[]);
            self.receive().unwrap()
        }

        fn hello(&mut self) -> Reply {
            let claim = Claim { epoch: 1, server: ServerId([9; 16]) };
            self.ask(&Request::Hello { protocol: PROTOCOL, cluster: CLUSTER, node: NODE, claim })
        }

        fn who_serves(&mut self) -> Reply {
            self.ask(&Request::WhoServes { protocol: PROTOCOL, node: NODE })
        }
    }

    struct Fixture {
        folder: tempfile::TempDir,
        disk: TestDisk,
        address: String,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        let own = Arc::new(disk.clone());
        let store = Arc::new(BlockStore::open(own, folder.path(), NODE).unwrap());
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let address = listener.address().to_string();
        thread::spawn(move || run(&listener, &store, None, None));
        Fixture { folder, disk, address }
    }

    impl Fixture {
        fn connect(&self) -> Asking {
            let stream = Stream::connect("node", &self.address, &HANG).unwrap();
            Asking { stream, body: Vec::new() }
        }
    }

    fn stored(n: u8) -> History {
        let mut history = History::default();
        history.add_stored(n, 1000, true);
        history
    }

    #[test]
    fn a_piece_that_came_with_the_journal_is_read_and_named_in_the_view() {
        let f = fixture();
        let mut node = f.connect();
        let Reply::Welcome { journal, .. } = node.hello() else { panic!() };
        assert_eq!(journal.end, Point::start(CLUSTER));
        let gap = journal.gap.expect("the folder is new");
        let history = stored(7);
        let (append, body) = history.append(0, 1, true);
        node.send(&Request::Append(append), &body);
        let Some(Reply::Journal(journal)) = node.receive() else { panic!() };
        assert_eq!(journal.end, history.end());
        let read = Request::Read {
            version: version(7),
            first_stripe: 0,
            stripes: 1,
            select: Select::Both,
        };
        assert!(matches!(node.ask(&read), Reply::Units { .. }));
        assert_eq!(node.body, history.units(1));
        assert!(matches!(node.ask(&Request::Ping { decided: 1 }), Reply::Alive(_)));
        let begun = Instant::now();
        let name = f.folder.path().join("demo/file 7_B1");
        while !name.exists() {
            assert!(begun.elapsed() < HANG.limit);
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(node.ask(&Request::Pieces { after: None }), Reply::Pieces(vec![version(7)]));
        let lacks = Request::Lacks { versions: vec![version(7), version(8)] };
        assert_eq!(node.ask(&lacks), Reply::Pieces(vec![version(8)]));
        assert_eq!(node.ask(&Request::CloseGap { gap }), Reply::Done);
        let Reply::Alive(alive) = node.ask(&Request::Ping { decided: 1 }) else { panic!() };
        assert_eq!((alive.journal.gap, alive.journal.decided), (None, 1));
        assert!(matches!(node.ask(&Request::CheckView), Reply::ViewChecked(_)));
        assert!(matches!(node.ask(&read), Reply::Units { .. }), "and then from its files");
    }

    #[test]
    fn a_peer_that_is_no_server_reads_the_journal_and_changes_nothing() {
        let f = fixture();
        let mut server = f.connect();
        server.hello();
        let history = stored(7);
        let (append, body) = history.append(0, 1, true);
        server.send(&Request::Append(append.clone()), &body);
        server.receive().unwrap();

        let mut node = f.connect();
        assert!(matches!(node.who_serves(), Reply::Serves(_)));
        let expected = Reply::PointAt(Some(history.end()));
        assert_eq!(node.ask(&Request::PointAt { id: 1 }), expected);
        let entries = node.ask(&Request::Entries { after: history.point(0) });
        assert_eq!(entries, Reply::Entries(history.entries.clone()));
        assert_eq!(node.receive(), Some(Reply::Entries(Vec::new())));
        let list = Request::Snapshot(SnapshotRequest::List);
        assert_eq!(node.ask(&list), Reply::Snapshot(SnapshotReply::Heads(Vec::new())));
        for request in [
            Request::Append(append),
            Request::Snapshot(SnapshotRequest::End),
            Request::Discard { versions: Vec::new() },
            Request::Ping { decided: 0 },
        ] {
            let mut node = f.connect();
            node.who_serves();
            node.send(&request, &[]);
            assert_eq!(node.receive(), None, "{request:?}");
        }
    }

    #[test]
    fn what_does_not_change_is_told_once_and_then_now_and_then() {
        let complaint = Complaint::default();
        let mut tell = |why| complaint.tell(why, why);
        assert_eq!(
            ["gone", "gone", "busy", "busy", "gone"].map(&mut tell),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn a_node_proves_its_disk_and_says_what_is_wrong_with_it() {
        let f = fixture();
        let mut node = f.connect();
        node.hello();
        assert_eq!(node.ask(&Request::ProveDisk), Reply::Done);
        assert_eq!((f.disk.calls("rename") > 0, f.disk.calls("sync") > 0), (true, true));
        let trouble = |node: &mut Asking| match node.ask(&Request::Ping { decided: 0 }) {
            Reply::Alive(alive) => (alive.trouble, alive.room.unwrap().spare_bytes > 0),
            other => panic!("{other:?}"),
        };
        assert_eq!(trouble(&mut node), (None, true));
        f.disk.leave_files(3);
        assert_eq!(trouble(&mut node), (Some(DiskTrouble::NoInodes), false));
        f.disk.be_read_only(Some(30));
        let why = format!("{} (the file system is read-only)", f.folder.path().display());
        assert_eq!(trouble(&mut node).0, Some(DiskTrouble::NotWritable(why)));
        f.disk.be_read_only(None);
        f.disk.leave_files(1000);
        assert_eq!(trouble(&mut node), (None, true));
        // A task that fails is told until it does not.
        let history = stored(7);
        let (append, body) = history.append(0, 1, true);
        f.disk.fail_next("append", 5);
        for (expected, is_taken) in
            [(Some("its disk failed: input/output error"), false), (None, true)]
        {
            node.send(&Request::Append(append.clone()), &body);
            assert_eq!(matches!(node.receive(), Some(Reply::Journal(_))), is_taken);
            let expected = expected.map(|why| DiskTrouble::Failing(why.into()));
            assert_eq!(trouble(&mut node).0, expected);
        }
    }

    #[test]
    fn what_goes_wrong_in_the_middle_of_a_piece_is_told_at_its_end() {
        let f = fixture();
        let mut node = f.connect();
        node.hello();
        let meta = PieceMeta {
            version: version(1),
            place: place("a"),
            file_bytes: 3,
            stored_ms: 0,
            repair: false,
            part: None,
        };
        for (sum, is_fine) in [(checksum::unit(&[1]), true), (0, false)] {
            node.send(&Request::Stage(meta.clone()), &[]);
            node.send(&Request::Units { checksums: [sum; 2] }, &[1, 1]);
            node.send(&Request::KeepAlive, &[]);
            let reply = node.ask(&Request::Finish { seq: Seq(1), blake3: Digest([1; 32]) });
            assert_eq!(reply == Reply::Staged, is_fine, "{reply:?}");
        }
        assert_eq!(node.ask(&Request::Pieces { after: None }), Reply::Pieces(vec![version(1)]));
    }

    #[test]
    fn a_newer_server_ends_what_an_older_one_does() {
        let f = fixture();
        let (mut old, mut new) = (f.connect(), f.connect());
        old.hello();
        let claim = Claim { epoch: 2, server: ServerId([8; 16]) };
        let hello = Request::Hello { protocol: PROTOCOL, cluster: CLUSTER, node: NODE, claim };
        assert!(matches!(new.ask(&hello), Reply::Welcome { .. }));
        let (append, body) = stored(7).append(0, 1, true);
        old.send(&Request::Append(append), &body);
        assert_eq!(old.receive(), Some(Reply::Failed(Failure::Fenced { epoch: 2 })));
    }
}
