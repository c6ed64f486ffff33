//! Scrubbing: everything that lies on the nodes is looked at, and what is not as it should be is
//! mended.
//!
//! ```text
//!   start ──> inventory ──────────> files ──────────────> mending ──────> done
//!             what lies on each     every piece of every  until what it
//!             node that is up,      file is read from     found is in
//!             held against the      its disk, and the     its place
//!             catalog               four compared
//! ```
//!
//! A step is one page of an inventory or some stripes of one file. How far it is, and what it has
//! found, is kept in the catalog, so it goes on after a restart. Nothing that is found is believed
//! without a second look where something may just have been delivered: the catalog is asked in one
//! moment, and the node once more after it.
//!
//! A block that belongs to no file is removed only by its own sequence number, only after it has
//! been known for the grace time, and never a file that is no block of its node.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Phase, Scrub, Surveyed, What};
use crate::core::cluster::attendant::Bell;
use crate::core::cluster::check::{Check, Checked};
use crate::core::cluster::inventory::Lister;
use crate::core::cluster::pace::Manners;
use crate::core::cluster::readers::Readers;
use crate::core::cluster::scrubs::{Shared, Wanted};
use crate::core::cluster::volume::Volume;
use crate::core::error::Result;
use crate::core::types::NodeSet;

pub use crate::core::cluster::scrubs::{GRACE, Options, Progress, Scrubs};

/// Files that are taken from the catalog at a time.
const FILES_PAGE: usize = 64;

/// How often it is noted how far a scrub is.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether all is mended, or a scrub is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// No estimate is made before a scrub has gone on for so long.
const ESTIMATE_AFTER: Duration = Duration::from_secs(2);

/// The engine: does a step at a time.
pub struct Scrubber {
    catalog: Arc<Catalog>,
    volume: Arc<Volume>,
    bell: Bell,
    manners: Manners,
    every: Option<Duration>,
    /// The wall clock where `now` is zero, in milliseconds since 1970.
    start_ms: i64,
    shared: Arc<Mutex<Shared>>,
    wake: (Sender<()>, Receiver<()>),
    /// The scrub that has not ended.
    scrub: Option<Scrub>,
    lister: Lister,
    page: VecDeque<Surveyed>,
    check: Option<Check>,
    saved_at: Duration,
    looked_at: Option<Duration>,
    /// When reading began in this process, and how much had been read by then.
    began: Option<(Duration, u64)>,
}

