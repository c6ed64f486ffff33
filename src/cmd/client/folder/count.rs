//! How a folder's transfer goes, and what it has come to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::cmd::env::{Bar, Env, duration, size};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::printable;

/// So many failures are told as they come, and once more at the end; the rest are counted.
const TOLD_MAX: usize = 20;

/// Before this much time nobody can say how long the rest takes.
const GUESS_AFTER_S: f64 = 2.0;

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

    /// Shows how far it is: `moving` are the bytes of files that are on their way.
    pub(super) fn show(&mut self, moving: &AtomicU64) {
        let bytes = self.done.bytes + moving.load(Ordering::Relaxed);
        let settled = self.done.bytes + self.given_up + moving.load(Ordering::Relaxed);
        // By bytes, and where there are hardly any by files.
        let part = match self.all.bytes {
            0 => share(self.done.files + self.failed, self.all.files),
            all => share(settled, all),
        };
        let seconds = self.began.elapsed().as_secs_f64();
        let mut text = format!(
            "{} of {} files  {} of {}",
            self.done.files,
            self.all.files,
            size(bytes),
            size(self.all.bytes)
        );
        if seconds > GUESS_AFTER_S && part > 0.0 && part < 1.0 {
            let left = (seconds / part - seconds).ceil().max(1.0);
            text.push_str(&format!("  {}/s  {left:.0} s left", size(rate(bytes, seconds))));
        }
        self.bar.say((part * 100.0) as u64, &text);
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

    /// One has failed.
    ///
    /// # Errors
    /// Those of printing.
    pub(super) fn failed(
        &mut self,
        env: &mut Env,
        path: &str,
        bytes: u64,
        why: &Failure,
    ) -> Result<(), Stop> {
        self.failed += 1;
        self.given_up += bytes;
        if env.manner().json {
            let code = why.code.exit_status();
            return env.json("item", json!({"code": code, "path": path, "message": why.text}));
        }
        if self.told.len() < TOLD_MAX {
            self.told.push(path.to_owned());
            self.bar.hide_for(|| env.tell(why));
        }
        Ok(())
    }

    /// A line in between.
    pub(super) fn note(&mut self, env: &mut Env, line: &str) {
        self.bar.hide_for(|| env.note(line));
    }

    /// The end: what was done, in how long, and once more what was not. `more` is told beside it, to
    /// people and to programs.
    ///
    /// # Errors
    /// [`Code::SomeFailed`] if not all was done.
    pub(super) fn finish(self, env: &mut Env, more: &[String], object: Value) -> Result<(), Stop> {
        let Count { words, done, failed, told, began, bar, .. } = self;
        drop(bar);
        let took = began.elapsed();
        let (files, bytes) = (counted(done.files), size(done.bytes));
        let rate = size(rate(done.bytes, took.as_secs_f64()));
        env.note(&format!("{} {files}, {bytes}, in {} ({rate}/s)", words.done, duration(took)));
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
            .hint("The lines above say why. The same command again stores or retrieves all of it.")
            .into())
    }
}

/// `1 file`, `12 files`
pub(super) fn counted(files: u64) -> String {
    match files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (part as f64 / all as f64).min(1.0) }
}

fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}
