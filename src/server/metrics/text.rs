//! Prometheus' text form, version 0.0.4, as its documentation describes it ("Exposition formats").

use std::fmt::Write as _;

/// A text that grows by one family of samples after the other.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// Upper bounds of the buckets in seconds; one without a bound comes after them.
pub(super) const BUCKETS: [f64; 14] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// How often something took how long.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram {
    /// In each bucket, those in lesser ones not counted.
    counts: [u64; BUCKETS.len() + 1],
    sum: f64,
}

impl Histogram {
    pub(super) fn observe(&mut self, seconds: f64) {
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }
}

/// Names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.0, name }
    }
}

/// The samples of one name.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl std::fmt::Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) -> &mut Self {
        let mut total = 0;
        for (at, count) in histogram.counts.iter().enumerate() {
            total += count;
            let bound = BUCKETS.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            self.line("_bucket", labels, Some(&bound), total);
        }
        self.line("_sum", labels, None, histogram.sum);
        self.line("_count", labels, None, total);
        self
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl std::fmt::Display) {
        let pairs = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_below_them() {
        let mut histogram = Histogram::default();
        for seconds in [0.05, 0.1, 0.2, 7000.0] {
            histogram.observe(seconds);
        }
        let mut text = Text::default();
        text.family("x_seconds", "histogram", "How long").histogram(&[("environment", "a\"b\\\n")], &histogram);
        let text = text.into_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0..2], ["# HELP x_seconds How long", "# TYPE x_seconds histogram"]);
        assert_eq!(lines[2], r#"x_seconds_bucket{environment="a\"b\\\n",le="0.1"} 2"#);
        assert_eq!(lines[3], r#"x_seconds_bucket{environment="a\"b\\\n",le="0.25"} 3"#);
        assert_eq!(lines[16], r#"x_seconds_bucket{environment="a\"b\\\n",le="+Inf"} 4"#);
        assert_eq!(lines[17], r#"x_seconds_sum{environment="a\"b\\\n"} 7000.35"#);
        assert_eq!(lines[18], r#"x_seconds_count{environment="a\"b\\\n"} 4"#);
    }
}