impl Scrubber {
    /// An engine that goes on with what had not ended. A scrub begins by itself `every` so often.
    /// `start_ms` is the wall clock at the point from which all `now` count, in milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn new(
        catalog: Arc<Catalog>,
        volume: Arc<Volume>,
        readers: Arc<Readers>,
        bell: Bell,
        manners: Manners,
        every: Option<Duration>,
        start_ms: i64,
    ) -> Result<Scrubber> {
        let last = catalog.last_scrub()?;
        let shared = Arc::new(Mutex::new(Shared { scrub: last.clone(), ..Shared::default() }));
        let lister = Lister::new(catalog.clone(), volume.roster().clone(), readers);
        Ok(Scrubber {
            catalog,
            volume,
            bell,
            manners,
            every,
            start_ms,
            shared,
            wake: bounded(1),
            scrub: last.filter(|scrub| scrub.ended_ms.is_none()),
            lister,
            page: VecDeque::new(),
            check: None,
            saved_at: Duration::ZERO,
            looked_at: None,
            began: None,
        })
    }

    /// The facade of this engine.
    pub fn scrubs(&self) -> Scrubs {
        let (catalog, shared) = (self.catalog.clone(), self.shared.clone());
        Scrubs::new(catalog, shared, self.wake.0.clone())
    }

    /// Waits until it is woken by a start, or for so long.
    pub fn rest(&self, longest: Duration) {
        let _ = self.wake.1.recv_timeout(longest);
    }

    /// Does a step; true if there is more to do now. `now` counts from a fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        let ended = self.obey(now).and_then(|()| self.step(now));
        self.publish(now);
        ended.unwrap_or_else(|error| {
            tracing::warn!("scrub: {error}");
            false
        })
    }

    fn wall_ms(&self, now: Duration) -> i64 {
        self.start_ms.saturating_add(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    }

    /// Starts and stops as somebody has asked, or as is due.
    fn obey(&mut self, now: Duration) -> Result<()> {
        let wanted = self.shared.lock().wanted.take();
        match wanted {
            Some(Wanted::Start(options)) => self.begin(options, now),
            Some(Wanted::Stop) => self.end(Phase::Stopped, now),
            None if self.is_due(now)? => self.begin(Options::default(), now),
            None => Ok(()),
        }
    }

    /// Is it time for the next one? A scrub that waits for repairs, of a node that stays away maybe,
    /// does not hold up the next one for ever.
    fn is_due(&mut self, now: Duration) -> Result<bool> {
        let reads = |scrub: &Scrub| matches!(scrub.phase, Phase::Inventory | Phase::Files);
        let Some(every) = self.every.filter(|_| !self.scrub.as_ref().is_some_and(reads)) else {
            return Ok(false);
        };
        if self.shared.lock().next_ms.is_none() {
            let since = match self.catalog.last_scrub()? {
                Some(last) => last.ended_ms.unwrap_or(last.started_ms),
                None => self.catalog.scrubs_since(self.wall_ms(now))?,
            };
            let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
            self.shared.lock().next_ms = Some(since.saturating_add(every_ms));
        }
        let next_ms = self.shared.lock().next_ms;
        Ok(next_ms.is_some_and(|next_ms| next_ms <= self.wall_ms(now)))
    }

    fn begin(&mut self, options: Options, now: Duration) -> Result<()> {
        let grace_ms = i64::try_from(options.grace.as_millis()).unwrap_or(i64::MAX);
        let scrub = self.catalog.begin_scrub(options.witness, grace_ms, self.wall_ms(now))?;
        tracing::info!("scrub: begins, {} files", scrub.files_all);
        self.scrub = Some(scrub);
        self.lister.restart();
        (self.page, self.check, self.began) = (VecDeque::new(), None, None);
        (self.saved_at, self.looked_at) = (now, None);
        self.shared.lock().next_ms = None;
        Ok(())
    }

    fn end(&mut self, phase: Phase, now: Duration) -> Result<()> {
        let wall_ms = self.wall_ms(now);
        let Some(scrub) = &mut self.scrub else {
            return Ok(());
        };
        (scrub.phase, scrub.ended_ms) = (phase, Some(wall_ms));
        self.catalog.save_scrub(scrub)?;
        let found = self.catalog.mending(scrub.id)?;
        let unchecked = if scrub.unchecked.is_empty() {
            String::new()
        } else {
            format!("; not all of {} could be checked", scrub.unchecked)
        };
        tracing::info!(
            "scrub: {}: {} files, {} wrong, {} missing, {} stale pieces, {} of them repaired; {} \
             strays, {} removed; {} files damaged beyond repair{unchecked}",
            phase.as_str(),
            scrub.files_done,
            found.wrong,
            found.missing,
            found.stale,
            found.repaired,
            found.stray,
            scrub.removed,
            found.damaged
        );
        let mut shared = self.shared.lock();
        (shared.scrub, shared.next_ms) = (self.scrub.take(), None);
        Ok(())
    }

    /// Shows how far it is.
    fn publish(&self, now: Duration) {
        let mut shared = self.shared.lock();
        if let Some(scrub) = &self.scrub {
            shared.scrub = Some(scrub.clone());
        }
        let going = self.scrub.as_ref().zip(self.began);
        shared.bytes_per_second = going.and_then(|(scrub, (at, bytes))| {
            let since = now.saturating_sub(at);
            let read = scrub.bytes_done.saturating_sub(bytes);
            (since >= ESTIMATE_AFTER).then(|| read as f64 / since.as_secs_f64())
        });
    }

    fn step(&mut self, now: Duration) -> Result<bool> {
        let wall_ms = self.wall_ms(now);
        let Some(scrub) = &mut self.scrub else {
            return Ok(false);
        };
        match scrub.phase {
            Phase::Inventory => {
                self.manners.begin();
                let found = self.lister.step(scrub, wall_ms)?;
                if found {
                    self.bell.ring();
                }
                if scrub.listed == NodeSet::ALL {
                    scrub.phase = Phase::Files;
                    self.catalog.save_scrub(scrub)?;
                }
                // Names and trailers: what users wait for is the disk's arm, not its throughput.
                self.manners.moved(0);
                Ok(true)
            }
            Phase::Files => self.check_files(now).map(|()| true),
            Phase::Mending => self.look_whether_mended(now).map(|()| false),
            Phase::Done | Phase::Stopped => Ok(false),
        }
    }

    fn check_files(&mut self, now: Duration) -> Result<()> {
        let (roster, Some(scrub)) = (self.volume.roster(), &mut self.scrub) else {
            return Ok(());
        };
        self.began.get_or_insert((now, scrub.bytes_done));
        if let Some(check) = &mut self.check {
            self.manners.begin();
            let (bytes, checked) = check.step(roster);
            scrub.bytes_done += bytes;
            if let Some(checked) = checked {
                let file = self.check.take().map(|check| check.file);
                if let Some(file) = file {
                    self.conclude(&file, checked)?;
                }
            }
            self.manners.moved(bytes);
        } else if let Some(file) = self.page.pop_front() {
            self.check = begin_check(&self.catalog, &self.volume, scrub, file)?;
        } else {
            self.page = self.catalog.files_after(scrub.cursor.as_ref(), FILES_PAGE)?.into();
            if self.page.is_empty() {
                scrub.phase = Phase::Mending;
                // What was estimated at the beginning is known now.
                scrub.bytes_all = scrub.bytes_done;
                self.catalog.save_scrub(scrub)?;
                self.bell.ring();
            }
        }
        self.save_now_and_then(now)
    }

    /// Owes repairs for what was found about a file.
    fn conclude(&mut self, file: &Surveyed, checked: Checked) -> Result<()> {
        let Some(scrub) = &mut self.scrub else {
            return Ok(());
        };
        let version = file.record.version;
        let found = [(What::Missing, checked.missing), (What::Wrong, checked.wrong)];
        for (what, nodes) in found {
            for node in nodes.iter() {
                let asked = file.record.seq;
                if what == What::Missing && self.catalog.may_be_elsewhere(node, version, asked)? {
                    continue;
                }
                if self.catalog.scrub_found(scrub.id, what, node, version)? {
                    tracing::warn!(
                        "scrub: the piece of {} on data server {node} is {}",
                        file.place,
                        what.as_str()
                    );
                }
            }
        }
        if checked.damaged {
            self.catalog.scrub_found_damaged(scrub.id, version)?;
        }
        scrub.unchecked = scrub.unchecked.or(checked.unchecked);
        scrub.files_done += 1;
        scrub.cursor = Some((file.user, file.place.path.as_str().to_owned()));
        if !(checked.missing.is_empty() && checked.wrong.is_empty()) {
            self.bell.ring();
        }
        Ok(())
    }

    fn save_now_and_then(&mut self, now: Duration) -> Result<()> {
        if let Some(scrub) = &self.scrub
            && now.saturating_sub(self.saved_at) >= SAVE_EVERY
        {
            self.catalog.save_scrub(scrub)?;
            self.saved_at = now;
        }
        Ok(())
    }

    fn look_whether_mended(&mut self, now: Duration) -> Result<()> {
        let Some(scrub) = &self.scrub else {
            return Ok(());
        };
        if self.looked_at.is_some_and(|at| now < at + LOOK_EVERY) {
            return Ok(());
        }
        self.looked_at = Some(now);
        if self.catalog.mending(scrub.id)?.owed == 0 { self.end(Phase::Done, now) } else { Ok(()) }
    }
}

/// Begins to check a file on the nodes that should have it and to which nothing about it is owed:
/// those are about to get it. A node that should have it according to nobody is owed it.
fn begin_check(
    catalog: &Catalog,
    volume: &Volume,
    scrub: &mut Scrub,
    file: Surveyed,
) -> Result<Option<Check>> {
    let version = file.record.version;
    // What has been replaced since the page was read is the next scrub's matter.
    let Some(record) = catalog.version(version)? else {
        scrub.files_done += 1;
        scrub.cursor = Some((file.user, file.place.path.as_str().to_owned()));
        return Ok(None);
    };
    let file = Surveyed { record, ..file };
    let concerned = catalog.concerned(version)?;
    let placed = file.record.placed;
    for node in placed.or(concerned.repair).complement().iter() {
        catalog.scrub_found(scrub.id, What::Missing, node, version)?;
    }
    let nodes = placed.and(concerned.any.complement());
    let place = catalog.whereabouts(version, &file.place)?.place;
    Ok(Some(Check::begin(volume.roster(), file, place, nodes, scrub.witness)))
}
