//! How far a transfer is, for whoever looks on: a bar on a terminal, a plain line now and then in
//! a log, a JSON line for a program, nothing for `-q`.

mod line;

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use parking_lot::Mutex;
use serde_json::json;

pub use self::line::{Reached, beginning};
use super::{Env, Screen};
use crate::core::io::terminal::window;
use crate::core::path::printable;
use crate::core::remote::Progress;

/// Between two lines off a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two lines of JSON.
const JSON_EVERY: Duration = Duration::from_secs(1);
/// How long an estimate of the time left is kept back: before that it is a guess.
pub const ETA_HIDDEN: Duration = Duration::from_secs(2);
/// The width of a terminal that does not say how wide it is.
const COLUMNS: usize = 80;

/// Is told of the bytes that have moved since it was told before.
pub type Meter = Rc<RefCell<dyn FnMut(u64)>>;

/// A transfer's progress on its way to the user.
pub struct Bar {
    kind: Kind,
    meter: Option<Meter>,
    /// The bytes that the meter knows of.
    metered: u64,
}

impl From<Kind> for Bar {
    fn from(kind: Kind) -> Bar {
        Bar { kind, meter: None, metered: 0 }
    }
}

enum Kind {
    Nothing,
    Bar(Drawn),
    Lines { screen: Screen, label: String, last: Instant, json: bool },
}

/// A bar on a terminal: lines that are drawn anew as time goes by.
struct Drawn {
    bar: ProgressBar,
    lines: Arc<Mutex<Vec<Reached>>>,
    label: String,
}

impl Bar {
    /// For the transfer of `total` bytes of what `label` names.
    pub(super) fn new(env: &Env, label: &str, total: u64) -> Bar {
        let (label, last) = (printable(label), Instant::now());
        let kind = if env.manner.json {
            Kind::Lines { screen: env.out.clone(), label, last, json: true }
        } else if env.manner.quiet {
            Kind::Nothing
        } else if env.terminals.err {
            Kind::Bar(Drawn::new(label, Some(total)))
        } else {
            Kind::Lines { screen: env.err.clone(), label, last, json: false }
        };
        Bar { kind, meter: env.meter.clone(), metered: 0 }
    }

    /// For work whose words come from elsewhere, shown by [`Bar::say`] or [`Bar::show_all`].
    pub(super) fn of_work(env: &Env, label: &str) -> Bar {
        let label = label.to_owned();
        Bar::from(if env.manner.json || env.manner.quiet {
            Kind::Nothing
        } else if env.terminals.err {
            Kind::Bar(Drawn::new(label, None))
        } else {
            let (screen, last) = (env.err.clone(), Instant::now());
            Kind::Lines { screen, label, last, json: false }
        })
    }

    /// Shows how far work is, and what is to be said of it.
    pub fn say(&mut self, percent: u64, text: &str) {
        let amounts = text.to_owned();
        self.show_all(Vec::new(), Reached { percent, amounts, ..Reached::default() });
    }

