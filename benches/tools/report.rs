//! What a bench has measured: a table on the terminal, a JSON file, and pictures.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

type Candidate<'a> = (&'static str, Box<dyn FnMut(usize) + 'a>);

/// What is measured in turns, so that whatever else the machine does meets all of it alike.
pub(crate) struct Turns<'a> {
    rounds: usize,
    candidates: Vec<Candidate<'a>>,
}

impl<'a> Turns<'a> {
    pub(crate) fn new(rounds: usize) -> Turns<'a> {
        Turns { rounds, candidates: Vec::new() }
    }

    /// Adds something to time; it is told the number of the round.
    pub(crate) fn add(mut self, name: &'static str, run: impl FnMut(usize) + 'a) -> Turns<'a> {
        self.candidates.push((name, Box::new(run)));
        self
    }

    /// The median seconds that each takes. The first round warms up and does not count.
    pub(crate) fn medians(mut self) -> Vec<(&'static str, f64)> {
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); self.candidates.len()];
        for round in 0..=self.rounds {
            for ((_, run), seconds) in self.candidates.iter_mut().zip(&mut seconds) {
                let begun = Instant::now();
                run(round);
                if round > 0 {
                    seconds.push(begun.elapsed().as_secs_f64());
                }
            }
        }
        let names = self.candidates.iter().map(|(name, _)| *name);
        names.zip(seconds.into_iter().map(median)).collect()
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The figures of one bench.
pub(crate) struct Report {
    name: &'static str,
    folder: PathBuf,
    figures: Vec<Value>,
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Report {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench");
        fs::create_dir_all(&folder).expect("a folder");
        println!("{:44} {:>14} {:>14} {:>7}", name, "palk", "floor", "ratio");
        Report { name, folder, figures: Vec::new() }
    }

    /// How long something took, in seconds, and the floor: the ratio is how many times longer.
    pub(crate) fn time(&mut self, what: &str, seconds: f64, floor: Option<f64>) {
        let ratio = floor.map(|floor| seconds / floor);
        let text = |seconds: f64| format!("{:.2} ms", seconds * 1000.0);
        self.row(what, "s", [Some(seconds), floor], ratio, text);
    }

    /// How much was done in a second, and the floor: the ratio is how many times slower.
    pub(crate) fn rate(&mut self, what: &str, unit: &str, rate: f64, floor: Option<f64>) {
        let ratio = floor.map(|floor| floor / rate);
        self.row(what, unit, [Some(rate), floor], ratio, |rate| format!("{rate:.0} {unit}"));
    }

    /// Something that has no floor.
    pub(crate) fn figure(&mut self, what: &str, unit: &str, value: f64) {
        self.row(what, unit, [Some(value), None], None, |value| format!("{value:.1} {unit}"));
    }

    fn row(
        &mut self,
        what: &str,
        unit: &str,
        values: [Option<f64>; 2],
        ratio: Option<f64>,
        text: impl Fn(f64) -> String,
    ) {
        let [own, floor] = values.map(|value| value.map(&text).unwrap_or_default());
        let shown = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        println!("{what:44} {own:>14} {floor:>14} {shown:>7}");
        let [value, floor] = values;
        self.figures.push(
            json!({"what": what, "unit": unit, "value": value, "floor": floor, "ratio": ratio}),
        );
    }

    /// Draws a picture of lines.
    pub(crate) fn picture(&self, name: &str, picture: &Picture<'_>) {
        let at = self.folder.join(format!("{name}.svg"));
        fs::write(&at, picture.svg()).expect("the picture is written");
        println!("drawn to {}", at.display());
    }

    /// Writes the figures as JSON.
    pub(crate) fn finish(self) {
        let at = self.folder.join(format!("{}.json", self.name));
        let text =
            serde_json::to_string_pretty(&json!({"bench": self.name, "figures": self.figures}));
        fs::write(&at, text.expect("figures are JSON") + "\n").expect("the figures are written");
        println!("written to {}", at.display());
    }
}

