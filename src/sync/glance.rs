//! A first look at a cluster whose wave has yet to come. What it says of itself is read, so that it can be looked after where it is;
//! nothing is written, not even the hold.

use super::{
    agenda::End,
    attempt::{Attempt, Early, Memory, Outcome},
    parent::Parent,
};
use crate::{git::CommitId, manifest::Digest};

impl<M: Memory> Attempt<'_, M> {
    /// Tells what the cluster runs by its own word, and takes up what people hold of it.
    pub(super) async fn glance(&self, parent: &Parent) -> Result<Outcome, Early> {
        if parent.holder.as_ref().is_none_or(|holder| holder.instance == self.settings.instance) && !parent.holds.is_empty() {
            self.memory.find_holds(parent.holds.clone()).await?;
        }
        let runs = self.found(parent).await;
        Ok(Outcome { runs, ..Outcome::new(End::Reported, self.desired.rest.clone()) })
    }

    /// What a cluster whose wave has yet to come runs, by its own word.
    pub(super) async fn found(&self, parent: &Parent) -> Option<(Digest, CommitId)> {
        match parent.commit {
            // Its digest says nothing here; what the commit gives does.
            Some(commit) if parent.is_of_another_key(&self.settings.key) => {
                self.memory.stands_at(commit).await;
                None
            }
            commit => parent.rendering.zip(commit),
        }
    }
}
