//! `evenkeel why`: why a cluster, or an object on it, is as it is, and the way out.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::{Color, age, clean, clean_lines, painted, phase_color},
};
use crate::{
    ledger::{Brought, ObjectEnd},
    sync::Retry,
    why::{Cause, Kind, ObjectWhy, Spread, Step, Why},
};

/// Say why a cluster, or an object on it, is as it is, and the way out
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The cluster's name
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// An object on it: kind[.group]/[namespace/]name
    #[arg(value_name = "OBJECT")]
    object: Option<String>,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: WhyArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let asked = ask::open(world, &args.state_dir.resolve(file), printer)?;
    let why = asked.answers.why(&args.cluster, args.object.as_deref())?;
    let color = printer.color;
    printer.answer(output, &why, |why| Text { now: world.now, color, alone: asked.source.is_none() }.of(why))?;
    Ok(Exit::Done)
}

/// What is under each heading begins here.
const INDENT: usize = 12;

/// An explanation for a person, at a moment.
struct Text {
    now: Timestamp,
    color: bool,
    /// No agent answers, so that the record is all there is.
    alone: bool,
}

impl Text {
    fn of(&self, why: &Why) -> String {
        let shade = if why.well { Color::Good } else { phase_color(why.phase).max(Color::Attention) };
        let what = painted(if self.color { shade } else { Color::Plain }, &clean(&why.what));
        let mut text = format!("{what}.\n");
        if self.alone {
            let _ = writeln!(text, "No agent answers: until one runs, no commit reaches {} and no drift is put back.", clean(&why.cluster));
        }
        if let Some(object) = &why.object {
            text.push_str(&self.object(object));
        }
        if why.well {
            let exists = why.object.as_ref().is_none_or(|object| object.id.is_some());
            if let Some(brought) = why.brought_by.as_ref().filter(|_| exists) {
                let it = if why.object.is_some() { format!("What {} runs", clean(&why.cluster)) } else { "It".to_owned() };
                let _ = writeln!(text, "{it} came with {}, {} ago.", brought_by(brought), age(self.now, brought.time));
            }
            return text;
        }
        if why.object.is_none() {
            let _ =
                writeln!(text, "For {}; environment {}, region {}.", age(self.now, why.since), clean(&why.environment), clean(&why.region));
        }
        text.push_str(&self.causes(why));
        text.push_str(&items("Reach", &reach(&why.spread, &why.cluster)));
        text.push_str(&items("Way out", &ways_out(&why.causes)));
        if let Some(retry) = why.causes.iter().find_map(|cause| cause.retry) {
            text.push_str(&section("Next try", &[self.retry(retry)]));
        }
        // Of a cluster that only waits, nobody asks where what runs there comes from.
        let only_waits = why.waits_for.is_some() && why.causes.iter().all(|cause| cause.kind == Kind::Wave);
        // What keeps it where it is was not brought by the commit that it runs.
        let is_kept = why.causes.first().is_some_and(|first| matches!(first.kind, Kind::Paused | Kind::Hold | Kind::Returned));
        let brought = if is_kept { "Runs" } else { "Brought by" };
        for (heading, brought) in [("Waits", &why.waits_for), (brought, &why.brought_by.clone().filter(|_| !only_waits))] {
            let lines = brought.iter().map(|brought| format!("{}, {} ago", brought_by(brought), age(self.now, brought.time)));
            text.push_str(&section(heading, &lines.collect::<Vec<_>>()));
        }
        text + &self.trail(&why.trail)
    }

    fn causes(&self, why: &Why) -> String {
        let mut lines: Vec<String> = why.causes.iter().map(|cause| self.cause(cause)).collect();
        if why.more_causes > 0 {
            lines.push(format!("{} more; `evenkeel history {}` has all", why.more_causes, why.cluster));
        }
        items(if lines.len() > 1 { "Causes" } else { "Cause" }, &lines)
    }

    fn cause(&self, cause: &Cause) -> String {
        let code = cause.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
        let since = match cause.since.map(|since| age(self.now, since)) {
            Some(age) if cause.kind == Kind::Rewritten => format!(" ({age} ago)"),
            Some(age) => format!(" (for {age})"),
            None => String::new(),
        };
        format!("{code}{}{since}", cause.message)
    }

    fn retry(&self, Retry { at, failures }: Retry) -> String {
        let due = if at > self.now { format!("in {}", age(at, self.now)) } else { "now".to_owned() };
        let tries = if failures == 1 { "1 try".to_owned() } else { format!("{failures} tries") };
        format!("{due}, after {tries} that failed")
    }

