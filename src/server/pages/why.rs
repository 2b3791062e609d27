//! Why a cluster is as it is, at the top of its page: the causes with their ways out, and how far they reach.

use maud::{Markup, html};

use super::parts::{Frame, cluster_path, commit, count};
use crate::{
    manifest::mask_urls,
    sync::Phase,
    why::{Cause, Kind, Spread, Why},
};

/// The explanation; of a cluster that is well, nothing.
pub(super) fn block(frame: &Frame<'_>, why: &Why) -> Markup {
    if why.well {
        return html! {};
    }
    html! {
        section #why {
            p { (why.what) "." }
            @for one in &why.causes { (cause(why.phase, one)) }
            @if why.more_causes > 0 { p.soft { (count(why.more_causes, "more cause")) ", in the syncs below" } }
            (reach(&why.spread))
            @for (verb, brought) in [("Waits for ", &why.waits_for), ("Brought by ", &why.brought_by)] { @if let Some(brought) = brought {
                p { (verb) (commit(brought.commit)) ", " (brought.author) ", " (frame.ago(brought.time)) ": " (brought.subject) }
            } }
        }
    }
}

fn cause(phase: Phase, Cause { kind, code, message, way_out, retry, since: _ }: &Cause) -> Markup {
    let class = if phase >= Phase::Held { "box attention" } else { "box bad" };
    html! {
        div class=(class) {
            @if let Some(code) = code { p { strong { (code) } } }
            pre { (mask_urls(message)) }
            @if let Some(retry) = retry {
                p { (retry.failures) " tries failed; the next is due at " time datetime=(retry.at.to_string()) { (retry.at.strftime("%H:%M:%S UTC").to_string()) } }
            }
            // What is held has a section of its own, with a button for who may.
            @if *kind != Kind::Held { p.soft { (mask_urls(way_out)) } }
        }
    }
}

fn reach(spread: &Spread) -> Markup {
    let more = spread.same.saturating_sub(spread.names.len() as u64);
    html! {
        @if spread.same > 0 {
            p {
                (count(spread.same, "other cluster")) " too: "
                @for (number, name) in spread.names.iter().enumerate() { @if number > 0 { ", " } a href=(cluster_path(name)) { (name) } }
                @if more > 0 { " and " (more) " more" }
            }
        }
        @if !spread.here.is_empty() { ul.plain { @for line in &spread.here { li { (line) } } } }
    }
}
