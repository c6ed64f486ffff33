//! The recorded rate as a picture (SVG): each point light, the rolling average strong.
//!
//! Scaling is decided here, not left to the library: units that people read (MB/s, s), ticks without
//! superfluous digits, a title that fits. Texts are escaped by the library; what no XML may contain is
//! made visible before.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::recorder::{Point, Recorder};
use crate::cmd::env::{duration, size};
use crate::core::error::{Code, Error, Result};
use crate::core::path::printable;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 540;
const MARGIN: i32 = 24;
/// Above the plot: title, what it is about, and which line is which.
const HEAD: i32 = 84;

/// A piece that was so many times as fast as all of them together is cut off: single ones, which lay
/// in a buffer, would leave no room for the others. The rolling average is always shown whole.
const SPIKES_MAX: f64 = 4.0;

const FONT: &str = "Helvetica, Arial, sans-serif";
const TEXT: RGBColor = RGBColor(33, 37, 41);
const FAINT_TEXT: RGBColor = RGBColor(90, 98, 106);
const GRID: RGBColor = RGBColor(226, 230, 234);
const RAW: RGBColor = RGBColor(158, 197, 232);
const AVERAGE: RGBColor = RGBColor(0, 82, 147);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Draws a recording. `subject` is the name of a file, or how many there were; `done` says what was
/// done with it: `Stored`.
///
/// # Errors
/// If it cannot be drawn.
pub(super) fn svg(recorder: &Recorder, subject: &str, done: &str) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, recorder, subject, done).map_err(|error| {
        Error::other(Code::Unexpected, format!("cannot draw the rate: {error}"))
    })?;
    Ok(text)
}

fn draw(text: &mut String, recorder: &Recorder, subject: &str, done: &str) -> Drawn {
    let root = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let (bytes, time) = (recorder.bytes(), recorder.time());
    let bytes_text = format!(", {}", size(bytes));
    let subject = fitting(&printable(subject), TITLE_WIDTH - width_of(&bytes_text));
    let title = (FONT, 27).into_font().style(FontStyle::Bold).color(&TEXT);
    root.draw(&Text::new(format!("{subject}{bytes_text}"), (MARGIN, 20), title))?;
    let points = recorder.points();
    let average = points.last().map_or(0.0, |last| bytes_as_f64(bytes) / last.seconds);
    if !points.is_empty() {
        let (unit, name) = unit_of(average, &BYTE_UNITS);
        let rate = three_digits(average / unit);
        let about = format!("{done} at {rate} {name} on average, over {}", duration(time));
        let style = (FONT, 18).into_font().color(&FAINT_TEXT);
        root.draw(&Text::new(about, (MARGIN, 54), style))?;
    }
    draw_legend(&root)?;
    let (_, plot) = root.split_vertically(HEAD);
    draw_plot(&plot, &points, average)?;
    root.present()
}

/// Which line is which, on the right of what the picture is about.
fn draw_legend(root: &Area<'_>) -> Drawn {
    let style = (FONT, 18).into_font().color(&FAINT_TEXT);
    for (x, colour, width, label) in
        [(508, RAW, 2, "each piece"), (640, AVERAGE, 3, "rolling average over 60 points")]
    {
        let line = vec![(x, 61), (x + 28, 61)];
        root.draw(&PathElement::new(line, colour.stroke_width(width)))?;
        root.draw(&Text::new(label, (x + 36, 54), style.clone()))?;
    }
    Ok(())
}

