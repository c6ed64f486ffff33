//! How a folder's transfer goes, and what it has come to.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pool::Shared;
use crate::cmd::env::{Bar, ETA_HIDDEN, Env, duration, part, plural, size};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::printable;

/// So many failures are told as they come, and once more at the end; the rest are counted.
const TOLD_MAX: usize = 20;

/// What there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sum {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What is said of a verb.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// `Storing`
    pub(super) doing: &'static str,
    /// `Stored`
    pub(super) done: &'static str,
}

/// What has been done of it.
pub(super) struct Count {
    words: Words,
    all: Sum,
    done: Sum,
    /// The bytes of files that have failed, which nobody waits for any more.
    given_up: u64,
    failed: u64,
    told: Vec<String>,
    began: Instant,
    bar: Bar,
}

impl Count {
    pub(super) fn begin(words: Words, all: Sum, env: &Env) -> Count {
        let (began, bar) = (Instant::now(), env.work_bar(words.doing));
        let (done, given_up, failed, told) = (Sum::default(), 0, 0, Vec::new());
        Count { words, all, done, given_up, failed, told, began, bar }
    }

    /// Shows how far it is.
    fn show(&mut self, shared: &Shared) {
        let bytes = self.done.bytes + shared.moving.load(Ordering::Relaxed);
        let moved = bytes.saturating_sub(shared.skipped.load(Ordering::Relaxed));
        // By bytes, and where there are none by files.
        let (settled, all, pace) = match self.all.bytes {
            0 => {
                let settled = self.done.files + self.failed;
                (settled, self.all.files, settled)
            }
            all => (bytes + self.given_up, all, moved),
        };
        let mut reached = part(settled, all);
        reached.amounts = format!(
            "{}/{} files  {}/{}",
            self.done.files,
            self.all.files,
            size(bytes),
            size(self.all.bytes)
        );
        let took = self.began.elapsed();
        if took > ETA_HIDDEN {
            reached.left = left(took, pace, all.saturating_sub(settled));
            reached.rate = (moved > 0).then(|| rate(moved, took));
        }
        self.bar.show_all(shared.running(), reached);
    }

    /// One is done: a file of so many bytes, or a folder.
    ///
    /// # Errors
    /// Those of printing.
    pub(super) fn done(
        &mut self,
        env: &mut Env,
        bytes: Option<u64>,
        line: &str,
        object: Value,
    ) -> Result<(), Stop> {
        if let Some(bytes) = bytes {
            self.done.files += 1;
            self.done.bytes += bytes;
        }
        if env.manner().json {
            return env.json("item", object);
        }
        self.bar.hide_for(|| env.detail(line));
        Ok(())
    }

    /// Takes in what comes from [`pool::run`](super::pool::run): what a job has come to, which `tell`
    /// knows how to count, or that it is time to show how far all is.
    ///
    /// # Errors
    /// Those of `tell`.
    pub(super) fn follow<D>(
        &mut self,
        shared: &Shared,
        outcome: Option<D>,
        env: &mut Env,
        tell: impl FnOnce(&mut Count, D, &mut Env) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if let Some(why) = shared.waits_why() {
            self.bar.hide_for(|| env.note(&format!("The server is waited for: {why}")));
        }
        if let Some(outcome) = outcome {
            tell(self, outcome, env)?;
        }
        self.show(shared);
        Ok(())
    }

    /// One has failed.
    ///
    /// # Errors
    /// The failure, if every further file would fail in the same way; those of printing.
    pub(super) fn failed(
        &mut self,
        env: &mut Env,
        path: &str,
        bytes: u64,
        why: Failure,
    ) -> Result<(), Stop> {
        if matches!(why.code, Code::Unreachable | Code::SignIn) {
            return Err(why.into());
        }
        self.failed += 1;
        self.given_up += bytes;
        if env.manner().json {
            let code = why.code.exit_status();
            return env.json("item", json!({"code": code, "path": path, "message": why.text}));
        }
        if self.told.len() < TOLD_MAX {
            self.told.push(path.to_owned());
            self.bar.hide_for(|| env.tell(&why));
        }
        Ok(())
    }

    /// Has any failed?
    pub(super) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// The end: what was done, in how long, and once more what was not. `more` is told beside it, to
    /// people and to programs.
    ///
    /// # Errors
    /// [`Code::SomeFailed`] if not all was done.
    pub(super) fn finish(self, env: &mut Env, more: &[String], object: Value) -> Result<(), Stop> {
        let Count { words, all, done, failed, told, began, bar, .. } = self;
        drop(bar);
        let took = began.elapsed();
        let (files, bytes) = (plural(done.files, "file"), size(done.bytes));
        let rate = size(rate(done.bytes, took));
        if all.files > 0 || more.is_empty() {
            env.note(&format!("{} {files}, {bytes}, in {} ({rate}/s)", words.done, duration(took)));
        }
        more.iter().for_each(|line| env.note(line));
        if failed == 0 {
            let mut all = json!({"code": 0, "done": done.files, "failed": 0, "bytes": done.bytes,
                                 "seconds": took.as_secs_f64()});
            if let (Some(all), Some(more)) = (all.as_object_mut(), object.as_object()) {
                all.extend(more.clone());
            }
            return if env.manner().json { env.json("result", all) } else { Ok(()) };
        }
        if !env.manner().json {
            for path in &told {
                env.note(&format!("  failed: {}", printable(path)));
            }
            if let Some(rest) = failed.checked_sub(told.len() as u64).filter(|rest| *rest > 0) {
                env.note(&format!("  and {rest} more"));
            }
        }
        let text = format!("{failed} failed, {} done", done.files);
        Err(Failure::new(Code::SomeFailed, text)
            .hint("The lines above say why. The same command tries again.")
            .into())
    }
}

/// How long the rest takes if it goes on as what was done in this time.
fn left(took: Duration, done: u64, rest: u64) -> Option<Duration> {
    let micros = took.as_micros() * u128::from(rest) / u128::from(done.max(1));
    let left = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
    (done > 0 && rest > 0).then_some(left)
}

/// Bytes a second.
fn rate(bytes: u64, took: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / took.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_rest_at_the_rate_so_far() {
        let seconds = Duration::from_secs;
        assert_eq!(left(seconds(10), 250, 750), Some(seconds(30)));
        assert_eq!(left(seconds(10), 0, 1000), None, "nobody can say");
        assert_eq!(left(seconds(10), 1000, 0), None, "there is none");
        assert_eq!(rate(3_000_000, seconds(2)), 1_500_000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
