//! Scrubbing: everything that lies on the nodes is looked at, and what is not as it should be is
//! mended.
//!
//! ```text
//!   start ──> inventory ──────────> files ──────────────> mending ──────> done
//!             the pieces of each    every piece of every  until what it
//!             node that is up, and  file is read from     found is in
//!             its view, compared    its disk, and the     its place
//!             with the catalog      four compared
//! ```
//!
//! A step is one page of a node's pieces or some stripes of one file. How far it is, and what it has
//! found, is kept in the catalog, so it goes on after a restart. A finding is noted before the loss of the
//! piece is recorded, and once for each piece, so nothing is forgotten and nothing counted twice.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::core::catalog::{Phase, Scrub, Surveyed, What};
use crate::core::cluster::Cluster;
use crate::core::cluster::check::{Checked, Walk, Walked};
use crate::core::cluster::compare::{Compared, Comparison};
use crate::core::cluster::pace::Throttle;
use crate::core::cluster::scrubs::{Shared, Wanted};
use crate::core::error::{Error, Result, Trouble, Troubles};
use crate::core::types::{NodeId, VersionId};

pub use crate::core::cluster::compare::GRACE;
pub use crate::core::cluster::scrubs::{Options, Progress, Scrubs};

/// How often it is noted how far a scrub is.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether all is mended, or a scrub is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// No estimate is made before a scrub has gone on for so long.
const ESTIMATE_AFTER: Duration = Duration::from_secs(2);

/// How long a scrub waits for a node that still receives the journal.
const IN_STEP_WITHIN: Duration = Duration::from_secs(60);

/// How long it rests after a failure that is none of a node.
const PAUSE: Duration = Duration::from_secs(5);

/// The engine: does a step at a time.
pub struct Scrubber {
    cluster: Cluster,
    throttle: Throttle,
    every: Option<Duration>,
    /// The wall clock where `now` is zero, in milliseconds since 1970.
    start_ms: i64,
    shared: Arc<Mutex<Shared>>,
    wake: (Sender<()>, Receiver<()>),
    /// The scrub that has not ended.
    scrub: Option<Scrub>,
    comparison: Option<(NodeId, Comparison)>,
    /// Since when it waits for the next node to be compared.
    waits_since: Option<Duration>,
    walk: Option<Walk>,
    /// What has been found about a file and is not noted yet.
    found: Option<(Surveyed, Checked)>,
    saved_at: Duration,
    looked_at: Option<Duration>,
    /// When reading began in this process, and how much had been read by then.
    began: Option<(Duration, u64)>,
    /// When the next one begins by itself, once that was worked out.
    next_at: Option<Duration>,
    rests_until: Duration,
    complained: String,
}

