//! Where threads meet: the small shared parts under thousands of interleavings, chosen by Shuttle.
//!
//! What is explored are Palk's own files, compiled a second time into this test. Here the names
//! `parking_lot` and `crossbeam_channel` stand for `interleavings/locks.rs`, so the files need no switch
//! and the program knows nothing of it. These locks work within an exploration only, so the files' unit
//! tests are here, too. The schedules come from a fixed seed: a run repeats exactly.

#[path = "interleavings/locks.rs"]
mod locks;

/// Readers of versions, and the reaper that drops them.
#[path = "../src/core/cluster/readers.rs"]
#[allow(dead_code, unreachable_pub, reason = "Palk uses more of it than is explored")]
mod readers;

/// Who waits until this server leads.
#[path = "../src/core/cluster/leadership.rs"]
#[allow(dead_code, unreachable_pub, reason = "Palk uses more of it than is explored")]
mod leadership;

/// Who works in the background, and who wakes it.
#[path = "../src/core/cluster/notify.rs"]
#[allow(dead_code, unreachable_pub, reason = "Palk uses more of it than is explored")]
mod notify;

// What the files above call by these names they find in this file.
extern crate self as crossbeam_channel;
extern crate self as parking_lot;
pub(crate) use locks::{Condvar, Mutex, Receiver, RwLock, Sender, bounded};

/// The rest of what they name.
mod core {
    pub(crate) use palk::core::{error, types};

    pub(crate) mod cluster {
        use std::cell::RefCell;

        use palk::core::error::Result;

        type Step = Box<dyn FnMut() -> bool + Send>;

        thread_local! {
            static SPAWNED: RefCell<Option<Step>> = const { RefCell::new(None) };
        }

        /// Starts nothing: the exploration has its own threads, and takes the step with [`spawned`].
        pub(crate) fn spawn(_: &str, step: impl FnMut() -> bool + Send + 'static) -> Result<()> {
            SPAWNED.set(Some(Box::new(step)));
            Ok(())
        }

        /// The step that was given to [`spawn`] last.
        pub(crate) fn spawned() -> Step {
            SPAWNED.take().expect("a thread was started")
        }
    }
}

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use palk::core::error::{Code, Error};
use palk::core::types::{NodeId, VersionId};
use shuttle::thread;

use leadership::{Leadership, LeadershipPhase};
use notify::Notifier;
use readers::{Reader, Readers};

/// Under how many schedules a scenario is run.
const SCHEDULES: usize = 10_000;

/// The first schedule; the others follow from it.
const SEED: u64 = 4711;

/// No wait of an exploration ends because of it.
const LONG: Duration = Duration::from_secs(3600);

/// Runs this under many interleavings of its threads. Fails if it panics under one of them, or if all its
/// threads are blocked, and prints the schedule, which `shuttle::replay` repeats.
fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random_with_seed(scenario, SEED, SCHEDULES);
}

/// Runs these threads to their end.
fn together(threads: Vec<Box<dyn FnOnce() + Send>>) {
    let running: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    running.into_iter().for_each(|thread| thread.join().unwrap());
}

fn version(byte: u8) -> VersionId {
    VersionId([byte; 16])
}

// ---- readers and the reaper ----

/// As much of catalog and nodes as a reader and the reaper see: one file.
struct File {
    current: VersionId,
    retired: Vec<VersionId>,
    /// The versions whose pieces are there.
    pieces: BTreeSet<VersionId>,
}

struct Shared {
    readers: Arc<Readers>,
    file: Mutex<File>,
}

impl Shared {
    fn new() -> Arc<Shared> {
        let first = version(0);
        let file = File { current: first, retired: Vec::new(), pieces: BTreeSet::from([first]) };
        let file = Mutex::new(file);
        Arc::new(Shared { readers: Arc::default(), file })
    }

    fn current(&self) -> VersionId {
        self.file.lock().current
    }

    fn replace(&self, by: VersionId) {
        let mut file = self.file.lock();
        let former = std::mem::replace(&mut file.current, by);
        file.retired.push(former);
        file.pieces.insert(by);
    }

