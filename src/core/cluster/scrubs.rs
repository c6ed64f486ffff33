//! Scrubs as seen by whoever starts them and shows how they go.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Mending, Phase, Scrub};
use crate::core::error::{Code, Error, Result};

/// How long a stray is left alone unless somebody says otherwise.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// How a scrub is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Compare the bytes of all nodes, and not their checksums only.
    pub witness: bool,
    /// How long a stray must have been known before it is removed.
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
    /// The scrub; nothing if there has never been one.
    pub scrub: Option<Scrub>,
    /// What it has found, and what has become of that.
    pub found: Mending,
    /// Bytes per second that the nodes have read for it, since it began or the server was started.
    pub bytes_per_second: Option<f64>,
    /// When its reading will be done at that rate, from now; nothing as long as that is a guess.
    pub left: Option<Duration>,
    /// When the next one begins by itself, in milliseconds since 1970.
    pub next_ms: Option<i64>,
}

impl Progress {
    /// Has the last scrub ended, and did it find everything as it should be, or mend it?
    pub fn is_clean(&self) -> bool {
        self.scrub.as_ref().is_some_and(|scrub| {
            scrub.phase == Phase::Done && scrub.unchecked.is_empty() && self.found.damaged == 0
        })
    }
}

/// The facade for whoever starts scrubs and shows how they go.
#[derive(Clone)]
pub struct Scrubs {
    catalog: Arc<Catalog>,
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
    pub(super) next_ms: Option<i64>,
}

/// What somebody has asked for.
pub(super) enum Wanted {
    Start(Options),
    Stop,
}

impl Scrubs {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        shared: Arc<Mutex<Shared>>,
        wake: Sender<()>,
    ) -> Scrubs {
        Scrubs { catalog, shared, wake }
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
        let (scrub, bytes_per_second, next_ms) = {
            let shared = self.shared.lock();
            (shared.scrub.clone(), shared.bytes_per_second, shared.next_ms)
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
        Ok(Progress { scrub, found, bytes_per_second, left, next_ms })
    }
}
