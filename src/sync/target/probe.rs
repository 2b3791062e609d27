//! A cluster that was out of reach is asked for one sign of life before anything else is sent to it, and on-call is told once
//! when it goes and once when it is back.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tracing::{debug, error, info};

use super::{Connect, Desired, Live, Memory, Target};
use crate::{
    cluster::{ApiError, ClusterError, Connection, ConnectionSpec, ErrorKind},
    diagnostic::{Diagnostic, Place},
    sync::{Phase, agenda::Event, holder::LOOK},
};

/// How long a sign of life may take once there is a connection: as long as a look at a cluster that is in sync may take, so that
/// what is too slow for the one is for the other. Connecting has limits of its own.
const ANSWER: Duration = LOOK;

impl<M: Memory, C: Connect> Target<M, C> {
    /// Asks for a sign of life, unless something else is wanted meanwhile.
    pub(super) async fn probe(&mut self, live: &mut Live, desired: &Desired) {
        let known = live.session.as_ref().map(|session| session.connection.clone());
        let mut asking = sign_of_life(known, &self.connect, desired).boxed();
        let answered = loop {
            tokio::select! {
                answered = &mut asking => break answered,
                () = self.stop.cancelled() => return,
                Ok(()) = self.desired.changed() => {
                    // What is in the channel is taken up by whoever looks next, seen or not.
                    if self.desired.borrow_and_update().as_ref().is_none_or(|newer| !newer.asks_for_the_same(desired)) {
                        return;
                    }
                }
            }
        };
        drop(asking);
        match answered {
            Ok(connection) => {
                live.probed = Some(connection);
                live.event(Event::Probed(true));
            }
            Err(Silence { phase, error }) => {
                if phase == Phase::Unreachable {
                    live.session = None;
                    live.vitals.forget();
                }
                live.event(Event::Probed(false));
                self.tell_cut_off(live, &error);
                let state = live.state_with(desired, phase, Some(error));
                self.publish(live, Some(state)).await;
                self.memory.attempted(live.agenda.failures()).await;
            }
        }
    }

    /// One line when the cluster goes out of reach, or is so for another reason than before; none for each try.
    pub(super) fn tell_cut_off(&self, live: &mut Live, error: &Diagnostic) {
        let (cluster, code, failures) = (&self.cluster, error.code, live.agenda.failures());
        if live.told == Some(code) {
            debug!(cluster, code = code.id, failures, "{}", error.message);
        } else {
            error!(cluster, code = code.id, failures, "out of reach, probed until it answers: {}", error.message);
            live.told = Some(code);
        }
    }

    /// One line when the cluster is back.
    pub(super) fn tell_back(&self, live: &mut Live) {
        if live.told.take().is_some() {
            info!(cluster = %self.cluster, "in reach again");
        }
    }
}

/// No sign of life: what that makes of the cluster, and why.
struct Silence {
    phase: Phase,
    error: Diagnostic,
}

impl From<ApiError> for Silence {
    fn from(error: ApiError) -> Self {
        let phase = if error.is_unreachable() { Phase::Unreachable } else { Phase::Failed };
        Self { phase, error: error.diagnostic(Place::Nowhere) }
    }
}

/// A connection to the cluster over which it has answered just now.
async fn sign_of_life(known: Option<Connection>, connect: &impl Connect, desired: &Desired) -> Result<Connection, Silence> {
    let unconnected = |error: ClusterError| Silence { phase: Phase::Unreachable, error: error.diagnostic(Place::Nowhere) };
    let connection = match known {
        Some(connection) => connection,
        None => connect.connect(&desired.connection).await.map_err(unconnected)?,
    };
    match connection.within(ANSWER).identity().await {
        Err(error) if is_silence(&error) => Err(error.into()),
        // It answers; what it says is for the attempt to judge.
        _ => Ok(connection),
    }
}

/// Whether that answer is as bad as none.
fn is_silence(error: &ApiError) -> bool {
    error.is_unreachable() || matches!(error.kind(), ErrorKind::Server | ErrorKind::TooManyRequests)
}

/// Gives out the connection that answered, once, and opens new ones afterwards.
pub(super) struct Probed<'a, C> {
    connect: &'a C,
    connection: Mutex<Option<Connection>>,
}

impl<'a, C> Probed<'a, C> {
    pub(super) fn new(connect: &'a C, connection: Option<Connection>) -> Self {
        Self { connect, connection: Mutex::new(connection) }
    }
}

impl<C: Connect> Connect for Probed<'_, C> {
    fn connect(&self, spec: &ConnectionSpec) -> impl Future<Output = Result<Connection, ClusterError>> + Send {
        let probed = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            match probed {
                Some(connection) => Ok(connection),
                None => self.connect.connect(spec).await,
            }
        }
    }
}