/// `average` is that of the whole, in bytes a second.
fn draw_plot(plot: &Area<'_>, points: &[Point], average: f64) -> Drawn {
    let fastest = points.iter().map(|point| point.bytes_per_second).fold(0.0, f64::max);
    let average_max = points.iter().map(|point| point.rolling_average).fold(0.0, f64::max);
    let rate_max = fastest.min(average_max.max(average * SPIKES_MAX));
    let time_max = points.last().map_or(0.0, |point| point.seconds);
    let (rate_unit, rate_name) = unit_of(rate_max, &BYTE_UNITS);
    let (time_unit, time_name) = unit_of(time_max, &TIME_UNITS);
    let top = if rate_max > 0.0 { rate_max / rate_unit * 1.05 } else { 1.0 };
    let end = if time_max > 0.0 { time_max / time_unit } else { 1.0 };
    let mut chart = ChartBuilder::on(plot)
        .margin_right(MARGIN)
        .margin_bottom(8)
        .margin_left(8)
        .margin_top(8)
        .x_label_area_size(52)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc(format!("Time since the start ({time_name})"))
        .y_desc(format!("Transfer rate ({rate_name})"))
        .axis_desc_style((FONT, 18).into_font().color(&TEXT))
        .label_style((FONT, 17).into_font().color(&FAINT_TEXT))
        .axis_style(FAINT_TEXT)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .x_labels(10)
        .y_labels(8)
        .x_label_formatter(&|value| tick(*value, end))
        .y_label_formatter(&|value| tick(*value, top))
        .draw()?;
    if points.is_empty() {
        let style = (FONT, 20).into_font().color(&FAINT_TEXT);
        let style = style.pos(Pos::new(HPos::Center, VPos::Center));
        return chart.plotting_area().draw(&Text::new("no bytes were moved", (0.5, 0.5), style));
    }
    let line = |rate: fn(&Point) -> f64| {
        // The first rate is that from the start to the first point.
        let scaled = move |point: &Point| (rate(point) / rate_unit).min(top);
        let first = points.first().map(|point| (0.0, scaled(point)));
        let scale = move |point: &Point| (point.seconds / time_unit, scaled(point));
        first.into_iter().chain(points.iter().map(scale))
    };
    chart
        .draw_series(LineSeries::new(line(|point| point.bytes_per_second), RAW.stroke_width(2)))?;
    let rolling = line(|point| point.rolling_average);
    chart.draw_series(LineSeries::new(rolling, AVERAGE.stroke_width(3)))?;
    if fastest > rate_max {
        let note = format!("cut off: up to {} {rate_name}", three_digits(fastest / rate_unit));
        let style = (FONT, 16).into_font().color(&FAINT_TEXT);
        let style = style.pos(Pos::new(HPos::Right, VPos::Top));
        chart.plotting_area().draw(&Text::new(note, (end, top), style))?;
    }
    Ok(())
}