/// Lines. An axis of powers is one for sizes and counts; any other begins with zero.
pub(crate) struct Picture<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// What an axis calls a value.
    pub(crate) x_label: fn(f64) -> String,
    pub(crate) y_label: fn(f64) -> String,
    pub(crate) x_powers: bool,
    pub(crate) y_powers: bool,
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 60.0;
const COLOURS: [&str; 8] =
    ["#005293", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#666666"];

impl Picture<'_> {
    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
        };
        let (mut x_low, x_high) = range(&mut points().map(|(x, _)| *x));
        let (mut y_low, y_high) = range(&mut points().map(|(_, y)| *y));
        if !self.x_powers {
            x_low = 0.0;
        }
        if !self.y_powers {
            y_low = 0.0;
        }
        let part = |value: f64, low: f64, high: f64, powers: bool| match powers {
            true => (value / low).ln() / (high / low).ln().max(1e-9),
            false => (value - low) / (high - low).max(1e-9),
        };
        let x =
            |value: f64| LEFT + part(value, x_low, x_high, self.x_powers) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| {
            HEIGHT - BOTTOM - part(value, y_low, y_high, self.y_powers) * (HEIGHT - TOP - BOTTOM)
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#212529\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"28\" font-size=\"18\" font-weight=\"bold\">{}</text>\n\
             <text x=\"{LEFT}\" y=\"48\">{}</text>\n",
            self.title, self.y
        );
        for value in round_values(y_low, y_high, self.y_powers) {
            let (at, right, label) = (y(value), WIDTH - RIGHT, (self.y_label)(value));
            let _ = writeln!(
                out,
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dee2e6\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        let mut marks: Vec<f64> = match self.x_powers {
            true => points().map(|(x, _)| *x).collect(),
            false => round_values(x_low, x_high, false),
        };
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        for mark in marks {
            let (at, below, label) = (x(mark), HEIGHT - BOTTOM + 20.0, (self.x_label)(mark));
            let _ = writeln!(
                out,
                "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>"
            );
        }
        let (middle, foot) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14.0);
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">{}</text>",
            self.x
        );
        for (at, ((name, points), colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let line: Vec<String> =
                points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py))).collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            // Of many points each is no news.
            for point in line.iter().filter(|_| line.len() < 20) {
                let (px, py) = point.split_once(',').expect("a point");
                let _ =
                    writeln!(out, "<circle cx=\"{px}\" cy=\"{py}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let row = TOP + 20.0 * at as f64;
            let _ = writeln!(
                out,
                "<path d=\"M{} {row}h20\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{}\" y=\"{}\">{name}</text>",
                WIDTH - RIGHT + 16.0,
                WIDTH - RIGHT + 42.0,
                row + 4.0
            );
        }
        out + "</svg>\n"
    }
}

/// Round values to mark on an axis: multiples of one step, or steps of 1, 2, 5 and ten.
fn round_values(low: f64, high: f64, powers: bool) -> Vec<f64> {
    let decade = |value: f64| 10f64.powf(value.log10().floor());
    if powers {
        let few = (high / low).log10() < 2.5;
        let steps: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = std::iter::successors(Some(decade(low)), |decade| Some(decade * 10.0));
        let decades = decades.take_while(|decade| *decade <= high);
        let values = decades.flat_map(|decade| steps.iter().map(move |step| step * decade));
        return values.filter(|value| (low..=high).contains(value)).collect();
    }
    let fifth = (high / 5.0).max(f64::MIN_POSITIVE);
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * decade(fifth))
        .into_iter()
        .find(|step| *step >= fifth)
        .unwrap_or(fifth);
    let values = (0..).map(|count| f64::from(count) * step);
    values.take_while(|value| *value <= high).collect()
}

/// A number of bytes, shortly.
pub(crate) fn bytes_label(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "");
    for next in ["K", "M", "G"] {
        if value >= 1000.0 {
            (value, unit) = (value / 1024.0, next);
        }
    }
    if value < 10.0 && value.fract() > 0.05 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// A count, shortly.
pub(crate) fn count_label(count: f64) -> String {
    match count {
        c if c >= 1e6 => format!("{:.0}M", c / 1e6),
        c if c >= 1e3 => format!("{:.0}k", c / 1e3),
        c if c < 10.0 && c.fract() > 0.05 => format!("{c:.1}"),
        c => format!("{c:.0}"),
    }
}
