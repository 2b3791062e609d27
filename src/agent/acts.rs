//! What people ask of the fleet, carried out.

use jiff::Timestamp;
use tracing::info;

use super::fleet::Fleet;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::Ledger,
    manifest::Digest,
    server::{Accepted, Action},
    sync::{Reporting, target::Ask},
};

impl Fleet {
    /// Does what a person asked, and keeps it on record.
    pub(super) async fn act(&mut self, action: Action) -> Result<Accepted, Diagnostic> {
        let result = self.carry_out(action.clone()).await;
        self.audit(&action, &result).await;
        result
    }

    async fn carry_out(&mut self, action: Action) -> Result<Accepted, Diagnostic> {
        self.refuse_of_others(&action)?;
        match action {
            Action::Hold { request, who } => self.hold(&request, &who).await,
            Action::Release { request, environments, who } => self.release(&request, environments, &who).await,
            Action::Sync { selector, who } => {
                let clusters = self.selected_by(&selector)?;
                info!(who, clusters = clusters.join(","), "sync asked for");
                Ok(clusters.into_iter().filter(|cluster| self.targets.ask(cluster, Ask::Sync)).collect::<Vec<_>>().into())
            }
            Action::Rollback { request, who } => self.roll_back(request, &who).await,
            Action::Retry { request, who } => self.retry(&request, &who).await,
            Action::Approve { plan, who } => {
                if let Some(accepted) = self.approve_wave(plan, &who).await? {
                    return Ok(accepted);
                }
                // Not by the record alone: a wave that the rollout does not ask for would be approved for nobody.
                let clusters = self.ledger.approve(plan, &who, Timestamp::now()).await?;
                if clusters.is_empty() {
                    return Err(not_asked(&self.ledger, plan).await);
                }
                info!(who, %plan, clusters = clusters.join(","), "deletions approved");
                for cluster in &clusters {
                    self.targets.ask(cluster, Ask::Sync);
                }
                Ok(clusters.into())
            }
            Action::Resume { who } => self.write_again(&who).await,
            Action::AcceptCluster { name, who } => {
                if !self.targets.ask(&name, Ask::AcceptCluster) {
                    return Err(Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {name} in the fleet")));
                }
                info!(who, cluster = name, "accepted as the cluster it is now");
                Ok(vec![name].into())
            }
        }
    }

    /// Ends what a lost ledger began.
    async fn write_again(&mut self, who: &str) -> Result<Accepted, Diagnostic> {
        let clusters = resume(&self.ledger, who).await?;
        if self.report_only == Some(Reporting::Observing) {
            // It is on record for the next agent that writes.
            return Ok(Vec::new().into());
        }
        if self.report_only == Some(Reporting::LostLedger) {
            self.report_only = None;
            info!(who, "resumed: clusters are written again");
            // Each is told what its wave has for it.
            self.roll().await?;
        }
        Ok(clusters.into())
    }
}

/// Puts on record that clusters may be written again, and says which those are: none where all might be written before.
pub(super) async fn resume(ledger: &Ledger, who: &str) -> Result<Vec<String>, Diagnostic> {
    Ok(if ledger.resume(who).await? { ledger.cluster_names().await? } else { Vec::new() })
}

/// Puts on record, while no agent runs, that the deletions of this plan may go through or that a wave may; the clusters concerned.
pub(super) async fn approve(ledger: &Ledger, plan: Digest, who: &str) -> Result<Vec<String>, Diagnostic> {
    let now = Timestamp::now();
    let clusters = ledger.approve(plan, who, now).await?;
    if !clusters.is_empty() {
        return Ok(clusters);
    }
    match ledger.approve_wave(plan, who, now).await? {
        Some(clusters) => Ok(clusters),
        None => Err(not_asked(ledger, plan).await),
    }
}

/// Why nothing is released by a hash: somebody was quicker, or there is no such plan.
async fn not_asked(ledger: &Ledger, plan: Digest) -> Diagnostic {
    let message = match ledger.approval(plan).await {
        Ok(Some((who, at))) => format!("{plan} was approved by {who} at {at:.0}, and nothing waits for it any more"),
        Ok(None) => format!("no wave waits for approval of {plan}, and no cluster holds deletions of it"),
        Err(error) => return error.into(),
    };
    Diagnostic::new(codes::NO_PLAN, Place::Nowhere, message)
}
