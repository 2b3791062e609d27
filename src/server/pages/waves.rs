//! Where a rollout stands: its waves, what each waits for, and what a person can do.

use maud::{Markup, html};

use super::parts::{Frame, advice, cluster_path, commit_or_dash};
use crate::{
    manifest::mask_urls,
    rollout::{ShownHalt, ShownWave, WaveWord},
};

pub(super) fn section(frame: &Frame<'_>, waves: &[ShownWave]) -> Markup {
    html! {
        section #waves {
            h2 { a href="/rollout" { "Waves" } }
            table {
                thead {
                    tr {
                        th scope="col" { "Wave" }
                        th scope="col" { "State" }
                        th scope="col" { "Target" }
                        th scope="col" { "Clusters" }
                        th scope="col" { "What it waits for" }
                    }
                }
                tbody { @for wave in waves { (row(frame, wave)) } }
            }
        }
    }
}

fn row(frame: &Frame<'_>, wave: &ShownWave) -> Markup {
    let counts = wave.clusters;
    html! {
        tr {
            th scope="row" { (wave.name) }
            td data-label="State" { strong { (format!("{:?}", wave.state)) } }
            td data-label="Target" { (commit_or_dash(wave.target)) }
            td data-label="Clusters" {
                (counts.done) " of " (counts.all) " done"
                @if counts.begun > 0 { ", " (counts.begun) " begun" }
                @if counts.passed_over > 0 { ", " (counts.passed_over) " passed over" }
            }
            td data-label="What it waits for" {
                (wave.reason)
                @if let Some(until) = wave.until { div.soft { "until " (format!("{until:.0}")) } }
                @if let Some(problem) = &wave.halt { (halt(problem)) }
                @if !wave.way_out.is_empty() { div.soft { (advice(&wave.way_out)) } }
                @for passed in &wave.passed_over { div.soft { "passed over: " (passed) } }
                @if let Some(plan) = wave.plan.filter(|_| wave.state == WaveWord::Approval && frame.may_approve_all()) {
                    form action="/approve" method="post" {
                        input type="hidden" name="plan" value=(plan);
                        button.act { "Begin wave " (wave.name) }
                    }
                }
            }
        }
    }
}

fn halt(halt: &ShownHalt) -> Markup {
    html! {
        div {
            strong { (halt.error.code) } " on "
            a href=(cluster_path(&halt.cluster)) { (halt.cluster) }
            ": " (mask_urls(&halt.error.message))
        }
        div.soft {
            "failed on " (halt.failed.join(", "))
            @if !halt.reached.is_empty() { "; reached " (halt.reached.join(", ")) }
            "; " (halt.spared) " never saw it"
        }
    }
}