    /// What the reaper does, in its order; gives how many versions it had to leave to their readers.
    fn reap(&self) -> usize {
        let retired = self.file.lock().retired.clone();
        let count = retired.len();
        let unread = self.readers.unread(retired);
        let mut file = self.file.lock();
        file.retired.retain(|version| !unread.contains(version));
        file.pieces.retain(|version| !unread.contains(version));
        count - unread.len()
    }

    /// Reads for a while, as one who has noted it.
    fn read(&self, version: VersionId, reader: Reader) {
        for _ in 0..2 {
            let is_there = self.file.lock().pieces.contains(&version);
            assert!(is_there, "a version was dropped under its reader");
        }
        drop(reader);
    }
}

/// Two who read, one who replaces the file, and the reaper. Gives how many versions were left to readers.
fn read_and_reap(enter: fn(&Shared) -> (VersionId, Reader)) -> usize {
    let shared = Shared::new();
    let left = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..2 {
        let shared = shared.clone();
        threads.push(Box::new(move || {
            let (version, reader) = enter(&shared);
            shared.read(version, reader);
        }));
    }
    let writer = shared.clone();
    threads.push(Box::new(move || (1..=2).for_each(|byte| writer.replace(version(byte)))));
    let (reaper, counted) = (shared.clone(), left.clone());
    threads.push(Box::new(move || {
        for _ in 0..3 {
            counted.fetch_add(reaper.reap(), Ordering::SeqCst);
        }
    }));
    together(threads);
    assert_eq!(shared.readers.count(), 0);
    assert_eq!(shared.reap(), 0, "nobody reads any more");
    assert_eq!(shared.file.lock().pieces, BTreeSet::from([version(2)]));
    left.load(Ordering::SeqCst)
}

#[test]
fn no_version_is_dropped_under_its_reader_and_none_is_kept_after_its_last() {
    let left = Arc::new(AtomicUsize::new(0));
    let counted = left.clone();
    explore(move || {
        let left = read_and_reap(|shared| {
            let look_up = || {
                let version = shared.current();
                Ok((version, version))
            };
            shared.readers.enter(look_up).unwrap()
        });
        counted.fetch_add(left, Ordering::SeqCst);
    });
    assert!(left.load(Ordering::SeqCst) > 100, "the reaper hardly ever met a reader");
}

#[should_panic(expected = "a version was dropped under its reader")]
#[test]
fn the_canary_a_reader_that_is_noted_only_after_its_look_up_is_caught() {
    explore(|| {
        read_and_reap(|shared| {
            let version = shared.current();
            shared.readers.enter(|| Ok((version, version))).unwrap()
        });
    });
}

#[test]
fn a_version_is_read_until_its_last_reader_has_left() {
    explore(|| {
        let readers = Arc::new(Readers::default());
        let [one, other] = [1, 2].map(version);
        let ((), first) = readers.enter(|| Ok(((), one))).unwrap();
        let ((), second) = readers.enter(|| Ok(((), one))).unwrap();
        assert_eq!(readers.unread(vec![one, other]), [other]);
        drop(first);
        assert!(readers.is_read(one));
        drop(second);
        assert!(!readers.is_read(one));
        assert_eq!(readers.count(), 0);
    });
}

#[test]
fn a_look_up_that_fails_leaves_no_reader() {
    explore(|| {
        let readers = Arc::new(Readers::default());
        let failed = readers.enter::<()>(|| Err(Error::other(Code::NoSuchFile, "gone")));
        assert!(failed.is_err());
        assert_eq!(readers.count(), 0);
    });
}

// ---- who waits until this server leads ----

#[test]
fn whoever_waits_for_a_phase_is_woken_when_it_is_reached() {
    explore(|| {
        let leadership = Arc::new(Leadership::default());
        let [reads, leads, advances] = [(); 3].map(|()| leadership.clone());
        together(vec![
            Box::new(move || assert!(reads.wait(LeadershipPhase::Reading, LONG))),
            Box::new(move || assert!(leads.wait(LeadershipPhase::Leading, LONG))),
            Box::new(move || {
                advances.advance(LeadershipPhase::Reading);
                advances.advance(LeadershipPhase::Leading);
            }),
        ]);
    });
}

