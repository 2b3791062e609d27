//! `evenkeel hold` and `evenkeel release`: stop writes for a while, and let them go on.

use std::{fmt, str::FromStr};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    values::span_of_time,
};
use crate::server::{HoldRequest, ReleaseRequest, selector};

/// Write nothing to clusters, or to a bundle on them, until they are released
#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    /// Which clusters, those that come later included: a label selector over environment, region, cluster and labels; `environment` alone selects all
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// Why, for whoever finds it
    #[arg(long, value_name = "TEXT", env = "EVENKEEL_REASON")]
    reason: Option<String>,
    /// When the hold ends by itself: a span such as 2h, or a time such as 2030-01-31T06:00:00Z [default: when it is released]
    #[arg(long, value_name = "T", env = "EVENKEEL_UNTIL")]
    until: Option<Until>,
    /// Hold this bundle only; the others go on
    #[arg(long, value_name = "NAME", env = "EVENKEEL_BUNDLE")]
    bundle: Option<String>,
    /// Only leave as it is what others change; commits are carried out
    #[arg(long, env = "EVENKEEL_DRIFT")]
    drift: bool,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

/// Let held clusters go on
#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// Which clusters: a label selector over environment, region, cluster and labels; `environment` alone selects all. Others of the same hold stay held
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// Only from holds of this bundle
    #[arg(long, value_name = "NAME", env = "EVENKEEL_BUNDLE")]
    bundle: Option<String>,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

/// A time, or how long until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    At(Timestamp),
    In(SignedDuration),
}

impl Until {
    fn after(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            // Whole seconds, which everybody reads the same.
            Self::In(span) => Timestamp::from_second(now.checked_add(span).ok()?.as_second()).ok(),
        }
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = || span_of_time(text).map(Self::In);
        let at = || text.parse().ok().map(Self::At);
        span().or_else(at).ok_or_else(|| format!("`{text}` is no span of time such as 30m or 2h, and no time such as 2030-01-31T06:00:00Z"))
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::In(span) => span.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

pub(super) fn hold(args: HoldArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    selector(&args.selector)?;
    let reason = args.reason.or_else(|| file.reason.clone());
    let reason = reason.ok_or_else(|| CommandError::usage("a hold needs a --reason: whoever finds it wants to know".to_owned()))?;
    let until = match args.until.or(file.until) {
        None => None,
        Some(until) => Some(until.after(world.now).ok_or_else(|| CommandError::usage(format!("{until} is too far away")))?),
    };
    let request = HoldRequest {
        selector: args.selector,
        bundle: args.bundle.or_else(|| file.bundle.clone()),
        drift: args.drift || file.drift.unwrap_or(false),
        reason,
        until,
    };
    let state_dir = args.state_dir.resolve(file);
    let sent = request.clone();
    let record = |state_dir: &_, who: &_| (world.records.hold)(state_dir, &request, who);
    let accepted = ask::act_or_record(&state_dir, async move |client| client.hold(&sent).await, record, "obeyed", printer)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("Held", accepted))?;
    Ok(Exit::Done)
}

pub(super) fn release(args: ReleaseArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    selector(&args.selector)?;
    let request = ReleaseRequest { selector: args.selector, bundle: args.bundle.or_else(|| file.bundle.clone()) };
    let state_dir = args.state_dir.resolve(file);
    let sent = request.clone();
    let record = |state_dir: &_, who: &_| (world.records.release)(state_dir, &request, who);
    let accepted = ask::act_or_record(&state_dir, async move |client| client.release(&sent).await, record, "done", printer)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("Released", accepted))?;
    Ok(Exit::Done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_how_long_until_then() {
        let now: Timestamp = "2030-01-31T06:00:00.5Z".parse().unwrap();
        let of = |text: &str| text.parse::<Until>().unwrap().after(now).unwrap().to_string();
        assert_eq!(of("2h"), "2030-01-31T08:00:00Z");
        assert_eq!(of("3d"), "2030-02-03T06:00:00Z");
        assert_eq!(of("2030-02-01T00:00:00+01:00"), "2030-01-31T23:00:00Z");
        for text in ["", "soon", "-2h", "0s", "2030-02-01"] {
            assert!(text.parse::<Until>().unwrap_err().contains(text), "{text}");
        }
    }
}
