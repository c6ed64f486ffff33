//! One thread for each node that rebuilds the pieces which it lacks.
//!
//! What is to be rebuilt are rows of what the node is owed, oldest first; each is struck out in the
//! transaction that owes the commit of the new piece, so a crash anywhere costs one piece's work.
//! A piece that cannot be rebuilt now does not hold up the others. A node that cannot take pieces
//! (its disk is full or failing) is left alone for longer and longer.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::core::catalog::{Catalog, Owed, Task};
use crate::core::cluster::again::{Tried, Work};
use crate::core::cluster::attendant::Bell;
use crate::core::cluster::pace::Manners;
use crate::core::cluster::rebuild::Lacking;
use crate::core::cluster::volume::Volume;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, NodeSet, READ_QUORUM, VersionId};
use crate::core::wire::node::{PieceMeta, Place};

/// How often a healer looks whether there is something to do, unless it is woken.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long repairs rest after a round in which some failed.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long a node is left alone at most that cannot take pieces; doubled each time until then.
const LEFT_ALONE_MAX: Duration = Duration::from_secs(600);

/// What has been healed since the server was started.
#[derive(Default, Debug)]
pub struct Healing {
    pieces: AtomicU64,
    bytes_read: AtomicU64,
}

impl Healing {
    /// Pieces that were rebuilt.
    pub fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    /// Bytes that were read from other nodes for it, also for what failed half-way.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

/// Starts the four healers, which hear `bell` from now on and ring it as it was before. They run
/// until the process ends.
///
/// # Errors
/// If the system has no threads left.
pub fn start(
    catalog: &Arc<Catalog>,
    volume: &Arc<Volume>,
    bell: &mut Bell,
    manners: &Manners,
) -> Result<Arc<Healing>> {
    let healing: Arc<Healing> = Arc::default();
    let attendants = bell.clone();
    for id in NodeId::ALL {
        let (attendants, manners) = (attendants.clone(), manners.clone());
        let mut healer =
            Healer::new(id, catalog.clone(), volume.clone(), attendants, manners, healing.clone());
        let rung = bell.listen();
        thread::Builder::new()
            .name(format!("healer of node {id}"))
            .spawn(move || healer.run(&rung))
            .map_err(Error::io("cannot start a thread"))?;
    }
    Ok(healing)
}

/// Rebuilds what one node lacks.
pub struct Healer {
    id: NodeId,
    catalog: Arc<Catalog>,
    volume: Arc<Volume>,
    bell: Bell,
    manners: Manners,
    healing: Arc<Healing>,
    /// How often the node had come up when it was last looked at.
    times_up: u64,
    /// The last request to try all at once that was heard.
    asked: u64,
    /// Why something could not be rebuilt in this round.
    why: Option<String>,
    /// Repairs up to this row have been tried in this round and have failed.
    after: i64,
    /// When the next round begins, if some failed in the last one.
    pause: Option<Duration>,
    /// How long the node is left alone after its next refusal.
    leave_alone: Duration,
}

impl Healer {
    /// The healer of this node; it rings the bell when there is a piece to commit.
    pub fn new(
        id: NodeId,
        catalog: Arc<Catalog>,
        volume: Arc<Volume>,
        bell: Bell,
        manners: Manners,
        healing: Arc<Healing>,
    ) -> Healer {
        Healer {
            id,
            catalog,
            volume,
            bell,
            manners,
            healing,
            times_up: 0,
            asked: 0,
            why: None,
            after: 0,
            pause: None,
            leave_alone: AGAIN_AFTER,
        }
    }

    fn run(&mut self, rung: &Receiver<()>) {
        let start = Instant::now();
        loop {
            let round = AssertUnwindSafe(|| self.round(start.elapsed()));
            if !panic::catch_unwind(round).unwrap_or(false) {
                let _ = rung.recv_timeout(LOOK_EVERY);
            }
        }
    }

