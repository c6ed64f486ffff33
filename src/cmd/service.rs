//! What `palk storage` and `palk server` have in common: the log, and an orderly end.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process;
use std::sync::Arc;
use std::thread;

use clap::Args;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{self, Writer};

use crate::cmd::env::Env;
use crate::core::io::listener::{STOP_WAIT, State};
use crate::core::path::printable;

/// Options of a process that runs until it is told to end.
#[derive(Args, Debug)]
pub struct Service {
    /// End when standard input ends, so that nothing outlives the program that started this
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl Service {
    /// Waits for Ctrl-C, SIGTERM or the end of standard input, then lets what is running finish. A
    /// second signal ends the process at once.
    pub fn wait(&self, env: &mut Env, state: &Arc<State>) {
        let signals = env.interrupts().hand_over();
        if !self.exit_with_stdin {
            let _ = signals.recv();
            stop(state);
            return;
        }
        let on_signal = state.clone();
        thread::spawn(move || {
            if signals.recv().is_ok() {
                stop(&on_signal);
                process::exit(0);
            }
        });
        // An error is an end as well.
        let _ = io::copy(env.input(), &mut io::sink());
        stop(state);
    }
}

fn stop(state: &State) {
    tracing::info!(
        "stopping: waiting at most {} s for what is running; a second signal ends at once",
        STOP_WAIT.as_secs()
    );
    if state.stop(STOP_WAIT) {
        tracing::info!("stopped");
    } else {
        let seconds = STOP_WAIT.as_secs();
        tracing::warn!("stopped after {seconds} s; what was still running is undone");
    }
}

/// Begins to log to standard error.
pub fn start_log() {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A log that was begun already (by a test in the same process) goes on.
    let _ = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .fmt_fields(format::debug_fn(write_field).delimited(" "))
        // Nobody may read the log any more. Saying so on the same broken pipe would be a panic, in
        // whichever thread had something to log.
        .log_internal_errors(false)
        .try_init();
}

/// Writes what there is to log on one line: clients, nodes and servers have a hand in the texts, and
/// none of them may write a line of its own into the log.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = printable(&format!("{value:?}"));
    if field.name() == "message" {
        write!(writer, "{value}")
    } else {
        write!(writer, "{field}={value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_text_from_elsewhere_is_one_line_of_the_log() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .fmt_fields(format::debug_fn(write_field).delimited(" "))
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(node = 3, "node 3: {}", "bad\n2026-01-01 INFO all is well\x1b[2J");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains("node 3: bad\\n2026-01-01 INFO all is well\\u{1b}[2J"), "{text:?}");
        assert!(text.contains(" node=3"), "{text:?}");
    }
}
