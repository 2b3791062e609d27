//! Tells whoever listens that `status` changed, as server-sent events (WHATWG HTML, section 9.2).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use tokio_util::sync::CancellationToken;

use super::{problem::Problem, serve::Api};
use crate::codes;

/// Between two events at least: a sync of many clusters changes `status` many times a second.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two signs of life: proxies cut what is silent for a minute.
pub(super) const SIGN: Duration = Duration::from_secs(20);

/// One event `changed` at once and one after each change; what changed is for the listener to ask. The stream ends with the
/// longest time that a connection may take, and browsers open another one.
pub(super) async fn changes(
    State(api): State<Api>,
    Extension(stop): Extension<CancellationToken>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let full = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, codes::BUSY, "too many listen already");
    let place = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| full())?;
    let mut changes = api.pulse.changes();
    changes.mark_changed();
    let events = stream::unfold((changes, place, stop, Duration::ZERO), |(mut changes, place, stop, pause)| async move {
        stop.run_until_cancelled(tokio::time::sleep(pause)).await?;
        stop.run_until_cancelled(changes.changed()).await?.ok()?;
        let count = *changes.borrow_and_update();
        let event = Event::default().event("changed").id(count.to_string()).data(count.to_string());
        Some((Ok(event), (changes, place, stop, PAUSE)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN)))
}
