//! What the cluster has beside what Git gives, as its agent says.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Field, brief, readable};
use crate::{
    cli::{
        ask,
        printer::Printer,
        table::{Cell, Color, Table, age},
        whom::Whom,
    },
    diagnostic::Diagnostic,
    git::CommitId,
    manifest::ObjectId,
    plan::object::LiveObject,
    server::{Client, ClientError, DIFF_TIME_MAX},
    sync::preview::{FieldOrigin, LiveField},
};

/// How a field of Git stands on the cluster.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    value: Option<Value>,
    origin: FieldOrigin,
    manager: Option<String>,
    time: Option<String>,
}

/// What the cluster adds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Beside {
    /// What the agent compared with.
    commit: CommitId,
    /// Whether the object is there at all.
    stands: bool,
    /// Fields that Git does not give.
    only: Vec<LiveField>,
}

/// Asks how the object stands. Who cannot be asked is told, and Git's part is shown all the same.
pub(super) fn ask(whom: &Whom, cluster: &str, object: &ObjectId, printer: &mut Printer<'_>) -> Option<LiveObject> {
    let asked = whom.address().map_err(|error| error.to_string()).and_then(|address| {
        let client = Client::at(address, DIFF_TIME_MAX + ask::ANSWER_TIME_MAX);
        let answer = ask::runtime().map_err(|error| error.to_string())?.block_on(client.object(cluster, object));
        answer.map_err(|error| match error {
            ClientError::NotRunning => format!("no agent runs on {}", whom.name()),
            error => Diagnostic::from(error).to_string(),
        })
    });
    asked.map_err(|why| printer.note(&format!("the cluster is not asked, and this is what Git gives: {why}"))).ok()
}

/// Puts what stands on the cluster beside the fields of Git. A list that differs as a whole stands beside each of its items.
pub(super) fn lay_beside(fields: &mut [Field], live: LiveObject) -> Beside {
    let stands = live.fields.is_some();
    let live_fields = live.fields.unwrap_or_default();
    let holds = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    for field in fields.iter_mut() {
        let found = live_fields.iter().find(|live| holds(&live.path, &field.path));
        field.live = found.map(|live| Standing {
            value: live.value.clone(),
            origin: live.origin,
            manager: live.manager.clone(),
            time: live.time.clone(),
        });
    }
    let is_only = |live: &LiveField| !fields.iter().any(|field| holds(&live.path, &field.path));
    Beside { commit: live.commit, stands, only: live_fields.into_iter().filter(|live| is_only(live)).collect() }
}

/// Remarks on what was compared.
pub(super) fn remarks(beside: &Beside, shown: Option<CommitId>, printer: &mut Printer<'_>) {
    if !beside.stands {
        printer.note("the object is not there");
    }
    if shown.is_some_and(|shown| shown != beside.commit) {
        printer.note(&format!("the cluster is compared with {}, which it is told to run", beside.commit.short()));
    }
}

/// How the field stands; empty where it is as Git says, or nobody knows.
pub(super) fn cell(field: &Field, now: Timestamp) -> Cell {
    let Some(live) = &field.live else { return Cell::from("") };
    let value = live.value.as_ref().map_or_else(|| "gone".to_owned(), brief);
    let by = by(live.manager.as_deref(), live.time.as_deref(), now);
    match live.origin {
        FieldOrigin::Git => Cell::from(""),
        FieldOrigin::GivenUp => Cell::from(format!("given up: {value}{by}")),
        FieldOrigin::Drifted | FieldOrigin::Other | FieldOrigin::Default => {
            Cell::colored(Color::Attention, format!("drifted: {value}{by}"))
        }
    }
}

/// What only the cluster has; empty where that is nothing.
pub(super) fn table(beside: &Beside, now: Timestamp, color: bool) -> String {
    if beside.only.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["ONLY IN THE CLUSTER", "VALUE", "SET BY", "AGE"]);
    for field in &beside.only {
        let by = match (field.origin, &field.manager) {
            (FieldOrigin::Default, _) => Cell::from("the server's default"),
            (FieldOrigin::GivenUp, manager) => Cell::from(format!("{} (given up)", manager.as_deref().unwrap_or("nobody"))),
            (_, manager) => Cell::from(manager.as_deref().unwrap_or_default()),
        };
        let value = field.value.as_ref().map_or_else(|| "gone".to_owned(), brief);
        table.row(vec![Cell::from(readable(&field.path)), Cell::from(value), by, Cell::from(since(field.time.as_deref(), now))]);
    }
    format!("\n{}", table.render(color))
}

fn by(manager: Option<&str>, time: Option<&str>, now: Timestamp) -> String {
    let Some(manager) = manager else { return String::new() };
    match since(time, now).as_str() {
        "" => format!(" by {manager}"),
        age => format!(" by {manager} {age} ago"),
    }
}

fn since(time: Option<&str>, now: Timestamp) -> String {
    time.and_then(|time| time.parse().ok()).map(|time| age(now, time)).unwrap_or_default()
}
