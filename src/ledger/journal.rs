//! The ledger as a sync's journal.

use std::sync::PoisonError;

use rusqlite::Connection;

use super::{Ledger, LedgerError, syncs};
use crate::{
    diagnostic::Diagnostic,
    manifest::ObjectId,
    sync::{BundleOutcome, Found, Journal, JournalError, ObjectResult, SyncId, SyncStart},
};

impl Journal for Ledger {
    async fn begin_sync(&self, start: SyncStart) -> Result<SyncId, JournalError> {
        let now = (self.clock)();
        Ok(self.ask(move |db| syncs::begin(db, &start, now)).await?)
    }

    async fn begin_bundle(&self, sync: SyncId, bundle: &str, writes: u64, deletions: u64) -> Result<(), JournalError> {
        let (bundle, now) = (bundle.to_owned(), (self.clock)());
        self.ask(move |db| syncs::begin_bundle(db, sync, &bundle, writes, deletions, now)).await?;
        // Results that were told before this bundle have been tried by now.
        self.check(sync)
    }

    fn check(&self, sync: SyncId) -> Result<(), JournalError> {
        match self.lost().get(&sync.0) {
            Some(error) => Err(error.clone().into()),
            None => Ok(()),
        }
    }

    fn object(&self, sync: SyncId, bundle: &str, result: ObjectResult) {
        let (bundle, now) = (bundle.to_owned(), (self.clock)());
        let found = self.found().remove(&(sync.0, result.id.clone()));
        self.tell(sync, move |db| {
            if let Some(found) = found {
                syncs::drift(db, sync, found, &result, now)?;
            }
            syncs::object(db, sync, &bundle, &result)
        });
    }

    fn warning(&self, sync: SyncId, object: &ObjectId, text: &str) {
        let (object, text) = (object.clone(), text.to_owned());
        self.tell(sync, move |db| syncs::warning(db, sync, &object, &text));
    }

    fn drift(&self, sync: SyncId, object: &ObjectId, found: Found) {
        self.found().insert((sync.0, object.clone()), found);
    }

    fn end_bundle(&self, sync: SyncId, bundle: &str, outcome: BundleOutcome) {
        let (bundle, now) = (bundle.to_owned(), (self.clock)());
        self.tell(sync, move |db| syncs::end_bundle(db, sync, &bundle, &outcome, now));
    }

    async fn end_sync(&self, sync: SyncId, error: Option<Diagnostic>) -> Result<(), JournalError> {
        self.finish_sync(sync, error).await.map(drop)
    }
}

impl Ledger {
    /// Ends a sync as [`Journal::end_sync`] does, and says how it ended, in the word that the record has.
    pub async fn finish_sync(&self, sync: SyncId, error: Option<Diagnostic>) -> Result<&'static str, JournalError> {
        let (ledger, now) = (self.clone(), (self.clock)());
        let ended = self.ask(move |db| {
            let lost = ledger.lost().get(&sync.0).map(Diagnostic::from);
            syncs::end(db, sync, error.or(lost).as_ref(), now)
        });
        let ended = ended.await;
        self.found().retain(|(of, _), _| *of != sync.0);
        match self.lost().remove(&sync.0) {
            Some(error) => Err(error.into()),
            None => Ok(ended?),
        }
    }

    /// Has something of a sync written soon. Where that fails, the sync hears of it at its next step.
    fn tell(&self, sync: SyncId, work: impl FnOnce(&Connection) -> Result<(), LedgerError> + Send + 'static) {
        let lost = self.lost.clone();
        self.writer.tell(work, move |error| {
            lost.lock().unwrap_or_else(PoisonError::into_inner).entry(sync.0).or_insert(error);
        });
    }

    fn found(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<(i64, ObjectId), Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<i64, LedgerError>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
