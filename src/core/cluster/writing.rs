//! A version on its way to the nodes.
//!
//! ```text
//!   room() ─ filled by the caller ─ push() ──┬─> lane 1 ─> node 1: A1 A2
//!     ^                               code   ├─> lane 2 ─> node 2: B1 B2
//!     └── the next buffer that is free       ├─> lane 3 ─> node 3: O1 O2
//!                                            └─> lane 4 ─> node 4: O3 O4
//! ```
//!
//! Each lane is a thread, so that receiving, coding and sending to four nodes overlap. One node never
//! holds up the other three: once they have taken everything, it gets a moment, and is then given up;
//! its piece is missing, and is rebuilt later.
//!
//! Of a small file nothing is sent: its pieces travel inside the journal, with the entry that makes the
//! version the current one. Where the nodes do not keep up with writing such pieces out, it is stored as a
//! large one is, rather than wait for them.
//!
//! Dropped before it is finished, a writing leaves nothing on the nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::core::cluster::buffers::{Allowance, StripeBuffer};
use crate::core::cluster::node::PieceSink;
use crate::core::cluster::roster::Roster;
use crate::core::cluster::volume::{RunningVersion, Sequence};
use crate::core::code::coded::CodedStripe;
use crate::core::code::layout::{FILE_BYTES_MAX, Layout, STRIPE_BYTES_MAX};
use crate::core::code::{checksum, kernel};
use crate::core::error::{Code, Error, NodeFailure, Result, Troubles};
use crate::core::io::reason;
use crate::core::quorum::{Ballot, Verdict, Vote};
use crate::core::types::{Digest, NodeId, NodeSet, Seq, WRITE_QUORUM};
use crate::core::wire::node::{INLINE_FILE_BYTES_MAX, PieceMeta};

/// A lane gives up on its node long before this, and frees its buffers then.
const BUFFER_WAIT: Duration = Duration::from_secs(30);

/// How often a writing that waits for a buffer looks which node keeps it waiting.
const BUFFER_LOOK: Duration = Duration::from_millis(50);

/// A node that takes no stripe for so long while three others wait for it is given up.
const STALLED: Duration = Duration::from_millis(500);

/// The last node has at least this long to make its piece durable once three have.
const LAST_NODE_MIN: Duration = Duration::from_millis(100);

/// How often a node that has nothing to do hears that its piece goes on.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How the four nodes are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fanout {
    /// A thread for each node.
    Threads,
    /// One node after the other in the caller's thread, for simulations.
    Inline,
}

/// A version that is complete and waits for its entry in the journal.
#[derive(Clone, Debug)]
pub enum Written {
    /// A small file: its pieces are to travel with that entry.
    Inline {
        /// Its sequence number.
        seq: Seq,
        /// Its pieces.
        stripe: Arc<CodedStripe>,
    },
    /// Its pieces are on the nodes, durably.
    Staged {
        /// Its sequence number, as in the pieces' trailers.
        seq: Seq,
        /// The nodes that have it; at least three.
        nodes: NodeSet,
        /// Why the others do not.
        troubles: Troubles,
    },
}

/// A version that is being stored. It counts as such until this is dropped, which must not be before
/// its entry is decided: until then its pieces are of no version that the catalog knows.
pub struct Writing {
    roster: Arc<Roster>,
    meta: PieceMeta,
    fanout: Fanout,
    layout: Layout,
    sequence: Arc<Sequence>,
    _running: RunningVersion,
    allowance: Allowance,
    lanes: [Lane; 4],
    ended: (Sender<LaneEnd>, Receiver<LaneEnd>),
    ballot: Ballot,
    troubles: Troubles,
    /// The nodes that failed for want of space.
    full: NodeSet,
    stripe: u64,
    buffer: Option<StripeBuffer>,
    /// The bytes of a small file.
    small: Option<Vec<u8>>,
    /// How often nodes had moved when it began.
    moves: [u64; 4],
}

/// How a lane's thread ended.
type LaneEnd = (NodeId, Result<()>);

/// The way to one node.
enum Lane {
    /// Not opened: the first stripe has not come yet, and a slow client costs the node nothing.
    Waiting,
    /// It has failed or ended; its vote is cast.
    Closed,
    Inline(Box<dyn PieceSink>),
    Thread(ThreadLane),
}

