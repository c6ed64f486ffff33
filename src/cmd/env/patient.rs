//! A way out for bytes whose reader may pause: a pager, a player, a tape.
//!
//! ```text
//!   write ──▶ queue (memory) ──────────────▶ thread ──▶ sink
//!               │ full for a while              ▲
//!               └──▶ file without a name ───────┘ once the queue is empty
//! ```
//!
//! Whoever receives a file from a server has to go on taking: the server waits for a minute, not for a
//! person. So writing waits only where neither memory nor the disk has room for more.
//!
//! Invariant: the sink gets the bytes in the order in which they were written, and after its first
//! error nothing more; that error is told by every call from then on.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cmd::client::local::nameless;

/// How much waits in memory, in bytes.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// How long writing waits for the reader before it makes a file.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much is read back from the file at once.
const PIECE_BYTES: u64 = 256 << 10;

/// Takes bytes at the writer's pace and hands them on at the reader's.
pub struct Patient {
    shared: Arc<Shared>,
    patience: Duration,
    /// The sink, until the thread that writes to it begins.
    sink: Option<Box<dyn Write + Send>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something has come, gone or failed.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    spill: Option<Spill>,
    /// The thread has bytes that are neither in the queue nor in the file any more.
    is_writing: bool,
    failed: Option<io::ErrorKind>,
    is_closed: bool,
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patient")
    }
}

impl Patient {
    /// Hands on to this sink.
    pub fn new(sink: impl Write + Send + 'static) -> Patient {
        Patient { shared: Arc::default(), patience: PATIENCE, sink: Some(Box::new(sink)) }
    }

    /// Waits until the sink has taken all.
    ///
    /// # Errors
    /// The sink's.
    pub fn settle(&mut self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        while !state.is_idle() {
            state.check()?;
            self.shared.moved.wait(&mut state);
        }
        state.check()
    }

    fn begin(&mut self) {
        if let Some(sink) = self.sink.take() {
            let shared = self.shared.clone();
            thread::spawn(move || shared.hand_on(sink));
        }
    }

    /// Waits until there is room, or an error to tell. True if there is room in memory, false if there
    /// is a file to go on with.
    fn await_room(&self, state: &mut MutexGuard<'_, State>) -> io::Result<bool> {
        let deadline = Instant::now() + self.patience;
        loop {
            state.check()?;
            if state.spill.is_some() {
                return Ok(false);
            }
            if state.queued < QUEUE_BYTES_MAX {
                return Ok(true);
            }
            let is_late = self.shared.moved.wait_until(state, deadline).timed_out();
            if is_late && state.spill.is_none() {
                match Spill::create() {
                    Ok(spill) => state.spill = Some(spill),
                    Err(_) => self.shared.moved.wait(state), // the reader's pace, then
                }
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin();
        let mut state = self.shared.state.lock();
        while !self.await_room(&mut state)? {
            let appended = state.spill.as_mut().is_some_and(|spill| spill.append(bytes).is_ok());
            if appended {
                self.shared.moved.notify_all();
                return Ok(bytes.len());
            }
            // The disk is full: what is in the file has to go first.
            while state.spill.is_some() {
                state.check()?;
                self.shared.moved.wait(&mut state);
            }
        }
        state.queued += bytes.len();
        state.queue.push_back(bytes.to_vec());
        self.shared.moved.notify_all();
        Ok(bytes.len())
    }

    /// Hands over, and waits for nobody; see [`Patient::settle`].
    fn flush(&mut self) -> io::Result<()> {
        self.shared.state.lock().check()
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.shared.moved.notify_all();
    }
}

impl Shared {
    fn hand_on(&self, mut sink: Box<dyn Write + Send>) {
        while let Some(piece) = self.next_piece() {
            let written =
                piece.and_then(|piece| sink.write_all(&piece).and_then(|()| sink.flush()));
            let mut state = self.state.lock();
            state.is_writing = false;
            if let Err(error) = &written {
                *state = State { failed: Some(error.kind()), ..State::default() };
            }
            self.moved.notify_all();
            if written.is_err() {
                return;
            }
        }
    }

    /// What comes next; `None` once nobody writes any more.
    fn next_piece(&self) -> Option<io::Result<Vec<u8>>> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(piece) = state.queue.pop_front() {
                state.queued -= piece.len();
                state.is_writing = true;
                return Some(Ok(piece));
            }
            if let Some(spill) = &mut state.spill {
                let piece = spill.next_piece();
                if spill.read == spill.written {
                    state.spill = None;
                }
                state.is_writing = true;
                return Some(piece);
            }
            self.moved.wait(&mut state);
        }
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.spill.is_none() && !self.is_writing
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

/// What has no room in memory.
struct Spill {
    file: File,
    written: u64,
    read: u64,
}

impl Spill {
    fn create() -> io::Result<Spill> {
        Ok(Spill { file: nameless(&std::env::temp_dir())?, written: 0, read: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn next_piece(&mut self) -> io::Result<Vec<u8>> {
        let length = (self.written - self.read).min(PIECE_BYTES);
        let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut piece, self.read)?;
        self.read += length;
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

    /// A reader that takes a piece for each permission, and passes it on.
    struct Reader(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.1.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_pauses_gets_all_of_it_in_order() {
        let ((permit, permits), (taken, all)) = (unbounded(), unbounded());
        let mut patient = Patient::new(Reader(permits, taken));
        patient.patience = Duration::ZERO;
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * QUEUE_BYTES_MAX).collect();
        // Nobody reads, and writing does not wait.
        for piece in bytes.chunks(1_000_003) {
            patient.write_all(piece).unwrap();
        }
        patient.flush().unwrap();
        assert!(patient.shared.state.lock().spill.is_some());
        (0..1000).for_each(|_| permit.send(()).unwrap());
        patient.settle().unwrap();
        patient.write_all(b"the end").unwrap();
        patient.settle().unwrap();
        assert!(patient.shared.state.lock().spill.is_none());
        drop(patient);
        let got: Vec<u8> = all.iter().flatten().collect();
        assert!(got.len() == bytes.len() + 7 && got.starts_with(&bytes) && got.ends_with(b"end"));
    }

    #[test]
    fn a_reader_that_has_gone_is_told_by_every_call() {
        let ((permit, permits), (taken, _all)) = (bounded::<()>(0), unbounded());
        drop(permit);
        let mut patient = Patient::new(Reader(permits, taken));
        patient.settle().unwrap();
        patient.write_all(b"x").unwrap();
        assert_eq!(patient.settle().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(patient.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(patient.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
