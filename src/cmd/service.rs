//! What `palk storage` and `palk server` have in common: the log, and an orderly end.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use clap::Args;
use crossbeam_channel::{Receiver, select};

use crate::cmd::env::Env;
use crate::cmd::failure::Failure;
use crate::core::io::listener::{STOP_WAIT, State};

/// Options of a process that runs until it is told to end.
#[derive(Args, Debug)]
pub struct Service {
    /// End when standard input ends, so that nothing outlives the program that started this
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// What else may end a service than being told to, and what it does at its end.
pub struct Ending {
    /// Delivers why, if the service has to end by itself.
    pub by_itself: Receiver<Failure>,
    /// Done last, when nothing runs any more.
    pub last: Box<dyn Fn() + Send + Sync>,
}

impl Service {
    /// Waits for Ctrl-C, SIGTERM or the end of standard input, then lets what is running finish. A
    /// second signal ends the process at once.
    pub fn wait(&self, env: &mut Env, state: &Arc<State>) {
        let never = Ending { by_itself: crossbeam_channel::never(), last: Box::new(|| {}) };
        // It cannot end by itself, so there is nothing to tell.
        let _ = self.wait_or(env, state, never);
    }

    /// The same for a service that may have to end by itself.
    ///
    /// # Errors
    /// The reason, if it did.
    pub fn wait_or(
        &self,
        env: &mut Env,
        state: &Arc<State>,
        ending: Ending,
    ) -> Result<(), Failure> {
        let signals = env.interrupts().hand_over();
        let input =
            if self.exit_with_stdin { env.end_of_input() } else { crossbeam_channel::never() };
        let told = select! {
            recv(ending.by_itself) -> why => why.map_or(Ok(()), Err),
            // An error is an end as well.
            recv(signals) -> _ => Ok(()),
            recv(input) -> _ => Ok(()),
        };
        stop(state);
        (ending.last)();
        told
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
        // Nobody may read the log any more. Saying so on the same broken pipe would be a panic, in
        // whichever thread had something to log.
        .log_internal_errors(false)
        .try_init();
}
