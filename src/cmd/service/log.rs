//! Where the lines of the log go: to standard error, from a thread of their own and many at a time, so
//! that nobody who serves a client waits for each of them.
//!
//! A warning or an error is written before the thread that has logged it goes on. So is everything else
//! once too much waits for whoever reads the log.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered after some were written.
const GATHER: Duration = Duration::from_millis(5);

/// More than this does not wait.
const WAITING_BYTES_MAX: usize = 1 << 20;

static STANDARD_ERROR: OnceLock<Log<io::Stderr>> = OnceLock::new();

/// Lines on their way to some output.
pub(super) struct Log<W> {
    waiting: Mutex<Vec<u8>>,
    has_come: Condvar,
    /// Held while lines are taken out and written, so that they stay in order.
    output: Mutex<W>,
}

/// The log of this process, whose thread is started the first time.
pub(super) fn standard_error() -> &'static Log<io::Stderr> {
    STANDARD_ERROR.get_or_init(|| {
        // Without a thread every line is written at once.
        let _ = thread::Builder::new().name("log".into()).spawn(|| {
            loop {
                standard_error().write_next();
                thread::sleep(GATHER);
            }
        });
        Log::to(io::stderr())
    })
}

/// Writes what still waits, before the process ends.
pub(in crate::cmd) fn flush() {
    if let Some(log) = STANDARD_ERROR.get() {
        log.write_waiting();
    }
}

impl<W: Write> Log<W> {
    fn to(output: W) -> Log<W> {
        Log { waiting: Mutex::default(), has_come: Condvar::new(), output: Mutex::new(output) }
    }

    /// Waits for lines and writes them.
    fn write_next(&self) {
        let mut waiting = self.waiting.lock();
        self.has_come.wait_while(&mut waiting, |waiting| waiting.is_empty());
        drop(waiting);
        self.write_waiting();
    }

    fn write_waiting(&self) {
        let mut output = self.output.lock();
        let lines = std::mem::take(&mut *self.waiting.lock());
        // Nobody may read the log any more.
        let _ = output.write_all(&lines).and_then(|()| output.flush());
    }
}

/// A line.
pub(super) struct Line<'a, W: Write> {
    log: &'a Log<W>,
    is_urgent: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waiting = self.log.waiting.lock();
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(bytes);
        let is_too_much = waiting.len() > WAITING_BYTES_MAX;
        drop(waiting);
        if self.is_urgent || is_too_much {
            self.log.write_waiting();
        } else if is_first {
            self.log.has_come.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a, W: Write> MakeWriter<'a> for &'static Log<W> {
    type Writer = Line<'static, W>;

    fn make_writer(&'a self) -> Line<'static, W> {
        Line { log: self, is_urgent: false }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'static, W> {
        Line { log: self, is_urgent: *about.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that notes each write.
    #[derive(Default)]
    struct Writes(Vec<String>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(log: &Log<Writes>, is_urgent: bool, text: &str) {
        Line { log, is_urgent }.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_are_written_together_and_in_order() {
        let log = Log::to(Writes::default());
        let written = || log.output.lock().0.clone();
        say(&log, false, "one\n");
        say(&log, false, "two\n");
        assert!(written().is_empty());
        log.write_next();
        assert_eq!(written(), ["one\ntwo\n"]);
        say(&log, false, "three\n");
        say(&log, true, "a warning\n");
        assert_eq!(written(), ["one\ntwo\n", "three\na warning\n"]);
    }

    #[test]
    fn a_log_that_nobody_reads_does_not_fill_the_memory() {
        let log = Log::to(Writes::default());
        for _ in 0..3 {
            say(&log, false, &"x".repeat(WAITING_BYTES_MAX / 2));
        }
        assert!(log.waiting.lock().len() <= WAITING_BYTES_MAX);
        assert_eq!(log.output.lock().0.len(), 1);
    }
}
