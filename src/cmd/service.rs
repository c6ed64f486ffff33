//! What `palk storage` and `palk server` have in common: the log, and an orderly end.

use std::io::{self, IsTerminal};
use std::process;
use std::sync::Arc;
use std::thread;

use clap::{Args, ValueEnum};

use crate::cmd::env::Env;
use crate::core::io::listener::{STOP_WAIT, State};

/// Options of a process that runs until it is told to end.
#[derive(Args, Debug)]
pub struct Service {
    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    #[arg(env = "PALK_LOG_FORMAT")]
    log_format: LogFormat,

    /// End when standard input ends, so that nothing outlives the program that started this
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// How a log is written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
}

impl Service {
    /// Begins to log to standard error.
    pub fn start_log(&self) {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let log = tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_ansi(colour && self.log_format == LogFormat::Text)
            .with_target(false)
            // Nobody may read the log any more. Saying so on the same broken pipe would be a panic,
            // in whichever thread had something to log.
            .log_internal_errors(false);
        // A log that was begun already (by a test in the same process) goes on.
        let _ = match self.log_format {
            LogFormat::Text => log.try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
    }

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
