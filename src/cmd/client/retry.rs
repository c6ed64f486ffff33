//! Being patient with a server that goes away in the middle of something.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::bandwidth::Bandwidth;
use super::connection::Connection;
use crate::cmd::parse_time;
use crate::core::error::{Code, Error, Result};
use crate::core::remote::Remote;

/// How long to wait for a server that cannot be reached, before the first try and at most between two.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// For how long, unless somebody says otherwise: that of `--retry-for`.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// What happens to transfers that break off, and how fast they may be.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How long to wait for a server that cannot be reached any more
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_wait)]
    pub(super) retry_for: Duration,

    /// Begin anew where a transfer broke off earlier, and keep nothing of one that breaks off now
    #[arg(long)]
    pub(super) no_resume: bool,

    /// The most that all transfers together move in a second: 10MB, or up and down 10MB:2MB
    #[arg(long, value_name = "RATE")]
    bwlimit: Option<Bandwidth>,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { retry_for: RETRY_FOR, no_resume: false, bwlimit: None }
    }
}

impl Patience {
    /// How fast transfers may be.
    pub(super) fn bandwidth(&self) -> Bandwidth {
        self.bwlimit.unwrap_or_default()
    }
}

fn parse_wait(text: &str) -> std::result::Result<Duration, String> {
    parse_time(text).ok_or_else(|| "a number and s, m or h (0s, 30s, 10m)".to_owned())
}

/// When and for how long something is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// How long a server is waited for that cannot be reached.
    pub(super) retry_for: Duration,
    /// May the same be done twice?
    pub(super) is_harmless: bool,
}

/// Does something with the server, and does it again where the connection broke or the server cannot be
/// reached, with growing pauses, for as long as the rule says. A try that has got on, which it notes in
/// the cell, begins that time anew. `waits` hears why the server is waited for, and whether it is the first
/// time since then; false ends it.
///
/// # Errors
/// The last one.
pub(super) fn persist<T>(
    connection: &mut Connection,
    rule: Rule,
    waits: &mut dyn FnMut(&Error, bool) -> bool,
    try_once: &mut dyn FnMut(&mut Remote, &Cell<bool>) -> Result<T>,
) -> Result<T> {
    let (mut lost_since, mut pause) = (None, PAUSE_MIN);
    loop {
        let has_got_on = Cell::new(false);
        let tried = connection.remote().and_then(|remote| try_once(remote, &has_got_on));
        let Err(error) = tried else { return tried };
        if has_got_on.get() {
            (lost_since, pause) = (None, PAUSE_MIN);
        }
        let is_first = lost_since.is_none();
        let since = *lost_since.get_or_insert_with(Instant::now);
        if !is_transient(&error, rule.is_harmless)
            || since.elapsed() + pause > rule.retry_for
            || !waits(&error, is_first)
        {
            return Err(error);
        }
        thread::sleep(pause);
        pause = (2 * pause).min(PAUSE_MAX);
        connection.try_again();
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
