//! One cluster: where it stands, what is wrong, what waits for a decision, what runs there, what happened.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    parts::{Frame, cluster_path, commit, commit_or_dash, count, error, health, phase},
    why,
};
use crate::{
    ledger::{
        Drifted,
        answers::{ActionEntry, ClusterStatus, Content, HeldObject, History, StandingObject, SyncEntry, Transition},
    },
    manifest::mask_urls,
    why::Why,
};

/// Objects of a sync that are shown at once; the others are a click away.
const OBJECTS_SHOWN: usize = 20;

pub(super) fn page(frame: &Frame<'_>, cluster: &ClusterStatus, why: &Why, content: &Content, history: &History) -> Markup {
    let body = html! {
        h1 { (cluster.name) " " (phase(cluster.phase)) }
        (why::block(frame, why))
        (facts(frame, cluster))
        (held(frame, cluster, &content.held))
        h2 { "Objects" }
        (bundles(frame, content))
        @if !content.drifted.is_empty() {
            h2 { "What others changed" }
            (drift(frame, &content.drifted))
        }
        h2 { "Syncs" }
        (syncs(frame, &history.syncs))
        h2 { "Changes of phase" }
        (transitions(frame, &history.transitions))
        @if !history.actions.is_empty() {
            h2 { "What people did" }
            (actions(frame, &history.actions))
        }
    };
    frame.page(&cluster.name, &body)
}

fn facts(frame: &Frame<'_>, cluster: &ClusterStatus) -> Markup {
    html! {
        dl {
            dt { "Environment" } dd { (cluster.environment) }
            dt { "Region" } dd { (cluster.region) }
            dt { "In this phase" } dd { "since " (frame.ago(cluster.since)) }
            dt { "Health" } dd { (health(cluster.health)) }
            dt { "Wanted" } dd { (commit_or_dash(cluster.desired)) }
            dt { "Runs" } dd { (commit_or_dash(cluster.applied)) }
            dt { "Objects" } dd { (cluster.objects) }
            dt { "Drifted" } dd {
                (cluster.drifted)
                @if cluster.drifted > 0 { span.soft { "; " code { "evenkeel diff " (cluster.name) } " shows each field" } }
            }
            @if let Some(retry) = &cluster.retry {
                dt { "Failed tries" } dd { (retry.failures) ", the next at " time datetime=(retry.at.to_string()) { (retry.at.to_string()) } }
            }
            @if let Some(would) = cluster.would.as_ref().filter(|would| !would.is_nothing()) {
                dt { "Only observed" } dd { "a sync would " (would.words()) }
            }
        }
    }
}

/// What an approval would delete, and the button for who may give it.
fn held(frame: &Frame<'_>, cluster: &ClusterStatus, held: &[HeldObject]) -> Markup {
    let Some(plan) = cluster.held_plan.filter(|_| cluster.held_deletions > 0) else { return html! {} };
    let of_plan: Vec<_> = held.iter().filter(|held| held.plan == plan).collect();
    html! {
        section #held .box.attention {
            h2 { (count(cluster.held_deletions, "deletion")) " held until somebody approves" }
            ul.plain { @for object in &of_plan { li { code { (object.id) } @if object.approved { " (approved)" } } } }
            @if frame.may_approve(&cluster.environment) {
                form action="/approve" method="post" {
                    input type="hidden" name="plan" value=(plan);
                    input type="hidden" name="next" value=(cluster_path(&cluster.name));
                    button #approve .act { "Approve " (count(cluster.held_deletions, "deletion")) }
                }
            } @else {
                p.soft { "Who may approve in " (cluster.environment) " releases exactly these with " code { "evenkeel approve " (plan) } }
            }
        }
    }
}

