//! Verb `scrub`: one begun or joined, and waited for.

use std::thread;
use std::time::{Duration, Instant};

use crate::core::catalog::{Phase, Scrub};
use crate::core::cluster::scrub::{GRACE, Options, Progress};
use crate::core::error::{Code, Error, Result};
use crate::core::io::clock;
use crate::core::serve::operator::upkeep::scrubbing;
use crate::core::serve::operator::{Caller, ITEMS_MAX, LOOK_EVERY, Operator, Reporter};
use crate::core::status::{Scrubbing, State};
use crate::core::wire::reports::{Found, Remaining, Scrubbed};

/// A scrub that has not begun by then never will: its engine cannot write the catalog.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

fn reads(scrub: &Scrub) -> bool {
    matches!(scrub.phase, Phase::Inventory | Phase::Files)
}

impl Operator {
    /// Begins a scrub, or joins the one that is running, and waits for its end unless `detach`.
    /// Gives the exit status: 0 if everything is as it should be, or nobody waits; 20 if not.
    ///
    /// # Errors
    /// [`Code::Busy`] if one is running that does less than is asked for; if this server may change
    /// nothing, or the catalog cannot be read.
    pub fn scrub(
        &self,
        witness: bool,
        grace: Option<Duration>,
        detach: bool,
        caller: &mut dyn Caller,
    ) -> Result<(u8, Scrubbed)> {
        self.may_work()?;
        let scrubs = &self.upkeep.scrubs;
        let before = scrubs.progress()?.scrub;
        let started = scrubs.start(Options { witness, grace: grace.unwrap_or(GRACE) });
        let joined = match started {
            Ok(()) => false,
            Err(error) if error.code() == Code::Busy => true,
            Err(error) => return Err(error),
        };
        let running = before.as_ref().filter(|scrub| joined && reads(scrub));
        let id_min = match (running, &before) {
            (Some(scrub), _) => scrub.id,
            (None, Some(before)) => before.id + 1,
            (None, None) => 0,
        };
        let scrub = self.begun(id_min)?;
        if joined {
            refuse_less(&scrub, witness, grace)?;
        }
        if detach {
            let scrub = self.scrubbing()?;
            return Ok((0, Scrubbed { joined, scrub, ..Scrubbed::default() }));
        }
        let mut reporter = Reporter::new(caller);
        let remaining = self.wait_for_scrub(joined, scrub.id, &mut reporter)?;
        self.scrub_report(joined, scrub.id, remaining, &mut reporter)
    }

    /// Ends the scrub that is running, and tells how it went. Exit status 0.
    ///
    /// # Errors
    /// If it does not end; if the catalog cannot be read.
    pub fn stop_scrub(&self, caller: &mut dyn Caller) -> Result<(u8, Scrubbed)> {
        let runs = |scrub: &Option<Scrub>| scrub.as_ref().is_some_and(|s| s.ended_ms.is_none());
        let scrubs = &self.upkeep.scrubs;
        let was_running = runs(&scrubs.progress()?.scrub);
        if was_running {
            scrubs.stop();
            let since = Instant::now();
            while runs(&scrubs.progress()?.scrub) {
                if since.elapsed() > BEGUN_WITHIN || caller.has_gone() {
                    let text = "the scrub does not end; the server's log may say why";
                    return Err(Error::other(Code::Temporary, text));
                }
                thread::sleep(LOOK_EVERY);
            }
        }
        let scrub = self.scrubbing()?;
        Ok((0, Scrubbed { joined: was_running, scrub, ..Scrubbed::default() }))
    }

    fn scrubbing(&self) -> Result<Option<Scrubbing>> {
        Ok(scrubbing(&self.upkeep.scrubs.progress()?, clock::now_ms()))
    }

    /// Waits until the engine has taken up what it was asked for.
    fn begun(&self, id_min: i64) -> Result<Scrub> {
        let since = Instant::now();
        loop {
            let scrub = self.upkeep.scrubs.progress()?.scrub;
            if let Some(scrub) = scrub.filter(|scrub| scrub.id >= id_min) {
                return Ok(scrub);
            }
            self.may_work()?;
            if since.elapsed() > BEGUN_WITHIN {
                let text = "the scrub does not begin; the server's log may say why";
                return Err(Error::other(Code::Temporary, text));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until a scrub has ended, or what it found cannot be mended now: gives why.
    fn wait_for_scrub(
        &self,
        joined: bool,
        id: i64,
        reporter: &mut Reporter,
    ) -> Result<Vec<Remaining>> {
        let far = |progress: &Progress| {
            let scrub = scrubbing(progress, clock::now_ms());
            Ok(Scrubbed { joined, scrub, ..Scrubbed::default() })
        };
        let is_over = |progress: &Progress| {
            progress.scrub.as_ref().is_none_or(|s| s.id != id || s.ended_ms.is_some())
        };
        loop {
            let progress = self.upkeep.scrubs.progress()?;
            if is_over(&progress) || reporter.has_gone() {
                return Ok(Vec::new());
            }
            reporter.tell(|| far(&progress))?;
            let mends = progress.scrub.as_ref().is_some_and(|s| s.phase == Phase::Mending);
            if !mends || progress.found.owed == 0 {
                thread::sleep(LOOK_EVERY);
                continue;
            }
            let passed = self.pass(&mut || {
                let progress = self.upkeep.scrubs.progress()?;
                reporter.tell(|| far(&progress))?;
                Ok(!is_over(&progress) && !reporter.has_gone())
            })?;
            let Some(passed) = passed else { continue };
            let left = self.upkeep.scrubs.progress()?.found.owed;
            if !passed.remaining.is_empty() && passed.healed == 0 && left >= progress.found.owed {
                return Ok(passed.remaining);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn scrub_report(
        &self,
        joined: bool,
        id: i64,
        remaining: Vec<Remaining>,
        reporter: &mut Reporter,
    ) -> Result<(u8, Scrubbed)> {
        let progress = self.upkeep.scrubs.progress()?;
        if progress.scrub.as_ref().is_none_or(|scrub| scrub.id != id) {
            let text = "another scrub has been started in the place of this one";
            return Err(Error::other(Code::Changed, text));
        }
        let scrub = scrubbing(&progress, clock::now_ms()).unwrap_or_default();
        let findings = self.cluster.catalog.findings(id, ITEMS_MAX)?;
        for finding in &findings {
            reporter.item(&Found {
                what: finding.what.as_str().to_owned(),
                node: finding.node,
                path: finding.place.to_string(),
            })?;
        }
        let untold = scrub.errors().saturating_sub(findings.len() as u64);
        let state = if scrub.is_clean() { State::Healthy } else { State::Degraded };
        let report = Scrubbed { joined, scrub: Some(scrub), untold, remaining };
        Ok((state.exit_status(), report))
    }
}

/// Whoever joins a scrub must not take it for more than it is.
fn refuse_less(scrub: &Scrub, witness: bool, grace: Option<Duration>) -> Result<()> {
    let grace_ms = grace.map(|grace| i64::try_from(grace.as_millis()).unwrap_or(i64::MAX));
    let what = if witness && !scrub.witness {
        "without --witness"
    } else if grace_ms.is_some_and(|grace_ms| grace_ms < scrub.grace_ms) {
        "with a longer --grace"
    } else {
        return Ok(());
    };
    let text = format!("a scrub is running already, {what}");
    Err(Error::other(Code::Busy, text))
}
