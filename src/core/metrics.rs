//! Metrics: what a running server or node counts, and the page on which a monitor reads it, in the text
//! format 0.0.4 of Prometheus.
//!
//! What is counted on the way of a request ([`Count`], [`Latency`]) costs atomic additions and nothing
//! else. A [`Page`] is made when it is asked for, from what was counted and from what is known anyway.
//! Its families are sorted by name and its lines stay in the order in which they were given, so that two
//! pages differ only where something has changed.

mod latency;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub use self::latency::{Distribution, Latency};

/// What a page is sent as.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Every name begins with it, and an underscore.
const PREFIX: &str = "palk_";

/// Declares an enumeration of which every value has a word.
macro_rules! words {
    ($(#[$about:meta])* $see:vis $name:ident: $($(#[$one:meta])* $value:ident = $word:literal,)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $see enum $name { $($(#[$one])* $value),* }

        impl $name {
            /// All of them, in the order of their declaration.
            $see const ALL: &[$name] = &[$($name::$value),*];

            /// How many there are.
            $see const COUNT: usize = $name::ALL.len();

            /// What it is called on the page of metrics.
            $see fn as_str(self) -> &'static str {
                match self { $($name::$value => $word),* }
            }
        }
    };
}

pub(crate) use words;

/// Something that is counted up.
#[derive(Default, Debug)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts one more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Counts so many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Names and values that tell the lines of a family apart.
pub type Labels = Vec<(&'static str, String)>;

/// Everything that is told at one moment.
#[derive(Default, Debug)]
pub struct Page {
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    /// As it is on the page.
    name: String,
    help: &'static str,
    samples: Samples,
}

#[derive(Debug)]
enum Samples {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Histograms(Vec<(Labels, Distribution)>),
}

impl Page {
    /// What every process tells of itself: its version, and since when it runs, in milliseconds since 1970.
    pub fn process(&mut self, own: &Labels, begun_ms: i64) {
        let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
        let build = [own.as_slice(), &[version]].concat();
        self.gauges("build_info", "The version, as a label; always 1.", [(build, 1.0)]);
        let begun = f64::from(u32::try_from(begun_ms / 1000).unwrap_or(u32::MAX));
        let help = "When the process was started, since 1970.";
        self.gauges("start_time_seconds", help, [(own.clone(), begun)]);
    }

    /// Something that only grows until the process ends. `_total` is added to its name.
    pub fn counters(
        &mut self,
        name: &str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.add(name, help, Samples::Counters(samples.into_iter().collect()));
    }

    /// The same without labels.
    pub fn counter(&mut self, name: &str, help: &'static str, value: u64) {
        self.counters(name, help, [(Labels::new(), value)]);
    }

    /// Something that grows and falls.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        self.add(name, help, Samples::Gauges(samples.into_iter().collect()));
    }

    /// The same without labels.
    pub fn gauge(&mut self, name: &str, help: &'static str, value: f64) {
        self.gauges(name, help, [(Labels::new(), value)]);
    }

    /// How long something took.
    pub fn latencies(
        &mut self,
        name: &str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, Distribution)>,
    ) {
        self.add(name, help, Samples::Histograms(samples.into_iter().collect()));
    }

    fn add(&mut self, name: &str, help: &'static str, samples: Samples) {
        self.families.push(Family { name: format!("{PREFIX}{name}"), help, samples });
    }

    /// The page as a monitor reads it. Families of which nothing is known are left out.
    pub fn encode(mut self) -> String {
        self.families.retain(|family| !family.samples.is_empty());
        self.families.sort_by(|one, other| one.name.cmp(&other.name));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // A string takes everything.
        let _ = prometheus_text::encode(&mut text, &registry);
        text
    }
}

impl Samples {
    fn is_empty(&self) -> bool {
        match self {
            Samples::Counters(samples) => samples.is_empty(),
            Samples::Gauges(samples) => samples.is_empty(),
            Samples::Histograms(samples) => samples.is_empty(),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Samples::Counters(_) => MetricType::Counter,
            Samples::Gauges(_) => MetricType::Gauge,
            Samples::Histograms(_) => MetricType::Histogram,
        }
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, samples } in &self.families {
            let mut family = encoder.encode_descriptor(name, help, None, samples.metric_type())?;
            match samples {
                Samples::Counters(samples) => {
                    for (labels, value) in samples {
                        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
                    }
                }
                Samples::Gauges(samples) => {
                    for (labels, value) in samples {
                        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
                    }
                }
                Samples::Histograms(samples) => {
                    for (labels, told) in samples {
                        family.encode_family(labels)?.encode_histogram::<NoLabelSet>(
                            told.sum_seconds,
                            told.count,
                            &told.buckets,
                            None,
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A number of things as a sample. A monitor reckons with such numbers; those beyond 2^53 are rounded.
#[expect(clippy::cast_precision_loss)]
pub fn number(count: u64) -> f64 {
    count as f64
}

/// Milliseconds as seconds.
pub fn seconds(ms: u64) -> f64 {
    number(ms) / 1000.0
}

/// True as 1.
pub fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_is_sorted_and_has_every_kind_of_line() {
        let mut page = Page::default();
        page.gauges(
            "node_up",
            "Whether it answers.",
            [1, 0]
                .into_iter()
                .enumerate()
                .map(|(at, up)| (vec![("node", at.to_string())], f64::from(up))),
        );
        page.counter("accepted", "Those that came.", 7);
        page.gauges("unknown", "Of which nothing is known.", []);
        let latency = Latency::default();
        latency.took(Duration::from_millis(3));
        latency.took(Duration::from_secs(1000));
        let labels = vec![("verb", "a \"b\"\\\n".to_owned())];
        page.latencies("request_seconds", "How long.", [(labels, latency.told())]);
        let text = page.encode();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..9],
            [
                "# HELP palk_accepted_total Those that came.",
                "# TYPE palk_accepted_total counter",
                "palk_accepted_total 7",
                "# HELP palk_node_up Whether it answers.",
                "# TYPE palk_node_up gauge",
                r#"palk_node_up{node="0"} 1.0"#,
                r#"palk_node_up{node="1"} 0.0"#,
                "# HELP palk_request_seconds How long.",
                "# TYPE palk_request_seconds histogram",
            ],
            "{text}"
        );
        let verb = r#"verb="a \"b\"\\\n""#;
        assert_eq!(lines[26], format!("palk_request_seconds_sum{{{verb}}} 1000.003"), "{text}");
        assert_eq!(lines[27], format!("palk_request_seconds_count{{{verb}}} 2"));
        let bucket =
            |le: &str, count| format!("palk_request_seconds_bucket{{{verb},le=\"{le}\"}} {count}");
        for (le, count) in [("0.0025", 0), ("0.005", 1), ("60", 1), ("+Inf", 2)] {
            assert!(text.contains(&bucket(le, count)), "{le}: {text}");
        }
        assert!(!text.contains("unknown"));
    }
}
