//! What keeps the nodes whole while the server runs: supervising, repairing, scrubbing, replacing, and
//! dropping what is not needed any more.
//!
//! The engines lie in `cluster`; here they are started, and here are the facades for those who steer
//! them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::cluster::pace::{Pace, Rest, Throttle};
use crate::core::cluster::reaper::Reaper;
use crate::core::cluster::repair::{self, Healing};
use crate::core::cluster::replace::{Replacements, Replacer};
use crate::core::cluster::scrub::{Scrubber, Scrubs};
use crate::core::cluster::{Cluster, spawn, supervisor};
use crate::core::error::Result;
use crate::core::io::clock;
use crate::core::serve::schedule;

pub use crate::core::cluster::pace::RATE_MIN;
pub use crate::core::cluster::retention::Keep;
pub use crate::core::ladder::Rung;
pub use crate::core::serve::schedule::Schedule;

/// How long an engine rests that has nothing to do.
const IDLE: Duration = Duration::from_millis(500);

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// How fast, how often, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Bytes per second that repairs read, all nodes together; as fast as can be if there is none.
    pub heal: Option<u64>,
    /// Bytes per second that a scrub and the proof of a replacement have the nodes read, all
    /// together; as fast as can be if there is none.
    pub scrub: Option<u64>,
    /// How long after one scrub has ended the next one begins; never by itself if there is none.
    pub scrub_every: Option<Duration>,
    /// How long what was replaced or deleted is kept.
    pub keep: Keep,
    /// When snapshots are made by themselves, if at all.
    pub snapshots: Option<Schedule>,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates {
            heal: None,
            scrub: Some(50_000_000),
            scrub_every: Some(WEEK),
            keep: Keep::For(WEEK),
            snapshots: None,
        }
    }
}

/// The facades of the engines.
pub struct Upkeep {
    /// Scrubs: start, stop, how far.
    pub scrubs: Scrubs,
    /// Replacing nodes.
    pub replacements: Replacements,
    /// What has been repaired.
    pub repairs: Arc<Healing>,
    /// The limit of repairs; it can be changed while they run.
    pub heal_pace: Arc<Pace>,
    /// The limit of scrubs; it can be changed while they run.
    pub scrub_pace: Arc<Pace>,
}

/// Starts the engines, which run until the process ends.
///
/// # Errors
/// If the catalog cannot be read, or the system has no threads left.
pub fn start(cluster: &Cluster, rates: Rates) -> Result<Upkeep> {
    let [heal_pace, scrub_pace] = [rates.heal, rates.scrub].map(|rate| Arc::new(Pace::new(rate)));
    let throttle = |pace: &Arc<Pace>| {
        Throttle::new(pace.clone(), cluster.volume.traffic().clone(), Rest::Sleep)
    };
    supervisor::start(cluster)?;
    let repairs = repair::start(cluster, &throttle(&heal_pace))?;
    cluster.retention.keep(rates.keep);
    Arc::new(Reaper::new(cluster)).start()?;
    if let Some(schedule) = rates.snapshots {
        schedule::start(cluster, schedule)?;
    }
    let (start, start_ms) = (Instant::now(), clock::now_ms());
    let mut scrubber = Scrubber::new(cluster, throttle(&scrub_pace), rates.scrub_every, start_ms)?;
    let mut replacer = Replacer::new(cluster, throttle(&scrub_pace), start_ms)?;
    let (scrubs, replacements) = (scrubber.scrubs(), replacer.replacements());
    spawn("scrubber", move || {
        if !scrubber.round(start.elapsed()) {
            scrubber.rest(IDLE);
        }
        true
    })?;
    spawn("replacer", move || {
        if !replacer.round(start.elapsed()) {
            thread::sleep(IDLE);
        }
        true
    })?;
    Ok(Upkeep { scrubs, replacements, repairs, heal_pace, scrub_pace })
}
