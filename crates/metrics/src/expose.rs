//! The Prometheus text format, version 0.0.4.

use crate::latency::Distribution;
use std::fmt::Write;
use std::time::Duration;

/// The content type of what [`Sheet::finish`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the exposed histogram buckets, in microseconds and as the text of `le` in seconds: 100 us to 60 s.
/// Fixed for all families, so that any two of them can be compared or added.
const BOUNDS: [(u64, &str); 18] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations by bucket, with sum and count.
    Histogram,
}

impl Kind {
    /// The word of the TYPE line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A text in the making: one family at a time, then its samples. All samples of a family must follow it directly.
#[derive(Debug, Default)]
pub struct Sheet {
    text: String,
    family: String,
}

impl Sheet {
    /// Begins a family with its HELP and TYPE lines.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.family.clear();
        self.family.push_str(name);
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        for c in help.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
        self.line(format_args!("\n# TYPE {name} {}", kind.word()));
    }

    /// One sample of a counter. `labels` is a [`label_text`], empty for none.
    pub fn count(&mut self, labels: &str, total: u64) {
        self.sample("", labels, format_args!("{total}"));
    }

    /// One sample of a gauge that counts.
    pub fn level(&mut self, labels: &str, level: i64) {
        self.sample("", labels, format_args!("{level}"));
    }

    /// One sample of a gauge that measures.
    pub fn measure(&mut self, labels: &str, value: f64) {
        match value {
            v if v.is_nan() => self.sample("", labels, format_args!("NaN")),
            v if v.is_infinite() => {
                self.sample("", labels, format_args!("{}Inf", if v > 0.0 { '+' } else { '-' }))
            }
            v => self.sample("", labels, format_args!("{v}")),
        }
    }

    /// One histogram in seconds: cumulative buckets, sum, count.
    pub fn histogram(&mut self, labels: &str, distribution: &Distribution) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut with_le = String::with_capacity(labels.len() + 16);
        for (micros, le) in BOUNDS {
            with_le.clear();
            let _ = write!(with_le, "{labels}{comma}le=\"{le}\"");
            let below = distribution.count_at_most(Duration::from_micros(micros));
            self.sample("_bucket", &with_le, format_args!("{below}"));
        }
        let count = distribution.count();
        self.sample("_bucket", &format!("{labels}{comma}le=\"+Inf\""), format_args!("{count}"));
        self.sample("_sum", labels, format_args!("{}", distribution.sum_seconds()));
        self.sample("_count", labels, format_args!("{count}"));
    }

    /// The text so far.
    pub fn finish(self) -> String {
        self.text
    }

    fn sample(&mut self, suffix: &str, labels: &str, value: std::fmt::Arguments<'_>) {
        self.text.push_str(&self.family);
        if labels.is_empty() {
            self.line(format_args!("{suffix} {value}"));
        } else {
            self.line(format_args!("{suffix}{{{labels}}} {value}"));
        }
    }

    fn line(&mut self, rest: std::fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = self.text.write_fmt(rest);
        self.text.push('\n');
    }
}

/// Renders labels as `a="b",c="d"`, escaped as the exposition format wants.
pub fn label_text(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn counters_and_gauges_read_as_prometheus_wants_them() {
        let registry = Registry::default();
        let total = registry.counter("pgherd_a_total", "Things\nof \\ all kinds.", &[("user", "a\"b\\c\nd")]);
        total.add(3);
        let level = registry.gauge("pgherd_b", "Level.", &[]);
        level.set(-2);
        let want = "# HELP pgherd_a_total Things\\nof \\\\ all kinds.\n# TYPE pgherd_a_total counter\n\
                    pgherd_a_total{user=\"a\\\"b\\\\c\\nd\"} 3\n\
                    # HELP pgherd_b Level.\n# TYPE pgherd_b gauge\npgherd_b -2\n";
        assert_eq!(registry.render(), want);
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_everything() {
        let registry = Registry::default();
        let wait = registry.latency("pgherd_wait_seconds", "Waits.", &[("node", "pg1")]);
        for millis in [1, 20, 400, 120_000] {
            wait.record(Duration::from_millis(millis));
        }
        let text = registry.render();
        let line = |le: &str, n: u64| format!("pgherd_wait_seconds_bucket{{node=\"pg1\",le=\"{le}\"}} {n}\n");
        for (le, n) in [("0.0001", 0), ("0.001", 1), ("0.025", 2), ("0.5", 3), ("60", 3), ("+Inf", 4)] {
            assert!(text.contains(&line(le, n)), "le={le} {n} not in\n{text}");
        }
        assert!(text.contains("# TYPE pgherd_wait_seconds histogram\n"));
        assert!(text.contains("pgherd_wait_seconds_sum{node=\"pg1\"} 120.421\n"), "{text}");
        assert!(text.ends_with("pgherd_wait_seconds_count{node=\"pg1\"} 4\n"));
    }

    #[test]
    fn a_histogram_without_labels_has_only_le() {
        let registry = Registry::default();
        let _wait = registry.latency("pgherd_wait_seconds", "Waits.", &[]);
        let text = registry.render();
        assert!(
            text.contains("\npgherd_wait_seconds_bucket{le=\"+Inf\"} 0\npgherd_wait_seconds_sum 0\n"),
            "{text}"
        );
    }

    #[test]
    fn the_text_of_a_bound_is_its_value() {
        for (micros, le) in BOUNDS {
            assert_eq!(le.parse::<f64>().unwrap(), micros as f64 / 1e6);
        }
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn odd_measures_have_their_own_words() {
        let mut sheet = Sheet::default();
        sheet.family("x", Kind::Gauge, "X.");
        for value in [1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            sheet.measure("", value);
        }
        assert!(sheet.finish().ends_with("x 1.5\nx NaN\nx +Inf\nx -Inf\n"));
    }
}
