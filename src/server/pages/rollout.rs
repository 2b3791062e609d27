//! The rollout: its waves in their order, what each waits for, how far it got, and what a person may do about it.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    fleet::tiles,
    parts::{Frame, advice, cluster_path, commit_or_dash, count},
};
use crate::{
    codes,
    ledger::answers::{ClusterStatus, Members, Status},
    manifest::mask_urls,
    rollout::{Counts, Shown, ShownHalt, ShownWave, WaveWord},
    server::client::segment,
};

/// Where forms lead back to.
const HERE: &str = "/rollout";

pub(super) fn page(frame: &Frame<'_>, status: &Status, members: &Members) -> Markup {
    let body = html! {
        h1 { "Rollout" }
        p { "Head " (commit_or_dash(status.commit)) }
        @match &status.rollout {
            Some(rollout) => (waves(frame, status, rollout, members)),
            None if frame.sees_all() => p { "There are no waves: a commit goes everywhere at once. " code { "spec.rollout" } " in evenkeel.yaml sets them." },
            None => p { "Waves are of the whole fleet, and your token is for some of its environments." },
        }
    };
    frame.page("Rollout", &body)
}

fn waves(frame: &Frame<'_>, status: &Status, rollout: &Shown, members: &Members) -> Markup {
    let known: BTreeMap<&str, &ClusterStatus> = status.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster)).collect();
    html! {
        ol.waves {
            @for (at, wave) in rollout.waves.iter().enumerate() {
                @let of: Vec<&ClusterStatus> = members.get(&wave.name).into_iter().flatten().filter_map(|name| known.get(name.as_str()).copied()).collect();
                li id={ "wave-" (at + 1) } class={ "box " (grade(wave.state).0) } { (section(frame, at, wave, &of)) }
            }
        }
    }
}

fn section(frame: &Frame<'_>, at: usize, wave: &ShownWave, clusters: &[&ClusterStatus]) -> Markup {
    html! {
        h2 { (at + 1) ". " (wave.name) " " (word(wave.state)) }
        dl {
            dt { "Target" } dd { (commit_or_dash(wave.target)) }
            dt { "Clusters" } dd { (progress(wave.clusters)) }
            @if !wave.reason.is_empty() { dt { "Now" } dd { "it " (mask_urls(&wave.reason)) } }
            @if let Some(until) = wave.until { dt { "Goes on" } dd { (frame.until(until)) } }
        }
        @if let Some(problem) = &wave.halt { (halt(problem)) }
        @if !wave.way_out.is_empty() { p { strong { "Way out: " } (advice(&wave.way_out)) } }
        @for passed in &wave.passed_over { p.soft { "Passed over: " (mask_urls(passed)) } }
        @if frame.may_operate_all() { (buttons(frame, at, wave, clusters)) }
        @if !clusters.is_empty() {
            details id={ "clusters-" (at + 1) } open[!matches!(wave.state, WaveWord::Complete | WaveWord::Waiting) || clusters.len() <= 4] {
                summary { (count(clusters.len(), "cluster")) }
                (tiles(clusters))
            }
        }
    }
}

/// How bad a wave's state is: its class, and a mark for those who see no colour.
const fn grade(state: WaveWord) -> (&'static str, &'static str) {
    match state {
        WaveWord::Complete => ("good", "✓"),
        WaveWord::Rolling => ("moving", "↻"),
        WaveWord::Soaking => ("moving", "◔"),
        WaveWord::Waiting => ("soft", "…"),
        WaveWord::Approval => ("attention", "?"),
        WaveWord::Closed => ("attention", "Ⅱ"),
        WaveWord::Unproved => ("attention", "!"),
        WaveWord::Halted => ("bad", "✗"),
    }
}

/// The word of a wave's state with its mark.
fn word(state: WaveWord) -> Markup {
    let (class, mark) = grade(state);
    html! { span class={ "word " (class) } { span.mark aria-hidden="true" { (mark) } (format!("{state:?}")) } }
}

