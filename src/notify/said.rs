//! What the repository says that matters here, and that it outlasts a restart: as long as the branch's tip cannot be read, the rules of
//! before hold.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    layout::Notification,
    ledger::{Ledger, LedgerError},
};

/// What the repository says that matters here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// The fleet's name; empty as long as it is not known.
    pub fleet: String,
    /// Who is notified of what.
    pub rules: Arc<Vec<Notification>>,
    /// The clusters' labels, for the rules.
    pub labels: Arc<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Said {
    fn text(&self) -> String {
        serde_json::to_string(&(&self.fleet, &*self.rules, &*self.labels)).unwrap_or_default()
    }

    fn read(text: &str) -> Option<Self> {
        let (fleet, rules, labels) = serde_json::from_str(text).ok()?;
        Some(Self { fleet, rules: Arc::new(rules), labels: Arc::new(labels) })
    }

    /// Begins with what was kept, unless the repository has been read, and keeps what it says until it is told to stop.
    pub async fn keep(said: watch::Sender<Self>, ledger: Ledger, stop: CancellationToken) {
        if let Some(Err(error)) = stop.run_until_cancelled(keep(&said, &ledger)).await {
            error!(code = error.code().id, "who is to be told is not on record: {error}");
        }
    }
}

async fn keep(said: &watch::Sender<Said>, ledger: &Ledger) -> Result<(), LedgerError> {
    let mut kept = ledger.said().await?.as_deref().and_then(Said::read).unwrap_or_default();
    said.send_if_modified(|said| {
        let is_news = said.fleet.is_empty() && !kept.fleet.is_empty();
        if is_news {
            said.clone_from(&kept);
        }
        is_news
    });
    let mut said = said.subscribe();
    loop {
        let now = said.borrow_and_update().clone();
        if !now.fleet.is_empty() && now != kept {
            ledger.keep_said(now.text()).await?;
            kept = now;
        }
        if said.changed().await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use kube_overlay::LabelSelector;

    use super::*;
    use crate::layout::{Severity, Trouble};

    fn said(fleet: &str) -> Said {
        let selector = LabelSelector::parse("environment in (prod,test),!canary").unwrap();
        let rule = Notification {
            receiver: "team".to_owned(),
            selector: Some(selector),
            severity: Severity::Info,
            troubles: vec![Trouble::Held, Trouble::WrongCluster],
        };
        let open = Notification { receiver: "all".to_owned(), selector: None, severity: Severity::Critical, troubles: Vec::new() };
        let labels = [("a".to_owned(), [("environment".to_owned(), "prod".to_owned())].into())].into();
        Said { fleet: fleet.to_owned(), rules: Arc::new(vec![rule, open]), labels: Arc::new(labels) }
    }

    async fn kept_is(ledger: &Ledger, expect: &Said) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while ledger.said().await.unwrap().as_deref().and_then(Said::read).as_ref() != Some(expect) {
            assert!(std::time::Instant::now() < deadline, "it is not kept");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_restart_begins_with_what_the_repository_said_before() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap().ledger;
        let stop = CancellationToken::new();
        let (before, _) = watch::channel(Said::default());
        let keeper = tokio::spawn(Said::keep(before.clone(), ledger.clone(), stop.clone()));
        for said in [said("shop"), said("store")] {
            before.send_replace(said.clone());
            kept_is(&ledger, &said).await;
        }
        stop.cancel();
        keeper.await.unwrap();

        let (after, mut seen) = watch::channel(Said::default());
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(Said::keep(after.clone(), ledger.clone(), stop.clone()));
        seen.changed().await.unwrap();
        assert_eq!(*seen.borrow(), said("store"), "the branch cannot be read yet");
        stop.cancel();
        keeper.await.unwrap();

        // What was read meanwhile is not put back.
        let (read, _) = watch::channel(said("read"));
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(Said::keep(read.clone(), ledger.clone(), stop.clone()));
        kept_is(&ledger, &said("read")).await;
        assert_eq!(*read.borrow(), said("read"));
        stop.cancel();
        keeper.await.unwrap();
    }
}
