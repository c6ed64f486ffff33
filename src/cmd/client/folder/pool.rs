//! Jobs over several connections at once, each of which is patient with a server that goes away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use parking_lot::Mutex;

use super::super::connection::Connection;
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error, Result};
use crate::core::remote::Remote;

/// How often it is shown how far the jobs are, while none of them ends.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// How long to wait for a server that cannot be reached, before the first try and at most between two.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What all connections share.
pub(super) struct Shared {
    /// The bytes of files that are on their way.
    pub(super) moving: AtomicU64,
    /// How long a server is waited for that cannot be reached.
    retry_for: Duration,
    /// Why somebody waits for it.
    waiting: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl Shared {
    pub(super) fn new(retry_for: Duration) -> Shared {
        let (moving, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        Shared { moving, retry_for, waiting: Mutex::default(), is_over }
    }

    /// Why the server is being waited for; said once for each time that it goes away.
    pub(super) fn waits_why(&self) -> Option<String> {
        self.waiting.lock().take()
    }

    /// Does something with the server, and does it again where the connection broke or the server cannot
    /// be reached, with growing pauses, for as long as is waited for it. `try_once` is told how many of a
    /// file's bytes it has moved by the number that it gets.
    ///
    /// # Errors
    /// The last one.
    pub(super) fn persist<T>(
        &self,
        connection: &mut Connection,
        is_harmless: bool,
        try_once: &mut dyn FnMut(&mut Remote, &mut Moving<'_>) -> Result<T>,
    ) -> Result<T> {
        let (mut lost_since, mut pause) = (None, PAUSE_MIN);
        loop {
            let mut moving = Moving { all: &self.moving, own: 0 };
            let tried = connection.remote().and_then(|remote| try_once(remote, &mut moving));
            drop(moving);
            let Err(error) = tried else { return tried };
            let since = *lost_since.get_or_insert_with(Instant::now);
            if !is_transient(&error, is_harmless)
                || since.elapsed() + pause > self.retry_for
                || self.is_over.load(Ordering::Relaxed)
            {
                return Err(error);
            }
            self.waiting.lock().get_or_insert_with(|| error.to_string());
            thread::sleep(pause);
            pause = (2 * pause).min(PAUSE_MAX);
            connection.try_again();
        }
    }
}

/// The bytes of one try, taken back when it ends: a file that is done counts as such.
pub(super) struct Moving<'a> {
    all: &'a AtomicU64,
    own: u64,
}

impl Moving<'_> {
    pub(super) fn reach(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.own);
        self.own += more;
        self.all.fetch_add(more, Ordering::Relaxed);
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

/// Was it the way to the server, and may the same be asked once more? A change that may have been made
/// is made again only where that is harmless.
fn is_transient(error: &Error, is_harmless: bool) -> bool {
    match error {
        Error::Closed(_) | Error::Deadline(_) => true,
        Error::Remote { code, .. } => *code == Code::Temporary,
        other => match other.code() {
            Code::Unreachable => true,
            Code::InDoubt => is_harmless,
            _ => false,
        },
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
