//! Watching a cluster: its server is asked every second, and what it answers is shown until the user
//! leaves.
//!
//! ```text
//!   thread that asks ── answers and errors ──> loop ──> a screen drawn anew in place, or plain lines
//!   keys, Ctrl-C ────────────────────────────>  '── ends
//! ```
//!
//! An answer may take long, and keys are heeded at once; so the asking has a thread of its own. A server
//! that does not answer is shown as silent, and asked again.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, never, select};
use jiff::Zoned;

use super::frame;
use super::target::{Asker, Server};
use super::view::View;
use crate::cmd::env::{Display, Env};
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error};
use crate::core::status::Status;

/// Between two answers.
const EVERY: Duration = Duration::from_secs(1);

/// Off a terminal a line is printed after this time even if there was no answer.
const LINE_AT_LATEST: Duration = Duration::from_millis(1500);

/// How often the size of the screen is looked at.
const LOOK_AT_SIZE: Duration = Duration::from_millis(100);

type Answer = Result<Status, Error>;

/// Shows the cluster until the user leaves.
///
/// # Errors
/// If the server cannot be asked at the beginning, or does not let the user in any more.
pub(super) fn run(mut asker: Asker, env: &mut Env) -> Result<(), Stop> {
    let begun = Instant::now();
    let first = asker.ask().map_err(|error| asker.failure(&error))?;
    let server = asker.server();
    let mut view = View::new(begun.elapsed(), first);
    let interrupted = env.interrupts().hand_over();
    let answers = ask_on(asker);
    let mut output = Output { server, begun, display: env.display(), drawn: None };
    let left = output.display.as_ref().map_or_else(never, Display::left);
    output.show(&view, env)?;
    loop {
        select! {
            recv(interrupted) -> _ => return Ok(()),
            recv(left) -> _ => return Ok(()),
            recv(answers) -> answer => match answer {
                Ok(Ok(report)) => view.answered(begun.elapsed(), report),
                Ok(Err(error)) if error.code() == Code::SignIn => return Err(error.into()),
                Ok(Err(error)) => view.failed(error.to_string()),
                Err(_) => return Err(Error::other(Code::Unexpected, "the asking has ended").into()),
            },
            default(output.patience()) => {
                if output.is_as_drawn() {
                    continue;
                }
            }
        }
        output.show(&view, env)?;
    }
}

/// Asks in a thread of its own, as long as somebody wants to know.
fn ask_on(mut asker: Asker) -> Receiver<Answer> {
    let (sender, answers) = bounded(1);
    thread::spawn(move || {
        let mut took = Duration::ZERO;
        loop {
            // A server for which an answer is much work is asked less often.
            thread::sleep(EVERY.saturating_sub(took).max(took));
            let begun = Instant::now();
            if sender.send(asker.ask()).is_err() {
                return;
            }
            took = begun.elapsed();
        }
    });
    answers
}

/// Where the cluster is shown.
struct Output {
    server: Server,
    begun: Instant,
    /// The screen, on a terminal.
    display: Option<Display>,
    /// When it was drawn, and how large it was then.
    drawn: Option<(Instant, [usize; 2])>,
}

impl Output {
    /// How long to wait for an answer before looking whether there is something to show.
    fn patience(&self) -> Duration {
        if self.display.is_some() { LOOK_AT_SIZE } else { LINE_AT_LATEST }
    }

    /// Does the screen have the size that it was drawn for, and was that just now?
    fn is_as_drawn(&self) -> bool {
        self.display
            .as_ref()
            .zip(self.drawn)
            .is_some_and(|(display, (at, size))| display.size() == size && at.elapsed() < EVERY)
    }

    fn show(&mut self, view: &View, env: &mut Env) -> Result<(), Stop> {
        let (now, server) = (self.begun.elapsed(), &self.server);
        if let Some(display) = &self.display {
            let size = display.size();
            self.drawn = Some((Instant::now(), size));
            return env.draw(&frame::screen(view, server, now, size), size);
        }
        if env.manner().json {
            let (kind, object) = frame::for_programs(view, server, now)?;
            return env.json(kind, object);
        }
        let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        env.data(&frame::line(view, server, now, &time))?;
        env.flush()
    }
}
