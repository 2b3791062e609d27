//! The time line over the API: a page of it, and what is added to it as server-sent events (WHATWG HTML, section 9.2).

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::sse::{Event as Sent, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    answers::Answers as _,
    caller::Caller,
    changes::SIGN,
    client::segment,
    problem::Problem,
    routes::{LIMIT_DEFAULT, LIMIT_MAX, Who, ask},
    serve::Api,
};
use crate::{
    codes,
    ledger::answers::{Cursor, Event, EventQuery, Events},
};

/// The header by which a browser that connects again says what it has (section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";
/// Between two looks at the record: not everything that is put there makes itself known (actions, waves).
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at least, however much happens.
const PAUSE: Duration = Duration::from_millis(250);
/// Events that one look brings; a follower that is behind takes several.
const PAGE: u32 = 200;

/// What is asked of the time line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    limit: Option<u32>,
    cluster: Option<String>,
    since: Option<Timestamp>,
    after: Option<Cursor>,
}

/// The query as it is asked for; a limit of 0 is not said.
pub(super) fn asked(query: &EventQuery) -> String {
    let limit = (query.limit > 0).then(|| format!("limit={}", query.limit));
    let cluster = query.clusters.as_ref().map(|clusters| format!("cluster={}", segment(clusters)));
    let since = query.since.map(|since| format!("since={}", segment(&since.to_string())));
    let after = query.after.map(|after| format!("after={after}"));
    [limit, cluster, since, after].into_iter().flatten().collect::<Vec<_>>().join("&")
}

fn query(asked: Result<Query<Asked>, QueryRejection>) -> Result<EventQuery, Problem> {
    let Query(Asked { limit, cluster, since, after }) =
        asked.map_err(|error| Problem::usage(StatusCode::BAD_REQUEST, error.body_text()))?;
    Ok(EventQuery { clusters: cluster, within: None, since, after, limit: limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX) })
}

pub(super) async fn events(State(api): State<Api>, who: Who, asked: Result<Query<Asked>, QueryRejection>) -> Result<Json<Events>, Problem> {
    let query = query(asked)?;
    ask(&api, &who, move |answers| answers.events(&query)).await.map(Json)
}

/// Someone who listens.
struct Listener {
    api: Api,
    caller: Caller,
    query: EventQuery,
    /// Read, and not yet told.
    waiting: VecDeque<Event>,
    changes: watch::Receiver<u64>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The next event; none once the agent stops or its record cannot be read.
    async fn next(&mut self) -> Option<Event> {
        let stop = self.stop.clone();
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let (api, caller, query) = (&self.api, &self.caller, self.query.clone());
            let page = stop.run_until_cancelled(ask(api, caller, move |answers| answers.events(&query))).await?.ok()?;
            self.query.after = Some(page.cursor);
            self.waiting = page.events.into();
            if self.waiting.is_empty() {
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await?;
                // Sooner or later there is another look, whatever makes itself known.
                let _ = stop.run_until_cancelled(timeout(LOOK, self.changes.changed())).await?;
                self.changes.mark_unchanged();
            }
        }
    }
}

/// What is put on record from now on, or from a place on: one that the request names, or the browser. The stream ends with the longest
/// time that a connection may take, and who listens connects again and loses nothing.
pub(super) async fn stream(
    State(api): State<Api>,
    who: Who,
    Extension(stop): Extension<CancellationToken>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let Extension(caller) = who;
    let full = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, codes::BUSY, "too many listen already");
    let place = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| full())?;
    let mut query = EventQuery { limit: PAGE, ..query(asked)? };
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        let cursor = last.to_str().ok().and_then(|last| last.parse().ok());
        query.after = Some(cursor.ok_or_else(|| Problem::usage(StatusCode::BAD_REQUEST, "Last-Event-ID is no id of this stream"))?);
    }
    if query.after.is_none() {
        let now = EventQuery { limit: 1, ..query.clone() };
        query.after = Some(ask(&api, &caller, move |answers| answers.events(&now)).await?.cursor);
    }
    let changes = api.pulse.changes();
    let listener = Listener { api, caller, query, waiting: VecDeque::new(), changes, stop, _place: place };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        let sent = Sent::default().event("happened").id(event.cursor.to_string()).json_data(&event).ok()?;
        Some((Ok(sent), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN)))
}