#[test]
fn whoever_waits_for_a_phase_is_woken_when_another_server_takes_over() {
    explore(|| {
        let leadership = Arc::new(Leadership::default());
        let [waits, advances, loses] = [(); 3].map(|()| leadership.clone());
        together(vec![
            Box::new(move || assert!(!waits.wait(LeadershipPhase::Leading, LONG))),
            Box::new(move || advances.advance(LeadershipPhase::Reading)),
            Box::new(move || loses.taken_over(NodeId::ALL[1], 7)),
        ]);
        assert_eq!(leadership.phase(), LeadershipPhase::Reading);
        assert!(matches!(leadership.check(), Err(Error::TakenOver { epoch: 7 })));
    });
}

#[should_panic(expected = "deadlock")]
#[test]
fn the_canary_a_waker_that_does_not_take_the_lock_is_caught() {
    explore(|| {
        let shared = Arc::new((Mutex::new(()), Condvar::default(), AtomicBool::new(false)));
        let (waits, wakes) = (shared.clone(), shared);
        together(vec![
            Box::new(move || {
                let (lock, changed, is_over) = &*waits;
                let mut held = lock.lock();
                while !is_over.load(Ordering::SeqCst) {
                    changed.wait_until(&mut held, Instant::now() + LONG);
                }
            }),
            Box::new(move || {
                let (_, changed, is_over) = &*wakes;
                is_over.store(true, Ordering::SeqCst);
                changed.notify_all();
            }),
        ]);
    });
}

#[test]
fn a_server_never_goes_back_and_a_take_over_is_final() {
    explore(|| {
        let leadership = Leadership::default();
        leadership.advance(LeadershipPhase::Leading);
        leadership.advance(LeadershipPhase::Reading);
        assert!(leadership.is_established());
        leadership.taken_over(NodeId::ALL[1], 7);
        leadership.taken_over(NodeId::ALL[2], 8);
        assert!(!leadership.is_established());
        assert!(matches!(leadership.check(), Err(Error::TakenOver { epoch: 7 })));
        assert_eq!(leadership.wait_until_taken_over(), 7);
    });
}

// ---- who works in the background, and who wakes it ----

/// Work that waits, and work that was done.
#[derive(Default)]
struct Work {
    waiting: Mutex<usize>,
    done: Mutex<usize>,
    more_done: Condvar,
}

/// Two who bring work, and one who does it, and learns of it only by being woken.
fn bring_and_work(bring: fn(&Work, &Notifier)) {
    let (work, notifier) = (Arc::new(Work::default()), Notifier::default());
    let worker = work.clone();
    let round = move |_| {
        let taken = std::mem::take(&mut *worker.waiting.lock());
        *worker.done.lock() += taken;
        worker.more_done.notify_all();
        false
    };
    // With no time between rounds there is no pause, either.
    notifier.run_rounds("worker", Duration::ZERO, round).unwrap();
    let mut step = core::cluster::spawned();
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = is_over.clone();
    let mut threads: Vec<Box<dyn FnOnce() + Send>> = vec![Box::new(move || {
        while !ends.load(Ordering::SeqCst) {
            step();
        }
    })];
    for _ in 0..2 {
        let (work, notifier) = (work.clone(), notifier.clone());
        threads.push(Box::new(move || bring(&work, &notifier)));
    }
    threads.push(Box::new(move || {
        let mut done = work.done.lock();
        while *done < 2 {
            work.more_done.wait_until(&mut done, Instant::now() + LONG);
        }
        is_over.store(true, Ordering::SeqCst);
        notifier.notify();
    }));
    together(threads);
}

#[test]
fn work_that_is_notified_is_done_without_waiting_for_the_next_look() {
    explore(|| {
        bring_and_work(|work, notifier| {
            *work.waiting.lock() += 1;
            notifier.notify();
        });
    });
}

#[should_panic(expected = "deadlock")]
#[test]
fn the_canary_work_that_is_notified_before_it_is_there_is_caught() {
    explore(|| {
        bring_and_work(|work, notifier| {
            notifier.notify();
            *work.waiting.lock() += 1;
        });
    });
}

#[test]
fn every_listener_is_notified_once_whoever_notifies() {
    explore(|| {
        let notifier = Notifier::default();
        let (one, clone) = (notifier.listen(), notifier.clone());
        let other = clone.listen();
        clone.notify();
        notifier.notify();
        for listener in [one, other] {
            assert!(listener.try_recv().is_ok());
            assert!(listener.try_recv().is_err());
        }
    });
}
