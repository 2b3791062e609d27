//! Doing many things abreast, a bounded number at a time.

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

/// Runs `work` on each item, at most `limit` at a time, and returns what each gave, in the order in which they ended.
///
/// Futures are boxed: with opaque types the compiler cannot see that the whole is `Send` for every lifetime.
pub(super) async fn abreast<'a, T, R>(items: Vec<T>, limit: usize, work: &(dyn Fn(T) -> BoxFuture<'a, R> + Send + Sync)) -> Vec<R> {
    abreast_within(items, &|| limit, work).await
}

/// The same with a limit that may change on the way; less than 1 counts as 1.
pub(super) async fn abreast_within<'a, T, R>(
    items: Vec<T>,
    limit: &(dyn Fn() -> usize + Send + Sync),
    work: &(dyn Fn(T) -> BoxFuture<'a, R> + Send + Sync),
) -> Vec<R> {
    let mut waiting = items.into_iter();
    let mut running = FuturesUnordered::new();
    let mut done = Vec::with_capacity(waiting.len());
    loop {
        while running.len() < limit().max(1) {
            let Some(item) = waiting.next() else { break };
            running.push(work(item));
        }
        match running.next().await {
            Some(result) => done.push(result),
            None => return done,
        }
    }
}
