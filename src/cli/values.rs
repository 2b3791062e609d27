//! Values that flags, environment and settings file have in common: read and checked in one way.

use std::{fmt, marker::PhantomData, str::FromStr, time::Duration};

use clap::ValueEnum;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::{cluster::CONCURRENCY_MAX, server::ServerUrl};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Output {
    /// For eyes
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs
    Yaml,
}

/// A span of time between a second and a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval(pub(super) Duration);

impl Interval {
    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: SignedDuration = text.parse().map_err(|_| format!("`{text}` is no span of time such as 30s, 5m or 1h30m"))?;
        match Duration::try_from(span) {
            Ok(span) if span >= Duration::from_secs(1) && span <= Duration::from_hours(24) => Ok(Self(span)),
            _ => Err(format!("`{text}` is not between 1s and 24h")),
        }
    }
}

/// A span of time such as 30m, 2h or 3d; a day has 24 hours.
pub(super) fn span_of_time(text: &str) -> Option<SignedDuration> {
    let span = text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Some(span).filter(SignedDuration::is_positive)
}

/// A time, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Since {
    pub(super) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = || text.parse().ok().map(Self::At);
        span_of_time(text)
            .map(Self::Ago)
            .or_else(at)
            .ok_or_else(|| format!("`{text}` is no span of time such as 2h or 3d, and no time such as 2030-01-31T06:00:00Z"))
    }
}

/// How many entries of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(pub(super) u32);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(|limit| (1..=1000).contains(limit))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no number from 1 to 1000"))
    }
}

/// Requests under way over the whole fleet. The maximum is far beyond what one machine can use.
pub(super) type OfFleet = Concurrency<10_000>;
/// Requests under way to one cluster.
pub(super) type OfCluster = Concurrency<CONCURRENCY_MAX>;

/// How many requests may be under way at a time, at most `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Concurrency<const MAX: usize>(pub(super) usize);

impl<const MAX: usize> FromStr for Concurrency<MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (1..=MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("`{text}` is no number from 1 to {MAX}"))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Concurrency<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsFlag(PhantomData))
    }
}

/// A namespace's name (RFC 1123 label, as Kubernetes checks it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespace(pub(super) String);

impl FromStr for Namespace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if fits { Ok(Self(text.to_owned())) } else { Err(format!("`{text}` cannot be the name of a namespace")) }
    }
}

/// Reads a scalar of a settings file as the flag would be read.
struct AsFlag<T>(PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for AsFlag<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }

    // Wrong values are found here and not after the visit, so that the error knows its line.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! deserialize_as_flag {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(AsFlag(PhantomData))
            }
        }
    )*};
}

deserialize_as_flag!(Interval, Limit, Since, Namespace, ServerUrl);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_a_unit_and_bounds() {
        assert_eq!("1h30m".parse::<Interval>().unwrap(), Interval::seconds(5400));
        for text in ["30", "", "0s", "-5s", "25h", "500ms", "soon"] {
            assert!(text.parse::<Interval>().unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn a_time_or_how_long_ago() {
        let now: Timestamp = "2030-01-31T06:00:00Z".parse().unwrap();
        let of = |text: &str| text.parse::<Since>().unwrap().before(now).to_string();
        assert_eq!(of("2h"), "2030-01-31T04:00:00Z");
        assert_eq!(of("3d"), "2030-01-28T06:00:00Z");
        assert_eq!(of("2030-01-30T00:00:00+01:00"), "2030-01-29T23:00:00Z");
        for text in ["", "yesterday", "-2h", "0s", "1mo", "2030-01-30"] {
            assert!(text.parse::<Since>().unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn limits_and_namespaces_are_checked() {
        assert_eq!("1000".parse(), Ok(Limit(1000)));
        assert!(["0", "1001", "-1", "x"].iter().all(|text| text.parse::<Limit>().is_err()));
        assert!(["a", "evenkeel-system", "0"].iter().all(|text| text.parse::<Namespace>().is_ok()));
        assert!(["", "A", "-a", "a-", "a.b", &"a".repeat(64)].iter().all(|text| text.parse::<Namespace>().is_err()));
        assert_eq!(serde_yaml::from_str::<Limit>("7").unwrap(), Limit(7));
        assert_eq!(serde_yaml::from_str::<Limit>("'7'").unwrap(), Limit(7));
        assert!(serde_yaml::from_str::<Limit>("[7]").is_err());
    }
}
