//! A progress bar as a line that fits the terminal: what does not matter most gives way first, and nothing
//! ever wraps, since a line that wraps leaves parts of itself behind.
//!
//! ```text
//!   80   photo.jpg  [==============>             ]  31.0 MB/62.0 MB  12.3 MB/s  3 s left
//!   50   photo.jpg  [====>   ]   50 %  12.3 MB/s  3 s left
//!   40   photo.jpg  [====>    ]   50 %  3 s left
//!   20   photo.jpg   50 %
//! ```

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::shown_rate;

/// How long a bar is at most, in columns.
const BAR_MAX: usize = 28;

/// So many columns of a name are shown at least, beside a bar.
const LABEL_MIN: usize = 9;

/// How far something is.
#[derive(Clone, Default, Debug)]
pub struct Reached {
    /// What it is called.
    pub label: String,
    /// How much of it is done, of a hundred.
    pub percent: u64,
    /// How much that is of how much; in the place of the percentage where there is room.
    pub amounts: String,
    /// Bytes in a second, once that is known.
    pub rate: Option<u64>,
    /// Until it is done, once that is known.
    pub left: Option<Duration>,
    /// What is said in the place of rate and time.
    pub note: Option<&'static str>,
}

impl Reached {
    /// What may stand behind the bar, the longest first.
    fn figures(&self) -> [String; 4] {
        let percent = format!("{:>3} %", self.percent);
        let rate = self.rate.map(shown_rate);
        let left = self.left.map(|left| format!("{} left", rough(left)));
        let joined = |first: &str, others: &[Option<String>]| {
            let others = others.iter().flatten().map(String::as_str);
            [first].into_iter().chain(others).collect::<Vec<_>>().join("  ")
        };
        let (rate, left) = match self.note {
            Some(note) => (None, Some(note.to_owned())),
            None => (rate, left),
        };
        let all = [rate, left];
        let whole = if self.amounts.is_empty() { &percent } else { &self.amounts };
        [joined(whole, &all), joined(&percent, &all), joined(&percent, &all[1..]), percent]
    }

    /// The line, of fewer than so many columns: a terminal may begin the next line at the last one.
    pub fn line(&self, columns: usize) -> String {
        let room = columns.saturating_sub(1);
        let bar_min = (columns / 8).max(6);
        let label_min = self.label.width().min(LABEL_MIN);
        let figures = self.figures();
        for figures in &figures {
            // Besides the blanks and brackets around the bar.
            let rest = room.saturating_sub(figures.width() + 6);
            if rest >= label_min + bar_min {
                let label = cut(&self.label, rest - bar_min);
                let bar = drawn(self.percent, (rest - label.width()).min(BAR_MAX));
                return format!("{label}  [{bar}]  {figures}");
            }
        }
        let [.., percent] = &figures;
        let label = cut(&self.label, room.saturating_sub(percent.width() + 2));
        cut(&format!("{label}  {percent}"), room)
    }

    /// The same where lines follow each other, in a log.
    pub fn words(&self) -> String {
        format!("{}  {}", self.label, self.figures()[0])
    }
}

/// `=====>    `
fn drawn(percent: u64, columns: usize) -> String {
    let full = usize::try_from(percent).unwrap_or(100) * columns / 100;
    let tip = if full < columns { ">" } else { "" };
    format!("{:<columns$}", format!("{}{tip}", "=".repeat(full)))
}

/// A text of at most so many columns; what is missing is `…`.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let more = if columns > 0 { "…" } else { "" };
    format!("{}{more}", beginning(text, columns.saturating_sub(1)))
}

/// The beginning of a text, as much as fits into so many columns.
pub fn beginning(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let fits = |(_, c): &(usize, char)| {
        taken += c.width().unwrap_or(0);
        taken <= columns
    };
    let end = text.char_indices().take_while(fits).last();
    end.map_or("", |(at, c)| &text[..at + c.len_utf8()])
}

/// A time as somebody who waits wants to know it: `5 s`, `12 min`, `3 h`.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..100 => format!("{} s", seconds.max(1)),
        seconds @ 100..6000 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h", (seconds + 1800) / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached() -> Reached {
        Reached {
            label: "photo.jpg".into(),
            percent: 50,
            amounts: "31.0 MB/62.0 MB".into(),
            rate: Some(12_300_000),
            left: Some(Duration::from_secs(3)),
            note: None,
        }
    }

    #[test]
    fn what_matters_less_gives_way_to_what_matters_more() {
        for (columns, expected) in [
            (80, "photo.jpg  [==============>             ]  31.0 MB/62.0 MB  12.3 MB/s  3 s left"),
            (60, "photo.jpg  [====>   ]  31.0 MB/62.0 MB  12.3 MB/s  3 s left"),
            (50, "photo.jpg  [====>   ]   50 %  12.3 MB/s  3 s left"),
            (40, "photo.jpg  [====>    ]   50 %  3 s left"),
            (20, "photo.jpg   50 %"),
            (9, "…   50 %"),
        ] {
            assert_eq!(reached().line(columns), expected, "{columns}");
        }
        let long = Reached { label: "a long name.jpg".into(), ..reached() };
        assert_eq!(long.line(40), "a long name…  [===>  ]   50 %  3 s left");
        let note = Reached { note: Some("committing..."), ..reached() };
        assert_eq!(
            note.line(80),
            "photo.jpg  [==============>             ]  31.0 MB/62.0 MB  committing..."
        );
    }

    #[test]
    fn no_line_is_as_long_as_the_terminal_is_wide() {
        let wide = "写真".repeat(20);
        for label in ["", "a", "a name that is much longer than any terminal is wide", &wide] {
            for columns in 0..200 {
                for percent in [0, 1, 99, 100] {
                    let long = Reached {
                        label: label.to_owned(),
                        percent,
                        amounts: "1000 of 1000 files  999.9 MB/999.9 MB".into(),
                        left: Some(Duration::from_secs(5999)),
                        ..reached()
                    };
                    let note = Reached { note: Some("committing..."), ..long.clone() };
                    for line in [long.line(columns), note.line(columns)] {
                        assert!(line.width() < columns.max(1), "{columns}: {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_time_is_told_roughly() {
        let told = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!(
            [0, 99, 100, 3600, 5999, 6000].map(told),
            ["1 s", "99 s", "2 min", "60 min", "100 min", "2 h"]
        );
    }
}
