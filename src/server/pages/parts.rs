//! What pages have in common. All text goes through maud, which escapes it: only [`Markup`] is taken as it is.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::{
    git::CommitId,
    ledger::answers::{ClusterStatus, ErrorAnswer},
    manifest::mask_urls,
    server::caller::{Caller, Role, Scope},
    sync::{Health, Phase},
};

/// What every page knows of the request.
pub(super) struct Frame<'a> {
    pub(super) caller: &'a Caller,
    /// The caller came with a cookie, which can be given up.
    pub(super) signed_in: bool,
    pub(super) now: Timestamp,
    /// What was searched for.
    pub(super) query: &'a str,
}

impl Frame<'_> {
    /// Whether the caller may decide on what is held in that environment.
    pub(super) fn may_approve(&self, environment: &str) -> bool {
        self.caller.role.is_some_and(|role| role >= Role::Approver) && self.caller.scope.covers(environment)
    }

    /// Whether the caller may decide on what concerns the whole fleet, as a wave does.
    pub(super) fn may_approve_all(&self) -> bool {
        self.caller.role.is_some_and(|role| role >= Role::Approver) && self.caller.scope == Scope::Fleet
    }

    /// Whether the caller may act on what concerns the whole fleet.
    pub(super) fn may_operate_all(&self) -> bool {
        self.caller.role.is_some_and(|role| role >= Role::Operator) && self.sees_all()
    }

    /// Whether the caller may see all clusters.
    pub(super) fn sees_all(&self) -> bool {
        self.caller.scope == Scope::Fleet
    }

    /// A whole page, which follows what happens.
    pub(super) fn page(&self, title: &str, body: &Markup) -> Markup {
        let live = html! {
            script src="/assets/live.js" defer {}
            noscript { meta http-equiv="refresh" content="10"; }
        };
        self.document(title, &live, body)
    }

    /// A whole page that stays as it is: somebody types.
    pub(super) fn still_page(&self, title: &str, body: &Markup) -> Markup {
        self.document(title, &html! {}, body)
    }

    fn document(&self, title: &str, live: &Markup, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) " · Evenkeel" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href="/assets/style.css";
                    (live)
                }
                body {
                    a.skip href="#main" { "To the content" }
                    header {
                        a.name href="/" { "Evenkeel" }
                        nav { a href="/rollout" { "Rollout" } }
                        form action="/search" role="search" {
                            label.soft for="q" { "Search" }
                            input #q type="search" name="q" value=(self.query) placeholder="cluster, commit, author";
                            button { "Go" }
                        }
                        p #live role="status" { "As of " (time(self.now)) }
                        div.who { (self.who()) }
                    }
                    main #main { (body) }
                }
            }
        }
    }

    fn who(&self) -> Markup {
        html! {
            @match self.caller.role {
                Some(role) => span { (self.caller.who) ", " (role.word()) },
                None => a href="/sign-in" { "Sign in" },
            }
            @if self.signed_in {
                form action="/sign-out" method="post" { button { "Sign out" } }
            }
        }
    }

    /// How long until then, with the time itself.
    pub(super) fn until(&self, then: Timestamp) -> Markup {
        let left = then.as_second() - self.now.as_second();
        let left = if left > 0 { format!("in {}", span(left)) } else { "now".to_owned() };
        html! { (left) ", at " time datetime=(then.to_string()) { (then.strftime("%Y-%m-%d %H:%M UTC").to_string()) } }
    }

    /// How long ago, with the time itself for who wants it.
    pub(super) fn ago(&self, then: Timestamp) -> Markup {
        html! { time datetime=(then.to_string()) title=(then.to_string()) { (span(self.now.as_second() - then.as_second())) " ago" } }
    }
}

/// Seconds in the largest whole unit.
pub(super) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) { (at.strftime("%H:%M:%S UTC").to_string()) } }
}

/// The first characters of a hash, which leads to its page.
pub(super) fn commit(commit: CommitId) -> Markup {
    let whole = commit.to_string();
    html! { a href={ "/commits/" (whole) } { code { (whole.get(..7).unwrap_or_default()) } } }
}

/// The same where there may be none.
pub(super) fn commit_or_dash(id: Option<CommitId>) -> Markup {
    html! { @match id { Some(id) => (commit(id)), None => "–" } }
}

/// A link to a cluster's page. Names are folders' names and may hold what a path may not.
pub(super) fn cluster_path(name: &str) -> String {
    format!("/clusters/{}", crate::server::client::segment(name))
}

/// How bad a phase is: its class, and a mark for those who see no colour.
pub(super) const fn grade(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Synced => ("good", "✓"),
        Phase::Syncing => ("moving", "↻"),
        Phase::Waiting => ("moving", "…"),
        Phase::Held => ("attention", "!"),
        Phase::Returned => ("attention", "↩"),
        Phase::Paused => ("attention", "Ⅱ"),
        Phase::Detached => ("attention", "–"),
        Phase::WrongCluster | Phase::Unreachable | Phase::Refused | Phase::Failed => ("bad", "✗"),
    }
}

/// The word of a phase with its mark.
pub(super) fn phase(phase: Phase) -> Markup {
    let (class, mark) = grade(phase);
    html! { span class={ "word " (class) } { span.mark aria-hidden="true" { (mark) } (format!("{phase:?}")) } }
}

/// How bad it is with a cluster, by its phase or, where that is worse, by what runs on it.
pub(super) fn standing(cluster: &ClusterStatus) -> (&'static str, &'static str) {
    let of_health = match cluster.health {
        Health::Degraded => ("bad", "✗"),
        Health::Progressing => ("moving", "↻"),
        // On purpose, and so for nobody to look at.
        Health::Suspended => ("moving", "Ⅱ"),
        Health::Healthy | Health::Unknown => ("good", "✓"),
    };
    let rank = |(class, _): (&str, &str)| ["good", "moving", "attention", "bad"].iter().position(|each| *each == class);
    let of_phase = grade(cluster.phase);
    if rank(of_health) > rank(of_phase) { of_health } else { of_phase }
}

/// The word of a cluster's phase, and that of its health where not all is well, with the mark of the worse.
pub(super) fn words(cluster: &ClusterStatus) -> Markup {
    let (class, mark) = standing(cluster);
    let ails = !matches!(cluster.health, Health::Healthy | Health::Unknown);
    html! {
        span class={ "word " (class) } { span.mark aria-hidden="true" { (mark) } (format!("{:?}", cluster.phase)) @if ails { "," } }
        @if ails { " " (health(cluster.health)) }
    }
}

/// The word of a health.
pub(super) fn health(health: Health) -> Markup {
    let class = match health {
        Health::Healthy => "good",
        Health::Progressing => "moving",
        Health::Suspended => "attention",
        Health::Degraded => "bad",
        Health::Unknown => "soft",
    };
    html! { span class=(class) { (format!("{health:?}")) } }
}

/// A number of things, in words: `1 object`, `2 objects`.
pub(super) fn count(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Text in which commands stand in backquotes.
pub(super) fn advice(text: &str) -> Markup {
    let text = mask_urls(text);
    html! { @for (at, part) in text.split('`').enumerate() { @if at % 2 == 1 { code { (part) } } @else { (part) } } }
}

/// What is wrong, in the server's words, and what to do.
pub(super) fn error(error: &ErrorAnswer) -> Markup {
    html! {
        div.box.bad {
            p { strong { (error.code) } }
            pre { (mask_urls(&error.message)) }
            p.soft { (advice(&error.hint)) }
        }
    }
}
