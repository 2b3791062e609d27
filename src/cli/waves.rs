//! The part of `evenkeel status` that is about a rollout.

use std::fmt::Write as _;

use super::table::{Cell, Color, Table, clean, short_or_dash};
use crate::{
    ledger::answers::{ClusterStatus, Status},
    rollout::{Shown, ShownHalt, ShownWave, WaveWord},
};

/// The waves, why clusters wait, and what a person can do; nothing where a commit goes everywhere at once.
pub(super) fn render(status: &Status, color: bool) -> String {
    let mut text = String::new();
    if let Some(Shown { waves }) = &status.rollout {
        text.push('\n');
        text.push_str(&table(waves).render(color));
        for wave in waves {
            details(&mut text, wave);
        }
    }
    // Once for all that wait for the same.
    let mut waiting: Vec<(&str, Vec<&str>)> = Vec::new();
    // An error that says the same has been told.
    let is_told = |cluster: &ClusterStatus| cluster.error.as_ref().is_some_and(|error| error.message == cluster.reason);
    for cluster in status.clusters.iter().filter(|cluster| !cluster.reason.is_empty() && !is_told(cluster)) {
        match waiting.iter_mut().find(|(reason, _)| *reason == cluster.reason) {
            Some((_, names)) => names.push(&cluster.name),
            None => waiting.push((&cluster.reason, vec![&cluster.name])),
        }
    }
    for (reason, names) in waiting {
        let _ = writeln!(text, "\n{}: {}", clean(&names.join(", ")), clean(reason));
    }
    text
}

fn table(waves: &[ShownWave]) -> Table {
    let mut table = Table::new(["WAVE", "STATE", "TARGET", "CLUSTERS", "DONE", "BEGUN", "WAITING", "PASSED OVER"]);
    for wave in waves {
        let counts = wave.clusters;
        table.row(vec![
            Cell::from(&wave.name),
            Cell::colored(color(wave.state), format!("{:?}", wave.state)),
            short_or_dash(wave.target).into(),
            counts.all.to_string().into(),
            counts.done.to_string().into(),
            counts.begun.to_string().into(),
            counts.waiting.to_string().into(),
            counts.passed_over.to_string().into(),
        ]);
    }
    table
}

fn color(state: WaveWord) -> Color {
    match state {
        WaveWord::Complete => Color::Good,
        WaveWord::Rolling | WaveWord::Soaking => Color::Moving,
        WaveWord::Halted => Color::Bad,
        WaveWord::Approval | WaveWord::Closed | WaveWord::Unproved => Color::Attention,
        WaveWord::Waiting => Color::Plain,
    }
}

fn details(text: &mut String, wave: &ShownWave) {
    if !wave.reason.is_empty() && wave.state != WaveWord::Waiting {
        let _ = writeln!(text, "\nThe wave {} {}", clean(&wave.name), clean(&wave.reason));
        if let Some(halt) = &wave.halt {
            text.push_str(&blast(halt));
        }
        if !wave.way_out.is_empty() {
            let _ = writeln!(text, "  hint: {}", clean(&wave.way_out));
        }
    }
    for over in &wave.passed_over {
        let _ = writeln!(text, "\nThe wave {} passes over {}", clean(&wave.name), clean(over));
    }
}

fn blast(halt: &ShownHalt) -> String {
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { clean(&names.join(", ")) };
    format!("  failed on: {}; runs on: {}; clusters that never saw it: {}\n", names(&halt.failed), names(&halt.reached), halt.spared)
}