/// Each bundle with how it last ended, where that is known, and what it has on the cluster.
fn bundles(frame: &Frame<'_>, content: &Content) -> Markup {
    let mut of: BTreeMap<&str, Vec<&StandingObject>> = content.ends.iter().map(|end| (end.bundle.as_str(), Vec::new())).collect();
    for object in &content.objects {
        of.entry(&object.bundle).or_default().push(object);
    }
    html! {
        @if content.objects.is_empty() { p.soft { "None is on record." } } @else { p { (kinds(&content.objects)) } }
        @for (name, objects) in &of {
            @let end = content.ends.iter().find(|end| end.bundle == *name);
            details id={ "bundle-" (name) } open[content.objects.len() <= OBJECTS_SHOWN] {
                summary {
                    strong { (name) } " " span.soft { (count(objects.len(), "object")) }
                    @if let Some(end) = end { " " (outcome(&end.outcome)) " " span.soft { (frame.ago(end.at)) } }
                }
                ul.plain { @for object in objects { li { code { (object.id) } @if object.adopted { span.soft { " (was there before)" } } } } }
            }
            @if let Some(problem) = end.and_then(|end| end.error.as_ref()) { (error(problem)) }
            @if end.is_some_and(|end| end.after_definitions) { p.soft { "Its namespaces and definitions were written before." } }
        }
    }
}

/// How a bundle ended, with a mark for those who see no colour.
fn outcome(word: &str) -> Markup {
    let (class, mark) = match word {
        "Applied" => ("good", "✓"),
        "Waiting" => ("moving", "…"),
        "Interrupted" => ("attention", "–"),
        _ => ("bad", "✗"),
    };
    html! { span class={ "word " (class) } { span.mark aria-hidden="true" { (mark) } (word) } }
}

fn drift(frame: &Frame<'_>, drifted: &[Drifted]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Object" } th scope="col" { "What, and by whom" } th scope="col" { "Found" } } }
            tbody {
                @for Drifted { object, what, at } in drifted {
                    tr { td { code { (object) } } td { (mask_urls(what)) } td data-label="Found" { (frame.ago(*at)) } }
                }
            }
        }
    }
}

/// `12 ConfigMap, 3 Deployment.apps`: how many of each kind there are, the most first.
fn kinds(objects: &[StandingObject]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in objects {
        *counts.entry(object.id.split('/').next().unwrap_or_default()).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

fn actions(frame: &Frame<'_>, actions: &[ActionEntry]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "For" } th scope="col" { "Reason" } th scope="col" { "Outcome" } } }
            tbody {
                @for action in actions {
                    tr {
                        td data-label="When" { (frame.ago(action.at)) }
                        td data-label="Who" { (action.who) }
                        td data-label="What" { (action.what) }
                        td data-label="For" { code { (action.target) } }
                        td data-label="Reason" { (action.reason) }
                        td data-label="Outcome" { (action.outcome) }
                    }
                }
            }
        }
    }
}

fn syncs(frame: &Frame<'_>, syncs: &[SyncEntry]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Begun" } th scope="col" { "Commit" } th scope="col" { "Because of" } th scope="col" { "Result" } th scope="col" { "What it did" } } }
            tbody {
                @for sync in syncs {
                    tr {
                        td data-label="Begun" { (frame.ago(sync.started)) }
                        td data-label="Commit" { (commit(sync.commit)) }
                        td data-label="Because of" { (sync.trigger) }
                        td data-label="Result" { (sync.result) }
                        td { (done(sync)) }
                    }
                }
            }
        }
    }
}

fn done(sync: &SyncEntry) -> Markup {
    html! {
        @if let Some(problem) = &sync.error { (error(problem)) }
        @if sync.objects.is_empty() && sync.error.is_none() { span.soft { "nothing to do" } }
        @if !sync.objects.is_empty() {
            details id={ "sync-" (sync.id) } open[sync.objects.len() <= 3] {
                summary { (count(sync.objects.len(), "object")) }
                ul.plain {
                    @for object in &sync.objects {
                        li {
                            (object.action) " " code { (object.id) }
                            @if let Some(problem) = &object.error { " " (problem.code) " " (mask_urls(&problem.message)) }
                        }
                    }
                }
            }
        }
        @for warning in &sync.warnings { p.attention { "Warning for " code { (warning.id) } ": " (warning.text) } }
    }
}

fn transitions(frame: &Frame<'_>, transitions: &[Transition]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "When" } th scope="col" { "Into" } th scope="col" { "Commit" } th scope="col" { "Why" } } }
            tbody {
                @for transition in transitions {
                    tr {
                        td data-label="When" { (frame.ago(transition.at)) }
                        td data-label="Into" { (phase(transition.phase)) }
                        td data-label="Commit" { (commit_or_dash(transition.desired)) }
                        td { @if let Some(problem) = &transition.error { (problem.code) " " (mask_urls(&problem.message)) } }
                    }
                }
            }
        }
    }
}