/// What leads to a lane's thread.
struct ThreadLane {
    jobs: Sender<Job>,
    /// The same jobs, to take back what the thread has not begun.
    queue: Receiver<Job>,
    /// Stripes that the node has taken.
    taken: Arc<AtomicU64>,
}

enum Job {
    Stripe(Arc<Encoded>),
    Shorten(u64),
    Finish(Seq, Digest),
}

/// A stripe with its parity and all checksums.
struct Encoded {
    buffer: StripeBuffer,
    checksums: [u64; 8],
}

impl Encoded {
    fn for_node(&self, id: NodeId) -> ([&[u8]; 2], [u64; 2]) {
        let [a, b] = id.blocks().map(|block| block.index());
        ([self.buffer.unit(a), self.buffer.unit(b)], [self.checksums[a], self.checksums[b]])
    }
}

impl Writing {
    pub(super) fn begin(
        roster: Arc<Roster>,
        allowance: Allowance,
        fanout: Fanout,
        sequence: Arc<Sequence>,
        running: RunningVersion,
        meta: &PieceMeta,
        may_be_inline: bool,
    ) -> Result<Writing> {
        let layout = Layout::checked(meta.file_bytes)
            .ok_or(Error::TooBig { bytes: meta.file_bytes, limit: FILE_BYTES_MAX })?;
        let mut writing = Writing {
            layout,
            sequence,
            _running: running,
            allowance,
            lanes: std::array::from_fn(|_| Lane::Waiting),
            ended: unbounded(),
            ballot: Ballot::default(),
            troubles: roster.troubles(NodeSet::ALL),
            full: NodeSet::EMPTY,
            stripe: 0,
            buffer: None,
            small: (may_be_inline && meta.file_bytes <= INLINE_FILE_BYTES_MAX.into())
                .then(|| vec![0; layout.file_bytes_in(0)]),
            moves: roster.moves(),
            meta: meta.clone(),
            fanout,
            roster,
        };
        for id in writing.roster.up().complement().iter() {
            writing.lanes[id.index()] = Lane::Closed;
            writing.ballot.cast(id, Vote::No);
        }
        for id in writing.targets().iter() {
            if let Err(error) = writing.roster.check_room(id, meta) {
                writing.give_up(id, error);
            }
        }
        writing.check_not_lost()?;
        Ok(writing)
    }

    /// How the file is laid out.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The nodes that it goes to.
    pub fn targets(&self) -> NodeSet {
        self.ballot.who(Vote::Open)
    }

