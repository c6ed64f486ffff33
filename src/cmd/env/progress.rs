//! How far a transfer is, for whoever looks on: a bar on a terminal, a plain line now and then in
//! a log, a JSON line for a program, nothing for `-q`.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::json;

use super::{Env, Screen};
use crate::core::path::printable;
use crate::core::remote::Progress;

/// Between two lines off a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two lines of JSON.
const JSON_EVERY: Duration = Duration::from_secs(1);
/// How long an estimate of the time left is kept back: before that it is a guess.
const ETA_HIDDEN: Duration = Duration::from_secs(2);

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
    Bar(ProgressBar),
    Lines { screen: Screen, label: String, last: Instant, json: bool },
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
            Kind::Bar(drawn(label, total))
        } else {
            Kind::Lines { screen: env.err.clone(), label, last, json: false }
        };
        Bar { kind, meter: env.meter.clone(), metered: 0 }
    }

    /// For work whose words come from elsewhere, shown by [`Bar::say`].
    pub(super) fn of_work(env: &Env, label: &str) -> Bar {
        let label = label.to_owned();
        Bar::from(if env.manner.json || env.manner.quiet {
            Kind::Nothing
        } else if env.terminals.err {
            Kind::Bar(drawn_as(label, 100, "{prefix}  [{bar:20}] {msg}"))
        } else {
            let (screen, last) = (env.err.clone(), Instant::now());
            Kind::Lines { screen, label, last, json: false }
        })
    }

    /// Shows how far work is, and what is to be said of it.
    pub fn say(&mut self, percent: u64, text: &str) {
        match &mut self.kind {
            Kind::Nothing => {}
            Kind::Bar(bar) => {
                bar.set_position(percent);
                bar.set_message(text.to_owned());
            }
            Kind::Lines { screen, label, last, .. } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    // Whether anyone can read it is found out when the result is printed.
                    let _ = writeln!(screen, "{label}  {text}").and_then(|()| screen.flush());
                }
            }
        }
    }

    /// Prints something in the bar's place, which comes again below it.
    pub fn hide_for(&self, print: impl FnOnce()) {
        match &self.kind {
            Kind::Bar(bar) => bar.suspend(print),
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
            Kind::Bar(bar) => {
                bar.set_length(progress.total);
                bar.set_position(progress.bytes);
                if progress.committing {
                    bar.set_message("committing...");
                }
            }
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
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

fn drawn(label: String, total: u64) -> ProgressBar {
    let template = "{prefix}  [{bar:28}] {decimal_bytes}/{decimal_total_bytes}  \
                    {decimal_bytes_per_sec}  {left}{msg}";
    drawn_as(label, total, template)
}

fn drawn_as(label: String, total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    // The template is fixed; should it be wrong, the default style is a bar too.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> ").with_key("left", time_left));
    }
    bar.set_prefix(label);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn time_left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let done = state.pos() == 0 || state.len().is_none_or(|length| state.pos() >= length);
    if state.elapsed() >= ETA_HIDDEN && !done {
        // A write into the bar's own line cannot fail.
        let _ = write!(out, "{} s left", state.eta().as_secs().max(1));
    }
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
    }
}