impl Scrubber {
    /// An engine that goes on with what had not ended. A scrub begins by itself `every` so often.
    /// `start_ms` is the wall clock at the point from which all `now` count, in milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn new(
        cluster: &Cluster,
        throttle: Throttle,
        every: Option<Duration>,
        start_ms: i64,
    ) -> Result<Scrubber> {
        let last = cluster.catalog.last_scrub()?;
        let shared = Arc::new(Mutex::new(Shared { scrub: last.clone(), ..Shared::default() }));
        Ok(Scrubber {
            cluster: cluster.clone(),
            throttle,
            every,
            start_ms,
            shared,
            wake: bounded(1),
            scrub: last.filter(|scrub| scrub.ended_ms.is_none()),
            comparison: None,
            waits_since: None,
            walk: None,
            found: None,
            saved_at: Duration::ZERO,
            looked_at: None,
            began: None,
            next_at: None,
            rests_until: Duration::ZERO,
            complained: String::new(),
        })
    }

    /// The facade of this engine.
    pub fn scrubs(&self) -> Scrubs {
        Scrubs::new(&self.cluster, self.shared.clone(), self.wake.0.clone())
    }

    /// Waits until it is woken by a start, or for so long.
    pub fn rest(&self, longest: Duration) {
        let _ = self.wake.1.recv_timeout(longest);
    }

    /// Does a step; true if there is more to do now. `now` counts from a fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        let leads = self.cluster.roster.leadership().is_established();
        let done = self.obey(now).and_then(|()| {
            let may_go_on = leads && now >= self.rests_until;
            if may_go_on { self.step(now) } else { Ok(false) }
        });
        self.publish(now);
        match done {
            Ok(more) => more,
            Err(error) => {
                self.rests_until = now + PAUSE;
                let text = error.to_string();
                if self.complained != text {
                    tracing::warn!("the scrub goes on later: {text}");
                    self.complained = text;
                }
                false
            }
        }
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
        let next_at = match self.next_at {
            Some(next_at) => next_at,
            None => {
                let since_ms = match self.cluster.catalog.last_scrub()? {
                    Some(last) => last.ended_ms.unwrap_or(last.started_ms),
                    None => self.cluster.catalog.scrubs_since(self.wall_ms(now))?,
                };
                now + left_of(every, since_ms, self.wall_ms(now))
            }
        };
        self.next_at = Some(next_at);
        Ok(next_at <= now)
    }

    fn begin(&mut self, options: Options, now: Duration) -> Result<()> {
        let grace_ms = i64::try_from(options.grace.as_millis()).unwrap_or(i64::MAX);
        let scrub =
            self.cluster.catalog.begin_scrub(options.witness, grace_ms, self.wall_ms(now))?;
        tracing::info!("scrub: begins, {} files", scrub.files_all);
        self.scrub = Some(scrub);
        self.shared.lock().unchecked = Troubles::default();
        (self.comparison, self.waits_since) = (None, None);
        (self.walk, self.found, self.began) = (None, None, None);
        (self.rests_until, self.complained) = (now, String::new());
        (self.saved_at, self.looked_at) = (now, None);
        self.next_at = None;
        Ok(())
    }

    fn end(&mut self, phase: Phase, now: Duration) -> Result<()> {
        let Some(scrub) = &self.scrub else {
            return Ok(());
        };
        // It has ended once the catalog says so.
        let scrub = Scrub { phase, ended_ms: Some(self.wall_ms(now)), ..scrub.clone() };
        self.cluster.catalog.save_scrub(&scrub)?;
        let found = self.cluster.catalog.mending(scrub.id)?;
        let unchecked = if scrub.unchecked.is_empty() {
            String::new()
        } else {
            let unchecked = self.shared.lock().unchecked.clone();
            format!("; not all of {} could be checked: {unchecked}", scrub.unchecked)
        };
        tracing::info!(
            "scrub: {}: {} files, {} wrong and {} missing pieces, {} of them repaired; {} pieces and \
             names of no file removed; {} files damaged beyond repair{unchecked}",
            phase.as_str(),
            scrub.files_done,
            found.wrong,
            found.missing,
            found.repaired,
            scrub.removed,
            found.damaged
        );
        self.shared.lock().scrub = Some(scrub);
        (self.scrub, self.next_at) = (None, None);
        Ok(())
    }

    /// Shows how far it is.
    fn publish(&self, now: Duration) {
        let mut shared = self.shared.lock();
        if let Some(scrub) = &self.scrub {
            shared.scrub = Some(scrub.clone());
        }
        shared.next_in = self.next_at.map(|next_at| next_at.saturating_sub(now));
        let going = self.scrub.as_ref().zip(self.began);
        shared.bytes_per_second = going.and_then(|(scrub, (at, bytes))| {
            let since = now.saturating_sub(at);
            let read = scrub.bytes_done.saturating_sub(bytes);
            (since >= ESTIMATE_AFTER).then(|| read as f64 / since.as_secs_f64())
        });
    }

    fn step(&mut self, now: Duration) -> Result<bool> {
        match self.scrub.as_ref().map(|scrub| scrub.phase) {
            Some(Phase::Inventory) => self.take_inventory(now),
            Some(Phase::Files) => self.check_files(now).map(|()| true),
            Some(Phase::Mending) => self.look_whether_mended(now).map(|()| false),
            Some(Phase::Done | Phase::Stopped) | None => Ok(false),
        }
    }

    /// Compares a page of the next node's pieces. False if it waits for the node.
    fn take_inventory(&mut self, now: Duration) -> Result<bool> {
        let Some(scrub) = &mut self.scrub else { return Ok(false) };
        let Some(next) = scrub.listed.complement().iter().next() else {
            scrub.phase = Phase::Files;
            self.cluster.catalog.save_scrub(scrub)?;
            return Ok(true);
        };
        self.throttle.begin();
        let stepped = match self.comparison.take() {
            Some((id, mut comparison)) => {
                let stepped = comparison.step(&self.cluster, Some(scrub.id));
                self.comparison = Some((id, comparison)).filter(|_| matches!(stepped, Ok(None)));
                stepped
            }
            None if !self.cluster.roster.up().contains(next) => {
                let why = self.cluster.roster.health(next).why().to_owned();
                self.leave_out(next, &why);
                return Ok(true);
            }
            None => {
                let grace = Duration::from_millis(u64::try_from(scrub.grace_ms).unwrap_or(0));
                match Comparison::begin(&self.cluster, next, grace) {
                    Ok(Some(comparison)) => {
                        (self.comparison, self.waits_since) = (Some((next, comparison)), None);
                        Ok(None)
                    }
                    Ok(None) if now < *self.waits_since.get_or_insert(now) + IN_STEP_WITHIN => {
                        return Ok(false);
                    }
                    Ok(None) => {
                        self.leave_out(next, "it does not have the whole journal");
                        return Ok(true);
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match stepped {
            Ok(None) => {}
            Ok(Some(compared)) => self.check_view(next, compared)?,
            Err(Error::Node { why, .. }) => self.leave_out(next, &why.to_string()),
            Err(error) => return Err(error),
        }
        // Names, not contents: what users wait for is the disk's arm, not its throughput.
        self.throttle.moved(0);
        Ok(true)
    }

    /// The node's pieces have been compared; its view is next.
    fn check_view(&mut self, id: NodeId, compared: Compared) -> Result<()> {
        let roster = &self.cluster.roster;
        let checked = roster.used(id, roster.node(id).check_view());
        let Some(scrub) = &mut self.scrub else { return Ok(()) };
        scrub.removed += compared.removed;
        match checked {
            Ok(report) => {
                if report.mended + report.removed + report.foreign + report.blocked > 0 {
                    tracing::info!(
                        "scrub: the view of data server {id}: {} of {} names put right, {} removed; \
                         {} files and folders are none of Palk's and stay, {} are in the way of a name",
                        report.mended,
                        report.names,
                        report.removed,
                        report.foreign,
                        report.blocked
                    );
                }
                scrub.removed += report.removed;
                scrub.foreign += report.foreign;
                scrub.listed.insert(id);
            }
            Err(Error::Node { why, .. }) => self.leave_out(id, &why.to_string()),
            Err(error) => self.leave_out(id, &error.to_string()),
        }
        self.scrub.as_ref().map_or(Ok(()), |scrub| self.cluster.catalog.save_scrub(scrub))
    }

    fn leave_out(&mut self, id: NodeId, why: &str) {
        tracing::warn!("scrub: not all that lies on data server {id} is known: {why}");
        self.shared.lock().unchecked.note(id, why);
        self.waits_since = None;
        if let Some(scrub) = &mut self.scrub {
            scrub.listed.insert(id);
            scrub.unchecked.insert(id);
        }
    }

    fn check_files(&mut self, now: Duration) -> Result<()> {
        let Some(scrub) = &mut self.scrub else { return Ok(()) };
        self.began.get_or_insert((now, scrub.bytes_done));
        if let Some((file, checked)) = &self.found {
            let version = file.record.version;
            let is_found = !checked.without().is_empty();
            if is_found && !self.cluster.catalog.is_as_seen(version, checked.seen)? {
                // A piece was rebuilt while it was looked at.
                (self.found, self.walk) = (None, None);
                return Ok(());
            }
            note_found(&self.cluster, scrub, file, checked)?;
            let mut shared = self.shared.lock();
            for Trouble { node, why } in &checked.unchecked.0 {
                shared.unchecked.note(*node, why);
            }
            drop(shared);
            self.found = None;
            return self.save_now_and_then(now);
        }
        let (cursor, witness) = (scrub.cursor, scrub.witness);
        let walk = self.walk.get_or_insert_with(|| Walk::new(cursor, witness));
        match walk.step(&self.cluster, &mut self.throttle)? {
            Walked::On(bytes) => scrub.bytes_done += bytes,
            Walked::Checked(bytes, file, checked) => {
                scrub.bytes_done += bytes;
                self.found = Some((file, checked));
            }
            // What has replaced it is the next scrub's matter.
            Walked::Gone(version) => note_done(scrub, version),
            Walked::End => {
                scrub.phase = Phase::Mending;
                // What was estimated at the beginning is known now.
                scrub.bytes_all = scrub.bytes_done;
                self.cluster.catalog.save_scrub(scrub)?;
            }
        }
        self.save_now_and_then(now)
    }

    fn save_now_and_then(&mut self, now: Duration) -> Result<()> {
        if let Some(scrub) = &self.scrub
            && now.saturating_sub(self.saved_at) >= SAVE_EVERY
        {
            self.cluster.catalog.save_scrub(scrub)?;
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
        if self.cluster.catalog.mending(scrub.id)?.owed == 0 {
            self.end(Phase::Done, now)
        } else {
            Ok(())
        }
    }
}

/// What is left of the time between two scrubs, where the last one was at `since_ms`. If that is in the
/// future, a clock was wrong, and nobody knows how long ago it was.
fn left_of(every: Duration, since_ms: i64, now_ms: i64) -> Duration {
    let passed = u64::try_from(now_ms.saturating_sub(since_ms));
    passed.map_or(Duration::ZERO, |ms| every.saturating_sub(Duration::from_millis(ms)))
}

/// Notes what was found about a file, then has the journal say what its nodes lack.
fn note_found(
    cluster: &Cluster,
    scrub: &mut Scrub,
    file: &Surveyed,
    checked: &Checked,
) -> Result<()> {
    let (id, version) = (scrub.id, file.record.version);
    for (what, nodes) in [(What::Missing, checked.missing), (What::Wrong, checked.wrong)] {
        for node in nodes.iter() {
            // Unless the version was replaced or deleted meanwhile.
            if !cluster.catalog.scrub_found(id, what, node, &[version])?.is_empty() {
                let (place, what) = (&file.place, what.as_str());
                tracing::warn!("scrub: the piece of {place} on data server {node} is {what}");
            }
        }
    }
    cluster.record_lost(version, checked.without())?;
    if checked.damaged {
        cluster.catalog.scrub_found_damaged(id, version)?;
    }
    scrub.unchecked = scrub.unchecked.or(checked.unchecked.nodes());
    note_done(scrub, version);
    Ok(())
}

fn note_done(scrub: &mut Scrub, version: VersionId) {
    scrub.files_done += 1;
    scrub.cursor = Some(version);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::Mending;
    use crate::core::cluster::volume::fixture::{Fixture, bytes, fixture, version};
    use crate::core::code::checksum;
    use crate::core::types::NodeSet;

    /// Scrubs until that is done, while what is found is rebuilt.
    fn scrub(f: &mut Fixture, options: Options) -> Progress {
        let mut scrubber = Scrubber::new(&f.cluster, f.throttle(), None, 0).unwrap();
        let scrubs = scrubber.scrubs();
        scrubs.start(options).unwrap();
        for _ in 0..100 {
            while scrubber.round(f.now()) {}
            f.repair();
            f.look();
            f.pass(LOOK_EVERY);
            let progress = scrubs.progress().unwrap();
            if progress.scrub.as_ref().is_some_and(|scrub| scrub.ended_ms.is_some()) {
                return progress;
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn what_is_missing_damaged_or_abandoned_is_found_and_mended() {
        let mut f = fixture();
        let contents = [1, 2, 3].map(|n| bytes(n * 700_000));
        (1..)
            .zip(&contents)
            .for_each(|(byte, content)| assert_eq!(f.store(byte, content).len(), 4));
        f.node(2).pieces.remove(&version(1));
        f.node(3).damaged.insert(version(2));
        let piece = f.node(1).pieces[&version(3)].clone();
        f.node(1).pieces.insert(version(9), piece);
        let options = Options { witness: false, grace: Duration::ZERO };
        let progress = scrub(&mut f, options);
        let expected = Mending { wrong: 1, missing: 1, repaired: 2, ..Mending::default() };
        assert_eq!(progress.found, expected);
        let done = progress.scrub.as_ref().unwrap();
        assert_eq!((done.files_done, done.removed), (3, 1));
        assert!(progress.is_clean() && progress.strays == 0);
        assert!(f.holds(2, 1, &contents[0]) && f.holds(3, 2, &contents[1]));
        assert_eq!(f.cluster.catalog.errors().unwrap(), [0, 1, 1, 0]);
    }

    #[test]
    fn bytes_that_are_wrong_under_right_checksums_are_traced_to_their_node() {
        let mut f = fixture();
        let content = bytes(2_500_000);
        f.store(1, &content);
        f.node(4).pieces.get_mut(&version(1)).unwrap()[1][0][77] ^= 1;
        let sound = |f: &Fixture| {
            let pieces = [1, 2, 3, 4].map(|n| f.node(n).pieces[&version(1)][1].clone());
            pieces.map(|units| units.map(|unit| checksum::unit(&unit)))
        };
        let before = sound(&f);
        let progress = scrub(&mut f, Options { witness: true, grace: GRACE });
        assert_eq!((progress.found.wrong, progress.found.repaired), (1, 1));
        assert!(f.holds(4, 1, &content));
        assert_eq!(sound(&f)[..3], before[..3]);
    }

    #[test]
    fn a_node_that_is_away_is_not_checked_and_loses_nothing() {
        let mut f = fixture();
        f.store(1, &bytes(300_000));
        f.switch(NodeSet::from_bits(0b0111));
        let progress = scrub(&mut f, Options::default());
        let done = progress.scrub.as_ref().unwrap();
        assert_eq!(done.unchecked, NodeSet::from_bits(0b1000));
        assert_eq!(progress.unchecked.to_string(), "node 4 (connection refused)");
        assert!(!progress.is_clean());
        assert_eq!(f.placed(1), NodeSet::ALL);
    }

    #[test]
    fn the_next_scrub_is_due_in_time_and_at_once_after_a_clock_that_was_ahead() {
        let f = fixture();
        f.store(1, &bytes(300_000));
        let every = Duration::from_secs(7 * 86_400);
        let (years, day_ms) = (630_000_000_000, 86_400_000);
        let next_in = |f: &Fixture, start_ms| {
            let mut scrubber = Scrubber::new(&f.cluster, f.throttle(), Some(every), start_ms);
            let scrubber = scrubber.as_mut().unwrap();
            scrubber.round(Duration::ZERO);
            let progress = scrubber.scrubs().progress().unwrap();
            progress.next_in.unwrap_or_default()
        };
        // Never one before: counted from the first start on.
        assert_eq!(next_in(&f, years), every);
        assert_eq!(next_in(&f, years + day_ms), every - Duration::from_secs(86_400));
        assert_eq!(f.cluster.catalog.last_scrub().unwrap(), None);
        // The clock is right again.
        assert_eq!(next_in(&f, day_ms), Duration::ZERO);
        let mut begun = f.cluster.catalog.last_scrub().unwrap().unwrap();
        assert_eq!(begun.ended_ms, None, "it has begun");
        // The same where the last one seems to have ended in the future.
        (begun.phase, begun.ended_ms) = (Phase::Done, Some(years));
        f.cluster.catalog.save_scrub(&begun).unwrap();
        assert_eq!(next_in(&f, day_ms), Duration::ZERO);
        let last = f.cluster.catalog.last_scrub().unwrap().unwrap();
        assert_eq!((last.ended_ms, last.id), (None, begun.id + 1));
    }

    #[test]
    fn a_scrub_whose_end_cannot_be_written_has_not_ended() {
        let f = fixture();
        f.store(1, &bytes(300_000));
        let mut scrubber = Scrubber::new(&f.cluster, f.throttle(), None, 0).unwrap();
        let scrubs = scrubber.scrubs();
        scrubs.start(Options::default()).unwrap();
        while scrubber.scrub.as_ref().is_none_or(|scrub| scrub.phase != Phase::Mending) {
            scrubber.round(f.now());
        }
        // As long as it is open nothing else is written.
        let group = f.cluster.catalog.begin_group(1).unwrap();
        f.pass(LOOK_EVERY);
        assert!(!scrubber.round(f.now()));
        assert!(!scrubs.progress().unwrap().is_clean());
        drop(group);
        f.pass(PAUSE);
        scrubber.round(f.now());
        assert!(scrubs.progress().unwrap().is_clean());
        assert!(f.cluster.catalog.last_scrub().unwrap().unwrap().ended_ms.is_some());
    }

    #[test]
    fn a_piece_that_is_rebuilt_while_it_is_looked_at_is_looked_at_again() {
        let f = fixture();
        let content = bytes(300_000);
        f.store(1, &content);
        f.node(2).damaged.insert(version(1));
        let mut scrubber = Scrubber::new(&f.cluster, f.throttle(), None, 0).unwrap();
        let scrubs = scrubber.scrubs();
        scrubs.start(Options::default()).unwrap();
        while scrubber.found.is_none() {
            scrubber.round(f.now());
        }
        f.cluster.record_lost(version(1), NodeSet::from_bits(0b0010)).unwrap();
        f.repair();
        assert!(f.holds(2, 1, &content));
        while scrubber.scrub.is_some() {
            scrubber.round(f.now());
            f.pass(LOOK_EVERY);
        }
        let progress = scrubs.progress().unwrap();
        assert_eq!(progress.found, Mending::default());
        assert_eq!((progress.is_clean(), progress.scrub.unwrap().files_done), (true, 1));
        assert_eq!(f.placed(1), NodeSet::ALL);
    }

    #[test]
    fn a_scrub_goes_on_where_it_was_after_a_restart() {
        let mut f = fixture();
        (1..=3).for_each(|byte| assert_eq!(f.store(byte, &bytes(300_000)).len(), 4));
        f.node(2).damaged.insert(version(1));
        let new = |f: &Fixture| Scrubber::new(&f.cluster, f.throttle(), None, 0).unwrap();
        let mut scrubber = new(&f);
        scrubber.scrubs().start(Options::default()).unwrap();
        while scrubber.scrub.as_ref().is_none_or(|scrub| scrub.files_done == 0) {
            scrubber.round(f.now());
        }
        // Nothing was noted since the files began, so the first one is checked again.
        let mut scrubber = new(&f);
        while scrubber.scrub.is_some() {
            scrubber.round(f.now());
            f.repair();
            f.pass(LOOK_EVERY);
        }
        let progress = scrubber.scrubs().progress().unwrap();
        assert_eq!((progress.found.wrong, progress.found.repaired), (1, 1));
        assert!(progress.is_clean());
        f.look();
    }
}
