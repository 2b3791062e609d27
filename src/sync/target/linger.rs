//! Asking after objects whose deletion takes long.

use tokio::time::Instant;
use tracing::warn;

use super::{Connect, Live, Memory, Target};
use crate::codes;

impl<M: Memory, C: Connect> Target<M, C> {
    /// Takes in which objects are being deleted, and shows it where one that was told of is gone. When to ask after the next.
    pub(super) async fn see_lingering(&self, live: &mut Live) -> Option<Instant> {
        let now = live.now();
        let session = live.session.as_mut()?;
        let inventory = session.inventory.as_ref()?;
        if std::mem::take(&mut session.stirred) && live.lingering.see(inventory, now) {
            let state = live.state.clone().map(|state| live.with_health(state));
            self.publish(live, state).await;
        }
        live.lingering.next().map(|at| live.began + at)
    }

    /// Looks at those that have waited long, and tells what they wait for.
    pub(super) async fn ask_after_lingering(&self, live: &mut Live) {
        let now = live.now();
        let Some(session) = &live.session else { return };
        for id in live.lingering.due(now) {
            let api = session.apis.preferred(&id.group, &id.kind);
            let object = match api {
                Some(api) => session.connection.get(api, id.namespace.as_deref(), &id.name).await.ok().flatten(),
                None => None,
            };
            let Some(what) = live.lingering.tell(&id, object.as_ref(), now) else { continue };
            warn!(cluster = %self.cluster, object = %id, code = codes::LINGERING.id, "deleted and does not go: {what}");
        }
        let state = live.state.clone().map(|state| live.with_health(state));
        self.publish(live, state).await;
    }
}
