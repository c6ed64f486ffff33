//! A version on its way to the nodes.
//!
//! ```text
//!   room() ─ filled by the caller ─ push() ──┬─> lane 1 ─> node 1: A1 A2
//!     ^                               code   ├─> lane 2 ─> node 2: B1 B2
//!     └── the next buffer that is free       ├─> lane 3 ─> node 3: O1 O2
//!                                            └─> lane 4 ─> node 4: O3 O4
//! ```
//!
//! Each lane of a larger file is a thread, so that receiving, coding and sending to four nodes
//! overlap, and a node that hangs holds up only what waits for its buffers, for one deadline. A file
//! of one stripe goes out without threads: everything is sent to all nodes before anything is
//! awaited.
//!
//! Dropped before it is finished, a writing leaves nothing on the nodes.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::core::cluster::buffers::{Allowance, StripeBuffer};
use crate::core::cluster::node::PieceSink;
use crate::core::cluster::roster::Roster;
use crate::core::code::layout::{FILE_BYTES_MAX, Layout};
use crate::core::code::{checksum, kernel};
use crate::core::error::{Code, Error, NodeFailure, Result, Troubles};
use crate::core::io::reason;
use crate::core::quorum::{Ballot, Verdict, Vote};
use crate::core::types::{Digest, NodeId, NodeSet};
use crate::core::wire::node::PieceMeta;

/// A lane gives up on its node long before this, and frees its buffers then.
const BUFFER_WAIT: Duration = Duration::from_secs(30);

/// How often a node that has nothing to do hears that its piece goes on.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How the four nodes are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fanout {
    /// A thread for each node, for files of more than one stripe.
    Threads,
    /// One node after the other in the caller's thread, for simulations.
    Inline,
}

/// Where a version is, durably but not yet committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Staged {
    /// The nodes that have it; at least three.
    pub nodes: NodeSet,
    /// Why the others do not.
    pub troubles: Troubles,
}

/// A version that is being stored.
pub struct Writing {
    roster: Arc<Roster>,
    meta: PieceMeta,
    fanout: Fanout,
    layout: Layout,
    allowance: Allowance,
    lanes: [Lane; 4],
    ballot: Ballot,
    troubles: Troubles,
    /// The nodes that failed for want of space.
    full: NodeSet,
    stripe: u64,
    buffer: Option<StripeBuffer>,
    /// How often nodes had moved when it began.
    moves: [u64; 4],
}

/// The way to one node.
enum Lane {
    /// Not opened: the first stripe has not come yet, and a slow client costs the node nothing.
    Waiting,
    /// It has failed or ended; its vote is cast.
    Closed,
    Inline(Box<dyn PieceSink>),
    Thread {
        jobs: Sender<Job>,
        thread: JoinHandle<Result<()>>,
    },
}

