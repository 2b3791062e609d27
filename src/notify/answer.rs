//! What a receiver's answer means: it was told, tell it again later, or never.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};

use super::{client::Reply, line};

/// Characters of a receiver's own words that are repeated.
const WORDS_MAX: usize = 200;
/// Longest pause that a receiver can ask for; GitHub's limits are by the hour.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was told.
    Sent,
    /// It may be told later; `after` is what the receiver asked to wait, for everything that it is sent.
    Again { why: String, after: Option<Duration> },
    /// It will never be taken.
    Never { why: String },
}

/// Reads an answer of the usual kind: 2xx is told; 408, 425, 429 and 5xx are again, 401 too, since tokens are rotated; a 403 is again
/// where it is a rate limit; other answers will not change.
pub(super) fn judge(reply: &Reply, now: Timestamp) -> Outcome {
    let status = reply.status;
    if status.is_success() {
        return Outcome::Sent;
    }
    let after = pause(&reply.headers, now);
    let words = line(&reply.text, WORDS_MAX);
    let why = if words.is_empty() { format!("it answered {status}") } else { format!("it answered {status}: {words}") };
    let limited = status == StatusCode::FORBIDDEN && after.is_some();
    let passing = matches!(status.as_u16(), 401 | 408 | 425 | 429);
    if limited || passing || status.is_server_error() { Outcome::Again { why, after } } else { Outcome::Never { why } }
}

/// How long the receiver asks to wait: `Retry-After` in seconds or as a date (RFC 9110), else until its limit is reset (GitHub, GitLab)
/// where nothing of that is left.
fn pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
    let asked = text(RETRY_AFTER.as_str()).and_then(|value| {
        let seconds = value.parse().map(Duration::from_secs).ok();
        seconds.or_else(|| rfc2822::parse(value).ok().map(|at| until(at.timestamp())))
    });
    let reset = || {
        let names = [("x-ratelimit-remaining", "x-ratelimit-reset"), ("ratelimit-remaining", "ratelimit-reset")];
        let (_, reset) = names.into_iter().find(|(left, _)| text(left) == Some("0"))?;
        text(reset)?.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).map(until)
    };
    asked.or_else(reset).map(|pause| pause.min(PAUSE_MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &'static str)], text: &str) -> Reply {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, text: text.to_owned() }
    }

    #[test]
    fn answers_are_told_from_each_other() {
        let now = Timestamp::from_second(1_000).unwrap();
        let judge = |status, headers: &[(&'static str, &'static str)]| match judge(&reply(status, headers, "no"), now) {
            Outcome::Sent => "sent".to_owned(),
            Outcome::Again { after: None, .. } => "again".to_owned(),
            Outcome::Again { after: Some(after), .. } => format!("again in {} s", after.as_secs()),
            Outcome::Never { why } => why,
        };
        for (status, headers, expect) in [
            (201, &[][..], "sent"),
            (204, &[], "sent"),
            (500, &[], "again"),
            (503, &[("retry-after", "7")], "again in 7 s"),
            (429, &[("retry-after", "Thu, 01 Jan 1970 00:17:00 GMT")], "again in 20 s"),
            (429, &[("retry-after", "999999")], "again in 3600 s"),
            (429, &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], "again in 0 s"),
            (401, &[], "again"),
            (403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1060")], "again in 60 s"),
            (403, &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1060")], "it answered 403 Forbidden: no"),
            (429, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "1005")], "again in 5 s"),
            (404, &[], "it answered 404 Not Found: no"),
            (422, &[], "it answered 422 Unprocessable Entity: no"),
            (301, &[], "it answered 301 Moved Permanently: no"),
        ] {
            assert_eq!(judge(status, headers), expect, "{status} {headers:?}");
        }
    }
}
