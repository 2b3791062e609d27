//! Lists as the beginning of a watch (KEP-3157, WatchList; on by default since Kubernetes 1.34).
//!
//! The server sends what is there one by one, from its cache, then a bookmark that says so, and goes on with what changes. It need
//! not hold a page in memory for each client that asks, and what it gives in the end is as new as a list. Where it does not know how,
//! it says so once for the connection, and lists are asked for in pages.

use std::collections::BTreeMap;

use tokio::time::timeout;

use super::{
    Api, ApiError, Connection, ErrorKind, Listed, Meta, Scope, Watch, WatchEvent,
    connection::{Streams, Verb},
};

impl Connection {
    /// The metadata of all objects of the kind, in all namespaces, that the label selector selects; and the watch that goes on from
    /// there, where the server gives both in one.
    pub async fn list_and_watch(&self, api: &Api, label_selector: &str) -> Result<(Listed, Option<Watch<Meta>>), ApiError> {
        let scope = Scope { api, namespace: None, selector: ("labelSelector", label_selector) };
        if self.streams().known() != Streams::No
            && let Some((listed, watch)) = self.streamed(scope).await?
        {
            return Ok((listed, Some(watch)));
        }
        Ok((self.list(api, label_selector).await?, None))
    }

    /// The list as a stream; none where a list has to do.
    async fn streamed(&self, scope: Scope<'_>) -> Result<Option<(Listed, Watch<Meta>)>, ApiError> {
        // Like any other list it is one of the requests that may be under way.
        let _turn = self.turn().await;
        let Some(watch) = self.stream(scope).await? else { return Ok(None) };
        match self.gather(scope.api, watch).await {
            Ok(gathered) => return Ok(Some(gathered)),
            Err(error) if *error.kind() == ErrorKind::TooLarge => return Err(error),
            // It took the request for one for a plain watch, which never says that it has sent all.
            Err(error) if *error.kind() == ErrorKind::Timeout => self.streams().set(Streams::No),
            Err(error) => tracing::debug!(kind = scope.api.kind, "a list broke off as a stream: {error}"),
        }
        Ok(None)
    }

    /// Asks for a stream, unless the server is known to have none. Until it is known, one asks while the others wait.
    async fn stream(&self, scope: Scope<'_>) -> Result<Option<Watch<Meta>>, ApiError> {
        let asking = match self.streams().known() {
            Streams::No => return Ok(None),
            Streams::Yes => None,
            Streams::Unknown => Some(self.streams().asking.lock().await),
        };
        if asking.is_some() && self.streams().known() == Streams::No {
            return Ok(None);
        }
        self.count(Verb::List);
        let error = match self.watch_from_the_beginning(scope).await {
            Ok(watch) => {
                self.streams().set(Streams::Yes);
                return Ok(Some(watch));
            }
            Err(error) => error,
        };
        match error.kind() {
            // A list would wait as long for nothing.
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Moved => return Err(error),
            // `sendInitialEvents` is invalid with the feature off, and unknown to some servers behind an APIService.
            _ if matches!(error.status(), Some(400 | 422)) => self.streams().set(Streams::No),
            // Such as for want of the right to watch; that says nothing of other kinds.
            _ => tracing::debug!(kind = scope.api.kind, "no stream: {error}"),
        }
        Ok(None)
    }

    /// Reads a stream up to where all has been sent.
    async fn gather(&self, api: &Api, mut watch: Watch<Meta>) -> Result<(Listed, Watch<Meta>), ApiError> {
        let limits = self.limits();
        let mut objects = BTreeMap::new();
        loop {
            let late = |_| ApiError::new(ErrorKind::Timeout, format!("{}: a stream of {} does not go on", self.server(), api.kind));
            match timeout(limits.request, watch.next()).await.map_err(late)?? {
                Some(WatchEvent::Put(meta)) => drop(objects.insert((meta.namespace.clone(), meta.name.clone()), meta)),
                Some(WatchEvent::Gone(meta)) => drop(objects.remove(&(meta.namespace, meta.name))),
                Some(WatchEvent::Bookmark(_)) => {}
                Some(WatchEvent::Complete(resource_version)) => {
                    let objects = objects.into_values().collect();
                    return Ok((Listed { objects, resource_version }, watch));
                }
                None => return Err(ApiError::new(ErrorKind::Protocol, format!("a stream of {} ended early", api.kind))),
            }
            if objects.len() > limits.list {
                let message = format!("there are more than {} objects of kind {}", limits.list, api.kind);
                return Err(ApiError::new(ErrorKind::TooLarge, message));
            }
        }
    }
}
