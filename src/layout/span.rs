//! Spans of time in Evenkeel's own kinds, written as Go and Prometheus write them: `90s`, `10m`, `1h30m`.

use std::time::Duration;

/// The shortest and the longest span that a setting may have.
const BOUNDS: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(24)];

/// What a setting that is a span must be, in words.
pub(crate) const EXPECTED: &str = "a span of time from 1s to 24h, such as 90s, 10m or 1h30m";

/// Reads whole hours, minutes and seconds, each at most once and in this order; none where the text is no such span or out of bounds.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0_u64);
    for (unit, worth) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(worth)?)?;
        rest = after;
    }
    let span = Duration::from_secs(seconds);
    (rest.is_empty() && BOUNDS[0] <= span && span <= BOUNDS[1]).then_some(span)
}

/// A span of whole seconds as it is written in a setting.
pub(crate) fn written(span: Duration) -> String {
    let seconds = span.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let parts: Vec<String> = parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("1s", Some(1)),
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("1h30m", Some(5400)),
            ("1h1m1s", Some(3661)),
            ("24h", Some(86_400)),
            ("24h1s", None),
            ("0s", None),
            ("", None),
            ("10", None),
            ("m", None),
            ("1m1h", None),
            ("1m1m", None),
            ("-1m", None),
            ("1.5h", None),
            ("1 h", None),
            ("99999999999999999999h", None),
            ("9999999999999999h", None),
        ] {
            assert_eq!(span(text), seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["1s", "10m", "1h30m", "1h1m1s", "24h"] {
            assert_eq!(span(text).map(written).as_deref(), Some(text));
        }
        assert_eq!(written(Duration::from_secs(90)), "1m30s");
    }
}
