//! What `palk storage` and `palk server` have in common: options in a file, the log, what they tell the
//! service manager, and an orderly end.

pub(super) mod config;
pub(super) mod log;
pub(super) mod notify;
pub(super) mod unit;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use crossbeam_channel::{Receiver, select};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{self, Writer};

use crate::cmd::env::Env;
use crate::cmd::failure::Failure;
use crate::core::error::{Code, Error};
use crate::core::io::listener::{STOP_WAIT, State};
use crate::core::io::monitor::{self, Monitor};
use crate::core::io::net::UNRESOLVED;
use crate::core::io::tls::ClusterKey;
use crate::core::path::printable;

/// Options of a process that runs until it is told to end.
#[derive(Args, Debug)]
pub struct Service {
    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    #[arg(env = "PALK_LOG_FORMAT")]
    log_format: LogFormat,

    /// Take the options that are not given from a TOML file, whose keys are their names without "--"
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print a systemd unit that starts this command with the options given, and start nothing
    #[arg(long)]
    print_unit: bool,

    /// End when standard input ends, so that nothing outlives the program that started this
    #[arg(long, hide = true, conflicts_with = "print_unit")]
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

/// What else may end a service than being told to, and what it does at its end.
pub struct Ending {
    /// Delivers why, if the service has to end by itself.
    pub by_itself: Receiver<Failure>,
    /// Done last, when nothing runs any more.
    pub last: Box<dyn Fn() + Send + Sync>,
}

impl Service {
    /// Whether only a unit is wanted.
    pub fn wants_unit(&self) -> bool {
        self.print_unit
    }

    /// The configuration file.
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Begins to log to standard error.
    pub fn start_log(&self) {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let log = tracing_subscriber::fmt()
            .with_writer(log::standard_error())
            .with_ansi(colour && self.log_format == LogFormat::Text)
            .with_target(false)
            // Nobody may read the log any more. Saying so on the same broken pipe would be a panic,
            // in whichever thread had something to log.
            .log_internal_errors(false);
        // A log that was begun already (by a test in the same process) goes on.
        let _ = match self.log_format {
            LogFormat::Text => {
                log.fmt_fields(format::debug_fn(write_field).delimited(" ")).try_init()
            }
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
    }

    /// Waits for Ctrl-C, SIGTERM or the end of standard input, then lets what is running finish. A
    /// second signal ends the process at once. `tell_ready` is called when a signal would be heard: a service
    /// manager may stop what it has just started.
    pub fn wait(&self, env: &mut Env, state: &Arc<State>, tell_ready: impl FnOnce()) {
        let never = Ending { by_itself: crossbeam_channel::never(), last: Box::new(|| {}) };
        // It cannot end by itself, so there is nothing to tell.
        let _ = self.wait_or(env, state, tell_ready, never);
    }

    /// The same for a service that may have to end by itself.
    ///
    /// # Errors
    /// The reason, if it did.
    pub fn wait_or(
        &self,
        env: &mut Env,
        state: &Arc<State>,
        tell_ready: impl FnOnce(),
        ending: Ending,
    ) -> Result<(), Failure> {
        let signals = env.interrupts().hand_over();
        tell_ready();
        let input =
            if self.exit_with_stdin { env.end_of_input() } else { crossbeam_channel::never() };
        let told = select! {
            recv(ending.by_itself) -> why => why.map_or(Ok(()), Err),
            // An error is an end as well.
            recv(signals) -> _ => Ok(()),
            recv(input) -> _ => Ok(()),
        };
        notify::stopping();
        stop(state);
        (ending.last)();
        told
    }
}

/// The option of both ends of the links between the server and the nodes.
#[derive(Args, Debug)]
pub struct Key {
    /// The cluster's key, the same file on the server and every node (see palk keygen). Without it
    /// only addresses of this machine are taken
    #[arg(long, value_name = "FILE", env = "PALK_KEY")]
    key: Option<PathBuf>,
}

impl Key {
    /// The file, if one is named.
    pub fn file(&self) -> Option<&Path> {
        self.key.as_deref()
    }

    /// Reads the key, if one is given.
    ///
    /// # Errors
    /// If others may read it too, or it cannot be read.
    pub fn read(&self, env: &Env) -> Result<Option<ClusterKey>, Failure> {
        let Some(path) = &self.key else { return Ok(None) };
        match ClusterKey::read(&env.at(path)) {
            Ok(key) => {
                tracing::info!("the cluster key's fingerprint is {}", key.fingerprint());
                Ok(Some(key))
            }
            Err(error) => {
                let shown = path.display();
                let hint = match error.code() {
                    Code::NotAllowed => format!("Make it private:  chmod 600 {shown}"),
                    _ => "A key is made by:  palk keygen FILE".to_owned(),
                };
                Err(Failure::from(&error).hint(hint))
            }
        }
    }
}

/// Begins to listen to monitors, if an address is named for them.
///
/// # Errors
/// If others than this machine could reach it and that was not asked for, or it is taken.
pub fn open_monitor(spec: Option<&monitor::Spec>) -> Result<Option<Monitor>, Failure> {
    let Some(spec) = spec else { return Ok(None) };
    let monitor = Monitor::open(spec).map_err(|error| not_started(&error))?;
    tracing::info!("metrics at http://{}/metrics", monitor.address());
    if spec.is_open {
        tracing::warn!(
            "the metrics have no password and no encryption: whoever reaches {} reads them",
            monitor.address()
        );
    }
    Ok(Some(monitor))
}

/// Why a node or the server does not start, with what to do.
pub fn not_started(error: &Error) -> Failure {
    let failure = Failure::from(error);
    match error {
        Error::NeedsKey(_) => failure.hint(
            "Make a key once:  palk keygen cluster.key   copy it to every machine, and start the \
             server and the nodes with  --key cluster.key",
        ),
        Error::Catalog(_) => Failure::of("cannot open the user database", error).hint(
            "If the user database is damaged, move its folder away and make it anew from the nodes:  \
             palk admin recover --help",
        ),
        Error::Other { code: Code::Unreachable, text } if text.ends_with(UNRESOLVED) => failure
            .hint("Check how the name is spelled, and that it is one of this machine's."),
        _ => failure,
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