/// Factors, largest first, and what a number that was divided by them is in.
type Units = [(f64, &'static str); 4];

const BYTE_UNITS: Units = [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")];
const TIME_UNITS: Units = [(3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")];

/// The unit in which the largest number has few digits; seconds and hours where people think in them.
fn unit_of(largest: f64, units: &Units) -> (f64, &'static str) {
    let least = |factor: f64| match units == &TIME_UNITS {
        true if factor > 1.0 => 10.0 * factor,
        true if factor == 1.0 => 0.1,
        _ => factor,
    };
    let smallest = if largest > 0.0 { units[3] } else { units[1] };
    units.iter().find(|(factor, _)| largest >= least(*factor)).copied().unwrap_or(smallest)
}

/// A number at a tick of an axis that is so long and has about ten ticks, which are 1, 2 or 5 times a
/// power of ten apart.
fn tick(value: f64, length: f64) -> String {
    let decimals = if length >= 5.0 {
        0
    } else if length >= 0.5 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

fn three_digits(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

fn bytes_as_f64(bytes: u64) -> f64 {
    bytes as f64
}

/// How wide a title may be, in pixels.
const TITLE_WIDTH: u32 = WIDTH - 2 * MARGIN.unsigned_abs();

/// About how wide a text is in the title, in pixels; rather too much. Nobody knows the font.
fn width_of(text: &str) -> u32 {
    text.chars().map(|c| if c.is_ascii() { 14 } else { 23 }).sum()
}

/// The text, with its middle left out if it is too wide: beginning and ending say most of a name.
fn fitting(text: &str, width: u32) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let half = (width - width_of("…")) / 2;
    let cut = |chars: &mut dyn Iterator<Item = char>| {
        let mut used = 0;
        let fits = |c: &char| {
            used += width_of(c.encode_utf8(&mut [0; 4]));
            used <= half
        };
        chars.take_while(fits).collect::<String>()
    };
    let beginning = cut(&mut text.chars());
    let ending: String = cut(&mut text.chars().rev()).chars().rev().collect();
    format!("{beginning}…{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn recorded(pieces: u64, ms_each: u64, bytes_each: u64) -> Recorder {
        let mut recorder = Recorder::new();
        for i in 1..=pieces {
            recorder.piece(Duration::from_millis(i * ms_each), bytes_each);
        }
        recorder
    }

    #[test]
    fn spec_4_the_picture_has_a_title_units_and_both_lines() {
        let svg = svg(&recorded(100, 10, 1_000_000), "photo.jpg", "Stored").unwrap();
        for text in [
            "photo.jpg, 100.0 MB",
            "Stored at 100 MB/s on average, over 1.0 s",
            "Time since the start (s)",
            "Transfer rate (MB/s)",
            "each piece",
            "rolling average over 60 points",
        ] {
            assert!(svg.contains(text), "{text}\n{svg}");
        }
        // Two in the legend, two with data.
        assert_eq!(svg.matches("#9EC5E8").count(), 2);
        assert_eq!(svg.matches("#005293").count(), 2);
    }

    #[test]
    fn a_single_spike_does_not_flatten_all_the_rest() {
        let mut recorder = recorded(100, 10, 1_000_000);
        recorder.piece(Duration::from_millis(1001), 2_000_000);
        let svg = svg(&recorder, "a", "Stored").unwrap();
        assert!(svg.contains("cut off: up to 2000 MB/s"), "{svg}");
        assert!(svg.contains("400") && !svg.contains("1000"), "{svg}");
    }

    #[test]
    fn nothing_moved_is_a_picture_too() {
        let svg = svg(&Recorder::new(), "empty", "Stored").unwrap();
        assert!(svg.contains("empty, 0 B") && svg.contains("no bytes were moved"), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn a_name_cannot_become_a_part_of_the_picture() {
        let name = "<script>&\"'\u{1b}\u{202e}.txt";
        let svg = svg(&recorded(1, 1, 1), name, "Stored").unwrap();
        assert!(svg.contains("&lt;script&gt;&amp;&quot;&apos;\\u{1b}\\u{202e}.txt"), "{svg}");
        assert!(!svg.contains("<script>") && !svg.contains('\u{1b}'));
    }

    #[test]
    fn a_long_name_loses_its_middle() {
        let name = format!("{}{}.tar.gz", "a".repeat(200), "é".repeat(200));
        let short = fitting(&name, 600);
        assert!(short.starts_with("aaa") && short.ends_with("é.tar.gz") && short.contains('…'));
        assert!(width_of(&short) <= 600, "{short}");
        assert_eq!(fitting("a.txt", 600), "a.txt");
    }

    #[test]
    fn numbers_have_units_that_people_read() {
        let rate = |rate: f64| unit_of(rate, &BYTE_UNITS).1;
        let rates = [2.5e9, 9.9e8, 1e6, 999e3, 12.0, 0.5, 0.0];
        assert_eq!(rates.map(rate), ["GB/s", "MB/s", "MB/s", "kB/s", "B/s", "B/s", "MB/s"]);
        let time = |time: f64| unit_of(time, &TIME_UNITS).1;
        let times = [40_000.0, 7200.0, 0.25, 0.08, 0.000_5, 0.0];
        assert_eq!(times.map(time), ["h", "s", "s", "ms", "µs", "s"]);
        assert_eq!((tick(120.0, 150.0), tick(0.5, 3.0)), ("120".into(), "0.5".into()));
        assert_eq!((tick(3.0, 5.8), tick(0.25, 0.4)), ("3".into(), "0.25".into()));
        assert_eq!(three_digits(103.27), "103");
        assert_eq!(three_digits(9.876), "9.88");
    }
}