    fn object(&self, object: &ObjectWhy) -> String {
        let mut lines = Vec::new();
        if let (Some(bundle), Some(place)) = (&object.bundle, &object.place) {
            lines.push(format!("bundle {bundle}, given at {place}"));
        }
        if !object.changed_at.is_empty() {
            lines.push(format!("changed at {}", object.changed_at.join(", ")));
        }
        if !object.given_up.is_empty() {
            lines.push(format!("left to others: {}", object.given_up.join(", ")));
        }
        if let Some(ObjectEnd { at, commit, action, .. }) = object.ends.first() {
            lines.push(format!("{action} {} ago, at {}", age(self.now, *at), commit.short()));
        }
        if !object.near.is_empty() {
            lines.push(format!("with nearly that name: {}", object.near.join(", ")));
        }
        section("Object", &lines)
    }

    fn trail(&self, trail: &[Step]) -> String {
        let step = |Step { at, what, times }: &Step| {
            let times = if *times > 1 { format!(" ({times} times)") } else { String::new() };
            format!("{:>5} ago  {what}{times}", age(self.now, *at))
        };
        section("Trail", &trail.iter().map(step).collect::<Vec<_>>())
    }
}

/// A heading and its lines; nothing where there are none.
fn section(heading: &str, lines: &[String]) -> String {
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let heading = if number == 0 { format!("{heading}:") } else { String::new() };
        let _ = writeln!(text, "{heading:INDENT$}{}", clean_lines(line).replace("\n  ", &format!("\n{:INDENT$}", "")));
    }
    text
}

/// The same, each item with a dash where there are several: one may have several lines.
fn items(heading: &str, items: &[String]) -> String {
    match items {
        [one] => section(heading, std::slice::from_ref(one)),
        _ => section(heading, &items.iter().map(|item| format!("- {}", item.replace('\n', "\n  "))).collect::<Vec<_>>()),
    }
}

fn brought_by(Brought { commit, author, subject, beside, .. }: &Brought) -> String {
    let beside = match beside {
        0 => String::new(),
        1 => " (with 1 more in one push)".to_owned(),
        more => format!(" (with {more} more in one push)"),
    };
    format!("{} by {}: {}{beside}", commit.short(), clean(author), clean(subject))
}

/// Which other clusters have it, and what goes on.
fn reach(spread: &Spread, cluster: &str) -> Vec<String> {
    let more = spread.same.saturating_sub(spread.names.len() as u64);
    let names = spread.names.join(", ") + &if more == 0 { String::new() } else { format!(" and {more} more") };
    let alone = match spread.held_up {
        0 => format!("{cluster} alone"),
        1 => format!("{cluster}, and 1 cluster that waits for it"),
        held_up => format!("{cluster}, and {held_up} clusters that wait for it"),
    };
    let others: u64 = spread.elsewhere.iter().map(|in_phase| in_phase.clusters).sum();
    let phases: Vec<String> = spread.elsewhere.iter().map(|in_phase| format!("{} {:?}", in_phase.clusters, in_phase.phase)).collect();
    let same = match (spread.same, others) {
        (0, 0) if spread.held_up == 0 => format!("{cluster} is the only cluster"),
        (0, _) => alone,
        (1, _) => format!("1 other cluster too: {names}"),
        (same, _) => format!("{same} other clusters too: {names}"),
    };
    let same = if others == 0 { same } else { format!("{same}; elsewhere: {}", phases.join(", ")) };
    std::iter::once(same).chain(spread.here.iter().cloned()).collect()
}

/// Each way once, also where one that was told before says the same among other things.
fn ways_out(causes: &[Cause]) -> Vec<String> {
    let mut ways: Vec<String> = Vec::new();
    for cause in causes {
        if !ways.iter().any(|way| way.contains(cause.way_out.trim_end_matches('.'))) && !cause.way_out.is_empty() {
            ways.push(cause.way_out.clone());
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manifest::Digest, sync::approval};

    #[test]
    fn a_way_out_is_told_once() {
        let cause = |way_out: &str| Cause {
            kind: Kind::Held,
            code: None,
            message: String::new(),
            since: None,
            way_out: way_out.to_owned(),
            retry: None,
        };
        let held = approval::way_out("a", Digest([0xab; 32]), true);
        let retry = "`evenkeel retry cluster=a` has it follow the branch again.";
        let causes = [cause(""), cause(&held), cause(retry), cause(&held), cause("Mend it.")];
        assert_eq!(ways_out(&causes), [held, "Mend it.".to_owned()]);
        assert_eq!(ways_out(&[cause(retry)]), [retry]);
    }

    #[test]
    fn every_line_stands_under_its_heading() {
        insta::assert_snapshot!(section("Cause", &["one\ntwo\u{1b}[2J".to_owned(), "three at https://u:p@h".to_owned()]), @r"
        Cause:      one
                    two\u{1b}[2J
                    three at https://***@h
        ");
    }
}
