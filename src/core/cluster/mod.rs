//! The four nodes seen from the server: links, what is believed of each, the journal's replication, and
//! the volume that turns them into one place for files.

mod audit;
mod backoff;
mod buffers;
mod check;
pub mod committer;
pub mod compare;
pub mod leadership;
pub mod link;
pub mod node;
pub mod notify;
pub mod pace;
pub mod readers;
mod reading;
pub mod reaper;
mod rebuild;
pub mod recover;
pub mod repair;
pub mod replace;
pub mod replication;
pub mod retention;
pub mod retry;
pub mod roster;
pub mod scrub;
mod scrubs;
pub mod settle;
pub mod snapshots;
pub mod supervisor;
pub mod takeup;
pub mod traffic;
pub mod uploading;
pub mod volume;
mod writing;

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::Catalog;
use crate::core::cluster::committer::{Committer, CommitterThread};
use crate::core::cluster::node::Node;
use crate::core::cluster::notify::Notifier;
use crate::core::cluster::readers::Readers;
use crate::core::cluster::replication::Replication;
use crate::core::cluster::retention::Retention;
use crate::core::cluster::roster::{Clock, Roster};
use crate::core::cluster::settle::Settler;
use crate::core::cluster::snapshots::Snapshots;
use crate::core::cluster::takeup::TakeUp;
use crate::core::cluster::uploading::Uploading;
use crate::core::cluster::volume::Volume;
use crate::core::error::{Error, Result};
use crate::core::io::random::Random;
use crate::core::types::{Claim, NodeId};

pub use reading::{Reading, Wanted};
pub use rebuild::{Lacking, Rebuilt};
pub use writing::{Fanout, Writing, Written};

/// How often it is looked whether nodes are due for a snapshot.
const SNAPSHOTS_EVERY: Duration = Duration::from_millis(500);

/// How often a server that has just started looks how many nodes it has reached.
const TAKE_UP_EVERY: Duration = Duration::from_millis(50);

/// What a server keeps files with.
#[derive(Clone)]
pub struct Cluster {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The nodes and what is believed of each.
    pub roster: Arc<Roster>,
    /// The nodes as one place for versions of files.
    pub volume: Arc<Volume>,
    /// What is being read.
    pub readers: Arc<Readers>,
    /// The journal on its way to the nodes.
    pub replication: Arc<Replication>,
    /// Where changes are made.
    pub committer: Arc<Committer>,
    /// Snapshots on the nodes.
    pub snapshots: Arc<Snapshots>,
    /// How this server comes to lead.
    pub take_up: Arc<TakeUp>,
    /// What becomes of small files that were taken up from too few nodes.
    pub settler: Arc<Settler>,
    /// How long what was replaced or deleted can be had back.
    pub retention: Arc<Retention>,
    /// Which uploads are being sent.
    pub uploading: Arc<Uploading>,
    /// Wakes those who work in the background.
    pub notifier: Notifier,
    thread: Arc<Mutex<Option<CommitterThread>>>,
}

impl Cluster {
    /// Puts a server together; nothing is connected and no thread runs yet. `claim` is what it registers
    /// with, `snapshot_file` a file in its own folder. A simulation gives a clock of its own.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn new(
        catalog: Arc<Catalog>,
        nodes: [Arc<dyn Node>; 4],
        claim: Claim,
        random: &Arc<Random>,
        fanout: Fanout,
        clock: Option<Clock>,
        snapshot_file: PathBuf,
    ) -> Result<Cluster> {
        let roster = Arc::new(match clock {
            Some(clock) => Roster::with_clock(nodes, clock),
            None => Roster::new(nodes),
        });
        roster.leadership().begin(claim);
        let replication = Arc::new(Replication::new(catalog.clone(), roster.clone())?);
        let (committer, thread) = Committer::new(
            catalog.clone(),
            roster.clone(),
            replication.clone(),
            fanout == Fanout::Threads,
        );
        let committer = Arc::new(committer);
        let take_up =
            TakeUp::new(catalog.clone(), roster.clone(), replication.clone(), committer.clone());
        let snapshots =
            Snapshots::new(catalog.clone(), roster.clone(), replication.clone(), snapshot_file);
        let settler = Settler::new(catalog.clone(), roster.clone(), committer.clone());
        let volume =
            Volume::new(roster.clone(), random.clone(), fanout).following(replication.clone());
        Ok(Cluster {
            catalog,
            roster,
            volume: Arc::new(volume),
            readers: Arc::default(),
            replication,
            committer,
            snapshots: Arc::new(snapshots),
            take_up: Arc::new(take_up),
            settler: Arc::new(settler),
            retention: Arc::default(),
            uploading: Arc::default(),
            notifier: Notifier::default(),
            thread: Arc::new(Mutex::new(thread)),
        })
    }

    /// Starts the committer, the senders of the journal and of snapshots, and the taking up of the nodes'
    /// journals. They run until the process ends. The nodes are connected by their supervisors.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn start_replication(&self) -> Result<()> {
        if let Some(thread) = self.thread.lock().take() {
            thread.start(self.committer.clone())?;
        }
        for id in NodeId::ALL {
            let replication = self.replication.clone();
            spawn(&format!("journal to node {id}"), move || {
                replication.run_sender(id);
                true
            })?;
        }
        let (snapshots, settler) = (self.snapshots.clone(), self.settler.clone());
        spawn("snapshots", move || {
            snapshots.round(snapshots.now());
            settler.round();
            thread::sleep(SNAPSHOTS_EVERY);
            true
        })?;
        let take_up = self.take_up.clone();
        spawn("take-up", move || {
            let goes_on = !take_up.round();
            thread::sleep(TAKE_UP_EVERY);
            goes_on
        })
    }
}

/// Starts a thread that repeats a step as long as that gives true, also if one panics.
pub(crate) fn spawn(name: &str, mut step: impl FnMut() -> bool + Send + 'static) -> Result<()> {
    let run = move || {
        loop {
            match panic::catch_unwind(AssertUnwindSafe(&mut step)) {
                Ok(true) => {}
                Ok(false) => return,
                // What it was at is tried again, though not as fast as a thread can fail.
                Err(_) => thread::sleep(Duration::from_millis(500)),
            }
        }
    };
    let spawned = thread::Builder::new().name(name.into()).spawn(run);
    spawned.map(drop).map_err(Error::io("cannot start a thread"))
}
