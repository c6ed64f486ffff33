//! Jobs over several connections at once, each of which is patient with a server that goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use parking_lot::Mutex;

use super::super::bandwidth::Limiter;
use super::super::connection::Connection;
use super::super::retry::{Patience, Rule, persist};
use crate::cmd::env::{Reached, part};
use crate::cmd::failure::Stop;
use crate::core::error::{Error, Result};
use crate::core::path::printable;
use crate::core::remote::Remote;

/// How often it is shown how far the jobs are, while none of them ends.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// So many files are shown at most while they are on their way.
const SHOWN_MAX: usize = 8;

/// What all connections share.
pub(super) struct Shared {
    /// The bytes of files that are on their way.
    pub(super) moving: AtomicU64,
    /// The bytes that were there before, of files that are on their way or done.
    pub(super) skipped: AtomicU64,
    /// The files that are on their way, in the order in which they were begun.
    running: Mutex<Vec<Arc<Running>>>,
    pub(super) patience: Patience,
    pub(super) limiter: Limiter,
    /// Why somebody waits for it.
    waiting: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl Shared {
    pub(super) fn new(patience: Patience, limiter: Limiter) -> Shared {
        Shared {
            moving: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            running: Mutex::default(),
            patience,
            limiter,
            waiting: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    /// How far each file is that is on its way.
    pub(super) fn running(&self) -> Vec<Reached> {
        let running = self.running.lock();
        let shown = running.iter().take(SHOWN_MAX).map(|own| Reached {
            label: printable(&own.name),
            ..part(own.bytes.load(Ordering::Relaxed), own.total)
        });
        shown.collect()
    }

    /// Why the server is being waited for; said once for each time that it goes away.
    pub(super) fn waits_why(&self) -> Option<String> {
        self.waiting.lock().take()
    }

    /// Does something with the server, patiently. `try_once` is told how many of a file's bytes it has moved
    /// by the number that it gets.
    ///
    /// # Errors
    /// As [`persist`].
    pub(super) fn persist<T>(
        &self,
        connection: &mut Connection,
        is_harmless: bool,
        try_once: &mut dyn FnMut(&mut Remote, &mut Moving<'_>) -> Result<T>,
    ) -> Result<T> {
        let rule = Rule { retry_for: self.patience.retry_for, is_harmless };
        let mut waits = |error: &Error, _: bool| {
            self.waiting.lock().get_or_insert_with(|| error.to_string());
            !self.is_over.load(Ordering::Relaxed)
        };
        persist(connection, rule, &mut waits, &mut |remote, has_got_on| {
            let mut moving = Moving { shared: self, own: 0, first: None, running: None };
            let tried = try_once(remote, &mut moving);
            has_got_on.set(moving.first.is_some_and(|first| first < moving.own));
            tried
        })
    }
}

/// A file on its way, as others see it.
struct Running {
    name: String,
    bytes: AtomicU64,
    total: u64,
}

/// The bytes of one try, taken back when it ends: a file that is done counts as such.
pub(super) struct Moving<'a> {
    shared: &'a Shared,
    own: u64,
    /// How far it was at first.
    first: Option<u64>,
    running: Option<Arc<Running>>,
}

impl Moving<'_> {
    /// It is the file of this name that moves.
    pub(super) fn begin(&mut self, name: &str, total: u64) {
        let running = Running { name: name.to_owned(), bytes: AtomicU64::new(0), total };
        let running = self.running.insert(Arc::new(running));
        self.shared.running.lock().push(running.clone());
    }

    pub(super) fn reach(&mut self, bytes: u64) {
        if self.first.is_none() {
            self.first = Some(bytes);
            self.shared.skipped.fetch_add(bytes, Ordering::Relaxed);
        }
        let more = bytes.saturating_sub(self.own);
        self.own += more;
        self.shared.moving.fetch_add(more, Ordering::Relaxed);
        if let Some(running) = &self.running {
            running.bytes.store(self.own, Ordering::Relaxed);
        }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.shared.moving.fetch_sub(self.own, Ordering::Relaxed);
        if let Some(running) = &self.running {
            self.shared.running.lock().retain(|own| !Arc::ptr_eq(own, running));
        }
    }
}

/// Does all jobs, as many at a time as there are connections: this one and up to `most - 1` more of its
/// kind. `told` gets what each job has come to in this thread, and now and then nothing, to show how far
/// it is.
///
/// # Errors
/// The first of `told`: no more jobs are begun, and those that run are waited for.
pub(super) fn run<J: Send, D: Send>(
    connection: Connection,
    most: usize,
    shared: &Shared,
    jobs: impl Iterator<Item = J> + Send,
    work: &(impl Fn(&mut Connection, J) -> D + Sync),
    told: &mut dyn FnMut(Option<D>) -> std::result::Result<(), Stop>,
) -> std::result::Result<(), Stop> {
    let jobs = &Mutex::new(jobs);
    let (tell, outcomes) = bounded(most);
    let more: Vec<_> = (1..most).map(|_| connection.another()).collect();
    let go_on = |mut connection: Connection, tell: crossbeam_channel::Sender<D>| {
        while !shared.is_over.load(Ordering::Relaxed) {
            let next = jobs.lock().next();
            let Some(job) = next else { break };
            if tell.send(work(&mut connection, job)).is_err() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        for another in more {
            let tell = tell.clone();
            // Where there is no further connection it goes on with fewer.
            scope.spawn(move || another.open().map(|connection| go_on(connection, tell)));
        }
        scope.spawn(move || go_on(connection, tell));
        loop {
            let outcome = match outcomes.recv_timeout(SHOW_EVERY) {
                Ok(outcome) => Some(outcome),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if let Err(stop) = told(outcome) {
                shared.is_over.store(true, Ordering::Relaxed);
                drop(outcomes);
                return Err(stop);
            }
        }
    })
}
