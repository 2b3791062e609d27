//! Waiting for a condition, with a deadline and a useful message.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks at the condition.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks again and again until `probe` answers `Ok`, and returns what it answered.
///
/// `Err` means "not yet" and carries what was seen. When `within` has passed, the error names `what` was waited for and what was seen
/// last. A probe that hangs is cut off at the deadline.
pub async fn wait_until<T, Seen, F, Fut>(within: Duration, what: &str, mut probe: F) -> Result<T>
where
    Seen: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Seen>>,
{
    let deadline = Instant::now() + within;
    let mut last = None;
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            // The alternate form prints the whole chain of an `anyhow::Error`.
            Ok(Err(seen)) => last = Some(format!("{seen:#}")),
            Err(_) => bail!(
                "{what}: not within {within:?}: the last look did not come to an end; seen before: {}",
                last.as_deref().unwrap_or("nothing")
            ),
        }
        if Instant::now() + INTERVAL >= deadline {
            bail!("{what}: not within {within:?}; last seen: {}", last.as_deref().unwrap_or("nothing"));
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_what_the_probe_found() -> Result<()> {
        let mut looks = 0;
        let found = wait_until(Duration::from_secs(10), "three", || {
            looks += 1;
            std::future::ready(if looks == 3 { Ok(looks) } else { Err(looks) })
        });
        assert_eq!(found.await?, 3);
        Ok(())
    }

    #[tokio::test]
    async fn says_what_was_seen_last() {
        let error = wait_until(Duration::from_millis(10), "all synced", || async { Err::<(), _>("3 of 4") }).await;
        let error = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("all synced") && error.contains("last seen: 3 of 4"), "{error}");
    }

    #[tokio::test]
    async fn cuts_off_a_probe_that_hangs() {
        let error = wait_until(Duration::from_millis(10), "an answer", std::future::pending::<Result<(), String>>).await;
        let error = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("did not come to an end"), "{error}");
    }
}