    /// Where the caller puts the file's next bytes: exactly as many as the next stripe has, so none
    /// at the end. What is in it is of no meaning.
    ///
    /// # Errors
    /// If no buffer becomes free in time.
    pub fn room(&mut self) -> Result<&mut [u8]> {
        if self.stripe == self.layout.stripe_count() {
            return Ok(&mut []);
        }
        let wanted = self.layout.file_bytes_in(self.stripe);
        if self.small.is_some() {
            return Ok(self.small.as_deref_mut().unwrap_or_default());
        }
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => self.lease()?,
        };
        let buffer = self.buffer.insert(buffer);
        Ok(&mut buffer.halves().0[..wanted])
    }

    /// A buffer for the next stripe. Where the slowest of the nodes holds all of them while the others
    /// have nothing left to do, that node is given up.
    fn lease(&mut self) -> Result<StripeBuffer> {
        let unit_bytes = self.layout.unit_bytes(self.stripe);
        let deadline = Instant::now() + BUFFER_WAIT;
        let mut stalled: Option<(NodeId, u64, Instant)> = None;
        loop {
            if let Some(buffer) = self.allowance.lease(unit_bytes, BUFFER_LOOK)? {
                return Ok(buffer);
            }
            self.take_in_ended();
            self.check_not_lost()?;
            let now = Instant::now();
            stalled = match (self.only_one_behind(), stalled) {
                (Some((id, taken)), Some((same, before, since)))
                    if id == same && taken == before =>
                {
                    if now >= since + STALLED {
                        let why = "took no stripe while the others waited for it";
                        self.give_up(id, Error::node(id, NodeFailure::Refused(why.into())));
                        None
                    } else {
                        stalled
                    }
                }
                (behind, _) => behind.map(|(id, taken)| (id, taken, now)),
            };
            if now >= deadline {
                let seconds = BUFFER_WAIT.as_secs();
                let text = format!("the nodes did not take a stripe within {seconds} s");
                return Err(Error::Deadline(text));
            }
        }
    }

    /// The one lane that has not taken all that was pushed, where three others have.
    fn only_one_behind(&self) -> Option<(NodeId, u64)> {
        let (mut behind, mut done) = (None, 0);
        for id in NodeId::ALL {
            let Lane::Thread(lane) = &self.lanes[id.index()] else { continue };
            match lane.taken.load(Ordering::SeqCst) {
                taken if taken >= self.stripe => done += 1,
                taken => behind = Some((id, taken)),
            }
        }
        behind.filter(|_| done >= WRITE_QUORUM)
    }

    /// What was put into the room.
    pub fn filled(&self) -> &[u8] {
        match (&self.small, &self.buffer) {
            (Some(small), _) => small,
            (None, Some(buffer)) => buffer.data(self.layout.file_bytes_in(self.stripe)),
            (None, None) => &[],
        }
    }

    /// Codes what was put into the room and sends it to the nodes.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`] as soon as too few nodes are left.
    pub fn push(&mut self) -> Result<()> {
        if self.small.is_some() {
            self.stripe = self.layout.stripe_count();
            return Ok(());
        }
        let Some(mut buffer) = self.buffer.take() else {
            debug_assert!(false, "push without room");
            return Ok(());
        };
        let (data, parity) = buffer.halves();
        self.layout.pad(self.stripe, data);
        kernel::encode(data, parity);
        let unit_bytes = self.layout.unit_bytes(self.stripe);
        let of_data: [u64; 4] = std::array::from_fn(|i| checksum::unit(buffer.unit(i)));
        let of_parity = checksum::of_parity(of_data, unit_bytes);
        let checksums = std::array::from_fn(|i| if i < 4 { of_data[i] } else { of_parity[i - 4] });
        let encoded = Arc::new(Encoded { buffer, checksums });
        if self.stripe == 0 {
            self.open_lanes();
        }
        for id in NodeId::ALL {
            let sent = match &mut self.lanes[id.index()] {
                Lane::Waiting | Lane::Closed => Ok(()),
                Lane::Inline(sink) => {
                    let (units, checksums) = encoded.for_node(id);
                    sink.units(units, checksums)
                }
                Lane::Thread(lane) => {
                    // A thread that has ended says why in `ended`.
                    let _ = lane.jobs.send(Job::Stripe(encoded.clone()));
                    Ok(())
                }
            };
            if let Err(error) = self.roster.used(id, sent) {
                self.give_up(id, error);
            }
        }
        self.stripe += 1;
        self.take_in_ended();
        self.check_not_lost()
    }

    /// The file ends behind the stripes that were pushed, which were not all. Gives its size; 0 if none were,
    /// and then there is nothing to finish.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`].
    pub fn shorten(&mut self) -> Result<u64> {
        let file_bytes = self.stripe * STRIPE_BYTES_MAX as u64;
        if file_bytes == 0 || file_bytes > self.meta.file_bytes {
            return Ok(0);
        }
        self.buffer = None;
        self.meta.file_bytes = file_bytes;
        self.layout = Layout::new(file_bytes);
        for id in NodeId::ALL {
            let sent = match &mut self.lanes[id.index()] {
                Lane::Waiting | Lane::Closed => Ok(()),
                Lane::Inline(sink) => sink.shorten(file_bytes),
                Lane::Thread(lane) => {
                    let _ = lane.jobs.send(Job::Shorten(file_bytes));
                    Ok(())
                }
            };
            if let Err(error) = self.roster.used(id, sent) {
                self.give_up(id, error);
            }
        }
        self.check_not_lost()?;
        Ok(file_bytes)
    }

    fn open_lanes(&mut self) {
        for id in NodeId::ALL {
            if !matches!(self.lanes[id.index()], Lane::Waiting) {
                continue;
            }
            let opened = match self.fanout {
                Fanout::Threads => self.spawn_lane(id),
                Fanout::Inline => {
                    let sink = self.roster.node(id).stage(&self.meta);
                    self.roster.used(id, sink).map(Lane::Inline)
                }
            };
            match opened {
                Ok(lane) => self.lanes[id.index()] = lane,
                Err(error) => self.give_up(id, error),
            }
        }
    }

    fn spawn_lane(&self, id: NodeId) -> Result<Lane> {
        // Bounded by the buffers of the transfer.
        let (jobs, queue) = unbounded();
        let taken = Arc::<AtomicU64>::default();
        let (roster, meta, ended) = (self.roster.clone(), self.meta.clone(), self.ended.0.clone());
        let lane = ThreadLane { jobs, queue: queue.clone(), taken: taken.clone() };
        let run = move || {
            let node = roster.node(id);
            let end = node.stage(&meta).and_then(|sink| run_lane(id, sink, &queue, &taken));
            let end = roster.used(id, end);
            // Nobody hears it where the node was given up.
            let _ = ended.send((id, end));
        };
        let spawned = thread::Builder::new().name(format!("lane to node {id}")).spawn(run);
        spawned.map(|_| Lane::Thread(lane)).map_err(|error| {
            let why = format!("the server has no thread for its piece: {}", reason(&error));
            Error::node(id, NodeFailure::Refused(why))
        })
    }

    /// Completes the version once all its bytes have been pushed: waits until it is durable on three
    /// nodes, and on the fourth if that is not much slower.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`], [`Error::NodesFull`]: what some nodes had staged is discarded.
    pub fn finish(&mut self, blake3: Digest) -> Result<Written> {
        let written = self.finish_all(blake3);
        if let Err(error) = &written {
            self.refused(error);
        }
        written
    }

    /// The version's entry was refused with this error: discards what the nodes have staged, unless the
    /// entry may have been made after all. What is missed is removed as an abandoned piece later.
    pub fn refused(&self, error: &Error) {
        if matches!(error.code(), Code::InDoubt | Code::Unexpected) {
            return;
        }
        for id in self.ballot.who(Vote::Yes).and(self.roster.up()).iter() {
            let discarded = self.roster.node(id).discard(&[self.meta.version]);
            if let Err(error) = self.roster.used(id, discarded) {
                tracing::debug!("version {} is discarded later: {error}", self.meta.version);
            }
        }
    }

    fn finish_all(&mut self, blake3: Digest) -> Result<Written> {
        // A file that ends with a full stripe has one more that is all padding.
        if self.stripe < self.layout.stripe_count() && self.room()?.is_empty() {
            self.push()?;
        }
        if self.stripe < self.layout.stripe_count() {
            return Err(Error::other(Code::Unexpected, "the file ended before all its bytes came"));
        }
        let seq = self.sequence.draw(self.roster.leadership().epoch());
        if let Some(bytes) = &self.small {
            return Ok(Written::Inline { seq, stripe: Arc::new(CodedStripe::of_file(bytes)) });
        }
        let begun = Instant::now();
        for id in NodeId::ALL {
            let asked = match &mut self.lanes[id.index()] {
                Lane::Inline(sink) => sink.ask_finish(seq, blake3),
                Lane::Thread(lane) => {
                    let _ = lane.jobs.send(Job::Finish(seq, blake3));
                    Ok(())
                }
                Lane::Waiting | Lane::Closed => Ok(()),
            };
            if let Err(error) = self.roster.used(id, asked) {
                self.give_up(id, error);
            }
        }
        match self.fanout {
            Fanout::Threads => self.await_threads(begun)?,
            Fanout::Inline => NodeId::ALL.into_iter().for_each(|id| self.await_inline(id)),
        }
        self.check_not_lost()?;
        let nodes = self.ballot.who(Vote::Yes);
        Ok(Written::Staged { seq, nodes, troubles: self.troubles.clone() })
    }

    /// Waits for the lanes' threads; for the last one no longer than it is worth.
    fn await_threads(&mut self, begun: Instant) -> Result<()> {
        // So that the channel is disconnected once all threads have ended, also by a panic.
        self.ended.0 = unbounded().0;
        let mut patience = None;
        while !self.targets().is_empty() {
            self.check_not_lost()?;
            if patience.is_none() && self.ballot.who(Vote::Yes).len() >= WRITE_QUORUM {
                patience = Some(Instant::now() + begun.elapsed().max(LAST_NODE_MIN));
            }
            let end = match patience {
                Some(until) => self.ended.1.recv_deadline(until),
                None => self.ended.1.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match end {
                Ok((id, end)) => self.take_in(id, end),
                Err(why) => {
                    let why = match why {
                        RecvTimeoutError::Timeout => "much slower than the other nodes",
                        RecvTimeoutError::Disconnected => "its part of the store ended in a panic",
                    };
                    for id in self.targets().iter() {
                        self.give_up(id, Error::node(id, NodeFailure::Refused(why.into())));
                    }
                }
            }
        }
        Ok(())
    }

    fn await_inline(&mut self, id: NodeId) {
        if let Lane::Inline(mut sink) = std::mem::replace(&mut self.lanes[id.index()], Lane::Closed)
        {
            let end = if self.roster.up().contains(id) {
                self.roster.used(id, sink.await_staged())
            } else {
                // Found silent while another one was waited for: no second wait.
                let why = NodeFailure::Late(self.roster.health(id).why().to_owned());
                Err(Error::node(id, why))
            };
            self.take_in(id, end);
        }
    }

    fn take_in_ended(&mut self) {
        while let Ok((id, end)) = self.ended.1.try_recv() {
            self.take_in(id, end);
        }
    }

    /// Casts a node's vote.
    fn take_in(&mut self, id: NodeId, end: Result<()>) {
        match end {
            // What the old node has is not on the one that has replaced it.
            Ok(()) if self.roster.moves()[id.index()] != self.moves[id.index()] => {
                let why = NodeFailure::Refused("it has been replaced".into());
                self.give_up(id, Error::node(id, why));
            }
            Ok(()) => {
                self.lanes[id.index()] = Lane::Closed;
                self.ballot.cast(id, Vote::Yes);
            }
            Err(error) => self.give_up(id, error),
        }
    }

    fn give_up(&mut self, id: NodeId, error: Error) {
        let lane = std::mem::replace(&mut self.lanes[id.index()], Lane::Closed);
        if let Lane::Thread(lane) = lane {
            // The thread may hang for a while: it keeps one stripe, not all.
            while lane.queue.try_recv().is_ok() {}
        }
        self.ballot.cast(id, Vote::No);
        let why = match error {
            Error::Node { why, .. } => {
                if matches!(why, NodeFailure::NoSpace(_)) {
                    self.full.insert(id);
                }
                why.to_string()
            }
            other => other.to_string(),
        };
        self.troubles.note(id, why);
    }

    fn check_not_lost(&self) -> Result<()> {
        match self.ballot.verdict() {
            // Waiting for nodes does not help where one of them has no space.
            Verdict::Lost if !self.full.is_empty() => Err(Error::NodesFull(self.troubles.clone())),
            Verdict::Lost => Err(Error::TooFewToStore(self.troubles.clone())),
            Verdict::Pending | Verdict::Won => Ok(()),
        }
    }
}

