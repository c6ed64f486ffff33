//! How fast a transfer went, point by point: samples in, a series out. No clock and no file here.
//!
//! A point is a piece of the file: when it was there, counted from the start, and the rate from the
//! point before. Invariants: times grow; what the points moved adds up to what was recorded. So that
//! this holds with numbers that mean something and in bounded memory, pieces share a point
//!
//! - if they came within [`APART_MIN`]: acknowledgements that arrive together were not that fast, and a
//!   rate over no time is none;
//! - if there would be more than [`POINTS_MAX`]: then each two neighbours become one, and so do all
//!   later ones. Files of many gigabytes have points of many pieces.

use std::time::Duration;

/// The shortest time between two points.
const APART_MIN: Duration = Duration::from_millis(1);
/// The most points that are kept.
const POINTS_MAX: usize = 4096;
/// Over how many points the average rolls.
const ROLLING: usize = 60;

/// Bytes that were there at a time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    /// Since the sample before.
    bytes: u64,
    /// How many pieces it is made of.
    pieces: u64,
}

/// A transfer's rate as it is recorded.
#[derive(Debug)]
pub(super) struct Recorder {
    samples: Vec<Sample>,
    /// How many pieces make a point.
    pieces_each: u64,
}

/// A point of the series.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Point {
    /// Since the start.
    pub(super) seconds: f64,
    /// Since the point before.
    pub(super) bytes_per_second: f64,
    /// What this point and the 59 before it moved (or as many as there are), over the time that it
    /// took: the mean of their rates, in which a rate counts as much as it lasted. Without that, a
    /// piece that was there at once would outweigh the wait before it.
    pub(super) rolling_average: f64,
}

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder { samples: Vec::new(), pieces_each: 1 }
    }

    /// Takes note of a piece that was there so long after the start; later than the one before it.
    pub(super) fn piece(&mut self, at: Duration, bytes: u64) {
        if bytes == 0 {
            return;
        }
        // A table has microseconds, and its lines are to add up. No rate is over no time, not even
        // that of a first piece.
        let at = Duration::from_micros(u64::try_from(at.as_micros()).unwrap_or(u64::MAX).max(1));
        match self.samples.last_mut() {
            Some(last) if at < last.at + APART_MIN => {
                last.bytes += bytes;
                last.pieces += 1;
            }
            Some(last) if last.pieces < self.pieces_each => {
                *last = Sample { at, bytes: last.bytes + bytes, pieces: last.pieces + 1 };
            }
            _ => self.samples.push(Sample { at, bytes, pieces: 1 }),
        }
        if self.samples.len() > POINTS_MAX {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        let pairs = self.samples.chunks(2).map(|pair| {
            let last = pair[pair.len() - 1];
            let bytes = pair.iter().map(|sample| sample.bytes).sum();
            Sample { at: last.at, bytes, pieces: pair.iter().map(|sample| sample.pieces).sum() }
        });
        self.samples = pairs.collect();
        self.pieces_each *= 2;
    }

    /// All bytes that were recorded.
    pub(super) fn bytes(&self) -> u64 {
        self.samples.iter().map(|sample| sample.bytes).sum()
    }

    /// From the start to the last piece.
    pub(super) fn time(&self) -> Duration {
        self.samples.last().map(|sample| sample.at).unwrap_or_default()
    }

    /// The series, in the order of time.
    pub(super) fn points(&self) -> Vec<Point> {
        let mut points: Vec<Point> = Vec::with_capacity(self.samples.len());
        let mut before = Duration::ZERO;
        for sample in &self.samples {
            let took = sample.at.saturating_sub(before).as_secs_f64();
            before = sample.at;
            let bytes_per_second = sample.bytes as f64 / took;
            let first = points.len().saturating_sub(ROLLING - 1);
            let latest: u64 = self.samples[first..=points.len()].iter().map(|one| one.bytes).sum();
            let since = first.checked_sub(1).map(|i| self.samples[i].at).unwrap_or_default();
            let rolling_average = latest as f64 / (sample.at - since).as_secs_f64();
            let seconds = sample.at.as_secs_f64();
            points.push(Point { seconds, bytes_per_second, rolling_average });
        }
        points
    }

    /// The series as a table for other programs.
    pub(super) fn csv(&self) -> String {
        let mut text = String::from("seconds,bytes_per_second,rolling_average\n");
        for Point { seconds, bytes_per_second, rolling_average } in self.points() {
            text.push_str(&format!("{seconds:.6},{bytes_per_second:.3},{rolling_average:.3}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(pieces: &[(u64, u64)]) -> Recorder {
        let mut recorder = Recorder::new();
        for (ms, bytes) in pieces {
            recorder.piece(Duration::from_millis(*ms), *bytes);
        }
        recorder
    }

    fn moved(points: &[Point]) -> f64 {
        let starts = std::iter::once(0.0).chain(points.iter().map(|point| point.seconds));
        points.iter().zip(starts).map(|(p, start)| p.bytes_per_second * (p.seconds - start)).sum()
    }

    #[test]
    fn spec_4_every_piece_has_its_time_and_rate() {
        let recorder = recorded(&[(100, 1000), (300, 1000), (400, 500)]);
        let csv = "seconds,bytes_per_second,rolling_average\n\
                   0.100000,10000.000,10000.000\n\
                   0.300000,5000.000,6666.667\n\
                   0.400000,5000.000,6250.000\n";
        assert_eq!(recorder.csv(), csv);
        assert_eq!((recorder.bytes(), recorder.time()), (2500, Duration::from_millis(400)));
    }

    #[test]
    fn spec_4_the_average_rolls_over_60_points() {
        let pieces: Vec<_> = (1..=100).map(|i| (i * 1000, i)).collect();
        let points = recorded(&pieces).points();
        // The rates are 1, 2, 3 ... bytes a second.
        assert_eq!(points[59].rolling_average, 30.5);
        assert_eq!(points[60].rolling_average, 31.5);
        assert_eq!(points[99].rolling_average, 70.5);
    }

    #[test]
    fn nothing_moved_is_a_table_without_lines() {
        assert_eq!(recorded(&[]).csv(), "seconds,bytes_per_second,rolling_average\n");
        assert_eq!(recorded(&[(5, 0)]).points(), []);
    }

    #[test]
    fn pieces_that_came_together_are_one_point() {
        let mut recorder = Recorder::new();
        for (micros, bytes) in
            [(100, 1), (110, 2), (50_000, 3), (50_100, 4), (50_200, 5), (60_000, 6)]
        {
            recorder.piece(Duration::from_micros(micros), bytes);
        }
        let points = recorder.points();
        let times: Vec<_> = points.iter().map(|point| point.seconds).collect();
        assert_eq!(times, [0.000_1, 0.05, 0.06]);
        assert!((moved(&points) - 21.0).abs() < 1e-6);
    }

    #[test]
    fn a_huge_file_has_no_more_points_than_are_kept() {
        let mut recorder = Recorder::new();
        for i in 1..=100_000_u64 {
            recorder.piece(Duration::from_millis(i * 10), 7);
        }
        let points = recorder.points();
        assert!((POINTS_MAX / 4..=POINTS_MAX).contains(&points.len()), "{}", points.len());
        assert_eq!(recorder.bytes(), 700_000);
        assert!(points.iter().all(|point| (point.bytes_per_second - 700.0).abs() < 1e-6));
    }

    proptest! {
        #[test]
        fn what_the_points_moved_adds_up(pieces in prop::collection::vec((0..5_000_u64, 0..9_000_u64), 0..300)) {
            let mut recorder = Recorder::new();
            let (mut at, mut sum) = (0, 0);
            for (micros, bytes) in pieces {
                at += micros;
                sum += bytes;
                recorder.piece(Duration::from_micros(at), bytes);
            }
            let points = recorder.points();
            prop_assert_eq!(recorder.bytes(), sum);
            let sum = u32::try_from(sum).unwrap();
            prop_assert!((moved(&points) - f64::from(sum)).abs() < 1e-3);
            prop_assert!(points.windows(2).all(|pair| pair[0].seconds < pair[1].seconds));
            prop_assert!(points.iter().all(|point| point.rolling_average.is_finite()));
        }
    }
}