fn progress(counts: Counts) -> Markup {
    let Counts { all, done, begun, waiting, passed_over } = counts;
    html! {
        progress max=(all.max(1)) value=(done) aria-hidden="true" {}
        " " (done) " of " (all) " done"
        @if begun > 0 { ", " (begun) " begun" }
        @if waiting > 0 { ", " (waiting) " not begun" }
        @if passed_over > 0 { ", " (passed_over) " passed over" }
    }
}

/// What failed, and how far it got.
fn halt(halt: &ShownHalt) -> Markup {
    html! {
        div.box.bad {
            p { strong { (halt.error.code) } " on " a href=(cluster_path(&halt.cluster)) { (halt.cluster) } }
            pre { (mask_urls(&halt.error.message)) }
            @if !halt.error.hint.is_empty() { p.soft { (advice(&halt.error.hint)) } }
        }
        dl {
            dt { "Failed on" } dd { (links(&halt.failed)) }
            dt { "Also runs on" } dd { @if halt.reached.is_empty() { "no other cluster" } @else { (links(&halt.reached)) } }
            dt { "Never reached" } dd { (count(halt.spared, "cluster")) " that it would change" }
        }
    }
}

fn links(names: &[String]) -> Markup {
    html! { @for (at, name) in names.iter().enumerate() { @if at > 0 { ", " } a href=(cluster_path(name)) { (name) } } }
}

/// What the caller may do about a wave. The server asks again whether they may.
fn buttons(frame: &Frame<'_>, at: usize, wave: &ShownWave, clusters: &[&ClusterStatus]) -> Markup {
    let number = at + 1;
    let all: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let held: Vec<&str> = clusters.iter().filter(|cluster| is_held(cluster)).map(|cluster| cluster.name.as_str()).collect();
    let halted = wave.halt.as_ref();
    let failed: Vec<&str> = halted.map(|halt| halt.failed.iter().map(String::as_str).collect()).unwrap_or_default();
    let struck: Vec<&str> = halted.map(|halt| halt.failed.iter().chain(&halt.reached).map(String::as_str).collect()).unwrap_or_default();
    html! {
        div.actions {
            @if let Some(plan) = wave.plan.filter(|_| wave.state == WaveWord::Approval && frame.may_approve_all()) {
                form action="/approve" method="post" {
                    input type="hidden" name="plan" value=(plan);
                    input type="hidden" name="next" value=(HERE);
                    button.act id={ "approve-" (number) } { "Approve wave " (wave.name) }
                }
            }
            @if !failed.is_empty() { (send("/retry", &failed, &format!("retry-{number}"), "Retry where it failed")) }
            @if !struck.is_empty() { (lead("/rollback", &struck, &format!("rollback-{number}"), "Return where it got…")) }
            @if !held.is_empty() { (send("/release", &held, &format!("release-{number}"), &format!("Release {}", count(held.len(), "held cluster")))) }
            @if held.len() < all.len() { (lead("/hold", &all, &format!("hold-{number}"), "Hold the wave…")) }
        }
    }
}

fn is_held(cluster: &ClusterStatus) -> bool {
    cluster.error.as_ref().is_some_and(|error| error.code == codes::ON_HOLD.id)
}

/// A label selector of just these clusters.
fn selector(names: &[&str]) -> String {
    match names {
        [name] => format!("cluster={name}"),
        names => format!("cluster in ({})", names.join(",")),
    }
}

/// A button that does it.
fn send(path: &str, names: &[&str], id: &str, label: &str) -> Markup {
    html! {
        form action=(path) method="post" {
            input type="hidden" name="selector" value=(selector(names));
            input type="hidden" name="next" value=(HERE);
            button id=(id) { (label) }
        }
    }
}

/// A link to where more is asked before it is done.
fn lead(path: &str, names: &[&str], id: &str, label: &str) -> Markup {
    html! { a.button id=(id) href={ (path) "?next=" (segment(HERE)) "&selector=" (segment(&selector(names))) } { (label) } }
}