/// Serves one node until its piece is staged, or until the writing is given up.
fn run_lane(
    id: NodeId,
    mut sink: Box<dyn PieceSink>,
    work: &Receiver<Job>,
    taken: &AtomicU64,
) -> Result<()> {
    loop {
        match work.recv_timeout(KEEP_ALIVE) {
            Ok(Job::Stripe(encoded)) => {
                let (units, checksums) = encoded.for_node(id);
                sink.units(units, checksums)?;
                taken.fetch_add(1, Ordering::SeqCst);
            }
            Ok(Job::Shorten(file_bytes)) => sink.shorten(file_bytes)?,
            Ok(Job::Finish(seq, blake3)) => {
                sink.ask_finish(seq, blake3)?;
                return sink.await_staged();
            }
            Err(RecvTimeoutError::Timeout) => sink.keep_alive()?,
            Err(RecvTimeoutError::Disconnected) => {
                let why = NodeFailure::Refused("the store was given up".into());
                return Err(Error::node(id, why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::volume::fixture::{bytes, fixture, push_all};
    use crate::core::error::Reached;
    use crate::core::wire::node::Room;

    fn digest(content: &[u8]) -> Digest {
        Digest(*blake3::hash(content).as_bytes())
    }

    #[test]
    fn a_small_file_reaches_no_node_before_its_entry() {
        let f = fixture();
        for (byte, length) in [(1, 0), (2, 1), (3, 256 << 10)] {
            let content = bytes(length);
            let mut writing = f.begin(byte, &content).unwrap();
            push_all(&mut writing, &content);
            let written = writing.finish(digest(&content)).unwrap();
            let Written::Inline { stripe, .. } = written else { panic!("{written:?}") };
            assert_eq!(*stripe, CodedStripe::of_file(&content));
            assert_eq!(writing.targets(), NodeSet::ALL);
        }
        assert!(f.nodes.iter().all(|node| node.state.lock().pieces.is_empty()));
    }

    #[test]
    fn a_small_file_does_not_wait_for_nodes_that_are_behind_with_writing_out() {
        let mut f = fixture();
        let content = bytes(353);
        for number in [1, 2] {
            f.node(number.into()).backlog_bytes = u64::MAX;
            f.switch(NodeSet::ALL);
            let mut writing = f.begin(number, &content).unwrap();
            push_all(&mut writing, &content);
            let written = writing.finish(digest(&content)).unwrap();
            let is_inline = matches!(written, Written::Inline { .. });
            assert_eq!(is_inline, number == 1, "three keep up, or two");
        }
        assert_eq!(f.store(3, &content), NodeSet::ALL);
        assert_eq!(f.read(3, content.len()).unwrap().0, content);
    }

    #[test]
    fn a_file_that_ends_too_early_is_refused() {
        let f = fixture();
        for length in [10, 3 << 20] {
            let content = bytes(length);
            let mut writing = f.begin(1, &content).unwrap();
            assert!(writing.finish(digest(&content)).is_err());
        }
    }

    #[test]
    fn a_small_file_too_is_refused_early_where_nodes_are_away_or_full() {
        let mut f = fixture();
        f.switch(NodeSet::from_bits(0b0011));
        assert!(matches!(f.begin(1, b"x"), Err(Error::TooFewToStore(_))));
        let full = Room { free_bytes: 1 << 20, total_bytes: 1 << 30, spare_bytes: 10 };
        for number in [1, 2] {
            f.node(number).room = Some(full);
        }
        f.switch(NodeSet::ALL);
        assert!(matches!(f.begin(1, b"x"), Err(Error::NodesFull(_))));
    }

    #[test]
    fn a_node_much_slower_than_the_others_is_not_waited_for() {
        let f = fixture();
        let volume = f.threaded_volume();
        f.node(3).finishes_after = Duration::from_secs(3);
        let content = bytes(2_500_000);
        let began = Instant::now();
        let mut writing = volume.write(&f.meta(1, &content)).unwrap();
        push_all(&mut writing, &content);
        let Written::Staged { nodes, troubles, .. } = writing.finish(digest(&content)).unwrap()
        else {
            panic!("it is not small");
        };
        assert_eq!(nodes, NodeSet::from_bits(0b1011));
        assert!(troubles.to_string().contains("slower"), "{troubles}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(f.cluster.roster.up().contains(NodeId::ALL[2]), "it is not taken for down");
    }

    #[test]
    fn a_node_that_takes_no_stripes_does_not_hold_up_the_others() {
        let f = fixture();
        let volume = f.threaded_volume();
        f.node(2).takes_after = Duration::from_secs(3);
        let content = bytes(12 << 20);
        let began = Instant::now();
        let mut writing = volume.write(&f.meta(1, &content)).unwrap();
        push_all(&mut writing, &content);
        let Written::Staged { nodes, .. } = writing.finish(digest(&content)).unwrap() else {
            panic!("it is not small");
        };
        assert_eq!(nodes, NodeSet::from_bits(0b1101));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }

    #[test]
    fn what_was_staged_for_nothing_is_discarded_but_not_what_is_in_doubt() {
        let f = fixture();
        let content = bytes(300_000);
        let mut writing = f.begin(1, &content).unwrap();
        push_all(&mut writing, &content);
        writing.finish(digest(&content)).unwrap();
        let held = || f.nodes.iter().filter(|node| !node.state.lock().pieces.is_empty()).count();
        let (confirmed, troubles) = (Reached(NodeSet::EMPTY), Troubles::default());
        writing.refused(&Error::InDoubt { confirmed, troubles });
        assert_eq!(held(), 4);
        writing.refused(&Error::EarlierInDoubt(Troubles::default()));
        assert_eq!(held(), 0);
        let mut writing = f.begin(2, &content).unwrap();
        push_all(&mut writing, &content);
        f.node(1).is_off = true;
        f.node(2).is_off = true;
        assert!(matches!(writing.finish(digest(&content)), Err(Error::TooFewToStore(_))));
        assert_eq!(held(), 0);
    }

    #[test]
    fn a_version_is_known_as_running_until_the_writing_is_dropped() {
        let f = fixture();
        let writing = f.begin(1, b"x").unwrap();
        assert!(f.cluster.volume.is_running(writing.meta.version));
        let version = writing.meta.version;
        drop(writing);
        assert!(!f.cluster.volume.is_running(version));
    }
}
