//! What keeps the nodes whole while the server runs: healing, scrubbing, replacing.
//!
//! The engines lie in `cluster`; here are their threads and the facades for whoever steers them.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::catalog::Catalog;
use crate::core::cluster::attendant::Bell;
use crate::core::cluster::heal::{self, Healing};
use crate::core::cluster::pace::{Manners, Pace, Rest};
use crate::core::cluster::readers::Readers;
use crate::core::cluster::replace::{Replacements, Replacer};
use crate::core::cluster::scrub::{Scrubber, Scrubs};
use crate::core::cluster::volume::Volume;
use crate::core::error::{Error, Result};
use crate::core::io::clock;

pub use crate::core::cluster::pace::RATE_MIN;

/// How long an engine rests that has nothing to do.
const IDLE: Duration = Duration::from_millis(500);

/// How fast, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Bytes per second that repairs read, all nodes together; as fast as can be if there is none.
    pub heal: Option<u64>,
    /// Bytes per second that a scrub and the proof of a replacement have the nodes read, all
    /// together; as fast as can be if there is none.
    pub scrub: Option<u64>,
    /// How long after one scrub has ended the next one begins; never by itself if there is none.
    pub scrub_every: Option<Duration>,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates {
            heal: None,
            scrub: Some(50_000_000),
            scrub_every: Some(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}

/// The facades of the engines.
pub struct Upkeep {
    /// Scrubs: start, stop, how far.
    pub scrubs: Scrubs,
    /// Replacing nodes.
    pub replacements: Replacements,
    /// What has been healed.
    pub healing: Arc<Healing>,
    /// The limit of repairs; it can be changed while they run.
    pub heal_pace: Arc<Pace>,
    /// The limit of scrubs; it can be changed while they run.
    pub scrub_pace: Arc<Pace>,
}

/// Starts the engines, which run until the process ends. Healers hear the bell from now on.
///
/// # Errors
/// If the catalog cannot be read, or the system has no threads left.
pub fn start(
    catalog: &Arc<Catalog>,
    volume: &Arc<Volume>,
    readers: &Arc<Readers>,
    bell: &mut Bell,
    rates: Rates,
) -> Result<Upkeep> {
    let [heal_pace, scrub_pace] = [rates.heal, rates.scrub].map(|rate| Arc::new(Pace::new(rate)));
    let manners =
        |pace: &Arc<Pace>| Manners::new(pace.clone(), volume.traffic().clone(), Rest::Sleep);
    let healing = heal::start(catalog, volume, bell, &manners(&heal_pace))?;
    let (start, start_ms) = (Instant::now(), clock::now_ms());
    let scrub_manners = manners(&scrub_pace);
    let mut scrubber = Scrubber::new(
        catalog.clone(),
        volume.clone(),
        readers.clone(),
        bell.clone(),
        scrub_manners.clone(),
        rates.scrub_every,
        start_ms,
    )?;
    let mut replacer = Replacer::new(
        catalog.clone(),
        volume.roster().clone(),
        bell.clone(),
        scrub_manners,
        start_ms,
    );
    let (scrubs, replacements) = (scrubber.scrubs(), replacer.replacements());
    spawn("scrubber", move || {
        if !scrubber.round(start.elapsed()) {
            scrubber.rest(IDLE);
        }
    })?;
    spawn("replacer", move || {
        if !replacer.round(start.elapsed()) {
            thread::sleep(IDLE);
        }
    })?;
    Ok(Upkeep { scrubs, replacements, healing, heal_pace, scrub_pace })
}

fn spawn(name: &str, mut step: impl FnMut() + Send + 'static) -> Result<()> {
    let run = move || {
        loop {
            if panic::catch_unwind(AssertUnwindSafe(&mut step)).is_err() {
                // What it was at is tried again, though not as fast as a thread can fail.
                thread::sleep(IDLE);
            }
        }
    };
    let spawned = thread::Builder::new().name(name.into()).spawn(run);
    spawned.map(drop).map_err(Error::io("cannot start a thread"))
}