    /// Rebuilds one piece; true if there may be more to rebuild. `now` counts from any fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        let roster = self.volume.roster();
        if !roster.up().contains(self.id) {
            return false;
        }
        let (times_up, asked) = (roster.times_up(self.id), roster.again().asked());
        if (times_up, asked) != (self.times_up, self.asked) {
            (self.times_up, self.asked) = (times_up, asked);
            (self.after, self.pause, self.why) = (0, None, None);
            self.leave_alone = AGAIN_AFTER;
        }
        self.rebuild_one(now).unwrap_or_else(|error| {
            tracing::warn!("data server {}: {error}", self.id);
            false
        })
    }

    fn rebuild_one(&mut self, now: Duration) -> Result<bool> {
        if self.pause.is_some_and(|until| now < until) {
            return Ok(false);
        }
        let mut others = self.volume.roster().up();
        others.remove(self.id);
        let owed = self.catalog.owed(self.id, true, self.after, 1)?;
        if others.len() < READ_QUORUM {
            let why = "fewer than two other nodes are up to rebuild from";
            self.why = (!owed.is_empty()).then(|| why.to_owned());
            self.note_tried();
            return Ok(false);
        }
        let Some(Owed { id, task: Task::Repair { version, place }, .. }) = owed.first() else {
            self.note_tried();
            let failed_some = std::mem::take(&mut self.after) > 0;
            self.pause = failed_some.then_some(now + AGAIN_AFTER);
            return Ok(false);
        };
        let Some(lacking) = self.lacking(*version, place)? else {
            // Replaced or removed meanwhile.
            self.catalog.settle(&[*id]);
            return Ok(true);
        };
        match self.rebuild(&lacking)? {
            Ok(bytes_read) => {
                self.leave_alone = AGAIN_AFTER;
                if !self.catalog.piece_rebuilt(self.id, *version, *id)? {
                    self.volume.discard(*version, NodeSet::from_iter([self.id]));
                }
                self.healing.pieces.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    "data server {}: its piece of {place} is rebuilt ({bytes_read} bytes read from \
                     the others)",
                    self.id
                );
                self.bell.ring();
                Ok(true)
            }
            Err(error) => {
                if self.pause.is_none() {
                    tracing::info!("data server {}: {place} is rebuilt later: {error}", self.id);
                }
                self.why = Some(error.to_string());
                if is_refused_by(self.id, &error) {
                    self.note_tried();
                    self.after = 0;
                    self.pause = Some(now + self.leave_alone);
                    self.leave_alone = (2 * self.leave_alone).min(LEFT_ALONE_MAX);
                    return Ok(false);
                }
                // One that cannot be rebuilt now does not hold up the others.
                self.after = *id;
                Ok(true)
            }
        }
    }

    /// All has been tried once; the next round begins without a reason.
    fn note_tried(&mut self) {
        let tried = Tried { asked: self.asked, why: self.why.take() };
        self.volume.roster().again().note(self.id, Work::Repairs, tried);
    }

    fn rebuild(&mut self, lacking: &Lacking) -> Result<Result<u64>> {
        let (healing, manners) = (self.healing.clone(), &mut self.manners);
        manners.begin();
        let rebuilt = self.volume.rebuild(self.id, lacking, &mut |bytes| {
            healing.bytes_read.fetch_add(bytes, Ordering::Relaxed);
            manners.moved(bytes);
        });
        for node in rebuilt.unsound.iter().filter(|node| *node != self.id) {
            self.catalog.piece_lost(node, lacking.meta.version, None)?;
        }
        Ok(rebuilt.outcome)
    }

    fn lacking(&self, version: VersionId, place: &Place) -> Result<Option<Lacking>> {
        // The same in all trailers of a version, whatever has been moved since it was stored.
        let Some(seq) = self.catalog.stored_seq(version)? else {
            return Ok(None);
        };
        Ok(self.catalog.version(version)?.map(|record| Lacking {
            meta: PieceMeta {
                version,
                seq,
                place: place.clone(),
                file_bytes: record.bytes,
                stored_ms: record.stored_ms,
                repair: true,
            },
            blake3: record.blake3,
            placed: record.placed,
        }))
    }
}

/// Is it the node that was to get the piece which did not take it?
fn is_refused_by(id: NodeId, error: &Error) -> bool {
    matches!(error, Error::Node { node, why: NodeFailure::NoSpace(_) | NodeFailure::Refused(_) }
        if *node == id)
}