enum Job {
    Stripe(Arc<Encoded>),
    Finish(Digest),
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
        meta: &PieceMeta,
    ) -> Result<Writing> {
        let layout = Layout::checked(meta.file_bytes)
            .ok_or(Error::TooBig { bytes: meta.file_bytes, limit: FILE_BYTES_MAX })?;
        let mut writing = Writing {
            layout,
            allowance,
            lanes: std::array::from_fn(|_| Lane::Waiting),
            ballot: Ballot::default(),
            troubles: roster.troubles(NodeSet::ALL),
            full: NodeSet::EMPTY,
            stripe: 0,
            buffer: None,
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

    fn open_lanes(&mut self) {
        let threads = self.fanout == Fanout::Threads && self.layout.stripe_count() > 1;
        for id in NodeId::ALL {
            if !matches!(self.lanes[id.index()], Lane::Waiting) {
                continue;
            }
            match if threads { self.spawn_lane(id) } else { self.open_lane(id) } {
                Ok(lane) => self.lanes[id.index()] = lane,
                Err(error) => self.give_up(id, error),
            }
        }
    }

    fn open_lane(&self, id: NodeId) -> Result<Lane> {
        self.roster.used(id, self.roster.node(id).stage(&self.meta)).map(Lane::Inline)
    }

    fn spawn_lane(&self, id: NodeId) -> Result<Lane> {
        // Bounded by the buffers of the transfer. A channel with a bound of its own would keep what
        // is queued, and with it the buffers, when the lane ends; this one drops it.
        let (jobs, work) = unbounded();
        let (node, meta) = (self.roster.node(id).clone(), self.meta.clone());
        let thread = thread::Builder::new()
            .name(format!("lane to node {id}"))
            .spawn(move || run_lane(id, node.stage(&meta)?, &work))
            .map_err(|e| no_thread(id, &e))?;
        Ok(Lane::Thread { jobs, thread })
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
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => {
                let unit_bytes = self.layout.unit_bytes(self.stripe);
                self.allowance.lease(unit_bytes, BUFFER_WAIT).ok_or_else(|| {
                    Error::Deadline(format!(
                        "the nodes did not take a stripe within {} s",
                        BUFFER_WAIT.as_secs()
                    ))
                })?
            }
        };
        let buffer = self.buffer.insert(buffer);
        Ok(&mut buffer.halves().0[..wanted])
    }

    /// Codes what was put into the room and sends it to the nodes.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`] as soon as too few nodes are left.
    pub fn push(&mut self) -> Result<()> {
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
            self.send(id, &encoded);
        }
        self.stripe += 1;
        self.check_not_lost()
    }

    fn send(&mut self, id: NodeId, encoded: &Arc<Encoded>) {
        let result = match &mut self.lanes[id.index()] {
            Lane::Waiting | Lane::Closed => return,
            Lane::Inline(sink) => {
                let (units, checksums) = encoded.for_node(id);
                sink.units(units, checksums)
            }
            Lane::Thread { jobs, .. } => {
                if jobs.send(Job::Stripe(encoded.clone())).is_ok() {
                    return;
                }
                self.join(id)
            }
        };
        if let Err(error) = result {
            self.give_up(id, error);
        }
    }

    /// Waits until the version is durable on every node that can still be had, once all stripes have
    /// been pushed.
    ///
    /// # Errors
    /// [`Error::TooFewToStore`]; what some nodes had staged is theirs to discard then, and is in
    /// the second value's set.
    pub fn finish(mut self, blake3: Digest) -> std::result::Result<Staged, (Error, NodeSet)> {
        match self.finish_all(blake3) {
            Ok(()) => {
                Ok(Staged { nodes: self.ballot.who(Vote::Yes), troubles: self.troubles.clone() })
            }
            Err(error) => Err((error, self.ballot.who(Vote::Yes))),
        }
    }

    fn finish_all(&mut self, blake3: Digest) -> Result<()> {
        // A file that ends with a full stripe has one more that is all padding.
        if self.stripe < self.layout.stripe_count() && self.room()?.is_empty() {
            self.push()?;
        }
        if self.stripe < self.layout.stripe_count() {
            return Err(Error::other(Code::Unexpected, "the file ended before all its bytes came"));
        }
        for id in NodeId::ALL {
            let asked = match &mut self.lanes[id.index()] {
                Lane::Inline(sink) => sink.ask_finish(blake3),
                // A lane that has ended tells why when it is joined below.
                Lane::Thread { jobs, .. } => {
                    let _ = jobs.send(Job::Finish(blake3));
                    Ok(())
                }
                Lane::Waiting | Lane::Closed => Ok(()),
            };
            if let Err(error) = asked {
                self.give_up(id, error);
            }
        }
        for id in NodeId::ALL {
            match self.await_staged(id) {
                // What the old node has is not on the one that has replaced it.
                Some(Ok(())) if self.roster.moves()[id.index()] != self.moves[id.index()] => {
                    let why = NodeFailure::Refused("it has been replaced".into());
                    self.give_up(id, Error::Node { node: id, why });
                }
                Some(Ok(())) => self.ballot.cast(id, Vote::Yes),
                Some(Err(error)) => self.give_up(id, error),
                None => {}
            }
        }
        self.check_not_lost()
    }

    fn await_staged(&mut self, id: NodeId) -> Option<Result<()>> {
        match std::mem::replace(&mut self.lanes[id.index()], Lane::Closed) {
            Lane::Waiting | Lane::Closed => None,
            Lane::Inline(mut sink) => {
                if !self.roster.up().contains(id) {
                    // Found silent while another one was waited for: no second wait.
                    let why = NodeFailure::Late(self.roster.health(id).why().to_owned());
                    return Some(Err(Error::Node { node: id, why }));
                }
                Some(self.roster.used(id, sink.await_staged()))
            }
            lane @ Lane::Thread { .. } => {
                self.lanes[id.index()] = lane;
                Some(self.join(id))
            }
        }
    }

    /// The end of a lane's thread.
    fn join(&mut self, id: NodeId) -> Result<()> {
        match std::mem::replace(&mut self.lanes[id.index()], Lane::Closed) {
            Lane::Thread { jobs, thread } => {
                drop(jobs);
                let ended = thread.join().unwrap_or_else(|_| {
                    let why = NodeFailure::Refused("its lane ended in a panic".into());
                    Err(Error::Node { node: id, why })
                });
                self.roster.used(id, ended)
            }
            Lane::Waiting | Lane::Closed | Lane::Inline(_) => Ok(()),
        }
    }

    fn give_up(&mut self, id: NodeId, error: Error) {
        self.lanes[id.index()] = Lane::Closed;
        self.ballot.cast(id, Vote::No);
        let why = match self.roster.used::<()>(id, Err(error)) {
            Err(Error::Node { why, .. }) => {
                if matches!(why, NodeFailure::NoSpace(_)) {
                    self.full.insert(id);
                }
                why.to_string()
            }
            Err(other) => other.to_string(),
            Ok(()) => String::new(),
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
fn run_lane(id: NodeId, mut sink: Box<dyn PieceSink>, work: &Receiver<Job>) -> Result<()> {
    loop {
        match work.recv_timeout(KEEP_ALIVE) {
            Ok(Job::Stripe(encoded)) => {
                let (units, checksums) = encoded.for_node(id);
                sink.units(units, checksums)?;
            }
            Ok(Job::Finish(blake3)) => {
                sink.ask_finish(blake3)?;
                return sink.await_staged();
            }
            Err(RecvTimeoutError::Timeout) => sink.keep_alive()?,
            Err(RecvTimeoutError::Disconnected) => {
                let why = NodeFailure::Refused("the store was given up".into());
                return Err(Error::Node { node: id, why });
            }
        }
    }
}

fn no_thread(id: NodeId, error: &std::io::Error) -> Error {
    let why = NodeFailure::Refused(format!("no thread for its lane: {}", reason(error)));
    Error::Node { node: id, why }
}