    /// Shows how far several things are, and below them all together under the bar's own name.
    pub fn show_all(&mut self, parts: Vec<Reached>, all: Reached) {
        match &mut self.kind {
            Kind::Nothing => {}
            Kind::Bar(drawn) => {
                let all = Reached { label: drawn.label.clone(), ..all };
                *drawn.lines.lock() = parts.into_iter().chain([all]).collect();
                drawn.bar.tick();
            }
            Kind::Lines { screen, label, last, .. } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let line = Reached { label: label.clone(), ..all }.words();
                    // Whether anyone can read it is found out when the result is printed.
                    let _ = writeln!(screen, "{line}").and_then(|()| screen.flush());
                }
            }
        }
    }

    /// Prints something in the bar's place, which comes again below it.
    pub fn hide_for(&self, print: impl FnOnce()) {
        match &self.kind {
            Kind::Bar(drawn) => drawn.bar.suspend(print),
            Kind::Nothing | Kind::Lines { .. } => print(),
        }
    }

    /// Shows how far it is, for what is no transfer.
    pub fn reach(&mut self, bytes: u64, total: u64) {
        self.show(Progress { bytes, total, committing: false });
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: Progress) {
        if let Some(meter) = &self.meter {
            let moved = progress.bytes.saturating_sub(self.metered);
            self.metered += moved;
            (meter.borrow_mut())(moved);
        }
        match &mut self.kind {
            Kind::Nothing => {}
            Kind::Bar(drawn) => drawn.show(progress),
            Kind::Lines { screen, label, last, json } => {
                if last.elapsed() >= if *json { JSON_EVERY } else { LINE_EVERY } {
                    *last = Instant::now();
                    let line =
                        if *json { json_line(label, progress) } else { line(label, progress) };
                    // Whether anyone can read it is found out when the result is printed.
                    let _ = writeln!(screen, "{line}").and_then(|()| screen.flush());
                }
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Kind::Bar(drawn) = &self.kind {
            drawn.bar.finish_and_clear();
        }
    }
}

impl Drawn {
    /// One for so many bytes, whose rate and time left are found out here; or for other work.
    fn new(label: String, total: Option<u64>) -> Drawn {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let first = Reached { label: label.clone(), ..Reached::default() };
        let lines = Arc::new(Mutex::new(vec![first]));
        let (shown, is_transfer) = (lines.clone(), total.is_some());
        let draw = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let columns = window(std::io::stderr()).map_or(COLUMNS, |[columns, _]| columns);
            let line = |own: &Reached| match is_transfer {
                true => with_pace(own.clone(), state).line(columns),
                false => own.line(columns),
            };
            let lines: Vec<String> = shown.lock().iter().map(line).collect();
            // A write into the bar's own line cannot fail.
            let _ = out.write_str(&lines.join("\n"));
        };
        // The template is fixed; should it be wrong, the default style is a bar too.
        if let Ok(style) = ProgressStyle::with_template("{lines}") {
            bar.set_style(style.with_key("lines", draw));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Drawn { bar, lines, label }
    }

    /// What was there before this transfer says nothing of its rate.
    fn show(&mut self, progress: Progress) {
        let is_first = self.bar.position() == 0;
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.bytes);
        if is_first {
            self.bar.reset_eta();
        }
        let reached = Reached {
            label: self.label.clone(),
            note: progress.committing.then_some("committing..."),
            ..part(progress.bytes, progress.total)
        };
        *self.lines.lock() = vec![reached];
    }
}

/// So many bytes of so many.
pub fn part(bytes: u64, total: u64) -> Reached {
    let percent = u128::from(bytes.min(total)) * 100 / u128::from(total.max(1));
    let percent = if total == 0 { 100 } else { u64::try_from(percent).unwrap_or(100) };
    let amounts = format!("{}/{}", size(bytes), size(total));
    Reached { percent, amounts, ..Reached::default() }
}

/// With how fast it goes, and how long it takes, once that is more than a guess.
fn with_pace(reached: Reached, state: &ProgressState) -> Reached {
    let is_under_way = state.pos() > 0 && state.len().is_some_and(|length| state.pos() < length);
    if !is_under_way || state.elapsed() < ETA_HIDDEN {
        return reached;
    }
    let rate = bytes_per_second(state.per_sec());
    // Nothing is promised while nothing moves.
    let left = (rate > 0).then(|| state.eta());
    Reached { rate: Some(rate), left, ..reached }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a rate, rounded for people
fn bytes_per_second(rate: f64) -> u64 {
    rate as u64
}

fn line(label: &str, progress: Progress) -> String {
    if progress.committing {
        return format!("{label}  committing...");
    }
    let percent = (progress.bytes * 100).checked_div(progress.total).unwrap_or(100);
    format!("{label}  {} of {}  ({percent} %)", size(progress.bytes), size(progress.total))
}

fn json_line(label: &str, progress: Progress) -> String {
    json!({"v": 1, "type": "progress", "path": label, "bytes": progress.bytes,
           "total": progress.total, "committing": progress.committing})
    .to_string()
}

/// A number of bytes as people read it: `62.0 MB`.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}

/// `1 file`, `12 files`
pub fn plural<N: Copy + fmt::Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    format!("{number} {what}{}", if number == N::from(1) { "" } else { "s" })
}

/// `10.0 MB/s`
pub fn shown_rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second))
}

/// How long something took, as people say it: `22 ms`, `0.6 s`.
pub fn duration(took: Duration) -> String {
    if took < Duration::from_millis(100) {
        return format!("{} ms", took.as_millis().max(1));
    }
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = Progress { bytes: 31_000_000, total: 62_000_000, committing: false };
        assert_eq!(line("a.jpg", progress), "a.jpg  31.0 MB of 62.0 MB  (50 %)");
        let empty = Progress { bytes: 0, total: 0, committing: false };
        assert_eq!(duration(Duration::from_micros(99_900)), "99 ms");
        assert_eq!(duration(Duration::ZERO), "1 ms");
        assert_eq!(duration(Duration::from_millis(640)), "0.6 s");
        assert_eq!(line("a", empty), "a  0 B of 0 B  (100 %)");
        assert_eq!((part(0, 0).percent, part(1, 3).percent, part(5, 3).percent), (100, 33, 100));
    }
}
