//! The facade for starting and stopping scrubs and for showing how they go.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Mending, Phase, Scrub};
use crate::core::cluster::Cluster;
use crate::core::cluster::compare::GRACE;
use crate::core::cluster::volume::Volume;
use crate::core::error::{Code, Error, Result, Troubles};

/// How a scrub is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Compare the bytes of all nodes, and not their checksums only.
    pub witness: bool,
    /// How long a piece of no version that the catalog knows must have been known before it is removed.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { witness: false, grace: GRACE }
    }
}

/// How the last scrub, or the one that is running, has gone so far.
#[derive(Clone, PartialEq, Debug)]
pub struct Progress {
    /// The scrub; `None` if there has never been one.
    pub scrub: Option<Scrub>,
    /// What it has found, and what has become of that.
    pub found: Mending,
    /// Bytes per second that the nodes have read for it, since it began or the server was started.
    pub bytes_per_second: Option<f64>,
    /// When its reading will be done at that rate, from now; `None` as long as that is a guess.
    pub left: Option<Duration>,
    /// Pieces of no version that the catalog knows, which stay until their grace time is over.
    pub strays: u64,
    /// Why something on a node could not be checked, as far as that is known: not after a restart.
    pub unchecked: Troubles,
    /// How long until the next one begins by itself.
    pub next_in: Option<Duration>,
}

impl Progress {
    /// Has the last scrub ended, and did it find everything as it should be, or mend it?
    pub fn is_clean(&self) -> bool {
        self.scrub.as_ref().is_some_and(|scrub| {
            scrub.phase == Phase::Done && scrub.unchecked.is_empty() && self.found.damaged == 0
        })
    }
}

/// Starts and stops scrubs, and shows how they go.
#[derive(Clone)]
pub struct Scrubs {
    catalog: Arc<Catalog>,
    volume: Arc<Volume>,
    shared: Arc<Mutex<Shared>>,
    wake: Sender<()>,
}

/// What the facade and the engine tell each other.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) wanted: Option<Wanted>,
    /// The scrub as far as it is, which is further than the catalog knows.
    pub(super) scrub: Option<Scrub>,
    pub(super) bytes_per_second: Option<f64>,
    pub(super) next_in: Option<Duration>,
    pub(super) unchecked: Troubles,
}

/// A request to the engine.
pub(super) enum Wanted {
    Start(Options),
    Stop,
}

impl Scrubs {
    pub(super) fn new(cluster: &Cluster, shared: Arc<Mutex<Shared>>, wake: Sender<()>) -> Scrubs {
        let (catalog, volume) = (cluster.catalog.clone(), cluster.volume.clone());
        Scrubs { catalog, volume, shared, wake }
    }

    /// Has a scrub begin.
    ///
    /// # Errors
    /// [`Code::Busy`] if one is running; one that only waits for its repairs is ended by the new one.
    pub fn start(&self, options: Options) -> Result<()> {
        let mut shared = self.shared.lock();
        let runs = shared
            .scrub
            .as_ref()
            .is_some_and(|scrub| matches!(scrub.phase, Phase::Inventory | Phase::Files));
        if runs || matches!(shared.wanted, Some(Wanted::Start(_))) {
            let why = "a scrub is running already; see how far it is, or stop it first";
            return Err(Error::other(Code::Busy, why));
        }
        shared.wanted = Some(Wanted::Start(options));
        drop(shared);
        let _ = self.wake.try_send(());
        Ok(())
    }

    /// Has the running scrub end where it is. The repairs that it has caused go on.
    pub fn stop(&self) {
        self.shared.lock().wanted = Some(Wanted::Stop);
        let _ = self.wake.try_send(());
    }

    /// How the last scrub, or the one that is running, has gone so far.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn progress(&self) -> Result<Progress> {
        let (scrub, bytes_per_second, next_in, unchecked) = {
            let shared = self.shared.lock();
            let unchecked = shared.unchecked.clone();
            (shared.scrub.clone(), shared.bytes_per_second, shared.next_in, unchecked)
        };
        let found = match &scrub {
            Some(scrub) => self.catalog.mending(scrub.id)?,
            None => Mending::default(),
        };
        let left = scrub.as_ref().filter(|scrub| scrub.phase == Phase::Files).and_then(|scrub| {
            let bytes = scrub.bytes_all.saturating_sub(scrub.bytes_done);
            let rate = bytes_per_second.filter(|rate| *rate > 0.0)?;
            Duration::try_from_secs_f64(bytes as f64 / rate).ok()
        });
        let strays = self.volume.strays().count_all();
        Ok(Progress { scrub, found, bytes_per_second, left, strays, unchecked, next_in })
    }
}
